//! The database file: what tables it has, how it is made, opened and checked.
//!
//! ```text
//! archive            the database; never there but whole, as it is made beside and renamed
//! archive-wal        what is not yet in it; read again after a crash
//! archive.new        in the making; of no meaning
//! archive.mended     whole, and about to take the place of a damaged one
//! archive.damaged-N  a damaged one, set aside; nothing reads or removes it
//! archive.suspect    empty: damage was met while the archive was in use
//! ```
//!
//! Specified in `docs/spec/profile.md`, "Archive".

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitchat_protocol::crypto::hash;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::ArchiveError;
use super::seal::{Sealer, Table};
use crate::clock;

/// The version of the tables, in SQLite's `user_version`.
const VERSION: i64 = 1;
/// "bitc", in SQLite's `application_id`.
const APPLICATION: i64 = 0x6269_7463;
/// How long the check at the start may take: it reads files up to some hundred megabytes whole, and
/// the beginning of larger ones. Larger: a slower start. A guess.
const CHECK_WITHIN: Duration = Duration::from_millis(250);
/// Steps of SQLite between two looks at the clock while it checks.
const CHECK_STEPS: i32 = 1000;
/// Pages kept in memory, in KiB.
const CACHE_KIB: i64 = 8 * 1024;
/// Bytes of the write-ahead log that stay allocated.
const WAL_BYTES: i64 = 4 * 1024 * 1024;
/// Bytes of a page, SQLite's own choice.
const PAGE_BYTES: u64 = 4096;
/// Bytes of the header that are looked at.
const HEADER_BYTES: usize = 24;
const META_ROW: i64 = 1;
const META_CHECKSUM_LABEL: &str = "bitchat v1 archive checksum";
const CHECKSUM_BYTES: usize = 16;
/// What is sealed in the row that tells whether the archive is this profile's.
const META: &[u8] = b"bitchat archive";

/// Every `sealed` is a nonce, a ciphertext and a tag; all else are local indexes, numbers, clocks,
/// sizes and times.
const TABLES: &str = "
CREATE TABLE meta (id INTEGER PRIMARY KEY, is_copy INTEGER NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE counters (name INTEGER PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE peers (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL);
CREATE TABLE channels (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL);
CREATE TABLE chains (id INTEGER PRIMARY KEY, channel INTEGER NOT NULL,
    base INTEGER NOT NULL, head INTEGER NOT NULL, head_clock INTEGER NOT NULL,
    count INTEGER NOT NULL, bytes INTEGER NOT NULL, certificate BLOB NOT NULL, sealed BLOB NOT NULL);
CREATE INDEX chains_of ON chains (channel);
CREATE TABLE entries (id INTEGER PRIMARY KEY, chain INTEGER NOT NULL, number INTEGER NOT NULL,
    channel INTEGER NOT NULL, clock INTEGER NOT NULL, stored INTEGER NOT NULL,
    shown INTEGER NOT NULL, said INTEGER, sealed BLOB NOT NULL);
CREATE UNIQUE INDEX entries_of ON entries (chain, number);
CREATE INDEX pages ON entries (channel, clock) WHERE shown = 1;
CREATE INDEX unread ON entries (channel) WHERE shown = 2;
CREATE INDEX said_as ON entries (said) WHERE shown = 1;
CREATE TABLE receipts (chain INTEGER NOT NULL, peer INTEGER NOT NULL, number INTEGER NOT NULL,
    role INTEGER NOT NULL, PRIMARY KEY (chain, peer)) WITHOUT ROWID;
CREATE TABLE forks (chain INTEGER PRIMARY KEY, number INTEGER NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE events (seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, subject INTEGER NOT NULL,
    peer INTEGER, role INTEGER);
CREATE INDEX events_of ON events (kind);
CREATE TABLE clients (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, sealed BLOB NOT NULL);
";

/// A counter that never goes back, not even when the rows it counted are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(super) enum Counter {
    /// The next row of `entries`.
    Entry = 1,
    /// The next event.
    Event = 2,
    /// The next row of any other table.
    Row = 3,
}

/// No counter comes near it: one beyond is damage.
pub(super) const COUNTER_MAX: i64 = i64::MAX / 2;

/// Where the files of an archive are.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) main: PathBuf,
}

impl Paths {
    pub(super) fn new(dir: &Path) -> Self {
        Self { main: dir.join("archive") }
    }

    pub(super) fn new_one(&self) -> PathBuf {
        self.beside(".new")
    }

    pub(super) fn mended(&self) -> PathBuf {
        self.beside(".mended")
    }

    pub(super) fn suspect(&self) -> PathBuf {
        self.beside(".suspect")
    }

    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.main.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    }

    /// Where a damaged archive is kept from now on.
    fn damaged(&self) -> PathBuf {
        let free = |path: &PathBuf| !path.exists();
        let mut names = (1..u32::MAX).map(|n| self.beside(&format!(".damaged-{n}")));
        names.find(free).unwrap_or_else(|| self.beside(".damaged"))
    }

    /// Gives the archive and its log another name, and says which; nothing is removed.
    pub(super) fn set_aside(&self) -> Result<PathBuf, ArchiveError> {
        let aside = self.damaged();
        let mut log = aside.as_os_str().to_owned();
        log.push("-wal");
        for (from, to) in
            [(self.beside("-wal"), PathBuf::from(log)), (self.main.clone(), aside.clone())]
        {
            match fs::rename(&from, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                done => done.map_err(ArchiveError::io("set aside", &from))?,
            }
        }
        self.sync_directory()?;
        Ok(aside)
    }

    /// Puts a mended archive, when there is one, in the place of the damaged one. A crash at any
    /// point leaves a state from which this goes on.
    pub(super) fn finish_mending(&self) -> Result<Option<PathBuf>, ArchiveError> {
        let mended = self.mended();
        if !mended.exists() {
            return Ok(None);
        }
        let aside = self.set_aside()?;
        fs::rename(&mended, &self.main).map_err(ArchiveError::io("rename", &mended))?;
        self.sync_directory()?;
        let _ = fs::remove_file(self.suspect());
        Ok(Some(aside))
    }

    /// Has the next start mend the archive, whatever a quick look at it says.
    pub(super) fn suspect_damage(&self) {
        // A start without it looks for damage all the same.
        let _ = File::create(self.suspect());
    }

    pub(super) fn sync_directory(&self) -> Result<(), ArchiveError> {
        #[cfg(unix)]
        if let Some(directory) = self.main.parent() {
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(ArchiveError::io("sync the directory of", &self.main))?;
        }
        Ok(())
    }
}

/// Opens the archive, or makes an empty one where there is none.
pub(super) fn open(paths: &Paths, sealer: &mut Sealer) -> Result<Connection, ArchiveError> {
    let path = &paths.main;
    if paths.suspect().exists() {
        let why = "damage was met while it was in use".to_owned();
        return Err(ArchiveError::Damaged { path: path.clone(), why });
    }
    if !path.exists() {
        if paths.beside("-wal").exists() {
            let why = "it is missing, and its log is there".to_owned();
            return Err(ArchiveError::Damaged { path: path.clone(), why });
        }
        let new = paths.new_one();
        drop(make(&new, sealer, &Beginning::default())?);
        fs::rename(&new, path).map_err(ArchiveError::io("rename", &new))?;
        paths.sync_directory()?;
    }
    check_header(paths)?;
    let mut db = connect(path)?;
    check(&mut db, path)?;
    Ok(db)
}

/// With what an archive begins.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// The event before the first one.
    pub(super) event: i64,
    /// The row before the first one of `entries`.
    pub(super) entry: i64,
    /// The row before the first one of the other tables.
    pub(super) row: i64,
}

/// Makes an empty archive at `path`, in place of whatever is there.
pub(super) fn make(
    path: &Path,
    sealer: &mut Sealer,
    beginning: &Beginning,
) -> Result<Connection, ArchiveError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(path).map_err(ArchiveError::io("create", path))?);
    let failed = || ArchiveError::sqlite("create", path);
    let db = raw_connection(path).map_err(failed())?;
    let made = (|| {
        db.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE;",
        )?;
        db.execute_batch(TABLES)?;
        db.pragma_update(None, "application_id", APPLICATION)?;
        db.pragma_update(None, "user_version", VERSION)?;
        for (counter, value) in [
            (Counter::Entry, beginning.entry),
            (Counter::Event, beginning.event),
            (Counter::Row, beginning.row),
        ] {
            db.execute("INSERT INTO counters VALUES (?, ?)", params![counter as i64, value])?;
        }
        write_meta(&db, sealer)?;
        db.execute_batch("COMMIT")
    })();
    made.map_err(failed())?;
    Ok(db)
}

/// Opens the file without looking whether it is ours.
fn raw_connection(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = Connection::open_with_flags(path, flags)?;
    db.set_prepared_statement_cache_capacity(64);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(db)
}

fn connect(path: &Path) -> Result<Connection, ArchiveError> {
    let open = || -> rusqlite::Result<Connection> {
        let db = raw_connection(path)?;
        // Exclusive before the log is opened: then its index is in our memory and not in a file,
        // and a full disk can still be read. One process has the profile anyway.
        db.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;")?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;",
        )?;
        db.pragma_update(None, "cache_size", -CACHE_KIB)?;
        db.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
        Ok(db)
    };
    open().map_err(ArchiveError::sqlite("open", path))
}

/// Opens a damaged archive for reading what can be read; it is left as it is.
pub(super) fn connect_damaged(path: &Path) -> rusqlite::Result<Connection> {
    let db = raw_connection(path)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    // Without this a file that is too short is not read at all.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    db.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON; PRAGMA query_only = ON;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(db)
}

/// Looks at what never changes at the beginning of the file (SQLite's "Database Header", 1.3), and at
/// its length: SQLite itself takes some of it for a reason to wait, or fills up what is missing.
fn check_header(paths: &Paths) -> Result<(), ArchiveError> {
    let path = &paths.main;
    let read = || -> std::io::Result<([u8; HEADER_BYTES], u64)> {
        let mut file = File::open(path)?;
        let mut header = [0; HEADER_BYTES];
        let len = file.metadata()?.len();
        if len >= HEADER_BYTES as u64 {
            std::io::Read::read_exact(&mut file, &mut header)?;
        }
        Ok((header, len))
    };
    let (header, len) = read().map_err(ArchiveError::io("read", path))?;
    let is_good = header.starts_with(b"SQLite format 3\0\x10\0")
        && matches!(header[18..20], [1, 1] | [2, 2])
        && header[20..24] == [0, 64, 32, 32];
    // After a power cut the last page may be in the log alone.
    let has_log = fs::metadata(paths.beside("-wal")).is_ok_and(|log| log.len() > 0);
    let why = if !is_good {
        "its header is not an archive's"
    } else if !has_log && len % PAGE_BYTES != 0 {
        "its end is missing"
    } else {
        return Ok(());
    };
    Err(ArchiveError::Damaged { path: path.clone(), why: why.to_owned() })
}

/// Looks whether the file is ours, of a version that we read, and whole as far as a quick look tells.
fn check(db: &mut Connection, path: &Path) -> Result<(), ArchiveError> {
    let failed = || ArchiveError::sqlite("read", path);
    let damaged = |why: String| ArchiveError::Damaged { path: path.to_owned(), why };
    let number =
        |db: &Connection, pragma: &str| db.pragma_query_value(None, pragma, |row| row.get(0));
    let application: i64 = number(db, "application_id").map_err(failed())?;
    if application != APPLICATION {
        return Err(damaged("it is not an archive".to_owned()));
    }
    let version: i64 = number(db, "user_version").map_err(failed())?;
    match version {
        VERSION => {}
        // Earlier versions are migrated here, each by one transaction, once there are any.
        later if later > VERSION => {
            return Err(ArchiveError::Newer { path: path.to_owned(), version: later });
        }
        other => return Err(damaged(format!("it has version {other}"))),
    }
    let until = clock::now() + CHECK_WITHIN;
    db.progress_handler(CHECK_STEPS, Some(move || clock::now() > until)).map_err(failed())?;
    let said = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    db.progress_handler(0, None::<fn() -> bool>).map_err(failed())?;
    match said {
        Ok(said) if said == "ok" => Ok(()),
        Ok(said) => Err(damaged(said)),
        Err(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) =>
        {
            tracing::debug!("the archive is large: its beginning alone was checked");
            Ok(())
        }
        Err(error) => Err(failed()(error)),
    }
}

/// Looks whether the archive is this profile's, and says whether it is a copy that was made to be
/// carried away: our chains may go on elsewhere.
pub(super) fn read_meta(
    db: &Connection,
    path: &Path,
    sealer: &Sealer,
) -> Result<bool, ArchiveError> {
    let query = "SELECT is_copy, sealed FROM meta WHERE id = ?";
    let row: Option<(i64, Vec<u8>)> = db
        .query_row(query, [META_ROW], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(ArchiveError::sqlite("read", path))?;
    let damaged = || {
        let why = "what it knows of itself does not read".to_owned();
        ArchiveError::Damaged { path: path.to_owned(), why }
    };
    let (is_copy, bytes) = row.ok_or_else(damaged)?;
    let (sealed, found) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(damaged)?;
    if *found != meta_checksum(sealed) {
        return Err(damaged());
    }
    // It is what was written, so it is the key that is another.
    let plain = sealer
        .open(Table::Meta, &[META_ROW], sealed)
        .map_err(|_| ArchiveError::WrongKey { path: path.to_owned() })?;
    if plain.as_slice() == META { Ok(is_copy != 0) } else { Err(damaged()) }
}

fn write_meta(db: &Connection, sealer: &mut Sealer) -> rusqlite::Result<()> {
    let mut sealed = sealer.seal(Table::Meta, &[META_ROW], META);
    let checksum = meta_checksum(&sealed);
    sealed.extend_from_slice(&checksum);
    db.execute("INSERT INTO meta VALUES (?, 0, ?)", params![META_ROW, sealed]).map(drop)
}

fn meta_checksum(sealed: &[u8]) -> [u8; CHECKSUM_BYTES] {
    hash::unkeyed(META_CHECKSUM_LABEL, &[sealed])
}

/// Copies the whole archive, consistent and without gaps, to a file that is not there yet, and marks
/// the copy as one: before it has its name, as one without the mark would go on in our chains.
pub(super) fn copy(db: &Connection, to: &Path) -> Result<(), ArchiveError> {
    let failed = || ArchiveError::sqlite("copy the archive to", to);
    let refused = || ArchiveError::io("copy the archive to", to);
    if to.symlink_metadata().is_ok() {
        return Err(refused()(std::io::ErrorKind::AlreadyExists.into()));
    }
    let mut new = to.as_os_str().to_owned();
    new.push(".tmp");
    let new = PathBuf::from(new);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(&new).map_err(refused())?);
    let name =
        new.to_str().ok_or_else(|| refused()(std::io::Error::other("its name is not UTF-8")))?;
    let copied = db.execute("VACUUM INTO ?", [name]).and_then(|_| {
        let copy = raw_connection(&new)?;
        copy.execute_batch("PRAGMA synchronous = FULL; UPDATE meta SET is_copy = 1;")
    });
    let renamed = copied.map_err(failed()).and_then(|()| fs::rename(&new, to).map_err(refused()));
    renamed.inspect_err(|_| {
        // What is half there is of no use.
        let _ = fs::remove_file(&new);
    })
}

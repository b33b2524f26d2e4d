//! A whole profile in one file, to be carried to another machine or kept as a copy.
//!
//! An export is written beside and renamed when it is whole, and so is the directory of a profile
//! that is read from one: what is there under its name is whole.
//!
//! Form: `docs/spec/profile.md`, "Export".

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bitchat_protocol::at_rest::{
    BUNDLE_HEAD_BYTES_MAX, BUNDLE_MAGIC, BUNDLE_PIECE_BYTES_MAX, BUNDLE_SEAL_BYTES, BundleError,
    BundleKey, IdentityBody, is_bundle_name, open_bundle_head, write_bundle_head,
};
use bitchat_protocol::crypto::Rng;
use zeroize::Zeroizing;

use super::identity_file::IdentityFile;
use super::{Found, Passphrase, Profile, ProfileError, disk, profile_dir, stretch};
use crate::entropy;

/// A record without content: the profile was under a passphrase, and is so again.
const SEALED: &str = "sealed";
/// Files of a profile that are of one machine, or of one moment, alone: the archive is given as a
/// copy, and two nodes must not be one node of the DHT.
const LEFT_OUT: [&str; 4] = ["lock", "identity", "archive", "dht"];

impl Profile {
    /// Writes the whole profile to a file that is not there yet, under a passphrase of its own.
    /// `archive` is a consistent copy of what was said.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Disk`]; there is no file then.
    pub fn export(
        &self,
        archive: &Path,
        passphrase: &Passphrase,
        to: &Path,
    ) -> Result<(), ProfileError> {
        let failed = |error| ProfileError::disk("write the export", to)(error);
        if to.symlink_metadata().is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let mut new = to.as_os_str().to_owned();
        new.push(".tmp");
        let new = PathBuf::from(new);
        let written = self.write_bundle(archive, passphrase, &new);
        let renamed = written.and_then(|()| {
            fs::rename(&new, to)?;
            disk::sync_directory_of(to)
        });
        renamed.map_err(|error| {
            // What is half there is of no use.
            let _ = fs::remove_file(&new);
            failed(error)
        })
    }

    fn write_bundle(&self, archive: &Path, passphrase: &Passphrase, to: &Path) -> io::Result<()> {
        let mut rng = Rng::from_seed(entropy::seed());
        // The port of one machine may be taken on another.
        let body = IdentityBody { udp_port: None, ..self.body.clone() };
        let (head, key) = write_bundle_head(&body, &stretch(passphrase), &mut rng);
        let mut file = disk::private_options().truncate(true).open(to)?;
        file.write_all(BUNDLE_MAGIC)?;
        write_long(&mut file, &head)?;
        let mut pieces = PieceWriter { file, key, rng, number: 0, plain: Vec::new() };
        if self.is_sealed() {
            write_record(&mut pieces, SEALED, 0, io::empty())?;
        }
        for name in self.bundle_names()? {
            write_file(&mut pieces, &name, &self.dir().join(&name))?;
        }
        write_file(&mut pieces, "archive", archive)?;
        pieces.finish()?.sync_all()
    }

    /// The names of all files that go with a profile.
    fn bundle_names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for (name, entry) in plain_entries(self.dir())? {
            let stem = name.split('.').next().unwrap_or_default();
            let kind = entry.file_type()?;
            if kind.is_file() && !LEFT_OUT.contains(&stem) {
                names.push(name);
            } else if kind.is_dir() {
                for (inner, entry) in plain_entries(&entry.path())? {
                    if entry.file_type()?.is_file() {
                        names.push(format!("{name}/{inner}"));
                    }
                }
            }
        }
        names.retain(|name| is_bundle_name(name) && name != SEALED);
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a profile of what [`Self::export`] has written. It is under the same passphrase as the
    /// file, where the profile that was exported was under one.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Exists`], [`ProfileError::BadName`], [`ProfileError::BadExport`],
    /// [`ProfileError::WrongExportPassphrase`], [`ProfileError::Disk`]; nothing was made then.
    pub fn import(
        data_dir: &Path,
        name: &str,
        from: &Path,
        passphrase: &Passphrase,
    ) -> Result<(), ProfileError> {
        let dir = profile_dir(data_dir, name)?;
        let is_taken = fs::read_dir(&dir).is_ok_and(|mut files| files.next().is_some());
        if is_taken || Self::find(data_dir, name)? != Found::Nothing {
            return Err(ProfileError::Exists { name: name.to_owned() });
        }
        // No profile can be called so.
        let new = data_dir.join(format!(".{name}.import"));
        let made = make_anew(&new)
            .and_then(|()| read_bundle(from, passphrase, &new))
            .and_then(|()| put_in_place(&new, &dir));
        if made.is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        made
    }
}

fn make_anew(dir: &Path) -> Result<(), ProfileError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ProfileError::disk("remove", dir)(error))
        }
        Ok(()) | Err(_) => disk::make_directory(dir),
    }
}

fn put_in_place(new: &Path, dir: &Path) -> Result<(), ProfileError> {
    fs::rename(new, dir).map_err(ProfileError::disk("rename", new))?;
    disk::sync_directory_of(dir).map_err(ProfileError::disk("sync the directory of", dir))
}

fn read_bundle(from: &Path, passphrase: &Passphrase, into: &Path) -> Result<(), ProfileError> {
    let bad = |why: &dyn std::fmt::Display| ProfileError::BadExport {
        path: from.to_owned(),
        why: why.to_string(),
    };
    let failed = |error: io::Error| {
        // What is not there any more was cut off.
        if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
            return bad(&BundleError::Piece);
        }
        ProfileError::disk("read", from)(error)
    };
    let mut file = BufReader::new(File::open(from).map_err(ProfileError::disk("read", from))?);
    let mut magic = [0; BUNDLE_MAGIC.len()];
    let is_ours = file.read_exact(&mut magic).is_ok() && magic == *BUNDLE_MAGIC;
    if !is_ours {
        return Err(bad(&"it is no export of a bitchat profile"));
    }
    let head = read_long(&mut file, BUNDLE_HEAD_BYTES_MAX).map_err(failed)?;
    let (body, key) =
        open_bundle_head(&head, passphrase.expose()).map_err(|error| match error {
            BundleError::WrongPassphrase => {
                ProfileError::WrongExportPassphrase { path: from.to_owned() }
            }
            BundleError::Head(_) | BundleError::Piece => bad(&error),
        })?;
    let mut pieces = PieceReader { file, key, number: 0, plain: Zeroizing::default(), at: 0 };
    let mut is_sealed = false;
    while let Some((name, size)) = read_record(&mut pieces).map_err(failed)? {
        if name == SEALED {
            is_sealed = true;
            continue;
        }
        let path = into.join(&name);
        if let Some(parent) = path.parent() {
            disk::make_directory(parent)?;
        }
        let opened = disk::private_options().create_new(true).open(&path);
        let mut file = opened.map_err(ProfileError::disk("create", &path))?;
        copy_exactly(&mut pieces, size, &mut file).map_err(|error| match error {
            Copying::Read(error) => failed(error),
            Copying::Write(error) => ProfileError::disk("write", &path)(error),
        })?;
        file.sync_all().map_err(ProfileError::disk("sync", &path))?;
        disk::sync_directory_of(&path).map_err(ProfileError::disk("sync", &path))?;
    }
    let key = is_sealed.then(|| stretch(passphrase));
    IdentityFile::new(into).write(&body, key.as_ref())
}

/// Entries of a directory whose names are plain, without versions before and what a crash has left.
fn plain_entries(dir: &Path) -> io::Result<Vec<(String, fs::DirEntry)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_bundle_name(&name) && !name.ends_with(".bak") && !name.ends_with(".tmp") {
            entries.push((name, entry));
        }
    }
    Ok(entries)
}

/// Puts bytes behind their length.
fn write_long(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&len.to_be_bytes())?;
    to.write_all(bytes)
}

fn read_long(from: &mut impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = usize::try_from(u32::from_be_bytes(len)).ok().filter(|len| *len <= bytes_max);
    let mut bytes = vec![0; len.ok_or(io::ErrorKind::InvalidData)?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn write_file(to: &mut impl Write, name: &str, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    write_record(to, name, size, file)
}

fn write_record(to: &mut impl Write, name: &str, size: u64, content: impl Read) -> io::Result<()> {
    let len = u8::try_from(name.len()).map_err(io::Error::other)?;
    to.write_all(&[len])?;
    to.write_all(name.as_bytes())?;
    to.write_all(&size.to_be_bytes())?;
    let copied = io::copy(&mut content.take(size), to)?;
    if copied == size { Ok(()) } else { Err(io::Error::other(format!("{name} became shorter"))) }
}

/// The name and size of the next file; `None`: there is none.
fn read_record(from: &mut impl Read) -> io::Result<Option<(String, u64)>> {
    let mut len = [0; 1];
    if from.read(&mut len)? == 0 {
        return Ok(None);
    }
    let mut name = vec![0; usize::from(len[0])];
    from.read_exact(&mut name)?;
    let name = String::from_utf8(name).ok().filter(|name| is_bundle_name(name));
    let mut size = [0; 8];
    from.read_exact(&mut size)?;
    let name = name.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((name, u64::from_be_bytes(size))))
}

enum Copying {
    Read(io::Error),
    Write(io::Error),
}

fn copy_exactly(from: &mut impl Read, size: u64, to: &mut impl Write) -> Result<(), Copying> {
    let mut left = size;
    let mut buffer = vec![0; BUNDLE_PIECE_BYTES_MAX];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = from.read(&mut buffer[..most]).map_err(Copying::Read)?;
        if read == 0 {
            return Err(Copying::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        to.write_all(&buffer[..read]).map_err(Copying::Write)?;
        left -= read as u64;
    }
    Ok(())
}

/// Cuts what is written into pieces and seals them.
struct PieceWriter {
    file: File,
    key: BundleKey,
    rng: Rng,
    number: u64,
    plain: Vec<u8>,
}

impl PieceWriter {
    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let sealed = self.key.seal(&mut self.rng, self.number, is_last, &self.plain);
        self.number += 1;
        self.plain.clear();
        write_long(&mut self.file, &sealed)
    }

    fn finish(mut self) -> io::Result<File> {
        self.seal(true)?;
        Ok(self.file)
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.plain.len() == BUNDLE_PIECE_BYTES_MAX {
            self.seal(false)?;
        }
        let taken = bytes.len().min(BUNDLE_PIECE_BYTES_MAX - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the plain text of pieces, and its end only where the last one ends.
struct PieceReader<R> {
    file: BufReader<R>,
    key: BundleKey,
    number: u64,
    plain: Zeroizing<Vec<u8>>,
    at: usize,
}

impl<R: Read> PieceReader<R> {
    fn open_next(&mut self) -> io::Result<()> {
        let sealed = read_long(&mut self.file, BUNDLE_PIECE_BYTES_MAX + BUNDLE_SEAL_BYTES)?;
        let is_last = self.file.fill_buf()?.is_empty();
        let plain = self.key.open(self.number, is_last, &sealed);
        self.plain = plain.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        (self.at, self.number) = (0, self.number + 1);
        Ok(())
    }
}

impl<R: Read> Read for PieceReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if self.number > 0 && self.file.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.open_next()?;
        }
        let taken = into.len().min(self.plain.len() - self.at);
        into[..taken].copy_from_slice(&self.plain[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes().to_vec()).unwrap()
    }

    struct Scene {
        home: tempfile::TempDir,
        data: Vec<u8>,
    }

    impl Scene {
        /// A profile with files, exported to `export`.
        fn new(passphrase: Option<&str>) -> Self {
            let home = tempfile::tempdir().unwrap();
            let passphrase = passphrase.map(secret);
            let profile = Profile::create(home.path(), "old", None, passphrase.as_ref()).unwrap();
            profile.file("contacts").write(b"whom we know").unwrap();
            profile.file("contacts").write(b"whom we know now").unwrap();
            profile.file("dht").write(b"who we are there").unwrap();
            profile.file_of("channels", b"team", "chat").write(b"a channel").unwrap();
            let data = (0..100_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>();
            fs::write(home.path().join("copy"), &data).unwrap();
            profile
                .export(&home.path().join("copy"), &secret("carry"), &home.path().join("export"))
                .unwrap();
            Self { home, data }
        }

        fn export(&self) -> PathBuf {
            self.home.path().join("export")
        }

        fn import(&self, name: &str, passphrase: &str) -> Result<(), ProfileError> {
            Profile::import(self.home.path(), name, &self.export(), &secret(passphrase))
        }
    }

    #[test]
    fn a_profile_comes_out_of_its_export_as_it_went_in() {
        for passphrase in [None, Some("at home")] {
            let scene = Scene::new(passphrase);
            let old_passphrase = passphrase.map(secret);
            let old = Profile::open(scene.home.path(), "old", old_passphrase.as_ref()).unwrap();
            scene.import("new", "carry").unwrap();
            let new_passphrase = passphrase.map(|_| secret("carry"));
            let new = Profile::open(scene.home.path(), "new", new_passphrase.as_ref()).unwrap();
            assert_eq!(new.peer_id(), old.peer_id());
            assert_eq!(new.udp_port(), None);
            let read = |file: crate::vault::SealedFile| file.read().unwrap().map(|it| it.to_vec());
            assert_eq!(read(new.file("contacts")).as_deref(), Some(&b"whom we know now"[..]));
            assert_eq!(read(new.file("dht")), None);
            let chat = new.file_of("channels", b"team", "chat");
            assert_eq!(read(chat).as_deref(), Some(&b"a channel"[..]));
            assert_eq!(fs::read(new.dir().join("archive")).unwrap(), scene.data);
            let refused = scene.import("new", "carry").unwrap_err();
            assert!(matches!(refused, ProfileError::Exists { .. }), "{refused}");
        }
    }

    #[test]
    fn what_is_no_whole_export_is_refused_and_leaves_nothing() {
        let scene = Scene::new(None);
        let names = |scene: &Scene| fs::read_dir(scene.home.path()).unwrap().count();
        let before = names(&scene);
        let refused = scene.import("new", "another").unwrap_err();
        assert!(matches!(refused, ProfileError::WrongExportPassphrase { .. }), "{refused}");
        let bytes = fs::read(scene.export()).unwrap();
        let check = |bytes: &[u8], what: &str| {
            fs::write(scene.export(), bytes).unwrap();
            let refused = scene.import("new", "carry").expect_err(what);
            assert!(matches!(refused, ProfileError::BadExport { .. }), "{what}: {refused}");
            assert_eq!(names(&scene), before, "{what}");
        };
        // The ends of the magic, the head, pieces and all but the last byte.
        let piece = 4 + BUNDLE_PIECE_BYTES_MAX + BUNDLE_SEAL_BYTES;
        let head = u32::from_be_bytes(bytes[8..12].try_into().unwrap());
        let head = 12 + usize::try_from(head).unwrap();
        let ends = [0, 7, 8, 12, 100, head, head + 3, head + piece, head + 3 * piece];
        for len in ends.into_iter().chain([bytes.len() - 1]) {
            check(&bytes[..len], &format!("{len} bytes"));
        }
        for place in [0, 8, 9, 20, head - 1, head, head + 2, head + 50, bytes.len() - 1] {
            let mut wrong = bytes.clone();
            wrong[place] ^= 1;
            check(&wrong, &format!("byte {place}"));
        }
        // A piece left out, two exchanged, something behind the end.
        check(&[&bytes[..head], &bytes[head + piece..]].concat(), "left out");
        let [first, second] = [0, 1].map(|n| &bytes[head + n * piece..head + (n + 1) * piece]);
        let rest = &bytes[head + 2 * piece..];
        check(&[&bytes[..head], second, first, rest].concat(), "exchanged");
        check(&[&bytes[..], &[0]].concat(), "longer");
        fs::write(scene.export(), &bytes).unwrap();
        scene.import("new", "carry").unwrap();
    }

    #[test]
    fn an_export_takes_no_other_file_s_place_and_a_failed_one_leaves_nothing() {
        let scene = Scene::new(None);
        let profile = Profile::open(scene.home.path(), "old", None).unwrap();
        let bytes = fs::read(scene.export()).unwrap();
        let archive = scene.home.path().join("copy");
        let again = profile.export(&archive, &secret("other"), &scene.export()).unwrap_err();
        assert!(again.to_string().contains("exists"), "{again}");
        assert_eq!(fs::read(scene.export()).unwrap(), bytes);
        let to = scene.home.path().join("second");
        let missing = scene.home.path().join("missing");
        assert!(profile.export(&missing, &secret("other"), &to).is_err());
        assert!(!to.exists() && !scene.home.path().join("second.tmp").exists());
    }
}

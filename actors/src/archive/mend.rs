//! Mending: what can be read of a damaged archive goes into a new one; the damaged one is set aside.
//!
//! Each row is sealed, so what is read is what was written or it is not taken. A chain whose middle is
//! lost keeps what comes after the hole to serve to others, and what comes before it to be read. A
//! chain whose end is lost ends earlier, and the rest comes from others as if we had been away; as our
//! own chain may be such a one, a mended archive begins a new chain of ours.
//!
//! It works in steps, and a crash at any moment leaves the damaged archive in its place, or the mended.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use bitchat_protocol::crypto::Secret;
use bitchat_protocol::id::{ChannelId, DeviceId};
use bitchat_protocol::log::{Entry, EntryHash};
use bytes::Bytes;
use rusqlite::{Connection, Row, params};

use super::ArchiveError;
use super::append::EVENTS_MAX;
use super::read::EntryRow;
use super::schema::{self, Beginning, Paths};
use super::seal::{Sealer, Table};
use super::store::{
    Chain, ChainRow, head_clear, open_channel_row, seal_channel_row, signed, unsigned,
};
use crate::clock;

/// Rows of one step.
const STEP: usize = 500;
/// Rows after an unreadable one that are tried one by one; beyond, each jump is twice as wide.
const PATIENCE: i64 = 64;

/// Goes from a damaged archive to a mended one.
#[derive(Debug)]
pub(super) struct Mender {
    paths: Paths,
    sealer: Sealer,
    old: Option<Connection>,
    new: Connection,
    channels: HashMap<i64, ChannelId>,
    chains: HashMap<i64, Mended>,
    scan: Scan,
    pub(super) tally: Tally,
}

/// What became of the rows of the damaged archive.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) kept: u64,
    pub(super) lost: u64,
}

/// A chain, as far as its entries were found.
#[derive(Debug)]
struct Mended {
    row: ChainRow,
    chain: Option<Chain>,
    count: u64,
    bytes: u64,
    base: u64,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    number: u64,
    clock: u64,
    hash: EntryHash,
}

/// Where reading a table stands that may not be readable everywhere.
#[derive(Debug, Default)]
struct Scan {
    from: i64,
    end: i64,
    stumbles: i64,
}

impl Mender {
    /// Begins anew, whatever an earlier attempt has left.
    pub(super) fn begin(paths: Paths, storage_key: &Secret<32>) -> Result<Self, ArchiveError> {
        let mut sealer = Sealer::new(storage_key);
        let old = schema::connect_damaged(&paths.main)
            .inspect_err(|error| tracing::warn!("nothing of the archive can be read: {error}"))
            .ok();
        let greatest = |query: &str| -> Option<i64> {
            old.as_ref()?.query_row(query, [], |row| row.get(0)).ok().flatten()
        };
        let event = greatest("SELECT value FROM counters WHERE name = 2");
        // Clients have been told numbers up to an unknown one: seconds since 1970 are beyond it.
        let event = event.unwrap_or_else(|| {
            let seconds = i64::try_from(clock::unix().as_secs()).unwrap_or(i64::MAX / 2);
            seconds.max(greatest("SELECT max(seq) FROM events").unwrap_or(0))
        });
        let end = greatest("SELECT max(id) FROM entries").unwrap_or(0);
        let end = end.max(greatest("SELECT value FROM counters WHERE name = 1").unwrap_or(1 << 40));
        let beginning = Beginning { event, entry: 0 };
        let new = schema::make(&paths.new_one(), &mut sealer, &beginning)?;
        let scan = Scan { from: 0, end, stumbles: 0 };
        let mut mender = Self {
            paths,
            sealer,
            old,
            new,
            channels: HashMap::new(),
            chains: HashMap::new(),
            scan,
            tally: Tally::default(),
        };
        mender.writing(|mender| {
            mender.new.execute_batch("BEGIN IMMEDIATE")?;
            mender.copy_small_tables()
        })?;
        Ok(mender)
    }

    fn writing<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, ArchiveError> {
        let path = self.paths.new_one();
        work(self).map_err(ArchiveError::sqlite("mend the archive into", &path))
    }

    /// All rows of a small table that can be read.
    fn rows<T>(&self, query: &str, read: impl Fn(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let Some(old) = &self.old else { return Vec::new() };
        let Ok(mut query) = old.prepare(query) else { return Vec::new() };
        let Ok(mut rows) = query.query([]) else { return Vec::new() };
        let mut all = Vec::new();
        while let Ok(Some(row)) = rows.next() {
            all.extend(read(row));
        }
        all
    }

    fn copy_small_tables(&mut self) -> rusqlite::Result<()> {
        let pair = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
        for (row, sealed) in self.rows("SELECT id, sealed FROM peers", pair) {
            if self.sealer.open(Table::Peers, &[row], &sealed).is_ok() {
                self.new.execute("INSERT INTO peers VALUES (?, ?)", params![row, sealed])?;
            }
        }
        for (row, sealed) in self.rows("SELECT id, sealed FROM channels", pair) {
            if let Ok((id, _)) = open_channel_row(&self.sealer, row, &sealed) {
                let device = DeviceId(self.sealer.draw());
                let sealed = seal_channel_row(&mut self.sealer, row, &id, device);
                self.new.execute("INSERT INTO channels VALUES (?, ?)", params![row, sealed])?;
                self.channels.insert(row, id);
            }
        }
        let client = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let clients: Vec<(i64, i64, Vec<u8>)> =
            self.rows("SELECT id, seq, sealed FROM clients", client);
        for (row, seq, sealed) in clients {
            if self.sealer.open(Table::Clients, &[row], &sealed).is_ok() {
                let insert = "INSERT INTO clients VALUES (?, ?, ?)";
                self.new.execute(insert, params![row, seq, sealed])?;
            }
        }
        let chains = format!("SELECT {} FROM chains", ChainRow::COLUMNS);
        for row in self.rows(&chains, ChainRow::read) {
            let is_ours = row.open_certificate(&self.sealer).is_ok();
            if is_ours && self.channels.contains_key(&row.channel) {
                let chain = row.clone().open(&self.sealer).ok();
                let base = chain.as_ref().map_or(0, |chain| chain.state.base);
                let id = row.id;
                let mended = Mended { row, chain, count: 0, bytes: 0, base, last: None };
                self.chains.insert(id, mended);
            }
        }
        Ok(())
    }

    /// Takes some more entries; says whether there is more to do.
    pub(super) fn step(&mut self) -> Result<bool, ArchiveError> {
        let (rows, more) = self.next_rows();
        self.writing(|mender| rows.into_iter().try_for_each(|row| mender.take_entry(row)))?;
        if !more {
            self.finish()?;
        }
        Ok(more)
    }

    fn next_rows(&mut self) -> (Vec<(EntryRow, Flags)>, bool) {
        let Some(old) = &self.old else { return (Vec::new(), false) };
        let query = format!(
            "SELECT {}, e.shown, e.said FROM entries e NOT INDEXED WHERE e.id > ? ORDER BY e.id
             LIMIT {STEP}",
            EntryRow::COLUMNS
        );
        let (mut taken, scan) = (Vec::new(), &mut self.scan);
        let mut read = || -> rusqlite::Result<()> {
            let mut query = old.prepare_cached(&query)?;
            let mut rows = query.query([scan.from])?;
            while let Some(row) = rows.next()? {
                let id: i64 = row.get(0)?;
                let flags = Flags { shown: row.get(7)?, said: row.get(8)? };
                taken.push((EntryRow::read(row)?, flags));
                (scan.from, scan.stumbles) = (id, 0);
            }
            Ok(())
        };
        let more = match read() {
            Ok(()) => !taken.is_empty(),
            Err(_) => {
                scan.stumbles += 1;
                self.tally.lost += 1;
                let doublings = u32::try_from((scan.stumbles - PATIENCE).clamp(0, 40)).unwrap_or(0);
                scan.from = scan.from.saturating_add(1 << doublings);
                scan.from <= scan.end
            }
        };
        (taken, more)
    }

    fn take_entry(&mut self, (row, flags): (EntryRow, Flags)) -> rusqlite::Result<()> {
        let entry = row.open(&self.sealer).ok();
        let mended = self.chains.get_mut(&row.chain);
        let channel = mended.as_ref().and_then(|mended| self.channels.get(&mended.row.channel));
        let hash = entry.zip(channel).and_then(|(entry, id)| {
            Entry::decode(id, Bytes::copy_from_slice(&entry)).ok().map(|entry| entry.hash)
        });
        let (Some(hash), Some(mended)) = (hash, mended) else {
            self.tally.lost += 1;
            return Ok(());
        };
        let number = unsigned(row.number);
        let expected = mended.last.as_ref().map_or(mended.base, |last| last.number) + 1;
        if number != expected {
            mended.base = number.saturating_sub(1);
        }
        row.insert(&self.new, &flags)?;
        mended.last = Some(Last { number, clock: unsigned(row.clock), hash });
        mended.count += 1;
        mended.bytes += row.sealed_bytes();
        self.tally.kept += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ArchiveError> {
        let last = self.scan.from;
        self.writing(|mender| {
            mender.write_chains()?;
            mender.copy_receipts_and_events()?;
            let update = "UPDATE counters SET value = ? WHERE name = 1";
            mender.new.execute(update, [last.min(i64::MAX / 2)])?;
            mender.new.execute_batch("COMMIT")
        })?;
        let new = self.paths.new_one();
        let synced = fs::File::open(&new).and_then(|file| file.sync_all());
        synced.map_err(ArchiveError::io("sync", &new))?;
        fs::rename(&new, self.paths.mended()).map_err(ArchiveError::io("rename", &new))?;
        self.paths.sync_directory()
    }

    fn write_chains(&mut self) -> rusqlite::Result<()> {
        for (id, mended) in std::mem::take(&mut self.chains) {
            let Mended { row, chain, count, bytes, base, last } = mended;
            let known = chain.map(|chain| chain.state);
            let (head, clock, hash) = match (last, known) {
                // The entries that were found go on to where the chain says that it ends.
                (Some(last), _) => (last.number, last.clock, last.hash),
                // All was pruned.
                (None, Some(state)) if state.base == state.head => {
                    (state.head, state.head_clock, state.head_hash)
                }
                (None, _) => continue,
            };
            let base = base.min(head);
            let clear = head_clear(id, row.channel, base, head, clock);
            let sealed = self.sealer.seal(Table::ChainHeads, &clear, &hash.0);
            let insert = format!(
                "INSERT INTO chains ({}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ChainRow::COLUMNS
            );
            self.new.execute(
                &insert,
                params![
                    id,
                    row.channel,
                    signed(base),
                    signed(head),
                    signed(clock),
                    signed(count),
                    signed(bytes),
                    row.certificate,
                    sealed
                ],
            )?;
        }
        Ok(())
    }

    fn copy_receipts_and_events(&mut self) -> rusqlite::Result<()> {
        let four = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let receipts: Vec<(i64, i64, i64, i64)> =
            self.rows("SELECT chain, peer, number, role FROM receipts NOT INDEXED", four);
        for (chain, peer, number, role) in receipts {
            let insert = "INSERT OR IGNORE INTO receipts SELECT ?1, ?2, min(?3, c.head), ?4
                 FROM chains c WHERE c.id = ?1";
            self.new.execute(insert, params![chain, peer, number, role])?;
        }
        let forks = self.rows("SELECT chain, number, sealed FROM forks", |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        for (chain, number, sealed) in forks {
            if self.sealer.open(Table::Forks, &[chain, number], &sealed).is_ok() {
                let insert = "INSERT OR IGNORE INTO forks VALUES (?, ?, ?)";
                self.new.execute(insert, params![chain, number, sealed])?;
            }
        }
        let query = format!(
            "SELECT seq, kind, subject, peer, role FROM events ORDER BY seq DESC LIMIT {EVENTS_MAX}"
        );
        type Row5 = (i64, i64, i64, Option<i64>, Option<i64>);
        let events: Vec<Row5> = self.rows(&query, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        });
        for (seq, kind, subject, peer, role) in events {
            let insert = "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)";
            self.new.execute(insert, params![seq, kind, subject, peer, role])?;
        }
        let update = "UPDATE counters SET value =
             max(value, (SELECT coalesce(max(seq), 0) FROM events)) WHERE name = 2";
        self.new.execute(update, []).map(drop)
    }

    /// Puts the mended archive into the place of the damaged one, and says where that is now.
    pub(super) fn swap(self) -> Result<Option<PathBuf>, ArchiveError> {
        let Self { paths, old, new, .. } = self;
        drop((old, new));
        paths.finish_mending()
    }
}

/// What stands in clear in a row of `entries` and is not bound by its seal, as it follows from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    pub(super) shown: bool,
    pub(super) said: Option<i64>,
}

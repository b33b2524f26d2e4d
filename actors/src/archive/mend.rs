//! Mending: what can be read of a damaged archive goes into a new one; the damaged one is set aside.
//!
//! Each row is sealed, so what is read is what was written or it is not taken. A chain ends before the
//! first hole, and the rest comes from others as if we had been away; what is there behind the hole can
//! be read meanwhile, and is not told again. A chain of ours of which nobody is known to have the last
//! entry keeps what comes after its last hole instead, to be given to others. As the end of a chain of
//! ours may be lost, a mended archive begins new ones.
//!
//! It works in steps, and a crash at any moment leaves the damaged archive in its place, or the mended.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use bitchat_protocol::crypto::Secret;
use bitchat_protocol::id::{ChannelId, DeviceId, PeerId};
use bitchat_protocol::log::{ChainState, Entry, EntryHash};
use bytes::Bytes;
use rusqlite::{Connection, Row, params};

use super::ArchiveError;
use super::append::{DELIVERED, FORKED, MESSAGE};
use super::events::EVENTS_MAX;
use super::read::EntryRow;
use super::schema::{self, Beginning, COUNTER_MAX, Counter, Paths};
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
    own: PeerId,
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
}

/// Where reading a table stands that may not be readable everywhere.
#[derive(Debug, Default)]
struct Scan {
    from: i64,
    end: i64,
    stumbles: i64,
    /// From where it could not be read the last time.
    failed: i64,
}

impl Mender {
    /// Begins anew, whatever an earlier attempt has left.
    /// `own` is who we are.
    pub(super) fn begin(
        paths: Paths,
        storage_key: &Secret<32>,
        own: PeerId,
    ) -> Result<Self, ArchiveError> {
        let mut sealer = Sealer::new(storage_key);
        let old = schema::connect_damaged(&paths.main)
            .inspect_err(|error| tracing::warn!("nothing of the archive can be read: {error}"))
            .ok();
        let greatest = |query: &str| -> Option<i64> {
            let value = old.as_ref()?.query_row(query, [], |row| row.get(0)).ok().flatten();
            value.filter(|value| (0..=COUNTER_MAX).contains(value))
        };
        let counter = |counter: Counter| {
            greatest(&format!("SELECT value FROM counters WHERE name = {}", counter as i64))
        };
        // Clients have been told numbers up to an unknown one: seconds since 1970 are beyond it.
        let event = counter(Counter::Event).unwrap_or_else(|| {
            let seconds = i64::try_from(clock::unix().as_secs()).unwrap_or(COUNTER_MAX);
            seconds.max(greatest("SELECT max(seq) FROM events").unwrap_or(0))
        });
        let (entry, row) = (counter(Counter::Entry), counter(Counter::Row).unwrap_or(0));
        let end = greatest("SELECT max(id) FROM entries").unwrap_or(0);
        let end = end.max(entry.unwrap_or(1 << 40));
        let beginning = Beginning { event, entry: entry.unwrap_or(0), row };
        let new = schema::make(&paths.new_one(), &mut sealer, &beginning)?;
        let scan = Scan { end, ..Scan::default() };
        let mut mender = Self {
            paths,
            own,
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
                self.new
                    .execute("INSERT OR IGNORE INTO peers VALUES (?, ?)", params![row, sealed])?;
            }
        }
        for (row, sealed) in self.rows("SELECT id, sealed FROM channels", pair) {
            if let Ok((id, _)) = open_channel_row(&self.sealer, row, &sealed) {
                let device = DeviceId(self.sealer.draw());
                let sealed = seal_channel_row(&mut self.sealer, row, &id, device);
                self.new.execute(
                    "INSERT OR IGNORE INTO channels VALUES (?, ?)",
                    params![row, sealed],
                )?;
                self.channels.insert(row, id);
            }
        }
        let client = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let clients: Vec<(i64, i64, Vec<u8>)> =
            self.rows("SELECT id, seq, sealed FROM clients", client);
        for (row, seq, sealed) in clients {
            if self.sealer.open(Table::Clients, &[row, seq], &sealed).is_ok() {
                let insert = "INSERT OR IGNORE INTO clients VALUES (?, ?, ?)";
                self.new.execute(insert, params![row, seq, sealed])?;
            }
        }
        let chains = format!("SELECT {} FROM chains", ChainRow::COLUMNS);
        for row in self.rows(&chains, ChainRow::read) {
            let is_ours = row.open_certificate(&self.sealer).is_ok();
            if is_ours && self.channels.contains_key(&row.channel) {
                let chain = row.clone().open(&self.sealer).ok();
                let id = row.id;
                self.chains.insert(id, Mended { row, chain, count: 0, bytes: 0 });
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
        let scan = &mut self.scan;
        let mut taken = Vec::new();
        match read_rows(old, scan.from, STEP, &mut taken) {
            // There may be good ones among those that were jumped over.
            Ok(()) if scan.from - scan.failed > 1 && scan.stumbles > 0 => {
                taken.clear();
                while scan.from - scan.failed > 1 {
                    let middle = scan.failed + (scan.from - scan.failed) / 2;
                    match read_rows(old, middle, 1, &mut Vec::new()) {
                        Ok(()) => scan.from = middle,
                        Err(_) => scan.failed = middle,
                    }
                }
                (taken, true)
            }
            Ok(()) => {
                let more = taken.last().map(|(row, _)| row.id);
                scan.from = more.unwrap_or(scan.from);
                scan.stumbles = 0;
                (taken, more.is_some())
            }
            Err(_) => {
                if let Some((row, _)) = taken.last() {
                    (scan.from, scan.stumbles) = (row.id, 0);
                }
                scan.stumbles += 1;
                scan.failed = scan.from;
                let doublings = u32::try_from((scan.stumbles - PATIENCE).clamp(0, 40)).unwrap_or(0);
                scan.from = scan.from.saturating_add(1 << doublings).min(scan.end);
                (taken, scan.failed < scan.end)
            }
        }
    }

    fn take_entry(&mut self, (row, flags): (EntryRow, Flags)) -> rusqlite::Result<()> {
        let entry = row.open(&self.sealer).ok();
        let mended = self.chains.get_mut(&row.chain);
        let channel = mended.as_ref().and_then(|mended| self.channels.get(&mended.row.channel));
        let is_good = entry
            .zip(channel)
            .is_some_and(|(entry, id)| Entry::decode(id, Bytes::copy_from_slice(&entry)).is_ok());
        let Some(mended) = mended else {
            self.tally.lost += 1;
            return Ok(());
        };
        // One that does not open leaves a gap in its chain, and is counted there.
        if !is_good || !row.insert(&self.new, &flags)? {
            return Ok(());
        }
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
            mender.raise_counters(last.min(COUNTER_MAX))?;
            mender.new.execute_batch("COMMIT")
        })?;
        let new = self.paths.new_one();
        let synced = fs::File::open(&new).and_then(|file| file.sync_all());
        synced.map_err(ArchiveError::io("sync", &new))?;
        fs::rename(&new, self.paths.mended()).map_err(ArchiveError::io("rename", &new))?;
        self.paths.sync_directory()
    }

    fn write_chains(&mut self) -> rusqlite::Result<()> {
        let mut received: HashMap<i64, u64> = HashMap::new();
        for (chain, number) in self.rows("SELECT chain, number FROM receipts NOT INDEXED", |row| {
            Ok((row.get::<_, i64>(0)?, unsigned(row.get(1)?)))
        }) {
            let most = received.entry(chain).or_default();
            *most = number.max(*most);
        }
        for (id, mended) in std::mem::take(&mut self.chains) {
            let Mended { row, chain, count, bytes } = mended;
            let known = chain.map(|chain| chain.state);
            let runs = self.runs(id)?;
            if let Some(known) = &known {
                let there = self.count_between(id, known.base, known.head)?;
                self.tally.lost += (known.head - known.base).saturating_sub(there);
            } else if let (Some((first, _)), Some((_, last))) = (runs.first(), runs.last()) {
                self.tally.lost += (last - first + 1).saturating_sub(count);
            }
            let Ok(certificate) = row.open_certificate(&self.sealer) else { continue };
            let is_ours_alone = certificate.author == self.own
                && runs.last().is_some_and(|(_, last)| {
                    received.get(&id).is_none_or(|number| *number < *last)
                });
            let run = choose(&runs, known.as_ref().map(|known| known.base), is_ours_alone);
            let (base, head, clock, hash) = match (run, known) {
                (Some((first, last)), _) => {
                    let Some((clock, hash)) = self.end(id, row.channel, last)? else { continue };
                    (first - 1, last, clock, hash)
                }
                // All was pruned.
                (None, Some(known)) if known.base == known.head => {
                    (known.base, known.head, known.head_clock, known.head_hash)
                }
                // From its beginning on it comes from others.
                (None, _) if !runs.is_empty() => (0, 0, 0, EntryHash([0; 32])),
                (None, _) => continue,
            };
            let state = ChainState {
                certificate,
                base,
                head,
                head_hash: hash,
                head_clock: clock,
                forked: None,
            };
            let chain = Chain { row: id, state, count, bytes, changed: false, has_loose: false };
            let sealed =
                self.sealer.seal(Table::ChainHeads, &head_clear(row.channel, &chain), &hash.0);
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

    /// The first and last numbers of what is there of a chain without a gap, in their order.
    fn runs(&self, chain: i64) -> rusqlite::Result<Vec<(u64, u64)>> {
        let query = "SELECT number FROM entries WHERE chain = ? ORDER BY number";
        let mut query = self.new.prepare_cached(query)?;
        let numbers = query.query_map([chain], |row| row.get::<_, i64>(0).map(unsigned))?;
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for number in numbers {
            let number = number?;
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => runs.push((number, number)),
            }
        }
        Ok(runs)
    }

    /// The clock and the hash of the entry that a chain goes on from.
    fn end(
        &self,
        chain: i64,
        channel: i64,
        number: u64,
    ) -> rusqlite::Result<Option<(u64, EntryHash)>> {
        let query = format!(
            "SELECT {} FROM entries e WHERE e.chain = ? AND e.number = ?",
            EntryRow::COLUMNS
        );
        let mut query = self.new.prepare_cached(&query)?;
        let row = query.query_row(params![chain, signed(number)], EntryRow::read)?;
        let hash = self.channels.get(&channel).and_then(|id| {
            let bytes = Bytes::copy_from_slice(&row.open(&self.sealer).ok()?);
            Entry::decode(id, bytes).ok().map(|entry| entry.hash)
        });
        Ok(hash.map(|hash| (unsigned(row.clock), hash)))
    }

    fn count_between(&self, chain: i64, base: u64, head: u64) -> rusqlite::Result<u64> {
        let query = "SELECT count(*) FROM entries WHERE chain = ? AND number > ? AND number <= ?";
        let values = params![chain, signed(base), signed(head)];
        self.new.prepare_cached(query)?.query_row(values, |row| row.get(0).map(unsigned))
    }

    /// Only what speaks of rows that are there: another row may be given the number of one that is lost.
    fn copy_receipts_and_events(&mut self) -> rusqlite::Result<()> {
        let four = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let receipts: Vec<(i64, i64, i64, i64)> =
            self.rows("SELECT chain, peer, number, role FROM receipts NOT INDEXED", four);
        for (chain, peer, number, role) in receipts {
            let insert = "INSERT OR IGNORE INTO receipts SELECT ?1, ?2, min(?3, c.head), ?4
                 FROM chains c JOIN peers p ON p.id = ?2 WHERE c.id = ?1";
            self.new.execute(insert, params![chain, peer, number, role])?;
        }
        let forks = self.rows("SELECT chain, number, sealed FROM forks", |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        for (chain, number, sealed) in forks {
            if self.sealer.open(Table::Forks, &[chain, number], &sealed).is_ok() {
                let insert = "INSERT OR IGNORE INTO forks SELECT ?1, ?2, ?3
                     WHERE EXISTS (SELECT 1 FROM chains WHERE id = ?1)";
                self.new.execute(insert, params![chain, number, sealed])?;
            }
        }
        for kind in [MESSAGE, DELIVERED, FORKED] {
            self.copy_events(kind)?;
        }
        Ok(())
    }

    fn copy_events(&self, kind: i64) -> rusqlite::Result<()> {
        let query = format!(
            "SELECT seq, subject, peer, role FROM events NOT INDEXED
             WHERE kind = {kind} AND seq BETWEEN 1 AND {COUNTER_MAX}
             ORDER BY seq DESC LIMIT {EVENTS_MAX}"
        );
        type Row4 = (i64, i64, Option<i64>, Option<i64>);
        let events: Vec<Row4> =
            self.rows(&query, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        for (seq, subject, peer, role) in events {
            let insert = "INSERT OR IGNORE INTO events SELECT ?1, ?2, ?3, ?4, ?5
                 WHERE CASE ?2 WHEN 3 THEN EXISTS (SELECT 1 FROM chains WHERE id = ?3)
                 WHEN 2 THEN EXISTS (SELECT 1 FROM peers WHERE id = ?4) ELSE 1 END";
            self.new.prepare_cached(insert)?.execute(params![seq, kind, subject, peer, role])?;
        }
        Ok(())
    }

    /// So that no number is given twice: none that is in use, and none that is spoken of.
    fn raise_counters(&self, last_entry: i64) -> rusqlite::Result<()> {
        let tables = ["peers", "channels", "chains", "clients"];
        let rows = tables.map(|table| (Counter::Row, format!("SELECT max(id) FROM {table}")));
        let subjects = format!("SELECT max(subject) FROM events WHERE kind <> {FORKED}");
        let others = [
            (Counter::Entry, format!("SELECT {last_entry}")),
            (Counter::Entry, format!("SELECT min(({subjects}), {COUNTER_MAX})")),
            (Counter::Event, "SELECT max(seq) FROM events".to_owned()),
        ];
        for (counter, query) in rows.into_iter().chain(others) {
            let update = format!(
                "UPDATE counters SET value = max(value, coalesce(({query}), 0)) WHERE name = ?"
            );
            self.new.execute(&update, [counter as i64])?;
        }
        Ok(())
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
    pub(super) shown: i64,
    pub(super) said: Option<i64>,
}

/// Takes at most so many entries of those after a row, up to the first that cannot be read.
fn read_rows(
    old: &Connection,
    from: i64,
    limit: usize,
    taken: &mut Vec<(EntryRow, Flags)>,
) -> rusqlite::Result<()> {
    let query = format!(
        "SELECT {}, e.shown, e.said FROM entries e NOT INDEXED WHERE e.id > ? ORDER BY e.id
         LIMIT ?",
        EntryRow::COLUMNS
    );
    let mut query = old.prepare_cached(&query)?;
    let mut rows = query.query(params![from, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        let at = EntryRow::COLUMNS_COUNT;
        let flags = Flags { shown: row.get(at)?, said: row.get(at + 1)? };
        taken.push((EntryRow::read(row)?, flags));
    }
    Ok(())
}

/// Which run of entries a chain is, of those that were found. Without one it begins anew.
fn choose(runs: &[(u64, u64)], base: Option<u64>, is_ours_alone: bool) -> Option<(u64, u64)> {
    if is_ours_alone {
        return runs.last().copied();
    }
    let Some(base) = base else { return runs.first().copied() };
    // What is before the base is there to be read.
    let first = runs.iter().copied().find(|(_, last)| *last > base)?;
    (base > 0 || first.0 == 1).then_some(first)
}

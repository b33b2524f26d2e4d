//! Removing all that is kept of a channel, so that it is gone from the file as well.
//!
//! A channel's own row and those of its chains go first, in one transaction: from then on nobody finds
//! it. Its entries follow in steps; entries of no chain are what an interrupted removal has left, and
//! are found at the next start. What SQLite removes it overwrites, but in its log: so at the end that
//! is written into the file and cut off.

use std::collections::BTreeSet;

use bitchat_protocol::id::ChannelId;
use rusqlite::Connection;

use super::ArchiveError;
use super::append::FORKED;
use super::events::EventsKept;
use super::store::{Peers, Store};

/// Entries removed in one transaction: bounds how long others wait.
const FORGET_AT_ONCE: usize = 2_000;

/// Chains that are gone, and whose entries are still to go.
pub(super) fn orphans(db: &Connection) -> rusqlite::Result<BTreeSet<i64>> {
    let mut orphans = BTreeSet::new();
    let mut next = db.prepare("SELECT min(chain) FROM entries WHERE chain > ?")?;
    let mut is_known = db.prepare("SELECT 1 FROM chains WHERE id = ?")?;
    let mut last = i64::MIN;
    while let Some(chain) = next.query_row([last], |row| row.get::<_, Option<i64>>(0))? {
        if !is_known.exists([chain])? {
            orphans.insert(chain);
        }
        last = chain;
    }
    Ok(orphans)
}

impl Store {
    /// Begins to remove a channel: it is not known any more, and goes on with [`Self::forget_step`].
    pub(super) fn forget_channel(&mut self, id: &ChannelId) -> Result<(), ArchiveError> {
        self.close_channel(id)?;
        // Also where it is not known: an earlier attempt may have ended before this.
        self.must_erase = true;
        let Some(row) = self.channels.get(id).map(|channel| channel.row) else { return Ok(()) };
        let orphans = self.write(|store| {
            let mut chains = store.db.prepare("SELECT id FROM chains WHERE channel = ?")?;
            let chains: Vec<i64> =
                chains.query_map([row], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            for chain in &chains {
                store.db.execute("DELETE FROM receipts WHERE chain = ?", [chain])?;
                store.db.execute("DELETE FROM forks WHERE chain = ?", [chain])?;
                let forked = "DELETE FROM events WHERE kind = ? AND subject = ?";
                store.db.prepare_cached(forked)?.execute([FORKED, *chain])?;
            }
            store.db.execute("DELETE FROM chains WHERE channel = ?", [row])?;
            store.db.execute("DELETE FROM channels WHERE id = ?", [row])?;
            Ok(chains)
        })?;
        self.channels.remove(id);
        self.orphans.extend(orphans);
        Ok(())
    }

    /// Removes some more entries of channels that are gone; says whether there is more to do. Without
    /// more, nothing of them is in the file.
    pub(super) fn forget_step(&mut self) -> Result<bool, ArchiveError> {
        if let Some(chain) = self.orphans.first().copied() {
            let removed = self.write(|store| {
                let delete = format!(
                    "DELETE FROM entries WHERE id IN
                     (SELECT id FROM entries WHERE chain = ? LIMIT {FORGET_AT_ONCE})"
                );
                store.db.prepare_cached(&delete)?.execute([chain])
            })?;
            self.must_erase = true;
            if removed < FORGET_AT_ONCE {
                self.orphans.remove(&chain);
            }
            return Ok(true);
        }
        if std::mem::take(&mut self.must_erase) {
            self.erase().inspect_err(|_| self.must_erase = true)?;
        }
        Ok(false)
    }

    /// Removes what speaks of entries or peers that are gone, and overwrites what was removed.
    fn erase(&mut self) -> Result<(), ArchiveError> {
        self.write(|store| {
            let events = "DELETE FROM events WHERE kind <> ?
                 AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.id = events.subject)";
            store.db.execute(events, [FORKED])?;
            let peers = "DELETE FROM peers WHERE id NOT IN (SELECT peer FROM receipts)
                 AND id NOT IN (SELECT peer FROM events WHERE peer IS NOT NULL)";
            store.db.execute(peers, [])?;
            store.events_kept = EventsKept::count(&store.db)?;
            let mut left = store.db.prepare("SELECT id FROM peers")?;
            let left: BTreeSet<i64> =
                left.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            let Peers { rows, ids } = &mut store.peers;
            rows.retain(|_, row| left.contains(row));
            ids.retain(|row, _| left.contains(row));
            Ok(())
        })?;
        let busy: i64 =
            self.read(|db| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)))?;
        if busy != 0 {
            let why = std::io::Error::other("it is in use");
            return Err(ArchiveError::io("overwrite what was removed from", &self.paths.main)(why));
        }
        Ok(())
    }
}

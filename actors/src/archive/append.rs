//! Taking in what the log accepted, and removing what a channel keeps too much.

use std::collections::{HashMap, HashSet};

use bitchat_protocol::id::{ChainId, ChannelId};
use bitchat_protocol::log::{Accepted, Batch, ForkProof, Receipt, Say};
use rusqlite::{OptionalExtension as _, params};

use super::index::Place;
use super::read::EntryRow;
use super::seal::Table;
use super::store::{Store, role_code, signed, unsigned, write_fork};
use super::twins::Twin;
use super::{ArchiveError, Event, EventKind, Pruned, StoredMessage};

/// Messages that nobody had, and that one receipt tells to be delivered: the newest.
const DELIVERED_FIRST_MAX: usize = 10_000;
/// Messages that others have already, and that one receipt tells to be delivered: the newest.
const DELIVERED_AGAIN_MAX: usize = 1_000;
/// Rows removed in one transaction when a channel keeps too much: bounds how long others wait.
pub(super) const PRUNE_AT_ONCE: usize = 2_000;
/// When a limit is passed, one part in so many is made free, so that not every message prunes one.
const PRUNE_SHARE: u64 = 64;

/// Something that waits to be written; all that waits is written at once.
#[derive(Debug)]
pub(super) enum Wish {
    /// What the log accepted.
    Append(Batch),
    /// What a client has.
    Acknowledge { client: String, seq: u64 },
    /// To read what was kept while it could not be read.
    ReadKept(ChannelId),
}

/// What came of one wish.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) events: Vec<Event>,
    pub(super) pruned: Vec<Pruned>,
    /// By the channel's row: messages for the index.
    pub(super) indexed: HashMap<i64, Vec<(Place, String)>>,
    /// By the channel's row: messages that it should forget.
    pub(super) forgotten: HashMap<i64, Vec<i64>>,
    /// There is more to prune.
    pub(super) unfinished: bool,
}

/// Which entries of a chain go, from its beginning: told the time each was stored, and the rows and
/// bytes taken before it.
type Wanted<'a> = &'a mut dyn FnMut(i64, usize, u64) -> bool;

impl Store {
    /// Does all that is wished in one transaction; a wish that makes no sense is refused alone.
    pub(super) fn fulfil(&mut self, wishes: &[Wish], now: i64) -> Vec<Result<Done, ArchiveError>> {
        let outcome = self.write(|store| {
            let results: rusqlite::Result<Vec<_>> =
                wishes.iter().map(|wish| store.fulfil_one(wish, now)).collect();
            store.trim_events()?;
            results
        });
        match outcome {
            Ok(results) => {
                for done in results.iter().flatten() {
                    self.update_index(done);
                }
                results
            }
            Err(error) => wishes.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn fulfil_one(
        &mut self,
        wish: &Wish,
        now: i64,
    ) -> rusqlite::Result<Result<Done, ArchiveError>> {
        match wish {
            Wish::Append(batch) => match self.check_batch(batch) {
                Ok(()) => self.append(batch, now).map(Ok),
                Err(error) => Ok(Err(error)),
            },
            Wish::Acknowledge { client, seq } => match self.check_client(client) {
                Ok(()) => self.acknowledge(client, *seq).map(|()| Ok(Done::default())),
                Err(error) => Ok(Err(error)),
            },
            Wish::ReadKept(id) => match self.opened(id) {
                Ok(_) => self.read_kept(id).map(Ok),
                Err(error) => Ok(Err(error)),
            },
        }
    }

    fn check_batch(&self, batch: &Batch) -> Result<(), ArchiveError> {
        let open = self.opened(&batch.channel)?;
        let new: HashSet<ChainId> =
            batch.chains.iter().map(|new| new.chain(&batch.channel)).collect();
        let head_of = |chain: &ChainId| match open.chains.get(chain) {
            Some(chain) => Ok(chain.state.head),
            None if new.contains(chain) => Ok(0),
            None => Err(ArchiveError::UnknownChain(*chain)),
        };
        let mut heads: HashMap<ChainId, u64> = HashMap::new();
        for entry in &batch.entries {
            let (chain, number) = (entry.chain, entry.number);
            let head = heads.get(&chain).copied().map_or_else(|| head_of(&chain), Ok)?;
            if number > head.saturating_add(1) && !entry.begins {
                return Err(ArchiveError::Gap { chain, number, head });
            }
            let held = open.chains.get(&chain).map(|chain| &chain.state);
            if held.is_some_and(|held| number == held.head && entry.hash != held.head_hash) {
                return Err(ArchiveError::OtherEntry { chain, number });
            }
            heads.insert(chain, head.max(number));
        }
        batch.forks.iter().try_for_each(|fork| head_of(&fork.chain).map(drop))
    }

    pub(super) fn append(&mut self, batch: &Batch, now: i64) -> rusqlite::Result<Done> {
        let mut done = Done::default();
        if let Some(device) = batch.device {
            self.set_device(&batch.channel, device)?;
        }
        for entry in &batch.entries {
            self.append_entry(batch, entry, now, &mut done)?;
        }
        for receipt in &batch.receipts {
            self.take_receipt(&batch.channel, receipt, &mut done)?;
        }
        for fork in &batch.forks {
            self.take_fork(batch, fork, &mut done)?;
        }
        self.prune(&batch.channel, None, &mut done)?;
        self.save_chains(&batch.channel)?;
        Ok(done)
    }

    fn append_entry(
        &mut self,
        batch: &Batch,
        entry: &Accepted,
        now: i64,
        done: &mut Done,
    ) -> rusqlite::Result<()> {
        let id = &batch.channel;
        let Some((chain, head)) = self.chain_for(batch, &entry.chain)? else { return Ok(()) };
        if entry.number <= head {
            return Ok(());
        }
        let Some(channel_row) = self.channels.get(id).map(|channel| channel.row) else {
            return Ok(());
        };
        if self.is_loose(id, chain, entry)? {
            self.extend_chain(id, entry, None);
            return Ok(());
        }
        self.last_entry += 1;
        let row = self.last_entry;
        let say = entry.body.as_ref().and_then(|body| body.as_say());
        let said = say.map(|say| self.sealer.code(channel_row, &entry.author, &say.id));
        let twin = match said {
            Some(said) => self.meet_twin(id, said, &entry.position(), done)?,
            None => Twin::None,
        };
        let shown = match (&entry.body, say) {
            (None, _) => UNREAD,
            (Some(_), None) => NO_MESSAGE,
            (Some(_), Some(_)) => twin.shown(),
        };
        let (number, clock) = (signed(entry.number), signed(entry.clock));
        let clear = [row, chain, number, channel_row, clock, now];
        let sealed = self.sealer.seal(Table::Entries, &clear, &entry.bytes);
        let insert = "INSERT INTO entries (id, chain, number, channel, clock, stored, shown, said,
             sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        self.db.prepare_cached(insert)?.execute(params![
            row,
            chain,
            number,
            channel_row,
            clock,
            now,
            shown,
            said,
            sealed
        ])?;
        if let Some(say) = say {
            let message = message_of(batch.channel, entry, say, now);
            self.tell_message(channel_row, (clock, row), twin, message, done)?;
        }
        self.extend_chain(id, entry, Some(sealed.len()));
        Ok(())
    }

    /// Whether this very entry is there already, behind a hole that is being filled.
    fn is_loose(&self, id: &ChannelId, chain: i64, entry: &Accepted) -> rusqlite::Result<bool> {
        let open = self.channels.get(id).and_then(|channel| channel.open.as_ref());
        let known = open.and_then(|open| open.chains.get(&entry.chain));
        if !known.is_some_and(|known| known.has_loose) {
            return Ok(false);
        }
        let query = format!(
            "SELECT {} FROM entries e WHERE e.chain = ? AND e.number = ?",
            EntryRow::COLUMNS
        );
        let mut query = self.db.prepare_cached(&query)?;
        let row = query.query_row([chain, signed(entry.number)], EntryRow::read).optional()?;
        let Some(row) = row else { return Ok(false) };
        if row.open(&self.sealer).is_ok_and(|held| held[..] == entry.bytes[..]) {
            return Ok(true);
        }
        // The other side of a fork, or damaged.
        self.db.prepare_cached("DELETE FROM entries WHERE id = ?")?.execute([row.id])?;
        Ok(false)
    }

    /// The row of a chain, which may be new, and its head.
    fn chain_for(
        &mut self,
        batch: &Batch,
        chain: &ChainId,
    ) -> rusqlite::Result<Option<(i64, u64)>> {
        let held = |store: &Self| {
            let open = store.channels.get(&batch.channel)?.open.as_ref()?;
            open.chains.get(chain).map(|chain| (chain.row, chain.state.head))
        };
        if held(self).is_none() {
            let mut new = batch.chains.iter();
            if let Some(certificate) = new.find(|new| new.chain(&batch.channel) == *chain) {
                self.insert_chain(&batch.channel, *certificate)?;
            }
        }
        Ok(held(self))
    }

    /// With `bytes` where it is new on disk.
    fn extend_chain(&mut self, id: &ChannelId, entry: &Accepted, bytes: Option<usize>) {
        let open = self.channels.get_mut(id).and_then(|channel| channel.open.as_mut());
        if let Some(chain) = open.and_then(|open| open.chains.get_mut(&entry.chain)) {
            if entry.begins {
                // What is before the gap may be read, but not served.
                chain.state.base = entry.number - 1;
            }
            chain.state.head = entry.number;
            chain.state.head_hash = entry.hash;
            chain.state.head_clock = entry.clock;
            chain.count += u64::from(bytes.is_some());
            chain.bytes += bytes.unwrap_or(0) as u64;
            chain.changed = true;
        }
    }

    /// Has a message found and told, unless the same is there already.
    pub(super) fn tell_message(
        &mut self,
        channel_row: i64,
        place: Place,
        twin: Twin,
        message: StoredMessage,
        done: &mut Done,
    ) -> rusqlite::Result<()> {
        if twin.shown() == SHOWN {
            let indexed = done.indexed.entry(channel_row).or_default();
            indexed.push((place, message.text.clone()));
        }
        match twin {
            Twin::None => self.add_event(place.1, None, EventKind::Message(message), done),
            Twin::Before | Twin::After => Ok(()),
        }
    }

    fn take_receipt(
        &mut self,
        id: &ChannelId,
        receipt: &Receipt,
        done: &mut Done,
    ) -> rusqlite::Result<()> {
        let open = self.channels.get(id).and_then(|channel| channel.open.as_ref());
        let Some(chain) = open.and_then(|open| open.chains.get(&receipt.chain)) else {
            return Ok(());
        };
        let (chain, head) = (chain.row, chain.state.head);
        let peer = self.peer_row(&receipt.by)?;
        let query = "SELECT number FROM receipts WHERE chain = ? AND peer = ?";
        let mut rows = self.db.prepare_cached(query)?;
        let known = rows.query([chain, peer])?.next()?.map(|row| row.get(0)).transpose()?;
        drop(rows);
        let query = "SELECT coalesce(max(number), 0) FROM receipts WHERE chain = ?";
        let anyone: i64 = self.db.prepare_cached(query)?.query_row([chain], |row| row.get(0))?;
        let (known, number) = (known.unwrap_or(0), signed(receipt.number.min(head)));
        if number <= known {
            return Ok(());
        }
        let upsert = "INSERT INTO receipts VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET number = excluded.number, role = excluded.role";
        let role = role_code(receipt.role);
        self.db.prepare_cached(upsert)?.execute(params![chain, peer, number, role])?;
        // Who comes new has all that we ever said: of that, the newest is told.
        let first = self.said_between(id, chain, known.max(anyone), number, DELIVERED_FIRST_MAX)?;
        let more = DELIVERED_AGAIN_MAX.saturating_sub(first.len());
        let again = self.said_between(id, chain, known, anyone.min(number), more)?;
        for message in again.into_iter().chain(first) {
            let delivered = EventKind::Delivered {
                id: message.1,
                channel: *id,
                by: receipt.by,
                role: receipt.role,
            };
            self.add_event(message.0, Some((peer, role)), delivered, done)?;
        }
        Ok(())
    }

    /// Keeps the proof that a chain forked, of several that of the lowest number.
    fn take_fork(
        &mut self,
        batch: &Batch,
        fork: &ForkProof,
        done: &mut Done,
    ) -> rusqlite::Result<()> {
        let id = &batch.channel;
        let Some((row, _)) = self.chain_for(batch, &fork.chain)? else { return Ok(()) };
        let number = signed(fork.number);
        let sealed = self.sealer.seal(Table::Forks, &[row, number], &write_fork(fork));
        let insert = "INSERT INTO forks VALUES (?, ?, ?) ON CONFLICT DO UPDATE
             SET number = excluded.number, sealed = excluded.sealed
             WHERE excluded.number < forks.number";
        if self.db.prepare_cached(insert)?.execute(params![row, number, sealed])? == 0 {
            return Ok(());
        }
        let open = self.channels.get_mut(id).and_then(|channel| channel.open.as_mut());
        let Some(chain) = open.and_then(|open| open.chains.get_mut(&fork.chain)) else {
            return Ok(());
        };
        chain.state.forked = Some(fork.clone());
        let author = chain.state.certificate.author;
        let (channel, chain, number) = (*id, fork.chain, fork.number);
        let forked = EventKind::Forked { channel, author, chain, number };
        self.add_event(row, None, forked, done)
    }

    fn update_index(&mut self, done: &Done) {
        for (channel, stored) in &done.indexed {
            match self.index.take_new(*channel, stored) {
                Ok(is_anew) => self.index_is_anew |= is_anew,
                Err(error) => tracing::warn!(%error, "the newest messages cannot be searched"),
            }
        }
        for (channel, rows) in &done.forgotten {
            if let Err(error) = self.index.forget(*channel, rows) {
                tracing::warn!(%error, "the search still knows messages that are gone");
            }
        }
    }

    /// Removes what a channel keeps too much, as far as one step goes; `now` is that of [`Ageing`].
    ///
    /// [`Ageing`]: super::ageing::Ageing
    pub(super) fn prune_step(&mut self, id: &ChannelId, now: i64) -> Result<Done, ArchiveError> {
        let done = self.write(|store| {
            let mut done = Done::default();
            store.prune(id, Some(now), &mut done)?;
            store.save_chains(id)?;
            Ok(done)
        })?;
        self.update_index(&done);
        Ok(done)
    }

    /// With `now`, by age as well: that looks at the first entry of each chain.
    fn prune(&mut self, id: &ChannelId, now: Option<i64>, done: &mut Done) -> rusqlite::Result<()> {
        let open = self.channels.get(id).and_then(|channel| channel.open.as_ref());
        let Some(open) = open else { return Ok(()) };
        let retention = open.retention;
        let chains: Vec<ChainId> = open.chains.keys().copied().collect();
        let mut budget = PRUNE_AT_ONCE;
        if let Some((now, age)) = now.zip(retention.age) {
            let before = now - i64::try_from(age.as_secs()).unwrap_or(i64::MAX).min(now);
            for chain in chains {
                self.prune_chain(
                    id,
                    &chain,
                    &mut budget,
                    &mut |stored, _, _| stored < before,
                    done,
                )?;
            }
        }
        if let Some(limit) = retention.count {
            self.prune_fairly(
                id,
                limit,
                &mut budget,
                done,
                |chain| chain.count,
                |rows, _| rows as u64,
            )?;
        }
        if let Some(limit) = retention.bytes {
            self.prune_fairly(id, limit, &mut budget, done, |chain| chain.bytes, |_, bytes| bytes)?;
        }
        done.unfinished |= budget == 0;
        Ok(())
    }

    /// Takes from the chain that holds most until all hold no more than `limit` together.
    fn prune_fairly(
        &mut self,
        id: &ChannelId,
        limit: u64,
        budget: &mut usize,
        done: &mut Done,
        held: impl Fn(&super::store::Chain) -> u64,
        taken: impl Fn(usize, u64) -> u64,
    ) -> rusqlite::Result<()> {
        let sizes = |store: &Self| -> Vec<(u64, ChainId)> {
            let open = store.channels.get(id).and_then(|channel| channel.open.as_ref());
            let chains = open.into_iter().flat_map(|open| &open.chains);
            let mut sizes: Vec<_> = chains.map(|(id, chain)| (held(chain), *id)).collect();
            sizes.sort_unstable();
            sizes
        };
        let total = |sizes: &[(u64, ChainId)]| sizes.iter().map(|(size, _)| size).sum::<u64>();
        if total(&sizes(self)) <= limit {
            return Ok(());
        }
        let target = limit - limit / PRUNE_SHARE;
        while *budget > 0 {
            let sizes = sizes(self);
            let excess = total(&sizes).saturating_sub(target);
            let Some(((largest, chain), others)) = sizes.split_last() else { break };
            if excess == 0 || *largest == 0 {
                break;
            }
            // Down to the next largest, or where they are equal an equal share of each.
            let second = others.last().map_or(0, |(size, _)| *size);
            let share = excess.div_ceil(sizes.len() as u64);
            let take = excess.min((largest - second).max(share));
            let before = *budget;
            let mut wanted = |_, rows, bytes| taken(rows, bytes) < take;
            self.prune_chain(id, chain, budget, &mut wanted, done)?;
            if *budget == before {
                // It says that it holds more than there is: counted wrong, so counted anew.
                self.count_anew(id, chain)?;
            }
        }
        Ok(())
    }

    fn count_anew(&mut self, id: &ChannelId, chain: &ChainId) -> rusqlite::Result<()> {
        let open = self.channels.get_mut(id).and_then(|channel| channel.open.as_mut());
        if let Some(chain) = open.and_then(|open| open.chains.get_mut(chain)) {
            let query =
                "SELECT count(*), coalesce(sum(length(sealed)), 0) FROM entries WHERE chain = ?";
            let (count, bytes) =
                self.db.query_row(query, [chain.row], |row| Ok((row.get(0)?, row.get(1)?)))?;
            (chain.count, chain.bytes, chain.changed) = (unsigned(count), unsigned(bytes), true);
        }
        Ok(())
    }

    /// Removes entries from the beginning of a chain for as long as they are `wanted`.
    fn prune_chain(
        &mut self,
        id: &ChannelId,
        chain_id: &ChainId,
        budget: &mut usize,
        wanted: Wanted<'_>,
        done: &mut Done,
    ) -> rusqlite::Result<()> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let open = channel.open.as_mut();
        let Some(chain) = open.and_then(|open| open.chains.get_mut(chain_id)) else {
            return Ok(());
        };
        let query = "SELECT id, number, stored, length(sealed) FROM entries WHERE chain = ?
             ORDER BY number";
        let mut query = self.db.prepare_cached(query)?;
        let mut rows = query.query([chain.row])?;
        let (mut count, mut bytes, mut last) = (0, 0, None);
        let forgotten = done.forgotten.entry(channel.row).or_default();
        while count < *budget {
            let Some(row) = rows.next()? else { break };
            if !wanted(row.get(2)?, count, bytes) {
                break;
            }
            forgotten.push(row.get(0)?);
            last = Some(row.get::<_, i64>(1)?);
            count += 1;
            bytes += unsigned(row.get(3)?);
        }
        drop(rows);
        drop(query);
        let Some(last) = last else { return Ok(()) };
        *budget -= count;
        let delete = "DELETE FROM entries WHERE chain = ? AND number <= ?";
        self.db.prepare_cached(delete)?.execute([chain.row, last])?;
        chain.count = chain.count.saturating_sub(count as u64);
        chain.bytes = chain.bytes.saturating_sub(bytes);
        chain.changed = true;
        let base = chain.state.base.max(unsigned(last).min(chain.state.head));
        chain.state.base = base;
        done.pruned.retain(|pruned| pruned.chain != *chain_id);
        done.pruned.push(Pruned { channel: *id, chain: *chain_id, base });
        Ok(())
    }
}

fn message_of(channel: ChannelId, entry: &Accepted, say: &Say, now: i64) -> StoredMessage {
    StoredMessage {
        channel,
        position: entry.position(),
        chain: entry.chain,
        id: say.id,
        unix_ms: say.unix_ms,
        text: say.text.clone(),
        stored_unix: unsigned(now),
    }
}

/// What `shown` of an entry says: it is no message.
pub(super) const NO_MESSAGE: i64 = 0;
/// It is a message.
pub(super) const SHOWN: i64 = 1;
/// It could not be read when it came.
pub(super) const UNREAD: i64 = 2;
/// It is a message that was said again, and is shown in another place.
pub(super) const TWIN: i64 = 3;

/// The code of a message in `events`.
pub(super) const MESSAGE: i64 = 1;
/// The code of a receipt in `events`.
pub(super) const DELIVERED: i64 = 2;
/// The code of a fork in `events`; its subject is a chain and not an entry.
pub(super) const FORKED: i64 = 3;

pub(super) const fn kind_code(kind: &EventKind) -> i64 {
    match kind {
        EventKind::Delivered { .. } => DELIVERED,
        EventKind::Forked { .. } => FORKED,
        // The others are answers and never written.
        EventKind::Message(_) | EventKind::Gone | EventKind::NotOpen(_) => MESSAGE,
    }
}

//! Finding again what is kept: ranges of a chain, pages, what matches words, events.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

use bitchat_protocol::id::{ChainId, ChannelId, MessageId, PeerId};
use bitchat_protocol::log::{Entry, Position};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use zeroize::Zeroizing;

use super::append::{SHOWN, TWIN};
use super::index::{Place, Query};
use super::mend::Flags;
use super::seal::Table;
use super::store::{Open, Store, signed, unsigned};
use super::{ArchiveError, Found, From, StoredMessage};

/// Messages or events of one answer.
pub(super) const ANSWER_MAX: usize = 1000;
/// Bytes of text in one answer; the message that passes it is the last one.
pub(super) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages that one step reads for the index.
const INDEX_STEP: usize = 500;
/// With more matches than this the channel is read in its order and not match by match.
const MATCHES_MAX: usize = 20_000;

/// A row of `entries`.
#[derive(Debug)]
pub(super) struct EntryRow {
    pub(super) id: i64,
    pub(super) chain: i64,
    pub(super) number: i64,
    pub(super) channel: i64,
    pub(super) clock: i64,
    pub(super) stored: i64,
    sealed: Vec<u8>,
}

impl EntryRow {
    pub(super) const COLUMNS: &str =
        "e.id, e.chain, e.number, e.channel, e.clock, e.stored, e.sealed";
    pub(super) const COLUMNS_COUNT: usize = 7;

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            chain: row.get(1)?,
            number: row.get(2)?,
            channel: row.get(3)?,
            clock: row.get(4)?,
            stored: row.get(5)?,
            sealed: row.get(6)?,
        })
    }

    /// Bytes on disk that count for the retention.
    pub(super) const fn sealed_bytes(&self) -> u64 {
        self.sealed.len() as u64
    }

    /// Puts the row into another archive of the same key, unless it is there.
    pub(super) fn insert(&self, into: &Connection, flags: &Flags) -> rusqlite::Result<bool> {
        let insert =
            "INSERT OR IGNORE INTO entries (id, chain, number, channel, clock, stored, shown, said,
             sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        into.prepare_cached(insert)?
            .execute(params![
                self.id,
                self.chain,
                self.number,
                self.channel,
                self.clock,
                self.stored,
                flags.shown,
                flags.said,
                self.sealed
            ])
            .map(|inserted| inserted > 0)
    }

    pub(super) const fn place(&self) -> Place {
        (self.clock, self.id)
    }

    /// The entry's bytes.
    pub(super) fn open(
        &self,
        sealer: &super::seal::Sealer,
    ) -> Result<Zeroizing<Vec<u8>>, super::seal::Unsealable> {
        let Self { id, chain, number, channel, clock, stored, .. } = *self;
        sealer.open(Table::Entries, &[id, chain, number, channel, clock, stored], &self.sealed)
    }
}

impl Store {
    pub(super) fn opened(&self, id: &ChannelId) -> Result<&Open, ArchiveError> {
        let channel = self.channels.get(id);
        channel.and_then(|channel| channel.open.as_ref()).ok_or(ArchiveError::NotOpen(*id))
    }

    pub(super) fn channel_row(&self, id: &ChannelId) -> i64 {
        self.channels.get(id).map_or(0, |channel| channel.row)
    }

    /// The entries of a chain from a number on, without a gap: at least one when there is one, and
    /// no more than `bytes_max` bytes otherwise.
    pub(super) fn read_range(
        &self,
        id: &ChannelId,
        chain: &ChainId,
        from: u64,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, ArchiveError> {
        let Some(chain) = self.opened(id)?.chains.get(chain) else { return Ok(Vec::new()) };
        if from <= chain.state.base {
            return Ok(Vec::new());
        }
        let query = format!(
            "SELECT {} FROM entries e WHERE e.chain = ? AND e.number >= ? ORDER BY e.number",
            EntryRow::COLUMNS
        );
        self.read(|db| {
            let mut query = db.prepare_cached(&query)?;
            let mut rows = query.query([chain.row, signed(from)])?;
            let (mut entries, mut bytes, mut next) = (Vec::new(), 0, signed(from));
            while next <= signed(chain.state.head) {
                let row = rows.next()?.map(EntryRow::read).transpose()?;
                let Some(row) = row.filter(|row| row.number == next) else {
                    // It was there, and nobody has removed it.
                    self.skip("entries: one of chain", chain.row);
                    break;
                };
                let Ok(entry) = row.open(&self.sealer) else {
                    self.skip("entries", row.id);
                    break;
                };
                bytes += entry.len();
                if bytes > bytes_max && !entries.is_empty() {
                    break;
                }
                next += 1;
                entries.push(Bytes::copy_from_slice(&entry));
            }
            Ok(entries)
        })
    }

    /// A page of a channel in its one order, oldest first.
    pub(super) fn read_page(
        &self,
        id: &ChannelId,
        from: From,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, ArchiveError> {
        let open = self.opened(id)?;
        let (is_after, edge) = match from {
            From::Newest => (false, None),
            From::Before(position) => (false, Some(position)),
            From::After(position) => (true, Some(position)),
        };
        let clock = edge.map_or(i64::MAX, |edge| signed(edge.clock));
        let (compare, order) = if is_after { (">=", "ASC") } else { ("<=", "DESC") };
        let query = format!(
            "SELECT {} FROM entries e WHERE e.channel = ? AND e.shown = 1 AND e.clock {compare} ?
             ORDER BY e.clock {order}",
            EntryRow::COLUMNS
        );
        let beyond = |position: &Position| match edge {
            None => true,
            Some(edge) if is_after => *position > edge,
            Some(edge) => *position < edge,
        };
        let limit = limit.min(ANSWER_MAX);
        let mut page = self.read(|db| {
            let mut query = db.prepare_cached(&query)?;
            let mut rows = query.query([self.channel_row(id), clock])?;
            let mut page = Page::new(limit);
            let mut equals: Vec<(Position, EntryRow)> = Vec::new();
            while page.has_room() {
                let row = rows.next()?.map(EntryRow::read).transpose()?;
                let is_next = |row: &EntryRow| {
                    equals.first().is_none_or(|(_, first)| first.clock == row.clock)
                };
                if !row.as_ref().is_some_and(is_next) {
                    // All of one clock are there: only now their order is known.
                    equals.sort_unstable_by_key(|(position, _)| *position);
                    if !is_after {
                        equals.reverse();
                    }
                    for (_, row) in equals.drain(..) {
                        page.push(self.message(id, open, &row));
                    }
                }
                let Some(row) = row else { break };
                match position_of(open, &row) {
                    Some(position) if beyond(&position) => equals.push((position, row)),
                    Some(_) => {}
                    None => self.skip("entries", row.id),
                }
            }
            Ok(page.messages)
        })?;
        if !is_after {
            page.reverse();
        }
        Ok(page)
    }

    /// Opens a message; `None` when it does not open, or with the keys of a seeder.
    pub(super) fn message(
        &self,
        id: &ChannelId,
        open: &Open,
        row: &EntryRow,
    ) -> Option<StoredMessage> {
        if !open.keys.is_member() {
            return None;
        }
        let message = self.read_message(id, open, row);
        if message.is_none() {
            self.skip("entries", row.id);
        }
        message
    }

    /// Opens a message; `None` when it is none, or does not open.
    pub(super) fn read_message(
        &self,
        id: &ChannelId,
        open: &Open,
        row: &EntryRow,
    ) -> Option<StoredMessage> {
        let bytes = Bytes::copy_from_slice(&row.open(&self.sealer).ok()?);
        let body = Entry::decode(id, bytes).ok()?.open(&open.keys)?;
        let say = body.as_say()?;
        Some(StoredMessage {
            channel: *id,
            position: position_of(open, row)?,
            chain: *open.by_row.get(&row.chain)?,
            id: say.id,
            unix_ms: say.unix_ms,
            text: say.text.clone(),
            stored_unix: unsigned(row.stored),
        })
    }

    /// The newest of what a chain of ours has between two numbers, the first not included, oldest
    /// first: rows and ids of the messages.
    pub(super) fn said_between(
        &self,
        id: &ChannelId,
        chain: i64,
        after: i64,
        to: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<(i64, MessageId)>> {
        let open = self.channels.get(id).and_then(|channel| channel.open.as_ref());
        let Some(open) = open.filter(|_| after < to) else { return Ok(Vec::new()) };
        let query = format!(
            "SELECT {} FROM entries e WHERE e.chain = ? AND e.number > ? AND e.number <= ?
             AND e.shown IN ({SHOWN}, {TWIN}) ORDER BY e.number DESC LIMIT ?",
            EntryRow::COLUMNS
        );
        let mut query = self.db.prepare_cached(&query)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = query.query_map(params![chain, after, to, limit], EntryRow::read)?;
        let said = |row: rusqlite::Result<EntryRow>| {
            let message = row.map(|row| Some((row.id, self.message(id, open, &row)?.id)));
            message.transpose()
        };
        let mut said: Vec<_> = rows.filter_map(said).collect::<rusqlite::Result<_>>()?;
        said.reverse();
        Ok(said)
    }

    /// A message, by who said it and the id that it was said under.
    pub(super) fn find_said(
        &self,
        id: &ChannelId,
        author: &PeerId,
        message: &MessageId,
    ) -> Result<Option<StoredMessage>, ArchiveError> {
        let open = self.opened(id)?;
        let code = self.sealer.code(self.channel_row(id), author, message);
        let query =
            format!("SELECT {} FROM entries e WHERE e.said = ? AND e.shown = 1", EntryRow::COLUMNS);
        let rows: Vec<EntryRow> = self.read(|db| {
            let mut query = db.prepare_cached(&query)?;
            query.query_map([code], EntryRow::read)?.collect()
        })?;
        let mut messages = rows.iter().filter_map(|row| self.message(id, open, row));
        Ok(messages.find(|found| found.id == *message && found.position.author == *author))
    }

    /// Whose chains are held and have begun.
    pub(super) fn list_authors(&self, id: &ChannelId) -> Result<Vec<PeerId>, ArchiveError> {
        let chains = self.opened(id)?.chains.values().map(|chain| &chain.state);
        let authors = chains.filter(|chain| chain.head > 0).map(|chain| chain.certificate.author);
        Ok(authors.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// The newest messages that match, newest first; `None` when those that are indexed are not
    /// enough to know, and more will be.
    pub(super) fn search(
        &self,
        id: &ChannelId,
        query: &Query,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Option<Found>, ArchiveError> {
        let open = self.opened(id)?;
        let channel = self.channel_row(id);
        let found = self.index.find(channel, query);
        let found = found.map_err(ArchiveError::index("search in", &self.paths.main))?;
        let limit = limit.min(ANSWER_MAX);
        let mut rows = if found.len() > MATCHES_MAX {
            self.newest_of(channel, open, &found, before, limit)?
        } else {
            self.rows_of(open, &found, before)?
        };
        rows.sort_unstable_by_key(|(position, _)| Reverse(*position));
        let edge = self.index.edge(channel);
        let mut page = Page::new(limit);
        for (_, row) in rows {
            // Behind the edge a match is by chance: there may be newer ones that are not indexed.
            if !page.has_room() || edge.is_some_and(|edge| row.0 <= edge.0) {
                break;
            }
            if let Some(row) = self.entry_row(row.1)? {
                page.push(self.message(id, open, &row));
            }
        }
        let is_complete = !page.has_room() || edge.is_none();
        let found = Found { messages: page.messages, is_complete };
        Ok((is_complete || self.index.is_full()).then_some(found))
    }

    fn entry_row(&self, id: i64) -> Result<Option<EntryRow>, ArchiveError> {
        let query = format!("SELECT {} FROM entries e WHERE e.id = ?", EntryRow::COLUMNS);
        self.read(|db| db.prepare_cached(&query)?.query_row([id], EntryRow::read).optional())
    }

    pub(super) fn rows_of(
        &self,
        open: &Open,
        found: &[i64],
        before: Option<Position>,
    ) -> Result<Vec<(Position, Place)>, ArchiveError> {
        self.read(|db| {
            let query = "SELECT id, chain, number, clock FROM entries WHERE id = ?";
            let mut query = db.prepare_cached(query)?;
            let mut rows = Vec::new();
            for id in found {
                let row = query.query_row([id], |row| light_row(open, row)).optional()?.flatten();
                rows.extend(row.filter(|(position, _)| before.is_none_or(|edge| *position < edge)));
            }
            Ok(rows)
        })
    }

    /// So many match that reading the channel from its end finds them sooner.
    pub(super) fn newest_of(
        &self,
        channel: i64,
        open: &Open,
        found: &[i64],
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, Place)>, ArchiveError> {
        let found: HashSet<i64> = found.iter().copied().collect();
        self.read(|db| {
            let query = "SELECT id, chain, number, clock FROM entries
                 WHERE channel = ? AND shown = 1 AND clock <= ? ORDER BY clock DESC";
            let mut query = db.prepare_cached(query)?;
            let clock = before.map_or(i64::MAX, |edge| signed(edge.clock));
            let mut rows = query.query([channel, clock])?;
            let mut newest: Vec<(Position, Place)> = Vec::new();
            while let Some(row) = rows.next()? {
                let is_last = |last: &(Position, Place), clock: i64| last.1.0 != clock;
                let clock: i64 = row.get(3)?;
                if newest.len() >= limit && newest.last().is_some_and(|last| is_last(last, clock)) {
                    break;
                }
                if found.contains(&row.get(0)?) {
                    let row = light_row(open, row)?;
                    let before = |position: &Position| before.is_none_or(|edge| *position < edge);
                    newest.extend(row.filter(|(position, _)| before(position)));
                }
            }
            Ok(newest)
        })
    }

    /// Reads some more messages for the index; says whether there is more to do.
    pub(super) fn index_step(&mut self) -> Result<bool, ArchiveError> {
        let Some((channel, edge)) = self.index.unfinished() else { return Ok(false) };
        let known = self.channels.iter().find(|(_, known)| known.row == channel);
        let open = known.and_then(|(id, known)| Some((id, known.open.as_ref()?)));
        let (mut texts, mut next) = (Vec::new(), None);
        if let Some((id, open)) = open {
            let query = format!(
                "SELECT {} FROM entries e WHERE e.channel = ? AND e.shown = 1
                 AND (e.clock, e.id) < (?, ?) ORDER BY e.clock DESC, e.id DESC LIMIT {INDEX_STEP}",
                EntryRow::COLUMNS
            );
            let rows: Vec<EntryRow> = self.read(|db| {
                let mut query = db.prepare_cached(&query)?;
                query.query_map([channel, edge.0, edge.1], EntryRow::read)?.collect()
            })?;
            if rows.len() == INDEX_STEP {
                next = rows.last().map(EntryRow::place);
            }
            let text = |row: &EntryRow| Some((row.id, self.message(id, open, row)?.text));
            texts = rows.iter().filter_map(text).collect();
        }
        let taken = self.index.take_step(channel, texts, next);
        taken.map_err(ArchiveError::index("index", &self.paths.main))?;
        Ok(self.index.unfinished().is_some())
    }
}

pub(super) fn light_row(open: &Open, row: &Row<'_>) -> rusqlite::Result<Option<(Position, Place)>> {
    let (id, chain, number, clock): (i64, i64, i64, i64) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(position(open, chain, number, clock).map(|position| (position, (clock, id))))
}

fn position_of(open: &Open, row: &EntryRow) -> Option<Position> {
    position(open, row.chain, row.number, row.clock)
}

fn position(open: &Open, chain: i64, number: i64, clock: i64) -> Option<Position> {
    let chain = open.chains.get(open.by_row.get(&chain)?)?;
    let certificate = &chain.state.certificate;
    Some(Position {
        clock: unsigned(clock),
        author: certificate.author,
        device: certificate.device,
        number: unsigned(number),
    })
}

/// An answer in the making, of bounded length and size.
struct Page {
    messages: Vec<StoredMessage>,
    bytes: usize,
    limit: usize,
}

impl Page {
    const fn new(limit: usize) -> Self {
        Self { messages: Vec::new(), bytes: 0, limit }
    }

    fn has_room(&self) -> bool {
        self.messages.len() < self.limit && self.bytes < ANSWER_BYTES_MAX
    }

    fn push(&mut self, message: Option<StoredMessage>) {
        if let Some(message) = message.filter(|_| self.has_room()) {
            self.bytes += message.text.len();
            self.messages.push(message);
        }
    }
}

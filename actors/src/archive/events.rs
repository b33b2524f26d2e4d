//! What happened, with its durable numbers: kept for clients that were away.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::append::{DELIVERED, Done, FORKED, MESSAGE, kind_code};
use super::read::{ANSWER_BYTES_MAX, ANSWER_MAX, EntryRow};
use super::store::{Store, role_from, signed, unsigned};
use super::{ArchiveError, Event, EventKind};

/// Events of each kind that are kept: whoever has many to tell of one kind does not push out others.
pub(super) const EVENTS_MAX: i64 = 100_000;

/// How many events of each kind there are.
#[derive(Debug, Default)]
pub(super) struct EventsKept(BTreeMap<i64, i64>);

impl EventsKept {
    pub(super) fn count(db: &Connection) -> rusqlite::Result<Self> {
        let mut query = db.prepare_cached("SELECT kind, count(*) FROM events GROUP BY kind")?;
        let counts = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        counts.collect::<rusqlite::Result<_>>().map(Self)
    }
}

impl Store {
    /// Writes of an event: `subject` is a row of `entries`, of `chains` where it is a fork.
    pub(super) fn add_event(
        &mut self,
        subject: i64,
        by: Option<(i64, i64)>,
        kind: EventKind,
        done: &mut Done,
    ) -> rusqlite::Result<()> {
        self.last_event += 1;
        let (peer, role) = by.unzip();
        let code = kind_code(&kind);
        let insert = "INSERT INTO events VALUES (?, ?, ?, ?, ?)";
        let values = params![self.last_event, code, subject, peer, role];
        self.db.prepare_cached(insert)?.execute(values)?;
        *self.events_kept.0.entry(code).or_default() += 1;
        done.events.push(Event { seq: unsigned(self.last_event), kind });
        Ok(())
    }

    /// Keeps no more events than there may be.
    pub(super) fn trim_events(&mut self) -> rusqlite::Result<()> {
        let delete = "DELETE FROM events WHERE seq IN
             (SELECT seq FROM events WHERE kind = ? ORDER BY seq LIMIT ?)";
        for kind in [MESSAGE, DELIVERED, FORKED] {
            let kept = self.events_kept.0.entry(kind).or_default();
            let excess = *kept - EVENTS_MAX;
            if excess > 0 {
                self.db.prepare_cached(delete)?.execute([kind, excess])?;
                *kept = EVENTS_MAX;
            }
        }
        Ok(())
    }

    /// What happened after `since`, oldest first. It ends before what is said in a channel that is
    /// about to be opened; `None`: that comes next.
    pub(super) fn list_events(
        &self,
        since: u64,
        limit: usize,
        will_open: impl Fn(&bitchat_protocol::id::ChannelId) -> bool,
    ) -> Result<Option<Vec<Event>>, ArchiveError> {
        let last = unsigned(self.last_event);
        if since > last {
            return Err(ArchiveError::NoSuchEvent { since, last });
        }
        let query = format!(
            "SELECT {}, v.seq, v.peer, v.role, v.kind, v.subject FROM events v
             LEFT JOIN entries e ON v.kind <> {FORKED} AND e.id = v.subject
             WHERE v.seq > ? ORDER BY v.seq",
            EntryRow::COLUMNS
        );
        self.read(|db| {
            let mut query = db.prepare_cached(&query)?;
            let mut rows = query.query([signed(since)])?;
            let (mut events, mut bytes) = (Vec::new(), 0);
            while events.len() < limit.min(ANSWER_MAX) && bytes < ANSWER_BYTES_MAX {
                let Some(row) = rows.next()? else { break };
                let kind = self.event_kind(row)?;
                match &kind {
                    EventKind::NotOpen(id) if will_open(id) => {
                        return Ok((!events.is_empty()).then_some(events));
                    }
                    EventKind::Message(message) => bytes += message.text.len(),
                    EventKind::Delivered { .. }
                    | EventKind::Forked { .. }
                    | EventKind::Gone
                    | EventKind::NotOpen(_) => {}
                }
                let seq = unsigned(row.get(EntryRow::COLUMNS_COUNT)?);
                events.push(Event { seq, kind });
            }
            Ok(Some(events))
        })
    }

    fn event_kind(&self, row: &Row<'_>) -> rusqlite::Result<EventKind> {
        if row.get::<_, i64>(EntryRow::COLUMNS_COUNT + 3)? == FORKED {
            return self.forked(row.get(EntryRow::COLUMNS_COUNT + 4)?);
        }
        if row.get::<_, Option<i64>>(0)?.is_none() {
            return Ok(EventKind::Gone);
        }
        let entry = EntryRow::read(row)?;
        let Some(id) = self.channel_of_row(entry.channel) else { return Ok(EventKind::Gone) };
        let open = self.channels.get(&id).and_then(|channel| channel.open.as_ref());
        let Some(open) = open.filter(|open| open.keys.is_member()) else {
            return Ok(EventKind::NotOpen(id));
        };
        let Some(message) = self.message(&id, open, &entry) else { return Ok(EventKind::Gone) };
        let peer: Option<i64> = row.get(EntryRow::COLUMNS_COUNT + 1)?;
        let Some(peer) = peer else { return Ok(EventKind::Message(message)) };
        let role = role_from(row.get(EntryRow::COLUMNS_COUNT + 2)?);
        Ok(match self.peers.ids.get(&peer) {
            Some(by) => EventKind::Delivered { id: message.id, channel: id, by: *by, role },
            None => EventKind::Gone,
        })
    }

    /// The event of a fork of a chain.
    fn forked(&self, chain: i64) -> rusqlite::Result<EventKind> {
        let query = "SELECT channel FROM chains WHERE id = ?";
        let mut rows = self.db.prepare_cached(query)?;
        let channel = rows.query([chain])?.next()?.map(|row| row.get(0)).transpose()?;
        let Some(id) = channel.and_then(|row| self.channel_of_row(row)) else {
            return Ok(EventKind::Gone);
        };
        let open = self.channels.get(&id).and_then(|channel| channel.open.as_ref());
        let Some(open) = open else { return Ok(EventKind::NotOpen(id)) };
        let forked = || {
            let chain_id = *open.by_row.get(&chain)?;
            let state = &open.chains.get(&chain_id)?.state;
            let (author, number) = (state.certificate.author, state.forked.as_ref()?.number);
            Some(EventKind::Forked { channel: id, author, chain: chain_id, number })
        };
        Ok(forked().unwrap_or(EventKind::Gone))
    }

    fn channel_of_row(&self, row: i64) -> Option<bitchat_protocol::id::ChannelId> {
        self.channels.iter().find(|(_, channel)| channel.row == row).map(|(id, _)| *id)
    }
}

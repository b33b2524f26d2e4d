//! Messages that came more than once, or before they could be read.
//!
//! An author whose chain had to be begun anew may say a message again in the new one: under one id it is
//! one message. All who hold both show the one that comes first in the order, and it is told once.

use bitchat_protocol::id::ChannelId;
use bitchat_protocol::log::Position;
use rusqlite::{OptionalExtension as _, params};

use super::append::{Done, NO_MESSAGE, SHOWN, TWIN, UNREAD};
use super::read::{EntryRow, light_row};
use super::store::Store;

/// Entries that one step opens.
const READ_AT_ONCE: usize = 500;

/// Whether a message is there already under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twin {
    /// It is not.
    None,
    /// It is, at an earlier place: that is shown.
    Before,
    /// It is, at a later place, which is shown no longer.
    After,
}

impl Twin {
    /// What `shown` says of the message that has come.
    pub(super) const fn shown(self) -> i64 {
        match self {
            Self::None | Self::After => SHOWN,
            Self::Before => TWIN,
        }
    }
}

impl Store {
    /// Looks for the same message, and decides which of both is shown.
    pub(super) fn meet_twin(
        &self,
        id: &ChannelId,
        said: i64,
        position: &Position,
        done: &mut Done,
    ) -> rusqlite::Result<Twin> {
        let Some(channel) = self.channels.get(id) else { return Ok(Twin::None) };
        let Some(open) = &channel.open else { return Ok(Twin::None) };
        let query = "SELECT id, chain, number, clock FROM entries WHERE said = ? AND shown = 1";
        let mut query = self.db.prepare_cached(query)?;
        let twin = query.query_row([said], |row| light_row(open, row)).optional()?.flatten();
        match twin {
            None => Ok(Twin::None),
            Some((twin, _)) if twin < *position => Ok(Twin::Before),
            Some((_, (_, row))) => {
                let update = "UPDATE entries SET shown = ? WHERE id = ?";
                self.db.prepare_cached(update)?.execute([TWIN, row])?;
                done.forgotten.entry(channel.row).or_default().push(row);
                Ok(Twin::After)
            }
        }
    }

    /// Reads some of what was kept as a seeder, now that we are a member: as if it had come now.
    /// Without an event in the answer, there is nothing more to read.
    pub(super) fn read_kept(&mut self, id: &ChannelId) -> rusqlite::Result<Done> {
        let mut done = Done::default();
        while done.events.is_empty() {
            let rows = self.unread_rows(id)?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                self.read_kept_row(id, &row, &mut done)?;
            }
        }
        Ok(done)
    }

    fn unread_rows(&self, id: &ChannelId) -> rusqlite::Result<Vec<EntryRow>> {
        let Some(channel) = self.channels.get(id) else { return Ok(Vec::new()) };
        if !channel.open.as_ref().is_some_and(|open| open.keys.is_member()) {
            return Ok(Vec::new());
        }
        let query = format!(
            "SELECT {} FROM entries e WHERE e.channel = ? AND e.shown = {UNREAD}
             ORDER BY e.id LIMIT {READ_AT_ONCE}",
            EntryRow::COLUMNS
        );
        let mut query = self.db.prepare_cached(&query)?;
        query.query_map([channel.row], EntryRow::read)?.collect()
    }

    fn read_kept_row(
        &mut self,
        id: &ChannelId,
        row: &EntryRow,
        done: &mut Done,
    ) -> rusqlite::Result<()> {
        let open = self.channels.get(id).and_then(|channel| channel.open.as_ref());
        let Some(message) = open.and_then(|open| self.read_message(id, open, row)) else {
            if row.open(&self.sealer).is_err() {
                self.skip("entries", row.id);
            }
            let update = "UPDATE entries SET shown = ? WHERE id = ?";
            self.db.prepare_cached(update)?.execute([NO_MESSAGE, row.id])?;
            return Ok(());
        };
        let said = self.sealer.code(row.channel, &message.position.author, &message.id);
        let twin = self.meet_twin(id, said, &message.position, done)?;
        let update = "UPDATE entries SET shown = ?, said = ? WHERE id = ?";
        self.db.prepare_cached(update)?.execute(params![twin.shown(), said, row.id])?;
        self.tell_message(row.channel, row.place(), twin, message, done)
    }
}

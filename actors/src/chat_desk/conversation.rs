//! The channels that are open, and what waits until the archive has opened them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitchat_protocol::channel::ChannelKeys;
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use bitchat_protocol::log::Role;
use tokio::sync::oneshot;

use super::{Say, SayError};
use crate::archive::ArchiveError;
use crate::channel_book::OpenedChannel;

/// Texts that wait for the archive to open their channel.
const EARLY_MAX: usize = 64;

/// Who waits for a text to be said.
pub(super) type Answer = oneshot::Sender<Result<MessageId, SayError>>;

/// One channel.
pub(super) struct Conversation {
    /// For a person.
    pub(super) name: String,
    pub(super) keys: Arc<ChannelKeys>,
    /// The only other one in it, where it is the channel of a pair.
    pub(super) only: Option<PeerId>,
    /// What it went on as: nothing can be said in it any more.
    pub(super) moved_to: Option<ChannelId>,
    /// Whether the log has what is on disk.
    pub(super) is_open: bool,
    /// Its number among all conversations of this desk.
    pub(super) generation: u64,
    /// Why the archive could not open it, the last time.
    pub(super) trouble: Option<ArchiveError>,
    /// Whether the archive has opened it, or could not.
    pub(super) is_tried: bool,
    early: Vec<(Say, Answer)>,
}

impl Conversation {
    pub(super) fn new(channel: &OpenedChannel, generation: u64) -> Self {
        Self {
            name: channel.name.clone(),
            keys: Arc::new(channel.keys.clone()),
            only: channel.only,
            moved_to: channel.moved_to,
            is_open: false,
            is_tried: false,
            generation,
            trouble: None,
            early: Vec::new(),
        }
    }

    /// Takes a text that comes before the archive has opened the channel.
    pub(super) fn wait(&mut self, say: Say, answer: Answer) {
        if self.early.len() < EARLY_MAX {
            self.early.push((say, answer));
        } else {
            // Who asked may be gone.
            let _ = answer.send(Err(SayError::Starting));
        }
    }

    /// What has waited.
    pub(super) fn open(&mut self) -> Vec<(Say, Answer)> {
        (self.is_open, self.is_tried) = (true, true);
        std::mem::take(&mut self.early)
    }

    /// Refuses what has waited.
    pub(super) fn refuse(&mut self, why: &SayError) {
        self.is_tried = true;
        for (_, answer) in self.early.drain(..) {
            let _ = answer.send(Err(why.clone()));
        }
    }
}

/// Who is linked in which channel.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<(ChannelId, PeerId), Role>);

impl Members {
    pub(super) fn insert(&mut self, channel: ChannelId, peer: PeerId, role: Role) {
        self.0.insert((channel, peer), role);
    }

    pub(super) fn remove(&mut self, channel: ChannelId, peer: PeerId) {
        self.0.remove(&(channel, peer));
    }

    pub(super) fn close(&mut self, channel: ChannelId) {
        self.0.retain(|(of, _), _| *of != channel);
    }

    pub(super) fn of(&self, channel: ChannelId) -> Vec<(PeerId, Role)> {
        let of = self.0.iter().filter(|((of, _), _)| *of == channel);
        of.map(|((_, peer), role)| (*peer, *role)).collect()
    }
}

/// What was said here and nobody is known to have: in the order in which it was said.
#[derive(Debug, Default)]
pub(super) struct Undelivered {
    order: BTreeMap<u64, (ChannelId, MessageId)>,
    /// The id first: who asks for one need not know where it was said.
    known: BTreeMap<(MessageId, ChannelId), u64>,
    next: u64,
    /// How many were said when there was no room for more.
    beyond: usize,
}

impl Undelivered {
    /// Beyond it the newest are only counted, until all before them are delivered.
    const MAX: usize = 100_000;

    pub(super) fn insert(&mut self, channel: ChannelId, id: MessageId) {
        if self.known.contains_key(&(id, channel)) {
            return;
        }
        if self.order.len() >= Self::MAX {
            self.beyond += 1;
            return;
        }
        self.known.insert((id, channel), self.next);
        self.order.insert(self.next, (channel, id));
        self.next += 1;
    }

    pub(super) fn remove(&mut self, channel: ChannelId, id: MessageId) {
        if let Some(place) = self.known.remove(&(id, channel)) {
            self.order.remove(&place);
            if self.order.is_empty() {
                self.beyond = 0;
            }
        }
    }

    /// Forgets what was said in a channel that is closed.
    pub(super) fn close(&mut self, channel: ChannelId) {
        self.order.retain(|_, (of, _)| *of != channel);
        self.known.retain(|(_, of), _| *of != channel);
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.order.values().map(|(_, id)| *id)
    }

    /// How many, those that there was no room for, too.
    pub(super) fn count(&self) -> usize {
        self.order.len() + self.beyond
    }

    /// Whether a message is one of them, wherever it was said.
    pub(super) fn has(&self, id: MessageId) -> bool {
        let (first, last) = (ChannelId([0; 32]), ChannelId([u8::MAX; 32]));
        self.known.range((id, first)..=(id, last)).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEAM: ChannelId = ChannelId([1; 32]);
    const OTHER: ChannelId = ChannelId([2; 32]);

    fn id(n: usize) -> MessageId {
        MessageId(u128::try_from(n).unwrap().to_be_bytes())
    }

    #[test]
    fn what_nobody_has_is_found_by_its_id_alone_and_counted_beyond_what_is_held() {
        let mut undelivered = Undelivered::default();
        for n in 0..Undelivered::MAX + 7 {
            undelivered.insert(TEAM, id(n));
        }
        undelivered.insert(TEAM, id(0));
        assert_eq!(undelivered.count(), Undelivered::MAX + 7, "each once");
        assert!(
            undelivered.has(id(Undelivered::MAX - 1)) && !undelivered.has(id(Undelivered::MAX))
        );
        undelivered.remove(TEAM, id(0));
        // One key in two channels is two messages.
        undelivered.insert(OTHER, id(5));
        undelivered.remove(TEAM, id(5));
        assert!(undelivered.has(id(5)) && !undelivered.has(id(0)));
        assert_eq!(undelivered.iter().next(), Some(id(1)));
        for n in 0..Undelivered::MAX {
            undelivered.remove(TEAM, id(n));
        }
        undelivered.close(OTHER);
        assert!(!undelivered.has(id(5)));
    }
}

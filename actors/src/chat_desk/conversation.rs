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
    known: BTreeMap<(ChannelId, MessageId), u64>,
    next: u64,
}

impl Undelivered {
    /// Beyond it the newest are left out.
    const MAX: usize = 100_000;

    pub(super) fn insert(&mut self, channel: ChannelId, id: MessageId) {
        let key = (channel, id);
        if self.order.len() < Self::MAX && !self.known.contains_key(&key) {
            self.known.insert(key, self.next);
            self.order.insert(self.next, key);
            self.next += 1;
        }
    }

    pub(super) fn remove(&mut self, channel: ChannelId, id: MessageId) {
        if let Some(place) = self.known.remove(&(channel, id)) {
            self.order.remove(&place);
        }
    }

    /// Forgets what was said in a channel that is closed.
    pub(super) fn close(&mut self, channel: ChannelId) {
        self.order.retain(|_, (of, _)| *of != channel);
        self.known.retain(|(of, _), _| *of != channel);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.order.values().map(|(_, id)| *id)
    }
}

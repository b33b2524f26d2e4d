//! The channels that are open, and what waits until the archive has opened them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitchat_protocol::channel::ChannelKeys;
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use bitchat_protocol::log::Role;
use tokio::sync::oneshot;

use super::{Say, SayError};
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
    /// Whether the log has what is on disk.
    pub(super) is_open: bool,
    /// Whether the archive has opened it, or could not.
    pub(super) is_tried: bool,
    early: Vec<(Say, Answer)>,
}

impl Conversation {
    pub(super) fn new(channel: &OpenedChannel) -> Self {
        Self {
            name: channel.name.clone(),
            keys: Arc::new(channel.keys.clone()),
            only: channel.only,
            is_open: false,
            is_tried: false,
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
    order: BTreeMap<u64, MessageId>,
    known: BTreeSet<MessageId>,
    next: u64,
}

impl Undelivered {
    /// More than that are not listed.
    const MAX: usize = bitchat_protocol::limits::OUTBOX_MESSAGES_MAX;

    pub(super) fn insert(&mut self, id: MessageId) {
        if self.order.len() < Self::MAX && self.known.insert(id) {
            self.order.insert(self.next, id);
            self.next += 1;
        }
    }

    pub(super) fn remove(&mut self, id: &MessageId) {
        if self.known.remove(id) {
            self.order.retain(|_, it| it != id);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.order.values().copied()
    }
}

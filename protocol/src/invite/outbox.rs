//! Whom we owe an invitation, and when each was sent last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::id::{ChannelId, PeerId};

/// Between two times that an invitation is sent over one link: what was sent may have found no room,
/// or be forgotten, as the invitee keeps it in memory alone.
const AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// What we owe. The driver bounds it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// When it was sent last over the present link.
    owed: BTreeMap<(PeerId, ChannelId), Option<Instant>>,
    linked: BTreeSet<PeerId>,
}

impl Outbox {
    pub(super) fn owed(&self) -> impl Iterator<Item = (PeerId, ChannelId)> {
        self.owed.keys().copied()
    }

    pub(super) fn is_linked(&self, peer: &PeerId) -> bool {
        self.linked.contains(peer)
    }

    fn of(&self, peer: &PeerId) -> Vec<ChannelId> {
        let all = (*peer, ChannelId([0; 32]))..=(*peer, ChannelId([0xff; 32]));
        self.owed.range(all).map(|((_, channel), _)| *channel).collect()
    }

    /// Owes one more; whether it is to be sent now.
    pub(super) fn insert(&mut self, now: Instant, peer: PeerId, channel: ChannelId) -> bool {
        let is_linked = self.is_linked(&peer);
        self.owed.insert((peer, channel), is_linked.then_some(now));
        is_linked
    }

    /// Whether it was owed.
    pub(super) fn remove(&mut self, peer: PeerId, channel: ChannelId) -> bool {
        self.owed.remove(&(peer, channel)).is_some()
    }

    /// Owes a peer nothing any more; what that was.
    pub(super) fn remove_of(&mut self, peer: &PeerId) -> Vec<ChannelId> {
        let channels = self.of(peer);
        self.owed.retain(|(owed, _), _| owed != peer);
        channels
    }

    /// A peer is linked; what is to be sent to it.
    pub(super) fn link(&mut self, now: Instant, peer: PeerId) -> Vec<ChannelId> {
        self.linked.insert(peer);
        let channels = self.of(&peer);
        for channel in &channels {
            self.owed.insert((peer, *channel), Some(now));
        }
        channels
    }

    pub(super) fn unlink(&mut self, peer: &PeerId) {
        self.linked.remove(peer);
        for channel in self.of(peer) {
            self.owed.insert((*peer, channel), None);
        }
    }

    /// What is to be sent once more by `now`.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(PeerId, ChannelId)> {
        let is_due = |sent: &Option<Instant>| sent.is_some_and(|sent| sent + AGAIN_AFTER <= now);
        let due = self.owed.iter_mut().filter(|(_, sent)| is_due(sent));
        due.map(|(owed, sent)| {
            *sent = Some(now);
            *owed
        })
        .collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.owed.values().flatten().min().map(|sent| *sent + AGAIN_AFTER)
    }
}

//! An infohash that we announce on the local network.

use std::time::{Duration, Instant};

use crate::id::{ChannelId, InfoHash};

#[derive(Debug, Clone, Copy)]
pub(super) struct Torrent {
    pub(super) channel: ChannelId,
    pub(super) infohash: InfoHash,
    pub(super) port: u16,
    pub(super) announced_at: Option<Instant>,
    /// Before its turn.
    pub(super) hurry_at: Option<Instant>,
    /// How often another has announced it, and when last.
    pub(super) heard: u64,
    pub(super) heard_at: Option<Instant>,
}

impl Torrent {
    pub(super) const fn new(channel: ChannelId, infohash: InfoHash, port: u16) -> Self {
        let (announced_at, hurry_at, heard_at) = (None, None, None);
        Self { channel, infohash, port, announced_at, hurry_at, heard: 0, heard_at }
    }

    pub(super) fn is_due(&self, now: Instant, interval: Duration) -> bool {
        let hurry = self.hurry_at.is_some_and(|hurry_at| hurry_at <= now);
        hurry || self.announced_at.is_none_or(|at| now.duration_since(at) >= interval)
    }
}

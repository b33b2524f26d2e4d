//! How local discovery does: when each torrent is announced, and what was heard of it.

use std::time::Instant;

use super::torrent::Torrent;
use super::{Interface, Lan, Rhythm};
use crate::id::{ChannelId, InfoHash};

/// How an infohash does on the local network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The channel.
    pub channel: ChannelId,
    /// What the local network knows it by.
    pub infohash: InfoHash,
    /// When it was last announced.
    pub last_announce: Option<Instant>,
    /// When it is announced next; `None`: we have no address to announce it from.
    pub next_announce: Option<Instant>,
    /// When another last announced it.
    pub last_heard: Option<Instant>,
    /// How often another has announced it.
    pub heard: u64,
    /// Addresses of the channel's members that were passed on in the last minutes.
    pub peers_found: usize,
}

impl Lan {
    /// Those of our addresses that announce.
    #[must_use]
    pub fn voices(&self) -> Vec<Interface> {
        self.voices.iter().map(|voice| voice.interface).collect()
    }

    /// How each infohash does at `now`.
    #[must_use]
    pub fn statuses(&self, now: Instant) -> Vec<Status> {
        let status = |(at, torrent): (usize, &Torrent)| Status {
            channel: torrent.channel,
            infohash: torrent.infohash,
            last_announce: torrent.announced_at,
            next_announce: self.next_announce(at, torrent),
            last_heard: torrent.heard_at,
            heard: torrent.heard,
            peers_found: self.heard.count(&torrent.channel, now),
        };
        self.torrents.iter().enumerate().map(status).collect()
    }

    fn next_announce(&self, at: usize, torrent: &Torrent) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        match self.config.habit.rhythm {
            Rhythm::EachInTurn { interval, .. } => {
                let all = self.torrents.len();
                let first = if self.turn < all { self.turn } else { 0 };
                let before = u32::try_from((at + all - first) % all).unwrap_or(u32::MAX);
                let turn = self.turn_at + self.pause_between_turns(interval) * before;
                Some(torrent.hurry_at.map_or(turn, |hurry_at| hurry_at.min(turn)))
            }
            Rhythm::Together { tick, interval } => {
                let due = torrent.announced_at.map_or(self.turn_at, |last| last + interval);
                let due = torrent.hurry_at.map_or(due, |hurry_at| hurry_at.min(due));
                let late = due.saturating_duration_since(self.turn_at).as_nanos();
                let ticks = late.div_ceil(tick.as_nanos().max(1));
                Some(self.turn_at + tick * u32::try_from(ticks).unwrap_or(u32::MAX))
            }
        }
    }
}

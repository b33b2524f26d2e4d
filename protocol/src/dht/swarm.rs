//! An infohash that we announce: when it is looked up next, over which IP version, and how it went.
//!
//! ```text
//!            its turn, the DHT is joined
//! (owed) ------------------------------> (looking up, to announce) ---.
//!    ^     its turn                                |                  | announced
//!    |---------------------------------------------'                  v
//!    |            nobody took it: after a pause that grows     (announced)
//!    |                                                          |       ^
//!    '------------------- its turn -----------------------------'       | looked up, without
//!                                    while the pace is Soon: ever less often --'
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::id::{ChannelId, InfoHash};
use crate::limits::DHT_PEERS_REMEMBERED_MAX;
use crate::tracker::announcer::Family;

use super::api::{Activity, Pace, Status, Trouble};
use super::node::{AnnouncedPort, Node, Report};

/// Pauses between look-ups while a channel is in want of peers: this and its doubles, up to the longest.
/// libtorrent looks up at once whenever a torrent is started again, which people do in less.
const SOON_FIRST: Duration = Duration::from_secs(30);
const SOON_MAX: Duration = Duration::from_secs(5 * 60);
/// Pauses after a look-up that nobody answered.
const RETRY_FIRST: Duration = Duration::from_secs(15);
const RETRY_MAX: Duration = Duration::from_secs(5 * 60);

/// What is known of a swarm over one IP version.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// It is its turn to be announced, and nobody has taken the announce yet.
    pub(super) owed: bool,
    /// A look-up is under way; whether it is to announce.
    pub(super) under_way: Option<bool>,
    /// When it is looked up besides its turn.
    pub(super) extra: Option<Instant>,
    /// Look-ups since the pace was set to [`Pace::Soon`].
    soon: u32,
    failures: u32,
    /// Peers of this look-up.
    seen: BTreeSet<SocketAddr>,
    peers_found: usize,
    report: Option<Report>,
    last_answer: Option<Instant>,
    last_announce: Option<Instant>,
    last_error: Option<Trouble>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) channel: ChannelId,
    pub(super) infohash: InfoHash,
    pub(super) port: AnnouncedPort,
    pub(super) pace: Pace,
    /// When it last had its turn; `None`: it is new.
    pub(super) last_turn: Option<Instant>,
    pub(super) v4: Round,
    pub(super) v6: Round,
}

impl Swarm {
    pub(super) fn new(
        channel: ChannelId,
        infohash: InfoHash,
        port: AnnouncedPort,
        pace: Pace,
    ) -> Self {
        let (v4, v6) = (Round::default(), Round::default());
        Self { channel, infohash, port, pace, last_turn: None, v4, v6 }
    }

    pub(super) const fn round(&self, family: Family) -> &Round {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(super) const fn round_mut(&mut self, family: Family) -> &mut Round {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// It is its turn to be announced.
    pub(super) fn take_turn(&mut self, now: Instant) {
        self.last_turn = Some(now);
        for round in [&mut self.v4, &mut self.v6] {
            round.owed = true;
            round.extra = Some(now);
        }
    }

    pub(super) fn set_pace(&mut self, pace: Pace, now: Instant) {
        if self.pace == pace {
            return;
        }
        self.pace = pace;
        for round in [&mut self.v4, &mut self.v6] {
            round.soon = 0;
            if !round.owed {
                round.extra = (pace == Pace::Soon).then_some(now + SOON_FIRST);
            }
        }
    }

    pub(super) fn status(&self, node: &Node) -> Status {
        let round = self.round(node.family);
        let activity = match round.under_way {
            Some(_) => Activity::LookingUp,
            None if node.is_joined() => Activity::Resting,
            None if node.is_joining() => Activity::Joining,
            None => Activity::NoNodes,
        };
        let next_try = match activity {
            Activity::Resting => round.extra,
            Activity::NoNodes => node.next_join(),
            Activity::Joining | Activity::LookingUp => None,
        };
        let (failures, last_error) = match (activity, node.join_failures()) {
            (Activity::NoNodes | Activity::Joining, 1..) => {
                (node.join_failures(), Some(Trouble::NotJoined))
            }
            _ => (round.failures, round.last_error),
        };
        let report = round.report.unwrap_or(Report { asked: 0, answered: 0, announced: 0 });
        Status {
            channel: self.channel,
            infohash: self.infohash,
            family: node.family,
            activity,
            last_answer: round.last_answer,
            last_announce: round.last_announce,
            next_try,
            peers_found: round.peers_found,
            asked: report.asked,
            answered: report.answered,
            announced_to: report.announced,
            nodes: node.table.len(),
            failures,
            last_error,
        }
    }
}

impl Round {
    pub(super) fn begin(&mut self) {
        self.under_way = Some(self.owed);
        self.extra = None;
        self.seen.clear();
    }

    /// Keeps those of the peers that this look-up has not brought yet.
    pub(super) fn sift(&mut self, peers: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let seen = &mut self.seen;
        let new = |peer: &SocketAddr| {
            if seen.len() < DHT_PEERS_REMEMBERED_MAX {
                seen.insert(*peer)
            } else {
                !seen.contains(peer)
            }
        };
        peers.into_iter().filter(new).collect()
    }

    /// The look-up has ended.
    pub(super) fn end(&mut self, report: Report, pace: Pace, now: Instant) {
        let announcing = self.under_way.take().unwrap_or(false);
        self.peers_found = self.seen.len();
        self.seen.clear();
        self.report = Some(report);
        if report.answered > 0 {
            self.last_answer = Some(now);
        }
        self.last_error = match report {
            Report { answered: 0, .. } => Some(Trouble::NoAnswer),
            Report { announced: 0, .. } if announcing => Some(Trouble::NotAnnounced),
            Report { .. } => None,
        };
        if self.last_error.is_some() {
            self.extra = Some(now + doubled(RETRY_FIRST, self.failures, RETRY_MAX));
            self.failures = self.failures.saturating_add(1);
            return;
        }
        self.failures = 0;
        if announcing {
            self.owed = false;
            self.last_announce = Some(now);
        }
        if self.owed {
            // Its turn came while it was looked up without an announce.
            self.extra = Some(now);
        } else if pace == Pace::Soon {
            self.extra = Some(now + doubled(SOON_FIRST, self.soon, SOON_MAX));
            self.soon = self.soon.saturating_add(1);
        }
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    (first * 2_u32.saturating_pow(times.min(16))).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_comes_while_it_is_looked_up_is_not_put_off() {
        #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
        let now = Instant::now();
        let port = AnnouncedPort { port: 1, shared: true };
        let (channel, infohash) = (ChannelId([1; 32]), InfoHash([1; 20]));
        let report = Report { asked: 8, answered: 8, announced: 0 };
        for pace in [Pace::Soon, Pace::Slow] {
            let mut swarm = Swarm::new(channel, infohash, port, pace);
            swarm.v4.begin();
            swarm.take_turn(now);
            swarm.v4.end(report, pace, now);
            assert_eq!((swarm.v4.owed, swarm.v4.extra), (true, Some(now)));
            swarm.v4.begin();
            swarm.v4.end(Report { announced: 8, ..report }, pace, now);
            assert!(!swarm.v4.owed);
        }
    }
}

//! The dials in flight: towards whom, since when, and how long dials take lately.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::candidates::{Pick, Source};
use crate::id::{ChannelId, PeerId};

/// A dial without a result counts as failed after this time; the link gives up long before.
pub(super) const DIAL_DEADLINE: Duration = Duration::from_secs(30);
/// The side with the higher key leaves the first dial to the other for this long at least.
const COURTESY: Duration = Duration::from_millis(300);
/// And at most for this long, however slow dials are: the other may not be able to dial.
const COURTESY_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) channel: ChannelId,
    pub(super) pick: Pick,
    begun: Instant,
}

#[derive(Debug)]
pub(super) struct Dials {
    attempts: BTreeMap<u64, Attempt>,
    /// How many dials expect a peer.
    expected: BTreeMap<PeerId, usize>,
    last: u64,
    /// How long those that lead to a link take, smoothed.
    time: Duration,
}

impl Dials {
    pub(super) const fn new() -> Self {
        Self { attempts: BTreeMap::new(), expected: BTreeMap::new(), last: 0, time: Duration::ZERO }
    }

    pub(super) fn count(&self) -> usize {
        self.attempts.len()
    }

    /// Names a new attempt; later ones have higher numbers.
    pub(super) fn begin(&mut self, now: Instant, channel: ChannelId, pick: Pick) -> u64 {
        self.last += 1;
        self.attempts.insert(self.last, Attempt { channel, pick, begun: now });
        if let Some(peer) = pick.expect {
            *self.expected.entry(peer).or_default() += 1;
        }
        self.last
    }

    /// Takes an attempt out that came to its end, whichever.
    pub(super) fn end(&mut self, attempt: u64) -> Option<Attempt> {
        let ended = self.attempts.remove(&attempt)?;
        if let Some(peer) = ended.pick.expect
            && let Some(dials) = self.expected.get_mut(&peer)
        {
            *dials -= 1;
            if *dials == 0 {
                self.expected.remove(&peer);
            }
        }
        Some(ended)
    }

    /// Notes that an attempt led to a link.
    pub(super) fn succeeded(&mut self, now: Instant, attempt: &Attempt) {
        let took = now.saturating_duration_since(attempt.begun);
        self.time = (self.time * 3 + took) / 4;
    }

    /// How long the side with the higher key leaves the first dial to the other. While our dials
    /// take long, the other's do too, and a second one would only make both take longer.
    pub(super) fn courtesy(&self) -> Duration {
        (self.time * 2).clamp(COURTESY, COURTESY_MAX)
    }

    /// How many expect `peer`.
    pub(super) fn towards(&self, peer: &PeerId) -> usize {
        self.expected.get(peer).copied().unwrap_or(0)
    }

    /// How many are on the word of each source of `channel`.
    pub(super) fn by_source(&self, channel: &ChannelId) -> BTreeMap<Source, usize> {
        let mut dials = BTreeMap::new();
        for attempt in self.attempts.values().filter(|attempt| attempt.channel == *channel) {
            *dials.entry(attempt.pick.source).or_default() += 1;
        }
        dials
    }

    /// Those without a result for too long.
    pub(super) fn overdue(&self, now: Instant) -> Vec<u64> {
        let overdue = self.attempts.iter().filter(|(_, at)| at.begun + DIAL_DEADLINE <= now);
        overdue.map(|(attempt, _)| *attempt).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.attempts.values().map(|attempt| attempt.begun + DIAL_DEADLINE).min()
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> Vec<(u64, Pick)> {
        self.attempts.iter().map(|(number, attempt)| (*number, attempt.pick)).collect()
    }
}

//! Keeps announces of different swarms apart in time.
//!
//! Not only at the start: after a suspended machine wakes, everything is due at once, too.

use std::time::{Duration, Instant};

/// All swarms have their turn in this time, however many there are: their pauses become shorter then.
/// Well below the least interval of any client.
const ROUND_MAX: Duration = Duration::from_secs(60);

/// Who has begun last, and from when on others may.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    last: Option<(u64, Instant)>,
    /// From when on another swarm may be left.
    farewell: Option<Instant>,
}

impl Spacing {
    /// A swarm of `swarms` begins an announce; others wait for `pause`.
    pub(super) fn begun(&mut self, swarm: u64, swarms: usize, now: Instant, pause: Duration) {
        let pause = shared(pause, swarms);
        match self.last {
            // Its trackers are asked together, and the first of them has set the pause.
            Some((last, until)) if last == swarm && until > now => {}
            Some(_) | None => self.last = Some((swarm, now + pause)),
        }
    }

    /// From when on a swarm may begin; `None`: at any time.
    pub(super) fn from(&self, swarm: u64) -> Option<Instant> {
        self.last.filter(|(last, _)| *last != swarm).map(|(_, until)| until)
    }

    /// When the next swarm may be left.
    pub(super) fn farewell(&self, now: Instant) -> Instant {
        self.farewell.map_or(now, |from| from.max(now))
    }

    /// A swarm of `swarms` is left `at` some time; others are left after `pause`.
    pub(super) fn left(&mut self, swarms: usize, at: Instant, pause: Duration) {
        self.farewell = Some(at + shared(pause, swarms));
    }
}

/// The pause where `swarms` have to share a round.
fn shared(pause: Duration, swarms: usize) -> Duration {
    pause.min(ROUND_MAX / u32::try_from(swarms).unwrap_or(u32::MAX).max(1))
}

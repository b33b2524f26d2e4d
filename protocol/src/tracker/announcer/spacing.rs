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
}

impl Spacing {
    /// A swarm of `swarms` begins an announce; others wait for `pause`.
    pub(super) fn begun(&mut self, swarm: u64, swarms: usize, now: Instant, pause: Duration) {
        let pause = pause.min(ROUND_MAX / u32::try_from(swarms).unwrap_or(u32::MAX).max(1));
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
}

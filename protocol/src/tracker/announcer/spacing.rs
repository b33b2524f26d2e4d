//! Keeps announces of different swarms apart in time.
//!
//! Not only at the start: after a suspended machine wakes, everything is due at once, too.

use std::time::{Duration, Instant};

/// Who has begun last, and from when on others may.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    last: Option<(u64, Instant)>,
}

impl Spacing {
    /// A swarm begins an announce; others wait for `pause`.
    pub(super) fn begun(&mut self, swarm: u64, now: Instant, pause: Duration) {
        match self.last {
            // Its trackers are asked together, and the first of them has set the pause.
            Some((last, until)) if last == swarm && until > now => {}
            Some(_) | None => self.last = Some((swarm, now + pause)),
        }
    }

    pub(super) fn allows(&self, swarm: u64, now: Instant) -> bool {
        self.from(swarm).is_none_or(|from| from <= now)
    }

    /// From when on a swarm may begin; `None`: at any time.
    pub(super) fn from(&self, swarm: u64) -> Option<Instant> {
        self.last.filter(|(last, _)| *last != swarm).map(|(_, until)| until)
    }
}

//! How old what is kept is, by a clock that may be wrong.
//!
//! A clock that jumps ahead by years must not make everything too old at once. So time goes on from the
//! newest that is kept as steadily as this run does, and never beyond the clock. Only a clock that has
//! gone on steadily for a day is believed: then a node that was off for months catches up.

use std::time::{Duration, Instant};

/// For how long the clock must go on without a jump.
const BELIEVED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// By how much it may go wrong meanwhile: that of a machine that is kept right goes less.
const JUMP_SECONDS: u64 = 60;

/// Tells the time by which things grow old, in seconds since 1970.
#[derive(Debug)]
pub(super) struct Ageing {
    /// The time that was believed at an instant.
    known: (i64, Instant),
    /// What the clock said at the instant since when it has not jumped.
    steady: (i64, Instant),
}

impl Ageing {
    /// `newest` is when the newest of all came to disk; `wall` is what the clock says at `now`.
    pub(super) fn new(newest: Option<i64>, wall: i64, now: Instant) -> Self {
        Self { known: (newest.unwrap_or(wall), now), steady: (wall, now) }
    }

    /// What time it is at least, as far as it can be told.
    pub(super) fn time(&mut self, wall: i64, now: Instant) -> i64 {
        let after = |(then, at): (i64, Instant)| {
            let passed = now.saturating_duration_since(at).as_secs();
            then.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
        };
        if after(self.steady).abs_diff(wall) > JUMP_SECONDS {
            self.steady = (wall, now);
        } else if now.saturating_duration_since(self.steady.1) >= BELIEVED_AFTER {
            self.known = (wall, now);
        }
        after(self.known).min(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const DAY: i64 = 24 * 3600;

    struct Clock {
        ageing: Ageing,
        start: Instant,
        passed: u64,
    }

    impl Clock {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        fn new(newest: Option<i64>, wall: i64) -> Self {
            let start = Instant::now();
            Self { ageing: Ageing::new(newest, wall, start), start, passed: 0 }
        }

        fn after(&mut self, hours: u64, wall: i64) -> i64 {
            self.passed += hours * HOUR;
            self.ageing.time(wall, self.start + Duration::from_secs(self.passed))
        }
    }

    #[test]
    fn time_goes_on_with_the_clock() {
        let mut clock = Clock::new(Some(1000), 1000);
        assert_eq!(clock.after(1, 4600), 4600);
        assert_eq!(clock.after(1, 8200), 8200);
        let mut empty = Clock::new(None, 500);
        assert_eq!(empty.after(1, 4100), 4100);
    }

    #[test]
    fn a_jump_ahead_is_not_believed_for_a_day() {
        let years = 12 * 365 * DAY;
        let mut clock = Clock::new(Some(0), 0);
        assert_eq!(clock.after(1, years + 3600), 3600);
        assert_eq!(clock.after(23, years + DAY), DAY);
        assert_eq!(clock.after(1, years + DAY + 3600), years + DAY + 3600);
    }

    #[test]
    fn a_clock_that_was_wrong_at_the_start_and_is_set_right_does_no_harm() {
        let mut clock = Clock::new(Some(100), 9 * DAY);
        assert_eq!(clock.after(1, 9 * DAY + 3600), 3700);
        assert_eq!(clock.after(1, 7300), 7300);
        assert_eq!(clock.after(30, 7300 + 30 * 3600), 7300 + 30 * 3600);
    }

    #[test]
    fn what_was_stored_in_the_future_makes_nothing_old() {
        let mut clock = Clock::new(Some(500 * DAY), 10 * DAY);
        assert_eq!(clock.after(1, 10 * DAY + 3600), 10 * DAY + 3600);
    }
}

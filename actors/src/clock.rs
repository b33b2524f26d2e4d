//! The only place of this crate that reads time.
//!
//! Both clocks follow `tokio::time::pause` and `advance`, so a test can let hours of timers pass
//! in milliseconds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time, as machines are told it.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the place that reads time")]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time since 1970-01-01 00:00 UTC by the machine's own calendar clock, which may be wrong and
/// may jump; zero when it stands before 1970.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the place that reads time")]
pub fn unix() -> Duration {
    let calendar = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    #[cfg(feature = "fault-injection")]
    let calendar = fault::shifted(calendar);
    // A paused runtime has its own idea of how much time went by; outside tests both agree.
    let (real, told) = (Instant::now(), now());
    match told.checked_duration_since(real) {
        Some(ahead) => calendar.saturating_add(ahead),
        None => calendar.saturating_sub(real.saturating_duration_since(told)),
    }
}

/// Sets the calendar clock of this process wrong, as a machine's may be; the monotonic one goes on.
///
/// Without the feature `fault-injection` nothing of this exists.
#[cfg(feature = "fault-injection")]
pub mod fault {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    static SECONDS_AHEAD: AtomicI64 = AtomicI64::new(0);

    /// Sets it this many seconds ahead of the machine's own, or behind when negative.
    pub fn set_seconds_ahead(seconds: i64) {
        SECONDS_AHEAD.store(seconds, Ordering::Relaxed);
    }

    pub(super) fn shifted(calendar: Duration) -> Duration {
        let seconds = SECONDS_AHEAD.load(Ordering::Relaxed);
        let by = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { calendar.saturating_sub(by) } else { calendar.saturating_add(by) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn both_clocks_follow_a_paused_runtime() {
        let (monotonic, calendar) = (now(), unix());
        let hour = Duration::from_secs(3600);
        tokio::time::advance(hour).await;
        assert_eq!(now() - monotonic, hour);
        let passed = unix() - calendar;
        assert!(passed.abs_diff(hour) < Duration::from_secs(1), "{passed:?}");
    }

    #[test]
    fn the_calendar_is_plausible_without_a_runtime() {
        assert!(unix() > Duration::from_secs(1_700_000_000));
    }
}

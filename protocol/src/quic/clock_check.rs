//! Notices a member whose clock is so far from ours that no link comes about, and says so once.
//!
//! The gate drops its first packets in silence, so without this neither side would ever know why.
//! The search is for the person's sake only: it lets nobody in, and strangers buy little of it.

use std::time::{Duration, Instant};

use super::gate::{FirstCid, Gate};
use crate::limits::CLOCK_SEARCH_EVERY;

/// The same difference is news again after this.
const REPEATED_AFTER: Duration = Duration::from_secs(3600);
/// What a difference may change by without being another one.
const SAME_MINUTES: u64 = 1;

#[derive(Debug, Default)]
pub(super) struct ClockCheck {
    searched: Option<Instant>,
    told: Option<(i64, Instant)>,
    news: Option<i64>,
}

impl ClockCheck {
    /// Looks whether a first packet that fits no channel now would fit at another time.
    pub(super) fn on_unknown(
        &mut self,
        gate: &Gate,
        (cid, token): (&FirstCid, &[u8]),
        now: Instant,
        unix: Duration,
    ) {
        let due = |since: Instant, every| now.saturating_duration_since(since) >= every;
        if !self.searched.is_none_or(|searched| due(searched, CLOCK_SEARCH_EVERY)) {
            return;
        }
        self.searched = Some(now);
        let Some(minutes) = gate.slots_ahead(cid, token, unix) else { return };
        let is_news = self.told.is_none_or(|(told, at)| {
            told.abs_diff(minutes) > SAME_MINUTES || due(at, REPEATED_AFTER)
        });
        if is_news {
            self.told = Some((minutes, now));
            self.news = Some(minutes);
        }
    }

    pub(super) const fn take_news(&mut self) -> Option<i64> {
        self.news.take()
    }
}

//! Epochs: when a channel's infohash changes.
//!
//! ```text
//! fixed    epoch 0 for ever
//! daily    the UTC day since 1970-01-01; within an hour of midnight, and each node's own margin
//!          beyond it, the neighbour too:
//!
//!          day d-1    23:00 - m | 00:00   01:00 + m   day d   23:00 - m | 00:00
//!          ---------------+-----|-----+---------------------------+-----|---
//!              {d-1}      {d-1, d}              {d}               {d, d+1}
//! ```
//!
//! One hour, because BitTorrent clients announce about every half hour: every member has
//! announced the new infohash before the first one drops the old, and members whose clocks are
//! wrong by less than an hour always share one. The margin, less than another hour, is each node's
//! own in each channel ([`super::ChannelKeys::overlap_margin`]): without it, all nodes everywhere
//! would come to a new infohash in the same second, which no torrent's clients do.

use std::time::Duration;

use Rotation::{Daily, Fixed};

/// Around each midnight, both neighbours are announced for at least this long on either side.
pub const EPOCH_OVERLAP: Duration = Duration::from_secs(60 * 60);

/// By less than this much longer, each node in each channel by as much as is its own.
pub const EPOCH_MARGIN_MAX: Duration = Duration::from_secs(60 * 60);

const DAY_SECS: u64 = 24 * 60 * 60;

/// A span of time with one infohash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// The only epoch of a channel that does not rotate.
    pub const FIXED: Self = Self(0);

    /// The UTC day of a time since the Unix epoch.
    #[must_use]
    pub const fn from_unix(unix_time: Duration) -> Self {
        Self(unix_time.as_secs() / DAY_SECS)
    }

    /// The epoch of a number: 0, or a day since 1970-01-01.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number that goes into the infohash.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Whether a channel's infohash changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rotation {
    /// Never: it can be named in the `.chat` file and looked up by any client.
    Fixed,
    /// Every UTC day: one that was scraped today leads nowhere tomorrow.
    Daily,
}

impl Rotation {
    /// The word for it in files and links.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Fixed => "fixed",
            Daily => "daily",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Fixed, Daily].into_iter().find(|rotation| rotation.as_str() == word)
    }

    /// The epochs to announce and look up at `unix_time`: the present one, then a neighbour within
    /// [`EPOCH_OVERLAP`] and the `margin` of a node, less than [`EPOCH_MARGIN_MAX`], if any.
    #[must_use]
    pub fn announced_epochs(self, unix_time: Duration, margin: Duration) -> Vec<Epoch> {
        match self {
            Fixed => vec![Epoch::FIXED],
            Daily => {
                let present = Epoch::from_unix(unix_time);
                let overlap = EPOCH_OVERLAP + margin;
                let before = Epoch::from_unix(unix_time.saturating_sub(overlap));
                let after = Epoch::from_unix(unix_time.saturating_add(overlap));
                let mut epochs = vec![present];
                epochs.extend([before, after].into_iter().find(|epoch| *epoch != present));
                epochs
            }
        }
    }

    /// How long after `unix_time` the set of [`Rotation::announced_epochs`] changes; never, when fixed.
    #[must_use]
    pub fn next_change(self, unix_time: Duration, margin: Duration) -> Option<Duration> {
        match self {
            Fixed => None,
            Daily => {
                let today = Duration::from_secs(unix_time.as_secs() / DAY_SECS * DAY_SECS);
                let tomorrow = today.saturating_add(Duration::from_secs(DAY_SECS));
                let overlap = EPOCH_OVERLAP + margin;
                // After the morning's end comes the evening's beginning, then the next morning's end.
                [
                    today.saturating_add(overlap),
                    tomorrow.saturating_sub(overlap),
                    tomorrow.saturating_add(overlap),
                ]
                .into_iter()
                .find_map(|change| change.checked_sub(unix_time).filter(|wait| !wait.is_zero()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 20_000;

    fn at(hour: u64, minute: u64, second: u64) -> Duration {
        Duration::from_secs(DAY * DAY_SECS + hour * 3600 + minute * 60 + second)
    }

    /// Margins of nodes: none, some, and the greatest.
    const MARGINS: [Duration; 3] =
        [Duration::ZERO, Duration::from_secs(17 * 60), Duration::from_secs(60 * 60 - 1)];

    fn daily(unix_time: Duration) -> Vec<u64> {
        daily_of(unix_time, Duration::ZERO)
    }

    fn daily_of(unix_time: Duration, margin: Duration) -> Vec<u64> {
        Daily.announced_epochs(unix_time, margin).into_iter().map(Epoch::number).collect()
    }

    #[test]
    fn around_midnight_the_neighbour_is_announced_too() {
        assert_eq!(daily(at(0, 0, 0)), [DAY, DAY - 1]);
        assert_eq!(daily(at(0, 59, 59)), [DAY, DAY - 1]);
        assert_eq!(daily(at(1, 0, 0)), [DAY]);
        assert_eq!(daily(at(22, 59, 59)), [DAY]);
        assert_eq!(daily(at(23, 0, 0)), [DAY, DAY + 1]);
        assert_eq!(daily(at(23, 59, 59)), [DAY, DAY + 1]);
        let some = Duration::from_secs(17 * 60);
        assert_eq!(daily_of(at(1, 16, 59), some), [DAY, DAY - 1]);
        assert_eq!(daily_of(at(1, 17, 0), some), [DAY]);
        assert_eq!(daily_of(at(22, 42, 59), some), [DAY]);
        assert_eq!(daily_of(at(22, 43, 0), some), [DAY, DAY + 1]);
    }

    #[test]
    fn clocks_each_less_than_an_hour_wrong_always_share_an_epoch() {
        for (minute, one, other) in (0..24 * 60)
            .flat_map(|minute| MARGINS.map(|one| (minute, one)))
            .flat_map(|(minute, one)| MARGINS.map(|other| (minute, one, other)))
        {
            let here = daily_of(at(0, minute, 0), one);
            let there = daily_of(at(0, minute + 119, 59), other);
            assert!(here.iter().any(|epoch| there.contains(epoch)), "minute {minute}");
        }
    }

    #[test]
    fn a_fixed_channel_has_one_epoch_and_never_changes() {
        assert_eq!(Fixed.announced_epochs(at(0, 0, 0), MARGINS[2]), [Epoch::FIXED]);
        assert_eq!(Fixed.next_change(at(0, 0, 0), MARGINS[2]), None);
    }

    #[test]
    fn the_set_of_epochs_changes_exactly_when_foretold() {
        for margin in MARGINS {
            let sorted = |unix_time| {
                let mut epochs = daily_of(unix_time, margin);
                epochs.sort_unstable();
                epochs
            };
            let mut now = at(0, 0, 0);
            let mut changes = Vec::new();
            for _ in 0..4 {
                let wait = Daily.next_change(now, margin).unwrap();
                assert_eq!(sorted(now + wait - Duration::from_nanos(1)), sorted(now));
                now += wait;
                assert_ne!(sorted(now), sorted(now - Duration::from_nanos(1)));
                changes.push((now - at(0, 0, 0)).as_secs());
            }
            let (hour, margin) = (3600, margin.as_secs());
            let expected =
                [hour + margin, 23 * hour - margin, 25 * hour + margin, 47 * hour - margin];
            assert_eq!(changes, expected);
        }
    }

    #[test]
    fn no_time_overflows() {
        for unix_time in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
            assert!(!daily(unix_time).is_empty());
            let _ = Daily.next_change(unix_time, MARGINS[2]);
        }
        assert_eq!(daily(Duration::ZERO), [0]);
    }
}

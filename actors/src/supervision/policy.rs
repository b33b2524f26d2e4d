//! Why a child ended, and what a supervisor does about it: plain values, no tasks.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// Why a child is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It stopped by its own will.
    Normal,
    /// It said what is wrong by [`fail`](super::fail); or a supervisor that gave up.
    Failed(String),
    /// It panicked; the text is the panic's message, escaped and cut.
    Panicked(String),
    /// Its factory gave an error or panicked.
    StartFailed(String),
    /// It was told to stop.
    Shutdown,
    /// Its arbiter is gone, or did not answer in time.
    Lost,
}

impl Exit {
    /// The exit code of a process whose root supervisor ended so.
    ///
    /// 0 for an end that was wanted, 1 when the tree never stood (a port in use, a profile that
    /// cannot be read), 70 when it stood and a supervisor gave up.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Normal | Self::Shutdown => 0,
            Self::StartFailed(_) => 1,
            Self::Failed(_) | Self::Panicked(_) | Self::Lost => 70,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("ended by itself"),
            Self::Failed(text) => write!(f, "failed: {text}"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::StartFailed(text) => write!(f, "could not start: {text}"),
            Self::Shutdown => f.write_str("stopped as told"),
            Self::Lost => f.write_str("was lost with its arbiter"),
        }
    }
}

/// Which children are restarted when one of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// That one only: its siblings do not depend on it.
    OneForOne,
    /// That one and all that were started after it, because they hold its old address.
    RestForOne,
}

/// When an ended child is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// However it ended, even by its own will.
    Always,
    /// However it ended, but by its own will.
    OnPanic,
    /// Never: its end is logged, and its siblings go on.
    Never,
}

impl Restart {
    /// Whether a child that ended by `exit` is started again.
    #[must_use]
    pub fn wants(self, exit: &Exit) -> bool {
        match self {
            Self::Always => true,
            Self::OnPanic => *exit != Exit::Normal,
            Self::Never => false,
        }
    }
}

/// How many restarts a supervisor tries before it gives up and its own supervisor decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartLimit {
    /// Restarts allowed. More hide a fault for longer, fewer give up on a passing one.
    pub max: u32,
    /// The sliding span in which they are counted.
    pub within: Duration,
}

impl Default for RestartLimit {
    /// Three in a minute: a guess in the middle of what such trees use.
    fn default() -> Self {
        Self { max: 3, within: Duration::from_secs(60) }
    }
}

/// How long a supervisor waits before a restart: doubled for each one within the limit's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first restart.
    pub first: Duration,
    /// Never longer than this.
    pub max: Duration,
}

impl Default for Backoff {
    /// From 10 ms, which nobody notices, to one second.
    fn default() -> Self {
        Self { first: Duration::from_millis(10), max: Duration::from_secs(1) }
    }
}

impl Backoff {
    /// The wait before restart number `nth`, counted from one.
    #[must_use]
    pub fn delay(&self, nth: u32) -> Duration {
        let factor = 1_u32.checked_shl(nth.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// The restarts within the span of a limit.
#[derive(Debug)]
pub(super) struct Window {
    limit: RestartLimit,
    restarts: VecDeque<Instant>,
}

impl Window {
    pub(super) fn new(limit: RestartLimit) -> Self {
        Self { limit, restarts: VecDeque::new() }
    }

    /// Counts a restart at `now` and gives its number in the span, or `None` when it is one too
    /// many.
    pub(super) fn restart(&mut self, now: Instant) -> Option<u32> {
        while let Some(oldest) = self.restarts.front()
            && now.saturating_duration_since(*oldest) >= self.limit.within
        {
            self.restarts.pop_front();
        }
        let nth = u32::try_from(self.restarts.len()).ok()?.checked_add(1)?;
        if nth > self.limit.max {
            return None;
        }
        self.restarts.push_back(now);
        Some(nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides() {
        let limit = RestartLimit { max: 2, within: Duration::from_secs(10) };
        let mut window = Window::new(limit);
        let start = crate::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(window.restart(at(0)), Some(1));
        assert_eq!(window.restart(at(6)), Some(2));
        assert_eq!(window.restart(at(9)), None);
        assert_eq!(window.restart(at(10)), Some(2), "the first is out of the span");
        assert_eq!(window.restart(at(15)), None);
    }

    #[test]
    fn a_limit_of_zero_allows_no_restart() {
        let mut window = Window::new(RestartLimit { max: 0, within: Duration::from_secs(1) });
        assert_eq!(window.restart(crate::clock::now()), None);
    }

    #[test]
    fn the_back_off_doubles_up_to_its_maximum() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (1..=9).map(|nth| backoff.delay(nth).as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(backoff.delay(u32::MAX), backoff.max);
    }

    #[test]
    fn only_an_end_by_its_own_will_is_no_reason_for_on_panic() {
        let failed = || Exit::Failed(String::new());
        assert!(Restart::OnPanic.wants(&failed()) && Restart::OnPanic.wants(&Exit::Lost));
        assert!(!Restart::OnPanic.wants(&Exit::Normal));
        assert!(Restart::Always.wants(&Exit::Normal));
        assert!(!Restart::Never.wants(&failed()));
    }

    #[test]
    fn a_tree_that_gave_up_ends_the_process_with_70() {
        assert_eq!(Exit::Failed(String::new()).code(), 70);
        assert_eq!(Exit::StartFailed(String::new()).code(), 1);
        assert_eq!(Exit::Shutdown.code(), 0);
    }
}

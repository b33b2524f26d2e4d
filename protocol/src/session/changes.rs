//! How often a peer may change its channels: some times at once, then once a second. What it says after
//! a change that waits, waits with it, as it may be about a channel proven there.

use std::collections::VecDeque;
use std::time::Instant;

use super::Close;
use crate::limits::{
    CHANNEL_CHANGES_AT_ONCE_MAX, CHANNEL_CHANGES_EVERY, FRAMES_HELD_BYTES_MAX, FRAMES_HELD_MAX,
};
use crate::wire::Frame;

/// Of one link.
#[derive(Debug)]
pub(super) struct Changes {
    /// How many may be taken in now.
    left: u32,
    /// When there was one more last.
    counted_at: Instant,
    /// Begins with a change.
    waiting: VecDeque<(Frame, usize)>,
    bytes: usize,
}

impl Changes {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            left: CHANNEL_CHANGES_AT_ONCE_MAX,
            counted_at: now,
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Gives a frame of `bytes` back that may be taken in now, and keeps it otherwise.
    pub(super) fn take(
        &mut self,
        now: Instant,
        frame: Frame,
        bytes: usize,
    ) -> Result<Option<Frame>, Close> {
        if self.waiting.is_empty() && (!is_change(&frame) || self.spend(now)) {
            return Ok(Some(frame));
        }
        self.bytes += bytes;
        if self.waiting.len() == FRAMES_HELD_MAX || self.bytes > FRAMES_HELD_BYTES_MAX {
            return Err(Close::Overloaded);
        }
        self.waiting.push_back((frame, bytes));
        Ok(None)
    }

    /// The next frame that has waited for long enough.
    pub(super) fn due(&mut self, now: Instant) -> Option<Frame> {
        let (next, _) = self.waiting.front()?;
        if is_change(next) && !self.spend(now) {
            return None;
        }
        let (frame, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        Some(frame)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.counted_at + CHANNEL_CHANGES_EVERY)
    }

    fn spend(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.counted_at);
        let more = u32::try_from(passed.as_nanos() / CHANNEL_CHANGES_EVERY.as_nanos());
        let more = more.unwrap_or(u32::MAX);
        let all = self.left.saturating_add(more);
        if all >= CHANNEL_CHANGES_AT_ONCE_MAX {
            (self.left, self.counted_at) = (CHANNEL_CHANGES_AT_ONCE_MAX, now);
        } else {
            (self.left, self.counted_at) = (all, self.counted_at + CHANNEL_CHANGES_EVERY * more);
        }
        let may = self.left > 0;
        self.left -= u32::from(may);
        may
    }
}

const fn is_change(frame: &Frame) -> bool {
    matches!(frame, Frame::SharedChannels(_))
}

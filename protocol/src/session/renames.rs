//! The names that a peer gives itself while it is linked: one is judged at a time, and not often.

use std::time::Instant;

use crate::limits::RENAME_INTERVAL_MIN;

/// Of one link; of the names that come meanwhile only the newest waits.
#[derive(Debug)]
pub(super) struct Renames {
    is_judged: bool,
    /// Before it, no other is judged.
    next: Instant,
    newest: Option<String>,
}

impl Renames {
    pub(super) const fn new(now: Instant) -> Self {
        Self { is_judged: false, next: now, newest: None }
    }

    /// Takes a name in place of one that waits.
    pub(super) fn on_name(&mut self, name: String) {
        self.newest = Some(name);
    }

    /// The one asked about is judged.
    pub(super) const fn on_decision(&mut self) {
        self.is_judged = false;
    }

    /// The name to be judged now.
    pub(super) fn due(&mut self, now: Instant) -> Option<String> {
        if self.is_judged || now < self.next {
            return None;
        }
        let name = self.newest.take()?;
        self.is_judged = true;
        self.next = now + RENAME_INTERVAL_MIN;
        Some(name)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_judged && self.newest.is_some()).then_some(self.next)
    }
}

//! One peer's window: how much may be on its way to it without a receipt.

use std::collections::BTreeMap;

use crate::limits::CHAT_WINDOW_BYTES;

/// What is on its way to one peer over its present link.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Messages up to this number were looked at for this link.
    passed: u64,
    /// Number and bytes of what has no receipt yet.
    unacknowledged: BTreeMap<u64, usize>,
    bytes: usize,
}

impl Flow {
    /// The first message not yet looked at.
    pub(super) const fn next(&self) -> u64 {
        self.passed + 1
    }

    /// Room for at least one message, whatever its size.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes < CHAT_WINDOW_BYTES
    }

    pub(super) const fn pass(&mut self, number: u64) {
        self.passed = number;
    }

    pub(super) fn sent(&mut self, number: u64, bytes: usize) {
        self.bytes += bytes;
        self.unacknowledged.insert(number, bytes);
    }

    /// `false` when it was never sent over this link.
    pub(super) fn acknowledged(&mut self, number: u64) -> bool {
        let bytes = self.unacknowledged.remove(&number);
        self.bytes -= bytes.unwrap_or(0);
        bytes.is_some()
    }
}

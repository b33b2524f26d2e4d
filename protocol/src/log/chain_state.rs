//! One chain as the log holds it: what is on disk, what is on its way there, what waits.
//!
//! ```text
//!            checked            all before it is here, or 5 s        on disk
//!  entry ------------> queue --------------------------------> taken -------> stored
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::api::{Accepted, ChainState, ForkProof};
use super::chain::Certificate;
use super::entry::EntryHash;
use crate::limits::CHAT_WINDOW_BYTES;

/// Entries of a chain of ours whose tips are remembered, so that most receipts cost no reading.
const TIPS_MAX: usize = 1024;

/// The range of a chain that is held, and what the next entry must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) base: u64,
    pub(super) head: u64,
    pub(super) hash: EntryHash,
    pub(super) clock: u64,
}

impl Mark {
    pub(super) const NONE: Self = Self { base: 0, head: 0, hash: EntryHash([0; 32]), clock: 0 };

    pub(super) const fn after(self, entry: &Accepted) -> Self {
        let base = if entry.begins { entry.number - 1 } else { self.base };
        Self { base, head: entry.number, hash: entry.hash, clock: entry.clock }
    }
}

/// One chain.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) certificate: Certificate,
    pub(super) taken: Mark,
    pub(super) stored: Mark,
    /// Checked entries after `taken` that wait for what comes before them.
    pub(super) queue: VecDeque<Accepted>,
    /// When the queue is taken as it is.
    pub(super) queue_until: Option<Instant>,
    /// Until then nothing of this chain waits: its author named what nobody had.
    pub(super) impatient_until: Option<Instant>,
    /// Batches on their way to the disk in which it is.
    pub(super) batches: usize,
    /// One of them failed: those after it will, and nothing more is taken before.
    pub(super) failed: bool,
    /// The proof with the lowest number that is known: the chain may have forked earlier still.
    pub(super) fork: Option<ForkProof>,
    /// The newest entries of ours, so that pushing them costs no reading.
    recent: VecDeque<(u64, Bytes)>,
    recent_bytes: usize,
    /// The first bytes of the hashes of the newest entries of ours.
    tips: VecDeque<(u64, [u8; 8])>,
    /// Whether our entry is being read, to be compared with another of its number.
    pub(super) comparing: bool,
    /// The number up to which our last entry has named this chain as seen.
    pub(super) named: u64,
}

impl Chain {
    pub(super) const fn new(certificate: Certificate) -> Self {
        Self {
            certificate,
            taken: Mark::NONE,
            stored: Mark::NONE,
            queue: VecDeque::new(),
            queue_until: None,
            impatient_until: None,
            batches: 0,
            failed: false,
            fork: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            tips: VecDeque::new(),
            comparing: false,
            named: 0,
        }
    }

    pub(super) fn restored(state: ChainState) -> Self {
        let ChainState { certificate, base, head, head_hash, head_clock, forked } = state;
        let mark = Mark { base, head, hash: head_hash, clock: head_clock };
        Self { taken: mark, stored: mark, fork: forked, ..Self::new(certificate) }
    }

    /// What the next entry must follow.
    pub(super) fn seen(&self) -> Mark {
        self.queue.back().map_or(self.taken, |last| self.taken.after(last))
    }

    /// The last number that may be taken.
    pub(super) fn limit(&self) -> u64 {
        self.fork.as_ref().map_or(u64::MAX, |fork| fork.number - 1)
    }

    /// Whether there is nothing of it, on disk or on its way there.
    pub(super) fn is_empty(&self) -> bool {
        self.stored.head == 0 && self.batches == 0 && self.queue.is_empty()
    }

    pub(super) fn remember(&mut self, number: u64, bytes: Bytes) {
        self.recent_bytes += bytes.len();
        self.recent.push_back((number, bytes));
        while self.recent_bytes > CHAT_WINDOW_BYTES
            && let Some((_, oldest)) = self.recent.pop_front()
        {
            self.recent_bytes -= oldest.len();
        }
    }

    pub(super) fn recall(&self, number: u64) -> Option<&Bytes> {
        let first = self.recent.front()?.0;
        let at = usize::try_from(number.checked_sub(first)?).ok()?;
        self.recent.get(at).map(|(_, bytes)| bytes)
    }

    /// Remembers the tip of an entry that was taken, where we are its author.
    pub(super) fn remember_tip(&mut self, entry: &Accepted) {
        if entry.own {
            if entry.begins {
                self.tips.clear();
            }
            self.tips.push_back((entry.number, entry.hash.tip()));
            if self.tips.len() > TIPS_MAX {
                self.tips.pop_front();
            }
        }
    }

    /// The tip of an entry of ours that is on disk, if it is remembered.
    pub(super) fn tip_of(&self, number: u64) -> Option<[u8; 8]> {
        if number == self.stored.head {
            return Some(self.stored.hash.tip());
        }
        let first = self.tips.front()?.0;
        let at = usize::try_from(number.checked_sub(first)?).ok()?;
        self.tips.get(at).map(|(_, tip)| *tip)
    }

    /// Goes back to what is on disk.
    pub(super) fn take_back(&mut self) {
        self.taken = self.stored;
        self.failed = false;
        self.queue.clear();
        self.queue_until = None;
        while self.recent.back().is_some_and(|(number, _)| *number > self.stored.head)
            && let Some((_, bytes)) = self.recent.pop_back()
        {
            self.recent_bytes -= bytes.len();
        }
        while self.tips.back().is_some_and(|(number, _)| *number > self.stored.head) {
            self.tips.pop_back();
        }
    }
}

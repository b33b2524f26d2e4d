//! How much of the table each source fills, and when it last had its turn.

use std::collections::BTreeMap;

use super::Source;
use crate::limits::CANDIDATES_PER_SOURCE_MAX;

/// The shares of all sources that tell of something now.
#[derive(Debug, Default)]
pub(super) struct Shares {
    shares: BTreeMap<Source, Share>,
    turn: u64,
}

#[derive(Debug)]
struct Share {
    entries: usize,
    last_turn: u64,
}

impl Shares {
    pub(super) fn is_full(&self, source: &Source) -> bool {
        self.shares.get(source).is_some_and(|share| share.entries >= CANDIDATES_PER_SOURCE_MAX)
    }

    /// The source with the most entries. What we have seen ourselves is never the one to blame.
    pub(super) fn largest(&self) -> Option<Source> {
        let told = self.shares.iter().filter(|(source, _)| **source != Source::Linked);
        told.max_by_key(|(_, share)| share.entries).map(|(source, _)| *source)
    }

    /// Notes one more entry of `source`. A new source has its turn after those that wait already.
    pub(super) fn take(&mut self, source: Source) {
        let last_turn = self.turn;
        self.shares.entry(source).or_insert(Share { entries: 0, last_turn }).entries += 1;
    }

    /// Notes one entry of `source` less.
    pub(super) fn release(&mut self, source: &Source) {
        if let Some(share) = self.shares.get_mut(source) {
            share.entries = share.entries.saturating_sub(1);
            if share.entries == 0 {
                self.shares.remove(source);
            }
        }
    }

    /// Notes that `source` has its turn now.
    pub(super) fn begin_turn(&mut self, source: &Source) {
        self.turn += 1;
        if let Some(share) = self.shares.get_mut(source) {
            share.last_turn = self.turn;
        }
    }

    /// All sources, the one whose last turn is longest ago first.
    pub(super) fn in_turn(&self) -> Vec<Source> {
        let mut turns: Vec<_> =
            self.shares.iter().map(|(source, share)| (share.last_turn, *source)).collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, source)| source).collect()
    }
}

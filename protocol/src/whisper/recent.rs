//! A bounded memory of message ids: the oldest makes room for the newest.

use std::collections::{HashSet, VecDeque};

use crate::id::MessageId;
use crate::limits::IDS_REMEMBERED_MAX;

#[derive(Debug, Default)]
pub(super) struct Recent {
    known: HashSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl Recent {
    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.known.contains(id)
    }

    /// At most `count` of them, oldest first.
    pub(super) fn newest(&self, count: usize) -> Vec<MessageId> {
        let skipped = self.order.len().saturating_sub(count);
        self.order.iter().skip(skipped).copied().collect()
    }

    /// `false` when it was known already.
    pub(super) fn insert(&mut self, id: MessageId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > IDS_REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

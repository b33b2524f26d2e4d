//! How often invitations are looked at: each costs signatures and the reading of a file.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Acquaintance;
use crate::id::PeerId;
use crate::limits::{
    INVITE_EVERY, INVITE_OF_CONTACT_EVERY, INVITE_OF_STRANGER_EVERY, INVITE_OF_STRANGERS_EVERY,
    INVITERS_COUNTED_MAX, INVITES_AT_ONCE, INVITES_OF_CONTACT_AT_ONCE, INVITES_OF_STRANGER_AT_ONCE,
    INVITES_OF_STRANGERS_AT_ONCE,
};

/// Lets through one in a time, and so many at once.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    every: Duration,
    most: u32,
    left: u32,
    /// When it was filled up last.
    at: Instant,
}

impl Bucket {
    const fn full(now: Instant, every: Duration, most: u32) -> Self {
        Self { every, most, left: most, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_millis() / self.every.as_millis();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(passed).min(self.most);
        self.at = if self.left == self.most { now } else { self.at + self.every * passed };
    }

    fn has_turn(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left > 0
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left == self.most
    }
}

/// The turns of all.
#[derive(Debug)]
pub(super) struct Pace {
    all: Bucket,
    strangers: Bucket,
    of_one: BTreeMap<(PeerId, bool), Bucket>,
    /// For those that have no bucket of their own.
    others: Bucket,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            all: Bucket::full(now, INVITE_EVERY, INVITES_AT_ONCE),
            strangers: Bucket::full(now, INVITE_OF_STRANGERS_EVERY, INVITES_OF_STRANGERS_AT_ONCE),
            of_one: BTreeMap::new(),
            others: Bucket::full(now, INVITE_OF_STRANGER_EVERY, INVITES_OF_STRANGER_AT_ONCE),
        }
    }

    /// Whether another invitation of this peer is to be looked at.
    pub(super) fn has_turn(
        &mut self,
        now: Instant,
        peer: PeerId,
        acquaintance: Acquaintance,
    ) -> bool {
        let is_contact = acquaintance == Acquaintance::Contact;
        let key = (peer, is_contact);
        if !self.of_one.contains_key(&key) && self.of_one.len() >= INVITERS_COUNTED_MAX {
            // Who has said nothing for long is as good as new.
            self.of_one.retain(|_, bucket| !bucket.is_full(now));
        }
        let own = if self.of_one.contains_key(&key) || self.of_one.len() < INVITERS_COUNTED_MAX {
            let (every, most) = match is_contact {
                true => (INVITE_OF_CONTACT_EVERY, INVITES_OF_CONTACT_AT_ONCE),
                false => (INVITE_OF_STRANGER_EVERY, INVITES_OF_STRANGER_AT_ONCE),
            };
            self.of_one.entry(key).or_insert_with(|| Bucket::full(now, every, most))
        } else {
            &mut self.others
        };
        let mut turns = vec![own, &mut self.all];
        if !is_contact {
            turns.push(&mut self.strangers);
        }
        // Who has no turn must not cost others theirs.
        let has_turn = turns.iter_mut().all(|bucket| bucket.has_turn(now));
        if has_turn {
            turns.into_iter().for_each(|bucket| bucket.left -= 1);
        }
        has_turn
    }
}

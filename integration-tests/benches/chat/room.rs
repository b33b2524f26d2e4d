//! What all programs have in common: a room with members who speak and are told.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Bytes of each text.
pub(crate) const TEXT_BYTES: usize = 100;

/// Longest time without any news, before what is missing counts as lost.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Something that a member was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Somebody else has said the message of that number.
    Heard(u64),
    /// Somebody else has a message of the member's own.
    Receipt(u64),
}

/// A member was told something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) what: What,
    pub(crate) at: Instant,
}

/// Some members of a room, all of whom are there.
pub(crate) trait Room {
    /// What the members are told, each thing once, from any number of threads.
    fn told(&self) -> &Receiver<Told>;
    /// Has a member say the messages of these numbers, as fast as the program takes them, and does
    /// not wait for it.
    fn say(&mut self, member: usize, numbers: Vec<u64>);
    /// The processes that do the work, without what only stands for a person.
    fn pids(&self) -> Vec<u32>;
    /// Whether there are receipts.
    fn has_receipts(&self) -> bool {
        true
    }
    /// Waits until all that was asked to be said has been taken.
    fn settle(&mut self) {}
}

/// A text that tells its number.
pub(crate) fn text(number: u64) -> String {
    format!("{number:010} {}", "the quick brown fox jumps over the lazy dog ".repeat(3))
        [..TEXT_BYTES]
        .to_owned()
}

/// The number that a text begins with.
pub(crate) fn number_of(text: &str) -> Option<u64> {
    text.get(..10)?.parse().ok()
}

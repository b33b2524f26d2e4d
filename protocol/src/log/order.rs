//! The one order in which everybody shows a channel's entries.
//!
//! Ascending by clock, then author, device, number. An honest author's clock is above all that it
//! had seen, so an answer never stands before what it answers.
//!
//! Spec: `docs/spec/10-log.md`, section 4.

use crate::id::{DeviceId, PeerId};

/// Where an entry stands in its channel: no two entries of a channel without forks share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The entry's clock.
    pub clock: u64,
    /// Its author.
    pub author: PeerId,
    /// Which of the author's chains.
    pub device: DeviceId,
    /// Its number in that chain.
    pub number: u64,
}

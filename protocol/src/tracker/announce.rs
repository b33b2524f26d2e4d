//! What an announce says, whatever carries it.

use std::net::Ipv6Addr;

use crate::id::InfoHash;

use super::disguise::Persona;

/// Why we announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The first time to this tracker, repeated until it is answered.
    Started,
    /// At the tracker's interval.
    Periodic,
    /// We leave.
    Stopped,
}

/// One announce of one channel to one tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce<'a> {
    /// What the tracker knows the channel by.
    pub infohash: InfoHash,
    /// What the tracker knows us by.
    pub persona: Persona,
    /// The UDP port at which we are reached.
    pub port: u16,
    /// Why.
    pub occasion: Occasion,
    /// The tracker's own word from its last answer (BEP 3, `tracker id`); empty if none.
    pub tracker_id: &'a [u8],
    /// Our global IPv6 address, for clients that name it.
    pub ipv6: Option<Ipv6Addr>,
}

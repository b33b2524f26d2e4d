//! Our own addresses as they announce: which do, what each says, and what it still has to repeat.

use std::time::Instant;

use super::api::Interface;
use super::habit::{HexCase, Rhythm, Voices};
use super::message::{self, Family};
use crate::id::InfoHash;
use crate::limits::LAN_ADDRESSES_MAX;

/// One of our addresses that announces.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) interface: Interface,
    pub(super) cookie: Option<String>,
    pub(super) repeat: Option<Repeat>,
}

/// The rest of an announce.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat {
    pub(super) infohash: InfoHash,
    /// How many of its pauses are over.
    pub(super) done: usize,
    pub(super) at: Instant,
}

impl Voice {
    pub(super) fn message(&self, hex: HexCase, port: u16, infohashes: &[InfoHash]) -> Vec<u8> {
        message::encode(self.interface.family(), port, infohashes, hex, self.cookie.as_deref())
    }
}

/// What is left of an announce after `done` of its pauses.
pub(super) fn repeat(
    rhythm: Rhythm,
    infohash: InfoHash,
    done: usize,
    now: Instant,
) -> Option<Repeat> {
    match rhythm {
        Rhythm::EachInTurn { pauses, .. } => {
            let pause = pauses.get(done)?;
            Some(Repeat { infohash, done, at: now + *pause })
        }
        Rhythm::Together { .. } => None,
    }
}

/// Which of our addresses announce, and on which interface.
pub(super) fn speaking(interfaces: &[Interface], voices: Voices) -> Vec<Interface> {
    let is_v6 = |interface: &&Interface| interface.family() == Family::V6;
    let is_v6_loopback =
        |interface: &Interface| interface.address.is_loopback() && is_v6(&interface);
    let network = interfaces.iter().filter(is_v6).find(|interface| !is_v6_loopback(interface));
    let mut speaking: Vec<Interface> = Vec::new();
    for interface in interfaces {
        let mut interface = *interface;
        if is_v6_loopback(&interface) {
            // libtorrent speaks for `::1`, too, and leaves it to the system where that goes: to the
            // first network, as no loopback interface takes IPv6 multicast.
            match (voices, network) {
                (Voices::EachAddress, Some(network)) => interface.index = network.index,
                (Voices::EachAddress, None) | (Voices::EachInterface, _) => continue,
            }
        }
        let key = |other: &Interface| (other.index, other.family());
        if voices == Voices::EachInterface && speaking.iter().any(|s| key(s) == key(&interface)) {
            continue;
        }
        speaking.push(interface);
    }
    speaking.truncate(LAN_ADDRESSES_MAX);
    speaking
}

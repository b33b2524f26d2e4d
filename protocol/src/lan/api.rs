//! What goes into the machine of local discovery and what comes out.

use std::net::{IpAddr, SocketAddr};

use super::habit::LanHabit;
use super::message::Family;
use crate::id::{ChannelId, InfoHash};

/// What the machine is told at its birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// As which client we announce.
    pub habit: LanHabit,
    /// Whether to use IPv4.
    pub ipv4: bool,
    /// Whether to use IPv6.
    pub ipv6: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { habit: LanHabit::default(), ipv4: true, ipv6: true }
    }
}

/// One of our own addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interface {
    /// The system's number of the interface.
    pub index: u32,
    /// Our address there.
    pub address: IpAddr,
    /// How many bits of it all hosts of its network have in common.
    pub prefix_bits: u8,
}

impl Interface {
    pub(super) fn reaches(&self, ip: IpAddr) -> bool {
        let in_common = match (self.address, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => (own.to_bits() ^ ip.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(ip)) => (own.to_bits() ^ ip.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        in_common >= u32::from(self.prefix_bits)
    }

    pub(super) const fn family(&self) -> Family {
        match self.address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

/// What the driver tells the machine.
#[derive(Debug, Clone)]
pub enum Input {
    /// Announces a channel from now on; told again, it only takes the port.
    Announce {
        /// The channel.
        channel: ChannelId,
        /// What the local network knows it by.
        infohash: InfoHash,
        /// The UDP port at which we are reached.
        port: u16,
    },
    /// Announces a channel no longer.
    Withdraw {
        /// The channel.
        channel: ChannelId,
        /// One of its infohashes; `None`: all.
        infohash: Option<InfoHash>,
    },
    /// We are alone in this channel: announces it before its turn, within what a client may do.
    Hurry(ChannelId),
    /// Our own addresses; all of them.
    Interfaces(Vec<Interface>),
    /// A datagram came to one of the groups.
    Datagram {
        /// Who sent it, as far as the network says; of a link-local address with the interface.
        from: SocketAddr,
        /// The whole datagram.
        bytes: Vec<u8>,
    },
}

/// What the machine wants done, or known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram to the group of the address's IP version.
    Send {
        /// From which of our addresses.
        via: Interface,
        /// The whole datagram.
        bytes: Vec<u8>,
    },
    /// Somebody on the local network says to be in a channel.
    PeerFound {
        /// The channel.
        channel: ChannelId,
        /// Where.
        address: SocketAddr,
    },
}

/// What came to the groups so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// From addresses that are no neighbour's.
    pub from_afar: u64,
    /// More than one host, or all, may send.
    pub too_many: u64,
    /// Nothing that is a BEP 14 message.
    pub malformed: u64,
    /// Our own.
    pub own: u64,
    /// Of torrents that are none of our channels.
    pub others: u64,
    /// Members passed on.
    pub found: u64,
    /// Members not passed on, as they were within the last minute: clients repeat what they say.
    pub again: u64,
    /// Members not passed on, as there were too many.
    pub held_back: u64,
}

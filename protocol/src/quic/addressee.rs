//! Whom a first packet is for, so that a recorded one cannot be replayed to another member.
//!
//! ```text
//! addressee = kind u8 || 18 bytes     kind 0: IPv6 or IPv4-mapped address, port big-endian
//!                                     kind 1: the first 18 bytes of a labelled hash of the identity
//! ```
//!
//! A listener behind a NAT may not know yet at which address it is dialled, so an address is refused
//! only when it is known to be another's.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::crypto::hash;
use crate::id::PeerId;
use crate::scope::Scope;

/// Bytes of the encoding.
pub(super) const ADDRESSEE_BYTES: usize = 19;

const ADDRESS: u8 = 0;
const IDENTITY: u8 = 1;
const IDENTITY_LABEL: &str = "bitchat v1 addressee identity";

/// Whom a first packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addressee {
    /// Whoever listens there.
    Address(SocketAddr),
    /// A hash of the identity that the dialler expects.
    Identity([u8; 18]),
}

impl Addressee {
    pub(super) fn identity(peer: &PeerId) -> Self {
        Self::Identity(hash::unkeyed(IDENTITY_LABEL, &[&peer.0]))
    }

    pub(super) fn encode(&self) -> [u8; ADDRESSEE_BYTES] {
        let mut bytes = [0; ADDRESSEE_BYTES];
        match self {
            Self::Address(address) => {
                bytes[0] = ADDRESS;
                bytes[1..17].copy_from_slice(&mapped(address.ip()).octets());
                bytes[17..].copy_from_slice(&address.port().to_be_bytes());
            }
            Self::Identity(hash) => {
                bytes[0] = IDENTITY;
                bytes[1..].copy_from_slice(hash);
            }
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8; ADDRESSEE_BYTES]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let rest: [u8; 18] = rest.try_into().ok()?;
        match *kind {
            ADDRESS => {
                let (ip, port) = rest.split_first_chunk::<16>()?;
                let port = u16::from_be_bytes(port.try_into().ok()?);
                let ip = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
                Some(Self::Address(SocketAddr::new(ip, port)))
            }
            IDENTITY => Some(Self::Identity(rest)),
            _ => None,
        }
    }
}

const fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Members who must name the same address as ours before others of its kind are refused: one alone
/// may lie, and would make us unreachable at the true one.
const OBSERVERS_AGREED: usize = 2;

/// An address of one of our interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Its IP address, with our port.
    pub address: SocketAddr,
    /// How many bits of it all hosts of its network have in common.
    pub prefix_bits: u8,
}

impl Interface {
    /// Whether `ip` is a host of the network behind this interface.
    fn reaches(&self, ip: IpAddr) -> bool {
        let in_common = match (self.address.ip(), ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => (own.to_bits() ^ ip.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(ip)) => (own.to_bits() ^ ip.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        in_common >= u32::from(self.prefix_bits)
    }
}

/// Where we may be dialled, as far as we know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    interfaces: Vec<Interface>,
    observed: Vec<Observed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Observed {
    ip: IpAddr,
    by: Vec<PeerId>,
}

impl OwnAddresses {
    /// `observed`: who sees us where, behind whatever NAT; its port may differ from member to member,
    /// so only the IP counts. An observed IP that an interface has is behind no NAT: there, our port
    /// counts too.
    #[must_use]
    pub fn new(
        interfaces: impl IntoIterator<Item = Interface>,
        observed: impl IntoIterator<Item = (PeerId, IpAddr)>,
    ) -> Self {
        let canonical = |Interface { address, prefix_bits }| {
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            Interface { address, prefix_bits }
        };
        let interfaces = interfaces.into_iter().map(canonical).collect();
        let mut own = Self { interfaces, observed: Vec::new() };
        for (by, ip) in observed {
            own.observe(by, ip.to_canonical());
        }
        own
    }

    fn observe(&mut self, by: PeerId, ip: IpAddr) {
        if self.interfaces.iter().any(|interface| interface.address.ip() == ip) {
            return;
        }
        match self.observed.iter_mut().find(|observed| observed.ip == ip) {
            Some(observed) if observed.by.contains(&by) => {}
            Some(observed) => observed.by.push(by),
            None => self.observed.push(Observed { ip, by: vec![by] }),
        }
    }

    /// Whether a packet for `address` may be for us: it is ours, or an address of ours could look
    /// like it for all that we know.
    #[must_use]
    pub fn might_be_ours(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let address = SocketAddr::new(ip, address.port());
        self.interfaces.iter().any(|interface| interface.address == address)
            || self.observed.iter().any(|observed| observed.ip == ip)
            || !self.is_known_to_be_anothers(ip)
    }

    fn is_known_to_be_anothers(&self, ip: IpAddr) -> bool {
        // Of the internet we have one address a family, be it an interface's or a NAT's. Of private
        // networks there may be several, one behind the other, each with addresses of its own.
        if Scope::of(ip) != Scope::Global {
            return self.interfaces.iter().any(|interface| interface.reaches(ip));
        }
        let alike = |own: IpAddr| own.is_ipv4() == ip.is_ipv4() && Scope::of(own) == Scope::Global;
        self.interfaces.iter().any(|interface| alike(interface.address.ip()))
            || self
                .observed
                .iter()
                .any(|observed| observed.by.len() >= OBSERVERS_AGREED && alike(observed.ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addressee_reads_back() {
        for addressee in [
            Addressee::Address("192.0.2.7:28000".parse().unwrap()),
            Addressee::Address("[2001:db8::7]:1".parse().unwrap()),
            Addressee::identity(&PeerId([5; 32])),
        ] {
            assert_eq!(Addressee::decode(&addressee.encode()), Some(addressee));
        }
        assert_eq!(Addressee::decode(&[9; ADDRESSEE_BYTES]), None);
    }

    fn interface(address: &str, prefix_bits: u8) -> Interface {
        Interface { address: address.parse().unwrap(), prefix_bits }
    }

    fn observed(by: u8, ip: &str) -> (PeerId, IpAddr) {
        (PeerId([by; 32]), ip.parse().unwrap())
    }

    #[track_caller]
    fn check(own: &OwnAddresses, address: &str, expected: bool) {
        assert_eq!(own.might_be_ours(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn an_address_of_a_network_that_we_are_in_must_be_ours() {
        let own = OwnAddresses::new(
            [
                interface("127.0.0.1:5000", 8),
                interface("192.168.1.4:5000", 24),
                interface("100.64.3.4:5000", 32),
                interface("[fe80::4]:5000", 64),
            ],
            [],
        );
        check(&own, "127.0.0.1:5000", true);
        check(&own, "127.0.0.1:5001", false);
        check(&own, "127.0.0.2:5000", false);
        check(&own, "192.168.1.4:5000", true);
        check(&own, "[::ffff:192.168.1.4]:5000", true);
        check(&own, "192.168.1.4:5001", false);
        check(&own, "192.168.1.5:5000", false);
        check(&own, "[fe80::5]:5000", false);
        check(&own, "203.1.113.7:9", true);
    }

    #[test]
    fn an_address_of_a_private_network_outside_of_ours_passes() {
        // We are behind one NAT that is behind another, or behind a carrier's.
        let own = OwnAddresses::new([interface("192.168.1.4:5000", 24)], []);
        check(&own, "192.168.2.7:6000", true);
        check(&own, "10.0.0.7:6000", true);
        check(&own, "100.64.0.1:6000", true);
        check(&own, "[fd00::1]:6000", true);
    }

    #[test]
    fn an_observed_address_of_an_interface_opens_no_other_port() {
        let own = OwnAddresses::new([interface("127.0.0.1:5000", 8)], [observed(1, "127.0.0.1")]);
        check(&own, "127.0.0.1:5000", true);
        check(&own, "127.0.0.1:5001", false);
    }

    #[test]
    fn a_global_address_of_an_interface_is_the_only_one() {
        let own = OwnAddresses::new([interface("8.8.4.4:5000", 24)], []);
        check(&own, "8.8.4.4:5000", true);
        check(&own, "8.8.4.4:5001", false);
        check(&own, "9.9.9.9:5000", false);
        check(&own, "[2600::1]:1", true);
    }

    #[test]
    fn once_two_members_agree_where_we_are_only_that_ip_is_ours_at_any_port() {
        let own = OwnAddresses::new([], [observed(1, "8.8.4.4"), observed(2, "::ffff:8.8.4.4")]);
        check(&own, "8.8.4.4:1", true);
        check(&own, "8.8.8.8:1", false);
        check(&own, "[2600::1]:1", true);
        check(&own, "10.0.0.1:1", true);
    }

    #[test]
    fn one_member_that_lies_about_where_we_are_makes_us_unreachable_nowhere() {
        let lies = [observed(1, "9.9.9.9"), observed(1, "9.9.9.9"), observed(1, "9.9.9.8")];
        let own = OwnAddresses::new([], lies);
        check(&own, "8.8.4.4:1", true);
        // Two that agree on a lie still do not make us deaf to the truth that a third has told.
        let lies = [observed(1, "9.9.9.9"), observed(2, "9.9.9.9"), observed(3, "8.8.4.4")];
        let own = OwnAddresses::new([], lies);
        check(&own, "8.8.4.4:1", true);
        check(&own, "8.8.8.8:1", false);
    }
}

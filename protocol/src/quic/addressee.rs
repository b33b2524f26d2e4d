//! Whom a first packet is for, so that a recorded one cannot be replayed to another member.
//!
//! ```text
//! addressee = kind u8 || 18 bytes     kind 0: IPv6 or IPv4-mapped address, port big-endian
//!                                     kind 1: the first 18 bytes of a labelled hash of the identity
//! ```
//!
//! A listener behind a NAT may not know yet at which address it is dialled, so an address of a
//! kind of which it knows none of its own is let pass.

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

/// Where we may be dialled, as far as we know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    exact: Vec<SocketAddr>,
    observed: Vec<IpAddr>,
}

impl OwnAddresses {
    /// `exact`: the addresses of our interfaces with our port. `observed`: where members see us,
    /// behind whatever NAT; its port may differ from member to member, so only the IP counts. An
    /// observed IP that an interface has is behind no NAT: there, our port counts too.
    #[must_use]
    pub fn new(
        exact: impl IntoIterator<Item = SocketAddr>,
        observed: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let exact: Vec<SocketAddr> = exact
            .into_iter()
            .map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()))
            .collect();
        let behind_nat = |ip: &IpAddr| exact.iter().all(|address| address.ip() != *ip);
        let observed =
            observed.into_iter().map(|ip| ip.to_canonical()).filter(behind_nat).collect();
        Self { exact, observed }
    }

    /// Whether a packet for `address` may be for us: it is ours, or we know no address of ours of
    /// its kind (family and scope), as before the first member has told us one.
    #[must_use]
    pub fn might_be_ours(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let address = SocketAddr::new(ip, address.port());
        if self.exact.contains(&address) || self.observed.contains(&ip) {
            return true;
        }
        let kind = |ip: IpAddr| (ip.is_ipv4(), Scope::of(ip));
        let known = self.exact.iter().map(SocketAddr::ip).chain(self.observed.iter().copied());
        !known.map(kind).any(|known| known == kind(ip))
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

    #[test]
    fn an_address_of_a_kind_we_know_ours_of_must_be_ours() {
        let own = OwnAddresses::new(
            ["127.0.0.1:5000".parse().unwrap(), "192.168.1.4:5000".parse().unwrap()],
            [],
        );
        assert!(own.might_be_ours("127.0.0.1:5000".parse().unwrap()));
        assert!(!own.might_be_ours("127.0.0.1:5001".parse().unwrap()));
        assert!(!own.might_be_ours("192.168.1.5:5000".parse().unwrap()));
        assert!(own.might_be_ours("203.1.113.7:9".parse().unwrap()), "we know no global one yet");
    }

    #[test]
    fn an_observed_address_of_an_interface_opens_no_other_port() {
        let ours = "127.0.0.1:5000".parse().unwrap();
        let own = OwnAddresses::new([ours], [ours.ip()]);
        assert!(own.might_be_ours(ours));
        assert!(!own.might_be_ours("127.0.0.1:5001".parse().unwrap()));
    }

    #[test]
    fn once_members_told_us_where_we_are_only_that_ip_is_ours_at_any_port() {
        let own = OwnAddresses::new([], ["8.8.4.4".parse().unwrap()]);
        assert!(own.might_be_ours("8.8.4.4:1".parse().unwrap()));
        assert!(!own.might_be_ours("8.8.8.8:1".parse().unwrap()));
        assert!(own.might_be_ours("[2600::1]:1".parse().unwrap()), "the other family is unknown");
    }
}

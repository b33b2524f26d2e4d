//! What kind of address translation stands before us, as far as others' sightings tell.
//!
//! Members say where they see us. One that sees us from the internet sees what our NAT made of our
//! address: RFC 4787, section 4.1, names the kinds by whether that depends on who is asked.
//!
//! Not here: what is done about it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::id::PeerId;
use crate::scope::Scope;

/// A kind of address translation, over one IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NatKind {
    /// Nobody on the internet has told us where it sees us.
    #[default]
    Unknown,
    /// We are seen at an address of our own.
    Open,
    /// Something translates; one member alone does not tell of what kind it is.
    Translated,
    /// All see us at one address and port, which is where others reach us, too.
    EndpointIndependent,
    /// Each sees us at another port or address: nobody can be told where to reach us.
    EndpointDependent,
}

/// Judges by where members see us over one IP version: `own` are the addresses of our interfaces
/// with our port. Only members on the internet count, and each once; they may lie.
#[must_use]
pub fn kind(own: &[SocketAddr], seen: &[(PeerId, SocketAddr)], is_v6: bool) -> NatKind {
    let of_interest =
        |at: &SocketAddr| at.is_ipv6() == is_v6 && Scope::of(at.ip()) == Scope::Global;
    let seen: Vec<(PeerId, SocketAddr)> = seen
        .iter()
        .map(|(by, at)| (*by, canonical(*at)))
        .filter(|(_, at)| of_interest(at))
        .collect();
    let places: BTreeSet<SocketAddr> = seen.iter().map(|(_, at)| *at).collect();
    let tellers: BTreeSet<PeerId> = seen.iter().map(|(by, _)| *by).collect();
    if places.is_empty() {
        NatKind::Unknown
    } else if places.iter().all(|place| own.contains(place)) {
        NatKind::Open
    } else if tellers.len() < 2 {
        NatKind::Translated
    } else if places.len() == 1 {
        NatKind::EndpointIndependent
    } else {
        NatKind::EndpointDependent
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seen: &[(u8, &str)], expected: NatKind) {
        let own = ["192.168.1.7:4000", "9.9.9.9:4000"].map(|it| it.parse().unwrap());
        let seen: Vec<_> =
            seen.iter().map(|(by, at)| (PeerId([*by; 32]), at.parse().unwrap())).collect();
        assert_eq!(kind(&own, &seen, false), expected);
    }

    #[test]
    fn members_of_our_own_network_and_of_the_other_ip_version_tell_nothing() {
        check(&[], NatKind::Unknown);
        check(
            &[(1, "192.168.1.7:4000"), (2, "127.0.0.1:4000"), (3, "[2600::1]:4000")],
            NatKind::Unknown,
        );
    }

    #[test]
    fn an_address_of_our_own_is_open() {
        check(&[(1, "9.9.9.9:4000"), (2, "[::ffff:9.9.9.9]:4000")], NatKind::Open);
    }

    #[test]
    fn one_member_alone_does_not_tell_the_kind() {
        check(&[(1, "8.8.4.4:4000")], NatKind::Translated);
        check(&[(1, "8.8.4.4:4000"), (1, "8.8.4.4:5000")], NatKind::Translated);
    }

    #[test]
    fn two_members_tell_whether_it_depends_on_who_is_asked() {
        check(&[(1, "8.8.4.4:4000"), (2, "8.8.4.4:4000")], NatKind::EndpointIndependent);
        check(&[(1, "8.8.4.4:4000"), (2, "8.8.4.4:4001")], NatKind::EndpointDependent);
    }
}

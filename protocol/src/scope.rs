//! How far an address reaches, and whose word about addresses is believed.
//!
//! An address is believed only within the scope of whoever told it: somebody on the internet must
//! not be able to aim our dials at hosts inside our own network or at our own machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How far an IP address reaches, from near to far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// This machine alone: 127.0.0.0/8 and `::1`.
    Loopback,
    /// One network segment: 169.254.0.0/16 and `fe80::/10`.
    Link,
    /// One site: RFC 1918, carrier-grade NAT (RFC 6598) and unique local IPv6 (RFC 4193).
    Private,
    /// The internet.
    Global,
}

impl Scope {
    /// Finds the scope of `ip`; an IPv6 address that leads to an IPv4 address, mapped or through a
    /// gateway, has that of the IPv4 address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    const fn of_v4(ip: Ipv4Addr) -> Self {
        let octets = ip.octets();
        if ip.is_loopback() {
            Self::Loopback
        } else if ip.is_link_local() {
            Self::Link
        } else if ip.is_private() || (octets[0] == 100 && octets[1] & 0xc0 == 64) {
            Self::Private
        } else {
            Self::Global
        }
    }

    const fn of_v6(ip: Ipv6Addr) -> Self {
        if let Some(ip) = behind_gateway(ip) {
            Self::of_v4(ip)
        } else if ip.is_loopback() {
            Self::Loopback
        } else if ip.is_unicast_link_local() {
            Self::Link
        } else if ip.is_unique_local() || is_local_translation(ip) {
            Self::Private
        } else {
            Self::Global
        }
    }
}

/// The IPv4 address to which a gateway would bring packets for `ip`: 6to4 (RFC 3056, section 2), the
/// well-known prefix of NAT64 (RFC 6052, section 2.1) and IPv4-compatible addresses (RFC 4291, section
/// 2.5.5.1). Otherwise whoever is on the internet could aim at our network by way of our own gateway.
const fn behind_gateway(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = ip.segments();
    let (high, low) = match (a, b, c, d, e, f) {
        (0x2002, high, low, ..) => (high, low),
        (0x64, 0xff9b, 0, 0, 0, 0) => (high, low),
        // The first of these are `::` and `::1`.
        (0, 0, 0, 0, 0, 0) if high != 0 => (high, low),
        _ => return None,
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

/// Whether `ip` is of the prefix that a site's own NAT64 gateway may use (RFC 8215).
const fn is_local_translation(ip: Ipv6Addr) -> bool {
    let [a, b, c, ..] = ip.segments();
    a == 0x64 && b == 0xff9b && c == 1
}

/// Whether an address can be a node's at all: it has a port, and its IP names one host that is not
/// reserved for documentation, benchmarks or the future.
#[must_use]
pub fn dialable(address: SocketAddr) -> bool {
    let names_a_host = match address.ip().to_canonical() {
        IpAddr::V4(ip) => names_a_host_v4(ip),
        IpAddr::V6(ip) => names_a_host_v6(ip),
    };
    address.port() != 0 && names_a_host
}

/// Whether `address`, told by somebody who is reached within `told_from`, may be dialled: it is
/// [`dialable`] and does not reach less far than the teller.
#[must_use]
pub fn believable(address: SocketAddr, told_from: Scope) -> bool {
    dialable(address) && Scope::of(address.ip()) >= told_from
}

const fn names_a_host_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let this_network = a == 0;
    let benchmarks = a == 198 && (b == 18 || b == 19);
    let protocol_assignments = a == 192 && b == 0 && c == 0;
    let multicast_or_reserved = a >= 224;
    !(this_network
        || benchmarks
        || protocol_assignments
        || multicast_or_reserved
        || ip.is_documentation())
}

const fn names_a_host_v6(ip: Ipv6Addr) -> bool {
    if let Some(ip) = behind_gateway(ip) {
        return names_a_host_v4(ip);
    }
    let segments = ip.segments();
    let documentation = (segments[0] == 0x2001 && segments[1] == 0xdb8) || segments[0] == 0x3fff;
    let discard_only =
        segments[0] == 0x100 && segments[1] == 0 && segments[2] == 0 && segments[3] == 0;
    !(ip.is_unspecified() || ip.is_multicast() || documentation || discard_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_scope(ip: &str, expected: Scope) {
        assert_eq!(Scope::of(ip.parse().unwrap()), expected, "{ip}");
    }

    #[test]
    fn each_kind_of_address_has_its_scope() {
        check_scope("127.0.0.1", Scope::Loopback);
        check_scope("127.9.8.7", Scope::Loopback);
        check_scope("::1", Scope::Loopback);
        check_scope("169.254.1.1", Scope::Link);
        check_scope("fe80::1", Scope::Link);
        check_scope("10.1.2.3", Scope::Private);
        check_scope("172.31.255.255", Scope::Private);
        check_scope("172.32.0.0", Scope::Global);
        check_scope("192.168.0.1", Scope::Private);
        check_scope("100.64.0.1", Scope::Private);
        check_scope("100.128.0.1", Scope::Global);
        check_scope("fd00::1", Scope::Private);
        check_scope("8.8.8.8", Scope::Global);
        check_scope("2a00::1", Scope::Global);
    }

    #[test]
    fn an_ipv4_address_mapped_into_ipv6_keeps_its_scope() {
        check_scope("::ffff:127.0.0.1", Scope::Loopback);
        check_scope("::ffff:192.168.1.1", Scope::Private);
        check_scope("::ffff:8.8.8.8", Scope::Global);
    }

    #[test]
    fn an_ipv6_address_that_leads_to_an_ipv4_address_has_its_scope() {
        for (ip, expected) in [
            ("127.0.0.1", Scope::Loopback),
            ("169.254.1.1", Scope::Link),
            ("192.168.1.1", Scope::Private),
            ("8.8.8.8", Scope::Global),
        ] {
            let [a, b, c, d] = ip.parse::<Ipv4Addr>().unwrap().octets();
            check_scope(&format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"), expected);
            check_scope(&format!("64:ff9b::{ip}"), expected);
            check_scope(&format!("::{ip}"), expected);
        }
        check_scope("64:ff9b:1::8.8.8.8", Scope::Private);
    }

    #[test]
    fn nobody_makes_us_dial_nearer_than_they_are() {
        let scopes = [Scope::Loopback, Scope::Link, Scope::Private, Scope::Global];
        let addresses = ["127.0.0.1:1", "169.254.1.1:1", "192.168.1.1:1", "8.8.8.8:1"];
        for (told, told_from) in scopes.into_iter().enumerate() {
            for (at, address) in addresses.iter().enumerate() {
                let believed = believable(address.parse().unwrap(), told_from);
                assert_eq!(believed, at >= told, "{address} told from {told_from:?}");
            }
        }
    }

    #[test]
    fn an_address_that_cannot_be_a_nodes_is_never_believed() {
        for address in [
            "8.8.8.8:0",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "240.0.0.1:1",
            "192.0.2.1:1",
            "198.51.100.1:1",
            "203.0.113.1:1",
            "198.18.0.1:1",
            "[::]:1",
            "[ff02::1]:1",
            "[2001:db8::1]:1",
            "[3fff::1]:1",
            "[100::1]:1",
            "[::ffff:224.0.0.1]:1",
            "[2002:e000:1::1]:1",
            "[64:ff9b::255.255.255.255]:1",
            "[::224.0.0.1]:1",
            "[2a00::1]:0",
        ] {
            assert!(!believable(address.parse().unwrap(), Scope::Loopback), "{address}");
        }
    }
}

//! From which of our addresses the system would send to the internet. Nothing is sent to learn it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use bitchat_protocol::scope::Scope;

/// Any port: only the way there is asked for.
const PORT: u16 = 6969;
/// Any global address.
const SOMEWHERE_V4: Ipv4Addr = Ipv4Addr::new(32, 0, 0, 1);
/// Any global address.
const SOMEWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1);

/// Our IPv4 address, if there is a way to the internet; a NAT may be on it.
pub(crate) fn own_ipv4() -> Option<Ipv4Addr> {
    match towards(Ipv4Addr::UNSPECIFIED.into(), SOMEWHERE_V4.into())? {
        IpAddr::V4(ip) if Scope::of(ip.into()) != Scope::Loopback => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Our global IPv6 address, if we have one.
pub(crate) fn own_ipv6() -> Option<Ipv6Addr> {
    match towards(Ipv6Addr::UNSPECIFIED.into(), SOMEWHERE_V6.into())? {
        IpAddr::V6(ip) if Scope::of(ip.into()) == Scope::Global => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn towards(any: IpAddr, somewhere: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((somewhere, PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

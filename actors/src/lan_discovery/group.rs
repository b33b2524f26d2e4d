//! The socket of one multicast group, on all networks at once.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::task::{Context, Poll};

use bitchat_protocol::lan::message::{GROUP_PORT, GROUP_V4, GROUP_V6};
use bitchat_protocol::lan::{Family, Interface};
use bitchat_protocol::limits::LAN_DATAGRAM_BYTES_MAX;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// A bound socket and where it has joined the group.
#[derive(Debug)]
pub(super) struct Group {
    io: UdpSocket,
    family: Family,
    joined: BTreeSet<Interface>,
}

impl Group {
    /// Opens the socket, which belongs to the runtime of the caller.
    pub(super) fn open(family: Family, hops: u32) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        // BitTorrent clients on this host, and other nodes, have the same port.
        socket.set_reuse_address(true)?;
        // The BSDs want this one for it. On Linux the other is enough, and what clients set.
        #[cfg(not(target_os = "linux"))]
        socket.set_reuse_port(true)?;
        match family {
            Family::V4 => {
                socket.set_multicast_loop_v4(true)?;
                socket.set_multicast_ttl_v4(hops)?;
            }
            Family::V6 => {
                socket.set_only_v6(true)?;
                socket.set_multicast_loop_v6(true)?;
                socket.set_multicast_hops_v6(hops)?;
            }
        }
        // To the group and not to any address: what is sent to this host alone, perhaps from afar,
        // is none of ours, and other clients keep what is theirs.
        socket.bind(&destination(family))?;
        socket.set_nonblocking(true)?;
        let io = UdpSocket::from_std(socket.into())?;
        Ok(Self { io, family, joined: BTreeSet::new() })
    }

    /// Joins the group wherever it has not, and forgets what is gone; where that failed, and why.
    pub(super) fn join(&mut self, interfaces: &[Interface]) -> Vec<(Interface, io::Error)> {
        let wanted: BTreeSet<Interface> = interfaces
            .iter()
            .filter(|interface| interface.address.is_ipv4() == (self.family == Family::V4))
            .copied()
            .collect();
        for gone in self.joined.difference(&wanted) {
            // An interface that is gone has left by itself; of two addresses on one, one may stay.
            if wanted.iter().all(|interface| interface.index != gone.index) {
                let _ = self.leave(gone);
            }
        }
        self.joined.retain(|interface| wanted.contains(interface));
        let mut failures = Vec::new();
        for interface in wanted {
            if self.joined.contains(&interface) {
                continue;
            }
            match self.join_on(&interface) {
                // By another address of the same interface.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    failures.push((interface, error));
                    continue;
                }
                Ok(()) => {}
            }
            self.joined.insert(interface);
        }
        failures
    }

    fn join_on(&self, interface: &Interface) -> io::Result<()> {
        match interface.address {
            IpAddr::V4(own) => self.io.join_multicast_v4(GROUP_V4, own),
            IpAddr::V6(_) => self.io.join_multicast_v6(&GROUP_V6, interface.index),
        }
    }

    fn leave(&self, interface: &Interface) -> io::Result<()> {
        match interface.address {
            IpAddr::V4(own) => self.io.leave_multicast_v4(GROUP_V4, own),
            IpAddr::V6(_) => self.io.leave_multicast_v6(&GROUP_V6, interface.index),
        }
    }

    /// Sends to the group on one network, at once or never.
    pub(super) fn send(&self, via: &Interface, bytes: &[u8]) -> io::Result<()> {
        let socket = SockRef::from(&self.io);
        match via.address {
            IpAddr::V4(own) => socket.set_multicast_if_v4(&own)?,
            IpAddr::V6(_) => socket.set_multicast_if_v6(via.index)?,
        }
        socket.send_to(bytes, &destination(self.family)).map(drop)
    }

    /// Reads one datagram: who sent it, and the bytes. One that is too long ends one byte beyond the
    /// bound.
    pub(super) fn poll_read(
        &self,
        task: &mut Context<'_>,
    ) -> Poll<io::Result<(SocketAddr, Vec<u8>)>> {
        let mut buffer = [0; LAN_DATAGRAM_BYTES_MAX + 1];
        let mut read = ReadBuf::new(&mut buffer);
        self.io.poll_recv_from(task, &mut read).map_ok(|from| (from, read.filled().to_vec()))
    }
}

fn destination(family: Family) -> SockAddr {
    match family {
        Family::V4 => SocketAddr::from((GROUP_V4, GROUP_PORT)).into(),
        Family::V6 => SocketAddr::V6(SocketAddrV6::new(GROUP_V6, GROUP_PORT, 0, 0)).into(),
    }
}

/// Our own addresses on the interfaces that are up; of those named alone, if any is named.
pub(super) fn interfaces(named: &[String]) -> io::Result<Vec<Interface>> {
    let all = if_addrs::get_if_addrs()?.into_iter();
    let up = all.filter(|found| {
        found.oper_status != if_addrs::IfOperStatus::Down
            && (named.is_empty() || named.contains(&found.name))
    });
    Ok(up.filter_map(|found| as_interface(&found)).collect())
}

fn as_interface(found: &if_addrs::Interface) -> Option<Interface> {
    let (address, prefix_bits) = match &found.addr {
        if_addrs::IfAddr::V4(v4) => (IpAddr::V4(v4.ip), v4.prefixlen),
        if_addrs::IfAddr::V6(v6) => (IpAddr::V6(v6.ip), v6.prefixlen),
    };
    let usable = address != IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    usable.then_some(Interface { index: found.index?, address, prefix_bits })
}

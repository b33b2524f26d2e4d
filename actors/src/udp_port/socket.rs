//! One UDP socket with GSO and GRO (quinn-udp over tokio).

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Bytes of one receive buffer: what GRO may coalesce into one read.
const READ_BYTES: usize = 64 * 1024;

/// Receive buffers handed to the kernel in one call. Larger: fewer calls under load, 64 KiB each.
const READS_AT_ONCE: usize = 8;

/// A bound socket and the buffers for its reads.
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    buffers: Vec<Vec<u8>>,
    metas: [RecvMeta; READS_AT_ONCE],
}

/// Binds a socket to `address`, for its family alone.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// One read: datagrams of `stride` bytes from one sender (the last may be shorter).
pub(super) struct Read {
    pub(super) meta: RecvMeta,
    pub(super) bytes: BytesMut,
}

impl Socket {
    /// Takes a bound socket, with kernel buffers of about `buffer_bytes` (the system may allow less).
    pub(super) fn new(io: std::net::UdpSocket, buffer_bytes: usize) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&io), buffer_bytes);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&io), buffer_bytes);
        io.set_nonblocking(true)?;
        let local = io.local_addr()?;
        Ok(Self {
            io: UdpSocket::from_std(io)?,
            state,
            local,
            buffers: vec![vec![0; READ_BYTES]; READS_AT_ONCE],
            metas: [RecvMeta::default(); READS_AT_ONCE],
        })
    }

    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams that may leave in one call.
    pub(super) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Reads what is there, as one batch. `Pending` when nothing is.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, reads: &mut Vec<Read>) -> Poll<()> {
        loop {
            if let Err(error) = ready!(self.io.poll_recv_ready(cx)) {
                tracing::warn!(%error, "the UDP socket cannot be polled");
                return Poll::Pending;
            }
            let mut slices: [IoSliceMut<'_>; READS_AT_ONCE] = {
                let mut buffers = self.buffers.iter_mut();
                std::array::from_fn(|_| {
                    IoSliceMut::new(buffers.next().map_or(&mut [][..], Vec::as_mut_slice))
                })
            };
            let received = self.io.try_io(Interest::READABLE, || {
                self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut self.metas)
            });
            match received {
                Ok(count) => {
                    for (meta, buffer) in self.metas.iter().zip(&self.buffers).take(count) {
                        // One copy out of the reusable buffer; datagrams are then split off unshared.
                        let bytes = BytesMut::from(&buffer[..meta.len]);
                        reads.push(Read { meta: *meta, bytes });
                    }
                    return Poll::Ready(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An ICMP answer to something we sent earlier: says nothing about this socket.
                Err(error) => tracing::debug!(%error, "reading the UDP socket failed once"),
            }
        }
    }

    /// Sends now or says `WouldBlock`.
    pub(super) fn send(&self, transmit: &quinn_udp::Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || {
            self.state.try_send(UdpSockRef::from(&self.io), transmit)
        })
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_send_ready(cx).map(|_| ())
    }
}

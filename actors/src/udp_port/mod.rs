//! The one UDP port of a node: peers' packets and UDP trackers' replies share it.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`AddChannel`], [`RemoveChannel`] | mesh manager | opens or shuts the gate for one channel's first packets |
//! | [`Connect`] | peer supervisor | begins a link |
//! | [`Attach`] | peer supervisor | names the transport that takes a link's input |
//! | [`Abandon`] | peer supervisor | forgets a link whose transport is gone |
//! | [`HandleLinkEvents`] | peer transport | what a link tells the endpoint |
//! | [`CarryPackets`] | peer transport | sends a link's packets |
//! | [`SendDatagram`] | tracker announcer | sends a datagram that belongs to no link |
//! | [`NoteObserved`] | peer supervisor | remembers where a member sees us |
//! | [`SubscribeIncoming`], [`SubscribeTracker`] | later actors | introduce themselves |
//! | [`SubscribeOwnAddresses`] | mesh manager | introduces itself; told where we are, now and at each change |
//! | [`FindLocalPort`], [`FindWhereabouts`], [`CountDrops`] | anybody | queries |
//!
//! Owns: the sockets and the [`Endpoint`] (channel gate, routing of packets to links).
//! Lost on a crash: every link. The mesh redials.
//! What it drops is counted, and logged every hour (debug) and at the end (info).
//! Spec: `docs/spec/03-handshake.md`, `docs/spec/04-link.md`.

mod socket;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFuture, AsyncContext, Context, Handler, Message, MessageResult, Recipient,
};
use bitchat_protocol::crypto::Secret;
use bitchat_protocol::crypto::sign::SigningKey;
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::nat::{self, NatKind};
use bitchat_protocol::quic::{
    ChannelGate, Class, Dial, DialError, Endpoint, EndpointConfig, EndpointEvent, GateCounters,
    Interface, Link, LinkId, LinkInput, OwnAddresses, Routed, Transmit, classify,
};

use crate::peer_supervisor::IncomingLink;
use crate::peer_transport::HandleInputs;
use crate::supervision::Outlet;
use crate::{clock, entropy};

use socket::{Read, Socket};

/// Messages waiting at most, on top of one per sender.
pub const MAILBOX: usize = 1024;

/// Batches read before the port lets other actors run.
const READ_ROUNDS_MAX: usize = 4;

/// Transmissions kept while the socket cannot take more; beyond it packets are lost, as UDP may.
const SEND_QUEUE_MAX: usize = 256;

/// Inputs kept for a link between its birth and [`Attach`].
const UNATTACHED_INPUTS_MAX: usize = 64;

/// How often our interfaces are read again, and fresh entropy is given to the endpoint.
const INTERFACES_INTERVAL: Duration = Duration::from_secs(30);

/// How often what was dropped is logged.
const DROPS_INTERVAL: Duration = Duration::from_secs(3600);

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to bind, at most one per family, same port. Port 0: the system chooses.
    pub listen: Vec<SocketAddr>,
    /// Sockets that are bound there already, for the first start.
    pub reserved: Option<Reserved>,
    /// Bytes asked for in the kernel, per socket and direction. Smaller: bursts are lost.
    pub buffer_bytes: usize,
    /// Of the links.
    pub endpoint: EndpointConfig,
}

/// Sockets bound before there is an actor for them, so that no other program takes their port
/// meanwhile. Clones share them; whoever comes first has them.
#[derive(Debug, Clone)]
pub struct Reserved(Arc<Mutex<Option<Vec<std::net::UdpSocket>>>>);

impl Reserved {
    /// Binds to `listen`, as [`UdpPort::bind`] does.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound; a family that this host does not have is left out.
    pub fn bind(listen: &[SocketAddr]) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Some(bind_all(listen)?)))))
    }

    fn take(&self) -> Option<Vec<std::net::UdpSocket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Opens the gate for a channel's first packets.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AddChannel {
    /// The channel.
    pub id: ChannelId,
    /// Its keys of the gate.
    pub gate: ChannelGate,
}

/// Shuts the gate for a channel; its links stay until they are closed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RemoveChannel(pub ChannelId);

/// Begins a link; the caller must [`Attach`] a transport to it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Box<Link>, DialError>")]
pub struct Connect(pub Dial);

/// Names the transport that takes a link's input.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Attach {
    /// The link.
    pub link: LinkId,
    /// Its transport.
    pub inputs: Recipient<HandleInputs>,
}

/// Forgets a link whose transport is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Abandon(pub LinkId);

/// What a link tells the endpoint.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct HandleLinkEvents {
    /// The link.
    pub link: LinkId,
    /// In order.
    pub events: Vec<EndpointEvent>,
}

/// Some datagrams of one size for one destination, back to back in one buffer.
#[derive(Debug)]
pub struct Packet {
    /// Where to, and how the buffer is cut.
    pub transmit: Transmit,
    /// The datagrams.
    pub bytes: Vec<u8>,
}

/// Sends a link's packets; what the socket cannot take now waits, bounded.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CarryPackets(pub Vec<Packet>);

/// Sends a datagram that belongs to no link.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SendDatagram {
    /// Where to.
    pub to: SocketAddr,
    /// At most one datagram's worth.
    pub bytes: Vec<u8>,
}

/// A datagram that looks like a UDP tracker's reply.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TrackerDatagram {
    /// Who sent it, as far as the network says.
    pub from: SocketAddr,
    /// The whole datagram.
    pub bytes: Vec<u8>,
}

/// A datagram that may be a message of the DHT.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct KrpcDatagram {
    /// Who sent it, as far as the network says.
    pub from: SocketAddr,
    /// The whole datagram.
    pub bytes: Vec<u8>,
}

/// The DHT introduces itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeDht(pub Recipient<KrpcDatagram>);

/// The tracker announcer introduces itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeTracker(pub Recipient<TrackerDatagram>);

/// The peer supervisor introduces itself; the links of one before it are forgotten.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeIncoming(pub Recipient<IncomingLink>);

/// Remembers where a member sees us, for as long as its link lives: whoever comes later cannot push
/// it out, and what was true elsewhere goes with the links of there.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct NoteObserved {
    /// On which link it said so.
    pub link: LinkId,
    /// Who.
    pub by: PeerId,
    /// Where it sees us.
    pub at: SocketAddr,
}

/// The port we listen on.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "u16")]
pub struct FindLocalPort;

/// Where we are, as far as we know.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Whereabouts")]
pub struct FindWhereabouts;

/// The answer to [`FindWhereabouts`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Whereabouts {
    /// Where the sockets are bound; the port is the same.
    pub listening: Vec<SocketAddr>,
    /// The addresses of our interfaces, with our port.
    pub interfaces: Vec<SocketAddr>,
    /// Where members that are linked see us; each may lie.
    pub observed: Vec<(PeerId, SocketAddr)>,
    /// What translates our IPv4 addresses.
    pub nat_v4: NatKind,
    /// What translates our IPv6 addresses.
    pub nat_v6: NatKind,
    /// By how many minutes a member's clock was ahead of ours (or, negative, behind) when there
    /// could be no link because of it, and when that was.
    pub clock: Option<(i64, Instant)>,
}

/// Where we are reached on our own interfaces; all of them.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct OwnAddressesChanged(pub Vec<SocketAddr>);

/// The mesh manager introduces itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeOwnAddresses(pub Recipient<OwnAddressesChanged>);

/// What was dropped so far.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Drops")]
pub struct CountDrops;

/// The answer to [`CountDrops`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drops {
    /// By the channel gate.
    pub gate: GateCounters,
    /// Datagrams that are nothing we speak.
    pub unknown: u64,
    /// DHT messages that nobody took: the DHT is off, or had too many waiting.
    pub krpc: u64,
    /// Batches refused by a full mailbox.
    pub refused: u64,
    /// Transmissions that the socket had no room for.
    pub unsent: u64,
}

/// The actor.
pub struct UdpPort {
    config: Config,
    sockets: Vec<Socket>,
    endpoint: Endpoint,
    links: HashMap<LinkId, Attachment>,
    incoming: Option<Outlet<IncomingLink>>,
    tracker: Option<Outlet<TrackerDatagram>>,
    dht: Option<Outlet<KrpcDatagram>>,
    unsent: VecDeque<Packet>,
    observed: HashMap<LinkId, (PeerId, SocketAddr)>,
    interfaces: Vec<Interface>,
    clock: Option<(i64, Instant)>,
    mesh: Option<Recipient<OwnAddressesChanged>>,
    reads: Vec<Read>,
    touched: Vec<(LinkId, Vec<LinkInput>)>,
    unknown: u64,
    krpc: u64,
    refused: u64,
    dropped_sends: u64,
}

/// When a batch was read.
#[derive(Clone, Copy)]
struct Moment {
    now: Instant,
    unix: Duration,
}

enum Attachment {
    Waiting(Vec<LinkInput>),
    Attached(Recipient<HandleInputs>),
}

impl std::fmt::Debug for UdpPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpPort").field("config", &self.config).finish_non_exhaustive()
    }
}

impl UdpPort {
    /// Binds the sockets. Must run where the actor will run, as the sockets belong to its runtime.
    ///
    /// # Errors
    ///
    /// When no address can be bound; one family of two may be missing.
    pub fn bind(config: Config, identity: &SigningKey) -> io::Result<Self> {
        let bound = match config.reserved.as_ref().and_then(Reserved::take) {
            Some(bound) => bound,
            None => bind_all(&config.listen)?,
        };
        let new = |socket| Socket::new(socket, config.buffer_bytes);
        let sockets = bound.into_iter().map(new).collect::<io::Result<Vec<_>>>()?;
        let mut endpoint_config = config.endpoint.clone();
        let segments = sockets.iter().map(Socket::segments_max).min().unwrap_or(1);
        endpoint_config.max_datagrams_gso = endpoint_config.max_datagrams_gso.min(segments);
        let endpoint = Endpoint::new(identity, endpoint_config, clock::unix(), entropy::seed());
        Ok(Self {
            config,
            sockets,
            endpoint,
            links: HashMap::new(),
            incoming: None,
            tracker: None,
            dht: None,
            unsent: VecDeque::new(),
            observed: HashMap::new(),
            interfaces: Vec::new(),
            clock: None,
            mesh: None,
            reads: Vec::new(),
            touched: Vec::new(),
            unknown: 0,
            krpc: 0,
            refused: 0,
            dropped_sends: 0,
        })
    }

    fn local_port(&self) -> u16 {
        self.sockets.first().map_or(0, |socket| socket.local().port())
    }

    fn handle_read(&mut self, at: Moment, read: Read) {
        let Read { meta, mut bytes } = read;
        let stride = meta.stride.max(1);
        while !bytes.is_empty() {
            let datagram = bytes.split_to(stride.min(bytes.len()));
            match classify(&datagram) {
                Class::Link => self.route(at, &meta, datagram),
                Class::TrackerReply => {
                    let reply = TrackerDatagram { from: meta.addr, bytes: datagram.to_vec() };
                    if let Some(tracker) = &self.tracker {
                        tracker.offer(reply);
                    }
                }
                Class::Krpc => self.hand_to_dht(meta.addr, &datagram),
                Class::Unknown => self.unknown += 1,
            }
        }
    }

    fn hand_to_dht(&mut self, from: SocketAddr, datagram: &[u8]) {
        let message = || KrpcDatagram { from, bytes: datagram.to_vec() };
        if !self.dht.as_ref().is_some_and(|dht| dht.offer(message())) {
            self.krpc += 1;
        }
    }

    fn route(&mut self, at: Moment, meta: &quinn_udp::RecvMeta, datagram: bytes::BytesMut) {
        let ecn = meta.ecn.and_then(|ecn| bitchat_protocol::quic::Ecn::from_bits(ecn as u8));
        let routed =
            self.endpoint.handle_datagram(at.now, at.unix, meta.addr, meta.dst_ip, ecn, datagram);
        match routed {
            Some(Routed::ToLink(link, input)) => self.touch(link, input),
            Some(Routed::Incoming(link)) => self.introduce(link),
            None => self.tell_of_clocks(at.now),
        }
    }

    fn tell_of_clocks(&mut self, now: Instant) {
        let Some(ahead) = self.endpoint.take_clock_difference() else { return };
        self.clock = Some((ahead, now));
        let (minutes, side) = (ahead.unsigned_abs(), if ahead < 0 { "behind" } else { "ahead of" });
        tracing::warn!(
            "a member's clock is {minutes} minutes {side} this machine's, and there is no link \
             between clocks that differ by more than a minute: set the one that is wrong"
        );
    }

    fn touch(&mut self, link: LinkId, input: LinkInput) {
        match self.touched.iter_mut().find(|(touched, _)| *touched == link) {
            Some((_, inputs)) => inputs.push(input),
            None => self.touched.push((link, vec![input])),
        }
    }

    fn introduce(&mut self, link: Box<Link>) {
        let id = link.id();
        self.links.insert(id, Attachment::Waiting(Vec::new()));
        let taken = self.incoming.as_ref().is_some_and(|office| office.offer(IncomingLink(link)));
        if !taken {
            self.refused += 1;
            self.abandon(id);
        }
    }

    fn abandon(&mut self, link: LinkId) {
        if self.forget(link) {
            self.endpoint.abandon(link);
        }
    }

    /// Whether there was such a link.
    fn forget(&mut self, link: LinkId) -> bool {
        if self.observed.remove(&link).is_some() {
            self.set_own_addresses();
        }
        self.links.remove(&link).is_some()
    }

    /// Hands each link its inputs of this round in one message.
    fn deliver(&mut self) {
        for (link, mut inputs) in self.touched.drain(..) {
            match self.links.get_mut(&link) {
                Some(Attachment::Attached(transport)) => {
                    if transport.try_send(HandleInputs(inputs)).is_err() {
                        self.refused += 1;
                    }
                }
                Some(Attachment::Waiting(waiting)) => {
                    let room = UNATTACHED_INPUTS_MAX.saturating_sub(waiting.len());
                    inputs.truncate(room);
                    waiting.append(&mut inputs);
                }
                None => self.refused += 1,
            }
        }
    }

    fn carry(&mut self, packet: Packet) {
        if !self.unsent.is_empty() || !self.send(&packet) {
            if self.unsent.len() < SEND_QUEUE_MAX {
                self.unsent.push_back(packet);
            } else {
                self.dropped_sends += 1;
            }
        }
    }

    /// `false` when the socket has no room now; a failed send counts as sent, as UDP may lose it.
    fn send(&self, packet: &Packet) -> bool {
        let destination = packet.transmit.destination;
        let Some(socket) =
            self.sockets.iter().find(|socket| socket.local().is_ipv4() == destination.is_ipv4())
        else {
            return true;
        };
        let sent = socket.send(&quinn_udp::Transmit {
            destination,
            ecn: packet
                .transmit
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn.to_bits())),
            contents: &packet.bytes[..packet.transmit.size],
            segment_size: packet.transmit.segment_size,
            src_ip: packet.transmit.src_ip,
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                tracing::debug!(%error, "sending a packet failed");
                true
            }
            Ok(()) => true,
        }
    }

    fn flush(&mut self) {
        while let Some(packet) = self.unsent.pop_front() {
            if !self.send(&packet) {
                self.unsent.push_front(packet);
                return;
            }
        }
    }

    fn drops(&self) -> Drops {
        Drops {
            gate: self.endpoint.counters(),
            unknown: self.unknown,
            krpc: self.krpc,
            refused: self.refused,
            unsent: self.dropped_sends,
        }
    }

    fn whereabouts(&self) -> Whereabouts {
        let interfaces: Vec<SocketAddr> = self.interfaces.iter().map(|it| it.address).collect();
        let observed: Vec<(PeerId, SocketAddr)> = self.observed.values().copied().collect();
        Whereabouts {
            listening: self.sockets.iter().map(Socket::local).collect(),
            nat_v4: nat::kind(&interfaces, &observed, false),
            nat_v6: nat::kind(&interfaces, &observed, true),
            interfaces,
            observed,
            clock: self.clock,
        }
    }

    fn log_drops_later(ctx: &mut Context<Self>) {
        ctx.run_later(DROPS_INTERVAL, |port, ctx| {
            tracing::debug!(drops = ?port.drops(), "dropped so far");
            Self::log_drops_later(ctx);
        });
    }

    fn refresh_own_addresses(&mut self) {
        let port = self.local_port();
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let interfaces: Vec<Interface> =
            interfaces.iter().map(|interface| with_port(&interface.addr, port)).collect();
        if interfaces != self.interfaces {
            self.interfaces = interfaces;
            self.set_own_addresses();
            self.tell_own_addresses();
        }
    }

    fn set_own_addresses(&mut self) {
        let interfaces = self.interfaces.iter().copied();
        let observed = self.observed.values().map(|(by, at)| (*by, at.ip()));
        self.endpoint.set_own_addresses(OwnAddresses::new(interfaces, observed));
    }

    fn tell_own_addresses(&self) {
        if let Some(mesh) = &self.mesh {
            let own = self.interfaces.iter().map(|interface| interface.address).collect();
            mesh.do_send(OwnAddressesChanged(own));
        }
    }

    fn refresh_later(ctx: &mut Context<Self>) {
        ctx.run_later(INTERFACES_INTERVAL, |port, ctx| {
            port.refresh_own_addresses();
            port.endpoint.mix_entropy(&Secret::new(entropy::seed()));
            Self::refresh_later(ctx);
        });
    }
}

fn with_port(address: &if_addrs::IfAddr, port: u16) -> Interface {
    let (ip, prefix_bits) = match address {
        if_addrs::IfAddr::V4(v4) => (IpAddr::V4(v4.ip), v4.prefixlen),
        if_addrs::IfAddr::V6(v6) => (IpAddr::V6(v6.ip), v6.prefixlen),
    };
    Interface { address: SocketAddr::new(ip, port), prefix_bits }
}

fn bind_all(listen: &[SocketAddr]) -> io::Result<Vec<std::net::UdpSocket>> {
    let mut sockets: Vec<std::net::UdpSocket> = Vec::new();
    let mut failure = None;
    for address in listen {
        let mut address = *address;
        if let (0, Some(first)) = (address.port(), sockets.first()) {
            address.set_port(first.local_addr()?.port());
        }
        match socket::bind(address) {
            Ok(socket) => sockets.push(socket),
            // A host without IPv6 is common; a port in use is not to be hidden.
            Err(error) if address.is_ipv6() && error.kind() != io::ErrorKind::AddrInUse => {
                tracing::info!(%address, %error, "this address family is not available");
                failure = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match (sockets.is_empty(), failure) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on")),
        (false, _) => Ok(sockets),
    }
}

impl Actor for UdpPort {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.refresh_own_addresses();
        Self::refresh_later(ctx);
        ctx.spawn(Pump);
        for socket in &self.sockets {
            tracing::info!(address = %socket.local(), "listening");
        }
        Self::log_drops_later(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        tracing::info!(drops = ?self.drops(), "dropped in all");
    }
}

/// Reads and writes the sockets for as long as the actor lives. A stream inside the actor keeps
/// the kernel's buffers the only queue in front of it.
struct Pump;

impl ActorFuture<UdpPort> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        port: &mut UdpPort,
        _ctx: &mut Context<UdpPort>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if !port.unsent.is_empty() {
            port.flush();
            if !port.unsent.is_empty() {
                for socket in &port.sockets {
                    let _ = socket.poll_write_ready(task);
                }
            }
        }
        let mut reads = std::mem::take(&mut port.reads);
        for at in 0..port.sockets.len() {
            let mut rounds = 0;
            while port.sockets[at].poll_read(task, &mut reads).is_ready() {
                rounds += 1;
                if rounds == READ_ROUNDS_MAX {
                    task.waker().wake_by_ref();
                    break;
                }
            }
        }
        if !reads.is_empty() {
            // Once for all: reading two clocks for each datagram would cost as much as routing it.
            let at = Moment { now: clock::now(), unix: clock::unix() };
            for read in reads.drain(..) {
                port.handle_read(at, read);
            }
        }
        port.reads = reads;
        port.deliver();
        Poll::Pending
    }
}

impl Handler<AddChannel> for UdpPort {
    type Result = ();

    fn handle(&mut self, AddChannel { id, gate }: AddChannel, _: &mut Self::Context) {
        self.endpoint.add_channel(id, gate);
    }
}

impl Handler<RemoveChannel> for UdpPort {
    type Result = ();

    fn handle(&mut self, RemoveChannel(id): RemoveChannel, _: &mut Self::Context) {
        self.endpoint.remove_channel(&id);
    }
}

impl Handler<Connect> for UdpPort {
    type Result = MessageResult<Connect>;

    fn handle(&mut self, Connect(dial): Connect, _: &mut Self::Context) -> Self::Result {
        let link = self.endpoint.connect(clock::now(), clock::unix(), dial);
        if let Ok(link) = &link {
            self.links.insert(link.id(), Attachment::Waiting(Vec::new()));
        }
        MessageResult(link.map(Box::new))
    }
}

impl Handler<Attach> for UdpPort {
    type Result = ();

    fn handle(&mut self, Attach { link, inputs }: Attach, _: &mut Self::Context) {
        let before = self.links.remove(&link);
        if let Some(Attachment::Waiting(waiting)) = before
            && !waiting.is_empty()
            && inputs.try_send(HandleInputs(waiting)).is_err()
        {
            self.refused += 1;
        }
        self.links.insert(link, Attachment::Attached(inputs));
    }
}

impl Handler<Abandon> for UdpPort {
    type Result = ();

    fn handle(&mut self, Abandon(link): Abandon, _: &mut Self::Context) {
        self.abandon(link);
    }
}

impl Handler<HandleLinkEvents> for UdpPort {
    type Result = ();

    fn handle(
        &mut self,
        HandleLinkEvents { link, events }: HandleLinkEvents,
        _: &mut Self::Context,
    ) {
        if !self.links.contains_key(&link) {
            return;
        }
        for event in events {
            if event.is_drained() {
                self.forget(link);
            }
            if let Some(input) = self.endpoint.handle_link_event(link, event) {
                self.touch(link, input);
            }
        }
        self.deliver();
    }
}

impl Handler<CarryPackets> for UdpPort {
    type Result = ();

    fn handle(&mut self, CarryPackets(packets): CarryPackets, _: &mut Self::Context) {
        for packet in packets {
            self.carry(packet);
        }
    }
}

impl Handler<SendDatagram> for UdpPort {
    type Result = ();

    fn handle(&mut self, SendDatagram { to, bytes }: SendDatagram, _: &mut Self::Context) {
        self.carry(Packet { transmit: Transmit::datagram(to, bytes.len()), bytes });
    }
}

impl Handler<SubscribeTracker> for UdpPort {
    type Result = ();

    fn handle(&mut self, SubscribeTracker(tracker): SubscribeTracker, _: &mut Self::Context) {
        self.tracker = Some(Outlet::new(tracker));
    }
}

impl Handler<SubscribeDht> for UdpPort {
    type Result = ();

    fn handle(&mut self, SubscribeDht(dht): SubscribeDht, _: &mut Self::Context) {
        self.dht = Some(Outlet::new(dht));
    }
}

impl Handler<SubscribeIncoming> for UdpPort {
    type Result = ();

    fn handle(&mut self, SubscribeIncoming(office): SubscribeIncoming, _: &mut Self::Context) {
        // One that introduces itself has no links: those of an office before it went with it.
        let left: Vec<LinkId> = self.links.keys().copied().collect();
        for link in left {
            self.abandon(link);
        }
        self.incoming = Some(Outlet::new(office));
    }
}

impl Handler<NoteObserved> for UdpPort {
    type Result = ();

    fn handle(&mut self, NoteObserved { link, by, at }: NoteObserved, _: &mut Self::Context) {
        if self.links.contains_key(&link) {
            self.observed.insert(link, (by, at));
            self.set_own_addresses();
        }
    }
}

impl Handler<FindLocalPort> for UdpPort {
    type Result = MessageResult<FindLocalPort>;

    fn handle(&mut self, _: FindLocalPort, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.local_port())
    }
}

impl Handler<FindWhereabouts> for UdpPort {
    type Result = MessageResult<FindWhereabouts>;

    fn handle(&mut self, _: FindWhereabouts, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.whereabouts())
    }
}

impl Handler<SubscribeOwnAddresses> for UdpPort {
    type Result = ();

    fn handle(
        &mut self,
        SubscribeOwnAddresses(mesh): SubscribeOwnAddresses,
        _: &mut Self::Context,
    ) {
        self.mesh = Some(mesh);
        self.tell_own_addresses();
    }
}

impl Handler<CountDrops> for UdpPort {
    type Result = MessageResult<CountDrops>;

    fn handle(&mut self, _: CountDrops, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.drops())
    }
}

//! All links of one UDP port: lets first packets in, routes the rest, never answers a stranger.
//!
//! ```text
//! datagram --any long header in it of another version, Retry--------------> drop, counted
//!    |------Initial with a 20-byte id that the gate refuses---------------> drop, counted
//!    |------Initial that passes the gate and authenticates----------------> Routed::Incoming
//!    '------anything that the engine finds a link for---------------------> Routed::ToLink
//!           anything else                                                 > drop, counted
//! ```
//!
//! The engine would answer strangers in four cases: Version Negotiation, stateless reset, closing
//! and refusing a first packet. The first is kept from it here, the second by our connection ids,
//! and of the others the answer is thrown away.
//!
//! Spec: `docs/spec/03-handshake.md`, `docs/spec/04-link.md`.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::{self as engine, AeadKey, CryptoError, HandshakeTokenKey, HmacKey};
use quinn_proto::{
    ClientConfig, ConnectionHandle, ConnectionId, DatagramEvent, IdleTimeout, Incoming,
    MtuDiscoveryConfig, ServerConfig, TokenStore, TransportConfig, ValidationTokenConfig, VarInt,
};

use super::addressee::{Addressee, OwnAddresses};
use super::cid::CidGenerator;
use super::clock_check::ClockCheck;
use super::gate::{self, FirstCid, Gate, GateCounters, Refusal};
use super::header::{self, LongHeader};
use super::keys::{self, SuitePreference};
use super::link::{Ecn, EndpointEvent, Link, LinkId, LinkInput};
use super::mix::MixCell;
use super::session::{self, Dialling, Listening, Once};
use crate::channel::GateKeys;
use crate::crypto::sign::SigningKey;
use crate::crypto::{Rng, Secret, hash};
use crate::id::{ChannelId, PeerId};
use crate::limits::{HALF_OPEN_LINKS_MAX, LINKS_FOR_DIALS, LINKS_MAX};
use crate::session::Role;

/// The version in our long headers. Not a standard one: a QUIC server that gets our packet by
/// mistake drops it or offers its own, which we ignore.
pub(super) const VERSION: u32 = 0xb17c_4a01;

/// How links behave.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// The dialler sends something at least so often, and the listener, whose answer is enough in
    /// most cases, when nothing has come for a third longer. Shorter: more packets for nothing;
    /// longer: NATs forget us (many after 30 s).
    pub keep_alive: Duration,
    /// A link of which nothing came for so long is lost. Shorter: a flaky path costs links; longer:
    /// a dead peer looks alive.
    pub idle_timeout: Duration,
    /// Assumed until measured. Shorter: needless repetitions on slow paths; longer: a lost first
    /// packet costs more.
    pub initial_rtt: Duration,
    /// Bytes on their way on one stream. Above 2 MiB a burst of losses can kill a link.
    pub stream_window: u32,
    /// What may protect packets, best first.
    pub suites: SuitePreference,
    /// Datagrams handed to the kernel in one call. More: less CPU a byte (to about 32).
    pub max_datagrams_gso: usize,
    /// Bytes of UDP payload that path MTU discovery tries to reach.
    pub mtu_upper_bound: u16,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(40),
            initial_rtt: Duration::from_millis(100),
            stream_window: 1_250_000,
            suites: SuitePreference::auto(),
            max_datagrams_gso: 32,
            mtu_upper_bound: 1452,
        }
    }
}

/// A link to be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// The channel whose key opens it.
    pub channel: ChannelId,
    /// Where.
    pub address: SocketAddr,
    /// Who must answer, if that is known.
    pub expect: Option<PeerId>,
}

/// Why a link cannot be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The channel's gate is not open here.
    #[error("the channel is not open")]
    NoSuchChannel,
    /// There are [`LINKS_MAX`] already.
    #[error("too many links")]
    TooManyLinks,
    /// Not an address that a packet can be sent to.
    #[error("{0} cannot be dialled")]
    Undiallable(SocketAddr),
}

/// Where a datagram belongs.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation for every datagram")]
pub enum Routed {
    /// To a link.
    ToLink(LinkId, LinkInput),
    /// It began a link; the peer has shown a channel's key, but not yet who it is.
    Incoming(Box<Link>),
}

/// The endpoint; see the module.
pub struct Endpoint {
    engine: quinn_proto::Endpoint,
    identity: Arc<SigningKey>,
    config: EndpointConfig,
    dialler: Arc<TransportConfig>,
    listener: Arc<TransportConfig>,
    gate: Gate,
    clock_check: ClockCheck,
    admitted: Admitted,
    half_open: HashSet<LinkId>,
    rng: Rng,
    counters: GateCounters,
    answer: Vec<u8>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("links", &self.engine.open_connections())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint in no channel: it lets nobody in and dials nobody. `unix` is the time since 1970.
    #[must_use]
    pub fn new(
        identity: &SigningKey,
        config: EndpointConfig,
        unix: Duration,
        seed: [u8; 32],
    ) -> Self {
        let mut rng = Rng::from_seed(seed);
        let admitted = Admitted::default();
        let engine = quinn_proto::Endpoint::new(
            Arc::new(engine_config(&mut rng)),
            Some(Arc::new(server_config(Arc::new(admitted.clone())))),
            true,
            Some(rng.array()),
        );
        Self {
            engine,
            dialler: Arc::new(transport_config(&config, Role::Dialler)),
            listener: Arc::new(transport_config(&config, Role::Listener)),
            gate: Gate::new(&PeerId(*identity.public()), unix),
            clock_check: ClockCheck::default(),
            identity: Arc::new(identity.clone()),
            config,
            admitted,
            half_open: HashSet::new(),
            rng,
            counters: GateCounters::default(),
            answer: Vec::new(),
        }
    }

    /// Opens the gate for a channel.
    pub fn add_channel(&mut self, id: ChannelId, keys: GateKeys) {
        self.gate.add(id, keys);
    }

    /// Shuts the gate for a channel; links that stand are not touched.
    pub fn remove_channel(&mut self, id: &ChannelId) {
        self.gate.remove(id);
    }

    /// Learns where we may be dialled.
    pub fn set_own_addresses(&mut self, own: OwnAddresses) {
        self.gate.set_own_addresses(own);
    }

    /// Takes in fresh random bytes. Needed now and then: a thief of the present state would know the
    /// secrets of all handshakes to come.
    pub fn mix_entropy(&mut self, fresh: &Secret<32>) {
        self.rng.mix(fresh);
    }

    /// What was dropped so far.
    #[must_use]
    pub const fn counters(&self) -> GateCounters {
        self.counters
    }

    /// Links of all kinds, and those that a peer began and has not finished.
    #[cfg(test)]
    pub(super) fn links(&self) -> (usize, usize) {
        (self.engine.open_connections(), self.half_open.len())
    }

    /// How many minutes a member's clock is ahead of ours, once for each member's difference: by so
    /// much that its first packets are dropped. Unless somebody plays an old one of them again.
    pub const fn take_clock_difference(&mut self) -> Option<i64> {
        self.clock_check.take_news()
    }

    /// Begins a link; its first packets are in [`Link::poll_transmit`]. `unix` is the time since
    /// 1970, to within a minute of the listener's.
    ///
    /// # Errors
    ///
    /// See [`DialError`].
    pub fn connect(&mut self, now: Instant, unix: Duration, dial: Dial) -> Result<Link, DialError> {
        let Dial { channel, address, expect } = dial;
        if self.engine.open_connections() >= LINKS_MAX {
            return Err(DialError::TooManyLinks);
        }
        let keys = self.gate.keys(&channel).ok_or(DialError::NoSuchChannel)?.clone();
        let addressee =
            expect.map_or(Addressee::Address(address), |peer| Addressee::identity(&peer));
        let (cid, token) = gate::first_packet(&keys, &addressee, unix, &mut self.rng);
        let mix = MixCell::default();
        let crypto = session::client_config(Dialling {
            identity: Arc::clone(&self.identity),
            initial: keys.initial,
            psk: keys.psk,
            expect,
            suites: self.config.suites.clone(),
            rng: Once::new(self.rng.fork()),
            mix: mix.clone(),
        });
        let mut config = ClientConfig::new(crypto);
        config
            .version(VERSION)
            .transport_config(Arc::clone(&self.dialler))
            .initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&cid)))
            .token_store(Arc::new(FirstToken(Bytes::copy_from_slice(&token))));
        let (handle, connection) = self
            .engine
            .connect(now, config, address, "bitchat")
            .map_err(|_| DialError::Undiallable(address))?;
        let segments = self.config.max_datagrams_gso;
        let id = LinkId(handle.0);
        Ok(Link::new(id, channel, Role::Dialler, connection, mix, segments, now))
    }

    /// Takes one datagram; `None`: dropped in silence, and counted.
    ///
    /// `local_ip` is the address it was sent to, as far as the system says.
    #[must_use]
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        unix: Duration,
        from: SocketAddr,
        local_ip: Option<IpAddr>,
        ecn: Option<Ecn>,
        data: BytesMut,
    ) -> Option<Routed> {
        let (admission, repeated) = match self.admit(&data, now, unix) {
            Verdict::Drop => return None,
            Verdict::Engine => (None, false),
            Verdict::Repeated => (None, true),
            Verdict::First(admission) => (Some(admission), false),
        };
        if admission.is_some() {
            self.admitted.set(admission.as_ref());
        }
        self.answer.clear();
        let ecn = ecn.map(Ecn::inner);
        let event = self.engine.handle(now, from, local_ip, ecn, data, &mut self.answer);
        if admission.is_some() {
            self.admitted.set(None);
        }
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                Some(Routed::ToLink(LinkId(handle.0), LinkInput(event)))
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.accept(incoming, now, unix, admission)
            }
            // An answer of the engine to somebody without a link: never sent.
            Some(DatagramEvent::Response(_)) => {
                self.counters.foreign += 1;
                None
            }
            None => {
                if admission.is_some() {
                    self.counters.unauthentic += 1;
                } else if repeated {
                    self.counters.replayed += 1;
                } else {
                    self.counters.no_link += 1;
                }
                None
            }
        }
    }

    /// Judges a datagram before the engine sees it.
    fn admit(&mut self, data: &[u8], now: Instant, unix: Duration) -> Verdict {
        if !header::is_long(data) {
            return Verdict::Engine;
        }
        let Some(LongHeader { initial, .. }) = all_ours(data) else {
            self.counters.foreign += 1;
            return Verdict::Drop;
        };
        let Some((cid, token)) = initial else { return Verdict::Engine };
        // Further Initial packets of a handshake carry the id that the listener chose.
        let Ok(cid) = <FirstCid>::try_from(cid) else { return Verdict::Engine };
        match self.gate.judge(&cid, token, unix) {
            Ok((channel, keys)) => Verdict::First(Admission { channel, keys }),
            Err(Refusal::Replayed) => Verdict::Repeated,
            Err(refusal) => {
                self.count(refusal);
                if refusal == Refusal::NoChannel {
                    self.clock_check.on_unknown(&self.gate, (&cid, token), now, unix);
                }
                Verdict::Drop
            }
        }
    }

    const fn count(&mut self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::NoChannel => &mut self.counters.no_channel,
            Refusal::BadToken => &mut self.counters.bad_token,
            Refusal::NotForUs => &mut self.counters.not_for_us,
            Refusal::Replayed => &mut self.counters.replayed,
            Refusal::NoRoom => &mut self.counters.no_room,
        };
        *counter += 1;
    }

    fn accept(
        &mut self,
        incoming: Incoming,
        now: Instant,
        unix: Duration,
        admission: Option<Admission>,
    ) -> Option<Routed> {
        let cid = FirstCid::try_from(&incoming.orig_dst_cid()[..]);
        let (Some(Admission { channel, keys }), Ok(cid)) = (admission, cid) else {
            self.engine.ignore(incoming);
            return None;
        };
        let full = self.engine.open_connections() >= LINKS_MAX - LINKS_FOR_DIALS
            || self.half_open.len() >= HALF_OPEN_LINKS_MAX;
        if full {
            self.counters.no_room += 1;
            self.engine.ignore(incoming);
            return None;
        }
        let mix = MixCell::default();
        let mut config = server_config(session::server_config(Listening {
            identity: Arc::clone(&self.identity),
            initial: keys.initial,
            psk: keys.psk,
            suites: self.config.suites.clone(),
            rng: Once::new(self.rng.fork()),
            mix: mix.clone(),
        }));
        config.transport_config(Arc::clone(&self.listener));
        self.answer.clear();
        let accepted = self.engine.accept(incoming, now, &mut self.answer, Some(Arc::new(config)));
        // The error may hold an answer: it is dropped with it.
        let Ok((handle, connection)) = accepted else {
            self.counters.unauthentic += 1;
            return None;
        };
        self.gate.remember(cid, unix);
        let id = LinkId(handle.0);
        self.half_open.insert(id);
        let segments = self.config.max_datagrams_gso;
        let link = Link::new(id, channel, Role::Listener, connection, mix, segments, now);
        Some(Routed::Incoming(Box::new(link)))
    }

    /// Takes what a link has for the endpoint; may have an answer for it.
    #[must_use]
    pub fn handle_link_event(&mut self, id: LinkId, event: EndpointEvent) -> Option<LinkInput> {
        match event {
            EndpointEvent::Established => {
                self.half_open.remove(&id);
                None
            }
            EndpointEvent::Engine(event) => {
                if event.is_drained() {
                    self.half_open.remove(&id);
                }
                self.engine.handle_event(ConnectionHandle(id.0), event).map(LinkInput)
            }
        }
    }

    /// Forgets a link whose [`Link`] was lost before it was drained. Its peer finds out by itself.
    pub fn abandon(&mut self, id: LinkId) {
        self.half_open.remove(&id);
        let drained = quinn_proto::EndpointEvent::drained();
        let _ = self.engine.handle_event(ConnectionHandle(id.0), drained);
    }
}

/// Reads the first header of a datagram; `None` unless all packets in it with a long header are of
/// our version, and none is a Retry. The engine takes these unauthenticated, also behind a genuine
/// packet, and ends an unfinished handshake.
fn all_ours(data: &[u8]) -> Option<LongHeader<'_>> {
    let ours = |data| header::read(data).filter(|it| it.version == VERSION && !it.is_retry);
    let first = ours(data)?;
    let mut rest = first.rest()?;
    while header::is_long(rest) {
        rest = ours(rest)?.rest()?;
    }
    Some(first)
}

/// What is done with a datagram.
#[derive(Debug)]
enum Verdict {
    Drop,
    /// The engine may find a link for it.
    Engine,
    /// A first packet once more: the engine may find the link that its first copy began, and has
    /// no keys for one whose link is gone.
    Repeated,
    /// It may begin a link.
    First(Admission),
}

/// What the gate let in.
#[derive(Debug)]
struct Admission {
    channel: ChannelId,
    keys: GateKeys,
}

/// The key of the first packet that is being handled, for the engine, which asks by trait object.
#[derive(Clone, Default)]
struct Admitted(Arc<Mutex<Option<Secret<32>>>>);

impl Admitted {
    fn set(&self, admission: Option<&Admission>) {
        let mut cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *cell = admission.map(|admission| admission.keys.initial.clone());
    }
}

impl engine::ServerConfig for Admitted {
    /// Says "unsupported" for all that the gate did not let in, which is a silent drop.
    fn initial_keys(
        &self,
        _version: u32,
        cid: &ConnectionId,
    ) -> Result<engine::Keys, engine::UnsupportedVersion> {
        let cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let initial = cell.as_ref().ok_or(engine::UnsupportedVersion)?;
        Ok(keys::initial_keys(initial, cid, quinn_proto::Side::Server))
    }

    /// Never sent: nothing is retried.
    fn retry_tag(&self, _version: u32, _cid: &ConnectionId, _packet: &[u8]) -> [u8; 16] {
        [0; 16]
    }

    fn start_session(
        self: Arc<Self>,
        _version: u32,
        _params: &quinn_proto::transport_parameters::TransportParameters,
    ) -> Box<dyn engine::Session> {
        unreachable!("a link is always accepted with its channel's configuration")
    }
}

/// The token of one dial.
struct FirstToken(Bytes);

impl TokenStore for FirstToken {
    fn insert(&self, _: &str, _: Bytes) {}

    fn take(&self, _: &str) -> Option<Bytes> {
        Some(self.0.clone())
    }
}

/// Opens no token: ours are opened at the gate, and there are no others.
struct NoTokens;

impl HandshakeTokenKey for NoTokens {
    fn aead_from_hkdf(&self, _: &[u8]) -> Box<dyn AeadKey> {
        Box::new(Self)
    }
}

impl AeadKey for NoTokens {
    fn seal(&self, _: &mut Vec<u8>, _: &[u8]) -> Result<(), CryptoError> {
        Err(CryptoError)
    }

    fn open<'a>(&self, _: &'a mut [u8], _: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        Err(CryptoError)
    }
}

/// Derives the reset tokens that QUIC wants in its parameters; no reset is ever sent.
struct ResetKey(Secret<32>);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        let mac = hash::mac::<32>(self.0.expose(), "bitchat v1 reset token", &[data]);
        signature.copy_from_slice(&mac[..signature.len()]);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let code = <&[u8; 32]>::try_from(signature).map_err(|_| CryptoError)?;
        let label = "bitchat v1 reset token";
        hash::verify_mac(code, self.0.expose(), label, &[data]).then_some(()).ok_or(CryptoError)
    }
}

fn engine_config(rng: &mut Rng) -> quinn_proto::EndpointConfig {
    let cid_seed: [u8; 32] = rng.array();
    let mut config = quinn_proto::EndpointConfig::new(Arc::new(ResetKey(rng.secret())));
    config
        .supported_versions(vec![VERSION])
        .cid_generator(move || Box::new(CidGenerator(Rng::from_seed(cid_seed))))
        // The fixed bit is what tells our packets from a tracker's.
        .grease_quic_bit(false);
    config
}

fn server_config(crypto: Arc<dyn engine::ServerConfig>) -> ServerConfig {
    let mut config = ServerConfig::new(crypto, Arc::new(NoTokens));
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    config.validation_token_config(tokens);
    config
}

fn transport_config(config: &EndpointConfig, role: Role) -> TransportConfig {
    let idle = u32::try_from(config.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    // The control stream is the only one in both directions, and the dialler opens it.
    let control_streams = match role {
        Role::Dialler => 0,
        Role::Listener => 1,
    };
    // With the same pause on both sides, both would send at once, each time: the listener's pause
    // begins when the dialler's packet arrives, so it ends when the next one does.
    let keep_alive = match role {
        Role::Dialler => config.keep_alive,
        Role::Listener => config.keep_alive / 3 * 4,
    };
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(config.mtu_upper_bound);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle))))
        .keep_alive_interval(Some(keep_alive))
        .initial_rtt(config.initial_rtt)
        .stream_receive_window(VarInt::from_u32(config.stream_window))
        // Room for the control stream beside a bulk stream that nobody reads.
        .receive_window(VarInt::from_u32(config.stream_window.saturating_mul(4)))
        .max_concurrent_bidi_streams(VarInt::from_u32(control_streams))
        .max_concurrent_uni_streams(VarInt::from_u32(crate::limits::STREAMS_MAX))
        // Nothing uses datagrams yet, so nobody may fill a buffer with them.
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(Some(mtu))
        // The spin bit tells a watcher the round-trip time.
        .allow_spin(false);
    transport
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quic::test_pair::TestPair;
    use crate::quic::{CloseReason, LinkEvent};

    #[test]
    fn a_member_that_takes_a_packet_meant_for_another_is_found_out() {
        let mut pair = TestPair::new(1);
        let wanted = PeerId(*SigningKey::from_seed(Secret::new([9; 32])).public());
        // `b` pretends at its gate to be the one who is wanted; it cannot pretend in the handshake.
        let keys = pair.b.endpoint.gate.keys(&crate::quic::test_pair::channel(1).0).cloned();
        pair.b.endpoint.gate = Gate::new(&wanted, pair.unix());
        pair.b.endpoint.add_channel(crate::quic::test_pair::channel(1).0, keys.unwrap());
        pair.dial(Some(wanted));
        pair.run_until(5, |_| false);
        assert!(pair.a.established.is_none() && pair.b.established.is_none());
        assert!(
            matches!(pair.a.events[..], [LinkEvent::Closed(CloseReason::WrongIdentity)]),
            "{:?}",
            pair.a.events
        );
    }

    #[test]
    fn an_abandoned_link_makes_room_and_its_packets_are_not_answered() {
        let mut pair = TestPair::connected(1);
        let id = pair.b.link.take().unwrap().id();
        assert_eq!(pair.b.endpoint.engine.open_connections(), 1);
        pair.b.endpoint.abandon(id);
        assert_eq!(pair.b.endpoint.engine.open_connections(), 0);
        let before = pair.log.len();
        pair.a.link().send_frame(b"anybody there?").unwrap();
        pair.run_until(5, |_| false);
        assert!(pair.log[before..].iter().all(|(to_b, _)| *to_b));
        assert!(pair.b.endpoint.counters().no_link > 0);
    }
}

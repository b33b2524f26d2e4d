//! One link: a QUIC connection under our session, with a control stream of frames.
//!
//! ```text
//!  connect / first packet      handshake done: Established          close, loss, idle: Closed
//!  ---------------------> [Opening] -------------------> [Established] ----------> [Closed]
//!                             |         refused, lost: Closed                          |
//!                             |------------------------------------------------------->|
//!                             |                              3 PTO later: drained      v
//!                             '--------------------------------------------------> [Drained]
//!                                  no handshake within 20 s: Closed, without a word
//! ```
//!
//! The control stream is the dialler's first bidirectional stream; both sides write frames to it
//! (see `framing`). Other streams are unidirectional and carry bulk data, in pieces never copied.
//!
//! The address is the peer's real one, as a direct UDP path is the only carrier. Further carriers
//! come in below: the connection would then see a stable synthetic address, and `remote` be a
//! property of the path.
//!
//! Spec: `docs/spec/04-link.md`.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionError, Dir, Event, ReadError, ReadableError, StreamEvent, VarInt,
    WriteError,
};

use super::framing::{FrameQueueFull, Reader, Writer};
use super::keys::Suite;
use super::mix::{MixCell, TooLate};
use crate::crypto::Secret;
use crate::id::{ChannelId, PeerId};
use crate::limits::HANDSHAKE_MAX;
use crate::session::Role;

/// Bytes read from the control stream in one piece.
const CONTROL_PIECE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a close reason that are kept of the peer's words.
const REASON_BYTES_MAX: usize = 128;

/// Frames go before bulk data, whose streams have priority 0.
const CONTROL_PRIORITY: i32 = 1;

/// Names a link while it lives; given to another one afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId(pub usize);

/// What the endpoint has for a link.
#[derive(Debug)]
pub struct LinkInput(pub(super) quinn_proto::ConnectionEvent);

/// What a link has for the endpoint; opaque to whoever carries it.
#[derive(Debug)]
pub enum EndpointEvent {
    #[doc(hidden)]
    Engine(quinn_proto::EndpointEvent),
    /// The handshake is done: the link is no longer half-open.
    Established,
}

impl EndpointEvent {
    /// Whether the link is gone for good: its id may be given to another one.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        match self {
            Self::Engine(event) => event.is_drained(),
            Self::Established => false,
        }
    }
}

/// Explicit congestion notification of a datagram (RFC 3168), the two bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ecn(quinn_proto::EcnCodepoint);

impl Ecn {
    /// `None` for the bits of a datagram without it.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        quinn_proto::EcnCodepoint::from_bits(bits).map(Self)
    }

    /// The bits as in the IP header.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0 as u8
    }

    pub(super) const fn inner(self) -> quinn_proto::EcnCodepoint {
        self.0
    }
}

/// Datagrams of one size for one destination, back to back in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// To be set on each datagram.
    pub ecn: Option<Ecn>,
    /// Bytes in the buffer.
    pub size: usize,
    /// Bytes of each datagram but the last; `None`: there is one only.
    pub segment_size: Option<usize>,
    /// Where from, if that matters.
    pub src_ip: Option<IpAddr>,
}

impl Transmit {
    /// One plain datagram that belongs to no link.
    #[must_use]
    pub const fn datagram(destination: SocketAddr, size: usize) -> Self {
        Self { destination, ecn: None, size, segment_size: None, src_ip: None }
    }
}

/// Names a stream of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(quinn_proto::StreamId);

/// The handshake is done.
#[derive(Clone)]
pub struct Established {
    /// Who: its key is proven.
    pub peer: PeerId,
    /// Unique to this link, the same on both sides.
    pub handshake_hash: [u8; 64],
    /// What protects the packets from here on.
    pub suite: Suite,
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, suite, .. } = self;
        f.debug_struct("Established")
            .field("peer", peer)
            .field("suite", suite)
            .finish_non_exhaustive()
    }
}

/// Why a link is closed, for the other program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// The node, or this channel, is left on purpose.
    Leaving,
    /// There is another link with the same peer.
    Duplicate,
    /// The person behind the peer is not admitted.
    Refused,
    /// The peer broke the protocol.
    Violation,
    /// More at once than is held.
    Overloaded,
    /// Nothing was said in time.
    Timeout,
    /// The keys could not be renewed.
    Renewal,
    /// The peer is ourselves.
    SelfDial,
    /// Something failed on this side.
    Failed,
    /// A code that this version does not know.
    Other(u32),
}

impl CloseCode {
    const fn number(self) -> u32 {
        match self {
            Self::Leaving => 0,
            Self::Duplicate => 1,
            Self::Refused => 2,
            Self::Violation => 3,
            Self::Overloaded => 4,
            Self::Timeout => 5,
            Self::Renewal => 6,
            Self::SelfDial => 7,
            Self::Failed => 8,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: VarInt) -> Self {
        match u32::try_from(number.into_inner()).unwrap_or(u32::MAX) {
            0 => Self::Leaving,
            1 => Self::Duplicate,
            2 => Self::Refused,
            3 => Self::Violation,
            4 => Self::Overloaded,
            5 => Self::Timeout,
            6 => Self::Renewal,
            7 => Self::SelfDial,
            8 => Self::Failed,
            other => Self::Other(other),
        }
    }
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// We closed it.
    Local(CloseCode),
    /// The peer closed it.
    Peer {
        /// Why, for the program.
        code: CloseCode,
        /// Why, in the peer's words; not escaped.
        reason: String,
    },
    /// Nothing came for the idle timeout, or the handshake was not done in time.
    TimedOut,
    /// Another identity than the expected one answered, or none that proves its key.
    WrongIdentity,
    /// The peer, or the path, broke QUIC or the handshake.
    Protocol,
}

impl CloseReason {
    /// Whether the peer left on purpose.
    #[must_use]
    pub const fn is_goodbye(&self) -> bool {
        matches!(self, Self::Peer { code: CloseCode::Leaving, .. })
    }

    /// Whether the peer turned out to be ourselves.
    #[must_use]
    pub const fn is_self(&self) -> bool {
        matches!(
            self,
            Self::Local(CloseCode::SelfDial) | Self::Peer { code: CloseCode::SelfDial, .. }
        )
    }
}

/// What a link has to tell.
#[derive(Debug)]
pub enum LinkEvent {
    /// The handshake is done; at most once, before any frame.
    Established(Established),
    /// The body of a frame.
    Frame(Bytes),
    /// The peer opened a stream.
    StreamOpened(StreamId),
    /// There may be data to read; read until there is none.
    StreamReadable(StreamId),
    /// There is room again for a writer that found none.
    StreamWritable(StreamId),
    /// The link has ended; once, and nothing but draining follows.
    Closed(CloseReason),
}

/// A stream that can be neither read nor written any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// All was read: the peer finished it.
    #[error("the stream is finished")]
    Finished,
    /// The peer gave it up.
    #[error("the peer gave the stream up")]
    Reset,
    /// It is not open.
    #[error("no such stream")]
    Closed,
}

/// One link; see the module.
pub struct Link {
    id: LinkId,
    channel: ChannelId,
    role: Role,
    remote: SocketAddr,
    connection: Connection,
    mix: MixCell,
    max_datagrams: usize,
    /// As last told.
    now: Instant,
    control: Option<quinn_proto::StreamId>,
    reader: Reader,
    writer: Writer,
    established: bool,
    tell_established: bool,
    /// When an unfinished handshake is given up.
    handshake_until: Instant,
    given_up: bool,
    tell_given_up: bool,
    close_code: Option<CloseCode>,
    closed: bool,
    events: VecDeque<LinkEvent>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, channel, role, remote, .. } = self;
        f.debug_struct("Link")
            .field("id", id)
            .field("channel", channel)
            .field("role", role)
            .field("remote", remote)
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(
        id: LinkId,
        channel: ChannelId,
        role: Role,
        connection: Connection,
        mix: MixCell,
        max_datagrams: usize,
        now: Instant,
    ) -> Self {
        Self {
            id,
            channel,
            role,
            remote: connection.remote_address(),
            connection,
            mix,
            max_datagrams,
            now,
            control: None,
            reader: Reader::default(),
            writer: Writer::default(),
            established: false,
            tell_established: false,
            handshake_until: now + HANDSHAKE_MAX,
            given_up: false,
            tell_given_up: false,
            close_code: None,
            closed: false,
            events: VecDeque::new(),
        }
    }

    /// The link's name at the endpoint.
    #[must_use]
    pub const fn id(&self) -> LinkId {
        self.id
    }

    /// The channel whose key opened the link.
    #[must_use]
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Who dialled.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Where the peer was when the link began.
    #[must_use]
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Whether the handshake is done and the link has not ended.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.established && !self.closed
    }

    /// Whether everything is over and the value may be dropped.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.given_up || self.connection.is_drained()
    }

    /// The smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// Takes what the endpoint has for this link.
    pub fn handle_input(&mut self, now: Instant, input: LinkInput) {
        self.now = now;
        if !self.given_up {
            self.connection.handle_event(input.0);
        }
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.handshake_deadline().is_some_and(|due| due <= now) {
            self.give_up();
        } else if !self.given_up {
            self.connection.handle_timeout(now);
        }
    }

    /// When [`Link::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        if self.is_drained() {
            return None;
        }
        let deadline = self.handshake_deadline();
        self.connection.poll_timeout().into_iter().chain(deadline).min()
    }

    fn handshake_deadline(&self) -> Option<Instant> {
        (!self.established && !self.is_drained()).then_some(self.handshake_until)
    }

    /// Ends an unfinished handshake at once: a peer that has not proven itself is told nothing, and
    /// a drain of three PTOs would be as long as its acknowledgements have been slow.
    fn give_up(&mut self) {
        self.given_up = true;
        self.tell_given_up = true;
        if !std::mem::replace(&mut self.closed, true) {
            self.events.push_back(LinkEvent::Closed(CloseReason::TimedOut));
        }
    }

    /// Appends datagrams to `buffer`, which must be empty, as many as may leave in one call.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        if self.given_up {
            return None;
        }
        let transmit = self.connection.poll_transmit(now, self.max_datagrams, buffer)?;
        Some(Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.map(Ecn),
            size: transmit.size,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        })
    }

    /// What the endpoint must be told.
    #[must_use]
    pub fn poll_endpoint_event(&mut self) -> Option<EndpointEvent> {
        if std::mem::take(&mut self.tell_established) {
            return Some(EndpointEvent::Established);
        }
        if self.given_up {
            let drained = || EndpointEvent::Engine(quinn_proto::EndpointEvent::drained());
            return std::mem::take(&mut self.tell_given_up).then(drained);
        }
        self.connection.poll_endpoint_events().map(EndpointEvent::Engine)
    }

    /// What the link has to tell.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        while self.events.is_empty() {
            let event = self.connection.poll()?;
            self.on_event(event);
        }
        self.events.pop_front()
    }

    fn on_event(&mut self, event: Event) {
        if self.closed {
            // What came with the end, or behind a frame that ended the link, is of no use.
            return;
        }
        match event {
            Event::Connected => self.on_connected(),
            Event::ConnectionLost { reason } => self.on_lost(&reason),
            Event::Stream(event) => self.on_stream(event),
            Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
        }
    }

    fn on_connected(&mut self) {
        let identity = self.connection.crypto_session().peer_identity();
        let Some(established) = identity.and_then(|any| any.downcast::<Established>().ok()) else {
            return;
        };
        self.established = true;
        self.tell_established = true;
        if self.role == Role::Dialler
            && let Some(id) = self.connection.streams().open(Dir::Bi)
        {
            self.take_control(id);
        }
        self.events.push_back(LinkEvent::Established(*established));
        self.flush_frames();
    }

    fn on_lost(&mut self, reason: &ConnectionError) {
        self.closed = true;
        let reason = match reason {
            ConnectionError::ApplicationClosed(close) => {
                let words = &close.reason[..close.reason.len().min(REASON_BYTES_MAX)];
                CloseReason::Peer {
                    code: CloseCode::from_number(close.error_code),
                    reason: String::from_utf8_lossy(words).into_owned(),
                }
            }
            ConnectionError::TimedOut => CloseReason::TimedOut,
            ConnectionError::LocallyClosed => {
                CloseReason::Local(self.close_code.unwrap_or(CloseCode::Failed))
            }
            ConnectionError::TransportError(error) if super::session::is_wrong_identity(error) => {
                CloseReason::WrongIdentity
            }
            ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::VersionMismatch
            | ConnectionError::Reset
            | ConnectionError::CidsExhausted => CloseReason::Protocol,
        };
        self.events.push_back(LinkEvent::Closed(reason));
    }

    fn on_stream(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir: Dir::Bi } => self.accept_control(),
            StreamEvent::Opened { dir: Dir::Uni } => {
                while let Some(id) = self.connection.streams().accept(Dir::Uni) {
                    self.events.push_back(LinkEvent::StreamOpened(StreamId(id)));
                    self.events.push_back(LinkEvent::StreamReadable(StreamId(id)));
                }
            }
            StreamEvent::Readable { id } if Some(id) == self.control => self.read_frames(),
            StreamEvent::Readable { id } => {
                self.events.push_back(LinkEvent::StreamReadable(StreamId(id)));
            }
            StreamEvent::Writable { id } if Some(id) == self.control => self.flush_frames(),
            StreamEvent::Writable { id } | StreamEvent::Stopped { id, .. } => {
                self.events.push_back(LinkEvent::StreamWritable(StreamId(id)));
            }
            StreamEvent::Finished { .. } | StreamEvent::Available { .. } => {}
        }
    }

    fn accept_control(&mut self) {
        while let Some(id) = self.connection.streams().accept(Dir::Bi) {
            // The transport parameters allow one at a time, and only from the dialler.
            if self.control.is_none() {
                self.take_control(id);
            }
        }
        self.read_frames();
        self.flush_frames();
    }

    fn take_control(&mut self, id: quinn_proto::StreamId) {
        self.control = Some(id);
        // It was opened just now, so it cannot be closed.
        let _ = self.connection.send_stream(id).set_priority(CONTROL_PRIORITY);
    }

    fn read_frames(&mut self) {
        let Some(control) = self.control else { return };
        let mut stream = self.connection.recv_stream(control);
        let Ok(mut chunks) = stream.read(true) else { return };
        let mut frames = VecDeque::new();
        let mut broken = false;
        loop {
            match chunks.next(CONTROL_PIECE_BYTES_MAX) {
                Ok(Some(chunk)) => broken |= self.reader.read(chunk.bytes, &mut frames).is_err(),
                Err(ReadError::Blocked) => break,
                // The control stream lives as long as the link.
                Ok(None) | Err(ReadError::Reset(_)) => {
                    broken = true;
                    break;
                }
            }
            if broken {
                break;
            }
        }
        let _ = chunks.finalize();
        self.events.extend(frames.into_iter().map(LinkEvent::Frame));
        if broken {
            self.close(self.now, CloseCode::Violation, "");
        }
    }

    /// Queues a frame's body; sent as soon as the peer takes it, in order.
    ///
    /// # Errors
    ///
    /// [`FrameQueueFull`] when the peer has taken too little for too long.
    ///
    /// # Panics
    ///
    /// When the body is over [`crate::limits::FRAME_BYTES_MAX`]: a mistake of the caller.
    pub fn send_frame(&mut self, body: &[u8]) -> Result<(), FrameQueueFull> {
        self.writer.queue(body)?;
        self.flush_frames();
        Ok(())
    }

    /// Bytes of frames that the peer has not taken yet.
    #[must_use]
    pub const fn frame_bytes_queued(&self) -> usize {
        self.writer.bytes()
    }

    fn flush_frames(&mut self) {
        let Some(control) = self.control.filter(|_| !self.closed) else { return };
        let mut stream = self.connection.send_stream(control);
        while let Some(front) = self.writer.front() {
            let Ok(written) = stream.write_chunks(std::slice::from_mut(front)) else { return };
            self.writer.written(written.bytes);
        }
    }

    /// Whether a bulk stream is one of ours, which are written, or the peer's, which are read.
    fn is_bulk(&self, id: quinn_proto::StreamId, ours: bool) -> bool {
        id.dir() == Dir::Uni && (id.initiator() == self.connection.side()) == ours
    }

    /// Opens a stream to the peer for bulk data.
    #[must_use]
    pub fn open_stream(&mut self) -> Option<StreamId> {
        self.connection.streams().open(Dir::Uni).map(StreamId)
    }

    /// Writes the front of `data` without copying and shortens it by what was taken, which it says;
    /// zero: wait for [`LinkEvent::StreamWritable`].
    ///
    /// # Errors
    ///
    /// [`StreamError`] when nothing can be written any more.
    pub fn write_stream(
        &mut self,
        StreamId(id): StreamId,
        data: &mut Bytes,
    ) -> Result<usize, StreamError> {
        if !self.is_bulk(id, true) {
            return Err(StreamError::Closed);
        }
        match self.connection.send_stream(id).write_chunks(std::slice::from_mut(data)) {
            Ok(written) => Ok(written.bytes),
            Err(WriteError::Blocked) => Ok(0),
            Err(WriteError::Stopped(_)) => Err(StreamError::Reset),
            Err(WriteError::ClosedStream) => Err(StreamError::Closed),
        }
    }

    /// Says that nothing more will be written.
    pub fn finish_stream(&mut self, StreamId(id): StreamId) {
        if self.is_bulk(id, true) {
            // A stream that the peer stopped, or that is finished already, needs no end.
            let _ = self.connection.send_stream(id).finish();
        }
    }

    /// Reads the next piece of at most `max` bytes, in order, without copying; `None`: wait for
    /// [`LinkEvent::StreamReadable`].
    ///
    /// # Errors
    ///
    /// [`StreamError::Finished`] after the last piece; else why there will be none.
    pub fn read_stream(
        &mut self,
        StreamId(id): StreamId,
        max: usize,
    ) -> Result<Option<Bytes>, StreamError> {
        if !self.is_bulk(id, false) {
            return Err(StreamError::Closed);
        }
        let mut stream = self.connection.recv_stream(id);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => {
                return Err(StreamError::Closed);
            }
        };
        let next = chunks.next(max);
        let _ = chunks.finalize();
        match next {
            Ok(Some(chunk)) => Ok(Some(chunk.bytes)),
            Ok(None) => Err(StreamError::Finished),
            Err(ReadError::Blocked) => Ok(None),
            Err(ReadError::Reset(_)) => Err(StreamError::Reset),
        }
    }

    /// Says that a stream is not wanted any further.
    pub fn stop_stream(&mut self, StreamId(id): StreamId) {
        if self.is_bulk(id, false) {
            // A stream that has ended needs no stopping.
            let _ = self.connection.recv_stream(id).stop(VarInt::from_u32(0));
        }
    }

    /// Ends the link. `reason` is for the peer's person and short; frames not yet taken are lost.
    pub fn close(&mut self, now: Instant, code: CloseCode, reason: &str) {
        if self.connection.is_closed() {
            return;
        }
        let words =
            Bytes::copy_from_slice(&reason.as_bytes()[..reason.len().min(REASON_BYTES_MAX)]);
        self.connection.close(now, VarInt::from_u32(code.number()), words);
        if !std::mem::replace(&mut self.closed, true) {
            // The connection tells nobody that it was closed from here.
            self.events.push_back(LinkEvent::Closed(CloseReason::Local(code)));
        }
        self.close_code = Some(code);
    }

    /// The generation of keys in use for sending, counted from the first ones after the handshake.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.mix.generation()
    }

    /// Mixes `secret` into the keys of a coming generation.
    ///
    /// # Errors
    ///
    /// [`TooLate`] when that generation is derived already.
    pub fn mix(&mut self, generation: u64, secret: Secret<32>) -> Result<(), TooLate> {
        self.mix.schedule(generation, secret)
    }

    /// Moves on to the next generation of keys, unless the last move is not over.
    pub fn force_key_update(&mut self) {
        if self.is_established() {
            self.connection.force_key_update();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FRAME_BYTES_MAX;
    use crate::quic::EndpointConfig;
    use crate::quic::test_pair::TestPair;

    /// Writes to the control stream what no `Writer` would.
    fn write_control(link: &mut Link, bytes: &[u8]) {
        let control = link.control.expect("the dialler has opened it");
        assert_eq!(link.connection.send_stream(control).write(bytes), Ok(bytes.len()));
    }

    fn closed(events: &[LinkEvent]) -> Option<&CloseReason> {
        events.iter().find_map(|event| {
            if let LinkEvent::Closed(reason) = event { Some(reason) } else { None }
        })
    }

    #[test]
    fn a_peer_that_announces_an_oversized_frame_is_cut_off_with_a_reason() {
        let mut pair = TestPair::connected(1);
        let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
        write_control(pair.a.link(), &length.to_be_bytes());
        pair.run_until(2, |_| false);
        assert_eq!(closed(&pair.b.events), Some(&CloseReason::Local(CloseCode::Violation)));
        let reason = CloseReason::Peer { code: CloseCode::Violation, reason: String::new() };
        assert_eq!(closed(&pair.a.events), Some(&reason));
    }

    #[test]
    fn a_member_that_does_not_finish_its_handshake_is_given_up_however_lively_it_is() {
        let mut pair = TestPair::new(1);
        pair.dial(None);
        let (mut now, unix) = (pair.now, pair.unix());
        let end = now + HANDSHAKE_MAX;
        // It reads nothing of what it is answered and repeats itself for as long as it likes.
        pair.a.link().handshake_until = end + HANDSHAKE_MAX;
        let mut last = None;
        while now < end {
            pair.a.drive(now);
            for (_, data) in std::mem::take(&mut pair.a.sent) {
                pair.b.handle(now, unix, pair.a.address, &data);
                last = Some((now, data));
            }
            pair.b.drive(now);
            assert!(!pair.b.link().is_drained());
            now += Duration::from_secs(1);
        }
        let (last_at, last) = last.unwrap();
        assert!(now < last_at + EndpointConfig::default().idle_timeout / 2);
        assert_eq!(pair.b.endpoint.links(), (1, 1));

        pair.b.sent.clear();
        pair.b.drive(now);
        assert_eq!(closed(&pair.b.events), Some(&CloseReason::TimedOut));
        assert!(pair.b.link().is_drained() && pair.b.link().poll_timeout().is_none());
        assert_eq!(pair.b.endpoint.links(), (0, 0));
        pair.b.handle(now, unix, pair.a.address, &last);
        pair.b.drive(now);
        assert!(pair.b.sent.is_empty(), "it is told nothing");
        assert_eq!(pair.b.endpoint.counters().replayed, 1);
    }

    #[test]
    fn a_dial_that_nobody_answers_is_over_before_the_idle_timeout() {
        let mut pair = TestPair::new(1);
        pair.network.lost = 100;
        pair.dial(None);
        pair.run_until(HANDSHAKE_MAX.as_secs(), |_| false);
        assert_eq!(closed(&pair.a.events), Some(&CloseReason::TimedOut));
        assert_eq!(pair.a.endpoint.links(), (0, 0));
    }

    #[test]
    fn nothing_is_told_of_a_link_after_its_end() {
        let mut pair = TestPair::connected(1);
        pair.a.link().send_frame(b"before").unwrap();
        let mut data = Bytes::from_static(b"bulk");
        let stream = pair.a.link().open_stream().unwrap();
        pair.a.link().write_stream(stream, &mut data).unwrap();
        pair.a.drive(pair.now);
        let (now, unix) = (pair.now, pair.unix());
        for (_, data) in std::mem::take(&mut pair.a.sent) {
            pair.b.handle(now, unix, pair.a.address, &data);
        }
        // The input reaches the link, which is then closed before it is asked for its events.
        pair.b.take_inputs(now);
        pair.b.link().close(now, CloseCode::Overloaded, "");
        pair.b.drive(now);
        assert!(pair.b.frames.is_empty());
        assert!(
            matches!(
                pair.b.events[..],
                [LinkEvent::Closed(CloseReason::Local(CloseCode::Overloaded))]
            ),
            "{:?}",
            pair.b.events
        );
    }

    #[test]
    fn a_peer_that_ends_the_control_stream_is_cut_off() {
        let mut pair = TestPair::connected(1);
        write_control(pair.a.link(), &[0, 0, 0, 9, 1]);
        let control = pair.a.link().control.unwrap();
        pair.a.link().connection.send_stream(control).finish().unwrap();
        pair.run_until(2, |_| false);
        assert_eq!(closed(&pair.b.events), Some(&CloseReason::Local(CloseCode::Violation)));
        assert!(pair.b.frames.is_empty());
    }

    #[test]
    fn a_peer_cannot_open_more_streams_than_are_held() {
        let mut pair = TestPair::connected(1);
        let opened = std::iter::from_fn(|| pair.a.link().open_stream()).count();
        assert_eq!(opened, crate::limits::STREAMS_MAX as usize);
        assert_eq!(pair.a.link().connection.streams().open(Dir::Bi), None);
        assert_eq!(pair.b.link().connection.streams().open(Dir::Bi), None);
    }

    #[test]
    fn the_wrong_end_of_a_stream_is_closed_and_not_a_panic() {
        let mut pair = TestPair::connected(1);
        let stream = pair.a.link().open_stream().unwrap();
        assert_eq!(pair.a.link().read_stream(stream, 1), Err(StreamError::Closed));
        let mut data = Bytes::from_static(b"data");
        assert_eq!(pair.b.link().write_stream(stream, &mut data), Err(StreamError::Closed));
        pair.b.link().finish_stream(stream);
        pair.a.link().stop_stream(stream);
        let control = StreamId(pair.a.link().control.unwrap());
        assert_eq!(pair.a.link().write_stream(control, &mut data), Err(StreamError::Closed));
        assert_eq!(pair.a.link().write_stream(stream, &mut data), Ok(4));
    }

    #[test]
    fn a_frame_overtakes_the_bulk_data_that_was_written_before_it() {
        let mut pair = TestPair::connected(1);
        let streams: Vec<StreamId> = (0..8).filter_map(|_| pair.a.link().open_stream()).collect();
        for stream in &streams {
            let mut bulk = Bytes::from(vec![7; 100_000]);
            assert_eq!(pair.a.link().write_stream(*stream, &mut bulk), Ok(100_000));
        }
        pair.a.link().send_frame(&[1; 60_000]).unwrap();
        assert!(pair.run_until(5, |pair| !pair.b.frames.is_empty()));
        let mut arrived = 0;
        for stream in streams {
            while let Ok(Some(piece)) = pair.b.link().read_stream(stream, usize::MAX) {
                arrived += piece.len();
            }
        }
        assert!(arrived < 60_000, "{arrived} bytes went before the frame");
    }
}

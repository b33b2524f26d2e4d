//! Drives one link: its packets, its timer, its streams.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`HandleInputs`] | UDP port | a batch of the link's packets |
//! | [`SendFrames`] | crypto session, mesh manager, chat desk | queues frames on the control stream |
//! | [`MixSecret`], [`UpdateKeys`] | crypto session | renewal of the keys |
//! | [`CloseLink`] | crypto session, peer supervisor | ends the link |
//! | [`OpenStream`], [`WriteStream`], [`SubscribeStreams`] | whoever moves bulk data | streams beside the control stream |
//!
//! Owns: the [`Link`]. Knows no key and no contact: that is [`crate::crypto_session`]'s.
//! Lost on a crash: the link. It is never restarted; the mesh redials.
//! Spec: `docs/spec/04-link.md`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use actix::{
    Actor, ActorContext as _, ActorFuture, ActorFutureExt as _, AsyncContext, Context, Handler,
    Message, MessageResult, Recipient, WrapFuture as _,
};
use bitchat_protocol::crypto::Secret;
use bitchat_protocol::quic::{
    CloseCode, CloseReason, EndpointEvent, Established, Link, LinkEvent, LinkInput, StreamId,
};
use bytes::Bytes;
use tokio::time::Sleep;

use crate::clock;
use crate::crypto_session::{FramesReceived, LinkClosed, SessionEstablished, TransportReady};
use crate::udp_port::{Attach, CarryPackets, HandleLinkEvents, Packet};

/// Messages waiting at most, on top of one per sender: batches of packets and of frames.
pub const MAILBOX: usize = 256;

/// Transmissions handed over in one message.
const PACKETS_AT_ONCE: usize = 16;

/// Room for one transmission: 32 datagrams of 1452 bytes.
const TRANSMIT_BYTES: usize = 32 * 1452;

/// Bytes read from a stream in one piece.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Bytes handed to a stream's taker in one message.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that a writer may have waiting on one stream before [`WriteStream`] answers late.
const STREAM_QUEUE_BYTES: usize = 1024 * 1024;

/// A batch of the link's packets and other input from the endpoint.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct HandleInputs(pub Vec<LinkInput>);

/// Queues encoded frames on the control stream.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SendFrames(pub Vec<Bytes>);

/// Mixes a fresh secret into one coming generation of keys.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MixSecret {
    /// Counted from the first keys after the handshake.
    pub generation: u64,
    /// 32 bytes that both sides have.
    pub secret: Secret<32>,
}

/// Moves on to the next generation of keys.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct UpdateKeys;

/// Ends the link.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct CloseLink {
    /// Why, for the peer's program.
    pub code: CloseCode,
    /// Why, for the peer's person; short.
    pub reason: String,
}

/// Opens a stream to the peer; `None`: not established, or too many are open.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<StreamId>")]
pub struct OpenStream;

/// Writes to a stream; answered once the data has room in the stream's queue.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WriteStream {
    /// One of ours.
    pub stream: StreamId,
    /// In pieces that are never copied.
    pub pieces: Vec<Bytes>,
    /// Whether this is the end.
    pub finish: bool,
    /// Told when the queue has room again.
    pub on_room: Option<Recipient<StreamRoom>>,
}

/// There is room again on a stream.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StreamRoom(pub StreamId);

/// Names who takes what arrives on streams.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeStreams(pub Recipient<StreamData>);

/// Data that arrived on a stream, in order. The next comes when this has been handled, so a slow
/// taker slows the peer down and nothing piles up here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StreamData {
    /// One of the peer's.
    pub stream: StreamId,
    /// In order, not copied.
    pub pieces: Vec<Bytes>,
    /// Whether this is the end.
    pub finished: bool,
}

/// How to use a link's streams.
#[derive(Debug, Clone)]
pub struct Streams {
    /// Opens one.
    pub open: Recipient<OpenStream>,
    /// Writes to one.
    pub write: Recipient<WriteStream>,
    /// Takes what the peer writes.
    pub subscribe: Recipient<SubscribeStreams>,
}

/// Whom a transport talks to; all of them live longer than it.
#[derive(Debug)]
pub struct Offices {
    /// Sends what the link wants sent.
    pub carry: Recipient<CarryPackets>,
    /// The endpoint that routes to the link.
    pub endpoint: Recipient<HandleLinkEvents>,
    /// Told that this transport takes the link's input.
    pub attach: Recipient<Attach>,
    /// Told who is there and what it says.
    pub established: Recipient<SessionEstablished>,
    /// Takes the frames.
    pub frames: Recipient<FramesReceived>,
    /// Told when the link has ended.
    pub closed: Recipient<LinkClosed>,
    /// Told how to reach this transport.
    pub ready: Recipient<TransportReady>,
}

/// The actor.
pub struct PeerTransport {
    link: Box<Link>,
    offices: Offices,
    streams: Option<Recipient<StreamData>>,
    reading: Vec<StreamId>,
    writing: Vec<Writing>,
    deadline: Option<Instant>,
    /// For the next transmission.
    buffer: Vec<u8>,
    rtt_micros: Arc<AtomicU64>,
    closed_reported: bool,
}

struct Writing {
    stream: StreamId,
    queue: VecDeque<Bytes>,
    queued: usize,
    finish: bool,
    on_room: Option<Recipient<StreamRoom>>,
}

impl std::fmt::Debug for PeerTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerTransport").field("link", &self.link.id()).finish_non_exhaustive()
    }
}

impl PeerTransport {
    /// Takes a link over. `rtt_micros` is kept at the link's smoothed round-trip time.
    #[must_use]
    pub fn new(link: Box<Link>, offices: Offices, rtt_micros: Arc<AtomicU64>) -> Self {
        Self {
            link,
            offices,
            streams: None,
            reading: Vec::new(),
            writing: Vec::new(),
            deadline: None,
            buffer: Vec::new(),
            rtt_micros,
            closed_reported: false,
        }
    }

    /// Hands on all that the link has to say, then arms its timer.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        self.drain_events(ctx);
        self.drain_transmits();
        self.drain_endpoint_events();
        self.deadline = self.link.poll_timeout();
        if self.link.is_drained() {
            self.report_closed(CloseReason::TimedOut);
            ctx.stop();
        }
    }

    fn drain_events(&mut self, ctx: &mut Context<Self>) {
        let mut frames = Vec::new();
        while let Some(event) = self.link.poll_event() {
            match event {
                LinkEvent::Established(established) => self.report_established(established),
                LinkEvent::Frame(body) => frames.push(body),
                LinkEvent::StreamReadable(stream) => self.read(stream, ctx),
                LinkEvent::StreamWritable(stream) => self.write(stream),
                LinkEvent::StreamOpened(_) => {}
                LinkEvent::Closed(reason) => {
                    self.forward(&mut frames);
                    self.report_closed(reason);
                }
            }
        }
        self.forward(&mut frames);
    }

    fn forward(&mut self, frames: &mut Vec<Bytes>) {
        if frames.is_empty() {
            return;
        }
        let generation = self.link.generation();
        let batch = FramesReceived { generation, frames: std::mem::take(frames) };
        // What one peer sends is bounded by the link's flow control, which this batch has passed;
        // a session that cannot keep up would lose frames, so the link is given up instead.
        if self.offices.frames.try_send(batch).is_err() {
            self.link.close(clock::now(), CloseCode::Overloaded, "too much at once");
        }
    }

    fn report_established(&mut self, established: Established) {
        self.note_rtt();
        let _ = self
            .offices
            .established
            .try_send(SessionEstablished { established, generation: self.link.generation() });
    }

    fn report_closed(&mut self, reason: CloseReason) {
        if !std::mem::replace(&mut self.closed_reported, true) {
            self.offices.closed.do_send(LinkClosed(reason));
        }
    }

    fn note_rtt(&self) {
        let micros = u64::try_from(self.link.rtt().as_micros()).unwrap_or(u64::MAX);
        self.rtt_micros.store(micros, Ordering::Relaxed);
    }

    fn drain_transmits(&mut self) {
        let now = clock::now();
        let mut packets = Vec::new();
        // A full buffer is handed over; what half of one or less would waste is copied.
        while let Some(transmit) = self.link.poll_transmit(now, &mut self.buffer) {
            let full = self.buffer.len() > self.buffer.capacity() / 2;
            let bytes = if full {
                std::mem::replace(&mut self.buffer, Vec::with_capacity(TRANSMIT_BYTES))
            } else {
                let bytes = self.buffer.clone();
                self.buffer.clear();
                bytes
            };
            packets.push(Packet { transmit, bytes });
            if packets.len() == PACKETS_AT_ONCE {
                self.offices.carry.do_send(CarryPackets(std::mem::take(&mut packets)));
            }
        }
        // Bounded by the link's congestion window, so the mailbox's bound is not needed.
        if !packets.is_empty() {
            self.offices.carry.do_send(CarryPackets(packets));
        }
    }

    fn drain_endpoint_events(&mut self) {
        let mut events: Vec<EndpointEvent> = Vec::new();
        while let Some(event) = self.link.poll_endpoint_event() {
            events.push(event);
        }
        if !events.is_empty() {
            self.offices.endpoint.do_send(HandleLinkEvents { link: self.link.id(), events });
        }
    }

    /// Reads what is there and hands it on, unless the taker still has the last batch.
    fn read(&mut self, stream: StreamId, ctx: &mut Context<Self>) {
        let Some(taker) = self.streams.clone() else { return };
        if self.reading.contains(&stream) {
            return;
        }
        let mut pieces = Vec::new();
        let mut size = 0;
        let finished = loop {
            if size >= BATCH_BYTES_MAX {
                break false;
            }
            match self.link.read_stream(stream, CHUNK_BYTES_MAX) {
                Ok(Some(piece)) => {
                    size += piece.len();
                    pieces.push(piece);
                }
                Ok(None) => break false,
                Err(_end_or_reset) => break true,
            }
        };
        if pieces.is_empty() && !finished {
            return;
        }
        self.reading.push(stream);
        let handled = taker.send(StreamData { stream, pieces, finished });
        ctx.spawn(handled.into_actor(self).map(move |answer, transport, ctx| {
            transport.reading.retain(|reading| *reading != stream);
            if answer.is_ok() && !finished {
                transport.read(stream, ctx);
                transport.pump(ctx);
            }
        }));
    }

    fn write(&mut self, stream: StreamId) {
        let Some(at) = self.writing.iter().position(|writing| writing.stream == stream) else {
            return;
        };
        let writing = &mut self.writing[at];
        while let Some(piece) = writing.queue.front_mut() {
            match self.link.write_stream(stream, piece) {
                Ok(0) => break,
                Ok(written) => writing.queued -= written,
                Err(_stopped) => {
                    writing.queue.clear();
                    writing.queued = 0;
                    break;
                }
            }
            if writing.queue.front().is_some_and(Bytes::is_empty) {
                writing.queue.pop_front();
            }
        }
        if writing.queued < STREAM_QUEUE_BYTES
            && let Some(writer) = writing.on_room.take()
        {
            writer.do_send(StreamRoom(stream));
        }
        if writing.queue.is_empty() && writing.finish {
            self.link.finish_stream(stream);
            self.writing.swap_remove(at);
        }
    }
}

impl Actor for PeerTransport {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let address = ctx.address();
        self.offices.ready.do_send(TransportReady {
            frames: address.clone().recipient(),
            mix: address.clone().recipient(),
            update: address.clone().recipient(),
            close: address.clone().recipient(),
            streams: Streams {
                open: address.clone().recipient(),
                write: address.clone().recipient(),
                subscribe: address.clone().recipient(),
            },
        });
        self.offices.attach.do_send(Attach { link: self.link.id(), inputs: address.recipient() });
        ctx.spawn(Timer { sleep: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)) });
        self.pump(ctx);
    }
}

/// Wakes the actor at its deadline. One timer, moved only to an earlier time: to move it with each
/// packet would cost more than to be woken too early now and then.
struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl ActorFuture<PeerTransport> for Timer {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        transport: &mut PeerTransport,
        ctx: &mut Context<PeerTransport>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        while let Some(deadline) = transport.deadline {
            let due = tokio::time::Instant::from_std(deadline);
            if due < self.sleep.deadline() {
                self.sleep.as_mut().reset(due);
            }
            if self.sleep.as_mut().poll(task).is_pending() {
                break;
            }
            let now = clock::now();
            if now < deadline {
                self.sleep.as_mut().reset(due);
                continue;
            }
            transport.deadline = None;
            transport.link.handle_timeout(now);
            transport.pump(ctx);
        }
        Poll::Pending
    }
}

impl Handler<HandleInputs> for PeerTransport {
    type Result = ();

    fn handle(&mut self, HandleInputs(inputs): HandleInputs, ctx: &mut Self::Context) {
        let now = clock::now();
        for input in inputs {
            self.link.handle_input(now, input);
        }
        self.note_rtt();
        self.pump(ctx);
    }
}

impl Handler<SendFrames> for PeerTransport {
    type Result = ();

    fn handle(&mut self, SendFrames(frames): SendFrames, ctx: &mut Self::Context) {
        for frame in frames {
            if self.link.send_frame(&frame).is_err() {
                // A peer that takes nothing for so long is given up; what it is owed is sent
                // again on the next link.
                self.link.close(clock::now(), CloseCode::Overloaded, "the peer takes too little");
                break;
            }
        }
        self.pump(ctx);
    }
}

impl Handler<MixSecret> for PeerTransport {
    type Result = ();

    fn handle(&mut self, MixSecret { generation, secret }: MixSecret, ctx: &mut Self::Context) {
        if self.link.mix(generation, secret).is_err() {
            // The two sides would part ways at that generation anyway: say so at once.
            self.link.close(clock::now(), CloseCode::Renewal, "a renewal came too late");
        }
        self.pump(ctx);
    }
}

impl Handler<UpdateKeys> for PeerTransport {
    type Result = ();

    fn handle(&mut self, _: UpdateKeys, ctx: &mut Self::Context) {
        self.link.force_key_update();
        self.pump(ctx);
    }
}

impl Handler<CloseLink> for PeerTransport {
    type Result = ();

    fn handle(&mut self, CloseLink { code, reason }: CloseLink, ctx: &mut Self::Context) {
        self.link.close(clock::now(), code, &reason);
        self.pump(ctx);
    }
}

impl Handler<OpenStream> for PeerTransport {
    type Result = MessageResult<OpenStream>;

    fn handle(&mut self, _: OpenStream, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.link.open_stream())
    }
}

impl Handler<WriteStream> for PeerTransport {
    type Result = ();

    fn handle(&mut self, message: WriteStream, ctx: &mut Self::Context) {
        let WriteStream { stream, pieces, finish, on_room } = message;
        let queued = pieces.iter().map(Bytes::len).sum::<usize>();
        match self.writing.iter_mut().find(|writing| writing.stream == stream) {
            Some(writing) => {
                writing.queue.extend(pieces);
                writing.queued += queued;
                writing.finish |= finish;
                writing.on_room = on_room;
            }
            None => {
                let queue = pieces.into();
                self.writing.push(Writing { stream, queue, queued, finish, on_room });
            }
        }
        self.write(stream);
        self.pump(ctx);
    }
}

impl Handler<SubscribeStreams> for PeerTransport {
    type Result = ();

    fn handle(&mut self, SubscribeStreams(taker): SubscribeStreams, _: &mut Self::Context) {
        self.streams = Some(taker);
    }
}

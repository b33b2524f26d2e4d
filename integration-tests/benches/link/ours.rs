//! Our side: UDP port, peer supervisor and the pair of a link, as in a node, actors included.
//! Only the offices above the link are doubles.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler, MessageResult,
    WrapFuture as _,
};
use actix_rt::System;
use bitchat_actors::channel_book::{JudgePeer, NoteTurndown, TakeMove};
use bitchat_actors::contact_book::{self, AdmitPeer};
use bitchat_actors::directory::Directory;
use bitchat_actors::peer_supervisor::{
    self, ChatNews, Dial, LinkNews, PeerSupervisor, SetOwnChannels, SubscribeChat, SubscribeMesh,
};
use bitchat_actors::peer_transport::{
    OpenStream, StreamData, StreamRoom, Streams, SubscribeStreams, WriteStream,
};
use bitchat_actors::udp_port::{self, AddChannel, FindLocalPort, UdpPort};
use bitchat_protocol::channel::{ChannelKeys, ChannelSecret};
use bitchat_protocol::contact::Admission;
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::crypto::sign::SigningKey;
use bitchat_protocol::id::{MessageId, PeerId};
use bitchat_protocol::quic::{EndpointConfig, StreamId, SuitePreference};
use bitchat_protocol::session::OwnChannel;
use bitchat_protocol::wire::{self, Frame, Whisper};
use bytes::Bytes;

use crate::cpu::{Cost, Meter};
use crate::{CHUNK, Cipher, STREAM_WINDOW};

/// Everything of a node that a link needs.
pub(crate) struct Node {
    pub(crate) peer: PeerId,
    pub(crate) keys: ChannelKeys,
    pub(crate) udp: Addr<UdpPort>,
    pub(crate) peers: Addr<PeerSupervisor>,
    pub(crate) directory: Directory,
}

/// Admits everybody, as a contact book does with strangers.
struct Doorkeeper;

impl Actor for Doorkeeper {
    type Context = Context<Self>;
}

impl Handler<AdmitPeer> for Doorkeeper {
    type Result = MessageResult<AdmitPeer>;

    fn handle(&mut self, question: AdmitPeer, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Admission::Accept { name: question.name.into() })
    }
}

impl Handler<contact_book::Subscribe> for Doorkeeper {
    type Result = ();

    fn handle(&mut self, _: contact_book::Subscribe, _: &mut Context<Self>) {}
}

impl Handler<JudgePeer> for Doorkeeper {
    type Result = MessageResult<JudgePeer>;

    fn handle(&mut self, _: JudgePeer, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Ok(None))
    }
}

impl Handler<TakeMove> for Doorkeeper {
    type Result = ();

    fn handle(&mut self, _: TakeMove, _: &mut Context<Self>) {}
}

impl Handler<NoteTurndown> for Doorkeeper {
    type Result = ();

    fn handle(&mut self, _: NoteTurndown, _: &mut Context<Self>) {}
}

fn endpoint(cipher: Cipher) -> EndpointConfig {
    EndpointConfig {
        suites: match cipher {
            Cipher::Aes256Gcm => SuitePreference::aes_first(),
            Cipher::ChaCha20Poly1305 => SuitePreference::chacha_only(),
        },
        stream_window: STREAM_WINDOW,
        ..EndpointConfig::default()
    }
}

impl Node {
    /// Starts the actors on this thread's arbiter.
    pub(crate) async fn start(seed: u8, cipher: Cipher) -> Self {
        let key = SigningKey::from_seed(Rng::from_seed([seed; 32]).secret());
        let peer = PeerId(*key.public());
        let keys = ChannelKeys::member(ChannelSecret::generate(&mut Rng::from_seed([42; 32])));
        let config = udp_port::Config {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            reserved: None,
            buffer_bytes: 2 * 1024 * 1024,
            endpoint: endpoint(cipher),
        };
        let udp = UdpPort::bind(config, &key).expect("loopback").start();
        let gate = keys.gate().clone();
        udp.send(AddChannel { id: keys.id(), gate }).await.expect("the port lives");
        let directory = Directory::default();
        let doorkeeper = Doorkeeper.start();
        let offices = peer_supervisor::Offices {
            connect: udp.clone().recipient(),
            attach: udp.clone().recipient(),
            abandon: udp.clone().recipient(),
            endpoint: udp.clone().recipient(),
            carry: udp.clone().recipient(),
            observed: udp.clone().recipient(),
            incoming: udp.clone().recipient(),
            admit: doorkeeper.clone().recipient(),
            contacts: doorkeeper.clone().recipient(),
            judge: doorkeeper.clone().recipient(),
            turned_down: doorkeeper.clone().recipient(),
            moves: doorkeeper.recipient(),
        };
        let config = peer_supervisor::Config {
            own_peer: peer,
            own_name: Arc::from("bench"),
            incarnation: [seed; 8],
            renewal_interval: Duration::from_secs(3600),
        };
        let peers = PeerSupervisor::new(config, offices, directory.clone()).start();
        let own = OwnChannel::from(&keys);
        peers.send(SetOwnChannels(Arc::new(vec![own]))).await.expect("alive");
        Self { peer, keys, udp, peers, directory }
    }

    pub(crate) async fn address(&self) -> SocketAddr {
        let port = self.udp.send(FindLocalPort).await.expect("the port lives");
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    pub(crate) fn dial(&self, address: SocketAddr) {
        let channel = self.keys.id();
        self.peers.do_send(Dial { attempt: 1, channel, address, expect: None });
    }
}

/// Runs `work` in a node's system on a thread of its own.
pub(crate) fn on_thread<T: Send + 'static, F: Future<Output = T> + 'static>(
    work: impl FnOnce() -> F + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || System::new().block_on(work()))
}

/// Told once when a link stands.
struct Doorbell(Option<tokio::sync::oneshot::Sender<PeerId>>);

impl Actor for Doorbell {
    type Context = Context<Self>;
}

impl Handler<LinkNews> for Doorbell {
    type Result = ();

    fn handle(&mut self, news: LinkNews, _: &mut Context<Self>) {
        if let LinkNews::Up { peer, .. } = news
            && let Some(bell) = self.0.take()
        {
            let _ = bell.send(peer);
        }
    }
}

async fn linked(node: &Node) -> PeerId {
    let (bell, rung) = tokio::sync::oneshot::channel();
    let doorbell = Doorbell(Some(bell)).start();
    node.peers.do_send(SubscribeMesh(doorbell.clone().recipient()));
    let peer = tokio::time::timeout(Duration::from_secs(10), rung).await;
    let peer = peer.expect("linked in time").expect("the bell lives");
    drop(doorbell);
    peer
}

/// Takes a stream in and says when it has all.
struct Sink {
    received: u64,
    wanted: u64,
    done: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Actor for Sink {
    type Context = Context<Self>;
}

impl Handler<StreamData> for Sink {
    type Result = ();

    fn handle(&mut self, data: StreamData, _: &mut Context<Self>) {
        self.received += data.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        if self.received >= self.wanted
            && let Some(done) = self.done.take()
        {
            let _ = done.send(());
        }
    }
}

/// Writes a stream as fast as it is taken.
struct Source {
    streams: Streams,
    chunk: Bytes,
    left: u64,
}

/// Pieces handed over in one message.
const PIECES: u64 = 8;

impl Source {
    fn write(&mut self, stream: StreamId, ctx: &mut Context<Self>) {
        let mut pieces = Vec::new();
        while self.left > 0 && (pieces.len() as u64) < PIECES {
            let size = self.left.min(CHUNK as u64);
            pieces.push(self.chunk.slice(..size as usize));
            self.left -= size;
        }
        if !pieces.is_empty() {
            let finish = self.left == 0;
            let on_room = Some(ctx.address().recipient());
            self.streams.write.do_send(WriteStream { stream, pieces, finish, on_room });
        }
    }
}

impl Actor for Source {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let open = self.streams.open.send(OpenStream);
        ctx.spawn(open.into_actor(self).map(|stream, source, ctx| {
            let stream = stream.expect("the transport lives").expect("a stream");
            source.write(stream, ctx);
        }));
    }
}

impl Handler<StreamRoom> for Source {
    type Result = ();

    fn handle(&mut self, StreamRoom(stream): StreamRoom, ctx: &mut Context<Self>) {
        self.write(stream, ctx);
    }
}

/// Sends `bytes` over one stream between two nodes' transports and measures until the receiver's
/// application has all.
pub(crate) fn bulk(cipher: Cipher, bytes: u64) -> Cost {
    let (address_out, address_in) = mpsc::channel();
    let (ready_out, ready_in) = tokio::sync::oneshot::channel();
    let (all_out, all_in) = tokio::sync::oneshot::channel();
    let (end_out, end_in) = tokio::sync::oneshot::channel::<()>();
    let receiver = on_thread(move || async move {
        let node = Node::start(1, cipher).await;
        address_out.send(node.address().await).expect("main waits");
        let peer = linked(&node).await;
        let (done, received) = tokio::sync::oneshot::channel();
        let sink = Sink { received: 0, wanted: bytes, done: Some(done) }.start();
        let streams = node.directory.streams(&peer).expect("linked");
        streams.subscribe.send(SubscribeStreams(sink.recipient())).await.expect("alive");
        ready_out.send(()).expect("the sender waits");
        received.await.expect("the sink lives");
        all_out.send(()).expect("the sender waits");
        let _ = end_in.await;
    });
    let address = address_in.recv().expect("the receiver starts");
    let sender = on_thread(move || async move {
        let node = Node::start(2, cipher).await;
        node.dial(address);
        let peer = linked(&node).await;
        ready_in.await.expect("the receiver lives");
        let streams = node.directory.streams(&peer).expect("linked");
        let meter = Meter::start();
        Source { streams, chunk: Bytes::from(vec![0x5a; CHUNK]), left: bytes }.start();
        all_in.await.expect("the receiver lives");
        let cost = meter.stop();
        let _ = end_out.send(());
        cost
    });
    let cost = sender.join().expect("the sender ends");
    receiver.join().expect("the receiver ends");
    cost
}

/// Answers each message with the same text, or measures the answers.
struct Talker {
    directory: Directory,
    peer: Option<PeerId>,
    text: String,
    echo: bool,
    began: Instant,
    times: Vec<f64>,
    count: usize,
    done: Option<tokio::sync::oneshot::Sender<Vec<f64>>>,
}

impl Talker {
    fn say(&mut self, to: PeerId) {
        self.began = Instant::now();
        let frame =
            Frame::Whisper(Whisper { id: MessageId([7; 16]), unix_ms: 0, text: self.text.clone() });
        self.directory.send(&to, vec![Bytes::from(wire::encode(&frame))]).expect("linked");
    }
}

impl Actor for Talker {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        if let Some(peer) = self.peer {
            self.say(peer);
        }
    }
}

impl Handler<ChatNews> for Talker {
    type Result = ();

    fn handle(&mut self, news: ChatNews, _: &mut Context<Self>) {
        let ChatNews::Frames { from, .. } = news else { return };
        if !self.echo {
            self.times.push(self.began.elapsed().as_secs_f64() * 1e6);
            if self.times.len() == self.count {
                if let Some(done) = self.done.take() {
                    let _ = done.send(self.times.split_off(self.count / 11));
                }
                return;
            }
        }
        self.say(from);
    }
}

fn talker(node: &Node, peer: Option<PeerId>, size: usize, count: usize) -> Talker {
    Talker {
        directory: node.directory.clone(),
        peer,
        text: "x".repeat(size),
        echo: peer.is_none(),
        began: Instant::now(),
        times: Vec::new(),
        count: count + count / 10,
        done: None,
    }
}

/// Round trips of a message of `size` bytes, application to application; microseconds each.
pub(crate) fn ping(cipher: Cipher, size: usize, count: usize) -> Vec<f64> {
    let (address_out, address_in) = mpsc::channel();
    let (end_out, end_in) = tokio::sync::oneshot::channel::<()>();
    let echo = on_thread(move || async move {
        let node = Node::start(1, cipher).await;
        let talker = talker(&node, None, size, count).start();
        node.peers.send(SubscribeChat(talker.recipient())).await.expect("alive");
        address_out.send(node.address().await).expect("main waits");
        let _ = end_in.await;
    });
    let address = address_in.recv().expect("the echo starts");
    let caller = on_thread(move || async move {
        let node = Node::start(2, cipher).await;
        node.dial(address);
        let peer = linked(&node).await;
        let (done, finished) = tokio::sync::oneshot::channel();
        let mut talker = talker(&node, Some(peer), size, count);
        talker.done = Some(done);
        let talker = talker.start();
        node.peers.send(SubscribeChat(talker.recipient())).await.expect("alive");
        let times = finished.await.expect("the talker lives");
        let _ = end_out.send(());
        times
    });
    let times = caller.join().expect("the caller ends");
    echo.join().expect("the echo ends");
    times
}

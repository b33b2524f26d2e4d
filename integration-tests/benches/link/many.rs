//! Many links: handshakes, idle memory and CPU, whole meshes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler};
use bitchat_actors::mesh_manager::Completeness;
use bitchat_actors::peer_supervisor::{Dial, EndLink, LinkKey, LinkNews, SubscribeMesh};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::PeerId;
use bitchat_protocol::machine::Machine as _;
use bitchat_protocol::mesh::{self, DialFailure, DownReason, Event, Input, Mesh, Output};
use bitchat_protocol::quic::CloseCode;
use bitchat_protocol::wire::{self, Frame};
use bytes::Bytes;

use crate::Cipher;
use crate::cpu::{Meter, resident_kib};
use crate::ours::{Node, on_thread};

const CIPHER: Cipher = Cipher::Aes256Gcm;
const HANDSHAKES: u64 = 500;
const IDLE_LINKS: u64 = 500;
const IDLE_TIME: Duration = Duration::from_secs(30);
const BUSY_NODE_LINKS: u64 = 50;

/// Counts links that stand and tells when the wanted number is there.
struct Counter {
    up: u64,
    wanted: u64,
    last: Option<LinkKey>,
    done: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<LinkNews> for Counter {
    type Result = ();

    fn handle(&mut self, news: LinkNews, _: &mut Context<Self>) {
        if let LinkNews::Up { link, .. } = news {
            self.up += 1;
            self.last = Some(link);
            if self.up == self.wanted
                && let Some(done) = self.done.take()
            {
                let _ = done.send(());
            }
        }
    }
}

async fn wait_for_links(node: &Node, wanted: u64, begin: impl FnOnce()) {
    let (done, finished) = tokio::sync::oneshot::channel();
    let counter = Counter { up: 0, wanted, last: None, done: Some(done) }.start();
    node.peers.do_send(SubscribeMesh(counter.clone().recipient()));
    begin();
    let waited = tokio::time::timeout(Duration::from_secs(120), finished).await;
    waited.expect("all links stand in time").expect("the counter lives");
}

/// Links from one node to another, one after the other and both on this one thread: the whole
/// price of a handshake with its actors, from the dial to the admitted peer at both ends.
pub(crate) fn handshakes() {
    let (count, wall, cpu) = on_thread(|| async {
        let (a, b) = (Node::start(1, CIPHER).await, Node::start(2, CIPHER).await);
        let address = b.address().await;
        let meter = Meter::start();
        for attempt in 0..HANDSHAKES {
            wait_for_one(&a, address, attempt).await;
        }
        let cost = meter.stop();
        (HANDSHAKES, cost.wall, cost.cpu)
    })
    .join()
    .expect("the node's thread ends");
    println!("\n{count} links opened one after the other and closed, both ends on one core\n");
    println!("| handshakes/s | CPU us each, both ends |");
    println!("|---|---|");
    println!(
        "| {:.0} | {:.0} |",
        count as f64 / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / count as f64,
    );
}

/// Tells when one more link stands, then ends it.
struct Once(Option<tokio::sync::oneshot::Sender<LinkKey>>, u64);

impl Actor for Once {
    type Context = Context<Self>;
}

impl Handler<LinkNews> for Once {
    type Result = ();

    fn handle(&mut self, news: LinkNews, _: &mut Context<Self>) {
        if let LinkNews::Up { link, attempt: Some(attempt), .. } = news
            && attempt == self.1
            && let Some(bell) = self.0.take()
        {
            let _ = bell.send(link);
        }
    }
}

async fn wait_for_one(node: &Node, address: SocketAddr, attempt: u64) {
    let (bell, rung) = tokio::sync::oneshot::channel();
    let once = Once(Some(bell), attempt).start();
    node.peers.do_send(SubscribeMesh(once.clone().recipient()));
    let channel = node.keys.id();
    node.peers.do_send(Dial { attempt, channel, address, expect: None });
    let link = tokio::time::timeout(Duration::from_secs(10), rung).await;
    let link = link.expect("linked in time").expect("the bell lives");
    node.peers.do_send(EndLink { link, code: CloseCode::Leaving });
}

/// Resident memory with many idle links, and the CPU of a node with fifty of them.
pub(crate) fn idle() {
    let (per_link, busy) = on_thread(|| async {
        let (a, b) = (Node::start(1, CIPHER).await, Node::start(2, CIPHER).await);
        let address = b.address().await;
        wait_for_one(&a, address, u64::MAX).await;
        let before = resident_kib();
        dial_many(&a, address, IDLE_LINKS).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let per_link = resident_kib().saturating_sub(before) as f64 / IDLE_LINKS as f64;
        let meter = Meter::start();
        tokio::time::sleep(IDLE_TIME).await;
        (per_link, meter.stop().cpu)
    })
    .join()
    .expect("the node's thread ends");
    println!("\n{IDLE_LINKS} idle links, both ends in this process\n");
    println!(
        "| KiB per link, both ends | CPU ms per second, all links, both ends | for {BUSY_NODE_LINKS} links of one node |"
    );
    println!("|---|---|---|");
    let per_second = busy.as_secs_f64() * 1000.0 / IDLE_TIME.as_secs_f64();
    let fifty = per_second / 2.0 * BUSY_NODE_LINKS as f64 / IDLE_LINKS as f64;
    println!("| {per_link:.0} | {per_second:.2} | {fifty:.3} |");
}

async fn dial_many(node: &Node, address: SocketAddr, count: u64) {
    // Fewer at once than may be half-open.
    const AT_ONCE: u64 = 50;
    let channel = node.keys.id();
    let mut begun = 0;
    while begun < count {
        let batch = AT_ONCE.min(count - begun);
        // The subscriber is told of links that stand, too.
        let standing = begun;
        wait_for_links(node, standing + batch, || {
            for attempt in begun..begun + batch {
                node.peers.do_send(Dial { attempt, channel, address, expect: None });
            }
        })
        .await;
        begun += batch;
    }
}

/// The mesh machine over real links, as the mesh manager drives it.
struct Member {
    node: Node,
    mesh: Mesh,
    edges: usize,
    linked: usize,
    full: Option<tokio::sync::oneshot::Sender<Instant>>,
    armed: Option<Instant>,
}

impl Member {
    fn drive(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.mesh.poll_output() {
            match output {
                Output::Dial { attempt, channel, address, expect } => {
                    self.node.peers.do_send(Dial { attempt, channel, address, expect });
                }
                Output::CloseLink { link, .. } => {
                    let code = CloseCode::Duplicate;
                    self.node.peers.do_send(EndLink { link: LinkKey(link), code });
                }
                Output::SendPeers { peer, frame } => {
                    let body = Bytes::from(wire::encode(&Frame::Peers(frame)));
                    let _ = self.node.directory.send(&peer, vec![body]);
                }
                Output::Event(Event::MemberUp { .. }) => self.linked += 1,
                Output::Event(Event::MemberDown { .. }) => self.linked -= 1,
                Output::Event(Event::View { .. }) => {}
            }
        }
        if self.linked == self.edges
            && self.full.is_some()
            && self.mesh.view(&self.node.keys.id()) == Completeness::Full
            && let Some(full) = self.full.take()
        {
            let _ = full.send(Instant::now());
        }
        if let Some(due) = self.mesh.poll_timeout()
            && self.armed.is_none_or(|armed| armed > due)
        {
            self.armed = Some(due);
            let wait = due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            actix::AsyncContext::run_later(ctx, wait, |member: &mut Self, ctx| {
                member.armed = None;
                member.mesh.handle_timeout(Instant::now());
                member.drive(ctx);
            });
        }
    }

    fn input(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.mesh.handle_input(Instant::now(), input);
        self.drive(ctx);
    }
}

impl Actor for Member {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        actix::AsyncContext::address(ctx);
        let own = actix::AsyncContext::address(ctx).recipient();
        self.node.peers.do_send(SubscribeMesh(own));
        self.drive(ctx);
    }
}

impl Handler<LinkNews> for Member {
    type Result = ();

    fn handle(&mut self, news: LinkNews, ctx: &mut Context<Self>) {
        let input = match news {
            LinkNews::Up { link, peer, incarnation, attempt, address, shared } => Input::LinkUp {
                link: link.0,
                peer,
                incarnation,
                attempt,
                address,
                channels: shared,
            },
            LinkNews::SharedChanged { link, shared } => {
                Input::SharedChanged { link: link.0, channels: shared }
            }
            LinkNews::Down { link, .. } => {
                Input::LinkDown { link: link.0, reason: DownReason::Lost }
            }
            LinkNews::DialFailed { attempt, .. } => {
                Input::DialFailed { attempt, why: DialFailure::Failed }
            }
            LinkNews::Peers { from, peers } => Input::PeersReceived { from, frame: peers },
        };
        self.input(input, ctx);
    }
}

/// Nodes that know one address each (a chain) until every edge stands.
pub(crate) fn mesh() {
    println!("\nall nodes on one core of this process; each knows the address of one other\n");
    println!("| nodes | edges | seconds until every edge stands | CPU s, all nodes |");
    println!("|---|---|---|---|");
    for size in [10u8, 25, 50] {
        let (wall, cpu) = on_thread(move || grow(size)).join().expect("the nodes' thread ends");
        let edges = usize::from(size) * (usize::from(size) - 1) / 2;
        println!("| {size} | {edges} | {:.2} | {:.2} |", wall.as_secs_f64(), cpu.as_secs_f64());
    }
}

async fn grow(size: u8) -> (Duration, Duration) {
    let mut nodes = Vec::new();
    for n in 0..size {
        nodes.push(Node::start(n + 1, CIPHER).await);
    }
    let mut addresses = Vec::new();
    for node in &nodes {
        addresses.push(node.address().await);
    }
    let meter = Meter::start();
    let mut full = Vec::new();
    let mut members = Vec::new();
    for (at, node) in nodes.into_iter().enumerate() {
        let own_peer: PeerId = node.peer;
        let config = mesh::Config { own_peer, dials_at_once: 16 };
        let mut mesh = Mesh::new(Instant::now(), config, Rng::from_seed([at as u8; 32]));
        let known = at.checked_sub(1).map(|before| addresses[before]);
        let join =
            Input::JoinChannel { channel: node.keys.id(), last_known: known.into_iter().collect() };
        mesh.handle_input(Instant::now(), join);
        let (bell, rung) = tokio::sync::oneshot::channel();
        full.push(rung);
        let edges = usize::from(size) - 1;
        members
            .push(Member { node, mesh, edges, linked: 0, full: Some(bell), armed: None }.start());
    }
    for rung in full {
        let waited = tokio::time::timeout(Duration::from_secs(120), rung).await;
        waited.expect("the mesh is full in time").expect("the member lives");
    }
    let cost = meter.stop();
    drop(members);
    (cost.wall, cost.cpu)
}

//! A simulated Mainline: machines under virtual time, with delay, loss, dead nodes and liars. For tests
//! and benchmarks; the same seed gives the same run.
//!
//! ```text
//! grow: nodes join one after the other, each knowing some that are there -> let it run -> some die
//! try_look_up: one node announces, another asks -> was it found, after how long, with how many questions
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::crypto::Rng;
use crate::id::{ChannelId, InfoHash};
use crate::machine::Machine;

use super::message::{Answer, Body, Contact, Envelope, Request, decode, encode_answer};
use super::node_id::NodeId;
use super::{Config, Dht, DhtProfile, Event, Input, NodeStatus, Output, Saved, Status};

/// What kind of network it is.
#[derive(Debug, Clone, Copy)]
pub struct NetConfig {
    /// Nodes.
    pub nodes: usize,
    /// Percent of the nodes that lie.
    pub hostile_percent: u64,
    /// Nodes that a new one knows: routers, nodes of an earlier run, peers.
    pub known: usize,
    /// Percent of all datagrams that are lost.
    pub loss_percent: u64,
    /// Shortest and longest time that a datagram takes.
    pub delay: (Duration, Duration),
    /// Decides everything.
    pub seed: u64,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            nodes: 200,
            hostile_percent: 0,
            known: 8,
            loss_percent: 1,
            delay: (Duration::from_millis(10), Duration::from_millis(150)),
            seed: 1,
        }
    }
}

/// How one look-up went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// A true peer was among those found.
    pub found: bool,
    /// Time until the first true peer was found.
    pub first: Option<Duration>,
    /// Time until the look-up ended.
    pub ended: Option<Duration>,
    /// Questions of the look-up, announces not counted.
    pub asked: usize,
    /// Nodes that answered.
    pub answered: usize,
    /// Nodes that took the announce, when there was one.
    pub announced_to: usize,
    /// False peers among those found.
    pub false_peers: usize,
    /// Most bytes that the searching machine held for it.
    pub bytes: usize,
}

/// Asks and answers that travel, and timers.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Occurrence {
    Timer { node: usize },
    Datagram { to: usize, from: SocketAddr, bytes: Vec<u8> },
}

#[derive(Debug)]
struct Member {
    machine: Dht,
    address: SocketAddr,
    alive: bool,
    hostile: bool,
    /// The timer that counts; others are left over.
    timer: Option<Instant>,
    sent: u64,
}

/// The network; see the module's documentation.
#[derive(Debug)]
pub struct Net {
    config: NetConfig,
    rng: Rng,
    now: Instant,
    start: Instant,
    members: Vec<Member>,
    by_address: HashMap<SocketAddr, usize>,
    hostile: Vec<usize>,
    queue: BinaryHeap<Reverse<(Instant, u64, Occurrence)>>,
    order: u64,
    events: Vec<(usize, Instant, Event)>,
    profile: Arc<DhtProfile>,
    searches: u8,
}

impl Net {
    /// Starts without a node at `now`, which is only an origin.
    #[must_use]
    pub fn new(config: NetConfig, now: Instant) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&config.seed.to_be_bytes());
        Self {
            config,
            rng: Rng::from_seed(seed),
            now,
            start: now,
            members: Vec::new(),
            by_address: HashMap::new(),
            hostile: Vec::new(),
            queue: BinaryHeap::new(),
            order: 0,
            events: Vec::new(),
            profile: Arc::new(DhtProfile::libtorrent_2_0_11()),
            searches: 0,
        }
    }

    /// Lets all nodes join, `per_second` of them, and then time pass.
    pub fn grow(&mut self, per_second: u32, settle: Duration) {
        for _ in 0..self.config.nodes {
            self.add_node();
            self.run(Duration::from_secs(1) / per_second);
        }
        self.run(settle);
    }

    /// Adds a node that knows some others; gives back its number.
    pub fn add_node(&mut self) -> usize {
        let node = self.members.len();
        let address = self.draw_address();
        let hostile = self.rng.below(100) < self.config.hostile_percent;
        let mut known = Vec::new();
        for _ in 0..self.config.known.min(node) {
            known.push(self.members[self.rng.below(node as u64) as usize].address);
        }
        let config = Config {
            profile: self.profile.clone(),
            ipv6: false,
            routers: Vec::new(),
            saved: Saved::default(),
            ..Config::default()
        };
        let machine = Dht::new(config, self.now, self.rng.array());
        let (alive, timer, sent) = (true, None, 0);
        self.members.push(Member { machine, address, alive, hostile, timer, sent });
        self.by_address.insert(address, node);
        if hostile {
            self.hostile.push(node);
        }
        self.input(node, Input::AddCandidates(known));
        node
    }

    /// Kills this many percent of the nodes.
    pub fn kill(&mut self, percent: u64) {
        for member in &mut self.members {
            member.alive = self.rng.below(100) >= percent;
        }
    }

    /// One node announces itself, another one looks for it.
    pub fn try_look_up(&mut self) -> Outcome {
        self.searches = self.searches.wrapping_add(1);
        let channel = ChannelId([self.searches; 32]);
        let infohash = InfoHash(self.rng.array());
        let (announcer, searcher) = (self.draw_honest(None), self.draw_honest(None));
        let searcher =
            if searcher == announcer { self.draw_honest(Some(announcer)) } else { searcher };
        self.search(announcer, channel, infohash);
        let outcome = self.search(searcher, channel, infohash);
        for node in [announcer, searcher] {
            self.input(node, Input::Stop { channel, infohash: None });
        }
        Outcome { found: outcome.first.is_some(), ..outcome }
    }

    /// Lets a node announce and look up; true is what another node of ours announced.
    pub fn search(&mut self, node: usize, channel: ChannelId, infohash: InfoHash) -> Outcome {
        let begun = self.now;
        self.events.clear();
        let port = self.members[node].address.port();
        self.input(node, Input::Start { channel, infohash, port, shared_socket: true });
        let mut outcome = Outcome {
            found: false,
            first: None,
            ended: None,
            asked: 0,
            answered: 0,
            announced_to: 0,
            false_peers: 0,
            bytes: 0,
        };
        for _ in 0..600 {
            self.run(Duration::from_millis(100));
            let held = self.status(node).lookup_bytes;
            outcome.bytes = outcome.bytes.max(held);
            for (_, at, event) in std::mem::take(&mut self.events).iter().filter(|it| it.0 == node)
            {
                self.note(&mut outcome, event, *at - begun, self.members[node].address);
            }
            if outcome.ended.is_some() {
                break;
            }
        }
        // The announces are on their way yet.
        self.run(Duration::from_secs(1));
        outcome
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(Reverse((at, _, _))) = self.queue.peek()
            && *at <= until
            && let Some(Reverse((at, _, occurrence))) = self.queue.pop()
        {
            self.now = self.now.max(at);
            match occurrence {
                Occurrence::Timer { node } => self.on_timer(node, at),
                Occurrence::Datagram { to, from, bytes } => self.on_datagram(to, from, bytes),
            }
        }
        self.now = until;
    }

    /// How a node does.
    #[must_use]
    pub fn status(&self, node: usize) -> NodeStatus {
        self.members[node].machine.node_statuses().remove(0)
    }

    /// How a node's channels do.
    #[must_use]
    pub fn channel_statuses(&self, node: usize) -> Vec<Status> {
        self.members[node].machine.statuses()
    }

    /// Datagrams sent so far, by all nodes.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.members.iter().map(|member| member.sent).sum()
    }

    /// Whether this node's id is valid for its address.
    #[must_use]
    pub fn has_secure_id(&self, node: usize) -> bool {
        self.status(node).id.is_secure_for(self.members[node].address.ip())
    }

    /// How many nodes there are, the dead included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Virtual time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn note(&self, outcome: &mut Outcome, event: &Event, after: Duration, own: SocketAddr) {
        match event {
            Event::PeersFound { peers, .. } => {
                let is_true = |peer: &&SocketAddr| self.by_address.contains_key(peer);
                outcome.false_peers += peers.iter().filter(|peer| !is_true(peer)).count();
                if peers.iter().any(|peer| is_true(&peer) && *peer != own) {
                    outcome.first.get_or_insert(after);
                }
            }
            Event::StatusChanged(status) if status.last_announce.is_some() => {
                outcome.ended.get_or_insert(after);
                outcome.asked = status.asked;
                outcome.answered = status.answered;
                outcome.announced_to = status.announced_to;
            }
            Event::StatusChanged(_) | Event::ExternalAddress(_) => {}
        }
    }

    fn draw_honest(&mut self, but: Option<usize>) -> usize {
        loop {
            let node = self.rng.below(self.members.len() as u64) as usize;
            let member = &self.members[node];
            if member.alive && !member.hostile && Some(node) != but {
                return node;
            }
        }
    }

    fn draw_address(&mut self) -> SocketAddr {
        loop {
            let [a, b, c, d, high, low] = self.rng.array();
            let ip = Ipv4Addr::new(a, b, c, d);
            let address = SocketAddr::from((ip, u16::from_be_bytes([high, low])));
            let global = crate::scope::Scope::of(address.ip()) == crate::scope::Scope::Global;
            if global && crate::scope::dialable(address) && !self.by_address.contains_key(&address)
            {
                return address;
            }
        }
    }

    fn input(&mut self, node: usize, input: Input) {
        self.members[node].machine.handle_input(self.now, input);
        self.serve(node);
    }

    fn on_timer(&mut self, node: usize, at: Instant) {
        let member = &mut self.members[node];
        if member.timer != Some(at) || !member.alive {
            return;
        }
        member.timer = None;
        member.machine.handle_timeout(self.now);
        self.serve(node);
    }

    fn on_datagram(&mut self, to: usize, from: SocketAddr, bytes: Vec<u8>) {
        if !self.members[to].alive {
            return;
        }
        if self.members[to].hostile
            && let Some(lie) = self.lie(to, from, &bytes)
        {
            self.send(to, from, lie);
            return;
        }
        self.input(to, Input::Datagram { from, bytes });
    }

    fn serve(&mut self, node: usize) {
        while let Some(output) = self.members[node].machine.poll_output() {
            match output {
                Output::Send { to, bytes } => self.send(node, to, bytes),
                Output::Resolve { .. } => {}
                Output::Event(event) => self.events.push((node, self.now, event)),
            }
        }
        let member = &mut self.members[node];
        let due = member.machine.poll_timeout();
        if let Some(due) = due
            && member.timer.is_none_or(|armed| due < armed)
        {
            member.timer = Some(due);
            self.schedule(due, Occurrence::Timer { node });
        }
    }

    fn send(&mut self, node: usize, to: SocketAddr, bytes: Vec<u8>) {
        self.members[node].sent += 1;
        let lost = self.rng.below(100) < self.config.loss_percent;
        let Some(to) = self.by_address.get(&to).copied().filter(|_| !lost) else { return };
        let (least, most) = self.config.delay;
        let spread = (most - least).as_micros() as u64;
        let delay = least + Duration::from_micros(self.rng.below(spread + 1));
        let from = self.members[node].address;
        self.schedule(self.now + delay, Occurrence::Datagram { to, from, bytes });
    }

    fn schedule(&mut self, at: Instant, occurrence: Occurrence) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order, occurrence)));
    }

    /// What a hostile node answers about a swarm or a place: more of its kind, said to be right next to
    /// it, and peers that are none. One in two says of itself, too, that it is right there.
    fn lie(&mut self, node: usize, from: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        let message = decode(bytes).ok()?;
        let Body::Query(query) = message.body else { return None };
        let Ok(Request::GetPeers { infohash, .. }) = query.request else { return None };
        let nodes: BTreeSet<usize> = (0..8)
            .map(|_| self.hostile[self.rng.below(self.hostile.len() as u64) as usize])
            .collect();
        let nodes = nodes
            .into_iter()
            .map(|it| Contact { id: self.beside(&infohash), address: self.members[it].address })
            .collect();
        let peers = (0..50).map(|_| self.draw_address()).collect();
        let own = self.status(node).id;
        let id = if self.rng.below(2) == 0 { own } else { self.beside(&infohash) };
        let answer = Answer {
            ip: Some(from),
            port: Some(from.port()),
            nodes: Some(nodes),
            token: Some(b"liar".to_vec()),
            peers,
            ..Answer::default()
        };
        let version = self.profile.version.as_deref();
        Some(encode_answer(Envelope { transaction: message.transaction, version, id }, &answer))
    }

    fn beside(&mut self, target: &NodeId) -> NodeId {
        let mut id = *target;
        self.rng.fill(&mut id.0[17..]);
        id
    }
}

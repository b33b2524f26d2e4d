//! A network of meshes in memory: virtual time, delays, lost dials, partitions, all from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::*;
use crate::crypto::Rng;

pub(super) const RED: ChannelId = ChannelId([1; 32]);

/// When a lost link is noticed.
const IDLE: Duration = Duration::from_secs(30);
/// When a dial without answer is given up.
const GIVE_UP: Duration = Duration::from_secs(5);

pub(super) struct Node {
    pub(super) mesh: Mesh,
    pub(super) address: SocketAddr,
    incarnation: [u8; 8],
    alive: bool,
    pub(super) dials: usize,
    pub(super) frames: usize,
    pub(super) events: Vec<Event>,
}

struct Wire {
    dialler: usize,
    listener: usize,
    up: [bool; 2],
    ended: bool,
    last_arrival: [Duration; 2],
}

#[derive(Debug)]
enum Happening {
    Up { node: usize, link: u64, attempt: Option<u64> },
    Down { node: usize, link: u64, reason: DownReason },
    Failed { node: usize, attempt: u64, why: DialFailure },
    Frame { node: usize, link: u64, frame: Peers },
}

pub(super) struct Net {
    pub(super) nodes: Vec<Node>,
    pub(super) seed: u64,
    pub(super) elapsed: Duration,
    /// Dials lost, in per cent.
    pub(super) loss: u64,
    /// What a handshake and a frame cost on the one core that all nodes share; others wait for it.
    pub(super) handshake: Duration,
    pub(super) frame: Duration,
    core_free_at: Duration,
    /// Nodes of different sides cannot reach each other.
    side: Vec<u8>,
    start: Instant,
    queue: BTreeMap<(Duration, u64), Happening>,
    next: u64,
    wires: BTreeMap<u64, Wire>,
    rng: Rng,
}

pub(super) fn peer(index: usize) -> PeerId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
    PeerId(id)
}

pub(super) fn address(index: usize) -> SocketAddr {
    SocketAddr::from((
        [10, 0, u8::try_from(index / 250).unwrap(), u8::try_from(index % 250).unwrap() + 1],
        6881,
    ))
}

impl Net {
    /// `count` nodes in one channel, each knowing its own address alone.
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        #[expect(clippy::disallowed_methods, reason = "any start will do")]
        let start = Instant::now();
        let mut net = Self {
            nodes: Vec::new(),
            seed,
            elapsed: Duration::ZERO,
            loss: 0,
            handshake: Duration::ZERO,
            frame: Duration::ZERO,
            core_free_at: Duration::ZERO,
            side: vec![0; count],
            start,
            queue: BTreeMap::new(),
            next: 0,
            wires: BTreeMap::new(),
            rng: Rng::from_seed(bytes),
        };
        for index in 0..count {
            let node = net.fresh_node(index);
            net.nodes.push(node);
            net.boot(index);
        }
        net
    }

    fn fresh_node(&mut self, index: usize) -> Node {
        Node {
            mesh: Mesh::new(
                self.now(),
                Config { own_peer: peer(index), dials_at_once: crate::limits::DIALS_MAX },
                self.rng.fork(),
            ),
            address: address(index),
            incarnation: self.rng.array(),
            alive: true,
            dials: 0,
            frames: 0,
            events: Vec::new(),
        }
    }

    fn boot(&mut self, index: usize) {
        let own = vec![self.nodes[index].address];
        self.input(index, Input::OwnAddresses(own));
        self.input(index, Input::JoinChannel { channel: RED, last_known: vec![] });
    }

    pub(super) fn now(&self) -> Instant {
        self.start + self.elapsed
    }

    /// Tells a node of addresses, as from a tracker.
    pub(super) fn tell(&mut self, node: usize, addresses: Vec<SocketAddr>) {
        let source = Source::Tracker(0);
        self.input(node, Input::AddressesFound { channel: RED, addresses, source });
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        let now = self.now();
        self.nodes[node].mesh.handle_input(now, input);
        self.perform(node);
    }

    fn perform(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].mesh.poll_output() {
            match output {
                Output::Dial { attempt, address, expect, .. } => {
                    self.nodes[node].dials += 1;
                    self.dial(node, attempt, address, expect);
                }
                Output::CloseLink { link, .. } => self.close(node, link),
                Output::SendPeers { peer, frame } => {
                    self.nodes[node].frames += 1;
                    self.send(node, peer, frame);
                }
                Output::Event(event) => self.nodes[node].events.push(event),
            }
        }
    }

    fn at(&mut self, when: Duration, what: Happening) {
        self.next += 1;
        self.queue.insert((when, self.next), what);
    }

    /// 1 to 100 ms.
    fn delay(&mut self) -> Duration {
        Duration::from_millis(1 + self.rng.below(100))
    }

    /// When the shared core is done with something that takes `time`.
    fn work(&mut self, time: Duration) -> Duration {
        self.core_free_at = self.core_free_at.max(self.elapsed) + time;
        self.core_free_at
    }

    fn dial(&mut self, from: usize, attempt: u64, to: SocketAddr, expect: Option<PeerId>) {
        let listener = self.nodes.iter().position(|node| node.address == to && node.alive);
        let lost = self.rng.below(100) < self.loss;
        let reached = listener.filter(|to| {
            !lost
                && self.side[*to] == self.side[from]
                && expect.is_none_or(|expect| expect == peer(*to))
        });
        let Some(listener) = reached else {
            let why = DialFailure::Failed;
            return self.at(self.elapsed + GIVE_UP, Happening::Failed { node: from, attempt, why });
        };
        if listener == from {
            let why = DialFailure::Ourselves;
            let when = self.elapsed + self.delay();
            return self.at(when, Happening::Failed { node: from, attempt, why });
        }
        self.next += 1;
        let link = self.next;
        let last_arrival = [Duration::ZERO; 2];
        let wire = Wire { dialler: from, listener, up: [false; 2], ended: false, last_arrival };
        self.wires.insert(link, wire);
        let done = self.work(self.handshake);
        let (first, second) = (done + self.delay(), done + self.delay());
        self.at(first, Happening::Up { node: from, link, attempt: Some(attempt) });
        self.at(second, Happening::Up { node: listener, link, attempt: None });
    }

    fn end_of(&self, node: usize, link: u64) -> usize {
        usize::from(self.wires[&link].dialler != node)
    }

    fn other(&self, node: usize, link: u64) -> usize {
        let wire = &self.wires[&link];
        if wire.dialler == node { wire.listener } else { wire.dialler }
    }

    fn close(&mut self, node: usize, link: u64) {
        let other = self.other(node, link);
        let wire = self.wires.get_mut(&link).unwrap();
        wire.ended = true;
        let reason = DownReason::Expected;
        self.at(self.elapsed, Happening::Down { node, link, reason });
        // Never before the other side's own "up".
        let when = self.elapsed + Duration::from_millis(100) + self.delay();
        self.at(when, Happening::Down { node: other, link, reason });
    }

    fn send(&mut self, node: usize, to: PeerId, frame: Peers) {
        let link = self
            .wires
            .iter()
            .filter(|(link, wire)| {
                let end = usize::from(wire.dialler != node);
                let ours = wire.dialler == node || wire.listener == node;
                ours && !wire.ended && wire.up[end] && peer(self.other(node, **link)) == to
            })
            .map(|(link, _)| *link)
            .next_back();
        let Some(link) = link else { return };
        let other = self.other(node, link);
        let end = self.end_of(other, link);
        let arrival = self.work(self.frame) + Duration::from_millis(100) + self.delay();
        let wire = self.wires.get_mut(&link).unwrap();
        let arrival = arrival.max(wire.last_arrival[end]);
        wire.last_arrival[end] = arrival;
        self.at(arrival, Happening::Frame { node: other, link, frame });
    }

    /// Runs until `end`, or until `done`; whether it was.
    pub(super) fn run_until(&mut self, end: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.elapsed + end;
        let mut look_at = self.elapsed;
        for _ in 0..3_000_000 {
            if self.elapsed >= look_at {
                if done(self) {
                    return true;
                }
                look_at = self.elapsed + Duration::from_millis(20);
            }
            let timer = self
                .nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| node.alive)
                .filter_map(|(index, node)| Some((node.mesh.poll_timeout()?, index)))
                .min();
            let timer = timer.map(|(at, index)| (at.saturating_duration_since(self.start), index));
            let event = self.queue.keys().next().map(|(at, _)| *at);
            match (timer, event) {
                (Some((at, index)), event) if event.is_none_or(|event| at < event) => {
                    if at > end {
                        break;
                    }
                    self.elapsed = self.elapsed.max(at);
                    let now = self.now();
                    self.nodes[index].mesh.handle_timeout(now);
                    self.perform(index);
                }
                (_, Some(at)) if at <= end => {
                    self.elapsed = self.elapsed.max(at);
                    if let Some((_, what)) = self.queue.pop_first() {
                        self.happen(what);
                    }
                }
                _ => break,
            }
        }
        self.elapsed = self.elapsed.max(end);
        done(self)
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Up { node, link, attempt } => {
                let end = self.end_of(node, link);
                let other = self.other(node, link);
                let incarnation = self.nodes[other].incarnation;
                let address = self.nodes[other].address;
                let wire = self.wires.get_mut(&link).unwrap();
                let ended = wire.ended && !wire.up[1 - end];
                wire.up[end] = !ended;
                if !self.nodes[node].alive {
                    return;
                }
                match (ended, attempt) {
                    (true, Some(attempt)) => {
                        let why = DialFailure::Failed;
                        self.input(node, Input::DialFailed { attempt, why });
                    }
                    (true, None) => {}
                    (false, _) => {
                        let (peer, channels) = (peer(other), super::members(&[RED]));
                        self.input(
                            node,
                            Input::LinkUp { link, peer, incarnation, attempt, address, channels },
                        );
                    }
                }
            }
            Happening::Down { node, link, reason } => {
                let end = self.end_of(node, link);
                let wire = self.wires.get_mut(&link).unwrap();
                wire.ended = true;
                if std::mem::take(&mut wire.up[end]) && self.nodes[node].alive {
                    self.input(node, Input::LinkDown { link, reason });
                }
            }
            Happening::Failed { node, attempt, why } => {
                self.input(node, Input::DialFailed { attempt, why });
            }
            Happening::Frame { node, link, frame } => {
                let end = self.end_of(node, link);
                let wire = &self.wires[&link];
                if !wire.ended && wire.up[end] && self.nodes[node].alive {
                    let from = peer(self.other(node, link));
                    self.input(node, Input::PeersReceived { from, frame });
                }
            }
        }
    }

    /// Breaks every link of which `broken` holds; both sides notice after a while.
    fn break_links(&mut self, broken: impl Fn(&[u8], usize, usize) -> bool) {
        let links: Vec<_> = self
            .wires
            .iter()
            .filter(|(_, wire)| !wire.ended && broken(&self.side, wire.dialler, wire.listener))
            .map(|(link, wire)| (*link, wire.dialler, wire.listener))
            .collect();
        for (link, dialler, listener) in links {
            self.wires.get_mut(&link).unwrap().ended = true;
            for node in [dialler, listener] {
                let when = self.elapsed + IDLE + self.delay() * 20;
                self.at(when, Happening::Down { node, link, reason: DownReason::Lost });
            }
        }
    }

    /// Ends a node without a word.
    pub(super) fn kill(&mut self, index: usize) {
        self.nodes[index].alive = false;
        self.break_links(|_, dialler, listener| dialler == index || listener == index);
    }

    /// Starts a node again, knowing what its last run had saved.
    pub(super) fn restart(&mut self, index: usize) {
        let last_known = self.nodes[index].mesh.known_addresses(&RED);
        self.nodes[index] = self.fresh_node(index);
        self.boot(index);
        self.input(index, Input::JoinChannel { channel: RED, last_known });
    }

    /// Puts nodes on sides that cannot reach each other.
    pub(super) fn partition(&mut self, side: impl Fn(usize) -> u8) {
        self.side = (0..self.nodes.len()).map(side).collect();
        self.break_links(|side, a, b| side[a] != side[b]);
    }

    /// Each pair of living nodes has exactly one link, up on both sides, and everybody knows it.
    pub(super) fn is_whole(&self) -> bool {
        let living: BTreeSet<_> =
            (0..self.nodes.len()).filter(|at| self.nodes[*at].alive).collect();
        let mut pairs = BTreeMap::new();
        for wire in self.wires.values().filter(|wire| !wire.ended) {
            if wire.up != [true; 2] {
                return false;
            }
            let pair = (wire.dialler.min(wire.listener), wire.dialler.max(wire.listener));
            *pairs.entry(pair).or_insert(0) += 1;
        }
        let edges = living.len() * (living.len() - 1) / 2;
        pairs.len() == edges
            && pairs.values().all(|count| *count == 1)
            && living.iter().all(|at| self.nodes[*at].mesh.view(&RED) == Completeness::Full)
    }

    /// Every member says of every other what is true.
    pub(super) fn everybody_sees_everything(&self) -> bool {
        let living = self.nodes.iter().filter(|node| node.alive);
        let count = living.clone().count();
        living.into_iter().all(|node| {
            let members = node.mesh.members(&RED);
            members.len() == count - 1
                && members.iter().all(|member| {
                    member.mesh == Completeness::Full
                        && member.linked
                        && member.connected_with.len() == count - 2
                })
        })
    }

    #[track_caller]
    pub(super) fn check_whole_within(&mut self, time: Duration) {
        let whole = self.run_until(time, Self::is_whole);
        assert!(whole, "not whole after {time:?}, seed {}", self.seed);
        let seen = self.run_until(Duration::from_secs(5), Self::everybody_sees_everything);
        assert!(seen, "not everybody sees everything, seed {}", self.seed);
    }
}

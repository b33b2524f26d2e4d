//! One node of the DHT: we, over one IP version. Its table, its look-ups, its timers.
//!
//! ```text
//!           somebody to ask            it has ended, somebody answered
//! Alone ---------------------> Joining -------------------------------> Joined
//!   ^                             | it has ended, nobody answered          |
//!   '-- after a pause that grows -+                                        |
//!   '------------------------------- the table is empty -------------------'
//! ```
//!
//! *Joining* is a look-up of our own id, after which whoever was named in it is asked whether it is there.
//! *Joined*, one node is asked that every few seconds, and what it is asked tells us of others.
//!
//! In `search`: look-ups. In `server`: answers to questions.
//!
//! Not here: what is looked up when, names, the other IP version ([`machine`](super::machine)).

mod search;
mod server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::crypto::Rng;
use crate::limits::{DHT_BOOTSTRAP_NODES_MAX, DHT_HEARD_NODES_MAX, DHT_SAVED_NODES_MAX};
use crate::scope::dialable;
use crate::tracker::announcer::Family;

use super::flood_gate::FloodGate;
use super::lookup::Lookup;
use super::message::{Contact, Envelope, Question, Response, Want, encode_query};
use super::node_id::NodeId;
use super::pending::{Pending, Purpose, Sent, Tag, Transaction};
use super::profile::{DhtProfile, QueryMix};
use super::routing_table::{K, RoutingTable};
use super::storage::Storage;
use super::token::Tokens;
use super::votes::{ExternalAddress, Votes};

/// First and longest pause before another attempt to join.
const JOIN_PAUSE_FIRST: Duration = Duration::from_secs(5);
const JOIN_PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// Our own id is looked up again this often while the table is shallow (libtorrent).
const SELF_LOOKUP_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// A table that is less deep is shallow (libtorrent).
const DEPTH_SHALLOW: usize = 4;
/// Nodes of the table from which a look-up starts. Only the nearest are asked, so more of them cost
/// nothing; and where all of the nearest lie, it is they who know of somebody else (libtorrent: 8).
const SEEDS: usize = 4 * K;
/// When nobody has answered for so long, the table may be of a network that is no more.
const SILENCE_LONG: Duration = Duration::from_secs(10 * 60);
/// With fewer nodes to start from, a look-up asks those we were given as well (libtorrent).
const SEEDS_MIN: usize = 3;

/// What a look-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// Our own neighbourhood.
    Join,
    /// Our own neighbourhood, as our id is another now.
    Move,
    /// A swarm: its peers, and to announce there if there is a port.
    Swarm { swarm: u64, announce: Option<AnnouncedPort> },
}

/// Where we are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AnnouncedPort {
    pub(super) port: u16,
    /// It is that of the socket the DHT uses.
    pub(super) shared: bool,
}

/// What a node wants done, or wants known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NodeOutput {
    Ask { to: SocketAddr, bytes: Vec<u8> },
    Answer { to: SocketAddr, bytes: Vec<u8> },
    PeersFound { swarm: u64, peers: Vec<SocketAddr>, told_by: SocketAddr },
    LookupDone { swarm: u64, report: Report },
    External(ExternalAddress),
    Joined,
}

/// How a look-up has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) asked: usize,
    pub(super) answered: usize,
    pub(super) announced: usize,
}

/// A look-up and what it is for.
#[derive(Debug)]
struct Job {
    lookup: Lookup,
    errand: Errand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alone { again: Instant },
    Joining { job: u64 },
    Joined { self_lookup: Instant },
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) family: Family,
    pub(super) id: NodeId,
    pub(super) profile: Arc<DhtProfile>,
    pub(super) rng: Rng,
    pub(super) table: RoutingTable,
    pub(super) tokens: Tokens,
    pub(super) storage: Storage,
    pub(super) gate: FloodGate,
    pub(super) outputs: VecDeque<NodeOutput>,
    pub(super) dropped: u64,
    /// Whether routers are asked over the other IP version.
    pub(super) goes_abroad: bool,
    state: State,
    /// Failures to join in a row.
    failures: u32,
    jobs: BTreeMap<u64, Job>,
    last_job: u64,
    pending: Pending,
    votes: Votes,
    /// Who asked us or was named to us, and may be worth a place in the table.
    heard: VecDeque<Contact>,
    /// Nodes to start from, under the names they had.
    bootstrap: BTreeMap<SocketAddr, Option<NodeId>>,
    /// Nodes to start from that never enter the table: all the world starts from them.
    routers: BTreeSet<SocketAddr>,
    next_refresh: Instant,
    last_answer: Option<Instant>,
}

impl Node {
    pub(super) fn new(
        family: Family,
        id: Option<NodeId>,
        profile: Arc<DhtProfile>,
        now: Instant,
        mut rng: Rng,
    ) -> Self {
        let id = id.unwrap_or_else(|| NodeId::random(&mut rng));
        Self {
            family,
            id,
            table: RoutingTable::new(id),
            tokens: Tokens::new(profile.token_bytes, now, &mut rng),
            storage: Storage::default(),
            gate: FloodGate::default(),
            outputs: VecDeque::new(),
            dropped: 0,
            goes_abroad: true,
            state: State::Alone { again: now },
            failures: 0,
            jobs: BTreeMap::new(),
            last_job: 0,
            pending: Pending::default(),
            votes: Votes::default(),
            heard: VecDeque::new(),
            bootstrap: BTreeMap::new(),
            routers: BTreeSet::new(),
            next_refresh: now + profile.refresh_interval,
            last_answer: None,
            profile,
            rng,
        }
    }

    /// Whether look-ups are worth while.
    pub(super) fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined { .. }) || self.table.len() >= K
    }

    /// Whether an attempt to join is under way.
    pub(super) const fn is_joining(&self) -> bool {
        matches!(self.state, State::Joining { .. })
    }

    /// Attempts to join that failed, in a row.
    pub(super) const fn join_failures(&self) -> u32 {
        self.failures
    }

    /// When joining is tried next; `None`: it is under way or done, or there is nobody to ask.
    pub(super) fn next_join(&self) -> Option<Instant> {
        match self.state {
            State::Alone { again } => Some(again).filter(|_| self.has_somebody_to_ask()),
            State::Joining { .. } | State::Joined { .. } => None,
        }
    }

    pub(super) const fn last_answer(&self) -> Option<Instant> {
        self.last_answer
    }

    pub(super) const fn external(&self) -> Option<ExternalAddress> {
        self.votes.elected()
    }

    pub(super) fn saved(&self) -> Vec<Contact> {
        self.table.good(DHT_SAVED_NODES_MAX)
    }

    /// Bytes held for look-ups.
    pub(super) fn lookup_bytes(&self) -> usize {
        self.jobs.values().map(|job| job.lookup.bytes()).sum()
    }

    pub(super) fn questions_under_way(&self) -> usize {
        self.pending.len()
    }

    /// Takes a node to start from; `router`: it is to be asked only for want of others.
    pub(super) fn add_bootstrap(
        &mut self,
        address: SocketAddr,
        id: Option<NodeId>,
        router: bool,
        now: Instant,
    ) {
        if !dialable(address) {
            return;
        }
        let native = Family::of(address.ip()) == self.family;
        let is_new = if router && self.routers.len() < DHT_BOOTSTRAP_NODES_MAX {
            self.routers.insert(address)
        } else if !router && native {
            self.keep_bootstrap(address, id)
        } else {
            return;
        };
        if !native && !self.goes_abroad {
            return;
        }
        match self.state {
            // A table that is no longer empty needs nobody's help; the others get it at once.
            State::Joined { .. }
                if !router && self.table.len() < K && !self.table.knows(address) =>
            {
                let id = id.unwrap_or_else(|| NodeId::random(&mut self.rng));
                self.ask_whether_there(Contact { id, address }, now);
            }
            State::Joined { .. } => {}
            State::Joining { job } => {
                let few = self.table.len() < SEEDS_MIN;
                if !router || few {
                    self.seed(job, address, id, router);
                    self.advance(job, now);
                }
            }
            State::Alone { again } if is_new => {
                // What is new is tried soon, however long the pause has become.
                let soon = if self.failures == 0 { now } else { now + JOIN_PAUSE_FIRST };
                self.state = State::Alone { again: again.min(soon) };
            }
            State::Alone { .. } => {}
        }
    }

    /// Keeps a node to start from; when there are too many, any one of them makes room, as over months
    /// most will have gone. Says whether it is new.
    fn keep_bootstrap(&mut self, address: SocketAddr, id: Option<NodeId>) -> bool {
        if self.bootstrap.len() >= DHT_BOOTSTRAP_NODES_MAX && !self.bootstrap.contains_key(&address)
        {
            let at = self.rng.below(self.bootstrap.len() as u64) as usize;
            if let Some(gone) = self.bootstrap.keys().nth(at).copied() {
                self.bootstrap.remove(&gone);
            }
        }
        self.bootstrap.insert(address, id).is_none()
    }

    /// Takes an answer, if it is one to us.
    pub(super) fn on_response(
        &mut self,
        from: SocketAddr,
        transaction: &[u8],
        response: &Response<'_>,
        now: Instant,
    ) -> bool {
        let Some(sent) = self.pending.take(transaction, from) else { return false };
        self.last_answer = Some(now);
        if Family::of(from.ip()) == self.family {
            self.on_seen_as(from.ip(), response.seen_as, now);
            if !self.routers.contains(&from) {
                self.table.answered(Contact { id: response.id, address: from }, now);
            }
        }
        match sent.purpose {
            Purpose::Lookup(job) => self.on_lookup_answer(job, from, response, now),
            Purpose::Refresh => {
                self.believed(from, &response.nodes).for_each(|node| self.hear(node));
                self.settle_state(now);
            }
            Purpose::Announce => {}
        }
        true
    }

    /// Takes an error, if it is one to us: the node is there, but of no use for this. It may refuse us
    /// because our id is not bound to our address, and then it alone says what that is.
    pub(super) fn on_error(
        &mut self,
        from: SocketAddr,
        transaction: &[u8],
        seen_as: Option<SocketAddr>,
        now: Instant,
    ) -> bool {
        let Some(sent) = self.pending.take(transaction, from) else { return false };
        self.last_answer = Some(now);
        self.on_seen_as(from.ip(), seen_as, now);
        if let Purpose::Lookup(job) = sent.purpose {
            if let Some(job) = self.jobs.get_mut(&job) {
                job.lookup.on_failure(from);
            }
            self.advance(job, now);
        }
        true
    }

    /// Notes a node that asked us or was named to us.
    pub(super) fn hear(&mut self, contact: Contact) {
        if Family::of(contact.address.ip()) != self.family
            || !dialable(contact.address)
            || self.routers.contains(&contact.address)
            || self.heard.iter().any(|it| it.address == contact.address)
            || !self.table.has_room_for(&contact)
        {
            return;
        }
        if self.heard.len() >= DHT_HEARD_NODES_MAX {
            let insecure = self.heard.iter().position(|it| !it.id.is_secure_for(it.address.ip()));
            self.heard.remove(insecure.unwrap_or(0));
        }
        self.heard.push_back(contact);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for sent in self.pending.newly_slow(now) {
            if let Purpose::Lookup(job) = sent.purpose {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.lookup.on_slow(sent.to.address);
                }
                self.advance(job, now);
            }
        }
        let was_full = self.pending.is_full();
        for sent in self.pending.take_lost(now) {
            self.on_lost(&sent, now);
        }
        if was_full {
            // Look-ups that found no room for a question have nobody whose answer would wake them.
            let jobs: Vec<u64> = self.jobs.keys().copied().collect();
            jobs.into_iter().for_each(|job| self.advance(job, now));
        }
        if now >= self.next_refresh {
            self.next_refresh = now + self.profile.refresh_interval;
            self.tokens.advance(now, &mut self.rng);
            self.storage.expire(now);
            self.refresh(now);
        }
        self.advance_state(now);
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let state = match self.state {
            State::Alone { again } if self.has_somebody_to_ask() => Some(again),
            State::Joined { self_lookup } if self.table.depth() < DEPTH_SHALLOW => {
                Some(self_lookup)
            }
            State::Alone { .. } | State::Joining { .. } | State::Joined { .. } => None,
        };
        let pending = self.pending.next_timeout();
        state.into_iter().chain(pending).fold(self.next_refresh, Instant::min)
    }

    fn has_somebody_to_ask(&self) -> bool {
        let nobody = self.table.is_empty() && self.bootstrap.is_empty();
        !nobody || self.usable_routers().next().is_some()
    }

    fn usable_routers(&self) -> impl Iterator<Item = SocketAddr> {
        let usable = |it: &SocketAddr| self.goes_abroad || Family::of(it.ip()) == self.family;
        self.routers.iter().copied().filter(usable)
    }

    fn advance_state(&mut self, now: Instant) {
        match self.state {
            State::Alone { again } => {
                if now >= again && self.has_somebody_to_ask() {
                    self.join(now);
                }
            }
            State::Joining { .. } => {}
            State::Joined { self_lookup } => {
                if self.table.is_empty() {
                    self.failures = 0;
                    self.state = State::Alone { again: now + JOIN_PAUSE_FIRST };
                } else if now >= self_lookup && self.table.depth() < DEPTH_SHALLOW {
                    self.state = State::Joined { self_lookup: now + SELF_LOOKUP_INTERVAL };
                    let target = self.id.with_random_tail(&mut self.rng);
                    let _ = self.look_up(target, Errand::Join, now);
                }
            }
        }
    }

    fn ask(
        &mut self,
        to: Contact,
        tag: Tag,
        question: &Question<'_>,
        purpose: Purpose,
        now: Instant,
    ) {
        let transaction = Transaction::draw(self.profile.transaction_ids, tag, &mut self.rng);
        let envelope = Envelope {
            transaction: transaction.as_bytes(),
            version: self.profile.version.as_deref(),
            id: self.id,
        };
        let bytes = encode_query(envelope, question);
        self.pending.add(transaction, to, purpose, now);
        self.outputs.push_back(NodeOutput::Ask { to: to.address, bytes });
    }

    fn on_lost(&mut self, sent: &Sent, now: Instant) {
        // If nobody at all has answered since, the network is gone and not this node.
        if self.last_answer.is_some_and(|last| last >= sent.at) {
            self.table.failed(&sent.to);
        }
        if let Purpose::Lookup(job) = sent.purpose {
            if let Some(job) = self.jobs.get_mut(&job) {
                job.lookup.on_failure(sent.to.address);
            }
            self.advance(job, now);
        }
    }

    fn on_seen_as(&mut self, voter: IpAddr, seen_as: Option<SocketAddr>, now: Instant) {
        let same_family = |it: IpAddr| Family::of(it) == self.family;
        let Some(seen_as) = seen_as.filter(|it| same_family(it.ip()) && same_family(voter)) else {
            return;
        };
        if let Some(external) = self.votes.vote(voter, seen_as) {
            self.outputs.push_back(NodeOutput::External(external));
            if self.profile.secure_ids && !self.id.is_secure_for(external.ip) {
                let id = NodeId::secure(external.ip, &mut self.rng);
                self.rename(id, now);
            }
        }
    }

    /// Goes by another name from now on. Its neighbourhood is elsewhere, so it is looked up.
    fn rename(&mut self, id: NodeId, now: Instant) {
        self.id = id;
        self.table.rename(id);
        if let State::Joined { self_lookup } = &mut self.state {
            *self_lookup = now + SELF_LOOKUP_INTERVAL;
        }
        let target = id.with_random_tail(&mut self.rng);
        let _ = self.look_up(target, Errand::Move, now);
    }

    /// Whoever has nodes in its table has joined, however it came by them.
    fn settle_state(&mut self, now: Instant) {
        if matches!(self.state, State::Alone { .. }) && !self.table.is_empty() {
            self.failures = 0;
            self.state = State::Joined { self_lookup: now };
            self.outputs.push_back(NodeOutput::Joined);
        }
    }

    /// Asks one node: the newest that was heard of, or else the one not heard from for longest.
    fn refresh(&mut self, now: Instant) {
        if self.pending.is_full() {
            return;
        }
        while let Some(contact) = self.take_heard() {
            if self.table.has_room_for(&contact) {
                return self.ask_refresh(contact, now);
            }
        }
        if let Some(contact) = self.table.take_stalest(now) {
            self.ask_refresh(contact, now);
        }
    }

    /// The newest whose id is valid for its address, or else the newest: what liars name is not.
    fn take_heard(&mut self) -> Option<Contact> {
        let secure = self.heard.iter().rposition(|it| it.id.is_secure_for(it.address.ip()));
        match secure {
            Some(at) => self.heard.remove(at),
            None => self.heard.pop_back(),
        }
    }

    /// Asks a node that is due whether it is still there, and about a place that is nearer to us than
    /// it is; with all the room around it taken, about none (libtorrent).
    fn ask_refresh(&mut self, to: Contact, now: Instant) {
        let nearer = self.id.shared_bits(&to.id) + 1;
        let place = (!self.table.is_full_around(&to.id)).then_some(nearer);
        self.ask_whether_there_and_about(to, place, now);
    }

    /// Asks a node of which little is known whether it is there, and about our neighbourhood.
    pub(super) fn ask_whether_there(&mut self, to: Contact, now: Instant) {
        if !self.pending.is_full() {
            self.ask_whether_there_and_about(to, Some(self.table.buckets() + 1), now);
        }
    }

    /// `place`: as many bits as it shares with our id, at least.
    fn ask_whether_there_and_about(&mut self, to: Contact, place: Option<usize>, now: Instant) {
        let (tag, question) = match (self.profile.queries, place) {
            (QueryMix::GetPeers, Some(bits)) => {
                let infohash = self.id.with_random_after(bits, &mut self.rng);
                let want = Want::default();
                (Tag::GetPeers, Question::GetPeers { infohash, bootstrap: false, want })
            }
            (QueryMix::GetPeers, None) | (QueryMix::Classic, _) => (Tag::Ping, Question::Ping),
        };
        self.ask(to, tag, &question, Purpose::Refresh, now);
    }
}

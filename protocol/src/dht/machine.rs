//! The Mainline DHT: one node over IPv4 and one over IPv6, and the channels they announce.
//!
//! ```text
//!  Datagram --+- question -> node of its IP version -> answer, within a budget
//!             '- answer ---> whichever node asked
//!
//!  Start ---> swarms, in turn: one each (announce interval / swarms), new ones first
//!               '-> look-up over IPv4 and over IPv6 -> peers found, announced to the nearest
//! ```
//!
//! The nodes' states are in `node`, the swarms' in `swarm`. The pace of
//! announces is libtorrent's: however many infohashes there are, each is announced once in the
//! interval, and never all at once.
//!
//! Not here: bytes ([`message`](super::message)); sockets and names (the driver).

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::crypto::{Rng, Secret, hash};
use crate::id::{ChannelId, InfoHash};
use crate::limits::{CHANNELS_MAX, DHT_HOSTS_MAX, RESOLVED_ADDRESSES_MAX};
use crate::machine::Machine;
use crate::tracker::announcer::Family;

use super::api::{Config, Event, Input, NodeStatus, Output, Pace, Status};
use super::flood_gate::AnswerBudget;
use super::message::{Body, decode};
use super::node::{AnnouncedPort, Errand, Node, NodeOutput, Report};
use super::node_id::NodeId;
use super::routing_table::Network;
use super::saved::Saved;
use super::swarm::Swarm;

/// Swarms at once: every channel may have two infohashes around midnight.
const SWARMS_MAX: usize = 2 * CHANNELS_MAX;
/// Shortest pause between two swarms' turns.
const TURN_PAUSE_MIN: Duration = Duration::from_secs(1);
/// When names are looked at again: those that could not be resolved, and all while nobody answers.
const NAMES_PAUSE: Duration = Duration::from_secs(60);

/// A host to start from.
#[derive(Debug, Default)]
struct Host {
    /// Its ports, and whether a router is there.
    ports: Vec<(u16, bool)>,
    resolved: bool,
    under_way: bool,
}

/// The machine; see the module's documentation.
#[derive(Debug)]
pub struct Dht {
    config: Config,
    now: Instant,
    v4: Option<Node>,
    v6: Option<Node>,
    swarms: BTreeMap<u64, Swarm>,
    last_swarm: u64,
    /// When the next swarm has its turn.
    next_turn: Instant,
    paces: BTreeMap<ChannelId, Pace>,
    hosts: BTreeMap<String, Host>,
    names_due: Instant,
    budget: AnswerBudget,
    source_key: Secret<32>,
    dropped: u64,
    outputs: VecDeque<Output>,
}

impl Dht {
    /// Starts to join; `seed` decides every choice, so it must be secret and fresh.
    #[must_use]
    pub fn new(config: Config, now: Instant, seed: [u8; 32]) -> Self {
        let mut rng = Rng::from_seed(seed);
        let profile = &config.profile;
        let id_v4 = config.saved.id_v4.unwrap_or_else(|| NodeId::random(&mut rng));
        let drawn_v6 = NodeId::random(&mut rng);
        let id_v6 = if profile.one_id { id_v4 } else { config.saved.id_v6.unwrap_or(drawn_v6) };
        let mut node = |family, id| Node::new(family, Some(id), profile.clone(), now, rng.fork());
        let (v4, v6) = (node(Family::V4, id_v4), node(Family::V6, id_v6));
        let source_key = rng.secret();
        let mut dht = Self {
            v4: config.ipv4.then_some(v4),
            v6: config.ipv6.then_some(v6),
            swarms: BTreeMap::new(),
            last_swarm: 0,
            next_turn: now,
            paces: BTreeMap::new(),
            hosts: BTreeMap::new(),
            names_due: now + NAMES_PAUSE,
            budget: AnswerBudget::new(now),
            source_key,
            dropped: 0,
            outputs: VecDeque::new(),
            config,
            now,
        };
        for contact in std::mem::take(&mut dht.config.saved.nodes) {
            dht.add_address(contact.address, Some(contact.id), false);
        }
        for (host, port) in std::mem::take(&mut dht.config.routers) {
            dht.add_host(host, port, true);
        }
        dht
    }

    /// What to keep for the next run.
    #[must_use]
    pub fn saved(&self) -> Saved {
        Saved {
            id_v4: self.v4.as_ref().map(|node| node.id),
            id_v6: self.v6.as_ref().map(|node| node.id),
            nodes: self.nodes().flat_map(Node::saved).collect(),
        }
    }

    /// How a channel does, for each of its infohashes and each IP version.
    #[must_use]
    pub fn status(&self, channel: ChannelId) -> Vec<Status> {
        let of_channel = self.swarms.values().filter(|swarm| swarm.channel == channel);
        of_channel.flat_map(|swarm| self.nodes().map(|node| swarm.status(node))).collect()
    }

    /// How all channels do.
    #[must_use]
    pub fn statuses(&self) -> Vec<Status> {
        let each = |swarm: &Swarm| self.nodes().map(|node| swarm.status(node)).collect::<Vec<_>>();
        self.swarms.values().flat_map(each).collect()
    }

    /// How the DHT does, over each IP version.
    #[must_use]
    pub fn node_statuses(&self) -> Vec<NodeStatus> {
        let status = |node: &Node| NodeStatus {
            family: node.family,
            id: node.id,
            joined: node.is_joined(),
            nodes: node.table.len(),
            last_answer: node.last_answer(),
            external: node.external(),
            stored_hashes: node.storage.len(),
            table_bytes: node.table.bytes(),
            lookup_bytes: node.lookup_bytes(),
            questions_under_way: node.questions_under_way(),
        };
        self.nodes().map(status).collect()
    }

    /// How many datagrams were of no use, and answers not sent.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped + self.nodes().map(|node| node.dropped).sum::<u64>()
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.v4.iter().chain(&self.v6)
    }

    fn node_mut(&mut self, family: Family) -> Option<&mut Node> {
        match family {
            Family::V4 => self.v4.as_mut(),
            Family::V6 => self.v6.as_mut(),
        }
    }

    fn start(&mut self, channel: ChannelId, infohash: InfoHash, port: AnnouncedPort) {
        let present = self
            .swarms
            .values_mut()
            .find(|swarm| swarm.channel == channel && swarm.infohash == infohash);
        if let Some(swarm) = present {
            swarm.port = port;
            return;
        }
        if self.swarms.len() >= SWARMS_MAX {
            self.dropped += 1;
            return;
        }
        let pace = self.paces.get(&channel).copied().unwrap_or_default();
        self.last_swarm += 1;
        self.swarms.insert(self.last_swarm, Swarm::new(channel, infohash, port, pace));
        // A new swarm does not wait for its turn, but keeps a distance from the one before.
        let last = self.swarms.values().filter_map(|swarm| swarm.last_turn).max();
        let soonest = last.map_or(self.now, |last| last + self.new_swarm_pause());
        self.next_turn = self.next_turn.min(soonest.max(self.now));
    }

    fn stop(&mut self, leaves: impl Fn(&Swarm) -> bool) {
        let gone: Vec<u64> =
            self.swarms.iter().filter(|(_, swarm)| leaves(swarm)).map(|(key, _)| *key).collect();
        for key in gone {
            self.swarms.remove(&key);
            self.v4.iter_mut().chain(&mut self.v6).for_each(|node| node.forget_swarm(key));
        }
        let swarms = &self.swarms;
        self.paces.retain(|channel, _| swarms.values().any(|swarm| swarm.channel == *channel));
    }

    fn set_pace(&mut self, channel: ChannelId, pace: Pace) {
        if self.paces.len() < CHANNELS_MAX || self.paces.contains_key(&channel) {
            self.paces.insert(channel, pace);
        }
        let now = self.now;
        self.swarms
            .values_mut()
            .filter(|swarm| swarm.channel == channel)
            .for_each(|swarm| swarm.set_pace(pace, now));
    }

    fn turn_pause(&self) -> Duration {
        let swarms = u32::try_from(self.swarms.len().max(1)).unwrap_or(u32::MAX);
        (self.config.profile.announce_interval / swarms).max(TURN_PAUSE_MIN)
    }

    fn new_swarm_pause(&self) -> Duration {
        self.turn_pause().min(self.config.profile.announce_gap)
    }

    /// Gives the swarm that has waited longest its turn, a new one first.
    fn take_turns(&mut self) {
        if self.now < self.next_turn || self.swarms.is_empty() {
            return;
        }
        let next = self.swarms.iter_mut().min_by_key(|(key, swarm)| (swarm.last_turn, **key));
        if let Some((_, swarm)) = next {
            swarm.take_turn(self.now);
        }
        let more_new = self.swarms.values().any(|swarm| swarm.last_turn.is_none());
        let pause = if more_new { self.new_swarm_pause() } else { self.turn_pause() };
        self.next_turn = self.now + pause;
    }

    /// Begins the look-ups that are due, as far as there is room for them.
    fn begin_due(&mut self) {
        let now = self.now;
        for (family, node) in [(Family::V4, &mut self.v4), (Family::V6, &mut self.v6)] {
            let Some(node) = node.as_mut().filter(|node| node.is_joined()) else { continue };
            for (key, swarm) in &mut self.swarms {
                let (infohash, port) = (swarm.infohash.into(), swarm.port);
                let round = swarm.round_mut(family);
                if round.under_way.is_some() || round.extra.is_none_or(|due| due > now) {
                    continue;
                }
                let announce = round.owed.then_some(port);
                let errand = Errand::Swarm { swarm: *key, announce };
                round.begin();
                if node.look_up(infohash, errand, now).is_none() {
                    round.under_way = None;
                    round.extra = Some(now + TURN_PAUSE_MIN);
                    continue;
                }
                let status = swarm.status(node);
                self.outputs.push_back(Output::Event(Event::StatusChanged(status)));
            }
        }
    }

    fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Ok(message) = decode(bytes) else {
            self.dropped += 1;
            return;
        };
        let now = self.now;
        let (native, other) = match Family::of(from.ip()) {
            Family::V4 => (self.v4.as_mut(), self.v6.as_mut()),
            Family::V6 => (self.v6.as_mut(), self.v4.as_mut()),
        };
        let taken = match &message.body {
            Body::Query(_) | Body::BadQuery(_) => {
                if let Some(node) = native {
                    node.on_question(from, bytes.len(), &message, other.as_deref(), now);
                }
                true
            }
            Body::Response(response) => native
                .into_iter()
                .chain(other)
                .any(|node| node.on_response(from, message.transaction, response, now)),
            Body::Error { seen_as, .. } => native
                .into_iter()
                .chain(other)
                .any(|node| node.on_error(from, message.transaction, *seen_as, now)),
        };
        self.dropped += u64::from(!taken);
    }

    fn add_host(&mut self, host: String, port: u16, router: bool) {
        if let Ok(ip) = host.parse::<IpAddr>() {
            self.add_address(SocketAddr::new(ip, port), None, router);
            return;
        }
        if self.hosts.len() >= DHT_HOSTS_MAX && !self.hosts.contains_key(&host) {
            self.dropped += 1;
            return;
        }
        let known = self.hosts.entry(host.clone()).or_default();
        if known.ports.len() < RESOLVED_ADDRESSES_MAX && !known.ports.contains(&(port, router)) {
            known.ports.push((port, router));
        }
        if !known.under_way {
            known.under_way = true;
            self.outputs.push_back(Output::Resolve { host });
        }
    }

    fn add_address(&mut self, address: SocketAddr, id: Option<NodeId>, router: bool) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let family = Family::of(address.ip());
        if self.node_mut(family).is_none() {
            return;
        }
        let now = self.now;
        for node in self.v4.iter_mut().chain(&mut self.v6) {
            node.add_bootstrap(address, id, router, now);
        }
    }

    fn on_names(&mut self, host: &str, result: &Result<Vec<IpAddr>, String>) {
        let Some(known) = self.hosts.get_mut(host) else {
            self.dropped += 1;
            return;
        };
        known.under_way = false;
        known.resolved = result.is_ok();
        let ports = known.ports.clone();
        let ips = result.iter().flatten().take(RESOLVED_ADDRESSES_MAX);
        for ip in ips {
            for (port, router) in &ports {
                self.add_address(SocketAddr::new(*ip, *port), None, *router);
            }
        }
    }

    /// Asks again for the addresses of hosts that had none, or of all while nobody answers us.
    fn resolve_again(&mut self) {
        if self.now < self.names_due {
            return;
        }
        self.names_due = self.now + NAMES_PAUSE;
        let alone = !self.nodes().any(Node::is_joined);
        for (host, known) in &mut self.hosts {
            if !known.under_way && (alone || !known.resolved) {
                known.under_way = true;
                self.outputs.push_back(Output::Resolve { host: host.clone() });
            }
        }
    }

    /// Passes on what the nodes want done, and takes note of what they make known.
    fn drain(&mut self) {
        for family in [Family::V4, Family::V6] {
            while let Some(output) = self.node_mut(family).and_then(|it| it.outputs.pop_front()) {
                self.on_node_output(family, output);
            }
        }
    }

    fn on_node_output(&mut self, family: Family, output: NodeOutput) {
        match output {
            NodeOutput::Ask { to, bytes } => self.outputs.push_back(Output::Send { to, bytes }),
            NodeOutput::Answer { to, bytes } => {
                if self.budget.take(bytes.len(), self.now) {
                    self.outputs.push_back(Output::Send { to, bytes });
                } else {
                    self.dropped += 1;
                }
            }
            NodeOutput::PeersFound { swarm, peers, told_by } => {
                self.on_peers(family, swarm, peers, told_by);
            }
            NodeOutput::LookupDone { swarm, report } => self.on_lookup_done(family, swarm, report),
            NodeOutput::External(address) => {
                self.outputs.push_back(Output::Event(Event::ExternalAddress(address)));
            }
            NodeOutput::Joined => {}
        }
    }

    fn on_peers(
        &mut self,
        family: Family,
        swarm: u64,
        peers: Vec<SocketAddr>,
        told_by: SocketAddr,
    ) {
        let source = self.source_of(told_by);
        let Some(swarm) = self.swarms.get_mut(&swarm) else { return };
        let peers = swarm.round_mut(family).sift(peers);
        if !peers.is_empty() {
            let (channel, infohash) = (swarm.channel, swarm.infohash);
            let found = Event::PeersFound { channel, infohash, peers, source };
            self.outputs.push_back(Output::Event(found));
        }
    }

    fn on_lookup_done(&mut self, family: Family, swarm: u64, report: Report) {
        let now = self.now;
        let node = match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        };
        if let (Some(swarm), Some(node)) = (self.swarms.get_mut(&swarm), node) {
            let pace = swarm.pace;
            swarm.round_mut(family).end(report, pace, now);
            let status = swarm.status(node);
            self.outputs.push_back(Output::Event(Event::StatusChanged(status)));
        }
    }

    /// A number for who tells of peers. Nobody else can find an address with the same number.
    fn source_of(&self, teller: SocketAddr) -> u32 {
        let name = match Network::of(teller.ip()) {
            Some(network) => format!("{network:?}"),
            None => teller.to_string(),
        };
        let key = self.source_key.expose();
        u32::from_be_bytes(hash::mac(key, "bitchat v1 dht source", &[name.as_bytes()]))
    }

    fn proceed(&mut self) {
        self.drain();
        self.take_turns();
        self.begin_due();
        self.drain();
    }
}

impl Machine for Dht {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Datagram { from, bytes } => self.on_datagram(from, &bytes),
            Input::Start { channel, infohash, port, shared_socket } => {
                self.start(channel, infohash, AnnouncedPort { port, shared: shared_socket });
            }
            Input::Stop { channel, infohash } => self.stop(|swarm| {
                swarm.channel == channel && infohash.is_none_or(|it| it == swarm.infohash)
            }),
            Input::StopAll => self.stop(|_| true),
            Input::SetPace { channel, pace } => self.set_pace(channel, pace),
            Input::AddNode { host, port } => self.add_host(host, port, false),
            Input::AddCandidates(addresses) => {
                for address in addresses {
                    self.add_address(address, None, false);
                }
            }
            Input::OwnAddresses { ipv4, ipv6 } => {
                self.v4.iter_mut().for_each(|node| node.goes_abroad = ipv4);
                self.v6.iter_mut().for_each(|node| node.goes_abroad = ipv6);
            }
            Input::NamesResolved { host, result } => self.on_names(&host, &result),
        }
        self.proceed();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let now = self.now;
        self.v4.iter_mut().chain(&mut self.v6).for_each(|node| node.handle_timeout(now));
        self.resolve_again();
        self.proceed();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let nodes = self.nodes().map(Node::poll_timeout);
        let turn = (!self.swarms.is_empty()).then_some(self.next_turn);
        let names = (!self.hosts.is_empty()).then_some(self.names_due);
        let extra = self.nodes().filter(|node| node.is_joined()).filter_map(|node| {
            let rounds = self.swarms.values().map(|swarm| swarm.round(node.family));
            rounds.filter(|it| it.under_way.is_none()).filter_map(|it| it.extra).min()
        });
        nodes.chain(turn).chain(names).chain(extra).min()
    }
}

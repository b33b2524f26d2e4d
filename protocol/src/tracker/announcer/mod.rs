//! Announces channels to their trackers, as often as the worn client would and no oftener.
//!
//! One machine serves all channels. A channel's infohash and its trackers are a *swarm*; each tracker
//! is announced to over IPv4 and over IPv6, independently. One announce is an *attempt*:
//!
//! ```text
//!            due                  UDP, no connection id             connected
//! (waiting) -----> Resolving --+--------------------> Connecting ------------> Announcing --+
//!     ^                ^       |    UDP, connection id that is still good           ^       |
//!     |                |       +----------------------------------------------------+       |
//!     |     redirected |       |    HTTP                                                    |
//!     |                +-------+--> Fetching -----------------------------------------------+
//!     |                                                                                     |
//!     +---- answered: after max(interval, min interval, the client's least pause) ----------+
//!     +---- failed or timed out: after the client's back-off, which grows ------------------+
//! ```
//!
//! Where the worn client does so, an attempt that finds another one connecting to its tracker waits for
//! that one's connection id (Joining) instead of Connecting itself.
//!
//! In each tier (BEP 12), and for each IP version on its own, the first tracker that works is used;
//! those before it are tried again as their back-off allows. One that answers moves to the front of
//! its tier, one that fails over both IP versions to the end.
//!
//! `started` is said to a tracker until it has answered once, `stopped` once on leaving to each that
//! the worn client would tell. The peer id is drawn afresh for each swarm, and the key unless the worn client has one
//! for all.
//!
//! Announces of two swarms never begin in the same instant, but for those by which we leave all and
//! have five seconds: a burst would show how many channels there are. An announce begins at a multiple of
//! the worn client's tick after the first one of its swarm, so it may come that much before its time,
//! as the client's do. While a channel is complete, its pauses are up to twice as long.
//!
//! Not here: bytes ([`http`](super::http), [`udp`](super::udp)), sockets and names (the driver).

mod api;
mod attempt;
mod by_udp;
mod endpoint;
mod families;
mod outcome;
mod redirect;
mod spacing;
mod swarm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::crypto::Rng;
use crate::id::{ChannelId, InfoHash};
use crate::limits::{ANNOUNCES_MAX, CHANNELS_MAX};
use crate::machine::Machine;

use super::announce::Occasion;
use super::url::TrackerUrl;
pub use api::{
    Config, Event, Family, HttpRequest, Input, Output, RequestId, TrackerState, TrackerStatus,
};
use families::Usage;
use spacing::Spacing;
use swarm::{Key, Swarm};

/// Swarms at once: every channel may have two infohashes around midnight.
const SWARMS_MAX: usize = 2 * CHANNELS_MAX;

/// Both versions of the Internet Protocol.
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The machine; see the module's documentation.
#[derive(Debug)]
pub struct Announcer {
    config: Config,
    rng: Rng,
    now: Instant,
    swarms: BTreeMap<u64, Swarm>,
    /// Counts swarms, trackers and requests.
    last_id: u64,
    /// Whose answer a UDP transaction will be.
    transactions: BTreeMap<u32, Key>,
    /// Whose answer an HTTP request will be.
    requests: BTreeMap<RequestId, Key>,
    /// Who waits for the addresses of a host.
    names: BTreeMap<String, BTreeSet<Key>>,
    /// Connection ids of UDP trackers, and until when they are good.
    connections: BTreeMap<SocketAddr, (u64, Instant)>,
    /// Over which IP versions whom.
    usage: Usage,
    /// Keeps swarms apart in time.
    spacing: Spacing,
    /// Channels whose members are all linked.
    complete: BTreeSet<ChannelId>,
    /// For clients whose key is one for all.
    session_key: u32,
    own_ipv6: Option<Ipv6Addr>,
    under_way: usize,
    dropped: u64,
    outputs: VecDeque<Output>,
}

impl Announcer {
    /// Starts without a channel; `seed` decides every choice, so it must be secret and fresh.
    #[must_use]
    pub fn new(config: Config, now: Instant, seed: [u8; 32]) -> Self {
        let mut rng = Rng::from_seed(seed);
        let session_key = config.profile.draw_key(&mut rng);
        let usage = Usage::new(&config);
        Self {
            config,
            rng,
            now,
            usage,
            spacing: Spacing::default(),
            complete: BTreeSet::new(),
            session_key,
            own_ipv6: None,
            swarms: BTreeMap::new(),
            last_id: 0,
            transactions: BTreeMap::new(),
            requests: BTreeMap::new(),
            names: BTreeMap::new(),
            connections: BTreeMap::new(),
            under_way: 0,
            dropped: 0,
            outputs: VecDeque::new(),
        }
    }

    /// How each tracker does, over each IP version.
    #[must_use]
    pub fn statuses(&self) -> Vec<TrackerStatus> {
        let every_tier = self.config.profile.every_tier;
        self.swarms
            .values()
            .filter(|swarm| !swarm.is_leaving())
            .flat_map(|swarm| {
                FAMILIES.into_iter().flat_map(|it| swarm.statuses(it, self.usage, every_tier))
            })
            .collect()
    }

    /// Whether nothing is announced and nobody has to be told that we leave.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.swarms.is_empty()
    }

    /// How many datagrams and answers were of no use.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn start(
        &mut self,
        channel: ChannelId,
        infohash: InfoHash,
        tiers: &[Vec<TrackerUrl>],
        port: u16,
    ) {
        let present = self.swarms.iter_mut().find(|(_, swarm)| {
            !swarm.is_leaving() && swarm.channel() == channel && swarm.infohash() == infohash
        });
        if let Some((id, swarm)) = present {
            if swarm.has_trackers(tiers) {
                swarm.set_port(port);
                return;
            }
            let id = *id;
            self.leave(id, self.now);
        }
        // A farewell that came after the new `started` would take us out of the tracker's list.
        self.hasten(|swarm| swarm.channel() == channel && swarm.infohash() == infohash);
        if self.swarms.len() >= SWARMS_MAX {
            self.dropped += 1;
            return;
        }
        let persona = self.config.profile.draw_persona(&mut self.rng, self.session_key);
        let mut swarm = Swarm::new(channel, infohash, persona, port);
        swarm.add_trackers(tiers, self.now, &mut self.rng);
        self.last_id += 1;
        self.swarms.insert(self.last_id, swarm);
    }

    fn stop(&mut self, leaves: impl Fn(&Swarm) -> bool) {
        let ids: Vec<u64> = self
            .swarms
            .iter()
            .filter(|(_, swarm)| !swarm.is_leaving() && leaves(swarm))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let at = self.spacing.farewell(self.now);
            if self.leave(id, at) {
                let pause = self.config.profile.start_spacing.draw(&mut self.rng);
                self.spacing.left(self.swarms.len(), at, pause);
            }
        }
    }

    fn stop_all(&mut self) {
        let all: Vec<u64> = self.swarms.keys().copied().collect();
        for id in all {
            if self.swarms.get(&id).is_some_and(|swarm| !swarm.is_leaving()) {
                self.leave(id, self.now);
            }
        }
        self.hasten(|_| true);
    }

    /// Lets swarms that wait to leave do so now.
    fn hasten(&mut self, leaves: impl Fn(&Swarm) -> bool) {
        let (now, deadline) = (self.now, self.now + self.config.profile.stopped_timeout);
        for swarm in self.swarms.values_mut().filter(|it| leaves(it)) {
            if swarm.farewell().is_some_and(|at| at > now) {
                swarm.leave(now, deadline);
            }
        }
    }

    /// Gives up what is under way; those who may know us are told from `at` on. Whether there are any.
    fn leave(&mut self, id: u64, at: Instant) -> bool {
        for key in self.swarms.get(&id).map(|swarm| swarm.under_way(id)).unwrap_or_default() {
            self.abandon(key);
        }
        let deadline = at + self.config.profile.stopped_timeout;
        if let Some(swarm) = self.swarms.get_mut(&id) {
            swarm.leave(at, deadline);
        }
        self.forget_if_done(id);
        self.swarms.contains_key(&id)
    }

    fn forget_if_done(&mut self, id: u64) {
        if !self.swarms.get(&id).is_some_and(Swarm::has_left) {
            return;
        }
        if let Some(swarm) = self.swarms.remove(&id) {
            let (channel, infohash) = (swarm.channel(), swarm.infohash());
            if self.swarms.values().all(|it| it.channel() != channel) {
                self.complete.remove(&channel);
            }
            self.outputs.push_back(Output::Event(Event::Left { channel, infohash }));
        }
    }

    /// Makes the pauses of a channel fit whether it is complete.
    fn set_completeness(&mut self, channel: ChannelId, complete: bool) {
        let changed = if complete {
            self.swarms.values().any(|it| it.channel() == channel) && self.complete.insert(channel)
        } else {
            self.complete.remove(&channel)
        };
        if !changed {
            return;
        }
        let profile = Arc::clone(&self.config.profile);
        for swarm in self.swarms.values_mut().filter(|it| it.channel() == channel) {
            swarm.reschedule(|wished| profile.pause(wished, complete), profile.tick);
        }
    }

    /// Begins whatever is due, as far as the bound on announces under way allows.
    fn begin_due(&mut self) {
        while self.under_way < ANNOUNCES_MAX
            && let Some((key, occasion)) = self.next_due()
        {
            if occasion != Occasion::Stopped {
                let swarm = self.swarms.get_mut(&key.swarm);
                swarm.into_iter().for_each(|swarm| swarm.anchor(self.now));
                self.space(key);
            }
            self.begin(key, occasion);
        }
    }

    /// Keeps other swarms waiting for a while.
    fn space(&mut self, key: Key) {
        let pause = self.config.profile.start_spacing.draw(&mut self.rng);
        self.spacing.begun(key.swarm, self.swarms.len(), self.now, pause);
    }

    /// Farewells first; then the swarm that has waited longest, so that none is forgotten.
    fn next_due(&self) -> Option<(Key, Occasion)> {
        let (usage, every_tier) = (self.usage, self.config.profile.every_tier);
        let due = |id: u64, swarm: &Swarm| {
            FAMILIES.into_iter().find_map(|it| swarm.due(id, it, usage, every_tier, self.now))
        };
        let mut leaving = self.swarms.iter().filter(|(_, swarm)| swarm.is_leaving());
        leaving.find_map(|(id, swarm)| due(*id, swarm)).or_else(|| {
            let begins = self.swarms.iter().filter_map(|(id, swarm)| {
                let begin = self.next_begin(*id, swarm).filter(|at| *at <= self.now)?;
                Some((begin, *id, swarm))
            });
            begins.min_by_key(|(begin, id, _)| (*begin, *id)).and_then(|(_, id, it)| due(id, it))
        })
    }

    /// When a swarm may begin its next announce.
    fn next_begin(&self, id: u64, swarm: &Swarm) -> Option<Instant> {
        let every_tier = self.config.profile.every_tier;
        let next = |family| swarm.next_begin(family, self.usage, every_tier);
        let next = FAMILIES.into_iter().filter_map(next).min()?;
        Some(self.spacing.from(id).map_or(next, |from| next.max(from)))
    }

    fn expire(&mut self) {
        let now = self.now;
        self.connections.retain(|_, (_, until)| *until > now);
        let late: Vec<Key> =
            self.swarms.iter().flat_map(|(id, swarm)| swarm.overdue(*id, now)).collect();
        for key in late {
            self.time_out(key);
        }
        let overdue: Vec<u64> = self
            .swarms
            .iter()
            .filter(|(_, swarm)| swarm.must_have_left(now))
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            for key in self.swarms.get(&id).map(|swarm| swarm.under_way(id)).unwrap_or_default() {
                self.abandon(key);
            }
            if let Some(swarm) = self.swarms.get_mut(&id) {
                swarm.give_up();
            }
            self.forget_if_done(id);
        }
    }
}

impl Machine for Announcer {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Start { channel, infohash, tiers, port } => {
                self.start(channel, infohash, &tiers, port);
            }
            Input::Stop { channel, infohash } => self.stop(|swarm| {
                swarm.channel() == channel && infohash.is_none_or(|it| it == swarm.infohash())
            }),
            Input::StopAll => self.stop_all(),
            Input::Completeness { channel, complete } => self.set_completeness(channel, complete),
            Input::OwnIpv6(ip) => self.own_ipv6 = ip,
            Input::NamesResolved { host, result } => self.on_names_resolved(&host, &result),
            Input::HttpReply { id, from, response } => self.on_http_reply(id, from, &response),
            Input::HttpFailed { id, failure } => self.on_http_failed(id, &failure),
            Input::UdpDatagram { from, bytes } => self.on_datagram(from, &bytes),
        }
        self.begin_due();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.expire();
        self.begin_due();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        // At the bound nothing can begin before something ends.
        let may_begin = self.under_way < ANNOUNCES_MAX;
        let ends = self.swarms.values().filter_map(Swarm::next_deadline).min();
        let begins = self.swarms.iter().filter_map(|(id, swarm)| self.next_begin(*id, swarm));
        let farewells = self.swarms.values().filter_map(Swarm::farewell);
        let begins = begins.chain(farewells).min().filter(|_| may_begin);
        ends.into_iter().chain(begins).min()
    }
}

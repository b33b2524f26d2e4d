//! Announces channels to their trackers, as often as the worn client would and no oftener.
//!
//! One machine serves all channels. A channel's infohash and its trackers are a *swarm*; each tracker
//! is announced to over IPv4 and over IPv6, independently. One announce is an *attempt*:
//!
//! ```text
//!            due                  UDP, no connection id             connected
//! (waiting) -----> Resolving --+--------------------> Connecting ------------> Announcing --+
//!     ^                ^       |    UDP, connection id of the last minute           ^       |
//!     |                |       +----------------------------------------------------+       |
//!     |     redirected |       |    HTTP                                                    |
//!     |                +-------+--> Fetching -----------------------------------------------+
//!     |                                                                                     |
//!     +---- answered: after max(interval, min interval, the client's least pause) ----------+
//!     +---- failed or timed out: after the client's back-off, which grows ------------------+
//! ```
//!
//! In each tier (BEP 12), and for each IP version on its own, the first tracker that works is used;
//! those before it are tried again as their back-off allows. One that answers moves to the front of
//! its tier, one that fails over both IP versions to the end.
//!
//! `started` is said to a tracker until it has answered once, `stopped` once on leaving to each that
//! may know us. The peer id and the key are drawn afresh for each swarm.
//!
//! Not here: bytes ([`http`](super::http), [`udp`](super::udp)), sockets and names (the driver).

mod attempt;
mod swarm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::crypto::Rng;
use crate::id::{ChannelId, InfoHash};
use crate::limits::{ANNOUNCES_MAX, CHANNELS_MAX};
use crate::machine::Machine;

use super::announce::Occasion;
use super::disguise::ClientProfile;
use super::http::Response;
use super::url::{Scheme, TrackerUrl};
use swarm::{Key, Swarm};

/// Swarms at once: every channel may have two infohashes around midnight.
const SWARMS_MAX: usize = 2 * CHANNELS_MAX;

/// The settings of an [`Announcer`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Which client we look like.
    pub profile: Arc<ClientProfile>,
    /// Whether to announce over IPv4.
    pub ipv4: bool,
    /// Whether to announce over IPv6.
    pub ipv6: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { profile: Arc::new(ClientProfile::qbittorrent_5_1_0()), ipv4: true, ipv6: true }
    }
}

/// Names one HTTP request of an announcer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Finds the version of an address; an IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// What the driver tells an announcer.
#[derive(Debug, Clone)]
pub enum Input {
    /// Begins to announce a channel; once more with the same trackers changes nothing but the port,
    /// with others it leaves and begins anew.
    Start {
        /// The channel; it may have several infohashes.
        channel: ChannelId,
        /// What trackers know it by.
        infohash: InfoHash,
        /// Trackers in tiers (BEP 12); more than
        /// [`TRACKERS_PER_CHANNEL_MAX`](crate::limits::TRACKERS_PER_CHANNEL_MAX) are ignored.
        tiers: Vec<Vec<TrackerUrl>>,
        /// The UDP port at which we are reached.
        port: u16,
    },
    /// Leaves a channel, politely.
    Stop {
        /// The channel.
        channel: ChannelId,
        /// One of its infohashes, or all.
        infohash: Option<InfoHash>,
    },
    /// Leaves all channels.
    StopAll,
    /// The answer to [`Output::Resolve`].
    NamesResolved {
        /// The host asked about.
        host: String,
        /// Its addresses, or in words why there are none.
        result: Result<Vec<IpAddr>, String>,
    },
    /// The good answer to [`Output::HttpRequest`].
    HttpReply {
        /// Which request.
        id: RequestId,
        /// The response.
        response: Response,
    },
    /// The bad answer to [`Output::HttpRequest`].
    HttpFailed {
        /// Which request.
        id: RequestId,
        /// What went wrong, in words.
        failure: String,
    },
    /// A datagram that may be a tracker's.
    UdpDatagram {
        /// Where it came from.
        from: SocketAddr,
        /// The whole datagram.
        bytes: Vec<u8>,
    },
}

/// One HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Names it.
    pub id: RequestId,
    /// Where to connect.
    pub address: SocketAddr,
    /// The request, whole.
    pub bytes: Vec<u8>,
    /// `Some`: under TLS, with a certificate for this host.
    pub tls: Option<String>,
    /// Time in all.
    pub timeout: Duration,
    /// Time without a byte.
    pub idle_timeout: Duration,
}

/// What an announcer wants done, or wants known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Find the addresses of a host; answered by [`Input::NamesResolved`].
    Resolve {
        /// The name.
        host: String,
    },
    /// Make a request; answered by [`Input::HttpReply`] or [`Input::HttpFailed`].
    HttpRequest(HttpRequest),
    /// Drop a request; no answer is expected any more.
    HttpCancel {
        /// Which.
        id: RequestId,
    },
    /// Send a datagram from the shared socket.
    SendUdp {
        /// Where to.
        to: SocketAddr,
        /// The whole datagram.
        bytes: Vec<u8>,
    },
    /// Something to know.
    Event(Event),
}

/// What an announcer makes known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A tracker named peers; never an empty list.
    PeersFound {
        /// The channel they are said to be in.
        channel: ChannelId,
        /// Where they are said to be.
        peers: Vec<SocketAddr>,
        /// Tells trackers of one run apart.
        tracker: u32,
    },
    /// A tracker has answered or failed.
    StatusChanged(TrackerStatus),
    /// A tracker says what our address looks like from there: a hint and no proof.
    ExternalAddress {
        /// Our address.
        ip: IpAddr,
        /// Where the tracker is: several addresses must agree before it is believed.
        told_by: IpAddr,
    },
    /// A channel's infohash is no longer announced; all that could be said has been.
    Left {
        /// The channel.
        channel: ChannelId,
        /// The infohash.
        infohash: InfoHash,
    },
}

/// What an announcer has with a tracker, over one IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrackerState {
    /// Its turn has not come yet.
    Due,
    /// An announce is under way.
    Asked,
    /// It took the last announce.
    Works,
    /// It failed the last time.
    Fails,
    /// It has no address of this IP version.
    Absent,
    /// Behind one of its tier that works or is being asked (BEP 12): not asked as long as that lasts.
    Spare,
}

/// How a tracker does, over one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerStatus {
    /// The channel.
    pub channel: ChannelId,
    /// What the tracker knows it by.
    pub infohash: InfoHash,
    /// The tracker's address, without a user name; it may contain a key of the user's.
    pub tracker: String,
    /// The tracker's host and port: enough for a log.
    pub host: String,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Its tier, from 0.
    pub tier: usize,
    /// The IP version.
    pub family: Family,
    /// What we have with it.
    pub state: TrackerState,
    /// When it last took an announce.
    pub last_answer: Option<Instant>,
    /// When it will be asked next, at the earliest; means nothing for a [`TrackerState::Spare`].
    pub next_try: Instant,
    /// Failures in a row.
    pub failures: u32,
    /// Why the last announce failed, in words; `None` after a good one.
    pub last_error: Option<String>,
    /// What the tracker warned about in its last answer.
    pub warning: Option<String>,
    /// Peers worth dialling in its last answer.
    pub peers_found: usize,
}

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
    under_way: usize,
    dropped: u64,
    outputs: VecDeque<Output>,
}

impl Announcer {
    /// Starts without a channel; `seed` decides every choice, so it must be secret and fresh.
    #[must_use]
    pub fn new(config: Config, now: Instant, seed: [u8; 32]) -> Self {
        Self {
            config,
            rng: Rng::from_seed(seed),
            now,
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
            .flat_map(|swarm| self.families().flat_map(|it| swarm.statuses(it, every_tier)))
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

    fn families(&self) -> impl Iterator<Item = Family> + use<> {
        let v4 = self.config.ipv4.then_some(Family::V4);
        let v6 = self.config.ipv6.then_some(Family::V6);
        v4.into_iter().chain(v6)
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
            self.leave(id);
        }
        if self.swarms.len() >= SWARMS_MAX {
            self.dropped += 1;
            return;
        }
        let persona = self.config.profile.draw_persona(&mut self.rng);
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
        ids.into_iter().for_each(|id| self.leave(id));
    }

    /// Gives up what is under way; those who may know us are told afterwards, as they become due.
    fn leave(&mut self, id: u64) {
        for key in self.swarms.get(&id).map(|swarm| swarm.under_way(id)).unwrap_or_default() {
            self.abandon(key);
        }
        let deadline = self.now + self.config.profile.stopped_timeout;
        if let Some(swarm) = self.swarms.get_mut(&id) {
            swarm.leave(deadline);
        }
        self.forget_if_done(id);
    }

    fn forget_if_done(&mut self, id: u64) {
        if !self.swarms.get(&id).is_some_and(Swarm::has_left) {
            return;
        }
        if let Some(swarm) = self.swarms.remove(&id) {
            let (channel, infohash) = (swarm.channel(), swarm.infohash());
            self.outputs.push_back(Output::Event(Event::Left { channel, infohash }));
        }
    }

    /// Begins whatever is due, as far as the bound on announces under way allows.
    fn begin_due(&mut self) {
        while self.under_way < ANNOUNCES_MAX
            && let Some((key, occasion)) = self.next_due()
        {
            self.begin(key, occasion);
        }
    }

    fn next_due(&self) -> Option<(Key, Occasion)> {
        let every_tier = self.config.profile.every_tier;
        self.swarms.iter().find_map(|(id, swarm)| {
            self.families().find_map(|family| swarm.due(*id, family, every_tier, self.now))
        })
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
            Input::StopAll => self.stop(|_| true),
            Input::NamesResolved { host, result } => self.on_names_resolved(&host, &result),
            Input::HttpReply { id, response } => self.on_http_reply(id, &response),
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
        let every_tier = self.config.profile.every_tier;
        let ends = self.swarms.values().filter_map(Swarm::next_deadline).min();
        let begins = self
            .swarms
            .values()
            .flat_map(|swarm| self.families().map(move |family| (swarm, family)))
            .filter_map(|(swarm, family)| swarm.next_begin(family, every_tier))
            .min()
            .filter(|_| may_begin);
        ends.into_iter().chain(begins).min()
    }
}

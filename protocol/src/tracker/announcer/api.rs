//! What an announcer is told and what it wants: its whole interface.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::id::{ChannelId, InfoHash};
use crate::tracker::disguise::ClientProfile;
use crate::tracker::http::Response;
use crate::tracker::url::{Scheme, TrackerUrl};

/// The settings of an [`Announcer`](super::Announcer).
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
    /// Whether all members of a channel are linked: then there is nobody to look for, and announces
    /// become rarer ([`ClientProfile::pause`]). Nothing happens for a channel that is not announced.
    Completeness {
        /// The channel.
        channel: ChannelId,
        /// Whether they are.
        complete: bool,
    },
    /// Our global IPv6 address, for clients that name it in announces.
    OwnIpv6(Option<Ipv6Addr>),
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
        /// Which of its addresses answered.
        from: SocketAddr,
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
    /// Where to connect instead, if that fails or is slow (RFC 8305).
    pub fallback: Option<SocketAddr>,
    /// The request, whole.
    pub bytes: Vec<u8>,
    /// `Some`: under TLS, with a certificate for this host.
    pub tls: Option<String>,
    /// Time in all.
    pub timeout: Duration,
    /// Time without a byte.
    pub idle_timeout: Duration,
    /// For how long the connection may lie idle and still be used again; `None`: it is closed.
    pub keep_alive: Option<Duration>,
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
    StatusChanged {
        /// How it does now.
        status: TrackerStatus,
        /// Whether that is news: it works where it failed, or fails where it worked, or warns of
        /// something else. Only news is worth a line in a log.
        turned: bool,
    },
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
    /// Behind one that works or is being asked (BEP 12): not asked as long as that lasts.
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

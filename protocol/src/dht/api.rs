//! What goes into the DHT machine and what comes out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::id::{ChannelId, InfoHash};
use crate::tracker::announcer::Family;

use super::profile::DhtProfile;
use super::saved::Saved;
use super::votes::ExternalAddress;

/// What a DHT machine is told at its birth.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which client we look like.
    pub profile: Arc<DhtProfile>,
    /// Whether there is an IPv4 socket.
    pub ipv4: bool,
    /// Whether there is an IPv6 socket.
    pub ipv6: bool,
    /// Hosts from which everybody starts; they are asked for want of others and never kept. All are
    /// resolved at the start, as the worn client does.
    pub routers: Vec<(String, u16)>,
    /// What an earlier run has left.
    pub saved: Saved,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            profile: Arc::new(DhtProfile::libtorrent_2_0_11()),
            ipv4: true,
            ipv6: true,
            routers: Vec::new(),
            saved: Saved::default(),
        }
    }
}

/// How much a channel is in want of peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// Its mesh is not complete: look for peers between announces too.
    #[default]
    Soon,
    /// Its mesh is complete: announce, and look for peers only on that occasion.
    Slow,
}

/// What the driver tells the machine.
#[derive(Debug, Clone)]
pub enum Input {
    /// A datagram that may be one of the DHT.
    Datagram {
        /// Where it came from.
        from: SocketAddr,
        /// The whole datagram.
        bytes: Vec<u8>,
    },
    /// Begins to announce a channel and to look for its peers; once more changes nothing but the port.
    Start {
        /// The channel; it may have several infohashes.
        channel: ChannelId,
        /// What the DHT knows it by.
        infohash: InfoHash,
        /// The UDP port at which we are reached.
        port: u16,
        /// It is that of the socket that the DHT uses: then the port that a NAT gives us is announced.
        shared_socket: bool,
    },
    /// Leaves a channel. The DHT has no word for it: the announces expire.
    Stop {
        /// The channel.
        channel: ChannelId,
        /// One of its infohashes, or all.
        infohash: Option<InfoHash>,
    },
    /// Leaves all channels.
    StopAll,
    /// How much a channel is in want of peers.
    SetPace {
        /// The channel.
        channel: ChannelId,
        /// How much.
        pace: Pace,
    },
    /// A node to start from, as a `.chat` file names it; asked, and kept if it answers.
    AddNode {
        /// A name or an IP address.
        host: String,
        /// Its UDP port.
        port: u16,
    },
    /// Addresses at which there may be nodes: peers of a channel use one port for everything.
    AddCandidates(Vec<SocketAddr>),
    /// Over which IP versions this host has an address that leads to the internet; until told, over
    /// both. Nobody is asked over one for nodes of the other, under that one's id, if the other has none.
    OwnAddresses {
        /// One of IPv4, be it behind a NAT.
        ipv4: bool,
        /// One of IPv6.
        ipv6: bool,
    },
    /// The answer to [`Output::Resolve`].
    NamesResolved {
        /// The host asked about.
        host: String,
        /// Its addresses, or in words why there are none.
        result: Result<Vec<IpAddr>, String>,
    },
}

/// What the machine wants done, or wants known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram from the shared socket.
    Send {
        /// Where to.
        to: SocketAddr,
        /// The whole datagram.
        bytes: Vec<u8>,
    },
    /// Find the addresses of a host; answered by [`Input::NamesResolved`].
    Resolve {
        /// The name.
        host: String,
    },
    /// Something to know.
    Event(Event),
}

/// What the machine makes known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node named peers; never an empty list, and in one look-up no peer twice.
    PeersFound {
        /// The channel they are said to be in.
        channel: ChannelId,
        /// The infohash under which they were found.
        infohash: InfoHash,
        /// Where they are said to be.
        peers: Vec<SocketAddr>,
        /// Tells those who told of them apart: all nodes of one network are one.
        source: u32,
    },
    /// Nodes of several networks agree on what our address looks like from there.
    ExternalAddress(ExternalAddress),
    /// A look-up has begun or ended.
    StatusChanged(Status),
}

/// What is being done for an infohash over one IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activity {
    /// There is nobody to ask yet.
    NoNodes,
    /// We are joining the DHT.
    Joining,
    /// A look-up is under way.
    LookingUp,
    /// The last look-up is over, the next one not yet due.
    Resting,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNodes => "no node of the DHT is known",
            Self::Joining => "joining the DHT",
            Self::LookingUp => "looking for peers",
            Self::Resting => "waiting for the next look-up",
        })
    }
}

/// Why the last look-up, or the last attempt to join, came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Trouble {
    /// None of the nodes asked has answered.
    #[error("none of the nodes that were asked has answered")]
    NoAnswer,
    /// None of the nodes to start from has answered.
    #[error("none of the nodes to start from has answered")]
    NotJoined,
    /// Nodes have answered, but none has taken our announce.
    #[error("nodes have answered, but none takes our announce")]
    NotAnnounced,
}

/// How an infohash does over one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The channel.
    pub channel: ChannelId,
    /// What the DHT knows it by.
    pub infohash: InfoHash,
    /// The IP version.
    pub family: Family,
    /// What is being done.
    pub activity: Activity,
    /// When a look-up for it last ended with answers.
    pub last_answer: Option<Instant>,
    /// When we were last announced.
    pub last_announce: Option<Instant>,
    /// When it will be looked up next, or when joining is tried next; `None`: when the DHT is joined,
    /// when there is somebody to ask, or a look-up is under way.
    pub next_try: Option<Instant>,
    /// Different peers in the last look-up.
    pub peers_found: usize,
    /// Nodes asked in the last look-up.
    pub asked: usize,
    /// Nodes that have answered in it.
    pub answered: usize,
    /// Nodes that were told of us at its end.
    pub announced_to: usize,
    /// Nodes in the routing table.
    pub nodes: usize,
    /// Look-ups that came to nothing, or attempts to join that did, in a row.
    pub failures: u32,
    /// Why the last one came to nothing; `None` after a good one.
    pub last_error: Option<Trouble>,
}

/// How the DHT does over one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// The IP version.
    pub family: Family,
    /// Our id.
    pub id: super::node_id::NodeId,
    /// We have joined.
    pub joined: bool,
    /// Nodes in the routing table.
    pub nodes: usize,
    /// When a node last answered us.
    pub last_answer: Option<Instant>,
    /// What our address looks like from outside.
    pub external: Option<ExternalAddress>,
    /// Infohashes stored for others.
    pub stored_hashes: usize,
    /// Bytes of the routing table.
    pub table_bytes: usize,
    /// Bytes of the look-ups under way.
    pub lookup_bytes: usize,
    /// Questions without an answer yet.
    pub questions_under_way: usize,
}

//! What the mesh manager and those who find members say to each other.
//!
//! Each place where members can be looked for has an actor of its own, a *discoverer*: trackers, the DHT and
//! the local network. It introduces itself to the mesh manager with [`Subscribe`], is told from then on what
//! to look for, first all that is open, and tells what it has found with [`PeersDiscovered`]:
//!
//! ```text
//! discoverer --Subscribe--> mesh manager --Announce, Withdraw, ViewChanged--> discoverer
//! discoverer --PeersDiscovered--> mesh manager
//! ```
//!
//! They have no other messages in common, and do not know each other. One that is started again
//! subscribes again.

use std::net::SocketAddr;

use actix::{Message, Recipient};
use bitchat_protocol::channel::NodeAddress;
use bitchat_protocol::id::{ChannelId, InfoHash};
use bitchat_protocol::mesh::{Completeness, Source};

/// Where a discoverer looks, and so under which infohash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Trackers and the DHT.
    Internet,
    /// The local network, which must not learn the other one.
    Lan,
}

/// A discoverer introduces itself; it is told what to look for.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe {
    /// Where it looks.
    pub place: Place,
    /// Begins to look.
    pub announce: Recipient<Announce>,
    /// Ends it.
    pub withdraw: Recipient<Withdraw>,
    /// Is told how urgent it is.
    pub view: Recipient<ViewChanged>,
}

/// Looks for the members of a channel, and tells that we are one, from now on. A channel may have
/// several infohashes. Told again, only what has changed counts.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Announce {
    /// The channel.
    pub channel: ChannelId,
    /// What it is known by in that place.
    pub infohash: InfoHash,
    /// Addresses of trackers, in tiers (BEP 12).
    pub tiers: Vec<Vec<String>>,
    /// Nodes of the DHT to begin with.
    pub nodes: Vec<NodeAddress>,
    /// The UDP port at which we are reached.
    pub port: u16,
}

/// Looks for a channel no longer, and says so where that is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Withdraw {
    /// The channel.
    pub channel: ChannelId,
    /// One of its infohashes; `None`: all.
    pub infohash: Option<InfoHash>,
}

/// We are linked with more or fewer of a channel's members: finding some is urgent while there is
/// none, and may take its time while none is missing. Where nothing is told yet, there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ViewChanged {
    /// The channel.
    pub channel: ChannelId,
    /// With how many.
    pub view: Completeness,
}

/// Members of a channel may be there. The addresses are within the scope of who told of them, and
/// bounded in number, but may be anybody's.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct PeersDiscovered {
    /// The channel.
    pub channel: ChannelId,
    /// Where they are said to be.
    pub peers: Vec<SocketAddr>,
    /// Who says so.
    pub source: Source,
}

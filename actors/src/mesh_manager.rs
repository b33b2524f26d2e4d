//! Whom we want to be linked with, and how well that goes.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`ListMembers`] | console | the members of a channel and each one's view of the mesh |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use bitchat_protocol::id::{ChannelId, PeerId};

/// How much of a channel's mesh stands, seen from one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Linked with every member known.
    Full,
    /// Linked with some.
    Partial,
    /// Linked with none.
    None,
}

/// One member of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub peer: PeerId,
    /// The display name to show.
    pub name: Arc<str>,
    /// Where the link goes; `None`: known from others, not linked with us.
    pub address: Option<SocketAddr>,
    /// Smoothed round-trip time of the link.
    pub rtt: Option<Duration>,
    /// Members that it says it is linked with.
    pub connected_with: Vec<PeerId>,
    /// Members of the channel that it does not name.
    pub not_connected_with: Vec<PeerId>,
    /// Its view in a word.
    pub mesh: Completeness,
}

/// Lists the members of a channel: those linked with us, and those known from others.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Members")]
pub struct ListMembers {
    /// The channel.
    pub channel: ChannelId,
}

/// The answer to [`ListMembers`].
#[derive(Debug, Clone, PartialEq, Eq, actix::MessageResponse)]
pub struct Members {
    /// Our own view.
    pub mesh: Completeness,
    /// The others.
    pub members: Vec<Member>,
}

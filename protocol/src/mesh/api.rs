//! What goes into the mesh machine and what comes out.

use std::net::SocketAddr;

use super::Source;
use crate::channel::Standing;
use crate::id::{ChannelId, PeerId};
use crate::wire::Peers;

/// What a mesh is told at its birth.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Us.
    pub own_peer: PeerId,
    /// Dials in flight in all channels together, at most [`crate::limits::DIALS_MAX`]. More: members are found
    /// faster among dead addresses; fewer: less conspicuous.
    pub dials_at_once: usize,
}

/// How much of a channel's mesh stands, seen from one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Completeness {
    /// Linked with every member known.
    Full,
    /// Linked with some.
    Partial,
    /// Linked with none.
    #[default]
    None,
}

/// Why a dial came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DialFailure {
    /// No answer, or a refusal, or any other failure.
    Failed,
    /// The address is our own.
    Ourselves,
    /// Somebody answered whom a person has blocked.
    Blocked,
}

/// Why a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DownReason {
    /// One side said goodbye.
    Expected,
    /// It broke.
    Lost,
}

/// What the driver tells a mesh.
#[derive(Debug, Clone)]
pub enum Input {
    /// We are in a channel from now on.
    JoinChannel {
        /// Which.
        channel: ChannelId,
        /// Where members were in an earlier run: dialled at once.
        last_known: Vec<SocketAddr>,
    },
    /// We are in a channel no longer.
    LeaveChannel(ChannelId),
    /// Members may be there.
    AddressesFound {
        /// Of which channel.
        channel: ChannelId,
        /// Where; those within no scope of their source must have been dropped before.
        addresses: Vec<SocketAddr>,
        /// Who says so.
        source: Source,
    },
    /// Where we are reached ourselves; all of them.
    OwnAddresses(Vec<SocketAddr>),
    /// A link stands and its peer was admitted.
    LinkUp {
        /// The driver's name for it, never used twice.
        link: u64,
        /// Who.
        peer: PeerId,
        /// Of the peer's run.
        incarnation: [u8; 8],
        /// The attempt, when we dialled.
        attempt: Option<u64>,
        /// Where it goes.
        address: SocketAddr,
        /// The channels both are in, and as what the peer is.
        channels: Vec<(ChannelId, Standing)>,
    },
    /// The channels shared on a link, or what the peer is in them, changed; all of them. Of a link
    /// without any its session decides how long it stays.
    SharedChanged {
        /// Which link.
        link: u64,
        /// The channels both are in, and as what the peer is.
        channels: Vec<(ChannelId, Standing)>,
    },
    /// A link that was up has ended.
    LinkDown {
        /// Which.
        link: u64,
        /// How.
        reason: DownReason,
    },
    /// An attempt came to nothing.
    DialFailed {
        /// Which.
        attempt: u64,
        /// Why.
        why: DialFailure,
    },
    /// A member tells whom it is linked with.
    PeersReceived {
        /// Who.
        from: PeerId,
        /// What.
        frame: Peers,
    },
    /// No link with this peer from now on.
    PeerBlocked(PeerId),
    /// Links with this peer are fine again.
    PeerUnblocked(PeerId),
}

/// Why the mesh ends a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Another link with the same peer stays.
    Duplicate,
    /// The two share no channel any more.
    Left,
    /// The peer has restarted: this link belongs to its earlier run.
    Superseded,
    /// The channel has all the members that a node keeps links with.
    TooMany,
    /// The peer was blocked.
    Blocked,
}

/// What the driver must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A member of a channel, or a seeder, is linked now.
    MemberUp {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As what.
        standing: Standing,
    },
    /// A member of a channel, or a seeder, is linked no longer, or not as that.
    MemberDown {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As what.
        standing: Standing,
    },
    /// How much of a channel's mesh stands has changed.
    View {
        /// The channel.
        channel: ChannelId,
        /// Seen from us.
        mine: Completeness,
    },
}

/// What a mesh wants done, or known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a link; answered by [`Input::LinkUp`] or [`Input::DialFailed`].
    Dial {
        /// Names the attempt, never used twice.
        attempt: u64,
        /// The channel whose key opens the link.
        channel: ChannelId,
        /// Where.
        address: SocketAddr,
        /// Who must answer, if that is known.
        expect: Option<PeerId>,
    },
    /// End a link; answered by [`Input::LinkDown`].
    CloseLink {
        /// Which.
        link: u64,
        /// Why.
        reason: CloseReason,
    },
    /// Tell a member whom we are linked with.
    SendPeers {
        /// To whom.
        peer: PeerId,
        /// What.
        frame: Peers,
    },
    /// Something to know.
    Event(Event),
}

/// One member of a channel, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Who.
    pub peer: PeerId,
    /// Where our link goes, or where others say that it is.
    pub address: Option<SocketAddr>,
    /// Whether it is linked with us.
    pub linked: bool,
    /// What it has proven to be on its link with us; of one that is not linked nobody can say.
    pub standing: Option<Standing>,
    /// Other members, ourselves left out, that it says it is linked with; of one that is not linked
    /// with us: that say they are linked with it.
    pub connected_with: Vec<PeerId>,
    /// The rest of the members, ourselves left out.
    pub not_connected_with: Vec<PeerId>,
    /// The same in a word, ourselves counted.
    pub mesh: Completeness,
}

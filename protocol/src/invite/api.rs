//! What the machine of invitations is told, and what it wants done.

use std::time::Duration;

use crate::channel::{Charter, Ticket};
use crate::id::{ChannelId, PeerId};
use crate::wire::Frame;

/// What the machine is told at its birth.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Us.
    pub own_peer: PeerId,
}

/// How a person knows a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquaintance {
    /// Not at all, or by a channel alone.
    Stranger,
    /// Added by a person.
    Contact,
    /// Blocked by a person.
    Blocked,
}

/// Whether a channel that somebody invites us to is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is not, or only as a seeder's where we are invited as a member.
    No,
    /// It is, and what came with the invitation is no better than what is there.
    Kept,
    /// It is, and the tickets that came have taken the place of those before.
    Renewed,
    /// It is, and what came does not fit it.
    NotGood,
}

/// What the driver tells the machine.
#[derive(Debug)]
pub enum Input {
    /// How a person knows a peer now; of those that are never named nobody knows anything.
    Known {
        /// Who.
        peer: PeerId,
        /// How.
        acquaintance: Acquaintance,
    },
    /// A peer is linked, or linked anew: what was sent to it may be lost.
    PeerUp(PeerId),
    /// It is no longer.
    PeerDown(PeerId),
    /// An invitation, or the answer to one.
    FrameReceived {
        /// Who, as the link has proven.
        from: PeerId,
        /// The calendar time since 1970.
        unix: Duration,
        /// The frame.
        frame: Frame,
    },
    /// Answers [`Output::AskHeld`].
    Held {
        /// Who invites.
        from: PeerId,
        /// To what.
        channel: ChannelId,
        /// What is there.
        held: Held,
    },
    /// A channel was joined, by an invitation or in another way.
    Joined(ChannelId),
    /// A person does not want what waits under this number.
    Declined(u32),
    /// A peer is to be invited over a link, or once more and on other terms.
    Owe {
        /// To what.
        channel: ChannelId,
        /// Whom.
        peer: PeerId,
    },
    /// It is not to be invited any more.
    Over {
        /// To what.
        channel: ChannelId,
        /// Whom.
        peer: PeerId,
    },
}

/// What the machine wants done, or known.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Issue what lets the peer in, and send it.
    Offer {
        /// To what.
        channel: ChannelId,
        /// Whom.
        peer: PeerId,
    },
    /// A peer we have invited has answered: it is owed nothing any more.
    Answered {
        /// To what.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// Whether it is in it now.
        accepted: bool,
    },
    /// A peer was blocked, and is owed nothing any more.
    Dropped {
        /// To what.
        channel: ChannelId,
        /// Whom.
        peer: PeerId,
    },
    /// Whether the channel is stored, and, where it is, to keep the tickets that are better than those
    /// there; answer with [`Input::Held`].
    AskHeld {
        /// Who invites.
        from: PeerId,
        /// To what.
        channel: ChannelId,
        /// As the invitation has it.
        charter: Charter,
        /// Whether we are invited as a member, and not as a seeder.
        is_member: bool,
        /// Judged to be good.
        tickets: Vec<Ticket>,
    },
    /// Somebody invites us: see [`super::Invitations::offer`].
    Told(u32),
    /// Somebody gave us a better ticket for a channel that we hold.
    Renewed {
        /// The channel.
        channel: ChannelId,
        /// Who.
        by: PeerId,
    },
    /// Send this, if the peer is linked; it asks again if it does not come.
    Send {
        /// To whom.
        to: PeerId,
        /// What.
        frame: Frame,
    },
}

/// What was dropped, by the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Invitations that are not genuine, not for us, or not from who may invite us.
    pub not_good: u64,
    /// Invitations that came too soon after others.
    pub too_often: u64,
    /// Invitations that found no room beside those that wait.
    pub too_many: u64,
    /// Answers of who was never invited.
    pub never_invited: u64,
}

/// Why nothing that waits is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoOffer {
    /// There is none of that number or name.
    #[error("no invitation of that number or name waits for an answer")]
    NotFound,
    /// Several are to a channel of that name.
    #[error(
        "several invitations are to a channel of that name: say the number instead, one of {}",
        .0.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
    )]
    Ambiguous(Vec<u32>),
}

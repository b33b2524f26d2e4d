//! What a person sees of invitations.

use std::sync::Arc;
use std::time::Duration;

use bitchat_protocol::channel::{Kind, Right};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::invite::Offer;

/// Somebody invites us to a closed channel. Nothing in it is escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its number in this run.
    pub number: u32,
    /// Who invites.
    pub from: PeerId,
    /// How they are called.
    pub name: Arc<str>,
    /// Whether a person has added them to the contact book.
    pub is_contact: bool,
    /// To which channel.
    pub channel: ChannelId,
    /// Its name, as the inviter has it.
    pub label: Arc<str>,
    /// Its kind.
    pub kind: Kind,
    /// Who made it, and how they are called, where that is proven.
    pub founder: Option<(PeerId, Arc<str>)>,
    /// As what.
    pub right: Right,
    /// When the first of the tickets expires, since 1970; `None`: never.
    pub expires: Option<Duration>,
}

impl Offered {
    pub(super) fn new(
        offer: &Offer,
        name: Arc<str>,
        is_contact: bool,
        founder: Option<(PeerId, Arc<str>)>,
    ) -> Self {
        Self {
            number: offer.number(),
            from: offer.from(),
            name,
            is_contact,
            channel: offer.channel(),
            label: offer.name().into(),
            kind: offer.kind(),
            founder,
            right: offer.right(),
            expires: offer.expires(),
        }
    }
}

/// Somebody whom we invited has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// To which channel.
    pub channel: ChannelId,
    /// Its name.
    pub label: Arc<str>,
    /// Whom.
    pub peer: PeerId,
    /// How they are called.
    pub name: Arc<str>,
    /// Whether they are linked: if not, it goes as soon as they are.
    pub linked: bool,
}

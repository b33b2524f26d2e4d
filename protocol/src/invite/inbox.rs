//! What waits for a person's word: what is taken in, and how much of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::{Acquaintance, Output};
use crate::channel::{Charter, ChatFile, Invitation, Kind, Lineage, Policy, Right, Ticket, judge};
use crate::id::{ChannelId, PeerId};
use crate::limits::{
    INVITE_AGE_MAX, INVITE_BYTES_PER_CONTACT_MAX, INVITE_BYTES_WAITING_MAX, INVITES_DECLINED_MAX,
    INVITES_OF_STRANGERS_MAX, INVITES_PER_CONTACT_MAX, INVITES_PER_STRANGER_MAX,
    INVITES_WAITING_MAX,
};
use crate::wire::Invite;

/// An invitation that waits for a person's word.
#[derive(Debug)]
pub struct Offer {
    number: u32,
    from: PeerId,
    invitation: Invitation,
    channel: ChannelId,
    bytes: usize,
    at: Instant,
    /// Whether a person has heard of it; before, it is asked whether the channel is held.
    is_told: bool,
}

impl Offer {
    /// Its number in this run.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Who invites.
    #[must_use]
    pub const fn from(&self) -> PeerId {
        self.from
    }

    /// To which channel.
    #[must_use]
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The channel's name, as the inviter has it; not escaped.
    #[must_use]
    pub fn name(&self) -> &str {
        self.invitation.file.name().as_str()
    }

    /// The channel's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.invitation.file.kind()
    }

    /// Who made the channel, where that is proven: by a ticket that the founder signed for this very
    /// channel, or by inviting us.
    #[must_use]
    pub fn founder(&self) -> Option<PeerId> {
        let Charter { founder, lineage, .. } = self.invitation.file.charter()?;
        let is_first = lineage == Lineage::begin(&founder, &self.channel);
        let is_proven = is_first && !self.invitation.tickets.is_empty();
        (is_proven || founder == self.from).then_some(founder)
    }

    /// As what we are invited.
    #[must_use]
    pub fn right(&self) -> Right {
        match self.invitation.tickets.last() {
            Some(ticket) => ticket.right,
            None => Right::Member,
        }
    }

    /// When the first of the tickets expires, since 1970; `None`: never.
    #[must_use]
    pub fn expires(&self) -> Option<Duration> {
        self.invitation.tickets.iter().filter_map(|ticket| ticket.expires).min()
    }

    /// The channel, and what lets us in.
    #[must_use]
    pub const fn invitation(&self) -> &Invitation {
        &self.invitation
    }
}

/// Reads an invitation of `from` to us; `None`: it is not genuine, not for us, or not from who may
/// invite us.
pub(super) fn read(
    invite: &Invite,
    own_peer: &PeerId,
    from: &PeerId,
    acquaintance: Acquaintance,
    unix: Duration,
) -> Option<Invitation> {
    let file = ChatFile::from_bytes(&invite.file.0).ok()?;
    let Charter { founder, lineage, policy } = file.charter()?;
    // The founder holds it, or has left it; nobody invites it to its own.
    if !file.kind().is_closed() || founder == *own_peer {
        return None;
    }
    let tickets = invite.tickets.iter().map(|ticket| Ticket::decode(&ticket.0).ok());
    let tickets: Vec<Ticket> = tickets.collect::<Option<_>>()?;
    if tickets.is_empty() && policy == Policy::Contacts && file.is_member() {
        // Its members let us in because they know us; so must we know who invites.
        let is_contact = acquaintance == Acquaintance::Contact;
        return is_contact.then_some(Invitation { file, tickets });
    }
    // Nobody was removed from what we do not hold, as far as we know.
    let grant = judge(&tickets, lineage, &founder, own_peer, |_| false, unix).ok()?;
    let is_fit = file.is_member() == (grant.right != Right::Seeder);
    let is_theirs = tickets.last().is_some_and(|ticket| ticket.issuer == *from);
    let may = policy == Policy::Tickets || acquaintance == Acquaintance::Contact;
    (is_fit && is_theirs && may).then_some(Invitation { file, tickets })
}

/// See the module.
#[derive(Debug)]
pub(super) struct Inbox {
    offers: BTreeMap<(PeerId, ChannelId), Offer>,
    declined: VecDeque<(PeerId, ChannelId)>,
    last_number: u32,
    pace: Pace,
}

impl Inbox {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            offers: BTreeMap::new(),
            declined: VecDeque::new(),
            last_number: 0,
            pace: Pace::new(now),
        }
    }

    pub(super) fn has_turn(
        &mut self,
        now: Instant,
        from: PeerId,
        acquaintance: Acquaintance,
    ) -> bool {
        self.pace.has_turn(now, from, acquaintance)
    }

    pub(super) fn was_declined(&self, from: &PeerId, channel: &ChannelId) -> bool {
        self.declined.contains(&(*from, *channel))
    }

    /// Takes an invitation, in place of the same one before; what is to be asked about it, `None`: it
    /// finds no room.
    pub(super) fn put(
        &mut self,
        now: Instant,
        from: PeerId,
        invitation: Invitation,
        is_stranger: impl Fn(&PeerId) -> bool,
    ) -> Option<Output> {
        self.offers.retain(|_, offer| now.saturating_duration_since(offer.at) < INVITE_AGE_MAX);
        let channel = invitation.file.keys().id();
        let charter = invitation.file.charter()?;
        let key = (from, channel);
        let bytes = invitation.file.to_bytes().len();
        let others = || self.offers.iter().filter(|(other, _)| **other != key);
        let count = |is: &dyn Fn(&PeerId) -> bool| others().filter(|((of, _), _)| is(of)).count();
        let sum = |is: &dyn Fn(&PeerId) -> bool| -> usize {
            others().filter(|((of, _), _)| is(of)).map(|(_, offer)| offer.bytes).sum()
        };
        let is_of_it = |of: &PeerId| *of == from;
        let has_room = if is_stranger(&from) {
            count(&is_of_it) < INVITES_PER_STRANGER_MAX
                && count(&is_stranger) < INVITES_OF_STRANGERS_MAX
        } else {
            count(&is_of_it) < INVITES_PER_CONTACT_MAX
                && sum(&is_of_it) + bytes <= INVITE_BYTES_PER_CONTACT_MAX
        };
        let fits = count(&|_| true) < INVITES_WAITING_MAX
            && sum(&|_| true) + bytes <= INVITE_BYTES_WAITING_MAX;
        if !has_room || !fits {
            return None;
        }
        let is_member = invitation.file.is_member();
        let tickets = invitation.tickets.clone();
        match self.offers.get_mut(&key) {
            Some(offer) => (offer.invitation, offer.bytes, offer.at) = (invitation, bytes, now),
            None => {
                self.last_number = self.last_number.wrapping_add(1);
                let (number, is_told) = (self.last_number, false);
                let at = now;
                let offer = Offer { number, from, invitation, channel, bytes, at, is_told };
                self.offers.insert(key, offer);
            }
        }
        Some(Output::AskHeld { from, channel, charter, is_member, tickets })
    }

    /// The channel is not held: a person is to hear of it; `None`: has heard, or it is gone.
    pub(super) fn tell(&mut self, from: &PeerId, channel: &ChannelId) -> Option<u32> {
        let offer = self.offers.get_mut(&(*from, *channel))?;
        let is_new = !std::mem::replace(&mut offer.is_told, true);
        is_new.then_some(offer.number)
    }

    /// What a person has heard of, oldest first.
    pub(super) fn told(&self) -> impl Iterator<Item = &Offer> {
        let mut told: Vec<_> = self.offers.values().filter(|offer| offer.is_told).collect();
        told.sort_by_key(|offer| offer.number);
        told.into_iter()
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, from: &PeerId, channel: &ChannelId) -> bool {
        self.offers.remove(&(*from, *channel)).is_some()
    }

    pub(super) fn remove_of(&mut self, peer: &PeerId) {
        self.offers.retain(|(from, _), _| from != peer);
    }

    /// Removes what a person has heard of a channel; who has invited to it.
    pub(super) fn take_told(&mut self, channel: &ChannelId) -> Vec<PeerId> {
        self.declined.retain(|(_, declined)| declined != channel);
        let (mut from, told) = (Vec::new(), |offer: &Offer| offer.is_told);
        self.offers.retain(|(peer, to), offer| {
            let taken = to == channel && told(offer);
            from.extend(taken.then_some(*peer));
            !taken
        });
        from
    }

    pub(super) fn decline(&mut self, from: PeerId, channel: ChannelId) {
        self.remove(&from, &channel);
        if self.declined.len() >= INVITES_DECLINED_MAX {
            self.declined.pop_front();
        }
        self.declined.push_back((from, channel));
    }
}

//! Invitations over links, as far as they are on disk: whom we owe one, and what is kept of one that a
//! person accepted. Of one that nobody accepted nothing is.
//!
//! When they are sent and heard is the business of [`crate::invitations`].

use std::time::Duration;

use actix::{Context, Handler, Message, MessageResult};
use bitchat_protocol::channel::{Charter, Denial, Invitation, Right, Ticket, judge};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::invite::Held;
use bitchat_protocol::limits::{
    INVITE_AGE_MAX, INVITE_BYTES_PER_CONTACT_MAX, INVITE_FILE_BYTES_MAX, INVITES_OWED_MAX,
    INVITES_PER_CONTACT_MAX,
};
use serde::{Deserialize, Serialize};

use super::shelf::Shelf;
use super::{ChannelBook, ChannelError, InvitePeer, Summary};
use crate::clock;

/// Issues a ticket as [`InvitePeer`] does, and keeps that the invitation is owed over a link.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Owed, ChannelError>")]
pub struct OweInvitation(pub InvitePeer);

/// What was issued, and whether it goes over a link as well.
#[derive(Debug)]
pub struct Owed {
    /// All that the invitee needs.
    pub invitation: Invitation,
    /// Whether it is kept until it was sent and answered.
    pub kept: Result<(), NotOwed>,
}

/// Why an invitation does not go over a link; each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOwed {
    /// No frame holds it.
    #[error(
        "the channel's file of {bytes} bytes is too large to be sent over a link, which takes \
         {INVITE_FILE_BYTES_MAX}: hand the line or the file over another way"
    )]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
    },
    /// As many wait for this peer as it would take: their number, or the bytes of their files.
    #[error(
        "as many invitations as a node takes wait for an answer of this person already, \
         {INVITES_PER_CONTACT_MAX} at most: hand the line over another way"
    )]
    PeerFull,
    /// As many wait as a profile keeps.
    #[error(
        "{INVITES_OWED_MAX} invitations wait for answers already, which is all a profile keeps: hand \
         the line over another way"
    )]
    Full,
}

/// Lists whom we owe an invitation, and to what.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<(ChannelId, PeerId)>")]
pub struct ListOwed;

/// Issues an invitation that is owed, on the terms on which it is; `None`: it is owed no longer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Option<Invitation>, ChannelError>")]
pub struct IssueOwed {
    /// To what.
    pub id: ChannelId,
    /// Whom.
    pub peer: PeerId,
}

/// An invitation is owed no longer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), ChannelError>")]
pub struct DropOwed {
    /// To what.
    pub id: ChannelId,
    /// Whom.
    pub peer: PeerId,
}

/// Asks whether a channel that somebody invites us to is held, and keeps its tickets where they are
/// better than those there.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Held")]
pub struct RenewTickets {
    /// The channel.
    pub id: ChannelId,
    /// As the invitation has it.
    pub charter: Charter,
    /// Whether we are invited as a member, and not as a seeder.
    pub is_member: bool,
    /// From the founder's to ours.
    pub tickets: Vec<Ticket>,
}

/// Stores and opens a channel that a person accepts an invitation to.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Summary, ChannelError>")]
pub struct TakeInvited(pub Invitation);

/// One that is owed, as it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owing {
    pub(super) peer: PeerId,
    right: OwedRight,
    /// When its ticket expires, in seconds since 1970.
    expires: Option<u64>,
    /// When it was issued, in seconds since 1970.
    since: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OwedRight {
    Member,
    MayInvite,
    Seeder,
}

impl Owing {
    /// Whether it is too late to send it.
    fn is_over(&self, now: Duration) -> bool {
        let at = |seconds| Duration::from_secs(seconds);
        at(self.since).saturating_add(INVITE_AGE_MAX) <= now
            || self.expires.is_some_and(|expires| at(expires) <= now)
    }

    fn terms(&self, id: ChannelId, now: Duration) -> InvitePeer {
        let right = match self.right {
            OwedRight::Member => Right::Member,
            OwedRight::MayInvite => Right::MayInvite,
            OwedRight::Seeder => Right::Seeder,
        };
        let lifetime = self.expires.map(|at| Duration::from_secs(at).saturating_sub(now));
        InvitePeer { id, peer: self.peer, right, lifetime }
    }
}

impl From<&Ticket> for Owing {
    fn from(ticket: &Ticket) -> Self {
        let right = match ticket.right {
            Right::Member => OwedRight::Member,
            Right::MayInvite => OwedRight::MayInvite,
            Right::Seeder => OwedRight::Seeder,
        };
        let expires = ticket.expires.map(|at| at.as_secs());
        Self { peer: ticket.invitee, right, expires, since: clock::unix().as_secs() }
    }
}

impl ChannelBook {
    fn owe(&mut self, asked: &InvitePeer) -> Result<Owed, ChannelError> {
        let invitation = self.invite(asked)?;
        let kept = self.check_owed(asked, &invitation);
        if let (Ok(()), Some(ticket)) = (&kept, invitation.tickets.last()) {
            let mut owed = self.shelf.get(&asked.id)?.owed.clone();
            let now = clock::unix();
            owed.retain(|it| it.peer != asked.peer && !it.is_over(now));
            owed.push(Owing::from(ticket));
            self.shelf.put_owed(&asked.id, owed)?;
        }
        Ok(Owed { invitation, kept })
    }

    fn check_owed(&self, asked: &InvitePeer, invitation: &Invitation) -> Result<(), NotOwed> {
        let bytes = invitation.file.to_bytes().len();
        if bytes > INVITE_FILE_BYTES_MAX {
            return Err(NotOwed::TooLarge { bytes });
        }
        let mut others = self.list_owed();
        others.retain(|(id, peer)| (id, peer) != (&asked.id, &asked.peer));
        let to_it = others.iter().filter(|(_, peer)| *peer == asked.peer);
        let to_it = to_it.filter_map(|(id, _)| self.shelf.get(id).ok());
        let sizes: Vec<usize> = to_it.map(|stored| stored.chat.to_bytes().len()).collect();
        // All of them are sent at once when it is linked.
        if sizes.len() >= INVITES_PER_CONTACT_MAX
            || sizes.iter().sum::<usize>() + bytes > INVITE_BYTES_PER_CONTACT_MAX
        {
            return Err(NotOwed::PeerFull);
        }
        if others.len() >= INVITES_OWED_MAX { Err(NotOwed::Full) } else { Ok(()) }
    }

    fn list_owed(&self) -> Vec<(ChannelId, PeerId)> {
        let now = clock::unix();
        let of = |(id, owed): (&ChannelId, &[Owing])| {
            let left = owed.iter().filter(|owing| !owing.is_over(now));
            left.map(|owing| (*id, owing.peer)).collect::<Vec<_>>()
        };
        self.shelf.all().flat_map(|(id, stored)| of((id, &stored.owed))).collect()
    }

    fn issue_owed(&mut self, asked: IssueOwed) -> Result<Option<Invitation>, ChannelError> {
        let IssueOwed { id, peer } = asked;
        let Ok(stored) = self.shelf.get(&id) else { return Ok(None) };
        let Some(owing) = stored.owed.iter().find(|owing| owing.peer == peer).copied() else {
            return Ok(None);
        };
        let now = clock::unix();
        if owing.is_over(now) {
            self.drop_owed(DropOwed { id, peer })?;
            return Ok(None);
        }
        self.invite(&owing.terms(id, now)).map(Some)
    }

    fn drop_owed(&mut self, DropOwed { id, peer }: DropOwed) -> Result<(), ChannelError> {
        let Ok(stored) = self.shelf.get(&id) else { return Ok(()) };
        let left = stored.owed.iter().filter(|owing| owing.peer != peer).copied();
        let left: Vec<Owing> = left.collect();
        self.shelf.put_owed(&id, left)
    }

    fn renew_tickets(&mut self, asked: RenewTickets) -> Held {
        let RenewTickets { id, charter, is_member, tickets } = asked;
        let Ok(stored) = self.shelf.get(&id) else { return Held::No };
        if is_member && !stored.chat.is_member() {
            return Held::No;
        }
        if stored.chat.charter() != Some(charter) {
            return Held::NotGood;
        }
        if tickets.is_empty() || is_member != stored.chat.is_member() {
            return Held::Kept;
        }
        let Charter { founder, lineage, .. } = charter;
        let (own, now) = (self.shelf.identity().peer_id(), clock::unix());
        let is_removed = |peer: &PeerId| stored.removed.contains(peer);
        let judged = |tickets: &[Ticket]| judge(tickets, lineage, &founder, &own, is_removed, now);
        match (judged(&tickets), judged(&stored.tickets)) {
            (Err(_), _) => return Held::NotGood,
            (Ok(new), Ok(old)) if !new.is_better_than(&old) => return Held::Kept,
            (Ok(_), _) => {}
        }
        match self.keep_tickets(id, tickets) {
            Ok(()) => Held::Renewed,
            Err(error) => {
                // Without an answer, they are sent again.
                tracing::warn!(channel = %id.short(), %error, "better tickets were not kept");
                Held::NotGood
            }
        }
    }

    fn take_invited(&mut self, invitation: Invitation) -> Result<Summary, ChannelError> {
        let Invitation { file, tickets } = invitation;
        let (id, name) = (file.keys().id(), file.name().to_string());
        let charter = file.charter().ok_or_else(|| ChannelError::NotClosed(name.clone()))?;
        let is_member = file.is_member();
        // As it may have been joined in another way since the invitation came.
        let ask = RenewTickets { id, charter, is_member, tickets: tickets.clone() };
        match self.renew_tickets(ask) {
            Held::NotGood => {
                return Err(ChannelError::Ticket { name, denial: Denial::NotGood });
            }
            Held::Kept | Held::Renewed => {}
            Held::No => {
                let Charter { founder, lineage, .. } = charter;
                let own = self.shelf.identity().peer_id();
                if !tickets.is_empty() {
                    judge(&tickets, lineage, &founder, &own, |_| false, clock::unix())
                        .map_err(|denial| ChannelError::Ticket { name, denial })?;
                }
                let is_new = self.shelf.get(&id).is_err();
                self.shelf.put(file)?;
                if let Err(error) = self.shelf.put_tickets(&id, tickets) {
                    if is_new {
                        drop(self.shelf.remove(&id));
                    }
                    return Err(error);
                }
                // One that was a seeder's until now is another to those who serve it.
                self.close_channel(id);
            }
        }
        self.open_channel(id)?;
        let stored = self.shelf.get(&id)?;
        Ok(Shelf::summary(id, stored, true))
    }
}

impl Handler<OweInvitation> for ChannelBook {
    type Result = Result<Owed, ChannelError>;

    fn handle(
        &mut self,
        OweInvitation(asked): OweInvitation,
        _: &mut Context<Self>,
    ) -> Self::Result {
        self.owe(&asked)
    }
}

impl Handler<ListOwed> for ChannelBook {
    type Result = Vec<(ChannelId, PeerId)>;

    fn handle(&mut self, _: ListOwed, _: &mut Context<Self>) -> Self::Result {
        self.list_owed()
    }
}

impl Handler<IssueOwed> for ChannelBook {
    type Result = Result<Option<Invitation>, ChannelError>;

    fn handle(&mut self, asked: IssueOwed, _: &mut Context<Self>) -> Self::Result {
        self.issue_owed(asked)
    }
}

impl Handler<DropOwed> for ChannelBook {
    type Result = Result<(), ChannelError>;

    fn handle(&mut self, asked: DropOwed, _: &mut Context<Self>) -> Self::Result {
        self.drop_owed(asked)
    }
}

impl Handler<RenewTickets> for ChannelBook {
    type Result = MessageResult<RenewTickets>;

    fn handle(&mut self, asked: RenewTickets, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.renew_tickets(asked))
    }
}

impl Handler<TakeInvited> for ChannelBook {
    type Result = Result<Summary, ChannelError>;

    fn handle(&mut self, TakeInvited(taken): TakeInvited, _: &mut Context<Self>) -> Self::Result {
        self.take_invited(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_over_after_a_month_or_when_its_ticket_has_expired() {
        let (peer, right) = (PeerId([1; 32]), OwedRight::Member);
        let (since, day) = (1_800_000_000, 86_400);
        let at = |seconds: u64| Duration::from_secs(since + seconds);
        let for_ever = Owing { peer, right, expires: None, since };
        assert!(!for_ever.is_over(at(30 * day - 1)) && for_ever.is_over(at(30 * day)));
        let for_a_day = Owing { expires: Some(since + day), ..for_ever };
        assert!(!for_a_day.is_over(at(day - 1)) && for_a_day.is_over(at(day)));
        // A clock that went back makes nothing too old.
        assert!(!for_ever.is_over(Duration::ZERO));
        let terms = for_a_day.terms(ChannelId([2; 32]), at(day - 10));
        assert_eq!(terms.lifetime, Some(Duration::from_secs(10)));
    }
}

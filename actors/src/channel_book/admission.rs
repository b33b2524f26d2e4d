//! Who is let into closed channels: judges what peers show, keeps what lets us in, and invites.
//! In what words somebody is turned down, and who does not let us in: `refusals`.
//!
//! The rules are in [`bitchat_protocol::channel`]; here are the clock, the disk and the words.

use std::time::Duration;

use actix::{Context, Handler, Message, MessageResult};
use bitchat_protocol::channel::{
    Charter, Denial, Grant, Invitation, Policy, Right, Standing, Ticket, judge,
};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::session::Turndown;
use bitchat_protocol::wire::TicketBytes;

use super::refusals::{channel_is_gone, turndown};
use super::shelf::Stored;
use super::{ChannelBook, ChannelError, ChannelEvent, OpenedChannel};
use crate::clock;

/// For how long a verdict on tickets that expire holds at most.
const JUDGED_FOR_MAX: Duration = Duration::from_secs(3600);

/// Asks whether a peer that has proven a closed channel may be in it; `Ok`: for so long, or for ever.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Option<Duration>, Turndown>")]
pub struct JudgePeer {
    /// The channel.
    pub channel: ChannelId,
    /// Who, as the link has proven.
    pub peer: PeerId,
    /// What it has proven to be.
    pub standing: Standing,
    /// What it shows.
    pub tickets: Vec<TicketBytes>,
}

/// Keeps the tickets that let us into a stored channel, in place of those before if those are not
/// better.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), ChannelError>")]
pub struct KeepTickets {
    /// The channel.
    pub id: ChannelId,
    /// From the founder's to ours.
    pub tickets: Vec<Ticket>,
}

/// Issues a ticket for a closed channel; answered with all that the invitee needs.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Invitation, ChannelError>")]
pub struct InvitePeer {
    /// The channel.
    pub id: ChannelId,
    /// Whom.
    pub peer: PeerId,
    /// As what.
    pub right: Right,
    /// For how long from now; `None`: for ever.
    pub lifetime: Option<Duration>,
}

/// Asks whether what lets us into a closed channel is at hand and good; a founder needs nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "bool")]
pub struct HasTickets {
    /// The channel.
    pub id: ChannelId,
}

impl ChannelBook {
    fn judge_peer(
        &self,
        stored: &Stored,
        charter: &Charter,
        asked: &JudgePeer,
    ) -> Result<Option<Duration>, Denial> {
        let is_contact = self.names.contains_key(&asked.peer) || asked.peer == charter.founder;
        // We cannot tell a member from a seeder without being a member.
        let can_tell = stored.chat.is_member();
        let is_seeder = can_tell && asked.standing == Standing::Seeder;
        let by_contact = charter.policy == Policy::Contacts && !is_seeder;
        let is_removed = |peer: &PeerId| stored.removed.contains(peer);
        if by_contact && is_removed(&asked.peer) {
            return Err(Denial::Removed);
        }
        if by_contact && is_contact {
            return Ok(None);
        }
        if by_contact && can_tell {
            return Err(Denial::NoContact);
        }
        let tickets: Result<Vec<_>, _> =
            asked.tickets.iter().map(|ticket| Ticket::decode(&ticket.0)).collect();
        let tickets = tickets.map_err(|_| Denial::NotGood)?;
        let now = clock::unix();
        let Charter { founder, lineage, .. } = charter;
        let grant = judge(&tickets, *lineage, founder, &asked.peer, is_removed, now)?;
        let fits = match (can_tell, asked.standing, grant.right) {
            (false, ..)
            | (true, Standing::Seeder, Right::Seeder)
            | (true, Standing::Member, Right::Member | Right::MayInvite) => true,
            // The founder may keep its own channel alive from a node that cannot read.
            (true, Standing::Seeder, Right::Member | Right::MayInvite) => {
                asked.peer == charter.founder
            }
            (true, Standing::Member, Right::Seeder) => false,
        };
        if !fits {
            return Err(Denial::OtherRole);
        }
        // A second later it is surely past. The time of a machine that sleeps may stand still.
        let left = grant.expires.map(|at| at.saturating_sub(now) + Duration::from_secs(1));
        Ok(left.map(|left| left.min(JUDGED_FOR_MAX)))
    }

    /// What `tickets` let us be in a closed channel.
    pub(super) fn own_grant(&self, stored: &Stored, tickets: &[Ticket]) -> Result<Grant, Denial> {
        let own = self.shelf.identity().peer_id();
        let Charter { founder, lineage, .. } = stored.chat.charter().ok_or(Denial::NotGood)?;
        let is_removed = |peer: &PeerId| stored.removed.contains(peer);
        let grant = judge(tickets, lineage, &founder, &own, is_removed, clock::unix())?;
        let is_fit = own == founder || stored.chat.is_member() == (grant.right != Right::Seeder);
        if is_fit { Ok(grant) } else { Err(Denial::OtherRole) }
    }

    /// Tells the sessions that something about who may be in a channel is another now.
    pub(super) fn doors_changed(&mut self, ids: &[ChannelId]) {
        for id in ids {
            self.revision += 1;
            let revision = self.revision;
            let Ok(stored) = self.shelf.get_mut(id) else { continue };
            stored.revision = revision;
            if let Some(opened) = self.open.get_mut(id) {
                *opened = OpenedChannel::new(stored);
                let changed = ChannelEvent::Changed(std::sync::Arc::clone(opened));
                self.tell(&changed);
            }
        }
    }

    /// Those of the channels where each one's own contacts are let in.
    pub(super) fn contacts_doors(&self) -> Vec<ChannelId> {
        let by_contact = |stored: &Stored| {
            stored.chat.charter().is_some_and(|charter| charter.policy == Policy::Contacts)
        };
        self.shelf.all().filter(|(_, stored)| by_contact(stored)).map(|(id, _)| *id).collect()
    }

    pub(super) fn keep_tickets(
        &mut self,
        id: ChannelId,
        tickets: Vec<Ticket>,
    ) -> Result<(), ChannelError> {
        let stored = self.shelf.get(&id)?;
        let name = stored.chat.name().to_string();
        if stored.chat.charter().is_none() {
            return Err(ChannelError::NotClosed(name));
        }
        let new = self.own_grant(stored, &tickets);
        let new = new.map_err(|denial| ChannelError::Ticket { name, denial })?;
        let is_worse = self.own_grant(stored, &stored.tickets).is_ok_and(|old| {
            let longer_chain = (new, stored.tickets.len() < tickets.len()) == (old, true);
            !is_as_good(&new, &old) || longer_chain
        });
        if !is_worse && self.shelf.put_tickets(&id, tickets)? {
            self.forget_refusals(&id);
            self.doors_changed(&[id]);
        }
        Ok(())
    }

    pub(super) fn invite(&self, asked: &InvitePeer) -> Result<Invitation, ChannelError> {
        let stored = self.shelf.get(&asked.id)?;
        let name = || stored.chat.name().to_string();
        let charter = stored.chat.charter().ok_or_else(|| ChannelError::NotClosed(name()))?;
        let own = self.shelf.identity();
        let (own_id, now) = (own.peer_id(), clock::unix());
        let Charter { founder, lineage, .. } = charter;
        if asked.peer == own_id || asked.peer == founder {
            return Err(ChannelError::InNeedOfNone(name()));
        }
        self.check_present(&asked.id)?;
        let is_removed = |peer: &PeerId| stored.removed.contains(peer);
        if is_removed(&asked.peer) {
            let known = self.names.get(&asked.peer);
            let peer = known.map_or_else(|| asked.peer.short(), ToString::to_string);
            return Err(ChannelError::WasRemoved { name: name(), peer });
        }
        let grant = judge(&stored.tickets, lineage, &founder, &own_id, is_removed, now)
            .map_err(|denial| ChannelError::Ticket { name: name(), denial })?;
        let may = grant.right == Right::MayInvite
            && stored.chat.is_member()
            && (asked.right != Right::Seeder || own_id == founder);
        if !may {
            return Err(ChannelError::MayNotInvite(name()));
        }
        let expires = asked.lifetime.map(|lifetime| now.saturating_add(lifetime));
        let ticket = Ticket::issue(own, lineage, asked.peer, asked.right, expires);
        let mut tickets = if own_id == founder { Vec::new() } else { stored.tickets.clone() };
        tickets.push(ticket);
        // As long as we are let in ourselves, only the length can be wrong.
        judge(&tickets, lineage, &founder, &asked.peer, is_removed, now)
            .map_err(|_| ChannelError::ChainTooLong(name()))?;
        let file = match asked.right {
            Right::Seeder => stored.chat.seed_only(),
            Right::Member | Right::MayInvite => stored.chat.clone(),
        };
        Ok(Invitation { file, tickets })
    }
}

/// Whether one lets us do all that the other does, and for as long.
fn is_as_good(new: &Grant, old: &Grant) -> bool {
    let lasts = |grant: &Grant| grant.expires.unwrap_or(Duration::MAX);
    let may = new.right == Right::MayInvite || old.right != Right::MayInvite;
    may && lasts(new) >= lasts(old)
}

impl Handler<JudgePeer> for ChannelBook {
    type Result = MessageResult<JudgePeer>;

    fn handle(&mut self, asked: JudgePeer, _: &mut Context<Self>) -> Self::Result {
        let Ok(stored) = self.shelf.get(&asked.channel) else {
            return MessageResult(Err(channel_is_gone()));
        };
        // An open one is for whoever has proven it.
        let Some(charter) = stored.chat.charter() else { return MessageResult(Ok(None)) };
        let judged = self.judge_peer(stored, &charter, &asked);
        MessageResult(judged.map_err(|denial| {
            tracing::info!(peer = %asked.peer.short(), channel = %asked.channel.short(), %denial, "not let in");
            turndown(stored, &charter, denial)
        }))
    }
}

impl Handler<KeepTickets> for ChannelBook {
    type Result = Result<(), ChannelError>;

    fn handle(&mut self, keep: KeepTickets, _: &mut Context<Self>) -> Self::Result {
        self.keep_tickets(keep.id, keep.tickets)
    }
}

impl Handler<InvitePeer> for ChannelBook {
    type Result = Result<Invitation, ChannelError>;

    fn handle(&mut self, invite: InvitePeer, _: &mut Context<Self>) -> Self::Result {
        self.invite(&invite)
    }
}

impl Handler<HasTickets> for ChannelBook {
    type Result = bool;

    fn handle(&mut self, asked: HasTickets, _: &mut Context<Self>) -> Self::Result {
        let has = |stored: &Stored| self.own_grant(stored, &stored.tickets).is_ok();
        self.shelf.get(&asked.id).is_ok_and(has)
    }
}

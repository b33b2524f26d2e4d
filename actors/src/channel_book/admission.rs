//! Who is let into closed channels: judges what peers show, keeps what lets us in, and invites.
//!
//! The rules are in [`bitchat_protocol::channel`]; here are the clock, the disk and the words.

use std::time::{Duration, Instant};

use actix::{Context, Handler, Message, MessageResult};
use bitchat_protocol::channel::{
    Charter, Denial, Invitation, Policy, Right, Standing, Ticket, judge,
};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::limits::REFUSAL_BYTES_MAX;
use bitchat_protocol::session::Turndown;
use bitchat_protocol::wire::TicketBytes;

use super::shelf::Stored;
use super::{ChannelBook, ChannelError, ChannelEvent, OpenedChannel};
use crate::clock;

/// For how long the same refusal is not told a person again.
const TOLD_FOR: Duration = Duration::from_secs(3600);

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

/// A peer does not let us into a closed channel.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct NoteTurndown {
    /// The channel.
    pub channel: ChannelId,
    /// Who does not.
    pub by: PeerId,
    /// Its name, to be shown.
    pub name: std::sync::Arc<str>,
    /// Why.
    pub why: Turndown,
}

/// Keeps the tickets that let us into a stored channel, in place of those before.
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

/// Asks whether what lets us into a closed channel is at hand; a founder needs nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "bool")]
pub struct HasTickets {
    /// The channel.
    pub id: ChannelId,
}

/// Lists who does not let us into which closed channel, by what they said last.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Refused>")]
pub struct ListRefused;

/// Somebody does not let us into a closed channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The channel.
    pub channel: ChannelId,
    /// The name of who does not.
    pub by: std::sync::Arc<str>,
    /// What they said; not escaped.
    pub text: String,
    /// When.
    pub at: Instant,
    pub(super) code: u8,
}

impl ChannelBook {
    fn judge_peer(&self, asked: &JudgePeer) -> Result<Option<Duration>, (Charter, Denial)> {
        let Ok(stored) = self.shelf.get(&asked.channel) else { return Ok(None) };
        let Some(charter) = stored.chat.charter() else { return Ok(None) };
        let denied = |denial| (charter, denial);
        let is_contact = self.names.contains_key(&asked.peer);
        let by_contact = charter.policy == Policy::Contacts;
        // We cannot tell a member from a seeder without being a member.
        let is_seeder = stored.chat.is_member() && asked.standing == Standing::Seeder;
        if by_contact && !is_seeder {
            let is_in = is_contact || asked.peer == charter.founder;
            return if is_in { Ok(None) } else { Err(denied(Denial::NoContact)) };
        }
        let tickets: Result<Vec<_>, _> =
            asked.tickets.iter().map(|ticket| Ticket::decode(&ticket.0)).collect();
        let tickets = tickets.map_err(|_| denied(Denial::NotGood))?;
        let now = clock::unix();
        let grant = judge(&tickets, charter.lineage, &charter.founder, &asked.peer, |_| false, now)
            .map_err(denied)?;
        let fits = match (stored.chat.is_member(), asked.standing, grant.right) {
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
            return Err(denied(Denial::OtherRole));
        }
        // A second later it is surely past.
        let left = grant.expires.map(|at| at.saturating_sub(now) + Duration::from_secs(1));
        Ok(left)
    }

    fn words(&self, channel: &ChannelId, charter: &Charter, denial: Denial) -> Turndown {
        let name = self.shelf.get(channel).map(|stored| stored.chat.name().to_string());
        let name = name.unwrap_or_default();
        let who =
            |peer: &PeerId| self.names.get(peer).map_or_else(|| peer.short(), ToString::to_string);
        let founder = who(&charter.founder);
        let ask = |who: &str| format!("ask {who} for one: bitchat channel invite {name:?} YOU");
        let (code, text) = match denial {
            Denial::NoTicket => {
                (1, format!("{name} is invite-only and you have no ticket: {}", ask(&founder)))
            }
            Denial::NotGood => (
                2,
                format!(
                    "{name} is invite-only and your ticket is not good here: {}",
                    ask(&founder)
                ),
            ),
            Denial::Expired { issuer } => (
                3,
                format!(
                    "{name} is invite-only and your ticket has expired: {}",
                    ask(&who(&issuer))
                ),
            ),
            Denial::Removed => {
                (4, format!("you, or who invited you, were removed from {name} by {founder}"))
            }
            Denial::OtherRole => (
                5,
                format!(
                    "your ticket for {name} is for another role than your file (member or \
                     seeder): ask {founder} for both"
                ),
            ),
            Denial::NoContact => (
                6,
                format!(
                    "{name} lets in contacts only: give your card to its members, who add you with \
                     bitchat contact add CARD"
                ),
            ),
        };
        Turndown { code, text: cut(text) }
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

    fn keep_tickets(&mut self, id: ChannelId, tickets: Vec<Ticket>) -> Result<(), ChannelError> {
        let stored = self.shelf.get(&id)?;
        let name = stored.chat.name().to_string();
        let Some(charter) = stored.chat.charter() else {
            return Err(ChannelError::NotClosed(name));
        };
        let own = self.shelf.identity().peer_id();
        let Charter { founder, lineage, .. } = charter;
        judge(&tickets, lineage, &founder, &own, |_| false, clock::unix())
            .map_err(|denial| ChannelError::Ticket { name, denial })?;
        if self.shelf.put_tickets(&id, tickets)? {
            self.turned_down.retain(|refused| refused.channel != id);
            self.doors_changed(&[id]);
        }
        Ok(())
    }

    fn invite(&self, asked: &InvitePeer) -> Result<Invitation, ChannelError> {
        let stored = self.shelf.get(&asked.id)?;
        let name = || stored.chat.name().to_string();
        let charter = stored.chat.charter().ok_or_else(|| ChannelError::NotClosed(name()))?;
        let own = self.shelf.identity();
        let (own_id, now) = (own.peer_id(), clock::unix());
        let Charter { founder, lineage, .. } = charter;
        if asked.peer == own_id || asked.peer == founder {
            return Err(ChannelError::InNeedOfNone(name()));
        }
        let grant = judge(&stored.tickets, lineage, &founder, &own_id, |_| false, now)
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
        judge(&tickets, lineage, &founder, &asked.peer, |_| false, now)
            .map_err(|_| ChannelError::ChainTooLong(name()))?;
        let file = match asked.right {
            Right::Seeder => stored.chat.seed_only(),
            Right::Member | Right::MayInvite => stored.chat.clone(),
        };
        Ok(Invitation { file, tickets })
    }

    fn note_turndown(&mut self, note: NoteTurndown) {
        let NoteTurndown { channel, by, name, why } = note;
        let Ok(stored) = self.shelf.get(&channel) else { return };
        let label = stored.chat.name().to_string();
        let (now, Turndown { code, text }) = (clock::now(), why);
        let is_old = |refused: &Refused| {
            refused.channel == channel
                && refused.code == code
                && now.saturating_duration_since(refused.at) < TOLD_FOR
        };
        let is_known = self.turned_down.iter().any(is_old);
        if !is_known {
            tracing::info!(channel = %channel.short(), by = %by.short(), "we are not let in");
            self.tell(&ChannelEvent::NotLetIn {
                channel,
                label: label.into(),
                by: std::sync::Arc::clone(&name),
                text: text.clone(),
            });
            // One of each code and channel: the codes are few.
            self.turned_down.retain(|it| it.channel != channel || it.code != code);
            self.turned_down.push(Refused { channel, by: name, text, at: now, code });
        }
    }
}

/// A text that fits a frame.
fn cut(mut text: String) -> String {
    let mut at = REFUSAL_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.truncate(at);
    text
}

/// What a person is told when somebody does not let us in; not escaped.
#[must_use]
pub fn refusal_words(label: &str, by: &str, text: &str) -> String {
    format!("{by} does not let you into {label}: {text}")
}

impl Handler<JudgePeer> for ChannelBook {
    type Result = MessageResult<JudgePeer>;

    fn handle(&mut self, asked: JudgePeer, _: &mut Context<Self>) -> Self::Result {
        let judged = self.judge_peer(&asked);
        MessageResult(judged.map_err(|(charter, denial)| {
            tracing::info!(peer = %asked.peer.short(), channel = %asked.channel.short(), %denial, "not let in");
            self.words(&asked.channel, &charter, denial)
        }))
    }
}

impl Handler<NoteTurndown> for ChannelBook {
    type Result = ();

    fn handle(&mut self, note: NoteTurndown, _: &mut Context<Self>) {
        self.note_turndown(note);
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
        let own = self.shelf.identity().peer_id();
        self.shelf
            .get(&asked.id)
            .is_ok_and(|stored| !stored.tickets.is_empty() || stored.chat.founder() == Some(own))
    }
}

impl Handler<ListRefused> for ChannelBook {
    type Result = Vec<Refused>;

    fn handle(&mut self, _: ListRefused, _: &mut Context<Self>) -> Self::Result {
        self.turned_down.clone()
    }
}

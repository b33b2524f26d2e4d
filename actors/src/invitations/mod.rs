//! Invitations to closed channels over links: sends those that we owe, hears those of others, and has
//! a person say yes or no.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`Invite`] | console, control | issues a ticket, and sends it over a link now or when there is one |
//! | [`ListInvitations`] | console, control | what waits for a word of ours, and for one of others |
//! | [`Accept`] | console, control | stores and opens the channel of one that waits |
//! | [`Decline`] | console, control | forgets one, and says so to who sent it |
//! | [`InviteNews`] | peer supervisor, crypto sessions | who is linked, and what they say |
//! | [`ChannelEvent`] | channel book | which channels are there |
//! | [`ContactChanged`] | contact book | whom a person knows, and by which name |
//!
//! Owns: the machine of [`bitchat_protocol::invite`]. What others invite us to is in memory alone until
//! a person accepts it: nothing of it is on disk, nor in the log.
//! Lost on a crash: what waits for a word of ours; who sent it does so again. What we owe others is
//! kept by the channel book.
//! Spec: `docs/spec/11-admission.md`, section 3.

mod offered;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, MessageResult,
    Recipient, ResponseActFuture, WrapFuture as _,
};
use bitchat_protocol::channel::{Charter, Invitation, Ticket};
use bitchat_protocol::contact::{Contact, Trust};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::invite::{
    self, Acquaintance, Held, Input, Invitations as Machine, NoOffer, Output,
};
use bitchat_protocol::wire::{self, FileBytes, Frame, TicketBytes};
use bytes::Bytes;

use crate::channel_book::{
    self, ChannelError, ChannelEvent, DropOwed, FindChannel, InvitePeer, IssueOwed, ListOwed,
    NotOwed, OweInvitation, RenewTickets, Summary, TakeInvited,
};
use crate::chat_desk::{Announce, Notice};
use crate::clock;
use crate::contact_book::{self, ContactChanged, ListContacts};
use crate::directory::Directory;
use crate::driver::{Drive, Driver};
use crate::peer_supervisor::{InviteNews, SubscribeInvites};

pub use offered::{Offered, Unanswered};

/// Messages waiting at most, on top of one per sender. What finds no room is sent again.
const MAILBOX: usize = 64;

/// Issues a ticket for a closed channel, and sends it with the channel's file over a link with the
/// invitee, now or as soon as there is one.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Invited, InviteError>")]
pub struct Invite(pub InvitePeer);

/// What was issued.
#[derive(Debug)]
pub struct Invited {
    /// All that the invitee needs, to be handed over in another way as well.
    pub invitation: Invitation,
    /// Which way it goes by itself.
    pub delivery: Delivery,
}

/// Which way an invitation goes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Over the link that there is.
    Sent,
    /// There is no link: as soon as there is one, in this run or another.
    Waits,
    /// Not at all.
    NotSent(NotOwed),
}

/// Lists what waits for an answer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Listing")]
pub struct ListInvitations;

/// What waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// For one of ours, oldest first.
    pub offered: Vec<Offered>,
    /// For one of others.
    pub unanswered: Vec<Unanswered>,
}

/// Stores and opens the channel of an invitation.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Summary, InviteError>")]
pub struct Accept {
    /// Its number, or the name of the channel.
    pub which: String,
}

/// Forgets an invitation, and says so to who sent it; answered with what it was.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Offered, InviteError>")]
pub struct Decline {
    /// Its number, or the name of the channel.
    pub which: String,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// Nothing that waits is meant.
    #[error(transparent)]
    NoOffer(#[from] NoOffer),
    /// The channel book refuses.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The channel book is being started again, and this actor after it.
    #[error("the node is starting a part of itself again; ask once more")]
    Starting,
}

/// Whom this actor talks to; all are started before it.
#[derive(Debug)]
pub struct Offices {
    /// Peer supervisor.
    pub peers: Recipient<SubscribeInvites>,
    /// Contact book.
    pub contacts: Recipient<ListContacts>,
    /// Contact book.
    pub changes: Recipient<contact_book::Subscribe>,
    /// Chat desk.
    pub notices: Recipient<Announce>,
    /// Channel book.
    pub channels: ChannelOffices,
}

/// What it asks of the channel book.
#[derive(Debug)]
pub struct ChannelOffices {
    /// Tells which channels are open.
    pub events: Recipient<channel_book::Subscribe>,
    /// Keeps what we owe.
    pub owe: Recipient<OweInvitation>,
    /// Knows what we owe.
    pub owed: Recipient<ListOwed>,
    /// Issues what we owe.
    pub issue: Recipient<IssueOwed>,
    /// Forgets what we owe no longer.
    pub drop: Recipient<DropOwed>,
    /// Knows whether a channel is held.
    pub renew: Recipient<RenewTickets>,
    /// Takes in what was accepted.
    pub take: Recipient<TakeInvited>,
    /// Knows names.
    pub find: Recipient<FindChannel>,
}

/// The actor.
pub struct Invitations {
    driver: Driver<Machine>,
    offices: Offices,
    directory: Directory,
    /// How people in the contact book are called.
    names: BTreeMap<PeerId, Arc<str>>,
}

impl std::fmt::Debug for Invitations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.driver.machine().offers().count();
        f.debug_struct("Invitations").field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl Invitations {
    /// Begins with nothing that waits.
    #[must_use]
    pub fn new(own_peer: PeerId, offices: Offices, directory: Directory) -> Self {
        let machine = Machine::new(clock::now(), invite::Config { own_peer });
        Self { driver: Driver::new(machine), offices, directory, names: BTreeMap::new() }
    }

    /// The name to show: the contact book's, else the one on the link, else a short id.
    fn name(&self, peer: &PeerId) -> Arc<str> {
        let known = self.names.get(peer).cloned().or_else(|| self.directory.name(peer));
        known.unwrap_or_else(|| peer.short().into())
    }

    fn meet(&mut self, peer: PeerId, contact: Option<&Contact>, ctx: &mut Context<Self>) {
        let acquaintance = match contact.map(|contact| contact.trust) {
            Some(Trust::Known | Trust::Verified) => Acquaintance::Contact,
            Some(Trust::Blocked) => Acquaintance::Blocked,
            Some(Trust::Seen) | None => Acquaintance::Stranger,
        };
        match contact {
            Some(contact) => self.names.insert(peer, Arc::clone(&contact.name)),
            None => self.names.remove(&peer),
        };
        self.input(Input::Known { peer, acquaintance }, ctx);
    }

    /// Learns whom a person knows and what we owe, before anything else is dealt with.
    fn begin(&self, ctx: &mut Context<Self>) {
        let own = ctx.address();
        // First, so that no change is missed.
        self.offices.changes.do_send(contact_book::Subscribe(own.recipient()));
        let contacts = self.offices.contacts.send(ListContacts);
        let owed = self.offices.channels.owed.send(ListOwed);
        // With the books, this one starts again as well.
        let known = async { (contacts.await.unwrap_or_default(), owed.await.unwrap_or_default()) };
        ctx.wait(known.into_actor(self).map(|(contacts, owed), desk, ctx| {
            for contact in &contacts {
                desk.meet(contact.peer, Some(contact), ctx);
            }
            for (channel, peer) in owed {
                desk.input(Input::Owe { channel, peer }, ctx);
            }
            let own = ctx.address();
            let events = channel_book::Subscribe(own.clone().recipient());
            desk.offices.channels.events.do_send(events);
            desk.offices.peers.do_send(SubscribeInvites(own.recipient()));
        }));
    }

    /// Owes what the book carried over to a channel that took the place of another; that one is asked
    /// for in vain and so forgotten.
    fn owe_anew(&self, successor: ChannelId, ctx: &mut Context<Self>) {
        let owed = self.offices.channels.owed.send(ListOwed).into_actor(self);
        ctx.spawn(owed.map(move |owed, desk, ctx| {
            let of = owed.unwrap_or_default().into_iter().filter(|(id, _)| *id == successor);
            for (channel, peer) in of {
                desk.input(Input::Owe { channel, peer }, ctx);
            }
        }));
    }

    fn offered(&self, offer: &invite::Offer) -> Offered {
        let founder = offer.founder().map(|founder| (founder, self.name(&founder)));
        let is_contact = self.driver.machine().acquaintance(&offer.from()) == Acquaintance::Contact;
        Offered::new(offer, self.name(&offer.from()), is_contact, founder)
    }

    fn announce(&self, notice: Notice) {
        // The machine bounds how often.
        self.offices.notices.do_send(Announce(notice));
    }

    /// Announces something about a channel, by its name.
    fn announce_of(
        &self,
        channel: ChannelId,
        notice: impl FnOnce(Arc<str>) -> Notice + 'static,
        ctx: &mut Context<Self>,
    ) {
        let find = FindChannel { text: channel.to_string() };
        let found = self.offices.channels.find.send(find);
        ctx.spawn(found.into_actor(self).map(move |found, desk, _| {
            let label = match found {
                Ok(Ok(summary)) => summary.name.as_str().into(),
                Ok(Err(_)) | Err(_) => channel.short().into(),
            };
            desk.announce(notice(label));
        }));
    }

    fn offer(&self, channel: ChannelId, peer: PeerId, ctx: &mut Context<Self>) {
        let issued = self.offices.channels.issue.send(IssueOwed { id: channel, peer });
        ctx.spawn(issued.into_actor(self).map(move |issued, desk, ctx| match issued {
            Ok(Ok(Some(invitation))) => desk.send(&peer, &to_frame(&invitation)),
            Ok(Ok(None)) => desk.input(Input::Over { channel, peer }, ctx),
            Ok(Err(error)) => {
                // Such as a ticket of our own that has expired: it is tried again.
                tracing::warn!(peer = %peer.short(), %error, "an invitation cannot be issued now");
            }
            // It is being started again, and this actor as well.
            Err(_) => {}
        }));
    }

    fn drop_owed(&self, id: ChannelId, peer: PeerId, ctx: &mut Context<Self>) {
        let dropped = self.offices.channels.drop.send(DropOwed { id, peer });
        ctx.spawn(dropped.into_actor(self).map(move |dropped, _, _| {
            if let Ok(Err(error)) = dropped {
                // At the next start it is sent once more, and answered as it was.
                tracing::warn!(%error, "an invitation that was answered is still kept");
            }
        }));
    }

    fn ask_held(
        &self,
        from: PeerId,
        (id, charter, is_member, tickets): (ChannelId, Charter, bool, Vec<Ticket>),
        ctx: &mut Context<Self>,
    ) {
        let ask = RenewTickets { id, charter, is_member, tickets };
        let held = self.offices.channels.renew.send(ask);
        ctx.spawn(held.into_actor(self).map(move |held, desk, ctx| {
            // Without the channel book, this actor is started again.
            let held = held.unwrap_or(Held::NotGood);
            desk.input(Input::Held { from, channel: id, held }, ctx);
        }));
    }

    fn send(&self, peer: &PeerId, frame: &Frame) {
        let body = Bytes::from(wire::encode(frame));
        // What cannot be sent now is sent again, or asked for again, at the next link.
        if self.directory.send(peer, vec![body]).is_err() {
            tracing::debug!(peer = %peer.short(), "could not be sent to");
        }
    }
}

fn to_frame(invitation: &Invitation) -> Frame {
    let bytes = |ticket: &Ticket| ticket.encode().try_into().ok().map(TicketBytes);
    Frame::Invite(wire::Invite {
        file: FileBytes(invitation.file.to_bytes()),
        tickets: invitation.tickets.iter().filter_map(bytes).collect(),
    })
}

impl Drive for Invitations {
    type Machine = Machine;

    fn driver(&mut self) -> &mut Driver<Machine> {
        &mut self.driver
    }

    fn perform(&mut self, output: Output, ctx: &mut Context<Self>) {
        match output {
            Output::Offer { channel, peer } => self.offer(channel, peer, ctx),
            Output::Answered { channel, peer, accepted } => {
                self.drop_owed(channel, peer, ctx);
                let name = self.name(&peer);
                let notice =
                    move |label| Notice::InviteAnswered { channel, label, peer, name, accepted };
                self.announce_of(channel, notice, ctx);
            }
            Output::Dropped { channel, peer } => self.drop_owed(channel, peer, ctx),
            Output::AskHeld { from, channel, charter, is_member, tickets } => {
                self.ask_held(from, (channel, charter, is_member, tickets), ctx);
            }
            Output::Told(number) => {
                if let Some(offer) = self.driver.machine().offer(number) {
                    self.announce(Notice::Invited(Box::new(self.offered(offer))));
                }
            }
            Output::Renewed { channel, by } => {
                let name = self.name(&by);
                let notice = move |label| Notice::TicketRenewed { channel, label, by, name };
                self.announce_of(channel, notice, ctx);
            }
            Output::Send { to, frame } => self.send(&to, &frame),
        }
    }
}

impl Actor for Invitations {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.begin(ctx);
    }
}

impl Handler<Invite> for Invitations {
    type Result = ResponseActFuture<Self, Result<Invited, InviteError>>;

    fn handle(&mut self, Invite(asked): Invite, _: &mut Self::Context) -> Self::Result {
        let InvitePeer { id: channel, peer, .. } = asked;
        let owed = self.offices.channels.owe.send(OweInvitation(asked));
        Box::pin(owed.into_actor(self).map(move |owed, desk, ctx| {
            let channel_book::Owed { invitation, kept } =
                owed.map_err(|_| InviteError::Starting)??;
            let delivery = match kept {
                Ok(()) => {
                    desk.input(Input::Owe { channel, peer }, ctx);
                    match desk.driver.machine().is_linked(&peer) {
                        true => Delivery::Sent,
                        false => Delivery::Waits,
                    }
                }
                Err(why) => Delivery::NotSent(why),
            };
            Ok(Invited { invitation, delivery })
        }))
    }
}

impl Handler<ListInvitations> for Invitations {
    type Result = ResponseActFuture<Self, Listing>;

    fn handle(&mut self, _: ListInvitations, _: &mut Self::Context) -> Self::Result {
        let machine = self.driver.machine();
        let offered = machine.offers().map(|offer| self.offered(offer)).collect();
        let find = self.offices.channels.find.clone();
        let owed: Vec<_> = machine
            .owed()
            .map(|(peer, channel)| Unanswered {
                channel,
                label: channel.short().into(),
                peer,
                name: self.name(&peer),
                linked: machine.is_linked(&peer),
            })
            .collect();
        let listing = async move {
            let mut unanswered = Vec::new();
            for one in owed {
                let found = find.send(FindChannel { text: one.channel.to_string() }).await;
                let label = match found {
                    Ok(Ok(summary)) => summary.name.as_str().into(),
                    Ok(Err(_)) | Err(_) => one.label,
                };
                unanswered.push(Unanswered { label, ..one });
            }
            Listing { offered, unanswered }
        };
        Box::pin(listing.into_actor(self))
    }
}

impl Handler<Accept> for Invitations {
    type Result = ResponseActFuture<Self, Result<Summary, InviteError>>;

    fn handle(&mut self, accept: Accept, _: &mut Self::Context) -> Self::Result {
        let found = self.driver.machine().find(&accept.which);
        let taken = found
            .map(|offer| self.offices.channels.take.send(TakeInvited(offer.invitation().clone())));
        let taken = async move {
            let taken = taken?.await.map_err(|_| InviteError::Starting)?;
            Ok(taken?)
        };
        Box::pin(taken.into_actor(self).map(|taken: Result<Summary, InviteError>, desk, ctx| {
            let summary = taken?;
            desk.input(Input::Joined(summary.id), ctx);
            Ok(summary)
        }))
    }
}

impl Handler<Decline> for Invitations {
    type Result = MessageResult<Decline>;

    fn handle(&mut self, decline: Decline, ctx: &mut Self::Context) -> Self::Result {
        let found = self.driver.machine().find(&decline.which);
        let declined = found.map(|offer| self.offered(offer));
        if let Ok(offered) = &declined {
            let number = offered.number;
            self.input(Input::Declined(number), ctx);
        }
        MessageResult(declined.map_err(InviteError::from))
    }
}

impl Handler<InviteNews> for Invitations {
    type Result = ();

    fn handle(&mut self, news: InviteNews, ctx: &mut Self::Context) {
        let input = match news {
            InviteNews::PeerUp(peer) => Input::PeerUp(peer),
            InviteNews::PeerDown(peer) => Input::PeerDown(peer),
            InviteNews::Frame { from, frame } => {
                Input::FrameReceived { from, unix: clock::unix(), frame: *frame }
            }
        };
        self.input(input, ctx);
    }
}

impl Handler<ChannelEvent> for Invitations {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, ctx: &mut Self::Context) {
        match event {
            // Who seeds it may be invited as a member.
            ChannelEvent::Opened(channel) if channel.keys.is_member() => {
                self.input(Input::Joined(channel.keys.id()), ctx);
            }
            ChannelEvent::Moved { successor, .. } => self.owe_anew(successor, ctx),
            ChannelEvent::Opened(_)
            | ChannelEvent::Changed(_)
            | ChannelEvent::Closed(_)
            | ChannelEvent::Trouble { .. }
            | ChannelEvent::NotLetIn { .. } => {}
        }
    }
}

impl Handler<ContactChanged> for Invitations {
    type Result = ();

    fn handle(&mut self, changed: ContactChanged, ctx: &mut Self::Context) {
        self.meet(changed.peer, changed.contact.as_ref(), ctx);
    }
}

//! The channels of us and each contact that a person added: opened and closed as the contact book says.

use std::cmp::Reverse;
use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, Handler, Recipient, WrapFuture as _};
use bitchat_protocol::channel::{ChatFile, NodeAddress};
use bitchat_protocol::contact::{Contact, Trust};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol::limits::PAIRS_MAX;

use super::{ChannelBook, ChannelError, ChannelEvent, OpenedChannel};
use crate::contact_book::{self, ContactChanged, ListContacts};

/// Whom to ask about contacts, and where to look for them.
#[derive(Debug, Clone)]
pub struct People {
    /// Contact book.
    pub contacts: Recipient<ListContacts>,
    /// Contact book.
    pub changes: Recipient<contact_book::Subscribe>,
    /// Where the channels of us and each contact meet; `None`: there are none.
    pub places: Option<MeetingPlaces>,
}

/// Where people who have nothing but each other's cards look for each other: both must look in one
/// of these places, or in the DHT, or on the local network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeetingPlaces {
    /// Tracker URLs in tiers, best first.
    pub tiers: Vec<Vec<String>>,
    /// DHT nodes to begin with.
    pub nodes: Vec<NodeAddress>,
}

impl ChannelBook {
    /// Opens the channels of the contacts there are, before anything else is answered.
    pub(super) fn begin_pairs(&self, ctx: &mut Context<Self>) {
        let Some(people) = &self.people else { return };
        // First, so that no change is missed.
        people.changes.do_send(contact_book::Subscribe(ctx.address().recipient()));
        let contacts = people.contacts.send(ListContacts);
        ctx.wait(contacts.into_actor(self).map(|contacts, book, _| {
            // With the contact book, this one starts again as well.
            let mut contacts = contacts.unwrap_or_default();
            // Where there are too many, those matter most who were verified, or met last.
            contacts.sort_by_key(|contact| {
                Reverse((contact.trust == Trust::Verified, contact.last_seen_unix))
            });
            for contact in &contacts {
                book.note_contact(contact.peer, Some(contact));
            }
            let ids = book.contacts_doors();
            book.doors_changed(&ids);
        }));
    }

    /// Takes note of a contact; whether it is trusted now and was not, or the other way round.
    fn note_contact(&mut self, peer: PeerId, contact: Option<&Contact>) -> bool {
        let name = contact.filter(|it| is_trusted(it)).map(|contact| Arc::clone(&contact.name));
        let before = match &name {
            Some(name) => self.names.insert(peer, Arc::clone(name)),
            None => self.names.remove(&peer),
        };
        // Anybody can have a contact change otherwise, by coming under its name.
        if before != name {
            self.set_pair(peer, name.as_deref());
        }
        before.is_some() != name.is_some()
    }

    /// `name`: of a contact that a person added.
    fn set_pair(&mut self, peer: PeerId, name: Option<&str>) {
        let set = match name {
            Some(name) => self.open_pair(peer, name),
            None => self.close_pair(&peer),
        };
        if let Err(error) = set {
            tracing::warn!(peer = %peer.short(), %error, "the channel with a contact");
        }
    }

    /// Opens the channels with contacts for which there was no room before.
    pub(super) fn open_missing_pairs(&mut self) {
        let people = self.names.iter().map(|(peer, name)| (*peer, Arc::clone(name)));
        let people: Vec<_> =
            people.filter(|(peer, _)| self.shelf.pair_with(peer).is_none()).collect();
        for (peer, name) in people {
            if let Err(error) = self.open_pair(peer, &name) {
                tracing::debug!(%error, "no room for the channel with a contact");
                return;
            }
        }
    }

    fn open_pair(&mut self, peer: PeerId, name: &str) -> Result<(), ChannelError> {
        let places = self.people.as_ref().and_then(|people| people.places.clone());
        let Some(MeetingPlaces { tiers, nodes }) = places else { return Ok(()) };
        let is_new = self.shelf.pair_with(&peer).is_none();
        if is_new && self.shelf.pairs() >= PAIRS_MAX {
            return Err(ChannelError::Full);
        }
        // What is shown of a contact may be longer than the name of a channel.
        let name = DisplayName::new(name)
            .or_else(|_| DisplayName::new(peer.short()))
            .map_err(|error| ChannelError::Pair(error.to_string()))?;
        let own = self.shelf.identity();
        let chat = ChatFile::new_pair(own, peer, name, tiers, nodes)
            .map_err(|error| ChannelError::Pair(error.to_string()))?;
        let id = self.shelf.put_pair(peer, chat)?;
        if let Some(opened) = self.open.get_mut(&id) {
            *opened = OpenedChannel::new(self.shelf.get(&id)?);
            let changed = ChannelEvent::Changed(Arc::clone(opened));
            self.tell(&changed);
            return Ok(());
        }
        if !is_new {
            // A person has closed it.
            return Ok(());
        }
        self.open_channel(id).map(|_| ())
    }

    fn close_pair(&mut self, peer: &PeerId) -> Result<(), ChannelError> {
        let Some(id) = self.shelf.pair_with(peer) else { return Ok(()) };
        let removed = self.shelf.remove(&id);
        self.close_channel(id);
        self.open_missing_pairs();
        removed.map(|_| ())
    }
}

impl Handler<ContactChanged> for ChannelBook {
    type Result = ();

    fn handle(&mut self, changed: ContactChanged, _: &mut Self::Context) {
        if self.note_contact(changed.peer, changed.contact.as_ref()) {
            let ids = self.contacts_doors();
            self.doors_changed(&ids);
        }
    }
}

/// Whether a person has added, or verified, a contact.
const fn is_trusted(contact: &Contact) -> bool {
    matches!(contact.trust, Trust::Known | Trust::Verified)
}

//! The book itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Admission, Alarm, Contact, ContactError, Refusal, Trust, name};
use crate::id::PeerId;
use crate::identity::{Card, DisplayName};
use crate::limits::CONTACTS_MAX;

/// Characters of an id that are enough to look for it.
const PREFIX_MIN: usize = 6;
/// Names listed for a text that fits several contacts.
const CANDIDATES_SHOWN: usize = 5;

/// All contacts of one profile.
#[derive(Debug, Clone)]
pub struct Book {
    own: PeerId,
    /// What others know us by, as [`name::key`] has it.
    own_name: Option<String>,
    contacts: BTreeMap<PeerId, Contact>,
    changed: BTreeSet<PeerId>,
}

impl Book {
    /// Makes an empty book for the node with the given id.
    #[must_use]
    pub const fn new(own: PeerId) -> Self {
        Self { own, own_name: None, contacts: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// Makes a book of contacts that were checked before.
    pub(super) fn with_contacts(own: PeerId, contacts: BTreeMap<PeerId, Contact>) -> Self {
        Self { own, own_name: None, contacts, changed: BTreeSet::new() }
    }

    /// Says what we call ourselves: a stranger who claims that is shown with a part of its id.
    #[must_use]
    pub fn called(mut self, own_name: Option<&DisplayName>) -> Self {
        self.own_name = own_name.map(|name| name::key(name.as_str()));
        self
    }

    /// All contacts, in the order of their ids.
    pub fn contacts(&self) -> impl ExactSizeIterator<Item = &Contact> {
        self.contacts.values()
    }

    /// The contact with this key.
    #[must_use]
    pub fn get(&self, peer: &PeerId) -> Option<&Contact> {
        self.contacts.get(peer)
    }

    /// Takes the peers whose name, trust or alarm became another since the last call, or who were
    /// removed. The time somebody was last seen does not count.
    pub fn take_changed(&mut self) -> BTreeSet<PeerId> {
        std::mem::take(&mut self.changed)
    }

    /// Decides whether to talk to `peer`, who calls itself `claim`, and notes that it was seen, or
    /// whose name it came under.
    pub fn admit(&mut self, peer: PeerId, claim: &str, now_unix: u64) -> Admission {
        let claim = name::claimed(&peer, claim);
        match self.contacts.get(&peer).map(|contact| contact.trust) {
            Some(Trust::Blocked) => return Admission::Refuse(Refusal::Blocked),
            Some(Trust::Known | Trust::Verified) => {}
            Some(Trust::Seen) | None => {
                let key = claim.as_ref().map(|claim| name::key(claim.as_str()));
                if let Some(known) = key.and_then(|key| self.impersonated(&peer, &key)) {
                    let (name, known) = (known.name.clone(), known.peer);
                    let alarm = Some(Alarm { peer, unix: now_unix });
                    self.change(&known, |contact| contact.alarm = alarm);
                    return Admission::Refuse(Refusal::KeyConflict { name, known });
                }
            }
        }
        Admission::Accept { name: self.note_seen(peer, claim, now_unix) }
    }

    /// Adds a person by their card, under the name on it or one of our own.
    ///
    /// A contact that was only seen becomes known; one that is known or verified stays as it is.
    ///
    /// # Errors
    ///
    /// [`ContactError::Conflict`] when the name on the card is that of a contact with another key;
    /// [`ContactError::NameTaken`] when our own choice is; [`ContactError::Ourselves`],
    /// [`ContactError::Blocked`], [`ContactError::Full`].
    pub fn add(
        &mut self,
        card: Card,
        our_name: Option<DisplayName>,
        now_unix: u64,
    ) -> Result<&Contact, ContactError> {
        let Card { peer, name: their_name } = card;
        self.check_not_ours(&peer)?;
        let known = self.contacts.get(&peer).map(|contact| contact.trust);
        match known {
            Some(Trust::Blocked) => return Err(self.blocked(&peer)),
            Some(Trust::Known | Trust::Verified) if our_name.is_none() => {
                return Ok(self.change(&peer, |contact| {
                    contact.their_name = Some(their_name.clone());
                    contact.card_name = Some(their_name);
                }));
            }
            Some(Trust::Known | Trust::Verified | Trust::Seen) | None => {}
        }
        match &our_name {
            Some(name) => self.check_free(&peer, name)?,
            None => self.check_genuine(&peer, &their_name)?,
        }
        if known.is_none() {
            self.make_room()?;
        }
        let shown = our_name.unwrap_or_else(|| their_name.clone());
        self.clear_name(&peer, &shown);
        self.contacts.entry(peer).or_insert_with(|| new_contact(peer, now_unix));
        Ok(self.change(&peer, |contact| {
            contact.name = shown.as_str().into();
            contact.their_name = Some(their_name.clone());
            contact.card_name = Some(their_name);
            if contact.trust == Trust::Seen {
                contact.trust = Trust::Known;
            }
        }))
    }

    /// Notes that a person compared the safety words with this contact: its key is the right one,
    /// whoever else came under its name.
    ///
    /// # Errors
    ///
    /// [`ContactError::NotFound`], [`ContactError::Blocked`].
    pub fn verify(&mut self, peer: &PeerId) -> Result<&Contact, ContactError> {
        if self.present(peer)?.trust == Trust::Blocked {
            return Err(self.blocked(peer));
        }
        Ok(self.change(peer, |contact| {
            contact.trust = Trust::Verified;
            contact.alarm = None;
        }))
    }

    /// Gives a contact a name of ours. Who was only seen becomes known by it.
    ///
    /// # Errors
    ///
    /// [`ContactError::NotFound`], [`ContactError::NameTaken`].
    pub fn rename(&mut self, peer: &PeerId, name: &DisplayName) -> Result<&Contact, ContactError> {
        self.present(peer)?;
        self.check_free(peer, name)?;
        self.clear_name(peer, name);
        Ok(self.change(peer, |contact| {
            contact.name = name.as_str().into();
            if contact.trust == Trust::Seen {
                contact.trust = Trust::Known;
            }
        }))
    }

    /// Blocks a peer, which need not be in the book.
    ///
    /// # Errors
    ///
    /// [`ContactError::Ourselves`], [`ContactError::Full`].
    pub fn block(&mut self, peer: PeerId, now_unix: u64) -> Result<&Contact, ContactError> {
        self.check_not_ours(&peer)?;
        if !self.contacts.contains_key(&peer) {
            self.make_room()?;
            let contact =
                Contact { name: self.free_name(&peer, None), ..new_contact(peer, now_unix) };
            self.contacts.insert(peer, contact);
        }
        Ok(self.change(&peer, |contact| contact.trust = Trust::Blocked))
    }

    /// Forgets a contact, also that it was blocked.
    ///
    /// # Errors
    ///
    /// [`ContactError::NotFound`].
    pub fn remove(&mut self, peer: &PeerId) -> Result<Contact, ContactError> {
        let removed = self.contacts.remove(peer);
        let removed = removed.ok_or_else(|| ContactError::NotFound(peer.to_string()))?;
        self.changed.insert(*peer);
        Ok(removed)
    }

    /// Finds a contact by its whole id, its name, or at least six first characters of its id.
    ///
    /// # Errors
    ///
    /// [`ContactError::NotFound`]; [`ContactError::Ambiguous`] also when the text is the name of
    /// one and the beginning of another's id, as anybody may choose such a name.
    pub fn find(&self, text: &str) -> Result<&Contact, ContactError> {
        let text = text.trim();
        if let Ok(peer) = text.parse() {
            return self.present(&peer);
        }
        let (key, prefix) = (name::key(text), text.to_ascii_lowercase());
        let by_id = |contact: &Contact| {
            prefix.len() >= PREFIX_MIN && contact.peer.to_string().starts_with(&prefix)
        };
        let found: Vec<_> = self
            .contacts
            .values()
            .filter(|contact| name::key(&contact.name) == key || by_id(contact))
            .collect();
        match found[..] {
            [] => Err(ContactError::NotFound(text.to_owned())),
            [contact] => Ok(contact),
            [..] => Err(ContactError::Ambiguous {
                text: text.to_owned(),
                candidates: found
                    .iter()
                    .take(CANDIDATES_SHOWN)
                    .map(|contact| format!("{} {}", contact.name, contact.peer.short()))
                    .collect(),
            }),
        }
    }

    /// Notes a meeting with a peer that is not blocked and impersonates nobody; says its name.
    fn note_seen(&mut self, peer: PeerId, claim: Option<DisplayName>, now_unix: u64) -> Arc<str> {
        let name = match self.contacts.get(&peer) {
            Some(contact) if contact.trust != Trust::Seen => contact.name.clone(),
            Some(_) | None => self.free_name(&peer, claim.as_ref()),
        };
        let is_new = !self.contacts.contains_key(&peer);
        // A book full of people we know has no place for a stranger, who is talked to all the same.
        if peer == self.own || (is_new && self.make_room().is_err()) {
            return name;
        }
        let contact = self.contacts.entry(peer).or_insert_with(|| new_contact(peer, now_unix));
        contact.last_seen_unix = Some(now_unix);
        if contact.name != name || contact.their_name != claim {
            contact.name = name.clone();
            contact.their_name = claim;
            self.changed.insert(peer);
        }
        name
    }

    /// The known or verified contact, other than `peer`, that somebody under this name would be
    /// taken for: by the name we show, or by the one on their card.
    fn impersonated(&self, peer: &PeerId, key: &str) -> Option<&Contact> {
        self.others(peer).find(|contact| {
            matches!(contact.trust, Trust::Known | Trust::Verified) && goes_by(contact, key)
        })
    }

    fn check_genuine(&self, peer: &PeerId, name: &DisplayName) -> Result<(), ContactError> {
        check_no_foreign_id(peer, name)?;
        let key = name::key(name.as_str());
        let owner = self
            .others(peer)
            .find(|contact| contact.trust != Trust::Seen && goes_by(contact, &key));
        match owner {
            Some(owner) => {
                Err(ContactError::Conflict { name: owner.name.clone(), known: owner.peer })
            }
            None => Ok(()),
        }
    }

    fn check_free(&self, peer: &PeerId, name: &DisplayName) -> Result<(), ContactError> {
        check_no_foreign_id(peer, name)?;
        match self.holder(peer, &name::key(name.as_str())) {
            Some(owner) if owner.trust != Trust::Seen => {
                Err(ContactError::NameTaken { name: owner.name.clone(), owner: owner.peer })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_not_ours(&self, peer: &PeerId) -> Result<(), ContactError> {
        if *peer == self.own { Err(ContactError::Ourselves) } else { Ok(()) }
    }

    /// Marks the name of a contact that was only seen, where `peer` is to have that name.
    fn clear_name(&mut self, peer: &PeerId, name: &DisplayName) {
        let key = name::key(name.as_str());
        let Some(holder) = self.holder(peer, &key).map(|holder| holder.peer) else { return };
        let [_, marked, full] = name::candidates(&holder, Some(name));
        let marked_is_free = self.holder(&holder, &name::key(&marked)).is_none();
        let new = if marked_is_free { marked } else { full };
        self.change(&holder, |contact| contact.name = new.into());
    }

    fn free_name(&self, peer: &PeerId, claim: Option<&DisplayName>) -> Arc<str> {
        let [best, marked, full] = name::candidates(peer, claim);
        let is_free = |name: &String| {
            let key = name::key(name);
            self.own_name.as_ref() != Some(&key) && self.holder(peer, &key).is_none()
        };
        [best, marked].into_iter().find(is_free).unwrap_or(full).into()
    }

    /// Who else is shown under a name with this key.
    fn holder(&self, peer: &PeerId, key: &str) -> Option<&Contact> {
        self.others(peer).find(|contact| name::key(&contact.name) == key)
    }

    fn others(&self, peer: &PeerId) -> impl Iterator<Item = &Contact> {
        self.contacts.values().filter(move |contact| contact.peer != *peer)
    }

    fn present(&self, peer: &PeerId) -> Result<&Contact, ContactError> {
        self.contacts.get(peer).ok_or_else(|| ContactError::NotFound(peer.to_string()))
    }

    fn blocked(&self, peer: &PeerId) -> ContactError {
        let name =
            self.contacts.get(peer).map_or_else(|| peer.short().into(), |it| it.name.clone());
        ContactError::Blocked { name }
    }

    /// Makes room for one more, at the cost of who was only seen, longest ago.
    fn make_room(&mut self) -> Result<(), ContactError> {
        if self.contacts.len() < CONTACTS_MAX {
            return Ok(());
        }
        let seen = self.contacts.values().filter(|contact| contact.trust == Trust::Seen);
        let oldest = seen.min_by_key(|contact| contact.last_seen_unix).map(|contact| contact.peer);
        let oldest = oldest.ok_or(ContactError::Full)?;
        self.contacts.remove(&oldest);
        self.changed.insert(oldest);
        Ok(())
    }

    /// Edits a contact that is there.
    fn change(&mut self, peer: &PeerId, edit: impl FnOnce(&mut Contact)) -> &Contact {
        let contact = self.contacts.get_mut(peer).expect("the caller has made sure of it");
        let before = contact.clone();
        edit(contact);
        if *contact != before {
            self.changed.insert(*peer);
        }
        contact
    }
}

/// The whole id is what a contact is called when all else is taken, so nobody else may have it.
fn check_no_foreign_id(peer: &PeerId, name: &DisplayName) -> Result<(), ContactError> {
    match name.as_str().parse() {
        Ok(owner) if owner != *peer => {
            Err(ContactError::NameTaken { name: name.as_str().into(), owner })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn goes_by(contact: &Contact, key: &str) -> bool {
    name::key(&contact.name) == key
        || contact.card_name.as_ref().is_some_and(|card| name::key(card.as_str()) == key)
}

fn new_contact(peer: PeerId, now_unix: u64) -> Contact {
    Contact {
        peer,
        name: peer.short().into(),
        their_name: None,
        card_name: None,
        trust: Trust::Seen,
        added_unix: now_unix,
        last_seen_unix: None,
        alarm: None,
    }
}

#[cfg(test)]
mod tests;

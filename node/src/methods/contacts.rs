//! People: who is in the contact book, and how far their keys are trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Addr, Recipient};
use bitchat_actors::contact_book::{
    AddContact, BlockContact, ContactBook, EditError, FindContact, ListContacts, RemoveContact,
    RenameContact, VerifyContact,
};
use bitchat_protocol::contact::{Contact, ContactError, Trust};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::{Card, DisplayName, safety_words};
use serde_json::{Value, json};

use super::{Person, restarting, to_json};
use crate::exit::Exit;
use crate::report::ContactReport;
use crate::rpc::{self, Lack, Refusal};

pub(crate) const METHODS: [&str; 7] = [
    "contacts",
    "contact_add",
    "contact_show",
    "contact_verify",
    "contact_rename",
    "contact_block",
    "contact_remove",
];

/// The contact book, as the methods ask it.
#[derive(Debug, Clone)]
pub(crate) struct Contacts {
    own: PeerId,
    add: Recipient<AddContact>,
    rename: Recipient<RenameContact>,
    verify: Recipient<VerifyContact>,
    block: Recipient<BlockContact>,
    remove: Recipient<RemoveContact>,
    find: Recipient<FindContact>,
    list: Recipient<ListContacts>,
}

impl Contacts {
    /// Asks `book`, which is that of the node `own`.
    pub(crate) fn of(own: PeerId, book: &Addr<ContactBook>) -> Self {
        Self {
            own,
            add: book.clone().recipient(),
            rename: book.clone().recipient(),
            verify: book.clone().recipient(),
            block: book.clone().recipient(),
            remove: book.clone().recipient(),
            find: book.clone().recipient(),
            list: book.clone().recipient(),
        }
    }

    /// Who is in the book.
    pub(super) async fn known(&self) -> Result<Known, Refusal> {
        let all = self.list.send(ListContacts).await.map_err(restarting)?;
        Ok(Known(all.into_iter().map(|it| (it.peer, (it.name, it.trust))).collect()))
    }

    /// Does what one of [`METHODS`] says; `None`: it is none of them. `seen` is who a `contact_add`
    /// names that is not in the book.
    pub(crate) async fn answer(
        &self,
        method: &str,
        params: &Value,
        seen: Option<Person>,
    ) -> Option<Result<Value, Refusal>> {
        let contact = match method {
            "contacts" => return Some(self.list().await),
            "contact_add" => self.add(params, seen).await,
            "contact_show" => return Some(self.show(params).await),
            "contact_verify" => self.verify(params).await,
            "contact_rename" => self.rename(params).await,
            "contact_block" => self.block(params).await,
            "contact_remove" => self.remove(params).await,
            _ => return None,
        };
        Some(contact.and_then(|contact| to_json(&ContactReport::from(&contact))))
    }

    /// Finds a contact by name, id or beginning of the id.
    pub(super) async fn find(&self, text: &str) -> Result<Contact, Refusal> {
        let found = self.find.send(FindContact { text: text.to_owned() }).await;
        found.map_err(restarting)?.map_err(refused)
    }

    /// Whom a ticket may be for: a contact that a person added, by name or the beginning of the id, or
    /// anybody by the whole id. Nobody is let in because of what they call themselves.
    pub(crate) async fn invited(&self, who: &str) -> Result<PeerId, Refusal> {
        if let Ok(peer) = who.trim().parse() {
            return Ok(peer);
        }
        let Contact { peer, name, trust, .. } = self.find(who).await?;
        match trust {
            Trust::Known | Trust::Verified => Ok(peer),
            Trust::Seen => Err(Refusal::now(format!(
                "{name} was only met, and chose that name alone: add {name} as a contact first, or \
                 say the whole id, {peer}"
            ))),
            Trust::Blocked => Err(Refusal::now(format!("{name} is blocked"))),
        }
    }

    async fn named(&self, params: &Value) -> Result<Contact, Refusal> {
        self.find(rpc::string_of(params, "contact")?).await
    }

    async fn list(&self) -> Result<Value, Refusal> {
        let all = self.list.send(ListContacts).await.map_err(restarting)?;
        let all: Vec<_> = all.iter().map(ContactReport::from).collect();
        Ok(json!({"contacts": to_json(&all)?}))
    }

    async fn show(&self, params: &Value) -> Result<Value, Refusal> {
        let contact = self.named(params).await?;
        let words = safety_words(&self.own, &contact.peer);
        let report = ContactReport::from(&contact);
        to_json(&ContactReport { safety_words: Some(words), ..report })
    }

    async fn add(&self, params: &Value, seen: Option<Person>) -> Result<Contact, Refusal> {
        let our_name = rpc::optional_string(params, "name")?.map(read_name).transpose()?;
        let card = match rpc::optional_string(params, "card")? {
            Some(card) => {
                card.parse().map_err(|error| Refusal::params(format!("not a card: {error}")))?
            }
            None => self.card_of(rpc::string_of(params, "contact")?, seen, &our_name).await?,
        };
        let added = self.add.send(AddContact { card, our_name }).await;
        added.map_err(restarting)?.map_err(edited)
    }

    /// What the card of somebody would say who was met and has given none.
    async fn card_of(
        &self,
        who: &str,
        seen: Option<Person>,
        our_name: &Option<DisplayName>,
    ) -> Result<Card, Refusal> {
        let person = match self.find(who).await {
            Ok(contact) => Person::from(&contact),
            Err(refusal) => seen.ok_or(refusal)?,
        };
        let claimed = person.name.and_then(|name| DisplayName::new(&*name).ok());
        let name = claimed.or_else(|| our_name.clone()).ok_or_else(|| {
            let text = format!("nobody knows the name of {}: say one", person.peer.short());
            Refusal::params(text)
        })?;
        Ok(Card { peer: person.peer, name })
    }

    async fn verify(&self, params: &Value) -> Result<Contact, Refusal> {
        let contact = self.named(params).await?;
        let ours = safety_words(&self.own, &contact.peer);
        match (rpc::optional_string(params, "words")?, rpc::flag_of(params, "yes")?) {
            (Some(theirs), _) if digits(theirs) != digits(&ours) => {
                return Err(other_words(&contact.name));
            }
            (Some(_), _) | (None, true) => {}
            (None, false) => {
                let text = "compare the safety words first, which contact_show tells; then say the \
                            words that the other person has, or \"yes\": true";
                return Err(Refusal::params(text));
            }
        }
        let verified = self.verify.send(VerifyContact { peer: contact.peer }).await;
        verified.map_err(restarting)?.map_err(edited)
    }

    async fn rename(&self, params: &Value) -> Result<Contact, Refusal> {
        let name = read_name(rpc::string_of(params, "name")?)?;
        let peer = self.named(params).await?.peer;
        let renamed = self.rename.send(RenameContact { peer, name }).await;
        renamed.map_err(restarting)?.map_err(edited)
    }

    async fn block(&self, params: &Value) -> Result<Contact, Refusal> {
        let who = rpc::string_of(params, "contact")?;
        // Somebody who is not in the book can be blocked by id.
        let peer = match who.trim().parse() {
            Ok(peer) => peer,
            Err(_) => self.find(who).await?.peer,
        };
        self.block.send(BlockContact { peer }).await.map_err(restarting)?.map_err(edited)
    }

    async fn remove(&self, params: &Value) -> Result<Contact, Refusal> {
        let peer = self.named(params).await?.peer;
        self.remove.send(RemoveContact { peer }).await.map_err(restarting)?.map_err(edited)
    }
}

/// How those in the contact book are called, and how far they are trusted.
#[derive(Debug)]
pub(super) struct Known(BTreeMap<PeerId, (Arc<str>, Trust)>);

impl Known {
    /// The name to show.
    pub(super) fn name(&self, peer: &PeerId) -> String {
        self.0.get(peer).map_or_else(|| peer.short(), |(name, _)| name.to_string())
    }

    /// All names.
    pub(super) fn names(&self) -> BTreeMap<PeerId, Arc<str>> {
        self.0.iter().map(|(peer, (name, _))| (*peer, Arc::clone(name))).collect()
    }

    pub(super) fn is_blocked(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|(_, trust)| *trust == Trust::Blocked)
    }
}

/// How far a key is trusted, in a word.
pub(crate) const fn trust_word(trust: Trust) -> &'static str {
    match trust {
        Trust::Seen => "seen",
        Trust::Known => "known",
        Trust::Verified => "verified",
        Trust::Blocked => "blocked",
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn other_words(name: &str) -> Refusal {
    let text = format!(
        "these are NOT the safety words: this is not {name}'s key, or somebody sits between you; \
         {name} was not verified, and is not to be trusted before the cards are compared another way"
    );
    Refusal::with(Exit::Untrusted, text)
}

fn read_name(name: &str) -> Result<DisplayName, Refusal> {
    DisplayName::new(name.trim())
        .map_err(|error| Refusal::params(format!("{name:?} cannot be a name: {error}")))
}

fn refused(error: ContactError) -> Refusal {
    let text = error.to_string();
    match error {
        ContactError::Conflict { .. } => Refusal::with(Exit::Untrusted, text),
        ContactError::Full => Refusal::with(Exit::Limit, text),
        ContactError::NotFound(_) => Refusal::now(text).lacking(Lack::Person),
        ContactError::NameTaken { .. }
        | ContactError::Ourselves
        | ContactError::Blocked { .. }
        | ContactError::Ambiguous { .. } => Refusal::now(text),
    }
}

fn edited(error: EditError) -> Refusal {
    match error {
        EditError::Refused(error) => refused(error),
        error @ EditError::NotSaved(_) => Refusal::now(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use actix::Actor as _;
    use bitchat_actors::contact_book::AdmitPeer;
    use bitchat_actors::vault::Profile;

    use super::*;

    #[actix::test]
    async fn nobody_is_invited_because_of_what_they_call_themselves() {
        let home = tempfile::tempdir().unwrap();
        let profile = Profile::create(home.path(), "default", None, None).unwrap();
        let book = ContactBook::open(&profile).unwrap().start();
        let peer = PeerId([7; 32]);
        let _ = book.send(AdmitPeer { peer, name: "carol".into() }).await.unwrap();
        let contacts = Contacts::of(profile.peer_id(), &book);
        for who in ["carol", &peer.to_string()[..8]] {
            let refusal = contacts.invited(who).await.unwrap_err();
            assert!(refusal.text.contains(&peer.to_string()), "{}", refusal.text);
        }
        assert_eq!(contacts.invited(&peer.to_string()).await, Ok(peer));
        let card = Card { peer, name: DisplayName::new("carol").unwrap() };
        book.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
        assert_eq!(contacts.invited("carol").await, Ok(peer));
        book.send(BlockContact { peer }).await.unwrap().unwrap();
        assert!(contacts.invited("carol").await.unwrap_err().text.contains("blocked"));
    }
}

//! The people we know and how far we trust their keys.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`AddContact`] | console | adds a person by their card |
//! | [`RenameContact`] | console | gives a contact a name of ours |
//! | [`VerifyContact`] | console | notes that the safety words were compared |
//! | [`BlockContact`] | console | wants no link with a peer |
//! | [`RemoveContact`] | console | forgets a contact |
//! | [`FindContact`] | console | a contact by name, id or beginning of the id |
//! | [`ListContacts`] | console | all contacts |
//! | [`FindName`] | chat desk, mesh manager | the name to show for a peer |
//! | [`AdmitPeer`] | crypto session | whether to talk to a peer, and under which name |
//! | [`Subscribe`] | peer supervisor, mesh manager and others | asks for every [`ContactChanged`] from now on |
//!
//! Owns: the book and its file, `contacts` in the profile.
//!
//! What a person changes is on disk before it is answered. Whom we have seen is written some
//! seconds later and at the end; after a crash those seconds are lost, and the subscriptions.
//!
//! Rules: [`bitchat_protocol::contact`]. Form of the file: `docs/spec/profile.md`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Recipient};
use bitchat_protocol::contact::{Admission, Book, Contact, ContactError, Refusal, Trust};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::{Card, DisplayName};

use crate::clock;
use crate::subscribers::Subscribers;
use crate::vault::{Profile, ProfileError, RefusalLog, SealedFile};

/// Messages waiting. Every link being made asks once, so a burst of links fits.
const MAILBOX: usize = 256;
/// How long meetings are gathered before they are written: as much is lost in a crash.
const SAVE_AFTER: Duration = Duration::from_secs(3);
/// How long to wait when the disk has refused.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Adds a person by their card; see [`Book::add`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Contact, EditError>")]
pub struct AddContact {
    /// What they gave us.
    pub card: Card,
    /// What to call them; `None`: as the card says.
    pub our_name: Option<DisplayName>,
}

/// Gives a contact a name of ours; see [`Book::rename`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Contact, EditError>")]
pub struct RenameContact {
    /// Whom.
    pub peer: PeerId,
    /// The new name.
    pub name: DisplayName,
}

/// Notes that a person compared the safety words; see [`Book::verify`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Contact, EditError>")]
pub struct VerifyContact {
    /// With whom.
    pub peer: PeerId,
}

/// Blocks a peer, in the book or not; see [`Book::block`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Contact, EditError>")]
pub struct BlockContact {
    /// Whom.
    pub peer: PeerId,
}

/// Forgets a contact, and answers with what it was; see [`Book::remove`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Contact, EditError>")]
pub struct RemoveContact {
    /// Whom.
    pub peer: PeerId,
}

/// Finds a contact by name, id or beginning of the id; see [`Book::find`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Contact, ContactError>")]
pub struct FindContact {
    /// What a person typed.
    pub text: String,
}

/// Lists all contacts, in the order of their ids.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Contact>")]
pub struct ListContacts;

/// Finds the name to show for a peer; `None`: it is not in the book.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Arc<str>>")]
pub struct FindName {
    /// Whose.
    pub peer: PeerId,
}

/// Asks whether to talk to a peer that has proved its key; see [`Book::admit`]. To be asked for
/// every new link, and again when the peer changes its name.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Admission")]
pub struct AdmitPeer {
    /// Who.
    pub peer: PeerId,
    /// The name it gives itself; may be empty.
    pub name: String,
}

/// Asks for every [`ContactChanged`] from now on; those who are blocked now come first.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<ContactChanged>);

/// A contact's name, trust or alarm became another, or it was removed.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ContactChanged {
    /// Whose.
    pub peer: PeerId,
    /// As it is now; `None`: removed.
    pub contact: Option<Contact>,
}

/// Why the book was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The book's rules forbid it, or there is no such contact.
    #[error(transparent)]
    Refused(#[from] ContactError),
    /// It could not be written; the book is as it was.
    #[error("the contact book was not changed: {0}")]
    NotSaved(#[from] ProfileError),
}

/// The actor.
pub struct ContactBook {
    book: Book,
    file: SealedFile,
    subscribers: Subscribers<ContactChanged>,
    unsaved: bool,
    refusals: RefusalLog,
}

impl ContactBook {
    /// Reads the profile's book; an empty one when it has none yet.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Damaged`], [`ProfileError::Newer`], [`ProfileError::Disk`].
    pub fn open(profile: &Profile) -> Result<Self, ProfileError> {
        let file = profile.file("contacts");
        let book = match file.read()? {
            Some(bytes) => {
                Book::from_bytes(profile.peer_id(), &bytes).map_err(|error| file.damaged(error))?
            }
            None => Book::new(profile.peer_id()),
        };
        Ok(Self {
            book: book.called(profile.display_name()),
            file,
            subscribers: Subscribers::new("contact book"),
            unsaved: false,
            refusals: RefusalLog::default(),
        })
    }

    /// Changes a copy of the book, which takes the book's place once it is on disk.
    fn edit(
        &mut self,
        edit: impl FnOnce(&mut Book) -> Result<Contact, ContactError>,
    ) -> Result<Contact, EditError> {
        let mut book = self.book.clone();
        let contact = edit(&mut book)?;
        self.file.write(&book.to_bytes())?;
        self.book = book;
        self.unsaved = false;
        for change in self.take_changes() {
            self.subscribers.tell(&change);
        }
        Ok(contact)
    }

    fn take_changes(&mut self) -> Vec<ContactChanged> {
        let changed = self.book.take_changed().into_iter();
        changed
            .map(|peer| ContactChanged { peer, contact: self.book.get(&peer).cloned() })
            .collect()
    }

    fn save(&mut self) -> Result<(), ProfileError> {
        if self.unsaved {
            self.file.write(&self.book.to_bytes())?;
            self.unsaved = false;
        }
        Ok(())
    }

    fn save_later(&mut self, ctx: &mut Context<Self>, after: Duration) {
        ctx.run_later(after, |book, ctx| {
            let saved = book.save();
            if !book.refusals.note("the latest meetings", &saved) {
                book.save_later(ctx, SAVE_AGAIN_AFTER);
            }
        });
    }
}

impl Actor for ContactBook {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Err(error) = self.save() {
            tracing::warn!(%error, "the latest meetings are lost");
        }
    }
}

impl Handler<AddContact> for ContactBook {
    type Result = Result<Contact, EditError>;

    fn handle(&mut self, add: AddContact, _: &mut Self::Context) -> Self::Result {
        self.edit(|book| book.add(add.card, add.our_name, now_unix()).cloned())
    }
}

impl Handler<RenameContact> for ContactBook {
    type Result = Result<Contact, EditError>;

    fn handle(&mut self, rename: RenameContact, _: &mut Self::Context) -> Self::Result {
        self.edit(|book| book.rename(&rename.peer, &rename.name).cloned())
    }
}

impl Handler<VerifyContact> for ContactBook {
    type Result = Result<Contact, EditError>;

    fn handle(&mut self, verify: VerifyContact, _: &mut Self::Context) -> Self::Result {
        self.edit(|book| book.verify(&verify.peer).cloned())
    }
}

impl Handler<BlockContact> for ContactBook {
    type Result = Result<Contact, EditError>;

    fn handle(&mut self, block: BlockContact, _: &mut Self::Context) -> Self::Result {
        self.edit(|book| book.block(block.peer, now_unix()).cloned())
    }
}

impl Handler<RemoveContact> for ContactBook {
    type Result = Result<Contact, EditError>;

    fn handle(&mut self, remove: RemoveContact, _: &mut Self::Context) -> Self::Result {
        self.edit(|book| book.remove(&remove.peer))
    }
}

impl Handler<FindContact> for ContactBook {
    type Result = Result<Contact, ContactError>;

    fn handle(&mut self, find: FindContact, _: &mut Self::Context) -> Self::Result {
        self.book.find(&find.text).cloned()
    }
}

impl Handler<ListContacts> for ContactBook {
    type Result = Vec<Contact>;

    fn handle(&mut self, _: ListContacts, _: &mut Self::Context) -> Self::Result {
        self.book.contacts().cloned().collect()
    }
}

impl Handler<FindName> for ContactBook {
    type Result = Option<Arc<str>>;

    fn handle(&mut self, find: FindName, _: &mut Self::Context) -> Self::Result {
        self.book.get(&find.peer).map(|contact| contact.name.clone())
    }
}

impl Handler<AdmitPeer> for ContactBook {
    type Result = MessageResult<AdmitPeer>;

    fn handle(&mut self, admit: AdmitPeer, ctx: &mut Self::Context) -> Self::Result {
        let admission = self.book.admit(admit.peer, &admit.name, now_unix());
        let is_noted = match &admission {
            Admission::Accept { .. } | Admission::Refuse(Refusal::KeyConflict { .. }) => true,
            Admission::Refuse(Refusal::Blocked) => false,
        };
        if is_noted && !self.unsaved {
            self.unsaved = true;
            self.save_later(ctx, SAVE_AFTER);
        }
        for change in self.take_changes() {
            self.subscribers.try_tell(&change);
        }
        MessageResult(admission)
    }
}

impl Handler<Subscribe> for ContactBook {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, _: &mut Self::Context) {
        for contact in self.book.contacts().filter(|it| it.trust == Trust::Blocked) {
            let (peer, contact) = (contact.peer, Some(contact.clone()));
            subscriber.do_send(ContactChanged { peer, contact });
        }
        self.subscribers.add(subscriber);
    }
}

impl fmt::Debug for ContactBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContactBook")
            .field("contacts", &self.book.contacts().len())
            .field("unsaved", &self.unsaved)
            .finish_non_exhaustive()
    }
}

fn now_unix() -> u64 {
    clock::unix().as_secs()
}

#[cfg(test)]
mod tests;

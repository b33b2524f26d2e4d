//! The contact book: which person is behind which key, and how far we trust that.
//!
//! ```text
//!                    add, rename                verify
//!   (unknown) --> Seen ------------> Known ----------------> Verified
//!       |   admit   |  verify          |                        ^
//!       |           +------------------|------------------------+
//!       +-- block --+------ block -----+--------- block --> Blocked --remove--> (unknown)
//! ```
//!
//! Names are shown to people, keys are what is trusted. So that a name on the screen means one key:
//!
//! - No two contacts are shown under names that are equal but for case and spaces.
//! - The name of a contact that a person added (or blocked) changes only by that person's hand.
//! - A stranger who claims the name of a known or verified contact, ours for it or that on its card, is
//!   refused, loudly: either the contact has a new key, or somebody wants to be taken for them. A person
//!   has to find out. What a contact merely calls itself reserves no name: it could be anybody's.
//! - Strangers who claim the same name, or ours, are told apart by a part of their ids.
//! - Who came under the name of a contact with another key is noted with the contact, until a person
//!   compares the safety words or forgets it.
//!
//! Names that merely look alike (`Bob` in another alphabet) are not found: only keys tell people
//! apart for sure.
//!
//! Not here: the clock and the file; seconds since 1970 are given, bytes are handed out.

mod book;
mod name;
mod record;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use book::Book;
pub use record::BookError;

use crate::id::PeerId;
use crate::identity::DisplayName;
use crate::limits::CONTACTS_MAX;

/// How far a contact's key is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Met on a link: the key is whose it is, the name is what they say.
    Seen,
    /// Added by a person, from a card.
    Known,
    /// A person compared the safety words.
    Verified,
    /// A person wants no link with them.
    Blocked,
}

/// One contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Whose it is.
    pub peer: PeerId,
    /// The name to show; no other contact has it.
    pub name: Arc<str>,
    /// The name they gave themselves, last we heard.
    pub their_name: Option<DisplayName>,
    /// The name on the card by which a person added them: whoever else claims it, or the one
    /// shown, would be taken for them.
    pub card_name: Option<DisplayName>,
    /// How far the key is trusted.
    pub trust: Trust,
    /// When it came into the book, in seconds since 1970.
    pub added_unix: u64,
    /// When the last link with them was made, in seconds since 1970.
    pub last_seen_unix: Option<u64>,
    /// Who came last under their name with another key, and was turned away.
    pub alarm: Option<Alarm>,
}

/// Somebody came under the name of a contact, and with another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// The other key.
    pub peer: PeerId,
    /// When it came last, in seconds since 1970.
    pub unix: u64,
}

/// Whether to talk to a peer, and under which name to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Talk, and show this name.
    Accept {
        /// As in [`Contact::name`].
        name: Arc<str>,
    },
    /// Do not talk.
    Refuse(Refusal),
}

/// Why a peer is not talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A person blocked it.
    Blocked,
    /// It claims the name of a contact that has another key; a person must be told.
    KeyConflict {
        /// The contact's name.
        name: Arc<str>,
        /// The contact's key.
        known: PeerId,
    },
}

/// Why the book was not changed, or a contact not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// A card with the name of a contact that has another key.
    #[error(
        "the contact {name} has another key ({}): if both cards are genuine, add this one under \
         another name; if {name} has a new key, ask them first, then remove the old contact",
        .known.short()
    )]
    Conflict {
        /// The contact's name.
        name: Arc<str>,
        /// The contact's key.
        known: PeerId,
    },
    /// The new name is another contact's.
    #[error("the name {name} belongs to another contact ({}): choose another", .owner.short())]
    NameTaken {
        /// The name.
        name: Arc<str>,
        /// The contact.
        owner: PeerId,
    },
    /// The card or id is our own.
    #[error("that is your own id")]
    Ourselves,
    /// The contact is blocked.
    #[error("{name} is blocked: remove the contact first")]
    Blocked {
        /// The contact's name.
        name: Arc<str>,
    },
    /// No contact goes by that.
    #[error("there is no contact {0:?}")]
    NotFound(String),
    /// Several contacts go by that.
    #[error("{text:?} may be any of {}: write more of the id", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// The names of some of them.
        candidates: Vec<String>,
    },
    /// The book is full of contacts that a person added.
    #[error("the contact book holds {CONTACTS_MAX} contacts, which is all it can: remove some")]
    Full,
}

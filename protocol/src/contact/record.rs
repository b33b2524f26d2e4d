//! The book on disk: a MessagePack map.
//!
//! ```text
//! contacts   array of maps:
//!   peer            bin 32
//!   name            str, the name shown
//!   their_name      str or nil
//!   trust           str: seen, known, verified, blocked
//!   added_unix      u64, seconds since 1970
//!   last_seen_unix  u64 or nil
//!   card_name       str or nil; may be absent
//!   alarm           nil or a map: peer, bin 32; unix, u64; may be absent
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Alarm, Book, Contact, Trust, name};
use crate::id::PeerId;
use crate::identity::DisplayName;
use crate::limits::{CONTACTS_MAX, NAME_BYTES_MAX};

/// What [`name::candidates`] adds to a name: a space, two brackets and ten characters of the id.
const MARKER_BYTES: usize = 13;

/// Why bytes are not a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// Not the fields of a book.
    #[error("it is not a list of contacts")]
    Malformed,
    /// More contacts than a book holds.
    #[error("it has {len} contacts, and at most {CONTACTS_MAX} are allowed")]
    TooLong {
        /// Contacts in the bytes.
        len: usize,
    },
    /// A name that cannot be shown, or two contacts with one key or name.
    #[error("the contact at place {at} has no name or key of its own")]
    Contact {
        /// Counted from 0.
        at: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    contacts: Vec<Record<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    peer: PeerId,
    name: &'a str,
    their_name: Option<&'a str>,
    trust: Trust,
    added_unix: u64,
    last_seen_unix: Option<u64>,
    #[serde(default, borrow)]
    card_name: Option<&'a str>,
    #[serde(default)]
    alarm: Option<Alarm>,
}

impl Book {
    /// Writes all contacts.
    ///
    /// # Panics
    ///
    /// Never: its own fields always have a MessagePack form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let contacts = self.contacts().map(Record::of).collect();
        rmp_serde::to_vec_named(&Fields { contacts })
            .expect("bytes, text and numbers always have a MessagePack form")
    }

    /// Reads what [`Book::to_bytes`] wrote; fields that are not known are ignored.
    ///
    /// # Errors
    ///
    /// [`BookError`] when it could not have been written by it.
    pub fn from_bytes(own: PeerId, bytes: &[u8]) -> Result<Self, BookError> {
        let fields: Fields<'_> = rmp_serde::from_slice(bytes).map_err(|_| BookError::Malformed)?;
        let len = fields.contacts.len();
        if len > CONTACTS_MAX {
            return Err(BookError::TooLong { len });
        }
        let (mut contacts, mut names) = (BTreeMap::new(), BTreeSet::new());
        for (at, record) in fields.contacts.into_iter().enumerate() {
            let contact = record.contact().ok_or(BookError::Contact { at })?;
            let is_new = names.insert(name::key(&contact.name)) && contact.peer != own;
            if !is_new || contacts.insert(contact.peer, contact).is_some() {
                return Err(BookError::Contact { at });
            }
        }
        Ok(Self::with_contacts(own, contacts))
    }
}

impl<'a> Record<'a> {
    fn of(contact: &'a Contact) -> Self {
        Self {
            peer: contact.peer,
            name: &contact.name,
            their_name: contact.their_name.as_ref().map(DisplayName::as_str),
            trust: contact.trust,
            added_unix: contact.added_unix,
            last_seen_unix: contact.last_seen_unix,
            card_name: contact.card_name.as_ref().map(DisplayName::as_str),
            alarm: contact.alarm,
        }
    }

    fn contact(self) -> Option<Contact> {
        let can_be_shown = (1..=NAME_BYTES_MAX + MARKER_BYTES).contains(&self.name.len())
            && !self.name.contains(char::is_control);
        let read = |name: Option<&str>| name.map(DisplayName::new).transpose().ok();
        let (their_name, card_name) = (read(self.their_name)?, read(self.card_name)?);
        can_be_shown.then(|| Contact {
            peer: self.peer,
            name: self.name.into(),
            their_name,
            card_name,
            trust: self.trust,
            added_unix: self.added_unix,
            last_seen_unix: self.last_seen_unix,
            alarm: self.alarm,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Card;

    const OWN: PeerId = PeerId([0; 32]);

    fn book() -> Book {
        let mut book = Book::new(OWN);
        let card = Card { peer: PeerId([1; 32]), name: DisplayName::new("Alice").unwrap() };
        book.add(card, None, 1_000).unwrap();
        book.verify(&PeerId([1; 32])).unwrap();
        book.admit(PeerId([9; 32]), "alice", 1_500);
        book.admit(PeerId([2; 32]), &"x".repeat(NAME_BYTES_MAX), 2_000);
        book.admit(PeerId([3; 32]), &"X".repeat(NAME_BYTES_MAX), 3_000);
        book.block(PeerId([4; 32]), 4_000).unwrap();
        book
    }

    #[test]
    fn a_book_reads_back_with_marked_and_missing_names() {
        let read = Book::from_bytes(OWN, &book().to_bytes()).unwrap();
        assert!(read.contacts().eq(book().contacts()));
        assert_eq!(read.contacts().len(), 4);
        let alice = read.get(&PeerId([1; 32])).unwrap();
        assert!(alice.alarm.is_some() && alice.card_name.is_some());
        assert_eq!(Book::from_bytes(OWN, &Book::new(OWN).to_bytes()).unwrap().contacts().len(), 0);
    }

    #[test]
    fn a_book_without_cards_and_alarms_reads_as_one_in_which_nobody_came() {
        #[derive(Serialize)]
        struct Earlier {
            peer: PeerId,
            name: &'static str,
            their_name: Option<&'static str>,
            trust: Trust,
            added_unix: u64,
            last_seen_unix: Option<u64>,
        }
        let (name, their_name, last_seen_unix) = ("Alice", None, Some(5));
        let (peer, trust, added_unix) = (PeerId([1; 32]), Trust::Known, 1);
        let alice = Earlier { peer, name, their_name, trust, added_unix, last_seen_unix };
        let map = BTreeMap::from([("contacts", vec![alice])]);
        let book = Book::from_bytes(OWN, &rmp_serde::to_vec_named(&map).unwrap()).unwrap();
        assert_eq!(book.get(&peer).unwrap().alarm, None);
        assert_eq!(book.get(&peer).unwrap().card_name, None);
        assert_eq!(book.get(&peer).unwrap().last_seen_unix, Some(5));
    }

    #[test]
    fn every_prefix_is_refused() {
        let bytes = book().to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(Book::from_bytes(OWN, &bytes[..len]).unwrap_err(), BookError::Malformed);
        }
    }

    #[test]
    fn a_book_that_we_could_not_have_written_is_refused() {
        let bytes = |records: &[(u8, &str)]| {
            let record = |&(peer, name)| Record {
                peer: PeerId([peer; 32]),
                name,
                their_name: None,
                trust: Trust::Known,
                added_unix: 0,
                last_seen_unix: None,
                card_name: None,
                alarm: None,
            };
            let contacts = records.iter().map(record).collect();
            rmp_serde::to_vec_named(&Fields { contacts }).unwrap()
        };
        let read = |records: &[(u8, &str)]| Book::from_bytes(OWN, &bytes(records)).map(|_| ());
        assert_eq!(read(&[(1, "a"), (2, "b")]), Ok(()));
        assert_eq!(read(&[(1, "a"), (1, "b")]), Err(BookError::Contact { at: 1 }), "one key");
        assert_eq!(read(&[(1, "a"), (2, "A")]), Err(BookError::Contact { at: 1 }), "one name");
        assert_eq!(read(&[(0, "a")]), Err(BookError::Contact { at: 0 }), "ourselves");
        assert_eq!(read(&[(1, "")]), Err(BookError::Contact { at: 0 }));
        assert_eq!(read(&[(1, &"x".repeat(78))]), Err(BookError::Contact { at: 0 }));
        assert_eq!(read(&[(1, "a\u{1b}[2J")]), Err(BookError::Contact { at: 0 }));
        let many = vec![(1, "a"); CONTACTS_MAX + 1];
        assert_eq!(read(&many), Err(BookError::TooLong { len: CONTACTS_MAX + 1 }));
    }
}

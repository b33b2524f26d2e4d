//! Who is met, added, verified, blocked and taken for somebody else.

use super::*;

const OWN: PeerId = PeerId([0; 32]);
const ALICE: PeerId = PeerId([1; 32]);
const BOB: PeerId = PeerId([2; 32]);
const MALLORY: PeerId = PeerId([3; 32]);

fn name(text: &str) -> DisplayName {
    DisplayName::new(text).unwrap()
}

fn card(peer: PeerId, text: &str) -> Card {
    Card { peer, name: name(text) }
}

/// A book that knows Alice.
fn book() -> Book {
    let mut book = Book::new(OWN);
    book.add(card(ALICE, "Alice"), None, 1_000).unwrap();
    book.take_changed();
    book
}

fn accepted(name: &str) -> Admission {
    Admission::Accept { name: name.into() }
}

fn conflict(name: &str, known: PeerId) -> Admission {
    Admission::Refuse(Refusal::KeyConflict { name: name.into(), known })
}

#[test]
fn a_stranger_is_noted_as_seen_under_the_name_it_claims() {
    let mut book = book();
    assert_eq!(book.admit(BOB, " Bob ", 2_000), accepted("Bob"));
    let bob = book.get(&BOB).unwrap();
    assert_eq!((bob.trust, bob.added_unix, bob.last_seen_unix), (Trust::Seen, 2_000, Some(2_000)));
    assert_eq!(bob.their_name, Some(name("Bob")));
    assert_eq!(book.take_changed(), [BOB].into());
    assert_eq!(book.admit(BOB, "Bob", 3_000), accepted("Bob"));
    assert_eq!(book.get(&BOB).unwrap().last_seen_unix, Some(3_000));
    assert!(book.take_changed().is_empty());
    assert_eq!(book.admit(BOB, "Rob", 4_000), accepted("Rob"));
    assert_eq!(book.take_changed(), [BOB].into());
}

#[test]
fn a_stranger_under_the_name_of_a_known_contact_is_refused() {
    let mut book = book();
    for claim in ["Alice", "aLICE", "  alice  "] {
        assert_eq!(book.admit(MALLORY, claim, 2_000), conflict("Alice", ALICE));
    }
    assert!(book.get(&MALLORY).is_none());
    book.verify(&ALICE).unwrap();
    assert_eq!(book.admit(MALLORY, "Alice", 2_000), conflict("Alice", ALICE));
    assert_eq!(book.admit(ALICE, "Alice", 2_000), accepted("Alice"));
}

#[test]
fn who_came_with_another_key_is_noted_until_a_person_compares_the_words() {
    let mut book = book();
    book.take_changed();
    assert_eq!(book.admit(MALLORY, "alice", 2_000), conflict("Alice", ALICE));
    let alarm = |book: &Book| book.get(&ALICE).unwrap().alarm;
    assert_eq!(alarm(&book), Some(Alarm { peer: MALLORY, unix: 2_000 }));
    assert_eq!(book.take_changed(), [ALICE].into(), "a person is to see it");
    // That the contact itself comes proves nothing about who is who.
    assert_eq!(book.admit(ALICE, "Alice", 3_000), accepted("Alice"));
    assert_eq!(alarm(&book), Some(Alarm { peer: MALLORY, unix: 2_000 }));
    book.rename(&ALICE, &name("Alice B")).unwrap();
    assert!(alarm(&book).is_some());
    book.verify(&ALICE).unwrap();
    assert_eq!(alarm(&book), None);
}

#[test]
fn a_stranger_who_claims_our_own_name_is_told_from_us() {
    let mut book = book().called(Some(&name("Myself")));
    let marked = format!("mySELF ({})", MALLORY.short());
    assert_eq!(book.admit(MALLORY, "mySELF", 2_000), accepted(&marked));
    // A person who adds somebody of that name knows who it is.
    book.add(card(BOB, "Myself"), None, 2_000).unwrap();
    assert_eq!(book.admit(BOB, "Myself", 3_000), accepted("Myself"));
}

#[test]
fn names_that_are_shown_alike_are_one_name() {
    let mut book = book();
    book.add(card(BOB, "a:b[c]"), None, 1_000).unwrap();
    for claim in ["a\u{a789}b[c]", "A:B \u{2772}c\u{2773}".replace(' ', "").as_str()] {
        assert_eq!(book.admit(MALLORY, claim, 2_000), conflict("a:b[c]", BOB));
    }
}

#[test]
fn a_stranger_under_the_own_name_of_a_contact_we_renamed_is_refused_too() {
    let mut book = book();
    book.rename(&ALICE, &name("My sister")).unwrap();
    assert_eq!(book.admit(MALLORY, "Alice", 2_000), conflict("My sister", ALICE));
    assert_eq!(book.admit(MALLORY, "my sister", 2_000), conflict("My sister", ALICE));
}

#[test]
fn who_was_seen_before_cannot_take_a_known_name_later() {
    let mut book = book();
    assert_eq!(book.admit(MALLORY, "Mallory", 2_000), accepted("Mallory"));
    assert_eq!(book.admit(MALLORY, "Alice", 3_000), conflict("Alice", ALICE));
    assert_eq!(&*book.get(&MALLORY).unwrap().name, "Mallory");
}

#[test]
fn a_known_contact_keeps_our_name_whatever_it_calls_itself() {
    let mut book = book();
    book.add(card(BOB, "Bob"), None, 1_000).unwrap();
    assert_eq!(book.admit(ALICE, "Bob", 2_000), accepted("Alice"));
    assert_eq!(book.get(&ALICE).unwrap().their_name, Some(name("Bob")));
    assert_eq!(book.admit(BOB, "Bob", 2_000), accepted("Bob"));
}

#[test]
fn what_a_contact_calls_itself_locks_nobody_out_and_nobodys_card() {
    let mut book = book();
    assert_eq!(book.admit(ALICE, "Bob", 2_000), accepted("Alice"));
    assert_eq!(book.admit(BOB, "Bob", 2_000), accepted("Bob"), "whom we have not added");
    assert_eq!(book.get(&ALICE).unwrap().alarm, None);
    assert_eq!(book.admit(ALICE, "Carol", 2_000), accepted("Alice"));
    assert_eq!(&*book.add(card(MALLORY, "Carol"), None, 3_000).unwrap().name, "Carol");
    // A name that a person has seen on a card stays that contact's.
    book.rename(&ALICE, &name("My sister")).unwrap();
    assert_eq!(book.admit(BOB, "Alice", 4_000), conflict("My sister", ALICE));
    book.add(card(ALICE, "Alicia"), None, 5_000).unwrap();
    assert_eq!(book.admit(BOB, "Alicia", 6_000), conflict("My sister", ALICE));
}

#[test]
fn a_blocked_peer_is_refused_under_any_name_until_it_is_removed() {
    let mut book = book();
    book.block(ALICE, 2_000).unwrap();
    book.block(BOB, 2_000).unwrap();
    assert_eq!(book.admit(ALICE, "Somebody", 3_000), Admission::Refuse(Refusal::Blocked));
    assert_eq!(book.admit(BOB, "Bob", 3_000), Admission::Refuse(Refusal::Blocked));
    let refused = book.add(card(ALICE, "Alice"), None, 3_000).unwrap_err();
    assert_eq!(refused, ContactError::Blocked { name: "Alice".into() });
    assert!(book.verify(&ALICE).is_err());
    book.remove(&ALICE).unwrap();
    assert_eq!(book.admit(ALICE, "Alice", 3_000), accepted("Alice"));
}

#[test]
fn strangers_with_one_name_are_told_apart_even_when_one_mimics_the_mark() {
    let mut book = book();
    assert_eq!(book.admit(BOB, "Bob", 2_000), accepted("Bob"));
    let marked = format!("bob ({})", MALLORY.short());
    assert_eq!(book.admit(MALLORY, "bob", 2_000), accepted(&marked));
    let third = PeerId([4; 32]);
    let mimic = PeerId([5; 32]);
    let marked = format!("bob ({})", third.short());
    assert_eq!(book.admit(mimic, &marked, 2_000), accepted(&marked));
    assert_eq!(book.admit(third, "bob", 2_000), accepted(&third.to_string()));
}

#[test]
fn who_has_no_name_fit_to_be_shown_goes_by_the_id() {
    let mut book = book();
    assert_eq!(book.admit(BOB, "", 2_000), accepted(&BOB.short()));
    assert_eq!(book.admit(MALLORY, "Al\u{200b}ice", 2_000), accepted(&MALLORY.short()));
    let mimic = PeerId([4; 32]);
    assert_eq!(book.admit(mimic, &ALICE.to_string(), 2_000), accepted(&mimic.short()));
}

#[test]
fn our_own_key_is_no_contact() {
    let mut book = book();
    assert_eq!(book.admit(OWN, "Me", 2_000), accepted("Me"));
    assert_eq!(book.add(card(OWN, "Me"), None, 2_000).unwrap_err(), ContactError::Ourselves);
    assert_eq!(book.block(OWN, 2_000).unwrap_err(), ContactError::Ourselves);
    assert!(book.get(&OWN).is_none());
}

#[test]
fn a_card_under_the_name_of_another_key_is_a_conflict_unless_that_one_was_only_seen() {
    let mut book = book();
    let refused = book.add(card(MALLORY, "alice"), None, 2_000).unwrap_err();
    assert_eq!(refused, ContactError::Conflict { name: "Alice".into(), known: ALICE });
    book.rename(&ALICE, &name("My sister")).unwrap();
    assert!(book.add(card(MALLORY, "Alice"), None, 2_000).is_err());
    book.block(ALICE, 2_000).unwrap();
    assert!(book.add(card(MALLORY, "Alice"), None, 2_000).is_err());

    book.admit(MALLORY, "Bob", 2_000);
    book.take_changed();
    let bob = book.add(card(BOB, "Bob"), None, 3_000).unwrap();
    assert_eq!((&*bob.name, bob.trust), ("Bob", Trust::Known));
    assert_eq!(*book.get(&MALLORY).unwrap().name, format!("Bob ({})", MALLORY.short()));
    assert_eq!(book.take_changed(), [BOB, MALLORY].into());
}

#[test]
fn two_friends_with_one_name_can_both_be_added_under_names_of_ours() {
    let mut book = book();
    let second = book.add(card(BOB, "Alice"), Some(name("Alice B")), 2_000).unwrap();
    assert_eq!((&*second.name, second.trust), ("Alice B", Trust::Known));
    assert_eq!(book.admit(BOB, "Alice", 3_000), accepted("Alice B"));
    let refused = book.add(card(MALLORY, "M"), Some(name("alice b")), 2_000).unwrap_err();
    assert_eq!(refused, ContactError::NameTaken { name: "Alice B".into(), owner: BOB });
}

#[test]
fn nobody_gets_the_id_of_another_for_a_name() {
    let mut book = book();
    let id = BOB.to_string();
    let taken = Err(ContactError::NameTaken { name: id.as_str().into(), owner: BOB });
    assert_eq!(book.add(card(MALLORY, &id), None, 2_000).map(|_| ()), taken);
    assert_eq!(book.rename(&ALICE, &name(&id)).map(|_| ()), taken);
}

#[test]
fn adding_twice_changes_neither_name_nor_trust() {
    let mut book = book();
    book.rename(&ALICE, &name("My sister")).unwrap();
    book.verify(&ALICE).unwrap();
    let again = book.add(card(ALICE, "Alicia"), None, 2_000).unwrap();
    assert_eq!((&*again.name, again.trust), ("My sister", Trust::Verified));
    assert_eq!((again.their_name.clone(), again.added_unix), (Some(name("Alicia")), 1_000));
}

#[test]
fn who_was_seen_becomes_known_by_a_card_or_a_name_and_verified_by_words() {
    let mut book = book();
    for (peer, claim) in [(BOB, "Bob"), (MALLORY, "M"), (PeerId([4; 32]), "Carol")] {
        book.admit(peer, claim, 2_000);
    }
    assert_eq!(book.add(card(BOB, "Bob"), None, 3_000).unwrap().trust, Trust::Known);
    assert_eq!(book.get(&BOB).unwrap().last_seen_unix, Some(2_000));
    assert_eq!(book.rename(&MALLORY, &name("Mal")).unwrap().trust, Trust::Known);
    assert_eq!(book.verify(&PeerId([4; 32])).unwrap().trust, Trust::Verified);
    assert_eq!(
        book.rename(&BOB, &name("ALICE")).unwrap_err(),
        ContactError::NameTaken { name: "Alice".into(), owner: ALICE }
    );
}

#[test]
fn a_contact_is_found_by_name_by_id_and_by_the_beginning_of_the_id() {
    let book = book();
    let id = ALICE.to_string();
    for text in [" alice ", &id, &id.to_ascii_uppercase(), &id[..6], &id[..20]] {
        assert_eq!(book.find(text).map(|contact| contact.peer), Ok(ALICE), "{text}");
    }
    for text in [&id[..5], "", "bob", &BOB.to_string()] {
        assert_eq!(book.find(text).unwrap_err(), ContactError::NotFound(text.to_owned()));
    }
}

#[test]
fn a_name_that_is_the_beginning_of_anothers_id_leads_to_neither() {
    let mut book = book();
    let prefix = ALICE.to_string()[..8].to_owned();
    book.admit(MALLORY, &prefix, 2_000);
    let refused = book.find(&prefix).unwrap_err();
    assert!(
        matches!(&refused, ContactError::Ambiguous { candidates, .. } if candidates.len() == 2)
    );
    assert!(refused.to_string().contains("write more of the id"), "{refused}");
}

#[test]
fn a_full_book_forgets_who_was_seen_longest_ago_and_never_who_was_added() {
    let peer = |at: usize| {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&(at as u64).to_be_bytes());
        PeerId(id)
    };
    let mut book = book();
    for at in 1..CONTACTS_MAX {
        // The second is the oldest.
        let now = if at == 2 { 10 } else { 2_000 };
        book.admit(peer(at), "", now);
    }
    assert_eq!(book.contacts().len(), CONTACTS_MAX);
    book.take_changed();
    book.admit(BOB, "Bob", 3_000);
    assert_eq!(book.contacts().len(), CONTACTS_MAX);
    assert!(book.get(&peer(2)).is_none() && book.get(&peer(1)).is_some());
    assert!(book.get(&ALICE).is_some() && book.get(&BOB).is_some());
    assert_eq!(book.take_changed(), [peer(2), BOB].into());
}

#[test]
fn a_book_full_of_people_we_added_takes_no_more_but_strangers_are_talked_to() {
    let contact = |at: usize| {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&(at as u64).to_be_bytes());
        Contact { trust: Trust::Known, ..new_contact(PeerId(id), 0) }
    };
    let contacts = (0..CONTACTS_MAX).map(contact).map(|contact| (contact.peer, contact)).collect();
    let mut book = Book::with_contacts(OWN, contacts);
    assert_eq!(book.admit(BOB, "Bob", 1_000), accepted("Bob"));
    assert!(book.get(&BOB).is_none());
    assert_eq!(book.add(card(BOB, "Bob"), None, 1_000).unwrap_err(), ContactError::Full);
    assert_eq!(book.block(BOB, 1_000).unwrap_err(), ContactError::Full);
}

//! The book on a real profile, and those who are told of its contacts.

use std::fs;
use std::path::Path;

use actix::Addr;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

const ALICE: PeerId = PeerId([1; 32]);
const BOB: PeerId = PeerId([2; 32]);

/// Hands on what it is told.
struct Listener(UnboundedSender<ContactChanged>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<ContactChanged> for Listener {
    type Result = ();

    fn handle(&mut self, changed: ContactChanged, _: &mut Self::Context) {
        let _ = self.0.send(changed);
    }
}

async fn listen(book: &Addr<ContactBook>) -> UnboundedReceiver<ContactChanged> {
    let (told, heard) = unbounded_channel();
    book.send(Subscribe(Listener(told).start().recipient())).await.unwrap();
    heard
}

fn profile(home: &Path) -> Profile {
    match Profile::open(home, "default", None) {
        Err(ProfileError::Missing { .. }) => Profile::create(home, "default", None, None).unwrap(),
        opened => opened.unwrap(),
    }
}

fn add(peer: PeerId, name: &str) -> AddContact {
    AddContact { card: Card { peer, name: DisplayName::new(name).unwrap() }, our_name: None }
}

fn admit(peer: PeerId, name: &str) -> AdmitPeer {
    AdmitPeer { peer, name: name.to_owned() }
}

fn find(text: &str) -> FindContact {
    FindContact { text: text.to_owned() }
}

#[actix::test]
async fn what_a_person_changes_is_on_disk_before_it_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = ContactBook::open(&profile).unwrap().start();
    book.send(add(ALICE, "Alice")).await.unwrap().unwrap();
    book.send(VerifyContact { peer: ALICE }).await.unwrap().unwrap();
    book.send(BlockContact { peer: BOB }).await.unwrap().unwrap();

    // A second reader sees what a start after a crash would.
    let again = ContactBook::open(&profile).unwrap().start();
    let listed = again.send(ListContacts).await.unwrap();
    let trust: Vec<_> = listed.iter().map(|contact| (contact.peer, contact.trust)).collect();
    assert_eq!(trust, [(ALICE, Trust::Verified), (BOB, Trust::Blocked)]);
    assert_eq!(again.send(find("alice")).await.unwrap().unwrap().peer, ALICE);
    assert_eq!(again.send(FindName { peer: ALICE }).await.unwrap().as_deref(), Some("Alice"));
    let refused = again.send(admit(BOB, "Bob")).await.unwrap();
    assert_eq!(refused, Admission::Refuse(Refusal::Blocked));

    book.send(RemoveContact { peer: BOB }).await.unwrap().unwrap();
    let again = ContactBook::open(&profile).unwrap().start();
    assert_eq!(again.send(ListContacts).await.unwrap().len(), 1);
}

#[actix::test]
async fn meetings_are_written_some_seconds_later() {
    tokio::time::pause();
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = ContactBook::open(&profile).unwrap().start();
    let accepted = book.send(admit(ALICE, "Alice")).await.unwrap();
    assert_eq!(accepted, Admission::Accept { name: "Alice".into() });
    assert!(profile.file("contacts").read().unwrap().is_none());
    tokio::time::sleep(SAVE_AFTER * 2).await;
    let again = ContactBook::open(&profile).unwrap();
    let alice = again.book.get(&ALICE).unwrap();
    assert_eq!(alice.trust, Trust::Seen);
    assert!(alice.last_seen_unix.is_some());
    assert!(book.connected());
}

#[actix::test]
async fn who_came_with_another_key_is_written_too() {
    tokio::time::pause();
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = ContactBook::open(&profile).unwrap().start();
    book.send(add(ALICE, "Alice")).await.unwrap().unwrap();
    let refused = book.send(admit(BOB, "Alice")).await.unwrap();
    assert!(matches!(refused, Admission::Refuse(Refusal::KeyConflict { .. })));
    tokio::time::sleep(SAVE_AFTER * 2).await;
    let again = ContactBook::open(&profile).unwrap();
    assert_eq!(again.book.get(&ALICE).unwrap().alarm.map(|alarm| alarm.peer), Some(BOB));
}

#[actix::test]
async fn meetings_are_written_at_the_end() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let mut ended = ContactBook::open(&profile).unwrap();
    ended.book.admit(ALICE, "Alice", 1_000);
    ended.unsaved = true;
    ended.stopped(&mut Context::new());
    assert!(ContactBook::open(&profile).unwrap().book.get(&ALICE).is_some());
}

#[actix::test]
async fn a_disk_that_refuses_leaves_the_book_as_it_was_and_meetings_are_written_later() {
    tokio::time::pause();
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = ContactBook::open(&profile).unwrap().start();
    let mut heard = listen(&book).await;
    // A directory in the way of the new file: refused for every user.
    let in_the_way = profile.dir().join("contacts.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let error = book.send(add(ALICE, "Alice")).await.unwrap().unwrap_err();
    assert!(error.to_string().starts_with("the contact book was not changed"), "{error}");
    assert!(book.send(ListContacts).await.unwrap().is_empty());
    assert!(heard.try_recv().is_err());

    book.send(admit(BOB, "Bob")).await.unwrap();
    tokio::time::sleep(SAVE_AFTER * 2).await;
    assert!(profile.file("contacts").read().unwrap().is_none());
    fs::remove_dir(&in_the_way).unwrap();
    tokio::time::sleep(SAVE_AGAIN_AFTER).await;
    assert!(ContactBook::open(&profile).unwrap().book.get(&BOB).is_some());
}

#[actix::test]
async fn a_known_name_under_another_key_is_refused_with_the_key_that_is_known() {
    let home = tempfile::tempdir().unwrap();
    let book = ContactBook::open(&profile(home.path())).unwrap().start();
    book.send(add(ALICE, "Alice")).await.unwrap().unwrap();
    let refused = book.send(admit(BOB, "alice")).await.unwrap();
    let conflict = Refusal::KeyConflict { name: "Alice".into(), known: ALICE };
    assert_eq!(refused, Admission::Refuse(conflict));
    let error = book.send(add(BOB, "Alice")).await.unwrap().unwrap_err();
    assert!(matches!(error, EditError::Refused(ContactError::Conflict { .. })), "{error}");
}

#[actix::test]
async fn subscribers_hear_of_names_and_trust_and_of_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let book = ContactBook::open(&profile(home.path())).unwrap().start();
    let mut heard = listen(&book).await;
    book.send(admit(ALICE, "Alice")).await.unwrap();
    book.send(admit(ALICE, "Alice")).await.unwrap();
    book.send(VerifyContact { peer: ALICE }).await.unwrap().unwrap();
    book.send(RemoveContact { peer: ALICE }).await.unwrap().unwrap();
    let mut next = async || heard.recv().await.unwrap().contact.map(|contact| contact.trust);
    assert_eq!(next().await, Some(Trust::Seen));
    assert_eq!(next().await, Some(Trust::Verified));
    assert_eq!(next().await, None);
    assert!(heard.try_recv().is_err());
}

#[actix::test]
async fn a_book_that_is_damaged_is_not_taken_for_an_empty_one() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    profile.file("contacts").write(b"sealed, but no book").unwrap();
    let error = ContactBook::open(&profile).unwrap_err().to_string();
    assert!(error.contains("contacts is damaged: it is not a list of contacts"), "{error}");
}

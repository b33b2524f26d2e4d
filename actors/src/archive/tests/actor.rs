//! The archive as an actor: messages in, answers out.

use bitchat_protocol::channel::{Kind, Rotation};

use actix::{Actor as _, Addr, Context, Handler};
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::*;
use crate::archive::{
    Acknowledge, Append, Archive, CloseChannel, FindAcknowledged, FindSaid, ForgetChannel,
    ListAuthors, ListEvents, OpenChannel, Pruned, ReadPage, ReadRange, Search, Subscribe,
};
use crate::channel_book::{ListOpen, OpenedChannel};
use crate::vault::Profile;

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        drop(Profile::create(dir.path(), "default", None, None).unwrap());
        Self { dir }
    }

    fn profile(&self) -> Profile {
        Profile::open(self.dir.path(), "default", None).unwrap()
    }

    async fn start(&self, retention: Retention) -> Addr<Archive> {
        let archive = Archive::open(&self.profile()).unwrap().start();
        let open = OpenChannel { keys: member(1), retention };
        archive.send(open).await.unwrap().unwrap();
        archive
    }
}

async fn page(archive: &Addr<Archive>) -> Vec<String> {
    let read = ReadPage { channel: channel(), from: From::Newest, limit: 1000 };
    let page = archive.send(read).await.unwrap().unwrap();
    page.into_iter().map(|message| message.text).collect()
}

#[actix_rt::test]
async fn what_waits_together_is_written_together_and_each_is_answered() {
    let scene = Scene::new();
    let archive = scene.start(Retention::default()).await;
    let mut alice = Author::new(1, 1);
    let mut batches: Vec<_> =
        alice.say_many(100).into_iter().map(|entry| alice.batch(vec![entry])).collect();
    let mut wrong = Author::new(2, 1);
    batches.push(wrong.batch(wrong.clone().say_many(1)));
    wrong.say("");
    let answers = join_all(batches.into_iter().map(|batch| archive.send(Append(batch)))).await;
    let seqs: Vec<_> = answers[..100]
        .iter()
        .flat_map(|answer| answer.as_ref().unwrap().as_ref().unwrap())
        .map(|event| event.seq)
        .collect();
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
    assert_eq!(answers[100].as_ref().unwrap(), &Err(ArchiveError::NotOpen(member(2).id())));
    archive.send(Acknowledge { client: "bot".to_owned(), seq: 50 }).await.unwrap().unwrap();
    assert_eq!(page(&archive).await.len(), 100);
    let client = "bot".to_owned();
    assert_eq!(archive.send(FindAcknowledged { client }).await.unwrap(), Ok(Some(50)));
}

#[actix_rt::test]
async fn a_search_waits_until_the_index_is_complete_enough() {
    let scene = Scene::new();
    let mut alice = Author::new(1, 1);
    {
        let mut store = {
            let profile = scene.profile();
            Store::open(Paths::new(profile.dir()), profile.storage_key())
        }
        .unwrap();
        must_open_channel(&mut store);
        let mut entries = vec![alice.say("needle")];
        entries.extend(alice.say_many(3000));
        must_append(&mut store, alice.batch(entries));
    }
    let archive = scene.start(Retention::default()).await;
    for (channel, words) in [(Some(channel()), "needle"), (None, "needle"), (None, "nothing")] {
        let search = Search { channel, words: words.to_owned(), limit: 10, before: None };
        let found = archive.send(search).await.unwrap().unwrap();
        assert_eq!(found.messages.len(), usize::from(words == "needle"), "{words}");
    }
}

/// Hears what was pruned.
struct Listener(mpsc::UnboundedSender<Pruned>);

impl actix::Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Pruned> for Listener {
    type Result = ();

    fn handle(&mut self, pruned: Pruned, _: &mut Self::Context) {
        self.0.send(pruned).unwrap();
    }
}

#[actix_rt::test]
async fn who_subscribed_is_told_of_all_that_is_pruned_even_in_steps() {
    let scene = Scene::new();
    let archive = scene.start(Retention { count: Some(10), ..Retention::default() }).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    archive.send(Subscribe(Listener(told).start().recipient())).await.unwrap();
    let mut alice = Author::new(1, 1);
    let entries = alice.say_many(4500);
    archive.send(Append(alice.batch(entries))).await.unwrap().unwrap();
    let mut bases = Vec::new();
    while bases.last() != Some(&4490) {
        bases.push(heard.recv().await.unwrap().base);
    }
    assert_eq!(bases, [2000, 4000, 4490]);
    let range =
        ReadRange { channel: channel(), chain: alice.chain(), from: 4491, bytes_max: 1 << 20 };
    assert_eq!(archive.send(range).await.unwrap().unwrap().len(), 10);
    assert_eq!(page(&archive).await.len(), 10);
}

#[actix_rt::test]
async fn a_damaged_archive_is_mended_before_anything_is_answered() {
    let scene = Scene::new();
    let mut we = Author::ours(1, 9);
    {
        let profile = scene.profile();
        let mut store = Store::open(Paths::new(profile.dir()), profile.storage_key()).unwrap();
        must_open_channel(&mut store);
        let entries = we.say_many(1500);
        must_append(&mut store, we.batch(entries));
    }
    let path = scene.dir.path().join("default/archive");
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..half + 4096].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();

    let archive = scene.start(Retention::default()).await;
    let authors = archive.send(ListAuthors { channel: channel() }).await.unwrap().unwrap();
    assert_eq!(authors, [we.identity.peer_id()]);
    let page = page(&archive).await;
    assert_eq!(page.last().map(String::as_str), Some("message 1500"));
    assert!(page.len() >= 900);
    // It was somebody else that said it.
    let find = FindSaid { channel: channel(), id: we.id(1500) };
    assert_eq!(archive.send(find).await.unwrap(), Ok(None));
    let events = archive.send(ListEvents { since: 0, limit: 10 }).await.unwrap().unwrap();
    assert_eq!(events.len(), 10);
    assert!(scene.dir.path().join("default/archive.damaged-1").exists());
}

/// Has these channels open, as far as anybody is told.
struct Book(Vec<Arc<OpenedChannel>>);

impl actix::Actor for Book {
    type Context = Context<Self>;
}

impl Handler<ListOpen> for Book {
    type Result = Vec<Arc<OpenedChannel>>;

    fn handle(&mut self, _: ListOpen, _: &mut Self::Context) -> Self::Result {
        self.0.clone()
    }
}

fn opened(keys: &ChannelKeys) -> Arc<OpenedChannel> {
    Arc::new(OpenedChannel {
        origin: None,
        moved_to: None,
        name: "a channel".to_owned(),
        kind: Kind::Open,
        only: None,
        door: None,
        keys: keys.clone(),
        trackers: Vec::new(),
        nodes: Vec::new(),
        rotation: Rotation::Daily,
        last_known: Vec::new(),
    })
}

#[actix_rt::test]
async fn who_asks_what_happened_waits_for_the_channels_that_are_being_opened() {
    let scene = Scene::new();
    {
        let profile = scene.profile();
        let mut store = Store::open(Paths::new(profile.dir()), profile.storage_key()).unwrap();
        for number in [3, 1, 2, 1] {
            store.open_channel(member(number), Retention::default()).unwrap();
            let mut alice = Author::new(number, 1);
            let entry = alice.say("said before");
            must_append(&mut store, alice.batch(vec![entry]));
        }
    }
    let book = Book(vec![opened(&member(1)), opened(&member(2))]).start();
    let archive = Archive::open(&scene.profile()).unwrap().with_book(book.recipient()).start();
    let list = |since| archive.send(ListEvents { since, limit: 10 });
    let open = |number| {
        let open = OpenChannel { keys: member(number), retention: Retention::default() };
        archive.send(open)
    };
    let seqs = |events: Vec<Event>| events.iter().map(|event| event.seq).collect::<Vec<_>>();
    // Channel 3 is not open on this node, so nobody waits for it.
    let first = list(0).await.unwrap().unwrap();
    assert_eq!(first, [Event { seq: 1, kind: EventKind::NotOpen(member(3).id()) }]);
    let mut waiting = Box::pin(list(1));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    open(1).await.unwrap().unwrap();
    assert_eq!(seqs(waiting.await.unwrap().unwrap()), [2]);
    let waiting = list(2);
    open(2).await.unwrap().unwrap();
    assert_eq!(seqs(waiting.await.unwrap().unwrap()), [3]);
    archive.send(CloseChannel { id: member(1).id() }).await.unwrap().unwrap();
    let closed = list(0).await.unwrap().unwrap();
    assert_eq!(closed[1].kind, EventKind::NotOpen(member(1).id()));
}

#[actix_rt::test]
async fn nobody_waits_for_a_channel_for_ever() {
    tokio::time::pause();
    let scene = Scene::new();
    let mut alice = Author::new(1, 1);
    {
        let profile = scene.profile();
        let mut store = Store::open(Paths::new(profile.dir()), profile.storage_key()).unwrap();
        must_open_channel(&mut store);
        let entry = alice.say("said before");
        must_append(&mut store, alice.batch(vec![entry]));
    }
    let book = Book(vec![opened(&member(1))]).start();
    let archive = Archive::open(&scene.profile()).unwrap().with_book(book.recipient()).start();
    let refused = archive.send(ListEvents { since: 0, limit: 10 }).await.unwrap();
    assert_eq!(refused, Err(ArchiveError::Opening));
}

#[actix_rt::test]
async fn a_large_channel_is_forgotten_while_others_are_served() {
    let scene = Scene::new();
    let archive = scene.start(Retention::default()).await;
    let open = OpenChannel { keys: member(2), retention: Retention::default() };
    archive.send(open).await.unwrap().unwrap();
    let (mut alice, mut bob) = (Author::new(1, 1), Author::new(2, 2));
    let entries = alice.say_many(10_000);
    archive.send(Append(alice.batch(entries))).await.unwrap().unwrap();
    let mut forgotten = Box::pin(archive.send(ForgetChannel { id: channel() }));
    let mut served = 0;
    while futures_util::poll!(&mut forgotten).is_pending() {
        let entry = bob.say("meanwhile");
        archive.send(Append(bob.batch(vec![entry]))).await.unwrap().unwrap();
        served += 1;
    }
    assert!(served > 0);
    let refused = archive.send(ReadPage { channel: channel(), from: From::Newest, limit: 1 });
    assert_eq!(refused.await.unwrap(), Err(ArchiveError::NotOpen(channel())));
}

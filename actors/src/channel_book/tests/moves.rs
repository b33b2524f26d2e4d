//! Channels that go on without somebody: what the book keeps of them, and after which failure.

use bitchat_protocol::channel::{ChannelKeys, ChannelSecret, Move};
use bitchat_protocol::crypto::Secret;
use bitchat_protocol::session::Departure;
use bitchat_protocol::wire::MoveBytes;
use tempfile::TempDir;

use super::*;
use crate::channel_book::{RemoveMember, TakeMove};

const MEMBER: Standing = Standing::Member;

/// A founder with two guests, the first of whom may invite, each with a book and an open channel.
struct Club {
    _homes: [TempDir; 3],
    people: [Profile; 3],
    books: [Addr<ChannelBook>; 3],
    id: ChannelId,
    tickets: [Vec<Ticket>; 2],
}

impl Club {
    async fn found(policy: Policy) -> Self {
        let homes = [0; 3].map(|_| tempfile::tempdir().unwrap());
        let people = homes.each_ref().map(|home| profile(home.path()));
        let books = people.each_ref().map(start);
        let id = closed(&books[0], &people[0], policy).await;
        let mut tickets = [const { Vec::new() }; 2];
        for (at, right) in [(1, Right::MayInvite), (2, Right::Member)] {
            let issued = invite(&books[0], id, people[at].peer_id(), right).await.unwrap();
            join(&books[at], issued.file).await;
            tickets[at - 1].clone_from(&issued.tickets);
            let keep = KeepTickets { id, tickets: issued.tickets };
            books[at].send(keep).await.unwrap().unwrap();
        }
        for book in &books {
            open(book, id).await;
        }
        Self { _homes: homes, people, books, id, tickets }
    }

    async fn remove(&self, at: usize) -> Summary {
        let remove = RemoveMember { id: self.id, peer: self.people[at].peer_id() };
        self.books[0].send(remove).await.unwrap().unwrap()
    }

    /// Tells a member what a link with the founder tells.
    async fn tell(&self, at: usize) {
        let Departure { moved, secret, .. } = departure(&self.books[0], self.id).await.unwrap();
        self.tell_with(at, moved, secret.unwrap()).await;
    }

    async fn tell_with(&self, at: usize, moved: MoveBytes, key: Secret<32>) {
        let (channel, by) = (self.id, self.people[0].peer_id());
        self.books[at].send(TakeMove { channel, by, moved, key }).await.unwrap();
    }
}

async fn open(book: &Addr<ChannelBook>, id: ChannelId) {
    book.send(OpenChannel { id }).await.unwrap().unwrap();
}

async fn opened(book: &Addr<ChannelBook>, id: ChannelId) -> Option<Arc<OpenedChannel>> {
    let open = book.send(ListOpen).await.unwrap();
    open.into_iter().find(|it| it.keys.id() == id)
}

/// What the sessions of a book hand on about a channel that is open.
async fn departure(book: &Addr<ChannelBook>, id: ChannelId) -> Option<Departure> {
    opened(book, id).await?.door.clone()?.departure
}

async fn shown(book: &Addr<ChannelBook>, id: ChannelId) -> Summary {
    book.send(FindChannel { text: id.to_string() }).await.unwrap().unwrap()
}

/// Hands on what a person is told of channels that go on.
struct Tidings(UnboundedSender<String>);

impl Actor for Tidings {
    type Context = Context<Self>;
}

impl Handler<ChannelEvent> for Tidings {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, _: &mut Self::Context) {
        let text = match event {
            ChannelEvent::Moved { label, removed, .. } => format!("{label} -{}", removed.len()),
            ChannelEvent::Trouble { text, .. } => text,
            ChannelEvent::Opened(_)
            | ChannelEvent::Changed(_)
            | ChannelEvent::Closed(_)
            | ChannelEvent::NotLetIn { .. } => return,
        };
        let _ = self.0.send(text);
    }
}

async fn tidings(book: &Addr<ChannelBook>) -> UnboundedReceiver<String> {
    let (told, heard) = unbounded_channel();
    book.send(Subscribe(Tidings(told).start().recipient())).await.unwrap();
    heard
}

#[actix::test]
async fn who_is_removed_is_let_in_nowhere_and_everybody_else_as_before() {
    let club = Club::found(Policy::Tickets).await;
    let [_, bob, carol] = club.people.each_ref().map(Profile::peer_id);
    // Somebody whom the one to be removed has invited, and somebody whom the founder has.
    let guests = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let [dave, erin] = guests.each_ref().map(|home| profile(home.path()).peer_id());
    let daves = invite(&club.books[1], club.id, dave, Right::Member).await.unwrap().tickets;
    let erins = invite(&club.books[0], club.id, erin, Right::Member).await.unwrap().tickets;
    let revision =
        |opened: Option<Arc<OpenedChannel>>| opened.unwrap().door.clone().unwrap().revision;
    let before = revision(opened(&club.books[0], club.id).await);
    let mut heard = tidings(&club.books[0]).await;

    let team = club.remove(1).await;
    assert_eq!((team.name.as_str(), team.is_open, team.moved_to), ("Secret", true, None));
    assert_eq!(team.removed, [bob]);
    assert!(revision(opened(&club.books[0], club.id).await) > before, "all are asked about again");
    assert_eq!(heard.recv().await.as_deref(), Some("Secret -1"));
    club.tell(2).await;
    for book in [&club.books[0], &club.books[2]] {
        for id in [club.id, team.id] {
            assert_eq!(judged(book, id, bob, MEMBER, &club.tickets[0]).await, Err(4));
            assert_eq!(judged(book, id, dave, MEMBER, &daves).await, Err(4));
            assert_eq!(judged(book, id, carol, MEMBER, &club.tickets[1]).await, Ok(None));
            assert_eq!(judged(book, id, erin, MEMBER, &erins).await, Ok(None));
        }
    }
    // What let a member in lets it in.
    let door = opened(&club.books[2], team.id).await.unwrap().door.clone().unwrap();
    assert_eq!(door.tickets, [TicketBytes(club.tickets[1][0].encode().try_into().unwrap())]);
    assert_eq!(shown(&club.books[2], team.id).await.trackers, team.trackers);
    // The name means what goes on; what was left has another.
    for book in [&club.books[0], &club.books[2]] {
        assert_eq!(find(book, "secret").await.unwrap(), team.id);
        let old = shown(book, club.id).await;
        assert!(old.name.as_str().starts_with("Secret (until 20"), "{}", old.name);
        assert_eq!((old.moved_to, old.is_open), (Some(team.id), true));
    }
    // The next one who goes takes nobody back in.
    let next = RemoveMember { id: team.id, peer: dave };
    let next = club.books[0].send(next).await.unwrap().unwrap();
    assert!(next.removed.contains(&bob) && next.removed.contains(&dave));
    for id in [club.id, team.id, next.id] {
        let judged = judged(&club.books[0], id, dave, MEMBER, &[]).await;
        assert_eq!(judged, Err(4), "removed from the last, and handed no key on the way there");
    }
}

#[actix::test]
async fn what_cannot_be_done_is_said_and_changes_nothing() {
    let club = Club::found(Policy::Tickets).await;
    let [alice, bob, carol] = club.people.each_ref().map(Profile::peer_id);
    let words = async |at: usize, id, peer| {
        let removed = club.books[at].send(RemoveMember { id, peer }).await.unwrap();
        removed.unwrap_err().to_string()
    };
    assert!(words(1, club.id, carol).await.contains("only the founder of Secret"));
    assert!(words(0, club.id, alice).await.contains("you founded Secret"));
    let open = join(&club.books[0], team()).await.id;
    assert!(words(0, open, bob).await.contains("whoever has its file is in it"));
    assert!(words(0, ChannelId([7; 32]), bob).await.contains("there is no channel"));
    assert_eq!(club.books[0].send(ListChannels).await.unwrap().len(), 2);

    let team = club.remove(1).await;
    assert!(words(0, club.id, carol).await.contains(&format!("use Secret ({})", team.id.short())));
    let again = RemoveMember { id: team.id, peer: bob };
    assert_eq!(club.books[0].send(again).await.unwrap().unwrap().id, team.id, "no error");
    assert_eq!(club.books[0].send(ListChannels).await.unwrap().len(), 3);
    for id in [club.id, team.id] {
        let error = invite(&club.books[0], id, bob, Right::Member).await.unwrap_err().to_string();
        let expected = if id == team.id { "was removed from Secret" } else { "is over" };
        assert!(error.contains(expected), "{error}");
    }
    club.tell(2).await;
    let error = club.books[2].send(RemoveMember { id: team.id, peer: alice }).await.unwrap();
    assert!(matches!(error, Err(ChannelError::NotFounder(_))), "{error:?}");
}

#[actix::test]
async fn a_disk_that_refuses_and_a_full_book_leave_the_channel_as_it_was() {
    let club = Club::found(Policy::Tickets).await;
    let channels = club.people[0].dir().join("channels");
    let aside = club.people[0].dir().join("aside");
    fs::rename(&channels, &aside).unwrap();
    fs::write(&channels, b"").unwrap();
    let remove = RemoveMember { id: club.id, peer: club.people[1].peer_id() };
    let error = club.books[0].send(remove).await.unwrap().unwrap_err();
    assert!(matches!(error, ChannelError::NotSaved(_)), "{error}");
    let same = shown(&club.books[0], club.id).await;
    assert_eq!((same.name.as_str(), same.moved_to, same.removed.len()), ("Secret", None, 0));
    fs::remove_file(&channels).unwrap();
    fs::rename(&aside, &channels).unwrap();

    let team = club.remove(1).await;
    let guest = &club.books[2];
    let mut others = Vec::new();
    for seed in 1..=CHANNELS_MAX - 1 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let name = DisplayName::new("other").unwrap();
        let mut rng = Rng::from_seed(bytes);
        let file = ChatFile::new_open(name, vec![], vec![], Rotation::Daily, &mut rng).unwrap();
        others.push(join(guest, file).await.id);
    }
    let mut heard = tidings(guest).await;
    for _ in 0..2 {
        club.tell(2).await;
    }
    let told = heard.recv().await.unwrap();
    assert!(told.contains("Secret goes on") && told.contains("leave some"), "{told}");
    assert_eq!(shown(guest, club.id).await.moved_to, None);
    guest.send(LeaveChannel { id: others[0] }).await.unwrap().unwrap();
    club.tell(2).await;
    assert_eq!(heard.recv().await.as_deref(), Some("Secret -1"), "the trouble was told once");
    assert!(shown(guest, team.id).await.is_open);
}

#[actix::test]
async fn whatever_was_written_before_a_crash_one_channel_goes_on() {
    let club = Club::found(Policy::Tickets).await;
    let team = club.remove(1).await;
    club.tell(2).await;
    let guest = &club.people[2];
    let path = |id: ChannelId, ending| guest.file_of("channels", &id.0, ending).path();
    let moved = path(club.id, "moved");
    let since = fs::read(&moved).unwrap();
    // Nothing but the one file was written.
    fs::remove_file(path(team.id, "tickets")).unwrap();
    fs::remove_file(&moved).unwrap();
    let book = ChannelBook::open(guest).unwrap().with_open(&[team.id]).start();
    assert_eq!(shown(&book, club.id).await.moved_to, Some(team.id));
    assert_eq!(opened(&book, team.id).await.unwrap().door.clone().unwrap().tickets.len(), 1);
    assert!(departure(&book, club.id).await.is_some(), "it is open, too");
    assert!(!since.is_empty() && moved.exists() && path(team.id, "tickets").exists());
    // Not even that one: all is as before, and is told again.
    for file in [path(team.id, "chat"), path(team.id, "tickets"), moved] {
        fs::remove_file(file).unwrap();
    }
    let book = ChannelBook::open(guest).unwrap().with_open(&[club.id]).start();
    assert_eq!(shown(&book, club.id).await.moved_to, None);
    let Departure { moved, secret, .. } = departure(&club.books[0], club.id).await.unwrap();
    let by = club.people[0].peer_id();
    let told = TakeMove { channel: club.id, by, moved, key: secret.unwrap() };
    book.send(told).await.unwrap();
    assert!(shown(&book, team.id).await.is_open);
    // Whoever names the one of before, or joins it again, means the one that goes on.
    let file = chat(9, "Secret", "udp://tracker.example:1/announce");
    let founder = club.people[0].peer_id();
    let file = ChatFile::new_closed(file, Kind::Closed, founder, Policy::Tickets).unwrap();
    assert_eq!(join(&book, file).await.id, team.id);
    let book = ChannelBook::open(guest).unwrap().with_open(&[club.id]).start();
    assert!(shown(&book, team.id).await.is_open);
}

#[actix::test]
async fn only_the_first_word_of_the_founder_counts_and_nothing_else() {
    let club = Club::found(Policy::Tickets).await;
    let [_, bob, carol] = club.people.each_ref().map(Profile::peer_id);
    let charter = shown(&club.books[0], club.id).await;
    let file = export(&club.books[0], charter.id, false).await;
    let lineage = file.charter().unwrap().lineage;
    let word = |founder: &Profile, seed: u8, removed: PeerId| {
        let secret = Secret::new([seed; 32]);
        let keys = ChannelKeys::member(ChannelSecret(secret.clone()));
        let moved = Move::sign(founder.identity(), lineage, club.id, &keys, [removed].into());
        (MoveBytes(moved.encode().into()), secret, keys.id())
    };
    let mut heard = tidings(&club.books[2]).await;
    // Somebody else's, no move at all, the founder's with another key, and one without us.
    let (moved, key, _) = word(&club.people[1], 1, bob);
    club.tell_with(2, moved, key.clone()).await;
    club.tell_with(2, MoveBytes(vec![1; 300].into()), key).await;
    let (moved, _, _) = word(&club.people[0], 1, bob);
    club.tell_with(2, moved, Secret::new([9; 32])).await;
    let (moved, key, _) = word(&club.people[0], 1, carol);
    club.tell_with(2, moved, key).await;
    assert_eq!(shown(&club.books[2], club.id).await.moved_to, None);
    assert_eq!(club.books[2].send(ListChannels).await.unwrap().len(), 1);

    let (moved, key, first) = word(&club.people[0], 2, bob);
    club.tell_with(2, moved, key).await;
    let (moved, key, _) = word(&club.people[0], 3, bob);
    club.tell_with(2, moved, key).await;
    assert_eq!(shown(&club.books[2], club.id).await.moved_to, Some(first));
    assert_eq!(club.books[2].send(ListChannels).await.unwrap().len(), 2);
    assert_eq!(heard.recv().await.as_deref(), Some("Secret -1"));
    assert!(heard.try_recv().is_err());
}

#[actix::test]
async fn a_member_takes_no_seeder_s_key_and_a_seeder_no_other() {
    let club = Club::found(Policy::Tickets).await;
    let team = club.remove(1).await;
    let Departure { moved, seed, secret, .. } = departure(&club.books[0], club.id).await.unwrap();
    let mut heard = tidings(&club.books[2]).await;
    for _ in 0..2 {
        club.tell_with(2, moved.clone(), seed.clone()).await;
    }
    let told = heard.recv().await.unwrap();
    assert!(told.contains("a member hands on to you"), "{told}");
    assert_eq!(shown(&club.books[2], club.id).await.moved_to, None);
    club.tell(2).await;
    assert_eq!(heard.recv().await.as_deref(), Some("Secret -1"), "it was told once");

    let home = tempfile::tempdir().unwrap();
    let keeper = start(&profile(home.path()));
    let file = export(&club.books[0], club.id, true).await;
    join(&keeper, file).await;
    open(&keeper, club.id).await;
    let by = club.people[0].peer_id();
    let tell = |key| TakeMove { channel: club.id, by, moved: moved.clone(), key };
    keeper.send(tell(secret.unwrap())).await.unwrap();
    assert_eq!(shown(&keeper, club.id).await.moved_to, None);
    keeper.send(tell(seed.clone())).await.unwrap();
    let followed = shown(&keeper, team.id).await;
    assert_eq!((followed.is_member, followed.is_open), (false, true));
    // It hands on what it has.
    let handed = departure(&keeper, club.id).await.unwrap();
    assert_eq!((handed.seed, handed.secret), (seed, None));
}

#[actix::test]
async fn where_contacts_are_let_in_who_was_removed_is_not() {
    let homes = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let [founder, bob] = homes.each_ref().map(|home| profile(home.path()));
    let (contacts, book) = start_with_pairs(&founder);
    let id = closed(&book, &founder, Policy::Contacts).await;
    let (peer, card) = (bob.peer_id(), card_of(&bob, "bob"));
    contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
    assert_eq!(judged(&book, id, peer, MEMBER, &[]).await, Ok(None));
    let team = book.send(RemoveMember { id, peer }).await.unwrap().unwrap();
    for id in [id, team.id] {
        assert_eq!(judged(&book, id, peer, MEMBER, &[]).await, Err(4));
    }
    let bobs = book.send(RemoveMember { id: find(&book, "bob").await.unwrap(), peer });
    assert!(matches!(bobs.await.unwrap(), Err(ChannelError::IsPair(_))));
}

#[actix::test]
async fn a_former_channel_is_closed_after_thirty_days_and_kept() {
    tokio::time::pause();
    let club = Club::found(Policy::Tickets).await;
    let _served = listen(&club.books[0]).await;
    let team = club.remove(1).await;
    let day = Duration::from_secs(24 * 3600);
    tokio::time::sleep(29 * day).await;
    assert!(opened(&club.books[0], club.id).await.is_some());
    tokio::time::sleep(day + Duration::from_secs(2 * 3600)).await;
    assert!(opened(&club.books[0], club.id).await.is_none());
    assert!(opened(&club.books[0], team.id).await.is_some());
    assert_eq!(shown(&club.books[0], club.id).await.moved_to, Some(team.id));
    // Nor is it opened by the next start, unless a person wants to read in it.
    for book in [
        ChannelBook::open(&club.people[0]).unwrap().with_all_open().start(),
        ChannelBook::open(&club.people[0]).unwrap().with_open(&[team.id]).start(),
    ] {
        assert!(opened(&book, club.id).await.is_none());
        assert!(opened(&book, team.id).await.is_some());
        open(&book, club.id).await;
        tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        assert!(opened(&book, club.id).await.is_some());
    }
}

#[actix::test]
async fn who_leaves_the_one_that_goes_on_does_not_go_back_to_the_one_of_before() {
    let club = Club::found(Policy::Tickets).await;
    let team = club.remove(1).await;
    club.tell(2).await;
    let (guest, book) = (&club.people[2], &club.books[2]);
    book.send(LeaveChannel { id: team.id }).await.unwrap().unwrap();
    assert!(opened(book, club.id).await.is_none(), "there is nothing to hand on");
    let again = start(guest);
    for book in [book, &again] {
        assert_eq!(shown(book, club.id).await.moved_to, Some(team.id));
    }
    club.tell(2).await;
    assert!(book.send(FindChannel { text: team.id.to_string() }).await.unwrap().is_err());
    // With its file it is followed after all.
    let file = export(&club.books[0], team.id, false).await;
    join(book, file).await;
    open(book, team.id).await;
    assert!(departure(book, club.id).await.is_some());
    book.send(LeaveChannel { id: club.id }).await.unwrap().unwrap();
    assert_eq!(shown(book, team.id).await.removed, [club.people[1].peer_id()]);
    let path = |ending| guest.file_of("channels", &club.id.0, ending).path();
    assert!(["chat", "moved", "tickets"].iter().all(|ending| !path(ending).exists()));
}

//! The book on a real profile, and those who are told of its channels.

use std::fs;
use std::path::Path;

use actix::Addr;
use bitchat_protocol::channel::{Right, Standing, Ticket};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::limits::{LAST_KNOWN_MAX, REFUSALS_PER_CHANNEL_MAX};
use bitchat_protocol::session::Turndown;
use bitchat_protocol::wire::TicketBytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::contact_book::{
    AddContact, AdmitPeer, BlockContact, ContactBook, RemoveContact, RenameContact, VerifyContact,
};

mod moves;

/// Hands on what it is told: the id, and whether it was opened.
struct Listener(UnboundedSender<(ChannelId, bool)>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<ChannelEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, _: &mut Self::Context) {
        let _ = self.0.send(match event {
            ChannelEvent::Opened(opened) | ChannelEvent::Changed(opened) => {
                (opened.keys.id(), true)
            }
            ChannelEvent::Closed(id) => (id, false),
            ChannelEvent::NotLetIn { .. }
            | ChannelEvent::Moved { .. }
            | ChannelEvent::Trouble { .. } => return,
        });
    }
}

async fn listen(book: &Addr<ChannelBook>) -> UnboundedReceiver<(ChannelId, bool)> {
    let (told, heard) = unbounded_channel();
    book.send(Subscribe(Listener(told).start().recipient())).await.unwrap();
    heard
}

fn profile(home: &Path) -> Profile {
    Profile::create(home, "default", None, None).unwrap()
}

fn start(profile: &Profile) -> Addr<ChannelBook> {
    ChannelBook::open(profile).unwrap().start()
}

fn chat(seed: u8, name: &str, tracker: &str) -> ChatFile {
    let mut rng = Rng::from_seed([seed; 32]);
    let (name, tiers) = (DisplayName::new(name).unwrap(), vec![vec![tracker.to_owned()]]);
    ChatFile::new_open(name, tiers, Vec::new(), Rotation::Daily, &mut rng).unwrap()
}

fn team() -> ChatFile {
    chat(1, "Team", "udp://tracker.example:1337/announce")
}

async fn join(book: &Addr<ChannelBook>, file: ChatFile) -> Summary {
    book.send(JoinChannel { file }).await.unwrap().unwrap()
}

async fn find(book: &Addr<ChannelBook>, text: &str) -> Result<ChannelId, ChannelError> {
    let found = book.send(FindChannel { text: text.to_owned() }).await.unwrap();
    found.map(|summary| summary.id)
}

async fn export(book: &Addr<ChannelBook>, id: ChannelId, seed_only: bool) -> ChatFile {
    book.send(ExportChannel { id, seed_only }).await.unwrap().unwrap()
}

#[actix::test]
async fn a_joined_channel_is_on_disk_before_it_is_answered_and_comes_back_byte_for_byte() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = start(&profile);
    let summary = join(&book, team()).await;
    assert_eq!(summary.id, team().keys().id());
    assert_eq!((summary.name.as_str(), summary.is_member, summary.is_open), ("Team", true, false));
    assert_eq!(join(&book, team()).await, summary);

    let again = start(&profile);
    let listed = again.send(ListChannels).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&summary));
    assert_eq!(export(&again, summary.id, false).await.to_bytes(), team().to_bytes());
    assert!(!export(&again, summary.id, true).await.is_member());
}

#[actix::test]
async fn a_channel_is_found_by_name_and_by_the_beginning_of_its_id() {
    let home = tempfile::tempdir().unwrap();
    let book = start(&profile(home.path()));
    let id = join(&book, team()).await.id;
    let text = id.to_string();
    for text in ["Team", " tEAM ", &text, &text[..6], &text[..8].to_uppercase()] {
        assert_eq!(find(&book, text).await.unwrap(), id, "{text}");
    }
    for text in ["", "Tea", &text[..5], "00000000"] {
        assert!(matches!(find(&book, text).await, Err(ChannelError::NotFound(_))), "{text}");
    }
    let second = join(&book, chat(2, "team", "udp://tracker.example:1/announce")).await.id;
    let said = find(&book, "team").await.unwrap_err().to_string();
    assert!(said.contains(&id.short()) && said.contains(&second.short()), "{said}");
    assert_eq!(find(&book, &second.short()).await.unwrap(), second);
}

#[actix::test]
async fn opening_and_closing_is_told_once_and_late_subscribers_hear_of_what_is_open() {
    let home = tempfile::tempdir().unwrap();
    let book = start(&profile(home.path()));
    let mut early = listen(&book).await;
    let id = join(&book, team()).await.id;
    for _ in 0..2 {
        let opened = book.send(OpenChannel { id }).await.unwrap().unwrap();
        assert_eq!(opened.keys.id(), id);
    }
    let mut late = listen(&book).await;
    assert_eq!(book.send(ListOpen).await.unwrap().len(), 1);
    assert!(book.send(FindChannel { text: id.short() }).await.unwrap().unwrap().is_open);
    for _ in 0..2 {
        book.send(CloseChannel { id }).await.unwrap();
    }
    assert!(book.send(ListOpen).await.unwrap().is_empty());
    for heard in [&mut early, &mut late] {
        assert_eq!(heard.recv().await, Some((id, true)));
        assert_eq!(heard.recv().await, Some((id, false)));
        assert!(heard.try_recv().is_err());
    }
    let unknown = book.send(OpenChannel { id: ChannelId([9; 32]) }).await.unwrap();
    assert!(matches!(unknown, Err(ChannelError::NotFound(_))));
}

#[actix::test]
async fn a_book_begins_with_the_channels_that_its_maker_names() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = start(&profile);
    let one = join(&book, team()).await.id;
    let two = join(&book, chat(2, "Two", "udp://tracker.example:1/announce")).await.id;
    let open = |book: &ChannelBook| book.open.keys().copied().collect::<Vec<_>>();
    let all = ChannelBook::open(&profile).unwrap().with_all_open();
    assert_eq!(open(&all), if one < two { [one, two] } else { [two, one] });
    let some = ChannelBook::open(&profile).unwrap().with_open(&[two, ChannelId([9; 32])]);
    assert_eq!(open(&some), [two]);
}

#[actix::test]
async fn a_channel_left_is_closed_and_nothing_of_it_stays_on_disk() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = start(&profile);
    let id = join(&book, team()).await.id;
    let mut heard = listen(&book).await;
    book.send(OpenChannel { id }).await.unwrap().unwrap();
    join(&book, chat(1, "Team", "udp://another.example:1/announce")).await;
    book.send(SaveLastKnown { id, addresses: addresses(1) }).await.unwrap();
    assert_eq!(book.send(LeaveChannel { id }).await.unwrap().unwrap().id, id);
    assert_eq!(heard.recv().await, Some((id, true)));
    assert_eq!(heard.recv().await, Some((id, false)));
    assert!(book.send(ListChannels).await.unwrap().is_empty());
    assert_eq!(fs::read_dir(profile.dir().join("channels")).unwrap().count(), 0);
    assert!(matches!(find(&book, "Team").await, Err(ChannelError::NotFound(_))));
}

#[actix::test]
async fn a_newer_file_replaces_the_stored_one_but_never_a_members_by_a_seeders() {
    let home = tempfile::tempdir().unwrap();
    let book = start(&profile(home.path()));
    assert!(!join(&book, team().seed_only()).await.is_member);
    assert!(join(&book, team()).await.is_member);
    assert!(join(&book, team().seed_only()).await.is_member);
    let moved = join(&book, chat(1, "Team", "udp://another.example:1/announce")).await;
    assert_eq!(moved.id, team().keys().id());
    assert_eq!(moved.trackers, [["udp://another.example:1/announce"]]);
}

#[actix::test]
async fn a_file_by_which_others_decide_who_is_let_in_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = start(&profile);
    let id = closed(&book, &profile, Policy::Tickets).await;
    let stored = export(&book, id, false).await;
    let open = chat(9, "Secret", "udp://tracker.example:1/announce");
    let mallory = PeerId([7; 32]);
    let taken_over =
        ChatFile::new_closed(open.clone(), Kind::Closed, mallory, Policy::Tickets).unwrap();
    for file in [open.clone(), open.seed_only(), taken_over] {
        let refused = book.send(JoinChannel { file }).await.unwrap();
        assert!(matches!(refused, Err(ChannelError::OtherCharter(_))), "{refused:?}");
    }
    assert_eq!(export(&book, id, false).await, stored);
    assert_eq!(export(&start(&profile), id, false).await, stored);
}

#[actix::test]
async fn an_open_channel_of_which_we_become_a_member_or_learn_trackers_is_opened_anew() {
    let home = tempfile::tempdir().unwrap();
    let book = start(&profile(home.path()));
    let id = join(&book, team().seed_only()).await.id;
    let mut heard = listen(&book).await;
    assert!(!book.send(OpenChannel { id }).await.unwrap().unwrap().keys.is_member());
    assert_eq!(heard.recv().await, Some((id, true)));
    for (file, is_new) in [
        (team().seed_only(), false),
        (team(), true),
        (team(), false),
        (chat(1, "Team", "udp://another.example:1/announce"), true),
    ] {
        join(&book, file).await;
        if is_new {
            assert_eq!(heard.recv().await, Some((id, false)));
            assert_eq!(heard.recv().await, Some((id, true)));
        }
        assert!(heard.try_recv().is_err());
    }
    let open = book.send(ListOpen).await.unwrap();
    assert!(open[0].keys.is_member());
    assert_eq!(open[0].trackers, [["udp://another.example:1/announce"]]);
}

#[actix::test]
async fn a_whole_id_is_that_channel_whatever_another_is_called() {
    let home = tempfile::tempdir().unwrap();
    let book = start(&profile(home.path()));
    let id = join(&book, team()).await.id;
    let text = id.to_string();
    join(&book, chat(2, &text, "udp://tracker.example:1/announce")).await;
    assert_eq!(find(&book, &text.to_uppercase()).await.unwrap(), id);
}

#[actix::test]
async fn a_full_book_takes_no_more_but_still_renews_what_it_has() {
    let home = tempfile::tempdir().unwrap();
    let mut book = ChannelBook::open(&profile(home.path())).unwrap();
    for number in 0..CHANNELS_MAX {
        let seed = u8::try_from(number).unwrap();
        book.shelf.put(chat(seed, "Team", "udp://tracker.example:1/announce")).unwrap();
    }
    let more = ChatFile::new_open(
        DisplayName::new("More").unwrap(),
        Vec::new(),
        Vec::new(),
        Rotation::Fixed,
        &mut Rng::from_seed(std::array::from_fn(|at| at.to_le_bytes()[0])),
    );
    assert!(matches!(book.shelf.put(more.unwrap()), Err(ChannelError::Full)));
    book.shelf.put(chat(1, "Team", "udp://another.example:1/announce")).unwrap();
}

#[actix::test]
async fn a_disk_that_refuses_leaves_the_channels_as_they_were() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = start(&profile);
    // A file in the way of the directory: refused for every user.
    fs::write(profile.dir().join("channels"), b"").unwrap();
    let error = book.send(JoinChannel { file: team() }).await.unwrap().unwrap_err();
    assert!(error.to_string().starts_with("the channels were not changed"), "{error}");
    assert!(book.send(ListChannels).await.unwrap().is_empty());
}

#[actix::test]
async fn a_damaged_channel_is_named_and_not_joined_over() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let id = join(&start(&profile), team()).await.id;
    let file = profile.file_of("channels", &id.0, "chat");
    let mut bytes = fs::read(file.path()).unwrap();
    bytes[40] ^= 1;
    fs::write(file.path(), bytes).unwrap();
    let said = ChannelBook::open(&profile).unwrap_err().to_string();
    assert!(said.contains(".chat is damaged"), "{said}");
}

fn addresses(count: u16) -> Vec<SocketAddr> {
    (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
}

#[actix::test]
async fn addresses_are_bounded_and_written_some_seconds_later() {
    tokio::time::pause();
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = start(&profile);
    let id = join(&book, team()).await.id;
    let many = [vec!["[2001:db8::1]:6881".parse().unwrap()], addresses(100)].concat();
    let kept = &many[..LAST_KNOWN_MAX];
    book.send(SaveLastKnown { id, addresses: many.clone() }).await.unwrap();
    assert_eq!(book.send(ListLastKnown { id }).await.unwrap(), kept);
    let file = profile.file_of("channels", &id.0, "peers");
    assert!(file.read().unwrap().is_none());
    tokio::time::sleep(SAVE_AFTER * 2).await;
    assert_eq!(start(&profile).send(ListLastKnown { id }).await.unwrap(), kept);

    // Whoever is told of the channel, by opening it or by subscribing late, is told of them too.
    let fresh = start(&profile);
    assert_eq!(fresh.send(OpenChannel { id }).await.unwrap().unwrap().last_known, kept);
    fresh.send(SaveLastKnown { id, addresses: addresses(1) }).await.unwrap();
    assert_eq!(listen(&fresh).await.recv().await, Some((id, true)));
    assert_eq!(fresh.send(ListOpen).await.unwrap()[0].last_known, addresses(1));

    // Damaged, they are worth nothing more.
    fs::write(file.path(), b"damaged").unwrap();
    assert!(start(&profile).send(ListLastKnown { id }).await.unwrap().is_empty());
}

#[actix::test]
async fn addresses_are_written_at_the_end() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let id = join(&start(&profile), team()).await.id;
    let mut ended = ChannelBook::open(&profile).unwrap();
    assert!(ended.shelf.set_last_known(&id, addresses(2)));
    assert!(!ended.shelf.set_last_known(&id, addresses(2)));
    ended.stopped(&mut Context::new());
    assert_eq!(start(&profile).send(ListLastKnown { id }).await.unwrap(), addresses(2));
}

#[actix::test]
async fn addresses_told_just_before_the_end_are_written() {
    let home = tempfile::tempdir().unwrap();
    let profile = profile(home.path());
    let book = start(&profile);
    let id = join(&book, team()).await.id;
    book.do_send(SaveLastKnown { id, addresses: addresses(2) });
    book.do_send(Shutdown { within: Duration::from_secs(5) });
    while book.connected() {
        tokio::task::yield_now().await;
    }
    assert_eq!(start(&profile).send(ListLastKnown { id }).await.unwrap(), addresses(2));
}

#[actix::test]
async fn an_opened_channel_does_not_print_its_secrets() {
    let home = tempfile::tempdir().unwrap();
    let book = start(&profile(home.path()));
    let id = join(&book, team()).await.id;
    let opened = book.send(OpenChannel { id }).await.unwrap().unwrap();
    let printed = format!("{opened:?} {:?} {:?}", ListOpen, JoinChannel { file: team() });
    for secret in [
        opened.keys.secret().unwrap().0.expose(),
        opened.keys.read_key().unwrap().expose(),
        opened.keys.proof().expose(),
        opened.keys.seed_key().0.expose(),
    ] {
        let bytes = format!("{secret:?}");
        assert!(!printed.contains(bytes.trim_matches(['[', ']'])), "{printed}");
    }
}

/// Books of one profile that open the channels of pairs.
fn start_with_pairs(profile: &Profile) -> (Addr<ContactBook>, Addr<ChannelBook>) {
    let contacts = ContactBook::open(profile).unwrap().start();
    let people = People {
        contacts: contacts.clone().recipient(),
        changes: contacts.clone().recipient(),
        places: Some(MeetingPlaces {
            tiers: vec![vec!["udp://tracker.example:1337/announce".to_owned()]],
            nodes: Vec::new(),
        }),
    };
    (contacts, ChannelBook::open(profile).unwrap().with_people(people).start())
}

fn card_of(profile: &Profile, name: &str) -> bitchat_protocol::identity::Card {
    profile.identity().card(DisplayName::new(name).unwrap())
}

async fn open_pairs(book: &Addr<ChannelBook>) -> Vec<(ChannelId, String, Option<PeerId>)> {
    let open = book.send(ListOpen).await.unwrap();
    open.iter().map(|opened| (opened.keys.id(), opened.name.clone(), opened.only)).collect()
}

#[actix::test]
async fn two_contacts_open_one_channel_each_from_the_other_s_card_alone() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [alice, bob] = homes.each_ref().map(|home| profile(home.path()));
    let mut ids = Vec::new();
    for (own, other, name) in [(&alice, &bob, "bob"), (&bob, &alice, "alice")] {
        let (contacts, book) = start_with_pairs(own);
        let mut heard = listen(&book).await;
        let card = card_of(other, name);
        contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
        let (id, _) = heard.recv().await.unwrap();
        assert_eq!(open_pairs(&book).await, [(id, name.to_owned(), Some(other.peer_id()))]);
        ids.push(id);
        // It is there again at the next start, listed, and has no file.
        drop((contacts, book));
        let (_contacts, book) = start_with_pairs(own);
        let listed = book.send(ListChannels).await.unwrap();
        assert_eq!((listed.len(), listed[0].id, listed[0].kind), (1, id, Kind::Pair));
        assert!(listed[0].is_open);
        assert!(ChannelBook::open(own).unwrap().shelf.all().next().is_none());
    }
    assert_eq!(ids[0], ids[1]);
}

#[actix::test]
async fn the_channel_of_a_pair_follows_the_contact() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [own, other] = homes.each_ref().map(|home| profile(home.path()));
    let (contacts, book) = start_with_pairs(&own);
    let mut heard = listen(&book).await;
    let (peer, card) = (other.peer_id(), card_of(&other, "bob"));
    let add = || AddContact { card: card.clone(), our_name: None };
    contacts.send(add()).await.unwrap().unwrap();
    let (id, _) = heard.recv().await.unwrap();

    let name = DisplayName::new("Robert").unwrap();
    contacts.send(RenameContact { peer, name }).await.unwrap().unwrap();
    assert_eq!(heard.recv().await, Some((id, true)), "it has changed");
    assert_eq!(open_pairs(&book).await, [(id, "Robert".to_owned(), Some(peer))]);
    // What anybody can cause by coming under that name is told nobody.
    contacts.send(VerifyContact { peer }).await.unwrap().unwrap();
    let claim = AdmitPeer { peer: PeerId([8; 32]), name: "robert".to_owned() };
    contacts.send(claim).await.unwrap();

    // What a person closes stays closed until it is opened, or the contact is another one.
    book.send(CloseChannel { id }).await.unwrap();
    assert_eq!(heard.recv().await, Some((id, false)));
    let name = DisplayName::new("Bob").unwrap();
    contacts.send(RenameContact { peer, name }).await.unwrap().unwrap();
    assert_eq!(find(&book, "bob").await.unwrap(), id, "it is called so, and is not open");
    assert_eq!(open_pairs(&book).await, []);
    book.send(OpenChannel { id }).await.unwrap().unwrap();
    assert_eq!(heard.recv().await, Some((id, true)));

    contacts.send(BlockContact { peer }).await.unwrap().unwrap();
    assert_eq!(heard.recv().await, Some((id, false)));
    assert_eq!(book.send(ListChannels).await.unwrap(), []);
    contacts.send(RemoveContact { peer }).await.unwrap().unwrap();
    contacts.send(add()).await.unwrap().unwrap();
    assert_eq!(heard.recv().await, Some((id, true)));
    contacts.send(RemoveContact { peer }).await.unwrap().unwrap();
    assert_eq!(heard.recv().await, Some((id, false)));
}

#[actix::test]
async fn a_contact_for_whom_there_was_no_room_gets_the_channel_when_there_is() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [own, other] = homes.each_ref().map(|home| profile(home.path()));
    let mut full = ChannelBook::open(&own).unwrap();
    for number in 0..CHANNELS_MAX {
        let seed = u8::try_from(number).unwrap();
        full.shelf.put(chat(seed, "Team", "udp://tracker.example:1/announce")).unwrap();
    }
    let (contacts, book) = start_with_pairs(&own);
    let card = card_of(&other, "bob");
    contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
    assert_eq!(open_pairs(&book).await, []);
    book.send(LeaveChannel { id: team().keys().id() }).await.unwrap().unwrap();
    let open = open_pairs(&book).await;
    assert_eq!((open.len(), open[0].2), (1, Some(other.peer_id())));
}

#[actix::test]
async fn the_channel_of_a_pair_is_neither_exported_nor_left_nor_joined() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [own, other] = homes.each_ref().map(|home| profile(home.path()));
    let (contacts, book) = start_with_pairs(&own);
    let card = card_of(&other, "bob");
    contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
    let id = find(&book, "bob").await.unwrap();
    let exported = book.send(ExportChannel { id, seed_only: true }).await.unwrap();
    assert!(matches!(exported, Err(ChannelError::IsPair(_))), "{exported:?}");
    assert!(matches!(book.send(LeaveChannel { id }).await.unwrap(), Err(ChannelError::IsPair(_))));
    let bob = DisplayName::new("bob").unwrap();
    let file = ChatFile::new_pair(own.identity(), other.peer_id(), bob, vec![], vec![]).unwrap();
    let joined = book.send(JoinChannel { file }).await.unwrap();
    assert!(matches!(joined, Err(ChannelError::IsPair(_))), "{joined:?}");
    // Of the neighbouring day as well, around midnight.
    assert!(!book.send(ListInfohashes { id }).await.unwrap().is_empty());

    // A channel of the same name is what is meant by it.
    let channel = join(&book, chat(3, "Bob", "udp://tracker.example:1/announce")).await.id;
    assert_eq!(find(&book, "bob").await.unwrap(), channel);
    assert_eq!(find(&book, &id.short()).await.unwrap(), id);
}

#[actix::test]
async fn where_members_of_a_pair_were_is_kept_for_the_next_start() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [own, other] = homes.each_ref().map(|home| profile(home.path()));
    let (contacts, book) = start_with_pairs(&own);
    let card = card_of(&other, "bob");
    contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
    let id = find(&book, "bob").await.unwrap();
    let addresses: Vec<SocketAddr> = vec!["203.0.113.5:4000".parse().unwrap()];
    book.send(SaveLastKnown { id, addresses: addresses.clone() }).await.unwrap();
    book.send(Shutdown { within: Duration::from_secs(1) }).await.unwrap();
    while book.connected() {
        tokio::task::yield_now().await;
    }
    let (_contacts, book) = start_with_pairs(&own);
    assert_eq!(book.send(ListLastKnown { id }).await.unwrap(), addresses);
    let open = book.send(ListOpen).await.unwrap();
    assert_eq!(open[0].last_known, addresses);
}

/// A closed channel of `founder`, joined by `own`.
async fn closed(book: &Addr<ChannelBook>, founder: &Profile, policy: Policy) -> ChannelId {
    let file = chat(9, "Secret", "udp://tracker.example:1/announce");
    let file = ChatFile::new_closed(file, Kind::Closed, founder.peer_id(), policy).unwrap();
    join(book, file).await.id
}

async fn invite(
    book: &Addr<ChannelBook>,
    id: ChannelId,
    peer: PeerId,
    right: Right,
) -> Result<bitchat_protocol::channel::Invitation, ChannelError> {
    book.send(InvitePeer { id, peer, right, lifetime: None }).await.unwrap()
}

async fn judged(
    book: &Addr<ChannelBook>,
    channel: ChannelId,
    peer: PeerId,
    standing: Standing,
    tickets: &[Ticket],
) -> Result<Option<Duration>, u8> {
    let tickets = tickets.iter().map(|it| TicketBytes(it.encode().try_into().unwrap())).collect();
    let judged = book.send(JudgePeer { channel, peer, standing, tickets }).await.unwrap();
    judged.map_err(|turndown| turndown.code)
}

#[actix::test]
async fn an_invitation_lets_in_its_invitee_and_nobody_else() {
    let homes = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let [founder, bob, carol] = homes.each_ref().map(|home| profile(home.path()));
    let (_contacts, book) = start_with_pairs(&founder);
    let id = closed(&book, &founder, Policy::Tickets).await;
    let (bob_id, carol_id) = (bob.peer_id(), carol.peer_id());
    let member = Standing::Member;
    let invitation = invite(&book, id, bob_id, Right::MayInvite).await.unwrap();
    assert_eq!(judged(&book, id, bob_id, member, &invitation.tickets).await, Ok(None));
    assert_eq!(judged(&book, id, bob_id, member, &[]).await, Err(1));
    assert_eq!(judged(&book, id, carol_id, member, &invitation.tickets).await, Err(2));
    let seeder = Standing::Seeder;
    assert_eq!(judged(&book, id, bob_id, seeder, &invitation.tickets).await, Err(5));
    assert_eq!(judged(&book, id, founder.peer_id(), member, &[]).await, Ok(None));

    // Bob keeps it, over a restart, and hands on.
    let (_bob_contacts, bobs) = start_with_pairs(&bob);
    join(&bobs, invitation.file.clone()).await;
    assert!(!bobs.send(HasTickets { id }).await.unwrap());
    let wrong = invite(&book, id, carol_id, Right::Member).await.unwrap();
    let kept = bobs.send(KeepTickets { id, tickets: wrong.tickets }).await.unwrap();
    assert!(matches!(kept, Err(ChannelError::Ticket { .. })), "{kept:?}");
    let tickets = invitation.tickets;
    bobs.send(KeepTickets { id, tickets }).await.unwrap().unwrap();
    let (_bob_contacts, bobs) = start_with_pairs(&bob);
    let handed_on = invite(&bobs, id, carol_id, Right::Member).await.unwrap();
    assert_eq!(handed_on.tickets.len(), 2);
    assert_eq!(judged(&book, id, carol_id, member, &handed_on.tickets).await, Ok(None));
    let seeder = invite(&bobs, id, carol_id, Right::Seeder).await;
    assert!(matches!(seeder, Err(ChannelError::MayNotInvite(_))), "{seeder:?}");

    // Carol may not.
    let (_carol_contacts, carols) = start_with_pairs(&carol);
    join(&carols, handed_on.file).await;
    carols.send(KeepTickets { id, tickets: handed_on.tickets }).await.unwrap().unwrap();
    let refused = invite(&carols, id, PeerId([3; 32]), Right::Member).await;
    assert!(matches!(refused, Err(ChannelError::MayNotInvite(_))), "{refused:?}");
}

#[actix::test]
async fn a_seeder_is_let_in_by_the_founder_s_word_alone_and_lets_in_whom_members_do() {
    let homes = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let [founder, keeper, bob] = homes.each_ref().map(|home| profile(home.path()));
    let (_contacts, book) = start_with_pairs(&founder);
    let id = closed(&book, &founder, Policy::Tickets).await;
    let invitation = invite(&book, id, keeper.peer_id(), Right::Seeder).await.unwrap();
    assert!(!invitation.file.is_member());
    let (seeder, member) = (Standing::Seeder, Standing::Member);
    let tickets = &invitation.tickets;
    assert_eq!(judged(&book, id, keeper.peer_id(), seeder, tickets).await, Ok(None));
    assert_eq!(judged(&book, id, keeper.peer_id(), member, tickets).await, Err(5));

    let (_keeper_contacts, keepers) = start_with_pairs(&keeper);
    join(&keepers, invitation.file).await;
    let bobs = invite(&book, id, bob.peer_id(), Right::Member).await.unwrap().tickets;
    assert_eq!(judged(&keepers, id, bob.peer_id(), seeder, &bobs).await, Ok(None));
    assert_eq!(judged(&keepers, id, bob.peer_id(), seeder, &[]).await, Err(1));
}

#[actix::test]
async fn where_contacts_are_let_in_the_contact_book_decides_at_once() {
    let homes = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let [founder, bob] = homes.each_ref().map(|home| profile(home.path()));
    let (contacts, book) = start_with_pairs(&founder);
    let id = closed(&book, &founder, Policy::Contacts).await;
    book.send(OpenChannel { id }).await.unwrap().unwrap();
    let peer = bob.peer_id();
    assert_eq!(judged(&book, id, peer, Standing::Member, &[]).await, Err(6));
    let mut heard = listen(&book).await;
    assert_eq!(heard.recv().await, Some((id, true)));
    let revision = async || {
        let open = book.send(ListOpen).await.unwrap();
        open.iter().find_map(|it| it.door.as_ref()).unwrap().revision
    };
    let before = revision().await;
    let card = card_of(&bob, "bob");
    contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
    let mut told = [heard.recv().await.unwrap().0, heard.recv().await.unwrap().0];
    told.sort_unstable();
    assert!(told.contains(&id), "sessions are to ask again");
    assert!(revision().await > before);
    assert_eq!(judged(&book, id, peer, Standing::Member, &[]).await, Ok(None));
    contacts.send(BlockContact { peer }).await.unwrap().unwrap();
    heard.recv().await.unwrap();
    assert_eq!(judged(&book, id, peer, Standing::Member, &[]).await, Err(6));
}

#[actix::test]
async fn an_expired_ticket_is_good_for_as_long_as_it_says() {
    let homes = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let [founder, bob] = homes.each_ref().map(|home| profile(home.path()));
    let (_contacts, book) = start_with_pairs(&founder);
    let id = closed(&book, &founder, Policy::Tickets).await;
    let (peer, right, lifetime) = (bob.peer_id(), Right::Member, Some(Duration::from_secs(60)));
    let issued = book.send(InvitePeer { id, peer, right, lifetime }).await.unwrap().unwrap();
    let left = judged(&book, id, peer, Standing::Member, &issued.tickets).await.unwrap().unwrap();
    // A minute, ten more as clocks differ, and a second to be sure.
    assert!((650..=661).contains(&left.as_secs()), "{left:?}");
    let old = Ticket::issue(
        founder.identity(),
        issued.file.charter().unwrap().lineage,
        peer,
        right,
        Some(clock::unix() - Duration::from_secs(601)),
    );
    assert_eq!(judged(&book, id, peer, Standing::Member, &[old]).await, Err(3));
}

#[actix::test]
async fn who_does_not_let_us_in_is_told_once_and_remembered_until_there_is_a_new_ticket() {
    let homes = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let [founder, bob] = homes.each_ref().map(|home| profile(home.path()));
    let (_contacts, book) = start_with_pairs(&founder);
    let id = closed(&book, &founder, Policy::Tickets).await;
    let issued = invite(&book, id, bob.peer_id(), Right::Member).await.unwrap();
    let (_bob_contacts, bobs) = start_with_pairs(&bob);
    join(&bobs, issued.file).await;
    let (told, mut heard) = unbounded_channel();
    bobs.send(Subscribe(Refusals(told).start().recipient())).await.unwrap();
    let note = async |by: u8, why: Option<(u8, &str)>| {
        let why = why.map(|(code, text)| Turndown { code, text: text.to_owned() });
        let (by, name) = (PeerId([by; 32]), "alice".into());
        bobs.send(NoteTurndown { channel: id, by, name, why }).await.unwrap();
    };
    for code in [1, 1, 3, 200, 201] {
        note(7, Some((code, "their words"))).await;
    }
    note(8, Some((9, ""))).await;
    let founder_id = founder.peer_id().short();
    let told = heard.recv().await.unwrap();
    assert!(told.contains("you have no ticket") && told.contains(&founder_id), "{told}");
    let told = heard.recv().await.unwrap();
    assert!(told.contains("your ticket has expired"), "{told}");
    assert_eq!(heard.recv().await.as_deref(), Some("Secret alice their words"));
    assert!(heard.try_recv().is_err());
    let refused = async || bobs.send(ListRefused).await.unwrap();
    assert_eq!(refused().await.len(), 2, "the last word of each");
    note(7, None).await;
    let left = refused().await;
    assert_eq!((left.len(), left[0].text.as_str()), (1, "it does not say why"));
    for by in 0..=u8::MAX {
        note(by, Some((1, ""))).await;
    }
    assert_eq!(refused().await.len(), REFUSALS_PER_CHANNEL_MAX);
    bobs.send(KeepTickets { id, tickets: issued.tickets }).await.unwrap().unwrap();
    assert_eq!(refused().await, []);
}

#[actix::test]
async fn who_is_turned_down_reads_names_of_its_own_and_we_say_none_of_ours() {
    let homes = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let [founder, bob, carol] = homes.each_ref().map(|home| profile(home.path()));
    let (contacts, bobs) = start_with_pairs(&bob);
    let id = closed(&bobs, &founder, Policy::Tickets).await;
    let card = card_of(&founder, "my brother");
    contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
    let (peer, standing, tickets) = (carol.peer_id(), Standing::Member, Vec::new());
    let judged = bobs.send(JudgePeer { channel: id, peer, standing, tickets }).await.unwrap();
    let text = judged.unwrap_err().text;
    assert!(!text.contains("brother") && text.contains(&founder.peer_id().short()), "{text}");
    let why = Some(Turndown { code: 1, text: String::new() });
    let note = NoteTurndown { channel: id, by: peer, name: "carol".into(), why };
    bobs.send(note).await.unwrap();
    let refused = bobs.send(ListRefused).await.unwrap();
    assert!(refused[0].text.contains("ask my brother"), "{refused:?}");
}

#[actix::test]
async fn a_channel_that_was_left_lets_nobody_in() {
    let home = tempfile::tempdir().unwrap();
    let book = start(&profile(home.path()));
    let judged = judged(&book, ChannelId([1; 32]), PeerId([1; 32]), Standing::Member, &[]).await;
    assert_eq!(judged, Err(0));
}

#[actix::test]
async fn a_better_ticket_is_not_replaced_by_a_worse_one_nor_one_by_that_of_another_role() {
    let homes = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let [founder, bob, carol] = homes.each_ref().map(|home| profile(home.path()));
    let (_contacts, book) = start_with_pairs(&founder);
    let id = closed(&book, &founder, Policy::Tickets).await;
    let lineage = export(&book, id, false).await.charter().unwrap().lineage;
    let (_bob_contacts, bobs) = start_with_pairs(&bob);
    join(&bobs, export(&book, id, false).await).await;
    let now = clock::unix();
    let until = |seconds: u64| Some(now + Duration::from_secs(seconds));
    let issue = |issuer: &Profile, to: &Profile, right, expires| {
        Ticket::issue(issuer.identity(), lineage, to.peer_id(), right, expires)
    };
    let keep = async |tickets: &[Ticket]| {
        let tickets = tickets.to_vec();
        bobs.send(KeepTickets { id, tickets }).await.unwrap()
    };
    let held = async || {
        let opened = bobs.send(OpenChannel { id }).await.unwrap().unwrap();
        let door = opened.door.clone().unwrap();
        let tickets = door.tickets.iter().map(|it| Ticket::decode(&it.0).unwrap());
        tickets.collect::<Vec<_>>()
    };
    let has = async || bobs.send(HasTickets { id }).await.unwrap();
    let seeder = issue(&founder, &bob, Right::Seeder, None);
    let refused = keep(&[seeder]).await;
    let denial = Denial::OtherRole;
    assert!(matches!(refused, Err(ChannelError::Ticket { denial: it, .. }) if it == denial));
    assert!(!has().await);

    let member = issue(&founder, &bob, Right::Member, until(1000));
    let carols = issue(&founder, &carol, Right::MayInvite, until(1000));
    let same_of_carol = issue(&carol, &bob, Right::Member, until(1000));
    let longer_of_carol = issue(&carol, &bob, Right::Member, until(2000));
    let inviter = issue(&founder, &bob, Right::MayInvite, until(1000));
    let longer = issue(&founder, &bob, Right::Member, None);
    for (new, held_then) in [
        (vec![member], vec![member]),
        (vec![issue(&founder, &bob, Right::Member, until(999))], vec![member]),
        (vec![carols, same_of_carol], vec![member]),
        (vec![carols, longer_of_carol], vec![member]),
        (vec![inviter], vec![inviter]),
        (vec![member], vec![inviter]),
        (vec![longer], vec![inviter]),
        (
            vec![issue(&founder, &bob, Right::MayInvite, None)],
            vec![issue(&founder, &bob, Right::MayInvite, None)],
        ),
    ] {
        keep(&new).await.unwrap();
        assert_eq!(held().await, held_then);
        assert!(has().await);
    }
}

#[actix::test]
async fn a_blind_seeder_of_a_channel_of_contacts_lets_in_contacts_and_who_has_a_ticket() {
    let homes = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let [founder, keeper, bob] = homes.each_ref().map(|home| profile(home.path()));
    let (_contacts, book) = start_with_pairs(&founder);
    let id = closed(&book, &founder, Policy::Contacts).await;
    let (keeper_contacts, keepers) = start_with_pairs(&keeper);
    join(&keepers, export(&book, id, true).await).await;
    let peer = bob.peer_id();
    let tickets = invite(&book, id, peer, Right::Seeder).await.unwrap().tickets;
    let seeder = Standing::Seeder;
    assert_eq!(judged(&keepers, id, peer, seeder, &tickets).await, Ok(None));
    assert_eq!(judged(&keepers, id, peer, seeder, &[]).await, Err(1));
    let card = card_of(&bob, "bob");
    keeper_contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
    assert_eq!(judged(&keepers, id, peer, seeder, &[]).await, Ok(None));
}

/// Hands on who does not let us in.
struct Refusals(UnboundedSender<String>);

impl Actor for Refusals {
    type Context = Context<Self>;
}

impl Handler<ChannelEvent> for Refusals {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, _: &mut Self::Context) {
        if let ChannelEvent::NotLetIn { label, by, text, .. } = event {
            let _ = self.0.send(format!("{label} {by} {text}"));
        }
    }
}

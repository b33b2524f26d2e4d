//! The console among fake neighbours: what it makes of its input, what it prints, how it ends.

mod inviting;

use std::io::{self, Write};
use std::sync::Mutex;

use actix::{Message, Recipient};
use bitchat_actors::archive::{
    self, ArchiveError, EventKind, EventSpan, FindEventSpan, ListEvents,
};
use bitchat_actors::channel_book::{ChannelBook, ListChannels, OpenedChannel, Summary};
use bitchat_actors::chat_desk::{ListUndelivered, Owed, Say, SayError, Tell};
use bitchat_actors::contact_book::ContactBook;
use bitchat_actors::mesh_manager::{Completeness, ListMembers, Member, Members};
use bitchat_actors::supervision::{ChildSpec, Slot, Strategy, Supervisor};
use bitchat_actors::udp_port::{CountDrops, Drops, FindWhereabouts, Whereabouts};
use bitchat_actors::vault::Profile;
use bitchat_protocol::channel::{ChannelKeys, ChannelSecret, Kind, Rotation, Standing};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::{ChainId, ChannelId, DeviceId, MessageId, PeerId};
use bitchat_protocol::identity::{Card, DisplayName, safety_words};
use bitchat_protocol::log::{Position, Role};
use bitchat_protocol::whisper::SayError as Unfit;
use serde_json::{Value, json};

use super::*;
use crate::methods::{
    About, Contacts, Inviting, Joining, Membership, Methods, Past, Queries, Saying,
};

const TEAM: ChannelId = ChannelId([1; 32]);
const OTHER: ChannelId = ChannelId([2; 32]);
const ALICE: PeerId = PeerId([10; 32]);
const BOB: PeerId = PeerId([11; 32]);

/// What was said, and to whom.
type Said = (Option<ChannelId>, Option<PeerId>, String);

/// How the neighbours behave, and what they saw.
#[derive(Default)]
struct World {
    said: Vec<Said>,
    keys: Vec<Option<MessageId>>,
    listeners: Vec<Recipient<Notice>>,
    /// Nobody takes anything.
    is_deaf: bool,
    /// How often there is no room before there is.
    full: usize,
    /// Told when the console appears.
    news: Vec<Notice>,
    undelivered: usize,
    members: Vec<Member>,
    /// How often there is no link with one alone before there is.
    unlinked: usize,
    /// How often the members are not there before they are.
    late: usize,
    /// Nobody is told who is there.
    is_mute: bool,
    /// What is said is never answered.
    is_silent: bool,
    /// How often what is said is not known to be said.
    unanswered: usize,
    /// What is in the archive, and what comes there while no console is there to be told.
    archive: Vec<archive::Event>,
    archive_later: Vec<archive::Event>,
    /// How many invitations were issued.
    invited: usize,
}

#[derive(Clone)]
struct Neighbour(Arc<Mutex<World>>);

impl Actor for Neighbour {
    type Context = Context<Self>;
}

impl Neighbour {
    fn take(&self, to: Said, id: Option<MessageId>) -> Result<MessageId, SayError> {
        let mut world = self.0.lock().unwrap();
        if world.full > 0 {
            world.full -= 1;
            return Err(Unfit::OutboxFull { waiting: 7 }.into());
        }
        if let Some(id) = id.filter(|id| world.keys.contains(&Some(*id))) {
            // It was said before.
            return Ok(id);
        }
        let (channel, peer, text) = to;
        if peer.is_some() && world.unlinked > 0 {
            world.unlinked -= 1;
            return Err(Unfit::NotLinked.into());
        }
        if text.len() > 100 {
            return Err(Unfit::TooLong { len: text.len() }.into());
        }
        world.said.push((channel, peer, text));
        world.keys.push(id);
        let id = id.unwrap_or(MessageId([world.said.len() as u8; 16]));
        if world.is_deaf {
            world.undelivered += 1;
        } else {
            let name = "bob".into();
            let delivered =
                Notice::Delivered { seq: None, seeder: false, id, channel, by: BOB, name };
            world.listeners.iter().for_each(|listener| listener.do_send(delivered.clone()));
        }
        if world.unanswered > 0 {
            world.unanswered -= 1;
            return Err(SayError::Unanswered);
        }
        Ok(id)
    }
}

impl Handler<Say> for Neighbour {
    type Result = actix::ResponseFuture<Result<MessageId, SayError>>;

    fn handle(&mut self, say: Say, _: &mut Self::Context) -> Self::Result {
        if self.0.lock().unwrap().is_silent {
            return Box::pin(std::future::pending());
        }
        let said = self.take((Some(say.channel), None, say.text), say.id);
        Box::pin(std::future::ready(said))
    }
}

impl Handler<Tell> for Neighbour {
    type Result = Result<MessageId, SayError>;

    fn handle(&mut self, tell: Tell, _: &mut Self::Context) -> Self::Result {
        self.take((None, Some(tell.peer), tell.text), tell.id)
    }
}

impl Handler<ListUndelivered> for Neighbour {
    type Result = Owed;

    fn handle(&mut self, _: ListUndelivered, _: &mut Self::Context) -> Self::Result {
        Owed { count: self.0.lock().unwrap().undelivered, messages: Vec::new() }
    }
}

impl Handler<ListChannels> for Neighbour {
    type Result = Vec<Summary>;

    fn handle(&mut self, _: ListChannels, _: &mut Self::Context) -> Self::Result {
        let summary = |(id, name): (ChannelId, &str), is_open| Summary {
            id,
            name: DisplayName::new(name).unwrap(),
            kind: Kind::Open,
            pair: None,
            policy: None,
            rotation: Rotation::Fixed,
            is_member: true,
            founder: None,
            trackers: Vec::new(),
            nodes: Vec::new(),
            moved_to: None,
            removed: Vec::new(),
            is_open,
        };
        let closed = (ChannelId([3; 32]), "closed");
        vec![
            summary((TEAM, "team"), true),
            summary((OTHER, "#other"), true),
            summary(closed, false),
        ]
    }
}

impl Handler<Subscribe> for Neighbour {
    type Result = ();

    fn handle(&mut self, Subscribe(listener): Subscribe, _: &mut Self::Context) {
        let mut world = self.0.lock().unwrap();
        if !world.listeners.is_empty() {
            let later = std::mem::take(&mut world.archive_later);
            world.archive.extend(later);
        }
        world.news.iter().for_each(|notice| listener.do_send(notice.clone()));
        world.listeners.push(listener);
    }
}

impl Handler<ListEvents> for Neighbour {
    type Result = Result<Vec<archive::Event>, ArchiveError>;

    fn handle(&mut self, list: ListEvents, _: &mut Self::Context) -> Self::Result {
        let world = self.0.lock().unwrap();
        let events = world.archive.iter().filter(|event| event.seq > list.since);
        Ok(events.take(list.limit).cloned().collect())
    }
}

impl Handler<FindEventSpan> for Neighbour {
    type Result = Result<EventSpan, ArchiveError>;

    fn handle(&mut self, _: FindEventSpan, _: &mut Self::Context) -> Self::Result {
        let world = self.0.lock().unwrap();
        let seq = |event: Option<&archive::Event>| event.map(|event| event.seq);
        let last = seq(world.archive.last()).unwrap_or(0);
        Ok(EventSpan { oldest: seq(world.archive.first()).unwrap_or(last + 1), last })
    }
}

impl Handler<ListMembers> for Neighbour {
    type Result = actix::ResponseFuture<Members>;

    fn handle(&mut self, _: ListMembers, _: &mut Self::Context) -> Self::Result {
        let mut world = self.0.lock().unwrap();
        let members = if world.late > 0 { Vec::new() } else { world.members.clone() };
        world.late = world.late.saturating_sub(1);
        let is_mute = world.is_mute;
        Box::pin(async move {
            if is_mute {
                std::future::pending::<()>().await;
            }
            Members { mesh: Completeness::Full, members }
        })
    }
}

impl Handler<FindWhereabouts> for Neighbour {
    type Result = actix::MessageResult<FindWhereabouts>;

    fn handle(&mut self, _: FindWhereabouts, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(Whereabouts::default())
    }
}

impl Handler<CountDrops> for Neighbour {
    type Result = actix::MessageResult<CountDrops>;

    fn handle(&mut self, _: CountDrops, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(Drops { unknown: 7, ..Drops::default() })
    }
}

/// The books of a profile in which ALICE is "friend", and nothing else is.
fn books(home: &std::path::Path) -> (Contacts, actix::Addr<ChannelBook>) {
    let profile = Profile::create(home, "default", None, None).unwrap();
    let book = ContactBook::open(&profile).unwrap().start();
    let card = Card { peer: ALICE, name: DisplayName::new("friend").unwrap() };
    book.do_send(bitchat_actors::contact_book::AddContact { card, our_name: None });
    (Contacts::of(PeerId([9; 32]), &book), ChannelBook::open(&profile).unwrap().start())
}

/// Makes a console panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Break;

impl Handler<Break> for Console {
    type Result = ();

    fn handle(&mut self, _: Break, _: &mut Self::Context) {
        panic!("asked to");
    }
}

/// Whether what is typed now is said there.
#[derive(Message)]
#[rtype(result = "bool")]
struct IsIn(ChannelId);

impl Handler<IsIn> for Console {
    type Result = bool;

    fn handle(&mut self, IsIn(id): IsIn, _: &mut Self::Context) -> bool {
        self.present().is_some_and(|channel| channel.id == id)
    }
}

#[derive(Clone, Default)]
struct Sheet(Arc<Mutex<Vec<u8>>>);

impl Sheet {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a run went.
struct Played {
    exit: Option<Exit>,
    out: String,
    talk: String,
    said: Vec<Said>,
    keys: Vec<Option<MessageId>>,
}

impl Played {
    fn texts(&self) -> Vec<&str> {
        self.said.iter().map(|(_, _, text)| text.as_str()).collect()
    }

    /// The lines of the output as JSON, answers only.
    fn answers(&self) -> Vec<Value> {
        self.json().into_iter().filter(|line| line.get("method").is_none()).collect()
    }

    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

fn play(form: Form, input: &[u8], world: World) -> Played {
    play_over(form, Box::new(io::Cursor::new(input.to_vec())), world, |_, _| ())
}

/// Runs a console to its end; `meanwhile` gets it once it stands.
fn play_over(
    form: Form,
    input: Box<dyn io::BufRead + Send>,
    world: World,
    meanwhile: impl FnOnce(Slot<Console>, Arc<Ending>) + 'static,
) -> Played {
    let out = Sheet::default();
    let played = play_printing(form, input, Box::new(out.clone()), world, meanwhile);
    Played { out: out.text(), ..played }
}

/// The same, with another standard output.
fn play_printing(
    form: Form,
    input: Box<dyn io::BufRead + Send>,
    out: Box<dyn Write + Send>,
    world: World,
    meanwhile: impl FnOnce(Slot<Console>, Arc<Ending>) + 'static,
) -> Played {
    let talk = Sheet::default();
    let front = Front::over(form, input, out, Box::new(talk.clone()));
    let home = tempfile::tempdir().unwrap();
    let world = Arc::new(Mutex::new(world));
    let ending = Arc::new(Ending::default());
    let channel =
        |id, name: &str| Channel { id, name: name.into(), is_pair: false, is_former: false };
    let config = Config {
        channels: vec![channel(TEAM, "team"), channel(OTHER, "#other")],
        linger: Duration::from_millis(300),
        receipts: true,
        is_narrow: false,
    };
    let (ends, console_front) = (Arc::clone(&ending), front.clone());
    let home = &home;
    let neighbours = Arc::clone(&world);
    actix_rt::System::new().block_on(async move {
        let neighbour = Neighbour(neighbours).start();
        let (contacts, channels) = books(home.path());
        let events = read_input(&console_front, Wish::default());
        let exits = Arc::clone(&ends);
        let make = move || {
            let node = Node::Here {
                methods: Box::new(methods(&neighbour, contacts.clone(), &channels)),
                notices: neighbour.clone().recipient(),
                channels: channels.clone().recipient(),
            };
            let (config, front) = (config.clone(), console_front.clone());
            Ok(Console::new(config, node, front, events.clone(), Arc::clone(&exits)))
        };
        let slot = Slot::new();
        let tree = Supervisor::new("stage", Strategy::RestForOne)
            .child(ChildSpec::try_actor("console", make).slot(&slot));
        let (stopper, ended) = tree.spawn();
        ends.attach(stopper);
        meanwhile(slot, ends);
        ended.await;
    });
    front.finish();
    let world = world.lock().unwrap();
    Played {
        exit: ending.exit(),
        out: String::new(),
        talk: talk.text(),
        said: world.said.clone(),
        keys: world.keys.clone(),
    }
}

fn methods(
    neighbour: &actix::Addr<Neighbour>,
    contacts: Contacts,
    channels: &actix::Addr<ChannelBook>,
) -> Methods {
    let about = About {
        peer: PeerId([9; 32]),
        name: "me".into(),
        profile: "default".into(),
        directory: "/nowhere".into(),
        started: bitchat_actors::clock::now(),
        trackers: Vec::new(),
    };
    let queries = Queries {
        about: Arc::new(about),
        members: neighbour.clone().recipient(),
        sources: Vec::new(),
        dht: bitchat_actors::supervision::Line::to_nobody(),
        lan: bitchat_actors::supervision::Line::to_nobody(),
        whereabouts: neighbour.clone().recipient(),
        drops: neighbour.clone().recipient(),
        refused: neighbour.clone().recipient(),
    };
    let saying = Saying {
        say: neighbour.clone().recipient(),
        tell: neighbour.clone().recipient(),
        undelivered: neighbour.clone().recipient(),
    };
    Methods {
        past: Past {
            events: neighbour.clone().recipient(),
            span: neighbour.clone().recipient(),
            ..Past::to_nobody()
        },
        queries,
        saying,
        joining: Joining::of(channels, &[]).listed_by(neighbour.clone().recipient()),
        inviting: Inviting::of(PeerId([9; 32]), neighbour, &[]),
        contacts,
        membership: Membership { remove: channels.clone().recipient() },
    }
}

fn keys(seed: u8) -> ChannelKeys {
    ChannelKeys::member(ChannelSecret::generate(&mut Rng::from_seed([seed; 32])))
}

/// A channel that another client has opened, or with a contact.
fn opened(name: &str, keys: ChannelKeys, only: Option<PeerId>) -> Arc<OpenedChannel> {
    Arc::new(OpenedChannel {
        name: name.into(),
        kind: only.map_or(Kind::Open, |_| Kind::Pair),
        only,
        door: None,
        keys,
        trackers: Vec::new(),
        nodes: Vec::new(),
        rotation: Rotation::Fixed,
        last_known: Vec::new(),
        origin: None,
        moved_to: None,
    })
}

fn member(peer: PeerId, name: &str) -> Member {
    Member {
        peer,
        name: name.into(),
        address: Some("127.0.0.1:4000".parse().unwrap()),
        rtt: Some(Duration::from_millis(2)),
        linked: true,
        standing: Some(Standing::Member),
        connected_with: vec![BOB],
        not_connected_with: vec![],
        mesh: Completeness::Full,
    }
}

fn heard(channel: Option<ChannelId>, name: &str, text: &str) -> Notice {
    let (from, id) = (ALICE, MessageId([7; 16]));
    Notice::Heard {
        seq: None,
        own: false,
        channel,
        from,
        name: name.into(),
        id,
        unix_ms: 5,
        text: text.into(),
    }
}

#[test]
fn each_line_is_said_once_in_order_and_the_end_waits_for_receipts() {
    let played = play(Form::Text, b"one\r\n\n  \ntwo\n//three", World::default());
    assert_eq!(played.texts(), ["one", "two", "/three"]);
    assert!(played.said.iter().all(|(channel, ..)| *channel == Some(TEAM)));
    assert_eq!(played.out.matches("* delivered to bob (").count(), 3, "{}", played.out);
    assert_eq!(played.exit, Some(Exit::Done));
    assert_eq!(played.talk, "");
}

#[test]
fn an_empty_input_ends_well_at_once() {
    assert_eq!(play(Form::Text, b"", World::default()).exit, Some(Exit::Done));
    assert_eq!(play(Form::Json, b"", World::default()).exit, Some(Exit::Done));
}

#[test]
fn what_nobody_takes_ends_the_run_after_a_while_with_code_3_and_words() {
    let deaf = World { is_deaf: true, ..World::default() };
    let played = play(Form::Text, b"hello\n", deaf);
    assert_eq!(played.exit, Some(Exit::NotDelivered));
    assert!(played.talk.contains("not delivered: nobody took 1 message within 300ms"));
}

#[test]
fn lines_that_cannot_be_said_are_named_and_the_next_is_said() {
    let mut input = b"one\n\xff\xfe\ntwo\n/pears\nthree\n".to_vec();
    let played = play(Form::Text, &input, World::default());
    assert_eq!(played.texts(), ["one", "two", "three"]);
    assert!(played.talk.contains("line 2 is not UTF-8"), "{}", played.talk);
    assert!(played.talk.contains("did you mean /peers"), "{}", played.talk);
    assert_eq!(played.exit, Some(Exit::Failed));

    input = vec![b'x'; 10 * 1024 * 1024];
    input.extend(b"\nnext\n");
    let played = play(Form::Text, &input, World::default());
    assert_eq!(played.texts(), ["next"]);
    assert!(played.talk.contains("line 1 is longer than"), "{}", played.talk);
    assert_eq!(played.exit, Some(Exit::Limit));

    let played =
        play(Form::Text, format!("{}\nnext\n", "y".repeat(101)).as_bytes(), World::default());
    assert_eq!(played.texts(), ["next"]);
    assert!(played.talk.contains("not sent: the message has 101 bytes"), "{}", played.talk);
    assert_eq!(played.exit, Some(Exit::Limit));
}

#[test]
fn a_code_that_says_why_counts_more_than_one_that_does_not() {
    let input = format!("/pears\n{}\n/pears\n", "y".repeat(101));
    let played = play(Form::Text, input.as_bytes(), World::default());
    assert_eq!(played.exit, Some(Exit::Limit));
}

#[test]
fn lines_wait_while_there_is_no_room_and_keep_their_order() {
    let world = World { full: 2, ..World::default() };
    let played = play(Form::Text, b"one\ntwo\n", world);
    assert_eq!(played.texts(), ["one", "two"]);
    assert_eq!((played.exit, played.talk.as_str()), (Some(Exit::Done), ""));
}

#[test]
fn where_there_is_no_room_for_long_the_run_ends_with_code_3() {
    let played = play(Form::Text, b"one\n", World { full: usize::MAX, ..World::default() });
    assert_eq!(played.exit, Some(Exit::NotDelivered));
    assert!(played.talk.contains("nobody took 7 messages"), "{}", played.talk);
}

#[test]
fn a_program_is_told_at_once_that_there_is_no_room() {
    let say = json!({"jsonrpc": "2.0", "id": 1, "method": "say", "params": {"text": "x"}});
    let world = World { full: usize::MAX, ..World::default() };
    let played = play(Form::Json, say.to_string().as_bytes(), world);
    assert_eq!(played.answers()[0]["error"]["code"], -32000);
    assert_eq!(played.exit, Some(Exit::Limit));
}

#[test]
fn messages_to_one_person_go_to_contacts_then_to_members() {
    let world = || World {
        members: vec![
            member(ALICE, "Alice B"),
            member(BOB, "bob"),
            member(PeerId([12; 32]), "bob"),
        ],
        ..World::default()
    };
    let to = |line: &str| {
        let played = play(Form::Text, line.as_bytes(), world());
        (played.said.first().and_then(|(_, peer, _)| *peer), played.talk, played.exit)
    };
    assert_eq!(to("/msg friend hi"), (Some(ALICE), String::new(), Some(Exit::Done)));
    assert_eq!(to("/msg \"alice b\" hi").0, Some(ALICE));
    assert_eq!(to(&format!("/msg {} hi", BOB.short())).0, Some(BOB));
    assert_eq!(to(&format!("/msg {BOB} hi")).0, Some(BOB));
    let (nobody, talk, exit) = to("/msg bob hi");
    assert!(nobody.is_none() && talk.contains("several are called bob"), "{talk}");
    assert_eq!(exit, Some(Exit::Failed));
    let (_, talk, exit) = to("/msg nobody hi");
    assert!(talk.contains("not sent: nobody called nobody came within 300ms"), "{talk}");
    assert_eq!(exit, Some(Exit::NotDelivered));
}

#[test]
fn a_line_to_one_person_waits_until_that_one_is_there() {
    let input = b"/msg alice one\n/msg friend two\n";
    let members = vec![member(ALICE, "alice")];
    let world = World { members, late: 3, unlinked: 1, ..World::default() };
    let played = play(Form::Text, input, world);
    assert_eq!(played.texts(), ["one", "two"]);
    assert_eq!((played.exit, played.talk.as_str()), (Some(Exit::Done), ""));

    let world = World { unlinked: usize::MAX, ..World::default() };
    let played = play(Form::Text, b"/msg friend one\ntwo\n", world);
    assert_eq!((played.texts(), played.exit), (vec!["two"], Some(Exit::NotDelivered)));
    assert!(played.talk.contains("no link with that peer within 300ms; --linger"));
}

#[test]
fn a_program_is_told_at_once_that_somebody_is_not_there() {
    let tell = |to: &str| json!({"jsonrpc": "2.0", "id": 1, "method": "tell", "params": {"to": to, "text": "x"}});
    let input = format!("{}\n{}\n", tell("friend"), tell("nobody"));
    let world = World { unlinked: 1, ..World::default() };
    let played = play(Form::Json, input.as_bytes(), world);
    let words = |at: usize| played.answers()[at]["error"]["message"].to_string();
    assert!(words(0).contains("not linked"), "{}", played.out);
    assert!(words(1).contains("nobody is called nobody; /peers"), "{}", played.out);
    assert!(played.said.is_empty());
    assert_eq!(played.exit, Some(Exit::NotDelivered));
}

#[test]
fn who_leaves_while_a_line_waits_has_not_delivered_it() {
    let (input, mut lines) = io::pipe().unwrap();
    writeln!(lines, "/msg friend hi").unwrap();
    let world = World { unlinked: usize::MAX, ..World::default() };
    let input = Box::new(io::BufReader::new(input));
    let played = play_over(Form::Text, input, world, |slot, ending| {
        actix_rt::spawn(async move {
            let console = standing(&slot, None).await;
            while !console.send(IsWaiting).await.unwrap() {
                tokio::task::yield_now().await;
            }
            ending.leave();
            std::future::pending::<()>().await;
            drop(lines);
        });
    });
    assert_eq!(played.exit, Some(Exit::NotDelivered));
    assert!(played.talk.contains("not delivered to anybody: 1 message"), "{}", played.talk);
}

#[test]
fn who_leaves_while_a_line_is_being_written_has_not_delivered_it() {
    for form in [Form::Text, Form::Json] {
        let (input, mut lines) = io::pipe().unwrap();
        match form {
            Form::Text => writeln!(lines, "hello").unwrap(),
            Form::Json => writeln!(lines, "{}", say_request(1, "hello")).unwrap(),
        }
        let world = World { is_silent: true, ..World::default() };
        let input = Box::new(io::BufReader::new(input));
        let played = play_over(form, input, world, |slot, ending| {
            actix_rt::spawn(async move {
                let console = standing(&slot, None).await;
                while !console.send(IsWaiting).await.unwrap() {
                    tokio::task::yield_now().await;
                }
                ending.leave();
                std::future::pending::<()>().await;
                drop(lines);
            });
        });
        assert_eq!(played.exit, Some(Exit::NotDelivered));
        assert!(played.talk.contains("not delivered to anybody: 1 message"), "{}", played.talk);
    }
}

fn say_request(id: u64, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "say", "params": {"text": text}})
}

#[test]
fn what_was_not_answered_is_said_again_under_its_key_and_never_called_not_sent() {
    let world = World { unanswered: 1, ..World::default() };
    let played = play(Form::Text, b"one\ntwo\n", world);
    assert_eq!(played.texts(), ["one", "two"], "each once");
    assert_eq!((played.exit, played.talk.as_str()), (Some(Exit::Done), ""));

    // Who writes JSON is told, and does that itself.
    let world = World { unanswered: 1, ..World::default() };
    let played = play(Form::Json, say_request(1, "one").to_string().as_bytes(), world);
    assert_eq!(played.answers()[0]["error"]["data"], json!({"exit": 3, "lacks": "answer"}));
    assert_eq!(played.exit, Some(Exit::NotDelivered), "{}", played.talk);
}

#[test]
fn where_nobody_reads_the_output_it_is_still_said_what_nobody_has() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let ended = |undelivered| {
        // The input stays open.
        let (input, _open) = io::pipe().unwrap();
        let news = vec![heard(Some(TEAM), "alice", "hi")];
        let world = World { undelivered, news, ..World::default() };
        let input = Box::new(io::BufReader::new(input));
        let played = play_printing(Form::Text, input, Box::new(Gone), world, |_, _| ());
        (played.exit, played.talk)
    };
    assert_eq!(ended(0), (Some(Exit::Done), String::new()));
    let (exit, talk) = ended(2);
    assert_eq!(exit, Some(Exit::NotDelivered));
    assert!(talk.contains("not delivered to anybody: 2 messages"), "{talk}");
}

#[test]
fn a_program_is_told_of_the_channels_it_wishes_for_without_a_gap() {
    let subscribe = |channels: Value| json!({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"channels": channels}});
    let say = |channel: &str| json!({"jsonrpc": "2.0", "id": 2, "method": "say", "params": {"channel": channel, "text": "x"}});
    let lines =
        [subscribe(json!(["#other"])), say("team"), say("other"), say("team"), say("other")];
    let input = lines.map(|line| line.to_string()).join("\n");
    let played = play(Form::Json, input.as_bytes(), World::default());
    assert_eq!(played.answers()[0]["result"]["n"], 0);
    let told: Vec<_> =
        played.json().into_iter().filter(|line| line["method"] == "delivered").collect();
    let seqs: Vec<_> = told.iter().map(|line| line["params"]["n"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2], "{}", played.out);
    assert!(told.iter().all(|line| line["params"]["channel"] == OTHER.to_string()));

    for channels in [json!("team"), json!([5]), json!(["closed"])] {
        let played = play(Form::Json, subscribe(channels).to_string().as_bytes(), World::default());
        assert_eq!(played.answers()[0]["error"]["code"], -32602);
    }
}

#[test]
fn a_guest_names_its_channel_to_each_method_that_is_about_one() {
    let home = tempfile::tempdir().unwrap();
    let home = &home;
    actix_rt::System::new().block_on(async move {
        let neighbour = Neighbour(Arc::default()).start();
        let (contacts, channels) = books(home.path());
        let methods = methods(&neighbour, contacts, &channels);
        let mut of_one = Vec::new();
        for name in crate::methods::names() {
            // Several are open, and none is named.
            let answer = methods.call(name, &json!({}), None).await;
            if answer.is_err_and(|refusal| refusal.text.contains("several channels are open")) {
                of_one.push(name);
            }
        }
        let mut known = node::OF_ONE_CHANNEL.to_vec();
        of_one.sort_unstable();
        known.sort_unstable();
        assert_eq!(of_one, known);
    });
}

#[test]
fn another_channel_is_the_present_one_from_then_on() {
    let played = play(Form::Text, b"one\n/to other\ntwo\n/to nowhere\nthree\n", World::default());
    let channels: Vec<_> = played.said.iter().map(|(channel, ..)| channel.unwrap()).collect();
    assert_eq!(channels, [TEAM, OTHER, OTHER]);
    assert!(played.talk.contains("no open channel is called nowhere; open are: team"));
}

#[test]
fn who_talks_where_a_channel_closes_says_first_where_to_go_on() {
    let (input, mut lines) = io::pipe().unwrap();
    let input = Box::new(io::BufReader::new(input));
    let played = play_over(Form::Text, input, World::default(), |slot, _| {
        actix_rt::spawn(async move {
            let console = standing(&slot, None).await;
            console.send(ChannelEvent::Opened(opened("#Other", keys(7), None))).await.unwrap();
            console.send(ChannelEvent::Closed(TEAM)).await.unwrap();
            writeln!(lines, "for the team alone\n/to {OTHER}\nfor all").unwrap();
        });
    });
    assert_eq!(played.said, [(Some(OTHER), None, "for all".to_owned())]);
    assert!(played.talk.contains("there is no channel to say it in"), "{}", played.talk);
    let lines: Vec<_> = played.out.lines().collect();
    let opened = lines[0].strip_prefix("* #Other ").expect("told apart by its id");
    assert!(opened.ends_with(" is open now; /to says what follows in it"), "{}", played.out);
    assert_eq!(lines[1], "* team is closed; say where to talk with /to CHANNEL");
}

#[test]
fn who_talks_in_a_channel_that_goes_on_as_another_talks_there_from_then_on() {
    let (input, mut lines) = io::pipe().unwrap();
    let input = Box::new(io::BufReader::new(input));
    let played = play_over(Form::Text, input, World::default(), |slot, _| {
        actix_rt::spawn(async move {
            let console = standing(&slot, None).await;
            // What it goes on as comes without a line of its own.
            let new = opened("team", keys(7), None);
            let new = OpenedChannel { origin: Some(TEAM), ..Arc::into_inner(new).unwrap() };
            console.send(ChannelEvent::Opened(Arc::new(new))).await.unwrap();
            console
                .send(Notice::Moved {
                    channel: TEAM,
                    successor: OTHER,
                    label: "team".into(),
                    by: ALICE,
                    name: "al\u{1b}ice".into(),
                    removed: vec![(BOB, "bob".into()), (PeerId([5; 32]), "mallory".into())],
                })
                .await
                .unwrap();
            writeln!(lines, "for the rest").unwrap();
        });
    });
    assert_eq!(played.said, [(Some(OTHER), None, "for the rest".to_owned())]);
    let first = played.out.lines().next().unwrap();
    assert!(first.ends_with("ice removed bob, mallory from [team]; it goes on with new keys"));
    assert!(!played.out.contains('\u{1b}'), "{:?}", played.out);
}

#[test]
fn channels_with_contacts_come_and_go_without_a_line_and_go_by_the_contact_s_name() {
    let (input, mut lines) = io::pipe().unwrap();
    let input = Box::new(io::BufReader::new(input));
    let [bob, ann] = [opened("bob", keys(7), Some(BOB)), opened("ann", keys(8), Some(ALICE))];
    let ids = [bob.keys.id(), ann.keys.id()];
    let played = play_over(Form::Text, input, World::default(), move |slot, _| {
        actix_rt::spawn(async move {
            let console = standing(&slot, None).await;
            let blind = ChannelKeys::seeder(keys(9).seed_key().clone(), keys(9).public_key());
            let events = [
                ChannelEvent::Opened(bob),
                ChannelEvent::Opened(ann),
                ChannelEvent::Changed(opened("Bob from work", keys(7), Some(BOB))),
                ChannelEvent::Opened(opened("blind", blind, None)),
                ChannelEvent::Closed(ids[1]),
            ];
            for event in events {
                console.send(event).await.unwrap();
            }
            writeln!(lines, "/to bob\n/to ann\n/to blind\n/to Bob from work").unwrap();
            while !console.send(IsIn(ids[0])).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            console.send(ChannelEvent::Closed(ids[0])).await.unwrap();
            writeln!(lines, "for bob alone\n/to team\nfor the team").unwrap();
        });
    });
    assert_eq!(played.said, [(Some(TEAM), None, "for the team".to_owned())]);
    for gone in ["bob", "ann", "blind"] {
        let words = format!("no open channel is called {gone};");
        assert!(played.talk.contains(&words), "{}", played.talk);
    }
    assert!(played.talk.contains("there is no channel to say it in"), "{}", played.talk);
    let lines: Vec<_> = played.out.lines().filter(|line| !line.contains("delivered")).collect();
    assert_eq!(lines, ["* Bob from work is closed; say where to talk with /to CHANNEL"]);
}

#[test]
fn quitting_reads_no_further_line_and_says_what_nobody_has() {
    let played = play(Form::Text, b"one\n/quit\ntwo\n", World::default());
    assert_eq!((played.texts(), played.exit), (vec!["one"], Some(Exit::Done)));
    let deaf = World { is_deaf: true, ..World::default() };
    let played = play(Form::Text, b"one\n/quit\ntwo\n", deaf);
    assert_eq!((played.texts(), played.exit), (vec!["one"], Some(Exit::NotDelivered)));
    assert!(played.talk.contains("not delivered to anybody: 1 message"), "{}", played.talk);
}

#[test]
fn a_key_conflict_is_loud_and_decides_the_exit_code() {
    let text = "alice has \u{1b}[2J another key".into();
    let world = World { news: vec![Notice::Warning { text, code: Some(4) }], ..World::default() };
    let played = play(Form::Text, b"hello\n", world);
    assert_eq!(played.exit, Some(Exit::Untrusted));
    assert!(played.talk.contains("WARNING: alice has "), "{}", played.talk);
    assert!(!played.talk.contains('\u{1b}'));
}

#[test]
fn who_is_asked_to_leave_says_what_nobody_has_unless_a_warning_says_more() {
    let played = |news: Vec<Notice>| {
        // The input stays open.
        let (input, open) = io::pipe().unwrap();
        let world = World { news, undelivered: 2, ..World::default() };
        let input = Box::new(io::BufReader::new(input));
        play_over(Form::Text, input, world, |slot, ending| {
            actix_rt::spawn(async move {
                let console = standing(&slot, None).await;
                // What it is told at the start is handled before this.
                console.send(Ping).await.unwrap();
                ending.leave();
                // Not before the run has ended.
                std::future::pending::<()>().await;
                drop(open);
            });
        })
    };
    let without = played(vec![]);
    assert_eq!(without.exit, Some(Exit::NotDelivered));
    assert!(without.talk.contains("not delivered to anybody: 2 messages"), "{}", without.talk);
    let conflict = Notice::Warning { text: "another key".into(), code: Some(4) };
    assert_eq!(played(vec![conflict]).exit, Some(Exit::Untrusted));
}

#[test]
fn nobody_can_forge_a_line_by_a_name_or_a_text() {
    for name in ["/quit", "[private] bob", "* x", "bitchat: WARNING", "a\n[team] bob", "team] bob"]
    {
        let news = vec![
            heard(Some(TEAM), name, "hi"),
            Notice::MemberUp { channel: TEAM, peer: ALICE, name: name.into() },
        ];
        let played = play(Form::Text, b"", World { news, ..World::default() });
        let lines: Vec<_> = played.out.lines().collect();
        assert_eq!(lines.len(), 2, "{}", played.out);
        assert!(lines[0].starts_with("[team] ") && lines[0].ends_with(": hi"), "{}", lines[0]);
        let brackets = |line: &str| line.matches(['[', ']']).count();
        assert_eq!((brackets(lines[0]), lines[0].matches(':').count()), (2, 1), "{}", lines[0]);
        assert!(
            lines[1].starts_with("* ") && lines[1].ends_with(" is here [team]"),
            "{}",
            lines[1]
        );
        assert_eq!((brackets(lines[1]), played.talk.as_str()), (2, ""), "{}", lines[1]);
    }
    let news = vec![
        heard(Some(TEAM), "mallory: x", "a\n[team] alice: b\u{1b}[2J\u{202e}"),
        heard(None, "alice", "secret"),
        heard(Some(OTHER), "alice", "public"),
    ];
    let played = play(Form::Text, b"", World { news: news.clone(), ..World::default() });
    let lines: Vec<_> = played.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", played.out);
    assert!(lines[0].starts_with("[team] mallory\u{a789} x: a"), "{}", lines[0]);
    assert!(!played.out.contains('\u{1b}') && !played.out.contains('\u{202e}'));
    assert_eq!(lines[1], "[private] alice: secret");
    assert_eq!(lines[2], "[#other] alice: public");
    // A program gets every character.
    let played = play(Form::Json, b"", World { news, ..World::default() });
    assert_eq!(played.json()[0]["params"]["text"], "a\n[team] alice: b\u{1b}[2J\u{202e}");
}

#[test]
fn a_channel_called_private_is_not_taken_for_what_is_said_to_us_alone() {
    let channel = Channel { id: OTHER, name: "private".into(), is_pair: false, is_former: false };
    assert_eq!(plain::label(&channel), "private 02020202");
    for name in ["priv\u{200c}ate", "Private", " private\u{fe0f}"] {
        let channel = Channel { id: OTHER, name: name.into(), is_pair: false, is_former: false };
        assert!(plain::label(&channel).ends_with(" 02020202"), "{name:?}");
    }
    let channel =
        Channel { id: OTHER, name: "team] alice: yes".into(), is_pair: false, is_former: false };
    assert!(!plain::label(&channel).contains([']', ':']), "nor does it end before its end");
}

#[test]
fn who_is_there_is_listed_with_each_ones_view() {
    let world =
        World { members: vec![member(ALICE, "alice"), member(BOB, "bob")], ..World::default() };
    let played = play(Form::Text, b"/peers\n", world);
    assert!(played.out.contains("* team: 2 of 2 linked, mesh full\n"), "{}", played.out);
    let line = played.out.lines().find(|line| line.starts_with("*   alice ")).unwrap();
    assert!(line.contains("127.0.0.1:4000") && line.contains("with: bob; not with: nobody"));
}

#[test]
fn people_are_listed_added_renamed_blocked_and_forgotten() {
    let members = || vec![member(BOB, "Bob B")];
    let world = World { members: members(), ..World::default() };
    let input = b"/contacts\n/add \"bob b\"\n/rename bob\n/rename \"Bob B\" Bob the builder\n\
                  /block friend\n/contacts \"bob the builder\"\n/forget friend\n/contacts\n/add nobody\n";
    let played = play(Form::Text, input, world);
    let lines: Vec<_> = played.out.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with("* ")), "{}", played.out);
    let begins = |at: usize, text: &str| assert!(lines[at].starts_with(text), "{}", played.out);
    begins(0, "* friend                   known    ");
    begins(1, "* Bob B                    known    ");
    begins(2, "* Bob the builder          known    ");
    begins(3, "* friend                   blocked  ");
    begins(4, "* name          Bob the builder");
    begins(5, "* their name    Bob B");
    begins(8, "* last seen     now");
    begins(9, "* safety words  ");
    begins(10, "* friend is forgotten");
    begins(11, "* Bob the builder          known    ");
    assert!(lines[11].ends_with("here now"), "{}", lines[11]);
    assert_eq!(lines.len(), 12, "{}", played.out);
    assert!(played.talk.contains("say the new name: /rename WHO NAME"), "{}", played.talk);
    assert!(played.talk.contains("nobody"), "{}", played.talk);
    assert_eq!(played.exit, Some(Exit::Failed));
}

#[test]
fn nobody_is_verified_whose_words_were_not_shown() {
    let words = safety_words(&PeerId([9; 32]), &ALICE);
    let verified = |input: &str| {
        let played = play(Form::Text, input.as_bytes(), World::default());
        (played.out.matches("friend                   verified").count(), played)
    };
    let (count, played) = verified("/verify friend yes\n");
    assert_eq!(count, 0, "{}", played.out);
    assert!(played.out.contains(&words), "they are shown instead: {}", played.out);
    assert!(played.out.contains("only if they are the same: /verify friend yes"), "{}", played.out);
    assert_eq!(verified("/verify friend\n/verify friend yes\n").0, 1);
    assert_eq!(verified(&format!("/verify friend {words}\n")).0, 1, "the words say it themselves");
    let (count, played) = verified("/verify friend 12345 12345\n");
    assert!(count == 0 && played.talk.contains("NOT the safety words"), "{}", played.talk);
    assert_eq!(played.exit, Some(Exit::Untrusted));

    // Another key under that name since the words were shown.
    let input = format!("/verify friend\n/forget friend\n/add {BOB} friend\n/verify friend yes\n");
    let (count, played) = verified(&input);
    assert_eq!(count, 0, "{}", played.out);
    assert!(played.out.contains(&safety_words(&PeerId([9; 32]), &BOB)), "{}", played.out);
}

#[test]
fn requests_are_answered_in_order_and_mistakes_do_not_stop_the_rest() {
    let input = concat!(
        r#"{"jsonrpc":"2.0","id":1,"method":"say","params":{"channel":"team","text":"a"}}"#,
        "\nnot json\n\n",
        r#"{"jsonrpc":"2.0","id":"two","method":"chanels"}"#,
        "\n",
        r#"{"jsonrpc":"1.0","id":3,"method":"say"}"#,
        "\n[]\n",
        r#"{"jsonrpc":"2.0","id":4,"method":"say","params":{"text":5}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":5,"method":"say","params":{"channel":"x","text":"b"}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":6,"method":"channels"}"#,
        "\n",
    );
    let played = play(Form::Json, input.as_bytes(), World::default());
    let answers = played.answers();
    let codes: Vec<_> =
        answers.iter().map(|a| (a["id"].clone(), a["error"]["code"].as_i64())).collect();
    assert_eq!(
        codes,
        [
            (json!(1), None),
            (Value::Null, Some(-32700)),
            (json!("two"), Some(-32601)),
            (Value::Null, Some(-32600)),
            (Value::Null, Some(-32600)),
            (json!(4), Some(-32602)),
            (json!(5), Some(-32602)),
            (json!(6), None),
        ]
    );
    assert_eq!(answers[0]["result"]["id"], played.keys[0].unwrap().to_string());
    assert!(answers[2]["error"]["message"].as_str().unwrap().contains("did you mean channels?"));
    assert_eq!(answers[7]["result"]["channels"][0]["name"], "team");
    assert_eq!(played.texts(), ["a"]);
    assert_eq!(played.exit, Some(Exit::Failed));
}

#[test]
fn a_client_chooses_ids_and_may_want_no_answer() {
    let key = MessageId([0xab; 16]);
    let input = format!(
        "{}\n{}\n{}\n{}\n",
        json!({"jsonrpc": "2.0", "id": 1, "method": "say", "params": {"text": "a", "key": key.to_string()}}),
        json!({"jsonrpc": "2.0", "method": "say", "params": {"text": "b"}}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "say", "params": {"text": "c", "key": "short"}}),
        json!({"jsonrpc": "2.0", "id": 3, "method": "tell", "params": {"to": "friend", "text": "d"}}),
    );
    let played = play(Form::Json, input.as_bytes(), World::default());
    assert_eq!(played.texts(), ["a", "b", "d"]);
    assert_eq!(played.keys[0], Some(key));
    assert!(played.keys[1].is_some() && played.keys[1] != played.keys[2]);
    let answers = played.answers();
    assert_eq!(answers.len(), 3, "{}", played.out);
    assert_eq!(answers[0]["result"]["id"], key.to_string());
    assert_eq!(answers[1]["error"]["code"], -32602);
    assert_eq!(played.said[2].1, Some(ALICE));
}

#[test]
fn notifications_are_numbered_without_gaps_also_after_a_restart() {
    // The input stays open until the console has come back and its news are shown.
    let (lines, input) = io::pipe().map(|(read, write)| (write, read)).unwrap();
    let news = vec![heard(Some(TEAM), "alice", "hi"), heard(None, "bob", "psst")];
    let world = World { news, ..World::default() };
    let played =
        play_over(Form::Json, Box::new(io::BufReader::new(input)), world, move |slot, _| {
            actix_rt::spawn(async move {
                let first = standing(&slot, None).await;
                first.send(Break).await.expect_err("it panics");
                let second = standing(&slot, Some(&first)).await;
                // Its news are before this in its mailbox or handled.
                second.send(Ping).await.unwrap();
                let mut lines = lines;
                let say =
                    json!({"jsonrpc": "2.0", "id": 1, "method": "say", "params": {"text": "x"}});
                writeln!(lines, "{say}").unwrap();
            });
        });
    assert_eq!(played.texts(), ["x"], "lines are read after the restart");
    let notices: Vec<_> =
        played.json().into_iter().filter(|line| line.get("method").is_some()).collect();
    let seqs: Vec<_> = notices.iter().map(|n| n["params"]["n"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert!(seqs.len() >= 4, "{}", played.out);
    assert_eq!(notices[0]["method"], "message");
    assert_eq!(notices[1]["params"]["channel"], Value::Null);
}

#[test]
fn a_line_that_was_being_dealt_with_when_the_console_failed_is_not_forgotten() {
    let peers = json!({"jsonrpc": "2.0", "id": "mine", "method": "peers"}).to_string();
    for (form, line) in [(Form::Text, "/peers"), (Form::Json, &*peers)] {
        let (input, mut lines) = io::pipe().unwrap();
        writeln!(lines, "{line}").unwrap();
        let world = World { is_mute: true, ..World::default() };
        let input = Box::new(io::BufReader::new(input));
        let played = play_over(form, input, world, |slot, _| {
            actix_rt::spawn(async move {
                let first = standing(&slot, None).await;
                // It waits for the members now.
                while !first.send(IsBusy).await.unwrap() {
                    tokio::task::yield_now().await;
                }
                first.send(Break).await.expect_err("it panics");
                standing(&slot, Some(&first)).await;
                drop(lines);
            });
        });
        assert_eq!(played.exit, Some(Exit::Failed));
        let words = "the line being dealt with may not be done";
        assert!(played.talk.contains(words), "{}", played.talk);
        if form == Form::Json {
            let answer = &played.answers()[0];
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("mine"), &json!(-32000)));
            assert_eq!(answer["error"]["data"]["lacks"], "answer");
        }
    }
}

/// Asks whether a question of the console's is not answered yet.
#[derive(Message)]
#[rtype(result = "bool")]
struct IsBusy;

impl Handler<IsBusy> for Console {
    type Result = bool;

    fn handle(&mut self, _: IsBusy, _: &mut Self::Context) -> bool {
        self.asked > 0
    }
}

/// Asks whether a line is not said yet.
#[derive(Message)]
#[rtype(result = "bool")]
struct IsWaiting;

impl Handler<IsWaiting> for Console {
    type Result = bool;

    fn handle(&mut self, _: IsWaiting, _: &mut Self::Context) -> bool {
        self.ending.in_flight() > 0
    }
}

/// Answered when all before it is handled.
#[derive(Message)]
#[rtype(result = "()")]
struct Ping;

impl Handler<Ping> for Console {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

/// Waits for a console that is not the one before.
async fn standing(
    slot: &Slot<Console>,
    before: Option<&actix::Addr<Console>>,
) -> actix::Addr<Console> {
    loop {
        match slot.addr() {
            Some(addr) if addr.connected() && before != Some(&addr) => return addr,
            _ => tokio::task::yield_now().await,
        }
    }
}

/// A message that is on disk, and how it is told.
fn kept(seq: u64, from: PeerId, channel: ChannelId) -> (archive::Event, Notice) {
    let id = MessageId(u128::from(seq).to_be_bytes());
    let text = format!("text {seq}");
    let position = Position { clock: seq, author: from, device: DeviceId([1; 8]), number: seq };
    let message = archive::StoredMessage {
        channel,
        position,
        chain: ChainId([1; 16]),
        id,
        unix_ms: 5,
        text: text.clone(),
        stored_unix: 5,
    };
    let (seq_told, name, channel) = (Some(seq), "friend".into(), Some(channel));
    let told =
        Notice::Heard { seq: seq_told, own: false, channel, from, name, id, unix_ms: 5, text };
    (archive::Event { seq, kind: EventKind::Message(message) }, told)
}

fn shown(seqs: impl IntoIterator<Item = u64>) -> Vec<String> {
    seqs.into_iter().map(|seq| format!("[team] friend: text {seq}")).collect()
}

#[test]
fn more_than_there_is_room_for_is_read_again_and_shown_once_and_in_order() {
    let world = || {
        let (archive, news) = (1..=3000).map(|seq| kept(seq, ALICE, TEAM)).unzip();
        World { archive, news, ..World::default() }
    };
    let played = play(Form::Text, b"", world());
    assert_eq!(played.out.lines().collect::<Vec<_>>(), shown(1..=3000));
    assert_eq!((played.exit, played.talk.as_str()), (Some(Exit::Done), ""));
    let played = play(Form::Json, b"", world());
    let told = played.json();
    let numbers =
        |field: &str| told.iter().map(|it| it["params"][field].as_u64().unwrap()).collect();
    let (seqs, ns): (Vec<u64>, Vec<u64>) = (numbers("seq"), numbers("n"));
    assert_eq!((&seqs, &ns), (&(1..=3000).collect(), &(1..=3000).collect()));
}

#[test]
fn what_came_while_no_console_was_there_is_shown_by_the_next() {
    let (input, lines) = io::pipe().unwrap();
    let events = |seqs: std::ops::RangeInclusive<u64>| -> Vec<_> {
        seqs.map(|seq| kept(seq, ALICE, TEAM).0).collect()
    };
    let world = World {
        archive: events(1..=5),
        archive_later: events(6..=600),
        // Told again, as to a console that was there before.
        news: vec![kept(5, ALICE, TEAM).1],
        ..World::default()
    };
    let input = Box::new(io::BufReader::new(input));
    let played = play_over(Form::Text, input, world, move |slot, _| {
        actix_rt::spawn(async move {
            let first = standing(&slot, None).await;
            first.send(Ping).await.unwrap();
            first.send(Break).await.expect_err("it panics");
            standing(&slot, Some(&first)).await;
            drop(lines);
        });
    });
    assert_eq!(played.out.lines().collect::<Vec<_>>(), shown(5..=600), "{}", played.talk);
}

#[test]
fn a_guest_that_was_not_told_all_reads_it_and_says_what_it_cannot_read() {
    let told = |seq: u64, n: u64| -> Value {
        serde_json::from_str(&notices::notification(&kept(seq, ALICE, TEAM).1, n)).unwrap()
    };
    for (n, unread) in [(4, 0), (6, 2)] {
        let answering = move |method: &str, params: &Value| {
            let since = params["since"].as_u64().unwrap_or(0);
            let event = |seq: u64| told(seq, 0);
            Some(match method {
                // What happened before is not shown.
                "events" if since == 0 => json!({"result": {"events": [event(1)], "last": 4}}),
                "events" => {
                    let events: Vec<_> = (since + 1..=8).map(event).collect();
                    json!({"result": {"events": events, "last": 8, "lost": 0}})
                }
                "say" => json!({
                    "result": {"id": params["key"]},
                    // After a gap, and one that comes late.
                    "told": [told(5, 1), told(8, n), told(8, n + 1)],
                }),
                _ => json!({"result": {"count": 0, "messages": []}}),
            })
        };
        let played = play_attached(Form::Text, b"one\n", Box::new(answering));
        assert_eq!(played.out.lines().collect::<Vec<_>>(), shown(5..=8), "{}", played.talk);
        let words = format!("than could be told: {} notices", unread + 1);
        assert!(played.talk.contains(&words), "{}", played.talk);
    }
}

#[test]
fn events_are_as_they_are_told_and_end_before_what_is_about_to_be_readable() {
    let event = |seq, kind| archive::Event { seq, kind };
    let delivered = EventKind::Delivered {
        id: MessageId([1; 16]),
        channel: TEAM,
        by: ALICE,
        role: Role::Member,
    };
    let (message, told) = kept(7, ALICE, TEAM);
    let archive = vec![
        message,
        event(8, delivered),
        event(9, EventKind::NotOpen(ChannelId([3; 32]))),
        event(10, EventKind::Gone),
        event(11, EventKind::NotOpen(OTHER)),
        kept(12, BOB, TEAM).0,
    ];
    let ask = |id: u64, method: &str, params: Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string() + "\n"
    };
    let input = ask(1, "events", json!({"since": 2}))
        + &ask(2, "contact_block", json!({"contact": "friend"}))
        + &ask(3, "events", json!({"since": 6, "limit": 1}));
    let played = play(Form::Json, input.as_bytes(), World { archive, ..World::default() });
    let answers = played.answers();
    let page = &answers[0]["result"];
    let kinds = |page: &Value| -> Vec<String> {
        let events = page["events"].as_array().unwrap().iter();
        events.map(|event| event["method"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(page), ["message", "delivered", "not_open", "gone"], "{page}");
    assert_eq!((&page["last"], &page["lost"]), (&json!(12), &json!(4)));
    assert_eq!(page["waits_for"], OTHER.to_string(), "and nothing after it");
    assert_eq!(notices::read_event(&page["events"][0]), Some(told));
    assert!(notices::read_event(&page["events"][1]).is_some());
    let page = &answers[2]["result"];
    assert_eq!((kinds(page), &page["lost"]), (vec!["blocked".to_owned()], &json!(0)));
    assert_eq!(page["events"][0]["params"]["text"], Value::Null);
}

/// A node in another process, which knows one channel and answers as it is told.
type Answering = Box<dyn FnMut(&str, &Value) -> Option<Value> + Send>;

/// Runs a console that is the guest of a node which gives `answering` the requests, and goes when
/// that has no answer.
fn play_attached(form: Form, input: &[u8], mut answering: Answering) -> Played {
    use io::BufRead as _;

    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let node = std::thread::spawn(move || {
        let mut said = Vec::new();
        for line in io::BufReader::new(&theirs).lines() {
            let Ok(line) = line else { break };
            let request: Value = serde_json::from_str(&line).unwrap();
            let (method, params) = (request["method"].as_str().unwrap(), &request["params"]);
            if method == "say" {
                said.push(params["text"].as_str().unwrap().to_owned());
            }
            let Some(mut answer) = answering(method, params) else { break };
            for told in answer["told"].take().as_array().into_iter().flatten() {
                writeln!(&theirs, "{told}").unwrap();
            }
            answer["jsonrpc"] = "2.0".into();
            answer["id"] = request["id"].clone();
            if writeln!(&theirs, "{answer}").is_err() {
                break;
            }
        }
        said
    });
    let (out, talk) = (Sheet::default(), Sheet::default());
    let input = Box::new(io::Cursor::new(input.to_vec()));
    let front = Front::over(form, input, Box::new(out.clone()), Box::new(talk.clone()));
    let ending = Arc::new(Ending::default());
    let config = Config {
        channels: vec![Channel { id: TEAM, name: "team".into(), is_pair: false, is_former: false }],
        linger: Duration::from_millis(300),
        receipts: true,
        is_narrow: false,
    };
    let (ends, console_front) = (Arc::clone(&ending), front.clone());
    actix_rt::System::new().block_on(async move {
        let remote = Remote::over(ours).unwrap();
        let events = read_input(&console_front, Wish::default());
        let exits = Arc::clone(&ends);
        let make = move || {
            let (node, config) = (Node::There(remote.clone()), config.clone());
            Console::new(config, node, console_front.clone(), events.clone(), Arc::clone(&exits))
        };
        let tree = Supervisor::new("stage", Strategy::RestForOne);
        let (stopper, ended) = tree.child(ChildSpec::actor("console", make)).spawn();
        ends.attach(stopper);
        ended.await;
    });
    front.finish();
    let said = node.join().unwrap().into_iter().map(|text| (Some(TEAM), None, text)).collect();
    let (out, talk) = (out.text(), talk.text());
    Played { exit: ending.exit(), out, talk, said, keys: Vec::new() }
}

#[test]
fn a_guest_waits_for_its_own_messages_however_many_others_nobody_has() {
    // What the node names of all is not ours, as ours came last.
    let owed = Arc::new(Mutex::new(Vec::new()));
    let at_node = Arc::clone(&owed);
    let answering = move |method: &str, params: &Value| {
        let mut owed = at_node.lock().unwrap();
        Some(match method {
            "say" => {
                owed.push(params["key"].clone());
                json!({"result": {"id": params["key"]}})
            }
            "undelivered" => {
                let named = params["messages"].as_array().expect("named");
                let still: Vec<_> = named.iter().filter(|id| owed.contains(id)).collect();
                json!({"result": {"count": still.len(), "messages": still}})
            }
            _ => json!({"result": {}}),
        })
    };
    let played = play_attached(Form::Text, b"one\ntwo\n", Box::new(answering));
    assert_eq!(played.exit, Some(Exit::NotDelivered), "{}", played.talk);
    assert!(played.talk.contains("nobody took 2 messages"), "{}", played.talk);

    // Nothing was told of the receipts.
    let answering = |method: &str, params: &Value| match method {
        "say" => Some(json!({"result": {"id": params["key"]}})),
        _ => Some(json!({"result": {"count": 5000, "messages": []}})),
    };
    let played = play_attached(Form::Text, b"one\ntwo\n", Box::new(answering));
    assert_eq!((played.exit, played.talk.as_str()), (Some(Exit::Done), ""));
}

#[test]
fn a_guest_whose_node_ends_while_a_line_is_said_does_not_call_it_not_sent() {
    for form in [Form::Text, Form::Json] {
        let line = say_request(5, "hello").to_string();
        let line = if form == Form::Json { &*line } else { "hello" };
        let answering = |method: &str, _: &Value| (method != "say").then(|| json!({"result": {}}));
        let played = play_attached(form, line.as_bytes(), Box::new(answering));
        assert_eq!((played.texts(), played.exit), (vec!["hello"], Some(Exit::NotDelivered)));
        assert!(!played.talk.contains("not sent"), "{}", played.talk);
        match form {
            Form::Text => assert!(played.talk.contains("it is not known"), "{}", played.talk),
            Form::Json => {
                let answers = played.answers();
                assert_eq!(answers.len(), 1, "{}", played.out);
                assert_eq!(answers[0]["error"]["data"]["lacks"], "answer");
            }
        }
    }
}

impl Handler<bitchat_actors::channel_book::ListRefused> for Neighbour {
    type Result = Vec<bitchat_actors::channel_book::Refused>;

    fn handle(
        &mut self,
        _: bitchat_actors::channel_book::ListRefused,
        _: &mut Self::Context,
    ) -> Self::Result {
        Vec::new()
    }
}

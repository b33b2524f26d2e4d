//! The socket among fake neighbours: who gets an answer, what is bounded, what lies on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use actix::{Addr, Handler, MessageResult};
use bitchat_actors::channel_book::{ChannelBook, ListChannels, Summary};
use bitchat_actors::chat_desk::{ListUndelivered, Owed, Say, SayError, Tell};
use bitchat_actors::contact_book::ContactBook;
use bitchat_actors::dht::{DhtReport, ListDht};
use bitchat_actors::lan_discovery::CountHeard;
use bitchat_actors::mesh_manager::{Completeness, ListMembers, Member, Members};
use bitchat_actors::source::{ListSources, SourceKind, SourceState, SourceStatus};
use bitchat_actors::supervision::Line;
use bitchat_actors::udp_port::{CountDrops, Drops, FindWhereabouts, Whereabouts};
use bitchat_actors::vault::Profile;
use bitchat_protocol::channel::{Kind, Rotation};
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol::lan;
use bitchat_protocol::tracker::announcer::Family;
use bitchat_protocol::whisper;
use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
    DuplexStream,
};

use super::*;
use crate::exit::Exit;
use crate::methods::{
    About, Contacts, Inviting, Joining, Membership, Past, Queries, Saying, nobody,
};
use crate::rpc::Lack;
use serde_json::{Value, json};

/// A node in some channels, each with one tracker and one member.
struct Neighbour {
    channels: Vec<Summary>,
    overhearing: Vec<Recipient<Notice>>,
    /// It never says which channels are open.
    is_mute: bool,
    /// Of the contact book; gone with the node.
    _home: TempDir,
}

impl Actor for Neighbour {
    type Context = Context<Self>;
}

impl Handler<ListChannels> for Neighbour {
    type Result = actix::ResponseFuture<Vec<Summary>>;

    fn handle(&mut self, _: ListChannels, _: &mut Self::Context) -> Self::Result {
        let (channels, is_mute) = (self.channels.clone(), self.is_mute);
        Box::pin(async move {
            if is_mute {
                std::future::pending::<()>().await;
            }
            channels
        })
    }
}

impl Neighbour {
    fn tell(&self, notice: &Notice) {
        self.overhearing.iter().for_each(|listener| listener.do_send(notice.clone()));
    }
}

impl Handler<Overhear> for Neighbour {
    type Result = ();

    fn handle(&mut self, Overhear(listener): Overhear, _: &mut Self::Context) {
        self.overhearing.push(listener);
    }
}

impl Handler<Say> for Neighbour {
    type Result = Result<MessageId, SayError>;

    fn handle(&mut self, say: Say, _: &mut Self::Context) -> Self::Result {
        if say.text == "too much" {
            return Err(whisper::SayError::OutboxFull { waiting: 7 }.into());
        }
        let id = say.id.unwrap_or(MESSAGE);
        let (channel, by, name) = (Some(say.channel), PeerId([3; 32]), "bob".into());
        self.tell(&Notice::Delivered { seq: None, seeder: false, id, channel, by, name });
        Ok(id)
    }
}

impl Handler<Tell> for Neighbour {
    type Result = Result<MessageId, SayError>;

    fn handle(&mut self, tell: Tell, _: &mut Self::Context) -> Self::Result {
        assert_eq!(tell.peer, PeerId([3; 32]));
        Ok(tell.id.unwrap_or(MESSAGE))
    }
}

impl Handler<ListUndelivered> for Neighbour {
    type Result = Owed;

    fn handle(&mut self, asked: ListUndelivered, _: &mut Self::Context) -> Self::Result {
        let mut messages = vec![MESSAGE];
        messages.retain(|id| asked.among.as_ref().is_none_or(|among| among.contains(id)));
        Owed { count: messages.len(), messages }
    }
}

impl Handler<ListMembers> for Neighbour {
    type Result = MessageResult<ListMembers>;

    fn handle(&mut self, _: ListMembers, _: &mut Self::Context) -> Self::Result {
        let member = Member {
            peer: PeerId([3; 32]),
            name: "bob".into(),
            linked: true,
            standing: None,
            address: None,
            rtt: None,
            connected_with: Vec::new(),
            not_connected_with: Vec::new(),
            mesh: Completeness::Full,
        };
        MessageResult(Members { mesh: Completeness::Full, members: vec![member] })
    }
}

impl Handler<ListSources> for Neighbour {
    type Result = MessageResult<ListSources>;

    fn handle(&mut self, _: ListSources, _: &mut Self::Context) -> Self::Result {
        let now = bitchat_actors::clock::now();
        let status = |channel: ChannelId| SourceStatus {
            channel,
            kind: SourceKind::Tracker,
            place: "udp://127.0.0.1:1".into(),
            family: Some(Family::V4),
            infohash: None,
            state: SourceState::Fails,
            last_answer: None,
            last_announce: None,
            next_try: Some(now + Duration::from_secs(60)),
            peers_found: 0,
            nodes: None,
            heard: None,
            failures: 2,
            last_error: Some("it did not answer in time".into()),
            warning: None,
        };
        MessageResult(self.channels.iter().map(|it| status(it.id)).collect())
    }
}

impl Handler<ListDht> for Neighbour {
    type Result = MessageResult<ListDht>;

    fn handle(&mut self, _: ListDht, _: &mut Self::Context) -> Self::Result {
        MessageResult(DhtReport { nodes: Vec::new(), dropped: 5 })
    }
}

impl Handler<CountHeard> for Neighbour {
    type Result = MessageResult<CountHeard>;

    fn handle(&mut self, _: CountHeard, _: &mut Self::Context) -> Self::Result {
        MessageResult(lan::Counters {
            from_afar: 1,
            too_many: 2,
            malformed: 3,
            held_back: 4,
            own: 9,
            ..lan::Counters::default()
        })
    }
}

impl Handler<FindWhereabouts> for Neighbour {
    type Result = MessageResult<FindWhereabouts>;

    fn handle(&mut self, _: FindWhereabouts, _: &mut Self::Context) -> Self::Result {
        let at = |by: u8| (PeerId([by; 32]), "9.9.9.9:7".parse().unwrap());
        MessageResult(Whereabouts {
            listening: vec!["0.0.0.0:4000".parse().unwrap()],
            observed: vec![at(1), at(2)],
            clock: Some((3, Instant::now())),
            ..Whereabouts::default()
        })
    }
}

impl Handler<CountDrops> for Neighbour {
    type Result = MessageResult<CountDrops>;

    fn handle(&mut self, _: CountDrops, _: &mut Self::Context) -> Self::Result {
        MessageResult(Drops { unknown: 7, ..Drops::default() })
    }
}

const MESSAGE: MessageId = MessageId([8; 16]);
const TEAM: ChannelId = ChannelId([1; 32]);
const OTHER: ChannelId = ChannelId([2; 32]);

fn opened(id: ChannelId, name: &str) -> Summary {
    Summary {
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
        is_open: true,
    }
}

fn offices(is_mute: bool) -> Offices {
    let channels = vec![opened(TEAM, "team"), opened(OTHER, "other")];
    let home = tempfile::tempdir().unwrap();
    let profile = Profile::create(home.path(), "default", None, None).unwrap();
    let node: Addr<Neighbour> =
        Neighbour { channels, overhearing: Vec::new(), is_mute, _home: home }.start();
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
        members: node.clone().recipient(),
        sources: vec![Line::to(node.clone().recipient())],
        dht: Line::to(node.clone().recipient()),
        lan: Line::to(node.clone().recipient()),
        whereabouts: node.clone().recipient(),
        drops: node.clone().recipient(),
        refused: node.clone().recipient(),
    };
    let saying = Saying {
        say: node.clone().recipient(),
        tell: node.clone().recipient(),
        undelivered: node.clone().recipient(),
    };
    let book = ContactBook::open(&profile).unwrap().start();
    let channel_book = ChannelBook::open(&profile).unwrap().start();
    let contacts = Contacts::of(PeerId([9; 32]), &book);
    let methods = Methods {
        past: Past::to_nobody(),
        queries,
        saying,
        joining: Joining::of(&channel_book, &[]).listed_by(node.clone().recipient()),
        inviting: Inviting::of(PeerId([9; 32]), &nobody::start(), &[]),
        contacts,
        membership: Membership { remove: channel_book.recipient() },
    };
    Offices { methods, notices: node.recipient() }
}

/// A client on a wire that holds so many bytes on their way, and when the node has left it.
fn client(
    wire_bytes: usize,
    is_mute: bool,
) -> (BufReader<DuplexStream>, tokio::task::JoinHandle<()>) {
    let (client, left, _) = client_in_audience(wire_bytes, is_mute);
    (client, left)
}

/// The same, with those who are told what happens.
fn client_in_audience(
    wire_bytes: usize,
    is_mute: bool,
) -> (BufReader<DuplexStream>, tokio::task::JoinHandle<()>, Rc<RefCell<Audience>>) {
    let (ours, theirs) = tokio::io::duplex(wire_bytes);
    let audience = Rc::<RefCell<Audience>>::default();
    let client = Client::new(offices(is_mute).methods, Rc::clone(&audience));
    (BufReader::new(ours), actix_rt::spawn(client.serve(theirs)), audience)
}

fn request(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string() + "\n"
}

async fn write(to: &mut (impl AsyncWrite + Unpin), text: &str) {
    to.write_all(text.as_bytes()).await.unwrap();
}

async fn answer(from: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Value {
    let mut line = String::new();
    from.read_line(&mut line).await.unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

#[actix::test]
async fn a_status_has_the_node_its_channels_their_sources_and_what_was_dropped() {
    let (mut client, _) = client(1 << 20, false);
    write(&mut client, &request(1, "status", &json!({}))).await;
    let status = &answer(&mut client).await["result"];
    assert_eq!((&status["port"], &status["name"]), (&json!(4000), &json!("me")));
    assert_eq!(status["observed"][0]["by"].as_array().map(Vec::len), Some(2));
    assert_eq!(status["clock"]["minutes_ahead"], 3);
    assert_eq!(status["channels"].as_array().map(Vec::len), Some(2));
    let channel = &status["channels"][0];
    assert_eq!((&channel["linked"], &channel["members"]), (&json!(1), &json!(1)));
    let source = &channel["sources"][0];
    assert_eq!(source["state"], "fails");
    assert_eq!(source["last_error"], "it did not answer in time");
    assert!(source["next_try_in_ms"].as_u64().is_some_and(|ms| (59_000..=60_000).contains(&ms)));
    let dropped = status["dropped"].as_array().unwrap();
    assert!(dropped.iter().any(|it| it["what"] == "unknown" && it["count"] == 7), "{dropped:?}");
    assert!(dropped.iter().any(|it| it["what"] == "dht" && it["count"] == 5), "{dropped:?}");
    for (what, count) in
        [("lan_from_afar", 1), ("lan_too_many", 2), ("lan_malformed", 3), ("lan_held_back", 4)]
    {
        let is_it = |it: &Value| it["what"] == what && it["count"] == count;
        assert!(dropped.iter().any(is_it), "{what}: {dropped:?}");
    }

    write(&mut client, &request(2, "status", &json!({"channel": "other"}))).await;
    let status = &answer(&mut client).await["result"];
    assert_eq!(status["channels"].as_array().map(Vec::len), Some(1));
    assert_eq!(status["channels"][0]["name"], "other");
}

#[actix::test]
async fn what_makes_no_sense_is_refused_and_the_next_request_is_served() {
    let (mut client, _) = client(1 << 20, false);
    let long = "x".repeat(crate::lines::LINE_BYTES_MAX + 1) + "\n";
    let cases = [
        ("{\n", -32700),
        ("\x00\x01garbage\n", -32700),
        (&long, -32700),
        ("[]\n", -32600),
        (&request(1, "stats", &json!({})), -32601),
        (&request(2, "peers", &json!({})), -32602),
        (&request(3, "peers", &json!({"channel": "nowhere"})), -32602),
        (&request(4, "status", &json!({"channel": 4})), -32602),
    ];
    for (line, code) in cases {
        write(&mut client, line).await;
        assert_eq!(answer(&mut client).await["error"]["code"], code, "{line:.60}");
    }
    client.write_all(b"\xff\xfe\n").await.unwrap();
    assert_eq!(answer(&mut client).await["error"]["code"], -32700);
    write(&mut client, &request(5, "peers", &json!({"channel": "team"}))).await;
    assert_eq!(answer(&mut client).await["result"]["members"][0]["name"], "bob");
    write(&mut client, &request(6, "help", &json!({}))).await;
    assert!(answer(&mut client).await["result"]["methods"].to_string().contains("status"));
}

fn heard(channel: Option<ChannelId>, text: impl Into<String>) -> Notice {
    let (from, name, text) = (PeerId([3; 32]), "bob".into(), text.into());
    Notice::Heard { seq: None, own: false, channel, from, name, id: MESSAGE, unix_ms: 5, text }
}

#[actix::test]
async fn a_client_says_things_and_is_told_why_it_cannot() {
    let (mut client, _) = client(1 << 20, false);
    let key = "00112233445566778899aabbccddeeff";
    let say = json!({"channel": "team", "text": "x", "key": key});
    write(&mut client, &request(1, "say", &say)).await;
    assert_eq!(answer(&mut client).await["result"], json!({"id": key}));
    write(&mut client, &request(2, "tell", &json!({"to": "bob", "text": "x"}))).await;
    assert_eq!(answer(&mut client).await["result"], json!({"id": MESSAGE.to_string()}));
    write(&mut client, &request(3, "undelivered", &json!({}))).await;
    let owed = json!({"count": 1, "messages": [MESSAGE.to_string()]});
    assert_eq!(answer(&mut client).await["result"], owed);
    for (among, count) in [(json!([key]), 0), (json!([key, MESSAGE.to_string()]), 1)] {
        write(&mut client, &request(3, "undelivered", &json!({"messages": among}))).await;
        assert_eq!(answer(&mut client).await["result"]["count"], count);
    }
    for wrong in [json!(key), json!(["x"]), json!(vec![key; 1025])] {
        write(&mut client, &request(3, "undelivered", &json!({"messages": wrong}))).await;
        assert_eq!(answer(&mut client).await["error"]["code"], -32602);
    }

    write(&mut client, &request(4, "say", &json!({"channel": "team", "text": "too much"}))).await;
    let full = answer(&mut client).await;
    let data = json!({"exit": 5, "lacks": "room", "waiting": 7});
    assert_eq!((&full["error"]["code"], &full["error"]["data"]), (&json!(-32000), &data));
    write(&mut client, &request(5, "tell", &json!({"to": "nobody", "text": "x"}))).await;
    assert_eq!(answer(&mut client).await["error"]["data"]["lacks"], "person");
    write(&mut client, &request(6, "say", &json!({"text": "where?"}))).await;
    assert_eq!(answer(&mut client).await["error"]["code"], -32602);
    write(&mut client, &request(7, "quit", &json!({}))).await;
    assert_eq!(answer(&mut client).await["error"]["code"], -32601, "it is not its node");
}

#[actix::test]
async fn who_subscribes_is_told_what_it_wishes_and_the_others_are_told_nothing() {
    let (mut client, _, audience) = client_in_audience(1 << 20, false);
    audience.borrow_mut().tell(heard(Some(TEAM), "too early"));
    write(&mut client, &request(1, "subscribe", &json!({"channels": ["team"]}))).await;
    let subscribed = json!({"n": 0, "channels": [TEAM.to_string()]});
    assert_eq!(answer(&mut client).await["result"], subscribed);
    for (channel, text) in [(Some(TEAM), "one"), (Some(OTHER), "elsewhere"), (None, "two")] {
        audience.borrow_mut().tell(heard(channel, text));
    }
    for (seq, text) in [(1, "one"), (2, "two")] {
        let told = answer(&mut client).await;
        assert_eq!(told["method"], "message");
        assert_eq!((&told["params"]["n"], &told["params"]["text"]), (&json!(seq), &json!(text)));
    }
    // Another wish takes the place of the first, and the numbers go on.
    write(&mut client, &request(2, "subscribe", &json!({"channels": ["other"]}))).await;
    assert_eq!(answer(&mut client).await["result"]["n"], 2);
    audience.borrow_mut().tell(heard(Some(TEAM), "no more"));
    audience.borrow_mut().tell(heard(Some(OTHER), "three"));
    let told = answer(&mut client).await;
    assert_eq!((&told["params"]["n"], &told["params"]["text"]), (&json!(3), &json!("three")));
    write(&mut client, &request(3, "subscribe", &json!({"channels": ["nowhere"]}))).await;
    assert_eq!(answer(&mut client).await["error"]["code"], -32602);
}

#[actix::test]
async fn a_slow_client_sees_a_gap_and_one_that_takes_nothing_is_left() {
    tokio::time::pause();
    let (mut client, left, audience) = client_in_audience(1024, false);
    write(&mut client, &request(1, "subscribe", &json!({}))).await;
    answer(&mut client).await;
    let all = audience::QUEUE_MAX as u64 + 50;
    for n in 0..all {
        audience.borrow_mut().tell(heard(None, n.to_string()));
    }
    let mut seqs = Vec::new();
    for _ in 0..audience::QUEUE_MAX {
        seqs.push(answer(&mut client).await["params"]["n"].as_u64().unwrap());
    }
    assert!(seqs.is_sorted_by(|one, other| one + 1 == *other), "{seqs:?}");
    audience.borrow_mut().tell(heard(None, "after"));
    let after = answer(&mut client).await;
    assert_eq!(after["params"]["n"], all + 1, "{after}");

    // It takes nothing any more.
    for _ in 0..100 {
        audience.borrow_mut().tell(heard(None, "x".repeat(1000)));
    }
    let begin = tokio::time::Instant::now();
    left.await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), client::TAKE_TIMEOUT.as_secs());
    audience.borrow_mut().tell(heard(None, "nobody"));
    assert!(audience.borrow().is_empty(), "and is not counted any more");
}

#[actix::test]
async fn who_has_subscribed_may_be_silent() {
    tokio::time::pause();
    let (mut client, left, audience) = client_in_audience(1 << 20, false);
    write(&mut client, &request(1, "subscribe", &json!({}))).await;
    answer(&mut client).await;
    tokio::time::sleep(client::LINE_TIMEOUT * 3).await;
    audience.borrow_mut().tell(heard(None, "still there"));
    assert_eq!(answer(&mut client).await["params"]["text"], "still there");
    // Half a line is not lost by what is told meanwhile.
    let line = request(2, "help", &json!({}));
    let (one, other) = line.split_at(20);
    write(&mut client, one).await;
    tokio::task::yield_now().await;
    audience.borrow_mut().tell(heard(None, "between"));
    assert_eq!(answer(&mut client).await["params"]["text"], "between");
    write(&mut client, other).await;
    assert_eq!(answer(&mut client).await["id"], 2);
    drop(client);
    left.await.unwrap();
}

#[actix::test]
async fn notices_of_the_chat_desk_reach_every_client_over_the_socket() {
    let (dir, place) = profile();
    let _control = start(&place).await;
    let mut clients = [connect(dir.path()).await, connect(dir.path()).await];
    for client in &mut clients {
        write(client, &request(1, "subscribe", &json!({}))).await;
        assert_eq!(answer(client).await["result"]["n"], 0);
    }
    write(&mut clients[0], &request(2, "say", &json!({"channel": "team", "text": "x"}))).await;
    for client in &mut clients {
        let mut told = answer(client).await;
        if told["id"] == 2 {
            told = answer(client).await;
        }
        assert_eq!(told["method"], "delivered", "{told}");
    }
}

#[actix::test]
async fn half_lines_become_whole_and_answers_keep_the_order_of_the_requests() {
    let (mut client, _) = client(1 << 20, false);
    let both = request(1, "channels", &json!({})) + &request(2, "help", &json!({}));
    let (one, other) = both.split_at(30);
    write(&mut client, one).await;
    tokio::task::yield_now().await;
    write(&mut client, other).await;
    assert_eq!(answer(&mut client).await["id"], 1);
    assert_eq!(answer(&mut client).await["id"], 2);
}

#[actix::test]
async fn who_asks_and_takes_nothing_is_left() {
    tokio::time::pause();
    let (mut client, left) = client(64, false);
    let begin = tokio::time::Instant::now();
    write(&mut client, &request(1, "help", &json!({}))).await;
    left.await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), client::TAKE_TIMEOUT.as_secs());
}

#[actix::test]
async fn who_says_nothing_whole_is_left() {
    tokio::time::pause();
    let (mut client, left) = client(1 << 20, false);
    let begin = tokio::time::Instant::now();
    for _ in 0..9 {
        // Not quite silent.
        write(&mut client, "x").await;
        tokio::time::sleep(client::LINE_TIMEOUT / 10).await;
    }
    left.await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), client::LINE_TIMEOUT.as_secs());
}

#[actix::test]
async fn a_node_that_is_busy_says_so() {
    tokio::time::pause();
    let (mut client, _) = client(1 << 20, true);
    write(&mut client, &request(1, "status", &json!({}))).await;
    let answer = answer(&mut client).await;
    assert_eq!(answer["error"]["code"], -32000);
    assert!(answer["error"]["message"].to_string().contains("busy"), "{answer}");
    assert_eq!(answer["error"]["data"]["lacks"], "answer", "it may be done");
}

/// A profile's directory with a control actor in it.
fn profile() -> (TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::choose(dir.path(), None);
    (dir, place)
}

async fn stop(control: Addr<Control>) {
    control.do_send(Stop);
    while control.connected() {
        tokio::task::yield_now().await;
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Control {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}

async fn connect(dir: &Path) -> BufReader<UnixStream> {
    let path = Place::of_node(dir).expect("a socket");
    BufReader::new(UnixStream::connect(path).await.unwrap())
}

/// Starts it and waits until it has begun.
async fn start(place: &Place) -> Addr<Control> {
    let control = Control::new(place.clone(), offices(false)).start();
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    control
}

#[actix::test]
async fn two_clients_are_served_and_one_too_many_is_sent_away() {
    let (dir, place) = profile();
    let _control = start(&place).await;
    let mut clients = Vec::new();
    for id in 0..CLIENTS_MAX as u64 {
        let mut client = connect(dir.path()).await;
        write(&mut client, &request(id, "help", &json!({}))).await;
        assert_eq!(answer(&mut client).await["id"], id);
        clients.push(client);
    }
    let mut late = connect(dir.path()).await;
    assert!(answer(&mut late).await["error"]["message"].to_string().contains("too many"));
    assert_eq!(late.read_to_end(&mut Vec::new()).await.unwrap(), 0, "and the connection is closed");
    let mut first = clients.remove(0);
    write(&mut first, &request(99, "help", &json!({}))).await;
    assert_eq!(answer(&mut first).await["id"], 99, "the others are served all the while");
    drop(first);
    // There is room again as soon as the node has seen that one is gone.
    let id = loop {
        let mut next = connect(dir.path()).await;
        // One that is sent away may be gone before it has asked.
        let _ = next.write_all(request(7, "help", &json!({})).as_bytes()).await;
        let answer = answer(&mut next).await;
        if answer["error"].is_null() {
            break answer["id"].clone();
        }
    };
    assert_eq!(id, 7);
}

#[actix::test]
async fn the_socket_is_for_its_owner_replaces_a_stale_one_and_goes_with_the_node() {
    let (dir, place) = profile();
    let path = dir.path().join("control");
    // What is left of a node that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert_eq!(ask(dir.path(), "help", &json!({})), Asked::Nobody);
    let control = start(&place).await;
    let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = connect(dir.path()).await;
    write(&mut client, &request(1, "help", &json!({}))).await;
    answer(&mut client).await;
    stop(control).await;
    assert!(!path.exists());
    assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert_eq!(ask(dir.path(), "help", &json!({})), Asked::Nobody);
}

#[actix::test]
async fn a_private_runtime_directory_holds_the_socket_and_the_profile_leads_there() {
    let (dir, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::set_permissions(runtime.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let place = Place::choose(dir.path(), Some(runtime.path()));
    assert_ne!(place, Place::choose(runtime.path(), Some(runtime.path())), "one for each profile");
    let control = start(&place).await;
    assert_eq!(std::fs::read_dir(runtime.path().join("bitchat")).unwrap().count(), 1);
    let mut client = connect(dir.path()).await;
    write(&mut client, &request(1, "help", &json!({}))).await;
    assert_eq!(answer(&mut client).await["id"], 1);
    stop(control).await;
    assert_eq!(std::fs::read_dir(runtime.path().join("bitchat")).unwrap().count(), 0);
    assert_eq!(Place::of_node(dir.path()), None);
}

#[test]
fn a_runtime_directory_that_others_can_open_is_not_used() {
    let (dir, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let in_profile = Place::choose(dir.path(), None);
    let open = |mode| {
        std::fs::set_permissions(runtime.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(0o755);
    let choose = |runtime| {
        // Who we are is asked of a socket, which wants a reactor.
        actix_rt::System::new().block_on(async { Place::choose(dir.path(), Some(runtime)) })
    };
    assert_eq!(choose(runtime.path()), in_profile);
    open(0o700);
    assert_ne!(choose(runtime.path()), in_profile);
    std::fs::remove_dir(runtime.path().join("bitchat")).unwrap();
    std::os::unix::fs::symlink("/tmp", runtime.path().join("bitchat")).unwrap();
    assert_eq!(choose(runtime.path()), in_profile, "a link may lead to where others are");
    assert_eq!(choose(Path::new("relative")), in_profile);
}

#[actix::test]
async fn what_is_no_socket_is_left_alone_and_a_long_path_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::choose(dir.path(), None);
    std::fs::write(dir.path().join("control"), "mine").unwrap();
    let error = Socket::bind(&place).unwrap_err();
    assert!(error.contains("is no socket: move it away"), "{error}");
    assert_eq!(std::fs::read(dir.path().join("control")).unwrap(), b"mine");
    let control = start(&place).await;
    assert!(control.connected(), "a node does without");

    let long = dir.path().join("x".repeat(120));
    let error = Socket::bind(&Place::choose(&long, None)).unwrap_err();
    assert!(error.contains("longer than the system allows"), "{error}");
    assert!(error.contains("XDG_RUNTIME_DIR") && error.contains("--data-dir"), "{error}");
}

/// The other side of a connection to a node, and when the node has left it.
fn remote() -> (Remote, tokio::task::JoinHandle<()>, Rc<RefCell<Audience>>) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let audience = Rc::<RefCell<Audience>>::default();
    let client = Client::new(offices(false).methods, Rc::clone(&audience));
    let left = actix_rt::spawn(client.serve(UnixStream::from_std(theirs).unwrap()));
    (Remote::over(ours).unwrap(), left, audience)
}

#[actix::test]
async fn a_guest_is_answered_and_told_until_the_node_ends() {
    let (remote, node, audience) = remote();
    let subscribed = remote.call_alone("subscribe", json!({"channels": ["team"]})).await;
    assert_eq!(subscribed, Ok(json!({"n": 0, "channels": [TEAM.to_string()]})));
    // Each gets its own answer, whoever asked first.
    let (peers, full) = futures_util::join!(
        remote.call_alone("peers", json!({"channel": "team"})),
        remote.call_alone("say", json!({"channel": "team", "text": "too much"})),
    );
    assert_eq!(peers.unwrap()["members"][0]["name"], "bob");
    let full = full.unwrap_err();
    assert_eq!((full.exit, full.lacks), (Exit::Limit, Some(Lack::Room { waiting: 7 })));
    audience.borrow_mut().tell(heard(Some(OTHER), "elsewhere"));
    audience.borrow_mut().tell(heard(Some(TEAM), "here"));
    assert_eq!(remote.told().await, Some((heard(Some(TEAM), "here"), 1)));
    // What happened before an answer is told before it.
    audience.borrow_mut().tell(heard(None, "before"));
    let mut help = Box::pin(remote.call("help", json!({})));
    tokio::select! {
        _ = &mut help => panic!("answered before what happened was told"),
        told = remote.told() => assert_eq!(told, Some((heard(None, "before"), 2))),
    }
    drop(help);
    node.abort();
    assert_eq!(remote.told().await, None);
    let gone = remote.call_alone("peers", json!({"channel": "team"})).await.unwrap_err();
    assert_eq!(gone.text, "the node has ended");
}

#[actix::test]
async fn a_guest_that_takes_nothing_is_told_of_the_gap_and_answered_again_later() {
    let (remote, _node, audience) = remote();
    remote.call_alone("subscribe", json!({})).await.unwrap();
    let text = "x".repeat(10_000);
    for _ in 0..100 {
        for _ in 0..20 {
            audience.borrow_mut().tell(heard(None, text.clone()));
        }
        tokio::task::yield_now().await;
    }
    let mut seqs = Vec::new();
    while seqs.last() != Some(&2000) {
        if seqs.len() >= 300 {
            audience.borrow_mut().tell(heard(None, "after"));
        }
        let (_, seq) = remote.told().await.unwrap();
        seqs.push(seq);
        if seq > 2000 {
            break;
        }
    }
    assert!(seqs.is_sorted_by(|one, other| one < other), "{seqs:?}");
    assert!(seqs.len() < 2000, "all of it was held");
    assert!(remote.call_alone("help", json!({})).await.is_ok());
}

#[actix::test]
async fn what_is_no_node_at_the_other_end_is_left() {
    for said in [&b"garbage\n"[..], b"\xff\n", b"{\"id\": 1", b"[]\n7\n\n"] {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let remote = Remote::over(ours).unwrap();
        std::io::Write::write_all(&mut theirs, said).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(remote.told().await, None);
        assert!(remote.call_alone("help", json!({})).await.is_err());
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

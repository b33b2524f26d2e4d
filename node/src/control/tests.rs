//! The socket among fake neighbours: who gets an answer, what is bounded, what lies on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use actix::{Addr, Handler, MessageResult};
use bitchat_actors::channel_book::OpenedChannel;
use bitchat_actors::dht::{DhtReport, ListDht};
use bitchat_actors::mesh_manager::{Completeness, ListMembers, Member, Members};
use bitchat_actors::source::{ListSources, SourceKind, SourceState, SourceStatus};
use bitchat_actors::supervision::Line;
use bitchat_actors::udp_port::{CountDrops, Drops, FindWhereabouts, Whereabouts};
use bitchat_protocol::channel::{ChannelKeys, ChannelSecret, Rotation};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::tracker::announcer::Family;
use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
    DuplexStream,
};

use super::*;
use crate::queries::About;

/// A node in some channels, each with one tracker and one member.
struct Neighbour {
    channels: Vec<Arc<OpenedChannel>>,
    /// It never says which channels are open.
    is_mute: bool,
}

impl Actor for Neighbour {
    type Context = Context<Self>;
}

impl Handler<ListOpen> for Neighbour {
    type Result = actix::ResponseFuture<Vec<Arc<OpenedChannel>>>;

    fn handle(&mut self, _: ListOpen, _: &mut Self::Context) -> Self::Result {
        let (channels, is_mute) = (self.channels.clone(), self.is_mute);
        Box::pin(async move {
            if is_mute {
                std::future::pending::<()>().await;
            }
            channels
        })
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
        MessageResult(self.channels.iter().map(|it| status(it.keys.id())).collect())
    }
}

impl Handler<ListDht> for Neighbour {
    type Result = MessageResult<ListDht>;

    fn handle(&mut self, _: ListDht, _: &mut Self::Context) -> Self::Result {
        MessageResult(DhtReport { nodes: Vec::new(), dropped: 5 })
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

fn opened(name: &str, seed: u8) -> Arc<OpenedChannel> {
    let secret = ChannelSecret::generate(&mut Rng::from_seed([seed; 32]));
    Arc::new(OpenedChannel {
        nodes: Vec::new(),
        kind: bitchat_protocol::channel::Kind::Open,
        only: None,
        door: None,
        name: name.into(),
        keys: ChannelKeys::member(secret),
        trackers: Vec::new(),
        rotation: Rotation::Fixed,
        last_known: Vec::new(),
    })
}

fn desk(is_mute: bool) -> Desk {
    let channels = vec![opened("team", 1), opened("other", 2)];
    let node: Addr<Neighbour> = Neighbour { channels, is_mute }.start();
    let about = About {
        peer: PeerId([9; 32]),
        name: "me".into(),
        profile: "default".into(),
        directory: "/nowhere".into(),
        started: bitchat_actors::clock::now(),
    };
    let queries = Queries {
        about: Arc::new(about),
        members: node.clone().recipient(),
        sources: vec![Line::to(node.clone().recipient())],
        dht: Line::to(node.clone().recipient()),
        whereabouts: node.clone().recipient(),
        drops: node.clone().recipient(),
        refused: node.clone().recipient(),
        invitations: crate::invitations::Invitations {
            invite: node.clone().recipient(),
            contacts: node.clone().recipient(),
        },
    };
    Desk { queries, open: node.recipient() }
}

/// A client on a wire that holds so many bytes on their way, and when the node has left it.
fn client(
    wire_bytes: usize,
    is_mute: bool,
) -> (BufReader<DuplexStream>, tokio::task::JoinHandle<()>) {
    let (ours, theirs) = tokio::io::duplex(wire_bytes);
    let desk = desk(is_mute);
    let talk = client::serve(theirs, move |line| desk.clone().on_line(line));
    (BufReader::new(ours), actix_rt::spawn(talk))
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
    assert_eq!(answer["error"]["code"], REFUSED);
    assert!(answer["error"]["message"].to_string().contains("busy"), "{answer}");
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
    let control = Control::new(place.clone(), desk(false)).start();
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

impl Handler<bitchat_actors::channel_book::InvitePeer> for Neighbour {
    type Result = MessageResult<bitchat_actors::channel_book::InvitePeer>;

    fn handle(
        &mut self,
        _: bitchat_actors::channel_book::InvitePeer,
        _: &mut Self::Context,
    ) -> Self::Result {
        let error = bitchat_actors::channel_book::ChannelError::NotClosed("team".into());
        MessageResult(Err(error))
    }
}

impl Handler<bitchat_actors::contact_book::FindContact> for Neighbour {
    type Result =
        Result<bitchat_protocol::contact::Contact, bitchat_protocol::contact::ContactError>;

    fn handle(
        &mut self,
        find: bitchat_actors::contact_book::FindContact,
        _: &mut Self::Context,
    ) -> Self::Result {
        Err(bitchat_protocol::contact::ContactError::NotFound(find.text))
    }
}

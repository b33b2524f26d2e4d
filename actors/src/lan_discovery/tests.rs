//! The actor on the real groups, on the loopback interface alone, with a mesh manager that the tests
//! play. Each test has an infohash of its own, as all of them hear each other.

use actix::Addr;
use bitchat_protocol::id::{ChannelId, InfoHash};
use bitchat_protocol::lan::message::decode;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

const CHANNEL: ChannelId = ChannelId([1; 32]);

/// What reached the mesh manager.
#[derive(Debug)]
enum Seen {
    Introduced(Place),
    Found(PeersDiscovered),
}

struct Mesh {
    seen: UnboundedSender<Seen>,
}

impl Actor for Mesh {
    type Context = Context<Self>;
}

impl Handler<discovery::Subscribe> for Mesh {
    type Result = ();

    fn handle(&mut self, office: discovery::Subscribe, _: &mut Self::Context) {
        self.seen.send(Seen::Introduced(office.place)).unwrap();
    }
}

impl Handler<PeersDiscovered> for Mesh {
    type Result = ();

    fn handle(&mut self, found: PeersDiscovered, _: &mut Self::Context) {
        self.seen.send(Seen::Found(found)).unwrap();
    }
}

struct Node {
    lan: Addr<LanDiscovery>,
    seen: UnboundedReceiver<Seen>,
}

impl Node {
    async fn start(interfaces: &[&str]) -> Self {
        let (seen, mut events) = unbounded_channel();
        let mesh = Mesh { seen }.start();
        let neighbours = Neighbours { peers: mesh.clone().recipient(), mesh: mesh.recipient() };
        let interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
        let config = Config { interfaces, ..Config::default() };
        let lan = LanDiscovery::new(config, neighbours).start();
        assert!(matches!(events.recv().await, Some(Seen::Introduced(Place::Lan))));
        Self { lan, seen: events }
    }

    async fn announce(&self, infohash: InfoHash, port: u16) {
        let (tiers, nodes) = (Vec::new(), Vec::new());
        let announce = Announce { channel: CHANNEL, infohash, tiers, nodes, port };
        self.lan.send(announce).await.unwrap();
    }

    async fn found(&mut self) -> PeersDiscovered {
        let seen = self.seen.recv().await.unwrap();
        let Seen::Found(found) = seen else { panic!("{seen:?}") };
        found
    }
}

/// The names of the loopback interface: `lo`, or `lo0` elsewhere.
const LOOPBACK: [&str; 2] = ["lo", "lo0"];

fn fresh_infohash() -> InfoHash {
    let seed = entropy::seed();
    InfoHash(seed[..20].try_into().unwrap())
}

#[actix::test]
async fn two_on_one_host_hear_each_other() {
    let infohash = fresh_infohash();
    let mut first = Node::start(&LOOPBACK).await;
    first.announce(infohash, 4001).await;
    let second = Node::start(&LOOPBACK).await;
    second.announce(infohash, 4002).await;
    let found = first.found().await;
    assert_eq!((found.channel, found.source), (CHANNEL, Source::Lan));
    assert_eq!(found.peers, ["127.0.0.1:4002".parse().unwrap()]);
    let row = first.lan.send(ListSources).await.unwrap().remove(0);
    assert_eq!((row.state, row.peers_found), (SourceState::Works, 1), "{row:?}");
    assert!(row.last_answer.is_some() && row.last_announce.is_some() && row.next_try.is_some());
    let heard = first.lan.send(CountHeard).await.unwrap();
    assert_eq!(heard.found, 1);
    assert!(heard.own >= 1, "its own announce came back: {heard:?}");
}

#[test]
fn a_neighbour_heard_long_ago_says_nothing_of_now() {
    let now = clock::now() + Duration::from_secs(24 * 3600);
    let heard = |ago| lan::Status {
        channel: CHANNEL,
        infohash: InfoHash([1; 20]),
        last_announce: Some(now),
        next_announce: None,
        last_heard: Some(now - Duration::from_secs(ago)),
        heard: 1,
        peers_found: 0,
    };
    assert_eq!(state(false, &heard(301), now), SourceState::Works);
    assert_eq!(state(false, &heard(601), now), SourceState::Announced);
    assert_eq!(state(true, &heard(1), now), SourceState::Fails);
}

#[actix::test]
async fn a_bittorrent_client_hears_us_and_we_hear_it() {
    let infohash = fresh_infohash();
    // Opened as BitTorrent clients open theirs, beside ours.
    let lo = interfaces();
    let mut client = Group::open(Family::V4, 1).unwrap();
    assert!(client.join(&lo).is_empty());
    let mut node = Node::start(&LOOPBACK).await;
    node.announce(infohash, 4003).await;
    loop {
        let (_, bytes) = std::future::poll_fn(|task| client.poll_read(task)).await.unwrap();
        let search = decode(&bytes).unwrap();
        if search.infohashes == [infohash] {
            assert_eq!(search.port, 4003);
            break;
        }
    }
    let hash: String = infohash.to_string().to_uppercase();
    let text = format!("BT-SEARCH * HTTP/1.1\r\nPort: 51413\r\nInfohash: {hash}\r\n\r\n\r\n");
    client.send(&lo[0], text.as_bytes()).unwrap();
    assert_eq!(node.found().await.peers, ["127.0.0.1:51413".parse().unwrap()]);
}

fn interfaces() -> Vec<Interface> {
    let all = group::interfaces(&LOOPBACK.map(str::to_owned)).unwrap();
    all.into_iter().filter(|interface| interface.address.is_ipv4()).collect()
}

#[actix::test]
async fn what_is_withdrawn_is_heard_no_more() {
    let (kept, left) = (fresh_infohash(), fresh_infohash());
    let mut node = Node::start(&LOOPBACK).await;
    node.announce(kept, 4004).await;
    node.announce(left, 4004).await;
    node.lan.send(Withdraw { channel: CHANNEL, infohash: Some(left) }).await.unwrap();
    let other = Node::start(&LOOPBACK).await;
    other.announce(left, 4005).await;
    other.announce(kept, 4006).await;
    assert_eq!(node.found().await.peers, ["127.0.0.1:4006".parse().unwrap()]);
}

#[actix::test]
async fn without_any_interface_it_lives_on() {
    let node = Node::start(&["there is none"]).await;
    node.announce(fresh_infohash(), 4007).await;
    node.lan.send(ViewChanged { channel: CHANNEL, view: Completeness::None }).await.unwrap();
    let heard = node.lan.send(CountHeard).await.unwrap();
    assert_eq!((heard.own, heard.found), (0, 0));
    let row = node.lan.send(ListSources).await.unwrap().remove(0);
    assert_eq!((row.state, row.next_try), (SourceState::Fails, None));
    assert_eq!(row.last_error.unwrap(), "this machine has no address on a network that is used");
}

#[actix::test]
async fn a_group_is_joined_once_for_each_interface_and_left_with_it() {
    let lo = interfaces();
    let mut group = Group::open(Family::V4, 1).unwrap();
    assert!(group.join(&lo).is_empty());
    assert!(group.join(&lo).is_empty(), "already there");
    assert!(group.join(&[]).is_empty());
    assert!(group.join(&lo).is_empty(), "and again");
    let gone = Interface { index: 999, address: [198, 51, 100, 7].into(), prefix_bits: 24 };
    let failures = group.join(&[lo[0], gone]);
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].0, gone);
}

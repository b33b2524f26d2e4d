//! Members find each other in a DHT of real libtorrent nodes, and in nothing else.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bitchat_integration_tests::mainline::Mainline;
use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::free_port;
use serde_json::Value;

use crate::scene::{PROGRAM, must_have_links, must_talk};

/// Nodes of the DHT: more than the eight that an announce goes to.
pub(crate) const NODES: usize = 12;

/// From the start of a node to its announce, and from that of another to their link.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

/// For one look-up of libtorrent's, which may begin before our node is there.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(1);

/// A home that may use nothing but the DHT, and the port it is reached at.
pub(crate) struct Member {
    pub(crate) home: Home,
    pub(crate) address: SocketAddr,
}

impl Member {
    /// One that starts from `routers`, separated by commas.
    pub(crate) fn new(routers: &str) -> Self {
        let port = free_port().expect("a free port");
        let mut home = Home::new(PROGRAM);
        for (key, value) in [
            ("dht.enabled", "true"),
            ("dht.routers", routers),
            ("trackers.enabled", "false"),
            ("trackers.default", ""),
            ("network.listen_port", &port.to_string()),
        ] {
            home.set(key, value);
        }
        Self { home, address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// Makes a channel that names these nodes of the DHT; its file and its infohash.
    pub(crate) fn make_channel(&self, name: &str, nodes: &[SocketAddr]) -> (String, String) {
        let file = self.home.path().join(name).to_str().expect("UTF-8").to_owned();
        let nodes: Vec<String> = nodes.iter().map(SocketAddr::to_string).collect();
        let mut arguments = vec!["--json", "channel", "new", name, "--fixed", "-o", &file];
        nodes.iter().for_each(|node| arguments.extend(["--node", node]));
        let made: Value = serde_json::from_str(&self.home.must_run(&arguments)).expect("JSON");
        let infohash = made["infohashes"][0].as_str().expect("an infohash").to_owned();
        (file, infohash)
    }

    /// Starts the node and waits until libtorrent finds it, and nobody else.
    pub(crate) fn must_be_found(&self, file: &str, infohash: &str, dht: &mut Mainline) -> Chat {
        let mut chat = self.home.chat(&[file]);
        must_find(dht, infohash, &[self.address], &mut chat);
        chat
    }
}

/// Has libtorrent look up an infohash until it finds exactly these.
fn must_find(dht: &mut Mainline, infohash: &str, wanted: &[SocketAddr], chat: &mut Chat) {
    let began = Instant::now();
    // One after the other: who asks too often is silenced.
    for node in (0..NODES).cycle() {
        let mut peers = dht.look_up(node, infohash, LOOK_UP_WITHIN).peers;
        peers.sort();
        if peers == wanted {
            return;
        }
        let within = began.elapsed() < FOUND_WITHIN;
        assert!(within, "{peers:?} instead of {wanted:?}; {}", chat.story());
        chat.listen(Duration::from_millis(50));
    }
}

/// Starts both, the second when the first is announced, waits for the link and has them talk.
fn must_meet(members: &[Member; 2], file: &str, infohash: &str, dht: &mut Mainline) {
    let old = members[0].must_be_found(file, infohash, dht);
    let mut chats = [old, members[1].home.chat(&[file])];
    for chat in &mut chats {
        must_have_links(chat, 1, FOUND_WITHIN);
    }
    must_talk(&mut chats, 0, 1, "found you");
    must_talk(&mut chats, 1, 0, "and I you");
}

#[test]
fn two_nodes_that_know_one_node_of_the_dht_find_each_other_and_talk() {
    let Some(mut dht) = Mainline::start(NODES) else { return };
    let router = dht.nodes()[0].to_string();
    let members = [Member::new(&router), Member::new(&router)];
    let (file, infohash) = members[0].make_channel("team", &[]);
    must_meet(&members, &file, &infohash, &mut dht);
}

#[test]
fn nodes_named_in_the_file_of_the_channel_are_enough() {
    let Some(mut dht) = Mainline::start(NODES) else { return };
    let members = [Member::new(""), Member::new("")];
    let (file, infohash) = members[0].make_channel("team", &dht.nodes()[..1]);
    must_meet(&members, &file, &infohash, &mut dht);
}

#[test]
fn after_a_restart_the_nodes_of_the_last_run_are_enough() {
    let Some(mut dht) = Mainline::start(NODES) else { return };
    let mut member = Member::new(&dht.nodes()[0].to_string());
    let (file, infohash) = member.make_channel("team", &[]);
    let mut chat = member.must_be_found(&file, &infohash, &mut dht);
    assert_eq!(chat.end_input(FOUND_WITHIN), Some(0), "{}", chat.story());
    member.home.set("dht.routers", "");
    // The announce of the first run is still there, that of another channel is not.
    let (file, infohash) = member.make_channel("later", &[]);
    let _ = member.must_be_found(&file, &infohash, &mut dht);
}

#[test]
fn a_libtorrent_client_finds_our_address_and_we_the_one_that_it_announced() {
    let Some(mut dht) = Mainline::start(NODES) else { return };
    let member = Member::new(&dht.nodes()[0].to_string());
    let (file, infohash) = member.make_channel("team", &[]);
    let announcer = 3;
    let bait = UdpSocket::bind((dht.nodes()[announcer].ip(), 0)).expect("a free port");
    bait.set_read_timeout(Some(FOUND_WITHIN)).expect("a timeout");
    let port = bait.local_addr().expect("bound").port();
    dht.announce(announcer, &infohash, port);

    let mut chat = member.home.chat(&[&file]);
    let mut packet = [0; 2048];
    let dialled = bait.recv_from(&mut packet);
    let (_, from) = dialled.unwrap_or_else(|error| panic!("{error}; {}", chat.story()));
    assert_eq!(from, member.address, "dialled from the port that is announced");

    let announced = SocketAddr::new(dht.nodes()[announcer].ip(), port);
    must_find(&mut dht, &infohash, &[member.address, announced], &mut chat);
}

//! Members find each other in a DHT of real libtorrent nodes on loopback, and in nothing else. Those on hosts
//! of their own are in `dht_between_hosts`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bitchat_integration_tests::mainline::Mainline;
use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::free_port;
use serde_json::Value;

use crate::scene::{PROGRAM, must_have_links, must_talk};

/// Nodes of the DHT: more than the eight that an announce goes to.
pub(crate) const NODES: usize = 12;

/// From the start of a node to its announce, and from that of another to their link.
pub(crate) const FOUND_WITHIN: Duration = Duration::from_secs(10);

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
        Self::at((Ipv4Addr::LOCALHOST, port).into(), routers)
    }

    /// The same, where the node is to be at this address.
    pub(crate) fn at(address: SocketAddr, routers: &str) -> Self {
        let mut home = Home::new(PROGRAM);
        for (key, value) in [
            ("dht.enabled", "true"),
            ("dht.routers", routers),
            ("trackers.enabled", "false"),
            ("trackers.default", ""),
            ("network.listen_port", &address.port().to_string()),
        ] {
            home.set(key, value);
        }
        Self { home, address }
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
pub(crate) fn must_find(
    dht: &mut Mainline,
    infohash: &str,
    wanted: &[SocketAddr],
    chat: &mut Chat,
) {
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
pub(crate) fn must_meet(members: &[Member; 2], file: &str, infohash: &str, dht: &mut Mainline) {
    let old = members[0].must_be_found(file, infohash, dht);
    let mut chats = [old, members[1].home.chat(&[file])];
    for chat in &mut chats {
        must_have_links(chat, 1, FOUND_WITHIN);
    }
    must_talk(&mut chats, 0, 1, "found you");
    must_talk(&mut chats, 1, 0, "and I you");
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

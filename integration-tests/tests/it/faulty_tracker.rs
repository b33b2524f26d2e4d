//! Trackers that answer wrongly: the failure is said in words, nothing of theirs reaches the terminal,
//! and the channel lives by its other trackers.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use bitchat_integration_tests::faulty_tracker::{FaultyTracker, HttpFault, UdpFault};
use bitchat_integration_tests::node::{Chat, Home};
use serde_json::json;

use crate::scene::{PROGRAM, SOON, Scene, must_talk};

/// A node gives a silent tracker 22 seconds at first, as the client does that it looks like.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// A silent tracker is waited for at the end, too.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// A tracker and what a node's log says of it.
struct Expected {
    tracker: FaultyTracker,
    words: &'static str,
}

/// Starts a tracker for each fault.
fn start<F, const N: usize>(
    start: impl Fn(F) -> FaultyTracker,
    faults: [(F, &'static str); N],
) -> Vec<Expected> {
    faults.into_iter().map(|(fault, words)| Expected { tracker: start(fault), words }).collect()
}

/// Two nodes with these trackers and a real one mesh, talk, say each failure, and still talk.
fn two_nodes_mesh_beside(all: &[Expected]) {
    let urls: Vec<String> = all.iter().map(|it| it.tracker.url().to_owned()).collect();
    let scene = Scene::with_trackers(2, &urls);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all_with(&["--set", "log.level=info"]);
    must_talk(&mut chats, 0, 1, "that was quick");
    for chat in &mut chats {
        must_say_each_failure(chat, all);
    }
    must_talk(&mut chats, 1, 0, "and still we talk");
    chats.iter_mut().for_each(Chat::close_input);
    for chat in &mut chats {
        assert_eq!(chat.exit_code(ENDED_WITHIN), Some(0));
        must_be_harmless(chat);
    }
}

fn must_say_each_failure(chat: &mut Chat, all: &[Expected]) {
    for Expected { tracker, words } in all {
        let of = format!("tracker=\"{}\"", tracker.host());
        chat.wait_for_talk(SAID_WITHIN, &[&of, words]);
    }
}

/// Nothing that a terminal would obey was printed, and the node itself had no trouble.
fn must_be_harmless(chat: &mut Chat) {
    for line in chat.said() {
        let obeyed = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!line.contains(obeyed), "{line:?}");
        assert!(line.len() < 1000, "{line:?}");
        assert!(!["panicked", " ERROR ", " WARN "].iter().any(|bad| line.contains(bad)), "{line}");
    }
}

/// A port where a node must not be led to in crowds.
fn victim() -> (UdpSocket, SocketAddr) {
    let victim = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    victim.set_nonblocking(true).expect("a socket can be told not to wait");
    let address = victim.local_addr().expect("bound");
    (victim, address)
}

fn datagrams_at(victim: &UdpSocket) -> usize {
    let mut count = 0;
    loop {
        match victim.recv(&mut [0; 2048]) {
            Ok(_) => count += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                return count;
            }
        }
    }
}

#[test]
fn faults_over_http_are_said_and_the_other_tracker_is_enough() {
    let faults = [
        (HttpFault::Garbage, "the response is not HTTP"),
        (HttpFault::Html, "its answer makes no sense"),
        (HttpFault::Venom, "\u{fffd}[2J"),
        (HttpFault::RedirectToItself, "it redirects without end"),
        (HttpFault::GzipBomb, "the body of the response is longer than 1048576 bytes"),
        (HttpFault::CutShort, "the connection ended in the middle of the response"),
        (HttpFault::EndlessHead, "the head of the response is too long"),
        (HttpFault::Silence, "it did not answer in time"),
    ];
    two_nodes_mesh_beside(&start(FaultyTracker::http, faults));
}

#[test]
fn faults_over_udp_are_said_and_the_other_tracker_is_enough() {
    let (victim, address) = victim();
    let faults = [
        (UdpFault::WrongTransaction, "it did not answer in time"),
        (UdpFault::TooShort, "it did not answer in time"),
        (UdpFault::LongRefusal, "\u{fffd}[2J"),
        (UdpFault::OtherPort, "it did not answer in time"),
        (UdpFault::Unsolicited(address), "peers=0"),
    ];
    two_nodes_mesh_beside(&start(FaultyTracker::udp, faults));
    assert_eq!(datagrams_at(&victim), 0, "nobody goes where an unasked answer leads");
}

#[test]
fn among_ten_thousand_peers_the_one_member_is_found_and_no_victim_is_flooded() {
    let (victim, address) = victim();
    let fault = HttpFault::TenThousandPeers(vec![address; 1000]);
    // What is left is cut to five hundred.
    two_nodes_mesh_beside(&start(FaultyTracker::http, [(fault, "peers=500")]));
    let count = datagrams_at(&victim);
    // Named a thousand times to two nodes: dialled as one address, with back-off.
    assert!((1..=100).contains(&count), "{count} datagrams from two nodes");
}

#[test]
fn with_faulty_trackers_alone_a_node_stays_up_and_tells_at_the_end() {
    let mut all = start(FaultyTracker::http, [(HttpFault::Garbage, "announce failed")]);
    all.extend(start(FaultyTracker::udp, [(UdpFault::LongRefusal, "announce failed")]));
    let home = Home::new(PROGRAM);
    let file = home.path().join("alone.chat");
    let file = file.to_str().expect("UTF-8");
    let mut arguments = vec!["channel", "new", "alone", "-o", file];
    for Expected { tracker, .. } in &all {
        arguments.extend(["--tracker", tracker.url()]);
    }
    let _ = home.must_run(&arguments);
    let mut chat = home.chat(&[file, "--set", "log.level=info", "--linger", "1s"]);
    must_say_each_failure(&mut chat, &all);
    assert_eq!(chat.ask("peers", json!({}), SOON)["members"], json!([]));
    chat.ask("say", json!({"text": "is anybody there?"}), SOON);
    assert_eq!(chat.end_input(ENDED_WITHIN), Some(3));
    must_be_harmless(&mut chat);
}

//! Members find each other on the local network, without any tracker.

use std::time::{Duration, Instant};

use bitchat_integration_tests::namespace::Cable;
use bitchat_integration_tests::node::{Chat, Home};
use serde_json::json;

use crate::scene::{PROGRAM, SOON, is, must_have_links, must_talk};

/// From starting the last node to the link. A newcomer's first packet is enough, so that this is far
/// less than the 300 s to the next turn of the others.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

/// Two homes that look for members on these interfaces, and nowhere else; and the file of their
/// channel, which names no tracker.
fn homes(interfaces: &str) -> (Vec<Home>, String) {
    let home = || {
        let mut home = Home::new(PROGRAM);
        for (key, value) in [
            ("lan.enabled", "true"),
            ("lan.interfaces", interfaces),
            ("trackers.enabled", "false"),
            ("trackers.default", ""),
        ] {
            home.set(key, value);
        }
        home
    };
    let homes = vec![home(), home()];
    let file = homes[0].path().join("team.chat").to_str().expect("UTF-8").to_owned();
    let _ = homes[0].must_run(&["--json", "channel", "new", "team", "-o", &file]);
    (homes, file)
}

/// Starts both, waits for the link, and has each say something.
fn must_find_each_other(homes: &[Home], file: &str) -> Vec<Chat> {
    let mut chats: Vec<Chat> = homes.iter().map(|home| home.chat(&[file])).collect();
    for chat in &mut chats {
        must_have_links(chat, 1, FOUND_WITHIN);
    }
    must_talk(&mut chats, 0, 1, "who is there?");
    must_talk(&mut chats, 1, 0, "your neighbour");
    chats
}

#[test]
fn two_nodes_on_one_host_find_each_other() {
    let (homes, file) = homes("lo,lo0");
    must_find_each_other(&homes, &file);
}

#[test]
fn a_newcomer_is_found_at_once() {
    let (homes, file) = homes("lo,lo0");
    let mut old = homes[0].chat(&[&file]);
    old.ask("peers", json!({}), SOON);
    // Its own three packets are over: only the newcomer's can lead to the link.
    old.listen(Duration::from_secs(7));
    let began = Instant::now();
    let mut newcomer = homes[1].chat(&[&file]);
    newcomer.wait_for(FOUND_WITHIN, |line| is(line, "member_up"));
    let took = began.elapsed();
    assert!(took < FOUND_WITHIN, "{took:?}");
    must_have_links(&mut old, 1, SOON);
}

#[test]
fn where_it_is_off_nobody_is_found() {
    let (mut homes, file) = homes("lo,lo0");
    homes[1].set("lan.enabled", "false");
    let mut chats: Vec<Chat> = homes.iter().map(|home| home.chat(&[&file])).collect();
    for chat in &mut chats {
        chat.listen(Duration::from_secs(2));
        assert_eq!(chat.count(|line| is(line, "member_up")), 0, "{}", chat.story());
    }
}

#[test]
fn two_hosts_without_a_route_to_anywhere_find_each_other() {
    let Some(cable) = Cable::lay(Some(["10.99.7.1/24", "10.99.7.2/24"])) else { return };
    let (mut homes, file) = homes("");
    for (home, namespace) in homes.iter_mut().zip(cable.namespaces()) {
        home.move_to(namespace);
    }
    must_find_each_other(&homes, &file);
}

#[test]
fn two_hosts_that_have_nothing_but_ipv6_link_local_addresses_find_each_other() {
    let Some(cable) = Cable::lay(None) else { return };
    let (mut homes, file) = homes("");
    for (home, namespace) in homes.iter_mut().zip(cable.namespaces()) {
        home.move_to(namespace);
    }
    let mut chats: Vec<Chat> = homes.iter().map(|home| home.chat(&[&file])).collect();
    for chat in &mut chats {
        // An address may be in use only two seconds after the cable is there, and interfaces are
        // looked at every thirty.
        must_have_links(chat, 1, Duration::from_secs(45));
    }
    must_talk(&mut chats, 0, 1, "no numbers of our own");
}

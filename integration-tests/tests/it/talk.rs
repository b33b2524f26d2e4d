//! Nodes find each other through a real tracker and talk.

use std::time::Duration;

use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::Spot;
use serde_json::{Value, json};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_bitchat-under-test");

/// From starting the last of three nodes to every one having two links.
const MESH_WITHIN: Duration = Duration::from_secs(10);

fn is(line: &Value, method: &str) -> bool {
    line["method"] == method
}

fn three_nodes_find_each_other_and_talk(url: impl Fn(Spot) -> String) {
    let spot = Spot::pick();
    let homes: Vec<Home> = (0..3).map(|_| Home::new(PROGRAM)).collect();
    let file = homes[0].path().join("team.chat");
    let file = file.to_str().expect("UTF-8");
    let made = homes[0].must_run(&[
        "--json",
        "channel",
        "new",
        "team",
        "--fixed",
        "--tracker",
        &url(spot),
        "-o",
        file,
    ]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let infohash = made["infohashes"][0].as_str().expect("an infohash").to_owned();
    let Some(_tracker) = spot.start(&[infohash]) else { return };

    let mut chats: Vec<Chat> = homes.iter().map(|home| home.chat(&[file])).collect();
    for chat in &mut chats {
        chat.wait_for_count(2, MESH_WITHIN, |line| is(line, "member_up"));
    }
    let said = chats[0].ask("say", json!({"text": "hello"}), Duration::from_secs(5));
    let id = said["id"].as_str().expect("an id").to_owned();
    let short = Duration::from_secs(5);
    chats[0].wait_for_count(2, short, |l| is(l, "delivered") && l["params"]["id"] == id);
    for chat in &mut chats[1..] {
        chat.wait_for(short, |line| is(line, "message") && line["params"]["text"] == "hello");
        chat.listen(Duration::from_millis(300));
        assert_eq!(chat.count(|line| is(line, "message")), 1, "shown once");
    }
    for chat in &mut chats {
        assert_eq!(chat.end_input(short), Some(0));
    }
}

#[test]
fn three_nodes_find_each_other_over_a_udp_tracker_and_talk() {
    three_nodes_find_each_other_and_talk(Spot::udp_url);
}

#[test]
fn three_nodes_find_each_other_over_an_http_tracker_and_talk() {
    three_nodes_find_each_other_and_talk(Spot::http_url);
}

//! A node without a console, and those who talk through it at its control socket.

use std::time::{Duration, Instant};

use bitchat_integration_tests::control::{Client, Daemon};
use serde_json::json;

use crate::scene::{MESH_WITHIN, SOON, Scene, is, must_have_links};

/// Asks at the socket until the node has so many links.
#[track_caller]
fn must_be_linked(client: &mut Client, links: usize) {
    let began = Instant::now();
    loop {
        let peers = client.ask("peers", &json!({"channel": "team"}));
        let members = peers["members"].as_array().expect("a list");
        if members.iter().filter(|member| member["linked"] == true).count() == links {
            return;
        }
        assert!(began.elapsed() < MESH_WITHIN, "{peers}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn programs_talk_and_hear_through_a_node_without_a_console() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let _daemon = Daemon::start(&scene.homes[0], SOON);
    let mut bob = scene.chat(1);
    let mut clients = [0, 1].map(|_| Client::connect(&scene.homes[0], MESH_WITHIN));
    for client in &mut clients {
        assert_eq!(client.ask("subscribe", &json!({"channels": ["team"]})), json!({"seq": 0}));
    }
    must_be_linked(&mut clients[0], 1);
    must_have_links(&mut bob, 1, MESH_WITHIN);

    let key = "00112233445566778899aabbccddeeff";
    for _ in 0..2 {
        let said = clients[0].ask("say", &json!({"text": "hello", "key": key}));
        assert_eq!(said["id"], key);
    }
    bob.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "hello");
    bob.ask("say", json!({"text": "hello yourselves"}), SOON);
    for client in &mut clients {
        client.wait_for(|line| is(line, "delivered") && line["params"]["id"] == key);
        let text = "hello yourselves";
        client.wait_for(|line| is(line, "message") && line["params"]["text"] == text);
        assert_eq!(client.count(|line| is(line, "message")), 1, "each once");
    }
    bob.listen(Duration::from_millis(300));
    assert_eq!(bob.count(|line| is(line, "message")), 1, "a repetition under a key is none");
    assert_eq!(clients[1].ask("undelivered", &json!({})), json!({"messages": []}));
}

#[test]
fn a_client_that_hears_nothing_stops_neither_the_node_nor_the_others() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let _daemon = Daemon::start(&scene.homes[0], SOON);
    let mut bob = scene.chat(1);
    let [mut deaf, mut good] = [0, 1].map(|_| Client::connect(&scene.homes[0], MESH_WITHIN));
    for client in [&mut deaf, &mut good] {
        client.ask("subscribe", &json!({}));
    }
    must_be_linked(&mut good, 1);
    must_have_links(&mut bob, 1, MESH_WITHIN);
    // More than the socket and the queue of one who does not read can hold.
    let text = "x".repeat(20_000);
    for n in 0..400 {
        bob.ask("say", json!({"text": format!("{n} {text}")}), SOON);
        let begins = format!("{n} ");
        good.wait_for(|line| {
            line["params"]["text"].as_str().is_some_and(|text| text.starts_with(&begins))
        });
    }
    assert_eq!(good.count(|line| is(line, "message")), 400);
    // What it gets when it reads again has a gap, or its connection is closed: it is told either way.
    let status = good.ask("status", &json!({}));
    assert_eq!(status["channels"][0]["linked"], 1);
}

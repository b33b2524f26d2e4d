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
        assert_eq!(client.ask("subscribe", &json!({"channels": ["team"]})), json!({"n": 0}));
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

#[test]
fn what_is_changed_in_the_contact_book_of_a_running_node_holds_at_once() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    for (home, name) in scene.homes.iter().zip(["alice", "bob"]) {
        let _ = home.must_run(&["id", "rename", name]);
    }
    let _daemon = Daemon::start(&scene.homes[0], SOON);
    let mut bob = scene.chat(1);
    let mut alice = Client::connect(&scene.homes[0], MESH_WITHIN);
    alice.ask("subscribe", &json!({}));
    must_be_linked(&mut alice, 1);
    must_have_links(&mut bob, 1, MESH_WITHIN);

    let seen = alice.ask("contact_show", &json!({"contact": "bob"}));
    assert_eq!((&seen["trust"], &seen["linked"]), (&json!("seen"), &json!(true)));
    assert!(seen["last_seen_unix"].as_u64().is_some(), "{seen}");
    let known = alice.ask("contact_add", &json!({"contact": "bob"}));
    assert_eq!((&known["trust"], &known["their_name"]), (&json!("known"), &json!("bob")));
    let wrong = alice.try_ask("contact_verify", &json!({"contact": "bob", "words": "12345"}));
    assert_eq!(wrong["error"]["data"]["exit"], 4, "{wrong}");
    // What bob reads to her over another way.
    let theirs = bob.ask("contact_show", json!({"contact": "alice"}), SOON);
    let words = json!({"contact": "bob", "words": theirs["safety_words"]});
    assert_eq!(alice.ask("contact_verify", &words)["trust"], "verified");

    let renamed = json!({"contact": "bob", "name": "Bob from work"});
    alice.ask("contact_rename", &renamed);
    bob.ask("say", json!({"text": "hi"}), SOON);
    let heard = alice.wait_for(|line| is(line, "message"));
    assert_eq!(heard["params"]["name"], "Bob from work");

    alice.ask("contact_block", &json!({"contact": "Bob from work"}));
    alice.wait_for(|line| is(line, "member_down"));
    bob.wait_for(SOON, |line| is(line, "member_down"));
    bob.ask("say", json!({"text": "are you there?"}), SOON);
    bob.listen(Duration::from_secs(1));
    assert_eq!(alice.ask("contact_show", &json!({"contact": "Bob from work"}))["linked"], false);
    assert_eq!(alice.count(|line| is(line, "message")), 1, "nothing more from bob");
}

#[test]
fn a_contact_under_whose_name_another_key_came_is_marked_until_the_words_are_compared() {
    let scene = Scene::new(3);
    let Some(_tracker) = scene.start_tracker() else { return };
    for (home, name) in scene.homes.iter().zip(["alice", "bob", "bob"]) {
        let _ = home.must_run(&["id", "rename", name]);
    }
    let id = scene.homes[2].must_run(&["id", "show"]);
    let card = scene.homes[1].must_run(&["id", "card"]);
    let _ = scene.homes[0].must_run(&["contact", "add", card.trim()]);
    let _daemon = Daemon::start(&scene.homes[0], SOON);
    let mut alice = Client::connect(&scene.homes[0], MESH_WITHIN);
    alice.ask("subscribe", &json!({}));
    let mallory = scene.chat(2);
    let warned = alice.wait_for(|line| is(line, "warning"));
    assert_eq!(warned["params"]["code"], 4);
    let shown = alice.ask("contact_show", &json!({"contact": "bob"}));
    let other = shown["alarm"]["id"].as_str().expect("an alarm");
    assert!(id.contains(other) && shown["id"] != other, "{shown}");
    drop(mallory);
    let verified = alice.ask("contact_verify", &json!({"contact": "bob", "yes": true}));
    assert!(verified["alarm"].is_null(), "{verified}");
}

#[test]
fn a_channel_that_is_joined_through_a_running_node_is_talked_in_at_once() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let _ = scene.homes[0].must_run(&["channel", "leave", "team"]);
    let _daemon = Daemon::start(&scene.homes[0], SOON);
    let mut bob = scene.chat(1);
    let mut alice = Client::connect(&scene.homes[0], MESH_WITHIN);
    alice.ask("subscribe", &json!({}));
    assert_eq!(alice.ask("channels", &json!({}))["channels"], json!([]));
    let link = bob.ask("channel_show", json!({"channel": "team"}), SOON)["link"].clone();
    alice.ask("channel_join", &json!({"channel": link}));
    must_be_linked(&mut alice, 1);
    bob.ask("say", json!({"text": "welcome"}), SOON);
    alice.wait_for(|line| is(line, "message") && line["params"]["text"] == "welcome");

    alice.ask("channel_close", &json!({"channel": "team"}));
    bob.wait_for(SOON, |line| is(line, "member_down"));
    assert_eq!(alice.ask("channels", &json!({"all": true}))["channels"][0]["open"], false);
    let said = alice.try_ask("say", &json!({"channel": "team", "text": "is it on?"}));
    assert_eq!(said["error"]["code"], -32602, "{said}");
    alice.ask("channel_open", &json!({"channel": "team"}));
    must_be_linked(&mut alice, 1);
    alice.ask("channel_leave", &json!({"channel": "team"}));
    assert_eq!(alice.ask("channels", &json!({"all": true}))["channels"], json!([]));
}

//! Two people who have exchanged nothing but their cards find each other and talk.

use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::Spot;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, is};

/// Homes of people who will meet at one tracker, and the card of each.
fn people(spot: Spot, names: &[&str]) -> Vec<(Home, String)> {
    let person = |name: &&str| {
        let mut home = Home::new(PROGRAM);
        home.set("trackers.default", &spot.udp_url());
        let _ = home.must_run(&["id", "rename", name]);
        let card = home.must_run(&["id", "card"]).trim().to_owned();
        (home, card)
    };
    names.iter().map(person).collect()
}

fn add(home: &Home, card: &str) {
    let _ = home.must_run(&["contact", "add", card]);
}

/// What trackers know the channel of two by around now.
fn infohashes(home: &Home, contact: &str) -> Vec<String> {
    let shown = home.must_run(&["--json", "channel", "show", contact]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert!(shown["link"].is_null(), "it is not passed on: {shown}");
    let hashes = shown["infohashes"].as_array().expect("a list").iter();
    hashes.map(|hash| hash.as_str().expect("text").to_owned()).collect()
}

fn is_member(line: &Value, method: &str, name: &str) -> bool {
    is(line, method) && line["params"]["name"] == name
}

#[test]
fn two_who_added_each_other_s_card_find_each_other_and_talk_alone() {
    let spot = Spot::pick();
    let people = people(spot, &["alice", "bob", "carol"]);
    let [(alice, alice_card), (bob, bob_card), (carol, carol_card)] = &people[..] else { return };
    add(alice, bob_card);
    add(bob, alice_card);
    // Carol knows both; only Alice knows her.
    add(carol, alice_card);
    add(carol, bob_card);
    add(alice, carol_card);
    let hashes = [(alice, "bob"), (alice, "carol"), (carol, "bob")]
        .map(|(home, contact)| infohashes(home, contact))
        .concat();
    assert_eq!(infohashes(bob, "alice"), infohashes(alice, "bob"));
    let Some(_tracker) = spot.start(&hashes) else { return };

    let mut chats: Vec<Chat> = vec![alice.chat(&[]), bob.chat(&[]), carol.chat(&[])];
    chats[0].wait_for(MESH_WITHIN, |line| is_member(line, "member_up", "bob"));
    chats[0].wait_for(MESH_WITHIN, |line| is_member(line, "member_up", "carol"));
    chats[1].wait_for(MESH_WITHIN, |line| is_member(line, "member_up", "alice"));
    chats[0].ask("say", json!({"channel": "bob", "text": "just us"}), SOON);
    let heard = chats[1].wait_for(SOON, |line| is(line, "message"));
    assert_eq!(heard["params"]["text"], "just us");
    let channels = chats[1].ask("channels", json!({}), SOON);
    let channels = channels["channels"].as_array().expect("a list");
    assert_eq!((channels.len(), &channels[0]["name"]), (1, &json!("alice")));
    assert!(alice_card.contains(channels[0]["pair"].as_str().expect("an id")), "{channels:?}");
    assert_eq!(channels[0]["id"], heard["params"]["channel"]);

    chats[2].listen(std::time::Duration::from_secs(1));
    assert_eq!(chats[2].count(|line| is(line, "message")), 0, "{}", chats[2].story());
    let met_bob = chats[2].count(|line| is_member(line, "member_up", "bob"));
    assert_eq!(met_bob, 0, "he has not added her: {}", chats[2].story());
}

#[test]
fn a_blocked_contact_is_looked_for_no_longer_and_pairs_can_be_switched_off() {
    let spot = Spot::pick();
    let people = people(spot, &["alice", "bob"]);
    let [(alice, _), (_, bob_card)] = &people[..] else { return };
    let refused = |arguments: &[&str], words: &str| {
        let output = alice.run(arguments, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{arguments:?}: {said}");
    };
    add(alice, bob_card);
    assert!(alice.must_run(&["channel", "list"]).starts_with("bob "));
    refused(&["channel", "export", "bob"], "made from your two keys");
    refused(&["channel", "leave", "bob"], "made from your two keys");
    let off = ["--set", "contacts.pair_channels=false", "channel", "list"];
    assert_eq!(alice.must_run(&off), "");
    let _ = alice.must_run(&["contact", "block", "bob"]);
    assert_eq!(alice.must_run(&["channel", "list"]), "");
}

//! A closed channel goes on without somebody: the others follow, and who was removed stays behind.

use std::time::Duration;

use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::Tracker;
use serde_json::{Value, json};

use crate::closed::{Club, has_warning, id_of, person};
use crate::scene::{MESH_WITHIN, SOON, is};

/// A founder with these guests, each of whom has joined; nobody runs.
fn club_of(guests: &[&Home]) -> Option<(Club, Tracker)> {
    let club = Club::found(&[]);
    let tracker = club.spot.start(std::slice::from_ref(&club.infohash))?;
    for guest in guests {
        let line = club.invite(guest, &[]);
        guest.must_run_quietly(&["channel", "join", &line]);
    }
    Some((club, tracker))
}

/// Starts all of them, and waits until each is linked with every other.
fn chat_all(homes: &[&Home]) -> Vec<Chat> {
    let mut chats: Vec<Chat> = homes.iter().map(|home| home.chat(&["team"])).collect();
    for chat in &mut chats {
        chat.wait_for_count(homes.len() - 1, MESH_WITHIN, |line| is(line, "member_up"));
    }
    chats
}

/// Waits until the channel goes on, and gives what as.
fn must_move(chat: &mut Chat) -> String {
    let moved = chat.wait_for(MESH_WITHIN, |line| is(line, "moved"));
    moved["params"]["successor"].as_str().expect("an id").to_owned()
}

fn must_hear(chat: &mut Chat, channel: &str, text: &str) {
    chat.wait_for(MESH_WITHIN, |line| {
        is(line, "message")
            && line["params"]["text"] == text
            && line["params"]["channel"] == channel
    });
}

fn is_up_in(line: &Value, channel: &str) -> bool {
    is(line, "member_up") && line["params"]["channel"] == channel
}

fn has_heard(chat: &Chat, text: &str) -> bool {
    chat.count(|line| is(line, "message") && line["params"]["text"] == text) > 0
}

#[test]
fn who_is_removed_is_told_and_the_others_go_on_over_the_links_they_have() {
    let (bob, carol, mallory) = (person("bob"), person("carol"), person("mallory"));
    let Some((club, mut tracker)) = club_of(&[&bob, &carol, &mallory]) else { return };
    let [alices, carols, mallorys] = [&club.founder, &carol, &mallory].map(id_of);
    let mut chats = chat_all(&[&club.founder, &bob, &carol, &mallory]);
    let old = chats[0].ask("channels", json!({}), SOON)["channels"][0]["id"].clone();
    chats[0].ask("say", json!({"text": "all of us"}), SOON);
    for chat in &mut chats[1..] {
        must_hear(chat, old.as_str().expect("an id"), "all of us");
    }
    // From here on nobody can look for anybody.
    tracker.stop();

    let who = json!({ "contact": mallorys });
    let removed = chats[0].ask("channel_remove", who.clone(), SOON);
    let team = removed["channel"]["id"].as_str().expect("an id").to_owned();
    assert_ne!(team, old.as_str().unwrap());
    for chat in &mut chats[..3] {
        assert_eq!(must_move(chat), team);
        let gone: Vec<_> = chat.seen().iter().filter(|line| is(line, "moved")).collect();
        assert_eq!(gone[0]["params"]["removed"][0]["peer"], mallorys, "{}", chat.story());
        chat.wait_for_count(2, MESH_WITHIN, |line| is_up_in(line, &team));
    }
    has_warning(&mut chats[3], &["removed from team", "alice"]);
    // Nobody has to say where: what is meant is the one that goes on.
    chats[1].ask("say", json!({"text": "among ourselves"}), SOON);
    for at in [0, 2] {
        must_hear(&mut chats[at], &team, "among ourselves");
    }
    let listed = chats[0].ask("channel_members", json!({}), SOON);
    let listed = listed["members"].as_array().expect("a list").clone();
    let person = |id: &str| listed.iter().find(|it| it["peer"] == id).expect("listed").clone();
    assert_eq!(listed.len(), 4, "{listed:?}");
    let (alice, carol) = (person(&alices), person(&carols));
    assert_eq!((&alice["you"], &alice["founder"]), (&json!(true), &json!(true)));
    assert_eq!((&alice["spoke"], &carol["spoke"]), (&json!(true), &json!(false)));
    assert_eq!((&carol["linked"], &carol["standing"]), (&json!(true), &json!("member")));
    let gone = person(&mallorys);
    assert_eq!((&gone["removed"], &gone["linked"]), (&json!(true), &json!(false)));
    let late = chats[2].request("say", json!({"channel": old, "text": "in the old one"}));
    let answer = chats[2].wait_for(SOON, |line| line["id"] == late);
    let words = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(words.contains("is over") && words.contains(&team[..6]), "{answer}");

    // Who was removed still runs, with the key of before.
    chats[3].listen(Duration::from_secs(3));
    assert!(!has_heard(&chats[3], "among ourselves"), "{}", chats[3].story());
    assert_eq!(chats[3].count(|line| is(line, "moved")), 0, "{}", chats[3].story());
    let again = chats[0].ask("channel_remove", who, SOON);
    assert_eq!(again["channel"]["id"], team, "they were removed already");
    for (at, who) in [(1, carols), (0, alices)] {
        let asked = chats[at].request("channel_remove", json!({ "contact": who }));
        let answer = chats[at].wait_for(SOON, |line| line["id"] == asked);
        let words = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(words.contains("founde"), "{answer}");
    }
    // A ticket of theirs lets them in nowhere, and nobody can give them another.
    let refused = club.founder.run(&["channel", "invite", "team", &mallorys], b"");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("was removed from team"), "{words}");
}

#[test]
fn who_was_away_follows_from_one_to_the_next_without_the_founder() {
    let [bob, carol, dave, erin] = ["bob", "carol", "dave", "erin"].map(person);
    let Some((club, _tracker)) = club_of(&[&bob, &carol, &dave, &erin]) else { return };
    // Nobody runs when the first is removed.
    club.founder.must_run_quietly(&["channel", "remove", "team", &id_of(&carol)]);
    let erins = id_of(&erin);
    let mut chats = chat_all_after(&[&club.founder, &bob], &["moved"]);
    let second = chats[0].ask("channel_remove", json!({ "contact": erins }), SOON);
    let team = second["channel"]["id"].as_str().expect("an id").to_owned();
    chats[1].wait_for_count(2, MESH_WITHIN, |line| is(line, "moved"));
    for chat in &mut chats {
        chat.wait_for(MESH_WITHIN, |line| is_up_in(line, &team));
    }
    chats[0].ask("say", json!({"text": "while you were away"}), SOON);
    must_hear(&mut chats[1], &team, "while you were away");
    // The founder leaves, and the other starts again.
    for mut chat in chats {
        assert_eq!(chat.end_input(SOON), Some(0));
    }
    let mut bobs = bob.chat(&["team"]);

    let mut daves = dave.chat(&["team"]);
    daves.wait_for_count(2, MESH_WITHIN, |line| is(line, "moved"));
    must_hear(&mut daves, &team, "while you were away");
    daves.ask("say", json!({"text": "here I am"}), SOON);
    must_hear(&mut bobs, &team, "here I am");
    // With the first file of all it is the same channel after a start.
    assert_eq!(daves.end_input(SOON), Some(0));
    let mut daves = dave.chat(&[&club.file]);
    daves.wait_for(MESH_WITHIN, |line| is_up_in(line, &team));
    bobs.ask("say", json!({"text": "once more"}), SOON);
    must_hear(&mut daves, &team, "once more");
    for gone in [&carol, &erin] {
        let mut chat = gone.chat(&["team"]);
        has_warning(&mut chat, &["removed from team"]);
        let told = chat.count(|line| is(line, "moved") || is(line, "message"));
        assert_eq!(told, 0, "{}", chat.story());
    }
    assert_eq!(daves.end_input(SOON), Some(0));
    let known = dave.must_run(&["--json", "channel", "members", "team"]);
    let known: Vec<Value> =
        known.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let count = |what: &str| known.iter().filter(|it| it[what] == true).count();
    assert_eq!((count("removed"), count("founder"), count("spoke")), (2, 1, 3), "{known:?}");
    let listed = dave.must_run(&["--json", "channel", "list"]);
    let names = listed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let names: Vec<_> =
        names.map(|it| it["name"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(names.iter().filter(|name| *name == "team").count(), 1, "{names:?}");
    assert_eq!(
        names.iter().filter(|name| name.starts_with("team (until ")).count(),
        2,
        "{names:?}"
    );
}

/// Starts all of them, and waits until each but the first has been told this.
fn chat_all_after(homes: &[&Home], told: &[&str]) -> Vec<Chat> {
    let mut chats: Vec<Chat> = homes.iter().map(|home| home.chat(&["team"])).collect();
    for chat in &mut chats[1..] {
        for method in told {
            chat.wait_for(MESH_WITHIN, |line| is(line, method));
        }
    }
    chats
}

#[test]
fn a_blind_seeder_follows_and_keeps_what_is_said_afterwards() {
    let (bob, carol, keeper) = (person("bob"), person("carol"), person("keeper"));
    let Some((club, mut tracker)) = club_of(&[&bob, &carol]) else { return };
    let line = club.invite(&keeper, &["--seeder"]);
    let running = crate::seeder::seed(&keeper, &line);
    let carols = id_of(&carol);
    let mut alices = club.founder.chat(&["team"]);
    let mut bobs = bob.chat(&["team"]);
    for chat in [&mut alices, &mut bobs] {
        chat.wait_for(MESH_WITHIN, |line| is(line, "seeder_up"));
        chat.wait_for(MESH_WITHIN, |line| is(line, "member_up"));
    }
    alices.ask("channel_remove", json!({ "contact": carols }), SOON);
    let team = must_move(&mut bobs);
    let is_kept = |line: &Value| is(line, "seeder_up") && line["params"]["channel"] == team;
    alices.wait_for(MESH_WITHIN, is_kept);
    assert_eq!(bobs.end_input(SOON), Some(0));
    alices.ask("say", json!({"text": "for whoever comes back"}), SOON);
    alices.wait_for(SOON, |line| is(line, "delivered") && line["params"]["seeder"] == true);
    assert_eq!(alices.end_input(SOON), Some(0));
    // It starts again as well, by the line of before.
    drop(running);
    tracker.stop();
    let shown = club.founder.must_run(&["--json", "channel", "show", "team"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let infohash = shown["infohashes"][0].as_str().expect("an infohash").to_owned();
    let _tracker = club.spot.start(&[club.infohash.clone(), infohash]);
    let _running = crate::seeder::seed(&keeper, &line);
    let mut bobs = bob.chat(&["team"]);
    must_hear(&mut bobs, &team, "for whoever comes back");
    // Who is invited afterwards has never known the channel of before.
    drop(bobs);
    let dave = person("dave");
    let line = club.invite(&dave, &[]);
    assert!(line.contains("&move="), "who is new knows who was removed: {line}");
    let mut daves = dave.chat(&[&line]);
    must_hear(&mut daves, &team, "for whoever comes back");
}

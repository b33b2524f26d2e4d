//! Contacts are invited to groups and closed channels over the links that they have as a pair.

use std::path::Path;
use std::time::Duration;

use bitchat_integration_tests::control::{Client, Daemon};
use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::Spot;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, Scene, is};

/// The name of the channel that nobody may find anything of.
const NAME: &str = "wanderlust";

/// How long it is listened whether something does not come.
const A_WHILE: Duration = Duration::from_secs(2);

/// A channel that nobody else is in.
const OTHER: &str = "#quiet";

struct Person {
    home: Home,
    card: String,
}

/// People who will meet at one tracker; the first and each other one have added each other.
fn people(spot: Spot, names: &[&str]) -> Vec<Person> {
    let person = |name: &&str| {
        let mut home = Home::new(PROGRAM);
        home.set("trackers.default", &spot.udp_url());
        home.must_run_quietly(&["id", "rename", name]);
        let card = home.must_run(&["id", "card"]).trim().to_owned();
        Person { home, card }
    };
    let people: Vec<Person> = names.iter().map(person).collect();
    for other in &people[1..] {
        people[0].home.must_run_quietly(&["contact", "add", &other.card]);
        other.home.must_run_quietly(&["contact", "add", &people[0].card]);
    }
    people
}

/// What trackers know a channel by around now.
fn infohashes(home: &Home, channel: &str) -> Vec<String> {
    let shown = home.must_run(&["--json", "channel", "show", channel]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let hashes = shown["infohashes"].as_array().expect("a list").iter();
    hashes.map(|hash| hash.as_str().expect("text").to_owned()).collect()
}

fn is_member(line: &Value, name: &str, channel: &Value) -> bool {
    is(line, "member_up") && line["params"]["name"] == name && line["params"]["channel"] == *channel
}

fn is_linked(line: &Value, name: &str) -> bool {
    is(line, "member_up") && line["params"]["name"] == name
}

fn has_answered(line: &Value, name: &str, accepted: bool) -> bool {
    is(line, "invite_answered")
        && line["params"]["name"] == name
        && line["params"]["accepted"] == accepted
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.is_file() {
            all.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    all
}

/// The files about channels in a home, by their names.
fn channel_files(home: &Home) -> Vec<String> {
    let names = files(&home.data_dir().join("default/channels")).into_iter();
    // Where members were last comes when it comes, of channels that there are.
    let mut names: Vec<String> =
        names.map(|(name, _)| name).filter(|name| !name.contains(".peers")).collect();
    names.sort();
    names
}

/// Panics where anything in a home names the channel, its id, its secret, or holds them.
fn must_know_nothing(home: &Home, secrets: &[String]) {
    for (name, bytes) in files(home.path()) {
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found && !name.contains(&**secret), "{secret} is in {name}");
        }
    }
}

/// What identifies a channel, as texts.
fn secrets_of(home: &Home, channel: &str) -> Vec<String> {
    let shown = home.must_run(&["--json", "channel", "show", channel]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let link = shown["link"].as_str().expect("a link");
    let secret = link.split("secret=").nth(1).and_then(|rest| rest.split('&').next());
    let id = shown["id"].as_str().expect("an id");
    vec![NAME.to_owned(), secret.expect("a member's link").to_owned(), id.to_owned()]
}

#[test]
fn a_group_is_made_of_contacts_of_whom_two_come_and_talk_and_one_does_not() {
    let spot = Spot::pick();
    let mut people = people(spot, &["alice", "bob", "carol", "dave"]);
    for person in &mut people {
        person.home.set("log.level", "info");
    }
    let [alice, bob, carol, dave] = &people[..] else { return };
    let hashes = ["bob", "carol", "dave"].map(|name| infohashes(&alice.home, name)).concat();
    let Some(_tracker) = spot.start(&hashes) else { return };
    let mut node = alice.home.chat(&[]);
    let mut bobs = bob.home.chat(&[]);
    let mut daves = dave.home.chat(&[]);
    let _carols = Daemon::start(&carol.home, SOON);
    let mut carols = Client::connect(&carol.home, MESH_WITHIN);
    carols.ask("subscribe", &json!({}));
    for name in ["bob", "carol", "dave"] {
        node.wait_for(MESH_WITHIN, |line| is_linked(line, name));
    }
    let before = [&bob.home, &carol.home, &dave.home].map(channel_files);

    // At a console that is the guest of her node; nobody is left out silently.
    let made = alice.home.run(&["chat"], b"/group wanderlust bob erin\n");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(said.contains("erin") && said.contains("no group was made"), "{said}");
    let made = alice.home.run(&["chat"], b"/group wanderlust bob carol dave\n");
    let printed = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success() && printed.contains("you are in wanderlust"), "{printed}");
    for name in ["bob", "carol", "dave"] {
        let words = format!("* {name} is here: the invitation was sent");
        assert!(printed.contains(&words), "{printed}");
    }
    let mut invited = bobs.wait_for(SOON, |line| is(line, "invited"))["params"].take();
    let group = invited["channel"].take();
    assert_eq!(
        [&invited["name"], &invited["label"], &invited["kind"], &invited["contact"]],
        [&json!("alice"), &json!(NAME), &json!("group"), &json!(true)],
    );
    assert_eq!(invited["founder"], invited["from"]);
    daves.wait_for(SOON, |line| is(line, "invited"));
    carols.wait_for(|line| is(line, "invited"));

    // Nothing of it is on anybody's disk before they say so.
    let secrets = secrets_of(&alice.home, NAME);
    for (home, before) in [&bob.home, &carol.home, &dave.home].into_iter().zip(&before) {
        must_know_nothing(home, &secrets);
        assert_eq!(channel_files(home), *before);
    }
    let said = daves.said().join("\n");
    assert!(!secrets.iter().any(|secret| said.contains(&**secret)), "{said}");

    let listed = bobs.ask("invitations", json!({}), SOON);
    assert_eq!(listed["invitations"][0]["number"], invited["number"], "{listed}");
    let joined = bobs.ask("accept", json!({"invitation": invited["number"]}), SOON);
    assert_eq!((&joined["id"], &joined["open"]), (&group, &json!(true)));
    node.wait_for(SOON, |line| has_answered(line, "bob", true));
    let listed = carol.home.must_run(&["channel", "invitations"]);
    assert!(listed.contains("alice invites you to the group \"wanderlust\""), "{listed}");
    let joined = carol.home.must_run(&["channel", "accept", NAME]);
    assert!(joined.contains(NAME) && joined.contains("group"), "{joined}");
    node.wait_for(SOON, |line| has_answered(line, "carol", true));
    let listed = node.ask("invitations", json!({}), SOON);
    assert_eq!(listed["unanswered"][0]["name"], "dave", "{listed}");
    daves.ask("decline", json!({"invitation": 1}), SOON);
    node.wait_for(SOON, |line| has_answered(line, "dave", false));
    assert_eq!(node.ask("invitations", json!({}), SOON)["unanswered"], json!([]));

    // Bob and Carol have nothing in common but the group.
    bobs.wait_for(MESH_WITHIN, |line| is_member(line, "alice", &group));
    bobs.wait_for(MESH_WITHIN, |line| is_linked(line, "carol"));
    bobs.ask("say", json!({"channel": NAME, "text": "where to?"}), SOON);
    let heard = |line: &Value| is(line, "message") && line["params"]["text"] == "where to?";
    node.wait_for(SOON, heard);
    carols.wait_for(heard);
    carols.ask("say", &json!({"channel": NAME, "text": "the sea"}));
    bobs.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "the sea");

    daves.listen(A_WHILE);
    assert_eq!(daves.count(|line| is(line, "message")), 0, "{}", daves.story());
    must_know_nothing(&dave.home, &secrets);
    assert_eq!(channel_files(&dave.home), before[2]);
    assert_ne!(channel_files(&bob.home), before[0], "what he accepted is there");
}

/// Alice and Bob, and the tracker at which they meet; she has made a group without a running node,
/// and owes him an invitation.
fn owing() -> Option<(Person, Person, bitchat_integration_tests::tracker::Tracker)> {
    let spot = Spot::pick();
    let [alice, bob] = people(spot, &["alice", "bob"]).try_into().ok()?;
    let tracker = spot.start(&infohashes(&alice.home, "bob"))?;
    let made = alice.home.run(&["--json", "channel", "group", NAME, "bob"], b"");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success() && said.contains("bob is not here"), "{said}");
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    assert_eq!(made["invited"][0]["delivery"], "waits", "{made}");
    Some((alice, bob, tracker))
}

fn must_be_invited(chat: &mut Chat) -> Value {
    let invited = chat.wait_for(MESH_WITHIN, |line| is(line, "invited"));
    assert_eq!(invited["params"]["label"], NAME);
    invited["params"]["number"].clone()
}

#[test]
fn an_inviter_that_was_started_again_asks_who_comes_later() {
    let Some((alice, bob, _tracker)) = owing() else { return };
    let mut first = alice.home.chat(&[]);
    first.listen(Duration::from_millis(500));
    let unanswered = first.ask("invitations", json!({}), SOON)["unanswered"].clone();
    assert_eq!((&unanswered[0]["name"], &unanswered[0]["linked"]), (&json!("bob"), &json!(false)));
    first.kill();
    let mut second = alice.home.chat(&[]);
    let mut bobs = bob.home.chat(&[]);
    let number = must_be_invited(&mut bobs);
    bobs.ask("accept", json!({ "invitation": number }), SOON);
    second.wait_for(SOON, |line| has_answered(line, "bob", true));
    assert_eq!(second.end_input(SOON), Some(0));
    // It is answered for good.
    let mut third = alice.home.chat(&[]);
    third.wait_for(MESH_WITHIN, |line| is_linked(line, "bob"));
    assert_eq!(third.ask("invitations", json!({}), SOON)["unanswered"], json!([]));
}

#[test]
fn an_invitee_that_ended_before_it_said_anything_is_asked_again_and_after_that_no_more() {
    let Some((alice, bob, _tracker)) = owing() else { return };
    let mut node = alice.home.chat(&[]);
    let mut first = bob.home.chat(&[]);
    must_be_invited(&mut first);
    let refused = bob.home.run(&["channel", "accept", "7"], b"");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("no invitation"), "{said}");
    first.kill();
    must_know_nothing(&bob.home, &secrets_of(&alice.home, NAME));
    let refused = bob.home.run(&["channel", "accept", "1"], b"");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("no node runs"), "{said}");

    let mut second = bob.home.chat(&[]);
    let number = must_be_invited(&mut second);
    second.ask("accept", json!({ "invitation": number }), SOON);
    node.wait_for(SOON, |line| has_answered(line, "bob", true));
    second.kill();
    let mut third = bob.home.chat(&[]);
    third.wait_for(MESH_WITHIN, |line| is_linked(line, "alice"));
    third.listen(A_WHILE);
    assert_eq!(third.count(|line| is(line, "invited")), 0, "{}", third.story());
    third.ask("say", json!({"channel": NAME, "text": "here"}), SOON);
    node.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "here");
}

#[test]
fn who_is_blocked_cannot_invite_until_they_are_a_contact_again() {
    let Some((alice, bob, _tracker)) = owing() else { return };
    bob.home.must_run_quietly(&["contact", "block", "alice"]);
    let mut node = alice.home.chat(&[]);
    let mut bobs = bob.home.chat(&[OTHER]);
    bobs.listen(A_WHILE);
    assert_eq!(bobs.count(|line| is(line, "invited")), 0, "{}", bobs.story());
    assert_eq!(bobs.ask("invitations", json!({}), SOON)["invitations"], json!([]));
    bobs.ask("contact_remove", json!({"contact": "alice"}), SOON);
    bobs.ask("contact_add", json!({"card": alice.card}), SOON);
    must_be_invited(&mut bobs);
    bobs.ask("decline", json!({"invitation": NAME}), SOON);
    node.wait_for(SOON, |line| has_answered(line, "bob", false));
}

#[test]
fn a_ticket_that_has_expired_is_renewed_without_a_word_of_its_holder() {
    let spot = Spot::pick();
    let Ok([mut alice, mut bob]) = <[Person; 2]>::try_from(people(spot, &["alice", "bob"])) else {
        return;
    };
    let file = alice.home.path().join("team.chat").to_str().expect("UTF-8").to_owned();
    alice.home.must_run_quietly(&["channel", "new", "team", "--fixed", "--closed", "-o", &file]);
    let line = alice.home.must_run(&["channel", "invite", "team", "bob", "--expires", "1h"]);
    bob.home.must_run_quietly(&["channel", "join", line.trim()]);
    // An hour and a quarter later, by the clocks of both.
    for home in [&mut alice.home, &mut bob.home] {
        home.set_clock_ahead(4500);
    }
    let hashes = [infohashes(&alice.home, "bob"), infohashes(&alice.home, "team")].concat();
    let Some(_tracker) = spot.start(&hashes) else { return };
    let _alices = Daemon::start(&alice.home, SOON);
    let mut bobs = bob.home.chat(&[]);
    bobs.wait_for(MESH_WITHIN, |line| is_linked(line, "alice"));
    bobs.wait_for(MESH_WITHIN, |line| {
        let text = line["params"]["text"].as_str().unwrap_or_default();
        is(line, "warning") && text.contains("team") && text.contains("expired")
    });

    let invited = alice.home.run(&["channel", "invite", "team", "bob", "--expires", "24h"], b"");
    let said = String::from_utf8_lossy(&invited.stderr).into_owned();
    assert!(said.contains("bob is here: the invitation was sent"), "{said}");
    assert!(invited.stdout.starts_with(b"bitchat:channel?"), "and the line is printed");
    let renewed = bobs.wait_for(SOON, |line| is(line, "ticket_renewed"));
    assert_eq!(
        (&renewed["params"]["name"], &renewed["params"]["label"]),
        (&json!("alice"), &json!("team"))
    );
    let team = &renewed["params"]["channel"];
    bobs.wait_for(MESH_WITHIN, |line| is_member(line, "alice", team));
    assert_eq!(bobs.count(|line| is(line, "invited")), 0, "{}", bobs.story());
}

#[test]
fn who_is_known_by_a_channel_alone_invites_as_somebody_who_is_no_contact() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all();
    let [alice, bob] = &mut chats[..] else { unreachable!("two homes") };
    let you = bob.ask("channels", json!({}), SOON)["you"].clone();
    for name in [NAME, "another"] {
        let file = scene.homes[0].path().join(name).to_str().expect("UTF-8").to_owned();
        scene.homes[0].must_run_quietly(&["channel", "new", name, "--closed", "-o", &file]);
        let invited = alice.ask("invite", json!({"channel": name, "contact": you}), SOON);
        assert_eq!(invited["delivery"], "sent", "{invited}");
    }
    let invited = bob.wait_for(SOON, |line| is(line, "invited"));
    assert_eq!(
        (&invited["params"]["label"], &invited["params"]["contact"]),
        (&json!(NAME), &json!(false))
    );
    bob.listen(A_WHILE);
    assert_eq!(bob.count(|line| is(line, "invited")), 1, "one at a time: {}", bob.story());
    let joined = bob.ask("accept", json!({"invitation": NAME}), SOON);
    assert_eq!((&joined["name"], &joined["kind"]), (&json!(NAME), &json!("closed")));
    let answered = alice.wait_for(SOON, |line| is(line, "invite_answered"));
    assert_eq!(answered["params"]["peer"], you);
}

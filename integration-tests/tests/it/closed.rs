//! A closed channel lets in who was invited, and tells everybody else why not.

use std::time::Duration;

use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::Spot;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, is, must_talk};

/// A founder of a closed channel, the file of it, and where its tracker is to be.
pub(crate) struct Club {
    pub(crate) founder: Home,
    pub(crate) file: String,
    pub(crate) spot: Spot,
    pub(crate) infohash: String,
}

impl Club {
    pub(crate) fn found(flags: &[&str]) -> Self {
        let (spot, founder) = (Spot::pick(), person("alice"));
        let file = founder.path().join("team.chat").to_str().expect("UTF-8").to_owned();
        let url = spot.udp_url();
        let new = ["--json", "channel", "new", "team", "--fixed", "--closed", "-o", &file];
        let made = founder.must_run(&[&new[..], &["--tracker", &url], flags].concat());
        let made: Value = serde_json::from_str(&made).expect("JSON");
        let infohash = made["infohashes"][0].as_str().expect("an infohash").to_owned();
        Self { founder, file, spot, infohash }
    }

    /// The line that lets a person in.
    pub(crate) fn invite(&self, invitee: &Home, flags: &[&str]) -> String {
        invite(&self.founder, invitee, flags)
    }
}

pub(crate) fn person(name: &str) -> Home {
    let home = Home::new(PROGRAM);
    home.must_run_quietly(&["id", "rename", name]);
    // Those who meet have nothing but the channel: their own pairs would be looked for elsewhere.
    home
}

pub(crate) fn id_of(home: &Home) -> String {
    let shown: Value =
        serde_json::from_str(&home.must_run(&["--json", "id", "show"])).expect("JSON");
    shown["id"].as_str().expect("an id").to_owned()
}

fn invite(host: &Home, invitee: &Home, flags: &[&str]) -> String {
    let id = id_of(invitee);
    let line = host.must_run(&[&["channel", "invite", "team", &id], flags].concat());
    line.trim().to_owned()
}

pub(crate) fn has_warning(chat: &mut Chat, words: &[&str]) {
    chat.wait_for(MESH_WITHIN, |line| {
        let text = line["params"]["text"].as_str().unwrap_or_default();
        is(line, "warning") && words.iter().all(|word| text.contains(word))
    });
}

#[test]
fn who_was_invited_is_let_in_and_who_only_has_the_file_is_told_to_ask_for_a_ticket() {
    let club = Club::found(&[]);
    let Some(_tracker) = club.spot.start(std::slice::from_ref(&club.infohash)) else { return };
    let (bob, carol, mallory) = (person("bob"), person("carol"), person("mallory"));
    let bobs = club.invite(&bob, &["--may-invite"]);
    // Who is invited joins by the line, and may hand on.
    bob.must_run_quietly(&["channel", "join", &bobs]);
    let carols = invite(&bob, &carol, &[]);
    let mut chats = vec![club.founder.chat(&["team"]), bob.chat(&["team"]), carol.chat(&[&carols])];
    for chat in &mut chats {
        chat.wait_for_count(2, MESH_WITHIN, |line| is(line, "member_up"));
    }
    must_talk(&mut chats, 0, 2, "only us");
    must_talk(&mut chats, 2, 1, "indeed");

    // A stranger with the file alone, and one with somebody else's ticket.
    let mut stranger = mallory.chat(&[&club.file]);
    has_warning(&mut stranger, &["team", "no ticket", "bitchat channel invite"]);
    let stolen = mallory.run(&["channel", "join", &carols], b"");
    assert!(!stolen.status.success());
    chats[0].ask("say", json!({"text": "is she gone?"}), SOON);
    stranger.listen(Duration::from_secs(1));
    assert_eq!(stranger.count(|line| is(line, "message") || is(line, "member_up")), 0);
    let status = stranger.ask("status", json!({}), SOON);
    let refused = status["channels"][0]["refused"].as_array().expect("a list");
    assert!(refused[0]["text"].as_str().is_some_and(|text| text.contains("ticket")), "{status}");
    let warnings = stranger.count(|line| is(line, "warning"));
    assert_eq!(warnings, 1, "it is said once: {}", stranger.story());
    for chat in &mut chats {
        assert_eq!(chat.count(|line| is(line, "member_up")), 2, "{}", chat.story());
    }

    // With a ticket issued while all nodes run, she is let in.
    assert_eq!(stranger.end_input(SOON), Some(0));
    let issued = chats[0].ask("invite", json!({"contact": id_of(&mallory)}), SOON);
    assert!(issued["link"].as_str().is_some_and(|link| link.contains("&ticket=")), "{issued}");
    let line = club.invite(&mallory, &["--expires", "1h"]);
    let mut guest = mallory.chat(&[&line]);
    guest.wait_for_count(3, MESH_WITHIN, |line| is(line, "member_up"));
}

#[test]
fn a_ticket_that_has_expired_is_refused_with_a_word_about_whom_to_ask() {
    let club = Club::found(&[]);
    let Some(_tracker) = club.spot.start(std::slice::from_ref(&club.infohash)) else { return };
    let mut bob = person("bob");
    let line = club.invite(&bob, &["--expires", "1h"]);
    bob.must_run_quietly(&["channel", "join", &line]);
    // An hour and a quarter later, by the clocks of both.
    let mut club = club;
    for home in [&mut bob, &mut club.founder] {
        home.set_clock_ahead(4500);
    }
    let _founder = club.founder.chat(&["team"]);
    let mut guest = bob.chat(&["team"]);
    has_warning(&mut guest, &["expired", "invite"]);
}

#[test]
fn a_blind_seeder_of_a_closed_channel_needs_the_founder_s_ticket() {
    let club = Club::found(&[]);
    let Some(_tracker) = club.spot.start(std::slice::from_ref(&club.infohash)) else { return };
    let (keeper, bob) = (person("keeper"), person("bob"));
    let line = club.invite(&keeper, &["--seeder"]);
    assert!(line.contains("seed=") && !line.contains("secret="), "{line}");
    let mut alice = club.founder.chat(&["team"]);
    let _seeder = crate::seeder::seed(&keeper, &line);
    alice.wait_for(MESH_WITHIN, |line| is(line, "seeder_up"));
    // With a member's file and no ticket, a seeder is turned away.
    let _other = crate::seeder::seed(&bob, &club.file);
    alice.listen(Duration::from_secs(3));
    assert_eq!(alice.count(|line| is(line, "seeder_up")), 1, "{}", alice.story());
}

#[test]
fn where_contacts_are_let_in_both_must_have_added_the_other() {
    let club = Club::found(&["--contacts"]);
    let Some(_tracker) = club.spot.start(std::slice::from_ref(&club.infohash)) else { return };
    let card = |home: &Home| home.must_run(&["id", "card"]).trim().to_owned();
    let (bob, carol) = (person("bob"), person("carol"));
    club.founder.must_run_quietly(&["contact", "add", &card(&bob)]);
    bob.must_run_quietly(&["contact", "add", &card(&club.founder)]);
    let off = ["--set", "contacts.pair_channels=false"];
    let mut alice = club.founder.chat(&[&off[..], &["team"]].concat());
    let mut guest = bob.chat(&[&off[..], &[&club.file]].concat());
    guest.wait_for(MESH_WITHIN, |line| is(line, "member_up"));
    alice.wait_for(MESH_WITHIN, |line| is(line, "member_up"));
    let mut stranger = carol.chat(&[&club.file]);
    has_warning(&mut stranger, &["contacts only", "card"]);
    assert_eq!(alice.count(|line| is(line, "member_up")), 1, "{}", alice.story());
}

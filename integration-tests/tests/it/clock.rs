//! The calendar clock is wrong or jumps: links and talk do not care, new links need clocks that agree.

use std::time::{SystemTime, UNIX_EPOCH};

use bitchat_integration_tests::node::Chat;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, SOON, Scene, is, must_have_links, must_talk};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// Sets a node's calendar clock so far ahead of the right time.
fn set_ahead(chat: &mut Chat, seconds: i64) {
    chat.ask("clock", json!({ "seconds_ahead": seconds }), SOON);
}

/// The right time.
fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}

/// Has one talk to another; the time on the message is the speaker's, so far ahead of the right one.
fn must_talk_at(chats: &mut [Chat], from: usize, to: usize, text: &str, seconds_ahead: i64) {
    must_talk(chats, from, to, text);
    let said = |line: &Value| is(line, "message") && line["params"]["text"] == text;
    let message = chats[to].wait_for(SOON, said);
    let at = message["params"]["unix_ms"].as_i64().expect("a time");
    let wrong_by = at - unix_ms() - seconds_ahead * 1000;
    assert!(wrong_by.abs() < 10_000, "{text}: wrong by {wrong_by} ms: {message}");
}

#[test]
fn links_and_talk_survive_a_clock_that_jumps_by_a_day_and_back() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all();
    for (nth, ahead) in [DAY, -DAY, -50 * 365 * DAY, 0].into_iter().enumerate() {
        set_ahead(&mut chats[0], ahead);
        must_talk_at(&mut chats, 0, 1, &format!("what time is it? ({nth})"), ahead);
        must_talk_at(&mut chats, 1, 0, &format!("late ({nth})"), 0);
    }
    for chat in &mut chats {
        assert_eq!(chat.count(|line| is(line, "member_down")), 0, "{}", chat.story());
        assert_eq!(chat.count(|line| is(line, "member_up")), 1, "{}", chat.story());
        assert_eq!(chat.end_input(SOON), Some(0));
        assert!(
            !chat.said().iter().any(|line| line.contains(" WARN ") || line.contains("panicked"))
        );
    }
}

/// Starts one with a wrong clock, and when the tracker knows it, one with the right one, which dials
/// it.
fn start_with_clock(scene: &Scene, seconds_ahead: i64) -> Vec<Chat> {
    let mut wrong = scene.chat_with(0, &["--set", "log.level=info"]);
    set_ahead(&mut wrong, seconds_ahead);
    wrong.wait_for_talk(MESH_WITHIN, &["announced"]);
    vec![wrong, scene.chat(1)]
}

#[test]
fn clocks_that_differ_by_less_than_a_minute_are_good_enough() {
    for ahead in [MINUTE - 5, 5 - MINUTE] {
        let scene = Scene::new(2);
        let Some(_tracker) = scene.start_tracker() else { return };
        let mut chats = start_with_clock(&scene, ahead);
        for chat in &mut chats {
            must_have_links(chat, 1, MESH_WITHIN);
        }
        must_talk_at(&mut chats, 0, 1, "good enough", ahead);
    }
}

fn nodes_are_apart_until_a_clock_is_set(seconds_ahead: i64, words: &str) {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = start_with_clock(&scene, seconds_ahead);
    // Who is dialled is told; to whoever dials, it looks as if nobody were there.
    let words = ["a member's clock is", words, "set the one that is wrong"];
    chats[0].wait_for_talk(MESH_WITHIN, &words);
    for chat in &mut chats {
        assert_eq!(chat.ask("peers", json!({}), SOON)["members"], json!([]));
    }
    set_ahead(&mut chats[0], 0);
    for chat in &mut chats {
        must_have_links(chat, 1, MESH_WITHIN);
    }
    must_talk_at(&mut chats, 0, 1, "my clock was wrong", 0);
}

#[test]
fn a_clock_ten_minutes_ahead_keeps_nodes_apart_and_is_told_of() {
    nodes_are_apart_until_a_clock_is_set(10 * MINUTE, "minutes behind this machine's");
}

#[test]
fn a_clock_ten_minutes_behind_keeps_nodes_apart_and_is_told_of() {
    nodes_are_apart_until_a_clock_is_set(-10 * MINUTE, "minutes ahead of this machine's");
}

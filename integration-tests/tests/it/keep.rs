//! Nothing that a node has confirmed is lost, doubled, or shown in another order to somebody else.

use std::time::{Duration, Instant};

use bitchat_integration_tests::checker::{Checker, Shown};
use bitchat_integration_tests::namespace::Segment;
use bitchat_integration_tests::node::{Chat, Home};
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, Scene, must_have_links};

/// So often a node is killed, unless `BITCHAT_TESTS_KILLS` says otherwise.
const KILLS: usize = 200;

/// From the last change until all have the same.
const SAME_WITHIN: Duration = Duration::from_secs(60);

/// Small numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

/// Nodes that talk, and what they were asked to say.
struct Talk {
    chats: Vec<Chat>,
    peers: Vec<String>,
    checker: Checker,
    count: u64,
    /// Requests without an answer yet: the node, the request, the message.
    open: Vec<(usize, u64, String)>,
}

impl Talk {
    fn new(mut chats: Vec<Chat>) -> Self {
        let peer = |chat: &mut Chat| {
            let channels = chat.ask("channels", json!({}), SOON);
            channels["you"].as_str().expect("an id").to_owned()
        };
        let peers = chats.iter_mut().map(peer).collect();
        Self { chats, peers, checker: Checker::default(), count: 0, open: Vec::new() }
    }

    /// Has a node say something, and waits for nothing.
    fn say(&mut self, node: usize) {
        self.count += 1;
        let (text, key) = (format!("message {}", self.count), format!("{:032x}", self.count));
        self.checker.says(&self.peers[node], &key, &text);
        let request = self.chats[node].request("say", json!({"text": text, "key": key}));
        self.open.push((node, request, key));
    }

    /// Notes which of the messages of a node it has confirmed.
    fn hear(&mut self, node: usize, time: Duration) {
        self.chats[node].listen(time);
        let seen = self.chats[node].seen();
        let checker = &mut self.checker;
        self.open.retain(|(of, request, key)| {
            let answer = seen.iter().find(|line| *of == node && line["id"] == *request);
            if let Some(answer) = answer
                && answer["result"]["id"] == **key
            {
                checker.acknowledged(key);
            }
            answer.is_none()
        });
    }

    /// Kills a node and starts it again; what it had not answered stays open for ever.
    fn kill(&mut self, node: usize, start: impl FnOnce() -> Chat) {
        self.chats[node].kill();
        self.hear(node, Duration::from_millis(20));
        self.open.retain(|(of, ..)| *of != node);
        self.chats[node] = start();
    }

    /// Waits until all have the same, and holds that against what was said.
    fn must_agree(&mut self) {
        let began = Instant::now();
        loop {
            for node in 0..self.chats.len() {
                self.hear(node, Duration::from_millis(50));
            }
            let all: Vec<(String, Vec<Shown>)> = self
                .chats
                .iter_mut()
                .enumerate()
                .map(|(node, chat)| (format!("node {node}"), history(chat)))
                .collect();
            match self.checker.check_all(&all) {
                Ok(()) if self.open.is_empty() => break,
                Ok(()) => {}
                Err(error) => assert!(
                    began.elapsed() < SAME_WITHIN,
                    "{error}; {}",
                    self.chats.iter_mut().map(|chat| chat.story()).collect::<Vec<_>>().join("\n\n")
                ),
            }
        }
        for chat in &mut self.chats {
            must_have_told_each_once(chat);
        }
    }
}

/// The whole history of "team", oldest first.
fn history(chat: &mut Chat) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut after = Value::Null;
    let oldest = json!("0".repeat(112));
    loop {
        let from = if after.is_null() { &oldest } else { &after };
        let params = json!({"channel": "team", "after": from, "limit": 1000});
        let page = chat.ask("history", params, SOON);
        let messages = page["messages"].as_array().expect("a list");
        let text = |message: &Value, field: &str| message[field].as_str().expect("text").to_owned();
        all.extend(messages.iter().map(|message| Shown {
            id: text(message, "id"),
            author: text(message, "from"),
            text: text(message, "text"),
        }));
        match messages.last() {
            None => return all,
            Some(last) => after = last["position"].clone(),
        }
    }
}

/// Over all its runs, a node has numbered its events without a gap, and each message once.
fn must_have_told_each_once(chat: &mut Chat) {
    let (mut since, mut ids) = (0, Vec::new());
    loop {
        let page = chat.ask("events", json!({"since": since, "limit": 1000}), SOON);
        let events = page["events"].as_array().expect("a list");
        if events.is_empty() {
            break;
        }
        for event in events {
            since += 1;
            assert_eq!(event["params"]["seq"], since, "{event}");
            if event["method"] == "message" {
                ids.push(event["params"]["id"].as_str().expect("an id").to_owned());
            }
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an event was told twice");
}

#[test]
fn five_nodes_that_are_killed_while_they_talk_lose_and_double_nothing_they_confirmed() {
    let kills = std::env::var("BITCHAT_TESTS_KILLS").ok().and_then(|it| it.parse().ok());
    let mut dice = Dice(7);
    let scene = Scene::new(5);
    let Some(_tracker) = scene.start_tracker() else { return };
    let chats = scene.chat_all();
    let mut talk = Talk::new(chats);
    for _ in 0..kills.unwrap_or(KILLS) {
        for _ in 0..10 {
            talk.say(dice.below(5));
        }
        let victim = dice.below(5);
        // Some have time to confirm, some to pass it on, some none at all.
        let time = Duration::from_millis([0, 5, 50, 300][dice.below(4)]);
        talk.hear(victim, time);
        talk.kill(victim, || scene.chat(victim));
    }
    talk.must_agree();
    assert!(talk.checker.acknowledged_count() > 5 * kills.unwrap_or(KILLS), "they talked");
}

/// The address of a host.
fn address(host: usize) -> String {
    format!("10.99.9.{}", host + 1)
}

#[test]
fn two_and_three_who_were_apart_and_both_talked_have_one_log_afterwards() {
    let addresses: Vec<String> = (0..5).map(|host| format!("{}/24", address(host))).collect();
    let Some(segment) = Segment::lay(&addresses) else { return };
    let homes: Vec<Home> = (0..5)
        .map(|host| {
            let mut home = Home::new(PROGRAM);
            for (key, value) in [
                ("lan.enabled", "true"),
                ("trackers.enabled", "false"),
                ("trackers.default", ""),
                ("mesh.keep_alive", "1s"),
                ("mesh.idle_timeout", "3s"),
            ] {
                home.set(key, value);
            }
            home.move_to(segment.host(host));
            home
        })
        .collect();
    let file = homes[0].path().join("team.chat").to_str().expect("UTF-8").to_owned();
    let _ = homes[0].must_run(&["channel", "new", "team", "--fixed", "-o", &file]);
    let mut chats: Vec<Chat> = homes.iter().map(|home| home.chat(&[&file])).collect();
    for chat in &mut chats {
        must_have_links(chat, 4, MESH_WITHIN);
    }
    let mut talk = Talk::new(chats);
    let all_say = |talk: &mut Talk| {
        for _ in 0..5 {
            (0..5).for_each(|node| talk.say(node));
        }
    };
    all_say(&mut talk);
    let pairs = || (0..2).flat_map(|one| (2..5).map(move |other| (one, other)));
    for (one, other) in pairs() {
        segment.part(one, &address(other));
        segment.part(other, &address(one));
    }
    all_say(&mut talk);
    // Until each side holds the other for gone; its links say so.
    let linked = |chat: &mut Chat| {
        let peers = chat.ask("peers", json!({}), SOON);
        let members = peers["members"].as_array().expect("a list").clone();
        members.iter().filter(|member| member["linked"] == true).count()
    };
    let began = Instant::now();
    while (0..5).any(|node| linked(&mut talk.chats[node]) != if node < 2 { 1 } else { 2 }) {
        assert!(began.elapsed() < MESH_WITHIN, "not apart: {}", talk.chats[0].story());
        talk.chats[0].listen(Duration::from_millis(100));
    }
    all_say(&mut talk);
    for node in 0..5 {
        talk.hear(node, Duration::from_millis(200));
    }
    let sides = [0, 4].map(|node| history(&mut talk.chats[node]));
    assert_ne!(sides[0], sides[1], "they are apart");
    for (one, other) in pairs() {
        segment.heal(one, &address(other));
        segment.heal(other, &address(one));
    }
    talk.must_agree();
    assert_eq!(history(&mut talk.chats[0]).len(), 75);
}

#[test]
fn what_was_said_in_a_channel_that_was_left_is_gone() {
    let mut scene = Scene::new(1);
    scene.homes[0].set("trackers.enabled", "false");
    let leave = ["channel", "leave", "team"];
    for through_the_node in [false, true] {
        let mut chat = scene.chat(0);
        chat.ask("say", json!({"text": "not for long"}), SOON);
        assert_eq!(history(&mut chat).len(), 1);
        if through_the_node {
            chat.ask("channel_leave", json!({"channel": "team"}), SOON);
        }
        chat.request("quit", json!({}));
        chat.exit_code(SOON);
        if !through_the_node {
            let _ = scene.homes[0].must_run(&leave);
        }
        let mut again = scene.chat(0);
        assert_eq!(history(&mut again), []);
        let undelivered = again.ask("undelivered", json!({}), SOON);
        assert_eq!(undelivered, json!({"count": 0, "messages": []}));
        again.request("quit", json!({}));
        again.exit_code(SOON);
    }
}

#[test]
fn a_person_looks_back_and_searches() {
    let mut scene = Scene::new(1);
    scene.homes[0].set("trackers.enabled", "false");
    let _ = scene.homes[0].must_run(&["id", "rename", "ann"]);
    let chat = ["chat", &scene.file, "--linger", "500ms"];
    let _ = scene.homes[0].run(&chat, b"first \x1b[2J words\nother things\n");
    let output =
        scene.homes[0].run(&chat, b"/history\n/search WORDS\n/search nobody\n/history x\n");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = shown.lines().collect();
    assert!(!shown.contains('\x1b'), "{shown:?}");
    assert_eq!(lines[0], "* said before in team:");
    assert!(lines[1].starts_with("[team] ann: first ") && lines[1].ends_with("words"), "{shown}");
    assert_eq!(lines[2..4], ["[team] ann: other things", "* found:"]);
    assert_eq!((lines[4], lines[5]), (lines[1], "* nothing is kept"));
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(talk.contains("/history 50"), "{talk}");
}

//! A node without a console, and those who talk through it at its control socket.

use std::time::{Duration, Instant};

use bitchat_integration_tests::control::{Client, Daemon};
use bitchat_integration_tests::node::{Chat, Home};
use serde_json::{Value, json};

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
        assert_eq!(client.ask("subscribe", &json!({"channels": ["team"]}))["n"], 0);
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
    let own = |line: &Value, own: bool| line["method"] == "message" && line["params"]["own"] == own;
    for client in &mut clients {
        client.wait_for(|line| is(line, "delivered") && line["params"]["id"] == key);
        let text = "hello yourselves";
        client.wait_for(|line| is(line, "message") && line["params"]["text"] == text);
        let each = [true, false].map(|is_own| client.count(|line| own(line, is_own)));
        assert_eq!(each, [1, 1], "each once");
    }
    bob.listen(Duration::from_millis(300));
    assert_eq!(bob.count(|line| own(line, false)), 1, "a repetition under a key is none");
    let owed = clients[1].ask("undelivered", &json!({}));
    assert_eq!(owed, json!({"count": 0, "messages": []}));
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

#[test]
fn two_chats_attach_to_one_node_talk_and_leave_it_running() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut daemon = Daemon::start(&scene.homes[0], SOON);
    let mut bob = scene.chat(1);
    let home = &scene.homes[0];
    let (mut by_name, mut by_file) = (home.chat(&["team"]), scene.chat(0));
    for chat in [&mut by_name, &mut by_file, &mut bob] {
        must_have_links(chat, 1, MESH_WITHIN);
    }
    by_name.ask("say", json!({"text": "one"}), SOON);
    by_file.ask("tell", json!({"to": &bob_id(&mut bob), "text": "two"}), SOON);
    for text in ["one", "two"] {
        bob.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == text);
    }
    bob.ask("say", json!({"text": "three"}), SOON);
    for chat in [&mut by_name, &mut by_file] {
        chat.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "three");
    }
    by_name.ask("quit", json!({}), SOON);
    assert_eq!(by_name.exit_code(SOON), Some(0));
    by_file.ask("say", json!({"text": "still here"}), SOON);
    assert_eq!(by_file.end_input(SOON), Some(0));
    bob.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "still here");

    // Lines for people, as in a pipe.
    let output = home.run(&["chat", "team"], b"four\n/peers\n/nonsense\n");
    let (shown, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("* team: 1 of 1 linked, mesh full\n"), "{shown}{said}");
    assert!(shown.contains("* delivered to "), "{shown}{said}");
    assert!(said.contains("/nonsense is not a command"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    bob.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "four");
    let output = home.run(&["chat", "nowhere"], b"");
    assert_eq!(output.status.code(), Some(1));

    // What nobody takes is told to whoever said it, and not to the next chat.
    bob.ask("quit", json!({}), SOON);
    let mut alice = Client::connect(home, MESH_WITHIN);
    must_be_linked(&mut alice, 0);
    let output = home.run(&["chat", "team", "--linger", "300ms"], b"five\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("not delivered: nobody took 1 message within 300ms"), "{said}");
    assert_eq!(home.run(&["chat", "team", "--linger", "300ms"], b"").status.code(), Some(0));
    daemon.stop();
}

fn bob_id(bob: &mut Chat) -> String {
    let you = bob.ask("channels", json!({}), SOON)["you"].clone();
    you.as_str().expect("an id").to_owned()
}

#[test]
fn a_chat_whose_node_ends_says_so_and_ends_with_3() {
    let scene = Scene::new(1);
    for ends in [Daemon::stop, Daemon::kill] {
        let mut daemon = Daemon::start(&scene.homes[0], SOON);
        let mut chat = scene.homes[0].chat(&["team"]);
        chat.ask("channels", json!({}), SOON);
        ends(&mut daemon);
        assert_eq!(chat.exit_code(SOON), Some(3));
        chat.wait_for_talk(SOON, &["the node that this chat went through has ended"]);
    }
    // Whoever comes while it starts waits for it, or is before it.
    let daemon = Daemon::begin(&scene.homes[0]);
    for _ in 0..20 {
        let _ = scene.homes[0].must_run(&["channel", "list"]);
    }
    drop(daemon);
    // Nothing is left in the way of a chat with a node of its own.
    let output = scene.homes[0].run(&["chat", "team"], b"");
    assert_eq!(output.status.code(), Some(0));
}

/// What a command prints and ends with, but for how long ago things were.
fn told(home: &Home, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = home.run(arguments, b"");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn commands_say_and_do_the_same_through_a_running_node_as_without_one() {
    let scene = Scene::new(2);
    let [home, other] = &scene.homes[..] else { unreachable!("two homes") };
    let _ = other.must_run(&["id", "rename", "Bob"]);
    let card = other.must_run(&["id", "card"]);
    let link = home.must_run(&["--json", "channel", "show", "team"]);
    let link: Value = serde_json::from_str(&link).expect("JSON");
    let link = link["link"].as_str().expect("a link").to_owned();
    let file = |name: &str| home.path().join(name).to_str().expect("UTF-8").to_owned();
    let (exported, made) = (file("exported.chat"), file("made.chat"));
    // Each leaves the profile as it found it, taken together.
    let commands: &[&[&str]] = &[
        &["contact", "add", card.trim()],
        &["channel", "list"],
        &["channel", "show", "bob"],
        &["--json", "channel", "show", "bob"],
        &["channel", "export", "bob"],
        &["channel", "leave", "bob"],
        &["contact", "list"],
        &["--json", "contact", "show", "bob"],
        &["contact", "show", "bob"],
        &["contact", "verify", "bob"],
        &["contact", "verify", "bob", "--words", "12345"],
        &["contact", "verify", "bob", "--yes"],
        &["contact", "rename", "bob", "Bob\u{7}"],
        &["contact", "rename", "bob", "Robert"],
        &["--json", "contact", "block", "robert"],
        &["contact", "add", card.trim()],
        &["contact", "remove", "robert"],
        &["contact", "show", "robert"],
        &["contact", "add", "bitchat:contact?"],
        &["contact", "add", "nobody"],
        &["channel", "list"],
        &["--json", "channel", "show", "team"],
        &["channel", "show", "team"],
        &["channel", "export", "team", "-o", &exported],
        &["channel", "export", "team", "-o", &exported],
        &["--json", "channel", "export", "team", "--seed-only", "-o", &made],
        &["channel", "leave", "team"],
        &["channel", "leave", "team"],
        &["channel", "list"],
        &["--json", "channel", "join", &link],
        &["channel", "join", "nowhere.chat"],
        &["channel", "join", &exported],
    ];
    let all = || {
        let told: Vec<_> = commands.iter().map(|arguments| told(home, arguments)).collect();
        let files = [&exported, &made].map(|path| {
            let bytes = std::fs::read(path).expect("written");
            std::fs::remove_file(path).expect("ours");
            bytes
        });
        (told, files)
    };
    let (without, files) = all();
    let daemon = Daemon::start(home, SOON);
    let (with, files_of_node) = all();
    for ((arguments, one), other) in commands.iter().zip(&without).zip(&with) {
        assert_eq!(one, other, "{arguments:?}");
    }
    assert!(files == files_of_node, "the files are the same, byte for byte");
    let codes = without.iter().map(|(.., code)| code.expect("it ends by itself"));
    assert_eq!(
        codes.collect::<Vec<_>>(),
        [
            0, 0, 0, 0, 1, 1, 0, 0, 0, 2, 4, 0, 2, 0, 0, 1, 0, 1, 2, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0,
            0, 1, 0
        ]
    );

    // And it is the running node that has it.
    let _ = home.must_run(&["contact", "add", card.trim()]);
    let _ = home.must_run(&["contact", "verify", "Bob", "--yes"]);
    let made = home.must_run(&["--json", "channel", "new", "club", "-o", &made]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let mut node = Client::connect(home, SOON);
    assert_eq!(node.ask("contact_show", &json!({"contact": "bob"}))["trust"], "verified");
    let club = node.ask("channel_show", &json!({"channel": "club"}));
    assert_eq!((&club["id"], &club["open"]), (&made["id"], &json!(true)));
    assert_eq!(club["founder"], node.ask("channels", &json!({}))["you"]);
    drop(daemon);
    assert!(home.must_run(&["contact", "list"]).contains(" verified "), "it is on disk");
}

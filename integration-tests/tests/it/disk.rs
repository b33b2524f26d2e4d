//! A disk that is full or read-only: what was confirmed is kept, what cannot be done is said, and a
//! running node goes on.

use std::process::Output;
use std::time::Duration;

use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::small_disk::SmallDisk;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, Scene, is, must_have_links, must_talk};

/// A node gathers what it saves for some seconds, twice.
const SAVED_WITHIN: Duration = Duration::from_secs(15);

/// What a full disk is called, and what to do about it.
const FULL: [&str; 2] = ["No space left on device", "free some space"];

/// What a read-only disk is called, and what to do about it.
const READ_ONLY: [&str; 2] = ["Read-only file system", "--data-dir"];

#[track_caller]
fn check_failed(arguments: &[&str], output: &Output, words: &[&str]) {
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {talk}");
    for word in words {
        assert!(talk.contains(word), "{arguments:?} does not say {word:?}: {talk}");
    }
    assert!(!talk.contains("panicked"), "{talk}");
    assert!(output.stdout.is_empty(), "nothing was done");
}

fn card_of_somebody() -> String {
    let home = Home::new(PROGRAM);
    let card = home.must_run(&["--json", "id", "card", "--name", "bob"]);
    let card: Value = serde_json::from_str(&card).expect("JSON");
    card["card"].as_str().expect("a card").to_owned()
}

#[test]
fn commands_on_a_full_disk_fail_in_words_and_leave_everything_as_it_was() {
    let [scene, other] = [(); 2].map(|()| Scene::new(1));
    let home = Home::new(PROGRAM);
    let Some(disk) = SmallDisk::mount(&home.data_dir()) else { return };
    let _ = home.must_run(&["channel", "join", &scene.file]);
    let card = card_of_somebody();
    let [inside, outside] = [home.data_dir(), home.path().to_owned()].map(|it| it.join("new.chat"));
    let new = ["channel", "new", "new", "--tracker", "udp://127.0.0.1:1/announce", "-o"];
    let commands: [&[&str]; 5] = [
        &["contact", "add", &card],
        &["id", "rename", "alice"],
        &["channel", "join", &other.file],
        &[&new[..], &[inside.to_str().expect("UTF-8")]].concat(),
        &[&new[..], &[outside.to_str().expect("UTF-8")]].concat(),
    ];

    disk.fill();
    let before = disk.files();
    for command in commands {
        check_failed(command, &home.run(command, b""), &FULL);
        assert_eq!(disk.files(), before, "{command:?}");
        assert!(!outside.exists(), "{command:?}: a file of a channel that does not exist");
    }
    assert_eq!(home.must_run(&["channel", "list"]).lines().count(), 1, "reading takes no space");

    disk.free();
    for command in commands {
        let _ = home.must_run(command);
    }
    // That with the contact is one of them.
    assert_eq!(home.must_run(&["channel", "list"]).lines().count(), 5);
}

#[test]
fn a_new_profile_on_a_full_disk_is_refused_and_made_when_there_is_space() {
    let home = Home::new(PROGRAM);
    let Some(disk) = SmallDisk::mount(&home.data_dir()) else { return };
    disk.fill();
    check_failed(&["id", "show"], &home.run(&["id", "show"], b""), &FULL);
    assert_eq!(disk.files(), []);
    disk.free();
    let _ = home.must_run(&["id", "show"]);
}

/// What the node has complained of.
fn complaints(chat: &mut Chat) -> Vec<&str> {
    chat.said().iter().filter_map(|line| line.split_once(" WARN ")).map(|(_, text)| text).collect()
}

#[test]
fn a_node_whose_disk_becomes_full_says_so_once_goes_on_and_starts_again() {
    let scene = Scene::new(2);
    let Some(disk) = SmallDisk::mount(&scene.homes[1].data_dir()) else { return };
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut tight = scene.chat(1);
    tight.ask("peers", json!({}), SOON);
    disk.fill();
    let before = disk.files();
    let mut chats = vec![scene.chat(0), tight];
    for chat in &mut chats {
        must_have_links(chat, 1, MESH_WITHIN);
    }
    must_talk(&mut chats, 0, 1, "is it tight there?");
    let unsaved = [
        ["the latest meetings cannot be saved", "/contacts"],
        ["the latest addresses cannot be saved", "/channels/"],
    ];
    for words in unsaved {
        chats[1].wait_for_talk(SAVED_WITHIN, &[&words[..], &FULL].concat());
    }
    must_talk(&mut chats, 1, 0, "still, we talk");
    must_talk(&mut chats, 0, 1, "so we do");
    assert_eq!(complaints(&mut chats[1]).len(), unsaved.len(), "each once");
    assert_eq!(chats[1].end_input(SOON), Some(0));
    for words in ["the latest meetings are lost", "the latest addresses are lost"] {
        chats[1].wait_for_talk(SOON, &[FULL[0], words]);
    }
    assert_eq!(disk.files(), before);

    // All that it had confirmed is there: who it is, and the channel.
    let peer = chats[0].wait_for(SOON, |line| is(line, "member_down"))["params"]["peer"].clone();
    chats[1] = scene.chat(1);
    for chat in &mut chats {
        must_have_links(chat, 1, MESH_WITHIN);
    }
    let peers = chats[0].ask("peers", json!({}), SOON);
    assert_eq!(peers["members"][0]["peer"], peer);
    must_talk(&mut chats, 1, 0, "here I am again");
    disk.free();
    assert_eq!(chats[1].end_input(SOON), Some(0));
    assert!(!complaints(&mut chats[1]).iter().any(|text| text.contains("lost")));
    assert_eq!(disk.files().len(), before.len() + unsaved.len(), "now they are saved");
}

#[test]
fn on_a_read_only_disk_everything_is_refused_by_its_path_with_what_to_do() {
    let scene = Scene::new(1);
    let [old, new] = [(); 2].map(|()| Home::new(PROGRAM));
    let Some(disk) = SmallDisk::mount(&old.data_dir()) else { return };
    let Some(empty) = SmallDisk::mount(&new.data_dir()) else { return };
    let _ = old.must_run(&["channel", "join", &scene.file]);
    let before = disk.files();
    disk.make_read_only();
    empty.make_read_only();
    for home in [&old, &new] {
        let path = home.data_dir().join("default");
        let words = [READ_ONLY[0], READ_ONLY[1], path.to_str().expect("UTF-8")];
        let commands: [&[&str]; 4] = [
            &["id", "show"],
            &["contact", "add", "bitchat:contact?"],
            &["channel", "join", &scene.file],
            &["chat", &scene.file],
        ];
        for command in commands {
            check_failed(command, &home.run(command, b""), &words);
        }
    }
    assert_eq!(disk.files(), before);
    assert_eq!(empty.files(), []);
}

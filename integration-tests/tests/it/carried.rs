//! A profile that is carried to another machine, or whose archive is damaged: nothing is lost that
//! somebody still has.

use std::path::{Path, PathBuf};

use bitchat_integration_tests::node::{Chat, Home};
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, Scene, is, must_have_links, must_talk};

/// The texts of all that is kept of "team", sorted.
fn texts(chat: &mut Chat) -> Vec<String> {
    let page = chat.ask("history", json!({"channel": "team", "limit": 1000}), SOON);
    let messages = page["messages"].as_array().expect("a list");
    let text = |message: &Value| message["text"].as_str().expect("text").to_owned();
    let mut texts: Vec<String> = messages.iter().map(text).collect();
    texts.sort();
    texts
}

fn quit(mut chat: Chat) {
    chat.request("quit", json!({}));
    assert_eq!(chat.exit_code(SOON), Some(0));
}

/// A file with a passphrase in the first home.
fn secret(home: &Home, name: &str, passphrase: &str) -> String {
    let path = home.path().join(name);
    std::fs::write(&path, passphrase).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_profile_is_carried_to_another_home_and_both_speak_without_a_fork() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let file = scene.homes[0].path().join("alice.export").to_str().expect("UTF-8").to_owned();
    let passphrase = secret(&scene.homes[0], "secret", "correct horse\n");
    let export = ["profile", "export", &file, "--secret-file", &passphrase];
    let bob = scene.homes[1].must_run(&["id", "card"]);
    let mut chats = scene.chat_all();
    let _ = scene.homes[0].must_run(&["contact", "add", bob.trim()]);
    must_talk(&mut chats, 0, 1, "before it was carried");
    chats[0].wait_for(SOON, |line| is(line, "delivered"));
    let refused = scene.homes[0].run(&export, b"");
    assert_eq!(refused.status.code(), Some(75), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop it first"), "{refused:?}");
    let bob = chats.pop().expect("two");
    quit(chats.pop().expect("one"));

    let _ = scene.homes[0].must_run(&export);
    let again = scene.homes[0].run(&export, b"");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let new = Home::new(PROGRAM);
    let import = ["profile", "import", &file, "--secret-file", &passphrase];
    let wrong = secret(&scene.homes[0], "wrong", "battery staple\n");
    let refused = new.run(&["profile", "import", &file, "--secret-file", &wrong], b"");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let bytes = std::fs::read(&file).expect("read");
    let cut = scene.homes[0].path().join("cut").to_str().expect("UTF-8").to_owned();
    std::fs::write(&cut, &bytes[..bytes.len() - 7]).expect("written");
    let refused = new.run(&["profile", "import", &cut, "--secret-file", &passphrase], b"");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot be imported"), "{refused:?}");
    let is_empty = |path: PathBuf| std::fs::read_dir(path).is_ok_and(|mut it| it.next().is_none());
    assert!(is_empty(new.data_dir()) || !new.data_dir().exists(), "nothing was made");
    let _ = new.must_run(&import);
    let refused = new.run(&import, b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is there already"), "{refused:?}");
    let id = |home: &Home| home.must_run(&["--json", "contact", "list"]);
    assert_eq!(id(&new), id(&scene.homes[0]), "the same contacts");

    // The one that was carried speaks, then the one that stayed, then both are there at once.
    let mut chats = vec![new.chat(&["team"]), bob];
    must_have_links(&mut chats[0], 1, MESH_WITHIN);
    assert_eq!(texts(&mut chats[0]), ["before it was carried"]);
    must_talk(&mut chats, 0, 1, "from where it was carried to");
    chats[0].wait_for(SOON, |line| is(line, "delivered"));
    let bob = chats.pop().expect("two");
    quit(chats.pop().expect("one"));
    let mut chats = vec![scene.chat(0), bob];
    must_have_links(&mut chats[0], 1, MESH_WITHIN);
    must_talk(&mut chats, 0, 1, "from where it was");
    let all = ["before it was carried", "from where it was", "from where it was carried to"];
    for chat in &mut chats {
        let began = std::time::Instant::now();
        while texts(chat) != all {
            assert!(began.elapsed() < MESH_WITHIN, "{}", chat.story());
            chat.listen(std::time::Duration::from_millis(100));
        }
        assert_eq!(chat.count(|line| is(line, "forked")), 0);
        let warned = chat.said().iter().any(|line| line.contains("has signed two different"));
        assert!(!warned, "{}", chat.story());
    }
}

/// Damages an archive in one way.
type Damage = fn(&mut Vec<u8>);

fn must_survive(damage: Damage) {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all();
    let mut all = Vec::new();
    for number in 0..100 {
        for node in [0, 1] {
            let text = format!("message {number} of {node}, {}", "long ".repeat(40));
            chats[node].ask("say", json!({"text": text}), SOON);
            all.push(text);
        }
    }
    all.sort();
    for chat in &mut chats {
        chat.wait_for_count(100, SOON, |line| is(line, "delivered"));
        chat.wait_for_count(100, SOON, |line| is(line, "message"));
    }
    let mut bob = chats.pop().expect("two");
    quit(chats.pop().expect("one"));
    let archive: PathBuf = scene.homes[0].data_dir().join("default/archive");
    let mut bytes = std::fs::read(&archive).expect("read");
    damage(&mut bytes);
    std::fs::write(&archive, &bytes).expect("written");

    let mut alice = scene.chat(0);
    alice.wait_for_talk(SOON, &["archive is damaged"]);
    alice.wait_for_talk(SOON, &["is kept as", "archive.damaged-1"]);
    let channels = alice.ask("channels", json!({}), SOON);
    assert_eq!(channels["channels"][0]["name"], "team", "the rest of the profile is there");
    let aside: &Path = &archive.with_file_name("archive.damaged-1");
    assert_eq!(std::fs::read(aside).expect("kept"), bytes);
    must_have_links(&mut alice, 1, MESH_WITHIN);
    let began = std::time::Instant::now();
    while texts(&mut alice) != all {
        let there = texts(&mut alice).len();
        assert!(began.elapsed() < 4 * MESH_WITHIN, "{there} of 200: {}", alice.story());
        alice.listen(std::time::Duration::from_millis(100));
    }
    alice.ask("say", json!({"text": "still here"}), SOON);
    bob.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "still here");
    assert_eq!(texts(&mut bob).len(), 201, "nothing came twice");
}

#[test]
fn an_archive_that_was_cut_off_is_filled_again_by_others() {
    must_survive(|bytes| bytes.truncate(bytes.len() / 2));
}

#[test]
fn an_archive_with_a_hole_is_filled_again_by_others() {
    must_survive(|bytes| {
        let half = bytes.len() / 8192 * 4096;
        bytes[half..half + 2 * 4096].fill(0xa5);
    });
}

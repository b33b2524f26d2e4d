//! The commands that need no node, run as programs with a home of their own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bitchat"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .current_dir(self.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed; its output as JSON.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// Runs a command that must end with `code` and say `text`.
    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32, text: &str) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
        assert!(words(&output).contains(text), "{arguments:?}: {}", words(&output));
    }
}

fn words(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_first_command_makes_the_profile_and_says_so_once() {
    let home = Home::new();
    let first = home.run(&["id", "show", "--name", "Alice"]);
    assert!(words(&first).contains("made profile default"), "{}", words(&first));
    let second = home.run(&["id", "show"]);
    assert_eq!((first.stdout, words(&second).as_str()), (second.stdout, ""));
    assert_eq!(home.json(&["id", "show"])["name"], "Alice");
}

#[test]
fn a_passphrase_is_never_removed_by_accident() {
    let home = Home::new();
    std::fs::write(home.path().join("pass"), "correct horse\nnot this\n").unwrap();
    std::fs::write(home.path().join("long"), "x".repeat(5000)).unwrap();
    home.json(&["id", "show"]);
    home.refused(&["id", "passphrase"], 2, "--new-file FILE");
    home.refused(&["id", "passphrase", "--new-file", "long"], 2, "more than 4096 bytes");
    assert!(home.run(&["id", "passphrase", "--new-file", "pass"]).status.success());
    home.refused(&["id", "show"], 2, "passphrase is needed");
    home.refused(&["id", "show"], 2, "--passphrase-file FILE or --passphrase-fd N");
    let given = ["--passphrase-file", "pass"];
    home.refused(&[&given[..], &["id", "passphrase"]].concat(), 2, "--remove");
    assert_eq!(home.json(&[&given[..], &["id", "show"]].concat())["sealed"], true);
    std::fs::write(home.path().join("wrong"), "wrong\n").unwrap();
    home.refused(&["--passphrase-file", "wrong", "id", "show"], 2, "wrong passphrase");
    assert!(home.run(&[&given[..], &["id", "passphrase", "--remove"]].concat()).status.success());
    assert_eq!(home.json(&["id", "show"])["sealed"], false);
}

#[test]
fn a_channel_is_made_passed_on_as_file_or_link_and_left() {
    let (alice, bob) = (Home::new(), Home::new());
    let tracker = ["--tracker", "udp://127.0.0.1:6969/announce"];
    let made = alice.json(&[&["channel", "new", "team"], &tracker[..]].concat());
    assert_eq!(made["file"], "team.chat");
    alice.refused(&["channel", "new", "team"], 1, "team.chat");
    let listed = alice.json(&["channel", "list"]);
    assert_eq!(listed["id"], made["id"], "the refused one left nothing behind");

    let file = alice.path().join("team.chat");
    assert_eq!(bob.json(&["channel", "join", file.to_str().unwrap()])["id"], made["id"]);
    bob.json(&["channel", "join", made["link"].as_str().unwrap()]);
    let shown = bob.json(&["channel", "show", "team"]);
    assert_eq!(shown["infohashes"], made["infohashes"]);

    let seed = ["channel", "export", "team", "--seed-only", "-o", "seed.chat"];
    assert!(alice.run(&seed).status.success());
    alice.refused(&seed, 1, "seed.chat");
    assert!(bob.run(&["channel", "leave", "team"]).status.success());
    bob.refused(&["channel", "show", "team"], 1, "join it first");
    let seed = alice.path().join("seed.chat");
    assert_eq!(bob.json(&["channel", "join", seed.to_str().unwrap()])["role"], "seeder");
}

#[test]
fn what_is_no_channel_is_refused_with_what_to_do_and_without_filling_memory() {
    let home = Home::new();
    home.refused(&["channel", "join", "absent.chat"], 1, "there is no file absent.chat");
    home.refused(&["channel", "join", "/dev/zero"], 5, "262144 bytes");
    home.refused(&["channel", "join", "bitchat:channel?x"], 1, "bitchat:");
    home.refused(&["channel", "new", "#open"], 2, "bitchat chat '#open'");
    home.refused(&["channel", "new", "x", "--tracker", "ftp://x"], 2, "");
    home.refused(&["channel", "new", "x", "--node", "nowhere"], 2, "nowhere");
    home.refused(&["channel", "new", "x", "-o", "no/such/x.chat"], 1, "no/such/x.chat");
    home.refused(&["chat"], 2, "there is no channel yet");
}

#[test]
fn a_contact_is_verified_by_the_right_words_alone() {
    let (alice, bob) = (Home::new(), Home::new());
    let card = bob.json(&["id", "card", "--name", "Bob"])["card"].as_str().unwrap().to_owned();
    let own = alice.json(&["id", "card"])["card"].as_str().unwrap().to_owned();
    bob.json(&["contact", "add", &own, "--name", "Alice"]);
    assert_eq!(alice.json(&["contact", "add", &card])["trust"], "known");
    let words =
        bob.json(&["contact", "show", "Alice"])["safety_words"].as_str().unwrap().to_owned();
    alice.refused(&["contact", "verify", "bob"], 2, "compare these words");
    alice.refused(&["contact", "verify", "bob", "--words", "00000 11111"], 4, "NOT");
    alice.refused(&["contact", "verify", "bob", "--words", "yes"], 4, "NOT");
    assert_eq!(alice.json(&["contact", "show", "bob"])["trust"], "known");
    assert_eq!(alice.json(&["contact", "verify", "bob", "--words", &words])["trust"], "verified");
}

#[test]
fn a_card_with_a_known_name_and_another_key_ends_with_code_4() {
    let (alice, bob, mallory) = (Home::new(), Home::new(), Home::new());
    let card = |home: &Home| home.json(&["id", "card", "--name", "Bob"])["card"].clone();
    alice.json(&["contact", "add", card(&bob).as_str().unwrap()]);
    alice.refused(&["contact", "add", card(&mallory).as_str().unwrap()], 4, "another key");
    let blocked = mallory.json(&["id", "show"])["id"].as_str().unwrap().to_owned();
    assert_eq!(alice.json(&["contact", "block", &blocked])["trust"], "blocked");
}

#[test]
fn wrong_settings_end_with_code_78_before_anything_is_made() {
    let home = Home::new();
    home.refused(&["--set", "chat.lingr=1s", "id", "show"], 78, "did you mean \"chat.linger\"?");
    home.refused(&["--config", "absent.toml", "config", "check"], 78, "absent.toml");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

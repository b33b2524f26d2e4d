//! What a signal makes of a node: it leaves, and its exit code says whether all was delivered.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

/// Talks to a node without anybody else, and ends it by a signal once it has answered; its exit
/// code and what it told.
fn terminated(request: &str) -> (Option<i32>, String) {
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bitchat"))
        .args([
            "--set",
            "trackers.enabled=false",
            "--set",
            "lan.enabled=false",
            "--json",
            "chat",
            "#signals",
        ])
        .env_clear()
        .env("HOME", home.path())
        .env("BITCHAT__DHT__ENABLED", "false")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{request}").unwrap();
    let answers = BufReader::new(child.stdout.take().unwrap()).lines();
    // What was said is told before it is answered.
    let is_answer = |line: &String| line.contains("\"id\":1,");
    let answer = answers.map_while(Result::ok).find(is_answer).unwrap();
    assert!(answer.contains("result"), "{answer}");
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    (child.wait().unwrap().code(), talk)
}

#[test]
fn a_signal_ends_a_node_that_has_nothing_to_deliver_with_0() {
    let (code, talk) = terminated(r#"{"jsonrpc": "2.0", "id": 1, "method": "channels"}"#);
    assert_eq!(code, Some(0), "{talk}");
}

#[test]
fn a_signal_ends_a_node_whose_message_nobody_has_with_3_and_words() {
    let say = r#"{"jsonrpc": "2.0", "id": 1, "method": "say", "params": {"text": "hello"}}"#;
    let (code, talk) = terminated(say);
    assert_eq!(code, Some(3), "{talk}");
    assert!(talk.contains("not delivered to anybody: 1 message"), "{talk}");
}

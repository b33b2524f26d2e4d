//! A node whose standard error takes nothing: there is nobody to tell, and that is no reason to end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs a node that logs much, until its input says `/quit`.
#[track_caller]
fn check(stderr: impl Into<Stdio>) {
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bitchat"))
        .args([
            "--set",
            "trackers.enabled=false",
            "--set",
            "lan.enabled=false",
            "-vvv",
            "chat",
            "#stderr",
        ])
        .env_clear()
        .env("HOME", home.path())
        .env("BITCHAT__DHT__ENABLED", "false")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"/nonsense\n/quit\n").unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn a_full_disk_behind_stderr_ends_nothing() {
    check(OpenOptions::new().write(true).open("/dev/full").unwrap());
}

#[test]
fn a_reader_of_stderr_that_has_gone_ends_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    check(writer);
}

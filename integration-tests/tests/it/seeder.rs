//! A blind seeder brings members together and reads nothing.

use std::process::{Child, Command, Stdio};

use bitchat_integration_tests::control::{Client, Daemon};
use bitchat_integration_tests::node::Home;
#[cfg(target_os = "linux")]
use bitchat_protocol::channel::ChatFile;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, Scene, is, must_talk};

/// Ends the process when dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Has it leave politely.
    fn leave(mut self) {
        let pid = self.0.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().expect("kill starts");
        assert!(asked.success());
        assert!(self.0.wait().expect("our own child").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn seed(home: &Home, file: &str) -> Running {
    let mut command = home.command(&["seed", file]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().expect("the program starts"))
}

/// What `status` of the running node of a home says of its only channel, once it is `wanted`.
fn must_become(home: &Home, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = std::time::Instant::now();
    loop {
        let output = home.run(&["--json", "status"], b"");
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let channel = &status["channels"][0];
        if wanted(channel) {
            return channel.clone();
        }
        assert!(began.elapsed() < MESH_WITHIN, "{status}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Whether it tells that somebody has a message: a seeder, or who reads it.
fn is_delivered(line: &Value, seeder: bool) -> bool {
    is(line, "delivered") && line["params"]["seeder"] == seeder
}

#[test]
fn a_blind_seeder_is_linked_introduced_and_never_counted_among_those_who_read() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let seed_only = scene.homes[0].path().join("seed.chat").to_str().expect("UTF-8").to_owned();
    let export = ["channel", "export", "team", "--seed-only", "-o", &seed_only];
    let _ = scene.homes[0].must_run(&export);
    let keeper = Home::new(PROGRAM);
    let refused = keeper.run(&["chat", &seed_only], b"");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("bitchat seed"), "{refused:?}");
    let running = seed(&keeper, &seed_only);

    let mut chats = scene.chat_all_with_seeders(1);
    for chat in &mut chats {
        chat.wait_for(MESH_WITHIN, |line| is(line, "seeder_up"));
        let peers = chat.ask("peers", json!({}), SOON);
        let members = peers["members"].as_array().expect("a list");
        let count = |standing| members.iter().filter(|it| it["standing"] == standing).count();
        assert_eq!((count("member"), count("seeder")), (1, 1), "{peers}");
    }
    must_become(&keeper, |channel| channel["linked"] == 2);

    // The seeder keeps what is said, and is not taken for somebody who reads it.
    must_talk(&mut chats, 0, 1, "not for seeders");
    for seeder in [false, true] {
        chats[0].wait_for(SOON, |line| is_delivered(line, seeder));
        chats[0].listen(std::time::Duration::from_millis(300));
        assert_eq!(chats[0].count(|line| is_delivered(line, seeder)), 1, "{}", chats[0].story());
    }
    assert_eq!(chats[0].count(|line| is(line, "member_up")), 1, "{}", chats[0].story());
    let status = must_become(&scene.homes[0], |channel| channel["seeders"] == 1);
    assert_eq!((&status["linked"], &status["members"]), (&json!(1), &json!(1)), "{status}");

    // With only the seeder there, that one keeps it for whoever comes.
    assert_eq!(chats.pop().and_then(|mut chat| chat.end_input(SOON)), Some(0));
    chats[0].wait_for(MESH_WITHIN, |line| is(line, "member_down"));
    chats[0].ask("say", json!({"text": "is anybody there?"}), SOON);
    chats[0].wait_for_count(2, SOON, |line| is_delivered(line, true));
    assert_eq!(chats[0].count(|line| is_delivered(line, false)), 1, "{}", chats[0].story());
    // The author leaves for good, and the reader comes back: the two were never there together.
    assert_eq!(chats[0].end_input(SOON), Some(0), "it was delivered to somebody");
    let mut reader = scene.chat(1);
    let said = reader.wait_for(MESH_WITHIN, |line| is(line, "message"));
    assert_eq!(said["params"]["text"], "is anybody there?");
    assert_eq!(reader.ask("peers", json!({}), SOON)["members"][0]["standing"], "seeder");
    must_not_remember(&running, &scene.file, &["is anybody there?", "not for seeders"]);
    running.leave();
    reader.wait_for(MESH_WITHIN, |line| is(line, "seeder_down"));
    must_not_know(&keeper, &["is anybody there?", "not for seeders"]);
}

/// A running seeder of the channel of a file has its seed key in memory, and neither what lets it be
/// read nor any of these texts.
#[cfg(target_os = "linux")]
fn must_not_remember(running: &Running, file: &str, texts: &[&str]) {
    let chat = ChatFile::from_bytes(&std::fs::read(file).expect("a file")).expect("a channel");
    let keys = chat.keys();
    let secret = keys.secret().expect("a member's file").0.expose();
    let read_key = keys.read_key().expect("a member's file").expose();
    let memory = memory_of(running.0.id());
    let holds = |bytes: &[u8]| {
        memory.iter().any(|region| region.windows(bytes.len()).any(|window| window == bytes))
    };
    assert!(holds(keys.seed_key().0.expose()), "its memory was read");
    assert!(!holds(secret) && !holds(read_key), "it could read");
    for text in texts {
        assert!(!holds(text.as_bytes()), "{text:?} is in its memory");
    }
}

#[cfg(not(target_os = "linux"))]
fn must_not_remember(_: &Running, _: &str, _: &[&str]) {}

/// What a process has written to in its memory (proc(5), `/proc/pid/maps`).
#[cfg(target_os = "linux")]
fn memory_of(pid: u32) -> Vec<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process of ours");
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("a process of ours");
    let regions = maps.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        fields.next()?.starts_with("rw").then_some(())?;
        let from = u64::from_str_radix(from, 16).ok()?;
        let to = u64::from_str_radix(to, 16).ok()?;
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        // Some that the system keeps for itself cannot be read.
        memory.read_exact_at(&mut bytes, from).ok()?;
        Some(bytes)
    });
    regions.collect()
}

/// None of the files of a home holds any of these texts.
fn must_not_know(home: &Home, texts: &[&str]) {
    let mut directories = vec![home.data_dir()];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            if entry.path().is_dir() {
                directories.push(entry.path());
                continue;
            }
            let Ok(bytes) = std::fs::read(entry.path()) else { continue };
            files += 1;
            for text in texts {
                let is_there = bytes.windows(text.len()).any(|it| it == text.as_bytes());
                assert!(!is_there, "{text:?} is in {}", entry.path().display());
            }
        }
    }
    assert!(files >= 3, "it keeps something: {files}");
}

#[test]
fn two_members_with_no_other_way_are_introduced_by_a_seeder_with_a_full_file() {
    let scene = Scene::new(2);
    let Some(mut tracker) = scene.start_tracker() else { return };
    let keeper = Home::new(PROGRAM);
    let running = seed(&keeper, &scene.file);
    let shown = |home: &Home| -> Value {
        serde_json::from_str(&home.must_run(&["--json", "channel", "list"])).expect("JSON")
    };
    let mut first = scene.chat(0);
    first.wait_for(MESH_WITHIN, |line| is(line, "seeder_up"));
    must_become(&keeper, |channel| channel["linked"] == 1);
    // The first learns nothing new from the tracker: it is the seeder who knows both.
    let mut second = scene.chat(1);
    second.wait_for(MESH_WITHIN, |line| is(line, "member_up"));
    first.wait_for(SOON, |line| is(line, "member_up"));
    tracker.stop();
    let mut chats = vec![first, second];
    must_talk(&mut chats, 0, 1, "hello");
    drop(running);
    assert_eq!(shown(&keeper)["role"], "seeder", "of a member's file a seeder keeps its part");
}

#[test]
fn what_is_to_be_seeded_is_seeded_by_the_node_that_runs_already() {
    let scene = Scene::new(1);
    let keeper = Home::new(PROGRAM);
    let _daemons = [&keeper, &scene.homes[0]].map(|home| Daemon::start(home, SOON));
    for named in [scene.file.as_str(), "team"] {
        let output = keeper.run(&["seed", named], b"");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("team is seeded by the node that runs already"), "{said}");
    }
    let mut node = Client::connect(&keeper, SOON);
    let channels = node.ask("channels", &json!({}))["channels"].clone();
    assert_eq!((&channels[0]["role"], &channels[0]["open"]), (&json!("seeder"), &json!(true)));
    for named in [scene.file.as_str(), "team"] {
        let refused = scene.homes[0].run(&["seed", named], b"");
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
}

//! What is wrong is refused with an exit code and words that say what to do; a running node goes on.

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::Path;

use bitchat_integration_tests::node::Home;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, Scene, is};

/// Runs, and checks the exit code and that stderr holds each of `words`.
#[track_caller]
fn check_refused(home: &Home, arguments: &[&str], code: i32, words: &[&str]) {
    let output = home.run(arguments, b"");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {talk}");
    for word in words {
        assert!(talk.contains(word), "{arguments:?} does not say {word:?}: {talk}");
    }
    assert!(!talk.contains("panicked"), "{talk}");
    assert!(output.stdout.is_empty(), "talk belongs on stderr");
}

fn write(path: &Path, bytes: &[u8]) -> String {
    std::fs::write(path, bytes).expect("a file in a temporary directory");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_file_that_is_no_chat_file_is_refused() {
    let scene = Scene::new(1);
    let home = &scene.homes[0];
    let whole = std::fs::read(&scene.file).expect("the file just made");
    let bad = home.path().join("bad.chat");
    for at in [0, 1, whole.len() / 2, whole.len() - 1] {
        let file = write(&bad, &whole[..at]);
        check_refused(home, &["channel", "join", &file], 1, &["is not a .chat file"]);
    }
    let file = write(&bad, b"d7:channeli-0e9999999999:x");
    check_refused(home, &["chat", &file], 1, &["is not a .chat file"]);
    let file = write(&bad, &vec![b'l'; 200 * 1024]);
    check_refused(home, &["chat", &file], 1, &["is not a .chat file"]);
    let file = write(&bad, &vec![b'l'; 300 * 1024]);
    check_refused(home, &["chat", &file], 5, &["larger than a .chat file"]);
}

#[test]
fn a_link_that_is_wrong_is_refused() {
    let home = Home::new(PROGRAM);
    for link in ["bitchat:channel?", "bitchat:channel?v=1&s=zzz", "bitchat:contact?x", "bitchat:"] {
        check_refused(&home, &["chat", link], 1, &["not a channel's link"]);
    }
}

#[test]
fn a_setting_that_does_not_exist_is_refused_with_the_nearest() {
    let home = Home::new(PROGRAM);
    let arguments = ["--set", "network.listen_prot=1", "id", "show"];
    check_refused(&home, &arguments, 78, &["network.listen_prot", "network.listen_port"]);
    let arguments = ["--set", "network.udp_prot=1", "id", "show"];
    check_refused(&home, &arguments, 78, &["network.udp_prot", "did you mean"]);
}

#[test]
fn a_profile_in_use_is_refused_and_its_user_named() {
    let scene = Scene::new(1);
    let mut chat = scene.chat(0);
    chat.ask("peers", json!({}), SOON);
    let pid = chat.pid().to_string();
    check_refused(&scene.homes[0], &["id", "show"], 75, &[&pid]);
    check_refused(&scene.homes[0], &["run"], 75, &[&pid]);
    // Nobody can go through a node that cannot be found.
    std::fs::remove_file(scene.homes[0].data_dir().join("default/control")).expect("it was there");
    check_refused(&scene.homes[0], &["chat", &scene.file], 75, &[&pid]);
    check_refused(&scene.homes[0], &["contact", "list"], 75, &[&pid]);
    chat.ask("peers", json!({}), SOON);
}

#[test]
fn a_port_in_use_is_refused_with_what_to_do() {
    let scene = Scene::new(1);
    let other = UdpSocket::bind("0.0.0.0:0").expect("a free port");
    let port = other.local_addr().expect("bound").port();
    let set = format!("network.listen_port={port}");
    let arguments = ["--set", &set, "chat", &scene.file];
    let words = ["cannot listen on", &port.to_string(), "--set network.listen_port="];
    check_refused(&scene.homes[0], &arguments, 1, &words);
}

#[test]
fn a_card_whose_name_belongs_to_another_key_is_refused() {
    let [one, other, own] = [(); 3].map(|()| Home::new(PROGRAM));
    let card_of = |home: &Home| {
        let _ = home.must_run(&["id", "rename", "bob"]);
        let card = home.must_run(&["--json", "id", "card"]);
        let card: Value = serde_json::from_str(&card).expect("JSON");
        card["card"].as_str().expect("a card").to_owned()
    };
    let _ = own.must_run(&["contact", "add", &card_of(&one)]);
    check_refused(&own, &["contact", "add", &card_of(&other)], 4, &["bob"]);
    let known = own.must_run(&["contact", "list"]);
    assert_eq!(known.lines().count(), 1, "{known}");
}

/// Two homes: the first knows a bob, the second calls itself so and is another.
fn scene_with_impostor() -> Scene {
    let scene = Scene::new(2);
    let real = Home::new(PROGRAM);
    let _ = real.must_run(&["id", "rename", "bob"]);
    let card: Value =
        serde_json::from_str(&real.must_run(&["--json", "id", "card"])).expect("JSON");
    let card = card["card"].as_str().expect("a card");
    let _ = scene.homes[0].must_run(&["contact", "add", card]);
    let _ = scene.homes[1].must_run(&["id", "rename", "bob"]);
    scene
}

#[test]
fn a_peer_with_the_name_of_a_contact_and_another_key_is_refused_loudly() {
    let scene = scene_with_impostor();
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut careful = scene.chat(0);
    let mut impostor = scene.chat(1);
    let warning = careful.wait_for(MESH_WITHIN, |line| is(line, "warning"));
    assert!(warning["params"]["text"].as_str().is_some_and(|text| text.contains("bob")));
    assert_eq!(warning["params"]["code"], 4, "{warning}");
    for chat in [&mut careful, &mut impostor] {
        chat.request("say", json!({"text": "does anybody hear?"}));
        chat.listen(std::time::Duration::from_secs(2));
        assert_eq!(
            chat.count(|line| is(line, "delivered")
                || (is(line, "message") && line["params"]["own"] == false)),
            0
        );
        let peers = chat.ask("peers", json!({}), SOON);
        let members = peers["members"].as_array().expect("a list");
        assert!(members.iter().all(|member| member["linked"] == false), "{peers}");
    }
    careful.ask("quit", json!({}), SOON);
    assert_eq!(careful.exit_code(SOON), Some(4), "the warning's code outlives the talk");
}

#[test]
fn a_peer_that_is_refused_stands_in_the_log_where_there_is_no_console() {
    let scene = scene_with_impostor();
    let _ = scene.homes[0].must_run(&["channel", "join", &scene.file]);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut careful = scene.homes[0].command(&["run"]).spawn().expect("the program starts");
    let log = BufReader::new(careful.stderr.take().expect("piped"));
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = log.lines().map_while(Result::ok);
        // Nobody waits for it when the test has failed.
        let _ = tell.send(lines.any(|line| line.contains("WARN") && line.contains("another key")));
    });
    let _impostor = scene.chat(1);
    let told = told.recv_timeout(MESH_WITHIN);
    let _ = careful.kill();
    let _ = careful.wait();
    assert_eq!(told, Ok(true));
}

#[test]
fn without_any_network_a_node_goes_on() {
    let home = Home::new(PROGRAM);
    let file = home.path().join("alone.chat");
    let file = file.to_str().expect("UTF-8");
    let mut arguments = vec!["channel", "new", "alone", "-o", file];
    for url in ["udp://127.0.0.1:1/announce", "http://127.0.0.1:1/announce"] {
        arguments.extend(["--tracker", url]);
    }
    let _ = home.must_run(&arguments);
    let mut chat = home.chat(&[file, "--linger", "1s"]);
    chat.listen(std::time::Duration::from_secs(1));
    assert_eq!(chat.ask("peers", json!({}), SOON)["members"], json!([]));
    chat.ask("say", json!({"text": "is anybody there?"}), SOON);
    assert_eq!(chat.end_input(SOON), Some(3));
}

#[test]
fn requests_that_make_no_sense_are_answered_and_the_next_is_served() {
    let scene = Scene::new(1);
    let mut chat = scene.chat(0);
    let error = |code: i64| move |line: &Value| line["error"]["code"] == code;
    chat.write_line("{\"jsonrpc\": ");
    assert!(chat.wait_for(SOON, error(-32700))["id"].is_null());
    chat.write_line("[1, 2]");
    chat.wait_for(SOON, error(-32600));
    chat.write_line(&"[".repeat(100_000));
    chat.wait_for_count(2, SOON, error(-32700));
    let id = chat.request("pears", json!({}));
    let answer = chat.wait_for(SOON, error(-32601));
    assert_eq!(answer["id"], id);
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("peers")));
    for params in [json!({}), json!({"text": 1}), json!({"text": "x", "channel": "nowhere"})] {
        let id = chat.request("say", params);
        let answer = chat.wait_for(SOON, |line| line["id"] == id);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    assert_eq!(chat.ask("peers", json!({}), SOON)["members"], json!([]));
    assert_eq!(chat.end_input(SOON), Some(1), "something was refused");
}

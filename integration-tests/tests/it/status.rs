//! What a running node tells of itself at its control socket, and what the doctor finds.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bitchat_integration_tests::faulty_tracker::{FaultyTracker, HttpFault};
use bitchat_integration_tests::node::Home;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, Scene, must_have_links, must_talk};

/// The address of a tracker that is not there.
fn dead_tracker() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    format!("http://{}/announce?key=secret", listener.local_addr().expect("bound"))
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).expect("UTF-8")
}

/// Runs `status` again and again until it says what is wanted.
#[track_caller]
fn status_until(home: &Home, within: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let output = home.run(&["status", "--json"], b"");
        let last = if output.status.success() {
            let status: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
            if wanted(&status) {
                return status;
            }
            status.to_string()
        } else {
            text(&output.stderr)
        };
        assert!(began.elapsed() < within, "not within {within:?}: {last}");
    }
}

/// The row of a tracker over IPv4.
fn row<'a>(status: &'a Value, place: &str) -> &'a Value {
    let rows = status["channels"][0]["sources"].as_array().expect("a list");
    let found = rows.iter().find(|row| row["place"] == place && row["ip"] == "ipv4");
    found.unwrap_or_else(|| panic!("{place} is not in {status}"))
}

/// Scheme, host and port of a tracker's address.
fn place(url: &str) -> String {
    url.split('/').take(3).collect::<Vec<_>>().join("/")
}

#[track_caller]
fn must_hold(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

#[test]
fn a_node_with_a_good_a_dead_and_a_faulty_tracker_says_how_each_does() {
    let (dead, faulty) = (dead_tracker(), FaultyTracker::http(HttpFault::Venom));
    let scene = Scene::with_trackers(2, &[dead.clone(), faulty.url().to_owned()]);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all();
    let (good, dead, faulty) = (place(&scene.spot.udp_url()), place(&dead), place(faulty.url()));
    let home = &scene.homes[0];
    let status = status_until(home, MESH_WITHIN, |status| {
        row(status, &good)["state"] == "works"
            && [&dead, &faulty].iter().all(|place| row(status, place)["state"] == "fails")
    });
    assert_eq!(status["pid"], chats[0].pid());
    assert!(status["port"].as_u64().is_some_and(|port| port > 0), "{status}");
    let channel = &status["channels"][0];
    assert_eq!((&channel["mesh"], &channel["linked"]), (&json!("full"), &json!(1)));
    let is_time = |value: &Value| value.as_u64().is_some();
    let works = row(&status, &good);
    assert!(is_time(&works["last_answer_ms_ago"]) && is_time(&works["next_try_in_ms"]), "{works}");
    assert_eq!(works["last_error"], Value::Null);
    let fails = row(&status, &dead);
    assert_eq!(fails["last_error"], "cannot connect: connection refused");
    assert!(fails["last_answer_ms_ago"].is_null() && is_time(&fails["next_try_in_ms"]), "{fails}");
    assert!(!status.to_string().contains("secret"), "a key in an address stays inside: {status}");

    let shown = home.must_run(&["status"]);
    must_hold(
        &shown,
        &["mesh full, 1 of 1 linked", "last error: cannot connect: connection refused"],
    );
    must_hold(&shown, &["next try", &good, "works", " ago ", "fails", "in "]);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    assert!(shown.contains("\u{fffd}[2J"), "what the tracker said is shown, made safe: {shown}");

    let on_stdin = chats[0].ask("status", json!({}), SOON);
    assert_eq!(row(&on_stdin, &dead)["state"], "fails", "the same over standard input");
    must_hold(&home.must_run(&["peers", "team"]), &["1 of 1 linked", "mesh full; with: nobody"]);
    let examined = home.run(&["doctor"], b"");
    assert_eq!(examined.status.code(), Some(0), "{}", text(&examined.stdout));
    must_hold(
        &text(&examined.stdout),
        &["in use by a node", "warning  source", "1 of 3 work", "1 of 1 members linked"],
    );
    must_talk(&mut chats, 0, 1, "still here");
}

/// The row of a kind, over an IP version or over none that matters.
fn row_of<'a>(status: &'a Value, kind: &str, ip: &Value) -> &'a Value {
    let rows = status["channels"][0]["sources"].as_array().expect("a list");
    let found = rows.iter().find(|row| row["kind"] == kind && row["ip"] == *ip);
    found.unwrap_or_else(|| panic!("{kind} is not in {status}"))
}

#[test]
fn the_dht_and_the_local_network_have_their_rows() {
    let mut scene = Scene::new(2);
    for home in &mut scene.homes {
        for (key, value) in [
            ("trackers.enabled", "false"),
            ("lan.enabled", "true"),
            ("lan.interfaces", "lo,lo0"),
            ("dht.enabled", "true"),
            // Nobody is there; a public one must not be asked.
            ("dht.routers", "127.0.0.1:9"),
        ] {
            home.set(key, value);
        }
    }
    let mut alone = scene.chat(0);
    let (home, none) = (&scene.homes[0], Value::Null);
    let rows = |status: &Value, ok: fn(&Value) -> bool| {
        let all = status["channels"][0]["sources"].as_array().expect("a list");
        all.iter().filter(|row| row["kind"] == "dht").all(ok)
    };
    let status = status_until(home, MESH_WITHIN, |status| {
        row_of(status, "dht", &json!("ipv4"))["state"] == "fails"
            && rows(status, |row| row["last_error"].is_string())
            && row_of(status, "lan", &none)["state"] == "announced"
    });
    let is_time = |value: &Value| value.as_u64().is_some();
    let dht = row_of(&status, "dht", &json!("ipv4"));
    assert_eq!(dht["last_error"], "none of the nodes to start from has answered");
    assert_eq!((&dht["nodes"], &dht["peers_found"]), (&json!(0), &json!(0)));
    assert!(is_time(&dht["next_try_in_ms"]) && dht["last_answer_ms_ago"].is_null(), "{dht}");
    assert_eq!(status["dht"][0]["joined"], false);
    let lan = row_of(&status, "lan", &none);
    assert!(is_time(&lan["last_announce_ms_ago"]) && is_time(&lan["next_try_in_ms"]), "{lan}");
    assert_eq!((&lan["heard"], &lan["peers_found"]), (&json!(0), &json!(0)));
    // A source on the local network alone is neither good news nor bad.
    let said = examine(home, &[], 3);
    must_hold(&said, &["not joined over IPv4, 0 nodes known", "no member heard yet", "none works"]);

    let mut other = scene.chat(1);
    must_have_links(&mut alone, 1, MESH_WITHIN);
    must_have_links(&mut other, 1, MESH_WITHIN);
    let status = status_until(home, SOON, |it| row_of(it, "lan", &none)["state"] == "works");
    let lan = row_of(&status, "lan", &none);
    assert!(lan["heard"].as_u64() >= Some(1) && lan["peers_found"].as_u64() >= Some(1), "{lan}");
    let shown = home.must_run(&["status"]);
    must_hold(&shown, &["local network", " heard ", "DHT", "0 nodes known", "IPv4", "works"]);
    must_hold(&examine(home, &[], 0), &["local network answered", "1 of 1 members linked"]);
}

fn start_run(home: &Home) -> Child {
    let mut command = home.command(&["run", "-q"]);
    command.stderr(Stdio::null()).spawn().expect("the program starts")
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn socket_of(home: &Home) -> PathBuf {
    home.data_dir().join("default/control")
}

#[test]
fn the_socket_is_its_owners_alone_and_one_left_by_a_killed_node_is_replaced() {
    let scene = Scene::new(1);
    let home = &scene.homes[0];
    let missing = home.run(&["status"], b"");
    assert_eq!(missing.status.code(), Some(1));
    must_hold(&text(&missing.stderr), &["no node runs in profile default", "bitchat run"]);
    for _ in 0..2 {
        let mut node = start_run(home);
        let status = status_until(home, SOON, |_| true);
        assert_eq!(status["pid"], node.id());
        let metadata = std::fs::symlink_metadata(socket_of(home)).expect("the socket");
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        end(&mut node);
        assert!(socket_of(home).exists(), "nobody could remove it");
        assert_eq!(home.run(&["status"], b"").status.code(), Some(1));
    }
    let mut chat = scene.chat_with(0, &["--set", "trackers.enabled=false"]);
    chat.ask("channels", json!({}), SOON);
    let status = status_until(home, SOON, |_| true);
    assert_eq!(status["channels"][0]["sources"], json!([]));
    chat.ask("quit", json!({}), SOON);
    assert_eq!(chat.exit_code(SOON), Some(0));
    assert!(!socket_of(home).exists(), "it goes with the node");
}

#[test]
fn a_runtime_directory_holds_the_socket_and_who_asks_needs_not_know_of_it() {
    let home = Home::new(PROGRAM);
    let _ = home.must_run(&["id", "show"]);
    let runtime = home.path().join("run");
    std::fs::create_dir(&runtime).expect("a directory");
    std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o700)).expect("ours");
    let mut command = home.command(&["run", "-q"]);
    command.env("XDG_RUNTIME_DIR", &runtime).stderr(Stdio::null());
    let mut node = command.spawn().expect("the program starts");
    let status = status_until(&home, SOON, |_| true);
    let led_to = std::fs::read_link(socket_of(&home));
    end(&mut node);
    assert_eq!(status["pid"], node.id());
    assert!(led_to.expect("a link").starts_with(runtime.join("bitchat")));
}

#[test]
fn bad_clients_neither_hold_up_the_node_nor_keep_a_good_one_out() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all();
    let connect = || UnixStream::connect(socket_of(&scene.homes[0])).expect("it listens");
    let mut half = connect();
    half.write_all(b"{\"jsonrpc\": \"2.0\", \"id\": 1,").expect("taken");
    let mut greedy = connect();
    greedy.set_nonblocking(true).expect("a socket can be told not to wait");
    let question = b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"status\"}\n";
    // Until nothing more is taken: it never reads an answer.
    while greedy.write_all(question).is_ok() {}
    let mut garbage = connect();
    garbage.write_all(&[0xff, b'\n', 0, b'\n', b'[', b'\n']).expect("taken");
    let mut answers = [0; 64];
    assert!(garbage.read(&mut answers).is_ok_and(|len| len > 0), "garbage is answered");
    must_talk(&mut chats, 0, 1, "nobody holds us up");
    let status = status_until(&scene.homes[0], SOON, |_| true);
    assert_eq!(status["channels"][0]["linked"], 1);
    must_talk(&mut chats, 1, 0, "nor them");
}

/// Runs the doctor, which must end so; what it says.
#[track_caller]
fn examine(home: &Home, arguments: &[&str], code: i32) -> String {
    let output: Output = home.run(&[arguments, &["doctor"]].concat(), b"");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{said}{}", text(&output.stderr));
    said
}

#[test]
fn the_doctor_finds_a_real_tracker_over_udp() {
    let scene = Scene::new(1);
    let Some(_tracker) = scene.start_tracker() else { return };
    let said = examine(&scene.homes[0], &[], 0);
    let good = place(&scene.spot.udp_url());
    must_hold(&said, &[&good, "answers over IPv4 in", "datagrams get out", "1 of 1 answer"]);
    let rows = examine(&scene.homes[0], &["--json"], 0);
    let rows: Vec<Value> =
        rows.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let verdict =
        |check: &str| rows.iter().find(|row| row["check"] == check).map(|it| &it["verdict"]);
    for check in ["settings", "profile", "tracker", "UDP", "trackers"] {
        assert_eq!(verdict(check), Some(&json!("ok")), "{check}");
    }
}

#[test]
fn the_doctor_says_that_no_tracker_answers_and_ends_with_3() {
    let home = Home::new(PROGRAM);
    // Without a tracker to tell, the code depends on whether this machine is online.
    let glance = |arguments: &[&str]| {
        let output = home.run(&[arguments, &["doctor"]].concat(), b"");
        assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
        text(&output.stdout)
    };
    must_hold(&glance(&[]), &["there is no profile default", "bitchat id show"]);
    let file = home.path().join("alone.chat");
    let file = file.to_str().expect("UTF-8");
    let dead = dead_tracker();
    let _ = home.must_run(&["channel", "new", "alone", "-o", file, "--tracker", &dead]);
    let said = examine(&home, &[], 3);
    must_hold(
        &said,
        &["cannot connect: connection refused", "problem  trackers", "none of 1 answers"],
    );
    assert!(!said.contains("secret"), "{said}");
    let said = glance(&["--set", "trackers.enabled=false"]);
    must_hold(&said, &["warning  trackers", "trackers.enabled"]);
}

#[test]
fn the_doctor_without_any_network_says_so() {
    let home = Home::new(PROGRAM);
    let cut_off = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-rn", command, "doctor"]).env_clear().env("HOME", home.path());
        unshare.stdin(Stdio::null()).output()
    };
    if !cut_off("true").is_ok_and(|output| output.status.success()) {
        let _ = writeln!(std::io::stderr(), "skipped: no network namespaces here");
        return;
    }
    let output = cut_off(PROGRAM).expect("it started before");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    must_hold(&said, &["problem  IPv4", "problem  IPv6", "connect this machine to a network"]);
}

#[test]
fn the_doctor_says_what_is_set_wrong_and_ends_with_78() {
    let home = Home::new(PROGRAM);
    let said = examine(&home, &["--set", "network.listen_prot=1"], 78);
    must_hold(&said, &["problem  settings", "network.listen_port"]);
    let _ = home.must_run(&["id", "show"]);
    let profile = home.data_dir().join("default");
    std::fs::set_permissions(&profile, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let said = examine(&home, &["--set", "trackers.enabled=false"], 78);
    must_hold(&said, &["problem  profile", "chmod 700"]);
}

//! `bitchat chat` behind a pipe: plain lines in, plain lines out, and an exit code that tells.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use bitchat_integration_tests::node::Home;

use crate::scene::{MESH_WITHIN, SOON, Scene, is};

/// A plain `bitchat chat` whose input stays open; killed when dropped.
struct Plain {
    child: Child,
    stdin: ChildStdin,
    lines: Option<Receiver<String>>,
}

impl Plain {
    /// With `read`, its output is read; without, it is closed at once.
    fn start(home: &Home, file: &str, read: bool) -> Self {
        let mut child = home.command(&["chat", file]).spawn().expect("the program starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let lines = read.then(|| {
            let (sender, lines) = channel();
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
            lines
        });
        Self { child, stdin, lines }
    }

    /// The next line of output.
    fn line(&self) -> String {
        let lines = self.lines.as_ref().expect("its output is read");
        lines.recv_timeout(MESH_WITHIN).expect("a line in time")
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the program reads");
    }

    fn exit_code(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status.code();
            }
            assert!(began.elapsed() < MESH_WITHIN, "still running");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_line_piped_in_is_delivered_and_the_exit_code_is_0() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut friend = scene.chat(0);
    let output = scene.homes[1].run(&["chat", &scene.file], b"hello\n");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{talk}");
    friend.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "hello");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(shown.lines().any(|line| line.starts_with("* delivered to ")), "{shown}");
}

#[test]
fn a_line_to_one_person_waits_for_that_one_and_is_delivered() {
    let scene = Scene::new(2);
    let _ = scene.homes[0].must_run(&["id", "rename", "bob"]);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut bob = scene.chat(0);
    let output = scene.homes[1].run(&["chat", &scene.file], b"/msg bob psst\n");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{talk}");
    let private = bob.wait_for(SOON, |line| is(line, "message"));
    assert_eq!(private["params"]["text"], "psst");
}

#[test]
fn a_line_that_nobody_took_is_told_and_the_exit_code_is_3() {
    let scene = Scene::new(1);
    let Some(_tracker) = scene.start_tracker() else { return };
    let output = scene.homes[0].run(&["chat", &scene.file, "--linger", "1s"], b"hello\n");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{talk}");
    assert!(talk.contains("not delivered"), "{talk}");
    assert!(output.stdout.is_empty(), "talk belongs on stderr");
}

#[test]
fn plain_lines_tell_who_came_what_was_said_and_who_went() {
    let scene = Scene::new(2);
    let _ = scene.homes[1].must_run(&["id", "rename", "bob"]);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut plain = Plain::start(&scene.homes[0], &scene.file, true);
    let mut bob = scene.chat(1);
    assert_eq!(plain.line(), "* bob is here [team]");
    bob.ask("say", serde_json::json!({"text": "one\u{1b}[2J"}), SOON);
    let said = plain.line();
    assert!(said.starts_with("[team] bob: one"), "{said}");
    assert!(!said.contains('\u{1b}'), "what a peer says cannot steer a terminal: {said:?}");
    plain.type_line("//slash");
    bob.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "/slash");
    let delivered = plain.line();
    assert!(delivered.starts_with("* delivered to bob ("), "{delivered}");
    plain.type_line("/msg bob psst");
    let private = bob.wait_for(SOON, |line| line["params"]["text"] == "psst");
    assert!(private["params"]["channel"].is_null(), "{private}");
    assert!(plain.line().starts_with("* delivered to bob ("));
    plain.type_line("/peers");
    assert_eq!(plain.line(), "* team: 1 of 1 linked, mesh full");
    let about_bob = plain.line();
    assert!(about_bob.starts_with("*   bob "), "{about_bob}");
    assert_eq!(bob.end_input(SOON), Some(0));
    assert_eq!(plain.line(), "* bob has gone [team]");
    plain.type_line("/quit");
    assert_eq!(plain.exit_code(), Some(0));
}

#[test]
fn a_line_that_is_not_utf_8_or_too_long_is_named_and_the_next_is_sent() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut friend = scene.chat(0);
    let mut input = b"\xff\xfe\n".to_vec();
    input.resize(input.len() + 10 * 1024 * 1024, b'x');
    input.extend(b"\nhello\n");
    let output = scene.homes[1].run(&["chat", &scene.file], &input);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(talk.contains("line 1 is not UTF-8"), "{talk}");
    assert!(talk.contains("line 2 is longer than"), "{talk}");
    assert_eq!(output.status.code(), Some(5), "the length says more: {talk}");
    friend.wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == "hello");
    assert_eq!(friend.count(|line| is(line, "message")), 1);
}

#[test]
fn an_output_that_nobody_reads_any_more_is_a_quiet_end() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut unread = Plain::start(&scene.homes[0], &scene.file, false);
    let _friend = scene.chat(1);
    assert_eq!(unread.exit_code(), Some(0));
    let mut talk = String::new();
    let stderr = unread.child.stderr.take().expect("piped");
    std::io::Read::read_to_string(&mut BufReader::new(stderr), &mut talk).expect("UTF-8");
    assert_eq!(talk, "");
}

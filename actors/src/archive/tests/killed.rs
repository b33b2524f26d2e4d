//! A process that is killed while it writes: what it was told is kept is there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;

const ROUNDS: u64 = 60;
const DIRECTORY: &str = "BITCHAT_TEST_ARCHIVE_TO_WRITE";
const ITSELF: &str = "archive::tests::killed::a_writer_goes_on_where_the_archive_ends";

/// Appends to the archive in `dir` and says the greatest number that is kept after each batch.
fn write(dir: &Path, batches: u64) {
    let mut store = must_open(dir);
    let state = must_open_channel(&mut store);
    let mut we = Author::ours(1, 9);
    if let Some(chain) = state.chains.first() {
        (we.number, we.clock, we.previous) = (chain.head, chain.head_clock, chain.head_hash);
    }
    let out = std::io::stdout();
    for round in 0..batches {
        let entries = we.say_many(1 + round % 4 * 3);
        must_append(&mut store, we.batch(entries));
        // Past the capture of the test's own output.
        writeln!(out.lock(), "\nkept {}", we.number).unwrap();
        out.lock().flush().unwrap();
    }
}

#[test]
fn a_writer_goes_on_where_the_archive_ends() {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        return write(Path::new(&dir), u64::MAX);
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 4);
    write(dir.path(), 4);
    check(dir.path(), 2 * (1 + 4 + 7 + 10));
}

/// All up to `kept` is there, once, in order, with its event.
#[track_caller]
fn check(dir: &Path, kept: u64) -> u64 {
    let mut store = must_open(dir);
    let state = must_open_channel(&mut store);
    let Some(chain) = state.chains.first() else {
        assert_eq!(kept, 0);
        return 0;
    };
    assert!(chain.head >= kept, "{} of {kept}", chain.head);
    let mut next = 1;
    while next <= chain.head {
        let id = chain.certificate.chain(&channel());
        for bytes in store.read_range(&channel(), &id, next, 1 << 20).unwrap() {
            let entry = Entry::decode(&channel(), bytes).unwrap();
            assert_eq!(entry.head.number, next);
            next += 1;
        }
    }
    let mut listed = 0;
    loop {
        let page = events(&store, listed, 1000);
        let Some(last) = page.last() else { break };
        for (event, seq) in page.iter().zip(listed + 1..) {
            let EventKind::Message(message) = &event.kind else { panic!("{event:?}") };
            assert_eq!((event.seq, message.position.number), (seq, seq));
        }
        listed = last.seq;
    }
    assert_eq!(listed, chain.head);
    let said: String = store.db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
    chain.head
}

#[test]
fn what_was_answered_is_there_after_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::from_seed([3; 32]);
    let mut total = 0;
    for round in 0..ROUNDS {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args([ITSELF, "--exact", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut kept = 0;
        // Now and then so many that the log is written back into the archive.
        let wanted = rng.below(if round % 10 == 0 { 60 } else { 5 });
        for _ in 0..=wanted {
            let line = lines.find_map(|line| line.ok()?.strip_prefix("kept ")?.parse().ok());
            kept = line.expect("it writes on");
        }
        // Somewhere in the next batch or two.
        let microseconds = rng.below(3000);
        let until = crate::clock::now() + std::time::Duration::from_micros(microseconds);
        while crate::clock::now() < until {
            std::hint::spin_loop();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let told = lines.filter_map(|line| line.ok()?.strip_prefix("kept ")?.parse().ok());
        kept = told.fold(kept, u64::max);
        let head = check(dir.path(), kept);
        assert!(head >= total, "round {round}");
        total = head;
    }
    assert!(total > ROUNDS * 5, "{total}");
}

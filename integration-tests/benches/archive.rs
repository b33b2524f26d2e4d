//! Size and speed of the archive with many messages.
//!
//! `cargo bench -p bitchat-integration-tests --bench archive` prints a table; `docs/benchmarks.md` has
//! the figures. `-- 100000` takes so many messages instead of a million.

#![allow(clippy::print_stdout, reason = "printing figures is what a benchmark is for")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the time")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor as _, Addr};
use bitchat_actors::archive::{
    Append, Archive, From, ListEvents, OpenChannel, ReadPage, ReadRange, Retention, Search,
};
use bitchat_actors::vault::Profile;
use bitchat_integration_tests::crowd::{Crowd, TEXT_BYTES};
use bitchat_protocol::channel::{ChannelKeys, ChannelSecret};
use bitchat_protocol::crypto::Secret;
use bitchat_protocol::log::Position;

const MESSAGES: u64 = 1_000_000;
const AUTHORS: usize = 10;
/// Messages of one batch while the archive is filled.
const BATCH: u64 = 1000;
/// Appends that are measured.
const APPENDS: usize = 300;

fn open(dir: &Path) -> Archive {
    let profile = Profile::open(dir, "default", None).expect("a profile");
    Archive::open(&profile).expect("an archive")
}

async fn page(archive: &Addr<Archive>, crowd: &Crowd, from: From) -> Vec<Position> {
    let read = ReadPage { channel: crowd.keys().id(), from, limit: 50 };
    let page = archive.send(read).await.expect("it runs").expect("a page");
    page.into_iter().map(|message| message.position).collect()
}

fn row(what: &str, took: Duration) {
    println!("| {what} | {:.2} ms |", took.as_secs_f64() * 1e3);
}

fn row_each(what: &str, took: Duration, count: u64) {
    let rate = count as f64 / took.as_secs_f64();
    println!(
        "| {what} | {rate:.0} messages/s, {:.3} ms each |",
        took.as_secs_f64() * 1e3 / count as f64
    );
}

async fn search(archive: &Addr<Archive>, crowd: &Crowd, words: &str) -> (usize, Duration) {
    let search = Search {
        channel: Some(crowd.keys().id()),
        words: words.to_owned(),
        limit: 50,
        before: None,
    };
    let begin = Instant::now();
    let found = archive.send(search).await.expect("it runs").expect("found").messages.len();
    (found, begin.elapsed())
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[actix_rt::main]
async fn main() {
    let count = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(MESSAGES);
    let dir = tempfile::tempdir().expect("a directory");
    drop(Profile::create(dir.path(), "default", None, None).expect("a profile"));
    let path = dir.path().join("default/archive");
    let keys = ChannelKeys::member(ChannelSecret(Secret::new([1; 32])));
    let mut crowd = Crowd::new(Arc::new(keys), AUTHORS, true);
    let opening = OpenChannel { keys: Arc::clone(crowd.keys()), retention: Retention::default() };
    println!("| {count} messages of {TEXT_BYTES} bytes by {AUTHORS} authors | |\n|---|---|");

    // Its own arbiter, as in a node, so that it ends when that does.
    let arbiter = actix_rt::Arbiter::new();
    let at = dir.path().to_owned();
    let archive = Archive::start_in_arbiter(&arbiter.handle(), move |_| open(&at));
    archive.send(opening.clone()).await.expect("it runs").expect("a channel");
    let mut took = Duration::ZERO;
    let mut bytes = 0;
    for _ in 0..count / BATCH {
        let batch = crowd.batch(BATCH);
        bytes += batch.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>();
        let begin = Instant::now();
        archive.send(Append(batch)).await.expect("it runs").expect("kept");
        took += begin.elapsed();
    }
    row_each("append, 1000 a transaction", took, count);
    for group in [1, 100] {
        let mut took = Duration::ZERO;
        for _ in 0..APPENDS {
            let batch = crowd.batch(group);
            let begin = Instant::now();
            archive.send(Append(batch)).await.expect("it runs").expect("kept");
            took += begin.elapsed();
        }
        row_each(&format!("append, {group} a transaction"), took, APPENDS as u64 * group);
    }
    arbiter.stop();
    arbiter.join().expect("it ends");
    drop(archive);
    let size = std::fs::metadata(&path).expect("the archive").len();
    println!("| bytes on disk of a message | {} |", size / count);
    println!("| of these the entry itself | {} |", bytes as u64 / count);

    let before = resident_bytes();
    let begin = Instant::now();
    let archive = open(dir.path()).start();
    row("open", begin.elapsed());
    archive.send(opening).await.expect("it runs").expect("a channel");
    row("open, and its channel", begin.elapsed());
    let newest = page(&archive, &crowd, From::Newest).await;
    row("open, its channel, and the newest 50 messages", begin.elapsed());
    let begin = Instant::now();
    page(&archive, &crowd, From::Before(newest[0])).await;
    row("50 messages before them", begin.elapsed());
    let begin = Instant::now();
    let middle = Position { clock: count / 2, ..newest[0] };
    page(&archive, &crowd, From::Before(middle)).await;
    row("50 messages in the middle", begin.elapsed());
    let begin = Instant::now();
    let (chain, count_of_chain) = crowd.chain(1);
    let from = count_of_chain / 2;
    let range = ReadRange { channel: crowd.keys().id(), chain, from, bytes_max: 256 * 1024 };
    let entries = archive.send(range).await.expect("it runs").expect("a range").len();
    row(&format!("256 KiB of a chain for others, {entries} entries"), begin.elapsed());
    let begin = Instant::now();
    archive.send(ListEvents { since: 0, limit: 1000 }).await.expect("it runs").expect("events");
    row("1000 events", begin.elapsed());
    let (found, took) = search(&archive, &crowd, &format!("only{}", 2)).await;
    row(&format!("search before the index is built: waits for it ({found} found)"), took);
    let (found, took) = search(&archive, &crowd, &format!("only{}", 3)).await;
    row(&format!("search, a word that is there once ({found} found)"), took);
    for words in ["w0", "w7fff", "w7* wff", "w1 w2 w3"] {
        let (found, took) = search(&archive, &crowd, words).await;
        row(&format!("search, {words} ({found} found)"), took);
    }
    println!(
        "| memory of the index of a message, bytes | {} |",
        (resident_bytes() - before) / count
    );
}

//! What a member that was away takes in, from another one and from a blind seeder; and what memory that
//! needs on both sides.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bitchat_integration_tests::control::Daemon;
use bitchat_integration_tests::node::Home;
use serde_json::json;

use crate::history::{Counter, fill};
use crate::nodes::{Host, Scene, client, wait_for_links};
use crate::{Wishes, cost};

/// Entries that are missed, if nothing else is wished.
const ENTRIES: u64 = 100_000;
const AUTHORS: usize = 4;
/// Longest time without any more of them.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A `bitchat seed`; killed when dropped.
struct Seeder(Child);

impl Seeder {
    fn begin(home: &Home, file: &str) -> Self {
        let mut command = home.command(&["seed", file]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let seeder = Self(command.spawn().expect("the program starts"));
        drop(client(home));
        seeder
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn measure(wishes: &Wishes) {
    let Some(host) = Host::new() else { return };
    let entries = wishes.messages.unwrap_or(ENTRIES);
    let Some(scene) = Scene::new(&host, 4, 2) else { return };
    let [source, newcomer, seeder, reader] = &scene.homes[..] else { return };
    fill(source, &scene.file, AUTHORS, entries);
    println!("{entries} entries of 100 bytes by {AUTHORS} authors; peak memory (VmHWM) in MiB\n");
    println!(
        "| | entries/s | CPU us an entry: giver | taker | memory before: giver | taker | after: \
         giver | taker |\n|---|---|---|---|---|---|---|---|"
    );
    let first = Daemon::start(source, SILENCE_MAX);
    // Answered once all is indexed, which is not what is measured.
    client(source).ask("search", &json!({"words": "nowheretobefound", "channel": "team"}));
    {
        let taking = || Daemon::start(newcomer, SILENCE_MAX);
        let row = "a member takes from a member";
        take_all(row, entries, first.pid(), newcomer, taking, Daemon::pid);
    }
    let begin = || Seeder::begin(seeder, &scene.file);
    let row = "a seeder takes from a member";
    let seeding = take_all(row, entries, first.pid(), seeder, begin, |it| it.0.id());
    drop(first);
    reader.must_run_quietly(&["channel", "join", &scene.file]);
    let taking = || Daemon::start(reader, SILENCE_MAX);
    let row = "a member takes from the seeder";
    take_all(row, entries, seeding.0.id(), reader, taking, Daemon::pid);
}

/// Starts a node that has nothing, waits until it has all, and says what that took.
fn take_all<T>(
    row: &str,
    entries: u64,
    giver: u32,
    home: &Home,
    begin: impl FnOnce() -> T,
    pid: impl Fn(&T) -> u32,
) -> T {
    let giver_before = cost::memory_mib(giver, "VmHWM:");
    let node = begin();
    let taker = pid(&node);
    wait_for_links(&mut client(home), 1);
    let taker_before = cost::memory_mib(taker, "VmHWM:");
    let cpu = [giver, taker].map(|it| cost::cpu(&[it]));
    let counter = Counter::of(home);
    // What came while the link was looked for is not counted.
    let (began, had) = (Instant::now(), counter.entries());
    let (mut last, mut news) = (had, began);
    while last < entries {
        std::thread::sleep(Duration::from_millis(10));
        let now = counter.entries();
        if now > last {
            (last, news) = (now, Instant::now());
        }
        assert!(news.elapsed() < SILENCE_MAX, "{row}: {last} of {entries} came");
    }
    let count = (entries - had) as f64;
    let rate = count / (news - began).as_secs_f64();
    let [gave, took] = [(giver, cpu[0]), (taker, cpu[1])]
        .map(|(it, before)| cost::cpu(&[it]).saturating_sub(before).as_secs_f64() * 1e6 / count);
    let [giver_after, taker_after] = [giver, taker].map(|it| cost::memory_mib(it, "VmHWM:"));
    println!(
        "| {row} | {rate:.0} | {gave:.0} | {took:.0} | {giver_before:.0} | {taker_before:.0} | \
         {giver_after:.0} | {taker_after:.0} |"
    );
    node
}

//! How soon a node is there that has kept much, beside one that has kept nothing.

use std::time::{Duration, Instant};

use bitchat_integration_tests::control::{Client, Daemon};
use bitchat_integration_tests::node::Home;
use serde_json::json;

use crate::history::fill;
use crate::nodes::{Host, Scene, client};
use crate::{Wishes, cost, median, ms};

/// Messages that are kept, if nothing else is wished.
const MESSAGES: u64 = 1_000_000;
const AUTHORS: usize = 10;
const ROUNDS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn measure(wishes: &Wishes) {
    let Some(host) = Host::new() else { return };
    let messages = wishes.messages.unwrap_or(MESSAGES);
    let Some(scene) = Scene::new(&host, 2, 2) else { return };
    let [full, empty] = &scene.homes[..] else { return };
    fill(full, &scene.file, AUTHORS, messages);
    let mut rounds: [Vec<[f64; 4]>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (home, rounds) in [empty, full].into_iter().zip(&mut rounds) {
            rounds.push(start(home));
        }
    }
    println!(
        "the whole program, median of {ROUNDS} starts, nobody else there, its files in memory\n"
    );
    println!(
        "| kept | ms to the first answer | ms to the newest 50 messages | ms to a text said | peak \
         memory then, MiB |\n|---|---|---|---|---|"
    );
    for (kept, rounds) in [(0, &rounds[0]), (messages, &rounds[1])] {
        let of = |at: usize| median(rounds.iter().map(|figures| figures[at]).collect());
        let (answer, page, said, memory) = (of(0), of(1), of(2), of(3));
        println!("| {kept} | {answer:.0} | {page:.0} | {said:.0} | {memory:.0} |");
    }
    let node = Daemon::start(full, PATIENCE);
    let began = Instant::now();
    client(full).ask("search", &json!({"words": "nowheretobefound", "channel": "team"}));
    let (took, memory) = (began.elapsed(), cost::memory_mib(node.pid(), "VmRSS:"));
    println!("\nall indexed after {:.1} s; resident then: {memory:.0} MiB", took.as_secs_f64());
}

/// Milliseconds from the start of the program to what a person waits for, and memory.
fn start(home: &Home) -> [f64; 4] {
    let began = Instant::now();
    let node = Daemon::begin(home);
    let mut client = Client::connect(home, PATIENCE);
    client.ask("channels", &json!({}));
    let answer = ms(began.elapsed());
    client.ask("history", &json!({"channel": "team", "limit": 50}));
    let page = ms(began.elapsed());
    client.ask("say", &json!({"channel": "team", "text": "here"}));
    let said = ms(began.elapsed());
    [answer, page, said, cost::memory_mib(node.pid(), "VmHWM:")]
}

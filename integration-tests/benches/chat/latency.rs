//! From saying a text to everybody else being told of it, and to the receipt, while nothing else happens.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::nodes::Host;
use crate::room::{Room, What};
use crate::throughput::{PROGRAMS, inside_of, open};
use crate::{Wishes, median, ms, quantile};

const SIZES: [usize; 3] = [2, 10, 32];
/// Messages of one round, if nothing else is wished.
const MESSAGES: u64 = 100;
/// Between two.
const PACE: Duration = Duration::from_millis(100);
/// How long the last may take.
const LAST: Duration = Duration::from_secs(10);
const ROUNDS: usize = 3;

/// Milliseconds of each reception, and of each receipt.
type Times = (Vec<f64>, Vec<f64>);

pub(crate) fn measure(wishes: &Wishes) {
    let Some(host) = Host::new() else { return };
    let messages = wishes.messages.unwrap_or(MESSAGES);
    for members in SIZES {
        compare(&host, wishes, members, messages);
    }
}

fn compare(host: &Host, wishes: &Wishes, members: usize, messages: u64) {
    println!(
        "{members} members, one says {messages} messages, one each {PACE:?}, median of {ROUNDS} \
         rounds\n"
    );
    println!(
        "| | ms to a receiver: p50 | p99 | to its receipt: p50 | p99 | came |\n|---|---|---|---|---|---|"
    );
    let programs: Vec<&str> = PROGRAMS.into_iter().filter(|it| wishes.takes(it)).collect();
    let mut rounds: Vec<Vec<Times>> = programs.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (program, times) in programs.iter().zip(&mut rounds) {
            let run = || Some(round(&mut *open(program, host, members)?, messages));
            times.extend(inside_of(host, run));
        }
    }
    for (program, mut times) in programs.iter().zip(rounds) {
        if times.is_empty() {
            println!("| {program} | not here | | | | |");
            continue;
        }
        let expected = messages * (members as u64 - 1) * times.len() as u64;
        let came: usize = times.iter().map(|(heard, _)| heard.len()).sum();
        let mut of = |heard: bool, share| {
            let each = times.iter_mut().map(|(h, r)| quantile(if heard { h } else { r }, share));
            median(each.collect())
        };
        let (h50, h99, r50, r99) = (of(true, 0.5), of(true, 0.99), of(false, 0.5), of(false, 0.99));
        println!(
            "| {program} | {h50:.2} | {h99:.2} | {r50:.2} | {r99:.2} | {came} of {expected} |"
        );
    }
    println!();
}

fn round(room: &mut dyn Room, messages: u64) -> Times {
    std::thread::sleep(Duration::from_millis(1500));
    let mut said: HashMap<u64, Instant> = HashMap::new();
    let (mut heard, mut receipts) = (Vec::new(), Vec::new());
    let mut listen = |room: &mut dyn Room, said: &HashMap<u64, Instant>, until: Instant| {
        while let Ok(told) =
            room.told().recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            let (times, number) = match told.what {
                What::Heard(number) => (&mut heard, number),
                What::Receipt(number) => (&mut receipts, number),
            };
            let began = said.get(&number).expect("said");
            times.push(ms(told.at.saturating_duration_since(*began)));
        }
    };
    for number in 0..messages {
        let now = Instant::now();
        said.insert(number, now);
        room.say(0, vec![number]);
        listen(room, &said, now + PACE);
        room.settle();
    }
    listen(room, &said, Instant::now() + Duration::from_secs(1).min(LAST));
    (heard, receipts)
}

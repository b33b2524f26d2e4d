//! Messages a second through a room, until the last receipt is back; and what each costs.

use std::time::{Duration, Instant};

use bitchat_integration_tests::namespace::inside;

use crate::nodes::{Host, Nodes};
use crate::room::{Room, SILENCE_MAX, What};
use crate::tox::Tox;
use crate::xmpp::Xmpp;
use crate::{Wishes, cost, median};

/// Members of a room.
const SIZES: [usize; 3] = [2, 10, 32];
/// Receptions of one round, all receivers together, if nothing else is wished.
const RECEPTIONS: u64 = 20_000;
const ROUNDS: usize = 3;

/// One round.
struct Figures {
    until_heard: Duration,
    until_receipts: Option<Duration>,
    cpu: Duration,
    bytes: u64,
    packets: u64,
    messages: u64,
    receivers: u64,
}

/// The programs that are compared; the ratios are ours against theirs.
pub(crate) const PROGRAMS: [&str; 3] = ["bitchat", "prosody", "toxcore"];

/// Opens a room of a program; `None`, said in a line, where it is not there.
pub(crate) fn open(program: &str, host: &Host, members: usize) -> Option<Box<dyn Room>> {
    match program {
        "bitchat" => Nodes::start(host, members).map(|room| Box::new(room) as _),
        "prosody" => Xmpp::start(host.name(), members).map(|room| Box::new(room) as _),
        _ => Tox::start(host.name(), members).map(|room| Box::new(room) as _),
    }
}

pub(crate) fn measure(wishes: &Wishes) {
    let Some(host) = Host::new() else { return };
    for all_speak in [false, true] {
        for members in SIZES {
            compare(&host, wishes, members, all_speak);
        }
    }
}

fn compare(host: &Host, wishes: &Wishes, members: usize, all_speak: bool) {
    let receivers = members as u64 - 1;
    let messages = wishes.messages.unwrap_or(RECEPTIONS / receivers).max(members as u64);
    let who = if all_speak { "all speak" } else { "one speaks" };
    println!("{members} members, {who}, {messages} messages a round, median of {ROUNDS}\n");
    println!(
        "| | messages/s, last receipt back | last receiver told | against bitchat | CPU us a \
         reception | bytes a reception | packets |\n|---|---|---|---|---|---|---|"
    );
    let programs: Vec<&str> = PROGRAMS.into_iter().filter(|it| wishes.takes(it)).collect();
    let mut rounds: Vec<Vec<Figures>> = programs.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (program, figures) in programs.iter().zip(&mut rounds) {
            let run = || {
                let mut room = open(program, host, members)?;
                round(&mut *room, members, messages, all_speak)
            };
            // `None` from inside is told there.
            figures.extend(inside_of(host, run));
        }
    }
    let mut ours = None;
    for (program, figures) in programs.iter().zip(&rounds) {
        if figures.is_empty() {
            println!("| {program} | not here, or not all came | | | | | |");
            continue;
        }
        let of = |figure: fn(&Figures) -> f64| median(figures.iter().map(figure).collect());
        let heard = of(|it| it.messages as f64 / it.until_heard.as_secs_f64());
        let receipts = of(|it| {
            it.until_receipts.map_or(f64::NAN, |took| it.messages as f64 / took.as_secs_f64())
        });
        let cpu = of(|it| it.cpu.as_secs_f64() * 1e6 / (it.messages * it.receivers) as f64);
        let bytes = of(|it| it.bytes as f64 / (it.messages * it.receivers) as f64);
        let packets = of(|it| it.packets as f64 / (it.messages * it.receivers) as f64);
        let both = if receipts.is_nan() { heard } else { receipts };
        let (our_heard, our_receipts) = *ours.get_or_insert((heard, receipts));
        let against = if receipts.is_nan() { our_heard } else { our_receipts };
        let ratio = both / against;
        println!(
            "| {program} | {receipts:.0} | {heard:.0} | {ratio:.2} | {cpu:.0} | {bytes:.0} | \
             {packets:.2} |"
        );
    }
    println!();
}

/// Runs on the host, whose interfaces are counted there.
pub(crate) fn inside_of<T: Send>(host: &Host, run: impl FnOnce() -> Option<T> + Send) -> Option<T> {
    inside(host.name(), run).expect("our own namespace")
}

/// Has all messages said and waits for all that follows from it.
fn round(room: &mut dyn Room, members: usize, messages: u64, all_speak: bool) -> Option<Figures> {
    // Links and receipts of the beginning settle.
    std::thread::sleep(Duration::from_millis(500));
    let receivers = members as u64 - 1;
    let expected = messages * receivers;
    let pids = room.pids();
    let (cpu, (bytes, packets)) = (cost::cpu(&pids), cost::loopback());
    let began = Instant::now();
    let speakers = if all_speak { members } else { 1 };
    for speaker in 0..speakers {
        let numbers = (0..messages).skip(speaker).step_by(speakers).collect();
        room.say(speaker, numbers);
    }
    let (mut heard, mut receipts) = (0, 0);
    let (mut heard_at, mut receipts_at) = (began, began);
    let wanted = if room.has_receipts() { expected } else { 0 };
    while heard < expected || receipts < wanted {
        match room.told().recv_timeout(SILENCE_MAX) {
            Ok(told) => match told.what {
                What::Heard(_) => (heard, heard_at) = (heard + 1, told.at.max(heard_at)),
                What::Receipt(_) => {
                    (receipts, receipts_at) = (receipts + 1, told.at.max(receipts_at));
                }
            },
            Err(_) => {
                println!(
                    "| of {expected}, {heard} heard and {receipts} receipts came | | | | | | |"
                );
                return None;
            }
        }
    }
    room.settle();
    let (bytes_after, packets_after) = cost::loopback();
    Some(Figures {
        until_heard: heard_at - began,
        until_receipts: room.has_receipts().then(|| receipts_at - began),
        cpu: cost::cpu(&pids).saturating_sub(cpu),
        bytes: bytes_after - bytes,
        packets: packets_after - packets,
        messages,
        receivers,
    })
}

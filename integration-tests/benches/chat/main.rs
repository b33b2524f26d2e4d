//! What a channel carries: whole nodes beside an XMPP server and a serverless group chat, what a member who
//! was away takes in, and how soon a node with a long history is there.
//!
//! `cargo bench -p bitchat-integration-tests --bench chat` prints tables; `docs/benchmarks.md` has the
//! figures. `-- throughput`, `-- latency`, `-- catchup`, `-- start` run one part; a number (`-- start
//! 100000`) takes so many messages instead of what the part takes by itself, and `only=NAME` one program.
//! Needs root, for a network namespace of its own: nothing leaves it, and its loopback counts the bytes.

#![allow(clippy::print_stdout, reason = "printing figures is what a benchmark is for")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the time")]

mod catch_up;
mod cost;
mod history;
mod latency;
mod nodes;
mod room;
mod start;
mod throughput;
mod tox;
mod xmpp;

use std::time::Duration;

/// What the command line says.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    parts: Vec<String>,
    /// Messages, instead of what a part takes by itself.
    pub(crate) messages: Option<u64>,
    /// The only program to be measured.
    only: Option<String>,
}

impl Wishes {
    fn read() -> Self {
        let mut wishes = Self::default();
        for word in std::env::args().skip(1).filter(|word| !word.starts_with('-')) {
            if let Ok(messages) = word.parse() {
                wishes.messages = Some(messages);
            } else if let Some(name) = word.strip_prefix("only=") {
                wishes.only = Some(name.to_owned());
            } else {
                wishes.parts.push(word);
            }
        }
        wishes
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }
}

/// A part by its name.
type Part = (&'static str, fn(&Wishes));

fn main() {
    let wishes = Wishes::read();
    let parts: [Part; 4] = [
        ("throughput", throughput::measure),
        ("latency", latency::measure),
        ("catchup", catch_up::measure),
        ("start", start::measure),
    ];
    for (name, part) in parts {
        if wishes.parts.is_empty() || wishes.parts.iter().any(|want| want == name) {
            println!("\n## {name}\n");
            part(&wishes);
        }
    }
}

/// The middle value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    quantile(&mut values, 0.5)
}

/// The value below which `share` (0 to 1) of all lie.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

//! What a look-up in the DHT costs: beside libtorrent's own in the same swarm of libtorrent nodes, and in
//! a simulated Mainline with dead nodes.
//!
//! `cargo bench -p bitchat-integration-tests --bench dht` prints tables; `docs/benchmarks.md` has the
//! figures. `-- swarm`, `-- simulated` run one part.

#![allow(clippy::print_stdout, reason = "printing figures is what a benchmark is for")]

mod ours;
mod simulated;
mod swarm;

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let parts: [(&str, fn()); 2] = [("swarm", swarm::compare), ("simulated", simulated::measure)];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|want| want == name) {
            println!("\n## {name}");
            part();
        }
    }
}

/// The middle one of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

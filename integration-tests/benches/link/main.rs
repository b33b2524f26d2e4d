//! Speed and memory of a link and of a mesh, as ratios against named peers in the same run.
//!
//! `cargo bench -p bitchat-integration-tests --bench link` prints a table; `docs/benchmarks.md` has
//! the figures and the machine's shape. `-- bulk`, `-- ping`, ... run one part.

#![allow(clippy::print_stdout, reason = "printing figures is what a benchmark is for")]

mod cpu;
mod many;
mod ours;
mod quinn_peer;
mod tls_peer;

use cpu::{Cost, median, quantile};

/// What protects the packets, on both sides of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    Aes256Gcm,
    ChaCha20Poly1305,
}

/// Bytes a writer hands over at once.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Bytes on their way on one stream, on both sides of a comparison.
pub(crate) const STREAM_WINDOW: u32 = 1_250_000;

const BULK_BYTES: u64 = 1 << 30;
const BULK_ROUNDS: usize = 5;
const PINGS: usize = 5000;
const PING_ROUNDS: usize = 5;

/// Sends so many bytes.
type Bulk = fn(Cipher, u64) -> Cost;

/// Sends messages of so many bytes there and back, so often; microseconds each.
type Ping = fn(Cipher, usize, usize) -> Vec<f64>;

/// One part: its name, what it measures.
type Part = (&'static str, fn());

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let parts: [Part; 5] = [
        ("bulk", bulk),
        ("ping", ping),
        ("handshakes", many::handshakes),
        ("idle", many::idle),
        ("mesh", many::mesh),
    ];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|want| want == name) {
            println!("\n## {name}");
            part();
        }
    }
}

fn per_gb(cost: Cost, bytes: u64) -> (f64, f64) {
    let bytes = bytes as f64;
    (bytes / cost.wall.as_secs_f64() / 1e6, cost.cpu.as_secs_f64() / (bytes / 1e9))
}

/// One stream, one GiB; the peers take turns so that all see the same machine.
fn bulk() {
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let runs: [(&str, Bulk); 3] =
            [("bitchat", ours::bulk), ("quinn", quinn_peer::bulk), ("tcp+tls", tls_peer::bulk)];
        let mut figures = vec![(Vec::new(), Vec::new()); runs.len()];
        for _ in 0..BULK_ROUNDS {
            for ((_, run), (speeds, cpus)) in runs.iter().zip(&mut figures) {
                let (speed, cpu) = per_gb(run(cipher, BULK_BYTES), BULK_BYTES);
                speeds.push(speed);
                cpus.push(cpu);
            }
        }
        let figures: Vec<(f64, f64)> =
            figures.into_iter().map(|(speeds, cpus)| (median(speeds), median(cpus))).collect();
        println!("\n{cipher:?}, 1 GiB over one stream, median of {BULK_ROUNDS}\n");
        println!("| | MB/s | CPU s/GB, both ends | MB/s against quinn | CPU against quinn |");
        println!("|---|---|---|---|---|");
        let (quinn_speed, quinn_cpu) = figures[1];
        for ((name, _), (speed, cpu)) in runs.iter().zip(figures) {
            let (faster, dearer) = (speed / quinn_speed, cpu / quinn_cpu);
            println!("| {name} | {speed:.0} | {cpu:.2} | {faster:.2} | {dearer:.2} |");
        }
    }
}

/// 100 bytes there and back over an idle link, application to application.
fn ping() {
    let cipher = Cipher::Aes256Gcm;
    let runs: [(&str, Ping); 2] = [("bitchat", ours::ping), ("quinn", quinn_peer::ping)];
    let mut figures = vec![(Vec::new(), Vec::new()); runs.len()];
    for _ in 0..PING_ROUNDS {
        for ((_, run), (p50, p99)) in runs.iter().zip(&mut figures) {
            let mut times = run(cipher, 100, PINGS);
            p50.push(quantile(&mut times, 0.5));
            p99.push(quantile(&mut times, 0.99));
        }
    }
    let figures: Vec<(f64, f64)> =
        figures.into_iter().map(|(p50, p99)| (median(p50), median(p99))).collect();
    println!("\n100 bytes there and back, {PINGS} times, median of {PING_ROUNDS} rounds\n");
    println!("| | p50 us | p99 us | p50 against quinn | p99 against quinn |");
    println!("|---|---|---|---|---|");
    for ((name, _), (p50, p99)) in runs.iter().zip(&figures) {
        let (r50, r99) = (p50 / figures[1].0, p99 / figures[1].1);
        println!("| {name} | {p50:.1} | {p99:.1} | {r50:.2} | {r99:.2} |");
    }
}

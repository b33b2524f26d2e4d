//! What processes and an interface have used.

use std::fs;
use std::time::Duration;

/// CPU time of all threads of processes, also of those that have ended.
pub(crate) fn cpu(pids: &[u32]) -> Duration {
    let ticks: u64 = pids.iter().map(|pid| ticks(*pid)).sum();
    // The kernel tells them in hundredths of a second, whatever its own clock is.
    Duration::from_millis(ticks * 10)
}

fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// A line of a process's `status`, such as `VmHWM` or `VmRSS`, in MiB.
pub(crate) fn memory_mib(pid: u32, line: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let found = status.lines().find(|it| it.starts_with(line)).unwrap_or_default();
    let kib = found.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

/// Bytes and packets that the loopback of this thread's network namespace has carried.
pub(crate) fn loopback() -> (u64, u64) {
    let all = fs::read_to_string("/proc/thread-self/net/dev").expect("Linux has /proc");
    let line = all.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap_or_default();
    let mut fields = line.split_whitespace().filter_map(|field| field.parse().ok());
    (fields.next().unwrap_or(0), fields.next().unwrap_or(0))
}

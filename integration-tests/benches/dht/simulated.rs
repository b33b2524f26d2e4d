//! A Mainline of our machines under virtual time, of which every fifth is dead.

use std::time::{Duration, Instant};

use bitchat_protocol::dht::sim::{Net, NetConfig};

use crate::median;

const NODES: usize = 10_000;
/// Nodes that join in a second.
const GROWTH: u32 = 50;
const DEAD_PERCENT: u64 = 20;
const LOOK_UPS: usize = 200;

/// Prints how often look-ups succeed, and what they and the tables cost.
pub(crate) fn measure() {
    let began = Instant::now();
    let config = NetConfig { nodes: NODES, ..NetConfig::default() };
    let mut net = Net::new(config, began);
    net.grow(GROWTH, Duration::from_secs(60));
    println!("{NODES} nodes, grown in {:.0} s", began.elapsed().as_secs_f64());
    net.kill(DEAD_PERCENT);
    let killed = net.elapsed();
    let (mut found, mut asked, mut bytes) = (0, Vec::new(), Vec::new());
    let (mut first, mut ended, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..LOOK_UPS {
        let outcome = net.try_look_up();
        found += usize::from(outcome.found);
        asked.push(outcome.asked as f64);
        bytes.push(outcome.bytes as f64);
        told.push(outcome.announced_to as f64);
        first.extend(outcome.first.map(|it| it.as_secs_f64()));
        ended.extend(outcome.ended.map(|it| it.as_secs_f64()));
    }
    let percent = 100.0 * found as f64 / LOOK_UPS as f64;
    let since = (net.elapsed() - killed).as_secs();
    println!(
        "{DEAD_PERCENT} % dead: {found} of {LOOK_UPS} found ({percent:.1} %) in {since} s since"
    );
    println!("questions {:.0}, announces {:.0}", median(asked), median(told));
    println!("seconds: first peer {:.2}, end {:.2}", median(first), median(ended));
    let tables = (0..net.len()).map(|node| net.status(node));
    let (nodes, held) = tables
        .fold((0, 0), |(nodes, held), status| (nodes + status.nodes, held + status.table_bytes));
    println!("bytes: a look-up {:.0}, a stored node {}", median(bytes), held / nodes.max(1));
    println!(
        "a table has {} nodes; all took {:.0} s",
        nodes / net.len(),
        began.elapsed().as_secs_f64()
    );
}

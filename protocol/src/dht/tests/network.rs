//! Networks of machines under virtual time.

use std::time::{Duration, Instant};

use crate::dht::sim::{Net, NetConfig, Outcome};

fn grown(config: NetConfig) -> Net {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    let mut net = Net::new(config, Instant::now());
    net.grow(4, Duration::from_secs(60));
    net
}

struct Summary {
    tries: usize,
    found: usize,
    ended: usize,
    asked: usize,
    announced_to: usize,
    first: Duration,
    longest: Duration,
}

fn summarize(outcomes: &[Outcome]) -> Summary {
    let tries = outcomes.len();
    let found: Vec<_> = outcomes.iter().filter_map(|it| it.first).collect();
    Summary {
        tries,
        found: found.len(),
        ended: outcomes.iter().filter(|it| it.ended.is_some()).count(),
        asked: outcomes.iter().map(|it| it.asked).sum::<usize>() / tries,
        announced_to: outcomes.iter().map(|it| it.announced_to).sum::<usize>() / tries,
        first: found.iter().sum::<Duration>() / (found.len().max(1) as u32),
        longest: outcomes.iter().filter_map(|it| it.ended).max().unwrap_or_default(),
    }
}

fn search(net: &mut Net, tries: usize) -> Summary {
    let outcomes: Vec<_> = (0..tries).map(|_| net.try_look_up()).collect();
    summarize(&outcomes)
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "found {} and ended {} of {}; {} asked, {} told; first after {:?}, longest {:?}",
            self.found,
            self.ended,
            self.tries,
            self.asked,
            self.announced_to,
            self.first,
            self.longest,
        )
    }
}

#[test]
fn in_a_healthy_network_everybody_is_found() {
    let mut net = grown(NetConfig { nodes: 60, ..NetConfig::default() });
    let summary = search(&mut net, 20);
    assert_eq!((summary.found, summary.ended), (20, 20), "{summary}");
    assert_eq!(summary.announced_to, 8, "{summary}");
    assert!(summary.longest < Duration::from_secs(8), "{summary}");
    let secure = (0..net.len()).filter(|node| net.has_secure_id(*node)).count();
    assert_eq!(secure, net.len(), "every node has learnt its address and taken an id for it");
}

#[test]
fn with_a_fifth_of_the_nodes_dead_nearly_everybody_is_found() {
    let mut net = grown(NetConfig::default());
    net.kill(20);
    let summary = search(&mut net, 100);
    assert!(summary.found >= 99 && summary.ended == 100, "{summary}");
    assert!(summary.asked <= 16 && summary.longest < Duration::from_secs(10), "{summary}");
}

#[test]
fn with_a_third_of_the_nodes_hostile_look_ups_end_and_find_the_true_peers() {
    let mut net = grown(NetConfig { hostile_percent: 30, ..NetConfig::default() });
    let summary = search(&mut net, 60);
    assert!(summary.found >= 57 && summary.ended == 60, "{summary}");
    assert!(summary.asked <= 60 && summary.longest < Duration::from_secs(20), "{summary}");
}

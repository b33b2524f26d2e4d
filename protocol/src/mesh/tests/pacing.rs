//! How many dials and frames a mesh costs, on machines that are slow as on those that are not.

use super::dials::DIAL_DEADLINE;
use super::*;

/// Nodes that all share one core and know the one before them.
fn chain_on_one_core(count: usize, seed: u64) -> Net {
    let mut net = Net::new(count, seed);
    net.handshake = Duration::from_millis(2);
    net.frame = Duration::from_micros(200);
    for node in 1..count {
        net.tell(node, vec![address(node - 1)]);
    }
    net
}

#[test]
fn members_that_share_a_slow_core_do_not_drown_it_in_second_dials_and_news() {
    for (count, seeds, time, dials_max, frames_max) in
        [(10, 5, 2, 1.1, 8.0), (25, 3, 4, 1.3, 10.0), (50, 1, 8, 1.35, 16.0)]
    {
        for seed in 0..seeds {
            let mut net = chain_on_one_core(count, seed);
            net.check_whole_within(secs(time));
            let sum = |of: fn(&net::Node) -> usize| net.nodes.iter().map(of).sum::<usize>() as f64;
            let edges = (count * (count - 1) / 2) as f64;
            let dials = sum(|node| node.dials) / edges;
            let frames = sum(|node| node.frames) / edges;
            assert!(dials < dials_max, "{dials} dials an edge, {count} nodes, seed {seed}");
            assert!(frames < frames_max, "{frames} frames an edge, {count} nodes, seed {seed}");
        }
    }
}

/// A dial that leads to a link after `time`.
fn dial_that_takes(bench: &mut Bench, time: Duration, index: usize) {
    let dials = dialled(&bench.tell(&[&address(index).to_string()], Source::Tracker(0)));
    let dial = dials.into_iter().find(|dial| dial.1 == address(index)).unwrap();
    bench.wait(time);
    bench.up(index as u64, index, Some(dial.0));
}

/// How long we leave the first dial to a member that is told of now.
fn courtesy(bench: &mut Bench, index: usize) -> Duration {
    let begun = bench.now;
    let from = 60;
    let mut dials = dialled(&bench.told(from, &[(index, address(index))]));
    while dials.iter().all(|dial| dial.1 != address(index)) {
        bench.now = bench.mesh.poll_timeout().unwrap();
        bench.mesh.handle_timeout(bench.now);
        dials = dialled(&bench.drain());
    }
    bench.now - begun
}

#[test]
fn the_higher_key_waits_longer_while_dials_take_long_and_never_very_long() {
    let mut bench = Bench::new();
    dial_that_takes(&mut bench, Duration::from_millis(20), 60);
    assert_eq!(courtesy(&mut bench, 10), Duration::from_millis(300));
    for index in 61..64 {
        dial_that_takes(&mut bench, secs(2), index);
    }
    let wait = courtesy(&mut bench, 11);
    assert!((secs(1)..secs(4)).contains(&wait), "{wait:?}");
    assert_eq!(courtesy(&mut bench, 99), Duration::ZERO, "ours to dial");
    for index in 64..74 {
        dial_that_takes(&mut bench, DIAL_DEADLINE - secs(1), index);
    }
    assert_eq!(courtesy(&mut bench, 12), secs(5));
    for index in 74..94 {
        dial_that_takes(&mut bench, Duration::from_millis(20), index);
    }
    assert_eq!(courtesy(&mut bench, 13), Duration::from_millis(300));
}

#[test]
fn what_is_ours_to_dial_comes_before_what_the_other_side_dials_meanwhile() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    let lower = (10..20).map(|index| (index, address(index)));
    let higher = (70..80).map(|index| (index, address(index)));
    let told: Vec<_> = lower.chain(higher).collect();
    let mut dials = dialled(&bench.told(60, &told));
    // All are due now, and there is no room for most of them.
    bench.wait(secs(1));
    for link in 0..10 {
        let (attempt, address, expect) = dials.remove(0);
        let peer = expect.unwrap();
        assert!(peer > self::peer(50), "{address} before one of ours");
        let (incarnation, channels) = ([1; 8], members(&[RED]));
        let attempt = Some(attempt);
        let link = 100 + link;
        let up = Input::LinkUp { link, peer, incarnation, attempt, address, channels };
        dials.extend(dialled(&bench.input(up)));
    }
}

/// When frames are sent to a peer, while others come and go all the time.
fn frames_in_a_storm(members: usize, time: Duration) -> usize {
    let mut bench = Bench::new();
    for index in 0..members {
        bench.up(index as u64, 100 + index, None);
    }
    bench.wait(secs(10));
    let mut frames = 0;
    let end = bench.now + time;
    for link in 1000.. {
        if bench.now >= end {
            break;
        }
        bench.up(link, 1000 + usize::try_from(link).unwrap(), None);
        let mut outputs = bench.wait(Duration::from_millis(50));
        outputs.extend(bench.down(link, DownReason::Expected));
        let to = peer(100);
        let told =
            |output: &&Output| matches!(output, Output::SendPeers { peer, .. } if *peer == to);
        frames += outputs.iter().filter(told).count();
    }
    frames
}

#[test]
fn the_more_members_the_less_often_each_is_told_of_changes() {
    let few = frames_in_a_storm(3, secs(12));
    assert!((100..=120).contains(&few), "{few}");
    let many = frames_in_a_storm(48, secs(12));
    assert!((9..=11).contains(&many), "{many}");
}

#[test]
fn a_newcomer_is_told_of_everybody_at_once_however_many_they_are() {
    let mut bench = Bench::new();
    for index in 0..48 {
        bench.up(index as u64, 100 + index, None);
    }
    bench.wait(Duration::from_millis(250));
    bench.up(1000, 1000, None);
    let outputs = bench.wait(Duration::from_millis(100));
    let told: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::SendPeers { peer, frame } => Some((*peer, frame.full, frame.added.len())),
            Output::Dial { .. } | Output::CloseLink { .. } | Output::Event(_) => None,
        })
        .collect();
    assert_eq!(told, [(peer(1000), true, 48)]);
}

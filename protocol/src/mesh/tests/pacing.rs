//! How many dials and frames a mesh costs.

use super::*;

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

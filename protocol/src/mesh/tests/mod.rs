//! The machine alone, in pairs, and in a simulated network.

mod addresses;
mod floods;
mod net;
mod pacing;

use self::net::{Net, RED, address, peer};
use super::dials::DIAL_DEADLINE;
use super::*;
use crate::channel::Standing;
use crate::wire::{PeerRecord, WireAddress};

const GREEN: ChannelId = ChannelId([2; 32]);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Nodes of which all but the first know the first.
fn knowing_one(count: usize, seed: u64) -> Net {
    let mut net = Net::new(count, seed);
    for node in 1..count {
        net.tell(node, vec![address(0)]);
    }
    net
}

#[test]
fn nodes_that_know_one_address_become_a_full_mesh() {
    for (count, seeds, time) in [(2, 20, 1), (3, 20, 5), (10, 10, 5), (50, 2, 10)] {
        for seed in 0..seeds {
            knowing_one(count, seed).check_whole_within(secs(time));
        }
    }
}

#[test]
fn a_full_mesh_comes_about_although_a_third_of_all_dials_is_lost() {
    for seed in 0..10 {
        let mut net = knowing_one(10, seed);
        net.loss = 33;
        net.check_whole_within(secs(120));
    }
}

#[test]
fn everybody_dialling_everybody_at_once_ends_with_one_link_each() {
    for seed in 0..10 {
        let mut net = Net::new(10, seed);
        for node in 0..10 {
            net.tell(node, (0..10).map(address).collect());
        }
        net.check_whole_within(secs(10));
    }
}

#[test]
fn a_mesh_that_stands_does_nothing() {
    for seed in 0..5 {
        let mut net = knowing_one(10, seed);
        net.check_whole_within(secs(10));
        net.run(secs(10));
        let dials: Vec<_> = net.nodes.iter().map(|node| node.dials).collect();
        let frames: Vec<_> = net.nodes.iter().map(|node| node.frames).collect();
        for node in &net.nodes {
            assert_eq!(node.mesh.poll_timeout(), None, "seed {seed}");
        }
        net.run(secs(3600));
        assert_eq!(net.nodes.iter().map(|node| node.dials).collect::<Vec<_>>(), dials);
        assert_eq!(net.nodes.iter().map(|node| node.frames).collect::<Vec<_>>(), frames);
    }
}

#[test]
fn a_mesh_of_fifty_costs_few_dials_and_frames() {
    let mut net = knowing_one(50, 7);
    net.check_whole_within(secs(10));
    let dials: usize = net.nodes.iter().map(|node| node.dials).sum();
    let frames: usize = net.nodes.iter().map(|node| node.frames).sum();
    let edges = 50 * 49 / 2;
    assert!(dials < edges * 2, "{dials} dials for {edges} edges");
    assert!(frames < edges * 40, "{frames} frames for {edges} edges");
}

#[test]
fn a_node_killed_and_started_again_is_back_at_once_and_the_others_need_no_restart() {
    for seed in 0..10 {
        let mut net = knowing_one(5, seed);
        net.check_whole_within(secs(10));
        net.run(secs(100));
        net.kill(2);
        net.run(secs(2));
        net.restart(2);
        net.check_whole_within(secs(40));
        let supersededs = net.nodes[0].events.iter().filter(
            |event| matches!(event, Event::MemberDown { peer: down, .. } if *down == peer(2)),
        );
        assert!(supersededs.count() <= 1, "seed {seed}");
    }
}

#[test]
fn a_node_that_is_gone_for_long_comes_back_without_any_tracker() {
    let mut net = knowing_one(4, 3);
    net.check_whole_within(secs(10));
    net.run(secs(100));
    net.kill(3);
    net.run(secs(3600));
    assert_eq!(net.nodes[0].mesh.members(&RED).len(), 2);
    net.restart(3);
    net.check_whole_within(secs(5));
}

#[test]
fn a_partition_heals_by_itself() {
    for seed in 0..10 {
        let mut net = knowing_one(6, seed);
        net.check_whole_within(secs(10));
        net.run(secs(100));
        net.partition(|node| u8::from(node < 3));
        net.run(secs(120));
        assert!(!net.is_whole());
        assert_eq!(net.nodes[0].mesh.members(&RED).len(), 2, "seed {seed}");
        net.partition(|_| 0);
        net.check_whole_within(secs(310));
    }
}

#[test]
fn one_run_is_like_another_with_the_same_seed() {
    let run = || {
        let mut net = knowing_one(10, 42);
        net.loss = 20;
        net.run(secs(20));
        let dials: Vec<_> = net.nodes.iter().map(|node| (node.dials, node.frames)).collect();
        dials
    };
    assert_eq!(run(), run());
}

// One machine by hand, from here on.

struct Bench {
    mesh: Mesh,
    now: Instant,
}

impl Bench {
    /// The node in the middle: higher than some peers, lower than others.
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "any start will do")]
        let now = Instant::now();
        let mut bench = Self {
            mesh: Mesh::new(
                now,
                Config { own_peer: peer(50), dials_at_once: crate::limits::DIALS_MAX },
                Rng::from_seed([1; 32]),
            ),
            now,
        };
        bench.input(Input::OwnAddresses(vec![address(50)]));
        bench.input(Input::JoinChannel { channel: RED, last_known: vec![] });
        bench
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.mesh.handle_input(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.mesh.poll_output()).collect()
    }

    /// Runs the timers for `time`.
    fn wait(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut outputs = Vec::new();
        for _ in 0..10_000 {
            let Some(at) = self.mesh.poll_timeout().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.mesh.handle_timeout(self.now);
            outputs.extend(self.drain());
        }
        self.now = end;
        outputs
    }

    fn tell(&mut self, addresses: &[&str], source: Source) -> Vec<Output> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.input(Input::AddressesFound { channel: RED, addresses, source })
    }

    fn up(&mut self, link: u64, index: usize, attempt: Option<u64>) -> Vec<Output> {
        self.up_in(link, index, attempt, address(index), &[RED])
    }

    fn up_in(
        &mut self,
        link: u64,
        index: usize,
        attempt: Option<u64>,
        address: SocketAddr,
        channels: &[ChannelId],
    ) -> Vec<Output> {
        let (peer, channels) = (peer(index), members(channels));
        let incarnation = [1; 8];
        self.input(Input::LinkUp { link, peer, incarnation, attempt, address, channels })
    }

    fn down(&mut self, link: u64, reason: DownReason) -> Vec<Output> {
        self.input(Input::LinkDown { link, reason })
    }

    fn failed(&mut self, attempt: u64) -> Vec<Output> {
        self.input(Input::DialFailed { attempt, why: DialFailure::Failed })
    }

    fn told(&mut self, from: usize, added: &[(usize, SocketAddr)]) -> Vec<Output> {
        let record = |(index, address): &(usize, SocketAddr)| PeerRecord {
            peer: peer(*index),
            addresses: vec![WireAddress(*address)],
        };
        let added = added.iter().map(record).collect();
        let frame = Peers { channel: RED, full: false, added, removed: vec![] };
        self.input(Input::PeersReceived { from: peer(from), frame })
    }
}

fn members(channels: &[ChannelId]) -> Vec<(ChannelId, Standing)> {
    channels.iter().map(|id| (*id, Standing::Member)).collect()
}

fn dialled(outputs: &[Output]) -> Vec<(u64, SocketAddr, Option<PeerId>)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Dial { attempt, address, expect, .. } => Some((*attempt, *address, *expect)),
            Output::CloseLink { .. } | Output::SendPeers { .. } | Output::Event(_) => None,
        })
        .collect()
}

fn closed(outputs: &[Output]) -> Vec<(u64, CloseReason)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::CloseLink { link, reason } => Some((*link, *reason)),
            Output::Dial { .. } | Output::SendPeers { .. } | Output::Event(_) => None,
        })
        .collect()
}

#[test]
fn ten_thousand_false_addresses_from_one_source_do_not_delay_the_true_one() {
    let mut bench = Bench::new();
    let false_ones = (0..10_000u32)
        .map(|at| SocketAddr::from(((0x0800_0000 + at).to_be_bytes(), 6881)))
        .collect();
    let flood =
        Input::AddressesFound { channel: RED, addresses: false_ones, source: Source::Tracker(0) };
    assert_eq!(dialled(&bench.input(flood)).len(), DIALS_PER_SOURCE_MAX);
    assert!(bench.mesh.channels[&RED].candidates.len() <= crate::limits::CANDIDATES_PER_SOURCE_MAX);
    let outputs = bench.tell(&["9.9.9.9:6881"], Source::Tracker(1));
    let dials = dialled(&outputs);
    assert_eq!(dials[0].1, "9.9.9.9:6881".parse().unwrap());
}

#[test]
fn sources_take_turns_when_there_is_room_for_one_dial_at_a_time() {
    let mut bench = Bench::new();
    let many: Vec<String> = (1..=100).map(|at| format!("8.0.0.{at}:1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut open: VecDeque<u64> =
        dialled(&bench.tell(&many, Source::Tracker(0))).iter().map(|dial| dial.0).collect();
    let few: Vec<String> = (1..=8).map(|at| format!("9.0.0.{at}:1")).collect();
    let few: Vec<&str> = few.iter().map(String::as_str).collect();
    let mut later = dialled(&bench.tell(&few, Source::Tracker(1)));
    open.extend(later.iter().map(|dial| dial.0));
    for _ in 0..12 {
        let oldest = open.pop_front().unwrap();
        let next = dialled(&bench.failed(oldest));
        open.extend(next.iter().map(|dial| dial.0));
        later.extend(next);
    }
    let of_few = later.iter().filter(|dial| dial.1.ip().to_string().starts_with("9.")).count();
    assert_eq!(of_few, 8, "all of the small source were dialled: {later:?}");
}

#[test]
fn a_neighbour_is_dialled_before_whoever_else_waits() {
    let mut bench = Bench::new();
    let many: Vec<String> = (1..=100).map(|at| format!("8.0.0.{at}:1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut open = Vec::new();
    for tracker in 0..3 {
        open.extend(dialled(&bench.tell(&many, Source::Tracker(tracker))));
    }
    assert_eq!(open.len(), DIALS_PER_CHANNEL_MAX, "no room");
    bench.tell(&["10.0.0.9:1"], Source::Lan);
    assert_eq!(dialled(&bench.failed(open[0].0))[0].1, "10.0.0.9:1".parse().unwrap());
}

#[test]
fn false_neighbours_do_not_delay_the_true_member_that_a_tracker_names() {
    let mut bench = Bench::new();
    let many: Vec<String> = (1..=250).map(|at| format!("10.0.0.{at}:1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(dialled(&bench.tell(&many, Source::Lan)).len(), DIALS_PER_SOURCE_MAX);
    let dials = dialled(&bench.tell(&["9.9.9.9:6881"], Source::Tracker(0)));
    assert_eq!(dials[0].1, "9.9.9.9:6881".parse().unwrap());
}

#[test]
fn a_neighbour_that_speaks_again_is_dialled_without_waiting_for_its_back_off() {
    let mut bench = Bench::new();
    let mut attempt = dialled(&bench.tell(&["10.0.0.9:1"], Source::Lan))[0].0;
    for _ in 0..8 {
        bench.failed(attempt);
        attempt = dialled(&bench.wait(secs(400)))[0].0;
    }
    bench.failed(attempt);
    assert_eq!(dialled(&bench.tell(&["10.0.0.9:1"], Source::Tracker(0))), []);
    assert_eq!(dialled(&bench.tell(&["10.0.0.9:1"], Source::Lan)).len(), 1);
}

#[test]
fn a_neighbour_that_is_ourselves_is_not_dialled_again_however_often_it_speaks() {
    let mut bench = Bench::new();
    let attempt = dialled(&bench.tell(&["10.0.0.9:1"], Source::Lan))[0].0;
    bench.input(Input::DialFailed { attempt, why: DialFailure::Ourselves });
    assert_eq!(dialled(&bench.tell(&["10.0.0.9:1"], Source::Lan)), []);
}

#[test]
fn a_link_local_address_is_dialled_on_its_interface() {
    let mut bench = Bench::new();
    let dials = dialled(&bench.tell(&["[fe80::9%3]:1"], Source::Lan));
    assert_eq!(dials[0].1, "[fe80::9%3]:1".parse().unwrap());
    bench.input(Input::OwnAddresses(vec!["[fe80::8]:1".parse().unwrap()]));
    assert_eq!(dialled(&bench.tell(&["[fe80::8%3]:1"], Source::Lan)), []);
}

#[test]
fn addresses_that_cannot_be_a_nodes_and_our_own_are_not_dialled() {
    let mut bench = Bench::new();
    let own = address(50).to_string();
    let outputs =
        bench.tell(&["8.8.8.8:0", "224.0.0.1:1", "[::]:1", "0.0.0.0:1", &own], Source::Tracker(0));
    assert_eq!(dialled(&outputs), []);
    assert_eq!(bench.mesh.poll_timeout(), None);
}

#[test]
fn an_address_that_turned_out_to_be_ourselves_is_left_alone_for_an_hour() {
    let mut bench = Bench::new();
    let dials = dialled(&bench.tell(&["8.8.8.8:1"], Source::Tracker(0)));
    let attempt = dials[0].0;
    bench.input(Input::DialFailed { attempt, why: DialFailure::Ourselves });
    bench.tell(&["8.8.8.8:1"], Source::Tracker(0));
    assert_eq!(dialled(&bench.wait(secs(3599))), []);
}

#[test]
fn an_address_at_which_somebody_blocked_answered_is_left_alone_for_an_hour() {
    let mut bench = Bench::new();
    bench.input(Input::PeerBlocked(peer(60)));
    let attempt = dialled(&bench.tell(&["8.8.8.8:1"], Source::Tracker(0)))[0].0;
    bench.input(Input::DialFailed { attempt, why: DialFailure::Blocked });
    bench.tell(&["8.8.8.8:1"], Source::Tracker(0));
    assert_eq!(dialled(&bench.wait(secs(3599))), []);
    assert_eq!(dialled(&bench.wait(secs(1))).len(), 1, "it may be somebody else's now");
}

#[test]
fn a_peer_cannot_make_us_dial_nearer_than_it_is_itself() {
    let mut bench = Bench::new();
    bench.up_in(1, 60, None, "8.8.8.8:1".parse().unwrap(), &[RED]);
    let near: [SocketAddr; 4] = ["127.0.0.1:1", "192.168.1.1:1", "169.254.1.1:1", "[fd00::1]:1"]
        .map(|a| a.parse().unwrap());
    let told: Vec<_> = near.iter().enumerate().map(|(at, address)| (70 + at, *address)).collect();
    bench.told(60, &told);
    assert_eq!(dialled(&bench.wait(secs(60))), []);
    bench.told(60, &[(80, "9.9.9.9:1".parse().unwrap())]);
    assert_eq!(dialled(&bench.wait(secs(1))).len() + bench.mesh.dials.count(), 1);
}

#[test]
fn a_member_is_not_told_addresses_that_it_would_not_believe() {
    let mut bench = Bench::new();
    bench.up_in(1, 60, None, "8.8.8.8:1".parse().unwrap(), &[RED]);
    bench.up_in(2, 61, None, "192.168.1.1:1".parse().unwrap(), &[RED]);
    let outputs = bench.wait(secs(1));
    let told = |to: usize| {
        outputs.iter().find_map(|output| match output {
            Output::SendPeers { peer: told, frame } if *told == peer(to) => {
                Some(frame.added[0].addresses.clone())
            }
            Output::SendPeers { .. }
            | Output::Dial { .. }
            | Output::CloseLink { .. }
            | Output::Event(_) => None,
        })
    };
    assert_eq!(told(60), Some(vec![]));
    assert_eq!(told(61), Some(vec![WireAddress("8.8.8.8:1".parse().unwrap())]));
}

#[test]
fn back_off_doubles_to_five_minutes() {
    let mut bench = Bench::new();
    let mut attempt = dialled(&bench.tell(&["8.8.8.8:1"], Source::Tracker(0)))[0].0;
    let mut waits = Vec::new();
    for _ in 0..12 {
        bench.failed(attempt);
        let before = bench.now;
        bench.now = bench.mesh.poll_timeout().unwrap();
        bench.mesh.handle_timeout(bench.now);
        attempt = dialled(&bench.drain())[0].0;
        waits.push((bench.now - before).as_secs_f64());
    }
    for (at, wait) in waits.iter().enumerate() {
        let expected = f64::from(1u32 << at).min(300.0);
        assert!((expected * 0.75..=expected * 1.26).contains(wait), "{at}: {wait}");
    }
}

#[test]
fn an_address_at_which_nobody_was_ever_met_is_forgotten_after_a_while() {
    let mut bench = Bench::new();
    let mut attempts: Vec<_> =
        dialled(&bench.tell(&["8.8.8.8:1"], Source::Tracker(0))).iter().map(|d| d.0).collect();
    for _ in 0..100 {
        let Some(attempt) = attempts.pop() else { break };
        bench.failed(attempt);
        attempts = dialled(&bench.wait(secs(400))).iter().map(|dial| dial.0).collect();
    }
    assert_eq!(bench.mesh.channels[&RED].candidates.len(), 0);
    assert_eq!(bench.mesh.poll_timeout(), None);
}

#[test]
fn telling_an_address_again_does_not_undo_its_back_off() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.wait(secs(1));
    let target = address(70);
    let dials = dialled(&bench.told(60, &[(70, target)]));
    bench.failed(dials[0].0);
    let frame = Peers { channel: RED, full: true, added: vec![], removed: vec![] };
    bench.input(Input::PeersReceived { from: peer(60), frame });
    assert_eq!(dialled(&bench.told(60, &[(70, target)])), []);
}

#[test]
fn a_member_named_by_another_is_expected_there_and_the_higher_key_waits() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.wait(secs(1));
    let outputs = bench.told(60, &[(70, address(70))]);
    assert_eq!(dialled(&outputs)[0].1, address(70));
    assert_eq!(dialled(&outputs)[0].2, Some(peer(70)));
    assert_eq!(dialled(&bench.told(60, &[(20, address(20))])), []);
    assert_eq!(dialled(&bench.wait(Duration::from_millis(299))), []);
    assert_eq!(dialled(&bench.wait(Duration::from_millis(2)))[0].1, address(20));
}

#[test]
fn a_false_claim_about_an_address_costs_one_dial() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.wait(secs(1));
    // The member lies: somebody else is there.
    let (attempt, at, expect) = dialled(&bench.told(60, &[(70, address(80))]))[0];
    assert_eq!((at, expect), (address(80), Some(peer(70))));
    bench.tell(&[&address(80).to_string()], Source::Tracker(0));
    bench.failed(attempt);
    let (_, at, expect) = dialled(&bench.wait(secs(2)))[0];
    assert_eq!((at, expect), (address(80), None));
}

#[test]
fn of_two_links_with_one_peer_the_one_dialled_by_the_lower_key_stays() {
    for (index, loser) in [(60, 2), (20, 1)] {
        let mut bench = Bench::new();
        bench.up(1, index, Some(99));
        bench.up(2, index, None);
        let outputs = bench.wait(secs(1));
        assert_eq!(closed(&outputs), [(loser, CloseReason::Duplicate)]);
        bench.down(loser, DownReason::Expected);
        assert_eq!(bench.mesh.members(&RED).len(), 1);
        assert_eq!(dialled(&bench.wait(secs(60))), []);
    }
}

#[test]
fn of_two_links_dialled_by_one_side_that_side_keeps_the_older_and_the_other_waits() {
    let mut bench = Bench::new();
    bench.up(1, 60, Some(98));
    bench.up(2, 60, Some(99));
    assert_eq!(closed(&bench.wait(secs(1))), [(2, CloseReason::Duplicate)]);

    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.up(2, 60, None);
    assert_eq!(closed(&bench.wait(secs(5))), []);
    assert_eq!(closed(&bench.wait(secs(1))), [(2, CloseReason::Duplicate)]);
}

#[test]
fn a_restarted_peer_replaces_its_earlier_link_without_going_down() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.wait(secs(1));
    let outputs = bench.input(Input::LinkUp {
        link: 2,
        peer: peer(60),
        incarnation: [2; 8],
        attempt: None,
        address: address(60),
        channels: members(&[RED]),
    });
    assert_eq!(outputs, [Output::CloseLink { link: 1, reason: CloseReason::Superseded }]);
    let down = bench.down(1, DownReason::Expected);
    assert_eq!(down, []);
    let told = bench.wait(secs(1));
    assert!(
        matches!(&told[..], [Output::SendPeers { frame, .. }] if frame.full),
        "the new run is told everything: {told:?}"
    );
}

#[test]
fn a_lost_member_is_dialled_again_at_once_and_one_that_said_goodbye_a_little_later() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.wait(secs(100));
    let outputs = bench.down(1, DownReason::Lost);
    assert_eq!(dialled(&outputs)[0].1, address(60));
    assert_eq!(dialled(&outputs)[0].2, Some(peer(60)));
    assert!(outputs.contains(&Output::Event(Event::MemberDown {
        channel: RED,
        peer: peer(60),
        standing: Standing::Member,
    })));

    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.wait(secs(100));
    assert_eq!(dialled(&bench.down(1, DownReason::Expected)), []);
    assert_eq!(dialled(&bench.wait(secs(4))), []);
    assert_eq!(dialled(&bench.wait(secs(2))).len(), 1);
}

#[test]
fn links_that_never_last_are_redialled_ever_more_seldom() {
    let mut bench = Bench::new();
    let mut attempt = dialled(&bench.tell(&[&address(60).to_string()], Source::Tracker(0)))[0].0;
    let mut waits = Vec::new();
    for link in 1..10 {
        bench.up(link, 60, Some(attempt));
        bench.wait(secs(1));
        let mut dials = dialled(&bench.down(link, DownReason::Expected));
        let before = bench.now;
        while dials.is_empty() {
            bench.now = bench.mesh.poll_timeout().unwrap();
            bench.mesh.handle_timeout(bench.now);
            dials = dialled(&bench.drain());
        }
        attempt = dials[0].0;
        waits.push(bench.now - before);
    }
    assert!(waits[8] > secs(90), "{waits:?}");
}

#[test]
fn one_link_serves_several_channels_and_ends_with_the_last_of_them() {
    let mut bench = Bench::new();
    bench.input(Input::JoinChannel { channel: GREEN, last_known: vec![] });
    let outputs = bench.up_in(1, 60, None, address(60), &[RED, GREEN]);
    for channel in [RED, GREEN] {
        let up =
            Output::Event(Event::MemberUp { channel, peer: peer(60), standing: Standing::Member });
        assert!(outputs.contains(&up));
    }
    let outputs = bench.input(Input::SharedChanged { link: 1, channels: members(&[GREEN]) });
    let down = Output::Event(Event::MemberDown {
        channel: RED,
        peer: peer(60),
        standing: Standing::Member,
    });
    assert!(outputs.contains(&down));
    assert_eq!(closed(&outputs), []);
    let outputs = bench.input(Input::LeaveChannel(GREEN));
    assert_eq!(closed(&outputs), [(1, CloseReason::Left)]);
}

#[test]
fn a_link_in_which_nothing_is_shared_counts_for_nothing_and_is_left_to_its_session() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    let outputs = bench.input(Input::SharedChanged { link: 1, channels: vec![] });
    let (channel, standing) = (RED, Standing::Member);
    let down = Output::Event(Event::MemberDown { channel, peer: peer(60), standing });
    assert!(outputs.contains(&down));
    assert_eq!((closed(&outputs), bench.mesh.members(&RED)), (vec![], vec![]));
    let up = Output::Event(Event::MemberUp { channel, peer: peer(60), standing });
    let outputs = bench.input(Input::SharedChanged { link: 1, channels: members(&[RED]) });
    assert!(outputs.contains(&up), "it was let in again");
}

#[test]
fn a_seeder_is_meshed_like_a_member_and_told_apart() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    let channels = vec![(RED, Standing::Seeder)];
    let link = Input::LinkUp {
        link: 2,
        peer: peer(61),
        incarnation: [1; 8],
        attempt: None,
        address: address(61),
        channels,
    };
    let up = |standing| Output::Event(Event::MemberUp { channel: RED, peer: peer(61), standing });
    let down =
        |standing| Output::Event(Event::MemberDown { channel: RED, peer: peer(61), standing });
    assert!(bench.input(link).contains(&up(Standing::Seeder)));
    let told: Vec<_> = bench.wait(secs(1)).into_iter().collect();
    let introduced = |to: PeerId, who: PeerId| {
        told.iter().any(|output| {
            matches!(output, Output::SendPeers { peer, frame }
                if *peer == to && frame.added.iter().any(|record| record.peer == who))
        })
    };
    assert!(introduced(peer(60), peer(61)) && introduced(peer(61), peer(60)), "{told:?}");
    let standing_of = |bench: &Bench, who| {
        bench.mesh.members(&RED).iter().find(|member| member.peer == who).unwrap().standing
    };
    assert_eq!(standing_of(&bench, peer(61)), Some(Standing::Seeder));
    assert_eq!(standing_of(&bench, peer(60)), Some(Standing::Member));

    let outputs = bench.input(Input::SharedChanged { link: 2, channels: members(&[RED]) });
    assert_eq!(outputs, [down(Standing::Seeder), up(Standing::Member)]);
    assert!(bench.down(2, DownReason::Expected).contains(&down(Standing::Member)));
}

#[test]
fn of_two_links_with_one_peer_the_better_standing_counts() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    let outputs = bench.input(Input::LinkUp {
        link: 2,
        peer: peer(60),
        incarnation: [1; 8],
        attempt: None,
        address: address(60),
        channels: vec![(RED, Standing::Seeder)],
    });
    assert_eq!(outputs, []);
    let outputs = bench.down(1, DownReason::Expected);
    assert!(outputs.contains(&Output::Event(Event::MemberUp {
        channel: RED,
        peer: peer(60),
        standing: Standing::Seeder,
    })));
}

#[test]
fn a_link_that_shares_nothing_is_closed() {
    let mut bench = Bench::new();
    let outputs = bench.up_in(1, 60, None, address(60), &[GREEN]);
    assert_eq!(closed(&outputs), [(1, CloseReason::Left)]);
    assert_eq!(bench.mesh.members(&RED), []);
}

#[test]
fn a_channel_with_all_the_members_it_can_have_takes_no_more() {
    let mut bench = Bench::new();
    for at in 0..crate::limits::MEMBERS_MAX {
        bench.up(at as u64, 100 + at, None);
    }
    let outputs = bench.up(1000, 300, None);
    assert_eq!(closed(&outputs), [(1000, CloseReason::TooMany)]);
    let frames = bench.wait(secs(1));
    for output in frames {
        if let Output::SendPeers { frame, .. } = output {
            let body = crate::wire::encode(&crate::wire::Frame::Peers(frame));
            assert!(crate::wire::decode(&body).is_ok());
        }
    }
}

#[test]
fn a_blocked_peer_is_closed_not_dialled_and_not_counted() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.up(2, 61, None);
    bench.wait(secs(1));
    let outputs = bench.input(Input::PeerBlocked(peer(60)));
    assert_eq!(closed(&outputs), [(1, CloseReason::Blocked)]);
    bench.down(1, DownReason::Expected);
    bench.told(61, &[(60, address(60))]);
    assert_eq!(dialled(&bench.wait(secs(600))), []);
    assert_eq!(bench.mesh.view(&RED), Completeness::Full);
    assert_eq!(closed(&bench.up(3, 60, None)), [(3, CloseReason::Blocked)]);
    bench.down(3, DownReason::Expected);
    let outputs = bench.input(Input::PeerUnblocked(peer(60)));
    assert_eq!(bench.mesh.view(&RED), Completeness::Partial);
    assert!(!dialled(&outputs).is_empty() || !dialled(&bench.wait(secs(600))).is_empty());
}

#[test]
fn what_each_member_says_is_shown_and_what_is_missing_too() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.up(2, 61, None);
    bench.told(60, &[(61, address(61)), (62, address(62))]);
    bench.told(61, &[(60, address(60))]);
    let members = bench.mesh.members(&RED);
    let view = |index: usize| members.iter().find(|member| member.peer == peer(index)).unwrap();
    assert_eq!(view(60).connected_with, [peer(61), peer(62)]);
    assert_eq!((view(60).linked, view(60).mesh), (true, Completeness::Full));
    assert_eq!(view(61).not_connected_with, [peer(62)]);
    assert_eq!(view(61).mesh, Completeness::Partial);
    assert_eq!((view(62).linked, view(62).mesh), (false, Completeness::Partial));
    assert_eq!(view(62).connected_with, [peer(60)]);
    assert_eq!(view(62).address, Some(address(62)));
    assert_eq!(bench.mesh.view(&RED), Completeness::Partial);
    bench.down(2, DownReason::Lost);
    bench.down(1, DownReason::Lost);
    assert_eq!(bench.mesh.view(&RED), Completeness::None);
    assert_eq!(bench.mesh.members(&RED), []);
}

#[test]
fn peers_told_by_somebody_who_is_not_a_member_are_ignored() {
    let mut bench = Bench::new();
    assert_eq!(dialled(&bench.told(60, &[(70, address(70))])), []);
    assert_eq!(bench.mesh.members(&RED), []);
}

#[test]
fn last_known_addresses_are_dialled_at_once_and_saved_again_after_a_meeting() {
    let mut bench = Bench::new();
    let last_known = vec![address(60), address(61)];
    let outputs = bench.input(Input::JoinChannel { channel: RED, last_known });
    let dials = dialled(&outputs);
    assert_eq!(dials.len(), 2);
    bench.up(1, 60, Some(dials[0].0));
    assert_eq!(bench.mesh.known_addresses(&RED), [address(60)]);
}

#[test]
fn a_dial_of_which_nothing_is_heard_is_given_up() {
    let mut bench = Bench::new();
    assert_eq!(dialled(&bench.tell(&["8.8.8.8:1"], Source::Tracker(0))).len(), 1);
    let again = dialled(&bench.wait(DIAL_DEADLINE + secs(2)));
    assert_eq!(again.len(), 1);
}

#[test]
fn dials_of_a_channel_that_was_left_do_no_harm() {
    let mut bench = Bench::new();
    let attempt = dialled(&bench.tell(&["8.8.8.8:1"], Source::Tracker(0)))[0].0;
    bench.input(Input::LeaveChannel(RED));
    let outputs = bench.up_in(1, 60, Some(attempt), "8.8.8.8:1".parse().unwrap(), &[RED]);
    assert_eq!(closed(&outputs), [(1, CloseReason::Left)]);
    assert_eq!(bench.failed(attempt), []);
}

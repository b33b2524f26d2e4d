//! Whoever tells of a flood of false addresses cannot keep a true member from being dialled.

use super::*;
use crate::limits::{
    CANDIDATES_MAX, CANDIDATES_PER_SOURCE_MAX, PEER_ADDRESSES_MAX, PEER_RECORDS_PER_FRAME_MAX,
    PORTS_TRIED_PER_IP_MAX,
};

const TRUE: &str = "9.9.9.9:6881";

/// When a dial that nobody answers is given up.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Where nobody is: the `number`th address of a liar.
fn nobody(liar: u8, number: usize) -> SocketAddr {
    let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
    SocketAddr::from(([8, liar, high, low], 6881))
}

fn nobodies(liar: u8, count: usize) -> Vec<SocketAddr> {
    (0..count).map(|number| nobody(liar, number)).collect()
}

/// A channel in which a linked member says that it is linked with as many others as it can name, each
/// at as many addresses as it may have.
fn lie_as_a_member(bench: &mut Bench, liar: u8) {
    name_as_a_member(bench, liar, |number| nobody(liar, number));
}

/// The same, with the addresses that `at` makes of their numbers.
fn name_as_a_member(bench: &mut Bench, liar: u8, at: impl Fn(usize) -> SocketAddr) {
    let index = 1000 + usize::from(liar);
    bench.up(u64::from(liar), index, None);
    let record = |number: usize| PeerRecord {
        peer: peer(10_000 * (1 + usize::from(liar)) + number),
        addresses: (0..PEER_ADDRESSES_MAX)
            .map(|each| WireAddress(at(PEER_ADDRESSES_MAX * number + each)))
            .collect(),
    };
    let added = (0..PEER_RECORDS_PER_FRAME_MAX).map(record).collect();
    let frame = Peers { channel: RED, full: true, added, removed: vec![] };
    bench.input(Input::PeersReceived { from: peer(index), frame });
}

/// Fails each dial [`GIVE_UP`] after it began, until `wanted` is dialled: after how long that was, and
/// every dial until then.
fn until_dialled(bench: &mut Bench, wanted: SocketAddr) -> (Duration, Vec<SocketAddr>) {
    let began = bench.now;
    let mut open: VecDeque<(Instant, u64)> =
        bench.mesh.dials.in_flight().iter().map(|(attempt, _)| (began, *attempt)).collect();
    let mut seen: Vec<_> =
        bench.mesh.dials.in_flight().iter().map(|(_, pick)| pick.address).collect();
    for _ in 0..10_000 {
        if seen.contains(&wanted) {
            return (bench.now - began, seen);
        }
        let timer = bench.mesh.poll_timeout();
        let given_up = open.front().map(|(since, _)| *since + GIVE_UP);
        let outputs = match (timer, given_up) {
            (Some(at), give_up) if give_up.is_none_or(|give_up| at <= give_up) => {
                bench.now = bench.now.max(at);
                bench.mesh.handle_timeout(bench.now);
                bench.drain()
            }
            (_, Some(at)) => {
                bench.now = bench.now.max(at);
                let (_, attempt) = open.pop_front().unwrap();
                bench.failed(attempt)
            }
            (_, None) => panic!("nothing is dialled any more"),
        };
        for (attempt, address, _) in dialled(&outputs) {
            open.push_back((bench.now, attempt));
            seen.push(address);
        }
    }
    panic!("{wanted} was never dialled");
}

fn tell_the_truth(bench: &mut Bench, source: Source) -> (Duration, usize) {
    let mut outputs = bench.tell(&[TRUE], source);
    let wanted = TRUE.parse().unwrap();
    if dialled(&std::mem::take(&mut outputs)).iter().any(|dial| dial.1 == wanted) {
        return (Duration::ZERO, 0);
    }
    let (after, dials) = until_dialled(bench, wanted);
    (after, dials.len())
}

#[test]
fn a_member_that_names_hundreds_who_are_not_there_does_not_delay_whom_another_source_knows() {
    for source in [Source::Tracker(0), Source::Dht(0), Source::Lan, Source::LastKnown] {
        let mut bench = Bench::new();
        lie_as_a_member(&mut bench, 1);
        assert_eq!(bench.mesh.dials.count(), DIALS_PER_SOURCE_MAX, "as busy as it can make us");
        assert_eq!(tell_the_truth(&mut bench, source), (Duration::ZERO, 0), "{source:?}");
    }
}

#[test]
fn all_other_sources_flooded_at_once_delay_the_true_member_by_one_turn() {
    let mut bench = Bench::new();
    lie_as_a_member(&mut bench, 1);
    for (liar, source) in [(2, Source::Tracker(0)), (3, Source::Dht(0)), (4, Source::Lan)] {
        let addresses = nobodies(liar, 500);
        bench.input(Input::AddressesFound { channel: RED, addresses, source });
    }
    assert_eq!(bench.mesh.dials.count(), DIALS_PER_CHANNEL_MAX, "no room");
    bench.wait(Duration::from_millis(100));
    let (after, _) = tell_the_truth(&mut bench, Source::Tracker(1));
    assert!(after <= GIVE_UP, "{after:?}: the first dials that end make room for it");
}

#[test]
fn twenty_lying_members_delay_the_true_member_by_a_turn_of_each() {
    let mut bench = Bench::new();
    (1..=20).for_each(|liar| lie_as_a_member(&mut bench, liar));
    let (after, dials) = tell_the_truth(&mut bench, Source::Tracker(0));
    assert!(after <= 4 * GIVE_UP, "{after:?}");
    assert!(dials <= DIALS_PER_CHANNEL_MAX + 21 + DIALS_PER_CHANNEL_MAX, "{dials}");
    assert!(bench.mesh.channels[&RED].candidates.len() <= CANDIDATES_MAX);
}

#[test]
fn a_source_that_lies_499_times_in_500_is_asked_out_before_any_lie_is_tried_twice() {
    let wanted = nobody(1, 250);
    let mut bench = Bench::new();
    let addresses = nobodies(1, 500);
    bench.input(Input::AddressesFound { channel: RED, addresses, source: Source::Tracker(0) });
    let (after, dials) = until_dialled(&mut bench, wanted);
    let turns = u32::try_from(500 / DIALS_PER_SOURCE_MAX + 1).unwrap();
    assert!(after <= turns * GIVE_UP, "{after:?}");
    let different: BTreeSet<_> = dials.iter().collect();
    assert_eq!(different.len(), dials.len(), "one was tried twice before all were tried once");
}

#[test]
fn a_flood_that_is_repeated_for_ever_pushes_no_true_address_out() {
    let mut bench = Bench::new();
    let told = dialled(&bench.tell(&[TRUE], Source::Tracker(1)));
    // It is away for a while.
    bench.failed(told[0].0);
    for round in 0..20 {
        let addresses = nobodies(round, CANDIDATES_PER_SOURCE_MAX);
        let source = Source::Tracker(0);
        bench.input(Input::AddressesFound { channel: RED, addresses, source });
    }
    let (after, _) = until_dialled(&mut bench, TRUE.parse().unwrap());
    assert!(after <= secs(2) + GIVE_UP, "{after:?}: its back-off and one turn");
}

/// A port of the one victim of all liars.
fn port_of_victim(number: usize) -> SocketAddr {
    SocketAddr::from(([8, 8, 8, 8], 1000 + u16::try_from(number).unwrap()))
}

#[test]
fn a_victim_is_dialled_at_few_of_the_ports_that_a_source_names_and_others_are_heard_about_it() {
    let ports: Vec<_> = (0..CANDIDATES_PER_SOURCE_MAX).map(port_of_victim).collect();
    let sources = [Source::Tracker(0), Source::Dht(0), Source::Lan, Source::LastKnown];
    for source in sources.into_iter().map(Some).chain([None]) {
        let mut bench = Bench::new();
        let began = bench.now;
        match source {
            Some(source) => {
                let addresses = ports.clone();
                bench.input(Input::AddressesFound { channel: RED, addresses, source });
            }
            None => name_as_a_member(&mut bench, 1, port_of_victim),
        }
        let mut tried = BTreeSet::new();
        while bench.now - began < secs(1800) {
            let elsewhere = nobody(9, tried.len());
            bench.tell(&[&elsewhere.to_string()], Source::Tracker(1));
            let (after, dials) = until_dialled(&mut bench, elsewhere);
            assert!(after <= 2 * GIVE_UP, "{after:?}: {source:?} does not speak for others");
            tried.extend(dials);
            bench.wait(secs(60));
        }
        let victim = tried.iter().filter(|at| at.ip() == port_of_victim(0).ip()).count();
        assert!((DIALS_PER_SOURCE_MAX..=PORTS_TRIED_PER_IP_MAX).contains(&victim), "{victim}");
        let at_victim = SocketAddr::from(([8, 8, 8, 8], 9));
        bench.tell(&[&at_victim.to_string()], Source::Tracker(2));
        let (after, _) = until_dialled(&mut bench, at_victim);
        assert!(after <= 2 * GIVE_UP, "{after:?}: {source:?} does not speak for others");
    }
}

#[test]
fn more_members_behind_one_address_than_ports_are_tried_in_vain_are_all_met() {
    let mut bench = Bench::new();
    let count = 3 * PORTS_TRIED_PER_IP_MAX;
    let addresses = (0..count).map(port_of_victim).collect();
    let source = Source::Tracker(0);
    let mut open = dialled(&bench.input(Input::AddressesFound { channel: RED, addresses, source }));
    let mut met = 0;
    while let Some((attempt, address, _)) = open.pop() {
        let outputs = bench.up_in(met as u64, 2000 + met, Some(attempt), address, &[RED]);
        open.extend(dialled(&outputs));
        met += 1;
    }
    assert_eq!(met, count);
}

//! What the table of addresses remembers, and for whom it forgets.

use super::dials::DIAL_DEADLINE;
use super::*;
use crate::limits::{
    CANDIDATES_PER_SOURCE_MAX, LAST_KNOWN_PER_PEER_MAX, MEMBERS_MAX, PEER_ADDRESSES_MAX,
};

/// An address of the outside world.
fn outside(number: usize) -> SocketAddr {
    let number = 0x0800_0000 + u32::try_from(number).unwrap();
    SocketAddr::from((number.to_be_bytes(), 6881))
}

fn dials_of(address: SocketAddr, outputs: &[Output]) -> Vec<u64> {
    let dials = dialled(outputs).into_iter().filter(|dial| dial.1 == address);
    dials.map(|dial| dial.0).collect()
}

/// A peer comes and goes, from `address`.
fn visit(bench: &mut Bench, link: u64, index: usize, address: SocketAddr) {
    bench.up_in(link, index, None, address, &[RED]);
    bench.wait(secs(5));
    bench.down(link, DownReason::Expected);
}

#[test]
fn a_member_lost_after_a_day_on_one_link_is_dialled_again() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    bench.wait(secs(25 * 3600));
    bench.input(Input::OwnAddresses(vec![address(50)]));
    assert_eq!(dials_of(address(60), &bench.down(1, DownReason::Lost)).len(), 1);
}

#[test]
fn a_member_that_links_from_ever_new_ports_is_remembered_at_few_of_them() {
    let mut bench = Bench::new();
    visit(&mut bench, 1, 61, address(61));
    for round in 0..CANDIDATES_PER_SOURCE_MAX + 10 {
        visit(&mut bench, 10 + round as u64, 60, outside(round));
        // Its own, that of the other, and those that rest until their back-off is over.
        let kept = bench.mesh.channels[&RED].candidates.len();
        assert!(kept < 4 * PEER_ADDRESSES_MAX, "{kept}");
    }
    visit(&mut bench, 2, 62, address(62));
    let known = bench.mesh.known_addresses(&RED);
    assert_eq!(known.len(), 2 + LAST_KNOWN_PER_PEER_MAX, "{known:?}");
    assert!(known.contains(&address(61)) && known.contains(&address(62)), "{known:?}");
}

#[test]
fn visitors_without_end_do_not_push_out_who_is_linked() {
    let mut bench = Bench::new();
    bench.up(1, 60, None);
    for round in 0..CANDIDATES_PER_SOURCE_MAX + 10 {
        visit(&mut bench, 10 + round as u64, 1000 + round, outside(round));
    }
    let known = bench.mesh.known_addresses(&RED);
    assert_eq!(known[0], address(60), "whoever is linked is saved first");
    let last = outside(CANDIDATES_PER_SOURCE_MAX + 9);
    assert_eq!(known[1], last, "then whoever was met last");
    assert!(bench.mesh.channels[&RED].candidates.len() <= CANDIDATES_PER_SOURCE_MAX + MEMBERS_MAX);
    let mut outputs = bench.down(1, DownReason::Lost);
    // The visitors' dials come to their end first.
    outputs.extend(bench.wait(DIAL_DEADLINE));
    assert_eq!(dials_of(address(60), &outputs).len(), 1);
}

/// Fills the share of a tracker.
fn flood(bench: &mut Bench, tracker: u32) {
    let addresses = (0..2 * CANDIDATES_PER_SOURCE_MAX).map(outside).collect();
    let source = Source::Tracker(tracker);
    bench.input(Input::AddressesFound { channel: RED, addresses, source });
}

#[test]
fn a_source_that_fills_its_share_loses_nothing_that_another_one_tells_too() {
    let mut bench = Bench::new();
    let dials = dialled(&bench.tell(&["9.9.9.9:1"], Source::Tracker(0)));
    bench.tell(&["9.9.9.9:1"], Source::Tracker(1));
    bench.failed(dials[0].0);
    flood(&mut bench, 0);
    let dials = dials_of("9.9.9.9:1".parse().unwrap(), &bench.wait(secs(2)));
    assert_eq!(dials.len(), 1, "the other source's address is dialled");
}

#[test]
fn a_source_that_fills_its_share_does_not_undo_the_back_off_of_its_failed_address() {
    let mut bench = Bench::new();
    let mut dials = dialled(&bench.tell(&["9.9.9.9:1"], Source::Tracker(0)));
    for _ in 0..5 {
        bench.failed(dials[0].0);
        dials = dialled(&bench.wait(secs(30)));
    }
    bench.failed(dials[0].0);
    flood(&mut bench, 0);
    let mut later = bench.tell(&["9.9.9.9:1"], Source::Tracker(1));
    later.extend(bench.wait(secs(20)));
    let dials = dials_of("9.9.9.9:1".parse().unwrap(), &later);
    assert!(dials.is_empty(), "dialled before its time");
}

#[test]
fn an_address_is_kept_as_long_as_one_of_many_members_names_it() {
    let mut bench = Bench::new();
    let tellers = 60..85;
    let mut outputs = Vec::new();
    for at in tellers.clone() {
        bench.up(at as u64, at, None);
        outputs.extend(bench.told(at, &[(90, address(90))]));
    }
    let attempt = dials_of(address(90), &outputs)[0];
    bench.failed(attempt);
    for from in tellers.clone().take(24) {
        let removed = vec![peer(90)];
        let frame = Peers { channel: RED, full: false, added: vec![], removed };
        bench.input(Input::PeersReceived { from: peer(from), frame });
    }
    assert_eq!(dials_of(address(90), &bench.wait(secs(2))).len(), 1);
}

#[test]
fn what_a_member_says_last_of_an_address_counts_however_many_others_name_it() {
    let mut bench = Bench::new();
    let tellers = 60..85;
    for at in tellers.clone() {
        bench.up(at as u64, at, None);
        bench.told(at, &[(90, address(90))]);
    }
    let in_flight = |bench: &Bench| {
        let dials = bench.mesh.dials.in_flight();
        assert_eq!(dials.len(), 1);
        (dials[0].0, dials[0].1.expect)
    };
    assert_eq!(in_flight(&bench).1, Some(peer(90)));
    // The peer there has come back as somebody else; the old link is missed a little later.
    for from in tellers {
        bench.told(from, &[(91, address(90))]);
        let removed = vec![peer(90)];
        let frame = Peers { channel: RED, full: false, added: vec![], removed };
        bench.input(Input::PeersReceived { from: peer(from), frame });
    }
    bench.failed(in_flight(&bench).0);
    bench.wait(secs(2));
    bench.failed(in_flight(&bench).0);
    bench.wait(secs(3));
    assert_eq!(in_flight(&bench).1, Some(peer(91)));
}

#[test]
fn liars_under_many_names_do_not_keep_a_tracker_from_being_believed_about_an_address() {
    let mut bench = Bench::new();
    let at = address(90);
    let mut outputs = Vec::new();
    for liar in 0..30 {
        bench.up(liar as u64, 1000 + liar, None);
        outputs.extend(bench.told(1000 + liar, &[(5000 + liar, at)]));
    }
    outputs.extend(bench.tell(&[&at.to_string()], Source::Tracker(0)));
    let dials = dialled(&outputs);
    assert!(dials.iter().all(|dial| dial.1 == at && dial.2.is_some()), "{dials:?}");
    bench.failed(dials[0].0);
    let again = dialled(&bench.wait(secs(2)));
    let again: Vec<_> = again.iter().map(|dial| (dial.1, dial.2)).collect();
    assert_eq!(again, [(at, None)], "whoever is there is taken the next time");
}

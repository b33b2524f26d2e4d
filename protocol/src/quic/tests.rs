//! Two endpoints and a network of datagrams between them.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::test_pair::{Side, TestPair, UNIX, channel};
use super::*;
use crate::crypto::{Rng, Secret};
use crate::id::PeerId;

#[test]
fn two_members_link_up_and_know_each_other() {
    let pair = TestPair::connected(1);
    let (a, b) = (pair.a.established.unwrap(), pair.b.established.unwrap());
    assert_eq!((a.peer, b.peer), (pair.b.peer, pair.a.peer));
    assert_eq!(a.handshake_hash, b.handshake_hash);
    assert_eq!(a.suite, b.suite);
}

#[test]
fn both_suites_carry_frames_both_ways() {
    for suites in [SuitePreference::aes_first(), SuitePreference::chacha_only()] {
        let config = EndpointConfig { suites, ..EndpointConfig::default() };
        let mut pair = TestPair::with(1, config.clone(), config);
        pair.dial(None);
        assert!(pair.run_until(10, TestPair::both_established));
        pair.a.link().send_frame(b"from a").unwrap();
        pair.b.link().send_frame(b"from b").unwrap();
        assert!(pair.run_until(5, |pair| !pair.a.frames.is_empty() && !pair.b.frames.is_empty()));
        assert_eq!(
            (&pair.a.frames[0][..], &pair.b.frames[0][..]),
            (&b"from b"[..], &b"from a"[..])
        );
    }
}

#[test]
fn whoever_was_expected_must_answer() {
    let mut pair = TestPair::new(1);
    let wanted = pair.b.peer;
    pair.dial(Some(wanted));
    assert!(pair.run_until(10, TestPair::both_established));

    // Somebody else at that address does not even answer, as the packet is not for it.
    let mut pair = TestPair::new(1);
    pair.dial(Some(PeerId([9; 32])));
    pair.run_until(3, TestPair::both_established);
    assert!(pair.a.established.is_none());
    assert!(pair.log.iter().all(|(to_b, _)| *to_b), "b stayed silent");
    assert!(pair.b.endpoint.counters().not_for_us > 0);
}

#[test]
fn a_lossy_and_reordering_network_delays_but_loses_nothing() {
    for seed in 0..8 {
        let mut pair = TestPair::new(seed);
        pair.network.lost = 15;
        pair.network.reordered = 15;
        pair.dial(None);
        assert!(pair.run_until(40, TestPair::both_established), "seed {seed}");
        for n in 0..10u8 {
            pair.a.link().send_frame(&[n; 20_000]).unwrap();
        }
        assert!(pair.run_until(60, |pair| pair.b.frames.len() == 10), "seed {seed}");
        let order: Vec<u8> = pair.b.frames.iter().map(|frame| frame[0]).collect();
        assert_eq!(order, (0..10).collect::<Vec<u8>>(), "seed {seed}");
    }
}

#[test]
fn bulk_goes_over_a_stream_of_its_own() {
    let mut pair = TestPair::connected(1);
    let stream = pair.a.link().open_stream().unwrap();
    let mut data = Bytes::from(vec![7; 300_000]);
    let (mut received, mut finished) = (0, false);
    while !finished {
        if !data.is_empty() {
            pair.a.link().write_stream(stream, &mut data).unwrap();
            if data.is_empty() {
                pair.a.link().finish_stream(stream);
            }
        }
        pair.run_until(1, |pair| !pair.b.events.is_empty());
        for event in std::mem::take(&mut pair.b.events) {
            let LinkEvent::StreamReadable(id) = event else { continue };
            loop {
                match pair.b.link().read_stream(id, 64 * 1024) {
                    Ok(Some(piece)) => received += piece.len(),
                    Ok(None) => break,
                    Err(StreamError::Finished) => {
                        finished = true;
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        pair.a.events.clear();
    }
    assert_eq!(received, 300_000);
}

#[test]
fn a_close_is_told_to_the_other_side_with_its_reason() {
    let mut pair = TestPair::connected(1);
    let now = pair.now;
    pair.a.link().close(now, CloseCode::Leaving, "good night");
    pair.run_until(30, |pair| pair.a.link.as_ref().is_some_and(Link::is_drained));
    let closed = |side: &Side| {
        side.events.iter().find_map(|event| {
            if let LinkEvent::Closed(reason) = event { Some(reason.clone()) } else { None }
        })
    };
    let reason = "good night".to_owned();
    assert_eq!(closed(&pair.b), Some(CloseReason::Peer { code: CloseCode::Leaving, reason }));
    assert_eq!(closed(&pair.a), Some(CloseReason::Local(CloseCode::Leaving)));
}

/// Probes `b` of a pair that `a` has dialled; `b` must send nothing.
#[track_caller]
fn check_silence(what: &str, unix: Duration, probe: &[u8]) {
    let mut listener = Side::new(2, EndpointConfig::default());
    let now = TestPair::new(0).now;
    let stranger = "127.0.0.1:9999".parse().unwrap();
    listener.handle(now, unix, stranger, probe);
    listener.drive(now + Duration::from_secs(1));
    assert!(listener.link.is_none() && listener.sent.is_empty(), "{what} was answered");
}

/// The first flight of a dial to `b`: two datagrams.
fn first_flight(pair: &mut TestPair) -> Vec<Vec<u8>> {
    pair.dial(None);
    pair.a.drive(pair.now);
    std::mem::take(&mut pair.a.sent).into_iter().map(|(_, data)| data).collect()
}

#[test]
fn a_stranger_gets_not_one_datagram_whatever_it_sends() {
    let mut rng = Rng::from_seed([5; 32]);
    let mut random = |first: &[u8], len: usize| {
        let mut bytes = vec![0; len];
        rng.fill(&mut bytes);
        bytes[..first.len()].copy_from_slice(first);
        bytes
    };
    let ours = super::endpoint::VERSION.to_be_bytes();
    let own_version = [&[0xc0][..], &ours, &[20]].concat();
    check_silence("a random short header", UNIX, &random(&[0x41], 1200));
    check_silence("a random long header", UNIX, &random(&[0xc1], 1200));
    check_silence("an Initial of QUIC version 1", UNIX, &random(&[0xc0, 0, 0, 0, 1, 8], 1200));
    check_silence("an unknown version", UNIX, &random(&[0xc0, 9, 9, 9, 9, 8], 1200));
    check_silence("a forged Version Negotiation", UNIX, &random(&[0xc0, 0, 0, 0, 0, 8], 1200));
    check_silence("a random Initial of our version", UNIX, &random(&own_version, 1200));
    let short_id = [&[0xc0][..], &ours, &[8]].concat();
    check_silence("an Initial with a short id", UNIX, &random(&short_id, 1200));
    let retry = [&[0xf0][..], &ours, &[8]].concat();
    check_silence("a Retry", UNIX, &random(&retry, 1200));
    check_silence("a DHT ping", UNIX, b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe");
}

#[test]
fn a_member_is_answered_and_its_tampered_late_or_foreign_packet_is_not() {
    let flight = first_flight(&mut TestPair::new(1));
    assert_eq!(flight.len(), 2, "the first flight takes two datagrams");

    // The control: untouched, each of the two is enough to begin a link.
    let mut listener = Side::new(2, EndpointConfig::default());
    let pair = TestPair::new(0);
    listener.handle(pair.now, UNIX, pair.a.address, &flight[0]);
    listener.drive(pair.now);
    assert!(listener.link.is_some());

    for datagram in &flight {
        for at in (0..datagram.len()).step_by(7) {
            let mut wrong = datagram.clone();
            wrong[at] ^= 1 << (at % 8);
            check_silence(&format!("a packet changed at {at}"), UNIX, &wrong);
        }
        for len in (0..datagram.len()).step_by(13) {
            check_silence(&format!("a packet cut to {len}"), UNIX, &datagram[..len]);
        }
        check_silence("a packet of three minutes ago", UNIX + Duration::from_secs(180), datagram);
    }
}

#[test]
fn a_member_with_a_wrong_clock_is_not_answered_but_told_of_once_an_hour() {
    let minute = Duration::from_secs(60);
    let mut pair = TestPair::new(1);
    let mut told = Vec::new();
    for _ in 0..125 {
        pair.now += minute;
        let dial = Dial { channel: channel(1).0, address: pair.b.address, expect: None };
        let unix = pair.unix() + 10 * minute;
        pair.a.link = Some(pair.a.endpoint.connect(pair.now, unix, dial).unwrap());
        pair.run_until(1, TestPair::both_established);
        told.extend(pair.b.endpoint.take_clock_difference());
    }
    assert_eq!(told, [10, 10, 10], "in the first minute, after one hour and after two");
    assert!(pair.log.iter().all(|(to_b, _)| *to_b));
}

#[test]
fn a_first_packet_of_another_channel_is_not_answered() {
    let mut pair = TestPair::new(1);
    let (id, gate) = channel(2);
    pair.a.endpoint.add_channel(id, gate);
    let dial = Dial { channel: id, address: pair.b.address, expect: None };
    pair.a.link = Some(pair.a.endpoint.connect(pair.now, UNIX, dial).unwrap());
    pair.run_until(3, TestPair::both_established);
    assert!(pair.log.iter().all(|(to_b, _)| *to_b));
    assert!(pair.b.endpoint.counters().no_channel > 0);
    assert_eq!(pair.b.endpoint.take_clock_difference(), None);
}

#[test]
fn a_recorded_first_packet_is_not_answered_by_anybody_else_nor_again() {
    let mut pair = TestPair::connected(1);
    let flight: Vec<Vec<u8>> =
        pair.log.iter().filter(|(to_b, _)| *to_b).map(|(_, data)| data.clone()).take(2).collect();

    // Another member, elsewhere.
    let mut other = Side::new(3, EndpointConfig::default());
    for datagram in &flight {
        other.handle(pair.now, UNIX, "127.0.0.1:9999".parse().unwrap(), datagram);
    }
    other.drive(pair.now);
    assert!(other.link.is_none() && other.sent.is_empty());
    assert_eq!(other.endpoint.counters().not_for_us, 2);

    // The same member, after that link has ended.
    let now = pair.now;
    pair.a.link().close(now, CloseCode::Leaving, "");
    pair.run_until(30, |pair| pair.b.link.as_ref().is_some_and(Link::is_drained));
    pair.b.link = None;
    pair.b.sent.clear();
    for datagram in &flight {
        let (now, unix) = (pair.now, UNIX + Duration::from_secs(20));
        pair.b.handle(now, unix, "127.0.0.1:9999".parse().unwrap(), datagram);
    }
    pair.b.drive(pair.now);
    assert!(pair.b.link.is_none() && pair.b.sent.is_empty());
    assert_eq!(pair.b.endpoint.counters().replayed, 2);
}

#[test]
fn a_recorded_first_packet_sent_again_from_elsewhere_is_not_answered_there() {
    let flight = first_flight(&mut TestPair::new(1));
    let (now, dialler) = {
        let pair = TestPair::new(0);
        (pair.now, pair.a.address)
    };
    let mut listener = Side::new(2, EndpointConfig::default());
    for from in [dialler, "127.0.0.1:9999".parse().unwrap()] {
        for datagram in &flight {
            listener.handle(now, UNIX, from, datagram);
        }
        listener.drive(now);
    }
    listener.drive(now + Duration::from_secs(2));
    assert!(!listener.sent.is_empty(), "the dialler itself is answered");
    assert!(listener.sent.iter().all(|(to, _)| *to == dialler));
}

#[test]
fn the_answer_to_a_first_flight_is_at_most_three_times_as_long() {
    let flight = first_flight(&mut TestPair::new(1));
    let pair = TestPair::new(0);
    let mut listener = Side::new(2, EndpointConfig::default());
    for datagram in &flight {
        listener.handle(pair.now, UNIX, pair.a.address, datagram);
    }
    // Nothing more comes: whoever sent it may have lied about where it is.
    for seconds in 0..30 {
        listener.drive(pair.now + Duration::from_secs(seconds));
    }
    let sum = |datagrams: &[Vec<u8>]| datagrams.iter().map(Vec::len).sum::<usize>();
    let answer: Vec<Vec<u8>> = listener.sent.into_iter().map(|(_, data)| data).collect();
    assert!(sum(&answer) <= 3 * sum(&flight));
}

#[test]
fn an_idle_link_stays_and_one_without_a_path_is_lost_on_both_sides() {
    let mut pair = TestPair::connected(1);
    pair.run_until(600, |_| false);
    assert!(pair.a.link().is_established() && pair.b.link().is_established());
    let idle = pair.log.len();
    assert!(idle < 400, "{idle} datagrams in ten idle minutes");

    pair.network.lost = 100;
    pair.run_until(120, |_| false);
    for side in [&pair.a, &pair.b] {
        assert!(
            matches!(side.events[..], [LinkEvent::Closed(CloseReason::TimedOut)]),
            "{:?}",
            side.events
        );
    }
}

#[test]
fn both_sides_may_update_their_keys_at_once_on_a_bad_path() {
    let mut pair = TestPair::connected(3);
    pair.network.lost = 15;
    pair.network.reordered = 15;
    for n in 0..10u8 {
        pair.a.link().force_key_update();
        pair.b.link().force_key_update();
        pair.a.link().send_frame(&[n; 3000]).unwrap();
        pair.b.link().send_frame(&[n; 3000]).unwrap();
        let wanted = usize::from(n) + 1;
        let both = |pair: &TestPair| pair.a.frames.len() == wanted && pair.b.frames.len() == wanted;
        assert!(pair.run_until(60, both), "round {n}");
        pair.run_until(3, |_| false);
    }
    assert!(pair.a.link().generation() >= 8);
    assert_eq!(pair.a.link().generation(), pair.b.link().generation());
}

#[test]
fn a_forged_copy_that_comes_first_does_not_burn_the_dial() {
    let mut pair = TestPair::new(1);
    pair.dial(None);
    pair.a.drive(pair.now);
    let mut forged = pair.a.sent[0].1.clone();
    *forged.last_mut().unwrap() ^= 1;
    pair.b.handle(pair.now, UNIX, "127.0.0.1:9999".parse().unwrap(), &forged);
    assert!(pair.run_until(10, TestPair::both_established));
}

#[test]
fn keys_are_updated_while_frames_flow() {
    let mut pair = TestPair::connected(1);
    for n in 0..5u8 {
        pair.a.link().force_key_update();
        pair.a.link().send_frame(&[n]).unwrap();
        let wanted = usize::from(n) + 1;
        assert!(pair.run_until(5, |pair| pair.b.frames.len() == wanted));
        pair.run_until(2, |_| false);
    }
    assert!(pair.a.link().generation() >= 5);
    assert_eq!(pair.a.link().generation(), pair.b.link().generation());
}

fn mix_and_talk(a: [u8; 32], b: [u8; 32]) -> bool {
    let mut pair = TestPair::connected(1);
    let generation = pair.a.link().generation() + 3;
    pair.a.link().mix(generation, Secret::new(a)).unwrap();
    pair.b.link().mix(generation, Secret::new(b)).unwrap();
    for _ in 0..5 {
        pair.a.link().force_key_update();
        pair.a.link().send_frame(b"update").unwrap();
        pair.run_until(2, |_| false);
    }
    pair.b.frames.clear();
    if !pair.a.link().is_established() || pair.a.link().send_frame(b"after").is_err() {
        return false;
    }
    pair.run_until(5, |pair| !pair.b.frames.is_empty()) && pair.b.frames == [&b"after"[..]]
}

#[test]
fn a_fresh_secret_mixed_in_on_both_sides_is_not_noticed_and_on_one_it_ends_the_talk() {
    assert!(mix_and_talk([7; 32], [7; 32]));
    assert!(!mix_and_talk([7; 32], [8; 32]));
}

#[test]
fn a_generation_that_is_derived_cannot_be_mixed_into() {
    let mut pair = TestPair::connected(1);
    let generation = pair.a.link().generation();
    assert_eq!(pair.a.link().mix(generation + 1, Secret::new([7; 32])), Err(TooLate));
}

#[test]
fn half_open_links_are_bounded() {
    let mut listener = Side::new(2, EndpointConfig::default());
    let pair = TestPair::new(0);
    for n in 0..u8::MAX {
        let mut dialler = Side::new(1, EndpointConfig::default());
        dialler.endpoint = Endpoint::new(
            &crate::crypto::sign::SigningKey::from_seed(Secret::new([n; 32])),
            EndpointConfig::default(),
            UNIX,
            [n; 32],
        );
        let (id, gate) = channel(1);
        dialler.endpoint.add_channel(id, gate);
        let dial = Dial { channel: id, address: listener.address, expect: None };
        dialler.link = Some(dialler.endpoint.connect(pair.now, UNIX, dial).unwrap());
        dialler.drive(pair.now);
        let from = std::net::SocketAddr::from(([127, 0, 0, 1], 20_000 + u16::from(n)));
        listener.handle(pair.now, UNIX, from, &dialler.sent[0].1);
    }
    let limit = crate::limits::HALF_OPEN_LINKS_MAX as u64;
    assert_eq!(listener.endpoint.counters().no_room, u64::from(u8::MAX) - limit);
}

/// Links up while somebody on the path sends, before each datagram, a copy with a forged packet
/// behind the genuine ones: the first of them once more, changed.
#[track_caller]
fn check_forged_behind(change: impl Fn(&mut [u8])) {
    let mut pair = TestPair::new(1);
    pair.dial(None);
    let mut forged = [0, 0];
    for _ in 0..100 {
        pair.a.drive(pair.now);
        pair.b.drive(pair.now);
        for to_b in [true, false] {
            let (now, unix) = (pair.now, pair.unix());
            let (from, to) =
                if to_b { (&mut pair.a, &mut pair.b) } else { (&mut pair.b, &mut pair.a) };
            for (_, genuine) in std::mem::take(&mut from.sent) {
                if genuine[0] & 0x80 != 0 {
                    let mut data = genuine.repeat(2);
                    change(&mut data[genuine.len()..]);
                    forged[usize::from(to_b)] += 1;
                    to.handle(now, unix, from.address, &data);
                }
                to.handle(now, unix, from.address, &genuine);
            }
        }
        pair.now += Duration::from_millis(10);
    }
    assert!(forged.iter().all(|count| *count > 0), "{forged:?}");
    assert!(pair.both_established());
    assert!(pair.a.events.is_empty() && pair.b.events.is_empty());
}

#[test]
fn a_retry_behind_a_genuine_packet_does_not_end_a_handshake() {
    check_forged_behind(|packet| packet[0] |= 0x30);
}

#[test]
fn a_version_negotiation_behind_a_genuine_packet_does_not_end_a_handshake() {
    check_forged_behind(|packet| packet[1..5].fill(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A changed copy of every datagram of a conversation may arrive before it: nothing panics, and
    /// the link comes to be as without them.
    #[test]
    fn changed_datagrams_do_no_harm(seed: u8, at in 0usize..1452, bit in 0u8..8) {
        let mut pair = TestPair::new(seed);
        pair.dial(None);
        for _ in 0..40 {
            pair.step();
            let log = std::mem::take(&mut pair.log);
            for (to_b, mut data) in log {
                let index = at % data.len();
                data[index] ^= 1 << bit;
                let (now, unix) = (pair.now, pair.unix());
                let (to, from) = if to_b {
                    (&mut pair.b, pair.a.address)
                } else {
                    (&mut pair.a, pair.b.address)
                };
                to.handle(now, unix, from, &data);
            }
            pair.now += Duration::from_millis(10);
        }
        prop_assert!(pair.run_until(60, TestPair::both_established));
        prop_assert!(pair.a.events.is_empty() && pair.b.events.is_empty());
    }
}

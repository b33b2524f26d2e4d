//! Trackers that mean harm: to us, or through us to somebody else.

use super::*;
use crate::limits::{TRACKER_PEERS_MAX, TRACKER_PORTS_PER_IP_MAX};
use crate::scope::Scope;

/// Where a tracker over UDP is asked for the announce that it may now answer as it likes.
fn asked_over_udp(connection: u64) -> (Bench, SocketAddr, Vec<u8>) {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["udp://8.8.8.8:1/"]]);
    let (_, to, connect) = bench.datagrams().remove(0);
    bench.connected(to, &connect, connection);
    let (_, _, announce) = bench.datagrams().remove(0);
    (bench, to, announce)
}

#[test]
fn any_connection_id_is_repeated_as_it_was_given() {
    for connection in [0, 0x0417_2710_1980, u64::MAX] {
        let (mut bench, to, announce) = asked_over_udp(connection);
        assert_eq!(announce[..8], connection.to_be_bytes());
        bench.announced(to, &announce, 1800, &[9, 9, 9, 9, 0, 80]);
        assert_eq!(bench.peers(), ["9.9.9.9:80"]);
    }
}

#[test]
fn an_announce_is_answered_by_an_announce_and_by_nothing_else() {
    let (mut bench, to, announce) = asked_over_udp(5);
    let transaction = &announce[12..16];
    bench.datagram(to, &[&[0; 4], transaction, &[5; 8]]);
    bench.datagram(to, &[&[0, 0, 0, 2], transaction, &[5; 12]]);
    bench.datagram(to, &[&[255; 4], transaction, &[5; 12]]);
    assert!(bench.take().is_empty());
    assert_eq!(bench.machine.dropped(), 3);
    bench.announced(to, &announce, 1800, &[9, 9, 9, 9, 0, 80]);
    assert_eq!(bench.peers(), ["9.9.9.9:80"]);
}

#[test]
fn a_refusal_of_64_kib_is_cut() {
    let (mut bench, to, announce) = asked_over_udp(5);
    bench.datagram(to, &[&[0, 0, 0, 3], &announce[12..16], &[0x1b; 65_000]]);
    assert!(bench.error().len() <= crate::limits::TRACKER_MESSAGE_BYTES_MAX);
    assert!(!bench.error().contains('\x1b'));
}

#[test]
fn an_answer_in_the_stride_of_the_other_ip_version_leads_nowhere_near() {
    let (mut bench, to, announce) = asked_over_udp(5);
    let mut peers = Vec::new();
    for number in 0..=u8::MAX {
        let ip = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number));
        peers.extend(ip.octets().iter().chain(&[0, 80]));
    }
    bench.announced(to, &announce, 1800, &peers);
    for peer in bench.peers() {
        let peer: SocketAddr = peer.parse().unwrap();
        assert_eq!(Scope::of(peer.ip()), Scope::Global, "{peer}");
    }
}

#[test]
fn a_name_of_a_thousand_addresses_costs_one_datagram_an_attempt() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["udp://many.test:53/"]]);
    bench.take();
    let all: Vec<String> = (0..1000).map(|at| format!("8.8.{}.{}", at / 250, at % 250)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    bench.resolve("many.test", &all);
    let mut sent = bench.datagrams();
    for _ in 0..60 {
        bench.wait(60);
        let out = bench.take();
        if out.iter().any(|(_, output)| matches!(output, Output::Resolve { .. })) {
            bench.resolve("many.test", &all);
        }
        sent.extend(bench.datagrams());
    }
    assert!((2..=16).contains(&sent.len()), "{} datagrams in an hour", sent.len());
    assert!(
        sent.iter().all(|(_, _, bytes)| bytes.len() == 16),
        "a connect request is all they get"
    );
    let times: Vec<u64> = sent.iter().map(|(at, ..)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[0] + 17 <= pair[1]), "{times:?}");
}

/// What is left of the peers in a tracker's answer.
fn peers_of(body: &[u8]) -> Vec<String> {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let request = bench.request();
    bench.reply(&request, body);
    bench.peers()
}

fn body_of(list: &[u8]) -> Vec<u8> {
    [format!("d8:intervali1800e5:peers{}:", list.len()).as_bytes(), list, b"e"].concat()
}

#[test]
fn of_a_megabyte_of_peers_a_few_hundred_are_kept() {
    let list: Vec<u8> = (0..174_000_u32)
        .flat_map(|at| [at.to_be_bytes().map(|byte| byte | 8).as_slice(), &[1, 1]].concat())
        .collect();
    assert!(list.len() > 1_000_000);
    assert_eq!(peers_of(&body_of(&list)).len(), TRACKER_PEERS_MAX);
    // In dictionary form there are too many values to be worth reading.
    let list = "d2:ip7:8.8.8.84:porti80ee".repeat(1_000_000 / 25);
    assert_eq!(peers_of(format!("d8:intervali1800e5:peersl{list}ee").as_bytes()), [""; 0]);
}

#[test]
fn of_thousands_of_ports_of_one_victim_few_are_dialled() {
    let list: Vec<u8> = (1..10_000_u16)
        .flat_map(|port| [&[9, 9, 9, 9][..], &port.to_be_bytes()].concat())
        .collect();
    assert_eq!(peers_of(&body_of(&list)).len(), TRACKER_PORTS_PER_IP_MAX);
}

#[test]
fn a_list_whose_length_fits_no_address_gives_the_whole_ones() {
    for (list, expected) in [(&[9; 6 + 5][..], 1), (&[9; 5], 0), (&[], 0)] {
        assert_eq!(peers_of(&body_of(list)).len(), expected, "{}", list.len());
    }
}

#[test]
fn a_tracker_on_the_internet_leads_nowhere_near_by_way_of_a_gateway() {
    let mut list = Vec::new();
    for ip in
        ["2002:7f00:1::1", "64:ff9b::192.168.0.1", "::10.0.0.1", "::ffff:127.0.0.1", "fd00::1"]
    {
        list.extend(ip.parse::<std::net::Ipv6Addr>().unwrap().octets());
        list.extend([0, 80]);
    }
    let head = format!("d8:intervali1800e6:peers6{}:", list.len());
    assert_eq!(peers_of(&[head.as_bytes(), &list, b"e"].concat()), [""; 0]);
}

#[test]
fn a_redirect_over_ipv6_leads_nowhere_near() {
    for near in ["[::1]", "[fe80::1]", "[fd00::1]", "[2002:7f00:1::1]", "[64:ff9b::10.0.0.1]"] {
        let mut bench = Bench::new();
        bench.start(CHANNEL, &[&["https://[2a00::8]/announce"]]);
        let request = bench.request();
        bench.respond(&request, 302, Some(&format!("https://{near}/announce")), b"");
        assert!(bench.requests().is_empty(), "{near}");
        let statuses = bench.machine.statuses();
        let mut errors = statuses.iter().filter_map(|status| status.last_error.as_deref());
        assert!(errors.any(|error| error.contains("nearer")), "{near}: {statuses:?}");
    }
}

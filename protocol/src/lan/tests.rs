//! The machine alone, and what neighbours may tell it.

use std::net::Ipv4Addr;

use super::*;
use crate::limits::{
    LAN_DATAGRAMS_PER_SOURCE_MAX, LAN_PEERS_MAX, LAN_PEERS_PER_CHANNEL_MAX, LAN_PORTS_PER_IP_MAX,
};

const RED: ChannelId = ChannelId([1; 32]);
const BLUE: ChannelId = ChannelId([2; 32]);
const PORT: u16 = 28000;

const fn hash(byte: u8) -> InfoHash {
    InfoHash([byte; 20])
}

fn interface(index: u32, address: &str, prefix_bits: u8) -> Interface {
    Interface { index, address: address.parse().unwrap(), prefix_bits }
}

/// The machine, and a clock that counts seconds from its birth.
struct Bench {
    lan: Lan,
    born: Instant,
    now: Instant,
}

/// A message that was sent: seconds since birth, from which address, with which infohashes.
type Sent = (u64, IpAddr, Vec<InfoHash>);

impl Bench {
    fn new(habit: LanHabit, interfaces: &[Interface]) -> Self {
        Self::with_config(Config { habit, ..Config::default() }, interfaces)
    }

    fn with_config(config: Config, interfaces: &[Interface]) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any start will do")]
        let born = Instant::now();
        let mut bench = Self { lan: Lan::new(config, born, [7; 32]), born, now: born };
        bench.give(Input::Interfaces(interfaces.to_vec()));
        bench
    }

    fn libtorrent() -> Self {
        Self::new(LanHabit::libtorrent(), &[interface(2, "192.168.1.5", 24)])
    }

    fn give(&mut self, input: Input) {
        self.lan.handle_input(self.now, input);
    }

    fn announce(&mut self, channel: ChannelId, infohash: InfoHash) {
        self.give(Input::Announce { channel, infohash, port: PORT });
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.lan.poll_output()).collect()
    }

    /// What is sent up to that second, each message read again.
    fn run_to(&mut self, second: u64) -> Vec<Sent> {
        let end = self.born + Duration::from_secs(second);
        let mut sent = self.sent_now();
        while let Some(due) = self.lan.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.lan.handle_timeout(self.now);
            sent.extend(self.sent_now());
        }
        self.now = end;
        sent
    }

    fn sent_now(&mut self) -> Vec<Sent> {
        let second = (self.now - self.born).as_secs();
        let read = |output| match output {
            Output::Send { via, bytes } => {
                let search = message::decode(&bytes).unwrap();
                assert_eq!(search.port, PORT);
                Some((second, via.address, search.infohashes))
            }
            Output::PeerFound { .. } => None,
        };
        self.outputs().into_iter().filter_map(read).collect()
    }

    fn hear(&mut self, from: &str, text: &[u8]) -> Vec<Output> {
        self.outputs();
        self.give(Input::Datagram { from: from.parse().unwrap(), bytes: text.to_vec() });
        self.outputs()
    }

    fn hear_of(&mut self, from: &str, port: u16, infohash: InfoHash) -> Vec<Output> {
        let text = message::encode(Family::V4, port, &[infohash], HexCase::Lower, Some("1f"));
        self.hear(from, &text)
    }
}

fn seconds(sent: &[Sent]) -> Vec<u64> {
    sent.iter().map(|(second, ..)| *second).collect()
}

fn found(channel: ChannelId, address: &str) -> Vec<Output> {
    vec![Output::PeerFound { channel, address: address.parse().unwrap() }]
}

#[test]
fn six_torrents_are_announced_at_the_captured_times() {
    let mut bench = Bench::libtorrent();
    bench.run_to(5);
    for torrent in 1..=6 {
        bench.announce(RED, hash(torrent));
    }
    // libtorrent 2.0.11 with six torrents, of which the last one's repetitions alone are sent.
    let captured = [
        5, 5, 5, 5, 5, 5, 7, 11, 300, 302, 306, 350, 352, 356, 400, 402, 406, 450, 452, 456, 500,
        502, 506, 550, 552, 556, 600, 602, 606,
    ];
    let sent = bench.run_to(606);
    assert_eq!(seconds(&sent), captured);
    let whose: Vec<u8> = sent.iter().map(|(.., hashes)| hashes[0].0[0]).collect();
    assert_eq!(whose[..8], [1, 2, 3, 4, 5, 6, 6, 6]);
    assert_eq!(whose[8..14], [1, 1, 1, 2, 2, 2]);
    assert_eq!(whose[26..], [1, 1, 1]);
}

#[test]
fn one_torrent_is_announced_three_times_every_five_minutes() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    assert_eq!(seconds(&bench.run_to(700)), [0, 2, 6, 300, 302, 306, 600, 602, 606]);
}

#[test]
fn the_bytes_are_those_of_the_captured_client() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(0xab));
    let [Output::Send { bytes, .. }] = &bench.outputs()[..] else { panic!("one message") };
    let text = String::from_utf8(bytes.clone()).unwrap();
    let cookie = message::decode(bytes).unwrap().cookie.unwrap();
    let expected = format!(
        "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 28000\r\n\
         Infohash: {}\r\ncookie: {cookie}\r\n\r\n\r\n",
        "ab".repeat(20)
    );
    assert_eq!(text, expected);
}

#[test]
fn each_own_address_announces_with_a_cookie_of_its_own() {
    let own = [
        interface(1, "127.0.0.1", 8),
        interface(1, "::1", 128),
        interface(2, "192.168.1.5", 24),
        interface(2, "fe80::5", 64),
        interface(2, "2a00::5", 64),
    ];
    let mut bench = Bench::new(LanHabit::libtorrent(), &own);
    bench.announce(RED, hash(1));
    let mut cookies = std::collections::BTreeSet::new();
    let mut ways = Vec::new();
    for output in bench.outputs() {
        let Output::Send { via, bytes } = output else { panic!("{output:?}") };
        cookies.insert(message::decode(&bytes).unwrap().cookie.unwrap().to_owned());
        ways.push((via.index, via.address.to_string()));
    }
    assert_eq!(cookies.len(), 5);
    let expected =
        [(1, "127.0.0.1"), (2, "::1"), (2, "192.168.1.5"), (2, "2a00::5"), (2, "fe80::5")];
    assert_eq!(ways, expected.map(|(index, address)| (index, address.to_owned())));
}

#[test]
fn the_ipv6_loopback_address_speaks_only_where_there_is_a_network_for_it() {
    let own = [interface(1, "127.0.0.1", 8), interface(1, "::1", 128)];
    let mut bench = Bench::new(LanHabit::libtorrent(), &own);
    bench.announce(RED, hash(1));
    let sent = bench.sent_now();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1, own[0].address);
}

#[test]
fn an_ip_version_that_is_off_neither_announces_nor_is_near() {
    let own = [interface(2, "192.168.1.5", 24), interface(2, "2a00::5", 64)];
    let mut bench = Bench::with_config(Config { ipv6: false, ..Config::default() }, &own);
    bench.announce(RED, hash(1));
    assert_eq!(bench.sent_now().len(), 1);
    assert_eq!(bench.hear_of("[2a00::9]:6771", 7, hash(1)), []);
}

#[test]
fn transmission_announces_all_torrents_at_its_ticks_in_one_message() {
    let own = [
        interface(1, "127.0.0.1", 8),
        interface(1, "::1", 128),
        interface(2, "192.168.1.5", 24),
        interface(2, "192.168.1.6", 24),
    ];
    let mut bench = Bench::new(LanHabit::transmission(), &own);
    bench.run_to(5);
    bench.announce(RED, hash(1));
    bench.announce(BLUE, hash(2));
    let sent = bench.run_to(661);
    assert_eq!(seconds(&sent), [60, 60, 360, 360, 660, 660]);
    assert!(sent.iter().all(|(.., hashes)| *hashes == [hash(1), hash(2)]));
    bench.announce(RED, hash(3));
    let sent = bench.run_to(1000);
    assert_eq!(seconds(&sent), [720, 720, 960, 960]);
    assert_eq!(sent[0].2, [hash(3)]);
    bench.give(Input::Hurry(RED));
    assert_eq!(bench.run_to(1030)[0], (1020, sent[0].1, vec![hash(1), hash(3)]));
}

#[test]
fn many_torrents_of_transmission_take_several_messages_of_bounded_size() {
    let mut bench = Bench::new(LanHabit::transmission(), &[interface(2, "192.168.1.5", 24)]);
    for torrent in 1..=60 {
        bench.announce(RED, hash(torrent));
    }
    bench.run_to(59);
    bench.now += Duration::from_secs(1);
    bench.lan.handle_timeout(bench.now);
    let mut count = 0;
    for output in bench.outputs() {
        let Output::Send { bytes, .. } = output else { panic!("{output:?}") };
        assert!(bytes.len() <= MESSAGE_BYTES_MAX);
        count += message::decode(&bytes).unwrap().infohashes.len();
    }
    assert_eq!(count, 60);
}

#[test]
fn nothing_is_due_without_a_channel_or_without_a_network() {
    let mut bench = Bench::libtorrent();
    assert_eq!(bench.lan.poll_timeout(), None);
    bench.announce(RED, hash(1));
    assert!(bench.lan.poll_timeout().is_some());
    bench.give(Input::Interfaces(Vec::new()));
    assert_eq!(bench.lan.poll_timeout(), None);
    bench.give(Input::Interfaces(vec![interface(2, "192.168.1.5", 24)]));
    assert!(bench.lan.poll_timeout().is_some());
    bench.give(Input::Withdraw { channel: RED, infohash: None });
    assert_eq!(bench.lan.poll_timeout(), None);
}

#[test]
fn a_channel_that_comes_late_does_not_make_up_for_turns_that_were_idle() {
    let mut bench = Bench::libtorrent();
    bench.run_to(1000);
    bench.announce(RED, hash(1));
    assert_eq!(seconds(&bench.run_to(1300)), [1000, 1002, 1006, 1200, 1202, 1206]);
}

#[test]
fn after_a_suspension_there_is_one_turn_and_not_all_that_were_missed() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    bench.run_to(10);
    bench.now = bench.born + Duration::from_secs(100_000);
    bench.lan.handle_timeout(bench.now);
    assert_eq!(
        seconds(&bench.run_to(100_310)),
        [100_000, 100_002, 100_006, 100_300, 100_302, 100_306]
    );
}

#[test]
fn on_a_new_network_all_channels_are_announced_at_once_and_there_alone() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    bench.announce(BLUE, hash(2));
    bench.run_to(20);
    let (old, new) = (interface(2, "192.168.1.5", 24), interface(3, "10.0.0.5", 8));
    bench.give(Input::Interfaces(vec![old, new]));
    let sent = bench.run_to(30);
    assert_eq!(seconds(&sent), [20, 20, 22, 26]);
    assert!(sent.iter().all(|(_, via, _)| *via == new.address));
    bench.give(Input::Interfaces(vec![new, old]));
    assert_eq!(bench.run_to(40), [], "they are the same");
}

#[test]
fn an_address_that_is_gone_announces_no_more() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    bench.run_to(1);
    bench.give(Input::Interfaces(Vec::new()));
    assert_eq!(bench.run_to(1000), []);
}

#[test]
fn who_is_alone_announces_before_its_turn_but_not_twice_in_a_minute() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    bench.run_to(100);
    bench.give(Input::Hurry(RED));
    assert_eq!(seconds(&bench.run_to(110)), [100, 102, 106]);
    for _ in 0..100 {
        bench.give(Input::Hurry(RED));
    }
    assert_eq!(seconds(&bench.run_to(280)), [160, 162, 166]);
    bench.give(Input::Hurry(BLUE));
    assert_eq!(bench.run_to(299), [], "not one of ours");
}

#[test]
fn what_is_withdrawn_is_announced_no_more_and_the_others_keep_their_turns() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    bench.announce(RED, hash(2));
    bench.announce(BLUE, hash(3));
    bench.run_to(320);
    bench.give(Input::Withdraw { channel: RED, infohash: Some(hash(1)) });
    let sent = bench.run_to(560);
    let whose: Vec<_> = sent.iter().map(|(second, _, hashes)| (*second, hashes[0].0[0])).collect();
    assert_eq!(whose, [(400, 2), (402, 2), (406, 2), (550, 3), (552, 3), (556, 3)]);
    bench.give(Input::Withdraw { channel: BLUE, infohash: None });
    assert!(bench.run_to(900).iter().all(|(.., hashes)| *hashes == [hash(2)]));
    assert_eq!(bench.hear_of("192.168.1.9:6771", 7, hash(3)), []);
    assert_eq!(bench.hear_of("192.168.1.9:6771", 7, hash(2)), found(RED, "192.168.1.9:7"));
}

#[test]
fn an_infohash_that_is_withdrawn_takes_its_repetitions_along() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    bench.run_to(1);
    bench.give(Input::Withdraw { channel: RED, infohash: Some(hash(1)) });
    bench.announce(RED, hash(2));
    assert!(bench.run_to(290).iter().all(|(.., hashes)| *hashes == [hash(2)]));
}

#[test]
fn a_new_port_is_told_with_the_next_message() {
    let mut bench = Bench::libtorrent();
    bench.give(Input::Announce { channel: RED, infohash: hash(1), port: 1 });
    bench.outputs();
    bench.announce(RED, hash(1));
    assert_eq!(seconds(&bench.run_to(6)), [2, 6]);
}

#[test]
fn a_neighbour_with_one_of_our_channels_is_found() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    bench.announce(BLUE, hash(2));
    assert_eq!(bench.hear_of("192.168.1.9:6771", 4000, hash(1)), found(RED, "192.168.1.9:4000"));
    assert_eq!(bench.hear_of("192.168.1.9:6771", 4000, hash(3)), []);
    let both =
        message::encode(Family::V4, 5000, &[hash(3), hash(2), hash(1)], HexCase::Upper, None);
    let expected = [found(BLUE, "10.1.1.1:5000"), found(RED, "10.1.1.1:5000")].concat();
    assert_eq!(bench.hear("10.1.1.1:6771", &both), expected);
}

#[test]
fn both_infohashes_around_midnight_lead_to_one_find() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    bench.announce(RED, hash(2));
    assert_eq!(bench.hear_of("192.168.1.9:6771", 4000, hash(1)), found(RED, "192.168.1.9:4000"));
    assert_eq!(bench.hear_of("192.168.1.9:6771", 4000, hash(2)), []);
}

#[test]
fn a_link_local_address_keeps_its_interface() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    let found = bench.hear_of("[fe80::9%2]:6771", 4000, hash(1));
    let expected =
        SocketAddr::V6(std::net::SocketAddrV6::new("fe80::9".parse().unwrap(), 4000, 0, 2));
    assert_eq!(found, [Output::PeerFound { channel: RED, address: expected }]);
}

#[test]
fn only_neighbours_are_believed() {
    let own = [interface(2, "81.2.3.4", 24), interface(2, "2a00::5", 64)];
    let mut bench = Bench::new(LanHabit::libtorrent(), &own);
    bench.announce(RED, hash(1));
    for (from, near) in [
        ("127.0.0.1:6771", true),
        ("192.168.7.7:6771", true),
        ("169.254.7.7:6771", true),
        ("100.64.0.1:6771", true),
        ("[fd00::1]:6771", true),
        ("81.2.3.9:6771", true),
        ("[2a00::9]:6771", true),
        ("81.2.4.9:6771", false),
        ("8.8.8.8:6771", false),
        ("[2a00:0:0:1::9]:6771", false),
        ("[::ffff:8.8.8.8]:6771", false),
    ] {
        assert_eq!(bench.hear_of(from, 4000, hash(1)).len(), usize::from(near), "{from}");
    }
    assert_eq!(bench.lan.counters().from_afar, 4);
}

#[test]
fn our_own_messages_are_ignored() {
    let own = [interface(2, "192.168.1.5", 24), interface(2, "192.168.1.6", 24)];
    let mut bench = Bench::new(LanHabit::libtorrent(), &own);
    bench.announce(RED, hash(1));
    let sent: Vec<Vec<u8>> = bench
        .outputs()
        .into_iter()
        .filter_map(|output| match output {
            Output::Send { bytes, .. } => Some(bytes),
            Output::PeerFound { .. } => None,
        })
        .collect();
    assert_eq!(sent.len(), 2);
    for text in &sent {
        // The cookie says so, whichever way they came.
        assert_eq!(bench.hear("192.168.1.77:6771", text), []);
    }
    // Without it the address does.
    assert_eq!(bench.hear_of("192.168.1.6:6771", PORT, hash(1)), []);
    assert_eq!(bench.lan.counters().own, 3);
    // Another node on this host has another port.
    assert_eq!(bench.hear_of("192.168.1.6:6771", 4000, hash(1)), found(RED, "192.168.1.6:4000"));
}

#[test]
fn what_is_repeated_within_a_minute_is_passed_on_once() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    let mut times = 0;
    for second in 0..180 {
        bench.run_to(second);
        times += bench.hear_of("192.168.1.9:6771", 4000, hash(1)).len();
    }
    assert_eq!(times, 3);
    let counters = bench.lan.counters();
    assert_eq!((counters.again, counters.held_back), (177, 0), "a repetition is no excess");
}

#[test]
fn one_host_cannot_name_all_its_ports() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    let mut times = 0;
    for port in 1..1000 {
        bench.run_to(u64::from(port) / 20);
        times += bench.hear_of("192.168.1.9:6771", port, hash(1)).len();
    }
    assert_eq!(times, LAN_PORTS_PER_IP_MAX);
}

#[test]
fn forged_senders_lead_to_few_dials_and_little_memory() {
    let mut bench = Bench::libtorrent();
    for channel in 0..40 {
        bench.announce(ChannelId([channel; 32]), hash(channel + 1));
    }
    let all: Vec<InfoHash> = (0..25).map(|channel| hash(channel + 1)).collect();
    let text = message::encode(Family::V4, 4000, &all, HexCase::Lower, None);
    let mut per_channel = std::collections::BTreeMap::<ChannelId, usize>::new();
    for host in 0..2_000_u32 {
        bench.run_to(u64::from(host) / 20);
        let from = SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0001 + host), 6771));
        for output in bench.hear(&from.to_string(), &text) {
            let Output::PeerFound { channel, .. } = output else { panic!("{output:?}") };
            *per_channel.entry(channel).or_default() += 1;
        }
    }
    assert!(per_channel.values().all(|count| *count <= LAN_PEERS_PER_CHANNEL_MAX));
    assert!(per_channel.values().sum::<usize>() <= LAN_PEERS_MAX);
    assert!(bench.lan.counters().held_back > 0);
    // After the five minutes there is room again.
    bench.run_to(500);
    assert_eq!(bench.hear_of("192.168.1.9:6771", 4000, hash(1)).len(), 1);
}

#[test]
fn a_host_that_floods_does_not_take_the_turns_of_others() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    for _ in 0..10_000 {
        bench.give(Input::Datagram { from: "10.6.6.6:6771".parse().unwrap(), bytes: vec![0; 100] });
    }
    let read = bench.lan.counters().malformed;
    assert!(read <= u64::from(LAN_DATAGRAMS_PER_SOURCE_MAX) * 16, "{read}");
    assert_eq!(bench.hear_of("192.168.1.9:6771", 4000, hash(1)).len(), 1);
    bench.run_to(60);
    assert_eq!(bench.hear_of("10.6.6.6:6771", 4000, hash(1)).len(), 1, "it may speak again");
}

#[test]
fn nonsense_is_counted_and_dropped() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    for text in [&b""[..], b"\0", b"BT-SEARCH * HTTP/1.1\r\n\r\n", &[0xff; 2000]] {
        assert_eq!(bench.hear("192.168.1.9:6771", text), []);
    }
    assert_eq!(bench.lan.counters().malformed, 4);
}

#[test]
fn there_are_no_more_torrents_than_channels_can_need() {
    let mut bench = Bench::libtorrent();
    for torrent in 0..2 * TORRENTS_MAX {
        let mut infohash = [0; 20];
        infohash[..8].copy_from_slice(&(torrent as u64 + 1).to_be_bytes());
        bench.announce(RED, InfoHash(infohash));
    }
    assert_eq!(bench.lan.torrents.len(), TORRENTS_MAX);
}

/// In seconds since birth: last announce, next announce, last heard.
fn times(bench: &Bench) -> Vec<(Option<u64>, Option<u64>, Option<u64>)> {
    let second = |at: Option<Instant>| at.map(|at| (at - bench.born).as_secs());
    let times =
        |it: Status| (second(it.last_announce), second(it.next_announce), second(it.last_heard));
    bench.lan.statuses(bench.now).into_iter().map(times).collect()
}

#[test]
fn a_status_says_when_each_is_announced_in_turn_and_keeps_its_word() {
    let mut bench = Bench::libtorrent();
    for torrent in 1..=3 {
        bench.announce(RED, hash(torrent));
    }
    bench.run_to(299);
    let none = None::<u64>;
    let expected =
        [(Some(0), Some(300), none), (Some(0), Some(400), none), (Some(0), Some(500), none)];
    assert_eq!(times(&bench), expected);
    bench.run_to(450);
    let expected =
        [(Some(300), Some(600), none), (Some(400), Some(700), none), (Some(0), Some(500), none)];
    assert_eq!(times(&bench), expected);
    bench.give(Input::Hurry(RED));
    let next: Vec<_> = times(&bench).into_iter().map(|(_, next, _)| next).collect();
    assert_eq!(next[1], Some(460), "before its turn, a minute after the last");
}

#[test]
fn a_status_says_at_which_tick_an_announce_comes() {
    let mut bench = Bench::new(LanHabit::transmission(), &[interface(2, "192.168.1.5", 24)]);
    bench.announce(RED, hash(1));
    assert_eq!(times(&bench), [(None, Some(60), None)]);
    bench.run_to(70);
    assert_eq!(times(&bench), [(Some(60), Some(360), None)]);
    bench.run_to(360);
    assert_eq!(times(&bench), [(Some(360), Some(660), None)]);
}

#[test]
fn a_status_counts_what_was_heard_and_who_was_passed_on() {
    let mut bench = Bench::libtorrent();
    bench.announce(RED, hash(1));
    bench.announce(BLUE, hash(2));
    bench.run_to(3);
    for port in [5000, 5001, 5001] {
        bench.hear_of("192.168.1.9:6771", port, hash(1));
    }
    let counts = |bench: &Bench| -> Vec<_> {
        let all = bench.lan.statuses(bench.now).into_iter();
        all.map(|it| (it.channel, it.heard, it.peers_found)).collect()
    };
    assert_eq!(counts(&bench), [(RED, 3, 2), (BLUE, 0, 0)]);
    assert_eq!(times(&bench)[0].2, Some(3));
    bench.run_to(3600);
    assert_eq!(counts(&bench)[0], (RED, 3, 0), "who was heard long ago does not count");
}

#[test]
fn without_an_address_no_announce_is_promised() {
    let mut bench = Bench::new(LanHabit::libtorrent(), &[]);
    bench.announce(RED, hash(1));
    assert_eq!(times(&bench), [(None, None, None)]);
}

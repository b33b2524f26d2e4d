//! Golden tests: for each captured client, an announcer that wears its profile is put in the place of
//! the client, and what it says and when is held against the capture.

mod capture;
mod masks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::announcer::{Announcer, Config, Family, Input, Output, RequestId};
use super::disguise::{ClientProfile, KeyScope, PeerIdCheck};
use super::http::Response;
use crate::id::{ChannelId, InfoHash};
use crate::machine::Machine as _;
use capture::{Announced, Capture, Magnet, captures};

const CHANNEL: ChannelId = ChannelId([1; 32]);
const TRACKER_V4: &str = "203.0.113.1";
const TRACKER_V6: &str = "2001:db8::1";
/// The address of the machine in the lab.
const OWN_IPV6: &str = "2001:db8::11";
const CONNECTION: [u8; 8] = [7; 8];
const ACCEPTED: &[u8] = b"d8:intervali120e12:min intervali60e5:peers0:10:tracker id6:abc/+ze";

/// How far a captured time may be from ours: the beat of the client's timer, and the lab's delays.
const TOLERANCE: f64 = 1.5;

/// How the tracker behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tracker {
    Answers,
    Refuses,
    Breaks,
    Silent,
}

/// An announcer in the place of a client.
struct Lab {
    machine: Announcer,
    tracker: Tracker,
    start: Instant,
    now: Instant,
    said: Vec<Announced>,
}

impl Lab {
    fn new(client: &str, tracker: Tracker, seed: u8) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
        let start = Instant::now();
        let profile = Arc::new(ClientProfile::named(client).unwrap());
        let config = Config { profile, ipv4: true, ipv6: true };
        let mut machine = Announcer::new(config, start, [seed; 32]);
        machine.handle_input(start, Input::OwnIpv6(Some(OWN_IPV6.parse().unwrap())));
        Self { machine, tracker, start, now: start, said: Vec::new() }
    }

    fn begin(&mut self, url: &str, infohash: InfoHash, port: u16) {
        let tiers = vec![vec![url.parse().unwrap()]];
        self.input(Input::Start { channel: CHANNEL, infohash, tiers, port });
    }

    fn input(&mut self, input: Input) {
        self.machine.handle_input(self.now, input);
        self.play();
    }

    fn wait_until(&mut self, seconds: f64) {
        let until = self.start + Duration::from_secs_f64(seconds);
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = at;
            self.machine.handle_timeout(at);
            self.play();
        }
        self.now = until;
    }

    /// Plays the resolver and the tracker until nothing is left to do.
    fn play(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let answer = match output {
                Output::Resolve { host } => {
                    let addresses = [TRACKER_V4, TRACKER_V6].map(|it| it.parse().unwrap());
                    Some(Input::NamesResolved { host, result: Ok(addresses.to_vec()) })
                }
                Output::HttpRequest(request) => {
                    self.note(request.address, request.bytes);
                    self.answer_http(request.id, request.address)
                }
                Output::SendUdp { to, bytes } => {
                    let answer = self.answer_udp(to, &bytes);
                    self.note(to, bytes);
                    answer
                }
                Output::HttpCancel { .. } | Output::Event(_) => None,
            };
            if let Some(answer) = answer {
                self.machine.handle_input(self.now, answer);
            }
        }
    }

    fn answer_http(&self, id: RequestId, from: SocketAddr) -> Option<Input> {
        let body: &[u8] = match self.tracker {
            Tracker::Answers => ACCEPTED,
            Tracker::Refuses => b"d14:failure reason2:noe",
            Tracker::Breaks => {
                let failure = "closed".to_owned();
                return Some(Input::HttpFailed { id, failure });
            }
            Tracker::Silent => return None,
        };
        let response = Response { status: 200, location: None, body: body.to_vec() };
        Some(Input::HttpReply { id, from, response })
    }

    fn answer_udp(&self, from: SocketAddr, bytes: &[u8]) -> Option<Input> {
        let connect = bytes.len() == 16;
        let transaction = &bytes[12..16];
        let bytes = if connect {
            [&[0; 4], transaction, &CONNECTION].concat()
        } else {
            assert_eq!(bytes[..8], CONNECTION);
            [&[0, 0, 0, 1], transaction, &[0, 0, 0, 120], &[0; 8]].concat()
        };
        (self.tracker == Tracker::Answers).then_some(Input::UdpDatagram { from, bytes })
    }

    fn note(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let at = self.now.duration_since(self.start).as_secs_f64();
        let occasion = occasion(&bytes).to_owned();
        self.said.push(Announced { at, family: Family::of(to.ip()), occasion, bytes });
    }
}

/// Reads the occasion from the bytes.
fn occasion(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"GET ") {
        let text = std::str::from_utf8(bytes).unwrap();
        return match text.split("event=").nth(1) {
            None => "periodic",
            Some(rest) if rest.starts_with("started") => "started",
            Some(rest) if rest.starts_with("stopped") => "stopped",
            Some(rest) => panic!("{rest}"),
        };
    }
    match bytes.get(80..84) {
        None => "connect",
        Some([0, 0, 0, 0]) => "periodic",
        Some([0, 0, 0, 2]) => "started",
        Some([0, 0, 0, 3]) => "stopped",
        Some(other) => panic!("{other:?}"),
    }
}

/// The port in a captured announce.
fn port_of(announced: &Announced) -> u16 {
    match std::str::from_utf8(&announced.bytes).ok().and_then(|it| it.split("&port=").nth(1)) {
        Some(rest) => rest.split('&').next().unwrap().parse().unwrap(),
        None => u16::from_be_bytes(announced.bytes[96..98].try_into().unwrap()),
    }
}

/// Lives through a magnet's life as the client did: start, announces, farewell.
fn relive(client: &str, url: &str, magnet: &Magnet) -> Vec<Announced> {
    let first = magnet.announces.first().unwrap();
    let last = magnet.announces.last().unwrap();
    let port = magnet.announces.iter().find(|it| it.occasion == "started").map(port_of).unwrap();
    let mut lab = Lab::new(client, Tracker::Answers, 3);
    lab.begin(url, magnet.infohash, port);
    lab.wait_until(last.at - first.at - 0.1);
    lab.input(Input::StopAll);
    lab.wait_until(last.at - first.at + 60.0);
    assert!(lab.machine.is_idle());
    lab.said
}

/// What was said with what was captured in its place.
#[track_caller]
fn same_story(
    client: &str,
    ours: &[Announced],
    captured: &[Announced],
) -> Vec<(Announced, Announced)> {
    let mut pairs = Vec::new();
    for family in [Family::V4, Family::V6] {
        let of = |all: &[Announced]| -> Vec<Announced> {
            all.iter().filter(|it| it.family == family).cloned().collect()
        };
        let (ours, captured) = (of(ours), of(captured));
        let story = |all: &[Announced]| -> Vec<String> {
            all.iter().map(|it| it.occasion.clone()).collect()
        };
        assert_eq!(story(&ours), story(&captured), "{client} {family:?}");
        let begin = captured.first().map_or(0.0, |it| it.at);
        for (ours, captured) in ours.iter().zip(&captured) {
            let at = captured.at - begin;
            let off = (ours.at - at).abs();
            assert!(off < TOLERANCE, "{client} {family:?} {}: {} {at}", ours.occasion, ours.at);
            pairs.push((ours.clone(), captured.clone()));
        }
    }
    assert_eq!(pairs.len(), captured.len(), "{client}");
    pairs
}

#[track_caller]
fn check_http(capture: &Capture, magnet: &str) {
    let client = &capture.client;
    let magnet = capture.magnet(magnet);
    let ours = relive(client, "http://tracker.test:6969/announce", &magnet);
    for (ours, captured) in same_story(client, &ours, &magnet.announces) {
        let text = |it: Announced| String::from_utf8(it.bytes).unwrap();
        let (ours, captured) = (text(ours), text(captured));
        assert_eq!(masks::http(&ours), masks::http(&captured), "{client}");
        assert!(!masks::key_case_differs(&ours, &captured), "{client}: {ours}");
    }
}

#[test]
fn every_captured_http_announce_is_said_byte_for_byte_and_at_its_time() {
    for capture in captures() {
        check_http(&capture, "http_a");
        check_http(&capture, "http_b");
    }
}

#[test]
fn every_captured_udp_datagram_is_said_byte_for_byte_and_at_its_time() {
    for capture in captures() {
        let client = &capture.client;
        let magnet = capture.magnet("udp");
        let ours = relive(client, "udp://tracker.test:6969/announce", &magnet);
        for (ours, captured) in same_story(client, &ours, &magnet.announces) {
            assert_eq!(masks::udp(&ours.bytes), masks::udp(&captured.bytes), "{client}");
        }
    }
}

#[test]
fn the_captures_cover_start_period_and_end_over_the_ip_versions_of_the_client() {
    for capture in captures() {
        let old_transmission = capture.client == "transmission-3.00";
        for (name, families) in [
            (
                "http_a",
                if old_transmission { &[Family::V6][..] } else { &[Family::V4, Family::V6] },
            ),
            ("udp", if old_transmission { &[Family::V4][..] } else { &[Family::V4, Family::V6] }),
        ] {
            let announces = capture.magnet(name).announces;
            for family in [Family::V4, Family::V6] {
                for occasion in ["started", "periodic", "stopped"] {
                    let there =
                        announces.iter().any(|it| it.family == family && it.occasion == occasion);
                    let client = &capture.client;
                    assert_eq!(there, families.contains(&family), "{client} {name} {occasion}");
                }
            }
        }
    }
}

/// The pauses between announces over one IP version, that begin within `seconds`.
fn pauses(client: &str, url: &str, tracker: Tracker, seed: u8, seconds: f64) -> Vec<f64> {
    let mut lab = Lab::new(client, tracker, seed);
    lab.begin(url, InfoHash([1; 20]), 1);
    lab.wait_until(seconds);
    let family = lab.said[0].family;
    let times = lab.said.iter().filter(|it| it.family == family).map(|it| it.at);
    gaps(&times.collect::<Vec<_>>())
}

fn gaps(times: &[f64]) -> Vec<f64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Each captured pause must be one that we might make.
#[track_caller]
fn check_failures(capture: &Capture, way: &str, url: &str, tracker: Tracker) {
    let client = &capture.client;
    let captured = gaps(&capture.failures(way));
    let drawn: Vec<_> =
        (0..40).map(|seed| pauses(client, url, tracker, seed, FAILED_UNTIL)).collect();
    for ours in &drawn {
        assert_eq!(ours.len(), captured.len(), "{client} {way}: {ours:?} {captured:?}");
    }
    for (at, captured) in captured.iter().enumerate() {
        let least = drawn.iter().map(|it| it[at]).fold(f64::MAX, f64::min);
        let most = drawn.iter().map(|it| it[at]).fold(0.0, f64::max);
        let fits = (least - TOLERANCE..most + TOLERANCE).contains(captured);
        assert!(fits, "{client} {way} {at}: {captured}, ours {least} to {most}");
    }
}

#[test]
fn after_failures_announces_come_when_the_client_made_them() {
    for capture in captures() {
        let http = "http://tracker.test:6969/announce";
        check_failures(&capture, "refused", http, Tracker::Refuses);
        check_failures(&capture, "closed", "https://tracker.test/announce", Tracker::Breaks);
        check_failures(&capture, "silent", "udp://tracker.test:1/announce", Tracker::Silent);
    }
}

/// Before the lab's clients were told to leave, and after their last announce that failed.
const FAILED_UNTIL: f64 = 887.0;

/// Lives through failures, then leaves: what was said, and how much of it before leaving.
fn relive_failures(
    client: &str,
    url: &str,
    tracker: Tracker,
    infohash: InfoHash,
    port: u16,
) -> (Vec<Announced>, usize) {
    let mut lab = Lab::new(client, tracker, 3);
    lab.begin(url, infohash, port);
    lab.wait_until(FAILED_UNTIL);
    let before = lab.said.len();
    lab.input(Input::StopAll);
    lab.wait_until(FAILED_UNTIL + 60.0);
    assert!(lab.machine.is_idle());
    (lab.said, before)
}

#[test]
fn announces_that_are_refused_and_the_farewell_after_them_are_said_byte_for_byte() {
    for capture in captures() {
        let client = &capture.client;
        let magnet = capture.magnet("refused");
        let (url, port) = ("http://tracker.test:6969/announce", port_of(&magnet.announces[0]));
        let (said, _) = relive_failures(client, url, Tracker::Refuses, magnet.infohash, port);
        for family in [Family::V4, Family::V6] {
            let lines = |all: &[Announced]| -> Vec<String> {
                let texts = all.iter().filter(|it| it.family == family);
                let texts = texts.map(|it| std::str::from_utf8(&it.bytes).unwrap());
                texts.map(|it| masks::http(it.lines().next().unwrap())).collect()
            };
            assert_eq!(lines(&said), lines(&magnet.announces), "{client} {family:?}");
        }
    }
}

#[test]
fn after_failures_only_those_trackers_hear_that_we_leave_which_heard_it_from_the_client() {
    for capture in captures() {
        let client = &capture.client;
        for (way, url, tracker) in [
            ("closed", "https://tracker.test/announce", Tracker::Breaks),
            ("silent", "udp://tracker.test:1/announce", Tracker::Silent),
        ] {
            let infohash = InfoHash([1; 20]);
            let (said, before) = relive_failures(client, url, tracker, infohash, 1);
            let farewells = (said.len() - before) as u64;
            assert_eq!(farewells, capture.farewells(way), "{client} {way}");
        }
    }
}

#[test]
fn what_is_masked_fits_what_the_profile_draws_from() {
    for capture in captures() {
        let client = &capture.client;
        let profile = ClientProfile::named(client).unwrap();
        for peer_id in capture.texts("peer_ids") {
            assert_eq!(peer_id.len(), 20);
            assert!(peer_id.as_bytes().starts_with(&profile.peer_id_prefix), "{client}");
            let tail = peer_id.as_bytes()[profile.peer_id_prefix.len()..].iter();
            let position =
                |byte: &u8| profile.peer_id_alphabet.iter().position(|it| it == byte).unwrap();
            let sum: usize = tail.map(position).sum();
            if profile.peer_id_check == PeerIdCheck::Sum {
                assert_eq!(sum % profile.peer_id_alphabet.len(), 0, "{client}");
            }
        }
        let keys = capture.texts("keys");
        assert!(keys.concat().bytes().all(|it| profile.key_digits.contains(&it)), "{client}");
        assert_eq!(keys.len() == 1, profile.key_scope == KeyScope::Session, "{client}");
    }
}

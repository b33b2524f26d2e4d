//! The announcer in virtual time, against trackers that the tests play.

mod hostile;
mod worn;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use std::sync::Arc;

use super::*;
use crate::tracker::disguise::ClientProfile;
use crate::tracker::http::Response;

const CHANNEL: ChannelId = ChannelId([1; 32]);
const OTHER: ChannelId = ChannelId([2; 32]);
const V4: &str = "8.8.8.8";
const V6: &str = "2a00::8";

/// An announcer, a clock, and what came out, with the second at which it did.
struct Bench {
    machine: Announcer,
    start: Instant,
    now: Instant,
    out: VecDeque<(u64, Output)>,
}

impl Bench {
    fn new() -> Self {
        Self::with_config(Config::default())
    }

    fn with_config(config: Config) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
        let start = Instant::now();
        let machine = Announcer::new(config, start, [7; 32]);
        Self { machine, start, now: start, out: VecDeque::new() }
    }

    fn only_v4() -> Self {
        Self::with_config(Config { ipv6: false, ..Config::default() })
    }

    fn input(&mut self, input: Input) {
        self.machine.handle_input(self.now, input);
        self.drain();
    }

    fn start(&mut self, channel: ChannelId, tiers: &[&[&str]]) {
        self.start_at(7, channel, tiers);
    }

    fn start_at(&mut self, port: u16, channel: ChannelId, tiers: &[&[&str]]) {
        let tiers = tiers
            .iter()
            .map(|tier| tier.iter().map(|url| url.parse().unwrap()).collect())
            .collect();
        self.input(Input::Start { channel, infohash: InfoHash([channel.0[0]; 20]), tiers, port });
    }

    fn stop(&mut self) {
        self.input(Input::StopAll);
    }

    /// Lets time pass, timer by timer.
    fn wait(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            assert!(at > self.now, "a timer in the past makes the driver spin");
            self.now = at;
            self.machine.handle_timeout(at);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        let at = self.now.duration_since(self.start).as_secs();
        while let Some(output) = self.machine.poll_output() {
            self.out.push_back((at, output));
        }
    }

    /// Takes everything but what is only to be known about trackers.
    fn take(&mut self) -> Vec<(u64, Output)> {
        self.out
            .drain(..)
            .filter(|(_, it)| !matches!(it, Output::Event(Event::StatusChanged { .. })))
            .collect()
    }

    fn datagrams(&mut self) -> Vec<(u64, SocketAddr, Vec<u8>)> {
        self.take()
            .into_iter()
            .filter_map(|(at, output)| match output {
                Output::SendUdp { to, bytes } => Some((at, to, bytes)),
                Output::Resolve { .. }
                | Output::HttpRequest(_)
                | Output::HttpCancel { .. }
                | Output::Event(_) => None,
            })
            .collect()
    }

    fn requests(&mut self) -> Vec<(u64, HttpRequest)> {
        self.take()
            .into_iter()
            .filter_map(|(at, output)| match output {
                Output::HttpRequest(request) => Some((at, request)),
                Output::Resolve { .. }
                | Output::SendUdp { .. }
                | Output::HttpCancel { .. }
                | Output::Event(_) => None,
            })
            .collect()
    }

    #[track_caller]
    fn request(&mut self) -> HttpRequest {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0).1
    }

    fn peers(&mut self) -> Vec<String> {
        self.take()
            .into_iter()
            .filter_map(|(_, output)| {
                let Output::Event(Event::PeersFound { peers, .. }) = output else {
                    return None;
                };
                Some(peers)
            })
            .flatten()
            .map(|it| it.to_string())
            .collect()
    }

    fn resolve(&mut self, host: &str, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        self.input(Input::NamesResolved { host: host.to_owned(), result: Ok(addresses) });
    }

    fn reply(&mut self, request: &HttpRequest, body: &[u8]) {
        self.respond(request, 200, None, body);
    }

    fn respond(&mut self, to: &HttpRequest, status: u16, location: Option<&str>, body: &[u8]) {
        let location = location.map(str::to_owned);
        let response = Response { status, location, body: body.to_vec() };
        self.input(Input::HttpReply { id: to.id, from: to.address, response });
    }

    fn http_failed(&mut self, request: &HttpRequest, failure: &str) {
        let failure = failure.to_owned();
        self.input(Input::HttpFailed { id: request.id, failure });
    }

    fn datagram(&mut self, from: SocketAddr, parts: &[&[u8]]) {
        self.input(Input::UdpDatagram { from, bytes: parts.concat() });
    }

    /// Answers a connect request.
    fn connected(&mut self, from: SocketAddr, request: &[u8], connection: u64) {
        assert_eq!(request.len(), 16, "not a connect request");
        self.datagram(from, &[&[0; 4], &request[12..16], &connection.to_be_bytes()]);
    }

    /// Answers an announce.
    fn announced(&mut self, from: SocketAddr, request: &[u8], interval: u32, peers: &[u8]) {
        assert!(request.len() >= 98, "not an announce");
        let interval = interval.to_be_bytes();
        self.datagram(from, &[&[0, 0, 0, 1], &request[12..16], &interval, &[0; 8], peers]);
    }

    fn status(&self) -> TrackerStatus {
        self.machine.statuses().remove(0)
    }

    fn error(&self) -> String {
        self.status().last_error.unwrap_or_default()
    }
}

fn text(request: &HttpRequest) -> String {
    String::from_utf8(request.bytes.clone()).unwrap()
}

/// The `event` of a UDP announce.
fn event(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[80..84].try_into().unwrap())
}

#[test]
fn a_udp_tracker_is_asked_over_both_ip_versions_at_once() {
    let mut bench = Bench::new();
    bench.start(CHANNEL, &[&["udp://t.test:6969/announce"]]);
    assert_eq!(bench.take(), [(0, Output::Resolve { host: "t.test".to_owned() })]);
    bench.resolve("t.test", &[V4, V6]);
    let connects = bench.datagrams();
    let to: Vec<_> = connects.iter().map(|(at, to, _)| (*at, to.to_string())).collect();
    assert_eq!(to, [(0, "8.8.8.8:6969".to_owned()), (0, "[2a00::8]:6969".to_owned())]);
    let mut keys = Vec::new();
    for (_, to, connect) in connects {
        bench.connected(to, &connect, 0x0417_2710_1980);
        let (_, again, announce) = bench.datagrams().remove(0);
        assert_eq!((again, event(&announce)), (to, 2));
        assert_eq!(announce[..8], 0x0417_2710_1980_u64.to_be_bytes());
        assert_eq!(announce[96..98], [0, 7]);
        assert_eq!(&announce[98..], b"\x02\x09/announce");
        keys.push(announce[36..56].to_vec());
        keys.push(announce[88..92].to_vec());
        let peers: &[u8] = if to.is_ipv4() {
            &[9, 9, 9, 9, 0, 80, 9]
        } else {
            &[0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 80]
        };
        bench.announced(to, &announce, 120, peers);
        let expected = if to.is_ipv4() { "9.9.9.9:80" } else { "[2a00::9]:80" };
        assert_eq!(bench.peers(), [expected]);
    }
    assert_eq!((&keys[0], &keys[1]), (&keys[2], &keys[3]), "one persona for both");
    bench.wait(299);
    assert!(bench.take().is_empty());
    bench.wait(1);
    assert_eq!(bench.take(), [(300, Output::Resolve { host: "t.test".to_owned() })]);
}

#[track_caller]
fn check_pause(body: &str, expected: u64) {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let request = bench.request();
    bench.reply(&request, body.as_bytes());
    bench.wait(2 * 24 * 3600);
    let (at, _) = bench.requests().remove(0);
    assert_eq!(at, expected, "{body}");
}

#[test]
fn the_pause_is_the_longest_of_what_tracker_and_client_want() {
    check_pause("d8:intervali120ee", 300);
    check_pause("d8:intervali0ee", 300);
    check_pause("d8:intervali-5ee", 300);
    check_pause("d8:intervali1800ee", 1800);
    check_pause("d8:intervali900e12:min intervali1000ee", 1000);
    check_pause("de", 1800);
    check_pause("d8:interval3:abce", 1800);
    check_pause("d8:intervali9223372036854775807ee", 24 * 3600);
    check_pause("d14:failure reason2:noe", 1800);
    check_pause("d14:failure reason2:no8:intervali3600ee", 3600);
    check_pause("d14:failure reason2:no8:intervali1ee", 17);
    check_pause("d14:failure reason2:no8:retry ini1ee", 60);
    check_pause("d14:failure reason2:no8:retry ini0ee", 17);
    check_pause("d14:failure reason2:no8:retry ini-1ee", 17);
    check_pause("d14:failure reason2:no8:retry in5:nevere", 24 * 3600);
    check_pause("d14:failure reason2:no8:retry ini99999999999ee", 24 * 3600);
    check_pause("<html>", 17);
    check_pause("", 17);
}

#[test]
fn an_http_tracker_that_fails_is_asked_again_as_the_worn_client_does() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let mut times = Vec::new();
    for _ in 0..6 {
        let (at, request) = bench.requests().remove(0);
        assert!(text(&request).contains("&event=started&"));
        times.push(at);
        bench.http_failed(&request, "no route");
        assert_eq!(bench.error(), "no route");
        let pause = bench.machine.poll_timeout().unwrap().duration_since(bench.now);
        bench.wait(pause.as_secs());
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [17, 55, 117, 205, 317]);
}

#[test]
fn a_silent_udp_tracker_gets_one_datagram_an_attempt() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["udp://8.8.8.8:1/"]]);
    bench.wait(39 + 65 + 127 + 215 + 327);
    let times: Vec<_> = bench.datagrams().iter().map(|(at, ..)| *at).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [39, 65, 127, 215, 327]);
    assert_eq!(bench.error(), "it did not answer in time");
}

#[test]
fn started_is_said_until_answered_and_stopped_once() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let first = bench.request();
    assert!(text(&first).contains("&event=started&numwant=200&"));
    bench.respond(&first, 503, None, b"");
    bench.wait(17);
    let second = bench.request();
    assert!(text(&second).contains("&event=started&"));
    bench.reply(&second, b"d8:intervali300e10:tracker id6:abc/+ze");
    bench.wait(300);
    let third = bench.request();
    assert!(!text(&third).contains("event="));
    assert!(text(&third).contains("&trackerid=abc%2f%2bz HTTP/1.1\r\n"));
    bench.reply(&third, b"d8:intervali300ee");
    bench.stop();
    let last = bench.request();
    assert!(text(&last).contains("&event=stopped&numwant=0&"));
    assert_eq!(last.timeout, Duration::from_secs(5));
    assert!(!bench.machine.is_idle());
    bench.reply(&last, b"d8:intervali300ee");
    let left = Event::Left { channel: CHANNEL, infohash: InfoHash([1; 20]) };
    assert_eq!(bench.take(), [(17 + 300, Output::Event(left))]);
    assert!(bench.machine.is_idle());
    assert_eq!(bench.machine.poll_timeout(), None);
}

#[test]
fn leaving_waits_five_seconds_for_a_silent_tracker() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["udp://8.8.8.8:1/"]]);
    let (_, to, connect) = bench.datagrams().remove(0);
    bench.connected(to, &connect, 5);
    let (_, _, announce) = bench.datagrams().remove(0);
    bench.announced(to, &announce, 1800, b"");
    bench.wait(100);
    bench.stop();
    let (_, _, connect) = bench.datagrams().remove(0);
    assert_eq!(connect.len(), 16, "the connection id is too old");
    bench.wait(5);
    assert!(bench.machine.is_idle());
    assert_eq!(bench.take().len(), 1, "left, and nothing sent");
}

#[test]
fn a_tracker_that_never_heard_of_us_is_not_told_that_we_leave() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["udp://8.8.8.8:1/", "http://a.test/"]]);
    bench.take();
    bench.stop();
    assert_eq!(bench.take().len(), 1);
    assert!(bench.machine.is_idle());
}

#[test]
fn a_tracker_that_has_not_answered_is_told_that_we_leave_only_if_the_worn_client_tells_it() {
    for (profile, told) in [("qbittorrent-5.1.0", 0), ("transmission-4.1.0-beta2", 1)] {
        let profile = Arc::new(ClientProfile::named(profile).unwrap());
        let mut bench = Bench::with_config(Config { profile, ipv4: true, ipv6: false });
        bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
        assert!(text(&bench.request()).contains("event=started"));
        bench.stop();
        let farewells = bench.requests();
        assert_eq!(farewells.len(), told);
        assert!(farewells.iter().all(|(_, it)| text(it).contains("event=stopped")));
    }
}

#[test]
fn leaving_drops_the_request_under_way_but_says_goodbye() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let request = bench.request();
    bench.reply(&request, b"d8:intervali300ee");
    bench.wait(300);
    let request = bench.request();
    bench.stop();
    let out = bench.take();
    assert_eq!(out[0].1, Output::HttpCancel { id: request.id });
    let Output::HttpRequest(goodbye) = &out[1].1 else { panic!("{out:?}") };
    assert!(text(goodbye).contains("event=stopped"));
    bench.reply(&request, b"d5:peers6:\x09\x09\x09\x09\x00\x50e");
    assert_eq!(bench.peers(), [""; 0], "a late answer is nobody's");
    assert_eq!(bench.machine.dropped(), 1);
}

#[test]
fn within_a_tier_the_next_tracker_is_tried_at_once_and_the_working_one_is_kept() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce", "http://9.9.9.9/announce"]]);
    let first = bench.request();
    bench.respond(&first, 500, None, b"");
    let second = bench.request();
    assert_ne!(second.address, first.address);
    bench.reply(&second, b"d8:intervali1800ee");
    let order: Vec<_> = bench.machine.statuses().into_iter().map(|it| it.tracker).collect();
    assert_eq!(order[0], format!("http://{}/announce", second.address.ip()));
    let states: Vec<_> = bench.machine.statuses().into_iter().map(|it| it.state).collect();
    assert_eq!(states, [TrackerState::Works, TrackerState::Spare]);
    bench.wait(1799);
    assert!(bench.take().is_empty(), "behind one that works nobody is asked");
    bench.wait(1);
    assert_eq!(bench.request().address, second.address);
}

#[test]
fn every_tier_is_announced_to_and_each_tracker_once() {
    let mut bench = Bench::only_v4();
    let (a, b) = ("http://8.8.8.8/announce", "http://9.9.9.9/announce");
    bench.start(CHANNEL, &[&[a, a], &[b], &[a]]);
    assert_eq!(bench.requests().len(), 2);
}

#[test]
fn a_profile_may_use_the_first_working_tier_alone() {
    let mut config = Config { ipv6: false, ..Config::default() };
    Arc::make_mut(&mut config.profile).every_tier = false;
    let mut bench = Bench::with_config(config);
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"], &["http://9.9.9.9/announce"]]);
    let first = bench.request();
    bench.respond(&first, 500, None, b"");
    let second = bench.request();
    assert_eq!(second.address.ip().to_string(), "9.9.9.9");
}

#[test]
fn the_order_within_a_tier_depends_on_the_seed() {
    let urls = ["http://1.1.1.1/", "http://1.1.1.2/", "http://1.1.1.3/", "http://1.1.1.4/"];
    let orders: BTreeSet<Vec<String>> = (0..8)
        .map(|seed| {
            let mut bench = Bench::new();
            bench.machine.rng = Rng::from_seed([seed; 32]);
            bench.start(CHANNEL, &[&urls]);
            bench.machine.statuses().into_iter().map(|it| it.tracker).collect()
        })
        .collect();
    assert!(orders.len() > 1);
}

#[test]
fn a_connection_id_serves_every_channel_for_a_minute() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["udp://8.8.8.8:1/"]]);
    let (_, to, connect) = bench.datagrams().remove(0);
    bench.connected(to, &connect, 5);
    let (_, _, announce) = bench.datagrams().remove(0);
    bench.announced(to, &announce, 0, b"");
    bench.wait(59);
    bench.start(OTHER, &[&["udp://8.8.8.8:1/"]]);
    let (_, _, other) = bench.datagrams().remove(0);
    assert_eq!(other[..8], [0, 0, 0, 0, 0, 0, 0, 5]);
    assert_ne!(other[36..56], announce[36..56], "another peer id in another channel");
    assert_ne!(other[88..92], announce[88..92], "another key in another channel");
    bench.announced(to, &other, 0, b"");
    bench.wait(1);
    bench.start(ChannelId([3; 32]), &[&["udp://8.8.8.8:1/"]]);
    bench.wait(1);
    assert_eq!(bench.datagrams().remove(0).2.len(), 16, "another connect request");
}

#[test]
fn a_datagram_counts_only_with_the_right_transaction_and_source() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["udp://8.8.8.8:1/"]]);
    let (_, to, connect) = bench.datagrams().remove(0);
    let tid = &connect[12..16];
    let wrong_tid = [tid[0] ^ 1, tid[1], tid[2], tid[3]];
    bench.datagram("8.8.8.8:2".parse().unwrap(), &[&[0; 4], tid, &[5; 8]]);
    bench.datagram("8.8.4.4:1".parse().unwrap(), &[&[0; 4], tid, &[5; 8]]);
    bench.datagram(to, &[&[0; 4], &wrong_tid, &[5; 8]]);
    bench.datagram(to, &[&[0, 0, 0, 1], tid, &[5; 18]]);
    bench.datagram(to, &[&[0; 4], tid, &[5; 7]]);
    bench.datagram(to, &[&[0, 0, 0, 9], tid, &[5; 8]]);
    bench.datagram(to, &[b""]);
    assert!(bench.take().is_empty());
    assert_eq!(bench.machine.dropped(), 7);
    bench.datagram("[::ffff:8.8.8.8]:1".parse().unwrap(), &[&[0; 4], tid, &[5; 8]]);
    let (_, _, announce) = bench.datagrams().remove(0);
    bench.datagram(to, &[&[0; 4], tid, &[5; 8]]);
    assert!(bench.take().is_empty(), "a replayed answer is nobody's");
    bench.announced("8.8.8.8:2".parse().unwrap(), &announce, 1, &[9, 9, 9, 9, 0, 80]);
    assert_eq!(bench.peers(), [""; 0]);
}

#[test]
fn a_late_answer_is_nobodys() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["udp://8.8.8.8:1/"]]);
    let (_, to, connect) = bench.datagrams().remove(0);
    bench.wait(22);
    bench.connected(to, &connect, 5);
    assert!(bench.take().is_empty());
}

#[test]
fn a_udp_tracker_may_refuse_in_words_or_in_eight_bytes() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["udp://8.8.8.8:1/"]]);
    let (_, to, connect) = bench.datagrams().remove(0);
    bench.datagram(to, &[&[0, 0, 0, 3], &connect[12..16], b"go\x1b away"]);
    assert_eq!(bench.error(), "go\u{fffd} away");
    bench.wait(17);
    let (_, _, connect) = bench.datagrams().remove(0);
    bench.connected(to, &connect, 5);
    let (_, _, announce) = bench.datagrams().remove(0);
    bench.datagram(to, &[&[0, 0, 0, 1], &announce[12..16]]);
    assert_eq!(bench.error(), "the tracker's answer is too short");
    assert_eq!(bench.status().failures, 2);
}

#[test]
fn peers_beyond_the_trackers_scope_are_dropped() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"], &["http://127.0.0.1/announce"]]);
    let list = b"d5:peers24:\x7f\x00\x00\x01\x00\x50\x08\x08\x08\x08\x00\x00\
                 \xc0\xa8\x00\x01\x00\x50\x08\x08\x04\x04\x00\x50e";
    for (_, request) in bench.requests() {
        bench.reply(&request, list);
        let loopback = request.address.ip().is_loopback();
        let expected: &[&str] = if loopback {
            &["127.0.0.1:80", "192.168.0.1:80", "8.8.4.4:80"]
        } else {
            &["8.8.4.4:80"]
        };
        assert_eq!(bench.peers(), expected);
    }
    assert_eq!(bench.machine.dropped(), 3 + 1);
}

#[test]
fn our_own_address_is_learnt_as_a_hint() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let request = bench.request();
    bench.reply(&request, b"d11:external ip4:\x09\x09\x09\x09e");
    let event = Event::ExternalAddress {
        ip: "9.9.9.9".parse().unwrap(),
        told_by: "8.8.8.8".parse().unwrap(),
    };
    assert_eq!(bench.take(), [(0, Output::Event(event))]);
}

#[test]
fn a_redirect_is_followed_as_it_stands_and_not_for_ever() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let mut request = bench.request();
    for at in 0..5 {
        bench.respond(&request, 302, Some(&format!("http://9.9.9.9:8080/r{at}?x=y")), b"");
        request = bench.request();
        assert_eq!(request.address, "9.9.9.9:8080".parse().unwrap());
        assert!(text(&request).starts_with(&format!("GET /r{at}?x=y HTTP/1.1\r\n")));
    }
    bench.respond(&request, 302, Some("/r6"), b"");
    assert_eq!(bench.error(), "it redirects without end");
    assert!(bench.take().is_empty());
}

#[track_caller]
fn check_redirect_refused(from: &str, location: &str, words: &str) {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&[from]]);
    let request = bench.request();
    bench.respond(&request, 307, Some(location), b"");
    assert!(bench.requests().is_empty(), "{location}");
    assert!(bench.error().contains(words), "{location}: {}", bench.error());
}

#[test]
fn a_redirect_cannot_reach_into_our_network_or_other_services() {
    let from = "https://8.8.8.8/announce";
    check_redirect_refused(from, "https://127.0.0.1/announce", "nearer");
    check_redirect_refused(from, "https://10.0.0.1/announce", "nearer");
    check_redirect_refused(from, "https://169.254.169.254/announce", "nearer");
    check_redirect_refused(from, "https://[::ffff:127.0.0.1]/announce", "nearer");
    check_redirect_refused(from, "http://9.9.9.9/", "protocol");
    check_redirect_refused(from, "udp://9.9.9.9:1/", "protocol");
    check_redirect_refused(from, "file:///etc/passwd", "nowhere");
    check_redirect_refused(from, "https://9.9.9.9:25/", "port");
    check_redirect_refused(from, "https://u:p@9.9.9.9/", "user name");
    check_redirect_refused("http://127.0.0.1/announce", "/shutdown", "/announce");
}

#[test]
fn in_our_own_network_only_an_announce_is_asked_for() {
    for host in ["127.0.0.1", "192.168.0.1", "[::1]"] {
        let mut bench = Bench::new();
        for path in ["shutdown", "announce/../shutdown", "announce/%2e%2e/x", "announce\\..\\x"] {
            bench.start(CHANNEL, &[&[&format!("http://{host}/{path}")]]);
            assert!(bench.requests().is_empty(), "{host} {path}");
            bench.stop();
        }
        bench.start(OTHER, &[&[&format!("http://{host}/announce.php")]]);
        bench.wait(1);
        assert_eq!(bench.requests().len(), 1, "{host}");
    }
}

#[test]
fn a_redirect_by_name_is_checked_after_the_name_is_resolved() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let request = bench.request();
    bench.respond(&request, 302, Some("http://evil.test/announce"), b"");
    bench.resolve("evil.test", &["127.0.0.1"]);
    assert!(bench.requests().is_empty());
    assert!(bench.error().contains("nearer"));
}

#[test]
fn https_asks_for_a_certificate_of_the_host() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["https://t.test/announce"]]);
    bench.resolve("t.test", &[V4]);
    let request = bench.request();
    assert_eq!(request.tls.as_deref(), Some("t.test"));
    assert_eq!(request.address, "8.8.8.8:443".parse().unwrap());
}

#[test]
fn a_name_without_addresses_fails_and_one_without_a_version_is_left_alone() {
    let mut bench = Bench::new();
    bench.start(CHANNEL, &[&["http://t.test/announce"]]);
    let none = Err("no such name".to_owned());
    bench.input(Input::NamesResolved { host: "t.test".to_owned(), result: none });
    assert_eq!(bench.error(), "no such name");
    bench.wait(17);
    bench.resolve("t.test", &[V4]);
    bench.request();
    let v6 = bench.machine.statuses().into_iter().find(|it| it.family == Family::V6).unwrap();
    assert_eq!(v6.last_error.as_deref(), Some("it has no IPv6 address"));
    assert_eq!(v6.failures, 1, "not one more");
}

#[test]
fn a_tracker_without_an_address_of_a_version_is_absent_there_and_not_failing() {
    let mut bench = Bench::new();
    let states = |bench: &Bench| -> Vec<_> {
        bench.machine.statuses().into_iter().map(|it| it.state).collect()
    };
    bench.start(CHANNEL, &[&["http://t.test/announce"]]);
    assert_eq!(states(&bench), [TrackerState::Asked; 2]);
    bench.resolve("t.test", &[V4]);
    assert_eq!(states(&bench), [TrackerState::Asked, TrackerState::Absent]);
    let request = bench.request();
    bench.respond(&request, 500, None, b"");
    assert_eq!(states(&bench), [TrackerState::Fails, TrackerState::Absent]);
}

#[test]
fn a_name_is_asked_once_for_all_who_wait_and_given_up_in_the_end() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://t.test/announce"]]);
    bench.start(OTHER, &[&["udp://t.test:1/"]]);
    bench.wait(1);
    assert_eq!(bench.take().len(), 1);
    bench.wait(15);
    assert_eq!(bench.error(), "its name was not resolved in time");
    assert_eq!(bench.machine.under_way, 0);
}

#[test]
fn after_a_failure_another_address_of_the_name_is_tried() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://t.test/announce"]]);
    bench.resolve("t.test", &["8.8.8.8", "9.9.9.9"]);
    let request = bench.request();
    bench.respond(&request, 500, None, b"");
    bench.wait(17);
    bench.resolve("t.test", &["8.8.8.8", "9.9.9.9"]);
    assert_ne!(bench.request().address, request.address);
}

#[test]
fn a_driver_that_never_answers_does_not_stop_the_announces() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let request = bench.request();
    bench.wait(35 + 17);
    let out = bench.take();
    assert_eq!(out[0], (35, Output::HttpCancel { id: request.id }));
    assert!(matches!(out[1], (52, Output::HttpRequest(_))));
}

#[test]
fn an_hour_alone_costs_a_tracker_thirteen_announces() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let mut announces = 0;
    for _ in 0..=3600 {
        for (_, request) in bench.requests() {
            announces += 1;
            bench.reply(&request, b"d8:intervali1e12:min intervali1ee");
        }
        bench.wait(1);
    }
    assert_eq!(announces, 13);
}

#[test]
fn starting_again_changes_the_port_and_only_other_trackers_begin_anew() {
    let mut bench = Bench::only_v4();
    let urls: &[&[&str]] = &[&["http://8.8.8.8/announce", "http://9.9.9.9/announce"]];
    bench.start(CHANNEL, urls);
    let request = bench.request();
    bench.reply(&request, b"de");
    bench.start(CHANNEL, urls);
    assert!(bench.take().is_empty());
    bench.start_at(8, CHANNEL, urls);
    assert!(bench.take().is_empty());
    bench.start_at(8, CHANNEL, &[&["http://9.9.9.9/announce"]]);
    bench.wait(1);
    let out = bench.requests();
    assert!(text(&out[0].1).contains("port=8&") && text(&out[0].1).contains("event=stopped"));
    assert!(text(&out[1].1).contains("event=started"));
    assert_eq!(bench.machine.statuses().len(), 1);
}

#[test]
fn one_infohash_of_a_channel_can_be_left_alone() {
    let mut bench = Bench::only_v4();
    let tiers = vec![vec!["http://8.8.8.8/announce".parse().unwrap()]];
    for day in [1, 2] {
        let infohash = InfoHash([day; 20]);
        let tiers = tiers.clone();
        bench.input(Input::Start { channel: CHANNEL, infohash, tiers, port: 1 });
    }
    bench.wait(1);
    let requests = bench.requests();
    assert_eq!(requests.len(), 2);
    bench.input(Input::Stop { channel: CHANNEL, infohash: Some(InfoHash([1; 20])) });
    assert_eq!(bench.machine.statuses().len(), 1);
    assert_eq!(bench.machine.statuses()[0].infohash, InfoHash([2; 20]));
}

#[test]
fn many_channels_wait_their_turn() {
    let mut bench = Bench::only_v4();
    for channel in 0..200 {
        bench.start(ChannelId([channel; 32]), &[&["http://8.8.8.8/announce"]]);
    }
    let mut answered = 0;
    for _ in 0..10 {
        bench.wait(25);
        let requests = bench.requests();
        assert!(bench.machine.under_way <= ANNOUNCES_MAX);
        for (_, request) in requests {
            bench.reply(&request, b"de");
            answered += 1;
        }
    }
    assert_eq!(answered, 200);
}

#[test]
fn a_hostile_number_of_trackers_is_cut() {
    let mut bench = Bench::only_v4();
    let urls: Vec<String> = (0..200).map(|at| format!("http://8.8.8.8/{at}")).collect();
    let tiers: Vec<Vec<TrackerUrl>> = urls.iter().map(|it| vec![it.parse().unwrap()]).collect();
    bench.input(Input::Start { channel: CHANNEL, infohash: InfoHash([1; 20]), tiers, port: 1 });
    assert_eq!(bench.requests().len(), crate::limits::TRACKERS_PER_CHANNEL_MAX);
}

proptest::proptest! {
    #[test]
    fn whatever_trackers_answer_the_machine_goes_on(
        answers: Vec<(u8, Vec<u8>)>,
    ) {
        let mut bench = Bench::new();
        let tier: &[&str] = &["udp://t.test:1/", "http://t.test/announce", "https://8.8.8.8/x"];
        bench.start(CHANNEL, &[tier, &["udp://[2a00::1]:1/"]]);
        for (kind, bytes) in answers {
            for (_, output) in bench.take() {
                match output {
                    Output::Resolve { host } if kind & 1 == 0 => bench.resolve(&host, &[V4, V6]),
                    Output::HttpRequest(request) => {
                        let status = if kind & 2 == 0 { 200 } else { 302 };
                        let location = String::from_utf8_lossy(&bytes).into_owned();
                        bench.respond(&request, status, Some(&location), &bytes);
                    }
                    Output::SendUdp { to, bytes: sent } => {
                        let tid = &sent[12..16];
                        bench.datagram(to, &[&[0, 0, 0, kind & 3], tid, &bytes]);
                    }
                    Output::Resolve { .. } | Output::HttpCancel { .. } | Output::Event(_) => {}
                }
            }
            bench.wait(u64::from(kind));
        }
        bench.stop();
        bench.wait(5);
        assert!(bench.machine.is_idle());
        assert_eq!(bench.machine.under_way, 0);
        assert!(bench.machine.transactions.is_empty());
        assert!(bench.machine.requests.is_empty());
        assert!(bench.machine.names.is_empty());
    }
}

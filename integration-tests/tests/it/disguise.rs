//! What trackers receive from a whole node, held against what they received from the client that it
//! looks like: every byte but those that `Masks` names.
//!
//! Start, farewell and the repetition after a failure, over HTTP and UDP, IPv4 and IPv6. Periodic
//! announces come five minutes later: they are held against the captures, and all times with them,
//! by the protocol's own tests, in virtual time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::ops::Range;
use std::time::{Duration, Instant};

use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::recording_tracker::{Manner, RecordingTracker};
use serde_json::{Value, json};

use crate::scene::{PROGRAM, SOON};

const STARTED_WITHIN: Duration = Duration::from_secs(15);
/// The clients come again after some twenty seconds.
const AGAIN_WITHIN: Duration = Duration::from_secs(45);
const ENDED_WITHIN: Duration = Duration::from_secs(10);

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Bytes of a peer id that name client and version (BEP 20): not masked.
const PEER_ID_PREFIX: usize = 8;

/// What a tracker was sent by a client: the capture's excerpt that the protocol's tests have, too.
struct Captured(Value);

impl Captured {
    /// The request or datagram of `magnet` on an occasion, over the IP version of `ip`; `None` where
    /// the client does not use that version.
    fn said(&self, magnet: &str, ip: IpAddr, occasion: &str) -> Option<Vec<u8>> {
        let family = if ip.is_ipv4() { 4 } else { 6 };
        let all = self.0[magnet]["announces"].as_array().expect("a list");
        let one = all.iter().find(|it| it["family"] == family && it["occasion"] == occasion)?;
        Some(match one["text"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => data_of_hex(one["hex"].as_str().expect("text or hex")),
        })
    }
}

fn data_of_hex(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// What is not compared: what another channel, port, host or draw makes different. How an infohash
/// is escaped, the digits of keys and the letters of peer ids are held against the captures by the
/// protocol's tests, which give our side the captured ones.
struct Masks;

impl Masks {
    /// The values of `info_hash`, `port`, `key` and `ipv6` (our own address), the tail of `peer_id`,
    /// and the tracker's host.
    fn http(request: &[u8]) -> String {
        let mut request = String::from_utf8(request.to_vec()).expect("requests are ASCII");
        for (name, kept) in [("info_hash", 0), ("peer_id", PEER_ID_PREFIX), ("port", 0), ("key", 0)]
        {
            let value = Self::value(&request, name).expect("in every announce");
            request.replace_range(value.start + kept..value.end, "*");
        }
        // Said only where the machine has an address of the internet.
        if let Some(value) = Self::value(&request, "ipv6") {
            request.replace_range(value.start - "&ipv6=".len()..value.end, "");
        }
        let host = request.find("Host: ").expect("in every request") + "Host: ".len();
        let end = host + request[host..].find('\r').expect("a line ends");
        request.replace_range(host..end, "*");
        request
    }

    fn value(request: &str, name: &str) -> Option<Range<usize>> {
        let start = [format!("?{name}="), format!("&{name}=")]
            .iter()
            .find_map(|mark| request.find(mark.as_str()).map(|at| at + mark.len()))?;
        Some(start..start + request[start..].find(['&', ' '])?)
    }

    /// Transaction; of an announce also connection, infohash, peer id's tail, key and port.
    fn udp(datagram: &[u8]) -> Vec<u8> {
        let mut masked = datagram.to_vec();
        masked[12..16].fill(b'*');
        if datagram.len() > 16 {
            for field in [0..8, 16..36, 36 + PEER_ID_PREFIX..56, 88..92, 96..98] {
                masked[field].fill(b'*');
            }
        }
        masked
    }
}

/// A node that wears a client, in a channel of its own at each tracker.
struct Wearer {
    chat: Chat,
    _home: Home,
}

impl Wearer {
    fn start(client: &str, trackers: &[&RecordingTracker]) -> Self {
        let mut home = Home::new(PROGRAM);
        home.set("trackers.client_profile", client);
        home.set("trackers.default", "");
        home.set("network.listen_port", &free_port().to_string());
        let file = |at: usize| {
            let file = home.path().join(format!("{at}.chat"));
            file.to_str().expect("UTF-8").to_owned()
        };
        let files: Vec<String> = (0..trackers.len()).map(file).collect();
        for (at, tracker) in trackers.iter().enumerate() {
            let name = format!("channel-{at}");
            let arguments =
                ["channel", "new", &name, "--fixed", "--tracker", tracker.url(), "-o", &files[at]];
            let _ = home.must_run(&arguments);
        }
        let chat = home.chat(&files.iter().map(String::as_str).collect::<Vec<_>>());
        Self { chat, _home: home }
    }

    /// Waits until a tracker has heard `count` requests or datagrams.
    fn wait_for(&mut self, tracker: &RecordingTracker, count: usize, within: Duration) {
        let began = Instant::now();
        while tracker.heard().len() < count {
            let (heard, story) = (tracker.heard().len(), || self.chat.story());
            assert!(began.elapsed() < within, "{heard} of {count} heard; {}", story());
            self.chat.listen(Duration::from_millis(50));
        }
    }

    fn leave(mut self) {
        self.chat.ask("quit", json!({}), SOON);
        assert_eq!(self.chat.exit_code(ENDED_WITHIN), Some(0));
    }
}

/// Two clients with the same first port would be in each other's way.
fn free_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    socket.local_addr().expect("bound").port()
}

/// Starts and ends a node at a tracker for each way the client has been captured over.
fn a_node_that_wears(client: &str, excerpt: &str) {
    let captured = Captured(serde_json::from_str(excerpt).expect("JSON"));
    let is_used = |magnet: &str, ip| captured.said(magnet, ip, "started").is_some();
    let over = |magnet: &str, start: fn(IpAddr, Manner) -> Option<RecordingTracker>| {
        let ips = [V4, V6].into_iter().filter(|ip| is_used(magnet, *ip));
        // A machine without IPv6 has no ::1.
        ips.filter_map(|ip| Some((ip, start(ip, Manner::Answers)?))).collect::<Vec<_>>()
    };
    let http = over("http_a", RecordingTracker::http);
    let udp = over("udp", RecordingTracker::udp);
    assert!(!http.is_empty() || !udp.is_empty(), "{client} was not compared at all");
    let breaks = RecordingTracker::http(http.first().map_or(V4, |it| it.0), Manner::Breaks);
    let breaks = breaks.expect("a free port on loopback");

    let trackers = http.iter().chain(&udp).map(|(_, tracker)| tracker).chain([&breaks]);
    let mut node = Wearer::start(client, &trackers.collect::<Vec<_>>());
    for (_, tracker) in &http {
        node.wait_for(tracker, 1, STARTED_WITHIN);
    }
    for (_, tracker) in &udp {
        node.wait_for(tracker, 2, STARTED_WITHIN);
    }
    node.wait_for(&breaks, 2, AGAIN_WITHIN);
    node.leave();

    let said = |magnet, ip, occasion| captured.said(magnet, ip, occasion).expect("was captured");
    for (ip, tracker) in &http {
        let expected = ["started", "stopped"].map(|it| Masks::http(&said("http_a", *ip, it)));
        let heard: Vec<String> = tracker.heard().iter().map(|it| Masks::http(it)).collect();
        assert_eq!(heard, expected, "{client} over HTTP, {ip}");
    }
    for (ip, tracker) in &udp {
        let expected =
            ["connect", "started", "stopped"].map(|it| Masks::udp(&said("udp", *ip, it)));
        let heard: Vec<Vec<u8>> = tracker.heard().iter().map(|it| Masks::udp(it)).collect();
        assert_eq!(heard, expected, "{client} over UDP, {ip}");
    }
    let failed = breaks.heard();
    assert_eq!(failed[0], failed[1], "{client}: after a failure the same is said again");
}

#[test]
fn trackers_hear_from_a_node_what_they_heard_from_the_client_it_wears() {
    macro_rules! excerpt {
        ($client:literal) => {
            (
                $client,
                include_str!(concat!("../../../protocol/src/tracker/testdata/", $client, ".json")),
            )
        };
    }
    // Most of the time they wait for the client's own pause after a failure: side by side.
    std::thread::scope(|scope| {
        for (client, excerpt) in [
            excerpt!("qbittorrent-5.1.0"),
            excerpt!("qbittorrent-4.5.2"),
            excerpt!("libtorrent-2.0.11"),
            excerpt!("libtorrent-2.0.8"),
            excerpt!("transmission-4.1.0-beta2"),
            excerpt!("transmission-3.00"),
        ] {
            scope.spawn(move || a_node_that_wears(client, excerpt));
        }
    });
}

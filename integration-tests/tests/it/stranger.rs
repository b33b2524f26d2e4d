//! Whoever has not the channel's key gets nothing back, whatever they send to a node's port.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use bitchat_integration_tests::node::Chat;
use serde_json::json;

use crate::scene::{MESH_WITHIN, SOON, Scene, must_have_links, must_talk};

/// What the stranger sends in all.
const DATAGRAMS: usize = 2000;

/// How long it then waits for a word.
const SILENCE: Duration = Duration::from_millis(500);

/// Numbers that look random and are the same in each run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// The `nth` thing to try; `recorded` is a member's first packet, made for another address.
fn datagram(nth: usize, recorded: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let random_len = 1 + numbers.below(1400);
    let mut bytes = numbers.bytes(random_len);
    match nth % 10 {
        // Anything at all, down to one byte.
        0 => {}
        1 => bytes.truncate(1 + numbers.below(30)),
        // A short header; a long header of QUIC 1, and one of a version that nobody knows.
        2 => bytes[0] = 0x40 | (bytes[0] & 0x3f),
        3 | 4 => {
            bytes = numbers.bytes(1200);
            bytes[0] = 0xc0 | (bytes[0] & 0x0f);
            let version: u32 = if nth % 10 == 3 { 1 } else { 0x1a2a_3a4a };
            bytes[1..5].copy_from_slice(&version.to_be_bytes());
            bytes[5] = 20;
        }
        // DHT, and answers of trackers that nobody asked.
        5 => bytes = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe".to_vec(),
        6 => {
            bytes = numbers.bytes(20);
            bytes[..4].copy_from_slice(&u32::try_from(nth % 4).expect("small").to_be_bytes());
        }
        // A member's first packet: as it is, cut, with one bit flipped, with another id.
        7 => bytes = recorded.to_vec(),
        8 => {
            bytes = recorded.to_vec();
            bytes.truncate(1 + numbers.below(recorded.len()));
        }
        _ => {
            bytes = recorded.to_vec();
            let at = if nth.is_multiple_of(2) {
                6 + numbers.below(8)
            } else {
                numbers.below(bytes.len())
            };
            bytes[at] ^= 1 << numbers.below(8);
        }
    }
    bytes
}

/// Tells the tracker of a member at `port`, as anybody who has the infohash can.
fn announce(scene: &Scene, port: u16) {
    let hash: String = (0..scene.infohash.len())
        .step_by(2)
        .map(|at| format!("%{}", &scene.infohash[at..at + 2]))
        .collect();
    let url = scene.spot.http_url();
    let host = url.trim_start_matches("http://").trim_end_matches("/announce");
    let mut stream = TcpStream::connect(host).expect("the tracker listens");
    write!(
        stream,
        "GET /announce?info_hash={hash}&peer_id=-XX0000-abcdefghijkl&port={port}&uploaded=0\
         &downloaded=0&left=1&compact=1&event=started HTTP/1.0\r\n\r\n",
    )
    .expect("the tracker reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the tracker answers");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("interval"), "{answer}");
}

fn port_of(chat: &mut Chat) -> u16 {
    let peers = chat.ask("peers", json!({}), SOON);
    let address = peers["members"][0]["address"].as_str().expect("a link's address").to_owned();
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

#[test]
fn a_stranger_gets_nothing_back_and_disturbs_nobody() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    // Dialled by those who believe the tracker: so it gets first packets of members.
    let bait = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    announce(&scene, bait.local_addr().expect("bound").port());
    let mut chats = scene.chat_all();
    bait.set_read_timeout(Some(MESH_WITHIN)).expect("a time is set");
    let mut recorded = vec![0; 2048];
    let len = bait.recv(&mut recorded).expect("a member's first packet");
    recorded.truncate(len);
    assert!(len >= 1200, "a first packet fills a datagram: {len}");

    let port = port_of(&mut chats[1]);
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    stranger.connect(("127.0.0.1", port)).expect("an address");
    let mut numbers = Numbers(7);
    for nth in 0..DATAGRAMS {
        let datagram = datagram(nth, &recorded, &mut numbers);
        stranger.send(&datagram).expect("somebody listens there");
        if nth % 50 == 0 {
            // The node keeps up: what is sent is read and not lost in the kernel.
            chats[0].ask("peers", json!({}), SOON);
        }
    }
    stranger.set_read_timeout(Some(SILENCE)).expect("a time is set");
    let answer = stranger.recv(&mut [0; 2048]);
    let kind = answer.map_err(|error| error.kind());
    assert!(matches!(kind, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{kind:?}");
    for chat in &mut chats {
        must_have_links(chat, 1, SOON);
    }
    must_talk(&mut chats, 0, 1, "who was that?");
    must_talk(&mut chats, 1, 0, "nobody");
}

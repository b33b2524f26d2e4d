//! What our node answers to odd questions, beside what a real libtorrent node answers to the same
//! ones from the same socket.
//!
//! Masked are what differs from node to node: ids, tokens (not their length), which nodes are named,
//! and what others have stored there.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bitchat_integration_tests::mainline::Mainline;
use bitchat_protocol::bencode::{OwnedValue, decode};

use crate::dht::{Member, NODES};

const ASKER: &str = "2:id20:abcdefghij0123456789";
const TARGET: &str = "6:target20:mnopqrstuvwxyz123456";
const HASH: &str = "9:info_hash20:mnopqrstuvwxyz123456";

/// An address that nobody else asks from: both count how often they are asked.
const PROBE: &str = "127.0.0.2:0";

/// How long an answer may take; that there is none is seen sooner, from the answer to the next question.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

fn query(name: &str, arguments: &str) -> String {
    format!("d1:ad{ASKER}{arguments}e1:q{}:{name}1:t2:aa1:y1:qe", name.len())
}

/// As in the capture of a libtorrent 2.1.1 that the protocol's own test has, in its order.
fn questions() -> Vec<(&'static str, String)> {
    let ping = query("ping", "");
    let with_t = |t: &str| ping.replace("1:t2:aa", t);
    let with_id = |id: &str| ping.replace(ASKER, id);
    let announce = |rest: &str| query("announce_peer", &format!("{HASH}{rest}"));
    vec![
        ("a ping", ping.clone()),
        ("an empty t", with_t("1:t0:")),
        ("40 bytes of t", with_t(&format!("1:t40:{}", "x".repeat(40)))),
        ("an unknown query", query("unknown", "")),
        ("an unknown query with an infohash", query("unknown", HASH)),
        ("find_node", query("find_node", TARGET)),
        ("find_node, both IP versions", query("find_node", &format!("{TARGET}4:wantl2:n42:n6e"))),
        ("get_peers", query("get_peers", HASH)),
        ("a false token", announce("4:porti80e5:token4:abcd")),
        ("a false token and port 0", announce("4:porti0e5:token4:abcd")),
        ("no token", announce("4:porti80e")),
        ("an infohash of 19 bytes", query("get_peers", "9:info_hash19:mnopqrstuvwxyz12345")),
        ("an id of 19 bytes", with_id("2:id19:abcdefghij012345678")),
        ("no id", with_id("")),
        ("no t", with_t("")),
        ("sample_infohashes", query("sample_infohashes", TARGET)),
        ("get", query("get", TARGET)),
        ("get_peers with scrape", query("get_peers", &format!("{HASH}6:scrapei1e"))),
        ("a read-only asker", ping.replace("1:q4:ping", "1:q4:ping2:roi1e")),
        ("unsorted keys", format!("d1:y1:q1:t2:aa1:q4:ping1:ad{ASKER}ee")),
        ("trailing bytes", format!("{ping}junk")),
        ("y is x", ping.replace("1:y1:q", "1:y1:x")),
        ("60 kB of l", "l".repeat(60_000)),
    ]
}

/// The answer, or none: the answer to a ping that is sent after the question comes first.
fn ask(probe: &UdpSocket, to: SocketAddr, question: &str) -> Option<Vec<u8>> {
    let last = query("ping", "").replace("1:t2:aa", "1:t2:zz");
    for bytes in [question, &last] {
        probe.send_to(bytes.as_bytes(), to).expect("sent");
    }
    let mut answer = None;
    loop {
        let mut buffer = [0; 2048];
        let (length, from) = probe.recv_from(&mut buffer).unwrap_or_else(|error| {
            panic!("{to} does not answer the ping after {question:.99}: {error}")
        });
        let bytes = &buffer[..length];
        let transaction = decode(bytes).expect("bencode");
        let transaction = transaction.get(b"t").and_then(|it| it.as_bytes().map(<[u8]>::to_vec));
        // It also asks us, who ask it, whether we are there.
        if from != to || bytes.ends_with(b"1:y1:qe") {
            continue;
        }
        if transaction.as_deref() == Some(b"zz") {
            return answer;
        }
        answer = Some(bytes.to_vec());
    }
}

/// An answer without what differs from node to node, to be read.
fn masked(answer: &[u8]) -> String {
    fn mask(value: &mut OwnedValue) {
        let OwnedValue::Dict(entries) = value else { return };
        for (key, value) in entries {
            match (key.as_slice(), &mut *value) {
                (b"id" | b"token", OwnedValue::Bytes(bytes)) => bytes.fill(b'*'),
                (b"nodes", OwnedValue::Bytes(bytes)) => {
                    assert!(!bytes.is_empty() && bytes.len() % 26 == 0, "{}", bytes.len());
                    *bytes = b"nodes".to_vec();
                }
                (b"samples", OwnedValue::Bytes(bytes)) => bytes.clear(),
                (b"num", OwnedValue::Int(number)) => *number = 0,
                (_, value) => mask(value),
            }
        }
    }
    let read = decode(answer).expect("bencode");
    assert!(read.is_canonical(), "{}", answer.escape_ascii());
    let mut value = OwnedValue::from(&read);
    mask(&mut value);
    value.borrow().encode().escape_ascii().to_string()
}

#[test]
fn odd_questions_are_answered_as_libtorrent_answers_them() {
    let Some(mut dht) = Mainline::start(NODES) else { return };
    let mut member = Member::new(&dht.nodes()[0].to_string());
    // As the nodes of the DHT here, which have no socket for it.
    member.home.set("network.ipv6", "false");
    // The version that runs here.
    member.home.set("trackers.client_profile", "qbittorrent-5.1.0");
    let (file, infohash) = member.make_channel("team", &[]);
    let _chat = member.must_be_found(&file, &infohash, &mut dht);

    let probe = UdpSocket::bind(PROBE).expect("a socket");
    probe.set_read_timeout(Some(ANSWER_WITHIN)).expect("a timeout");
    let mut answered = 0;
    for (name, question) in questions() {
        let theirs = ask(&probe, dht.nodes()[1], &question).as_deref().map(masked);
        let ours = ask(&probe, member.address, &question).as_deref().map(masked);
        assert_eq!(ours, theirs, "{name}");
        answered += usize::from(theirs.is_some());
    }
    assert_eq!(answered, 20, "as in the capture: to all but the last three");
}

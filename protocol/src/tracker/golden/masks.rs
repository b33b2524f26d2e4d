//! What golden tests do not compare, and why: everything else must be equal byte for byte.
//!
//! | field | where | why it differs | what is checked instead |
//! |---|---|---|---|
//! | the tail of the peer id | HTTP, UDP | drawn at random for each torrent and session | its length; the captured ones fit our alphabet and check |
//! | the key | HTTP, UDP | drawn at random | in HTTP the digits' case; the captured ones fit our digits and scope |
//! | the transaction id | UDP | drawn at random for each datagram | that it is not zero |
//! | the connection id of an announce | UDP | the tracker chooses it | that it is the one that our tracker chose |
//!
//! Not masked: infohash, port, tracker's address, its own word and our IPv6 address. The tests give
//! our side the ones of the capture.

use std::ops::Range;

/// What stands in the place of a masked byte.
const MASK: u8 = b'*';

/// Bytes of a peer id that name client and version (BEP 20).
const PEER_ID_PREFIX: usize = 8;

const UDP_CONNECTION: Range<usize> = 0..8;
const UDP_TRANSACTION: Range<usize> = 12..16;
const UDP_PEER_ID_TAIL: Range<usize> = 36 + PEER_ID_PREFIX..56;
const UDP_KEY: Range<usize> = 88..92;

/// Masks a request.
pub(super) fn http(request: &str) -> String {
    let peer_id = value(request, "peer_id");
    let key = value(request, "key");
    let tail = request[peer_id.clone()].len() - PEER_ID_PREFIX;
    let mut masked = request.to_owned();
    // The key stands behind the peer id, so that the peer id stays where it is.
    masked.replace_range(key, "*");
    masked.replace_range(peer_id.start + PEER_ID_PREFIX..peer_id.end, &"*".repeat(tail));
    masked
}

/// Whether a key is written with letters of the other case than `captured`.
pub(super) fn key_case_differs(ours: &str, captured: &str) -> bool {
    let key = |text: &str| text[value(text, "key")].to_owned();
    let lower = |text: &str| text.contains(|it: char| it.is_ascii_lowercase());
    let upper = |text: &str| text.contains(|it: char| it.is_ascii_uppercase());
    let (ours, captured) = (key(ours), key(captured));
    (lower(&ours) && upper(&captured)) || (upper(&ours) && lower(&captured))
}

/// Masks a datagram: a connect request or an announce.
pub(super) fn udp(datagram: &[u8]) -> Vec<u8> {
    let mut masked = datagram.to_vec();
    assert_ne!(datagram[UDP_TRANSACTION], [0; 4]);
    masked[UDP_TRANSACTION].fill(MASK);
    if datagram.len() > 16 {
        masked[UDP_CONNECTION].fill(MASK);
        masked[UDP_PEER_ID_TAIL].fill(MASK);
        masked[UDP_KEY].fill(MASK);
    }
    masked
}

/// Where the value of a pair of the query stands.
fn value(request: &str, name: &str) -> Range<usize> {
    let start = request.find(&format!("&{name}=")).map(|at| at + name.len() + 2).unwrap();
    let len = request[start..].find(['&', ' ']).unwrap();
    start..start + len
}

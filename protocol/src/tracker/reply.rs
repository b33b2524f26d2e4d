//! What a tracker answers to an announce; for HTTP also its bencoded form (BEP 3, 7, 23, 24, 31).
//!
//! | key | type | meaning |
//! |---|---|---|
//! | `failure reason` | text | refused; then only the next two are read |
//! | `retry in` | minutes or `never` | when asking again makes sense (BEP 31) |
//! | `interval` | seconds | pause wished |
//! | `min interval` | seconds | pause demanded |
//! | `tracker id` | bytes | to be sent back |
//! | `warning message` | text | to be shown |
//! | `external ip` | 4 or 16 bytes | our address as seen by the tracker, a hint (BEP 24) |
//! | `peers` | 6n bytes, or a list of dictionaries with `ip` and `port` | IPv4 peers, or any |
//! | `peers6` | 18n bytes | IPv6 peers |
//!
//! A value of a wrong type or length counts as absent. Bytes after the dictionary are tolerated: one
//! tracker program ends its body with a line break.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::peers::PeerSieve;
use crate::bencode::{self, Value};
use crate::limits::{TRACKER_ID_BYTES_MAX, TRACKER_INTERVAL_MAX, TRACKER_MESSAGE_BYTES_MAX};
use crate::text::escape_for_terminal;

/// What a tracker says to an announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// We are in its list.
    Accepted(Accepted),
    /// We are not, or it will not tell.
    Refused(Refused),
}

/// The good answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// The pause that the tracker wishes, at most [`TRACKER_INTERVAL_MAX`]; zero for a negative one.
    pub interval: Option<Duration>,
    /// The pause that it demands, likewise.
    pub min_interval: Option<Duration>,
    /// Its own word, to be sent back in later announces.
    pub tracker_id: Option<Vec<u8>>,
    /// A warning to be shown; harmless to a terminal.
    pub warning: Option<String>,
    /// Our own address as the tracker sees it: a hint and no proof.
    pub external_ip: Option<IpAddr>,
    /// The addresses worth dialling.
    pub peers: Vec<SocketAddr>,
    /// How many others were dropped.
    pub peers_dropped: usize,
}

/// The bad answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why; harmless to a terminal.
    pub reason: String,
    /// The pause before asking again makes sense, if the tracker names one.
    pub retry_after: Option<Duration>,
}

/// Reads the body of an HTTP answer; addresses go through `sieve`.
///
/// # Errors
///
/// [`bencode::DecodeError`] if it is no bencoded dictionary.
pub fn decode(body: &[u8], mut sieve: PeerSieve) -> Result<Reply, bencode::DecodeError> {
    let (value, _trailing) = bencode::decode_prefix(body)?;
    if value.as_dict().is_none() {
        return Err(bencode::DecodeError::Malformed { at: 0 });
    }
    if let Some(reason) = bytes(&value, "failure reason") {
        let retry_after = retry_in(&value).or_else(|| seconds(&value, "interval"));
        return Ok(Reply::Refused(Refused { reason: plain_text(reason), retry_after }));
    }
    for key in ["peers", "peers6"] {
        match value.get(key.as_bytes()) {
            Some(Value::Bytes(list)) if key == "peers" => sieve.offer_compact_v4(list),
            Some(Value::Bytes(list)) => sieve.offer_compact_v6(list),
            Some(Value::List(peers)) => peers.iter().for_each(|peer| offer(&mut sieve, peer)),
            Some(Value::Int(_) | Value::Dict(_)) | None => {}
        }
    }
    let (peers, peers_dropped) = sieve.finish();
    Ok(Reply::Accepted(Accepted {
        interval: seconds(&value, "interval"),
        min_interval: seconds(&value, "min interval"),
        tracker_id: bytes(&value, "tracker id")
            .filter(|id| id.len() <= TRACKER_ID_BYTES_MAX)
            .map(<[u8]>::to_vec),
        warning: bytes(&value, "warning message").map(plain_text),
        external_ip: bytes(&value, "external ip").and_then(ip),
        peers,
        peers_dropped,
    }))
}

/// Makes a tracker's words fit to be shown on one line: harmless to a terminal, and not too long.
#[must_use]
pub fn plain_text(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(TRACKER_MESSAGE_BYTES_MAX)];
    let mut text = escape_for_terminal(&String::from_utf8_lossy(bytes)).into_owned();
    while text.len() > TRACKER_MESSAGE_BYTES_MAX {
        text.pop();
    }
    text
}

fn bytes<'a>(value: &Value<'a>, key: &str) -> Option<&'a [u8]> {
    value.get(key.as_bytes())?.as_bytes()
}

fn seconds(value: &Value<'_>, key: &str) -> Option<Duration> {
    let seconds = value.get(key.as_bytes())?.as_int()?;
    Some(bounded(u64::try_from(seconds).unwrap_or(0)))
}

/// A pause asked for by a tracker, within bounds.
pub(super) fn bounded(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(TRACKER_INTERVAL_MAX)
}

/// BEP 31: a number of minutes, as an integer or in text, or "never".
fn retry_in(value: &Value<'_>) -> Option<Duration> {
    let minutes = match value.get(b"retry in")? {
        Value::Int(minutes) => u64::try_from(*minutes).unwrap_or(0),
        Value::Bytes(b"never") => return Some(TRACKER_INTERVAL_MAX),
        Value::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        Value::List(_) | Value::Dict(_) => return None,
    };
    Some(bounded(minutes.saturating_mul(60)))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(v6).to_canonical())
}

/// Takes a peer in dictionary form. A name in place of an address is not looked up: a tracker must
/// not make us ask the DNS whatever it likes.
fn offer(sieve: &mut PeerSieve, peer: &Value<'_>) {
    let ip = peer.get(b"ip").and_then(Value::as_str).and_then(|ip| ip.parse::<IpAddr>().ok());
    let port = peer.get(b"port").and_then(Value::as_int).and_then(|port| u16::try_from(port).ok());
    // What cannot be read is counted as dropped like what must not be dialled.
    sieve.offer(ip.unwrap_or(IpAddr::from([0; 4])), port.unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(body: &[u8]) -> Reply {
        decode(body, PeerSieve::new("1.1.1.1".parse().unwrap())).unwrap()
    }

    #[track_caller]
    fn accepted(body: &[u8]) -> Accepted {
        match read(body) {
            Reply::Accepted(accepted) => accepted,
            Reply::Refused(refused) => panic!("{refused:?}"),
        }
    }

    #[track_caller]
    fn refused(body: &[u8]) -> Refused {
        match read(body) {
            Reply::Refused(refused) => refused,
            Reply::Accepted(accepted) => panic!("{accepted:?}"),
        }
    }

    #[test]
    fn every_key_is_understood() {
        let reply = accepted(
            b"d11:external ip4:\x08\x08\x04\x048:intervali120e12:min intervali60e5:peers6:\x08\x08\x08\x08\x00\x50\
              6:peers618:\x2a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x5010:tracker id6:abc/+z15:warning message2:hie\r\n",
        );
        assert_eq!(
            reply,
            Accepted {
                interval: Some(Duration::from_secs(120)),
                min_interval: Some(Duration::from_secs(60)),
                tracker_id: Some(b"abc/+z".to_vec()),
                warning: Some("hi".to_owned()),
                external_ip: Some("8.8.4.4".parse().unwrap()),
                peers: vec!["8.8.8.8:80".parse().unwrap(), "[2a00::1]:80".parse().unwrap()],
                peers_dropped: 0,
            }
        );
    }

    #[test]
    fn peers_in_dictionary_form_are_understood_but_names_are_not_looked_up() {
        let reply = accepted(
            b"d5:peersld2:ip7:8.8.8.84:porti80eed2:ip7:2a00::14:porti80eed2:ip4:name4:porti80ee\
              d2:ip7:8.8.8.84:porti-1eed2:ip7:8.8.8.84:porti65536eei7eee",
        );
        assert_eq!(reply.peers, ["8.8.8.8:80".parse().unwrap(), "[2a00::1]:80".parse().unwrap()]);
        assert_eq!(reply.peers_dropped, 4);
    }

    #[test]
    fn an_ipv6_list_under_the_wrong_key_does_not_poison_the_rest() {
        let reply = accepted(b"d5:peersi5e6:peers6d1:ai1eee");
        assert_eq!(reply, Accepted::default());
    }

    #[test]
    fn odd_intervals_are_brought_within_bounds() {
        for (text, expected) in [
            ("i0e", Some(0)),
            ("i-5e", Some(0)),
            ("i9223372036854775807e", Some(TRACKER_INTERVAL_MAX.as_secs())),
            ("3:abc", None),
            ("le", None),
        ] {
            let reply = accepted(format!("d8:interval{text}e").as_bytes());
            assert_eq!(reply.interval, expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_why_and_when_to_come_back() {
        let retry = |body: &[u8]| refused(body).retry_after.map(|after| after.as_secs());
        assert_eq!(refused(b"d14:failure reason2:noe").reason, "no");
        assert_eq!(retry(b"d14:failure reason2:noe"), None);
        assert_eq!(retry(b"d14:failure reason2:no8:intervali900ee"), Some(900));
        assert_eq!(retry(b"d14:failure reason2:no8:retry ini10ee"), Some(600));
        assert_eq!(retry(b"d14:failure reason2:no8:retry in2:10e"), Some(600));
        assert_eq!(retry(b"d14:failure reason2:no8:retry in5:nevere"), Some(86400));
        assert_eq!(retry(b"d14:failure reason2:no8:retry ini9223372036854775807ee"), Some(86400));
    }

    #[test]
    fn a_trackers_words_cannot_command_the_terminal() {
        assert_eq!(plain_text(b"a\x1b[31mb\r\nc"), "a\u{fffd}[31mb\u{23ce}c");
        assert_eq!(plain_text("a\u{202e}b\u{200b}c".as_bytes()), "abc");
        assert_eq!(plain_text(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        let long = plain_text("\u{e9}".repeat(40_000).as_bytes());
        assert_eq!(long.len(), TRACKER_MESSAGE_BYTES_MAX);
    }

    #[test]
    fn an_overlong_tracker_id_is_ignored() {
        let body = format!("d10:tracker id1000:{}e", "x".repeat(1000));
        assert_eq!(accepted(body.as_bytes()).tracker_id, None);
    }

    #[test]
    fn what_is_no_dictionary_is_an_error() {
        for body in [&b""[..], b"<html>", b"le", b"i5e", b"d", b"d5:peers6:abce"] {
            let sieve = PeerSieve::new("1.1.1.1".parse().unwrap());
            assert!(decode(body, sieve).is_err(), "{}", body.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let body = [b"d5:peers", &bytes[..]].concat();
            for body in [&bytes, &body] {
                let _ = decode(body, PeerSieve::new("1.1.1.1".parse().unwrap()));
            }
        }
    }
}

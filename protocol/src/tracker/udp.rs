//! Announcing in datagrams (BEP 15), with the path of the address behind the announce (BEP 41).
//!
//! All numbers are big-endian.
//!
//! ```text
//! connect    u64 0x41727101980 | u32 0 | u32 transaction                                    16 bytes
//! connected  u32 0 | u32 transaction | u64 connection                                       16 bytes
//! announce   u64 connection | u32 1 | u32 transaction | 20 infohash | 20 peer id
//!            | u64 downloaded | u64 left | u64 uploaded | u32 event | u32 ip 0 | u32 key
//!            | u32 numwant | u16 port | { u8 2 | u8 length | path and query }               98 bytes and options
//! announced  u32 1 | u32 transaction | u32 interval | u32 leechers | u32 seeders | peers    20 bytes and peers
//! refused    u32 3 | u32 transaction | message                                              8 bytes and message
//! ```
//!
//! Not here: which answers are believed (transaction *and* source must fit: the announcer's work).

use super::announce::{Announce, Occasion};
use super::disguise::ClientProfile;

/// BEP 15, "connect request": the protocol id.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_SCRAPE: u32 = 2;
const ACTION_ERROR: u32 = 3;
/// BEP 41: the option that carries the path and query of the tracker's address.
const OPTION_URL: u8 = 2;
/// What one option holds.
const OPTION_BYTES_MAX: usize = u8::MAX as usize;
/// Bytes of an announce without options.
const ANNOUNCE_BYTES: usize = 98;

/// Why a datagram is no answer of a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its kind of answer.
    #[error("the tracker's answer is too short")]
    TooShort,
    /// An action that is no answer to what we send.
    #[error("the tracker's answer has the unknown action {0}")]
    Action(u32),
}

/// An answer of a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// To a connect request.
    Connected {
        /// To be used in announces for a minute.
        connection: u64,
    },
    /// To an announce.
    Announced {
        /// Pause until the next, in seconds.
        interval: u32,
        /// A compact list; of IPv4 or IPv6 addresses, as the address of the tracker is.
        peers: &'a [u8],
    },
    /// To either.
    Refused {
        /// Why, in bytes of any kind.
        message: &'a [u8],
    },
}

/// Writes a connect request.
#[must_use]
pub fn encode_connect(transaction: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    bytes.extend_from_slice(&PROTOCOL_ID.to_be_bytes());
    bytes.extend_from_slice(&ACTION_CONNECT.to_be_bytes());
    bytes.extend_from_slice(&transaction.to_be_bytes());
    bytes
}

/// Writes an announce; `path_and_query` is that of the tracker's address.
#[must_use]
pub fn encode_announce(
    profile: &ClientProfile,
    announce: &Announce<'_>,
    path_and_query: &str,
    connection: u64,
    transaction: u32,
) -> Vec<u8> {
    let (event, numwant) = match announce.occasion {
        Occasion::Periodic => (0_u32, profile.numwant),
        Occasion::Started => (2, profile.numwant),
        Occasion::Stopped => (3, profile.numwant_stopped),
    };
    let mut bytes = Vec::with_capacity(ANNOUNCE_BYTES + 2 + path_and_query.len());
    bytes.extend_from_slice(&connection.to_be_bytes());
    bytes.extend_from_slice(&ACTION_ANNOUNCE.to_be_bytes());
    bytes.extend_from_slice(&transaction.to_be_bytes());
    bytes.extend_from_slice(&announce.infohash.0);
    bytes.extend_from_slice(&announce.persona.peer_id);
    for number in [0, profile.left, 0] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    for number in [event, 0, announce.persona.key, numwant] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&announce.port.to_be_bytes());
    if profile.udp_url_option {
        // BEP 41 would have the rest in further options; the clients that send one cut it.
        let part = &path_and_query.as_bytes()[..path_and_query.len().min(OPTION_BYTES_MAX)];
        bytes.extend([OPTION_URL, u8::try_from(part.len()).unwrap_or(u8::MAX)]);
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(&profile.udp_extra_bytes);
    bytes
}

/// Finds out whose answer a datagram would be: its transaction id. `None` if it cannot be an answer
/// of a tracker at all; a peer's packets never look like one.
#[must_use]
pub fn transaction(bytes: &[u8]) -> Option<u32> {
    let (action, rest) = take_u32(bytes)?;
    let (transaction, _) = take_u32(rest)?;
    let known = matches!(action, ACTION_CONNECT | ACTION_ANNOUNCE | ACTION_SCRAPE | ACTION_ERROR);
    known.then_some(transaction)
}

/// Reads an answer.
///
/// # Errors
///
/// [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Answer<'_>, DecodeError> {
    let (action, rest) = take_u32(bytes).ok_or(DecodeError::TooShort)?;
    let (_transaction, rest) = take_u32(rest).ok_or(DecodeError::TooShort)?;
    match action {
        ACTION_CONNECT => {
            let (connection, _) = rest.split_first_chunk().ok_or(DecodeError::TooShort)?;
            Ok(Answer::Connected { connection: u64::from_be_bytes(*connection) })
        }
        ACTION_ANNOUNCE => {
            let (interval, rest) = take_u32(rest).ok_or(DecodeError::TooShort)?;
            let (_leechers_and_seeders, peers) =
                rest.split_first_chunk::<8>().ok_or(DecodeError::TooShort)?;
            Ok(Answer::Announced { interval, peers })
        }
        ACTION_ERROR => Ok(Answer::Refused { message: rest }),
        other => Err(DecodeError::Action(other)),
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InfoHash;
    use crate::tracker::disguise::Persona;

    #[test]
    fn a_long_path_is_cut_as_libtorrent_cuts_it() {
        let announce = Announce {
            infohash: InfoHash([0; 20]),
            persona: Persona { peer_id: [0; 20], key: 0 },
            port: 1,
            occasion: Occasion::Started,
            tracker_id: b"",
            ipv6: None,
        };
        let path = format!("/{}", "a".repeat(299));
        let bytes = encode_announce(&ClientProfile::qbittorrent_5_1_0(), &announce, &path, 0, 0);
        assert_eq!(bytes.len(), ANNOUNCE_BYTES + 2 + 255);
        assert_eq!(bytes[ANNOUNCE_BYTES..][..3], [OPTION_URL, 255, b'/']);
    }

    #[test]
    fn extra_bytes_of_a_profile_follow_the_announce() {
        let mut profile = ClientProfile::named("transmission-3.00").unwrap();
        profile.udp_extra_bytes = vec![0, 0];
        let announce = Announce {
            infohash: InfoHash([0; 20]),
            persona: Persona { peer_id: [0; 20], key: 0 },
            port: 1,
            occasion: Occasion::Started,
            tracker_id: b"",
            ipv6: None,
        };
        let bytes = encode_announce(&profile, &announce, "/announce", 0, 0);
        assert_eq!(bytes[ANNOUNCE_BYTES - 2..], [0, 1, 0, 0]);
    }

    #[test]
    fn each_kind_of_answer_is_read() {
        let connected = [&[0; 4][..], &[1; 4], &[2; 8]].concat();
        assert_eq!(transaction(&connected), Some(0x0101_0101));
        let connection = 0x0202_0202_0202_0202;
        assert_eq!(decode(&connected), Ok(Answer::Connected { connection }));
        let announced = [&[0, 0, 0, 1][..], &[1; 4], &[0, 0, 0, 9], &[0; 8], &[8; 6]].concat();
        assert_eq!(decode(&announced), Ok(Answer::Announced { interval: 9, peers: &[8; 6] }));
        let refused = [&[0, 0, 0, 3][..], &[1; 4], b"no"].concat();
        assert_eq!(decode(&refused), Ok(Answer::Refused { message: b"no" }));
    }

    #[test]
    fn every_prefix_too_short_is_refused() {
        for (action, len) in [(0, 16), (1, 20), (3, 8)] {
            let mut bytes = vec![0; len];
            bytes[3] = action;
            assert!(decode(&bytes).is_ok());
            for end in 0..len {
                assert_eq!(decode(&bytes[..end]), Err(DecodeError::TooShort), "{action} {end}");
            }
        }
        assert_eq!(decode(&[0, 0, 0, 2, 0, 0, 0, 0]), Err(DecodeError::Action(2)));
        assert_eq!(transaction(&[0, 0, 0, 4, 0, 0, 0, 0]), None);
        assert_eq!(transaction(&[0, 0, 0, 1, 0, 0, 0]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let _ = transaction(&bytes);
        }
    }
}

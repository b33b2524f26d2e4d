//! The one message of local discovery: who is on this network with which torrents (BEP 14).
//!
//! ```text
//! BT-SEARCH * HTTP/1.1 CRLF
//! Host: <group>:6771 CRLF              239.192.152.143, or [ff15::efc0:988f]
//! Port: <port> CRLF                    decimal, 1 to 65535
//! Infohash: <40 hex digits> CRLF       once or several times
//! cookie: <text> CRLF                  may be missing; tells the sender its own messages
//! CRLF CRLF
//! ```
//!
//! The reader takes what some client sends: names in any case and order, LF for CRLF, one blank line
//! or none at the end, unknown lines. Not here: when and where it is sent ([`super::Lan`]).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::HEXLOWER_PERMISSIVE;

use super::habit::HexCase;
use crate::id::InfoHash;
use crate::limits::{LAN_DATAGRAM_BYTES_MAX, LAN_INFOHASHES_MAX};

/// The IPv4 multicast group (BEP 14).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);
/// The IPv6 multicast group (BEP 14): within one site.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);
/// The UDP port of both.
pub const GROUP_PORT: u16 = 6771;

/// Longest cookie that is looked at, in bytes; the longest known one has twelve.
const COOKIE_BYTES_MAX: usize = 64;

/// Which of the two groups a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// [`GROUP_V4`].
    V4,
    /// [`GROUP_V6`].
    V6,
}

impl Family {
    const fn host(self) -> &'static str {
        match self {
            Self::V4 => "239.192.152.143:6771",
            Self::V6 => "[ff15::efc0:988f]:6771",
        }
    }
}

/// Why bytes are no such message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More than [`LAN_DATAGRAM_BYTES_MAX`] bytes.
    #[error("{got} bytes, more than {LAN_DATAGRAM_BYTES_MAX}")]
    TooLong {
        /// Bytes there are.
        got: usize,
    },
    /// The first line is another one.
    #[error("not a BT-SEARCH")]
    NotASearch,
    /// A line is no `name: value` of ASCII.
    #[error("a malformed line")]
    Malformed,
    /// There is no port that somebody can listen on, or more than one.
    #[error("no valid port")]
    Port,
    /// There is no valid infohash.
    #[error("no valid infohash")]
    NoInfohash,
}

/// What somebody on the network says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search<'a> {
    /// The port at which it is reached; never 0.
    pub port: u16,
    /// What it has; at least one and at most [`LAN_INFOHASHES_MAX`].
    pub infohashes: Vec<InfoHash>,
    /// What it knows its own messages by.
    pub cookie: Option<&'a str>,
}

/// Writes a message.
#[must_use]
pub fn encode(
    family: Family,
    port: u16,
    infohashes: &[InfoHash],
    hex: HexCase,
    cookie: Option<&str>,
) -> Vec<u8> {
    let mut text = format!("BT-SEARCH * HTTP/1.1\r\nHost: {}\r\nPort: {port}\r\n", family.host());
    for infohash in infohashes {
        // Writing into a string cannot fail.
        let _ = write!(text, "Infohash: {}\r\n", hex.text(infohash));
    }
    if let Some(cookie) = cookie {
        let _ = write!(text, "cookie: {cookie}\r\n");
    }
    text.push_str("\r\n\r\n");
    text.into_bytes()
}

/// Bytes of a message with `infohashes` of them and the longest of everything else.
pub(super) const fn encoded_len_max(infohashes: usize) -> usize {
    const FIXED: usize = "BT-SEARCH * HTTP/1.1\r\nHost: [ff15::efc0:988f]:6771\r\nPort: 65535\r\n"
        .len()
        + "cookie: 123456789012\r\n\r\n\r\n".len();
    FIXED + infohashes * ("Infohash: \r\n".len() + 40)
}

/// Reads a message. Lines that make no sense to us are skipped, and so are infohashes of another
/// length, as a client of a later BEP may add some.
///
/// # Errors
///
/// See [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Search<'_>, DecodeError> {
    if bytes.len() > LAN_DATAGRAM_BYTES_MAX {
        return Err(DecodeError::TooLong { got: bytes.len() });
    }
    // Of the start line alone it is seen that this is something else altogether.
    let text = str::from_utf8(bytes).map_err(|_| DecodeError::NotASearch)?;
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    if !lines.next().is_some_and(is_search) {
        return Err(DecodeError::NotASearch);
    }
    let (mut port, mut cookie, mut infohashes) = (None, None, Vec::new());
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(DecodeError::Malformed)?;
        if !line.is_ascii() || name.is_empty() || name.contains(' ') {
            return Err(DecodeError::Malformed);
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("port") {
            if port.replace(read_port(value)?).is_some() {
                return Err(DecodeError::Port);
            }
        } else if name.eq_ignore_ascii_case("infohash") {
            infohashes
                .extend(read_infohash(value).filter(|_| infohashes.len() < LAN_INFOHASHES_MAX));
        } else if name.eq_ignore_ascii_case("cookie") {
            cookie = Some(value).filter(|value| value.len() <= COOKIE_BYTES_MAX);
        }
    }
    let port = port.ok_or(DecodeError::Port)?;
    if infohashes.is_empty() {
        return Err(DecodeError::NoInfohash);
    }
    Ok(Search { port, infohashes, cookie })
}

/// Whether this is the first line, of any version of HTTP/1.
fn is_search(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let method = words.next().is_some_and(|word| word.eq_ignore_ascii_case("bt-search"));
    let target = words.next() == Some("*");
    let version = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    method && target && version && words.next().is_none()
}

fn read_port(value: &str) -> Result<u16, DecodeError> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecodeError::Port);
    }
    value.parse().ok().filter(|port| *port != 0).ok_or(DecodeError::Port)
}

fn read_infohash(value: &str) -> Option<InfoHash> {
    let bytes = HEXLOWER_PERMISSIVE.decode(value.as_bytes()).ok()?;
    bytes.try_into().ok().map(InfoHash).filter(|infohash| infohash.0 != [0; 20])
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Captured of qBittorrent 5.1.0 with libtorrent 2.0.11.
    const QBITTORRENT_V4: &[u8] = b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\n\
        Port: 28000\r\nInfohash: 00202122232425262728292a2b2c2d2e2f5f7eff\r\n\
        cookie: 42c61661\r\n\r\n\r\n";
    const QBITTORRENT_V6: &[u8] = b"BT-SEARCH * HTTP/1.1\r\nHost: [ff15::efc0:988f]:6771\r\n\
        Port: 28000\r\nInfohash: 00202122232425262728292a2b2c2d2e2f5f7eff\r\n\
        cookie: 10838c86\r\n\r\n\r\n";
    /// Captured of Transmission 4.1.0-beta.2.
    const TRANSMISSION: &[u8] = b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\n\
        Port: 51413\r\nInfohash: 00202122232425262728292A2B2C2D2E2F5F7EFF\r\n\
        Infohash: 3041615B5C5D5E607B7C7D3A3B3C3D3E3F407F80\r\n\
        Infohash: 4ED7A86252FBEE1DDBDA19E80770BFF554E48120\r\n\
        Infohash: 6465666768696A6B6C6D6E6F7071727374757677\r\n\
        Infohash: 7374757677787980818283848586878889909192\r\n\
        Infohash: BF322C9601DA3025E85BD7013A1059C524B4A463\r\n\
        cookie: WhCUhnpOT6iv\r\n\r\n\r\n";
    const HASH: &str = "00202122232425262728292a2b2c2d2e2f5f7eff";

    fn infohash(hex: &str) -> InfoHash {
        InfoHash(HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap())
    }

    #[test]
    fn a_written_message_is_the_captured_one() {
        let hashes = [infohash(HASH)];
        let write = |family, cookie| encode(family, 28000, &hashes, HexCase::Lower, Some(cookie));
        assert_eq!(write(Family::V4, "42c61661"), QBITTORRENT_V4);
        assert_eq!(write(Family::V6, "10838c86"), QBITTORRENT_V6);
        let all = decode(TRANSMISSION).unwrap().infohashes;
        let written = encode(Family::V4, 51413, &all, HexCase::Upper, Some("WhCUhnpOT6iv"));
        assert_eq!(written, TRANSMISSION);
        assert!(written.len() <= encoded_len_max(6));
    }

    #[test]
    fn captured_messages_are_read() {
        let search = decode(QBITTORRENT_V6).unwrap();
        assert_eq!(search.port, 28000);
        assert_eq!(search.infohashes, [infohash(HASH)]);
        assert_eq!(search.cookie, Some("10838c86"));
        let search = decode(TRANSMISSION).unwrap();
        assert_eq!((search.port, search.infohashes.len()), (51413, 6));
        assert_eq!(search.infohashes[5], infohash("bf322c9601da3025e85bd7013a1059c524b4a463"));
    }

    #[test]
    fn every_prefix_is_refused_or_says_less() {
        for message in [QBITTORRENT_V4, TRANSMISSION] {
            let whole = decode(message).unwrap();
            for end in 0..message.len() {
                if let Ok(search) = decode(&message[..end]) {
                    assert_eq!(search.port, whole.port, "{end}");
                    assert!(whole.infohashes.starts_with(&search.infohashes), "{end}");
                }
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Result<(u16, usize, Option<&str>), DecodeError>) {
        let text = text.replace("HASH", HASH);
        let read = decode(text.as_bytes());
        let told = read.as_ref().map(|s| (s.port, s.infohashes.len(), s.cookie)).map_err(|e| *e);
        assert_eq!(told, expected, "{text:?}");
    }

    #[test]
    fn what_other_clients_may_send_is_read() {
        check("BT-SEARCH * HTTP/1.1\nport: 1\ninfohash: HASH\n", Ok((1, 1, None)));
        check("BT-SEARCH * HTTP/1.1\r\nInfohash:HASH\r\nPORT:65535\r\n\r\n", Ok((65535, 1, None)));
        check("bt-search * HTTP/1.0\nInfohash: HASH\nPort: 7\nX: y\n\nPort: 8\n", Ok((7, 1, None)));
        check(
            "BT-SEARCH * HTTP/1.1\nPort: 7\nCookie: a b \nInfohash: HASH",
            Ok((7, 1, Some("a b"))),
        );
        let odd = "BT-SEARCH * HTTP/1.1\nPort: 7\nInfohash: 00\nInfohash: HASH\nInfohash: HASHff\n";
        check(odd, Ok((7, 1, None)));
    }

    #[test]
    fn what_is_no_such_message_is_refused() {
        use DecodeError::{Malformed, NoInfohash, NotASearch, Port};
        check("", Err(NotASearch));
        check("GET * HTTP/1.1\nPort: 7\nInfohash: HASH\n", Err(NotASearch));
        check("M-SEARCH * HTTP/1.1\nPort: 7\nInfohash: HASH\n", Err(NotASearch));
        check("BT-SEARCH /x HTTP/1.1\nPort: 7\nInfohash: HASH\n", Err(NotASearch));
        check("BT-SEARCH * HTTP/2\nPort: 7\nInfohash: HASH\n", Err(NotASearch));
        check("BT-SEARCH * HTTP/1.1 x\nPort: 7\nInfohash: HASH\n", Err(NotASearch));
        check("BT-SEARCH * HTTP/1.1\nPort: 7\nInfohash HASH\n", Err(Malformed));
        check("BT-SEARCH * HTTP/1.1\nPort: 7\n Infohash: HASH\n", Err(Malformed));
        check("BT-SEARCH * HTTP/1.1\nPort: 7\nInfohash: \u{e9}\n", Err(Malformed));
        check("BT-SEARCH * HTTP/1.1\nPort: 7\n: HASH\n", Err(Malformed));
        check("BT-SEARCH * HTTP/1.1\nInfohash: HASH\n", Err(Port));
        for port in ["", "0", "65536", "-1", "+7", "7x", "0x7", "99999999999999999999"] {
            check(&format!("BT-SEARCH * HTTP/1.1\nPort: {port}\nInfohash: HASH\n"), Err(Port));
        }
        check("BT-SEARCH * HTTP/1.1\nPort: 7\nPort: 7\nInfohash: HASH\n", Err(Port));
        check("BT-SEARCH * HTTP/1.1\nPort: 7\n", Err(NoInfohash));
        let zeros = "0".repeat(40);
        check(&format!("BT-SEARCH * HTTP/1.1\nPort: 7\nInfohash: {zeros}\n"), Err(NoInfohash));
        let not_text = [b"BT-SEARCH * HTTP/1.1\nPort: 7\nX: \xff\nInfohash: ", HASH.as_bytes()];
        assert_eq!(decode(&not_text.concat()), Err(NotASearch));
    }

    #[test]
    fn nothing_is_longer_than_its_bound() {
        let got = LAN_DATAGRAM_BYTES_MAX + 1;
        assert_eq!(decode(&vec![b'a'; got]), Err(DecodeError::TooLong { got }));
        let mut many = "BT-SEARCH * HTTP/1.1\nPort: 7\n".to_owned();
        // Without the blank after the colon more of them fit into a datagram.
        while many.len() + 51 <= LAN_DATAGRAM_BYTES_MAX {
            many += &format!("Infohash:{HASH}\n");
        }
        assert!(decode(many.as_bytes()).unwrap().infohashes.len() <= LAN_INFOHASHES_MAX);
        let long =
            format!("BT-SEARCH * HTTP/1.1\nPort: 7\nInfohash: {HASH}\ncookie: {}", "a".repeat(65));
        assert_eq!(decode(long.as_bytes()).unwrap().cookie, None);
    }
}

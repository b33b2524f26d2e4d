//! With the feature `tls-openssl`, the greeting (ClientHello) of an HTTPS announce is the one that
//! libtorrent sends with the same OpenSSL.
//!
//! The captures in `client_hello/` are of Debian's packages: qBittorrent 4.5.2 and libtorrent 2.0.8
//! with OpenSSL 3.0, qBittorrent 5.1.0 and libtorrent 2.0.11 with OpenSSL 3.5; of each pair both
//! greetings are equal once masked. Masked with zeros, there and here, is what is drawn anew for each
//! connection: the random, the session id, and the keys in the key share.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::net::SocketAddr;
use std::time::Duration;

use bitchat_actors::http_fetch::Fetcher;
use bitchat_protocol::tracker::announcer::{HttpRequest, RequestId};
use openssl::hash::{MessageDigest, hash};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

/// The host in the captures.
const HOST: &str = "tracker.test";

const OPENSSL_3_0: &str = include_str!("client_hello/openssl-3.0.hex");
const OPENSSL_3_5: &str = include_str!("client_hello/openssl-3.5.hex");

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_GROUPS: u16 = 10;
const EXTENSION_POINT_FORMATS: u16 = 11;
const EXTENSION_ALPN: u16 = 16;
const EXTENSION_VERSIONS: u16 = 43;
const EXTENSION_KEY_SHARE: u16 = 51;

/// A greeting, taken apart (RFC 8446, section 4.1.2).
#[derive(Debug, PartialEq, Eq)]
struct ClientHello {
    version: u16,
    ciphers: Vec<u16>,
    /// In their order.
    extensions: Vec<(u16, Vec<u8>)>,
    /// All of it with zeros for what each connection draws anew.
    masked: Vec<u8>,
}

impl ClientHello {
    /// Takes a TLS record apart.
    fn parse(record: &[u8]) -> Self {
        let mut masked = record.to_vec();
        let mut rest = Reader { bytes: record, at: 0 };
        assert_eq!(rest.take(3), [22, 3, 1], "a handshake, said to be of TLS 1.0");
        assert_eq!(rest.number(2), record.len() - 5, "one record");
        assert_eq!(rest.number(1), 1, "a ClientHello");
        assert_eq!(rest.number(3), record.len() - 9, "it alone");
        let version = rest.number_16();
        masked[rest.skip(32)].fill(0);
        let session_id = rest.number(1);
        masked[rest.skip(session_id)].fill(0);
        let ciphers = numbers(rest.list(2));
        assert_eq!(rest.list(1), [0], "no compression");
        assert_eq!(rest.number(2), record.len() - rest.at);
        let mut extensions = Vec::new();
        while rest.at < record.len() {
            let number = rest.number_16();
            let len = rest.number(2);
            let mut content = Reader { bytes: record, at: rest.at };
            let range = rest.skip(len);
            if number == EXTENSION_KEY_SHARE {
                content.skip(2);
                while content.at < range.end {
                    content.skip(2);
                    let len = content.number(2);
                    masked[content.skip(len)].fill(0);
                }
            }
            extensions.push((number, masked[range].to_vec()));
        }
        Self { version, ciphers, extensions, masked }
    }

    fn extension(&self, number: u16) -> Option<&[u8]> {
        let found = self.extensions.iter().find(|(it, _)| *it == number);
        found.map(|(_, content)| &content[..])
    }

    /// What JA3 hashes: version, ciphers, extensions, groups and point formats, as decimal numbers
    /// and without the reserved ones.
    fn ja3(&self) -> String {
        let groups = self.extension(EXTENSION_GROUPS).unwrap_or(&[0, 0]);
        let formats = self.extension(EXTENSION_POINT_FORMATS).unwrap_or(&[0]);
        let formats: Vec<_> = formats[1..].iter().map(|&it| u16::from(it)).collect();
        let extensions: Vec<_> = self.extensions.iter().map(|(number, _)| *number).collect();
        let lists = [self.ciphers.clone(), extensions, numbers(&groups[2..]), formats];
        let lists = lists.iter().map(|list| {
            list.iter()
                .filter(|it| !is_grease(**it))
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join("-")
        });
        let parts: Vec<_> = std::iter::once(self.version.to_string()).chain(lists).collect();
        parts.join(",")
    }

    fn ja3_hash(&self) -> String {
        let hash = hash(MessageDigest::md5(), self.ja3().as_bytes()).unwrap();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reserved values that some clients sprinkle in (RFC 8701); OpenSSL does not.
const fn is_grease(number: u16) -> bool {
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks(2).map(|two| u16::from_be_bytes(two.try_into().unwrap())).collect()
}

/// Reads from a record; a panic where it ends too soon.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, len: usize) -> std::ops::Range<usize> {
        let from = self.at;
        self.at += len;
        from..self.at
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        &self.bytes[self.skip(len)]
    }

    fn number(&mut self, len: usize) -> usize {
        self.take(len).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    fn number_16(&mut self) -> u16 {
        self.number(2).try_into().unwrap()
    }

    /// A list behind its length, which has `len` bytes.
    fn list(&mut self, len: usize) -> &'a [u8] {
        let len = self.number(len);
        self.take(len)
    }
}

fn captured(hex: &str) -> ClientHello {
    let digits: Vec<_> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    ClientHello::parse(&digits.chunks(2).map(byte).collect::<Vec<_>>())
}

/// What a tracker at `host` gets to see first.
async fn greeting_to(host: &str) -> ClientHello {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listening = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut record = vec![0; 5];
        stream.read_exact(&mut record).await.unwrap();
        let len = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(5 + len, 0);
        stream.read_exact(&mut record[5..]).await.unwrap();
        record
    };
    let mut fetcher = Fetcher::new();
    let (record, fetched) = tokio::join!(listening, fetcher.fetch(announce(address, host)));
    assert!(fetched.result.is_err(), "nobody answered");
    ClientHello::parse(&record)
}

fn announce(address: SocketAddr, host: &str) -> HttpRequest {
    HttpRequest {
        id: RequestId(1),
        address,
        fallback: None,
        bytes: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        tls: Some(host.to_owned()),
        timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(10),
        keep_alive: None,
    }
}

/// The capture for the OpenSSL that is used here: version and the distribution's own settings count.
fn capture_for_this_system() -> Option<ClientHello> {
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let version = openssl::version::version();
    if !system.lines().any(|line| line == "ID=debian") {
        None
    } else if version.starts_with("OpenSSL 3.0.") {
        Some(captured(OPENSSL_3_0))
    } else if version.starts_with("OpenSSL 3.5.") {
        Some(captured(OPENSSL_3_5))
    } else {
        None
    }
}

// Computed from the captures apart from this program.
#[test]
fn the_captures_have_the_fingerprints_by_which_those_clients_are_known() {
    let old = captured(OPENSSL_3_0);
    assert_eq!(old.ja3_hash(), "a3afc2c46ba4a7d7fbe1cfb7a3031c2f");
    assert_eq!((old.ciphers.len(), old.masked.len()), (31, 318));
    let new = captured(OPENSSL_3_5);
    assert_eq!(new.ja3_hash(), "284deaeae14ea5ddc96c5d7e59855422");
    assert_eq!((new.ciphers.len(), new.masked.len()), (30, 1554));
}

#[actix::test]
#[expect(clippy::print_stderr, reason = "says what was not compared")]
async fn our_greeting_is_that_of_libtorrent_with_the_same_openssl() {
    let ours = greeting_to(HOST).await;
    let Some(captured) = capture_for_this_system() else {
        let version = openssl::version::version();
        eprintln!("skipped: no capture of {version} on this system; ours is {}", ours.ja3());
        return;
    };
    // From what is read most easily to every byte.
    assert_eq!(ours.ja3(), captured.ja3());
    assert_eq!(ours.ja3_hash(), captured.ja3_hash());
    assert_eq!(ours.extensions, captured.extensions);
    assert_eq!(ours, captured);
}

#[actix::test]
async fn with_any_openssl_there_is_no_alpn_and_nothing_that_changes_from_one_greeting_to_the_next()
{
    let ours = greeting_to(HOST).await;
    assert_eq!(ours, greeting_to(HOST).await);
    assert_eq!(ours.extension(EXTENSION_ALPN), None);
    assert!(ours.ciphers.starts_with(&[0x1302, 0x1303, 0x1301]), "{:04x?}", ours.ciphers);
    assert!(ours.extensions.iter().all(|(number, _)| !is_grease(*number)));
    let versions = ours.extension(EXTENSION_VERSIONS).unwrap();
    assert!(numbers(&versions[1..]).starts_with(&[0x0304, 0x0303]), "{versions:02x?}");
    let name = ours.extension(EXTENSION_SERVER_NAME).unwrap();
    assert_eq!(name, [&[0, 15, 0, 0, 12], HOST.as_bytes()].concat());
}

#[actix::test]
async fn an_address_is_named_in_the_greeting_too_as_libtorrent_does() {
    let ours = greeting_to("127.0.0.1").await;
    let name = ours.extension(EXTENSION_SERVER_NAME).unwrap();
    assert_eq!(name, [&[0, 12, 0, 0, 9], &b"127.0.0.1"[..]].concat());
}

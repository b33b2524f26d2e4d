//! Client profiles: how a node looks to a tracker, as data.
//!
//! A profile is a text file of `key = value` lines (`#` begins a comment line). Every key must be
//! there, exactly once but for `header`; an unknown one is an error. So a new client version is a
//! new file, and nothing of it can be forgotten silently. The keys are explained in
//! `profiles/qbittorrent-5.1.0.profile`.
//!
//! `query` and `header` are templates. A placeholder stands for a whole value in `query`, and for
//! any part of it in `header`:
//!
//! | placeholder | value |
//! |---|---|
//! | `{info_hash}` `{peer_id}` `{trackerid}` | bytes, escaped |
//! | `{port}` `{left}` `{numwant}` `{key}` | numbers |
//! | `{event}` | `started`, `stopped` or none |
//! | `{host}` | host and port |
//! | `{authorization}` | user name and password of the address in base64, or none |
//!
//! Not here: what is done with it ([`http`](super::http), [`udp`](super::udp),
//! [`announcer`](super::announcer)).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::crypto::Rng;

const QBITTORRENT_5_1_0: &str = include_str!("profiles/qbittorrent-5.1.0.profile");

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A line that is neither empty nor a comment nor `key = value`.
    #[error("line {0} is not `key = value`")]
    Line(usize),
    /// A key that no profile has, or one that stands twice.
    #[error("the key `{0}` is unknown or stands twice")]
    UnknownKey(String),
    /// A key that is missing.
    #[error("the key `{0}` is missing")]
    MissingKey(&'static str),
    /// A value that does not fit its key.
    #[error("the value of `{0}` does not fit")]
    Value(&'static str),
}

/// A value that a template has filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Placeholder {
    InfoHash,
    PeerId,
    TrackerId,
    Port,
    Left,
    NumWant,
    Key,
    Event,
    Host,
    Authorization,
}

impl Placeholder {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "info_hash" => Self::InfoHash,
            "peer_id" => Self::PeerId,
            "trackerid" => Self::TrackerId,
            "port" => Self::Port,
            "left" => Self::Left,
            "numwant" => Self::NumWant,
            "key" => Self::Key,
            "event" => Self::Event,
            "host" => Self::Host,
            "authorization" => Self::Authorization,
            _ => return None,
        })
    }
}

/// One pair of the query, or one header: fixed text around at most one placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) before: String,
    pub(super) placeholder: Option<Placeholder>,
    pub(super) after: String,
}

impl Template {
    fn parse(text: &str) -> Option<Self> {
        let Some((before, rest)) = text.split_once('{') else {
            return Some(Self { before: text.to_owned(), placeholder: None, after: String::new() });
        };
        let (name, after) = rest.split_once('}')?;
        let placeholder = Some(Placeholder::named(name)?);
        Some(Self { before: before.to_owned(), placeholder, after: after.to_owned() })
    }
}

/// How a node looks to a tracker, and how often it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProfile {
    /// Name and version of the client that is worn.
    pub name: String,
    /// First bytes of a peer id (BEP 20).
    pub peer_id_prefix: Vec<u8>,
    /// What the rest of a peer id is drawn from.
    pub peer_id_alphabet: Vec<u8>,
    /// The `left` of every announce; never zero, or trackers would take us for a seed.
    pub left: u64,
    /// Peers asked for, but not on leaving.
    pub numwant: u32,
    /// Peers asked for on leaving.
    pub numwant_stopped: u32,
    /// Whether the path of a UDP tracker's address is sent to it (BEP 41).
    pub udp_url_option: bool,
    /// Whether a tracker of every tier is used, and not only of the first that works (BEP 12).
    pub every_tier: bool,
    /// Pause between announces when the tracker names none.
    pub interval_default: Duration,
    /// Least pause between announces, whatever the tracker says.
    pub interval_min: Duration,
    /// First term of the pause after a failure.
    pub retry_first: Duration,
    /// Longest pause after a failure, unless the tracker asks for a longer one.
    pub retry_max: Duration,
    /// How the pause grows: see [`ClientProfile::retry_after`].
    pub retry_growth_percent: u32,
    /// Time for an HTTP announce in all.
    pub http_timeout: Duration,
    /// Time without a byte after which an HTTP announce is given up.
    pub http_idle_timeout: Duration,
    /// Time for the announce that we leave.
    pub stopped_timeout: Duration,
    /// Time for each answer of a UDP tracker.
    pub udp_timeout: Duration,
    /// How long a connection id of a UDP tracker is used.
    pub udp_connection_lifetime: Duration,
    /// Redirects followed in one announce.
    pub redirects_max: u8,
    pub(super) key_digits: Vec<u8>,
    pub(super) escape_literal: Vec<u8>,
    pub(super) escape_digits: Vec<u8>,
    pub(super) query: Vec<Template>,
    pub(super) headers: Vec<Template>,
}

impl ClientProfile {
    /// The profile of qBittorrent 5.1.0 on Debian 13: the default.
    ///
    /// # Panics
    ///
    /// Never: the file is part of the program, and a test reads it.
    #[must_use]
    pub fn qbittorrent_5_1_0() -> Self {
        Self::parse(QBITTORRENT_5_1_0).expect("the built-in profile is read by a test")
    }

    /// Reads a profile; the form is described in the module's documentation.
    ///
    /// # Errors
    ///
    /// [`ProfileError`]: the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let mut keys = Keys::read(text)?;
        let profile = Self {
            name: keys.take("name")?,
            peer_id_prefix: keys.bytes("peer-id-prefix", |len| (1..20).contains(&len))?,
            peer_id_alphabet: keys.bytes("peer-id-alphabet", |len| len > 1)?,
            left: keys.number("left")?,
            numwant: keys.number("numwant")?,
            numwant_stopped: keys.number("numwant-stopped")?,
            udp_url_option: keys.flag("udp-url-option")?,
            every_tier: keys.flag("every-tier")?,
            interval_default: keys.seconds("interval-default")?,
            interval_min: keys.seconds("interval-min")?,
            retry_first: keys.seconds("retry-first")?,
            retry_max: keys.seconds("retry-max")?,
            retry_growth_percent: keys.number("retry-growth-percent")?,
            http_timeout: keys.seconds("http-timeout")?,
            http_idle_timeout: keys.seconds("http-idle-timeout")?,
            stopped_timeout: keys.seconds("stopped-timeout")?,
            udp_timeout: keys.seconds("udp-timeout")?,
            udp_connection_lifetime: keys.seconds("udp-connection-lifetime")?,
            redirects_max: keys.number("redirects-max")?,
            key_digits: keys.bytes("key-digits", |len| len == 16)?,
            escape_literal: keys.bytes("escape-literal", |len| len > 0)?,
            escape_digits: keys.bytes("escape-digits", |len| len == 16)?,
            query: templates("query", keys.take("query")?.split('&'))?,
            headers: templates("header", keys.headers.iter().map(String::as_str))?,
        };
        match keys.values.into_keys().next() {
            Some(key) => Err(ProfileError::UnknownKey(key)),
            None => Ok(profile),
        }
    }

    /// The pause after the `failures`-th failure in a row: `first + first * n^2 * growth / 100` whole
    /// seconds, at most [`ClientProfile::retry_max`].
    #[must_use]
    pub fn retry_after(&self, failures: u32) -> Duration {
        // The worn client counts failures in seven bits.
        let square = u64::from(failures.min(127)).pow(2);
        let growth =
            square * self.retry_first.as_secs() * u64::from(self.retry_growth_percent) / 100;
        (self.retry_first + Duration::from_secs(growth)).min(self.retry_max)
    }

    /// Draws the peer id and the key for one channel and session.
    #[must_use]
    pub fn draw_persona(&self, rng: &mut Rng) -> Persona {
        let mut peer_id = [0; 20];
        let (prefix, tail) = peer_id.split_at_mut(self.peer_id_prefix.len());
        prefix.copy_from_slice(&self.peer_id_prefix);
        for byte in tail {
            let at = rng.below(self.peer_id_alphabet.len() as u64);
            *byte = usize::try_from(at).map_or(b'0', |at| self.peer_id_alphabet[at]);
        }
        Persona { peer_id, key: u32::from_be_bytes(rng.array()) }
    }
}

/// What a tracker knows one channel's session by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persona {
    /// The peer id (BEP 3, BEP 20).
    pub peer_id: [u8; 20],
    /// The key that shows two announces from different addresses to be one peer's (BEP 15).
    pub key: u32,
}

fn templates<'a>(
    key: &'static str,
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<Template>, ProfileError> {
    texts.map(|text| Template::parse(text).ok_or(ProfileError::Value(key))).collect()
}

/// The lines of a profile; what is left at the end is unknown.
struct Keys {
    values: BTreeMap<String, String>,
    headers: Vec<String>,
}

impl Keys {
    fn read(text: &str) -> Result<Self, ProfileError> {
        let mut keys = Self { values: BTreeMap::new(), headers: Vec::new() };
        for (at, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once(" = ").ok_or(ProfileError::Line(at + 1))?;
            if key == "header" {
                keys.headers.push(value.to_owned());
            } else if keys.values.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(ProfileError::UnknownKey(key.to_owned()));
            }
        }
        Ok(keys)
    }

    fn take(&mut self, key: &'static str) -> Result<String, ProfileError> {
        self.values.remove(key).ok_or(ProfileError::MissingKey(key))
    }

    fn bytes(
        &mut self,
        key: &'static str,
        fits: impl Fn(usize) -> bool,
    ) -> Result<Vec<u8>, ProfileError> {
        let value = self.take(key)?.into_bytes();
        let printable = value.iter().all(u8::is_ascii_graphic);
        if printable && fits(value.len()) { Ok(value) } else { Err(ProfileError::Value(key)) }
    }

    fn number<N: std::str::FromStr>(&mut self, key: &'static str) -> Result<N, ProfileError> {
        self.take(key)?.parse().map_err(|_| ProfileError::Value(key))
    }

    /// A pause or time-out; zero would be a loop without a pause.
    fn seconds(&mut self, key: &'static str) -> Result<Duration, ProfileError> {
        match self.number::<u32>(key)? {
            0 => Err(ProfileError::Value(key)),
            seconds => Ok(Duration::from_secs(u64::from(seconds))),
        }
    }

    fn flag(&mut self, key: &'static str) -> Result<bool, ProfileError> {
        match self.take(key)?.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(ProfileError::Value(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_each_failure_is_the_one_measured() {
        let profile = ClientProfile::qbittorrent_5_1_0();
        let pauses: Vec<u64> = (1..=6).map(|n| profile.retry_after(n).as_secs()).collect();
        assert_eq!(pauses, [17, 55, 117, 205, 317, 455]);
        assert_eq!(profile.retry_after(17).as_secs(), 3600);
        assert_eq!(profile.retry_after(u32::MAX).as_secs(), 3600);
    }

    #[test]
    fn a_peer_id_is_the_prefix_and_twelve_of_the_alphabet_and_fresh_each_time() {
        let profile = ClientProfile::qbittorrent_5_1_0();
        let mut rng = Rng::from_seed([1; 32]);
        let first = profile.draw_persona(&mut rng);
        let second = profile.draw_persona(&mut rng);
        assert!(first.peer_id.starts_with(b"-qB5100-"));
        assert!(first.peer_id[8..].iter().all(|byte| profile.peer_id_alphabet.contains(byte)));
        assert_ne!(first.peer_id, second.peer_id);
        assert_ne!(first.key, second.key);
    }

    #[test]
    fn nothing_in_a_peer_id_is_ever_escaped() {
        let profile = ClientProfile::qbittorrent_5_1_0();
        assert!(profile.peer_id_alphabet.iter().all(|byte| profile.escape_literal.contains(byte)));
        assert_eq!(profile.peer_id_alphabet.len(), 70);
    }

    #[test]
    fn a_key_forgotten_unknown_or_doubled_is_named() {
        let without = QBITTORRENT_5_1_0.replace("left = 16384\n", "");
        assert_eq!(ClientProfile::parse(&without), Err(ProfileError::MissingKey("left")));
        let unknown = format!("{QBITTORRENT_5_1_0}\nlfet = 1\n");
        assert_eq!(ClientProfile::parse(&unknown), Err(ProfileError::UnknownKey("lfet".into())));
        let doubled = format!("{QBITTORRENT_5_1_0}\nleft = 1\n");
        assert_eq!(ClientProfile::parse(&doubled), Err(ProfileError::UnknownKey("left".into())));
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        for (from, to, key) in [
            ("left = 16384", "left = many", "left"),
            ("retry-first = 5", "retry-first = 0", "retry-first"),
            ("every-tier = yes", "every-tier = true", "every-tier"),
            (
                "peer-id-prefix = -qB5100-",
                "peer-id-prefix = -12345678901234567890",
                "peer-id-prefix",
            ),
            ("port={port}", "port={prot}", "query"),
            ("Host: {host}", "Host: {host", "header"),
        ] {
            let text = QBITTORRENT_5_1_0.replace(from, to);
            assert_ne!(text, QBITTORRENT_5_1_0);
            assert_eq!(ClientProfile::parse(&text), Err(ProfileError::Value(key)));
        }
        assert_eq!(ClientProfile::parse("left: 1"), Err(ProfileError::Line(1)));
    }
}

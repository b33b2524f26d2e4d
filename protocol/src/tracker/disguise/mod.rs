//! Client profiles: how a node looks to a tracker, as data.
//!
//! A profile is a text file of `key = value` lines (`#` begins a comment line). Every key but the two
//! marked with a star must be there, exactly once; `header` any number of times. An unknown key is an
//! error. So a new client version is a new file, and nothing of it can be forgotten silently. The
//! files in `profiles/` are made from captures of the real clients, and golden tests hold what we
//! send against those captures.
//!
//! | key | value |
//! |---|---|
//! | `name` | name and version of the client |
//! | `default-weight` | how often new nodes draw this profile, against the others' weights |
//! | `peer-id-prefix` `peer-id-alphabet` | the first bytes of a peer id (BEP 20), and what the rest is drawn from |
//! | `peer-id-check` | `none`, or `sum`: the last character makes the positions in the alphabet add up to a multiple of its length |
//! | `key-bits` `key-digits` `key-padded` `key-scope` | how many bits a key has, 16 hexadecimal digits to write it with, whether zeros lead it to 8 digits, whether it is drawn per `channel` or per `session` |
//! | `request-line` | a template with `{target}` |
//! | `query` | pairs between `&`, templates each |
//! | `header` | one line, a template |
//! | `escape-literal` `escape-digits` | what stands for itself in a query, and the 16 digits behind the `%` of all else |
//! | `trackerid-literal` | the same for the tracker's own word, which some clients send back raw |
//! | `http-families` `udp-families` | `both` at once, `ipv6-first` or `ipv4` |
//! | `http-keep-alive` | seconds for which an idle connection is used again; 0: each is closed |
//! | `http-timeout` `http-idle-timeout` | seconds for an announce in all, and without a byte |
//! | `redirects-max` | redirects followed in one announce |
//! | `udp-connect-shared` | whether one connect request serves all channels that wait for it |
//! | `udp-url-option` | whether the path follows the announce (BEP 41) |
//! | `udp-extra-bytes` * | bytes behind the announce, in hexadecimal |
//! | `udp-timeouts` | pauses: how long an answer is waited for, by failures in a row |
//! | `udp-connection-lifetime` | seconds for which a connection id is used |
//! | `left` `numwant` `numwant-stopped` | numbers in every announce |
//! | `every-tier` | whether a tracker of every tier is used, or only of the first that works (BEP 12) |
//! | `interval-default` `interval-min` | seconds between announces if the tracker names none, and the least |
//! | `retry` `retry-udp` `retry-refused` | pauses after each failure in a row: over HTTP, over UDP, and where a tracker refuses without naming a time |
//! | `stopped-to` | who is told that we leave: who `answered` an announce, to whom one was `announced`, or whoever was `asked` |
//! | `stopped-timeout` | seconds for the announce that we leave |
//! | `tick` | milliseconds of the client's timer: announces begin at multiples of it |
//! | `start-spacing` | one pause, in milliseconds, between announces of two channels |
//! | `ports` | where it listens at first: ports and ranges, in the order in which they are tried |
//! | `dht-version` * | the `v` of its DHT messages, in hexadecimal |
//! | `dht-transactions` | what its DHT transaction ids are: `random` and so many bytes, or `tagged` as jech's DHT has them |
//! | `dht-queries` | `get-peers` for everything but a `ping` where the table is full, or `classic`: `ping` and `find_node`, too |
//! | `dht-bootstrap-mark` `dht-implied-port` `dht-seed` | whether its queries have `bs`, its announces `implied_port` and `seed` |
//! | `dht-token-bytes` `dht-answers-ip` `dht-answers-port` | of its answers: the length of the tokens, whether there are `ip` and `p` |
//! | `dht-secure-ids` `dht-one-id` | whether its ids fit its address (BEP 42), and are the same over both IP versions |
//! | `dht-announce-interval` `dht-announce-gap` `dht-refresh-interval` | seconds between announces of one infohash, between first announces, between refreshing questions |
//! | `dht-announce-nodes` | how many nodes are told of an announce |
//! | `lan-announce` | whether it announces in the local network (BEP 14); without, there is none of the next |
//! | `lan-hex` `lan-cookie` | `lower` or `upper` digits; `none`, `hex`, or `alphanumeric` and its length |
//! | `lan-rhythm` | seconds: `in-turn`, the interval and two pauses; or `together`, the tick and the interval |
//! | `lan-voices` `lan-hops` | whether each `address` or each `interface` speaks; how many routers it passes |
//!
//! *Pauses* are numbers of seconds with blanks between; the last holds from there on. `300+60` is 300
//! and up to 60 more, drawn each time.
//!
//! A template is fixed text around at most one placeholder, and left out when that has no value:
//!
//! | placeholder | value |
//! |---|---|
//! | `{info_hash}` `{peer_id}` `{trackerid}` | bytes, escaped |
//! | `{port}` `{left}` `{numwant}` `{key}` | numbers |
//! | `{event}` | `started`, `stopped` or none |
//! | `{ipv6}` | our own global IPv6 address, escaped with capital digits, or none |
//! | `{host}` | host and port |
//! | `{authorization}` | user name and password of the address in base64, or none |
//! | `{referer}` | the address that redirected us, or none |
//! | `{target}` | path and query |
//!
//! Not here: what is done with it ([`http`](super::http), [`udp`](super::udp),
//! [`announcer`](super::announcer)), and what shows through all the same (`docs/disguise.md`).

mod beyond;
mod builtin;
mod habits;
mod keys;
mod persona;
mod template;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::dht::DhtProfile;
use crate::lan::LanHabit;

pub use habits::{Families, Farewell, KeyScope, Pause, Pauses, PeerIdCheck, Ports};
use keys::{Entry, Keys};
pub use persona::Persona;
pub(super) use template::{Placeholder, Template};

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A line that is neither empty nor a comment nor `key = value`.
    #[error("line {line} is not `key = value`")]
    Line {
        /// Which, from 1.
        line: usize,
    },
    /// A key that no profile has.
    #[error("line {line}: there is no key `{key}`")]
    UnknownKey {
        /// Which line, from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// A key that stands twice.
    #[error("line {line}: the key `{key}` stands twice")]
    Doubled {
        /// Which line, from 1: the second.
        line: usize,
        /// The key.
        key: String,
    },
    /// A key that is missing.
    #[error("the key `{0}` is missing")]
    MissingKey(&'static str),
    /// A value that does not fit its key.
    #[error("line {line}: the value of `{key}` must be {expected}")]
    Value {
        /// Which line, from 1.
        line: usize,
        /// The key.
        key: &'static str,
        /// What would fit.
        expected: &'static str,
    },
}

/// How a node looks to a tracker, and how often it calls. The module's documentation explains each
/// key; fields have the names of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProfile {
    /// Name and version of the client that is worn.
    pub name: String,
    /// How often new nodes draw this profile.
    pub default_weight: u32,
    /// First bytes of a peer id (BEP 20).
    pub peer_id_prefix: Vec<u8>,
    /// What the rest of a peer id is drawn from.
    pub peer_id_alphabet: Vec<u8>,
    /// What makes its last character.
    pub peer_id_check: PeerIdCheck,
    /// How long a drawn key lives.
    pub key_scope: KeyScope,
    /// The `left` of every announce; never zero, or trackers would take us for a seed.
    pub left: u64,
    /// Peers asked for, but not on leaving.
    pub numwant: u32,
    /// Peers asked for on leaving.
    pub numwant_stopped: u32,
    /// Over which IP versions HTTP trackers are asked.
    pub http_families: Families,
    /// Over which IP versions UDP trackers are asked.
    pub udp_families: Families,
    /// Whether one connect request serves all channels that wait for it.
    pub udp_connect_shared: bool,
    /// Whether the path of a UDP tracker's address is sent to it (BEP 41).
    pub udp_url_option: bool,
    /// What follows an announce to a UDP tracker.
    pub udp_extra_bytes: Vec<u8>,
    /// Time for each answer of a UDP tracker, by failures in a row.
    pub udp_timeouts: Pauses,
    /// How long a connection id of a UDP tracker is used.
    pub udp_connection_lifetime: Duration,
    /// Whether a tracker of every tier is used, and not only of the first that works (BEP 12).
    pub every_tier: bool,
    /// Pause between announces when the tracker names none.
    pub interval_default: Duration,
    /// Least pause between announces, whatever the tracker says.
    pub interval_min: Duration,
    /// Pauses after failures over HTTP.
    pub retry: Pauses,
    /// Pauses after failures over UDP.
    pub retry_udp: Pauses,
    /// Pauses after refusals that name no time.
    pub retry_refused: Pauses,
    /// Time for an HTTP announce in all.
    pub http_timeout: Duration,
    /// Time without a byte after which an HTTP announce is given up.
    pub http_idle_timeout: Duration,
    /// For how long an idle HTTP connection is used again; `None`: each is closed.
    pub http_keep_alive: Option<Duration>,
    /// Which trackers are told that we leave.
    pub stopped_to: Farewell,
    /// Time for the announce that we leave.
    pub stopped_timeout: Duration,
    /// Redirects followed in one announce.
    pub redirects_max: u8,
    /// The beat of the client's timer.
    pub tick: Duration,
    /// The pause between announces of two channels.
    pub start_spacing: Pause,
    /// Where a new node listens.
    pub ports: Ports,
    /// How it is in the DHT.
    pub dht: Arc<DhtProfile>,
    /// How it announces in the local network (BEP 14); `None`: it does not.
    pub lan: Option<LanHabit>,
    pub(super) key_bits: u32,
    pub(super) key_digits: Vec<u8>,
    pub(super) key_padded: bool,
    pub(super) escape_literal: Vec<u8>,
    pub(super) escape_digits: Vec<u8>,
    pub(super) trackerid_literal: Vec<u8>,
    pub(super) request_line: Template,
    pub(super) query: Vec<Template>,
    pub(super) headers: Vec<Template>,
}

impl ClientProfile {
    /// Reads a profile; the form is described in the module's documentation.
    ///
    /// # Errors
    ///
    /// [`ProfileError`]: the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let mut keys = Keys::read(text)?;
        let scopes = [("channel", KeyScope::Channel), ("session", KeyScope::Session)];
        let checks = [("none", PeerIdCheck::None), ("sum", PeerIdCheck::Sum)];
        let name = keys.take("name")?.value;
        let profile = Self {
            name: name.clone(),
            default_weight: keys.number("default-weight")?,
            peer_id_prefix: keys
                .characters("peer-id-prefix", "1 to 19 characters", |len| (1..20).contains(&len))?,
            peer_id_alphabet: keys.characters(
                "peer-id-alphabet",
                "2 characters or more",
                |len| len > 1,
            )?,
            peer_id_check: keys.choice("peer-id-check", "none or sum", &checks)?,
            key_scope: keys.choice("key-scope", "channel or session", &scopes)?,
            left: keys
                .take("left")?
                .read("a number above 0", |value| value.parse().ok().filter(|left| *left > 0))?,
            numwant: keys.number("numwant")?,
            numwant_stopped: keys.number("numwant-stopped")?,
            http_families: families(&mut keys, "http-families")?,
            udp_families: families(&mut keys, "udp-families")?,
            udp_connect_shared: keys.flag("udp-connect-shared")?,
            udp_url_option: keys.flag("udp-url-option")?,
            udp_extra_bytes: keys.hex("udp-extra-bytes")?,
            udp_timeouts: pauses(&mut keys, "udp-timeouts")?,
            udp_connection_lifetime: keys.seconds("udp-connection-lifetime")?,
            every_tier: keys.flag("every-tier")?,
            interval_default: keys.seconds("interval-default")?,
            interval_min: keys.seconds("interval-min")?,
            retry: pauses(&mut keys, "retry")?,
            retry_udp: pauses(&mut keys, "retry-udp")?,
            retry_refused: pauses(&mut keys, "retry-refused")?,
            http_timeout: keys.seconds("http-timeout")?,
            http_idle_timeout: keys.seconds("http-idle-timeout")?,
            http_keep_alive: keep_alive(&mut keys)?,
            stopped_to: farewell(&mut keys)?,
            stopped_timeout: keys.seconds("stopped-timeout")?,
            redirects_max: keys.number("redirects-max")?,
            tick: tick(&mut keys)?,
            start_spacing: spacing(&mut keys)?,
            ports: keys.take("ports")?.read(
                "ports and ranges of ports from 1024 on, with blanks between",
                Ports::parse,
            )?,
            dht: Arc::new(beyond::dht(&mut keys, &name)?),
            lan: beyond::lan(&mut keys)?,
            key_bits: keys.take("key-bits")?.read("1 to 32", |value| {
                value.parse().ok().filter(|bits| (1..=32).contains(bits))
            })?,
            key_digits: digits(&mut keys, "key-digits")?,
            key_padded: keys.flag("key-padded")?,
            escape_literal: literal(&mut keys, "escape-literal")?,
            escape_digits: digits(&mut keys, "escape-digits")?,
            trackerid_literal: literal(&mut keys, "trackerid-literal")?,
            request_line: request_line(&mut keys)?,
            query: query(&mut keys)?,
            headers: keys.headers().iter().map(header).collect::<Result<_, _>>()?,
        };
        keys.finish()?;
        Ok(profile)
    }

    /// Whether announces name our own IPv6 address.
    #[must_use]
    pub fn tells_ipv6(&self) -> bool {
        self.query.iter().any(|pair| pair.placeholder == Some(Placeholder::Ipv6))
    }

    /// The pause after a good answer that wished for one. With all members linked there is nobody to
    /// look for: it is twice as long, but no longer than the client's own default makes it, so that
    /// trackers with short intervals do not forget us.
    #[must_use]
    pub fn pause(&self, wished: Duration, complete: bool) -> Duration {
        let usual = wished.max(self.interval_min);
        let slow = (usual * 2).min(self.interval_default);
        if complete { usual.max(slow) } else { usual }
    }

    /// The pauses after failures of the scheme.
    #[must_use]
    pub const fn retry_over(&self, scheme: super::url::Scheme) -> &Pauses {
        match scheme {
            super::url::Scheme::Udp => &self.retry_udp,
            super::url::Scheme::Http | super::url::Scheme::Https => &self.retry,
        }
    }
}

fn families(keys: &mut Keys, key: &'static str) -> Result<Families, ProfileError> {
    let choices =
        [("both", Families::Both), ("ipv6-first", Families::Ipv6First), ("ipv4", Families::Ipv4)];
    keys.choice(key, "both, ipv6-first or ipv4", &choices)
}

fn farewell(keys: &mut Keys) -> Result<Farewell, ProfileError> {
    let choices = [
        ("answered", Farewell::Answered),
        ("announced", Farewell::Announced),
        ("asked", Farewell::Asked),
    ];
    keys.choice("stopped-to", "answered, announced or asked", &choices)
}

fn pauses(keys: &mut Keys, key: &'static str) -> Result<Pauses, ProfileError> {
    keys.take(key)?.read("numbers of seconds, at least 1 each, like `20 300+60`", Pauses::parse)
}

fn digits(keys: &mut Keys, key: &'static str) -> Result<Vec<u8>, ProfileError> {
    keys.characters(key, "16 characters", |len| len == 16)
}

/// What stands for itself can neither end the target of a request nor begin a fragment.
fn literal(keys: &mut Keys, key: &'static str) -> Result<Vec<u8>, ProfileError> {
    const EXPECTED: &str = "visible ASCII characters without blanks and #";
    let entry = keys.take(key)?;
    entry.read(EXPECTED, |value| {
        let stands = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        (!value.is_empty() && value.bytes().all(stands)).then(|| value.as_bytes().to_vec())
    })
}

fn keep_alive(keys: &mut Keys) -> Result<Option<Duration>, ProfileError> {
    let seconds: u32 = keys.number("http-keep-alive")?;
    Ok((seconds > 0).then(|| Duration::from_secs(u64::from(seconds))))
}

/// At most a second: a longer one would make announces come that much before the tracker's time.
fn tick(keys: &mut Keys) -> Result<Duration, ProfileError> {
    keys.take("tick")?.read("1 to 1000", |value| {
        let milliseconds = value.parse().ok().filter(|it| (1..=1000).contains(it))?;
        Some(Duration::from_millis(milliseconds))
    })
}

fn spacing(keys: &mut Keys) -> Result<Pause, ProfileError> {
    keys.take("start-spacing")?
        .read("milliseconds like `200+800`", |value| Pause::parse(value, Duration::from_millis(1)))
}

fn request_line(keys: &mut Keys) -> Result<Template, ProfileError> {
    keys.take("request-line")?.read("text with `{target}`", |value| {
        Template::parse(value, template::IN_REQUEST_LINE).filter(|it| it.placeholder.is_some())
    })
}

fn query(keys: &mut Keys) -> Result<Vec<Template>, ProfileError> {
    keys.take("query")?.read("pairs with at most one known placeholder each", |value| {
        let pairs = value.split('&').map(|pair| Template::parse(pair, template::IN_QUERY));
        pairs.collect::<Option<_>>().filter(|_| !value.contains([' ', '#']))
    })
}

fn header(entry: &Entry) -> Result<Template, ProfileError> {
    entry.read("a header line with at most one known placeholder", |value| {
        Template::parse(value, template::IN_HEADER).filter(|_| value.contains(": "))
    })
}

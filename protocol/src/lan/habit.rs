//! How BitTorrent clients announce on a local network, as data.

use std::time::Duration;

use data_encoding::{HEXLOWER, HEXUPPER};

use crate::crypto::Rng;
use crate::id::InfoHash;

const ALPHANUMERIC: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How one client does it. The bytes and times were captured; hops and what triggers an announce
/// were read in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanHabit {
    /// Of the digits of an infohash.
    pub hex: HexCase,
    /// What it knows its own messages by.
    pub cookie: Cookie,
    /// What is sent when.
    pub rhythm: Rhythm,
    /// Which of our addresses speak.
    pub voices: Voices,
    /// The TTL of IPv4 and the hop limit of IPv6: 1 stays within the network.
    pub hops: u32,
}

/// The case of hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HexCase {
    /// `a` to `f`.
    Lower,
    /// `A` to `F`.
    Upper,
}

impl HexCase {
    pub(super) fn text(self, infohash: &InfoHash) -> String {
        match self {
            Self::Lower => HEXLOWER.encode(&infohash.0),
            Self::Upper => HEXUPPER.encode(&infohash.0),
        }
    }
}

/// What a client knows its own messages by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// There is none.
    Absent,
    /// A number of 31 bits in lower-case hexadecimal without leading zeros, one for each voice.
    HexPerVoice,
    /// Letters and digits, this many, the same for all voices.
    AlphanumericPerSession(usize),
}

impl Cookie {
    /// Makes the cookie of a voice; `None` when there is none.
    pub(super) fn make(self, rng: &mut Rng) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::HexPerVoice => Some(format!("{:x}", rng.below(1 << 31))),
            Self::AlphanumericPerSession(length) => {
                let symbol = |_| {
                    let at = usize::try_from(rng.below(62)).unwrap_or(0);
                    char::from(ALPHANUMERIC[at % ALPHANUMERIC.len()])
                };
                Some((0..length).map(symbol).collect())
            }
        }
    }

    pub(super) const fn is_per_session(self) -> bool {
        matches!(self, Self::AlphanumericPerSession(_))
    }
}

/// What is sent when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// A torrent that starts is announced at once. Then the torrents take turns, so evenly that
    /// each comes once in the interval. An announce is repeated after each of the pauses, unless
    /// another torrent's has begun meanwhile.
    EachInTurn {
        /// Between two announces of one torrent.
        interval: Duration,
        /// From one packet of an announce to the next.
        pauses: [Duration; 2],
    },
    /// At each tick since the start, all torrents that are due go into as few packets as can be.
    Together {
        /// Between two looks at what is due.
        tick: Duration,
        /// Between two announces of one torrent.
        interval: Duration,
    },
}

/// Which of our addresses speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voices {
    /// Each of them.
    EachAddress,
    /// One of each interface and IP version.
    EachInterface,
}

impl LanHabit {
    /// libtorrent 2.0, and so qBittorrent 4.5 to 5.1 and Deluge 2.2.
    #[must_use]
    pub const fn libtorrent() -> Self {
        Self {
            hex: HexCase::Lower,
            cookie: Cookie::HexPerVoice,
            rhythm: Rhythm::EachInTurn {
                interval: Duration::from_secs(300),
                pauses: [Duration::from_secs(2), Duration::from_secs(4)],
            },
            voices: Voices::EachAddress,
            hops: 32,
        }
    }

    /// Transmission 4.1.
    #[must_use]
    pub const fn transmission() -> Self {
        Self {
            hex: HexCase::Upper,
            cookie: Cookie::AlphanumericPerSession(12),
            rhythm: Rhythm::Together {
                tick: Duration::from_secs(60),
                interval: Duration::from_secs(300),
            },
            voices: Voices::EachInterface,
            hops: 1,
        }
    }
}

impl Default for LanHabit {
    fn default() -> Self {
        Self::libtorrent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_look_like_the_captured_ones() {
        let mut rng = Rng::from_seed([1; 32]);
        for _ in 0..100 {
            let cookie = LanHabit::libtorrent().cookie.make(&mut rng).unwrap();
            let number = u32::from_str_radix(&cookie, 16).unwrap();
            assert!(number < 1 << 31);
            assert_eq!(cookie, format!("{number:x}"));
            let cookie = LanHabit::transmission().cookie.make(&mut rng).unwrap();
            assert!(cookie.len() == 12 && cookie.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
        assert_eq!(Cookie::Absent.make(&mut rng), None);
    }
}

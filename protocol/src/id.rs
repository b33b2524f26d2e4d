//! Newtypes for everything that is named by bytes, and how each is printed and read.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

use crate::crypto::hash;

/// Bytes of the checksum that follows the key in the text form of a [`PeerId`].
const CHECKSUM_BYTES: usize = 4;
const CHECKSUM_LABEL: &str = "bitchat v1 peer id checksum";

/// Why text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// A character outside the alphabet, or a wrong number of them.
    #[error("not a valid id: expected {expected} characters of its alphabet")]
    Malformed {
        /// Characters of the right form.
        expected: usize,
    },
    /// The checksum does not fit: a character was mistyped or lost.
    #[error("the checksum does not fit: a character was mistyped or left out")]
    Checksum,
}

/// The public half of an identity: an Ed25519 public key, 32 bytes.
///
/// Printed as 58 characters of lower-case base32: the key, then a 4-byte checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerId(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl PeerId {
    /// Characters of the text form.
    pub const TEXT_LEN: usize = 58;

    /// The first ten characters of the text form: enough for a person's eye, not for trust.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(10);
        text
    }

    fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        hash::unkeyed(CHECKSUM_LABEL, &[&self.0])
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 32 + CHECKSUM_BYTES];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..].copy_from_slice(&self.checksum());
        f.write_str(&BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.short())
    }
}

impl FromStr for PeerId {
    type Err = ParseIdError;

    /// Reads the text form; upper and lower case are the same.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let malformed = ParseIdError::Malformed { expected: Self::TEXT_LEN };
        if text.len() != Self::TEXT_LEN {
            return Err(malformed);
        }
        let bytes =
            BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| malformed)?;
        let (key, checksum) = bytes.split_first_chunk::<32>().ok_or(malformed)?;
        let id = Self(*key);
        if checksum == id.checksum() { Ok(id) } else { Err(ParseIdError::Checksum) }
    }
}

/// Names a channel among those who hold its seed key: 32 bytes derived from it, never sent in clear.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChannelId(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl ChannelId {
    /// The first eight hexadecimal digits: for logs and listings.
    #[must_use]
    pub fn short(&self) -> String {
        HEXLOWER_PERMISSIVE.encode(&self.0[..4])
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl FromStr for ChannelId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let malformed = ParseIdError::Malformed { expected: 64 };
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| malformed)?;
        Ok(Self(bytes.try_into().map_err(|_| malformed)?))
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({})", self.short())
    }
}

/// What trackers, the DHT and the LAN know a channel by: 20 bytes, public, like a torrent's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHash(pub [u8; 20]);

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

/// Names a chain among those who hold the channel's seed key: 16 bytes derived from the channel, the
/// author and the author's device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChainId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl ChainId {
    /// The first eight hexadecimal digits: for logs and listings.
    #[must_use]
    pub fn short(&self) -> String {
        HEXLOWER_PERMISSIVE.encode(&self.0[..4])
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainId({})", self.short())
    }
}

/// Tells the chains of one author apart: 8 random bytes drawn by an archive, and drawn anew when it
/// was lost or rolled back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub [u8; 8]);

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

/// Names one chat message: 16 random bytes chosen by its author.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl FromStr for MessageId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let malformed = ParseIdError::Malformed { expected: 32 };
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| malformed)?;
        Ok(Self(bytes.try_into().map_err(|_| malformed)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_reads_back_from_its_text_in_either_case() {
        let id = PeerId([7; 32]);
        let text = id.to_string();
        assert_eq!(text.len(), PeerId::TEXT_LEN);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_ascii_uppercase().parse(), Ok(id));
    }

    #[test]
    fn a_channel_id_reads_back_from_its_text() {
        let id = ChannelId([0xa7; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "a7", "zz", &id.to_string()[1..]] {
            let malformed = ParseIdError::Malformed { expected: 64 };
            assert_eq!(wrong.parse::<ChannelId>(), Err(malformed), "{wrong}");
        }
    }

    #[test]
    fn every_single_mistyped_character_is_noticed() {
        let text = PeerId([7; 32]).to_string();
        for at in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(wrong.parse::<PeerId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_of_a_wrong_length_is_refused() {
        let malformed = Err(ParseIdError::Malformed { expected: PeerId::TEXT_LEN });
        assert_eq!("".parse::<PeerId>(), malformed);
        assert_eq!(PeerId([7; 32]).short().parse::<PeerId>(), malformed);
    }
}

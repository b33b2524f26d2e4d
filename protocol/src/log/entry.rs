//! Entries: one thing said, sealed for members, chained to the one before it, signed by its author.
//!
//! ```text
//! 0   1   version, 1
//! 1   16  chain id
//! 17  8   number, from 1
//! 25  8   clock
//! 33  32  previous: the hash of entry number - 1; of number 1: the chain's start
//! 65  4   n, the bytes of sealed
//! 69  n   sealed = nonce (24) || XChaCha20-Poly1305(seal key, nonce, channel id || bytes 0..65, body)
//! ..  64  signature = Ed25519(author, "bitchat v1 log entry signature" || hash)
//!
//! digest   = H("bitchat v1 log sealed digest", sealed), 32 bytes
//! hash     = H("bitchat v1 log entry hash", channel id, bytes 0..65, digest), 32 bytes
//! seal key = derive(Kr, "bitchat v1 log seal key"), 32 bytes
//!
//! outline, 161 bytes = bytes 0..65 || digest || signature
//! ```
//!
//! An outline is an entry without what it says: all that it takes to check who signed what. Two of
//! them prove a fork, however long the entries are.
//!
//! Numbers are big-endian. The bytes are never written anew: what came is what is stored and passed
//! on. The nonce is random, since a node that was rolled back may use a number twice.
//!
//! Spec: `docs/spec/10-log.md`, section 2.

use std::fmt;

use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::body::Body;
use crate::channel::ChannelKeys;
use crate::crypto::aead::{self, TAG_BYTES, XNONCE_BYTES};
use crate::crypto::sign::{self, SIGNATURE_BYTES, SigningKey};
use crate::crypto::{Rng, Secret, hash};
use crate::id::{ChainId, ChannelId, PeerId};
use crate::limits::{ENTRY_BODY_BYTES_MAX, ENTRY_NUMBER_MAX};

const VERSION: u8 = 1;
/// Bytes before the length of what is sealed: all that the seal vouches for.
const HEAD_BYTES: usize = 65;
const SEALED_AT: usize = HEAD_BYTES + 4;
/// Bytes that sealing adds to a body.
const SEAL_BYTES: usize = XNONCE_BYTES + TAG_BYTES;

const DIGEST_BYTES: usize = 32;
const DIGEST_LABEL: &str = "bitchat v1 log sealed digest";
const HASH_LABEL: &str = "bitchat v1 log entry hash";
const SIGNATURE_LABEL: &str = "bitchat v1 log entry signature";
const SEAL_KEY_LABEL: &str = "bitchat v1 log seal key";

/// Bytes of the shortest entry: a body of nothing.
pub const ENTRY_BYTES_MIN: usize = SEALED_AT + SEAL_BYTES + SIGNATURE_BYTES;
/// Bytes of the longest entry.
pub const ENTRY_BYTES_MAX: usize = ENTRY_BYTES_MIN + ENTRY_BODY_BYTES_MAX;

/// Bytes of an outline.
pub const OUTLINE_BYTES: usize = HEAD_BYTES + DIGEST_BYTES + SIGNATURE_BYTES;

/// The hash of an entry: what the next one of its chain follows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryHash(pub [u8; 32]);

impl EntryHash {
    /// Its first 8 bytes, which nodes compare to find forks.
    #[must_use]
    pub fn tip(&self) -> [u8; 8] {
        *self.0.first_chunk().expect("32 bytes")
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHash({})", HEXLOWER.encode(&self.0[..4]))
    }
}

/// What an entry shows of itself to everybody in the channel, seeders included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The chain.
    pub chain: ChainId,
    /// The place in it, 1 to [`ENTRY_NUMBER_MAX`].
    pub number: u64,
    /// The place among all entries of the channel; at least `number`, at most `number << 32`.
    pub clock: u64,
    /// The hash of the entry before.
    pub previous: EntryHash,
}

/// An entry whose layout and bounds are good; see [`Entry::verify`] for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What everybody sees.
    pub head: Head,
    /// What the next entry follows.
    pub hash: EntryHash,
    /// The entry as it travels and is stored.
    pub bytes: Bytes,
}

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Shorter or longer than an entry can be, or than its own length field says.
    #[error("an entry of {bytes} bytes is too short, too long or not as long as it says")]
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// A version that is not known.
    #[error("entry of version {0}, only 1 is known")]
    Version(u8),
    /// Zero or more than a chain can have.
    #[error("entry with number {0}, allowed are 1 to {max}", max = ENTRY_NUMBER_MAX)]
    Number(u64),
    /// Outside what the number allows.
    #[error("entry {number} with clock {clock}, which is out of its bounds")]
    Clock {
        /// The number.
        number: u64,
        /// The clock.
        clock: u64,
    },
}

impl Head {
    fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0] = VERSION;
        bytes[1..17].copy_from_slice(&self.chain.0);
        bytes[17..25].copy_from_slice(&self.number.to_be_bytes());
        bytes[25..33].copy_from_slice(&self.clock.to_be_bytes());
        bytes[33..].copy_from_slice(&self.previous.0);
        bytes
    }

    fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Self, EntryError> {
        if bytes[0] != VERSION {
            return Err(EntryError::Version(bytes[0]));
        }
        let number = |at: usize| {
            u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes are cut out"))
        };
        let (number, clock) = (number(17), number(25));
        if number == 0 || number > ENTRY_NUMBER_MAX {
            return Err(EntryError::Number(number));
        }
        if clock < number || clock > clock_max(number) {
            return Err(EntryError::Clock { number, clock });
        }
        Ok(Self {
            chain: ChainId(bytes[1..17].try_into().expect("16 bytes")),
            number,
            clock,
            previous: EntryHash(bytes[33..].try_into().expect("32 bytes")),
        })
    }
}

/// The greatest clock that the entry of a number may have: nobody can push the clock to its end.
#[must_use]
pub const fn clock_max(number: u64) -> u64 {
    number << 32
}

impl Entry {
    /// Seals a body, chains and signs it. `None` without the channel's read key.
    #[must_use]
    pub fn write(
        keys: &ChannelKeys,
        author: &SigningKey,
        rng: &mut Rng,
        head: Head,
        body: &[u8],
    ) -> Option<Self> {
        let seal_key = seal_key(keys)?;
        let mut bytes = head.encode().to_vec();
        let ad = [&keys.id().0[..], &bytes].concat();
        let sealed = aead::seal_at_rest(&seal_key, rng, &ad, body);
        let len = u32::try_from(sealed.len()).expect("bodies are bounded far below 4 GiB");
        bytes.extend(len.to_be_bytes());
        bytes.extend(sealed);
        let hash = entry_hash(&keys.id(), &bytes[..HEAD_BYTES], &digest(&bytes[SEALED_AT..]));
        bytes.extend(author.sign(&signed(&hash)));
        Some(Self { head, hash, bytes: bytes.into() })
    }

    /// Checks layout and bounds, and hashes; nothing is allocated.
    ///
    /// # Errors
    ///
    /// See [`EntryError`].
    pub fn decode(channel: &ChannelId, bytes: Bytes) -> Result<Self, EntryError> {
        let length = EntryError::Length { bytes: bytes.len() };
        if !(ENTRY_BYTES_MIN..=ENTRY_BYTES_MAX).contains(&bytes.len()) {
            return Err(length);
        }
        let (head, rest) = bytes.split_first_chunk().ok_or(length)?;
        let head = Head::decode(head)?;
        let (len, rest) = rest.split_first_chunk().ok_or(length)?;
        if u32::from_be_bytes(*len) as usize + SIGNATURE_BYTES != rest.len() {
            return Err(length);
        }
        let sealed = &bytes[SEALED_AT..bytes.len() - SIGNATURE_BYTES];
        let hash = entry_hash(channel, &bytes[..HEAD_BYTES], &digest(sealed));
        Ok(Self { head, hash, bytes })
    }

    /// Whether `author` signed it.
    #[must_use]
    pub fn verify(&self, author: &PeerId) -> bool {
        let signature = self.bytes.last_chunk().expect("an entry is longer than a signature");
        sign::verify(&author.0, &signed(&self.hash), signature)
    }

    /// The entry without what it says.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let signature_at = self.bytes.len() - SIGNATURE_BYTES;
        let digest = digest(&self.bytes[SEALED_AT..signature_at]);
        let mut bytes = [0; OUTLINE_BYTES];
        bytes[..HEAD_BYTES].copy_from_slice(&self.bytes[..HEAD_BYTES]);
        bytes[HEAD_BYTES..HEAD_BYTES + DIGEST_BYTES].copy_from_slice(&digest);
        bytes[HEAD_BYTES + DIGEST_BYTES..].copy_from_slice(&self.bytes[signature_at..]);
        Outline { head: self.head, hash: self.hash, bytes }
    }

    /// Opens and reads what is sealed; `None` without the channel's read key.
    #[must_use]
    pub fn open(&self, keys: &ChannelKeys) -> Option<Body> {
        let seal_key = seal_key(keys)?;
        let sealed = &self.bytes[SEALED_AT..self.bytes.len() - SIGNATURE_BYTES];
        let ad = [&keys.id().0[..], &self.bytes[..HEAD_BYTES]].concat();
        let plain = aead::open_at_rest(&seal_key, &ad, sealed);
        Some(plain.map_or(Body::Unreadable, |plain| Body::decode(&plain)))
    }
}

/// An entry without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// What everybody sees.
    pub head: Head,
    /// The hash of the entry.
    pub hash: EntryHash,
    /// The outline as it travels and is stored.
    pub bytes: [u8; OUTLINE_BYTES],
}

impl Outline {
    /// Checks bounds and hashes.
    ///
    /// # Errors
    ///
    /// See [`EntryError`].
    pub fn decode(channel: &ChannelId, bytes: &[u8]) -> Result<Self, EntryError> {
        let bytes: &[u8; OUTLINE_BYTES] =
            bytes.try_into().map_err(|_| EntryError::Length { bytes: bytes.len() })?;
        let (head_bytes, rest) = bytes.split_first_chunk().expect("161 bytes");
        let head = Head::decode(head_bytes)?;
        let hash = entry_hash(channel, head_bytes, &rest[..DIGEST_BYTES]);
        Ok(Self { head, hash, bytes: *bytes })
    }

    /// Whether `author` signed the entry.
    #[must_use]
    pub fn verify(&self, author: &PeerId) -> bool {
        let signature = self.bytes.last_chunk().expect("161 bytes");
        sign::verify(&author.0, &signed(&self.hash), signature)
    }
}

fn seal_key(keys: &ChannelKeys) -> Option<Secret<32>> {
    Some(hash::derive(keys.read_key()?.expose(), SEAL_KEY_LABEL, &[]))
}

fn digest(sealed: &[u8]) -> [u8; DIGEST_BYTES] {
    hash::unkeyed(DIGEST_LABEL, &[sealed])
}

fn entry_hash(channel: &ChannelId, head: &[u8], digest: &[u8]) -> EntryHash {
    EntryHash(hash::unkeyed(HASH_LABEL, &[&channel.0, head, digest]))
}

fn signed(hash: &EntryHash) -> Vec<u8> {
    [SIGNATURE_LABEL.as_bytes(), &hash.0].concat()
}

//! Chains: what one node of one author has said in one channel, and who let it in.
//!
//! ```text
//! certificate, 105 bytes
//! 0   1   version, 1
//! 1   32  author, a peer id
//! 33  8   device
//! 41  64  mark = Ed25519(channel signing key, label || H("bitchat v1 log chain mark", channel id, author, device))
//!
//! chain id = H("bitchat v1 log chain id", channel id, author, device), 16 bytes
//! start    = H("bitchat v1 log chain start", chain id), 32 bytes: what the first entry follows
//! ```
//!
//! The mark shows to whoever has no more than the channel's public key that a member let the chain
//! in: a blind seeder refuses junk at the price of one signature for each chain.
//!
//! Spec: `docs/spec/10-log.md`, section 1.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::entry::EntryHash;
use crate::channel::ChannelKeys;
use crate::crypto::hash;
use crate::crypto::sign::{self, SIGNATURE_BYTES};
use crate::id::{ChainId, ChannelId, DeviceId, PeerId};

/// Bytes of a certificate.
pub const CERTIFICATE_BYTES: usize = 105;

const VERSION: u8 = 1;
const MARK_LABEL: &str = "bitchat v1 log chain mark";
const CHAIN_ID_LABEL: &str = "bitchat v1 log chain id";
const START_LABEL: &str = "bitchat v1 log chain start";

/// A member's word that a chain belongs to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// Who signs the chain's entries.
    pub author: PeerId,
    /// Which of the author's chains.
    pub device: DeviceId,
    /// The channel's signature.
    pub mark: [u8; SIGNATURE_BYTES],
}

/// Why bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not 105 bytes.
    #[error("a certificate has {CERTIFICATE_BYTES} bytes, these are {bytes}")]
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// A version that is not known.
    #[error("certificate of version {0}, only 1 is known")]
    Version(u8),
}

impl Certificate {
    /// Lets a chain in. `None` without the channel's signing key, which only members have.
    #[must_use]
    pub fn sign(keys: &ChannelKeys, author: PeerId, device: DeviceId) -> Option<Self> {
        let mark = keys.signing_key()?.sign(&marked(&keys.id(), &author, &device));
        Some(Self { author, device, mark })
    }

    /// Whether a member of the channel let this chain in, and its author's key can sign at all.
    #[must_use]
    pub fn verify(&self, keys: &ChannelKeys) -> bool {
        let message = marked(&keys.id(), &self.author, &self.device);
        sign::public_to_dh(&self.author.0).is_ok()
            && sign::verify(&keys.public_key().0, &message, &self.mark)
    }

    /// The chain's name.
    #[must_use]
    pub fn chain(&self, channel: &ChannelId) -> ChainId {
        chain_id(channel, &self.author, &self.device)
    }

    /// Writes the 105 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; CERTIFICATE_BYTES] {
        let mut bytes = [0; CERTIFICATE_BYTES];
        bytes[0] = VERSION;
        bytes[1..33].copy_from_slice(&self.author.0);
        bytes[33..41].copy_from_slice(&self.device.0);
        bytes[41..].copy_from_slice(&self.mark);
        bytes
    }

    /// Reads the 105 bytes; whether the mark is good, [`Certificate::verify`] says.
    ///
    /// # Errors
    ///
    /// See [`CertificateError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CertificateError> {
        let bytes: &[u8; CERTIFICATE_BYTES] =
            bytes.try_into().map_err(|_| CertificateError::Length { bytes: bytes.len() })?;
        let (version, rest) = bytes.split_first().expect("105 bytes");
        if *version != VERSION {
            return Err(CertificateError::Version(*version));
        }
        let (author, rest) = rest.split_first_chunk().expect("104 bytes");
        let (device, mark) = rest.split_first_chunk().expect("72 bytes");
        let mark = mark.try_into().expect("64 bytes");
        Ok(Self { author: PeerId(*author), device: DeviceId(*device), mark })
    }
}

impl Serialize for Certificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Certificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <serde_bytes::ByteArray<CERTIFICATE_BYTES>>::deserialize(deserializer)?;
        Self::decode(&*bytes).map_err(de::Error::custom)
    }
}

/// The name of the chain of one device of an author.
#[must_use]
pub fn chain_id(channel: &ChannelId, author: &PeerId, device: &DeviceId) -> ChainId {
    ChainId(hash::unkeyed(CHAIN_ID_LABEL, &[&channel.0, &author.0, &device.0]))
}

/// What the first entry of a chain says it follows.
#[must_use]
pub fn chain_start(chain: &ChainId) -> EntryHash {
    EntryHash(hash::unkeyed(START_LABEL, &[&chain.0]))
}

fn marked(channel: &ChannelId, author: &PeerId, device: &DeviceId) -> Vec<u8> {
    let digest: [u8; 32] = hash::unkeyed(MARK_LABEL, &[&channel.0, &author.0, &device.0]);
    [MARK_LABEL.as_bytes(), &digest].concat()
}

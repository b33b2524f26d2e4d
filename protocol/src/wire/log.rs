//! Frames of the message log: who has what, what is wanted, entries, proofs of forks.

use std::fmt;

use bytes::Bytes;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bounded::list;
use crate::id::{ChainId, ChannelId};
use crate::limits::{CERTIFICATES_PER_FRAME_MAX, ENTRIES_PER_FRAME_MAX, HAVE_CHAINS_PER_FRAME_MAX};
use crate::log::{Certificate, ENTRY_BYTES_MAX};

/// An entry, or an outline of one, as it was signed; at most [`ENTRY_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryBytes(pub Bytes);

impl Serialize for EntryBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for EntryBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(EntryVisitor)
    }
}

struct EntryVisitor;

impl Visitor<'_> for EntryVisitor {
    type Value = EntryBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {ENTRY_BYTES_MAX} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<EntryBytes, E> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        Ok(EntryBytes(Bytes::copy_from_slice(bytes)))
    }
}

/// What the sender has of one chain on its disk: the entries `base + 1 ..= head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHave {
    /// The chain.
    pub chain: ChainId,
    /// The entry before the first.
    pub base: u64,
    /// The last entry.
    pub head: u64,
    /// The first 8 bytes of its hash.
    #[serde(with = "serde_bytes")]
    pub tip: [u8; 8],
}

/// What the sender has on its disk, as a change to what it said before: the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// A channel that both sides proved.
    pub channel: ChannelId,
    /// Whether everything said before is void. The first on a link is; more may follow it.
    #[serde(default)]
    pub full: bool,
    /// Whether the sender asks the receiver to say all that it has, once more.
    #[serde(default)]
    pub again: bool,
    /// At most [`HAVE_CHAINS_PER_FRAME_MAX`].
    #[serde(deserialize_with = "list::<_, _, HAVE_CHAINS_PER_FRAME_MAX>")]
    pub chains: Vec<ChainHave>,
}

/// The sender wants entries of a chain, from a number on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// A channel that both sides proved.
    pub channel: ChannelId,
    /// The chain.
    pub chain: ChainId,
    /// The first entry that is wanted.
    pub from: u64,
    /// About how many bytes may come; at most [`crate::limits::WANT_BYTES_MAX`] are sent.
    pub bytes: u32,
}

/// Entries: an answer to a [`Want`], or what its author has just said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// A channel that both sides proved.
    pub channel: ChannelId,
    /// Whether the rest of the answer follows in another frame.
    #[serde(default)]
    pub more: bool,
    /// Certificates of chains that the receiver may not know; at most [`CERTIFICATES_PER_FRAME_MAX`].
    #[serde(deserialize_with = "list::<_, _, CERTIFICATES_PER_FRAME_MAX>")]
    pub chains: Vec<Certificate>,
    /// In ascending order within each chain; at most [`ENTRIES_PER_FRAME_MAX`]. None: nothing of
    /// what was wanted is there.
    #[serde(deserialize_with = "list::<_, _, ENTRIES_PER_FRAME_MAX>")]
    pub entries: Vec<EntryBytes>,
}

/// Two entries of one chain and number: its author said different things to different peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// A channel that both sides proved.
    pub channel: ChannelId,
    /// Whose chain it is.
    pub chain: Certificate,
    /// The outline of one.
    pub first: EntryBytes,
    /// The outline of the other.
    pub second: EntryBytes,
}

//! The first words on a link: who is there, and which channels the two share.

use serde::{Deserialize, Serialize};

use super::WireAddress;
use super::bounded::list;
use crate::limits::PROOFS_MAX;

/// Shows that the sender knows a channel's key, to a receiver who knows it too: a MAC over the
/// handshake hash and the sender's role under the channel's proof key, or its member proof key. To
/// anybody else it is noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChannelProof(#[serde(with = "serde_bytes")] pub [u8; 16]);

/// The first frame of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of this language; a peer speaks the lower of the two.
    pub version: u16,
    /// Display name, at most [`crate::limits::NAME_BYTES_MAX`] bytes; may be empty.
    pub name: String,
    /// Chosen at random at each start of the sender: tells a restarted node from a second dial.
    #[serde(with = "serde_bytes")]
    pub incarnation: [u8; 8],
    /// Bit set of what the sender can do; unknown bits are ignored. None is defined yet.
    pub capabilities: u64,
    /// Where the sender sees the receiver.
    pub observed: Option<WireAddress>,
    /// One proof for each channel that the sender is in, and another for each that it is a member of,
    /// in random order, the link's own channel included; at most [`PROOFS_MAX`].
    #[serde(deserialize_with = "list::<_, _, PROOFS_MAX>")]
    pub proofs: Vec<ChannelProof>,
}

/// The sender joined or left channels while the link was up: the full list of proofs again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedChannels {
    /// As in [`Hello::proofs`].
    #[serde(deserialize_with = "list::<_, _, PROOFS_MAX>")]
    pub proofs: Vec<ChannelProof>,
}

/// The sender has another display name now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// As in [`Hello::name`].
    pub name: String,
}

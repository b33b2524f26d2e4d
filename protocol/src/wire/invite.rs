//! An invitation to a closed channel over a link that is there for another reason, and its answer;
//! see [`crate::invite`].

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::TicketBytes;
use super::bounded::list;
use crate::id::ChannelId;
use crate::limits::{INVITE_FILE_BYTES_MAX, TICKETS_MAX};

/// A `.chat` file as it travels, at most [`INVITE_FILE_BYTES_MAX`] bytes; read by
/// [`crate::channel::ChatFile::from_bytes`]. It holds a secret: what it prints for debugging does not.
#[derive(Clone, PartialEq, Eq)]
pub struct FileBytes(pub Zeroizing<Vec<u8>>);

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileBytes(_)")
    }
}

impl Serialize for FileBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for FileBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(FileVisitor)
    }
}

struct FileVisitor;

impl Visitor<'_> for FileVisitor {
    type Value = FileBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {INVITE_FILE_BYTES_MAX} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<FileBytes, E> {
        if bytes.len() > INVITE_FILE_BYTES_MAX {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        Ok(FileBytes(Zeroizing::new(bytes.to_vec())))
    }
}

/// The sender invites the receiver to a closed channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The channel.
    pub file: FileBytes,
    /// From the founder's to the receiver's, at most [`TICKETS_MAX`].
    #[serde(deserialize_with = "list::<_, _, TICKETS_MAX>")]
    pub tickets: Vec<TicketBytes>,
}

/// What the sender says to an [`Invite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteAnswer {
    /// The channel.
    pub channel: ChannelId,
    /// Whether the sender is in it now.
    pub accepted: bool,
}

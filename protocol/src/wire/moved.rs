//! How somebody is told that a closed channel goes on with new keys; see [`crate::session`].

use std::fmt;

use bytes::Bytes;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::channel::MOVE_BYTES_MAX;
use crate::crypto::Secret;
use crate::id::ChannelId;

/// A move as it was signed, at most [`MOVE_BYTES_MAX`] bytes; read by [`crate::channel::Move::decode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveBytes(pub Bytes);

impl Serialize for MoveBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for MoveBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(MoveVisitor)
    }
}

struct MoveVisitor;

impl Visitor<'_> for MoveVisitor {
    type Value = MoveBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MOVE_BYTES_MAX} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<MoveBytes, E> {
        if bytes.len() > MOVE_BYTES_MAX {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        Ok(MoveBytes(Bytes::copy_from_slice(bytes)))
    }
}

/// The key of the channel that takes the place of another: its secret, or its seed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedKey(pub Secret<32>);

impl Serialize for MovedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for MovedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = MovedKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("32 bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<MovedKey, E> {
        let mut key = Secret::new([0; 32]);
        if bytes.len() != key.expose().len() {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        key.expose_mut().copy_from_slice(bytes);
        Ok(MovedKey(key))
    }
}

/// A closed channel that the receiver is in goes on as another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The channel that is left.
    pub channel: ChannelId,
    /// The founder's word.
    #[serde(rename = "move")]
    pub moved: MoveBytes,
    /// The successor's secret where the receiver has proven to be a member, else its seed key.
    pub key: MovedKey,
}

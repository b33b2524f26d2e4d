//! The body of a profile's identity file: a MessagePack map.
//!
//! ```text
//! seed            bin 32, the Ed25519 seed of the identity
//! storage_key     bin 32, seals every other file of the profile
//! name            str, the display name; "" when none was chosen
//! udp_port        u16 or nil, the port chosen at the first start
//! client_profile  str or nil, the BitTorrent client this node looks like
//! ```

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::Secret;

/// Bytes of the name of a client profile.
const CLIENT_PROFILE_BYTES_MAX: usize = 64;

/// The body is not a map of the fields that an identity has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the identity in it is malformed")]
pub struct IdentityBodyError;

/// What the identity file keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityBody {
    /// The seed of the Ed25519 pair.
    pub seed: Secret<32>,
    /// Seals every other file of the profile.
    pub storage_key: Secret<32>,
    /// The display name; empty when none was chosen.
    pub name: String,
    /// The port chosen at the first start.
    pub udp_port: Option<u16>,
    /// The BitTorrent client that this node looks like.
    pub client_profile: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    seed: &'a serde_bytes::Bytes,
    #[serde(borrow)]
    storage_key: &'a serde_bytes::Bytes,
    name: &'a str,
    #[serde(default)]
    udp_port: Option<u16>,
    #[serde(default)]
    client_profile: Option<&'a str>,
}

impl IdentityBody {
    /// Writes the map.
    ///
    /// # Panics
    ///
    /// Never: its own fields always have a MessagePack form.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let fields = Fields {
            seed: serde_bytes::Bytes::new(self.seed.expose()),
            storage_key: serde_bytes::Bytes::new(self.storage_key.expose()),
            name: &self.name,
            udp_port: self.udp_port,
            client_profile: self.client_profile.as_deref(),
        };
        // Room for all of it at once: a vector that grows leaves copies of the seed behind.
        let room = 256 + self.name.len() + self.client_profile.as_ref().map_or(0, String::len);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        rmp_serde::encode::write_named(&mut *bytes, &fields)
            .expect("bytes, text and numbers always have a MessagePack form");
        bytes
    }

    /// Reads the map; fields that are not known are ignored.
    ///
    /// # Errors
    ///
    /// [`IdentityBodyError`] when a field is missing, of another type or of another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityBodyError> {
        let fields: Fields<'_> = rmp_serde::from_slice(bytes).map_err(|_| IdentityBodyError)?;
        if fields.client_profile.is_some_and(|name| name.len() > CLIENT_PROFILE_BYTES_MAX) {
            return Err(IdentityBodyError);
        }
        Ok(Self {
            seed: secret(fields.seed)?,
            storage_key: secret(fields.storage_key)?,
            name: fields.name.to_owned(),
            udp_port: fields.udp_port,
            client_profile: fields.client_profile.map(str::to_owned),
        })
    }
}

fn secret(bytes: &[u8]) -> Result<Secret<32>, IdentityBodyError> {
    let mut secret = Secret::new([0; 32]);
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| IdentityBodyError)?;
    secret.expose_mut().copy_from_slice(bytes);
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> IdentityBody {
        IdentityBody {
            seed: Secret::new([0xa1; 32]),
            storage_key: Secret::new([0xb2; 32]),
            name: "alice".to_owned(),
            udp_port: Some(40_123),
            client_profile: Some("qbittorrent-5.1.0".to_owned()),
        }
    }

    #[test]
    fn a_body_reads_back() {
        assert_eq!(IdentityBody::from_bytes(&body().to_bytes()), Ok(body()));
    }

    #[test]
    fn the_bytes_never_move_while_they_are_written() {
        let bytes = body().to_bytes();
        assert!(bytes.capacity() >= 256, "{}", bytes.capacity());
        assert!(bytes.len() < 256, "{}", bytes.len());
    }

    #[test]
    fn every_prefix_is_refused() {
        let bytes = body().to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(IdentityBody::from_bytes(&bytes[..len]), Err(IdentityBodyError));
        }
    }

    #[test]
    fn a_body_does_not_print_its_secrets() {
        let printed = format!("{:?}", body());
        assert!(printed.contains("seed: _, storage_key: _"), "{printed}");
    }
}

//! X25519 (RFC 7748).

use dryoc::classic::crypto_core::{crypto_scalarmult, crypto_scalarmult_base};

use super::{Rng, Secret};

/// Bytes of a public key, a secret key and a shared secret.
pub const DH_BYTES: usize = 32;

/// The other side's public key is of low order: the shared secret would be known to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("low-order X25519 public key")]
pub struct LowOrderKey;

/// An X25519 key pair.
#[derive(Debug, Clone)]
pub struct KeyPair {
    secret: Secret<DH_BYTES>,
    public: [u8; DH_BYTES],
}

impl KeyPair {
    /// Makes a fresh pair.
    #[must_use]
    pub fn generate(rng: &mut Rng) -> Self {
        Self::from_secret(rng.secret())
    }

    /// Completes a secret scalar with its public key.
    #[must_use]
    pub fn from_secret(secret: Secret<DH_BYTES>) -> Self {
        let mut public = [0; DH_BYTES];
        crypto_scalarmult_base(&mut public, secret.expose());
        Self { secret, public }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &[u8; DH_BYTES] {
        &self.public
    }

    /// Computes the secret shared with the holder of `public`.
    ///
    /// # Errors
    ///
    /// [`LowOrderKey`] when the result would be all zero.
    pub fn agree(&self, public: &[u8; DH_BYTES]) -> Result<Secret<DH_BYTES>, LowOrderKey> {
        let mut shared = Secret::new([0; DH_BYTES]);
        crypto_scalarmult(shared.expose_mut(), self.secret.expose(), public)
            .map_err(|_| LowOrderKey)?;
        Ok(shared)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn bytes(hex: &str) -> [u8; 32] {
        HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_first_vector_of_rfc_7748_section_5_2_holds() {
        let scalar = "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4";
        let u = "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c";
        let shared = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552";
        let pair = KeyPair::from_secret(Secret::new(bytes(scalar)));
        assert_eq!(pair.agree(&bytes(u)).unwrap(), Secret::new(bytes(shared)));
    }

    #[test]
    fn both_sides_agree() {
        let alice = KeyPair::from_secret(Secret::new([8; 32]));
        let bob = KeyPair::from_secret(Secret::new([9; 32]));
        assert_eq!(alice.agree(bob.public()), bob.agree(alice.public()));
    }

    #[test]
    fn a_low_order_key_is_refused() {
        let pair = KeyPair::from_secret(Secret::new([9; 32]));
        assert_eq!(pair.agree(&[0; 32]).unwrap_err(), LowOrderKey);
    }
}

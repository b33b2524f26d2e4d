//! Ed25519 (RFC 8032) and its X25519 form.

use std::fmt;

use dryoc::classic::crypto_sign::{
    crypto_sign_detached, crypto_sign_seed_keypair, crypto_sign_verify_detached,
};
use dryoc::classic::crypto_sign_ed25519::{
    crypto_sign_ed25519_pk_to_curve25519, crypto_sign_ed25519_sk_to_curve25519,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::Secret;
use super::dh;

/// Bytes of a public key.
pub const PUBLIC_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The key is not a point of prime order in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid Ed25519 public key")]
pub struct InvalidPublicKey;

/// An Ed25519 key pair made from a 32-byte seed.
pub struct SigningKey {
    seed: Secret<32>,
    secret: Zeroizing<[u8; 64]>,
    public: [u8; PUBLIC_BYTES],
}

impl SigningKey {
    /// Expands a seed into the pair.
    #[must_use]
    pub fn from_seed(seed: Secret<32>) -> Self {
        let (public, mut secret) = crypto_sign_seed_keypair(seed.expose());
        let pair = Self { seed, secret: Zeroizing::new(secret), public };
        secret.zeroize();
        pair
    }

    /// The seed, to be stored.
    #[must_use]
    pub const fn seed(&self) -> &Secret<32> {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        crypto_sign_detached(&mut signature, message, &self.secret)
            .expect("a key of the right length always signs");
        signature
    }

    /// The same identity as an X25519 pair.
    #[must_use]
    pub fn to_dh(&self) -> dh::KeyPair {
        let mut secret = Secret::new([0; dh::DH_BYTES]);
        crypto_sign_ed25519_sk_to_curve25519(secret.expose_mut(), &self.secret);
        dh::KeyPair::from_secret(secret)
    }
}

impl Clone for SigningKey {
    fn clone(&self) -> Self {
        Self { seed: self.seed.clone(), secret: self.secret.clone(), public: self.public }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(_)")
    }
}

/// Whether `signature` is `public`'s over `message`.
#[must_use]
pub fn verify(
    public: &[u8; PUBLIC_BYTES],
    message: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    crypto_sign_verify_detached(signature, message, public).is_ok()
}

/// The X25519 form of an Ed25519 public key.
///
/// # Errors
///
/// [`InvalidPublicKey`] for a point that is not canonical, not on the curve or not of prime order.
pub fn public_to_dh(public: &[u8; PUBLIC_BYTES]) -> Result<[u8; dh::DH_BYTES], InvalidPublicKey> {
    let mut converted = [0; dh::DH_BYTES];
    crypto_sign_ed25519_pk_to_curve25519(&mut converted, public).map_err(|_| InvalidPublicKey)?;
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn the_first_vector_of_rfc_8032_section_7_1_holds() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        let seed = HEXLOWER.decode(seed.as_bytes()).unwrap().try_into().unwrap();
        let key = SigningKey::from_seed(Secret::new(seed));
        assert_eq!(HEXLOWER.encode(key.public()), public);
        assert_eq!(HEXLOWER.encode(&key.sign(b"")), signature);
        assert!(verify(key.public(), b"", &key.sign(b"")));
        assert!(!verify(key.public(), b"x", &key.sign(b"")));
    }

    #[test]
    fn both_halves_convert_to_the_same_x25519_pair() {
        let key = SigningKey::from_seed(Secret::new([3; 32]));
        assert_eq!(public_to_dh(key.public()).unwrap(), *key.to_dh().public());
    }

    #[test]
    fn a_point_of_small_order_is_refused() {
        assert_eq!(public_to_dh(&[0; 32]), Err(InvalidPublicKey));
    }
}

//! ML-KEM-768 (FIPS 203).

use std::fmt;

use dryoc::classic::crypto_kem_mlkem768::{
    SecretKey, crypto_kem_mlkem768_dec, crypto_kem_mlkem768_enc_deterministic,
    crypto_kem_mlkem768_seed_keypair,
};
use zeroize::Zeroizing;

use super::{Rng, Secret};

/// Bytes of an encapsulation (public) key.
pub const KEM_PUBLIC_BYTES: usize = 1184;
/// Bytes of a ciphertext.
pub const KEM_CIPHERTEXT_BYTES: usize = 1088;
/// Bytes of the shared secret.
pub const KEM_SHARED_BYTES: usize = 32;

/// The other side's encapsulation key is not a valid one (FIPS 203, section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid ML-KEM-768 encapsulation key")]
pub struct InvalidKemKey;

/// A decapsulation key with its public half.
pub struct KemKeyPair {
    secret: Zeroizing<SecretKey>,
    public: Box<[u8; KEM_PUBLIC_BYTES]>,
}

impl KemKeyPair {
    /// Makes a fresh pair.
    #[must_use]
    pub fn generate(rng: &mut Rng) -> Self {
        let seed: Secret<64> = rng.secret();
        let (public, secret) = crypto_kem_mlkem768_seed_keypair(seed.expose());
        Self { secret: Zeroizing::new(secret), public: Box::new(public) }
    }

    /// The encapsulation key.
    #[must_use]
    pub const fn public(&self) -> &[u8; KEM_PUBLIC_BYTES] {
        &self.public
    }

    /// Recovers the secret in `ciphertext`; a foreign ciphertext gives an unrelated secret
    /// (implicit rejection), never an error.
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &[u8; KEM_CIPHERTEXT_BYTES]) -> Secret<KEM_SHARED_BYTES> {
        let mut shared = Secret::new([0; KEM_SHARED_BYTES]);
        crypto_kem_mlkem768_dec(shared.expose_mut(), ciphertext, &self.secret);
        shared
    }
}

impl fmt::Debug for KemKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemKeyPair(_)")
    }
}

/// Makes a fresh secret for the holder of `public`, and the ciphertext that carries it.
///
/// # Errors
///
/// [`InvalidKemKey`] when `public` fails the modulus check.
pub fn encapsulate(
    rng: &mut Rng,
    public: &[u8; KEM_PUBLIC_BYTES],
) -> Result<(Box<[u8; KEM_CIPHERTEXT_BYTES]>, Secret<KEM_SHARED_BYTES>), InvalidKemKey> {
    let seed: Secret<32> = rng.secret();
    let mut ciphertext = Box::new([0; KEM_CIPHERTEXT_BYTES]);
    let mut shared = Secret::new([0; KEM_SHARED_BYTES]);
    crypto_kem_mlkem768_enc_deterministic(
        &mut ciphertext,
        shared.expose_mut(),
        public,
        seed.expose(),
    )
    .map_err(|_| InvalidKemKey)?;
    Ok((ciphertext, shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_share_the_secret_and_a_changed_ciphertext_gives_another() {
        let mut rng = Rng::from_seed([1; 32]);
        let pair = KemKeyPair::generate(&mut rng);
        let (mut ciphertext, shared) = encapsulate(&mut rng, pair.public()).unwrap();
        assert_eq!(pair.decapsulate(&ciphertext), shared);
        ciphertext[0] ^= 1;
        assert_ne!(pair.decapsulate(&ciphertext), shared);
    }

    #[test]
    fn a_key_with_an_unreduced_coefficient_is_refused() {
        let mut rng = Rng::from_seed([1; 32]);
        assert_eq!(encapsulate(&mut rng, &[0xff; KEM_PUBLIC_BYTES]).unwrap_err(), InvalidKemKey);
    }
}

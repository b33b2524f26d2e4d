//! Authenticated encryption: ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305 through dryoc.
//!
//! ChaCha20-Poly1305 protects Noise payloads and packets, under counters. XChaCha20-Poly1305 seals
//! what is stored, under random nonces.

use dryoc::classic::crypto_aead_chacha20poly1305_ietf as chacha;
use dryoc::classic::crypto_aead_xchacha20poly1305_ietf as xchacha;

use super::{Rng, Secret};

/// Bytes that sealing adds.
pub const TAG_BYTES: usize = 16;
/// Bytes of an XChaCha20-Poly1305 nonce.
pub const XNONCE_BYTES: usize = 24;

/// The ciphertext, its associated data or the key is not the one it was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open under this key")]
pub struct OpenError;

/// Seals `buf[..len - 16]` in place and writes the tag into the last 16 bytes.
///
/// # Panics
///
/// When `buf` is shorter than a tag: a mistake of the caller.
pub fn seal_in_place(key: &Secret<32>, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) {
    chacha::crypto_aead_chacha20poly1305_ietf_encrypt_inplace(buf, Some(ad), nonce, key.expose())
        .expect("the buffer has room for the tag");
}

/// Opens `buf` in place; the plaintext is `buf[..len - 16]` afterwards.
///
/// # Errors
///
/// [`OpenError`] when anything differs from what was sealed, or `buf` is shorter than a tag.
pub fn open_in_place(
    key: &Secret<32>,
    nonce: &[u8; 12],
    ad: &[u8],
    buf: &mut [u8],
) -> Result<(), OpenError> {
    chacha::crypto_aead_chacha20poly1305_ietf_decrypt_inplace(buf, Some(ad), nonce, key.expose())
        .map_err(|_| OpenError)
}

/// Seals `plain` under a random nonce, which precedes the ciphertext: 40 bytes more than `plain`.
#[must_use]
pub fn seal_at_rest(key: &Secret<32>, rng: &mut Rng, ad: &[u8], plain: &[u8]) -> Vec<u8> {
    let nonce: [u8; XNONCE_BYTES] = rng.array();
    let mut sealed = vec![0; XNONCE_BYTES + plain.len() + TAG_BYTES];
    sealed[..XNONCE_BYTES].copy_from_slice(&nonce);
    xchacha::crypto_aead_xchacha20poly1305_ietf_encrypt(
        &mut sealed[XNONCE_BYTES..],
        plain,
        Some(ad),
        &nonce,
        key.expose(),
    )
    .expect("the buffer has room for the tag");
    sealed
}

/// Opens what [`seal_at_rest`] made.
///
/// # Errors
///
/// [`OpenError`] when anything differs from what was sealed.
pub fn open_at_rest(key: &Secret<32>, ad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<XNONCE_BYTES>().ok_or(OpenError)?;
    let mut plain = vec![0; ciphertext.len().checked_sub(TAG_BYTES).ok_or(OpenError)?];
    xchacha::crypto_aead_xchacha20poly1305_ietf_decrypt(
        &mut plain,
        ciphertext,
        Some(ad),
        nonce,
        key.expose(),
    )
    .map_err(|_| OpenError)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn the_vector_of_rfc_8439_section_2_8_2_holds() {
        let key: [u8; 32] = std::array::from_fn(|at| 0x80 + u8::try_from(at).unwrap());
        let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
        let ad = HEXLOWER.decode(b"50515253c0c1c2c3c4c5c6c7").unwrap();
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
                      tip for the future, sunscreen would be it.";
        let mut buf = plain.to_vec();
        buf.extend([0; TAG_BYTES]);
        seal_in_place(&Secret::new(key), &nonce, &ad, &mut buf);
        assert_eq!(HEXLOWER.encode(&buf[..8]), "d31a8d34648e60db");
        assert_eq!(HEXLOWER.encode(&buf[plain.len()..]), "1ae10b594f09e26a7e902ecbd0600691");
        open_in_place(&Secret::new(key), &nonce, &ad, &mut buf).unwrap();
        assert_eq!(&buf[..plain.len()], plain);
    }

    #[test]
    fn one_changed_bit_anywhere_is_noticed_at_rest() {
        let key = Secret::new([1; 32]);
        let sealed = seal_at_rest(&key, &mut Rng::from_seed([2; 32]), b"ad", b"plain");
        assert_eq!(open_at_rest(&key, b"ad", &sealed).unwrap(), b"plain");
        for bit in 0..sealed.len() * 8 {
            let mut wrong = sealed.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_at_rest(&key, b"ad", &wrong), Err(OpenError));
        }
        assert_eq!(open_at_rest(&key, b"AD", &sealed), Err(OpenError));
        assert_eq!(open_at_rest(&Secret::new([3; 32]), b"ad", &sealed), Err(OpenError));
        for len in 0..sealed.len() {
            assert_eq!(open_at_rest(&key, b"ad", &sealed[..len]), Err(OpenError));
        }
    }
}

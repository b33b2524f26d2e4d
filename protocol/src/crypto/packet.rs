//! What protects packets beside ChaCha20-Poly1305: AES-256-GCM through ring, and the masks that hide
//! packet numbers. Everything works in place and allocates nothing.

use std::fmt;

use dryoc::classic::crypto_core::crypto_core_hchacha20;
use ring::aead::quic::{AES_256, HeaderProtectionKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::Secret;
use super::aead::{OpenError, TAG_BYTES};

/// Bytes of ciphertext from which a mask is made.
pub const SAMPLE_BYTES: usize = 16;
/// Bytes of a mask: one for the first byte, four for the packet number.
pub const MASK_BYTES: usize = 5;

/// Whether this processor has instructions for AES and for GCM's multiplication.
#[must_use]
pub fn has_fast_aes() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    return std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    false
}

/// An AES-256-GCM key (NIST SP 800-38D), its schedule expanded.
pub struct AesGcm(LessSafeKey);

impl AesGcm {
    /// Expands the key.
    #[must_use]
    pub fn new(key: &Secret<32>) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("the key has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals `buf[..len - 16]` in place and writes the tag into the last 16 bytes.
    ///
    /// # Panics
    ///
    /// When `buf` is shorter than a tag: a mistake of the caller.
    pub fn seal_in_place(&self, nonce: [u8; 12], ad: &[u8], buf: &mut [u8]) {
        let (plain, tag) = buf.split_at_mut(buf.len() - TAG_BYTES);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(ad), plain)
            .expect("a packet is far below the limit of GCM");
        tag.copy_from_slice(sealed.as_ref());
    }

    /// Opens `buf` in place; the plaintext is `buf[..len - 16]` afterwards.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when anything differs from what was sealed, or `buf` is shorter than a tag.
    pub fn open_in_place(
        &self,
        nonce: [u8; 12],
        ad: &[u8],
        buf: &mut [u8],
    ) -> Result<(), OpenError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(ad), buf).map(|_| ()).map_err(|_| OpenError)
    }
}

impl fmt::Debug for AesGcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesGcm(_)")
    }
}

/// Makes masks as AES-256 does in RFC 9001, section 5.4.3.
pub struct AesMask(HeaderProtectionKey);

impl AesMask {
    /// Expands the key.
    #[must_use]
    pub fn new(key: &Secret<32>) -> Self {
        Self(HeaderProtectionKey::new(&AES_256, key.expose()).expect("the key has 32 bytes"))
    }

    /// The mask for a sample of ciphertext.
    #[must_use]
    pub fn mask(&self, sample: &[u8; SAMPLE_BYTES]) -> [u8; MASK_BYTES] {
        self.0.new_mask(sample).expect("the sample has 16 bytes")
    }
}

impl fmt::Debug for AesMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesMask(_)")
    }
}

/// The mask for a sample: the first bytes of HChaCha20(key, sample), a pseudorandom function.
#[must_use]
pub fn chacha_mask(key: &Secret<32>, sample: &[u8; SAMPLE_BYTES]) -> [u8; MASK_BYTES] {
    let mut out = [0; 32];
    crypto_core_hchacha20(&mut out, sample, key.expose(), None);
    let mut mask = [0; MASK_BYTES];
    mask.copy_from_slice(&out[..MASK_BYTES]);
    mask
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    #[test]
    fn test_case_14_of_the_gcm_paper_holds() {
        let key = AesGcm::new(&Secret::new([0; 32]));
        let mut buf = [0; 32];
        key.seal_in_place([0; 12], b"", &mut buf);
        let expected = "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919";
        assert_eq!(HEXLOWER.encode(&buf), expected);
        assert_eq!(key.open_in_place([1; 12], b"", &mut buf.clone()), Err(OpenError));
        assert_eq!(key.open_in_place([0; 12], b"x", &mut buf.clone()), Err(OpenError));
        assert_eq!(key.open_in_place([0; 12], b"", &mut buf[..15].to_vec()), Err(OpenError));
        key.open_in_place([0; 12], b"", &mut buf).unwrap();
        assert_eq!(buf[..16], [0; 16]);
    }

    #[test]
    fn the_aes_256_mask_is_the_first_bytes_of_the_block_of_fips_197() {
        let key = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let mask = AesMask::new(&Secret::new(key)).mask(&hex("00112233445566778899aabbccddeeff"));
        assert_eq!(HEXLOWER.encode(&mask), "8ea2b7ca51");
    }

    #[test]
    fn the_hchacha20_vector_of_the_xchacha_draft_section_2_2_1_holds() {
        let key = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let mask = chacha_mask(&Secret::new(key), &hex("000000090000004a0000000031415927"));
        assert_eq!(HEXLOWER.encode(&mask), "82413b4227");
    }
}

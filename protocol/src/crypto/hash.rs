//! BLAKE2b (RFC 7693), unkeyed, keyed, and as the labelled key derivation of this project.
//!
//! ```text
//! derive(key, label, parts) = BLAKE2b-N(key = key, len8(label) || label || for each part: len32(part) || part)
//! ```
//!
//! The lengths (one byte; four bytes, big-endian) make the input injective: no two different lists
//! of parts hash the same bytes. `N` is part of BLAKE2b's parameter block, so outputs of different
//! lengths are unrelated.

use dryoc::classic::crypto_generichash::{
    GenericHashState, crypto_generichash_final, crypto_generichash_init, crypto_generichash_update,
};

use super::Secret;
use super::secret::equal;

/// Derives `N` (1 to 64) secret bytes from `key` (1 to 64 bytes) for the purpose named by `label`.
#[must_use]
pub fn derive<const N: usize>(key: &[u8], label: &str, parts: &[&[u8]]) -> Secret<N> {
    let mut out = Secret::new([0; N]);
    labelled(Some(key), label, parts, out.expose_mut());
    out
}

/// Computes an `N`-byte message authentication code; the same construction as [`derive()`].
#[must_use]
pub fn mac<const N: usize>(key: &[u8], label: &str, parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    labelled(Some(key), label, parts, &mut out);
    out
}

/// Checks a code made by [`mac`], in constant time.
#[must_use]
pub fn verify_mac<const N: usize>(
    code: &[u8; N],
    key: &[u8],
    label: &str,
    parts: &[&[u8]],
) -> bool {
    equal(code, &mac::<N>(key, label, parts))
}

/// Hashes public bytes to `N` (1 to 64) bytes; the same construction without a key.
#[must_use]
pub fn unkeyed<const N: usize>(label: &str, parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    labelled(None, label, parts, &mut out);
    out
}

/// Plain BLAKE2b-512 of the concatenated parts, for Noise.
#[must_use]
pub fn blake2b_512(parts: &[&[u8]]) -> [u8; 64] {
    let mut out = [0; 64];
    let mut state = init(None, 64);
    for part in parts {
        crypto_generichash_update(&mut state, part);
    }
    finish(state, &mut out);
    out
}

fn labelled(key: Option<&[u8]>, label: &str, parts: &[&[u8]], out: &mut [u8]) {
    let mut state = init(key, out.len());
    let label_len = u8::try_from(label.len()).expect("labels are constants under 256 bytes");
    crypto_generichash_update(&mut state, &[label_len]);
    crypto_generichash_update(&mut state, label.as_bytes());
    for part in parts {
        let len = u32::try_from(part.len()).expect("parts are bounded below 4 GiB");
        crypto_generichash_update(&mut state, &len.to_be_bytes());
        crypto_generichash_update(&mut state, part);
    }
    finish(state, out);
}

fn init(key: Option<&[u8]>, len: usize) -> GenericHashState {
    assert!(key.is_none_or(|key| (1..=64).contains(&key.len())), "BLAKE2b keys are 1 to 64 bytes");
    crypto_generichash_init(key, len).expect("1 to 64 bytes are asked for")
}

fn finish(state: GenericHashState, out: &mut [u8]) {
    crypto_generichash_final(state, out).expect("1 to 64 bytes are asked for");
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn blake2b_512_of_abc_is_the_vector_of_rfc_7693() {
        let expected = "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1\
                        7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923";
        assert_eq!(HEXLOWER.encode(&blake2b_512(&[b"a", b"bc"])), expected);
    }

    #[test]
    fn changing_any_one_input_changes_the_derived_key() {
        let base = derive::<32>(&[1; 32], "label", &[b"ab", b"c"]);
        assert_eq!(base, derive(&[1; 32], "label", &[b"ab", b"c"]));
        assert_ne!(base, derive(&[2; 32], "label", &[b"ab", b"c"]));
        assert_ne!(base, derive(&[1; 32], "labe1", &[b"ab", b"c"]));
        assert_ne!(base, derive(&[1; 32], "label", &[b"a", b"bc"]));
        assert_ne!(base, derive(&[1; 32], "label", &[b"abc"]));
        assert_ne!(base, derive(&[1; 32], "label", &[b"ab", b"c", b""]));
    }

    #[test]
    fn a_code_verifies_only_under_its_own_key_and_text() {
        let code = mac::<12>(&[1; 32], "label", &[b"text"]);
        assert!(verify_mac(&code, &[1; 32], "label", &[b"text"]));
        assert!(!verify_mac(&code, &[2; 32], "label", &[b"text"]));
        assert!(!verify_mac(&code, &[1; 32], "label", &[b"Text"]));
    }
}

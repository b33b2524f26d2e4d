//! CipherState and SymmetricState (Noise, sections 5.1 and 5.2).

use std::fmt;

use zeroize::Zeroizing;

use super::HASH_BYTES;
use crate::crypto::aead::{self, OpenError, TAG_BYTES};
use crate::crypto::{Secret, hash};

/// Bytes of a BLAKE2b block, the block of HMAC (Noise, section 4.3: BLOCKLEN).
const BLOCK_BYTES: usize = 128;

/// A key and its counter.
#[derive(Debug, Clone)]
struct CipherState {
    k: Secret<32>,
    n: u64,
}

impl CipherState {
    /// The 96-bit nonce: four zero bytes, then `n` little-endian (Noise, section 12.3).
    fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.n.to_le_bytes());
        self.n += 1;
        nonce
    }
}

/// The chaining key, the transcript hash, and the key once there is one.
#[derive(Clone)]
pub struct SymmetricState {
    cipher: Option<CipherState>,
    ck: Secret<HASH_BYTES>,
    h: [u8; HASH_BYTES],
}

impl SymmetricState {
    /// `InitializeSymmetric(protocol_name)`.
    ///
    /// # Panics
    ///
    /// When the name is longer than the hash: it is one of our constants.
    #[must_use]
    pub fn new(protocol_name: &str) -> Self {
        // If protocol_name is less than or equal to HASHLEN bytes in length, sets h equal to
        // protocol_name with zero bytes appended to make HASHLEN bytes.
        let mut h = [0; HASH_BYTES];
        h[..protocol_name.len()].copy_from_slice(protocol_name.as_bytes());
        // ck = h
        Self { cipher: None, ck: Secret::new(h), h }
    }

    /// `MixHash(data)`.
    pub fn mix_hash(&mut self, data: &[u8]) {
        // h = HASH(h || data)
        self.h = hash::blake2b_512(&[&self.h, data]);
    }

    /// `MixKey(input_key_material)`.
    pub fn mix_key(&mut self, input_key_material: &[u8]) {
        // ck, temp_k = HKDF(ck, input_key_material, 2)
        let [ck, temp_k] = hkdf(&self.ck, input_key_material);
        self.ck = ck;
        // InitializeKey(temp_k), truncated to 32 bytes
        self.initialize_key(&temp_k);
    }

    /// `MixKeyAndHash(input_key_material)`.
    pub fn mix_key_and_hash(&mut self, input_key_material: &[u8]) {
        // ck, temp_h, temp_k = HKDF(ck, input_key_material, 3)
        let [ck, temp_h, temp_k] = hkdf(&self.ck, input_key_material);
        self.ck = ck;
        self.mix_hash(temp_h.expose());
        self.initialize_key(&temp_k);
    }

    /// `EncryptAndHash(plaintext)`, appended to `out`.
    pub fn encrypt_and_hash(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(plaintext);
        if let Some(cipher) = &mut self.cipher {
            // ciphertext = ENCRYPT(k, n++, ad = h, plaintext)
            out.extend_from_slice(&[0; TAG_BYTES]);
            let nonce = cipher.nonce();
            aead::seal_in_place(&cipher.k, &nonce, &self.h, &mut out[start..]);
        }
        // h = HASH(h || ciphertext)
        self.mix_hash(&out[start..]);
    }

    /// `DecryptAndHash(ciphertext)`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the ciphertext does not belong to this key and transcript.
    pub fn decrypt_and_hash(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut plaintext = ciphertext.to_vec();
        if let Some(cipher) = &mut self.cipher {
            // plaintext = DECRYPT(k, n++, ad = h, ciphertext)
            let nonce = cipher.nonce();
            aead::open_in_place(&cipher.k, &nonce, &self.h, &mut plaintext)?;
            plaintext.truncate(ciphertext.len() - TAG_BYTES);
        }
        // h = HASH(h || ciphertext)
        self.mix_hash(ciphertext);
        Ok(plaintext)
    }

    /// `Split()`: the keys from initiator to responder and back.
    #[must_use]
    pub fn split(&self) -> [Secret<32>; 2] {
        // temp_k1, temp_k2 = HKDF(ck, zerolen, 2), truncated to 32 bytes
        let keys: [Secret<HASH_BYTES>; 2] = hkdf(&self.ck, &[]);
        keys.map(|key| truncated(&key))
    }

    /// A key for another purpose from where the handshake stands now: bound to the chaining key and
    /// to the transcript. Outside the paper; see `docs/spec/03-handshake.md`,
    /// section 4.
    #[must_use]
    pub fn derive(&self, label: &str) -> Secret<32> {
        hash::derive(self.ck.expose(), label, &[&self.h])
    }

    /// `GetHandshakeHash()`.
    #[must_use]
    pub const fn handshake_hash(&self) -> &[u8; HASH_BYTES] {
        &self.h
    }

    /// Bytes that sealing adds where the handshake stands now: none before the first key.
    #[must_use]
    pub const fn overhead(&self) -> usize {
        if self.cipher.is_some() { TAG_BYTES } else { 0 }
    }

    fn initialize_key(&mut self, temp_k: &Secret<HASH_BYTES>) {
        self.cipher = Some(CipherState { k: truncated(temp_k), n: 0 });
    }
}

impl fmt::Debug for SymmetricState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricState(_)")
    }
}

fn truncated(key: &Secret<HASH_BYTES>) -> Secret<32> {
    let mut short = Secret::new([0; 32]);
    short.expose_mut().copy_from_slice(&key.expose()[..32]);
    short
}

/// `HKDF(chaining_key, input_key_material, N)` (Noise, section 4.3).
fn hkdf<const N: usize>(
    chaining_key: &Secret<HASH_BYTES>,
    input_key_material: &[u8],
) -> [Secret<HASH_BYTES>; N] {
    // temp_key = HMAC-HASH(chaining_key, input_key_material)
    let temp_key = hmac(chaining_key.expose(), input_key_material, &[]);
    // output1 = HMAC-HASH(temp_key, 0x01), output2 = HMAC-HASH(temp_key, output1 || 0x02), ...
    let mut counter = 0;
    let mut previous: Option<Secret<HASH_BYTES>> = None;
    std::array::from_fn(|_| {
        counter += 1;
        let last = previous.as_ref().map_or(&[][..], |output| &output.expose()[..]);
        let output = hmac(temp_key.expose(), last, &[counter]);
        previous = Some(output.clone());
        output
    })
}

/// HMAC (RFC 2104) over BLAKE2b of `text || more`; our keys are one hash long, under one block.
fn hmac(key: &[u8; HASH_BYTES], text: &[u8], more: &[u8]) -> Secret<HASH_BYTES> {
    let pad = |byte: u8| {
        let mut block = Zeroizing::new([byte; BLOCK_BYTES]);
        block.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        block
    };
    // H(K xor opad || H(K xor ipad || text))
    let inner = Zeroizing::new(hash::blake2b_512(&[&pad(0x36)[..], text, more]));
    Secret::new(hash::blake2b_512(&[&pad(0x5c)[..], &inner[..]]))
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn a_name_is_padded_with_zeros_and_is_both_the_hash_and_the_chaining_key() {
        let state = SymmetricState::new("Noise_N");
        assert_eq!(&state.h[..8], b"Noise_N\0");
        assert_eq!(state.ck, Secret::new(state.h));
    }

    #[test]
    fn sealing_under_another_transcript_does_not_open() {
        let mut alice = SymmetricState::new("name");
        alice.mix_key(b"key");
        let mut bob = alice.clone();
        bob.mix_hash(b"something else was said");
        let mut sealed = Vec::new();
        alice.encrypt_and_hash(b"plain", &mut sealed);
        assert_eq!(bob.decrypt_and_hash(&sealed), Err(OpenError));
    }

    #[test]
    fn hmac_blake2b_is_the_published_construction() {
        // Python: hmac.new(bytes(64), b"data", "blake2b").hexdigest()
        let code = hmac(&[0; 64], b"da", b"ta");
        assert_eq!(HEXLOWER.encode(&code.expose()[..8]), "e1142b03a111b612");
    }
}

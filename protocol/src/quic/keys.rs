//! Keys of packets and of their headers, at every level.
//!
//! ```text
//! key    = derive(traffic secret, "bitchat v1 packet key")            32 bytes
//! iv     = derive(traffic secret, "bitchat v1 packet iv")             12 bytes
//! nonce  = iv xor (0^4 || packet number, u64 big-endian)              RFC 9001, section 5.3
//! mask   = AES-256(header key, sample)  or  HChaCha20(header key, sample)[..5]
//! ```
//!
//! Initial and Handshake packets are always under ChaCha20-Poly1305.

use std::fmt;

use bytes::BytesMut;
use quinn_proto::Side;
use quinn_proto::crypto::{CryptoError, HeaderKey, KeyPair, Keys, PacketKey};

use crate::crypto::aead::{self, TAG_BYTES};
use crate::crypto::packet::{AesGcm, AesMask, MASK_BYTES, SAMPLE_BYTES, chacha_mask, has_fast_aes};
use crate::crypto::{Secret, hash};

/// Packets protected by one generation of keys before the next is taken: 2^23, the bound of RFC
/// 9001, section 6.6 for AES-GCM, kept for both.
const PACKETS_PER_GENERATION_MAX: u64 = 1 << 23;

/// Forged packets endured in a link's life (RFC 9001, section 6.6): 2^52 for AES-GCM, 2^36 for
/// ChaCha20-Poly1305.
const FORGERIES_AES_MAX: u64 = 1 << 52;
const FORGERIES_CHACHA_MAX: u64 = 1 << 36;

/// From the packet number to the sample, as if the number had four bytes (RFC 9001, section 5.4.2).
const SAMPLE_OFFSET: usize = 4;

/// What protects the packets of a link after its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-256-GCM: the fastest where the processor has instructions for it.
    Aes256Gcm,
    /// ChaCha20-Poly1305: the fastest elsewhere.
    ChaCha20Poly1305,
}

impl Suite {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Aes256Gcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }
}

/// Which suites a node speaks, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuitePreference(Vec<Suite>);

impl SuitePreference {
    /// What is fastest on this processor first.
    #[must_use]
    pub fn auto() -> Self {
        if has_fast_aes() { Self::aes_first() } else { Self::chacha_first() }
    }

    /// AES-256-GCM, and ChaCha20-Poly1305 with those who prefer it.
    #[must_use]
    pub fn aes_first() -> Self {
        Self(vec![Suite::Aes256Gcm, Suite::ChaCha20Poly1305])
    }

    /// ChaCha20-Poly1305, and AES-256-GCM with those who have nothing else.
    #[must_use]
    pub fn chacha_first() -> Self {
        Self(vec![Suite::ChaCha20Poly1305, Suite::Aes256Gcm])
    }

    /// ChaCha20-Poly1305 and nothing else.
    #[must_use]
    pub fn chacha_only() -> Self {
        Self(vec![Suite::ChaCha20Poly1305])
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.0.iter().map(|suite| suite.byte()).collect()
    }

    /// The best for the slower side: AES-256-GCM only if both put it first.
    pub(super) fn choose(&self, offered: &[u8]) -> Option<Suite> {
        let offered: Vec<Suite> =
            offered.iter().filter_map(|byte| Suite::from_byte(*byte)).collect();
        let theirs = offered.iter().find(|suite| self.0.contains(suite))?;
        let ours = self.0.iter().find(|suite| offered.contains(suite))?;
        let slow = Suite::ChaCha20Poly1305;
        Some(if *theirs == slow || *ours == slow { slow } else { *ours })
    }

    pub(super) fn contains(&self, suite: Suite) -> bool {
        self.0.contains(&suite)
    }
}

/// Keys of the first packets: known to whoever holds the channel's key and sees the id.
pub(super) fn initial_keys(initial: &Secret<32>, cid: &[u8], side: Side) -> Keys {
    initial_pair(initial, cid).keys(Suite::ChaCha20Poly1305, side)
}

fn initial_pair(initial: &Secret<32>, cid: &[u8]) -> Pair {
    let secret = |label| hash::derive(initial.expose(), label, &[cid]);
    Pair {
        dialler: secret("bitchat v1 initial dialler"),
        listener: secret("bitchat v1 initial listener"),
    }
}

/// The traffic secrets of both directions at one level or generation.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) dialler: Secret<32>,
    pub(super) listener: Secret<32>,
}

impl Pair {
    /// Both kinds of keys, from `side`'s point of view.
    pub(super) fn keys(&self, suite: Suite, side: Side) -> Keys {
        let header = |secret| -> Box<dyn HeaderKey> { Box::new(HeaderMask::new(suite, secret)) };
        let (local, remote) = self.ordered(side);
        Keys {
            header: KeyPair { local: header(local), remote: header(remote) },
            packet: self.packet_keys(suite, side),
        }
    }

    /// Packet keys alone: header keys stay for the life of the link.
    pub(super) fn packet_keys(&self, suite: Suite, side: Side) -> KeyPair<Box<dyn PacketKey>> {
        let packet = |secret| -> Box<dyn PacketKey> { Box::new(Protection::new(suite, secret)) };
        let (local, remote) = self.ordered(side);
        KeyPair { local: packet(local), remote: packet(remote) }
    }

    /// The next generation; a fresh secret makes it unknown to whoever stole this one.
    pub(super) fn next(&self, fresh: Option<&Secret<32>>) -> Self {
        let step = |secret: &Secret<32>| match fresh {
            None => hash::derive(secret.expose(), "bitchat v1 next keys", &[]),
            Some(fresh) => {
                hash::derive(secret.expose(), "bitchat v1 renewed keys", &[fresh.expose()])
            }
        };
        Self { dialler: step(&self.dialler), listener: step(&self.listener) }
    }

    const fn ordered(&self, side: Side) -> (&Secret<32>, &Secret<32>) {
        match side {
            Side::Client => (&self.dialler, &self.listener),
            Side::Server => (&self.listener, &self.dialler),
        }
    }
}

enum Aead {
    Aes(Box<AesGcm>),
    ChaCha(Secret<32>),
}

/// Protects the payloads of one direction.
struct Protection {
    aead: Aead,
    iv: [u8; 12],
}

impl Protection {
    fn new(suite: Suite, secret: &Secret<32>) -> Self {
        let key: Secret<32> = hash::derive(secret.expose(), "bitchat v1 packet key", &[]);
        let iv: Secret<12> = hash::derive(secret.expose(), "bitchat v1 packet iv", &[]);
        let aead = match suite {
            Suite::Aes256Gcm => Aead::Aes(Box::new(AesGcm::new(&key))),
            Suite::ChaCha20Poly1305 => Aead::ChaCha(key),
        };
        Self { aead, iv: *iv.expose() }
    }

    fn nonce(&self, packet: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(packet.to_be_bytes()).for_each(|(iv, byte)| *iv ^= byte);
        nonce
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protection(_)")
    }
}

impl PacketKey for Protection {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let (header, payload) = buf.split_at_mut(header_len);
        let nonce = self.nonce(packet);
        match &self.aead {
            Aead::Aes(key) => key.seal_in_place(nonce, header, payload),
            Aead::ChaCha(key) => aead::seal_in_place(key, &nonce, header, payload),
        }
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        let nonce = self.nonce(packet);
        match &self.aead {
            Aead::Aes(key) => key.open_in_place(nonce, header, payload),
            Aead::ChaCha(key) => aead::open_in_place(key, &nonce, header, payload),
        }
        .map_err(|_| CryptoError)?;
        payload.truncate(payload.len() - TAG_BYTES);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        TAG_BYTES
    }

    fn confidentiality_limit(&self) -> u64 {
        PACKETS_PER_GENERATION_MAX
    }

    fn integrity_limit(&self) -> u64 {
        match self.aead {
            Aead::Aes(_) => FORGERIES_AES_MAX,
            Aead::ChaCha(_) => FORGERIES_CHACHA_MAX,
        }
    }
}

/// Hides packet numbers and the low bits of the first byte (RFC 9001, section 5.4).
enum HeaderMask {
    Aes(Box<AesMask>),
    ChaCha(Secret<32>),
}

impl HeaderMask {
    fn new(suite: Suite, secret: &Secret<32>) -> Self {
        let key: Secret<32> = hash::derive(secret.expose(), "bitchat v1 header key", &[]);
        match suite {
            Suite::Aes256Gcm => Self::Aes(Box::new(AesMask::new(&key))),
            Suite::ChaCha20Poly1305 => Self::ChaCha(key),
        }
    }

    /// `None` when the packet ends before its sample does; the engine has checked that already.
    fn mask(&self, pn_offset: usize, packet: &[u8]) -> Option<[u8; MASK_BYTES]> {
        let sample: &[u8; SAMPLE_BYTES] = packet.get(pn_offset + SAMPLE_OFFSET..)?.first_chunk()?;
        Some(match self {
            Self::Aes(key) => key.mask(sample),
            Self::ChaCha(key) => chacha_mask(key, sample),
        })
    }

    const fn first_byte_bits(first: u8) -> u8 {
        if first & 0x80 != 0 { 0x0f } else { 0x1f }
    }
}

impl HeaderKey for HeaderMask {
    fn decrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        let Some(mask) = self.mask(pn_offset, packet) else { return };
        packet[0] ^= mask[0] & Self::first_byte_bits(packet[0]);
        let pn_len = usize::from(packet[0] & 0b11) + 1;
        let number = packet[pn_offset..].iter_mut().take(pn_len);
        number.zip(&mask[1..]).for_each(|(byte, mask)| *byte ^= mask);
    }

    fn encrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        let Some(mask) = self.mask(pn_offset, packet) else { return };
        let pn_len = usize::from(packet[0] & 0b11) + 1;
        packet[0] ^= mask[0] & Self::first_byte_bits(packet[0]);
        let number = packet[pn_offset..].iter_mut().take(pn_len);
        number.zip(&mask[1..]).for_each(|(byte, mask)| *byte ^= mask);
    }

    fn sample_size(&self) -> usize {
        SAMPLE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(n: u8) -> Pair {
        Pair { dialler: Secret::new([n; 32]), listener: Secret::new([n + 1; 32]) }
    }

    fn sealed(keys: &KeyPair<Box<dyn PacketKey>>, number: u64) -> Vec<u8> {
        let mut packet = b"headerpayload".to_vec();
        packet.extend([0; TAG_BYTES]);
        keys.local.encrypt(number, &mut packet, 6);
        packet
    }

    fn opens(keys: &KeyPair<Box<dyn PacketKey>>, number: u64, packet: &[u8]) -> bool {
        let mut payload = BytesMut::from(&packet[6..]);
        let opened = keys.remote.decrypt(number, &packet[..6], &mut payload).is_ok();
        assert!(!opened || payload[..] == b"payload"[..]);
        opened
    }

    #[test]
    fn what_one_side_seals_the_other_opens_under_its_number_and_header_only() {
        for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
            let dialler = pair(1).packet_keys(suite, Side::Client);
            let listener = pair(1).packet_keys(suite, Side::Server);
            let packet = sealed(&dialler, 7);
            assert!(opens(&listener, 7, &packet));
            assert!(!opens(&listener, 8, &packet));
            assert!(!opens(&dialler, 7, &packet), "each direction has its own key");
            for bit in 0..packet.len() * 8 {
                let mut wrong = packet.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(!opens(&listener, 7, &wrong));
            }
        }
    }

    #[test]
    fn each_generation_and_each_fresh_secret_gives_other_keys() {
        let plain = pair(1).next(None);
        let mixed = pair(1).next(Some(&Secret::new([9; 32])));
        let other = pair(1).next(Some(&Secret::new([8; 32])));
        let base = pair(1);
        let all = [&base, &plain, &mixed, &other].map(|pair| *pair.dialler.expose());
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn a_masked_header_reads_back() {
        for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
            let mask = HeaderMask::new(suite, &Secret::new([3; 32]));
            for first in [0x41, 0xc3] {
                let mut packet: Vec<u8> = (0..40).collect();
                packet[0] = first;
                let before = packet.clone();
                mask.encrypt(9, &mut packet);
                assert_ne!(packet, before);
                mask.decrypt(9, &mut packet);
                assert_eq!(packet, before);
            }
        }
    }

    #[test]
    fn the_suite_that_suits_both_is_chosen() {
        let (aes, chacha, only) = (
            SuitePreference::aes_first(),
            SuitePreference::chacha_first(),
            SuitePreference::chacha_only(),
        );
        assert_eq!(aes.choose(&aes.encode()), Some(Suite::Aes256Gcm));
        assert_eq!(aes.choose(&chacha.encode()), Some(Suite::ChaCha20Poly1305));
        assert_eq!(chacha.choose(&aes.encode()), Some(Suite::ChaCha20Poly1305));
        assert_eq!(aes.choose(&only.encode()), Some(Suite::ChaCha20Poly1305));
        assert_eq!(only.choose(&[1, 77]), None);
    }

    const VECTORS: &str = include_str!("../../../docs/spec/vectors/link.json");

    fn hex(value: &serde_json::Value) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    fn secret(value: &serde_json::Value) -> Secret<32> {
        Secret::new(hex(value).try_into().unwrap())
    }

    #[test]
    fn the_initial_secrets_of_the_specification_hold() {
        let file: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let vector = &file["initial"];
        let pair = initial_pair(&secret(&vector["initial_key"]), &hex(&vector["id"]));
        assert_eq!(pair.dialler, secret(&vector["dialler"]));
        assert_eq!(pair.listener, secret(&vector["listener"]));
    }

    #[test]
    fn the_packets_of_the_specification_hold() {
        let file: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let packets = file["packets"].as_array().unwrap();
        assert_eq!(packets.len(), 2);
        for vector in packets {
            let suite = Suite::from_byte(u8::try_from(vector["suite"].as_u64().unwrap()).unwrap());
            let (suite, traffic) = (suite.unwrap(), secret(&vector["secret"]));
            let header = hex(&vector["header"]);
            let mut packet = [&header[..], &hex(&vector["payload"]), &[0; TAG_BYTES]].concat();
            let number = vector["number"].as_u64().unwrap();
            Protection::new(suite, &traffic).encrypt(number, &mut packet, header.len());
            HeaderMask::new(suite, &traffic).encrypt(header.len() - 2, &mut packet);
            assert_eq!(packet, hex(&vector["packet"]), "{suite:?}");
        }
    }

    #[test]
    fn the_generations_of_the_specification_hold() {
        let file: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let vector = &file["generations"];
        let traffic = secret(&vector["secret"]);
        let pair = Pair { dialler: traffic.clone(), listener: traffic };
        let renewed = pair.next(Some(&secret(&vector["fresh"])));
        assert_eq!(pair.next(None).dialler, secret(&vector["next"]));
        assert_eq!(renewed.dialler, secret(&vector["renewed"]));
        assert_eq!(renewed.listener, renewed.dialler);
    }
}

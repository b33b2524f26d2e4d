//! Names of DHT nodes: 160 bits, the XOR distance between them (BEP 5), and ids that are bound to an
//! IP address (BEP 42).
//!
//! ```text
//! BEP 42:  crc32c((ip & mask) | r << 29 or 61)        r in 0..8
//!          ------------ 21 bits ------------, 131 random bits, 5 random bits || r
//! ```
//!
//! Whoever wants an id near a given target must then find an IP address for it, and no longer just
//! write one down.

use std::fmt;
use std::net::IpAddr;

use data_encoding::HEXLOWER;

use crate::crypto::Rng;
use crate::id::InfoHash;
use crate::scope::Scope;

/// Bytes of a node id and of an infohash.
pub const ID_BYTES: usize = 20;
/// Bits of a node id.
pub const ID_BITS: usize = ID_BYTES * 8;

/// BEP 42: which bits of an IPv4 address count.
const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
/// BEP 42: which bits of the first half of an IPv6 address count.
const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];

/// The name of a DHT node, or a place that is looked up; both lie in one space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; ID_BYTES]);

/// How far two ids are apart: their XOR, read as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance([u8; ID_BYTES]);

impl NodeId {
    /// Draws an id, each as likely as the other.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        Self(rng.array())
    }

    /// Draws an id that is valid for `ip` (BEP 42).
    #[must_use]
    pub fn secure(ip: IpAddr, rng: &mut Rng) -> Self {
        let mut id: [u8; ID_BYTES] = rng.array();
        let crc = bep42_crc(ip, id[19] & 7).to_be_bytes();
        id[0] = crc[0];
        id[1] = crc[1];
        id[2] = (crc[2] & 0xf8) | (id[2] & 0x07);
        Self(id)
    }

    /// Whether the id is valid for `ip` (BEP 42). Any id is for an address that is not global.
    #[must_use]
    pub fn is_secure_for(&self, ip: IpAddr) -> bool {
        if Scope::of(ip) != Scope::Global {
            return true;
        }
        let crc = bep42_crc(ip, self.0[19] & 7).to_be_bytes();
        self.0[..2] == crc[..2] && self.0[2] & 0xf8 == crc[2] & 0xf8
    }

    /// How far the other id is away.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        let mut xor = self.0;
        xor.iter_mut().zip(other.0).for_each(|(mine, other)| *mine ^= other);
        Distance(xor)
    }

    /// How many leading bits both ids share; [`ID_BITS`] when they are equal.
    #[must_use]
    pub fn shared_bits(&self, other: &Self) -> usize {
        self.distance(other).leading_zeros()
    }

    /// Draws an id that shares the leading `bits` bits with this one, and perhaps more.
    #[must_use]
    pub fn with_random_after(&self, bits: usize, rng: &mut Rng) -> Self {
        let mut id: [u8; ID_BYTES] = rng.array();
        for (at, (byte, own)) in id.iter_mut().zip(self.0).enumerate() {
            // Which bits of this byte are this id's: none, some or all.
            let mask = !(0xff_u16 >> bits.saturating_sub(at * 8).min(8)) as u8;
            *byte = (own & mask) | (*byte & !mask);
        }
        Self(id)
    }

    /// Draws an id that is this one but for its last 8 bytes: what libtorrent looks up when it means
    /// its own neighbourhood.
    #[must_use]
    pub fn with_random_tail(&self, rng: &mut Rng) -> Self {
        self.with_random_after(ID_BITS - 64, rng)
    }

    /// Draws an id that shares exactly `bits` leading bits with this one; `bits` below [`ID_BITS`].
    #[cfg(test)]
    pub(crate) fn random_at(&self, bits: usize, rng: &mut Rng) -> Self {
        let mut id = self.with_random_after(bits, rng);
        let bit = 0x80 >> (bits % 8);
        id.0[bits / 8] = (id.0[bits / 8] & !bit) | (!self.0[bits / 8] & bit);
        id
    }
}

impl Distance {
    /// How many leading bits are the same.
    #[must_use]
    pub fn leading_zeros(&self) -> usize {
        let whole = self.0.iter().take_while(|byte| **byte == 0).count();
        whole * 8 + self.0.get(whole).map_or(0, |byte| byte.leading_zeros() as usize)
    }
}

impl From<InfoHash> for NodeId {
    fn from(infohash: InfoHash) -> Self {
        Self(infohash.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

fn bep42_crc(ip: IpAddr, r: u8) -> u32 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mut bytes = ip.octets();
            bytes.iter_mut().zip(MASK_V4).for_each(|(byte, mask)| *byte &= mask);
            bytes[0] |= r << 5;
            crc32c(&bytes)
        }
        IpAddr::V6(ip) => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&ip.octets()[..8]);
            bytes.iter_mut().zip(MASK_V6).for_each(|(byte, mask)| *byte &= mask);
            bytes[0] |= r << 5;
            crc32c(&bytes)
        }
    }
}

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4), bit by bit: eight bytes at most are ever fed to it.
fn crc32c(bytes: &[u8]) -> u32 {
    /// The polynomial, reflected.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng() -> Rng {
        Rng::from_seed([5; 32])
    }

    fn id(hex: &str) -> NodeId {
        NodeId(HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap())
    }

    #[test]
    fn crc32c_has_the_check_value_of_its_catalogue() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_examples_of_bep_42_are_valid_for_their_address_and_for_no_other() {
        let examples = [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ];
        for (at, (ip, hex)) in examples.into_iter().enumerate() {
            assert!(id(hex).is_secure_for(ip.parse().unwrap()), "{ip}");
            let other = examples[(at + 1) % examples.len()].0.parse().unwrap();
            assert!(!id(hex).is_secure_for(other), "{other}");
        }
    }

    #[test]
    fn an_id_of_libtorrent_over_ipv6_is_valid_for_its_address() {
        // captures/libtorrent-2.0.11.json: a node at 2001:db8::14; the first 64 bits count.
        let id = id("45883e12dfb70422b00e78c19556f36396a6960d");
        assert!(id.is_secure_for("2001:db8::14".parse().unwrap()));
        assert!(!id.is_secure_for("2001:db9::14".parse().unwrap()));
    }

    #[test]
    fn a_drawn_id_is_valid_for_its_address_and_differs_each_time() {
        let rng = &mut rng();
        for ip in ["8.8.8.8", "2a00::8"] {
            let ip = ip.parse().unwrap();
            let (one, other) = (NodeId::secure(ip, rng), NodeId::secure(ip, rng));
            assert!(one.is_secure_for(ip) && other.is_secure_for(ip));
            assert_ne!(one, other);
        }
    }

    #[test]
    fn any_id_will_do_for_an_address_that_is_not_global() {
        for ip in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1", "fe80::1"] {
            assert!(NodeId([0; 20]).is_secure_for(ip.parse().unwrap()), "{ip}");
        }
        assert!(!NodeId([0; 20]).is_secure_for("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn distance_is_the_xor_read_as_a_number() {
        let (zero, one) = (NodeId([0; 20]), id("0000000000000000000000000000000000000001"));
        let far = id("8000000000000000000000000000000000000000");
        assert!(zero.distance(&one) < zero.distance(&far));
        assert_eq!(one.distance(&far), far.distance(&one));
        assert_eq!(zero.shared_bits(&one), 159);
        assert_eq!(zero.shared_bits(&far), 0);
        assert_eq!(zero.shared_bits(&zero), ID_BITS);
    }

    #[test]
    fn an_id_is_drawn_at_the_distance_asked_for() {
        let rng = &mut rng();
        let own = NodeId::random(rng);
        for bits in 0..ID_BITS {
            assert_eq!(own.shared_bits(&own.random_at(bits, rng)), bits);
            assert!(own.shared_bits(&own.with_random_after(bits, rng)) >= bits);
        }
        let mut further =
            |bits| (0..64).any(|_| own.shared_bits(&own.with_random_after(bits, rng)) > bits);
        assert!(further(0) && further(7) && further(100), "no more than that is the same");
        let near = own.with_random_tail(rng);
        assert!(own.shared_bits(&near) >= 96 && near != own);
    }
}

//! Peer exchange: whom the sender is linked with in a channel, told as changes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bounded::list;
use crate::id::{ChannelId, PeerId};
use crate::limits::{PEER_ADDRESSES_MAX, PEER_RECORDS_PER_FRAME_MAX};

/// A socket address on the wire: 4 or 16 bytes of IP, then the port, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WireAddress(pub SocketAddr);

impl Serialize for WireAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [0; 18];
        let ip_len = match self.0.ip() {
            IpAddr::V4(ip) => {
                bytes[..4].copy_from_slice(&ip.octets());
                4
            }
            IpAddr::V6(ip) => {
                bytes[..16].copy_from_slice(&ip.octets());
                16
            }
        };
        bytes[ip_len..ip_len + 2].copy_from_slice(&self.0.port().to_be_bytes());
        serializer.serialize_bytes(&bytes[..ip_len + 2])
    }
}

impl<'de> Deserialize<'de> for WireAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(AddressVisitor)
    }
}

struct AddressVisitor;

impl Visitor<'_> for AddressVisitor {
    type Value = WireAddress;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address of 6 or 18 bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<WireAddress, E> {
        let wrong_len = || E::invalid_length(bytes.len(), &self);
        let (ip, port) = bytes.split_last_chunk::<2>().ok_or_else(wrong_len)?;
        let ip = if let Ok(octets) = <[u8; 4]>::try_from(ip) {
            IpAddr::V4(Ipv4Addr::from(octets))
        } else if let Ok(octets) = <[u8; 16]>::try_from(ip) {
            IpAddr::V6(Ipv6Addr::from(octets))
        } else {
            return Err(wrong_len());
        };
        Ok(WireAddress(SocketAddr::new(ip, u16::from_be_bytes(*port))))
    }
}

/// One member and where the sender reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// Who.
    pub peer: PeerId,
    /// Where, best first; at most [`PEER_ADDRESSES_MAX`].
    #[serde(deserialize_with = "list::<_, _, PEER_ADDRESSES_MAX>")]
    pub addresses: Vec<WireAddress>,
}

/// A change to whom the sender is linked with in one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// The channel, one that both sides proved.
    pub channel: ChannelId,
    /// Whether this is the whole list: everything said before is void. The first on a link is.
    #[serde(default)]
    pub full: bool,
    /// Members the sender is linked with now and was not before, or reaches elsewhere now; at most
    /// [`PEER_RECORDS_PER_FRAME_MAX`].
    #[serde(deserialize_with = "list::<_, _, PEER_RECORDS_PER_FRAME_MAX>")]
    pub added: Vec<PeerRecord>,
    /// Members the sender is linked with no longer; at most [`PEER_RECORDS_PER_FRAME_MAX`].
    #[serde(deserialize_with = "list::<_, _, PEER_RECORDS_PER_FRAME_MAX>")]
    pub removed: Vec<PeerId>,
}

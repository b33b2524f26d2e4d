//! What a datagram is, told by its first two bytes before anything else is looked at.
//!
//! ```text
//! 'd' digit ...          a bencoded dictionary: DHT (BEP 5)
//! 0x00 ...               a UDP tracker's reply (BEP 15): big-endian action 0 to 3; no fixed bit
//! 1x.. ....              a link's long header (RFC 9000, section 17.2), fixed bit set
//! 01.. ....              a link's short header; its second byte is the first of our connection id,
//!                        which is never a digit
//! ```

/// Whom a datagram is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The DHT.
    Krpc,
    /// The tracker announcer.
    TrackerReply,
    /// The endpoint.
    Link,
    /// Nobody here.
    Unknown,
}

/// QUIC's fixed bit, which every packet of a link has.
const FIXED_BIT: u8 = 0x40;

/// A UDP tracker's shortest reply: an action and a transaction id.
const TRACKER_REPLY_BYTES_MIN: usize = 8;

/// Tells whom a datagram is for; says nothing about whether it is well-formed.
#[must_use]
pub fn classify(datagram: &[u8]) -> Class {
    match *datagram {
        [b'd', b'0'..=b'9', ..] => Class::Krpc,
        [0, 0, 0, 0..=3, ..] if datagram.len() >= TRACKER_REPLY_BYTES_MIN => Class::TrackerReply,
        [first, ..] if first & FIXED_BIT != 0 => Class::Link,
        _ => Class::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_by_its_beginning() {
        assert_eq!(classify(b"d1:ad2:id20:"), Class::Krpc);
        assert_eq!(classify(b"de"), Class::Link, "no dictionary has an id, so this is none");
        assert_eq!(classify(&[0, 0, 0, 1, 9, 9, 9, 9]), Class::TrackerReply);
        assert_eq!(classify(&[0, 0, 0, 4, 9, 9, 9, 9]), Class::Unknown);
        assert_eq!(classify(&[0, 0, 0, 1]), Class::Unknown);
        assert_eq!(classify(&[0xc0, 1]), Class::Link);
        assert_eq!(classify(&[b'd', 0xff]), Class::Link);
        assert_eq!(classify(&[0x80]), Class::Unknown);
        assert_eq!(classify(&[]), Class::Unknown);
    }
}

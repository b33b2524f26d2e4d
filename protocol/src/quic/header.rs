//! The part of a long header that the gate reads (RFC 9000, section 17.2).
//!
//! ```text
//! first u8: 1 1 T T x x x x    T: 0 Initial, 1 0-RTT, 2 Handshake, 3 Retry
//! version u32 || length u8, destination id || length u8, source id || (Initial only) length varint, token
//!             || (not Retry) length varint, that many bytes || perhaps another packet
//! ```

/// What was read of a long header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LongHeader<'a> {
    pub(super) version: u32,
    pub(super) is_retry: bool,
    /// Destination id and token of an Initial packet.
    pub(super) initial: Option<(&'a [u8], &'a [u8])>,
    after: &'a [u8],
}

impl<'a> LongHeader<'a> {
    /// What follows this packet in its datagram; `None` when it is longer than the datagram.
    pub(super) fn rest(&self) -> Option<&'a [u8]> {
        let (length, rest) = varint(self.after)?;
        rest.get(usize::try_from(length).ok()?..)
    }
}

/// Whether the header is a long one.
pub(super) fn is_long(data: &[u8]) -> bool {
    data.first().is_some_and(|first| first & 0x80 != 0)
}

/// `None` when it ends too early.
pub(super) fn read(data: &[u8]) -> Option<LongHeader<'_>> {
    let (first, rest) = data.split_first()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let version = u32::from_be_bytes(*version);
    let kind = first >> 4 & 0b11;
    let (cid, rest) = prefixed(rest)?;
    let (_, rest) = prefixed(rest)?;
    let (initial, after) = match kind {
        0 => {
            let (token, after) = token(rest)?;
            (Some((cid, token)), after)
        }
        _ => (None, rest),
    };
    Some(LongHeader { version, is_retry: kind == 3, initial, after })
}

fn prefixed(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// A varint, then that many bytes.
fn token(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(data)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// RFC 9000, section 16.
fn varint(data: &[u8]) -> Option<(u64, &[u8])> {
    let first = *data.first()?;
    let size = 1 << (first >> 6);
    let (varint, rest) = data.split_at_checked(size)?;
    let value =
        varint[1..].iter().fold(u64::from(first & 0x3f), |n, byte| n << 8 | u64::from(*byte));
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: &[u8] = &[0xc3, 1, 2, 3, 4, 2, 7, 8, 1, 9, 3, b't', b'o', b'k', 0, 0];

    #[test]
    fn an_initial_header_is_read() {
        let initial = Some((&[7, 8][..], &b"tok"[..]));
        let header = LongHeader { version: 0x0102_0304, is_retry: false, initial, after: &[0, 0] };
        assert_eq!(read(INITIAL), Some(header));
    }

    #[test]
    fn every_prefix_that_is_too_short_is_refused() {
        for len in 0..INITIAL.len() - 2 {
            assert_eq!(read(&INITIAL[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_token_longer_than_the_packet_is_refused() {
        assert_eq!(token(&[0xff; 9]), None);
        assert_eq!(token(&[0x40, 2, 1, 1]), Some((&[1, 1][..], &[][..])));
    }

    #[test]
    fn what_follows_a_packet_is_found() {
        let mut two = INITIAL.to_vec();
        two[14..].copy_from_slice(&[1, 0xff]);
        two.extend([0x40, 5]);
        assert_eq!(read(&two).unwrap().rest(), Some(&[0x40, 5][..]));
        two[14] = 5;
        assert_eq!(read(&two).unwrap().rest(), None);
    }

    #[test]
    fn other_kinds_have_no_token() {
        let mut retry = INITIAL.to_vec();
        retry[0] = 0xf0;
        let header = read(&retry).unwrap();
        assert!(header.is_retry && header.initial.is_none());
    }
}

//! Connection ids: 8 random bytes, the first of which is never a digit.
//!
//! The second byte of a short header is the first of our connection id, so a packet is never taken
//! for a bencoded dictionary (see `demux`).

use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

use crate::crypto::Rng;

/// Bytes of a connection id of ours: enough to be unguessable among the links of a node.
pub(super) const CID_BYTES: usize = 8;

/// Fills `bytes` so that the first one is not an ASCII digit.
pub(super) fn fill_undigital(rng: &mut Rng, bytes: &mut [u8]) {
    rng.fill(bytes);
    while bytes.first().is_some_and(u8::is_ascii_digit) {
        rng.fill(&mut bytes[..1]);
    }
}

/// Makes the ids that our packets are addressed with.
#[derive(Debug)]
pub(super) struct CidGenerator(pub(super) Rng);

impl ConnectionIdGenerator for CidGenerator {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CID_BYTES];
        fill_undigital(&mut self.0, &mut bytes);
        ConnectionId::new(&bytes)
    }

    /// Refuses everything: it is asked about packets for unknown links only, and saying no is what
    /// keeps the engine from answering them with a stateless reset.
    fn validate(&self, _: &ConnectionId) -> Result<(), InvalidCid> {
        Err(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_begins_with_a_digit_and_none_repeats() {
        let mut generator = CidGenerator(Rng::from_seed([1; 32]));
        let ids: std::collections::HashSet<ConnectionId> =
            (0..1000).map(|_| generator.generate_cid()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| !id[0].is_ascii_digit()));
        assert!(ids.iter().all(|id| generator.validate(id).is_err()));
    }
}

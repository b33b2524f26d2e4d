//! How a row is sealed: under a key of the archive's own, bound to its table, its row and all that
//! stands in clear beside it.
//!
//! ```text
//! key = BLAKE2b-256(key = storage key, "bitchat v1 archive key")
//! row = nonce 24 || XChaCha20-Poly1305 ciphertext || tag 16
//! associated data = table u8 || row id i64 || each clear column i64, big-endian
//! ```
//!
//! So rows cannot be exchanged, and a changed number, clock or size is noticed when the row is read.

use bitchat_protocol::crypto::{Rng, Secret, aead, hash};
use bitchat_protocol::id::{MessageId, PeerId};
use zeroize::Zeroizing;

use crate::entropy;

const KEY_LABEL: &str = "bitchat v1 archive key";
const CODE_KEY_LABEL: &str = "bitchat v1 archive code key";
const CODE_LABEL: &str = "bitchat v1 archive said code";

/// What a sealed value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    Meta = 1,
    Peers = 2,
    Channels = 3,
    Chains = 4,
    /// What changes of a chain, kept in the same row as what does not.
    ChainHeads = 5,
    Entries = 6,
    Clients = 7,
    /// Proofs that a chain forked.
    Forks = 8,
}

/// A value that does not open: the row, or the file, is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsealable;

/// Seals and opens values of rows.
#[derive(Debug)]
pub(super) struct Sealer {
    key: Secret<32>,
    code_key: Secret<32>,
    rng: Rng,
}

impl Sealer {
    pub(super) fn new(storage_key: &Secret<32>) -> Self {
        Self {
            key: hash::derive(storage_key.expose(), KEY_LABEL, &[]),
            code_key: hash::derive(storage_key.expose(), CODE_KEY_LABEL, &[]),
            rng: Rng::from_seed(entropy::seed()),
        }
    }

    pub(super) fn seal(&mut self, table: Table, clear: &[i64], plain: &[u8]) -> Vec<u8> {
        aead::seal_at_rest(&self.key, &mut self.rng, &associated(table, clear), plain)
    }

    pub(super) fn open(
        &self,
        table: Table,
        clear: &[i64],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        aead::open_at_rest(&self.key, &associated(table, clear), sealed)
            .map(Zeroizing::new)
            .map_err(|_| Unsealable)
    }

    /// By what a message is found again; tells nothing to whoever has not the storage key.
    pub(super) fn code(&self, channel: i64, author: &PeerId, id: &MessageId) -> i64 {
        let key = self.code_key.expose();
        let parts = [&channel.to_be_bytes()[..], &author.0, &id.0];
        i64::from_be_bytes(hash::mac(key, CODE_LABEL, &parts))
    }

    /// Draws random bytes.
    pub(super) fn draw<const N: usize>(&mut self) -> [u8; N] {
        self.rng.array()
    }
}

fn associated(table: Table, clear: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + 8 * clear.len());
    bytes.push(table as u8);
    clear.iter().for_each(|value| bytes.extend_from_slice(&value.to_be_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_in_its_own_row_under_its_own_key_alone() {
        let mut sealer = Sealer::new(&Secret::new([1; 32]));
        let sealed = sealer.seal(Table::Entries, &[7, 3], b"what was said");
        let open = |sealer: &Sealer, table, clear: &[i64]| {
            sealer.open(table, clear, &sealed).map(|plain| plain.to_vec())
        };
        assert_eq!(open(&sealer, Table::Entries, &[7, 3]), Ok(b"what was said".to_vec()));
        assert_eq!(open(&sealer, Table::Chains, &[7, 3]), Err(Unsealable));
        assert_eq!(open(&sealer, Table::Entries, &[8, 3]), Err(Unsealable));
        assert_eq!(open(&sealer, Table::Entries, &[7, 4]), Err(Unsealable));
        let other = Sealer::new(&Secret::new([2; 32]));
        assert_eq!(open(&other, Table::Entries, &[7, 3]), Err(Unsealable));
    }

    #[test]
    fn the_key_that_seals_rows_is_not_the_one_that_seals_files() {
        let storage = Secret::new([1; 32]);
        assert_ne!(Sealer::new(&storage).key, storage);
    }
}

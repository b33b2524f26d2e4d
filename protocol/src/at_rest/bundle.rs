//! A whole profile in one file, to be carried away.
//!
//! ```text
//! offset  bytes  field
//! 0       8      magic, "bitchat" and 0x1b
//! 8       4      n, big-endian, at most 65,536
//! 12      n      head: a container under a passphrase, of the file name `export`; its body is that
//!                of `identity`
//! ..             pieces, one or more
//!
//! piece:  4      m, big-endian, 40 to 65,576
//!         m      nonce 24, ciphertext, tag 16 (XChaCha20-Poly1305)
//!                key: BLAKE2b-256(key = storage key, "bitchat v1 export key", head)
//!                associated data: the piece's number from 0, u64, and 1 for the last one, else 0
//!
//! The pieces' plain texts in a row are records:
//!         1      k, 1 to 100
//!         k      the file's name within the profile
//!         8      s, big-endian
//!         s      the file
//! ```
//!
//! So no piece can be changed, left out, exchanged or cut off. Files are as they lie in the profile:
//! sealed under the storage key, which is in the head.

use zeroize::Zeroizing;

use super::container::{self, ContainerError, Guard, PassphraseKey};
use super::identity_body::IdentityBody;
use crate::crypto::{Rng, Secret, aead, hash};

/// With what an export begins.
pub const BUNDLE_MAGIC: &[u8; 8] = b"bitchat\x1b";
/// Bytes of the head at most: one of ours has some hundred.
pub const BUNDLE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of plain text in a piece at most.
pub const BUNDLE_PIECE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that sealing adds to a piece.
pub const BUNDLE_SEAL_BYTES: usize = 40;
/// Bytes of a file's name.
const NAME_BYTES_MAX: usize = 100;
const KEY_LABEL: &str = "bitchat v1 export key";
const HEAD_NAME: &str = "export";

/// Why bytes are no part of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The head is none.
    #[error("its beginning is damaged: {0}")]
    Head(ContainerError),
    /// Another passphrase sealed it.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// A piece is not what was written, or not where it was.
    #[error("bytes of it were changed or lost")]
    Piece,
}

/// Seals and opens the pieces of one export.
#[derive(Debug)]
pub struct BundleKey(Secret<32>);

/// Writes the head of an export of the profile with this identity.
#[must_use]
pub fn write_bundle_head(
    body: &IdentityBody,
    passphrase: &PassphraseKey,
    rng: &mut Rng,
) -> (Vec<u8>, BundleKey) {
    let guard = Guard::Passphrase(passphrase);
    let head = container::write(HEAD_NAME, guard, rng, &body.to_bytes()).to_vec();
    let key = BundleKey::new(body, &head);
    (head, key)
}

/// Opens the head of an export.
///
/// # Errors
///
/// [`BundleError::Head`], [`BundleError::WrongPassphrase`].
pub fn open_bundle_head(
    head: &[u8],
    passphrase: &[u8],
) -> Result<(IdentityBody, BundleKey), BundleError> {
    let sealed = container::read(head).map_err(BundleError::Head)?;
    let key = sealed.passphrase_key(passphrase).map_err(BundleError::Head)?;
    let key = key.ok_or(BundleError::Head(ContainerError::Foreign))?;
    let body = sealed
        .open(HEAD_NAME, Guard::Passphrase(&key))
        .map_err(|_| BundleError::WrongPassphrase)?;
    let body =
        IdentityBody::from_bytes(&body).map_err(|_| BundleError::Head(ContainerError::Damaged))?;
    let key = BundleKey::new(&body, head);
    Ok((body, key))
}

impl BundleKey {
    fn new(body: &IdentityBody, head: &[u8]) -> Self {
        Self(hash::derive(body.storage_key.expose(), KEY_LABEL, &[head]))
    }

    /// Seals piece `number`, of at most [`BUNDLE_PIECE_BYTES_MAX`] bytes.
    #[must_use]
    pub fn seal(&self, rng: &mut Rng, number: u64, is_last: bool, plain: &[u8]) -> Vec<u8> {
        aead::seal_at_rest(&self.0, rng, &associated(number, is_last), plain)
    }

    /// Opens piece `number`.
    ///
    /// # Errors
    ///
    /// [`BundleError::Piece`].
    pub fn open(
        &self,
        number: u64,
        is_last: bool,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, BundleError> {
        let plain = aead::open_at_rest(&self.0, &associated(number, is_last), sealed);
        plain.map(Zeroizing::new).map_err(|_| BundleError::Piece)
    }
}

fn associated(number: u64, is_last: bool) -> [u8; 9] {
    let mut bytes = [u8::from(is_last); 9];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Whether a file of a profile may be called so: one plain name, or one in a directory.
#[must_use]
pub fn is_bundle_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_plain = |part: &str| {
        let mut bytes = part.bytes();
        bytes.next().is_some_and(is_letter)
            && bytes.all(|byte| is_letter(byte) || b"._-".contains(&byte))
    };
    name.len() <= NAME_BYTES_MAX && name.split('/').count() <= 2 && name.split('/').all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::password::Cost;

    fn body() -> IdentityBody {
        IdentityBody {
            seed: Secret::new([1; 32]),
            storage_key: Secret::new([2; 32]),
            name: "alice".to_owned(),
            udp_port: Some(7),
            client_profile: None,
        }
    }

    #[test]
    fn an_export_opens_with_its_passphrase_and_piece_by_piece_in_its_place() {
        let mut rng = Rng::from_seed([3; 32]);
        let key = PassphraseKey::stretch(b"swordfish", Cost::INTERACTIVE, &mut rng).unwrap();
        let (head, key) = write_bundle_head(&body(), &key, &mut rng);
        let (opened, again) = open_bundle_head(&head, b"swordfish").unwrap();
        assert_eq!(opened.to_bytes(), body().to_bytes());
        assert_eq!(open_bundle_head(&head, b"sword").unwrap_err(), BundleError::WrongPassphrase);
        for len in [0, 8, head.len() - 1] {
            let error = open_bundle_head(&head[..len], b"swordfish").unwrap_err();
            assert!(matches!(error, BundleError::Head(_)), "{len}: {error:?}");
        }
        let sealed = key.seal(&mut rng, 3, false, b"a piece");
        assert_eq!(again.open(3, false, &sealed).unwrap().as_slice(), b"a piece");
        assert_eq!(again.open(4, false, &sealed), Err(BundleError::Piece));
        assert_eq!(again.open(3, true, &sealed), Err(BundleError::Piece));
        assert_eq!(again.open(3, false, &sealed[1..]), Err(BundleError::Piece));
        assert_eq!(again.open(3, false, &[]), Err(BundleError::Piece));
    }

    #[test]
    fn no_name_leads_out_of_a_profile() {
        let good = ["contacts", "archive", "channels/0a1b.chat", "a/b", "x-1_2.y"];
        assert!(good.iter().all(|name| is_bundle_name(name)));
        let long = "a".repeat(101);
        let bad = [
            "", "/", "a/", "/a", "..", "../a", "a/..", "a/../b", "a/b/c", ".hidden", "-a", "A",
            "a b", "a\0", "a\\b", "c:", "ä", &long,
        ];
        assert!(!bad.iter().any(|name| is_bundle_name(name)));
    }
}

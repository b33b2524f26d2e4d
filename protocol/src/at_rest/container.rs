//! The container of every file in a profile.
//!
//! ```text
//! offset  bytes  field
//! 0       8      magic, "bitchat" and 0x1a
//! 8       1      version, 1
//! 9       1      guard: 0 none, 1 the profile's storage key, 2 a passphrase
//! 10      24     guard 2 only: passes u32, memory in KiB u32 (big-endian), salt 16
//! ..      n      body; under guard 1 and 2: nonce 24, ciphertext, tag 16 (XChaCha20-Poly1305)
//! ..      16     checksum: BLAKE2b-128 of all before
//! ```
//!
//! Associated data: the bytes before the body, then the file's name within the profile, so that
//! neither the header nor two files can be exchanged. The checksum tells a damaged file from a
//! wrong passphrase; it protects nothing.

use zeroize::Zeroizing;

use crate::crypto::password::{self, Cost, CostError, SALT_BYTES};
use crate::crypto::{Rng, Secret, aead, hash};

const MAGIC: &[u8; 8] = b"bitchat\x1a";
const VERSION: u8 = 1;
const GUARD_NONE: u8 = 0;
const GUARD_KEY: u8 = 1;
const GUARD_PASSPHRASE: u8 = 2;
const CHECKSUM_BYTES: usize = 16;
const CHECKSUM_LABEL: &str = "bitchat v1 file checksum";

/// Why bytes are not a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// It does not begin as our files do.
    #[error("it is not a file of a bitchat profile")]
    Foreign,
    /// A later version of the program wrote it.
    #[error("it has version {0}, and this program reads version {VERSION}")]
    Newer(u8),
    /// Bytes were changed or lost.
    #[error("its checksum does not fit: bytes were changed or lost")]
    Damaged,
    /// It is whole, but was sealed with another key or passphrase, or for another file name.
    #[error("it does not open with this key")]
    Sealed,
}

/// What keeps the body of a file from others.
#[derive(Debug, Clone, Copy)]
pub enum Guard<'a> {
    /// Nothing but the file's mode.
    None,
    /// The profile's storage key.
    Key(&'a Secret<32>),
    /// The key stretched from a passphrase.
    Passphrase(&'a PassphraseKey),
}

/// A key stretched from a passphrase, with what is needed to stretch it again.
#[derive(Debug, Clone)]
pub struct PassphraseKey {
    key: Secret<32>,
    cost: Cost,
    salt: [u8; SALT_BYTES],
}

impl PassphraseKey {
    /// Stretches `passphrase` under a fresh salt.
    ///
    /// # Errors
    ///
    /// [`CostError`] when the cost is outside the accepted range.
    pub fn stretch(passphrase: &[u8], cost: Cost, rng: &mut Rng) -> Result<Self, CostError> {
        let salt = rng.array();
        Ok(Self { key: password::stretch(passphrase, &salt, cost)?, cost, salt })
    }

    fn header(&self) -> [u8; 24] {
        let mut header = [0; 24];
        header[..4].copy_from_slice(&self.cost.passes.to_be_bytes());
        header[4..8].copy_from_slice(&self.cost.memory_kib.to_be_bytes());
        header[8..].copy_from_slice(&self.salt);
        header
    }
}

/// A container whose checksum fits.
#[derive(Debug, Clone, Copy)]
pub enum Container<'a> {
    /// The body itself.
    Plain(&'a [u8]),
    /// Sealed under the profile's storage key.
    UnderKey(Sealed<'a>),
    /// Sealed under a passphrase stretched at this cost and salt.
    UnderPassphrase {
        /// The body, still sealed.
        sealed: Sealed<'a>,
        /// What one guess costs.
        cost: Cost,
        /// The salt of the stretching.
        salt: [u8; SALT_BYTES],
    },
}

impl Container<'_> {
    /// Stretches `passphrase` as this file asks; `None` when the file is under no passphrase.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Damaged`] when the cost is outside the accepted range.
    pub fn passphrase_key(
        &self,
        passphrase: &[u8],
    ) -> Result<Option<PassphraseKey>, ContainerError> {
        let Self::UnderPassphrase { cost, salt, .. } = *self else { return Ok(None) };
        let key =
            password::stretch(passphrase, &salt, cost).map_err(|_| ContainerError::Damaged)?;
        Ok(Some(PassphraseKey { key, cost, salt }))
    }

    /// Opens the body of the file called `name` with what guards it.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Sealed`] when the guard is of another sort or another key.
    pub fn open(&self, name: &str, guard: Guard<'_>) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        match (self, guard) {
            (Self::Plain(body), Guard::None) => Ok(Zeroizing::new(body.to_vec())),
            (Self::UnderKey(sealed), Guard::Key(key)) => sealed.open(name, key),
            (Self::UnderPassphrase { sealed, .. }, Guard::Passphrase(key)) => {
                sealed.open(name, &key.key)
            }
            (Self::Plain(_) | Self::UnderKey(_) | Self::UnderPassphrase { .. }, _) => {
                Err(ContainerError::Sealed)
            }
        }
    }
}

/// A sealed body and the header that it is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    header: &'a [u8],
    body: &'a [u8],
}

impl Sealed<'_> {
    fn open(&self, name: &str, key: &Secret<32>) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        aead::open_at_rest(key, &associated_data(self.header, name), self.body)
            .map(Zeroizing::new)
            .map_err(|_| ContainerError::Sealed)
    }
}

/// Writes the container of the file called `name`.
#[must_use]
pub fn write(name: &str, guard: Guard<'_>, rng: &mut Rng, body: &[u8]) -> Zeroizing<Vec<u8>> {
    // Room for all of it at once: a vector that grows leaves copies of an unguarded body behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(body.len() + 128));
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    let key = match guard {
        Guard::None => {
            bytes.push(GUARD_NONE);
            None
        }
        Guard::Key(key) => {
            bytes.push(GUARD_KEY);
            Some(key)
        }
        Guard::Passphrase(key) => {
            bytes.push(GUARD_PASSPHRASE);
            bytes.extend_from_slice(&key.header());
            Some(&key.key)
        }
    };
    match key {
        None => bytes.extend_from_slice(body),
        Some(key) => {
            let ad = associated_data(&bytes, name);
            bytes.extend_from_slice(&aead::seal_at_rest(key, rng, &ad, body));
        }
    }
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// Reads a container as far as that needs no key.
///
/// # Errors
///
/// Any [`ContainerError`] but [`ContainerError::Sealed`].
pub fn read(bytes: &[u8]) -> Result<Container<'_>, ContainerError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(ContainerError::Foreign)?;
    // The version before the checksum: a later version may end in another one.
    match rest.first() {
        Some(&VERSION) => {}
        Some(&version) if version > VERSION => return Err(ContainerError::Newer(version)),
        Some(_) | None => return Err(ContainerError::Damaged),
    }
    let (content, found) =
        bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(ContainerError::Damaged)?;
    if *found != checksum(content) {
        return Err(ContainerError::Damaged);
    }
    let guard_at = MAGIC.len() + 1;
    let (header, body) = content.split_at_checked(guard_at + 1).ok_or(ContainerError::Damaged)?;
    match header[guard_at] {
        GUARD_NONE => Ok(Container::Plain(body)),
        GUARD_KEY => Ok(Container::UnderKey(Sealed { header, body })),
        GUARD_PASSPHRASE => under_passphrase(content, body),
        _ => Err(ContainerError::Damaged),
    }
}

fn under_passphrase<'a>(
    content: &'a [u8],
    rest: &'a [u8],
) -> Result<Container<'a>, ContainerError> {
    let (passes, rest) = rest.split_first_chunk::<4>().ok_or(ContainerError::Damaged)?;
    let (memory, rest) = rest.split_first_chunk::<4>().ok_or(ContainerError::Damaged)?;
    let (salt, body) = rest.split_first_chunk::<SALT_BYTES>().ok_or(ContainerError::Damaged)?;
    Ok(Container::UnderPassphrase {
        sealed: Sealed { header: &content[..content.len() - body.len()], body },
        cost: Cost { passes: u32::from_be_bytes(*passes), memory_kib: u32::from_be_bytes(*memory) },
        salt: *salt,
    })
}

fn associated_data(header: &[u8], name: &str) -> Vec<u8> {
    [header, name.as_bytes()].concat()
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    hash::unkeyed(CHECKSUM_LABEL, &[content])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { passes: 1, memory_kib: 8 * 1024 };

    fn rng() -> Rng {
        Rng::from_seed([1; 32])
    }

    #[test]
    fn a_body_comes_back_under_every_guard() {
        let key = Secret::new([2; 32]);
        let passphrase = PassphraseKey::stretch(b"open sesame", CHEAP, &mut rng()).unwrap();
        for guard in [Guard::None, Guard::Key(&key), Guard::Passphrase(&passphrase)] {
            let bytes = write("contacts", guard, &mut rng(), b"the body");
            let opened = read(&bytes).unwrap().open("contacts", guard).unwrap();
            assert_eq!(opened.as_slice(), b"the body");
        }
    }

    #[test]
    fn an_unguarded_file_is_the_vector_of_the_specification() {
        // docs/spec/profile.md, "Container"; the checksum is from another implementation.
        let expected = "626974636861741a0100626f6479d011a3b469d8d197eef01ec7599a5c99";
        let bytes = write("contacts", Guard::None, &mut rng(), b"body");
        assert_eq!(data_encoding::HEXLOWER.encode(&bytes), expected);
    }

    #[test]
    fn the_passphrase_alone_opens_what_it_sealed() {
        let key = PassphraseKey::stretch(b"open sesame", CHEAP, &mut rng()).unwrap();
        let bytes = write("identity", Guard::Passphrase(&key), &mut rng(), b"the body");
        let container = read(&bytes).unwrap();
        let again = container.passphrase_key(b"open sesame").unwrap().unwrap();
        assert!(container.open("identity", Guard::Passphrase(&again)).is_ok());
        let wrong = container.passphrase_key(b"open sesamf").unwrap().unwrap();
        let refused = container.open("identity", Guard::Passphrase(&wrong));
        assert_eq!(refused.unwrap_err(), ContainerError::Sealed);
    }

    #[test]
    fn a_file_does_not_open_under_the_name_of_another_or_another_key() {
        let (key, other) = (Secret::new([2; 32]), Secret::new([3; 32]));
        let bytes = write("channels/a", Guard::Key(&key), &mut rng(), b"the body");
        let container = read(&bytes).unwrap();
        for (name, guard) in [
            ("channels/b", Guard::Key(&key)),
            ("channels/a", Guard::Key(&other)),
            ("channels/a", Guard::None),
        ] {
            assert_eq!(container.open(name, guard).unwrap_err(), ContainerError::Sealed);
        }
    }

    #[test]
    fn an_unguarded_file_is_not_taken_for_a_sealed_one() {
        let bytes = write("contacts", Guard::None, &mut rng(), b"forged");
        let key = Secret::new([2; 32]);
        let refused = read(&bytes).unwrap().open("contacts", Guard::Key(&key));
        assert_eq!(refused.unwrap_err(), ContainerError::Sealed);
    }

    #[test]
    fn every_flipped_bit_and_every_lost_end_is_noticed() {
        let bytes = write("contacts", Guard::None, &mut rng(), b"the body");
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.to_vec();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&wrong).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_file_of_a_later_version_is_named_so() {
        let mut bytes = write("contacts", Guard::None, &mut rng(), b"").to_vec();
        bytes[8] = 2;
        assert_eq!(read(&bytes).unwrap_err(), ContainerError::Newer(2));
    }

    #[test]
    fn a_cost_that_would_exhaust_memory_is_refused() {
        let greedy = Cost { passes: 1, memory_kib: u32::MAX };
        let key = PassphraseKey { key: Secret::new([2; 32]), cost: greedy, salt: [0; 16] };
        let bytes = write("identity", Guard::Passphrase(&key), &mut rng(), b"");
        let refused = read(&bytes).unwrap().passphrase_key(b"x");
        assert_eq!(refused.unwrap_err(), ContainerError::Damaged);
    }

    #[test]
    fn a_guard_does_not_print_its_key() {
        let key = PassphraseKey::stretch(b"open sesame", CHEAP, &mut rng()).unwrap();
        let printed = format!("{:?}", Guard::Passphrase(&key));
        assert!(printed.contains("key: _"), "{printed}");
    }
}

//! What a person types to open a profile.

use std::fmt;

use zeroize::Zeroizing;

/// A passphrase: wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// There is nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the passphrase is empty: give at least one character, or none at all")]
pub struct EmptyPassphrase;

impl Passphrase {
    /// Takes the bytes as they are; the caller cuts off the end of a line.
    ///
    /// # Errors
    ///
    /// [`EmptyPassphrase`] for no bytes.
    pub fn new(bytes: impl Into<Zeroizing<Vec<u8>>>) -> Result<Self, EmptyPassphrase> {
        let bytes = bytes.into();
        if bytes.is_empty() { Err(EmptyPassphrase) } else { Ok(Self(bytes)) }
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(_)")
    }
}

//! One file of a profile, sealed under the profile's storage key.

use std::path::PathBuf;
use std::sync::Arc;

use bitchat_protocol::at_rest::{self, ContainerError, Guard};
use bitchat_protocol::crypto::Rng;
use zeroize::Zeroizing;

use super::disk::Keep;
use super::{ProfileError, Vault, damaged, disk};
use crate::entropy;

/// One file of a profile: read whole, replaced whole, sealed under the storage key.
///
/// It keeps the profile locked for as long as it lives.
#[derive(Debug, Clone)]
pub struct SealedFile {
    vault: Arc<Vault>,
    /// Within the profile, with `/` between its parts; bound to the content by the seal.
    name: String,
}

impl SealedFile {
    pub(super) const fn new(vault: Arc<Vault>, name: String) -> Self {
        Self { vault, name }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.vault.dir.join(&self.name)
    }

    /// Reads the content; `None` when it was never written.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Damaged`] when the file is not what was written, or is gone while the
    /// version before it is there; [`ProfileError::Newer`], [`ProfileError::Disk`].
    pub fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, ProfileError> {
        let path = self.path();
        let Some(bytes) = disk::read(&path)? else {
            return if disk::backup_of(&path).exists() {
                Err(damaged(&path, "it is missing"))
            } else {
                Ok(None)
            };
        };
        at_rest::read(&bytes)
            .and_then(|file| file.open(&self.name, Guard::Key(&self.vault.storage_key)))
            .map(Some)
            .map_err(|error| match error {
                ContainerError::Newer(version) => ProfileError::Newer { path, version },
                ContainerError::Foreign | ContainerError::Damaged | ContainerError::Sealed => {
                    damaged(&path, error)
                }
            })
    }

    /// Replaces the content, and returns once it is on disk; the version before it is kept as
    /// `NAME.bak`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Disk`]; what was there before is still there.
    pub fn write(&self, content: &[u8]) -> Result<(), ProfileError> {
        let mut rng = Rng::from_seed(entropy::seed());
        let guard = Guard::Key(&self.vault.storage_key);
        let bytes = at_rest::write(&self.name, guard, &mut rng, content);
        let path = self.path();
        if let Some(parent) = path.parent().filter(|parent| *parent != self.vault.dir) {
            disk::make_directory(parent)?;
        }
        disk::replace(&path, &bytes, Keep::Previous)
    }

    /// Removes the file and the version before it; no file is no error.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Disk`].
    pub fn remove(&self) -> Result<(), ProfileError> {
        disk::remove(&self.path())
    }

    /// Says that the content, though the seal fits, is not what the reader understands.
    #[must_use]
    pub fn damaged(&self, why: impl std::fmt::Display) -> ProfileError {
        damaged(&self.path(), why)
    }
}

//! The identity file of a profile: the one file from which all else can be opened.
//!
//! Its copy, `identity.bak`, is always of the same version: after a change of the passphrase
//! nothing may be left under the old one.

use std::path::{Path, PathBuf};

use bitchat_protocol::at_rest::{
    self, Container, ContainerError, Guard, IdentityBody, PassphraseKey,
};
use bitchat_protocol::crypto::Rng;

use super::disk::Keep;
use super::{Passphrase, ProfileError, damaged, disk};
use crate::entropy;

/// The file's name within the profile.
const IDENTITY_FILE: &str = "identity";

/// The identity file of one profile.
#[derive(Debug, Clone)]
pub(super) struct IdentityFile {
    path: PathBuf,
}

impl IdentityFile {
    pub(super) fn new(profile_dir: &Path) -> Self {
        Self { path: profile_dir.join(IDENTITY_FILE) }
    }

    /// Whether a passphrase is needed to open it; `None` when there is no identity.
    pub(super) fn is_sealed(&self) -> Result<Option<bool>, ProfileError> {
        let Some(bytes) = disk::read(&self.path)? else { return self.absent().map(|()| None) };
        let container = at_rest::read(&bytes).map_err(|error| self.refused(error))?;
        Ok(Some(matches!(container, Container::UnderPassphrase { .. })))
    }

    /// Opens the identity of the profile called `profile`; `None` when there is none.
    pub(super) fn open(
        &self,
        profile: &str,
        passphrase: Option<&Passphrase>,
    ) -> Result<Option<(IdentityBody, Option<PassphraseKey>)>, ProfileError> {
        let Some(bytes) = disk::read(&self.path)? else { return self.absent().map(|()| None) };
        let container = at_rest::read(&bytes).map_err(|error| self.refused(error))?;
        let key = match (&container, passphrase) {
            (Container::UnderPassphrase { .. }, None) => {
                return Err(ProfileError::PassphraseNeeded(profile.to_owned()));
            }
            (Container::UnderPassphrase { .. }, Some(passphrase)) => container
                .passphrase_key(passphrase.expose())
                .map_err(|error| self.refused(error))?,
            (Container::Plain(_) | Container::UnderKey(_), Some(_)) => {
                return Err(ProfileError::NotSealed(profile.to_owned()));
            }
            (Container::Plain(_) | Container::UnderKey(_), None) => None,
        };
        let body = container.open(IDENTITY_FILE, guard(key.as_ref())).map_err(|error| {
            if key.is_some() && error == ContainerError::Sealed {
                ProfileError::WrongPassphrase(profile.to_owned())
            } else {
                self.refused(error)
            }
        })?;
        let body = IdentityBody::from_bytes(&body).map_err(|error| damaged(&self.path, error))?;
        self.renew_copy(&bytes)?;
        Ok(Some((body, key)))
    }

    /// Replaces the identity and its copy.
    pub(super) fn write(
        &self,
        body: &IdentityBody,
        key: Option<&PassphraseKey>,
    ) -> Result<(), ProfileError> {
        let mut rng = Rng::from_seed(entropy::seed());
        let bytes = at_rest::write(IDENTITY_FILE, guard(key), &mut rng, &body.to_bytes());
        disk::replace(&self.path, &bytes, Keep::Nothing)?;
        // From here on the change stands; a copy that could not be made is made at the next start.
        if let Err(error) = self.renew_copy(&bytes) {
            tracing::warn!(%error, "the copy of the identity file is out of date");
        }
        Ok(())
    }

    fn renew_copy(&self, bytes: &[u8]) -> Result<(), ProfileError> {
        let copy = disk::backup_of(&self.path);
        // A copy that does not read is replaced like one that differs.
        if disk::read(&copy).ok().flatten().is_some_and(|found| found.as_slice() == bytes) {
            return Ok(());
        }
        disk::replace(&copy, bytes, Keep::Nothing)
    }

    /// No identity is fine in a new profile, and a loss where there was one.
    fn absent(&self) -> Result<(), ProfileError> {
        if disk::backup_of(&self.path).exists() {
            return Err(damaged(&self.path, "it is missing"));
        }
        Ok(())
    }

    fn refused(&self, error: ContainerError) -> ProfileError {
        match error {
            ContainerError::Newer(version) => {
                ProfileError::Newer { path: self.path.clone(), version }
            }
            ContainerError::Foreign | ContainerError::Damaged | ContainerError::Sealed => {
                damaged(&self.path, error)
            }
        }
    }
}

fn guard(key: Option<&PassphraseKey>) -> Guard<'_> {
    key.map_or(Guard::None, Guard::Passphrase)
}

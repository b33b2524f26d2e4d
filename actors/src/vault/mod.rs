//! The profile on disk: who we are, and the sealed files that belong to it.
//!
//! ```text
//! <data dir>/<profile>/        for this user alone
//!     lock                     held while a process has the profile open; its process id
//!     identity, identity.bak   seed, storage key, name, port; plain, or under a passphrase
//!     contacts, ...            every other file: under the storage key, each with a .bak
//! ```
//!
//! Formats: `docs/spec/profile.md`. Not here: what the files mean; that is their owners' business
//! ([`crate::contact_book`], [`crate::channel_book`]).
//!
//! Reading and writing wait for the disk: actors that do it belong on an arbiter without sockets.

mod bundle;
mod disk;
mod error;
mod identity_file;
mod lock;
mod passphrase;
mod refusal_log;
mod sealed_file;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bitchat_protocol::at_rest::{IdentityBody, PassphraseKey};
use bitchat_protocol::crypto::password::Cost;
use bitchat_protocol::crypto::{Rng, Secret, hash};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::{Card, DisplayName, Identity};

pub use error::ProfileError;
pub use passphrase::{EmptyPassphrase, Passphrase};
pub(crate) use refusal_log::RefusalLog;
pub use sealed_file::SealedFile;

use crate::entropy;
use identity_file::IdentityFile;
use lock::ProfileLock;

/// Characters of a profile's name.
const PROFILE_NAME_MAX: usize = 64;
const FILE_NAME_LABEL: &str = "bitchat v1 profile file name";

/// What all files of an open profile share.
#[derive(Debug)]
struct Vault {
    dir: PathBuf,
    storage_key: Secret<32>,
    _lock: ProfileLock,
}

/// An open profile: the identity, what goes with it, and the way to its files.
///
/// A clone shares the lock and the files; a later change of the name or the port is not seen by it.
#[derive(Debug, Clone)]
pub struct Profile {
    name: String,
    vault: Arc<Vault>,
    file: IdentityFile,
    identity: Identity,
    body: IdentityBody,
    display_name: Option<DisplayName>,
    passphrase_key: Option<PassphraseKey>,
}

/// What there is under the name of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing: it can be created.
    Nothing,
    /// A profile without passphrase.
    Plain,
    /// A profile that needs its passphrase to be opened.
    Sealed,
}

impl Profile {
    /// Looks what there is in `data_dir` under `name`, without opening or changing it.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] other than those of the passphrase and the lock.
    pub fn find(data_dir: &Path, name: &str) -> Result<Found, ProfileError> {
        let dir = profile_dir(data_dir, name)?;
        Ok(match IdentityFile::new(&dir).is_sealed()? {
            None => Found::Nothing,
            Some(false) => Found::Plain,
            Some(true) => Found::Sealed,
        })
    }

    /// Creates the profile with a new identity and opens it.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Exists`], [`ProfileError::InUse`], [`ProfileError::Exposed`],
    /// [`ProfileError::BadName`], [`ProfileError::Disk`].
    pub fn create(
        data_dir: &Path,
        name: &str,
        display_name: Option<DisplayName>,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, ProfileError> {
        let dir = profile_dir(data_dir, name)?;
        disk::make_directory(&dir)?;
        let lock = lock_private(&dir, name)?;
        let file = IdentityFile::new(&dir);
        if file.is_sealed()?.is_some() {
            return Err(ProfileError::Exists { name: name.to_owned() });
        }
        let mut rng = Rng::from_seed(entropy::seed());
        let body = IdentityBody {
            seed: rng.secret(),
            storage_key: rng.secret(),
            name: display_name.map(|name| name.as_str().to_owned()).unwrap_or_default(),
            udp_port: None,
            client_profile: None,
        };
        let key = passphrase.map(stretch);
        file.write(&body, key.as_ref())?;
        Ok(Self::assemble(name, dir, lock, body, key))
    }

    /// Opens the profile and holds it until the last clone and the last of its files are dropped.
    ///
    /// # Errors
    ///
    /// Any [`ProfileError`] but [`ProfileError::Exists`].
    pub fn open(
        data_dir: &Path,
        name: &str,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, ProfileError> {
        let dir = profile_dir(data_dir, name)?;
        let missing =
            || ProfileError::Missing { name: name.to_owned(), data_dir: data_dir.to_owned() };
        if !dir.is_dir() {
            return Err(missing());
        }
        let lock = lock_private(&dir, name)?;
        let opened = IdentityFile::new(&dir).open(name, passphrase)?;
        let (body, key) = opened.ok_or_else(missing)?;
        Ok(Self::assemble(name, dir, lock, body, key))
    }

    fn assemble(
        name: &str,
        dir: PathBuf,
        lock: ProfileLock,
        body: IdentityBody,
        passphrase_key: Option<PassphraseKey>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            file: IdentityFile::new(&dir),
            identity: Identity::from_seed(body.seed.clone()),
            display_name: DisplayName::new(body.name.as_str()).ok(),
            vault: Arc::new(Vault { dir, storage_key: body.storage_key.clone(), _lock: lock }),
            body,
            passphrase_key,
        }
    }

    /// The profile's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lies.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.vault.dir
    }

    /// Who we are.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// By what others know us.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// The name we chose; `None`: none yet.
    #[must_use]
    pub const fn display_name(&self) -> Option<&DisplayName> {
        self.display_name.as_ref()
    }

    /// The card to give to others; a nameless one carries the short form of our id.
    ///
    /// # Panics
    ///
    /// Never: a short id is a name.
    #[must_use]
    pub fn card(&self) -> Card {
        let name = self.display_name.clone().unwrap_or_else(|| {
            DisplayName::new(self.peer_id().short()).expect("ten letters are a name")
        });
        self.identity.card(name)
    }

    /// The port chosen at the first start.
    #[must_use]
    pub const fn udp_port(&self) -> Option<u16> {
        self.body.udp_port
    }

    /// The BitTorrent client that this node looks like.
    #[must_use]
    pub fn client_profile(&self) -> Option<&str> {
        self.body.client_profile.as_deref()
    }

    /// Whether a passphrase seals it.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.passphrase_key.is_some()
    }

    /// Changes the name that others see.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Disk`]; nothing has changed then.
    pub fn rename(&mut self, name: DisplayName) -> Result<(), ProfileError> {
        self.change(|body| name.as_str().clone_into(&mut body.name))?;
        self.display_name = Some(name);
        Ok(())
    }

    /// Keeps the port for the next start.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Disk`]; nothing has changed then.
    pub fn set_udp_port(&mut self, port: u16) -> Result<(), ProfileError> {
        self.change(|body| body.udp_port = Some(port))
    }

    /// Keeps which BitTorrent client this node looks like.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Disk`]; nothing has changed then.
    pub fn set_client_profile(&mut self, name: &str) -> Result<(), ProfileError> {
        self.change(|body| body.client_profile = Some(name.to_owned()))
    }

    /// Sets or changes the passphrase, or removes it.
    ///
    /// One file is replaced, at once: the others are under the storage key, which that one keeps.
    /// What a disk or a backup still holds of the file before cannot be taken back.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Disk`]; nothing has changed then.
    pub fn set_passphrase(&mut self, passphrase: Option<&Passphrase>) -> Result<(), ProfileError> {
        let key = passphrase.map(stretch);
        self.file.write(&self.body, key.as_ref())?;
        self.passphrase_key = key;
        Ok(())
    }

    /// What seals every file but the identity, for those that are no [`SealedFile`].
    pub(crate) fn storage_key(&self) -> &Secret<32> {
        &self.vault.storage_key
    }

    /// The file called `name` in the profile's own directory.
    ///
    /// # Panics
    ///
    /// When `name` is not lower-case letters: names are constants of the program.
    #[must_use]
    pub fn file(&self, name: &'static str) -> SealedFile {
        assert!(is_plain_name(name), "{name:?} is not a plain file name");
        SealedFile::new(Arc::clone(&self.vault), name.to_owned())
    }

    /// The file of `thing` in the sub-directory `dir`, with the given ending.
    ///
    /// Its name derives from the storage key, so that a directory listing tells nothing to whoever
    /// knows `thing`.
    ///
    /// # Panics
    ///
    /// When `dir` or `ending` is not lower-case letters: they are constants of the program.
    #[must_use]
    pub fn file_of(&self, dir: &'static str, thing: &[u8], ending: &'static str) -> SealedFile {
        assert!(is_plain_name(dir) && is_plain_name(ending), "{dir:?} or {ending:?} is not plain");
        let key = self.vault.storage_key.expose();
        let code: [u8; 16] = hash::mac(key, FILE_NAME_LABEL, &[dir.as_bytes(), thing]);
        let name = format!("{dir}/{:032x}.{ending}", u128::from_be_bytes(code));
        SealedFile::new(Arc::clone(&self.vault), name)
    }

    /// All files in the sub-directory `dir` with the given ending, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Disk`].
    pub fn files_in(
        &self,
        dir: &'static str,
        ending: &'static str,
    ) -> Result<Vec<SealedFile>, ProfileError> {
        let names = disk::list(&self.vault.dir.join(dir))?;
        let mut names: Vec<_> = names
            .into_iter()
            // A file that is gone while the version before it is there must be noticed too.
            .map(|name| name.strip_suffix(".bak").map(str::to_owned).unwrap_or(name))
            .filter(|name| name.strip_suffix(ending).is_some_and(|stem| stem.ends_with('.')))
            .collect();
        names.sort_unstable();
        names.dedup();
        let file = |name| SealedFile::new(Arc::clone(&self.vault), format!("{dir}/{name}"));
        Ok(names.into_iter().map(file).collect())
    }

    fn change(&mut self, edit: impl FnOnce(&mut IdentityBody)) -> Result<(), ProfileError> {
        let mut body = self.body.clone();
        edit(&mut body);
        if body != self.body {
            self.file.write(&body, self.passphrase_key.as_ref())?;
            self.body = body;
        }
        Ok(())
    }
}

fn profile_dir(data_dir: &Path, name: &str) -> Result<PathBuf, ProfileError> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if !(1..=PROFILE_NAME_MAX).contains(&name.len())
        || !name.chars().all(plain)
        || name.starts_with(['.', '-'])
    {
        return Err(ProfileError::BadName(name.to_owned()));
    }
    Ok(data_dir.join(name))
}

fn lock_private(dir: &Path, name: &str) -> Result<ProfileLock, ProfileError> {
    disk::check_private(dir)?;
    ProfileLock::take(dir, name)
}

fn stretch(passphrase: &Passphrase) -> PassphraseKey {
    let mut rng = Rng::from_seed(entropy::seed());
    PassphraseKey::stretch(passphrase.expose(), Cost::INTERACTIVE, &mut rng)
        .expect("the cost we choose is in range")
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn damaged(path: &Path, why: impl fmt::Display) -> ProfileError {
    let backup = Some(disk::backup_of(path)).filter(|backup| backup.exists());
    ProfileError::Damaged { path: path.to_owned(), why: why.to_string(), backup }
}

#[cfg(test)]
mod tests;

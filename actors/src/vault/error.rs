//! What can go wrong with a profile, by what the caller should do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a profile could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Another process has it open: wait for it to end, or talk to it.
    #[error(
        "profile {name} is in use by {}: stop it first, or choose another profile",
        Process(*.pid)
    )]
    InUse {
        /// The profile.
        name: String,
        /// The other process, when it has said who it is.
        pid: Option<u32>,
    },
    /// There is none of this name: create it.
    #[error("there is no profile {name} in {}", .data_dir.display())]
    Missing {
        /// The profile.
        name: String,
        /// Where it was looked for.
        data_dir: PathBuf,
    },
    /// There is one of this name already: open it.
    #[error("profile {name} exists already")]
    Exists {
        /// The profile.
        name: String,
    },
    /// The name cannot be a directory's.
    #[error(
        "{0:?} cannot be a profile's name: use 1 to 64 letters, digits, dots, hyphens or \
         underscores, and no dot or hyphen in front"
    )]
    BadName(String),
    /// A passphrase is set and none was given: ask for it.
    #[error("profile {0} is sealed: its passphrase is needed")]
    PassphraseNeeded(String),
    /// A passphrase was given and none is set: whoever gave it believes the profile is sealed.
    #[error("profile {0} has no passphrase: leave the passphrase out, or set one first")]
    NotSealed(String),
    /// The passphrase is another one.
    #[error("wrong passphrase for profile {0}")]
    WrongPassphrase(String),
    /// Others may read or write the directory.
    #[error(
        "{} can be opened by other users (mode {mode:03o}): run `chmod 700 {}`",
        .path.display(),
        .path.display()
    )]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not what was written: a person must decide.
    #[error("{} is damaged: {why}. {}", .path.display(), Remedy { path, backup: backup.as_deref() })]
    Damaged {
        /// The file; it is left as it is.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The version before it, when there is one.
        backup: Option<PathBuf>,
    },
    /// A file is not what an export has written.
    #[error("{} cannot be imported: {why}; nothing was made", .path.display())]
    BadExport {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An export is under another passphrase.
    #[error(
        "wrong passphrase for {}: it is the one that was chosen for the export",
        .path.display()
    )]
    WrongExportPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// A later version of the program wrote a file.
    #[error(
        "{} was written by a later version of bitchat (file version {version}): update bitchat",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
    /// The file system refused; what was on disk before is still there.
    #[error("cannot {doing} {}: {source}{}", .path.display(), hint(source))]
    Disk {
        /// What was tried, as a verb.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl ProfileError {
    /// Makes the error of a failed call; to be given to `map_err`.
    pub(super) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { doing, path, source }
    }
}

struct Process(Option<u32>);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

struct Remedy<'a> {
    path: &'a Path,
    backup: Option<&'a Path>,
}

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backup {
            Some(backup) => write!(
                f,
                "The version before it is {}: move the damaged file away and copy that one to {}",
                backup.display(),
                self.path.display()
            ),
            None => f.write_str("Move it away, or put a copy of your own in its place"),
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the kinds of a foreign enum that grows; only these have a remedy"
    )]
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space and try again"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; choose another directory with --data-dir, or change its permissions"
        }
        _ => "",
    }
}

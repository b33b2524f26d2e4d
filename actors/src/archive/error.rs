//! What can go wrong with the archive, by what the caller should do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use bitchat_protocol::id::{ChainId, ChannelId};
use rusqlite::ErrorCode;

/// Why the archive could not be opened, read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The file system refused; what was on disk before is still there, and nothing of what was
    /// asked: it may be asked again.
    #[error("cannot {doing} {}: {why}{}", .path.display(), hint(*.kind))]
    Disk {
        /// What was tried, as a verb.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The reason.
        why: String,
        /// What sort of refusal it is.
        kind: Refusal,
    },
    /// The file is not what was written; it is mended at the next start.
    #[error(
        "{} is damaged: {why}. What can be read of it is put into a new one at the next start, and \
         the damaged one is kept beside it",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is whole, but another profile's.
    #[error(
        "{} belongs to another profile: its storage key is not this one's. Put this profile's own \
         archive in its place, or move it away to begin with an empty one",
        .path.display()
    )]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// A later version of the program wrote it.
    #[error(
        "{} was written by a later version of bitchat (file version {version}): update bitchat",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// The channel was not opened in this run, so its messages cannot be read.
    #[error("channel {} is not open", .0.short())]
    NotOpen(ChannelId),
    /// An entry neither follows the last one of its chain nor begins it: a batch before has failed.
    /// Nothing of this one was stored.
    #[error("entry {number} of chain {} does not follow entry {head}, the last one held", .chain.short())]
    Gap {
        /// The chain.
        chain: ChainId,
        /// The number of the entry.
        number: u64,
        /// The last number that is held.
        head: u64,
    },
    /// An entry is of a chain that has no certificate, in the batch or before it: a mistake of
    /// whoever sent the batch. Nothing of it was stored.
    #[error("chain {} is not known", .0.short())]
    UnknownChain(ChainId),
    /// The last entry that is held of a chain is another than the one that came under its number: a
    /// batch before was answered with an error and is on disk all the same. Nothing of this one was
    /// stored; open the channel again to learn what is held.
    #[error("entry {number} of chain {} is another one than is held", .chain.short())]
    OtherEntry {
        /// The chain.
        chain: ChainId,
        /// The number of both.
        number: u64,
    },
    /// So many events have not happened: whoever asks knows them from another archive.
    #[error(
        "there is no event {since}: the last one here is {last}. The archive is an older one, or          was begun anew; begin with since = {last}"
    )]
    NoSuchEvent {
        /// What was asked after.
        since: u64,
        /// The last one.
        last: u64,
    },
    /// What comes next was said in a channel that is about to be opened.
    #[error("a channel is still being opened; ask once more")]
    Opening,
    /// A client's name is too long, or there are too many of them.
    #[error("{0}")]
    Client(&'static str),
}

/// What sort of refusal came from the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no space left.
    Full,
    /// It may not be written to.
    ReadOnly,
    /// Anything else.
    Other,
}

impl ArchiveError {
    /// Makes the error of a failed call of SQLite; to be given to `map_err`.
    pub(super) fn sqlite(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| match code_of(&error) {
            // The last two: our tables or the format are not what they must be, as what we ask is
            // fixed; or rows are there that no row of ours comes after.
            Some(
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::Unknown
                | ErrorCode::ConstraintViolation,
            ) => Self::Damaged { path, why: error.to_string() },
            None if is_unexpected_content(&error) => Self::Damaged { path, why: error.to_string() },
            code => {
                #[allow(
                    clippy::wildcard_enum_match_arm,
                    reason = "the codes of a foreign enum that grows; only these have a remedy"
                )]
                let kind = match code {
                    Some(ErrorCode::DiskFull) => Refusal::Full,
                    Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Refusal::ReadOnly,
                    _ => Refusal::Other,
                };
                Self::Disk { doing, path, why: error.to_string(), kind }
            }
        }
    }

    /// Makes the error of a failed call of the index, which is no file and cannot be mended.
    pub(super) fn index(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Disk { doing, path, why: error.to_string(), kind: Refusal::Other }
    }

    /// Makes the error of a failed call of the file system; to be given to `map_err`.
    pub(super) fn io(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        use std::io::ErrorKind;
        let path = path.to_owned();
        move |error| {
            #[allow(
                clippy::wildcard_enum_match_arm,
                reason = "the kinds of a foreign enum that grows; only these have a remedy"
            )]
            let kind = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Refusal::Full,
                ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Refusal::ReadOnly,
                _ => Refusal::Other,
            };
            Self::Disk { doing, path, why: error.to_string(), kind }
        }
    }

    /// Whether the file itself is the fault, and not the request or the disk.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

fn code_of(error: &rusqlite::Error) -> Option<ErrorCode> {
    error.sqlite_error_code()
}

/// A column of another type than was written, or a row that must be there is not.
const fn is_unexpected_content(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, QueryReturnedNoRows,
    };
    matches!(
        error,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | QueryReturnedNoRows
    )
}

fn hint(kind: Refusal) -> impl fmt::Display {
    match kind {
        Refusal::Full => "; free some space and try again",
        Refusal::ReadOnly => {
            "; choose another directory with --data-dir, or change its permissions"
        }
        Refusal::Other => "",
    }
}

//! What lies on disk in a profile: the container of every file, the identity's body, and a
//! whole profile in one file.
//!
//! Specified in `docs/spec/profile.md`. Not here: files, directories, locks; they are the driver's.

mod bundle;
mod container;
mod identity_body;

pub use bundle::{
    BUNDLE_HEAD_BYTES_MAX, BUNDLE_MAGIC, BUNDLE_PIECE_BYTES_MAX, BUNDLE_SEAL_BYTES, BundleError,
    BundleKey, is_bundle_name, open_bundle_head, write_bundle_head,
};
pub use container::{Container, ContainerError, Guard, PassphraseKey, Sealed, read, write};
pub use identity_body::{IdentityBody, IdentityBodyError};

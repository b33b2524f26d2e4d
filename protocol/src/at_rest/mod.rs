//! What lies on disk in a profile: the container of every file, and the identity's body.
//!
//! Specified in `docs/spec/profile.md`. Not here: files, directories, locks; they are the driver's.

mod container;
mod identity_body;

pub use container::{Container, ContainerError, Guard, PassphraseKey, Sealed, read, write};
pub use identity_body::{IdentityBody, IdentityBodyError};

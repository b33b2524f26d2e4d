//! The message log of a channel: what was said, so that it is not lost, doubled or shown in
//! another order to somebody else.
//!
//! - `chain`, `entry`, `body`: the bytes, and how they are sealed, signed and checked.
//! - `order`: the one order of a channel.
//! - `api`: what the log and the archive tell each other.
//!
//! Not here: the disk, links, what people see.
//!
//! Spec: `docs/spec/10-log.md`; what the words promise: `docs/delivery.md`.

mod api;
mod body;
mod chain;
#[cfg(test)]
mod codec_tests;
mod entry;
mod order;

pub use api::{Accepted, Batch, ChainState, ChannelState, ForkProof, Receipt, Role};
pub use body::{Body, Say, Tip};
pub use chain::{CERTIFICATE_BYTES, Certificate, CertificateError, chain_id, chain_start};
pub use entry::{
    ENTRY_BYTES_MAX, ENTRY_BYTES_MIN, Entry, EntryError, EntryHash, Head, OUTLINE_BYTES, Outline,
    clock_max,
};
pub use order::Position;

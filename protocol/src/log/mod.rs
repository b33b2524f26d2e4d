//! The message log of a channel: what was said, so that it is not lost, doubled or shown in
//! another order to somebody else.
//!
//! - `chain`, `entry`, `body`: the bytes, and how they are sealed, signed and checked.
//! - `order`: the one order of a channel.
//! - `api`: what goes in and out, and what the log and the archive tell each other.
//! - `machine`: the log of all channels; `channel`: one of them, and what it has stored;
//!   `chain_state`, `peer`: what it knows of a chain and of a peer.
//! - `have`, `push`, `pull`, `take`: who has what, what goes out, what is asked for, what comes in.
//! - `search`, `again`: where a chain of ours began to fork, and what is said again after it.
//!
//! ```text
//!   say --> chained, signed --.                            .--> pushed to peers that lack it
//!                             +--> Store --> Stored: told -+
//!   entries --> checked ------'    |                       '--> served to whoever wants it
//!      ^                           '-> StoreFailed: taken back, wanted again later
//!      '-- wanted of whoever has more <-- Have of peers
//! ```
//!
//! Nothing is pushed, and nobody is told of it, before it is on disk.
//!
//! Not here: the disk, links, what people see.
//!
//! Spec: `docs/spec/10-log.md`; what the words promise: `docs/delivery.md`.

mod again;
mod api;
mod body;
mod chain;
mod chain_state;
mod channel;
#[cfg(test)]
mod codec_tests;
mod entry;
mod have;
mod machine;
mod order;
mod peer;
mod pull;
mod push;
mod search;
#[cfg(any(test, feature = "log-sim"))]
pub mod sim;
mod take;
#[cfg(test)]
mod tests;

pub use api::{
    Accepted, Batch, ChainState, ChannelState, Dropped, ForkProof, Input, Output, Receipt, Role,
    SayError,
};
pub use body::{Body, Say, Tip};
pub use chain::{CERTIFICATE_BYTES, Certificate, CertificateError, chain_id, chain_start};
pub use entry::{
    ENTRY_BYTES_MAX, ENTRY_BYTES_MIN, Entry, EntryError, EntryHash, Head, OUTLINE_BYTES, Outline,
    clock_max,
};
pub use machine::Log;
pub use order::Position;

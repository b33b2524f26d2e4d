//! Links: quinn-proto under our own session. Nothing of quinn-proto leaks out of this module.
//!
//! Reading order: `header`, `gate` and `addressee` (who is let in), `clock_check`, `session`, `keys` and `mix` (the
//! handshake in the place of TLS), `endpoint` (all links of a port), `link` and `framing` (one of
//! them), `demux` and `cid` (whose a datagram is).
//!
//! Spec: `docs/spec/03-handshake.md`, `docs/spec/04-link.md`.

mod addressee;
mod cid;
mod clock_check;
mod demux;
mod endpoint;
mod framing;
mod gate;
mod header;
mod keys;
mod link;
mod mix;
#[cfg(test)]
mod renewal_tests;
mod session;
#[cfg(test)]
pub(crate) mod test_pair;
#[cfg(test)]
mod tests;

pub use crate::channel::GateKeys as ChannelGate;
pub use addressee::{Interface, OwnAddresses};
pub use demux::{Class, classify};
pub use endpoint::{Dial, DialError, Endpoint, EndpointConfig, Routed};
pub use framing::FrameQueueFull;
pub use gate::GateCounters;
pub use keys::{Suite, SuitePreference};
pub use link::{
    CloseCode, CloseReason, Ecn, EndpointEvent, Established, Link, LinkEvent, LinkId, LinkInput,
    StreamError, StreamId, Transmit,
};
pub use mix::TooLate;

//! How a closed channel lets somebody in, or tells them why not; see [`crate::session`].

use serde::{Deserialize, Serialize};

use super::bounded::list;
use crate::channel::TICKET_BYTES;
use crate::id::ChannelId;
use crate::limits::TICKETS_MAX;

/// One ticket as it travels; read by [`crate::channel::Ticket::decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketBytes(#[serde(with = "serde_bytes")] pub [u8; TICKET_BYTES]);

/// What lets the sender into a closed channel that both have proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tickets {
    /// The channel.
    pub channel: ChannelId,
    /// From the founder's to the sender's, at most [`TICKETS_MAX`]; empty: it has none.
    #[serde(deserialize_with = "list::<_, _, TICKETS_MAX>")]
    pub tickets: Vec<TicketBytes>,
}

/// The sender lets the receiver into a closed channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetIn {
    /// The channel.
    pub channel: ChannelId,
}

/// The sender does not let the receiver into a closed channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The channel.
    pub channel: ChannelId,
    /// Why, for programs; see `docs/spec/11-admission.md`.
    pub code: u8,
    /// Why, and what to do, for people; at most [`crate::limits::REFUSAL_BYTES_MAX`] bytes.
    pub text: String,
}

//! What people say, and the receipts.

use serde::{Deserialize, Serialize};

use crate::id::{ChannelId, MessageId};

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Say {
    /// The channel it is said in; `None`: to the receiver alone.
    pub channel: Option<ChannelId>,
    /// Chosen by the author.
    pub id: MessageId,
    /// The author's clock, milliseconds since 1970.
    pub unix_ms: u64,
    /// At most [`crate::limits::MESSAGE_BYTES_MAX`] bytes.
    pub text: String,
}

/// The sender has taken these messages in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// At most [`crate::limits::RECEIPTS_PER_FRAME_MAX`] ids of messages that the receiver sent.
    pub ids: Vec<MessageId>,
}

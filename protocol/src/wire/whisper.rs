//! What is said to one peer alone, and the receipts.

use serde::{Deserialize, Serialize};

use super::bounded::list;
use crate::id::MessageId;
use crate::limits::RECEIPTS_PER_FRAME_MAX;

/// A message for the receiver alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whisper {
    /// Chosen by the author.
    pub id: MessageId,
    /// The author's clock, milliseconds since 1970.
    pub unix_ms: u64,
    /// 1 to [`crate::limits::MESSAGE_BYTES_MAX`] bytes.
    pub text: String,
}

/// The sender has taken these messages in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// At most [`RECEIPTS_PER_FRAME_MAX`] ids of messages that the receiver sent.
    #[serde(deserialize_with = "list::<_, _, RECEIPTS_PER_FRAME_MAX>")]
    pub ids: Vec<MessageId>,
}

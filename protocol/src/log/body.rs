//! What an entry says, before it is sealed.
//!
//! ```text
//! body = kind u8 || one MessagePack map, field name -> value
//!
//! kind 1 Say   id bin 16, unix_ms uint64, text str, after list of {chain bin 16, number uint64}
//! ```
//!
//! Read like frames: fields that are not known are skipped; one that is missing, doubled, of another
//! type or out of bounds makes the body unreadable. Kinds that are not known are kept, not shown.
//!
//! Spec: `docs/spec/10-log.md`, section 3.

use serde::{Deserialize, Serialize};

use crate::id::{ChainId, MessageId};
use crate::limits::{ENTRY_AFTER_MAX, ENTRY_BODY_BYTES_MAX, ENTRY_NUMBER_MAX, MESSAGE_BYTES_MAX};
use crate::wire::bounded::list;
use crate::wire::{read_map, write_map};

const SAY: u8 = 1;

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A message.
    Say(Say),
    /// Something of a later version: kept and passed on, not shown.
    Unknown {
        /// Its kind.
        kind: u8,
    },
    /// Its author sealed it under another key, or wrote what is no body: kept, not shown.
    Unreadable,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Say {
    /// Chosen by the author.
    pub id: MessageId,
    /// The author's clock, milliseconds since 1970; may be anything.
    pub unix_ms: u64,
    /// 1 to [`MESSAGE_BYTES_MAX`] bytes.
    pub text: String,
    /// The newest entries of other chains that the author held, at most [`ENTRY_AFTER_MAX`]: this
    /// was said after them.
    #[serde(deserialize_with = "list::<_, _, ENTRY_AFTER_MAX>")]
    pub after: Vec<Tip>,
}

/// An entry by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tip {
    /// Its chain.
    pub chain: ChainId,
    /// Its number there, 1 to [`ENTRY_NUMBER_MAX`].
    pub number: u64,
}

impl Body {
    /// Reads the plaintext of an entry; what is no body is [`Body::Unreadable`].
    #[must_use]
    pub fn decode(plain: &[u8]) -> Self {
        if plain.len() > ENTRY_BODY_BYTES_MAX {
            return Self::Unreadable;
        }
        match plain.split_first() {
            None => Self::Unreadable,
            Some((&SAY, map)) => {
                read_map::<Say>(map).filter(Say::is_in_bounds).map_or(Self::Unreadable, Self::Say)
            }
            Some((&kind, _)) => Self::Unknown { kind },
        }
    }

    /// The message, where it is one.
    #[must_use]
    pub const fn as_say(&self) -> Option<&Say> {
        match self {
            Self::Say(say) => Some(say),
            Self::Unknown { .. } | Self::Unreadable => None,
        }
    }
}

impl Say {
    fn is_in_bounds(&self) -> bool {
        (1..=MESSAGE_BYTES_MAX).contains(&self.text.len())
            && self.after.iter().all(|tip| (1..=ENTRY_NUMBER_MAX).contains(&tip.number))
    }

    /// Writes the plaintext. The caller keeps text and list within their bounds.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write_map(SAY, self)
    }
}

//! What people say: takes messages in, gives them out, keeps the receipts.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`Say`] | console | says a text in a channel |
//! | [`Tell`] | console | says a text to one peer alone |
//! | [`CountUndelivered`] | console | how many messages nobody has yet |
//! | [`Subscribe`] | console | asks for every [`Notice`] from now on |

use std::sync::Arc;

use actix::{Message, Recipient};
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};

/// Says `text` in `channel`; answered with the message's id once it is held for delivery.
#[derive(Debug, Message)]
#[rtype(result = "Result<MessageId, SayError>")]
pub struct Say {
    /// The channel, open on this node.
    pub channel: ChannelId,
    /// 1 to [`bitchat_protocol::limits::MESSAGE_BYTES_MAX`] bytes.
    pub text: String,
    /// The sender's own id for it (an idempotency key): a second `Say` with one id is not said twice.
    pub id: Option<MessageId>,
}

/// Says `text` to `peer` alone, over the link with that peer.
#[derive(Debug, Message)]
#[rtype(result = "Result<MessageId, SayError>")]
pub struct Tell {
    /// To whom.
    pub peer: PeerId,
    /// As in [`Say`].
    pub text: String,
    /// As in [`Say`].
    pub id: Option<MessageId>,
}

/// Counts the messages said here that no peer has acknowledged yet.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "usize")]
pub struct CountUndelivered;

/// Asks for every [`Notice`] from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<Notice>);

/// Why a text was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// No text at all.
    #[error("an empty message is not sent")]
    Empty,
    /// Longer than a message may be.
    #[error("the message has {len} bytes, and at most {max} are allowed")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// Allowed bytes.
        max: usize,
    },
    /// The channel is not open on this node.
    #[error("this channel is not open here")]
    NoSuchChannel,
    /// There is no link with that peer.
    #[error("not linked with that peer now")]
    NotLinked,
    /// Too much is waiting for somebody to take it.
    #[error("{waiting} messages wait for somebody to take them; nothing more is accepted before")]
    OutboxFull {
        /// Messages waiting.
        waiting: usize,
    },
}

/// What the console tells a person.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Notice {
    /// Somebody said something.
    Heard {
        /// Where; `None`: to us alone.
        channel: Option<ChannelId>,
        /// Who.
        from: PeerId,
        /// The display name to show: the contact book's, else the peer's own, else a short id.
        name: Arc<str>,
        /// The message.
        id: MessageId,
        /// The author's clock, milliseconds since 1970.
        unix_ms: u64,
        /// The text as it was sent, not escaped.
        text: String,
    },
    /// A message of ours has arrived at a member.
    Delivered {
        /// The message.
        id: MessageId,
        /// Where it was said; `None`: to that peer alone.
        channel: Option<ChannelId>,
        /// Who has it.
        by: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// A member of a channel is linked now.
    MemberUp {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// A member of a channel is linked no longer.
    MemberDown {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// Something that the person must see; never dropped silently. Already in words.
    Warning {
        /// What and what to do.
        text: String,
        /// Exit code that a one-shot run should end with if nothing else happened: 4 for a key conflict.
        code: Option<u8>,
    },
}

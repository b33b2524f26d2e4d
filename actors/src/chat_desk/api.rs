//! What a chat desk is asked and what it tells.

use std::sync::Arc;

use actix::{Message, MessageResponse, Recipient};
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use bitchat_protocol::{log, whisper};

use crate::archive::ArchiveError;
use crate::invitations::Offered;

/// Says `text` in `channel`; answered with the message's id once it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<MessageId, SayError>")]
pub struct Say {
    /// The channel, open on this node.
    pub channel: ChannelId,
    /// 1 to [`bitchat_protocol::limits::MESSAGE_BYTES_MAX`] bytes.
    pub text: String,
    /// The sender's own id for it (an idempotency key): a second `Say` with one id is not said twice,
    /// for as long as the message is kept.
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

/// Asks which messages said here, in this run or before, nobody has yet.
#[derive(Debug, Clone, Default, Message)]
#[rtype(result = "Owed")]
pub struct ListUndelivered {
    /// Which of these; `None`: of all.
    pub among: Option<Vec<MessageId>>,
}

/// What nobody has yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, MessageResponse)]
pub struct Owed {
    /// How many messages.
    pub count: usize,
    /// The oldest of them, oldest first; at most
    /// [`bitchat_protocol::limits::OUTBOX_MESSAGES_MAX`]. Among messages that were named: all.
    pub messages: Vec<MessageId>,
}

/// Asks for every [`Notice`] from now on, and for those that waited, bounded, for a listener.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<Notice>);

/// Asks for every [`Notice`] from now on, beside whoever it is meant for: what nobody else hears
/// waits for the next that [`Subscribe`]s all the same.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Overhear(pub Recipient<Notice>);

/// Has everybody who listens told something.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Announce(pub Notice);

/// Why a text was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// The text, or who is to hear it, is not fit.
    #[error(transparent)]
    Refused(#[from] whisper::SayError),
    /// The text is not fit for the channel, or the disk does not keep up.
    #[error(transparent)]
    NotTaken(#[from] log::SayError),
    /// It could not be written, so it is not said and nobody has it.
    #[error("it could not be kept, so it was not said: {0}")]
    NotKept(ArchiveError),
    /// The channel is not open yet, or a part of the node is being started again: it was not said.
    #[error("the node is starting a part of itself; say it once more")]
    Starting,
    /// The archive or the desk failed before it answered.
    #[error(
        "a part of the node failed, and it is not known whether this was said; say it once more \
         under the same key"
    )]
    Unanswered,
    /// The channel is not open on this node.
    #[error("this channel is not open here")]
    NoSuchChannel,
    /// The channel went on as another one.
    #[error(
        "{name} is over: it went on with new keys, as channel {}; say it there", .successor.short()
    )]
    Moved {
        /// Its name.
        name: String,
        /// What it went on as.
        successor: ChannelId,
    },
    /// We hold a seed-only file of the channel.
    #[error("this node is a seeder in this channel: it can neither read nor speak there")]
    SeedOnly,
}

/// What the console tells a person.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Notice {
    /// Somebody said something: on disk before it is told, unless it was to us alone.
    Heard {
        /// Its durable number; `None` where it was said to us alone.
        seq: Option<u64>,
        /// Whether we said it ourselves, here or on another device.
        own: bool,
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
    /// A message of ours is on the disk of somebody else; where it was said to one alone, it has arrived.
    Delivered {
        /// As in [`Notice::Heard`].
        seq: Option<u64>,
        /// Whether it was a seeder, who keeps it for members and cannot read.
        seeder: bool,
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
    /// A blind seeder of a channel is linked now: it keeps and introduces, and reads nothing.
    SeederUp {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// A seeder of a channel is linked no longer.
    SeederDown {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// Somebody invites us to a closed channel; nothing of it is kept before a person accepts it.
    Invited(Box<Offered>),
    /// Somebody whom we invited to a channel has answered.
    InviteAnswered {
        /// The channel.
        channel: ChannelId,
        /// Its name.
        label: Arc<str>,
        /// Who.
        peer: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
        /// Whether they are in it now.
        accepted: bool,
    },
    /// Somebody gave us a better ticket for a channel that we are in.
    TicketRenewed {
        /// The channel.
        channel: ChannelId,
        /// Its name.
        label: Arc<str>,
        /// Who.
        by: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// A closed channel goes on as another one, with new keys, without somebody.
    Moved {
        /// The channel that is left.
        channel: ChannelId,
        /// The one that takes its place: it is open, if that one was.
        successor: ChannelId,
        /// The name of both.
        label: Arc<str>,
        /// The founder.
        by: PeerId,
        /// As in [`Notice::Heard`]; ours is "you".
        name: Arc<str>,
        /// Who was removed, with names as in [`Notice::Heard`].
        removed: Vec<(PeerId, Arc<str>)>,
    },
    /// Something that the person must see; never dropped silently. Already in words.
    Warning {
        /// What and what to do.
        text: String,
        /// Exit code that a one-shot run should end with if nothing else happened: 4 for a key conflict.
        code: Option<u8>,
    },
}

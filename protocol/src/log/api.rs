//! What goes into the log and what comes out; what the log and the archive tell each other.

use std::sync::Arc;

use bytes::Bytes;

use super::body::Body;
use super::chain::Certificate;
use super::entry::EntryHash;
use super::order::Position;
use crate::channel::ChannelKeys;
use crate::id::{ChainId, ChannelId, DeviceId, MessageId, PeerId};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::wire::Frame;

/// What the archive holds of a channel, as far as the log needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelState {
    /// Under which our own chain is continued: drawn by the archive when it first opens the channel,
    /// later the newest [`Batch::device`].
    pub device: DeviceId,
    /// All chains of the channel, in any order.
    pub chains: Vec<ChainState>,
    /// The receipts for our own chains: the greatest number of each chain and peer.
    pub receipts: Vec<Receipt>,
}

/// What the archive holds of a chain: the entries `base + 1 ..= head`, without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// Whose it is.
    pub certificate: Certificate,
    /// The entry before the first that is held; 0: all are held.
    pub base: u64,
    /// The last that is held, or was before retention removed it; 0: none yet.
    pub head: u64,
    /// Its hash; where `head` is 0 it is not looked at.
    pub head_hash: EntryHash,
    /// Its clock; 0 where `head` is.
    pub head_clock: u64,
    /// The proof that the chain forked: nothing from its number on is taken any more.
    pub forked: Option<ForkProof>,
}

/// What is to be stored, all of it or nothing. What is there already is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Counts from 1; `Stored` and `StoreFailed` name it.
    pub batch: u64,
    /// The channel of all that follows.
    pub channel: ChannelId,
    /// Go on under this device from now on: our chain was rolled back or forked.
    pub device: Option<DeviceId>,
    /// Chains that may be new.
    pub chains: Vec<Certificate>,
    /// In the order in which they are to be stored. Each is held already, or follows the one stored
    /// before it in its chain, or [begins](Accepted::begins) the chain; if one does neither, as an
    /// earlier batch has failed, the whole batch fails.
    pub entries: Vec<Accepted>,
    /// Each replaces the one of the same chain and peer.
    pub receipts: Vec<Receipt>,
    /// Proofs that chains forked; at most one for each chain. One with a lower number replaces the
    /// one before.
    pub forks: Vec<ForkProof>,
}

/// An entry that passed all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The chain.
    pub chain: ChainId,
    /// Who said it.
    pub author: PeerId,
    /// Which of the author's chains.
    pub device: DeviceId,
    /// The place in the chain.
    pub number: u64,
    /// The place in the channel.
    pub clock: u64,
    /// What the next entry follows.
    pub hash: EntryHash,
    /// The entry itself.
    pub bytes: Bytes,
    /// What it says; `None` on a seeder, which cannot read.
    pub body: Option<Body>,
    /// Whether it begins the chain: `base` becomes `number - 1`. What is held before the gap, if
    /// anything, may be shown, but is no longer served.
    pub begins: bool,
    /// Whether we are its author, on this device or another one.
    pub own: bool,
}

impl Accepted {
    /// Where it stands in the channel.
    #[must_use]
    pub const fn position(&self) -> Position {
        let Self { clock, author, device, number, .. } = *self;
        Position { clock, author, device, number }
    }
}

/// How a peer belongs to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Holds the channel secret.
    Member,
    /// Holds the seed key: stores and passes on, cannot read.
    Seeder,
}

/// A peer has a chain of ours on its disk, up to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The chain.
    pub chain: ChainId,
    /// The last entry that the peer has.
    pub number: u64,
    /// Who.
    pub by: PeerId,
    /// As what.
    pub role: Role,
}

/// Two entries of one chain and number, both signed by the author: no honest node makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkProof {
    /// The chain.
    pub chain: ChainId,
    /// The number.
    pub number: u64,
    /// The outline of one, [`super::OUTLINE_BYTES`] long.
    pub first: Bytes,
    /// The outline of the other.
    pub second: Bytes,
}

/// What the driver tells the log.
#[derive(Debug)]
pub enum Input {
    /// The archive has opened a channel, for the first time or, after its restart, again: what was
    /// on its way to the disk is lost then. Comes before the channel's members.
    Opened {
        /// The channel.
        channel: ChannelId,
        /// Its keys: a member's, or a seeder's.
        keys: Arc<ChannelKeys>,
        /// What is on disk.
        state: ChannelState,
    },
    /// We are no longer in a channel.
    Closed(ChannelId),
    /// A member or seeder of a channel is linked. Once more: begin anew with it.
    MemberUp {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As what.
        role: Role,
    },
    /// It is no longer in the channel.
    MemberDown {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
    },
    /// A peer is linked no longer, and so a member of no channel.
    PeerDown(PeerId),
    /// Another link carries what is sent to a peer: what was on its way may be lost.
    Rerouted(PeerId),
    /// A batch of frames over the link with `from`; those that are not the log's are ignored.
    FramesReceived {
        /// Who, as the link has proven.
        from: PeerId,
        /// In order.
        frames: Vec<Frame>,
    },
    /// All of a batch is on disk.
    Stored {
        /// Which.
        batch: u64,
    },
    /// Nothing of a batch is on disk.
    StoreFailed {
        /// Which.
        batch: u64,
    },
    /// The answer to a [`Output::Load`]: entries in ascending order without gaps, none when they are
    /// not there any more.
    Loaded {
        /// To which.
        request: u64,
        /// The entries.
        entries: Vec<Bytes>,
    },
    /// Retention has removed the oldest entries of a chain.
    Pruned {
        /// The channel.
        channel: ChannelId,
        /// The chain.
        chain: ChainId,
        /// The last entry that was removed.
        base: u64,
    },
}

/// What the log wants done, or known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this over the link with `to`.
    Send {
        /// To whom.
        to: PeerId,
        /// What.
        frame: Frame,
    },
    /// Put this on disk, then say [`Input::Stored`]; batches in their order.
    Store(Batch),
    /// Read entries of a chain, from `from` on: at least one if it is there, and then as many as
    /// `bytes_max` has room for.
    Load {
        /// To be named by [`Input::Loaded`].
        request: u64,
        /// The channel.
        channel: ChannelId,
        /// The chain.
        chain: ChainId,
        /// The first entry.
        from: u64,
        /// Bytes of entries.
        bytes_max: usize,
    },
    /// A message of ours is on disk: it is said.
    Said {
        /// The channel.
        channel: ChannelId,
        /// The message.
        id: MessageId,
    },
    /// A message of ours could not be stored: it is not said, and nobody has it.
    SayFailed {
        /// The channel.
        channel: ChannelId,
        /// The message.
        id: MessageId,
    },
    /// An author has signed two entries with one number; nothing from there on is taken any more.
    /// Comes again when a lower number is proven.
    /// When the author is we: this node was rolled back, and goes on in a new chain.
    Forked {
        /// The channel.
        channel: ChannelId,
        /// Who.
        author: PeerId,
        /// The chain.
        chain: ChainId,
        /// The number.
        number: u64,
    },
}

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// No text at all.
    #[error("an empty message is not sent")]
    Empty,
    /// Longer than a message may be.
    #[error("the message has {len} bytes, and at most {max} are allowed", max = MESSAGE_BYTES_MAX)]
    TooLong {
        /// Its bytes.
        len: usize,
    },
    /// The channel is not open.
    #[error("not in that channel")]
    NotOpen,
    /// We hold the seed key only.
    #[error("only members can speak; this node keeps the channel for them")]
    Seeder,
    /// What was said before is not on disk yet, and there is no more room to wait.
    #[error("the disk does not keep up: {bytes} bytes wait for it")]
    Busy {
        /// Bytes of entries on their way to the disk.
        bytes: usize,
    },
    /// What was said before could not be stored, and not all answers are there yet.
    #[error("the disk refuses what is said")]
    StoreFailing,
}

/// How often something of a peer was not taken, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// No entry, no outline.
    pub malformed: u64,
    /// A chain without certificate, or one whose mark is wrong.
    pub unmarked: u64,
    /// A new chain, of which there are too many.
    pub chains: u64,
    /// An entry that does not follow what is held.
    pub gap: u64,
    /// A clock not above the one before.
    pub clock: u64,
    /// A signature that is not the author's.
    pub signature: u64,
    /// An entry of a chain that forked.
    pub forked: u64,
    /// An entry that came while the disk was busy or failing.
    pub busy: u64,
    /// A wish while too many of the same peer are open.
    pub wants: u64,
}

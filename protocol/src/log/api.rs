//! What the log and the archive tell each other.

use bytes::Bytes;

use super::body::Body;
use super::chain::Certificate;
use super::entry::EntryHash;
use super::order::Position;
use crate::id::{ChainId, ChannelId, DeviceId, PeerId};

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
    /// Proofs that chains forked; at most one for each chain.
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

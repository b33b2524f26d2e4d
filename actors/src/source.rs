//! How a source of members' addresses does: the one question that each of them answers.
//!
//! Whoever finds members (trackers, the DHT, the local network) handles [`ListSources`] and is named in
//! [`Offices::sources`](crate::root::Offices::sources); whoever shows it needs to know no more.

use std::time::Instant;

use actix::Message;
use bitchat_protocol::id::{ChannelId, InfoHash};
use bitchat_protocol::tracker::announcer::Family;

/// Asks a source how it does: a row for each channel, place and IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Vec<SourceStatus>")]
pub struct ListSources;

/// What finds members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// A BitTorrent tracker.
    Tracker,
    /// The Mainline DHT.
    Dht,
    /// The local network.
    Lan,
}

impl SourceKind {
    /// The kind in a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tracker => "tracker",
            Self::Dht => "dht",
            Self::Lan => "lan",
        }
    }
}

/// What we have with a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceState {
    /// Its turn has not come yet.
    Due,
    /// It is being asked.
    Asked,
    /// It was told of us, where nobody needs to answer; no member was heard there yet, or of late.
    Announced,
    /// Its last answer was good.
    Works,
    /// It failed the last time.
    Fails,
    /// It is not there over this IP version.
    Absent,
    /// It is not asked as long as another one works.
    Spare,
}

impl SourceState {
    /// The state in a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Asked => "asked",
            Self::Announced => "announced",
            Self::Works => "works",
            Self::Fails => "fails",
            Self::Absent => "absent",
            Self::Spare => "spare",
        }
    }
}

/// How a source does for one channel, at one place, over one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// The channel.
    pub channel: ChannelId,
    /// What it is.
    pub kind: SourceKind,
    /// Where it is, for people and without a secret; empty where one place alone has no name.
    pub place: String,
    /// The IP version, where it matters.
    pub family: Option<Family>,
    /// What it knows the channel by.
    pub infohash: Option<InfoHash>,
    /// What we have with it.
    pub state: SourceState,
    /// When it last gave a good answer.
    pub last_answer: Option<Instant>,
    /// When it last took an announce of ours.
    pub last_announce: Option<Instant>,
    /// When it will be asked next, at the earliest; `None`: not as long as nothing changes.
    pub next_try: Option<Instant>,
    /// Peers worth dialling in its last answer.
    pub peers_found: usize,
    /// Of the DHT: nodes that we know.
    pub nodes: Option<usize>,
    /// Of the local network: how often others have announced the channel.
    pub heard: Option<u64>,
    /// Failures in a row, where they are counted.
    pub failures: u32,
    /// Why it failed the last time, in its own words perhaps; `None` after a good answer.
    pub last_error: Option<String>,
    /// What it warned about in its last answer.
    pub warning: Option<String>,
}

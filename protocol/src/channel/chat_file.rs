//! What a `.chat` file says: a channel's name, its key, and where to ask for its members.
//!
//! It holds a secret: whoever gets a copy is a member (or, of a seed-only one, a seeder). How it
//! is written as bytes stands in `chat_codec`, as one line in `link`.

use std::collections::BTreeMap;

use super::address::{AddressError, NodeAddress};
use super::epoch::{Epoch, Rotation};
use super::keys::{ChannelKeys, ChannelPublicKey, ChannelSecret, SeedKey};
use super::moves::Move;
use super::ticket::Lineage;
use crate::bencode::{DecodeError, OwnedValue};
use crate::crypto::Rng;
use crate::id::{InfoHash, PeerId};
use crate::identity::{DisplayName, NameError};
use crate::limits::{CHAT_FILE_BYTES_MAX, CHAT_NODES_MAX, CHAT_TRACKERS_MAX};
use crate::tracker::{TrackerUrl, UrlError};

/// Who may be in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whoever holds the channel secret.
    Open,
    /// Whoever was given a ticket as well.
    Closed,
    /// Two contacts.
    Pair,
    /// Contacts selected by the founder.
    Group,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Closed, Self::Pair, Self::Group];

    /// The word for it in files and links.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Pair => "pair",
            Self::Group => "group",
        }
    }

    /// Whether its founder says who may be in it.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Closed | Self::Group)
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Whom the members of a closed channel let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Whoever shows a good ticket.
    Tickets,
    /// Whoever is in each one's own contact book.
    Contacts,
}

impl Policy {
    /// The word for it in files and links.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tickets => "tickets",
            Self::Contacts => "contacts",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Tickets, Self::Contacts].into_iter().find(|policy| policy.as_str() == word)
    }
}

/// Who says who may be in a closed channel, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charter {
    /// Who made it.
    pub founder: PeerId,
    /// What tickets are bound to.
    pub lineage: Lineage,
    /// Whom members let in.
    pub policy: Policy,
}

/// Why bytes, text or parts do not make a `.chat` file; each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatFileError {
    /// More than [`CHAT_FILE_BYTES_MAX`].
    #[error("larger than {CHAT_FILE_BYTES_MAX} bytes: this is not a .chat file")]
    TooLarge,
    /// Not bencode.
    #[error("not a .chat file, or a damaged one ({0}): ask for it again")]
    Bencode(#[from] DecodeError),
    /// Dictionaries that are not written in their one form.
    #[error("keys are out of order or repeated: the file was altered; ask for it again")]
    NotCanonical,
    /// A key that must be there is not.
    #[error("\"{0}\" is missing: not a .chat file, or a damaged one; ask for it again")]
    Missing(&'static str),
    /// A value of another type or length, or one that contradicts another.
    #[error("\"{key}\" must be {expected}: the file was altered; ask for it again")]
    Wrong {
        /// Which value.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Another version of the format.
    #[error("made for another version of bitchat (format {0}, this is 1): update to use it")]
    Version(i64),
    /// Not a [`Kind`] of channel, or not a [`Rotation`].
    #[error("\"{0}\" has a value that this version does not know: update to use it")]
    NewerValue(&'static str),
    /// The channel's name cannot be shown.
    #[error("channel name: {0}")]
    Name(#[from] NameError),
    /// A tracker's address is not one.
    #[error("{0}")]
    Tracker(#[source] UrlError),
    /// A DHT node's address is not one.
    #[error("node address: {0}")]
    Node(#[source] AddressError),
    /// More trackers or nodes than allowed.
    #[error("more than {max} {what}: remove some")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// The infohash that the file names is not derived from its key.
    #[error("the infohash is not that of the key: the file was altered; ask for it again")]
    Infohash,
}

/// The key in a `.chat` file: a member's, or a seeder's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Member(ChannelSecret),
    Seeder(SeedKey, ChannelPublicKey),
}

/// A `.chat` file. What it prints for debugging contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatFile {
    pub(super) name: DisplayName,
    // The two are kept as they stand in the file, so that it is written back byte for byte.
    pub(super) announce: Option<String>,
    pub(super) announce_list: Option<Vec<Vec<String>>>,
    pub(super) nodes: Option<Vec<NodeAddress>>,
    pub(super) kind: Kind,
    pub(super) rotation: Rotation,
    pub(super) key: Key,
    pub(super) founder: Option<PeerId>,
    /// Of a closed channel, and only of one.
    pub(super) lineage: Option<Lineage>,
    pub(super) policy: Option<Policy>,
    /// Where the channel has taken the place of another.
    pub(super) origin: Option<Move>,
    pub(super) unknown: BTreeMap<Vec<u8>, OwnedValue>,
    pub(super) unknown_in_channel: BTreeMap<Vec<u8>, OwnedValue>,
}

impl ChatFile {
    /// Makes a new open channel with a secret of its own.
    ///
    /// `tiers` are tracker URLs in the order of preference (BEP 12); both lists may be empty.
    ///
    /// # Errors
    ///
    /// [`ChatFileError::Tracker`] or [`ChatFileError::TooMany`].
    pub fn new_open(
        name: DisplayName,
        tiers: Vec<Vec<String>>,
        nodes: Vec<NodeAddress>,
        rotation: Rotation,
        rng: &mut Rng,
    ) -> Result<Self, ChatFileError> {
        let key = Key::Member(ChannelSecret::generate(rng));
        Self::assemble(name, tiers, nodes, rotation, key)
    }

    /// Makes a new closed channel of `founder` with a secret of its own: of the kind [`Kind::Closed`],
    /// or [`Kind::Group`].
    ///
    /// # Errors
    ///
    /// As [`ChatFile::new_open`]; [`ChatFileError::Wrong`] for another kind.
    pub fn new_closed(
        file: Self,
        kind: Kind,
        founder: PeerId,
        policy: Policy,
    ) -> Result<Self, ChatFileError> {
        let lineage = Lineage::begin(&founder, &file.keys().id());
        let (founder, lineage, policy) = (Some(founder), Some(lineage), Some(policy));
        let file = Self { kind, founder, lineage, policy, ..file };
        file.check_charter()?;
        Ok(file)
    }

    /// A closed channel names its founder, its lineage and its policy; no other one does.
    pub(super) fn check_charter(&self) -> Result<(), ChatFileError> {
        let wrong = |key| ChatFileError::Wrong { key, expected: "absent in this kind of channel" };
        match (self.kind.is_closed(), self.founder, self.lineage, self.policy) {
            (true, None, ..) => Err(ChatFileError::Missing("founder")),
            (true, _, None, _) => Err(ChatFileError::Missing("lineage")),
            (true, _, _, None) => Err(ChatFileError::Missing("admission")),
            (false, _, Some(_), _) => Err(wrong("lineage")),
            (false, _, _, Some(_)) => Err(wrong("admission")),
            (true, Some(_), Some(_), Some(_)) | (false, _, None, None) => Ok(()),
        }
    }

    /// What says that this channel took the place of another must be the word of its founder.
    pub(super) fn check_origin(&self) -> Result<(), ChatFileError> {
        let Some(origin) = &self.origin else { return Ok(()) };
        let expected = "the founder's word that this channel took the place of another";
        let wrong = ChatFileError::Wrong { key: "move", expected };
        let charter = self.charter().ok_or(wrong.clone())?;
        origin.leads_to(&self.keys(), &charter).then_some(()).ok_or(wrong)
    }

    /// Who says who may be in it, where it is closed.
    #[must_use]
    pub fn charter(&self) -> Option<Charter> {
        let (founder, lineage, policy) = (self.founder?, self.lineage?, self.policy?);
        Some(Charter { founder, lineage, policy })
    }

    pub(super) fn assemble(
        name: DisplayName,
        mut tiers: Vec<Vec<String>>,
        nodes: Vec<NodeAddress>,
        rotation: Rotation,
        key: Key,
    ) -> Result<Self, ChatFileError> {
        tiers.retain(|tier| !tier.is_empty());
        let announce = tiers.first().and_then(|tier| tier.first()).cloned();
        let several = tiers.iter().map(Vec::len).sum::<usize>() > 1;
        let file = Self {
            name,
            announce,
            announce_list: several.then_some(tiers),
            nodes: Some(nodes).filter(|nodes| !nodes.is_empty()),
            kind: Kind::Open,
            rotation,
            key,
            founder: None,
            lineage: None,
            policy: None,
            origin: None,
            unknown: BTreeMap::new(),
            unknown_in_channel: BTreeMap::new(),
        };
        file.check_addresses()?;
        Ok(file)
    }

    pub(super) fn check_addresses(&self) -> Result<(), ChatFileError> {
        let tiers = self.announce_list.as_deref().unwrap_or_default();
        let trackers = || tiers.iter().flatten().chain(&self.announce);
        let max = CHAT_TRACKERS_MAX;
        if tiers.len() > max || tiers.iter().flatten().count() > max {
            return Err(ChatFileError::TooMany { what: "trackers", max });
        }
        let max = CHAT_NODES_MAX;
        if self.nodes.as_ref().is_some_and(|nodes| nodes.len() > max) {
            return Err(ChatFileError::TooMany { what: "nodes", max });
        }
        let check = |url: &String| url.parse::<TrackerUrl>().map(|_| ());
        trackers().try_for_each(check).map_err(ChatFileError::Tracker)
    }

    /// The same channel for a seeder: without the channel secret, and without what this version
    /// does not know, as that may be meant for members only.
    #[must_use]
    pub fn seed_only(&self) -> Self {
        let keys = self.keys();
        Self {
            key: Key::Seeder(keys.seed_key().clone(), keys.public_key()),
            unknown: BTreeMap::new(),
            unknown_in_channel: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// The file of the same channel with what a newer one, from anybody who holds its key, may change:
    /// the trackers and nodes that it names, the founder's word on what it took the place of where that was
    /// not there, and the channel secret where only the seed key was held.
    /// `None`: it says that others decide who may be in it.
    #[must_use]
    pub fn updated_by(&self, newer: Self) -> Option<Self> {
        if newer.kind != self.kind || newer.charter() != self.charter() {
            return None;
        }
        let mut updated = self.clone();
        if !newer.tiers().is_empty() {
            (updated.announce, updated.announce_list) = (newer.announce, newer.announce_list);
        }
        if newer.nodes.is_some() {
            updated.nodes = newer.nodes;
        }
        if updated.origin.is_none() {
            updated.origin = newer.origin;
        }
        if !self.is_member() && matches!(newer.key, Key::Member(_)) {
            updated.key = newer.key;
            (updated.unknown, updated.unknown_in_channel) =
                (newer.unknown, newer.unknown_in_channel);
        }
        Some(updated)
    }

    /// Names the founder.
    #[must_use]
    pub fn with_founder(self, founder: PeerId) -> Self {
        Self { founder: Some(founder), ..self }
    }

    /// The channel's name.
    #[must_use]
    pub const fn name(&self) -> &DisplayName {
        &self.name
    }

    /// Who may be in the channel.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the channel's infohash changes.
    #[must_use]
    pub const fn rotation(&self) -> Rotation {
        self.rotation
    }

    /// Who made the channel, if the file says so. Anybody who had the file may have written it.
    #[must_use]
    pub const fn founder(&self) -> Option<PeerId> {
        self.founder
    }

    /// Whether the file makes its holder a member, and not just a seeder.
    #[must_use]
    pub const fn is_member(&self) -> bool {
        matches!(self.key, Key::Member(_))
    }

    /// Derives the channel's keys.
    #[must_use]
    pub fn keys(&self) -> ChannelKeys {
        match &self.key {
            Key::Member(secret) => ChannelKeys::member(secret.clone()),
            Key::Seeder(seed, public) => ChannelKeys::seeder(seed.clone(), *public),
        }
    }

    /// Tracker URLs in tiers, in the order of preference. As BEP 12 has it, `announce` counts only
    /// where `announce-list` names nobody.
    #[must_use]
    pub fn tiers(&self) -> Vec<Vec<String>> {
        let mut tiers = self.announce_list.clone().unwrap_or_default();
        tiers.retain(|tier| !tier.is_empty());
        if tiers.is_empty() {
            tiers.extend(self.announce.clone().map(|url| vec![url]));
        }
        tiers
    }

    /// DHT nodes to begin with.
    #[must_use]
    pub fn nodes(&self) -> &[NodeAddress] {
        self.nodes.as_deref().unwrap_or_default()
    }

    pub(super) fn fixed_infohash(&self) -> Option<InfoHash> {
        match self.rotation {
            Rotation::Fixed => Some(self.keys().infohash(Epoch::FIXED)),
            Rotation::Daily => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;

    fn new(tiers: &[&[&str]], nodes: Vec<NodeAddress>) -> Result<ChatFile, ChatFileError> {
        let owned = |tier: &&[&str]| tier.iter().map(|url| (*url).to_owned()).collect();
        let name = DisplayName::new("team").unwrap();
        let tiers = tiers.iter().map(owned).collect();
        ChatFile::new_open(name, tiers, nodes, Rotation::Daily, &mut Rng::from_seed([1; 32]))
    }

    #[test]
    fn a_new_channel_has_a_secret_of_its_own() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut make = || {
            let name = DisplayName::new("team").unwrap();
            ChatFile::new_open(name, vec![], vec![], Rotation::Daily, &mut rng).unwrap()
        };
        let (one, other) = (make(), make());
        assert_ne!(one.keys().id(), other.keys().id());
        assert_ne!(one.keys().secret(), other.keys().secret());
    }

    #[test]
    fn tiers_come_back_in_their_order_without_empty_ones() {
        let file = new(&[&[], &["udp://a:1", "udp://b:1"], &["udp://c:1"]], vec![]).unwrap();
        assert_eq!(file.tiers(), [vec!["udp://a:1", "udp://b:1"], vec!["udp://c:1"]]);
        assert_eq!(file.announce.as_deref(), Some("udp://a:1"));
        let file = new(&[&["udp://a:1"]], vec![]).unwrap();
        assert_eq!(file.tiers(), [["udp://a:1"]]);
        assert_eq!(file.announce_list, None);
        assert!(new(&[], vec![]).unwrap().tiers().is_empty());
    }

    #[test]
    fn bad_addresses_and_too_many_of_them_are_refused() {
        let scheme = ChatFileError::Tracker(UrlError::Scheme);
        assert_eq!(new(&[&["udp://a:1"], &["a:1"]], vec![]), Err(scheme));
        let urls = ["udp://a:1"; CHAT_TRACKERS_MAX + 1];
        assert!(new(&[&urls[1..]], vec![]).is_ok());
        let too_many = ChatFileError::TooMany { what: "trackers", max: CHAT_TRACKERS_MAX };
        assert_eq!(new(&[&urls], vec![]), Err(too_many));
        let node = NodeAddress::new("a", 1).unwrap();
        let too_many = ChatFileError::TooMany { what: "nodes", max: CHAT_NODES_MAX };
        assert!(new(&[], vec![node.clone(); CHAT_NODES_MAX]).is_ok());
        assert_eq!(new(&[], vec![node; CHAT_NODES_MAX + 1]), Err(too_many));
    }

    #[test]
    fn a_seed_only_file_is_the_same_channel_without_its_secret() {
        let member = new(&[&["udp://a:1"]], vec![]).unwrap().with_founder(PeerId([1; 32]));
        let seeder = member.seed_only();
        assert!(member.is_member() && !seeder.is_member());
        assert_eq!(seeder.keys().id(), member.keys().id());
        assert_eq!(seeder.keys().public_key(), member.keys().public_key());
        assert!(seeder.keys().secret().is_none() && seeder.keys().read_key().is_none());
        assert_eq!(seeder.tiers(), member.tiers());
        assert_eq!(seeder.founder(), member.founder());
        assert_eq!(seeder.seed_only(), seeder);
    }

    #[test]
    fn a_closed_channel_has_a_founder_a_lineage_and_a_policy_and_no_other_has() {
        let founder = PeerId([1; 32]);
        for (kind, policy) in [(Kind::Closed, Policy::Tickets), (Kind::Group, Policy::Contacts)] {
            let open = new(&[], vec![]).unwrap();
            let file = ChatFile::new_closed(open.clone(), kind, founder, policy).unwrap();
            let lineage = Lineage::begin(&founder, &open.keys().id());
            assert_eq!(file.charter(), Some(Charter { founder, lineage, policy }));
            assert_eq!(file.seed_only().charter(), file.charter());
            assert_eq!((file.kind(), open.charter()), (kind, None));
        }
        for kind in [Kind::Open, Kind::Pair] {
            let file = new(&[], vec![]).unwrap();
            let wrong = ChatFile::new_closed(file, kind, founder, Policy::Tickets);
            assert!(matches!(wrong, Err(ChatFileError::Wrong { key: "lineage", .. })));
        }
    }

    #[test]
    fn a_newer_file_changes_addresses_and_makes_a_member_and_nothing_else() {
        let founder = PeerId([1; 32]);
        let closed = |file: ChatFile, policy| {
            ChatFile::new_closed(file, Kind::Closed, founder, policy).unwrap()
        };
        let first = closed(new(&[&["udp://a:1"]], vec![]).unwrap(), Policy::Tickets);
        let node = NodeAddress::new("a", 1).unwrap();
        let other = new(&[&["udp://b:1"]], vec![node.clone()]).unwrap();
        for file in [
            other.clone(),
            closed(other.clone(), Policy::Contacts),
            ChatFile { kind: Kind::Group, ..first.clone() },
            ChatFile { founder: Some(PeerId([2; 32])), ..first.clone() },
            ChatFile { lineage: Some(Lineage([2; 32])), ..first.clone() },
        ] {
            assert_eq!(first.updated_by(file.clone()), None);
            assert_eq!(first.seed_only().updated_by(file), None);
        }
        let name = DisplayName::new("another").unwrap();
        let other = ChatFile { name, rotation: Rotation::Fixed, ..closed(other, Policy::Tickets) };
        let updated = first.updated_by(other.seed_only()).unwrap();
        assert_eq!((updated.tiers(), updated.nodes()), (other.tiers(), other.nodes()));
        assert_eq!((updated.name(), updated.rotation()), (first.name(), first.rotation()));
        assert!(updated.is_member());
        assert_eq!(first.seed_only().updated_by(first.clone()), Some(first.clone()));
        let without = closed(new(&[], vec![]).unwrap(), Policy::Tickets);
        assert_eq!(updated.updated_by(without), Some(updated), "it names no others");
    }

    #[test]
    fn no_key_is_printed() {
        let mut file = new(&[], vec![]).unwrap();
        for key in [
            Key::Member(ChannelSecret(Secret::new([0x5a; 32]))),
            Key::Seeder(SeedKey(Secret::new([0x5a; 32])), ChannelPublicKey([1; 32])),
        ] {
            file.key = key;
            let text = format!("{file:?}");
            assert!(text.contains("(_)") && !text.contains("90, 90"), "{text}");
        }
    }
}

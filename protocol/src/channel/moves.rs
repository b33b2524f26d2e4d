//! How a closed channel goes on without somebody: the founder's word that another channel, with keys
//! of its own, takes its place.
//!
//! ```text
//! move = version 1 u8 || lineage 32 || from 32 || successor 32 || public 32
//!        || count u16 || removed 32 * count || signature 64
//!        signature by the founder over "bitchat v1 move" || all before     195 + 32 * count bytes
//!
//! from       id of the channel that is left
//! successor  id of the one that takes its place
//! public     the successor's public key
//! removed    ids of all who were removed from the lineage so far, 1 to 256, ascending
//! ```
//!
//! No key stands in it. A channel's id is derived from its seed key, and that from its secret: so a
//! key that comes beside the move shows by itself whether it is the one that the founder means, a
//! member's like a seeder's.
//!
//! Not here: to whom it is handed on ([`crate::session`]). Spec: `docs/spec/11-admission.md`.

use std::collections::BTreeSet;

use super::chat_file::{Charter, ChatFile, Key};
use super::keys::{ChannelKeys, ChannelPublicKey, ChannelSecret, SeedKey};
use super::ticket::Lineage;
use crate::crypto::{Secret, sign};
use crate::id::{ChannelId, PeerId};
use crate::identity::Identity;
use crate::limits::REMOVED_MAX;

const VERSION: u8 = 1;
const SIGNED_LABEL: &[u8] = b"bitchat v1 move";
const HEAD_BYTES: usize = 1 + 4 * 32 + 2;

/// Bytes of the longest move.
pub const MOVE_BYTES_MAX: usize = HEAD_BYTES + 32 * REMOVED_MAX + sign::SIGNATURE_BYTES;

/// That one channel takes the place of another, as it was signed; the signature is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Of both.
    pub lineage: Lineage,
    /// The channel that is left.
    pub from: ChannelId,
    /// The one that takes its place.
    pub successor: ChannelId,
    /// Checks what members of the successor sign for it.
    pub public: ChannelPublicKey,
    /// Who may be in neither; 1 to [`REMOVED_MAX`].
    pub removed: BTreeSet<PeerId>,
    /// By the founder.
    pub signature: [u8; sign::SIGNATURE_BYTES],
}

/// Why bytes are not a [`Move`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// Shorter or longer than it says.
    #[error("{bytes} bytes are no move of a channel")]
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// Another version.
    #[error("made for another version of bitchat: update to use it")]
    Newer,
    /// Nobody is removed, too many are, or they are not in their one order.
    #[error("the list of those who were removed is not in its one form")]
    Removed,
}

/// Why a channel does not go on as a move says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MisfitError {
    /// The founder of the channel has not signed it, or it is about another channel.
    #[error("not the founder's word about this channel")]
    NotOfThis,
    /// The key is for seeders, and we are a member.
    #[error("the key is that of a seeder")]
    KeyOfSeeder,
    /// The key is another one.
    #[error("the key is not the one that the founder means")]
    Key,
}

impl Move {
    /// Signs that the channel of `keys` takes the place of `from`, without those `removed`, of whom
    /// there are 1 to [`REMOVED_MAX`].
    #[must_use]
    pub fn sign(
        founder: &Identity,
        lineage: Lineage,
        from: ChannelId,
        keys: &ChannelKeys,
        removed: BTreeSet<PeerId>,
    ) -> Self {
        let (successor, public) = (keys.id(), keys.public_key());
        let signature = [0; sign::SIGNATURE_BYTES];
        let unsigned = Self { lineage, from, successor, public, removed, signature };
        Self { signature: founder.sign(&unsigned.signed()), ..unsigned }
    }

    /// Reads a move; its signature is checked by [`Move::leads_from`].
    ///
    /// # Errors
    ///
    /// See [`MoveError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MoveError> {
        let wrong_length = MoveError::Length { bytes: bytes.len() };
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(wrong_length)?;
        let [version, ids @ .., high, low] = head;
        if *version != VERSION {
            return Err(MoveError::Newer);
        }
        let mut ids = ids.as_chunks::<32>().0.iter().copied();
        let mut id = || ids.next().ok_or(wrong_length);
        let (lineage, from) = (Lineage(id()?), ChannelId(id()?));
        let (successor, public) = (ChannelId(id()?), ChannelPublicKey(id()?));
        let count = usize::from(u16::from_be_bytes([*high, *low]));
        if !(1..=REMOVED_MAX).contains(&count) {
            return Err(MoveError::Removed);
        }
        let (listed, signature) = rest.split_at_checked(32 * count).ok_or(wrong_length)?;
        let signature = signature.try_into().map_err(|_| wrong_length)?;
        let listed = listed.as_chunks::<32>().0;
        if !listed.is_sorted_by(|one, next| one < next) {
            return Err(MoveError::Removed);
        }
        let removed = listed.iter().copied().map(PeerId).collect();
        Ok(Self { lineage, from, successor, public, removed, signature })
    }

    /// Writes it, at most [`MOVE_BYTES_MAX`] long.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.signed();
        bytes.drain(..SIGNED_LABEL.len());
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    fn signed(&self) -> Vec<u8> {
        let count = u16::try_from(self.removed.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(SIGNED_LABEL.len() + MOVE_BYTES_MAX);
        bytes.extend_from_slice(SIGNED_LABEL);
        bytes.push(VERSION);
        for id in [&self.lineage.0, &self.from.0, &self.successor.0, &self.public.0] {
            bytes.extend_from_slice(id);
        }
        bytes.extend_from_slice(&count.to_be_bytes());
        self.removed.iter().for_each(|peer| bytes.extend_from_slice(&peer.0));
        bytes
    }

    /// Whether the founder of a closed channel says so, of a channel of this lineage.
    #[must_use]
    pub fn is_of(&self, charter: &Charter) -> bool {
        self.lineage == charter.lineage
            && sign::verify(&charter.founder.0, &self.signed(), &self.signature)
    }

    /// Whether its founder says so of the channel `from`.
    #[must_use]
    pub fn leads_from(&self, from: &ChannelId, charter: &Charter) -> bool {
        self.from == *from && self.successor != *from && self.is_of(charter)
    }

    /// Whether its founder says that this channel, with these keys, took the place of another.
    #[must_use]
    pub fn leads_to(&self, keys: &ChannelKeys, charter: &Charter) -> bool {
        let is_this = self.successor == keys.id() && self.public == keys.public_key();
        is_this && self.from != self.successor && self.is_of(charter)
    }
}

impl ChatFile {
    /// What has taken the place of another channel, as its founder says, where it has.
    #[must_use]
    pub const fn origin(&self) -> Option<&Move> {
        self.origin.as_ref()
    }

    /// The file of the channel that takes the place of this one, with the same name, kind, charter
    /// and meeting places. `key` is its secret where this is a member's file, else its seed key. What
    /// this version does not know is left out, as it may be bound to the keys.
    ///
    /// # Errors
    ///
    /// See [`MisfitError`].
    pub fn successor(&self, origin: Move, key: &Secret<32>) -> Result<Self, MisfitError> {
        let charter = self.charter().ok_or(MisfitError::NotOfThis)?;
        if !origin.leads_from(&self.keys().id(), &charter) {
            return Err(MisfitError::NotOfThis);
        }
        let (seed, public) = (SeedKey(key.clone()), origin.public);
        let is_seed = ChannelKeys::seeder(seed.clone(), public).id() == origin.successor;
        let key = match &self.key {
            Key::Member(_) if is_seed => return Err(MisfitError::KeyOfSeeder),
            Key::Member(_) => {
                let secret = ChannelSecret(key.clone());
                let keys = ChannelKeys::member(secret.clone());
                let fits = keys.id() == origin.successor && keys.public_key() == public;
                fits.then_some(Key::Member(secret)).ok_or(MisfitError::Key)?
            }
            Key::Seeder(..) if is_seed => Key::Seeder(seed, public),
            Key::Seeder(..) => return Err(MisfitError::Key),
        };
        Ok(Self {
            key,
            origin: Some(origin),
            unknown: Default::default(),
            unknown_in_channel: Default::default(),
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::channel::{Kind, Policy, Rotation};
    use crate::crypto::Rng;
    use crate::identity::DisplayName;

    fn identity(seed: u8) -> Identity {
        Identity::from_seed(Secret::new([seed; 32]))
    }

    fn id(seed: u8) -> PeerId {
        identity(seed).peer_id()
    }

    fn secret(byte: u8) -> Secret<32> {
        Secret::new([byte; 32])
    }

    fn keys(byte: u8) -> ChannelKeys {
        ChannelKeys::member(ChannelSecret(secret(byte)))
    }

    /// A closed channel of the first identity.
    fn team() -> ChatFile {
        let name = DisplayName::new("team").unwrap();
        let tiers = vec![vec!["udp://a:1".to_owned()]];
        let rng = &mut Rng::from_seed([1; 32]);
        let open = ChatFile::new_open(name, tiers, vec![], Rotation::Fixed, rng).unwrap();
        ChatFile::new_closed(open, Kind::Closed, id(1), Policy::Tickets).unwrap()
    }

    fn moved(removed: &[u8]) -> Move {
        let (lineage, from) = (team().charter().unwrap().lineage, team().keys().id());
        let removed = removed.iter().map(|seed| id(*seed)).collect();
        Move::sign(&identity(1), lineage, from, &keys(9), removed)
    }

    #[test]
    fn every_move_is_the_one_computed_independently() {
        let vectors = include_str!("../../../docs/spec/vectors/moves.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let hex = |value: &Value| HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
        let array = |value: &Value| <[u8; 32]>::try_from(hex(value)).unwrap();
        let founder = Identity::from_seed(Secret::new(array(&vectors["founder_seed"])));
        let lineage = Lineage(array(&vectors["lineage"]));
        let cases = vectors["moves"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let successor = ChannelSecret(Secret::new(array(&case["secret"])));
            let successor = ChannelKeys::member(successor);
            assert_eq!(successor.seed_key().0.expose(), &array(&case["seed"]));
            let removed: BTreeSet<_> =
                case["removed"].as_array().unwrap().iter().map(|it| PeerId(array(it))).collect();
            let from = ChannelId(array(&case["from"]));
            let signed = Move::sign(&founder, lineage, from, &successor, removed);
            assert_eq!(signed.encode(), hex(&case["move"]));
            assert_eq!(Move::decode(&hex(&case["move"])), Ok(signed.clone()));
            let charter = Charter { founder: founder.peer_id(), lineage, policy: Policy::Tickets };
            assert!(signed.leads_from(&from, &charter) && signed.leads_to(&successor, &charter));
        }
    }

    #[test]
    fn a_channel_goes_on_with_all_but_its_key() {
        let old = ChatFile {
            unknown: [(b"Z".to_vec(), crate::bencode::OwnedValue::Int(1))].into(),
            ..team()
        };
        let new = old.successor(moved(&[2]), &secret(9)).unwrap();
        assert_eq!(
            (new.name(), new.tiers(), new.rotation()),
            (old.name(), old.tiers(), old.rotation())
        );
        assert_eq!((new.kind(), new.charter()), (old.kind(), old.charter()));
        assert_eq!(new.keys().secret(), keys(9).secret());
        assert_eq!((new.origin(), new.unknown.len()), (Some(&moved(&[2])), 0));
        assert_eq!(ChatFile::from_bytes(&new.to_bytes()).as_ref(), Ok(&new));
        assert_eq!(ChatFile::from_link(&new.to_link()).as_ref(), Ok(&new));
        // A seeder goes on as a seeder, and knows as well who was removed.
        let seeder = old.seed_only().successor(moved(&[2]), &keys(9).seed_key().0).unwrap();
        assert_eq!(seeder, new.seed_only());
        assert!(!seeder.is_member() && seeder.origin().is_some());
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused() {
        let (member, seeder) = (team(), team().seed_only());
        let seed = keys(9).seed_key().0.clone();
        let go = |file: &ChatFile, key: &Secret<32>| file.successor(moved(&[2]), key).map(|_| ());
        assert_eq!(go(&member, &seed), Err(MisfitError::KeyOfSeeder));
        assert_eq!(go(&member, &secret(8)), Err(MisfitError::Key));
        assert_eq!(go(&seeder, &secret(9)), Err(MisfitError::Key));
        assert_eq!(go(&seeder, &seed), Ok(()));
    }

    #[test]
    fn only_the_founder_s_word_about_this_channel_counts() {
        let file = team();
        let charter = file.charter().unwrap();
        let (lineage, from) = (charter.lineage, file.keys().id());
        let removed: BTreeSet<_> = [id(2)].into();
        let sign = |by, lineage, from, keys: &ChannelKeys| {
            Move::sign(&identity(by), lineage, from, keys, removed.clone())
        };
        let go = |origin: Move| file.successor(origin, &secret(9)).map(|_| ());
        assert_eq!(go(sign(1, lineage, from, &keys(9))), Ok(()));
        let wrong = [
            sign(2, lineage, from, &keys(9)),
            sign(1, Lineage([8; 32]), from, &keys(9)),
            sign(1, lineage, ChannelId([8; 32]), &keys(9)),
            sign(1, lineage, from, &file.keys()),
        ];
        for origin in wrong {
            assert_eq!(go(origin), Err(MisfitError::NotOfThis));
        }
        // Of an open channel nobody says who is in it.
        let name = DisplayName::new("open").unwrap();
        let rng = &mut Rng::from_seed([1; 32]);
        let open = ChatFile::new_open(name, vec![], vec![], Rotation::Daily, rng).unwrap();
        let origin = sign(1, lineage, open.keys().id(), &keys(9));
        assert_eq!(open.successor(origin, &secret(9)), Err(MisfitError::NotOfThis));
    }

    #[test]
    fn every_altered_bit_is_noticed() {
        let file = team();
        let genuine = moved(&[2, 3]).encode();
        for bit in 0..genuine.len() * 8 {
            let mut altered = genuine.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            if let Ok(altered) = Move::decode(&altered) {
                let misfit = file.successor(altered, &secret(9));
                assert_eq!(misfit, Err(MisfitError::NotOfThis), "bit {bit}");
            }
        }
    }

    #[test]
    fn another_length_version_or_list_is_refused() {
        let genuine = moved(&[2, 3]).encode();
        for len in (0..genuine.len()).chain([genuine.len() + 1]) {
            let mut bytes = genuine.clone();
            bytes.resize(len, 0);
            assert_eq!(Move::decode(&bytes), Err(MoveError::Length { bytes: len }));
        }
        let with = |at: usize, bytes: &[u8]| {
            let mut altered = genuine.clone();
            altered[at..at + bytes.len()].copy_from_slice(bytes);
            Move::decode(&altered)
        };
        assert_eq!(with(0, &[2]), Err(MoveError::Newer));
        assert_eq!(with(129, &[0, 0]), Err(MoveError::Removed));
        assert_eq!(with(129, &[1, 1]), Err(MoveError::Removed));
        let (first, second) = (&genuine[131..163], &genuine[163..195]);
        assert_eq!(with(131, &[second, first].concat()), Err(MoveError::Removed));
        assert_eq!(with(131, second), Err(MoveError::Removed), "one twice");
    }

    #[test]
    fn as_many_as_can_be_removed_fit_and_one_more_does_not() {
        let many = |count: usize| {
            let peer = |at: usize| {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&(at as u64).to_be_bytes());
                PeerId(id)
            };
            let removed = (0..count).map(peer).collect();
            Move::sign(&identity(1), Lineage([1; 32]), ChannelId([2; 32]), &keys(9), removed)
        };
        let most = many(REMOVED_MAX);
        assert_eq!(most.encode().len(), MOVE_BYTES_MAX);
        assert_eq!(Move::decode(&most.encode()), Ok(most));
        assert_eq!(Move::decode(&many(REMOVED_MAX + 1).encode()), Err(MoveError::Removed));
    }

    #[test]
    fn a_file_whose_origin_is_not_its_founder_s_word_is_refused() {
        let new = team().successor(moved(&[2]), &secret(9)).unwrap();
        let mut forged = moved(&[2]);
        forged.removed = [id(3)].into();
        let forged = ChatFile { origin: Some(forged), ..new.clone() };
        assert!(ChatFile::from_bytes(&forged.to_bytes()).is_err());
        assert!(ChatFile::from_link(&forged.to_link()).is_err());
        // Nor is that of another channel, or in one without a founder.
        let other = ChatFile { origin: Some(moved(&[2])), ..team() };
        assert!(ChatFile::from_bytes(&other.to_bytes()).is_err());
        // A file that lost it is made whole by one that has it.
        let stripped = ChatFile { origin: None, ..new.clone() };
        assert_eq!(stripped.updated_by(new.clone()), Some(new));
    }

    proptest! {
        #[test]
        fn what_reads_is_written_back(count in 1usize..5, bytes in prop::collection::vec(any::<u8>(), 195 + 32 * 4)) {
            let mut bytes = bytes;
            bytes.truncate(195 + 32 * count);
            bytes[0] = 1;
            bytes[129..131].copy_from_slice(&u16::try_from(count).unwrap().to_be_bytes());
            bytes[131..131 + 32 * count].as_chunks_mut::<32>().0.sort_unstable();
            let decoded = Move::decode(&bytes).unwrap();
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }
}

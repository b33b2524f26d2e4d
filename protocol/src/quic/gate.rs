//! The channel gate: a first packet shows, before anything else is done with it, that its sender
//! knows a channel's key and means us.
//!
//! ```text
//! destination connection id, 20 bytes = nonce (8) || tag (12)
//!     tag = MAC(tag key, "bitchat v1 first packet", nonce || slot)       slot = minutes since 1970, u64
//! token of the Initial packet, 35 bytes = ChaCha20-Poly1305(token key, nonce 0, ad = the id, addressee)
//!     token key = derive(initial key, "bitchat v1 first packet token", the id)
//! ```
//!
//! Everything in both looks random. Slots one before and one after ours are accepted. An id is
//! remembered once its packet has authenticated: earlier, and somebody on the path could burn a
//! dial with one forged copy. A repeated id at the gate is a replay, as an honest repetition is
//! routed to the link that its first copy began. What was let in before this gate was built is not
//! remembered, so slots that were over by then are not accepted.

use std::collections::HashMap;
use std::time::Duration;

use super::addressee::{ADDRESSEE_BYTES, Addressee, OwnAddresses};
use super::cid::fill_undigital;
use crate::channel::GateKeys;
use crate::crypto::aead::{self, TAG_BYTES};
use crate::crypto::{Rng, Secret, hash};
use crate::id::{ChannelId, PeerId};
use crate::limits::{CLOCK_SEARCH_HASHES_MAX, CLOCK_SKEW_MAX, FIRST_PACKETS_REMEMBERED_MAX};

/// Bytes of the destination connection id of a first packet: the longest that QUIC has.
pub(super) const FIRST_CID_BYTES: usize = 20;

/// Bytes of the token of a first packet.
pub(super) const TOKEN_BYTES: usize = ADDRESSEE_BYTES + TAG_BYTES;

const NONCE_BYTES: usize = 8;
/// As long as the skew that is allowed for: with the slots beside ours accepted, every clock within
/// it is, and none that is off by twice as much.
const SLOT: Duration = CLOCK_SKEW_MAX;
const _: () = assert!(SLOT.as_secs() == 60, "the specification counts minutes");
const TAG_LABEL: &str = "bitchat v1 first packet";
const TOKEN_LABEL: &str = "bitchat v1 first packet token";

/// The destination connection id of a first packet.
pub(super) type FirstCid = [u8; FIRST_CID_BYTES];

/// What was dropped, and why; all of it in silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GateCounters {
    /// Datagrams with a long header that is none of ours: another version, Version Negotiation,
    /// Retry, or cut short.
    pub foreign: u64,
    /// No channel of ours has this tag in this minute.
    pub no_channel: u64,
    /// The token does not open.
    pub bad_token: u64,
    /// It is for somebody else.
    pub not_for_us: u64,
    /// Seen before.
    pub replayed: u64,
    /// The packet does not authenticate, or its handshake does not begin.
    pub unauthentic: u64,
    /// Too many links, or too many half-open.
    pub no_room: u64,
    /// Packets for a link that is not there.
    pub no_link: u64,
}

/// Why a first packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoChannel,
    BadToken,
    NotForUs,
    Replayed,
    NoRoom,
}

/// The channels whose first packets are let in, and those let in lately.
#[derive(Debug)]
pub(super) struct Gate {
    own_identity: Addressee,
    own: OwnAddresses,
    channels: Vec<(ChannelId, GateKeys)>,
    /// In which the gate was built.
    first_slot: u64,
    /// First ids that authenticated, and the last slot in which they could be repeated.
    seen: HashMap<FirstCid, u64>,
}

impl Gate {
    pub(super) fn new(own: &PeerId, unix: Duration) -> Self {
        Self {
            own_identity: Addressee::identity(own),
            own: OwnAddresses::default(),
            channels: Vec::new(),
            first_slot: slot(unix),
            seen: HashMap::new(),
        }
    }

    pub(super) fn set_own_addresses(&mut self, own: OwnAddresses) {
        self.own = own;
    }

    pub(super) fn add(&mut self, id: ChannelId, keys: GateKeys) {
        self.remove(&id);
        self.channels.push((id, keys));
    }

    pub(super) fn remove(&mut self, id: &ChannelId) {
        self.channels.retain(|(known, _)| known != id);
    }

    pub(super) fn keys(&self, id: &ChannelId) -> Option<&GateKeys> {
        self.channels.iter().find(|(known, _)| known == id).map(|(_, keys)| keys)
    }

    /// Judges a first packet by its id and token. Costs three hashes a channel at most.
    pub(super) fn judge(
        &self,
        cid: &FirstCid,
        token: &[u8],
        unix: Duration,
    ) -> Result<(ChannelId, GateKeys), Refusal> {
        let now = slot(unix);
        // A clock that was set back must not shut the gate for as long as it was wrong.
        let first = self.first_slot.min(now);
        let slots = [now, now.saturating_sub(1), now + 1].into_iter().filter(|slot| *slot >= first);
        let known = |keys: &GateKeys| slots.clone().any(|slot| tag_fits(&keys.tag, cid, slot));
        let (id, keys) =
            self.channels.iter().find(|(_, keys)| known(keys)).ok_or(Refusal::NoChannel)?;
        let addressee = open_token(&keys.initial, cid, token).ok_or(Refusal::BadToken)?;
        if !self.is_for_us(&addressee) {
            return Err(Refusal::NotForUs);
        }
        if self.seen.contains_key(cid) {
            return Err(Refusal::Replayed);
        }
        // Rather refuse a member for two minutes than forget an id that could be replayed.
        if self.seen.len() >= FIRST_PACKETS_REMEMBERED_MAX {
            return Err(Refusal::NoRoom);
        }
        Ok((*id, keys.clone()))
    }

    /// Finds the slot in which a packet of [`Refusal::NoChannel`] would be let in: so many slots is
    /// its sender's clock ahead of ours. Costs [`CLOCK_SEARCH_HASHES_MAX`] hashes at most.
    pub(super) fn slots_ahead(&self, cid: &FirstCid, token: &[u8], unix: Duration) -> Option<i64> {
        let now = slot(unix);
        let reach = CLOCK_SEARCH_HASHES_MAX / (2 * self.channels.len().max(1));
        let offsets = (2..=i64::try_from(reach).ok()?).flat_map(|by| [by, -by]);
        let (keys, ahead) = offsets.into_iter().find_map(|by| {
            let slot = now.checked_add_signed(by)?;
            let found = self.channels.iter().find(|(_, keys)| tag_fits(&keys.tag, cid, slot));
            found.map(|(_, keys)| (keys, by))
        })?;
        let addressee = open_token(&keys.initial, cid, token)?;
        // What was let in once and comes again later tells of a replay and not of a clock.
        (self.is_for_us(&addressee) && !self.seen.contains_key(cid)).then_some(ahead)
    }

    fn is_for_us(&self, addressee: &Addressee) -> bool {
        match addressee {
            Addressee::Address(address) => self.own.might_be_ours(*address),
            Addressee::Identity(_) => *addressee == self.own_identity,
        }
    }

    /// Remembers an id whose packet has authenticated, and forgets those too old to be accepted.
    pub(super) fn remember(&mut self, cid: FirstCid, unix: Duration) {
        let now = slot(unix);
        if self.seen.len() >= FIRST_PACKETS_REMEMBERED_MAX / 2 {
            self.seen.retain(|_, last| *last >= now.saturating_sub(1));
        }
        self.seen.insert(cid, now + 1);
    }
}

/// Makes a first packet's id and token for a channel.
pub(super) fn first_packet(
    keys: &GateKeys,
    addressee: &Addressee,
    unix: Duration,
    rng: &mut Rng,
) -> (FirstCid, [u8; TOKEN_BYTES]) {
    let mut cid = [0; FIRST_CID_BYTES];
    fill_undigital(rng, &mut cid[..NONCE_BYTES]);
    let tag = make_tag(&keys.tag, &cid[..NONCE_BYTES], slot(unix));
    cid[NONCE_BYTES..].copy_from_slice(&tag);
    let mut token = [0; TOKEN_BYTES];
    token[..ADDRESSEE_BYTES].copy_from_slice(&addressee.encode());
    aead::seal_in_place(&token_key(&keys.initial, &cid), &[0; 12], &cid, &mut token);
    (cid, token)
}

const fn slot(unix: Duration) -> u64 {
    unix.as_secs() / SLOT.as_secs()
}

fn make_tag(key: &Secret<32>, nonce: &[u8], slot: u64) -> [u8; FIRST_CID_BYTES - NONCE_BYTES] {
    hash::mac(key.expose(), TAG_LABEL, &[nonce, &slot.to_be_bytes()])
}

fn tag_fits(key: &Secret<32>, cid: &FirstCid, slot: u64) -> bool {
    let (nonce, tag) = cid.split_at(NONCE_BYTES);
    let Ok(tag) = <&[u8; FIRST_CID_BYTES - NONCE_BYTES]>::try_from(tag) else { return false };
    hash::verify_mac(tag, key.expose(), TAG_LABEL, &[nonce, &slot.to_be_bytes()])
}

fn token_key(initial: &Secret<32>, cid: &FirstCid) -> Secret<32> {
    hash::derive(initial.expose(), TOKEN_LABEL, &[cid])
}

fn open_token(initial: &Secret<32>, cid: &FirstCid, token: &[u8]) -> Option<Addressee> {
    let mut token: [u8; TOKEN_BYTES] = token.try_into().ok()?;
    aead::open_in_place(&token_key(initial, cid), &[0; 12], cid, &mut token).ok()?;
    Addressee::decode(token.first_chunk()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quic::Interface;

    const US: PeerId = PeerId([1; 32]);
    const NOON: Duration = Duration::from_secs(12 * 3600 + 30);

    fn keys(n: u8) -> GateKeys {
        let secret = |m: u8| Secret::new([n * 4 + m; 32]);
        GateKeys { tag: secret(0), initial: secret(1), psk: secret(2) }
    }

    fn gate() -> Gate {
        let mut gate = Gate::new(&US, NOON - 10 * SLOT);
        gate.add(ChannelId([1; 32]), keys(1));
        gate.add(ChannelId([2; 32]), keys(2));
        gate
    }

    fn rng() -> Rng {
        Rng::from_seed([1; 32])
    }

    fn dial(n: u8, to: &Addressee) -> (FirstCid, [u8; TOKEN_BYTES]) {
        first_packet(&keys(n), to, NOON, &mut Rng::from_seed([n; 32]))
    }

    #[track_caller]
    fn check(
        gate: &Gate,
        packet: &(FirstCid, [u8; TOKEN_BYTES]),
        unix: Duration,
        expected: Result<u8, Refusal>,
    ) {
        let judged = gate.judge(&packet.0, &packet.1, unix).map(|(id, _)| id.0[0]);
        assert_eq!(judged, expected);
    }

    #[test]
    fn a_first_packet_finds_its_channel_in_its_minute_and_the_ones_beside() {
        let gate = gate();
        let packet = dial(2, &Addressee::identity(&US));
        let beside = SLOT + Duration::from_secs(1);
        for unix in [NOON - beside, NOON, NOON + beside] {
            check(&gate, &packet, unix, Ok(2));
        }
        for unix in [NOON - beside - SLOT, NOON + beside + SLOT] {
            check(&gate, &packet, unix, Err(Refusal::NoChannel));
        }
    }

    #[test]
    fn a_refused_first_packet_tells_how_far_its_senders_clock_is_off() {
        let mut gate = gate();
        let packet = dial(2, &Addressee::identity(&US));
        let ahead = |gate: &Gate, unix| gate.slots_ahead(&packet.0, &packet.1, unix);
        for slots in [2, 10, 60, 700] {
            assert_eq!(ahead(&gate, NOON + SLOT * slots), Some(-i64::from(slots)));
            assert_eq!(ahead(&gate, NOON - SLOT * slots), Some(i64::from(slots)));
        }
        assert_eq!(ahead(&gate, NOON + SLOT * 100_000), None, "beyond the search");
        let unix = NOON + SLOT * 10;
        assert_eq!(gate.slots_ahead(&packet.0, &[], unix), None);
        let (cid, token) = dial(2, &Addressee::identity(&PeerId([9; 32])));
        assert_eq!(gate.slots_ahead(&cid, &token, unix), None, "not for us");
        let (cid, token) = dial(3, &Addressee::identity(&US));
        assert_eq!(gate.slots_ahead(&cid, &token, unix), None, "of no channel");
        gate.remember(packet.0, NOON);
        assert_eq!(ahead(&gate, unix), None, "a replay");
    }

    #[test]
    fn one_changed_bit_of_id_or_token_is_refused() {
        let gate = gate();
        let packet = dial(1, &Addressee::identity(&US));
        for bit in 0..FIRST_CID_BYTES * 8 {
            let mut wrong = packet;
            wrong.0[bit / 8] ^= 1 << (bit % 8);
            check(&gate, &wrong, NOON, Err(Refusal::NoChannel));
        }
        for bit in 0..TOKEN_BYTES * 8 {
            let mut wrong = packet;
            wrong.1[bit / 8] ^= 1 << (bit % 8);
            check(&gate, &wrong, NOON, Err(Refusal::BadToken));
        }
        assert_eq!(gate.judge(&packet.0, &[], NOON).unwrap_err(), Refusal::BadToken);
    }

    #[test]
    fn a_packet_for_another_identity_or_address_is_refused() {
        let mut gate = gate();
        let address = "127.0.0.1:5000".parse().unwrap();
        gate.set_own_addresses(OwnAddresses::new([Interface { address, prefix_bits: 8 }], []));
        check(
            &gate,
            &dial(1, &Addressee::identity(&PeerId([9; 32]))),
            NOON,
            Err(Refusal::NotForUs),
        );
        let other = Addressee::Address("127.0.0.1:5001".parse().unwrap());
        check(&gate, &dial(1, &other), NOON, Err(Refusal::NotForUs));
        let ours = Addressee::Address("127.0.0.1:5000".parse().unwrap());
        check(&gate, &dial(1, &ours), NOON, Ok(1));
    }

    #[test]
    fn a_remembered_id_is_a_replay_for_as_long_as_its_tag_fits() {
        let mut gate = gate();
        let packet = dial(1, &Addressee::identity(&US));
        gate.remember(packet.0, NOON);
        check(&gate, &packet, NOON, Err(Refusal::Replayed));
        check(&gate, &packet, NOON + SLOT, Err(Refusal::Replayed));
    }

    #[test]
    fn what_another_gate_may_have_let_in_before_this_one_is_a_replay() {
        let packet = dial(1, &Addressee::identity(&US));
        let built = |unix| {
            let mut gate = Gate::new(&US, unix);
            gate.add(ChannelId([1; 32]), keys(1));
            gate
        };
        check(&built(NOON + SLOT), &packet, NOON + SLOT, Err(Refusal::NoChannel));
        check(&built(NOON), &packet, NOON + SLOT, Ok(1));
        check(&built(NOON + 100 * SLOT), &packet, NOON, Ok(1));
    }

    #[test]
    fn every_clock_within_the_allowed_skew_is_let_in() {
        let gate = gate();
        let packet = dial(1, &Addressee::identity(&US));
        for offset in 0..SLOT.as_secs() {
            let ours = NOON + Duration::from_secs(offset);
            for theirs in [ours - CLOCK_SKEW_MAX, ours + CLOCK_SKEW_MAX] {
                let made = first_packet(&keys(1), &Addressee::identity(&US), theirs, &mut rng());
                check(&gate, &made, ours, Ok(1));
            }
        }
        check(&gate, &packet, NOON + 2 * CLOCK_SKEW_MAX, Err(Refusal::NoChannel));
    }

    #[test]
    fn a_full_memory_refuses_and_empties_itself_with_time() {
        let mut gate = gate();
        for n in 0..u32::try_from(FIRST_PACKETS_REMEMBERED_MAX).unwrap() {
            let mut cid = [0; FIRST_CID_BYTES];
            cid[..4].copy_from_slice(&n.to_be_bytes());
            gate.remember(cid, NOON);
        }
        let packet = dial(1, &Addressee::identity(&US));
        check(&gate, &packet, NOON, Err(Refusal::NoRoom));
        gate.remember([0xff; FIRST_CID_BYTES], NOON + 4 * SLOT);
        assert_eq!(gate.seen.len(), 1);
    }

    #[test]
    fn a_removed_channel_lets_nobody_in() {
        let mut gate = gate();
        gate.remove(&ChannelId([1; 32]));
        check(&gate, &dial(1, &Addressee::identity(&US)), NOON, Err(Refusal::NoChannel));
    }

    #[test]
    fn the_first_packets_of_the_specification_hold() {
        let file = include_str!("../../../docs/spec/vectors/handshake.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let hex = |value: &serde_json::Value| {
            data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
        };
        let key = |name: &str| Secret::new(hex(&file["gate"][name]).try_into().unwrap());
        let keys = GateKeys {
            tag: key("tag_key"),
            initial: key("initial_key"),
            psk: Secret::new([0; 32]),
        };
        let packets = file["first_packets"].as_array().unwrap();
        // The nonces are what the generator gives from these seeds.
        for (vector, seed) in packets.iter().zip([1, 2, 1]) {
            let unix = Duration::from_secs(vector["unix"].as_u64().unwrap());
            let bytes = hex(&vector["addressee"]).try_into().unwrap();
            let addressee = Addressee::decode(&bytes).unwrap();
            let mut rng = Rng::from_seed([seed; 32]);
            let (cid, token) = first_packet(&keys, &addressee, unix, &mut rng);
            assert_eq!(cid[..], hex(&vector["id"]));
            assert_eq!(token[..], hex(&vector["token"]));
        }
        let listener = crate::crypto::sign::SigningKey::from_seed(Secret::new([0x22; 32]));
        let named = Addressee::identity(&PeerId(*listener.public())).encode();
        assert_eq!(named[..], hex(&packets[2]["addressee"]));
    }
}

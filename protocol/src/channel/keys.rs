//! The key schedule of a channel: everything derives from one secret, each value under its own label.
//!
//! ```text
//! channel secret S                                              members
//! |-- read key Kr                                               members
//! |-- channel signing seed -> Ed25519 pair                      members; the public half: seeders too
//! |-- member proof key                                          members
//! `-- seed key Ks                                               members and seeders
//!     |-- channel id                                            members and seeders
//!     |-- gate: tag key, initial key, handshake PSK             members and seeders
//!     |-- proof key                                             members and seeders
//!     `-- rendezvous key
//!         |-- infohash(epoch)                                   public
//!         `-- LAN infohash(epoch)                               public
//! ```
//!
//! Every arrow is [`hash::derive`], a keyed one-way function: nothing can be computed upwards or
//! sideways. So a seeder, who holds `Ks`, keeps a channel alive without being able to read it.
//!
//! Not here: what the keys are used for. Specification: `docs/spec/01-key-schedule.md`.

use std::time::Duration;

use super::epoch::{EPOCH_MARGIN_MAX, Epoch};
use crate::crypto::sign::{PUBLIC_BYTES, SigningKey};
use crate::crypto::{Rng, Secret, hash};
use crate::id::{ChannelId, InfoHash, PeerId};

const SEED_KEY_LABEL: &str = "bitchat v1 channel seed key";
const READ_KEY_LABEL: &str = "bitchat v1 channel read key";
const SIGNING_SEED_LABEL: &str = "bitchat v1 channel signing seed";
const CHANNEL_ID_LABEL: &str = "bitchat v1 channel id";
const RENDEZVOUS_KEY_LABEL: &str = "bitchat v1 channel rendezvous key";
const INFOHASH_LABEL: &str = "bitchat v1 channel infohash";
const LAN_INFOHASH_LABEL: &str = "bitchat v1 channel lan infohash";
const OVERLAP_MARGIN_LABEL: &str = "bitchat v1 channel overlap margin";
const GATE_TAG_KEY_LABEL: &str = "bitchat v1 gate tag key";
const GATE_INITIAL_KEY_LABEL: &str = "bitchat v1 gate initial key";
const GATE_PSK_LABEL: &str = "bitchat v1 gate handshake psk";
const PROOF_KEY_LABEL: &str = "bitchat v1 channel proof key";
const MEMBER_PROOF_KEY_LABEL: &str = "bitchat v1 channel member proof key";

/// The channel secret `S`: who has it is a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSecret(pub Secret<32>);

impl ChannelSecret {
    /// Makes the secret of a new channel.
    #[must_use]
    pub fn generate(rng: &mut Rng) -> Self {
        Self(rng.secret())
    }

    fn seed_key(&self) -> SeedKey {
        SeedKey(derive(&self.0, SEED_KEY_LABEL))
    }

    fn read_key(&self) -> Secret<32> {
        derive(&self.0, READ_KEY_LABEL)
    }

    fn member_proof_key(&self) -> Secret<32> {
        derive(&self.0, MEMBER_PROOF_KEY_LABEL)
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(derive(&self.0, SIGNING_SEED_LABEL))
    }
}

/// The seed key `Ks`: who has it can find the channel's members and be let in, but not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedKey(pub Secret<32>);

/// The public half of a channel's key pair: stored entries are checked with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelPublicKey(pub [u8; PUBLIC_BYTES]);

/// What proves to a node that the first packet of a link comes from a holder of the seed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateKeys {
    /// Tags the first packet, so that all others can be dropped unanswered.
    pub tag: Secret<32>,
    /// Protects the packets before the handshake has its own keys.
    pub initial: Secret<32>,
    /// The handshake's pre-shared key.
    pub psk: Secret<32>,
}

/// Every key that a member, or a seeder, of one channel holds.
#[derive(Debug, Clone)]
pub struct ChannelKeys {
    seed: SeedKey,
    id: ChannelId,
    rendezvous: Secret<32>,
    gate: GateKeys,
    proof: Secret<32>,
    public: ChannelPublicKey,
    member: Option<MemberKeys>,
}

/// What only a member holds.
#[derive(Debug, Clone)]
struct MemberKeys {
    secret: ChannelSecret,
    read: Secret<32>,
    proof: Secret<32>,
    signing: SigningKey,
}

impl ChannelKeys {
    /// Derives what a member holds.
    #[must_use]
    pub fn member(secret: ChannelSecret) -> Self {
        let signing = secret.signing_key();
        let seeder = Self::seeder(secret.seed_key(), ChannelPublicKey(*signing.public()));
        let (read, proof) = (secret.read_key(), secret.member_proof_key());
        Self { member: Some(MemberKeys { secret, read, proof, signing }), ..seeder }
    }

    /// Derives what a seeder holds.
    #[must_use]
    pub fn seeder(seed: SeedKey, public: ChannelPublicKey) -> Self {
        let key = &seed.0;
        Self {
            id: ChannelId(*derive(key, CHANNEL_ID_LABEL).expose()),
            rendezvous: derive(key, RENDEZVOUS_KEY_LABEL),
            gate: GateKeys {
                tag: derive(key, GATE_TAG_KEY_LABEL),
                initial: derive(key, GATE_INITIAL_KEY_LABEL),
                psk: derive(key, GATE_PSK_LABEL),
            },
            proof: derive(key, PROOF_KEY_LABEL),
            public,
            member: None,
            seed,
        }
    }

    /// The channel's name among its holders; never sent in clear.
    #[must_use]
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// What trackers and the DHT know the channel by during `epoch`.
    #[must_use]
    pub fn infohash(&self, epoch: Epoch) -> InfoHash {
        self.rendezvous(INFOHASH_LABEL, epoch)
    }

    /// What the local network knows the channel by during `epoch`. Another one than trackers and the
    /// DHT know: whoever hears it on the LAN cannot look the channel up on the internet, and whoever
    /// has it from a tracker cannot ask for it on the LAN.
    #[must_use]
    pub fn lan_infohash(&self, epoch: Epoch) -> InfoHash {
        self.rendezvous(LAN_INFOHASH_LABEL, epoch)
    }

    /// By how much longer than [`super::EPOCH_OVERLAP`] the node of `peer` announces two infohashes around
    /// midnight: whole seconds, less than [`super::EPOCH_MARGIN_MAX`], always the same. Nobody who is
    /// not a holder of the seed key can tell it from a random one.
    #[must_use]
    pub fn overlap_margin(&self, peer: &PeerId) -> Duration {
        let drawn: [u8; 8] = hash::mac(self.rendezvous.expose(), OVERLAP_MARGIN_LABEL, &[&peer.0]);
        Duration::from_secs(u64::from_be_bytes(drawn) % EPOCH_MARGIN_MAX.as_secs())
    }

    fn rendezvous(&self, label: &str, epoch: Epoch) -> InfoHash {
        let epoch = epoch.number().to_be_bytes();
        InfoHash(hash::mac(self.rendezvous.expose(), label, &[&epoch]))
    }

    /// The keys of the first packets of a link.
    #[must_use]
    pub const fn gate(&self) -> &GateKeys {
        &self.gate
    }

    /// Proves on a link of another channel that this one is shared as well.
    #[must_use]
    pub const fn proof(&self) -> &Secret<32> {
        &self.proof
    }

    /// Proves on a link that we are a member, and not a seeder alone; a seeder has none.
    #[must_use]
    pub fn member_proof(&self) -> Option<&Secret<32>> {
        self.member.as_ref().map(|member| &member.proof)
    }

    /// Checks what members have signed for the channel.
    #[must_use]
    pub const fn public_key(&self) -> ChannelPublicKey {
        self.public
    }

    /// The seed key, to be given to a seeder.
    #[must_use]
    pub const fn seed_key(&self) -> &SeedKey {
        &self.seed
    }

    /// Whether these are a member's keys.
    #[must_use]
    pub const fn is_member(&self) -> bool {
        self.member.is_some()
    }

    /// The channel secret; a seeder has none.
    #[must_use]
    pub fn secret(&self) -> Option<&ChannelSecret> {
        self.member.as_ref().map(|member| &member.secret)
    }

    /// Seals and opens what is said; a seeder has none.
    #[must_use]
    pub fn read_key(&self) -> Option<&Secret<32>> {
        self.member.as_ref().map(|member| &member.read)
    }

    /// Signs for the channel; a seeder has none.
    #[must_use]
    pub fn signing_key(&self) -> Option<&SigningKey> {
        self.member.as_ref().map(|member| &member.signing)
    }
}

fn derive(key: &Secret<32>, label: &str) -> Secret<32> {
    hash::derive(key.expose(), label, &[])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use data_encoding::HEXLOWER;
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!("../../../docs/spec/vectors/key-schedule.json");

    fn member(secret: [u8; 32]) -> ChannelKeys {
        ChannelKeys::member(ChannelSecret(Secret::new(secret)))
    }

    /// Every derived value under its name in the vectors, the infohashes apart.
    fn derived(keys: &ChannelKeys) -> Vec<(&'static str, [u8; 32])> {
        let mut values = vec![
            ("seed_key", *keys.seed_key().0.expose()),
            ("channel_public_key", keys.public_key().0),
            ("channel_id", keys.id().0),
            ("rendezvous_key", *keys.rendezvous.expose()),
            ("gate_tag_key", *keys.gate().tag.expose()),
            ("gate_initial_key", *keys.gate().initial.expose()),
            ("gate_psk", *keys.gate().psk.expose()),
            ("proof_key", *keys.proof().expose()),
        ];
        if let (Some(read), Some(proof), Some(signing)) =
            (keys.read_key(), keys.member_proof(), keys.signing_key())
        {
            values.push(("read_key", *read.expose()));
            values.push(("member_proof_key", *proof.expose()));
            values.push(("channel_signing_seed", *signing.seed().expose()));
        }
        values
    }

    #[test]
    fn every_value_is_the_one_computed_independently() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() >= 3);
        for case in cases {
            let secret = HEXLOWER.decode(case["secret"].as_str().unwrap().as_bytes()).unwrap();
            let keys = member(secret.try_into().unwrap());
            for (name, value) in derived(&keys) {
                assert_eq!(case[name].as_str(), Some(HEXLOWER.encode(&value).as_str()), "{name}");
            }
            for (epoch, infohash) in case["infohash"].as_object().unwrap() {
                let epoch = Epoch::from_number(epoch.parse().unwrap());
                assert_eq!(infohash.as_str(), Some(keys.infohash(epoch).to_string().as_str()));
            }
            for (epoch, infohash) in case["lan_infohash"].as_object().unwrap() {
                let epoch = Epoch::from_number(epoch.parse().unwrap());
                assert_eq!(infohash.as_str(), Some(keys.lan_infohash(epoch).to_string().as_str()));
            }
            for (peer, seconds) in case["overlap_margin"].as_object().unwrap() {
                let peer = PeerId(HEXLOWER.decode(peer.as_bytes()).unwrap().try_into().unwrap());
                assert_eq!(Some(keys.overlap_margin(&peer).as_secs()), seconds.as_u64());
            }
        }
    }

    #[test]
    fn each_node_has_a_margin_of_its_own_in_each_channel() {
        let margins: BTreeSet<Duration> = (0..8)
            .flat_map(|secret| (0..8).map(move |peer| (secret, peer)))
            .map(|(secret, peer)| member([secret; 32]).overlap_margin(&PeerId([peer; 32])))
            .collect();
        assert!(margins.len() > 55, "{margins:?}");
        assert!(margins.iter().all(|margin| *margin < EPOCH_MARGIN_MAX));
    }

    #[test]
    fn another_secret_changes_every_value() {
        let base = member([1; 32]);
        for bit in [0, 100, 255] {
            let mut changed = [1; 32];
            changed[bit / 8] ^= 1 << (bit % 8);
            let other = member(changed);
            for ((name, left), (_, right)) in derived(&base).into_iter().zip(derived(&other)) {
                assert_ne!(left, right, "{name}");
            }
            assert_ne!(base.infohash(Epoch::FIXED), other.infohash(Epoch::FIXED));
            assert_ne!(base.lan_infohash(Epoch::FIXED), other.lan_infohash(Epoch::FIXED));
        }
    }

    #[test]
    fn no_two_values_are_equal_nor_begin_alike() {
        let keys = member([1; 32]);
        let mut beginnings: BTreeSet<[u8; 16]> = BTreeSet::from([[1; 16]]);
        for (name, value) in derived(&keys) {
            assert!(beginnings.insert(value[..16].try_into().unwrap()), "{name}");
        }
        for epoch in [0, 1, 20_000] {
            let epoch = Epoch::from_number(epoch);
            for infohash in [keys.infohash(epoch).0, keys.lan_infohash(epoch).0] {
                assert!(beginnings.insert(infohash[..16].try_into().unwrap()), "{epoch:?}");
            }
        }
    }

    #[test]
    fn a_seeder_agrees_on_what_it_needs_and_cannot_read_nor_sign() {
        let member = member([1; 32]);
        let seeder = ChannelKeys::seeder(member.seed_key().clone(), member.public_key());
        let shared = derived(&seeder);
        assert_eq!(shared, derived(&member)[..shared.len()]);
        assert_eq!(shared.len() + 3, derived(&member).len());
        for epoch in [Epoch::FIXED, Epoch::from_unix(Duration::from_secs(1_800_000_000))] {
            assert_eq!(seeder.infohash(epoch), member.infohash(epoch));
            assert_eq!(seeder.lan_infohash(epoch), member.lan_infohash(epoch));
        }
        assert!(member.is_member() && !seeder.is_member());
        assert!(seeder.secret().is_none());
        assert!(seeder.read_key().is_none());
        assert!(seeder.member_proof().is_none());
        assert!(seeder.signing_key().is_none());
    }

    #[test]
    fn what_a_seeder_holds_depends_on_the_seed_key_alone() {
        let one = ChannelKeys::seeder(SeedKey(Secret::new([1; 32])), ChannelPublicKey([2; 32]));
        let other = ChannelKeys::seeder(SeedKey(Secret::new([1; 32])), ChannelPublicKey([3; 32]));
        assert_eq!(one.id(), other.id());
        assert_eq!(one.gate(), other.gate());
        let third = ChannelKeys::seeder(SeedKey(Secret::new([4; 32])), ChannelPublicKey([2; 32]));
        assert_ne!(one.id(), third.id());
        assert_ne!(one.gate(), third.gate());
    }

    #[test]
    fn keys_are_not_printed() {
        let text = format!("{:?}", member([0x5a; 32]));
        assert!(text.contains("ChannelSecret(_)"), "{text}");
        assert!(!text.contains("90, 90") && !text.contains("5a5a"), "{text}");
    }
}

//! Which channels two peers share, without telling either about the others.
//!
//! ```text
//! proof = MAC-128(proof key of the channel, "bitchat v1 channel proof", handshake hash, role byte)
//! ```
//!
//! The handshake hash binds a proof to one link; the prover's role keeps a peer from sending our
//! own proof back to us. A member gives two, the second under the member proof key.

use std::collections::HashSet;

use super::{Door, OwnChannel, Role};
use crate::channel::Standing;
use crate::crypto::{Rng, Secret, hash};
use crate::id::{ChannelId, PeerId};
use crate::limits::{CHANNELS_MAX, PROOFS_MAX};
use crate::wire::ChannelProof;

/// How many we show at the least.
const PROOFS_MIN: usize = 8;
const PROOF_LABEL: &str = "bitchat v1 channel proof";

/// The channels we are in on one link, and what the peer has proven.
#[derive(Debug)]
pub(super) struct Channels {
    handshake_hash: [u8; 64],
    role: Role,
    peer: PeerId,
    ours: Vec<OwnChannel>,
    /// What the peer has ever proven. Never shrinks: what is in flight when a channel is left is no
    /// violation.
    ever: HashSet<ChannelId>,
    proven: Vec<(ChannelId, Standing)>,
    /// What we show beside our proofs.
    pads: Vec<ChannelProof>,
}

impl Channels {
    pub(super) fn new(
        handshake_hash: [u8; 64],
        role: Role,
        peer: PeerId,
        ours: Vec<OwnChannel>,
    ) -> Self {
        let mut channels = Self {
            handshake_hash,
            role,
            peer,
            ours: Vec::new(),
            ever: HashSet::new(),
            proven: Vec::new(),
            pads: Vec::new(),
        };
        channels.set_ours(ours);
        channels
    }

    /// Takes the channels we are in; [`Channels::match_proofs`] must follow. Whether our proofs are
    /// others now.
    pub(super) fn set_ours(&mut self, mut ours: Vec<OwnChannel>) -> bool {
        ours.truncate(CHANNELS_MAX);
        let proven_by = |channel: &OwnChannel| {
            (channel.id, channel.proof.clone(), channel.member_proof.clone())
        };
        let is_other = !ours.iter().map(proven_by).eq(self.ours.iter().map(proven_by));
        self.ours = ours;
        is_other
    }

    /// Our proofs, in random order: nobody can tell which of them belong together. With some that prove
    /// nothing, the same ones on one link: else their number told everybody how many channels and
    /// contacts we have.
    pub(super) fn proofs(&mut self, rng: &mut Rng) -> Vec<ChannelProof> {
        let mut proofs: Vec<_> = self
            .ours
            .iter()
            .flat_map(|channel| std::iter::once(&channel.proof).chain(&channel.member_proof))
            .map(|key| self.proof(key, self.role))
            .collect();
        let padded = proofs.len().next_power_of_two().clamp(PROOFS_MIN, PROOFS_MAX);
        let pads = padded.saturating_sub(proofs.len());
        while self.pads.len() < pads {
            self.pads.push(ChannelProof(rng.array()));
        }
        proofs.extend(&self.pads[..pads]);
        for at in (1..proofs.len()).rev() {
            let other = rng.below(at as u64 + 1);
            proofs.swap(at, usize::try_from(other).unwrap_or(at));
        }
        proofs
    }

    /// Finds the channels that the peer has proven.
    pub(super) fn match_proofs(&mut self, proofs: &[ChannelProof]) {
        // Not compared in constant time: a table with a random key compares nothing but equals.
        let proofs: HashSet<_> = proofs.iter().collect();
        let proven: Vec<_> = self
            .ours
            .iter()
            .filter_map(|channel| Some((channel.id, self.standing(channel, &proofs)?)))
            .collect();
        self.ever.extend(proven.iter().map(|(channel, _)| *channel));
        self.proven = proven;
    }

    /// What the peer has proven. A member proves both: who could not be let in as a seeder is no
    /// member either.
    fn standing(&self, channel: &OwnChannel, proofs: &HashSet<&ChannelProof>) -> Option<Standing> {
        let proves = |key: &Secret<32>| proofs.contains(&self.proof(key, self.role.other()));
        match &channel.member_proof {
            // Whoever holds the key of a pair and is not the other of the two has stolen it.
            _ if channel.only.is_some_and(|only| only != self.peer) => None,
            _ if !proves(&channel.proof) => None,
            Some(member) if proves(member) => Some(Standing::Member),
            Some(_) | None => Some(Standing::Seeder),
        }
    }

    pub(super) fn is_ours(&self, id: &ChannelId) -> bool {
        self.ours.iter().any(|channel| channel.id == *id)
    }

    pub(super) fn proven(&self) -> &[(ChannelId, Standing)] {
        &self.proven
    }

    /// The closed ones of them.
    pub(super) fn doors(&self) -> Vec<(ChannelId, Standing, Door)> {
        let door = |channel: &OwnChannel| {
            Some((channel.id, self.standing_in(&channel.id)?, channel.door.clone()?))
        };
        self.ours.iter().filter_map(door).collect()
    }

    /// What the peer has proven in `id` now.
    pub(super) fn standing_in(&self, id: &ChannelId) -> Option<Standing> {
        self.proven.iter().find(|(proven, _)| proven == id).map(|(_, standing)| *standing)
    }

    /// Whether the peer may have proven `id` when it spoke.
    pub(super) fn was_proven(&self, id: &ChannelId) -> bool {
        self.ever.contains(id)
    }

    fn proof(&self, key: &Secret<32>, prover: Role) -> ChannelProof {
        let parts: [&[u8]; 2] = [&self.handshake_hash, &[prover.byte()]];
        ChannelProof(hash::mac(key.expose(), PROOF_LABEL, &parts))
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn the_proofs_are_those_of_the_vector() {
        let vectors = include_str!("../../../docs/spec/vectors/session.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let hash = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let key = Secret::new(std::array::from_fn(|at| 100 + u8::try_from(at).unwrap()));
        for (role, name) in [(Role::Dialler, "dialler"), (Role::Listener, "listener")] {
            let ours = vec![OwnChannel {
                id: ChannelId([1; 32]),
                proof: key.clone(),
                member_proof: None,
                only: None,
                door: None,
            }];
            let mut channels = Channels::new(hash, role, PeerId([2; 32]), ours);
            let proofs = channels.proofs(&mut Rng::from_seed([0; 32]));
            let proofs: Vec<_> = proofs.iter().map(|proof| HEXLOWER.encode(&proof.0)).collect();
            let expected = vectors["proof"][name].as_str().unwrap();
            assert!(proofs.iter().any(|proof| proof == expected), "{proofs:?}");
        }
    }

    #[test]
    fn how_many_channels_there_are_is_told_to_a_power_of_two_and_pads_stay_the_same() {
        let ours = |count: usize| {
            let own = |at: usize| {
                let at = u8::try_from(at).unwrap();
                let (id, proof) = (ChannelId([at; 32]), Secret::new([at; 32]));
                let member_proof =
                    Some(Secret::new(std::array::from_fn(|byte| if byte == 0 { !at } else { at })));
                OwnChannel { id, proof, member_proof, only: None, door: None }
            };
            (0..count).map(own).collect::<Vec<_>>()
        };
        let mut rng = Rng::from_seed([0; 32]);
        let mut channels = Channels::new([9; 64], Role::Dialler, PeerId([2; 32]), ours(0));
        for (count, shown) in [(0, 8), (1, 8), (4, 8), (5, 16), (60, 128), (CHANNELS_MAX, 512)] {
            channels.set_ours(ours(count));
            let [first, second] = [(); 2].map(|()| {
                let mut proofs = channels.proofs(&mut rng);
                proofs.sort_unstable_by_key(|proof| proof.0);
                proofs.dedup();
                proofs
            });
            assert!(first.len() == shown && first == second, "{count}: {}", first.len());
        }
    }
}

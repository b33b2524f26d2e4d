//! Which channels two peers share, without telling either about the others.
//!
//! ```text
//! proof = MAC-128(proof key of the channel, "bitchat v1 channel proof", handshake hash, role byte)
//! ```
//!
//! The handshake hash binds a proof to one link; the prover's role keeps a peer from sending our
//! own proof back to us.

use std::collections::HashSet;

use super::Role;
use crate::crypto::{Rng, Secret, hash};
use crate::id::ChannelId;
use crate::limits::CHANNELS_MAX;
use crate::wire::ChannelProof;

const PROOF_LABEL: &str = "bitchat v1 channel proof";

/// The channels we are in on one link, and what the peer has proven.
#[derive(Debug)]
pub(super) struct Channels {
    handshake_hash: [u8; 64],
    role: Role,
    ours: Vec<(ChannelId, Secret<32>)>,
    /// Never shrinks: what is in flight when a channel is left is no violation.
    once_shared: HashSet<ChannelId>,
    shared: Vec<ChannelId>,
}

impl Channels {
    pub(super) fn new(
        handshake_hash: [u8; 64],
        role: Role,
        ours: Vec<(ChannelId, Secret<32>)>,
    ) -> Self {
        let mut channels = Self {
            handshake_hash,
            role,
            ours: Vec::new(),
            once_shared: HashSet::new(),
            shared: Vec::new(),
        };
        channels.set_ours(ours);
        channels
    }

    /// Takes the channels we are in; [`Channels::match_proofs`] must follow.
    pub(super) fn set_ours(&mut self, mut ours: Vec<(ChannelId, Secret<32>)>) {
        ours.truncate(CHANNELS_MAX);
        self.ours = ours;
    }

    /// Our proofs, in random order.
    pub(super) fn proofs(&self, rng: &mut Rng) -> Vec<ChannelProof> {
        let mut proofs: Vec<_> =
            self.ours.iter().map(|(_, key)| self.proof(key, self.role)).collect();
        for at in (1..proofs.len()).rev() {
            let other = rng.below(at as u64 + 1);
            proofs.swap(at, usize::try_from(other).unwrap_or(at));
        }
        proofs
    }

    /// Finds the shared channels from the peer's proofs; whether they changed.
    pub(super) fn match_proofs(&mut self, proofs: &[ChannelProof]) -> bool {
        // Not compared in constant time: a table with a random key compares nothing but equals.
        let proofs: HashSet<_> = proofs.iter().collect();
        let prover = self.role.other();
        let shared: Vec<_> = self
            .ours
            .iter()
            .filter(|(_, key)| proofs.contains(&self.proof(key, prover)))
            .map(|(id, _)| *id)
            .collect();
        self.once_shared.extend(&shared);
        let changed = shared != self.shared;
        self.shared = shared;
        changed
    }

    pub(super) fn is_ours(&self, id: &ChannelId) -> bool {
        self.ours.iter().any(|(ours, _)| ours == id)
    }

    pub(super) fn shared(&self) -> &[ChannelId] {
        &self.shared
    }

    /// Whether the peer may speak of `id`, or might have been allowed to when it spoke.
    pub(super) fn was_shared(&self, id: &ChannelId) -> bool {
        self.once_shared.contains(id)
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
            let ours = vec![(ChannelId([1; 32]), key.clone())];
            let channels = Channels::new(hash, role, ours);
            let proof = channels.proofs(&mut Rng::from_seed([0; 32]))[0];
            assert_eq!(HEXLOWER.encode(&proof.0), vectors["proof"][name].as_str().unwrap());
        }
    }
}

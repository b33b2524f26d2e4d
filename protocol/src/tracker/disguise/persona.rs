//! What trackers know us by: drawn, never derived from anything of ours.

use super::{ClientProfile, KeyScope, PeerIdCheck};
use crate::crypto::Rng;

/// What a tracker knows one channel's session by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persona {
    /// The peer id (BEP 3, BEP 20).
    pub peer_id: [u8; 20],
    /// The key that shows two announces from different addresses to be one peer's (BEP 15).
    pub key: u32,
}

impl ClientProfile {
    /// Draws a key: for one channel, or for a whole session.
    #[must_use]
    pub fn draw_key(&self, rng: &mut Rng) -> u32 {
        u32::from_be_bytes(rng.array()) >> (32 - self.key_bits)
    }

    /// Draws the peer id for one channel and session, and the key unless the worn client has one for
    /// all: `session_key` then.
    #[must_use]
    pub fn draw_persona(&self, rng: &mut Rng, session_key: u32) -> Persona {
        let key = match self.key_scope {
            KeyScope::Channel => self.draw_key(rng),
            KeyScope::Session => session_key,
        };
        Persona { peer_id: self.draw_peer_id(rng), key }
    }

    fn draw_peer_id(&self, rng: &mut Rng) -> [u8; 20] {
        let alphabet = &self.peer_id_alphabet;
        let mut sum = 0;
        let mut draw = || {
            let at = usize::try_from(rng.below(alphabet.len() as u64)).unwrap_or(0);
            sum = (sum + at) % alphabet.len();
            alphabet[at]
        };
        let mut peer_id = [0; 20];
        let (prefix, tail) = peer_id.split_at_mut(self.peer_id_prefix.len());
        prefix.copy_from_slice(&self.peer_id_prefix);
        let Some((last, drawn)) = tail.split_last_mut() else {
            return peer_id;
        };
        drawn.fill_with(&mut draw);
        *last = match self.peer_id_check {
            PeerIdCheck::None => draw(),
            PeerIdCheck::Sum => alphabet[(alphabet.len() - sum) % alphabet.len()],
        };
        peer_id
    }
}

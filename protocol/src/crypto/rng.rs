//! The seeded generator from which a machine takes all its randomness.

use std::fmt;

use rand::rngs::ChaCha20Rng;
use rand::{Rng as _, SeedableRng as _};

use super::Secret;

/// A ChaCha20 generator: cryptographically strong when its seed is, repeatable when it must be.
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// Starts from a seed; two generators with one seed give the same bytes.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Makes `N` bytes.
    #[must_use]
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// Makes `N` secret bytes.
    #[must_use]
    pub fn secret<const N: usize>(&mut self) -> Secret<N> {
        let mut secret = Secret::new([0; N]);
        self.fill(secret.expose_mut());
        secret
    }

    /// Makes a number in `0..bound`; zero when `bound` is zero. The bias is below 2^-32 for bounds
    /// below 2^32, which is enough for jitter and shuffling, not for keys.
    #[must_use]
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// Starts an independent generator for another machine.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.array())
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(_)")
    }
}

//! The seeded generator from which a machine takes all its randomness.
//!
//! Its state reveals all that it has given since its seed and will give. So what makes keys takes
//! them from a generator of their own ([`Rng::fork`], after which the parent has gone on), and what
//! lives long takes in fresh bytes before it makes new ones ([`Rng::mix`]).

use std::fmt;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};

use super::{Secret, hash};

/// A ChaCha20 generator: cryptographically strong when its seed is, repeatable when it must be,
/// wiped when it is dropped.
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

    /// Starts an independent generator, for another machine or for one secret. This one goes on from
    /// its own output: whoever learns its state afterwards does not learn what the other gives.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let other = Self::from_secret(&self.secret());
        *self = Self::from_secret(&self.secret());
        other
    }

    /// Goes on from its own output and `fresh` bytes: whoever knows the state of before, but not
    /// these, does not know what comes.
    pub fn mix(&mut self, fresh: &Secret<32>) {
        let own: Secret<32> = self.secret();
        let next = hash::derive(own.expose(), "bitchat v1 generator", &[fresh.expose()]);
        *self = Self::from_secret(&next);
    }

    fn from_secret(seed: &Secret<32>) -> Self {
        Self::from_seed(*seed.expose())
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(_)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_leaves_nothing_from_which_it_could_be_started_again() {
        let mut parent = Rng::from_seed([1; 32]);
        let mut child = parent.fork();
        // Without going on, the parent would still hold the block that the child was made of.
        let mut old = Rng::from_seed([1; 32]);
        let _: [u8; 64] = old.array();
        assert_ne!(parent.array::<32>(), old.array::<32>());
        assert_ne!(parent.array::<32>(), child.array::<32>());
    }

    #[test]
    fn what_comes_after_mixing_depends_on_the_state_and_on_the_fresh_bytes() {
        let next = |seed, fresh| {
            let mut rng = Rng::from_seed([seed; 32]);
            rng.mix(&Secret::new([fresh; 32]));
            rng.array::<32>()
        };
        assert_eq!(next(1, 2), next(1, 2));
        assert_ne!(next(1, 2), next(1, 3));
        assert_ne!(next(1, 2), next(4, 2));
    }

    #[test]
    fn the_generator_is_wiped_when_it_is_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
        is_wiped::<ChaCha20Rng>();
    }
}

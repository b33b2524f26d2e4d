//! Counts the generations of a link's keys and holds the fresh secrets meant for coming ones.
//!
//! The engine asks the session for the next generation by itself, one ahead of the one in use, so
//! the session and the link share this cell.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::crypto::Secret;

/// Secrets waiting for their generation at once: one renewal is under way at a time.
const PENDING_MAX: usize = 2;

/// The generation is derived already, or too many secrets wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that generation of keys cannot be changed any more")]
pub struct TooLate;

/// See the module; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct MixCell(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    derived: u64,
    pending: Vec<(u64, Secret<32>)>,
}

impl MixCell {
    /// The generation in use for sending: the engine derives one ahead.
    pub(super) fn generation(&self) -> u64 {
        self.state().derived.saturating_sub(1)
    }

    pub(super) fn schedule(&self, generation: u64, secret: Secret<32>) -> Result<(), TooLate> {
        let mut state = self.state();
        if generation <= state.derived || state.pending.len() >= PENDING_MAX {
            return Err(TooLate);
        }
        state.pending.push((generation, secret));
        Ok(())
    }

    /// Counts one more generation and hands out the secret meant for it.
    pub(super) fn advance(&self) -> Option<Secret<32>> {
        let mut state = self.state();
        state.derived += 1;
        let derived = state.derived;
        let at = state.pending.iter().position(|(generation, _)| *generation == derived)?;
        Some(state.pending.swap_remove(at).1)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_out_at_its_generation_and_once() {
        let cell = MixCell::default();
        let secret = Secret::new([7; 32]);
        cell.schedule(3, secret.clone()).unwrap();
        assert_eq!(cell.advance(), None);
        assert_eq!(cell.advance(), None);
        assert_eq!(cell.generation(), 1);
        assert_eq!(cell.advance(), Some(secret.clone()));
        assert_eq!(cell.advance(), None);
        assert_eq!(cell.schedule(4, secret.clone()), Err(TooLate));
        assert_eq!(cell.schedule(5, secret), Ok(()));
    }
}

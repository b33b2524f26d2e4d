//! The one shape of every state machine in this crate.
//!
//! 1. A machine does nothing by itself: its driver hands it inputs and the time.
//! 2. It is given its randomness as a seed, so every run can be replayed.
//! 3. After each call the driver drains [`Machine::poll_output`] until it says `None`,
//!    then arms one timer for [`Machine::poll_timeout`].
//! 4. A machine has no error for its driver: what a stranger sent wrong is dropped and counted;
//!    what the driver must know is an output.
//! 5. Time never goes backwards for a machine: a `now` before an earlier one counts as that one.
//! 6. Received bytes never make it panic, and never make it hold more than its limits allow.

use std::time::Instant;

/// A state machine without input or output of its own; see the module's contract.
pub trait Machine {
    /// What the driver tells the machine.
    type Input;
    /// What the machine wants done, or wants known.
    type Output;

    /// Takes one input at `now`.
    fn handle_input(&mut self, now: Instant, input: Self::Input);

    /// Does what has become due by `now`; harmless when nothing is.
    fn handle_timeout(&mut self, now: Instant);

    /// Takes the next output, oldest first.
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// When [`Machine::handle_timeout`] must be called next, if ever.
    fn poll_timeout(&self) -> Option<Instant>;
}

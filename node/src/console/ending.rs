//! How a running node is ended from inside, and with what.

use std::sync::{Mutex, OnceLock, PoisonError};

use bitchat_actors::supervision::Stopper;

use crate::exit::Exit;

/// Shared by the console and whoever waits for the node.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    stopper: OnceLock<Stopper>,
    exits: Mutex<Exits>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Exits {
    /// Said by whoever ended the node.
    said: Option<Exit>,
    /// If somebody else ends it: a signal.
    otherwise: Option<Exit>,
}

impl Ending {
    /// Names what is to be stopped.
    pub(crate) fn attach(&self, stopper: Stopper) {
        let stopper = self.stopper.get_or_init(|| stopper);
        if self.lock().said.is_some() {
            // The end came before there was anything to stop.
            stopper.stop();
        }
    }

    /// Ends the node; the first reason counts.
    pub(crate) fn end(&self, exit: Exit) {
        self.lock().said.get_or_insert(exit);
        if let Some(stopper) = self.stopper.get() {
            stopper.stop();
        }
    }

    /// Says what the exit is if a signal ends the node before the console does.
    pub(crate) fn otherwise(&self, exit: Exit) {
        self.lock().otherwise = Some(exit);
    }

    /// What the console made of the run.
    pub(crate) fn exit(&self) -> Option<Exit> {
        let exits = *self.lock();
        exits.said.or(exits.otherwise)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Exits> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_and_a_signal_only_where_there_is_none() {
        let ending = Ending::default();
        assert_eq!(ending.exit(), None);
        ending.otherwise(Exit::NotDelivered);
        assert_eq!(ending.exit(), Some(Exit::NotDelivered));
        ending.end(Exit::Done);
        ending.end(Exit::Failed);
        assert_eq!(ending.exit(), Some(Exit::Done));
    }
}

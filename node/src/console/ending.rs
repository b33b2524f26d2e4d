//! How a running node is ended from inside, and with what: outlives a restart of the console.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bitchat_actors::supervision::Stopper;
use tokio::sync::watch;

use crate::exit::Exit;

/// Shared by the console and whoever waits for the node.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    stopper: OnceLock<Stopper>,
    leave: watch::Sender<bool>,
    course: Mutex<Course>,
}

/// What came of the run so far.
#[derive(Debug, Default)]
struct Course {
    /// Said by whoever ended the node.
    said: Option<Exit>,
    /// What happened to a line that was not taken.
    refused: Option<Exit>,
    /// What a warning asks for: says more than that nobody was there.
    warned: Option<Exit>,
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

    /// Asks the console, also one that is yet to be started, to end the node at once.
    pub(crate) fn leave(&self) {
        self.leave.send_replace(true);
    }

    /// Resolves when [`Ending::leave`] was called.
    pub(super) fn asked_to_leave(&self) -> impl Future<Output = ()> + use<> {
        let mut leave = self.leave.subscribe();
        async move {
            if leave.wait_for(|leave| *leave).await.is_err() {
                // Nobody is left who could ask.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the node; the first reason counts.
    pub(super) fn end(&self, exit: Exit) {
        self.lock().said.get_or_insert(exit);
        if let Some(stopper) = self.stopper.get() {
            stopper.stop();
        }
    }

    /// A line was not taken. The first code that says why counts.
    pub(super) fn note_refused(&self, exit: Exit) {
        let refused = &mut self.lock().refused;
        if matches!(refused, None | Some(Exit::Failed)) {
            *refused = Some(exit);
        }
    }

    /// What lines that were not taken ask for.
    pub(super) fn refused(&self) -> Option<Exit> {
        self.lock().refused
    }

    /// A warning asks for this code.
    pub(super) fn note_warned(&self, exit: Exit) {
        self.lock().warned.get_or_insert(exit);
    }

    /// What the console made of the run.
    pub(crate) fn exit(&self) -> Option<Exit> {
        let course = self.lock();
        course.warned.or(course.said)
    }

    fn lock(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The way of messages that a stranger can cause: bounded by the receiver's mailbox, and counted
//! when refused.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Message, Recipient};

/// One long-lived sender to one actor.
///
/// It cannot be cloned, because in actix each clone of a recipient has one guaranteed place beyond
/// the mailbox's capacity, so a clone per send has no bound at all. `do_send` has none either.
pub struct Outlet<M>
where
    M: Message + Send,
    M::Result: Send,
{
    recipient: Recipient<M>,
    refused: AtomicU64,
}

impl<M> Outlet<M>
where
    M: Message + Send,
    M::Result: Send,
{
    /// Wraps a recipient, which should not be used in any other way from here on.
    #[must_use]
    pub fn new(recipient: Recipient<M>) -> Self {
        Self { recipient, refused: AtomicU64::new(0) }
    }

    /// Hands a message over, or drops and counts it when the mailbox is full or closed. Says
    /// whether it was taken.
    pub fn offer(&self, message: M) -> bool {
        let taken = self.recipient.try_send(message).is_ok();
        if !taken {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Messages dropped so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether the receiver still lives.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.recipient.connected()
    }
}

impl<M> fmt::Debug for Outlet<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("refused", &self.refused).finish_non_exhaustive()
    }
}

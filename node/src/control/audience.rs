//! Which clients are told what happens; each has a bounded queue of its own.

use std::sync::Arc;

use bitchat_actors::chat_desk::Notice;
use tokio::sync::mpsc;

use crate::methods::notices::{Sequence, Wish};

/// Notices that wait for one client. What comes beyond that is not told to it, and leaves a gap in
/// the numbers: a client that is slow costs at most so many texts, and holds nobody up.
pub(super) const QUEUE_MAX: usize = 256;

/// A notice with its number for one client.
pub(super) type Told = (u64, Arc<Notice>);

/// Those who have subscribed.
#[derive(Debug, Default)]
pub(super) struct Audience(Vec<Listener>);

#[derive(Debug)]
struct Listener {
    queue: mpsc::Sender<Told>,
    sequence: Sequence,
    wish: Wish,
}

impl Audience {
    /// Tells one more from now on, until the receiver is dropped.
    pub(super) fn add(&mut self, sequence: Sequence, wish: Wish) -> mpsc::Receiver<Told> {
        let (queue, told) = mpsc::channel(QUEUE_MAX);
        self.0.push(Listener { queue, sequence, wish });
        told
    }

    #[cfg(test)]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.0.retain(|listener| !listener.queue.is_closed());
        let notice = Arc::new(notice);
        for Listener { queue, sequence, wish } in &mut self.0 {
            wish.follow(&notice);
            if wish.covers(&notice) {
                // Where it finds no room, the gap in the numbers says so.
                let _ = queue.try_send((sequence.next(), Arc::clone(&notice)));
            }
        }
    }
}

//! Which clients are told what happens; each has a bounded queue of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bitchat_actors::chat_desk::Notice;
use tokio::sync::mpsc;

use crate::methods::notices::{Sequence, Wish};

/// Notices that wait for one client. What comes beyond that is not told to it, and leaves a gap in
/// the numbers: a client that is slow costs at most so much, and holds nobody up. More than one that
/// comes back after a while is told at once.
pub(super) const QUEUE_MAX: usize = 4096;

/// Bytes of them.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A notice with its number for one client.
pub(super) type Told = (u64, Arc<Notice>);

/// Those who have subscribed.
#[derive(Debug, Default)]
pub(super) struct Audience(Vec<Listener>);

#[derive(Debug)]
struct Listener {
    queue: mpsc::Sender<Told>,
    queued_bytes: Arc<AtomicUsize>,
    sequence: Sequence,
    wish: Wish,
}

/// What one client is told.
#[derive(Debug)]
pub(super) struct Hearing {
    queue: mpsc::Receiver<Told>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Hearing {
    /// What comes next; `None`: nobody tells it any more.
    pub(super) async fn next(&mut self) -> Option<Told> {
        let told = self.queue.recv().await;
        told.inspect(|told| self.take(told))
    }

    /// What is there already.
    pub(super) fn next_now(&mut self) -> Option<Told> {
        let told = self.queue.try_recv().ok();
        told.inspect(|told| self.take(told))
    }

    fn take(&self, (_, notice): &Told) {
        self.queued_bytes.fetch_sub(bytes_of(notice), Ordering::Relaxed);
    }
}

impl Audience {
    /// Tells one more from now on, until what is answered is dropped.
    pub(super) fn add(&mut self, sequence: Sequence, wish: Wish) -> Hearing {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let queued_bytes = Arc::<AtomicUsize>::default();
        self.0.push(Listener {
            queue: sender,
            queued_bytes: Arc::clone(&queued_bytes),
            sequence,
            wish,
        });
        Hearing { queue, queued_bytes }
    }

    #[cfg(test)]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.0.retain(|listener| !listener.queue.is_closed());
        let notice = Arc::new(notice);
        for listener in &mut self.0 {
            listener.wish.follow(&notice);
            if !listener.wish.covers(&notice) {
                continue;
            }
            // Where it finds no room, the gap in the numbers says so.
            let number = listener.sequence.next();
            let (bytes, queued_bytes) = (bytes_of(&notice), &listener.queued_bytes);
            let queued = queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if queued > QUEUE_BYTES_MAX
                || listener.queue.try_send((number, Arc::clone(&notice))).is_err()
            {
                queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
    }
}

fn bytes_of(notice: &Notice) -> usize {
    let long = if let Notice::Heard { text, .. } | Notice::Warning { text, .. } = notice {
        text.len()
    } else {
        0
    };
    size_of::<Notice>() + long
}

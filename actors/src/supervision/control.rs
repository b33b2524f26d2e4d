//! The wire between a child's task and whoever owns it: "stop, please" and "stop now".

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// What the owner wants, in the order in which it can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    /// Go on.
    Run,
    /// Stop in an orderly way.
    Stop,
    /// Be gone at the next poll.
    Abort,
}

/// Shared by one child's task, which waits on it, and its owner, which may be on another thread.
#[derive(Debug)]
pub(super) struct Control {
    wish: AtomicU8,
    #[cfg(feature = "fault-injection")]
    panic: std::sync::atomic::AtomicBool,
    waker: AtomicWaker,
}

impl Control {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            wish: AtomicU8::new(Wish::Run as u8),
            #[cfg(feature = "fault-injection")]
            panic: std::sync::atomic::AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// Raises the wish; a weaker one than before changes nothing.
    pub(super) fn raise(&self, wish: Wish) {
        self.wish.fetch_max(wish as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    pub(super) fn wish(&self) -> Wish {
        match self.wish.load(Ordering::Acquire) {
            0 => Wish::Run,
            1 => Wish::Stop,
            _ => Wish::Abort,
        }
    }

    /// Lets the next change wake the task of `cx`; only the last task that asked is woken.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Waits until the owner wants an end.
    pub(super) async fn stopped(&self) {
        poll_fn(|cx| {
            self.register(cx);
            if self.wish() == Wish::Run { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Makes the child panic at its next poll.
    #[cfg(feature = "fault-injection")]
    pub(super) fn inject_panic(&self) {
        self.panic.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether a test wants a panic now; says so once.
    #[cfg(feature = "fault-injection")]
    pub(super) fn take_panic(&self) -> bool {
        self.panic.swap(false, Ordering::AcqRel)
    }
}

/// Owns a running child: dropped, it ends the child, so that no child outlives its owner.
#[must_use = "dropping the handle ends the child"]
#[derive(Debug)]
pub struct StopHandle(Arc<Control>);

impl StopHandle {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self(control)
    }

    /// Asks the child to stop in an orderly way; its exit is told as usual.
    ///
    /// This is `ctx.stop()`: messages still in its mailbox are not handled. A child that has more
    /// to do before it ends takes a message about it, such as [`Shutdown`](super::Shutdown).
    pub fn stop(&self) {
        self.0.raise(Wish::Stop);
    }

    /// Ends the child at its next poll, even when it would rather go on; its exit is told as usual.
    pub fn abort(&self) {
        self.0.raise(Wish::Abort);
    }
}

impl Drop for StopHandle {
    fn drop(&mut self) {
        self.abort();
    }
}

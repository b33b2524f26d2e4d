//! One running child: an actor whose context this task polls itself, so that a panic is an exit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::dev::ContextFut;
use actix::{Actor, ActorContext, Addr, Context, Handler, Message};

use super::control::{Control, Wish};
use super::current::{self, Outcome};
use super::policy::Exit;

/// Sent to an actor that wants to do something before it stops; it must call `ctx.stop()` when it
/// is done. Messages that were in its mailbox before are handled first.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// After this the actor is ended, finished or not.
    pub within: Duration,
}

type WithAddr<A> = Box<dyn FnOnce(&Addr<A>)>;
type OnExit<A> = Box<dyn FnOnce(&Addr<A>, Exit)>;

/// How an actor is told to stop.
pub(super) enum Ask<A: Actor> {
    /// By `ctx.stop()`.
    Stop,
    /// By a message.
    Tell(WithAddr<A>),
}

impl<A: Actor<Context = Context<A>> + Handler<Shutdown>> Ask<A> {
    pub(super) fn tell(within: Duration) -> Self {
        // Once in the life of an actor, so the mailbox stays bounded.
        Self::Tell(Box::new(move |addr| addr.do_send(Shutdown { within })))
    }
}

/// Whom a child's task tells about it.
pub(super) struct Notice<A: Actor> {
    /// Called when `started` has returned.
    pub(super) up: WithAddr<A>,
    /// Called once at the end, however it came.
    pub(super) exit: OnExit<A>,
}

/// The future that is a running child.
pub(super) struct ChildTask<A: Actor<Context = Context<A>>> {
    name: Arc<str>,
    control: Arc<Control>,
    life: Option<ContextFut<A, Context<A>>>,
    /// Keeps the actor alive: it ends when it wants to or is told to, not when nobody knows it.
    addr: Addr<A>,
    ask: Option<Ask<A>>,
    up: Option<WithAddr<A>>,
    exit: Option<OnExit<A>>,
    failure: Option<String>,
}

impl<A: Actor<Context = Context<A>>> ChildTask<A> {
    pub(super) fn new(
        name: Arc<str>,
        control: Arc<Control>,
        life: ContextFut<A, Context<A>>,
        ask: Ask<A>,
        notice: Notice<A>,
    ) -> Self {
        let addr = life.address();
        #[cfg(feature = "fault-injection")]
        super::fault::register(&name, &control);
        Self {
            name,
            control,
            life: Some(life),
            addr,
            ask: Some(ask),
            up: Some(notice.up),
            exit: Some(notice.exit),
            failure: None,
        }
    }

    /// Passes the owner's wish on to the actor.
    fn obey(&mut self, wish: Wish) {
        let Some(life) = &mut self.life else { return };
        match (wish, self.ask.take()) {
            (Wish::Run, ask) => self.ask = ask,
            (Wish::Stop, Some(Ask::Tell(tell))) => tell(&self.addr),
            (Wish::Stop, Some(Ask::Stop)) | (Wish::Abort, _) => life.ctx().stop(),
            (Wish::Stop, None) => {}
        }
    }

    fn poll_life(&mut self, cx: &mut task::Context<'_>) -> Poll<Exit> {
        let Some(life) = &mut self.life else { return Poll::Ready(Exit::Lost) };
        #[cfg(feature = "fault-injection")]
        let control = &self.control;
        let Outcome { result, failure } = current::run(&self.name, || {
            #[cfg(feature = "fault-injection")]
            super::fault::trip(control);
            Pin::new(life).poll(cx)
        });
        if failure.is_some() {
            self.failure = failure;
        }
        match result {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(self.reason()),
            Err(text) => Poll::Ready(Exit::Panicked(text)),
        }
    }

    fn reason(&mut self) -> Exit {
        match self.failure.take() {
            _ if self.control.wish() != Wish::Run => Exit::Shutdown,
            Some(reason) => Exit::Failed(reason),
            None => Exit::Normal,
        }
    }

    /// Drops the actor, then tells its end.
    fn finish(&mut self, exit: Exit) {
        let Some(tell) = self.exit.take() else { return };
        #[cfg(feature = "fault-injection")]
        super::fault::forget(&self.control);
        let life = self.life.take();
        let dropped = current::run(&self.name, || {
            if let Some(mut life) = life {
                // Else the drop would poll the actor once more, broken as it may be, and a panic
                // in `stopping` during a panic ends the process.
                life.ctx().terminate();
            }
        });
        let exit = match (exit, dropped.result) {
            (Exit::Normal | Exit::Shutdown, Err(text)) => Exit::Panicked(text),
            (exit, _) => exit,
        };
        tracing::debug!(actor = &*self.name, "{exit}");
        let told = current::run(&self.name, || tell(&self.addr, exit));
        if let Err(text) = told.result {
            tracing::error!(actor = &*self.name, "telling its end panicked: {text}");
        }
    }
}

impl<A: Actor<Context = Context<A>>> Future for ChildTask<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.control.register(cx);
        let wish = this.control.wish();
        this.obey(wish);
        match this.poll_life(cx) {
            Poll::Ready(exit) => this.finish(exit),
            Poll::Pending if wish == Wish::Abort => this.finish(Exit::Shutdown),
            Poll::Pending => {
                if let Some(up) = this.up.take() {
                    up(&this.addr);
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl<A: Actor<Context = Context<A>>> Drop for ChildTask<A> {
    fn drop(&mut self) {
        // Only a task that its arbiter dropped still has something to tell.
        self.finish(Exit::Lost);
    }
}

impl<A: Actor<Context = Context<A>>> std::fmt::Debug for ChildTask<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildTask").field("name", &self.name).finish_non_exhaustive()
    }
}

//! Children that an actor starts on demand: watched, never restarted, ended with their owner.
//!
//! The owner keeps the [`StopHandle`] and is told the [`Exit`] by the closure it gave, which
//! usually sends it a message. The owner bounds how many it has.

use std::sync::Arc;

use actix::dev::channel;
use actix::{Actor, Addr, Context};
use actix_rt::ArbiterHandle;

use super::child::{Ask, ChildTask, Notice};
use super::control::{Control, StopHandle};
use super::current;
use super::policy::Exit;

/// Messages a mailbox holds before the actor sets its own capacity in `started`; actix's default.
const MAILBOX: usize = 16;

/// Starts `actor` on this arbiter and calls `on_exit` once when it has ended, however that came.
///
/// `on_exit` runs after the actor was dropped, outside of any actor; it should only send a message.
/// The name is for the log: `crypto_session/ab12cd` for one of many.
pub fn watch<A: Actor<Context = Context<A>>>(
    actor: A,
    name: impl Into<Arc<str>>,
    on_exit: impl FnOnce(Exit) + 'static,
) -> (Addr<A>, StopHandle) {
    watch_with(|_| actor, name, on_exit)
}

/// Like [`watch`], for an actor that needs its own context to be made. A panic in `factory` is the
/// caller's.
pub fn watch_with<A: Actor<Context = Context<A>>>(
    factory: impl FnOnce(&mut Context<A>) -> A,
    name: impl Into<Arc<str>>,
    on_exit: impl FnOnce(Exit) + 'static,
) -> (Addr<A>, StopHandle) {
    let mut ctx = Context::new();
    let actor = factory(&mut ctx);
    let life = ctx.into_future(actor);
    let addr = life.address();
    let control = Control::new();
    let notice = Notice { up: Box::new(|_| ()), exit: Box::new(|_, exit| on_exit(exit)) };
    let task = ChildTask::new(name.into(), control.clone(), life, Ask::Stop, notice);
    actix_rt::spawn(task);
    (addr, StopHandle::new(control))
}

/// Like [`watch_with`], on another arbiter; `on_exit` runs there.
///
/// A factory that panics is told as [`Exit::StartFailed`], an arbiter that is gone as
/// [`Exit::Lost`]; the address is then closed.
pub fn watch_in<A: Actor<Context = Context<A>>>(
    arbiter: &ArbiterHandle,
    factory: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
    name: impl Into<Arc<str>>,
    on_exit: impl FnOnce(Exit) + Send + 'static,
) -> (Addr<A>, StopHandle) {
    let (sender, receiver) = channel::channel(MAILBOX);
    let (name, control) = (name.into(), Control::new());
    let handle = StopHandle::new(control.clone());
    let mut on_exit = TellOnce(Some(on_exit));
    // A refused closure is dropped, and `TellOnce` says `Lost`.
    let _ = arbiter.spawn_fn(move || {
        let mut ctx = Context::with_receiver(receiver);
        match current::run(&name, || factory(&mut ctx)).result {
            Err(text) => on_exit.tell(Exit::StartFailed(text)),
            Ok(actor) => {
                let exit = Box::new(move |_: &Addr<A>, exit| on_exit.tell(exit));
                let notice = Notice { up: Box::new(|_| ()), exit };
                let life = ctx.into_future(actor);
                actix_rt::spawn(ChildTask::new(name, control, life, Ask::Stop, notice));
            }
        }
    });
    (Addr::new(sender), handle)
}

/// Says [`Exit::Lost`] when it is dropped before it could say anything else.
struct TellOnce<F: FnOnce(Exit)>(Option<F>);

impl<F: FnOnce(Exit)> TellOnce<F> {
    fn tell(&mut self, exit: Exit) {
        if let Some(tell) = self.0.take() {
            tell(exit);
        }
    }
}

impl<F: FnOnce(Exit)> Drop for TellOnce<F> {
    fn drop(&mut self) {
        self.tell(Exit::Lost);
    }
}

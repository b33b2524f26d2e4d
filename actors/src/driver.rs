//! Drives a protocol machine inside an actor: drain its outputs, then arm one timer.
//!
//! An actor implements [`Drive`]: it says where its [`Driver`] is and what an output means to it.
//! It then calls [`Drive::input`] from its handlers, and everything else happens here.

use std::fmt;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, SpawnHandle};
use bitchat_protocol::machine::Machine;

use crate::clock;

/// Outputs performed before other actors of the arbiter get a turn. A machine fed by strangers
/// must not keep its arbiter for itself.
const OUTPUTS_PER_TURN_MAX: usize = 1024;

/// The shortest wait for a machine that is due again right after it was served; a machine that
/// never stops being due then costs a thousand calls a second and not a whole core.
const TIMER_MIN: Duration = Duration::from_millis(1);

/// The armed timer.
#[derive(Debug, Clone, Copy)]
struct Timer {
    number: u64,
    at: Instant,
    handle: SpawnHandle,
}

/// A machine and the one timer that is armed for it.
pub struct Driver<M> {
    machine: M,
    timer: Option<Timer>,
    /// Timers armed so far. One that was cancelled may still fire in the same turn, and must then
    /// not be taken for its successor.
    timers: u64,
    /// When the machine was last told that its time has come.
    served: Option<Instant>,
    /// Set while outputs are drained, so that an input given by `perform` does not drain within.
    draining: bool,
}

impl<M: Machine> Driver<M> {
    /// Takes the machine; nothing is armed until the first [`Drive::input`] or [`Drive::settle`].
    #[must_use]
    pub fn new(machine: M) -> Self {
        Self { machine, timer: None, timers: 0, served: None, draining: false }
    }

    /// The machine, to look at.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine, for calls that are not inputs; [`Drive::settle`] must follow.
    #[must_use]
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// When the timer must fire, or `None` when the armed one will do or none is needed.
    fn must_arm(&self) -> Option<Instant> {
        let due = self.machine.poll_timeout()?;
        let due = self.served.map_or(due, |served| due.max(served + TIMER_MIN));
        // A timer that fires early finds nothing due and arms the next; that is cheaper than to
        // cancel and arm for each packet.
        let covered = self.timer.is_some_and(|armed| armed.at <= due);
        (!covered).then_some(due)
    }
}

impl<M> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("timer", &self.timer).finish_non_exhaustive()
    }
}

/// An actor whose decisions are made by a machine.
pub trait Drive: Actor<Context = Context<Self>> {
    /// The machine that decides.
    type Machine: Machine;

    /// Where the actor keeps it.
    fn driver(&mut self) -> &mut Driver<Self::Machine>;

    /// Does what the machine wants done. It may call [`Drive::input`]; what comes of that is
    /// performed after the outputs that were there before.
    fn perform(&mut self, output: <Self::Machine as Machine>::Output, ctx: &mut Context<Self>);

    /// Gives the machine one input, now, and performs what comes of it.
    fn input(&mut self, input: <Self::Machine as Machine>::Input, ctx: &mut Context<Self>) {
        self.driver().machine.handle_input(clock::now(), input);
        self.settle(ctx);
    }

    /// Performs what the machine wants done, then arms the timer it wants.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        if self.driver().draining {
            return;
        }
        self.driver().draining = true;
        let drained = drain(self, ctx);
        self.driver().draining = false;
        if drained {
            arm(self, ctx);
        } else {
            ctx.run_later(Duration::ZERO, Self::settle);
        }
    }
}

/// Performs the outputs there are; `false` when there may be more than one turn may take.
fn drain<A: Drive>(actor: &mut A, ctx: &mut Context<A>) -> bool {
    for _ in 0..OUTPUTS_PER_TURN_MAX {
        match actor.driver().machine.poll_output() {
            Some(output) => actor.perform(output, ctx),
            None => return true,
        }
    }
    false
}

fn arm<A: Drive>(actor: &mut A, ctx: &mut Context<A>) {
    let Some(due) = actor.driver().must_arm() else { return };
    let wait = due.saturating_duration_since(clock::now());
    let driver = actor.driver();
    driver.timers += 1;
    let number = driver.timers;
    let handle = ctx.run_later(wait, move |actor, ctx| on_timer(actor, number, ctx));
    if let Some(old) = driver.timer.replace(Timer { number, at: due, handle }) {
        ctx.cancel_future(old.handle);
    }
}

fn on_timer<A: Drive>(actor: &mut A, number: u64, ctx: &mut Context<A>) {
    let driver = actor.driver();
    if driver.timer.is_none_or(|armed| armed.number != number) {
        return;
    }
    driver.timer = None;
    let now = clock::now();
    if driver.machine.poll_timeout().is_some_and(|due| due <= now) {
        driver.machine.handle_timeout(now);
        driver.served = Some(now);
    }
    actor.settle(ctx);
}

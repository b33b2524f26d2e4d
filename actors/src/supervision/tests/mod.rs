//! Actors that fail in every way, under supervisors: what is restarted, in which order, with what
//! state, and who is told.

mod limits;
mod restart;
mod stop;
mod watched;

use std::future::pending;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, MessageResult, Running};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::{ActorSpec, ChildSpec, Restart, Shutdown, Slot, Strategy, Supervisor, fail};

/// Longer than anything a test waits for; on a paused clock it costs nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to a [`Probe`] without a message about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// Panics in `started`.
    InStarted,
    /// Panics in `stopped`.
    InStopped,
    /// Panics when it is dropped.
    InDrop,
    /// Waits for ever, so that it handles no message.
    Stuck,
    /// Refuses to stop.
    Deaf,
}

/// Says `+name` when it starts and `-name` when it stops.
struct Probe {
    name: &'static str,
    log: Log,
    trouble: Trouble,
    count: u32,
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.log.say('+', self.name);
        assert!(self.trouble != Trouble::InStarted, "in started");
        if self.trouble == Trouble::Stuck {
            ctx.wait(wrap_future(pending()));
        }
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if self.trouble == Trouble::Deaf { Running::Continue } else { Running::Stop }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.log.say('-', self.name);
        assert!(self.trouble != Trouble::InStopped, "in stopped");
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        assert!(self.trouble != Trouble::InDrop, "in drop");
    }
}

/// Counts the messages of this kind, this one included.
#[derive(Message)]
#[rtype(u32)]
struct Count;

impl Handler<Count> for Probe {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        self.count += 1;
        MessageResult(self.count)
    }
}

/// An end that a test asks for.
#[derive(Message)]
#[rtype("()")]
enum End {
    Panic,
    PanicInTimer,
    Fail,
    Stop,
}

impl Handler<End> for Probe {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        match end {
            End::Panic => panic!("in a handler"),
            End::PanicInTimer => {
                ctx.run_later(Duration::from_millis(1), |_, _| panic!("in a timer"));
            }
            End::Fail => fail(ctx, "no more"),
            End::Stop => ctx.stop(),
        }
    }
}

/// Takes two seconds to say goodbye, and says how many messages it had handled before.
impl Handler<Shutdown> for Probe {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.log.say('?', &format!("{}{}", self.name, self.count));
        ctx.run_later(Duration::from_secs(2), |_, ctx| ctx.stop());
    }
}

#[derive(Clone)]
struct Log(UnboundedSender<String>);

impl Log {
    fn say(&self, sign: char, name: &str) {
        // The last words of a tree may come after the test.
        let _ = self.0.send(format!("{sign}{name}"));
    }

    fn probe(&self, name: &'static str, trouble: Trouble) -> Probe {
        Probe { name, log: self.clone(), trouble, count: 0 }
    }

    fn child(&self, name: &'static str) -> ActorSpec<Probe> {
        self.troubled(name, Trouble::None)
    }

    fn troubled(&self, name: &'static str, trouble: Trouble) -> ActorSpec<Probe> {
        let log = self.clone();
        ChildSpec::actor(name, move || log.probe(name, trouble))
    }
}

struct Said(UnboundedReceiver<String>);

impl Said {
    /// Waits for exactly these words in this order.
    #[track_caller]
    fn expect(&mut self, words: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            for word in words.split_whitespace() {
                let said = timeout(PATIENCE, self.0.recv()).await;
                assert_eq!(said.ok().flatten().as_deref(), Some(word), "{place}");
            }
        }
    }

    /// Nothing was said that no test asked for.
    #[track_caller]
    fn expect_silence(&mut self) {
        assert!(self.0.try_recv().is_err());
    }
}

fn log() -> (Log, Said) {
    let (sender, receiver) = unbounded_channel();
    (Log(sender), Said(receiver))
}

/// Three probes `a`, `b` and `c`, and the slot of `b`.
fn three(strategy: Strategy, restart: Restart, log: &Log) -> (Supervisor, Slot<Probe>) {
    let slot = Slot::new();
    let supervisor = Supervisor::new("three", strategy)
        .child(log.child("a").restart(restart))
        .child(log.child("b").restart(restart).slot(&slot))
        .child(log.child("c").restart(restart));
    (supervisor, slot)
}

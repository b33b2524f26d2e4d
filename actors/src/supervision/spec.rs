//! What a supervisor must know to start a child, again and again.

use std::fmt;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use actix_rt::ArbiterHandle;
use futures_util::FutureExt as _;
use tokio::sync::mpsc::UnboundedSender;

use super::child::{Ask, ChildTask, Notice, Shutdown};
use super::control::Control;
use super::current;
use super::policy::{Exit, Restart};
use super::slot::Slot;
use super::supervisor::Supervisor;

/// How long a child may take to stop before it is ended.
pub const GRACE: Duration = Duration::from_secs(5);

/// A child of a supervisor: its name, its factory, and what to do when it ends.
pub struct ChildSpec {
    pub(super) name: Arc<str>,
    pub(super) restart: Restart,
    /// How long to wait for an orderly stop; `None` for a supervisor, which bounds its own.
    pub(super) grace: Option<Duration>,
    start: Box<dyn Fn(Launch)>,
}

impl ChildSpec {
    /// An actor made anew by `factory` at each start, on the arbiter where it will run.
    pub fn actor<A: Actor<Context = Context<A>>>(
        name: impl Into<Arc<str>>,
        factory: impl Fn() -> A + Send + Sync + 'static,
    ) -> ActorSpec<A> {
        Self::try_actor(name, move || Ok(factory()))
    }

    /// An actor whose factory may fail, such as one that opens a file or a socket.
    ///
    /// The text of the failure ends in [`Exit::StartFailed`] and is shown to people.
    pub fn try_actor<A: Actor<Context = Context<A>>>(
        name: impl Into<Arc<str>>,
        factory: impl Fn() -> Result<A, String> + Send + Sync + 'static,
    ) -> ActorSpec<A> {
        ActorSpec {
            name: name.into(),
            restart: Restart::Always,
            grace: GRACE,
            slot: None,
            arbiter: None,
            ask: |_| Ask::Stop,
            factory: Arc::new(factory),
            actor: PhantomData,
        }
    }

    /// A supervisor with children of its own, made anew at each start.
    ///
    /// It is up when all its children are; it runs on its parent's arbiter.
    pub fn supervisor(
        name: impl Into<Arc<str>>,
        factory: impl Fn() -> Supervisor + 'static,
    ) -> Self {
        let start = move |launch: Launch| match current::run(&launch.name, &factory).result {
            Ok(supervisor) => {
                actix_rt::spawn(nested(supervisor, launch));
            }
            Err(text) => launch.reporter.exit(Exit::StartFailed(text)),
        };
        Self { name: name.into(), restart: Restart::Always, grace: None, start: Box::new(start) }
    }

    /// Sets when it is started again; [`Restart::Always`] if not said.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    pub(super) fn start(&self, control: Arc<Control>, reporter: Reporter) {
        (self.start)(Launch { name: self.name.clone(), control, reporter });
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("restart", &self.restart)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

async fn nested(supervisor: Supervisor, launch: Launch) {
    let Launch { name: _, control, reporter } = launch;
    let run = supervisor.run(&control, || reporter.up());
    let exit = AssertUnwindSafe(run).catch_unwind().await;
    reporter.exit(exit.unwrap_or_else(|_| Exit::Panicked("in the supervisor itself".into())));
}

type Factory<A> = Arc<dyn Fn() -> Result<A, String> + Send + Sync>;

/// A [`ChildSpec`] in the making, while the actor's type is still known.
#[must_use = "it must be given to a supervisor"]
pub struct ActorSpec<A: Actor<Context = Context<A>>> {
    name: Arc<str>,
    restart: Restart,
    grace: Duration,
    slot: Option<Slot<A>>,
    arbiter: Option<ArbiterHandle>,
    ask: fn(Duration) -> Ask<A>,
    factory: Factory<A>,
    actor: PhantomData<A>,
}

impl<A: Actor<Context = Context<A>>> ActorSpec<A> {
    /// Keeps the present address in `slot`.
    pub fn slot(mut self, slot: &Slot<A>) -> Self {
        self.slot = Some(slot.clone());
        self
    }

    /// Sets when it is started again; [`Restart::Always`] if not said.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how long it may take to stop; [`GRACE`] if not said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Runs it on another arbiter than its supervisor's.
    pub fn on(mut self, arbiter: ArbiterHandle) -> Self {
        self.arbiter = Some(arbiter);
        self
    }

    /// Stops it by the message [`Shutdown`] in place of `ctx.stop()`: it handles what is in its
    /// mailbox before, may work for the grace, and ends itself by `ctx.stop()`.
    pub fn asked(mut self) -> Self
    where
        A: Handler<Shutdown>,
    {
        self.ask = Ask::tell;
        self
    }
}

impl<A: Actor<Context = Context<A>>> From<ActorSpec<A>> for ChildSpec {
    fn from(spec: ActorSpec<A>) -> Self {
        let ActorSpec { name, restart, grace, slot, arbiter, ask, factory, actor: _ } = spec;
        let start = move |launch: Launch| {
            let (factory, slot) = (factory.clone(), slot.clone());
            let birth = move || give_birth(&*factory, slot, ask(grace), launch);
            match &arbiter {
                None => birth(),
                // A refused closure is dropped, and its reporter says `Lost`.
                Some(arbiter) => drop(arbiter.spawn_fn(birth)),
            }
        };
        Self { name, restart, grace: Some(grace), start: Box::new(start) }
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for ActorSpec<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorSpec").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes the actor and its task, on the arbiter where both will live.
fn give_birth<A: Actor<Context = Context<A>>>(
    factory: &(dyn Fn() -> Result<A, String> + Send + Sync),
    slot: Option<Slot<A>>,
    ask: Ask<A>,
    launch: Launch,
) {
    let Launch { name, control, reporter } = launch;
    let actor = match current::run(&name, factory).result {
        Ok(Ok(actor)) => actor,
        Ok(Err(text)) | Err(text) => return reporter.exit(Exit::StartFailed(text)),
    };
    let up = {
        let (slot, reporter) = (slot.clone(), reporter.handle());
        move |addr: &_| {
            if let Some(slot) = slot {
                slot.fill(Clone::clone(addr));
            }
            reporter.up();
        }
    };
    let exit = move |addr: &_, exit| {
        if let Some(slot) = slot {
            slot.clear(addr);
        }
        reporter.exit(exit);
    };
    let notice = Notice { up: Box::new(up), exit: Box::new(exit) };
    let life = Context::new().into_future(actor);
    actix_rt::spawn(ChildTask::new(name, control, life, ask, notice));
}

/// What one start of a child needs.
struct Launch {
    name: Arc<str>,
    control: Arc<Control>,
    reporter: Reporter,
}

/// What a child's task tells its supervisor.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) child: usize,
    pub(super) incarnation: u64,
    pub(super) news: News,
}

/// See [`Report`].
#[derive(Debug)]
pub(super) enum News {
    /// `started` has returned.
    Up,
    /// It is no more.
    Exit(Exit),
}

/// Where the reports of one incarnation go.
#[derive(Debug, Clone)]
pub(super) struct ReportHandle {
    sender: UnboundedSender<Report>,
    child: usize,
    incarnation: u64,
}

impl ReportHandle {
    pub(super) fn new(sender: UnboundedSender<Report>, child: usize, incarnation: u64) -> Self {
        Self { sender, child, incarnation }
    }

    fn up(&self) {
        self.tell(News::Up);
    }

    fn tell(&self, news: News) {
        // A supervisor that is gone needs no report. At most two for each start, so the channel
        // needs no bound.
        let report = Report { child: self.child, incarnation: self.incarnation, news };
        let _ = self.sender.send(report);
    }
}

/// Tells the exit of one incarnation exactly once: [`Exit::Lost`] when it is just dropped.
#[derive(Debug)]
pub(super) struct Reporter {
    handle: ReportHandle,
    told: bool,
}

impl Reporter {
    pub(super) fn new(handle: ReportHandle) -> Self {
        Self { handle, told: false }
    }

    fn handle(&self) -> ReportHandle {
        self.handle.clone()
    }

    fn up(&self) {
        self.handle.up();
    }

    fn exit(mut self, exit: Exit) {
        self.told = true;
        self.handle.tell(News::Exit(exit));
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if !self.told {
            self.handle.tell(News::Exit(Exit::Lost));
        }
    }
}

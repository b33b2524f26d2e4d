//! The supervisor: starts children in order, decides when one ends, stops them in reverse.
//!
//! ```text
//!            start            `started` returned
//!  Wanted ---------> Starting -----------------> Up
//!    ^                  |                         |
//!    |                  +-----------+-------------+
//!    | restart, after the back-off  | ended
//!    |                              v
//!    +---------------------------- Exited -----> Ended   (not to be restarted)
//!                                   |
//!                                   +-> one restart too many: stop all others, Exit::Failed
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::control::{Control, StopHandle, Wish};
use super::policy::{Backoff, Exit, RestartLimit, Strategy, Window};
use super::spec::{ChildSpec, News, Report, ReportHandle, Reporter};
use crate::clock;

/// How long an actor's first poll may take; only one on a blocked arbiter takes longer.
const START_WITHIN: Duration = Duration::from_secs(5);

/// How long to wait for a child that was ended, which needs one poll of its arbiter.
const ABORT_WITHIN: Duration = Duration::from_secs(1);

/// A supervisor that does not run yet.
#[must_use = "it must be run"]
#[derive(Debug)]
pub struct Supervisor {
    name: Arc<str>,
    strategy: Strategy,
    limit: RestartLimit,
    backoff: Backoff,
    children: Vec<ChildSpec>,
}

impl Supervisor {
    /// A supervisor without children; the name is for the log.
    pub fn new(name: impl Into<Arc<str>>, strategy: Strategy) -> Self {
        Self {
            name: name.into(),
            strategy,
            limit: RestartLimit::default(),
            backoff: Backoff::default(),
            children: Vec::new(),
        }
    }

    /// Sets how many restarts it tries before it gives up.
    pub fn limit(mut self, limit: RestartLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how long it waits before a restart.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Adds a child; it is started after those before it and stopped before them.
    pub fn child(mut self, child: impl Into<ChildSpec>) -> Self {
        self.children.push(child.into());
        self
    }

    /// Starts the tree on this arbiter: how to stop it, and a future of how it ended.
    ///
    /// The future should end the process with [`Exit::code`]. The tree stops when the [`Stopper`]
    /// says so or when it gives up, and not because somebody drops either of the two.
    pub fn spawn(self) -> (Stopper, impl Future<Output = Exit> + use<>) {
        let control = Control::new();
        let (tell, ended) = oneshot::channel();
        let stopper = Stopper(control.clone());
        actix_rt::spawn(async move {
            let exit = self.run(&control, || ()).await;
            // Nobody has to wait for it.
            let _ = tell.send(exit);
        });
        (stopper, async move { ended.await.unwrap_or(Exit::Lost) })
    }

    /// Runs until `control` or the restart limit ends it; calls `up` when every child is up for
    /// the first time.
    pub(super) async fn run(self, control: &Control, up: impl FnOnce()) -> Exit {
        let mut tree = Tree::new(self);
        let exit = tokio::select! {
            biased;
            () = control.stopped() => Exit::Shutdown,
            exit = tree.supervise(up) => exit,
        };
        if exit == Exit::Shutdown {
            tracing::debug!(supervisor = &*tree.name, "stopping");
        } else {
            tracing::error!(supervisor = &*tree.name, "gives up: {exit}");
        }
        tree.stop_from(0).await;
        exit
    }
}

/// Stops a tree in an orderly way; clones stop the same.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Control>);

impl Stopper {
    /// Asks all to stop, last child first; returns at once.
    pub fn stop(&self) {
        self.0.raise(Wish::Stop);
    }
}

/// Where a child is in its life.
#[derive(Debug)]
enum State {
    Wanted,
    Starting(StopHandle),
    Up(StopHandle),
    Exited(Exit),
    Ended,
}

#[derive(Debug)]
struct Child {
    spec: ChildSpec,
    state: State,
    incarnation: u64,
}

impl Child {
    fn new(spec: ChildSpec) -> Self {
        Self { spec, state: State::Wanted, incarnation: 0 }
    }

    fn handle(&self) -> Option<&StopHandle> {
        match &self.state {
            State::Starting(handle) | State::Up(handle) => Some(handle),
            State::Wanted | State::Exited(_) | State::Ended => None,
        }
    }

    fn take_note(&mut self, news: News) {
        let state = std::mem::replace(&mut self.state, State::Ended);
        self.state = match (news, state) {
            (News::Exit(exit), State::Starting(_) | State::Up(_)) => State::Exited(exit),
            (News::Up, State::Starting(handle)) => State::Up(handle),
            (_, state) => state,
        };
    }
}

/// A supervisor at work. All its state is here and not in its futures, so that an order to stop
/// may drop those wherever they wait.
#[derive(Debug)]
struct Tree {
    name: Arc<str>,
    strategy: Strategy,
    backoff: Backoff,
    window: Window,
    children: Vec<Child>,
    sender: UnboundedSender<Report>,
    reports: UnboundedReceiver<Report>,
    /// Whether every child was up once; before that a failing factory is not worth a second try.
    whole: bool,
}

impl Tree {
    fn new(spec: Supervisor) -> Self {
        let (sender, reports) = unbounded_channel();
        Self {
            name: spec.name,
            strategy: spec.strategy,
            backoff: spec.backoff,
            window: Window::new(spec.limit),
            children: spec.children.into_iter().map(Child::new).collect(),
            sender,
            reports,
            whole: false,
        }
    }

    /// Goes on until it gives up.
    async fn supervise(&mut self, up: impl FnOnce()) -> Exit {
        let mut up = Some(up);
        loop {
            if let Some(index) = self.first(|state| matches!(state, State::Exited(_))) {
                if let Err(exit) = self.decide(index).await {
                    return exit;
                }
            } else if let Some(index) = self.first(|state| matches!(state, State::Wanted)) {
                self.start(index).await;
            } else {
                self.whole = true;
                if let Some(up) = up.take() {
                    up();
                }
                self.next_report().await;
            }
        }
    }

    fn first(&self, wanted: impl Fn(&State) -> bool) -> Option<usize> {
        self.children.iter().position(|child| wanted(&child.state))
    }

    /// Starts one child and waits until it is up or gone.
    async fn start(&mut self, index: usize) {
        let child = &mut self.children[index];
        child.incarnation += 1;
        let control = Control::new();
        child.state = State::Starting(StopHandle::new(control.clone()));
        let reports = ReportHandle::new(self.sender.clone(), index, child.incarnation);
        tracing::debug!(supervisor = &*self.name, child = &*child.spec.name, "starts");
        child.spec.start(control, Reporter::new(reports));
        // A supervisor below bounds its own start, by the starts of its children.
        let within = child.spec.grace.map(|_| START_WITHIN);
        if !self.settled(index, within, |state| !matches!(state, State::Starting(_))).await {
            self.children[index].state = State::Exited(Exit::Lost);
        }
    }

    /// Says what follows from the end of one child, and brings it about but for the starts.
    async fn decide(&mut self, index: usize) -> Result<(), Exit> {
        let child = &mut self.children[index];
        let state = std::mem::replace(&mut child.state, State::Ended);
        let State::Exited(exit) = state else { return Ok(()) };
        let (supervisor, name) = (self.name.clone(), child.spec.name.clone());
        if !child.spec.restart.wants(&exit) {
            tracing::info!(supervisor = &*supervisor, child = &*name, "not restarted: {exit}");
            return Ok(());
        }
        if let Exit::StartFailed(text) = &exit
            && !self.whole
        {
            return Err(Exit::StartFailed(format!("{name}: {text}")));
        }
        let Some(nth) = self.window.restart(clock::now()) else {
            return Err(Exit::Failed(format!("{name} was restarted too often; it {exit}")));
        };
        let delay = self.backoff.delay(nth);
        tracing::warn!(supervisor = &*supervisor, child = &*name, nth, ?delay, "restarts: {exit}");
        match self.strategy {
            Strategy::OneForOne => {}
            Strategy::RestForOne => self.stop_from(index + 1).await,
        }
        self.children[index].state = State::Wanted;
        sleep(delay).await;
        Ok(())
    }

    /// Stops the child at `index` and those after it, last first; those to be restarted are
    /// wanted again.
    async fn stop_from(&mut self, index: usize) {
        for later in (index..self.children.len()).rev() {
            self.stop(later).await;
            let child = &mut self.children[later];
            let again = match &child.state {
                State::Ended => false,
                State::Exited(exit) => child.spec.restart.wants(exit),
                State::Wanted | State::Starting(_) | State::Up(_) => true,
            };
            child.state = if again { State::Wanted } else { State::Ended };
        }
    }

    /// Stops one child: asks, waits for its grace, ends it, and goes on without it if even that
    /// takes too long.
    async fn stop(&mut self, index: usize) {
        let child = &self.children[index];
        let (Some(handle), name) = (child.handle(), child.spec.name.clone()) else { return };
        let grace = child.spec.grace;
        handle.stop();
        if self.settled(index, grace, |state| matches!(state, State::Exited(_))).await {
            return;
        }
        tracing::warn!(supervisor = &*self.name, child = &*name, ?grace, "did not stop in time");
        if let Some(handle) = self.children[index].handle() {
            handle.abort();
        }
        let within = Some(ABORT_WITHIN);
        if !self.settled(index, within, |state| matches!(state, State::Exited(_))).await {
            tracing::error!(supervisor = &*self.name, child = &*name, "abandoned: it hangs");
            self.children[index].state = State::Exited(Exit::Lost);
        }
    }

    /// Takes reports until the child's state is as wanted; `false` when that takes too long.
    async fn settled(
        &mut self,
        index: usize,
        within: Option<Duration>,
        wanted: impl Fn(&State) -> bool,
    ) -> bool {
        let wait = async {
            while !wanted(&self.children[index].state) {
                self.next_report().await;
            }
        };
        match within {
            Some(within) => timeout(within, wait).await.is_ok(),
            None => {
                wait.await;
                true
            }
        }
    }

    async fn next_report(&mut self) {
        // We hold a sender, so the channel stays open.
        let Some(Report { child, incarnation, news }) = self.reports.recv().await else { return };
        if let Some(child) = self.children.get_mut(child)
            && child.incarnation == incarnation
        {
            child.take_note(news);
        }
    }
}

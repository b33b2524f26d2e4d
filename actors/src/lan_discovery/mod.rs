//! Finds members on the local network, as BitTorrent clients do there.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`Announce`] | mesh manager | begins to announce a channel, or goes on with another port |
//! | [`Withdraw`] | mesh manager | announces a channel no longer, or one infohash of it |
//! | [`ViewChanged`] | mesh manager | whether we are alone in a channel |
//! | [`ListSources`] | console, control | how each channel does |
//! | [`CountHeard`] | console, control | what was heard so far |
//!
//! Sends [`PeersDiscovered`] to the mesh manager, and introduces itself to it.
//!
//! Owns: the [`Lan`] machine and the sockets of the two groups. A socket that cannot be opened is
//! missed once in the log and tried again; without any, nothing is found here and all else goes on.
//! Lost on a crash: when the next announce is due, and who was heard lately; it announces at once
//! when it is told [`Announce`] again.
//! Spec: `docs/spec/08-lan.md`.

mod group;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFuture, AsyncContext as _, Context, Handler, Message, MessageResult, Recipient,
};
use bitchat_protocol::lan::{self, Counters, Family, Input, Interface, Lan, Output};
use bitchat_protocol::limits::LAN_PEERS_WITHIN;
use bitchat_protocol::mesh::{Completeness, Source};

use crate::discovery::{self, Announce, PeersDiscovered, Place, ViewChanged, Withdraw};
use crate::driver::{Drive, Driver};
use crate::source::{ListSources, SourceKind, SourceState, SourceStatus};
use crate::supervision::Outlet;
use crate::{clock, entropy};

use group::Group;

/// Messages waiting at most, on top of one per sender. Datagrams do not come as messages.
pub const MAILBOX: usize = 256;

/// How often our interfaces are read again, and sockets that failed are tried again. Longer: a new
/// network is noticed later; shorter: an idle laptop wakes up more often.
const INTERFACES_INTERVAL: Duration = Duration::from_secs(30);

/// How long an announce of another says that somebody is there: clients announce twice in it.
const HEARD_LATELY_WITHIN: Duration = Duration::from_secs(2 * LAN_PEERS_WITHIN.as_secs());

/// Datagrams read before other actors get a turn.
const READS_PER_TURN_MAX: usize = 64;

/// The settings of a [`LanDiscovery`].
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// As which client we announce, and over which IP versions.
    pub lan: lan::Config,
    /// The names of the interfaces to use; none: all.
    pub interfaces: Vec<String>,
}

/// Whom a [`LanDiscovery`] talks to; all are started before it.
#[derive(Debug)]
pub struct Neighbours {
    /// Takes the peers that were heard.
    pub peers: Recipient<PeersDiscovered>,
    /// Learns whom to tell what is to be announced.
    pub mesh: Recipient<discovery::Subscribe>,
}

/// Asks what was heard so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Counters")]
pub struct CountHeard;

/// The actor; see the module's documentation.
#[derive(Debug)]
pub struct LanDiscovery {
    driver: Driver<Lan>,
    config: Config,
    v4: Option<Group>,
    v6: Option<Group>,
    peers: Outlet<PeersDiscovered>,
    mesh: Recipient<discovery::Subscribe>,
    /// What has failed and was said, so that it is said once.
    failing: BTreeSet<Failing>,
}

/// What can fail for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Failing {
    ListInterfaces,
    Open(Family),
    Join(Interface),
    Send(Interface),
}

impl LanDiscovery {
    /// Starts without a channel.
    #[must_use]
    pub fn new(config: Config, neighbours: Neighbours) -> Self {
        let machine = Lan::new(config.lan, clock::now(), entropy::seed());
        Self {
            driver: Driver::new(machine),
            config,
            v4: None,
            v6: None,
            peers: Outlet::new(neighbours.peers),
            mesh: neighbours.mesh,
            failing: BTreeSet::new(),
        }
    }

    /// Why nothing is announced or heard; `None`: both work, as far as we know.
    fn trouble(&self) -> Option<&'static str> {
        let voices = self.driver.machine().voices();
        if self.v4.is_none() && self.v6.is_none() {
            Some("the sockets for the local network cannot be opened")
        } else if voices.is_empty() {
            Some("this machine has no address on a network that is used")
        } else if voices.iter().all(|via| self.failing.contains(&Failing::Send(*via))) {
            Some("announces cannot be sent on any network")
        } else {
            None
        }
    }

    /// The local network as a source for one infohash.
    fn row(&self, status: lan::Status) -> SourceStatus {
        let trouble = self.trouble();
        let state = state(trouble.is_some(), &status, clock::now());
        SourceStatus {
            channel: status.channel,
            kind: SourceKind::Lan,
            place: String::new(),
            family: None,
            infohash: Some(status.infohash),
            state,
            last_answer: status.last_heard,
            last_announce: status.last_announce,
            next_try: status.next_announce,
            peers_found: status.peers_found,
            nodes: None,
            heard: Some(status.heard),
            failures: 0,
            last_error: trouble.map(str::to_owned),
            warning: None,
        }
    }

    fn look_again(&mut self, ctx: &mut Context<Self>) {
        self.open_groups(ctx);
        let listed = group::interfaces(&self.config.interfaces);
        self.note(Failing::ListInterfaces, listed.as_ref().err());
        if let Ok(interfaces) = listed {
            self.join_groups(&interfaces);
            self.input(Input::Interfaces(interfaces), ctx);
        }
        ctx.run_later(INTERFACES_INTERVAL, Self::look_again);
    }

    fn open_groups(&mut self, ctx: &mut Context<Self>) {
        let lan::Config { habit, ipv4, ipv6 } = self.config.lan;
        for (family, wanted) in [(Family::V4, ipv4), (Family::V6, ipv6)] {
            if !wanted || self.group(family).is_some() {
                continue;
            }
            let opened = Group::open(family, habit.hops);
            self.note(Failing::Open(family), opened.as_ref().err());
            if let Ok(group) = opened {
                *self.group(family) = Some(group);
                ctx.spawn(Ear(family));
            }
        }
    }

    fn join_groups(&mut self, interfaces: &[Interface]) {
        self.failing.retain(|failing| match failing {
            Failing::ListInterfaces | Failing::Open(_) => true,
            Failing::Join(interface) | Failing::Send(interface) => interfaces.contains(interface),
        });
        for family in [Family::V4, Family::V6] {
            let failures = self.group(family).as_mut().map(|group| group.join(interfaces));
            for (interface, error) in failures.into_iter().flatten() {
                self.note(Failing::Join(interface), Some(&error));
            }
        }
    }

    fn group(&mut self, family: Family) -> &mut Option<Group> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    fn send(&mut self, via: Interface, bytes: &[u8]) {
        let family = if via.address.is_ipv4() { Family::V4 } else { Family::V6 };
        if let Some(group) = self.group(family) {
            let sent = group.send(&via, bytes);
            self.note(Failing::Send(via), sent.as_ref().err());
        }
    }

    /// Logs a failure once, until it went well in between.
    fn note(&mut self, what: Failing, error: Option<&io::Error>) {
        match error {
            None => {
                self.failing.remove(&what);
            }
            Some(error) if self.failing.insert(what) => match what {
                Failing::ListInterfaces => tracing::info!(%error, "our interfaces are not known"),
                Failing::Open(family) => {
                    tracing::info!(?family, %error, "the local network cannot be heard");
                }
                // Interfaces without multicast are common, and their addresses are nobody's business.
                Failing::Join(interface) | Failing::Send(interface) => {
                    tracing::debug!(?interface, %error, "an interface takes no multicast");
                }
            },
            Some(_) => {}
        }
    }
}

fn state(has_trouble: bool, status: &lan::Status, now: Instant) -> SourceState {
    let lately = status.last_heard.filter(|at| now.duration_since(*at) < HEARD_LATELY_WITHIN);
    match (has_trouble, lately, status.last_announce) {
        (true, _, _) => SourceState::Fails,
        (false, Some(_), _) => SourceState::Works,
        (false, None, Some(_)) => SourceState::Announced,
        (false, None, None) => SourceState::Due,
    }
}

impl Actor for LanDiscovery {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.look_again(ctx);
        let own = ctx.address();
        self.mesh.do_send(discovery::Subscribe {
            place: Place::Lan,
            announce: own.clone().recipient(),
            withdraw: own.clone().recipient(),
            view: own.recipient(),
        });
    }
}

impl Handler<Announce> for LanDiscovery {
    type Result = ();

    fn handle(&mut self, announce: Announce, ctx: &mut Self::Context) {
        let Announce { channel, infohash, port, .. } = announce;
        self.input(Input::Announce { channel, infohash, port }, ctx);
    }
}

impl Handler<Withdraw> for LanDiscovery {
    type Result = ();

    fn handle(&mut self, Withdraw { channel, infohash }: Withdraw, ctx: &mut Self::Context) {
        self.input(Input::Withdraw { channel, infohash }, ctx);
    }
}

impl Handler<ViewChanged> for LanDiscovery {
    type Result = ();

    fn handle(&mut self, ViewChanged { channel, view }: ViewChanged, ctx: &mut Self::Context) {
        if view == Completeness::None {
            self.input(Input::Hurry(channel), ctx);
        }
    }
}

impl Handler<ListSources> for LanDiscovery {
    type Result = MessageResult<ListSources>;

    fn handle(&mut self, _: ListSources, _: &mut Self::Context) -> Self::Result {
        let statuses = self.driver.machine().statuses(clock::now());
        MessageResult(statuses.into_iter().map(|status| self.row(status)).collect())
    }
}

impl Handler<CountHeard> for LanDiscovery {
    type Result = MessageResult<CountHeard>;

    fn handle(&mut self, _: CountHeard, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.driver.machine().counters())
    }
}

impl Drive for LanDiscovery {
    type Machine = Lan;

    fn driver(&mut self) -> &mut Driver<Lan> {
        &mut self.driver
    }

    fn perform(&mut self, output: Output, _: &mut Self::Context) {
        match output {
            Output::Send { via, bytes } => self.send(via, &bytes),
            Output::PeerFound { channel, address } => {
                tracing::debug!(channel = channel.short(), %address, "heard on the local network");
                let peers = vec![address];
                self.peers.offer(PeersDiscovered { channel, peers, source: Source::Lan });
            }
        }
    }
}

/// Hears one group for as long as its socket works.
struct Ear(Family);

impl ActorFuture<LanDiscovery> for Ear {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut LanDiscovery,
        ctx: &mut Context<LanDiscovery>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        for _ in 0..READS_PER_TURN_MAX {
            let Some(group) = actor.group(self.0) else { return Poll::Ready(()) };
            match group.poll_read(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok((from, bytes))) => {
                    actor.input(Input::Datagram { from, bytes }, ctx);
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "hearing the local network failed");
                    *actor.group(self.0) = None;
                    return Poll::Ready(());
                }
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

//! Announces channels to BitTorrent trackers and passes on the peers that they name.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`Announce`] | mesh manager | begins, goes on with another port, or leaves and begins anew with other trackers |
//! | [`Withdraw`] | mesh manager | leaves a channel, or one infohash of it |
//! | [`ViewChanged`] | mesh manager | whether all members of a channel are linked: then announces are rarer |
//! | [`WithdrawAll`] | whoever shuts the node down | leaves all, answers when the trackers know |
//! | [`TrackerDatagram`] | UDP port | an answer of a UDP tracker, perhaps |
//! | [`ListSources`] | console, control | how each tracker does, over each IP version |
//! | [`Shutdown`] | supervisor | leaves all, then stops |
//!
//! Sends [`PeersDiscovered`] to the mesh manager, and introduces itself to it and to the UDP port.
//!
//! Owns: the [`Announcer`] machine, the HTTP requests under way, and idle connections to trackers.
//! Lost on a crash: the time of the next announce and every peer id; it announces `started` again
//! when it is told [`Announce`] again.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message,
    MessageResult, Recipient, ResponseFuture, SpawnHandle, WrapFuture as _,
};
use bitchat_protocol::id::ChannelId;
use bitchat_protocol::mesh::{Completeness, Source};
use bitchat_protocol::tracker::TrackerUrl;
use bitchat_protocol::tracker::announcer::{
    self, Announcer, Event, HttpRequest, Input, Output, RequestId, TrackerState, TrackerStatus,
};
use tokio::sync::oneshot;

use crate::discovery::{self, Announce, PeersDiscovered, Place, ViewChanged, Withdraw};
use crate::driver::{Drive, Driver};
use crate::http_fetch::Fetcher;
use crate::own_address::own_ipv6;
use crate::resolver::{self, FindAddresses};
use crate::source::{ListSources, SourceKind, SourceState, SourceStatus};
use crate::supervision::{Outlet, Shutdown};
use crate::udp_port::{SendDatagram, SubscribeTracker, TrackerDatagram};
use crate::{clock, entropy};

/// Messages waiting at most, on top of one per sender. Strangers can send datagrams that look like
/// a tracker's; beyond this they are lost.
pub const MAILBOX: usize = 256;

/// The settings of a [`TrackerAnnouncer`].
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Which client we look like, and over which IP versions we announce.
    pub announcer: announcer::Config,
}

/// Whom a [`TrackerAnnouncer`] talks to; all are started before it.
#[derive(Debug)]
pub struct Neighbours {
    /// Sends datagrams.
    pub udp: Recipient<SendDatagram>,
    /// Learns who takes trackers' answers.
    pub udp_answers: Recipient<SubscribeTracker>,
    /// Finds addresses of names.
    pub resolver: Recipient<FindAddresses>,
    /// Takes the peers that trackers name.
    pub peers: Recipient<PeersDiscovered>,
    /// Learns whom to tell what is to be announced.
    pub mesh: Recipient<discovery::Subscribe>,
    /// Makes HTTP requests.
    pub fetcher: Fetcher,
}

/// Announces nothing any more; answered when all trackers have been told, at the latest after the
/// five seconds that the worn client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct WithdrawAll;

/// The actor; see the module's documentation.
#[derive(Debug)]
pub struct TrackerAnnouncer {
    driver: Driver<Announcer>,
    udp: Outlet<SendDatagram>,
    udp_answers: Recipient<SubscribeTracker>,
    resolver: Recipient<FindAddresses>,
    peers: Outlet<PeersDiscovered>,
    mesh: Recipient<discovery::Subscribe>,
    fetcher: Fetcher,
    fetches: HashMap<RequestId, SpawnHandle>,
    /// Whether the worn client names its IPv6 address in announces.
    tells_ipv6: bool,
    /// Who is told when everything has been left.
    leaving: Vec<oneshot::Sender<()>>,
    stops_when_left: bool,
}

impl TrackerAnnouncer {
    /// Starts without a channel.
    #[must_use]
    pub fn new(config: Config, neighbours: Neighbours) -> Self {
        let tells_ipv6 = config.announcer.ipv6 && config.announcer.profile.tells_ipv6();
        let machine = Announcer::new(config.announcer, clock::now(), entropy::seed());
        Self {
            driver: Driver::new(machine),
            udp: Outlet::new(neighbours.udp),
            udp_answers: neighbours.udp_answers,
            resolver: neighbours.resolver,
            peers: Outlet::new(neighbours.peers),
            mesh: neighbours.mesh,
            fetcher: neighbours.fetcher,
            fetches: HashMap::new(),
            tells_ipv6,
            leaving: Vec::new(),
            stops_when_left: false,
        }
    }
}

impl Actor for TrackerAnnouncer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let own = ctx.address();
        self.udp_answers.do_send(SubscribeTracker(own.clone().recipient()));
        let announce = own.clone().recipient();
        let withdraw = own.clone().recipient();
        let place = Place::Internet;
        let view = own.recipient();
        self.mesh.do_send(discovery::Subscribe { place, announce, withdraw, view });
    }
}

impl Handler<Announce> for TrackerAnnouncer {
    type Result = ();

    fn handle(&mut self, announce: Announce, ctx: &mut Self::Context) {
        let Announce { channel, infohash, tiers, port, .. } = announce;
        let tiers = tiers.iter().map(|tier| parse_tier(channel, tier)).collect();
        if self.tells_ipv6 {
            self.input(Input::OwnIpv6(own_ipv6()), ctx);
        }
        self.input(Input::Start { channel, infohash, tiers, port }, ctx);
    }
}

impl Handler<Withdraw> for TrackerAnnouncer {
    type Result = ();

    fn handle(&mut self, Withdraw { channel, infohash }: Withdraw, ctx: &mut Self::Context) {
        self.input(Input::Stop { channel, infohash }, ctx);
    }
}

impl Handler<ViewChanged> for TrackerAnnouncer {
    type Result = ();

    fn handle(&mut self, ViewChanged { channel, view }: ViewChanged, ctx: &mut Self::Context) {
        let complete = view == Completeness::Full;
        self.input(Input::Completeness { channel, complete }, ctx);
    }
}

impl Handler<WithdrawAll> for TrackerAnnouncer {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: WithdrawAll, ctx: &mut Self::Context) -> Self::Result {
        let (left, told) = oneshot::channel();
        self.leaving.push(left);
        self.leave_all(ctx);
        // An end of this actor is an answer, too.
        Box::pin(async { told.await.unwrap_or_default() })
    }
}

impl Handler<TrackerDatagram> for TrackerAnnouncer {
    type Result = ();

    fn handle(&mut self, datagram: TrackerDatagram, ctx: &mut Self::Context) {
        let TrackerDatagram { from, bytes } = datagram;
        self.input(Input::UdpDatagram { from, bytes }, ctx);
    }
}

impl Handler<ListSources> for TrackerAnnouncer {
    type Result = MessageResult<ListSources>;

    fn handle(&mut self, _: ListSources, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.driver.machine().statuses().into_iter().map(row).collect())
    }
}

impl Handler<Shutdown> for TrackerAnnouncer {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.stops_when_left = true;
        self.leave_all(ctx);
    }
}

impl Drive for TrackerAnnouncer {
    type Machine = Announcer;

    fn driver(&mut self) -> &mut Driver<Announcer> {
        &mut self.driver
    }

    fn perform(&mut self, output: Output, ctx: &mut Self::Context) {
        match output {
            Output::Resolve { host } => self.resolve(host, ctx),
            Output::HttpRequest(request) => self.fetch(request, ctx),
            Output::HttpCancel { id } => {
                self.fetches.remove(&id).map(|fetch| ctx.cancel_future(fetch));
            }
            Output::SendUdp { to, bytes } => {
                self.udp.offer(SendDatagram { to, bytes });
            }
            Output::Event(event) => self.on_event(event, ctx),
        }
    }
}

impl TrackerAnnouncer {
    fn resolve(&self, host: String, ctx: &mut Context<Self>) {
        let answer = resolver::find_ips(&self.resolver, host.clone());
        ctx.spawn(answer.into_actor(self).map(|result, actor, ctx| {
            actor.input(Input::NamesResolved { host, result }, ctx);
        }));
    }

    fn fetch(&mut self, request: HttpRequest, ctx: &mut Context<Self>) {
        let id = request.id;
        let fetch = self.fetcher.fetch(request).into_actor(self);
        let handle = ctx.spawn(fetch.map(move |fetched, actor, ctx| {
            actor.fetches.remove(&id);
            fetched.connection.into_iter().for_each(|connection| actor.fetcher.keep(connection));
            let input = match fetched.result {
                Ok((from, response)) => Input::HttpReply { id, from, response },
                Err(error) => Input::HttpFailed { id, failure: error.to_string() },
            };
            actor.input(input, ctx);
        }));
        self.fetches.insert(id, handle);
    }

    fn on_event(&mut self, event: Event, ctx: &mut Context<Self>) {
        match event {
            Event::PeersFound { channel, peers, tracker } => {
                let source = Source::Tracker(tracker);
                self.peers.offer(PeersDiscovered { channel, peers, source });
            }
            Event::StatusChanged { status, turned } => log(&status, turned),
            Event::ExternalAddress { ip, told_by } => {
                tracing::debug!(%ip, %told_by, "a tracker says where we are");
            }
            Event::Left { channel, .. } => {
                tracing::debug!(channel = channel.short(), "no longer announced");
                self.tell_if_left(ctx);
            }
        }
    }

    fn leave_all(&mut self, ctx: &mut Context<Self>) {
        self.input(Input::StopAll, ctx);
        self.tell_if_left(ctx);
    }

    fn tell_if_left(&mut self, ctx: &mut Context<Self>) {
        if !self.driver.machine().is_idle() {
            return;
        }
        for waiting in self.leaving.drain(..) {
            // Who asked may have gone.
            let _ = waiting.send(());
        }
        if self.stops_when_left {
            ctx.stop();
        }
    }
}

/// Reads the addresses of a tier. What is wrong in a `.chat` file was said when it was read.
fn parse_tier(channel: ChannelId, tier: &[String]) -> Vec<TrackerUrl> {
    let parse = |url: &String| {
        url.parse()
            .inspect_err(|error| {
                tracing::warn!(channel = channel.short(), %error, "a tracker is left out");
            })
            .ok()
    };
    tier.iter().filter_map(parse).collect()
}

/// A tracker as a source; the path of its address stays here, as it may contain a key of the user's.
fn row(status: TrackerStatus) -> SourceStatus {
    let (state, next_try) = match status.state {
        TrackerState::Due => (SourceState::Due, Some(status.next_try)),
        TrackerState::Asked => (SourceState::Asked, None),
        TrackerState::Works => (SourceState::Works, Some(status.next_try)),
        TrackerState::Fails => (SourceState::Fails, Some(status.next_try)),
        TrackerState::Absent => (SourceState::Absent, Some(status.next_try)),
        TrackerState::Spare => (SourceState::Spare, None),
    };
    SourceStatus {
        channel: status.channel,
        kind: SourceKind::Tracker,
        place: format!("{}://{}", status.scheme, status.host),
        family: Some(status.family),
        infohash: Some(status.infohash),
        state,
        last_answer: status.last_answer,
        last_announce: status.last_answer,
        next_try,
        peers_found: status.peers_found,
        nodes: None,
        heard: None,
        failures: status.failures,
        last_error: status.last_error,
        warning: status.warning,
    }
}

/// Logs the host alone: an address may contain a key of the user's. A tracker that goes on as it did
/// is not worth a line of its own, least of all a dead one.
fn log(status: &TrackerStatus, turned: bool) {
    let (channel, tracker, family) = (status.channel.short(), &status.host, status.family);
    let (failures, peers) = (status.failures, status.peers_found);
    match (&status.last_error, &status.warning) {
        (Some(error), _) if failures == 0 => {
            tracing::debug!(channel, tracker, ?family, error, "not announced");
        }
        (Some(error), _) if turned => {
            tracing::info!(channel, tracker, ?family, error, "announce failed");
        }
        (Some(error), _) => {
            tracing::debug!(channel, tracker, ?family, failures, error, "announce failed again");
        }
        (None, Some(warning)) if turned => {
            tracing::warn!(channel, tracker, ?family, warning, "announced; the tracker warns");
        }
        (None, None) if turned => {
            tracing::info!(channel, tracker, ?family, peers, "announced");
        }
        (None, _) => {
            tracing::debug!(channel, tracker, ?family, peers, "announced again");
        }
    }
}

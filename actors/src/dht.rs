//! Finds members in the Mainline DHT and lets them find us, as one BitTorrent client more.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`Announce`] | mesh manager | begins to look for a channel's members, or goes on at another port |
//! | [`Withdraw`] | mesh manager | looks no longer |
//! | [`ViewChanged`] | mesh manager | how urgent it is |
//! | [`KrpcDatagram`] | UDP port | a message of the DHT, perhaps |
//! | [`ListSources`] | console, control | how each channel does, over each IP version |
//! | [`ListDht`] | console, control | how it does as a whole |
//! | [`Shutdown`] | supervisor | saves the nodes that worked, then stops |
//!
//! Sends [`PeersDiscovered`] to the mesh manager, and introduces itself to it and to the UDP port.
//!
//! Owns: the [`Dht`](machine::Dht) machine, and the file with the nodes of the last run.
//! Lost on a crash: the routing table since it was last saved, what was stored for others, and
//! look-ups under way; all of it comes back by joining again.
//! Spec: `docs/spec/09-dht.md`.

use std::time::Duration;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message,
    MessageResult, Recipient, WrapFuture as _,
};
use bitchat_protocol::dht::{
    self as machine, Activity, Event, Input, NodeStatus, Output, Pace, Status,
};
use bitchat_protocol::mesh::{Completeness, Source};

use crate::directory::Directory;
use crate::discovery::{self, Announce, PeersDiscovered, Place, ViewChanged, Withdraw};
use crate::driver::{Drive, Driver};
use crate::own_address::{own_ipv4, own_ipv6};
use crate::resolver::{self, FindAddresses};
use crate::source::{ListSources, SourceKind, SourceState, SourceStatus};
use crate::supervision::{Outlet, Shutdown};
use crate::udp_port::{KrpcDatagram, SendDatagram, SubscribeDht};
use crate::vault::{RefusalLog, SealedFile};
use crate::{clock, entropy};

/// Messages waiting at most, on top of one per sender. Strangers can send datagrams without end;
/// beyond this they are lost, as UDP loses them.
pub const MAILBOX: usize = 512;

/// How often the nodes that work are saved, so that a kill costs little.
const SAVE_INTERVAL: Duration = Duration::from_secs(900);

/// How often members are tried as nodes while few others are known.
const MEMBERS_INTERVAL: Duration = Duration::from_secs(30);

/// With fewer nodes than this in a routing table, members are tried: one bucket (BEP 5).
const NODES_ENOUGH: usize = 8;

/// The settings of a [`Dht`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Which client we look like, over which IP versions, and where it starts from. What was saved
    /// is added to it.
    pub dht: machine::Config,
    /// Keeps the nodes that worked for the next run.
    pub file: SealedFile,
}

/// Whom a [`Dht`] talks to; all are started before it.
#[derive(Debug)]
pub struct Neighbours {
    /// Sends datagrams.
    pub udp: Recipient<SendDatagram>,
    /// Learns who takes the DHT's messages.
    pub udp_messages: Recipient<SubscribeDht>,
    /// Finds addresses of names.
    pub resolver: Recipient<FindAddresses>,
    /// Takes the peers that are found.
    pub peers: Recipient<PeersDiscovered>,
    /// Learns whom to tell what is to be looked for.
    pub mesh: Recipient<discovery::Subscribe>,
    /// Where members are: each of them is a node of the DHT, too.
    pub directory: Directory,
}

/// Asks how the DHT does as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "DhtReport")]
pub struct ListDht;

/// The answer to [`ListDht`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DhtReport {
    /// Over each IP version.
    pub nodes: Vec<NodeStatus>,
    /// Datagrams that were of no use, and answers not given, so far.
    pub dropped: u64,
}

/// The actor; see the module's documentation.
#[derive(Debug)]
pub struct Dht {
    driver: Driver<machine::Dht>,
    file: SealedFile,
    refusals: RefusalLog,
    udp: Outlet<SendDatagram>,
    udp_messages: Recipient<SubscribeDht>,
    resolver: Recipient<FindAddresses>,
    peers: Outlet<PeersDiscovered>,
    mesh: Recipient<discovery::Subscribe>,
    directory: Directory,
}

impl Dht {
    /// Starts with the nodes of the last run. A file of them that does not read costs a slower
    /// start and nothing else.
    #[must_use]
    pub fn new(config: Config, neighbours: Neighbours) -> Self {
        let Config { mut dht, file } = config;
        dht.saved = read(&file);
        let machine = machine::Dht::new(dht, clock::now(), entropy::seed());
        Self {
            driver: Driver::new(machine),
            file,
            refusals: RefusalLog::default(),
            udp: Outlet::new(neighbours.udp),
            udp_messages: neighbours.udp_messages,
            resolver: neighbours.resolver,
            peers: Outlet::new(neighbours.peers),
            mesh: neighbours.mesh,
            directory: neighbours.directory,
        }
    }

    fn save(&mut self) {
        let saved = self.driver.machine().saved();
        if !saved.nodes.is_empty() {
            self.refusals.note("the nodes of the DHT", &self.file.write(&saved.encode()));
        }
    }

    fn save_later(ctx: &mut Context<Self>) {
        ctx.run_later(SAVE_INTERVAL, |dht, ctx| {
            dht.save();
            Self::save_later(ctx);
        });
    }

    /// Members use one port for everything: with nobody else to start from, start from them.
    fn try_members_later(ctx: &mut Context<Self>) {
        ctx.run_later(MEMBERS_INTERVAL, |dht, ctx| {
            dht.tell_own_addresses(ctx);
            let mut nodes = dht.driver.machine().node_statuses().into_iter();
            if nodes.any(|status| status.nodes < NODES_ENOUGH) {
                let members = dht.directory.addresses();
                if !members.is_empty() {
                    dht.input(Input::AddCandidates(members), ctx);
                }
            }
            Self::try_members_later(ctx);
        });
    }

    /// As hosts wander from network to network, this is looked at again and again.
    fn tell_own_addresses(&mut self, ctx: &mut Context<Self>) {
        let (ipv4, ipv6) = (own_ipv4().is_some(), own_ipv6().is_some());
        self.input(Input::OwnAddresses { ipv4, ipv6 }, ctx);
    }

    fn resolve(&self, host: String, ctx: &mut Context<Self>) {
        let answer = resolver::find_ips(&self.resolver, host.clone());
        ctx.spawn(answer.into_actor(self).map(|result, dht, ctx| {
            dht.input(Input::NamesResolved { host, result }, ctx);
        }));
    }

    fn on_event(&self, event: Event) {
        match event {
            Event::PeersFound { channel, peers, source, .. } => {
                self.peers.offer(PeersDiscovered { channel, peers, source: Source::Dht(source) });
            }
            Event::ExternalAddress(address) => {
                tracing::debug!(?address, "the DHT says where we are");
            }
            Event::StatusChanged(status) => log(&status),
        }
    }
}

fn read(file: &SealedFile) -> machine::Saved {
    match file.read() {
        Ok(bytes) => bytes.map_or_else(Default::default, |bytes| machine::Saved::decode(&bytes)),
        Err(error) => {
            tracing::warn!(%error, "going on without the DHT's nodes of the last run");
            machine::Saved::default()
        }
    }
}

/// The DHT as a source for one infohash.
fn row(status: Status) -> SourceStatus {
    let is_stuck = status.activity == Activity::NoNodes && status.next_try.is_none();
    let state = match (status.activity, status.last_error) {
        (Activity::Joining | Activity::LookingUp, _) => SourceState::Asked,
        (Activity::NoNodes | Activity::Resting, Some(_)) => SourceState::Fails,
        (Activity::NoNodes, None) if is_stuck => SourceState::Fails,
        (Activity::NoNodes, None) => SourceState::Due,
        (Activity::Resting, None) if status.last_answer.is_some() => SourceState::Works,
        (Activity::Resting, None) => SourceState::Due,
    };
    let last_error = status.last_error.map(|error| error.to_string());
    SourceStatus {
        channel: status.channel,
        kind: SourceKind::Dht,
        place: String::new(),
        family: Some(status.family),
        infohash: Some(status.infohash),
        state,
        last_answer: status.last_answer,
        last_announce: status.last_announce,
        next_try: status.next_try,
        peers_found: status.peers_found,
        nodes: Some(status.nodes),
        heard: None,
        failures: status.failures,
        last_error: last_error.or_else(|| is_stuck.then(|| status.activity.to_string())),
        warning: None,
    }
}

fn log(status: &Status) {
    let (channel, family) = (status.channel.short(), status.family);
    let (peers, nodes) = (status.peers_found, status.nodes);
    match &status.last_error {
        Some(error) => tracing::debug!(channel, ?family, %error, "the DHT look-up failed"),
        None => {
            let activity = &status.activity;
            tracing::debug!(channel, ?family, peers, nodes, %activity, "DHT");
        }
    }
}

impl Drive for Dht {
    type Machine = machine::Dht;

    fn driver(&mut self) -> &mut Driver<machine::Dht> {
        &mut self.driver
    }

    fn perform(&mut self, output: Output, ctx: &mut Context<Self>) {
        match output {
            Output::Send { to, bytes } => {
                self.udp.offer(SendDatagram { to, bytes });
            }
            Output::Resolve { host } => self.resolve(host, ctx),
            Output::Event(event) => self.on_event(event),
        }
    }
}

impl Actor for Dht {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let own = ctx.address();
        self.udp_messages.do_send(SubscribeDht(own.clone().recipient()));
        self.mesh.do_send(discovery::Subscribe {
            place: Place::Internet,
            announce: own.clone().recipient(),
            withdraw: own.clone().recipient(),
            view: own.recipient(),
        });
        Self::save_later(ctx);
        Self::try_members_later(ctx);
        self.tell_own_addresses(ctx);
    }
}

impl Handler<Announce> for Dht {
    type Result = ();

    fn handle(&mut self, announce: Announce, ctx: &mut Self::Context) {
        let Announce { channel, infohash, port, nodes, .. } = announce;
        for node in nodes {
            let (host, port) = (node.host().to_owned(), node.port());
            self.input(Input::AddNode { host, port }, ctx);
        }
        self.input(Input::Start { channel, infohash, port, shared_socket: true }, ctx);
    }
}

impl Handler<Withdraw> for Dht {
    type Result = ();

    fn handle(&mut self, Withdraw { channel, infohash }: Withdraw, ctx: &mut Self::Context) {
        self.input(Input::Stop { channel, infohash }, ctx);
    }
}

impl Handler<ViewChanged> for Dht {
    type Result = ();

    fn handle(&mut self, ViewChanged { channel, view }: ViewChanged, ctx: &mut Self::Context) {
        let pace = match view {
            Completeness::Full => Pace::Slow,
            Completeness::Partial | Completeness::None => Pace::Soon,
        };
        self.input(Input::SetPace { channel, pace }, ctx);
    }
}

impl Handler<KrpcDatagram> for Dht {
    type Result = ();

    fn handle(&mut self, KrpcDatagram { from, bytes }: KrpcDatagram, ctx: &mut Self::Context) {
        self.input(Input::Datagram { from, bytes }, ctx);
    }
}

impl Handler<ListSources> for Dht {
    type Result = MessageResult<ListSources>;

    fn handle(&mut self, _: ListSources, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.driver.machine().statuses().into_iter().map(row).collect())
    }
}

impl Handler<ListDht> for Dht {
    type Result = MessageResult<ListDht>;

    fn handle(&mut self, _: ListDht, _: &mut Self::Context) -> Self::Result {
        let machine = self.driver.machine();
        MessageResult(DhtReport { nodes: machine.node_statuses(), dropped: machine.dropped() })
    }
}

impl Handler<Shutdown> for Dht {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.save();
        ctx.stop();
    }
}

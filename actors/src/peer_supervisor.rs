//! One pair of actors per link, on demand and bounded; who is linked, and by which link.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`Dial`] | mesh manager | begins a link |
//! | [`IncomingLink`] | UDP port | a stranger has proven a channel's key |
//! | [`EndLink`] | mesh manager | ends a link |
//! | [`ContactChanged`] | contact book | shows the new name, or ends the links with who is blocked now |
//! | [`SetOwnChannels`], [`SetOwnName`] | mesh manager, console | told on to every session |
//! | [`PeerProven`] | crypto sessions | who the peer of a link is that is not up yet |
//! | [`PeerUp`], [`PeerRefused`], [`SharedChannelsChanged`], [`PeerRenamed`] | crypto sessions | told on to the offices |
//! | [`SubscribeMesh`], [`SubscribeChat`], [`SubscribeInvites`] | later actors | introduce themselves; told of every live link, whose session then sends to them |
//!
//! Owns: the pairs, and the writing half of the [`Directory`].
//! Lost on a crash: every link. The mesh redials.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext, Context, Handler, Message,
    Recipient, WrapFuture as _,
};
use bitchat_protocol::channel::Standing;
use bitchat_protocol::contact::{Refusal, Trust};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::limits::{LINKS_FOR_DIALS, LINKS_MAX, OPENING_LINKS_PER_PEER_MAX};
use bitchat_protocol::mesh::DialFailure;
use bitchat_protocol::quic::{self, CloseCode, CloseReason, Link, LinkId};
use bitchat_protocol::session::PeerInfo;
use bitchat_protocol::wire::Frame;

use crate::channel_book::{JudgePeer, NoteTurndown, TakeMove};
use crate::contact_book::{self, AdmitPeer, ContactChanged};
use crate::crypto_session::{
    self, Blocked, CryptoSession, OwnChannels, SetBlocked, SetChannels, SetName, SetOffices,
};
use crate::directory::{Directory, DirectoryWriter, Route};
use crate::peer_transport::{self, CloseLink, PeerTransport, SendFrames, Streams};
use crate::supervision::{self, Exit, Shutdown, StopHandle};
use crate::udp_port::{
    Abandon, Attach, CarryPackets, Connect, HandleLinkEvents, NoteObserved, SubscribeIncoming,
};
use crate::{clock, entropy};

/// Messages waiting at most, on top of one per sender.
pub const MAILBOX: usize = 256;

/// From telling every peer that we leave to stopping: long enough for the packets to get out.
const GOODBYE: Duration = Duration::from_millis(100);

/// For how long it is not told again that somebody came under the name of the same contact.
const WARNED_FOR: Duration = Duration::from_secs(3600);

/// Names one link of this run; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkKey(pub u64);

/// Begins a link; answered by [`LinkNews::Up`] or [`LinkNews::DialFailed`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Dial {
    /// The caller's name for this attempt.
    pub attempt: u64,
    /// The channel whose key opens the link.
    pub channel: ChannelId,
    /// Where.
    pub address: SocketAddr,
    /// Who must answer, if that is known.
    pub expect: Option<PeerId>,
}

/// A link that a stranger began and whose first packet proved a channel's key.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct IncomingLink(pub Box<Link>);

/// Ends a link.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct EndLink {
    /// Which.
    pub link: LinkKey,
    /// Why, for the peer's program.
    pub code: CloseCode,
}

/// The channels we are in, and what proves each.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SetOwnChannels(pub OwnChannels);

/// Our display name.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SetOwnName(pub Arc<str>);

/// A handshake is done: the peer has proven its key, and nothing else yet.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct PeerProven {
    /// The link.
    pub link: LinkKey,
    /// Who.
    pub peer: PeerId,
}

/// A session has heard the peer's hello and admitted it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PeerUp {
    /// The link.
    pub link: LinkKey,
    /// Who and what it said.
    pub info: PeerInfo,
    /// The name to show.
    pub name: Arc<str>,
    /// Takes frames for it.
    pub frames: Recipient<SendFrames>,
    /// Moves bulk data.
    pub streams: Streams,
}

/// A peer was turned away.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct PeerRefused {
    /// Who.
    pub peer: PeerId,
    /// Why.
    pub refusal: Refusal,
}

/// The channels shared on a link changed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SharedChannelsChanged {
    /// The link.
    pub link: LinkKey,
    /// All of them.
    pub shared: Vec<(ChannelId, Standing)>,
}

/// A peer calls itself otherwise now; the name to show.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct PeerRenamed {
    /// The link.
    pub link: LinkKey,
    /// Escaped and admitted.
    pub name: Arc<str>,
}

/// A link has ended; from its session.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct LinkEnded {
    /// Which.
    pub link: LinkKey,
    /// Why.
    pub reason: CloseReason,
}

/// One of a pair's actors is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PairExited {
    /// The pair's link.
    pub link: LinkKey,
    /// Which of the two.
    pub part: Part,
    /// How.
    pub exit: Exit,
}

/// The two actors of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The crypto session.
    Session,
    /// The peer transport.
    Transport,
}

/// What the mesh manager is told.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum LinkNews {
    /// A link stands and its peer is admitted.
    Up {
        /// The link.
        link: LinkKey,
        /// Who.
        peer: PeerId,
        /// Of the peer's program.
        incarnation: [u8; 8],
        /// The attempt, when we dialled.
        attempt: Option<u64>,
        /// Where the link goes.
        address: SocketAddr,
        /// Shared channels, and as what the peer is in each.
        shared: Vec<(ChannelId, Standing)>,
    },
    /// The shared channels changed.
    SharedChanged {
        /// The link.
        link: LinkKey,
        /// All of them.
        shared: Vec<(ChannelId, Standing)>,
    },
    /// A link that was up has ended.
    Down {
        /// The link.
        link: LinkKey,
        /// Whether the peer said goodbye.
        left: bool,
    },
    /// An attempt came to nothing.
    DialFailed {
        /// Which.
        attempt: u64,
        /// Why.
        why: DialFailure,
    },
    /// A member told whom it is linked with.
    Peers {
        /// Who.
        from: PeerId,
        /// What.
        peers: bitchat_protocol::wire::Peers,
    },
}

/// What the chat desk is told.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum ChatNews {
    /// Messages and receipts.
    Frames {
        /// Who sent them.
        from: PeerId,
        /// In order.
        frames: Vec<Frame>,
    },
    /// What was queued for this peer may be lost: its sending moved to another link.
    Rerouted(PeerId),
    /// A peer is linked, in whatever channels.
    PeerUp(PeerId),
    /// A peer is linked no longer.
    PeerDown(PeerId),
    /// A peer was turned away.
    Refused(PeerRefused),
}

/// What the actor of invitations is told.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum InviteNews {
    /// An invitation, or the answer to one.
    Frame {
        /// Who sent it.
        from: PeerId,
        /// What.
        frame: Box<Frame>,
    },
    /// A peer is linked, or another link carries what is sent to it.
    PeerUp(PeerId),
    /// A peer is linked no longer.
    PeerDown(PeerId),
}

/// The mesh manager introduces itself; it is told of every live link.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeMesh(pub Recipient<LinkNews>);

/// The chat desk introduces itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeChat(pub Recipient<ChatNews>);

/// The actor of invitations introduces itself; it is told of every linked peer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeInvites(pub Recipient<InviteNews>);

/// What a supervisor of peers is told at its birth.
#[derive(Debug, Clone)]
pub struct Config {
    /// Us.
    pub own_peer: PeerId,
    /// Our display name.
    pub own_name: Arc<str>,
    /// Of this run.
    pub incarnation: [u8; 8],
    /// Between two renewals of a link's keys.
    pub renewal_interval: Duration,
}

/// Whom a supervisor of peers talks to.
#[derive(Debug)]
pub struct Offices {
    /// UDP port.
    pub connect: Recipient<Connect>,
    /// UDP port.
    pub attach: Recipient<Attach>,
    /// UDP port.
    pub abandon: Recipient<Abandon>,
    /// UDP port.
    pub endpoint: Recipient<HandleLinkEvents>,
    /// UDP port.
    pub carry: Recipient<CarryPackets>,
    /// UDP port.
    pub observed: Recipient<NoteObserved>,
    /// UDP port.
    pub incoming: Recipient<SubscribeIncoming>,
    /// Contact book.
    pub admit: Recipient<AdmitPeer>,
    /// Contact book.
    pub contacts: Recipient<contact_book::Subscribe>,
    /// Channel book.
    pub judge: Recipient<JudgePeer>,
    /// Channel book.
    pub turned_down: Recipient<NoteTurndown>,
    /// Told that a closed channel goes on as another one.
    pub moves: Recipient<TakeMove>,
}

/// The actor.
pub struct PeerSupervisor {
    config: Config,
    offices: Offices,
    directory: DirectoryWriter,
    channels: OwnChannels,
    blocked: Blocked,
    pairs: HashMap<LinkKey, Pair>,
    /// The contacts under whose names somebody else came lately, and when it was told.
    warned: HashMap<PeerId, Instant>,
    next_link: u64,
    mesh: Option<Recipient<LinkNews>>,
    chat: Option<Recipient<ChatNews>>,
    invites: Option<Recipient<InviteNews>>,
}

struct Pair {
    id: LinkId,
    attempt: Option<u64>,
    address: SocketAddr,
    rtt_micros: Arc<AtomicU64>,
    session: Option<(Addr<CryptoSession>, StopHandle)>,
    transport: Option<(Addr<PeerTransport>, StopHandle)>,
    stage: Stage,
}

enum Stage {
    /// `peer`: as soon as it has proven its key.
    Opening {
        peer: Option<PeerId>,
    },
    Up {
        peer: PeerId,
        incarnation: [u8; 8],
        shared: Vec<(ChannelId, Standing)>,
    },
    Ended,
}

impl std::fmt::Debug for PeerSupervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerSupervisor").field("pairs", &self.pairs.len()).finish_non_exhaustive()
    }
}

impl PeerSupervisor {
    /// Begins with no links: whatever `directory` still names is forgotten.
    #[must_use]
    pub fn new(config: Config, offices: Offices, directory: Directory) -> Self {
        let directory = DirectoryWriter::new(directory);
        directory.clear();
        Self {
            config,
            offices,
            directory,
            channels: OwnChannels::default(),
            blocked: Blocked::default(),
            pairs: HashMap::new(),
            warned: HashMap::new(),
            next_link: 0,
            mesh: None,
            chat: None,
            invites: None,
        }
    }

    fn start_pair(&mut self, link: Box<Link>, attempt: Option<u64>, ctx: &mut Context<Self>) {
        let key = LinkKey(self.next_link);
        self.next_link += 1;
        let (id, address) = (link.id(), link.remote());
        let rtt_micros = Arc::new(AtomicU64::new(0));

        let session =
            CryptoSession::new(self.session_config(key, &link), self.session_offices(ctx));
        let (session, stop_session) =
            supervision::watch(session, "crypto_session", on_exit(key, Part::Session, ctx));
        let offices = peer_transport::Offices {
            carry: self.offices.carry.clone(),
            endpoint: self.offices.endpoint.clone(),
            attach: self.offices.attach.clone(),
            established: session.clone().recipient(),
            frames: session.clone().recipient(),
            closed: session.clone().recipient(),
            ready: session.clone().recipient(),
        };
        let transport = PeerTransport::new(link, offices, Arc::clone(&rtt_micros));
        let (transport, stop_transport) =
            supervision::watch(transport, "peer_transport", on_exit(key, Part::Transport, ctx));
        let pair = Pair {
            id,
            attempt,
            address,
            rtt_micros,
            session: Some((session, stop_session)),
            transport: Some((transport, stop_transport)),
            stage: Stage::Opening { peer: None },
        };
        self.pairs.insert(key, pair);
    }

    fn session_config(&self, key: LinkKey, link: &Link) -> crypto_session::Config {
        crypto_session::Config {
            own_peer: self.config.own_peer,
            own_name: Arc::clone(&self.config.own_name),
            incarnation: self.config.incarnation,
            link: key,
            role: link.role(),
            channel: link.channel(),
            remote: link.remote(),
            channels: Arc::clone(&self.channels),
            blocked: Arc::clone(&self.blocked),
            renewal_interval: self.config.renewal_interval,
        }
    }

    fn session_offices(&self, ctx: &mut Context<Self>) -> crypto_session::Offices {
        let own = ctx.address();
        crypto_session::Offices {
            admit: self.offices.admit.clone(),
            judge: self.offices.judge.clone(),
            turned_down: self.offices.turned_down.clone(),
            proven: own.clone().recipient(),
            moves: self.offices.moves.clone(),
            up: own.clone().recipient(),
            refused: own.clone().recipient(),
            shared: own.clone().recipient(),
            renamed: own.clone().recipient(),
            ended: own.recipient(),
        }
    }

    fn tell_mesh(&self, news: LinkNews) {
        if let Some(mesh) = &self.mesh {
            mesh.do_send(news);
        }
    }

    fn tell_chat(&self, news: ChatNews) {
        if let Some(chat) = &self.chat {
            chat.do_send(news);
        }
    }

    fn tell_invites(&self, news: InviteNews) {
        if let Some(invites) = &self.invites {
            invites.do_send(news);
        }
    }

    fn introduce_offices(&self, link: LinkKey) {
        if let Some(Pair { stage: Stage::Up { .. }, session: Some((session, _)), .. }) =
            self.pairs.get(&link)
        {
            session.do_send(SetOffices {
                mesh: self.mesh.clone(),
                chat: self.chat.clone(),
                invites: self.invites.clone(),
            });
        }
    }

    fn introduce_offices_to_all(&self) {
        self.pairs.keys().for_each(|link| self.introduce_offices(*link));
    }

    fn refuse(&self, link: &Link) {
        self.offices.abandon.do_send(Abandon(link.id()));
    }

    fn close(&self, link: LinkKey, code: CloseCode) {
        if let Some(Pair { transport: Some((transport, _)), .. }) = self.pairs.get(&link) {
            transport.do_send(CloseLink { code, reason: String::new() });
        }
    }

    /// Takes a link out of use; its actors finish by themselves.
    fn end(&mut self, key: LinkKey, reason: &CloseReason) {
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        let attempt = pair.attempt;
        match std::mem::replace(&mut pair.stage, Stage::Ended) {
            Stage::Opening { peer } => {
                if let Some(attempt) = attempt {
                    let why = match peer {
                        _ if reason.is_self() => DialFailure::Ourselves,
                        Some(peer) if self.blocked.contains(&peer) => DialFailure::Blocked,
                        Some(_) | None => DialFailure::Failed,
                    };
                    self.tell_mesh(LinkNews::DialFailed { attempt, why });
                }
            }
            Stage::Up { peer, .. } => {
                let taken_over = self.directory.remove(&peer, key);
                self.tell_mesh(LinkNews::Down { link: key, left: reason.is_goodbye() });
                if taken_over {
                    self.tell_chat(ChatNews::Rerouted(peer));
                    self.tell_invites(InviteNews::PeerUp(peer));
                } else if self.directory_lacks(&peer) {
                    self.tell_chat(ChatNews::PeerDown(peer));
                    self.tell_invites(InviteNews::PeerDown(peer));
                }
            }
            Stage::Ended => {}
        }
    }

    fn directory_lacks(&self, peer: &PeerId) -> bool {
        !self
            .pairs
            .values()
            .any(|pair| matches!(&pair.stage, Stage::Up { peer: linked, .. } if linked == peer))
    }
}

/// A new one: peers close the links of those before it when they see it.
#[must_use]
pub fn incarnation() -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = entropy::seed();
    [a, b, c, d, e, f, g, h]
}

/// Tells the supervisor when one of a pair is gone.
fn on_exit(
    link: LinkKey,
    part: Part,
    ctx: &mut Context<PeerSupervisor>,
) -> impl FnOnce(Exit) + use<> {
    let supervisor = ctx.address().downgrade();
    move |exit| {
        if let Some(supervisor) = supervisor.upgrade() {
            supervisor.do_send(PairExited { link, part, exit });
        }
    }
}

impl Actor for PeerSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.offices.incoming.do_send(SubscribeIncoming(ctx.address().recipient()));
        self.offices.contacts.do_send(contact_book::Subscribe(ctx.address().recipient()));
    }
}

impl Handler<Dial> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, dial: Dial, ctx: &mut Self::Context) {
        let Dial { attempt, channel, address, expect } = dial;
        if self.pairs.len() >= LINKS_MAX {
            self.tell_mesh(LinkNews::DialFailed { attempt, why: DialFailure::Failed });
            return;
        }
        let dial = quic::Dial { channel, address, expect };
        let question = self.offices.connect.send(Connect(dial));
        ctx.spawn(question.into_actor(self).map(move |answer, office, ctx| match answer {
            Ok(Ok(link)) => office.start_pair(link, Some(attempt), ctx),
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "dial refused");
                office.tell_mesh(LinkNews::DialFailed { attempt, why: DialFailure::Failed });
            }
            Err(_) => office.tell_mesh(LinkNews::DialFailed { attempt, why: DialFailure::Failed }),
        }));
    }
}

impl Handler<IncomingLink> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, IncomingLink(link): IncomingLink, ctx: &mut Self::Context) {
        if self.pairs.len() >= LINKS_MAX - LINKS_FOR_DIALS {
            self.refuse(&link);
        } else {
            self.start_pair(link, None, ctx);
        }
    }
}

impl Handler<EndLink> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, EndLink { link, code }: EndLink, _: &mut Self::Context) {
        self.close(link, code);
    }
}

impl Handler<SetOwnChannels> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, SetOwnChannels(channels): SetOwnChannels, _: &mut Self::Context) {
        self.channels = channels;
        for (session, _) in self.pairs.values().filter_map(|pair| pair.session.as_ref()) {
            session.do_send(SetChannels(Arc::clone(&self.channels)));
        }
    }
}

impl Handler<SetOwnName> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, SetOwnName(name): SetOwnName, _: &mut Self::Context) {
        self.config.own_name = name;
        for (session, _) in self.pairs.values().filter_map(|pair| pair.session.as_ref()) {
            session.do_send(SetName(Arc::clone(&self.config.own_name)));
        }
    }
}

impl Handler<PeerProven> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, PeerProven { link, peer }: PeerProven, _: &mut Self::Context) {
        if let Some(Pair { stage: Stage::Opening { peer: proven }, .. }) = self.pairs.get_mut(&link)
        {
            *proven = Some(peer);
        }
        let is_opening =
            |pair: &&Pair| matches!(pair.stage, Stage::Opening { peer: Some(it) } if it == peer);
        if self.pairs.values().filter(is_opening).count() > OPENING_LINKS_PER_PEER_MAX {
            self.close(link, CloseCode::Overloaded);
        }
    }
}

impl Handler<PeerUp> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, up: PeerUp, _: &mut Self::Context) {
        let PeerUp { link, info, name, frames, streams } = up;
        let Some(pair) = self.pairs.get_mut(&link) else { return };
        if !matches!(pair.stage, Stage::Opening { .. }) {
            return;
        }
        if self.blocked.contains(&info.peer) {
            // Its session ends it when it hears of that.
            return;
        }
        let (id, address, attempt) = (pair.id, pair.address, pair.attempt);
        let PeerInfo { peer, incarnation, shared, observed_us_at, .. } = info;
        pair.stage = Stage::Up { peer, incarnation, shared: shared.clone() };
        let rtt_micros = Arc::clone(&pair.rtt_micros);
        self.directory.add(peer, name, Route { link, address, frames, streams, rtt_micros });
        if let Some(observed) = observed_us_at {
            self.offices.observed.do_send(NoteObserved { link: id, by: peer, at: observed });
        }
        self.tell_chat(ChatNews::PeerUp(peer));
        self.tell_invites(InviteNews::PeerUp(peer));
        self.tell_mesh(LinkNews::Up { link, peer, incarnation, attempt, address, shared });
        // The offices know the peer now: from here on its session may send to them.
        self.introduce_offices(link);
    }
}

impl Handler<PeerRefused> for PeerSupervisor {
    type Result = ();

    /// Whoever comes can come again at once, and under ever new keys.
    fn handle(&mut self, refused: PeerRefused, _: &mut Self::Context) {
        let Refusal::KeyConflict { known, .. } = refused.refusal else { return };
        let now = clock::now();
        self.warned.retain(|_, at| now.saturating_duration_since(*at) < WARNED_FOR);
        if let Entry::Vacant(entry) = self.warned.entry(known) {
            entry.insert(now);
            self.tell_chat(ChatNews::Refused(refused));
        }
    }
}

impl Handler<SharedChannelsChanged> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, changed: SharedChannelsChanged, _: &mut Self::Context) {
        let SharedChannelsChanged { link, shared } = changed;
        if let Some(Pair { stage: Stage::Up { shared: known, .. }, .. }) = self.pairs.get_mut(&link)
        {
            known.clone_from(&shared);
            self.tell_mesh(LinkNews::SharedChanged { link, shared });
        }
    }
}

impl Handler<PeerRenamed> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, PeerRenamed { link, name }: PeerRenamed, _: &mut Self::Context) {
        if let Some(Pair { stage: Stage::Up { peer, .. }, .. }) = self.pairs.get(&link) {
            self.directory.rename(peer, name);
        }
    }
}

impl Handler<ContactChanged> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, changed: ContactChanged, _: &mut Self::Context) {
        let ContactChanged { peer, contact } = changed;
        let is_blocked = contact.as_ref().is_some_and(|it| it.trust == Trust::Blocked);
        if is_blocked != self.blocked.contains(&peer) {
            let blocked = Arc::make_mut(&mut self.blocked);
            let _ = if is_blocked { blocked.insert(peer) } else { blocked.remove(&peer) };
            // Whatever its link has come to: it ends where the peer is known.
            for (session, _) in self.pairs.values().filter_map(|pair| pair.session.as_ref()) {
                session.do_send(SetBlocked(Arc::clone(&self.blocked)));
            }
        }
        if let Some(contact) = contact.filter(|_| !is_blocked) {
            self.directory.rename(&peer, contact.name);
        }
    }
}

impl Handler<LinkEnded> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, LinkEnded { link, reason }: LinkEnded, _: &mut Self::Context) {
        self.end(link, &reason);
    }
}

impl Handler<PairExited> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, exited: PairExited, _: &mut Self::Context) {
        let PairExited { link, part, exit } = exited;
        if matches!(exit, Exit::Panicked(_)) {
            tracing::error!(?link, ?part, %exit, "a peer's actor failed; its link is given up");
            // The peer may not have been told: with another incarnation, the next link makes it
            // give up the lost one, which it would else keep as the older of two.
            self.config.incarnation = incarnation();
        }
        self.end(link, &CloseReason::Local(CloseCode::Failed));
        let Some(pair) = self.pairs.get_mut(&link) else { return };
        match part {
            Part::Session => {
                pair.session = None;
                if let Some((transport, _)) = &pair.transport {
                    let code = CloseCode::Failed;
                    transport.do_send(CloseLink { code, reason: String::new() });
                }
            }
            Part::Transport => {
                pair.transport = None;
                // A transport that ended by itself has told the endpoint, which may have given the
                // slot to another link since.
                if matches!(exit, Exit::Panicked(_)) {
                    self.offices.abandon.do_send(Abandon(pair.id));
                }
                if let Some((_, stop)) = &pair.session {
                    stop.stop();
                }
            }
        }
        if pair.session.is_none() && pair.transport.is_none() {
            self.pairs.remove(&link);
        }
    }
}

impl Handler<SubscribeMesh> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, SubscribeMesh(mesh): SubscribeMesh, _: &mut Self::Context) {
        for (link, pair) in &self.pairs {
            if let Stage::Up { peer, incarnation, shared } = &pair.stage {
                mesh.do_send(LinkNews::Up {
                    link: *link,
                    peer: *peer,
                    incarnation: *incarnation,
                    attempt: pair.attempt,
                    address: pair.address,
                    shared: shared.clone(),
                });
            }
        }
        self.mesh = Some(mesh);
        self.introduce_offices_to_all();
    }
}

impl Handler<SubscribeChat> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, SubscribeChat(chat): SubscribeChat, _: &mut Self::Context) {
        for pair in self.pairs.values() {
            if let Stage::Up { peer, .. } = &pair.stage {
                chat.do_send(ChatNews::PeerUp(*peer));
            }
        }
        self.chat = Some(chat);
        self.introduce_offices_to_all();
    }
}

impl Handler<SubscribeInvites> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, SubscribeInvites(invites): SubscribeInvites, _: &mut Self::Context) {
        for pair in self.pairs.values() {
            if let Stage::Up { peer, .. } = &pair.stage {
                invites.do_send(InviteNews::PeerUp(*peer));
            }
        }
        self.invites = Some(invites);
        self.introduce_offices_to_all();
    }
}

impl Handler<Shutdown> for PeerSupervisor {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        for (transport, _) in self.pairs.values().filter_map(|pair| pair.transport.as_ref()) {
            transport.do_send(CloseLink { code: CloseCode::Leaving, reason: String::new() });
        }
        if self.pairs.is_empty() {
            ctx.stop();
        } else {
            ctx.run_later(GOODBYE, |_, ctx| ctx.stop());
        }
    }
}

//! Who the peer of one link is, and which keys: knows no address, survives a change of carrier.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`TransportReady`] | peer transport | how to reach the transport |
//! | [`SessionEstablished`] | peer transport | the handshake is done: the peer has proven its key |
//! | [`FramesReceived`] | peer transport | a batch of frames |
//! | [`LinkClosed`] | peer transport | the link has ended |
//! | [`SetChannels`], [`SetName`], [`SetBlocked`] | peer supervisor | what we are in, what we are called, or whom we want no link with, changed |
//! | [`SetOffices`] | peer supervisor | who takes what the peer says |
//!
//! Owns: the [`Session`] machine (hello, channel proofs, renewal).
//! Lost on a crash: the link, as the pair is never restarted.
//! Spec: `docs/spec/05-session.md`.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext, Context, Handler, Message,
    Recipient, WrapFuture as _, dev::SendError,
};
use bitchat_protocol::channel::Standing;
use bitchat_protocol::contact::Admission;
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::limits::FRAMES_HELD_MAX;
use bitchat_protocol::quic::{CloseCode, CloseReason, Established};
use bitchat_protocol::session::{
    self, Close, Decision, Input, Output, OwnChannel, Role, Session, Turndown,
};
use bitchat_protocol::wire::{Frame, Peers, TicketBytes};
use bytes::Bytes;

use crate::channel_book::{JudgePeer, NoteTurndown, TakeMove};
use crate::contact_book::AdmitPeer;
use crate::driver::{Drive, Driver};
use crate::peer_supervisor::{
    ChatNews, InviteNews, LinkEnded, LinkKey, LinkNews, PeerProven, PeerRefused, PeerRenamed,
    PeerUp, SharedChannelsChanged,
};
use crate::peer_transport::{CloseLink, MixSecret, SendFrames, Streams, UpdateKeys};
use crate::{clock, entropy};

/// Messages waiting at most, on top of one per sender.
pub const MAILBOX: usize = 64;

/// Invitations, and answers to them, held until somebody takes them. What is over is sent again.
const INVITED_HELD_MAX: usize = 16;

/// How to reach the transport of this link.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TransportReady {
    /// Takes frames.
    pub frames: Recipient<SendFrames>,
    /// Takes fresh secrets.
    pub mix: Recipient<MixSecret>,
    /// Moves on to the next keys.
    pub update: Recipient<UpdateKeys>,
    /// Ends the link.
    pub close: Recipient<CloseLink>,
    /// Moves bulk data.
    pub streams: Streams,
}

/// The handshake is done: the peer has proven its key and the channel's.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SessionEstablished {
    /// Who and which keys.
    pub established: Established,
    /// The generation of keys in use.
    pub generation: u64,
}

/// A batch of frames, in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FramesReceived {
    /// The generation of keys in use.
    pub generation: u64,
    /// Their bodies.
    pub frames: Vec<Bytes>,
}

/// The link has ended.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct LinkClosed(pub CloseReason);

/// The channels we are in, and what proves each.
pub type OwnChannels = Arc<Vec<OwnChannel>>;

/// With whom a person wants no link.
pub type Blocked = Arc<BTreeSet<PeerId>>;

/// With whom a person wants no link changed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SetBlocked(pub Blocked);

/// The channels we are in changed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SetChannels(pub OwnChannels);

/// Our display name changed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SetName(pub Arc<str>);

/// Who takes what the peer says, once they know the peer. What one of them cannot take yet is held,
/// bounded by [`FRAMES_HELD_MAX`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SetOffices {
    /// Takes whom the peer is linked with.
    pub mesh: Option<Recipient<LinkNews>>,
    /// Takes messages and receipts.
    pub chat: Option<Recipient<ChatNews>>,
    /// Takes invitations and answers to them.
    pub invites: Option<Recipient<InviteNews>>,
}

/// What a session is told at its birth.
#[derive(Debug, Clone)]
pub struct Config {
    /// Us.
    pub own_peer: PeerId,
    /// Our display name.
    pub own_name: Arc<str>,
    /// Of this run.
    pub incarnation: [u8; 8],
    /// The link.
    pub link: LinkKey,
    /// Who dialled.
    pub role: Role,
    /// The channel whose key opened the link.
    pub channel: ChannelId,
    /// Where the peer is.
    pub remote: SocketAddr,
    /// The channels we are in.
    pub channels: OwnChannels,
    /// With whom a person wants no link.
    pub blocked: Blocked,
    /// Between two renewals of the keys.
    pub renewal_interval: Duration,
}

/// Whom a session talks to; all of them live longer than it.
#[derive(Debug)]
pub struct Offices {
    /// Judges who may be linked with.
    pub admit: Recipient<AdmitPeer>,
    /// Judges who may be in closed channels.
    pub judge: Recipient<JudgePeer>,
    /// Told that the peer does not let us into one.
    pub turned_down: Recipient<NoteTurndown>,
    /// Told who the peer is, before it is judged.
    pub proven: Recipient<PeerProven>,
    /// Told that one goes on as another one.
    pub moves: Recipient<TakeMove>,
    /// Told that the peer is there.
    pub up: Recipient<PeerUp>,
    /// Told that the peer may not be there.
    pub refused: Recipient<PeerRefused>,
    /// Told that the shared channels changed.
    pub shared: Recipient<SharedChannelsChanged>,
    /// Told of the peer's new name.
    pub renamed: Recipient<PeerRenamed>,
    /// Told when the link has ended.
    pub ended: Recipient<LinkEnded>,
}

/// The actor.
pub struct CryptoSession {
    config: Config,
    offices: Offices,
    display_name: Arc<str>,
    transport: Option<TransportReady>,
    outgoing: Vec<Bytes>,
    mesh: Option<Recipient<LinkNews>>,
    chat: Option<Recipient<ChatNews>>,
    invites: Option<Recipient<InviteNews>>,
    /// For the mesh.
    peers: Vec<Peers>,
    /// For the chat.
    said: Vec<Frame>,
    /// For the actor of invitations.
    invited: Vec<Frame>,
    state: State,
}

enum State {
    /// The handshake is not done.
    Handshaking,
    /// The peer has proven who it is.
    Established { peer: PeerId, session: Box<Driver<Session>> },
}

impl std::fmt::Debug for CryptoSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CryptoSession").field("link", &self.config.link).finish_non_exhaustive()
    }
}

impl CryptoSession {
    /// Makes the session of one link.
    #[must_use]
    pub fn new(config: Config, offices: Offices) -> Self {
        let display_name = Arc::from("");
        Self {
            config,
            offices,
            display_name,
            transport: None,
            outgoing: Vec::new(),
            mesh: None,
            chat: None,
            invites: None,
            peers: Vec::new(),
            said: Vec::new(),
            invited: Vec::new(),
            state: State::Handshaking,
        }
    }

    /// Gives the machine an input, then sends and delivers in one message each what came of it.
    fn take(&mut self, input: Input, ctx: &mut Context<Self>) {
        if matches!(self.state, State::Established { .. }) {
            self.input(input, ctx);
            self.flush();
        }
    }

    fn flush(&mut self) {
        let frames = std::mem::take(&mut self.outgoing);
        self.send(frames);
        self.deliver();
    }

    fn send(&self, frames: Vec<Bytes>) {
        if let Some(transport) = &self.transport
            && !frames.is_empty()
        {
            // The session's own frames are few and bounded by its machine.
            transport.frames.do_send(SendFrames(frames));
        }
    }

    /// Hands on what the peer said. An office that is being started again gets it afterwards; one
    /// that cannot keep up costs the link, so that the peer sends it again over the next.
    fn deliver(&mut self) {
        let State::Established { peer, .. } = self.state else { return };
        self.deliver_invited(peer);
        let kept_up = self.deliver_said(peer) & self.deliver_peers(peer);
        if !kept_up || self.peers.len() + self.said.len() > FRAMES_HELD_MAX {
            self.close(CloseCode::Overloaded, "too much at once".to_owned());
        }
    }

    fn deliver_said(&mut self, from: PeerId) -> bool {
        let Some(chat) = &self.chat else { return true };
        if self.said.is_empty() {
            return true;
        }
        let frames = std::mem::take(&mut self.said);
        match chat.try_send(ChatNews::Frames { from, frames }) {
            Err(SendError::Closed(ChatNews::Frames { frames, .. })) => {
                (self.chat, self.said) = (None, frames);
                true
            }
            sent => sent.is_ok(),
        }
    }

    fn deliver_peers(&mut self, from: PeerId) -> bool {
        let Some(mesh) = &self.mesh else { return true };
        let mut waiting = std::mem::take(&mut self.peers).into_iter();
        while let Some(peers) = waiting.next() {
            match mesh.try_send(LinkNews::Peers { from, peers }) {
                Ok(()) => {}
                Err(SendError::Closed(LinkNews::Peers { peers, .. })) => {
                    self.mesh = None;
                    self.peers = std::iter::once(peers).chain(waiting).collect();
                    return true;
                }
                Err(_full) => return false,
            }
        }
        true
    }

    /// What finds no room is dropped: who sent it sends it again.
    fn deliver_invited(&mut self, from: PeerId) {
        let Some(invites) = &self.invites else { return };
        let mut waiting = std::mem::take(&mut self.invited).into_iter();
        while let Some(frame) = waiting.next() {
            let frame = Box::new(frame);
            if let Err(SendError::Closed(InviteNews::Frame { frame, .. })) =
                invites.try_send(InviteNews::Frame { from, frame })
            {
                self.invites = None;
                self.invited = std::iter::once(*frame).chain(waiting).collect();
                return;
            }
        }
    }

    fn close(&self, code: CloseCode, reason: String) {
        if let Some(transport) = &self.transport {
            transport.close.do_send(CloseLink { code, reason });
        }
    }

    fn report_up(&self, info: session::PeerInfo) {
        let Some(transport) = &self.transport else { return };
        self.offices.up.do_send(PeerUp {
            link: self.config.link,
            info,
            name: Arc::clone(&self.display_name),
            frames: transport.frames.clone(),
            streams: transport.streams.clone(),
        });
    }

    fn ask_contact_book(&self, peer: PeerId, name: String, ctx: &mut Context<Self>) {
        let question = self.offices.admit.send(AdmitPeer { peer, name });
        ctx.spawn(question.into_actor(self).map(move |answer, session, ctx| {
            // A contact book that is restarting knows nobody: better no link than a wrong one.
            let decision = match answer {
                Ok(Admission::Accept { name }) => {
                    session.display_name = name;
                    Decision::Accept
                }
                Ok(Admission::Refuse(refusal)) => {
                    session.offices.refused.do_send(PeerRefused { peer, refusal });
                    Decision::Refuse
                }
                Err(_) => Decision::Refuse,
            };
            session.take(Input::ContactDecision(decision), ctx);
        }));
    }

    fn ask_admission(
        &mut self,
        (channel, question): (ChannelId, u64),
        standing: Standing,
        tickets: Vec<TicketBytes>,
        ctx: &mut Context<Self>,
    ) {
        let State::Established { peer, .. } = self.state else { return };
        let asked = self.offices.judge.send(JudgePeer { channel, peer, standing, tickets });
        ctx.spawn(asked.into_actor(self).map(move |verdict, session, ctx| {
            // With the channel book, this link ends as well.
            if let Ok(verdict) = verdict {
                session.take(Input::Admission { channel, question, verdict }, ctx);
            }
        }));
    }

    fn note_turndown(&self, channel: ChannelId, why: Option<Turndown>) {
        let State::Established { peer, .. } = self.state else { return };
        let name = Arc::clone(&self.display_name);
        // The machine counts what peers change about doors.
        self.offices.turned_down.do_send(NoteTurndown { channel, by: peer, name, why });
    }

    /// A peer that takes the name of somebody else is judged like a new one.
    fn ask_about_rename(&self, name: String, ctx: &mut Context<Self>) {
        let State::Established { peer, .. } = self.state else { return };
        let link = self.config.link;
        let question = self.offices.admit.send(AdmitPeer { peer, name });
        ctx.spawn(question.into_actor(self).map(move |answer, session, ctx| {
            let decision = match answer {
                Ok(Admission::Accept { name }) => {
                    session.offices.renamed.do_send(PeerRenamed { link, name });
                    Decision::Accept
                }
                Ok(Admission::Refuse(refusal)) => {
                    session.offices.refused.do_send(PeerRefused { peer, refusal });
                    Decision::Refuse
                }
                // With the contact book, this link ends as well.
                Err(_) => Decision::Accept,
            };
            session.take(Input::RenameDecision(decision), ctx);
        }));
    }
}

const fn close_code(why: Close) -> CloseCode {
    match why {
        Close::SelfDial => CloseCode::SelfDial,
        Close::HelloTimeout => CloseCode::Timeout,
        Close::Violation => CloseCode::Violation,
        Close::Refused | Close::NotLetIn => CloseCode::Refused,
        Close::ChannelLeft => CloseCode::Leaving,
        Close::Overloaded => CloseCode::Overloaded,
        Close::RenewalFailed => CloseCode::Renewal,
    }
}

impl Drive for CryptoSession {
    type Machine = Session;

    fn driver(&mut self) -> &mut Driver<Session> {
        match &mut self.state {
            State::Established { session, .. } => session,
            State::Handshaking => unreachable!("inputs are given after the handshake only"),
        }
    }

    fn perform(&mut self, output: Output, ctx: &mut Context<Self>) {
        let link = self.config.link;
        match output {
            Output::SendFrame(body) => {
                if self.outgoing.is_empty() {
                    // Also flushes what a timer made.
                    ctx.notify(Flush);
                }
                self.outgoing.push(Bytes::from(body));
            }
            Output::Deliver(Frame::Peers(peers)) => self.peers.push(peers),
            Output::Deliver(frame @ (Frame::Invite(_) | Frame::InviteAnswer(_))) => {
                if self.invited.len() < INVITED_HELD_MAX {
                    self.invited.push(frame);
                }
            }
            Output::Deliver(frame) => self.said.push(frame),
            Output::AskContactBook { peer, name } => self.ask_contact_book(peer, name, ctx),
            Output::Up(info) => self.report_up(info),
            Output::AskAdmission { channel, question, standing, tickets } => {
                self.ask_admission((channel, question), standing, tickets, ctx);
            }
            Output::TurnedDown { channel, why } => self.note_turndown(channel, Some(why)),
            Output::LetIn(channel) => self.note_turndown(channel, None),
            Output::Moved { channel, moved, key } => {
                let State::Established { peer: by, .. } = self.state else { return };
                // The machine counts them.
                self.offices.moves.do_send(TakeMove { channel, by, moved, key });
            }
            Output::SharedChanged(shared) => {
                self.offices.shared.do_send(SharedChannelsChanged { link, shared });
            }
            Output::Renamed(name) => self.ask_about_rename(name, ctx),
            Output::Mix { generation, secret } => {
                if let Some(transport) = &self.transport {
                    transport.mix.do_send(MixSecret { generation, secret });
                }
            }
            Output::AskEntropy => {
                self.input(Input::Entropy(Secret::new(entropy::seed())), ctx);
            }
            Output::ForceKeyUpdate => {
                if let Some(transport) = &self.transport {
                    transport.update.do_send(UpdateKeys);
                }
            }
            Output::Close(why) => {
                self.flush();
                self.close(close_code(why), why.to_string());
            }
        }
    }
}

/// Sends what the machine wanted sent outside of a batch of inputs.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct Flush;

impl Handler<Flush> for CryptoSession {
    type Result = ();

    fn handle(&mut self, _: Flush, _: &mut Self::Context) {
        self.flush();
    }
}

impl Actor for CryptoSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<TransportReady> for CryptoSession {
    type Result = ();

    fn handle(&mut self, ready: TransportReady, _: &mut Self::Context) {
        self.transport = Some(ready);
    }
}

impl Handler<SessionEstablished> for CryptoSession {
    type Result = ();

    fn handle(&mut self, message: SessionEstablished, ctx: &mut Self::Context) {
        let SessionEstablished { established, generation } = message;
        let config = session::Config {
            own_peer: self.config.own_peer,
            name: self.config.own_name.to_string(),
            incarnation: self.config.incarnation,
            role: self.config.role,
            channel: self.config.channel,
            handshake_hash: established.handshake_hash,
            peer: established.peer,
            is_blocked: self.config.blocked.contains(&established.peer),
            channels: self.config.channels.to_vec(),
            observed: self.config.remote,
            renewal_interval: self.config.renewal_interval,
        };
        let machine =
            Session::new(clock::now(), config, generation, Rng::from_seed(entropy::seed()));
        let session = Box::new(Driver::new(machine));
        self.state = State::Established { peer: established.peer, session };
        let proven = PeerProven { link: self.config.link, peer: established.peer };
        self.offices.proven.do_send(proven);
        self.settle(ctx);
        self.flush();
    }
}

impl Handler<FramesReceived> for CryptoSession {
    type Result = ();

    fn handle(&mut self, message: FramesReceived, ctx: &mut Self::Context) {
        let FramesReceived { generation, frames } = message;
        for body in frames {
            self.input(Input::FrameReceived { generation, body }, ctx);
        }
        self.flush();
    }
}

impl Handler<LinkClosed> for CryptoSession {
    type Result = ();

    fn handle(&mut self, LinkClosed(reason): LinkClosed, ctx: &mut Self::Context) {
        self.offices.ended.do_send(LinkEnded { link: self.config.link, reason });
        ctx.stop();
    }
}

impl Handler<SetChannels> for CryptoSession {
    type Result = ();

    fn handle(&mut self, SetChannels(channels): SetChannels, ctx: &mut Self::Context) {
        self.config.channels = Arc::clone(&channels);
        self.take(Input::ChannelsChanged(channels.to_vec()), ctx);
    }
}

impl Handler<SetBlocked> for CryptoSession {
    type Result = ();

    fn handle(&mut self, SetBlocked(blocked): SetBlocked, ctx: &mut Self::Context) {
        self.config.blocked = blocked;
        if let State::Established { peer, .. } = self.state
            && self.config.blocked.contains(&peer)
        {
            self.take(Input::PeerBlocked, ctx);
        }
    }
}

impl Handler<SetOffices> for CryptoSession {
    type Result = ();

    fn handle(&mut self, offices: SetOffices, _: &mut Self::Context) {
        let SetOffices { mesh, chat, invites } = offices;
        (self.mesh, self.chat, self.invites) = (mesh, chat, invites);
        self.deliver();
    }
}

impl Handler<SetName> for CryptoSession {
    type Result = ();

    fn handle(&mut self, SetName(name): SetName, ctx: &mut Self::Context) {
        self.config.own_name = Arc::clone(&name);
        self.take(Input::Renamed(name.to_string()), ctx);
    }
}

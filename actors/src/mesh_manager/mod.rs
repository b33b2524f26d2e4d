//! Whom we want to be linked with, and how well that goes.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`ChannelEvent`] | channel book | a channel is open, or no longer |
//! | [`LinkNews`] | peer supervisor | links, and what members say of theirs |
//! | [`PeersDiscovered`] | discoverers | where members may be |
//! | [`OwnAddressesChanged`] | UDP port | where we are ourselves |
//! | [`ContactChanged`] | contact book | who is blocked |
//! | [`ListMembers`] | console | the members of a channel and each one's view of the mesh |
//! | [`SubscribeMembers`], [`discovery::Subscribe`] | later actors | introduce themselves; told what stands |
//! | [`Shutdown`] | supervisor | has the last changes saved, then stops |
//!
//! Owns: the [`Mesh`] machine, and what each discoverer was told to look for.
//! Lost on a crash: candidates and back-offs; links stay, and are told again by the peer supervisor.
//! Spec: `docs/spec/06-mesh.md`.

mod discoverers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message,
    MessageResult, Recipient, SpawnHandle, WrapFuture as _,
};
use bitchat_protocol::channel::Standing;
use bitchat_protocol::contact::Trust;
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::mesh::{self, CloseReason, DownReason, Event, Input, Mesh, Output};
use bitchat_protocol::quic::CloseCode;
use bitchat_protocol::wire::{self, Frame};
use bytes::Bytes;

use crate::channel_book::{self, ChannelEvent, OpenedChannel, SaveLastKnown};
use crate::contact_book::{self, ContactChanged};
use crate::crypto_session::OwnChannels;
use crate::directory::Directory;
use crate::discovery::{self, PeersDiscovered};
use crate::driver::{Drive, Driver};
use crate::peer_supervisor::{Dial, EndLink, LinkKey, LinkNews, SetOwnChannels, SubscribeMesh};
use crate::supervision::Shutdown;
use crate::udp_port::{
    AddChannel, FindLocalPort, OwnAddressesChanged, RemoveChannel, SubscribeOwnAddresses,
};
use crate::{clock, entropy};

use discoverers::{Channels, Discoverers};

pub use bitchat_protocol::mesh::Completeness;

/// Messages waiting at most, on top of one per sender.
pub const MAILBOX: usize = 256;

/// Between a change of the members and saving where they are: several come together.
const SAVE_DELAY: Duration = Duration::from_secs(5);

/// The longest wait before the announced infohashes are looked at again: a clock that was set is
/// noticed so late.
const EPOCH_CHECK_MAX: Duration = Duration::from_secs(600);

/// One member of a channel, or a seeder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub peer: PeerId,
    /// The display name to show.
    pub name: Arc<str>,
    /// Whether it is linked with us; else it is known from others.
    pub linked: bool,
    /// What it has proven to be; of one that is not linked nobody can say.
    pub standing: Option<Standing>,
    /// Where the link goes, or where others say that it is.
    pub address: Option<SocketAddr>,
    /// Smoothed round-trip time of the link.
    pub rtt: Option<Duration>,
    /// Members that it says it is linked with.
    pub connected_with: Vec<PeerId>,
    /// Members of the channel that it does not name.
    pub not_connected_with: Vec<PeerId>,
    /// Its view in a word.
    pub mesh: Completeness,
}

/// Lists the members of a channel: those linked with us, and those known from others.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Members")]
pub struct ListMembers {
    /// The channel.
    pub channel: ChannelId,
}

/// The answer to [`ListMembers`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Our own view.
    pub mesh: Completeness,
    /// The others, seeders as well.
    pub members: Vec<Member>,
}

impl Member {
    /// Whether it keeps the channel and cannot read.
    #[must_use]
    pub fn is_seeder(&self) -> bool {
        self.standing == Some(Standing::Seeder)
    }
}

/// A member of a channel, or a seeder, came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum MemberNews {
    /// It is linked now.
    Up {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As what.
        standing: Standing,
    },
    /// It is linked no longer.
    Down {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As what it was.
        standing: Standing,
    },
    /// We are in the channel no longer.
    Closed(ChannelId),
}

/// The chat desk introduces itself; it is told of every member that is linked.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeMembers(pub Recipient<MemberNews>);

/// Whom a mesh manager talks to; all are started before it.
#[derive(Debug)]
pub struct Offices {
    /// Contact book: who is blocked.
    pub contacts: Recipient<contact_book::Subscribe>,
    /// Channel book: what is open.
    pub channels: Recipient<channel_book::Subscribe>,
    /// Channel book: keeps where members were.
    pub last_known: Recipient<SaveLastKnown>,
    /// UDP port: opens the gate.
    pub add: Recipient<AddChannel>,
    /// UDP port: shuts it.
    pub remove: Recipient<RemoveChannel>,
    /// UDP port: which one it is.
    pub port: Recipient<FindLocalPort>,
    /// UDP port: where we are ourselves.
    pub own: Recipient<SubscribeOwnAddresses>,
    /// Peer supervisor: begins links.
    pub dial: Recipient<Dial>,
    /// Peer supervisor: ends them.
    pub end: Recipient<EndLink>,
    /// Peer supervisor: proves channels.
    pub own_channels: Recipient<SetOwnChannels>,
    /// Peer supervisor: tells of links.
    pub links: Recipient<SubscribeMesh>,
}

/// The actor.
pub struct MeshManager {
    own_peer: PeerId,
    driver: Driver<Mesh>,
    offices: Offices,
    directory: Directory,
    channels: Channels,
    /// What the sessions prove.
    proven: OwnChannels,
    port: Option<u16>,
    discoverers: Discoverers,
    members: BTreeMap<(ChannelId, PeerId), Standing>,
    chat: Option<Recipient<MemberNews>>,
    to_save: BTreeSet<ChannelId>,
    /// When the announced infohashes are looked at again.
    epoch_check: SpawnHandle,
    /// Added to the machine's number of a dial, as each machine counts from 1: an answer to the
    /// dial of a mesh manager before this one is nobody's.
    dials_from: u64,
}

impl std::fmt::Debug for MeshManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshManager")
            .field("channels", &self.channels.len())
            .finish_non_exhaustive()
    }
}

impl MeshManager {
    /// Begins in no channel.
    #[must_use]
    pub fn new(config: mesh::Config, offices: Offices, directory: Directory) -> Self {
        let mut rng = Rng::from_seed(entropy::seed());
        let dials_from = u64::from_le_bytes(rng.array());
        let own_peer = config.own_peer;
        let machine = Mesh::new(clock::now(), config, rng);
        Self {
            own_peer,
            driver: Driver::new(machine),
            offices,
            directory,
            channels: Channels::new(),
            proven: OwnChannels::default(),
            port: None,
            discoverers: Discoverers::default(),
            members: BTreeMap::new(),
            chat: None,
            to_save: BTreeSet::new(),
            epoch_check: SpawnHandle::default(),
            dials_from,
        }
    }

    fn open(&mut self, channel: Arc<OpenedChannel>, ctx: &mut Context<Self>) {
        let id = channel.keys.id();
        self.offices.add.do_send(AddChannel { id, gate: channel.keys.gate().clone() });
        let last_known = channel.last_known.clone();
        self.channels.insert(id, channel);
        self.prove_channels();
        self.input(Input::JoinChannel { channel: id, last_known }, ctx);
        self.announce();
        self.check_epochs_later(ctx);
    }

    fn close(&mut self, id: ChannelId, ctx: &mut Context<Self>) {
        self.channels.remove(&id);
        self.offices.remove.do_send(RemoveChannel(id));
        self.prove_channels();
        self.input(Input::LeaveChannel(id), ctx);
        self.discoverers.close(id);
        // The machine tells nothing of a channel that it has left.
        self.members.retain(|(channel, _), _| *channel != id);
        self.tell_chat(MemberNews::Closed(id));
    }

    fn change(&mut self, channel: Arc<OpenedChannel>) {
        if let Some(known) = self.channels.get_mut(&channel.keys.id()) {
            *known = channel;
            self.prove_channels();
        }
    }

    fn prove_channels(&mut self) {
        let own: Vec<_> = self.channels.values().map(|channel| channel.own()).collect();
        // Every session is told.
        if *self.proven != own {
            self.proven = Arc::new(own);
            self.offices.own_channels.do_send(SetOwnChannels(Arc::clone(&self.proven)));
        }
    }

    /// Has looked for what is to be looked for now, and no longer for the rest.
    fn announce(&mut self) {
        if let Some(port) = self.port {
            self.discoverers.tell(&self.channels, &self.own_peer, port, clock::unix());
        }
    }

    /// Looks again at the next change, of a channel that was opened just now, too.
    fn check_epochs_later(&mut self, ctx: &mut Context<Self>) {
        let now = clock::unix();
        let change = |channel: &Arc<OpenedChannel>| {
            channel.rotation.next_change(now, channel.keys.overlap_margin(&self.own_peer))
        };
        let change = self.channels.values().filter_map(change).min();
        let wait = change.unwrap_or(EPOCH_CHECK_MAX).min(EPOCH_CHECK_MAX);
        let check = ctx.run_later(wait.max(Duration::from_secs(1)), |mesh, ctx| {
            mesh.announce();
            mesh.check_epochs_later(ctx);
        });
        ctx.cancel_future(std::mem::replace(&mut self.epoch_check, check));
    }

    fn save_later(&mut self, channel: ChannelId, ctx: &mut Context<Self>) {
        if self.to_save.is_empty() {
            ctx.run_later(SAVE_DELAY, |mesh, _| mesh.save());
        }
        self.to_save.insert(channel);
    }

    fn save(&mut self) {
        for id in std::mem::take(&mut self.to_save) {
            let addresses = self.driver.machine().known_addresses(&id);
            if !addresses.is_empty() {
                self.offices.last_known.do_send(SaveLastKnown { id, addresses });
            }
        }
    }

    fn tell_chat(&self, news: MemberNews) {
        if let Some(chat) = &self.chat {
            chat.do_send(news);
        }
    }

    fn on_event(&mut self, event: Event, ctx: &mut Context<Self>) {
        match event {
            Event::MemberUp { channel, peer, standing } => {
                self.members.insert((channel, peer), standing);
                self.tell_chat(MemberNews::Up { channel, peer, standing });
                self.save_later(channel, ctx);
            }
            Event::MemberDown { channel, peer, standing } => {
                self.members.remove(&(channel, peer));
                self.tell_chat(MemberNews::Down { channel, peer, standing });
            }
            Event::View { channel, mine } => {
                tracing::debug!(channel = %channel.short(), ?mine, "mesh");
                self.discoverers.tell_view(channel, mine);
            }
        }
    }
}

impl Drive for MeshManager {
    type Machine = Mesh;

    fn driver(&mut self) -> &mut Driver<Mesh> {
        &mut self.driver
    }

    fn perform(&mut self, output: Output, ctx: &mut Context<Self>) {
        match output {
            Output::Dial { attempt, channel, address, expect } => {
                let attempt = attempt.wrapping_add(self.dials_from);
                self.offices.dial.do_send(Dial { attempt, channel, address, expect });
            }
            Output::CloseLink { link, reason } => {
                let code = match reason {
                    CloseReason::Duplicate | CloseReason::Superseded => CloseCode::Duplicate,
                    CloseReason::Left => CloseCode::Leaving,
                    CloseReason::TooMany => CloseCode::Overloaded,
                    CloseReason::Blocked => CloseCode::Refused,
                };
                self.offices.end.do_send(EndLink { link: LinkKey(link), code });
            }
            Output::SendPeers { peer, frame } => {
                let body = Bytes::from(wire::encode(&Frame::Peers(frame)));
                // A peer that cannot be sent to now is about to be told as down.
                let _ = self.directory.send(&peer, vec![body]);
            }
            Output::Event(event) => self.on_event(event, ctx),
        }
    }
}

impl Actor for MeshManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let own = ctx.address();
        // Before anybody is dialled.
        self.offices.contacts.do_send(contact_book::Subscribe(own.clone().recipient()));
        // Answered before the port, and so known before the first channel.
        self.offices.own.do_send(SubscribeOwnAddresses(own.clone().recipient()));
        let port = self.offices.port.send(FindLocalPort);
        let channels = self.offices.channels.send(channel_book::Subscribe(own.clone().recipient()));
        let begin = async move {
            let port = port.await.ok();
            // A restarting book fails this one too.
            let _ = channels.await;
            port
        };
        ctx.wait(begin.into_actor(self).map(move |port, mesh, _| {
            mesh.port = port;
            // After the channels: a link that shares none of them would be closed.
            mesh.offices.links.do_send(SubscribeMesh(own.recipient()));
        }));
        self.check_epochs_later(ctx);
    }
}

impl Handler<ChannelEvent> for MeshManager {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, ctx: &mut Self::Context) {
        match event {
            ChannelEvent::Opened(channel) => self.open(channel, ctx),
            ChannelEvent::Changed(channel) => self.change(channel),
            ChannelEvent::NotLetIn { .. }
            | ChannelEvent::Moved { .. }
            | ChannelEvent::Trouble { .. } => {}
            ChannelEvent::Closed(id) => self.close(id, ctx),
        }
    }
}

impl Handler<LinkNews> for MeshManager {
    type Result = ();

    fn handle(&mut self, news: LinkNews, ctx: &mut Self::Context) {
        let number = |attempt: u64| attempt.wrapping_sub(self.dials_from);
        let input = match news {
            LinkNews::Up { link, peer, incarnation, attempt, address, shared } => Input::LinkUp {
                link: link.0,
                peer,
                incarnation,
                attempt: attempt.map(number),
                address,
                channels: shared,
            },
            LinkNews::SharedChanged { link, shared } => {
                Input::SharedChanged { link: link.0, channels: shared }
            }
            LinkNews::Down { link, left } => Input::LinkDown {
                link: link.0,
                reason: if left { DownReason::Expected } else { DownReason::Lost },
            },
            LinkNews::DialFailed { attempt, why } => {
                Input::DialFailed { attempt: number(attempt), why }
            }
            LinkNews::Peers { from, peers } => Input::PeersReceived { from, frame: peers },
        };
        self.input(input, ctx);
    }
}

impl Handler<ContactChanged> for MeshManager {
    type Result = ();

    fn handle(&mut self, changed: ContactChanged, ctx: &mut Self::Context) {
        let ContactChanged { peer, contact } = changed;
        let is_blocked = contact.is_some_and(|contact| contact.trust == Trust::Blocked);
        if is_blocked != self.driver.machine().is_blocked(&peer) {
            let input = if is_blocked { Input::PeerBlocked } else { Input::PeerUnblocked };
            self.input(input(peer), ctx);
        }
    }
}

impl Handler<OwnAddressesChanged> for MeshManager {
    type Result = ();

    fn handle(&mut self, OwnAddressesChanged(own): OwnAddressesChanged, ctx: &mut Self::Context) {
        self.input(Input::OwnAddresses(own), ctx);
    }
}

impl Handler<PeersDiscovered> for MeshManager {
    type Result = ();

    fn handle(&mut self, found: PeersDiscovered, ctx: &mut Self::Context) {
        let PeersDiscovered { channel, peers, source } = found;
        self.input(Input::AddressesFound { channel, addresses: peers, source }, ctx);
    }
}

impl Handler<ListMembers> for MeshManager {
    type Result = MessageResult<ListMembers>;

    fn handle(
        &mut self,
        ListMembers { channel }: ListMembers,
        _: &mut Self::Context,
    ) -> Self::Result {
        let machine = self.driver.machine();
        let can_tell = self.channels.get(&channel).is_some_and(|it| it.keys.is_member());
        let members = machine.members(&channel).into_iter().map(|member| Member {
            peer: member.peer,
            name: self
                .directory
                .name(&member.peer)
                .unwrap_or_else(|| Arc::from(member.peer.short())),
            linked: member.linked,
            // To who holds a seed-only file, everybody proves as much as a seeder.
            standing: member.standing.filter(|_| can_tell),
            address: member.address,
            rtt: self.directory.rtt(&member.peer),
            connected_with: member.connected_with,
            not_connected_with: member.not_connected_with,
            mesh: member.mesh,
        });
        MessageResult(Members { mesh: machine.view(&channel), members: members.collect() })
    }
}

impl Handler<SubscribeMembers> for MeshManager {
    type Result = ();

    fn handle(&mut self, SubscribeMembers(chat): SubscribeMembers, _: &mut Self::Context) {
        for ((channel, peer), standing) in &self.members {
            let (channel, peer, standing) = (*channel, *peer, *standing);
            chat.do_send(MemberNews::Up { channel, peer, standing });
        }
        self.chat = Some(chat);
    }
}

impl Handler<discovery::Subscribe> for MeshManager {
    type Result = ();

    fn handle(&mut self, discoverer: discovery::Subscribe, _: &mut Self::Context) {
        self.discoverers.add(discoverer);
        self.announce();
        let views: Vec<_> =
            self.channels.keys().map(|id| (*id, self.driver.machine().view(id))).collect();
        let views = views.into_iter().filter(|(_, view)| *view != Completeness::None);
        views.for_each(|(id, view)| self.discoverers.tell_view(id, view));
    }
}

impl Handler<Shutdown> for MeshManager {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.save();
        ctx.stop();
    }
}

//! What people say: takes messages in, gives them out, keeps the receipts.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`Say`] | console | says a text in a channel |
//! | [`Tell`] | console | says a text to one peer alone |
//! | [`CountUndelivered`] | console | how many messages nobody has yet |
//! | [`Subscribe`] | console | asks for every [`Notice`] from now on, and those that wait for a listener |
//! | [`ChatNews`] | peer supervisor | what peers say, and who is there |
//! | [`MemberNews`] | mesh manager | who is there in which channel |
//! | [`ChannelEvent`] | channel book | which channels are open |
//!
//! Owns: the [`Chat`] machine. Lost on a crash: what nobody has taken yet, and which messages were
//! heard (a repetition would be shown twice).
//! Spec: `docs/spec/07-chat.md`.

mod listeners;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Actor, AsyncContext as _, Context, Handler, Message, MessageResult, Recipient};
use bitchat_protocol::channel::Standing;
use bitchat_protocol::chat::{self, Audience, Chat, Input, Output};
use bitchat_protocol::contact::Refusal;
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use bitchat_protocol::wire;
use bytes::Bytes;

use crate::channel_book::{self, ChannelEvent, refusal_words};
use crate::directory::Directory;
use crate::driver::{Drive, Driver};
use crate::mesh_manager::{MemberNews, SubscribeMembers};
use crate::peer_supervisor::{ChatNews, PeerRefused, SubscribeChat};
use crate::{clock, entropy};

use listeners::Listeners;

/// Messages waiting at most, on top of one per sender.
pub const MAILBOX: usize = 256;

/// Names of peers remembered after their link has ended.
const NAMES_MAX: usize = 1024;

/// Says `text` in `channel`; answered with the message's id once it is held for delivery.
#[derive(Debug, Message)]
#[rtype(result = "Result<MessageId, SayError>")]
pub struct Say {
    /// The channel, open on this node.
    pub channel: ChannelId,
    /// 1 to [`bitchat_protocol::limits::MESSAGE_BYTES_MAX`] bytes.
    pub text: String,
    /// The sender's own id for it (an idempotency key): a second `Say` with one id is not said twice.
    pub id: Option<MessageId>,
}

/// Says `text` to `peer` alone, over the link with that peer.
#[derive(Debug, Message)]
#[rtype(result = "Result<MessageId, SayError>")]
pub struct Tell {
    /// To whom.
    pub peer: PeerId,
    /// As in [`Say`].
    pub text: String,
    /// As in [`Say`].
    pub id: Option<MessageId>,
}

/// Counts the messages said here that no peer has acknowledged yet.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "usize")]
pub struct CountUndelivered;

/// Asks for every [`Notice`] from now on, and for those that waited, bounded, for a listener.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<Notice>);

/// Why a text was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// The text, or who is to hear it, is not fit.
    #[error(transparent)]
    Refused(#[from] chat::SayError),
    /// The channel is not open on this node.
    #[error("this channel is not open here")]
    NoSuchChannel,
    /// We hold a seed-only file of the channel.
    #[error("this node is a seeder in this channel: it can neither read nor speak there")]
    SeedOnly,
}

/// What the console tells a person.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Notice {
    /// Somebody said something.
    Heard {
        /// Where; `None`: to us alone.
        channel: Option<ChannelId>,
        /// Who.
        from: PeerId,
        /// The display name to show: the contact book's, else the peer's own, else a short id.
        name: Arc<str>,
        /// The message.
        id: MessageId,
        /// The author's clock, milliseconds since 1970.
        unix_ms: u64,
        /// The text as it was sent, not escaped.
        text: String,
    },
    /// A message of ours has arrived at a member.
    Delivered {
        /// The message.
        id: MessageId,
        /// Where it was said; `None`: to that peer alone.
        channel: Option<ChannelId>,
        /// Who has it.
        by: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// A member of a channel is linked now.
    MemberUp {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// A member of a channel is linked no longer.
    MemberDown {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// A blind seeder of a channel is linked now: it keeps and introduces, and reads nothing.
    SeederUp {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// A seeder of a channel is linked no longer.
    SeederDown {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
        /// As in [`Notice::Heard`].
        name: Arc<str>,
    },
    /// Something that the person must see; never dropped silently. Already in words.
    Warning {
        /// What and what to do.
        text: String,
        /// Exit code that a one-shot run should end with if nothing else happened: 4 for a key conflict.
        code: Option<u8>,
    },
}

/// Whom a chat desk talks to; all are started before it.
#[derive(Debug)]
pub struct Offices {
    /// Peer supervisor.
    pub peers: Recipient<SubscribeChat>,
    /// Mesh manager.
    pub members: Recipient<SubscribeMembers>,
    /// Channel book.
    pub channels: Recipient<channel_book::Subscribe>,
}

/// The actor.
pub struct ChatDesk {
    driver: Driver<Chat>,
    offices: Offices,
    directory: Directory,
    /// Whether we can read and speak in each.
    open: BTreeMap<ChannelId, bool>,
    names: BTreeMap<PeerId, Arc<str>>,
    listeners: Listeners,
    /// Frames of this round, to be sent in one message for each peer.
    outgoing: BTreeMap<PeerId, Vec<Bytes>>,
}

impl std::fmt::Debug for ChatDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatDesk").field("open", &self.open).finish_non_exhaustive()
    }
}

impl ChatDesk {
    /// Begins with nothing said. Where it `is_heard`, what happens before somebody subscribes is
    /// kept until then, bounded.
    #[must_use]
    pub fn new(offices: Offices, directory: Directory, is_heard: bool) -> Self {
        Self {
            driver: Driver::new(Chat::new(Rng::from_seed(entropy::seed()))),
            offices,
            directory,
            open: BTreeMap::new(),
            names: BTreeMap::new(),
            listeners: Listeners::new(is_heard),
            outgoing: BTreeMap::new(),
        }
    }

    fn say(
        &mut self,
        audience: Audience,
        id: Option<MessageId>,
        text: String,
        ctx: &mut Context<Self>,
    ) -> Result<MessageId, SayError> {
        let unix_ms = u64::try_from(clock::unix().as_millis()).unwrap_or(u64::MAX);
        let said = self.driver.machine_mut().say(audience, id, unix_ms, text);
        self.settle(ctx);
        self.flush();
        Ok(said?)
    }

    fn take(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.input(input, ctx);
        self.flush();
    }

    fn flush(&mut self) {
        for (peer, frames) in std::mem::take(&mut self.outgoing) {
            // What cannot be sent now is owed still, and sent on the peer's next link.
            if self.directory.send(&peer, frames).is_err() {
                tracing::debug!(peer = %peer.short(), "could not be sent to");
            }
        }
    }

    /// The name to show; remembered, as it is needed after the link has ended, too.
    fn name(&mut self, peer: &PeerId) -> Arc<str> {
        if let Some(name) = self.directory.name(peer) {
            if self.names.len() >= NAMES_MAX {
                self.names.pop_first();
            }
            self.names.insert(*peer, Arc::clone(&name));
            return name;
        }
        self.names.get(peer).cloned().unwrap_or_else(|| Arc::from(peer.short()))
    }

    fn on_refused(&mut self, refused: &PeerRefused) {
        let PeerRefused { peer, refusal } = refused;
        let Refusal::KeyConflict { name, known } = refusal else { return };
        let text = format!(
            "somebody calls itself {name} but has another key than your contact {name}: \
             {peer} came, {known} is known. It was turned away. If {name} really has a new key, \
             make sure of it by another way, then remove the contact and add the new card."
        );
        self.listeners.tell(Notice::Warning { text, code: Some(4) });
    }
}

impl Drive for ChatDesk {
    type Machine = Chat;

    fn driver(&mut self) -> &mut Driver<Chat> {
        &mut self.driver
    }

    fn perform(&mut self, output: Output, _: &mut Context<Self>) {
        match output {
            Output::Send { to, frame } => {
                let body = Bytes::from(wire::encode(&frame));
                self.outgoing.entry(to).or_default().push(body);
            }
            Output::Heard { from, said } => {
                let name = self.name(&from);
                let wire::Say { channel, id, unix_ms, text } = said;
                self.listeners.tell(Notice::Heard { channel, from, name, id, unix_ms, text });
            }
            Output::Delivered { id, channel, by } => {
                let name = self.name(&by);
                self.listeners.tell(Notice::Delivered { id, channel, by, name });
            }
            Output::GivenUp { id, owed } => {
                let text = format!(
                    "message {id} is no longer kept for {} members that have not taken it",
                    owed.len(),
                );
                self.listeners.tell(Notice::Warning { text, code: None });
            }
        }
    }
}

impl Actor for ChatDesk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let own = ctx.address();
        self.offices.channels.do_send(channel_book::Subscribe(own.clone().recipient()));
        self.offices.peers.do_send(SubscribeChat(own.clone().recipient()));
        self.offices.members.do_send(SubscribeMembers(own.recipient()));
    }
}

impl Handler<Say> for ChatDesk {
    type Result = MessageResult<Say>;

    fn handle(&mut self, message: Say, ctx: &mut Self::Context) -> Self::Result {
        let Say { channel, text, id } = message;
        match self.open.get(&channel) {
            None => return MessageResult(Err(SayError::NoSuchChannel)),
            Some(false) => return MessageResult(Err(SayError::SeedOnly)),
            Some(true) => {}
        }
        MessageResult(self.say(Audience::Channel(channel), id, text, ctx))
    }
}

impl Handler<Tell> for ChatDesk {
    type Result = MessageResult<Tell>;

    fn handle(&mut self, message: Tell, ctx: &mut Self::Context) -> Self::Result {
        let Tell { peer, text, id } = message;
        MessageResult(self.say(Audience::Peer(peer), id, text, ctx))
    }
}

impl Handler<CountUndelivered> for ChatDesk {
    type Result = MessageResult<CountUndelivered>;

    fn handle(&mut self, _: CountUndelivered, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.driver.machine().undelivered())
    }
}

impl Handler<Subscribe> for ChatDesk {
    type Result = ();

    fn handle(&mut self, Subscribe(listener): Subscribe, _: &mut Self::Context) {
        self.listeners.add(listener);
    }
}

impl Handler<ChannelEvent> for ChatDesk {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, ctx: &mut Self::Context) {
        match event {
            ChannelEvent::Opened(channel) => {
                self.open.insert(channel.keys.id(), channel.keys.is_member());
            }
            ChannelEvent::Changed(_) => {}
            ChannelEvent::NotLetIn { label, by, text, .. } => {
                let text = refusal_words(&label, &by, &text);
                self.listeners.tell(Notice::Warning { text, code: None });
            }
            ChannelEvent::Closed(id) => {
                self.open.remove(&id);
                self.take(Input::ChannelClosed(id), ctx);
            }
        }
    }
}

impl Handler<ChatNews> for ChatDesk {
    type Result = ();

    fn handle(&mut self, news: ChatNews, ctx: &mut Self::Context) {
        match news {
            ChatNews::Frames { from, frames } => {
                self.take(Input::FramesReceived { from, frames }, ctx);
            }
            ChatNews::Rerouted(peer) => self.take(Input::Rerouted(peer), ctx),
            ChatNews::PeerUp(peer) => {
                self.name(&peer);
                self.take(Input::PeerUp(peer), ctx);
            }
            ChatNews::PeerDown(peer) => self.take(Input::PeerDown(peer), ctx),
            ChatNews::Refused(refused) => self.on_refused(&refused),
        }
    }
}

impl Handler<MemberNews> for ChatDesk {
    type Result = ();

    fn handle(&mut self, news: MemberNews, ctx: &mut Self::Context) {
        match news {
            MemberNews::Up { channel, peer, standing: Standing::Member } => {
                let name = self.name(&peer);
                self.listeners.tell(Notice::MemberUp { channel, peer, name });
                self.take(Input::MemberUp { channel, peer }, ctx);
            }
            MemberNews::Down { channel, peer, standing: Standing::Member } => {
                let name = self.name(&peer);
                self.listeners.tell(Notice::MemberDown { channel, peer, name });
                self.take(Input::MemberDown { channel, peer }, ctx);
            }
            // Nothing is said to a seeder, and it owes no receipt.
            MemberNews::Up { channel, peer, standing: Standing::Seeder } => {
                let name = self.name(&peer);
                self.listeners.tell(Notice::SeederUp { channel, peer, name });
            }
            MemberNews::Down { channel, peer, standing: Standing::Seeder } => {
                let name = self.name(&peer);
                self.listeners.tell(Notice::SeederDown { channel, peer, name });
            }
            MemberNews::Closed(channel) => self.take(Input::ChannelClosed(channel), ctx),
        }
    }
}

//! What people say: takes messages in, gives them out, keeps the receipts.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`Say`] | console, control | says a text in a channel; answered once it is on disk |
//! | [`Tell`] | console, control | says a text to one peer alone |
//! | [`ListUndelivered`] | console, control | the messages that nobody has yet |
//! | [`Subscribe`] | console | asks for every [`Notice`] from now on, and those that wait for a listener |
//! | [`Overhear`] | control | asks for every [`Notice`] from now on; nothing waits for it |
//! | [`Announce`] | invitations | has a [`Notice`] told |
//! | [`ChatNews`] | peer supervisor | what peers say, and who is there |
//! | [`MemberNews`] | mesh manager | who is there in which channel |
//! | [`ChannelEvent`] | channel book | which channels are open |
//! | [`Pruned`] | archive | what is no longer kept |
//! | [`ContactChanged`] | contact book | how people are called now |
//!
//! Owns: the machines of `speech`. What is said in channels is on disk, in the archive, before it is
//! answered, told to anybody, or acknowledged: a crash costs none of it. Lost on a crash: what was said
//! to one peer alone and is not acknowledged yet.
//! Spec: `docs/spec/10-log.md`, `docs/spec/07-whisper.md`.

mod api;
mod conversation;
mod keeping;
mod listeners;
mod speech;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, MailboxError, Recipient,
    ResponseFuture, WrapFuture as _,
};
use bitchat_protocol::channel::Standing;
use bitchat_protocol::contact::{Contact, Refusal, Trust};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::crypto::sign::SigningKey;
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use bitchat_protocol::limits::CONTACTS_MAX;
use bitchat_protocol::log::{self, Role};
use bitchat_protocol::{whisper, wire};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::archive::{
    self, Append, ArchiveError, CloseChannel, Event, EventKind, FindSaid, OpenChannel, Pruned,
    ReadKept, ReadRange, Retention,
};
use crate::channel_book::{self, ChannelEvent, refusal_words};
use crate::contact_book::{self, ContactChanged, ListContacts};
use crate::directory::Directory;
use crate::driver::{Drive, Driver};
use crate::mesh_manager::{MemberNews, SubscribeMembers};
use crate::peer_supervisor::{ChatNews, PeerRefused, SubscribeChat};
use crate::{clock, entropy};

pub use api::{Announce, ListUndelivered, Notice, Overhear, Owed, Say, SayError, Subscribe, Tell};
use conversation::{Answer, Conversation, Members, Undelivered};
use listeners::Listeners;
pub use speech::{Input, Output, Speech};

/// Messages waiting at most, on top of one per sender.
pub const MAILBOX: usize = 256;

/// Names of peers remembered after their link has ended.
const NAMES_MAX: usize = 2 * CONTACTS_MAX;

/// Whom a chat desk talks to; all are started before it.
#[derive(Debug)]
pub struct Offices {
    /// Peer supervisor.
    pub peers: Recipient<SubscribeChat>,
    /// Mesh manager.
    pub members: Recipient<SubscribeMembers>,
    /// Channel book.
    pub channels: Recipient<channel_book::Subscribe>,
    /// Contact book.
    pub contacts: Recipient<ListContacts>,
    /// Contact book.
    pub changes: Recipient<contact_book::Subscribe>,
    /// Archive.
    pub archive: ArchiveOffices,
}

/// What a chat desk asks of the archive.
#[derive(Debug)]
pub struct ArchiveOffices {
    /// Opens channels.
    pub open: Recipient<OpenChannel>,
    /// Closes them.
    pub close: Recipient<CloseChannel>,
    /// Keeps what was said.
    pub append: Recipient<Append>,
    /// Tells what it kept for others, once we can read it.
    pub read_kept: Recipient<ReadKept>,
    /// Reads what others miss.
    pub read: Recipient<ReadRange>,
    /// Knows what was said before.
    pub find: Recipient<FindSaid>,
    /// Tells what is no longer kept.
    pub pruned: Recipient<archive::Subscribe>,
}

/// What a chat desk is told at its birth.
#[derive(Debug, Clone)]
pub struct Config {
    /// Ours, to sign what we say.
    pub key: SigningKey,
    /// How much is kept of each channel.
    pub retention: Retention,
    /// Whether somebody will [`Subscribe`]: what happens before waits, bounded.
    pub is_heard: bool,
}

/// What the archive was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To keep a batch.
    Keep(u64),
    /// To read what it has kept of a channel for others.
    Read(ChannelId),
}

/// What the archive says to it.
type Appended = Result<Result<Vec<Event>, ArchiveError>, MailboxError>;

/// The actor.
pub struct ChatDesk {
    config: Config,
    driver: Driver<Speech>,
    offices: Offices,
    directory: Directory,
    conversations: BTreeMap<ChannelId, Conversation>,
    members: Members,
    /// Who waits for a message of ours to be on disk.
    saying: BTreeMap<(ChannelId, MessageId), Vec<Answer>>,
    /// What the archive was asked for and events come of, in its order, and the answers that came
    /// before their turn.
    asked: VecDeque<(Asked, Option<Appended>)>,
    /// Counts conversations, to tell an answer for one from an answer for its successor.
    generation: u64,
    undelivered: Undelivered,
    /// Chains of ours that are being looked through for it.
    looking: usize,
    /// Who asked for it before all was looked through.
    asking: Vec<(ListUndelivered, oneshot::Sender<Owed>)>,
    /// Why the archive refused the last time, while it refuses.
    trouble: Option<ArchiveError>,
    names: BTreeMap<PeerId, Arc<str>>,
    blocked: BTreeSet<PeerId>,
    listeners: Listeners,
    /// Frames of this round, to be sent in one message for each peer.
    outgoing: BTreeMap<PeerId, Vec<Bytes>>,
}

impl std::fmt::Debug for ChatDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open = self.conversations.len();
        f.debug_struct("ChatDesk").field("open", &open).finish_non_exhaustive()
    }
}

impl ChatDesk {
    /// Begins in no channel.
    #[must_use]
    pub fn new(config: Config, offices: Offices, directory: Directory) -> Self {
        let rng = Rng::from_seed(entropy::seed());
        Self {
            driver: Driver::new(Speech::new(clock::now(), config.key.clone(), rng)),
            offices,
            directory,
            conversations: BTreeMap::new(),
            members: Members::default(),
            saying: BTreeMap::new(),
            asked: VecDeque::new(),
            generation: 0,
            undelivered: Undelivered::default(),
            looking: 0,
            asking: Vec::new(),
            trouble: None,
            names: BTreeMap::new(),
            blocked: BTreeSet::new(),
            listeners: Listeners::new(config.is_heard),
            outgoing: BTreeMap::new(),
            config,
        }
    }

    fn own_peer(&self) -> PeerId {
        PeerId(*self.config.key.public())
    }

    fn take(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.input(input, ctx);
        self.flush();
    }

    fn take_log(&mut self, input: log::Input, ctx: &mut Context<Self>) {
        self.take(Input::Log(input), ctx);
    }

    fn flush(&mut self) {
        for (peer, frames) in std::mem::take(&mut self.outgoing) {
            // What cannot be sent now is sent when the peer says what it has, or on its next link.
            if self.directory.send(&peer, frames).is_err() {
                tracing::debug!(peer = %peer.short(), "could not be sent to");
            }
        }
    }

    // --- what we say -------------------------------------------------------------------------

    /// Says a text once its channel is open, unless it was said before.
    fn say(&mut self, say: Say, answer: Answer, ctx: &mut Context<Self>) {
        let refusal = match self.conversations.get_mut(&say.channel) {
            None => SayError::NoSuchChannel,
            Some(known) if !known.keys.is_member() => SayError::SeedOnly,
            Some(known) if !known.is_open => return known.wait(say, answer),
            Some(_) => match say.id {
                Some(id) => return self.say_unless_said(id, say, answer, ctx),
                None => return self.say_now(say, Some(answer), ctx),
            },
        };
        // Who asked may be gone.
        let _ = answer.send(Err(refusal));
    }

    fn say_unless_said(
        &mut self,
        id: MessageId,
        say: Say,
        answer: Answer,
        ctx: &mut Context<Self>,
    ) {
        let channel = say.channel;
        // Whoever repeats it before it is answered waits for the same answer.
        if let Some(waiting) = self.saying.get_mut(&(channel, id)) {
            return waiting.push(answer);
        }
        self.saying.insert((channel, id), vec![answer]);
        let said = self.offices.archive.find.send(FindSaid { channel, id });
        ctx.spawn(said.into_actor(self).map(move |said, desk, ctx| match said {
            Ok(Ok(None)) => desk.say_now(say, None, ctx),
            Ok(Ok(Some(message))) => desk.answer_said(channel, id, &Ok(message.id)),
            Ok(Err(error)) => desk.answer_said(channel, id, &Err(SayError::NotKept(error))),
            Err(_) => desk.answer_said(channel, id, &Err(SayError::Starting)),
        }));
    }

    /// Says a text; who waits for one with an id of its own does so already.
    fn say_now(&mut self, say: Say, answer: Option<Answer>, ctx: &mut Context<Self>) {
        let Say { channel, text, id } = say;
        if let Some(refusal) = self.moved_away(channel) {
            if let Some(id) = id {
                self.answer_said(channel, id, &Err(refusal.clone()));
            }
            // Who asked may be gone.
            return answer.into_iter().for_each(|answer| drop(answer.send(Err(refusal.clone()))));
        }
        match (self.driver.machine_mut().log.say(channel, id, unix_ms(), text), id) {
            (Ok(id), _) => self.saying.entry((channel, id)).or_default().extend(answer),
            (Err(error), Some(id)) => self.answer_said(channel, id, &Err(error.into())),
            (Err(error), None) => {
                answer.into_iter().for_each(|answer| drop(answer.send(Err(error.into()))));
            }
        }
        self.settle(ctx);
        self.flush();
    }

    /// Why nothing can be said in a channel that went on as another one.
    fn moved_away(&self, channel: ChannelId) -> Option<SayError> {
        let known = self.conversations.get(&channel)?;
        let (name, successor) = (known.name.clone(), known.moved_to?);
        Some(SayError::Moved { name, successor })
    }

    /// Tells all who wait for a message what became of it.
    fn answer_said(
        &mut self,
        channel: ChannelId,
        id: MessageId,
        said: &Result<MessageId, SayError>,
    ) {
        for answer in self.saying.remove(&(channel, id)).unwrap_or_default() {
            // Who asked may be gone.
            let _ = answer.send(said.clone());
        }
    }

    /// Why the archive did not keep what was said.
    fn not_kept(&self) -> SayError {
        self.trouble.clone().map_or(SayError::Unanswered, SayError::NotKept)
    }

    // --- what people are told ----------------------------------------------------------------

    /// Tells what the archive has numbered.
    fn tell(&mut self, events: Vec<Event>) {
        let own_peer = self.own_peer();
        for Event { seq, kind } in events {
            match kind {
                EventKind::Message(message) => {
                    let from = message.position.author;
                    if self.blocked.contains(&from) {
                        continue;
                    }
                    let (name, own) = (self.name(&from), from == own_peer);
                    let (channel, id) = (Some(message.channel), message.id);
                    let archive::StoredMessage { unix_ms, text, .. } = message;
                    let seq = Some(seq);
                    let heard = Notice::Heard { seq, own, channel, from, name, id, unix_ms, text };
                    self.listeners.tell(heard);
                }
                EventKind::Delivered { id, channel, by, role } => {
                    self.undelivered.remove(channel, id);
                    let name = self.name(&by);
                    let (seq, channel, seeder) = (Some(seq), Some(channel), role == Role::Seeder);
                    self.listeners.tell(Notice::Delivered { seq, seeder, id, channel, by, name });
                }
                // The log has said so already.
                EventKind::Forked { .. } | EventKind::Gone | EventKind::NotOpen(_) => {}
            }
        }
    }

    /// The name to show; remembered, as it is needed after the link has ended, too.
    fn name(&mut self, peer: &PeerId) -> Arc<str> {
        if let Some(name) = self.directory.name(peer) {
            self.remember(*peer, &name);
            return name;
        }
        self.names.get(peer).cloned().unwrap_or_else(|| Arc::from(peer.short()))
    }

    fn remember(&mut self, peer: PeerId, name: &Arc<str>) {
        if self.names.len() >= NAMES_MAX && !self.names.contains_key(&peer) {
            self.names.pop_first();
        }
        self.names.insert(peer, Arc::clone(name));
    }

    fn meet(&mut self, contact: &Contact) {
        self.remember(contact.peer, &contact.name);
        if contact.trust == Trust::Blocked {
            self.blocked.insert(contact.peer);
        } else {
            self.blocked.remove(&contact.peer);
        }
    }

    fn on_forked(&mut self, channel: ChannelId, author: PeerId, number: u64) {
        let place = self.conversations.get(&channel).map_or("", |known| &known.name).to_owned();
        let text = if author == self.own_peer() {
            format!(
                "this node has lost something that it had said in {place}: its archive is older than \
                 what others have, or the profile runs twice. It goes on, and takes back what \
                 others have"
            )
        } else {
            let name = self.name(&author);
            format!(
                "{name} ({author}) has signed two different messages as number {number} in {place}: \
                 a copy of that profile runs twice, was restored from an old copy, or it lies. \
                 Nothing more is taken of that copy"
            )
        };
        self.listeners.tell(Notice::Warning { text, code: None });
    }

    /// Who comes to a channel that went on as another one comes to that as well: told once.
    fn tell_of_member(&mut self, notice: Notice, channel: ChannelId) {
        if self.moved_away(channel).is_none() {
            self.listeners.tell(notice);
        }
    }

    fn on_refused(&mut self, refused: &PeerRefused) {
        let PeerRefused { peer, refusal } = refused;
        let Refusal::KeyConflict { name, known } = refusal else { return };
        let text = format!(
            "somebody came under the name of your contact {name}, or the one on its card, and has \
             another key: {peer} came, {known} is known. It was turned away. If {name} really has a new key, \
             make sure of it by another way, then remove the contact and add the new card."
        );
        self.listeners.tell(Notice::Warning { text, code: Some(4) });
    }
}

impl Drive for ChatDesk {
    type Machine = Speech;

    fn driver(&mut self) -> &mut Driver<Speech> {
        &mut self.driver
    }

    fn perform(&mut self, output: Output, ctx: &mut Context<Self>) {
        match output {
            Output::Log(log::Output::Send { to, frame })
            | Output::Whisper(whisper::Output::Send { to, frame }) => {
                if self.outgoing.is_empty() {
                    // Where a timer made it, nobody else sends it.
                    let sent = actix::fut::ready(()).into_actor(self);
                    ctx.spawn(sent.map(|(), desk, _| desk.flush()));
                }
                let body = Bytes::from(wire::encode(&frame));
                self.outgoing.entry(to).or_default().push(body);
            }
            Output::Log(log::Output::Store(batch)) => self.append(batch, ctx),
            Output::Log(log::Output::Load { request, channel, chain, from, bytes_max }) => {
                self.load(request, channel, chain, from, bytes_max, ctx);
            }
            Output::Log(log::Output::Said { channel, id }) => {
                self.undelivered.insert(channel, id);
                self.answer_said(channel, id, &Ok(id));
            }
            Output::Log(log::Output::SayFailed { channel, id }) => {
                let why = self.not_kept();
                self.answer_said(channel, id, &Err(why));
            }
            Output::Log(log::Output::Forked { channel, author, number, .. }) => {
                self.on_forked(channel, author, number);
            }
            Output::Whisper(whisper::Output::Heard { from, said }) => {
                let name = self.name(&from);
                let wire::Whisper { id, unix_ms, text } = said;
                let (seq, own, channel) = (None, false, None);
                let heard = Notice::Heard { seq, own, channel, from, name, id, unix_ms, text };
                self.listeners.tell(heard);
            }
            Output::Whisper(whisper::Output::Delivered { id, by }) => {
                let name = self.name(&by);
                let (seq, seeder, channel) = (None, false, None);
                self.listeners.tell(Notice::Delivered { seq, seeder, id, channel, by, name });
            }
        }
    }
}

impl Actor for ChatDesk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let own = ctx.address();
        let known = self.offices.contacts.send(ListContacts);
        ctx.spawn(known.into_actor(self).map(|known, desk, _| {
            known.unwrap_or_default().iter().for_each(|contact| desk.meet(contact));
        }));
        self.offices.changes.do_send(contact_book::Subscribe(own.clone().recipient()));
        self.offices.archive.pruned.do_send(archive::Subscribe(own.clone().recipient()));
        self.offices.channels.do_send(channel_book::Subscribe(own.clone().recipient()));
        self.offices.peers.do_send(SubscribeChat(own.clone().recipient()));
        self.offices.members.do_send(SubscribeMembers(own.recipient()));
    }
}

impl Handler<Say> for ChatDesk {
    type Result = ResponseFuture<Result<MessageId, SayError>>;

    fn handle(&mut self, say: Say, ctx: &mut Self::Context) -> Self::Result {
        let (answer, said) = oneshot::channel();
        self.say(say, answer, ctx);
        Box::pin(async { said.await.unwrap_or(Err(SayError::Unanswered)) })
    }
}

impl Handler<Tell> for ChatDesk {
    type Result = ResponseFuture<Result<MessageId, SayError>>;

    /// With a contact there is a channel of the two, which keeps what is said until it is delivered.
    fn handle(&mut self, message: Tell, ctx: &mut Self::Context) -> Self::Result {
        let Tell { peer, text, id } = message;
        let pair = self.conversations.iter().find(|(_, known)| known.only == Some(peer));
        if let Some((&channel, _)) = pair {
            return self.handle(Say { channel, text, id }, ctx);
        }
        let whispers = &mut self.driver.machine_mut().whispers;
        let said = whispers.say(peer, id, unix_ms(), text);
        self.settle(ctx);
        self.flush();
        Box::pin(std::future::ready(said.map_err(SayError::from)))
    }
}

impl Handler<ListUndelivered> for ChatDesk {
    type Result = ResponseFuture<Owed>;

    fn handle(&mut self, asked: ListUndelivered, _: &mut Self::Context) -> Self::Result {
        let (answer, listed) = oneshot::channel();
        self.asking.retain(|(_, asking)| !asking.is_closed());
        self.asking.push((asked, answer));
        self.list_undelivered();
        Box::pin(async { listed.await.unwrap_or_default() })
    }
}

impl Handler<Subscribe> for ChatDesk {
    type Result = ();

    fn handle(&mut self, Subscribe(listener): Subscribe, _: &mut Self::Context) {
        self.listeners.add(listener);
    }
}

impl Handler<Overhear> for ChatDesk {
    type Result = ();

    fn handle(&mut self, Overhear(listener): Overhear, _: &mut Self::Context) {
        self.listeners.add_overhearing(listener);
    }
}

impl Handler<Announce> for ChatDesk {
    type Result = ();

    fn handle(&mut self, Announce(notice): Announce, _: &mut Self::Context) {
        self.listeners.tell(notice);
    }
}

impl Handler<ChannelEvent> for ChatDesk {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, ctx: &mut Self::Context) {
        match event {
            ChannelEvent::Opened(channel) => self.open(&channel, ctx),
            ChannelEvent::Changed(channel) => {
                if let Some(known) = self.conversations.get_mut(&channel.keys.id()) {
                    (known.name, known.moved_to) = (channel.name.clone(), channel.moved_to);
                }
            }
            ChannelEvent::Moved { channel, successor, label, by, removed } => {
                let own = by == self.own_peer();
                let name = if own { Arc::from("you") } else { self.name(&by) };
                let named = removed.into_iter().map(|peer| (peer, self.name(&peer)));
                let removed = named.collect();
                let moved = Notice::Moved { channel, successor, label, by, name, removed };
                self.listeners.tell(moved);
            }
            ChannelEvent::Trouble { text, .. } => {
                self.listeners.tell(Notice::Warning { text, code: None });
            }
            ChannelEvent::NotLetIn { label, by, text, .. } => {
                let text = refusal_words(&label, &by, &text);
                self.listeners.tell(Notice::Warning { text, code: None });
            }
            ChannelEvent::Closed(id) => {
                if let Some(mut known) = self.conversations.remove(&id) {
                    known.refuse(&SayError::NoSuchChannel);
                }
                self.undelivered.close(id);
                self.list_undelivered();
                self.take_log(log::Input::Closed(id), ctx);
                self.offices.archive.close.do_send(CloseChannel { id });
            }
        }
    }
}

impl Handler<Pruned> for ChatDesk {
    type Result = ();

    fn handle(&mut self, pruned: Pruned, ctx: &mut Self::Context) {
        let Pruned { channel, chain, base } = pruned;
        self.take_log(log::Input::Pruned { channel, chain, base }, ctx);
    }
}

impl Handler<ContactChanged> for ChatDesk {
    type Result = ();

    fn handle(&mut self, changed: ContactChanged, _: &mut Self::Context) {
        match &changed.contact {
            Some(contact) => self.meet(contact),
            None => {
                self.names.remove(&changed.peer);
                self.blocked.remove(&changed.peer);
            }
        }
    }
}

impl Handler<ChatNews> for ChatDesk {
    type Result = ();

    fn handle(&mut self, news: ChatNews, ctx: &mut Self::Context) {
        match news {
            ChatNews::Frames { from, frames } => self.take(Input::Frames { from, frames }, ctx),
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
            MemberNews::Up { channel, peer, standing } => {
                let (name, role) = (self.name(&peer), role_of(standing));
                self.tell_of_member(
                    match role {
                        Role::Member => Notice::MemberUp { channel, peer, name },
                        Role::Seeder => Notice::SeederUp { channel, peer, name },
                    },
                    channel,
                );
                self.members.insert(channel, peer, role);
                self.take_log(log::Input::MemberUp { channel, peer, role }, ctx);
            }
            MemberNews::Down { channel, peer, standing } => {
                let name = self.name(&peer);
                self.tell_of_member(
                    match role_of(standing) {
                        Role::Member => Notice::MemberDown { channel, peer, name },
                        Role::Seeder => Notice::SeederDown { channel, peer, name },
                    },
                    channel,
                );
                self.members.remove(channel, peer);
                self.take_log(log::Input::MemberDown { channel, peer }, ctx);
            }
            // The channel book says it as well.
            MemberNews::Closed(channel) => self.members.close(channel),
        }
    }
}

const fn role_of(standing: Standing) -> Role {
    match standing {
        Standing::Member => Role::Member,
        Standing::Seeder => Role::Seeder,
    }
}

fn unix_ms() -> u64 {
    u64::try_from(clock::unix().as_millis()).unwrap_or(u64::MAX)
}

//! The channels of this profile, and which of them are open now.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`JoinChannel`] | console | stores a channel |
//! | [`LeaveChannel`] | console | closes a channel and forgets it |
//! | [`ListChannels`] | console | all channels |
//! | [`FindChannel`] | console | a channel by name, id or beginning of the id |
//! | [`ExportChannel`] | console | the `.chat` file of a channel, to be passed on |
//! | [`JudgePeer`] | crypto session | whether a peer may be in a closed channel |
//! | [`NoteTurndown`] | crypto session | that a peer does not let us into one, or does now |
//! | [`KeepTickets`], [`HasTickets`], [`InvitePeer`] | console | what lets us, or somebody else, into one |
//! | [`ListRefused`] | console | who does not let us in, and why |
//! | [`OweInvitation`], [`ListOwed`], [`IssueOwed`], [`DropOwed`] | invitations | keeps and issues what is owed over links |
//! | [`RenewTickets`], [`TakeInvited`] | invitations | keeps what came over a link |
//! | [`RemoveMember`] | console | goes on without somebody, as another channel |
//! | [`TakeMove`] | crypto session | the founder's word that a channel goes on as another one |
//! | [`ListInfohashes`] | console | what trackers know a channel by around now |
//! | [`OpenChannel`] | console | begins to look for the members of a channel |
//! | [`CloseChannel`] | console | stops that |
//! | [`ListOpen`] | whoever starts | the channels open now |
//! | [`SaveLastKnown`] | mesh manager | keeps where the members are, for the next start |
//! | [`ListLastKnown`] | mesh manager | where the members were, to be dialled first |
//! | [`Subscribe`] | those who serve channels | asks for every [`ChannelEvent`] |
//! | [`ContactChanged`](crate::contact_book::ContactChanged) | contact book | opens or closes the channel of a pair |
//! | [`Shutdown`] | supervisor | writes what is not written yet, then stops |
//!
//! Owns: the files in `channels` of the profile, and the list of open channels. The channel of a pair
//! has no file: it follows from the contact, and is open as long as that one is known.
//!
//! What a person changes is on disk before it is answered; addresses some seconds later and at the
//! end. After a crash those seconds are lost, the subscriptions, and which channels were opened
//! since the start: it begins again with those that its maker named.
//!
//! Form of the files: `docs/spec/profile.md`, `docs/spec/02-chat-file.md`.

mod admission;
mod former;
mod invited;
mod moves;
mod pairs;
mod refusals;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext as _, AsyncContext as _, Context, Handler, Message, Recipient};
use bitchat_protocol::channel::{
    ChannelKeys, ChatFile, Denial, Kind, MisfitError, NodeAddress, Policy, Rotation,
};
use bitchat_protocol::id::{ChannelId, InfoHash, PeerId};
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol::limits::{CHANNELS_MAX, REMOVED_MAX};
use bitchat_protocol::session::{Door, OwnChannel};

use crate::clock;
use crate::subscribers::Subscribers;
use crate::supervision::Shutdown;
use crate::vault::{Profile, ProfileError, RefusalLog};
pub use admission::{HasTickets, InvitePeer, JudgePeer, KeepTickets};
pub use invited::{
    DropOwed, IssueOwed, ListOwed, NotOwed, OweInvitation, Owed, RenewTickets, TakeInvited,
};
pub use moves::{RemoveMember, TakeMove};
pub use pairs::{MeetingPlaces, People};
use refusals::Refusals;
pub use refusals::{ListRefused, NoteTurndown, Refused, refusal_words};
use shelf::{Shelf, Stored};

/// Messages waiting: those of the person and of a few neighbours.
const MAILBOX: usize = 64;
/// How long changed addresses are gathered before they are written: as much is lost in a crash.
const SAVE_AFTER: Duration = Duration::from_secs(5);
/// How long to wait when the disk has refused.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Stores a channel; one that is stored already is no error.
///
/// Of a newer file of a stored channel are taken the trackers and nodes that it names, and the secret
/// of the channel where only a seeder's file is stored; nothing else: anybody who has the key can have
/// written it. Where the channel is open and that is new, it is closed and opened.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Summary, ChannelError>")]
pub struct JoinChannel {
    /// What was passed on to us, or made by us.
    pub file: ChatFile,
}

/// Closes a channel and removes all that is kept of it; answered with what it was.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Summary, ChannelError>")]
pub struct LeaveChannel {
    /// Which.
    pub id: ChannelId,
}

/// Lists all channels, in the order of their ids.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Summary>")]
pub struct ListChannels;

/// Finds a channel by its name, its id, or at least six first digits of its id.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Summary, ChannelError>")]
pub struct FindChannel {
    /// What a person typed.
    pub text: String,
}

/// Asks for the `.chat` file of a channel. It holds a secret.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<ChatFile, ChannelError>")]
pub struct ExportChannel {
    /// Which.
    pub id: ChannelId,
    /// Only what a seeder needs: who has it cannot read.
    pub seed_only: bool,
}

/// Lists what trackers and the DHT know a channel by around now, at the least: some nodes announce a
/// neighbouring day for longer. Empty: there is no such channel.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<InfoHash>")]
pub struct ListInfohashes {
    /// The channel.
    pub id: ChannelId,
}

/// Opens a stored channel on this node; one that is open already is no error.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Arc<OpenedChannel>, ChannelError>")]
pub struct OpenChannel {
    /// Which.
    pub id: ChannelId,
}

/// Closes a channel on this node; one that is not open is no error.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct CloseChannel {
    /// Which.
    pub id: ChannelId,
}

/// Lists the channels open now, in the order of their ids.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Arc<OpenedChannel>>")]
pub struct ListOpen;

/// Keeps where the members of a channel are, for the next start.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SaveLastKnown {
    /// The channel; one that is not stored is ignored.
    pub id: ChannelId,
    /// Best first; those beyond [`bitchat_protocol::limits::LAST_KNOWN_MAX`] are dropped.
    pub addresses: Vec<SocketAddr>,
}

/// Asks where the members of a channel were, best first, whether it is open or not.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<SocketAddr>")]
pub struct ListLastKnown {
    /// The channel.
    pub id: ChannelId,
}

/// Asks for every [`ChannelEvent`] from now on; the channels open now come first, as opened.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<ChannelEvent>);

/// What happens to the channels of this node.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum ChannelEvent {
    /// To be served from now on.
    Opened(Arc<OpenedChannel>),
    /// Open as before; its name, or who may be in it, is another now.
    Changed(Arc<OpenedChannel>),
    /// To be served no longer.
    Closed(ChannelId),
    /// A closed channel goes on as another one, without somebody. Told after the other one was opened.
    Moved {
        /// The channel that is left.
        channel: ChannelId,
        /// The one that takes its place.
        successor: ChannelId,
        /// The name of both.
        label: Arc<str>,
        /// The founder.
        by: PeerId,
        /// Who was removed by this.
        removed: Vec<PeerId>,
    },
    /// A closed channel goes on as another one, and we cannot follow yet.
    Trouble {
        /// The channel.
        channel: ChannelId,
        /// Why, and what to do; not escaped.
        text: String,
    },
    /// Somebody does not let us into a closed channel; for a person, and not told often.
    NotLetIn {
        /// The channel.
        channel: ChannelId,
        /// Its name.
        label: Arc<str>,
        /// The name of who does not.
        by: Arc<str>,
        /// Why, as they say; not escaped.
        text: String,
    },
}

/// A channel as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: ChannelId,
    /// Its name, which need not be its alone.
    pub name: DisplayName,
    /// Who may be in it.
    pub kind: Kind,
    /// The contact, where it is the channel of a pair.
    pub pair: Option<PeerId>,
    /// Whether its infohash changes.
    pub rotation: Rotation,
    /// Whom its members let in, where it is closed.
    pub policy: Option<Policy>,
    /// Whether we can read it, and not only seed it.
    pub is_member: bool,
    /// Who made it, as its file says.
    pub founder: Option<PeerId>,
    /// Tracker URLs in tiers, best first.
    pub trackers: Vec<Vec<String>>,
    /// DHT nodes to begin with.
    pub nodes: Vec<NodeAddress>,
    /// What it went on as, where it did: nothing can be said in it any more.
    pub moved_to: Option<ChannelId>,
    /// Who was removed from it, or from what it took the place of; ascending.
    pub removed: Vec<PeerId>,
    /// Whether it is open on this node.
    pub is_open: bool,
}

/// A channel as those see it who serve it. What it prints for debugging contains no secret.
#[derive(Debug)]
pub struct OpenedChannel {
    /// Its name, which need not be its alone.
    pub name: String,
    /// Who may be in it.
    pub kind: Kind,
    /// The only one who may be in it beside us, where it is the channel of a pair.
    pub only: Option<PeerId>,
    /// What lets us in, where it is closed.
    pub door: Option<Door>,
    /// All that derives from its secret, its id as well.
    pub keys: ChannelKeys,
    /// Tracker URLs in tiers, best first.
    pub trackers: Vec<Vec<String>>,
    /// Nodes of the DHT to begin with.
    pub nodes: Vec<NodeAddress>,
    /// Whether its infohash changes.
    pub rotation: Rotation,
    /// Where its members were, best first, when this was handed out.
    pub last_known: Vec<SocketAddr>,
    /// The channel whose place it took.
    pub origin: Option<ChannelId>,
    /// What it went on as: nothing can be said in it any more.
    pub moved_to: Option<ChannelId>,
}

impl OpenedChannel {
    fn new(stored: &Stored) -> Arc<Self> {
        let chat = &stored.chat;
        Arc::new(Self {
            name: stored.name().to_string(),
            kind: chat.kind(),
            only: stored.pair,
            door: stored.door(),
            keys: chat.keys(),
            trackers: chat.tiers(),
            nodes: chat.nodes().to_vec(),
            rotation: chat.rotation(),
            last_known: stored.last_known.clone(),
            origin: chat.origin().map(|origin| origin.from),
            moved_to: stored.former.as_ref().map(|former| former.moved.successor),
        })
    }

    /// What a session proves of it, and asks of its peer.
    #[must_use]
    pub fn own(&self) -> OwnChannel {
        let door = self.door.clone();
        OwnChannel { only: self.only, door, ..OwnChannel::from(&self.keys) }
    }
}

/// Why nothing was done with a channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No channel goes by that.
    #[error("there is no channel {0:?}: join it first")]
    NotFound(String),
    /// Several channels go by that.
    #[error("{text:?} may be any of {}: write the id instead", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// The names and ids of some of them.
        candidates: Vec<String>,
    },
    /// The channel of a pair is neither passed on, nor joined, nor left.
    #[error(
        "{0} is the channel of you and one contact, made from your two keys: it is there as long \
         as the contact is in the book, and nobody else can be in it"
    )]
    IsPair(String),
    /// A file of a stored channel with another kind, founder or policy.
    #[error(
        "{0} is stored already, and by this file others decide who is let in: it may have been changed. \
         If it is the right one, leave the channel first"
    )]
    OtherCharter(String),
    /// Everybody who has the file may be in it.
    #[error("{0} is no closed channel: whoever has its file is in it")]
    NotClosed(String),
    /// A ticket does not let us in.
    #[error("{name}: {denial}: ask for another one")]
    Ticket {
        /// The channel.
        name: String,
        /// Why not.
        denial: Denial,
    },
    /// The founder and we ourselves need no ticket of ours.
    #[error("this person needs no ticket of yours for {0}")]
    InNeedOfNone(String),
    /// We are no founder and have no ticket that says so.
    #[error(
        "you may not invite to {0}: ask its founder to do it, or for a ticket with --may-invite; seeders are let in by the founder alone"
    )]
    MayNotInvite(String),
    /// Too many stand between the founder and the invitee.
    #[error(
        "too many people stand between the founder of {0} and this one: ask somebody nearer to the founder to invite them"
    )]
    ChainTooLong(String),
    /// Two identities that have no channel together.
    #[error("there is no channel with this contact: {0}")]
    Pair(String),
    /// It went on as another one.
    #[error(
        "{name} is over: it went on with new keys{}",
        .successor.as_ref().map_or_else(
            || ", as a channel that was left here".to_owned(),
            |(name, id)| format!(": use {name} ({})", id.short()),
        )
    )]
    Former {
        /// The channel.
        name: String,
        /// What it went on as, where that is in this profile.
        successor: Option<(String, ChannelId)>,
    },
    /// Somebody was removed, and is to be let in.
    #[error(
        "{peer} was removed from {name}, which cannot be taken back: make a new channel for those          who are to be together"
    )]
    WasRemoved {
        /// The channel.
        name: String,
        /// Who.
        peer: String,
    },
    /// Only its founder, who holds its secret, removes somebody.
    #[error(
        "only the founder of {0} removes somebody from it, and from a profile that can read it"
    )]
    NotFounder(String),
    /// A channel is not without its founder.
    #[error("you founded {0}, and cannot be removed from it: leave it with bitchat channel leave")]
    FounderStays(String),
    /// More than a move can name.
    #[error("{REMOVED_MAX} people were removed from {0}, which is all it can: make a new channel")]
    TooManyRemoved(String),
    /// The channel cannot go on as another one.
    #[error("{name} cannot go on: {error}")]
    Misfit {
        /// The channel.
        name: String,
        /// Why.
        error: MisfitError,
    },
    /// As many as one node can be in.
    #[error(
        "a profile holds {CHANNELS_MAX} channels, those with contacts included, which is all it \
         can: leave some"
    )]
    Full,
    /// It could not be written; all is as it was.
    #[error("the channels were not changed: {0}")]
    NotSaved(#[from] ProfileError),
}

/// The actor.
pub struct ChannelBook {
    shelf: Shelf,
    open: BTreeMap<ChannelId, Arc<OpenedChannel>>,
    subscribers: Subscribers<ChannelEvent>,
    save_is_due: bool,
    disk: RefusalLog,
    people: Option<People>,
    /// Contacts that a person added, and their names.
    names: BTreeMap<PeerId, Arc<str>>,
    /// Counts the changes of who may be in closed channels.
    revision: u64,
    refusals: Refusals,
    /// Of which channels it was said, in which words, that we cannot follow.
    warned: BTreeSet<(ChannelId, String)>,
    /// Former channels that a person opened after they had been open for long enough.
    reread: BTreeSet<ChannelId>,
    /// Whether it is looked for former channels that have been open for long enough.
    looks_for_moves: bool,
}

impl ChannelBook {
    /// Reads the channels of the profile; none is open.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Damaged`], [`ProfileError::Newer`], [`ProfileError::Disk`].
    pub fn open(profile: &Profile) -> Result<Self, ProfileError> {
        Ok(Self {
            shelf: Shelf::open(profile, clock::unix())?,
            open: BTreeMap::new(),
            subscribers: Subscribers::new("channel book"),
            save_is_due: false,
            disk: RefusalLog::default(),
            people: None,
            names: BTreeMap::new(),
            revision: 0,
            refusals: Refusals::default(),
            warned: BTreeSet::new(),
            reread: BTreeSet::new(),
            looks_for_moves: false,
        })
    }

    /// Knows contacts, and opens the channel of us and each that a person added, from the start on.
    #[must_use]
    pub fn with_people(self, people: People) -> Self {
        Self { people: Some(people), ..self }
    }

    /// Begins with all channels open.
    #[must_use]
    pub fn with_all_open(mut self) -> Self {
        let all = self.shelf.all().map(|(id, _)| *id);
        let all: Vec<_> = all.filter(|id| !self.is_over(id)).collect();
        self.begin_with(&all);
        self
    }

    /// Begins with these channels open; those not stored are left out.
    #[must_use]
    pub fn with_open(mut self, ids: &[ChannelId]) -> Self {
        self.begin_with(ids);
        self
    }

    fn begin_with(&mut self, ids: &[ChannelId]) {
        for id in ids {
            if self.open_channel(*id).is_err() {
                tracing::warn!(channel = %id.short(), "this channel is not stored any more");
            }
        }
    }

    fn open_channel(&mut self, id: ChannelId) -> Result<Arc<OpenedChannel>, ChannelError> {
        if let Some(open) = self.open.get(&id) {
            return Ok(Arc::clone(open));
        }
        let opened = self.open_one(id)?;
        // What it goes on as, and what went on as it: who was away is met there.
        let present = self.present_of(id);
        for other in self.formers_of(present).into_iter().chain([present]) {
            if !self.open.contains_key(&other) {
                self.open_one(other)?;
            }
        }
        Ok(opened)
    }

    fn open_one(&mut self, id: ChannelId) -> Result<Arc<OpenedChannel>, ChannelError> {
        let opened = OpenedChannel::new(self.shelf.get(&id)?);
        self.open.insert(id, Arc::clone(&opened));
        self.tell(&ChannelEvent::Opened(Arc::clone(&opened)));
        Ok(opened)
    }

    /// Opens an open channel anew where those who serve it must begin anew.
    fn reopen(&mut self, id: ChannelId) -> Result<(), ChannelError> {
        let stored = OpenedChannel::new(self.shelf.get(&id)?);
        let is_another = self.open.get(&id).is_some_and(|open| {
            open.keys.is_member() != stored.keys.is_member()
                || open.trackers != stored.trackers
                || open.nodes != stored.nodes
        });
        if is_another {
            self.close_channel(id);
            self.open_channel(id)?;
        }
        Ok(())
    }

    fn close_channel(&mut self, id: ChannelId) {
        self.reread.remove(&id);
        if self.open.remove(&id).is_some() {
            self.tell(&ChannelEvent::Closed(id));
        }
    }

    /// Closes a channel with those that went on as it: who closes it hands nothing on.
    fn close_with_formers(&mut self, id: ChannelId) {
        self.formers_of(id).into_iter().for_each(|former| self.close_channel(former));
        self.close_channel(id);
    }

    fn tell(&self, event: &ChannelEvent) {
        self.subscribers.tell(event);
    }

    fn summary(&self, id: ChannelId) -> Result<Summary, ChannelError> {
        Ok(Shelf::summary(id, self.shelf.get(&id)?, self.open.contains_key(&id)))
    }

    fn save_later(&mut self, ctx: &mut Context<Self>, after: Duration) {
        if std::mem::replace(&mut self.save_is_due, true) {
            return;
        }
        ctx.run_later(after, |book, ctx| {
            book.save_is_due = false;
            let saved = book.shelf.save();
            if !book.disk.note("the latest addresses", &saved) {
                book.save_later(ctx, SAVE_AGAIN_AFTER);
            }
        });
    }
}

impl Actor for ChannelBook {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.begin_pairs(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Err(error) = self.shelf.save() {
            tracing::warn!(%error, "the latest addresses are lost");
        }
    }
}

impl Handler<JoinChannel> for ChannelBook {
    type Result = Result<Summary, ChannelError>;

    fn handle(&mut self, join: JoinChannel, _: &mut Self::Context) -> Self::Result {
        let id = self.shelf.put(join.file)?;
        self.reopen(id)?;
        self.relink();
        // Who was given the file of one that went on meanwhile is in what it went on as.
        self.summary(self.present_of(id))
    }
}

impl Handler<LeaveChannel> for ChannelBook {
    type Result = Result<Summary, ChannelError>;

    fn handle(&mut self, leave: LeaveChannel, _: &mut Self::Context) -> Self::Result {
        self.shelf.check_no_pair(&leave.id)?;
        let formers = self.formers_of(leave.id);
        let stored = self.shelf.remove(&leave.id)?;
        // There is nothing left to be handed on.
        formers.into_iter().chain([leave.id]).for_each(|id| self.close_channel(id));
        self.forget_refusals(&leave.id);
        self.relink();
        self.open_missing_pairs();
        Ok(Shelf::summary(leave.id, &stored, false))
    }
}

impl Handler<ListChannels> for ChannelBook {
    type Result = Vec<Summary>;

    fn handle(&mut self, _: ListChannels, _: &mut Self::Context) -> Self::Result {
        let all = self.shelf.all();
        all.map(|(id, stored)| Shelf::summary(*id, stored, self.open.contains_key(id))).collect()
    }
}

impl Handler<FindChannel> for ChannelBook {
    type Result = Result<Summary, ChannelError>;

    fn handle(&mut self, find: FindChannel, _: &mut Self::Context) -> Self::Result {
        let (id, stored) = self.shelf.find(&find.text)?;
        Ok(Shelf::summary(*id, stored, self.open.contains_key(id)))
    }
}

impl Handler<ExportChannel> for ChannelBook {
    type Result = Result<ChatFile, ChannelError>;

    fn handle(&mut self, export: ExportChannel, _: &mut Self::Context) -> Self::Result {
        self.shelf.check_no_pair(&export.id)?;
        let chat = &self.shelf.get(&export.id)?.chat;
        Ok(if export.seed_only { chat.seed_only() } else { chat.clone() })
    }
}

impl Handler<ListInfohashes> for ChannelBook {
    type Result = Vec<InfoHash>;

    fn handle(&mut self, list: ListInfohashes, _: &mut Self::Context) -> Self::Result {
        let Ok(stored) = self.shelf.get(&list.id) else { return Vec::new() };
        let (keys, rotation) = (stored.chat.keys(), stored.chat.rotation());
        let epochs = rotation.announced_epochs(clock::unix(), Duration::ZERO).into_iter();
        epochs.map(|epoch| keys.infohash(epoch)).collect()
    }
}

impl Handler<OpenChannel> for ChannelBook {
    type Result = Result<Arc<OpenedChannel>, ChannelError>;

    fn handle(&mut self, open: OpenChannel, _: &mut Self::Context) -> Self::Result {
        if self.is_over(&open.id) {
            self.reread.insert(open.id);
        }
        self.open_channel(open.id)
    }
}

impl Handler<CloseChannel> for ChannelBook {
    type Result = ();

    fn handle(&mut self, close: CloseChannel, _: &mut Self::Context) {
        self.close_with_formers(close.id);
    }
}

impl Handler<ListOpen> for ChannelBook {
    type Result = Vec<Arc<OpenedChannel>>;

    fn handle(&mut self, _: ListOpen, _: &mut Self::Context) -> Self::Result {
        self.open.values().cloned().collect()
    }
}

impl Handler<SaveLastKnown> for ChannelBook {
    type Result = ();

    fn handle(&mut self, save: SaveLastKnown, ctx: &mut Self::Context) {
        if self.shelf.set_last_known(&save.id, save.addresses) {
            self.save_later(ctx, SAVE_AFTER);
        }
    }
}

impl Handler<ListLastKnown> for ChannelBook {
    type Result = Vec<SocketAddr>;

    fn handle(&mut self, list: ListLastKnown, _: &mut Self::Context) -> Self::Result {
        self.shelf.get(&list.id).map(|stored| stored.last_known.clone()).unwrap_or_default()
    }
}

impl Handler<Subscribe> for ChannelBook {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, ctx: &mut Self::Context) {
        // Where nobody serves channels none is open for long.
        if !std::mem::replace(&mut self.looks_for_moves, true) {
            self.begin_moves(ctx);
        }
        for (id, opened) in &mut self.open {
            // Where the members are now, and not where they were when it was opened.
            if let Ok(stored) = self.shelf.get(id) {
                *opened = OpenedChannel::new(stored);
            }
            subscriber.do_send(ChannelEvent::Opened(Arc::clone(opened)));
        }
        self.subscribers.add(subscriber);
    }
}

impl Handler<Shutdown> for ChannelBook {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl fmt::Debug for ChannelBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelBook")
            .field("channels", &self.shelf.all().count())
            .field("open", &self.open.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

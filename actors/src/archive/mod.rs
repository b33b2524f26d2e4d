//! What was said, on disk: entries of the log, who has ours, and what happened since a client looked.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`OpenChannel`] | chat desk | opens a channel, and says what is held of it |
//! | [`CloseChannel`] | chat desk | takes its keys and words out of memory |
//! | [`ForgetChannel`] | chat desk | removes all that is kept of a channel |
//! | [`Append`] | chat desk | keeps what the log accepted; answered once it is on disk |
//! | [`ReadKept`] | chat desk | tells what came before it could be read |
//! | [`ReadRange`] | chat desk | entries of a chain, for others |
//! | [`ReadPage`] | console, control | messages in the order of the channel |
//! | [`Search`] | console, control | messages by their words |
//! | [`FindSaid`] | chat desk | a message of ours by its id: whether it was said before |
//! | [`ListAuthors`] | console, control | whose words are kept |
//! | [`ListEvents`] | console, control | what happened since |
//! | [`FindEventSpan`] | console, control | which of that is kept |
//! | [`Acknowledge`] | console, control | keeps up to where a client has that |
//! | [`FindAcknowledged`] | console, control | up to where that is |
//! | [`CopyTo`] | console, control | a consistent copy, to be carried away |
//! | [`Subscribe`] | chat desk | asks for [`Pruned`] from now on |
//!
//! Owns: the file `archive` of the profile, and an index of its words in memory.
//!
//! Waits for the disk, so it belongs on an arbiter of its own. What was answered is on disk; in a crash
//! requests under way are lost, and the index is built again in the background.
//!
//! Form of the file: `docs/spec/profile.md`, "Archive".

mod ageing;
mod append;
mod error;
mod events;
mod forget;
mod index;
mod mend;
mod read;
mod schema;
mod seal;
mod store;
mod twins;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::{
    Actor, ActorFuture, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message,
    Recipient, ResponseActFuture, ResponseFuture, WrapFuture as _,
};
use bitchat_protocol::channel::ChannelKeys;
use bitchat_protocol::id::{ChainId, ChannelId, MessageId, PeerId};
use bitchat_protocol::log::{Batch, ChannelState, Position, Role};
use bytes::Bytes;
use tokio::sync::oneshot;

pub use error::{ArchiveError, Refusal};

use crate::channel_book;
use crate::clock;
use crate::subscribers::Subscribers;
use crate::supervision::fail;
use crate::vault::Profile;
use append::Wish;
use index::Query;
use mend::Mender;
use schema::Paths;
use store::Store;

/// Messages waiting: those of the chat desk and of a few clients.
const MAILBOX: usize = 256;
/// Batches that are written in one transaction.
const GROUP_MAX: usize = 1024;
/// Searches that wait until the index is complete enough.
const SEARCHES_MAX: usize = 16;
/// Clients that wait until channels are open.
const LISTS_MAX: usize = 64;
/// How long they wait at most: opening a channel is a matter of milliseconds.
const OPENING_MAX: Duration = Duration::from_secs(5);
/// Between two steps of building the index, when nobody waits for it: others come first.
const INDEX_PAUSE: Duration = Duration::from_millis(5);
/// Steps between two looks whether a search that waits can be answered.
const INDEX_STEPS: usize = 20;
/// Between two looks for messages that are too old.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);

/// Opens a channel, or one that is open already with other keys or another retention. What it costs
/// does not grow with what is kept.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<ChannelState, ArchiveError>")]
pub struct OpenChannel {
    /// Its keys; with a seeder's, nothing can be read.
    pub keys: Arc<ChannelKeys>,
    /// How much of it is kept.
    pub retention: Retention,
}

/// Closes a channel: what is kept stays. One that is not open is no error.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), ArchiveError>")]
pub struct CloseChannel {
    /// Which.
    pub id: ChannelId,
}

/// Removes all that is kept of a channel, open or not; answered once nothing of it is in the file. A
/// damaged archive that was set aside is not looked into.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), ArchiveError>")]
pub struct ForgetChannel {
    /// Which.
    pub id: ChannelId,
}

/// Keeps what the log accepted, all of it or nothing. What is held already is passed over, so a
/// repetition is harmless. Answered once it is on disk, with what that brought about.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<Event>, ArchiveError>")]
pub struct Append(pub Batch);

/// Reads some of what was kept of a channel as a seeder, once it is open with a member's keys: numbered
/// and told as if it had come now. Nothing is answered when there is no more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Vec<Event>, ArchiveError>")]
pub struct ReadKept {
    /// The channel, which must be open.
    pub channel: ChannelId,
}

/// Asks for entries of a chain, in order and without a gap.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Vec<Bytes>, ArchiveError>")]
pub struct ReadRange {
    /// The channel, which must be open.
    pub channel: ChannelId,
    /// The chain.
    pub chain: ChainId,
    /// The number of the first one; nothing is answered when it is not held.
    pub from: u64,
    /// Bytes of all; the first one comes even when it is larger.
    pub bytes_max: usize,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the newest message, towards older ones.
    Newest,
    /// Before this place, towards older ones.
    Before(Position),
    /// After this place, towards newer ones.
    After(Position),
}

/// Asks for messages next to a place in the one order of a channel; answered oldest first.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Vec<StoredMessage>, ArchiveError>")]
pub struct ReadPage {
    /// The channel, which must be open.
    pub channel: ChannelId,
    /// Where to begin.
    pub from: From,
    /// As many at most; more than 1,000, or 4 MiB of text, are not given at once.
    pub limit: usize,
}

/// Asks for messages in which all the words are; answered newest first.
///
/// Case and accents do not matter; a word that ends in `*` is the beginning of one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Found, ArchiveError>")]
pub struct Search {
    /// In this channel, which must be open; `None`: in all that are, by the time their authors name.
    pub channel: Option<ChannelId>,
    /// At most 16 words and 1 KiB; what is beyond is ignored.
    pub words: String,
    /// As many at most, as in [`ReadPage::limit`].
    pub limit: usize,
    /// Only what comes before this place; of no effect without `channel`.
    pub before: Option<Position>,
}

/// Asks for a message that was said here, by the id it was given: a sender that does not know whether
/// it was said asks before it says it again. It is known for as long as the message is kept.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Option<StoredMessage>, ArchiveError>")]
pub struct FindSaid {
    /// The channel, which must be open.
    pub channel: ChannelId,
    /// The id.
    pub id: MessageId,
}

/// Lists who has said something in a channel that is kept, or was once, in the order of their ids.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Vec<PeerId>, ArchiveError>")]
pub struct ListAuthors {
    /// The channel, which must be open.
    pub channel: ChannelId,
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Newest first.
    pub messages: Vec<StoredMessage>,
    /// Whether all was searched that could be among them: the index is of bounded size, and where it is
    /// full, older messages are not in it.
    pub is_complete: bool,
}

/// Asks what happened after an event, oldest first. Of each kind of events the last 100,000 are kept:
/// numbers that are missing are those of others, or of what was removed with a channel.
///
/// What was said in a channel that is open on this node and not yet here is waited for; the answer ends
/// before it, or is [`ArchiveError::Opening`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Vec<Event>, ArchiveError>")]
pub struct ListEvents {
    /// The number of the last event that is known; zero: none.
    pub since: u64,
    /// As many at most, as in [`ReadPage::limit`].
    pub limit: usize,
}

/// Asks which events are kept.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<EventSpan, ArchiveError>")]
pub struct FindEventSpan;

/// Which events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSpan {
    /// The number of the oldest that is kept; without any, of the next that comes.
    pub oldest: u64,
    /// The number of the last one; zero: there never was any.
    pub last: u64,
}

/// Keeps that a client has dealt with all events up to one; it never goes back, and not beyond the
/// last event. Answered once it is on disk.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), ArchiveError>")]
pub struct Acknowledge {
    /// The client's name for itself, 1 to 64 bytes; 256 are known at most.
    pub client: String,
    /// The event's number.
    pub seq: u64,
}

/// Asks up to which event a client has dealt with all; `None`: it never said.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Option<u64>, ArchiveError>")]
pub struct FindAcknowledged {
    /// The client's name for itself.
    pub client: String,
}

/// Copies the whole archive to a file that is not there yet. An archive opened from the copy begins
/// new chains of ours, as those of the original may go on.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), ArchiveError>")]
pub struct CopyTo {
    /// The file.
    pub path: PathBuf,
}

/// Asks for every [`Pruned`] from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<Pruned>);

/// The beginning of a chain was removed, as the channel kept too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Pruned {
    /// The channel.
    pub channel: ChannelId,
    /// The chain.
    pub chain: ChainId,
    /// The number of the last entry that is gone.
    pub base: u64,
}

/// How much of a channel is kept; what is beyond is removed from the chain that holds most, oldest
/// first. A limit may be passed for as long as a removal takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Entries; `None`: any number.
    pub count: Option<u64>,
    /// Bytes on disk, without what SQLite needs for itself; `None`: any number.
    pub bytes: Option<u64>,
    /// Since it came to this disk; `None`: for ever.
    pub age: Option<Duration>,
}

/// A message, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The channel.
    pub channel: ChannelId,
    /// Its place in the one order of the channel; its author as well.
    pub position: Position,
    /// The chain that it is in.
    pub chain: ChainId,
    /// What its author named it.
    pub id: MessageId,
    /// When it was said, in milliseconds since 1970, as its author claims.
    pub unix_ms: u64,
    /// What was said; not escaped.
    pub text: String,
    /// When it came to this disk, in seconds since 1970.
    pub stored_unix: u64,
}

/// Something that happened, with its durable number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Ascending in the order in which it came to disk.
    pub seq: u64,
    /// What it was.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// Something was said; by us as well, so that all our clients see it.
    Message(StoredMessage),
    /// A message of ours is on the disk of somebody else.
    Delivered {
        /// The message.
        id: MessageId,
        /// Its channel.
        channel: ChannelId,
        /// Who has it.
        by: PeerId,
        /// Whether it can be read there.
        role: Role,
    },
    /// Somebody said two different things under one number: nothing of that chain is taken from
    /// there on, what was taken before stays.
    Forked {
        /// The channel.
        channel: ChannelId,
        /// Who did it.
        author: PeerId,
        /// The chain.
        chain: ChainId,
        /// The number of both.
        number: u64,
    },
    /// What it was about is not kept any more.
    Gone,
    /// The message cannot be read until this channel is open.
    NotOpen(ChannelId),
}

/// The actor.
pub struct Archive {
    paths: Paths,
    profile: Profile,
    state: State,
    waiting: Vec<(Wish, Answer)>,
    searches: Vec<(Search, oneshot::Sender<Result<Found, ArchiveError>>)>,
    lists: Vec<(ListEvents, Answer)>,
    /// Who knows which channels will be opened.
    book: Option<Recipient<channel_book::ListOpen>>,
    expected: Expected,
    subscribers: Subscribers<Pruned>,
    is_indexing: bool,
}

/// Which channels are open on this node and not yet here.
#[derive(Debug)]
enum Expected {
    /// Not known yet: it may be any.
    Any,
    These(HashSet<ChannelId>),
}

impl Expected {
    fn has(&self, id: &ChannelId) -> bool {
        match self {
            Self::Any => true,
            Self::These(ids) => ids.contains(id),
        }
    }

    fn remove(&mut self, id: &ChannelId) {
        if let Self::These(ids) = self {
            ids.remove(id);
        }
    }
}

type Answer = oneshot::Sender<Result<Vec<Event>, ArchiveError>>;

enum State {
    Open(Box<Store>),
    /// Nothing is answered until it is done.
    Mending(Box<Mender>),
    Failed(ArchiveError),
}

impl Archive {
    /// Opens the archive of the profile, or makes an empty one. A damaged one is set aside once what
    /// can be read of it is in a new one, which takes place after the actor was started.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::WrongKey`], [`ArchiveError::Newer`], [`ArchiveError::Disk`].
    pub fn open(profile: &Profile) -> Result<Self, ArchiveError> {
        let paths = Paths::new(profile.dir());
        // A crash came between the end of mending and this.
        if let Some(aside) = paths.finish_mending()? {
            tracing::warn!("the damaged archive is kept as {}", aside.display());
        }
        let state = match Store::open(paths.clone(), profile.storage_key()) {
            Ok(store) => State::Open(Box::new(store)),
            Err(ArchiveError::Damaged { path, why }) => {
                let path = path.display();
                tracing::error!("{path} is damaged: {why}. What can be read goes into a new one");
                State::Mending(Box::new(Mender::begin(
                    paths.clone(),
                    profile.storage_key(),
                    profile.peer_id(),
                )?))
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            paths,
            profile: profile.clone(),
            state,
            waiting: Vec::new(),
            searches: Vec::new(),
            lists: Vec::new(),
            book: None,
            expected: Expected::These(HashSet::new()),
            subscribers: Subscribers::new("archive"),
            is_indexing: false,
        })
    }

    /// Asks at the start which channels will be opened: what was said in them is waited for.
    #[must_use]
    pub fn with_book(self, book: Recipient<channel_book::ListOpen>) -> Self {
        Self { book: Some(book), expected: Expected::Any, ..self }
    }

    fn store(&mut self) -> Result<&mut Store, ArchiveError> {
        match &mut self.state {
            State::Open(store) => Ok(store),
            State::Mending(_) => Err(ArchiveError::Damaged {
                path: self.paths.main.clone(),
                why: "it is being mended".to_owned(),
            }),
            State::Failed(error) => Err(error.clone()),
        }
    }

    /// Runs a request; damage that it meets ends the actor, so that the next one mends it.
    fn with<T>(
        &mut self,
        ctx: &mut Context<Self>,
        work: impl FnOnce(&mut Store) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let outcome = self.store().and_then(work);
        if let Err(error) = &outcome
            && error.is_damage()
        {
            fail(ctx, error.to_string());
        }
        outcome
    }

    /// Does a step of mending; says whether that was the last one.
    fn mend_step(&mut self, ctx: &mut Context<Self>) -> bool {
        let State::Mending(mender) = &mut self.state else { return true };
        let error = match mender.step() {
            Ok(true) => return false,
            Ok(false) => match self.end_mending() {
                Ok(()) => return true,
                Err(error) => error,
            },
            Err(error) => error,
        };
        fail(ctx, format!("the archive cannot be mended: {error}"));
        self.state = State::Failed(error);
        true
    }

    fn end_mending(&mut self) -> Result<(), ArchiveError> {
        let failed = State::Failed(ArchiveError::Damaged {
            path: self.paths.main.clone(),
            why: "it could not be mended".to_owned(),
        });
        if let State::Mending(mender) = std::mem::replace(&mut self.state, failed) {
            let tally = mender.tally;
            if let Some(aside) = mender.swap()? {
                tracing::error!(
                    "the archive was damaged: {} entries of it could be read and are in a new one, \
                     {} could not. The damaged one is kept as {}; entries that are missing come \
                     again from other members, as far as they have them",
                    tally.kept,
                    tally.lost,
                    aside.display()
                );
            }
            let store = Store::open(self.paths.clone(), self.profile.storage_key())?;
            self.state = State::Open(Box::new(store));
        }
        Ok(())
    }

    /// Takes a wish; whatever else is in the mailbox joins it in one transaction.
    fn wish(
        &mut self,
        wish: Wish,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<Result<Vec<Event>, ArchiveError>> {
        let (answer, answered) = oneshot::channel();
        self.waiting.push((wish, answer));
        match self.waiting.len() {
            // Run when the mailbox is empty.
            1 => drop(ctx.spawn(
                actix::fut::ready(()).map(|(), archive: &mut Self, ctx| archive.flush(ctx)),
            )),
            GROUP_MAX => self.flush(ctx),
            _ => {}
        }
        answered
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        let (wishes, answers): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        if wishes.is_empty() {
            return;
        }
        let results = match self.with(ctx, |store| Ok(store.fulfil(&wishes, now_unix()))) {
            Ok(results) => results,
            Err(error) => wishes.iter().map(|_| Err(error.clone())).collect(),
        };
        self.index_if_anew(ctx);
        let mut unfinished = Vec::new();
        for ((wish, answer), result) in wishes.iter().zip(answers).zip(results) {
            let answered = result.map(|done| {
                self.tell(&done.pruned);
                if let Wish::Append(batch) = wish
                    && done.unfinished
                {
                    unfinished.push(batch.channel);
                }
                done.events
            });
            if let Err(error) = &answered
                && error.is_damage()
            {
                fail(ctx, error.to_string());
            }
            // Who asked may be gone.
            let _ = answer.send(answered);
        }
        unfinished.dedup();
        unfinished.into_iter().for_each(|id| self.prune_later(id, Duration::ZERO, ctx));
    }

    /// As many as our own appending and the clock cause.
    fn tell(&self, pruned: &[Pruned]) {
        pruned.iter().for_each(|pruned| self.subscribers.tell(pruned));
    }

    fn prune_later(&mut self, id: ChannelId, after: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(after, move |archive, ctx| {
            let pruned = archive.with(ctx, |store| {
                let now = store.ageing.time(now_unix(), clock::now());
                store.prune_step(&id, now)
            });
            match pruned {
                Ok(done) => {
                    archive.index_if_anew(ctx);
                    archive.tell(&done.pruned);
                    if done.unfinished {
                        archive.prune_later(id, Duration::from_millis(1), ctx);
                    }
                }
                Err(error) => tracing::debug!("nothing is pruned: {error}"),
            }
        });
    }

    fn prune_all_later(ctx: &mut Context<Self>) {
        ctx.run_later(PRUNE_INTERVAL, |archive, ctx| {
            let ids = archive.store().map(|store| store.open_channels()).unwrap_or_default();
            ids.into_iter().for_each(|id| archive.prune_later(id, Duration::ZERO, ctx));
            Self::prune_all_later(ctx);
        });
    }

    fn index_soon(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_indexing, true) {
            return;
        }
        self.index_later(ctx);
    }

    fn index_if_anew(&mut self, ctx: &mut Context<Self>) {
        let is_anew = self.store().is_ok_and(|store| std::mem::take(&mut store.index_is_anew));
        if is_anew {
            self.index_soon(ctx);
        }
    }

    fn index_later(&mut self, ctx: &mut Context<Self>) {
        let pause = if self.searches.is_empty() { INDEX_PAUSE } else { Duration::ZERO };
        ctx.run_later(pause, |archive, ctx| {
            let steps = if archive.searches.is_empty() { 1 } else { INDEX_STEPS };
            let outcome = archive.with(ctx, |store| {
                let mut more = true;
                for _ in 0..steps {
                    more = more && store.index_step()?;
                }
                Ok(more)
            });
            if let Err(error) = &outcome {
                tracing::warn!("older messages cannot be searched: {error}");
            }
            archive.is_indexing = outcome == Ok(true);
            archive.answer_searches(&outcome, ctx);
            if archive.is_indexing {
                archive.index_later(ctx);
            }
        });
    }

    /// `indexed` says whether there is more to be indexed, or why no more can be.
    fn answer_searches(&mut self, indexed: &Result<bool, ArchiveError>, ctx: &mut Context<Self>) {
        for (search, answer) in std::mem::take(&mut self.searches) {
            let found = match (self.with(ctx, |store| find(store, &search)), indexed) {
                (Ok(None), Ok(true)) => {
                    self.searches.push((search, answer));
                    continue;
                }
                (Ok(None), Err(error)) => Err(error.clone()),
                (found, _) => found.map(Option::unwrap_or_default),
            };
            // Who asked may be gone.
            let _ = answer.send(found);
        }
    }

    /// Answers those who wait for what happened, as far as it can be told now.
    fn answer_lists(&mut self, ctx: &mut Context<Self>) {
        for (list, answer) in std::mem::take(&mut self.lists) {
            match self.list(list, ctx) {
                Ok(None) if !answer.is_closed() => self.lists.push((list, answer)),
                // Who asked may be gone.
                outcome => drop(answer.send(outcome.map(Option::unwrap_or_default))),
            }
        }
    }

    /// `None`: what comes next cannot be told yet.
    fn list(
        &mut self,
        list: ListEvents,
        ctx: &mut Context<Self>,
    ) -> Result<Option<Vec<Event>>, ArchiveError> {
        let expected = std::mem::replace(&mut self.expected, Expected::Any);
        let events = self
            .with(ctx, |store| store.list_events(list.since, list.limit, |id| expected.has(id)));
        self.expected = expected;
        events
    }

    fn expect_channels(&mut self, ctx: &mut Context<Self>) {
        let Some(book) = &self.book else { return };
        let open = book.send(channel_book::ListOpen);
        ctx.spawn(open.into_actor(self).map(|open, archive, ctx| {
            // Without the book, this one is started again as well.
            let ids = open.unwrap_or_default();
            let ids = ids.iter().map(|channel| channel.keys.id());
            let mut expected: HashSet<ChannelId> = ids.collect();
            let here = archive.store().map(|store| store.open_channels()).unwrap_or_default();
            expected.retain(|id| !here.contains(id));
            archive.expected = Expected::These(expected);
            archive.answer_lists(ctx);
        }));
    }
}

/// Mends, one step at each poll.
struct Mending;

impl ActorFuture<Archive> for Mending {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        archive: &mut Archive,
        ctx: &mut Context<Archive>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        if archive.mend_step(ctx) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Removes what is left of channels that are gone, one step at each poll.
struct Forgetting;

impl ActorFuture<Archive> for Forgetting {
    type Output = Result<(), ArchiveError>;

    fn poll(
        self: Pin<&mut Self>,
        archive: &mut Archive,
        ctx: &mut Context<Archive>,
        task: &mut task::Context<'_>,
    ) -> Poll<Self::Output> {
        match archive.with(ctx, Store::forget_step) {
            Ok(false) => Poll::Ready(Ok(())),
            Ok(true) => {
                task.waker().wake_by_ref();
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// `None`: not known until more is indexed.
fn find(store: &mut Store, search: &Search) -> Result<Option<Found>, ArchiveError> {
    let mut all = Found { messages: Vec::new(), is_complete: true };
    let Some(query) = Query::parse(&search.words) else { return Ok(Some(all)) };
    if let Some(id) = &search.channel {
        return store.search(id, &query, search.before, search.limit);
    }
    for id in store.open_channels() {
        let Some(found) = store.search(&id, &query, None, search.limit)? else { return Ok(None) };
        all.messages.extend(found.messages);
        all.is_complete &= found.is_complete;
    }
    all.messages.sort_by_key(|message| std::cmp::Reverse((message.unix_ms, message.position)));
    all.messages.truncate(search.limit);
    Ok(Some(all))
}

fn now_unix() -> i64 {
    i64::try_from(clock::unix().as_secs()).unwrap_or(i64::MAX)
}

impl Actor for Archive {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if matches!(self.state, State::Mending(_)) {
            // Messages wait in the mailbox; a stop does not wait for it.
            ctx.wait(Mending);
        }
        // What an interrupted removal has left.
        let forgotten = Forgetting.map(|forgotten, _: &mut Self, _: &mut Context<Self>| {
            if let Err(error) = forgotten {
                tracing::warn!("what was said in a channel that was left is still kept: {error}");
            }
        });
        ctx.spawn(forgotten);
        self.expect_channels(ctx);
        Self::prune_all_later(ctx);
    }
}

impl Handler<OpenChannel> for Archive {
    type Result = Result<ChannelState, ArchiveError>;

    fn handle(&mut self, open: OpenChannel, ctx: &mut Self::Context) -> Self::Result {
        // What was sent before counts, and who opens it anew goes on from there.
        self.flush(ctx);
        let id = open.keys.id();
        let state = self.with(ctx, |store| store.open_channel(open.keys, open.retention))?;
        self.index_soon(ctx);
        self.prune_later(id, Duration::ZERO, ctx);
        self.expected.remove(&id);
        self.answer_lists(ctx);
        Ok(state)
    }
}

impl Handler<CloseChannel> for Archive {
    type Result = Result<(), ArchiveError>;

    fn handle(&mut self, close: CloseChannel, ctx: &mut Self::Context) -> Self::Result {
        self.flush(ctx);
        self.expected.remove(&close.id);
        self.answer_lists(ctx);
        self.with(ctx, |store| store.close_channel(&close.id))
    }
}

impl Handler<ForgetChannel> for Archive {
    type Result = ResponseActFuture<Self, Result<(), ArchiveError>>;

    fn handle(&mut self, forget: ForgetChannel, ctx: &mut Self::Context) -> Self::Result {
        self.flush(ctx);
        match self.with(ctx, |store| store.forget_channel(&forget.id)) {
            Ok(()) => Box::pin(Forgetting),
            Err(error) => Box::pin(actix::fut::ready(Err(error))),
        }
    }
}

impl Handler<Append> for Archive {
    type Result = ResponseFuture<Result<Vec<Event>, ArchiveError>>;

    fn handle(&mut self, Append(batch): Append, ctx: &mut Self::Context) -> Self::Result {
        let path = self.paths.main.clone();
        let answered = self.wish(Wish::Append(batch), ctx);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(ended(path))) })
    }
}

impl Handler<Acknowledge> for Archive {
    type Result = ResponseFuture<Result<(), ArchiveError>>;

    fn handle(&mut self, acknowledge: Acknowledge, ctx: &mut Self::Context) -> Self::Result {
        let path = self.paths.main.clone();
        let Acknowledge { client, seq } = acknowledge;
        let answered = self.wish(Wish::Acknowledge { client, seq }, ctx);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(ended(path))).map(drop) })
    }
}

impl Handler<ReadKept> for Archive {
    type Result = ResponseFuture<Result<Vec<Event>, ArchiveError>>;

    fn handle(&mut self, read: ReadKept, ctx: &mut Self::Context) -> Self::Result {
        let path = self.paths.main.clone();
        let answered = self.wish(Wish::ReadKept(read.channel), ctx);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(ended(path))) })
    }
}

/// The actor ended before it could answer.
fn ended(path: PathBuf) -> ArchiveError {
    let why = std::io::Error::other("the archive was closed");
    ArchiveError::io("write to", &path)(why)
}

impl Handler<ReadRange> for Archive {
    type Result = Result<Vec<Bytes>, ArchiveError>;

    fn handle(&mut self, read: ReadRange, ctx: &mut Self::Context) -> Self::Result {
        let ReadRange { channel, chain, from, bytes_max } = read;
        self.with(ctx, |store| store.read_range(&channel, &chain, from, bytes_max))
    }
}

impl Handler<ReadPage> for Archive {
    type Result = Result<Vec<StoredMessage>, ArchiveError>;

    fn handle(&mut self, read: ReadPage, ctx: &mut Self::Context) -> Self::Result {
        self.with(ctx, |store| store.read_page(&read.channel, read.from, read.limit))
    }
}

impl Handler<Search> for Archive {
    type Result = ResponseFuture<Result<Found, ArchiveError>>;

    fn handle(&mut self, search: Search, ctx: &mut Self::Context) -> Self::Result {
        let path = self.paths.main.clone();
        let found = match self.with(ctx, |store| find(store, &search)) {
            Ok(Some(found)) => Ok(found),
            Ok(None) if self.searches.len() < SEARCHES_MAX => {
                let (answer, answered) = oneshot::channel();
                self.searches.push((search, answer));
                self.index_soon(ctx);
                return Box::pin(
                    async move { answered.await.unwrap_or_else(|_| Err(ended(path))) },
                );
            }
            Ok(None) => Err(ArchiveError::Client("too many searches wait for the index")),
            Err(error) => Err(error),
        };
        Box::pin(std::future::ready(found))
    }
}

impl Handler<FindSaid> for Archive {
    type Result = Result<Option<StoredMessage>, ArchiveError>;

    fn handle(&mut self, find: FindSaid, ctx: &mut Self::Context) -> Self::Result {
        let own = self.profile.peer_id();
        self.with(ctx, |store| store.find_said(&find.channel, &own, &find.id))
    }
}

impl Handler<ListAuthors> for Archive {
    type Result = Result<Vec<PeerId>, ArchiveError>;

    fn handle(&mut self, list: ListAuthors, ctx: &mut Self::Context) -> Self::Result {
        self.with(ctx, |store| store.list_authors(&list.channel))
    }
}

impl Handler<ListEvents> for Archive {
    type Result = ResponseFuture<Result<Vec<Event>, ArchiveError>>;

    fn handle(&mut self, list: ListEvents, ctx: &mut Self::Context) -> Self::Result {
        let listed = match self.list(list, ctx) {
            Ok(Some(events)) => Ok(events),
            Ok(None) if self.lists.len() < LISTS_MAX => {
                let (answer, answered) = oneshot::channel();
                self.lists.retain(|(_, answer)| !answer.is_closed());
                self.lists.push((list, answer));
                return Box::pin(async move {
                    let answered = tokio::time::timeout(OPENING_MAX, answered).await;
                    answered.ok().and_then(Result::ok).unwrap_or(Err(ArchiveError::Opening))
                });
            }
            Ok(None) => Err(ArchiveError::Opening),
            Err(error) => Err(error),
        };
        Box::pin(std::future::ready(listed))
    }
}

impl Handler<FindEventSpan> for Archive {
    type Result = Result<EventSpan, ArchiveError>;

    fn handle(&mut self, _: FindEventSpan, ctx: &mut Self::Context) -> Self::Result {
        self.with(ctx, |store| store.event_span())
    }
}

impl Handler<FindAcknowledged> for Archive {
    type Result = Result<Option<u64>, ArchiveError>;

    fn handle(&mut self, find: FindAcknowledged, ctx: &mut Self::Context) -> Self::Result {
        self.with(ctx, |store| {
            store.refresh()?;
            Ok(store.acknowledged(&find.client))
        })
    }
}

impl Handler<CopyTo> for Archive {
    type Result = Result<(), ArchiveError>;

    fn handle(&mut self, copy: CopyTo, ctx: &mut Self::Context) -> Self::Result {
        self.flush(ctx);
        self.with(ctx, |store| store.copy_to(&copy.path))
    }
}

impl Handler<Subscribe> for Archive {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, _: &mut Self::Context) {
        self.subscribers.add(subscriber);
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("path", &self.paths.main)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

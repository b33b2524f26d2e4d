//! The archive: channels are opened there, what is said is kept there, and what others miss is read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use bitchat_protocol::channel::ChannelKeys;
use bitchat_protocol::id::{ChainId, ChannelId, MessageId};
use bitchat_protocol::limits::OUTBOX_MESSAGES_MAX;
use bitchat_protocol::log::{self, Batch, Body, ChannelState, Entry};

use super::conversation::Conversation;
use super::{Appended, Asked, ChatDesk, ListUndelivered, Notice, Owed, SayError};
use crate::archive::{Append, ArchiveError, OpenChannel, ReadKept, ReadRange};
use crate::channel_book::OpenedChannel;

/// How long to wait before a channel is opened again that the archive could not open.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Bytes of entries that are looked through at once for what nobody has, in each chain of ours.
const UNDELIVERED_BYTES: usize = 1024 * 1024;

impl ChatDesk {
    pub(super) fn open(&mut self, channel: &OpenedChannel, ctx: &mut Context<Self>) {
        let id = channel.keys.id();
        // A newer file of the channel may have come in the place of another one.
        self.generation += 1;
        let new = Conversation::new(channel, self.generation);
        if let Some(mut known) = self.conversations.insert(id, new) {
            known.refuse(&SayError::Starting);
        }
        self.open_archive(id, self.generation, ctx);
    }

    /// The conversation of a channel, if it is still the one that was meant and not open.
    fn unopened(&mut self, id: ChannelId, generation: u64) -> Option<&mut Conversation> {
        let known = self.conversations.get_mut(&id)?;
        (known.generation == generation && !known.is_open).then_some(known)
    }

    fn open_archive(&mut self, id: ChannelId, generation: u64, ctx: &mut Context<Self>) {
        let retention = self.config.retention;
        let Some(known) = self.unopened(id, generation) else { return };
        let keys = Arc::clone(&known.keys);
        let opened = self.offices.archive.open.send(OpenChannel { keys, retention });
        ctx.spawn(opened.into_actor(self).map(move |opened, desk, ctx| match opened {
            Ok(Ok(state)) => desk.on_opened(id, generation, state, ctx),
            Ok(Err(error)) => {
                let Some(known) = desk.unopened(id, generation) else { return };
                let name = known.name.clone();
                known.refuse(&SayError::NotKept(error.clone()));
                // Once, and not at each try.
                if known.trouble.replace(error.clone()).as_ref() != Some(&error) {
                    let text = format!("nothing can be said or taken in in {name}: {error}");
                    desk.listeners.tell(Notice::Warning { text, code: None });
                }
                desk.list_undelivered();
                ctx.run_later(OPEN_AGAIN_AFTER, move |desk, ctx| {
                    desk.open_archive(id, generation, ctx);
                });
            }
            // It is being started again, and this desk as well.
            Err(_) => {}
        }));
    }

    fn on_opened(
        &mut self,
        id: ChannelId,
        generation: u64,
        state: ChannelState,
        ctx: &mut Context<Self>,
    ) {
        let Some(known) = self.unopened(id, generation) else { return };
        let (keys, early) = (Arc::clone(&known.keys), known.open());
        self.find_undelivered(&keys, &state, ctx);
        if keys.is_member() {
            self.read_kept(id, ctx);
        }
        self.take_log(log::Input::Opened { channel: id, keys, state }, ctx);
        for (peer, role) in self.members.of(id) {
            self.take_log(log::Input::MemberUp { channel: id, peer, role }, ctx);
        }
        for (say, answer) in early {
            self.say(say, answer, ctx);
        }
        self.list_undelivered();
    }

    /// Looks what was said in earlier runs and nobody is known to have.
    fn find_undelivered(
        &mut self,
        keys: &Arc<ChannelKeys>,
        state: &ChannelState,
        ctx: &mut Context<Self>,
    ) {
        let (channel, own) = (keys.id(), self.own_peer());
        for chain in state.chains.iter().filter(|chain| chain.certificate.author == own) {
            let id = chain.certificate.chain(&channel);
            let receipts = state.receipts.iter().filter(|receipt| receipt.chain == id);
            let taken = receipts.map(|receipt| receipt.number).max().unwrap_or(0);
            let from = taken.max(chain.base) + 1;
            // Nobody takes what follows a fork.
            let forked = chain.forked.as_ref().map_or(u64::MAX, |fork| fork.number);
            if from > chain.head || from >= forked {
                continue;
            }
            self.looking += 1;
            self.look_through(keys, id, from, chain.head, ctx);
        }
    }

    /// Looks through a chain of ours up to its entry `head`, a piece at a time.
    fn look_through(
        &mut self,
        keys: &Arc<ChannelKeys>,
        chain: ChainId,
        from: u64,
        head: u64,
        ctx: &mut Context<Self>,
    ) {
        let (channel, keys) = (keys.id(), Arc::clone(keys));
        let range = ReadRange { channel, chain, from, bytes_max: UNDELIVERED_BYTES };
        let entries = self.offices.archive.read.send(range);
        ctx.spawn(entries.into_actor(self).map(move |entries, desk, ctx| {
            let entries = entries.ok().and_then(Result::ok).unwrap_or_default();
            let next = from + entries.len() as u64;
            // It may have been closed meanwhile.
            let is_open = desk.conversations.contains_key(&channel);
            let is_done = entries.is_empty() || next > head || !is_open;
            for bytes in entries.into_iter().filter(|_| is_open) {
                let entry = Entry::decode(&channel, bytes).ok();
                let body = entry.and_then(|entry| entry.open(&keys));
                if let Some(said) = body.as_ref().and_then(Body::as_say) {
                    desk.undelivered.insert(channel, said.id);
                }
            }
            if is_done {
                desk.looking -= 1;
                desk.list_undelivered();
            } else {
                desk.look_through(&keys, chain, next, head, ctx);
            }
        }));
    }

    /// Answers who asked what nobody has, once all is looked through.
    pub(super) fn list_undelivered(&mut self) {
        if self.looking > 0 || !self.conversations.values().all(|known| known.is_tried) {
            return;
        }
        for (asked, answer) in std::mem::take(&mut self.asking) {
            // Who asked may be gone.
            let _ = answer.send(self.owed(asked));
        }
    }

    fn owed(&self, ListUndelivered { among }: ListUndelivered) -> Owed {
        let whispers = self.driver.machine().whispers.undelivered();
        if let Some(mut messages) = among {
            let whispers: BTreeSet<MessageId> = whispers.collect();
            messages.retain(|id| whispers.contains(id) || self.undelivered.has(*id));
            return Owed { count: messages.len(), messages };
        }
        let whispers: Vec<MessageId> = whispers.collect();
        let count = self.undelivered.count() + whispers.len();
        let all = self.undelivered.iter().chain(whispers);
        Owed { count, messages: all.take(OUTBOX_MESSAGES_MAX).collect() }
    }

    pub(super) fn append(&mut self, batch: Batch, ctx: &mut Context<Self>) {
        let (asked, channel) = (Asked::Keep(batch.batch), batch.channel);
        self.asked.push_back((asked, None));
        let kept = self.offices.archive.append.send(Append(batch));
        ctx.spawn(kept.into_actor(self).map(move |kept, desk, ctx| {
            desk.open_again_if_lost(channel, &kept, ctx);
            desk.on_answer(asked, kept, ctx);
        }));
    }

    /// Has what was kept of a channel as a seeder told, now that we can read it.
    fn read_kept(&mut self, channel: ChannelId, ctx: &mut Context<Self>) {
        let asked = Asked::Read(channel);
        if self.asked.iter().any(|(it, _)| *it == asked) {
            return;
        }
        self.asked.push_back((asked, None));
        let read = self.offices.archive.read_kept.send(ReadKept { channel });
        ctx.spawn(read.into_actor(self).map(move |read, desk, ctx| {
            desk.on_answer(asked, read, ctx);
        }));
    }

    fn on_answer(&mut self, asked: Asked, answer: Appended, ctx: &mut Context<Self>) {
        if let Some(place) = self.asked.iter_mut().find(|(it, _)| *it == asked) {
            place.1 = Some(answer);
        }
        // In their order, whichever future was looked at first: the numbers of events go up.
        while let Some((asked, answer)) = self.next_answer() {
            match asked {
                Asked::Keep(batch) => self.on_appended(batch, answer, ctx),
                Asked::Read(channel) => self.on_read(channel, answer, ctx),
            }
        }
    }

    fn next_answer(&mut self) -> Option<(Asked, Appended)> {
        let (asked, answer) = self.asked.front_mut()?;
        let next = (*asked, answer.take()?);
        self.asked.pop_front();
        Some(next)
    }

    fn on_read(&mut self, channel: ChannelId, read: Appended, ctx: &mut Context<Self>) {
        match read {
            Ok(Ok(events)) if events.is_empty() => {}
            Ok(Ok(events)) => {
                self.tell(events);
                self.read_kept(channel, ctx);
            }
            // The next time that it is opened.
            Ok(Err(error)) => tracing::warn!("what was kept for others is not read: {error}"),
            Err(_) => {}
        }
    }

    /// Opens a channel once more that was removed from the archive while it was joined again, or of
    /// which there is more than the archive has answered.
    fn open_again_if_lost(&mut self, id: ChannelId, kept: &Appended, ctx: &mut Context<Self>) {
        let is_lost =
            matches!(kept, Ok(Err(ArchiveError::NotOpen(_) | ArchiveError::OtherEntry { .. })));
        if !is_lost {
            return;
        }
        let Some(known) = self.conversations.get_mut(&id).filter(|known| known.is_open) else {
            return;
        };
        self.generation += 1;
        (known.generation, known.is_open) = (self.generation, false);
        self.open_archive(id, self.generation, ctx);
    }

    fn on_appended(&mut self, batch: u64, kept: Appended, ctx: &mut Context<Self>) {
        match kept {
            Ok(Ok(events)) => {
                self.trouble = None;
                self.take_log(log::Input::Stored { batch }, ctx);
                self.tell(events);
            }
            // Follows from another one, which was told.
            Ok(Err(
                ArchiveError::Gap { .. }
                | ArchiveError::NotOpen(_)
                | ArchiveError::OtherEntry { .. },
            )) => {
                self.take_log(log::Input::StoreFailed { batch }, ctx);
            }
            Ok(Err(error)) => {
                if self.trouble.as_ref() != Some(&error) {
                    let text = format!("what is said is not kept: {error}");
                    self.listeners.tell(Notice::Warning { text, code: None });
                }
                self.trouble = Some(error);
                self.take_log(log::Input::StoreFailed { batch }, ctx);
            }
            Err(_) => {
                // It failed, perhaps after it had written.
                self.trouble = None;
                self.take_log(log::Input::StoreFailed { batch }, ctx);
            }
        }
    }

    pub(super) fn load(
        &self,
        request: u64,
        channel: ChannelId,
        chain: ChainId,
        from: u64,
        bytes_max: usize,
        ctx: &mut Context<Self>,
    ) {
        let range = ReadRange { channel, chain, from, bytes_max };
        let entries = self.offices.archive.read.send(range);
        ctx.spawn(entries.into_actor(self).map(move |entries, desk, ctx| {
            let entries = entries.ok().and_then(Result::ok).unwrap_or_default();
            desk.take_log(log::Input::Loaded { request, entries }, ctx);
        }));
    }
}

//! Closed channels that go on without somebody: the founder removes a member, everybody else follows.
//!
//! ```text
//! RemoveMember: a new secret, the founder's word --.
//!                                                  +--> successor on disk --> the channel is former
//! TakeMove:     the word and a key, from a link ---'    (one file, at once)   (30 days open, then shut)
//! ```
//!
//! The successor's `.chat` file holds the founder's word, and that names the channel which it takes
//! the place of: writing this one file is the whole step. What else is written, the copied tickets and
//! since when, is made up for at the next start. So there are never two channels here that both go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext as _, Context, Handler, Message};
use bitchat_protocol::channel::{ChannelKeys, ChannelSecret, Charter, ChatFile, MisfitError, Move};
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::limits::REMOVED_MAX;
use bitchat_protocol::wire::MoveBytes;

use super::shelf::Stored;
use super::{ChannelBook, ChannelError, ChannelEvent, Summary};
use crate::{clock, entropy};

/// How often it is looked for former channels that have been open for long enough.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Removes somebody from a closed channel that we founded: it goes on as another one, with a new key
/// for everybody else. Somebody who was removed already is no error. Answered with that other one.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Summary, ChannelError>")]
pub struct RemoveMember {
    /// The channel.
    pub id: ChannelId,
    /// Whom, in it or not: they will not be let in.
    pub peer: PeerId,
}

/// A peer with whom a closed channel is shared says that it goes on as another one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct TakeMove {
    /// The channel.
    pub channel: ChannelId,
    /// Who says so.
    pub by: PeerId,
    /// The founder's word.
    pub moved: MoveBytes,
    /// A key of the other one.
    pub key: Secret<32>,
}

impl ChannelBook {
    /// Looks, as long as it runs, for former channels that have been open for long enough.
    pub(super) fn begin_moves(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(LOOK_EVERY, |book, ctx| {
            book.close_what_is_over();
            book.begin_moves(ctx);
        });
    }

    pub(super) fn close_what_is_over(&mut self) {
        let is_due = |id: &ChannelId| self.is_over(id) && !self.reread.contains(id);
        let due: Vec<_> = self.open.keys().copied().filter(is_due).collect();
        due.into_iter().for_each(|id| self.close_channel(id));
    }

    /// Whether it went on as another one so long ago that it is no longer kept open.
    pub(super) fn is_over(&self, id: &ChannelId) -> bool {
        let former = self.shelf.get(id).ok().and_then(|stored| stored.former.as_ref());
        former.is_some_and(|former| former.is_over(clock::unix()))
    }

    /// The channels that went on as this one, directly or not, and are still kept open.
    pub(super) fn formers_of(&self, id: ChannelId) -> Vec<ChannelId> {
        let now = clock::unix();
        let mut found = BTreeSet::from([id]);
        let leads_here = |found: &BTreeSet<ChannelId>, stored: &Stored| {
            let former = stored.former.as_ref();
            former.is_some_and(|it| found.contains(&it.moved.successor) && !it.is_over(now))
        };
        loop {
            let more = self.shelf.all().filter(|(_, stored)| leads_here(&found, stored));
            let more: Vec<_> = more.map(|(id, _)| *id).filter(|id| !found.contains(id)).collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        found.into_iter().filter(|it| *it != id).collect()
    }

    /// What a channel goes on as in the end, as far as that is in this profile: often itself.
    pub(super) fn present_of(&self, id: ChannelId) -> ChannelId {
        let mut seen = BTreeSet::new();
        let mut present = id;
        while seen.insert(present)
            && let Ok(Stored { former: Some(former), .. }) = self.shelf.get(&present)
            && self.shelf.get(&former.moved.successor).is_ok()
        {
            present = former.moved.successor;
        }
        present
    }

    /// Nothing but reading is done in a former channel.
    pub(super) fn check_present(&self, id: &ChannelId) -> Result<(), ChannelError> {
        let stored = self.shelf.get(id)?;
        let Some(former) = &stored.former else { return Ok(()) };
        let present = self.shelf.get(&former.moved.successor).ok();
        Err(ChannelError::Former {
            name: stored.name().to_string(),
            successor: present.map(|it| (it.name().to_string(), former.moved.successor)),
        })
    }

    fn remove_member(
        &mut self,
        RemoveMember { id, peer }: RemoveMember,
    ) -> Result<Summary, ChannelError> {
        self.shelf.check_no_pair(&id)?;
        let stored = self.shelf.get(&id)?;
        let name = stored.name().to_string();
        let charter = stored.chat.charter().ok_or_else(|| ChannelError::NotClosed(name.clone()))?;
        self.check_present(&id)?;
        let own = self.shelf.identity();
        let is_founder = own.peer_id() == charter.founder && stored.chat.is_member();
        match (is_founder, peer == charter.founder) {
            (false, _) => return Err(ChannelError::NotFounder(name)),
            (true, true) => return Err(ChannelError::FounderStays(name)),
            (true, false) => {}
        }
        let mut removed = stored.removed.clone();
        if !removed.insert(peer) {
            return self.summary(id);
        }
        if removed.len() > REMOVED_MAX {
            return Err(ChannelError::TooManyRemoved(name));
        }
        let secret = ChannelSecret::generate(&mut Rng::from_seed(entropy::seed()));
        let keys = ChannelKeys::member(secret.clone());
        let moved = Move::sign(own, charter.lineage, id, &keys, removed);
        let file = stored.chat.successor(moved, &secret.0);
        let file = file.map_err(|error| ChannelError::Misfit { name, error })?;
        let successor = self.follow(id, file, &charter)?;
        self.summary(successor)
    }

    /// Takes the founder's word from a link, where it is about a channel of ours that still goes on.
    fn take_move(&mut self, TakeMove { channel, by, moved, key }: TakeMove) {
        let Ok(stored) = self.shelf.get(&channel) else { return };
        let Some(charter) = stored.chat.charter() else { return };
        let Ok(moved) = Move::decode(&moved.0) else {
            return tracing::info!(by = %by.short(), channel = %channel.short(), "no move");
        };
        if let Some(former) = &stored.former {
            // The first one counts: the founder has signed two, from two devices perhaps.
            if former.moved != moved {
                tracing::warn!(by = %by.short(), channel = %channel.short(), "another move out of it");
            }
            return;
        }
        let own = self.shelf.identity().peer_id();
        let is_without_us = moved.removed.contains(&own);
        let label = stored.name().to_string();
        match stored.chat.successor(moved, &key) {
            Ok(_) if is_without_us => {
                tracing::info!(by = %by.short(), channel = %channel.short(), "it goes on without us");
            }
            Ok(file) => {
                if let Err(error) = self.follow(channel, file, &charter) {
                    let text = format!(
                        "{label} goes on with new keys, and this node does not follow: {error}. \
                         It follows when it is told once more, at its next start at the latest"
                    );
                    self.warn_once(channel, text);
                }
            }
            // Of a blind seeder, who has no other; the founder's word is good all the same.
            Err(MisfitError::KeyOfSeeder) => {
                let text = format!(
                    "{label} goes on with new keys, which a member hands on to you as soon as one is \
                     linked; until then, who was removed may read what you say there"
                );
                self.warn_once(channel, text);
            }
            Err(error) => {
                tracing::warn!(by = %by.short(), channel = %channel.short(), %error, "a move");
            }
        }
    }

    fn warn_once(&mut self, channel: ChannelId, text: String) {
        if self.warned.insert((channel, text.clone())) {
            self.tell(&ChannelEvent::Trouble { channel, text });
        }
    }

    /// Goes on as another channel, which is open if this one was.
    fn follow(
        &mut self,
        from: ChannelId,
        file: ChatFile,
        charter: &Charter,
    ) -> Result<ChannelId, ChannelError> {
        let stored = self.shelf.get(&from)?;
        let (label, was_open) = (stored.name().to_string(), self.open.contains_key(&from));
        let before = stored.removed.clone();
        let successor = self.shelf.put_successor(&from, file)?;
        self.carry_owed(&from, &successor);
        self.relink();
        if was_open {
            // It is stored now.
            self.open_channel(successor)?;
        }
        let removed = self.shelf.get(&successor)?.removed.difference(&before).copied().collect();
        tracing::info!(from = %from.short(), to = %successor.short(), "a channel goes on");
        self.tell(&ChannelEvent::Moved {
            channel: from,
            successor,
            label: Arc::from(label),
            by: charter.founder,
            removed,
        });
        Ok(successor)
    }

    /// Owes an invitation to the other channel to whom one is owed to this one.
    fn carry_owed(&mut self, from: &ChannelId, to: &ChannelId) {
        let (Ok(old), Ok(new)) = (self.shelf.get(from), self.shelf.get(to)) else { return };
        let mut owed = old.owed.clone();
        owed.retain(|owing| !new.removed.contains(&owing.peer));
        let carried = self.shelf.put_owed(to, owed);
        if let Err(error) = carried.and_then(|()| self.shelf.put_owed(from, Vec::new())) {
            tracing::warn!(%error, "who was invited and has not answered must be invited anew");
        }
    }

    /// Tells of channels that are former ones since something changed on the shelf.
    pub(super) fn relink(&mut self) {
        let changed = self.shelf.relink(clock::unix());
        self.doors_changed(&changed);
    }
}

impl Handler<RemoveMember> for ChannelBook {
    type Result = Result<Summary, ChannelError>;

    fn handle(&mut self, remove: RemoveMember, _: &mut Context<Self>) -> Self::Result {
        self.remove_member(remove)
    }
}

impl Handler<TakeMove> for ChannelBook {
    type Result = ();

    fn handle(&mut self, taken: TakeMove, _: &mut Context<Self>) {
        self.take_move(taken);
    }
}

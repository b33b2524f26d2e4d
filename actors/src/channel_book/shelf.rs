//! The channels on disk: a `.chat` file for each, where its members were last, what lets us in, and
//! where it went on as another one.
//!
//! The addresses are worth a quicker start and nothing else, so they are kept apart, and a file of
//! them that does not read counts as empty.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bitchat_protocol::channel::{ChatFile, Kind, Ticket};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::identity::{DisplayName, Identity};
use bitchat_protocol::limits::{CHANNELS_MAX, INVITES_OWED_MAX, LAST_KNOWN_MAX, TICKETS_MAX};
use bitchat_protocol::session::{Departure, Door};
use bitchat_protocol::wire::{TicketBytes, WireAddress};
use serde_bytes::ByteBuf;

use super::former::Former;
use super::invited::Owing;
use super::{ChannelError, Summary};
use crate::vault::{Profile, ProfileError, SealedFile};

/// Hexadecimal digits of an id that are enough to look for it.
const PREFIX_MIN: usize = 6;
/// Channels listed for a text that fits several.
const CANDIDATES_SHOWN: usize = 5;
/// The sub-directory of the profile.
const DIRECTORY: &str = "channels";

/// One channel on disk.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) chat: ChatFile,
    pub(super) last_known: Vec<SocketAddr>,
    /// The contact whose channel with us it is; it has no file.
    pub(super) pair: Option<PeerId>,
    /// What lets us in, where it is closed.
    pub(super) tickets: Vec<Ticket>,
    /// Whom we owe an invitation to it over a link.
    pub(super) owed: Vec<Owing>,
    /// Another number after each change of who may be in it.
    pub(super) revision: u64,
    /// Where it went on as another one.
    pub(super) former: Option<Former>,
    /// Who may not be in it, whatever tickets they have.
    pub(super) removed: BTreeSet<PeerId>,
    unsaved: bool,
}

impl Stored {
    fn new(chat: ChatFile, last_known: Vec<SocketAddr>, tickets: Vec<Ticket>) -> Self {
        Self {
            chat,
            last_known,
            pair: None,
            tickets,
            owed: Vec::new(),
            revision: 0,
            former: None,
            removed: BTreeSet::new(),
            unsaved: false,
        }
    }

    /// What it is called here: not as before, where it went on as another one.
    pub(super) fn name(&self) -> DisplayName {
        let name = self.chat.name();
        match &self.former {
            Some(former) => former.name(name, &former.moved.from),
            None => name.clone(),
        }
    }

    /// What a session shows, and hands on, where it is closed.
    pub(super) fn door(&self) -> Option<Door> {
        self.chat.charter()?;
        let bytes = |ticket: &Ticket| ticket.encode().try_into().ok().map(TicketBytes);
        let tickets = self.tickets.iter().filter_map(bytes).collect();
        let departure = self.former.as_ref().and_then(|former| former.departure.clone());
        Some(Door { tickets, revision: self.revision, departure })
    }
}

/// All channels of a profile.
#[derive(Debug)]
pub(super) struct Shelf {
    profile: Profile,
    channels: BTreeMap<ChannelId, Stored>,
}

impl Shelf {
    /// Reads all of them. A channel that is damaged is an error: it must not be joined over.
    pub(super) fn open(profile: &Profile, now: Duration) -> Result<Self, ProfileError> {
        let mut channels = BTreeMap::new();
        for file in profile.files_in(DIRECTORY, "chat")? {
            let bytes = file.read()?.ok_or_else(|| file.damaged("it is missing"))?;
            let chat = ChatFile::from_bytes(&bytes).map_err(|error| file.damaged(error))?;
            let id = chat.keys().id();
            let last_known = read_addresses(&peers_file(profile, &id));
            let tickets = read_tickets(&tickets_file(profile, &id))?;
            let former = Former::read(&moved_file(profile, &id))?;
            let owed = read_owed(&invited_file(profile, &id))?;
            let stored = Stored { former, owed, ..Stored::new(chat, last_known, tickets) };
            channels.insert(id, stored);
        }
        let mut shelf = Self { profile: profile.clone(), channels };
        shelf.relink(now);
        shelf.copy_tickets();
        Ok(shelf)
    }

    /// Ours.
    pub(super) fn identity(&self) -> &Identity {
        self.profile.identity()
    }

    pub(super) fn get(&self, id: &ChannelId) -> Result<&Stored, ChannelError> {
        self.channels.get(id).ok_or_else(|| ChannelError::NotFound(id.short()))
    }

    pub(super) fn get_mut(&mut self, id: &ChannelId) -> Result<&mut Stored, ChannelError> {
        self.channels.get_mut(id).ok_or_else(|| ChannelError::NotFound(id.short()))
    }

    /// Keeps the tickets that let us in; whether they are others than before.
    pub(super) fn put_tickets(
        &mut self,
        id: &ChannelId,
        tickets: Vec<Ticket>,
    ) -> Result<bool, ChannelError> {
        if self.get(id)?.tickets == tickets {
            return Ok(false);
        }
        let bytes: Vec<_> = tickets.iter().map(|it| ByteBuf::from(it.encode())).collect();
        let bytes = rmp_serde::to_vec(&bytes).expect("byte strings have a MessagePack form");
        tickets_file(&self.profile, id).write(&bytes)?;
        self.get_mut(id)?.tickets = tickets;
        Ok(true)
    }

    /// Keeps whom we owe an invitation.
    pub(super) fn put_owed(
        &mut self,
        id: &ChannelId,
        owed: Vec<Owing>,
    ) -> Result<(), ChannelError> {
        if self.get(id)?.owed == owed {
            return Ok(());
        }
        let file = invited_file(&self.profile, id);
        if owed.is_empty() {
            file.remove()?;
        } else {
            let bytes = rmp_serde::to_vec_named(&owed).expect("plain maps have a MessagePack form");
            file.write(&bytes)?;
        }
        self.get_mut(id)?.owed = owed;
        Ok(())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&ChannelId, &Stored)> {
        self.channels.iter()
    }

    /// Stores the channel, or what a file of a stored one may change: [`ChatFile::updated_by`].
    pub(super) fn put(&mut self, chat: ChatFile) -> Result<ChannelId, ChannelError> {
        let kind = chat.kind();
        if kind == Kind::Pair {
            return Err(ChannelError::IsPair(chat.name().to_string()));
        }
        let id = chat.keys().id();
        let chat = match self.channels.get(&id).map(|stored| &stored.chat) {
            Some(stored) => {
                let updated = stored.updated_by(chat);
                let other = || ChannelError::OtherCharter(stored.name().to_string());
                let updated = updated.ok_or_else(other)?;
                if updated == *stored {
                    return Ok(id);
                }
                updated
            }
            None if self.channels.len() >= CHANNELS_MAX => return Err(ChannelError::Full),
            None => chat,
        };
        chat_file(&self.profile, &id).write(&chat.to_bytes())?;
        let stored = match self.channels.remove(&id) {
            Some(stored) => Stored { chat, unsaved: false, ..stored },
            None => Stored::new(chat, Vec::new(), Vec::new()),
        };
        self.channels.insert(id, stored);
        Ok(id)
    }

    /// Stores what takes the place of the channel `from`; [`Shelf::relink`] must follow. That alone may
    /// fail: the tickets are copied again at the next start.
    pub(super) fn put_successor(
        &mut self,
        from: &ChannelId,
        chat: ChatFile,
    ) -> Result<ChannelId, ChannelError> {
        let last_known = self.get(from)?.last_known.clone();
        let id = self.put(chat)?;
        let is_new = self.get(&id)?.last_known.is_empty();
        if is_new {
            // Who is in the one is in the other.
            self.set_last_known(&id, last_known);
        }
        self.copy_tickets();
        Ok(id)
    }

    /// Lets what took the place of another channel have the tickets of that, which are as good for it.
    fn copy_tickets(&mut self) {
        let lacking = self.channels.iter().filter_map(|(id, stored)| {
            let from = &stored.chat.origin()?.from;
            let tickets = &self.channels.get(from)?.tickets;
            (stored.tickets.is_empty() && !tickets.is_empty()).then(|| (*id, tickets.clone()))
        });
        for (id, tickets) in lacking.collect::<Vec<_>>() {
            if let Err(error) = self.put_tickets(&id, tickets.clone()) {
                tracing::warn!(channel = %id.short(), %error, "its tickets are not written yet");
                if let Ok(stored) = self.get_mut(&id) {
                    stored.tickets = tickets;
                }
            }
        }
    }

    /// Finds which channels went on as others, and who was removed; gives those of which something is
    /// another now.
    pub(super) fn relink(&mut self, now: Duration) -> Vec<ChannelId> {
        let mut changed = Vec::new();
        let origins = self.channels.values().filter_map(|stored| stored.chat.origin().cloned());
        for origin in origins.collect::<Vec<_>>() {
            let from = origin.from;
            let Some(stored) = self.channels.get_mut(&from) else { continue };
            let is_so = |charter| origin.leads_from(&from, &charter);
            if stored.former.is_none() && stored.chat.charter().is_some_and(is_so) {
                let former = Former::new(origin, now);
                if let Err(error) = former.write(&moved_file(&self.profile, &from)) {
                    tracing::warn!(channel = %from.short(), %error, "since when it is a former one");
                }
                stored.former = Some(former);
            }
        }
        for id in self.channels.keys().copied().collect::<Vec<_>>() {
            let (departure, removed) = (self.departure_of(&id), self.removed_of(&id));
            let Some(stored) = self.channels.get_mut(&id) else { continue };
            let is_same = stored.removed == removed
                && stored.former.as_ref().is_none_or(|former| former.departure == departure);
            if !is_same {
                stored.removed = removed;
                if let Some(former) = &mut stored.former {
                    former.departure = departure;
                }
                changed.push(id);
            }
        }
        changed
    }

    fn departure_of(&self, id: &ChannelId) -> Option<Departure> {
        let former = self.channels.get(id)?.former.as_ref()?;
        let successor = self.channels.get(&former.moved.successor)?;
        Some(former.departure_to(&successor.chat.keys()))
    }

    /// As all moves of the lineage say: who was removed from what it went on as in the end is handed
    /// no key on the way there.
    fn removed_of(&self, id: &ChannelId) -> BTreeSet<PeerId> {
        let charter = |stored: &Stored| stored.chat.charter().map(|it| (it.founder, it.lineage));
        let Some(lineage) = self.channels.get(id).and_then(charter) else { return BTreeSet::new() };
        let kin = self.channels.values().filter(|stored| charter(stored) == Some(lineage));
        let moves = |stored: &Stored| {
            let former = stored.former.as_ref().map(|former| former.moved.clone());
            stored.chat.origin().cloned().into_iter().chain(former)
        };
        kin.flat_map(moves).flat_map(|moved| moved.removed).collect()
    }

    /// Takes the channel of a pair, until the profile is opened again.
    pub(super) fn put_pair(
        &mut self,
        peer: PeerId,
        chat: ChatFile,
    ) -> Result<ChannelId, ChannelError> {
        let id = chat.keys().id();
        if self.channels.len() >= CHANNELS_MAX && !self.channels.contains_key(&id) {
            return Err(ChannelError::Full);
        }
        let last_known = match self.channels.remove(&id) {
            Some(stored) => stored.last_known,
            None => read_addresses(&peers_file(&self.profile, &id)),
        };
        let stored = Stored { pair: Some(peer), ..Stored::new(chat, last_known, Vec::new()) };
        self.channels.insert(id, stored);
        Ok(id)
    }

    /// The channel of us and a contact, if there is one.
    pub(super) fn pair_with(&self, peer: &PeerId) -> Option<ChannelId> {
        self.all().find(|(_, stored)| stored.pair.as_ref() == Some(peer)).map(|(id, _)| *id)
    }

    /// How many channels of pairs there are.
    pub(super) fn pairs(&self) -> usize {
        self.all().filter(|(_, stored)| stored.pair.is_some()).count()
    }

    pub(super) fn check_no_pair(&self, id: &ChannelId) -> Result<(), ChannelError> {
        match self.get(id)? {
            Stored { pair: Some(_), chat, .. } => {
                Err(ChannelError::IsPair(chat.name().to_string()))
            }
            Stored { pair: None, .. } => Ok(()),
        }
    }

    /// Removes the channel and all that was kept of it.
    pub(super) fn remove(&mut self, id: &ChannelId) -> Result<Stored, ChannelError> {
        self.get(id)?;
        // First: without it the others mean nothing, and a channel without its tickets is a loss.
        chat_file(&self.profile, id).remove()?;
        let removed = self.channels.remove(id);
        for file in [tickets_file, moved_file, invited_file, peers_file] {
            let rest = file(&self.profile, id);
            if let Err(error) = rest.remove() {
                tracing::warn!(%error, "what is left of a channel that was left");
            }
        }
        removed.ok_or_else(|| ChannelError::NotFound(id.short()))
    }

    /// Finds a channel by its name, its whole id, or at least six first digits of its id.
    pub(super) fn find(&self, text: &str) -> Result<(&ChannelId, &Stored), ChannelError> {
        let text = text.trim();
        let whole = self.all().find(|(id, _)| id.to_string().eq_ignore_ascii_case(text));
        if let Some(found) = whole {
            return Ok(found);
        }
        let (name, prefix) = (text.to_lowercase(), text.to_ascii_lowercase());
        let found: Vec<_> = self
            .all()
            .filter(|(id, stored)| {
                stored.name().as_str().to_lowercase() == name
                    || (prefix.len() >= PREFIX_MIN && id.to_string().starts_with(&prefix))
            })
            .collect();
        // A contact may be called like a channel: who names a channel means that.
        let mut joined = found.iter().filter(|(_, stored)| stored.pair.is_none());
        match (&found[..], joined.next(), joined.next()) {
            ([], ..) => Err(ChannelError::NotFound(text.to_owned())),
            ([one], ..) | (_, Some(one), None) => Ok(*one),
            _ => Err(ChannelError::Ambiguous {
                text: text.to_owned(),
                candidates: found
                    .iter()
                    .take(CANDIDATES_SHOWN)
                    .map(|(id, stored)| format!("{} {}", stored.name(), id.short()))
                    .collect(),
            }),
        }
    }

    pub(super) fn summary(id: ChannelId, stored: &Stored, is_open: bool) -> Summary {
        let chat = &stored.chat;
        Summary {
            id,
            name: stored.name(),
            kind: chat.kind(),
            pair: stored.pair,
            policy: chat.charter().map(|charter| charter.policy),
            rotation: chat.rotation(),
            is_member: chat.is_member(),
            founder: chat.founder(),
            trackers: chat.tiers(),
            nodes: chat.nodes().to_vec(),
            moved_to: stored.former.as_ref().map(|former| former.moved.successor),
            removed: stored.removed.iter().copied().collect(),
            is_open,
        }
    }

    /// Remembers where members were, best first, to be written by [`Shelf::save`]. Says whether
    /// anything has to be.
    pub(super) fn set_last_known(
        &mut self,
        id: &ChannelId,
        mut addresses: Vec<SocketAddr>,
    ) -> bool {
        addresses.truncate(LAST_KNOWN_MAX);
        match self.channels.get_mut(id) {
            Some(stored) if stored.last_known != addresses => {
                stored.last_known = addresses;
                stored.unsaved = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Writes the addresses that are not written yet, and goes on after a failure.
    pub(super) fn save(&mut self) -> Result<(), ProfileError> {
        let mut result = Ok(());
        for (id, stored) in self.channels.iter_mut().filter(|(_, stored)| stored.unsaved) {
            let written = write_addresses(&peers_file(&self.profile, id), &stored.last_known);
            stored.unsaved = written.is_err();
            result = result.and(written);
        }
        result
    }
}

fn chat_file(profile: &Profile, id: &ChannelId) -> SealedFile {
    profile.file_of(DIRECTORY, &id.0, "chat")
}

fn peers_file(profile: &Profile, id: &ChannelId) -> SealedFile {
    profile.file_of(DIRECTORY, &id.0, "peers")
}

fn tickets_file(profile: &Profile, id: &ChannelId) -> SealedFile {
    profile.file_of(DIRECTORY, &id.0, "tickets")
}

fn invited_file(profile: &Profile, id: &ChannelId) -> SealedFile {
    profile.file_of(DIRECTORY, &id.0, "invited")
}

fn read_owed(file: &SealedFile) -> Result<Vec<Owing>, ProfileError> {
    let Some(bytes) = file.read()? else { return Ok(Vec::new()) };
    let read: Vec<Owing> =
        rmp_serde::from_slice(&bytes).map_err(|_| file.damaged("it is no list of invitations"))?;
    if read.len() > INVITES_OWED_MAX {
        return Err(file.damaged("it has too many invitations"));
    }
    Ok(read)
}

fn moved_file(profile: &Profile, id: &ChannelId) -> SealedFile {
    profile.file_of(DIRECTORY, &id.0, "moved")
}

fn read_tickets(file: &SealedFile) -> Result<Vec<Ticket>, ProfileError> {
    let Some(bytes) = file.read()? else { return Ok(Vec::new()) };
    let read: Vec<ByteBuf> =
        rmp_serde::from_slice(&bytes).map_err(|_| file.damaged("it is no list of tickets"))?;
    if read.len() > TICKETS_MAX {
        return Err(file.damaged("it has too many tickets"));
    }
    let ticket = |bytes: &ByteBuf| Ticket::decode(bytes).map_err(|error| file.damaged(error));
    read.iter().map(ticket).collect()
}

fn read_addresses(file: &SealedFile) -> Vec<SocketAddr> {
    match file.read() {
        Ok(Some(bytes)) => {
            let read: Result<Vec<WireAddress>, _> = rmp_serde::from_slice(&bytes);
            if read.is_err() {
                tracing::warn!(file = %file.path().display(), "these addresses do not read");
            }
            let addresses = read.unwrap_or_default().into_iter().map(|address| address.0);
            addresses.take(LAST_KNOWN_MAX).collect()
        }
        Ok(None) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "going on without the addresses of the last run");
            Vec::new()
        }
    }
}

fn write_addresses(file: &SealedFile, addresses: &[SocketAddr]) -> Result<(), ProfileError> {
    let addresses: Vec<_> = addresses.iter().copied().map(WireAddress).collect();
    let bytes = rmp_serde::to_vec(&addresses).expect("byte strings have a MessagePack form");
    file.write(&bytes)
}

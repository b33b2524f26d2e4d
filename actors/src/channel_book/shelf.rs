//! The channels on disk: a `.chat` file for each, and where its members were last.
//!
//! The addresses are worth a quicker start and nothing else, so they are kept apart, and a file of
//! them that does not read counts as empty.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bitchat_protocol::channel::ChatFile;
use bitchat_protocol::id::ChannelId;
use bitchat_protocol::limits::{CHANNELS_MAX, LAST_KNOWN_MAX};
use bitchat_protocol::wire::WireAddress;

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
    unsaved: bool,
}

/// All channels of a profile.
#[derive(Debug)]
pub(super) struct Shelf {
    profile: Profile,
    channels: BTreeMap<ChannelId, Stored>,
}

impl Shelf {
    /// Reads all of them. A channel that is damaged is an error: it must not be joined over.
    pub(super) fn open(profile: &Profile) -> Result<Self, ProfileError> {
        let mut channels = BTreeMap::new();
        for file in profile.files_in(DIRECTORY, "chat")? {
            let bytes = file.read()?.ok_or_else(|| file.damaged("it is missing"))?;
            let chat = ChatFile::from_bytes(&bytes).map_err(|error| file.damaged(error))?;
            let id = chat.keys().id();
            let last_known = read_addresses(&peers_file(profile, &id));
            channels.insert(id, Stored { chat, last_known, unsaved: false });
        }
        Ok(Self { profile: profile.clone(), channels })
    }

    pub(super) fn get(&self, id: &ChannelId) -> Result<&Stored, ChannelError> {
        self.channels.get(id).ok_or_else(|| ChannelError::NotFound(id.short()))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&ChannelId, &Stored)> {
        self.channels.iter()
    }

    /// Stores the channel. A seeder's file never takes the place of a member's.
    pub(super) fn put(&mut self, chat: ChatFile) -> Result<ChannelId, ChannelError> {
        let kind = chat.kind();
        if !kind.is_supported() {
            return Err(ChannelError::Unsupported(kind.as_str()));
        }
        let id = chat.keys().id();
        match self.channels.get(&id).map(|stored| &stored.chat) {
            Some(stored) if *stored == chat || (stored.is_member() && !chat.is_member()) => {
                return Ok(id);
            }
            None if self.channels.len() >= CHANNELS_MAX => return Err(ChannelError::Full),
            Some(_) | None => {}
        }
        chat_file(&self.profile, &id).write(&chat.to_bytes())?;
        let last_known =
            self.channels.remove(&id).map(|stored| stored.last_known).unwrap_or_default();
        self.channels.insert(id, Stored { chat, last_known, unsaved: false });
        Ok(id)
    }

    /// Removes the channel and all that was kept of it.
    pub(super) fn remove(&mut self, id: &ChannelId) -> Result<Stored, ChannelError> {
        self.get(id)?;
        peers_file(&self.profile, id).remove()?;
        chat_file(&self.profile, id).remove()?;
        self.channels.remove(id).ok_or_else(|| ChannelError::NotFound(id.short()))
    }

    /// Finds a channel by its name, its whole id, or at least six first digits of its id.
    pub(super) fn find(&self, text: &str) -> Result<(&ChannelId, &Stored), ChannelError> {
        let text = text.trim();
        let (name, prefix) = (text.to_lowercase(), text.to_ascii_lowercase());
        let found: Vec<_> = self
            .all()
            .filter(|(id, stored)| {
                stored.chat.name().as_str().to_lowercase() == name
                    || (prefix.len() >= PREFIX_MIN && id.to_string().starts_with(&prefix))
            })
            .collect();
        match found[..] {
            [] => Err(ChannelError::NotFound(text.to_owned())),
            [one] => Ok(one),
            [..] => Err(ChannelError::Ambiguous {
                text: text.to_owned(),
                candidates: found
                    .iter()
                    .take(CANDIDATES_SHOWN)
                    .map(|(id, stored)| format!("{} {}", stored.chat.name(), id.short()))
                    .collect(),
            }),
        }
    }

    pub(super) fn summary(id: ChannelId, stored: &Stored, is_open: bool) -> Summary {
        let chat = &stored.chat;
        Summary {
            id,
            name: chat.name().clone(),
            kind: chat.kind(),
            rotation: chat.rotation(),
            is_member: chat.is_member(),
            founder: chat.founder(),
            trackers: chat.tiers(),
            nodes: chat.nodes().to_vec(),
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

//! The log of all channels: hands each input to its channel, and counts what concerns whole links.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::api::{Dropped, Input, Output, SayError};
use super::channel::{Channel, Reading};
use crate::crypto::Rng;
use crate::crypto::sign::SigningKey;
use crate::id::{ChannelId, MessageId, PeerId};
use crate::limits::CHAT_WINDOW_BYTES;
use crate::machine::Machine;
use crate::wire::Frame;

/// The machine; see the module.
#[derive(Debug)]
pub struct Log {
    core: Core,
    channels: BTreeMap<ChannelId, Channel>,
}

/// What all channels share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) key: SigningKey,
    pub(super) outputs: VecDeque<Output>,
    pub(super) dropped: Dropped,
    links: BTreeMap<PeerId, Link>,
    batches: BTreeMap<u64, ChannelId>,
    next_batch: u64,
    readings: BTreeMap<u64, (ChannelId, Reading)>,
    next_request: u64,
}

/// What is under way on the link with one peer, over all channels.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Bytes pushed that the peer has not said to have.
    pub(super) pushed: usize,
    /// Wishes of ours that the peer has not answered.
    pub(super) wanted: usize,
    /// It has sent what no honest node passes on: nothing more is taken from it over this link.
    is_muted: bool,
}

impl Core {
    /// Who we are.
    pub(super) const fn me(&self) -> PeerId {
        PeerId(*self.key.public())
    }

    pub(super) fn send(&mut self, to: PeerId, frame: Frame) {
        self.outputs.push_back(Output::Send { to, frame });
    }

    pub(super) fn link(&mut self, peer: PeerId) -> &mut Link {
        self.links.entry(peer).or_default()
    }

    pub(super) fn wanted(&self, peer: &PeerId) -> usize {
        self.links.get(peer).map_or(0, |link| link.wanted)
    }

    pub(super) fn is_muted(&self, peer: &PeerId) -> bool {
        self.links.get(peer).is_some_and(|link| link.is_muted)
    }

    /// Takes nothing more from a peer until it is linked anew: it has sent a signature or a mark that
    /// is none, which whoever checks does not pass on, and each costs us a verification.
    pub(super) fn mute(&mut self, peer: PeerId) {
        self.link(peer).is_muted = true;
    }

    /// Room for what is pushed to a peer.
    pub(super) fn room(&self, peer: &PeerId) -> usize {
        CHAT_WINDOW_BYTES.saturating_sub(self.links.get(peer).map_or(0, |link| link.pushed))
    }

    pub(super) fn new_batch(&mut self, channel: ChannelId) -> u64 {
        let batch = self.next_batch;
        self.next_batch += 1;
        self.batches.insert(batch, channel);
        batch
    }

    pub(super) fn read(
        &mut self,
        channel: ChannelId,
        reading: Reading,
        from: u64,
        bytes_max: usize,
    ) {
        let request = self.next_request;
        self.next_request += 1;
        let chain = reading.chain();
        self.outputs.push_back(Output::Load { request, channel, chain, from, bytes_max });
        self.readings.insert(request, (channel, reading));
    }

    /// Forgets what a channel has under way with the disk.
    pub(super) fn forget(&mut self, channel: ChannelId) {
        self.batches.retain(|_, of| *of != channel);
        self.readings.retain(|_, (of, _)| *of != channel);
    }
}

impl Log {
    /// Makes the log of the node whose identity `key` is.
    #[must_use]
    pub fn new(now: Instant, key: SigningKey, rng: Rng) -> Self {
        let core = Core {
            now,
            rng,
            key,
            outputs: VecDeque::new(),
            dropped: Dropped::default(),
            links: BTreeMap::new(),
            batches: BTreeMap::new(),
            next_batch: 1,
            readings: BTreeMap::new(),
            next_request: 1,
        };
        Self { core, channels: BTreeMap::new() }
    }

    /// Says a text in a channel. An `id` of the caller's own that is on its way to the disk is
    /// answered and not said again; whether one is on disk, the archive knows. Either
    /// [`Output::Said`] or [`Output::SayFailed`] follows.
    ///
    /// # Errors
    ///
    /// See [`SayError`]; nothing was said then.
    pub fn say(
        &mut self,
        channel: ChannelId,
        id: Option<MessageId>,
        unix_ms: u64,
        text: String,
    ) -> Result<MessageId, SayError> {
        let channel = self.channels.get_mut(&channel).ok_or(SayError::NotOpen)?;
        channel.say(&mut self.core, id, unix_ms, text)
    }

    /// What was not taken, by cause.
    #[must_use]
    pub const fn dropped(&self) -> Dropped {
        self.core.dropped
    }

    /// Chains of a channel of which we lack something.
    #[cfg(test)]
    pub(super) fn behind(&self, channel: &ChannelId) -> usize {
        self.channels.get(channel).map_or(0, |channel| channel.behind.len())
    }

    fn frame(&mut self, from: PeerId, frame: Frame) {
        let (core, channels) = (&mut self.core, &mut self.channels);
        match frame {
            Frame::Have(have) => {
                if let Some(channel) = channels.get_mut(&have.channel) {
                    channel.on_have(core, from, &have);
                    // The link has room now for what other channels owe the peer.
                    for channel in channels.values_mut() {
                        channel.push(core, from);
                    }
                }
            }
            Frame::Want(want) => {
                if let Some(channel) = channels.get_mut(&want.channel) {
                    channel.on_want(core, from, &want);
                }
            }
            Frame::Entries(entries) => {
                if let Some(channel) = channels.get_mut(&entries.channel) {
                    channel.on_entries(core, from, entries);
                    for channel in channels.values_mut() {
                        channel.pull(core);
                    }
                }
            }
            Frame::Fork(fork) => {
                if let Some(channel) = channels.get_mut(&fork.channel) {
                    channel.on_fork(core, from, &fork);
                }
            }
            Frame::Hello(_)
            | Frame::SharedChannels(_)
            | Frame::Rename(_)
            | Frame::Peers(_)
            | Frame::Whisper(_)
            | Frame::Delivered(_)
            | Frame::RenewOffer(_)
            | Frame::RenewAnswer(_)
            | Frame::RenewConfirm(_)
            | Frame::Tickets(_)
            | Frame::Refused(_)
            | Frame::LetIn(_)
            | Frame::Moved(_)
            | Frame::Invite(_)
            | Frame::InviteAnswer(_) => {}
        }
    }
}

impl Machine for Log {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        let (core, channels) = (&mut self.core, &mut self.channels);
        core.now = core.now.max(now);
        match input {
            Input::Opened { channel, keys, state } => {
                let peers = channels.remove(&channel).map(|old| old.fall(core));
                let mut opened = Channel::new(core, keys, state);
                opened.welcome(core, peers.unwrap_or_default());
                channels.insert(channel, opened);
            }
            Input::Closed(channel) => {
                if let Some(closed) = channels.remove(&channel) {
                    closed.fall(core);
                }
            }
            Input::MemberUp { channel, peer, role } => {
                if let Some(channel) = channels.get_mut(&channel) {
                    channel.member_up(core, peer, role);
                }
            }
            Input::MemberDown { channel, peer } => {
                if let Some(channel) = channels.get_mut(&channel) {
                    channel.member_down(core, peer);
                }
            }
            Input::PeerDown(peer) => {
                for channel in channels.values_mut() {
                    channel.member_down(core, peer);
                }
                core.links.remove(&peer);
            }
            Input::Rerouted(peer) => {
                for channel in channels.values_mut() {
                    channel.rerouted(core, peer);
                }
            }
            Input::FramesReceived { from, frames } => {
                for frame in frames {
                    self.frame(from, frame);
                }
                for channel in self.channels.values_mut() {
                    channel.commit(&mut self.core);
                }
            }
            Input::Stored { batch } => {
                if let Some(channel) = core.batches.remove(&batch)
                    && let Some(channel) = channels.get_mut(&channel)
                {
                    channel.stored(core, batch);
                }
            }
            Input::StoreFailed { batch } => {
                if let Some(channel) = core.batches.remove(&batch)
                    && let Some(channel) = channels.get_mut(&channel)
                {
                    channel.store_failed(core, batch);
                }
            }
            Input::Loaded { request, entries } => {
                if let Some((channel, reading)) = core.readings.remove(&request)
                    && let Some(channel) = channels.get_mut(&channel)
                {
                    channel.loaded(core, reading, entries);
                    channel.commit(core);
                }
            }
            Input::Pruned { channel, chain, base } => {
                if let Some(channel) = channels.get_mut(&channel) {
                    channel.pruned(core, chain, base);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.core.now = self.core.now.max(now);
        let mut late = false;
        for channel in self.channels.values_mut() {
            late |= channel.timeout(&mut self.core);
        }
        if late {
            // Another channel may ask whoever was asked in vain.
            for channel in self.channels.values_mut() {
                channel.pull(&mut self.core);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.channels.values().filter_map(Channel::poll_timeout).min()
    }
}

//! What is said in channels and to one peer alone: who is owed what, receipts, duplicates.
//!
//! ```text
//!  said, nobody linked ---> [Open] -- a member links --> sent, still open
//!                             |                                |
//!                             '----------- receipt ------------'
//!                                             v
//!  said, members linked -> [Owed to A, B, ..] -- receipt of A --> [Owed to B, ..] -> ... -> done
//!                             |    ^
//!             a link is lost  '----'  sent again on the next link
//! ```
//!
//! Each peer has a window of its own, so a slow one delays nobody else. A link keeps order and
//! loses nothing while it lives, so there is no timer here. Where several links with a peer live,
//! a receipt may go by another one than what it is for: when that one ends, receipts are repeated.
//!
//! Not here: history on disk and delivery through third parties; who is linked ([`crate::mesh`]).
//!
//! Spec: `docs/spec/07-chat.md`; what the words promise: `docs/delivery.md`.

mod flow;
mod recent;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use self::flow::Flow;
use self::recent::Recent;
use crate::crypto::Rng;
use crate::id::{ChannelId, MessageId, PeerId};
use crate::limits::{
    AUTHORS_REMEMBERED_MAX, MESSAGE_BYTES_MAX, OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX,
    RECEIPTS_PER_FRAME_MAX,
};
use crate::machine::Machine;
use crate::wire::{Delivered, Frame, Say};

/// What the driver tells the machine.
#[derive(Debug)]
pub enum Input {
    /// A member of a channel is linked.
    MemberUp {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
    },
    /// A member of a channel is linked no longer.
    MemberDown {
        /// The channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
    },
    /// A peer is linked, in whatever channels; what is owed there follows with each
    /// [`Input::MemberUp`].
    PeerUp(PeerId),
    /// Another link carries what is sent to a peer: what was on its way may be lost.
    Rerouted(PeerId),
    /// A peer is linked no longer, and so a member of no channel.
    PeerDown(PeerId),
    /// We are no longer in a channel: what it is still owed is forgotten.
    ChannelClosed(ChannelId),
    /// A batch of frames over the link with `from`; all but [`Frame::Say`] and
    /// [`Frame::Delivered`] are ignored.
    FramesReceived {
        /// Who, as the link has proven.
        from: PeerId,
        /// In order.
        frames: Vec<Frame>,
    },
}

/// What the machine wants done, or known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this over the link with `to`.
    Send {
        /// To whom.
        to: PeerId,
        /// What.
        frame: Frame,
    },
    /// Somebody said something, for the first time.
    Heard {
        /// Who.
        from: PeerId,
        /// What and where.
        said: Say,
    },
    /// A message of ours has arrived.
    Delivered {
        /// The message.
        id: MessageId,
        /// Where it was said; `None`: to that peer alone.
        channel: Option<ChannelId>,
        /// Who has it.
        by: PeerId,
    },
    /// A message that some have is no longer kept for the others: newer ones needed its room.
    GivenUp {
        /// The message.
        id: MessageId,
        /// Who will not get it from us.
        owed: Vec<PeerId>,
    },
}

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// No text at all.
    #[error("an empty message is not sent")]
    Empty,
    /// Longer than a message may be.
    #[error("the message has {len} bytes, and at most {max} are allowed", max = MESSAGE_BYTES_MAX)]
    TooLong {
        /// Its bytes.
        len: usize,
    },
    /// There is no link with that peer.
    #[error("not linked with that peer now")]
    NotLinked,
    /// Nobody has taken what was said before, and there is no more room.
    #[error("{waiting} messages wait for somebody to take them; nothing more is accepted before")]
    OutboxFull {
        /// Messages that nobody has.
        waiting: usize,
    },
}

/// To whom a message is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everybody in a channel.
    Channel(ChannelId),
    /// One peer.
    Peer(PeerId),
}

impl Audience {
    const fn channel(self) -> Option<ChannelId> {
        match self {
            Self::Channel(channel) => Some(channel),
            Self::Peer(_) => None,
        }
    }
}

/// A message of ours that somebody is still owed.
#[derive(Debug)]
struct Outgoing {
    audience: Audience,
    said: Arc<Say>,
    owed: BTreeSet<PeerId>,
    delivered: bool,
}

impl Outgoing {
    /// Nobody has it: whoever links is owed it.
    const fn open(&self) -> bool {
        !self.delivered
    }

    fn done(&self) -> bool {
        self.delivered && self.owed.is_empty()
    }
}

/// The machine.
#[derive(Debug)]
pub struct Chat {
    rng: Rng,
    members: HashMap<ChannelId, BTreeSet<PeerId>>,
    linked: BTreeSet<PeerId>,
    peers: HashMap<PeerId, Flow>,
    outbox: BTreeMap<u64, Outgoing>,
    numbers: HashMap<MessageId, u64>,
    bytes: usize,
    next_number: u64,
    /// Ids of ours that are done: a second `say` with one of them is not said again.
    done: Recent,
    heard: HashMap<PeerId, Recent>,
    /// Whose ids are remembered, the one heard of longest ago first.
    authors: VecDeque<PeerId>,
    outputs: VecDeque<Output>,
}

impl Chat {
    /// Makes the machine.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
            members: HashMap::new(),
            linked: BTreeSet::new(),
            peers: HashMap::new(),
            outbox: BTreeMap::new(),
            numbers: HashMap::new(),
            bytes: 0,
            next_number: 1,
            done: Recent::default(),
            heard: HashMap::new(),
            authors: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Says a text. An `id` of the caller's own makes it idempotent: a second time the same id is
    /// answered and nothing is said.
    ///
    /// # Errors
    ///
    /// See [`SayError`]; nothing was said then.
    pub fn say(
        &mut self,
        audience: Audience,
        id: Option<MessageId>,
        unix_ms: u64,
        text: String,
    ) -> Result<MessageId, SayError> {
        if let Some(id) = id
            && (self.numbers.contains_key(&id) || self.done.contains(&id))
        {
            return Ok(id);
        }
        match text.len() {
            0 => return Err(SayError::Empty),
            len if len > MESSAGE_BYTES_MAX => return Err(SayError::TooLong { len }),
            _ => {}
        }
        let owed = self.audience(audience)?;
        self.make_room(text.len())?;

        let id = id.unwrap_or_else(|| MessageId(self.rng.array()));
        let number = self.next_number;
        self.next_number += 1;
        self.bytes += text.len();
        self.numbers.insert(id, number);
        let said = Arc::new(Say { channel: audience.channel(), id, unix_ms, text });
        let to: Vec<PeerId> = owed.iter().copied().collect();
        self.outbox.insert(number, Outgoing { audience, said, owed, delivered: false });
        for peer in to {
            self.pump(peer);
        }
        Ok(id)
    }

    /// Messages of ours that nobody has, oldest first.
    pub fn undelivered(&self) -> impl Iterator<Item = MessageId> {
        self.outbox.values().filter(|message| !message.delivered).map(|message| message.said.id)
    }

    /// Who is linked and has no receipt yet for a message; empty when all have.
    #[must_use]
    pub fn owed(&self, id: &MessageId) -> Vec<PeerId> {
        let outgoing = self.numbers.get(id).and_then(|number| self.outbox.get(number));
        outgoing.map(|message| message.owed.iter().copied().collect()).unwrap_or_default()
    }

    fn audience(&self, audience: Audience) -> Result<BTreeSet<PeerId>, SayError> {
        match audience {
            Audience::Channel(channel) => {
                Ok(self.members.get(&channel).cloned().unwrap_or_default())
            }
            Audience::Peer(peer) if self.peers.contains_key(&peer) => Ok(BTreeSet::from([peer])),
            Audience::Peer(_) => Err(SayError::NotLinked),
        }
    }

    /// Gives up the oldest messages that somebody has, until `bytes` more fit.
    fn make_room(&mut self, bytes: usize) -> Result<(), SayError> {
        while self.outbox.len() >= OUTBOX_MESSAGES_MAX || self.bytes + bytes > OUTBOX_BYTES_MAX {
            let oldest = self.outbox.iter().find(|(_, message)| message.delivered);
            let Some((&number, _)) = oldest else {
                return Err(SayError::OutboxFull { waiting: self.outbox.len() });
            };
            if let Some(message) = self.forget(number) {
                let owed = message.owed.into_iter().collect();
                self.outputs.push_back(Output::GivenUp { id: message.said.id, owed });
            }
        }
        Ok(())
    }

    /// Takes a message out of the outbox.
    fn forget(&mut self, number: u64) -> Option<Outgoing> {
        let message = self.outbox.remove(&number)?;
        self.bytes -= message.said.text.len();
        self.numbers.remove(&message.said.id);
        self.done.insert(message.said.id);
        Some(message)
    }

    /// Sends a peer what it is owed, as far as its window goes.
    fn pump(&mut self, peer: PeerId) {
        let Some(flow) = self.peers.get_mut(&peer) else { return };
        // Who speaks of a channel that the link does not share breaks the protocol: what is owed to
        // a member that left waits until it comes back.
        let reaches = |audience: Audience| match audience {
            Audience::Channel(channel) => {
                self.members.get(&channel).is_some_and(|members| members.contains(&peer))
            }
            Audience::Peer(_) => true,
        };
        for (&number, message) in self.outbox.range(flow.next()..) {
            if !flow.has_room() {
                return;
            }
            flow.pass(number);
            if message.owed.contains(&peer) && !flow.is_sent(number) && reaches(message.audience) {
                flow.sent(number, message.said.text.len());
                let frame = Frame::Say(Say::clone(&message.said));
                self.outputs.push_back(Output::Send { to: peer, frame });
            }
        }
    }

    /// Looks through all that a peer may be owed once more.
    fn look_again(&mut self, peer: PeerId) {
        self.peers.entry(peer).or_default().rewind();
        self.pump(peer);
    }

    fn member_up(&mut self, channel: ChannelId, peer: PeerId) {
        self.members.entry(channel).or_default().insert(peer);
        for message in self.outbox.values_mut() {
            if message.audience == Audience::Channel(channel) && message.open() {
                message.owed.insert(peer);
            }
        }
        self.look_again(peer);
    }

    fn member_down(&mut self, channel: ChannelId, peer: PeerId) {
        if let Some(members) = self.members.get_mut(&channel) {
            members.remove(&peer);
            if members.is_empty() {
                self.members.remove(&channel);
            }
        }
        // What is on its way there gets no receipt any more and must not fill the window.
        if let Some(flow) = self.peers.get_mut(&peer) {
            let of_channel = |message: &Outgoing| message.audience == Audience::Channel(channel);
            let lost = self.outbox.iter().filter(|(_, message)| of_channel(message));
            for (number, _) in lost {
                flow.acknowledged(*number);
            }
            self.pump(peer);
        }
    }

    fn peer_up(&mut self, peer: PeerId) {
        // Late news of a member may have begun a flow while there was no link.
        if self.linked.insert(peer) {
            self.peers.remove(&peer);
        }
        self.look_again(peer);
    }

    fn peer_down(&mut self, peer: PeerId) {
        self.linked.remove(&peer);
        self.peers.remove(&peer);
        self.members.retain(|_, members| {
            members.remove(&peer);
            !members.is_empty()
        });
    }

    fn close(&mut self, channel: ChannelId) {
        self.members.remove(&channel);
        let of_channel = |message: &Outgoing| message.audience == Audience::Channel(channel);
        let numbers: Vec<u64> = self
            .outbox
            .iter()
            .filter_map(|(number, message)| of_channel(message).then_some(*number))
            .collect();
        for number in numbers {
            self.forget(number);
        }
    }

    fn on_say(&mut self, from: PeerId, said: Say, receipts: &mut Vec<MessageId>) {
        receipts.push(said.id);
        if self.heard_from(from).insert(said.id) {
            self.outputs.push_back(Output::Heard { from, said });
        }
    }

    fn send_receipts(&mut self, to: PeerId, receipts: &[MessageId]) {
        for ids in receipts.chunks(RECEIPTS_PER_FRAME_MAX) {
            let frame = Frame::Delivered(Delivered { ids: ids.to_vec() });
            self.outputs.push_back(Output::Send { to, frame });
        }
    }

    /// Receipts may have been lost with the link that carried them, while what they are for came
    /// over one that lives: its sender will not say it again. An author holds no more messages
    /// without a receipt than an outbox has room for.
    fn repeat_receipts(&mut self, author: PeerId) {
        let Some(heard) = self.heard.get(&author) else { return };
        let receipts = heard.newest(OUTBOX_MESSAGES_MAX);
        self.send_receipts(author, &receipts);
    }

    /// What an author said lately; the author heard of longest ago makes room.
    fn heard_from(&mut self, author: PeerId) -> &mut Recent {
        if self.authors.back() != Some(&author) {
            self.authors.retain(|known| *known != author);
            self.authors.push_back(author);
        }
        if self.authors.len() > AUTHORS_REMEMBERED_MAX
            && let Some(oldest) = self.authors.pop_front()
        {
            self.heard.remove(&oldest);
        }
        self.heard.entry(author).or_default()
    }

    fn on_delivered(&mut self, from: PeerId, delivered: &Delivered) {
        for id in &delivered.ids {
            self.on_receipt(from, *id);
        }
        self.pump(from);
    }

    /// A receipt counts only from somebody to whom the message was sent.
    fn on_receipt(&mut self, from: PeerId, id: MessageId) {
        let Some(&number) = self.numbers.get(&id) else { return };
        let sent = self.peers.get_mut(&from).is_some_and(|flow| flow.acknowledged(number));
        let Some(message) = self.outbox.get_mut(&number) else { return };
        if !sent || !message.owed.remove(&from) {
            return;
        }
        message.delivered = true;
        let channel = message.audience.channel();
        if message.done() {
            self.forget(number);
        }
        self.outputs.push_back(Output::Delivered { id, channel, by: from });
    }
}

impl Machine for Chat {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, _now: Instant, input: Input) {
        match input {
            Input::MemberUp { channel, peer } => self.member_up(channel, peer),
            Input::MemberDown { channel, peer } => self.member_down(channel, peer),
            Input::PeerUp(peer) => self.peer_up(peer),
            Input::Rerouted(peer) => {
                self.peers.remove(&peer);
                self.repeat_receipts(peer);
                self.look_again(peer);
            }
            Input::PeerDown(peer) => self.peer_down(peer),
            Input::ChannelClosed(channel) => self.close(channel),
            Input::FramesReceived { from, frames } => {
                let mut receipts = Vec::new();
                for frame in frames {
                    if let Frame::Say(said) = frame {
                        self.on_say(from, said, &mut receipts);
                    } else if let Frame::Delivered(delivered) = frame {
                        self.on_delivered(from, &delivered);
                    }
                }
                self.send_receipts(from, &receipts);
            }
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

//! What is said to one peer alone: what it is owed, receipts, duplicates.
//!
//! ```text
//!  said --> [Sent] -- receipt --> done
//!            |  ^
//!            '--'  a link is lost: sent again on the next
//! ```
//!
//! Each peer has a window of its own, so a slow one delays nobody else. A link keeps order and
//! loses nothing while it lives, so there is no timer here. Where several links with a peer live,
//! a receipt may go by another one than what it is for: when that one ends, receipts are repeated.
//!
//! Spec: `docs/spec/07-whisper.md`; what the words promise: `docs/delivery.md`.

mod flow;
mod recent;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use self::flow::Flow;
use self::recent::Recent;
use crate::crypto::Rng;
use crate::id::{MessageId, PeerId};
use crate::limits::{
    AUTHORS_REMEMBERED_MAX, MESSAGE_BYTES_MAX, OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX,
    RECEIPTS_PER_FRAME_MAX,
};
use crate::machine::Machine;
use crate::wire::{Delivered, Frame, Whisper};

/// What the driver tells the machine.
#[derive(Debug)]
pub enum Input {
    /// A peer is linked.
    PeerUp(PeerId),
    /// Another link carries what is sent to a peer: what was on its way may be lost.
    Rerouted(PeerId),
    /// A peer is linked no longer.
    PeerDown(PeerId),
    /// A batch of frames over the link with `from`; all but [`Frame::Whisper`] and
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
        /// What.
        said: Whisper,
    },
    /// A message of ours has arrived.
    Delivered {
        /// The message.
        id: MessageId,
        /// Who has it.
        by: PeerId,
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
    /// What was said before is not taken yet, and there is no more room.
    #[error("{waiting} messages wait for somebody to take them; nothing more is accepted before")]
    OutboxFull {
        /// Messages that were not taken yet.
        waiting: usize,
    },
}

/// A message of ours that its receiver is still owed.
#[derive(Debug)]
struct Outgoing {
    to: PeerId,
    said: Whisper,
}

/// The machine.
#[derive(Debug)]
pub struct Whispers {
    rng: Rng,
    /// Those that are linked.
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

impl Whispers {
    /// Makes the machine.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
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

    /// Says a text to a peer that is linked. An `id` of the caller's own makes it idempotent: a second
    /// time the same id is answered and nothing is said.
    ///
    /// # Errors
    ///
    /// See [`SayError`]; nothing was said then.
    pub fn say(
        &mut self,
        to: PeerId,
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
        if !self.peers.contains_key(&to) {
            return Err(SayError::NotLinked);
        }
        let waiting = self.outbox.len();
        if waiting >= OUTBOX_MESSAGES_MAX || self.bytes + text.len() > OUTBOX_BYTES_MAX {
            return Err(SayError::OutboxFull { waiting });
        }
        let id = id.unwrap_or_else(|| MessageId(self.rng.array()));
        let number = self.next_number;
        self.next_number += 1;
        self.bytes += text.len();
        self.numbers.insert(id, number);
        self.outbox.insert(number, Outgoing { to, said: Whisper { id, unix_ms, text } });
        self.pump(to);
        Ok(id)
    }

    /// Messages of ours that were not taken yet, oldest first.
    pub fn undelivered(&self) -> impl Iterator<Item = MessageId> {
        self.outbox.values().map(|message| message.said.id)
    }

    /// Sends a peer what it is owed, as far as its window goes.
    fn pump(&mut self, peer: PeerId) {
        let Some(flow) = self.peers.get_mut(&peer) else { return };
        for (&number, Outgoing { to, said }) in self.outbox.range(flow.next()..) {
            if !flow.has_room() {
                return;
            }
            flow.pass(number);
            if *to == peer {
                flow.sent(number, said.text.len());
                let frame = Frame::Whisper(said.clone());
                self.outputs.push_back(Output::Send { to: peer, frame });
            }
        }
    }

    /// Sends all that a peer is owed over the link that carries it now.
    fn begin(&mut self, peer: PeerId) {
        self.peers.insert(peer, Flow::default());
        self.pump(peer);
    }

    fn on_whisper(&mut self, from: PeerId, said: Whisper, receipts: &mut Vec<MessageId>) {
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

    /// A receipt counts only from whom the message was sent to.
    fn on_receipt(&mut self, from: PeerId, id: MessageId) {
        let Some(&number) = self.numbers.get(&id) else { return };
        // The flow of a peer knows only what was sent to that one.
        if !self.peers.get_mut(&from).is_some_and(|flow| flow.acknowledged(number)) {
            return;
        }
        if let Some(Outgoing { said, .. }) = self.outbox.remove(&number) {
            self.bytes -= said.text.len();
        }
        self.numbers.remove(&id);
        self.done.insert(id);
        self.outputs.push_back(Output::Delivered { id, by: from });
    }
}

impl Machine for Whispers {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, _now: Instant, input: Input) {
        match input {
            Input::PeerUp(peer) => {
                if !self.peers.contains_key(&peer) {
                    self.begin(peer);
                }
            }
            Input::Rerouted(peer) => {
                self.repeat_receipts(peer);
                self.begin(peer);
            }
            Input::PeerDown(peer) => drop(self.peers.remove(&peer)),
            Input::FramesReceived { from, frames } => {
                let mut receipts = Vec::new();
                for frame in frames {
                    if let Frame::Whisper(said) = frame {
                        self.on_whisper(from, said, &mut receipts);
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

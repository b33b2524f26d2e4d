//! Invitations to closed channels over links that are there for another reason: those that we owe
//! others, and those that wait for a word of ours.
//!
//! ```text
//!  inviter   owe --> [Owed] -- linked, or linked for an hour --> Invite --> [Owed]
//!                       '------ InviteAnswer, left, blocked, 30 days old --> gone
//!
//!  invitee   Invite: genuine, for us, from who may, not too many
//!                       |
//!                       v            not held
//!                    [Asking] ---------------------> [Waiting] -- a person accepts --> gone: InviteAnswer
//!                       | held: InviteAnswer             |  '---- a person declines -> [Declined]: InviteAnswer
//!                       v                                '------- 30 days, blocked --> gone
//!                      gone                    an Invite for what is Declined: InviteAnswer
//! ```
//!
//! Nothing is sent twice on its own account: an inviter repeats its Invite at each link until it has
//! heard an answer, and an invitee answers a repetition as it answered before. What waits is in
//! memory alone.
//!
//! Not here: issuing tickets, and whether a channel is held already, which is asked by
//! [`Output::AskHeld`]; what is kept on disk of what we owe.
//!
//! Spec: `docs/spec/11-admission.md`, section 3.

mod api;
mod inbox;
mod outbox;
mod pace;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub use self::api::{Acquaintance, Config, Counters, Held, Input, NoOffer, Output};
use self::inbox::Inbox;
pub use self::inbox::Offer;
use self::outbox::Outbox;
use crate::id::{ChannelId, PeerId};
use crate::machine::Machine;
use crate::wire::{Frame, Invite, InviteAnswer};

/// See the module.
#[derive(Debug)]
pub struct Invitations {
    own_peer: PeerId,
    /// Those in the contact book whom a person added or blocked.
    known: BTreeMap<PeerId, Acquaintance>,
    inbox: Inbox,
    outbox: Outbox,
    counters: Counters,
    now: Instant,
    outputs: VecDeque<Output>,
}

impl Invitations {
    /// Begins with nobody linked and nothing owed.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            own_peer: config.own_peer,
            known: BTreeMap::new(),
            inbox: Inbox::new(now),
            outbox: Outbox::default(),
            counters: Counters::default(),
            now,
            outputs: VecDeque::new(),
        }
    }

    /// What waits for a person's word, oldest first.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.inbox.told()
    }

    /// What waits under this number.
    #[must_use]
    pub fn offer(&self, number: u32) -> Option<&Offer> {
        self.offers().find(|offer| offer.number() == number)
    }

    /// Finds what waits by its number, or by the name of its channel.
    ///
    /// # Errors
    ///
    /// [`NoOffer`].
    pub fn find(&self, text: &str) -> Result<&Offer, NoOffer> {
        let text = text.trim();
        if let Some(offer) = text.parse().ok().and_then(|number| self.offer(number)) {
            return Ok(offer);
        }
        let name = text.to_lowercase();
        let mut found = self.offers().filter(|offer| offer.name().to_lowercase() == name);
        match (found.next(), found.next()) {
            (Some(offer), None) => Ok(offer),
            (None, _) => Err(NoOffer::NotFound),
            (Some(first), Some(second)) => {
                let numbers = [first, second].into_iter().chain(found);
                Err(NoOffer::Ambiguous(numbers.map(Offer::number).collect()))
            }
        }
    }

    /// What we owe and nobody has answered: the peer, and the channel.
    pub fn owed(&self) -> impl Iterator<Item = (PeerId, ChannelId)> {
        self.outbox.owed()
    }

    /// Whether a peer is linked.
    #[must_use]
    pub fn is_linked(&self, peer: &PeerId) -> bool {
        self.outbox.is_linked(peer)
    }

    /// How a person knows a peer.
    #[must_use]
    pub fn acquaintance(&self, peer: &PeerId) -> Acquaintance {
        self.known.get(peer).copied().unwrap_or(Acquaintance::Stranger)
    }

    /// What was dropped.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn on_known(&mut self, peer: PeerId, acquaintance: Acquaintance) {
        let before = self.acquaintance(&peer);
        match acquaintance {
            Acquaintance::Stranger => drop(self.known.remove(&peer)),
            Acquaintance::Contact | Acquaintance::Blocked => {
                self.known.insert(peer, acquaintance);
            }
        }
        if before == Acquaintance::Contact && acquaintance != Acquaintance::Contact {
            // It was heard because of what is no longer so.
            self.inbox.remove_of(&peer);
        }
        if acquaintance == Acquaintance::Blocked {
            self.inbox.remove_of(&peer);
            let dropped = self.outbox.remove_of(&peer).into_iter();
            self.outputs.extend(dropped.map(|channel| Output::Dropped { channel, peer }));
        }
    }

    fn on_frame(&mut self, from: PeerId, unix: Duration, frame: Frame) {
        match frame {
            Frame::Invite(invite) => self.on_invite(from, unix, &invite),
            Frame::InviteAnswer(answer) => self.on_answer(from, answer),
            // The driver hands on none of these.
            Frame::Hello(_)
            | Frame::SharedChannels(_)
            | Frame::Rename(_)
            | Frame::Peers(_)
            | Frame::Whisper(_)
            | Frame::Moved(_)
            | Frame::Delivered(_)
            | Frame::RenewOffer(_)
            | Frame::RenewAnswer(_)
            | Frame::RenewConfirm(_)
            | Frame::Have(_)
            | Frame::Want(_)
            | Frame::Entries(_)
            | Frame::Fork(_)
            | Frame::Tickets(_)
            | Frame::Refused(_)
            | Frame::LetIn(_) => {}
        }
    }

    fn on_invite(&mut self, from: PeerId, unix: Duration, invite: &Invite) {
        let acquaintance = self.acquaintance(&from);
        if acquaintance == Acquaintance::Blocked || from == self.own_peer {
            self.counters.not_good += 1;
            return;
        }
        if !self.inbox.has_turn(self.now, from, acquaintance) {
            self.counters.too_often += 1;
            return;
        }
        let Some(invitation) = inbox::read(invite, &self.own_peer, &from, acquaintance, unix)
        else {
            self.counters.not_good += 1;
            return;
        };
        let channel = invitation.file.keys().id();
        if self.inbox.was_declined(&from, &channel) {
            return self.answer(from, channel, false);
        }
        let known = &self.known;
        let is_stranger = |peer: &PeerId| known.get(peer) != Some(&Acquaintance::Contact);
        match self.inbox.put(self.now, from, invitation, is_stranger) {
            Some(ask) => self.outputs.push_back(ask),
            None => self.counters.too_many += 1,
        }
    }

    fn on_answer(&mut self, from: PeerId, answer: InviteAnswer) {
        let InviteAnswer { channel, accepted } = answer;
        if self.outbox.remove(from, channel) {
            self.outputs.push_back(Output::Answered { channel, peer: from, accepted });
        } else {
            self.counters.never_invited += 1;
        }
    }

    fn on_held(&mut self, from: PeerId, channel: ChannelId, held: Held) {
        match held {
            Held::No => {
                if let Some(number) = self.inbox.tell(&from, &channel) {
                    self.outputs.push_back(Output::Told(number));
                }
            }
            Held::NotGood => {
                if self.inbox.remove(&from, &channel) {
                    self.counters.not_good += 1;
                }
            }
            Held::Kept | Held::Renewed => {
                if self.inbox.remove(&from, &channel) {
                    self.answer(from, channel, true);
                }
                if held == Held::Renewed {
                    self.outputs.push_back(Output::Renewed { channel, by: from });
                }
            }
        }
    }

    /// The channel is held now, whoever it came from.
    fn on_joined(&mut self, channel: ChannelId) {
        for from in self.inbox.take_told(&channel) {
            self.answer(from, channel, true);
        }
    }

    fn on_declined(&mut self, number: u32) {
        let found = self.offer(number).map(|offer| (offer.from(), offer.channel()));
        if let Some((from, channel)) = found {
            self.inbox.decline(from, channel);
            self.answer(from, channel, false);
        }
    }

    fn on_owe(&mut self, peer: PeerId, channel: ChannelId) {
        if self.acquaintance(&peer) == Acquaintance::Blocked {
            return self.outputs.push_back(Output::Dropped { channel, peer });
        }
        if self.outbox.insert(self.now, peer, channel) {
            self.outputs.push_back(Output::Offer { channel, peer });
        }
    }

    fn answer(&mut self, to: PeerId, channel: ChannelId, accepted: bool) {
        let frame = Frame::InviteAnswer(InviteAnswer { channel, accepted });
        self.outputs.push_back(Output::Send { to, frame });
    }
}

impl Machine for Invitations {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Known { peer, acquaintance } => self.on_known(peer, acquaintance),
            Input::PeerUp(peer) => {
                let due = self.outbox.link(self.now, peer).into_iter();
                self.outputs.extend(due.map(|channel| Output::Offer { channel, peer }));
            }
            Input::PeerDown(peer) => self.outbox.unlink(&peer),
            Input::FrameReceived { from, unix, frame } => self.on_frame(from, unix, frame),
            Input::Held { from, channel, held } => self.on_held(from, channel, held),
            Input::Joined(channel) => self.on_joined(channel),
            Input::Declined(number) => self.on_declined(number),
            Input::Owe { channel, peer } => self.on_owe(peer, channel),
            Input::Over { channel, peer } => drop(self.outbox.remove(peer, channel)),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let due = self.outbox.due(self.now).into_iter();
        self.outputs.extend(due.map(|(peer, channel)| Output::Offer { channel, peer }));
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.outbox.poll_timeout()
    }
}

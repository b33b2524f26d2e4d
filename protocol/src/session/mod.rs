//! Who the peer of one link is, which channels both are in, and fresh keys for as long as it lives.
//!
//! ```text
//!            new: send Hello                    Hello: own channel proven
//!  (link up) ---------------> [Greeting] --------------------------------> [Asking]
//!                                 |                      ask the contact book  |   |
//!                                 |                                     accept |   | refuse
//!                                 |        show tickets of closed channels     v   |
//!                                 |                                    [Knocking]  |
//!                                 |               none lets in / is let in |   |   |
//!           10 s, self dial, blocked,                 [Parting] <----------'   |   |
//!                    violation    |                       | ^         one does |   |
//!                                 |                   3 s | | none any more    v   |
//!                                 |                       | '---------------- [Up]-+- frames, renewals,
//!                                 v                       v    violation       |   |  channels, name
//!                              [Closed] <----------------------------------------------'
//! ```
//!
//! Where nothing is closed, Knocking takes no time.
//!
//! Frames that come while the contact book is asked are held, bounded, and taken in afterwards: the
//! peer may have accepted us first.
//!
//! Not here: addresses and carriers ([`crate::quic`]); what is said ([`crate::log`],
//! [`crate::whisper`]) and who is linked with whom ([`crate::mesh`]), whose frames are handed on.
//!
//! Spec: `docs/spec/05-session.md`.

mod api;
mod changes;
#[cfg(test)]
mod door_tests;
mod doors;
#[cfg(test)]
mod move_tests;
mod proofs;
mod renames;
mod renewal;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use self::api::{
    Close, Config, Decision, Departure, Door, Input, Output, OwnChannel, PeerInfo, Role, Turndown,
};
use self::changes::Changes;
use self::doors::{Doors, Todo};
use self::proofs::Channels;
use self::renames::Renames;
use self::renewal::{Answering, Offering, Step};
use crate::channel::Standing;
use crate::crypto::{Rng, Secret};
use crate::id::{ChannelId, PeerId};
use crate::limits::{FRAMES_HELD_BYTES_MAX, FRAMES_HELD_MAX};
use crate::machine::Machine;
use crate::wire::{
    self, ChannelProof, Entries, Fork, Frame, Have, Hello, LetIn, Moved, Peers, Refused, Rename,
    SharedChannels, Tickets, Want, WireAddress,
};

/// The version of the language spoken here.
pub const VERSION: u16 = 1;

/// From the handshake to an accepted hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// How long we wait for the peer to read why it is not let in, before we end the link.
const PARTING: Duration = Duration::from_secs(3);

/// The session of one link; see the module.
#[derive(Debug)]
pub struct Session {
    peer: PeerId,
    link_channel: ChannelId,
    handshake_hash: [u8; 64],
    channels: Channels,
    doors: Doors,
    /// What was told of last.
    shared: Vec<(ChannelId, Standing)>,
    generation: u64,
    renewal: Renewal,
    renames: Renames,
    changes: Changes,
    state: State,
    now: Instant,
    rng: Rng,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum Renewal {
    Offering(Offering),
    Answering(Answering),
}

#[derive(Debug)]
enum State {
    Greeting {
        deadline: Instant,
    },
    Asking {
        deadline: Instant,
        hello: Hello,
        held: Vec<Frame>,
        held_bytes: usize,
    },
    Knocking {
        deadline: Instant,
        hello: Hello,
        held: Vec<Frame>,
        held_bytes: usize,
    },
    /// `bare`: when it ends, if nothing is shared until then.
    Up {
        proofs: Vec<ChannelProof>,
        bare: Option<Instant>,
    },
    Parting {
        deadline: Instant,
    },
    Closed,
}

impl Session {
    /// Starts the session of a link whose handshake is done and which is at `generation` of its keys.
    #[must_use]
    pub fn new(now: Instant, config: Config, generation: u64, mut rng: Rng) -> Self {
        let channels =
            Channels::new(config.handshake_hash, config.role, config.peer, config.channels);
        let renewal = match config.role {
            Role::Dialler => {
                Renewal::Offering(Offering::new(now, config.renewal_interval, &mut rng))
            }
            Role::Listener => Renewal::Answering(Answering::default()),
        };
        let mut session = Self {
            peer: config.peer,
            link_channel: config.channel,
            handshake_hash: config.handshake_hash,
            channels,
            doors: Doors::default(),
            shared: Vec::new(),
            generation,
            renewal,
            renames: Renames::new(now),
            changes: Changes::new(now),
            state: State::Greeting { deadline: now + HELLO_DEADLINE },
            now,
            rng,
            outputs: VecDeque::new(),
        };
        if config.peer == config.own_peer {
            session.close(Close::SelfDial);
        } else if config.is_blocked {
            session.close(Close::Refused);
        } else {
            session.greet(config.name, config.incarnation, config.observed);
        }
        session
    }

    fn greet(&mut self, name: String, incarnation: [u8; 8], observed: SocketAddr) {
        let proofs = self.channels.proofs(&mut self.rng);
        self.send(&Frame::Hello(Hello {
            version: VERSION,
            name,
            incarnation,
            capabilities: 0,
            observed: Some(WireAddress(observed)),
            proofs,
        }));
    }

    fn on_frame(&mut self, body: &[u8]) -> Result<(), Close> {
        match wire::decode(body) {
            Ok(Some(frame)) => self.take_frame(frame, body.len()),
            Ok(None) => Ok(()),
            Err(_) => Err(Close::Violation),
        }
    }

    /// Takes a frame in, at once unless it must wait behind a change of the peer's channels.
    fn take_frame(&mut self, frame: Frame, bytes: usize) -> Result<(), Close> {
        if !matches!(self.state, State::Knocking { .. } | State::Up { .. }) {
            return self.route_frame(frame, bytes);
        }
        match self.changes.take(self.now, frame, bytes)? {
            Some(frame) => self.route_frame(frame, bytes),
            None => Ok(()),
        }
    }

    /// Takes in what has waited for long enough.
    fn take_due(&mut self) -> Result<(), Close> {
        while let Some(frame) = self.changes.due(self.now) {
            self.route_frame(frame, 0)?;
        }
        Ok(())
    }

    fn route_frame(&mut self, frame: Frame, bytes: usize) -> Result<(), Close> {
        match (&mut self.state, frame) {
            (State::Closed, _) => Ok(()),
            // All that still matters is what a person reads; the peer has to read it as well.
            (State::Parting { .. }, Frame::Refused(refused)) => self.on_refused(refused),
            (State::Parting { .. }, _) => Ok(()),
            (State::Greeting { deadline }, Frame::Hello(hello)) => {
                let deadline = *deadline;
                self.on_hello(hello, deadline)
            }
            (State::Greeting { .. }, _) | (_, Frame::Hello(_)) => Err(Close::Violation),
            (State::Knocking { .. }, Frame::Tickets(shown)) => self.on_tickets(shown),
            (State::Knocking { .. }, Frame::Refused(refused)) => self.on_refused(refused),
            (State::Knocking { .. }, Frame::LetIn(let_in)) => self.on_said(let_in.channel, Ok(())),
            (State::Knocking { .. }, Frame::SharedChannels(shared)) => {
                self.on_proofs(shared.proofs)
            }
            (
                State::Asking { held, held_bytes, .. } | State::Knocking { held, held_bytes, .. },
                frame,
            ) => {
                *held_bytes += bytes;
                if held.len() == FRAMES_HELD_MAX || *held_bytes > FRAMES_HELD_BYTES_MAX {
                    return Err(Close::Overloaded);
                }
                held.push(frame);
                Ok(())
            }
            (State::Up { .. }, frame) => self.on_frame_up(frame),
        }
    }

    fn on_hello(&mut self, hello: Hello, deadline: Instant) -> Result<(), Close> {
        if hello.version == 0 {
            return Err(Close::Violation);
        }
        self.channels.match_proofs(&hello.proofs);
        if !self.channels.is_ours(&self.link_channel) {
            return Err(Close::ChannelLeft);
        }
        if self.channels.standing_in(&self.link_channel).is_none() {
            return Err(Close::Violation);
        }
        let name = hello.name.clone();
        self.state = State::Asking { deadline, hello, held: Vec::new(), held_bytes: 0 };
        self.outputs.push_back(Output::AskContactBook { peer: self.peer, name });
        Ok(())
    }

    fn on_decision(&mut self, decision: Decision) -> Result<(), Close> {
        if !matches!(self.state, State::Asking { .. }) {
            return Ok(());
        }
        if decision == Decision::Refuse {
            return Err(Close::Refused);
        }
        let State::Asking { deadline, hello, held, held_bytes } =
            std::mem::replace(&mut self.state, State::Closed)
        else {
            return Ok(());
        };
        // In their order: a door may be one of a channel that is proven only then.
        let is_about_doors = |frame: &Frame| {
            use Frame::{LetIn, Refused, SharedChannels, Tickets};
            matches!(frame, Tickets(_) | Refused(_) | LetIn(_) | SharedChannels(_))
        };
        let (first, held): (Vec<_>, Vec<_>) = held.into_iter().partition(is_about_doors);
        self.state = State::Knocking { deadline, hello, held, held_bytes };
        self.set_doors();
        first.into_iter().try_for_each(|frame| self.take_frame(frame, 0))?;
        self.settle()
    }

    /// Shows our tickets where the peer has proven a closed channel.
    fn set_doors(&mut self) {
        let todo = self.doors.set(self.channels.doors());
        todo.into_iter().for_each(|todo| self.attend(todo));
    }

    fn attend(&mut self, todo: Todo) {
        match todo {
            Todo::Show(channel, tickets) => {
                self.send(&Frame::Tickets(Tickets { channel, tickets }))
            }
            Todo::Ask(channel, question, tickets) => {
                if let Some(standing) = self.channels.standing_in(&channel) {
                    let ask = Output::AskAdmission { channel, question, standing, tickets };
                    self.outputs.push_back(ask);
                }
            }
        }
    }

    fn on_tickets(&mut self, Tickets { channel, tickets }: Tickets) -> Result<(), Close> {
        match self.doors.on_tickets(channel, tickets) {
            Some(todo) => todo?.into_iter().for_each(|todo| self.attend(todo)),
            // It may have been proven, and closed, when the peer said so.
            None if self.channels.was_proven(&channel) => {}
            None => return Err(Close::Violation),
        }
        Ok(())
    }

    fn on_refused(&mut self, refused: Refused) -> Result<(), Close> {
        let Refused { channel, code, text } = refused;
        self.on_said(channel, Err(Turndown { code, text }))
    }

    fn on_said(&mut self, id: ChannelId, lets_in: Result<(), Turndown>) -> Result<(), Close> {
        let is_in = lets_in.is_ok();
        match self.doors.on_said(&id, lets_in) {
            Some(is_new) => {
                if is_new? {
                    self.outputs.extend(is_in.then_some(Output::LetIn(id)));
                    return self.settle();
                }
                Ok(())
            }
            None if self.channels.was_proven(&id) => Ok(()),
            None => Err(Close::Violation),
        }
    }

    /// A channel that is shared goes on as another one. Of one that is not, or is not closed to us, it
    /// means nothing.
    fn on_moved(&mut self, moved: Moved) -> Result<(), Close> {
        let channel = moved.channel;
        match self.doors.on_moved(moved) {
            Some(taken) => {
                taken?;
                self.tell_moves();
                Ok(())
            }
            None if self.channels.was_proven(&channel) => Ok(()),
            None => Err(Close::Violation),
        }
    }

    fn tell_moves(&mut self) {
        let moves = self.doors.take_moves().into_iter();
        self.outputs.extend(moves.map(|Moved { channel, moved, key }| Output::Moved {
            channel,
            moved,
            key: key.0,
        }));
    }

    fn tell_turndowns(&mut self, end: bool) {
        let turndowns = self.doors.take_turndowns(end).into_iter();
        self.outputs.extend(turndowns.map(|(channel, why)| Output::TurnedDown { channel, why }));
    }

    /// Tells the peer where channels go on that it is let into by the rules of now.
    fn hand_on(&mut self) {
        for moved in self.doors.hand_on() {
            self.send(&Frame::Moved(moved));
        }
    }

    fn on_admission(
        &mut self,
        channel: ChannelId,
        question: u64,
        verdict: Result<Option<Duration>, Turndown>,
    ) -> Result<(), Close> {
        let outcome = verdict.as_ref().map(|limit| *limit).map_err(|_| ());
        match self.doors.on_verdict(self.now, channel, question, outcome) {
            // The peer knows.
            Ok(false) => {}
            Ok(true) => self.send(&match verdict {
                Ok(_) => Frame::LetIn(LetIn { channel }),
                Err(Turndown { code, text }) => Frame::Refused(Refused { channel, code, text }),
            }),
            Err(todo) => {
                todo.into_iter().for_each(|todo| self.attend(todo));
                return Ok(());
            }
        }
        self.settle()
    }

    /// After a change of what is shared, or by which rules.
    fn settle(&mut self) -> Result<(), Close> {
        self.tell_turndowns(matches!(self.state, State::Parting { .. }));
        self.tell_shared()?;
        if matches!(self.state, State::Up { .. }) {
            self.tell_moves();
            self.hand_on();
        }
        Ok(())
    }

    /// Tells of what is shared now, and ends the link where no door will open any more.
    fn tell_shared(&mut self) -> Result<(), Close> {
        let proven = self.channels.proven().iter();
        let shared: Vec<_> = proven.filter(|(id, _)| self.doors.is_open(id)).copied().collect();
        let is_bare = shared.is_empty();
        match &mut self.state {
            State::Knocking { hello, held, .. } if !is_bare => {
                let held = std::mem::take(held);
                let info = PeerInfo {
                    peer: self.peer,
                    name: std::mem::take(&mut hello.name),
                    incarnation: hello.incarnation,
                    observed_us_at: hello.observed.map(|address| address.0),
                    shared: shared.clone(),
                };
                self.state = State::Up { proofs: std::mem::take(&mut hello.proofs), bare: None };
                self.shared = shared;
                self.outputs.push_back(Output::Up(info));
                for frame in held {
                    self.on_frame_up(frame)?;
                }
                return Ok(());
            }
            State::Up { bare, .. } => {
                *bare = is_bare.then_some(bare.unwrap_or(self.now + HELLO_DEADLINE));
                if shared != self.shared {
                    self.shared.clone_from(&shared);
                    self.outputs.push_back(Output::SharedChanged(shared));
                }
            }
            State::Knocking { .. } => {}
            State::Greeting { .. }
            | State::Asking { .. }
            | State::Parting { .. }
            | State::Closed => return Ok(()),
        }
        if !is_bare || self.doors.any_pending() {
            return Ok(());
        }
        if self.doors.any_refused_by_us() {
            // The peer ends it when it has read why.
            self.state = State::Parting { deadline: self.now + PARTING };
            return Ok(());
        }
        match &self.state {
            _ if self.doors.any_shut() => Err(Close::NotLetIn),
            // The peer has left them all.
            State::Up { .. } => Err(Close::ChannelLeft),
            // It may still come to be in one.
            State::Knocking { .. }
            | State::Greeting { .. }
            | State::Asking { .. }
            | State::Parting { .. }
            | State::Closed => Ok(()),
        }
    }

    fn on_rename_decision(&mut self, decision: Decision) -> Result<(), Close> {
        if decision == Decision::Refuse {
            return Err(Close::Refused);
        }
        self.renames.on_decision();
        self.judge_name();
        Ok(())
    }

    fn judge_name(&mut self) {
        if let Some(name) = self.renames.due(self.now) {
            self.outputs.push_back(Output::Renamed(name));
        }
    }

    fn on_frame_up(&mut self, frame: Frame) -> Result<(), Close> {
        match frame {
            Frame::Tickets(shown) => self.on_tickets(shown)?,
            Frame::Refused(refused) => self.on_refused(refused)?,
            Frame::LetIn(let_in) => self.on_said(let_in.channel, Ok(()))?,
            Frame::Moved(moved) => self.on_moved(moved)?,
            Frame::Hello(_) => return Err(Close::Violation),
            Frame::SharedChannels(shared) => self.on_proofs(shared.proofs)?,
            Frame::Rename(rename) => {
                self.renames.on_name(rename.name);
                self.judge_name();
            }
            Frame::Whisper(_) | Frame::Delivered(_) | Frame::Invite(_) | Frame::InviteAnswer(_) => {
                self.outputs.push_back(Output::Deliver(frame));
            }
            Frame::Peers(Peers { channel, .. })
            | Frame::Have(Have { channel, .. })
            | Frame::Want(Want { channel, .. })
            | Frame::Entries(Entries { channel, .. })
            | Frame::Fork(Fork { channel, .. }) => {
                self.deliver(frame, channel)?;
            }
            Frame::RenewOffer(offer) => match &mut self.renewal {
                Renewal::Offering(_) => return Err(Close::Violation),
                Renewal::Answering(answering) => answering.on_offer(offer)?,
            },
            Frame::RenewAnswer(answer) => match &mut self.renewal {
                Renewal::Offering(offering) => {
                    let hash = &self.handshake_hash;
                    let step = offering.on_answer(self.now, self.generation, hash, &answer)?;
                    self.perform(step);
                }
                Renewal::Answering(_) => return Err(Close::Violation),
            },
            Frame::RenewConfirm(confirm) => match &self.renewal {
                Renewal::Offering(offering) if offering.has_offered(confirm.number) => {}
                Renewal::Offering(_) => return Err(Close::Violation),
                Renewal::Answering(answering) => {
                    let step = answering.on_confirm(&confirm)?;
                    self.perform(step);
                }
            },
        }
        self.ask_for_renewals();
        Ok(())
    }

    /// Hands a frame on, unless it speaks of a channel that one has left meanwhile.
    fn deliver(&mut self, frame: Frame, channel: ChannelId) -> Result<(), Close> {
        if self.channels.standing_in(&channel).is_some() {
            // Of one that is closed to one of the two it was said before that was known.
            if self.doors.is_open(&channel) {
                self.outputs.push_back(Output::Deliver(frame));
            }
        } else if !self.channels.was_proven(&channel) {
            return Err(Close::Violation);
        }
        Ok(())
    }

    fn on_proofs(&mut self, new: Vec<ChannelProof>) -> Result<(), Close> {
        match &mut self.state {
            State::Up { proofs, .. } => *proofs = new,
            State::Knocking { hello, .. } => hello.proofs = new,
            State::Greeting { .. }
            | State::Asking { .. }
            | State::Parting { .. }
            | State::Closed => {}
        }
        self.match_proofs()
    }

    fn on_channels(&mut self, ours: Vec<OwnChannel>) -> Result<(), Close> {
        if self.channels.set_ours(ours) {
            let proofs = self.channels.proofs(&mut self.rng);
            self.send(&Frame::SharedChannels(SharedChannels { proofs }));
        }
        self.match_proofs()
    }

    fn match_proofs(&mut self) -> Result<(), Close> {
        match &self.state {
            State::Up { proofs, .. } => self.channels.match_proofs(proofs),
            State::Knocking { hello, .. } => self.channels.match_proofs(&hello.proofs),
            State::Asking { hello, .. } => {
                self.channels.match_proofs(&hello.proofs);
                return Ok(());
            }
            State::Greeting { .. } | State::Parting { .. } | State::Closed => return Ok(()),
        }
        self.set_doors();
        self.settle()
    }

    fn on_generation(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
        match &mut self.renewal {
            Renewal::Offering(offering) => {
                offering.on_generation(self.now, self.generation, &mut self.rng);
            }
            Renewal::Answering(_) => {}
        }
    }

    fn ask_for_renewals(&mut self) {
        if let Renewal::Answering(answering) = &mut self.renewal {
            let step = answering.ask(self.generation);
            self.perform(step);
        }
    }

    fn on_entropy(&mut self, fresh: &Secret<32>) -> Result<(), Close> {
        self.rng.mix(fresh);
        let mut once = self.rng.fork();
        let step = match &mut self.renewal {
            Renewal::Offering(offering) => offering.offer(self.now, &mut once)?,
            Renewal::Answering(answering) => {
                answering.answer(self.generation, &self.handshake_hash, &mut once)?
            }
        };
        self.perform(step);
        Ok(())
    }

    fn perform(&mut self, step: Step) {
        if step.entropy {
            self.outputs.push_back(Output::AskEntropy);
        }
        if let Some((generation, secret)) = step.mix {
            self.outputs.push_back(Output::Mix { generation, secret });
        }
        if step.update {
            self.outputs.push_back(Output::ForceKeyUpdate);
        }
        if let Some(frame) = step.frame {
            self.send(&frame);
        }
    }

    fn send(&mut self, frame: &Frame) {
        self.outputs.push_back(Output::SendFrame(wire::encode(frame)));
    }

    fn close(&mut self, why: Close) {
        self.tell_turndowns(true);
        self.state = State::Closed;
        self.outputs.push_back(Output::Close(why));
    }
}

impl Machine for Session {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        if matches!(self.state, State::Closed) {
            return;
        }
        let done = match input {
            Input::FrameReceived { generation, body } => {
                self.on_generation(generation);
                self.on_frame(&body)
            }
            Input::ContactDecision(decision) => self.on_decision(decision),
            Input::PeerBlocked => Err(Close::Refused),
            Input::RenameDecision(decision) => self.on_rename_decision(decision),
            Input::ChannelsChanged(ours) => self.on_channels(ours),
            Input::Admission { channel, question, verdict } => {
                self.on_admission(channel, question, verdict)
            }
            Input::Renamed(name) => {
                self.send(&Frame::Rename(Rename { name }));
                Ok(())
            }
            Input::GenerationReached(generation) => {
                self.on_generation(generation);
                self.ask_for_renewals();
                Ok(())
            }
            Input::Entropy(fresh) => self.on_entropy(&fresh),
            Input::MixTooLate { .. } => Err(Close::RenewalFailed),
        };
        if let Err(why) = done {
            self.close(why);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        match &self.state {
            State::Greeting { deadline }
            | State::Asking { deadline, .. }
            | State::Knocking { deadline, .. }
                if self.now >= *deadline =>
            {
                self.close(Close::HelloTimeout);
            }
            State::Greeting { .. } | State::Asking { .. } => {}
            State::Knocking { .. } => {
                if let Err(why) = self.take_due() {
                    self.close(why);
                }
            }
            State::Parting { deadline } => {
                if self.now >= *deadline {
                    self.close(Close::NotLetIn);
                }
            }
            State::Up { bare: Some(deadline), .. } if self.now >= *deadline => {
                self.close(Close::HelloTimeout);
            }
            State::Up { .. } => {
                if let Err(why) = self.take_due() {
                    return self.close(why);
                }
                let todo = self.doors.recheck(self.now);
                todo.into_iter().for_each(|todo| self.attend(todo));
                self.judge_name();
                if let Renewal::Offering(offering) = &mut self.renewal {
                    match offering.handle_timeout(self.now) {
                        Ok(step) => self.perform(step),
                        Err(why) => self.close(why),
                    }
                }
            }
            State::Closed => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let renewal = match &self.renewal {
            Renewal::Offering(offering) => offering.poll_timeout(),
            Renewal::Answering(_) => None,
        };
        match &self.state {
            State::Greeting { deadline }
            | State::Asking { deadline, .. }
            | State::Parting { deadline } => Some(*deadline),
            State::Knocking { deadline, .. } => {
                [Some(*deadline), self.changes.poll_timeout()].into_iter().flatten().min()
            }
            State::Up { bare, .. } => {
                let timers = [
                    *bare,
                    renewal,
                    self.renames.poll_timeout(),
                    self.doors.poll_timeout(),
                    self.changes.poll_timeout(),
                ];
                timers.into_iter().flatten().min()
            }
            State::Closed => None,
        }
    }
}

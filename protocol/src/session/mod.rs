//! Who the peer of one link is, which channels both are in, and fresh keys for as long as it lives.
//!
//! ```text
//!            new: send Hello                    Hello: own channel proven
//!  (link up) ---------------> [Greeting] --------------------------------> [Asking]
//!                                 |                      ask the contact book  |   |
//!                                 |                                     accept |   | refuse
//!                    10 s, self dial,                                          v   |
//!                    violation    |      frames, renewals, channels, name [Up]-.   |
//!                                 |                                       ^  | |   |
//!                                 v                      violation        '--+-'   |
//!                              [Closed] <------------------------------------'-----'
//! ```
//!
//! Frames that come while the contact book is asked are held, bounded, and taken in afterwards: the
//! peer may have accepted us first.
//!
//! Not here: addresses and carriers ([`crate::quic`]); what is said ([`crate::chat`]) and who is
//! linked with whom ([`crate::mesh`]), whose frames are handed on.
//!
//! Spec: `docs/spec/05-session.md`.

mod api;
mod proofs;
mod renames;
mod renewal;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use self::api::{Close, Config, Decision, Input, Output, OwnChannel, PeerInfo, Role};
use self::proofs::Channels;
use self::renames::Renames;
use self::renewal::{Answering, Offering, Step};
use crate::channel::Standing;
use crate::crypto::{Rng, Secret};
use crate::id::{ChannelId, PeerId};
use crate::limits::{FRAMES_HELD_BYTES_MAX, FRAMES_HELD_MAX};
use crate::machine::Machine;
use crate::wire::{
    self, ChannelProof, Entries, Fork, Frame, Have, Hello, Rename, SharedChannels, Want,
    WireAddress,
};

/// The version of the language spoken here.
pub const VERSION: u16 = 1;

/// From the handshake to an accepted hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);

/// The session of one link; see the module.
#[derive(Debug)]
pub struct Session {
    own_peer: PeerId,
    peer: PeerId,
    link_channel: ChannelId,
    handshake_hash: [u8; 64],
    channels: Channels,
    generation: u64,
    renewal: Renewal,
    renames: Renames,
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
    Greeting { deadline: Instant },
    Asking { deadline: Instant, hello: Hello, held: Vec<Frame>, held_bytes: usize },
    Up { proofs: Vec<ChannelProof> },
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
            own_peer: config.own_peer,
            peer: config.peer,
            link_channel: config.channel,
            handshake_hash: config.handshake_hash,
            channels,
            generation,
            renewal,
            renames: Renames::new(now),
            state: State::Greeting { deadline: now + HELLO_DEADLINE },
            now,
            rng,
            outputs: VecDeque::new(),
        };
        session.greet(config.name, config.incarnation, config.observed);
        session
    }

    fn greet(&mut self, name: String, incarnation: [u8; 8], observed: SocketAddr) {
        if self.peer == self.own_peer {
            return self.close(Close::SelfDial);
        }
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
            Ok(Some(frame)) => self.route_frame(frame, body.len()),
            Ok(None) => Ok(()),
            Err(_) => Err(Close::Violation),
        }
    }

    fn route_frame(&mut self, frame: Frame, bytes: usize) -> Result<(), Close> {
        match (&mut self.state, frame) {
            (State::Closed, _) => Ok(()),
            (State::Greeting { deadline }, Frame::Hello(hello)) => {
                let deadline = *deadline;
                self.on_hello(hello, deadline)
            }
            (State::Greeting { .. }, _) | (_, Frame::Hello(_)) => Err(Close::Violation),
            (State::Asking { held, held_bytes, .. }, frame) => {
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
        let State::Asking { hello, held, .. } = &mut self.state else { return Ok(()) };
        if decision == Decision::Refuse {
            return Err(Close::Refused);
        }
        let held = std::mem::take(held);
        let info = PeerInfo {
            peer: self.peer,
            name: std::mem::take(&mut hello.name),
            incarnation: hello.incarnation,
            observed_us_at: hello.observed.map(|address| address.0),
            shared: self.channels.shared().to_vec(),
        };
        self.state = State::Up { proofs: std::mem::take(&mut hello.proofs) };
        self.outputs.push_back(Output::Up(info));
        held.into_iter().try_for_each(|frame| self.on_frame_up(frame))
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
            Frame::Hello(_) => return Err(Close::Violation),
            Frame::SharedChannels(shared) => self.on_proofs(shared.proofs),
            Frame::Rename(rename) => {
                self.renames.on_name(rename.name);
                self.judge_name();
            }
            Frame::Peers(ref peers) => {
                let channel = peers.channel;
                self.deliver(frame, Some((channel, Standing::Seeder)))?;
            }
            Frame::Say(ref say) => {
                // Who cannot read does not speak, and nobody speaks to who cannot read.
                let needs = say.channel.map(|channel| (channel, Standing::Member));
                self.deliver(frame, needs)?;
            }
            Frame::Delivered(_) => self.deliver(frame, None)?,
            Frame::Have(Have { channel, .. })
            | Frame::Want(Want { channel, .. })
            | Frame::Entries(Entries { channel, .. })
            | Frame::Fork(Fork { channel, .. }) => {
                self.deliver(frame, Some((channel, Standing::Seeder)))?;
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

    /// Hands a frame on, unless it speaks of a channel that one has left meanwhile. `needs` says of
    /// which, and what the peer must be there to say such a thing.
    fn deliver(&mut self, frame: Frame, needs: Option<(ChannelId, Standing)>) -> Result<(), Close> {
        let Some((channel, least)) = needs else {
            self.outputs.push_back(Output::Deliver(frame));
            return Ok(());
        };
        if self.channels.standing_in(&channel) >= Some(least) {
            self.outputs.push_back(Output::Deliver(frame));
        } else if self.channels.best_in(&channel) < Some(least) {
            return Err(Close::Violation);
        }
        Ok(())
    }

    fn on_proofs(&mut self, new: Vec<ChannelProof>) {
        if let State::Up { proofs } = &mut self.state {
            *proofs = new;
            self.match_proofs();
        }
    }

    fn on_channels(&mut self, ours: Vec<OwnChannel>) {
        self.channels.set_ours(ours);
        let proofs = self.channels.proofs(&mut self.rng);
        self.send(&Frame::SharedChannels(SharedChannels { proofs }));
        self.match_proofs();
    }

    fn match_proofs(&mut self) {
        match &self.state {
            State::Up { proofs } => {
                if self.channels.match_proofs(proofs) {
                    let shared = self.channels.shared().to_vec();
                    self.outputs.push_back(Output::SharedChanged(shared));
                }
            }
            State::Asking { hello, .. } => {
                self.channels.match_proofs(&hello.proofs);
            }
            State::Greeting { .. } | State::Closed => {}
        }
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
            Input::RenameDecision(decision) => self.on_rename_decision(decision),
            Input::ChannelsChanged(ours) => {
                self.on_channels(ours);
                Ok(())
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
            State::Greeting { deadline } | State::Asking { deadline, .. } => {
                if self.now >= *deadline {
                    self.close(Close::HelloTimeout);
                }
            }
            State::Up { .. } => {
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
            State::Greeting { deadline } | State::Asking { deadline, .. } => Some(*deadline),
            State::Up { .. } => renewal.into_iter().chain(self.renames.poll_timeout()).min(),
            State::Closed => None,
        }
    }
}

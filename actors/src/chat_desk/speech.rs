//! The two machines behind what people say, driven as one: the log of the channels, and what is
//! said to one peer alone.

use std::collections::VecDeque;
use std::time::Instant;

use bitchat_protocol::crypto::Rng;
use bitchat_protocol::crypto::sign::SigningKey;
use bitchat_protocol::id::PeerId;
use bitchat_protocol::log::{self, Log};
use bitchat_protocol::machine::Machine;
use bitchat_protocol::whisper::{self, Whispers};
use bitchat_protocol::wire::Frame;

/// The log, and what is said to one peer alone.
#[derive(Debug)]
pub struct Speech {
    pub(super) log: Log,
    pub(super) whispers: Whispers,
    outputs: VecDeque<Output>,
}

/// What one of the two is told, or both.
#[derive(Debug)]
pub enum Input {
    /// The log alone.
    Log(log::Input),
    /// A peer is linked.
    PeerUp(PeerId),
    /// It is no longer.
    PeerDown(PeerId),
    /// Another link carries what is sent to a peer.
    Rerouted(PeerId),
    /// A batch of frames, for both.
    Frames {
        /// Who, as the link has proven.
        from: PeerId,
        /// In order.
        frames: Vec<Frame>,
    },
}

/// What one of the two wants done.
#[derive(Debug)]
pub enum Output {
    /// The log.
    Log(log::Output),
    /// What is said to one peer alone.
    Whisper(whisper::Output),
}

impl Speech {
    pub(super) fn new(now: Instant, key: SigningKey, mut rng: Rng) -> Self {
        let whispers = Whispers::new(rng.fork());
        Self { log: Log::new(now, key, rng), whispers, outputs: VecDeque::new() }
    }

    /// What was put out by a call that is no input.
    fn collect(&mut self) {
        while let Some(output) = self.log.poll_output() {
            self.outputs.push_back(Output::Log(output));
        }
        while let Some(output) = self.whispers.poll_output() {
            self.outputs.push_back(Output::Whisper(output));
        }
    }
}

/// Whether a frame says something to us alone, or acknowledges that.
fn is_whisper(frame: &Frame) -> bool {
    matches!(frame, Frame::Whisper(_) | Frame::Delivered(_))
}

impl Machine for Speech {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Log(input) => self.log.handle_input(now, input),
            Input::PeerUp(peer) => self.whispers.handle_input(now, whisper::Input::PeerUp(peer)),
            Input::PeerDown(peer) => {
                self.log.handle_input(now, log::Input::PeerDown(peer));
                self.whispers.handle_input(now, whisper::Input::PeerDown(peer));
            }
            Input::Rerouted(peer) => {
                self.log.handle_input(now, log::Input::Rerouted(peer));
                self.whispers.handle_input(now, whisper::Input::Rerouted(peer));
            }
            Input::Frames { from, frames } => {
                let (whispers, frames): (Vec<_>, Vec<_>) = frames.into_iter().partition(is_whisper);
                if !frames.is_empty() {
                    self.log.handle_input(now, log::Input::FramesReceived { from, frames });
                }
                if !whispers.is_empty() {
                    let frames = whispers;
                    self.whispers
                        .handle_input(now, whisper::Input::FramesReceived { from, frames });
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.log.handle_timeout(now);
        self.whispers.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.collect();
        }
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.log.poll_timeout().into_iter().chain(self.whispers.poll_timeout()).min()
    }
}

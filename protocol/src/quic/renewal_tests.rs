//! Renewals over a real link: two sessions drive two connections in simulated time.

use std::time::{Duration, Instant};

use super::test_pair::{Network, Side, TestPair, channel};
use crate::channel::{ChannelKeys, ChannelSecret};
use crate::crypto::{Rng, Secret};
use crate::id::MessageId;
use crate::machine::Machine;
use crate::session::{Config, Decision, Input, Output, OwnChannel, Role, Session};
use crate::wire::{self, Frame, Whisper};

/// A node's session and what it has heard.
struct Talker {
    session: Session,
    heard: Vec<u64>,
    mixed: Vec<u64>,
    up: bool,
}

impl Talker {
    fn new(side: &mut Side, now: Instant, role: Role, renewal_interval: Duration) -> Self {
        let established = side.established.clone().expect("the link stands");
        let keys = ChannelKeys::member(ChannelSecret(Secret::new([1; 32])));
        let seed = if role == Role::Dialler { 1 } else { 2 };
        let config = Config {
            own_peer: side.peer,
            name: String::new(),
            incarnation: [seed; 8],
            role,
            channel: channel(1).0,
            handshake_hash: established.handshake_hash,
            peer: established.peer,
            is_blocked: false,
            channels: vec![OwnChannel::from(&keys)],
            observed: side.link().remote(),
            renewal_interval,
        };
        let generation = side.link().generation();
        let session = Session::new(now, config, generation, Rng::from_seed([seed; 32]));
        Self { session, heard: Vec::new(), mixed: Vec::new(), up: false }
    }

    /// Hands on what has come and what is due, and does what the session wants.
    fn drive(&mut self, side: &mut Side, now: Instant) {
        for body in std::mem::take(&mut side.frames) {
            let generation = side.link().generation();
            self.session.handle_input(now, Input::FrameReceived { generation, body });
            self.perform(side, now);
        }
        self.session.handle_timeout(now);
        self.perform(side, now);
    }

    fn perform(&mut self, side: &mut Side, now: Instant) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::SendFrame(body) => side.link().send_frame(&body).expect("room for a frame"),
                Output::AskContactBook { .. } => {
                    self.session.handle_input(now, Input::ContactDecision(Decision::Accept));
                }
                Output::Up(_) => self.up = true,
                Output::Deliver(Frame::Whisper(said)) => self.heard.push(said.unix_ms),
                Output::Mix { generation, secret } => {
                    side.link().mix(generation, secret).expect("mixed in time");
                    self.mixed.push(generation);
                }
                Output::AskEntropy => {
                    self.session.handle_input(now, Input::Entropy(Secret::new([7; 32])));
                }
                Output::ForceKeyUpdate => side.link().force_key_update(),
                Output::Deliver(_)
                | Output::SharedChanged(_)
                | Output::AskAdmission { .. }
                | Output::TurnedDown { .. }
                | Output::LetIn(_)
                | Output::Moved { .. }
                | Output::Renamed(_) => {}
                Output::Close(why) => panic!("closed: {why}"),
            }
        }
    }
}

fn say(n: u64) -> Vec<u8> {
    let (id, text) = (MessageId([0; 16]), "x".repeat(300));
    wire::encode(&Frame::Whisper(Whisper { id, unix_ms: n, text }))
}

/// Talks for an hour, a message each way every two seconds; gives the renewals on each side.
fn hour_of_talk(seed: u8, change: impl Fn(&mut Network), every: Duration) -> [Vec<u64>; 2] {
    let mut pair = TestPair::connected(seed);
    let now = pair.now;
    let mut a = Talker::new(&mut pair.a, now, Role::Dialler, every);
    let mut b = Talker::new(&mut pair.b, now, Role::Listener, every);
    change(&mut pair.network);
    let (start, mut said) = (pair.now, 0);
    while pair.now < start + Duration::from_secs(3600) {
        a.drive(&mut pair.a, pair.now);
        b.drive(&mut pair.b, pair.now);
        if a.up && b.up && pair.now >= start + Duration::from_secs(2 * (said + 1)) {
            said += 1;
            pair.a.link().send_frame(&say(said)).unwrap();
            pair.b.link().send_frame(&say(said)).unwrap();
        }
        let news = |pair: &TestPair| !(pair.a.frames.is_empty() && pair.b.frames.is_empty());
        pair.run_until(1, news);
        assert!(pair.a.events.is_empty(), "{:?}", pair.a.events);
        assert!(pair.b.events.is_empty(), "{:?}", pair.b.events);
    }
    for _ in 0..20 {
        pair.run_until(1, |_| false);
        a.drive(&mut pair.a, pair.now);
        b.drive(&mut pair.b, pair.now);
    }
    let all: Vec<u64> = (1..=said).collect();
    assert!(said > 1700, "{said} messages");
    assert_eq!(a.heard, all, "what a heard");
    assert_eq!(b.heard, all, "what b heard");
    let passed = [pair.a.link().generation(), pair.b.link().generation()];
    assert!(
        a.mixed.iter().rev().skip(1).all(|mixed| passed.iter().all(|at| at >= mixed)),
        "a secret was never used: {:?}, now {passed:?}",
        a.mixed
    );
    [a.mixed, b.mixed]
}

#[test]
fn an_hour_of_renewals_loses_no_message() {
    let [a, b] = hour_of_talk(1, |_| {}, Duration::from_secs(120));
    assert!(a.len() >= 25, "{} renewals", a.len());
    assert_eq!(a, b);
}

#[test]
fn an_hour_of_renewals_on_a_lossy_path_loses_no_message() {
    let lossy = |network: &mut Network| (network.lost, network.reordered) = (10, 10);
    let [a, b] = hour_of_talk(2, lossy, Duration::from_secs(300));
    assert!(a.len() >= 9, "{} renewals", a.len());
    // The listener mixes first, and the answer to the last offer may be under way at the end.
    assert!(b.starts_with(&a) && b.len() <= a.len() + 1, "{a:?}, {b:?}");
}

#[test]
fn an_hour_of_renewals_on_a_very_slow_path_loses_no_message() {
    let slow = |network: &mut Network| network.delay = Duration::from_secs(2);
    let [a, b] = hour_of_talk(3, slow, Duration::from_secs(600));
    assert!(a.len() >= 4, "{} renewals", a.len());
    assert_eq!(a, b);
}

//! Sessions on real links: the secrets of renewals enter the keys of packets on both sides in step.

use super::*;
use crate::id::MessageId;
use crate::quic::test_pair::{Side, TestPair, channel};
use crate::wire::Say;

const INTERVAL: Duration = Duration::from_secs(300);

/// A session and what it did to its link.
struct End {
    session: Session,
    mixed: Vec<u64>,
    heard: Vec<u64>,
    closed: Option<Close>,
}

impl End {
    fn new(pair: &TestPair, role: Role, proof_key: &Secret<32>) -> Self {
        let (own, other) = match role {
            Role::Dialler => (&pair.a, &pair.b),
            Role::Listener => (&pair.b, &pair.a),
        };
        let established = own.established.as_ref().expect("the link is established");
        let config = Config {
            own_peer: own.peer,
            name: "somebody".into(),
            incarnation: [7; 8],
            role,
            channel: channel(1).0,
            handshake_hash: established.handshake_hash,
            peer: established.peer,
            channels: vec![(channel(1).0, proof_key.clone())],
            observed: other.address,
            renewal_interval: INTERVAL,
        };
        let seed = if role == Role::Dialler { 1 } else { 2 };
        let generation = own.link.as_ref().map_or(0, crate::quic::Link::generation);
        let session = Session::new(pair.now, config, generation, Rng::from_seed([seed; 32]));
        Self { session, mixed: Vec::new(), heard: Vec::new(), closed: None }
    }

    /// Gives the session what came over the link and the time, and does what it asks for.
    fn drive(&mut self, now: Instant, side: &mut Side) {
        for body in std::mem::take(&mut side.frames) {
            let generation = side.link().generation();
            self.session.handle_input(now, Input::FrameReceived { generation, body });
            self.perform(now, side);
        }
        if self.session.poll_timeout().is_some_and(|due| due <= now) {
            self.session.handle_timeout(now);
        }
        self.perform(now, side);
    }

    fn perform(&mut self, now: Instant, side: &mut Side) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::SendFrame(body) => side.link().send_frame(&body).unwrap(),
                Output::AskContactBook { .. } => {
                    let accept = Input::ContactDecision(Decision::Accept);
                    self.session.handle_input(now, accept);
                }
                Output::Deliver(Frame::Say(say)) => self.heard.push(say.unix_ms),
                Output::Mix { generation, secret } => {
                    side.link().mix(generation, secret).expect("in time");
                    self.mixed.push(generation);
                }
                Output::AskEntropy => {
                    self.session.handle_input(now, Input::Entropy(Secret::new([7; 32])));
                }
                Output::ForceKeyUpdate => side.link().force_key_update(),
                Output::Close(why) => self.closed = Some(why),
                Output::Deliver(_)
                | Output::Up(_)
                | Output::SharedChanged(_)
                | Output::Renamed(_) => {}
            }
        }
    }
}

fn say(number: u64) -> Vec<u8> {
    let (channel, id) = (None, MessageId([0; 16]));
    wire::encode(&Frame::Say(Say { channel, id, unix_ms: number, text: "tick".into() }))
}

/// Renews for an hour with a message each way every second.
fn talk_for_an_hour(seed: u8, lost: u64) {
    let mut pair = TestPair::connected(seed);
    pair.network.lost = lost;
    pair.network.reordered = lost;
    let proof_key = Secret::new([5; 32]);
    let mut dialler = End::new(&pair, Role::Dialler, &proof_key);
    let mut listener = End::new(&pair, Role::Listener, &proof_key);
    let count = 3600;
    for second in 0..count + 30 {
        dialler.drive(pair.now, &mut pair.a);
        listener.drive(pair.now, &mut pair.b);
        if (5..count).contains(&second) {
            pair.a.link().send_frame(&say(second)).unwrap();
            pair.b.link().send_frame(&say(second)).unwrap();
        }
        pair.run_until(1, |_| false);
    }
    dialler.drive(pair.now, &mut pair.a);
    listener.drive(pair.now, &mut pair.b);

    let expected: Vec<u64> = (5..count).collect();
    assert_eq!((dialler.closed, listener.closed), (None, None), "seed {seed}");
    assert!(dialler.heard == expected && listener.heard == expected, "seed {seed}");
    assert!((10..=14).contains(&dialler.mixed.len()), "{} renewals", dialler.mixed.len());
    assert_eq!(dialler.mixed, listener.mixed);
    let last = *dialler.mixed.last().unwrap();
    assert!(pair.a.link().generation() >= last && pair.b.link().generation() >= last);
}

#[test]
fn an_hour_of_renewals_loses_no_message() {
    talk_for_an_hour(1, 0);
}

#[test]
fn an_hour_of_renewals_loses_no_message_on_a_network_that_loses_and_reorders() {
    talk_for_an_hour(2, 5);
}

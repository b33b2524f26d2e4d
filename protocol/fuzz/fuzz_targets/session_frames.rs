#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::limits::{FRAME_BYTES_MAX, NAME_BYTES_MAX, REFUSAL_BYTES_MAX, TICKETS_MAX};
use bitchat_protocol::machine::Machine as _;
use bitchat_protocol::session::{
    Config, Decision, Door, Input, Output, OwnChannel, Role, Session, Turndown,
};
use bitchat_protocol::wire;
use bitchat_protocol_fuzz::{frames, patch, pieces};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const CHANNEL: ChannelId = ChannelId([5; 32]);

static GENUINE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let both = [CHANNEL, CLOSED].map(frames::genuine).concat();
    both.iter().map(wire::encode).collect()
});

/// Beside the link's own, a channel that is closed.
const CLOSED: ChannelId = ChannelId([6; 32]);

fn session(now: Instant, role: Role) -> Session {
    let (own, peer) = match role {
        Role::Dialler => (1, 2),
        Role::Listener => (2, 1),
    };
    let config = Config {
        own_peer: PeerId([own; 32]),
        name: "name".to_owned(),
        incarnation: [own; 8],
        role,
        channel: CHANNEL,
        handshake_hash: [3; 64],
        peer: PeerId([peer; 32]),
        is_blocked: false,
        channels: [
            (CHANNEL, None),
            (CLOSED, Some(Door { tickets: vec![], revision: 1, departure: None })),
        ]
        .map(|(id, door)| OwnChannel {
            id,
            proof: Secret::new([4; 32]),
            member_proof: Some(Secret::new([5; 32])),
            only: None,
            door,
        })
        .to_vec(),
        observed: "192.0.2.1:5000".parse().expect("an address"),
        renewal_interval: Duration::from_secs(10),
    };
    Session::new(now, config, 0, Rng::from_seed([own; 32]))
}

/// Drains what a session wants; whether it is over.
fn drain(session: &mut Session, now: Instant, greeting: &mut Option<Vec<u8>>) -> bool {
    let mut closed = false;
    while let Some(output) = session.poll_output() {
        assert!(!closed, "nothing follows the end");
        match output {
            Output::SendFrame(body) => {
                assert!(body.len() <= FRAME_BYTES_MAX);
                assert!(matches!(wire::decode(&body), Ok(Some(_))), "what we write reads back");
                greeting.get_or_insert(body);
            }
            Output::Deliver(frame) => frames::check_bounds(&frame),
            Output::AskContactBook { name, .. } | Output::Renamed(name) => {
                assert!(name.len() <= NAME_BYTES_MAX);
            }
            Output::Close(_) => closed = true,
            Output::AskEntropy => {
                session.handle_input(now, Input::Entropy(Secret::new([6; 32])));
            }
            Output::AskAdmission { channel, question, tickets, .. } => {
                assert!(tickets.len() <= TICKETS_MAX);
                let turndown = Turndown { code: 1, text: "no".to_owned() };
                let verdict = if tickets.is_empty() { Ok(None) } else { Err(turndown) };
                session.handle_input(now, Input::Admission { channel, question, verdict });
            }
            Output::TurnedDown { why, .. } => assert!(why.text.len() <= REFUSAL_BYTES_MAX),
            Output::Up(_)
            | Output::LetIn(_)
            | Output::Moved { .. }
            | Output::SharedChanged(_)
            | Output::Mix { .. }
            | Output::ForceKeyUpdate => {}
        }
    }
    closed
}

// The first byte: bit 0 our role, bit 1 whether a genuine hello comes first, bit 2 whether the
// contact book has answered before the frames come.
fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else { return };
    let mut now = Instant::now();
    let (role, other) = match mode & 1 {
        0 => (Role::Dialler, Role::Listener),
        _ => (Role::Listener, Role::Dialler),
    };
    let mut ours = session(now, role);
    let mut closed = drain(&mut ours, now, &mut None);
    assert!(!closed);
    let mut generation = 0;
    if mode & 2 != 0 {
        let (mut theirs, mut hello) = (session(now, other), None);
        drain(&mut theirs, now, &mut hello);
        let body = Bytes::from(hello.expect("a hello comes first"));
        ours.handle_input(now, Input::FrameReceived { generation, body });
        assert!(!drain(&mut ours, now, &mut None), "an honest hello is taken");
        if mode & 4 != 0 {
            ours.handle_input(now, Input::ContactDecision(Decision::Accept));
            assert!(!drain(&mut ours, now, &mut None));
        }
    }
    for piece in pieces(rest) {
        let Some((&op, body)) = piece.split_first() else { continue };
        match op {
            0xf0 => ours.handle_input(now, Input::ContactDecision(Decision::Accept)),
            0xf1 => generation += 1,
            0xf2 => now += Duration::from_secs(1),
            0xf3 => {
                if let Some(due) = ours.poll_timeout() {
                    now = now.max(due);
                }
                ours.handle_timeout(now);
            }
            0xf4 => {
                let Some((&which, script)) = body.split_first() else { continue };
                let mut body = GENUINE[usize::from(which) % GENUINE.len()].clone();
                patch(&mut body, script);
                let body = Bytes::from(body);
                ours.handle_input(now, Input::FrameReceived { generation, body });
            }
            // Any other is the first byte of a body.
            _ => {
                let body = Bytes::copy_from_slice(piece);
                ours.handle_input(now, Input::FrameReceived { generation, body });
            }
        }
        let over = drain(&mut ours, now, &mut None);
        assert!(!(closed && over), "it ends once");
        closed |= over;
    }
    if closed {
        assert_eq!(ours.poll_timeout(), None);
    }
});

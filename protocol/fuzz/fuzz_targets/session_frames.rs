#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bitchat_protocol::channel::MOVE_BYTES_MAX;
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::limits::{FRAME_BYTES_MAX, NAME_BYTES_MAX, REFUSAL_BYTES_MAX, TICKETS_MAX};
use bitchat_protocol::machine::Machine as _;
use bitchat_protocol::session::{
    Config, Decision, Departure, Door, Input, Output, OwnChannel, Role, Session, Turndown,
};
use bitchat_protocol::wire::{self, Frame, MoveBytes};
use bitchat_protocol_fuzz::{frames, patch, pieces};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const CHANNEL: ChannelId = ChannelId([5; 32]);

static GENUINE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let both = [CHANNEL, CLOSED].map(frames::genuine).concat();
    both.iter().map(wire::encode).collect()
});

/// Beside the link's own, a channel that is closed, and goes on as another one.
const CLOSED: ChannelId = ChannelId([6; 32]);

fn door() -> Door {
    let departure = Departure {
        moved: MoveBytes(vec![1; 227].into()),
        successor: ChannelId([7; 32]),
        seed: Secret::new([7; 32]),
        secret: Some(Secret::new([8; 32])),
    };
    Door { tickets: vec![], revision: 1, departure: Some(departure) }
}

/// What a session has said, and been told, so far.
#[derive(Default)]
struct Story {
    greeting: Option<Vec<u8>>,
    /// Whether the last verdict let the peer into the closed channel.
    let_in: bool,
}

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
        channels: [(CHANNEL, None), (CLOSED, Some(door()))]
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
fn drain(session: &mut Session, now: Instant, story: &mut Story) -> bool {
    let mut closed = false;
    while let Some(output) = session.poll_output() {
        assert!(!closed, "nothing follows the end");
        match output {
            Output::SendFrame(body) => {
                assert!(body.len() <= FRAME_BYTES_MAX);
                let frame = wire::decode(&body).expect("what we write reads back");
                let is_key = matches!(frame.expect("and is known"), Frame::Moved(_));
                assert!(!is_key || story.let_in, "who is not let in is handed no key");
                story.greeting.get_or_insert(body);
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
                story.let_in = tickets.is_empty();
                let verdict = if tickets.is_empty() { Ok(None) } else { Err(turndown) };
                session.handle_input(now, Input::Admission { channel, question, verdict });
            }
            Output::TurnedDown { why, .. } => assert!(why.text.len() <= REFUSAL_BYTES_MAX),
            Output::Moved { moved, .. } => assert!(moved.0.len() <= MOVE_BYTES_MAX),
            Output::Up(_)
            | Output::LetIn(_)
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
    let mut story = Story::default();
    let mut closed = drain(&mut ours, now, &mut story);
    assert!(!closed);
    let mut generation = 0;
    if mode & 2 != 0 {
        let (mut theirs, mut told) = (session(now, other), Story::default());
        drain(&mut theirs, now, &mut told);
        let body = Bytes::from(told.greeting.expect("a hello comes first"));
        ours.handle_input(now, Input::FrameReceived { generation, body });
        assert!(!drain(&mut ours, now, &mut story), "an honest hello is taken");
        if mode & 4 != 0 {
            ours.handle_input(now, Input::ContactDecision(Decision::Accept));
            assert!(!drain(&mut ours, now, &mut story));
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
        let over = drain(&mut ours, now, &mut story);
        assert!(!(closed && over), "it ends once");
        closed |= over;
    }
    if closed {
        assert_eq!(ours.poll_timeout(), None);
    }
});

//! Two sessions, and frames by hand.

use proptest::prelude::*;

use super::*;
use crate::channel::Standing;
use crate::crypto::kem::KEM_PUBLIC_BYTES;
use crate::crypto::{Rng, hash};
use crate::id::{ChainId, DeviceId, MessageId};
use crate::limits::{CHANNEL_CHANGES_AT_ONCE_MAX, CHANNEL_CHANGES_EVERY, RENAME_INTERVAL_MIN};
use crate::log::Certificate;
use crate::wire::{EntryBytes, Peers, RenewConfirm, RenewOffer, Whisper};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const RED: ChannelId = ChannelId([1; 32]);
pub(super) const GREEN: ChannelId = ChannelId([2; 32]);
pub(super) const BLUE: ChannelId = ChannelId([3; 32]);

pub(super) fn keys(channels: &[ChannelId]) -> Vec<OwnChannel> {
    let key = |id: &ChannelId, twist: u8| Secret::new(id.0.map(|byte| byte ^ twist));
    let own = |id: &ChannelId| OwnChannel {
        id: *id,
        proof: key(id, 0x55),
        member_proof: Some(key(id, 0xaa)),
        only: None,
        door: None,
    };
    channels.iter().map(own).collect()
}

/// What a seeder of these channels holds.
pub(super) fn seed_keys(channels: &[ChannelId]) -> Vec<OwnChannel> {
    let mut own = keys(channels);
    own.iter_mut().for_each(|channel| channel.member_proof = None);
    own
}

pub(super) fn members(channels: &[ChannelId]) -> Vec<(ChannelId, Standing)> {
    channels.iter().map(|id| (*id, Standing::Member)).collect()
}

pub(super) fn config(role: Role, channels: &[ChannelId]) -> Config {
    let (own, peer) = match role {
        Role::Dialler => (1, 2),
        Role::Listener => (2, 1),
    };
    Config {
        own_peer: PeerId([own; 32]),
        name: format!("node {own}"),
        incarnation: [own; 8],
        role,
        channel: RED,
        handshake_hash: [9; 64],
        peer: PeerId([peer; 32]),
        is_blocked: false,
        channels: keys(channels),
        observed: format!("198.51.100.{peer}:6881").parse().unwrap(),
        renewal_interval: HOUR,
    }
}

/// One session with the keys of its link: each generation depends on the one before, and on what
/// was mixed in.
pub(super) struct Side {
    pub(super) session: Session,
    pub(super) generation: u64,
    pub(super) key: [u8; 32],
    pub(super) mixes: Vec<(u64, Secret<32>)>,
    pub(super) out: Vec<Output>,
    pub(super) entropy: [u8; 32],
    pub(super) now: Instant,
}

impl Side {
    pub(super) fn new(now: Instant, config: Config, seed: u8) -> Self {
        let session = Session::new(now, config, 1, Rng::from_seed([seed; 32]));
        Self {
            session,
            generation: 1,
            key: [0; 32],
            mixes: Vec::new(),
            out: Vec::new(),
            entropy: [seed; 32],
            now,
        }
    }

    pub(super) fn update_key(&mut self) {
        self.generation += 1;
        let mixed = self.mixes.iter().find(|(generation, _)| *generation == self.generation);
        let mixed = mixed.map_or([0; 32], |(_, secret)| *secret.expose());
        self.key = *hash::derive(&self.key, "test", &[&mixed]).expose();
    }

    pub(super) fn input(&mut self, now: Instant, input: Input) {
        self.now = now;
        self.session.handle_input(now, input);
    }

    pub(super) fn receive(&mut self, now: Instant, frame: &Frame) {
        self.receive_body(now, wire::encode(frame));
    }

    pub(super) fn receive_body(&mut self, now: Instant, body: Vec<u8>) {
        let generation = self.generation;
        self.input(now, Input::FrameReceived { generation, body: body.into() });
    }

    pub(super) fn take_output(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll_output()).collect()
    }

    /// Drains the outputs, does what they ask of the link, and gives the frames with the keys they
    /// were sent under.
    pub(super) fn perform(&mut self) -> Vec<(u64, [u8; 32], Vec<u8>)> {
        let mut sent = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::SendFrame(body) => sent.push((self.generation, self.key, body)),
                Output::Mix { generation, secret } => {
                    assert!(generation > self.generation, "mixed too late");
                    self.mixes.push((generation, secret));
                }
                Output::ForceKeyUpdate => self.update_key(),
                Output::AskEntropy => {
                    let fresh = Input::Entropy(Secret::new(self.entropy));
                    self.session.handle_input(self.now, fresh);
                }
                // Only its number must be right, which tests do not count.
                Output::AskAdmission { channel, standing, tickets, .. } => {
                    self.out.push(Output::AskAdmission { channel, question: 0, standing, tickets });
                }
                Output::AskContactBook { .. }
                | Output::Up(_)
                | Output::SharedChanged(_)
                | Output::TurnedDown { .. }
                | Output::LetIn(_)
                | Output::Moved { .. }
                | Output::Renamed(_)
                | Output::Deliver(_)
                | Output::Close(_) => self.out.push(output),
            }
        }
        sent
    }

    pub(super) fn closed(&self) -> Option<Close> {
        self.out.iter().find_map(|output| match output {
            Output::Close(why) => Some(*why),
            Output::SendFrame(_)
            | Output::AskContactBook { .. }
            | Output::Up(_)
            | Output::SharedChanged(_)
            | Output::AskAdmission { .. }
            | Output::TurnedDown { .. }
            | Output::LetIn(_)
            | Output::Moved { .. }
            | Output::Renamed(_)
            | Output::Deliver(_)
            | Output::AskEntropy
            | Output::Mix { .. }
            | Output::ForceKeyUpdate => None,
        })
    }
}

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) dialler: Side,
    pub(super) listener: Side,
}

impl Pair {
    pub(super) fn new(dialler: &[ChannelId], listener: &[ChannelId]) -> Self {
        Self::from_configs(config(Role::Dialler, dialler), config(Role::Listener, listener))
    }

    pub(super) fn from_configs(dialler: Config, listener: Config) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any start will do")]
        let now = Instant::now();
        Self { now, dialler: Side::new(now, dialler, 1), listener: Side::new(now, listener, 2) }
    }

    pub(super) fn up(channels: &[ChannelId]) -> Self {
        let mut pair = Self::new(channels, channels);
        pair.exchange();
        pair.accept();
        pair.dialler.out.clear();
        pair.listener.out.clear();
        pair
    }

    pub(super) fn accept(&mut self) {
        self.dialler.input(self.now, Input::ContactDecision(Decision::Accept));
        self.listener.input(self.now, Input::ContactDecision(Decision::Accept));
        self.exchange();
    }

    /// Carries frames until nobody has any; under which keys they travel must agree.
    pub(super) fn exchange(&mut self) {
        loop {
            let to_listener = self.dialler.perform();
            let to_dialler = self.listener.perform();
            if to_listener.is_empty() && to_dialler.is_empty() {
                return;
            }
            carry(self.now, to_listener, &mut self.listener);
            carry(self.now, to_dialler, &mut self.dialler);
        }
    }

    /// Runs to the next timer, if it is due before `end`.
    pub(super) fn step(&mut self, end: Instant) -> bool {
        let timers = [self.dialler.session.poll_timeout(), self.listener.session.poll_timeout()];
        let next = timers.into_iter().flatten().min().filter(|next| *next < end);
        self.now = next.unwrap_or(end);
        self.dialler.session.handle_timeout(self.now);
        self.listener.session.handle_timeout(self.now);
        next.is_some()
    }
}

pub(super) fn carry(now: Instant, frames: Vec<(u64, [u8; 32], Vec<u8>)>, to: &mut Side) {
    for (generation, key, body) in frames {
        while to.generation < generation {
            to.update_key();
        }
        if to.generation == generation {
            assert_eq!(to.key, key, "both sides have the same keys of generation {generation}");
        }
        to.receive_body(now, body);
    }
}

pub(super) fn whisper() -> Frame {
    Frame::Whisper(Whisper { id: MessageId([4; 16]), unix_ms: 5, text: "hi".into() })
}

/// A frame that speaks of a channel.
pub(super) fn have(channel: ChannelId) -> Frame {
    Frame::Have(Have { channel, full: true, again: false, chains: vec![] })
}

/// One frame of each kind of the message log.
fn log_frames(channel: ChannelId) -> Vec<Frame> {
    let outline = || EntryBytes(vec![1; 161].into());
    let certificate =
        Certificate { author: PeerId([1; 32]), device: DeviceId([1; 8]), mark: [1; 64] };
    vec![
        have(channel),
        Frame::Want(Want { channel, chain: ChainId([1; 16]), from: 1, bytes: 1 }),
        Frame::Entries(Entries { channel, more: false, chains: vec![], entries: vec![] }),
        Frame::Fork(Fork { channel, chain: certificate, first: outline(), second: outline() }),
    ]
}

pub(super) fn peers(channel: ChannelId) -> Frame {
    Frame::Peers(Peers { channel, full: false, added: vec![], removed: vec![] })
}

/// A dialler whose listener is played by the test, up in RED and GREEN.
pub(super) fn up_dialler() -> (Instant, Side) {
    let Pair { now, dialler, .. } = Pair::up(&[RED, GREEN]);
    (now, dialler)
}

#[track_caller]
pub(super) fn check_closes(frame: &Frame, role: Role, expected: Option<Close>) {
    let Pair { now, dialler, listener } = Pair::up(&[RED, GREEN]);
    let mut side = if role == Role::Dialler { dialler } else { listener };
    side.receive(now, frame);
    side.perform();
    assert_eq!(side.closed(), expected, "{frame:?}");
}

#[test]
fn two_nodes_learn_who_the_other_is_and_which_channels_they_share() {
    let mut pair = Pair::new(&[RED, GREEN], &[BLUE, RED]);
    pair.exchange();
    let question = Output::AskContactBook { peer: PeerId([1; 32]), name: "node 1".into() };
    assert_eq!(pair.listener.out, [question]);
    pair.listener.out.clear();
    pair.accept();
    let info = PeerInfo {
        peer: PeerId([1; 32]),
        name: "node 1".into(),
        incarnation: [1; 8],
        observed_us_at: Some("198.51.100.2:6881".parse().unwrap()),
        shared: members(&[RED]),
    };
    assert_eq!(pair.listener.out, [Output::Up(info)]);
}

#[test]
fn proofs_tell_nothing_to_other_links_and_roles() {
    let proofs = |hash, role| {
        Channels::new(hash, role, PeerId([2; 32]), keys(&[RED]))
            .proofs(&mut Rng::from_seed([0; 32]))
    };
    let base = proofs([9; 64], Role::Dialler);
    assert_eq!(base, proofs([9; 64], Role::Dialler));
    assert_ne!(base, proofs([8; 64], Role::Dialler));
    assert_ne!(base, proofs([9; 64], Role::Listener));
}

#[test]
fn a_link_with_ourselves_is_closed_without_a_word() {
    let alone = Config { peer: PeerId([1; 32]), ..config(Role::Dialler, &[RED]) };
    let mut pair = Pair::from_configs(alone, config(Role::Listener, &[RED]));
    assert_eq!(pair.dialler.take_output(), [Output::Close(Close::SelfDial)]);
    assert_eq!(pair.dialler.session.poll_timeout(), None);
}

#[test]
fn a_peer_that_is_blocked_is_told_nothing_and_one_that_is_blocked_later_nothing_more() {
    let blocked = Config { is_blocked: true, ..config(Role::Dialler, &[RED]) };
    let mut pair = Pair::from_configs(blocked, config(Role::Listener, &[RED]));
    assert_eq!(pair.dialler.take_output(), [Output::Close(Close::Refused)]);

    let mut pair = Pair::new(&[RED], &[RED]);
    pair.dialler.perform();
    pair.dialler.input(pair.now, Input::PeerBlocked);
    assert_eq!(pair.dialler.take_output(), [Output::Close(Close::Refused)], "before its hello");
}

#[test]
fn a_peer_that_says_no_hello_is_let_go_after_ten_seconds() {
    let mut pair = Pair::new(&[RED], &[RED]);
    pair.dialler.perform();
    let due = pair.dialler.session.poll_timeout().unwrap();
    assert_eq!(due - pair.now, HELLO_DEADLINE);
    pair.dialler.session.handle_timeout(due - Duration::from_millis(1));
    assert_eq!(pair.dialler.take_output(), []);
    pair.dialler.session.handle_timeout(due);
    assert_eq!(pair.dialler.take_output(), [Output::Close(Close::HelloTimeout)]);
}

#[test]
fn a_contact_book_that_does_not_answer_ends_the_link_too() {
    let mut pair = Pair::new(&[RED], &[RED]);
    pair.exchange();
    let due = pair.dialler.session.poll_timeout().unwrap();
    pair.dialler.session.handle_timeout(due);
    assert_eq!(pair.dialler.take_output(), [Output::Close(Close::HelloTimeout)]);
}

#[test]
fn a_peer_that_the_contact_book_refuses_is_closed_and_never_up() {
    let mut pair = Pair::new(&[RED], &[RED]);
    pair.exchange();
    pair.dialler.input(pair.now, Input::ContactDecision(Decision::Refuse));
    assert_eq!(pair.dialler.take_output(), [Output::Close(Close::Refused)]);
    pair.dialler.receive(pair.now, &whisper());
    pair.dialler.input(pair.now, Input::ContactDecision(Decision::Accept));
    assert_eq!(pair.dialler.take_output(), []);
}

#[test]
fn a_peer_that_cannot_prove_the_links_channel_is_closed() {
    let mut pair = Pair::new(&[RED], &[GREEN]);
    pair.exchange();
    assert_eq!(pair.dialler.closed(), Some(Close::Violation));
}

#[test]
fn our_own_proofs_sent_back_prove_nothing() {
    let mut pair = Pair::new(&[RED], &[RED]);
    let (_, _, hello) = pair.dialler.perform().remove(0);
    pair.dialler.receive_body(pair.now, hello);
    pair.dialler.perform();
    assert_eq!(pair.dialler.closed(), Some(Close::Violation));
}

#[test]
fn a_hello_for_a_channel_that_we_have_left_meanwhile_ends_the_link_politely() {
    let mut pair = Pair::new(&[RED], &[RED]);
    pair.dialler.input(pair.now, Input::ChannelsChanged(keys(&[GREEN])));
    pair.exchange();
    assert_eq!(pair.dialler.closed(), Some(Close::ChannelLeft));
}

#[test]
fn a_hello_of_version_zero_is_refused() {
    let mut pair = Pair::new(&[RED], &[RED]);
    let (_, _, hello) = pair.listener.perform().remove(0);
    let Ok(Some(Frame::Hello(hello))) = wire::decode(&hello) else { panic!("a hello") };
    pair.dialler.receive(pair.now, &Frame::Hello(Hello { version: 0, ..hello }));
    pair.dialler.perform();
    assert_eq!(pair.dialler.closed(), Some(Close::Violation));
}

#[test]
fn anything_before_the_hello_is_a_violation() {
    for frame in [whisper(), Frame::RenewConfirm(RenewConfirm { number: 1 }), peers(RED)] {
        let mut pair = Pair::new(&[RED], &[RED]);
        pair.dialler.receive(pair.now, &frame);
        pair.dialler.perform();
        assert_eq!(pair.dialler.closed(), Some(Close::Violation), "{frame:?}");
    }
}

#[test]
fn a_second_hello_is_a_violation() {
    let mut pair = Pair::new(&[RED], &[RED]);
    let (_, _, hello) = pair.listener.perform().remove(0);
    pair.dialler.receive_body(pair.now, hello.clone());
    pair.dialler.receive_body(pair.now, hello);
    pair.dialler.perform();
    assert_eq!(pair.dialler.closed(), Some(Close::Violation));
}

#[test]
fn frames_that_come_before_the_contact_book_has_answered_are_taken_in_after_it() {
    let mut pair = Pair::new(&[RED], &[RED]);
    pair.exchange();
    pair.dialler.receive(pair.now, &peers(RED));
    pair.dialler.receive(pair.now, &have(RED));
    pair.dialler.perform();
    assert_eq!(pair.dialler.out.len(), 1, "the question alone: {:?}", pair.dialler.out);
    pair.accept();
    let out = &pair.dialler.out[1..];
    assert!(matches!(out[0], Output::Up(_)));
    assert_eq!(out[1..], [Output::Deliver(peers(RED)), Output::Deliver(have(RED))]);
}

#[test]
fn a_peer_that_floods_us_while_it_is_judged_is_let_go() {
    let mut pair = Pair::new(&[RED], &[RED]);
    pair.exchange();
    for _ in 0..FRAMES_HELD_MAX {
        pair.dialler.receive(pair.now, &whisper());
    }
    assert_eq!(pair.dialler.take_output(), []);
    pair.dialler.receive(pair.now, &whisper());
    assert_eq!(pair.dialler.take_output(), [Output::Close(Close::Overloaded)]);
}

#[test]
fn frames_of_a_channel_that_is_not_shared_are_a_violation() {
    check_closes(&have(RED), Role::Dialler, None);
    check_closes(&whisper(), Role::Dialler, None);
    check_closes(&peers(GREEN), Role::Listener, None);
    check_closes(&have(BLUE), Role::Dialler, Some(Close::Violation));
    check_closes(&peers(BLUE), Role::Listener, Some(Close::Violation));
    for (shared, not_shared) in log_frames(RED).iter().zip(log_frames(BLUE)) {
        check_closes(shared, Role::Dialler, None);
        check_closes(&not_shared, Role::Dialler, Some(Close::Violation));
    }
}

#[test]
fn frames_in_flight_when_a_channel_is_left_are_dropped_without_harm() {
    let (now, mut dialler) = up_dialler();
    dialler.input(now, Input::ChannelsChanged(keys(&[RED])));
    dialler.perform();
    assert_eq!(dialler.out, [Output::SharedChanged(members(&[RED]))]);
    dialler.receive(now, &have(GREEN));
    dialler.perform();
    assert_eq!(dialler.out.len(), 1);
}

#[test]
fn a_channel_that_both_join_later_is_shared_from_then_on() {
    let mut pair = Pair::up(&[RED]);
    pair.dialler.input(pair.now, Input::ChannelsChanged(keys(&[RED, BLUE])));
    pair.exchange();
    assert_eq!((pair.dialler.out.len(), pair.listener.out.len()), (0, 0));
    pair.listener.input(pair.now, Input::ChannelsChanged(keys(&[RED, BLUE])));
    pair.exchange();
    assert_eq!(pair.dialler.out, [Output::SharedChanged(members(&[RED, BLUE]))]);
    assert_eq!(pair.listener.out, [Output::SharedChanged(members(&[RED, BLUE]))]);
}

#[test]
fn what_does_not_change_our_proofs_is_not_told() {
    let mut pair = Pair::up(&[RED]);
    pair.dialler.input(pair.now, Input::ChannelsChanged(keys(&[RED])));
    assert_eq!(pair.dialler.take_output(), []);
}

#[test]
fn channels_that_change_without_end_are_compared_seldom_and_what_follows_keeps_its_place() {
    let mut pair = Pair::up(&[RED, GREEN]);
    let change = |side: &mut Side, now, channels: &[ChannelId]| {
        side.input(now, Input::ChannelsChanged(keys(channels)));
        side.perform()
    };
    let frames: Vec<_> = (0..100)
        .flat_map(|_| [&[RED][..], &[RED, GREEN]])
        .flat_map(|channels| change(&mut pair.dialler, pair.now, channels))
        .collect();
    assert_eq!(frames.len(), 200);
    carry(pair.now, frames, &mut pair.listener);
    pair.listener.receive(pair.now, &have(GREEN));
    pair.listener.receive(pair.now, &whisper());
    pair.listener.perform();
    let at_once = CHANNEL_CHANGES_AT_ONCE_MAX;
    assert_eq!(pair.listener.out.len(), usize::try_from(at_once).unwrap());

    pair.listener.out.clear();
    for _ in 0..200 - at_once {
        let due = pair.listener.session.poll_timeout().unwrap();
        assert_eq!(due - pair.now, CHANNEL_CHANGES_EVERY);
        pair.now = due;
        pair.listener.session.handle_timeout(pair.now);
    }
    pair.listener.perform();
    let expected = [
        Output::SharedChanged(members(&[RED, GREEN])),
        Output::Deliver(have(GREEN)),
        Output::Deliver(whisper()),
    ];
    assert_eq!(pair.listener.out[199 - 32..], expected);
    // Who says more than can wait is let go.
    for _ in 0..=CHANNEL_CHANGES_AT_ONCE_MAX {
        let changed = change(&mut pair.dialler, pair.now, &[RED, GREEN]);
        carry(pair.now, changed, &mut pair.listener);
        let changed = change(&mut pair.dialler, pair.now, &[RED]);
        carry(pair.now, changed, &mut pair.listener);
    }
    for _ in 0..FRAMES_HELD_MAX {
        pair.listener.receive(pair.now, &whisper());
    }
    pair.listener.perform();
    assert_eq!(pair.listener.closed(), Some(Close::Overloaded));
}

#[test]
fn a_seeder_is_let_in_and_told_from_a_member() {
    let mut seeder = config(Role::Listener, &[]);
    seeder.channels = seed_keys(&[RED, GREEN]);
    let mut pair = Pair::from_configs(config(Role::Dialler, &[RED, GREEN]), seeder);
    pair.exchange();
    pair.accept();
    let expected = vec![(RED, Standing::Seeder), (GREEN, Standing::Seeder)];
    for side in [&pair.dialler, &pair.listener] {
        let is_up =
            |output: &&Output| matches!(output, Output::Up(info) if info.shared == expected);
        assert_eq!(side.out.iter().filter(is_up).count(), 1, "{:?}", side.out);
    }
}

#[test]
fn a_seeder_that_gets_the_secret_is_a_member_from_then_on() {
    let mut seeder = config(Role::Listener, &[]);
    seeder.channels = seed_keys(&[RED]);
    let mut pair = Pair::from_configs(config(Role::Dialler, &[RED]), seeder);
    pair.exchange();
    pair.accept();
    pair.dialler.out.clear();
    pair.listener.out.clear();
    pair.listener.input(pair.now, Input::ChannelsChanged(keys(&[RED])));
    pair.exchange();
    assert_eq!(pair.dialler.out, [Output::SharedChanged(members(&[RED]))]);
    assert_eq!(pair.listener.out, [Output::SharedChanged(members(&[RED]))]);
    pair.dialler.out.clear();
    pair.listener.input(pair.now, Input::ChannelsChanged(seed_keys(&[RED])));
    pair.exchange();
    let seeder = vec![(RED, Standing::Seeder)];
    assert_eq!(pair.dialler.out, [Output::SharedChanged(seeder)]);
}

#[test]
fn a_proof_of_membership_without_the_one_of_every_holder_proves_nothing() {
    let mut odd = config(Role::Listener, &[]);
    odd.channels = keys(&[RED]);
    odd.channels[0].proof = Secret::new([0; 32]);
    let mut pair = Pair::from_configs(config(Role::Dialler, &[RED]), odd);
    pair.exchange();
    assert_eq!(pair.dialler.closed(), Some(Close::Violation));
}

#[test]
fn nobody_but_the_other_of_the_two_is_in_the_channel_of_a_pair() {
    let with_pair = |role, only: [u8; 32]| {
        let mut config = config(role, &[RED, GREEN]);
        config.channels[1].only = Some(PeerId(only));
        config
    };
    // Each expects the other: it is shared. One expects somebody else: it has lost the key.
    for (expected, shared) in [([2; 32], &[RED, GREEN][..]), ([3; 32], &[RED])] {
        let dialler = with_pair(Role::Dialler, expected);
        let mut pair = Pair::from_configs(dialler, with_pair(Role::Listener, [1; 32]));
        pair.exchange();
        pair.accept();
        let is_up =
            |output: &&Output| matches!(output, Output::Up(info) if info.shared == members(shared));
        assert_eq!(pair.dialler.out.iter().filter(is_up).count(), 1, "{:?}", pair.dialler.out);
    }
    let mut dialler = config(Role::Dialler, &[RED]);
    dialler.channels[0].only = Some(PeerId([3; 32]));
    let mut pair = Pair::from_configs(dialler, config(Role::Listener, &[RED]));
    pair.exchange();
    assert_eq!(pair.dialler.closed(), Some(Close::Violation), "it is the link's own");
}

#[test]
fn a_new_name_reaches_the_peer() {
    let mut pair = Pair::up(&[RED]);
    pair.dialler.input(pair.now, Input::Renamed("Ada".into()));
    pair.exchange();
    assert_eq!(pair.listener.out, [Output::Renamed("Ada".into())]);
}

#[test]
fn names_without_end_are_judged_one_at_a_time_and_seldom() {
    let Pair { mut now, mut listener, .. } = Pair::up(&[RED]);
    let names = |listener: &mut Side, now, range: std::ops::Range<u32>| {
        for n in range {
            listener.receive(now, &Frame::Rename(Rename { name: format!("{n}") }));
        }
    };
    names(&mut listener, now, 0..1000);
    assert_eq!(listener.take_output(), [Output::Renamed("0".into())]);
    now += RENAME_INTERVAL_MIN * 2;
    assert_eq!(listener.session.poll_timeout(), None, "nothing is due while the book is asked");
    names(&mut listener, now, 1000..1002);
    assert_eq!(listener.take_output(), []);

    listener.input(now, Input::RenameDecision(Decision::Accept));
    assert_eq!(listener.take_output(), [Output::Renamed("1001".into())]);
    listener.input(now, Input::RenameDecision(Decision::Accept));
    names(&mut listener, now, 2000..3000);
    assert_eq!(listener.take_output(), [], "too soon");
    now += RENAME_INTERVAL_MIN;
    assert_eq!(listener.session.poll_timeout(), Some(now));
    listener.session.handle_timeout(now);
    assert_eq!(listener.take_output(), [Output::Renamed("2999".into())]);
    listener.input(now, Input::RenameDecision(Decision::Refuse));
    assert_eq!(listener.take_output(), [Output::Close(Close::Refused)]);
}

#[test]
fn a_frame_that_does_not_decode_closes_and_one_of_an_unknown_kind_does_not() {
    let (now, mut dialler) = up_dialler();
    dialler.receive_body(now, vec![200, 1, 2, 3]);
    assert_eq!(dialler.take_output(), []);
    dialler.receive_body(now, vec![5, 1, 2, 3]);
    assert_eq!(dialler.take_output(), [Output::Close(Close::Violation)]);
}

#[test]
fn fresh_secrets_enter_the_keys_of_both_sides_every_hour_for_a_day() {
    let mut pair = Pair::up(&[RED]);
    let end = pair.now + HOUR * 24;
    let mut steps = 0;
    while pair.step(end) {
        pair.exchange();
        steps += 1;
        // The link updates by itself too, now and then; the next frame carries the other side along.
        if steps % 7 == 0 {
            pair.listener.update_key();
            pair.listener.input(pair.now, Input::Renamed("Ada".into()));
            pair.exchange();
        }
    }
    let renewals = pair.dialler.mixes.len();
    assert!((21..=26).contains(&renewals), "{renewals} renewals in {steps} steps");
    assert_eq!(pair.dialler.mixes, pair.listener.mixes);
    let mut secrets: Vec<_> = pair.dialler.mixes.iter().map(|(_, s)| *s.expose()).collect();
    secrets.sort_unstable();
    secrets.dedup();
    assert_eq!(secrets.len(), renewals, "each secret is another");
    let (last, _) = pair.dialler.mixes.last().unwrap();
    assert!(pair.dialler.generation > *last && pair.listener.generation > *last);
    assert_eq!((pair.dialler.closed(), pair.listener.closed()), (None, None));
}

/// The shares that a dialler offers and a listener answers with, when their entropy is so.
fn shares(dialler: u8, listener: u8) -> [(u64, Secret<32>); 1] {
    let mut pair = Pair::up(&[RED]);
    pair.dialler.entropy = [dialler; 32];
    pair.listener.entropy = [listener; 32];
    pair.now = pair.dialler.session.poll_timeout().unwrap();
    pair.dialler.session.handle_timeout(pair.now);
    pair.exchange();
    pair.dialler.mixes.try_into().unwrap()
}

#[test]
fn who_knows_all_that_a_session_holds_does_not_know_the_fresh_shares_of_either_side() {
    assert_eq!(shares(1, 2), shares(1, 2), "all else is the same");
    assert_ne!(shares(1, 2), shares(3, 2));
    assert_ne!(shares(1, 2), shares(1, 3));
}

#[test]
fn no_share_is_made_before_there_is_entropy_for_it() {
    let mut pair = Pair::up(&[RED]);
    pair.now = pair.dialler.session.poll_timeout().unwrap();
    pair.dialler.session.handle_timeout(pair.now);
    assert_eq!(pair.dialler.take_output(), [Output::AskEntropy]);
    pair.dialler.session.handle_timeout(pair.now + HOUR);
    assert_eq!(pair.dialler.take_output(), [], "it is asked for once");
    assert_eq!(pair.dialler.session.poll_timeout(), None);
    pair.dialler.input(pair.now, Input::Entropy(Secret::new([7; 32])));
    let offer = pair.dialler.perform();
    assert_eq!(offer.len(), 1);

    carry(pair.now, offer, &mut pair.listener);
    assert_eq!(pair.listener.take_output(), [Output::AskEntropy]);
    pair.listener.receive(pair.now, &whisper());
    assert_eq!(pair.listener.take_output(), [Output::Deliver(whisper())]);
    pair.listener.input(pair.now, Input::Entropy(Secret::new([8; 32])));
    assert!(matches!(pair.listener.take_output()[..], [Output::Mix { .. }, Output::SendFrame(_)]));
    pair.listener.input(pair.now, Input::Entropy(Secret::new([9; 32])));
    assert_eq!(pair.listener.take_output(), [], "nothing waits for it");
}

#[test]
fn no_update_is_forced_before_the_listener_has_mixed() {
    let mut pair = Pair::up(&[RED]);
    let offer_at = pair.dialler.session.poll_timeout().unwrap();
    assert!((HOUR.mul_f32(0.9)..=HOUR.mul_f32(1.1)).contains(&(offer_at - pair.now)));
    pair.dialler.session.handle_timeout(offer_at);
    let offer = pair.dialler.perform();
    assert_eq!((offer.len(), pair.dialler.generation), (1, 1));
    carry(offer_at, offer, &mut pair.listener);
    let answer = pair.listener.perform();
    assert_eq!((pair.listener.mixes.len(), pair.dialler.generation), (1, 1));
    carry(offer_at, answer, &mut pair.dialler);
    pair.dialler.perform();
    assert_eq!((pair.dialler.mixes.len(), pair.dialler.generation), (1, 2));
}

#[test]
fn an_overdue_answer_is_followed_by_an_offer_of_fresh_shares_and_at_last_by_a_new_link() {
    let mut pair = Pair::up(&[RED]);
    let mut offers = Vec::new();
    for _ in 0..crate::limits::RENEW_OFFERS_OPEN_MAX {
        pair.now = pair.dialler.session.poll_timeout().unwrap();
        pair.dialler.session.handle_timeout(pair.now);
        for (_, _, body) in pair.dialler.perform() {
            let Ok(Some(Frame::RenewOffer(offer))) = wire::decode(&body) else {
                panic!("{body:?}")
            };
            offers.push(offer);
        }
    }
    assert_eq!(offers.iter().map(|offer| offer.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_ne!(offers[0].dh, offers[1].dh);
    assert_ne!(offers[0].kem, offers[1].kem);
    pair.now = pair.dialler.session.poll_timeout().unwrap();
    pair.dialler.session.handle_timeout(pair.now);
    assert_eq!(pair.dialler.take_output(), [Output::Close(Close::RenewalFailed)]);
}

#[test]
fn offers_that_pile_up_are_answered_one_after_the_other_and_both_sides_mix_them_all() {
    let mut pair = Pair::up(&[RED]);
    let mut late = Vec::new();
    for _ in 0..3 {
        pair.now = pair.dialler.session.poll_timeout().unwrap();
        pair.dialler.session.handle_timeout(pair.now);
        late.extend(pair.dialler.perform());
    }
    carry(pair.now, late, &mut pair.listener);
    pair.exchange();
    let end = pair.now + HOUR / 2;
    while pair.step(end) {
        pair.exchange();
    }
    assert_eq!(pair.dialler.mixes.len(), 3);
    assert_eq!(pair.dialler.mixes, pair.listener.mixes);
    assert_eq!((pair.dialler.closed(), pair.listener.closed()), (None, None));
}

#[test]
fn a_secret_that_comes_too_late_for_its_generation_ends_the_link() {
    let (now, mut dialler) = up_dialler();
    dialler.input(now, Input::MixTooLate { generation: 5 });
    assert_eq!(dialler.take_output(), [Output::Close(Close::RenewalFailed)]);
}

fn offer() -> RenewOffer {
    let kem = crate::crypto::kem::KemKeyPair::generate(&mut Rng::from_seed([6; 32]));
    RenewOffer { number: 1, dh: [9; 32], kem: kem.public().to_vec() }
}

#[test]
fn renewals_out_of_role_order_or_shape_are_violations() {
    let violation = Some(Close::Violation);
    check_closes(&Frame::RenewOffer(offer()), Role::Listener, None);
    check_closes(&Frame::RenewOffer(offer()), Role::Dialler, violation);
    for wrong in [
        RenewOffer { number: 0, ..offer() },
        RenewOffer { number: 2, ..offer() },
        RenewOffer { dh: [0; 32], ..offer() },
        RenewOffer { kem: vec![0xff; KEM_PUBLIC_BYTES], ..offer() },
    ] {
        check_closes(&Frame::RenewOffer(wrong), Role::Listener, violation);
    }
    let answer = wire::RenewAnswer { number: 1, dh: [9; 32], kem: vec![0; 1088], generation: 5 };
    check_closes(&Frame::RenewAnswer(answer.clone()), Role::Dialler, violation);
    check_closes(&Frame::RenewAnswer(answer), Role::Listener, violation);
    for role in [Role::Dialler, Role::Listener] {
        let confirm = RenewConfirm { number: 1 };
        check_closes(&Frame::RenewConfirm(confirm), role, violation);
    }
}

#[test]
fn an_answer_for_a_generation_out_of_reach_or_gone_by_ends_the_link() {
    for (generation, expected) in [(1, Close::RenewalFailed), (u64::MAX, Close::Violation)] {
        let mut pair = Pair::up(&[RED]);
        pair.now = pair.dialler.session.poll_timeout().unwrap();
        pair.dialler.session.handle_timeout(pair.now);
        pair.dialler.perform();
        let answer = wire::RenewAnswer { number: 1, dh: [9; 32], kem: vec![0; 1088], generation };
        pair.dialler.receive(pair.now, &Frame::RenewAnswer(answer));
        assert_eq!(pair.dialler.take_output(), [Output::Close(expected)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_body_of_any_kind_makes_a_session_panic(
        bodies in prop::collection::vec((0u8..=10, prop::collection::vec(any::<u8>(), 0..60)), 1..8),
        up in any::<bool>(),
    ) {
        let mut pair = if up { Pair::up(&[RED]) } else { Pair::new(&[RED], &[RED]) };
        for (kind, rest) in bodies {
            let body = [kind].into_iter().chain(rest).collect();
            pair.listener.receive_body(pair.now, body);
        }
        pair.listener.perform();
    }
}

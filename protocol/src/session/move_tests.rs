//! Channels that go on without somebody: to whom the new key is handed, and when.

use super::tests::*;
use super::*;
use crate::channel::TICKET_BYTES;
use crate::limits::MOVES_TOLD_MAX;
use crate::wire::{MoveBytes, MovedKey, TicketBytes};

const SECRET: [u8; 32] = [0x51; 32];
const SEED: [u8; 32] = [0x5e; 32];

fn tickets(mark: u8) -> Vec<TicketBytes> {
    vec![TicketBytes([mark; TICKET_BYTES])]
}

fn departure() -> Departure {
    Departure {
        moved: MoveBytes(vec![7; 227].into()),
        successor: BLUE,
        seed: Secret::new(SEED),
        secret: Some(Secret::new(SECRET)),
    }
}

/// RED, and GREEN, which is open; RED is closed, and goes on where there is a departure.
fn own(revision: u64, departure: Option<Departure>) -> Vec<OwnChannel> {
    let mut own = keys(&[RED, GREEN]);
    own[0].door = Some(Door { tickets: tickets(1), revision, departure });
    own
}

fn own_as_seeder(revision: u64, departure: Option<Departure>) -> Vec<OwnChannel> {
    let mut own = own(revision, departure);
    own.iter_mut().for_each(|channel| channel.member_proof = None);
    own
}

/// Two that know each other in GREEN and have shown their tickets for RED; nothing is judged yet.
fn knocking(dialler: Vec<OwnChannel>, listener: Vec<OwnChannel>) -> Pair {
    let dialler = Config { channels: dialler, ..config(Role::Dialler, &[]) };
    let listener = Config { channels: listener, ..config(Role::Listener, &[]) };
    let mut pair = Pair::from_configs(dialler, listener);
    pair.exchange();
    pair.accept();
    pair
}

fn verdict(pair: &mut Pair, role: Role, is_good: bool) {
    let refused = Turndown { code: 4, text: "removed".into() };
    let verdict = if is_good { Ok(None) } else { Err(refused) };
    let side = if role == Role::Dialler { &mut pair.dialler } else { &mut pair.listener };
    let (channel, question) = (RED, side.session.doors.question(&RED));
    side.input(pair.now, Input::Admission { channel, question, verdict });
    pair.exchange();
}

fn change(pair: &mut Pair, own: Vec<OwnChannel>) {
    pair.dialler.input(pair.now, Input::ChannelsChanged(own));
    pair.exchange();
}

/// The keys that the listener was handed.
fn handed(pair: &Pair) -> Vec<[u8; 32]> {
    let key = |output: &Output| {
        let Output::Moved { channel: RED, moved, key } = output else { return None };
        assert_eq!(moved, &departure().moved);
        Some(*key.expose())
    };
    pair.listener.out.iter().filter_map(key).collect()
}

fn asked(pair: &Pair) -> usize {
    let is_ask = |output: &&Output| matches!(output, Output::AskAdmission { channel: RED, .. });
    pair.dialler.out.iter().filter(is_ask).count()
}

#[test]
fn who_is_let_in_by_the_new_rules_is_handed_the_key_once() {
    let mut pair = knocking(own(1, None), own(1, None));
    verdict(&mut pair, Role::Dialler, true);
    verdict(&mut pair, Role::Listener, true);
    change(&mut pair, own(2, Some(departure())));
    assert_eq!(handed(&pair), [[0; 32]; 0], "who may be in it is asked first");
    assert_eq!(asked(&pair), 2);
    verdict(&mut pair, Role::Dialler, true);
    assert_eq!(handed(&pair), [SECRET]);
    // Neither another question, nor other tickets, nor what else changes tells it again.
    change(&mut pair, own(3, Some(departure())));
    verdict(&mut pair, Role::Dialler, true);
    let shown = Frame::Tickets(Tickets { channel: RED, tickets: tickets(8) });
    pair.dialler.receive(pair.now, &shown);
    verdict(&mut pair, Role::Dialler, true);
    assert_eq!(handed(&pair), [SECRET]);
}

#[test]
fn who_comes_afterwards_is_handed_the_key_when_each_has_let_the_other_in() {
    let mut pair = knocking(own(1, Some(departure())), own(1, None));
    verdict(&mut pair, Role::Dialler, true);
    assert_eq!(handed(&pair), [[0; 32]; 0], "it has not let us in");
    verdict(&mut pair, Role::Listener, true);
    assert_eq!(handed(&pair), [SECRET]);
}

#[test]
fn who_is_removed_is_handed_nothing_whenever_it_was_judged_before() {
    // The question was answered by the rules of before, and the answer is under way while they change.
    let mut pair = knocking(own(1, None), own(1, None));
    verdict(&mut pair, Role::Listener, true);
    change(&mut pair, own(2, Some(departure())));
    assert_eq!(asked(&pair), 1);
    verdict(&mut pair, Role::Dialler, true);
    assert_eq!(asked(&pair), 2, "what it says counts for nothing");
    assert_eq!(handed(&pair), [[0; 32]; 0]);
    verdict(&mut pair, Role::Dialler, false);
    assert_eq!(handed(&pair), [[0; 32]; 0]);

    // It was let in, and is asked about again: meanwhile it is still in the channel.
    let mut pair = knocking(own(1, None), own(1, None));
    verdict(&mut pair, Role::Listener, true);
    verdict(&mut pair, Role::Dialler, true);
    change(&mut pair, own(2, Some(departure())));
    // Other tickets do not help, nor saying again that it lets us in.
    let shown = Frame::Tickets(Tickets { channel: RED, tickets: tickets(8) });
    pair.dialler.receive(pair.now, &shown);
    pair.dialler.receive(pair.now, &Frame::LetIn(LetIn { channel: RED }));
    pair.exchange();
    verdict(&mut pair, Role::Dialler, true);
    assert_eq!(handed(&pair), [[0; 32]; 0], "the verdict was on the earlier tickets");
    verdict(&mut pair, Role::Dialler, false);
    pair.dialler.receive(pair.now, &Frame::LetIn(LetIn { channel: RED }));
    pair.exchange();
    assert_eq!(handed(&pair), [[0; 32]; 0]);
    assert_eq!(pair.dialler.closed(), None, "GREEN is still shared");
}

#[test]
fn who_is_let_in_as_a_seeder_is_handed_the_key_of_seeders() {
    let mut pair = knocking(own(1, Some(departure())), own_as_seeder(1, None));
    verdict(&mut pair, Role::Listener, true);
    verdict(&mut pair, Role::Dialler, true);
    assert_eq!(handed(&pair), [SEED]);
    // Who turns out to be a member is asked about as one, and in it no longer until then.
    pair.dialler.out.clear();
    pair.listener.input(pair.now, Input::ChannelsChanged(own(1, None)));
    pair.exchange();
    let is_ask =
        |output: &Output| matches!(output, Output::AskAdmission { standing: Standing::Member, .. });
    assert!(pair.dialler.out.iter().any(is_ask), "{:?}", pair.dialler.out);
    let shared = pair.dialler.out.iter().rev().find_map(|output| {
        let Output::SharedChanged(shared) = output else { return None };
        Some(shared.clone())
    });
    assert_eq!(shared, Some(members(&[GREEN])));
    assert_eq!(handed(&pair), [SEED]);
    verdict(&mut pair, Role::Dialler, false);
    assert_eq!(handed(&pair), [SEED], "its ticket is that of a seeder");
    change(&mut pair, own(2, Some(departure())));
    verdict(&mut pair, Role::Dialler, true);
    // It, too, sees somebody else than before, who it could not tell from a seeder.
    verdict(&mut pair, Role::Listener, true);
    assert_eq!(handed(&pair), [SEED, SECRET]);
}

#[test]
fn a_seeder_hands_on_to_everybody_what_it_has() {
    let blind = Departure { secret: None, ..departure() };
    let mut pair = knocking(own_as_seeder(1, Some(blind)), own(1, None));
    verdict(&mut pair, Role::Listener, true);
    verdict(&mut pair, Role::Dialler, true);
    assert_eq!(handed(&pair), [SEED]);
}

#[test]
fn a_move_is_taken_where_the_channel_is_shared_alone() {
    let told = |channel| {
        let Departure { moved, seed, .. } = departure();
        Frame::Moved(Moved { channel, moved, key: MovedKey(seed) })
    };
    let mut pair = knocking(own(1, None), own(1, None));
    let moved = |pair: &Pair| {
        pair.dialler.out.iter().filter(|it| matches!(it, Output::Moved { .. })).count()
    };
    let tell = |pair: &mut Pair, channel| {
        pair.dialler.receive(pair.now, &told(channel));
        pair.dialler.perform();
    };
    tell(&mut pair, RED);
    tell(&mut pair, GREEN);
    assert_eq!((moved(&pair), pair.dialler.closed()), (0, None));
    verdict(&mut pair, Role::Dialler, true);
    verdict(&mut pair, Role::Listener, true);
    assert_eq!(moved(&pair), 1, "it waits for the verdict on who told it, as it is told once");
    for count in 1..MOVES_TOLD_MAX {
        tell(&mut pair, RED);
        assert_eq!((moved(&pair), pair.dialler.closed()), (count + 1, None));
    }
    tell(&mut pair, RED);
    assert_eq!(pair.dialler.closed(), Some(Close::Violation));
    let mut pair = knocking(own(1, None), own(1, None));
    tell(&mut pair, RED);
    verdict(&mut pair, Role::Dialler, false);
    verdict(&mut pair, Role::Listener, true);
    change(&mut pair, own(2, None));
    verdict(&mut pair, Role::Dialler, true);
    assert_eq!(moved(&pair), 0, "who told it was not let in");
    tell(&mut pair, BLUE);
    assert_eq!(pair.dialler.closed(), Some(Close::Violation), "it was never proven");
}

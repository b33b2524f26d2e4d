//! Closed channels on a link: who is let in, who is told why not, and what is held meanwhile.

use super::tests::*;
use super::*;
use crate::channel::TICKET_BYTES;
use crate::limits::TICKETS_SHOWN_MAX;
use crate::wire::{InviteAnswer, TicketBytes};

fn tickets(mark: u8) -> Vec<TicketBytes> {
    vec![TicketBytes([mark; TICKET_BYTES])]
}

/// A configuration in which these channels are closed and our ticket bears the mark.
fn closed(role: Role, channels: &[ChannelId], shut: &[ChannelId], mark: u8) -> Config {
    let mut config = config(role, channels);
    close_some(&mut config.channels, shut, mark, 1);
    config
}

fn close_some(own: &mut [OwnChannel], shut: &[ChannelId], mark: u8, revision: u64) {
    for channel in own.iter_mut().filter(|channel| shut.contains(&channel.id)) {
        channel.door = Some(Door { tickets: tickets(mark), revision, departure: None });
    }
}

fn turndown() -> Turndown {
    Turndown { code: 3, text: "ask alice".into() }
}

fn ask(channel: ChannelId, mark: u8) -> Output {
    let (standing, tickets) = (Standing::Member, tickets(mark));
    Output::AskAdmission { channel, question: 0, standing, tickets }
}

impl Pair {
    fn knocking(channels: &[ChannelId], shut: &[ChannelId]) -> Self {
        let dialler = closed(Role::Dialler, channels, shut, 1);
        let mut pair = Self::from_configs(dialler, closed(Role::Listener, channels, shut, 2));
        pair.exchange();
        pair.accept();
        pair
    }

    fn verdict(&mut self, role: Role, channel: ChannelId, is_good: bool) {
        let verdict = if is_good { Ok(None) } else { Err(turndown()) };
        let side = if role == Role::Dialler { &mut self.dialler } else { &mut self.listener };
        let question = side.session.doors.question(&channel);
        side.input(self.now, Input::Admission { channel, question, verdict });
        self.exchange();
    }
}

fn has_up(side: &Side, channels: &[ChannelId]) -> bool {
    side.out.iter().any(|it| matches!(it, Output::Up(info) if info.shared == members(channels)))
}

#[test]
fn a_closed_channel_is_shared_once_each_has_let_the_other_in() {
    let mut pair = Pair::knocking(&[RED], &[RED]);
    assert!(pair.dialler.out.contains(&ask(RED, 2)) && pair.listener.out.contains(&ask(RED, 1)));
    assert!(!has_up(&pair.dialler, &[RED]) && !has_up(&pair.listener, &[RED]));
    pair.verdict(Role::Dialler, RED, true);
    assert!(!has_up(&pair.dialler, &[RED]) && !has_up(&pair.listener, &[RED]));
    pair.verdict(Role::Listener, RED, true);
    assert!(has_up(&pair.dialler, &[RED]) && has_up(&pair.listener, &[RED]));
    pair.listener.receive(pair.now, &have(RED));
    pair.listener.perform();
    assert_eq!(pair.listener.out.last(), Some(&Output::Deliver(have(RED))));
}

#[test]
fn tickets_are_shown_only_where_the_channel_was_proven_and_the_person_is_welcome() {
    let shown = |side: &mut Side| {
        let frames = side.perform();
        frames.iter().filter(|(_, _, body)| body[0] == 20).count()
    };
    let listener = closed(Role::Listener, &[RED, BLUE], &[RED, BLUE], 2);
    let dialler = closed(Role::Dialler, &[RED, GREEN], &[RED, GREEN], 1);
    let mut pair = Pair::from_configs(dialler, listener);
    pair.exchange();
    assert_eq!(shown(&mut pair.dialler), 0, "the contact book has not answered");
    pair.dialler.input(pair.now, Input::ContactDecision(Decision::Accept));
    assert_eq!(shown(&mut pair.dialler), 1, "of the one that both are in");
    pair.listener.input(pair.now, Input::ContactDecision(Decision::Refuse));
    assert_eq!(shown(&mut pair.listener), 0);
}

#[test]
fn who_is_not_let_in_reads_why_and_ends_the_link() {
    let mut pair = Pair::knocking(&[RED], &[RED]);
    pair.verdict(Role::Listener, RED, true);
    pair.verdict(Role::Dialler, RED, false);
    let told = Output::TurnedDown { channel: RED, why: turndown() };
    assert!(pair.listener.out.contains(&told), "{:?}", pair.listener.out);
    assert_eq!(pair.listener.closed(), Some(Close::NotLetIn));
    assert_eq!(pair.dialler.closed(), None, "it gives the other time to read");
    let due = pair.dialler.session.poll_timeout().unwrap();
    assert_eq!(due, pair.now + PARTING);
    pair.dialler.receive(pair.now, &have(RED));
    pair.dialler.session.handle_timeout(due);
    pair.dialler.perform();
    assert_eq!(pair.dialler.closed(), Some(Close::NotLetIn));
    assert!(!has_up(&pair.dialler, &[RED]) && !has_up(&pair.listener, &[RED]));
}

#[test]
fn where_another_channel_is_shared_the_link_stays_without_the_closed_one() {
    let mut pair = Pair::knocking(&[RED, GREEN], &[GREEN]);
    assert!(has_up(&pair.dialler, &[RED]) && has_up(&pair.listener, &[RED]));
    pair.verdict(Role::Listener, GREEN, true);
    pair.listener.out.clear();
    pair.verdict(Role::Dialler, GREEN, false);
    let told = Output::TurnedDown { channel: GREEN, why: turndown() };
    assert_eq!(pair.listener.out, [told], "it was not shared before");
    // What was said there before it was read is dropped without harm.
    pair.dialler.out.clear();
    pair.dialler.receive(pair.now, &have(GREEN));
    pair.dialler.receive(pair.now, &have(RED));
    pair.dialler.perform();
    assert_eq!(pair.dialler.out, [Output::Deliver(have(RED))]);
}

#[test]
fn an_invitation_needs_no_channel_of_its_own_and_waits_until_the_link_stands() {
    let answer = InviteAnswer { channel: BLUE, accepted: true };
    let frame = Frame::InviteAnswer(answer);
    let mut pair = Pair::knocking(&[RED], &[RED]);
    pair.listener.receive(pair.now, &frame);
    pair.listener.perform();
    assert!(!pair.listener.out.contains(&Output::Deliver(frame.clone())));
    pair.verdict(Role::Dialler, RED, true);
    pair.verdict(Role::Listener, RED, true);
    assert!(pair.listener.out.contains(&Output::Deliver(frame.clone())));
    pair.dialler.receive(pair.now, &frame);
    pair.dialler.perform();
    assert_eq!(pair.dialler.out.last(), Some(&Output::Deliver(frame)));
}

#[test]
fn a_new_ticket_opens_the_door_of_a_link_that_stands() {
    let mut pair = Pair::knocking(&[RED, GREEN], &[GREEN]);
    pair.verdict(Role::Listener, GREEN, true);
    pair.verdict(Role::Dialler, GREEN, false);
    pair.dialler.out.clear();
    pair.listener.out.clear();
    let mut own = keys(&[RED, GREEN]);
    close_some(&mut own, &[GREEN], 3, 1);
    pair.listener.input(pair.now, Input::ChannelsChanged(own));
    pair.exchange();
    assert_eq!(pair.dialler.out, [ask(GREEN, 3)]);
    assert_eq!(pair.listener.out, []);
    pair.verdict(Role::Dialler, GREEN, true);
    let shared = || Output::SharedChanged(members(&[RED, GREEN]));
    assert_eq!(pair.dialler.out[1..], [shared()]);
    assert_eq!(pair.listener.out, [Output::LetIn(GREEN), shared()]);
}

#[test]
fn when_others_may_be_in_it_everybody_is_asked_about_again_and_may_have_to_go() {
    let mut pair = Pair::knocking(&[RED], &[RED]);
    pair.verdict(Role::Dialler, RED, true);
    pair.verdict(Role::Listener, RED, true);
    pair.dialler.out.clear();
    pair.listener.out.clear();
    let mut own = keys(&[RED]);
    close_some(&mut own, &[RED], 1, 2);
    pair.dialler.input(pair.now, Input::ChannelsChanged(own));
    pair.exchange();
    assert_eq!(pair.dialler.out, [ask(RED, 2)]);
    pair.dialler.receive(pair.now, &have(RED));
    pair.dialler.perform();
    assert_eq!(pair.dialler.out[1], Output::Deliver(have(RED)), "as long as it is in it");
    pair.verdict(Role::Dialler, RED, false);
    assert_eq!(pair.dialler.out[2], Output::SharedChanged(vec![]));
    assert_eq!(pair.listener.closed(), Some(Close::NotLetIn));
}

#[test]
fn a_ticket_that_expires_is_asked_about_when_it_does() {
    let mut pair = Pair::knocking(&[RED], &[RED]);
    pair.verdict(Role::Listener, RED, true);
    let verdict = Ok(Some(Duration::from_secs(60)));
    let (channel, question) = (RED, pair.dialler.session.doors.question(&RED));
    pair.dialler.input(pair.now, Input::Admission { channel, question, verdict });
    pair.exchange();
    pair.dialler.out.clear();
    let due = pair.dialler.session.poll_timeout().unwrap();
    assert_eq!(due, pair.now + Duration::from_secs(60));
    pair.dialler.session.handle_timeout(due);
    pair.dialler.perform();
    assert_eq!(pair.dialler.out, [ask(RED, 2)]);
    assert_ne!(pair.dialler.session.poll_timeout(), Some(due), "it is asked once");
}

#[test]
fn tickets_shown_while_others_are_judged_are_judged_after_them() {
    let mut pair = Pair::knocking(&[RED], &[RED]);
    pair.dialler.out.clear();
    let shown = Tickets { channel: RED, tickets: tickets(7) };
    pair.dialler.receive(pair.now, &Frame::Tickets(shown));
    pair.dialler.perform();
    assert_eq!(pair.dialler.out, []);
    pair.verdict(Role::Dialler, RED, false);
    assert_eq!(pair.dialler.out, [ask(RED, 7)], "the verdict on the earlier ones does not count");
    pair.verdict(Role::Dialler, RED, true);
    pair.verdict(Role::Listener, RED, true);
    assert!(has_up(&pair.dialler, &[RED]));
}

#[test]
fn a_door_of_a_channel_proven_while_the_peer_is_judged_is_no_violation() {
    let both = [RED, GREEN];
    let mut pair = Pair::from_configs(
        closed(Role::Dialler, &both, &both, 1),
        closed(Role::Listener, &[RED], &[RED], 2),
    );
    pair.exchange();
    pair.listener.input(pair.now, Input::ContactDecision(Decision::Accept));
    let mut own = keys(&both);
    close_some(&mut own, &both, 2, 1);
    pair.listener.input(pair.now, Input::ChannelsChanged(own));
    // The dialler's contact book has not answered, then its channel book.
    pair.exchange();
    let shown = Tickets { channel: GREEN, tickets: tickets(2) };
    pair.dialler.receive(pair.now, &Frame::Tickets(shown));
    pair.dialler.input(pair.now, Input::ContactDecision(Decision::Accept));
    pair.exchange();
    assert_eq!(pair.dialler.closed(), None);
    assert!(pair.dialler.out.contains(&ask(GREEN, 2)), "{:?}", pair.dialler.out);
}

#[test]
fn a_peer_that_shows_nothing_or_too_much_is_let_go() {
    let mut pair = Pair::from_configs(
        closed(Role::Dialler, &[RED], &[RED], 1),
        config(Role::Listener, &[RED]),
    );
    pair.exchange();
    pair.accept();
    assert!(has_up(&pair.listener, &[RED]), "to which the channel is open");
    let due = pair.dialler.session.poll_timeout().unwrap();
    pair.dialler.session.handle_timeout(due);
    pair.dialler.perform();
    assert_eq!(pair.dialler.closed(), Some(Close::HelloTimeout));

    let mut pair = Pair::knocking(&[RED], &[RED]);
    for _ in 0..TICKETS_SHOWN_MAX {
        assert_eq!(pair.dialler.closed(), None);
        let shown = Tickets { channel: RED, tickets: tickets(7) };
        pair.dialler.receive(pair.now, &Frame::Tickets(shown));
        pair.dialler.perform();
    }
    assert_eq!(pair.dialler.closed(), Some(Close::Violation));
}

#[test]
fn tickets_and_refusals_of_a_channel_never_proven_are_a_violation() {
    let refused = Refused { channel: BLUE, code: 1, text: String::new() };
    for frame in
        [Frame::Tickets(Tickets { channel: BLUE, tickets: vec![] }), Frame::Refused(refused)]
    {
        check_closes(&frame, Role::Dialler, Some(Close::Violation));
    }
    // Of an open one they mean nothing.
    check_closes(&Frame::Tickets(Tickets { channel: RED, tickets: vec![] }), Role::Dialler, None);
}

/// What a person is told of a refusal, where the peer's own words do not count.
fn without_words() -> Turndown {
    Turndown { text: String::new(), ..turndown() }
}

#[test]
fn two_who_do_not_let_each_other_in_both_learn_of_it_and_not_in_the_other_s_words() {
    for roles in [[Role::Dialler, Role::Listener], [Role::Listener, Role::Dialler]] {
        let mut pair = Pair::knocking(&[RED], &[RED]);
        roles.into_iter().for_each(|role| pair.verdict(role, RED, false));
        let told = Output::TurnedDown { channel: RED, why: without_words() };
        for side in [&mut pair.dialler, &mut pair.listener] {
            assert_eq!(side.out.iter().filter(|it| **it == told).count(), 1, "{:?}", side.out);
            side.out.clear();
            assert_eq!(side.session.poll_timeout(), Some(pair.now + PARTING));
            side.session.handle_timeout(pair.now + PARTING);
            assert_eq!(side.take_output(), [Output::Close(Close::NotLetIn)]);
        }
    }
}

#[test]
fn the_words_of_a_refusal_count_once_the_peer_is_let_in_itself() {
    for (is_good, why) in [(true, turndown()), (false, without_words())] {
        let mut pair = Pair::knocking(&[RED, GREEN], &[GREEN]);
        pair.verdict(Role::Dialler, GREEN, false);
        let told = |why| Output::TurnedDown { channel: GREEN, why };
        let has = |side: &Side| side.out.iter().any(|it| matches!(it, Output::TurnedDown { .. }));
        assert!(!has(&pair.listener), "it is not known yet who says so");
        pair.verdict(Role::Listener, GREEN, is_good);
        assert!(pair.listener.out.contains(&told(why)), "{:?}", pair.listener.out);
    }
}

#[test]
fn a_link_whose_last_channel_is_closed_to_the_peer_stays_until_it_has_read_why() {
    let mut pair = Pair::knocking(&[RED], &[RED]);
    pair.verdict(Role::Dialler, RED, true);
    pair.verdict(Role::Listener, RED, true);
    let mut own = keys(&[RED]);
    close_some(&mut own, &[RED], 1, 2);
    pair.dialler.input(pair.now, Input::ChannelsChanged(own));
    pair.verdict(Role::Dialler, RED, false);
    assert_eq!(pair.dialler.out.last(), Some(&Output::SharedChanged(vec![])));
    assert_eq!(pair.dialler.session.poll_timeout(), Some(pair.now + PARTING));
    let told = Output::TurnedDown { channel: RED, why: turndown() };
    assert!(pair.listener.out.contains(&told), "{:?}", pair.listener.out);
    assert_eq!(pair.listener.closed(), Some(Close::NotLetIn));
}

#[test]
fn a_link_in_which_nothing_is_shared_waits_for_a_verdict_and_no_longer_than_one_that_begins() {
    let seeder = |mut own: Vec<OwnChannel>| {
        own.iter_mut().for_each(|channel| channel.member_proof = None);
        own
    };
    let up = || {
        let mut listener = closed(Role::Listener, &[RED], &[RED], 2);
        listener.channels = seeder(listener.channels);
        let mut pair = Pair::from_configs(closed(Role::Dialler, &[RED], &[RED], 1), listener);
        pair.exchange();
        pair.accept();
        pair.verdict(Role::Dialler, RED, true);
        pair.verdict(Role::Listener, RED, true);
        // It is a member now, and is asked about as one.
        pair.listener.input(pair.now, Input::ChannelsChanged(own_closed()));
        pair.exchange();
        assert!(pair.dialler.out.ends_with(&[ask(RED, 2), Output::SharedChanged(vec![])]));
        pair
    };
    fn own_closed() -> Vec<OwnChannel> {
        let mut own = keys(&[RED]);
        close_some(&mut own, &[RED], 2, 1);
        own
    }
    let mut pair = up();
    pair.verdict(Role::Dialler, RED, true);
    assert_eq!(pair.dialler.out.last(), Some(&Output::SharedChanged(members(&[RED]))));
    let mut pair = up();
    let due = pair.dialler.session.poll_timeout().unwrap();
    assert_eq!(due, pair.now + HELLO_DEADLINE);
    pair.dialler.session.handle_timeout(due);
    assert_eq!(pair.dialler.take_output(), [Output::Close(Close::HelloTimeout)]);
}

#[test]
fn who_leaves_the_last_channel_is_let_go() {
    let mut pair = Pair::up(&[RED]);
    pair.dialler.input(pair.now, Input::ChannelsChanged(keys(&[GREEN])));
    pair.exchange();
    for side in [&pair.dialler, &pair.listener] {
        let expected = [Output::SharedChanged(vec![]), Output::Close(Close::ChannelLeft)];
        assert_eq!(side.out, expected);
    }
}

#[test]
fn a_peer_that_changes_its_mind_without_end_is_let_go_and_one_that_repeats_itself_is_not_heard() {
    let mut pair = Pair::knocking(&[RED, GREEN], &[GREEN]);
    pair.verdict(Role::Dialler, GREEN, true);
    pair.verdict(Role::Listener, GREEN, true);
    pair.dialler.out.clear();
    let let_in = Frame::LetIn(LetIn { channel: GREEN });
    let refused = Frame::Refused(Refused { channel: GREEN, code: 1, text: "no".into() });
    for _ in 0..1000 {
        pair.dialler.receive(pair.now, &let_in);
    }
    assert_eq!(pair.dialler.take_output(), []);
    let mut told = 0;
    while pair.dialler.closed().is_none() {
        for frame in [&refused, &refused, &let_in] {
            pair.dialler.receive(pair.now, frame);
            pair.dialler.perform();
        }
        told += 1;
        assert!(told <= TICKETS_SHOWN_MAX, "{told}");
    }
    assert_eq!(pair.dialler.closed(), Some(Close::Violation));
    assert!(told > TICKETS_SHOWN_MAX / 4);
}

#[test]
fn a_verdict_that_changes_nothing_is_not_said_again() {
    let mut pair = Pair::knocking(&[RED, GREEN], &[GREEN]);
    pair.verdict(Role::Dialler, GREEN, true);
    pair.verdict(Role::Listener, GREEN, true);
    for (revision, is_good, frames) in [(2, true, 0), (3, false, 1), (4, false, 0), (5, true, 1)] {
        let mut own = keys(&[RED, GREEN]);
        close_some(&mut own, &[GREEN], 1, revision);
        pair.dialler.input(pair.now, Input::ChannelsChanged(own));
        let verdict = if is_good { Ok(None) } else { Err(turndown()) };
        let (channel, question) = (GREEN, pair.dialler.session.doors.question(&GREEN));
        pair.dialler.input(pair.now, Input::Admission { channel, question, verdict });
        let sent = pair.dialler.perform();
        assert_eq!(sent.len(), frames, "{revision}");
        carry(pair.now, sent, &mut pair.listener);
    }
}

/// A door of RED, as it is for a member.
fn proven() -> Vec<(ChannelId, Standing, Door)> {
    let door = Door { tickets: vec![], revision: 1, departure: None };
    vec![(RED, Standing::Member, door)]
}

#[test]
fn a_verdict_on_a_door_that_was_there_before_counts_for_nothing() {
    #[expect(clippy::disallowed_methods, reason = "any start will do")]
    let now = Instant::now();
    let mut doors = Doors::default();
    doors.set(proven());
    let Some(Ok(Some(Todo::Ask(_, first, _)))) = doors.on_tickets(RED, tickets(1)) else {
        panic!("it is asked about")
    };
    doors.set(vec![]);
    doors.set(proven());
    assert_eq!(doors.on_verdict(now, RED, first, Ok(None)), Err(None));
    let Some(Ok(Some(Todo::Ask(_, second, _)))) = doors.on_tickets(RED, tickets(2)) else {
        panic!("it is asked about")
    };
    assert_eq!(doors.on_verdict(now, RED, first, Ok(None)), Err(None));
    assert_eq!(doors.on_said(&RED, Ok(())), Some(Ok(true)));
    assert!(!doors.is_open(&RED));
    assert_eq!(doors.on_verdict(now, RED, second, Ok(None)), Ok(true));
    assert!(doors.is_open(&RED));
}

#[test]
fn a_channel_proven_anew_begins_no_new_count() {
    let mut doors = Doors::default();
    for shown in 0..=TICKETS_SHOWN_MAX {
        doors.set(vec![]);
        doors.set(proven());
        let taken = doors.on_tickets(RED, tickets(1)).unwrap();
        assert_eq!(taken.is_err(), shown == TICKETS_SHOWN_MAX, "{shown}");
    }
}

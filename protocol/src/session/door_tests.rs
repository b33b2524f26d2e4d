//! Closed channels on a link: who is let in, who is told why not, and what is held meanwhile.

use super::tests::*;
use super::*;
use crate::channel::TICKET_BYTES;
use crate::limits::TICKETS_SHOWN_MAX;
use crate::wire::TicketBytes;

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
    Output::AskAdmission { channel, standing: Standing::Member, tickets: tickets(mark) }
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
        side.input(self.now, Input::Admission { channel, verdict });
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
    assert_eq!(pair.listener.out, [shared()]);
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
    pair.dialler.input(pair.now, Input::Admission { channel: RED, verdict });
    pair.exchange();
    pair.dialler.out.clear();
    let due = pair.dialler.session.poll_timeout().unwrap();
    assert_eq!(due, pair.now + Duration::from_secs(60));
    pair.dialler.session.handle_timeout(due);
    assert_eq!(pair.dialler.take_output(), [ask(RED, 2)]);
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

use super::*;
use crate::channel::{ChatFile, Kind, Lineage, Policy, Right, Rotation, Ticket};
use crate::crypto::{Rng, Secret};
use crate::identity::{DisplayName, Identity};
use crate::limits::{
    INVITE_AGE_MAX, INVITE_BYTES_WAITING_MAX, INVITE_OF_STRANGER_EVERY, INVITERS_COUNTED_MAX,
    INVITES_DECLINED_MAX, INVITES_OF_CONTACT_AT_ONCE, INVITES_OF_STRANGER_AT_ONCE,
    INVITES_OF_STRANGERS_AT_ONCE, INVITES_OF_STRANGERS_MAX, INVITES_PER_CONTACT_MAX,
};
use crate::wire::{FileBytes, TicketBytes};

const HOUR: Duration = Duration::from_secs(3600);
const UNIX: Duration = Duration::from_secs(1_800_000_000);
const ALICE: u8 = 1;
const BOB: u8 = 2;
const CAROL: u8 = 3;

#[expect(clippy::disallowed_methods, reason = "any start will do")]
fn start() -> Instant {
    Instant::now()
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(Secret::new([seed; 32]))
}

fn id(seed: u8) -> PeerId {
    identity(seed).peer_id()
}

/// The closed channel `number` of `founder`.
fn file(founder: u8, number: u8, policy: Policy) -> ChatFile {
    let rng = &mut Rng::from_seed([number; 32]);
    let name = DisplayName::new(format!("trip {number}")).unwrap();
    let trackers = vec![vec!["udp://127.0.0.1:1".to_owned()]];
    let open = ChatFile::new_open(name, trackers, Vec::new(), Rotation::Daily, rng).unwrap();
    ChatFile::new_closed(open, Kind::Group, id(founder), policy).unwrap()
}

fn ticket(file: &ChatFile, issuer: u8, invitee: u8, right: Right, expires: Option<u64>) -> Ticket {
    let lineage = file.charter().unwrap().lineage;
    let expires = expires.map(Duration::from_secs);
    Ticket::issue(&identity(issuer), lineage, id(invitee), right, expires)
}

fn invite(file: &ChatFile, tickets: &[Ticket]) -> Frame {
    let bytes = |ticket: &Ticket| TicketBytes(ticket.encode().try_into().unwrap());
    let tickets = tickets.iter().map(bytes).collect();
    Frame::Invite(Invite { file: FileBytes(file.to_bytes()), tickets })
}

/// Alice's invitation of Bob to her channel `number`.
fn of_alice(number: u8) -> Frame {
    let file = file(ALICE, number, Policy::Tickets);
    invite(&file, &[ticket(&file, ALICE, BOB, Right::Member, None)])
}

fn channel(number: u8) -> ChannelId {
    file(ALICE, number, Policy::Tickets).keys().id()
}

fn answer(number: u8, accepted: bool) -> Frame {
    Frame::InviteAnswer(InviteAnswer { channel: channel(number), accepted })
}

/// Bob's machine, whose driver holds no channels.
struct Bob {
    machine: Invitations,
    now: Instant,
    holds: Held,
}

impl Bob {
    /// Alice is a contact of his.
    fn new() -> Self {
        let now = start();
        let mut bob = Self {
            machine: Invitations::new(now, Config { own_peer: id(BOB) }),
            now,
            holds: Held::No,
        };
        bob.know(ALICE, Acquaintance::Contact);
        bob
    }

    fn know(&mut self, who: u8, acquaintance: Acquaintance) -> Vec<Output> {
        self.take(Input::Known { peer: id(who), acquaintance })
    }

    /// What comes of an input, once it was said what is held.
    fn take(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle_input(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            if let Output::AskHeld { from, channel, .. } = &output {
                let held = Input::Held { from: *from, channel: *channel, held: self.holds };
                self.machine.handle_input(self.now, held);
            } else {
                outputs.push(output);
            }
        }
        outputs
    }

    fn hear(&mut self, from: PeerId, frame: Frame) -> Vec<Output> {
        self.take(Input::FrameReceived { from, unix: UNIX, frame })
    }

    fn hear_alice(&mut self, frame: Frame) -> Vec<Output> {
        self.hear(id(ALICE), frame)
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.machine.handle_timeout(self.now);
        self.drain()
    }

    #[track_caller]
    fn check_dropped(&mut self, from: u8, frame: Frame) {
        let before = self.machine.counters();
        assert_eq!(self.hear(id(from), frame), []);
        assert_eq!(self.machine.offers().count(), 0);
        let after = Counters { not_good: before.not_good + 1, ..before };
        assert_eq!(self.machine.counters(), after);
    }
}

fn said(frame: Frame) -> Output {
    Output::Send { to: id(ALICE), frame }
}

#[test]
fn a_genuine_invitation_is_told_once_and_its_repetition_takes_its_place() {
    let mut bob = Bob::new();
    assert_eq!(bob.hear_alice(of_alice(1)), [Output::Told(1)]);
    assert_eq!(bob.hear_alice(of_alice(1)), []);
    let file = file(ALICE, 1, Policy::Tickets);
    let better = ticket(&file, ALICE, BOB, Right::MayInvite, Some(1_800_003_600));
    assert_eq!(bob.hear_alice(invite(&file, &[better])), []);
    let offer = bob.machine.offer(1).unwrap();
    assert_eq!((offer.right(), offer.expires()), (Right::MayInvite, better.expires));
    assert_eq!((offer.from(), offer.founder()), (id(ALICE), Some(id(ALICE))));
    assert_eq!(offer.invitation().file, file);
    assert_eq!(bob.hear_alice(of_alice(2)), [Output::Told(2)]);
    let found = |text: &str| bob.machine.find(text).map(Offer::number);
    assert_eq!((found("1"), found(" TRIP 2 ")), (Ok(1), Ok(2)));
    assert_eq!((found("3"), found("trip")), (Err(NoOffer::NotFound), Err(NoOffer::NotFound)));
}

#[test]
fn an_invitation_of_a_member_who_may_invite_shows_its_chain_and_two_of_one_name_are_told_apart() {
    let mut bob = Bob::new();
    bob.know(CAROL, Acquaintance::Contact);
    let file = file(ALICE, 1, Policy::Tickets);
    let first = ticket(&file, ALICE, CAROL, Right::MayInvite, None);
    let chain = [first, ticket(&file, CAROL, BOB, Right::Member, None)];
    assert_eq!(bob.hear(id(CAROL), invite(&file, &chain)), [Output::Told(1)]);
    assert_eq!(bob.machine.offer(1).unwrap().founder(), Some(id(ALICE)));
    assert_eq!(bob.hear_alice(of_alice(1)), [Output::Told(2)]);
    let several = bob.machine.find("trip 1").map(Offer::number);
    assert_eq!(several, Err(NoOffer::Ambiguous(vec![1, 2])));
    // Both are answered when it is joined.
    let answered = bob.take(Input::Joined(channel(1)));
    let to_carol = Output::Send { to: id(CAROL), frame: answer(1, true) };
    assert_eq!(answered.len(), 2);
    assert!(answered.contains(&to_carol) && answered.contains(&said(answer(1, true))));
    assert_eq!(bob.machine.offers().count(), 0);
}

#[test]
fn what_is_replayed_expired_for_another_or_of_another_channel_is_dropped() {
    let mut bob = Bob::new();
    bob.know(CAROL, Acquaintance::Contact);
    let (one, other) = (file(ALICE, 1, Policy::Tickets), file(ALICE, 2, Policy::Tickets));
    let of_one = |invitee, expires| ticket(&one, ALICE, invitee, Right::Member, expires);
    let expired = Some(UNIX.as_secs() - 601);
    // Carol replays what Alice has sent to Bob, or to Carol herself.
    bob.check_dropped(CAROL, of_alice(1));
    bob.check_dropped(CAROL, invite(&one, &[of_one(CAROL, None)]));
    bob.check_dropped(ALICE, invite(&one, &[of_one(CAROL, None)]));
    bob.check_dropped(ALICE, invite(&one, &[of_one(BOB, expired)]));
    bob.check_dropped(ALICE, invite(&other, &[of_one(BOB, None)]));
    bob.check_dropped(ALICE, invite(&one, &[]));
    bob.check_dropped(ALICE, invite(&one.seed_only(), &[of_one(BOB, None)]));
    let seeder = ticket(&one, ALICE, BOB, Right::Seeder, None);
    bob.check_dropped(ALICE, invite(&one, &[seeder]));
    assert_eq!(bob.hear_alice(invite(&one.seed_only(), &[seeder])), [Output::Told(1)]);
}

#[test]
fn what_is_no_file_no_closed_channel_or_our_own_is_dropped() {
    let mut bob = Bob::new();
    let own = file(BOB, 1, Policy::Tickets);
    bob.check_dropped(ALICE, invite(&own, &[ticket(&own, BOB, ALICE, Right::MayInvite, None)]));
    let rng = &mut Rng::from_seed([7; 32]);
    let name = DisplayName::new("open").unwrap();
    let open = ChatFile::new_open(name, vec![], vec![], Rotation::Daily, rng).unwrap();
    bob.check_dropped(ALICE, invite(&open, &[]));
    let Frame::Invite(genuine) = of_alice(1) else { unreachable!() };
    for at in 0..genuine.file.0.len() {
        let file = FileBytes(genuine.file.0[..at].to_vec().into());
        let mut bob = Bob::new();
        bob.check_dropped(ALICE, Frame::Invite(Invite { file, ..genuine.clone() }));
    }
    for at in 0..genuine.tickets[0].0.len() {
        let mut tickets = genuine.tickets.clone();
        tickets[0].0[at] ^= 1;
        let mut bob = Bob::new();
        bob.check_dropped(ALICE, Frame::Invite(Invite { tickets, ..genuine.clone() }));
    }
}

#[test]
fn where_contacts_are_let_in_no_ticket_is_needed_and_the_inviter_must_be_one() {
    let mut bob = Bob::new();
    let file = file(ALICE, 1, Policy::Contacts);
    bob.check_dropped(CAROL, invite(&file, &[]));
    let chain = [
        ticket(&file, ALICE, CAROL, Right::MayInvite, None),
        ticket(&file, CAROL, BOB, Right::Member, None),
    ];
    bob.check_dropped(CAROL, invite(&file, &chain));
    bob.know(CAROL, Acquaintance::Contact);
    assert_eq!(bob.hear(id(CAROL), invite(&file, &[])), [Output::Told(1)]);
    let offer = bob.machine.offer(1).unwrap();
    assert_eq!(offer.founder(), None, "the file says who, and nobody has proven it");
    // A seeder needs a ticket in any case.
    bob.hear(id(CAROL), invite(&file.seed_only(), &[]));
    assert_eq!(bob.machine.counters().not_good, 3);
}

#[test]
fn a_founder_is_named_only_where_it_is_proven() {
    let mut bob = Bob::new();
    bob.know(CAROL, Acquaintance::Contact);
    let alices = file(ALICE, 1, Policy::Tickets);
    let chain = [
        ticket(&alices, ALICE, CAROL, Right::MayInvite, None),
        ticket(&alices, CAROL, BOB, Right::Member, None),
    ];
    // Carol makes a channel of her own and says that it takes the place of Alice's.
    let forged = file(ALICE, 9, Policy::Tickets).to_bytes();
    let (own, theirs) =
        (Lineage::begin(&id(ALICE), &channel(9)).0, alices.charter().unwrap().lineage.0);
    let at = forged.windows(32).position(|it| it == own).unwrap();
    let mut bytes = forged.clone();
    bytes[at..at + 32].copy_from_slice(&theirs);
    let forged = ChatFile::from_bytes(&bytes).unwrap();
    assert_eq!(bob.hear(id(CAROL), invite(&forged, &chain)), [Output::Told(1)]);
    assert_eq!(bob.machine.offer(1).unwrap().founder(), None);
    assert_eq!(bob.hear(id(CAROL), invite(&alices, &chain)), [Output::Told(2)]);
    assert_eq!(bob.machine.offer(2).unwrap().founder(), Some(id(ALICE)));
}

#[test]
fn what_is_declined_is_answered_and_not_told_again_and_what_was_joined_is_answered_as_such() {
    let mut bob = Bob::new();
    bob.hear_alice(of_alice(1));
    assert_eq!(bob.take(Input::Declined(1)), [said(answer(1, false))]);
    assert_eq!(bob.take(Input::Declined(1)), []);
    // The answer did not come over.
    assert_eq!(bob.hear_alice(of_alice(1)), [said(answer(1, false))]);
    bob.hear_alice(of_alice(2));
    assert_eq!(bob.take(Input::Joined(channel(2))), [said(answer(2, true))]);
    bob.holds = Held::Kept;
    assert_eq!(bob.hear_alice(of_alice(2)), [said(answer(2, true))]);
    assert_eq!(bob.machine.offers().count(), 0);
    // He has changed his mind, and came in by another way.
    assert_eq!(bob.take(Input::Joined(channel(1))), []);
    assert_eq!(bob.hear_alice(of_alice(1)), [said(answer(1, true))]);
}

#[test]
fn those_declined_are_remembered_up_to_a_bound() {
    let mut inbox = Inbox::new(start());
    let ids = || (0..=INVITES_DECLINED_MAX).map(|at| ChannelId([at as u8; 32]));
    let of = |at: usize| PeerId([(at / 256) as u8; 32]);
    for (at, channel) in ids().enumerate() {
        inbox.decline(of(at), channel);
    }
    let known = ids().enumerate().filter(|(at, channel)| inbox.was_declined(&of(*at), channel));
    assert_eq!(known.count(), INVITES_DECLINED_MAX);
}

#[test]
fn better_tickets_for_what_is_held_are_told_of_and_those_that_do_not_fit_are_dropped() {
    let mut bob = Bob::new();
    bob.holds = Held::Renewed;
    let renewed = Output::Renewed { channel: channel(1), by: id(ALICE) };
    assert_eq!(bob.hear_alice(of_alice(1)), [said(answer(1, true)), renewed]);
    bob.holds = Held::NotGood;
    bob.check_dropped(ALICE, of_alice(1));
}

#[test]
fn a_contact_has_so_many_waiting_and_a_stranger_fewer() {
    let mut bob = Bob::new();
    let most = INVITES_PER_CONTACT_MAX as u8;
    for number in 1..=most {
        assert_eq!(bob.hear_alice(of_alice(number)), [Output::Told(number.into())]);
    }
    assert_eq!(bob.hear_alice(of_alice(most + 1)), []);
    assert_eq!(bob.machine.counters().too_many, 1);
    // The repetition of one that waits finds its own place.
    assert_eq!(bob.hear_alice(of_alice(1)), []);
    assert_eq!(bob.machine.counters().too_many, 1);

    let of_stranger = |who: u8, number: u8| {
        let file = file(who, number, Policy::Tickets);
        (id(who), invite(&file, &[ticket(&file, who, BOB, Right::Member, None)]))
    };
    let (from, frame) = of_stranger(CAROL, 100);
    assert_eq!(bob.hear(from, frame), [Output::Told(u32::from(most) + 1)]);
    let (from, frame) = of_stranger(CAROL, 101);
    assert_eq!(bob.hear(from, frame), []);
    for who in 10..10 + INVITES_OF_STRANGERS_MAX as u8 {
        let (from, frame) = of_stranger(who, who);
        bob.hear(from, frame);
    }
    let all = usize::from(most) + INVITES_OF_STRANGERS_MAX;
    assert_eq!(bob.machine.offers().count(), all);
    assert_eq!(bob.machine.counters().too_many, 3);
    // What nobody wanted for a month makes room.
    bob.pass(INVITE_AGE_MAX);
    let (from, frame) = of_stranger(200, 200);
    assert_eq!(bob.hear(from, frame).len(), 1);
    assert_eq!(bob.machine.offers().count(), 1);
}

#[test]
fn files_that_are_large_fill_the_room_of_one_and_of_all() {
    let mut bob = Bob::new();
    // Each as large as a frame takes.
    let large = |founder: u8, number: u8| {
        let rng = &mut Rng::from_seed([number; 32]);
        let url = |at: usize| format!("http://tracker.example/{at}/{}", "x".repeat(1900));
        let trackers = (0..30).map(|at| vec![url(at)]).collect();
        let name = DisplayName::new("large").unwrap();
        let open = ChatFile::new_open(name, trackers, vec![], Rotation::Daily, rng).unwrap();
        let file = ChatFile::new_closed(open, Kind::Closed, id(founder), Policy::Tickets).unwrap();
        invite(&file, &[ticket(&file, founder, BOB, Right::Member, None)])
    };
    let mut told = 0;
    for founder in 10..50 {
        bob.know(founder, Acquaintance::Contact);
        for number in 0..3 {
            let from = id(founder);
            told += bob.hear(from, large(founder, 3 * founder + number)).len();
        }
    }
    let bytes: usize =
        bob.machine.offers().map(|offer| offer.invitation().file.to_bytes().len()).sum();
    assert!((INVITE_BYTES_WAITING_MAX - 64 * 1024..=INVITE_BYTES_WAITING_MAX).contains(&bytes));
    assert_eq!(told, bob.machine.offers().count());
    let of_first = bob.machine.offers().filter(|offer| offer.from() == id(10)).count();
    assert_eq!(of_first, 2);
}

#[test]
fn a_flood_of_one_is_not_looked_at_and_costs_others_nothing() {
    let mut bob = Bob::new();
    for _ in 0..10 * INVITES_OF_CONTACT_AT_ONCE {
        bob.hear_alice(of_alice(1));
    }
    let dropped = u64::from(9 * INVITES_OF_CONTACT_AT_ONCE);
    assert_eq!(bob.machine.counters().too_often, dropped);
    for _ in 0..INVITES_OF_STRANGER_AT_ONCE + 5 {
        bob.hear(id(CAROL), of_alice(1));
    }
    assert_eq!(bob.machine.counters().too_often, dropped + 5);
    bob.know(4, Acquaintance::Contact);
    let file = file(4, 4, Policy::Tickets);
    let frame = invite(&file, &[ticket(&file, 4, BOB, Right::Member, None)]);
    assert_eq!(bob.hear(id(4), frame), [Output::Told(2)]);
    bob.pass(INVITE_OF_STRANGER_EVERY);
    bob.hear(id(CAROL), of_alice(1));
    assert_eq!(bob.machine.counters().too_often, dropped + 5);
    bob.hear(id(CAROL), of_alice(1));
    assert_eq!(bob.machine.counters().too_often, dropped + 6);
}

#[test]
fn strangers_with_many_identities_share_few_turns_and_a_contact_has_its_own() {
    let mut bob = Bob::new();
    let identities = 4 * INVITERS_COUNTED_MAX;
    for at in 0..identities {
        let mut who = [0; 32];
        who[..8].copy_from_slice(&at.to_be_bytes());
        bob.hear(PeerId(who), of_alice(1));
    }
    let looked_at = bob.machine.counters().not_good;
    assert_eq!(looked_at, u64::from(INVITES_OF_STRANGERS_AT_ONCE));
    assert_eq!(bob.hear_alice(of_alice(1)), [Output::Told(1)]);
}

#[test]
fn who_is_blocked_is_not_heard_and_what_waited_of_them_is_gone() {
    let mut bob = Bob::new();
    bob.hear_alice(of_alice(1));
    bob.take(Input::Owe { channel: channel(5), peer: id(ALICE) });
    let dropped = Output::Dropped { channel: channel(5), peer: id(ALICE) };
    assert_eq!(bob.know(ALICE, Acquaintance::Blocked), [dropped]);
    bob.check_dropped(ALICE, of_alice(1));
    let dropped = Output::Dropped { channel: channel(6), peer: id(ALICE) };
    assert_eq!(bob.take(Input::Owe { channel: channel(6), peer: id(ALICE) }), [dropped]);
    assert_eq!(bob.machine.owed().count(), 0);
    // Nor is one that is a contact no longer still believed.
    let mut bob = Bob::new();
    bob.hear_alice(of_alice(1));
    bob.know(ALICE, Acquaintance::Stranger);
    assert_eq!(bob.machine.offers().count(), 0);
}

#[test]
fn what_is_owed_is_sent_at_once_at_each_link_and_each_hour_until_it_is_answered() {
    let mut bob = Bob::new();
    let (peer, owed) = (id(ALICE), channel(1));
    let offer = || Output::Offer { channel: owed, peer };
    assert_eq!(bob.take(Input::Owe { channel: owed, peer }), []);
    assert_eq!(bob.machine.poll_timeout(), None);
    assert_eq!(bob.take(Input::PeerUp(id(CAROL))), []);
    assert_eq!(bob.take(Input::PeerUp(peer)), [offer()]);
    assert_eq!(bob.pass(HOUR - Duration::from_secs(1)), []);
    assert_eq!(bob.pass(Duration::from_secs(1)), [offer()]);
    assert_eq!(bob.take(Input::PeerDown(peer)), []);
    assert_eq!((bob.machine.poll_timeout(), bob.pass(2 * HOUR)), (None, vec![]));
    assert_eq!(bob.take(Input::PeerUp(peer)), [offer()]);
    // On other terms, while linked.
    assert_eq!(bob.take(Input::Owe { channel: owed, peer }), [offer()]);
    let answered = Output::Answered { channel: owed, peer, accepted: true };
    assert_eq!(bob.hear_alice(answer(1, true)), [answered]);
    assert_eq!((bob.machine.poll_timeout(), bob.take(Input::PeerUp(peer))), (None, vec![]));
    assert_eq!(bob.hear_alice(answer(1, false)), []);
    assert_eq!(bob.machine.counters().never_invited, 1);
}

#[test]
fn who_was_never_invited_answers_for_nobody_and_what_is_over_is_not_sent() {
    let mut bob = Bob::new();
    bob.take(Input::Owe { channel: channel(1), peer: id(ALICE) });
    assert_eq!(bob.hear(id(CAROL), answer(1, true)), []);
    assert_eq!(bob.hear_alice(answer(2, true)), []);
    assert_eq!(bob.machine.counters().never_invited, 2);
    assert_eq!(bob.machine.owed().collect::<Vec<_>>(), [(id(ALICE), channel(1))]);
    bob.take(Input::Over { channel: channel(1), peer: id(ALICE) });
    assert_eq!(bob.take(Input::PeerUp(id(ALICE))), []);
}

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bitchat_protocol::channel::{ChatFile, Kind, Policy, Right, Rotation, Ticket, judge};
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::{DisplayName, Identity};
use bitchat_protocol::invite::{Acquaintance, Config, Held, Input, Invitations, Output};
use bitchat_protocol::limits::{INVITE_BYTES_WAITING_MAX, INVITES_WAITING_MAX};
use bitchat_protocol::machine::Machine as _;
use bitchat_protocol::wire::{self, FileBytes, Frame, Invite, InviteAnswer, TicketBytes};
use bitchat_protocol_fuzz::{patch, pieces};
use libfuzzer_sys::fuzz_target;

const UNIX: Duration = Duration::from_secs(1_900_000_000);

/// Us first, then those who invite.
static PEOPLE: LazyLock<[Identity; 4]> =
    LazyLock::new(|| [1, 2, 3, 4].map(|seed| Identity::from_seed(Secret::new([seed; 32]))));

/// Bodies of genuine invitations of the second, and of the third by way of the second.
static GENUINE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let [own, founder, member, _] = &*PEOPLE;
    let mut bodies = Vec::new();
    for (seed, policy) in [(1, Policy::Tickets), (2, Policy::Contacts), (3, Policy::Tickets)] {
        let rng = &mut Rng::from_seed([seed; 32]);
        let name = DisplayName::new("trip").expect("a name");
        let open = ChatFile::new_open(name, vec![], vec![], Rotation::Daily, rng).expect("a file");
        let file = ChatFile::new_closed(open, Kind::Group, founder.peer_id(), policy);
        let file = file.expect("a closed channel");
        let lineage = file.charter().expect("a charter").lineage;
        let issue = |issuer: &Identity, invitee: PeerId, right| {
            let ticket = Ticket::issue(issuer, lineage, invitee, right, None);
            TicketBytes(ticket.encode().try_into().expect("a ticket"))
        };
        let own = own.peer_id();
        let chain = vec![
            issue(founder, member.peer_id(), Right::MayInvite),
            issue(member, own, Right::Member),
        ];
        let seeder = vec![issue(founder, own, Right::Seeder)];
        for (file, tickets) in [
            (file.clone(), vec![issue(founder, own, Right::Member)]),
            (file.clone(), chain),
            (file.seed_only(), seeder),
            (file, Vec::new()),
        ] {
            let invite = Invite { file: FileBytes(file.to_bytes()), tickets };
            bodies.push(wire::encode(&Frame::Invite(invite)));
        }
    }
    bodies
});

/// Performs what the machine wants; what is held is as `held` says.
fn drain(machine: &mut Invitations, now: Instant, held: u8) {
    while let Some(output) = machine.poll_output() {
        match output {
            Output::AskHeld { from, channel, .. } => {
                let held = [Held::No, Held::No, Held::No, Held::Kept, Held::Renewed, Held::NotGood]
                    [usize::from(held % 6)];
                machine.handle_input(now, Input::Held { from, channel, held });
            }
            Output::Told(number) => {
                let offer = machine.offer(number).expect("what is told of waits");
                let charter = offer.invitation().file.charter().expect("a closed channel");
                let (own, from) = (PEOPLE[0].peer_id(), offer.from());
                let tickets = &offer.invitation().tickets;
                let is_contact = machine.acquaintance(&from) == Acquaintance::Contact;
                if tickets.is_empty() {
                    assert!(charter.policy == Policy::Contacts && is_contact);
                } else {
                    let founder = &charter.founder;
                    let judged = judge(tickets, charter.lineage, founder, &own, |_| false, UNIX);
                    assert!(judged.is_ok() && tickets.last().is_some_and(|it| it.issuer == from));
                }
            }
            Output::Send { frame, .. } => assert!(matches!(frame, Frame::InviteAnswer(_))),
            Output::Offer { .. }
            | Output::Answered { .. }
            | Output::Dropped { .. }
            | Output::Renewed { .. } => {}
        }
    }
}

// Each piece: an operation, who it is about, and what it says.
fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let mut machine = Invitations::new(now, Config { own_peer: PEOPLE[0].peer_id() });
    for piece in pieces(data) {
        let Some(([op, who, held], rest)) = piece.split_first_chunk::<3>() else { continue };
        let peer = PEOPLE[usize::from(*who) % PEOPLE.len()].peer_id();
        let first = rest.first().copied().unwrap_or(0);
        let input = match op % 9 {
            0 => {
                let mut body = GENUINE[usize::from(first) % GENUINE.len()].clone();
                patch(&mut body, rest.get(1..).unwrap_or_default());
                let Ok(Some(frame)) = wire::decode(&body) else { continue };
                Input::FrameReceived { from: peer, unix: UNIX, frame }
            }
            1 => {
                let Ok(Some(frame)) = wire::decode(rest) else { continue };
                Input::FrameReceived { from: peer, unix: UNIX, frame }
            }
            2 => {
                now += Duration::from_secs(u64::from(first) * 60);
                machine.handle_timeout(now);
                drain(&mut machine, now, *held);
                continue;
            }
            3 => {
                let all = [Acquaintance::Contact, Acquaintance::Stranger, Acquaintance::Blocked];
                Input::Known { peer, acquaintance: all[usize::from(first) % 3] }
            }
            4 => Input::Declined(first.into()),
            5 => match machine.offers().next().map(|offer| offer.channel()) {
                Some(channel) => Input::Joined(channel),
                None => continue,
            },
            6 => Input::Owe { channel: bitchat_protocol::id::ChannelId([first; 32]), peer },
            7 if first & 1 == 0 => Input::PeerUp(peer),
            7 => Input::PeerDown(peer),
            _ => {
                let channel = bitchat_protocol::id::ChannelId([first; 32]);
                let answer = InviteAnswer { channel, accepted: held & 1 == 0 };
                let frame = Frame::InviteAnswer(answer);
                Input::FrameReceived { from: peer, unix: UNIX, frame }
            }
        };
        machine.handle_input(now, input);
        drain(&mut machine, now, *held);
        let bytes: usize =
            machine.offers().map(|offer| offer.invitation().file.to_bytes().len()).sum();
        assert!(machine.offers().count() <= INVITES_WAITING_MAX);
        assert!(bytes <= INVITE_BYTES_WAITING_MAX);
        assert!(
            machine
                .offers()
                .all(|offer| { machine.acquaintance(&offer.from()) != Acquaintance::Blocked })
        );
    }
});

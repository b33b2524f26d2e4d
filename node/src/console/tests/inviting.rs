//! What is typed and told about who is asked into channels.

use bitchat_actors::channel_book::NotOwed;
use bitchat_actors::invitations::{
    Accept, Decline, Delivery, Invite, InviteError, Invited, ListInvitations, Listing, Offered,
    Unanswered,
};
use bitchat_protocol::channel::{ChatFile, Invitation, Policy, Right};
use bitchat_protocol::invite::NoOffer;

use super::*;

impl Handler<Invite> for Neighbour {
    type Result = Result<Invited, InviteError>;

    /// Alice is linked the first time, and has too many the third.
    fn handle(&mut self, Invite(asked): Invite, _: &mut Self::Context) -> Self::Result {
        assert_eq!(asked.peer, ALICE);
        let mut world = self.0.lock().unwrap();
        world.invited += 1;
        let delivery = match world.invited {
            1 => Delivery::Sent,
            2 => Delivery::Waits,
            _ => Delivery::NotSent(NotOwed::PeerFull),
        };
        let name = DisplayName::new("team").unwrap();
        let rng = &mut Rng::from_seed([1; 32]);
        let file = ChatFile::new_open(name, vec![], vec![], Rotation::Fixed, rng).unwrap();
        let file = ChatFile::new_closed(file, Kind::Closed, BOB, Policy::Tickets).unwrap();
        Ok(Invited { invitation: Invitation { file, tickets: vec![] }, delivery })
    }
}

impl Handler<ListInvitations> for Neighbour {
    type Result = actix::MessageResult<ListInvitations>;

    fn handle(&mut self, _: ListInvitations, _: &mut Self::Context) -> Self::Result {
        let unanswered = Unanswered {
            channel: TEAM,
            label: "team".into(),
            peer: ALICE,
            name: "friend".into(),
            linked: false,
        };
        actix::MessageResult(Listing { offered: vec![offered()], unanswered: vec![unanswered] })
    }
}

impl Handler<Accept> for Neighbour {
    type Result = Result<Summary, InviteError>;

    fn handle(&mut self, accept: Accept, _: &mut Self::Context) -> Self::Result {
        if accept.which != "1" && accept.which != "our trip" {
            return Err(NoOffer::NotFound.into());
        }
        Ok(Summary {
            id: ChannelId([5; 32]),
            name: DisplayName::new("our trip").unwrap(),
            kind: Kind::Group,
            pair: None,
            policy: Some(Policy::Tickets),
            rotation: Rotation::Daily,
            is_member: true,
            founder: Some(ALICE),
            trackers: Vec::new(),
            nodes: Vec::new(),
            moved_to: None,
            removed: Vec::new(),
            is_open: true,
        })
    }
}

impl Handler<Decline> for Neighbour {
    type Result = actix::MessageResult<Decline>;

    fn handle(&mut self, decline: Decline, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(match &*decline.which {
            "1" => Ok(offered()),
            _ => Err(NoOffer::NotFound.into()),
        })
    }
}

fn offered() -> Offered {
    Offered {
        number: 1,
        from: ALICE,
        name: "fri\u{1b}end".into(),
        is_contact: true,
        channel: ChannelId([5; 32]),
        label: "our\ntrip".into(),
        kind: Kind::Group,
        founder: Some((ALICE, "friend".into())),
        right: Right::Member,
        expires: None,
    }
}

#[test]
fn an_invitation_says_which_way_it_goes_and_is_printed_to_be_handed_over() {
    let played =
        play(Form::Text, b"/invite friend\n/invite friend\n/invite friend\n", World::default());
    let out = &played.out;
    assert!(out.contains("* friend is here: the invitation was sent\n"), "{out}");
    assert!(out.contains("* friend is not here: the invitation is sent as soon as"), "{out}");
    assert!(out.contains("* the invitation of friend is not sent: as many invitations"), "{out}");
    assert_eq!(
        out.matches("* or give them this line, and nobody else: bitchat:channel?").count(),
        3
    );
    assert_eq!((played.exit, &*played.talk), (Some(Exit::Done), ""));
    let played = play(Form::Text, b"/invite carol\n", World::default());
    assert!(played.talk.contains("carol"), "{}", played.talk);
    assert_eq!(played.exit, Some(Exit::Failed));
}

#[test]
fn a_group_is_made_with_all_who_are_named_or_not_at_all() {
    let lines =
        b"/group trip friend carol\n/group \"our trip\" friend friend\n/group #trip friend\n";
    let played = play(Form::Text, lines, World::default());
    assert!(played.talk.contains("no group was made"), "{}", played.talk);
    assert!(played.talk.contains("cannot be a name"), "{}", played.talk);
    assert!(played.out.contains("* you are in our trip now\n"), "{}", played.out);
    assert_eq!(played.out.matches("* friend is here: the invitation was sent").count(), 1);
    let request = br#"{"jsonrpc": "2.0", "id": 1, "method": "group", "params": {"name": "trip", "contacts": ["friend"]}}
{"jsonrpc": "2.0", "id": 2, "method": "group", "params": {"name": "trip", "contacts": []}}
{"jsonrpc": "2.0", "id": 3, "method": "group", "params": {"name": "trip", "contacts": [7]}}
{"jsonrpc": "2.0", "id": 4, "method": "group", "params": {"name": "trip"}}
"#;
    let played = play(Form::Json, request, World::default());
    let answers = played.answers();
    let made = &answers[0]["result"];
    assert_eq!((&made["kind"], &made["open"]), (&json!("group"), &json!(true)));
    let invited = &made["invited"][0];
    assert_eq!((&invited["name"], &invited["delivery"]), (&json!("friend"), &json!("sent")));
    assert_eq!(invited["peer"], ALICE.to_string());
    for answer in &answers[1..] {
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
}

#[test]
fn who_invites_us_is_told_escaped_with_what_to_type_and_so_is_what_comes_of_it() {
    let news = vec![
        Notice::Invited(Box::new(offered())),
        Notice::InviteAnswered {
            channel: TEAM,
            label: "te\u{1b}am".into(),
            peer: ALICE,
            name: "friend".into(),
            accepted: false,
        },
        Notice::TicketRenewed {
            channel: TEAM,
            label: "team".into(),
            by: ALICE,
            name: "friend".into(),
        },
    ];
    let world = World { news, ..World::default() };
    let lines = b"/invitations\n/accept 1\n/accept 2\n/decline 1\n";
    let played = play(Form::Text, lines, world);
    let out = &played.out;
    let line = out.lines().find(|line| line.contains("/accept 1")).expect("an invitation");
    assert!(
        line.contains("invites you to the group \"our") && line.ends_with("/decline 1"),
        "{line}"
    );
    assert!(!out.contains('\u{1b}'), "{out}");
    assert!(out.contains("* friend has declined your invitation to te"), "{out}");
    assert!(out.contains("* friend gave you a new ticket for team"), "{out}");
    assert!(out.contains("* friend has not answered your invitation to team"), "{out}");
    assert!(out.contains("* you are in our trip now"), "{out}");
    assert!(out.contains(" is declined, and "), "{out}");
    assert!(played.talk.contains("no invitation of that number"), "{}", played.talk);
    assert_eq!(played.exit, Some(Exit::Failed));
}

#[test]
fn programs_accept_and_decline_by_number_or_name() {
    let request = |id: u64, method: &str, invitation: Value| {
        let params = json!({ "invitation": invitation });
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string() + "\n"
    };
    let lines = [
        request(1, "accept", json!(1)),
        request(2, "accept", json!("our trip")),
        request(3, "accept", json!(2)),
        request(4, "accept", Value::Null),
        request(5, "decline", json!(1)),
        request(6, "invitations", Value::Null),
    ];
    let played = play(Form::Json, lines.concat().as_bytes(), World::default());
    let answers = played.answers();
    for answer in &answers[..2] {
        assert_eq!(answer["result"]["name"], "our trip", "{answer}");
    }
    assert_eq!(answers[2]["error"]["code"], -32000);
    assert_eq!(answers[3]["error"]["code"], -32602);
    assert_eq!(answers[4]["result"]["label"], "our\ntrip");
    let listed = &answers[5]["result"];
    assert_eq!(listed["invitations"][0]["number"], 1);
    assert_eq!(listed["unanswered"][0]["name"], "friend");
}

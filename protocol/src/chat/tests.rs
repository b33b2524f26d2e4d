use super::*;

const TEAM: ChannelId = ChannelId([1; 32]);

fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn chat(seed: u8) -> Chat {
    Chat::new(Rng::from_seed([seed; 32]))
}

fn give(chat: &mut Chat, input: Input) -> Vec<Output> {
    // The machine has no timers: any instant will do.
    chat.handle_input(instant(), input);
    drain(chat)
}

fn instant() -> Instant {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    *START.get_or_init(Instant::now)
}

fn drain(chat: &mut Chat) -> Vec<Output> {
    std::iter::from_fn(|| chat.poll_output()).collect()
}

fn say(chat: &mut Chat, text: &str) -> MessageId {
    chat.say(Audience::Channel(TEAM), None, 7, text.to_owned()).unwrap()
}

fn up(chat: &mut Chat, n: u8) -> Vec<Output> {
    give(chat, Input::MemberUp { channel: TEAM, peer: peer(n) })
}

fn down(chat: &mut Chat, n: u8) {
    give(chat, Input::MemberDown { channel: TEAM, peer: peer(n) });
    give(chat, Input::PeerDown(peer(n)));
}

fn sent_to(outputs: &[Output]) -> Vec<PeerId> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { to, frame: Frame::Say(_) } => Some(*to),
            Output::Send { .. }
            | Output::Heard { .. }
            | Output::Delivered { .. }
            | Output::GivenUp { .. } => None,
        })
        .collect()
}

fn receipt(ids: &[MessageId]) -> Frame {
    Frame::Delivered(Delivered { ids: ids.to_vec() })
}

fn receive(chat: &mut Chat, n: u8, frame: Frame) -> Vec<Output> {
    give(chat, Input::FramesReceived { from: peer(n), frames: vec![frame] })
}

#[test]
fn a_message_goes_to_every_member_and_each_receipt_is_told_once() {
    let mut chat = chat(0);
    up(&mut chat, 1);
    up(&mut chat, 2);
    let id = say(&mut chat, "hello");
    assert_eq!(sent_to(&drain(&mut chat)), [peer(1), peer(2)]);
    assert_eq!(chat.undelivered().count(), 1);

    let told = |by| Output::Delivered { id, channel: Some(TEAM), by };
    assert_eq!(receive(&mut chat, 1, receipt(&[id])), [told(peer(1))]);
    assert_eq!(receive(&mut chat, 1, receipt(&[id])), []);
    assert_eq!(chat.owed(&id), [peer(2)]);
    assert_eq!(receive(&mut chat, 2, receipt(&[id])), [told(peer(2))]);
    assert_eq!((chat.undelivered().count(), chat.outbox.len(), chat.bytes), (0, 0, 0));
}

#[test]
fn a_message_is_heard_once_and_acknowledged_each_time() {
    let mut chat = chat(0);
    let said = Say { channel: Some(TEAM), id: MessageId([9; 16]), unix_ms: 7, text: "hi".into() };
    let first = receive(&mut chat, 1, Frame::Say(said.clone()));
    let ack = Output::Send { to: peer(1), frame: receipt(&[said.id]) };
    let heard = Output::Heard { from: peer(1), said: said.clone() };
    assert_eq!(first, [heard, ack.clone()]);
    assert_eq!(receive(&mut chat, 1, Frame::Say(said.clone())), [ack]);
    // The same id of another author is another message.
    assert_eq!(receive(&mut chat, 2, Frame::Say(said)).len(), 2);
}

#[test]
fn an_author_who_goes_on_talking_is_not_forgotten_for_many_others() {
    let mut chat = chat(0);
    let say_as = |chat: &mut Chat, author: u16, id: u8| {
        let mut from = [0; 32];
        from[..2].copy_from_slice(&author.to_be_bytes());
        let id = MessageId([id; 16]);
        let said = Say { channel: Some(TEAM), id, unix_ms: 7, text: "hi".into() };
        let frames = vec![Frame::Say(said)];
        let outputs = give(chat, Input::FramesReceived { from: PeerId(from), frames });
        outputs.iter().any(|output| matches!(output, Output::Heard { .. }))
    };
    assert!(say_as(&mut chat, 0, 1));
    for other in 1..=2 * u16::try_from(AUTHORS_REMEMBERED_MAX).unwrap() {
        assert!(say_as(&mut chat, other, 1));
        assert!(!say_as(&mut chat, 0, 1), "the talker was forgotten after {other} others");
    }
    assert_eq!(chat.heard.len(), AUTHORS_REMEMBERED_MAX);
    assert!(say_as(&mut chat, 1, 1), "the one heard of longest ago made room");
}

#[test]
fn what_is_said_to_nobody_waits_for_whoever_comes_until_the_first_receipt() {
    let mut chat = chat(0);
    let id = say(&mut chat, "anybody?");
    assert_eq!(drain(&mut chat), []);
    assert_eq!(chat.undelivered().count(), 1);
    assert_eq!(sent_to(&up(&mut chat, 1)), [peer(1)]);
    assert_eq!(sent_to(&up(&mut chat, 2)), [peer(2)]);
    receive(&mut chat, 1, receipt(&[id]));
    assert_eq!(sent_to(&up(&mut chat, 3)), []);
    assert_eq!(chat.owed(&id), [peer(2)]);
}

#[test]
fn a_lost_link_has_what_is_owed_sent_again_on_the_next() {
    let mut chat = chat(0);
    up(&mut chat, 1);
    let id = say(&mut chat, "hello");
    drain(&mut chat);
    down(&mut chat, 1);
    assert_eq!(receive(&mut chat, 1, receipt(&[id])), [], "it was not sent over this link");
    assert_eq!(sent_to(&up(&mut chat, 1)), [peer(1)]);
    receive(&mut chat, 1, receipt(&[id]));
    down(&mut chat, 1);
    assert_eq!(sent_to(&up(&mut chat, 1)), []);
}

#[test]
fn another_link_with_the_same_peer_has_what_is_on_its_way_sent_again() {
    let mut chat = chat(0);
    give(&mut chat, Input::PeerUp(peer(1)));
    up(&mut chat, 1);
    say(&mut chat, "hello");
    drain(&mut chat);
    assert_eq!(sent_to(&give(&mut chat, Input::PeerUp(peer(1)))), []);
    assert_eq!(sent_to(&give(&mut chat, Input::Rerouted(peer(1)))), [peer(1)]);
}

#[test]
fn receipts_that_may_be_lost_with_a_link_are_repeated_on_the_other() {
    let mut chat = chat(0);
    assert_eq!(give(&mut chat, Input::Rerouted(peer(1))), []);
    let said =
        |n| Say { channel: Some(TEAM), id: MessageId([n; 16]), unix_ms: 7, text: "hi".into() };
    for n in [1, 2, 1] {
        receive(&mut chat, 1, Frame::Say(said(n)));
    }
    let frame = receipt(&[said(1).id, said(2).id]);
    let repeated = [Output::Send { to: peer(1), frame }];
    assert_eq!(give(&mut chat, Input::Rerouted(peer(1))), repeated);
    assert_eq!(give(&mut chat, Input::Rerouted(peer(2))), [], "nothing of this one was heard");
}

#[test]
fn a_receipt_of_somebody_who_was_not_sent_it_counts_for_nothing() {
    let mut chat = chat(0);
    up(&mut chat, 1);
    let id = say(&mut chat, "hello");
    drain(&mut chat);
    give(&mut chat, Input::PeerUp(peer(2)));
    assert_eq!(receive(&mut chat, 2, receipt(&[id])), []);
    assert_eq!(receive(&mut chat, 3, receipt(&[id])), []);
    assert_eq!(receive(&mut chat, 1, receipt(&[MessageId([0; 16])])), []);
    assert_eq!(chat.undelivered().count(), 1);
}

#[test]
fn one_who_acknowledges_nothing_gets_a_window_full_and_delays_nobody() {
    let mut chat = chat(0);
    up(&mut chat, 1);
    up(&mut chat, 2);
    let text = "x".repeat(MESSAGE_BYTES_MAX);
    let mut sent = [0, 0];
    for _ in 0..40 {
        let id = say(&mut chat, &text);
        for to in sent_to(&drain(&mut chat)) {
            sent[usize::from(to == peer(2))] += 1;
        }
        receive(&mut chat, 2, receipt(&[id]));
    }
    assert_eq!(sent[1], 40);
    assert_eq!(sent[0], crate::limits::CHAT_WINDOW_BYTES.div_ceil(MESSAGE_BYTES_MAX));
}

#[test]
fn receipts_open_the_window_again() {
    let mut chat = chat(0);
    up(&mut chat, 1);
    let text = "x".repeat(MESSAGE_BYTES_MAX);
    let ids: Vec<MessageId> = (0..40).map(|_| say(&mut chat, &text)).collect();
    let mut sent = sent_to(&drain(&mut chat)).len();
    for id in &ids {
        sent += sent_to(&receive(&mut chat, 1, receipt(&[*id]))).len();
    }
    assert_eq!((sent, chat.undelivered().count()), (40, 0));
}

#[test]
fn a_full_outbox_gives_up_what_somebody_has_and_else_refuses() {
    let mut chat = chat(0);
    up(&mut chat, 1);
    up(&mut chat, 2);
    let first = say(&mut chat, "first");
    drain(&mut chat);
    receive(&mut chat, 1, receipt(&[first]));
    for _ in 1..OUTBOX_MESSAGES_MAX {
        say(&mut chat, "x");
    }
    drain(&mut chat);
    say(&mut chat, "one more");
    let given_up = Output::GivenUp { id: first, owed: vec![peer(2)] };
    assert!(drain(&mut chat).contains(&given_up));
    let refused = chat.say(Audience::Channel(TEAM), None, 7, "too much".into());
    assert_eq!(refused, Err(SayError::OutboxFull { waiting: OUTBOX_MESSAGES_MAX }));
    assert_eq!(chat.outbox.len(), OUTBOX_MESSAGES_MAX);
}

#[test]
fn the_same_id_is_said_once_even_after_its_delivery() {
    let mut chat = chat(0);
    up(&mut chat, 1);
    let id = Some(MessageId([5; 16]));
    for _ in 0..2 {
        let answer = chat.say(Audience::Channel(TEAM), id, 7, "once".into());
        assert_eq!(answer, Ok(MessageId([5; 16])));
    }
    assert_eq!(sent_to(&drain(&mut chat)).len(), 1);
    receive(&mut chat, 1, receipt(&[MessageId([5; 16])]));
    assert_eq!(chat.say(Audience::Channel(TEAM), id, 7, "once".into()), Ok(MessageId([5; 16])));
    assert_eq!(drain(&mut chat), []);
}

#[test]
fn texts_out_of_bounds_and_strangers_are_refused_in_words() {
    let mut chat = chat(0);
    let mut tell = |text: &str| chat.say(Audience::Peer(peer(1)), None, 7, text.to_owned());
    assert_eq!(tell(""), Err(SayError::Empty));
    let len = MESSAGE_BYTES_MAX + 1;
    assert_eq!(tell(&"x".repeat(len)), Err(SayError::TooLong { len }));
    assert_eq!(tell("hello"), Err(SayError::NotLinked));
}

#[test]
fn one_peer_alone_gets_what_is_told_to_it() {
    let mut chat = chat(0);
    up(&mut chat, 1);
    up(&mut chat, 2);
    let id = chat.say(Audience::Peer(peer(2)), None, 7, "psst".into()).unwrap();
    assert_eq!(sent_to(&drain(&mut chat)), [peer(2)]);
    let told = Output::Delivered { id, channel: None, by: peer(2) };
    assert_eq!(receive(&mut chat, 2, receipt(&[id])), [told]);
}

#[test]
fn a_closed_channel_owes_nothing() {
    let mut chat = chat(0);
    say(&mut chat, "anybody?");
    give(&mut chat, Input::ChannelClosed(TEAM));
    assert_eq!((chat.undelivered().count(), chat.bytes), (0, 0));
    assert_eq!(sent_to(&up(&mut chat, 1)), []);
}

/// Two machines and a link between them that is cut at random: all arrives, once and in order.
const OTHER: ChannelId = ChannelId([2; 32]);

#[test]
fn a_member_that_comes_back_without_the_channel_is_not_sent_what_it_is_owed_there() {
    let mut chat = chat(0);
    up(&mut chat, 1);
    say(&mut chat, "hello");
    drain(&mut chat);
    down(&mut chat, 1);
    let mut outputs = give(&mut chat, Input::PeerUp(peer(1)));
    outputs.extend(give(&mut chat, Input::MemberUp { channel: OTHER, peer: peer(1) }));
    outputs.extend(give(&mut chat, Input::Rerouted(peer(1))));
    assert_eq!(sent_to(&outputs), []);
    assert_eq!(sent_to(&up(&mut chat, 1)), [peer(1)]);
}

#[test]
fn a_member_that_leaves_a_channel_and_returns_on_one_link_gets_what_was_on_its_way() {
    let mut chat = chat(0);
    give(&mut chat, Input::MemberUp { channel: OTHER, peer: peer(1) });
    up(&mut chat, 1);
    let large = "x".repeat(MESSAGE_BYTES_MAX);
    let mut on_their_way = 0;
    for _ in 0..100 {
        say(&mut chat, &large);
        on_their_way += sent_to(&drain(&mut chat)).len();
    }
    let other = chat.say(Audience::Channel(OTHER), None, 7, "y".into()).unwrap();
    assert_eq!(drain(&mut chat), [], "the window is full");
    let outputs = give(&mut chat, Input::MemberDown { channel: TEAM, peer: peer(1) });
    assert_eq!(sent_to(&outputs), [peer(1)], "what left the window lets the other channel through");
    receive(&mut chat, 1, receipt(&[other]));
    assert_eq!(sent_to(&up(&mut chat, 1)).len(), on_their_way);
}

#[test]
fn news_of_a_member_that_come_after_its_link_was_lost_do_not_swallow_a_message() {
    let mut chat = chat(0);
    let id = say(&mut chat, "hello");
    // The mesh lags behind: the link is gone already.
    give(&mut chat, Input::PeerUp(peer(1)));
    give(&mut chat, Input::PeerDown(peer(1)));
    up(&mut chat, 1);
    give(&mut chat, Input::MemberDown { channel: TEAM, peer: peer(1) });
    give(&mut chat, Input::PeerUp(peer(1)));
    assert_eq!(sent_to(&up(&mut chat, 1)), [peer(1)]);
    assert_eq!(receive(&mut chat, 1, receipt(&[id])).len(), 1);
}

#[test]
fn whatever_links_are_lost_every_message_is_shown_once_and_in_order() {
    for seed in 0..200 {
        let mut rng = Rng::from_seed([seed; 32]);
        let (mut author, mut reader) = (chat(1), chat(2));
        let mut heard = Vec::new();
        let mut delivered = 0;
        let mut wire: VecDeque<(bool, Frame)> = VecDeque::new();
        let mut linked = false;
        let mut texts = 0;
        while delivered < 50 {
            match rng.below(10) {
                0 if linked => {
                    wire.clear();
                    linked = false;
                    down(&mut author, 2);
                    down(&mut reader, 1);
                }
                0..=2 if !linked => {
                    linked = true;
                    post(&mut wire, true, &up(&mut author, 2));
                    post(&mut wire, false, &up(&mut reader, 1));
                }
                3 | 4 if texts < 50 => {
                    say(&mut author, &texts.to_string());
                    texts += 1;
                    post(&mut wire, true, &drain(&mut author));
                }
                _ => {
                    let Some((to_reader, frame)) = wire.pop_front() else { continue };
                    let (to, n) = if to_reader { (&mut reader, 1) } else { (&mut author, 2) };
                    let outputs = receive(to, n, frame);
                    post(&mut wire, !to_reader, &outputs);
                    for output in outputs {
                        match output {
                            Output::Heard { said, .. } => heard.push(said.text),
                            Output::Delivered { .. } => delivered += 1,
                            Output::Send { .. } | Output::GivenUp { .. } => {}
                        }
                    }
                }
            }
        }
        let expected: Vec<String> = (0..50).map(|n: i32| n.to_string()).collect();
        assert_eq!(heard, expected, "seed {seed}");
        assert_eq!(author.undelivered().count(), 0, "seed {seed}");
    }
}

fn post(wire: &mut VecDeque<(bool, Frame)>, to_reader: bool, outputs: &[Output]) {
    for output in outputs {
        if let Output::Send { frame, .. } = output {
            wire.push_back((to_reader, frame.clone()));
        }
    }
}

//! The machine alone, and two of them over a link that is cut at random.

use super::*;

fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn machine(seed: u8) -> Whispers {
    Whispers::new(Rng::from_seed([seed; 32]))
}

fn give(whispers: &mut Whispers, input: Input) -> Vec<Output> {
    // The machine has no timers: any instant will do.
    whispers.handle_input(instant(), input);
    drain(whispers)
}

fn instant() -> Instant {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    *START.get_or_init(Instant::now)
}

fn drain(whispers: &mut Whispers) -> Vec<Output> {
    std::iter::from_fn(|| whispers.poll_output()).collect()
}

fn say(whispers: &mut Whispers, n: u8, text: &str) -> MessageId {
    whispers.say(peer(n), None, 7, text.to_owned()).unwrap()
}

fn up(whispers: &mut Whispers, n: u8) -> Vec<Output> {
    give(whispers, Input::PeerUp(peer(n)))
}

fn down(whispers: &mut Whispers, n: u8) {
    assert_eq!(give(whispers, Input::PeerDown(peer(n))), []);
}

fn sent(outputs: &[Output]) -> Vec<(PeerId, MessageId)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { to, frame: Frame::Whisper(said) } => Some((*to, said.id)),
            Output::Send { .. } | Output::Heard { .. } | Output::Delivered { .. } => None,
        })
        .collect()
}

fn receipt(ids: &[MessageId]) -> Frame {
    Frame::Delivered(Delivered { ids: ids.to_vec() })
}

fn whisper(n: u8) -> Whisper {
    Whisper { id: MessageId([n; 16]), unix_ms: 7, text: "hi".into() }
}

fn receive(whispers: &mut Whispers, n: u8, frame: Frame) -> Vec<Output> {
    give(whispers, Input::FramesReceived { from: peer(n), frames: vec![frame] })
}

#[test]
fn a_message_goes_to_its_receiver_alone_and_its_receipt_is_told_once() {
    let mut whispers = machine(0);
    up(&mut whispers, 1);
    up(&mut whispers, 2);
    let id = say(&mut whispers, 2, "psst");
    assert_eq!(sent(&drain(&mut whispers)), [(peer(2), id)]);
    assert_eq!(whispers.undelivered().collect::<Vec<_>>(), [id]);

    let told = Output::Delivered { id, by: peer(2) };
    assert_eq!(receive(&mut whispers, 2, receipt(&[id])), [told]);
    assert_eq!(receive(&mut whispers, 2, receipt(&[id])), []);
    assert_eq!((whispers.undelivered().count(), whispers.outbox.len(), whispers.bytes), (0, 0, 0));
}

#[test]
fn a_message_is_heard_once_and_acknowledged_each_time() {
    let mut whispers = machine(0);
    let said = whisper(9);
    let ack = Output::Send { to: peer(1), frame: receipt(&[said.id]) };
    let heard = Output::Heard { from: peer(1), said: said.clone() };
    let first = receive(&mut whispers, 1, Frame::Whisper(said.clone()));
    assert_eq!(first, [heard, ack.clone()]);
    assert_eq!(receive(&mut whispers, 1, Frame::Whisper(said.clone())), [ack]);
    // The same id of another author is another message.
    assert_eq!(receive(&mut whispers, 2, Frame::Whisper(said)).len(), 2);
}

#[test]
fn an_author_who_goes_on_talking_is_not_forgotten_for_many_others() {
    let mut whispers = machine(0);
    let say_as = |whispers: &mut Whispers, author: u16| {
        let mut from = [0; 32];
        from[..2].copy_from_slice(&author.to_be_bytes());
        let frames = vec![Frame::Whisper(whisper(1))];
        let outputs = give(whispers, Input::FramesReceived { from: PeerId(from), frames });
        outputs.iter().any(|output| matches!(output, Output::Heard { .. }))
    };
    assert!(say_as(&mut whispers, 0));
    for other in 1..=2 * u16::try_from(AUTHORS_REMEMBERED_MAX).unwrap() {
        assert!(say_as(&mut whispers, other));
        assert!(!say_as(&mut whispers, 0), "the talker was forgotten after {other} others");
    }
    assert_eq!(whispers.heard.len(), AUTHORS_REMEMBERED_MAX);
    assert!(say_as(&mut whispers, 1), "the one heard of longest ago made room");
}

#[test]
fn a_lost_link_has_what_is_owed_sent_again_on_the_next() {
    let mut whispers = machine(0);
    up(&mut whispers, 1);
    let id = say(&mut whispers, 1, "hello");
    drain(&mut whispers);
    down(&mut whispers, 1);
    assert_eq!(receive(&mut whispers, 1, receipt(&[id])), [], "it was not sent over this link");
    assert_eq!(sent(&up(&mut whispers, 1)), [(peer(1), id)]);
    receive(&mut whispers, 1, receipt(&[id]));
    down(&mut whispers, 1);
    assert_eq!(sent(&up(&mut whispers, 1)), []);
}

#[test]
fn another_link_with_the_same_peer_has_what_is_on_its_way_sent_again() {
    let mut whispers = machine(0);
    up(&mut whispers, 1);
    let id = say(&mut whispers, 1, "hello");
    drain(&mut whispers);
    assert_eq!(sent(&up(&mut whispers, 1)), [], "it is linked already");
    let outputs = give(&mut whispers, Input::Rerouted(peer(1)));
    assert_eq!(sent(&outputs), [(peer(1), id)]);
}

#[test]
fn receipts_that_may_be_lost_with_a_link_are_repeated_on_the_other() {
    let mut whispers = machine(0);
    assert_eq!(give(&mut whispers, Input::Rerouted(peer(1))), []);
    for n in [1, 2, 1] {
        receive(&mut whispers, 1, Frame::Whisper(whisper(n)));
    }
    let frame = receipt(&[whisper(1).id, whisper(2).id]);
    let repeated = [Output::Send { to: peer(1), frame }];
    assert_eq!(give(&mut whispers, Input::Rerouted(peer(1))), repeated);
    assert_eq!(give(&mut whispers, Input::Rerouted(peer(2))), [], "nothing of this one was heard");
}

#[test]
fn a_receipt_of_somebody_who_was_not_sent_it_counts_for_nothing() {
    let mut whispers = machine(0);
    up(&mut whispers, 1);
    up(&mut whispers, 2);
    let id = say(&mut whispers, 1, "hello");
    drain(&mut whispers);
    assert_eq!(receive(&mut whispers, 2, receipt(&[id])), []);
    assert_eq!(receive(&mut whispers, 3, receipt(&[id])), []);
    assert_eq!(receive(&mut whispers, 1, receipt(&[MessageId([0; 16])])), []);
    assert_eq!(whispers.undelivered().count(), 1);
}

#[test]
fn one_who_acknowledges_nothing_gets_a_window_full_and_delays_nobody() {
    let mut whispers = machine(0);
    up(&mut whispers, 1);
    up(&mut whispers, 2);
    let text = "x".repeat(MESSAGE_BYTES_MAX);
    let mut count = [0, 0];
    for _ in 0..40 {
        for (n, count) in [1, 2].into_iter().zip(&mut count) {
            say(&mut whispers, n, &text);
            *count += sent(&drain(&mut whispers)).len();
        }
        let last = whispers.undelivered().last().unwrap();
        receive(&mut whispers, 2, receipt(&[last]));
    }
    assert_eq!(count[1], 40);
    assert_eq!(count[0], crate::limits::CHAT_WINDOW_BYTES.div_ceil(MESSAGE_BYTES_MAX));
}

#[test]
fn receipts_open_the_window_again() {
    let mut whispers = machine(0);
    up(&mut whispers, 1);
    let text = "x".repeat(MESSAGE_BYTES_MAX);
    let ids: Vec<MessageId> = (0..40).map(|_| say(&mut whispers, 1, &text)).collect();
    let mut count = sent(&drain(&mut whispers)).len();
    for id in &ids {
        count += sent(&receive(&mut whispers, 1, receipt(&[*id]))).len();
    }
    assert_eq!((count, whispers.undelivered().count()), (40, 0));
}

#[test]
fn a_full_outbox_refuses_until_something_is_taken() {
    let mut whispers = machine(0);
    up(&mut whispers, 1);
    let first = say(&mut whispers, 1, "first");
    for _ in 1..OUTBOX_MESSAGES_MAX {
        say(&mut whispers, 1, "x");
    }
    let refused = whispers.say(peer(1), None, 7, "too much".into());
    assert_eq!(refused, Err(SayError::OutboxFull { waiting: OUTBOX_MESSAGES_MAX }));
    drain(&mut whispers);
    receive(&mut whispers, 1, receipt(&[first]));
    say(&mut whispers, 1, "one more");
    assert_eq!(whispers.outbox.len(), OUTBOX_MESSAGES_MAX);
}

#[test]
fn the_same_id_is_said_once_even_after_its_delivery() {
    let mut whispers = machine(0);
    up(&mut whispers, 1);
    let id = MessageId([5; 16]);
    for _ in 0..2 {
        assert_eq!(whispers.say(peer(1), Some(id), 7, "once".into()), Ok(id));
    }
    assert_eq!(sent(&drain(&mut whispers)), [(peer(1), id)]);
    receive(&mut whispers, 1, receipt(&[id]));
    assert_eq!(whispers.say(peer(1), Some(id), 7, "once".into()), Ok(id));
    assert_eq!(drain(&mut whispers), []);
}

#[test]
fn texts_out_of_bounds_and_strangers_are_refused_in_words() {
    let mut whispers = machine(0);
    let mut tell = |text: &str| whispers.say(peer(1), None, 7, text.to_owned());
    assert_eq!(tell(""), Err(SayError::Empty));
    let len = MESSAGE_BYTES_MAX + 1;
    assert_eq!(tell(&"x".repeat(len)), Err(SayError::TooLong { len }));
    assert_eq!(tell("hello"), Err(SayError::NotLinked));
}

/// Two machines and a link between them that is cut at random: all arrives, once and in order.
#[test]
fn whatever_links_are_lost_every_message_is_shown_once_and_in_order() {
    for seed in 0..200 {
        let mut rng = Rng::from_seed([seed; 32]);
        let (mut author, mut reader) = (machine(1), machine(2));
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
                3 | 4 if linked && texts < 50 => {
                    say(&mut author, 2, &texts.to_string());
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
                            Output::Send { .. } => {}
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

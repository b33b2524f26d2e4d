//! The machine alone: what a test can say of one node and hand-made peers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::channel::{ChannelKeys, ChannelSecret};
use crate::crypto::sign::SigningKey;
use crate::crypto::{Rng, Secret};
use crate::id::{ChainId, ChannelId, DeviceId, MessageId, PeerId};
use crate::machine::Machine as _;
use crate::wire::{ChainHave, Entries, EntryBytes, Frame, Have};

fn keys() -> ChannelKeys {
    ChannelKeys::member(ChannelSecret(Secret::new([1; 32])))
}

fn channel() -> ChannelId {
    keys().id()
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(Secret::new([n; 32]))
}

fn peer(n: u8) -> PeerId {
    PeerId(*key(n).public())
}

/// A log in whose channel we are, and the instant that it is told.
struct Bench {
    log: Log,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(keys())
    }

    fn with(keys: ChannelKeys) -> Self {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let log = Log::new(now, key(1), Rng::from_seed([1; 32]));
        let mut bench = Self { log, now };
        let state = ChannelState { device: DeviceId([1; 8]), chains: vec![], receipts: vec![] };
        bench.give(Input::Opened { channel: channel(), keys: Arc::new(keys), state });
        bench
    }

    /// A log whose disk has entries of our own chain.
    fn continued(own: &[Accepted]) -> Self {
        let last = own.last().unwrap();
        let mut bench = Self::new();
        let chains = vec![ChainState {
            certificate: Certificate::sign(&keys(), peer(1), last.device).unwrap(),
            base: 0,
            head: last.number,
            head_hash: last.hash,
            head_clock: last.clock,
            forked: None,
        }];
        let state = ChannelState { device: last.device, chains, receipts: vec![] };
        let keys = Arc::new(keys());
        bench.give(Input::Opened { channel: channel(), keys, state });
        bench
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        self.log.handle_input(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.log.poll_output()).collect()
    }

    fn wait(&mut self, pause: Duration) -> Vec<Output> {
        self.now += pause;
        self.log.handle_timeout(self.now);
        self.drain()
    }

    fn up(&mut self, n: u8) -> Vec<Output> {
        let (channel, peer) = (channel(), peer(n));
        self.give(Input::MemberUp { channel, peer, role: Role::Member })
    }

    fn receive(&mut self, n: u8, frame: Frame) -> Vec<Output> {
        self.give(Input::FramesReceived { from: peer(n), frames: vec![frame] })
    }

    fn say(&mut self, text: &str) -> (MessageId, Batch) {
        let id = self.log.say(channel(), None, 7, text.to_owned()).unwrap();
        let batch = batch(&self.drain()).unwrap();
        (id, batch)
    }
}

fn batch(outputs: &[Output]) -> Option<Batch> {
    outputs.iter().find_map(|it| if let Output::Store(it) = it { Some(it.clone()) } else { None })
}

/// The request of a reading from a number on.
fn loading(outputs: &[Output], number: u64) -> Option<u64> {
    outputs.iter().find_map(|it| {
        let Output::Load { request, from, .. } = it else { return None };
        (*from == number).then_some(*request)
    })
}

fn sent(outputs: &[Output]) -> Vec<(PeerId, &Frame)> {
    let sent = |it: &'_ Output| matches!(it, Output::Send { .. });
    let frames = outputs.iter().filter(|it| sent(it));
    frames
        .filter_map(
            |it| if let Output::Send { to, frame } = it { Some((*to, frame)) } else { None },
        )
        .collect()
}

fn entries_to(outputs: &[Output], n: u8) -> usize {
    let count = |frame: &Frame| if let Frame::Entries(it) = frame { it.entries.len() } else { 0 };
    sent(outputs).iter().filter(|(to, _)| *to == peer(n)).map(|(_, frame)| count(frame)).sum()
}

fn have(full: bool, chains: Vec<ChainHave>) -> Frame {
    Frame::Have(Have { channel: channel(), full, again: false, chains })
}

fn certificate(n: u8) -> Certificate {
    Certificate::sign(&keys(), peer(n), DeviceId([n; 8])).unwrap()
}

/// Entries of a chain of another author, from number 1 on.
fn chain_of(n: u8, texts: &[&str]) -> Vec<Entry> {
    let chain = certificate(n).chain(&channel());
    let mut previous = chain_start(&chain);
    let mut rng = Rng::from_seed([n; 32]);
    let mut write = |(at, text): (usize, &&str)| {
        let number = at as u64 + 1;
        let id = MessageId(rng.array());
        let body = Say { id, unix_ms: 0, text: (*text).to_owned(), after: vec![] }.encode();
        let head = Head { chain, number, clock: number, previous };
        let entry = Entry::write(&keys(), &key(n), &mut rng, head, &body).unwrap();
        previous = entry.hash;
        entry
    };
    texts.iter().enumerate().map(&mut write).collect()
}

fn entries(n: u8, entries: &[Entry]) -> Frame {
    let entries = entries.iter().map(|entry| EntryBytes(entry.bytes.clone())).collect();
    Frame::Entries(Entries {
        channel: channel(),
        more: false,
        chains: vec![certificate(n)],
        entries,
    })
}

#[test]
fn nothing_is_pushed_before_it_is_on_disk_and_a_have_is_the_receipt() {
    let mut bench = Bench::new();
    bench.up(2);
    bench.receive(2, have(true, vec![]));
    let (id, first) = bench.say("hello");
    assert_eq!((first.chains.len(), first.entries.len()), (1, 1));
    assert!(first.entries[0].own && first.entries[0].begins);

    let stored = bench.give(Input::Stored { batch: first.batch });
    assert!(stored.contains(&Output::Said { channel: channel(), id }));
    assert_eq!(entries_to(&stored, 2), 1);

    let entry = &first.entries[0];
    let has = ChainHave { chain: entry.chain, base: 0, head: 1, tip: entry.hash.tip() };
    assert_eq!(bench.receive(2, have(false, vec![has])), []);
    let receipt = batch(&bench.wait(Duration::from_millis(50))).unwrap().receipts;
    assert_eq!(
        receipt,
        [Receipt { chain: entry.chain, number: 1, by: peer(2), role: Role::Member }]
    );
}

#[test]
fn what_the_disk_refuses_is_not_said_and_the_next_message_takes_its_number() {
    let mut bench = Bench::new();
    bench.up(2);
    bench.receive(2, have(true, vec![]));
    let (id, first) = bench.say("lost");
    let failed = bench.give(Input::StoreFailed { batch: first.batch });
    assert_eq!(failed, [Output::SayFailed { channel: channel(), id }]);
    let (_, second) = bench.say("kept");
    assert_eq!(second.entries[0].number, 1);
    assert_eq!(entries_to(&bench.give(Input::Stored { batch: second.batch }), 2), 1);
}

#[test]
fn nothing_more_is_said_until_all_that_hangs_on_a_failed_batch_has_failed() {
    let mut bench = Bench::new();
    let (_, first) = bench.say("one");
    let (_, second) = bench.say("two");
    bench.give(Input::StoreFailed { batch: first.batch });
    let refused = bench.log.say(channel(), None, 7, "three".to_owned());
    assert_eq!(refused, Err(SayError::StoreFailing));
    bench.give(Input::StoreFailed { batch: second.batch });
    assert_eq!(bench.say("three").1.entries[0].number, 1);
}

#[test]
fn an_entry_of_another_is_stored_told_to_its_author_and_taken_once() {
    let mut bench = Bench::new();
    bench.up(2);
    let said = chain_of(2, &["a", "b"]);
    let taken = batch(&bench.receive(2, entries(2, &said))).unwrap();
    assert_eq!(taken.entries.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(batch(&bench.receive(2, entries(2, &said))), None);
    let stored = bench.give(Input::Stored { batch: taken.batch });
    let tip = said[1].hash.tip();
    let has = ChainHave { chain: said[0].head.chain, base: 0, head: 2, tip };
    assert_eq!(sent(&stored), [(peer(2), &have(false, vec![has]))]);
}

#[test]
fn what_is_not_marked_not_next_or_not_signed_is_dropped_by_cause() {
    let mut bench = Bench::new();
    bench.up(3);
    let said = chain_of(2, &["a", "b", "c"]);
    let frame = |chains, bytes: &[u8]| {
        let entries = vec![EntryBytes(Bytes::copy_from_slice(bytes))];
        Frame::Entries(Entries { channel: channel(), more: false, chains, entries })
    };
    let marked = vec![certificate(2)];
    let mut forged = said[0].bytes.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let mut mark = certificate(2);
    mark.mark[0] ^= 1;
    bench.up(4);
    bench.up(5);
    for (from, frame) in [
        (3, frame(vec![], &said[0].bytes)),
        (3, frame(marked.clone(), &said[1].bytes)),
        (3, frame(marked.clone(), &said[0].bytes[..200])),
        (4, frame(vec![mark], &said[0].bytes)),
        (5, frame(marked.clone(), &forged)),
    ] {
        assert_eq!(batch(&bench.receive(from, frame)), None);
    }
    let dropped = bench.log.dropped();
    assert_eq!((dropped.unmarked, dropped.gap, dropped.signature, dropped.malformed), (2, 1, 1, 1));
    // Whoever sends a mark or a signature that is none is heard no more over this link.
    for from in [4, 5] {
        assert_eq!(batch(&bench.receive(from, frame(marked.clone(), &said[0].bytes))), None);
    }
    bench.give(Input::PeerDown(peer(5)));
    bench.up(5);
    assert!(batch(&bench.receive(5, frame(marked, &said[0].bytes))).is_some());
}

#[test]
fn two_entries_of_one_number_are_a_fork_and_nothing_follows_them() {
    let mut bench = Bench::new();
    bench.up(3);
    let (one, other) = (chain_of(2, &["a", "b"]), chain_of(2, &["x", "y"]));
    let taken = batch(&bench.receive(3, entries(2, &one[..1]))).unwrap();
    bench.give(Input::Stored { batch: taken.batch });
    let asked = bench.receive(3, entries(2, &other[..1]));
    let Some(Output::Load { request, from: 1, .. }) = asked.first() else {
        panic!("ours is compared: {asked:?}");
    };
    let ours = vec![one[0].bytes.clone()];
    let told = bench.give(Input::Loaded { request: *request, entries: ours });
    let (author, chain) = (peer(2), one[0].head.chain);
    assert!(told.contains(&Output::Forked { channel: channel(), author, chain, number: 1 }));
    assert!(
        sent(&told).iter().any(|(to, frame)| *to == peer(3) && matches!(frame, Frame::Fork(_)))
    );
    assert_eq!(batch(&bench.wait(Duration::ZERO)).unwrap().forks.len(), 1);
    assert_eq!(batch(&bench.receive(3, entries(2, &one[1..]))), None);
    assert_eq!(bench.log.dropped().forked, 1);
}

#[test]
fn our_own_chain_seen_longer_elsewhere_goes_on_under_another_device() {
    let mut bench = Bench::new();
    let (_, first) = bench.say("before");
    bench.give(Input::Stored { batch: first.batch });
    // The same node, rolled back to an empty disk.
    let mut back = Bench::new();
    back.up(2);
    let frame = Frame::Entries(Entries {
        channel: channel(),
        more: false,
        chains: first.chains.clone(),
        entries: vec![EntryBytes(first.entries[0].bytes.clone())],
    });
    let taken = batch(&back.receive(2, frame)).unwrap();
    assert!(taken.device.is_some_and(|device| device != DeviceId([1; 8])));
    assert_eq!(taken.entries[0].hash, first.entries[0].hash);
    let (_, next) = back.say("after");
    assert_ne!(next.entries[0].chain, first.entries[0].chain);
    assert!(next.entries[0].clock > first.entries[0].clock);
}

#[test]
fn a_slow_peer_gets_a_window_and_the_rest_with_its_receipts() {
    let mut bench = Bench::new();
    bench.up(2);
    bench.receive(2, have(true, vec![]));
    let text = "x".repeat(30_000);
    let mut pushed = 0;
    for _ in 0..20 {
        let (_, batch) = bench.say(&text);
        pushed += entries_to(&bench.give(Input::Stored { batch: batch.batch }), 2);
    }
    assert_eq!(pushed, 9, "a window of 256 KiB, exceeded by less than one entry");
}

#[test]
fn what_is_missing_is_wanted_of_another_holder_when_the_first_does_not_answer() {
    let mut bench = Bench::new();
    let said = chain_of(4, &["a"]);
    let has = ChainHave { chain: said[0].head.chain, base: 0, head: 1, tip: said[0].hash.tip() };
    let wanted = |outputs: &[Output]| -> Vec<PeerId> {
        let wants = sent(outputs).into_iter().filter(|(_, it)| matches!(it, Frame::Want(_)));
        wants.map(|(to, _)| to).collect()
    };
    for n in [2, 3] {
        bench.up(n);
        assert_eq!(wanted(&bench.receive(n, have(true, vec![has]))), []);
    }
    let first = wanted(&bench.wait(Duration::from_secs(1)));
    let second = wanted(&bench.wait(Duration::from_secs(10)));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
}

#[test]
fn a_seeder_takes_without_reading_and_never_says() {
    let seeder = ChannelKeys::seeder(keys().seed_key().clone(), keys().public_key());
    let mut bench = Bench::with(seeder);
    bench.up(2);
    let taken = batch(&bench.receive(2, entries(2, &chain_of(2, &["a"])))).unwrap();
    assert_eq!(taken.entries[0].body, None);
    let refused = bench.log.say(channel(), None, 7, "hello".to_owned());
    assert_eq!(refused, Err(SayError::Seeder));
}

/// The last batch of a node that has said `count` messages, all stored.
fn speak(bench: &mut Bench, count: usize) -> Vec<Accepted> {
    let mut said = Vec::new();
    for at in 0..count {
        let (_, batch) = bench.say(&at.to_string());
        bench.give(Input::Stored { batch: batch.batch });
        said.extend(batch.entries);
    }
    said
}

fn receipts(outputs: &[Output]) -> Vec<u64> {
    batch(outputs).map_or(vec![], |it| it.receipts.iter().map(|it| it.number).collect())
}

#[test]
fn a_receipt_is_for_the_entries_that_we_have_and_no_others() {
    let mut bench = Bench::new();
    bench.up(2);
    bench.receive(2, have(true, vec![]));
    let said = speak(&mut bench, 3);
    let has = |number: u64, tip| ChainHave { chain: said[0].chain, base: 0, head: number, tip };
    let other = [9; 8];
    for lie in [has(2, other), has(3, other), has(4, other)] {
        bench.receive(2, have(true, vec![lie]));
        let receipts = receipts(&bench.wait(Duration::from_millis(50)));
        assert_eq!(receipts, Vec::<u64>::new(), "{lie:?}");
    }
    bench.receive(2, have(true, vec![has(2, said[1].hash.tip())]));
    assert_eq!(receipts(&bench.wait(Duration::from_millis(50))), [2]);
}

#[test]
fn a_receipt_for_an_entry_of_an_earlier_run_is_compared_with_what_is_on_disk() {
    let said = speak(&mut Bench::new(), 3);
    let chain = said[0].chain;
    for (tip, counted) in [(said[0].hash.tip(), vec![1]), ([9; 8], vec![])] {
        let mut bench = Bench::continued(&said);
        bench.up(2);
        let asked = bench.receive(2, have(true, vec![ChainHave { chain, base: 0, head: 1, tip }]));
        let Some(request) = loading(&asked, 1) else { panic!("ours is read: {asked:?}") };
        bench.give(Input::Loaded { request, entries: vec![said[0].bytes.clone()] });
        assert_eq!(receipts(&bench.wait(Duration::from_millis(50))), counted);
    }
}

/// Another entry of our chain in the place of the last of `own`.
fn other_than_last(own: &[Accepted]) -> Entry {
    let [.., before, last] = own else { panic!("two are needed") };
    let head =
        Head { chain: last.chain, number: last.number, clock: last.clock, previous: before.hash };
    let body = Say { id: MessageId([9; 16]), unix_ms: 0, text: "other".into(), after: vec![] };
    Entry::write(&keys(), &key(1), &mut Rng::from_seed([9; 32]), head, &body.encode()).unwrap()
}

fn own_entries(said: &[Accepted], bytes: &Entry) -> Frame {
    let chains = vec![Certificate::sign(&keys(), peer(1), said[0].device).unwrap()];
    let entries = vec![EntryBytes(bytes.bytes.clone())];
    Frame::Entries(Entries { channel: channel(), more: false, chains, entries })
}

#[test]
fn what_we_said_on_one_side_of_a_fork_is_said_again_in_the_new_chain() {
    let mut bench = Bench::new();
    let said = speak(&mut bench, 3);
    bench.up(2);
    let forked = bench.receive(2, own_entries(&said, &other_than_last(&said)));
    let request = loading(&forked, 3).expect("what we said is read");
    let again = bench.give(Input::Loaded { request, entries: vec![said[2].bytes.clone()] });
    let again = batch(&again).unwrap();
    let [entry] = &again.entries[..] else { panic!("one is said again: {again:?}") };
    assert_ne!(entry.chain, said[2].chain);
    let (old, new) = (said[2].body.as_ref().unwrap(), entry.body.as_ref().unwrap());
    let (old, new) = (old.as_say().unwrap(), new.as_say().unwrap());
    assert_eq!((old.id, &old.text, old.unix_ms), (new.id, &new.text, new.unix_ms));
    assert_eq!(again.forks, [], "whoever is killed now says it again");
    let stored = bench.give(Input::Stored { batch: again.batch });
    assert!(!stored.iter().any(|it| matches!(it, Output::Said { .. })), "{stored:?}");
    assert_eq!(batch(&bench.wait(Duration::from_millis(50))).unwrap().forks.len(), 1);
}

#[test]
fn what_could_not_be_said_again_is_said_again_later() {
    let mut bench = Bench::new();
    let said = speak(&mut bench, 3);
    bench.up(2);
    let forked = bench.receive(2, own_entries(&said, &other_than_last(&said)));
    let request = loading(&forked, 3).unwrap();
    let entries = vec![said[2].bytes.clone()];
    let again = batch(&bench.give(Input::Loaded { request, entries: entries.clone() })).unwrap();
    bench.give(Input::StoreFailed { batch: again.batch });
    let later = bench.wait(Duration::from_secs(1));
    let request = loading(&later, 3).expect("it is read once more");
    let again = batch(&bench.give(Input::Loaded { request, entries })).unwrap();
    assert_eq!(again.entries.len(), 1);
}

#[test]
fn a_fork_takes_back_the_receipts_for_what_follows_it() {
    let mut bench = Bench::new();
    bench.up(2);
    bench.receive(2, have(true, vec![]));
    let said = speak(&mut bench, 3);
    let chain = said[0].chain;
    let tip = said[2].hash.tip();
    bench.receive(2, have(false, vec![ChainHave { chain, base: 0, head: 3, tip }]));
    assert_eq!(receipts(&bench.wait(Duration::from_millis(50))), [3]);
    bench.receive(2, own_entries(&said, &other_than_last(&said)));
    // The same once more, as from a peer that had it before it heard of the fork.
    bench.receive(2, have(false, vec![ChainHave { chain, base: 0, head: 3, tip }]));
    assert_eq!(receipts(&bench.wait(Duration::from_millis(50))), Vec::<u64>::new());
}

#[test]
fn nothing_is_said_in_a_chain_that_a_peer_has_longer() {
    let said = speak(&mut Bench::new(), 3);
    let mut bench = Bench::continued(&said[..1]);
    bench.up(2);
    let (chain, tip) = (said[0].chain, said[2].hash.tip());
    bench.receive(2, have(true, vec![ChainHave { chain, base: 0, head: 3, tip }]));
    let next = speak(&mut bench, 1).remove(0);
    assert_ne!(next.chain, chain);
    // That is believed once: another word of that kind needs proof.
    let lie = ChainHave { chain: next.chain, base: 0, head: 9, tip };
    bench.receive(2, have(false, vec![lie]));
    assert_eq!(speak(&mut bench, 1)[0].chain, next.chain);
}

fn wants(outputs: &[Output]) -> Vec<(PeerId, u64)> {
    let wants = sent(outputs).into_iter().filter_map(|(to, frame)| {
        let Frame::Want(want) = frame else { return None };
        Some((to, want.from))
    });
    wants.collect()
}

/// What is wanted from now on, within so many seconds.
fn wanted_within(bench: &mut Bench, seconds: u64) -> Vec<(PeerId, u64)> {
    let outputs: Vec<Vec<Output>> =
        (0..10 * seconds).map(|_| bench.wait(Duration::from_millis(100))).collect();
    outputs.iter().flat_map(|outputs| wants(outputs)).collect()
}

#[test]
fn a_peer_that_says_more_and_gives_nothing_does_not_keep_us_from_asking_another() {
    let mut bench = Bench::new();
    let said = chain_of(4, &["a"]);
    let has = ChainHave { chain: said[0].head.chain, base: 0, head: 1, tip: said[0].hash.tip() };
    bench.up(2);
    bench.receive(2, have(true, vec![has]));
    assert_eq!(wanted_within(&mut bench, 2), [(peer(2), 1)]);
    bench.up(3);
    bench.receive(3, have(true, vec![has]));
    let more = Frame::Entries(Entries {
        channel: channel(),
        more: true,
        chains: vec![certificate(4)],
        entries: vec![],
    });
    let mut asked = Vec::new();
    for _ in 0..12 {
        asked.extend(wanted_within(&mut bench, 1));
        bench.receive(2, more.clone());
    }
    assert_eq!(asked, [(peer(3), 1)]);
}

#[test]
fn an_answer_that_drips_ends_after_a_minute() {
    let mut bench = Bench::new();
    let texts: Vec<String> = (0..20).map(|at| at.to_string()).collect();
    let said = chain_of(4, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let (chain, tip) = (said[0].head.chain, said[19].hash.tip());
    bench.up(2);
    bench.receive(2, have(true, vec![ChainHave { chain, base: 0, head: 20, tip }]));
    assert_eq!(wanted_within(&mut bench, 2), [(peer(2), 1)]);
    let mut asked = Vec::new();
    for entry in said.iter().take(9) {
        let Frame::Entries(frame) = entries(4, std::slice::from_ref(entry)) else { unreachable!() };
        let outputs = bench.receive(2, Frame::Entries(Entries { more: true, ..frame }));
        if let Some(batch) = batch(&outputs) {
            bench.give(Input::Stored { batch: batch.batch });
        }
        asked.extend(wanted_within(&mut bench, 8));
    }
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[test]
fn the_lowest_base_counts_for_nothing_where_its_holder_gives_nothing() {
    let mut bench = Bench::new();
    let (chain, tip) = (chain_of(4, &["a"])[0].head.chain, [7; 8]);
    for (n, base) in [(2, 4), (3, 9), (5, 2)] {
        bench.up(n);
        // Peer 5 says to have had it, and has nothing of it any more.
        let head = if n == 5 { base } else { 20 };
        bench.receive(n, have(true, vec![ChainHave { chain, base, head, tip }]));
    }
    // Peer 2 never answers: after three times it is the turn of the one with the next base.
    let asked = wanted_within(&mut bench, 80);
    assert_eq!(asked[..3], [(peer(2), 5); 3]);
    assert_eq!(asked[3], (peer(3), 10), "{asked:?}");
}

#[test]
fn invented_chains_do_not_keep_a_real_one_waiting() {
    let mut bench = Bench::new();
    let said = chain_of(4, &["a", "b"]);
    let chain = said[0].head.chain;
    let taken = batch(&{
        bench.up(3);
        bench.receive(3, entries(4, &said[..1]))
    });
    bench.give(Input::Stored { batch: taken.unwrap().batch });
    let invented = |n: u8| -> Vec<ChainHave> {
        let one = |at: u8| ChainHave {
            chain: ChainId([at, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            base: 0,
            head: 9,
            tip: [1; 8],
        };
        (0..200).map(one).collect()
    };
    for n in 5..15 {
        bench.up(n);
        bench.receive(n, have(true, invented(n)));
    }
    bench.wait(Duration::from_secs(1));
    let tip = said[1].hash.tip();
    let real = bench.receive(3, have(true, vec![ChainHave { chain, base: 0, head: 2, tip }]));
    assert_eq!(wants(&real), [(peer(3), 2)]);
    // And each of those who invent is asked less and less.
    let asked = wanted_within(&mut bench, 600).len();
    assert!(asked < 10 * 20, "{asked}");
}

#[test]
fn what_nobody_says_to_have_any_more_is_forgotten() {
    let mut bench = Bench::new();
    bench.up(2);
    for round in 0..200u8 {
        let chain = |at: u8| ChainHave {
            chain: ChainId([at, round, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            base: 0,
            head: 9,
            tip: [1; 8],
        };
        bench.receive(2, have(true, (0..200).map(chain).collect()));
    }
    assert_eq!(bench.log.behind(&channel()), 200);
}

#[test]
fn an_entry_that_comes_late_counts_for_its_sender() {
    let mut bench = Bench::new();
    let said = chain_of(4, &["a", "b"]);
    let chain = said[0].head.chain;
    bench.up(2);
    bench.receive(
        2,
        have(true, vec![ChainHave { chain, base: 0, head: 2, tip: said[1].hash.tip() }]),
    );
    // It is asked five times, ever later, and now for a while no more.
    assert_eq!(wanted_within(&mut bench, 70).len(), 5);
    assert_eq!(wants(&bench.receive(2, entries(4, &said[..1]))), [(peer(2), 2)]);
}

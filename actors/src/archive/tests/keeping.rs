//! What is kept, and what is not.

use super::*;

#[test]
fn what_was_stored_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let entries = alice.say_many(3);
    must_append(&mut store, alice.batch(entries.clone()));
    drop(store);

    let mut store = must_open(dir.path());
    let state = must_open_channel(&mut store);
    let [chain] = &state.chains[..] else { panic!("{state:?}") };
    assert_eq!((chain.base, chain.head, chain.head_clock), (0, 3, 3));
    assert_eq!((chain.head_hash, &chain.forked), (entries[2].hash, &None));
    assert_eq!(chain.certificate, alice.certificate);
    assert_eq!(texts(&store), ["message 1", "message 2", "message 3"]);
    let range = store.read_range(&channel(), &alice.chain(), 1, 1 << 20).unwrap();
    assert_eq!(range, entries.iter().map(|entry| entry.bytes.clone()).collect::<Vec<_>>());
}

#[cfg(unix)]
#[test]
fn nobody_else_can_open_its_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    store.copy_to(&dir.path().join("copy")).unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["archive", "archive-wal", "copy"]);
}

#[test]
fn nothing_of_what_was_said_or_who_said_it_stands_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::ours(1, 9);
    let entry = alice.say("the password is swordfish");
    must_append(&mut store, alice.batch(vec![entry.clone()]));
    must_append(&mut store, receipts(&alice, vec![receipt(&alice, 1, 77)]));
    store.acknowledge("the bot", 1).unwrap();
    let files =
        ["archive", "archive-wal"].map(|name| std::fs::read(dir.path().join(name)).unwrap());
    let secrets: [&[u8]; 9] = [
        b"swordfish",
        b"the bot",
        &channel().0,
        &alice.certificate.author.0,
        &[77; 32],
        &alice.chain().0,
        &alice.certificate.encode(),
        &entry.bytes[69..101],
        &entry.hash.0,
    ];
    for file in &files {
        for secret in secrets {
            assert!(!file.windows(secret.len()).any(|window| window == secret), "{secret:?}");
        }
    }
}

#[test]
fn a_transaction_that_a_crash_cut_off_has_left_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let (first, second) = (alice.say("kept"), alice.say("cut off"));
    must_append(&mut store, alice.batch(vec![first]));
    let after = tempfile::tempdir().unwrap();
    let outcome = store.write(|store| {
        let done = store.append(&alice.batch(vec![second]), NOW)?;
        // The state of the disk at this moment, as after a power cut.
        for name in ["archive", "archive-wal"] {
            std::fs::copy(dir.path().join(name), after.path().join(name)).unwrap();
        }
        drop(done);
        Err::<(), _>(rusqlite::Error::InvalidQuery)
    });
    assert!(outcome.is_err());
    for dir in [after.path(), dir.path()] {
        let mut again;
        let store = if dir == after.path() {
            again = must_open(dir);
            must_open_channel(&mut again);
            &again
        } else {
            // The one that lives on has forgotten it as well.
            store.refresh().unwrap();
            &store
        };
        assert_eq!(texts(store), ["kept"]);
        assert_eq!(store.opened(&channel()).unwrap().chains[&alice.chain()].state.head, 1);
        assert_eq!(events(store, 0, 10).len(), 1);
    }
}

#[test]
fn a_batch_that_comes_again_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let mut entries = alice.say_many(3);
    assert_eq!(must_append(&mut store, alice.batch(entries.clone())).len(), 3);
    assert_eq!(must_append(&mut store, alice.batch(entries.clone())).len(), 0);
    entries.push(alice.say("message 4"));
    let events = must_append(&mut store, alice.batch(entries));
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [4]);
    assert_eq!(texts(&store).len(), 4);
}

#[test]
fn a_batch_that_makes_no_sense_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let (mut alice, mut bob) = (Author::new(1, 1), Author::new(1, 2));
    let entries = alice.say_many(2);
    let mut unknown = alice.batch(entries);
    unknown.entries.push(bob.clone().say("hi"));
    let elsewhere = Author::new(2, 1);
    let elsewhere = elsewhere.batch(elsewhere.clone().say_many(1));
    let good = bob.say("good");
    let good = bob.batch(vec![good]);
    let wishes = [unknown, elsewhere, good].map(Wish::Append);
    let [unknown, elsewhere, good]: [_; 3] =
        store.fulfil(&wishes, NOW).try_into().expect("three answers");
    assert_eq!(unknown.unwrap_err(), ArchiveError::UnknownChain(bob.chain()));
    assert_eq!(elsewhere.unwrap_err(), ArchiveError::NotOpen(member(2).id()));
    assert_eq!(good.unwrap().events.len(), 1);
    assert_eq!(texts(&store), ["good"]);
}

#[test]
fn what_is_before_a_gap_is_read_but_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let mut entries = alice.say_many(6);
    entries.drain(2..4);
    let refused = append_at(&mut store, alice.batch(entries.clone()), NOW).unwrap_err();
    assert_eq!(refused, ArchiveError::Gap { chain: alice.chain(), number: 5, head: 2 });
    assert_eq!(texts(&store), [] as [&str; 0], "nothing of it");
    entries[2].begins = true;
    must_append(&mut store, alice.batch(entries.clone()));
    assert_eq!(
        must_append(&mut store, alice.batch(entries)),
        [],
        "what is held does not begin anew"
    );
    drop(store);
    let mut store = must_open(dir.path());
    let chain = must_open_channel(&mut store).chains.pop().unwrap();
    assert_eq!((chain.base, chain.head), (4, 6));
    assert_eq!(texts(&store), ["message 1", "message 2", "message 5", "message 6"]);
    let range = |from| store.read_range(&channel(), &alice.chain(), from, 1 << 20).unwrap().len();
    assert_eq!([1, 2, 4, 5].map(range), [0, 0, 0, 2]);
}

#[test]
fn what_is_no_message_is_kept_and_served_but_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    (alice.number, alice.clock) = (1, 1);
    let unknown = alice.write(&[99, 0x80], Body::Unknown { kind: 99 });
    (alice.number, alice.clock) = (2, 2);
    let unreadable = alice.write(&[], Body::Unreadable);
    let said = alice.say("shown");
    let events = must_append(&mut store, alice.batch(vec![unknown, unreadable, said]));
    assert_eq!(events.len(), 1);
    assert_eq!(texts(&store), ["shown"]);
    assert_eq!(store.read_range(&channel(), &alice.chain(), 1, 1 << 20).unwrap().len(), 3);
}

#[test]
fn a_proof_that_an_author_forked_is_kept_and_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut mallory = Author::new(1, 1);
    let entries = mallory.say_many(1);
    let mut other = mallory.clone();
    let (first, second) = (mallory.say("yes").bytes, other.say("no").bytes);
    let proof = ForkProof { chain: mallory.chain(), number: 2, first, second };
    let batch = Batch { forks: vec![proof.clone()], ..mallory.batch(entries) };
    assert_eq!(must_append(&mut store, batch.clone()).len(), 2);
    assert_eq!(must_append(&mut store, batch), []);
    drop(store);
    let mut store = must_open(dir.path());
    assert_eq!(must_open_channel(&mut store).chains[0].forked, Some(proof));
    let (author, chain) = (mallory.certificate.author, mallory.chain());
    let forked = EventKind::Forked { channel: channel(), author, chain, number: 2 };
    assert_eq!(events(&store, 1, 9), [Event { seq: 2, kind: forked }]);
}

#[test]
fn of_several_proofs_of_a_fork_the_lowest_is_kept_and_each_lower_one_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let alice = Author::new(1, 1);
    let (mut one, mut other) = (alice.clone(), alice.clone());
    let sides = [one.say_many(3), { (1..=3).map(|_| other.say("otherwise")).collect() }];
    let mut prove = |number: usize| {
        let [first, second] = [0, 1].map(|side: usize| sides[side][number - 1].bytes.clone());
        let number = number as u64;
        let fork = ForkProof { chain: alice.chain(), number, first, second };
        let told = must_append(&mut store, Batch { forks: vec![fork], ..alice.batch(vec![]) });
        let state = must_open_channel(&mut store);
        let kept = state.chains[0].forked.as_ref().map(|fork| fork.number);
        (told.len(), kept)
    };
    assert_eq!(prove(2), (1, Some(2)));
    assert_eq!(prove(2), (0, Some(2)));
    assert_eq!(prove(3), (0, Some(2)));
    assert_eq!(prove(1), (1, Some(1)));
    drop(store);
    let state = must_open_channel(&mut must_open(dir.path()));
    assert_eq!(state.chains[0].forked.as_ref().map(|fork| fork.number), Some(1));
}

#[test]
fn a_disk_that_refuses_to_be_read_closes_no_channel() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let entry = alice.say("before");
    must_append(&mut store, alice.batch(vec![entry]));
    let rename = |store: &Store, from: &str, to: &str| {
        store.db.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    };
    let refused = store.write(|_| Err::<(), _>(rusqlite::Error::InvalidQuery));
    assert!(refused.is_err());
    for table in ["peers", "chains", "clients"] {
        rename(&store, table, "elsewhere");
        assert!(store.refresh().is_err(), "{table}");
        rename(&store, "elsewhere", table);
    }
    assert_eq!(store.refresh(), Ok(()));
    assert_eq!(texts(&store), ["before"]);
    let entry = alice.say("after");
    assert_eq!(must_append(&mut store, alice.batch(vec![entry])).len(), 1);
}

#[test]
fn a_chain_may_begin_in_its_middle() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let mut late = alice.say_many(12).split_off(10);
    let refused = append_at(&mut store, alice.batch(late.clone()), NOW).unwrap_err();
    assert_eq!(refused, ArchiveError::Gap { chain: alice.chain(), number: 11, head: 0 });
    late[0].begins = true;
    must_append(&mut store, alice.batch(late));
    let chain = must_open_channel(&mut store).chains.pop().unwrap();
    assert_eq!((chain.base, chain.head), (10, 12));
    let range = |from| store.read_range(&channel(), &alice.chain(), from, 1 << 20).unwrap().len();
    assert_eq!([1, 10, 11, 12, 13].map(range), [0, 0, 2, 1, 0]);
}

#[test]
fn a_range_ends_where_its_bytes_do_but_never_before_its_first_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let entries = alice.say_many(9);
    let bytes = entries[0].bytes.len();
    must_append(&mut store, alice.batch(entries));
    let range = |bytes| store.read_range(&channel(), &alice.chain(), 2, bytes).unwrap().len();
    assert_eq!([0, 1, bytes, 2 * bytes, 3 * bytes - 1].map(range), [1, 1, 1, 2, 2]);
}

#[test]
fn a_seeder_keeps_and_serves_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    store.open_channel(seeder(1), Retention::default()).unwrap();
    let mut alice = Author::new(1, 1);
    let mut entries = alice.say_many(2);
    entries.iter_mut().for_each(|entry| entry.body = None);
    assert_eq!(must_append(&mut store, alice.batch(entries)), []);
    assert_eq!(store.read_range(&channel(), &alice.chain(), 1, 1 << 20).unwrap().len(), 2);
    assert_eq!(newest(&store, 10), []);
}

#[test]
fn a_message_of_ours_is_found_by_its_id_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let (mut we, mut alice) = (Author::ours(1, 9), Author::new(1, 1));
    for author in [&mut we, &mut alice] {
        let entries = author.say_many(2);
        must_append(&mut store, author.batch(entries));
    }
    drop(store);
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let find = |id: MessageId| {
        store.find_said(&channel(), &we.peer(), &id).unwrap().map(|found| found.text)
    };
    assert_eq!(find(we.id(2)).as_deref(), Some("message 2"));
    assert_eq!(find(we.id(3)), None);
    assert_eq!(find(alice.id(1)), None, "not said by us");
}

#[test]
fn an_archive_has_a_device_of_its_own_until_it_is_copied() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = must_open(dir.path());
    let drawn = must_open_channel(&mut store).device;
    assert_eq!(must_open_channel(&mut store).device, drawn);
    assert_ne!(must_open_channel(&mut must_open(other.path())).device, drawn);
    // The log draws a new one when it was rolled back.
    let we = Author::ours(1, 9);
    let (device, entries) = (Some(DeviceId([9; 8])), we.clone().say_many(2));
    must_append(&mut store, Batch { device, ..we.batch(entries) });
    assert_eq!(must_open_channel(&mut store).device, DeviceId([9; 8]));
    store.copy_to(&other.path().join("copy")).unwrap();
    let taken = store.copy_to(&other.path().join("copy")).unwrap_err().to_string();
    assert!(taken.contains("exists"), "{taken}");
    drop(store);
    assert_eq!(must_open_channel(&mut must_open(dir.path())).device, DeviceId([9; 8]));

    std::fs::rename(other.path().join("copy"), other.path().join("archive")).unwrap();
    let mut copy = must_open(other.path());
    let state = must_open_channel(&mut copy);
    assert!(![DeviceId([9; 8]), drawn].contains(&state.device));
    assert_eq!(state.chains[0].head, 2);
    assert_eq!(texts(&copy), ["message 1", "message 2"]);
    drop(copy);
    assert_eq!(must_open_channel(&mut must_open(other.path())).device, state.device);
}

#[test]
fn a_forgotten_channel_is_gone_from_the_file_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    store.open_channel(member(2), Retention::default()).unwrap();
    let (alice, bob) = (Author::new(1, 1), Author::new(2, 2));
    must_append(&mut store, alice.batch(alice.clone().say_many(3)));
    must_append(&mut store, bob.batch(bob.clone().say_many(3)));
    forget(&mut store, &channel());
    drop(store);
    let mut store = must_open(dir.path());
    assert_eq!(must_open_channel(&mut store).chains, []);
    assert_eq!(texts(&store), [] as [&str; 0]);
    assert_eq!(store.open_channel(member(2), Retention::default()).unwrap().chains[0].head, 3);
    let told = events(&store, 0, 10);
    let seqs: Vec<_> = told.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [4, 5, 6], "numbers of events are not given again");
}

fn forget(store: &mut Store, id: &ChannelId) {
    store.forget_channel(id).unwrap();
    while store.forget_step().unwrap() {}
}

#[test]
fn what_is_forgotten_is_gone_from_the_files_before_they_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    store.open_channel(member(2), Retention::default()).unwrap();
    let (mut we, mut bob) = (Author::ours(1, 1), Author::new(2, 2));
    let entries = we.say_many(3000);
    must_append(&mut store, we.batch(entries));
    let entry = bob.say("stays");
    must_append(&mut store, bob.batch(vec![entry]));
    must_append(&mut store, receipts(&we, vec![receipt(&we, 10, 70)]));
    let rows = |store: &Store| -> Vec<Vec<u8>> {
        let query = "SELECT sealed FROM entries UNION ALL SELECT sealed FROM peers
             UNION ALL SELECT certificate FROM chains UNION ALL SELECT sealed FROM channels";
        let mut query = store.db.prepare(query).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    };
    let before = rows(&store);
    forget(&mut store, &channel());
    let left = rows(&store);
    assert_eq!(left.len(), 3, "an entry, a chain and a channel");
    let files: Vec<Vec<u8>> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    let holds = |row: &[u8]| {
        let part = &row[..24];
        files.iter().any(|file| file.windows(24).any(|window| window == part))
    };
    let gone: Vec<_> = before.iter().filter(|row| !left.contains(row)).step_by(50).collect();
    assert!(gone.len() > 50);
    assert_eq!(gone.iter().filter(|row| holds(row)).count(), 0);
    assert!(left.iter().all(|row| holds(row)), "the others are found by this");
    // Who comes after them is not taken for one of them.
    must_open_channel(&mut store);
    let mut carol = Author::ours(1, 3);
    let entries = carol.say_many(2);
    must_append(&mut store, carol.batch(entries));
    assert_eq!(must_open_channel(&mut store).receipts, []);
}

#[test]
fn a_channel_that_was_half_forgotten_is_gone_and_the_rest_of_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let (mut alice, mut bob) = (Author::new(1, 1), Author::new(1, 2));
    for author in [&mut alice, &mut bob] {
        let entries = author.say_many(2500);
        must_append(&mut store, author.batch(entries));
    }
    store.forget_channel(&channel()).unwrap();
    assert!(store.forget_step().unwrap());
    drop(store);
    let mut store = must_open(dir.path());
    assert_eq!(must_open_channel(&mut store).chains, []);
    let mut carol = Author::new(1, 3);
    let entry = carol.say("new here");
    must_append(&mut store, carol.batch(vec![entry]));
    while store.forget_step().unwrap() {}
    assert_eq!(texts(&store), ["new here"]);
    let count: i64 =
        store.db.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn a_seeder_that_becomes_a_member_reads_what_it_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    store.open_channel(seeder(1), Retention::default()).unwrap();
    let mut alice = Author::new(1, 1);
    let mut entries = alice.say_many(1200);
    alice.number += 1;
    alice.clock += 1;
    entries.push(alice.write(&[77, 0x80], Body::Unknown { kind: 77 }));
    entries.push(alice.say("the last one"));
    let blind = |entry: Accepted| Accepted { body: None, ..entry };
    let batch = alice.batch(entries.into_iter().map(blind).collect());
    assert_eq!(must_append(&mut store, batch), []);
    let read = |store: &mut Store| {
        let read = store.fulfil(&[Wish::ReadKept(channel())], NOW).pop().unwrap().unwrap();
        read.events.len()
    };
    assert_eq!(read(&mut store), 0, "it cannot read");
    store.close_channel(&channel()).unwrap();
    must_open_channel(&mut store);
    let steps: Vec<usize> = (0..4).map(|_| read(&mut store)).collect();
    assert_eq!(steps, [500, 500, 201, 0]);
    assert_eq!(newest(&store, 1)[0].text, "the last one");
    assert_eq!(events(&store, 0, 1000).len(), 1000);
    assert!(store.find_said(&channel(), &alice.peer(), &alice.id(7)).unwrap().is_some());
    while store.index_step().unwrap() {}
    let query = super::super::index::Query::parse("1200").unwrap();
    let found = store.search(&channel(), &query, None, 10).unwrap().unwrap();
    assert_eq!(found.messages.len(), 1);
    drop(store);
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    assert_eq!(read(&mut store), 0);
}

#[test]
fn a_member_that_becomes_a_seeder_is_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let entries = alice.say_many(3);
    must_append(&mut store, alice.batch(entries));
    drop(store);
    let mut store = must_open(dir.path());
    store.open_channel(seeder(1), Retention::default()).unwrap();
    assert_eq!(texts(&store), [] as [&str; 0]);
    let told = events(&store, 0, 10);
    assert!(told.iter().all(|event| event.kind == EventKind::NotOpen(channel())), "{told:?}");
    assert!(!Paths::new(dir.path()).suspect().exists());
}

/// The same message as `other` has said under a number, said again.
fn say_again(author: &mut Author, other: &Author, number: u64, clock: u64) -> Accepted {
    author.number += 1;
    author.clock = clock;
    let say = Say {
        id: other.id(number),
        unix_ms: 1000,
        text: format!("message {number}"),
        after: Vec::new(),
    };
    author.write(&say.encode(), Body::Say(say))
}

#[test]
fn a_message_that_was_said_again_in_another_chain_is_shown_and_told_once() {
    for is_early in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = must_open(dir.path());
        must_open_channel(&mut store);
        let mut we = Author::ours(1, 9);
        let first: Vec<_> = (1..=3).map(|n| we.say_at(100 + n, &format!("message {n}"))).collect();
        let mut again = Author::ours(1, 9);
        again.certificate = Certificate::sign(&again.keys, we.peer(), DeviceId([8; 8])).unwrap();
        again.previous = chain_start(&again.chain());
        let clock = if is_early { 50 } else { 200 };
        let entry = say_again(&mut again, &we, 2, clock);
        let told = must_append(&mut store, we.batch(first));
        assert_eq!(told.len(), 3);
        assert_eq!(must_append(&mut store, again.batch(vec![entry])), []);
        let expected = if is_early {
            ["message 2", "message 1", "message 3"]
        } else {
            ["message 1", "message 2", "message 3"]
        };
        assert_eq!(texts(&store), expected);
        while store.index_step().unwrap() {}
        let query = super::super::index::Query::parse("2").unwrap();
        let found = store.search(&channel(), &query, None, 10).unwrap().unwrap();
        assert_eq!(found.messages.len(), 1);
        // Whoever has the second one has the message.
        let had = receipts(&we, vec![receipt(&again, 1, 70)]);
        let told = must_append(&mut store, had);
        let [Event { kind: EventKind::Delivered { id, .. }, .. }] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(*id, we.id(2));
        // Somebody else may use the same id.
        let mut alice = Author::new(1, 1);
        let entry = say_again(&mut alice, &we, 2, 300);
        assert_eq!(must_append(&mut store, alice.batch(vec![entry])).len(), 1);
    }
}

#[test]
fn another_entry_under_the_number_of_the_last_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut we = Author::ours(1, 9);
    let mut other = we.clone();
    let entry = we.say("this one");
    must_append(&mut store, we.batch(vec![entry.clone()]));
    must_append(&mut store, we.batch(vec![entry]));
    let entry = other.say("not this one");
    let refused = append_at(&mut store, other.batch(vec![entry]), NOW).unwrap_err();
    assert_eq!(refused, ArchiveError::OtherEntry { chain: we.chain(), number: 1 });
    assert_eq!(texts(&store), ["this one"]);
}

#[test]
fn a_full_disk_takes_nothing_and_everything_once_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    must_append(&mut store, alice.batch(vec![alice.clone().say("before")]));
    alice.say("before");
    let pages: i64 = store.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.db.pragma_update(None, "max_page_count", pages).unwrap();
    let large: Vec<_> = (0..20).map(|_| alice.say(&"x".repeat(1000))).collect();
    for _ in 0..3 {
        let error = append_at(&mut store, alice.batch(large.clone()), NOW).unwrap_err();
        assert!(error.to_string().contains("free some space"), "{error}");
        assert_eq!(texts(&store), ["before"]);
    }
    store.db.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    let events = must_append(&mut store, alice.batch(large));
    assert_eq!(
        events.iter().map(|event| event.seq).collect::<Vec<_>>(),
        (2..22).collect::<Vec<_>>()
    );
    assert_eq!(texts(&store).len(), 21);
}

//! Files that are not what was written.

use std::fs;

use super::*;
use crate::archive::mend::Mender;

/// An archive with 60 messages of each of two authors, closed, and its authors.
fn written(dir: &Path) -> [Author; 2] {
    let mut store = must_open(dir);
    must_open_channel(&mut store);
    let mut authors = [Author::ours(1, 1), Author::new(1, 2)];
    for _ in 0..20 {
        for author in &mut authors {
            let entries = author.say_many(3);
            must_append(&mut store, author.batch(entries));
        }
    }
    let had = receipts(&authors[0], vec![receipt(&authors[0], 10, 70)]);
    must_append(&mut store, had);
    store.fulfil(&[Wish::Acknowledge { client: "bot".to_owned(), seq: 9 }], NOW);
    authors
}

/// Who we are.
fn us() -> PeerId {
    Author::ours(1, 1).peer()
}

/// Opens the archive as the actor does; says how many entries were lost where it was mended.
fn open_or_mend(dir: &Path) -> Result<(Store, Option<u64>), ArchiveError> {
    let paths = Paths::new(dir);
    paths.finish_mending()?;
    match open(dir) {
        Ok(store) => Ok((store, None)),
        Err(error) if error.is_damage() => {
            let mut mender = Mender::begin(paths, &storage_key(), us())?;
            while mender.step()? {}
            let lost = mender.tally.lost;
            mender.swap()?.expect("the damaged one is set aside");
            Ok((open(dir)?, Some(lost)))
        }
        Err(error) => Err(error),
    }
}

fn set_aside(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.contains(".damaged-") && !name.ends_with("-wal"))
        .count()
}

/// Opens a damaged archive, uses it as a node does, opens it again; says how many messages there are
/// at the end. Whatever is read must be what was written, and what was damaged must be kept.
#[track_caller]
fn survive(dir: &Path, what: &str) -> usize {
    let original = fs::read(dir.join("archive")).unwrap();
    let (mut was_mended, mut count) = (false, 0);
    for round in 0..2 {
        let (mut store, lost) =
            open_or_mend(dir).unwrap_or_else(|error| panic!("{what}, round {round}: {error}"));
        was_mended |= lost.is_some();
        // A little more than there is: what counts wrong must not make it prune.
        let retention = Retention { count: Some(130), bytes: Some(60_000), age: None };
        let Ok(state) = store.open_channel(member(1), retention) else { continue };
        let Ok(page) = store.read_page(&channel(), From::Newest, 1000) else { continue };
        count = page.len();
        assert!(page.is_sorted_by_key(|message| message.position), "{what}");
        for message in &page {
            let number = message.position.number;
            assert_eq!(message.text, format!("message {number}"), "{what}");
        }
        for chain in &state.chains {
            let id = chain.certificate.chain(&channel());
            let entries = store.read_range(&channel(), &id, chain.base + 1, 1 << 20);
            if let Ok(last) = entries.as_ref().map(|entries| entries.last().cloned())
                && let Some(last) = last
                && was_mended
            {
                let last = Entry::decode(&channel(), last).unwrap();
                assert_eq!((last.head.number, last.hash), (chain.head, chain.head_hash), "{what}");
            }
        }
        let _ = store.list_events(0, 1000, |_| false);
        while store.index_step().unwrap_or(false) {}
        let mut carol = Author::new(1, 30 + round);
        let entry = carol.say("message 1");
        if let Ok(done) = append_at(&mut store, carol.batch(vec![entry]), NOW) {
            assert_eq!(done.pruned, [], "{what}");
        }
    }
    // A mended archive is whole.
    if was_mended {
        assert!(set_aside(dir) > 0, "{what}");
        let (mut store, _) = open_or_mend(dir).unwrap();
        must_open_channel(&mut store);
        let said: String =
            store.db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(said, "ok", "{what}");
        let aside = fs::read(dir.join("archive.damaged-1")).unwrap();
        if !dir.join("archive.damaged-2").exists() && count < 120 {
            assert_eq!(aside.len(), original.len(), "{what}");
        }
        let mut we = Author::ours(1, 40);
        let entry = we.say("message 1");
        must_append(&mut store, we.batch(vec![entry]));
    }
    count
}

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(dir.join("archive"), copy.path().join("archive")).unwrap();
    copy
}

#[test]
fn a_truncated_archive_is_said_to_be_so_and_what_is_left_is_read() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let bytes = fs::read(dir.path().join("archive")).unwrap();
    let mut read = Vec::new();
    for len in [
        0,
        1,
        99,
        100,
        4095,
        4096,
        bytes.len() / 4,
        bytes.len() / 2,
        bytes.len() - 4096,
        bytes.len() - 1,
    ] {
        let copy = copy_of(dir.path());
        fs::write(copy.path().join("archive"), &bytes[..len]).unwrap();
        let error = open(copy.path()).unwrap_err();
        assert!(
            error.is_damage() && error.to_string().contains("/archive is damaged"),
            "{len}: {error}"
        );
        read.push(survive(copy.path(), &format!("{len} bytes")));
    }
    assert!(read.is_sorted(), "{read:?}");
    assert!(*read.last().unwrap() > 100, "{read:?}");
}

#[test]
fn no_flipped_bit_loses_what_can_be_read_or_invents_what_was_not_said() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let bytes = fs::read(dir.path().join("archive")).unwrap();
    let mut rng = Rng::from_seed([5; 32]);
    let mut places: Vec<usize> = (0..100).collect();
    let len = u64::try_from(bytes.len()).unwrap();
    places.extend((0..150).map(|_| usize::try_from(rng.below(len)).unwrap()));
    let mut kept = 0;
    for place in &places {
        let copy = copy_of(dir.path());
        let mut wrong = bytes.clone();
        wrong[*place] ^= 1 << (place % 8);
        fs::write(copy.path().join("archive"), wrong).unwrap();
        match open(copy.path()).err() {
            // The version's place in the header.
            Some(ArchiveError::Newer { .. }) => {}
            Some(_) | None => {
                kept += usize::from(survive(copy.path(), &format!("byte {place}")) > 60)
            }
        }
    }
    // A bit in the header may cost all that SQLite can read; elsewhere hardly anything.
    assert!(kept > 170, "{kept} of {}", places.len());
}

#[test]
fn a_page_of_noise_costs_what_was_on_it() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let bytes = fs::read(dir.path().join("archive")).unwrap();
    let (mut pages, mut cheap) = (0, 0);
    for page in 1..bytes.len() / 4096 {
        let copy = copy_of(dir.path());
        let mut wrong = bytes.clone();
        Rng::from_seed([6; 32]).fill(&mut wrong[page * 4096..(page + 1) * 4096]);
        fs::write(copy.path().join("archive"), wrong).unwrap();
        let count = survive(copy.path(), &format!("page {page}"));
        (pages, cheap) = (pages + 1, cheap + usize::from(count >= 100));
    }
    // The few pages that lead to the others, or say whose the chains are, cost more.
    assert!(cheap * 4 >= pages * 3, "{cheap} of {pages}");
}

#[test]
fn mending_keeps_events_clients_and_receipts_and_draws_a_new_device() {
    let dir = tempfile::tempdir().unwrap();
    let authors = written(dir.path());
    let mut store = must_open(dir.path());
    let before = must_open_channel(&mut store);
    let before_events = events(&store, 0, 1000);
    drop(store);
    Paths::new(dir.path()).suspect_damage();
    let refused = open(dir.path()).unwrap_err();
    assert!(refused.is_damage(), "{refused}");
    let (mut store, lost) = open_or_mend(dir.path()).unwrap();
    assert_eq!(lost, Some(0));
    let after = must_open_channel(&mut store);
    assert_ne!(after.device, before.device);
    assert_eq!(after.receipts, before.receipts);
    let sorted = |state: &ChannelState| {
        let mut chains = state.chains.clone();
        chains.sort_by_key(|chain| chain.certificate.author);
        chains
    };
    assert_eq!(sorted(&after), sorted(&before));
    assert_eq!(events(&store, 0, 1000), before_events);
    assert_eq!(store.acknowledged("bot"), Some(9));
    assert!(store.find_said(&channel(), &authors[0].peer(), &authors[0].id(7)).unwrap().is_some());
    let mut bob = authors[1].clone();
    let entry = bob.say("message 61");
    let told = must_append(&mut store, bob.batch(vec![entry]));
    assert_eq!(told[0].seq, before_events.len() as u64 + 1, "numbers go on");
}

#[test]
fn a_row_that_does_not_open_is_skipped_and_its_chain_is_mended_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let authors = written(dir.path());
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let chain = store.opened(&channel()).unwrap().chains[&authors[1].chain()].row;
    let broken =
        "UPDATE entries SET sealed = zeroblob(length(sealed)) WHERE chain = ? AND number = 30";
    assert_eq!(store.db.execute(broken, [chain]).unwrap(), 1);
    assert_eq!(newest(&store, 1000).len(), 119);
    assert_eq!(store.read_range(&channel(), &authors[1].chain(), 1, 1 << 20).unwrap().len(), 29);
    drop(store);

    let (mut store, lost) = open_or_mend(dir.path()).unwrap();
    assert_eq!(lost, Some(1));
    let state = must_open_channel(&mut store);
    let found = state.chains.iter().find(|chain| chain.certificate == authors[1].certificate);
    assert_eq!(found.map(|chain| (chain.base, chain.head)), Some((0, 29)));
    assert_eq!(newest(&store, 1000).len(), 119, "what is behind the hole can be read");
    assert_eq!(store.read_range(&channel(), &authors[1].chain(), 29, 1 << 20).unwrap().len(), 1);
    // What comes from others fills the hole; what was behind it is not told again.
    let mut bob = Author::new(1, 2);
    let again: Vec<Accepted> = (0..20).flat_map(|_| bob.say_many(3)).collect();
    let told = must_append(&mut store, bob.batch(again[29..].to_vec()));
    let [Event { kind: EventKind::Message(message), .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(message.text, "message 30");
    let entry = bob.say("message 61");
    assert_eq!(must_append(&mut store, bob.batch(vec![entry])).len(), 1);
    drop(store);
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    assert_eq!(newest(&store, 1000).len(), 121);
    assert_eq!(store.read_range(&channel(), &authors[1].chain(), 1, 1 << 20).unwrap().len(), 61);
    let chain = &store.opened(&channel()).unwrap().chains[&authors[1].chain()];
    assert_eq!((chain.count, chain.has_loose), (61, false));
    assert_eq!(set_aside(dir.path()), 1);
}

#[test]
fn a_crash_while_an_archive_is_mended_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let paths = Paths::new(dir.path());
    paths.suspect_damage();
    // In the middle of copying.
    let mut mender = Mender::begin(paths.clone(), &storage_key(), us()).unwrap();
    mender.step().unwrap();
    drop(mender);
    // At its end, before the two change places.
    let mut mender = Mender::begin(paths.clone(), &storage_key(), us()).unwrap();
    while mender.step().unwrap() {}
    drop(mender);
    assert!(paths.mended().exists());
    // Between the two renames.
    paths.set_aside().unwrap();
    let (mut store, lost) = open_or_mend(dir.path()).unwrap();
    must_open_channel(&mut store);
    assert_eq!((lost, newest(&store, 1000).len(), set_aside(dir.path())), (None, 120, 1));
    assert!(!paths.suspect().exists());
}

#[test]
fn an_archive_of_another_profile_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let before = fs::read(dir.path().join("archive")).unwrap();
    let refused = Store::open(Paths::new(dir.path()), &Secret::new([1; 32])).unwrap_err();
    assert!(matches!(refused, ArchiveError::WrongKey { .. }), "{refused}");
    assert!(refused.to_string().contains("another profile"), "{refused}");
    assert_eq!(fs::read(dir.path().join("archive")).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_archive_of_a_later_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let store = must_open(dir.path());
    store.db.pragma_update(None, "user_version", 2).unwrap();
    drop(store);
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, ArchiveError::Newer { version: 2, .. }), "{refused}");
}

#[test]
fn what_is_no_archive_is_damage_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    for content in [&b"a letter to my aunt"[..], &[0; 8192]] {
        fs::write(dir.path().join("archive"), content).unwrap();
        let (mut store, _) = open_or_mend(dir.path()).unwrap();
        must_open_channel(&mut store);
        drop(store);
    }
    let aside = fs::read(dir.path().join("archive.damaged-1")).unwrap();
    assert_eq!(aside, b"a letter to my aunt");
    assert_eq!(set_aside(dir.path()), 2);
    // The file is gone and its log is there.
    fs::rename(dir.path().join("archive"), dir.path().join("archive-wal")).unwrap();
    assert!(open(dir.path()).unwrap_err().to_string().contains("missing"));
}

#[test]
fn numbers_of_events_do_not_begin_anew_where_the_old_ones_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    fs::write(dir.path().join("archive"), b"").unwrap();
    let (mut store, _) = open_or_mend(dir.path()).unwrap();
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let entry = alice.say("anew");
    let told = must_append(&mut store, alice.batch(vec![entry]));
    assert!(told[0].seq > 1_000_000, "{told:?}");
}

#[test]
fn what_speaks_of_a_row_that_is_lost_does_not_come_to_speak_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let [we, alice] = written(dir.path());
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    // Alice's chain has forked, and her certificate is lost; so is the only peer.
    let (mut one, mut other) = (alice.clone(), alice.clone());
    let (first, second) = (one.say("one"), other.say("other"));
    let fork =
        ForkProof { chain: alice.chain(), number: 61, first: first.bytes, second: second.bytes };
    must_append(&mut store, Batch { forks: vec![fork], ..alice.batch(Vec::new()) });
    let chain = store.opened(&channel()).unwrap().chains[&alice.chain()].row;
    let break_it = "UPDATE chains SET certificate = zeroblob(100) WHERE id = ?";
    store.db.execute(break_it, [chain]).unwrap();
    store.db.execute("UPDATE peers SET sealed = zeroblob(72)", []).unwrap();
    drop(store);
    Paths::new(dir.path()).suspect_damage();

    let (mut store, lost) = open_or_mend(dir.path()).unwrap();
    assert_eq!(lost, Some(60));
    assert_eq!(must_open_channel(&mut store).receipts, []);
    let mut carol = Author::new(1, 3);
    let entries = carol.say_many(12);
    must_append(&mut store, carol.batch(entries));
    must_append(&mut store, receipts(&we, vec![receipt(&we, 2, 71)]));
    drop(store);
    let mut store = must_open(dir.path());
    let state = must_open_channel(&mut store);
    assert!(state.chains.iter().all(|chain| chain.forked.is_none()), "{:?}", state.chains);
    let had: Vec<_> = state.receipts.iter().map(|had| (had.by.0[0], had.number)).collect();
    assert_eq!(had, [(71, 2)]);
    for event in events(&store, 0, 1000) {
        match event.kind {
            EventKind::Delivered { by, .. } => assert_eq!(by.0[0], 71),
            EventKind::Forked { .. } => panic!("{event:?}"),
            EventKind::Message(_) | EventKind::Gone | EventKind::NotOpen(_) => {}
        }
    }
}

#[test]
fn a_proof_of_another_chain_silences_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let [_, alice] = written(dir.path());
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let (mut one, mut other) = (Author::new(1, 7), Author::new(1, 7));
    let proof = ForkProof {
        chain: one.chain(),
        number: 1,
        first: one.say("one").bytes,
        second: other.say("other").bytes,
    };
    let row = store.opened(&channel()).unwrap().chains[&alice.chain()].row;
    let plain = super::super::store::write_fork(&proof);
    let sealed = store.sealer.seal(super::super::seal::Table::Forks, &[row, 1], &plain);
    let insert = "INSERT INTO forks VALUES (?, 1, ?)";
    store.db.execute(insert, rusqlite::params![row, sealed]).unwrap();
    let state = must_open_channel(&mut store);
    assert!(state.chains.iter().all(|chain| chain.forked.is_none()));
}

#[test]
fn a_row_that_is_there_twice_does_not_keep_an_archive_from_being_mended() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let store = must_open(dir.path());
    // As after a page that was written to two places.
    store
        .db
        .execute_batch(
            "DROP INDEX entries_of;
             INSERT INTO entries SELECT id + 1000, chain, number, channel, clock, stored, shown,
                 said, sealed FROM entries WHERE id <= 30;
             CREATE INDEX entries_of ON entries (chain, number);
             CREATE TABLE twice (id, sealed); INSERT INTO twice SELECT * FROM peers;
             INSERT INTO twice SELECT * FROM peers; DROP TABLE peers;
             ALTER TABLE twice RENAME TO peers;",
        )
        .unwrap();
    drop(store);
    Paths::new(dir.path()).suspect_damage();
    let (mut store, lost) = open_or_mend(dir.path()).unwrap();
    assert_eq!(lost, Some(0));
    let state = must_open_channel(&mut store);
    assert_eq!(state.receipts.len(), 1);
    assert_eq!(newest(&store, 1000).len(), 120);
}

#[test]
fn a_counter_that_is_wrong_is_mended() {
    for (counter, value) in [(1, 5), (1, i64::MAX), (1, -1), (2, 3), (2, 1 << 62), (3, 0)] {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let store = must_open(dir.path());
        let update = "UPDATE counters SET value = ? WHERE name = ?";
        store.db.execute(update, [value, counter]).unwrap();
        drop(store);
        let what = format!("counter {counter} is {value}");
        let error = open(dir.path()).unwrap_err();
        assert!(error.is_damage(), "{what}: {error}");
        assert_eq!(survive(dir.path(), &what), 121, "{what}");
    }
}

#[test]
fn a_wrong_place_of_a_client_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let store = must_open(dir.path());
    store.db.execute("UPDATE clients SET seq = 100", []).unwrap();
    drop(store);
    assert_eq!(must_open(dir.path()).acknowledged("bot"), None);
}

#[test]
fn a_chain_that_counts_wrong_is_mended_and_not_pruned() {
    for column in ["count", "bytes"] {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let store = must_open(dir.path());
        let flip = format!("UPDATE chains SET {column} = {column} + (1 << 40) WHERE id = 2");
        assert_eq!(store.db.execute(&flip, []).unwrap(), 1);
        drop(store);
        assert_eq!(survive(dir.path(), column), 120, "{column}");
    }
}

#[test]
fn an_entry_that_is_missing_is_noticed_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let [_, alice] = written(dir.path());
    for number in [30, 60] {
        let copy = copy_of(dir.path());
        let mut store = must_open(copy.path());
        must_open_channel(&mut store);
        let chain = store.opened(&channel()).unwrap().chains[&alice.chain()].row;
        let delete = "DELETE FROM entries WHERE chain = ? AND number = ?";
        store.db.execute(delete, [chain, number]).unwrap();
        let range = store.read_range(&channel(), &alice.chain(), 1, 1 << 20).unwrap();
        assert_eq!(range.len() as i64, number - 1);
        assert!(Paths::new(copy.path()).suspect().exists(), "{number}");
        drop(store);
        let (_, lost) = open_or_mend(copy.path()).unwrap();
        assert_eq!(lost, Some(1), "{number}");
    }
}

#[test]
fn all_that_is_readable_around_a_large_hole_is_kept_and_what_is_not_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let entries = alice.say_many(4000);
    must_append(&mut store, alice.batch(entries));
    drop(store);
    let path = dir.path().join("archive");
    let mut bytes = fs::read(&path).unwrap();
    let (pages, half) = (bytes.len() / 4096, bytes.len() / 8192 * 4096);
    // Longer than the mender is patient.
    bytes[half..half + pages / 10 * 4096].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let (mut store, lost) = open_or_mend(dir.path()).unwrap();
    must_open_channel(&mut store);
    let count: i64 =
        store.db.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(lost, u64::try_from(4000 - count).ok());
    assert!((3400..4000).contains(&count), "{count} of 4000 where a tenth is noise");
    assert!(newest(&store, 1)[0].text == "message 4000");
}

#[test]
fn what_we_said_behind_a_hole_is_still_given_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let [we, bob] = written(dir.path());
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    for (author, number) in [(&we, 30), (&bob, 1), (&bob, 40)] {
        let chain = store.opened(&channel()).unwrap().chains[&author.chain()].row;
        let delete = "DELETE FROM entries WHERE chain = ? AND number = ?";
        store.db.execute(delete, [chain, number]).unwrap();
    }
    drop(store);
    Paths::new(dir.path()).suspect_damage();
    let (mut store, lost) = open_or_mend(dir.path()).unwrap();
    assert_eq!(lost, Some(3));
    must_open_channel(&mut store);
    let held = |store: &Store, author: &Author| {
        let state = &store.opened(&channel()).unwrap().chains[&author.chain()].state;
        (state.base, state.head)
    };
    assert_eq!(held(&store, &we), (30, 60));
    assert_eq!(held(&store, &bob), (0, 0), "it comes anew, as its first entry is missing");
    assert_eq!(newest(&store, 1000).len(), 117);
    let mut again = Author::new(1, 2);
    let entries: Vec<Accepted> = (0..20).flat_map(|_| again.say_many(3)).collect();
    assert_eq!(must_append(&mut store, again.batch(entries)).len(), 2);
    assert_eq!(held(&store, &bob), (0, 60));
    // What is loose is pruned like all else.
    drop(store);
    let mut store = must_open(dir.path());
    let retention = Retention { count: Some(10), ..Retention::default() };
    store.open_channel(member(1), retention).unwrap();
    while store.prune_step(&channel(), NOW).unwrap().unfinished {}
    let kept: i64 =
        store.db.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 10);
}

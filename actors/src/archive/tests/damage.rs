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

/// Opens the archive as the actor does; says how many entries were lost where it was mended.
fn open_or_mend(dir: &Path) -> Result<(Store, Option<u64>), ArchiveError> {
    let paths = Paths::new(dir);
    paths.finish_mending()?;
    match open(dir) {
        Ok(store) => Ok((store, None)),
        Err(error) if error.is_damage() => {
            let mut mender = Mender::begin(paths, &storage_key())?;
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
    assert_eq!(found.map(|chain| (chain.base, chain.head)), Some((30, 60)));
    assert_eq!(newest(&store, 1000).len(), 119, "what is before the hole can be read");
    assert_eq!(store.read_range(&channel(), &authors[1].chain(), 31, 1 << 20).unwrap().len(), 30);
    assert_eq!(set_aside(dir.path()), 1);
}

#[test]
fn a_crash_while_an_archive_is_mended_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let paths = Paths::new(dir.path());
    paths.suspect_damage();
    // In the middle of copying.
    let mut mender = Mender::begin(paths.clone(), &storage_key()).unwrap();
    mender.step().unwrap();
    drop(mender);
    // At its end, before the two change places.
    let mut mender = Mender::begin(paths.clone(), &storage_key()).unwrap();
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

//! How much is kept.

use std::time::Duration;

use super::*;

fn opened(dir: &Path, retention: Retention) -> Store {
    let mut store = must_open(dir);
    store.open_channel(member(1), retention).unwrap();
    store
}

fn held(store: &Store, author: &Author) -> (u64, u64) {
    let state = &store.opened(&channel()).unwrap().chains[&author.chain()].state;
    let rows = store.read_range(&channel(), &author.chain(), state.base + 1, 1 << 30).unwrap();
    assert_eq!(rows.len() as u64, state.head - state.base, "a chain without gaps");
    (state.base, state.head)
}

#[test]
fn a_channel_keeps_so_many_entries_and_says_from_where_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path(), Retention { count: Some(100), ..Retention::default() });
    let mut alice = Author::new(1, 1);
    let entries = alice.say_many(100);
    let done = append_at(&mut store, alice.batch(entries), NOW).unwrap();
    assert_eq!(done.pruned, []);
    let entry = alice.say("one more");
    let done = append_at(&mut store, alice.batch(vec![entry]), NOW).unwrap();
    // 100/64 more than the one are made free.
    let base = 2;
    assert_eq!(
        done.pruned,
        [super::super::Pruned { channel: channel(), chain: alice.chain(), base }]
    );
    assert_eq!(held(&store, &alice), (2, 101));
    drop(store);
    assert_eq!(must_open_channel(&mut must_open(dir.path())).chains[0].base, 2);
}

#[test]
fn a_flood_pushes_itself_out_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path(), Retention { count: Some(200), ..Retention::default() });
    let (mut alice, mut bob, mut mallory) =
        (Author::new(1, 1), Author::new(1, 2), Author::new(1, 3));
    for author in [&mut alice, &mut bob] {
        let entries = author.say_many(20);
        must_append(&mut store, author.batch(entries));
    }
    let flood = mallory.say_many(1000);
    must_append(&mut store, mallory.batch(flood));
    assert_eq!(held(&store, &alice), (0, 20));
    assert_eq!(held(&store, &bob), (0, 20));
    assert_eq!(held(&store, &mallory), (843, 1000));
}

#[test]
fn chains_of_one_length_are_pruned_alike() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path(), Retention { count: Some(60), ..Retention::default() });
    let mut authors = [Author::new(1, 1), Author::new(1, 2), Author::new(1, 3)];
    let mut batch = authors[0].batch(Vec::new());
    for author in &mut authors {
        batch.chains.push(author.certificate);
        batch.entries.extend(author.say_many(40));
    }
    must_append(&mut store, batch);
    let kept = authors.map(|author| held(&store, &author)).map(|(base, head)| head - base);
    assert_eq!(kept.iter().sum::<u64>(), 60);
    assert!(kept.iter().all(|kept| (19..=21).contains(kept)), "{kept:?}");
}

#[test]
fn a_channel_keeps_so_many_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path(), Retention { bytes: Some(100_000), ..Retention::default() });
    let (mut alice, mut mallory) = (Author::new(1, 1), Author::new(1, 2));
    // Fewer entries, but more of them to keep.
    let small = alice.say_many(50);
    must_append(&mut store, alice.batch(small));
    for _ in 0..10 {
        let large = (0..3).map(|_| mallory.say(&"z".repeat(10_000))).collect();
        must_append(&mut store, mallory.batch(large));
    }
    let bytes: i64 = store
        .db
        .query_row("SELECT sum(length(sealed)) FROM entries", [], |row| row.get(0))
        .unwrap();
    assert!((80_000..=100_000).contains(&bytes), "{bytes}");
    assert_eq!(held(&store, &alice), (0, 50));
    assert!(held(&store, &mallory).0 > 20);
}

#[test]
fn a_channel_keeps_for_so_long_whatever_the_author_says_of_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let age = Some(Duration::from_secs(3600));
    let mut store = opened(dir.path(), Retention { age, ..Retention::default() });
    let (mut alice, mut bob) = (Author::new(1, 1), Author::new(1, 2));
    for (now, count) in [(NOW, 3), (NOW + 1800, 4)] {
        for author in [&mut alice, &mut bob] {
            let entries = author.say_many(count);
            append_at(&mut store, author.batch(entries), now).unwrap();
        }
    }
    assert_eq!(store.prune_step(&channel(), NOW + 3600).unwrap().pruned, []);
    assert_eq!(store.prune_step(&channel(), NOW + 3601).unwrap().pruned.len(), 2);
    assert_eq!(held(&store, &alice), (3, 7));
    store.prune_step(&channel(), NOW + 999_999).unwrap();
    assert_eq!(held(&store, &bob), (7, 7));
    drop(store);
    // A chain of which nothing is held any more goes on all the same.
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let entry = bob.say("after a long silence");
    must_append(&mut store, bob.batch(vec![entry]));
    assert_eq!(texts(&store), ["after a long silence"]);
}

#[test]
fn much_is_pruned_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let entries = alice.say_many(5000);
    must_append(&mut store, alice.batch(entries));
    let retention = Retention { count: Some(64), ..Retention::default() };
    store.open_channel(member(1), retention).unwrap();
    let steps: Vec<bool> =
        (0..3).map(|_| store.prune_step(&channel(), NOW).unwrap().unfinished).collect();
    assert_eq!(steps, [true, true, false]);
    assert_eq!(held(&store, &alice), (4937, 5000));
}

//! Pages and searches in the one order.

use super::*;
use crate::archive::index::Query;

/// Five authors, many of whose entries have equal clocks, stored in an order of their own.
fn crowd(dir: &Path) -> (Store, Vec<Position>) {
    let mut store = must_open(dir);
    must_open_channel(&mut store);
    let mut positions = Vec::new();
    for name in [3, 1, 5, 2, 4] {
        let mut author = Author::new(1, name);
        let clocks = (0..12).map(|at| 1 + at * u64::from(name % 3 + 1));
        let entries: Vec<_> =
            clocks.map(|clock| author.say_at(clock, &format!("{name} at {clock}"))).collect();
        positions.extend(entries.iter().map(Accepted::position));
        must_append(&mut store, author.batch(entries));
    }
    positions.sort_unstable();
    (store, positions)
}

#[test]
fn pages_of_any_length_in_both_directions_are_the_one_order_across_equal_clocks() {
    let dir = tempfile::tempdir().unwrap();
    let (store, expected) = crowd(dir.path());
    for limit in 1..=expected.len() + 1 {
        let (mut back, mut from) = (Vec::new(), From::Newest);
        loop {
            let page = store.read_page(&channel(), from, limit).unwrap();
            let Some(first) = page.first() else { break };
            from = From::Before(first.position);
            back.splice(0..0, page.iter().map(|message| message.position));
        }
        assert_eq!(back, expected, "back, {limit} at a time");
        let (mut forth, mut last) = (vec![expected[0]], expected[0]);
        loop {
            let page = store.read_page(&channel(), From::After(last), limit).unwrap();
            let Some(newest) = page.last() else { break };
            last = newest.position;
            forth.extend(page.iter().map(|message| message.position));
        }
        assert_eq!(forth, expected, "forth, {limit} at a time");
    }
    assert_eq!(store.read_page(&channel(), From::Newest, 0).unwrap(), []);
}

#[test]
fn an_answer_is_bounded_in_messages_and_in_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let entries: Vec<_> = (0..160).map(|_| alice.say(&"y".repeat(32 * 1024))).collect();
    must_append(&mut store, alice.batch(entries));
    let bytes: usize = newest(&store, 1000).iter().map(|message| message.text.len()).sum();
    assert_eq!(bytes, 4 * 1024 * 1024);
    assert_eq!(events(&store, 0, usize::MAX).len(), 128);
    let bob = Author::new(1, 2);
    must_append(&mut store, bob.batch(bob.clone().say_many(1100)));
    assert_eq!(store.read_page(&channel(), From::Newest, usize::MAX).unwrap().len(), 1000);
}

fn search(
    store: &Store,
    words: &str,
    before: Option<Position>,
    limit: usize,
) -> Option<Vec<Position>> {
    let query = Query::parse(words).expect("words");
    let found = store.search(&channel(), &query, before, limit).unwrap();
    found.map(|found| found.messages.iter().map(|message| message.position).collect())
}

fn index_all(store: &mut Store) {
    while store.index_step().unwrap() {}
}

#[test]
fn a_search_gives_the_newest_first_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, all) = crowd(dir.path());
    index_all(&mut store);
    // "3 at 3" has the word twice, and others have a 3 as their clock.
    let is_by_three = |at: &Position| at.device == DeviceId([3; 8]);
    let mut expected: Vec<_> = all.into_iter().filter(is_by_three).collect();
    expected.reverse();
    let (mut found, mut before) = (Vec::new(), None);
    while let Some(page) = search(&store, "3 at", before, 2).filter(|page| !page.is_empty()) {
        before = page.last().copied();
        found.extend(page);
    }
    assert!(found.is_sorted_by(|one, next| one > next), "{found:?}");
    found.retain(is_by_three);
    assert_eq!(found, expected);
}

#[test]
fn a_search_with_many_matches_gives_what_one_with_few_gives() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, all) = crowd(dir.path());
    index_all(&mut store);
    let rows =
        store.index.find(store.channel_row(&channel()), &Query::parse("at").unwrap()).unwrap();
    assert_eq!(rows.len(), all.len());
    let open = store.opened(&channel()).unwrap();
    for before in [None, Some(all[20]), Some(all[0])] {
        let mut few = store.rows_of(open, &rows, before).unwrap();
        few.sort_unstable_by_key(|(position, _)| std::cmp::Reverse(*position));
        for limit in [0, 1, 7, 100] {
            let row = store.channel_row(&channel());
            let mut many = store.newest_of(row, open, &rows, before, limit).unwrap();
            many.sort_unstable_by_key(|(position, _)| std::cmp::Reverse(*position));
            let limit = limit.min(few.len());
            assert_eq!(many[..limit], few[..limit], "{before:?}");
        }
    }
}

#[test]
fn a_search_is_answered_before_all_is_indexed_only_when_it_cannot_be_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let mut entries = vec![alice.say("rare and old")];
    entries.extend(alice.say_many(1200));
    must_append(&mut store, alice.batch(entries));
    drop(store);

    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    assert_eq!(search(&store, "message", None, 5), None, "nothing is indexed yet");
    assert!(store.index_step().unwrap());
    let newest: Vec<_> = newest(&store, 5).iter().rev().map(|message| message.position).collect();
    assert_eq!(search(&store, "message", None, 5), Some(newest));
    assert_eq!(search(&store, "rare", None, 5), None);
    // What comes in meanwhile is found at once.
    let new = alice.say("fresh");
    must_append(&mut store, alice.batch(vec![new]));
    assert_eq!(search(&store, "fresh", None, 1).map(|found| found.len()), Some(1));
    index_all(&mut store);
    assert_eq!(search(&store, "rare", None, 5).map(|found| found.len()), Some(1));
    assert_eq!(search(&store, "message", None, 1000).map(|found| found.len()), Some(1000));
}

#[test]
fn what_is_closed_cannot_be_searched_and_what_is_pruned_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    let retention = Retention { count: Some(10), ..Retention::default() };
    store.open_channel(member(1), retention).unwrap();
    index_all(&mut store);
    let mut alice = Author::new(1, 1);
    let mut entries = vec![alice.say("first")];
    entries.extend(alice.say_many(10));
    must_append(&mut store, alice.batch(entries));
    assert_eq!(search(&store, "first", None, 5), Some(vec![]));
    assert_eq!(search(&store, "message", None, 50).unwrap().len(), 10);
    store.close_channel(&channel()).unwrap();
    let query = Query::parse("message").unwrap();
    let refused = store.search(&channel(), &query, None, 5).unwrap_err();
    assert_eq!(refused, ArchiveError::NotOpen(channel()));
}

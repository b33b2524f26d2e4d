//! What happened, and up to where clients know of it.

use super::*;
use crate::archive::EventSpan;

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

fn acknowledge(store: &mut Store, client: &str, seq: u64) -> Result<(), ArchiveError> {
    let wish = Wish::Acknowledge { client: client.to_owned(), seq };
    store.fulfil(&[wish], NOW).pop().expect("an answer").map(drop)
}

#[test]
fn events_have_numbers_without_gaps_across_restarts_and_failures() {
    let dir = tempfile::tempdir().unwrap();
    let mut we = Author::ours(1, 9);
    let mut told = Vec::new();
    for round in 0..4 {
        let mut store = must_open(dir.path());
        must_open_channel(&mut store);
        let entries = we.say_many(2);
        told.extend(must_append(&mut store, we.batch(entries)));
        let refused = store.write(|store| {
            let entry = we.clone().say("never stored");
            store.append(&we.batch(vec![entry]), NOW)?;
            Err::<(), _>(rusqlite::Error::InvalidQuery)
        });
        assert!(refused.is_err());
        let had = receipt(&we, we.number - 1, 50 + round);
        told.extend(must_append(&mut store, receipts(&we, vec![had])));
    }
    assert_eq!(seqs(&told), (1..=told.len() as u64).collect::<Vec<_>>());
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    assert_eq!(events(&store, 0, 1000), told);
    for since in 0..told.len() {
        let page = events(&store, since as u64, 3);
        assert_eq!(page, told[since..(since + 3).min(told.len())]);
    }
    assert_eq!(events(&store, told.len() as u64, 10), []);
    let beyond = store.list_events(told.len() as u64 + 1, 10, |_| false).unwrap_err().to_string();
    assert!(beyond.contains("begin with since"), "{beyond}");
}

#[test]
fn a_delivery_is_told_once_for_each_message_and_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut we = Author::ours(1, 9);
    let entries = we.say_many(3);
    must_append(&mut store, we.batch(entries));
    let mut deliver = |number, by| {
        let events = must_append(&mut store, receipts(&we, vec![receipt(&we, number, by)]));
        let by = |event: &Event| {
            let EventKind::Delivered { id, by, .. } = &event.kind else { panic!("{event:?}") };
            (id.0[15], by.0[0])
        };
        events.iter().map(by).collect::<Vec<_>>()
    };
    assert_eq!(deliver(2, 70), [(1, 70), (2, 70)]);
    assert_eq!(deliver(2, 70), []);
    assert_eq!(deliver(1, 70), [], "it does not go back");
    assert_eq!(deliver(3, 70), [(3, 70)]);
    assert_eq!(deliver(99, 71), [(1, 71), (2, 71), (3, 71)], "no more than there is");
    drop(store);
    let state = must_open_channel(&mut must_open(dir.path()));
    let mut had: Vec<_> = state.receipts.iter().map(|had| (had.by.0[0], had.number)).collect();
    had.sort_unstable();
    assert_eq!(had, [(70, 3), (71, 3)]);
}

#[test]
fn a_client_goes_on_where_it_was_and_never_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut alice = Author::new(1, 1);
    let entries = alice.say_many(5);
    must_append(&mut store, alice.batch(entries));
    acknowledge(&mut store, "bot", 3).unwrap();
    acknowledge(&mut store, "bot", 2).unwrap();
    acknowledge(&mut store, "logger", 999).unwrap();
    drop(store);
    let store = must_open(dir.path());
    let known = ["bot", "logger", "stranger"].map(|client| store.acknowledged(client));
    assert_eq!(known, [Some(3), Some(5), None]);
}

#[test]
fn clients_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    assert!(acknowledge(&mut store, "", 1).is_err());
    assert!(acknowledge(&mut store, &"x".repeat(65), 1).is_err());
    for client in 0..256 {
        acknowledge(&mut store, &client.to_string(), 1).unwrap();
    }
    let refused = acknowledge(&mut store, "one more", 1).unwrap_err().to_string();
    assert!(refused.contains("256"), "{refused}");
    acknowledge(&mut store, "0", 1).unwrap();
}

#[test]
fn no_more_events_of_a_kind_are_kept_than_there_may_be_and_none_pushes_out_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    assert_eq!(store.event_span().unwrap(), EventSpan { oldest: 1, last: 0 });
    let mut we = Author::ours(1, 9);
    let entries = we.say_many(5);
    must_append(&mut store, we.batch(entries));
    // As after very many receipts.
    let fill = "WITH RECURSIVE n(seq) AS (SELECT 6 UNION ALL SELECT seq + 1 FROM n LIMIT 99999)
         INSERT INTO events SELECT seq, 2, 1, 1, 0 FROM n";
    store.db.execute_batch(fill).unwrap();
    store.db.execute_batch("UPDATE counters SET value = 100004 WHERE name = 2").unwrap();
    drop(store);
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    must_append(&mut store, receipts(&we, vec![receipt(&we, 3, 70)]));
    let kept = |store: &Store| {
        let count = "SELECT count(*), min(seq), max(seq) FROM events WHERE kind = 2";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        store.db.query_row(count, [], row).unwrap()
    };
    assert_eq!(kept(&store), (100_000_i64, 8_i64, 100_007_i64));
    assert_eq!(seqs(&events(&store, 0, 6)), [1, 2, 3, 4, 5, 8]);
    assert_eq!(store.event_span().unwrap(), EventSpan { oldest: 1, last: 100_007 });
    // It goes on from there in the next run.
    drop(store);
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    must_append(&mut store, receipts(&we, vec![receipt(&we, 4, 70)]));
    assert_eq!(kept(&store), (100_000, 9, 100_008));
}

#[test]
fn who_comes_new_is_told_to_have_the_newest_of_all_that_was_ever_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    must_open_channel(&mut store);
    let mut we = Author::ours(1, 9);
    let entries = we.say_many(3000);
    must_append(&mut store, we.batch(entries));
    let mut deliver = |number, by| {
        let told = must_append(&mut store, receipts(&we, vec![receipt(&we, number, by)]));
        let number_of = |event: &Event| {
            let EventKind::Delivered { id, .. } = &event.kind else { panic!("{event:?}") };
            u64::from_be_bytes(id.0[8..].try_into().unwrap())
        };
        told.iter().map(number_of).collect::<Vec<_>>()
    };
    assert_eq!(deliver(2500, 70), (1..=2500).collect::<Vec<_>>(), "nobody had them");
    assert_eq!(deliver(2400, 71), (1401..=2400).collect::<Vec<_>>());
    let newest = (2101..=3000).collect::<Vec<_>>();
    assert_eq!(deliver(3000, 72)[..], [&(2001..=2100).collect::<Vec<_>>()[..], &newest].concat());
}

#[test]
fn an_event_of_what_is_gone_or_closed_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = must_open(dir.path());
    let retention = Retention { count: Some(1), ..Retention::default() };
    store.open_channel(member(1), retention).unwrap();
    let mut alice = Author::new(1, 1);
    let entries = alice.say_many(2);
    must_append(&mut store, alice.batch(entries));
    let kinds = |store: &Store| {
        events(store, 0, 10).into_iter().map(|event| event.kind).collect::<Vec<_>>()
    };
    let [EventKind::Gone, EventKind::Message(message)] = &kinds(&store)[..] else {
        panic!("{:?}", kinds(&store))
    };
    assert_eq!(message.text, "message 2");
    store.close_channel(&channel()).unwrap();
    assert_eq!(kinds(&store), [EventKind::Gone, EventKind::NotOpen(channel())]);
}

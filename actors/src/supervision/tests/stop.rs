//! How a tree is brought down.

use std::sync::mpsc;

use actix_rt::Arbiter;

use super::*;
use crate::clock;
use crate::supervision::{Exit, GRACE};

#[actix::test]
async fn children_stop_last_first_and_across_levels() {
    tokio::time::pause();
    let (log, mut said) = log();
    let inner = log.clone();
    let low = move || {
        let low = Supervisor::new("low", Strategy::OneForOne);
        low.child(inner.child("b")).child(inner.child("c"))
    };
    let root = Supervisor::new("root", Strategy::RestForOne)
        .child(log.child("a"))
        .child(ChildSpec::supervisor("low", low))
        .child(log.child("d"));
    let (stopper, ended) = root.spawn();
    said.expect("+a +b +c +d").await;
    stopper.stop();
    said.expect("-d -c -b -a").await;
    let exit = ended.await;
    assert_eq!((exit.code(), exit), (0, Exit::Shutdown));
}

/// Stops a tree whose last child has a trouble, and gives how long that took.
async fn stop_with(child: impl FnOnce(&Log) -> ActorSpec<Probe>, words: &str) -> Duration {
    tokio::time::pause();
    let (log, mut said) = log();
    let tree = Supervisor::new("tree", Strategy::OneForOne);
    let (stopper, ended) = tree.child(log.child("first")).child(child(&log)).spawn();
    said.expect("+first +last").await;
    // A turn for the supervisor to learn that the last one is up.
    tokio::task::yield_now().await;
    let begin = clock::now();
    stopper.stop();
    said.expect(words).await;
    assert_eq!(ended.await, Exit::Shutdown);
    said.expect_silence();
    clock::now() - begin
}

fn check_took(took: Duration, expected: Duration) {
    assert!((expected..expected + Duration::from_millis(10)).contains(&took), "{took:?}");
}

#[actix::test]
async fn an_actor_that_waits_for_ever_stops_at_once() {
    let took = stop_with(|log| log.troubled("last", Trouble::Stuck), "-last -first").await;
    check_took(took, Duration::ZERO);
}

#[actix::test]
async fn an_actor_that_refuses_to_stop_is_ended_after_its_grace() {
    let child = |log: &Log| log.troubled("last", Trouble::Deaf).grace(Duration::from_secs(3));
    let took = stop_with(child, "-first").await;
    check_took(took, Duration::from_secs(3));
}

#[actix::test]
async fn an_actor_that_is_asked_has_time_for_its_last_work() {
    let took = stop_with(|log| log.child("last").asked(), "?last0 -last -first").await;
    check_took(took, Duration::from_secs(2));
}

#[actix::test]
async fn an_actor_that_does_not_hear_the_question_is_ended_after_its_grace() {
    let child = |log: &Log| log.troubled("last", Trouble::Stuck).asked();
    let took = stop_with(child, "-last -first").await;
    check_took(took, GRACE);
}

#[actix::test]
async fn a_panic_during_the_stop_does_not_keep_the_others_from_stopping() {
    stop_with(|log| log.troubled("last", Trouble::InStopped), "-last -first").await;
}

#[actix::test]
async fn an_asked_actor_handles_what_was_in_its_mailbox_before() {
    tokio::time::pause();
    let (log, mut said) = log();
    let slot = Slot::new();
    let child = log.child("a").asked().slot(&slot);
    let (stopper, ended) = Supervisor::new("tree", Strategy::OneForOne).child(child).spawn();
    said.expect("+a").await;
    while slot.addr().is_none() {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        slot.addr().unwrap().do_send(Count);
    }
    stopper.stop();
    said.expect("?a3 -a").await;
    assert_eq!(ended.await, Exit::Shutdown);
}

#[actix::test]
async fn a_stop_in_the_middle_of_a_back_off_does_not_wait_for_it() {
    tokio::time::pause();
    let (log, mut said) = log();
    let hour = Duration::from_secs(3600);
    let tree = Supervisor::new("tree", Strategy::OneForOne)
        .backoff(crate::supervision::Backoff { first: hour, max: hour })
        .child(log.child("a"))
        .child(log.troubled("b", Trouble::InStarted));
    let begin = clock::now();
    let (stopper, ended) = tree.spawn();
    said.expect("+a +b").await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    stopper.stop();
    said.expect("-a").await;
    assert_eq!(ended.await, Exit::Shutdown);
    check_took(clock::now() - begin, Duration::ZERO);
}

#[actix::test]
async fn a_child_that_blocks_its_arbiter_is_abandoned() {
    let (log, mut said) = log();
    let arbiter = Arbiter::new();
    let (release, blocked) = mpsc::channel::<()>();
    let child = log.child("far").on(arbiter.handle()).grace(Duration::from_millis(10));
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(log.child("near")).child(child);
    let (stopper, ended) = tree.spawn();
    said.expect("+near +far").await;
    let (begin, begun) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || {
        let _ = begin.send(());
        // Until the test lets go of the other end.
        let _ = blocked.recv();
    });
    // Else the child may hear of the stop before.
    begun.await.unwrap();
    stopper.stop();
    said.expect("-near").await;
    assert_eq!(ended.await, Exit::Shutdown);
    drop(release);
    said.expect("-far").await;
    arbiter.stop();
    arbiter.join().unwrap();
}

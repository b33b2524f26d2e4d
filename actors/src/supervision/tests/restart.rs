//! Which children are started again, and with what state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use actix::Addr;
use actix_rt::Arbiter;

use super::*;
use crate::supervision::Exit;

/// The address after a restart that the test has seen begin.
async fn renewed(slot: &Slot<Probe>, old: &Addr<Probe>) -> Addr<Probe> {
    for _ in 0..1000 {
        match slot.addr() {
            Some(addr) if addr != *old => return addr,
            _ => tokio::task::yield_now().await,
        }
    }
    panic!("the slot was never filled again");
}

async fn check_fresh_after(end: End) {
    tokio::time::pause();
    let (log, mut said) = log();
    let slot = Slot::new();
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(log.child("a").slot(&slot));
    let (stopper, ended) = tree.spawn();
    said.expect("+a").await;
    let line = slot.line::<Count>();
    let old = loop {
        match slot.addr() {
            Some(addr) => break addr,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(old.send(Count).await.unwrap(), 1);
    assert_eq!(old.send(Count).await.unwrap(), 2);
    old.do_send(end);
    said.expect("+a").await;
    renewed(&slot, &old).await;
    assert!(!old.connected());
    let new = line.recipient().unwrap();
    assert_eq!(new.send(Count).await.unwrap(), 1, "its state is fresh, and the line leads there");
    stopper.stop();
    assert_eq!(ended.await, Exit::Shutdown);
    assert!(slot.addr().is_none() && line.recipient().is_none());
}

#[actix::test]
async fn a_panic_in_a_handler_restarts_with_fresh_state() {
    check_fresh_after(End::Panic).await;
}

#[actix::test]
async fn a_panic_in_a_timer_restarts_with_fresh_state() {
    check_fresh_after(End::PanicInTimer).await;
}

/// Starts a child with a trouble in its first incarnation only, and ends that by `end`.
async fn check_second_start_after(trouble: Trouble, end: Option<End>, words: &str) {
    tokio::time::pause();
    let (log, mut said) = log();
    let (starts, slot) = (Arc::new(AtomicU32::new(0)), Slot::new());
    let probes = log.clone();
    let child = ChildSpec::actor("a", move || match starts.fetch_add(1, Ordering::Relaxed) {
        0 => probes.probe("a", trouble),
        _ => probes.probe("b", Trouble::None),
    });
    let child = child.restart(Restart::OnPanic).slot(&slot);
    let (stopper, ended) = Supervisor::new("tree", Strategy::OneForOne).child(child).spawn();
    said.expect("+a").await;
    if let Some(end) = end {
        while slot.addr().is_none() {
            tokio::task::yield_now().await;
        }
        slot.addr().unwrap().do_send(end);
    }
    said.expect(words).await;
    stopper.stop();
    assert_eq!(ended.await, Exit::Shutdown);
}

#[actix::test]
async fn a_panic_in_started_restarts() {
    check_second_start_after(Trouble::InStarted, None, "+b").await;
}

#[actix::test]
async fn a_panic_in_stopped_restarts() {
    check_second_start_after(Trouble::InStopped, Some(End::Stop), "-a +b").await;
}

#[actix::test]
async fn a_panic_while_a_stopped_actor_is_dropped_restarts() {
    check_second_start_after(Trouble::InDrop, Some(End::Stop), "-a +b").await;
}

#[actix::test]
async fn a_panic_while_a_panicked_actor_is_dropped_does_not_end_the_process() {
    check_second_start_after(Trouble::InDrop, Some(End::Panic), "+b").await;
}

#[actix::test]
async fn an_actor_that_says_it_failed_restarts() {
    check_second_start_after(Trouble::None, Some(End::Fail), "-a +b").await;
}

/// Ends `b` of three and gives what happens then, the orderly stop after it left out.
async fn check_three(strategy: Strategy, restart: Restart, end: End, words: &str) {
    tokio::time::pause();
    let (log, mut said) = log();
    let (tree, slot) = three(strategy, restart, &log);
    let (stopper, ended) = tree.spawn();
    said.expect("+a +b +c").await;
    slot.addr().unwrap().do_send(end);
    said.expect(words).await;
    // Restarts wait at most for the longest back-off; nothing more may come after it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    said.expect_silence();
    assert_eq!(slot.addr().is_some(), words.contains("+b"));
    stopper.stop();
    assert_eq!(ended.await, Exit::Shutdown);
}

#[actix::test]
async fn one_for_one_restarts_only_the_child_that_ended() {
    check_three(Strategy::OneForOne, Restart::Always, End::Panic, "+b").await;
}

#[actix::test]
async fn rest_for_one_restarts_those_after_it_too_and_leaves_those_before() {
    check_three(Strategy::RestForOne, Restart::Always, End::Panic, "-c +b +c").await;
}

#[actix::test]
async fn always_restarts_after_an_end_by_its_own_will() {
    check_three(Strategy::OneForOne, Restart::Always, End::Stop, "-b +b").await;
}

#[actix::test]
async fn on_panic_does_not_restart_after_an_end_by_its_own_will() {
    check_three(Strategy::RestForOne, Restart::OnPanic, End::Stop, "-b").await;
}

#[actix::test]
async fn never_does_not_restart_after_a_panic_and_its_siblings_go_on() {
    check_three(Strategy::RestForOne, Restart::Never, End::Panic, "").await;
}

#[actix::test]
async fn a_later_child_gets_the_new_address_of_an_earlier_one() {
    tokio::time::pause();
    let (log, mut said) = log();
    let (slot, seen) = (Slot::<Probe>::new(), Log(log.0.clone()));
    let needed = slot.clone();
    let probes = log.clone();
    let later = ChildSpec::try_actor("later", move || {
        let recipient = needed.need::<Count>()?;
        seen.say('!', if recipient.connected() { "connected" } else { "closed" });
        Ok(probes.probe("later", Trouble::None))
    });
    let tree = Supervisor::new("tree", Strategy::RestForOne)
        .child(log.child("early").slot(&slot))
        .child(later);
    let (_stopper, _ended) = tree.spawn();
    said.expect("+early !connected +later").await;
    slot.addr().unwrap().do_send(End::Panic);
    said.expect("-later +early !connected +later").await;
}

#[actix::test]
async fn a_child_on_another_arbiter_is_restarted_there() {
    let (log, mut said) = log();
    let (arbiter, slot) = (Arbiter::new(), Slot::new());
    let probes = log.clone();
    let child = ChildSpec::actor("far", move || {
        probes.say('@', std::thread::current().name().unwrap_or_default());
        probes.probe("far", Trouble::None)
    });
    let tree = Supervisor::new("tree", Strategy::OneForOne)
        .child(child.slot(&slot).on(arbiter.handle()))
        .child(log.child("near"));
    let (stopper, ended) = tree.spawn();
    let first = said.0.recv().await.unwrap();
    assert_ne!(Some(&first[1..]), std::thread::current().name());
    said.expect("+far +near").await;
    slot.addr().unwrap().do_send(End::Panic);
    said.expect(&format!("{first} +far")).await;
    stopper.stop();
    assert_eq!(ended.await, Exit::Shutdown);
    arbiter.stop();
    arbiter.join().unwrap();
}

#[cfg(feature = "fault-injection")]
#[actix::test]
async fn an_injected_fault_is_a_panic_like_any_other() {
    use crate::supervision::fault;
    tokio::time::pause();
    let (log, mut said) = log();
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(log.child("injected/1"));
    let (stopper, ended) = tree.spawn();
    said.expect("+injected/1").await;
    assert!(fault::actors().iter().any(|name| name == "injected/1"));
    assert!(!fault::panic_actor("inject"), "only whole names count");
    assert!(fault::panic_actor("injected"));
    said.expect("+injected/1").await;
    stopper.stop();
    assert_eq!(ended.await, Exit::Shutdown);
    assert!(!fault::panic_actor("injected/1"), "it is gone");
}

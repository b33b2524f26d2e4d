//! When a supervisor gives up, and who decides then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::clock;
use crate::supervision::{Exit, RestartLimit};

fn at_most(max: u32) -> RestartLimit {
    RestartLimit { max, within: Duration::from_secs(60) }
}

#[actix::test]
async fn one_restart_too_many_stops_the_others_in_reverse_and_ends_with_70() {
    tokio::time::pause();
    let (log, mut said) = log();
    let tree = Supervisor::new("tree", Strategy::OneForOne)
        .limit(at_most(2))
        .child(log.child("a"))
        .child(log.child("b"))
        .child(log.troubled("c", Trouble::InStarted));
    let (_stopper, ended) = tree.spawn();
    said.expect("+a +b +c +c +c -b -a").await;
    let exit = ended.await;
    let expected = "c was restarted too often; it panicked: in started";
    assert_eq!(exit, Exit::Failed(expected.into()));
    assert_eq!(exit.code(), 70);
    said.expect_silence();
}

#[actix::test]
async fn a_panic_now_and_then_is_restarted_for_ever() {
    tokio::time::pause();
    let (log, mut said) = log();
    let (tree, slot) = three(Strategy::OneForOne, Restart::Always, &log);
    let (stopper, ended) = tree.limit(at_most(1)).spawn();
    said.expect("+a +b +c").await;
    for _ in 0..5 {
        slot.addr().unwrap().do_send(End::Panic);
        said.expect("+b").await;
        tokio::time::sleep(Duration::from_secs(61)).await;
    }
    stopper.stop();
    assert_eq!(ended.await, Exit::Shutdown);
}

#[actix::test]
async fn restarts_wait_longer_each_time() {
    tokio::time::pause();
    let (log, mut said) = log();
    let begin = clock::now();
    let tree = Supervisor::new("tree", Strategy::OneForOne)
        .limit(at_most(10))
        .child(log.troubled("a", Trouble::InStarted));
    let (_stopper, ended) = tree.spawn();
    said.expect("+a +a +a +a +a +a +a +a +a +a +a").await;
    assert_eq!(ended.await.code(), 70);
    // 10, 20, 40 .. 640 ms, then three times a second.
    let least = Duration::from_millis(1270 + 3000);
    let took = clock::now() - begin;
    assert!((least..least + Duration::from_millis(50)).contains(&took), "{took:?}");
}

#[actix::test]
async fn a_crash_loop_escalates_through_three_levels() {
    tokio::time::pause();
    let (log, mut said) = log();
    let level = |name| Supervisor::new(name, Strategy::OneForOne).limit(at_most(1));
    let leaf = log.clone();
    let low = move || level("low").child(leaf.troubled("leaf", Trouble::InStarted));
    let middle = move || level("middle").child(ChildSpec::supervisor("low", low.clone()));
    let root =
        level("root").child(log.child("steady")).child(ChildSpec::supervisor("middle", middle));
    let (_stopper, ended) = root.spawn();
    // Two tries on each of three levels.
    said.expect("+steady +leaf +leaf +leaf +leaf +leaf +leaf +leaf +leaf -steady").await;
    let exit = ended.await;
    assert_eq!(exit.code(), 70);
    assert!(matches!(&exit, Exit::Failed(text) if text.starts_with("middle was")), "{exit}");
    said.expect_silence();
}

#[actix::test]
async fn a_subtree_that_gave_up_is_built_anew_and_its_later_siblings_with_it() {
    tokio::time::pause();
    let (log, mut said) = log();
    let slot = Slot::new();
    let (leaf, leaf_slot) = (log.clone(), slot.clone());
    let low = move || {
        let leaf = leaf.child("leaf").slot(&leaf_slot);
        Supervisor::new("low", Strategy::OneForOne).limit(at_most(0)).child(leaf)
    };
    let root = Supervisor::new("root", Strategy::RestForOne)
        .child(log.child("early"))
        .child(ChildSpec::supervisor("low", low))
        .child(log.child("late"));
    let (stopper, ended) = root.spawn();
    said.expect("+early +leaf +late").await;
    slot.addr().unwrap().do_send(End::Panic);
    said.expect("-late +leaf +late").await;
    stopper.stop();
    said.expect("-late -leaf -early").await;
    assert_eq!(ended.await, Exit::Shutdown);
}

#[actix::test]
async fn a_tree_that_never_stood_says_why_and_ends_with_1() {
    tokio::time::pause();
    let (log, mut said) = log();
    let low = || {
        let port = ChildSpec::try_actor("port", || Err::<Probe, _>("the port is in use".into()));
        Supervisor::new("low", Strategy::OneForOne).child(port)
    };
    let root = Supervisor::new("root", Strategy::RestForOne)
        .child(log.child("early"))
        .child(ChildSpec::supervisor("low", low))
        .child(log.child("late"));
    let (_stopper, ended) = root.spawn();
    said.expect("+early -early").await;
    let exit = ended.await;
    assert_eq!(exit, Exit::StartFailed("low: port: the port is in use".into()));
    assert_eq!(exit.code(), 1);
    said.expect_silence();
}

#[actix::test]
async fn a_factory_that_panics_is_a_failed_start() {
    let child = ChildSpec::actor("a", || -> Probe { panic!("in the factory") });
    let (_stopper, ended) = Supervisor::new("tree", Strategy::OneForOne).child(child).spawn();
    assert_eq!(ended.await, Exit::StartFailed("a: in the factory".into()));
}

#[actix::test]
async fn a_factory_that_fails_after_the_tree_stood_is_tried_again() {
    tokio::time::pause();
    let (log, mut said) = log();
    let (starts, slot, probes) = (Arc::new(AtomicU32::new(0)), Slot::new(), log.clone());
    let child = ChildSpec::try_actor("a", move || match starts.fetch_add(1, Ordering::Relaxed) {
        1 | 2 => Err("not now".into()),
        _ => Ok(probes.probe("a", Trouble::None)),
    });
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(child.slot(&slot));
    let (stopper, ended) = tree.child(log.child("b")).spawn();
    said.expect("+a +b").await;
    slot.addr().unwrap().do_send(End::Panic);
    said.expect("+a").await;
    stopper.stop();
    assert_eq!(ended.await, Exit::Shutdown);
}

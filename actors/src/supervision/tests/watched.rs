//! Children that actors start on demand, and the sends to them.

use actix::prelude::SendError;
use actix::{Addr, Recipient};
use actix_rt::Arbiter;
use tokio::sync::oneshot;

use super::*;
use crate::supervision::{Exit, Outlet, StopHandle, watch, watch_in, watch_with};

fn start(trouble: Trouble) -> (Addr<Probe>, StopHandle, oneshot::Receiver<Exit>) {
    let (log, _) = log();
    let (tell, told) = oneshot::channel();
    let (addr, handle) = watch(log.probe("watched", trouble), "watched", |exit| {
        tell.send(exit).unwrap();
    });
    (addr, handle, told)
}

async fn check_told(end: End, expected: Exit) {
    let (addr, _handle, told) = start(Trouble::None);
    assert_eq!(addr.send(Count).await.unwrap(), 1);
    addr.do_send(end);
    assert_eq!(told.await.unwrap(), expected);
    assert!(!addr.connected());
}

#[actix::test]
async fn a_panic_is_told() {
    check_told(End::Panic, Exit::Panicked("in a handler".into())).await;
}

#[actix::test]
async fn a_panic_in_a_timer_is_told() {
    check_told(End::PanicInTimer, Exit::Panicked("in a timer".into())).await;
}

#[actix::test]
async fn a_failure_is_told_with_its_reason() {
    check_told(End::Fail, Exit::Failed("no more".into())).await;
}

#[actix::test]
async fn an_end_by_its_own_will_is_told() {
    check_told(End::Stop, Exit::Normal).await;
}

#[actix::test]
async fn a_panic_in_started_is_told() {
    let (_addr, _handle, told) = start(Trouble::InStarted);
    assert_eq!(told.await.unwrap(), Exit::Panicked("in started".into()));
}

#[actix::test]
async fn it_lives_on_when_nobody_knows_its_address() {
    let (addr, handle, mut told) = start(Trouble::None);
    let weak = addr.downgrade();
    drop(addr);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(told.try_recv().is_err() && weak.upgrade().is_some());
    handle.stop();
    assert_eq!(told.await.unwrap(), Exit::Shutdown);
}

#[actix::test]
async fn abort_ends_one_that_refuses_to_stop() {
    let (addr, handle, mut told) = start(Trouble::Deaf);
    handle.stop();
    assert_eq!(addr.send(Count).await.unwrap(), 1, "it goes on");
    assert!(told.try_recv().is_err());
    handle.abort();
    assert_eq!(told.await.unwrap(), Exit::Shutdown);
}

#[actix::test]
async fn it_ends_with_its_handle() {
    let (_addr, handle, told) = start(Trouble::Stuck);
    drop(handle);
    assert_eq!(told.await.unwrap(), Exit::Shutdown);
}

#[actix::test]
async fn it_ends_when_its_owner_panics() {
    /// Owns one watched child.
    struct Owner(Option<StopHandle>, Option<oneshot::Sender<Exit>>);

    impl Actor for Owner {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            let tell = self.1.take().unwrap();
            let probe = log().0.probe("owned", Trouble::None);
            let (addr, handle) = watch(probe, "owned", |exit| tell.send(exit).unwrap());
            self.0 = Some(handle);
            let asked = wrap_future::<_, Self>(addr.send(Count));
            ctx.spawn(actix::ActorFutureExt::map(asked, |_, _, _| panic!("in the owner")));
        }
    }

    let (tell, told) = oneshot::channel();
    let (tell_owner, owner_told) = oneshot::channel();
    let owner = Owner(None, Some(tell));
    let (_owner, _handle) = watch(owner, "owner", |exit| tell_owner.send(exit).unwrap());
    assert_eq!(owner_told.await.unwrap(), Exit::Panicked("in the owner".into()));
    assert_eq!(told.await.unwrap(), Exit::Shutdown);
}

#[actix::test]
async fn a_panic_of_the_one_who_is_told_harms_nobody() {
    let probe = log().0.probe("watched", Trouble::None);
    let (addr, _handle) = watch(probe, "watched", |_| panic!("while told"));
    assert!(addr.send(End::Stop).await.is_ok());
    let (_addr, handle, told) = start(Trouble::None);
    handle.stop();
    assert_eq!(told.await.unwrap(), Exit::Shutdown, "the arbiter goes on");
}

#[actix::test]
async fn a_factory_sees_its_own_address() {
    let (tell, told) = oneshot::channel::<Recipient<Count>>();
    let factory = |ctx: &mut Context<Probe>| {
        tell.send(ctx.address().recipient()).unwrap();
        log().0.probe("self", Trouble::None)
    };
    let (addr, _handle) = watch_with(factory, "self", |_| ());
    assert_eq!(told.await.unwrap().send(Count).await.unwrap(), 1);
    assert_eq!(addr.send(Count).await.unwrap(), 2);
}

#[actix::test]
async fn another_arbiter_tells_panics_failed_starts_and_its_own_end() {
    let arbiter = Arbiter::new();
    let start = |trouble: Option<Trouble>| {
        let (tell, told) = oneshot::channel();
        let factory = move |_: &mut Context<Probe>| match trouble {
            Some(trouble) => log().0.probe("far", trouble),
            None => panic!("in the factory"),
        };
        let tell = |exit| drop(tell.send(exit));
        let (addr, handle) = watch_in(&arbiter.handle(), factory, "far", tell);
        (addr, handle, told)
    };

    let (_addr, _handle, told) = start(None);
    assert_eq!(told.await.unwrap(), Exit::StartFailed("in the factory".into()));

    let (addr, _handle, told) = start(Some(Trouble::None));
    assert_eq!(addr.send(Count).await.unwrap(), 1);
    addr.do_send(End::Panic);
    assert_eq!(told.await.unwrap(), Exit::Panicked("in a handler".into()));

    let (addr, handle, told) = start(Some(Trouble::Stuck));
    drop(handle);
    assert_eq!(told.await.unwrap(), Exit::Shutdown);
    assert!(!addr.connected());

    let (addr, _handle, told) = start(Some(Trouble::None));
    assert_eq!(addr.send(Count).await.unwrap(), 1);
    arbiter.stop();
    assert_eq!(told.await.unwrap(), Exit::Lost);

    let (_addr, _handle, told) = start(Some(Trouble::None));
    assert_eq!(told.await.unwrap(), Exit::Lost, "a start there is lost, too");
    arbiter.join().unwrap();
}

#[actix::test]
async fn an_outlet_is_bounded_by_the_mailbox_and_counts_what_was_refused() {
    let (addr, handle, told) = start(Trouble::Stuck);
    let outlet = Outlet::new(addr.clone().recipient::<Count>());
    // Its mailbox has the default capacity of 16; being stuck it takes nothing out.
    let taken = (0..100).filter(|_| outlet.offer(Count)).count();
    assert_eq!((taken, outlet.refused()), (16, 84));
    assert!(outlet.connected());
    assert!(matches!(addr.try_send(Count), Ok(()) | Err(SendError::Full(_))));
    handle.stop();
    told.await.unwrap();
    assert!(!outlet.offer(Count));
    assert_eq!(outlet.refused(), 85);
    assert!(!outlet.connected());
}

//! Drives a protocol machine inside an actor: drain its outputs, then arm one timer.
//!
//! An actor implements [`Drive`]: it says where its [`Driver`] is and what an output means to it.
//! It then calls [`Drive::input`] from its handlers, and everything else happens here.

use std::fmt;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, SpawnHandle};
use bitchat_protocol::machine::Machine;

use crate::clock;

/// Outputs performed before other actors of the arbiter get a turn. A machine fed by strangers
/// must not keep its arbiter for itself.
const OUTPUTS_PER_TURN_MAX: usize = 1024;

/// The shortest wait for a machine that is due again right after it was served; a machine that
/// never stops being due then costs a thousand calls a second and not a whole core.
const TIMER_MIN: Duration = Duration::from_millis(1);

/// The armed timer.
#[derive(Debug, Clone, Copy)]
struct Timer {
    number: u64,
    at: Instant,
    handle: SpawnHandle,
}

/// A machine and the one timer that is armed for it.
pub struct Driver<M> {
    machine: M,
    timer: Option<Timer>,
    /// Timers armed so far. One that was cancelled may still fire in the same turn, and must then
    /// not be taken for its successor.
    timers: u64,
    /// When the machine was last told that its time has come.
    served: Option<Instant>,
    /// Set while outputs are drained, so that an input given by `perform` does not drain within.
    draining: bool,
}

impl<M: Machine> Driver<M> {
    /// Takes the machine; nothing is armed until the first [`Drive::input`] or [`Drive::settle`].
    #[must_use]
    pub fn new(machine: M) -> Self {
        Self { machine, timer: None, timers: 0, served: None, draining: false }
    }

    /// The machine, to look at.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine, for calls that are not inputs; [`Drive::settle`] must follow.
    #[must_use]
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// When the timer must fire, or `None` when the armed one will do or none is needed.
    fn must_arm(&self) -> Option<Instant> {
        let due = self.machine.poll_timeout()?;
        let due = self.served.map_or(due, |served| due.max(served + TIMER_MIN));
        // A timer that fires early finds nothing due and arms the next; that is cheaper than to
        // cancel and arm for each packet.
        let covered = self.timer.is_some_and(|armed| armed.at <= due);
        (!covered).then_some(due)
    }
}

impl<M> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("timer", &self.timer).finish_non_exhaustive()
    }
}

/// An actor whose decisions are made by a machine.
pub trait Drive: Actor<Context = Context<Self>> {
    /// The machine that decides.
    type Machine: Machine;

    /// Where the actor keeps it.
    fn driver(&mut self) -> &mut Driver<Self::Machine>;

    /// Does what the machine wants done. It may call [`Drive::input`]; what comes of that is
    /// performed after the outputs that were there before.
    fn perform(&mut self, output: <Self::Machine as Machine>::Output, ctx: &mut Context<Self>);

    /// Gives the machine one input, now, and performs what comes of it.
    fn input(&mut self, input: <Self::Machine as Machine>::Input, ctx: &mut Context<Self>) {
        self.driver().machine.handle_input(clock::now(), input);
        self.settle(ctx);
    }

    /// Performs what the machine wants done, then arms the timer it wants.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        if self.driver().draining {
            return;
        }
        self.driver().draining = true;
        let drained = drain(self, ctx);
        self.driver().draining = false;
        if drained {
            arm(self, ctx);
        } else {
            ctx.run_later(Duration::ZERO, Self::settle);
        }
    }
}

/// Performs the outputs there are; `false` when there may be more than one turn may take.
fn drain<A: Drive>(actor: &mut A, ctx: &mut Context<A>) -> bool {
    for _ in 0..OUTPUTS_PER_TURN_MAX {
        match actor.driver().machine.poll_output() {
            Some(output) => actor.perform(output, ctx),
            None => return true,
        }
    }
    false
}

fn arm<A: Drive>(actor: &mut A, ctx: &mut Context<A>) {
    let Some(due) = actor.driver().must_arm() else { return };
    let wait = due.saturating_duration_since(clock::now());
    let driver = actor.driver();
    driver.timers += 1;
    let number = driver.timers;
    let handle = ctx.run_later(wait, move |actor, ctx| on_timer(actor, number, ctx));
    if let Some(old) = driver.timer.replace(Timer { number, at: due, handle }) {
        ctx.cancel_future(old.handle);
    }
}

fn on_timer<A: Drive>(actor: &mut A, number: u64, ctx: &mut Context<A>) {
    let driver = actor.driver();
    if driver.timer.is_none_or(|armed| armed.number != number) {
        return;
    }
    driver.timer = None;
    let now = clock::now();
    if driver.machine.poll_timeout().is_some_and(|due| due <= now) {
        driver.machine.handle_timeout(now);
        driver.served = Some(now);
    }
    actor.settle(ctx);
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use actix::{Addr, Handler, Message};
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    /// What the test wants the machine to do next.
    #[derive(Debug, Clone, Message)]
    #[rtype("()")]
    enum Order {
        /// Be due at these times after now.
        DueAfter(Vec<Duration>),
        /// Be due at no time.
        NeverDue,
        /// Be due at all times.
        AlwaysDue,
        /// Give these outputs.
        Give(Vec<u32>),
    }

    /// An output that makes the actor order another one.
    const REENTER: u32 = 1000;

    #[derive(Default)]
    struct Puppet {
        due: VecDeque<Instant>,
        always: Option<Instant>,
        timeouts: u32,
        outputs: VecDeque<u32>,
    }

    impl Machine for Puppet {
        type Input = Order;
        type Output = u32;

        fn handle_input(&mut self, now: Instant, order: Order) {
            match order {
                Order::DueAfter(waits) => self.due = waits.into_iter().map(|w| now + w).collect(),
                Order::NeverDue => (self.always, self.due) = (None, VecDeque::new()),
                Order::AlwaysDue => self.always = Some(now),
                Order::Give(outputs) => self.outputs.extend(outputs),
            }
        }

        fn handle_timeout(&mut self, now: Instant) {
            self.timeouts += 1;
            while self.due.front().is_some_and(|due| *due <= now) {
                self.due.pop_front();
                self.outputs.push_back(0);
            }
        }

        fn poll_output(&mut self) -> Option<u32> {
            self.outputs.pop_front()
        }

        fn poll_timeout(&self) -> Option<Instant> {
            self.always.or(self.due.front().copied())
        }
    }

    struct Hand {
        driver: Driver<Puppet>,
        performed: UnboundedSender<(Instant, u32)>,
    }

    impl Actor for Hand {
        type Context = Context<Self>;
    }

    impl Drive for Hand {
        type Machine = Puppet;

        fn driver(&mut self) -> &mut Driver<Puppet> {
            &mut self.driver
        }

        fn perform(&mut self, output: u32, ctx: &mut Context<Self>) {
            if output == REENTER {
                self.input(Order::Give(vec![REENTER + 1]), ctx);
            }
            self.performed.send((clock::now(), output)).unwrap();
        }
    }

    impl Handler<Order> for Hand {
        type Result = ();

        fn handle(&mut self, order: Order, ctx: &mut Context<Self>) {
            self.input(order, ctx);
        }
    }

    /// How often `handle_timeout` was called, and how many timers were armed.
    #[derive(Message)]
    #[rtype(result = "(u32, u64)")]
    struct CountCalls;

    impl Handler<CountCalls> for Hand {
        type Result = actix::MessageResult<CountCalls>;

        fn handle(&mut self, _: CountCalls, _: &mut Context<Self>) -> Self::Result {
            actix::MessageResult((self.driver.machine().timeouts, self.driver.timers))
        }
    }

    type Performed = UnboundedReceiver<(Instant, u32)>;

    fn start() -> (Addr<Hand>, Performed) {
        tokio::time::pause();
        let (performed, outputs) = unbounded_channel();
        (Hand { driver: Driver::new(Puppet::default()), performed }.start(), outputs)
    }

    fn after(millis: &[u64]) -> Order {
        Order::DueAfter(millis.iter().copied().map(Duration::from_millis).collect())
    }

    async fn check_at(outputs: &mut Performed, begin: Instant, millis: u64) {
        let (at, _) = outputs.recv().await.unwrap();
        let (passed, due) = (at - begin, Duration::from_millis(millis));
        // The runtime's timers count whole milliseconds, and round up.
        assert!((due..due + Duration::from_millis(2)).contains(&passed), "{passed:?} not {due:?}");
    }

    #[actix::test]
    async fn timeouts_come_when_they_are_due() {
        let (hand, mut outputs) = start();
        let begin = clock::now();
        hand.send(after(&[10, 200, 3_600_000])).await.unwrap();
        for due in [10, 200, 3_600_000] {
            check_at(&mut outputs, begin, due).await;
        }
        assert_eq!(hand.send(CountCalls).await.unwrap(), (3, 3));
    }

    #[actix::test]
    async fn an_earlier_time_replaces_the_armed_timer() {
        let (hand, mut outputs) = start();
        let begin = clock::now();
        hand.send(after(&[60_000])).await.unwrap();
        hand.send(after(&[50, 60_000])).await.unwrap();
        check_at(&mut outputs, begin, 50).await;
        check_at(&mut outputs, begin, 60_000).await;
        assert_eq!(hand.send(CountCalls).await.unwrap(), (2, 3));
    }

    #[actix::test]
    async fn a_later_time_costs_no_new_timer_until_the_armed_one_fires() {
        let (hand, mut outputs) = start();
        let begin = clock::now();
        for wait in 100..200 {
            hand.send(after(&[wait])).await.unwrap();
        }
        check_at(&mut outputs, begin, 199).await;
        assert_eq!(hand.send(CountCalls).await.unwrap(), (1, 2));
    }

    #[actix::test]
    async fn a_machine_that_is_never_due_is_left_alone() {
        let (hand, mut outputs) = start();
        hand.send(after(&[10])).await.unwrap();
        hand.send(Order::NeverDue).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(outputs.try_recv().is_err());
        assert_eq!(hand.send(CountCalls).await.unwrap(), (0, 1));
    }

    #[actix::test]
    async fn a_machine_that_is_always_due_does_not_take_the_whole_core() {
        let (hand, _outputs) = start();
        hand.send(Order::AlwaysDue).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (timeouts, _) = hand.send(CountCalls).await.unwrap();
        assert!((100..=1001).contains(&timeouts), "{timeouts}");
    }

    #[actix::test]
    async fn outputs_keep_their_order_when_performing_gives_an_input() {
        let (hand, mut outputs) = start();
        hand.send(Order::Give(vec![1, REENTER, 2])).await.unwrap();
        for expected in [1, REENTER, 2, REENTER + 1] {
            assert_eq!(outputs.recv().await.unwrap().1, expected);
        }
    }

    #[actix::test]
    async fn a_flood_of_outputs_lets_others_have_their_turn() {
        let (hand, mut outputs) = start();
        let flood = OUTPUTS_PER_TURN_MAX * 3;
        hand.do_send(Order::Give(vec![7; flood]));
        hand.send(CountCalls).await.unwrap();
        assert_eq!(outputs.len(), OUTPUTS_PER_TURN_MAX, "the query came between");
        for _ in 0..flood {
            assert_eq!(outputs.recv().await.unwrap().1, 7);
        }
    }
}

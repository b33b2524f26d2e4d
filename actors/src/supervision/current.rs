//! Which child runs on this thread right now: for the panic hook, and for [`fail`].

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Arc, Once};

use actix::ActorContext;

/// Characters of a panic's message that are logged or reported.
const PANIC_CHARS_MAX: usize = 200;

struct Current {
    name: Arc<str>,
    failure: Option<String>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// How a piece of a child's work went.
pub(super) struct Outcome<R> {
    /// What it returned, or the text of its panic.
    pub(super) result: Result<R, String>,
    /// What it said by [`fail`].
    pub(super) failure: Option<String>,
}

/// Runs `work` in the name of a child and catches its panic.
pub(super) fn run<R>(name: &Arc<str>, work: impl FnOnce() -> R) -> Outcome<R> {
    let outer = CURRENT.replace(Some(Current { name: name.clone(), failure: None }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let failure = CURRENT.replace(outer).and_then(|current| current.failure);
    Outcome { result: result.map_err(|payload| text_of(&*payload)), failure }
}

/// Stops the running actor and makes its exit [`Exit::Failed`](super::Exit::Failed) with `reason`.
///
/// To be called from the actor's own handlers, timers and streams; elsewhere it only stops `ctx`.
/// `reason` must hold nothing secret: it is logged.
pub fn fail(ctx: &mut impl ActorContext, reason: impl Into<String>) {
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            current.failure = Some(reason.into());
        }
    });
    ctx.stop();
}

/// Makes every panic of this process one line of the log, with the actor's name and the place in
/// the source. Harmless when called twice.
///
/// Where nobody listens to the log, the hook that was there before still prints.
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if tracing::dispatcher::has_been_set() {
                log_panic(info);
            } else {
                before(info);
            }
        }));
    });
}

fn log_panic(info: &PanicHookInfo<'_>) {
    // The panic may come from within `fail`, or while a thread's locals are going.
    let name = CURRENT
        .try_with(|current| {
            let current = current.try_borrow().ok()?;
            current.as_ref().map(|current| current.name.clone())
        })
        .ok()
        .flatten();
    let actor = name.as_deref().unwrap_or("none");
    let text = text_of(info.payload());
    match info.location() {
        Some(at) => tracing::error!(actor, file = at.file(), line = at.line(), "panic: {text}"),
        None => tracing::error!(actor, "panic: {text}"),
    }
}

/// The message of a panic, escaped and cut.
fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    text.chars().flat_map(char::escape_debug).take(PANIC_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_panic_is_cut_and_escaped() {
        let outcome = run(&"someone".into(), || panic!("\x1b[2J{}", "x".repeat(10_000)));
        let text = Outcome::<()>::result(outcome).unwrap_err();
        assert_eq!(text.chars().count(), PANIC_CHARS_MAX);
        assert!(text.starts_with("\\u{1b}[2Jxxx"), "{text}");
    }

    #[test]
    fn the_name_is_gone_after_a_panic() {
        let outcome: Outcome<()> = run(&"someone".into(), || panic!("fault"));
        assert!(outcome.result.is_err());
        assert!(CURRENT.with_borrow(Option::is_none));
    }

    impl<R> Outcome<R> {
        fn result(self) -> Result<R, String> {
            self.result
        }
    }
}

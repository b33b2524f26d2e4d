//! Makes any running child panic, so that a test can see what is lost and what comes back.
//!
//! Every child is in the registry by its name without doing anything for it. The panic is raised
//! where the actor's own would be caught, with its name current, and its state is thrown away.
//! Without the feature `fault-injection` nothing of this exists.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::control::Control;

/// The text of an injected panic.
pub const PANIC_TEXT: &str = "injected fault";

type Entry = (Arc<str>, Weak<Control>);

static LIVING: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// Makes the child of this name panic at its next poll, which comes at once; `false` when there is
/// none. `crypto_session` also means the oldest living `crypto_session/...`.
pub fn panic_actor(name: &str) -> bool {
    let target = living().iter().find(|(known, _)| is_called(known, name)).cloned();
    let Some(control) = target.and_then(|(_, control)| control.upgrade()) else { return false };
    control.inject_panic();
    true
}

/// The names of all living children of this process, oldest first.
#[must_use]
pub fn actors() -> Vec<String> {
    living().iter().map(|(name, _)| name.to_string()).collect()
}

pub(super) fn register(name: &Arc<str>, control: &Arc<Control>) {
    living().push((name.clone(), Arc::downgrade(control)));
}

pub(super) fn forget(control: &Arc<Control>) {
    living().retain(|(_, known)| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(control)));
}

/// Panics when a test asked for it.
pub(super) fn trip(control: &Control) {
    assert!(!control.take_panic(), "{PANIC_TEXT}");
}

/// The registry without those that are gone.
fn living() -> MutexGuard<'static, Vec<Entry>> {
    let mut entries = LIVING.lock().unwrap_or_else(PoisonError::into_inner);
    entries.retain(|(_, control)| control.strong_count() > 0);
    entries
}

fn is_called(known: &str, name: &str) -> bool {
    known.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

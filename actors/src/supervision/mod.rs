//! Supervision: actors that end, however they do, are noticed and started again with fresh state.
//!
//! actix's own supervisor calls `restarting` on the *same* object after `ctx.stop()` and does
//! nothing after a panic, so this one polls each actor's context itself.
//!
//! - [`Supervisor`], [`Strategy`], [`Restart`], [`RestartLimit`], [`Backoff`]: the tree and its rules.
//! - [`ChildSpec`], [`ActorSpec`], [`Slot`]: how a child is made, and where its address is found.
//! - [`watch()`], [`watch_with`], [`watch_in`], [`StopHandle`]: children that an actor starts on demand.
//! - [`Exit`], [`fail`], [`Shutdown`]: how a child ends, and how it is asked to.
//! - [`Outlet`]: bounded sends, counted when refused.
//! - [`install_panic_hook`]: every panic is one line of the log.
//! - `fault`, with the feature `fault-injection`: makes any child panic.
//!
//! The guarantees are in `docs/supervision.md`.

mod child;
mod control;
mod current;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod outlet;
mod policy;
mod slot;
mod spec;
mod supervisor;
mod watch;

pub use child::Shutdown;
pub use control::StopHandle;
pub use current::{fail, install_panic_hook};
pub use outlet::Outlet;
pub use policy::{Backoff, Exit, Restart, RestartLimit, Strategy};
pub use slot::{Line, Slot};
pub use spec::{ActorSpec, ChildSpec, GRACE};
pub use supervisor::{Stopper, Supervisor};
pub use watch::{watch, watch_in, watch_with};

#[cfg(test)]
mod tests;

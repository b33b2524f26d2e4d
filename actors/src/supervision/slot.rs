//! Where the present address of a child that may be restarted is found.

use std::any::type_name;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message, Recipient};

/// The present address of one child, or nothing while it is down; clones share it.
///
/// Filled by the supervisor after the child's `started` has returned, emptied before its end is
/// dealt with. Factories of later children take their recipients from it at each start.
pub struct Slot<A: Actor>(Arc<RwLock<Option<Addr<A>>>>);

impl<A: Actor<Context = Context<A>>> Slot<A> {
    /// An empty slot.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(None)))
    }

    /// The child's present address.
    #[must_use]
    pub fn addr(&self) -> Option<Addr<A>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A recipient of the child's present address.
    #[must_use]
    pub fn recipient<M>(&self) -> Option<Recipient<M>>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.addr().map(Addr::recipient)
    }

    /// A recipient for a factory that cannot do without it.
    ///
    /// # Errors
    ///
    /// A text that names the actor, when it is down.
    pub fn need<M>(&self) -> Result<Recipient<M>, String>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.recipient().ok_or_else(|| format!("{} is not up", short_name::<A>()))
    }

    /// The way to whatever child is in the slot at the time, for those who are not restarted with it.
    #[must_use]
    pub fn line<M>(&self) -> Line<M>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let slot = self.clone();
        Line(Arc::new(move || slot.recipient()))
    }

    pub(super) fn fill(&self, addr: Addr<A>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(addr);
    }

    /// Empties the slot, unless a later incarnation has filled it already.
    pub(super) fn clear(&self, of: &Addr<A>) {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref() == Some(of) {
            *slot = None;
        }
    }
}

/// The way to whoever is in a slot at present, for one that does not end with them; clones lead to the same.
pub struct Line<M: Message + Send>(Arc<dyn Fn() -> Option<Recipient<M>> + Send + Sync>)
where
    M::Result: Send;

impl<M: Message + Send + 'static> Line<M>
where
    M::Result: Send,
{
    /// Always leads to the same.
    #[must_use]
    pub fn to(recipient: Recipient<M>) -> Self {
        Self(Arc::new(move || Some(recipient.clone())))
    }

    /// Leads to nobody.
    #[must_use]
    pub fn to_nobody() -> Self {
        Self(Arc::new(|| None))
    }

    /// Who is there now. It may end before it is asked.
    #[must_use]
    pub fn recipient(&self) -> Option<Recipient<M>> {
        (self.0)()
    }
}

impl<M: Message + Send> Clone for Line<M>
where
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message + Send> fmt::Debug for Line<M>
where
    M::Result: Send,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line<{}>", short_name::<M>())
    }
}

fn short_name<A>() -> &'static str {
    type_name::<A>().rsplit("::").next().unwrap_or("an actor")
}

impl<A: Actor<Context = Context<A>>> Default for Slot<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Actor> Clone for Slot<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Actor> fmt::Debug for Slot<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot<{}>", short_name::<A>())
    }
}

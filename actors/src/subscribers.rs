//! Neighbours that asked to be told of something: bounded, and forgotten once they are gone.

use actix::{Message, Recipient};

/// Many more than there are actors that ask one and the same.
const SUBSCRIBERS_MAX: usize = 16;

/// Those who are told of one kind of event.
pub(crate) struct Subscribers<M: Message + Send>
where
    M::Result: Send,
{
    /// Of what, for the log.
    of: &'static str,
    all: Vec<Recipient<M>>,
}

impl<M> Subscribers<M>
where
    M: Message<Result = ()> + Clone + Send,
{
    pub(crate) const fn new(of: &'static str) -> Self {
        Self { of, all: Vec::new() }
    }

    /// Takes one more, unless there are too many.
    pub(crate) fn add(&mut self, subscriber: Recipient<M>) {
        self.all.retain(Recipient::connected);
        if self.all.len() < SUBSCRIBERS_MAX {
            self.all.push(subscriber);
        } else {
            tracing::error!(max = SUBSCRIBERS_MAX, of = self.of, "too many subscribers");
        }
    }

    /// Tells all, whatever waits for them: what a person did is rare and must not be missed.
    pub(crate) fn tell(&self, event: &M) {
        self.all.iter().for_each(|subscriber| subscriber.do_send(event.clone()));
    }

    /// Tells those that have room for it: for what a stranger can cause as often as they like.
    pub(crate) fn try_tell(&self, event: &M) {
        for subscriber in &self.all {
            if subscriber.try_send(event.clone()).is_err() {
                tracing::debug!(of = self.of, "a subscriber is too busy to hear");
            }
        }
    }
}

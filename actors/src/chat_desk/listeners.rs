//! Who is told what happens, and what waits while they are started again.
//!
//! Whoever said something has its receipt before we have shown it, so a console that fails must
//! not cost what comes until the next one stands.

use std::collections::VecDeque;

use actix::Recipient;
use bitchat_protocol::text::escape_for_terminal;

use super::Notice;

/// Notices that wait at most: many more than come within the second that a restart takes.
const HELD_MAX: usize = 1024;
/// Bytes of their texts.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// See the module.
pub(super) struct Listeners {
    present: Vec<Recipient<Notice>>,
    /// Told as well; whether they are there makes no difference.
    overhearing: Vec<Recipient<Notice>>,
    /// Somebody will listen; where nobody ever does, nothing is held.
    is_expected: bool,
    held: VecDeque<Notice>,
    held_bytes: usize,
    lost: usize,
}

impl Listeners {
    pub(super) const fn new(is_expected: bool) -> Self {
        Self {
            present: Vec::new(),
            overhearing: Vec::new(),
            is_expected,
            held: VecDeque::new(),
            held_bytes: 0,
            lost: 0,
        }
    }

    /// Tells a new one what has waited, and from now on everything.
    pub(super) fn add(&mut self, listener: Recipient<Notice>) {
        for notice in std::mem::take(&mut self.held) {
            listener.do_send(notice);
        }
        self.held_bytes = 0;
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let text = format!("{lost} notices are not shown: too many came during a restart");
            listener.do_send(Notice::Warning { text, code: None });
        }
        self.present.push(listener);
    }

    /// Tells one everything from now on for which nothing is held.
    pub(super) fn add_overhearing(&mut self, listener: Recipient<Notice>) {
        self.overhearing.push(listener);
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.present.retain(Recipient::connected);
        self.overhearing.retain(Recipient::connected);
        for listener in self.present.iter().chain(&self.overhearing) {
            listener.do_send(notice.clone());
        }
        if self.present.is_empty() {
            self.hold(notice);
        }
    }

    fn hold(&mut self, notice: Notice) {
        if let Notice::Warning { text, .. } = &notice {
            tracing::warn!("{}", escape_for_terminal(text));
        }
        if !self.is_expected {
            return;
        }
        let bytes = bytes_of(&notice);
        if self.held.len() >= HELD_MAX || self.held_bytes + bytes > HELD_BYTES_MAX {
            self.lost += 1;
            return;
        }
        self.held_bytes += bytes;
        self.held.push_back(notice);
    }
}

fn bytes_of(notice: &Notice) -> usize {
    match notice {
        Notice::Heard { text, .. } | Notice::Warning { text, .. } => text.len(),
        Notice::Delivered { .. }
        | Notice::MemberUp { .. }
        | Notice::MemberDown { .. }
        | Notice::SeederUp { .. }
        | Notice::SeederDown { .. }
        | Notice::Invited(_)
        | Notice::InviteAnswered { .. }
        | Notice::TicketRenewed { .. }
        | Notice::Moved { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use actix::{Actor, ActorContext as _, Addr, Context, Handler, Message};
    use bitchat_protocol::id::{MessageId, PeerId};

    use super::*;

    /// Writes down the texts it is told.
    #[derive(Clone, Default)]
    struct Scribe(Arc<Mutex<Vec<String>>>);

    impl Actor for Scribe {
        type Context = Context<Self>;
    }

    impl Handler<Notice> for Scribe {
        type Result = ();

        fn handle(&mut self, notice: Notice, _: &mut Self::Context) {
            let text = match notice {
                Notice::Heard { text, .. } | Notice::Warning { text, .. } => text,
                Notice::Delivered { .. }
                | Notice::MemberUp { .. }
                | Notice::MemberDown { .. }
                | Notice::SeederUp { .. }
                | Notice::SeederDown { .. }
                | Notice::Invited(_)
                | Notice::InviteAnswered { .. }
                | Notice::TicketRenewed { .. }
                | Notice::Moved { .. } => "no text".into(),
            };
            self.0.lock().unwrap().push(text);
        }
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Stop;

    impl Handler<Stop> for Scribe {
        type Result = ();

        fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }

    impl Scribe {
        fn texts(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    async fn stop(scribe: Addr<Scribe>) {
        scribe.send(Stop).await.unwrap();
        while scribe.connected() {
            tokio::task::yield_now().await;
        }
    }

    fn heard(text: impl Into<String>) -> Notice {
        Notice::Heard {
            seq: None,
            own: false,
            channel: None,
            from: PeerId([1; 32]),
            name: "alice".into(),
            id: MessageId([2; 16]),
            unix_ms: 0,
            text: text.into(),
        }
    }

    #[actix::test]
    async fn what_comes_while_nobody_is_there_is_told_to_the_next_in_order() {
        let mut listeners = Listeners::new(true);
        let (first, second) = (Scribe::default(), Scribe::default());
        listeners.tell(heard("zero"));
        let addr = first.clone().start();
        listeners.add(addr.clone().recipient());
        listeners.tell(heard("one"));
        stop(addr).await;
        listeners.tell(heard("two"));
        listeners.tell(heard("three"));
        let addr = second.clone().start();
        listeners.add(addr.clone().recipient());
        listeners.tell(heard("four"));
        stop(addr).await;
        assert_eq!(first.texts(), ["zero", "one"]);
        assert_eq!(second.texts(), ["two", "three", "four"]);
    }

    #[actix::test]
    async fn who_overhears_is_told_and_nothing_is_lost_to_whom_it_is_meant_for() {
        let mut listeners = Listeners::new(true);
        let (meant, other) = (Scribe::default(), Scribe::default());
        let addr = other.clone().start();
        listeners.add_overhearing(addr.clone().recipient());
        listeners.tell(heard("one"));
        stop(addr).await;
        listeners.tell(heard("two"));
        let addr = meant.clone().start();
        listeners.add(addr.clone().recipient());
        stop(addr).await;
        assert_eq!(other.texts(), ["one"]);
        assert_eq!(meant.texts(), ["one", "two"]);
    }

    #[actix::test]
    async fn what_waits_is_bounded_and_the_rest_is_counted() {
        let mut listeners = Listeners::new(true);
        for _ in 0..300 {
            listeners.tell(heard("x".repeat(32 * 1024)));
        }
        let scribe = Scribe::default();
        let addr = scribe.clone().start();
        listeners.add(addr.clone().recipient());
        stop(addr).await;
        let texts = scribe.texts();
        assert_eq!(texts.len(), 257, "8 MiB, and a warning");
        assert!(texts[256].starts_with("44 notices are not shown"), "{}", texts[256]);
    }

    #[test]
    fn where_nobody_ever_listens_nothing_is_held() {
        let mut listeners = Listeners::new(false);
        listeners.tell(heard("one"));
        assert!(listeners.held.is_empty() && listeners.lost == 0);
    }
}

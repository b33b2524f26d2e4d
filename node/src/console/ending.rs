//! How a running node is ended from inside, and with what: outlives a restart of the console.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use actix::Recipient;
use bitchat_actors::chat_desk::ListUndelivered;
use bitchat_actors::supervision::Stopper;
use bitchat_protocol::id::MessageId;
use bitchat_protocol::limits::OUTBOX_MESSAGES_MAX;
use tokio::sync::watch;

use crate::exit::Exit;
use crate::rpc::{Asker, Lack, Refusal};

/// Messages of ours whose receipts are told from those of other clients.
const SAID_MAX: usize = OUTBOX_MESSAGES_MAX;

/// Messages that nobody is known to have, beyond which no more is said: each is named to a node
/// that has more than ours to deliver.
const OWED_MAX: usize = 100_000;

/// Shared by the console and whoever waits for the node.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    stopper: OnceLock<Stopper>,
    leave: watch::Sender<bool>,
    course: Mutex<Course>,
}

/// What came of the run so far.
#[derive(Debug, Default)]
struct Course {
    /// Said by whoever ended the node.
    said: Option<Exit>,
    /// What happened to a line that was not taken.
    refused: Option<Exit>,
    /// What a warning asks for: says more than that nobody was there.
    warned: Option<Exit>,
    /// A line is being dealt with.
    is_busy: bool,
    /// Whose request that is, where it is one that is not answered yet.
    asker: Option<Asker>,
    /// What was said, or is about to be, and nobody is known to have. What is repeated under a key
    /// after its delivery stays here, too, until all is delivered.
    owed: BTreeSet<MessageId>,
    /// Those of them of which it is not known yet whether they are said, and whether each was owed
    /// before: said once more under its key.
    in_flight: BTreeMap<MessageId, bool>,
    /// Those of them that were said to one alone: lost if the desk fails.
    unkept: BTreeSet<MessageId>,
    /// What was said last, oldest first: whose receipts are shown.
    said_last: VecDeque<MessageId>,
    /// Who holds that.
    desk: Option<Recipient<ListUndelivered>>,
}

impl Ending {
    /// Names what is to be stopped.
    pub(crate) fn attach(&self, stopper: Stopper) {
        let stopper = self.stopper.get_or_init(|| stopper);
        if self.lock().said.is_some() {
            // The end came before there was anything to stop.
            stopper.stop();
        }
    }

    /// Asks the console, also one that is yet to be started, to end the node at once.
    pub(crate) fn leave(&self) {
        self.leave.send_replace(true);
    }

    /// Resolves when [`Ending::leave`] was called.
    pub(super) fn asked_to_leave(&self) -> impl Future<Output = ()> + use<> {
        let mut leave = self.leave.subscribe();
        async move {
            if leave.wait_for(|leave| *leave).await.is_err() {
                // Nobody is left who could ask.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the node; the first reason counts.
    pub(super) fn end(&self, exit: Exit) {
        self.lock().said.get_or_insert(exit);
        if let Some(stopper) = self.stopper.get() {
            stopper.stop();
        }
    }

    /// A line was not taken. The first code that says why counts.
    pub(super) fn note_refused(&self, exit: Exit) {
        let refused = &mut self.lock().refused;
        if matches!(refused, None | Some(Exit::Failed)) {
            *refused = Some(exit);
        }
    }

    /// What lines that were not taken ask for.
    pub(super) fn refused(&self) -> Option<Exit> {
        self.lock().refused
    }

    /// A warning asks for this code; one that cannot be mended by saying it again counts most.
    pub(super) fn note_warned(&self, exit: Exit) {
        let warned = &mut self.lock().warned;
        if matches!(warned, None | Some(Exit::NotDelivered)) {
            *warned = Some(exit);
        }
    }

    /// Whether a line is being dealt with; what it was before.
    pub(super) fn set_busy(&self, is_busy: bool) -> bool {
        std::mem::replace(&mut self.lock().is_busy, is_busy)
    }

    /// Whose request is being dealt with.
    pub(super) fn note_asked(&self, asker: &Asker) {
        self.lock().asker = Some(asker.clone());
    }

    /// Whose request is not answered yet; it is taken as answered from now on.
    pub(super) fn take_asker(&self) -> Option<Asker> {
        self.lock().asker.take()
    }

    /// A message is about to be said; whether it is on disk once that is answered.
    ///
    /// # Errors
    ///
    /// So many are owed that one more could be lost sight of.
    pub(super) fn note_saying(&self, id: MessageId, is_kept: bool) -> Result<(), Refusal> {
        let course = &mut *self.lock();
        if course.owed.len() >= OWED_MAX && !course.owed.contains(&id) {
            let text = format!("nobody has {OWED_MAX} messages that were said here: wait for that");
            let lack = Lack::Room { waiting: OWED_MAX };
            return Err(Refusal::with(Exit::Limit, text).lacking(lack));
        }
        if !course.said_last.contains(&id) {
            if course.said_last.len() >= SAID_MAX {
                course.said_last.pop_front();
            }
            course.said_last.push_back(id);
        }
        let was_owed = !course.owed.insert(id);
        course.in_flight.entry(id).or_insert(was_owed);
        if !is_kept {
            course.unkept.insert(id);
        }
        Ok(())
    }

    /// A message is said.
    pub(super) fn note_said(&self, id: &MessageId) {
        self.lock().in_flight.remove(id);
    }

    /// A message was not said, or it is not certain whether it was: then it counts as said for as
    /// long as the node has it and nobody else.
    pub(super) fn note_unsaid(&self, id: &MessageId, is_certain: bool) {
        let course = &mut *self.lock();
        let was_owed = course.in_flight.remove(id).unwrap_or(true);
        if is_certain && !was_owed {
            course.owed.remove(id);
            course.unkept.remove(id);
        }
    }

    /// How many messages may be said or not.
    pub(super) fn in_flight(&self) -> usize {
        self.lock().in_flight.len()
    }

    /// Whether a message was said here, as far as that is remembered.
    pub(super) fn has_said(&self, id: &MessageId) -> bool {
        self.lock().said_last.contains(id)
    }

    /// Some messages that were said and nobody is known to have.
    pub(super) fn said_and_owed(&self, max: usize) -> Vec<MessageId> {
        let course = self.lock();
        let said = course.owed.iter().filter(|id| !course.in_flight.contains_key(id));
        said.take(max).copied().collect()
    }

    /// A message was delivered to somebody.
    pub(super) fn note_settled(&self, id: &MessageId) {
        let course = &mut *self.lock();
        course.owed.remove(id);
        course.unkept.remove(id);
        course.in_flight.remove(id);
    }

    /// Nothing is owed any more, says the desk.
    pub(super) fn note_all_settled(&self) {
        let course = &mut *self.lock();
        course.owed.clear();
        course.unkept.clear();
    }

    /// How many messages nobody is known to have.
    pub(super) fn owed(&self) -> usize {
        self.lock().owed.len()
    }

    /// Nobody waits any more for what was in flight: the console that did has failed.
    pub(super) fn note_unanswered(&self) {
        self.lock().in_flight.clear();
    }

    /// Names the chat desk of a console that begins; how many messages were lost with another one
    /// that was there before.
    pub(super) fn meet(&self, desk: Recipient<ListUndelivered>) -> usize {
        let course = &mut *self.lock();
        if course.desk.as_ref() == Some(&desk) {
            return 0;
        }
        course.desk = Some(desk);
        let lost = std::mem::take(&mut course.unkept);
        course.owed.retain(|id| !lost.contains(id));
        lost.len()
    }

    /// What the console made of the run; where it said nothing, what is still owed does.
    pub(crate) fn exit(&self) -> Option<Exit> {
        let course = self.lock();
        let owed = (!course.owed.is_empty()).then_some(Exit::NotDelivered);
        course.warned.or(course.said).or(owed)
    }

    fn lock(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Context, Handler};
    use bitchat_actors::chat_desk::Owed;

    use super::*;

    struct Desk;

    impl Actor for Desk {
        type Context = Context<Self>;
    }

    impl Handler<ListUndelivered> for Desk {
        type Result = Owed;

        fn handle(&mut self, _: ListUndelivered, _: &mut Self::Context) -> Self::Result {
            Owed::default()
        }
    }

    #[actix_rt::test]
    async fn what_was_said_to_one_alone_is_lost_with_the_desk_and_nothing_with_the_console() {
        let (ending, desk, other) = (Ending::default(), Desk.start(), Desk.start());
        assert_eq!(ending.meet(desk.clone().recipient()), 0);
        let ids = [1, 2, 3].map(|n| MessageId([n; 16]));
        ids.iter().for_each(|id| ending.note_saying(*id, *id == ids[1]).unwrap());
        ending.note_settled(&ids[0]);
        assert_eq!(ending.meet(desk.recipient()), 0, "another console");
        assert_eq!(ending.exit(), Some(Exit::NotDelivered));
        assert_eq!(ending.meet(other.recipient()), 1, "what was said to one alone");
        assert_eq!((ending.owed(), ending.exit()), (1, Some(Exit::NotDelivered)));
        ending.note_settled(&ids[1]);
        assert_eq!((ending.owed(), ending.exit()), (0, None));
    }

    #[test]
    fn what_is_refused_is_owed_no_more_unless_it_was_before_or_may_be_said_after_all() {
        let ending = Ending::default();
        let id = MessageId([1; 16]);
        let say = || ending.note_saying(id, true).unwrap();
        say();
        assert_eq!((ending.owed(), ending.said_and_owed(9)), (1, vec![]), "it is being said");
        ending.note_unsaid(&id, true);
        assert_eq!((ending.owed(), ending.in_flight()), (0, 0));
        say();
        ending.note_unsaid(&id, false);
        assert_eq!((ending.owed(), ending.said_and_owed(9)), (1, vec![id]));
        // The same once more, and now it is refused: the first may be said.
        say();
        ending.note_unsaid(&id, true);
        assert_eq!(ending.owed(), 1);
        ending.note_settled(&id);
        assert_eq!(ending.owed(), 0);
    }

    #[test]
    fn no_more_is_said_than_can_be_kept_in_sight() {
        let ending = Ending::default();
        let id = |n: usize| MessageId(u128::try_from(n).unwrap().to_be_bytes());
        for n in 0..OWED_MAX {
            ending.note_saying(id(n), true).unwrap();
            ending.note_said(&id(n));
        }
        let refusal = ending.note_saying(id(OWED_MAX), true).unwrap_err();
        assert_eq!(refusal.lacks, Some(Lack::Room { waiting: OWED_MAX }));
        ending.note_saying(id(0), true).unwrap();
        ending.note_settled(&id(7));
        ending.note_saying(id(OWED_MAX), true).unwrap();
        assert_eq!(ending.owed(), OWED_MAX);
    }
}

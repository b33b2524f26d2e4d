//! What is typed to be said: to whom, and what becomes of it.

use std::time::{Duration, Instant};

use actix::Context;
use bitchat_actors::{clock, entropy};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::{ChannelId, MessageId};
use serde_json::{Value, json};

use super::{Console, Form};
use crate::exit::Exit;
use crate::rpc::{Lack, Refusal};

/// Between two tries to do a line for which something was not there yet.
const RETRY_STEP: Duration = Duration::from_millis(100);

/// Where a message goes.
#[derive(Debug, Clone)]
pub(super) enum To {
    Channel(ChannelId),
    /// Somebody alone, by name or id.
    Person(String),
}

/// A message that is to be said.
#[derive(Debug, Clone)]
struct Message {
    id: MessageId,
    to: To,
    text: String,
    /// How long it waits for what is not there yet.
    deadline: Option<Instant>,
    /// A try was not answered, so that it may be said already.
    is_unsure: bool,
}

impl Message {
    fn request(&self) -> (&'static str, Value) {
        let (text, key) = (&self.text, self.id.to_string());
        match &self.to {
            To::Channel(id) => {
                ("say", json!({"channel": id.to_string(), "text": text, "key": key}))
            }
            To::Person(who) => ("tell", json!({"to": who, "text": text, "key": key})),
        }
    }
}

/// An id for a message of ours.
pub(super) fn new_id() -> MessageId {
    MessageId(Rng::from_seed(entropy::seed()).array())
}

impl Console {
    /// Until when a line waits for what is not there yet: room, a link, a person. Where a program
    /// writes the lines it cannot know when that comes; who talks JSON or sits at a prompt can ask.
    fn patience(&self) -> Option<Instant> {
        let waits = self.front.form() == Form::Text && !self.front.is_prompt();
        waits.then(|| clock::now() + self.config.linger)
    }

    /// Says a line, which waits where nobody can ask.
    pub(super) fn say(&mut self, to: To, text: String, ctx: &mut Context<Self>) {
        let deadline = self.patience();
        self.say_until(Message { id: new_id(), to, text, deadline, is_unsure: false }, ctx);
    }

    fn say_until(&mut self, message: Message, ctx: &mut Context<Self>) {
        // Before it is said, as the answer may be lost.
        let is_kept = matches!(message.to, To::Channel(_));
        let is_noted = self.ending.note_saying(message.id, is_kept);
        let (method, params) = message.request();
        let node = self.node.clone();
        let said = async move {
            is_noted?;
            node.call(method, &params, None).await
        };
        self.when(said, ctx, move |console, said, ctx| match said {
            Ok(_) => console.ending.note_said(&message.id),
            Err(refusal) => console.on_unsaid(message, &refusal, ctx),
        });
    }

    /// Says it again, under the same key, for as long as it may wait.
    fn on_unsaid(&mut self, mut message: Message, refusal: &Refusal, ctx: &mut Context<Self>) {
        message.is_unsure |= refusal.lacks == Some(Lack::Answer);
        if refusal.lacks.is_some() && message.deadline.is_some_and(|it| clock::now() < it) {
            return self.retry(message, ctx);
        }
        self.ending.note_unsaid(&message.id, !message.is_unsure);
        if message.is_unsure {
            self.ending.note_refused(Exit::NotDelivered);
            return self.front.talk(&unsure(&message.text));
        }
        match (refusal.lacks, message.deadline) {
            (Some(Lack::Room { waiting }), Some(_)) => self.give_up(waiting),
            (Some(lack), Some(_)) => self.note_refusal(&self.in_vain(lack, &message.to)),
            (..) => self.note_refusal(refusal),
        }
    }

    /// Tries to say something once more after a while, unless the end came in between.
    fn retry(&mut self, message: Message, ctx: &mut Context<Self>) {
        self.when(tokio::time::sleep(RETRY_STEP), ctx, |console, (), ctx| {
            if !console.is_over {
                console.say_until(message, ctx);
            }
        });
    }

    fn note_refusal(&mut self, refusal: &Refusal) {
        self.ending.note_refused(refusal.exit);
        self.front.talk(&format!("not sent: {}", refusal.text));
    }

    fn in_vain(&self, lack: Lack, to: &To) -> Refusal {
        let what = match (lack, to) {
            (Lack::Person, To::Person(who)) => format!("nobody called {who} came"),
            (Lack::Moment | Lack::Answer, _) => {
                "the disk or a part of the node was not ready".to_owned()
            }
            _ => "there was no link with that peer".to_owned(),
        };
        Refusal::with(Exit::NotDelivered, self.within_linger(&what))
    }

    /// Says that `what` did not change in all the time that a line may wait.
    pub(super) fn within_linger(&self, what: &str) -> String {
        let linger = crate::settings::Span(self.config.linger);
        format!("{what} within {linger}; --linger DURATION waits longer")
    }
}

/// What is told of a message whose saying was not answered: said again, it may be said twice.
fn unsure(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown += "...";
    }
    format!("it is not known whether this was said: {shown} (/history shows what was)")
}

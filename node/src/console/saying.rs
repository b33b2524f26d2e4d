//! What is typed to be said: to whom, and what becomes of it.

use std::time::{Duration, Instant};

use actix::Context;
use bitchat_actors::chat_desk::{Say, SayError, Tell};
use bitchat_actors::{clock, entropy};
use bitchat_protocol::chat::SayError as Unfit;
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};

use super::{Console, Form};
use crate::exit::Exit;

/// Between two tries to do a line for which something was not there yet.
const RETRY_STEP: Duration = Duration::from_millis(100);

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum To {
    Channel(ChannelId),
    Peer(PeerId),
}

impl Console {
    /// Until when a line waits for what is not there yet: room, a link, a person. Where a program
    /// writes the lines it cannot know when that comes; who talks JSON or sits at a prompt can ask.
    pub(super) fn patience(&self) -> Option<Instant> {
        let waits = self.front.form() == Form::Text && !self.front.is_prompt();
        waits.then(|| clock::now() + self.config.linger)
    }

    /// Tries something once more after a while, unless the end came in between.
    pub(super) fn retry(
        &mut self,
        ctx: &mut Context<Self>,
        again: impl FnOnce(&mut Self, &mut Context<Self>) + 'static,
    ) {
        self.is_waiting = true;
        self.when(tokio::time::sleep(RETRY_STEP), ctx, |console, (), ctx| {
            if !console.is_over {
                again(console, ctx);
            }
        });
    }

    /// Says `text`; with a `deadline`, it waits while there is no room or no link.
    pub(super) fn say(
        &mut self,
        to: To,
        text: String,
        id: Option<MessageId>,
        deadline: Option<Instant>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<MessageId, Refused>) + 'static,
    ) {
        let id = id.unwrap_or_else(|| MessageId(Rng::from_seed(entropy::seed()).array()));
        self.say_until(to, text, id, deadline, ctx, then);
    }

    fn say_until(
        &mut self,
        to: To,
        text: String,
        id: MessageId,
        deadline: Option<Instant>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<MessageId, Refused>) + 'static,
    ) {
        // Before it is said, as the answer may be lost.
        self.ending.note_saying(id);
        let key = Some(id);
        let said = match to {
            To::Channel(channel) => {
                futures_util::future::Either::Left(self.offices.say.send(Say {
                    channel,
                    text: text.clone(),
                    id: key,
                }))
            }
            To::Peer(peer) => futures_util::future::Either::Right(self.offices.tell.send(Tell {
                peer,
                text: text.clone(),
                id: key,
            })),
        };
        self.when(said, ctx, move |console, said, ctx| {
            if !matches!(said, Ok(Ok(_))) {
                console.ending.note_settled(&id);
            }
            let unfit = match said {
                Ok(Ok(id)) => return then(console, Ok(id)),
                Ok(Err(SayError::Refused(unfit))) => unfit,
                Ok(Err(error)) => return then(console, Err(error.into())),
                Err(_) => return then(console, Err(Refused::restarting())),
            };
            match (unfit, deadline) {
                (Unfit::OutboxFull { .. } | Unfit::NotLinked, Some(deadline))
                    if clock::now() < deadline =>
                {
                    console.retry(ctx, move |console, ctx| {
                        console.say_until(to, text, id, Some(deadline), ctx, then);
                    });
                }
                (Unfit::OutboxFull { waiting }, Some(_)) => console.give_up(waiting),
                (Unfit::NotLinked, Some(_)) => {
                    let text = console.in_vain("there was no link with that peer");
                    then(console, Err(Refused { exit: Exit::NotDelivered, text }));
                }
                (unfit, _) => then(console, Err(SayError::from(unfit).into())),
            }
        });
    }

    /// Says that `what` did not change in all the time that a line may wait.
    pub(super) fn in_vain(&self, what: &str) -> String {
        let linger = crate::settings::Span(self.config.linger);
        format!("{what} within {linger}; --linger DURATION waits longer")
    }
}

/// Why something was not said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) exit: Exit,
    pub(super) text: String,
}

impl Refused {
    fn restarting() -> Self {
        let text = "the node is restarting a part of itself; say it again";
        Self { exit: Exit::Failed, text: text.into() }
    }
}

impl From<SayError> for Refused {
    fn from(error: SayError) -> Self {
        let exit = match error {
            SayError::Refused(Unfit::TooLong { .. } | Unfit::OutboxFull { .. }) => Exit::Limit,
            SayError::Refused(Unfit::NotLinked) => Exit::NotDelivered,
            SayError::Refused(Unfit::Empty) | SayError::NoSuchChannel | SayError::SeedOnly => {
                Exit::Failed
            }
        };
        Self { exit, text: error.to_string() }
    }
}

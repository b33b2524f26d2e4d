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

/// Between two tries to say a line for which there was no room.
const ROOM_STEP: Duration = Duration::from_millis(100);

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum To {
    Channel(ChannelId),
    Peer(PeerId),
}

impl Console {
    /// Says `text`. Where a program writes the lines, it waits while there is no room for more.
    pub(super) fn say(
        &mut self,
        to: To,
        text: String,
        id: Option<MessageId>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<MessageId, Refused>) + 'static,
    ) {
        let waits = self.front.form() == Form::Text && !self.front.is_prompt();
        let deadline = waits.then(|| clock::now() + self.config.linger);
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
            match (said, deadline) {
                (Ok(Err(SayError::Refused(Unfit::OutboxFull { .. }))), Some(deadline))
                    if clock::now() < deadline =>
                {
                    let pause = tokio::time::sleep(ROOM_STEP);
                    console.when(pause, ctx, move |console, (), ctx| {
                        console.say_until(to, text, id, Some(deadline), ctx, then);
                    });
                }
                (Ok(Err(SayError::Refused(Unfit::OutboxFull { waiting }))), Some(_)) => {
                    console.give_up(waiting);
                }
                (Ok(Ok(id)), _) => then(console, Ok(id)),
                (Ok(Err(error)), _) => then(console, Err(error.into())),
                (Err(_), _) => then(console, Err(Refused::restarting())),
            }
        });
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
            SayError::Refused(Unfit::Empty) | SayError::NoSuchChannel => Exit::Failed,
        };
        Self { exit, text: error.to_string() }
    }
}

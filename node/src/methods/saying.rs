//! What is said: in a channel, or to one person alone.

use actix::Recipient;
use bitchat_actors::chat_desk::{ListUndelivered, Say, SayError, Tell};
use bitchat_protocol::id::MessageId;
use bitchat_protocol::limits::OUTBOX_MESSAGES_MAX;
use bitchat_protocol::log::SayError as Unkept;
use bitchat_protocol::whisper::SayError as Unfit;
use serde_json::{Value, json};

use super::{Methods, OpenChannels, restarting};
use crate::exit::Exit;
use crate::rpc::{self, Lack, Refusal};

pub(super) const METHODS: [&str; 3] = ["say", "tell", "undelivered"];

/// Who takes what is said.
#[derive(Debug, Clone)]
pub(crate) struct Saying {
    pub(crate) say: Recipient<Say>,
    pub(crate) tell: Recipient<Tell>,
    pub(crate) undelivered: Recipient<ListUndelivered>,
}

impl Methods {
    /// Does what one of [`METHODS`] says; `None`: it is none of them.
    pub(super) async fn say(
        &self,
        method: &str,
        params: &Value,
        open: &OpenChannels,
    ) -> Option<Result<Value, Refusal>> {
        match method {
            "say" => Some(self.say_in_channel(params, open).await),
            "tell" => Some(self.tell_one(params, open).await),
            "undelivered" => Some(self.undelivered(params).await),
            _ => None,
        }
    }

    async fn say_in_channel(&self, params: &Value, open: &OpenChannels) -> Result<Value, Refusal> {
        let channel = open.of(params)?.id;
        let (text, id) = (text_of(params)?, key_of(params)?);
        said(self.saying.say.send(Say { channel, text, id }).await.map_err(say_again)?)
    }

    async fn tell_one(&self, params: &Value, open: &OpenChannels) -> Result<Value, Refusal> {
        let who = rpc::string_of(params, "to")?;
        let (text, id) = (text_of(params)?, key_of(params)?);
        let peer = self.find_person(who, open).await?.peer;
        said(self.saying.tell.send(Tell { peer, text, id }).await.map_err(say_again)?)
    }

    async fn undelivered(&self, params: &Value) -> Result<Value, Refusal> {
        let among = messages_of(params)?;
        let owed = self.saying.undelivered.send(ListUndelivered { among }).await;
        let owed = owed.map_err(restarting)?;
        let ids: Vec<String> = owed.messages.iter().map(ToString::to_string).collect();
        Ok(json!({"count": owed.count, "messages": ids}))
    }
}

/// Which messages are meant; `None`: all.
fn messages_of(params: &Value) -> Result<Option<Vec<MessageId>>, Refusal> {
    let named = match params.get("messages") {
        None | Some(Value::Null) => return Ok(None),
        Some(named) => named.as_array().filter(|all| all.len() <= OUTBOX_MESSAGES_MAX),
    };
    let wrong = || rpc::wrong("messages", &format!("a list of at most {OUTBOX_MESSAGES_MAX} ids"));
    let id = |one: &Value| one.as_str().and_then(|id| id.parse().ok()).ok_or_else(wrong);
    named.ok_or_else(wrong)?.iter().map(id).collect::<Result<_, _>>().map(Some)
}

/// Whoever was to say it failed, perhaps when it was said already.
fn say_again(_: actix::MailboxError) -> Refusal {
    refusal(SayError::Unanswered)
}

fn said(said: Result<MessageId, SayError>) -> Result<Value, Refusal> {
    match said {
        Ok(message) => Ok(json!({"id": message.to_string()})),
        Err(error) => Err(refusal(error)),
    }
}

fn refusal(error: SayError) -> Refusal {
    let text = error.to_string();
    let (exit, lacks) = match error {
        SayError::Refused(Unfit::OutboxFull { waiting }) => {
            (Exit::Limit, Some(Lack::Room { waiting }))
        }
        SayError::Refused(Unfit::TooLong { .. }) => (Exit::Limit, None),
        SayError::Refused(Unfit::NotLinked) => (Exit::NotDelivered, Some(Lack::Link)),
        SayError::NotTaken(Unkept::TooLong { .. }) => (Exit::Limit, None),
        SayError::NotTaken(Unkept::Busy { .. } | Unkept::StoreFailing) | SayError::Starting => {
            (Exit::Failed, Some(Lack::Moment))
        }
        SayError::Unanswered => (Exit::NotDelivered, Some(Lack::Answer)),
        SayError::NotTaken(Unkept::Empty | Unkept::NotOpen | Unkept::Seeder)
        | SayError::Refused(Unfit::Empty)
        | SayError::NotKept(_)
        | SayError::NoSuchChannel
        | SayError::Moved { .. }
        | SayError::SeedOnly => (Exit::Failed, None),
    };
    Refusal { lacks, ..Refusal::with(exit, text) }
}

fn text_of(params: &Value) -> Result<String, Refusal> {
    rpc::string_of(params, "text").map(ToOwned::to_owned)
}

/// The idempotency key: a message id of the client's own.
pub(crate) fn key_of(params: &Value) -> Result<Option<MessageId>, Refusal> {
    let wrong = |_| rpc::wrong("key", "32 hexadecimal digits");
    rpc::optional_string(params, "key")?.map(|key| key.parse().map_err(wrong)).transpose()
}

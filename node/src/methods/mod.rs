//! What a client can have a node do, over standard input and over the control socket alike.
//!
//! | part | methods |
//! |---|---|
//! | `queries` | `status`, `peers` |
//! | `saying` | `say`, `tell`, `undelivered` |
//! | here | `channels` |
//! | `notices` | what a client is told unasked, and its numbers |
//!
//! Not here: what belongs to one connection (`subscribe`, `help`, `quit`). A method never waits for
//! what is not there yet: its [`Refusal`] says what that is, and the client asks once more.

pub(crate) mod notices;
mod people;
mod queries;
mod saying;

use std::sync::Arc;

use actix::{MailboxError, Recipient};
use bitchat_actors::channel_book::ListChannels;
use bitchat_actors::contact_book::FindContact;
use bitchat_protocol::id::ChannelId;
use serde_json::{Value, json};

use crate::channels::{self, Channel};
use crate::rpc::{self, Refusal};
use notices::Wish;

pub(crate) use queries::{About, Queries};
pub(crate) use saying::{Saying, key_of};

/// The methods of this module itself.
const METHODS: [&str; 1] = ["channels"];

/// Whom the methods ask; all are started before whoever holds this.
#[derive(Debug, Clone)]
pub(crate) struct Methods {
    pub(crate) queries: Queries,
    pub(crate) saying: Saying,
    pub(crate) channels: Recipient<ListChannels>,
    pub(crate) contacts: Recipient<FindContact>,
}

/// The names of all methods.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    METHODS.into_iter().chain(saying::METHODS).chain(queries::METHODS)
}

impl Methods {
    /// Does what a method says. `present` is the channel that is meant where none is named.
    pub(crate) async fn call(
        &self,
        method: &str,
        params: &Value,
        present: Option<ChannelId>,
    ) -> Result<Value, Refusal> {
        if !names().any(|known| known == method) {
            return Err(rpc::no_such_method(method, names()));
        }
        let open = self.open(present).await?;
        if method == "channels" {
            return Ok(self.list(&open));
        }
        if let Some(said) = self.say(method, params, &open).await {
            return said;
        }
        let answer = self.queries.answer(method, params, &open).await;
        answer.unwrap_or_else(|| Err(rpc::no_such_method(method, names())))
    }

    /// The channels that are open now, the present one first.
    pub(crate) async fn open(&self, present: Option<ChannelId>) -> Result<OpenChannels, Refusal> {
        let all = self.channels.send(ListChannels).await.map_err(restarting)?;
        let open = all.into_iter().filter(|channel| channel.is_open);
        let mut all: Vec<Channel> = open
            .map(|channel| Channel { id: channel.id, name: Arc::from(channel.name.as_str()) })
            .collect();
        all.sort_by_key(|channel| Some(channel.id) != present);
        let has_present = all.first().is_some_and(|first| Some(first.id) == present);
        Ok(OpenChannels { all, has_present })
    }

    fn list(&self, open: &OpenChannels) -> Value {
        let one = |channel: &Channel| json!({"id": channel.id.to_string(), "name": &*channel.name});
        let all: Vec<Value> = open.all.iter().map(one).collect();
        json!({"you": self.queries.about.peer.to_string(), "channels": all})
    }
}

/// The open channels, and whether the first is meant where none is named.
#[derive(Debug, Clone)]
pub(crate) struct OpenChannels {
    pub(crate) all: Vec<Channel>,
    has_present: bool,
}

impl OpenChannels {
    /// The channel that a request names.
    pub(crate) fn of(&self, params: &Value) -> Result<&Channel, Refusal> {
        let at = match rpc::optional_string(params, "channel")? {
            Some(text) => channels::find(&self.all, text).map_err(Refusal::not_found)?,
            None if self.has_present || self.all.len() < 2 => 0,
            None => {
                let text = "several channels are open: say which one in params.channel";
                return Err(Refusal::params(text));
            }
        };
        self.all.get(at).ok_or_else(|| Refusal::not_found("no channel is open"))
    }

    /// Which notices a `subscribe` asks for: those of its `channels`, or all.
    pub(crate) fn wish(&self, params: &Value) -> Result<Wish, Refusal> {
        let named = match params.get("channels") {
            None | Some(Value::Null) => return Ok(Wish::default()),
            Some(named) => named.as_array(),
        };
        let wrong = || rpc::wrong("channels", "a list of names or ids");
        let wanted = named.ok_or_else(wrong)?.iter().map(|one| {
            let at = channels::find(&self.all, one.as_str().ok_or_else(wrong)?);
            Ok(self.all[at.map_err(Refusal::not_found)?].id)
        });
        Ok(Wish(Some(wanted.collect::<Result<_, _>>()?)))
    }

    /// The channels that a request is about: the one it names, or all.
    fn meant(&self, params: &Value) -> Result<Vec<&Channel>, Refusal> {
        match rpc::optional_string(params, "channel")? {
            Some(_) => Ok(vec![self.of(params)?]),
            None => Ok(self.all.iter().collect()),
        }
    }
}

fn restarting(_: MailboxError) -> Refusal {
    Refusal::now("the node is starting a part of itself again; ask once more")
}

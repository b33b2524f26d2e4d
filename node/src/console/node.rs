//! The node that a console is for: the one of this process, or one of another process whose guest it
//! is.

use actix::Recipient;
use bitchat_actors::channel_book;
use bitchat_actors::chat_desk::Subscribe;
use bitchat_protocol::id::ChannelId;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use crate::control::Remote;
use crate::methods::Methods;
use crate::rpc::Refusal;

/// Methods that are about one channel.
pub(super) const OF_ONE_CHANNEL: [&str; 6] =
    ["say", "peers", "invite", "history", "channel_members", "channel_remove"];

/// Who does what is asked, and tells what happens.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// The one of this process; it ends with the console.
    Here {
        /// What can be asked.
        methods: Box<Methods>,
        /// Who tells what happens.
        notices: Recipient<Subscribe>,
        /// Who tells which channels are open.
        channels: Recipient<channel_book::Subscribe>,
    },
    /// One that was there before, and goes on after the console.
    There(Remote),
}

impl Node {
    /// Has a method done; `present` is the channel that is meant where none is named.
    pub(super) fn call(
        &self,
        method: &str,
        params: &Value,
        present: Option<ChannelId>,
    ) -> LocalBoxFuture<'static, Result<Value, Refusal>> {
        let (method, mut params) = (method.to_owned(), params.clone());
        match self {
            Self::Here { methods, .. } => {
                let methods = methods.clone();
                Box::pin(async move { methods.call(&method, &params, present).await })
            }
            Self::There(remote) => {
                let is_open = params.get("channel").is_none_or(Value::is_null);
                if let Some(present) = present
                    && is_open
                    && OF_ONE_CHANNEL.contains(&&*method)
                {
                    if params.is_null() {
                        params = json!({});
                    }
                    if let Some(fields) = params.as_object_mut() {
                        fields.insert("channel".into(), present.to_string().into());
                    }
                }
                let remote = remote.clone();
                Box::pin(async move { remote.call(&method, params).await })
            }
        }
    }

    /// Whether it goes on after the console.
    pub(super) const fn is_other(&self) -> bool {
        matches!(self, Self::There(_))
    }
}

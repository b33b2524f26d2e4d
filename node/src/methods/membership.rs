//! Who is in a channel, and who is to be in it no longer.

use actix::Recipient;
use bitchat_actors::channel_book::{RemoveMember, Summary};
use bitchat_protocol::id::ChannelId;
use serde_json::{Value, json};

use super::joining::{self, refused};
use super::{Methods, OpenChannels, restarting};
use crate::rpc::{self, Refusal};

pub(super) const METHODS: [&str; 1] = ["channel_remove"];

/// Who keeps who is in which channel.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) remove: Recipient<RemoveMember>,
}

impl Methods {
    /// Does what one of [`METHODS`] says; `None`: it is none of them.
    pub(super) async fn membership(
        &self,
        method: &str,
        params: &Value,
        open: &OpenChannels,
    ) -> Option<Result<Value, Refusal>> {
        match method {
            "channel_remove" => Some(self.remove_member(params, open).await),
            _ => None,
        }
    }

    /// The channel that a request names, open or not, or the present one.
    async fn channel_meant(&self, params: &Value, open: &OpenChannels) -> Result<Summary, Refusal> {
        match rpc::optional_string(params, "channel")? {
            Some(text) => self.joining.find(text).await,
            None => self.joining.find(&open.of(params)?.id.to_string()).await,
        }
    }

    /// Has a channel go on without one person: a contact, or who is there now.
    async fn remove_member(&self, params: &Value, open: &OpenChannels) -> Result<Value, Refusal> {
        let id = self.channel_meant(params, open).await?.id;
        let here = open.only(id);
        let peer = self.find_person(rpc::string_of(params, "contact")?, &here).await?.peer;
        let removed = self.membership.remove.send(RemoveMember { id, peer }).await;
        let successor = removed.map_err(restarting)?.map_err(refused)?;
        Ok(json!({"channel": joining::to_json(&successor), "peer": peer.to_string()}))
    }
}

impl OpenChannels {
    /// This one alone, if it is open.
    fn only(&self, id: ChannelId) -> Self {
        let all = self.all.iter().filter(|channel| channel.id == id);
        Self { all: all.cloned().collect(), has_present: true }
    }
}

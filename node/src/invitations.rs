//! Invitations to closed channels: the same over standard input and over the control socket.

use std::time::Duration;

use actix::Recipient;
use bitchat_actors::channel_book::InvitePeer;
use bitchat_actors::contact_book::FindContact;
use bitchat_protocol::channel::Right;
use bitchat_protocol::id::{ChannelId, PeerId};
use serde_json::{Value, json};

use crate::rpc::{self, INVALID_PARAMS, REFUSED, Refusal};

/// Whom to ask.
#[derive(Debug, Clone)]
pub(crate) struct Invitations {
    pub(crate) invite: Recipient<InvitePeer>,
    pub(crate) contacts: Recipient<FindContact>,
}

/// What a ticket lets its holder be.
pub(crate) const fn right(may_invite: bool, seeder: bool) -> Right {
    match (may_invite, seeder) {
        (_, true) => Right::Seeder,
        (true, false) => Right::MayInvite,
        (false, false) => Right::Member,
    }
}

impl Invitations {
    /// Issues a ticket for a contact: the result of `invite`.
    pub(crate) async fn invite(&self, id: ChannelId, params: &Value) -> Result<Value, Refusal> {
        let peer = self.contact(rpc::string_of(params, "contact")?).await?;
        let given = |key: &str| Some(&params[key]).filter(|value| !value.is_null());
        let wrong =
            |key: &str, what: &str| (INVALID_PARAMS, format!("params.{key} must be {what}"));
        let flag = |key: &str| {
            let read = |value: &Value| value.as_bool().ok_or_else(|| wrong(key, "true or false"));
            given(key).map_or(Ok(false), read)
        };
        let seconds = |value: &Value| {
            let seconds = value.as_u64().ok_or_else(|| wrong("expires_s", "a number of seconds"));
            seconds.map(Duration::from_secs)
        };
        let lifetime = given("expires_s").map(seconds).transpose()?;
        let right = right(flag("may_invite")?, flag("seeder")?);
        let issued = self.invite.send(InvitePeer { id, peer, right, lifetime }).await;
        let issued = issued.map_err(|_| (REFUSED, rpc::RESTARTING.to_owned()))?;
        let invitation = issued.map_err(|error| (REFUSED, error.to_string()))?;
        Ok(json!({"link": *invitation.to_link(), "peer": peer.to_string()}))
    }

    async fn contact(&self, text: &str) -> Result<PeerId, Refusal> {
        if let Ok(peer) = text.parse() {
            return Ok(peer);
        }
        let found = self.contacts.send(FindContact { text: text.to_owned() }).await;
        let found = found.map_err(|_| (REFUSED, rpc::RESTARTING.to_owned()))?;
        found.map(|contact| contact.peer).map_err(|error| (REFUSED, error.to_string()))
    }
}

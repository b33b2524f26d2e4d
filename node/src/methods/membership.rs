//! Who is in a channel, and who is to be in it no longer.

use std::collections::BTreeSet;

use actix::Recipient;
use bitchat_actors::archive::ListAuthors;
use bitchat_actors::channel_book::{RemoveMember, Summary};
use bitchat_actors::mesh_manager::ListMembers;
use bitchat_protocol::id::ChannelId;
use serde_json::{Value, json};

use super::joining::{self, refused};
use super::{Methods, OpenChannels, restarting, to_json};
use crate::report::Known;
use crate::rpc::{self, Refusal};

pub(super) const METHODS: [&str; 2] = ["channel_members", "channel_remove"];

/// Whom the methods ask who is in which channel.
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
            "channel_members" => Some(self.list_members(params, open).await),
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

    /// Who is known to be in a channel, who speaks in it or spoke in what it took the place of, and
    /// who was removed.
    async fn list_members(&self, params: &Value, open: &OpenChannels) -> Result<Value, Refusal> {
        let channel = self.channel_meant(params, open).await?;
        let seen = self.queries.members.send(ListMembers { channel: channel.id });
        let seen = seen.await.map_err(restarting)?.members;
        let mut authors = BTreeSet::new();
        for id in with_formers(channel.id, &self.joining.list().await?) {
            // What is not open is not looked through: it is not known then who spoke in it.
            let listed = self.past.authors.send(ListAuthors { channel: id }).await;
            authors.extend(listed.map_err(restarting)?.unwrap_or_default());
        }
        let contacts = self.contacts.known().await?.names();
        let about = &self.queries.about;
        let (own, authors) = ((about.peer, &*about.name), &authors);
        to_json(
            &Known { channel: &channel, own, seen: &seen, authors, contacts: &contacts }.report(),
        )
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

/// A channel, and those that went on as it, directly or not.
pub(crate) fn with_formers(id: ChannelId, all: &[Summary]) -> BTreeSet<ChannelId> {
    let mut found = BTreeSet::from([id]);
    // Each round finds another one, or is the last.
    while let Some(former) = all.iter().find(|it| {
        it.moved_to.is_some_and(|successor| found.contains(&successor)) && !found.contains(&it.id)
    }) {
        found.insert(former.id);
    }
    found
}

//! Which person is meant by what was typed.

use std::sync::Arc;

use bitchat_actors::contact_book::FindContact;
use bitchat_actors::mesh_manager::{ListMembers, Member};
use bitchat_protocol::contact::ContactError;
use bitchat_protocol::id::PeerId;
use futures_util::future::join_all;

use super::{Methods, OpenChannels};
use crate::channels::ID_PREFIX_MIN;
use crate::rpc::{Lack, Refusal};

/// Who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) peer: PeerId,
    /// As it is shown, where anybody knows it.
    pub(super) name: Option<Arc<str>>,
}

impl Methods {
    /// Finds a person by name or id: contacts first, then members of the open channels.
    pub(super) async fn find_person(
        &self,
        who: &str,
        open: &OpenChannels,
    ) -> Result<Person, Refusal> {
        match self.contacts.send(FindContact { text: who.to_owned() }).await {
            Ok(Ok(contact)) => {
                return Ok(Person { peer: contact.peer, name: Some(contact.name) });
            }
            // Whoever has the name of one and an id like another's is not to be taken for either.
            Ok(Err(error @ ContactError::Ambiguous { .. })) => {
                return Err(Refusal::now(error.to_string()));
            }
            Ok(Err(_)) | Err(_) => {}
        }
        let lists = open.all.iter().map(|it| {
            let list = self.queries.members.send(ListMembers { channel: it.id });
            async { list.await.unwrap_or_default().members }
        });
        let members = join_all(lists).await.concat();
        let whole = who.trim().parse::<PeerId>().ok();
        if let Some(peer) = whole {
            let known = members.iter().find(|member| member.peer == peer);
            return Ok(Person { peer, name: known.map(|member| Arc::clone(&member.name)) });
        }
        find_member(who, &members)
    }
}

fn find_member(who: &str, members: &[Member]) -> Result<Person, Refusal> {
    let by_name = |member: &&Member| member.name.to_lowercase() == who.to_lowercase();
    let by_id = |member: &&Member| {
        who.len() >= ID_PREFIX_MIN && member.peer.to_string().starts_with(&who.to_lowercase())
    };
    let mut found: Vec<&Member> = members.iter().filter(by_name).collect();
    if found.is_empty() {
        found = members.iter().filter(by_id).collect();
    }
    found.sort_unstable_by_key(|member| member.peer);
    found.dedup_by_key(|member| member.peer);
    match found[..] {
        [member] => Ok(Person { peer: member.peer, name: Some(Arc::clone(&member.name)) }),
        [] => {
            let text = format!("nobody is called {who}; /peers lists who is there");
            Err(Refusal::now(text).lacking(Lack::Person))
        }
        _ => {
            let text = format!("several are called {who}; name one by the beginning of its id");
            Err(Refusal::now(text))
        }
    }
}

//! Which person is meant by what was typed.

use std::sync::Arc;

use bitchat_actors::mesh_manager::Member;
use bitchat_protocol::contact::Contact;
use bitchat_protocol::id::PeerId;

use super::{Methods, OpenChannels};
use crate::channels::ID_PREFIX_MIN;
use crate::rpc::{Lack, Refusal};

/// Who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(super) peer: PeerId,
    /// What they call themselves, where anybody knows it.
    pub(super) name: Option<Arc<str>>,
}

impl From<&Contact> for Person {
    fn from(contact: &Contact) -> Self {
        let theirs = contact.their_name.as_ref().map(|name| Arc::from(name.as_str()));
        Self { peer: contact.peer, name: Some(theirs.unwrap_or_else(|| Arc::clone(&contact.name))) }
    }
}

impl Methods {
    /// Finds a person by name or id: contacts first, then members of the open channels.
    pub(super) async fn find_person(
        &self,
        who: &str,
        open: &OpenChannels,
    ) -> Result<Person, Refusal> {
        match self.contacts.find(who).await {
            Ok(contact) => return Ok(Person::from(&contact)),
            Err(refusal) if refusal.lacks == Some(Lack::Person) => {}
            // Whoever has the name of one and an id like another's is not to be taken for either.
            Err(refusal) => return Err(refusal),
        }
        let members = self.members(open).await;
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

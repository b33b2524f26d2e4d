//! Which channel or person is meant by what was typed.

use std::time::Instant;

use actix::Context;
use bitchat_actors::clock;
use bitchat_actors::contact_book::FindContact;
use bitchat_actors::mesh_manager::{ListMembers, Member};
use bitchat_protocol::id::PeerId;

use super::{Channel, Console, Refused};
use crate::channels::{self, ID_PREFIX_MIN};
use crate::exit::Exit;

impl Console {
    /// An open channel by its name or the beginning of its id.
    pub(super) fn find_channel(&self, text: &str) -> Result<usize, String> {
        channels::find(&self.config.channels, text)
    }

    /// Finds a person by name or id: contacts first, then members of the open channels. With a
    /// `deadline`, it waits for one who is not there yet.
    pub(super) fn with_peer(
        &mut self,
        who: String,
        deadline: Option<Instant>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<PeerId, Refused>, &mut Context<Self>) + 'static,
    ) {
        let search = self.search(who.clone());
        self.when(search, ctx, move |console, found, ctx| match (found, deadline) {
            (Err(NotFound::Nobody), Some(deadline)) if clock::now() < deadline => {
                console.retry(ctx, move |console, ctx| {
                    console.with_peer(who, Some(deadline), ctx, then);
                });
            }
            (Err(NotFound::Nobody), Some(_)) => {
                let text = console.in_vain(&format!("nobody called {who} came"));
                then(console, Err(Refused { exit: Exit::NotDelivered, text }), ctx);
            }
            (found, _) => {
                let refused =
                    |error: NotFound| Refused { exit: Exit::Failed, text: error.words(&who) };
                then(console, found.map_err(refused), ctx);
            }
        });
    }

    fn search(&self, who: String) -> impl Future<Output = Result<PeerId, NotFound>> + use<> {
        let contact = self.offices.contacts.send(FindContact { text: who.clone() });
        let ask =
            |channel: &Channel| self.offices.members.send(ListMembers { channel: channel.id });
        let lists: Vec<_> = self.config.channels.iter().map(ask).collect();
        async move {
            if let Ok(peer) = who.parse::<PeerId>() {
                return Ok(peer);
            }
            if let Ok(Ok(contact)) = contact.await {
                return Ok(contact.peer);
            }
            let mut members = Vec::new();
            for list in lists {
                members.extend(list.await.unwrap_or_default().members);
            }
            find_member(&who, &members)
        }
    }
}

/// Why no person is meant.
#[derive(Debug, Clone, Copy)]
enum NotFound {
    Nobody,
    Several,
}

impl NotFound {
    fn words(self, who: &str) -> String {
        match self {
            Self::Nobody => format!("nobody is called {who}; /peers lists who is there"),
            Self::Several => {
                format!("several are called {who}; name one by the beginning of its id")
            }
        }
    }
}

fn find_member(who: &str, members: &[Member]) -> Result<PeerId, NotFound> {
    let by_name = |member: &&Member| member.name.to_lowercase() == who.to_lowercase();
    let by_id = |member: &&Member| {
        who.len() >= ID_PREFIX_MIN && member.peer.to_string().starts_with(&who.to_lowercase())
    };
    let mut found: Vec<PeerId> = members.iter().filter(by_name).map(|one| one.peer).collect();
    if found.is_empty() {
        found = members.iter().filter(by_id).map(|one| one.peer).collect();
    }
    found.sort_unstable();
    found.dedup();
    match found[..] {
        [peer] => Ok(peer),
        [] => Err(NotFound::Nobody),
        _ => Err(NotFound::Several),
    }
}

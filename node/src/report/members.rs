//! Who is in a channel, as far as this node knows: the result of `channel_members`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitchat_actors::channel_book::Summary;
use bitchat_actors::mesh_manager::Member;
use bitchat_protocol::id::PeerId;
use serde::{Deserialize, Serialize};

use super::words::{safe_name, short};

/// Everybody of whom the node knows that they are, were, or may not be in a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MembersReport {
    /// The channel's id.
    pub(crate) channel: String,
    pub(crate) members: Vec<PersonReport>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PersonReport {
    pub(crate) peer: String,
    /// As in the contact book; else as they call themselves on a link, else a short id.
    pub(crate) name: String,
    /// Whether it is we ourselves.
    pub(crate) you: bool,
    pub(crate) founder: bool,
    /// Whether they are in the contact book.
    pub(crate) contact: bool,
    pub(crate) linked: bool,
    /// `member` or `seeder`, as they have proven on the link; null where there is none.
    pub(crate) standing: Option<String>,
    /// Whether something that they said is kept here.
    pub(crate) spoke: bool,
    pub(crate) removed: bool,
}

/// What is known of a channel, from whoever knows it.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) channel: &'a Summary,
    /// Us, and what we are called.
    pub(crate) own: (PeerId, &'a str),
    /// Whom a running node sees; those who are only heard of from others are not linked.
    pub(crate) seen: &'a [Member],
    /// Whose words are kept.
    pub(crate) authors: &'a BTreeSet<PeerId>,
    /// The contact book.
    pub(crate) contacts: &'a BTreeMap<PeerId, Arc<str>>,
}

impl Known<'_> {
    /// We first, then the founder, then who is linked, and last who was removed.
    pub(crate) fn report(&self) -> MembersReport {
        let Summary { founder, pair, removed, .. } = self.channel;
        let named = [Some(self.own.0), *founder, *pair];
        let all: BTreeSet<PeerId> = named
            .into_iter()
            .flatten()
            .chain(self.seen.iter().map(|member| member.peer))
            .chain(self.authors.iter().copied())
            .chain(removed.iter().copied())
            .collect();
        let mut members: Vec<_> = all.into_iter().map(|peer| self.person(peer)).collect();
        members.sort_by_key(|it| (it.removed, !it.you, !it.founder, !it.linked));
        MembersReport { channel: self.channel.id.to_string(), members }
    }

    fn person(&self, peer: PeerId) -> PersonReport {
        let seen = self.seen.iter().find(|member| member.peer == peer);
        let is_own = peer == self.own.0;
        let own_name = Some(self.own.1).filter(|name| is_own && !name.is_empty());
        let name = own_name
            .or_else(|| self.contacts.get(&peer).map(|name| &**name))
            .or_else(|| seen.map(|member| &*member.name));
        PersonReport {
            peer: peer.to_string(),
            name: name.map_or_else(|| peer.short(), ToOwned::to_owned),
            you: is_own,
            founder: self.channel.founder == Some(peer),
            contact: self.contacts.contains_key(&peer),
            linked: seen.is_some_and(|member| member.linked),
            standing: seen.and_then(|member| member.standing).map(|it| it.word().to_owned()),
            spoke: self.authors.contains(&peer),
            removed: self.channel.removed.contains(&peer),
        }
    }
}

impl MembersReport {
    /// A line for each.
    pub(crate) fn describe(&self) -> Vec<String> {
        self.members.iter().map(PersonReport::describe).collect()
    }
}

impl PersonReport {
    /// Name, id, and what is known.
    pub(crate) fn describe(&self) -> String {
        let link = match (self.linked, self.standing.as_deref()) {
            (true, Some("seeder")) => Some("linked as a seeder"),
            (true, _) => Some("linked"),
            (false, _) => None,
        };
        let words = [
            self.removed.then_some("removed"),
            self.you.then_some("you"),
            self.founder.then_some("founder"),
            link,
            self.spoke.then_some("has spoken"),
            self.contact.then_some("contact"),
        ];
        let words: Vec<_> = words.into_iter().flatten().collect();
        let words =
            if words.is_empty() { "known from others".to_owned() } else { words.join(", ") };
        format!("{:<24} {} {words}", safe_name(&self.name), short(&self.peer))
    }
}

#[cfg(test)]
mod tests {
    use bitchat_actors::mesh_manager::Member;
    use bitchat_protocol::channel::{Kind, Policy, Rotation, Standing};
    use bitchat_protocol::id::ChannelId;
    use bitchat_protocol::identity::DisplayName;

    use super::*;

    const fn id(seed: u8) -> PeerId {
        PeerId([seed; 32])
    }

    #[test]
    fn everybody_is_listed_once_with_what_is_known() {
        let channel = Summary {
            id: ChannelId([1; 32]),
            name: DisplayName::new("team").unwrap(),
            kind: Kind::Closed,
            pair: None,
            rotation: Rotation::Daily,
            policy: Some(Policy::Tickets),
            is_member: true,
            founder: Some(id(1)),
            trackers: Vec::new(),
            nodes: Vec::new(),
            moved_to: None,
            removed: vec![id(5)],
            is_open: true,
        };
        let member = |seed, linked, standing| Member {
            peer: id(seed),
            name: Arc::from(format!("name {seed}")),
            linked,
            standing,
            address: None,
            rtt: None,
            connected_with: Vec::new(),
            not_connected_with: Vec::new(),
            mesh: Default::default(),
        };
        let seen = [
            member(3, true, Some(Standing::Member)),
            member(4, false, None),
            member(6, true, Some(Standing::Seeder)),
        ];
        let contacts = [(id(1), Arc::from("Alice")), (id(5), Arc::from("Mallory"))].into();
        let known = Known {
            channel: &channel,
            own: (id(2), "me"),
            seen: &seen,
            authors: &[id(2), id(3), id(5), id(7)].into(),
            contacts: &contacts,
        };
        let lines = known.report().describe();
        let expected = [
            (2, "me", "you, has spoken"),
            (1, "Alice", "founder, contact"),
            (3, "name 3", "linked, has spoken"),
            (6, "name 6", "linked as a seeder"),
            (4, "name 4", "known from others"),
            (7, &id(7).short(), "has spoken"),
            (5, "Mallory", "removed, has spoken, contact"),
        ];
        let expected =
            expected.map(|(seed, name, words)| format!("{name:<24} {} {words}", id(seed).short()));
        assert_eq!(lines, expected);
    }
}

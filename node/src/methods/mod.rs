//! What a client can have a node do, over standard input and over the control socket alike.
//!
//! | part | methods |
//! |---|---|
//! | `queries` | `status`, `peers` |
//! | `saying` | `say`, `tell`, `undelivered` |
//! | `history` | `history`, `search`, `events`, `ack`, `acked` |
//! | `contacts` | `contacts`, `contact_add`, `contact_show`, `contact_verify`, `contact_rename`, `contact_block`, `contact_remove` |
//! | `joining` | `channel_join`, `channel_leave`, `channel_open`, `channel_close`, `channel_show`, `channel_export` |
//! | `inviting` | `invite`, `group`, `invitations`, `accept`, `decline` |
//! | `membership` | `channel_members`, `channel_remove` |
//! | here | `channels` |
//! | `notices` | what a client is told unasked, and its numbers |
//!
//! Not here: what belongs to one connection (`subscribe`, `help`, `quit`). A method never waits for
//! what is not there yet: its [`Refusal`] says what that is, and the client asks once more.

mod contacts;
mod history;
mod inviting;
mod joining;
mod membership;
#[cfg(test)]
pub(crate) mod nobody;
pub(crate) mod notices;
mod people;
mod queries;
mod saying;

use std::collections::BTreeSet;

use actix::MailboxError;
use bitchat_actors::channel_book::Summary;
use bitchat_actors::mesh_manager::{ListMembers, Member};
use bitchat_protocol::id::ChannelId;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::channels::{self, Channel};
use crate::rpc::{self, Lack, Refusal};
use notices::Wish;

pub(crate) use contacts::{Contacts, trust_word};
pub(crate) use history::Past;
pub(crate) use inviting::{Inviting, delivery_words, find_people, new_group};
pub(crate) use joining::{Joining, right, to_json as channel_json};
pub(crate) use membership::{Membership, with_formers};
pub(crate) use people::Person;
pub(crate) use queries::{About, Queries};
pub(crate) use saying::{Saying, key_of};

/// The methods of this module itself.
const METHODS: [&str; 1] = ["channels"];

/// Whom the methods ask; all are started before whoever holds this.
#[derive(Debug, Clone)]
pub(crate) struct Methods {
    pub(crate) queries: Queries,
    pub(crate) saying: Saying,
    pub(crate) past: Past,
    pub(crate) joining: Joining,
    pub(crate) inviting: Inviting,
    pub(crate) contacts: Contacts,
    pub(crate) membership: Membership,
}

/// The names of all methods.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let own = METHODS.into_iter().chain(saying::METHODS).chain(contacts::METHODS);
    let own = own.chain(history::METHODS).chain(inviting::METHODS);
    let own = own.chain(joining::METHODS).chain(queries::METHODS);
    own.chain(membership::METHODS)
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
        if method == "channel_leave" {
            self.close_and_forget(params).await?;
        }
        if let Some(answer) = self.joining.answer(method, params).await {
            return answer;
        }
        let all = self.joining.list().await?;
        if method == "channels" {
            return self.list(&all, present, params);
        }
        let open = OpenChannels::of_all(&all, present);
        if let Some(asked) = self.ask_in(method, params, &open).await {
            return asked;
        }
        if let Some(said) = self.say(method, params, &open).await {
            return said;
        }
        if let Some(answer) = self.membership(method, params, &open).await {
            return answer;
        }
        if let Some(past) = self.look_back(method, params, &open).await {
            return past;
        }
        let seen = match rpc::optional_string(params, "contact") {
            Ok(Some(who)) if method == "contact_add" => self.find_person(who, &open).await.ok(),
            Ok(_) | Err(_) => None,
        };
        if let Some(answer) = self.contacts.answer(method, params, seen).await {
            return self.mark_linked(answer?, &open).await;
        }
        let answer = self.queries.answer(method, params, &open).await;
        answer.unwrap_or_else(|| Err(rpc::no_such_method(method, names())))
    }

    /// Notes with each contact of a result whether it is linked now.
    async fn mark_linked(&self, mut result: Value, open: &OpenChannels) -> Result<Value, Refusal> {
        let members = self.members(open).await.into_iter().filter(|member| member.linked);
        let linked: BTreeSet<String> = members.map(|member| member.peer.to_string()).collect();
        let mark = |contact: &mut Value| {
            let is_linked = contact["id"].as_str().is_some_and(|id| linked.contains(id));
            contact["linked"] = is_linked.into();
        };
        match result.get_mut("contacts").and_then(Value::as_array_mut) {
            Some(contacts) => contacts.iter_mut().for_each(mark),
            None => mark(&mut result),
        }
        Ok(result)
    }

    /// The members of the open channels, each as often as it is in one.
    async fn members(&self, open: &OpenChannels) -> Vec<Member> {
        let lists = open.all.iter().map(|it| {
            let list = self.queries.members.send(ListMembers { channel: it.id });
            async { list.await.unwrap_or_default().members }
        });
        join_all(lists).await.concat()
    }

    /// The channels that are open now, the present one first.
    pub(crate) async fn open(&self, present: Option<ChannelId>) -> Result<OpenChannels, Refusal> {
        Ok(OpenChannels::of_all(&self.joining.list().await?, present))
    }

    fn list(
        &self,
        all: &[Summary],
        present: Option<ChannelId>,
        params: &Value,
    ) -> Result<Value, Refusal> {
        let also_closed = rpc::flag_of(params, "all")?;
        let mut listed: Vec<_> = all.iter().filter(|it| it.is_open || also_closed).collect();
        listed.sort_by_key(|it| Some(it.id) != present);
        let listed: Vec<Value> = listed.into_iter().map(joining::to_json).collect();
        Ok(json!({"you": self.queries.about.peer.to_string(), "channels": listed}))
    }
}

/// The open channels, and whether the first is meant where none is named.
#[derive(Debug, Clone)]
pub(crate) struct OpenChannels {
    pub(crate) all: Vec<Channel>,
    has_present: bool,
}

impl OpenChannels {
    fn of_all(all: &[Summary], present: Option<ChannelId>) -> Self {
        let open = all.iter().filter(|channel| channel.is_open);
        let mut all: Vec<Channel> = open.map(Channel::from).collect();
        all.sort_by_key(|channel| Some(channel.id) != present);
        let has_present = all.first().is_some_and(|first| Some(first.id) == present);
        Self { all, has_present }
    }

    /// The channel that a request names.
    pub(crate) fn of(&self, params: &Value) -> Result<&Channel, Refusal> {
        let at = match rpc::optional_string(params, "channel")? {
            Some(text) => channels::find(&self.all, text).map_err(Refusal::not_found)?,
            None if self.has_present => 0,
            None => self.only_joined()?,
        };
        self.all.get(at).ok_or_else(|| Refusal::not_found("no channel is open"))
    }

    /// The only channel beside those with contacts, which come by themselves, and those that went on as
    /// others: what is meant for one must not reach a contact because that one is closed.
    fn only_joined(&self) -> Result<usize, Refusal> {
        let all = self.all.iter().enumerate();
        let joined: Vec<usize> =
            all.filter(|(_, it)| !it.is_pair && !it.is_former).map(|(at, _)| at).collect();
        match joined[..] {
            [at] => Ok(at),
            [] if self.all.is_empty() => Err(Refusal::not_found("no channel is open")),
            [] => {
                let text = "only channels with contacts are open: say which one in params.channel";
                Err(Refusal::params(text))
            }
            _ => {
                let text = "several channels are open: say which one in params.channel";
                Err(Refusal::params(text))
            }
        }
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

fn to_json(report: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(report).map_err(|error| Refusal::now(error.to_string()))
}

fn restarting(_: MailboxError) -> Refusal {
    Refusal::now("the node is starting a part of itself again; ask once more").lacking(Lack::Answer)
}

#[cfg(test)]
mod tests {
    use bitchat_protocol::channel::{Kind, Rotation};
    use bitchat_protocol::id::PeerId;
    use bitchat_protocol::identity::DisplayName;

    use super::*;

    const TEAM: ChannelId = ChannelId([1; 32]);
    const OTHER: ChannelId = ChannelId([2; 32]);
    const BOB: ChannelId = ChannelId([3; 32]);

    fn summary(id: ChannelId, name: &str) -> Summary {
        let pair = (id == BOB).then_some(PeerId([9; 32]));
        Summary {
            id,
            name: DisplayName::new(name).unwrap(),
            kind: pair.map_or(Kind::Open, |_| Kind::Pair),
            pair,
            policy: None,
            rotation: Rotation::Fixed,
            is_member: true,
            founder: None,
            trackers: Vec::new(),
            nodes: Vec::new(),
            moved_to: None,
            removed: Vec::new(),
            is_open: true,
        }
    }

    #[test]
    fn where_no_channel_is_named_none_with_a_contact_is_meant() {
        let [team, other, bob] =
            [(TEAM, "team"), (OTHER, "other"), (BOB, "bob")].map(|(id, name)| summary(id, name));
        let meant = |all: &[&Summary], present| {
            let all: Vec<Summary> = all.iter().map(|&it| it.clone()).collect();
            let open = OpenChannels::of_all(&all, present);
            open.of(&json!({})).map(|channel| channel.id).map_err(|refusal| refusal.text)
        };
        assert_eq!(meant(&[&bob, &team], None), Ok(TEAM));
        assert!(meant(&[&bob], None).unwrap_err().contains("only channels with contacts"));
        assert!(meant(&[&bob, &team, &other], None).unwrap_err().contains("several"));
        assert!(meant(&[], None).unwrap_err().contains("no channel is open"));
        // Who has gone to one means it.
        assert_eq!(meant(&[&bob, &team], Some(BOB)), Ok(BOB));
        assert_eq!(meant(&[&team, &other], Some(OTHER)), Ok(OTHER));
        // What went on as another one is not meant.
        let former = Summary { moved_to: Some(TEAM), ..other.clone() };
        assert_eq!(meant(&[&former, &team], None), Ok(TEAM));
        assert_eq!(meant(&[&former, &team], Some(OTHER)), Ok(OTHER));
        let open = OpenChannels::of_all(&[bob], None);
        assert_eq!(open.of(&json!({"channel": "bob"})).unwrap().id, BOB);
    }
}

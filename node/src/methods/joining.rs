//! Channels of the profile: joined and left, opened and closed, shown and passed on.

use std::sync::Arc;

use actix::{Addr, Recipient};
use bitchat_actors::channel_book::{
    ChannelBook, ChannelError, CloseChannel, ExportChannel, FindChannel, HasTickets, JoinChannel,
    KeepTickets, LeaveChannel, ListChannels, ListInfohashes, OpenChannel, Summary,
};
use bitchat_protocol::channel::{ChatFile, Invitation, OpenName, Policy, Right};
use data_encoding::BASE64;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::restarting;
use crate::channels;
use crate::rpc::{self, Refusal};

pub(super) const METHODS: [&str; 6] = [
    "channel_join",
    "channel_leave",
    "channel_open",
    "channel_close",
    "channel_show",
    "channel_export",
];

/// The channel book, as the methods ask it.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    /// Where members of a `#name` meet.
    trackers: Arc<[String]>,
    join: Recipient<JoinChannel>,
    leave: Recipient<LeaveChannel>,
    open: Recipient<OpenChannel>,
    close: Recipient<CloseChannel>,
    find: Recipient<FindChannel>,
    list: Recipient<ListChannels>,
    export: Recipient<ExportChannel>,
    infohashes: Recipient<ListInfohashes>,
    keep: Recipient<KeepTickets>,
    has: Recipient<HasTickets>,
}

impl Joining {
    /// Asks `book`; the members of a `#name` that is joined meet at `trackers`.
    pub(crate) fn of(book: &Addr<ChannelBook>, trackers: &[String]) -> Self {
        Self {
            trackers: trackers.into(),
            join: book.clone().recipient(),
            leave: book.clone().recipient(),
            open: book.clone().recipient(),
            close: book.clone().recipient(),
            find: book.clone().recipient(),
            list: book.clone().recipient(),
            export: book.clone().recipient(),
            infohashes: book.clone().recipient(),
            keep: book.clone().recipient(),
            has: book.clone().recipient(),
        }
    }

    /// Asks somebody else which channels there are.
    #[cfg(test)]
    pub(crate) fn listed_by(self, list: Recipient<ListChannels>) -> Self {
        Self { list, ..self }
    }

    /// Does what one of [`METHODS`] says; `None`: it is none of them.
    pub(crate) async fn answer(
        &self,
        method: &str,
        params: &Value,
    ) -> Option<Result<Value, Refusal>> {
        Some(match method {
            "channel_join" => self.join(params).await,
            "channel_leave" => self.leave(params).await,
            "channel_open" => self.open(params).await,
            "channel_close" => self.close(params).await,
            "channel_show" => self.show(params).await,
            "channel_export" => self.export(params).await,
            _ => return None,
        })
    }

    /// All channels of the profile, in the order of their ids.
    pub(super) async fn list(&self) -> Result<Vec<Summary>, Refusal> {
        self.list.send(ListChannels).await.map_err(restarting)
    }

    /// Finds a channel, open or not, by its name, its id or the beginning of that.
    pub(super) async fn find(&self, text: &str) -> Result<Summary, Refusal> {
        let find = FindChannel { text: text.to_owned() };
        self.find.send(find).await.map_err(restarting)?.map_err(refused)
    }

    pub(super) async fn named(&self, params: &Value) -> Result<Summary, Refusal> {
        self.find(rpc::string_of(params, "channel")?).await
    }

    /// Stores a channel of our own making, and opens it.
    pub(super) async fn store(&self, file: ChatFile) -> Result<Summary, Refusal> {
        let stored = self.join.send(JoinChannel { file }).await.map_err(restarting)?;
        let id = stored.map_err(refused)?.id;
        self.open.send(OpenChannel { id }).await.map_err(restarting)?.map_err(refused)?;
        self.find(&id.to_string()).await
    }

    /// Stores a channel, and opens it: whoever joins through a running node wants to be there.
    async fn join(&self, params: &Value) -> Result<Value, Refusal> {
        let Invitation { file, tickets } = self.read(params).await?;
        let joined = self.join.send(JoinChannel { file }).await.map_err(restarting)?;
        let id = joined.map_err(refused)?.id;
        if !tickets.is_empty() {
            let keep = KeepTickets { id, tickets };
            self.keep.send(keep).await.map_err(restarting)?.map_err(refused)?;
        }
        self.open.send(OpenChannel { id }).await.map_err(restarting)?.map_err(refused)?;
        let summary = self.find(&id.to_string()).await?;
        // What lets us in may have been kept earlier; a founder needs nothing.
        let needs_ticket = summary.policy == Some(Policy::Tickets)
            && !self.has.send(HasTickets { id }).await.map_err(restarting)?;
        let mut joined = to_json(&summary);
        joined["needs_ticket"] = needs_ticket.into();
        Ok(joined)
    }

    /// A channel as a link, a `#name` or the bytes of its file.
    async fn read(&self, params: &Value) -> Result<Invitation, Refusal> {
        if let Some(text) = rpc::optional_string(params, "file")? {
            let bytes = BASE64.decode(text.as_bytes()).map(Zeroizing::new);
            let bytes = bytes.map_err(|_| rpc::wrong("file", "a .chat file in base64"))?;
            return ChatFile::from_bytes(&bytes)
                .map(Invitation::from)
                .map_err(|error| Refusal::now(format!("not a .chat file: {error}")));
        }
        let text = rpc::string_of(params, "channel")?;
        if text.starts_with('#') {
            let name: OpenName =
                text.parse().map_err(|error| Refusal::params(format!("{error}")))?;
            let tiers = self.trackers.iter().map(|tracker| vec![tracker.clone()]).collect();
            // It takes so long that nobody guesses such names by the million: not on this thread.
            let derive = move || ChatFile::from_open_name(&name, "", tiers, Vec::new());
            let derived = tokio::task::spawn_blocking(derive).await;
            let failed = |_| Refusal::now("the key of that name could not be derived; try again");
            return derived
                .map_err(failed)?
                .map(Invitation::from)
                .map_err(|error| Refusal::params(error.to_string()));
        }
        Invitation::from_link(text)
            .map_err(|error| Refusal::now(format!("not a channel's link: {error}")))
    }

    async fn leave(&self, params: &Value) -> Result<Value, Refusal> {
        let id = self.named(params).await?.id;
        let left = self.leave.send(LeaveChannel { id }).await.map_err(restarting)?;
        Ok(to_json(&left.map_err(refused)?))
    }

    async fn open(&self, params: &Value) -> Result<Value, Refusal> {
        let summary = self.named(params).await?;
        let open = OpenChannel { id: summary.id };
        self.open.send(open).await.map_err(restarting)?.map_err(refused)?;
        Ok(to_json(&Summary { is_open: true, ..summary }))
    }

    async fn close(&self, params: &Value) -> Result<Value, Refusal> {
        let summary = self.named(params).await?;
        self.close.send(CloseChannel { id: summary.id }).await.map_err(restarting)?;
        Ok(to_json(&Summary { is_open: false, ..summary }))
    }

    async fn show(&self, params: &Value) -> Result<Value, Refusal> {
        let summary = self.named(params).await?;
        let list = ListInfohashes { id: summary.id };
        let hashes = self.infohashes.send(list).await.map_err(restarting)?;
        let mut shown = to_json(&summary);
        shown["infohashes"] = hashes.iter().map(ToString::to_string).collect::<Vec<_>>().into();
        shown["link"] = match summary.pair {
            // It is not passed on.
            Some(_) => Value::Null,
            None => self.file(&summary, false).await?.to_link().as_str().into(),
        };
        Ok(shown)
    }

    async fn export(&self, params: &Value) -> Result<Value, Refusal> {
        let summary = self.named(params).await?;
        let file = self.file(&summary, rpc::flag_of(params, "seed_only")?).await?;
        let bytes = Zeroizing::new(file.to_bytes());
        Ok(json!({
            "name": summary.name.as_str(), "link": file.to_link().as_str(),
            "file": BASE64.encode(&bytes),
        }))
    }

    async fn file(&self, summary: &Summary, seed_only: bool) -> Result<ChatFile, Refusal> {
        let export = ExportChannel { id: summary.id, seed_only };
        self.export.send(export).await.map_err(restarting)?.map_err(refused)
    }
}

/// What a ticket lets its holder be.
pub(crate) const fn right(may_invite: bool, seeder: bool) -> Right {
    match (may_invite, seeder) {
        (_, true) => Right::Seeder,
        (true, false) => Right::MayInvite,
        (false, false) => Right::Member,
    }
}

/// A channel, for programs.
pub(crate) fn to_json(summary: &Summary) -> Value {
    let role = match (summary.pair, summary.is_member) {
        (Some(_), _) => "pair",
        (None, true) => "member",
        (None, false) => "seeder",
    };
    json!({
        "id": summary.id.to_string(), "name": summary.name.as_str(), "role": role,
        "rotation": summary.rotation.as_str(), "trackers": summary.trackers,
        "founder": summary.founder.map(|founder| founder.to_string()),
        "kind": summary.kind.as_str(), "admission": summary.policy.map(Policy::as_str),
        "pair": summary.pair.map(|peer| peer.to_string()),
        "moved_to": summary.moved_to.map(|successor| successor.to_string()),
        "removed": summary.removed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "open": summary.is_open,
    })
}

pub(super) fn refused(error: ChannelError) -> Refusal {
    Refusal::with(channels::exit_for(&error), error.to_string())
}

#[cfg(test)]
mod tests {
    use actix::Actor as _;
    use bitchat_actors::channel_book::{MeetingPlaces, People};
    use bitchat_actors::contact_book::{AddContact, ContactBook};
    use bitchat_actors::vault::Profile;
    use bitchat_protocol::channel::Rotation;
    use bitchat_protocol::crypto::Rng;
    use bitchat_protocol::identity::DisplayName;
    use tempfile::TempDir;

    use super::*;

    fn book() -> (TempDir, Joining) {
        let home = tempfile::tempdir().unwrap();
        let profile = Profile::create(home.path(), "default", None, None).unwrap();
        let book = ChannelBook::open(&profile).unwrap().start();
        (home, Joining::of(&book, &["udp://127.0.0.1:1".into()]))
    }

    fn file(seed: u8) -> ChatFile {
        let (name, tiers) = (DisplayName::new("team").unwrap(), vec![vec!["udp://t:1".into()]]);
        let rng = &mut Rng::from_seed([seed; 32]);
        ChatFile::new_open(name, tiers, Vec::new(), Rotation::Fixed, rng).unwrap()
    }

    async fn call(joining: &Joining, method: &str, params: Value) -> Result<Value, Refusal> {
        joining.answer(method, &params).await.expect("a method of this module")
    }

    #[actix::test]
    async fn a_channel_is_joined_shown_passed_on_closed_opened_and_left() {
        let (_home, joining) = book();
        let file = file(1);
        let team = || json!({"channel": "team"});
        let link = json!({"channel": file.to_link().as_str()});
        let joined = call(&joining, "channel_join", link).await.unwrap();
        assert_eq!((&joined["name"], &joined["role"]), (&json!("team"), &json!("member")));
        assert_eq!((&joined["open"], &joined["pair"]), (&json!(true), &Value::Null));
        // Its own file again is no other channel.
        let again = json!({"file": BASE64.encode(&file.to_bytes())});
        assert_eq!(call(&joining, "channel_join", again).await.unwrap(), joined);
        let shown = call(&joining, "channel_show", team()).await.unwrap();
        assert_eq!(shown["link"], file.to_link().as_str());
        assert_eq!(shown["infohashes"].as_array().map(Vec::len), Some(1));
        let passed_on = call(&joining, "channel_export", team()).await.unwrap();
        assert_eq!(passed_on["file"], BASE64.encode(&file.to_bytes()));
        let blind = json!({"channel": "team", "seed_only": true});
        let blind = call(&joining, "channel_export", blind).await.unwrap();
        let blind = ChatFile::from_link(blind["link"].as_str().unwrap()).unwrap();
        assert!(!blind.is_member());
        for (method, open) in [("channel_close", false), ("channel_open", true)] {
            for _ in 0..2 {
                assert_eq!(call(&joining, method, team()).await.unwrap()["open"], open);
                assert_eq!(joining.list().await.unwrap()[0].is_open, open);
            }
        }
        let left = call(&joining, "channel_leave", team()).await.unwrap();
        assert_eq!((&left["name"], &left["open"]), (&json!("team"), &json!(false)));
        assert_eq!(joining.list().await.unwrap(), []);
    }

    #[actix::test]
    async fn the_channel_with_a_contact_is_shown_without_a_link_and_neither_passed_on_nor_left() {
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [own, other] = homes
            .each_ref()
            .map(|home| Profile::create(home.path(), "default", None, None).unwrap());
        let contacts = ContactBook::open(&own).unwrap().start();
        let tiers = vec![vec!["udp://127.0.0.1:1".into()]];
        let people = People {
            contacts: contacts.clone().recipient(),
            changes: contacts.clone().recipient(),
            places: Some(MeetingPlaces { tiers, nodes: Vec::new() }),
        };
        let book = ChannelBook::open(&own).unwrap().with_people(people).start();
        let joining = Joining::of(&book, &[]);
        let card = other.identity().card(DisplayName::new("bob").unwrap());
        contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
        let bob = || json!({"channel": "bob"});
        let shown = call(&joining, "channel_show", bob()).await.unwrap();
        assert_eq!((&shown["name"], &shown["role"]), (&json!("bob"), &json!("pair")));
        assert_eq!(shown["pair"], other.peer_id().to_string());
        assert_eq!((&shown["link"], &shown["open"]), (&Value::Null, &json!(true)));
        assert!(!shown["infohashes"].as_array().unwrap().is_empty(), "{shown}");
        for method in ["channel_export", "channel_leave"] {
            let refusal = call(&joining, method, bob()).await.unwrap_err();
            assert!(refusal.text.contains("made from your two keys"), "{}", refusal.text);
        }
        for (method, open) in [("channel_close", false), ("channel_open", true)] {
            assert_eq!(call(&joining, method, bob()).await.unwrap()["open"], open);
            assert_eq!(joining.list().await.unwrap()[0].is_open, open);
        }
    }

    #[actix::test]
    async fn a_name_that_anybody_can_type_is_joined_at_the_trackers_of_the_settings() {
        let (_home, joining) = book();
        let joined = call(&joining, "channel_join", json!({"channel": "#rust"})).await.unwrap();
        assert_eq!(joined["trackers"], json!([["udp://127.0.0.1:1"]]));
    }

    #[actix::test]
    async fn what_is_no_channel_is_refused_and_changes_nothing() {
        let (_home, joining) = book();
        let cases = [
            (json!({}), -32602),
            (json!({"channel": 5}), -32602),
            (json!({"channel": "#"}), -32602),
            (json!({"channel": "bitchat:channel?v=1"}), -32000),
            (json!({"channel": "/etc/passwd"}), -32000),
            (json!({"file": "not base64!"}), -32602),
            (json!({"file": "ZDE6YWU="}), -32000),
        ];
        for (params, code) in cases {
            let refusal = call(&joining, "channel_join", params.clone()).await.unwrap_err();
            assert_eq!(refusal.code, code, "{params}: {}", refusal.text);
        }
        for method in &METHODS[1..] {
            let refusal = call(&joining, method, json!({"channel": "team"})).await.unwrap_err();
            assert!(refusal.text.contains("there is no channel"), "{}", refusal.text);
        }
        assert_eq!(joining.list().await.unwrap(), []);
    }
}

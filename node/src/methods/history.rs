//! What was said before, and what a client has dealt with.

use actix::Recipient;
use bitchat_actors::archive::{
    Acknowledge, ArchiveError, Event, EventKind, EventSpan, FindAcknowledged, FindEventSpan,
    ForgetChannel, From as Begin, ListAuthors, ListEvents, ReadPage, Search, StoredMessage,
};
use bitchat_actors::channel_book::Summary;
use bitchat_protocol::id::{ChannelId, DeviceId, PeerId};
use bitchat_protocol::log::{Position, Role};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::contacts::Known;
use super::{Methods, OpenChannels, restarting};
use crate::rpc::{self, Refusal};

pub(super) const METHODS: [&str; 5] = ["history", "search", "events", "ack", "acked"];

/// Messages or events in one answer, unless the client says otherwise.
const LIMIT: u64 = 100;
/// As many at most.
const LIMIT_MAX: u64 = 1000;

/// The archive, as the methods ask it.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) page: Recipient<ReadPage>,
    pub(crate) search: Recipient<Search>,
    pub(crate) events: Recipient<ListEvents>,
    pub(crate) span: Recipient<FindEventSpan>,
    pub(crate) acknowledge: Recipient<Acknowledge>,
    pub(crate) acknowledged: Recipient<FindAcknowledged>,
    pub(crate) forget: Recipient<ForgetChannel>,
    pub(crate) authors: Recipient<ListAuthors>,
}

#[cfg(test)]
impl Past {
    /// Where nothing was kept and nobody answers.
    pub(crate) fn to_nobody() -> Self {
        let nobody = super::nobody::start();
        Self {
            page: nobody.clone().recipient(),
            search: nobody.clone().recipient(),
            events: nobody.clone().recipient(),
            span: nobody.clone().recipient(),
            acknowledge: nobody.clone().recipient(),
            acknowledged: nobody.clone().recipient(),
            forget: nobody.clone().recipient(),
            authors: nobody.recipient(),
        }
    }
}

impl Methods {
    /// Does what one of [`METHODS`] says; `None`: it is none of them.
    pub(super) async fn look_back(
        &self,
        method: &str,
        params: &Value,
        open: &OpenChannels,
    ) -> Option<Result<Value, Refusal>> {
        match method {
            "history" => Some(self.history(params, open).await),
            "search" => Some(self.search(params, open).await),
            "events" => Some(self.events(params, open).await),
            "ack" => Some(self.ack(params).await),
            "acked" => Some(self.acked(params).await),
            _ => None,
        }
    }

    async fn history(&self, params: &Value, open: &OpenChannels) -> Result<Value, Refusal> {
        let channel = open.of(params)?.id;
        let from = match (position_of(params, "before")?, position_of(params, "after")?) {
            (None, None) => Begin::Newest,
            (Some(before), None) => Begin::Before(before),
            (None, Some(after)) => Begin::After(after),
            (Some(_), Some(_)) => {
                return Err(Refusal::params("either params.before or params.after, not both"));
            }
        };
        let page = ReadPage { channel, from, limit: limit_of(params)? };
        let messages = self.past.page.send(page).await.map_err(restarting)?.map_err(refused)?;
        self.messages(&messages).await
    }

    async fn search(&self, params: &Value, open: &OpenChannels) -> Result<Value, Refusal> {
        let words = rpc::string_of(params, "words")?.to_owned();
        let channel = match rpc::optional_string(params, "channel")? {
            Some(_) => Some(open.of(params)?.id),
            None => None,
        };
        let before = position_of(params, "before")?;
        if before.is_some() && channel.is_none() {
            return Err(Refusal::params(
                "params.before is a place in params.channel: name that, too",
            ));
        }
        let search = Search { channel, words, limit: limit_of(params)?, before };
        let found = self.past.search.send(search).await.map_err(restarting)?.map_err(refused)?;
        let mut answer = self.messages(&found.messages).await?;
        answer["complete"] = found.is_complete.into();
        Ok(answer)
    }

    async fn messages(&self, messages: &[StoredMessage]) -> Result<Value, Refusal> {
        let known = self.contacts.known().await?;
        let all: Vec<Value> =
            messages.iter().map(|message| self.message(message, &known)).collect();
        Ok(json!({"messages": all}))
    }

    /// As it is kept, with the name that its author has in the contact book, or ours.
    fn message(&self, message: &StoredMessage, known: &Known) -> Value {
        let author = message.position.author;
        let own = author == self.queries.about.peer;
        let our_name = Some(&*self.queries.about.name).filter(|name| own && !name.is_empty());
        json!({
            "channel": message.channel.to_string(), "from": author.to_string(),
            "name": our_name.map_or_else(|| known.name(&author), ToOwned::to_owned),
            "own": own, "blocked": known.is_blocked(&author), "id": message.id.to_string(),
            "unix_ms": message.unix_ms, "text": message.text,
            "stored_unix": message.stored_unix, "position": position_text(&message.position),
        })
    }

    /// What happened after an event. It ends before what cannot be read yet, so that nobody passes
    /// over that: `waits_for` is the channel that is about to be opened.
    async fn events(&self, params: &Value, open: &OpenChannels) -> Result<Value, Refusal> {
        let since = match rpc::optional_string(params, "client")? {
            Some(client) => self.last_of(client).await?,
            None => rpc::number_of(params, "since")?.unwrap_or(0),
        };
        let limit = limit_of(params)?;
        // Before: what comes meanwhile may be answered, and nothing is called lost that is.
        let span = self.past.span.send(FindEventSpan).await.map_err(restarting)?;
        let EventSpan { oldest, last } = span.map_err(refused)?;
        let list = ListEvents { since, limit };
        let events = self.past.events.send(list).await.map_err(restarting)?.map_err(refused)?;
        let known = self.contacts.known().await?;
        let waits_for = events.iter().find_map(|event| opens_soon(event, open));
        let readable = events.iter().take_while(|event| opens_soon(event, open).is_none());
        let all: Vec<Value> = readable.map(|event| self.event(event, &known)).collect();
        let waits_for = waits_for.map(|channel| channel.to_string());
        Ok(json!({
            "events": all, "waits_for": waits_for,
            "last": events.last().map_or(last, |event| last.max(event.seq)),
            "lost": oldest.saturating_sub(since.saturating_add(1)),
        }))
    }

    /// As a notification of it looks; where it is not to be shown any more, only its number.
    fn event(&self, Event { seq, kind }: &Event, known: &Known) -> Value {
        let (method, mut params) = match kind {
            EventKind::Message(message) if known.is_blocked(&message.position.author) => (
                "blocked",
                json!({
                    "channel": message.channel.to_string(),
                    "from": message.position.author.to_string(),
                }),
            ),
            EventKind::Message(message) => ("message", self.message(message, known)),
            EventKind::Delivered { id, channel, by, role } => (
                "delivered",
                json!({
                    "id": id.to_string(), "channel": channel.to_string(), "by": by.to_string(),
                    "name": known.name(by), "seeder": *role == Role::Seeder,
                }),
            ),
            EventKind::Forked { channel, author, number, .. } => (
                "forked",
                json!({
                    "channel": channel.to_string(), "from": author.to_string(), "number": number,
                }),
            ),
            EventKind::Gone => ("gone", json!({})),
            EventKind::NotOpen(channel) => ("not_open", json!({"channel": channel.to_string()})),
        };
        params["seq"] = (*seq).into();
        json!({"method": method, "params": params})
    }

    async fn ack(&self, params: &Value) -> Result<Value, Refusal> {
        let client = rpc::string_of(params, "client")?.to_owned();
        let seq = rpc::number_of(params, "seq")?;
        let seq = seq.ok_or_else(|| rpc::wrong("seq", "the number of an event"))?;
        let done = self.past.acknowledge.send(Acknowledge { client, seq }).await;
        done.map_err(restarting)?.map_err(refused)?;
        Ok(json!({}))
    }

    async fn acked(&self, params: &Value) -> Result<Value, Refusal> {
        let client = rpc::string_of(params, "client")?;
        Ok(json!({"seq": self.last_of(client).await?}))
    }

    /// Removes what was said in a channel that is about to be left: first, so that a crash leaves a
    /// channel that can be left once more, and not what was said in one that nobody knows of.
    pub(super) async fn close_and_forget(&self, params: &Value) -> Result<(), Refusal> {
        let Summary { id, pair, is_open, .. } = self.joining.named(params).await?;
        if pair.is_some() {
            // The book refuses it in words.
            return Ok(());
        }
        let close = || self.joining.answer("channel_close", params);
        if is_open && let Some(closed) = close().await {
            closed?;
        }
        let forgotten = self.past.forget.send(ForgetChannel { id }).await;
        let refusal = match forgotten {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                let why = "the channel was not left, as what was said there cannot be removed";
                Refusal::now(format!("{why}: {error}"))
            }
            Err(error) => restarting(error),
        };
        if is_open {
            // As it was; who repeats it closes it again.
            let _ = self.joining.answer("channel_open", params).await;
        }
        Err(refusal)
    }

    /// The last event that a client has dealt with; 0: none.
    async fn last_of(&self, client: &str) -> Result<u64, Refusal> {
        let find = FindAcknowledged { client: client.to_owned() };
        let found = self.past.acknowledged.send(find).await.map_err(restarting)?;
        Ok(found.map_err(refused)?.unwrap_or(0))
    }
}

/// The channel of an event, if it is open and the archive has not opened it yet.
fn opens_soon(event: &Event, open: &OpenChannels) -> Option<ChannelId> {
    let EventKind::NotOpen(channel) = event.kind else { return None };
    open.all.iter().any(|it| it.id == channel).then_some(channel)
}

fn refused(error: ArchiveError) -> Refusal {
    Refusal::now(error.to_string())
}

fn limit_of(params: &Value) -> Result<usize, Refusal> {
    let limit = rpc::number_of(params, "limit")?.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// A place in the order of a channel, as a client passes it on without looking into it.
fn position_text(position: &Position) -> String {
    let Position { clock, author, device, number } = position;
    let bytes = [&clock.to_be_bytes()[..], &author.0[..], &device.0[..], &number.to_be_bytes()[..]];
    HEXLOWER.encode(&bytes.concat())
}

fn position_of(params: &Value, field: &str) -> Result<Option<Position>, Refusal> {
    let Some(text) = rpc::optional_string(params, field)? else { return Ok(None) };
    let position = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| read_position(&bytes));
    position.map(Some).ok_or_else(|| rpc::wrong(field, "the position of a message"))
}

fn read_position(bytes: &[u8]) -> Option<Position> {
    let (clock, rest) = bytes.split_first_chunk()?;
    let (author, rest) = rest.split_first_chunk()?;
    let (device, number) = rest.split_first_chunk()?;
    Some(Position {
        clock: u64::from_be_bytes(*clock),
        author: PeerId(*author),
        device: DeviceId(*device),
        number: u64::from_be_bytes(number.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_nothing_else_is_one() {
        let position = Position {
            clock: 7,
            author: PeerId([1; 32]),
            device: DeviceId([2; 8]),
            number: u64::MAX,
        };
        let text = position_text(&position);
        let read = |text: &str| position_of(&json!({"before": text}), "before");
        assert_eq!(read(&text), Ok(Some(position)));
        assert_eq!(position_of(&json!({}), "before"), Ok(None));
        for wrong in ["", "zz", &text[2..], &format!("{text}00")] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_is_within_its_bounds() {
        let limit = |params: Value| limit_of(&params);
        assert_eq!(limit(json!({})), Ok(100));
        assert_eq!(limit(json!({"limit": 0})), Ok(1));
        assert_eq!(limit(json!({"limit": 1_000_000})), Ok(1000));
        assert!(limit(json!({"limit": "many"})).is_err());
    }
}

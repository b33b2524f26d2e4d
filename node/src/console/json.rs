//! Standard input and output as JSON-RPC: what requests do, and notices as notifications.

use actix::Context;
use bitchat_actors::chat_desk::Notice;
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use serde_json::{Value, json};

use super::{Console, Refused, To};
use crate::exit::Exit;
use crate::queries::{self, Channels};
use crate::rpc::{self, Asker, REFUSED, Refusal, Request};

/// Beside those of [`queries`].
const METHODS: [&str; 4] = ["say", "tell", "quit", "help"];

impl Console {
    pub(super) fn on_json(&mut self, line: &str, ctx: &mut Context<Self>) {
        let Request { asker, method, params } = match rpc::read(line) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err((asker, refusal)) => return self.answer(&asker, Err(refusal)),
        };
        if let Err(refusal) = self.on_request(&asker, &method, &params, ctx) {
            self.answer(&asker, Err(refusal));
        }
    }

    fn on_request(
        &mut self,
        asker: &Asker,
        method: &str,
        params: &Value,
        ctx: &mut Context<Self>,
    ) -> Result<(), Refusal> {
        match method {
            "say" => {
                let to = To::Channel(self.channels().of(params)?.id);
                let (text, key) = (text_of(params)?, key_of(params)?);
                let asker = asker.clone();
                self.say(to, text, key, None, ctx, move |console, said| {
                    console.answer_said(&asker, said)
                });
            }
            "tell" => {
                let who = rpc::string_of(params, "to")?.to_owned();
                let (text, key) = (text_of(params)?, key_of(params)?);
                self.tell(asker.clone(), who, text, key, ctx);
            }
            "help" => {
                let all: Vec<&str> = METHODS.into_iter().chain(queries::METHODS).collect();
                self.answer(asker, Ok(json!({"methods": all})));
            }
            "quit" => {
                self.answer(asker, Ok(json!({})));
                self.quit(ctx);
            }
            #[cfg(feature = "fault-injection")]
            "panic" => {
                let actor = rpc::string_of(params, "actor")?;
                let found = bitchat_actors::supervision::fault::panic_actor(actor);
                self.answer(asker, Ok(json!({"found": found})));
            }
            #[cfg(feature = "fault-injection")]
            "clock" => {
                let ahead = params["seconds_ahead"].as_i64().unwrap_or(0);
                bitchat_actors::clock::fault::set_seconds_ahead(ahead);
                self.answer(asker, Ok(json!({})));
            }
            query if queries::METHODS.contains(&query) => self.query(asker, query, params, ctx),
            unknown => {
                let known = METHODS.into_iter().chain(queries::METHODS);
                return Err(rpc::no_such_method(unknown, known));
            }
        }
        Ok(())
    }

    fn tell(
        &mut self,
        asker: Asker,
        who: String,
        text: String,
        key: Option<MessageId>,
        ctx: &mut Context<Self>,
    ) {
        self.with_peer(who, None, ctx, move |console, peer, ctx| match peer {
            Ok(peer) => console.say(To::Peer(peer), text, key, None, ctx, move |console, said| {
                console.answer_said(&asker, said);
            }),
            Err(refused) => console.answer(&asker, Err((REFUSED, refused.text))),
        });
    }

    fn query(&mut self, asker: &Asker, method: &str, params: &Value, ctx: &mut Context<Self>) {
        let (queries, channels) = (self.offices.queries.clone(), self.channels());
        let (asker, method, params) = (asker.clone(), method.to_owned(), params.clone());
        let answer = async move { queries.answer(&method, &params, &channels).await };
        self.when(answer, ctx, move |console, answer, _| {
            if let Some(answer) = answer {
                console.answer(&asker, answer);
            }
        });
    }

    fn channels(&self) -> Channels {
        Channels { all: self.config.channels.clone(), has_present: true }
    }

    fn answer_said(&mut self, asker: &Asker, said: Result<MessageId, Refused>) {
        match said {
            Ok(message) => self.answer(asker, Ok(json!({"id": message.to_string()}))),
            Err(refused) => {
                self.ending.note_refused(refused.exit);
                self.answer(asker, Err((REFUSED, refused.text)));
            }
        }
    }

    /// Answers a request; a notification of the client's (one without an id) gets no answer, and
    /// what became of it is told on stderr.
    fn answer(&mut self, asker: &Asker, result: Result<Value, Refusal>) {
        if result.is_err() {
            self.ending.note_refused(Exit::Failed);
        }
        match (asker.answer(&result), result) {
            (Some(answer), _) => self.front.answer(answer),
            (None, Err((_, text))) => self.front.talk(&text),
            (None, Ok(_)) => {}
        }
    }

    /// Answers a line that is no JSON.
    pub(super) fn print_parse_error(&self, text: &str) {
        self.front.answer(rpc::unreadable(text));
    }
}

/// What a notice looks like; `seq` counts them from 1.
pub(super) fn notification(notice: &Notice, seq: u64) -> String {
    let (method, mut params) = match notice {
        Notice::Heard { channel, from, name, id, unix_ms, text } => (
            "message",
            json!({
                "channel": channel.map(|channel| channel.to_string()),
                "from": from.to_string(), "name": &**name, "id": id.to_string(),
                "unix_ms": unix_ms, "text": text,
            }),
        ),
        Notice::Delivered { id, channel, by, name } => (
            "delivered",
            json!({
                "id": id.to_string(), "by": by.to_string(), "name": &**name,
                "channel": channel.map(|channel| channel.to_string()),
            }),
        ),
        Notice::MemberUp { channel, peer, name } => ("member_up", member(channel, peer, name)),
        Notice::MemberDown { channel, peer, name } => ("member_down", member(channel, peer, name)),
        Notice::SeederUp { channel, peer, name } => ("seeder_up", member(channel, peer, name)),
        Notice::SeederDown { channel, peer, name } => ("seeder_down", member(channel, peer, name)),
        Notice::Warning { text, code } => ("warning", json!({"text": text, "code": code})),
    };
    params["seq"] = seq.into();
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

fn member(channel: &ChannelId, peer: &PeerId, name: &str) -> Value {
    json!({"channel": channel.to_string(), "peer": peer.to_string(), "name": name})
}

fn text_of(params: &Value) -> Result<String, Refusal> {
    rpc::string_of(params, "text").map(ToOwned::to_owned)
}

/// The idempotency key: a message id of the client's own.
fn key_of(params: &Value) -> Result<Option<MessageId>, Refusal> {
    match params.get("key") {
        None | Some(Value::Null) => Ok(None),
        Some(_) => rpc::string_of(params, "key")?
            .parse()
            .map(Some)
            .map_err(|_| rpc::wrong("key", "32 hexadecimal digits")),
    }
}

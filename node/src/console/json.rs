//! JSON-RPC 2.0, one object a line: requests and answers, notices as notifications.

use actix::Context;
use bitchat_actors::chat_desk::Notice;
use bitchat_actors::mesh_manager::{ListMembers, Members};
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use serde_json::{Value, json};

use super::plain::word;
use super::{Channel, Console, Refused, To};
use crate::exit::Exit;
use crate::suggest;

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const NO_SUCH_METHOD: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
/// The request is right and cannot be done now.
const REFUSED: i64 = -32000;

const METHODS: [&str; 6] = ["say", "tell", "peers", "channels", "quit", "help"];

/// Why a request is not done.
type Refusal = (i64, String);

/// What a request is answered with: its id, unless the client wants no answer.
#[derive(Debug, Clone)]
struct Asker(Option<Value>);

impl Console {
    pub(super) fn on_json(&mut self, line: &str, ctx: &mut Context<Self>) {
        if line.trim().is_empty() {
            return;
        }
        let request: Value = match serde_json::from_str(line) {
            Ok(request) => request,
            Err(error) => {
                self.ending.note_refused(Exit::Failed);
                return self.print_parse_error(&error.to_string());
            }
        };
        let (asker, method) = match read_envelope(&request) {
            Ok(envelope) => envelope,
            Err(text) => {
                // Whose request it is cannot be believed where it is none.
                let asker = Asker(Some(Value::Null));
                return self.answer_refusal(&asker, (INVALID_REQUEST, text));
            }
        };
        let params = request.get("params").unwrap_or(&Value::Null);
        if let Err(refusal) = self.on_request(&asker, method, params, ctx) {
            self.answer_refusal(&asker, refusal);
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
                let to = To::Channel(self.channel_of(params)?.id);
                let (text, key) = (text_of(params)?, key_of(params)?);
                let asker = asker.clone();
                self.say(to, text, key, None, ctx, move |console, said| {
                    console.answer_said(&asker, said)
                });
            }
            "tell" => {
                let who = string_of(params, "to")?.to_owned();
                let (text, key) = (text_of(params)?, key_of(params)?);
                self.tell(asker.clone(), who, text, key, ctx);
            }
            "peers" => {
                let channel = self.channel_of(params)?.id;
                let (members, asker) =
                    (self.offices.members.send(ListMembers { channel }), asker.clone());
                self.when(members, ctx, move |console, members, _| {
                    console.answer(&asker, &peers(&members.unwrap_or_default()));
                });
            }
            "channels" => self.answer(asker, &self.channels()),
            "help" => self.answer(asker, &json!({"methods": METHODS})),
            "quit" => {
                self.answer(asker, &json!({}));
                self.quit(ctx);
            }
            #[cfg(feature = "fault-injection")]
            "panic" => {
                let actor = string_of(params, "actor")?;
                let found = bitchat_actors::supervision::fault::panic_actor(actor);
                self.answer(asker, &json!({"found": found}));
            }
            #[cfg(feature = "fault-injection")]
            "clock" => {
                let ahead = params["seconds_ahead"].as_i64().unwrap_or(0);
                bitchat_actors::clock::fault::set_seconds_ahead(ahead);
                self.answer(asker, &json!({}));
            }
            unknown => {
                let hint = suggest::nearest(unknown, METHODS)
                    .map(|nearest| format!("; did you mean {nearest}?"))
                    .unwrap_or_default();
                return Err((NO_SUCH_METHOD, format!("no method {unknown}{hint}")));
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
            Err(refused) => console.answer_refusal(&asker, (REFUSED, refused.text)),
        });
    }

    fn channels(&self) -> Value {
        let one = |channel: &Channel| json!({"id": channel.id.to_string(), "name": &*channel.name});
        let channels: Vec<Value> = self.config.channels.iter().map(one).collect();
        json!({"you": self.config.own_peer.to_string(), "channels": channels})
    }

    /// The channel that a request names; the first, where it names none.
    fn channel_of(&self, params: &Value) -> Result<&Channel, Refusal> {
        let at = match params.get("channel") {
            None | Some(Value::Null) => 0,
            Some(_) => self
                .find_channel(string_of(params, "channel")?)
                .map_err(|text| (INVALID_PARAMS, text))?,
        };
        let none = || (INVALID_PARAMS, "no channel is open".to_owned());
        self.config.channels.get(at).ok_or_else(none)
    }

    fn answer_said(&mut self, asker: &Asker, said: Result<MessageId, Refused>) {
        match said {
            Ok(message) => self.answer(asker, &json!({"id": message.to_string()})),
            Err(refused) => {
                self.ending.note_refused(refused.exit);
                self.answer_refusal(asker, (REFUSED, refused.text));
            }
        }
    }

    /// Answers a request; a notification of the client's (one without an id) gets no answer.
    fn answer(&self, Asker(id): &Asker, result: &Value) {
        if let Some(id) = id {
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
            self.front.answer(answer.to_string());
        }
    }

    /// Answers with an error; what becomes of a notification of the client's is told on stderr.
    fn answer_refusal(&mut self, Asker(id): &Asker, (code, text): Refusal) {
        self.ending.note_refused(Exit::Failed);
        match id {
            Some(id) => self.front.answer(error(id, code, &text)),
            None => self.front.talk(&text),
        }
    }

    /// Answers a line that is no JSON.
    pub(super) fn print_parse_error(&self, text: &str) {
        self.front.answer(error(&Value::Null, PARSE_ERROR, text));
    }
}

/// The id, if there is one, and the method of a request.
fn read_envelope(request: &Value) -> Result<(Asker, &str), String> {
    if request.is_array() {
        return Err("requests come one in a line, not in an array".into());
    }
    let is_ours = request.get("jsonrpc").and_then(Value::as_str) == Some("2.0");
    let method = request.get("method").and_then(Value::as_str).filter(|_| is_ours);
    let method = method.ok_or("a request has \"jsonrpc\": \"2.0\" and a \"method\"")?;
    let id = request.get("id");
    if id.is_some_and(|id| !(id.is_string() || id.is_number() || id.is_null())) {
        return Err("an \"id\" is a string or a number".into());
    }
    Ok((Asker(id.cloned()), method))
}

fn error(id: &Value, code: i64, text: &str) -> String {
    let error = json!({"code": code, "message": text});
    json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()
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
        Notice::Warning { text, code } => ("warning", json!({"text": text, "code": code})),
    };
    params["seq"] = seq.into();
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

fn member(channel: &ChannelId, peer: &PeerId, name: &str) -> Value {
    json!({"channel": channel.to_string(), "peer": peer.to_string(), "name": name})
}

fn peers(Members { mesh, members }: &Members) -> Value {
    let ids = |peers: &[PeerId]| -> Vec<String> { peers.iter().map(ToString::to_string).collect() };
    let members: Vec<Value> = members
        .iter()
        .map(|member| {
            json!({
                "peer": member.peer.to_string(), "name": &*member.name, "linked": member.linked,
                "address": member.address.map(|address| address.to_string()),
                "rtt_ms": member.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
                "mesh": word(member.mesh),
                "connected_with": ids(&member.connected_with),
                "not_connected_with": ids(&member.not_connected_with),
            })
        })
        .collect();
    json!({"mesh": word(*mesh), "members": members})
}

fn wrong(field: &str, wanted: &str) -> Refusal {
    (INVALID_PARAMS, format!("params.{field} must be {wanted}"))
}

fn string_of<'a>(params: &'a Value, field: &str) -> Result<&'a str, Refusal> {
    params.get(field).and_then(Value::as_str).ok_or_else(|| wrong(field, "a string"))
}

fn text_of(params: &Value) -> Result<String, Refusal> {
    string_of(params, "text").map(ToOwned::to_owned)
}

/// The idempotency key: a message id of the client's own.
fn key_of(params: &Value) -> Result<Option<MessageId>, Refusal> {
    match params.get("key") {
        None | Some(Value::Null) => Ok(None),
        Some(_) => string_of(params, "key")?
            .parse()
            .map(Some)
            .map_err(|_| wrong("key", "32 hexadecimal digits")),
    }
}

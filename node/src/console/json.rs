//! JSON-RPC 2.0, one object a line: requests and answers, notices as notifications.

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use bitchat_actors::chat_desk::Notice;
use bitchat_actors::mesh_manager::{ListMembers, Members};
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use serde_json::{Value, json};

use super::Console;
use super::plain::word;
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

impl Console {
    pub(super) fn on_json(&mut self, line: &str, ctx: &mut Context<Self>) {
        if line.trim().is_empty() {
            return;
        }
        let request: Value = match serde_json::from_str(line) {
            Ok(request) => request,
            Err(error) => {
                self.refused = true;
                return self.print_json_error(&Value::Null, PARSE_ERROR, &error.to_string());
            }
        };
        let id = request.get("id").cloned().unwrap_or(Value::Null);
        if let Err((code, text)) = self.on_request(&request, id.clone(), ctx) {
            self.refused = true;
            self.print_json_error(&id, code, &text);
        }
    }

    fn on_request(
        &mut self,
        request: &Value,
        id: Value,
        ctx: &mut Context<Self>,
    ) -> Result<(), Refusal> {
        let is_ours = request.get("jsonrpc").and_then(Value::as_str) == Some("2.0");
        let method = request.get("method").and_then(Value::as_str).filter(|_| is_ours);
        let method = method.ok_or_else(|| {
            (INVALID_REQUEST, "a request has \"jsonrpc\": \"2.0\" and a \"method\"".to_owned())
        })?;
        let params = request.get("params").unwrap_or(&Value::Null);
        match method {
            "say" => {
                let channel = self.channel_of(params)?;
                let (text, key) = (text_of(params)?, key_of(params)?);
                self.say(channel, text, key, ctx, move |console, said| {
                    console.answer_said(&id, said)
                });
            }
            "tell" => {
                let to = string_of(params, "to")?.to_owned();
                let (text, key) = (text_of(params)?, key_of(params)?);
                self.asked += 1;
                self.with_peer(to, ctx, move |console, peer, ctx| {
                    console.asked -= 1;
                    match peer {
                        Ok(peer) => console.tell(peer, text, key, ctx, move |console, said| {
                            console.answer_said(&id, said);
                        }),
                        Err(error) => console.answer_said(&id, Err(error)),
                    }
                });
            }
            "peers" => {
                let channel = self.channel_of(params)?;
                let members = self.offices.members.send(ListMembers { channel });
                ctx.wait(members.into_actor(self).map(move |members, console, _| {
                    console.answer(&id, &peers(&members.unwrap_or_default()));
                }));
            }
            "channels" => {
                let channels: Vec<Value> = self
                    .config
                    .channels
                    .iter()
                    .map(|channel| json!({"id": channel.id.to_string(), "name": &*channel.name}))
                    .collect();
                self.answer(
                    &id,
                    &json!({"you": self.config.own_peer.to_string(), "channels": channels}),
                );
            }
            "help" => self.answer(&id, &json!({"methods": METHODS})),
            "quit" => {
                self.answer(&id, &json!({}));
                self.quit(ctx);
            }
            #[cfg(feature = "fault-injection")]
            "panic" => {
                let actor = string_of(params, "actor")?;
                let found = bitchat_actors::supervision::fault::panic_actor(actor);
                self.answer(&id, &json!({"found": found}));
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

    /// The channel that a request names; the only one, or the first, where it names none.
    fn channel_of(&self, params: &Value) -> Result<ChannelId, Refusal> {
        let named = params.get("channel").filter(|channel| !channel.is_null());
        let at = match named {
            Some(channel) => {
                let text = channel.as_str().ok_or_else(|| wrong("channel", "a string"))?;
                self.find_channel(text)
            }
            None => Some(0),
        };
        at.and_then(|at| self.config.channels.get(at)).map(|channel| channel.id).ok_or_else(|| {
            (INVALID_PARAMS, "no such channel is open; \"channels\" lists them".to_owned())
        })
    }

    fn answer_said(&mut self, id: &Value, said: Result<MessageId, String>) {
        match said {
            Ok(message) => self.answer(id, &json!({"id": message.to_string()})),
            Err(error) => {
                self.refused = true;
                self.print_json_error(id, REFUSED, &error);
            }
        }
    }

    /// Answers a request; a notification of the client's (one without an id) gets no answer.
    fn answer(&self, id: &Value, result: &Value) {
        if !id.is_null() {
            self.print(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string());
        }
    }

    pub(super) fn print_json_error(&self, id: &Value, code: i64, text: &str) {
        let error = json!({"code": code, "message": text});
        self.print(&json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string());
    }

    pub(super) fn show_json(&mut self, notice: &Notice) {
        self.seq += 1;
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
            Notice::MemberDown { channel, peer, name } => {
                ("member_down", member(channel, peer, name))
            }
            Notice::Warning { text, code } => ("warning", json!({"text": text, "code": code})),
        };
        params["seq"] = self.seq.into();
        self.print(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string());
    }
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

//! Standard input and output as JSON-RPC: the methods of [`crate::methods`], and those of this
//! connection.

use actix::Context;
use serde_json::{Value, json};

use super::{Console, saying};
use crate::exit::Exit;
use crate::methods;
use crate::rpc::{self, Asker, Lack, REFUSED, Refusal, Request};

/// Those of this connection.
const METHODS: [&str; 3] = ["subscribe", "help", "quit"];

impl Console {
    pub(super) fn on_json(&mut self, line: &str, ctx: &mut Context<Self>) {
        let Request { asker, method, params } = match rpc::read(line) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err((asker, refusal)) => {
                self.ending.note_asked(&asker);
                return self.answer(&asker, Err(refusal));
            }
        };
        self.ending.note_asked(&asker);
        if let Err(refusal) = self.on_request(&asker, &method, params, ctx) {
            self.answer(&asker, Err(refusal));
        }
    }

    fn on_request(
        &mut self,
        asker: &Asker,
        method: &str,
        params: Value,
        ctx: &mut Context<Self>,
    ) -> Result<(), Refusal> {
        match method {
            "say" | "tell" => self.on_say(asker.clone(), method, params, ctx)?,
            "subscribe" => self.subscribe(asker.clone(), params, ctx),
            "help" => {
                let all: Vec<&str> = methods::names().chain(METHODS).collect();
                self.answer(asker, Ok(json!({"methods": all})));
            }
            "quit" => {
                self.answer(asker, Ok(json!({})));
                self.quit(ctx);
            }
            #[cfg(feature = "fault-injection")]
            "panic" => {
                let actor = rpc::string_of(&params, "actor")?;
                let found = bitchat_actors::supervision::fault::panic_actor(actor);
                self.answer(asker, Ok(json!({"found": found})));
            }
            #[cfg(feature = "fault-injection")]
            "clock" => {
                let ahead = params["seconds_ahead"].as_i64().unwrap_or(0);
                bitchat_actors::clock::fault::set_seconds_ahead(ahead);
                self.answer(asker, Ok(json!({})));
            }
            other => {
                if !methods::names().any(|known| known == other) {
                    return Err(rpc::no_such_method(other, methods::names().chain(METHODS)));
                }
                let (asker, answer) = (asker.clone(), self.call(other, &params));
                self.when(answer, ctx, move |console, answer, _| console.answer(&asker, answer));
            }
        }
        Ok(())
    }

    /// Says something under the client's key or one of ours, so that it is known whose delivery to
    /// wait for.
    fn on_say(
        &mut self,
        asker: Asker,
        method: &str,
        mut params: Value,
        ctx: &mut Context<Self>,
    ) -> Result<(), Refusal> {
        let id = methods::key_of(&params)?.unwrap_or_else(saying::new_id);
        if let Some(fields) = params.as_object_mut() {
            fields.insert("key".into(), id.to_string().into());
        }
        if let Err(refusal) = self.ending.note_saying(id, method == "say") {
            self.ending.note_refused(refusal.exit);
            return Err(refusal);
        }
        let said = self.call(method, &params);
        self.when(said, ctx, move |console, said, _| {
            match &said {
                Ok(_) => console.ending.note_said(&id),
                Err(refusal) => {
                    let is_certain = refusal.lacks != Some(Lack::Answer);
                    console.ending.note_unsaid(&id, is_certain);
                    // What was wrong with the request itself is noted with the answer.
                    if refusal.code == REFUSED {
                        let exit = if is_certain { refusal.exit } else { Exit::NotDelivered };
                        console.ending.note_refused(exit);
                    }
                }
            }
            console.answer(&asker, said);
        });
        Ok(())
    }

    /// Answers a request; a notification of the client's (one without an id) gets no answer, and
    /// what became of it is told on stderr.
    pub(super) fn answer(&mut self, asker: &Asker, result: Result<Value, Refusal>) {
        if self.ending.take_asker().is_none() {
            // It was answered when the node that was asked ended.
            return;
        }
        if result.is_err() {
            self.ending.note_refused(Exit::Failed);
        }
        match (asker.answer(&result), result) {
            (Some(answer), _) => self.front.answer(answer),
            (None, Err(refusal)) => self.front.talk(&refusal.text),
            (None, Ok(_)) => {}
        }
    }

    /// Answers a request that nobody deals with any more.
    pub(super) fn answer_as_unknown(&mut self, why: &str) {
        if let Some(asker) = self.ending.take_asker() {
            self.ending.note_asked(&asker);
            let text = format!(
                "{why}, and it is not known whether this was done; ask once more, and say again \
                 under the same key what was to be said"
            );
            let refusal = Refusal::with(Exit::NotDelivered, text).lacking(Lack::Answer);
            self.answer(&asker, Err(refusal));
        }
    }

    /// Answers a line that is no JSON.
    pub(super) fn print_parse_error(&self, text: &str) {
        self.front.answer(rpc::unreadable(text));
    }
}

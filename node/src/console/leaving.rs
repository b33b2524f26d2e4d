//! The end of a console, and with what code.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{AsyncContext as _, Context};
use bitchat_actors::clock;
use bitchat_protocol::id::MessageId;
use bitchat_protocol::limits::OUTBOX_MESSAGES_MAX;
use serde_json::{Value, json};

use super::{Console, Ending, Node};
use crate::exit::Exit;
use crate::rpc::Refusal;

/// Between two looks at whether everything is delivered, at the end of the input.
const LINGER_STEP: Duration = Duration::from_millis(50);

/// What becomes of what nobody has.
const KEPT: &str = "What was said in channels is kept, and goes out when somebody is there";

/// How long the node may take to count what nobody has.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

impl Console {
    /// How many messages nobody has yet: all of a node that ends with us, else our own.
    fn count_undelivered(&self) -> impl Future<Output = Result<usize, Refusal>> + use<> {
        let (node, ending) = (self.node.clone(), Arc::clone(&self.ending));
        let count = async move {
            if node.is_other() {
                settle(&node, &ending).await?;
                return Ok(ending.owed());
            }
            let all = node.call("undelivered", &json!({}), None).await?;
            let count = all["count"].as_u64().and_then(|count| usize::try_from(count).ok());
            Ok(count.unwrap_or(usize::MAX).saturating_add(ending.in_flight()))
        };
        async move {
            // Who cannot say so soon is about to be started again, or waits for a slow disk.
            let count = tokio::time::timeout(COUNT_TIMEOUT, count).await;
            count.map_err(|_| Refusal::now("the node is busy"))?
        }
    }

    /// Leaves at once; says what nobody has got.
    pub(super) fn quit(&mut self, ctx: &mut Context<Self>) {
        self.leave(Exit::Done, ctx);
    }

    /// Leaves at once; says what nobody has got, and ends with `exit` if that is nothing.
    pub(super) fn leave(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.is_over = true;
        let count = self.count_undelivered();
        self.when(count, ctx, move |console, count, _| {
            // A desk that is about to be started again cannot be asked.
            let count = count.unwrap_or_else(|_| console.ending.owed());
            if count == 0 {
                return console.finish(exit);
            }
            console.front.talk(&format!("not delivered to anybody: {}. {KEPT}", messages(count)));
            console.finish(Exit::NotDelivered);
        });
    }

    /// Waits until everything said is delivered to somebody, or the time is up.
    pub(super) fn linger(&mut self, ctx: &mut Context<Self>) {
        self.is_over = true;
        if self.front.is_prompt() {
            self.front.talk("leaving when somebody has got what you said; Ctrl-C leaves at once");
        }
        self.linger_until(clock::now() + self.config.linger, ctx);
    }

    fn linger_until(&mut self, deadline: Instant, ctx: &mut Context<Self>) {
        let count = self.count_undelivered();
        self.when(count, ctx, move |console, count, ctx| match count {
            Ok(0) if console.missing().is_none() || clock::now() >= deadline => {
                console.ending.note_all_settled();
                console.finish(console.ending.refused().unwrap_or(Exit::Done));
            }
            // The desk may be about to be started again.
            Ok(_) | Err(_) if clock::now() < deadline => {
                ctx.run_later(LINGER_STEP, move |console, ctx| {
                    console.linger_until(deadline, ctx);
                });
            }
            Ok(count) => console.give_up(count),
            Err(_) => console.finish(Exit::Internal),
        });
    }

    pub(super) fn give_up(&mut self, count: usize) {
        let text = self.within_linger(&format!("nobody took {}", messages(count)));
        self.front.talk(&format!("not delivered: {text}. {KEPT}"));
        self.finish(Exit::NotDelivered);
    }

    /// Ends the node.
    pub(super) fn finish(&mut self, exit: Exit) {
        self.is_over = true;
        self.tell_missing(self.missing().unwrap_or(0));
        self.behind = None;
        self.ending.end(exit);
    }
}

/// Asks another node which of the messages that were said here nobody has yet: it has others' as
/// well, and not all that it told of them may have come here.
async fn settle(node: &Node, ending: &Ending) -> Result<(), Refusal> {
    loop {
        let asked = ending.said_and_owed(OUTBOX_MESSAGES_MAX);
        if asked.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = asked.iter().map(ToString::to_string).collect();
        let owed = node.call("undelivered", &json!({"messages": ids}), None).await?;
        let owed = owed["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let parse = |id: &Value| id.as_str()?.parse().ok();
        let owed: BTreeSet<MessageId> = owed.iter().filter_map(parse).collect();
        asked.iter().filter(|id| !owed.contains(id)).for_each(|id| ending.note_settled(id));
        if !owed.is_empty() {
            return Ok(());
        }
    }
}

pub(super) fn messages(count: usize) -> String {
    if count == 1 { "1 message".into() } else { format!("{count} messages") }
}

//! Lines typed to messages, and back: the last child of the root, talking to actors by message.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | a line | standard input, by a thread | a message, a command or a JSON-RPC request |
//! | [`Notice`] | chat desk | what is shown |
//! | [`ChannelEvent`] | channel book | what else is open: the channels of pairs come and go |
//!
//! One line is dealt with at a time, and the next one is read when it is done: a slow node is felt
//! by whoever writes to it.
//!
//! Owns: nothing but the present channel. Lost on a crash: that, and the line being dealt with.
//! What is printed: `docs/headless.md`.

mod ending;
mod front;
mod grammar;
mod json;
mod leaving;
mod people;
mod plain;
mod prompt;
mod saying;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Recipient, WrapFuture as _,
};
use bitchat_actors::channel_book::{self, ChannelEvent};
use bitchat_actors::chat_desk::{CountUndelivered, Notice, Say, Subscribe, Tell};
use bitchat_actors::contact_book::FindContact;
use bitchat_actors::mesh_manager::ListMembers;
use tokio::sync::mpsc;

use crate::channels::Channel;
use crate::exit::Exit;
use crate::lines::LineError;
use crate::queries::Queries;
use saying::{Refused, To};

pub(crate) use ending::Ending;
pub(crate) use front::{Form, Front};

/// Lines read ahead of the console; beyond it standard input is not read.
const LINES_AHEAD: usize = 64;

/// One event of the input.
#[derive(Debug)]
pub(crate) enum Event {
    Line(Result<String, LineError>),
    End,
    /// The person wants out: Ctrl-C at the prompt.
    Quit,
}

/// Where events come from, and what else survives a restart of the console.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    input: Arc<tokio::sync::Mutex<mpsc::Receiver<Event>>>,
    /// Number of the last notification.
    seq: Arc<AtomicU64>,
}

/// Reads standard input on a thread of its own.
pub(crate) fn read_input(front: &Front) -> Events {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    front.read_into(sender);
    Events { input: Arc::new(tokio::sync::Mutex::new(receiver)), seq: Arc::default() }
}

/// How a console behaves.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The first is the present one at the start.
    pub(crate) channels: Vec<Channel>,
    /// How long to wait for somebody to take what was said: at the end, and when there is no room
    /// for more.
    pub(crate) linger: Duration,
    pub(crate) receipts: bool,
}

/// Whom a console talks to; all are started before it.
#[derive(Debug)]
pub(crate) struct Offices {
    pub(crate) say: Recipient<Say>,
    pub(crate) tell: Recipient<Tell>,
    pub(crate) undelivered: Recipient<CountUndelivered>,
    pub(crate) notices: Recipient<Subscribe>,
    pub(crate) members: Recipient<ListMembers>,
    pub(crate) contacts: Recipient<FindContact>,
    pub(crate) channels: Recipient<channel_book::Subscribe>,
    pub(crate) queries: Queries,
}

/// The actor.
pub(crate) struct Console {
    config: Config,
    offices: Offices,
    front: Front,
    events: Events,
    ending: Arc<Ending>,
    present: usize,
    /// Whether the next line is being waited for.
    is_reading: bool,
    /// Questions of ours that are not answered yet; until then no line is read.
    asked: usize,
    /// The line being dealt with waits for something that is not there yet.
    is_waiting: bool,
    /// No line is read any more.
    is_over: bool,
}

impl Console {
    pub(crate) fn new(
        config: Config,
        offices: Offices,
        front: Front,
        events: Events,
        ending: Arc<Ending>,
    ) -> Self {
        Self {
            config,
            offices,
            front,
            events,
            ending,
            present: 0,
            is_reading: false,
            asked: 0,
            is_waiting: false,
            is_over: false,
        }
    }

    fn present(&self) -> Option<&Channel> {
        self.config.channels.get(self.present)
    }

    /// Waits for the next line, when nothing else is to be done before.
    fn read_on(&mut self, ctx: &mut Context<Self>) {
        if self.asked > 0 {
            return;
        }
        self.is_waiting = false;
        self.ending.set_busy(false);
        if self.is_reading || self.is_over {
            return;
        }
        self.is_reading = true;
        let (events, front) = (self.events.clone(), self.front.clone());
        let next = async move {
            front.room().await;
            events.input.lock().await.recv().await
        };
        ctx.spawn(next.into_actor(self).map(|event, console, ctx| {
            console.is_reading = false;
            match event {
                Some(event) => console.on_event(event, ctx),
                // The input ended before this console was started again.
                None => console.linger(ctx),
            }
            console.read_on(ctx);
        }));
    }

    /// Does something with the answer to a question; no line is read before.
    fn when<F: Future + 'static>(
        &mut self,
        answer: F,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, F::Output, &mut Context<Self>) + 'static,
    ) {
        self.asked += 1;
        ctx.spawn(answer.into_actor(self).map(move |answer, console, ctx| {
            then(console, answer, ctx);
            console.asked -= 1;
            console.read_on(ctx);
        }));
    }

    fn on_event(&mut self, event: Event, ctx: &mut Context<Self>) {
        self.ending.set_busy(matches!(event, Event::Line(_)));
        match (event, self.front.form()) {
            (Event::Line(Ok(line)), Form::Json) => self.on_json(&line, ctx),
            (Event::Line(Ok(line)), Form::Text) => self.on_text(line, ctx),
            (Event::Line(Err(error)), form) => {
                self.ending.note_refused(match error {
                    LineError::TooLong(_) => Exit::Limit,
                    LineError::NotUtf8(_) | LineError::Broken(_) => Exit::Failed,
                });
                match form {
                    Form::Json => self.print_parse_error(&error.to_string()),
                    Form::Text => self.front.talk(&error.to_string()),
                }
            }
            (Event::Quit, _) => self.quit(ctx),
            (Event::End, _) => self.linger(ctx),
        }
    }
}

impl Console {
    /// Tells what a part that failed has cost, where this console is not the first.
    fn tell_losses(&mut self) {
        if self.ending.set_busy(false) {
            self.ending.note_refused(Exit::Failed);
            self.front.talk("a part of the node failed; the line being dealt with may not be done");
        }
        let lost = self.ending.meet(self.offices.undelivered.clone());
        if lost > 0 {
            let text = format!(
                "a part of the node failed, and {} of yours that nobody is known to have with it; \
                 say again what matters",
                leaving::messages(lost),
            );
            self.show(&Notice::Warning { text, code: Some(Exit::NotDelivered.code()) });
        }
    }

    fn show(&mut self, notice: &Notice) {
        match notice {
            Notice::Warning { code: Some(code), .. } => {
                self.ending.note_warned(Exit::from_code(*code));
            }
            Notice::MemberUp { name, .. } => self.front.learn(name),
            Notice::Delivered { id, .. } => self.ending.note_settled(id),
            Notice::Heard { .. }
            | Notice::MemberDown { .. }
            | Notice::SeederUp { .. }
            | Notice::SeederDown { .. }
            | Notice::Warning { code: None, .. } => {}
        }
        match self.front.form() {
            Form::Json => {
                let seq = self.events.seq.fetch_add(1, Ordering::Relaxed) + 1;
                self.front.notify(json::notification(notice, seq));
            }
            Form::Text => self.show_text(notice),
        }
    }
}

impl Actor for Console {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.offices.channels.do_send(channel_book::Subscribe(ctx.address().recipient()));
        self.offices.notices.do_send(Subscribe(ctx.address().recipient()));
        let front = self.front.clone();
        let closed = async move { front.closed().await };
        // That nobody reads any more is an end, and no failure.
        ctx.spawn(closed.into_actor(self).map(|is_failure, console, _| {
            console.finish(if is_failure { Exit::Failed } else { Exit::Done });
        }));
        let leave = self.ending.asked_to_leave();
        ctx.spawn(leave.into_actor(self).map(|(), console, ctx| console.quit(ctx)));
        self.greet();
        self.tell_losses();
        self.read_on(ctx);
    }
}

impl Handler<ChannelEvent> for Console {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, _: &mut Self::Context) {
        let at = |id| self.config.channels.iter().position(|channel| channel.id == id);
        match event {
            ChannelEvent::Opened(opened) | ChannelEvent::Changed(opened) => {
                let channel = Channel::from(&*opened);
                match at(channel.id) {
                    Some(at) => self.config.channels[at] = channel,
                    // What cannot be read can only be seeded.
                    None if opened.keys.is_member() => self.config.channels.push(channel),
                    None => {}
                }
            }
            // The chat desk says it.
            ChannelEvent::NotLetIn { .. } => {}
            ChannelEvent::Closed(id) => {
                let Some(at) = at(id) else { return };
                let gone = self.config.channels.remove(at);
                match self.present {
                    present if present == at => {
                        self.present = 0;
                        let text = format!("{} is closed", plain::label(&gone));
                        self.front.talk(&text);
                    }
                    present if present > at => self.present -= 1,
                    _ => {}
                }
            }
        }
    }
}

impl Handler<Notice> for Console {
    type Result = ();

    fn handle(&mut self, notice: Notice, _: &mut Self::Context) {
        self.show(&notice);
    }
}

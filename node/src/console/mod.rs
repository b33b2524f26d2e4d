//! Lines typed to messages, and back: the last child of the root, talking to actors by message.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | a line | standard input, by a thread | a message, a command or a JSON-RPC request |
//! | [`Notice`] | chat desk | what is shown |
//!
//! One line is dealt with at a time, and the next one is read when it is done: a slow node is felt
//! by whoever writes to it.
//!
//! Owns: nothing but the present channel. Lost on a crash: that, the line being dealt with, and
//! that lines were refused. What is printed: `docs/headless.md`.

mod ending;
mod front;
mod grammar;
mod json;
mod lines;
mod people;
mod plain;
mod prompt;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Recipient, WrapFuture as _,
};
use bitchat_actors::chat_desk::{CountUndelivered, Notice, Say, SayError, Subscribe, Tell};
use bitchat_actors::clock;
use bitchat_actors::contact_book::FindContact;
use bitchat_actors::mesh_manager::ListMembers;
use bitchat_protocol::chat::SayError as Unfit;
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use tokio::sync::mpsc;

use crate::exit::Exit;
use lines::LineError;

pub(crate) use ending::Ending;
pub(crate) use front::{Form, Front};

/// Lines read ahead of the console; beyond it standard input is not read.
const LINES_AHEAD: usize = 64;
/// Between two looks at whether everything is delivered, at the end of the input.
const LINGER_STEP: Duration = Duration::from_millis(50);
/// Between two tries to say a line for which there was no room.
const ROOM_STEP: Duration = Duration::from_millis(100);

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

/// A channel as the console knows it.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) name: Arc<str>,
}

/// How a console behaves.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) own_peer: PeerId,
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
}

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
enum To {
    Channel(ChannelId),
    Peer(PeerId),
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
    /// No line is read any more.
    is_over: bool,
    /// The worst that happened to a line: the exit code must say so.
    refused: Option<Exit>,
    /// What a warning asks for.
    warned: Option<Exit>,
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
            is_over: false,
            refused: None,
            warned: None,
        }
    }

    fn present(&self) -> Option<&Channel> {
        self.config.channels.get(self.present)
    }

    /// Waits for the next line, when nothing else is to be done before.
    fn read_on(&mut self, ctx: &mut Context<Self>) {
        if self.is_reading || self.is_over || self.asked > 0 {
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
        match (event, self.front.form()) {
            (Event::Line(Ok(line)), Form::Json) => self.on_json(&line, ctx),
            (Event::Line(Ok(line)), Form::Text) => self.on_text(line, ctx),
            (Event::Line(Err(error)), form) => {
                self.note_refused(match error {
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

    fn note_refused(&mut self, exit: Exit) {
        self.refused.get_or_insert(exit);
    }

    /// Leaves at once; says what nobody has got.
    fn quit(&mut self, ctx: &mut Context<Self>) {
        self.is_over = true;
        let count = self.offices.undelivered.send(CountUndelivered);
        self.when(count, ctx, |console, count, _| match count.unwrap_or(0) {
            0 => console.finish(Exit::Done),
            count => {
                console.front.talk(&format!("not delivered to anybody: {}", messages(count)));
                console.finish(Exit::NotDelivered);
            }
        });
    }

    /// Waits until everything said is delivered to somebody, or the time is up.
    fn linger(&mut self, ctx: &mut Context<Self>) {
        self.is_over = true;
        // A signal does not make it delivered.
        self.ending.otherwise(Exit::NotDelivered);
        if self.front.is_prompt() {
            self.front.talk("leaving when somebody has got what you said; Ctrl-C leaves at once");
        }
        self.linger_until(clock::now() + self.config.linger, ctx);
    }

    fn linger_until(&mut self, deadline: Instant, ctx: &mut Context<Self>) {
        let count = self.offices.undelivered.send(CountUndelivered);
        self.when(count, ctx, move |console, count, ctx| match count {
            Ok(0) => console.finish(console.refused.unwrap_or(Exit::Done)),
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

    fn give_up(&mut self, count: usize) {
        self.front.talk(&format!(
            "not delivered: nobody took {} within {}; --linger DURATION waits longer",
            messages(count),
            crate::settings::Span(self.config.linger),
        ));
        self.finish(Exit::NotDelivered);
    }

    /// Ends the node. What a warning asked for says more than that nobody was there.
    fn finish(&mut self, exit: Exit) {
        self.is_over = true;
        self.ending.end(self.warned.unwrap_or(exit));
    }

    /// Says `text`. Where a program writes the lines, it waits while there is no room for more.
    fn say(
        &mut self,
        to: To,
        text: String,
        id: Option<MessageId>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<MessageId, Refused>) + 'static,
    ) {
        let waits = self.front.form() == Form::Text && !self.front.is_prompt();
        let deadline = waits.then(|| clock::now() + self.config.linger);
        self.say_until(to, text, id, deadline, ctx, then);
    }

    fn say_until(
        &mut self,
        to: To,
        text: String,
        id: Option<MessageId>,
        deadline: Option<Instant>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<MessageId, Refused>) + 'static,
    ) {
        let said = match to {
            To::Channel(channel) => {
                futures_util::future::Either::Left(self.offices.say.send(Say {
                    channel,
                    text: text.clone(),
                    id,
                }))
            }
            To::Peer(peer) => futures_util::future::Either::Right(self.offices.tell.send(Tell {
                peer,
                text: text.clone(),
                id,
            })),
        };
        self.when(said, ctx, move |console, said, ctx| match (said, deadline) {
            (Ok(Err(SayError::Refused(Unfit::OutboxFull { .. }))), Some(deadline))
                if clock::now() < deadline =>
            {
                let pause = tokio::time::sleep(ROOM_STEP);
                console.when(pause, ctx, move |console, (), ctx| {
                    console.say_until(to, text, id, Some(deadline), ctx, then);
                });
            }
            (Ok(Err(SayError::Refused(Unfit::OutboxFull { waiting }))), Some(_)) => {
                console.give_up(waiting);
            }
            (Ok(Ok(id)), _) => then(console, Ok(id)),
            (Ok(Err(error)), _) => then(console, Err(error.into())),
            (Err(_), _) => then(console, Err(Refused::restarting())),
        });
    }
}

/// Why something was not said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    exit: Exit,
    text: String,
}

impl Refused {
    fn restarting() -> Self {
        let text = "the node is restarting a part of itself; say it again";
        Self { exit: Exit::Failed, text: text.into() }
    }
}

impl From<SayError> for Refused {
    fn from(error: SayError) -> Self {
        let exit = match error {
            SayError::Refused(Unfit::TooLong { .. } | Unfit::OutboxFull { .. }) => Exit::Limit,
            SayError::Refused(Unfit::NotLinked) => Exit::NotDelivered,
            SayError::Refused(Unfit::Empty) | SayError::NoSuchChannel => Exit::Failed,
        };
        Self { exit, text: error.to_string() }
    }
}

fn messages(count: usize) -> String {
    if count == 1 { "1 message".into() } else { format!("{count} messages") }
}

impl Actor for Console {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.offices.notices.do_send(Subscribe(ctx.address().recipient()));
        let front = self.front.clone();
        let closed = async move { front.closed().await };
        // That nobody reads any more is an end, and no failure.
        ctx.spawn(closed.into_actor(self).map(|is_failure, console, _| {
            console.finish(if is_failure { Exit::Failed } else { Exit::Done });
        }));
        self.greet();
        self.read_on(ctx);
    }
}

impl Handler<Notice> for Console {
    type Result = ();

    fn handle(&mut self, notice: Notice, _: &mut Self::Context) {
        match &notice {
            Notice::Warning { code: Some(code), .. } => {
                self.warned.get_or_insert(Exit::from_code(*code));
            }
            Notice::MemberUp { name, .. } => self.front.learn(name),
            Notice::Heard { .. }
            | Notice::Delivered { .. }
            | Notice::MemberDown { .. }
            | Notice::Warning { code: None, .. } => {}
        }
        match self.front.form() {
            Form::Json => {
                let seq = self.events.seq.fetch_add(1, Ordering::Relaxed) + 1;
                self.front.notify(json::notification(&notice, seq));
            }
            Form::Text => self.show_text(&notice),
        }
    }
}

//! Lines typed to messages, and back: the last child of the root, talking to actors by message.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | a line | standard input, by a thread | a message, a command or a JSON-RPC request |
//! | [`Notice`] | chat desk | what is shown |
//!
//! Owns: nothing but the present channel. Lost on a crash: that, and lines already read.
//! What is printed: `docs/headless.md`.

mod front;
mod grammar;
mod json;
mod lines;
mod plain;
mod prompt;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Recipient, StreamHandler,
    WrapFuture as _,
};
use bitchat_actors::chat_desk::{CountUndelivered, Notice, Say, Subscribe, Tell};
use bitchat_actors::contact_book::FindContact;
use bitchat_actors::mesh_manager::{ListMembers, Members};
use bitchat_actors::supervision::Stopper;
use bitchat_protocol::id::{ChannelId, MessageId, PeerId};
use futures_util::stream;
use tokio::sync::mpsc;

use crate::exit::Exit;
use lines::LineError;

pub(crate) use front::{Form, Front};

/// Lines read ahead of the console; beyond it standard input is not read.
const LINES_AHEAD: usize = 64;

/// Between two looks at whether everything is delivered, at the end of the input.
const LINGER_STEP: Duration = Duration::from_millis(50);

/// How a running node is ended from inside, and with what.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    stopper: OnceLock<Stopper>,
    exit: Mutex<Option<Exit>>,
}

impl Ending {
    pub(crate) fn attach(&self, stopper: Stopper) {
        let _ = self.stopper.set(stopper);
    }

    /// Ends the node; the first reason counts.
    pub(crate) fn end(&self, exit: Exit) {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(exit);
        if let Some(stopper) = self.stopper.get() {
            stopper.stop();
        }
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event of the input.
#[derive(Debug)]
pub(crate) enum Event {
    Line(Result<String, LineError>),
    End,
    /// The person wants out: Ctrl-C at the prompt.
    Quit,
}

/// Where events come from; survives a restart of the console.
pub(crate) type Events = Arc<tokio::sync::Mutex<mpsc::Receiver<Event>>>;

/// Reads standard input on a thread of its own.
pub(crate) fn read_input(front: &Front) -> Events {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    front.read_into(sender);
    Arc::new(tokio::sync::Mutex::new(receiver))
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

/// The actor.
pub(crate) struct Console {
    config: Config,
    offices: Offices,
    front: Front,
    events: Events,
    ending: Arc<Ending>,
    present: usize,
    /// Messages given to the chat desk and not answered yet.
    asked: usize,
    /// A message was refused: the exit code must say so.
    refused: bool,
    seq: u64,
    worst: Option<Exit>,
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
            asked: 0,
            refused: false,
            seq: 0,
            worst: None,
        }
    }

    fn present(&self) -> Option<&Channel> {
        self.config.channels.get(self.present)
    }

    fn channel_name(&self, id: &ChannelId) -> Arc<str> {
        let known = self.config.channels.iter().find(|channel| channel.id == *id);
        known.map_or_else(|| Arc::from(id.short()), |channel| Arc::clone(&channel.name))
    }

    /// A channel by its name (with or without `#`) or the beginning of its id.
    fn find_channel(&self, text: &str) -> Option<usize> {
        let bare = text.trim_start_matches('#');
        let channels = || self.config.channels.iter();
        channels()
            .position(|channel| channel.name.trim_start_matches('#') == bare)
            .or_else(|| channels().position(|channel| channel.id.to_string().starts_with(text)))
    }

    fn print(&self, line: &str) {
        if self.front.print(line).is_err() {
            // Nobody reads any more: that is an end, and no failure.
            self.ending.end(Exit::Done);
        }
    }

    fn talk(&self, line: &str) {
        self.front.talk(line);
    }

    fn on_event(&mut self, event: Event, ctx: &mut Context<Self>) {
        match (event, self.front.form()) {
            (Event::Line(Ok(line)), Form::Json) => self.on_json(&line, ctx),
            (Event::Line(Ok(line)), Form::Text) => self.on_text(&line, ctx),
            (Event::Line(Err(error)), form) => {
                self.refused = true;
                match form {
                    Form::Json => {
                        self.print_json_error(&serde_json::Value::Null, -32700, &error.to_string())
                    }
                    Form::Text => self.talk(&error.to_string()),
                }
            }
            (Event::Quit, _) => self.quit(ctx),
            (Event::End, _) => self.linger(ctx),
        }
    }

    /// Leaves at once; says what nobody has got.
    fn quit(&mut self, ctx: &mut Context<Self>) {
        let count = self.offices.undelivered.send(CountUndelivered);
        ctx.spawn(count.into_actor(self).map(|count, console, _| match count {
            Ok(0) | Err(_) => console.finish(Exit::Done),
            Ok(count) => {
                console.talk(&format!("not delivered to anybody: {}", messages(count)));
                console.finish(Exit::NotDelivered);
            }
        }));
    }

    /// Waits until everything said is delivered to somebody, or the time is up.
    fn linger(&mut self, ctx: &mut Context<Self>) {
        let deadline = bitchat_actors::clock::now() + self.config.linger;
        self.linger_until(deadline, ctx);
    }

    fn linger_until(&mut self, deadline: std::time::Instant, ctx: &mut Context<Self>) {
        let count = self.offices.undelivered.send(CountUndelivered);
        ctx.spawn(count.into_actor(self).map(move |count, console, ctx| {
            let count = count.unwrap_or(0);
            if console.asked == 0 && count == 0 {
                console.finish(if console.refused { Exit::Failed } else { Exit::Done });
            } else if bitchat_actors::clock::now() >= deadline {
                console.talk(&format!(
                    "not delivered: nobody took {} within {:?}; --linger DURATION waits longer",
                    messages(count),
                    console.config.linger,
                ));
                console.finish(Exit::NotDelivered);
            } else {
                ctx.run_later(LINGER_STEP, move |console, ctx| {
                    console.linger_until(deadline, ctx);
                });
            }
        }));
    }

    fn finish(&self, exit: Exit) {
        self.ending.end(self.worst.unwrap_or(exit));
    }

    /// Finds a person by name or id: contacts first, then members of the open channels.
    ///
    /// The console waits for it, as it does for what is said: the next line must not overtake.
    fn with_peer(
        &mut self,
        who: String,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<PeerId, String>, &mut Context<Self>) + 'static,
    ) {
        let contact = self.offices.contacts.send(FindContact { text: who.clone() });
        let lists: Vec<_> = self
            .config
            .channels
            .iter()
            .map(|channel| self.offices.members.send(ListMembers { channel: channel.id }))
            .collect();
        let search = async move {
            if let Ok(Ok(contact)) = contact.await {
                return Ok(contact.peer);
            }
            let mut found: Vec<PeerId> = Vec::new();
            for list in lists {
                let Members { members, .. } = list.await.unwrap_or_default();
                let fits = |name: &str, peer: &PeerId| {
                    name == who || (who.len() >= 6 && peer.to_string().starts_with(&who))
                };
                found.extend(
                    members.iter().filter(|m| fits(&m.name, &m.peer)).map(|member| member.peer),
                );
            }
            found.sort_unstable();
            found.dedup();
            match found[..] {
                [peer] => Ok(peer),
                [] => Err(format!("nobody is called {who}; /peers lists who is there")),
                _ => Err(format!("several are called {who}; name one by the beginning of its id")),
            }
        };
        ctx.wait(search.into_actor(self).map(move |peer, console, ctx| then(console, peer, ctx)));
    }

    fn say(
        &mut self,
        channel: ChannelId,
        text: String,
        id: Option<MessageId>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<MessageId, String>) + 'static,
    ) {
        self.asked += 1;
        let said = self.offices.say.send(Say { channel, text, id });
        ctx.wait(said.into_actor(self).map(|said, console, _| {
            console.asked -= 1;
            then(console, flatten(said));
        }));
    }

    fn tell(
        &mut self,
        peer: PeerId,
        text: String,
        id: Option<MessageId>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<MessageId, String>) + 'static,
    ) {
        self.asked += 1;
        let said = self.offices.tell.send(Tell { peer, text, id });
        ctx.wait(said.into_actor(self).map(|said, console, _| {
            console.asked -= 1;
            then(console, flatten(said));
        }));
    }
}

fn messages(count: usize) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

fn flatten<T, E: std::fmt::Display>(
    answer: Result<Result<T, E>, actix::MailboxError>,
) -> Result<T, String> {
    match answer {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("the node is restarting a part of itself; say it again".into()),
    }
}

impl Actor for Console {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.offices.notices.do_send(Subscribe(ctx.address().recipient()));
        let events = stream::unfold(Arc::clone(&self.events), |events| async {
            let event = events.lock().await.recv().await?;
            Some((event, events))
        });
        ctx.add_stream(events);
        self.greet();
    }
}

impl StreamHandler<Event> for Console {
    fn handle(&mut self, event: Event, ctx: &mut Self::Context) {
        self.on_event(event, ctx);
    }

    /// The input's end is an event of its own; the console lives on.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Notice> for Console {
    type Result = ();

    fn handle(&mut self, notice: Notice, _: &mut Self::Context) {
        if let Notice::Warning { code: Some(code), .. } = &notice {
            self.worst.get_or_insert(Exit::from_code(*code));
        }
        match self.front.form() {
            Form::Json => self.show_json(&notice),
            Form::Text => self.show_text(&notice),
        }
    }
}

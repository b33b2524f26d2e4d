//! Lines typed to messages, and back: for the node of this process, or for another one whose guest it
//! is.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | a line | standard input, by a thread | a message, a command or a JSON-RPC request |
//! | [`Notice`] | chat desk | what is shown |
//! | [`ChannelEvent`] | channel book | which channels there are to talk in |
//!
//! One line is dealt with at a time, and the next one is read when it is done: a slow node is felt
//! by whoever writes to it.
//!
//! Owns: nothing but the present channel. Lost on a crash: that, and the line being dealt with.
//! What is printed: `docs/headless.md`.

mod contacts;
mod ending;
mod front;
mod grammar;
mod inviting;
mod json;
mod keeping_up;
mod leaving;
mod node;
mod plain;
mod prompt;
mod saying;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, WrapFuture as _};
use bitchat_actors::channel_book::{self, ChannelEvent};
use bitchat_actors::chat_desk::{Notice, Subscribe};
use bitchat_protocol::id::ChannelId;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::channels::Channel;
use crate::control::Remote;
use crate::exit::Exit;
use crate::lines::LineError;
use crate::methods::notices::{self, Sequence, Wish};
use crate::rpc::{Asker, Refusal};
use front::OutputEnd;
use keeping_up::{Behind, Progress};
use saying::To;

pub(crate) use ending::Ending;
pub(crate) use front::{Form, Front};
pub(crate) use node::Node;

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
    sequence: Sequence,
    progress: Progress,
}

/// Reads standard input on a thread of its own; `wish` is what is shown of what happens.
pub(crate) fn read_input(front: &Front, wish: Wish) -> Events {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    front.read_into(sender);
    let input = Arc::new(tokio::sync::Mutex::new(receiver));
    Events { input, sequence: Sequence::default(), progress: Progress::wishing(wish) }
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
    /// Told of these channels alone, and not of those that come later.
    pub(crate) is_narrow: bool,
}

/// The actor.
pub(crate) struct Console {
    config: Config,
    node: Node,
    front: Front,
    events: Events,
    ending: Arc<Ending>,
    present: usize,
    /// Whose safety words were shown last, by id.
    compared: Option<String>,
    /// What was told and is not shown yet, if there is any.
    behind: Option<Behind>,
    /// Whether the next line is being waited for.
    is_reading: bool,
    /// Questions of ours that are not answered yet; until then no line is read.
    asked: usize,
    /// No line is read any more.
    is_over: bool,
}

impl Console {
    pub(crate) fn new(
        config: Config,
        node: Node,
        front: Front,
        events: Events,
        ending: Arc<Ending>,
    ) -> Self {
        Self {
            config,
            node,
            front,
            events,
            ending,
            present: 0,
            compared: None,
            behind: None,
            is_reading: false,
            asked: 0,
            is_over: false,
        }
    }

    fn present(&self) -> Option<&Channel> {
        self.config.channels.get(self.present)
    }

    /// Has a method done; the channel meant where it names none is the present one.
    fn call(
        &self,
        method: &str,
        params: &Value,
    ) -> impl Future<Output = Result<Value, Refusal>> + use<> {
        self.node.call(method, params, self.present().map(|it| it.id))
    }

    /// Tells a program that is told everything from the start only what it wishes.
    fn subscribe(&mut self, asker: Asker, params: Value, ctx: &mut Context<Self>) {
        let (node, present) = (self.node.clone(), self.present().map(|it| it.id));
        let wish = async move {
            match node {
                Node::Here { methods, .. } => methods.open(present).await?.wish(&params),
                Node::There(remote) => {
                    let subscribed = remote.call("subscribe", params).await?;
                    Ok(Wish::from_json(&subscribed["channels"]))
                }
            }
        };
        self.when(wish, ctx, move |console, wish, _| {
            let answer = wish.map(|wish| {
                let n = console.events.sequence.last();
                let answer = json!({"n": n, "channels": wish.to_json()});
                console.events.progress.wish(wish);
                answer
            });
            console.answer(&asker, answer);
        });
    }

    /// Waits for what another node tells, again and again, until that has ended.
    fn listen(&mut self, remote: &Remote, ctx: &mut Context<Self>) {
        let remote = remote.clone();
        let told = async move { (remote.told().await, remote) };
        ctx.spawn(told.into_actor(self).map(|(told, remote), console, ctx| match told {
            Some((notice, number)) => {
                console.on_told(&notice, Some(number), ctx);
                console.listen(&remote, ctx);
            }
            None => console.on_lost(),
        }));
    }

    /// The node at the other side has gone, or we to it: it stopped, failed, or sent us away.
    fn on_lost(&mut self) {
        const LOST: &str = "the connection to the node that this chat went through has ended";
        self.answer_as_unknown(LOST);
        self.front.talk(LOST);
        if self.front.form() == Form::Text && self.ending.in_flight() > 0 {
            self.front.talk("it is not known whether the last line was said; /history shows it");
        }
        self.finish(Exit::NotDelivered);
    }

    /// Waits for the next line, when nothing else is to be done before.
    fn read_on(&mut self, ctx: &mut Context<Self>) {
        if self.asked > 0 {
            return;
        }
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
    /// Another client of the node has opened a channel, or it was open at the start; or it has
    /// another name now.
    fn on_opened(&mut self, channel: Channel, origin: Option<ChannelId>) {
        if let Some(known) = self.config.channels.iter_mut().find(|known| known.id == channel.id) {
            *known = channel;
            return;
        }
        let is_told = self.config.channels.iter().any(|known| Some(known.id) == origin);
        self.config.channels.push(channel.clone());
        // Those with contacts come by themselves, as many as there are contacts; that a channel goes on
        // as another one is told in other words, and what it went on as comes with it.
        let is_silent = channel.is_pair || channel.is_former || is_told;
        if self.front.form() == Form::Text && !is_silent {
            let label = self.label(&channel);
            self.front.notify(format!("* {label} is open now; /to says what follows in it"));
        }
    }

    fn on_closed(&mut self, id: &ChannelId) {
        let Some(at) = self.config.channels.iter().position(|known| known.id == *id) else {
            return;
        };
        let label = self.label(&self.config.channels[at]);
        let gone = self.config.channels.remove(at);
        let was_present = self.present == at;
        if self.present > at {
            self.present -= 1;
        } else if was_present {
            // What is typed for one must not be said in another that nobody has named.
            self.present = usize::MAX;
        }
        if self.front.form() == Form::Text && (was_present || !gone.is_pair) {
            let next = if was_present { "; say where to talk with /to CHANNEL" } else { "" };
            self.front.notify(format!("* {label} is closed{next}"));
        }
    }

    /// Tells what a part that failed has cost, where this console is not the first.
    fn tell_losses(&mut self) {
        if self.ending.set_busy(false) {
            self.ending.note_refused(Exit::Failed);
            const FAILED: &str = "a part of the node failed";
            self.answer_as_unknown(FAILED);
            self.front.talk(&format!("{FAILED}; the line being dealt with may not be done"));
        }
        self.ending.note_unanswered();
        let Node::Here { methods, .. } = &self.node else { return };
        let lost = self.ending.meet(methods.saying.undelivered.clone());
        if lost > 0 {
            let text = format!(
                "a part of the node failed, and {} of yours that nobody is known to have with it; \
                 say again what matters",
                leaving::messages(lost),
            );
            let code = Some(Exit::NotDelivered.code());
            let warning = Notice::Warning { text, code };
            self.note(&warning);
            self.show(&warning);
        }
    }

    /// Numbers what is told, and shows it.
    fn show(&self, notice: &Notice) {
        let number = self.events.sequence.next();
        match self.front.form() {
            Form::Json => self.front.notify(notices::notification(notice, number)),
            Form::Text => self.show_text(notice),
        }
    }

    /// Goes to what takes the place of a channel, where that is the present one.
    fn follow(&mut self, left: ChannelId, successor: ChannelId, name: &Arc<str>) {
        let place = |channels: &[Channel], id| channels.iter().position(|it| it.id == id);
        let Some(at) = place(&self.config.channels, left) else { return };
        self.config.channels[at].is_former = true;
        let to = place(&self.config.channels, successor).unwrap_or_else(|| {
            // A node elsewhere tells no more of it than this.
            let (id, name) = (successor, Arc::clone(name));
            self.config.channels.push(Channel { id, name, is_pair: false, is_former: false });
            self.config.channels.len() - 1
        });
        if self.present == at {
            self.present = to;
        }
    }

    /// Keeps what matters at the end.
    fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::Moved { channel, successor, label, .. } => {
                self.follow(*channel, *successor, label);
            }
            Notice::Warning { code: Some(code), .. } => {
                self.ending.note_warned(Exit::from_code(*code));
            }
            Notice::MemberUp { name, .. } => self.front.learn(name),
            Notice::Delivered { id, .. } => self.ending.note_settled(id),
            Notice::Heard { .. }
            | Notice::MemberDown { .. }
            | Notice::SeederUp { .. }
            | Notice::SeederDown { .. }
            | Notice::Invited(_)
            | Notice::InviteAnswered { .. }
            | Notice::TicketRenewed { .. }
            | Notice::Warning { code: None, .. } => {}
        }
    }
}

impl Actor for Console {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.node.clone() {
            Node::Here { notices, channels, .. } => {
                notices.do_send(Subscribe(ctx.address().recipient()));
                channels.do_send(channel_book::Subscribe(ctx.address().recipient()));
            }
            Node::There(remote) => self.listen(&remote, ctx),
        }
        let front = self.front.clone();
        let closed = async move { front.closed().await };
        // That nobody reads any more is an end, and no failure.
        ctx.spawn(closed.into_actor(self).map(|end, console, ctx| match end {
            OutputEnd::Left => console.leave(Exit::Done, ctx),
            OutputEnd::Broken => console.leave(Exit::Failed, ctx),
        }));
        let leave = self.ending.asked_to_leave();
        ctx.spawn(leave.into_actor(self).map(|(), console, ctx| console.quit(ctx)));
        self.greet(ctx);
        self.tell_losses();
        self.begin(ctx);
        self.read_on(ctx);
    }
}

impl Handler<ChannelEvent> for Console {
    type Result = ();

    fn handle(&mut self, event: ChannelEvent, _: &mut Self::Context) {
        match event {
            ChannelEvent::Opened(opened) | ChannelEvent::Changed(opened) => {
                // What cannot be read can only be seeded.
                if opened.keys.is_member() {
                    self.on_opened(Channel::from(&*opened), opened.origin);
                }
            }
            // The chat desk says it.
            ChannelEvent::NotLetIn { .. }
            | ChannelEvent::Moved { .. }
            | ChannelEvent::Trouble { .. } => {}
            ChannelEvent::Closed(id) => self.on_closed(&id),
        }
    }
}

impl Handler<Notice> for Console {
    type Result = ();

    fn handle(&mut self, notice: Notice, ctx: &mut Self::Context) {
        self.on_told(&notice, None, ctx);
    }
}

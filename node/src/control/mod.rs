//! The control socket of a running node: whoever runs it may ask it how it does.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | a connection | the socket | the requests of one client, one after the other |
//!
//! Owns: the socket's file and the connections. Lost on a crash: the connections; clients connect
//! again. A socket that cannot be made is told in the log and costs nothing else.
//! What is said on it: `docs/headless.md`.

mod ask;
mod client;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Recipient, WrapFuture as _};
use bitchat_actors::channel_book::ListOpen;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::channels::Channel;
use crate::queries::{self, Channels, Queries};
use crate::rpc::{self, REFUSED, Refusal, Request};

pub(crate) use ask::{Asked, ask};
pub(crate) use socket::Place;
use socket::Socket;

/// Clients at once; more are told so and sent away. Stops a program that connects and never leaves
/// from taking every file descriptor.
const CLIENTS_MAX: usize = 16;

/// How long the node may take to answer; a part of it may be about to be started again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// After how long it is tried again to take a client, where the system had no room for one.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The methods beside those of [`queries`].
const METHODS: [&str; 1] = ["help"];

/// The actor.
#[derive(Debug)]
pub(crate) struct Control {
    place: Place,
    desk: Desk,
    clients: usize,
}

/// Answers requests; each client has one.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) queries: Queries,
    pub(crate) open: Recipient<ListOpen>,
}

impl Control {
    pub(crate) const fn new(place: Place, desk: Desk) -> Self {
        Self { place, desk, clients: 0 }
    }

    /// Waits for the next client, again and again.
    fn accept(socket: Rc<Socket>, control: &Self, ctx: &mut Context<Self>) {
        let next = async move {
            let accepted = socket.accept().await;
            if accepted.is_err() {
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
            (accepted, socket)
        };
        ctx.spawn(next.into_actor(control).map(|(accepted, socket), control, ctx| {
            control.on_accepted(accepted, ctx);
            Self::accept(socket, control, ctx);
        }));
    }

    fn on_accepted(&mut self, accepted: io::Result<UnixStream>, ctx: &mut Context<Self>) {
        match accepted {
            Ok(stream) if self.clients < CLIENTS_MAX => {
                self.clients += 1;
                let desk = self.desk.clone();
                let talk = client::serve(stream, move |line| desk.clone().on_line(line));
                ctx.spawn(talk.into_actor(self).map(|(), control, _| control.clients -= 1));
            }
            Ok(stream) => client::send_away(&stream),
            Err(error) => tracing::warn!(%error, "a client of the control socket was not taken"),
        }
    }
}

impl Actor for Control {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match Socket::bind(&self.place) {
            Ok(socket) => Self::accept(Rc::new(socket), self, ctx),
            Err(error) => tracing::warn!(
                "there is no control socket, so `bitchat status` will not find this node: {error}"
            ),
        }
    }
}

impl Desk {
    /// The answer to a line, if it wants one.
    async fn on_line(self, line: String) -> Option<String> {
        match rpc::read(&line) {
            Ok(None) => None,
            Ok(Some(request)) => {
                let late = (REFUSED, "the node is busy; ask once more".to_owned());
                let answer = timeout(ANSWER_TIMEOUT, self.answer(&request)).await;
                request.asker.answer(&answer.unwrap_or(Err(late)))
            }
            Err((asker, refusal)) => asker.answer(&Err(refusal)),
        }
    }

    async fn answer(&self, Request { method, params, .. }: &Request) -> Result<Value, Refusal> {
        let known = || METHODS.into_iter().chain(queries::METHODS);
        if method == "help" {
            return Ok(json!({"methods": known().collect::<Vec<_>>()}));
        }
        let channels = self.channels().await?;
        let answer = self.queries.answer(method, params, &channels).await;
        answer.unwrap_or_else(|| Err(rpc::no_such_method(method, known())))
    }

    async fn channels(&self) -> Result<Channels, Refusal> {
        let open = self.open.send(ListOpen).await;
        let open = open.map_err(|_| (REFUSED, "the node is leaving or starting".to_owned()))?;
        Ok(Channels {
            all: open.iter().map(|opened| Channel::from(&**opened)).collect(),
            has_present: false,
        })
    }
}

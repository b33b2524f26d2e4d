//! The control socket of a running node: whoever runs it may ask it how it does, talk through it and
//! be told what happens.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | a connection | the socket | the requests of one client, one after the other |
//! | [`Notice`] | chat desk | told on to clients that have subscribed |
//!
//! Owns: the socket's file and the connections. Lost on a crash: the connections; clients connect
//! again. A socket that cannot be made is told in the log and costs nothing else.
//! What is said on it: `docs/headless.md`.

mod ask;
mod audience;
mod client;
mod remote;
mod socket;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Recipient, WrapFuture as _,
};
use bitchat_actors::chat_desk::{Notice, Overhear};
use tokio::net::UnixStream;

use crate::methods::Methods;

pub(crate) use ask::{Asked, Connection, ask};
use audience::Audience;
use client::Client;
pub(crate) use remote::Remote;
pub(crate) use socket::Place;
use socket::Socket;

/// Messages waiting: notices come in bursts, and each is told on at once.
const MAILBOX: usize = 256;

/// Clients at once; more are told so and sent away. Stops a program that connects and never leaves
/// from taking every file descriptor.
const CLIENTS_MAX: usize = 16;

/// After how long it is tried again to take a client, where the system had no room for one.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Whom it talks to; all are started before it.
#[derive(Debug)]
pub(crate) struct Offices {
    pub(crate) methods: Methods,
    pub(crate) notices: Recipient<Overhear>,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Control {
    place: Place,
    offices: Offices,
    audience: Rc<RefCell<Audience>>,
    clients: usize,
}

impl Control {
    pub(crate) fn new(place: Place, offices: Offices) -> Self {
        Self { place, offices, audience: Rc::default(), clients: 0 }
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
                let client = Client::new(self.offices.methods.clone(), Rc::clone(&self.audience));
                let talk = client.serve(stream);
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
        ctx.set_mailbox_capacity(MAILBOX);
        self.offices.notices.do_send(Overhear(ctx.address().recipient()));
        match Socket::bind(&self.place) {
            Ok(socket) => Self::accept(Rc::new(socket), self, ctx),
            Err(error) => tracing::warn!(
                "there is no control socket, so `bitchat status` will not find this node: {error}"
            ),
        }
    }
}

impl Handler<Notice> for Control {
    type Result = ();

    fn handle(&mut self, notice: Notice, _: &mut Self::Context) {
        self.audience.borrow_mut().tell(notice);
    }
}

//! Somebody who never answers, for tests of what does not ask.

use actix::{Actor, ActorContext as _, Addr, Context, Handler, Message, ResponseFuture};

#[derive(Debug)]
pub(crate) struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl<M: Message> Handler<M> for Nobody
where
    M::Result: Send,
{
    type Result = ResponseFuture<M::Result>;

    fn handle(&mut self, _: M, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

pub(crate) fn start() -> Addr<Nobody> {
    Nobody.start()
}

//! The panic hook, in a process of its own because it is the whole process's.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use actix::{Actor, Context};
use bitchat_actors::supervision::{Exit, install_panic_hook, watch};
use tokio::sync::oneshot;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the errors as text.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<String>>);

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(&mut self.0.lock().expect("no test panics here")));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?};").expect("text grows");
    }
}

struct Faulty;

impl Actor for Faulty {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        panic!("oh \x07 {}", "x".repeat(1000));
    }
}

#[actix::test]
async fn a_panic_is_one_escaped_line_with_the_actors_name_and_the_place() {
    let errors = Errors::default();
    tracing::subscriber::set_global_default(errors.clone()).unwrap();
    install_panic_hook();
    install_panic_hook();

    let (tell, told) = oneshot::channel();
    let (_addr, _handle) = watch(Faulty, "faulty", |exit| tell.send(exit).unwrap());
    assert!(matches!(told.await.unwrap(), Exit::Panicked(_)));

    let logged = errors.0.lock().unwrap().clone();
    assert!(logged.contains("actor=\"faulty\""), "{logged}");
    assert!(logged.contains("panic_hook.rs"), "{logged}");
    assert_eq!(logged.matches("message=").count(), 1, "{logged}");
    assert!(logged.contains("panic: oh \\u{7} xxx"), "{logged}");
    assert!(logged.len() < 400, "{logged}");
}

//! How a console shows all that is on disk: also where more is told at once than its reader takes, where
//! a part of the node fails, or another node could not tell all of it in time.
//!
//! ```text
//!            no room to print, a gap in what is told, started again
//!    present ------------------------------------------------------> behind
//!       ^                                                              | pages of the archive are shown,
//!       |                                                              | each when there is room; what
//!       '--------------------------------------------------------------' is told meanwhile is in them
//!                         nothing newer is there
//! ```
//!
//! Not here: what has no number of the archive, such as who comes and goes. Where there is no room for
//! that, it is only counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use bitchat_actors::chat_desk::Notice;
use bitchat_actors::clock;
use serde_json::{Value, json};

use super::{Console, Front, Node};
use crate::methods::notices::{self, Wish};
use crate::rpc::Refusal;

/// Events that are read at once; as many lines must find room before.
const PAGE: usize = 200;

/// Between two looks for events that cannot be read yet.
const LOOK_STEP: Duration = Duration::from_millis(200);

/// How long such events are waited for: longer than it takes to start a part of the node again.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// How far a console is; clones share it, and it outlives the console.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The last event that was shown, or was not to be; `None`: not known yet.
    seen: Option<u64>,
    /// Up to here everything was read from the archive: what is told of it comes too late.
    read: u64,
    /// The last number of another node's.
    number: u64,
    wish: Wish,
}

impl Progress {
    pub(super) fn wishing(wish: Wish) -> Self {
        Self(Arc::new(Mutex::new(State { wish, ..State::default() })))
    }

    pub(super) fn wish(&self, wish: Wish) {
        self.lock().wish = wish;
    }

    fn covers(&self, notice: &Notice) -> bool {
        self.lock().wish.covers(notice)
    }

    fn seen(&self) -> Option<u64> {
        self.lock().seen
    }

    fn see(&self, seq: u64) {
        let seen = &mut self.lock().seen;
        *seen = Some(seen.unwrap_or(0).max(seq));
    }

    /// How many numbers of another node's are missing before this one.
    fn count(&self, number: u64) -> u64 {
        let last = std::mem::replace(&mut self.lock().number, number);
        number.saturating_sub(last + 1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a console knows that is behind.
#[derive(Debug)]
pub(super) struct Behind {
    /// The newest event that was told and not shown.
    newest: u64,
    /// What was told and not shown, or could not be told.
    missing: u64,
    /// What was shown in its place.
    shown: u64,
    /// Until when it is looked for events that cannot be read yet.
    deadline: Instant,
}

impl Console {
    /// Looks how far the archive is; a console that was started again goes on where the one before
    /// was.
    pub(super) fn begin(&mut self, ctx: &mut Context<Self>) {
        if self.events.progress.seen().is_some() {
            return self.fall_behind(0, None, ctx);
        }
        let first = self.call("events", &json!({"since": 0, "limit": 1}));
        ctx.spawn(first.into_actor(self).map(|first, console, _| {
            // Where it cannot be told, the first event that is shown tells it.
            if let Some(last) = first.ok().and_then(|first| first["last"].as_u64())
                && console.events.progress.seen().is_none()
            {
                console.events.progress.see(last);
            }
        }));
    }

    /// Shows what is told, or leaves it to be read. `number` is that of another node.
    pub(super) fn on_told(
        &mut self,
        notice: &Notice,
        number: Option<u64>,
        ctx: &mut Context<Self>,
    ) {
        let progress = self.events.progress.clone();
        progress.lock().wish.follow(notice);
        let missing = number.map_or(0, |number| progress.count(number));
        self.note(notice);
        if missing > 0 {
            self.fall_behind(missing, None, ctx);
        }
        let is_wanted = progress.covers(notice);
        if let Some(seq) = notices::seq_of(notice) {
            if let Some(behind) = &mut self.behind {
                behind.newest = behind.newest.max(seq);
                behind.missing += u64::from(is_wanted);
                return;
            }
            if seq <= progress.lock().read {
                return;
            }
            if is_wanted && !self.front.has_room() {
                return self.fall_behind(1, Some(seq), ctx);
            }
            progress.see(seq);
        }
        if is_wanted {
            self.show(notice);
        }
    }

    /// Reads from now on what is to be shown; of what is `missing`, `seq` is the newest known.
    fn fall_behind(&mut self, missing: u64, seq: Option<u64>, ctx: &mut Context<Self>) {
        if let Some(behind) = &mut self.behind {
            behind.missing += missing;
            return;
        }
        let progress = &self.events.progress;
        if progress.seen().is_none() {
            match seq {
                Some(seq) => progress.see(seq.saturating_sub(1)),
                None => return self.tell_missing(missing),
            }
        }
        let deadline = clock::now() + LOOK_TIMEOUT;
        let newest = seq.unwrap_or(0);
        self.behind = Some(Behind { newest, missing, shown: 0, deadline });
        self.read_page(ctx);
    }

    fn read_page(&mut self, ctx: &mut Context<Self>) {
        let params = json!({"since": self.events.progress.seen(), "limit": PAGE});
        let page = page(self.front.clone(), self.node.clone(), params);
        ctx.spawn(page.into_actor(self).map(|page, console, ctx| console.on_page(page, ctx)));
    }

    fn on_page(&mut self, page: Result<Value, Refusal>, ctx: &mut Context<Self>) {
        let Some(mut behind) = self.behind.take() else { return };
        let progress = self.events.progress.clone();
        let page = page.unwrap_or_else(|refusal| json!({"refused": refusal.text}));
        let lost = page["lost"].as_u64().unwrap_or(0);
        if lost > 0 {
            self.front.talk(&format!("not shown, as it is not kept any more: {lost} events"));
            behind.missing = behind.missing.saturating_sub(lost);
        }
        let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        for event in events {
            let Some(seq) = event["params"]["seq"].as_u64() else { continue };
            progress.see(seq);
            let Some(notice) = notices::read_event(event) else { continue };
            self.note(&notice);
            if progress.covers(&notice) {
                behind.shown += 1;
                self.show(&notice);
            }
        }
        let seen = progress.seen().unwrap_or(0);
        progress.lock().read = seen;
        let last = page["last"].as_u64().unwrap_or(u64::MAX).max(behind.newest);
        if seen >= last {
            return self.tell_missing(behind.missing.saturating_sub(behind.shown));
        }
        let now = clock::now();
        if !events.is_empty() {
            behind.deadline = now + LOOK_TIMEOUT;
            self.behind = Some(behind);
            return self.read_page(ctx);
        }
        if now >= behind.deadline {
            // Nothing more is to be had, such as of a channel whose archive cannot be opened.
            return self.tell_missing(behind.missing.saturating_sub(behind.shown));
        }
        self.behind = Some(behind);
        ctx.run_later(LOOK_STEP, Self::read_page);
    }

    /// How much was told and is not shown yet.
    pub(super) fn missing(&self) -> Option<u64> {
        self.behind.as_ref().map(|behind| behind.missing.saturating_sub(behind.shown))
    }

    /// Tells how much will not be shown, and leaves a gap in the numbers.
    pub(super) fn tell_missing(&self, missing: u64) {
        if missing > 0 {
            self.events.sequence.skip(missing);
            self.front.talk(&format!(
                "not shown, as more happened at once than could be told: {missing} notices"
            ));
        }
    }
}

/// Events, once there is room to print them.
async fn page(front: Front, node: Node, params: Value) -> Result<Value, Refusal> {
    front.room_for(PAGE).await;
    node.call("events", &params, None).await
}

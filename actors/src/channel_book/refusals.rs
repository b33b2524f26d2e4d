//! In what words somebody is turned down, and who does not let us in.
//!
//! A code tells a program why; what a person reads is in the words of their own node, and with the names
//! that they gave people. Nobody learns thereby what we call somebody, and a stranger with the
//! channel's key writes nothing on anybody's screen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Context, Handler, Message, MessageResult};
use bitchat_protocol::channel::{Charter, Denial};
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::limits::{REFUSAL_BYTES_MAX, REFUSALS_PER_CHANNEL_MAX};
use bitchat_protocol::session::Turndown;

use super::shelf::Stored;
use super::{ChannelBook, ChannelEvent};
use crate::clock;

/// For how long the same refusal is not told a person again.
const TOLD_FOR: Duration = Duration::from_secs(3600);
/// The code of a reason that has none, or one that we do not know.
const OTHER_REASON: u8 = 0;

/// A peer does not let us into a closed channel, or does now.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct NoteTurndown {
    /// The channel.
    pub channel: ChannelId,
    /// Who.
    pub by: PeerId,
    /// Its name, to be shown.
    pub name: Arc<str>,
    /// Why not, in words only where we let it in; `None`: it lets us in.
    pub why: Option<Turndown>,
}

/// Lists who does not let us into which closed channel, by what they said last.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Refused>")]
pub struct ListRefused;

/// Somebody does not let us into a closed channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The channel.
    pub channel: ChannelId,
    /// The name of who does not.
    pub by: Arc<str>,
    /// Why; not escaped.
    pub text: String,
    /// When.
    pub at: Instant,
}

/// Who does not let us in.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    said: BTreeMap<(ChannelId, PeerId), Refused>,
    /// When a person was told of a reason.
    told: BTreeMap<(ChannelId, u8), Instant>,
}

impl Refusals {
    /// Takes note of it; whether a person is to be told.
    fn note(&mut self, by: PeerId, code: u8, refused: Refused) -> bool {
        let (channel, now) = (refused.channel, refused.at);
        self.said.insert((channel, by), refused);
        let of_channel = self.said.range((channel, PeerId([0; 32]))..=(channel, PeerId([255; 32])));
        if of_channel.clone().count() > REFUSALS_PER_CHANNEL_MAX {
            let oldest = of_channel.min_by_key(|(_, refused)| refused.at).map(|(key, _)| *key);
            oldest.and_then(|oldest| self.said.remove(&oldest));
        }
        self.told.retain(|_, at| now.saturating_duration_since(*at) < TOLD_FOR);
        let is_new = !self.told.contains_key(&(channel, code));
        self.told.entry((channel, code)).or_insert(now);
        is_new
    }

    fn withdraw(&mut self, channel: ChannelId, by: PeerId) {
        self.said.remove(&(channel, by));
    }

    fn forget(&mut self, channel: &ChannelId) {
        self.said.retain(|(of, _), _| of != channel);
        self.told.retain(|(of, _), _| of != channel);
    }
}

/// What a peer is told that is not let in.
pub(super) fn turndown(stored: &Stored, charter: &Charter, denial: Denial) -> Turndown {
    let name = stored.chat.name().as_str();
    let text = words(name, charter, denial, PeerId::short);
    Turndown { code: code_of(denial), text: cut(text) }
}

/// What a peer is told about a channel that was left here just now.
pub(super) fn channel_is_gone() -> Turndown {
    Turndown { code: OTHER_REASON, text: "this channel was left here".to_owned() }
}

const fn code_of(denial: Denial) -> u8 {
    match denial {
        Denial::NoTicket => 1,
        Denial::NotGood => 2,
        Denial::Expired { .. } => 3,
        Denial::Removed => 4,
        Denial::OtherRole => 5,
        Denial::NoContact => 6,
    }
}

/// To who is not let in.
fn words(name: &str, charter: &Charter, denial: Denial, who: impl Fn(&PeerId) -> String) -> String {
    let founder = who(&charter.founder);
    let ask = |who: &str| format!("ask {who} for one: bitchat channel invite {name:?} YOU");
    match denial {
        Denial::NoTicket => {
            format!("{name} is invite-only and you have no ticket: {}", ask(&founder))
        }
        Denial::NotGood => {
            format!("{name} is invite-only and your ticket is not good here: {}", ask(&founder))
        }
        Denial::Expired { issuer } => {
            format!("{name} is invite-only and your ticket has expired: {}", ask(&who(&issuer)))
        }
        Denial::Removed => {
            format!("you, or who invited you, were removed from {name} by {founder}")
        }
        Denial::OtherRole => format!(
            "your ticket for {name} is for another role than your file (member or seeder): ask \
             {founder} for both"
        ),
        Denial::NoContact => format!(
            "{name} lets in contacts only: give your card to its members, who add you with \
             bitchat contact add CARD"
        ),
    }
}

impl ChannelBook {
    /// Why we are not let in, as the code says, in our words; `None`: we do not know the code.
    fn own_words(&self, stored: &Stored, code: u8) -> Option<String> {
        let charter = stored.chat.charter()?;
        let denial = match code {
            1 => Denial::NoTicket,
            2 => Denial::NotGood,
            3 => match self.own_grant(stored, &stored.tickets) {
                Err(expired @ Denial::Expired { .. }) => expired,
                // By the other's clock.
                Ok(_) | Err(_) => {
                    let last = stored.tickets.last();
                    Denial::Expired { issuer: last.map_or(charter.founder, |it| it.issuer) }
                }
            },
            4 => Denial::Removed,
            5 => Denial::OtherRole,
            6 => Denial::NoContact,
            _ => return None,
        };
        let who =
            |peer: &PeerId| self.names.get(peer).map_or_else(|| peer.short(), ToString::to_string);
        Some(words(stored.chat.name().as_str(), &charter, denial, who))
    }

    fn note_turndown(&mut self, note: NoteTurndown) {
        let NoteTurndown { channel, by, name, why } = note;
        let Some(Turndown { code, text }) = why else {
            return self.refusals.withdraw(channel, by);
        };
        let Ok(stored) = self.shelf.get(&channel) else { return };
        let (code, text) = match self.own_words(stored, code) {
            Some(words) => (code, words),
            None if text.is_empty() => (OTHER_REASON, "it does not say why".to_owned()),
            None => (OTHER_REASON, text),
        };
        let label = stored.name().as_str().into();
        let (at, shown) = (clock::now(), Arc::clone(&name));
        let refused = Refused { channel, by: shown, text: text.clone(), at };
        if self.refusals.note(by, code, refused) {
            tracing::info!(channel = %channel.short(), by = %by.short(), "we are not let in");
            self.tell(&ChannelEvent::NotLetIn { channel, label, by: name, text });
        }
    }

    pub(super) fn forget_refusals(&mut self, channel: &ChannelId) {
        self.refusals.forget(channel);
    }
}

/// A text that fits a frame.
fn cut(mut text: String) -> String {
    let mut at = REFUSAL_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.truncate(at);
    text
}

/// What a person is told when somebody does not let us in; not escaped.
#[must_use]
pub fn refusal_words(label: &str, by: &str, text: &str) -> String {
    format!("{by} does not let you into {label}: {text}")
}

impl Handler<NoteTurndown> for ChannelBook {
    type Result = ();

    fn handle(&mut self, note: NoteTurndown, _: &mut Context<Self>) {
        self.note_turndown(note);
    }
}

impl Handler<ListRefused> for ChannelBook {
    type Result = MessageResult<ListRefused>;

    fn handle(&mut self, _: ListRefused, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.refusals.said.values().cloned().collect())
    }
}

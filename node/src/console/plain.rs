//! Lines for people: what is printed for each notice, and what commands answer.

use actix::Context;
use bitchat_actors::chat_desk::Notice;
use bitchat_protocol::id::{ChannelId, MessageId};
use bitchat_protocol::text::{escape_for_terminal, look_of_name};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::grammar::{COMMANDS, Typed, read};
use super::{Channel, Console, To, inviting};
use crate::channels;
use crate::exit::Exit;
use crate::report::{MembersReport, OTHER_VERSION, PeersReport, safe_name};
use crate::rpc::Refusal;

/// Stands where the channel's name stands, when something was said to us alone.
const PRIVATE: &str = "private";

impl Console {
    /// What a person sees first.
    pub(super) fn greet(&mut self, ctx: &mut Context<Self>) {
        if !self.front.is_prompt() {
            return;
        }
        let labels: Vec<_> = self.config.channels.iter().map(|it| self.label(it)).collect();
        let labels = labels.join(", ");
        let through = if self.node.is_other() { " through the node that runs already" } else { "" };
        let text = format!("* in {labels}{through}; a line is a message, /help lists commands");
        self.front.answer(text);
        if self.node.is_other() {
            // Who is there came before us.
            self.list_peers(ctx);
        }
    }

    pub(super) fn on_text(&mut self, line: String, ctx: &mut Context<Self>) {
        match read(&line) {
            Typed::Nothing => {}
            Typed::Say(text) => match self.present().map(|channel| channel.id) {
                Some(channel) => self.say(To::Channel(channel), text, ctx),
                None => self.refuse("there is no channel to say it in; /to CHANNEL names one"),
            },
            Typed::Msg { who, text } => self.say(To::Person(who), text, ctx),
            Typed::To(channel) => match channels::find(&self.config.channels, &channel) {
                Ok(at) => self.present = at,
                Err(error) => self.refuse(&error),
            },
            Typed::Inviting(line) => self.on_inviting(line, ctx),
            Typed::Members => self.list_members(ctx),
            Typed::Remove(who) => self.remove(&who, ctx),
            Typed::Peers => self.list_peers(ctx),
            Typed::History(limit) => self.look_back(limit, ctx),
            Typed::Search(words) => self.search(&words, ctx),
            Typed::Contact(line) => self.on_contact(line, ctx),
            Typed::Help => self.front.answer(help()),
            Typed::Quit => self.quit(ctx),
            #[cfg(feature = "fault-injection")]
            Typed::Panic(actor) => {
                let found = bitchat_actors::supervision::fault::panic_actor(&actor);
                self.front.answer(format!("* panic {actor} {found}"));
            }
            Typed::Wrong(text) => self.refuse(&text),
        }
    }

    pub(super) fn refuse(&mut self, text: &str) {
        self.ending.note_refused(Exit::Failed);
        self.front.talk(text);
    }

    /// The same, with what a command would end with.
    pub(super) fn refuse_for(&mut self, refusal: &Refusal) {
        self.ending.note_refused(refusal.exit);
        self.front.talk(&refusal.text);
    }

    fn list_members(&mut self, ctx: &mut Context<Self>) {
        let Some(present) = self.present().cloned() else {
            return self.refuse("there is no channel to look at; /to CHANNEL names one");
        };
        let params = json!({"channel": present.id.to_string()});
        let listed = self.call("channel_members", &params);
        self.when(listed, ctx, move |console, listed, _| match listed {
            Ok(listed) => match MembersReport::deserialize(listed) {
                Ok(report) => {
                    let lines = report.describe().into_iter().map(|line| format!("*   {line}"));
                    let head = format!("* known in {}:", console.label(&present));
                    let lines: Vec<_> = std::iter::once(head).chain(lines).collect();
                    console.front.answer(lines.join("\n"));
                }
                Err(_) => console.refuse(OTHER_VERSION),
            },
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    fn remove(&mut self, who: &str, ctx: &mut Context<Self>) {
        if self.present().is_none() {
            return self.refuse("there is no channel to remove from; /to CHANNEL names one");
        }
        let before = self.present().map(|channel| channel.id.to_string());
        let removed = self.call("channel_remove", &json!({ "contact": who }));
        self.when(removed, ctx, move |console, removed, _| match removed {
            Ok(removed) if removed["channel"]["id"].as_str() == before.as_deref() => {
                console.front.answer("* was removed already".to_owned());
            }
            // It is told like to everybody else.
            Ok(_) => {}
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    fn look_back(&mut self, limit: u64, ctx: &mut Context<Self>) {
        let Some(present) = self.present().cloned() else {
            return self.refuse("there is no channel to look back in; /to CHANNEL names one");
        };
        let params = json!({"channel": present.id.to_string(), "limit": limit});
        let page = self.call("history", &params);
        self.when(page, ctx, move |console, page, _| match page {
            Ok(page) => {
                let head = format!("* said before in {}:", console.label(&present));
                console.answer_messages(&head, page["messages"].as_array());
            }
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    fn search(&mut self, words: &str, ctx: &mut Context<Self>) {
        let found = self.call("search", &json!({ "words": words }));
        self.when(found, ctx, |console, found, _| match found {
            Ok(found) => {
                // Newest last, as everywhere on a screen.
                let mut messages = found["messages"].as_array().cloned().unwrap_or_default();
                messages.reverse();
                console.answer_messages("* found:", Some(&messages));
            }
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    fn answer_messages(&self, head: &str, messages: Option<&Vec<Value>>) {
        let text = |message: &Value, field: &str| message[field].as_str().unwrap_or("").to_owned();
        let shown = messages.into_iter().flatten().filter(|message| message["blocked"] != true);
        let lines = shown.map(|message| {
            let channel = text(message, "channel").parse().map(|id| self.label_of(&id));
            let (name, said) = (text(message, "name"), text(message, "text"));
            let label = channel.unwrap_or_default();
            format!("[{label}] {}: {}", safe_name(&name), escape_for_terminal(&said))
        });
        let lines: Vec<String> = lines.collect();
        let head = if lines.is_empty() { "* nothing is kept" } else { head };
        self.front.answer([&[head.to_owned()], &lines[..]].concat().join("\n"));
    }

    fn list_peers(&mut self, ctx: &mut Context<Self>) {
        for channel in self.config.channels.clone() {
            let peers = self.call("peers", &json!({"channel": channel.id.to_string()}));
            self.when(peers, ctx, move |console, peers, _| match peers {
                Ok(peers) => match PeersReport::deserialize(peers) {
                    Ok(report) => console.front.answer(report.describe(&console.label(&channel))),
                    Err(_) => console.refuse(OTHER_VERSION),
                },
                Err(refusal) => console.refuse(&refusal.text),
            });
        }
    }

    fn label_of(&self, id: &ChannelId) -> String {
        let known = self.config.channels.iter().find(|channel| channel.id == *id);
        known.map_or_else(|| id.short(), |channel| self.label(channel))
    }

    /// A channel's name as it stands in brackets; with a part of its id where another open channel
    /// has the same.
    pub(super) fn label(&self, channel: &Channel) -> String {
        let label = label(channel);
        let look = look_of_name(&channel.name);
        let is_same = |other: &Channel| other.id != channel.id && look_of_name(&other.name) == look;
        if self.config.channels.iter().any(is_same) {
            return format!("{label} {}", channel.id.short());
        }
        label
    }

    pub(super) fn show_text(&self, notice: &Notice) {
        let line = match notice {
            // Whoever said it has seen it; what we said elsewhere has not been seen here.
            Notice::Heard { own: true, id, .. } if self.ending.has_said(id) => return,
            Notice::Heard { channel, name, text, .. } => {
                let label =
                    channel.as_ref().map_or_else(|| PRIVATE.to_owned(), |id| self.label_of(id));
                format!("[{label}] {}: {}", safe_name(name), escape_for_terminal(text))
            }
            Notice::Delivered { .. } if !self.config.receipts => return,
            // Another client of the node said it.
            Notice::Delivered { id, .. } if !self.ending.has_said(id) => return,
            Notice::Delivered { id, name, .. } => {
                format!("* delivered to {} ({})", safe_name(name), short(id))
            }
            Notice::MemberUp { channel, name, .. } => {
                format!("* {} is here [{}]", safe_name(name), self.label_of(channel))
            }
            Notice::MemberDown { channel, name, .. } => {
                format!("* {} has gone [{}]", safe_name(name), self.label_of(channel))
            }
            Notice::SeederUp { channel, name, .. } => {
                format!("* {} is here as a seeder [{}]", safe_name(name), self.label_of(channel))
            }
            Notice::SeederDown { channel, name, .. } => {
                format!("* the seeder {} has gone [{}]", safe_name(name), self.label_of(channel))
            }
            Notice::Invited(_) | Notice::InviteAnswered { .. } | Notice::TicketRenewed { .. } => {
                match inviting::describe(notice) {
                    Some(line) => line,
                    None => return,
                }
            }
            Notice::Moved { label, name, removed, .. } => {
                let names: Vec<_> = removed.iter().map(|(_, name)| safe_name(name)).collect();
                format!(
                    "* {} removed {} from [{}]; it goes on with new keys",
                    safe_name(name),
                    names.join(", "),
                    safe_name(label),
                )
            }
            Notice::Warning { text, .. } => {
                return self.front.talk(&format!("WARNING: {text}"));
            }
        };
        self.front.notify(line);
    }
}

/// A channel's name as it stands in brackets; never the word for what is said to us alone.
pub(super) fn label(channel: &Channel) -> String {
    let label = safe_name(&channel.name);
    if look_of_name(&channel.name) == PRIVATE {
        return format!("{label} {}", channel.id.short());
    }
    label
}

fn help() -> String {
    let line = |(command, operands, what): &(&str, &str, &str)| {
        format!("* {:<22} {what}", format!("{command} {operands}"))
    };
    COMMANDS.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn short(id: &MessageId) -> String {
    let mut text = id.to_string();
    text.truncate(8);
    text
}

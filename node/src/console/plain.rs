//! Lines for people: what is printed for each notice, and what commands answer.

use actix::Context;
use bitchat_actors::chat_desk::Notice;
use bitchat_actors::mesh_manager::ListMembers;
use bitchat_protocol::id::{ChannelId, MessageId};
use bitchat_protocol::text::escape_for_terminal;

use super::grammar::{COMMANDS, Typed, read};
use super::{Channel, Console, Refused, To};
use crate::exit::Exit;
use crate::report::{PeersReport, safe_name};

/// Stands where the channel's name stands, when something was said to us alone.
const PRIVATE: &str = "private";

impl Console {
    /// What a person sees first.
    pub(super) fn greet(&self) {
        if !self.front.is_prompt() {
            return;
        }
        let labels: Vec<_> = self.config.channels.iter().map(label).collect();
        let text = format!("* in {}; a line is a message, /help lists commands", labels.join(", "));
        self.front.answer(text);
    }

    pub(super) fn on_text(&mut self, line: String, ctx: &mut Context<Self>) {
        match read(&line) {
            Typed::Nothing => {}
            Typed::Say(text) => match self.present().map(|channel| channel.id) {
                Some(channel) => {
                    let (to, deadline) = (To::Channel(channel), self.patience());
                    self.say(to, text, None, deadline, ctx, Self::note_said);
                }
                None => self.refuse("there is no channel to say it in"),
            },
            Typed::Msg { who, text } => {
                let deadline = self.patience();
                self.with_peer(who, deadline, ctx, move |console, peer, ctx| match peer {
                    Ok(peer) => {
                        console.say(To::Peer(peer), text, None, deadline, ctx, Self::note_said);
                    }
                    Err(refused) => console.note_said(Err(refused)),
                });
            }
            Typed::To(channel) => match self.find_channel(&channel) {
                Ok(at) => self.present = at,
                Err(error) => self.refuse(&error),
            },
            Typed::Invite(who) => self.invite(who, ctx),
            Typed::Peers => self.list_peers(ctx),
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

    fn refuse(&mut self, text: &str) {
        self.ending.note_refused(Exit::Failed);
        self.front.talk(text);
    }

    fn note_said(&mut self, said: Result<MessageId, Refused>) {
        if let Err(refused) = said {
            self.ending.note_refused(refused.exit);
            self.front.talk(&format!("not sent: {}", refused.text));
        }
    }

    fn invite(&mut self, who: String, ctx: &mut Context<Self>) {
        let Some(channel) = self.present() else { return self.refuse("no channel is open") };
        let (id, invitations) = (channel.id, self.offices.queries.invitations.clone());
        let params = serde_json::json!({ "contact": who });
        let issued = async move { invitations.invite(id, &params).await };
        self.when(issued, ctx, |console, issued, _| match issued {
            Ok(issued) => {
                let link = issued["link"].as_str().unwrap_or_default();
                console.front.answer(format!("* give them this line, and nobody else: {link}"));
            }
            Err((_, text)) => console.refuse(&text),
        });
    }

    fn list_peers(&mut self, ctx: &mut Context<Self>) {
        for channel in self.config.channels.clone() {
            let members = self.offices.members.send(ListMembers { channel: channel.id });
            self.when(members, ctx, move |console, members, _| {
                let peers = PeersReport::from(&members.unwrap_or_default());
                console.front.answer(peers.describe(&label(&channel)));
            });
        }
    }

    fn label_of(&self, id: &ChannelId) -> String {
        let known = self.config.channels.iter().find(|channel| channel.id == *id);
        known.map_or_else(|| id.short(), label)
    }

    pub(super) fn show_text(&self, notice: &Notice) {
        let line = match notice {
            Notice::Heard { channel, name, text, .. } => {
                let label =
                    channel.as_ref().map_or_else(|| PRIVATE.to_owned(), |id| self.label_of(id));
                format!("[{label}] {}: {}", safe_name(name), escape_for_terminal(text))
            }
            Notice::Delivered { .. } if !self.config.receipts => return,
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
            Notice::Warning { text, .. } => {
                return self.front.talk(&format!("WARNING: {}", escape_for_terminal(text)));
            }
        };
        self.front.notify(line);
    }
}

/// A channel's name as it stands in brackets; never the word for what is said to us alone.
pub(super) fn label(channel: &Channel) -> String {
    if &*channel.name == PRIVATE {
        return format!("{PRIVATE} {}", channel.id.short());
    }
    escape_for_terminal(&channel.name).into_owned()
}

fn help() -> String {
    let line = |(command, operands, what): &(&str, &str, &str)| {
        format!("* {:<16} {what}", format!("{command} {operands}"))
    };
    COMMANDS.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn short(id: &MessageId) -> String {
    let mut text = id.to_string();
    text.truncate(8);
    text
}

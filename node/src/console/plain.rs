//! Lines for people: what is printed for each notice, and what commands answer.

use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use bitchat_actors::chat_desk::Notice;
use bitchat_actors::mesh_manager::{Completeness, ListMembers, Member, Members};
use bitchat_protocol::id::MessageId;
use bitchat_protocol::text::escape_for_terminal;

use super::grammar::{COMMANDS, Typed, read};
use super::{Channel, Console};

impl Console {
    /// What a person sees first.
    pub(super) fn greet(&self) {
        if !self.front.is_prompt() {
            return;
        }
        let names: Vec<&str> = self.config.channels.iter().map(|channel| &*channel.name).collect();
        self.print(&format!(
            "* in {}; a line is a message, /help lists commands",
            names.join(", ")
        ));
    }

    pub(super) fn on_text(&mut self, line: &str, ctx: &mut Context<Self>) {
        match read(line) {
            Typed::Nothing => {}
            Typed::Say(text) => match self.present().map(|channel| channel.id) {
                Some(channel) => self.say(channel, text, None, ctx, Self::note_said),
                None => self.refuse("there is no channel to say it in"),
            },
            Typed::Msg { who, text } => {
                self.asked += 1;
                self.with_peer(who, ctx, move |console, peer, ctx| {
                    console.asked -= 1;
                    match peer {
                        Ok(peer) => console.tell(peer, text, None, ctx, Self::note_said),
                        Err(error) => console.refuse(&error),
                    }
                });
            }
            Typed::To(channel) => match self.find_channel(&channel) {
                Some(at) => self.present = at,
                None => self.refuse(&format!("no open channel is called {channel}")),
            },
            Typed::Peers => self.list_peers(ctx),
            Typed::Help => {
                for (command, operands, what) in COMMANDS {
                    let usage = format!("{command} {operands}");
                    self.print(&format!("* {usage:<16} {what}"));
                }
            }
            Typed::Quit => self.quit(ctx),
            #[cfg(feature = "fault-injection")]
            Typed::Panic(actor) => {
                let found = bitchat_actors::supervision::fault::panic_actor(&actor);
                self.print(&format!("* panic {actor} {found}"));
            }
            Typed::Wrong(text) => self.refuse(&text),
        }
    }

    fn refuse(&mut self, text: &str) {
        self.refused = true;
        self.talk(text);
    }

    fn note_said(&mut self, said: Result<MessageId, String>) {
        if let Err(error) = said {
            self.refuse(&format!("not sent: {error}"));
        }
    }

    fn list_peers(&mut self, ctx: &mut Context<Self>) {
        for channel in self.config.channels.clone() {
            let members = self.offices.members.send(ListMembers { channel: channel.id });
            ctx.wait(members.into_actor(self).map(move |members, console, _| {
                console.show_peers(&channel, &members.unwrap_or_default());
            }));
        }
    }

    fn show_peers(&self, channel: &Channel, Members { mesh, members }: &Members) {
        let linked = members.iter().filter(|member| member.linked).count();
        let mesh = word(*mesh);
        let name = escape_for_terminal(&channel.name);
        self.print(&format!("* {name}: {linked} of {} linked, mesh {mesh}", members.len()));
        for member in members {
            self.print(&describe(member, members));
        }
    }

    pub(super) fn show_text(&self, notice: &Notice) {
        match notice {
            Notice::Heard { channel, name, text, .. } => {
                let text = escape_for_terminal(text);
                let name = escape_for_terminal(name);
                match channel {
                    Some(channel) => {
                        let channel = self.channel_name(channel);
                        let channel = escape_for_terminal(&channel);
                        self.print(&format!("[{channel}] {name}: {text}"));
                    }
                    None => self.print(&format!("[private] {name}: {text}")),
                }
            }
            Notice::Delivered { id, name, .. } => {
                if self.config.receipts {
                    let name = escape_for_terminal(name);
                    self.print(&format!("* delivered to {name} ({})", short(id)));
                }
            }
            Notice::MemberUp { channel, name, .. } => {
                let channel = self.channel_name(channel);
                let (name, channel) = (escape_for_terminal(name), escape_for_terminal(&channel));
                self.print(&format!("* {name} is here [{channel}]"));
            }
            Notice::MemberDown { channel, name, .. } => {
                let channel = self.channel_name(channel);
                let (name, channel) = (escape_for_terminal(name), escape_for_terminal(&channel));
                self.print(&format!("* {name} has gone [{channel}]"));
            }
            Notice::Warning { text, .. } => {
                self.talk(&format!("WARNING: {}", escape_for_terminal(text)));
            }
        }
    }
}

fn describe(member: &Member, all: &[Member]) -> String {
    let name_of = |peer: &bitchat_protocol::id::PeerId| -> Arc<str> {
        let known = all.iter().find(|member| member.peer == *peer);
        known.map_or_else(|| Arc::from(peer.short()), |member| Arc::clone(&member.name))
    };
    let list = |peers: &[bitchat_protocol::id::PeerId]| {
        let names: Vec<String> =
            peers.iter().map(|peer| escape_for_terminal(&name_of(peer)).into_owned()).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(" ") }
    };
    let link = match (member.linked, member.address, member.rtt) {
        (true, Some(address), Some(rtt)) => {
            format!("linked, {address}, {:.1} ms", rtt.as_secs_f64() * 1000.0)
        }
        (true, ..) => "linked".to_owned(),
        (false, ..) => "not linked with us".to_owned(),
    };
    format!(
        "*   {} {} ({link}); mesh {}; with: {}; not with: {}",
        escape_for_terminal(&member.name),
        member.peer.short(),
        word(member.mesh),
        list(&member.connected_with),
        list(&member.not_connected_with),
    )
}

pub(super) const fn word(mesh: Completeness) -> &'static str {
    match mesh {
        Completeness::Full => "full",
        Completeness::Partial => "partial",
        Completeness::None => "none",
    }
}

fn short(id: &MessageId) -> String {
    let mut text = id.to_string();
    text.truncate(8);
    text
}

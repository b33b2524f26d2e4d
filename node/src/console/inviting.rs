//! Lines about who is asked into channels, and what is told of it.

use actix::Context;
use bitchat_actors::chat_desk::Notice;
use bitchat_actors::clock;
use bitchat_protocol::id::ChannelId;
use bitchat_protocol::text::escape_for_terminal;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::grammar::InviteLine;
use super::{Channel, Console};
use crate::methods::delivery_words;
use crate::report::{InvitationReport, OTHER_VERSION, safe_name};

impl Console {
    pub(super) fn on_inviting(&mut self, line: InviteLine, ctx: &mut Context<Self>) {
        match line {
            InviteLine::Invite(who) => self.invite(who, ctx),
            InviteLine::Group { name, people } => self.make_group(&name, &people, ctx),
            InviteLine::List => self.list_invitations(ctx),
            InviteLine::Accept(which) => self.accept(&which, ctx),
            InviteLine::Decline(which) => self.decline(&which, ctx),
        }
    }

    fn invite(&mut self, who: String, ctx: &mut Context<Self>) {
        if self.present().is_none() {
            return self.refuse("there is no channel to invite to; /to CHANNEL names one");
        }
        let issued = self.call("invite", &json!({ "contact": who }));
        self.when(issued, ctx, move |console, issued, _| match issued {
            Ok(issued) => {
                let name = safe_name(&who);
                let Some(words) = delivery_words(&name, &issued) else {
                    return console.refuse(OTHER_VERSION);
                };
                let words = escape_for_terminal(&words);
                let link = escape_for_terminal(issued["link"].as_str().unwrap_or_default());
                console.front.answer(format!(
                    "* {words}\n* or give them this line, and nobody else: {link}"
                ));
            }
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    fn make_group(&mut self, name: &str, people: &[String], ctx: &mut Context<Self>) {
        let made = self.call("group", &json!({"name": name, "contacts": people}));
        self.when(made, ctx, |console, made, _| match made {
            Ok(made) => {
                console.enter(&made);
                let mut lines = Vec::new();
                for invited in made["invited"].as_array().into_iter().flatten() {
                    let name = safe_name(invited["name"].as_str().unwrap_or_default());
                    let words = delivery_words(&name, invited);
                    lines.extend(words.map(|words| format!("* {}", escape_for_terminal(&words))));
                }
                console.front.answer(lines.join("\n"));
            }
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    fn accept(&mut self, which: &str, ctx: &mut Context<Self>) {
        let accepted = self.call("accept", &json!({ "invitation": which }));
        self.when(accepted, ctx, |console, accepted, _| match accepted {
            Ok(channel) => console.enter(&channel),
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    fn decline(&mut self, which: &str, ctx: &mut Context<Self>) {
        let declined = self.call("decline", &json!({ "invitation": which }));
        self.when(declined, ctx, |console, declined, _| match declined {
            Ok(declined) => {
                let text = |field: &str| safe_name(declined[field].as_str().unwrap_or_default());
                let (label, name) = (text("label"), text("name"));
                console.front.answer(format!("* {label} is declined, and {name} is told so"));
            }
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    fn list_invitations(&mut self, ctx: &mut Context<Self>) {
        let listed = self.call("invitations", &Value::Null);
        self.when(listed, ctx, |console, listed, _| match listed {
            Ok(listed) => console.front.answer(describe_all(&listed)),
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    /// Has a channel to talk in that was opened by what was typed here: our own node tells of it as of
    /// each that is opened, another one does not.
    fn enter(&mut self, channel: &Value) {
        let text = |field: &str| channel[field].as_str();
        let id: Option<ChannelId> = text("id").and_then(|id| id.parse().ok());
        let (Some(id), Some(name)) = (id, text("name")) else {
            return self.refuse(OTHER_VERSION);
        };
        let shown = safe_name(name);
        if text("role") == Some("seeder") {
            return self.front.answer(format!("* this node keeps {shown} alive now"));
        }
        let how = match (self.node.is_other(), self.config.is_narrow) {
            (false, _) => String::new(),
            (true, true) => "; another bitchat chat talks there".into(),
            (true, false) => format!("; /to {} says what follows in it", id.short()),
        };
        let is_new = self.config.channels.iter().all(|known| known.id != id);
        if self.node.is_other() && !self.config.is_narrow && is_new {
            let (is_pair, is_former) = (false, false);
            self.config.channels.push(Channel { id, name: name.into(), is_pair, is_former });
        }
        self.front.answer(format!("* you are in {shown} now{how}"));
    }
}

/// What a person is told unasked; `None`: it is about something else.
pub(super) fn describe(notice: &Notice) -> Option<String> {
    let now = clock::unix().as_secs();
    Some(match notice {
        Notice::Invited(offered) => {
            let (number, words) =
                (offered.number, InvitationReport::from(&**offered).describe(now));
            format!("* {words}; /accept {number} or /decline {number}")
        }
        Notice::InviteAnswered { label, name, accepted, .. } => {
            let what = if *accepted { "accepted" } else { "declined" };
            let (name, label) = (safe_name(name), safe_name(label));
            format!("* {name} has {what} your invitation to {label}")
        }
        Notice::TicketRenewed { label, name, .. } => {
            format!("* {} gave you a new ticket for {}", safe_name(name), safe_name(label))
        }
        Notice::Heard { .. }
        | Notice::Delivered { .. }
        | Notice::MemberUp { .. }
        | Notice::MemberDown { .. }
        | Notice::SeederUp { .. }
        | Notice::SeederDown { .. }
        | Notice::Moved { .. }
        | Notice::Warning { .. } => return None,
    })
}

fn describe_all(listed: &Value) -> String {
    let now = clock::unix().as_secs();
    let offered = listed["invitations"].as_array().into_iter().flatten();
    let offered = offered.filter_map(|one| InvitationReport::deserialize(one).ok());
    let offered = offered.map(|one| format!("* {}  {}", one.number, one.describe(now)));
    let unanswered = listed["unanswered"].as_array().into_iter().flatten().map(|one| {
        let text = |field: &str| safe_name(one[field].as_str().unwrap_or_default());
        format!("* {} has not answered your invitation to {}", text("name"), text("label"))
    });
    let lines: Vec<String> = offered.chain(unanswered).collect();
    if lines.is_empty() { "* no invitation waits".into() } else { lines.join("\n") }
}

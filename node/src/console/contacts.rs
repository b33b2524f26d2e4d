//! Lines about people: the contact book, as somebody types to it.

use actix::Context;
use bitchat_actors::clock;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::Console;
use super::grammar::ContactLine;
use crate::report::{ContactReport, OTHER_VERSION, safe_name};

impl Console {
    pub(super) fn on_contact(&mut self, line: ContactLine, ctx: &mut Context<Self>) {
        let (method, params) = match line {
            ContactLine::List => return self.list_contacts(ctx),
            ContactLine::Show(who) => return self.show_contact(&who, ctx),
            ContactLine::Verify { who, answer } => return self.verify(&who, answer, ctx),
            ContactLine::Add { who, name } => {
                let given = if who.starts_with("bitchat:") { "card" } else { "contact" };
                ("contact_add", json!({given: who, "name": name}))
            }
            ContactLine::Rename { who, name } => {
                ("contact_rename", json!({"contact": who, "name": name}))
            }
            ContactLine::Block(who) => ("contact_block", json!({"contact": who})),
            ContactLine::Forget(who) => ("contact_remove", json!({"contact": who})),
        };
        let is_gone = method == "contact_remove";
        self.with_contact(method, &params, ctx, move |console, contact, _| {
            console.front.answer(if is_gone {
                format!("* {} is forgotten", safe_name(&contact.name))
            } else {
                mark(&contact.describe(now()))
            });
        });
    }

    /// Has something done about a contact, and goes on with what it is then.
    fn with_contact(
        &mut self,
        method: &str,
        params: &Value,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, ContactReport, &mut Context<Self>) + 'static,
    ) {
        let answer = self.call(method, params);
        self.when(answer, ctx, |console, answer, ctx| match answer {
            Ok(contact) => match ContactReport::deserialize(contact) {
                Ok(contact) => {
                    console.front.learn(&contact.name);
                    then(console, contact, ctx);
                }
                Err(_) => console.refuse(OTHER_VERSION),
            },
            Err(refusal) => console.refuse_for(&refusal),
        });
    }

    fn list_contacts(&mut self, ctx: &mut Context<Self>) {
        let all = self.call("contacts", &Value::Null);
        self.when(all, ctx, |console, all, _| {
            let all = match all {
                Ok(mut all) => Vec::<ContactReport>::deserialize(all["contacts"].take()),
                Err(refusal) => return console.refuse_for(&refusal),
            };
            let Ok(all) = all else { return console.refuse(OTHER_VERSION) };
            let rows: Vec<_> = all.iter().map(|contact| mark(&contact.describe(now()))).collect();
            let none = "* nobody is in the contact book yet: /add WHO";
            console.front.answer(if rows.is_empty() { none.into() } else { rows.join("\n") });
        });
    }

    fn show_contact(&mut self, who: &str, ctx: &mut Context<Self>) {
        self.with_contact("contact_show", &json!({"contact": who}), ctx, |console, contact, _| {
            console.front.answer(mark(&contact.describe_whole(now())));
        });
    }

    /// Shows the safety words first. That they are the same is believed only of the key whose words
    /// were shown, whoever has that name meanwhile.
    fn verify(&mut self, who: &str, answer: Option<String>, ctx: &mut Context<Self>) {
        let shown = json!({"contact": who});
        self.with_contact("contact_show", &shown, ctx, move |console, contact, ctx| {
            let params = match answer.as_deref() {
                Some("yes") if console.compared.as_ref() == Some(&contact.id) => {
                    json!({"contact": contact.id, "yes": true})
                }
                Some("yes") | None => return console.show_words(contact),
                Some(words) => json!({"contact": contact.id, "words": words}),
            };
            console.with_contact("contact_verify", &params, ctx, |console, contact, _| {
                console.compared = None;
                console.front.answer(mark(&contact.describe(now())));
            });
        });
    }

    fn show_words(&mut self, contact: ContactReport) {
        let name = safe_name(&contact.name);
        let words = contact.safety_words.as_deref().map(safe_name).unwrap_or_default();
        self.front.answer(format!(
            "* {words}\n* compare these words with {name}, over a call or in person; only if they are the \
             same: /verify {} yes",
            super::grammar::written(&name).unwrap_or_else(|| contact.id.clone()),
        ));
        self.compared = Some(contact.id);
    }
}

/// Has each line of an answer begin as all lines of the program's own do.
fn mark(text: &str) -> String {
    text.lines().map(|line| format!("* {line}")).collect::<Vec<_>>().join("\n")
}

fn now() -> u64 {
    clock::unix().as_secs()
}

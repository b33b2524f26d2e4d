//! `bitchat contact`: people we know and how far we trust their keys.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use actix::Actor as _;
use bitchat_actors::clock;
use bitchat_actors::contact_book::ContactBook;
use bitchat_protocol::text::escape_for_terminal;
use clap::Subcommand;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::Context;
use super::running::{Doer, Running};
use crate::exit::{Exit, Failure};
use crate::methods::Contacts;
use crate::output::talk;
use crate::report::{ContactReport, OTHER_VERSION, safe_name};

/// Bytes of what a person types when asked for safety words.
const ANSWER_BYTES_MAX: u64 = 1024;

/// `bitchat contact ...`
#[derive(Debug, Subcommand)]
pub enum ContactCommand {
    /// Add a person by their card, or one who was met in a channel
    Add {
        /// The card: bitchat:contact?...; or a name, an id or the beginning of the id
        #[arg(value_name = "CARD|WHO")]
        card: String,
        /// Your own name for them instead of the one on the card
        #[arg(long)]
        name: Option<String>,
    },
    /// List contacts
    List,
    /// Show one contact
    Show {
        /// Name, id or the beginning of the id
        contact: String,
    },
    /// Compare safety words and mark the contact as verified
    Verify {
        /// Name, id or the beginning of the id
        contact: String,
        /// The words have been compared and are the same
        #[arg(long)]
        yes: bool,
        /// The words as the other person reads them
        #[arg(long, value_name = "WORDS", conflicts_with = "yes")]
        words: Option<String>,
    },
    /// Give a contact another name
    Rename {
        /// Name, id or the beginning of the id
        contact: String,
        /// The new name
        name: String,
    },
    /// Refuse every link with a contact, or with the owner of an id
    Block {
        /// Name, id or the beginning of the id
        contact: String,
    },
    /// Forget a contact
    Remove {
        /// Name, id or the beginning of the id
        contact: String,
    },
}

/// Does it.
pub(super) fn run(command: &ContactCommand, context: &Context) -> Result<(), Failure> {
    let profile = match Doer::find(context)? {
        Doer::Node(node) => {
            let book = Book::OfNode(node);
            return actix_rt::System::new().block_on(with_book(command, context, &book));
        }
        Doer::Ourselves(profile) => profile,
    };
    actix_rt::System::new().block_on(async {
        let book = ContactBook::open(&profile)?.start();
        let book = Book::OnDisk(Contacts::of(profile.peer_id(), &book));
        with_book(command, context, &book).await
    })
}

/// The contact book that is asked.
enum Book {
    /// Of a profile that no node serves.
    OnDisk(Contacts),
    /// Of a node that runs.
    OfNode(Running),
}

impl Book {
    async fn call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        let contacts = match self {
            Self::OnDisk(contacts) => contacts,
            Self::OfNode(node) => return node.call(method, &params),
        };
        let answer = contacts.answer(method, &params, None).await;
        let answer = answer.ok_or_else(|| Failure::new(Exit::Internal, "no such method"))?;
        answer.map_err(|refusal| Failure::new(refusal.exit, escape_for_terminal(&refusal.text)))
    }

    async fn contact(&self, method: &str, params: Value) -> Result<ContactReport, Failure> {
        read(self.call(method, params).await?)
    }
}

async fn with_book(
    command: &ContactCommand,
    context: &Context,
    book: &Book,
) -> Result<(), Failure> {
    let named = |contact: &String| json!({"contact": contact});
    match command {
        ContactCommand::Add { card, name } => {
            let given = if card.starts_with("bitchat:") { "card" } else { "contact" };
            let added = book.call("contact_add", json!({given: card, "name": name})).await?;
            show(added, context)
        }
        ContactCommand::List => {
            let mut all = book.call("contacts", json!({})).await?;
            for contact in all["contacts"].as_array_mut().map(std::mem::take).unwrap_or_default() {
                show(contact, context)?;
            }
            Ok(())
        }
        ContactCommand::Show { contact } => {
            let shown = book.call("contact_show", named(contact)).await?;
            let text = read(shown.clone())?.describe_whole(now());
            context.output.data(text, &shown)
        }
        ContactCommand::Verify { contact, yes, words } => {
            let answer = match (words, yes) {
                (Some(words), _) => json!({"contact": contact, "words": words}),
                (None, true) => json!({"contact": contact, "yes": true}),
                (None, false) => {
                    let shown = book.contact("contact_show", named(contact)).await?;
                    compare(&shown, context)?
                }
            };
            show(book.call("contact_verify", answer).await?, context)
        }
        ContactCommand::Rename { contact, name } => {
            let params = json!({"contact": contact, "name": name});
            show(book.call("contact_rename", params).await?, context)
        }
        ContactCommand::Block { contact } => {
            show(book.call("contact_block", named(contact)).await?, context)
        }
        ContactCommand::Remove { contact } => {
            let gone = book.contact("contact_remove", named(contact)).await?;
            talk(format_args!("{} is forgotten", safe_name(&gone.name)));
            Ok(())
        }
    }
}

/// Shows our safety words, and asks what the other side has: what `contact_verify` is to be told.
fn compare(contact: &ContactReport, context: &Context) -> Result<Value, Failure> {
    let (name, ours) = (safe_name(&contact.name), contact.safety_words.as_deref().unwrap_or(""));
    context.output.data(ours, &json!({"peer": contact.id, "safety_words": ours}))?;
    if !io::stdin().is_terminal() {
        let text = format!(
            "{name} is not verified yet: compare these words over a call or in person, \
             then say --yes if they are the same, or --words with what {name} has"
        );
        return Err(Failure::usage(text));
    }
    let typed = ask_for_words(&name)?;
    // By id, so that it is the key whose words were shown.
    Ok(match typed.trim() {
        "yes" => json!({"contact": contact.id, "yes": true}),
        words => json!({"contact": contact.id, "words": words}),
    })
}

fn ask_for_words(name: &str) -> Result<String, Failure> {
    talk(format_args!(
        "Compare these words with {name}, over a call or in person. Type \"yes\" if they are the \
         same, or what {name} has:"
    ));
    let mut typed = String::new();
    let mut stdin = io::stdin().lock().take(ANSWER_BYTES_MAX);
    stdin
        .read_line(&mut typed)
        .map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    Ok(typed)
}

fn show(contact: Value, context: &Context) -> Result<(), Failure> {
    let text = read(contact.clone())?.describe(now());
    context.output.data(text, &contact)
}

fn read(contact: Value) -> Result<ContactReport, Failure> {
    ContactReport::deserialize(contact).map_err(|_| Failure::failed(OTHER_VERSION))
}

fn now() -> u64 {
    clock::unix().as_secs()
}

//! `bitchat contact`: people we know and how far we trust their keys.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use actix::{Actor as _, Addr};
use bitchat_actors::contact_book::{
    AddContact, BlockContact, ContactBook, EditError, FindContact, ListContacts, RemoveContact,
    RenameContact, VerifyContact,
};
use bitchat_protocol::contact::{Contact, ContactError, Trust};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::{Card, DisplayName, safety_words};
use bitchat_protocol::text::escape_for_terminal;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Context, ask};
use crate::exit::{Exit, Failure};
use crate::output::talk;
use crate::profile;

/// Bytes of what a person types when asked for safety words.
const ANSWER_BYTES_MAX: u64 = 1024;

/// `bitchat contact ...`
#[derive(Debug, Subcommand)]
pub enum ContactCommand {
    /// Add a person by their card
    Add {
        /// The card: bitchat:contact?...
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
    let profile = profile::open(&context.global)?;
    actix_rt::System::new().block_on(async {
        let book = ContactBook::open(&profile)?.start();
        with_book(command, context, profile.peer_id(), &book).await
    })
}

async fn with_book(
    command: &ContactCommand,
    context: &Context,
    own: PeerId,
    book: &Addr<ContactBook>,
) -> Result<(), Failure> {
    match command {
        ContactCommand::Add { card, name } => {
            let card: Card =
                card.parse().map_err(|error| Failure::usage(format!("not a card: {error}")))?;
            let our_name = name.as_deref().map(read_name).transpose()?;
            let contact = ask(book.send(AddContact { card, our_name })).await?.map_err(edited)?;
            show(&contact, context)
        }
        ContactCommand::List => {
            for contact in ask(book.send(ListContacts)).await? {
                show(&contact, context)?;
            }
            Ok(())
        }
        ContactCommand::Show { contact } => {
            let contact = find(book, contact).await?;
            show_with_words(&contact, &safety_words(&own, &contact.peer), context)
        }
        ContactCommand::Verify { contact, yes, words } => {
            let contact = find(book, contact).await?;
            let ours = safety_words(&own, &contact.peer);
            if !yes {
                compare(&contact, &ours, words.as_deref(), context)?;
            }
            let verify = VerifyContact { peer: contact.peer };
            show(&ask(book.send(verify)).await?.map_err(edited)?, context)
        }
        ContactCommand::Rename { contact, name } => {
            let peer = find(book, contact).await?.peer;
            let rename = RenameContact { peer, name: read_name(name)? };
            show(&ask(book.send(rename)).await?.map_err(edited)?, context)
        }
        ContactCommand::Block { contact } => {
            // Somebody who is not in the book can be blocked by id.
            let peer = match contact.parse() {
                Ok(peer) => peer,
                Err(_) => find(book, contact).await?.peer,
            };
            show(&ask(book.send(BlockContact { peer })).await?.map_err(edited)?, context)
        }
        ContactCommand::Remove { contact } => {
            let peer = find(book, contact).await?.peer;
            let gone = ask(book.send(RemoveContact { peer })).await?.map_err(edited)?;
            talk(format_args!("{} is forgotten", escape_for_terminal(&gone.name)));
            Ok(())
        }
    }
}

/// Finds out whether the other side has the same safety words.
fn compare(
    contact: &Contact,
    ours: &str,
    theirs: Option<&str>,
    context: &Context,
) -> Result<(), Failure> {
    let name = escape_for_terminal(&contact.name);
    let theirs = match theirs {
        Some(words) => words.to_owned(),
        None => {
            let peer = contact.peer.to_string();
            context.output.data(ours, &json!({"peer": peer, "safety_words": ours}))?;
            if !io::stdin().is_terminal() {
                let text = format!(
                    "{name} is not verified yet: compare these words over a call or in person, \
                     then say --yes if they are the same, or --words with what {name} has"
                );
                return Err(Failure::usage(text));
            }
            let typed = ask_for_words(&name)?;
            if typed.trim() == "yes" {
                return Ok(());
            }
            typed
        }
    };
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    if digits(&theirs) == digits(ours) {
        return Ok(());
    }
    let text = format!(
        "these are NOT the safety words: this is not {name}'s key, or somebody sits between you; \
         {name} was not verified, and is not to be trusted before the cards are compared another way"
    );
    Err(Failure::new(Exit::Untrusted, text))
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

async fn find(book: &Addr<ContactBook>, text: &str) -> Result<Contact, Failure> {
    ask(book.send(FindContact { text: text.to_owned() }))
        .await?
        .map_err(|error| Failure::failed(error.to_string()))
}

fn read_name(name: &str) -> Result<DisplayName, Failure> {
    DisplayName::new(name.trim())
        .map_err(|error| Failure::usage(format!("{name:?} cannot be a name: {error}")))
}

fn edited(error: EditError) -> Failure {
    let exit = match &error {
        EditError::Refused(ContactError::Conflict { .. }) => Exit::Untrusted,
        EditError::Refused(ContactError::Full) => Exit::Limit,
        EditError::Refused(_) | EditError::NotSaved(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn show(contact: &Contact, context: &Context) -> Result<(), Failure> {
    let name = escape_for_terminal(&contact.name);
    let text = format!("{name:<24} {:<8} {}", word(contact.trust), contact.peer);
    context.output.data(text, &to_json(contact))
}

fn show_with_words(contact: &Contact, words: &str, context: &Context) -> Result<(), Failure> {
    let theirs = contact.their_name.as_ref().map_or("none", DisplayName::as_str);
    let text = format!(
        "name          {}\ntheir name    {}\nid            {}\ntrust         {}\nsafety words  {words}",
        escape_for_terminal(&contact.name),
        escape_for_terminal(theirs),
        contact.peer,
        word(contact.trust),
    );
    let mut json = to_json(contact);
    json["safety_words"] = words.into();
    context.output.data(text, &json)
}

fn to_json(contact: &Contact) -> Value {
    json!({
        "name": &*contact.name, "trust": word(contact.trust), "id": contact.peer.to_string(),
        "their_name": contact.their_name.as_ref().map(DisplayName::as_str),
        "last_seen_unix": contact.last_seen_unix,
    })
}

const fn word(trust: Trust) -> &'static str {
    match trust {
        Trust::Seen => "seen",
        Trust::Known => "known",
        Trust::Verified => "verified",
        Trust::Blocked => "blocked",
    }
}

//! `bitchat contact`: people we know and how far we trust their keys.

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
    /// Refuse every link with a contact
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
        ContactCommand::Show { contact } => show(&find(book, contact).await?, context),
        ContactCommand::Verify { contact, yes, words } => {
            let contact = find(book, contact).await?;
            let ours = safety_words(&own, &contact.peer);
            let same = |words: &str| words.split_whitespace().eq(ours.split_whitespace());
            match (yes, words) {
                (_, Some(words)) if !same(words) => {
                    let text = "these are not the safety words: do not trust this key, and \
                                compare the cards by another way";
                    return Err(Failure::new(Exit::Untrusted, text));
                }
                (false, None) => {
                    let peer = contact.peer.to_string();
                    talk("compare these words with the other person's, then say --yes:");
                    return context
                        .output
                        .data(&ours, &json!({"peer": peer, "safety_words": ours}));
                }
                _ => {}
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
            let peer = find(book, contact).await?.peer;
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
        EditError::Refused(_) | EditError::NotSaved(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn show(contact: &Contact, context: &Context) -> Result<(), Failure> {
    let trust = match contact.trust {
        Trust::Seen => "seen",
        Trust::Known => "known",
        Trust::Verified => "verified",
        Trust::Blocked => "blocked",
    };
    let name = escape_for_terminal(&contact.name);
    let text = format!("{name:<24} {trust:<8} {}", contact.peer);
    let json: Value = json!({
        "name": &*contact.name, "trust": trust, "id": contact.peer.to_string(),
        "their_name": contact.their_name.as_ref().map(DisplayName::as_str),
        "last_seen_unix": contact.last_seen_unix,
    });
    context.output.data(text, &json)
}

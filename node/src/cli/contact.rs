//! `bitchat contact`: people we know and how far we trust their keys.

use clap::Subcommand;

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

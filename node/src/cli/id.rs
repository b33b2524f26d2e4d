//! `bitchat id`: our own identity.

use clap::Subcommand;

/// `bitchat id ...`
#[derive(Debug, Subcommand)]
pub enum IdCommand {
    /// Show id, name and where the profile is
    Show,
    /// Print the contact card to give to others
    Card {
        /// As a QR code too
        #[arg(long)]
        qr: bool,
    },
    /// Change the name that others see
    Rename {
        /// The new name; may be "" to be shown by id alone
        name: String,
    },
}

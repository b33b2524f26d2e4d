//! `bitchat id`: our own identity.

use bitchat_protocol::identity::{Card, DisplayName};
use clap::Subcommand;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;

use super::Context;
use crate::exit::Failure;
use crate::output::talk;
use crate::profile;

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
        /// The new name
        name: String,
    },
    /// Set, change or remove the passphrase that seals the profile
    Passphrase,
}

/// Does it.
pub(super) fn run(command: &IdCommand, context: &Context) -> Result<(), Failure> {
    let mut profile = profile::open(&context.global)?;
    match command {
        IdCommand::Show => {
            let name = profile.display_name().map_or("", DisplayName::as_str);
            let (id, dir) = (profile.peer_id(), profile.dir().display().to_string());
            let sealed = profile.is_sealed();
            let text = format!(
                "id       {id}\nname     {}\nprofile  {dir}\nsealed   {}",
                if name.is_empty() {
                    "(none; set one with `bitchat id rename NAME`)"
                } else {
                    name
                },
                if sealed { "with a passphrase" } else { "no (`bitchat id passphrase` sets one)" },
            );
            let json =
                json!({"id": id.to_string(), "name": name, "profile": dir, "sealed": sealed});
            context.output.data(text, &json)
        }
        IdCommand::Card { qr } => show_card(&profile.card(), *qr, context),
        IdCommand::Rename { name } => {
            let name = DisplayName::new(name.trim())
                .map_err(|error| Failure::usage(format!("{name:?} cannot be a name: {error}")))?;
            profile.rename(name.clone())?;
            context.output.data(format!("you are {name}"), &json!({"name": name.as_str()}))
        }
        IdCommand::Passphrase => {
            let new = profile::ask("new passphrase (empty: none): ")?;
            if new.is_some() && profile::ask("once more: ")? != new {
                return Err(Failure::usage("the two are not the same; nothing was changed"));
            }
            profile.set_passphrase(new.as_ref())?;
            talk(if new.is_some() { "the profile is sealed" } else { "the profile is not sealed" });
            Ok(())
        }
    }
}

fn show_card(card: &Card, qr: bool, context: &Context) -> Result<(), Failure> {
    let text = card.to_string();
    if qr {
        let code = QrCode::new(text.as_bytes()).map_err(|error| {
            Failure::failed(format!("the card does not fit a QR code: {error}"))
        })?;
        talk(code.render::<Dense1x2>().build());
    }
    context.output.data(&text, &json!({"card": text}))
}

//! `bitchat id`: our own identity.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use bitchat_actors::vault::{Passphrase, Profile};
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
    Show {
        /// Take this name first
        #[arg(long)]
        name: Option<String>,
    },
    /// Print the contact card to give to others
    Card {
        /// As a QR code too
        #[arg(long)]
        qr: bool,
        /// Take this name first
        #[arg(long)]
        name: Option<String>,
    },
    /// Change the name that others see
    Rename {
        /// The new name
        name: String,
    },
    /// Set, change or remove the passphrase that seals the profile
    Passphrase {
        /// Keep the profile without a passphrase from now on
        #[arg(long, conflicts_with = "new_file")]
        remove: bool,
        /// File whose first line is the new passphrase, instead of typing it
        #[arg(long, value_name = "FILE")]
        new_file: Option<PathBuf>,
    },
}

/// Does it.
pub(super) fn run(command: &IdCommand, context: &Context) -> Result<(), Failure> {
    let mut profile = profile::open(&context.global)?;
    match command {
        IdCommand::Show { name } => {
            take_name(&mut profile, name.as_deref())?;
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
        IdCommand::Card { qr, name } => {
            take_name(&mut profile, name.as_deref())?;
            show_card(&profile.card(), *qr, context)
        }
        IdCommand::Rename { name } => {
            take_name(&mut profile, Some(name))?;
            let name = profile.display_name().map_or("", DisplayName::as_str);
            context.output.data(format!("you are {name}"), &json!({"name": name}))
        }
        IdCommand::Passphrase { remove, new_file } => {
            let new = match (remove, new_file) {
                (true, _) => None,
                (false, Some(file)) => Some(profile::passphrase_in(file)?),
                (false, None) => Some(ask_twice("say --new-file FILE, or --remove to have none")?),
            };
            profile.set_passphrase(new.as_ref())?;
            talk(if new.is_some() { "the profile is sealed" } else { "the profile is not sealed" });
            Ok(())
        }
    }
}

fn take_name(profile: &mut Profile, name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else { return Ok(()) };
    let name = DisplayName::new(name.trim())
        .map_err(|error| Failure::usage(format!("{name:?} cannot be a name: {error}")))?;
    Ok(profile.rename(name)?)
}

/// Asks a person for a new passphrase, twice, as nobody sees what is typed.
///
/// `instead` says what to do where nobody can be asked, or nothing is typed.
pub(super) fn ask_twice(instead: &str) -> Result<Passphrase, Failure> {
    if !std::io::stdin().is_terminal() {
        let text = format!("there is no terminal to type the new passphrase at: {instead}");
        return Err(Failure::usage(text));
    }
    let first = profile::ask("new passphrase: ")?;
    let again = profile::ask("once more: ")?;
    match first {
        None => Err(Failure::usage(format!("the passphrase is empty: {instead}"))),
        Some(first) if Some(&first) == again.as_ref() => Ok(first),
        Some(_) => Err(Failure::usage("the two are not the same; nothing was changed")),
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

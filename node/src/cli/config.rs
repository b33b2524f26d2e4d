//! `bitchat config`: what is set and where it comes from.

use clap::Subcommand;
use serde_json::json;

use super::Context;
use crate::exit::Failure;
use crate::output::talk;

/// `bitchat config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting, its value and where that comes from
    Show,
    /// Only look for mistakes
    Check,
}

/// Does it. That the settings are right has been found out before, but for files they name.
pub(super) fn run(command: &ConfigCommand, context: &Context) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show => show(context),
        ConfigCommand::Check => {
            crate::disguise::check(&context.loaded.settings)?;
            talk("the settings are right");
            Ok(())
        }
    }
}

/// The text is TOML again, so it can be kept as a file.
fn show(context: &Context) -> Result<(), Failure> {
    for row in context.loaded.listing() {
        let text = format!("{} = {}  # {}", row.key, row.value, row.origin);
        let json = json!({"key": row.key, "value": row.value, "origin": row.origin});
        context.output.data(text, &json)?;
    }
    Ok(())
}

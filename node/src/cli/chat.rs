//! `bitchat chat` and `bitchat run`: the commands that start a node.

use clap::Args;

use crate::settings::Span;

/// `bitchat chat ...`
#[derive(Debug, Clone, Args)]
pub struct ChatArguments {
    /// Channels to talk in, joined first if needed: name, FILE, LINK or '#NAME'; without any, all of
    /// the profile
    #[arg(value_name = "C|FILE|LINK|'#NAME'")]
    pub channels: Vec<String>,
    /// How long to wait at the end of the input until somebody has got what was said
    #[arg(long, value_name = "DURATION")]
    pub linger: Option<Span>,
    /// Lines as if stdin were no terminal
    #[arg(long)]
    pub plain: bool,
    /// Print a line for each member that a message has reached
    #[arg(long, overrides_with = "no_receipts")]
    pub receipts: bool,
    /// Do not print them
    #[arg(long)]
    pub no_receipts: bool,
}

/// `bitchat run`
#[derive(Debug, Clone, Args)]
pub struct RunArguments {}

//! `bitchat chat`, `bitchat run` and `bitchat seed`: the commands that start a node.

use std::sync::Arc;

use actix::Actor as _;
use bitchat_actors::channel_book::{ChannelBook, ListChannels, Summary};
use bitchat_actors::root::Open;
use bitchat_actors::vault::Profile;
use bitchat_protocol::channel::Invitation;
use clap::Args;

use super::{Context, ask, channel};
use crate::channels::Channel;
use crate::console::Front;
use crate::exit::{Exit, Failure};
use crate::profile;
use crate::run::{self, Talk};
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

/// `bitchat seed ...`
#[derive(Debug, Clone, Args)]
pub struct SeedArguments {
    /// Channels to keep alive without being able to read them: FILE or LINK, seed-only or not; or the
    /// name of one that is here as a seeder
    #[arg(value_name = "FILE|LINK|C", required = true)]
    pub channels: Vec<String>,
}

/// Talks.
pub(super) fn chat(arguments: &ChatArguments, context: &Context) -> Result<Exit, Failure> {
    let profile = profile::open(&context.global)?;
    let channels = choose_channels(&arguments.channels, &profile, context)?;
    let settings = &context.loaded.settings;
    let receipts = match (arguments.receipts, arguments.no_receipts) {
        (true, _) => true,
        (_, true) => false,
        (false, false) => settings.chat.show_delivered,
    };
    // The channels of pairs are open in any case.
    let joined = channels.iter().filter(|channel| channel.pair.is_none());
    let open = Open::These(joined.map(|channel| channel.id).collect());
    let talk = Talk {
        channels: channels.iter().map(known).collect(),
        front: Front::choose(context.global.json, arguments.plain, context.global.color()),
        linger: arguments.linger.unwrap_or(settings.chat.linger).0,
        receipts,
    };
    run::run(settings, profile, open, Some(talk))
}

/// Stays, without a console.
pub(super) fn run(_: &RunArguments, context: &Context) -> Result<Exit, Failure> {
    let profile = profile::open(&context.global)?;
    run::run(&context.loaded.settings, profile, Open::All, None)
}

/// Stays as a blind seeder, without a console.
pub(super) fn seed(arguments: &SeedArguments, context: &Context) -> Result<Exit, Failure> {
    let profile = profile::open(&context.global)?;
    let channels = choose_seeded(&arguments.channels, &profile, context)?;
    let open = Open::These(channels.iter().map(|channel| channel.id).collect());
    run::run(&context.loaded.settings, profile, open, None)
}

/// The channels named, joined first as a seeder if needed: of a member's file only what a seeder
/// needs is kept.
fn choose_seeded(
    named: &[String],
    profile: &Profile,
    context: &Context,
) -> Result<Vec<Summary>, Failure> {
    actix_rt::System::new().block_on(async {
        let book = ChannelBook::open(profile)?.start();
        let mut chosen = Vec::new();
        for text in named {
            let summary = if is_new(text) {
                {
                let invitation = channel::read(text, context)?;
                let file = invitation.file.seed_only();
                channel::join(&book, Invitation { file, ..invitation }).await?
            }
            } else {
                channel::find(&book, text).await?
            };
            if summary.is_member {
                let name = bitchat_protocol::text::escape_for_terminal(summary.name.as_str());
                let text = format!(
                    "this profile is a member of {name} and can read it; seed it blindly from                      another: bitchat --profile seeder seed FILE"
                );
                return Err(Failure::usage(text));
            }
            chosen.push(summary);
        }
        Ok(chosen)
    })
}

fn is_new(text: &str) -> bool {
    text.starts_with('#')
        || text.starts_with("bitchat:")
        || text.ends_with(".chat")
        || std::path::Path::new(text).is_file()
}

fn known(summary: &Summary) -> Channel {
    Channel {
        id: summary.id,
        name: Arc::from(summary.name.as_str()),
        is_pair: summary.pair.is_some(),
    }
}

/// The channels named, joined first if needed; all of the profile when none is.
fn choose_channels(
    named: &[String],
    profile: &Profile,
    context: &Context,
) -> Result<Vec<Summary>, Failure> {
    actix_rt::System::new().block_on(async {
        let book = channel::book(profile, context)?;
        let mut chosen: Vec<Summary> = Vec::new();
        for text in named {
            let summary = if is_new(text) {
                channel::join(&book, channel::read(text, context)?).await?
            } else {
                channel::find(&book, text).await?
            };
            if chosen.iter().all(|known| known.id != summary.id) {
                chosen.push(summary);
            }
        }
        if named.is_empty() {
            chosen = ask(book.send(ListChannels)).await?;
            chosen.retain(|summary| summary.is_member);
            chosen.sort_by_key(|summary| summary.pair.is_some());
        }
        if chosen.is_empty() {
            let text = "there is no channel yet: make one with `bitchat channel new NAME`, or name \
                        one: `bitchat chat FILE.chat` or `bitchat chat '#NAME'`";
            return Err(Failure::usage(text));
        }
        if let Some(seeder) = chosen.iter().find(|summary| !summary.is_member) {
            let name = bitchat_protocol::text::escape_for_terminal(seeder.name.as_str());
            let text = format!(
                "{name} is here as a seeder only and cannot be read; keep it alive with bitchat \
                 seed {name}"
            );
            return Err(Failure::usage(text));
        }
        Ok(chosen)
    })
}

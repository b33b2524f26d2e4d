//! `bitchat chat`, `bitchat run` and `bitchat seed`: the commands that start a node; a chat, and what is
//! to be seeded, goes through one that runs already.

use std::sync::Arc;

use actix::Actor as _;
use bitchat_actors::channel_book::{ChannelBook, ListChannels, Summary};
use bitchat_actors::root::Open;
use bitchat_actors::vault::Profile;
use bitchat_protocol::channel::Invitation;
use bitchat_protocol::text::escape_for_terminal;
use clap::Args;
use serde_json::{Value, json};

use super::running::{Doer, Running};
use super::{Context, ask, channel, channel_running};
use crate::channels::Channel;
use crate::console::Front;
use crate::exit::{Exit, Failure};
use crate::output::talk;
use crate::profile;
use crate::report::{OTHER_VERSION, safe_name};
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
    let profile = match Doer::find(context)? {
        Doer::Node(node) => return attach(arguments, context, node),
        Doer::Ourselves(profile) => *profile,
    };
    let channels = choose_channels(&arguments.channels, &profile, context)?;
    // The channels of pairs are open in any case.
    let joined = channels.iter().filter(|channel| channel.pair.is_none());
    let open = Open::These(joined.map(|channel| channel.id).collect());
    let chat = talk_in(channels.iter().map(Channel::from).collect(), arguments, context);
    run::run(&context.loaded.settings, profile, open, Some(chat))
}

/// Talks through a node that runs already, which goes on afterwards.
fn attach(arguments: &ChatArguments, context: &Context, node: Running) -> Result<Exit, Failure> {
    let mut channels = Vec::new();
    for text in &arguments.channels {
        let opened = if is_new(text) {
            channel_running::join(&node, &channel::read(text, context)?)?
        } else {
            node.call("channel_open", &json!({"channel": text}))?
        };
        let channel = read_channel(&opened)?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    if channels.is_empty() {
        let all = node.call("channels", &json!({}))?;
        let all = all["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
        let readable = all.iter().filter(|channel| channel["role"] != "seeder");
        channels = readable.map(read_channel).collect::<Result<_, _>>()?;
        channels.sort_by_key(|channel| (channel.is_pair, channel.is_former));
    }
    if channels.is_empty() {
        return Err(no_channel());
    }
    let wanted = (!arguments.channels.is_empty()).then(|| channels.clone());
    let chat = talk_in(channels, arguments, context);
    run::attach(node.into_connection(), wanted.as_deref(), chat)
}

/// A channel as a running node names it.
fn read_channel(channel: &Value) -> Result<Channel, Failure> {
    let text = |field: &str| channel[field].as_str();
    let id = text("id").and_then(|id| id.parse().ok());
    let (Some(id), Some(name)) = (id, text("name")) else {
        return Err(Failure::failed(OTHER_VERSION));
    };
    let is_pair = match text("role") {
        Some("member") => false,
        Some("pair") => true,
        Some("seeder") => return Err(seeder_only(name)),
        _ => return Err(Failure::failed(OTHER_VERSION)),
    };
    let is_former = !channel["moved_to"].is_null();
    Ok(Channel { id, name: Arc::from(name), is_pair, is_former })
}

fn talk_in(channels: Vec<Channel>, arguments: &ChatArguments, context: &Context) -> Talk {
    let settings = &context.loaded.settings;
    let receipts = match (arguments.receipts, arguments.no_receipts) {
        (true, _) => true,
        (_, true) => false,
        (false, false) => settings.chat.show_delivered,
    };
    Talk {
        channels,
        front: Front::choose(context.global.json, arguments.plain, context.global.color()),
        linger: arguments.linger.unwrap_or(settings.chat.linger).0,
        receipts,
    }
}

/// Stays, without a console.
pub(super) fn run(_: &RunArguments, context: &Context) -> Result<Exit, Failure> {
    let profile = profile::open(&context.global)?;
    run::run(&context.loaded.settings, profile, Open::All, None)
}

/// Stays as a blind seeder, without a console; a node that runs already does it, and goes on.
pub(super) fn seed(arguments: &SeedArguments, context: &Context) -> Result<Exit, Failure> {
    let profile = match Doer::find(context)? {
        Doer::Node(node) => return seed_through(&arguments.channels, context, &node),
        Doer::Ourselves(profile) => *profile,
    };
    let channels = choose_seeded(&arguments.channels, &profile, context)?;
    let open = Open::These(channels.iter().map(|channel| channel.id).collect());
    run::run(&context.loaded.settings, profile, open, None)
}

fn seed_through(named: &[String], context: &Context, node: &Running) -> Result<Exit, Failure> {
    for text in named {
        let opened = if is_new(text) {
            channel_running::join(node, &read_to_seed(text, context)?)?
        } else {
            // Nothing is opened that cannot be seeded.
            let shown = node.call("channel_show", &json!({"channel": text}))?;
            must_be_seeder(&shown)?;
            node.call("channel_open", &json!({"channel": shown["id"]}))?
        };
        let name = must_be_seeder(&opened)?;
        talk(format_args!("{} is seeded by the node that runs already", safe_name(name)));
    }
    Ok(Exit::Done)
}

/// Of a member's file only what a seeder needs.
fn read_to_seed(text: &str, context: &Context) -> Result<Invitation, Failure> {
    let Invitation { file, tickets } = channel::read(text, context)?;
    Ok(Invitation { file: file.seed_only(), tickets })
}

/// The name of a channel that the node is a seeder of.
fn must_be_seeder(channel: &Value) -> Result<&str, Failure> {
    let name = channel["name"].as_str().ok_or_else(|| Failure::failed(OTHER_VERSION))?;
    if channel["role"] == "seeder" { Ok(name) } else { Err(member_already(name)) }
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
                channel::join(&book, read_to_seed(text, context)?).await?
            } else {
                channel::find(&book, text).await?
            };
            if summary.is_member {
                return Err(member_already(summary.name.as_str()));
            }
            chosen.push(summary);
        }
        Ok(chosen)
    })
}

/// Whether it names a channel by what it is, and not by what the profile calls it.
fn is_new(text: &str) -> bool {
    text.starts_with('#')
        || text.starts_with("bitchat:")
        || text.ends_with(".chat")
        || std::path::Path::new(text).is_file()
}

fn no_channel() -> Failure {
    let text = "there is no channel yet: make one with `bitchat channel new NAME`, or name \
                one: `bitchat chat FILE.chat` or `bitchat chat '#NAME'`";
    Failure::usage(text)
}

fn seeder_only(name: &str) -> Failure {
    let name = escape_for_terminal(name);
    Failure::usage(format!(
        "{name} is here as a seeder only and cannot be read; keep it alive with bitchat seed {name}"
    ))
}

fn member_already(name: &str) -> Failure {
    let name = escape_for_terminal(name);
    Failure::usage(format!(
        "this profile is a member of {name} and can read it; seed it blindly from another: \
         bitchat --profile seeder seed FILE"
    ))
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
            // What went on as another one is opened with that, as long as it is to be.
            chosen.retain(|summary| summary.is_member && summary.moved_to.is_none());
            chosen.sort_by_key(|summary| summary.pair.is_some());
        }
        if chosen.is_empty() {
            return Err(no_channel());
        }
        if let Some(seeder) = chosen.iter().find(|summary| !summary.is_member) {
            return Err(seeder_only(seeder.name.as_str()));
        }
        Ok(chosen)
    })
}

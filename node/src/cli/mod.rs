//! The command line: the flags that hold for every command, and one file per noun.

mod channel;
mod channel_running;
mod chat;
mod config;
mod contact;
mod doctor;
mod id;
mod inviting;
mod profile;
mod running;
#[cfg(feature = "sim")]
mod sim;
mod status;

use std::path::PathBuf;

pub use clap::Parser;
use clap::{ArgAction, Args, Subcommand};

use crate::exit::{Exit, Failure};
use crate::logging;
use crate::output::{Output, talk};
use crate::settings::{Layers, Loaded};

pub use channel::ChannelCommand;
pub use chat::{ChatArguments, RunArguments, SeedArguments};
pub use config::ConfigCommand;
pub use contact::ContactCommand;
pub use doctor::DoctorArguments;
pub use id::IdCommand;
pub use profile::ProfileCommand;
#[cfg(feature = "sim")]
pub use sim::SimArguments;
pub use status::AskArguments;

/// Serverless private group chat, found through BitTorrent trackers.
#[derive(Debug, Parser)]
#[command(name = "bitchat", version, max_term_width = 100, propagate_version = false)]
#[command(after_help = "Try: bitchat channel new team     then, here and at your friends':\n     \
                        bitchat chat team.chat")]
pub struct Arguments {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that hold for every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Profile to use: an identity with its contacts and channels
    #[arg(long, global = true, value_name = "NAME", default_value = "default")]
    #[arg(env = "BITCHAT_PROFILE")]
    pub profile: String,
    /// Directory of the profiles [default: $XDG_DATA_HOME/bitchat]
    #[arg(long, global = true, value_name = "DIR", env = "BITCHAT_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Settings file, stronger than those of the system and the user
    #[arg(long, global = true, value_name = "FILE", env = "BITCHAT_CONFIG")]
    pub config: Option<PathBuf>,
    /// One setting, stronger than all files; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// One JSON object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more; -vv and -vvv still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log less
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,
    /// File whose first line is the passphrase of the profile
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "passphrase_fd")]
    pub passphrase_file: Option<PathBuf>,
    /// Open file descriptor that gives the passphrase
    #[arg(long, global = true, value_name = "N")]
    pub passphrase_fd: Option<u32>,
    /// No colours (also: NO_COLOR in the environment)
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl Global {
    /// How much more (or, negative, less) to log than the settings say.
    #[must_use]
    pub fn verbosity(&self) -> i16 {
        i16::from(self.verbose) - i16::from(self.quiet)
    }

    /// Whether colours are wanted, where the output is a terminal.
    #[must_use]
    pub fn color(&self) -> bool {
        !self.no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Your own identity
    #[command(subcommand)]
    Id(IdCommand),
    /// The whole profile: carry it to another machine, or keep a copy
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Channels and groups: make, join, invite, list, leave, export
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// People you know and how far you trust their keys
    #[command(subcommand)]
    Contact(ContactCommand),
    /// Talk
    Chat(ChatArguments),
    /// Stay in all channels of the profile until stopped, without a console
    Run(RunArguments),
    /// Keep channels alive without being able to read them, until stopped
    Seed(SeedArguments),
    /// How the running node of the profile does: its mesh and where it looks for members
    Status(AskArguments),
    /// Who is linked with whom, as the running node of the profile sees it
    Peers(AskArguments),
    /// What works, what does not, and what to do
    Doctor(DoctorArguments),
    /// Live through a channel in the simulation of the message log
    #[cfg(feature = "sim")]
    Sim(sim::SimArguments),
    /// Settings: what holds and where it comes from
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    global: Global,
    loaded: Loaded,
    output: Output,
}

/// Does what the arguments say; problems are told on stderr.
#[must_use]
pub fn main(arguments: Arguments) -> Exit {
    match dispatch(arguments) {
        Ok(exit) => exit,
        Err(failure) => {
            talk(format_args!("bitchat: {failure}"));
            failure.exit
        }
    }
}

fn dispatch(Arguments { global, command }: Arguments) -> Result<Exit, Failure> {
    let layers = Layers::of_this_machine(global.config.clone(), global.set.clone());
    let loaded = match (layers.load(), &command) {
        (Ok(loaded), _) => loaded,
        (Err(error), Command::Doctor(_)) => {
            return doctor::with_wrong_settings(&global, &error.to_string());
        }
        (Err(error), _) => return Err(Failure::new(Exit::Configuration, error.to_string())),
    };
    let daemon = matches!(command, Command::Run(_) | Command::Seed(_));
    logging::start(&loaded.settings.log, global.verbosity(), daemon, global.color())?;
    let output = Output::new(global.json);
    let context = Context { global, loaded, output };
    match command {
        #[cfg(feature = "sim")]
        Command::Sim(arguments) => sim::run(&arguments, &context).map(|()| Exit::Done),
        Command::Config(command) => config::run(&command, &context).map(|()| Exit::Done),
        Command::Id(command) => id::run(&command, &context).map(|()| Exit::Done),
        Command::Profile(command) => profile::run(&command, &context).map(|()| Exit::Done),
        Command::Channel(command) => channel::run(&command, &context).map(|()| Exit::Done),
        Command::Contact(command) => contact::run(&command, &context).map(|()| Exit::Done),
        Command::Chat(arguments) => chat::chat(&arguments, &context),
        Command::Run(arguments) => chat::run(&arguments, &context),
        Command::Seed(arguments) => chat::seed(&arguments, &context),
        Command::Status(arguments) => status::status(&arguments, &context),
        Command::Peers(arguments) => status::peers(&arguments, &context),
        Command::Doctor(arguments) => doctor::run(&arguments, &context),
    }
}

/// Waits for an actor of a one-shot command.
async fn ask<T>(
    answer: impl Future<Output = Result<T, actix::MailboxError>>,
) -> Result<T, Failure> {
    answer.await.map_err(|_| Failure::new(Exit::Internal, "an actor failed; report this"))
}

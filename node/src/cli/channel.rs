//! `bitchat channel`: channels of the profile.

use std::path::PathBuf;

use clap::Subcommand;

/// `bitchat channel ...`
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Make a channel, join it and write its .chat file
    New {
        /// Its name
        name: String,
        /// Tracker to meet at instead of the default ones; may be repeated
        #[arg(long, value_name = "URL")]
        tracker: Vec<String>,
        /// DHT node to begin at; may be repeated
        #[arg(long, value_name = "HOST:PORT")]
        node: Vec<String>,
        /// Keep one infohash for ever instead of a new one every day
        #[arg(long)]
        fixed: bool,
        /// Where to write the file [default: NAME.chat]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Join a channel by its .chat file, link or #name
    Join {
        /// FILE, LINK or '#NAME'
        channel: String,
    },
    /// List the channels of the profile
    List,
    /// Show one channel
    Show {
        /// Its name or the beginning of its id
        channel: String,
    },
    /// Forget a channel
    Leave {
        /// Its name or the beginning of its id
        channel: String,
    },
    /// Write a channel's .chat file again, to pass it on
    Export {
        /// Its name or the beginning of its id
        channel: String,
        /// Without the right to read: for a blind seeder
        #[arg(long)]
        seed_only: bool,
        /// Where to write the file [default: NAME.chat]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

//! `bitchat channel`: channels of the profile.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use actix::{Actor as _, Addr};
use bitchat_actors::channel_book::{
    ChannelBook, ChannelError, ExportChannel, FindChannel, HasTickets, InvitePeer, JoinChannel,
    KeepTickets, LeaveChannel, ListChannels, ListInfohashes, People, Summary,
};
use bitchat_actors::contact_book::{ContactBook, FindContact};
use bitchat_actors::vault::Profile;
use bitchat_actors::{clock, entropy};
use bitchat_protocol::channel::{
    Charter, ChatFile, Invitation, Kind, NodeAddress, OpenName, Policy, Rotation,
};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::InfoHash;
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol::limits::CHAT_FILE_BYTES_MAX;
use bitchat_protocol::text::escape_for_terminal;
use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Context, ask, status};
use crate::exit::{Exit, Failure};
use crate::invitations;
use crate::output::talk;
use crate::profile;
use crate::run;
use crate::settings::Span;

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
        /// Let in only whom you, or who you let, invite; with --contacts, whom each member knows
        #[arg(long)]
        closed: bool,
        /// Of a closed channel: let in everybody's own contacts, without tickets
        #[arg(long, requires = "closed")]
        contacts: bool,
        /// Where to write the file [default: NAME.chat]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Issue a ticket for a closed channel, and print the line that lets that one person in
    Invite {
        /// Its name or the beginning of its id
        channel: String,
        /// Whom: a contact's name, or a whole id
        contact: String,
        /// As what, and for how long
        #[command(flatten)]
        terms: Terms,
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

/// What a ticket says.
#[derive(Debug, Clone, clap::Args)]
pub struct Terms {
    /// Let them invite others
    #[arg(long, conflicts_with = "seeder")]
    may_invite: bool,
    /// As a blind seeder, who cannot read
    #[arg(long)]
    seeder: bool,
    /// For how long, such as 24h; else for ever
    #[arg(long, value_name = "DURATION")]
    expires: Option<Span>,
}

/// Asks the running node of the profile, which has its keys in hand; without one, issues it here.
fn invite(channel: &str, contact: &str, terms: &Terms, context: &Context) -> Result<(), Failure> {
    let params = json!({
        "channel": channel, "contact": contact, "may_invite": terms.may_invite,
        "seeder": terms.seeder, "expires_s": terms.expires.map(|span| span.0.as_secs()),
    });
    if let Some(result) = status::ask_if_running(context, "invite", &params)? {
        let link = result["link"].as_str().unwrap_or_default();
        return context.output.data(link, &result);
    }
    let profile = profile::open(&context.global)?;
    actix_rt::System::new().block_on(async {
        let book = book(&profile, context)?;
        let contacts = ContactBook::open(&profile)?.start();
        let id = find(&book, channel).await?.id;
        let peer = match contact.parse() {
            Ok(peer) => peer,
            Err(_) => {
                let found = contacts.send(FindContact { text: contact.to_owned() });
                ask(found).await?.map_err(|error| Failure::failed(error.to_string()))?.peer
            }
        };
        let right = invitations::right(terms.may_invite, terms.seeder);
        let lifetime = terms.expires.map(|span| span.0);
        let invitation = ask(book.send(InvitePeer { id, peer, right, lifetime })).await?;
        let link = invitation.map_err(refused)?.to_link();
        context.output.data(&*link, &json!({"link": *link, "peer": peer.to_string()}))
    })
}

/// Does it.
pub(super) fn run(command: &ChannelCommand, context: &Context) -> Result<(), Failure> {
    if let ChannelCommand::Invite { channel, contact, terms } = command {
        return invite(channel, contact, terms, context);
    }
    let profile = profile::open(&context.global)?;
    actix_rt::System::new().block_on(async {
        let book = book(&profile, context)?;
        with_book(command, context, &profile, &book).await
    })
}

/// The channels of the profile, those with contacts as well.
pub(super) fn book(profile: &Profile, context: &Context) -> Result<Addr<ChannelBook>, Failure> {
    let contacts = ContactBook::open(profile)?.start();
    let people = People {
        contacts: contacts.clone().recipient(),
        changes: contacts.recipient(),
        places: run::meeting_places(&context.loaded.settings),
    };
    Ok(ChannelBook::open(profile)?.with_people(people).start())
}

async fn with_book(
    command: &ChannelCommand,
    context: &Context,
    profile: &Profile,
    book: &Addr<ChannelBook>,
) -> Result<(), Failure> {
    match command {
        ChannelCommand::New { name, tracker, node, fixed, closed, contacts, output } => {
            let rotation = if *fixed { Rotation::Fixed } else { Rotation::Daily };
            let mut file = make(name, tracker, node, rotation, profile, context)?;
            if *closed {
                let policy = if *contacts { Policy::Contacts } else { Policy::Tickets };
                file = ChatFile::new_closed(file, Kind::Closed, profile.peer_id(), policy)
                    .map_err(|error| Failure::usage(error.to_string()))?;
            }
            let path = output.clone().unwrap_or_else(|| default_path(&file));
            write_new(&path, &file)?;
            let summary = match join(book, bare(file.clone())).await {
                Ok(summary) => summary,
                Err(failure) => {
                    // Nobody is in it, so its file leads nowhere.
                    drop(std::fs::remove_file(&path));
                    return Err(failure);
                }
            };
            let path_shown = path.display();
            match file.charter().map(|charter| charter.policy) {
                None => talk(format_args!(
                    "wrote {path_shown}: whoever has this file is in the channel, so pass it on with \
                     care",
                )),
                Some(Policy::Tickets) => talk(format_args!(
                    "wrote {path_shown}: who has this file needs a ticket as well; bitchat channel \
                     invite NAME CONTACT gives one person both",
                )),
                Some(Policy::Contacts) => talk(format_args!(
                    "wrote {path_shown}: who has this file is let in by those members who have \
                     them in their contact book",
                )),
            }
            let link = file.to_link();
            let json = json!({
                "id": summary.id.to_string(), "name": file.name().as_str(), "link": *link,
                "file": path.display().to_string(), "infohashes": infohashes(&file),
            });
            context.output.data(&*link, &json)
        }
        ChannelCommand::Invite { .. } => Ok(()),
        ChannelCommand::Join { channel } => {
            let invitation = read(channel, context)?;
            show(&join(book, invitation).await?, None, context)
        }
        ChannelCommand::List => {
            for summary in ask(book.send(ListChannels)).await? {
                show(&summary, None, context)?;
            }
            Ok(())
        }
        ChannelCommand::Show { channel } => {
            let summary = find(book, channel).await?;
            let hashes = ask(book.send(ListInfohashes { id: summary.id })).await?;
            // The channel of a pair is not passed on.
            let file = match summary.pair {
                Some(_) => None,
                None => {
                    let export = ExportChannel { id: summary.id, seed_only: false };
                    Some(ask(book.send(export)).await?.map_err(refused)?)
                }
            };
            show(&summary, Some((hashes, file)), context)
        }
        ChannelCommand::Leave { channel } => {
            let id = find(book, channel).await?.id;
            let gone = ask(book.send(LeaveChannel { id })).await?.map_err(refused)?;
            talk(format_args!("left {}", escape_for_terminal(gone.name.as_str())));
            Ok(())
        }
        ChannelCommand::Export { channel, seed_only, output } => {
            let summary = find(book, channel).await?;
            let export = ExportChannel { id: summary.id, seed_only: *seed_only };
            let file = ask(book.send(export)).await?.map_err(refused)?;
            let path = output.clone().unwrap_or_else(|| default_path(&file));
            write_new(&path, &file)?;
            let path = path.display().to_string();
            context.output.data(&path, &json!({"file": path}))
        }
    }
}

fn make(
    name: &str,
    trackers: &[String],
    nodes: &[String],
    rotation: Rotation,
    profile: &Profile,
    context: &Context,
) -> Result<ChatFile, Failure> {
    let name = DisplayName::new(name.trim())
        .map_err(|error| Failure::usage(format!("{name:?} cannot be a name: {error}")))?;
    if name.as_str().starts_with('#') {
        let text = format!(
            "'{name}' is open to whoever types that name, and need not be made: bitchat chat \
             '{name}'; leave the # out for a channel with a secret of its own"
        );
        return Err(Failure::usage(text));
    }
    let defaults = &context.loaded.settings.trackers.default;
    let trackers = if trackers.is_empty() { defaults } else { trackers };
    // One tracker a tier: each is announced to, as the worn client does.
    let tiers = trackers.iter().map(|tracker| vec![tracker.clone()]).collect();
    let nodes: Vec<NodeAddress> = nodes
        .iter()
        .map(|node| node.parse().map_err(|error| Failure::usage(format!("{node}: {error}"))))
        .collect::<Result<_, _>>()?;
    let mut rng = Rng::from_seed(entropy::seed());
    ChatFile::new_open(name, tiers, nodes, rotation, &mut rng)
        .map(|file| file.with_founder(profile.peer_id()))
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Reads a channel from a file, a link or a `#name`.
pub(super) fn read(text: &str, context: &Context) -> Result<Invitation, Failure> {
    if text.starts_with("bitchat:") {
        let refused = |error| Failure::failed(format!("not a channel's link: {error}"));
        return Invitation::from_link(text).map_err(refused);
    }
    if text.starts_with('#') {
        let name: OpenName = text.parse().map_err(|error| Failure::usage(format!("{error}")))?;
        let trackers = &context.loaded.settings.trackers.default;
        let tiers = trackers.iter().map(|tracker| vec![tracker.clone()]).collect();
        return ChatFile::from_open_name(&name, "", tiers, Vec::new())
            .map(bare)
            .map_err(|error| Failure::usage(error.to_string()));
    }
    read_file(Path::new(text)).map(bare)
}

const fn bare(file: ChatFile) -> Invitation {
    Invitation { file, tickets: Vec::new() }
}

fn read_file(path: &Path) -> Result<ChatFile, Failure> {
    let shown = path.display();
    let failed = |error| Failure::failed(format!("cannot read {shown}: {error}"));
    let file = File::open(path).map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            let text = format!(
                "there is no file {shown}: give a .chat file, a link (bitchat:channel?...) or '#NAME'"
            );
            return Failure::failed(text);
        }
        failed(error)
    })?;
    let mut bytes = Zeroizing::new(Vec::new());
    // What has no end, such as a device, must not fill memory.
    file.take(CHAT_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > CHAT_FILE_BYTES_MAX {
        let text = format!("{shown} is larger than a .chat file, {CHAT_FILE_BYTES_MAX} bytes");
        return Err(Failure::new(Exit::Limit, text));
    }
    ChatFile::from_bytes(&bytes)
        .map_err(|error| Failure::failed(format!("{shown} is not a .chat file: {error}")))
}

/// Writes a file that is not there yet, for its owner's eyes only.
fn write_new(path: &Path, file: &ChatFile) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let failed = |error: io::Error| {
        let hint = write_hint(error.kind());
        Failure::failed(format!("cannot write {}: {error}{hint}", path.display()))
    };
    let mut out = options.open(path).map_err(failed)?;
    out.write_all(&file.to_bytes()).and_then(|()| out.sync_all()).map_err(|error| {
        // A part of a file would be taken for a damaged one.
        drop(std::fs::remove_file(path));
        failed(error)
    })
}

/// What to do when a file cannot be written where it was asked for.
fn write_hint(error: ErrorKind) -> &'static str {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the kinds of a foreign enum that grows; only these have a remedy"
    )]
    match error {
        ErrorKind::AlreadyExists => "; it is left as it is, choose another with -o",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free some space, or choose another place with -o"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "; choose another place with -o"
        }
        _ => "",
    }
}

fn default_path(file: &ChatFile) -> PathBuf {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let name: String = file.name().as_str().chars().map(safe).collect();
    PathBuf::from(format!("{name}.chat"))
}

/// What trackers know the channel by around now.
fn infohashes(file: &ChatFile) -> Vec<String> {
    let epochs = file.rotation().announced_epochs(clock::unix());
    epochs.into_iter().map(|epoch| file.keys().infohash(epoch).to_string()).collect()
}

/// Joins a channel, with the tickets that let us in where it is closed.
pub(super) async fn join(
    book: &Addr<ChannelBook>,
    invitation: Invitation,
) -> Result<Summary, Failure> {
    let Invitation { file, tickets } = invitation;
    let charter = file.charter();
    let summary = ask(book.send(JoinChannel { file })).await?.map_err(refused)?;
    let id = summary.id;
    if !tickets.is_empty() {
        ask(book.send(KeepTickets { id, tickets })).await?.map_err(refused)?;
    } else if let Some(Charter { founder, policy: Policy::Tickets, .. }) = charter {
        // What lets us in may have been kept earlier; a founder needs nothing.
        if !ask(book.send(HasTickets { id })).await? {
            talk(format_args!(
                "{} is invite-only, and you have no ticket yet: ask its founder {} for one",
                escape_for_terminal(summary.name.as_str()),
                founder.short(),
            ));
        }
    }
    Ok(summary)
}

pub(super) async fn find(book: &Addr<ChannelBook>, text: &str) -> Result<Summary, Failure> {
    ask(book.send(FindChannel { text: text.to_owned() })).await?.map_err(refused)
}

fn refused(error: ChannelError) -> Failure {
    let exit = match &error {
        ChannelError::Full => Exit::Limit,
        ChannelError::NotFound(_)
        | ChannelError::Ambiguous { .. }
        | ChannelError::NotClosed(_)
        | ChannelError::Ticket { .. }
        | ChannelError::InNeedOfNone(_)
        | ChannelError::MayNotInvite(_)
        | ChannelError::ChainTooLong(_)
        | ChannelError::IsPair(_)
        | ChannelError::Pair(_)
        | ChannelError::NotSaved(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// Prints a line, or, with its infohashes and perhaps its file, all about it.
fn show(
    summary: &Summary,
    more: Option<(Vec<InfoHash>, Option<ChatFile>)>,
    context: &Context,
) -> Result<(), Failure> {
    let name = escape_for_terminal(summary.name.as_str());
    let role = match (summary.pair, summary.is_member) {
        (Some(_), _) => "pair",
        (None, true) => "member",
        (None, false) => "seeder",
    };
    let rotation = summary.rotation.as_str();
    let kind = summary.kind.as_str();
    let mut text = format!("{name:<24} {role} {rotation:<6} {}", summary.id.short());
    if summary.policy.is_some() {
        text += &format!(" {kind}");
    }
    let mut json = json!({
        "id": summary.id.to_string(), "name": summary.name.as_str(), "role": role,
        "rotation": rotation, "trackers": summary.trackers,
        "founder": summary.founder.map(|founder| founder.to_string()),
        "kind": kind, "admission": summary.policy.map(Policy::as_str),
        "pair": summary.pair.map(|peer| peer.to_string()),
    });
    if let Some((hashes, file)) = more {
        let hashes: Vec<String> = hashes.iter().map(ToString::to_string).collect();
        for tracker in summary.trackers.iter().flatten() {
            text += &format!("\n  tracker   {tracker}");
        }
        for hash in &hashes {
            text += &format!("\n  infohash  {hash}");
        }
        json["infohashes"] = json!(hashes);
        if let Some(file) = file {
            text += &format!("\n  link      {}", *file.to_link());
            json["link"] = json!(*file.to_link());
        }
    }
    context.output.data(text, &json)
}

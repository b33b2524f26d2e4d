//! `bitchat channel`: channels of the profile.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor as _, Addr};
use bitchat_actors::archive::{self, Archive, ArchiveError, ForgetChannel, ListAuthors};
use bitchat_actors::channel_book::{
    ChannelBook, ChannelError, ExportChannel, FindChannel, HasTickets, InvitePeer, JoinChannel,
    KeepTickets, LeaveChannel, ListChannels, ListInfohashes, OpenChannel, People, RemoveMember,
    Summary,
};
use bitchat_actors::contact_book::{ContactBook, FindContact, ListContacts};
use bitchat_actors::vault::Profile;
use bitchat_actors::{clock, entropy};
use bitchat_protocol::channel::{
    Charter, ChatFile, Invitation, Kind, NodeAddress, OpenName, Policy, Rotation,
};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::{ChannelId, PeerId};
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol::limits::CHAT_FILE_BYTES_MAX;
use bitchat_protocol::text::escape_for_terminal;
use clap::Subcommand;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::running::Doer;
use super::{Context, ask, channel_running, inviting};
use crate::channels;
use crate::exit::{Exit, Failure};
use crate::methods::{Contacts, channel_json, right, with_formers};
use crate::output::talk;
use crate::report::{Known, MembersReport, OTHER_VERSION, safe_name};
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
    /// Invite to a closed channel over a link, now or later, and print the line that does the same
    Invite {
        /// Its name or the beginning of its id
        channel: String,
        /// Whom: a contact's name, or a whole id
        contact: String,
        /// As what, and for how long
        #[command(flatten)]
        terms: Terms,
    },
    /// Make a group of you and some contacts, and invite them over links
    Group {
        /// Its name
        name: String,
        /// Whom: contacts by name or the beginning of their ids
        #[arg(required = true)]
        contacts: Vec<String>,
    },
    /// List who invites you to what, as the running node knows, and whom you have invited
    Invitations,
    /// Go into a channel that somebody invites you to
    Accept {
        /// The number of the invitation, or the name of its channel
        invitation: String,
    },
    /// Forget an invitation, and say so to who sent it
    Decline {
        /// The number of the invitation, or the name of its channel
        invitation: String,
    },
    /// List who is known to be in a channel, and who was removed
    Members {
        /// Its name or the beginning of its id
        channel: String,
    },
    /// Go on without somebody, in a closed channel that you founded: with new keys for the others
    Remove {
        /// Its name or the beginning of its id
        channel: String,
        /// Whom: a contact's name, or a whole id
        contact: String,
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
    pub(super) may_invite: bool,
    /// As a blind seeder, who cannot read
    #[arg(long)]
    pub(super) seeder: bool,
    /// For how long, such as 24h; else for ever
    #[arg(long, value_name = "DURATION")]
    pub(super) expires: Option<Span>,
}

/// Does it.
pub(super) fn run(command: &ChannelCommand, context: &Context) -> Result<(), Failure> {
    let profile = match Doer::find(context)? {
        Doer::Node(node) => return channel_running::run(command, context, &node),
        Doer::Ourselves(profile) => profile,
    };
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

/// Removes what was said in a channel that is about to be left.
async fn forget(profile: &Profile, id: ChannelId) -> Result<(), Failure> {
    let kept = |error: ArchiveError| {
        let why = "the channel was not left, as what was said there cannot be removed";
        Failure::new(Exit::Failed, format!("{why}: {error}"))
    };
    let archive = Archive::open(profile).map_err(kept)?.start();
    ask(archive.send(ForgetChannel { id })).await?.map_err(kept)
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
            let policy = admission(*closed, *contacts);
            let file = make(name, tracker, node, rotation, policy, profile.peer_id(), context)?;
            let path = output.clone().unwrap_or_else(|| default_path(&file));
            write_new(&path, &file)?;
            if let Err(failure) = join(book, file.clone().into()).await {
                // Nobody is in it, so its file leads nowhere.
                drop(std::fs::remove_file(&path));
                return Err(failure);
            }
            announce_new(&file, &path, context)
        }
        ChannelCommand::Invite { channel, contact, terms } => {
            let id = find(book, channel).await?.id;
            let contacts = ContactBook::open(profile)?.start();
            let contacts = Contacts::of(profile.peer_id(), &contacts);
            let found = contacts.invited(contact).await;
            let peer = found.map_err(|refusal| Failure::new(refusal.exit, refusal.text))?;
            let right = right(terms.may_invite, terms.seeder);
            let lifetime = terms.expires.map(|span| span.0);
            let invited = inviting::owe(book, InvitePeer { id, peer, right, lifetime }).await?;
            inviting::show_invited(contact, &invited, context)
        }
        ChannelCommand::Group { name, contacts } => {
            inviting::make_group(name, contacts, context, profile, book).await
        }
        ChannelCommand::Invitations
        | ChannelCommand::Accept { .. }
        | ChannelCommand::Decline { .. } => Err(inviting::needs_node()),
        ChannelCommand::Members { channel } => {
            let summary = find(book, channel).await?;
            show_members(&known(&summary, profile, book, context).await?, context)
        }
        ChannelCommand::Remove { channel, contact } => {
            let id = find(book, channel).await?.id;
            let peer = person(contact, profile).await?;
            let removed = ask(book.send(RemoveMember { id, peer })).await?.map_err(refused)?;
            show_removal(channel_json(&removed), &peer.to_string(), context)
        }
        ChannelCommand::Join { channel } => {
            let invitation = read(channel, context)?;
            show(channel_json(&join(book, invitation).await?), context)
        }
        ChannelCommand::List => {
            for summary in ask(book.send(ListChannels)).await? {
                show(channel_json(&summary), context)?;
            }
            Ok(())
        }
        ChannelCommand::Show { channel } => {
            let summary = find(book, channel).await?;
            let hashes = ask(book.send(ListInfohashes { id: summary.id })).await?;
            let hashes: Vec<String> = hashes.iter().map(ToString::to_string).collect();
            let mut shown = channel_json(&summary);
            shown["infohashes"] = hashes.into();
            shown["link"] = match summary.pair {
                // It is not passed on.
                Some(_) => Value::Null,
                None => {
                    let export = ExportChannel { id: summary.id, seed_only: false };
                    let file = ask(book.send(export)).await?.map_err(refused)?;
                    file.to_link().as_str().into()
                }
            };
            show(shown, context)
        }
        ChannelCommand::Leave { channel } => {
            let Summary { id, pair, .. } = find(book, channel).await?;
            // First: a crash then leaves a channel that can be left once more.
            if pair.is_none() {
                forget(profile, id).await?;
            }
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

/// Who is meant by a contact's name or a whole id.
async fn person(text: &str, profile: &Profile) -> Result<PeerId, Failure> {
    if let Ok(peer) = text.parse() {
        return Ok(peer);
    }
    let contacts = ContactBook::open(profile)?.start();
    let found = ask(contacts.send(FindContact { text: text.to_owned() })).await?;
    Ok(found.map_err(|error| Failure::failed(error.to_string()))?.peer)
}

/// Who is in a channel, as the profile has it: nobody is linked.
async fn known(
    channel: &Summary,
    profile: &Profile,
    book: &Addr<ChannelBook>,
    context: &Context,
) -> Result<MembersReport, Failure> {
    let unread = |error: ArchiveError| Failure::failed(error.to_string());
    let archive = Archive::open(profile).map_err(unread)?.start();
    let retention = run::retention(&context.loaded.settings);
    let mut authors = BTreeSet::new();
    for id in with_formers(channel.id, &ask(book.send(ListChannels)).await?) {
        let keys =
            Arc::new(ask(book.send(OpenChannel { id })).await?.map_err(refused)?.keys.clone());
        let open = archive::OpenChannel { keys, retention };
        ask(archive.send(open)).await?.map_err(unread)?;
        authors.extend(ask(archive.send(ListAuthors { channel: id })).await?.map_err(unread)?);
    }
    let contacts = ContactBook::open(profile)?.start();
    let contacts = ask(contacts.send(ListContacts)).await?.into_iter();
    let contacts = contacts.map(|contact| (contact.peer, contact.name)).collect();
    let name = profile.display_name().map_or("", |name| name.as_str());
    let (own, authors) = ((profile.peer_id(), name), &authors);
    Ok(Known { channel, own, seen: &[], authors, contacts: &contacts }.report())
}

/// Prints a line about each.
pub(super) fn show_members(report: &MembersReport, context: &Context) -> Result<(), Failure> {
    for (line, person) in report.describe().into_iter().zip(&report.members) {
        context.output.data(line, &json!(person))?;
    }
    Ok(())
}

/// Tells what a channel goes on as without somebody.
pub(super) fn show_removal(channel: Value, peer: &str, context: &Context) -> Result<(), Failure> {
    let name = channel["name"].as_str().ok_or_else(|| Failure::failed(OTHER_VERSION))?;
    talk(format_args!(
        "{} goes on with new keys, which the others get when they are linked; its .chat file of \
         before is no use to anybody new: bitchat channel export writes the present one",
        safe_name(name),
    ));
    context.output.data(peer, &json!({"channel": channel, "peer": peer}))
}

/// Tells of a channel that was made, and of its file.
pub(super) fn announce_new(file: &ChatFile, path: &Path, context: &Context) -> Result<(), Failure> {
    let who = match file.charter().map(|charter| charter.policy) {
        None => "whoever has this file is in the channel, so pass it on with care",
        Some(Policy::Tickets) => {
            "who has this file needs a ticket as well; bitchat channel invite NAME CONTACT gives \
             one person both"
        }
        Some(Policy::Contacts) => {
            "who has this file is let in by those members who have them in their contact book"
        }
    };
    talk(format_args!("wrote {}: {who}", path.display()));
    let link = file.to_link();
    let json = json!({
        "id": file.keys().id().to_string(), "name": file.name().as_str(), "link": *link,
        "file": path.display().to_string(), "infohashes": infohashes(file),
    });
    context.output.data(&*link, &json)
}

/// Who is let into a new channel, where it is closed.
pub(super) const fn admission(closed: bool, contacts: bool) -> Option<Policy> {
    match (closed, contacts) {
        (false, _) => None,
        (true, false) => Some(Policy::Tickets),
        (true, true) => Some(Policy::Contacts),
    }
}

pub(super) fn make(
    name: &str,
    trackers: &[String],
    nodes: &[String],
    rotation: Rotation,
    closed: Option<Policy>,
    founder: PeerId,
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
    let open = ChatFile::new_open(name, tiers, nodes, rotation, &mut rng)
        .map(|file| file.with_founder(founder));
    match closed {
        None => open,
        Some(policy) => {
            open.and_then(|file| ChatFile::new_closed(file, Kind::Closed, founder, policy))
        }
    }
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
            .map(Invitation::from)
            .map_err(|error| Failure::usage(error.to_string()));
    }
    read_file(Path::new(text)).map(Invitation::from)
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
pub(super) fn write_new(path: &Path, file: &ChatFile) -> Result<(), Failure> {
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

pub(super) fn default_path(file: &ChatFile) -> PathBuf {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let name: String = file.name().as_str().chars().map(safe).collect();
    PathBuf::from(format!("{name}.chat"))
}

/// What trackers know the channel by around now, at the least: some nodes announce a neighbouring day
/// for longer.
fn infohashes(file: &ChatFile) -> Vec<String> {
    let epochs = file.rotation().announced_epochs(clock::unix(), Duration::ZERO);
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
            say_ticket_is_needed(summary.name.as_str(), &founder);
        }
    }
    Ok(summary)
}

pub(super) fn say_ticket_is_needed(name: &str, founder: &PeerId) {
    talk(format_args!(
        "{} is invite-only, and you have no ticket yet: ask its founder {} for one",
        escape_for_terminal(name),
        founder.short(),
    ));
}

pub(super) async fn find(book: &Addr<ChannelBook>, text: &str) -> Result<Summary, Failure> {
    ask(book.send(FindChannel { text: text.to_owned() })).await?.map_err(refused)
}

pub(super) fn refused(error: ChannelError) -> Failure {
    Failure::new(channels::exit_for(&error), error.to_string())
}

/// Prints a line about a channel, or, where its infohashes are told, all about it.
pub(super) fn show(mut channel: Value, context: &Context) -> Result<(), Failure> {
    if let Some(fields) = channel.as_object_mut() {
        // Whether it is open is a matter of one run of the node.
        fields.remove("open");
    }
    let id = channel["id"].as_str().and_then(|id| id.parse::<ChannelId>().ok());
    let words = ["name", "role", "rotation"].map(|field| channel[field].as_str());
    let (Some(id), [Some(name), Some(role), Some(rotation)]) = (id, words) else {
        return Err(Failure::failed(OTHER_VERSION));
    };
    let mut text = format!("{:<24} {role} {rotation:<6} {}", safe_name(name), id.short());
    if let (Some(kind), Some(_)) = (channel["kind"].as_str(), channel["admission"].as_str()) {
        text += &format!(" {}", escape_for_terminal(kind));
    }
    if let Some(hashes) = channel["infohashes"].as_array() {
        let tiers = channel["trackers"].as_array().into_iter().flatten();
        for tracker in tiers.filter_map(Value::as_array).flatten() {
            text += &line("tracker", tracker);
        }
        for hash in hashes {
            text += &line("infohash", hash);
        }
        // The channel of a pair is not passed on.
        if !channel["link"].is_null() {
            text += &line("link", &channel["link"]);
        }
    }
    context.output.data(text, &channel)
}

fn line(what: &str, value: &Value) -> String {
    format!("\n  {what:<9} {}", escape_for_terminal(value.as_str().unwrap_or_default()))
}

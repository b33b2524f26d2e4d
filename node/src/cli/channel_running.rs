//! `bitchat channel` where a node serves the profile: the same, done by that node.

use std::path::PathBuf;

use bitchat_protocol::channel::{ChatFile, Invitation, Rotation};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::text::escape_for_terminal;
use data_encoding::BASE64;
use serde::Deserialize as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::channel::{
    ChannelCommand, admission, announce_new, default_path, make, read, say_ticket_is_needed, show,
    show_members, show_removal, write_new,
};
use super::running::Running;
use super::{Context, inviting};
use crate::exit::Failure;
use crate::output::talk;
use crate::report::{MembersReport, OTHER_VERSION};

/// Does it.
pub(super) fn run(
    command: &ChannelCommand,
    context: &Context,
    node: &Running,
) -> Result<(), Failure> {
    match command {
        ChannelCommand::New { name, tracker, node: nodes, fixed, closed, contacts, output } => {
            let rotation = if *fixed { Rotation::Fixed } else { Rotation::Daily };
            let policy = admission(*closed, *contacts);
            let file = make(name, tracker, nodes, rotation, policy, you(node)?, context)?;
            let path = output.clone().unwrap_or_else(|| default_path(&file));
            write_new(&path, &file)?;
            if let Err(failure) = join(node, &file.clone().into()) {
                // Nobody is in it, so its file leads nowhere.
                drop(std::fs::remove_file(&path));
                return Err(failure);
            }
            announce_new(&file, &path, context)
        }
        ChannelCommand::Join { channel } => {
            // What the node has, as it may have had a better file of it.
            show(join(node, &read(channel, context)?)?, context)
        }
        ChannelCommand::List => {
            let mut all = node.call("channels", &json!({"all": true}))?;
            let Value::Array(all) = all["channels"].take() else { return Err(other_version()) };
            all.into_iter().try_for_each(|channel| show(channel, context))
        }
        ChannelCommand::Show { channel } => {
            show(node.call("channel_show", &json!({"channel": channel}))?, context)
        }
        ChannelCommand::Invite { channel, contact, terms } => {
            let issued = node.call(
                "invite",
                &json!({
                    "channel": channel, "contact": contact, "may_invite": terms.may_invite,
                    "seeder": terms.seeder, "expires_s": terms.expires.map(|span| span.0.as_secs()),
                }),
            )?;
            inviting::show_invited(contact, &issued, context)
        }
        ChannelCommand::Group { name, contacts } => {
            let made = node.call("group", &json!({"name": name, "contacts": contacts}))?;
            inviting::show_group(&made, context)
        }
        ChannelCommand::Invitations => {
            inviting::show_all(&node.call("invitations", &json!({}))?, context)
        }
        ChannelCommand::Accept { invitation } => {
            show(node.call("accept", &json!({"invitation": invitation}))?, context)
        }
        ChannelCommand::Decline { invitation } => {
            inviting::show_declined(&node.call("decline", &json!({"invitation": invitation}))?)
        }
        ChannelCommand::Members { channel } => {
            let listed = node.call("channel_members", &json!({"channel": channel}))?;
            let report = MembersReport::deserialize(listed).map_err(|_| other_version())?;
            show_members(&report, context)
        }
        ChannelCommand::Remove { channel, contact } => {
            let params = json!({"channel": channel, "contact": contact});
            let mut removed = node.call("channel_remove", &params)?;
            let channel = removed["channel"].take();
            let peer = removed["peer"].as_str().ok_or_else(other_version)?;
            show_removal(channel, peer, context)
        }
        ChannelCommand::Leave { channel } => {
            let left = node.call("channel_leave", &json!({"channel": channel}))?;
            let name = left["name"].as_str().ok_or_else(other_version)?;
            talk(format_args!("left {}", escape_for_terminal(name)));
            Ok(())
        }
        ChannelCommand::Export { channel, seed_only, output } => {
            let file = export(node, channel, *seed_only)?;
            let path: PathBuf = output.clone().unwrap_or_else(|| default_path(&file));
            write_new(&path, &file)?;
            let path = path.display().to_string();
            context.output.data(&path, &json!({"file": path}))
        }
    }
}

/// Stores and opens a channel, with the tickets that let us in where it is closed.
pub(super) fn join(node: &Running, invitation: &Invitation) -> Result<Value, Failure> {
    let params = if invitation.tickets.is_empty() {
        let bytes = Zeroizing::new(invitation.file.to_bytes());
        json!({"file": BASE64.encode(&bytes)})
    } else {
        json!({"channel": invitation.to_link().as_str()})
    };
    let mut joined = node.call("channel_join", &params)?;
    let needs_ticket = joined.as_object_mut().and_then(|fields| fields.remove("needs_ticket"));
    if needs_ticket == Some(Value::Bool(true)) {
        let name = joined["name"].as_str().ok_or_else(other_version)?;
        let founder = joined["founder"].as_str().and_then(|founder| founder.parse().ok());
        say_ticket_is_needed(name, &founder.ok_or_else(other_version)?);
    }
    Ok(joined)
}

fn you(node: &Running) -> Result<PeerId, Failure> {
    let channels = node.call("channels", &json!({}))?;
    channels["you"].as_str().and_then(|you| you.parse().ok()).ok_or_else(other_version)
}

fn export(node: &Running, channel: &str, seed_only: bool) -> Result<ChatFile, Failure> {
    let params = json!({"channel": channel, "seed_only": seed_only});
    let exported = node.call("channel_export", &params)?;
    let bytes = exported["file"].as_str().and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let file = bytes.and_then(|bytes| ChatFile::from_bytes(&Zeroizing::new(bytes)).ok());
    file.ok_or_else(other_version)
}

fn other_version() -> Failure {
    Failure::failed(OTHER_VERSION)
}

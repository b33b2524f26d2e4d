//! `bitchat channel invite`, `group`, `invitations`, `accept` and `decline`: what is done without a
//! running node, and what is printed in either case.

use actix::{Actor as _, Addr};
use bitchat_actors::channel_book::{ChannelBook, InvitePeer, JoinChannel, OweInvitation, Owed};
use bitchat_actors::clock;
use bitchat_actors::contact_book::ContactBook;
use bitchat_actors::vault::Profile;
use bitchat_protocol::channel::Right;
use bitchat_protocol::text::escape_for_terminal;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::channel::refused;
use super::{Context, ask};
use crate::exit::Failure;
use crate::methods::{Contacts, channel_json, delivery_words, find_people, new_group};
use crate::output::talk;
use crate::report::{InvitationReport, OTHER_VERSION, safe_name};
use crate::rpc::Refusal;

/// Issues a ticket, and keeps that it is owed: the node that runs next sends it.
pub(super) async fn owe(book: &Addr<ChannelBook>, asked: InvitePeer) -> Result<Value, Failure> {
    let owed = ask(book.send(OweInvitation(asked))).await?.map_err(refused)?;
    let Owed { invitation, kept } = owed;
    let (delivery, why) = match kept {
        Ok(()) => ("waits", None),
        Err(why) => ("not_sent", Some(why.to_string())),
    };
    Ok(json!({
        "link": invitation.to_link().as_str(), "peer": asked.peer.to_string(),
        "delivery": delivery, "why": why,
    }))
}

/// Prints the line that lets somebody in, and says which way it goes by itself.
pub(super) fn show_invited(who: &str, invited: &Value, context: &Context) -> Result<(), Failure> {
    let words = delivery_words(&safe_name(who), invited).ok_or_else(other_version)?;
    talk(format_args!("{}; or give them this line, and nobody else", escape_for_terminal(&words)));
    context.output.data(invited["link"].as_str().ok_or_else(other_version)?, invited)
}

/// Makes a group in a profile that no node serves.
pub(super) async fn make_group(
    name: &str,
    named: &[String],
    context: &Context,
    profile: &Profile,
    book: &Addr<ChannelBook>,
) -> Result<(), Failure> {
    let own = profile.peer_id();
    let file = new_group(name, &context.loaded.settings.trackers.default, own).map_err(failed)?;
    let contacts = Contacts::of(own, &ContactBook::open(profile)?.start());
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let people = find_people(&contacts, &named).await.map_err(failed)?;
    let made = ask(book.send(JoinChannel { file })).await?.map_err(refused)?;
    let mut invited = Vec::new();
    for person in people {
        let (right, lifetime) = (Right::Member, None);
        let mut one =
            owe(book, InvitePeer { id: made.id, peer: person.peer, right, lifetime }).await?;
        one["name"] = (&*person.name).into();
        invited.push(one);
    }
    let mut result = channel_json(&made);
    result["invited"] = invited.into();
    show_group(&result, context)
}

/// Prints a group that was made, and says of each who was invited which way that goes.
pub(super) fn show_group(made: &Value, context: &Context) -> Result<(), Failure> {
    for invited in made["invited"].as_array().into_iter().flatten() {
        let name = safe_name(invited["name"].as_str().unwrap_or_default());
        let words = delivery_words(&name, invited).ok_or_else(other_version)?;
        talk(escape_for_terminal(&words));
    }
    super::channel::show(made.clone(), context)
}

/// Prints what waits for a word of ours, and of others.
pub(super) fn show_all(listed: &Value, context: &Context) -> Result<(), Failure> {
    let now = clock::unix().as_secs();
    for one in listed["invitations"].as_array().ok_or_else(other_version)? {
        let report = InvitationReport::deserialize(one).map_err(|_| other_version())?;
        let text = format!("{:<3} {}", report.number, report.describe(now));
        context.output.data(text, one)?;
    }
    for one in listed["unanswered"].as_array().into_iter().flatten() {
        let text = |field: &str| safe_name(one[field].as_str().unwrap_or_default());
        let (name, label) = (text("name"), text("label"));
        context
            .output
            .data(format!("-   {name} has not answered your invitation to {label}"), one)?;
    }
    Ok(())
}

/// Says that an invitation is forgotten.
pub(super) fn show_declined(declined: &Value) -> Result<(), Failure> {
    let text = |field: &str| declined[field].as_str().map(safe_name).ok_or_else(other_version);
    talk(format_args!("declined {}, and {} is told so", text("label")?, text("name")?));
    Ok(())
}

/// What others invite us to is known to a running node alone.
pub(super) fn needs_node() -> Failure {
    Failure::failed(
        "no node runs in this profile, and invitations are kept by a running one alone until they are \
         accepted: start bitchat run, or bitchat chat, and wait until who invites you is linked",
    )
}

fn failed(refusal: Refusal) -> Failure {
    Failure::new(refusal.exit, refusal.text)
}

fn other_version() -> Failure {
    Failure::failed(OTHER_VERSION)
}

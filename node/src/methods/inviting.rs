//! Who is asked into closed channels, and what others ask us into.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Recipient};
use bitchat_actors::channel_book::{ChannelError, InvitePeer};
use bitchat_actors::entropy;
use bitchat_actors::invitations::{
    Accept, Decline, Delivery, Invite, InviteError, Invited, ListInvitations, Unanswered,
};
use bitchat_protocol::channel::{ChatFile, Kind, Policy, Right, Rotation};
use bitchat_protocol::contact::{Contact, Trust};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol::limits::{GROUP_INVITED_MAX, INVITE_FILE_BYTES_MAX};
use serde_json::{Value, json};

use super::joining::{right, to_json as channel_json};
use super::{Contacts, Methods, OpenChannels, restarting, to_json};
use crate::channels;
use crate::exit::Exit;
use crate::report::InvitationReport;
use crate::rpc::{self, Refusal};

pub(super) const METHODS: [&str; 5] = ["invite", "group", "invitations", "accept", "decline"];

/// The actor of invitations, as the methods ask it.
#[derive(Debug, Clone)]
pub(crate) struct Inviting {
    own: PeerId,
    /// Where members of a group meet.
    trackers: Arc<[String]>,
    invite: Recipient<Invite>,
    list: Recipient<ListInvitations>,
    accept: Recipient<Accept>,
    decline: Recipient<Decline>,
}

impl Inviting {
    /// Asks `actor`, which is that of the node `own`; the members of a group that is made meet at
    /// `trackers`.
    pub(crate) fn of<A>(own: PeerId, actor: &Addr<A>, trackers: &[String]) -> Self
    where
        A: Actor<Context = Context<A>>
            + Handler<Invite>
            + Handler<ListInvitations>
            + Handler<Accept>
            + Handler<Decline>,
    {
        Self {
            own,
            trackers: trackers.into(),
            invite: actor.clone().recipient(),
            list: actor.clone().recipient(),
            accept: actor.clone().recipient(),
            decline: actor.clone().recipient(),
        }
    }

    async fn invite(&self, asked: InvitePeer) -> Result<Value, Refusal> {
        let issued = self.invite.send(Invite(asked)).await.map_err(restarting)?;
        let Invited { invitation, delivery } = issued.map_err(refused)?;
        let (word, why) = match delivery {
            Delivery::Sent => ("sent", None),
            Delivery::Waits => ("waits", None),
            Delivery::NotSent(why) => ("not_sent", Some(why.to_string())),
        };
        Ok(json!({
            "link": invitation.to_link().as_str(), "peer": asked.peer.to_string(),
            "delivery": word, "why": why,
        }))
    }

    async fn list(&self) -> Result<Value, Refusal> {
        let listing = self.list.send(ListInvitations).await.map_err(restarting)?;
        let offered: Vec<_> = listing.offered.iter().map(InvitationReport::from).collect();
        let unanswered = |one: &Unanswered| {
            json!({
                "channel": one.channel.to_string(), "label": &*one.label,
                "peer": one.peer.to_string(), "name": &*one.name, "linked": one.linked,
            })
        };
        let unanswered: Vec<_> = listing.unanswered.iter().map(unanswered).collect();
        Ok(json!({"invitations": to_json(&offered)?, "unanswered": unanswered}))
    }

    async fn accept(&self, params: &Value) -> Result<Value, Refusal> {
        let which = which_of(params)?;
        let accepted = self.accept.send(Accept { which }).await.map_err(restarting)?;
        Ok(channel_json(&accepted.map_err(refused)?))
    }

    async fn decline(&self, params: &Value) -> Result<Value, Refusal> {
        let which = which_of(params)?;
        let declined = self.decline.send(Decline { which }).await.map_err(restarting)?;
        to_json(&InvitationReport::from(&declined.map_err(refused)?))
    }
}

impl Methods {
    /// Does what one of [`METHODS`] says; `None`: it is none of them.
    pub(super) async fn ask_in(
        &self,
        method: &str,
        params: &Value,
        open: &OpenChannels,
    ) -> Option<Result<Value, Refusal>> {
        Some(match method {
            "invite" => self.invite(params, open).await,
            "group" => self.group(params).await,
            "invitations" => self.inviting.list().await,
            "accept" => self.inviting.accept(params).await,
            "decline" => self.inviting.decline(params).await,
            _ => return None,
        })
    }

    /// Issues a ticket for one person, in the book or named by a whole id: nobody is invited because
    /// of what they call themselves.
    async fn invite(&self, params: &Value, open: &OpenChannels) -> Result<Value, Refusal> {
        let id = match rpc::optional_string(params, "channel")? {
            Some(text) => self.joining.find(text).await?.id,
            None => open.of(params)?.id,
        };
        let who = rpc::string_of(params, "contact")?;
        let peer = match who.parse() {
            Ok(peer) => peer,
            Err(_) => self.contacts.find(who).await?.peer,
        };
        let right = right(rpc::flag_of(params, "may_invite")?, rpc::flag_of(params, "seeder")?);
        let lifetime = rpc::number_of(params, "expires_s")?.map(Duration::from_secs);
        self.inviting.invite(InvitePeer { id, peer, right, lifetime }).await
    }

    /// Makes a group of us and some contacts, and invites each: all, or nothing at all.
    async fn group(&self, params: &Value) -> Result<Value, Refusal> {
        let wrong = || rpc::wrong("contacts", "a list of names or ids");
        let named = params.get("contacts").and_then(Value::as_array).ok_or_else(wrong)?;
        let named: Option<Vec<&str>> = named.iter().map(Value::as_str).collect();
        let Inviting { own, trackers, .. } = &self.inviting;
        let file = new_group(rpc::string_of(params, "name")?, trackers, *own)?;
        let people = find_people(&self.contacts, &named.ok_or_else(wrong)?).await?;
        let made = self.joining.store(file).await?;
        let mut invited = Vec::new();
        for person in &people {
            let (right, lifetime) = (Right::Member, None);
            let ask = InvitePeer { id: made.id, peer: person.peer, right, lifetime };
            // The group is there by now: whoever cannot be invited is told of.
            let mut one = self.inviting.invite(ask).await.unwrap_or_else(|refusal| {
                json!({
                    "link": null, "peer": person.peer.to_string(), "delivery": "not_sent",
                    "why": refusal.text,
                })
            });
            one["name"] = (&*person.name).into();
            invited.push(one);
        }
        let mut result = channel_json(&made);
        result["invited"] = invited.into();
        Ok(result)
    }
}

/// Makes the file of a new group, whose members meet at `trackers`.
///
/// # Errors
///
/// A name that cannot be one, or a file that no link would carry.
pub(crate) fn new_group(
    name: &str,
    trackers: &[String],
    founder: PeerId,
) -> Result<ChatFile, Refusal> {
    let wrong = |error: String| Refusal::params(format!("{name:?} cannot be a name: {error}"));
    let name = DisplayName::new(name.trim()).map_err(|error| wrong(error.to_string()))?;
    if name.as_str().starts_with('#') {
        return Err(wrong("whoever types one with a # is in that channel; leave it out".into()));
    }
    let tiers = trackers.iter().map(|tracker| vec![tracker.clone()]).collect();
    let mut rng = Rng::from_seed(entropy::seed());
    let file = ChatFile::new_open(name, tiers, Vec::new(), Rotation::Daily, &mut rng)
        .and_then(|file| ChatFile::new_closed(file, Kind::Group, founder, Policy::Tickets))
        .map_err(|error| Refusal::params(error.to_string()))?;
    let bytes = file.to_bytes().len();
    if bytes > INVITE_FILE_BYTES_MAX {
        let text = format!(
            "with all default trackers the group's file has {bytes} bytes, and a link takes \
             {INVITE_FILE_BYTES_MAX}: set fewer with trackers.default"
        );
        return Err(Refusal::with(Exit::Limit, text));
    }
    Ok(file)
}

/// Finds those who are to be in a group: contacts that a person added, each once.
///
/// # Errors
///
/// What is wrong with whom; one is enough.
pub(crate) async fn find_people(
    contacts: &Contacts,
    named: &[&str],
) -> Result<Vec<Contact>, Refusal> {
    let (mut people, mut wrong) = (Vec::<Contact>::new(), Vec::new());
    for who in named {
        let found = contacts.find(who).await;
        match found.map(|contact| (contact.trust, contact)) {
            Ok((Trust::Known | Trust::Verified, contact)) => {
                if people.iter().all(|known| known.peer != contact.peer) {
                    people.push(contact);
                }
            }
            Ok((Trust::Seen, contact)) => wrong.push(format!(
                "{} was only met in a channel: add them to the contact book first",
                contact.name,
            )),
            Ok((Trust::Blocked, contact)) => wrong.push(format!("{} is blocked", contact.name)),
            Err(refusal) => wrong.push(refusal.text),
        }
    }
    if !wrong.is_empty() {
        return Err(Refusal::now(format!("{}; no group was made", wrong.join("; "))));
    }
    match people.len() {
        0 => Err(Refusal::params("say whom: a group is you and at least one contact")),
        count if count > GROUP_INVITED_MAX => {
            let text = format!(
                "{count} contacts are too many: a group is you and at most {GROUP_INVITED_MAX} others"
            );
            Err(Refusal::with(Exit::Limit, text))
        }
        _ => Ok(people),
    }
}

/// The number, or the name, of an invitation.
fn which_of(params: &Value) -> Result<String, Refusal> {
    match params.get("invitation") {
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(rpc::wrong("invitation", "a number, or the name of a channel")),
    }
}

fn refused(error: InviteError) -> Refusal {
    let text = error.to_string();
    match error {
        InviteError::Channel(error) => of_channel(&error, text),
        InviteError::NoOffer(_) | InviteError::Starting => Refusal::now(text),
    }
}

fn of_channel(error: &ChannelError, text: String) -> Refusal {
    Refusal::with(channels::exit_for(error), text)
}

/// What became of an invitation, for people; `name` is of who was invited, and escaped.
pub(crate) fn delivery_words(name: &str, invited: &Value) -> Option<String> {
    Some(match invited["delivery"].as_str()? {
        "sent" => format!("{name} is here: the invitation was sent"),
        "waits" => format!("{name} is not here: the invitation is sent as soon as they are"),
        "not_sent" => {
            let why = invited["why"].as_str().unwrap_or_default();
            format!("the invitation of {name} is not sent: {why}")
        }
        _ => return None,
    })
}

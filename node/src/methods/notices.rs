//! What a client is told unasked: notices as JSON-RPC notifications, and their numbers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitchat_actors::chat_desk::Notice;
use bitchat_actors::invitations::Offered;
use bitchat_protocol::id::{ChannelId, PeerId};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::report::InvitationReport;

/// Numbers the notices of one client from 1, before it is known whether they reach it: what does
/// not leaves a gap. Clones go on with the same numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sequence(Arc<AtomicU64>);

impl Sequence {
    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Leaves a gap for so many that will not be told.
    pub(crate) fn skip(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The last number given; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Which notices a client wants: those of some channels, or all. What is about no channel comes
/// always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish(pub(crate) Option<BTreeSet<ChannelId>>);

impl Wish {
    /// As `subscribe` answers it: `null` for all channels, else their ids.
    pub(crate) fn to_json(&self) -> Value {
        let ids = self.0.as_ref();
        ids.map_or(Value::Null, |ids| ids.iter().map(|id| Value::from(id.to_string())).collect())
    }

    /// Reads that.
    pub(crate) fn from_json(channels: &Value) -> Self {
        let ids = channels.as_array();
        Self(ids.map(|ids| ids.iter().filter_map(|id| id.as_str()?.parse().ok()).collect()))
    }

    /// Whoever wishes for a channel wishes for what takes its place.
    pub(crate) fn follow(&mut self, notice: &Notice) {
        if let (Some(wanted), Notice::Moved { channel, successor, .. }) = (&mut self.0, notice)
            && wanted.contains(channel)
        {
            wanted.insert(*successor);
        }
    }

    /// Whether a notice is wanted.
    pub(crate) fn covers(&self, notice: &Notice) -> bool {
        match (&self.0, channel_of(notice)) {
            (Some(wanted), Some(channel)) => wanted.contains(channel),
            (None, _) | (_, None) => true,
        }
    }
}

/// The number that the archive has given what is told.
pub(crate) const fn seq_of(notice: &Notice) -> Option<u64> {
    if let Notice::Heard { seq, .. } | Notice::Delivered { seq, .. } = notice { *seq } else { None }
}

const fn channel_of(notice: &Notice) -> Option<&ChannelId> {
    match notice {
        Notice::Heard { channel, .. } | Notice::Delivered { channel, .. } => channel.as_ref(),
        Notice::MemberUp { channel, .. }
        | Notice::MemberDown { channel, .. }
        | Notice::SeederUp { channel, .. }
        | Notice::SeederDown { channel, .. }
        | Notice::InviteAnswered { channel, .. }
        | Notice::TicketRenewed { channel, .. }
        | Notice::Moved { channel, .. } => Some(channel),
        // It is about none that is open.
        Notice::Invited(_) | Notice::Warning { .. } => None,
    }
}

/// What a notice looks like. `number` is its own at one client; `seq`, where it has one, is that of the
/// archive, the same for all clients and in every run.
pub(crate) fn notification(notice: &Notice, number: u64) -> String {
    let (method, mut params) = match notice {
        Notice::Heard { seq, own, channel, from, name, id, unix_ms, text } => (
            "message",
            json!({
                "seq": seq, "own": own,
                "channel": channel.map(|channel| channel.to_string()),
                "from": from.to_string(), "name": &**name, "id": id.to_string(),
                "unix_ms": unix_ms, "text": text,
            }),
        ),
        Notice::Delivered { seq, seeder, id, channel, by, name } => (
            "delivered",
            json!({
                "seq": seq, "seeder": seeder,
                "id": id.to_string(), "by": by.to_string(), "name": &**name,
                "channel": channel.map(|channel| channel.to_string()),
            }),
        ),
        Notice::MemberUp { channel, peer, name } => ("member_up", member(channel, peer, name)),
        Notice::MemberDown { channel, peer, name } => ("member_down", member(channel, peer, name)),
        Notice::SeederUp { channel, peer, name } => ("seeder_up", member(channel, peer, name)),
        Notice::SeederDown { channel, peer, name } => ("seeder_down", member(channel, peer, name)),
        Notice::Invited(offered) => ("invited", invitation(offered)),
        Notice::InviteAnswered { channel, label, peer, name, accepted } => {
            let mut params = member(channel, peer, name);
            (params["label"], params["accepted"]) = ((&**label).into(), (*accepted).into());
            ("invite_answered", params)
        }
        Notice::TicketRenewed { channel, label, by, name } => {
            let mut params = member(channel, by, name);
            params["label"] = (&**label).into();
            ("ticket_renewed", params)
        }
        Notice::Moved { channel, successor, label, by, name, removed } => {
            let person = |(peer, name): &(PeerId, Arc<str>)| json!({"peer": peer.to_string(), "name": &**name});
            let removed: Vec<Value> = removed.iter().map(person).collect();
            (
                "moved",
                json!({
                    "channel": channel.to_string(), "successor": successor.to_string(),
                    "label": &**label, "by": by.to_string(), "name": &**name,
                    "removed": removed,
                }),
            )
        }
        Notice::Warning { text, code } => ("warning", json!({"text": text, "code": code})),
    };
    params["n"] = number.into();
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

fn member(channel: &ChannelId, peer: &PeerId, name: &str) -> Value {
    json!({"channel": channel.to_string(), "peer": peer.to_string(), "name": name})
}

fn invitation(offered: &Offered) -> Value {
    serde_json::to_value(InvitationReport::from(offered)).unwrap_or_else(|_| json!({}))
}

/// Reads what [`notification`] wrote: the notice and its number; `None` for what is none, or of a
/// kind that this version does not know.
pub(crate) fn read(line: &Value) -> Option<(Notice, u64)> {
    Some((read_event(line)?, line["params"]["n"].as_u64()?))
}

/// Reads what is told, without a number of its own: as `events` answers it, too.
pub(crate) fn read_event(line: &Value) -> Option<Notice> {
    let params = &line["params"];
    let text = |field: &str| params[field].as_str();
    let name = || Some(Arc::from(text("name")?));
    let channel = || text("channel")?.parse().ok();
    let perhaps_channel =
        || if params["channel"].is_null() { Some(None) } else { channel().map(Some) };
    let flag = |field: &str| params[field].as_bool();
    // Where there is none, it is null.
    let seq =
        || if params["seq"].is_null() { Some(None) } else { params["seq"].as_u64().map(Some) };
    let peer = || text("peer")?.parse().ok();
    let notice = match line["method"].as_str()? {
        "message" => Notice::Heard {
            seq: seq()?,
            own: flag("own")?,
            channel: perhaps_channel()?,
            from: text("from")?.parse().ok()?,
            name: name()?,
            id: text("id")?.parse().ok()?,
            unix_ms: params["unix_ms"].as_u64()?,
            text: text("text")?.to_owned(),
        },
        "delivered" => Notice::Delivered {
            seq: seq()?,
            seeder: flag("seeder")?,
            id: text("id")?.parse().ok()?,
            channel: perhaps_channel()?,
            by: text("by")?.parse().ok()?,
            name: name()?,
        },
        "member_up" => Notice::MemberUp { channel: channel()?, peer: peer()?, name: name()? },
        "member_down" => Notice::MemberDown { channel: channel()?, peer: peer()?, name: name()? },
        "seeder_up" => Notice::SeederUp { channel: channel()?, peer: peer()?, name: name()? },
        "seeder_down" => Notice::SeederDown { channel: channel()?, peer: peer()?, name: name()? },
        "invited" => Notice::Invited(Box::new(InvitationReport::deserialize(params).ok()?.read()?)),
        "invite_answered" => Notice::InviteAnswered {
            channel: channel()?,
            label: text("label")?.into(),
            peer: peer()?,
            name: name()?,
            accepted: flag("accepted")?,
        },
        "ticket_renewed" => Notice::TicketRenewed {
            channel: channel()?,
            label: text("label")?.into(),
            by: peer()?,
            name: name()?,
        },
        "moved" => {
            let person = |person: &Value| {
                let peer = person["peer"].as_str()?.parse().ok()?;
                Some((peer, Arc::from(person["name"].as_str()?)))
            };
            Notice::Moved {
                channel: channel()?,
                successor: text("successor")?.parse().ok()?,
                label: Arc::from(text("label")?),
                by: text("by")?.parse().ok()?,
                name: name()?,
                removed: params["removed"].as_array()?.iter().map(person).collect::<Option<_>>()?,
            }
        }
        "warning" => Notice::Warning {
            text: text("text")?.to_owned(),
            code: params["code"].as_u64().and_then(|code| u8::try_from(code).ok()),
        },
        _ => return None,
    };
    Some(notice)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bitchat_protocol::channel::{Kind, Right};
    use bitchat_protocol::id::MessageId;

    use super::*;

    const TEAM: ChannelId = ChannelId([1; 32]);
    const NEW_TEAM: ChannelId = ChannelId([4; 32]);
    const ALICE: PeerId = PeerId([2; 32]);
    const MESSAGE: MessageId = MessageId([3; 16]);

    fn all() -> Vec<Notice> {
        let name = || Arc::from("a\u{1b}lice: \"x\"");
        let heard = |channel: Option<ChannelId>| Notice::Heard {
            seq: channel.map(|_| 9),
            own: false,
            channel,
            from: ALICE,
            name: name(),
            id: MESSAGE,
            unix_ms: u64::MAX,
            text: "a\nb\u{202e}".into(),
        };
        vec![
            heard(Some(TEAM)),
            heard(None),
            Notice::Delivered {
                seq: Some(9),
                seeder: false,
                id: MESSAGE,
                channel: Some(TEAM),
                by: ALICE,
                name: name(),
            },
            Notice::Delivered {
                seq: None,
                seeder: false,
                id: MESSAGE,
                channel: None,
                by: ALICE,
                name: name(),
            },
            Notice::MemberUp { channel: TEAM, peer: ALICE, name: name() },
            Notice::MemberDown { channel: TEAM, peer: ALICE, name: name() },
            Notice::SeederUp { channel: TEAM, peer: ALICE, name: name() },
            Notice::SeederDown { channel: TEAM, peer: ALICE, name: name() },
            Notice::Invited(Box::new(Offered {
                number: 1,
                from: ALICE,
                name: name(),
                is_contact: true,
                channel: TEAM,
                label: name(),
                kind: Kind::Group,
                founder: Some((ALICE, name())),
                right: Right::MayInvite,
                expires: Some(Duration::from_secs(9)),
            })),
            Notice::InviteAnswered {
                channel: TEAM,
                label: name(),
                peer: ALICE,
                name: name(),
                accepted: false,
            },
            Notice::TicketRenewed { channel: TEAM, label: name(), by: ALICE, name: name() },
            Notice::Moved {
                channel: TEAM,
                successor: NEW_TEAM,
                label: name(),
                by: ALICE,
                name: name(),
                removed: vec![(PeerId([5; 32]), name())],
            },
            Notice::Warning { text: "look".into(), code: Some(4) },
            Notice::Warning { text: "look".into(), code: None },
        ]
    }

    #[test]
    fn a_notice_comes_back_from_its_line_as_it_was() {
        for notice in all() {
            let line = notification(&notice, 7);
            assert!(!line.contains('\n'), "{line}");
            let line = serde_json::from_str(&line).unwrap();
            assert_eq!(read(&line), Some((notice, 7)));
        }
    }

    #[test]
    fn what_is_no_notice_is_none() {
        for line in [
            json!({}),
            json!([]),
            json!({"id": 1, "result": {}}),
            json!({"method": "message", "params": {"n": 1, "channel": "zz"}}),
            json!({"method": "unheard", "params": {"n": 1}}),
        ] {
            assert_eq!(read(&line), None, "{line}");
        }
    }

    #[test]
    fn who_wishes_for_a_channel_is_told_of_it_and_of_what_is_in_none() {
        let only = |id| Wish(Some([id].into()));
        let counts = [Wish::default(), only(TEAM), only(ChannelId([9; 32]))]
            .map(|wish| all().iter().filter(|notice| wish.covers(notice)).count());
        assert_eq!(counts, [14, 14, 5]);
    }

    #[test]
    fn who_wishes_for_a_channel_hears_of_what_takes_its_place() {
        let up = Notice::MemberUp { channel: NEW_TEAM, peer: ALICE, name: Arc::from("alice") };
        for (wished, expected) in [(TEAM, true), (ChannelId([9; 32]), false)] {
            let mut wish = Wish(Some([wished].into()));
            assert!(!wish.covers(&up));
            all().iter().for_each(|notice| wish.follow(notice));
            assert_eq!(wish.covers(&up), expected);
        }
    }
}

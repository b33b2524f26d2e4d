//! The methods that only ask: the same over standard input and over the control socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use actix::{MailboxError, Recipient};
use bitchat_actors::channel_book::{ListRefused, Refused};
use bitchat_actors::clock;
use bitchat_actors::dht::{DhtReport, ListDht};
use bitchat_actors::mesh_manager::{ListMembers, Members};
use bitchat_actors::source::{ListSources, SourceStatus};
use bitchat_actors::supervision::Line;
use bitchat_actors::udp_port::{CountDrops, Drops, FindWhereabouts, Whereabouts};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::nat::NatKind;
use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};

use crate::channels::{self, Channel};
use crate::invitations::Invitations;
use crate::report::{
    ChannelReport, ClockReport, DhtNodeReport, DropReport, NatReport, PeersReport, RefusedReport,
    Sighting, SourceReport, StatusReport, mesh,
};
use crate::rpc::{self, INVALID_PARAMS, REFUSED, Refusal};

/// What can be asked.
pub(crate) const METHODS: [&str; 4] = ["status", "peers", "channels", "invite"];

/// What does not change as long as the node runs.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) peer: PeerId,
    pub(crate) name: String,
    pub(crate) profile: String,
    pub(crate) directory: String,
    pub(crate) started: Instant,
}

/// Whom to ask; all are started before who asks, and those at the end of a line are started again
/// without who asks.
#[derive(Debug, Clone)]
pub(crate) struct Queries {
    pub(crate) about: Arc<About>,
    pub(crate) members: Recipient<ListMembers>,
    pub(crate) sources: Vec<Line<ListSources>>,
    pub(crate) dht: Line<ListDht>,
    pub(crate) whereabouts: Recipient<FindWhereabouts>,
    pub(crate) drops: Recipient<CountDrops>,
    pub(crate) refused: Recipient<ListRefused>,
    pub(crate) invitations: Invitations,
}

/// The open channels, and whether the first is meant where none is named.
#[derive(Debug, Clone)]
pub(crate) struct Channels {
    pub(crate) all: Vec<Channel>,
    pub(crate) has_present: bool,
}

impl Channels {
    /// The channel that a request names.
    pub(crate) fn of(&self, params: &Value) -> Result<&Channel, Refusal> {
        let named = named(params)?;
        let at = match named {
            Some(text) => channels::find(&self.all, text).map_err(|text| (INVALID_PARAMS, text))?,
            None if self.has_present || self.all.len() < 2 => 0,
            // Those with contacts come by themselves.
            None => match self.joined()[..] {
                [at] => at,
                _ => {
                    let text = "several channels are open: say which one in params.channel";
                    return Err((INVALID_PARAMS, text.into()));
                }
            },
        };
        let none = || (INVALID_PARAMS, "no channel is open".to_owned());
        self.all.get(at).ok_or_else(none)
    }

    fn joined(&self) -> Vec<usize> {
        let all = self.all.iter().enumerate();
        all.filter(|(_, channel)| !channel.is_pair).map(|(at, _)| at).collect()
    }

    /// The channels that a request is about: the one it names, or all.
    fn meant(&self, params: &Value) -> Result<Vec<&Channel>, Refusal> {
        match named(params)? {
            Some(_) => Ok(vec![self.of(params)?]),
            None => Ok(self.all.iter().collect()),
        }
    }
}

fn named(params: &Value) -> Result<Option<&str>, Refusal> {
    match params.get("channel") {
        None | Some(Value::Null) => Ok(None),
        Some(_) => rpc::string_of(params, "channel").map(Some),
    }
}

impl Queries {
    /// Does what one of [`METHODS`] says; `None`: it is none of them.
    pub(crate) async fn answer(
        &self,
        method: &str,
        params: &Value,
        channels: &Channels,
    ) -> Option<Result<Value, Refusal>> {
        match method {
            "status" => Some(self.status(params, channels).await.and_then(|it| to_json(&it))),
            "peers" => Some(self.peers(params, channels).await.and_then(|it| to_json(&it))),
            "channels" => Some(Ok(self.channels(channels))),
            "invite" => Some(self.invite(params, channels).await),
            _ => None,
        }
    }

    async fn invite(&self, params: &Value, channels: &Channels) -> Result<Value, Refusal> {
        self.invitations.invite(channels.of(params)?.id, params).await
    }

    fn channels(&self, channels: &Channels) -> Value {
        let one = |channel: &Channel| {
            json!({
                "id": channel.id.to_string(), "name": &*channel.name, "pair": channel.is_pair,
            })
        };
        let all: Vec<Value> = channels.all.iter().map(one).collect();
        json!({"you": self.about.peer.to_string(), "channels": all})
    }

    async fn peers(&self, params: &Value, channels: &Channels) -> Result<PeersReport, Refusal> {
        let channel = channels.of(params)?.id;
        let members = self.members.send(ListMembers { channel }).await;
        Ok(PeersReport::from(&members.map_err(restarting)?))
    }

    async fn status(&self, params: &Value, channels: &Channels) -> Result<StatusReport, Refusal> {
        let meant = channels.meant(params)?;
        let whereabouts = self.whereabouts.send(FindWhereabouts).await.map_err(restarting)?;
        let drops = self.drops.send(CountDrops).await.map_err(restarting)?;
        let dht = match self.dht.recipient() {
            Some(dht) => dht.send(ListDht).await.map_err(restarting)?,
            None => DhtReport::default(),
        };
        let present: Vec<_> = self.sources.iter().filter_map(Line::recipient).collect();
        let sources = join_all(present.iter().map(|it| it.send(ListSources))).await;
        let sources: Vec<SourceStatus> =
            sources.into_iter().collect::<Result<Vec<_>, _>>().map_err(restarting)?.concat();
        let members = meant.iter().map(|it| self.members.send(ListMembers { channel: it.id }));
        let members = try_join_all(members).await.map_err(restarting)?;
        let refused = self.refused.send(ListRefused).await.map_err(restarting)?;
        let now = clock::now();
        let channels = meant.into_iter().zip(&members);
        Ok(StatusReport {
            channels: channels
                .map(|(it, members)| channel(it, members, &sources, &refused, now))
                .collect(),
            dht: dht.nodes.iter().map(|node| DhtNodeReport::new(node, now)).collect(),
            dropped: dropped(&drops, &dht),
            ..self.node(&whereabouts, now)
        })
    }

    fn node(&self, whereabouts: &Whereabouts, now: Instant) -> StatusReport {
        let About { peer, name, profile, directory, started } = &*self.about;
        let listening = whereabouts.listening.clone();
        StatusReport {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            peer: peer.to_string(),
            name: name.clone(),
            profile: profile.clone(),
            directory: directory.clone(),
            uptime_ms: since(*started, now),
            port: listening.first().map_or(0, SocketAddr::port),
            listening,
            interfaces: whereabouts.interfaces.clone(),
            observed: sightings(&whereabouts.observed),
            nat: NatReport {
                ipv4: nat_word(whereabouts.nat_v4).into(),
                ipv6: nat_word(whereabouts.nat_v6).into(),
            },
            clock: whereabouts
                .clock
                .map(|(minutes_ahead, at)| ClockReport { minutes_ahead, ms_ago: since(at, now) }),
            ..StatusReport::default()
        }
    }
}

fn restarting(_: MailboxError) -> Refusal {
    (REFUSED, rpc::RESTARTING.into())
}

fn to_json(report: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(report).map_err(|error| (REFUSED, error.to_string()))
}

fn since(earlier: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(earlier).as_millis()).unwrap_or(u64::MAX)
}

fn channel(
    channel: &Channel,
    members: &Members,
    sources: &[SourceStatus],
    refused: &[Refused],
    now: Instant,
) -> ChannelReport {
    let own = || sources.iter().filter(|source| source.channel == channel.id);
    let mut sources: Vec<&SourceStatus> = own().collect();
    // Each place where it comes first, with all its IP versions.
    let is_same = |one: &SourceStatus, other: &SourceStatus| {
        (one.kind, &one.place) == (other.kind, &other.place)
    };
    sources.sort_by_key(|source| own().position(|other| is_same(source, other)));
    let readers = || members.members.iter().filter(|member| !member.is_seeder());
    ChannelReport {
        id: channel.id.to_string(),
        name: channel.name.to_string(),
        mesh: mesh(members.mesh).into(),
        linked: readers().filter(|member| member.linked).count(),
        members: readers().count(),
        refused: refused
            .iter()
            .filter(|refused| refused.channel == channel.id)
            .map(|refused| RefusedReport {
                by: refused.by.to_string(),
                text: refused.text.clone(),
                ms_ago: since(refused.at, now),
            })
            .collect(),
        seeders: members.members.len() - readers().count(),
        sources: sources.into_iter().map(|it| SourceReport::new(it.clone(), now)).collect(),
    }
}

/// Each place once, with who sees us there.
fn sightings(observed: &[(PeerId, SocketAddr)]) -> Vec<Sighting> {
    let mut places: BTreeMap<SocketAddr, Vec<String>> = BTreeMap::new();
    for (by, at) in observed {
        places.entry(*at).or_default().push(by.to_string());
    }
    places.into_iter().map(|(address, by)| Sighting { address, by }).collect()
}

const fn nat_word(kind: NatKind) -> &'static str {
    match kind {
        NatKind::Unknown => "unknown",
        NatKind::Open => "open",
        NatKind::Translated => "translated",
        NatKind::EndpointIndependent => "endpoint-independent",
        NatKind::EndpointDependent => "endpoint-dependent",
    }
}

fn dropped(drops: &Drops, dht: &DhtReport) -> Vec<DropReport> {
    let gate = &drops.gate;
    let all = [
        ("foreign", gate.foreign, "datagrams of QUIC that is not ours"),
        ("no_channel", gate.no_channel, "first packets with the key of no open channel"),
        ("bad_token", gate.bad_token, "first packets that were damaged or made up"),
        ("not_for_us", gate.not_for_us, "first packets that were meant for another node"),
        ("replayed", gate.replayed, "first packets that had come before"),
        ("unauthentic", gate.unauthentic, "first packets whose handshake does not begin"),
        ("no_room", gate.no_room, "first packets while there were too many links"),
        ("no_link", gate.no_link, "packets for a link that is gone"),
        ("unknown", drops.unknown, "datagrams that are nothing this node speaks"),
        ("krpc", drops.krpc, "messages of the DHT while it was off or busy"),
        ("dht", dht.dropped, "messages of the DHT that were of no use, or too many"),
        ("refused", drops.refused, "batches that a busy part of the node had no room for"),
        ("unsent", drops.unsent, "packets that the socket had no room for"),
    ];
    let report = |(what, count, words): (&str, u64, &str)| DropReport {
        what: what.into(),
        words: words.into(),
        count,
    };
    all.into_iter().map(report).collect()
}

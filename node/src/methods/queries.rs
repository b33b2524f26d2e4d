//! How the node does: the methods that only ask.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use actix::Recipient;
use bitchat_actors::channel_book::{ListRefused, Refused};
use bitchat_actors::clock;
use bitchat_actors::dht::{DhtReport, ListDht};
use bitchat_actors::lan_discovery::CountHeard;
use bitchat_actors::mesh_manager::{ListMembers, Members};
use bitchat_actors::source::{ListSources, SourceStatus};
use bitchat_actors::supervision::Line;
use bitchat_actors::udp_port::{CountDrops, Drops, FindWhereabouts, Whereabouts};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::lan;
use bitchat_protocol::nat::NatKind;
use futures_util::future::{join_all, try_join_all};
use serde_json::Value;

use super::{OpenChannels, restarting, to_json};
use crate::channels::Channel;
use crate::report::{
    ChannelReport, ClockReport, DhtNodeReport, DropReport, NatReport, PeersReport, RefusedReport,
    Sighting, SourceReport, StatusReport, mesh,
};
use crate::rpc::Refusal;

/// What can be asked.
pub(super) const METHODS: [&str; 2] = ["status", "peers"];

/// What does not change as long as the node runs.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) peer: PeerId,
    pub(crate) name: String,
    pub(crate) profile: String,
    pub(crate) directory: String,
    pub(crate) started: Instant,
    /// Where members of a `#name` meet.
    pub(crate) trackers: Vec<String>,
}

/// Whom to ask; all are started before who asks, and those at the end of a line are started again
/// without who asks.
#[derive(Debug, Clone)]
pub(crate) struct Queries {
    pub(crate) about: Arc<About>,
    pub(crate) members: Recipient<ListMembers>,
    pub(crate) sources: Vec<Line<ListSources>>,
    pub(crate) dht: Line<ListDht>,
    pub(crate) lan: Line<CountHeard>,
    pub(crate) whereabouts: Recipient<FindWhereabouts>,
    pub(crate) drops: Recipient<CountDrops>,
    pub(crate) refused: Recipient<ListRefused>,
}

impl Queries {
    /// Does what one of [`METHODS`] says; `None`: it is none of them.
    pub(super) async fn answer(
        &self,
        method: &str,
        params: &Value,
        channels: &OpenChannels,
    ) -> Option<Result<Value, Refusal>> {
        match method {
            "status" => Some(self.status(params, channels).await.and_then(|it| to_json(&it))),
            "peers" => Some(self.peers(params, channels).await.and_then(|it| to_json(&it))),
            _ => None,
        }
    }

    async fn peers(&self, params: &Value, channels: &OpenChannels) -> Result<PeersReport, Refusal> {
        let channel = channels.of(params)?.id;
        let members = self.members.send(ListMembers { channel }).await;
        Ok(PeersReport::from(&members.map_err(restarting)?))
    }

    async fn status(
        &self,
        params: &Value,
        channels: &OpenChannels,
    ) -> Result<StatusReport, Refusal> {
        let meant = channels.meant(params)?;
        let whereabouts = self.whereabouts.send(FindWhereabouts).await.map_err(restarting)?;
        let drops = self.drops.send(CountDrops).await.map_err(restarting)?;
        let dht = match self.dht.recipient() {
            Some(dht) => dht.send(ListDht).await.map_err(restarting)?,
            None => DhtReport::default(),
        };
        let heard = match self.lan.recipient() {
            Some(lan) => lan.send(CountHeard).await.map_err(restarting)?,
            None => lan::Counters::default(),
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
            dropped: dropped(&drops, &dht, &heard),
            ..self.node(&whereabouts, now)
        })
    }

    fn node(&self, whereabouts: &Whereabouts, now: Instant) -> StatusReport {
        let About { peer, name, profile, directory, started, trackers: _ } = &*self.about;
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

fn dropped(drops: &Drops, dht: &DhtReport, lan: &lan::Counters) -> Vec<DropReport> {
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
        ("lan_malformed", lan.malformed, "messages on the local network that make no sense"),
        ("lan_from_afar", lan.from_afar, "messages to the local network from outside of it"),
        (
            "lan_too_many",
            lan.too_many,
            "messages on the local network beyond what is read a second",
        ),
        ("lan_held_back", lan.held_back, "neighbours on the local network beyond what is dialled"),
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

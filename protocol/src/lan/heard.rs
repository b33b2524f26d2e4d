//! What is believed of what is heard on the local network, and how much of it.
//!
//! A message comes from whoever can send a datagram to the group, under any address it likes to
//! forge. So sources get equal shares of our attention, and all together lead to few dials.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::Interface;
use crate::id::ChannelId;
use crate::limits::{
    LAN_DATAGRAMS_PER_SECOND_MAX, LAN_DATAGRAMS_PER_SOURCE_MAX, LAN_PEER_AGAIN_AFTER,
    LAN_PEERS_MAX, LAN_PEERS_PER_CHANNEL_MAX, LAN_PEERS_WITHIN, LAN_PORTS_PER_IP_MAX,
    LAN_SOURCES_MAX,
};
use crate::scope::{Scope, dialable};

/// Seconds' worth of messages that may come at once.
const BURST_SECS: u32 = 16;

/// Between two looks for what is too old: looking each time would cost more than all else.
const TIDY_AFTER: Duration = Duration::from_secs(1);

/// Shares of attention, and what was passed on lately.
#[derive(Debug)]
pub(super) struct Heard {
    all: Bucket,
    sources: BTreeMap<IpAddr, Bucket>,
    /// For sources that have no bucket of their own.
    others: Bucket,
    told: BTreeMap<ChannelId, BTreeMap<SocketAddr, Instant>>,
    /// When what is too old was last forgotten.
    tidied_at: Instant,
}

/// Lets through so many a second, and [`BURST_SECS`] times as many at once.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    per_second: u32,
    /// Since when the bucket would have been filling, were it empty now.
    empty_at: Instant,
}

/// What is to be done about an address that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    PassOn,
    /// It was passed on a moment ago.
    Again,
    TooMany,
}

impl Bucket {
    fn full(now: Instant, per_second: u32) -> Self {
        let burst = Duration::from_secs(BURST_SECS.into());
        Self { per_second, empty_at: now.checked_sub(burst).unwrap_or(now) }
    }

    fn take(&mut self, now: Instant) -> bool {
        let burst = Duration::from_secs(BURST_SECS.into());
        let oldest = now.checked_sub(burst).unwrap_or(self.empty_at);
        let next = self.empty_at.max(oldest) + Duration::from_secs(1) / self.per_second;
        let let_through = next <= now;
        if let_through {
            self.empty_at = next;
        }
        let_through
    }

    fn is_full(&self, now: Instant) -> bool {
        now.duration_since(self.empty_at) >= Duration::from_secs(BURST_SECS.into())
    }
}

impl Heard {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            all: Bucket::full(now, LAN_DATAGRAMS_PER_SECOND_MAX),
            sources: BTreeMap::new(),
            others: Bucket::full(now, LAN_DATAGRAMS_PER_SOURCE_MAX),
            told: BTreeMap::new(),
            tidied_at: now,
        }
    }

    /// Whether another message of this source is to be read.
    pub(super) fn has_turn(&mut self, now: Instant, source: IpAddr) -> bool {
        if !self.sources.contains_key(&source) && self.sources.len() >= LAN_SOURCES_MAX {
            // Who has said nothing for long is as good as new.
            self.sources.retain(|_, bucket| !bucket.is_full(now));
        }
        let own = if self.sources.contains_key(&source) || self.sources.len() < LAN_SOURCES_MAX {
            let new = || Bucket::full(now, LAN_DATAGRAMS_PER_SOURCE_MAX);
            self.sources.entry(source).or_insert_with(new)
        } else {
            &mut self.others
        };
        own.take(now) && self.all.take(now)
    }

    /// What is to be done about this address of a channel; it counts as passed on, if it is to be.
    pub(super) fn judge(&mut self, now: Instant, channel: ChannelId, at: SocketAddr) -> News {
        self.tidy(now);
        let all: usize = self.told.values().map(BTreeMap::len).sum();
        let told = self.told.entry(channel).or_default();
        let news = match told.get(&at) {
            Some(told_at) if now.duration_since(*told_at) < LAN_PEER_AGAIN_AFTER => News::Again,
            Some(_) => News::PassOn,
            None => {
                let of_ip = told.range(all_ports_of(at.ip())).take(LAN_PORTS_PER_IP_MAX).count();
                let has_room = of_ip < LAN_PORTS_PER_IP_MAX
                    && told.len() < LAN_PEERS_PER_CHANNEL_MAX
                    && all < LAN_PEERS_MAX;
                if has_room { News::PassOn } else { News::TooMany }
            }
        };
        if news == News::PassOn {
            told.insert(at, now);
        }
        news
    }

    fn tidy(&mut self, now: Instant) {
        if now.duration_since(self.tidied_at) < TIDY_AFTER {
            return;
        }
        self.tidied_at = now;
        for told in self.told.values_mut() {
            told.retain(|_, told_at| now.duration_since(*told_at) < LAN_PEERS_WITHIN);
        }
    }

    /// How many addresses of a channel were passed on lately.
    pub(super) fn count(&self, channel: &ChannelId, now: Instant) -> usize {
        let is_fresh = |at: &&Instant| now.duration_since(**at) < LAN_PEERS_WITHIN;
        self.told.get(channel).map_or(0, |told| told.values().filter(is_fresh).count())
    }

    /// Forgets what was passed on about a channel.
    pub(super) fn forget(&mut self, channel: &ChannelId) {
        self.told.remove(channel);
    }
}

fn all_ports_of(ip: IpAddr) -> RangeInclusive<SocketAddr> {
    match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX),
        IpAddr::V6(ip) => {
            let with = |port, rest| SocketAddr::V6(SocketAddrV6::new(ip, port, rest, rest));
            with(0, 0)..=with(u16::MAX, u32::MAX)
        }
    }
}

/// Whether somebody at `ip` can be a neighbour: its address is none of the internet, or it is in a
/// network that an interface of ours is in. Anybody else has sent a datagram from afar.
pub(super) fn is_near(ip: IpAddr, interfaces: &[Interface]) -> bool {
    Scope::of(ip) < Scope::Global || interfaces.iter().any(|interface| interface.reaches(ip))
}

/// Where somebody is who sent from `from` and is reached at `port`.
pub(super) fn address_of(from: SocketAddr, port: u16) -> Option<SocketAddr> {
    let address = match from {
        // A link-local address means nothing without the interface.
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(*v6.ip(), port, 0, v6.scope_id()))
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => SocketAddr::new(from.ip().to_canonical(), port),
    };
    dialable(address).then_some(address)
}

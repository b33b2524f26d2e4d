//! The links that stand, by peer, and which of several with one peer stays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::channel::Standing;
use crate::id::{ChannelId, PeerId};

/// Two links with one peer are both kept this long: the other side must have both too, and what is
/// in flight must arrive.
pub(super) const SETTLE_AFTER: Duration = Duration::from_millis(500);
/// Which of two links dialled by the peer stays is its choice; after this time it is ours.
pub(super) const SETTLE_ANYWAY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    pub(super) incarnation: [u8; 8],
    pub(super) dialled_by_us: bool,
    pub(super) address: SocketAddr,
    /// And as what the peer is in them.
    pub(super) channels: BTreeMap<ChannelId, Standing>,
    pub(super) up_at: Instant,
    /// We have asked for its end.
    pub(super) closing: bool,
    /// Counts the links that came up.
    order: u64,
}

#[derive(Debug)]
pub(super) struct Links {
    links: BTreeMap<u64, Link>,
    by_peer: BTreeMap<PeerId, BTreeSet<u64>>,
    /// How many links go to an address.
    addresses: BTreeMap<SocketAddr, usize>,
    /// Peers with several links, when to choose one, and whether we have waited for the peer to.
    unsettled: BTreeMap<PeerId, (Instant, bool)>,
    order: u64,
}

/// A link that comes up.
#[derive(Debug)]
pub(super) struct NewLink {
    pub(super) peer: PeerId,
    pub(super) incarnation: [u8; 8],
    pub(super) dialled_by_us: bool,
    pub(super) address: SocketAddr,
    pub(super) channels: BTreeMap<ChannelId, Standing>,
}

impl Links {
    pub(super) const fn new() -> Self {
        Self {
            links: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            addresses: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            order: 0,
        }
    }

    pub(super) fn insert(&mut self, now: Instant, key: u64, new: NewLink) {
        self.order += 1;
        let NewLink { peer, incarnation, dialled_by_us, address, channels } = new;
        let order = self.order;
        *self.addresses.entry(address).or_default() += 1;
        self.by_peer.entry(peer).or_default().insert(key);
        let link = Link {
            peer,
            incarnation,
            dialled_by_us,
            address,
            channels,
            up_at: now,
            closing: false,
            order,
        };
        self.links.insert(key, link);
        if self.of(&peer).count() > 1 {
            self.unsettled.entry(peer).or_insert((now + SETTLE_AFTER, false));
        }
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<Link> {
        let link = self.links.remove(&key)?;
        if let Some(keys) = self.by_peer.get_mut(&link.peer) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_peer.remove(&link.peer);
            }
        }
        if let Some(count) = self.addresses.get_mut(&link.address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&link.address);
            }
        }
        Some(link)
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut Link> {
        self.links.get_mut(&key)
    }

    /// The links with `peer` that are not closing, oldest first.
    pub(super) fn of(&self, peer: &PeerId) -> impl Iterator<Item = (u64, &Link)> {
        let keys = self.by_peer.get(peer).into_iter().flatten();
        let mut links: Vec<_> = keys
            .filter_map(|key| Some((*key, self.links.get(key)?)))
            .filter(|(_, link)| !link.closing)
            .collect();
        links.sort_by_key(|(_, link)| link.order);
        links.into_iter()
    }

    pub(super) fn is_linked(&self, peer: &PeerId) -> bool {
        let mut keys = self.by_peer.get(peer).into_iter().flatten();
        keys.any(|key| self.links.get(key).is_some_and(|link| !link.closing))
    }

    pub(super) fn goes_to(&self, address: &SocketAddr) -> bool {
        self.addresses.contains_key(address)
    }

    pub(super) fn keys(&self) -> Vec<u64> {
        self.links.keys().copied().collect()
    }

    pub(super) fn next_settlement(&self) -> Option<Instant> {
        self.unsettled.values().map(|(at, _)| *at).min()
    }

    /// Chooses among the links of each peer whose time has come; the ones to close.
    ///
    /// The link dialled by the lower key stays. Of several dialled by one side, the oldest in the
    /// order in which *that side* saw them come up.
    pub(super) fn settle(&mut self, now: Instant, own: &PeerId) -> Vec<u64> {
        let due: Vec<_> = self
            .unsettled
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(peer, (_, waited))| (*peer, *waited))
            .collect();
        let mut losers = Vec::new();
        for (peer, waited) in due {
            self.unsettled.remove(&peer);
            let links: Vec<_> =
                self.of(&peer).map(|(key, link)| (key, link.dialled_by_us)).collect();
            let lower_is_us = *own < peer;
            let by_lower = links.iter().filter(|(_, by_us)| *by_us == lower_is_us).count();
            let stays = |by_us: bool| by_lower == 0 || by_us == lower_is_us;
            losers.extend(links.iter().filter(|(_, by_us)| !stays(*by_us)).map(|(key, _)| *key));
            let mut rest = links.iter().filter(|(_, by_us)| stays(*by_us));
            let ours_to_choose = rest.next().is_some_and(|(_, by_us)| *by_us) || waited;
            let rest: Vec<u64> = rest.map(|(key, _)| *key).collect();
            if ours_to_choose {
                losers.extend(rest);
            } else if !rest.is_empty() {
                self.unsettled.insert(peer, (now + SETTLE_ANYWAY_AFTER, true));
            }
        }
        losers
    }
}

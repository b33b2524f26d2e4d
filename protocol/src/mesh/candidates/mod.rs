//! The addresses at which members of one channel may be, who told of them, and how dialling went.
//!
//! One entry per address. Sources take turns, so that a flood from one of them cannot starve what
//! another one knows; each may fill only its own share of the table, and where that is full it is
//! its own word alone that is forgotten.

mod candidate;
mod shares;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use self::candidate::Candidate;
use self::shares::Shares;
use super::links::Links;
use crate::crypto::Rng;
use crate::id::PeerId;
use crate::limits::{
    CANDIDATES_MAX, LAST_KNOWN_PER_PEER_MAX, PEER_ADDRESSES_MAX, PORTS_TRIED_PER_IP_MAX,
};

/// Who told of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// We have had a link there.
    Linked,
    /// Saved by an earlier run.
    LastKnown,
    /// A tracker; the number tells trackers apart, so that each has its turn.
    Tracker(u32),
    /// A node of the DHT; the number tells their networks apart.
    Dht(u32),
    /// Whoever is there itself, on the local network.
    Lan,
    /// A member that is linked with whoever is there.
    PeerExchange(PeerId),
}

/// How a link ended, for its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// It was lost, not closed.
    pub(super) lost: bool,
    /// How long it stood.
    pub(super) lived: Duration,
}

/// What the mesh knows beyond the candidates, when one is picked.
pub(super) trait Wishes {
    /// Whether a link with this peer is wanted.
    fn wants(&self, peer: &PeerId) -> bool;
    /// Whether this address is neither ours nor that of a link.
    fn is_free(&self, address: &SocketAddr) -> bool;
    /// Whether a link goes to this address.
    fn has_link(&self, address: &SocketAddr) -> bool;
    /// Whether this source may have another dial in flight.
    fn has_room(&self, source: &Source) -> bool;
    /// Whether who is near may go before all others.
    fn near_first(&self) -> bool;
    /// How long the first dial is left to this peer.
    fn courtesy(&self, peer: &PeerId) -> Duration;
    /// Whether the channel has no link at all.
    fn alone(&self) -> bool;
}

/// An address to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) address: SocketAddr,
    pub(super) expect: Option<PeerId>,
    pub(super) source: Source,
}

#[derive(Debug, Default)]
pub(super) struct Candidates {
    entries: BTreeMap<SocketAddr, Candidate>,
    shares: Shares,
}

impl Candidates {
    /// Notes that `source` tells of `address`, and who is there as far as it knows.
    pub(super) fn add(
        &mut self,
        now: Instant,
        address: SocketAddr,
        source: Source,
        claim: Option<PeerId>,
    ) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.told_at = now;
            if source == Source::Lan {
                entry.revive(now);
            }
            if let Some(before) = entry.sources.get_mut(&source) {
                *before = claim;
                return;
            }
        }
        if self.shares.is_full(&source) && !self.forget_worst_of(source) {
            return;
        }
        if !self.entries.contains_key(&address) && !self.make_room(source) {
            return;
        }
        let entry = self.entries.entry(address).or_insert_with(|| Candidate::new(now));
        entry.sources.insert(source, claim);
        self.shares.take(source);
    }

    /// Forgets that `source` told of its most failed address; `false` when none of them has failed.
    /// What others tell of that address, and how dialling it went, stays.
    fn forget_worst_of(&mut self, source: Source) -> bool {
        let told = self.entries.iter().filter(|(_, entry)| entry.sources.contains_key(&source));
        let worst = told
            .filter(|(_, entry)| entry.failures > 0)
            .max_by_key(|(_, entry)| (entry.failures, Reverse(entry.told_at)))
            .map(|(address, _)| *address);
        worst.inspect(|worst| self.release(worst, source)).is_some()
    }

    /// Whether one more entry fits into the table, if need be in place of a worse one: of one that
    /// nobody tells of any more, else of one that the source with the most entries tells of, alone
    /// if possible. Where that is `source` itself, only of one that has failed.
    fn make_room(&mut self, source: Source) -> bool {
        if self.entries.len() < CANDIDATES_MAX {
            return true;
        }
        let crowding = self.shares.largest();
        let is_crowding = |entry: &Candidate| {
            crowding.is_some_and(|crowding| {
                entry.sources.contains_key(&crowding) && (entry.failures > 0 || crowding != source)
            })
        };
        let worst = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.met.is_none() && !entry.dialling)
            .filter(|(_, entry)| entry.sources.is_empty() || is_crowding(entry))
            .max_by_key(|(_, entry)| {
                (Reverse(entry.sources.len().min(2)), entry.failures, Reverse(entry.told_at))
            })
            .map(|(address, _)| *address);
        worst.inspect(|worst| self.remove(worst)).is_some()
    }

    fn remove(&mut self, address: &SocketAddr) {
        if let Some(entry) = self.entries.remove(address) {
            entry.sources.keys().for_each(|source| self.shares.release(source));
        }
    }

    /// Forgets that `source` tells of `address`.
    fn release(&mut self, address: &SocketAddr, source: Source) {
        let Some(entry) = self.entries.get_mut(address) else { return };
        if entry.sources.remove(&source).is_some() {
            self.shares.release(&source);
        }
        if entry.is_void() {
            self.entries.remove(address);
        }
    }

    /// Notes that `source` no longer tells of `address` as `claim`'s.
    pub(super) fn withdraw(&mut self, address: &SocketAddr, source: Source, claim: PeerId) {
        let claims = self.entries.get(address).and_then(|entry| entry.sources.get(&source));
        if claims == Some(&Some(claim)) {
            self.release(address, source);
        }
    }

    /// Notes that a dial of `address` has begun.
    pub(super) fn begin(&mut self, pick: &Pick) {
        self.shares.begin_turn(&pick.source);
        if let Some(entry) = self.entries.get_mut(&pick.address) {
            entry.dialling = true;
        }
    }

    /// Notes that a dial of `address` has come to its end, whichever.
    pub(super) fn end(&mut self, address: &SocketAddr) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.dialling = false;
        }
    }

    /// Notes that a dial of `address` failed.
    pub(super) fn failed(&mut self, now: Instant, address: &SocketAddr, rng: &mut Rng) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.failed(now, rng);
        }
    }

    /// Notes that we ourselves, or somebody who is blocked, were at `address`.
    pub(super) fn was_unwanted(&mut self, now: Instant, address: &SocketAddr) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.was_unwanted(now);
        }
    }

    /// Notes that a link with `peer` came up at `address`.
    pub(super) fn met(&mut self, now: Instant, address: SocketAddr, peer: PeerId, links: &Links) {
        if self.shares.is_full(&Source::Linked) {
            // Whoever is met now is worth more than whoever was met longest ago.
            let idle = self.met_without_link(links, |_| true);
            idle.last().inspect(|oldest| self.forget_met(oldest));
        }
        self.add(now, address, Source::Linked, Some(peer));
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.met = Some((peer, now));
        }
        let of_peer = self.met_without_link(links, |met| *met == peer);
        of_peer.iter().skip(PEER_ADDRESSES_MAX).for_each(|address| self.forget_met(address));
    }

    /// Where somebody was met and no link goes to now, latest first.
    fn met_without_link(&self, links: &Links, whom: impl Fn(&PeerId) -> bool) -> Vec<SocketAddr> {
        let mut met: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(address, entry)| Some((entry.met?, *address)))
            .filter(|((peer, _), address)| whom(peer) && !links.goes_to(address))
            .map(|((_, met_at), address)| (met_at, address))
            .collect();
        met.sort_by(|a, b| b.cmp(a));
        met.into_iter().map(|(_, address)| address).collect()
    }

    fn forget_met(&mut self, address: &SocketAddr) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.met = None;
        }
        self.release(address, Source::Linked);
    }

    /// Notes that a link at `address` has ended.
    pub(super) fn ended(
        &mut self,
        now: Instant,
        address: &SocketAddr,
        ended: Ended,
        rng: &mut Rng,
    ) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.ended(now, ended, rng);
        }
    }

    /// Leaves the first dial of `peer` to the other side once more, if that is its turn.
    pub(super) fn link_ended(&mut self, now: Instant, peer: &PeerId) {
        for entry in self.entries.values_mut() {
            if entry.sources.values().flatten().any(|claim| claim == peer) {
                entry.free_since = now;
            }
        }
    }

    /// Finds what to dial next: somebody near, as far as that may go first, else of the source whose
    /// last turn is longest ago, the least failed address; those first that the other side leaves to us, as it dials the rest
    /// meanwhile. Where a source was wrong about many ports of an IP address, no further one is tried.
    pub(super) fn pick(&mut self, now: Instant, wishes: &impl Wishes) -> Option<Pick> {
        self.drop_expired(now, wishes);
        let due: Vec<_> = self
            .entries
            .iter()
            .filter(|(address, entry)| entry.has_rested(now) && wishes.is_free(address))
            .filter_map(|(address, entry)| Some((*address, entry, entry.target(wishes)?)))
            .filter(|(_, entry, expect)| entry.due_at(*expect, wishes) <= now)
            .collect();
        if due.is_empty() {
            return None;
        }
        let tried = self.tried();
        let near = wishes.near_first() && due.iter().any(|(_, entry, _)| entry.is_near());
        let sources = near.then_some(Source::Lan).into_iter().chain(self.shares.in_turn());
        sources.filter(|source| wishes.has_room(source)).find_map(|source| {
            let has_ports_left = |ip: IpAddr| {
                let ports = tried.get(&(ip, source)).copied().unwrap_or(0);
                ports < PORTS_TRIED_PER_IP_MAX || ip.is_loopback()
            };
            let told = due
                .iter()
                .filter(|(_, entry, _)| entry.sources.contains_key(&source))
                .filter(|(address, entry, _)| !entry.is_untried() || has_ports_left(address.ip()));
            let (address, _, expect) = told.min_by_key(|(_, entry, expect)| {
                let theirs = expect.map(|peer| wishes.courtesy(&peer));
                (entry.failures, theirs, entry.told_at)
            })?;
            Some(Pick { address: *address, expect: *expect, source })
        })
    }

    /// How many ports of each IP address were tried in vain, or are now, on the word of each source.
    fn tried(&self) -> BTreeMap<(IpAddr, Source), usize> {
        let mut tried = BTreeMap::new();
        let in_vain = |entry: &Candidate| entry.met.is_none() && !entry.is_untried();
        for (address, entry) in self.entries.iter().filter(|(_, entry)| in_vain(entry)) {
            for source in entry.sources.keys() {
                *tried.entry((address.ip(), *source)).or_default() += 1;
            }
        }
        tried
    }

    /// Forgets what is too old. An address with a link is in use, however long ago it was told.
    fn drop_expired(&mut self, now: Instant, wishes: &impl Wishes) {
        let alone = wishes.alone();
        let expired: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.has_rested(now))
            .filter(|(address, entry)| entry.expired(now, alone) && !wishes.has_link(address))
            .map(|(address, _)| *address)
            .collect();
        expired.iter().for_each(|address| self.remove(address));
    }

    /// When the next address becomes due that is not due at `now`.
    pub(super) fn next_due(&self, now: Instant, wishes: &impl Wishes) -> Option<Instant> {
        self.entries
            .iter()
            .filter(|(address, entry)| !entry.dialling && wishes.is_free(address))
            .filter_map(|(_, entry)| Some(entry.due_at(entry.target(wishes)?, wishes)))
            .filter(|due_at| *due_at > now)
            .min()
    }

    /// The addresses at which somebody was met: first those of links, then latest first; a few of
    /// each peer.
    pub(super) fn met_addresses(&self, links: &Links) -> Vec<SocketAddr> {
        let mut met: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(address, entry)| {
                let (peer, met_at) = entry.met?;
                Some((links.goes_to(address), met_at, *address, peer))
            })
            .collect();
        met.sort_by(|a, b| b.cmp(a));
        let mut of_peer: BTreeMap<PeerId, usize> = BTreeMap::new();
        met.retain(|(.., peer)| {
            let count = of_peer.entry(*peer).or_default();
            *count += 1;
            *count <= LAST_KNOWN_PER_PEER_MAX
        });
        met.into_iter().map(|(_, _, address, _)| address).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

//! The addresses at which members of one channel may be, who told of them, and how dialling went.
//!
//! One entry per address. Sources take turns, so that a flood from one of them cannot starve what
//! another one knows; each may fill only its own share of the table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::crypto::Rng;
use crate::id::PeerId;
use crate::limits::{CANDIDATES_MAX, CANDIDATES_PER_SOURCE_MAX, SOURCES_PER_CANDIDATE_MAX};

/// First wait after a failed dial; doubled by each further one.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait between two dials of one address.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// An address that was ourselves is not tried again for this long; NATs reassign ports.
const OURSELVES_FOR: Duration = Duration::from_secs(3600);
/// Somebody who said goodbye is not called back at once.
const AFTER_GOODBYE: Duration = Duration::from_secs(5);
/// A link that lasted this long was a success: its address starts afresh.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// An address at which nobody was ever met is forgotten this long after it was last told.
const UNMET_FOR: Duration = Duration::from_secs(2 * 3600);
/// An address at which somebody was met is forgotten this long after that, unless we are alone.
const MET_FOR: Duration = Duration::from_secs(24 * 3600);

/// Who told of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// We have had a link there.
    Linked,
    /// Saved by an earlier run.
    LastKnown,
    /// A tracker; the number tells trackers apart, so that each has its turn.
    Tracker(u32),
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
    /// The wait that leaves the first dial to the other side.
    pub(super) courtesy: Duration,
}

/// What the mesh knows beyond the candidates, when one is picked.
pub(super) trait Wishes {
    /// Whether a link with this peer is wanted.
    fn wants(&self, peer: &PeerId) -> bool;
    /// Whether this address is neither ours nor that of a link.
    fn is_free(&self, address: &SocketAddr) -> bool;
    /// Whether this source may have another dial in flight.
    fn has_room(&self, source: &Source) -> bool;
    /// Whether who is near may go before all others.
    fn near_first(&self) -> bool;
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
    shares: BTreeMap<Source, Share>,
    turn: u64,
}

/// A source's part of the table.
#[derive(Debug, Default)]
struct Share {
    entries: usize,
    last_turn: u64,
}

#[derive(Debug)]
struct Candidate {
    /// With whom each source says to be there.
    sources: BTreeMap<Source, Option<PeerId>>,
    /// Whom we met there, and when last.
    met: Option<(PeerId, Instant)>,
    told_at: Instant,
    not_before: Instant,
    failures: u32,
    dialling: bool,
}

impl Candidate {
    /// Whom to expect, if a dial is wanted: first whom we met, then whom others name, then anybody.
    fn target(&self, wishes: &impl Wishes) -> Option<Option<PeerId>> {
        if let Some((peer, _)) = self.met
            && !wishes.wants(&peer)
        {
            return None;
        }
        let mut expected: Vec<PeerId> = self.met.iter().map(|(peer, _)| *peer).collect();
        for peer in self.sources.values().flatten() {
            if !expected.contains(peer) && wishes.wants(peer) {
                expected.push(*peer);
            }
        }
        let anybody = self.sources.values().any(Option::is_none);
        if expected.is_empty() && !anybody {
            return None;
        }
        // What one source says may be false, so the claims and "anybody" take turns.
        let turn = self.failures as usize % (expected.len() + 1);
        Some(expected.get(turn).copied())
    }

    /// Somebody there has just spoken, so what failed before says nothing any more. What we know
    /// beyond failures holds: that it is ourselves, or has just said goodbye.
    fn revive(&mut self, now: Instant) {
        if self.failures > 0 && !self.dialling {
            self.failures = 0;
            self.not_before = self.not_before.min(now);
        }
    }

    /// Whether it is on this network and may well be there: then it is dialled before all others, as
    /// it costs nothing to know and nobody pays for the way.
    fn is_near(&self) -> bool {
        self.failures == 0 && self.sources.contains_key(&Source::Lan)
    }

    /// Whether nobody tells of it any more. After a failure it is kept until it would be due again:
    /// telling anew must not undo the back-off.
    fn is_void(&self) -> bool {
        self.sources.is_empty() && !self.dialling && self.failures == 0
    }

    fn expired(&self, now: Instant, alone: bool) -> bool {
        let exchanged = |source: &Source| matches!(source, Source::PeerExchange(_));
        match self.met {
            _ if self.sources.is_empty() => true,
            // A member says so until it says otherwise.
            _ if self.sources.keys().any(exchanged) => false,
            Some((_, met_at)) => !alone && now.duration_since(met_at) > MET_FOR,
            None if self.sources.contains_key(&Source::LastKnown) => {
                !alone && now.duration_since(self.told_at) > UNMET_FOR
            }
            None => now.duration_since(self.told_at) > UNMET_FOR,
        }
    }
}

impl Candidates {
    /// Notes that `source` tells of `address`, and who is there as far as it knows.
    pub(super) fn add(
        &mut self,
        now: Instant,
        address: SocketAddr,
        source: Source,
        claim: Option<PeerId>,
        not_before: Instant,
    ) {
        if let Some(candidate) = self.entries.get_mut(&address) {
            candidate.told_at = now;
            if source == Source::Lan {
                candidate.revive(now);
            }
            if candidate.sources.len() < SOURCES_PER_CANDIDATE_MAX
                && candidate.sources.insert(source, claim).is_none()
            {
                self.shares.entry(source).or_default().entries += 1;
            }
            return;
        }
        if !self.make_room(source) {
            return;
        }
        let sources = BTreeMap::from([(source, claim)]);
        let candidate = Candidate {
            sources,
            met: None,
            told_at: now,
            not_before,
            failures: 0,
            dialling: false,
        };
        self.entries.insert(address, candidate);
        let turn = self.turn;
        let share = self.shares.entry(source).or_insert(Share { entries: 0, last_turn: turn });
        share.entries += 1;
    }

    /// Whether one more entry of `source` fits, if need be in place of a worse one.
    fn make_room(&mut self, source: Source) -> bool {
        let share = |source: &Source| self.shares.get(source).map_or(0, |share| share.entries);
        let crowded = if share(&source) >= CANDIDATES_PER_SOURCE_MAX {
            source
        } else if self.entries.len() >= CANDIDATES_MAX {
            let largest = self.shares.iter().max_by_key(|(_, share)| share.entries);
            largest.map_or(source, |(source, _)| *source)
        } else {
            return true;
        };
        let worst = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.sources.contains_key(&crowded))
            .filter(|(_, entry)| entry.met.is_none() && !entry.dialling)
            .filter(|(_, entry)| entry.failures > 0 || crowded != source)
            .max_by_key(|(_, entry)| (entry.failures, std::cmp::Reverse(entry.told_at)))
            .map(|(address, _)| *address);
        worst.inspect(|worst| self.remove(worst)).is_some()
    }

    fn remove(&mut self, address: &SocketAddr) {
        if let Some(candidate) = self.entries.remove(address) {
            for source in candidate.sources.keys() {
                release(&mut self.shares, source);
            }
        }
    }

    /// Notes that `source` no longer tells of `address` as `claim`'s.
    pub(super) fn withdraw(&mut self, address: &SocketAddr, source: Source, claim: PeerId) {
        let Some(candidate) = self.entries.get_mut(address) else { return };
        if candidate.sources.get(&source) == Some(&Some(claim)) {
            candidate.sources.remove(&source);
            release(&mut self.shares, &source);
            if candidate.is_void() {
                self.entries.remove(address);
            }
        }
    }

    /// Notes that a dial of `address` has begun.
    pub(super) fn begin(&mut self, pick: &Pick) {
        self.turn += 1;
        self.shares.entry(pick.source).or_default().last_turn = self.turn;
        if let Some(candidate) = self.entries.get_mut(&pick.address) {
            candidate.dialling = true;
        }
    }

    /// Notes that a dial of `address` has come to its end, whichever.
    pub(super) fn end(&mut self, address: &SocketAddr) {
        if let Some(candidate) = self.entries.get_mut(address) {
            candidate.dialling = false;
        }
    }

    /// Notes that a dial of `address` failed.
    pub(super) fn failed(&mut self, now: Instant, address: &SocketAddr, rng: &mut Rng) {
        if let Some(candidate) = self.entries.get_mut(address) {
            candidate.failures = candidate.failures.saturating_add(1);
            candidate.not_before = now + back_off(candidate.failures, rng);
        }
    }

    /// Notes that we ourselves were at `address`.
    pub(super) fn was_ourselves(&mut self, now: Instant, address: &SocketAddr) {
        if let Some(candidate) = self.entries.get_mut(address) {
            candidate.not_before = now + OURSELVES_FOR;
        }
    }

    /// Notes that a link with `peer` stands at `address`.
    pub(super) fn met(&mut self, now: Instant, address: SocketAddr, peer: PeerId) {
        self.add(now, address, Source::Linked, Some(peer), now);
        if let Some(candidate) = self.entries.get_mut(&address) {
            candidate.met = Some((peer, now));
        }
    }

    /// Notes that a link at `address` has ended.
    pub(super) fn ended(
        &mut self,
        now: Instant,
        address: &SocketAddr,
        ended: Ended,
        rng: &mut Rng,
    ) {
        let Some(candidate) = self.entries.get_mut(address) else { return };
        if let Some((_, met_at)) = &mut candidate.met {
            *met_at = now;
        }
        if ended.lived >= STABLE_AFTER {
            candidate.failures = 0;
        }
        let wait = match (ended.lost, candidate.failures) {
            (true, 0) => ended.courtesy,
            (false, 0) => AFTER_GOODBYE,
            (_, failures) => back_off(failures, rng).max(ended.courtesy),
        };
        // A link that does not last must not be redialled at once for ever.
        if ended.lived < STABLE_AFTER {
            candidate.failures = candidate.failures.saturating_add(1);
        }
        candidate.not_before = now + wait;
    }

    /// Leaves the first dial of `peer` to the other side until then.
    pub(super) fn postpone(&mut self, peer: &PeerId, until: Instant) {
        for candidate in self.entries.values_mut() {
            if candidate.sources.values().flatten().any(|claim| claim == peer) {
                candidate.not_before = candidate.not_before.max(until);
            }
        }
    }

    /// Finds what to dial next: somebody near, as far as that may go first, then the source whose last
    /// turn is longest ago, its least failed address.
    pub(super) fn pick(&mut self, now: Instant, wishes: &impl Wishes) -> Option<Pick> {
        self.drop_expired(now, wishes.alone());
        let near_first = wishes.near_first();
        let due = self.entries.iter().filter(|(address, entry)| {
            !entry.dialling && entry.not_before <= now && wishes.is_free(address)
        });
        let picks = due.filter_map(|(address, entry)| {
            let expect = entry.target(wishes)?;
            let turn = |source: &Source| self.shares.get(source).map_or(0, |share| share.last_turn);
            let (turn, source) = entry
                .sources
                .keys()
                .filter(|source| wishes.has_room(source))
                .map(|source| (turn(source), *source))
                .min()?;
            let pick = Pick { address: *address, expect, source };
            let late = !(near_first && entry.is_near());
            Some(((late, turn, entry.failures, entry.told_at), pick))
        });
        picks.min_by_key(|(rank, _)| *rank).map(|(_, pick)| pick)
    }

    fn drop_expired(&mut self, now: Instant, alone: bool) {
        let expired: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.dialling && entry.not_before <= now)
            .filter(|(_, entry)| entry.expired(now, alone))
            .map(|(address, _)| *address)
            .collect();
        expired.iter().for_each(|address| self.remove(address));
    }

    /// When the next address becomes due that is not due at `now`.
    pub(super) fn next_due(&self, now: Instant, wishes: &impl Wishes) -> Option<Instant> {
        self.entries
            .iter()
            .filter(|(address, entry)| {
                !entry.dialling
                    && entry.not_before > now
                    && wishes.is_free(address)
                    && entry.target(wishes).is_some()
            })
            .map(|(_, entry)| entry.not_before)
            .min()
    }

    /// The addresses at which somebody was met, latest first.
    pub(super) fn met_addresses(&self) -> Vec<SocketAddr> {
        let mut met: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(address, entry)| entry.met.map(|(_, met_at)| (met_at, *address)))
            .collect();
        met.sort_by(|a, b| b.cmp(a));
        met.into_iter().map(|(_, address)| address).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn release(shares: &mut BTreeMap<Source, Share>, source: &Source) {
    if let Some(share) = shares.get_mut(source) {
        share.entries = share.entries.saturating_sub(1);
        if share.entries == 0 {
            shares.remove(source);
        }
    }
}

/// Doubling, bounded, give or take a quarter.
fn back_off(failures: u32, rng: &mut Rng) -> Duration {
    let doubled = BACK_OFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let base = doubled.min(BACK_OFF_MAX);
    let millis = u64::try_from(base.as_millis()).unwrap_or(u64::MAX);
    base * 3 / 4 + Duration::from_millis(rng.below(millis / 2 + 1))
}

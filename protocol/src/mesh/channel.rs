//! One channel: who is linked, what each member says about the others, what they were told by us.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::candidates::Candidates;
use super::{Completeness, MemberView};
use crate::channel::Standing;
use crate::id::{ChannelId, PeerId};
use crate::limits::{MEMBERS_MAX, PEER_ADDRESSES_MAX, PEER_RECORDS_PER_FRAME_MAX};
use crate::scope::{Scope, believable};
use crate::wire::{PeerRecord, Peers, WireAddress};

/// Changes wait this long for others, so that a burst is told in one frame. Longer: fewer frames;
/// shorter: newcomers are found sooner.
const TELL_AFTER: Duration = Duration::from_millis(100);
/// For each so many members, frames to all of them are [`TELL_AFTER`] further apart. Else members
/// that all come at once drown each other in news: frames grow with their square, and the slower
/// links come about, the more of them.
const TELL_LESS_FOR_EACH: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) candidates: Candidates,
    /// Linked members and seeders, with the addresses of their links.
    members: BTreeMap<PeerId, Vec<SocketAddr>>,
    /// What each of them has proven to be.
    standings: BTreeMap<PeerId, Standing>,
    /// What each linked member says: whom it is linked with, and where.
    told: BTreeMap<PeerId, BTreeMap<PeerId, Vec<SocketAddr>>>,
    /// How many members name a peer.
    named: BTreeMap<PeerId, usize>,
    /// Members that came, moved or went since we last told.
    changed: BTreeSet<PeerId>,
    /// Members that must be told everything.
    fresh: BTreeSet<PeerId>,
    /// When the fresh are told everything.
    fresh_at: Option<Instant>,
    /// When all are told what has changed.
    changes_at: Option<Instant>,
    /// When they were told last.
    changes_told_at: Option<Instant>,
    /// What was last reported.
    pub(super) view: Completeness,
    /// The last dial on behalf of this channel, for turns.
    pub(super) last_turn: u64,
    /// Dials in flight.
    pub(super) dials: usize,
}

impl Channel {
    pub(super) fn is_member(&self, peer: &PeerId) -> bool {
        self.members.contains_key(peer)
    }

    pub(super) fn has_room_for(&self, peer: &PeerId) -> bool {
        self.members.len() < MEMBERS_MAX || self.is_member(peer)
    }

    pub(super) fn alone(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn tell_at(&self) -> Option<Instant> {
        [self.fresh_at, self.changes_at].into_iter().flatten().min()
    }

    /// What `peer`, if it is linked, has proven to be.
    pub(super) fn standing(&self, peer: &PeerId) -> Option<Standing> {
        self.standings.get(peer).copied()
    }

    /// Notes the addresses of the links with `peer`, and what it is.
    pub(super) fn set_member(
        &mut self,
        now: Instant,
        peer: PeerId,
        addresses: Vec<SocketAddr>,
        standing: Standing,
    ) {
        self.standings.insert(peer, standing);
        let before = self.members.insert(peer, addresses);
        if before.as_ref() != self.members.get(&peer) {
            self.has_changed(now, peer);
        }
    }

    /// Notes that `peer` is linked no longer. What it told is void.
    pub(super) fn remove_member(&mut self, now: Instant, peer: &PeerId) {
        self.standings.remove(peer);
        if self.members.remove(peer).is_some() {
            self.has_changed(now, *peer);
            self.fresh.remove(peer);
            self.forget_told(peer);
        }
    }

    /// What was told to `peer` may be lost: tell it everything again.
    pub(super) fn tell_all(&mut self, now: Instant, peer: PeerId) {
        if self.is_member(&peer) {
            self.fresh.insert(peer);
            self.fresh_at.get_or_insert(now + TELL_AFTER);
        }
    }

    fn has_changed(&mut self, now: Instant, peer: PeerId) {
        self.changed.insert(peer);
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let apart = TELL_AFTER * (members / TELL_LESS_FOR_EACH);
        let rested = self.changes_told_at.map_or(now, |told_at| told_at + apart);
        self.changes_at.get_or_insert(rested.max(now + TELL_AFTER));
    }

    /// Takes note that `teller` has said something, be it that it is linked with nobody else.
    pub(super) fn heard(&mut self, teller: PeerId) {
        self.told.entry(teller).or_default();
    }

    /// Takes note that `teller` is linked with `peer` at `addresses`; the addresses it told before,
    /// or `None` when it names more than there can be.
    pub(super) fn name(
        &mut self,
        teller: PeerId,
        peer: PeerId,
        addresses: Vec<SocketAddr>,
    ) -> Option<Vec<SocketAddr>> {
        let told = self.told.entry(teller).or_default();
        if told.len() >= MEMBERS_MAX && !told.contains_key(&peer) {
            return None;
        }
        let before = told.insert(peer, addresses);
        if before.is_none() {
            *self.named.entry(peer).or_default() += 1;
        }
        Some(before.unwrap_or_default())
    }

    /// Takes note that `teller` is linked with `peer` no longer; the addresses it had told.
    pub(super) fn unname(&mut self, teller: &PeerId, peer: &PeerId) -> Vec<SocketAddr> {
        let told = self.told.get_mut(teller).and_then(|told| told.remove(peer));
        if told.is_some() {
            self.release_name(peer);
        }
        told.unwrap_or_default()
    }

    /// Whom `teller` named.
    pub(super) fn named_by(&self, teller: &PeerId) -> Vec<PeerId> {
        self.told.get(teller).map(|told| told.keys().copied().collect()).unwrap_or_default()
    }

    fn forget_told(&mut self, teller: &PeerId) {
        for (peer, addresses) in self.told.remove(teller).unwrap_or_default() {
            self.release_name(&peer);
            for address in addresses {
                self.candidates.withdraw(&address, super::Source::PeerExchange(*teller), peer);
            }
        }
    }

    fn release_name(&mut self, peer: &PeerId) {
        if let Some(count) = self.named.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.named.remove(peer);
            }
        }
    }

    /// Takes what is to be told by `now`: one frame for each member that something is new for.
    pub(super) fn tell(&mut self, now: Instant, id: ChannelId) -> Vec<(PeerId, Peers)> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let changes_due = is_due(self.changes_at);
        if !changes_due && !is_due(self.fresh_at) {
            return Vec::new();
        }
        // The whole list comes before any change.
        self.fresh_at = None;
        let fresh = std::mem::take(&mut self.fresh);
        let mut changed = BTreeSet::new();
        if changes_due {
            self.changes_at = None;
            self.changes_told_at = Some(now);
            changed = std::mem::take(&mut self.changed);
        }
        let members = self.members.iter();
        let frames = members.filter_map(|(peer, addresses)| {
            let scope = narrowest(addresses);
            let full = fresh.contains(peer) || changed.len() > PEER_RECORDS_PER_FRAME_MAX;
            let frame = if full {
                self.whole_list(id, peer, scope)
            } else {
                self.changes(id, peer, scope, &changed)
            };
            let news = full || !frame.added.is_empty() || !frame.removed.is_empty();
            news.then_some((*peer, frame))
        });
        frames.collect()
    }

    fn whole_list(&self, channel: ChannelId, to: &PeerId, scope: Scope) -> Peers {
        let others = self.members.iter().filter(|(peer, _)| *peer != to);
        let added = others.map(|(peer, addresses)| record(*peer, addresses, scope)).collect();
        Peers { channel, full: true, added, removed: Vec::new() }
    }

    fn changes(
        &self,
        channel: ChannelId,
        to: &PeerId,
        scope: Scope,
        changed: &BTreeSet<PeerId>,
    ) -> Peers {
        let mut frame = Peers { channel, full: false, added: Vec::new(), removed: Vec::new() };
        for peer in changed.iter().filter(|peer| *peer != to) {
            match self.members.get(peer) {
                Some(addresses) => frame.added.push(record(*peer, addresses, scope)),
                None => frame.removed.push(*peer),
            }
        }
        frame
    }

    /// How much of the mesh stands, seen from here.
    pub(super) fn completeness(&self, counts: impl Fn(&PeerId) -> bool) -> Completeness {
        if self.members.is_empty() {
            return Completeness::None;
        }
        let missing = self.named.keys().any(|peer| !self.is_member(peer) && counts(peer));
        if missing { Completeness::Partial } else { Completeness::Full }
    }

    /// Everybody known, and how each is connected.
    pub(super) fn member_views(&self, counts: impl Fn(&PeerId) -> bool) -> Vec<MemberView> {
        let all: BTreeSet<PeerId> = self
            .members
            .keys()
            .chain(self.named.keys())
            .filter(|peer| counts(peer))
            .copied()
            .collect();
        all.iter().map(|peer| self.member_view(*peer, &all)).collect()
    }

    fn member_view(&self, peer: PeerId, all: &BTreeSet<PeerId>) -> MemberView {
        let said = self.told.get(&peer);
        let is_with = |other: &PeerId| {
            // A member that is not linked with us says nothing itself: the others speak for it.
            said.map_or_else(
                || self.told.get(other).is_some_and(|told| told.contains_key(&peer)),
                |told| told.contains_key(other),
            )
        };
        let others = all.iter().filter(|other| **other != peer);
        let (connected_with, not_connected_with): (Vec<_>, Vec<_>) =
            others.partition(|other| is_with(other));
        let linked = self.is_member(&peer);
        let mesh = match (linked, connected_with.is_empty(), not_connected_with.is_empty()) {
            (true, _, true) => Completeness::Full,
            (false, true, _) => Completeness::None,
            (true, _, false) | (false, false, _) => Completeness::Partial,
        };
        let address = match self.members.get(&peer) {
            Some(addresses) => addresses.first().copied(),
            None => self.told.values().find_map(|told| told.get(&peer)?.first().copied()),
        };
        let standing = self.standing(&peer);
        MemberView { peer, address, linked, standing, connected_with, not_connected_with, mesh }
    }
}

/// The nearest scope in which somebody with links at `addresses` is reached.
fn narrowest(addresses: &[SocketAddr]) -> Scope {
    addresses.iter().map(|address| Scope::of(address.ip())).min().unwrap_or(Scope::Global)
}

/// What somebody reached within `scope` is told of `peer`: no address that it would not believe.
fn record(peer: PeerId, addresses: &[SocketAddr], scope: Scope) -> PeerRecord {
    let addresses = addresses.iter().filter(|address| believable(**address, scope));
    let addresses =
        addresses.take(PEER_ADDRESSES_MAX).map(|address| WireAddress(*address)).collect();
    PeerRecord { peer, addresses }
}

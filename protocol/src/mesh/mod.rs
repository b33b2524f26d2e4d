//! Which peers to want, whom to dial next, when to give up; one machine for all channels.
//!
//! ```text
//!  address told --> [candidate] --due, wanted, room--> [dialling] --link up--> [linked]
//!                     ^  ^   |                             |                    |   |
//!                     |  |   '-- told no more, too old --> x                    |   |
//!                     |  '----------- back-off ------ failed                    |   |
//!                     '---- at once (lost), 5 s (goodbye), back-off (short-lived)   |
//!                                                                                   |
//!  two links, one peer:  other incarnation --> close the older (the peer restarted) |
//!                        same incarnation  --> after 500 ms close the one dialled by the higher key
//!  member came, went --100 ms or, among many, longer--> tell all members of that channel
//! ```
//!
//! Wanted are all who are named by members and not linked, and whoever may be at an address that
//! nobody named. A link serves every channel that both are in. Nothing is done for an idle peer:
//! timers run only for what is due.
//!
//! Not here: how a dial is made ([`crate::quic`]), who may be linked with (the contact book),
//! channel proofs ([`crate::session`]).
//!
//! Spec: `docs/spec/06-mesh.md`.

mod api;
mod candidates;
mod channel;
mod dials;
mod links;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

pub use self::api::{
    CloseReason, Completeness, Config, DialFailure, DownReason, Event, Input, MemberView, Output,
};
pub use self::candidates::Source;
use self::candidates::{Ended, Pick, Wishes};
use self::channel::Channel;
use self::dials::{Attempt, Dials};
use self::links::{Links, NewLink};
use crate::channel::Standing;
use crate::crypto::Rng;
use crate::id::{ChannelId, PeerId};
use crate::limits::{
    CHANNELS_MAX, DIALS_MAX, DIALS_NEAR_FIRST_MAX, DIALS_PER_CHANNEL_MAX, DIALS_PER_PEER_MAX,
    DIALS_PER_SOURCE_MAX, LAST_KNOWN_MAX,
};
use crate::machine::Machine;
use crate::scope::{Scope, believable, dialable};
use crate::wire::Peers;

/// Two links with one peer that came up further apart than this were not dialled at the same time.
/// Longer: a peer that lost its side of a link comes back later; shorter: two dials on a lossy path
/// may each take the other's link for a dead one, and one more dial is needed.
const DIALLED_TOGETHER_WITHIN: Duration = Duration::from_secs(3);

/// The mesh of one node; see the module.
#[derive(Debug)]
pub struct Mesh {
    own_peer: PeerId,
    dials_at_once: usize,
    own_addresses: BTreeSet<SocketAddr>,
    channels: BTreeMap<ChannelId, Channel>,
    links: Links,
    dials: Dials,
    blocked: BTreeSet<PeerId>,
    next_due: Option<Instant>,
    now: Instant,
    rng: Rng,
    outputs: VecDeque<Output>,
}

/// What one channel's candidates are held against.
struct View<'a> {
    mesh: &'a Mesh,
    alone: bool,
    /// Dials in flight in this channel, by source.
    busy: BTreeMap<Source, usize>,
}

impl Wishes for View<'_> {
    fn wants(&self, peer: &PeerId) -> bool {
        *peer != self.mesh.own_peer
            && self.mesh.dials.towards(peer) < DIALS_PER_PEER_MAX
            && !self.mesh.links.is_linked(peer)
            && !self.mesh.blocked.contains(peer)
    }

    fn is_free(&self, address: &SocketAddr) -> bool {
        !self.mesh.is_own(address) && !self.mesh.links.goes_to(address)
    }

    fn has_link(&self, address: &SocketAddr) -> bool {
        self.mesh.links.goes_to(address)
    }

    fn has_room(&self, source: &Source) -> bool {
        self.busy.get(source).is_none_or(|dials| *dials < DIALS_PER_SOURCE_MAX)
    }

    fn courtesy(&self, peer: &PeerId) -> Duration {
        if self.mesh.own_peer > *peer { self.mesh.dials.courtesy() } else { Duration::ZERO }
    }

    fn near_first(&self) -> bool {
        self.busy.get(&Source::Lan).is_none_or(|dials| *dials < DIALS_NEAR_FIRST_MAX)
    }

    fn alone(&self) -> bool {
        self.alone
    }
}

impl Mesh {
    /// Begins in no channel, with no link.
    #[must_use]
    pub const fn new(now: Instant, config: Config, rng: Rng) -> Self {
        Self {
            own_peer: config.own_peer,
            dials_at_once: config.dials_at_once,
            own_addresses: BTreeSet::new(),
            channels: BTreeMap::new(),
            links: Links::new(),
            dials: Dials::new(),
            blocked: BTreeSet::new(),
            next_due: None,
            now,
            rng,
            outputs: VecDeque::new(),
        }
    }

    /// Lists the members of a channel: those linked with us, and those known from others.
    #[must_use]
    pub fn members(&self, channel: &ChannelId) -> Vec<MemberView> {
        let channel = self.channels.get(channel);
        channel.map(|channel| channel.member_views(|peer| self.counts(peer))).unwrap_or_default()
    }

    /// How much of a channel's mesh stands, seen from us.
    #[must_use]
    pub fn view(&self, channel: &ChannelId) -> Completeness {
        self.channels.get(channel).map(|channel| channel.view).unwrap_or_default()
    }

    /// Lists where members of a channel were met, to be saved for the next run: first where links go
    /// to, then latest first. At most [`LAST_KNOWN_MAX`], and of one peer
    /// [`LAST_KNOWN_PER_PEER_MAX`](crate::limits::LAST_KNOWN_PER_PEER_MAX).
    #[must_use]
    pub fn known_addresses(&self, channel: &ChannelId) -> Vec<SocketAddr> {
        let channel = self.channels.get(channel);
        let met = channel.map(|channel| channel.candidates.met_addresses(&self.links));
        let mut met = met.unwrap_or_default();
        met.truncate(LAST_KNOWN_MAX);
        met
    }

    /// Whether no link with `peer` is wanted.
    #[must_use]
    pub fn is_blocked(&self, peer: &PeerId) -> bool {
        self.blocked.contains(peer)
    }

    fn is_own(&self, address: &SocketAddr) -> bool {
        self.own_addresses.contains(&without_interface(*address))
    }

    /// Whether `peer` counts as a member: not ourselves, not blocked.
    fn counts(&self, peer: &PeerId) -> bool {
        *peer != self.own_peer && !self.blocked.contains(peer)
    }

    fn on_join(&mut self, id: ChannelId, last_known: Vec<SocketAddr>) {
        if self.channels.len() < CHANNELS_MAX {
            self.channels.entry(id).or_default();
            self.on_addresses(id, last_known, Source::LastKnown);
        }
    }

    fn on_leave(&mut self, id: ChannelId) {
        if self.channels.remove(&id).is_none() {
            return;
        }
        for key in self.links.keys() {
            if let Some(link) = self.links.get_mut(key)
                && link.channels.remove(&id).is_some()
                && link.channels.is_empty()
                && !link.closing
            {
                self.close(key, CloseReason::Left);
            }
        }
    }

    fn on_addresses(&mut self, id: ChannelId, addresses: Vec<SocketAddr>, source: Source) {
        let own_addresses = &self.own_addresses;
        let Some(channel) = self.channels.get_mut(&id) else { return };
        for address in addresses.into_iter().map(canonical) {
            if dialable(address) && !own_addresses.contains(&without_interface(address)) {
                channel.candidates.add(self.now, address, source, None);
            }
        }
    }

    fn on_link_up(&mut self, key: u64, attempt: Option<u64>, mut new: NewLink) {
        let dialled = attempt.and_then(|attempt| self.end_attempt(attempt));
        new.address = canonical(new.address);
        let peer = new.peer;
        let had_none = new.channels.is_empty();
        new.channels.retain(|id, _| self.channels.contains_key(id));
        let in_common = !had_none && !new.channels.is_empty();
        new.channels.retain(|id, _| self.channels[id].has_room_for(&peer));
        let unwanted = if self.blocked.contains(&peer) {
            Some(CloseReason::Blocked)
        } else if peer == self.own_peer || !in_common {
            Some(CloseReason::Left)
        } else if new.channels.is_empty() {
            Some(CloseReason::TooMany)
        } else {
            None
        };
        if let Some(attempt) = dialled {
            self.dials.succeeded(self.now, &attempt);
            self.note_dialled(attempt.channel, &attempt.pick, peer, unwanted.is_some());
        }
        let address = new.address;
        let incarnation = new.incarnation;
        let channels = ids(&new.channels);
        self.links.insert(self.now, key, new);
        if let Some(reason) = unwanted {
            return self.close(key, reason);
        }
        for id in &channels {
            if let Some(channel) = self.channels.get_mut(id) {
                channel.candidates.met(self.now, address, peer, &self.links);
            }
        }
        self.supersede(&peer, incarnation);
        self.refresh_peer(peer, &channels);
        self.tell_all(peer, &channels);
    }

    /// Notes how a dial that led to a link went.
    fn note_dialled(&mut self, id: ChannelId, pick: &Pick, peer: PeerId, unwanted: bool) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.candidates.met(self.now, pick.address, peer, &self.links);
            if unwanted {
                channel.candidates.failed(self.now, &pick.address, &mut self.rng);
            }
        }
    }

    /// Closes the links that cannot be alive beside a new one of `peer`: those of its earlier runs,
    /// and those too old to have been dialled at the same time. Nobody dials whom it is linked
    /// with, so one side has lost such a link and the other has not noticed.
    fn supersede(&mut self, peer: &PeerId, incarnation: [u8; 8]) {
        let recent = |link: &links::Link| {
            self.now.saturating_duration_since(link.up_at) <= DIALLED_TOGETHER_WITHIN
        };
        let old: Vec<_> = self
            .links
            .of(peer)
            .filter(|(_, link)| link.incarnation != incarnation || !recent(link))
            .map(|(key, _)| key)
            .collect();
        old.into_iter().for_each(|key| self.close(key, CloseReason::Superseded));
    }

    fn on_shared(&mut self, key: u64, channels: Vec<(ChannelId, Standing)>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let peer = link.peer;
        // Whose session ends it, when the peer has read why.
        let is_bare = channels.is_empty();
        let known = channels.into_iter().filter(|(id, _)| self.channels.contains_key(id));
        let roomy = known.filter(|(id, _)| self.channels[id].has_room_for(&peer)).collect();
        let before = ids(&std::mem::replace(&mut link.channels, roomy));
        let channels = ids(&link.channels);
        if link.closing {
            return;
        }
        let address = link.address;
        for id in channels.difference(&before) {
            if let Some(channel) = self.channels.get_mut(id) {
                channel.candidates.met(self.now, address, peer, &self.links);
            }
        }
        if channels.is_empty() && !is_bare {
            self.close(key, CloseReason::Left);
        }
        self.refresh_peer(peer, &before.union(&channels).copied().collect());
        self.tell_all(peer, &channels.difference(&before).copied().collect());
    }

    fn on_link_down(&mut self, key: u64, reason: DownReason) {
        let Some(link) = self.links.remove(key) else { return };
        let ended = Ended {
            lost: reason == DownReason::Lost && !link.closing,
            lived: self.now.saturating_duration_since(link.up_at),
        };
        let channels = ids(&link.channels);
        for id in &channels {
            if let Some(channel) = self.channels.get_mut(id) {
                channel.candidates.link_ended(self.now, &link.peer);
                channel.candidates.ended(self.now, &link.address, ended, &mut self.rng);
            }
        }
        self.refresh_peer(link.peer, &channels);
        // What was in flight on this link is lost; the other link must carry it again.
        self.tell_all(link.peer, &channels);
    }

    fn on_dial_failed(&mut self, attempt: u64, why: DialFailure) {
        let Some(Attempt { channel, pick, .. }) = self.end_attempt(attempt) else { return };
        let Some(channel) = self.channels.get_mut(&channel) else { return };
        match why {
            DialFailure::Failed => {
                channel.candidates.failed(self.now, &pick.address, &mut self.rng);
            }
            DialFailure::Ourselves | DialFailure::Blocked => {
                channel.candidates.was_unwanted(self.now, &pick.address);
            }
        }
    }

    fn on_peers(&mut self, from: PeerId, frame: Peers) {
        let links = self.links.of(&from).map(|(_, link)| Scope::of(link.address.ip()));
        let Some(scope) = links.min() else { return };
        let own_addresses = &self.own_addresses;
        let Some(channel) = self.channels.get_mut(&frame.channel) else { return };
        if !channel.is_member(&from) {
            return;
        }
        channel.heard(from);
        let source = Source::PeerExchange(from);
        let mut gone = if frame.full { channel.named_by(&from) } else { frame.removed };
        let stay: BTreeSet<_> = frame.added.iter().map(|record| record.peer).collect();
        gone.retain(|peer| !stay.contains(peer));
        for peer in gone {
            for address in channel.unname(&from, &peer) {
                channel.candidates.withdraw(&address, source, peer);
            }
        }
        for record in frame.added.into_iter().filter(|record| record.peer != self.own_peer) {
            let peer = record.peer;
            let addresses = record.addresses.into_iter().map(|address| canonical(address.0));
            let addresses: Vec<_> = addresses
                .filter(|address| believable(*address, scope))
                .filter(|address| !own_addresses.contains(&without_interface(*address)))
                .collect();
            let Some(before) = channel.name(from, peer, addresses.clone()) else { continue };
            for address in before.iter().filter(|address| !addresses.contains(address)) {
                channel.candidates.withdraw(address, source, peer);
            }
            for address in addresses {
                channel.candidates.add(self.now, address, source, Some(peer));
            }
        }
    }

    fn on_blocked(&mut self, peer: PeerId) {
        self.blocked.insert(peer);
        let keys: Vec<_> = self.links.of(&peer).map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.close(key, CloseReason::Blocked));
    }

    /// Asks for the end of a link; from now on it does not count.
    fn close(&mut self, key: u64, reason: CloseReason) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.closing = true;
        let (peer, channels) = (link.peer, ids(&link.channels));
        self.outputs.push_back(Output::CloseLink { link: key, reason });
        self.refresh_peer(peer, &channels);
        self.tell_all(peer, &channels);
    }

    fn tell_all(&mut self, peer: PeerId, channels: &BTreeSet<ChannelId>) {
        for id in channels {
            if let Some(channel) = self.channels.get_mut(id) {
                channel.tell_all(self.now, peer);
            }
        }
    }

    /// Brings the membership of `peer` in `channels` in step with its links.
    fn refresh_peer(&mut self, peer: PeerId, channels: &BTreeSet<ChannelId>) {
        for id in channels {
            let Some(channel) = self.channels.get_mut(id) else { continue };
            let links = self.links.of(&peer).filter_map(|(_, link)| {
                link.channels.get(id).map(|standing| (link.address, *standing))
            });
            let (mut addresses, standings): (Vec<_>, Vec<_>) = links.unzip();
            addresses.dedup();
            let before = channel.standing(&peer);
            let after = standings.into_iter().max();
            match after {
                Some(standing) => channel.set_member(self.now, peer, addresses, standing),
                None => channel.remove_member(self.now, &peer),
            }
            if before != after {
                let channel = *id;
                let down = before.map(|standing| Event::MemberDown { channel, peer, standing });
                let up = after.map(|standing| Event::MemberUp { channel, peer, standing });
                self.outputs.extend([down, up].into_iter().flatten().map(Output::Event));
            }
        }
    }

    fn end_attempt(&mut self, attempt: u64) -> Option<Attempt> {
        let ended = self.dials.end(attempt)?;
        if let Some(channel) = self.channels.get_mut(&ended.channel) {
            channel.candidates.end(&ended.pick.address);
            channel.dials = channel.dials.saturating_sub(1);
        }
        Some(ended)
    }

    /// Does what is due after any input: dials, views, the next timer.
    fn settle(&mut self) {
        while self.dials.count() < self.dials_at_once.min(DIALS_MAX) && self.dial_next() {}
        self.report_views();
        let mut due = self.links.next_settlement();
        for (id, channel) in &self.channels {
            let candidate = channel.candidates.next_due(self.now, &self.wishes(*id, channel));
            due = [due, channel.tell_at(), candidate].into_iter().flatten().min();
        }
        self.next_due = [due, self.dials.next_deadline()].into_iter().flatten().min();
    }

    fn wishes(&self, id: ChannelId, channel: &Channel) -> View<'_> {
        let busy = self.dials.by_source(&id);
        View { mesh: self, alone: channel.alone(), busy }
    }

    /// Begins one dial, in the channel whose last one is longest ago.
    fn dial_next(&mut self) -> bool {
        let mut turns: Vec<_> = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.dials < DIALS_PER_CHANNEL_MAX)
            .map(|(id, channel)| (channel.last_turn, *id))
            .collect();
        turns.sort_unstable();
        turns.into_iter().any(|(_, id)| self.dial_in(id))
    }

    fn dial_in(&mut self, id: ChannelId) -> bool {
        let Some(channel) = self.channels.get_mut(&id) else { return false };
        let mut candidates = std::mem::take(&mut channel.candidates);
        let pick = match self.channels.get(&id) {
            Some(channel) => candidates.pick(self.now, &self.wishes(id, channel)),
            None => None,
        };
        if let Some(pick) = &pick {
            candidates.begin(pick);
        }
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.candidates = candidates;
        }
        pick.inspect(|pick| self.dial(id, *pick)).is_some()
    }

    fn dial(&mut self, id: ChannelId, pick: Pick) {
        let attempt = self.dials.begin(self.now, id, pick);
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.dials += 1;
            channel.last_turn = attempt;
        }
        let Pick { address, expect, .. } = pick;
        self.outputs.push_back(Output::Dial { attempt, channel: id, address, expect });
    }

    fn report_views(&mut self) {
        let views: Vec<_> = self
            .channels
            .iter()
            .map(|(id, channel)| (*id, channel.completeness(|peer| self.counts(peer))))
            .collect();
        for (id, mine) in views {
            if let Some(channel) = self.channels.get_mut(&id)
                && channel.view != mine
            {
                channel.view = mine;
                self.outputs.push_back(Output::Event(Event::View { channel: id, mine }));
            }
        }
    }

    fn tell(&mut self) {
        for (id, channel) in &mut self.channels {
            let frames = channel.tell(self.now, *id).into_iter();
            self.outputs.extend(frames.map(|(peer, frame)| Output::SendPeers { peer, frame }));
        }
    }

    fn expire_attempts(&mut self) {
        for attempt in self.dials.overdue(self.now) {
            self.on_dial_failed(attempt, DialFailure::Failed);
        }
    }
}

fn ids(channels: &BTreeMap<ChannelId, Standing>) -> BTreeSet<ChannelId> {
    channels.keys().copied().collect()
}

/// An IPv4 address mapped into IPv6 is the IPv4 address. Of a link-local address the interface stays,
/// without which it cannot be dialled.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()))
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => without_interface(address),
    }
}

/// As our own addresses are listed.
fn without_interface(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Machine for Mesh {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::JoinChannel { channel, last_known } => self.on_join(channel, last_known),
            Input::LeaveChannel(channel) => self.on_leave(channel),
            Input::AddressesFound { channel, addresses, source } => {
                self.on_addresses(channel, addresses, source);
            }
            Input::OwnAddresses(addresses) => {
                self.own_addresses = addresses.into_iter().map(without_interface).collect();
            }
            Input::LinkUp { link, peer, incarnation, attempt, address, channels } => {
                let channels = channels.into_iter().collect();
                let dialled_by_us = attempt.is_some();
                let new = NewLink { peer, incarnation, dialled_by_us, address, channels };
                self.on_link_up(link, attempt, new);
            }
            Input::SharedChanged { link, channels } => self.on_shared(link, channels),
            Input::LinkDown { link, reason } => self.on_link_down(link, reason),
            Input::DialFailed { attempt, why } => self.on_dial_failed(attempt, why),
            Input::PeersReceived { from, frame } => self.on_peers(from, frame),
            Input::PeerBlocked(peer) => self.on_blocked(peer),
            Input::PeerUnblocked(peer) => {
                self.blocked.remove(&peer);
            }
        }
        self.settle();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.expire_attempts();
        for key in self.links.settle(self.now, &self.own_peer) {
            self.close(key, CloseReason::Duplicate);
        }
        self.tell();
        self.settle();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next_due
    }
}

//! A channel's infohash with its trackers: what is known of each, and which one is due.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Step};
use super::endpoint::{Endpoint, Tracker};
use super::families::Usage;
use super::{Family, TrackerState, TrackerStatus};
use crate::crypto::Rng;
use crate::id::{ChannelId, InfoHash};
use crate::limits::TRACKERS_PER_CHANNEL_MAX;
use crate::tracker::announce::Occasion;
use crate::tracker::disguise::Persona;
use crate::tracker::url::TrackerUrl;

/// Names one endpoint: a swarm's tracker over one IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) swarm: u64,
    tracker: usize,
    family: Family,
}

impl Key {
    pub(super) const fn family(self) -> Family {
        self.family
    }

    /// A number for the tracker, the same over both IP versions.
    pub(super) fn tracker_number(self) -> u32 {
        let number = self.swarm.wrapping_mul(TRACKERS_PER_CHANNEL_MAX as u64);
        // Wraps after a hundred million channels.
        (number.wrapping_add(self.tracker as u64) & u64::from(u32::MAX)) as u32
    }
}

/// Where a swarm is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Announced,
    Leaving { from: Instant, deadline: Instant },
}

#[derive(Debug)]
pub(super) struct Swarm {
    channel: ChannelId,
    infohash: InfoHash,
    persona: Persona,
    port: u16,
    tiers: Vec<Vec<Tracker>>,
    life: Life,
    /// When the first announce began: ticks are counted from there.
    anchor: Option<Instant>,
}

impl Swarm {
    pub(super) const fn new(
        channel: ChannelId,
        infohash: InfoHash,
        persona: Persona,
        port: u16,
    ) -> Self {
        let tiers = Vec::new();
        let (life, anchor) = (Life::Announced, None);
        Self { channel, infohash, persona, port, tiers, life, anchor }
    }

    /// Takes the tiers, each in an order of its own (BEP 12: "shuffled when first read").
    pub(super) fn add_trackers(&mut self, tiers: &[Vec<TrackerUrl>], now: Instant, rng: &mut Rng) {
        for (id, (tier, url)) in distinct(tiers).into_iter().enumerate() {
            self.tiers.resize_with(tier + 1, Vec::new);
            let (v4, v6) = (Endpoint::new(now), Endpoint::new(now));
            self.tiers[tier].push(Tracker { id, url: url.clone(), v4, v6 });
        }
        for tier in &mut self.tiers {
            for at in (1..tier.len()).rev() {
                let other = rng.below(at as u64 + 1);
                tier.swap(at, usize::try_from(other).unwrap_or(at));
            }
        }
    }

    /// Whether it was made of these tiers.
    pub(super) fn has_trackers(&self, tiers: &[Vec<TrackerUrl>]) -> bool {
        let mut trackers: Vec<_> = (0..)
            .zip(&self.tiers)
            .flat_map(|(tier, trackers)| trackers.iter().map(move |it| (it.id, (tier, &it.url))))
            .collect();
        trackers.sort_unstable_by_key(|(id, _)| *id);
        trackers.into_iter().map(|(_, tracker)| tracker).eq(distinct(tiers))
    }

    pub(super) const fn channel(&self) -> ChannelId {
        self.channel
    }

    pub(super) const fn infohash(&self) -> InfoHash {
        self.infohash
    }

    pub(super) const fn persona(&self) -> Persona {
        self.persona
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) const fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// Counts ticks from now on, unless they are counted already.
    pub(super) fn anchor(&mut self, now: Instant) {
        self.anchor.get_or_insert(now);
    }

    /// The last tick before `at`, or `at` itself.
    pub(super) fn on_tick(&self, at: Instant, tick: Duration) -> Instant {
        on_tick(self.anchor, at, tick)
    }

    /// Makes the pauses after good answers what `pause` makes of what trackers wished.
    pub(super) fn reschedule(&mut self, pause: impl Fn(Duration) -> Duration, tick: Duration) {
        let anchor = self.anchor;
        for tracker in self.tiers.iter_mut().flatten() {
            for endpoint in [&mut tracker.v4, &mut tracker.v6] {
                if let Some(last) = endpoint.last_answer.filter(|_| endpoint.works()) {
                    endpoint.next = on_tick(anchor, last + pause(endpoint.wished), tick);
                }
            }
        }
    }

    pub(super) const fn is_leaving(&self) -> bool {
        matches!(self.life, Life::Leaving { .. })
    }

    /// Whoever is to hear that we leave hears it from `from` on.
    pub(super) const fn leave(&mut self, from: Instant, deadline: Instant) {
        self.life = Life::Leaving { from, deadline };
    }

    /// From when on somebody is to hear that we leave, who has not.
    pub(super) fn farewell(&self) -> Option<Instant> {
        match self.life {
            Life::Announced => None,
            Life::Leaving { from, .. } => {
                let owed = self.trackers().any(|it| it.v4.owes_goodbye() || it.v6.owes_goodbye());
                owed.then_some(from)
            }
        }
    }

    /// Nobody is told any more that we leave.
    pub(super) fn give_up(&mut self) {
        for tracker in self.tiers.iter_mut().flatten() {
            tracker.v4.told = false;
            tracker.v6.told = false;
        }
    }

    /// Whether it is leaving and everybody has been told.
    pub(super) fn has_left(&self) -> bool {
        let silent = |it: &Endpoint| it.attempt.is_none() && !it.told;
        self.is_leaving() && self.tiers.iter().flatten().all(|it| silent(&it.v4) && silent(&it.v6))
    }

    pub(super) fn must_have_left(&self, now: Instant) -> bool {
        match self.life {
            Life::Announced => false,
            Life::Leaving { deadline, .. } => deadline <= now,
        }
    }

    pub(super) fn url(&self, key: Key) -> Option<&TrackerUrl> {
        self.trackers().find(|it| it.id == key.tracker).map(|it| &it.url)
    }

    pub(super) fn endpoint_mut(&mut self, key: Key) -> Option<&mut Endpoint> {
        let tracker = self.tiers.iter_mut().flatten().find(|it| it.id == key.tracker)?;
        Some(tracker.endpoint_mut(key.family))
    }

    /// BEP 12: a tracker that answered goes to the front of its tier.
    pub(super) fn promote(&mut self, key: Key) {
        for tier in &mut self.tiers {
            if let Some(at) = tier.iter().position(|it| it.id == key.tracker) {
                tier[..=at].rotate_right(1);
            }
        }
    }

    /// A tracker that fails over both IP versions goes to the end of its tier.
    pub(super) fn demote(&mut self, key: Key) {
        for tier in &mut self.tiers {
            if let Some(at) = tier.iter().position(|it| it.id == key.tracker)
                && !tier[at].v4.works()
                && !tier[at].v6.works()
            {
                tier[at..].rotate_left(1);
            }
        }
    }

    /// The first endpoint whose time has come.
    pub(super) fn due(
        &self,
        swarm: u64,
        family: Family,
        usage: Usage,
        every_tier: bool,
        now: Instant,
    ) -> Option<(Key, Occasion)> {
        let key = |it: &Tracker| Key { swarm, tracker: it.id, family };
        if let Life::Leaving { from, .. } = self.life {
            if from > now {
                return None;
            }
            let due = self.trackers().find(|it| it.endpoint(family).owes_goodbye())?;
            return Some((key(due), Occasion::Stopped));
        }
        let due = self
            .waiting(family, usage, every_tier)
            .into_iter()
            .find(|it| it.endpoint(family).next <= now)?;
        Some((key(due), due.endpoint(family).occasion()))
    }

    /// When the next announce may begin.
    pub(super) fn next_begin(
        &self,
        family: Family,
        usage: Usage,
        every_tier: bool,
    ) -> Option<Instant> {
        if self.is_leaving() {
            // Farewells have their own time.
            return None;
        }
        self.waiting(family, usage, every_tier).into_iter().map(|it| it.endpoint(family).next).min()
    }

    /// When something must have ended.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let leaving = match self.life {
            Life::Announced => None,
            Life::Leaving { deadline, .. } => Some(deadline),
        };
        self.attempts(0).map(|(_, attempt)| attempt.deadline).chain(leaving).min()
    }

    pub(super) fn under_way(&self, swarm: u64) -> Vec<Key> {
        self.attempts(swarm).map(|(key, _)| key).collect()
    }

    pub(super) fn overdue(&self, swarm: u64, now: Instant) -> Vec<Key> {
        self.attempts(swarm).filter(|(_, it)| it.deadline <= now).map(|(key, _)| key).collect()
    }

    pub(super) fn at_step(&self, swarm: u64, step: Step) -> Vec<Key> {
        self.attempts(swarm).filter(|(_, it)| it.step == step).map(|(key, _)| key).collect()
    }

    pub(super) fn attempt(&self, key: Key) -> Option<&Attempt> {
        self.trackers().find(|it| it.id == key.tracker)?.endpoint(key.family).attempt.as_ref()
    }

    pub(super) fn statuses(
        &self,
        family: Family,
        usage: Usage,
        every_tier: bool,
    ) -> Vec<TrackerStatus> {
        let waiting = self.waiting_ids(family, usage, every_tier);
        let tiers = (0..).zip(&self.tiers);
        let all = tiers.flat_map(|(tier, trackers)| trackers.iter().map(move |it| (it, tier)));
        all.filter(|(it, _)| usage.asks(it.url.scheme(), family))
            .map(|(it, tier)| self.status_of(it, tier, family, &waiting))
            .collect()
    }

    pub(super) fn status(&self, key: Key, usage: Usage, every_tier: bool) -> Option<TrackerStatus> {
        let waiting = self.waiting_ids(key.family, usage, every_tier);
        (0..).zip(&self.tiers).find_map(|(tier, trackers)| {
            let tracker = trackers.iter().find(|it| it.id == key.tracker)?;
            Some(self.status_of(tracker, tier, key.family, &waiting))
        })
    }

    fn waiting_ids(&self, family: Family, usage: Usage, every_tier: bool) -> BTreeSet<usize> {
        self.waiting(family, usage, every_tier).into_iter().map(|it| it.id).collect()
    }

    fn status_of(
        &self,
        tracker: &Tracker,
        tier: usize,
        family: Family,
        waiting: &BTreeSet<usize>,
    ) -> TrackerStatus {
        let endpoint = tracker.endpoint(family);
        let state = if endpoint.attempt.is_some() {
            TrackerState::Asked
        } else if waiting.contains(&tracker.id) {
            endpoint.state()
        } else {
            TrackerState::Spare
        };
        TrackerStatus {
            channel: self.channel,
            infohash: self.infohash,
            tracker: tracker.url.to_string(),
            host: tracker.url.host_and_port(),
            scheme: tracker.url.scheme(),
            tier,
            family: endpoint.family.unwrap_or(family),
            state,
            last_answer: endpoint.last_answer,
            next_try: endpoint.next,
            failures: endpoint.failures,
            last_error: endpoint.last_error.clone(),
            warning: endpoint.warning.clone(),
            peers_found: endpoint.peers_found,
        }
    }

    fn trackers(&self) -> impl Iterator<Item = &Tracker> {
        self.tiers.iter().flatten()
    }

    fn attempts(&self, swarm: u64) -> impl Iterator<Item = (Key, &Attempt)> {
        self.trackers().flat_map(move |it| {
            [Family::V4, Family::V6].into_iter().filter_map(move |family| {
                let key = Key { swarm, tracker: it.id, family };
                it.endpoint(family).attempt.as_ref().map(|attempt| (key, attempt))
            })
        })
    }

    /// The trackers whose next announce is waited for: in each tier those that do not work, and the
    /// first that does. Behind one that works or is being asked, nobody is.
    fn waiting(&self, family: Family, usage: Usage, every_tier: bool) -> Vec<&Tracker> {
        let mut waiting = Vec::new();
        for tier in &self.tiers {
            let mut served = false;
            for tracker in tier.iter().filter(|it| usage.asks(it.url.scheme(), family)) {
                let endpoint = tracker.endpoint(family);
                if endpoint.attempt.is_none() {
                    waiting.push(tracker);
                }
                served = endpoint.attempt.is_some() || endpoint.works();
                if served {
                    break;
                }
            }
            if served && !every_tier {
                break;
            }
        }
        waiting
    }
}

fn on_tick(anchor: Option<Instant>, at: Instant, tick: Duration) -> Instant {
    let since = anchor.map(|anchor| at.saturating_duration_since(anchor)).unwrap_or_default();
    let beyond = since.as_nanos().checked_rem(tick.as_nanos()).unwrap_or(0);
    let beyond = Duration::from_nanos(u64::try_from(beyond).unwrap_or(0));
    at.checked_sub(beyond).unwrap_or(at)
}

/// The trackers with their tiers, each once, as many as are allowed.
fn distinct(tiers: &[Vec<TrackerUrl>]) -> Vec<(usize, &TrackerUrl)> {
    let mut seen = BTreeSet::new();
    let all = (0..).zip(tiers).flat_map(|(tier, urls)| urls.iter().map(move |url| (tier, url)));
    all.filter(|(_, url)| seen.insert(*url)).take(TRACKERS_PER_CHANNEL_MAX).collect()
}

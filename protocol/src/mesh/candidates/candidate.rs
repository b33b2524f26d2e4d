//! One address: who is there as far as is known, when it is dialled again, when it is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Ended, Source, Wishes};
use crate::crypto::Rng;
use crate::id::PeerId;

/// First wait after a failed dial; doubled by each further one.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait between two dials of one address.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// An address that was ourselves, or of somebody blocked, is not tried again for this long; NATs
/// reassign ports.
const UNWANTED_FOR: Duration = Duration::from_secs(3600);
/// Somebody who said goodbye is not called back at once.
const AFTER_GOODBYE: Duration = Duration::from_secs(5);
/// A link that lasted this long was a success: its address starts afresh.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// An address at which nobody was ever met is forgotten this long after it was last told.
const UNMET_FOR: Duration = Duration::from_secs(2 * 3600);
/// An address at which somebody was met is forgotten this long after that, unless we are alone.
const MET_FOR: Duration = Duration::from_secs(24 * 3600);

/// What is known of one address.
#[derive(Debug)]
pub(super) struct Candidate {
    /// With whom each source says to be there.
    pub(super) sources: BTreeMap<Source, Option<PeerId>>,
    /// Whom we met there, and when last.
    pub(super) met: Option<(PeerId, Instant)>,
    pub(super) told_at: Instant,
    /// Since when a link with whoever is there could be wanted: first told, or a link lost.
    pub(super) free_since: Instant,
    not_before: Instant,
    pub(super) failures: u32,
    pub(super) dialling: bool,
}

impl Candidate {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            sources: BTreeMap::new(),
            met: None,
            told_at: now,
            free_since: now,
            not_before: now,
            failures: 0,
            dialling: false,
        }
    }

    /// Waits after a failure, longer each time.
    pub(super) fn failed(&mut self, now: Instant, rng: &mut Rng) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + back_off(self.failures, rng);
    }

    /// Somebody there has just spoken, so what failed before says nothing any more. What we know
    /// beyond failures holds: that it is ourselves, or has just said goodbye.
    pub(super) fn revive(&mut self, now: Instant) {
        if self.failures > 0 && !self.dialling {
            self.failures = 0;
            self.not_before = self.not_before.min(now);
        }
    }

    /// Whether it is on this network and may well be there: then it is dialled before all others, as
    /// the way is short and those who speak for themselves are seldom wrong.
    pub(super) fn is_near(&self) -> bool {
        self.failures == 0 && self.sources.contains_key(&Source::Lan)
    }

    /// Whether nobody was met there and no dial has failed or is under way.
    pub(super) const fn is_untried(&self) -> bool {
        self.met.is_none() && self.failures == 0 && !self.dialling
    }

    /// Rests: we ourselves, or somebody who is blocked, were there.
    pub(super) fn was_unwanted(&mut self, now: Instant) {
        self.not_before = now + UNWANTED_FOR;
    }

    /// Waits after a link, as the way in which it ended asks for.
    pub(super) fn ended(&mut self, now: Instant, ended: Ended, rng: &mut Rng) {
        if let Some((_, met_at)) = &mut self.met {
            *met_at = now;
        }
        if ended.lived >= STABLE_AFTER {
            self.failures = 0;
        }
        let wait = match (ended.lost, self.failures) {
            (true, 0) => Duration::ZERO,
            (false, 0) => AFTER_GOODBYE,
            (_, failures) => back_off(failures, rng),
        };
        // A link that does not last must not be redialled at once for ever.
        if ended.lived < STABLE_AFTER {
            self.failures = self.failures.saturating_add(1);
        }
        self.free_since = now;
        self.not_before = now + wait;
    }

    /// Whether it has waited long enough after a failure.
    pub(super) fn has_rested(&self, now: Instant) -> bool {
        !self.dialling && self.not_before <= now
    }

    /// When it may be dialled, `expect` being [`Self::target`]. The first dial is the other side's
    /// for a while, where courtesy asks for that.
    pub(super) fn due_at(&self, expect: Option<PeerId>, wishes: &impl Wishes) -> Instant {
        let courtesy = expect.map_or(Duration::ZERO, |peer| wishes.courtesy(&peer));
        self.not_before.max(self.free_since + courtesy)
    }

    /// Whom to expect, if a dial is wanted: first whom we met, then whom others name, then anybody.
    pub(super) fn target(&self, wishes: &impl Wishes) -> Option<Option<PeerId>> {
        if let Some((peer, _)) = self.met
            && !wishes.wants(&peer)
        {
            return None;
        }
        let met = self.met.map(|(peer, _)| peer);
        let named: BTreeSet<PeerId> = self.sources.values().flatten().copied().collect();
        let named = named.into_iter().filter(|peer| Some(*peer) != met && wishes.wants(peer));
        let expected: Vec<PeerId> = met.into_iter().chain(named).collect();
        let anybody = self.sources.values().any(Option::is_none);
        if expected.is_empty() && !anybody {
            return None;
        }
        // What one source says may be false, so the claims and "anybody" take turns: every second one is
        // anybody's, as one who lies may do so under many names.
        let turn = self.failures as usize;
        let claim = expected.get(turn / 2 % expected.len().max(1)).copied();
        Some(claim.filter(|_| turn.is_multiple_of(2)))
    }

    /// Whether nobody tells of it any more. After a failure it is kept until it would be due again:
    /// telling anew must not undo the back-off.
    pub(super) fn is_void(&self) -> bool {
        self.sources.is_empty() && !self.dialling && self.failures == 0
    }

    pub(super) fn expired(&self, now: Instant, alone: bool) -> bool {
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

/// Doubling, bounded, give or take a quarter.
fn back_off(failures: u32, rng: &mut Rng) -> Duration {
    let doubled = BACK_OFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let base = doubled.min(BACK_OFF_MAX);
    let millis = u64::try_from(base.as_millis()).unwrap_or(u64::MAX);
    base * 3 / 4 + Duration::from_millis(rng.below(millis / 2 + 1))
}

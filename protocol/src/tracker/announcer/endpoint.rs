//! What is known of one tracker of a swarm.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::attempt::Attempt;
use super::{Family, TrackerState};
use crate::tracker::announce::Occasion;
use crate::tracker::url::TrackerUrl;

#[derive(Debug)]
pub(super) struct Tracker {
    /// Unique in its swarm, and stays when the order changes.
    pub(super) id: usize,
    pub(super) url: TrackerUrl,
    pub(super) v4: Endpoint,
    pub(super) v6: Endpoint,
}

/// A tracker over one IP version.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The earliest time of the next announce.
    pub(super) next: Instant,
    /// The pause that the last good answer wished for.
    pub(super) wished: Duration,
    /// The IP version last used, where that is not the endpoint's own.
    pub(super) family: Option<Family>,
    pub(super) failures: u32,
    /// Failures in all: chooses among several addresses, and stays at one that works.
    pub(super) turn: usize,
    /// It has taken an announce: `started` is over.
    pub(super) answered: bool,
    /// It is to hear that we leave, as the worn client holds it.
    pub(super) told: bool,
    pub(super) tracker_id: Vec<u8>,
    pub(super) attempt: Option<Attempt>,
    /// The addresses for the next attempt, when they were found and it had to wait all the same.
    pub(super) located: Option<Vec<IpAddr>>,
    pub(super) last_answer: Option<Instant>,
    pub(super) last_error: Option<String>,
    pub(super) warning: Option<String>,
    pub(super) peers_found: usize,
}

impl Endpoint {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now,
            wished: Duration::ZERO,
            family: None,
            failures: 0,
            turn: 0,
            answered: false,
            told: false,
            tracker_id: Vec::new(),
            attempt: None,
            located: None,
            last_answer: None,
            last_error: None,
            warning: None,
            peers_found: 0,
        }
    }

    /// Whether the last thing heard was good.
    pub(super) const fn works(&self) -> bool {
        self.answered && self.last_error.is_none()
    }

    /// What we have with it, when it is waited for.
    pub(super) const fn state(&self) -> TrackerState {
        match (&self.last_error, self.failures) {
            (Some(_), 0) => TrackerState::Absent,
            (Some(_), _) => TrackerState::Fails,
            (None, _) if self.answered => TrackerState::Works,
            (None, _) => TrackerState::Due,
        }
    }

    pub(super) const fn occasion(&self) -> Occasion {
        if self.answered { Occasion::Periodic } else { Occasion::Started }
    }

    /// Whether the tracker may know us, and nobody is telling it that we leave.
    pub(super) const fn owes_goodbye(&self) -> bool {
        self.told && self.attempt.is_none()
    }
}

impl Tracker {
    pub(super) const fn endpoint(&self, family: Family) -> &Endpoint {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(super) const fn endpoint_mut(&mut self, family: Family) -> &mut Endpoint {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

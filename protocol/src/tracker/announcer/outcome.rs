//! What follows from an answer, or from none: the next time, the status, the peers.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::swarm::Key;
use super::{Announcer, Event, Family, Output};
use crate::tracker::announce::Occasion;
use crate::tracker::peers::PeerSieve;
use crate::tracker::reply::{self, Accepted};

impl Announcer {
    pub(super) fn accepted(&self, from: SocketAddr, interval: u32, peers: &[u8]) -> Accepted {
        let mut sieve = PeerSieve::new(from.ip());
        match Family::of(from.ip()) {
            Family::V4 => sieve.offer_compact_v4(peers),
            Family::V6 => sieve.offer_compact_v6(peers),
        }
        let (peers, peers_dropped) = sieve.finish();
        let interval = Some(reply::bounded(u64::from(interval)));
        Accepted { interval, peers, peers_dropped, ..Accepted::default() }
    }

    /// Takes a good answer.
    pub(super) fn succeed(&mut self, key: Key, teller: IpAddr, accepted: Accepted) {
        let profile = &self.config.profile;
        let (tick, now) = (profile.tick, self.now);
        let wished = accepted.interval.unwrap_or(profile.interval_default);
        let wished = wished.max(accepted.min_interval.unwrap_or_default());
        let next = now + profile.pause(wished, self.is_complete(key));
        let leaving = self.take_attempt(key).is_none_or(|it| it.occasion == Occasion::Stopped);
        self.dropped += accepted.peers_dropped as u64;
        if leaving {
            return self.forget_if_done(key.swarm);
        }
        let next = self.on_tick(key, next, tick);
        let Some(endpoint) = self.endpoint(key) else {
            return;
        };
        let turned = !endpoint.works() || endpoint.warning != accepted.warning;
        endpoint.answered = true;
        endpoint.told = true;
        endpoint.failures = 0;
        endpoint.wished = wished;
        endpoint.next = next;
        endpoint.last_answer = Some(now);
        endpoint.last_error = None;
        endpoint.warning = accepted.warning;
        endpoint.peers_found = accepted.peers.len();
        if let Some(tracker_id) = accepted.tracker_id {
            endpoint.tracker_id = tracker_id;
        }
        if let Some(swarm) = self.swarms.get_mut(&key.swarm) {
            swarm.promote(key);
        }
        if let Some(ip) = accepted.external_ip {
            let event = Event::ExternalAddress { ip, told_by: teller };
            self.outputs.push_back(Output::Event(event));
        }
        self.report(key, turned, accepted.peers);
    }

    /// Takes a refusal; the tracker may name the time at which asking again makes sense.
    pub(super) fn refuse(&mut self, key: Key, words: String, named: Option<Duration>) {
        let failures = self.endpoint(key).map_or(0, |endpoint| endpoint.failures);
        let at_least = named.unwrap_or_else(|| {
            let pauses = &self.config.profile.retry_refused;
            pauses.after(failures.saturating_add(1), &mut self.rng)
        });
        self.fail(key, words, at_least);
    }

    /// Counts a failure; the next announce waits for the back-off, and for `at_least`.
    pub(super) fn fail(&mut self, key: Key, words: String, at_least: Duration) {
        let Some(attempt) = self.take_attempt(key) else {
            return;
        };
        if attempt.occasion == Occasion::Stopped {
            return self.forget_if_done(key.swarm);
        }
        let failures = self.endpoint(key).map_or(0, |it| it.failures).saturating_add(1);
        let profile = &self.config.profile;
        let tick = profile.tick;
        let pause = profile.retry_over(attempt.url.scheme()).after(failures, &mut self.rng);
        let next = self.on_tick(key, self.now + pause.max(at_least), tick);
        let mut turned = false;
        if let Some(endpoint) = self.endpoint(key) {
            turned = endpoint.works() || failures == 1;
            endpoint.failures = failures;
            endpoint.turn = endpoint.turn.wrapping_add(1);
            endpoint.next = next;
            endpoint.last_error = Some(words);
        }
        if let Some(swarm) = self.swarms.get_mut(&key.swarm) {
            swarm.demote(key);
        }
        self.report(key, turned, Vec::new());
    }

    /// The tracker has no address of this IP version: nothing to blame it for, nothing to repeat soon.
    pub(super) fn skip(&mut self, key: Key) {
        let next = self.now + self.config.profile.interval_default;
        if self.take_attempt(key).is_none_or(|it| it.occasion == Occasion::Stopped) {
            return self.forget_if_done(key.swarm);
        }
        if let Some(endpoint) = self.endpoint(key) {
            endpoint.next = next;
            endpoint.last_error = Some(match key.family() {
                Family::V4 => "it has no IPv4 address".to_owned(),
                Family::V6 => "it has no IPv6 address".to_owned(),
            });
        }
        self.report(key, false, Vec::new());
    }

    fn on_tick(&self, key: Key, at: Instant, tick: Duration) -> Instant {
        self.swarms.get(&key.swarm).map_or(at, |swarm| swarm.on_tick(at, tick))
    }

    fn is_complete(&self, key: Key) -> bool {
        self.swarms.get(&key.swarm).is_some_and(|it| self.complete.contains(&it.channel()))
    }

    fn report(&mut self, key: Key, turned: bool, peers: Vec<SocketAddr>) {
        let (usage, every_tier) = (self.usage, self.config.profile.every_tier);
        let swarm = self.swarms.get(&key.swarm);
        let Some(status) = swarm.and_then(|it| it.status(key, usage, every_tier)) else {
            return;
        };
        if !peers.is_empty() {
            let (channel, tracker) = (status.channel, key.tracker_number());
            let event = Event::PeersFound { channel, peers, tracker };
            self.outputs.push_back(Output::Event(event));
        }
        self.outputs.push_back(Output::Event(Event::StatusChanged { status, turned }));
    }
}

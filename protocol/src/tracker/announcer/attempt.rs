//! One announce, from the tracker's name to its answer.

use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::swarm::{Endpoint, Key};
use super::{Announcer, Event, Family, HttpRequest, Output, RequestId};
use crate::limits::RESOLVED_ADDRESSES_MAX;
use crate::scope::Scope;
use crate::tracker::announce::{Announce, Occasion};
use crate::tracker::http::{Response, announce_request, redirected_request};
use crate::tracker::peers::PeerSieve;
use crate::tracker::reply::{self, Accepted, Reply};
use crate::tracker::udp::{self, Answer};
use crate::tracker::url::{Scheme, TrackerUrl};

/// Time for a name; the driver's resolver gives up earlier.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(15);
/// How much longer than the driver we wait for an HTTP answer.
const DRIVER_GRACE: Duration = Duration::from_secs(5);

/// An announce under way.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) deadline: Instant,
    occasion: Occasion,
    /// Where it goes: the tracker, or where the tracker redirected to.
    url: TrackerUrl,
    redirects: u8,
    /// Where the tracker itself is, before any redirect.
    origin: Option<IpAddr>,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Resolving,
    Connecting { to: SocketAddr, transaction: u32 },
    Announcing { to: SocketAddr, transaction: u32 },
    Fetching { to: SocketAddr, request: RequestId },
}

impl Announcer {
    pub(super) fn begin(&mut self, key: Key, occasion: Occasion) {
        let Some(url) = self.swarms.get(&key.swarm).and_then(|it| it.url(key)).cloned() else {
            return;
        };
        let deadline = self.now + self.time_for(occasion, RESOLVE_TIMEOUT);
        let Some(endpoint) = self.endpoint(key) else {
            return;
        };
        if occasion == Occasion::Stopped {
            // Said once, whether it arrives or not.
            endpoint.told = false;
        }
        let step = Step::Resolving;
        endpoint.attempt =
            Some(Attempt { deadline, occasion, url, redirects: 0, origin: None, step });
        self.under_way += 1;
        self.locate(key);
    }

    /// Ends an attempt without a result: we leave.
    pub(super) fn abandon(&mut self, key: Key) {
        if let Some(attempt) = self.take_attempt(key)
            && let Step::Fetching { request, .. } = attempt.step
        {
            self.outputs.push_back(Output::HttpCancel { id: request });
        }
    }

    pub(super) fn time_out(&mut self, key: Key) {
        let step = self.attempt(key).map(|attempt| attempt.step);
        if let Some(Step::Fetching { request, .. }) = step {
            self.outputs.push_back(Output::HttpCancel { id: request });
        }
        let words = match step {
            Some(Step::Resolving) => "its name was not resolved in time",
            Some(Step::Connecting { .. } | Step::Announcing { .. } | Step::Fetching { .. }) => {
                "it did not answer in time"
            }
            None => return,
        };
        self.fail(key, words.to_owned(), Duration::ZERO);
    }

    pub(super) fn on_names_resolved(&mut self, host: &str, result: &Result<Vec<IpAddr>, String>) {
        for key in self.names.remove(host).unwrap_or_default() {
            match result {
                Ok(addresses) => self.on_located(key, addresses),
                Err(words) => self.fail(key, words.clone(), Duration::ZERO),
            }
        }
    }

    pub(super) fn on_http_failed(&mut self, id: RequestId, failure: &str) {
        match self.requests.get(&id).copied() {
            Some(key) => self.fail(key, failure.to_owned(), Duration::ZERO),
            None => self.dropped += 1,
        }
    }

    pub(super) fn on_http_reply(&mut self, id: RequestId, response: &Response) {
        let key = self.requests.get(&id).copied();
        let Some((key, to)) = key.and_then(|key| Some((key, self.attempt(key)?.fetched_from()?)))
        else {
            self.dropped += 1;
            return;
        };
        if let Some(location) = response.redirect() {
            return self.follow(key, location);
        }
        if response.status != 200 {
            let words = format!("it answered with the status {}", response.status);
            return self.fail(key, words, Duration::ZERO);
        }
        match reply::decode(&response.body, PeerSieve::new(to.ip())) {
            Ok(Reply::Accepted(accepted)) => self.succeed(key, to.ip(), accepted),
            Ok(Reply::Refused(refused)) => {
                let default = self.config.profile.interval_default;
                self.fail(key, refused.reason, refused.retry_after.unwrap_or(default));
            }
            Err(error) => {
                self.fail(key, format!("its answer makes no sense: {error}"), Duration::ZERO)
            }
        }
    }

    /// Believes a datagram only if we wait for its transaction, from that very address.
    pub(super) fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let key = udp::transaction(bytes).and_then(|it| self.transactions.get(&it).copied());
        let step = key.and_then(|key| self.attempt(key)).map(|attempt| attempt.step);
        let (Some(key), Some(step)) = (key, step) else {
            self.dropped += 1;
            return;
        };
        match (step, udp::decode(bytes)) {
            (Step::Connecting { to, .. } | Step::Announcing { to, .. }, _) if to != from => {
                self.dropped += 1;
            }
            (Step::Connecting { to, .. }, Ok(Answer::Connected { connection })) => {
                let until = self.now + self.config.profile.udp_connection_lifetime;
                self.connections.insert(to, (connection, until));
                self.announce_by_udp(key, to, connection);
            }
            (Step::Announcing { .. }, Ok(Answer::Announced { interval, peers })) => {
                let accepted = self.accepted(from, interval, peers);
                self.succeed(key, from.ip(), accepted);
            }
            (_, Ok(Answer::Refused { message })) => {
                self.connections.remove(&from);
                self.fail(key, reply::plain_text(message), Duration::ZERO);
            }
            // One tracker program answers eight bytes when it does not serve the infohash.
            (Step::Announcing { .. }, Err(error @ udp::DecodeError::TooShort)) => {
                self.fail(key, error.to_string(), Duration::ZERO);
            }
            (
                Step::Connecting { .. }
                | Step::Announcing { .. }
                | Step::Resolving
                | Step::Fetching { .. },
                Ok(Answer::Connected { .. } | Answer::Announced { .. }) | Err(_),
            ) => self.dropped += 1,
        }
    }

    /// Finds the tracker's addresses: at once if its host is one, else through the driver.
    fn locate(&mut self, key: Key) {
        let Some(attempt) = self.attempt(key) else {
            return;
        };
        if let Some(ip) = attempt.url.literal() {
            return self.on_located(key, &[ip]);
        }
        let host = attempt.url.host().to_owned();
        let waiting = self.names.entry(host.clone()).or_default();
        if waiting.is_empty() {
            self.outputs.push_back(Output::Resolve { host });
        }
        waiting.insert(key);
    }

    fn on_located(&mut self, key: Key, addresses: &[IpAddr]) {
        let failures = self.endpoint(key).map_or(0, |endpoint| endpoint.failures);
        let Some(attempt) = self.attempt(key) else {
            return;
        };
        let ours: Vec<IpAddr> = addresses
            .iter()
            .take(RESOLVED_ADDRESSES_MAX)
            .map(IpAddr::to_canonical)
            .filter(|ip| Family::of(*ip) == key.family())
            .collect();
        // After each failure the next address of several.
        let chosen = ours.get(usize::try_from(failures).unwrap_or(0) % ours.len().max(1));
        let Some(ip) = chosen.copied() else {
            return self.skip(key);
        };
        if let Err(words) = check_address(attempt, ip) {
            return self.fail(key, words.to_owned(), Duration::ZERO);
        }
        attempt.origin.get_or_insert(ip);
        let to = SocketAddr::new(ip, attempt.url.port());
        match attempt.url.scheme() {
            Scheme::Udp => match self.connections.get(&to).copied() {
                Some((connection, until)) if until > self.now => {
                    self.announce_by_udp(key, to, connection);
                }
                Some(_) | None => self.connect_by_udp(key, to),
            },
            Scheme::Http | Scheme::Https => self.fetch(key, to),
        }
    }

    fn connect_by_udp(&mut self, key: Key, to: SocketAddr) {
        let transaction = self.new_transaction(key);
        let udp_timeout = self.config.profile.udp_timeout;
        self.step(key, Step::Connecting { to, transaction }, udp_timeout);
        self.outputs.push_back(Output::SendUdp { to, bytes: udp::encode_connect(transaction) });
    }

    fn announce_by_udp(&mut self, key: Key, to: SocketAddr, connection: u64) {
        let transaction = self.new_transaction(key);
        let udp_timeout = self.config.profile.udp_timeout;
        self.step(key, Step::Announcing { to, transaction }, udp_timeout);
        let bytes = self.with_announce(key, |profile, url, announce| {
            let path = url.path_and_query();
            udp::encode_announce(profile, announce, path, connection, transaction)
        });
        if let Some(bytes) = bytes {
            self.outputs.push_back(Output::SendUdp { to, bytes });
        }
    }

    fn fetch(&mut self, key: Key, to: SocketAddr) {
        let Some(attempt) = self.attempt(key) else {
            return;
        };
        let (redirected, occasion) = (attempt.redirects > 0, attempt.occasion);
        let tls = (attempt.url.scheme() == Scheme::Https).then(|| attempt.url.host().to_owned());
        let bytes = self.with_announce(key, |profile, url, announce| {
            if redirected {
                redirected_request(profile, url)
            } else {
                announce_request(profile, url, announce)
            }
        });
        let Some(bytes) = bytes else {
            return;
        };
        self.last_id += 1;
        let id = RequestId(self.last_id);
        self.requests.insert(id, key);
        let timeout = self.time_for(occasion, self.config.profile.http_timeout);
        self.step(key, Step::Fetching { to, request: id }, timeout + DRIVER_GRACE);
        let idle_timeout = self.config.profile.http_idle_timeout.min(timeout);
        let request = HttpRequest { id, address: to, bytes, tls, timeout, idle_timeout };
        self.outputs.push_back(Output::HttpRequest(request));
    }

    /// Goes where a tracker redirects to, within reason.
    fn follow(&mut self, key: Key, location: &str) {
        let redirects_max = self.config.profile.redirects_max;
        let deadline = self.now + RESOLVE_TIMEOUT;
        let Some(attempt) = self.attempt(key) else {
            return;
        };
        if attempt.redirects >= redirects_max {
            return self.fail(key, "it redirects without end".to_owned(), Duration::ZERO);
        }
        match redirected(&attempt.url, location) {
            Ok(url) => {
                attempt.url = url;
                attempt.redirects += 1;
                let Step::Fetching { request, .. } =
                    std::mem::replace(&mut attempt.step, Step::Resolving)
                else {
                    return;
                };
                attempt.deadline = deadline;
                self.requests.remove(&request);
                self.locate(key);
            }
            Err(words) => self.fail(key, words, Duration::ZERO),
        }
    }

    fn accepted(&self, from: SocketAddr, interval: u32, peers: &[u8]) -> Accepted {
        let mut sieve = PeerSieve::new(from.ip());
        match Family::of(from.ip()) {
            Family::V4 => sieve.offer_compact_v4(peers),
            Family::V6 => sieve.offer_compact_v6(peers),
        }
        let (peers, peers_dropped) = sieve.finish();
        let interval = Some(reply::bounded(u64::from(interval)));
        Accepted { interval, peers, peers_dropped, ..Accepted::default() }
    }

    fn succeed(&mut self, key: Key, teller: IpAddr, accepted: Accepted) {
        let profile = &self.config.profile;
        let pause = accepted
            .interval
            .unwrap_or(profile.interval_default)
            .max(accepted.min_interval.unwrap_or_default())
            .max(profile.interval_min);
        let now = self.now;
        let leaving = self.take_attempt(key).is_none_or(|it| it.occasion == Occasion::Stopped);
        self.dropped += accepted.peers_dropped as u64;
        if leaving {
            return self.forget_if_done(key.swarm);
        }
        let Some(endpoint) = self.endpoint(key) else {
            return;
        };
        endpoint.answered = true;
        endpoint.failures = 0;
        endpoint.next = now + pause;
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
        self.report(key, accepted.peers);
    }

    /// Counts a failure; the next announce waits for the back-off, and for `at_least`.
    fn fail(&mut self, key: Key, words: String, at_least: Duration) {
        let Some(attempt) = self.take_attempt(key) else {
            return;
        };
        if attempt.occasion == Occasion::Stopped {
            return self.forget_if_done(key.swarm);
        }
        let (now, profile) = (self.now, self.config.profile.clone());
        if let Some(endpoint) = self.endpoint(key) {
            endpoint.failures = endpoint.failures.saturating_add(1);
            endpoint.next = now + profile.retry_after(endpoint.failures).max(at_least);
            endpoint.last_error = Some(words);
        }
        if let Some(swarm) = self.swarms.get_mut(&key.swarm) {
            swarm.demote(key);
        }
        self.report(key, Vec::new());
    }

    /// The tracker has no address of this IP version: nothing to blame it for, nothing to repeat soon.
    fn skip(&mut self, key: Key) {
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
        self.report(key, Vec::new());
    }

    fn report(&mut self, key: Key, peers: Vec<SocketAddr>) {
        let every_tier = self.config.profile.every_tier;
        let swarm = self.swarms.get(&key.swarm);
        let Some(status) = swarm.and_then(|it| it.status(key, every_tier)) else {
            return;
        };
        if !peers.is_empty() {
            let (channel, tracker) = (status.channel, key.tracker_number());
            let event = Event::PeersFound { channel, peers, tracker };
            self.outputs.push_back(Output::Event(event));
        }
        self.outputs.push_back(Output::Event(Event::StatusChanged(status)));
    }

    /// Writes an announce for the attempt under way; from here on the tracker may know us.
    fn with_announce(
        &mut self,
        key: Key,
        write: impl FnOnce(&super::ClientProfile, &TrackerUrl, &Announce<'_>) -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        let swarm = self.swarms.get_mut(&key.swarm)?;
        let (infohash, persona, port) = (swarm.infohash(), swarm.persona(), swarm.port());
        let endpoint = swarm.endpoint_mut(key)?;
        let attempt = endpoint.attempt.as_ref()?;
        let (occasion, tracker_id) = (attempt.occasion, &endpoint.tracker_id);
        let announce = Announce { infohash, persona, port, occasion, tracker_id };
        let bytes = write(&self.config.profile, &attempt.url, &announce);
        endpoint.told = occasion != Occasion::Stopped;
        Some(bytes)
    }

    fn new_transaction(&mut self, key: Key) -> u32 {
        if let Some(Step::Connecting { transaction, .. }) = self.attempt(key).map(|it| it.step) {
            self.transactions.remove(&transaction);
        }
        loop {
            let transaction = u32::from_be_bytes(self.rng.array());
            if let Entry::Vacant(free) = self.transactions.entry(transaction) {
                free.insert(key);
                return transaction;
            }
        }
    }

    fn step(&mut self, key: Key, step: Step, patience: Duration) {
        let now = self.now;
        let occasion = self.attempt(key).map(|it| it.occasion);
        let patience = occasion.map_or(patience, |occasion| self.time_for(occasion, patience));
        if let Some(attempt) = self.attempt(key) {
            attempt.step = step;
            attempt.deadline = now + patience;
        }
    }

    /// The time for a step: less when we leave.
    fn time_for(&self, occasion: Occasion, usual: Duration) -> Duration {
        match occasion {
            Occasion::Started | Occasion::Periodic => usual,
            Occasion::Stopped => usual.min(self.config.profile.stopped_timeout),
        }
    }

    fn take_attempt(&mut self, key: Key) -> Option<Attempt> {
        let attempt = self.endpoint(key)?.attempt.take()?;
        self.under_way -= 1;
        match attempt.step {
            Step::Resolving => {
                let host = attempt.url.host();
                if let Some(waiting) = self.names.get_mut(host) {
                    waiting.remove(&key);
                    if waiting.is_empty() {
                        self.names.remove(host);
                    }
                }
            }
            Step::Connecting { transaction, .. } | Step::Announcing { transaction, .. } => {
                self.transactions.remove(&transaction);
            }
            Step::Fetching { request, .. } => {
                self.requests.remove(&request);
            }
        }
        Some(attempt)
    }

    fn endpoint(&mut self, key: Key) -> Option<&mut Endpoint> {
        self.swarms.get_mut(&key.swarm)?.endpoint_mut(key)
    }

    fn attempt(&mut self, key: Key) -> Option<&mut Attempt> {
        self.endpoint(key)?.attempt.as_mut()
    }
}

impl Attempt {
    const fn fetched_from(&self) -> Option<SocketAddr> {
        match self.step {
            Step::Fetching { to, .. } => Some(to),
            Step::Resolving | Step::Connecting { .. } | Step::Announcing { .. } => None,
        }
    }
}

/// Refuses addresses that a tracker cannot have, and those that a redirect must not reach.
fn check_address(attempt: &Attempt, ip: IpAddr) -> Result<(), &'static str> {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_unspecified() || ip.is_multicast() || broadcast {
        return Err("its address is none of a host");
    }
    // So that a hostile `.chat` file cannot press buttons of programs on this machine and in our own
    // network; the worn client has the same rule for this machine.
    let http = attempt.url.scheme() != Scheme::Udp;
    let near = Scope::of(ip) < Scope::Global;
    if http && near && !attempt.url.path_and_query().starts_with("/announce") {
        return Err("in our own network, its path must begin with /announce");
    }
    match attempt.origin {
        Some(origin) if Scope::of(ip) < Scope::of(origin) => {
            Err("it redirects to an address nearer to us than its own")
        }
        Some(_) | None => Ok(()),
    }
}

/// Reads where a redirect leads: to HTTP or HTTPS, never back from HTTPS to HTTP, with no credentials
/// and no port of another well-known service.
fn redirected(from: &TrackerUrl, location: &str) -> Result<TrackerUrl, String> {
    let url =
        from.redirected(location).map_err(|error| format!("it redirects to nowhere: {error}"))?;
    let downgrade = from.scheme() == Scheme::Https && url.scheme() != Scheme::Https;
    let other_service = url.port() < 1024 && !matches!(url.port(), 80 | 443);
    let moved = url.host() != from.host() || url.port() != from.port();
    if url.scheme() == Scheme::Udp || downgrade {
        Err("it redirects to a protocol that is not followed".to_owned())
    } else if other_service && moved {
        Err("it redirects to the port of another service".to_owned())
    } else if url.userinfo().is_some() && moved {
        Err("it redirects with a user name".to_owned())
    } else {
        Ok(url)
    }
}

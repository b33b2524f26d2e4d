//! One announce, from the tracker's name to its answer.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::redirect::check_address;
use super::swarm::Key;
use super::{Announcer, Family, HttpRequest, Output, RequestId};
use crate::limits::RESOLVED_ADDRESSES_MAX;
use crate::tracker::announce::{Announce, Occasion};
use crate::tracker::disguise::{ClientProfile, Farewell};
use crate::tracker::http::{Response, announce_target, request};
use crate::tracker::peers::PeerSieve;
use crate::tracker::reply::{self, Reply};
use crate::tracker::url::{Scheme, TrackerUrl};

/// Time for a name; the driver's resolver gives up earlier.
pub(super) const RESOLVE_TIMEOUT: Duration = Duration::from_secs(15);
/// How much longer than the driver we wait for an HTTP answer.
const DRIVER_GRACE: Duration = Duration::from_secs(5);

/// An announce under way.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) deadline: Instant,
    pub(super) occasion: Occasion,
    /// Where it goes: the tracker, or where the tracker redirected to.
    pub(super) url: TrackerUrl,
    pub(super) redirects: u8,
    /// Where the tracker itself is, before any redirect.
    pub(super) origin: Option<IpAddr>,
    /// The whole address that was asked for last: whence a redirect comes.
    pub(super) asked: Option<String>,
    pub(super) step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Resolving,
    Connecting {
        to: SocketAddr,
        transaction: u32,
    },
    /// Another attempt is connecting there, for all.
    Joining {
        to: SocketAddr,
    },
    Announcing {
        to: SocketAddr,
        transaction: u32,
    },
    Fetching {
        request: RequestId,
    },
}

impl Announcer {
    pub(super) fn begin(&mut self, key: Key, occasion: Occasion) {
        let Some(url) = self.swarms.get(&key.swarm).and_then(|it| it.url(key)).cloned() else {
            return;
        };
        let deadline = self.now + self.time_for(occasion, RESOLVE_TIMEOUT);
        let asked = self.config.profile.stopped_to == Farewell::Asked;
        let Some(endpoint) = self.endpoint(key) else {
            return;
        };
        // The farewell is said once, whether it arrives or not.
        endpoint.told = occasion != Occasion::Stopped && (endpoint.told || asked);
        let step = Step::Resolving;
        endpoint.attempt = Some(Attempt {
            deadline,
            occasion,
            url,
            redirects: 0,
            origin: None,
            asked: None,
            step,
        });
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
            Some(
                Step::Connecting { .. }
                | Step::Joining { .. }
                | Step::Announcing { .. }
                | Step::Fetching { .. },
            ) => "it did not answer in time",
            None => return,
        };
        self.fail(key, words.to_owned(), Duration::ZERO);
    }

    pub(super) fn on_names_resolved(&mut self, host: &str, result: &Result<Vec<IpAddr>, String>) {
        for key in self.names.remove(host).unwrap_or_default() {
            match result {
                Ok(addresses) if self.must_wait(key) => self.postpone(key, addresses),
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

    pub(super) fn on_http_reply(&mut self, id: RequestId, from: SocketAddr, response: &Response) {
        let Some(key) = self.requests.get(&id).copied() else {
            self.dropped += 1;
            return;
        };
        if let Some(endpoint) = self.endpoint(key) {
            endpoint.family = Some(Family::of(from.ip()));
            endpoint.attempt.iter_mut().for_each(|it| _ = it.origin.get_or_insert(from.ip()));
        }
        if let Some(location) = response.redirect() {
            return self.follow(key, location);
        }
        if response.status != 200 {
            let words = format!("it answered with the status {}", response.status);
            return self.fail(key, words, Duration::ZERO);
        }
        match reply::decode(&response.body, PeerSieve::new(from.ip())) {
            Ok(Reply::Accepted(accepted)) => self.succeed(key, from.ip(), accepted),
            Ok(Reply::Refused(refused)) => {
                self.refuse(key, refused.reason, refused.retry_after);
            }
            Err(error) => {
                self.fail(key, format!("its answer makes no sense: {error}"), Duration::ZERO)
            }
        }
    }

    /// Finds the tracker's addresses: at once if its host is one, else through the driver.
    pub(super) fn locate(&mut self, key: Key) {
        let Some(attempt) = self.attempt(key) else {
            return;
        };
        if let Some(ip) = attempt.url.literal() {
            return self.on_located(key, &[ip]);
        }
        let host = attempt.url.host().to_owned();
        if let Some(addresses) = self.endpoint(key).and_then(|it| it.located.take()) {
            return self.on_located(key, &addresses);
        }
        let waiting = self.names.entry(host.clone()).or_default();
        if waiting.is_empty() {
            self.outputs.push_back(Output::Resolve { host });
        }
        waiting.insert(key);
    }

    /// Whether another swarm has begun so lately that an announce must wait, although it had begun
    /// itself: swarms that wait for one name would all go on in the same instant.
    fn must_wait(&mut self, key: Key) -> bool {
        let plain = |it: &mut Attempt| it.occasion != Occasion::Stopped && it.redirects == 0;
        if !self.attempt(key).is_some_and(plain) {
            return false;
        }
        if self.spacing.from(key.swarm).is_some_and(|from| from > self.now) {
            return true;
        }
        self.space(key);
        false
    }

    /// Takes an announce back, to begin it again when its swarm may: with the addresses found now.
    fn postpone(&mut self, key: Key, addresses: &[IpAddr]) {
        self.take_attempt(key);
        if let Some(endpoint) = self.endpoint(key) {
            endpoint.located =
                Some(addresses.iter().copied().take(RESOLVED_ADDRESSES_MAX).collect());
        }
    }

    fn on_located(&mut self, key: Key, addresses: &[IpAddr]) {
        let usage = self.usage;
        let Some(endpoint) = self.endpoint(key) else {
            return;
        };
        let Some(attempt) = &mut endpoint.attempt else {
            return;
        };
        let all = addresses.iter().take(RESOLVED_ADDRESSES_MAX);
        let all: Vec<IpAddr> = all.map(IpAddr::to_canonical).collect();
        let (scheme, turn) = (attempt.url.scheme(), endpoint.turn);
        let (ours, others) = usage.addresses(scheme, key.family(), &all);
        // After each failure the next address of several.
        let chosen = |of: &[IpAddr]| of.get(turn % of.len().max(1)).copied();
        let (ip, fallback) = match (chosen(&ours), chosen(&others)) {
            (Some(ip), fallback) => (ip, fallback),
            (None, Some(ip)) => (ip, None),
            (None, None) => return self.skip(key),
        };
        for ip in [Some(ip), fallback].into_iter().flatten() {
            if let Err(words) = check_address(attempt, ip) {
                return self.fail(key, words.to_owned(), Duration::ZERO);
            }
        }
        endpoint.family = Some(Family::of(ip));
        let to = SocketAddr::new(ip, attempt.url.port());
        match attempt.url.scheme() {
            Scheme::Udp => match self.connections.get(&to).copied() {
                Some((connection, until)) if until > self.now => {
                    self.announce_by_udp(key, to, connection);
                }
                Some(_) | None => self.connect_by_udp(key, to),
            },
            Scheme::Http | Scheme::Https => {
                self.fetch(key, to, fallback.map(|ip| SocketAddr::new(ip, to.port())));
            }
        }
    }

    fn fetch(&mut self, key: Key, to: SocketAddr, fallback: Option<SocketAddr>) {
        let Some(attempt) = self.attempt(key) else {
            return;
        };
        let (redirected, occasion) = (attempt.redirects > 0, attempt.occasion);
        let tls = (attempt.url.scheme() == Scheme::Https).then(|| attempt.url.host().to_owned());
        let referer = attempt.asked.take();
        let written = self.with_announce(key, |profile, url, announce| {
            // A redirect is followed as it stands.
            let target = if redirected {
                url.path_and_query().to_owned()
            } else {
                announce_target(profile, url, announce)
            };
            (request(profile, url, &target, referer.as_deref()), url.with_target(&target))
        });
        let Some((bytes, asked)) = written else {
            return;
        };
        if let Some(attempt) = self.attempt(key) {
            attempt.asked = Some(asked);
        }
        self.last_id += 1;
        let id = RequestId(self.last_id);
        self.requests.insert(id, key);
        let timeout = self.time_for(occasion, self.config.profile.http_timeout);
        self.step(key, Step::Fetching { request: id }, timeout + DRIVER_GRACE);
        let idle_timeout = self.config.profile.http_idle_timeout.min(timeout);
        let keep_alive = self.config.profile.http_keep_alive;
        let request = HttpRequest {
            id,
            address: to,
            fallback,
            bytes,
            tls,
            timeout,
            idle_timeout,
            keep_alive,
        };
        self.outputs.push_back(Output::HttpRequest(request));
    }

    /// Writes an announce for the attempt under way; from here on the tracker may know us.
    pub(super) fn with_announce<T>(
        &mut self,
        key: Key,
        write: impl FnOnce(&ClientProfile, &TrackerUrl, &Announce<'_>) -> T,
    ) -> Option<T> {
        let ipv6 = self.own_ipv6;
        let enough = self.config.profile.stopped_to != Farewell::Answered;
        let swarm = self.swarms.get_mut(&key.swarm)?;
        let (infohash, persona, port) = (swarm.infohash(), swarm.persona(), swarm.port());
        let endpoint = swarm.endpoint_mut(key)?;
        let attempt = endpoint.attempt.as_ref()?;
        let (occasion, tracker_id) = (attempt.occasion, &endpoint.tracker_id);
        let announce = Announce { infohash, persona, port, occasion, tracker_id, ipv6 };
        let written = write(&self.config.profile, &attempt.url, &announce);
        endpoint.told |= enough && occasion != Occasion::Stopped;
        Some(written)
    }

    pub(super) fn step(&mut self, key: Key, step: Step, patience: Duration) {
        let now = self.now;
        let occasion = self.attempt(key).map(|it| it.occasion);
        let patience = occasion.map_or(patience, |occasion| self.time_for(occasion, patience));
        if let Some(attempt) = self.attempt(key) {
            attempt.step = step;
            attempt.deadline = now + patience;
        }
    }

    /// The time for a step: less when we leave.
    pub(super) fn time_for(&self, occasion: Occasion, usual: Duration) -> Duration {
        match occasion {
            Occasion::Started | Occasion::Periodic => usual,
            Occasion::Stopped => usual.min(self.config.profile.stopped_timeout),
        }
    }

    pub(super) fn take_attempt(&mut self, key: Key) -> Option<Attempt> {
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
            Step::Joining { .. } => {}
        }
        Some(attempt)
    }

    pub(super) fn endpoint(&mut self, key: Key) -> Option<&mut Endpoint> {
        self.swarms.get_mut(&key.swarm)?.endpoint_mut(key)
    }

    pub(super) fn attempt(&mut self, key: Key) -> Option<&mut Attempt> {
        self.endpoint(key)?.attempt.as_mut()
    }
}

//! Where a tracker may send us, and where it may be.

use std::net::IpAddr;
use std::time::Duration;

use super::Announcer;
use super::attempt::{Attempt, RESOLVE_TIMEOUT, Step};
use super::swarm::Key;
use crate::scope::Scope;
use crate::tracker::url::{Scheme, TrackerUrl};

impl Announcer {
    /// Goes where a tracker redirects to, within reason.
    pub(super) fn follow(&mut self, key: Key, location: &str) {
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
}

/// Refuses addresses that a tracker cannot have, and those that a redirect must not reach.
pub(super) fn check_address(attempt: &Attempt, ip: IpAddr) -> Result<(), &'static str> {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_unspecified() || ip.is_multicast() || broadcast {
        return Err("its address is none of a host");
    }
    // So that a hostile `.chat` file cannot press buttons of programs on this machine and in our own
    // network; the worn client has the same rule for this machine.
    let http = attempt.url.scheme() != Scheme::Udp;
    let near = Scope::of(ip) < Scope::Global;
    if http && near && !is_announce(attempt.url.path_and_query()) {
        return Err("in our own network, its path must begin with /announce and be plain");
    }
    match attempt.origin {
        Some(origin) if Scope::of(ip) < Scope::of(origin) => {
            Err("it redirects to an address nearer to us than its own")
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a path is that of an announce and cannot be read by a server as another one.
fn is_announce(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    path.starts_with("/announce") && !path.contains("..") && !path.contains(['%', '\\', ';'])
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

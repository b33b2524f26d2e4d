//! What our address looks like from outside, as the nodes we asked say (BEP 42, `ip`).
//!
//! One answer is one voice, and all answers from one neighbourhood of the network are one voice
//! together: the newest. An address counts when three neighbourhoods name it and no other
//! is named by as many. So neither a liar nor ten of them on one network move our id.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::limits::DHT_VOICES_MAX;
use crate::scope::{Scope, believable};

/// Neighbourhoods that must agree. libtorrent believes the first answer; three cost a second more.
const VOICES_MIN: usize = 3;

/// The part of an IP address that is likely to be in one hand: a /16 of IPv4, a /32 of IPv6.
/// Addresses that are not global count whole: they are in our own house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Neighbourhood([u8; 16]);

impl Neighbourhood {
    fn of(ip: IpAddr) -> Self {
        let mut bytes = [0; 16];
        let (whole, kept) = (Scope::of(ip) != Scope::Global, &mut bytes);
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let length = if whole { 4 } else { 2 };
                kept[..length].copy_from_slice(&ip.octets()[..length]);
            }
            IpAddr::V6(ip) => {
                let length = if whole { 16 } else { 4 };
                kept[..length].copy_from_slice(&ip.octets()[..length]);
            }
        }
        Self(bytes)
    }
}

/// Our address as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalAddress {
    /// The IP address.
    pub ip: IpAddr,
    /// The port, if all who named the IP address named one port: then the NAT, if there is one, gives
    /// us the same port whomever we talk to.
    pub port: Option<u16>,
}

/// The voices heard over one IP version.
#[derive(Debug, Default)]
pub struct Votes {
    voices: VecDeque<(Neighbourhood, SocketAddr)>,
    elected: Option<ExternalAddress>,
}

impl Votes {
    /// Counts that `voter` sees us at `seen`; tells what is believed when that has changed.
    ///
    /// A voter cannot know an address that reaches less far than its own.
    pub fn vote(&mut self, voter: IpAddr, seen: SocketAddr) -> Option<ExternalAddress> {
        let seen = SocketAddr::new(seen.ip().to_canonical(), seen.port());
        if !believable(seen, Scope::of(voter)) {
            return None;
        }
        let from = Neighbourhood::of(voter);
        self.voices.retain(|(other, _)| *other != from);
        if self.voices.len() >= DHT_VOICES_MAX {
            self.voices.pop_front();
        }
        self.voices.push_back((from, seen));
        let elected = self.count()?;
        (self.elected != Some(elected)).then(|| {
            self.elected = Some(elected);
            elected
        })
    }

    /// What is believed.
    #[must_use]
    pub const fn elected(&self) -> Option<ExternalAddress> {
        self.elected
    }

    fn count(&self) -> Option<ExternalAddress> {
        let mut tally: BTreeMap<IpAddr, (usize, Option<u16>)> = BTreeMap::new();
        for (_, seen) in &self.voices {
            let (voices, port) = tally.entry(seen.ip()).or_insert((0, Some(seen.port())));
            *voices += 1;
            *port = port.filter(|port| *port == seen.port());
        }
        let most = tally.values().map(|(voices, _)| *voices).max()?;
        let mut winners = tally.iter().filter(|(_, (voices, _))| *voices == most);
        let (ip, (voices, port)) = winners.next()?;
        let alone = winners.next().is_none();
        (alone && *voices >= VOICES_MIN).then_some(ExternalAddress { ip: *ip, port: *port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(votes: &mut Votes, voter: &str, seen: &str) -> Option<String> {
        let elected = votes.vote(voter.parse().unwrap(), seen.parse().unwrap())?;
        Some(format!("{} {:?}", elected.ip, elected.port))
    }

    #[test]
    fn three_neighbourhoods_that_agree_are_believed_once() {
        let votes = &mut Votes::default();
        assert_eq!(vote(votes, "1.1.0.1", "8.8.8.8:5"), None);
        assert_eq!(vote(votes, "1.2.0.1", "8.8.8.8:5"), None);
        assert_eq!(vote(votes, "1.3.0.1", "8.8.8.8:5").as_deref(), Some("8.8.8.8 Some(5)"));
        assert_eq!(vote(votes, "1.4.0.1", "8.8.8.8:5"), None);
        assert_eq!(votes.elected().map(|it| it.port), Some(Some(5)));
    }

    #[test]
    fn ten_liars_on_one_network_are_one_voice() {
        let votes = &mut Votes::default();
        for host in 1..=10 {
            assert_eq!(vote(votes, &format!("1.1.1.{host}"), "9.9.9.9:5"), None);
        }
        for net in 1..=3 {
            vote(votes, &format!("2.{net}.0.1"), "8.8.8.8:5");
        }
        for host in 11..=20 {
            assert_eq!(vote(votes, &format!("1.1.1.{host}"), "9.9.9.9:5"), None);
        }
        assert_eq!(votes.elected().map(|it| it.ip), Some("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn a_port_that_differs_is_not_believed() {
        let votes = &mut Votes::default();
        vote(votes, "1.1.0.1", "8.8.8.8:5");
        vote(votes, "1.2.0.1", "8.8.8.8:6");
        assert_eq!(vote(votes, "1.3.0.1", "8.8.8.8:7").as_deref(), Some("8.8.8.8 None"));
    }

    #[test]
    fn an_address_that_has_changed_is_believed_when_most_say_so() {
        let votes = &mut Votes::default();
        (1..=4).for_each(|net| drop(vote(votes, &format!("1.{net}.0.1"), "8.8.8.8:5")));
        assert_eq!(vote(votes, "1.1.0.1", "9.9.9.9:5"), None);
        assert_eq!(vote(votes, "1.2.0.1", "9.9.9.9:5"), None, "two against two");
        assert_eq!(vote(votes, "1.3.0.1", "9.9.9.9:5").as_deref(), Some("9.9.9.9 Some(5)"));
    }

    #[test]
    fn nobody_outside_makes_us_believe_in_an_address_inside() {
        let votes = &mut Votes::default();
        for net in 1..=9 {
            for seen in ["127.0.0.1:5", "192.168.0.1:5", "0.0.0.0:5", "224.0.0.1:5", "8.8.8.8:0"] {
                assert_eq!(vote(votes, &format!("1.{net}.0.1"), seen), None);
            }
        }
        for host in 1..=3 {
            vote(votes, &format!("10.0.0.{host}"), "10.0.0.9:5");
        }
        assert_eq!(votes.elected().map(|it| it.ip), Some("10.0.0.9".parse().unwrap()));
    }

    #[test]
    fn voices_are_bounded_and_the_oldest_makes_room() {
        let votes = &mut Votes::default();
        for net in 0..1000_u32 {
            vote(votes, &format!("{}.{}.0.1", 1 + net / 250, net % 250), "8.8.8.8:5");
        }
        assert_eq!(votes.voices.len(), DHT_VOICES_MAX);
    }
}

//! Sorting out the addresses that a tracker gives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::{TRACKER_PEERS_MAX, TRACKER_PORTS_PER_IP_MAX};
use crate::scope::{Scope, believable};

/// Keeps those addresses of one answer that are worth dialling, each once and in their order.
///
/// Dropped, and counted: what its teller is too far away to know ([`scope`](crate::scope)),
/// repetitions, more than [`TRACKER_PORTS_PER_IP_MAX`] ports of one IP address, and whatever exceeds
/// [`TRACKER_PEERS_MAX`]. Our own address is among the rest, as trackers give it back: the mesh
/// knows it.
#[derive(Debug)]
pub struct PeerSieve {
    told_from: Scope,
    kept: Vec<SocketAddr>,
    seen: BTreeSet<SocketAddr>,
    ports: BTreeMap<IpAddr, usize>,
    dropped: usize,
}

impl PeerSieve {
    /// Starts for an answer that came from `teller`.
    #[must_use]
    pub fn new(teller: IpAddr) -> Self {
        Self {
            told_from: Scope::of(teller),
            kept: Vec::new(),
            seen: BTreeSet::new(),
            ports: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// Keeps or drops one address; an IPv4 address mapped into IPv6 counts as the IPv4 address.
    pub fn offer(&mut self, ip: IpAddr, port: u16) {
        let address = SocketAddr::new(ip.to_canonical(), port);
        if self.keeps(address) {
            self.kept.push(address);
        } else {
            self.dropped += 1;
        }
    }

    /// Takes a compact list: 4 bytes of address and 2 of port for each peer (BEP 23). An incomplete
    /// last entry is dropped.
    pub fn offer_compact_v4(&mut self, list: &[u8]) {
        let (entries, rest) = list.as_chunks::<6>();
        for [a, b, c, d, high, low] in entries {
            let ip = Ipv4Addr::new(*a, *b, *c, *d);
            self.offer(ip.into(), u16::from_be_bytes([*high, *low]));
        }
        self.dropped += usize::from(!rest.is_empty());
    }

    /// Takes a compact list: 16 bytes of address and 2 of port for each peer (BEP 7). An incomplete
    /// last entry is dropped.
    pub fn offer_compact_v6(&mut self, list: &[u8]) {
        let (entries, rest) = list.as_chunks::<18>();
        for entry in entries {
            if let Some((ip, port)) = entry.split_first_chunk::<16>() {
                let port = port.iter().fold(0, |port, byte| port << 8 | u16::from(*byte));
                self.offer(Ipv6Addr::from(*ip).into(), port);
            }
        }
        self.dropped += usize::from(!rest.is_empty());
    }

    /// What was kept, and how many addresses were dropped.
    #[must_use]
    pub fn finish(self) -> (Vec<SocketAddr>, usize) {
        (self.kept, self.dropped)
    }

    fn keeps(&mut self, address: SocketAddr) -> bool {
        if self.kept.len() >= TRACKER_PEERS_MAX
            || !believable(address, self.told_from)
            || self.seen.contains(&address)
        {
            return false;
        }
        let ports = self.ports.entry(address.ip()).or_default();
        // A loopback address is ourselves: there is no victim, and many nodes live there in tests.
        if *ports >= TRACKER_PORTS_PER_IP_MAX && !address.ip().is_loopback() {
            return false;
        }
        *ports += 1;
        self.seen.insert(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(teller: &str, offered: &[&str], expected: &[&str]) {
        let mut sieve = PeerSieve::new(teller.parse().unwrap());
        for address in offered {
            let address: SocketAddr = address.parse().unwrap();
            sieve.offer(address.ip(), address.port());
        }
        let (kept, dropped) = sieve.finish();
        let kept: Vec<_> = kept.iter().map(SocketAddr::to_string).collect();
        assert_eq!(kept, expected);
        assert_eq!(dropped, offered.len() - expected.len());
    }

    const MIXED: [&str; 9] = [
        "127.0.0.1:1",
        "[::1]:1",
        "192.168.0.1:1",
        "8.8.8.8:1",
        "8.8.8.8:0",
        "0.0.0.0:1",
        "255.255.255.255:1",
        "[::ffff:10.0.0.1]:1",
        "[2a00::1]:1",
    ];

    #[test]
    fn a_tracker_names_nothing_nearer_than_itself() {
        check("1.1.1.1", &MIXED, &["8.8.8.8:1", "[2a00::1]:1"]);
        check("10.0.0.1", &MIXED, &["192.168.0.1:1", "8.8.8.8:1", "10.0.0.1:1", "[2a00::1]:1"]);
        check(
            "::1",
            &MIXED,
            &["127.0.0.1:1", "[::1]:1", "192.168.0.1:1", "8.8.8.8:1", "10.0.0.1:1", "[2a00::1]:1"],
        );
    }

    #[test]
    fn repetitions_are_dropped() {
        let offered = ["8.8.4.4:2", "8.8.4.4:2", "[::ffff:8.8.4.4]:2"];
        check("1.1.1.1", &offered, &["8.8.4.4:2"]);
    }

    #[test]
    fn one_victim_gets_few_of_our_dials_but_loopback_is_ours() {
        for (ip, kept) in [("8.8.8.8", TRACKER_PORTS_PER_IP_MAX), ("127.0.0.1", 100)] {
            let mut sieve = PeerSieve::new("127.0.0.1".parse().unwrap());
            (1..=100).for_each(|port| sieve.offer(ip.parse().unwrap(), port));
            assert_eq!(sieve.finish().0.len(), kept);
        }
    }

    #[test]
    fn of_ten_thousand_peers_five_hundred_are_kept() {
        let mut sieve = PeerSieve::new("1.1.1.1".parse().unwrap());
        let list: Vec<u8> =
            (0..10_000_u32).flat_map(|at| [8, 8, (at >> 8) as u8, at as u8, 0, 1]).collect();
        sieve.offer_compact_v4(&list);
        let (kept, dropped) = sieve.finish();
        assert_eq!((kept.len(), dropped), (TRACKER_PEERS_MAX, 10_000 - TRACKER_PEERS_MAX));
    }

    #[test]
    fn compact_lists_are_big_endian_and_an_odd_end_is_dropped() {
        let mut sieve = PeerSieve::new("1.1.1.1".parse().unwrap());
        sieve.offer_compact_v4(&[8, 8, 8, 8, 1, 2, 9]);
        let mut v6 = [0; 20];
        v6[0] = 0x2a;
        v6[15] = 1;
        v6[17] = 80;
        sieve.offer_compact_v6(&v6);
        let (kept, dropped) = sieve.finish();
        assert_eq!(kept, ["8.8.8.8:258".parse().unwrap(), "[2a00::1]:80".parse().unwrap()]);
        assert_eq!(dropped, 2);
    }
}

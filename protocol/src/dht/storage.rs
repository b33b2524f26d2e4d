//! Peers that others announced to us (BEP 5, "announce_peer"), for half an hour.
//!
//! Bounded like libtorrent's: [`DHT_STORED_HASHES_MAX`] infohashes, [`DHT_STORED_PEERS_MAX`] peers each,
//! one per IP address. When there are too many infohashes, the one with the fewest peers makes room.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::crypto::Rng;
use crate::limits::{DHT_STORED_HASHES_MAX, DHT_STORED_PEERS_MAX};
use crate::scope::Scope;

use super::node_id::NodeId;

/// How long an announce counts; clients repeat it every quarter of an hour.
const PEER_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// One announce. Kept by time: the oldest first.
#[derive(Debug, Clone, Copy)]
struct Announced {
    address: SocketAddr,
    at: Instant,
}

/// What was announced to one node.
#[derive(Debug, Default)]
pub struct Storage {
    hashes: HashMap<NodeId, VecDeque<Announced>>,
}

impl Storage {
    /// Takes an announce, in place of an earlier one from the same IP address.
    pub fn announce(&mut self, infohash: NodeId, address: SocketAddr, now: Instant) {
        if address.port() == 0 {
            return;
        }
        if !self.hashes.contains_key(&infohash) && self.hashes.len() >= DHT_STORED_HASHES_MAX {
            self.make_room(now);
        }
        let peers = self.hashes.entry(infohash).or_default();
        peers.retain(|known| !same_host(known.address, address));
        if peers.len() >= DHT_STORED_PEERS_MAX {
            peers.pop_front();
        }
        peers.push_back(Announced { address, at: now });
    }

    /// At most `count` peers of `infohash`, drawn at random when there are more.
    #[must_use]
    pub fn peers(
        &self,
        infohash: &NodeId,
        count: usize,
        now: Instant,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        let Some(peers) = self.hashes.get(infohash) else { return Vec::new() };
        let alive = |peer: &&Announced| now < peer.at + PEER_LIFETIME;
        let mut found: Vec<_> = peers.iter().filter(alive).map(|peer| peer.address).collect();
        let count = count.min(found.len());
        // The first steps of Fisher and Yates: each subset is as likely as the other.
        for at in 0..count {
            let other = at + rng.below((found.len() - at) as u64) as usize;
            found.swap(at, other);
        }
        found.truncate(count);
        found
    }

    /// At most `count` infohashes, drawn at random (BEP 51), and how many there are.
    #[must_use]
    pub fn sample(&self, count: usize, rng: &mut Rng) -> (Vec<NodeId>, usize) {
        let total = self.hashes.len();
        let skipped = rng.below((total.saturating_sub(count) + 1) as u64) as usize;
        (self.hashes.keys().skip(skipped).take(count).copied().collect(), total)
    }

    /// Forgets what has expired.
    pub fn expire(&mut self, now: Instant) {
        self.hashes.retain(|_, peers| {
            while peers.front().is_some_and(|oldest| now >= oldest.at + PEER_LIFETIME) {
                peers.pop_front();
            }
            !peers.is_empty()
        });
    }

    /// How many infohashes are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    fn make_room(&mut self, now: Instant) {
        self.expire(now);
        if self.hashes.len() >= DHT_STORED_HASHES_MAX
            && let Some(least) =
                self.hashes.iter().min_by_key(|(_, peers)| peers.len()).map(|(hash, _)| *hash)
        {
            self.hashes.remove(&least);
        }
    }
}

/// One entry per IP address, but any number of nodes on this machine: there they are in tests.
fn same_host(one: SocketAddr, other: SocketAddr) -> bool {
    let ip = |address: SocketAddr| -> IpAddr { address.ip().to_canonical() };
    ip(one) == ip(other) && (one.port() == other.port() || Scope::of(one.ip()) != Scope::Loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        storage: Storage,
        rng: Rng,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
            let now = Instant::now();
            Self { storage: Storage::default(), rng: Rng::from_seed([1; 32]), now }
        }

        fn announce(&mut self, hash: u32, address: &str) {
            self.storage.announce(self::hash(hash), address.parse().unwrap(), self.now);
        }

        fn peers(&mut self, hash: u32, count: usize) -> Vec<String> {
            let found = self.storage.peers(&self::hash(hash), count, self.now, &mut self.rng);
            found.iter().map(SocketAddr::to_string).collect()
        }
    }

    fn hash(number: u32) -> NodeId {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&number.to_be_bytes());
        NodeId(id)
    }

    #[test]
    fn an_ip_address_has_one_entry_per_infohash_the_newest() {
        let mut bench = Bench::new();
        bench.announce(1, "8.8.8.8:1");
        bench.announce(1, "8.8.8.8:2");
        bench.announce(2, "8.8.8.8:3");
        assert_eq!(bench.peers(1, 10), ["8.8.8.8:2"]);
        assert_eq!(bench.peers(2, 10), ["8.8.8.8:3"]);
    }

    #[test]
    fn several_nodes_on_this_machine_are_kept() {
        let mut bench = Bench::new();
        bench.announce(1, "127.0.0.1:1");
        bench.announce(1, "127.0.0.1:2");
        assert_eq!(bench.peers(1, 10).len(), 2);
    }

    #[test]
    fn port_zero_is_refused() {
        let mut bench = Bench::new();
        bench.announce(1, "8.8.8.8:0");
        assert!(bench.storage.is_empty());
    }

    #[test]
    fn an_announce_ends_after_half_an_hour_unless_it_is_repeated() {
        let mut bench = Bench::new();
        bench.announce(1, "8.8.8.8:1");
        bench.announce(1, "8.8.4.4:1");
        bench.now += Duration::from_secs(20 * 60);
        bench.announce(1, "8.8.8.8:1");
        bench.now += Duration::from_secs(10 * 60);
        assert_eq!(bench.peers(1, 10), ["8.8.8.8:1"]);
        bench.now += Duration::from_secs(20 * 60);
        bench.storage.expire(bench.now);
        assert!(bench.storage.is_empty());
    }

    #[test]
    fn of_ten_thousand_peers_five_hundred_are_kept_and_any_of_them_are_drawn() {
        let mut bench = Bench::new();
        for at in 0..10_000_u32 {
            let [_, _, high, low] = at.to_be_bytes();
            bench.announce(1, &format!("8.8.{high}.{low}:1"));
        }
        assert_eq!(bench.peers(1, usize::MAX).len(), DHT_STORED_PEERS_MAX);
        let (one, other) = (bench.peers(1, 100), bench.peers(1, 100));
        assert_eq!(one.len(), 100);
        assert_ne!(one, other);
        let once: std::collections::BTreeSet<_> = one.iter().collect();
        assert_eq!(once.len(), 100);
    }

    #[test]
    fn of_ten_thousand_infohashes_two_thousand_are_kept_the_most_wanted_among_them() {
        let mut bench = Bench::new();
        bench.announce(0, "8.8.8.8:1");
        bench.announce(0, "8.8.4.4:1");
        (1..10_000).for_each(|number| bench.announce(number, "8.8.8.8:1"));
        assert_eq!(bench.storage.len(), DHT_STORED_HASHES_MAX);
        assert_eq!(bench.peers(0, 10).len(), 2);
        let (sample, total) = bench.storage.sample(20, &mut bench.rng);
        assert_eq!((sample.len(), total), (20, DHT_STORED_HASHES_MAX));
    }
}

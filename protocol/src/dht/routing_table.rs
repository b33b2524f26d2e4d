//! Which nodes are known (BEP 5, "Routing Table"): many near our own id, few far from it.
//!
//! ```text
//! bucket   0     1     2     3     4     5 ...  last
//! shared   0     1     2     3     4     5      as many bits as its number, or more
//! room    128    64    32    16    8     8      8          (libtorrent's; BEP 5 has 8 everywhere)
//! ```
//!
//! The last bucket splits when it is full. A bucket that is full keeps a few nodes in reserve for
//! those that fail. Only nodes that answered us are kept; whoever calls [`RoutingTable::answered`]
//! sees to that. A node that works is not driven out but by one whose id is bound to its address
//! (BEP 42), and only if its own is not. There is one node per IP address and there are few per
//! network, so that many names do not make many nodes. Addresses that are not global are free of all
//! this: they are a laboratory's.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::limits::{DHT_RESERVE_NODES_MAX, DHT_TABLE_NODES_PER_NETWORK_MAX};
use crate::scope::Scope;

use super::message::Contact;
use super::node_id::{ID_BITS, NodeId};

/// Room of a bucket (BEP 5: K).
pub const K: usize = 8;
/// Room of the first buckets, in multiples of [`K`]: libtorrent's extended routing table.
const FIRST_BUCKETS: [usize; 4] = [16, 8, 4, 2];
/// Failures in a row after which a node is forgotten even if there is none to take its place.
const FAILURES_MAX: u8 = 3;
/// So many more bits than the nearest other an id may share with ours by chance: one in eight does by
/// more than 3, and is only missed.
const LUCKY_BITS: usize = 3;

/// A node of the table.
#[derive(Debug, Clone, Copy)]
struct Entry {
    contact: Contact,
    /// The id is valid for the address.
    secure: bool,
    failures: u8,
    /// When it last answered.
    seen: Instant,
    /// When it was last asked something to keep it fresh.
    asked: Option<Instant>,
}

#[derive(Debug, Default)]
struct Bucket {
    live: Vec<Entry>,
    /// Nodes that answered and found no room; the newest last.
    reserve: Vec<Entry>,
}

/// The nodes known over one IP version.
#[derive(Debug)]
pub struct RoutingTable {
    own: NodeId,
    buckets: Vec<Bucket>,
}

/// Two addresses of one network count as one hand's: a /24 of IPv4, a /64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(u64);

impl Network {
    /// The network of an address; `None` if it is not global, as those are not counted.
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Self> {
        if Scope::of(ip) != Scope::Global {
            return None;
        }
        Some(match ip.to_canonical() {
            IpAddr::V4(ip) => Self(u64::from(ip.to_bits() >> 8)),
            // No global IPv6 network has a number as low as one of IPv4 has.
            IpAddr::V6(ip) => Self((ip.to_bits() >> 64) as u64),
        })
    }
}

impl RoutingTable {
    /// Starts with no node.
    #[must_use]
    pub fn new(own: NodeId) -> Self {
        Self { own, buckets: vec![Bucket::default()] }
    }

    /// Nodes that are not in reserve.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.live.len()).sum()
    }

    /// Whether no node is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.live.is_empty())
    }

    /// How many buckets there are.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// How many buckets after the first have half a [`K`] of nodes, up to the first that has not (libtorrent).
    #[must_use]
    pub fn depth(&self) -> usize {
        self.buckets.iter().skip(1).take_while(|bucket| bucket.live.len() >= K / 2).count()
    }

    /// Bytes held, reserves included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entries: usize =
            self.buckets.iter().map(|it| it.live.capacity() + it.reserve.capacity()).sum();
        entries * size_of::<Entry>() + self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Whether this very address is a node's that works.
    #[must_use]
    pub fn knows(&self, address: SocketAddr) -> bool {
        self.live().any(|entry| entry.contact.address == address && entry.failures == 0)
    }

    /// Notes that a node has answered; tells whether it is in the table now.
    pub fn answered(&mut self, contact: Contact, now: Instant) -> bool {
        if contact.id == self.own {
            return false;
        }
        if let Some(entry) = self.entry_mut(&contact) {
            entry.failures = 0;
            entry.seen = now;
            return true;
        }
        let secure = contact.id.is_secure_for(contact.address.ip());
        self.insert(Entry { contact, secure, failures: 0, seen: now, asked: None })
    }

    /// Whether a node that has not answered yet would be taken in if it did.
    #[must_use]
    pub fn has_room_for(&self, contact: &Contact) -> bool {
        let known = self.live().any(|it| {
            it.contact.id == contact.id || same_host(it.contact.address, contact.address)
        });
        let at = self.bucket_of(&contact.id);
        let bucket = &self.buckets[at];
        let may_split = at + 1 == self.buckets.len();
        contact.id != self.own
            && !known
            && !self.is_crowded(contact.address)
            && (may_split
                || bucket.live.len() < room(at)
                || bucket.live.iter().any(|entry| entry.failures > 0))
    }

    /// Notes that a node has not answered.
    pub fn failed(&mut self, contact: &Contact) {
        let at = self.bucket_of(&contact.id);
        let bucket = &mut self.buckets[at];
        let Some(index) = bucket.live.iter().position(|entry| entry.contact == *contact) else {
            bucket.reserve.retain(|entry| entry.contact != *contact);
            return;
        };
        bucket.live[index].failures += 1;
        let replacement = best_reserve(&bucket.reserve);
        if let Some(from) = replacement {
            bucket.live[index] = bucket.reserve.remove(from);
        } else if bucket.live[index].failures >= FAILURES_MAX {
            bucket.live.swap_remove(index);
        }
    }

    /// The `count` nodes that are nearest to `target`, nearest first; those that failed last time only
    /// with `failed_too`. Nodes whose ids are not bound to their address are at most half of them,
    /// unless there are too few others.
    #[must_use]
    pub fn closest(&self, target: &NodeId, count: usize, failed_too: bool) -> Vec<Contact> {
        let nearest = |secure: bool| {
            let usable = |it: &&Entry| it.secure == secure && (failed_too || it.failures == 0);
            let mut found: Vec<Contact> = self.live().filter(usable).map(|it| it.contact).collect();
            keep_nearest(&mut found, target, count);
            found
        };
        let (mut found, mut insecure) = (nearest(true), nearest(false));
        let missing = count.saturating_sub(found.len());
        insecure.truncate(missing.max(count / 2));
        found.append(&mut insecure);
        keep_nearest(&mut found, target, count);
        found
    }

    /// Takes the node to ask next whether it is still there: the one that was neither heard from nor
    /// asked for longest, however lately that was (libtorrent).
    pub fn take_stalest(&mut self, now: Instant) -> Option<Contact> {
        let touched = |entry: &Entry| entry.asked.map_or(entry.seen, |asked| asked.max(entry.seen));
        // From our own neighbourhood outwards, so that of equals the nearer one is asked.
        let nearest_first = self.buckets.iter_mut().rev().flat_map(|bucket| &mut bucket.live);
        let stalest = nearest_first.min_by_key(|entry| touched(entry))?;
        stalest.asked = Some(now);
        Some(stalest.contact)
    }

    /// Whether there is no room where this id belongs, so that to hear of others there is of no use.
    #[must_use]
    pub fn is_full_around(&self, id: &NodeId) -> bool {
        let bits = self.own.shared_bits(id);
        self.buckets.get(bits).is_some_and(|bucket| bucket.live.len() >= room(bits))
    }

    /// All nodes that work, those nearest to us first: worth keeping for the next run.
    #[must_use]
    pub fn good(&self, count: usize) -> Vec<Contact> {
        self.closest(&self.own, count, false)
    }

    /// Goes by another id from now on, and keeps the nodes that find room around it.
    pub fn rename(&mut self, own: NodeId) {
        let buckets = std::mem::take(&mut self.buckets);
        self.own = own;
        self.buckets.push(Bucket::default());
        let (live, reserve): (Vec<_>, Vec<_>) =
            buckets.into_iter().map(|bucket| (bucket.live, bucket.reserve)).unzip();
        for entry in live.into_iter().flatten().chain(reserve.into_iter().flatten()) {
            if entry.contact.id != own {
                self.insert(entry);
            }
        }
    }

    fn live(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.live)
    }

    fn entry_mut(&mut self, contact: &Contact) -> Option<&mut Entry> {
        let at = self.bucket_of(&contact.id);
        self.buckets[at].live.iter_mut().find(|entry| entry.contact == *contact)
    }

    fn bucket_of(&self, id: &NodeId) -> usize {
        self.own.shared_bits(id).min(self.buckets.len() - 1)
    }

    fn is_crowded(&self, address: SocketAddr) -> bool {
        let Some(network) = Network::of(address.ip()) else { return false };
        self.live().filter(|entry| Network::of(entry.contact.address.ip()) == Some(network)).count()
            >= DHT_TABLE_NODES_PER_NETWORK_MAX
    }

    /// Whether an id that anybody can claim is nearer to ours than chance allows: much nearer than the
    /// nearest of those that cannot be claimed. It would take the place of our true neighbours.
    fn is_too_near(&self, id: &NodeId) -> bool {
        let secure = self.live().filter(|entry| entry.secure);
        let (count, most) = secure.fold((0, 0), |(count, most), entry| {
            (count + 1, self.own.shared_bits(&entry.contact.id).max(most))
        });
        count >= K && self.own.shared_bits(id) > most + LUCKY_BITS
    }

    /// Puts a node where it belongs, if the rules allow it and there is room.
    fn insert(&mut self, entry: Entry) -> bool {
        if !self.clear_place_for(&entry)
            || self.is_crowded(entry.contact.address)
            || (!entry.secure && self.is_too_near(&entry.contact.id))
        {
            return false;
        }
        loop {
            let at = self.bucket_of(&entry.contact.id);
            if self.buckets[at].live.len() < room(at) {
                self.buckets[at].live.push(entry);
                return true;
            }
            if at + 1 < self.buckets.len() || self.buckets.len() == ID_BITS {
                return self.buckets[at].replace(entry);
            }
            self.split();
        }
    }

    /// Removes what a node that answers under a new id has left behind: its old self. Says no if its
    /// id is another's, or its IP address is that of another node that works.
    fn clear_place_for(&mut self, entry: &Entry) -> bool {
        let address = entry.contact.address;
        for bucket in &mut self.buckets {
            bucket.reserve.retain(|it| !same_host(it.contact.address, address));
            bucket.live.retain(|it| it.contact.address != address);
        }
        !self.live().any(|it| {
            it.contact.id == entry.contact.id
                || (same_host(it.contact.address, address) && it.failures == 0)
        })
    }

    /// Parts the last bucket by one more bit, and the new last one too while it is too full.
    fn split(&mut self) {
        while self.buckets.len() < ID_BITS {
            let (own, at) = (self.own, self.buckets.len() - 1);
            let last = &mut self.buckets[at];
            let nearer = |entry: &Entry| own.shared_bits(&entry.contact.id) > at;
            let next = Bucket {
                live: last.live.extract_if(.., |entry| nearer(entry)).collect(),
                reserve: last.reserve.extract_if(.., |entry| nearer(entry)).collect(),
            };
            while last.live.len() > room(at)
                && let Some(entry) = last.live.pop()
            {
                last.hold(entry);
            }
            let done = next.live.len() <= room(at + 1);
            self.buckets.push(next);
            if done {
                return;
            }
        }
    }
}

impl Bucket {
    /// Puts a node in the place of one that is worse, or in reserve.
    fn replace(&mut self, entry: Entry) -> bool {
        let worst = self.live.iter_mut().max_by_key(|it| (it.failures, !it.secure, entry.seen));
        match worst {
            Some(worst) if worst.failures > 0 => {
                *worst = entry;
                true
            }
            Some(worst) if entry.secure && !worst.secure => {
                let driven_out = std::mem::replace(worst, entry);
                self.hold(driven_out);
                true
            }
            Some(_) | None => {
                self.hold(entry);
                false
            }
        }
    }

    fn hold(&mut self, entry: Entry) {
        if self.reserve.len() >= DHT_RESERVE_NODES_MAX {
            // The first whose id is bound to nothing, or else the oldest.
            let at = self.reserve.iter().position(|it| !it.secure).unwrap_or(0);
            self.reserve.remove(at);
        }
        self.reserve.push(entry);
    }
}

fn keep_nearest(contacts: &mut Vec<Contact>, target: &NodeId, count: usize) {
    let distance = |contact: &Contact| target.distance(&contact.id);
    if contacts.len() > count && count > 0 {
        contacts.select_nth_unstable_by_key(count - 1, distance);
    }
    contacts.truncate(count);
    contacts.sort_unstable_by_key(distance);
}

fn best_reserve(reserve: &[Entry]) -> Option<usize> {
    let newest = reserve.iter().enumerate();
    newest.max_by_key(|(at, entry)| (entry.secure, *at)).map(|(at, _)| at)
}

fn room(bucket: usize) -> usize {
    FIRST_BUCKETS.get(bucket).map_or(K, |times| times * K)
}

/// Whether both are one IP address; addresses that are not global differ by their ports too.
pub(super) fn same_host(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip() == other.ip() && (one.port() == other.port() || Scope::of(one.ip()) == Scope::Global)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::crypto::Rng;

    const OWN: NodeId = NodeId([0; 20]);

    struct Bench {
        table: RoutingTable,
        rng: Rng,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
            let now = Instant::now();
            Self { table: RoutingTable::new(OWN), rng: Rng::from_seed([3; 32]), now }
        }

        fn answered(&mut self, contact: Contact) -> bool {
            self.table.answered(contact, self.now)
        }

        /// A node of this machine that shares this many bits with us.
        fn local(&mut self, bits: usize, port: u16) -> Contact {
            let id = OWN.random_at(bits, &mut self.rng);
            Contact { id, address: ([127, 0, 0, 1], port).into() }
        }

        /// A node on the internet; one with a secure id shares few bits with anybody.
        fn global(&mut self, address: &str, secure: bool) -> Contact {
            let address: SocketAddr = address.parse().unwrap();
            let mut id = NodeId::secure(address.ip(), &mut self.rng);
            if !secure {
                id.0[0] ^= 0x01;
            }
            Contact { id, address }
        }
    }

    #[test]
    fn far_buckets_are_wide_and_near_ones_narrow() {
        let mut bench = Bench::new();
        for port in 1..=1000 {
            let bits = usize::from(port) % 6;
            let contact = bench.local(bits, port);
            bench.answered(contact);
        }
        let sizes: Vec<_> = bench.table.buckets.iter().map(|it| it.live.len()).collect();
        assert_eq!(sizes[..6], [128, 64, 32, 16, 8, 8]);
        assert!(bench.table.buckets.iter().all(|it| it.reserve.len() <= DHT_RESERVE_NODES_MAX));
        assert!(bench.table.bytes() < 64 * 1024);
    }

    #[test]
    fn the_nearest_nodes_are_found_in_their_order() {
        let mut bench = Bench::new();
        for port in 1..=300 {
            let bits = usize::from(port) % 8;
            let contact = bench.local(bits, port);
            bench.answered(contact);
        }
        let target = NodeId::random(&mut bench.rng);
        let found = bench.table.closest(&target, 8, false);
        let mut all: Vec<_> = bench.table.live().map(|it| it.contact).collect();
        all.sort_by_key(|it| target.distance(&it.id));
        assert_eq!(found, all[..8]);
        assert_eq!(bench.table.closest(&target, 1000, false).len(), all.len());
        assert!(RoutingTable::new(OWN).closest(&target, 8, true).is_empty());
    }

    #[test]
    fn neither_we_nor_one_ip_address_twice_are_taken_in() {
        let mut bench = Bench::new();
        let us = Contact { id: OWN, address: "8.8.8.8:1".parse().unwrap() };
        assert!(!bench.answered(us));
        let (one, other) = (bench.global("8.8.8.8:1", true), bench.global("8.8.8.8:2", true));
        assert!(bench.answered(one) && !bench.answered(other));
        assert!(!bench.table.has_room_for(&other));
        bench.table.failed(&one);
        assert!(bench.answered(other), "the old one has failed");
    }

    #[test]
    fn a_node_under_a_new_name_takes_its_own_place() {
        let mut bench = Bench::new();
        let (one, other) = (bench.global("8.8.8.8:1", false), bench.global("8.8.8.8:1", true));
        assert!(bench.answered(one) && bench.answered(other));
        assert_eq!(bench.table.good(8), [other]);
    }

    #[test]
    fn a_name_cannot_be_taken_from_whoever_has_it() {
        let mut bench = Bench::new();
        let one = bench.global("8.8.8.8:1", true);
        let thief = Contact { address: "9.9.9.9:1".parse().unwrap(), ..one };
        assert!(bench.answered(one) && !bench.answered(thief));
        assert_eq!(bench.table.good(8), [one]);
    }

    #[test]
    fn a_network_gets_few_places() {
        let mut bench = Bench::new();
        let v4 = (1..=9).map(|host| format!("8.8.8.{host}:1"));
        let v6 = (1..=9).map(|host| format!("[2a00::{host}]:1"));
        for address in v4.chain(v6) {
            let contact = bench.global(&address, true);
            bench.answered(contact);
        }
        assert_eq!(bench.table.len(), 2 * DHT_TABLE_NODES_PER_NETWORK_MAX);
        for port in 1..=9 {
            let contact = bench.local(3, port);
            assert!(bench.answered(contact), "a laboratory is on one network");
        }
    }

    #[test]
    fn a_name_bound_to_its_address_drives_out_one_that_is_not_and_no_other() {
        let mut bench = Bench::new();
        // Whichever bucket they fall into: they are all in the first that is full.
        let full = |bench: &mut Bench, net: u8, secure: bool| {
            for at in 0..=255 {
                let contact = bench.global(&format!("{net}.{at}.1.1:1"), secure);
                bench.answered(contact);
            }
        };
        let secure = |bench: &Bench| bench.table.live().filter(|it| it.secure).count();
        full(&mut bench, 8, false);
        let before = bench.table.len();
        full(&mut bench, 9, true);
        let among = secure(&bench);
        assert!(among > before / 2, "{among} of {before}");
        full(&mut bench, 11, false);
        assert!(secure(&bench) >= among);
    }

    #[test]
    fn names_that_are_too_near_to_be_true_are_refused_once_there_are_true_ones() {
        let mut bench = Bench::new();
        for at in 1..=40 {
            let contact = bench.global(&format!("8.{at}.1.1:1"), true);
            bench.answered(contact);
        }
        let mut false_id = bench.global("9.9.9.9:1", false);
        false_id.id = OWN.random_at(100, &mut bench.rng);
        assert!(!bench.answered(false_id));
        assert!(bench.table.buckets() < 20);
    }

    #[test]
    fn a_node_that_fails_gives_way_to_one_in_reserve_or_is_forgotten_in_the_end() {
        let mut bench = Bench::new();
        let contacts: Vec<_> = (1..=9).map(|port| bench.local(6, port)).collect();
        // Eight that share more make the bucket of these one that cannot split.
        for port in 101..=400 {
            let contact = bench.local(usize::from(port) % 6, port);
            bench.answered(contact);
        }
        let near: Vec<_> = (501..=508).map(|port| bench.local(7, port)).collect();
        for contact in contacts.iter().chain(&near) {
            bench.answered(*contact);
        }
        assert!(!bench.table.knows(contacts[8].address), "in reserve");
        bench.table.failed(&contacts[0]);
        assert!(bench.table.knows(contacts[8].address) && !bench.table.knows(contacts[0].address));
        for failures in 1..=FAILURES_MAX {
            assert!(bench.table.entry_mut(&contacts[1]).is_some(), "{failures}");
            bench.table.failed(&contacts[1]);
        }
        assert!(bench.table.entry_mut(&contacts[1]).is_none());
    }

    #[test]
    fn a_node_that_failed_is_not_recommended_until_it_answers() {
        let mut bench = Bench::new();
        let contact = bench.local(3, 1);
        bench.answered(contact);
        bench.table.failed(&contact);
        assert!(bench.table.closest(&OWN, 8, false).is_empty());
        assert_eq!(bench.table.closest(&OWN, 8, true), [contact]);
        bench.answered(contact);
        assert_eq!(bench.table.closest(&OWN, 8, false), [contact]);
    }

    #[test]
    fn all_nodes_are_asked_in_turn_the_one_not_heard_from_for_longest_first() {
        let mut bench = Bench::new();
        assert_eq!(bench.table.take_stalest(bench.now), None);
        let nodes = [bench.local(3, 1), bench.local(4, 2), bench.local(5, 3)];
        let wait = |bench: &mut Bench| bench.now += Duration::from_secs(1);
        for node in nodes {
            bench.answered(node);
            wait(&mut bench);
        }
        for _ in 0..3 {
            for node in nodes {
                assert_eq!(bench.table.take_stalest(bench.now), Some(node));
                wait(&mut bench);
            }
        }
        bench.answered(nodes[0]);
        wait(&mut bench);
        let asked: Vec<_> = (0..3)
            .filter_map(|_| {
                wait(&mut bench);
                bench.table.take_stalest(bench.now)
            })
            .collect();
        assert_eq!(asked, [nodes[1], nodes[2], nodes[0]], "who has just been heard from is last");
    }

    #[test]
    fn a_table_is_as_deep_as_its_buckets_have_nodes_and_full_where_nobody_finds_room() {
        let mut bench = Bench::new();
        let far = bench.local(0, 9999);
        assert!(bench.table.depth() == 0 && !bench.table.is_full_around(&far.id));
        for port in 1..=1000 {
            let bits = usize::from(port) % 6;
            let contact = bench.local(bits, port);
            bench.answered(contact);
        }
        assert_eq!(bench.table.depth(), 5);
        assert!(bench.table.is_full_around(&far.id));
        let near = bench.local(40, 9998);
        assert!(!bench.table.is_full_around(&near.id), "the last bucket can split");
        bench.table.buckets[2].live.truncate(K / 2 - 1);
        assert_eq!(bench.table.depth(), 1);
    }

    #[test]
    fn under_a_new_name_the_nodes_are_kept_in_other_buckets() {
        let mut bench = Bench::new();
        for port in 1..=30 {
            let contact = bench.local(usize::from(port) % 4, port);
            bench.answered(contact);
        }
        let own = NodeId([0xff; 20]);
        bench.table.rename(own);
        assert_eq!(bench.table.len(), 30);
        let nearest = bench.table.good(1)[0];
        assert!(
            bench
                .table
                .live()
                .all(|it| { own.distance(&it.contact.id) >= own.distance(&nearest.id) })
        );
    }
}

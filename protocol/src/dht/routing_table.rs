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
use std::time::{Duration, Instant};

use crate::crypto::Rng;
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
/// A node that was heard of, or asked, this lately needs no question to keep it fresh.
const FRESH: Duration = Duration::from_secs(5 * 60);

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
    pub fn depth(&self) -> usize {
        self.buckets.len()
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

    /// Takes the node that most needs to be asked whether it is still there, and a place to ask it
    /// about: one from which it may know nodes that its bucket lacks.
    pub fn take_stalest(&mut self, now: Instant, rng: &mut Rng) -> Option<(Contact, NodeId)> {
        let touched = |entry: &Entry| entry.asked.map_or(entry.seen, |asked| asked.max(entry.seen));
        let (own, mut stalest) = (self.own, None::<(usize, &mut Entry)>);
        // From our own neighbourhood outwards, so that of equals the nearer one is asked.
        for (bits, bucket) in self.buckets.iter_mut().enumerate().rev() {
            for entry in &mut bucket.live {
                if stalest.as_ref().is_none_or(|(_, other)| touched(entry) < touched(other)) {
                    stalest = Some((bits, entry));
                }
            }
        }
        let (bits, entry) = stalest?;
        if now < touched(entry) + FRESH {
            return None;
        }
        entry.asked = Some(now);
        Some((entry.contact, own.random_at(bits, rng)))
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

//! One look-up: finds the nodes nearest to a target by asking ever nearer ones.
//!
//! ```text
//!            ask                     answer
//! Fresh -----------> Asked -----------------------------> Answered
//!                    |   ^ no answer for 1 s: one more      ^
//!                    |   | may be asked meanwhile           | late, but not too late
//!                    |   '-- slow --------------------------'
//!                    '-----> Failed     no answer at all, or an error
//! ```
//!
//! As libtorrent does it ("aggressive look-ups"): as many of the nearest candidates as the look-up has
//! branches are always being asked, and it ends when the [`K`] nearest that have not failed have
//! answered. Failing nodes widen the branches.
//!
//! # Against liars
//!
//! Anybody can claim an id next to the target. One that is valid for its address (BEP 42) cannot be
//! claimed, only be found by chance. So as long as there are such *secure* candidates to ask, the
//! others get no more than half of the places among the [`K`], and only a part of the branches and
//! of the questions. Where nobody has a secure id, nobody is held back.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::limits::{
    DHT_LOOKUP_BRANCHES_MAX, DHT_LOOKUP_CANDIDATES_MAX, DHT_LOOKUP_INSECURE_QUERIES_MAX,
    DHT_LOOKUP_NODES_PER_NETWORK_MAX, DHT_LOOKUP_QUERIES_MAX,
};

use super::message::Contact;
use super::node_id::{Distance, NodeId};
use super::routing_table::{K, Network, same_host};

/// Candidates asked at once (libtorrent: `search_branching`).
const BRANCHES: usize = 5;
/// Of them, how many may have an id that anybody can claim, while there are others to ask.
const INSECURE_BRANCHES: usize = 2;
/// Places among the [`K`] nearest for ids that anybody can claim, while there are others to ask.
const INSECURE_PLACES: usize = K / 4;

/// How many more bits than the nearest secure candidate another may share with the target; one in 256
/// does by chance.
const IMPOSSIBLE_BITS: usize = 8;
/// How many of the nearest must have answered once somebody has lied: a liar does not tell of true
/// nodes, so that more of those nearby may be unknown.
const PLACES_AMONG_LIARS: usize = 2 * K;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Fresh,
    Asked { slow: bool },
    Answered { token: Option<Vec<u8>> },
    Failed,
}

#[derive(Debug)]
struct Candidate {
    contact: Contact,
    distance: Distance,
    secure: bool,
    /// The look-up started from it.
    first: bool,
    progress: Progress,
}

impl Candidate {
    fn token(&self) -> Option<&[u8]> {
        match &self.progress {
            Progress::Answered { token } => token.as_deref(),
            Progress::Fresh | Progress::Asked { .. } | Progress::Failed => None,
        }
    }
}

/// What a look-up wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask this candidate; it counts as asked from now on.
    Ask(Contact),
    /// Nothing until somebody answers or fails.
    Wait,
    /// Nothing any more: the look-up has ended.
    Done,
}

/// A look-up under way.
#[derive(Debug)]
pub struct Lookup {
    target: NodeId,
    own: NodeId,
    /// Nearest first.
    candidates: Vec<Candidate>,
    per_network: BTreeMap<Network, usize>,
    branches: usize,
    under_way: usize,
    asked: usize,
    asked_insecure: usize,
    answered: usize,
    /// Somebody has named nodes that cannot be.
    lied_to: bool,
}

impl Lookup {
    /// Starts without candidates; `own` is never asked.
    #[must_use]
    pub fn new(target: NodeId, own: NodeId) -> Self {
        Self {
            target,
            own,
            candidates: Vec::new(),
            per_network: BTreeMap::new(),
            branches: BRANCHES,
            under_way: 0,
            asked: 0,
            asked_insecure: 0,
            answered: 0,
            lied_to: false,
        }
    }

    /// What is looked for.
    #[must_use]
    pub const fn target(&self) -> NodeId {
        self.target
    }

    /// How many nodes were asked.
    #[must_use]
    pub const fn asked(&self) -> usize {
        self.asked
    }

    /// How many nodes have answered.
    #[must_use]
    pub const fn answered(&self) -> usize {
        self.answered
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.candidates.capacity() * size_of::<Candidate>()
    }

    /// Takes a node to start from.
    pub fn seed(&mut self, contact: Contact) {
        if !self.is_known(&contact) {
            self.insert(contact, true, Progress::Fresh);
        }
    }

    /// Takes a node that is as good as one to start from, but is not marked as such.
    pub fn suggest(&mut self, contact: Contact) {
        if !self.is_known(&contact) {
            self.insert(contact, false, Progress::Fresh);
        }
    }

    /// Whether the look-up started from this node.
    #[must_use]
    pub fn is_seed(&self, contact: &Contact) -> bool {
        self.candidates.iter().any(|it| it.first && it.contact == *contact)
    }

    /// Takes a node that another has named, unless its network has had its share.
    pub fn offer(&mut self, contact: Contact) {
        if self.is_known(&contact) {
            return;
        }
        if let Some(network) = Network::of(contact.address.ip()) {
            let count = self.per_network.entry(network).or_default();
            if *count >= DHT_LOOKUP_NODES_PER_NETWORK_MAX {
                return;
            }
            *count += 1;
        }
        self.lied_to |= self.is_impossible(&contact);
        self.insert(contact, false, Progress::Fresh);
    }

    /// Says what to do next. Must be called until it says something else than [`Step::Ask`].
    pub fn step(&mut self) -> Step {
        self.step_if(true)
    }

    /// Says what to do next; without `room` for one more question nobody is asked.
    pub fn step_if(&mut self, room: bool) -> Step {
        let step = self.plan();
        let Step::Ask(contact) = step else { return step };
        if !room {
            return Step::Wait;
        }
        if let Some(candidate) = self.find(contact.address) {
            candidate.progress = Progress::Asked { slow: false };
            let insecure = usize::from(!candidate.secure);
            self.under_way += 1;
            self.asked += 1;
            self.asked_insecure += insecure;
        }
        step
    }

    /// A candidate has answered, under the name of `id`; tells whether it was asked.
    pub fn on_answer(&mut self, from: SocketAddr, id: NodeId, token: Option<&[u8]>) -> bool {
        let Some(slow) = self.settle(from) else { return false };
        self.answered += 1;
        self.narrow(slow);
        let progress = Progress::Answered { token: token.map(<[u8]>::to_vec) };
        let Some(at) = self.candidates.iter().position(|it| it.contact.address == from) else {
            return true;
        };
        if self.candidates[at].contact.id == id {
            self.candidates[at].progress = progress;
        } else {
            // It has another name than was said of it, or had none: its place is elsewhere.
            self.candidates.remove(at);
            if id != self.own && self.candidates.iter().all(|it| it.contact.id != id) {
                self.insert(Contact { id, address: from }, false, progress);
            }
        }
        true
    }

    /// A candidate has not answered for a second: it may still, but is not waited for.
    pub fn on_slow(&mut self, from: SocketAddr) {
        if let Some(candidate) = self.find(from)
            && candidate.progress == (Progress::Asked { slow: false })
        {
            candidate.progress = Progress::Asked { slow: true };
            self.branches = (self.branches + 1).min(DHT_LOOKUP_BRANCHES_MAX);
        }
    }

    /// A candidate will not answer.
    pub fn on_failure(&mut self, from: SocketAddr) {
        let Some(slow) = self.settle(from) else { return };
        self.narrow(slow);
        if let Some(candidate) = self.find(from) {
            candidate.progress = Progress::Failed;
        }
    }

    /// The nearest nodes that gave a token, with it: those to announce to, `count` at most.
    #[must_use]
    pub fn closest_with_token(&self, count: usize) -> Vec<(Contact, &[u8])> {
        let mut insecure = 0;
        // Those that fit into their share first, then the rest; each nearest first.
        let (mut chosen, rest): (Vec<_>, Vec<_>) =
            self.candidates.iter().filter_map(|it| it.token().map(|token| (it, token))).partition(
                |(it, _)| {
                    insecure += usize::from(!it.secure);
                    it.secure || insecure <= INSECURE_PLACES
                },
            );
        chosen.truncate(count);
        chosen.extend(rest.into_iter().take(count - chosen.len()));
        chosen.into_iter().map(|(it, token)| (it.contact, token)).collect()
    }

    /// Candidates that nobody has asked, nearest first.
    pub fn unasked(&self) -> impl DoubleEndedIterator<Item = Contact> {
        let unasked = |it: &&Candidate| it.progress == Progress::Fresh;
        self.candidates.iter().filter(unasked).map(|it| it.contact)
    }

    /// Goes through the candidates, nearest first, until as many are being asked as there are branches
    /// or as many have answered as are wanted.
    fn plan(&self) -> Step {
        let may_ask = self.asked < DHT_LOOKUP_QUERIES_MAX;
        let hold_back = self.candidates.iter().any(|it| {
            it.secure && (may_ask && it.progress == Progress::Fresh || is_asked(&it.progress))
        });
        let mut places = if self.lied_to { PLACES_AMONG_LIARS } else { K };
        let mut insecure_places = if hold_back { INSECURE_PLACES } else { K };
        let (mut outstanding, mut insecure_outstanding) = (0, 0);
        // Places that are taken, or will be if whoever is asked answers: nobody further away is asked
        // in vain. libtorrent does ask them.
        let mut open = places;
        for candidate in &self.candidates {
            if open == 0 || outstanding >= self.branches {
                break;
            }
            let insecure = usize::from(!candidate.secure);
            if insecure > insecure_places {
                continue;
            }
            match candidate.progress {
                Progress::Answered { .. } => {
                    open -= 1;
                    places -= 1;
                    insecure_places -= insecure;
                }
                Progress::Asked { slow } => {
                    open -= usize::from(!slow);
                    outstanding += 1;
                    insecure_outstanding += insecure;
                }
                Progress::Failed => {}
                Progress::Fresh => {
                    let held_back = hold_back
                        && insecure == 1
                        && (insecure_outstanding >= INSECURE_BRANCHES
                            || self.asked_insecure >= DHT_LOOKUP_INSECURE_QUERIES_MAX);
                    if may_ask && !held_back {
                        return Step::Ask(candidate.contact);
                    }
                }
            }
        }
        let ended = places == 0 && outstanding == 0;
        if ended || self.under_way == 0 { Step::Done } else { Step::Wait }
    }

    /// Whether a name that anybody can claim is so much nearer to the target than all that cannot be
    /// claimed that chance would not do it.
    fn is_impossible(&self, contact: &Contact) -> bool {
        let mut secure = self.candidates.iter().filter(|it| it.secure).peekable();
        let Some(nearest) = secure.peek().map(|it| it.distance.leading_zeros()) else {
            return false;
        };
        self.target.shared_bits(&contact.id) > nearest + IMPOSSIBLE_BITS
            && secure.count() >= K
            && !contact.id.is_secure_for(contact.address.ip())
    }

    fn is_known(&self, contact: &Contact) -> bool {
        contact.id == self.own
            || self.candidates.iter().any(|it| {
                it.contact.id == contact.id || same_host(it.contact.address, contact.address)
            })
    }

    fn insert(&mut self, contact: Contact, first: bool, progress: Progress) {
        let distance = self.target.distance(&contact.id);
        let secure = contact.id.is_secure_for(contact.address.ip());
        let at = self.candidates.partition_point(|it| it.distance < distance);
        self.candidates.insert(at, Candidate { contact, distance, secure, first, progress });
        self.forget_farthest(secure);
    }

    /// Keeps secure candidates and the others within their bounds, each for itself, so that the false
    /// ones next to the target do not crowd out the true ones further away.
    fn forget_farthest(&mut self, secure: bool) {
        let of_kind = |it: &&Candidate| it.secure == secure;
        if self.candidates.iter().filter(of_kind).count() > DHT_LOOKUP_CANDIDATES_MAX
            && let Some(at) = self
                .candidates
                .iter()
                .rposition(|it| it.secure == secure && !is_asked(&it.progress))
        {
            self.candidates.remove(at);
        }
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|it| it.contact.address == address)
    }

    /// Ends the wait for a candidate; tells whether it was slow, `None` if it was not waited for.
    fn settle(&mut self, from: SocketAddr) -> Option<bool> {
        let Progress::Asked { slow } = self.find(from)?.progress else { return None };
        self.under_way -= 1;
        Some(slow)
    }

    fn narrow(&mut self, was_slow: bool) {
        if was_slow {
            self.branches = (self.branches - 1).max(1);
        }
    }
}

const fn is_asked(progress: &Progress) -> bool {
    matches!(progress, Progress::Asked { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Rng;

    const TARGET: NodeId = NodeId([0; 20]);
    const OWN: NodeId = NodeId([0xff; 20]);

    fn local(id: u8, port: u16) -> Contact {
        Contact { id: NodeId([id; 20]), address: ([127, 0, 0, 1], port).into() }
    }

    fn lookup(seeds: u8) -> Lookup {
        let mut lookup = Lookup::new(TARGET, OWN);
        (1..=seeds).for_each(|id| lookup.seed(local(id, id.into())));
        lookup
    }

    /// Those it wants to ask now, by their ports.
    fn asks(lookup: &mut Lookup) -> Vec<u16> {
        let mut ports = Vec::new();
        while let Step::Ask(contact) = lookup.step() {
            ports.push(contact.address.port());
        }
        ports
    }

    fn answer(lookup: &mut Lookup, id: u8) {
        let token = [id];
        assert!(lookup.on_answer(local(id, id.into()).address, NodeId([id; 20]), Some(&token)));
    }

    #[test]
    fn the_five_nearest_are_asked_and_for_each_answer_one_more() {
        let mut lookup = lookup(12);
        assert_eq!(asks(&mut lookup), [1, 2, 3, 4, 5]);
        assert!(asks(&mut lookup).is_empty());
        answer(&mut lookup, 3);
        assert_eq!(asks(&mut lookup), [6]);
    }

    #[test]
    fn it_ends_when_the_eight_nearest_have_answered() {
        let mut lookup = lookup(12);
        for id in 1..=8 {
            asks(&mut lookup);
            answer(&mut lookup, id);
        }
        assert_eq!(lookup.step(), Step::Done);
        assert_eq!(lookup.asked(), 8, "nobody is asked in vain");
        let nearest = lookup.closest_with_token(8);
        let ports: Vec<_> = nearest.iter().map(|(it, _)| it.address.port()).collect();
        assert_eq!(ports, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(nearest.iter().all(|(it, token)| it.id.0[..1] == **token));
    }

    #[test]
    fn it_ends_without_a_candidate_and_when_all_have_failed() {
        assert_eq!(lookup(0).step(), Step::Done);
        let mut lookup = lookup(3);
        for port in asks(&mut lookup) {
            assert_eq!(lookup.step(), Step::Wait);
            lookup.on_failure(([127, 0, 0, 1], port).into());
        }
        assert_eq!(lookup.step(), Step::Done);
        assert!(lookup.closest_with_token(8).is_empty());
    }

    #[test]
    fn whoever_is_slow_is_not_waited_for_but_may_still_answer() {
        let mut lookup = lookup(12);
        asks(&mut lookup);
        lookup.on_slow(local(1, 1).address);
        lookup.on_slow(local(1, 1).address);
        assert_eq!(asks(&mut lookup), [6], "one branch more");
        answer(&mut lookup, 1);
        assert!(asks(&mut lookup).is_empty(), "and one less");
        lookup.on_failure(local(2, 2).address);
        assert_eq!(asks(&mut lookup), [7]);
        assert!(!lookup.on_answer(local(2, 2).address, NodeId([2; 20]), None), "too late");
    }

    #[test]
    fn nearer_nodes_go_first() {
        let mut lookup = lookup(0);
        (10..=19).for_each(|id| lookup.seed(local(id, id.into())));
        assert_eq!(asks(&mut lookup), [10, 11, 12, 13, 14]);
        lookup.offer(local(1, 1));
        assert_eq!(asks(&mut lookup), [1], "the nearest five are always being asked");
        answer(&mut lookup, 14);
        assert!(asks(&mut lookup).is_empty());
    }

    #[test]
    fn a_node_with_another_name_than_was_said_has_another_place() {
        let mut lookup = lookup(1);
        lookup.seed(local(2, 2));
        asks(&mut lookup);
        assert!(lookup.on_answer(local(1, 1).address, NodeId([9; 20]), Some(b"t")));
        answer(&mut lookup, 2);
        let ports: Vec<_> =
            lookup.closest_with_token(8).iter().map(|(it, _)| it.address.port()).collect();
        assert_eq!(ports, [2, 1]);
        assert_eq!(lookup.step(), Step::Done);
    }

    #[test]
    fn a_node_under_our_name_or_that_of_another_is_dropped() {
        let mut lookup = lookup(3);
        asks(&mut lookup);
        lookup.on_answer(local(1, 1).address, OWN, Some(b"t"));
        lookup.on_answer(local(2, 2).address, NodeId([3; 20]), Some(b"t"));
        answer(&mut lookup, 3);
        assert_eq!(lookup.step(), Step::Done);
        assert_eq!(lookup.closest_with_token(8).len(), 1);
    }

    #[test]
    fn candidates_are_bounded_and_the_farthest_make_room() {
        let mut lookup = lookup(0);
        for at in 0..1000_u16 {
            let mut id = [0; 20];
            id[..2].copy_from_slice(&(1000 - at).to_be_bytes());
            lookup.offer(Contact { id: NodeId(id), address: ([127, 0, 0, 1], at + 1).into() });
        }
        assert_eq!(lookup.candidates.len(), DHT_LOOKUP_CANDIDATES_MAX);
        assert_eq!(asks(&mut lookup), [1000, 999, 998, 997, 996]);
        assert!(lookup.bytes() < 64 * 1024);
    }

    #[test]
    fn one_ip_address_and_one_network_are_offered_in_vain_more_than_once_or_twice() {
        let mut lookup = lookup(0);
        for (at, address) in
            ["8.8.8.8:1", "8.8.8.8:2", "8.8.8.9:1", "8.8.8.10:1", "8.8.9.8:1"].iter().enumerate()
        {
            let id = NodeId([at as u8 + 1; 20]);
            lookup.offer(Contact { id, address: address.parse().unwrap() });
        }
        let kept: Vec<_> =
            lookup.candidates.iter().map(|it| it.contact.address.to_string()).collect();
        assert_eq!(kept, ["8.8.8.8:1", "8.8.8.9:1", "8.8.9.8:1"]);
    }

    #[test]
    fn names_next_to_the_target_do_not_crowd_out_those_bound_to_their_address() {
        let (mut lookup, rng) = (lookup(0), &mut Rng::from_seed([1; 32]));
        for at in 1..=20_u8 {
            let address = SocketAddr::from(([9, at, 1, 1], 1));
            lookup.offer(Contact { id: NodeId::secure(address.ip(), rng), address });
        }
        let liars = (1..=200_u8).map(|at| Contact {
            id: TARGET.random_at(140, rng),
            address: ([11, at, 1, 1], 1).into(),
        });
        liars.collect::<Vec<_>>().into_iter().for_each(|liar| lookup.offer(liar));
        let mut asked = Vec::new();
        while lookup.step() != Step::Done {
            let under_way: Vec<_> =
                lookup.candidates.iter().filter(|it| is_asked(&it.progress)).collect();
            let next = under_way[0].contact;
            asked.push(next.address.ip());
            assert!(lookup.on_answer(next.address, next.id, Some(b"t")));
        }
        let nearest = lookup.closest_with_token(8);
        let liars = nearest.iter().filter(|it| it.0.address.ip().to_string().starts_with("11."));
        assert_eq!((liars.count(), nearest.len()), (INSECURE_PLACES, K));
        assert!(asked.len() <= 16, "{}", asked.len());
    }

    #[test]
    fn where_nobody_has_a_name_bound_to_its_address_nobody_is_held_back() {
        let (mut lookup, rng) = (lookup(0), &mut Rng::from_seed([1; 32]));
        for at in 1..=20_u8 {
            let id = NodeId::random(rng);
            lookup.seed(Contact { id, address: ([9, at, 1, 1], 1).into() });
        }
        let mut first = 0;
        while let Step::Ask(_) = lookup.step() {
            first += 1;
        }
        assert_eq!(first, BRANCHES);
        while lookup.step() != Step::Done {
            let asked = lookup.candidates.iter().find(|it| is_asked(&it.progress)).unwrap();
            let next = asked.contact;
            lookup.on_answer(next.address, next.id, Some(b"t"));
        }
        assert_eq!(lookup.closest_with_token(8).len(), 8);
    }
}

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
const INSECURE_PLACES: usize = K / 2;

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

    /// Takes a node of our own choice.
    pub fn seed(&mut self, contact: Contact) {
        if !self.is_known(&contact) {
            self.insert(contact, Progress::Fresh);
        }
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
        self.insert(contact, Progress::Fresh);
    }

    /// Says what to do next. Must be called until it says something else than [`Step::Ask`].
    pub fn step(&mut self) -> Step {
        self.step_if(true)
    }

    /// Says what to do next; without `room` for one more question nobody is asked.
    pub fn step_if(&mut self, room: bool) -> Step {
        let step = match self.plan() {
            Step::Ask(_) if !room => return Step::Wait,
            step => step,
        };
        if let Step::Ask(contact) = step
            && let Some(candidate) = self.find(contact.address)
        {
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
                self.insert(Contact { id, address: from }, progress);
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

    /// Goes through the candidates, nearest first, until as many are being asked as there are branches
    /// or as many have answered as are wanted.
    fn plan(&self) -> Step {
        let may_ask = self.asked < DHT_LOOKUP_QUERIES_MAX;
        let hold_back = self.candidates.iter().any(|it| {
            it.secure && (may_ask && it.progress == Progress::Fresh || is_asked(&it.progress))
        });
        let (mut places, mut insecure_places) = (K, if hold_back { INSECURE_PLACES } else { K });
        let (mut outstanding, mut insecure_outstanding) = (0, 0);
        for candidate in &self.candidates {
            if places == 0 || outstanding >= self.branches {
                break;
            }
            let insecure = usize::from(!candidate.secure);
            if insecure > insecure_places {
                continue;
            }
            match candidate.progress {
                Progress::Answered { .. } => {
                    places -= 1;
                    insecure_places -= insecure;
                }
                Progress::Asked { .. } => {
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

    fn is_known(&self, contact: &Contact) -> bool {
        contact.id == self.own
            || self.candidates.iter().any(|it| {
                it.contact.id == contact.id || same_host(it.contact.address, contact.address)
            })
    }

    fn insert(&mut self, contact: Contact, progress: Progress) {
        let distance = self.target.distance(&contact.id);
        let secure = contact.id.is_secure_for(contact.address.ip());
        let at = self.candidates.partition_point(|it| it.distance < distance);
        self.candidates.insert(at, Candidate { contact, distance, secure, progress });
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

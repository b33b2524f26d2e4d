//! Look-ups of a node: whom they start from, what they ask, what comes of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::limits::DHT_LOOKUPS_MAX;
use crate::scope::{Scope, believable};
use crate::tracker::announcer::Family;

use super::super::lookup::{Lookup, Step};
use super::super::message::{Contact, Question, Response, Want};
use super::super::node_id::NodeId;
use super::super::pending::{Purpose, Tag};
use super::super::profile::QueryMix;
use super::{
    AnnouncedPort, Errand, JOIN_PAUSE_FIRST, JOIN_PAUSE_MAX, Job, Node, NodeOutput, Report, SEEDS,
    SEEDS_MIN, SELF_LOOKUP_INTERVAL, SILENCE_LONG, State,
};

impl Node {
    /// Begins to look up a swarm; `None` when there is no room for one more look-up.
    pub(in crate::dht) fn look_up(
        &mut self,
        infohash: NodeId,
        errand: Errand,
        now: Instant,
    ) -> Option<u64> {
        if self.jobs.len() >= DHT_LOOKUPS_MAX {
            return None;
        }
        let mut lookup = Lookup::new(infohash, self.id);
        for contact in self.table.closest(&infohash, SEEDS, true) {
            match errand {
                Errand::Join | Errand::Swarm { .. } => lookup.seed(contact),
                // libtorrent has no such look-up, and marks none.
                Errand::Move => lookup.suggest(contact),
            }
        }
        let silent = self.last_answer.is_some_and(|last| now >= last + SILENCE_LONG);
        let few = self.table.len() < SEEDS_MIN;
        self.last_job += 1;
        let job = self.last_job;
        self.jobs.insert(job, Job { lookup, errand });
        if few || silent {
            self.seed_from_bootstrap(job, silent);
        }
        self.advance(job, now);
        Some(job)
    }

    /// Gives up the look-ups of a swarm.
    pub(in crate::dht) fn forget_swarm(&mut self, swarm: u64) {
        self.jobs.retain(|_, job| match job.errand {
            Errand::Join | Errand::Move => true,
            Errand::Swarm { swarm: of, .. } => of != swarm,
        });
    }

    pub(super) fn join(&mut self, now: Instant) {
        let target = self.id.with_random_tail(&mut self.rng);
        let mut lookup = Lookup::new(target, self.id);
        for contact in self.table.closest(&target, SEEDS, true) {
            lookup.seed(contact);
        }
        self.last_job += 1;
        let job = self.last_job;
        self.state = State::Joining { job };
        self.jobs.insert(job, Job { lookup, errand: Errand::Join });
        self.seed_from_bootstrap(job, self.failures > 0);
        self.advance(job, now);
    }

    /// Adds those we were given to a look-up: routers only if there are few others, or in vain.
    pub(super) fn seed_from_bootstrap(&mut self, job: u64, in_vain: bool) {
        let nodes: Vec<_> =
            self.bootstrap.iter().map(|(address, id)| (*address, *id, false)).collect();
        let routers: Vec<_> = self.usable_routers().map(|address| (address, None, true)).collect();
        let few = self.table.len() + nodes.len() < SEEDS_MIN || in_vain;
        for (address, id, router) in nodes.into_iter().chain(routers.into_iter().filter(|_| few)) {
            self.seed(job, address, id, router);
        }
    }

    pub(super) fn seed(&mut self, job: u64, address: SocketAddr, id: Option<NodeId>, router: bool) {
        // Somebody without a name is asked early: anywhere is as likely as anywhere else.
        let contact = Contact { id: id.unwrap_or_else(|| NodeId::random(&mut self.rng)), address };
        let Some(job) = self.jobs.get_mut(&job) else { return };
        // libtorrent starts from routers and from nodes that it has saved; others it asks besides.
        if router || id.is_some() {
            job.lookup.seed(contact);
        } else {
            job.lookup.suggest(contact);
        }
    }

    /// Asks whoever a look-up wants to ask, and ends it when it wants nobody any more.
    pub(super) fn advance(&mut self, key: u64, now: Instant) {
        loop {
            let room = !self.pending.is_full();
            let Some(job) = self.jobs.get_mut(&key) else { return };
            match job.lookup.step_if(room) {
                Step::Ask(contact) => {
                    let lookup = &job.lookup;
                    let (target, first) = (lookup.target(), lookup.is_seed(&contact));
                    let errand = job.errand;
                    self.ask_for_lookup(contact, first, target, errand, key, now);
                }
                Step::Wait => return,
                Step::Done => break,
            }
        }
        if let Some(job) = self.jobs.remove(&key) {
            self.finish(key, &job, now);
        }
    }

    pub(super) fn finish(&mut self, key: u64, job: &Job, now: Instant) {
        let (asked, answered) = (job.lookup.asked(), job.lookup.answered());
        if matches!(job.errand, Errand::Join | Errand::Move) {
            self.ask_the_rest(&job.lookup, now);
        }
        match job.errand {
            Errand::Join if self.state == (State::Joining { job: key }) => {
                self.state = if self.table.is_empty() {
                    let pause = JOIN_PAUSE_FIRST * 2_u32.saturating_pow(self.failures.min(10));
                    self.failures = self.failures.saturating_add(1);
                    State::Alone { again: now + pause.min(JOIN_PAUSE_MAX) }
                } else {
                    self.failures = 0;
                    self.outputs.push_back(NodeOutput::Joined);
                    State::Joined { self_lookup: now + SELF_LOOKUP_INTERVAL }
                };
            }
            Errand::Join | Errand::Move => {}
            Errand::Swarm { swarm, announce } => {
                let announced = announce.map_or(0, |port| self.announce(&job.lookup, port, now));
                let report = Report { asked, answered, announced };
                self.outputs.push_back(NodeOutput::LookupDone { swarm, report });
            }
        }
    }

    /// The table has room for more nodes than a look-up of our own id has asked.
    fn ask_the_rest(&mut self, lookup: &Lookup, now: Instant) {
        match self.profile.queries {
            // All at once, as libtorrent does.
            QueryMix::GetPeers => {
                for contact in lookup.unasked() {
                    let address = contact.address;
                    if !self.table.knows(address) && !self.routers.contains(&address) {
                        self.ask_whether_there(contact, now);
                    }
                }
            }
            // The nearest is asked first.
            QueryMix::Classic => lookup.unasked().rev().for_each(|contact| self.hear(contact)),
        }
    }

    /// Tells the nearest nodes that gave a token; gives back how many.
    pub(super) fn announce(&mut self, lookup: &Lookup, port: AnnouncedPort, now: Instant) -> usize {
        let nearest = lookup.closest_with_token(self.profile.announce_nodes);
        for (to, token) in &nearest {
            let question = Question::AnnouncePeer {
                infohash: lookup.target(),
                port: port.port,
                implied_port: self.profile.implied_port.then_some(port.shared),
                seed: self.profile.seed.then_some(false),
                token,
            };
            self.ask(*to, Tag::AnnouncePeer, &question, Purpose::Announce, now);
        }
        nearest.len()
    }

    pub(super) fn ask_for_lookup(
        &mut self,
        to: Contact,
        first: bool,
        target: NodeId,
        errand: Errand,
        job: u64,
        now: Instant,
    ) {
        let join = matches!(errand, Errand::Join | Errand::Move);
        let (tag, question) = match self.profile.queries {
            QueryMix::Classic if join => {
                (Tag::FindNode, Question::FindNode { target, want: Want { v4: true, v6: true } })
            }
            QueryMix::Classic | QueryMix::GetPeers => {
                // Each is asked about another place, and about our new id if it has changed meanwhile.
                let infohash = if join { self.id.with_random_tail(&mut self.rng) } else { target };
                let bootstrap = join && first && self.profile.bootstrap_mark;
                let want = self.want_of(to.address.ip());
                (Tag::GetPeers, Question::GetPeers { infohash, bootstrap, want })
            }
        };
        self.ask(to, tag, &question, Purpose::Lookup(job), now);
    }

    /// Asked over the other IP version, a node must be told which nodes we want.
    pub(super) fn want_of(&self, asked: IpAddr) -> Want {
        let foreign = Family::of(asked) != self.family;
        match self.family {
            Family::V4 => Want { v4: foreign, v6: false },
            Family::V6 => Want { v4: false, v6: foreign },
        }
    }

    pub(super) fn on_lookup_answer(
        &mut self,
        key: u64,
        from: SocketAddr,
        response: &Response<'_>,
        now: Instant,
    ) {
        let named: Vec<Contact> = self.believed(from, &response.nodes).collect();
        if let Some(job) = self.jobs.get_mut(&key) {
            job.lookup.on_answer(from, response.id, response.token);
            named.into_iter().for_each(|contact| job.lookup.offer(contact));
            if let Errand::Swarm { swarm, .. } = job.errand {
                self.on_peers(swarm, from, &response.peers);
            }
        }
        self.advance(key, now);
        self.settle_state(now);
    }

    pub(super) fn on_peers(&mut self, swarm: u64, told_by: SocketAddr, peers: &[SocketAddr]) {
        let scope = Scope::of(told_by.ip());
        let peers: BTreeSet<SocketAddr> =
            peers.iter().copied().filter(|peer| believable(*peer, scope)).collect();
        if !peers.is_empty() {
            let peers = peers.into_iter().collect();
            self.outputs.push_back(NodeOutput::PeersFound { swarm, peers, told_by });
        }
    }

    /// Those of the named nodes that we could ask, and that whoever names them can know.
    pub(super) fn believed<'a>(
        &self,
        told_by: SocketAddr,
        nodes: &'a [Contact],
    ) -> impl Iterator<Item = Contact> + use<'a> {
        let (scope, family) = (Scope::of(told_by.ip()), self.family);
        let believed = move |it: &Contact| {
            Family::of(it.address.ip()) == family && believable(it.address, scope)
        };
        nodes.iter().copied().filter(believed)
    }
}

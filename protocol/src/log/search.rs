//! Where a chain of ours began to fork: a proof tells that it has, by its number at the latest. What
//! we said on our side is said again from the first difference on, so that is looked for with each
//! peer that holds the chain, by halves, an entry at a time.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::api::ForkProof;
use super::channel::{Channel, Reading};
use super::entry::Entry;
use super::machine::Core;
use super::peer::Peer;
use super::take::proof;
use crate::id::{ChainId, PeerId};
use crate::limits::WANTS_PER_PEER_MAX;
use crate::wire::{Frame, Want};

/// How long a peer may take to give one entry.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    chain: ChainId,
    peer: PeerId,
    /// Up to this entry both have the same.
    low: u64,
    /// From this one on they differ, or it is not known.
    high: u64,
    /// The proof for `high`.
    proof: Option<ForkProof>,
    asked: u64,
    pub(super) deadline: Instant,
}

impl Channel {
    /// Begins a search where one is due and none is under way.
    pub(super) fn seek(&mut self, core: &mut Core) {
        if self.search.is_some() {
            return;
        }
        let me = core.me();
        let mut paused = Vec::new();
        let mut found = None;
        for (&chain, it) in &self.chains {
            if it.certificate.author != me || it.fork.is_none() {
                continue;
            }
            let (base, ours) = (it.stored.base, it.limit().min(it.stored.head));
            for (&peer, it) in self.peers.iter().filter(|(_, it)| it.is_up()) {
                let Some(held) = it.has.get(&chain) else { continue };
                let compared = it.compared.get(&chain).copied().unwrap_or(0);
                let low = held.base.max(base).max(compared);
                let high = held.head.min(ours) + 1;
                if low + 1 >= high || core.wanted(&peer) >= WANTS_PER_PEER_MAX {
                    continue;
                }
                if let Some(until) = it.paused_until(&chain, false)
                    && core.now < until
                {
                    paused.push(until);
                    continue;
                }
                let (asked, deadline) = (high - 1, core.now);
                found = Some(Search { chain, peer, low, high, proof: None, asked, deadline });
            }
        }
        for until in paused {
            self.look_again(until);
        }
        if let Some(search) = found {
            self.ask(core, search);
        }
    }

    fn ask(&mut self, core: &mut Core, mut search: Search) {
        search.deadline = core.now + ANSWER_TIMEOUT;
        let (chain, from) = (search.chain, search.asked);
        core.send(search.peer, Frame::Want(Want { channel: self.id, chain, from, bytes: 1 }));
        self.search = Some(search);
    }

    /// An entry has come; whether it was looked for.
    pub(super) fn found(&mut self, core: &mut Core, from: PeerId, entry: &Entry) -> bool {
        let (id, number) = (entry.head.chain, entry.head.number);
        let Some(search) = self.search.as_mut() else { return false };
        let asked = search.peer == from && search.chain == id && search.asked == number;
        if !asked || !entry.verify(&core.me()) {
            return false;
        }
        // It is compared once.
        search.asked = 0;
        let reading = Reading::Search { chain: id, other: entry.clone() };
        core.read(self.id, reading, number, 1);
        true
    }

    /// Ours has been read.
    pub(super) fn sought(&mut self, core: &mut Core, other: &Entry, ours: Vec<Bytes>) {
        let id = other.head.chain;
        let Some(mut search) = self.search.take_if(|it| it.chain == id && it.asked == 0) else {
            return;
        };
        let ours = ours.into_iter().next().and_then(|it| Entry::decode(&self.id, it).ok());
        let number = other.head.number;
        match ours.filter(|ours| ours.head.number == number) {
            Some(ours) if ours.hash != other.hash => {
                search.high = number;
                search.proof = Some(proof(&ours.outline(), &other.outline()));
            }
            // What is not held any more need not be compared.
            Some(_) | None => search.low = number,
        }
        if search.low + 1 < search.high {
            search.asked = search.low.midpoint(search.high);
            return self.ask(core, search);
        }
        if let Some(peer) = self.peers.get_mut(&search.peer) {
            peer.compared.insert(id, search.low);
        }
        if let Some(proof) = search.proof {
            self.set_fork(core, proof);
        }
        self.seek(core);
    }

    /// Gives up on a peer that is late, or is gone.
    pub(super) fn time_out_search(&mut self, core: &mut Core) {
        let Some(search) = &self.search else { return };
        let peer = self.peers.get(&search.peer).is_some_and(Peer::is_up);
        if peer && (core.now < search.deadline || search.asked == 0) {
            return;
        }
        let (id, chain) = (search.peer, search.chain);
        self.search = None;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.fail(chain, false, core.now);
        }
        self.seek(core);
    }

    /// When the peer that is asked is late.
    pub(super) fn search_at(&self) -> Option<Instant> {
        self.search.as_ref().filter(|it| it.asked > 0).map(|it| it.deadline)
    }
}

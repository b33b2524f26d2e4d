//! Who is there, and who has what: the have-vectors, which are the receipts.

use std::time::Duration;

use super::api::Role;
use super::channel::Channel;
use super::machine::Core;
use super::peer::{Flow, Held, Peer};
use crate::id::{ChainId, PeerId};
use crate::limits::{
    CHAINS_PER_CHANNEL_MAX, ENTRY_NUMBER_MAX, HAVE_CHAINS_PER_FRAME_MAX, LINKS_MAX,
};
use crate::wire::{ChainHave, Frame, Have};

/// Between two tellings of one peer, but for what an author is told of its own chains.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a peer may take to say what it has, before it is asked to say it again.
const ASK_FIRST: Duration = Duration::from_secs(3);
/// The longest pause before it is asked once more.
const ASK_MAX: Duration = Duration::from_secs(60);

impl Channel {
    // --- links -------------------------------------------------------------------------------

    pub(super) fn member_up(&mut self, core: &mut Core, id: PeerId, role: Role) {
        if self.peers.len() >= LINKS_MAX && !self.peers.contains_key(&id) {
            return;
        }
        self.drop_flow(core, id);
        let peer = self.peers.entry(id).or_insert_with(Peer::new);
        peer.role = Some(role);
        peer.failures.clear();
        peer.strange = None;
        peer.serving = 0;
        if !peer.known {
            peer.ask_at = Some((core.now + ASK_FIRST, ASK_FIRST));
        }
        self.begin(core, id);
    }

    pub(super) fn rerouted(&mut self, core: &mut Core, id: PeerId) {
        if self.peers.get(&id).is_some_and(Peer::is_up) {
            self.drop_flow(core, id);
            self.begin(core, id);
        }
    }

    /// Says all that a peer must know, and goes on from what is known of it.
    fn begin(&mut self, core: &mut Core, id: PeerId) {
        self.tell_all(core, id);
        for chain in self.chains.values() {
            if let Some(proof) = &chain.fork {
                core.send(id, super::take::fork_frame(self.id, chain.certificate, proof));
            }
        }
        self.compare_all(core, id);
        self.push(core, id);
        self.pull(core);
    }

    pub(super) fn member_down(&mut self, core: &mut Core, id: PeerId) {
        self.drop_flow(core, id);
        if let Some(peer) = self.peers.remove(&id) {
            for chain in peer.has.keys() {
                self.wake(core.now, chain);
            }
            self.time_out_search(core);
            self.pull(core);
        }
    }

    /// Forgets what is on its way to and from a peer.
    pub(super) fn drop_flow(&mut self, core: &mut Core, id: PeerId) {
        self.drop_pushed(core, id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        core.link(id).wanted -= peer.wanted.len();
        for wanted in std::mem::take(&mut peer.wanted) {
            self.wake(core.now, &wanted.chain);
        }
    }

    pub(super) fn drop_pushed(&mut self, core: &mut Core, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let bytes: usize = peer.flow.unacknowledged.iter().map(|(_, bytes)| bytes).sum();
        core.link(id).pushed -= bytes;
        peer.flow = Flow::default();
    }

    // --- what we have ------------------------------------------------------------------------

    fn have(&self, id: &ChainId) -> Option<ChainHave> {
        let stored = self.chains.get(id)?.stored;
        let (base, head, tip) = (stored.base, stored.head, stored.hash.tip());
        (head > 0).then_some(ChainHave { chain: *id, base, head, tip })
    }

    fn tell_all(&mut self, core: &mut Core, id: PeerId) {
        let all: Vec<ChainHave> = self.chains.keys().filter_map(|it| self.have(it)).collect();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.dirty.clear();
        peer.tell_at = None;
        peer.full_due = false;
        peer.told_at = Some(core.now);
        let mut rest = &all[..];
        let mut full = true;
        while full || !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(HAVE_CHAINS_PER_FRAME_MAX));
            rest = later;
            let have = Have { channel: self.id, full, again: false, chains: now.to_vec() };
            core.send(id, Frame::Have(have));
            full = false;
        }
    }

    /// Tells peers that a chain has changed: its author at once, others with the next change.
    pub(super) fn tell_of(&mut self, core: &mut Core, chain: ChainId) {
        let Some(author) = self.chains.get(&chain).map(|chain| chain.certificate.author) else {
            return;
        };
        let have = self.have(&chain);
        for (&id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.is_up()) {
            if id == author {
                let chains = have.into_iter().collect();
                let have = Have { channel: self.id, full: false, again: false, chains };
                core.send(id, Frame::Have(have));
            } else {
                peer.dirty.insert(chain);
                let at = peer.told_at.map_or(core.now, |told| core.now.max(told + TELL_EVERY));
                peer.tell_at.get_or_insert(at);
            }
        }
    }

    pub(super) fn tell_due(&mut self, core: &mut Core) {
        let now = core.now;
        let due: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.tell_at.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.tell(core, id);
        }
        for (&id, peer) in &mut self.peers {
            if let Some((at, pause)) = peer.ask_at
                && at <= now
            {
                let pause = (pause * 2).min(ASK_MAX);
                peer.ask_at = Some((now + pause, pause));
                let have = Have { channel: self.id, full: false, again: true, chains: Vec::new() };
                core.send(id, Frame::Have(have));
            }
        }
    }

    fn tell(&mut self, core: &mut Core, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.full_due {
            return self.tell_all(core, id);
        }
        peer.tell_at = None;
        peer.told_at = Some(core.now);
        let dirty = std::mem::take(&mut peer.dirty);
        let news: Vec<ChainHave> = dirty
            .iter()
            .filter_map(|chain| self.have(chain))
            .filter(|have| !self.knows_better(id, have))
            .collect();
        for chains in news.chunks(HAVE_CHAINS_PER_FRAME_MAX) {
            let chains = chains.to_vec();
            let have = Have { channel: self.id, full: false, again: false, chains };
            core.send(id, Frame::Have(have));
        }
    }

    /// Whether a peer has what we have and more, so that it gains nothing by being told.
    fn knows_better(&self, id: PeerId, have: &ChainHave) -> bool {
        let held = self.peers.get(&id).and_then(|peer| peer.has.get(&have.chain));
        held.is_some_and(|held| {
            held.base <= have.base
                && (held.head > have.head || held.head == have.head && held.tip == Some(have.tip))
        })
    }

    // --- what others have --------------------------------------------------------------------

    pub(super) fn on_have(&mut self, core: &mut Core, from: PeerId, have: &Have) {
        if self.peers.len() >= LINKS_MAX && !self.peers.contains_key(&from) {
            return;
        }
        let peer = self.peers.entry(from).or_insert_with(Peer::new);
        if have.full {
            let old = std::mem::take(&mut peer.has);
            peer.known = true;
            peer.ask_at = None;
            peer.failures.retain(|chain, _| self.chains.contains_key(chain));
            for chain in old.keys() {
                self.wake(core.now, chain);
            }
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if have.again {
            let at = peer.told_at.map_or(core.now, |told| core.now.max(told + TELL_EVERY));
            peer.full_due = peer.is_up();
            peer.tell_at = peer.is_up().then_some(at);
        }
        for &ChainHave { chain, base, head, tip } in &have.chains {
            if base > head || head == 0 || head > ENTRY_NUMBER_MAX {
                core.dropped.malformed += 1;
                continue;
            }
            self.note(from, chain, Held { base, head, tip: Some(tip) });
            self.compare(core, from, chain);
        }
        self.tell_due(core);
        self.push(core, from);
        self.pull(core);
    }

    /// Remembers what a peer has; an earlier word may come late over another link.
    pub(super) fn note(&mut self, from: PeerId, chain: ChainId, new: Held) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let full = peer.has.len() >= CHAINS_PER_CHANNEL_MAX;
        match peer.has.get_mut(&chain) {
            // What was only inferred gives way to the peer's own word.
            Some(old) if new.head >= old.head || old.tip.is_none() => *old = new,
            Some(_) => {}
            None if full => {}
            None => {
                peer.has.insert(chain, new);
            }
        }
    }

    fn compare_all(&mut self, core: &mut Core, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let chains: Vec<ChainId> = peer.has.keys().copied().collect();
        for chain in chains {
            self.compare(core, id, chain);
        }
    }

    /// Looks at what a peer has of a chain beside what we have of it.
    pub(super) fn compare(&mut self, core: &mut Core, id: PeerId, chain: ChainId) {
        if !self.peers.get(&id).is_some_and(Peer::is_up) {
            return;
        }
        self.count_receipt(core, chain, id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(&held) = peer.has.get(&chain) else { return };
        if chain == self.own {
            while let Some(&(number, bytes)) = peer.flow.unacknowledged.front()
                && number <= held.head
            {
                peer.flow.unacknowledged.pop_front();
                core.link(id).pushed -= bytes;
            }
        }
        let (seen, limit) = self
            .chains
            .get(&chain)
            .map_or((super::chain_state::Mark::NONE, u64::MAX), |it| (it.seen(), it.limit()));
        let odd = held.head == seen.head
            && seen.head <= limit
            && held.tip.is_some_and(|tip| tip != seen.hash.tip());
        if odd {
            peer.odd.insert(chain);
        }
        let stored = self.chains.get(&chain).map_or(0, |it| it.stored.head);
        if chain == self.own && held.tip.is_some() && held.head > stored {
            self.told_longer(core);
        }
        if odd || held.head.min(limit) > seen.head {
            self.fall_behind(core.now, chain);
        }
    }

    /// Compares all again: something was taken back, or is wanted once more.
    pub(super) fn look_for_more(&mut self, core: &mut Core) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in peers {
            self.compare_all(core, id);
        }
        self.pull(core);
    }
}

//! What we want of others: the rest of every chain of which somebody linked has more.

use std::time::Duration;

use super::chain_state::{Chain, Mark};
use super::channel::Channel;
use super::machine::Core;
use super::peer::{Peer, Wanted};
use crate::id::{ChainId, PeerId};
use crate::limits::{WANT_BYTES_MAX, WANTS_PER_CHANNEL_MAX, WANTS_PER_PEER_MAX};
use crate::wire::{Frame, Want};

/// How long a linked author is left to push by itself.
const GRACE: Duration = Duration::from_secs(1);
/// How long the next frame of an answer may take.
const WANT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nobody must have what follows ours, before the gap is left behind.
const GAP_PATIENCE: Duration = Duration::from_secs(30);
/// The same where we have nothing of the chain.
const NEWCOMER_PATIENCE: Duration = Duration::from_secs(3);
/// So often in a row a peer must have failed for its word to count for nothing.
const FAILURES_MANY: u32 = 3;

/// Somebody who may be asked for the rest of a chain.
struct Candidate {
    id: PeerId,
    base: u64,
    odd: bool,
    failures: u32,
}

impl Channel {
    /// Asks for whatever may be asked for now, and notes when to look again.
    pub(super) fn pull(&mut self, core: &mut Core) {
        self.pull_at = None;
        self.seek(core);
        if self.retry_at.is_some() {
            return;
        }
        let chains: Vec<ChainId> = self.behind.keys().copied().collect();
        let mut open: usize = self.peers.values().map(|peer| peer.wanted.len()).sum();
        for id in chains {
            if open >= WANTS_PER_CHANNEL_MAX {
                return;
            }
            if self.pull_chain(core, id) {
                open += 1;
            }
        }
    }

    pub(super) fn look_again(&mut self, at: std::time::Instant) {
        self.pull_at = Some(self.pull_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Asks for one chain; whether a wish was sent.
    fn pull_chain(&mut self, core: &mut Core, id: ChainId) -> bool {
        let now = core.now;
        let is_wanted = |peer: &Peer| peer.wanted.iter().any(|wanted| wanted.chain == id);
        if self.peers.values().any(is_wanted) {
            return false;
        }
        let chain = self.chains.get(&id);
        let (seen, limit) = chain.map_or((Mark::NONE, u64::MAX), |it| (it.seen(), it.limit()));
        let candidates = self.candidates(id, seen.head, limit);
        let Some(behind) = self.behind.get_mut(&id).filter(|_| !candidates.is_empty()) else {
            self.behind.remove(&id);
            self.jumps.remove(&id);
            return false;
        };
        let author = chain.map(|it| it.certificate.author);
        let author_up = author.and_then(|it| self.peers.get(&it)).is_some_and(Peer::is_up);
        // Of a chain that is new to us we do not know the author, who may just be speaking.
        if (author_up || author.is_none()) && now < behind.since + GRACE {
            let at = behind.since + GRACE;
            self.look_again(at);
            return false;
        }
        // Whoever has what follows ours. That some say to have it and never give it must not keep
        // us from going on with what others do give.
        let follows = |it: &&Candidate| {
            if it.odd { it.base < seen.head } else { it.base <= seen.head }
        };
        let mut from = seen.head + 1;
        let mut jump = None;
        let mut pick: Vec<&Candidate> = candidates.iter().filter(follows).collect();
        if pick.iter().any(|it| it.failures < FAILURES_MANY) {
            behind.stuck = None;
        } else if let Some(base) =
            candidates.iter().filter(|it| it.base > seen.head).map(|it| it.base).min()
        {
            let patience = if seen.head == 0 { NEWCOMER_PATIENCE } else { GAP_PATIENCE };
            let until = *behind.stuck.get_or_insert(now) + patience;
            if now < until {
                self.look_again(until);
            } else {
                pick = candidates.iter().filter(|it| it.base == base).collect();
                from = base + 1;
                jump = Some(base);
            }
        }
        let Some(chosen) = self.choose(core, id, &pick) else { return false };
        if chosen.odd {
            from = seen.head;
        }
        let (to, odd) = (chosen.id, chosen.odd);
        match jump.filter(|_| !odd) {
            Some(base) => self.jumps.insert(id, base),
            None => self.jumps.remove(&id),
        };
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.odd.remove(&id);
            peer.wanted.push(Wanted { chain: id, had: seen.head, deadline: now + WANT_TIMEOUT });
        }
        core.link(to).wanted += 1;
        let bytes = u32::try_from(WANT_BYTES_MAX).expect("far below 4 GiB");
        core.send(to, Frame::Want(Want { channel: self.id, chain: id, from, bytes }));
        true
    }

    fn candidates(&self, id: ChainId, head: u64, limit: u64) -> Vec<Candidate> {
        let up = self.peers.iter().filter(|(_, peer)| peer.is_up());
        up.filter_map(|(&peer_id, peer)| {
            let held = peer.has.get(&id)?;
            let odd = peer.odd.contains(&id);
            let failures = peer.failures.get(&id).map_or(0, |it| it.count);
            (odd || held.head.min(limit) > head).then_some(Candidate {
                id: peer_id,
                base: held.base,
                odd,
                failures,
            })
        })
        .collect()
    }

    /// The one that failed least and has least to do; notes when one that failed may be asked again.
    fn choose<'a>(
        &mut self,
        core: &Core,
        chain: ChainId,
        among: &[&'a Candidate],
    ) -> Option<&'a Candidate> {
        let mut best: Option<(&Candidate, (u32, usize))> = None;
        for it in among {
            let failures = self.peers.get(&it.id).and_then(|peer| peer.failures.get(&chain));
            if let Some(until) = failures.map(|it| it.until).filter(|until| *until > core.now) {
                self.look_again(until);
                continue;
            }
            let wanted = core.wanted(&it.id);
            let rank = (it.failures, wanted);
            if wanted < WANTS_PER_PEER_MAX && best.is_none_or(|(_, least)| rank < least) {
                best = Some((it, rank));
            }
        }
        best.map(|(it, _)| it)
    }

    /// A frame of entries of a chain has come from a peer, or, without a chain, none at all.
    pub(super) fn answered(
        &mut self,
        core: &mut Core,
        from: PeerId,
        chain: Option<ChainId>,
        more: bool,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let at = peer.wanted.iter().position(|it| chain.is_none_or(|chain| it.chain == chain));
        let Some(at) = at else { return };
        if more {
            peer.wanted[at].deadline = core.now + WANT_TIMEOUT;
            return;
        }
        let wanted = peer.wanted.remove(at);
        core.link(from).wanted -= 1;
        let head = self.chains.get(&wanted.chain).map_or(0, |chain| chain.seen().head);
        if head > wanted.had {
            peer.failures.remove(&wanted.chain);
        } else {
            peer.fail(wanted.chain, core.now);
        }
    }

    pub(super) fn time_out_wishes(&mut self, core: &mut Core) {
        let now = core.now;
        let mut late = false;
        for (&id, peer) in &mut self.peers {
            let due: Vec<ChainId> = peer
                .wanted
                .iter()
                .filter(|wanted| wanted.deadline <= now)
                .map(|wanted| wanted.chain)
                .collect();
            peer.wanted.retain(|wanted| wanted.deadline > now);
            core.link(id).wanted -= due.len();
            late |= !due.is_empty();
            for chain in due {
                peer.fail(chain, now);
            }
        }
        if late {
            self.pull(core);
        }
    }

    /// Whether somebody linked has an entry, so that waiting for it makes sense.
    pub(super) fn is_to_be_had(&self, id: &ChainId, number: u64) -> bool {
        let limit = self.chains.get(id).map_or(u64::MAX, Chain::limit);
        number <= limit
            && self.peers.values().filter(|peer| peer.is_up()).any(|peer| {
                peer.has.get(id).is_some_and(|held| held.base < number && number <= held.head)
            })
    }
}

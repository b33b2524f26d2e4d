//! What we want of others: the rest of every chain of which somebody linked has more.

use std::time::{Duration, Instant};

use super::chain_state::{Chain, Mark};
use super::channel::{Behind, Channel};
use super::entry::ENTRY_BYTES_MAX;
use super::machine::Core;
use super::peer::{Peer, Wanted};
use crate::id::{ChainId, PeerId};
use crate::limits::{
    CHAINS_BEHIND_MAX, LOG_PENDING_BYTES_MAX, WANT_BYTES_MAX, WANTS_PER_CHANNEL_MAX,
    WANTS_PER_PEER_MAX,
};
use crate::wire::{Frame, Want};

/// How long a linked author is left to push by itself.
const GRACE: Duration = Duration::from_secs(1);
/// How long the next frame of an answer that brings something may take.
const WANT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long all of an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nobody must have what follows ours, before the gap is left behind.
const GAP_PATIENCE: Duration = Duration::from_secs(30);
/// The same where we have nothing of the chain.
const NEWCOMER_PATIENCE: Duration = Duration::from_secs(3);
/// So often in a row a peer must have failed for its word to count for nothing.
const FAILURES_MANY: u32 = 3;
/// How often the bytes that are wanted of a peer are halved, once for each failure.
const HALVED_MAX: u32 = 4;

/// Somebody who may be asked for the rest of a chain.
struct Candidate {
    id: PeerId,
    base: u64,
    odd: bool,
    failures: u32,
}

/// What a frame of entries has brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// Entries that we lacked.
    Something,
    /// Entries that could not be taken yet, by no fault of the peer.
    TooEarly,
    /// None of that.
    Nothing,
}

impl Channel {
    /// Asks for whatever may be asked for now, and notes when to look again.
    pub(super) fn pull(&mut self, core: &mut Core) {
        self.pull_at = None;
        // What is stored makes room, and then it goes on.
        if self.retry_at.is_none() && self.pending() <= LOG_PENDING_BYTES_MAX / 4 * 3 {
            self.pull_due(core);
            let due = self.behind.values().filter_map(|behind| behind.due);
            self.pull_at = due.filter(|at| *at > core.now).min();
        }
        self.seek(core);
    }

    fn pull_due(&mut self, core: &mut Core) {
        let now = core.now;
        let wanted = || self.peers.values().flat_map(|peer| &peer.wanted);
        let is_strange = |id: &ChainId| !self.chains.contains_key(id);
        let mut open = wanted().count();
        let mut strange_open = wanted().filter(|wanted| is_strange(&wanted.chain)).count();
        if open >= WANTS_PER_CHANNEL_MAX {
            return;
        }
        // From the one after that which was wanted last; those that may be made up come last, and
        // have half of the wishes.
        let due = self.behind.iter().filter(|(_, it)| it.due.is_some_and(|at| at <= now));
        let mut due: Vec<(bool, bool, ChainId)> =
            due.map(|(id, _)| (is_strange(id), *id <= self.wanted_last, *id)).collect();
        due.sort_unstable();
        for (is_strange, _, id) in due {
            if open >= WANTS_PER_CHANNEL_MAX
                || is_strange && strange_open >= WANTS_PER_CHANNEL_MAX / 2
            {
                break;
            }
            if self.pull_chain(core, id) {
                open += 1;
                strange_open += usize::from(is_strange);
                self.wanted_last = id;
            }
        }
    }

    pub(super) fn look_again(&mut self, at: Instant) {
        self.pull_at = Some(self.pull_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Somebody linked may have more of a chain than we.
    pub(super) fn fall_behind(&mut self, now: Instant, id: ChainId) {
        if self.behind.len() < CHAINS_BEHIND_MAX || self.behind.contains_key(&id) {
            self.behind.entry(id).or_insert(Behind::new(now)).due = Some(now);
        }
    }

    /// Something has happened to a chain of which we lack something.
    pub(super) fn wake(&mut self, now: Instant, id: &ChainId) {
        if let Some(behind) = self.behind.get_mut(id) {
            behind.due = Some(now);
        }
    }

    /// Asks for one chain; whether a wish was sent.
    fn pull_chain(&mut self, core: &mut Core, id: ChainId) -> bool {
        let now = core.now;
        let is_wanted = |peer: &Peer| peer.wanted.iter().any(|wanted| wanted.chain == id);
        let chain = self.chains.get(&id);
        let is_busy = chain.is_some_and(|it| it.failed || id == self.own && it.batches > 0);
        if is_busy || self.peers.values().any(is_wanted) {
            self.look_at(&id, None);
            return false;
        }
        let (seen, limit) = chain.map_or((Mark::NONE, u64::MAX), |it| (it.seen(), it.limit()));
        let candidates = self.candidates(core, id, seen.head, limit);
        let Some(behind) = self.behind.get_mut(&id).filter(|_| !candidates.is_empty()) else {
            self.behind.remove(&id);
            self.jumps.remove(&id);
            return false;
        };
        let author = chain.map(|it| it.certificate.author);
        let author_up = author.and_then(|it| self.peers.get(&it)).is_some_and(Peer::is_up);
        // Of a chain that is new to us we do not know the author, who may just be speaking.
        if (author_up || author.is_none()) && now < behind.since + GRACE {
            behind.due = Some(behind.since + GRACE);
            return false;
        }
        // Whoever has what follows ours. That some say to have it and never give it must not keep
        // us from going on with what others do give.
        let follows = |it: &&Candidate| {
            if it.odd { it.base < seen.head } else { it.base <= seen.head }
        };
        let mut from = seen.head + 1;
        let mut jump = None;
        let mut stuck = None;
        let mut pick: Vec<&Candidate> = candidates.iter().filter(follows).collect();
        if pick.iter().any(|it| it.failures < FAILURES_MANY) {
            behind.stuck = None;
        } else if let Some(base) = lowest_base(&candidates, seen.head) {
            let patience = if seen.head == 0 { NEWCOMER_PATIENCE } else { GAP_PATIENCE };
            let until = *behind.stuck.get_or_insert(now) + patience;
            if now < until {
                stuck = Some(until);
            } else {
                pick = candidates.iter().filter(|it| it.base == base).collect();
                from = base + 1;
                jump = Some(base);
            }
        }
        let chosen = match self.choose(core, id, &pick) {
            Ok(chosen) => chosen,
            Err(at) => {
                self.look_at(&id, [stuck, at].into_iter().flatten().min());
                return false;
            }
        };
        if chosen.odd {
            from = seen.head;
        }
        let (to, odd) = (chosen.id, chosen.odd);
        match jump.filter(|_| !odd) {
            Some(base) => self.jumps.insert(id, base),
            None => self.jumps.remove(&id),
        };
        // A slow link may carry less in time.
        let bytes = WANT_BYTES_MAX >> chosen.failures.min(HALVED_MAX);
        self.look_at(&id, None);
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.odd.remove(&id);
            peer.wanted.push(Wanted {
                chain: id,
                had: seen.head,
                deadline: now + WANT_TIMEOUT,
                until: now + ANSWER_TIMEOUT,
                room: bytes + ENTRY_BYTES_MAX,
            });
        }
        core.link(to).wanted += 1;
        let bytes = u32::try_from(bytes).expect("far below 4 GiB");
        core.send(to, Frame::Want(Want { channel: self.id, chain: id, from, bytes }));
        true
    }

    /// When to look at a chain again; `None`: when something happens to it.
    fn look_at(&mut self, id: &ChainId, at: Option<Instant>) {
        if let Some(behind) = self.behind.get_mut(id) {
            behind.due = at;
        }
    }

    fn candidates(&self, core: &Core, id: ChainId, head: u64, limit: u64) -> Vec<Candidate> {
        let up = self.peers.iter().filter(|(it, peer)| peer.is_up() && !core.is_muted(it));
        up.filter_map(|(&peer_id, peer)| {
            let held = peer.has.get(&id).filter(|held| held.base < held.head)?;
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

    /// The one that failed least and has least to do; else when one that failed may be asked again,
    /// `None` where all wait for something to happen.
    fn choose<'a>(
        &self,
        core: &Core,
        chain: ChainId,
        among: &[&'a Candidate],
    ) -> Result<&'a Candidate, Option<Instant>> {
        let is_strange = !self.chains.contains_key(&chain);
        let mut best: Option<(&Candidate, (u32, usize))> = None;
        let mut again = None;
        for it in among {
            let until = self.peers.get(&it.id);
            let until = until.and_then(|peer| peer.paused_until(&chain, is_strange));
            if let Some(until) = until.filter(|until| *until > core.now) {
                again = Some(again.map_or(until, |at: Instant| at.min(until)));
                continue;
            }
            let wanted = core.wanted(&it.id);
            if wanted >= WANTS_PER_PEER_MAX {
                // As soon as it has answered.
                again = Some(core.now);
                continue;
            }
            let rank = (it.failures, wanted);
            if best.is_none_or(|(_, least)| rank < least) {
                best = Some((it, rank));
            }
        }
        best.map(|(it, _)| it).ok_or(again)
    }

    /// A frame of entries of a chain has come from a peer, or one without entries.
    pub(super) fn answered(
        &mut self,
        core: &mut Core,
        from: PeerId,
        chain: Option<ChainId>,
        more: bool,
        came: Came,
    ) {
        let now = core.now;
        let is_strange = |id: &ChainId| !self.chains.contains_key(id);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if let Some(chain) = chain.filter(|_| came == Came::Something) {
            // However late it is.
            peer.succeed(&chain);
        }
        let at = peer.wanted.iter().position(|it| chain.is_none_or(|chain| it.chain == chain));
        let Some(at) = at else { return };
        if more {
            let wanted = &mut peer.wanted[at];
            if came == Came::Something {
                wanted.deadline = wanted.until.min(now + WANT_TIMEOUT);
            }
            return;
        }
        let wanted = peer.wanted.remove(at);
        core.link(from).wanted -= 1;
        let head = self.chains.get(&wanted.chain).map_or(0, |chain| chain.seen().head);
        if head > wanted.had {
            peer.succeed(&wanted.chain);
        } else if came != Came::TooEarly {
            peer.fail(wanted.chain, is_strange(&wanted.chain), now);
        }
        self.wake(now, &wanted.chain);
    }

    /// Whether there was one that was not answered in time.
    pub(super) fn time_out_wishes(&mut self, core: &mut Core) -> bool {
        let now = core.now;
        let mut late = Vec::new();
        for (&id, peer) in &mut self.peers {
            let due = peer.wanted.iter().filter(|wanted| wanted.deadline <= now);
            let due: Vec<ChainId> = due.map(|wanted| wanted.chain).collect();
            peer.wanted.retain(|wanted| wanted.deadline > now);
            core.link(id).wanted -= due.len();
            for &chain in &due {
                peer.fail(chain, !self.chains.contains_key(&chain), now);
            }
            late.extend(due);
        }
        for chain in &late {
            self.wake(now, chain);
        }
        if !late.is_empty() {
            self.pull(core);
        }
        !late.is_empty()
    }

    /// Whether somebody linked has an entry, so that waiting for it makes sense.
    pub(super) fn is_to_be_had(&self, core: &Core, id: &ChainId, number: u64) -> bool {
        let limit = self.chains.get(id).map_or(u64::MAX, Chain::limit);
        number <= limit
            && self.peers.iter().any(|(it, peer)| {
                let may_give = peer.is_up() && !core.is_muted(it);
                may_give
                    && peer
                        .has
                        .get(id)
                        .is_some_and(|held| held.base < number && number <= held.head)
            })
    }
}

/// Where to go on behind a gap: at the lowest entry that somebody has whose word counts for
/// something, or else that whoever failed least has.
fn lowest_base(candidates: &[Candidate], head: u64) -> Option<u64> {
    let ahead = || candidates.iter().filter(|it| it.base > head);
    let trusted = ahead().filter(|it| it.failures < FAILURES_MANY).map(|it| it.base).min();
    trusted.or_else(|| ahead().map(|it| (it.failures, it.base)).min().map(|(_, base)| base))
}

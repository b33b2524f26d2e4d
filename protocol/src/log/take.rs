//! What comes in: entries, each checked, cheapest first; and proofs of forks.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::api::ForkProof;
use super::body::Body;
use super::chain::{Certificate, chain_start};
use super::chain_state::{Chain, Mark};
use super::channel::{Channel, Reading, accepted};
use super::entry::{Entry, Outline};
use super::machine::Core;
use super::peer::Held;
use super::pull::Came;
use crate::id::{ChainId, ChannelId, PeerId};
use crate::limits::{LOG_PENDING_BYTES_MAX, LOG_WAITING_ENTRIES_MAX, LOG_WAITING_MAX};
use crate::wire::{Entries, EntryBytes, Fork, Frame};

/// After a chain's entries waited in vain, none of it waits for so long.
const IMPATIENCE: Duration = Duration::from_secs(60);

/// The frame that tells of a fork.
pub(super) fn fork_frame(channel: ChannelId, chain: Certificate, proof: &ForkProof) -> Frame {
    let (first, second) = (EntryBytes(proof.first.clone()), EntryBytes(proof.second.clone()));
    Frame::Fork(Fork { channel, chain, first, second })
}

impl Channel {
    pub(super) fn on_entries(&mut self, core: &mut Core, from: PeerId, frame: Entries) {
        if core.is_muted(&from) {
            return;
        }
        let offered = frame.chains.into_iter().map(|it| (it.chain(&self.id), Offered::from(it)));
        let mut offered: BTreeMap<ChainId, Offered> = offered.collect();
        if frame.entries.is_empty() {
            let chain = offered.keys().next().copied();
            self.answered(core, from, chain, frame.more, Came::Nothing);
        }
        let mut chains = BTreeMap::new();
        for EntryBytes(bytes) in frame.entries {
            let Ok(entry) = Entry::decode(&self.id, bytes) else {
                core.dropped.malformed += 1;
                continue;
            };
            if self.found(core, from, &entry) {
                continue;
            }
            let chain = entry.head.chain;
            let before = (self.head_seen(&chain), core.dropped.busy);
            chains.entry(chain).or_insert(before);
            self.on_entry(core, from, &mut offered, &entry);
            if core.is_muted(&from) {
                break;
            }
        }
        self.take_ready(core);
        for (chain, (head, busy)) in chains {
            let came = if self.head_seen(&chain) > head {
                Came::Something
            } else if core.dropped.busy > busy {
                Came::TooEarly
            } else {
                Came::Nothing
            };
            self.answered(core, from, Some(chain), frame.more, came);
            self.compare(core, from, chain);
        }
    }

    /// The last entry of a chain that was checked, on disk or not.
    fn head_seen(&self, chain: &ChainId) -> u64 {
        self.chains.get(chain).map_or(0, |chain| chain.seen().head)
    }

    /// Whether an offered chain may be begun: once there is room for it, its mark is looked at.
    fn let_in(
        &self,
        core: &mut Core,
        from: PeerId,
        id: &ChainId,
        offered: &mut BTreeMap<ChainId, Offered>,
    ) -> Option<Certificate> {
        let Some(offered) = offered.get_mut(id) else {
            core.dropped.unmarked += 1;
            return None;
        };
        if !self.room_for(&offered.certificate.author) {
            core.dropped.chains += 1;
            return None;
        }
        if !offered.is_verified {
            if !offered.certificate.verify(&self.keys) {
                core.dropped.unmarked += 1;
                core.mute(from);
                return None;
            }
            offered.is_verified = true;
        }
        Some(offered.certificate)
    }

    /// Whether there is room for an entry. What was not asked for has half of it, so that nobody who
    /// floods keeps us from what we want of others.
    fn has_room(&mut self, from: PeerId, entry: &Entry) -> bool {
        let len = entry.bytes.len();
        let pending = self.pending() + self.fresh_bytes() + len;
        let wanted = self.peers.get_mut(&from).and_then(|peer| {
            peer.wanted.iter_mut().find(|it| it.chain == entry.head.chain && it.room >= len)
        });
        if let Some(wanted) = wanted {
            wanted.room -= len;
            return pending <= LOG_PENDING_BYTES_MAX;
        }
        pending <= LOG_PENDING_BYTES_MAX / 2
    }

    fn on_entry(
        &mut self,
        core: &mut Core,
        from: PeerId,
        offered: &mut BTreeMap<ChainId, Offered>,
        entry: &Entry,
    ) {
        let (id, number) = (entry.head.chain, entry.head.number);
        let known = self.chains.get(&id).map(|chain| chain.certificate);
        let Some(certificate) = known.or_else(|| self.let_in(core, from, &id, offered)) else {
            return;
        };
        let has_room = self.has_room(from, entry);
        let chain = self.chains.get(&id);
        let author = certificate.author;
        let (seen, limit) = chain.map_or((Mark::NONE, u64::MAX), |it| (it.seen(), it.limit()));
        if number > limit {
            core.dropped.forked += 1;
            return;
        }
        let busy = self.retry_at.is_some()
            || chain.is_some_and(|chain| chain.failed)
            || id == self.own && chain.is_some_and(|chain| chain.batches > 0)
            || !has_room;
        if busy {
            core.dropped.busy += 1;
            return;
        }
        if number <= seen.head {
            if number == seen.head && entry.hash != seen.hash {
                if entry.verify(&author) {
                    self.compare_with_ours(core, entry);
                } else {
                    Self::forged(core, from);
                }
            }
            return;
        }
        let mut begins = number == 1;
        if number != seen.head + 1 {
            if self.jumps.get(&id) != Some(&(number - 1)) {
                core.dropped.gap += 1;
                return;
            }
            begins = true;
        } else if seen.head == 0 {
            if entry.head.previous != chain_start(&id) {
                core.dropped.gap += 1;
                return;
            }
        } else if entry.head.previous != seen.hash {
            core.dropped.gap += 1;
            if !entry.verify(&author) {
                Self::forged(core, from);
            } else if let Some(peer) = self.peers.get_mut(&from) {
                peer.odd.insert(id);
                self.compare(core, from, id);
            }
            return;
        }
        if entry.head.clock <= seen.clock {
            core.dropped.clock += 1;
            return;
        }
        if !entry.verify(&author) {
            return Self::forged(core, from);
        }
        if id == self.own {
            // We said it and do not have it: the disk was rolled back.
            self.draw_device(core);
        }
        let body = entry.open(&self.keys);
        self.note_seen(from, author, body.as_ref());
        let mut accepted = accepted(entry, certificate, body, author == core.me());
        accepted.begins = begins;
        if begins {
            self.jumps.remove(&id);
        }
        self.queued_bytes += accepted.bytes.len();
        let chain = self.chains.entry(id).or_insert_with(|| Chain::new(certificate));
        chain.queue.push_back(accepted);
        self.waiting.insert(id);
    }

    fn forged(core: &mut Core, from: PeerId) {
        core.dropped.signature += 1;
        core.mute(from);
    }

    fn fresh_bytes(&self) -> usize {
        self.fresh.iter().map(|entry| entry.bytes.len()).sum()
    }

    /// Whoever speaks has what it names as seen; where it does not, as another device of its own has
    /// spoken, asking for it fails and nothing is lost.
    fn note_seen(&mut self, from: PeerId, author: PeerId, body: Option<&Body>) {
        if from != author {
            return;
        }
        for tip in body.and_then(Body::as_say).map_or(&[][..], |say| &say.after) {
            let old = self.peers.get(&from).and_then(|peer| peer.has.get(&tip.chain)).copied();
            if old.is_none_or(|old| old.head < tip.number) {
                let base = old.map_or(0, |old| old.base);
                self.note(from, tip.chain, Held { base, head: tip.number, tip: None });
            }
        }
    }

    // --- what waits --------------------------------------------------------------------------

    /// Takes all entries that wait for nothing any more.
    pub(super) fn take_ready(&mut self, core: &mut Core) {
        let mut again = true;
        while again {
            again = false;
            let waiting: Vec<ChainId> = self.waiting.iter().copied().collect();
            for id in waiting {
                while let Some(entry) = self.next_ready(core, id) {
                    self.queued_bytes -= entry.bytes.len();
                    self.take(id, entry);
                    again = true;
                }
            }
        }
    }

    fn next_ready(&mut self, core: &mut Core, id: ChainId) -> Option<super::Accepted> {
        let now = core.now;
        let crowded = self.waiting_entries() > LOG_WAITING_ENTRIES_MAX
            || self.queued_bytes > LOG_PENDING_BYTES_MAX / 2;
        let chain = self.chains.get(&id)?;
        let Some(front) = chain.queue.front() else {
            self.waiting.remove(&id);
            return None;
        };
        let late = chain.queue_until.is_some_and(|until| until <= now);
        let impatient = chain.impatient_until.is_some_and(|until| now < until);
        let missing: Vec<ChainId> = front
            .body
            .as_ref()
            .and_then(Body::as_say)
            .map_or(&[][..], |say| &say.after)
            .iter()
            .filter(|tip| tip.chain != id && self.lacks(core, &tip.chain, tip.number))
            .map(|tip| tip.chain)
            .collect();
        if !(missing.is_empty() || crowded || late || impatient) {
            for missing in missing {
                self.fall_behind(now, missing);
            }
            self.chains.get_mut(&id)?.queue_until.get_or_insert(now + LOG_WAITING_MAX);
            return None;
        }
        let chain = self.chains.get_mut(&id)?;
        if late && !missing.is_empty() {
            chain.impatient_until = Some(now + IMPATIENCE);
        }
        chain.queue_until = None;
        chain.queue.pop_front()
    }

    fn lacks(&self, core: &Core, id: &ChainId, number: u64) -> bool {
        let taken = self.chains.get(id).map_or(0, |chain| chain.taken.head);
        taken < number && self.is_to_be_had(core, id, number)
    }

    fn waiting_entries(&self) -> usize {
        self.waiting.iter().filter_map(|id| self.chains.get(id)).map(|it| it.queue.len()).sum()
    }

    // --- forks -------------------------------------------------------------------------------

    /// Another entry stands where ours does, signed by the same author: both are the proof.
    fn compare_with_ours(&mut self, core: &mut Core, other: &Entry) {
        let id = other.head.chain;
        let Some(chain) = self.chains.get_mut(&id) else { return };
        let queued = chain.queue.back().map(|last| last.bytes.clone());
        let ours = queued.or_else(|| chain.recall(other.head.number).cloned());
        if let Some(ours) = ours {
            self.compared(core, id, other, vec![ours]);
        } else if chain.stored.head == other.head.number && !chain.comparing {
            chain.comparing = true;
            let reading = Reading::Compare { chain: id, other: other.clone() };
            core.read(self.id, reading, other.head.number, 1);
        }
    }

    pub(super) fn compared(
        &mut self,
        core: &mut Core,
        id: ChainId,
        other: &Entry,
        ours: Vec<Bytes>,
    ) {
        let Some(chain) = self.chains.get_mut(&id) else { return };
        chain.comparing = false;
        let ours = ours.into_iter().next().and_then(|it| Entry::decode(&self.id, it).ok());
        let Some(ours) = ours.filter(|ours| ours.head.number == other.head.number) else { return };
        if ours.hash != other.hash {
            self.set_fork(core, proof(&ours.outline(), &other.outline()));
        }
    }

    pub(super) fn on_fork(&mut self, core: &mut Core, from: PeerId, fork: &Fork) {
        if core.is_muted(&from) {
            return;
        }
        let read = |bytes: &EntryBytes| Outline::decode(&self.id, &bytes.0).ok();
        let (Some(first), Some(second)) = (read(&fork.first), read(&fork.second)) else {
            core.dropped.malformed += 1;
            return;
        };
        let same = first.head.chain == second.head.chain
            && first.head.number == second.head.number
            && first.hash != second.hash;
        let id = first.head.chain;
        let chain = self.chains.get(&id);
        if chain.is_some_and(|chain| first.head.number > chain.limit()) {
            return;
        }
        let new = chain.is_none();
        let author = fork.chain.author;
        if new && !self.room_for(&author) {
            core.dropped.chains += 1;
        } else if fork.chain.chain(&self.id) != id || new && !fork.chain.verify(&self.keys) {
            core.dropped.unmarked += 1;
            core.mute(from);
        } else if same && first.verify(&author) && second.verify(&author) {
            // Whoever has nothing of the chain yet must not take one side of it unwarned.
            self.chains.entry(id).or_insert_with(|| Chain::new(fork.chain));
            self.set_fork(core, proof(&first, &second));
        } else {
            Self::forged(core, from);
        }
    }
}

/// A chain that came with entries and that we do not hold.
struct Offered {
    certificate: Certificate,
    /// Whether its mark is good; looked at when an entry of it comes.
    is_verified: bool,
}

impl From<Certificate> for Offered {
    fn from(certificate: Certificate) -> Self {
        Self { certificate, is_verified: false }
    }
}

pub(super) fn proof(first: &Outline, second: &Outline) -> ForkProof {
    ForkProof {
        chain: first.head.chain,
        number: first.head.number,
        first: Bytes::copy_from_slice(&first.bytes),
        second: Bytes::copy_from_slice(&second.bytes),
    }
}

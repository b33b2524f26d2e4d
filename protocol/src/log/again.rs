//! Saying again: what we said in a chain of ours that forked, from the fork on, in the chain that
//! goes on. Nobody who holds the other side of the fork would ever see it.
//!
//! The proof of the fork is stored after all of it: whoever is killed before says all of it again.
//! Each message keeps its id, and is shown once.

use bytes::Bytes;

use super::body::Body;
use super::channel::{Channel, Reading};
use super::entry::Entry;
use super::machine::Core;
use crate::id::ChainId;
use crate::limits::{LOG_PENDING_BYTES_MAX, WANT_BYTES_MAX};

/// The part of a forked chain that is said again.
#[derive(Debug)]
pub(super) struct Again {
    /// The next entry to be read.
    next: u64,
    /// Up to this one all is on disk in the new chain.
    done: u64,
    /// From this one on it has been said again before, because of an earlier proof.
    end: u64,
    loading: bool,
    /// Counts the proofs: what was on its way to the disk before a lower one counts for nothing.
    round: u64,
}

/// How far what is said again has come with a batch: the chain, its last entry, the round.
pub(super) type Progress = (ChainId, u64, u64);

impl Channel {
    /// A chain of ours has forked at `number`; it was known to have forked at `end`, if at all.
    pub(super) fn begin_again(&mut self, core: &mut Core, id: ChainId, number: u64, end: u64) {
        let new = Again { next: 0, done: 0, end, loading: false, round: 0 };
        let again = self.again.entry(id).or_insert(new);
        (again.next, again.done) = (number, number - 1);
        again.round += 1;
        self.forks_due.remove(&id);
        self.say_again(core);
    }

    /// Reads on in whatever is to be said again, as far as there is room.
    pub(super) fn say_again(&mut self, core: &mut Core) {
        let own_failed = self.chains.get(&self.own).is_some_and(|own| own.failed);
        if self.again.is_empty() || self.retry_at.is_some() || own_failed {
            return;
        }
        let busy = self.pending() > LOG_PENDING_BYTES_MAX / 2;
        let mut finished = Vec::new();
        for (&id, again) in &mut self.again {
            let Some(chain) = self.chains.get(&id) else {
                finished.push(id);
                continue;
            };
            if again.next <= chain.stored.base {
                // What retention has removed is said no more.
                (again.next, again.done) = (chain.stored.base + 1, chain.stored.base);
            }
            let (stored, taken) = (chain.stored.head, chain.taken.head);
            if again.next < again.end && again.next <= stored {
                if !again.loading && !busy {
                    again.loading = true;
                    core.read(
                        self.id,
                        Reading::Again { chain: id, from: again.next },
                        again.next,
                        WANT_BYTES_MAX,
                    );
                }
            } else if (again.next >= again.end || again.next > taken)
                && again.done + 1 >= again.next
            {
                finished.push(id);
            }
        }
        for id in finished {
            self.again.remove(&id);
            self.forks_due.insert(id);
            self.receipts_at.get_or_insert(core.now);
        }
    }

    /// Says again what was read.
    pub(super) fn said_before(
        &mut self,
        core: &mut Core,
        id: ChainId,
        from: u64,
        entries: Vec<Bytes>,
    ) {
        let Some(again) = self.again.get_mut(&id) else { return };
        again.loading = false;
        if again.next != from {
            // It begins elsewhere since.
            return self.say_again(core);
        }
        let (before, end) = (again.next, again.end);
        let mut next = before;
        let (mut said, mut refused) = (false, false);
        for bytes in entries {
            let entry = Entry::decode(&self.id, bytes).ok();
            let Some(entry) = entry.filter(|it| it.head.number == next && next < end) else {
                break;
            };
            if let Some(Body::Say(say)) = entry.open(&self.keys) {
                if self.chain_up(core, say.id, say.unix_ms, say.text).is_err() {
                    // The disk refuses: once more when it does not.
                    refused = true;
                    break;
                }
                said = true;
            }
            next += 1;
        }
        if next == before && !refused {
            // It cannot be read any more.
            next += 1;
        }
        let Some(again) = self.again.get_mut(&id) else { return };
        if !said && again.done + 1 >= before {
            again.done = next - 1;
        }
        again.next = next;
        self.commit(core);
        self.say_again(core);
    }

    /// How far it has come, to be told when the batch that is made now is on disk.
    pub(super) fn said_again(&self) -> Vec<Progress> {
        self.again.iter().map(|(id, again)| (*id, again.next - 1, again.round)).collect()
    }

    /// A batch with what was said again is on disk, or is not.
    pub(super) fn again_stored(&mut self, said: &[Progress], is_stored: bool) {
        for (id, number, round) in said {
            if let Some(again) = self.again.get_mut(id).filter(|it| it.round == *round) {
                if is_stored {
                    again.done = again.done.max(*number);
                } else {
                    again.next = again.done + 1;
                }
            }
        }
    }
}

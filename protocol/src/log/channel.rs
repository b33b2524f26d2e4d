//! One channel of the log: its chains, its peers, and what is under way with the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::again::{Again, Progress};
use super::api::{Accepted, Batch, ChannelState, ForkProof, Output, Receipt, Role, SayError};
use super::body::{Body, Say, Tip};
use super::chain::{Certificate, chain_id, chain_start};
use super::chain_state::{Chain, Mark};
use super::entry::{Entry, Head, clock_max};
use super::machine::Core;
use super::peer::Peer;
use super::search::Search;
use crate::channel::ChannelKeys;
use crate::id::{ChainId, ChannelId, DeviceId, MessageId, PeerId};
use crate::limits::{
    CHAINS_FOR_LINKED, CHAINS_PER_AUTHOR_MAX, CHAINS_PER_CHANNEL_MAX, ENTRY_AFTER_MAX,
    LOG_PENDING_BYTES_MAX, LOG_RECEIPTS_MAX, MESSAGE_BYTES_MAX,
};

/// Receipts are gathered for so long, so that a message to many costs few writes.
const RECEIPTS_GATHERED: Duration = Duration::from_millis(50);
/// First pause after the disk refused something; doubled each time.
const STORE_RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest.
const STORE_RETRY_MAX: Duration = Duration::from_secs(60);

/// For what entries are read from the disk.
#[derive(Debug)]
pub(super) enum Reading {
    /// To push our own to a peer.
    Push { chain: ChainId, peer: PeerId },
    /// To answer a peer.
    Serve { chain: ChainId, peer: PeerId },
    /// To compare ours with another of its number.
    Compare { chain: ChainId, other: Entry },
    /// To compare ours with what a peer says to have.
    Receipt { chain: ChainId, peer: PeerId },
    /// To find where we forked.
    Search { chain: ChainId, other: Entry },
    /// To say it again.
    Again { chain: ChainId, from: u64 },
}

impl Reading {
    pub(super) const fn chain(&self) -> ChainId {
        match self {
            Self::Push { chain, .. }
            | Self::Serve { chain, .. }
            | Self::Compare { chain, .. }
            | Self::Receipt { chain, .. }
            | Self::Search { chain, .. }
            | Self::Again { chain, .. } => *chain,
        }
    }
}

/// A batch on its way to the disk.
#[derive(Debug)]
struct Storing {
    marks: BTreeMap<ChainId, Mark>,
    own: Vec<MessageId>,
    bytes: usize,
    receipts: Vec<((ChainId, PeerId), u64)>,
    forks: Vec<ChainId>,
    device: Option<DeviceId>,
    /// How far what is said again has come with it.
    again: Vec<Progress>,
}

/// What a peer has said to have of a chain of ours.
#[derive(Debug)]
struct Acknowledged {
    role: Role,
    said: u64,
    /// What of it is on its way to the disk, or there.
    sent: u64,
}

/// A chain of which a peer has more than we.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) since: Instant,
    /// Since when nobody has what follows ours.
    pub(super) stuck: Option<Instant>,
    /// When to look whom to ask; `None`: when something happens to the chain.
    pub(super) due: Option<Instant>,
}

impl Behind {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, stuck: None, due: Some(now) }
    }
}

/// One channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: ChannelId,
    pub(super) keys: Arc<ChannelKeys>,
    /// Our chain that goes on.
    pub(super) own: ChainId,
    device: DeviceId,
    /// Whether the archive knows [`Self::device`].
    device_stored: bool,
    /// Whether a peer's word alone has made us go on in a new chain.
    was_told_longer: bool,
    pub(super) chains: BTreeMap<ChainId, Chain>,
    /// The greatest clock of all entries taken.
    clock: u64,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    storing: BTreeMap<u64, Storing>,
    storing_bytes: usize,
    pub(super) queued_bytes: usize,
    /// Taken, for the next batch.
    pub(super) fresh: Vec<Accepted>,
    /// Ids of ours that are on their way to the disk.
    saying: BTreeSet<MessageId>,
    receipts: BTreeMap<(ChainId, PeerId), Acknowledged>,
    pub(super) receipts_at: Option<Instant>,
    /// Forks whose proof is not on disk, nor on its way there.
    pub(super) forks_due: BTreeSet<ChainId>,
    /// Chains of ours that forked, of which something is to be said again.
    pub(super) again: BTreeMap<ChainId, Again>,
    /// Where one of them began to fork, as far as it is being looked for.
    pub(super) search: Option<Search>,
    store_failures: u32,
    pub(super) retry_at: Option<Instant>,
    pub(super) behind: BTreeMap<ChainId, Behind>,
    /// The chain that was wanted last, so that each has its turn.
    pub(super) wanted_last: ChainId,
    /// Where a chain may begin anew: the entry before.
    pub(super) jumps: BTreeMap<ChainId, u64>,
    pub(super) pull_at: Option<Instant>,
    /// Chains with a queue.
    pub(super) waiting: BTreeSet<ChainId>,
}

impl Channel {
    pub(super) fn new(core: &mut Core, keys: Arc<ChannelKeys>, state: ChannelState) -> Self {
        let id = keys.id();
        let chains: BTreeMap<_, _> = state
            .chains
            .into_iter()
            .map(|chain| (chain.certificate.chain(&id), Chain::restored(chain)))
            .collect();
        let clock = chains.values().map(|chain| chain.stored.clock).max().unwrap_or(0);
        let mut receipts: Vec<Receipt> = state.receipts;
        receipts.sort_by_key(|receipt| std::cmp::Reverse(receipt.number));
        receipts.truncate(LOG_RECEIPTS_MAX);
        let receipts = receipts
            .into_iter()
            .map(|Receipt { chain, number, by, role }| {
                // The proof of a fork may be newer than the receipt.
                let number = number.min(chains.get(&chain).map_or(u64::MAX, Chain::limit));
                ((chain, by), Acknowledged { role, said: number, sent: number })
            })
            .collect();
        let mut channel = Self {
            id,
            own: chain_id(&id, &core.me(), &state.device),
            keys,
            device: state.device,
            device_stored: true,
            was_told_longer: false,
            chains,
            clock,
            peers: BTreeMap::new(),
            storing: BTreeMap::new(),
            storing_bytes: 0,
            queued_bytes: 0,
            fresh: Vec::new(),
            saying: BTreeSet::new(),
            receipts,
            receipts_at: None,
            forks_due: BTreeSet::new(),
            again: BTreeMap::new(),
            search: None,
            store_failures: 0,
            retry_at: None,
            behind: BTreeMap::new(),
            wanted_last: ChainId([0; 16]),
            jumps: BTreeMap::new(),
            pull_at: None,
            waiting: BTreeSet::new(),
        };
        if channel.chains.get(&channel.own).is_some_and(|own| own.fork.is_some()) {
            // The archive's word of the next device was lost.
            channel.draw_device(core);
        }
        channel
    }

    /// Ends: what is on its way to the disk fails. Gives its peers back.
    pub(super) fn fall(mut self, core: &mut Core) -> BTreeMap<PeerId, Peer> {
        core.forget(self.id);
        for id in std::mem::take(&mut self.saying) {
            core.outputs.push_back(Output::SayFailed { channel: self.id, id });
        }
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.drop_flow(core, peer);
        }
        self.peers
    }

    pub(super) fn welcome(&mut self, core: &mut Core, peers: BTreeMap<PeerId, Peer>) {
        for (id, old) in peers {
            let mut peer = Peer::new();
            peer.has = old.has;
            peer.known = old.known;
            self.peers.insert(id, peer);
            if let Some(role) = old.role {
                self.member_up(core, id, role);
            }
        }
    }

    // --- what we say -------------------------------------------------------------------------

    pub(super) fn say(
        &mut self,
        core: &mut Core,
        id: Option<MessageId>,
        unix_ms: u64,
        text: String,
    ) -> Result<MessageId, SayError> {
        if let Some(id) = id.filter(|id| self.saying.contains(id)) {
            return Ok(id);
        }
        match text.len() {
            0 => return Err(SayError::Empty),
            len if len > MESSAGE_BYTES_MAX => return Err(SayError::TooLong { len }),
            _ => {}
        }
        if !self.keys.is_member() {
            return Err(SayError::Seeder);
        }
        if self.pending() + text.len() > LOG_PENDING_BYTES_MAX {
            return Err(SayError::Busy { bytes: self.pending() });
        }
        let id = id.unwrap_or_else(|| MessageId(core.rng.array()));
        self.chain_up(core, id, unix_ms, text)?;
        self.saying.insert(id);
        self.commit(core);
        Ok(id)
    }

    /// Puts a message at the end of our chain.
    pub(super) fn chain_up(
        &mut self,
        core: &mut Core,
        id: MessageId,
        unix_ms: u64,
        text: String,
    ) -> Result<(), SayError> {
        let certificate =
            Certificate::sign(&self.keys, core.me(), self.device).ok_or(SayError::Seeder)?;
        let own = self.chains.entry(self.own).or_insert_with(|| Chain::new(certificate));
        if own.failed {
            return Err(SayError::StoreFailing);
        }
        let before = own.taken;
        let number = before.head + 1;
        let head = Head {
            chain: self.own,
            number,
            clock: (self.clock + 1).min(clock_max(number)).max(before.clock + 1),
            previous: if before.head == 0 { chain_start(&self.own) } else { before.hash },
        };
        let said = Say { id, unix_ms, text, after: self.tips() };
        let entry = Entry::write(&self.keys, &core.key, &mut core.rng, head, &said.encode())
            .ok_or(SayError::Seeder)?;
        self.take(self.own, accepted(&entry, certificate, Some(Body::Say(said)), true));
        if let Some(own) = self.chains.get_mut(&self.own) {
            own.remember(number, entry.bytes);
        }
        Ok(())
    }

    /// The newest entries of other chains that are on disk and that we have not named yet.
    fn tips(&mut self) -> Vec<Tip> {
        let own = self.own;
        let news = |(id, chain): &(&ChainId, &mut Chain)| {
            **id != own && chain.fork.is_none() && chain.stored.head > chain.named
        };
        let mut tips: Vec<_> = self.chains.iter_mut().filter(news).collect();
        tips.sort_by_key(|(_, chain)| std::cmp::Reverse(chain.stored.clock));
        tips.truncate(ENTRY_AFTER_MAX);
        tips.into_iter()
            .map(|(id, chain)| {
                chain.named = chain.stored.head;
                Tip { chain: *id, number: chain.named }
            })
            .collect()
    }

    // --- the disk ----------------------------------------------------------------------------

    /// Bytes of entries on their way to the disk or waiting to be.
    pub(super) fn pending(&self) -> usize {
        self.storing_bytes + self.queued_bytes
    }

    /// Puts a checked entry at the end of its chain, to be stored with the next batch.
    pub(super) fn take(&mut self, id: ChainId, entry: Accepted) {
        if let Some(chain) = self.chains.get_mut(&id) {
            chain.taken = chain.taken.after(&entry);
            chain.remember_tip(&entry);
            self.clock = self.clock.max(entry.clock);
            self.fresh.push(entry);
        }
    }

    /// Has all that was taken stored.
    pub(super) fn commit(&mut self, core: &mut Core) {
        if !self.fresh.is_empty() {
            self.store(core);
        }
    }

    fn store(&mut self, core: &mut Core) {
        let entries = std::mem::take(&mut self.fresh);
        let mut marks = BTreeMap::new();
        let mut own = Vec::new();
        for entry in &entries {
            if let Some(chain) = self.chains.get(&entry.chain) {
                marks.insert(entry.chain, chain.taken);
            }
            if entry.chain == self.own
                && let Some(say) = entry.body.as_ref().and_then(Body::as_say)
            {
                own.push(say.id);
            }
        }
        let bytes = entries.iter().map(|entry| entry.bytes.len()).sum();
        let forks: Vec<ChainId> = std::mem::take(&mut self.forks_due).into_iter().collect();
        let mut new = Vec::new();
        for id in marks.keys().chain(&forks) {
            if let Some(chain) = self.chains.get_mut(id)
                && chain.stored.head == 0
            {
                new.push(chain.certificate);
            }
        }
        for id in marks.keys() {
            if let Some(chain) = self.chains.get_mut(id) {
                chain.batches += 1;
            }
        }
        let again = if marks.contains_key(&self.own) { self.said_again() } else { Vec::new() };
        let receipts = self.receipts_due();
        let device = (!self.device_stored).then_some(self.device);
        self.receipts_at = None;
        self.storing_bytes += bytes;
        let batch = core.new_batch(self.id);
        core.outputs.push_back(Output::Store(Batch {
            batch,
            channel: self.id,
            device,
            chains: new,
            entries,
            receipts: receipts.clone(),
            forks: forks
                .iter()
                .filter_map(|id| self.chains.get(id).and_then(|chain| chain.fork.clone()))
                .collect(),
        }));
        let receipts = receipts.iter().map(|it| ((it.chain, it.by), it.number)).collect();
        self.storing.insert(batch, Storing { marks, own, bytes, receipts, forks, device, again });
    }

    fn receipts_due(&mut self) -> Vec<Receipt> {
        let due = self.receipts.iter_mut().filter(|(_, it)| it.said > it.sent);
        due.map(|(&(chain, by), it)| {
            it.sent = it.said;
            Receipt { chain, number: it.said, by, role: it.role }
        })
        .collect()
    }

    pub(super) fn stored(&mut self, core: &mut Core, batch: u64) {
        let Some(storing) = self.storing.remove(&batch) else { return };
        self.storing_bytes -= storing.bytes;
        self.store_failures = 0;
        if storing.device == Some(self.device) {
            self.device_stored = true;
        }
        for id in storing.own {
            // What is only said again was told when it was said first.
            if self.saying.remove(&id) {
                core.outputs.push_back(Output::Said { channel: self.id, id });
            }
        }
        self.again_stored(&storing.again, true);
        for (&id, &mark) in &storing.marks {
            let Some(chain) = self.chains.get_mut(&id) else { continue };
            chain.batches -= 1;
            if mark.head > chain.stored.head {
                // Retention may have gone further than the mark.
                let base = mark.base.max(chain.stored.base);
                chain.stored = Mark { base, ..mark };
            }
            if chain.taken.head < chain.stored.head {
                chain.taken = chain.stored;
            }
            if chain.failed && chain.batches == 0 {
                self.restart(id);
            }
        }
        for &id in storing.marks.keys() {
            self.tell_of(core, id);
            self.count_receipts(core, id);
            self.wake(core.now, &id);
        }
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        if storing.marks.contains_key(&self.own) {
            for peer in peers {
                self.push(core, peer);
            }
        }
        self.say_again(core);
        self.pull(core);
    }

    pub(super) fn store_failed(&mut self, core: &mut Core, batch: u64) {
        let Some(storing) = self.storing.remove(&batch) else { return };
        self.storing_bytes -= storing.bytes;
        for id in storing.own {
            if self.saying.remove(&id) {
                core.outputs.push_back(Output::SayFailed { channel: self.id, id });
            }
        }
        self.again_stored(&storing.again, false);
        for (key, _) in storing.receipts {
            if let Some(receipt) = self.receipts.get_mut(&key) {
                receipt.sent = 0;
            }
        }
        let again = &self.again;
        self.forks_due.extend(storing.forks.into_iter().filter(|id| !again.contains_key(id)));
        for &id in storing.marks.keys() {
            let Some(chain) = self.chains.get_mut(&id) else { continue };
            chain.batches -= 1;
            chain.failed = true;
            if chain.batches == 0 {
                self.restart(id);
            }
        }
        let pause = STORE_RETRY_FIRST.saturating_mul(1 << self.store_failures.min(10));
        self.store_failures += 1;
        self.retry_at = Some(core.now + pause.min(STORE_RETRY_MAX));
    }

    /// Goes back to what is on disk of a chain of which something could not be stored.
    fn restart(&mut self, id: ChainId) {
        let Some(chain) = self.chains.get_mut(&id) else { return };
        self.queued_bytes -= chain.queue.iter().map(|entry| entry.bytes.len()).sum::<usize>();
        chain.take_back();
        self.waiting.remove(&id);
        if chain.is_empty() && chain.fork.is_none() {
            self.chains.remove(&id);
        }
    }

    pub(super) fn pruned(&mut self, core: &mut Core, id: ChainId, base: u64) {
        let Some(chain) = self.chains.get_mut(&id) else { return };
        for mark in [&mut chain.stored, &mut chain.taken] {
            mark.base = mark.base.max(base.min(mark.head));
        }
        self.tell_of(core, id);
    }

    // --- receipts ----------------------------------------------------------------------------

    /// Looks at what all peers have of a chain of ours.
    pub(super) fn count_receipts(&mut self, core: &mut Core, id: ChainId) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.count_receipt(core, id, peer);
        }
    }

    /// Counts what a peer says to have of a chain of ours, where it is what we have: its tip must be
    /// that of our entry. What it has beyond ours counts when we have caught up.
    pub(super) fn count_receipt(&mut self, core: &mut Core, id: ChainId, by: PeerId) {
        let own = self.chains.get(&id).filter(|it| it.certificate.author == core.me());
        let (Some(chain), Some(peer)) = (own, self.peers.get_mut(&by)) else { return };
        let (Some(role), Some(held)) = (peer.role, peer.has.get(&id)) else { return };
        // An author may hear of itself from another device of its own, which has other things: only
        // what a peer says itself to have is a receipt.
        let Some(tip) = held.tip else { return };
        let number = held.head.min(chain.limit());
        let known = self.receipts.get(&(id, by)).map_or(0, |it| it.said);
        if by == core.me() || held.head > chain.stored.head || number <= known {
            return;
        }
        match chain.tip_of(held.head) {
            Some(ours) if ours == tip => self.acknowledge(core, id, by, role, number),
            Some(_) => {}
            None if held.head > chain.stored.base && peer.checking.insert(id) => {
                let reading = Reading::Receipt { chain: id, peer: by };
                core.read(self.id, reading, held.head, 1);
            }
            None => {}
        }
    }

    /// Our entry that a peer says to have last has been read, to be compared with what it says.
    pub(super) fn check_receipt(
        &mut self,
        core: &mut Core,
        id: ChainId,
        by: PeerId,
        entry: Option<&Entry>,
    ) {
        let Some(peer) = self.peers.get_mut(&by) else { return };
        peer.checking.remove(&id);
        let (Some(role), Some(&held), Some(entry)) = (peer.role, peer.has.get(&id), entry) else {
            return;
        };
        if held.head != entry.head.number {
            // It has said something else meanwhile.
            return self.count_receipt(core, id, by);
        }
        let limit = self.chains.get(&id).map_or(0, Chain::limit);
        if held.tip == Some(entry.hash.tip()) && limit > 0 {
            self.acknowledge(core, id, by, role, held.head.min(limit));
        }
    }

    fn acknowledge(&mut self, core: &Core, id: ChainId, by: PeerId, role: Role, number: u64) {
        if !self.receipts.contains_key(&(id, by)) && !self.make_room_for_receipt() {
            return;
        }
        let receipt =
            self.receipts.entry((id, by)).or_insert(Acknowledged { role, said: 0, sent: 0 });
        if number > receipt.said {
            receipt.role = role;
            receipt.said = number;
            self.receipts_at.get_or_insert(core.now + RECEIPTS_GATHERED);
        }
    }

    /// Where there are too many receipts, forgets the least of those whose peers are not here.
    fn make_room_for_receipt(&mut self) -> bool {
        if self.receipts.len() < LOG_RECEIPTS_MAX {
            return true;
        }
        let gone = |(_, by): &(ChainId, PeerId)| !self.peers.get(by).is_some_and(Peer::is_up);
        let least = self.receipts.iter().filter(|(key, _)| gone(key));
        let least = least.min_by_key(|(_, it)| it.said).map(|(key, _)| *key);
        least.is_some_and(|key| self.receipts.remove(&key).is_some())
    }

    /// Takes back what peers were said to have of a chain of ours from a fork on: it may be the other
    /// side of it.
    fn drop_receipts(&mut self, id: ChainId, from: u64) {
        self.receipts.retain(|(chain, _), it| {
            if *chain == id {
                it.said = it.said.min(from - 1);
                it.sent = it.sent.min(from - 1);
            }
            it.said > 0
        });
    }

    // --- chains ------------------------------------------------------------------------------

    /// Whether one more chain of an author may be begun.
    pub(super) fn room_for(&self, author: &PeerId) -> bool {
        let linked = self.peers.get(author).is_some_and(Peer::is_up);
        let max = CHAINS_PER_CHANNEL_MAX - if linked { 0 } else { CHAINS_FOR_LINKED };
        self.chains.len() < max
            && self.chains.values().filter(|it| it.certificate.author == *author).count()
                < CHAINS_PER_AUTHOR_MAX
    }

    /// Goes on in a new chain: the present one was rolled back, or forked.
    pub(super) fn draw_device(&mut self, core: &mut Core) {
        self.device = DeviceId(core.rng.array());
        self.device_stored = false;
        self.own = chain_id(&self.id, &core.me(), &self.device);
        self.receipts_at.get_or_insert(core.now);
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.drop_pushed(core, peer);
        }
    }

    pub(super) fn set_fork(&mut self, core: &mut Core, proof: ForkProof) {
        let (id, number) = (proof.chain, proof.number);
        let Some(chain) = self.chains.get_mut(&id).filter(|chain| number <= chain.limit()) else {
            return;
        };
        let author = chain.certificate.author;
        let before = chain.limit().saturating_add(1);
        let frame = super::take::fork_frame(self.id, chain.certificate, &proof);
        chain.fork = Some(proof);
        while chain.queue.back().is_some_and(|last| last.number >= number)
            && let Some(last) = chain.queue.pop_back()
        {
            self.queued_bytes -= last.bytes.len();
        }
        if author == core.me() {
            self.drop_receipts(id, number);
        } else {
            self.forks_due.insert(id);
            self.receipts_at.get_or_insert(core.now);
        }
        core.outputs.push_back(Output::Forked { channel: self.id, author, chain: id, number });
        for (&peer, it) in &self.peers {
            if it.is_up() {
                core.send(peer, frame.clone());
            }
        }
        self.wake(core.now, &id);
        if id == self.own {
            self.draw_device(core);
        }
        if author == core.me() {
            self.begin_again(core, id, number, before);
        }
    }

    /// A peer says to have more of our present chain than we: our disk was rolled back, or the
    /// profile runs twice. Once in a run, and while few chains are ours, that is believed before
    /// there is proof, so that nothing more is said in a chain that forks.
    pub(super) fn told_longer(&mut self, core: &mut Core) {
        let me = core.me();
        let own = self.chains.values().filter(|chain| chain.certificate.author == me).count();
        if !self.was_told_longer && own < CHAINS_PER_AUTHOR_MAX / 2 && self.keys.is_member() {
            self.was_told_longer = true;
            self.draw_device(core);
        }
    }

    // --- time --------------------------------------------------------------------------------

    /// Whether a wish was not answered in time.
    pub(super) fn timeout(&mut self, core: &mut Core) -> bool {
        let now = core.now;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.retry_at) {
            self.retry_at = None;
            self.receipts_at.get_or_insert(now);
            self.look_for_more(core);
            self.say_again(core);
        }
        if due(self.receipts_at) && self.retry_at.is_none() {
            self.receipts_at = None;
            let receipts = self.receipts.values().any(|it| it.said > it.sent);
            if receipts || !self.forks_due.is_empty() || !self.device_stored {
                self.store(core);
            }
        }
        let late = self.time_out_wishes(core);
        self.time_out_search(core);
        self.tell_due(core);
        self.take_ready(core);
        self.commit(core);
        if due(self.pull_at) {
            self.pull(core);
        }
        late
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        // Receipts wait while the disk refuses.
        let receipts = if self.retry_at.is_some() { None } else { self.receipts_at };
        let peers = self.peers.values().flat_map(|peer| {
            let deadlines = peer.wanted.iter().map(|wanted| wanted.deadline);
            deadlines.chain(peer.tell_at).chain(peer.ask_at.map(|(at, _)| at))
        });
        let queues = self.waiting.iter().filter_map(|id| self.chains.get(id)?.queue_until);
        let own = [self.retry_at, receipts, self.pull_at, self.search_at()];
        own.into_iter().flatten().chain(peers).chain(queues).min()
    }
}

/// An entry that passed all checks.
pub(super) fn accepted(
    entry: &Entry,
    certificate: Certificate,
    body: Option<Body>,
    own: bool,
) -> Accepted {
    let Head { chain, number, clock, .. } = entry.head;
    let Certificate { author, device, .. } = certificate;
    let (hash, bytes): (_, Bytes) = (entry.hash, entry.bytes.clone());
    let begins = number == 1;
    Accepted { chain, author, device, number, clock, hash, bytes, body, begins, own }
}

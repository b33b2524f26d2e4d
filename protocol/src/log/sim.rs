//! A whole channel in memory, replayed from a seed: members, a blind seeder, links that are cut and
//! doubled, archives that fail, crash and are rolled back, an author with two tongues, a peer that
//! lies. In the end all is healed, and a checker looks for what the log promises.
//!
//! Promised, and checked: nothing is sent or told before it is on disk; a receipt names only what is
//! on the other's disk; what was acknowledged is at everybody, once; everybody has one order; no
//! answer stands before what it answers; no honest node forks; all logs are equal, or their fork is
//! known to all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    Accepted, Batch, Body, Certificate, ChainState, ChannelState, EntryHash, ForkProof, Input, Log,
    Output, Position, Receipt, Role, SayError,
};
use crate::channel::{ChannelKeys, ChannelSecret};
use crate::crypto::sign::SigningKey;
use crate::crypto::{Rng, Secret};
use crate::id::{ChainId, ChannelId, DeviceId, MessageId, PeerId};
use crate::limits::CONTROL_QUEUE_BYTES_MAX;
use crate::machine::Machine as _;
use crate::wire::{ChainHave, EntryBytes, Frame};

/// What one run did; for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Nodes, the seeder and twins included.
    pub nodes: usize,
    /// Messages that were acknowledged.
    pub said: usize,
    /// Messages that the disk refused.
    pub refused: usize,
    /// Times that a node was killed.
    pub crashes: usize,
    /// Times that an archive was rolled back.
    pub rollbacks: usize,
    /// Links that were cut.
    pub cuts: usize,
    /// Frames that arrived.
    pub frames: usize,
    /// Chains that forked, as seen by all honest nodes together.
    pub forks: usize,
    /// From the healing until all logs were equal.
    pub healed_after: Duration,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {what}")]
pub struct Failure {
    /// Repeats the run.
    pub seed: u64,
    /// Which promise was broken.
    pub what: String,
}

/// Runs the channel of one seed.
///
/// # Errors
///
/// [`Failure`] when a promise was broken.
pub fn run(now: Instant, seed: u64) -> Result<Report, Failure> {
    let mut world = World::new(now, seed);
    world.live().and_then(|()| world.heal()).map_err(|what| Failure { seed, what })?;
    Ok(world.report)
}

/// What a node keeps on its disk.
#[derive(Debug, Clone)]
struct Disk {
    device: DeviceId,
    chains: BTreeMap<ChainId, Stored>,
    receipts: BTreeMap<(ChainId, PeerId), Receipt>,
}

#[derive(Debug, Clone)]
struct Stored {
    certificate: Certificate,
    entries: BTreeMap<u64, Accepted>,
    fork: Option<ForkProof>,
}

impl Stored {
    fn head(&self) -> u64 {
        self.entries.keys().next_back().copied().unwrap_or(0)
    }
}

impl Disk {
    fn state(&self) -> ChannelState {
        let chains = self.chains.values().map(|chain| {
            let last = chain.entries.values().next_back();
            ChainState {
                certificate: chain.certificate,
                base: 0,
                head: chain.head(),
                head_hash: last.map_or(EntryHash([0; 32]), |last| last.hash),
                head_clock: last.map_or(0, |last| last.clock),
                forked: chain.fork.clone(),
            }
        });
        let chains = chains.collect();
        let receipts = self.receipts.values().copied().collect();
        ChannelState { device: self.device, chains, receipts }
    }

    /// Stores all of a batch, or nothing.
    fn append(&mut self, id: &ChannelId, batch: &Batch) -> bool {
        let mut heads: BTreeMap<ChainId, u64> = BTreeMap::new();
        for entry in &batch.entries {
            let stored = || self.chains.get(&entry.chain).map_or(0, Stored::head);
            let head = heads.entry(entry.chain).or_insert_with(stored);
            if entry.number > *head + 1 {
                return false;
            }
            *head = entry.number.max(*head);
        }
        self.device = batch.device.unwrap_or(self.device);
        for &certificate in &batch.chains {
            let fresh = || Stored { certificate, entries: BTreeMap::new(), fork: None };
            self.chains.entry(certificate.chain(id)).or_insert_with(fresh);
        }
        for entry in &batch.entries {
            if let Some(chain) = self.chains.get_mut(&entry.chain) {
                chain.entries.entry(entry.number).or_insert_with(|| entry.clone());
            }
        }
        for receipt in &batch.receipts {
            self.receipts.insert((receipt.chain, receipt.by), *receipt);
        }
        for fork in &batch.forks {
            if let Some(chain) = self.chains.get_mut(&fork.chain)
                && chain.fork.as_ref().is_none_or(|old| fork.number < old.number)
            {
                chain.fork = Some(fork.clone());
            }
        }
        true
    }

    fn load(&self, chain: &ChainId, from: u64, bytes_max: usize) -> Vec<Bytes> {
        let mut room = bytes_max;
        let chain = self.chains.get(chain).into_iter();
        chain
            .flat_map(|chain| chain.entries.range(from..))
            .enumerate()
            .map_while(|(at, (_, entry))| {
                let fits = at == 0 || entry.bytes.len() <= room;
                room = room.saturating_sub(entry.bytes.len());
                fits.then(|| entry.bytes.clone())
            })
            .collect()
    }
}

/// What a node has asked its archive for and is not done.
#[derive(Debug)]
enum Job {
    Store(Batch),
    Load { request: u64, chain: ChainId, from: u64, bytes_max: usize },
}

struct Node {
    key: SigningKey,
    id: PeerId,
    keys: Arc<ChannelKeys>,
    role: Role,
    log: Log,
    disk: Disk,
    jobs: VecDeque<Job>,
    snapshot: Option<Disk>,
    /// Its archive has been rolled back: its chains may have forked.
    rolled_back: bool,
    /// All that was ever on its disk.
    had: BTreeSet<[u8; 32]>,
    /// Has a twin that says other things under the same name.
    evil: bool,
    /// Tells and sends what is not so.
    liar: bool,
    /// The disk refuses until then.
    full_until: Instant,
}

/// What links two nodes: each link a queue in each direction, and the one that carries what is sent.
#[derive(Default)]
struct Pair {
    links: Vec<[VecDeque<Frame>; 2]>,
    carrier: usize,
}

struct World {
    now: Instant,
    rng: Rng,
    channel: ChannelId,
    nodes: Vec<Node>,
    pairs: BTreeMap<(usize, usize), Pair>,
    /// Which nodes can reach each other.
    sides: Vec<u64>,
    /// Acknowledged: who said it.
    said: BTreeMap<MessageId, usize>,
    /// Acknowledged, and lost with an archive that was rolled back: nobody has to have it.
    lost: BTreeSet<MessageId>,
    /// What was said in each chain.
    spoken: BTreeMap<ChainId, BTreeSet<MessageId>>,
    forks: BTreeSet<ChainId>,
    report: Report,
    healing: bool,
}

/// Frames after the healing that are far more than any exchange needs.
const HEALING_FRAMES_MAX: usize = 50_000;

type Check = Result<(), String>;

impl World {
    fn new(now: Instant, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut rng = Rng::from_seed(bytes);
        let member = ChannelKeys::member(ChannelSecret(Secret::new(rng.array())));
        let seeder = ChannelKeys::seeder(member.seed_key().clone(), member.public_key());
        let (member, seeder) = (Arc::new(member), Arc::new(seeder));
        let mut world = Self {
            now,
            channel: member.id(),
            nodes: Vec::new(),
            pairs: BTreeMap::new(),
            sides: Vec::new(),
            said: BTreeMap::new(),
            lost: BTreeSet::new(),
            spoken: BTreeMap::new(),
            forks: BTreeSet::new(),
            report: Report::default(),
            healing: false,
            rng,
        };
        let members = 2 + world.rng.below(4);
        for _ in 0..members {
            let key = SigningKey::from_seed(world.rng.secret());
            let device = DeviceId(world.rng.array());
            world.add(key, device, &member, Role::Member);
        }
        if world.chance(2, 3) {
            let key = SigningKey::from_seed(world.rng.secret());
            let device = DeviceId(world.rng.array());
            world.add(key, device, &seeder, Role::Seeder);
        }
        // An author with two tongues is two honest programs with one key and one device.
        if world.chance(1, 4) && members > 2 {
            let (key, device) = (world.nodes[0].key.clone(), world.nodes[0].disk.device);
            world.add(key, device, &member, Role::Member);
            let last = world.nodes.len() - 1;
            world.nodes[0].evil = true;
            world.nodes[last].evil = true;
        }
        // A liar can keep an honest node from nothing that another honest node has.
        if world.chance(1, 4) && members > 2 {
            world.nodes[1].liar = true;
        }
        world.report.nodes = world.nodes.len();
        world.sides = vec![0; world.nodes.len()];
        world
    }

    fn add(&mut self, key: SigningKey, device: DeviceId, keys: &Arc<ChannelKeys>, role: Role) {
        let disk = Disk { device, chains: BTreeMap::new(), receipts: BTreeMap::new() };
        let mut node = Node {
            id: PeerId(*key.public()),
            log: Log::new(self.now, key.clone(), self.rng.fork()),
            key,
            keys: Arc::clone(keys),
            role,
            disk,
            jobs: VecDeque::new(),
            snapshot: None,
            rolled_back: false,
            had: BTreeSet::new(),
            evil: false,
            liar: false,
            full_until: self.now,
        };
        let state = node.disk.state();
        let (channel, keys) = (self.channel, Arc::clone(keys));
        node.log.handle_input(self.now, Input::Opened { channel, keys, state });
        self.nodes.push(node);
    }

    fn chance(&mut self, times: u64, of: u64) -> bool {
        self.rng.below(of) < times
    }

    fn pick(&mut self, of: usize) -> usize {
        usize::try_from(self.rng.below(of as u64)).unwrap_or(0)
    }

    // --- life ------------------------------------------------------------------------------------

    fn live(&mut self) -> Check {
        let steps = 300 + self.rng.below(500);
        for _ in 0..steps {
            self.now += Duration::from_millis(self.rng.below(120));
            self.happen()?;
            for _ in 0..self.rng.below(6) {
                self.work()?;
            }
            self.tick()?;
        }
        Ok(())
    }

    fn happen(&mut self) -> Check {
        let node = self.pick(self.nodes.len());
        match self.rng.below(100) {
            0..25 => self.say(node)?,
            25..40 => {
                let other = self.pick(self.nodes.len());
                self.link(node, other)?;
            }
            40..47 => {
                let other = self.pick(self.nodes.len());
                self.cut(node, other)?;
            }
            47..50 => self.crash(node)?,
            50..52 => {
                let pause = Duration::from_millis(self.rng.below(5000));
                self.nodes[node].full_until = self.now + pause;
            }
            52..54 => self.partition()?,
            54..55 => self.nodes[node].snapshot = Some(self.nodes[node].disk.clone()),
            55..56 => self.flood(node)?,
            _ => {}
        }
        Ok(())
    }

    fn say(&mut self, at: usize) -> Check {
        let long = if self.chance(1, 20) { 20_000 } else { 0 };
        let text = format!("{:>width$}", self.report.said, width = 1 + long);
        match self.nodes[at].log.say(self.channel, None, 0, text) {
            Ok(_) | Err(SayError::Busy { .. } | SayError::Seeder | SayError::StoreFailing) => {}
            Err(error) => return Err(format!("node {at} cannot speak: {error}")),
        }
        self.drain(at)
    }

    fn flood(&mut self, at: usize) -> Check {
        for _ in 0..30 {
            self.say(at)?;
        }
        Ok(())
    }

    fn crash(&mut self, at: usize) -> Check {
        self.report.crashes += 1;
        // Some of what was on its way got to the disk, though nobody was told.
        let jobs = std::mem::take(&mut self.nodes[at].jobs);
        let done = self.pick(jobs.len() + 1);
        for job in jobs.into_iter().take(done) {
            if let Job::Store(batch) = job
                && self.nodes[at].disk.append(&self.channel, &batch)
            {
                self.note_stored(at, &batch);
            }
        }
        for other in 0..self.nodes.len() {
            while self.pairs.contains_key(&pair(at, other)) {
                self.cut(at, other)?;
            }
        }
        if !self.healing
            && self.chance(1, 4)
            && let Some(disk) = self.nodes[at].snapshot.take()
        {
            self.report.rollbacks += 1;
            let kept = messages(&disk);
            let own = self.said.iter().filter(|(_, author)| **author == at).map(|(id, _)| *id);
            self.lost.extend(own.filter(|id| !kept.contains(id)));
            self.nodes[at].rolled_back = true;
            self.nodes[at].disk = disk;
        }
        let rng = self.rng.fork();
        let node = &mut self.nodes[at];
        node.jobs.clear();
        node.log = Log::new(self.now, node.key.clone(), rng);
        let (channel, keys, state) = (self.channel, Arc::clone(&node.keys), node.disk.state());
        node.log.handle_input(self.now, Input::Opened { channel, keys, state });
        self.drain(at)
    }

    fn partition(&mut self) -> Check {
        let heal = self.chance(1, 2);
        for at in 0..self.nodes.len() {
            self.sides[at] = if heal { 0 } else { self.rng.below(2) };
        }
        for a in 0..self.nodes.len() {
            for b in 0..a {
                while self.sides[a] != self.sides[b] && self.pairs.contains_key(&pair(a, b)) {
                    self.cut(a, b)?;
                }
            }
        }
        Ok(())
    }

    /// Whether two nodes may be linked: nobody is linked with both twins, nor they with each other.
    fn may_link(&self, a: usize, b: usize) -> bool {
        let taken = |it: usize, id: PeerId| {
            (0..self.nodes.len()).any(|other| {
                self.nodes[other].id == id
                    && other != a
                    && other != b
                    && self.pairs.contains_key(&pair(it, other))
            })
        };
        a != b
            && self.sides[a] == self.sides[b]
            && self.nodes[a].id != self.nodes[b].id
            && !taken(a, self.nodes[b].id)
            && !taken(b, self.nodes[a].id)
    }

    fn link(&mut self, a: usize, b: usize) -> Check {
        if !self.may_link(a, b) {
            return Ok(());
        }
        let links = self.pairs.entry(pair(a, b)).or_default();
        if links.links.len() >= 3 {
            return Ok(());
        }
        links.links.push(Default::default());
        links.carrier = links.links.len() - 1;
        let first = links.links.len() == 1;
        for (at, with) in [(a, b), (b, a)] {
            let (peer, role) = (self.nodes[with].id, self.nodes[with].role);
            let channel = self.channel;
            if first {
                self.give(at, Input::MemberUp { channel, peer, role })?;
            } else {
                self.give(at, Input::Rerouted(peer))?;
            }
        }
        Ok(())
    }

    /// Cuts one link of two nodes; what was on its way there is lost.
    fn cut(&mut self, a: usize, b: usize) -> Check {
        let Some(links) = self.pairs.get_mut(&pair(a, b)) else { return Ok(()) };
        self.report.cuts += 1;
        let at = usize::try_from(self.rng.below(links.links.len() as u64)).unwrap_or(0);
        links.links.remove(at);
        let rerouted = links.carrier == at;
        links.carrier = match links.carrier {
            carrier if carrier > at => carrier - 1,
            carrier => carrier.min(links.links.len().saturating_sub(1)),
        };
        let last = links.links.is_empty();
        if last {
            self.pairs.remove(&pair(a, b));
        }
        for (at, with) in [(a, b), (b, a)] {
            let peer = self.nodes[with].id;
            if last {
                let channel = self.channel;
                self.give(at, Input::MemberDown { channel, peer })?;
                self.give(at, Input::PeerDown(peer))?;
            } else if rerouted {
                self.give(at, Input::Rerouted(peer))?;
            }
        }
        Ok(())
    }

    // --- work ------------------------------------------------------------------------------------

    /// Does one of the things that are under way; whether there was any.
    fn work(&mut self) -> Result<bool, String> {
        let mut ready: Vec<(usize, usize, usize, usize)> = Vec::new();
        for (&(a, b), links) in &self.pairs {
            for (link, queues) in links.links.iter().enumerate() {
                for (direction, queue) in queues.iter().enumerate() {
                    if !queue.is_empty() {
                        ready.push((a, b, link, direction));
                    }
                }
            }
        }
        let disks: Vec<usize> =
            (0..self.nodes.len()).filter(|&at| !self.nodes[at].jobs.is_empty()).collect();
        if ready.is_empty() && disks.is_empty() {
            return Ok(false);
        }
        let at = self.pick(ready.len() + disks.len());
        if let Some(&at) = at.checked_sub(ready.len()).and_then(|at| disks.get(at)) {
            self.job(at)?;
            return Ok(true);
        }
        let (a, b, link, direction) = ready[at];
        let (from, to) = if direction == 0 { (a, b) } else { (b, a) };
        let many = 1 + self.pick(4);
        let Some(links) = self.pairs.get_mut(&(a, b)) else { return Ok(true) };
        let queue = &mut links.links[link][direction];
        let frames: Vec<Frame> = queue.drain(..many.min(queue.len())).collect();
        self.report.frames += frames.len();
        let from = self.nodes[from].id;
        self.give(to, Input::FramesReceived { from, frames })?;
        Ok(true)
    }

    fn job(&mut self, at: usize) -> Check {
        let full = !self.healing && self.now < self.nodes[at].full_until;
        let node = &mut self.nodes[at];
        let input = match node.jobs.pop_front() {
            None => return Ok(()),
            Some(Job::Load { request, chain, from, bytes_max }) => {
                let entries = node.disk.load(&chain, from, bytes_max);
                Input::Loaded { request, entries }
            }
            Some(Job::Store(batch)) => {
                self.check_receipts(at, &batch)?;
                let number = batch.batch;
                if !full && self.nodes[at].disk.append(&self.channel, &batch) {
                    self.note_stored(at, &batch);
                    Input::Stored { batch: number }
                } else {
                    Input::StoreFailed { batch: number }
                }
            }
        };
        self.give(at, input)
    }

    fn note_stored(&mut self, at: usize, batch: &Batch) {
        for entry in &batch.entries {
            self.nodes[at].had.insert(entry.hash.0);
            if let Some(say) = entry.body.as_ref().and_then(Body::as_say) {
                self.spoken.entry(entry.chain).or_default().insert(say.id);
            }
        }
    }

    fn tick(&mut self) -> Check {
        for at in 0..self.nodes.len() {
            if self.nodes[at].log.poll_timeout().is_some_and(|due| due <= self.now) {
                self.nodes[at].log.handle_timeout(self.now);
                self.drain(at)?;
            }
        }
        Ok(())
    }

    fn give(&mut self, at: usize, input: Input) -> Check {
        self.nodes[at].log.handle_input(self.now, input);
        self.drain(at)
    }

    fn drain(&mut self, at: usize) -> Check {
        while let Some(output) = self.nodes[at].log.poll_output() {
            match output {
                Output::Send { to, frame } => self.send(at, to, frame)?,
                Output::Store(batch) => self.nodes[at].jobs.push_back(Job::Store(batch)),
                Output::Load { request, chain, from, bytes_max, .. } => {
                    let job = Job::Load { request, chain, from, bytes_max };
                    self.nodes[at].jobs.push_back(job);
                }
                Output::Said { id, .. } => {
                    self.report.said += 1;
                    if self.said.insert(id, at).is_some() {
                        return Err(format!("{id} was acknowledged twice"));
                    }
                }
                Output::SayFailed { .. } => self.report.refused += 1,
                Output::Forked { author, chain, .. } => {
                    self.forks.insert(chain);
                    let honest = |node: &Node| node.id == author && !node.evil && !node.rolled_back;
                    if self.nodes.iter().any(honest) {
                        return Err(format!("an honest node, {author:?}, is said to have forked"));
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize, to: PeerId, frame: Frame) -> Check {
        self.check_sent(from, &frame)?;
        let frame = if self.nodes[from].liar { self.lie(frame) } else { Some(frame) };
        let is_linked =
            |at: usize| self.nodes[at].id == to && self.pairs.contains_key(&pair(from, at));
        let to = (0..self.nodes.len()).find(|&at| is_linked(at));
        let (Some(frame), Some(to)) = (frame, to) else { return Ok(()) };
        let Some(links) = self.pairs.get_mut(&pair(from, to)) else { return Ok(()) };
        let carrier = links.carrier;
        let queue = &mut links.links[carrier][usize::from(from > to)];
        queue.push_back(frame);
        let mut bytes = 0;
        for frame in queue.iter() {
            if let Frame::Entries(frame) = frame {
                bytes += frame.entries.iter().map(|entry| entry.0.len()).sum::<usize>();
            }
        }
        if bytes > CONTROL_QUEUE_BYTES_MAX {
            return Err(format!("{bytes} bytes wait on the link from {from} to {to}"));
        }
        Ok(())
    }

    /// What a liar makes of an honest frame.
    fn lie(&mut self, mut frame: Frame) -> Option<Frame> {
        if self.chance(2, 3) {
            return Some(frame);
        }
        if let Frame::Have(have) = &mut frame {
            for chain in &mut have.chains {
                chain.head += self.rng.below(3);
                chain.base = chain.base.max(self.rng.below(2));
                chain.tip[0] ^= u8::try_from(self.rng.below(2)).unwrap_or(0);
            }
            if self.chance(1, 4) {
                let (chain, tip) = (ChainId(self.rng.array()), self.rng.array());
                let (base, head) = (self.rng.below(2), 2 + self.rng.below(9));
                have.chains.push(ChainHave { chain, base, head, tip });
            }
        } else if let Frame::Entries(entries) = &mut frame {
            match self.rng.below(4) {
                0 => entries.more = true,
                1 => entries.entries.clear(),
                2 => return None,
                _ => {}
            }
            if self.chance(9, 10) {
                return Some(frame);
            }
            for EntryBytes(entry) in &mut entries.entries {
                let mut bytes = entry.to_vec();
                let at = usize::try_from(self.rng.below(bytes.len() as u64)).unwrap_or(0);
                bytes[at] ^= 1;
                *entry = bytes.into();
            }
        } else {
            return None;
        }
        Some(frame)
    }

    // --- promises --------------------------------------------------------------------------------

    /// Nothing leaves a node, and nobody is told of it, before it is on disk.
    fn check_sent(&self, at: usize, frame: &Frame) -> Check {
        let disk = &self.nodes[at].disk;
        if let Frame::Entries(entries) = frame {
            for EntryBytes(bytes) in &entries.entries {
                let held = |chain: &Stored| chain.entries.values().any(|it| it.bytes == *bytes);
                if !disk.chains.values().any(held) {
                    return Err(format!("node {at} sends what is not on its disk"));
                }
            }
        } else if let Frame::Have(have) = frame {
            for chain in &have.chains {
                let head = disk.chains.get(&chain.chain).map_or(0, Stored::head);
                if chain.head > head {
                    return Err(format!("node {at} tells of {} and has {head}", chain.head));
                }
            }
        }
        Ok(())
    }

    /// A receipt names only what is on the other's disk, the very entry that we have.
    fn check_receipts(&self, at: usize, batch: &Batch) -> Check {
        for receipt in &batch.receipts {
            let chain = self.nodes[at].disk.chains.get(&receipt.chain);
            let Some(ours) = chain.and_then(|chain| chain.entries.get(&receipt.number)) else {
                return Err(format!("node {at} has a receipt for what it lacks itself"));
            };
            let mut named = self.nodes.iter().filter(|node| node.id == receipt.by);
            if !named.any(|node| node.liar || node.had.contains(&ours.hash.0)) {
                return Err(format!("node {at} has a receipt for what {:?} lacks", receipt.by));
            }
        }
        Ok(())
    }

    fn heal(&mut self) -> Check {
        self.healing = true;
        self.sides = vec![0; self.nodes.len()];
        let healed = self.now;
        // Crashed once more, so that what is checked is what is on disk.
        for at in 0..self.nodes.len() {
            if self.chance(1, 2) {
                self.crash(at)?;
            }
        }
        for a in 0..self.nodes.len() {
            for b in 0..a {
                if !self.pairs.contains_key(&pair(a, b)) {
                    self.link(a, b)?;
                }
            }
        }
        let end = self.now + Duration::from_secs(2000);
        let frames_max = self.report.frames + HEALING_FRAMES_MAX;
        while self.now < end {
            if self.report.frames > frames_max {
                let state = self.check_equal();
                return Err(format!("{HEALING_FRAMES_MAX} frames and no end: {state:?}"));
            }
            if self.work()? {
                self.now += Duration::from_millis(1);
            } else {
                if self.check_equal().is_ok() && self.check_said().is_ok() {
                    break;
                }
                let next = self.nodes.iter().filter_map(|node| node.log.poll_timeout()).min();
                let Some(next) = next else { break };
                self.now = self.now.max(next);
            }
            self.tick()?;
        }
        self.report.healed_after = self.now - healed;
        self.report.forks = self.forks.len();
        self.check_equal()?;
        self.check_said()?;
        self.check_order()
    }

    /// What a node shows: all it has, but for what follows a fork, in the one order.
    fn shown(&self, at: usize) -> BTreeMap<Position, EntryHash> {
        let chains = self.nodes[at].disk.chains.values();
        let entries = chains.flat_map(|chain| {
            let fork = self.nodes.iter().filter_map(|node| {
                let chain = node.disk.chains.get(&chain.certificate.chain(&self.channel))?;
                chain.fork.as_ref().map(|fork| fork.number)
            });
            let end = fork.min().unwrap_or(u64::MAX);
            chain.entries.range(..end).map(|(_, entry)| (entry.position(), entry.hash))
        });
        entries.collect()
    }

    /// Who must keep what is promised; a twin may not even be linked, and a liar lies to the end.
    fn honest(&self) -> Vec<usize> {
        let honest = |node: &Node| !node.evil && !node.liar;
        (0..self.nodes.len()).filter(|&at| honest(&self.nodes[at])).collect()
    }

    /// All have the same, and the same forks.
    fn check_equal(&self) -> Check {
        let forks = |at: usize| -> BTreeSet<ChainId> {
            let chains = self.nodes[at].disk.chains.iter();
            chains.filter(|(_, chain)| chain.fork.is_some()).map(|(id, _)| *id).collect()
        };
        let honest = self.honest();
        let first = honest[0];
        for &at in &honest {
            if forks(at) != forks(first) {
                return Err(format!("nodes {first} and {at} know of other forks"));
            }
            let (mine, other) = (self.shown(first), self.shown(at));
            // A chain may differ below the number of its proof, where its author forked earlier.
            let differs = |(position, hash): (&Position, &EntryHash), there: &BTreeMap<_, _>| {
                let chain = super::chain_id(&self.channel, &position.author, &position.device);
                there.get(position) != Some(hash) && !forks(first).contains(&chain)
            };
            let missing = mine.iter().filter(|it| differs(*it, &other)).count();
            let more = other.iter().filter(|it| differs(*it, &mine)).count();
            if missing + more > 0 {
                return Err(format!("node {at} lacks {missing} of {first}'s, and has {more} more"));
            }
        }
        Ok(())
    }

    /// What was acknowledged is at everybody, once.
    fn check_said(&self) -> Check {
        let forked = self.forks.iter().filter_map(|chain| self.spoken.get(chain));
        let forked: BTreeSet<MessageId> = forked.flatten().copied().collect();
        for at in self.honest() {
            let node = &self.nodes[at];
            let entries = node.disk.chains.values().flat_map(|chain| chain.entries.values());
            let ids: Vec<MessageId> = entries
                .filter_map(|entry| {
                    let body = match &entry.body {
                        Some(body) => body.clone(),
                        // Members can read what the seeder keeps.
                        None => super::Entry::decode(&self.channel, entry.bytes.clone())
                            .ok()?
                            .open(&self.nodes[0].keys)?,
                    };
                    body.as_say().map(|say| say.id)
                })
                .collect();
            let mut once: BTreeSet<MessageId> = BTreeSet::new();
            for id in &ids {
                // What was said in a chain that forked is said again under its id, and shown once.
                if !once.insert(*id) && !forked.contains(id) {
                    return Err(format!("node {at} has a message twice"));
                }
            }
            if (node.role == Role::Seeder)
                != node
                    .disk
                    .chains
                    .values()
                    .all(|chain| chain.entries.values().all(|entry| entry.body.is_none()))
                && !ids.is_empty()
            {
                return Err(format!("node {at} reads what it must not, or does not read"));
            }
            for (id, &author) in &self.said {
                let author = &self.nodes[author];
                if !author.evil && !author.liar && !self.lost.contains(id) && !once.contains(id) {
                    return Err(format!("{id} was acknowledged, and node {at} lacks it"));
                }
            }
        }
        Ok(())
    }

    /// No answer stands before what it answers.
    fn check_order(&self) -> Check {
        let disk = &self.nodes[self.honest()[0]].disk;
        let honest = disk.chains.values().filter(|chain| chain.fork.is_none());
        let all = || honest.clone().flat_map(|chain| chain.entries.values());
        let positions: BTreeMap<(ChainId, u64), Position> =
            all().map(|entry| ((entry.chain, entry.number), entry.position())).collect();
        // What a liar has seen of a chain that forked, or what a rollback has lost, others may never
        // hear of.
        let liars: Vec<PeerId> = self.nodes.iter().filter(|it| it.liar).map(|it| it.id).collect();
        for entry in all().filter(|entry| !liars.contains(&entry.author)) {
            for tip in entry.body.as_ref().and_then(Body::as_say).map_or(&[][..], |say| &say.after)
            {
                let before = positions.get(&(tip.chain, tip.number));
                let lost =
                    |it: &Position| self.nodes.iter().any(|n| n.rolled_back && n.id == it.author);
                if before.is_some_and(|it| *it >= entry.position() && !lost(it)) {
                    let at = entry.position();
                    return Err(format!("{at:?} stands before {tip:?} at {before:?}"));
                }
            }
        }
        Ok(())
    }
}

/// All that was said and is on a disk.
fn messages(disk: &Disk) -> BTreeSet<MessageId> {
    let entries = disk.chains.values().flat_map(|chain| chain.entries.values());
    let said = entries.filter_map(|entry| entry.body.as_ref()?.as_say());
    said.map(|say| say.id).collect()
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        Instant::now()
    }

    /// `BITCHAT_SIM_SEEDS=FIRST..END` runs others.
    fn seeds() -> std::ops::Range<u64> {
        let default = if cfg!(debug_assertions) { 0..150 } else { 0..5000 };
        let Ok(text) = std::env::var("BITCHAT_SIM_SEEDS") else { return default };
        let (first, end) = text.split_once("..").expect("FIRST..END");
        first.parse().expect("a number")..end.parse().expect("a number")
    }

    #[test]
    fn whatever_happens_to_links_disks_and_nodes_the_log_keeps_its_promises() {
        let now = start();
        let mut sum = Report::default();
        let mut failures = Vec::new();
        for seed in seeds() {
            let report = match run(now, seed) {
                Ok(report) => report,
                Err(failure) => {
                    failures.push(failure.to_string());
                    continue;
                }
            };
            sum.said += report.said;
            sum.refused += report.refused;
            sum.crashes += report.crashes;
            sum.rollbacks += report.rollbacks;
            sum.cuts += report.cuts;
            sum.forks += report.forks;
            sum.healed_after = sum.healed_after.max(report.healed_after);
        }
        assert!(
            failures.is_empty(),
            "{} seeds fail: {:#?}",
            failures.len(),
            &failures[..20.min(failures.len())]
        );
        // The runs do what they are for.
        assert!(sum.said > 0 && sum.refused > 0 && sum.crashes > 0, "{sum:?}");
        assert!(sum.rollbacks > 0 && sum.cuts > 0 && sum.forks > 0, "{sum:?}");
    }

    #[test]
    fn a_seed_replays_to_the_same_end() {
        let now = start();
        assert_eq!(run(now, 1), run(now, 1));
    }
}

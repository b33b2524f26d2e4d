//! What the log knows of one linked peer in one channel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::api::Role;
use crate::id::ChainId;

/// First pause before a peer that did not give what it has is asked for it again; doubled each time.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// So many chains in a row a peer may fail to show before it is asked for new ones less often.
const STRANGE_MANY: u32 = 4;
/// The longest.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// What a peer has of a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) base: u64,
    pub(super) head: u64,
    /// Not known where the peer's entry has named it and not the peer's `Have`.
    pub(super) tip: Option<[u8; 8]>,
}

/// A wish that the peer has not answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) chain: ChainId,
    /// The last entry that we had when we asked.
    pub(super) had: u64,
    /// When the next frame of the answer is late.
    pub(super) deadline: Instant,
    /// When all of it is.
    pub(super) until: Instant,
    /// Bytes of entries that are still to come at most.
    pub(super) room: usize,
}

/// How often in a row a peer did not give what it has of a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failures {
    pub(super) count: u32,
    pub(super) until: Instant,
}

impl Failures {
    fn after(before: Option<&Self>, now: Instant) -> Self {
        let count = before.map_or(0, |it| it.count) + 1;
        let pause = BACK_OFF_FIRST.saturating_mul(1 << (count - 1).min(10)).min(BACK_OFF_MAX);
        Self { count, until: now + pause }
    }
}

/// What is pushed to a peer.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The last entry that was sent.
    pub(super) sent: u64,
    /// Number and bytes of what was sent and the peer has not said to have.
    pub(super) unacknowledged: VecDeque<(u64, usize)>,
    /// Whether entries to be pushed are being read.
    pub(super) loading: bool,
}

/// A peer in one channel.
#[derive(Debug)]
pub(super) struct Peer {
    /// `None`: frames have come, and the word that it is a member has not.
    pub(super) role: Option<Role>,
    pub(super) has: BTreeMap<ChainId, Held>,
    /// Whether it has said all that it has.
    pub(super) known: bool,
    /// When it is asked to say so again, and the pause after that.
    pub(super) ask_at: Option<(Instant, Duration)>,
    pub(super) flow: Flow,
    pub(super) wanted: Vec<Wanted>,
    pub(super) failures: BTreeMap<ChainId, Failures>,
    /// The same over all chains that nobody has shown us: they may be made up.
    pub(super) strange: Option<Failures>,
    /// Chains of which it seems to have another entry at our head.
    pub(super) odd: BTreeSet<ChainId>,
    /// Chains of which it is to be told.
    pub(super) dirty: BTreeSet<ChainId>,
    pub(super) tell_at: Option<Instant>,
    pub(super) told_at: Option<Instant>,
    /// Whether it is to be told all.
    pub(super) full_due: bool,
    /// Chains of ours of which an entry is being read, to be compared with what it says to have.
    pub(super) checking: BTreeSet<ChainId>,
    /// Of chains of ours that forked, the entry up to which it is known to have the same.
    pub(super) compared: BTreeMap<ChainId, u64>,
    /// Wishes of its that are being read for.
    pub(super) serving: usize,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            role: None,
            has: BTreeMap::new(),
            known: false,
            ask_at: None,
            flow: Flow::default(),
            wanted: Vec::new(),
            failures: BTreeMap::new(),
            strange: None,
            odd: BTreeSet::new(),
            dirty: BTreeSet::new(),
            tell_at: None,
            told_at: None,
            full_due: false,
            checking: BTreeSet::new(),
            compared: BTreeMap::new(),
            serving: 0,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.role.is_some()
    }

    /// It did not give what it has of a chain, of which we know nothing where it `is_strange`.
    pub(super) fn fail(&mut self, chain: ChainId, is_strange: bool, now: Instant) {
        let failures = Failures::after(self.failures.get(&chain), now);
        self.failures.insert(chain, failures);
        if is_strange {
            self.strange = Some(Failures::after(self.strange.as_ref(), now));
        }
    }

    /// It did.
    pub(super) fn succeed(&mut self, chain: &ChainId) {
        self.failures.remove(chain);
        self.strange = None;
    }

    /// When it may be asked for a chain once more, where it failed.
    pub(super) fn paused_until(&self, chain: &ChainId, is_strange: bool) -> Option<Instant> {
        let strange = self.strange.filter(|it| is_strange && it.count >= STRANGE_MANY);
        let until = |it: &Failures| it.until;
        self.failures.get(chain).map(until).max(strange.as_ref().map(until))
    }
}

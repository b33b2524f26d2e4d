//! What goes out: our own chain, pushed, and ranges of any chain, to whoever wants them.

use bytes::Bytes;

use super::chain::Certificate;
use super::channel::{Channel, Reading};
use super::machine::Core;
use crate::id::{ChainId, PeerId};
use crate::limits::{ENTRIES_PER_FRAME_MAX, FRAME_BYTES_MAX, WANT_BYTES_MAX, WANTS_PER_PEER_MAX};
use crate::wire::{Entries, EntryBytes, Frame, Want};

/// Bytes of entries in one frame; the rest is for the frame itself and one certificate.
const FRAME_ENTRIES_BYTES: usize = FRAME_BYTES_MAX - 1024;
/// Bytes that one entry takes in a frame beside its own.
const ENTRY_OVERHEAD_BYTES: usize = 5;

impl Channel {
    /// Sends a peer what it lacks of our chain, as far as its window goes. A peer that lacks what
    /// retention has removed asks by itself.
    pub(super) fn push(&mut self, core: &mut Core, id: PeerId) {
        let (Some(own), Some(peer)) = (self.chains.get(&self.own), self.peers.get_mut(&id)) else {
            return;
        };
        if !peer.is_up() || !peer.known || peer.flow.loading || id == core.me() {
            return;
        }
        let has = peer.has.get(&self.own).map_or(0, |held| held.head);
        let mut next = peer.flow.sent.max(has) + 1;
        if next <= own.stored.base {
            return;
        }
        let mut entries = Vec::new();
        while next <= own.stored.head && core.room(&id) > 0 {
            let Some(bytes) = own.recall(next) else { break };
            core.link(id).pushed += bytes.len();
            peer.flow.unacknowledged.push_back((next, bytes.len()));
            peer.flow.sent = next;
            entries.push(bytes.clone());
            next += 1;
        }
        let certificate = (has == 0).then_some(own.certificate);
        let more = next <= own.stored.head && core.room(&id) > 0;
        if more {
            peer.flow.loading = true;
        }
        self.send_entries(core, id, certificate, entries);
        if more {
            let bytes = core.room(&id).min(WANT_BYTES_MAX);
            core.read(self.id, Reading::Push { chain: self.own, peer: id }, next, bytes);
        }
    }

    fn pushed(&mut self, core: &mut Core, id: PeerId, chain: ChainId, entries: Vec<Bytes>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        // A flow that began anew meanwhile loads for itself, or needs nothing.
        if !std::mem::take(&mut peer.flow.loading) || chain != self.own {
            return;
        }
        let Some(own) = self.chains.get(&chain) else { return };
        let has = peer.has.get(&chain).map_or(0, |held| held.head);
        let first =
            entries.first().and_then(|bytes| super::Entry::decode(&self.id, bytes.clone()).ok());
        let first = first.map_or(0, |first| first.head.number);
        if first == 0 || first > peer.flow.sent.max(has) + 1 {
            return;
        }
        for (number, bytes) in (first..).zip(&entries) {
            if number > peer.flow.sent.max(has) {
                core.link(id).pushed += bytes.len();
                peer.flow.unacknowledged.push_back((number, bytes.len()));
                peer.flow.sent = number;
            }
        }
        let certificate = (has == 0).then_some(own.certificate);
        self.send_entries(core, id, certificate, entries);
        self.push(core, id);
    }

    fn send_entries(
        &self,
        core: &mut Core,
        to: PeerId,
        certificate: Option<Certificate>,
        entries: Vec<Bytes>,
    ) {
        for (entries, _) in frames(entries) {
            let chains = certificate.into_iter().collect();
            let frame = Entries { channel: self.id, more: false, chains, entries };
            core.send(to, Frame::Entries(frame));
        }
    }

    pub(super) fn on_want(&mut self, core: &mut Core, from: PeerId, want: &Want) {
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.is_up()) else { return };
        if peer.serving >= WANTS_PER_PEER_MAX {
            core.dropped.wants += 1;
            return;
        }
        let stored = self.chains.get(&want.chain).map(|chain| chain.stored);
        if !stored.is_some_and(|it| want.from > it.base && want.from <= it.head) {
            return self.serve(core, from, want.chain, Vec::new());
        }
        peer.serving += 1;
        let bytes = usize::try_from(want.bytes).unwrap_or(usize::MAX).clamp(1, WANT_BYTES_MAX);
        core.read(self.id, Reading::Serve { chain: want.chain, peer: from }, want.from, bytes);
    }

    fn serve(&self, core: &mut Core, to: PeerId, chain: ChainId, entries: Vec<Bytes>) {
        let certificate = self.chains.get(&chain).map(|chain| chain.certificate);
        let Some(certificate) = certificate.filter(|_| !entries.is_empty()) else {
            let chains = certificate.into_iter().collect();
            let frame = Entries { channel: self.id, more: false, chains, entries: vec![] };
            return core.send(to, Frame::Entries(frame));
        };
        for (entries, more) in frames(entries) {
            let chains = vec![certificate];
            core.send(to, Frame::Entries(Entries { channel: self.id, more, chains, entries }));
        }
    }

    pub(super) fn loaded(&mut self, core: &mut Core, reading: Reading, entries: Vec<Bytes>) {
        match reading {
            Reading::Push { chain, peer } => self.pushed(core, peer, chain, entries),
            Reading::Serve { chain, peer } => {
                let Some(it) = self.peers.get_mut(&peer).filter(|it| it.is_up()) else { return };
                it.serving = it.serving.saturating_sub(1);
                self.serve(core, peer, chain, entries);
            }
            Reading::Compare { chain, other } => self.compared(core, chain, &other, entries),
            Reading::Search { chain: _, other } => self.sought(core, &other, entries),
            Reading::Again { chain, from } => self.said_before(core, chain, from, entries),
            Reading::Receipt { chain, peer } => {
                let ours = entries.into_iter().next();
                let ours = ours.and_then(|it| super::Entry::decode(&self.id, it).ok());
                self.check_receipt(core, chain, peer, ours.as_ref());
            }
        }
    }
}

/// Parts that fit a frame each, and whether another follows.
fn frames(entries: Vec<Bytes>) -> Vec<(Vec<EntryBytes>, bool)> {
    let mut frames: Vec<(Vec<EntryBytes>, bool)> = Vec::new();
    let mut room = 0;
    for bytes in entries {
        let needs = bytes.len() + ENTRY_OVERHEAD_BYTES;
        match frames.last_mut() {
            Some((last, _)) if needs <= room && last.len() < ENTRIES_PER_FRAME_MAX => {
                last.push(EntryBytes(bytes));
            }
            last => {
                if let Some((_, more)) = last {
                    *more = true;
                }
                room = FRAME_ENTRIES_BYTES;
                frames.push((vec![EntryBytes(bytes)], false));
            }
        }
        room -= needs;
    }
    frames
}

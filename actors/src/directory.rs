//! Who is linked and how to send to them: the one piece of shared memory.
//!
//! One writer (the peer supervisor), many readers (whoever sends frames). A guard is never held
//! across an await or into another send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::Recipient;
use bitchat_protocol::id::PeerId;
use bytes::Bytes;
use dashmap::DashMap;

use crate::peer_supervisor::LinkKey;
use crate::peer_transport::{SendFrames, Streams};

/// How to reach one peer.
#[derive(Debug)]
struct Entry {
    routes: Vec<Route>,
    name: Arc<str>,
}

/// One link with a peer.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) link: LinkKey,
    pub(crate) address: SocketAddr,
    pub(crate) frames: Recipient<SendFrames>,
    pub(crate) streams: Streams,
    pub(crate) rtt_micros: Arc<AtomicU64>,
}

/// The reading half: cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Directory(Arc<DashMap<PeerId, Entry>>);

/// The peer has no link, or its transport's mailbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer cannot be sent to now")]
pub struct Unreachable;

impl Directory {
    /// Sends encoded frames over the peer's oldest live link.
    ///
    /// # Errors
    ///
    /// [`Unreachable`] when there is no link or it takes nothing more now.
    pub fn send(&self, peer: &PeerId, frames: Vec<Bytes>) -> Result<(), Unreachable> {
        let entry = self.0.get(peer).ok_or(Unreachable)?;
        let route = entry.routes.first().ok_or(Unreachable)?;
        route.frames.try_send(SendFrames(frames)).map_err(|_| Unreachable)
    }

    /// How to use the streams of the peer's link.
    #[must_use]
    pub fn streams(&self, peer: &PeerId) -> Option<Streams> {
        Some(self.0.get(peer)?.routes.first()?.streams.clone())
    }

    /// The display name of a linked peer.
    #[must_use]
    pub fn name(&self, peer: &PeerId) -> Option<Arc<str>> {
        self.0.get(peer).map(|entry| Arc::clone(&entry.name))
    }

    /// The smoothed round-trip time of the peer's link.
    #[must_use]
    pub fn rtt(&self, peer: &PeerId) -> Option<Duration> {
        let entry = self.0.get(peer)?;
        let micros = entry.routes.first()?.rtt_micros.load(Ordering::Relaxed);
        Some(Duration::from_micros(micros))
    }

    /// Where the links of all peers go.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let first = |routes: &[Route]| routes.first().map(|route| route.address);
        self.0.iter().filter_map(|entry| first(&entry.routes)).collect()
    }

    /// Where the peer's link goes.
    #[must_use]
    pub fn address(&self, peer: &PeerId) -> Option<SocketAddr> {
        Some(self.0.get(peer)?.routes.first()?.address)
    }
}

/// The writing half: there is one.
#[derive(Debug, Default)]
pub(crate) struct DirectoryWriter(Directory);

impl DirectoryWriter {
    pub(crate) const fn new(directory: Directory) -> Self {
        Self(directory)
    }

    /// Forgets everybody: a new writer begins with no links.
    pub(crate) fn clear(&self) {
        self.0.0.clear();
    }

    pub(crate) fn add(&self, peer: PeerId, name: Arc<str>, route: Route) {
        let mut entry = self
            .0
            .0
            .entry(peer)
            .or_insert_with(|| Entry { routes: Vec::new(), name: Arc::clone(&name) });
        entry.name = name;
        entry.routes.push(route);
    }

    pub(crate) fn rename(&self, peer: &PeerId, name: Arc<str>) {
        if let Some(mut entry) = self.0.0.get_mut(peer) {
            entry.name = name;
        }
    }

    /// Forgets one link; `true` when another one takes over the sending.
    pub(crate) fn remove(&self, peer: &PeerId, link: LinkKey) -> bool {
        let Some(mut entry) = self.0.0.get_mut(peer) else { return false };
        let was_first = entry.routes.first().is_some_and(|route| route.link == link);
        entry.routes.retain(|route| route.link != link);
        let empty = entry.routes.is_empty();
        drop(entry);
        if empty {
            self.0.0.remove(peer);
        }
        was_first && !empty
    }
}

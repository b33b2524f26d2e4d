//! Questions of ours that are not answered yet. An answer counts when it has the transaction id *and*
//! comes from the address that was asked, and counts once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::crypto::Rng;
use crate::limits::DHT_QUERIES_IN_FLIGHT_MAX;

use super::message::Contact;
use super::profile::TransactionIds;

/// After this a look-up no longer waits for the answer to go on (libtorrent: 1 s).
const SLOW: Duration = Duration::from_secs(1);
/// After this no answer is expected (libtorrent: 15 s). Shorter, as it is what a look-up among dead
/// nodes takes; longer than any path of the internet.
const LOST: Duration = Duration::from_secs(5);

/// A transaction id: 1 to 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transaction {
    bytes: [u8; 4],
    length: usize,
}

impl Transaction {
    /// Draws one; `tag` is what a tagged one begins with.
    pub(super) fn draw(ids: TransactionIds, tag: Tag, rng: &mut Rng) -> Self {
        match ids {
            TransactionIds::Random(length) => {
                Self { bytes: rng.array(), length: length.clamp(1, 4) }
            }
            TransactionIds::Tagged => {
                let [one, two] = tag.letters();
                let [three, four] = if tag.is_numbered() { rng.array() } else { [0, 0] };
                Self { bytes: [one, two, three, four], length: 4 }
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The kind of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Ping,
    FindNode,
    GetPeers,
    AnnouncePeer,
}

impl Tag {
    const fn letters(self) -> [u8; 2] {
        match self {
            Self::Ping => *b"pn",
            Self::FindNode => *b"fn",
            Self::GetPeers => *b"gp",
            Self::AnnouncePeer => *b"ap",
        }
    }

    const fn is_numbered(self) -> bool {
        match self {
            Self::Ping | Self::FindNode => false,
            Self::GetPeers | Self::AnnouncePeer => true,
        }
    }
}

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A look-up.
    Lookup(u64),
    /// The table: is this node, known or heard of, there?
    Refresh,
    /// The end of a look-up with an announce.
    Announce,
}

/// A question that has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) transaction: Transaction,
    pub(super) to: Contact,
    pub(super) at: Instant,
    pub(super) purpose: Purpose,
    slow: bool,
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<Sent>);

impl Pending {
    pub(super) const fn is_full(&self) -> bool {
        self.0.len() >= DHT_QUERIES_IN_FLIGHT_MAX
    }

    pub(super) fn add(
        &mut self,
        transaction: Transaction,
        to: Contact,
        purpose: Purpose,
        now: Instant,
    ) {
        self.0.push(Sent { transaction, to, at: now, purpose, slow: false });
    }

    pub(super) fn take(&mut self, transaction: &[u8], from: SocketAddr) -> Option<Sent> {
        let at = self.0.iter().position(|sent| {
            sent.to.address == from && sent.transaction.as_bytes() == transaction
        })?;
        Some(self.0.remove(at))
    }

    /// Takes those to which no answer is expected any more.
    pub(super) fn take_lost(&mut self, now: Instant) -> Vec<Sent> {
        let lost = self.0.partition_point(|sent| sent.at + LOST <= now);
        self.0.drain(..lost).collect()
    }

    /// Those that have become slow since the last call.
    pub(super) fn newly_slow(&mut self, now: Instant) -> Vec<Sent> {
        let late = self.0.iter_mut().take_while(|sent| sent.at + SLOW <= now);
        late.filter_map(|sent| (!std::mem::replace(&mut sent.slow, true)).then_some(*sent))
            .collect()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let slow = self.0.iter().find(|sent| !sent.slow).map(|sent| sent.at + SLOW);
        let lost = self.0.first().map(|sent| sent.at + LOST);
        slow.into_iter().chain(lost).min()
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::node_id::NodeId;

    fn contact(port: u16) -> Contact {
        Contact { id: NodeId([1; 20]), address: ([127, 0, 0, 1], port).into() }
    }

    fn draw(seed: u8, ids: TransactionIds, tag: Tag) -> Transaction {
        Transaction::draw(ids, tag, &mut Rng::from_seed([seed; 32]))
    }

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
        Instant::now()
    }

    #[test]
    fn transaction_ids_look_like_the_clients() {
        for (ids, length) in [(1, 1), (2, 2), (4, 4), (0, 1), (9, 4)] {
            let id = draw(1, TransactionIds::Random(ids), Tag::Ping);
            assert_eq!(id.as_bytes().len(), length);
        }
        let ping = draw(1, TransactionIds::Tagged, Tag::Ping);
        assert_eq!(ping.as_bytes(), b"pn\0\0");
        let one = draw(1, TransactionIds::Tagged, Tag::GetPeers);
        let other = draw(2, TransactionIds::Tagged, Tag::GetPeers);
        assert_eq!((&one.as_bytes()[..2], one == other), (&b"gp"[..], false));
    }

    #[test]
    fn an_answer_is_taken_once_and_only_from_whom_was_asked() {
        let (mut pending, now) = (Pending::default(), now());
        let id = draw(1, TransactionIds::Random(2), Tag::Ping);
        pending.add(id, contact(1), Purpose::Refresh, now);
        assert!(pending.take(id.as_bytes(), contact(2).address).is_none());
        assert!(pending.take(b"xx", contact(1).address).is_none());
        assert!(pending.take(id.as_bytes(), contact(1).address).is_some());
        assert!(pending.take(id.as_bytes(), contact(1).address).is_none());
    }

    #[test]
    fn a_question_becomes_slow_once_and_then_lost() {
        let (mut pending, start) = (Pending::default(), now());
        let id = draw(1, TransactionIds::Random(2), Tag::Ping);
        pending.add(id, contact(1), Purpose::Refresh, start);
        assert_eq!(pending.next_timeout(), Some(start + SLOW));
        assert!(pending.newly_slow(start).is_empty());
        assert_eq!(pending.newly_slow(start + SLOW).len(), 1);
        assert!(pending.newly_slow(start + SLOW).is_empty());
        assert_eq!(pending.next_timeout(), Some(start + LOST));
        assert!(pending.take_lost(start + SLOW).is_empty());
        assert_eq!(pending.take_lost(start + LOST).len(), 1);
        assert_eq!((pending.len(), pending.next_timeout()), (0, None));
    }

    #[test]
    fn there_is_a_bound() {
        let (mut pending, now) = (Pending::default(), now());
        let id = draw(1, TransactionIds::Random(2), Tag::Ping);
        while !pending.is_full() {
            pending.add(id, contact(1), Purpose::Refresh, now);
        }
        assert_eq!(pending.len(), DHT_QUERIES_IN_FLIGHT_MAX);
    }
}

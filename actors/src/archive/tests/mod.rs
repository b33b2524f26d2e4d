//! One archive on a real disk, and authors whose entries it keeps.

mod actor;
mod damage;
mod events;
mod keeping;
mod killed;
mod pages;
mod retention;

use std::path::Path;
use std::sync::Arc;

use bitchat_protocol::channel::{ChannelKeys, ChannelSecret};
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::id::{ChainId, ChannelId, DeviceId, MessageId, PeerId};
use bitchat_protocol::identity::Identity;
use bitchat_protocol::log::{
    Accepted, Batch, Body, Certificate, ChannelState, Entry, EntryHash, ForkProof, Head, Position,
    Receipt, Role, Say, chain_start,
};

use super::append::{Done, Wish};
use super::schema::Paths;
use super::store::Store;
use super::{ArchiveError, Event, EventKind, From, Retention, StoredMessage};

/// When everything comes to disk, in seconds since 1970, if a test does not say otherwise.
const NOW: i64 = 1_800_000_000;

fn storage_key() -> Secret<32> {
    Secret::new([42; 32])
}

fn open(dir: &Path) -> Result<Store, ArchiveError> {
    Store::open(Paths::new(dir), &storage_key())
}

fn must_open(dir: &Path) -> Store {
    open(dir).expect("it opens")
}

fn member(channel: u8) -> Arc<ChannelKeys> {
    Arc::new(ChannelKeys::member(ChannelSecret(Secret::new([channel; 32]))))
}

fn seeder(channel: u8) -> Arc<ChannelKeys> {
    let keys = member(channel);
    Arc::new(ChannelKeys::seeder(keys.seed_key().clone(), keys.public_key()))
}

/// Opens channel 1 as a member, for ever.
fn must_open_channel(store: &mut Store) -> ChannelState {
    store.open_channel(member(1), Retention::default()).expect("a channel")
}

fn channel() -> ChannelId {
    member(1).id()
}

/// Somebody who says things in a channel.
#[derive(Clone)]
struct Author {
    keys: Arc<ChannelKeys>,
    identity: Identity,
    certificate: Certificate,
    number: u64,
    clock: u64,
    previous: EntryHash,
    is_own: bool,
}

impl Author {
    fn new(channel: u8, name: u8) -> Self {
        let keys = member(channel);
        let identity = Identity::from_seed(Secret::new([name; 32]));
        let certificate =
            Certificate::sign(&keys, identity.peer_id(), DeviceId([name; 8])).unwrap();
        let previous = chain_start(&certificate.chain(&keys.id()));
        Self { keys, identity, certificate, number: 0, clock: 0, previous, is_own: false }
    }

    fn ours(channel: u8, device: u8) -> Self {
        Self { is_own: true, ..Self::new(channel, device) }
    }

    fn chain(&self) -> ChainId {
        self.certificate.chain(&self.keys.id())
    }

    fn peer(&self) -> PeerId {
        self.certificate.author
    }

    /// What the message of a number is named.
    fn id(&self, number: u64) -> MessageId {
        let mut id = [self.certificate.device.0[0]; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        MessageId(id)
    }

    fn say_at(&mut self, clock: u64, text: &str) -> Accepted {
        self.number += 1;
        self.clock = clock;
        let (id, text) = (self.id(self.number), text.to_owned());
        let say = Say { id, unix_ms: clock * 1000, text, after: Vec::new() };
        self.write(&say.encode(), Body::Say(say))
    }

    fn write(&mut self, plain: &[u8], body: Body) -> Accepted {
        let (chain, number, clock) = (self.chain(), self.number, self.clock);
        let head = Head { chain, number, clock, previous: self.previous };
        let mut rng = Rng::from_seed([7; 32]);
        let key = self.identity.signing_key();
        let entry = Entry::write(&self.keys, key, &mut rng, head, plain).unwrap();
        self.previous = entry.hash;
        let Certificate { author, device, .. } = self.certificate;
        let (hash, bytes, body, own) = (entry.hash, entry.bytes, Some(body), self.is_own);
        Accepted { chain, author, device, number, clock, hash, bytes, body, own, begins: false }
    }

    fn say(&mut self, text: &str) -> Accepted {
        self.say_at(self.clock + 1, text)
    }

    fn say_many(&mut self, count: u64) -> Vec<Accepted> {
        (0..count).map(|_| self.say(&format!("message {}", self.number + 1))).collect()
    }

    fn batch(&self, entries: Vec<Accepted>) -> Batch {
        Batch {
            batch: 1,
            channel: self.keys.id(),
            device: None,
            chains: vec![self.certificate],
            entries,
            receipts: Vec::new(),
            forks: Vec::new(),
        }
    }
}

fn append_at(store: &mut Store, batch: Batch, now: i64) -> Result<Done, ArchiveError> {
    store.fulfil(&[Wish::Append(batch)], now).pop().expect("one answer for one wish")
}

#[track_caller]
fn must_append(store: &mut Store, batch: Batch) -> Vec<Event> {
    append_at(store, batch, NOW).expect("stored").events
}

#[track_caller]
fn newest(store: &Store, limit: usize) -> Vec<StoredMessage> {
    store.read_page(&channel(), From::Newest, limit).expect("a page")
}

#[track_caller]
fn events(store: &Store, since: u64, limit: usize) -> Vec<Event> {
    let events = store.list_events(since, limit, |_| false).expect("events");
    events.expect("nothing is waited for")
}

#[track_caller]
fn texts(store: &Store) -> Vec<String> {
    newest(store, 1000).into_iter().map(|message| message.text).collect()
}

fn receipt(author: &Author, number: u64, by: u8) -> Receipt {
    Receipt { chain: author.chain(), number, by: PeerId([by; 32]), role: Role::Member }
}

fn receipts(author: &Author, receipts: Vec<Receipt>) -> Batch {
    Batch { receipts, chains: Vec::new(), ..author.batch(Vec::new()) }
}

//! Authors who have said much: entries of a channel as the log accepts them, to fill an archive with.

use std::sync::Arc;

use bitchat_protocol::channel::ChannelKeys;
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::{ChainId, DeviceId, MessageId};
use bitchat_protocol::identity::Identity;
use bitchat_protocol::log::{
    Accepted, Batch, Body, Certificate, Entry, EntryHash, Head, Say, chain_start,
};

/// Bytes of each text.
pub const TEXT_BYTES: usize = 100;

#[derive(Debug)]
struct Author {
    identity: Identity,
    certificate: Certificate,
    number: u64,
    previous: EntryHash,
}

/// Some authors of one channel.
#[derive(Debug)]
pub struct Crowd {
    keys: Arc<ChannelKeys>,
    authors: Vec<Author>,
    /// Whether the first of them is the owner of the archive.
    is_one_own: bool,
    clock: u64,
    rng: Rng,
}

impl Crowd {
    /// `count` authors; the same in each run.
    ///
    /// # Panics
    ///
    /// When the keys are not a member's.
    #[must_use]
    pub fn new(keys: Arc<ChannelKeys>, count: usize, is_one_own: bool) -> Self {
        let mut rng = Rng::from_seed([2; 32]);
        let authors = (0..count).map(|_| {
            let identity = Identity::generate(&mut rng);
            let device = DeviceId(rng.array());
            let certificate =
                Certificate::sign(&keys, identity.peer_id(), device).expect("a member");
            let previous = chain_start(&certificate.chain(&keys.id()));
            Author { identity, certificate, number: 0, previous }
        });
        let authors = authors.collect();
        Self { keys, authors, is_one_own, clock: 0, rng }
    }

    /// The channel's keys.
    #[must_use]
    pub const fn keys(&self) -> &Arc<ChannelKeys> {
        &self.keys
    }

    /// The chain of an author, and how many entries it has.
    ///
    /// # Panics
    ///
    /// When there are not so many authors.
    #[must_use]
    pub fn chain(&self, author: usize) -> (ChainId, u64) {
        let author = &self.authors[author];
        (author.certificate.chain(&self.keys.id()), author.number)
    }

    /// A text of words of a vocabulary, the frequent ones more often, as in any language.
    fn text(&mut self) -> String {
        let mut text = format!("only{} ", self.clock);
        while text.len() < TEXT_BYTES {
            let range = 1 << self.rng.below(16);
            let word = self.rng.below(range);
            text.push_str(&format!("w{word:x} "));
        }
        text.truncate(TEXT_BYTES);
        text
    }

    fn say(&mut self) -> Accepted {
        self.clock += 1;
        let text = self.text();
        let say =
            Say { id: MessageId(self.rng.array()), unix_ms: self.clock, text, after: Vec::new() };
        let at = usize::try_from(self.rng.below(self.authors.len() as u64)).expect("few");
        let author = &mut self.authors[at];
        author.number += 1;
        let certificate = author.certificate;
        let chain = certificate.chain(&self.keys.id());
        let (number, clock) = (author.number, self.clock);
        let head = Head { chain, number, clock, previous: author.previous };
        let key = author.identity.signing_key();
        let entry =
            Entry::write(&self.keys, key, &mut self.rng, head, &say.encode()).expect("a member");
        author.previous = entry.hash;
        Accepted {
            chain,
            author: certificate.author,
            device: certificate.device,
            number,
            clock,
            hash: entry.hash,
            bytes: entry.bytes,
            body: Some(Body::Say(say)),
            begins: false,
            own: self.is_one_own && at == 0,
        }
    }

    /// What `count` more of them said, for the archive.
    pub fn batch(&mut self, count: u64) -> Batch {
        Batch {
            batch: 1,
            channel: self.keys.id(),
            device: None,
            chains: self.authors.iter().map(|author| author.certificate).collect(),
            entries: (0..count).map(|_| self.say()).collect(),
            receipts: Vec::new(),
            forks: Vec::new(),
        }
    }
}

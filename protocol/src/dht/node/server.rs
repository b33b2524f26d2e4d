//! What other nodes are answered, as libtorrent answers them.
//!
//! The first question of a stranger may carry a victim's address. So before an asker has shown that it
//! receives what we send there, by a place in the table, its answer is at most [`DHT_ANSWER_FACTOR_MAX`]
//! times as long as the question.

use std::net::SocketAddr;
use std::time::Instant;

use crate::limits::{DHT_ANSWER_BYTES_MAX, DHT_ANSWER_FACTOR_MAX, DHT_PEERS_PER_ANSWER_MAX};
use crate::scope::dialable;
use crate::tracker::announcer::Family;

use super::super::message::{
    Answer, Body, Contact, Envelope, Message, Query, Refusal, Request, Sample, Want, encode_answer,
    encode_refusal,
};
use super::super::node_id::{ID_BYTES, NodeId};
use super::super::routing_table::K;
use super::{Node, NodeOutput};

/// BEP 51: seconds until it is worth asking again (libtorrent's default), and infohashes at once.
const SAMPLE_INTERVAL: i64 = 21_600;
const SAMPLE_HASHES: usize = 20;

impl Node {
    /// Answers a question, or not. `other` is our node over the other IP version.
    pub(in crate::dht) fn on_question(
        &mut self,
        from: SocketAddr,
        length: usize,
        message: &Message<'_>,
        other: Option<&Self>,
        now: Instant,
    ) {
        if !dialable(from) || !self.gate.admits(from, now) {
            self.dropped += 1;
            return;
        }
        let bytes = match &message.body {
            Body::Query(query) => self.answer(from, length, message.transaction, query, other, now),
            Body::BadQuery(refusal) => {
                encode_refusal(self.envelope(message.transaction), *refusal, None)
            }
            Body::Response(_) | Body::Error { .. } => return,
        };
        if bytes.len() > DHT_ANSWER_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.outputs.push_back(NodeOutput::Answer { to: from, bytes });
    }

    fn answer(
        &mut self,
        from: SocketAddr,
        length: usize,
        transaction: &[u8],
        query: &Query<'_>,
        other: Option<&Self>,
        now: Instant,
    ) -> Vec<u8> {
        if !query.read_only {
            self.hear(Contact { id: query.id, address: from });
        }
        let proven = self.table.knows(from);
        let factor = if proven { usize::MAX } else { DHT_ANSWER_FACTOR_MAX };
        let bytes_max = length.saturating_mul(factor).min(DHT_ANSWER_BYTES_MAX);
        let result = query.request.and_then(|request| self.values(from, &request, other, now));
        let mut answer = match result {
            Ok(answer) => answer,
            Err(refusal) => {
                let known = self.plain_answer(from);
                return encode_refusal(self.envelope(transaction), refusal, Some(&known));
            }
        };
        let mut bytes = encode_answer(self.envelope(transaction), &answer);
        while let excess @ 1.. = bytes.len().saturating_sub(bytes_max)
            && self.shorten(&mut answer, excess)
        {
            bytes = encode_answer(self.envelope(transaction), &answer);
        }
        bytes
    }

    /// Takes out as much of what can be asked for again; says whether there was anything.
    fn shorten(&self, answer: &mut Answer, excess: usize) -> bool {
        let hashes = answer.sample.as_mut().map(|sample| &mut sample.hashes);
        if cut(&mut answer.peers, excess.div_ceil(self.peer_bytes())) {
            return true;
        }
        if hashes.is_some_and(|hashes| cut(hashes, excess.div_ceil(ID_BYTES))) {
            return true;
        }
        let nodes = answer.nodes6.iter_mut().chain(&mut answer.nodes);
        nodes.max_by_key(|nodes| nodes.len()).is_some_and(|nodes| nodes.pop().is_some())
    }

    fn values(
        &mut self,
        from: SocketAddr,
        request: &Request<'_>,
        other: Option<&Self>,
        now: Instant,
    ) -> Result<Answer, Refusal> {
        let plain = self.plain_answer(from);
        Ok(match *request {
            Request::Ping => plain,
            Request::FindNode { target, want } => self.with_nodes(plain, &target, want, other),
            Request::GetPeers { infohash, want } => {
                let count = DHT_PEERS_PER_ANSWER_MAX;
                let peers = self.storage.peers(&infohash, count, now, &mut self.rng);
                let token = Some(self.tokens.make(from.ip(), &infohash));
                let plain = Answer { peers, token, ..plain };
                self.with_nodes(plain, &infohash, want, other)
            }
            Request::AnnouncePeer { infohash, port, token } => {
                if !self.tokens.accepts(token, from.ip(), &infohash) {
                    return Err(Refusal::Token);
                }
                let address = SocketAddr::new(from.ip(), port.unwrap_or(from.port()));
                self.storage.announce(infohash, address, now);
                plain
            }
            Request::SampleInfohashes { target, want } => {
                let (hashes, total) = self.storage.sample(SAMPLE_HASHES, &mut self.rng);
                let sample = Some(Sample { interval: SAMPLE_INTERVAL, total, hashes });
                self.with_nodes(Answer { sample, ..plain }, &target, want, other)
            }
            Request::Get { target, want } => {
                // We store nothing of the kind, so there is nothing to give but the way.
                let token = Some(self.tokens.make(from.ip(), &target));
                self.with_nodes(Answer { token, ..plain }, &target, want, other)
            }
        })
    }

    fn plain_answer(&self, from: SocketAddr) -> Answer {
        Answer {
            ip: self.profile.answers_ip.then_some(from),
            port: self.profile.answers_port.then_some(from.port()),
            ..Answer::default()
        }
    }

    fn with_nodes(
        &self,
        answer: Answer,
        target: &NodeId,
        want: Want,
        other: Option<&Self>,
    ) -> Answer {
        let mut answer = answer;
        let unasked = want == Want::default();
        for (family, wanted) in [(Family::V4, want.v4), (Family::V6, want.v6)] {
            let native = family == self.family;
            let node = if native { Some(self) } else { other };
            if !(wanted || (unasked && native)) {
                continue;
            }
            let nodes = node.map(|node| node.table.closest(target, K, false));
            match family {
                Family::V4 => answer.nodes = nodes,
                Family::V6 => answer.nodes6 = nodes,
            }
        }
        answer
    }

    fn envelope<'a>(&'a self, transaction: &'a [u8]) -> Envelope<'a> {
        Envelope { transaction, version: self.profile.version.as_deref(), id: self.id }
    }

    /// Bytes of one peer in an answer.
    const fn peer_bytes(&self) -> usize {
        match self.family {
            Family::V4 => b"6:".len() + 6,
            Family::V6 => b"18:".len() + 18,
        }
    }
}

/// Takes `count` off the end; says whether there was anything.
fn cut<T>(list: &mut Vec<T>, count: usize) -> bool {
    let length = list.len();
    list.truncate(length.saturating_sub(count));
    length > 0
}

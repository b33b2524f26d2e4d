//! The steps of an announce to a UDP tracker.

use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::time::Duration;

use super::attempt::Step;
use super::swarm::Key;
use super::{Announcer, Output};
use crate::tracker::reply;
use crate::tracker::udp::{self, Answer};

impl Announcer {
    /// Believes a datagram only if we wait for its transaction, from that very address.
    pub(super) fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let key = udp::transaction(bytes).and_then(|it| self.transactions.get(&it).copied());
        let step = key.and_then(|key| self.attempt(key)).map(|attempt| attempt.step);
        let (Some(key), Some(step)) = (key, step) else {
            self.dropped += 1;
            return;
        };
        match (step, udp::decode(bytes)) {
            (Step::Connecting { to, .. } | Step::Announcing { to, .. }, _) if to != from => {
                self.dropped += 1;
            }
            (Step::Connecting { to, .. }, Ok(Answer::Connected { connection })) => {
                let until = self.now + self.config.profile.udp_connection_lifetime;
                self.connections.insert(to, (connection, until));
                self.announce_by_udp(key, to, connection);
                for key in self.at_step(Step::Joining { to }) {
                    self.announce_by_udp(key, to, connection);
                }
            }
            (Step::Announcing { .. }, Ok(Answer::Announced { interval, peers })) => {
                let accepted = self.accepted(from, interval, peers);
                self.succeed(key, from.ip(), accepted);
            }
            (_, Ok(Answer::Refused { message })) => {
                self.connections.remove(&from);
                self.fail(key, reply::plain_text(message), Duration::ZERO);
            }
            // One tracker program answers eight bytes when it does not serve the infohash.
            (Step::Announcing { .. }, Err(error @ udp::DecodeError::TooShort)) => {
                self.fail(key, error.to_string(), Duration::ZERO);
            }
            (
                Step::Connecting { .. }
                | Step::Joining { .. }
                | Step::Announcing { .. }
                | Step::Resolving
                | Step::Fetching { .. },
                Ok(Answer::Connected { .. } | Answer::Announced { .. }) | Err(_),
            ) => self.dropped += 1,
        }
    }

    pub(super) fn connect_by_udp(&mut self, key: Key, to: SocketAddr) {
        if self.config.profile.udp_connect_shared && self.is_connecting(to) {
            // If the other one is given up meanwhile, this one fails in time and tries again.
            let patience = self.udp_patience(key);
            return self.step(key, Step::Joining { to }, patience);
        }
        let transaction = self.new_transaction(key);
        let patience = self.udp_patience(key);
        self.step(key, Step::Connecting { to, transaction }, patience);
        self.outputs.push_back(Output::SendUdp { to, bytes: udp::encode_connect(transaction) });
    }

    pub(super) fn announce_by_udp(&mut self, key: Key, to: SocketAddr, connection: u64) {
        let transaction = self.new_transaction(key);
        let patience = self.udp_patience(key);
        self.step(key, Step::Announcing { to, transaction }, patience);
        let bytes = self.with_announce(key, |profile, url, announce| {
            let path = url.path_and_query();
            udp::encode_announce(profile, announce, path, connection, transaction)
        });
        if let Some(bytes) = bytes {
            self.outputs.push_back(Output::SendUdp { to, bytes });
        }
    }

    fn is_connecting(&self, to: SocketAddr) -> bool {
        self.transactions.values().any(|key| {
            let attempt = self.swarms.get(&key.swarm).and_then(|swarm| swarm.attempt(*key));
            attempt.is_some_and(|it| matches!(it.step, Step::Connecting { to: at, .. } if at == to))
        })
    }

    fn at_step(&self, step: Step) -> Vec<Key> {
        self.swarms.iter().flat_map(|(id, swarm)| swarm.at_step(*id, step)).collect()
    }

    fn udp_patience(&mut self, key: Key) -> Duration {
        let failures = self.endpoint(key).map_or(0, |endpoint| endpoint.failures);
        self.config.profile.udp_timeouts.after(failures.saturating_add(1), &mut self.rng)
    }

    fn new_transaction(&mut self, key: Key) -> u32 {
        if let Some(Step::Connecting { transaction, .. }) = self.attempt(key).map(|it| it.step) {
            self.transactions.remove(&transaction);
        }
        loop {
            let transaction = u32::from_be_bytes(self.rng.array());
            if let Entry::Vacant(free) = self.transactions.entry(transaction) {
                free.insert(key);
                return transaction;
            }
        }
    }
}

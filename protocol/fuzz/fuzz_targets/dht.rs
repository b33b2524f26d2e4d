#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bitchat_protocol::dht::message::{Answer, Contact, Envelope, encode_answer};
use bitchat_protocol::dht::{Config, Dht, Event, Input, NodeId, Output, Pace};
use bitchat_protocol::id::{ChannelId, InfoHash};
use bitchat_protocol::limits::{DHT_ANSWER_BYTES_MAX, DHT_PEERS_PER_ANSWER_MAX};
use bitchat_protocol::machine::Machine;
use bitchat_protocol::scope::{Scope, believable};
use bitchat_protocol_fuzz::{patch, pieces};
use libfuzzer_sys::fuzz_target;

/// What one datagram or one timer may bring forth: all look-ups with all branches.
const OUTPUTS_MAX: usize = 1024;

struct Bench {
    machine: Dht,
    now: Instant,
    /// The last question and whom it went to.
    asked: Option<(SocketAddr, Vec<u8>)>,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let config = Config { routers: Vec::new(), ..Config::default() };
        let mut machine = Dht::new(config, now, [7; 32]);
        let channel = ChannelId([1; 32]);
        let infohash = InfoHash([7; 20]);
        let start = Input::Start { channel, infohash, port: 28000, shared_socket: true };
        machine.handle_input(now, start);
        machine.handle_input(now, Input::SetPace { channel, pace: Pace::Soon });
        let known = (1..=8).map(|host| ([8, host, 8, 8], 6881).into()).collect();
        machine.handle_input(now, Input::AddCandidates(known));
        let mut bench = Self { machine, now, asked: None };
        bench.wait(Duration::ZERO);
        bench
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.machine.poll_output() {
            outputs += 1;
            assert!(outputs <= OUTPUTS_MAX, "one input brings forth too much");
            match output {
                Output::Send { to, bytes } => {
                    assert!(believable(to, Scope::Loopback) && bytes.len() <= DHT_ANSWER_BYTES_MAX);
                    if bytes.starts_with(b"d1:a") {
                        self.asked = Some((to, bytes));
                    }
                }
                Output::Event(Event::PeersFound { peers, .. }) => {
                    assert!(!peers.is_empty() && peers.len() <= DHT_PEERS_PER_ANSWER_MAX);
                }
                Output::Resolve { .. } | Output::Event(_) => {}
            }
        }
    }

    fn datagram(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        self.machine.handle_input(self.now, Input::Datagram { from, bytes });
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.drain();
            assert!(self.machine.poll_timeout() > Some(at), "a timer stays where it was");
        }
        self.now = until;
    }

    /// Answers the last question: with what the fuzzer makes of a good answer.
    fn answer(&mut self, id: u8, script: &[u8]) {
        let Some((to, question)) = self.asked.take() else { return };
        // `...1:t2:xx1:v4:....1:y1:qe`
        let Some(at) = question.windows(5).rposition(|part| part == b"1:t2:") else { return };
        let transaction = &question[at + 5..at + 7];
        let nodes = (0..8_u8).map(|at| Contact {
            id: NodeId([id ^ at; 20]),
            address: ([9, id, at, 1], 6881).into(),
        });
        let answer = Answer {
            ip: Some(([5, 6, 7, 8], 28000).into()),
            nodes: Some(nodes.collect()),
            token: Some(b"toke".to_vec()),
            peers: vec![([1, 2, 3, id], 1).into()],
            ..Answer::default()
        };
        let envelope = Envelope { transaction, version: None, id: NodeId([id; 20]) };
        let mut bytes = encode_answer(envelope, &answer);
        patch(&mut bytes, script);
        self.datagram(to, bytes);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bench = Bench::new();
    for piece in pieces(data).take(200) {
        let [kind, value, rest @ ..] = piece else { continue };
        match kind % 4 {
            0 => bench.datagram(([8, *value, 8, 8], 6881).into(), rest.to_vec()),
            1 => bench.answer(*value, rest),
            2 => bench.answer(*value, &[]),
            _ => bench.wait(Duration::from_millis(100 * u64::from(*value))),
        }
    }
    bench.wait(Duration::from_secs(60));
    let held = bench.machine.node_statuses();
    assert!(held.iter().all(|node| node.table_bytes < 512 * 1024));
});

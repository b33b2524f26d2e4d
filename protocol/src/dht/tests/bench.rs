//! One machine, a clock, and the network that the tests play.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::bencode::{Value, decode};
use crate::dht::message::{Answer, Body, Contact, Envelope, Message, encode_answer};
use crate::dht::{Config, Dht, Event, Input, NodeId, Output};
use crate::id::{ChannelId, InfoHash};
use crate::machine::Machine;

pub(super) const CHANNEL: ChannelId = ChannelId([1; 32]);
pub(super) const HASH: InfoHash = InfoHash([7; 20]);

/// A machine and what came out of it, with the millisecond at which it did.
pub(super) struct Bench {
    pub(super) machine: Dht,
    start: Instant,
    pub(super) now: Instant,
    out: VecDeque<(u64, Output)>,
}

impl Bench {
    /// Starts over IPv4 alone, with nobody to ask.
    pub(super) fn new() -> Self {
        Self::with_config(Config { ipv6: false, ..Config::default() })
    }

    pub(super) fn with_config(config: Config) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
        let start = Instant::now();
        let machine = Dht::new(config, start, [7; 32]);
        let mut bench = Self { machine, start, now: start, out: VecDeque::new() };
        bench.drain();
        bench
    }

    pub(super) fn input(&mut self, input: Input) {
        self.machine.handle_input(self.now, input);
        self.drain();
    }

    pub(super) fn datagram(&mut self, from: &str, bytes: &[u8]) {
        self.input(Input::Datagram { from: from.parse().unwrap(), bytes: bytes.to_vec() });
    }

    pub(super) fn start(&mut self, channel: ChannelId, infohash: InfoHash) {
        self.input(Input::Start { channel, infohash, port: 28000, shared_socket: true });
    }

    pub(super) fn candidates(&mut self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        self.input(Input::AddCandidates(addresses));
    }

    /// Lets time pass, timer by timer.
    pub(super) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            let before = self.machine.poll_timeout();
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.drain();
            let after = self.machine.poll_timeout();
            assert!(after > before, "a timer that stays where it was makes the driver spin");
        }
        self.now = until;
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    fn drain(&mut self) {
        let at = u64::try_from(self.now.duration_since(self.start).as_millis()).unwrap();
        while let Some(output) = self.machine.poll_output() {
            self.out.push_back((at, output));
        }
    }

    pub(super) fn take(&mut self) -> Vec<(u64, Output)> {
        self.out.drain(..).collect()
    }

    /// Takes the datagrams sent and drops what else came out.
    pub(super) fn sent(&mut self) -> Vec<(u64, SocketAddr, Vec<u8>)> {
        let sent = |(at, output)| match output {
            Output::Send { to, bytes } => Some((at, to, bytes)),
            Output::Resolve { .. } | Output::Event(_) => None,
        };
        self.take().into_iter().filter_map(sent).collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        let event = |(_, output)| match output {
            Output::Event(event) => Some(event),
            Output::Send { .. } | Output::Resolve { .. } => None,
        };
        self.take().into_iter().filter_map(event).collect()
    }

    pub(super) fn resolved(&mut self) -> Vec<String> {
        let host = |(_, output)| match output {
            Output::Resolve { host } => Some(host),
            Output::Send { .. } | Output::Event(_) => None,
        };
        self.take().into_iter().filter_map(host).collect()
    }

    /// Asks a question and gives back the answer, if there is one.
    pub(super) fn ask(&mut self, from: &str, question: &[u8]) -> Option<Vec<u8>> {
        self.take();
        self.datagram(from, question);
        let asker: SocketAddr = from.parse().unwrap();
        let to_asker = |(_, to, bytes)| (to == asker).then_some(bytes);
        self.sent().into_iter().find_map(to_asker)
    }

    /// Answers a question of the machine's, as the node `id`.
    pub(super) fn answer(
        &mut self,
        from: SocketAddr,
        question: &[u8],
        id: NodeId,
        answer: &Answer,
    ) {
        let transaction = field(question, b"t");
        let envelope = Envelope { transaction: &transaction, version: None, id };
        self.input(Input::Datagram { from, bytes: encode_answer(envelope, answer) });
    }

    /// Answers everything that is asked as `world` says, for a while, each answer after 10 ms.
    pub(super) fn play(
        &mut self,
        seconds: u64,
        mut world: impl FnMut(SocketAddr, &Message<'_>) -> Option<(NodeId, Answer)>,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..seconds * 100 {
            for (_, output) in self.take() {
                match output {
                    Output::Send { to, bytes } => {
                        let message = crate::dht::message::decode(&bytes).unwrap();
                        if let Some((id, answer)) = world(to, &message) {
                            self.answer(to, &bytes, id, &answer);
                        }
                    }
                    Output::Resolve { .. } => {}
                    Output::Event(event) => events.push(event),
                }
            }
            self.wait(Duration::from_millis(10));
        }
        events
    }

    /// Fills the table with these nodes, which answer everything with nothing.
    pub(super) fn join(&mut self, nodes: &[Contact]) {
        let addresses = nodes.iter().map(|node| node.address).collect();
        self.input(Input::AddCandidates(addresses));
        self.play(2, |to, message| {
            assert!(matches!(message.body, Body::Query(_)));
            let node = nodes.iter().find(|node| node.address == to)?;
            let token = Some(b"toke".to_vec());
            let nodes = Some(Vec::new());
            Some((node.id, Answer { token, nodes, ..Answer::default() }))
        });
        assert_eq!(self.machine.node_statuses()[0].nodes, nodes.len());
        self.take();
    }
}

pub(super) fn node(id: u8, address: &str) -> Contact {
    Contact { id: NodeId([id; 20]), address: address.parse().unwrap() }
}

/// Nodes of this machine, each with an id of its own.
pub(super) fn local_nodes(count: u8) -> Vec<Contact> {
    (1..=count).map(|at| node(at * 16, &format!("127.0.0.1:{}", 7000 + u16::from(at)))).collect()
}

/// A byte string of a message.
pub(super) fn field(message: &[u8], key: &[u8]) -> Vec<u8> {
    decode(message).unwrap().get(key).and_then(Value::as_bytes).unwrap().to_vec()
}

/// The keys of a message and of its arguments or values, in the order in which they are written.
pub(super) fn shape(message: &[u8]) -> String {
    let value = decode(message).unwrap();
    let keys = |value: &Value<'_>| {
        let keys = value.as_dict().unwrap_or_default().iter();
        keys.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>().join(",")
    };
    let inner = value.get(b"a").or_else(|| value.get(b"r")).map(keys).unwrap_or_default();
    let kind = value.get(b"q").or_else(|| value.get(b"y")).and_then(Value::as_str).unwrap_or("?");
    format!("{kind} {} {inner}", keys(&value))
}

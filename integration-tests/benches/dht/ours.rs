//! Our DHT machine on a real socket, without anything else of a node.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bitchat_protocol::dht::{Activity, Config, Dht, Event, Input, Output};
use bitchat_protocol::id::{ChannelId, InfoHash};
use bitchat_protocol::machine::Machine as _;

/// One look-up may take no longer.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(30);

/// The machine and its socket.
pub(crate) struct Ours {
    machine: Dht,
    socket: UdpSocket,
    asked: u64,
    told: u64,
}

/// How one look-up went.
pub(crate) struct LookUp {
    /// Questions, as the socket has seen them.
    pub(crate) asked: u64,
    /// Announces.
    pub(crate) told: u64,
    pub(crate) took: Duration,
    pub(crate) peers: Vec<SocketAddr>,
}

impl Ours {
    /// Joins the DHT of `known`.
    pub(crate) fn join(address: &str, known: &[SocketAddr]) -> Self {
        let config = Config { ipv6: false, ..Config::default() };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&u64::from(std::process::id()).to_be_bytes());
        let machine = Dht::new(config, Instant::now(), seed);
        let socket = UdpSocket::bind(address).expect("a socket");
        let mut ours = Self { machine, socket, asked: 0, told: 0 };
        ours.input(Input::AddCandidates(known.to_vec()));
        let began = Instant::now();
        while !ours.machine.node_statuses()[0].joined {
            assert!(began.elapsed() < LOOK_UP_WITHIN, "the DHT is not joined");
            ours.turn();
        }
        ours
    }

    /// Nodes in the routing table.
    pub(crate) fn nodes(&self) -> usize {
        self.machine.node_statuses()[0].nodes
    }

    /// Looks an infohash up and announces itself; until the announces are sent.
    pub(crate) fn look_up(&mut self, infohash: InfoHash) -> LookUp {
        let channel = ChannelId([1; 32]);
        let port = self.socket.local_addr().expect("bound").port();
        (self.asked, self.told) = (0, 0);
        let mut peers = Vec::new();
        let began = Instant::now();
        let mut events = self.input(Input::Start { channel, infohash, port, shared_socket: true });
        loop {
            for event in events {
                match event {
                    Event::PeersFound { peers: found, .. } => peers.extend(found),
                    Event::StatusChanged(status) if status.activity == Activity::Resting => {
                        let took = began.elapsed();
                        let (asked, told) = (self.asked, self.told);
                        self.input(Input::Stop { channel, infohash: None });
                        return LookUp { asked, told, took, peers };
                    }
                    Event::StatusChanged(_) | Event::ExternalAddress(_) => {}
                }
            }
            assert!(began.elapsed() < LOOK_UP_WITHIN, "the look-up does not end");
            events = self.turn();
        }
    }

    /// Lives on for a while, as a node that rests.
    pub(crate) fn live(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.turn();
        }
    }

    /// Waits for a datagram or a timer, not for long.
    fn turn(&mut self) -> Vec<Event> {
        let due = self.machine.poll_timeout().map(|at| at.duration_since(Instant::now()));
        let wait = due.unwrap_or(Duration::MAX);
        let wait = wait.clamp(Duration::from_micros(1), Duration::from_millis(50));
        self.socket.set_read_timeout(Some(wait)).expect("a timeout");
        let mut buffer = [0; 2048];
        match self.socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                self.input(Input::Datagram { from, bytes: buffer[..length].to_vec() })
            }
            Err(_) => {
                self.machine.handle_timeout(Instant::now());
                self.drain()
            }
        }
    }

    fn input(&mut self, input: Input) -> Vec<Event> {
        self.machine.handle_input(Instant::now(), input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send { to, bytes } => {
                    let has = |word: &[u8]| bytes.windows(word.len()).any(|it| it == word);
                    self.asked += u64::from(has(b"1:q9:get_peers"));
                    self.told += u64::from(has(b"1:q13:announce_peer"));
                    // A node that is gone is no failure of ours.
                    let _ = self.socket.send_to(&bytes, to);
                }
                Output::Resolve { .. } => {}
                Output::Event(event) => events.push(event),
            }
        }
        events
    }
}

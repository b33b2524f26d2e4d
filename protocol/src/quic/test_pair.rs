//! Two endpoints and a network between them in virtual time, for tests.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::{
    ChannelGate, Dial, Endpoint, EndpointConfig, Established, Interface, Link, LinkEvent,
    LinkInput, OwnAddresses, Routed,
};
use crate::channel::{ChannelKeys, ChannelSecret};
use crate::crypto::sign::SigningKey;
use crate::crypto::{Rng, Secret};
use crate::id::{ChannelId, PeerId};

/// One way of the network takes so long, unless a test wants otherwise.
const DELAY: Duration = Duration::from_millis(10);

/// 2026-01-01.
pub(crate) const UNIX: Duration = Duration::from_secs(1_767_225_600);

pub(crate) fn channel(n: u8) -> (ChannelId, ChannelGate) {
    let keys = ChannelKeys::member(ChannelSecret(Secret::new([n; 32])));
    (keys.id(), keys.gate().clone())
}

/// One node: an endpoint with at most one link.
pub(crate) struct Side {
    pub(crate) address: SocketAddr,
    pub(crate) peer: PeerId,
    pub(crate) endpoint: Endpoint,
    pub(crate) link: Option<Link>,
    pub(crate) established: Option<Established>,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) events: Vec<LinkEvent>,
    pub(crate) sent: Vec<(SocketAddr, Vec<u8>)>,
    waiting: Vec<LinkInput>,
}

impl Side {
    pub(crate) fn new(n: u8, config: EndpointConfig) -> Self {
        let key = SigningKey::from_seed(Secret::new([n; 32]));
        let address = SocketAddr::from(([127, 0, 0, 1], 5000 + u16::from(n)));
        let mut endpoint = Endpoint::new(&key, config, UNIX, [n; 32]);
        endpoint.set_own_addresses(OwnAddresses::new([Interface { address, prefix_bits: 8 }], []));
        let (id, gate) = channel(1);
        endpoint.add_channel(id, gate);
        Self {
            address,
            peer: PeerId(*key.public()),
            endpoint,
            link: None,
            established: None,
            frames: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            waiting: Vec::new(),
        }
    }

    pub(crate) fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("a link was begun")
    }

    pub(crate) fn handle(&mut self, now: Instant, unix: Duration, from: SocketAddr, data: &[u8]) {
        let data = BytesMut::from(data);
        match self.endpoint.handle_datagram(now, unix, from, None, None, data) {
            Some(Routed::ToLink(_, input)) => self.waiting.push(input),
            Some(Routed::Incoming(link)) => self.link = Some(*link),
            None => {}
        }
    }

    /// Gives the link what came for it.
    pub(crate) fn take_inputs(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        for input in self.waiting.drain(..) {
            link.handle_input(now, input);
        }
    }

    /// Does everything that can be done now; datagrams are left in `sent`.
    pub(crate) fn drive(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        if link.poll_timeout().is_some_and(|due| due <= now) {
            link.handle_timeout(now);
        }
        self.take_inputs(now);
        let Some(link) = &mut self.link else { return };
        loop {
            while let Some(event) = link.poll_event() {
                match event {
                    LinkEvent::Established(established) => self.established = Some(established),
                    LinkEvent::Frame(body) => self.frames.push(body),
                    other @ (LinkEvent::StreamOpened(_)
                    | LinkEvent::StreamReadable(_)
                    | LinkEvent::StreamWritable(_)
                    | LinkEvent::Closed(_)) => self.events.push(other),
                }
            }
            let mut buffer = Vec::new();
            while let Some(transmit) = link.poll_transmit(now, &mut buffer) {
                let segment = transmit.segment_size.unwrap_or(transmit.size);
                for datagram in buffer[..transmit.size].chunks(segment) {
                    self.sent.push((transmit.destination, datagram.to_vec()));
                }
                buffer.clear();
            }
            let mut answered = false;
            while let Some(event) = link.poll_endpoint_event() {
                if let Some(input) = self.endpoint.handle_link_event(link.id(), event) {
                    link.handle_input(now, input);
                    answered = true;
                }
            }
            if !answered {
                break;
            }
        }
    }
}

/// What the network does to a datagram.
pub(crate) struct Network {
    rng: Rng,
    /// One way takes so long.
    pub(crate) delay: Duration,
    /// Of 100 datagrams.
    pub(crate) lost: u64,
    /// Of 100 datagrams, delayed by up to five times as much.
    pub(crate) reordered: u64,
}

/// Two nodes; `a` dials.
pub(crate) struct TestPair {
    pub(crate) a: Side,
    pub(crate) b: Side,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) network: Network,
    flying: VecDeque<(Instant, bool, Vec<u8>)>,
    /// Every datagram that was sent, and whether to `b`.
    pub(crate) log: Vec<(bool, Vec<u8>)>,
}

impl TestPair {
    pub(crate) fn new(seed: u8) -> Self {
        Self::with(seed, EndpointConfig::default(), EndpointConfig::default())
    }

    pub(crate) fn with(seed: u8, a: EndpointConfig, b: EndpointConfig) -> Self {
        #[allow(clippy::disallowed_methods, reason = "virtual time begins at some instant")]
        let now = Instant::now();
        let rng = Rng::from_seed([seed; 32]);
        Self {
            a: Side::new(1, a),
            b: Side::new(2, b),
            start: now,
            now,
            network: Network { rng, delay: DELAY, lost: 0, reordered: 0 },
            flying: VecDeque::new(),
            log: Vec::new(),
        }
    }

    pub(crate) fn unix(&self) -> Duration {
        UNIX + (self.now - self.start)
    }

    pub(crate) fn dial(&mut self, expect: Option<PeerId>) {
        let dial = Dial { channel: channel(1).0, address: self.b.address, expect };
        let unix = self.unix();
        self.a.link = Some(self.a.endpoint.connect(self.now, unix, dial).expect("diallable"));
    }

    /// Dials and runs until both ends are established.
    pub(crate) fn connected(seed: u8) -> Self {
        let mut pair = Self::new(seed);
        pair.dial(None);
        assert!(pair.run_until(10, Self::both_established), "no link within 10 s");
        pair
    }

    pub(crate) fn both_established(&self) -> bool {
        self.a.established.is_some() && self.b.established.is_some()
    }

    /// Runs for at most so many seconds; whether `done` became true.
    pub(crate) fn run_until(&mut self, seconds: u64, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            self.step();
            if done(self) {
                return true;
            }
            let Some(next) = self.next_event().filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
        }
    }

    fn next_event(&mut self) -> Option<Instant> {
        let timer = |side: &mut Side| side.link.as_mut().and_then(Link::poll_timeout);
        let flying = self.flying.iter().map(|(at, ..)| *at).min();
        [timer(&mut self.a), timer(&mut self.b), flying].into_iter().flatten().min()
    }

    pub(crate) fn step(&mut self) {
        let (now, unix) = (self.now, self.unix());
        let due: Vec<(bool, Vec<u8>)> = {
            let (due, later): (VecDeque<_>, VecDeque<_>) =
                self.flying.drain(..).partition(|(at, ..)| *at <= now);
            self.flying = later;
            due.into_iter().map(|(_, to_b, data)| (to_b, data)).collect()
        };
        for (to_b, data) in due {
            let (to, from) =
                if to_b { (&mut self.b, self.a.address) } else { (&mut self.a, self.b.address) };
            to.handle(now, unix, from, &data);
        }
        self.a.drive(now);
        self.b.drive(now);
        for to_b in [true, false] {
            let side = if to_b { &mut self.a } else { &mut self.b };
            for (_, data) in std::mem::take(&mut side.sent) {
                self.log.push((to_b, data.clone()));
                let Network { rng, delay, lost, reordered } = &mut self.network;
                if rng.below(100) < *lost {
                    continue;
                }
                let slow = if rng.below(100) < *reordered { rng.below(5) as u32 } else { 0 };
                self.flying.push_back((now + *delay * (slow + 1), to_b, data));
            }
        }
    }
}

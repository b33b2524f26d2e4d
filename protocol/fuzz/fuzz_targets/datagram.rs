#![no_main]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bitchat_protocol::channel::{ChannelKeys, ChannelSecret};
use bitchat_protocol::crypto::Secret;
use bitchat_protocol::crypto::sign::SigningKey;
use bitchat_protocol::quic::{
    Dial, Endpoint, EndpointConfig, Established, Interface, Link, LinkEvent, LinkInput,
    OwnAddresses, Routed,
};
use bitchat_protocol_fuzz::{patch, pieces};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

const UNIX: Duration = Duration::from_secs(1_767_225_600);
const ROUNDS: u32 = 60;
const ROUND: Duration = Duration::from_millis(20);
const DATAGRAMS_MAX: usize = 400;
const FRAME: &[u8] = b"a frame";

struct Node {
    address: SocketAddr,
    endpoint: Endpoint,
    link: Option<Link>,
    established: Option<Established>,
    frames: Vec<Bytes>,
    waiting: Vec<LinkInput>,
    incoming: usize,
}

fn keys() -> ChannelKeys {
    ChannelKeys::member(ChannelSecret(Secret::new([9; 32])))
}

impl Node {
    fn new(n: u8) -> Self {
        let key = SigningKey::from_seed(Secret::new([n; 32]));
        let address = SocketAddr::from(([127, 0, 0, 1], 5000 + u16::from(n)));
        let mut endpoint = Endpoint::new(&key, EndpointConfig::default(), UNIX, [n; 32]);
        endpoint.set_own_addresses(OwnAddresses::new([Interface { address, prefix_bits: 8 }], []));
        endpoint.add_channel(keys().id(), keys().gate().clone());
        let (link, established) = (None, None);
        let (frames, waiting) = (Vec::new(), Vec::new());
        Self { address, endpoint, link, established, frames, waiting, incoming: 0 }
    }

    fn take(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        match self.endpoint.handle_datagram(now, UNIX, from, None, None, BytesMut::from(data)) {
            Some(Routed::ToLink(id, input)) => {
                assert_eq!(self.link.as_ref().map(Link::id), Some(id));
                self.waiting.push(input);
            }
            Some(Routed::Incoming(link)) => {
                self.incoming += 1;
                self.link = Some(*link);
            }
            None => {}
        }
    }

    fn drive(&mut self, now: Instant, sent: &mut VecDeque<Vec<u8>>) {
        let Some(link) = &mut self.link else { return };
        if link.poll_timeout().is_some_and(|due| due <= now) {
            link.handle_timeout(now);
        }
        for input in self.waiting.drain(..) {
            link.handle_input(now, input);
        }
        // The link and the endpoint answer each other a few times at most.
        for _ in 0..16 {
            while let Some(event) = link.poll_event() {
                match event {
                    LinkEvent::Established(established) => {
                        assert!(self.established.replace(established).is_none());
                        link.send_frame(FRAME).expect("an empty queue");
                    }
                    LinkEvent::Frame(body) => self.frames.push(body),
                    LinkEvent::StreamOpened(_)
                    | LinkEvent::StreamReadable(_)
                    | LinkEvent::StreamWritable(_)
                    | LinkEvent::Closed(_) => {}
                }
            }
            let mut buffer = Vec::new();
            while let Some(transmit) = link.poll_transmit(now, &mut buffer) {
                let segment = transmit.segment_size.unwrap_or(transmit.size);
                sent.extend(buffer[..transmit.size].chunks(segment).map(<[u8]>::to_vec));
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

/// A stranger's datagrams: whatever they are, no link begins and none is found.
fn stranger(now: Instant, data: &[u8]) {
    let mut node = Node::new(1);
    for datagram in pieces(data).take(DATAGRAMS_MAX) {
        let from = SocketAddr::from(([127, 0, 0, 1], 4000));
        let datagram = BytesMut::from(datagram);
        let routed = node.endpoint.handle_datagram(now, UNIX, from, None, None, datagram);
        assert!(routed.is_none());
    }
}

/// Two nodes, and a network that drops, doubles, holds back and changes datagrams, or adds its own.
fn meddled_with(start: Instant, script: &[u8]) {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    let dial = Dial { channel: keys().id(), address: b.address, expect: None };
    a.link = Some(a.endpoint.connect(start, UNIX, dial).expect("diallable"));
    let mut steps = pieces(script);
    let (mut to_a, mut to_b) = (VecDeque::new(), VecDeque::new());
    let mut left = DATAGRAMS_MAX;
    let mut untouched = true;
    for round in 0..ROUNDS {
        let now = start + ROUND * round;
        a.drive(now, &mut to_b);
        b.drive(now, &mut to_a);
        let flying: Vec<_> = to_a
            .drain(..)
            .map(|data| (false, data))
            .chain(to_b.drain(..).map(|data| (true, data)))
            .collect();
        for (goes_to_b, mut data) in flying {
            left = left.saturating_sub(1);
            if left == 0 {
                return;
            }
            let (to, from) = if goes_to_b { (&mut b, a.address) } else { (&mut a, b.address) };
            let Some((&op, script)) = steps.next().and_then(<[u8]>::split_first) else {
                to.take(now, from, &data);
                continue;
            };
            untouched &= op % 8 == 0;
            match op % 8 {
                0 => to.take(now, from, &data),
                1 => {}
                2 => {
                    to.take(now, from, &data);
                    to.take(now, from, &data);
                }
                3 => {
                    patch(&mut data, script);
                    to.take(now, from, &data);
                }
                4 => {
                    let genuine = data.clone();
                    patch(&mut data, script);
                    to.take(now, from, &data);
                    to.take(now, from, &genuine);
                }
                5 => {
                    to.take(now, from, script);
                    to.take(now, from, &data);
                }
                6 => {
                    let elsewhere = SocketAddr::new(from.ip(), 4000);
                    to.take(now, elsewhere, &data);
                }
                _ => {
                    if goes_to_b {
                        to_b.push_back(data)
                    } else {
                        to_a.push_back(data)
                    }
                }
            }
        }
    }
    assert!(b.incoming <= 1, "one first packet begins one link");
    // Whoever is linked is linked with the other, on the same transcript.
    for (node, other) in [(&a, 2), (&b, 1)] {
        let Some(established) = &node.established else { continue };
        assert_eq!(established.peer.0, *SigningKey::from_seed(Secret::new([other; 32])).public());
        // What arrives is what was sent, and once.
        assert!(node.frames.len() <= 1 && node.frames.iter().all(|frame| frame == FRAME));
    }
    if let (Some(a), Some(b)) = (&a.established, &b.established) {
        assert_eq!(a.handshake_hash, b.handshake_hash);
        assert_eq!(a.suite, b.suite);
    }
    if untouched {
        assert_eq!((a.frames.len(), b.frames.len()), (1, 1));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else { return };
    let now = Instant::now();
    if mode & 1 == 0 { stranger(now, rest) } else { meddled_with(now, rest) }
});

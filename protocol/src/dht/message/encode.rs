//! Message -> datagram. Keys are written in their order, so nothing is sorted.

use std::net::{IpAddr, SocketAddr};

use super::super::node_id::NodeId;
use super::{Contact, Refusal, Want};

/// A question of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// `ping`.
    Ping,
    /// `find_node`.
    FindNode {
        /// Near what.
        target: NodeId,
        /// Over which IP versions; neither: the key is not written.
        want: Want,
    },
    /// `get_peers`.
    GetPeers {
        /// Which swarm, or near what.
        infohash: NodeId,
        /// libtorrent's mark of a bootstrap, `bs`.
        bootstrap: bool,
        /// Over which IP versions; neither: the key is not written.
        want: Want,
    },
    /// `announce_peer`.
    AnnouncePeer {
        /// Which swarm.
        infohash: NodeId,
        /// Where we are reached.
        port: u16,
        /// `implied_port`, if it is written.
        implied_port: Option<bool>,
        /// `seed`, if it is written.
        seed: Option<bool>,
        /// From the node that is told.
        token: &'a [u8],
    },
}

/// What is around every message of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The transaction id.
    pub transaction: &'a [u8],
    /// `v`, if it is written.
    pub version: Option<&'a [u8]>,
    /// Our id.
    pub id: NodeId,
}

/// What a question is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The asker's address: written as `ip` (BEP 42).
    pub ip: Option<SocketAddr>,
    /// The asker's port: written as `p`.
    pub port: Option<u16>,
    /// IPv4 nodes; `None`: the key is not written.
    pub nodes: Option<Vec<Contact>>,
    /// IPv6 nodes; `None`: the key is not written.
    pub nodes6: Option<Vec<Contact>>,
    /// The right to announce.
    pub token: Option<Vec<u8>>,
    /// Peers; none: the key is not written.
    pub peers: Vec<SocketAddr>,
    /// Infohashes known.
    pub sample: Option<Sample>,
}

/// The answer's part that is peculiar to `sample_infohashes` (BEP 51).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Seconds until it is worth asking again.
    pub interval: i64,
    /// How many are known.
    pub total: usize,
    /// Some of them.
    pub hashes: Vec<NodeId>,
}

/// Writes a question.
#[must_use]
pub fn encode_query(envelope: Envelope<'_>, question: &Question<'_>) -> Vec<u8> {
    let mut out = Writer::default();
    out.open(b'd');
    out.key("a");
    out.open(b'd');
    let name = arguments(&mut out, &envelope.id, question);
    out.close();
    out.key("q");
    out.bytes(name.as_bytes());
    out.end(&envelope, b"q")
}

fn arguments(out: &mut Writer, id: &NodeId, question: &Question<'_>) -> &'static str {
    match *question {
        Question::Ping => {
            out.id("id", id);
            "ping"
        }
        Question::FindNode { target, want } => {
            out.id("id", id);
            out.id("target", &target);
            out.want(want);
            "find_node"
        }
        Question::GetPeers { infohash, bootstrap, want } => {
            if bootstrap {
                out.key("bs");
                out.int(1);
            }
            out.id("id", id);
            out.id("info_hash", &infohash);
            out.want(want);
            "get_peers"
        }
        Question::AnnouncePeer { infohash, port, implied_port, seed, token } => {
            out.id("id", id);
            out.flag("implied_port", implied_port);
            out.id("info_hash", &infohash);
            out.key("port");
            out.int(port.into());
            out.flag("seed", seed);
            out.key("token");
            out.bytes(token);
            "announce_peer"
        }
    }
}

/// Writes an answer.
#[must_use]
pub fn encode_answer(envelope: Envelope<'_>, answer: &Answer) -> Vec<u8> {
    let mut out = Writer::default();
    out.open(b'd');
    out.seen_as(answer.ip);
    out.key("r");
    out.open(b'd');
    out.id("id", &envelope.id);
    if let Some(sample) = &answer.sample {
        out.key("interval");
        out.int(sample.interval);
    }
    out.nodes("nodes", answer.nodes.as_deref());
    out.nodes("nodes6", answer.nodes6.as_deref());
    if let Some(sample) = &answer.sample {
        out.key("num");
        out.int(i64::try_from(sample.total).unwrap_or(i64::MAX));
    }
    out.port(answer.port);
    if let Some(sample) = &answer.sample {
        out.key("samples");
        out.bytes(&sample.hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>());
    }
    if let Some(token) = &answer.token {
        out.key("token");
        out.bytes(token);
    }
    if !answer.peers.is_empty() {
        out.key("values");
        out.open(b'l');
        answer.peers.iter().for_each(|peer| out.bytes(&compact(*peer)));
        out.close();
    }
    out.close();
    out.end(&envelope, b"r")
}

/// Writes an error. libtorrent gives its id, and the asker's address, with all errors but those about
/// a query from nobody; then `known` is `None`.
#[must_use]
pub fn encode_refusal(envelope: Envelope<'_>, refusal: Refusal, known: Option<&Answer>) -> Vec<u8> {
    let mut out = Writer::default();
    out.open(b'd');
    out.key("e");
    out.open(b'l');
    out.int(Refusal::CODE);
    out.bytes(refusal.to_string().as_bytes());
    out.close();
    if let Some(answer) = known {
        out.seen_as(answer.ip);
        out.key("r");
        out.open(b'd');
        out.id("id", &envelope.id);
        out.port(answer.port);
        out.close();
    }
    out.end(&envelope, b"e")
}

/// Nodes in compact form.
pub(in crate::dht) fn compact_nodes<'a>(nodes: impl IntoIterator<Item = &'a Contact>) -> Vec<u8> {
    let mut list = Vec::new();
    for node in nodes {
        list.extend_from_slice(&node.id.0);
        list.extend_from_slice(&compact(node.address));
    }
    list
}

/// An address and a port in compact form.
fn compact(address: SocketAddr) -> Vec<u8> {
    let mut out = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    out.extend_from_slice(&address.port().to_be_bytes());
    out
}

#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn open(&mut self, kind: u8) {
        self.0.push(kind);
    }

    fn close(&mut self) {
        self.0.push(b'e');
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes.len().to_string().as_bytes());
        self.0.push(b':');
        self.0.extend_from_slice(bytes);
    }

    fn key(&mut self, name: &str) {
        self.bytes(name.as_bytes());
    }

    fn int(&mut self, int: i64) {
        self.0.push(b'i');
        self.0.extend_from_slice(int.to_string().as_bytes());
        self.close();
    }

    fn id(&mut self, key: &str, id: &NodeId) {
        self.key(key);
        self.bytes(&id.0);
    }

    fn flag(&mut self, key: &str, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.key(key);
            self.int(flag.into());
        }
    }

    fn want(&mut self, want: Want) {
        if want == Want::default() {
            return;
        }
        self.key("want");
        self.open(b'l');
        if want.v4 {
            self.key("n4");
        }
        if want.v6 {
            self.key("n6");
        }
        self.close();
    }

    fn seen_as(&mut self, address: Option<SocketAddr>) {
        if let Some(address) = address {
            self.key("ip");
            self.bytes(&compact(address));
        }
    }

    fn port(&mut self, port: Option<u16>) {
        if let Some(port) = port {
            self.key("p");
            self.int(port.into());
        }
    }

    fn nodes(&mut self, key: &str, nodes: Option<&[Contact]>) {
        let Some(nodes) = nodes else { return };
        let list = compact_nodes(nodes);
        self.key(key);
        self.bytes(&list);
    }

    fn end(mut self, envelope: &Envelope<'_>, kind: &[u8]) -> Vec<u8> {
        self.key("t");
        self.bytes(envelope.transaction);
        if let Some(version) = envelope.version {
            self.key("v");
            self.bytes(version);
        }
        self.key("y");
        self.bytes(kind);
        self.close();
        self.0
    }
}

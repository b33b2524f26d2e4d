//! KRPC, the messages of the DHT (BEP 5, 32, 42, 43, 44, 51): bencoded dictionaries, one a datagram.
//!
//! ```text
//! every message   t  transaction id      y  "q", "r" or "e"      v  client      ip  receiver's address
//! query           q  name                a  arguments: id, ...                  ro  not to be kept
//! response        r  values: id, ...
//! error           e  [code, text]
//! ```
//!
//! | query | arguments | values |
//! |---|---|---|
//! | `ping` | | |
//! | `find_node` | `target` `want` | `nodes` `nodes6` |
//! | `get_peers` | `info_hash` `want` | `token`, `values`, `nodes` `nodes6` |
//! | `announce_peer` | `info_hash` `port` `implied_port` `token` | |
//! | `sample_infohashes` | `target` `want` | `interval` `num` `samples`, `nodes` `nodes6` |
//! | `get` | `target` `want` | `token`, `nodes` `nodes6` |
//!
//! What is wrong with a query is found in the order in which libtorrent finds it, and said in its words:
//! a key of the wrong type is `missing`, one of the wrong length is `invalid`.
//!
//! Not here: what is answered (`node`).

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use decode::decode;
pub(super) use decode::nodes_of;
pub(super) use encode::compact_nodes;
pub use encode::{Answer, Envelope, Question, Sample, encode_answer, encode_query, encode_refusal};

use super::node_id::NodeId;

/// A node and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Contact {
    /// Its name.
    pub id: NodeId,
    /// Its address.
    pub address: SocketAddr,
}

/// One message, as far as anybody asks about it; borrows from the datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// What the sender will know the answer by, or knows our question by; empty if there was none.
    pub transaction: &'a [u8],
    /// What is said.
    pub body: Body<'a>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// Somebody asks.
    Query(Query<'a>),
    /// Somebody asks, and so badly that it is not even known who.
    BadQuery(Refusal),
    /// Somebody answers.
    Response(Response<'a>),
    /// Somebody refuses to answer.
    Error {
        /// BEP 5, "Errors"; 0 if there was none.
        code: i64,
        /// In words, from a stranger; empty if there were none.
        text: &'a [u8],
        /// What our address looks like from there (BEP 42).
        seen_as: Option<SocketAddr>,
    },
}

/// A question and who asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    /// The asker.
    pub id: NodeId,
    /// The asker does not answer questions itself (BEP 43).
    pub read_only: bool,
    /// What is asked, or why that cannot be answered.
    pub request: Result<Request<'a>, Refusal>,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Are you there?
    Ping,
    /// Which nodes are near?
    FindNode {
        /// Near what.
        target: NodeId,
        /// Over which IP versions.
        want: Want,
    },
    /// Which peers are in a swarm, and which nodes are near?
    GetPeers {
        /// The swarm.
        infohash: NodeId,
        /// Nodes over which IP versions.
        want: Want,
    },
    /// I am in a swarm.
    AnnouncePeer {
        /// The swarm.
        infohash: NodeId,
        /// The port; `None`: that from which the question came.
        port: Option<u16>,
        /// Received from us in answer to an earlier question.
        token: &'a [u8],
    },
    /// Which swarms are known (BEP 51)?
    SampleInfohashes {
        /// Nodes near what.
        target: NodeId,
        /// Nodes over which IP versions.
        want: Want,
    },
    /// What is stored (BEP 44)?
    Get {
        /// Where.
        target: NodeId,
        /// Nodes over which IP versions.
        want: Want,
    },
}

/// Over which IP versions nodes are wanted (BEP 32). Neither: over that of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Want {
    /// `n4`.
    pub v4: bool,
    /// `n6`.
    pub v6: bool,
}

/// Why a query is not answered. Printed in libtorrent's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A key is missing, or of the wrong type.
    #[error("missing '{0}' key")]
    Missing(&'static str),
    /// A key is of the wrong length.
    #[error("invalid value for '{0}'")]
    Invalid(&'static str),
    /// No such query.
    #[error("unknown message")]
    UnknownQuery,
    /// The token is not ours, or too old.
    #[error("invalid token")]
    Token,
    /// The port is none.
    #[error("invalid port in announce")]
    Port,
}

impl Refusal {
    /// "Protocol Error" (BEP 5, "Errors"): libtorrent has no other.
    pub const CODE: i64 = 203;
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    /// Who answers.
    pub id: NodeId,
    /// Nodes near what was asked about, over both IP versions; at most
    /// [`DHT_NODES_PER_ANSWER_MAX`](crate::limits::DHT_NODES_PER_ANSWER_MAX) each.
    pub nodes: Vec<Contact>,
    /// Peers of the swarm asked about; at most
    /// [`DHT_PEERS_PER_ANSWER_MAX`](crate::limits::DHT_PEERS_PER_ANSWER_MAX).
    pub peers: Vec<SocketAddr>,
    /// To be shown when announcing there.
    pub token: Option<&'a [u8]>,
    /// What our address looks like from there (BEP 42).
    pub seen_as: Option<SocketAddr>,
}

/// Why a datagram is no message. It is dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`DHT_DATAGRAM_BYTES_MAX`](crate::limits::DHT_DATAGRAM_BYTES_MAX).
    #[error("the datagram is too long")]
    TooLong,
    /// Not one bencoded dictionary and nothing else.
    #[error("not one bencoded dictionary")]
    NotADictionary,
    /// `y` is none of `q`, `r`, `e`, or is missing.
    #[error("neither a query nor an answer")]
    UnknownKind,
    /// The transaction id is longer than
    /// [`DHT_TRANSACTION_BYTES_MAX`](crate::limits::DHT_TRANSACTION_BYTES_MAX).
    #[error("the transaction id is too long")]
    Transaction,
    /// An answer without the id of whoever answers.
    #[error("an answer from nobody")]
    NoId,
}

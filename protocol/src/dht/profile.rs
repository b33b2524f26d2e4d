//! How a node looks to other nodes of the DHT, as data: whose client's habits it has.
//!
//! What a profile says was read off captures of the client it is named for.

use std::time::Duration;

/// Which queries are used for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryMix {
    /// `get_peers` for everything, as libtorrent does, but `ping` where there is no room for nodes that
    /// an answer could name; `want` only to ask over the other IP version.
    GetPeers,
    /// `ping` to see who is there, `find_node` with `want` for both IP versions to fill the table,
    /// `get_peers` for swarms.
    Classic,
}

/// What transaction ids look like. An answer counts only from the address that was asked, so that a
/// constant one is no danger to more than the nodes' own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionIds {
    /// This many random bytes, 1 to 4.
    Random(usize),
    /// Two letters for the kind of query; then two bytes, zero for `ping` and `find_node` and random
    /// for the others.
    Tagged,
}

/// Habits of one client on the DHT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhtProfile {
    /// Name and version of the client that is worn.
    pub name: String,
    /// `v` of every message, if there is one.
    pub version: Option<Vec<u8>>,
    /// What transaction ids look like.
    pub transaction_ids: TransactionIds,
    /// Which queries are used for what.
    pub queries: QueryMix,
    /// Whether a bootstrap is marked with `bs` towards those from whom it starts.
    pub bootstrap_mark: bool,
    /// Whether an announce says `implied_port`: then the port that a NAT gives us is the one announced.
    pub implied_port: bool,
    /// Whether an announce says `seed`; always that we are none.
    pub seed: bool,
    /// Bytes of the tokens we give away, 1 to 16.
    pub token_bytes: usize,
    /// Whether an answer says `ip`, the asker's address (BEP 42).
    pub answers_ip: bool,
    /// Whether an answer says `p`, the asker's port.
    pub answers_port: bool,
    /// Whether our ids are valid for our address (BEP 42).
    pub secure_ids: bool,
    /// Whether both IP versions have one id.
    pub one_id: bool,
    /// Time between announces of one infohash.
    pub announce_interval: Duration,
    /// Longest pause between the first announces of several infohashes.
    pub announce_gap: Duration,
    /// Nodes that are told of an announce.
    pub announce_nodes: usize,
    /// Time between questions that keep the table fresh.
    pub refresh_interval: Duration,
}

impl DhtProfile {
    /// libtorrent 2.0.11, as in qBittorrent 5.1.0: the default.
    #[must_use]
    pub fn libtorrent_2_0_11() -> Self {
        Self {
            name: "libtorrent 2.0.11".to_owned(),
            version: Some(b"LT\x02\x0b".to_vec()),
            transaction_ids: TransactionIds::Random(2),
            queries: QueryMix::GetPeers,
            bootstrap_mark: true,
            implied_port: true,
            seed: true,
            token_bytes: 4,
            answers_ip: true,
            answers_port: true,
            secure_ids: true,
            one_id: false,
            announce_interval: Duration::from_secs(900),
            announce_gap: Duration::from_secs(4),
            announce_nodes: 8,
            refresh_interval: Duration::from_secs(5),
        }
    }

    /// Transmission 4.1.0-beta.2 and 3.00, which look the same here.
    #[must_use]
    pub fn transmission_4_1_0() -> Self {
        Self {
            name: "Transmission 4.1.0-beta.2".to_owned(),
            version: None,
            transaction_ids: TransactionIds::Tagged,
            queries: QueryMix::Classic,
            bootstrap_mark: false,
            implied_port: false,
            seed: false,
            token_bytes: 8,
            answers_ip: false,
            answers_port: false,
            secure_ids: false,
            one_id: true,
            announce_interval: Duration::from_secs(28 * 60),
            announce_gap: Duration::from_secs(4),
            announce_nodes: 8,
            refresh_interval: Duration::from_secs(15),
        }
    }
}

impl Default for DhtProfile {
    fn default() -> Self {
        Self::libtorrent_2_0_11()
    }
}

//! How this node is in the DHT, over one IP version.

use std::net::IpAddr;
use std::time::Instant;

use bitchat_protocol::dht::NodeStatus;
use serde::{Deserialize, Serialize};

use super::words::{counted, ip_word, milliseconds, shown_ip};

/// One IP version of the DHT.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DhtNodeReport {
    /// `ipv4` or `ipv6`.
    pub(crate) ip: String,
    pub(crate) joined: bool,
    /// Nodes that are known.
    pub(crate) nodes: usize,
    pub(crate) last_answer_ms_ago: Option<u64>,
    /// Where most nodes say that they see us.
    pub(crate) address: Option<IpAddr>,
    /// The port there; `None`: they differ about it.
    pub(crate) port: Option<u16>,
}

impl DhtNodeReport {
    /// How it stands at `now`.
    pub(crate) fn new(status: &NodeStatus, now: Instant) -> Self {
        Self {
            ip: ip_word(status.family).into(),
            joined: status.joined,
            nodes: status.nodes,
            last_answer_ms_ago: status.last_answer.map(|at| milliseconds(now, at)),
            address: status.external.map(|external| external.ip),
            port: status.external.and_then(|external| external.port),
        }
    }

    /// All of it for people.
    pub(crate) fn describe(&self) -> String {
        let seen = self.seen().map(|seen| format!("; {seen}")).unwrap_or_default();
        format!("{}{seen}", self.membership())
    }

    /// Whether we are in it.
    pub(crate) fn membership(&self) -> String {
        let joined = if self.joined { "joined" } else { "not joined" };
        format!("{joined} over {}, {}", shown_ip(&self.ip), counted(self.nodes, "node", "known"))
    }

    /// What its nodes say of our address.
    pub(crate) fn seen(&self) -> Option<String> {
        let address = self.address?;
        let port = self.port.map(|port| format!("port {port}"));
        let port = port.unwrap_or_else(|| "by each at another port".to_owned());
        Some(format!("its nodes see this one at {address}, {port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_in_words_whether_it_is_joined_and_where_it_is_seen() {
        let mut node = DhtNodeReport { ip: "ipv6".into(), ..DhtNodeReport::default() };
        assert_eq!(node.describe(), "not joined over IPv6, 0 nodes known");
        node = DhtNodeReport {
            joined: true,
            nodes: 1,
            address: Some([9, 9, 9, 9].into()),
            ip: "ipv4".into(),
            ..node
        };
        let whole = "joined over IPv4, 1 node known; its nodes see this one at 9.9.9.9, by each at \
                     another port";
        assert_eq!(node.describe(), whole);
        node.port = Some(7);
        assert!(node.describe().ends_with("9.9.9.9, port 7"));
    }
}

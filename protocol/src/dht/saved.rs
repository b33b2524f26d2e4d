//! What a node keeps for its next run: its ids and the nodes that worked.
//!
//! ```text
//! d  2:id 20:<id>  3:id6 20:<id>  5:nodes <26 bytes each>  6:nodes6 <38 bytes each>  e
//! ```
//!
//! All keys are optional. Lists are in the compact form of BEP 5 and BEP 32.

use crate::bencode;
use crate::limits::DHT_SAVED_NODES_MAX;
use crate::tracker::announcer::Family;

use super::message::{Contact, compact_nodes, nodes_of};
use super::node_id::{ID_BYTES, NodeId};

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// Our id over IPv4.
    pub id_v4: Option<NodeId>,
    /// Our id over IPv6.
    pub id_v6: Option<NodeId>,
    /// Nodes over both, those nearest to us first; at most [`DHT_SAVED_NODES_MAX`] each.
    pub nodes: Vec<Contact>,
}

impl Saved {
    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let of = |family| {
            let nodes = self.nodes.iter().filter(move |it| Family::of(it.address.ip()) == family);
            compact_nodes(nodes.take(DHT_SAVED_NODES_MAX))
        };
        let (v4, v6) = (of(Family::V4), of(Family::V6));
        let mut entries: Vec<(&[u8], bencode::Value<'_>)> = Vec::new();
        if let Some(id) = &self.id_v4 {
            entries.push((b"id", id.0.as_slice().into()));
        }
        if let Some(id) = &self.id_v6 {
            entries.push((b"id6", id.0.as_slice().into()));
        }
        entries.push((b"nodes", v4.as_slice().into()));
        entries.push((b"nodes6", v6.as_slice().into()));
        bencode::Value::Dict(entries).encode()
    }

    /// Reads it; whatever cannot be read is left out, as nothing in it is indispensable.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let Ok(value) = bencode::decode(bytes) else { return Self::default() };
        let get = |key: &[u8]| value.get(key).and_then(bencode::Value::as_bytes);
        let id = |key| get(key).and_then(|id| <[u8; ID_BYTES]>::try_from(id).ok()).map(NodeId);
        let of = |key, family| nodes_of(get(key).unwrap_or_default(), family, DHT_SAVED_NODES_MAX);
        let nodes = of(b"nodes", Family::V4).chain(of(b"nodes6", Family::V6)).collect();
        Self { id_v4: id(b"id"), id_v6: id(b"id6"), nodes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let contact = |id: u8, address: &str| Contact {
            id: NodeId([id; 20]),
            address: address.parse().unwrap(),
        };
        Saved {
            id_v4: Some(NodeId([1; 20])),
            id_v6: Some(NodeId([2; 20])),
            nodes: vec![contact(3, "8.8.8.8:1"), contact(4, "127.0.0.1:2"), contact(5, "[::1]:3")],
        }
    }

    #[test]
    fn what_was_saved_reads_back() {
        assert_eq!(Saved::decode(&saved().encode()), saved());
        assert_eq!(Saved::decode(&Saved::default().encode()), Saved::default());
    }

    #[test]
    fn an_ipv4_node_in_the_ipv6_list_is_none() {
        let list = [[7; 20].as_slice(), &[0; 10], &[0xff; 2], &[8, 8, 8, 8, 0, 1]].concat();
        let bytes = [b"d6:nodes638:".as_slice(), &list, b"e"].concat();
        assert_eq!(Saved::decode(&bytes), Saved::default());
    }

    #[test]
    fn a_broken_file_is_an_empty_one() {
        let whole = saved().encode();
        for end in 0..whole.len() {
            assert_eq!(Saved::decode(&whole[..end]), Saved::default());
        }
        assert_eq!(Saved::decode(b"d2:id3:abc5:nodesi1e6:nodes65:abcdee"), Saved::default());
    }

    #[test]
    fn no_more_is_written_or_read_than_the_bound() {
        let nodes = (0..1000_u16)
            .map(|at| Contact { id: NodeId([0; 20]), address: ([8, 8, 8, 8], at).into() })
            .collect();
        let saved = Saved { nodes, ..Saved::default() };
        assert_eq!(Saved::decode(&saved.encode()).nodes.len(), DHT_SAVED_NODES_MAX);
        let list = "x".repeat(26 * 1000);
        let bytes = format!("d5:nodes{}:{list}e", list.len());
        assert_eq!(Saved::decode(bytes.as_bytes()).nodes.len(), DHT_SAVED_NODES_MAX);
    }
}

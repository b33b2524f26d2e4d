//! `.chat` files for the tests of their forms: the vectors of the specification, and any.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

use super::chat_file::{ChatFile, Kind, Policy};
use super::{ChannelKeys, ChannelSecret, Move, NodeAddress, Rotation};
use crate::bencode::OwnedValue;
use crate::crypto::{Rng as Seeded, Secret};
use crate::id::PeerId;
use crate::identity::{DisplayName, Identity};

const VECTORS: &str = include_str!("../../../docs/spec/vectors/chat-file.json");

/// One channel in both forms.
pub(super) struct Vector {
    pub(super) about: String,
    pub(super) file: Vec<u8>,
    pub(super) link: String,
}

pub(super) fn vectors() -> Vec<Vector> {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let vector = |case: &Value| Vector {
        about: case["about"].as_str().unwrap().to_owned(),
        file: HEXLOWER.decode(case["file"].as_str().unwrap().as_bytes()).unwrap(),
        link: case["link"].as_str().unwrap().to_owned(),
    };
    vectors["cases"].as_array().unwrap().iter().map(vector).collect()
}

/// What takes the place of a channel.
fn moved(file: &ChatFile, founder: &Identity) -> ChatFile {
    let new = ChannelKeys::member(ChannelSecret(Secret::new([9; 32])));
    let key = match new.secret() {
        Some(secret) if file.is_member() => secret.0.clone(),
        Some(_) | None => new.seed_key().0.clone(),
    };
    let lineage = file.charter().unwrap().lineage;
    let removed = [PeerId([1; 32])].into();
    let origin = Move::sign(founder, lineage, file.keys().id(), &new, removed);
    file.successor(origin, &key).unwrap()
}

pub(super) fn any_file() -> impl Strategy<Value = ChatFile> {
    let url = "(udp://[a-z]{1,9}:6969|https?://[a-z]{1,9}(:80)?)(/[!-\"$-~]{0,9})?";
    let node = ("[a-z0-9]{1,9}\\.[a-z]{1,9}|127\\.0\\.0\\.1|2001:db8::1", 1..=u16::MAX);
    let unknown = || {
        let value = prop_oneof![
            any::<i64>().prop_map(OwnedValue::Int),
            vec(any::<u8>(), 0..9).prop_map(OwnedValue::Bytes),
        ];
        btree_map(vec(b'A'..=b'Z', 1..4), value, 0..3)
    };
    (
        ("[!-~é山]([ -~é山]{0,12}[!-~é山])?", any::<[u8; 32]>()),
        vec(vec(url, 1..4), 0..4),
        vec(node, 0..4),
        (any::<bool>(), any::<bool>(), any::<bool>(), 0..Kind::ALL.len()),
        (unknown(), unknown()),
    )
        .prop_map(|((name, seed), tiers, nodes, (daily, seeder, founder, kind), unknown)| {
            let name = DisplayName::new(name).unwrap();
            let nodes = nodes.into_iter().map(|(host, port)| NodeAddress::new(host, port).unwrap());
            let rotation = if daily { Rotation::Daily } else { Rotation::Fixed };
            let rng = &mut Seeded::from_seed(seed);
            let file = ChatFile::new_open(name, tiers, nodes.collect(), rotation, rng).unwrap();
            let file = if seeder { file.seed_only() } else { file };
            let identity = Identity::from_seed(Secret::new(seed));
            let file = if founder { file.with_founder(identity.peer_id()) } else { file };
            let (unknown, unknown_in_channel): (BTreeMap<_, _>, BTreeMap<_, _>) = unknown;
            let kind = Kind::ALL[kind];
            let file = if kind.is_closed() {
                let policy = if daily { Policy::Tickets } else { Policy::Contacts };
                let file = ChatFile::new_closed(file, kind, identity.peer_id(), policy).unwrap();
                if founder { file } else { moved(&file, &identity) }
            } else {
                ChatFile { kind, ..file }
            };
            ChatFile { unknown, unknown_in_channel, ..file }
        })
}

#![no_main]

use std::sync::LazyLock;

use bitchat_protocol::channel::{
    ChannelKeys, ChannelSecret, ChatFile, Kind, MOVE_BYTES_MAX, Move, Policy, Rotation,
};
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::{DisplayName, Identity};
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

static SECRET: LazyLock<Secret<32>> = LazyLock::new(|| Secret::new([9; 32]));

/// A closed channel, and the founder's word that it goes on.
static GENUINE: LazyLock<(ChatFile, Move)> = LazyLock::new(|| {
    let founder = Identity::from_seed(Secret::new([1; 32]));
    let name = DisplayName::new("team").expect("a name");
    let rng = &mut Rng::from_seed([2; 32]);
    let file = ChatFile::new_open(name, Vec::new(), Vec::new(), Rotation::Daily, rng);
    let file = file.expect("an open channel");
    let file = ChatFile::new_closed(file, Kind::Closed, founder.peer_id(), Policy::Tickets);
    let file = file.expect("a closed channel");
    let lineage = file.charter().expect("a charter").lineage;
    let keys = ChannelKeys::member(ChannelSecret(SECRET.clone()));
    let removed = [PeerId([3; 32]), PeerId([4; 32])].into();
    let moved = Move::sign(&founder, lineage, file.keys().id(), &keys, removed);
    (file, moved)
});

// The first byte: 0 changes the genuine one, any other takes the rest as it is.
fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let (file, genuine) = &*GENUINE;
    let mut bytes = if mode == 0 { genuine.encode() } else { script.to_vec() };
    if mode == 0 {
        patch(&mut bytes, script);
    }
    let Ok(moved) = Move::decode(&bytes) else { return };
    assert!(bytes.len() <= MOVE_BYTES_MAX);
    assert_eq!(moved.encode(), bytes);
    let is_genuine = moved == *genuine;
    let followed = file.successor(moved, &SECRET);
    assert_eq!(followed.is_ok(), is_genuine, "an altered one leads nowhere");
    if let Ok(file) = followed {
        assert_eq!(ChatFile::from_bytes(&file.to_bytes()), Ok(file));
    }
});

#![no_main]

use std::sync::LazyLock;

use bitchat_protocol::id::ChannelId;
use bitchat_protocol::limits::FRAME_BYTES_MAX;
use bitchat_protocol::wire;
use bitchat_protocol_fuzz::{frames, patch};
use libfuzzer_sys::fuzz_target;

static GENUINE: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| frames::genuine(ChannelId([5; 32])).iter().map(wire::encode).collect());

fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let mut body = GENUINE.get(usize::from(mode)).cloned().unwrap_or_default();
    if body.is_empty() {
        body.extend_from_slice(script);
    } else {
        patch(&mut body, script);
    }
    if let Ok(Some(frame)) = wire::decode(&body) {
        assert!(body.len() <= FRAME_BYTES_MAX);
        frames::check_bounds(&frame);
        assert_eq!(wire::decode(&wire::encode(&frame)), Ok(Some(frame)));
    }
});

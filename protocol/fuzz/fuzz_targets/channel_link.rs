#![no_main]

use std::sync::LazyLock;

use bitchat_protocol::channel::{ChatFile, Rotation};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::PeerId;
use bitchat_protocol::identity::{DisplayName, Identity};
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

static GENUINE: LazyLock<[String; 2]> = LazyLock::new(|| {
    let mut rng = Rng::from_seed([1; 32]);
    let founder: PeerId = Identity::generate(&mut rng).peer_id();
    let file = ChatFile::new_open(
        DisplayName::new("good friends").expect("a name"),
        vec![vec!["udp://tracker.example:6969".to_owned()]],
        vec!["[2001:db8::1]:6881".parse().expect("an address")],
        Rotation::Fixed,
        &mut rng,
    )
    .expect("a file");
    let seeder = file.seed_only().with_founder(founder);
    [file.to_link().to_string(), seeder.to_link().to_string()]
});

fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let mut bytes = GENUINE.get(usize::from(mode)).map_or(Vec::new(), |link| link.clone().into());
    if bytes.is_empty() {
        bytes.extend_from_slice(script);
    } else {
        patch(&mut bytes, script);
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    match ChatFile::from_link(text) {
        Ok(file) => {
            let link = file.to_link();
            let again = ChatFile::from_link(&link).expect("what we write reads back");
            assert_eq!(again.to_link(), link);
            assert!(again == file);
            let written = ChatFile::from_bytes(&file.to_bytes()).expect("it is a file as well");
            assert!(written == file);
        }
        Err(error) => drop(error.to_string()),
    }
});

#![no_main]

use bitchat_protocol::at_rest::{self, Container, Guard, IdentityBody};
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

const NAME: &str = "identity";

fn body() -> IdentityBody {
    IdentityBody {
        seed: Secret::new([1; 32]),
        storage_key: Secret::new([2; 32]),
        name: "name".to_owned(),
        udp_port: Some(6881),
        client_profile: Some("profile".to_owned()),
    }
}

fn read_body(bytes: &[u8]) {
    if let Ok(body) = IdentityBody::from_bytes(bytes) {
        let again = IdentityBody::from_bytes(&body.to_bytes()).expect("what we write reads back");
        assert_eq!(again.to_bytes(), body.to_bytes());
    }
}

// The first byte: 0 and 1 change a genuine file (unguarded, under a key), 2 wraps a made-up body, 3
// changes a genuine body; anything else is made up.
fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let key = Secret::new([3; 32]);
    let guard = if mode == 1 { Guard::Key(&key) } else { Guard::None };
    let mut rng = Rng::from_seed([4; 32]);
    let genuine = at_rest::write(NAME, guard, &mut rng, &body().to_bytes());
    let bytes = match mode {
        0 | 1 => {
            let mut bytes = genuine.to_vec();
            patch(&mut bytes, script);
            bytes
        }
        2 => at_rest::write(NAME, Guard::None, &mut rng, script).to_vec(),
        3 => {
            let mut body = body().to_bytes().to_vec();
            patch(&mut body, script);
            at_rest::write(NAME, Guard::None, &mut rng, &body).to_vec()
        }
        _ => script.to_vec(),
    };
    let Ok(container) = at_rest::read(&bytes) else {
        assert!(mode > 3 || (mode < 2 && bytes != genuine[..]));
        return;
    };
    // Mode 0 and 1: a changed file whose checksum fits would be a forged BLAKE2b-128.
    assert!(mode > 1 || bytes == genuine[..]);
    match container.open(NAME, guard) {
        Ok(opened) => read_body(&opened),
        Err(_) => assert!(!matches!(container, Container::Plain(_)) && mode > 3),
    }
    if mode == 1 {
        assert!(container.open("contacts", guard).is_err(), "a file has its name");
        assert!(container.open(NAME, Guard::Key(&Secret::new([5; 32]))).is_err());
    }
    let _ = format!("{container:?}");
});

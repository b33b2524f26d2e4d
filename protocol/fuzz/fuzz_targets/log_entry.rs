#![no_main]

use std::sync::LazyLock;

use bitchat_protocol::channel::{ChannelKeys, ChannelSecret};
use bitchat_protocol::crypto::sign::SigningKey;
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::id::{ChainId, DeviceId, MessageId, PeerId};
use bitchat_protocol::limits::{ENTRY_AFTER_MAX, ENTRY_NUMBER_MAX, MESSAGE_BYTES_MAX};
use bitchat_protocol::log::{
    Body, Certificate, ENTRY_BYTES_MAX, Entry, EntryHash, Head, Outline, Say, Tip, clock_max,
};
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

struct Genuine {
    keys: ChannelKeys,
    author: PeerId,
    certificate: Vec<u8>,
    body: Vec<u8>,
    entry: Entry,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let keys = ChannelKeys::member(ChannelSecret(Secret::new([1; 32])));
    let key = SigningKey::from_seed(Secret::new([2; 32]));
    let author = PeerId(*key.public());
    let certificate = Certificate::sign(&keys, author, DeviceId([3; 8])).expect("a member");
    let after = vec![Tip { chain: ChainId([4; 16]), number: 5 }];
    let body = Say { id: MessageId([6; 16]), unix_ms: 7, text: "text".to_owned(), after }.encode();
    let chain = certificate.chain(&keys.id());
    let head = Head { chain, number: 1, clock: 1, previous: EntryHash([8; 32]) };
    let mut rng = Rng::from_seed([9; 32]);
    let entry = Entry::write(&keys, &key, &mut rng, head, &body).expect("a member");
    Genuine { keys, author, certificate: certificate.encode().to_vec(), body, entry }
});

// The first byte: 0 a certificate, 1 a body, 2 an entry, 3 an outline, each a genuine one that the
// rest changes; 4 and above: the rest as it is, as each of them.
fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let mut bytes = match mode {
        0 => GENUINE.certificate.clone(),
        1 => GENUINE.body.clone(),
        2 => GENUINE.entry.bytes.to_vec(),
        3 => GENUINE.entry.outline().bytes.to_vec(),
        _ => Vec::new(),
    };
    if bytes.is_empty() {
        bytes.extend_from_slice(script)
    } else {
        patch(&mut bytes, script)
    }

    if let Ok(certificate) = Certificate::decode(&bytes) {
        assert_eq!(certificate.encode()[..], bytes);
        assert_eq!(certificate.verify(&GENUINE.keys), bytes == GENUINE.certificate);
    }
    if let Body::Say(say) = Body::decode(&bytes) {
        assert!((1..=MESSAGE_BYTES_MAX).contains(&say.text.len()));
        assert!(say.after.len() <= ENTRY_AFTER_MAX);
        assert_eq!(Body::decode(&say.encode()), Body::Say(say));
    }
    let id = GENUINE.keys.id();
    if let Ok(outline) = Outline::decode(&id, &bytes) {
        assert_eq!(outline.verify(&GENUINE.author), outline == GENUINE.entry.outline());
    }
    if let Ok(entry) = Entry::decode(&id, bytes.into()) {
        assert!(entry.bytes.len() <= ENTRY_BYTES_MAX);
        assert!((1..=ENTRY_NUMBER_MAX).contains(&entry.head.number));
        assert!(entry.head.clock <= clock_max(entry.head.number));
        assert_eq!(entry.verify(&GENUINE.author), entry == GENUINE.entry);
        assert_eq!(entry.outline().hash, entry.hash);
        let _ = entry.open(&GENUINE.keys);
    }
});

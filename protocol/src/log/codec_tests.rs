//! Entries and bodies against the vectors, and with each part of them changed.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::channel::{ChannelKeys, ChannelSecret};
use crate::crypto::sign::{SIGNATURE_BYTES, SigningKey};
use crate::crypto::{Rng, Secret};
use crate::id::{ChainId, ChannelId, DeviceId, MessageId, PeerId};
use crate::limits::{ENTRY_AFTER_MAX, ENTRY_BODY_BYTES_MAX, ENTRY_NUMBER_MAX, MESSAGE_BYTES_MAX};

const VECTORS: &str = include_str!("../../../docs/spec/vectors/log.json");

fn keys(secret: u8) -> ChannelKeys {
    ChannelKeys::member(ChannelSecret(Secret::new([secret; 32])))
}

fn seeder_of(keys: &ChannelKeys) -> ChannelKeys {
    ChannelKeys::seeder(keys.seed_key().clone(), keys.public_key())
}

fn author() -> SigningKey {
    SigningKey::from_seed(Secret::new([7; 32]))
}

fn id_of(key: &SigningKey) -> PeerId {
    PeerId(*key.public())
}

fn certificate() -> Certificate {
    Certificate::sign(&keys(1), id_of(&author()), DeviceId([3; 8])).unwrap()
}

fn say() -> Say {
    let after = vec![Tip { chain: ChainId([9; 16]), number: 4 }];
    Say { id: MessageId([8; 16]), unix_ms: 1_700_000_000_123, text: "hello".into(), after }
}

fn head() -> Head {
    let chain = certificate().chain(&keys(1).id());
    Head { chain, number: 1, clock: 5, previous: chain_start(&chain) }
}

fn write(head: Head, body: &[u8]) -> Entry {
    Entry::write(&keys(1), &author(), &mut Rng::from_seed([2; 32]), head, body).unwrap()
}

fn entry() -> Entry {
    write(head(), &say().encode())
}

fn decode(bytes: &[u8]) -> Result<Entry, EntryError> {
    Entry::decode(&keys(1).id(), Bytes::copy_from_slice(bytes))
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn hex_array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

#[test]
fn every_value_is_the_one_computed_independently() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let secret = ChannelSecret(Secret::new(hex_array(&case["secret"])));
        let keys = ChannelKeys::member(secret);
        let author = SigningKey::from_seed(Secret::new(hex_array(&case["author_seed"])));
        let device = DeviceId(hex_array(&case["device"]));

        let certificate = Certificate::sign(&keys, id_of(&author), device).unwrap();
        assert_eq!(certificate.encode()[..], hex(&case["certificate"]));
        assert_eq!(Certificate::decode(&hex(&case["certificate"])), Ok(certificate));
        assert!(certificate.verify(&keys) && certificate.verify(&seeder_of(&keys)));
        let chain = certificate.chain(&keys.id());
        assert_eq!(chain.0[..], hex(&case["chain"]));
        let mut previous = chain_start(&chain);
        assert_eq!(previous.0[..], hex(&case["start"]));

        for vector in case["entries"].as_array().unwrap() {
            let entry = Entry::decode(&keys.id(), hex(&vector["bytes"]).into()).unwrap();
            let number = vector["number"].as_u64().unwrap();
            let clock = vector["clock"].as_u64().unwrap();
            assert_eq!(entry.head, Head { chain, number, clock, previous });
            assert_eq!(entry.hash.0[..], hex(&vector["hash"]));
            assert!(entry.verify(&id_of(&author)));
            assert_eq!(entry.outline().bytes[..], hex(&vector["outline"]));
            let after = vector["after"].as_array().unwrap().iter();
            let said = Say {
                id: MessageId(hex_array(&vector["id"])),
                unix_ms: vector["unix_ms"].as_u64().unwrap(),
                text: vector["text"].as_str().unwrap().into(),
                after: after
                    .map(|tip| Tip {
                        chain: ChainId(hex_array(&tip["chain"])),
                        number: tip["number"].as_u64().unwrap(),
                    })
                    .collect(),
            };
            assert_eq!(said.encode(), hex(&vector["body"]));
            assert_eq!(entry.open(&keys), Some(Body::Say(said)));
            previous = entry.hash;
        }
    }
    let unreadable = vectors["unreadable_bodies"].as_array().unwrap();
    assert_eq!(unreadable.len(), 4);
    for body in unreadable {
        assert_eq!(Body::decode(&hex(body)), Body::Unreadable, "{body}");
    }
}

#[test]
fn what_is_written_is_read_opened_and_verified() {
    let entry = entry();
    assert_eq!(decode(&entry.bytes), Ok(entry.clone()));
    assert!(entry.verify(&id_of(&author())));
    assert_eq!(entry.open(&keys(1)), Some(Body::Say(say())));
}

#[test]
fn two_entries_with_the_same_words_have_nothing_sealed_in_common() {
    let mut rng = Rng::from_seed([2; 32]);
    let mut again =
        || Entry::write(&keys(1), &author(), &mut rng, head(), &say().encode()).unwrap();
    assert_ne!(again().bytes[69..], again().bytes[69..]);
}

#[test]
fn no_changed_bit_of_an_entry_goes_unnoticed() {
    let entry = entry();
    for bit in 0..entry.bytes.len() * 8 {
        let mut wrong = entry.bytes.to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let verified = decode(&wrong).is_ok_and(|wrong| wrong.verify(&id_of(&author())));
        assert!(!verified, "bit {bit}");
    }
}

#[test]
fn an_outline_is_checked_like_its_entry_and_no_changed_bit_goes_unnoticed() {
    let (outline, author) = (entry().outline(), id_of(&author()));
    let decode = |bytes: &[u8]| Outline::decode(&keys(1).id(), bytes);
    assert_eq!(decode(&outline.bytes), Ok(outline.clone()));
    assert!(outline.verify(&author));
    assert_eq!(outline.hash, entry().hash);
    for bit in 0..outline.bytes.len() * 8 {
        let mut wrong = outline.bytes;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!decode(&wrong).is_ok_and(|wrong| wrong.verify(&author)), "bit {bit}");
    }
    for len in 0..OUTLINE_BYTES {
        assert_eq!(decode(&outline.bytes[..len]), Err(EntryError::Length { bytes: len }));
    }
}

#[test]
fn every_prefix_of_an_entry_and_a_byte_more_are_refused() {
    let mut bytes = entry().bytes.to_vec();
    for len in 0..bytes.len() {
        assert_eq!(decode(&bytes[..len]), Err(EntryError::Length { bytes: len }));
    }
    bytes.push(0);
    assert_eq!(decode(&bytes), Err(EntryError::Length { bytes: bytes.len() }));
}

#[test]
fn an_entry_of_another_version_is_refused() {
    let mut bytes = entry().bytes.to_vec();
    bytes[0] = 2;
    assert_eq!(decode(&bytes), Err(EntryError::Version(2)));
}

#[test]
fn numbers_and_clocks_out_of_bounds_are_refused_and_those_at_them_are_not() {
    let with = |number, clock| {
        let entry = write(Head { number, clock, ..head() }, &say().encode());
        decode(&entry.bytes).map(|entry| (entry.head.number, entry.head.clock))
    };
    assert_eq!(with(0, 0), Err(EntryError::Number(0)));
    let over = ENTRY_NUMBER_MAX + 1;
    assert_eq!(with(over, over), Err(EntryError::Number(over)));
    let max = ENTRY_NUMBER_MAX;
    for (number, clock) in [(1, 1), (1, 1 << 32), (7, 7), (7, 7 << 32), (max, 1 << 63)] {
        assert_eq!(with(number, clock), Ok((number, clock)));
    }
    for (number, clock) in [(1, 0), (1, (1 << 32) + 1), (7, 6), (7, (7 << 32) + 1)] {
        assert_eq!(with(number, clock), Err(EntryError::Clock { number, clock }));
    }
}

#[test]
fn the_longest_body_is_taken_and_one_byte_more_is_not() {
    let largest = write(head(), &[200; ENTRY_BODY_BYTES_MAX]);
    assert_eq!(largest.bytes.len(), ENTRY_BYTES_MAX);
    assert_eq!(decode(&largest.bytes).unwrap().open(&keys(1)), Some(Body::Unknown { kind: 200 }));
    let longer = write(head(), &[200; ENTRY_BODY_BYTES_MAX + 1]);
    assert!(matches!(decode(&longer.bytes), Err(EntryError::Length { .. })));
    let empty = write(head(), &[]);
    assert_eq!(empty.bytes.len(), ENTRY_BYTES_MIN);
    assert_eq!(decode(&empty.bytes).unwrap().open(&keys(1)), Some(Body::Unreadable));
}

#[test]
fn the_longest_message_with_all_that_may_come_with_it_fits_a_body() {
    let after = vec![Tip { chain: ChainId([9; 16]), number: ENTRY_NUMBER_MAX }; ENTRY_AFTER_MAX];
    let text = "x".repeat(MESSAGE_BYTES_MAX);
    let longest = Say { id: MessageId([8; 16]), unix_ms: u64::MAX, text, after };
    assert!(longest.encode().len() <= ENTRY_BODY_BYTES_MAX);
    assert_eq!(Body::decode(&longest.encode()), Body::Say(longest));
}

#[test]
fn an_entry_is_of_its_channel_and_author_alone() {
    let entry = entry();
    let elsewhere = Entry::decode(&keys(2).id(), entry.bytes.clone()).unwrap();
    assert_ne!(elsewhere.hash, entry.hash);
    assert!(!elsewhere.verify(&id_of(&author())));
    assert!(!entry.verify(&id_of(&SigningKey::from_seed(Secret::new([8; 32])))));
}

#[test]
fn an_entry_opens_under_its_read_key_only_and_a_seeder_has_none() {
    let entry = entry();
    assert_eq!(entry.open(&keys(2)), Some(Body::Unreadable));
    assert_eq!(entry.open(&seeder_of(&keys(1))), None);
}

#[test]
fn what_is_sealed_cannot_be_moved_under_another_head() {
    let entry = entry();
    for head in [
        Head { number: 2, ..head() },
        Head { clock: 6, ..head() },
        Head { chain: ChainId([1; 16]), ..head() },
        Head { previous: EntryHash([1; 32]), ..head() },
    ] {
        let mut bytes = write(head, &say().encode()).bytes.to_vec();
        bytes[65..].copy_from_slice(&entry.bytes[65..]);
        assert_eq!(decode(&bytes).unwrap().open(&keys(1)), Some(Body::Unreadable));
    }
}

#[test]
fn a_seeder_cannot_write() {
    let seeder = seeder_of(&keys(1));
    assert_eq!(Certificate::sign(&seeder, id_of(&author()), DeviceId([3; 8])), None);
    let mut rng = Rng::from_seed([2; 32]);
    assert_eq!(Entry::write(&seeder, &author(), &mut rng, head(), b""), None);
}

#[test]
fn no_changed_bit_of_a_certificate_goes_unnoticed_not_even_by_a_seeder() {
    let good = certificate().encode();
    let seeder = seeder_of(&keys(1));
    assert!(Certificate::decode(&good).unwrap().verify(&seeder));
    for bit in 0..good.len() * 8 {
        let mut wrong = good;
        wrong[bit / 8] ^= 1 << (bit % 8);
        let verified = Certificate::decode(&wrong).is_ok_and(|wrong| wrong.verify(&seeder));
        assert!(!verified, "bit {bit}");
    }
}

#[test]
fn a_certificate_marked_for_another_channel_is_refused() {
    assert!(certificate().verify(&keys(1)));
    assert!(!certificate().verify(&keys(2)));
    // The channel's key without its id: the label and the id are signed too.
    let public = keys(1).public_key();
    let mixed = ChannelKeys::seeder(keys(2).seed_key().clone(), public);
    assert!(!certificate().verify(&mixed));
}

#[test]
fn a_chain_of_an_author_whose_key_anybody_can_sign_for_is_refused() {
    let weak = PeerId([0; 32]);
    assert!(!Certificate::sign(&keys(1), weak, DeviceId([3; 8])).unwrap().verify(&keys(1)));
}

#[test]
fn a_certificate_of_any_other_length_or_version_is_refused() {
    let good = certificate().encode();
    for len in 0..good.len() {
        let refused = Err(CertificateError::Length { bytes: len });
        assert_eq!(Certificate::decode(&good[..len]), refused);
    }
    let longer = [&good[..], &[0]].concat();
    assert_eq!(Certificate::decode(&longer), Err(CertificateError::Length { bytes: 106 }));
    let mut other = good;
    other[0] = 2;
    assert_eq!(Certificate::decode(&other), Err(CertificateError::Version(2)));
}

#[test]
fn each_part_of_a_chain_changes_its_name() {
    let (channel, author, device) = (ChannelId([1; 32]), PeerId([2; 32]), DeviceId([3; 8]));
    let base = chain_id(&channel, &author, &device);
    assert_ne!(base, chain_id(&ChannelId([9; 32]), &author, &device));
    assert_ne!(base, chain_id(&channel, &PeerId([9; 32]), &device));
    assert_ne!(base, chain_id(&channel, &author, &DeviceId([9; 8])));
}

#[test]
fn a_body_out_of_bounds_is_unreadable_and_one_of_another_kind_is_unknown() {
    let said = say();
    assert_eq!(Body::decode(&said.encode()), Body::Say(said.clone()));
    let refused = [
        Say { text: String::new(), ..said.clone() },
        Say { text: "x".repeat(MESSAGE_BYTES_MAX + 1), ..said.clone() },
        Say { after: vec![said.after[0]; ENTRY_AFTER_MAX + 1], ..said.clone() },
        Say { after: vec![Tip { number: 0, ..said.after[0] }], ..said.clone() },
        Say { after: vec![Tip { number: u64::MAX, ..said.after[0] }], ..said.clone() },
    ];
    for said in refused {
        assert_eq!(Body::decode(&said.encode()), Body::Unreadable);
    }
    let bytes = said.encode();
    for len in 0..bytes.len() {
        assert_eq!(Body::decode(&bytes[..len]), Body::Unreadable, "{len}");
    }
    assert_eq!(Body::decode(&[bytes, vec![0]].concat()), Body::Unreadable);
    assert_eq!(Body::decode(&[2, 0xff]), Body::Unknown { kind: 2 });
    assert_eq!(Body::decode(&[2; ENTRY_BODY_BYTES_MAX + 1]), Body::Unreadable);
}

#[test]
fn the_order_is_by_clock_then_author_device_and_number() {
    let at = |clock, author, device, number| Position {
        clock,
        author: PeerId([author; 32]),
        device: DeviceId([device; 8]),
        number,
    };
    let sorted = [at(1, 9, 9, 9), at(2, 1, 9, 9), at(2, 2, 1, 9), at(2, 2, 2, 1), at(2, 2, 2, 2)];
    assert!(sorted.is_sorted());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = Certificate::decode(&bytes);
        let _ = Body::decode(&bytes);
    }

    #[test]
    fn what_decodes_after_a_change_is_in_bounds_and_opens_without_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = entry().bytes.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(entry) = decode(&bytes) {
            prop_assert!(entry.head.number <= ENTRY_NUMBER_MAX);
            prop_assert!(entry.head.clock <= clock_max(entry.head.number));
            prop_assert!(entry.bytes.len() >= SIGNATURE_BYTES);
            let _ = entry.open(&keys(1));
        }
    }
}

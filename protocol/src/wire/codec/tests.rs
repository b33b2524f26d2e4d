//! Frames against the vectors, and over their bounds.

use std::net::SocketAddr;

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::super::{
    ChainHave, ChannelProof, Delivered, Entries, EntryBytes, FileBytes, Fork, Have, Hello, Invite,
    InviteAnswer, LetIn, MoveBytes, Moved, MovedKey, PeerRecord, Peers, Refused, Rename,
    RenewAnswer, RenewConfirm, RenewOffer, SharedChannels, TicketBytes, Tickets, Want, Whisper,
    WireAddress,
};
use super::*;
use crate::channel::MOVE_BYTES_MAX;

use crate::id::{ChainId, ChannelId, DeviceId, MessageId, PeerId};
use crate::limits::{
    CERTIFICATES_PER_FRAME_MAX, ENTRIES_PER_FRAME_MAX, HAVE_CHAINS_PER_FRAME_MAX,
    INVITE_FILE_BYTES_MAX, PEER_ADDRESSES_MAX, PEER_RECORDS_PER_FRAME_MAX, PROOFS_MAX,
    RECEIPTS_PER_FRAME_MAX, TICKETS_MAX,
};
use crate::log::{Certificate, ENTRY_BYTES_MAX};

const VECTORS: &str = include_str!("../../../../docs/spec/vectors/frames.json");

fn address(text: &str) -> WireAddress {
    WireAddress(text.parse::<SocketAddr>().unwrap())
}

fn hello() -> Hello {
    Hello {
        version: 1,
        name: "Ada ✓".into(),
        incarnation: [1; 8],
        capabilities: 0,
        observed: Some(address("93.184.216.34:6881")),
        proofs: vec![ChannelProof([2; 16]), ChannelProof([3; 16])],
    }
}

fn peers() -> Peers {
    let addresses = vec![address("[2a00::1]:51413"), address("10.0.0.7:6881")];
    Peers {
        channel: ChannelId([5; 32]),
        full: true,
        added: vec![PeerRecord { peer: PeerId([6; 32]), addresses }],
        removed: vec![PeerId([7; 32])],
    }
}

fn whisper() -> Whisper {
    Whisper { id: MessageId([8; 16]), unix_ms: 1_700_000_000_123, text: "hello".into() }
}

fn offer() -> RenewOffer {
    RenewOffer { number: 1, dh: [10; 32], kem: vec![11; KEM_PUBLIC_BYTES] }
}

fn answer() -> RenewAnswer {
    RenewAnswer { number: 1, dh: [12; 32], kem: vec![13; KEM_CIPHERTEXT_BYTES], generation: 4 }
}

fn tickets(count: usize) -> Tickets {
    let tickets = vec![TicketBytes([14; crate::channel::TICKET_BYTES]); count];
    Tickets { channel: ChannelId([5; 32]), tickets }
}

fn refused(text: String) -> Refused {
    Refused { channel: ChannelId([5; 32]), code: 3, text }
}

fn invite(bytes: usize, tickets: usize) -> Invite {
    let tickets = vec![TicketBytes([14; crate::channel::TICKET_BYTES]); tickets];
    Invite { file: FileBytes(vec![23; bytes].into()), tickets }
}

fn moved(len: usize) -> Moved {
    let key = MovedKey(crate::crypto::Secret::new([24; 32]));
    Moved { channel: ChannelId([5; 32]), moved: MoveBytes(vec![23; len].into()), key }
}

fn quiet_hello() -> Hello {
    let (name, incarnation) = (String::new(), [0xff; 8]);
    let capabilities = u64::MAX;
    Hello { version: 1, name, incarnation, capabilities, observed: None, proofs: vec![] }
}

fn have() -> Have {
    let chain = ChainHave { chain: ChainId([14; 16]), base: 2, head: 70_000, tip: [15; 8] };
    Have { channel: ChannelId([5; 32]), full: true, again: false, chains: vec![chain] }
}

fn raw(byte: u8, len: usize) -> EntryBytes {
    EntryBytes(vec![byte; len].into())
}

fn entries() -> Entries {
    let certificate =
        Certificate { author: PeerId([16; 32]), device: DeviceId([17; 8]), mark: [18; 64] };
    let (chains, entries) = (vec![certificate], vec![raw(19, 173), raw(20, 300)]);
    Entries { channel: ChannelId([5; 32]), more: true, chains, entries }
}

/// The frames of the vectors, in their order.
fn examples() -> Vec<Frame> {
    let ids = vec![MessageId([8; 16]), MessageId([9; 16])];
    vec![
        Frame::Hello(hello()),
        Frame::Hello(quiet_hello()),
        Frame::SharedChannels(SharedChannels { proofs: vec![ChannelProof([4; 16])] }),
        Frame::Rename(Rename { name: "Bob".into() }),
        Frame::Peers(peers()),
        Frame::Whisper(whisper()),
        Frame::Delivered(Delivered { ids }),
        Frame::RenewOffer(offer()),
        Frame::RenewAnswer(answer()),
        Frame::RenewConfirm(RenewConfirm { number: 1 }),
        Frame::Have(have()),
        Frame::Have(Have { full: false, again: true, chains: vec![], ..have() }),
        Frame::Want(Want {
            channel: ChannelId([5; 32]),
            chain: ChainId([14; 16]),
            from: 3,
            bytes: 131_072,
        }),
        Frame::Entries(entries()),
        Frame::Fork(Fork {
            channel: ChannelId([5; 32]),
            chain: entries().chains[0],
            first: raw(21, 161),
            second: raw(22, 161),
        }),
        Frame::Tickets(tickets(1)),
        Frame::Refused(refused("ask alice".into())),
        Frame::LetIn(LetIn { channel: ChannelId([5; 32]) }),
        Frame::Moved(moved(227)),
        Frame::Invite(invite(300, 2)),
        Frame::InviteAnswer(InviteAnswer { channel: ChannelId([5; 32]), accepted: true }),
    ]
}

#[track_caller]
fn check_refused(frame: &Frame) {
    let body = encode(frame);
    assert_eq!(decode(&body), Err(DecodeError::Malformed { kind: body[0] }));
}

#[track_caller]
fn check_read(frame: &Frame) {
    assert_eq!(decode(&encode(frame)).as_ref(), Ok(&Some(frame.clone())));
}

#[test]
fn every_frame_is_written_and_read_as_in_the_vectors() {
    let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let vectors = vectors["frames"].as_array().unwrap();
    let examples = examples();
    assert_eq!(vectors.len(), examples.len());
    for (vector, frame) in vectors.iter().zip(examples) {
        let hex = vector["hex"].as_str().unwrap();
        assert_eq!(HEXLOWER.encode(&encode(&frame)), hex, "{}", vector["name"]);
        let body = HEXLOWER.decode(hex.as_bytes()).unwrap();
        assert_eq!(decode(&body), Ok(Some(frame)), "{}", vector["name"]);
    }
}

#[test]
fn tickets_and_words_of_refusal_are_bounded() {
    for count in [0, TICKETS_MAX] {
        check_read(&Frame::Tickets(tickets(count)));
    }
    check_refused(&Frame::Tickets(tickets(TICKETS_MAX + 1)));
    check_read(&Frame::Refused(refused("x".repeat(REFUSAL_BYTES_MAX))));
    check_refused(&Frame::Refused(refused("x".repeat(REFUSAL_BYTES_MAX + 1))));
}

#[test]
fn the_largest_file_of_an_invitation_is_read_and_one_byte_or_ticket_more_is_not() {
    let largest = Frame::Invite(invite(INVITE_FILE_BYTES_MAX, TICKETS_MAX));
    assert!(encode(&largest).len() <= FRAME_BYTES_MAX);
    check_read(&largest);
    check_read(&Frame::Invite(invite(0, 0)));
    check_refused(&Frame::Invite(invite(INVITE_FILE_BYTES_MAX + 1, 0)));
    check_refused(&Frame::Invite(invite(1, TICKETS_MAX + 1)));
    let shown = format!("{largest:?}");
    assert!(shown.contains("FileBytes(_)"), "{shown}");
}

#[test]
fn a_move_is_bounded_and_its_key_has_one_length() {
    check_read(&Frame::Moved(moved(MOVE_BYTES_MAX)));
    check_refused(&Frame::Moved(moved(MOVE_BYTES_MAX + 1)));
    let body = encode(&Frame::Moved(moved(227)));
    let at = body.windows(3).position(|it| it == [0xc4, 32, 24]).unwrap();
    for len in [31, 33] {
        let mut wrong = body[..=at].to_vec();
        wrong.push(len);
        wrong.extend(vec![24; usize::from(len)]);
        assert_eq!(decode(&wrong), Err(DecodeError::Malformed { kind: 23 }), "{len}");
    }
    assert!(!format!("{:?}", moved(0)).contains("24"), "{:?}", moved(0));
}

#[test]
fn every_prefix_of_every_frame_is_refused() {
    assert_eq!(decode(&[]), Err(DecodeError::Empty));
    for frame in examples() {
        let body = encode(&frame);
        for len in 1..body.len() {
            let refused = Err(DecodeError::Malformed { kind: body[0] });
            assert_eq!(decode(&body[..len]), refused, "{len} bytes of {frame:?}");
        }
    }
}

#[test]
fn a_byte_after_the_map_is_refused() {
    for frame in examples() {
        let mut body = encode(&frame);
        body.push(0xc0);
        assert_eq!(decode(&body), Err(DecodeError::Malformed { kind: body[0] }));
    }
}

#[test]
fn a_kind_that_is_not_known_is_skipped_whatever_follows() {
    for kind in [0, 14, 255] {
        assert_eq!(decode(&[kind, 0xc1, 0xff]), Ok(None));
    }
}

#[test]
fn a_field_that_is_not_known_is_ignored() {
    // {"number": 7, "later": [{"a": nil}]}
    let body = b"\x09\x82\xa6number\x07\xa5later\x91\x81\xa1a\xc0";
    assert_eq!(decode(body), Ok(Some(Frame::RenewConfirm(RenewConfirm { number: 7 }))));
}

#[test]
fn a_missing_or_doubled_field_is_refused() {
    assert_eq!(decode(b"\x09\x80"), Err(DecodeError::Malformed { kind: 9 }));
    let doubled = b"\x09\x82\xa6number\x07\xa6number\x07";
    assert_eq!(decode(doubled), Err(DecodeError::Malformed { kind: 9 }));
}

#[test]
fn fields_without_names_are_refused() {
    assert_eq!(decode(b"\x09\x91\x07"), Err(DecodeError::Malformed { kind: 9 }));
}

#[test]
fn the_largest_name_is_read_and_one_byte_more_is_not() {
    check_read(&Frame::Hello(Hello { name: "n".repeat(NAME_BYTES_MAX), ..hello() }));
    check_refused(&Frame::Hello(Hello { name: "n".repeat(NAME_BYTES_MAX + 1), ..hello() }));
    check_read(&Frame::Rename(Rename { name: "n".repeat(NAME_BYTES_MAX) }));
    check_refused(&Frame::Rename(Rename { name: "n".repeat(NAME_BYTES_MAX + 1) }));
}

#[test]
fn the_longest_list_of_proofs_is_read_and_one_more_is_not() {
    let proofs = |count| vec![ChannelProof([0xff; 16]); count];
    check_read(&Frame::Hello(Hello { proofs: proofs(PROOFS_MAX), ..hello() }));
    check_refused(&Frame::Hello(Hello { proofs: proofs(PROOFS_MAX + 1), ..hello() }));
    check_read(&Frame::SharedChannels(SharedChannels { proofs: proofs(PROOFS_MAX) }));
    check_refused(&Frame::SharedChannels(SharedChannels { proofs: proofs(PROOFS_MAX + 1) }));
}

#[test]
fn the_longest_lists_of_peers_are_read_and_one_more_is_not() {
    let record = |addresses| PeerRecord {
        peer: PeerId([0xff; 32]),
        addresses: vec![address("[2a00::1]:51413"); addresses],
    };
    let most = PEER_RECORDS_PER_FRAME_MAX;
    let added = vec![record(PEER_ADDRESSES_MAX); most];
    let removed = vec![PeerId([0xff; 32]); most];
    let full = Peers { channel: ChannelId([0xff; 32]), full: true, added, removed };
    check_read(&Frame::Peers(full));
    check_refused(&Frame::Peers(Peers { added: vec![record(1); most + 1], ..peers() }));
    check_refused(&Frame::Peers(Peers { added: vec![record(PEER_ADDRESSES_MAX + 1)], ..peers() }));
    check_refused(&Frame::Peers(Peers { removed: vec![PeerId([1; 32]); most + 1], ..peers() }));
}

#[test]
fn the_longest_message_is_read_and_a_longer_or_empty_one_is_not() {
    check_read(&Frame::Whisper(Whisper { text: "x".repeat(MESSAGE_BYTES_MAX), ..whisper() }));
    check_refused(&Frame::Whisper(Whisper {
        text: "x".repeat(MESSAGE_BYTES_MAX + 1),
        ..whisper()
    }));
    check_refused(&Frame::Whisper(Whisper { text: String::new(), ..whisper() }));
}

#[test]
fn the_longest_list_of_receipts_is_read_and_one_more_is_not() {
    let ids = |count| vec![MessageId([0xff; 16]); count];
    check_read(&Frame::Delivered(Delivered { ids: ids(RECEIPTS_PER_FRAME_MAX) }));
    check_refused(&Frame::Delivered(Delivered { ids: ids(RECEIPTS_PER_FRAME_MAX + 1) }));
}

#[test]
fn the_longest_lists_of_the_log_are_read_and_one_more_is_not() {
    let chains = |count| vec![have().chains[0]; count];
    check_read(&Frame::Have(Have { chains: chains(HAVE_CHAINS_PER_FRAME_MAX), ..have() }));
    check_refused(&Frame::Have(Have { chains: chains(HAVE_CHAINS_PER_FRAME_MAX + 1), ..have() }));
    let chains = |count| vec![entries().chains[0]; count];
    let frame = |chains| Frame::Entries(Entries { chains, ..entries() });
    check_read(&frame(chains(CERTIFICATES_PER_FRAME_MAX)));
    check_refused(&frame(chains(CERTIFICATES_PER_FRAME_MAX + 1)));
    let frame = |entries| Frame::Entries(Entries { entries, ..self::entries() });
    check_read(&frame(vec![raw(1, 200); ENTRIES_PER_FRAME_MAX]));
    check_refused(&frame(vec![raw(1, 200); ENTRIES_PER_FRAME_MAX + 1]));
    check_read(&frame(vec![raw(1, ENTRY_BYTES_MAX)]));
    check_refused(&frame(vec![raw(1, ENTRY_BYTES_MAX + 1)]));
}

#[test]
fn a_certificate_of_another_version_or_length_is_refused() {
    let body = encode(&Frame::Entries(entries()));
    let at = body.windows(3).position(|it| it == [0xc4, 105, 1]).unwrap();
    let mut wrong = body.clone();
    wrong[at + 2] = 2;
    assert_eq!(decode(&wrong), Err(DecodeError::Malformed { kind: 12 }));
    let mut shorter = body;
    shorter[at + 1] = 104;
    shorter.remove(at + 3);
    assert_eq!(decode(&shorter), Err(DecodeError::Malformed { kind: 12 }));
}

#[test]
fn key_shares_of_any_other_length_are_refused() {
    for len in [0, KEM_PUBLIC_BYTES - 1, KEM_PUBLIC_BYTES + 1] {
        check_refused(&Frame::RenewOffer(RenewOffer { kem: vec![0; len], ..offer() }));
    }
    for len in [0, KEM_CIPHERTEXT_BYTES - 1, KEM_CIPHERTEXT_BYTES + 1] {
        check_refused(&Frame::RenewAnswer(RenewAnswer { kem: vec![0; len], ..answer() }));
    }
}

#[test]
fn ids_and_addresses_of_any_other_length_are_refused() {
    // {"ids": [bin of 15 or 17 bytes]}
    for len in [15, 17] {
        let mut body = b"\x06\x81\xa3ids\x91\xc4".to_vec();
        body.push(len);
        body.extend(vec![0; usize::from(len)]);
        assert_eq!(decode(&body), Err(DecodeError::Malformed { kind: 6 }));
    }
    let body = encode(&Frame::Hello(Hello { proofs: vec![], ..hello() }));
    let at = body.windows(2).position(|pair| pair == [0xc4, 6]).unwrap();
    for len in [0, 5, 7, 17, 19] {
        let mut wrong = body[..=at].to_vec();
        wrong.push(len);
        wrong.extend(vec![1; usize::from(len)]);
        wrong.extend(&body[at + 8..]);
        assert_eq!(decode(&wrong), Err(DecodeError::Malformed { kind: 1 }), "{len}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    assert_eq!(decode(b"\x03\x81\xa4name\xa2\xff\xff"), Err(DecodeError::Malformed { kind: 3 }));
}

#[test]
fn a_list_that_claims_four_thousand_million_elements_is_refused() {
    let body = b"\x06\x81\xa3ids\xdd\xff\xff\xff\xff";
    assert_eq!(decode(body), Err(DecodeError::Malformed { kind: 6 }));
}

#[test]
fn a_nesting_bomb_in_an_unknown_field_is_refused() {
    let mut body = b"\x09\x82\xa6number\x07\xa5later".to_vec();
    body.extend([0x91; 60_000]);
    body.push(0xc0);
    assert_eq!(decode(&body), Err(DecodeError::Malformed { kind: 9 }));
}

#[test]
fn a_body_longer_than_any_frame_is_refused_unread() {
    let bytes = FRAME_BYTES_MAX + 1;
    assert_eq!(decode(&vec![14; bytes]), Err(DecodeError::Oversized { bytes }));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(kind in 0u8..=25, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let body: Vec<u8> = [kind].into_iter().chain(bytes).collect();
        let _ = decode(&body);
    }

    #[test]
    fn a_flipped_bit_never_panics_and_what_is_read_is_in_bounds(
        example in 0..examples().len(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut body = encode(&examples()[example]);
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        if let Ok(Some(frame)) = decode(&body) {
            prop_assert!(in_bounds(&frame));
            prop_assert_eq!(decode(&encode(&frame)), Ok(Some(frame)));
        }
    }
}

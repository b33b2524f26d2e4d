//! Against public vectors, against another implementation, and against changes of each single input.

use data_encoding::HEXLOWER;
use serde_json::Value;

use super::pattern::{WITH_PUBLIC_VECTORS, XX_HFS_PSK0, XX_PSK0};
use super::*;
use crate::crypto::kem::KemKeyPair;
use crate::crypto::sign::SigningKey;
use crate::crypto::{Rng, Secret, aead, dh};

const VECTORS: &str = include_str!("vectors.json");

/// Writes all that is our turn: one message of the paper, with the payload in its last flight.
fn write_message(state: &mut HandshakeState, flights: &[Flight], payload: &[u8]) -> Vec<u8> {
    let parts = flights.iter().map(|_| state.write_flight(payload).unwrap());
    parts.collect::<Vec<_>>().concat()
}

/// Reads one message of the paper; a flight without a payload is `e` alone in these patterns.
fn read_message(state: &mut HandshakeState, flights: &[Flight], message: &[u8]) -> Vec<u8> {
    let (first, last) = message.split_at(if flights.len() == 2 { 32 } else { 0 });
    if flights.len() == 2 {
        assert_eq!(state.read_flight(first), Ok(Vec::new()));
    }
    state.read_flight(last).unwrap()
}

/// The flights of a pattern, those of one message together.
fn messages(pattern: &Pattern) -> impl Iterator<Item = &'static [Flight]> {
    pattern.flights.chunk_by(|one, next| one.sender == next.sender)
}

fn pair_from(hex: &str) -> dh::KeyPair {
    dh::KeyPair::from_secret(Secret::new(bytes(hex).try_into().unwrap()))
}

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

/// One side of a public vector.
fn side_of(vector: &Value, pattern: &'static Pattern, role: Role) -> HandshakeState {
    let side = if role == Role::Initiator { "init" } else { "resp" };
    let text = |name: &str| vector[format!("{side}_{name}")].as_str();
    let psk = vector[format!("{side}_psks")][0].as_str().map_or(vec![0; 32], bytes);
    let s =
        text("static").map_or_else(|| dh::KeyPair::from_secret(Secret::new([1; 32])), pair_from);
    let mut state = HandshakeState::new(
        pattern,
        role,
        &bytes(text("prologue").unwrap()),
        Static::raw(s),
        Secret::new(psk.try_into().unwrap()),
        Rng::from_seed([0; 32]),
    );
    state.set_ephemeral(pair_from(text("ephemeral").unwrap()));
    state
}

#[test]
fn public_vectors_hold_in_both_roles() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), WITH_PUBLIC_VECTORS.len());
    for (vector, pattern) in vectors.iter().zip(&WITH_PUBLIC_VECTORS) {
        assert_eq!(vector["protocol_name"], pattern.name);
        let mut initiator = side_of(vector, pattern, Role::Initiator);
        let mut responder = side_of(vector, pattern, Role::Responder);
        let mut lines = vector["messages"].as_array().unwrap().iter();
        let text = |line: &Value, name: &str| bytes(line[name].as_str().unwrap());
        for flights in messages(pattern) {
            let line = lines.next().unwrap();
            let (payload, expected) = (text(line, "payload"), text(line, "ciphertext"));
            let (writer, reader) = match flights[0].sender {
                Role::Initiator => (&mut initiator, &mut responder),
                Role::Responder => (&mut responder, &mut initiator),
            };
            let written = write_message(writer, flights, &payload);
            assert_eq!(HEXLOWER.encode(&written), HEXLOWER.encode(&expected), "{}", pattern.name);
            assert_eq!(read_message(reader, flights, &expected), payload);
        }
        let (split, same) = (initiator.split(), responder.split());
        assert_eq!(HEXLOWER.encode(&split.handshake_hash), vector["handshake_hash"]);
        assert_eq!((&split.initiator, &split.responder), (&same.initiator, &same.responder));
        // What follows is sealed under the split keys, alternating, from nonce 0 on.
        let handshake_len = messages(pattern).count();
        for (n, line) in lines.enumerate() {
            let keys = [&split.initiator, &split.responder];
            let key = keys[(handshake_len + n) % 2];
            let mut nonce = [0; 12];
            nonce[4] = u8::try_from(n / 2).unwrap();
            let mut sealed = [text(line, "payload"), vec![0; aead::TAG_BYTES]].concat();
            aead::seal_in_place(key, &nonce, b"", &mut sealed);
            assert_eq!(sealed, text(line, "ciphertext"), "{}", pattern.name);
        }
    }
}

#[test]
fn snow_understands_us_and_we_understand_it_in_both_roles() {
    let psk = [9; 32];
    for ours in [Role::Initiator, Role::Responder] {
        let mut us = HandshakeState::new(
            &XX_PSK0,
            ours,
            b"prologue",
            Static::raw(dh::KeyPair::from_secret(Secret::new([1; 32]))),
            Secret::new(psk),
            Rng::from_seed([2; 32]),
        );
        let builder = snow::Builder::new(XX_PSK0.name.parse().unwrap())
            .prologue(b"prologue")
            .unwrap()
            .local_private_key(&[3; 32])
            .unwrap()
            .psk(0, &psk)
            .unwrap();
        let mut snow = match ours {
            Role::Initiator => builder.build_responder().unwrap(),
            Role::Responder => builder.build_initiator().unwrap(),
        };
        let mut buffer = [0; 1024];
        for flights in messages(&XX_PSK0) {
            if flights[0].sender == ours {
                let message = write_message(&mut us, flights, b"from us");
                let len = snow.read_message(&message, &mut buffer).unwrap();
                assert_eq!(&buffer[..len], b"from us");
            } else {
                let len = snow.write_message(b"from snow", &mut buffer).unwrap();
                assert_eq!(read_message(&mut us, flights, &buffer[..len]), b"from snow");
            }
        }
        let split = us.split();
        assert_eq!(snow.get_handshake_hash(), split.handshake_hash);
        assert_eq!(snow.get_remote_static(), Some(&us_public([1; 32])[..]));
        assert_eq!(us.remote_static(), Some(&us_public([3; 32])));

        let mut snow = snow.into_transport_mode().unwrap();
        let (out, back) = match ours {
            Role::Initiator => (split.initiator, split.responder),
            Role::Responder => (split.responder, split.initiator),
        };
        let mut sealed = [&b"after"[..], &[0; aead::TAG_BYTES]].concat();
        aead::seal_in_place(&out, &[0; 12], b"", &mut sealed);
        let len = snow.read_message(&sealed, &mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"after");
        let len = snow.write_message(b"too", &mut buffer).unwrap();
        aead::open_in_place(&back, &[0; 12], b"", &mut buffer[..len]).unwrap();
        assert_eq!(&buffer[..len - aead::TAG_BYTES], b"too");
    }
}

fn us_public(secret: [u8; 32]) -> [u8; 32] {
    *dh::KeyPair::from_secret(Secret::new(secret)).public()
}

/// What a side of the hybrid handshake is made of.
#[derive(Clone)]
struct Make {
    role: Role,
    pattern: &'static Pattern,
    prologue: &'static [u8],
    s: Static,
    psk: [u8; 32],
    seed: u8,
}

impl Make {
    fn new(role: Role) -> Self {
        let seed = if role == Role::Initiator { 1 } else { 2 };
        let s = Static::identity(&SigningKey::from_seed(Secret::new([seed; 32])));
        Self { role, pattern: &XX_HFS_PSK0, prologue: b"prologue", s, psk: [3; 32], seed }
    }

    fn state(&self) -> HandshakeState {
        let rng = Rng::from_seed([self.seed; 32]);
        let Self { role, pattern, prologue, ref s, psk, .. } = *self;
        HandshakeState::new(pattern, role, prologue, s.clone(), Secret::new(psk), rng)
    }
}

/// Both sides after so many flights went well.
fn after(flights: usize, initiator: &Make, responder: &Make) -> [HandshakeState; 2] {
    let mut sides = [initiator.state(), responder.state()];
    for flight in &initiator.pattern.flights[..flights] {
        let [i, r] = &mut sides;
        let (writer, reader) = if flight.sender == Role::Initiator { (i, r) } else { (r, i) };
        let message = writer.write_flight(b"payload").unwrap();
        let expected: &[u8] = if flight.payload { b"payload" } else { b"" };
        assert_eq!(reader.read_flight(&message).as_deref(), Ok(expected));
    }
    sides
}

fn makes() -> [Make; 2] {
    [Make::new(Role::Initiator), Make::new(Role::Responder)]
}

/// The next flight as it is written, and its reader, not yet having read it.
fn next_flight(flights: usize, initiator: &Make, responder: &Make) -> (Vec<u8>, HandshakeState) {
    let [mut i, mut r] = after(flights, initiator, responder);
    if initiator.pattern.flights[flights].sender == Role::Initiator {
        (i.write_flight(b"payload").unwrap(), r)
    } else {
        (r.write_flight(b"payload").unwrap(), i)
    }
}

#[test]
fn both_sides_of_the_hybrid_handshake_agree_and_know_each_other() {
    let [initiator, responder] = makes();
    let [i, r] = after(4, &initiator, &responder);
    let (left, right) = (i.split(), r.split());
    assert_eq!((&left.initiator, &left.responder), (&right.initiator, &right.responder));
    assert_ne!(left.initiator, left.responder);
    assert_eq!(left.handshake_hash, right.handshake_hash);
    assert_eq!(i.derive("label"), r.derive("label"));
    assert_ne!(i.derive("label"), i.derive("another"));
    let key = |n| *SigningKey::from_seed(Secret::new([n; 32])).public();
    assert_eq!((i.remote_static(), r.remote_static()), (Some(&key(2)), Some(&key(1))));
}

#[test]
fn two_handshakes_of_the_same_people_share_no_key() {
    let [initiator, responder] = makes();
    let again = Make { seed: 7, ..initiator.clone() };
    let [first, _] = after(4, &initiator, &responder);
    let [second, _] = after(4, &again, &responder);
    assert_ne!(first.split().initiator, second.split().initiator);
    assert_ne!(first.split().handshake_hash, second.split().handshake_hash);
}

#[test]
fn another_psk_alone_is_refused_at_the_first_flight() {
    let [initiator, responder] = makes();
    let other = Make { psk: [4; 32], ..initiator };
    let (message, mut reader) = next_flight(0, &other, &responder);
    assert_eq!(reader.read_flight(&message), Err(HandshakeError::Unauthentic));
}

#[test]
fn another_transcript_alone_is_refused_at_the_first_flight() {
    let [initiator, responder] = makes();
    let other = Make { prologue: b"Prologue", ..initiator };
    let (message, mut reader) = next_flight(0, &other, &responder);
    assert_eq!(reader.read_flight(&message), Err(HandshakeError::Unauthentic));
}

#[test]
fn another_transcript_on_both_sides_changes_the_hash_and_what_is_derived_but_not_the_split() {
    // The chaining key never sees the prologue, so what is made of `Split` must hold the hash too.
    let [initiator, responder] = makes();
    let [first, _] = after(4, &initiator, &responder);
    let other = |make: Make| Make { prologue: b"Prologue", ..make };
    let [second, _] = after(4, &other(initiator), &other(responder));
    assert_eq!(first.split().initiator, second.split().initiator);
    assert_ne!(first.split().handshake_hash, second.split().handshake_hash);
    assert_ne!(first.derive("label"), second.derive("label"));
}

#[test]
fn another_dh_value_alone_changes_the_keys() {
    // All that is sent stays the same: only the secret behind the initiator's ephemeral differs.
    let [initiator, responder] = makes().map(|make| Make { pattern: &XX_PSK0, ..make });
    let [mut i, mut r] = after(1, &initiator, &responder);
    i.set_ephemeral(dh::KeyPair::from_secret(Secret::new([8; 32])));
    let share = r.write_flight(&[]).unwrap();
    assert_eq!(i.read_flight(&share), Ok(Vec::new()));
    assert_ne!(i.derive("label"), r.derive("label"));
    let identity = r.write_flight(b"payload").unwrap();
    assert_eq!(i.read_flight(&identity), Err(HandshakeError::Unauthentic));
}

#[test]
fn another_kem_value_alone_changes_the_keys() {
    // As above, with the secret behind the encapsulation key.
    let [initiator, responder] = makes();
    let [mut i, mut r] = after(1, &initiator, &responder);
    i.set_kem(KemKeyPair::generate(&mut Rng::from_seed([8; 32])));
    let share = r.write_flight(&[]).unwrap();
    assert_eq!(i.read_flight(&share), Ok(Vec::new()));
    assert_ne!(i.derive("label"), r.derive("label"));
    let identity = r.write_flight(b"payload").unwrap();
    assert_eq!(i.read_flight(&identity), Err(HandshakeError::Unauthentic));
}

#[test]
fn whoever_names_anothers_identity_is_refused() {
    let [initiator, responder] = makes();
    let victim = Static::identity(&SigningKey::from_seed(Secret::new([5; 32])));
    // The initiator shows it in the last flight, the responder in the third.
    let liar = Make { s: initiator.s.claiming(&victim), ..initiator.clone() };
    let (message, mut reader) = next_flight(3, &liar, &responder);
    assert_eq!(reader.read_flight(&message), Err(HandshakeError::Unauthentic));
    let liar = Make { s: responder.s.claiming(&victim), ..responder };
    let (message, mut reader) = next_flight(2, &initiator, &liar);
    assert_eq!(reader.read_flight(&message), Err(HandshakeError::Unauthentic));
}

#[test]
fn one_changed_bit_in_any_byte_of_any_flight_is_refused() {
    let [initiator, responder] = makes();
    for flight in 0..XX_HFS_PSK0.flights.len() {
        let (message, mut reader) = next_flight(flight, &initiator, &responder);
        assert!(reader.read_flight(&message).is_ok(), "the control");
        for at in 0..message.len() {
            let mut wrong = message.clone();
            wrong[at] ^= 1 << (at % 8);
            let (_, mut reader) = next_flight(flight, &initiator, &responder);
            assert!(reader.read_flight(&wrong).is_err(), "flight {flight}, byte {at}");
        }
    }
}

#[test]
fn every_flight_that_is_cut_or_prolonged_is_refused() {
    let [initiator, responder] = makes();
    for flight in 0..XX_HFS_PSK0.flights.len() {
        let (message, _) = next_flight(flight, &initiator, &responder);
        let lengths = (0..message.len()).step_by(11).chain([message.len() - 1, message.len() + 1]);
        for len in lengths {
            let mut wrong = message.clone();
            wrong.resize(len, 0);
            let (_, mut reader) = next_flight(flight, &initiator, &responder);
            assert!(reader.read_flight(&wrong).is_err(), "flight {flight} of {len} bytes");
        }
    }
}

#[test]
fn an_ephemeral_key_of_low_order_is_refused() {
    let [initiator, responder] = makes().map(|make| Make { pattern: &XX_PSK0, ..make });
    let [mut i, _] = after(1, &initiator, &responder);
    assert_eq!(i.read_flight(&[0; 32]), Err(HandshakeError::InvalidKey));
}

#[test]
fn neither_keys_nor_psk_are_printed() {
    let [initiator, responder] = makes();
    let [i, _] = after(4, &initiator, &responder);
    let printed = format!("{i:?} {:?}", i.split());
    assert!(!printed.contains("3, 3"), "{printed}");
    assert!(printed.contains("Split(_)"), "{printed}");
}

//! The handshake against public vectors, against another implementation, and against itself with
//! one input changed.

use data_encoding::HEXLOWER;
use serde::Deserialize;

use super::handshake::{HandshakeError, HandshakeState, Split, Static};
use super::pattern::{Pattern, Role, WITH_PUBLIC_VECTORS, XX_HFS_PSK0, XX_PSK0};
use crate::crypto::aead::{TAG_BYTES, seal_in_place};
use crate::crypto::kem::{KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_BYTES, KemKeyPair};
use crate::crypto::sign::SigningKey;
use crate::crypto::{Rng, Secret, dh};

const PSK: [u8; 32] = [0x33; 32];
const PROLOGUE: &[u8] = b"prologue";

fn pair(n: u8) -> dh::KeyPair {
    dh::KeyPair::from_secret(Secret::new([n; 32]))
}

/// What a transport message of these keys is: Noise, section 5.1, with the counter at `n`.
fn sealed(key: &Secret<32>, n: u8, plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[4] = n;
    let mut buf = plain.to_vec();
    buf.extend([0; TAG_BYTES]);
    seal_in_place(key, &nonce, b"", &mut buf);
    buf
}

mod public_vectors {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        protocol_name: String,
        init_prologue: String,
        #[serde(default)]
        init_psks: Vec<String>,
        init_static: Option<String>,
        init_ephemeral: String,
        resp_static: Option<String>,
        resp_ephemeral: String,
        handshake_hash: String,
        messages: Vec<Message>,
    }

    #[derive(Deserialize)]
    struct Message {
        payload: String,
        ciphertext: String,
    }

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    fn key(text: &str) -> dh::KeyPair {
        dh::KeyPair::from_secret(Secret::new(hex(text).try_into().unwrap()))
    }

    fn state(vector: &Vector, pattern: &'static Pattern, role: Role) -> HandshakeState {
        let (s, e) = match role {
            Role::Initiator => (&vector.init_static, &vector.init_ephemeral),
            Role::Responder => (&vector.resp_static, &vector.resp_ephemeral),
        };
        // A pattern without static keys never looks at them.
        let s = s.as_ref().map_or_else(|| pair(1), |s| key(s));
        let psk = vector.init_psks.first().map_or(PSK, |psk| hex(psk).try_into().unwrap());
        let (prologue, psk) = (hex(&vector.init_prologue), Secret::new(psk));
        let rng = Rng::from_seed([0; 32]);
        let mut state = HandshakeState::new(pattern, role, &prologue, Static::raw(s), psk, rng);
        state.set_ephemeral(key(e));
        state
    }

    /// Runs the flights of `pattern`; a message of the vector is as many flights as end with its
    /// payload.
    fn check(vector: &Vector, pattern: &'static Pattern) {
        let mut initiator = state(vector, pattern, Role::Initiator);
        let mut responder = state(vector, pattern, Role::Responder);
        let mut messages = vector.messages.iter();
        let mut written = Vec::new();
        for flight in pattern.flights {
            let (from, to) = match flight.sender {
                Role::Initiator => (&mut initiator, &mut responder),
                Role::Responder => (&mut responder, &mut initiator),
            };
            let payload = hex(&messages.as_slice()[0].payload);
            let bytes = from.write_flight(&payload).unwrap();
            let read = to.read_flight(&bytes).unwrap();
            written.extend(bytes);
            if flight.payload {
                assert_eq!(read, payload);
                assert_eq!(HEXLOWER.encode(&written), messages.next().unwrap().ciphertext);
                written.clear();
            }
        }
        let (ours, theirs) = (initiator.split(), responder.split());
        assert_eq!(HEXLOWER.encode(&ours.handshake_hash), vector.handshake_hash);
        assert_eq!(ours.handshake_hash, theirs.handshake_hash);
        // The vectors go on as they began: both sides in turn.
        let done = vector.messages.len() - messages.len();
        let mut counters = [0, 0];
        for (at, message) in messages.enumerate() {
            let side = (done + at) % 2;
            let key = [&ours.initiator, &ours.responder][side];
            let bytes = sealed(key, counters[side], &hex(&message.payload));
            assert_eq!(HEXLOWER.encode(&bytes), message.ciphertext);
            counters[side] += 1;
        }
        assert!(counters[0] > 0 && counters[1] > 0, "both keys were checked");
    }

    #[test]
    fn every_pattern_with_public_vectors_gives_their_bytes() {
        let file: File = serde_json::from_str(include_str!("vectors.json")).unwrap();
        for pattern in &WITH_PUBLIC_VECTORS {
            let known = |vector: &&Vector| vector.protocol_name == pattern.name;
            check(file.vectors.iter().find(known).expect(pattern.name), pattern);
        }
    }
}

mod interop {
    use super::*;

    fn ours(role: Role, s: u8, e: u8) -> HandshakeState {
        let (s, psk) = (Static::raw(pair(s)), Secret::new(PSK));
        let rng = Rng::from_seed([0; 32]);
        let mut state = HandshakeState::new(&XX_PSK0, role, PROLOGUE, s, psk, rng);
        state.set_ephemeral(pair(e));
        state
    }

    fn theirs(role: Role, s: u8) -> snow::HandshakeState {
        let key = [s; 32];
        let builder = snow::Builder::new(XX_PSK0.name.parse().unwrap())
            .local_private_key(&key)
            .and_then(|builder| builder.prologue(PROLOGUE))
            .and_then(|builder| builder.psk(0, &PSK))
            .unwrap();
        match role {
            Role::Initiator => builder.build_initiator(),
            Role::Responder => builder.build_responder(),
        }
        .unwrap()
    }

    fn written(snow: &mut snow::HandshakeState, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 1024];
        let len = snow.write_message(payload, &mut out).unwrap();
        out.truncate(len);
        out
    }

    #[track_caller]
    fn reads(snow: &mut snow::HandshakeState, message: &[u8], payload: &[u8]) {
        let mut out = vec![0; 1024];
        let len = snow.read_message(message, &mut out).unwrap();
        assert_eq!(&out[..len], payload);
    }

    /// Both ends have the same transcript and the same keys, each in its direction.
    #[track_caller]
    fn agrees(ours: &HandshakeState, theirs: snow::HandshakeState, we_are: Role) {
        let split = ours.split();
        assert_eq!(theirs.get_handshake_hash(), split.handshake_hash);
        let mut transport = theirs.into_transport_mode().unwrap();
        let (to_us, to_them) = match we_are {
            Role::Initiator => (&split.responder, &split.initiator),
            Role::Responder => (&split.initiator, &split.responder),
        };
        let mut out = vec![0; 64];
        let len = transport.write_message(b"to us", &mut out).unwrap();
        assert_eq!(out[..len], sealed(to_us, 0, b"to us"));
        let len = transport.read_message(&sealed(to_them, 0, b"to them"), &mut out).unwrap();
        assert_eq!(&out[..len], b"to them");
    }

    #[test]
    fn snow_answers_us() {
        let mut us = ours(Role::Initiator, 1, 2);
        let mut snow = theirs(Role::Responder, 3);
        reads(&mut snow, &us.write_flight(b"one").unwrap(), b"one");
        let answer = written(&mut snow, b"two");
        // Their second message is our second and third flight.
        let (second, third) = answer.split_at(dh::DH_BYTES);
        assert_eq!(us.read_flight(second).unwrap(), b"");
        assert_eq!(us.read_flight(third).unwrap(), b"two");
        assert_eq!(us.remote_static(), Some(pair(3).public()));
        reads(&mut snow, &us.write_flight(b"three").unwrap(), b"three");
        agrees(&us, snow, Role::Initiator);
    }

    #[test]
    fn we_answer_snow() {
        let mut us = ours(Role::Responder, 1, 2);
        let mut snow = theirs(Role::Initiator, 3);
        assert_eq!(us.read_flight(&written(&mut snow, b"one")).unwrap(), b"one");
        let mut answer = us.write_flight(b"").unwrap();
        answer.extend(us.write_flight(b"two").unwrap());
        reads(&mut snow, &answer, b"two");
        assert_eq!(us.read_flight(&written(&mut snow, b"three")).unwrap(), b"three");
        assert_eq!(us.remote_static(), Some(pair(3).public()));
        agrees(&us, snow, Role::Responder);
    }
}

mod hybrid {
    use super::*;

    const PAYLOADS: [&[u8]; 4] = [b"first", b"", b"third", b"fourth"];

    /// All that goes into one side of a handshake.
    #[derive(Clone)]
    struct Side {
        role: Role,
        prologue: &'static [u8],
        psk: [u8; 32],
        identity: u8,
        /// Whose X25519 half is used with the identity, when not its own.
        agrees_with: Option<u8>,
        ephemeral: u8,
        kem_seed: u8,
    }

    const DIALLER: Side = Side {
        role: Role::Initiator,
        prologue: PROLOGUE,
        psk: PSK,
        identity: 1,
        agrees_with: None,
        ephemeral: 11,
        kem_seed: 21,
    };
    const LISTENER: Side =
        Side { role: Role::Responder, identity: 2, ephemeral: 12, kem_seed: 22, ..DIALLER };

    fn identity(n: u8) -> SigningKey {
        SigningKey::from_seed(Secret::new([n; 32]))
    }

    impl Side {
        fn state(&self) -> HandshakeState {
            let key = identity(self.identity);
            let s = self.agrees_with.map_or_else(
                || Static::identity(&key),
                |other| Static::mismatched(&key, identity(other).to_dh()),
            );
            let mut state = HandshakeState::new(
                &XX_HFS_PSK0,
                self.role,
                self.prologue,
                s,
                Secret::new(self.psk),
                Rng::from_seed([self.kem_seed; 32]),
            );
            state.set_ephemeral(pair(self.ephemeral));
            state
        }
    }

    fn turn<'a>(
        at: usize,
        dialler: &'a mut HandshakeState,
        listener: &'a mut HandshakeState,
    ) -> (&'a mut HandshakeState, &'a mut HandshakeState) {
        match XX_HFS_PSK0.flights[at].sender {
            Role::Initiator => (dialler, listener),
            Role::Responder => (listener, dialler),
        }
    }

    /// Runs the handshake; the error names the flight that was refused, counted from 0.
    fn run(
        dialler: &Side,
        listener: &Side,
        mut after_first: impl FnMut(&mut HandshakeState),
    ) -> Result<(Split, Split), (usize, HandshakeError)> {
        let (mut dialler, mut listener) = (dialler.state(), listener.state());
        for (at, payload) in PAYLOADS.iter().enumerate() {
            let (from, to) = turn(at, &mut dialler, &mut listener);
            let bytes = from.write_flight(payload).map_err(|error| (at, error))?;
            assert_eq!(to.read_flight(&bytes).map_err(|error| (at, error))?, *payload);
            if at == 0 {
                after_first(&mut dialler);
            }
        }
        assert_eq!(dialler.remote_static(), Some(identity(LISTENER.identity).public()));
        assert!(dialler.is_finished() && listener.is_finished());
        Ok((dialler.split(), listener.split()))
    }

    fn agreed(dialler: &Side, listener: &Side) -> Split {
        let (ours, theirs) = run(dialler, listener, |_| {}).unwrap();
        assert_eq!(ours.initiator, theirs.initiator);
        assert_eq!(ours.responder, theirs.responder);
        assert_eq!(ours.handshake_hash, theirs.handshake_hash);
        assert_ne!(ours.initiator, ours.responder);
        ours
    }

    #[track_caller]
    fn refused(dialler: &Side, listener: &Side, flight: usize) {
        let error = run(dialler, listener, |_| {}).unwrap_err();
        assert_eq!(error, (flight, HandshakeError::Unauthentic));
    }

    #[test]
    fn both_sides_agree_and_each_flight_has_its_length() {
        agreed(&DIALLER, &LISTENER);
        let (mut dialler, mut listener) = (DIALLER.state(), LISTENER.state());
        let lengths = [
            32 + KEM_PUBLIC_BYTES + 16 + PAYLOADS[0].len() + 16,
            32 + KEM_CIPHERTEXT_BYTES + 16,
            32 + 16 + PAYLOADS[2].len() + 16,
            32 + 16 + PAYLOADS[3].len() + 16,
        ];
        for (at, length) in lengths.into_iter().enumerate() {
            let (from, to) = turn(at, &mut dialler, &mut listener);
            let bytes = from.write_flight(PAYLOADS[at]).unwrap();
            assert_eq!(bytes.len(), length, "flight {at}");
            to.read_flight(&bytes).unwrap();
        }
    }

    #[test]
    fn each_secret_input_changes_every_key_and_the_transcript() {
        let psk = |side: Side| Side { psk: [0x34; 32], ..side };
        let cases = [
            (DIALLER, LISTENER),
            (psk(DIALLER), psk(LISTENER)),
            (Side { ephemeral: 13, ..DIALLER }, LISTENER),
            (DIALLER, Side { ephemeral: 13, ..LISTENER }),
            (Side { kem_seed: 23, ..DIALLER }, LISTENER),
            (DIALLER, Side { kem_seed: 23, ..LISTENER }),
            (Side { identity: 3, ..DIALLER }, LISTENER),
        ];
        let mut seen: Vec<Split> = Vec::new();
        for (dialler, listener) in &cases {
            let split = agreed(dialler, listener);
            for (at, other) in seen.iter().enumerate() {
                assert_ne!(split.initiator, other.initiator, "{} and {at}", seen.len());
                assert_ne!(split.responder, other.responder, "{} and {at}", seen.len());
                assert_ne!(split.handshake_hash, other.handshake_hash, "{} and {at}", seen.len());
            }
            seen.push(split);
        }
    }

    /// `Split` depends on the chaining key alone, which no public byte but the ephemeral keys goes
    /// into; so what is taken from a handshake must be bound to its hash as well.
    #[test]
    fn another_transcript_alone_changes_the_hash_and_what_is_derived_but_not_the_split() {
        let other = |side: Side| Side { prologue: b"Prologue", ..side };
        let base = agreed(&DIALLER, &LISTENER);
        let changed = agreed(&other(DIALLER), &other(LISTENER));
        assert_eq!(base.initiator, changed.initiator);
        assert_ne!(base.handshake_hash, changed.handshake_hash);
        let (mut one, mut two) = (DIALLER.state(), other(DIALLER).state());
        assert_eq!(DIALLER.state().derive("label"), one.derive("label"));
        assert_ne!(one.derive("label"), two.derive("label"));
        one.write_flight(b"").unwrap();
        two.write_flight(b"").unwrap();
        assert_ne!(one.derive("label"), two.derive("label"));
        assert_ne!(one.derive("label"), one.derive("Label"));
    }

    #[test]
    fn another_psk_alone_is_refused_at_once() {
        refused(&DIALLER, &Side { psk: [0x34; 32], ..LISTENER }, 0);
    }

    #[test]
    fn another_prologue_alone_is_refused_at_once() {
        refused(&DIALLER, &Side { prologue: b"Prologue", ..LISTENER }, 0);
    }

    // In the next four every byte that is sent stays the same up to the refusal, so nothing but the
    // one secret can be what the keys depend on.

    #[test]
    fn another_ephemeral_dh_value_alone_is_refused() {
        let result = run(&DIALLER, &LISTENER, |dialler| dialler.set_ephemeral(pair(13)));
        assert_eq!(result.unwrap_err(), (1, HandshakeError::Unauthentic));
    }

    #[test]
    fn another_kem_value_alone_is_refused() {
        let other = KemKeyPair::generate(&mut Rng::from_seed([99; 32]));
        let mut other = Some(other);
        let result = run(&DIALLER, &LISTENER, |dialler| dialler.set_kem(other.take().unwrap()));
        assert_eq!(result.unwrap_err(), (2, HandshakeError::Unauthentic));
    }

    #[test]
    fn a_listener_without_the_secret_of_its_identity_is_refused() {
        refused(&DIALLER, &Side { agrees_with: Some(9), ..LISTENER }, 2);
    }

    #[test]
    fn a_dialler_without_the_secret_of_its_identity_is_refused() {
        refused(&Side { agrees_with: Some(9), ..DIALLER }, &LISTENER, 3);
    }

    /// Both sides just before flight `at`, and its bytes.
    fn before(at: usize) -> (HandshakeState, HandshakeState, Vec<u8>) {
        let (mut dialler, mut listener) = (DIALLER.state(), LISTENER.state());
        for (earlier, payload) in PAYLOADS.iter().enumerate().take(at) {
            let (from, to) = turn(earlier, &mut dialler, &mut listener);
            let bytes = from.write_flight(payload).unwrap();
            to.read_flight(&bytes).unwrap();
        }
        let (from, _) = turn(at, &mut dialler, &mut listener);
        let bytes = from.write_flight(PAYLOADS[at]).unwrap();
        (dialler, listener, bytes)
    }

    fn read(at: usize, change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>, HandshakeError> {
        let (mut dialler, mut listener, mut bytes) = before(at);
        change(&mut bytes);
        turn(at, &mut dialler, &mut listener).1.read_flight(&bytes)
    }

    fn every_change_is_refused(at: usize) {
        let whole = before(at).2.len();
        assert_eq!(read(at, |_| {}).unwrap(), PAYLOADS[at]);
        for len in 0..whole {
            assert!(read(at, |bytes| bytes.truncate(len)).is_err(), "the first {len} bytes");
        }
        assert!(read(at, |bytes| bytes.push(0)).is_err());
        for byte in 0..whole {
            assert!(read(at, |bytes| bytes[byte] ^= 1 << (byte % 8)).is_err(), "byte {byte}");
        }
    }

    #[test]
    fn every_prefix_and_every_changed_byte_of_the_first_flight_is_refused() {
        every_change_is_refused(0);
    }

    #[test]
    fn every_prefix_and_every_changed_byte_of_the_second_flight_is_refused() {
        every_change_is_refused(1);
    }

    #[test]
    fn every_prefix_and_every_changed_byte_of_the_third_flight_is_refused() {
        every_change_is_refused(2);
    }

    #[test]
    fn every_prefix_and_every_changed_byte_of_the_fourth_flight_is_refused() {
        every_change_is_refused(3);
    }

    #[test]
    fn an_ephemeral_key_of_low_order_is_refused_and_never_agreed_with() {
        let mut listener = LISTENER.state();
        let low = dh::KeyPair::with_public(Secret::new([11; 32]), [0; 32]);
        let mut dialler = DIALLER.state();
        dialler.set_ephemeral(low);
        listener.read_flight(&dialler.write_flight(b"").unwrap()).unwrap();
        assert_eq!(listener.write_flight(b""), Err(HandshakeError::InvalidKey));
    }
}

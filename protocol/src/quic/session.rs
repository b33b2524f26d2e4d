//! The Noise handshake in the place that QUIC has for TLS.
//!
//! ```text
//! flight, each after its length as u16                    level       payload
//! dialler  -> psk, e, e1                                  Initial     suites (length u8, bytes) || parameters
//! listener <- e, ee, ekem1          -> Handshake keys     Initial     (none)
//! listener <- s, es                                       Handshake   suite u8 || parameters
//! dialler  -> s, se                 -> 1-RTT keys         Handshake   (empty)
//! ```
//!
//! "Parameters" are QUIC's transport parameters (RFC 9000, section 18): sealed and authenticated
//! with the rest. All that can fail happens while reading, as writing cannot report an error.
//!
//! Spec: `docs/spec/03-handshake.md`.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use quinn_proto::crypto::{
    self as engine, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError, TransportErrorCode};

use super::endpoint::VERSION;
use super::keys::{self, Pair, Suite, SuitePreference};
use super::link::Established;
use super::mix::MixCell;
use crate::crypto::sign::SigningKey;
use crate::crypto::{Rng, Secret, hash};
use crate::id::PeerId;
use crate::limits::FLIGHT_BYTES_MAX;
use crate::noise::pattern::XX_HFS_PSK0;
use crate::noise::{HandshakeState, Role, Split, Static};

/// Codes in QUIC's range for handshake failures.
const CODE_HANDSHAKE: u8 = 40;
const CODE_IDENTITY: u8 = 42;

const PROLOGUE: &[u8] = b"bitchat v1";

/// What a dialler's session is made of.
pub(super) struct Dialling {
    pub(super) identity: Arc<SigningKey>,
    pub(super) initial: Secret<32>,
    pub(super) psk: Secret<32>,
    pub(super) expect: Option<PeerId>,
    pub(super) suites: SuitePreference,
    pub(super) rng: Once,
    pub(super) mix: MixCell,
}

/// What a listener's session is made of.
pub(super) struct Listening {
    pub(super) identity: Arc<SigningKey>,
    pub(super) initial: Secret<32>,
    pub(super) psk: Secret<32>,
    pub(super) suites: SuitePreference,
    pub(super) rng: Once,
    pub(super) mix: MixCell,
}

/// The generator of one handshake's secrets, until its session takes it: the engine keeps what a
/// session was made of for as long as the link lives.
pub(super) struct Once(Mutex<Option<Rng>>);

impl Once {
    pub(super) const fn new(rng: Rng) -> Self {
        Self(Mutex::new(Some(rng)))
    }

    fn take(&self) -> Rng {
        let rng = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        rng.expect("the engine starts one session with each configuration")
    }
}

/// Makes the engine's configuration of one dial.
pub(super) fn client_config(dialling: Dialling) -> Arc<dyn engine::ClientConfig> {
    Arc::new(dialling)
}

/// Makes the engine's configuration for one first packet.
pub(super) fn server_config(listening: Listening) -> Arc<dyn engine::ServerConfig> {
    Arc::new(listening)
}

/// Whether a link failed because somebody else answered than was expected.
pub(super) fn is_wrong_identity(error: &TransportError) -> bool {
    error.code == TransportErrorCode::crypto(CODE_IDENTITY)
}

impl engine::ClientConfig for Dialling {
    fn start_session(
        self: Arc<Self>,
        _version: u32,
        _server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn engine::Session>, ConnectError> {
        let mut session = Session::new(
            Side::Client,
            &self.identity,
            &self.initial,
            &self.psk,
            self.suites.clone(),
            self.rng.take(),
            self.mix.clone(),
        );
        session.expect = self.expect;
        let offer = self.suites.encode();
        let mut payload = vec![u8::try_from(offer.len()).unwrap_or(u8::MAX)];
        payload.extend(offer);
        params.write(&mut payload);
        if let Some(mut noise) = session.noise.take() {
            let written = session.write_flight(&mut noise, &payload);
            debug_assert!(written.is_ok(), "the first flight uses keys of our own only");
            session.noise = Some(noise);
        }
        Ok(Box::new(session))
    }
}

impl engine::ServerConfig for Listening {
    fn initial_keys(
        &self,
        _version: u32,
        cid: &ConnectionId,
    ) -> Result<Keys, engine::UnsupportedVersion> {
        Ok(keys::initial_keys(&self.initial, cid, Side::Server))
    }

    /// Never sent: nothing is retried.
    fn retry_tag(&self, _version: u32, _cid: &ConnectionId, _packet: &[u8]) -> [u8; 16] {
        [0; 16]
    }

    fn start_session(
        self: Arc<Self>,
        _version: u32,
        params: &TransportParameters,
    ) -> Box<dyn engine::Session> {
        let mut session = Session::new(
            Side::Server,
            &self.identity,
            &self.initial,
            &self.psk,
            self.suites.clone(),
            self.rng.take(),
            self.mix.clone(),
        );
        params.write(&mut session.own_params);
        Box::new(session)
    }
}

/// What the engine is to take next, in order.
enum Step {
    Bytes(Vec<u8>),
    Keys(Keys),
}

/// One side's session of one link.
struct Session {
    side: Side,
    initial: Secret<32>,
    suites: SuitePreference,
    mix: MixCell,
    expect: Option<PeerId>,
    /// Until the handshake is done or has failed. It holds the ephemeral keys, which nobody may find
    /// afterwards.
    noise: Option<HandshakeState>,
    /// The listener's parameters, until it is their turn.
    own_params: Vec<u8>,
    /// What arrived and is not yet a whole flight.
    partial: Vec<u8>,
    steps: VecDeque<Step>,
    peer_params: Option<TransportParameters>,
    suite: Option<Suite>,
    established: Option<(Established, Pair)>,
}

impl Session {
    fn new(
        side: Side,
        identity: &SigningKey,
        initial: &Secret<32>,
        psk: &Secret<32>,
        suites: SuitePreference,
        rng: Rng,
        mix: MixCell,
    ) -> Self {
        let role = match side {
            Side::Client => Role::Initiator,
            Side::Server => Role::Responder,
        };
        let noise = HandshakeState::new(
            &XX_HFS_PSK0,
            role,
            &prologue(),
            Static::identity(identity),
            psk.clone(),
            rng,
        );
        Self {
            side,
            initial: initial.clone(),
            suites,
            mix,
            expect: None,
            noise: Some(noise),
            own_params: Vec::new(),
            partial: Vec::new(),
            steps: VecDeque::new(),
            peer_params: None,
            suite: None,
            established: None,
        }
    }

    fn write_flight(
        &mut self,
        noise: &mut HandshakeState,
        payload: &[u8],
    ) -> Result<(), TransportError> {
        let flight = noise.write_flight(payload).map_err(|_| broken())?;
        let length = u16::try_from(flight.len()).map_err(|_| broken())?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(flight);
        self.steps.push_back(Step::Bytes(bytes));
        Ok(())
    }

    /// Takes the next whole flight out of what has arrived.
    fn next_flight(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        let Some((length, rest)) = self.partial.split_first_chunk::<2>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > FLIGHT_BYTES_MAX {
            return Err(broken());
        }
        let Some(flight) = rest.get(..length) else { return Ok(None) };
        let flight = flight.to_vec();
        self.partial.drain(..2 + length);
        Ok(Some(flight))
    }

    fn on_flight(&mut self, flight: &[u8]) -> Result<(), TransportError> {
        // Put back only when the handshake goes on.
        let mut noise = self.noise.take().ok_or_else(broken)?;
        let payload = noise.read_flight(flight).map_err(|_| broken())?;
        match (self.side, self.steps_done(&noise)) {
            (Side::Server, Progress::First) => self.on_offer(&mut noise, &payload)?,
            (Side::Client, Progress::First) => self.push_handshake_keys(&noise),
            (Side::Client, Progress::Second) => {
                self.on_answer(&mut noise, &payload)?;
                return self.finish(&noise);
            }
            (Side::Server, Progress::Second) => return self.finish(&noise),
        }
        self.noise = Some(noise);
        Ok(())
    }

    /// Where the handshake stands after a flight was read.
    fn steps_done(&self, noise: &HandshakeState) -> Progress {
        match (self.side, self.peer_params.is_some(), noise.remote_static().is_some()) {
            (Side::Server, false, _) | (Side::Client, _, false) => Progress::First,
            (Side::Server, true, _) | (Side::Client, _, true) => Progress::Second,
        }
    }

    /// Listener: flight 1 was read; flights 2 and 3 are written.
    fn on_offer(
        &mut self,
        noise: &mut HandshakeState,
        payload: &[u8],
    ) -> Result<(), TransportError> {
        let (count, rest) = payload.split_first().ok_or_else(broken)?;
        let (offered, params) = rest.split_at_checked(usize::from(*count)).ok_or_else(broken)?;
        let suite = self.suites.choose(offered).ok_or_else(broken)?;
        self.suite = Some(suite);
        self.read_params(params)?;
        self.write_flight(noise, &[])?;
        self.push_handshake_keys(noise);
        let mut payload = vec![suite.byte()];
        payload.append(&mut self.own_params);
        self.write_flight(noise, &payload)
    }

    /// Dialler: flight 3 was read; flight 4 is written.
    fn on_answer(
        &mut self,
        noise: &mut HandshakeState,
        payload: &[u8],
    ) -> Result<(), TransportError> {
        let (suite, params) = payload.split_first().ok_or_else(broken)?;
        let suite = Suite::from_byte(*suite).filter(|suite| self.suites.contains(*suite));
        self.suite = Some(suite.ok_or_else(broken)?);
        let peer = remote_peer(noise)?;
        if self.expect.is_some_and(|expected| expected != peer) {
            return Err(failure(CODE_IDENTITY));
        }
        self.read_params(params)?;
        self.write_flight(noise, &[])
    }

    fn finish(&mut self, noise: &HandshakeState) -> Result<(), TransportError> {
        let suite = self.suite.ok_or_else(broken)?;
        let peer = remote_peer(noise)?;
        let split = noise.split();
        let pair = traffic_pair(&split, suite);
        self.steps.push_back(Step::Keys(pair.keys(suite, self.side)));
        let established = Established { peer, handshake_hash: split.handshake_hash, suite };
        self.established = Some((established, pair));
        Ok(())
    }

    fn push_handshake_keys(&mut self, noise: &HandshakeState) {
        let keys = handshake_pair(noise).keys(Suite::ChaCha20Poly1305, self.side);
        self.steps.push_back(Step::Keys(keys));
    }

    fn read_params(&mut self, mut params: &[u8]) -> Result<(), TransportError> {
        let params = TransportParameters::read(self.side, &mut params).map_err(|_| broken())?;
        self.peer_params = Some(params);
        Ok(())
    }
}

fn prologue() -> Vec<u8> {
    [PROLOGUE, &VERSION.to_be_bytes()].concat()
}

fn remote_peer(noise: &HandshakeState) -> Result<PeerId, TransportError> {
    noise.remote_static().map(|key| PeerId(*key)).ok_or_else(broken)
}

/// The secrets of the Handshake level, from where the handshake stands after flight 2.
fn handshake_pair(noise: &HandshakeState) -> Pair {
    Pair {
        dialler: noise.derive("bitchat v1 handshake dialler"),
        listener: noise.derive("bitchat v1 handshake listener"),
    }
}

/// The first secrets of the 1-RTT level.
fn traffic_pair(split: &Split, suite: Suite) -> Pair {
    let traffic = |secret: &Secret<32>| {
        let parts: [&[u8]; 2] = [&[suite.byte()], &split.handshake_hash];
        hash::derive(secret.expose(), "bitchat v1 traffic", &parts)
    };
    Pair { dialler: traffic(&split.initiator), listener: traffic(&split.responder) }
}

/// Which of the two flights of the other side was read.
enum Progress {
    First,
    Second,
}

fn broken() -> TransportError {
    failure(CODE_HANDSHAKE)
}

/// The reason stays empty: it would be told to the peer.
fn failure(code: u8) -> TransportError {
    TransportError { code: TransportErrorCode::crypto(code), frame: None, reason: String::new() }
}

impl engine::Session for Session {
    fn initial_keys(&self, cid: &ConnectionId, side: Side) -> Keys {
        keys::initial_keys(&self.initial, cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let (established, _) = self.established.as_ref()?;
        Some(Box::new(established.clone()))
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.established.is_none()
    }

    fn read_handshake(&mut self, data: &[u8]) -> Result<bool, TransportError> {
        if self.partial.len() + data.len() > 2 * FLIGHT_BYTES_MAX {
            return Err(broken());
        }
        self.partial.extend_from_slice(data);
        while let Some(flight) = self.next_flight()? {
            self.on_flight(&flight)?;
        }
        Ok(false)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        Ok(self.peer_params)
    }

    /// One step a call: the engine puts bytes on the level that it had before the keys of a call.
    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        match self.steps.pop_front()? {
            Step::Keys(keys) => Some(keys),
            Step::Bytes(bytes) => {
                buf.extend(bytes);
                None
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let (Established { suite, .. }, pair) = self.established.as_mut()?;
        let fresh = self.mix.advance();
        *pair = pair.next(fresh.as_ref());
        Some(pair.packet_keys(*suite, self.side))
    }

    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    /// Nobody needs it: what is bound to the link uses the handshake hash.
    fn export_keying_material(
        &self,
        _: &mut [u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!("../../../docs/spec/vectors/handshake.json");

    fn hex(value: &Value) -> Vec<u8> {
        HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    fn state(vector: &Value, role: Role) -> HandshakeState {
        let (seed, identity) = match role {
            Role::Initiator => (1, "dialler_identity_seed"),
            Role::Responder => (2, "listener_identity_seed"),
        };
        let secret = |name: &str| Secret::new(hex(&vector[name]).try_into().unwrap());
        let s = Static::identity(&SigningKey::from_seed(secret(identity)));
        let rng = Rng::from_seed([seed; 32]);
        HandshakeState::new(&XX_HFS_PSK0, role, &prologue(), s, secret("psk"), rng)
    }

    /// That the seeds give the ephemeral keys with which the vector was computed.
    fn check_ephemerals(vector: &Value) {
        let mut rng = Rng::from_seed([1; 32]);
        assert_eq!(rng.array::<32>()[..], hex(&vector["dialler_ephemeral"]));
        assert_eq!(rng.array::<64>()[..], hex(&vector["dialler_kem_seed"]));
        let mut rng = Rng::from_seed([2; 32]);
        assert_eq!(rng.array::<32>()[..], hex(&vector["listener_ephemeral"]));
        assert_eq!(rng.array::<32>()[..], hex(&vector["listener_kem_randomness"]));
    }

    #[track_caller]
    fn check_pair(vector: &Value, name: &str, pair: &Pair) {
        let expected = |role| hex(&vector[format!("{name}_secret_{role}")]);
        assert_eq!(pair.dialler.expose()[..], expected("dialler"));
        assert_eq!(pair.listener.expose()[..], expected("listener"));
    }

    #[test]
    fn the_handshake_of_the_specification_holds() {
        let file: Value = serde_json::from_str(VECTORS).unwrap();
        let vector = &file["handshake"];
        check_ephemerals(vector);
        assert_eq!(prologue(), hex(&vector["prologue"]));
        let mut dialler = state(vector, Role::Initiator);
        let mut listener = state(vector, Role::Responder);
        let none = Vec::new();
        let (offer, answer) = (hex(&vector["payload_1"]), hex(&vector["payload_3"]));
        for (n, payload) in [&offer, &none, &answer, &none].into_iter().enumerate() {
            let (writer, reader) = match XX_HFS_PSK0.flights[n].sender {
                Role::Initiator => (&mut dialler, &mut listener),
                Role::Responder => (&mut listener, &mut dialler),
            };
            let flight = writer.write_flight(payload).unwrap();
            assert_eq!(flight, hex(&vector[format!("flight_{}", n + 1)]), "flight {}", n + 1);
            assert_eq!(reader.read_flight(&flight).as_ref(), Ok(payload));
            if n == 1 {
                check_pair(vector, "handshake", &handshake_pair(&dialler));
                check_pair(vector, "handshake", &handshake_pair(&listener));
            }
        }
        for split in [dialler.split(), listener.split()] {
            assert_eq!(split.handshake_hash[..], hex(&vector["handshake_hash"]));
            check_pair(vector, "traffic", &traffic_pair(&split, Suite::Aes256Gcm));
        }
    }

    fn session(side: Side, n: u8) -> Session {
        let identity = SigningKey::from_seed(Secret::new([n; 32]));
        let (initial, psk) = (Secret::new([3; 32]), Secret::new([4; 32]));
        let (suites, rng) = (SuitePreference::aes_first(), Rng::from_seed([n; 32]));
        // No parameters: each has its default.
        Session::new(side, &identity, &initial, &psk, suites, rng, MixCell::default())
    }

    /// Carries all flights that wait.
    fn carry(from: &mut Session, to: &mut Session) -> Result<(), TransportError> {
        for step in std::mem::take(&mut from.steps) {
            if let Step::Bytes(bytes) = step {
                engine::Session::read_handshake(to, &bytes)?;
            }
        }
        Ok(())
    }

    #[test]
    fn no_secret_of_the_handshake_outlives_it() {
        let (mut dialler, mut listener) = (session(Side::Client, 1), session(Side::Server, 2));
        let offer = [1, Suite::Aes256Gcm.byte()];
        let mut noise = dialler.noise.take().unwrap();
        dialler.write_flight(&mut noise, &offer).unwrap();
        dialler.noise = Some(noise);
        carry(&mut dialler, &mut listener).unwrap();
        assert!(listener.noise.is_some());
        carry(&mut listener, &mut dialler).unwrap();
        assert!(dialler.established.is_some() && dialler.noise.is_none());
        carry(&mut dialler, &mut listener).unwrap();
        assert!(listener.established.is_some() && listener.noise.is_none());
        let late = engine::Session::read_handshake(&mut listener, &[0, 1, 7]);
        assert_eq!(late.unwrap_err().code, broken().code);
    }

    #[test]
    fn a_failed_handshake_is_wiped_too() {
        let mut listener = session(Side::Server, 2);
        assert!(engine::Session::read_handshake(&mut listener, &[0, 1, 7]).is_err());
        assert!(listener.noise.is_none());
    }

    #[test]
    fn what_a_session_was_made_of_does_not_make_a_second_one() {
        let once = Once::new(Rng::from_seed([1; 32]));
        let _ = once.take();
        assert!(once.0.lock().unwrap().is_none());
    }

    #[test]
    fn another_suite_has_other_keys() {
        let split = Split {
            initiator: Secret::new([1; 32]),
            responder: Secret::new([2; 32]),
            handshake_hash: [3; 64],
        };
        let aes = traffic_pair(&split, Suite::Aes256Gcm);
        let chacha = traffic_pair(&split, Suite::ChaCha20Poly1305);
        assert_ne!(aes.dialler, chacha.dialler);
        assert_ne!(aes.dialler, aes.listener);
    }
}

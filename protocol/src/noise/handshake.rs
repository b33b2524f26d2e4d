//! HandshakeState (Noise, section 5.3): runs the table of a [`Pattern`] token by token.
//!
//! ```text
//! new --> write_flight / read_flight, in the order of the table --> is_finished --> split
//! ```
//!
//! Two departures from the paper, both named in the prologue or the protocol name: flights may be
//! parts of a message ([`super::pattern`]), and a static key is sent as the Ed25519 key by which
//! people know each other, while DH runs on its X25519 form.

use std::fmt;

use super::HASH_BYTES;
use super::pattern::{Flight, Pattern, Role, Token};
use super::symmetric::SymmetricState;
use crate::crypto::kem::{KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_BYTES, KemKeyPair};
use crate::crypto::sign::{SigningKey, public_to_dh};
use crate::crypto::{Rng, Secret, dh, kem};

/// Why a flight was refused. The peer learns none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Shorter than its keys, or longer although it has no payload.
    #[error("a flight of a wrong length")]
    Length,
    /// A part does not open: another psk, another transcript, or changed bytes.
    #[error("a flight that does not open")]
    Unauthentic,
    /// A public key of low order, off the curve or out of range.
    #[error("an invalid public key")]
    InvalidKey,
}

/// In which form static keys are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StaticForm {
    Ed25519,
    /// As in the paper; only to speak with other implementations in tests.
    #[cfg(test)]
    X25519,
}

/// Our static key pair, and what of it is sent.
#[derive(Debug, Clone)]
pub struct Static {
    form: StaticForm,
    public: [u8; 32],
    pair: dh::KeyPair,
}

impl Static {
    /// The identity: its Ed25519 key is sent, its X25519 form agrees.
    #[must_use]
    pub fn identity(key: &SigningKey) -> Self {
        Self { form: StaticForm::Ed25519, public: *key.public(), pair: key.to_dh() }
    }

    /// A raw X25519 pair, as other implementations have.
    #[cfg(test)]
    pub(crate) fn raw(pair: dh::KeyPair) -> Self {
        Self { form: StaticForm::X25519, public: *pair.public(), pair }
    }

    /// Sends another's key than the one it can agree with.
    #[cfg(test)]
    pub(crate) fn claiming(&self, victim: &Self) -> Self {
        Self { public: victim.public, ..self.clone() }
    }
}

/// What a finished handshake leaves behind.
pub struct Split {
    /// Protects what the initiator sends.
    pub initiator: Secret<32>,
    /// Protects what the responder sends.
    pub responder: Secret<32>,
    /// The transcript: equal on both sides, different for every handshake, not secret.
    pub handshake_hash: [u8; HASH_BYTES],
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Split(_)")
    }
}

/// A handshake under way.
pub struct HandshakeState {
    pattern: &'static Pattern,
    at: usize,
    role: Role,
    symmetric: SymmetricState,
    rng: Rng,
    s: Static,
    e: Option<dh::KeyPair>,
    e1: Option<KemKeyPair>,
    psk: Secret<32>,
    rs: Option<RemoteStatic>,
    re: Option<[u8; 32]>,
    re1: Option<Box<[u8; KEM_PUBLIC_BYTES]>>,
}

struct RemoteStatic {
    public: [u8; 32],
    dh: [u8; 32],
}

impl HandshakeState {
    /// `Initialize(...)`: both sides must give the same pattern, prologue and psk.
    #[must_use]
    pub fn new(
        pattern: &'static Pattern,
        role: Role,
        prologue: &[u8],
        s: Static,
        psk: Secret<32>,
        rng: Rng,
    ) -> Self {
        let mut symmetric = SymmetricState::new(pattern.name);
        symmetric.mix_hash(prologue);
        Self {
            pattern,
            at: 0,
            role,
            symmetric,
            rng,
            s,
            e: None,
            e1: None,
            psk,
            rs: None,
            re: None,
            re1: None,
        }
    }

    /// Writes our next flight (`WriteMessage`); a flight without a payload ignores `payload`.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::InvalidKey`] when a key of the other side cannot be used.
    ///
    /// # Panics
    ///
    /// When it is not our turn: a mistake of the caller.
    pub fn write_flight(&mut self, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let flight = self.next_flight();
        assert_eq!(flight.sender, self.role, "it is the other side's turn");
        let mut out = Vec::new();
        for &token in flight.tokens {
            self.write_token(token, &mut out)?;
        }
        if flight.payload {
            self.symmetric.encrypt_and_hash(payload, &mut out);
        }
        Ok(out)
    }

    /// Reads the other side's next flight (`ReadMessage`) and returns its payload.
    ///
    /// After an error the handshake is over: nothing of it may be used.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`].
    ///
    /// # Panics
    ///
    /// When it is our turn: a mistake of the caller.
    pub fn read_flight(&mut self, mut message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let flight = self.next_flight();
        assert_ne!(flight.sender, self.role, "it is our turn");
        for &token in flight.tokens {
            self.read_token(token, &mut message)?;
        }
        if flight.payload {
            self.open(message)
        } else if message.is_empty() {
            Ok(Vec::new())
        } else {
            Err(HandshakeError::Length)
        }
    }

    /// Whether the last flight was written or read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.at == self.pattern.flights.len()
    }

    /// The static key of the other side as it was sent, once it was read.
    #[must_use]
    pub fn remote_static(&self) -> Option<&[u8; 32]> {
        self.rs.as_ref().map(|rs| &rs.public)
    }

    /// A key for another purpose from where the handshake stands now.
    #[must_use]
    pub fn derive(&self, label: &str) -> Secret<32> {
        self.symmetric.derive(label)
    }

    /// `Split()`.
    ///
    /// # Panics
    ///
    /// Before the last flight: a mistake of the caller.
    #[must_use]
    pub fn split(&self) -> Split {
        assert!(self.is_finished(), "keys are split after the last flight");
        let [initiator, responder] = self.symmetric.split();
        Split { initiator, responder, handshake_hash: *self.symmetric.handshake_hash() }
    }

    fn next_flight(&mut self) -> Flight {
        let flight = self.pattern.flights[self.at];
        self.at += 1;
        flight
    }

    fn write_token(&mut self, token: Token, out: &mut Vec<u8>) -> Result<(), HandshakeError> {
        match token {
            Token::E => {
                // e = GENERATE_KEYPAIR(); buffer || e.public_key; MixHash(e.public_key)
                let e = self.e.take().unwrap_or_else(|| dh::KeyPair::generate(&mut self.rng));
                out.extend_from_slice(e.public());
                self.mix_e(*e.public());
                self.e = Some(e);
            }
            Token::S => {
                // buffer || EncryptAndHash(s.public_key)
                let public = self.s.public;
                self.symmetric.encrypt_and_hash(&public, out);
            }
            Token::E1 => {
                // e1 = GENERATE_KEYPAIR_F(); buffer || EncryptAndHash(e1.public_key)
                let e1 = KemKeyPair::generate(&mut self.rng);
                self.symmetric.encrypt_and_hash(e1.public(), out);
                self.e1 = Some(e1);
            }
            Token::Ekem1 => {
                // (ciphertext, secret) = ENCAPS(re1); buffer || EncryptAndHash(ciphertext);
                // MixKey(secret)
                let re1 = self.re1.as_deref().expect("e1 precedes ekem1 in every pattern");
                let (ciphertext, secret) =
                    kem::encapsulate(&mut self.rng, re1).map_err(|_| HandshakeError::InvalidKey)?;
                self.symmetric.encrypt_and_hash(&ciphertext[..], out);
                self.symmetric.mix_key(secret.expose());
            }
            Token::Ee | Token::Es | Token::Se => self.mix_dh(token)?,
            Token::Psk => self.symmetric.mix_key_and_hash(self.psk.expose()),
        }
        Ok(())
    }

    fn read_token(&mut self, token: Token, message: &mut &[u8]) -> Result<(), HandshakeError> {
        match token {
            Token::E => {
                // re = next DHLEN bytes; MixHash(re)
                let re = take(message)?;
                self.mix_e(re);
                self.re = Some(re);
            }
            Token::S => {
                // rs = DecryptAndHash(next DHLEN or DHLEN + 16 bytes)
                let sealed = take_slice(message, 32 + self.symmetric.overhead())?;
                let public = exact(self.open(sealed)?)?;
                self.rs = Some(RemoteStatic { public, dh: self.dh_form(&public)? });
            }
            Token::E1 => {
                let sealed = take_slice(message, KEM_PUBLIC_BYTES + self.symmetric.overhead())?;
                let public: [u8; KEM_PUBLIC_BYTES] = exact(self.open(sealed)?)?;
                self.re1 = Some(Box::new(public));
            }
            Token::Ekem1 => {
                // MixKey(DECAPS(e1, DecryptAndHash(ciphertext)))
                let sealed = take_slice(message, KEM_CIPHERTEXT_BYTES + self.symmetric.overhead())?;
                let ciphertext: [u8; KEM_CIPHERTEXT_BYTES] = exact(self.open(sealed)?)?;
                let e1 = self.e1.as_ref().expect("e1 precedes ekem1 in every pattern");
                self.symmetric.mix_key(e1.decapsulate(&ciphertext).expose());
            }
            Token::Ee | Token::Es | Token::Se => self.mix_dh(token)?,
            Token::Psk => self.symmetric.mix_key_and_hash(self.psk.expose()),
        }
        Ok(())
    }

    /// `MixHash(e)`, and `MixKey(e)` in a psk handshake (Noise, section 9.2).
    fn mix_e(&mut self, public: [u8; 32]) {
        self.symmetric.mix_hash(&public);
        if self.pattern.psk {
            self.symmetric.mix_key(&public);
        }
    }

    /// `MixKey(DH(..))` for `ee`, `es` and `se`.
    fn mix_dh(&mut self, token: Token) -> Result<(), HandshakeError> {
        let ours_is_static = match token {
            Token::Es => self.role == Role::Responder,
            Token::Se => self.role == Role::Initiator,
            Token::Ee | Token::E | Token::S | Token::Psk | Token::E1 | Token::Ekem1 => false,
        };
        let theirs_is_static = token != Token::Ee && !ours_is_static;
        let e = self.e.as_ref().expect("e precedes every DH in every pattern");
        let ours = if ours_is_static { &self.s.pair } else { e };
        let theirs = if theirs_is_static { self.rs.as_ref().map(|rs| rs.dh) } else { self.re };
        let theirs = theirs.expect("keys precede their DH in every pattern");
        let secret = ours.agree(&theirs).map_err(|_| HandshakeError::InvalidKey)?;
        self.symmetric.mix_key(secret.expose());
        Ok(())
    }

    fn dh_form(&self, public: &[u8; 32]) -> Result<[u8; 32], HandshakeError> {
        match self.s.form {
            StaticForm::Ed25519 => public_to_dh(public).map_err(|_| HandshakeError::InvalidKey),
            #[cfg(test)]
            StaticForm::X25519 => Ok(*public),
        }
    }

    fn open(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        self.symmetric.decrypt_and_hash(ciphertext).map_err(|_| HandshakeError::Unauthentic)
    }

    /// Fixes the ephemeral key, as public vectors do.
    #[cfg(test)]
    pub(crate) fn set_ephemeral(&mut self, pair: dh::KeyPair) {
        self.e = Some(pair);
    }

    /// Exchanges the decapsulation key behind what was sent.
    #[cfg(test)]
    pub(crate) fn set_kem(&mut self, pair: KemKeyPair) {
        self.e1 = Some(pair);
    }
}

impl fmt::Debug for HandshakeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeState")
            .field("pattern", &self.pattern.name)
            .field("role", &self.role)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

fn take<const N: usize>(message: &mut &[u8]) -> Result<[u8; N], HandshakeError> {
    let (head, rest) = message.split_first_chunk().ok_or(HandshakeError::Length)?;
    *message = rest;
    Ok(*head)
}

fn take_slice<'a>(message: &mut &'a [u8], len: usize) -> Result<&'a [u8], HandshakeError> {
    let (head, rest) = message.split_at_checked(len).ok_or(HandshakeError::Length)?;
    *message = rest;
    Ok(head)
}

fn exact<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], HandshakeError> {
    bytes.try_into().map_err(|_| HandshakeError::Length)
}

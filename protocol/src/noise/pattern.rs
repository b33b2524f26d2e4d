//! Handshake patterns as tables: one row per flight, one token per step (Noise, section 7).
//!
//! ```text
//! XXhfs+psk0:
//!   -> psk, e, e1            payload
//!   <- e, ee, ekem1                      \  one message in the paper; two flights here, because
//!   <- s, es                 payload     /  the keys of QUIC's Handshake level lie between them
//!   -> s, se                 payload
//! ```
//!
//! Cutting a message between two tokens changes no byte of it: a message is the concatenation of
//! what its tokens write, and only the last part carries the payload.

/// Which side of the handshake a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends the first flight.
    Initiator,
    /// Answers it.
    Responder,
}

/// One step of a flight (Noise, section 5.3; `E1` and `Ekem1` from the hybrid forward secrecy
/// extension, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// The ephemeral X25519 key, in clear; mixed into the key too, as every psk pattern demands.
    E,
    /// The static key, sealed once there is a key.
    S,
    /// DH of both ephemeral keys.
    Ee,
    /// DH of the initiator's ephemeral and the responder's static key.
    Es,
    /// DH of the initiator's static and the responder's ephemeral key.
    Se,
    /// The pre-shared key.
    Psk,
    /// The initiator's ephemeral ML-KEM-768 encapsulation key.
    E1,
    /// A ciphertext for it, and its shared secret.
    Ekem1,
}

/// What one side sends without waiting for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// Who sends it.
    pub sender: Role,
    /// Its steps in order.
    pub tokens: &'static [Token],
    /// Whether it ends with a payload.
    pub payload: bool,
}

/// A whole handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// The protocol name, hashed first; at most 64 bytes.
    pub name: &'static str,
    /// Whether a pre-shared key takes part anywhere.
    pub psk: bool,
    /// The flights in order.
    pub flights: &'static [Flight],
}

const fn initiator(tokens: &'static [Token], payload: bool) -> Flight {
    Flight { sender: Role::Initiator, tokens, payload }
}

const fn responder(tokens: &'static [Token], payload: bool) -> Flight {
    Flight { sender: Role::Responder, tokens, payload }
}

/// The pattern of every link: XX, the channel's psk before anything else, ML-KEM-768 beside X25519.
pub const XX_HFS_PSK0: Pattern = Pattern {
    name: "Noise_XXhfs+psk0_25519+MLKEM768_ChaChaPoly_BLAKE2b",
    psk: true,
    flights: &[
        initiator(&[Token::Psk, Token::E, Token::E1], true),
        responder(&[Token::E, Token::Ee, Token::Ekem1], false),
        responder(&[Token::S, Token::Es], true),
        initiator(&[Token::S, Token::Se], true),
    ],
};

/// The same without the hybrid tokens: what other implementations and public vectors know.
#[cfg(test)]
pub(crate) const XX_PSK0: Pattern = Pattern {
    name: "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b",
    psk: true,
    flights: &[
        initiator(&[Token::Psk, Token::E], true),
        responder(&[Token::E, Token::Ee], false),
        responder(&[Token::S, Token::Es], true),
        initiator(&[Token::S, Token::Se], true),
    ],
};

/// Patterns for which public vectors with our primitives exist.
#[cfg(test)]
pub(crate) const WITH_PUBLIC_VECTORS: [Pattern; 3] = [
    Pattern {
        name: "Noise_XX_25519_ChaChaPoly_BLAKE2b",
        psk: false,
        flights: &[
            initiator(&[Token::E], true),
            responder(&[Token::E, Token::Ee], false),
            responder(&[Token::S, Token::Es], true),
            initiator(&[Token::S, Token::Se], true),
        ],
    },
    Pattern {
        name: "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b",
        psk: true,
        flights: &[
            initiator(&[Token::Psk, Token::E], true),
            responder(&[Token::E, Token::Ee], true),
        ],
    },
    Pattern {
        name: "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b",
        psk: true,
        flights: &[
            initiator(&[Token::E], true),
            responder(&[Token::E, Token::Ee], false),
            responder(&[Token::S, Token::Es], true),
            initiator(&[Token::S, Token::Se, Token::Psk], true),
        ],
    },
];

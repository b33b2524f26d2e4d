//! The Noise Protocol Framework, revision 34, as far as the link needs it.
//!
//! Reading order: [`symmetric`] (CipherState and SymmetricState), [`pattern`] (who sends what),
//! [`handshake`] (HandshakeState). One fixed set of primitives: X25519, ChaCha20-Poly1305, BLAKE2b,
//! and ML-KEM-768 for the hybrid tokens. The names are the paper's, so that both can be read side
//! by side; `docs/spec/03-handshake.md` says what goes into the payloads.
//!
//! Not here: packets, levels, identities to be expected. That is [`crate::quic`].

pub mod handshake;
pub mod pattern;
pub mod symmetric;

#[cfg(test)]
mod tests;

pub use handshake::{HandshakeError, HandshakeState, Split, Static};
pub use pattern::{Flight, Pattern, Role, Token};

/// Bytes of the handshake hash and of the chaining key: HASHLEN of BLAKE2b.
pub const HASH_BYTES: usize = 64;

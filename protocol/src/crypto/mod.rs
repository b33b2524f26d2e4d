//! Cryptographic primitives: the only module that calls dryoc and ring.
//!
//! Nothing here is invented: each function is one published primitive, or the one labelled key
//! derivation ([`hash::derive`]) on which the rest of the crate is built.

pub mod aead;
pub mod dh;
pub mod hash;
pub mod kem;
pub mod packet;
pub mod password;
mod rng;
mod secret;
pub mod sign;

pub use rng::Rng;
pub use secret::Secret;

//! Fresh key shares for a live link; see [`crate::session`].

use serde::{Deserialize, Serialize};

/// The dialler's fresh shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewOffer {
    /// Counts the renewals of this link from 1.
    pub number: u32,
    /// Ephemeral X25519 public key, 32 bytes.
    #[serde(with = "serde_bytes")]
    pub dh: [u8; 32],
    /// ML-KEM-768 encapsulation key, 1184 bytes.
    #[serde(with = "serde_bytes")]
    pub kem: Vec<u8>,
}

/// The listener's shares and the generation of keys that will depend on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewAnswer {
    /// The offer's number.
    pub number: u32,
    /// Ephemeral X25519 public key, 32 bytes.
    #[serde(with = "serde_bytes")]
    pub dh: [u8; 32],
    /// ML-KEM-768 ciphertext, 1088 bytes.
    #[serde(with = "serde_bytes")]
    pub kem: Vec<u8>,
    /// The key generation into which both sides mix the new secret.
    pub generation: u64,
}

/// The dialler has the secret in place too: both may move on to that generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewConfirm {
    /// The offer's number.
    pub number: u32,
}

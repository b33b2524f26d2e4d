//! The channel of two contacts, which each derives alone: nothing but the cards is exchanged.
//!
//! ```text
//! S = derive(X25519(own, theirs), "bitchat v1 pair channel secret", lower id, higher id)
//! ```
//!
//! The ids are compared as bytes. Both keys are the identities' (RFC 7748, section 4.1), so nobody
//! else can compute `S`, and whoever steals one of the two keys can. It finds people and lets them
//! in; what is said on a link has fresh keys besides.
//!
//! Specification: `docs/spec/01-key-schedule.md`, section 6.

use super::address::NodeAddress;
use super::chat_file::{ChatFile, ChatFileError, Key, Kind};
use super::epoch::Rotation;
use super::keys::ChannelSecret;
use crate::crypto::{hash, sign};
use crate::id::PeerId;
use crate::identity::{DisplayName, Identity};

const SECRET_LABEL: &str = "bitchat v1 pair channel secret";

/// Why two identities have no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The other is ourselves.
    #[error("nobody is in a pair with themselves")]
    Ourselves,
    /// The other's id is no usable public key.
    #[error("the id is no usable public key")]
    Key,
    /// The places to meet at are not fit.
    #[error(transparent)]
    Places(#[from] ChatFileError),
}

impl ChatFile {
    /// Makes the channel of `own` and `peer`, under `name`. It rotates daily.
    ///
    /// # Errors
    ///
    /// [`PairError`].
    pub fn new_pair(
        own: &Identity,
        peer: PeerId,
        name: DisplayName,
        tiers: Vec<Vec<String>>,
        nodes: Vec<NodeAddress>,
    ) -> Result<Self, PairError> {
        let key = Key::Member(secret(own, peer)?);
        let file = Self::assemble(name, tiers, nodes, Rotation::Daily, key)?;
        Ok(Self { kind: Kind::Pair, ..file })
    }
}

fn secret(own: &Identity, peer: PeerId) -> Result<ChannelSecret, PairError> {
    let own_id = own.peer_id();
    if own_id == peer {
        return Err(PairError::Ourselves);
    }
    let public = sign::public_to_dh(&peer.0).map_err(|_| PairError::Key)?;
    let agreed = own.to_dh().agree(&public).map_err(|_| PairError::Key)?;
    let (lower, higher) = (own_id.min(peer), own_id.max(peer));
    let secret = hash::derive(agreed.expose(), SECRET_LABEL, &[&lower.0, &higher.0]);
    Ok(ChannelSecret(secret))
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use serde_json::Value;

    use super::*;
    use crate::crypto::Secret;

    fn identity(seed: u8) -> Identity {
        Identity::from_seed(Secret::new([seed; 32]))
    }

    fn pair(own: u8, peer: PeerId) -> Result<ChatFile, PairError> {
        let name = DisplayName::new("them").unwrap();
        let tiers = vec![vec!["udp://a:1".to_owned()]];
        ChatFile::new_pair(&identity(own), peer, name, tiers, vec![])
    }

    #[test]
    fn both_derive_the_secret_of_the_vector() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../docs/spec/vectors/pair.json")).unwrap();
        let seed = |name: &str| {
            let seed = HEXLOWER.decode(vectors[name].as_str().unwrap().as_bytes()).unwrap();
            Identity::from_seed(Secret::new(seed.try_into().unwrap()))
        };
        let (one, other) = (seed("one_seed"), seed("other_seed"));
        for (own, peer) in [(&one, &other), (&other, &one)] {
            let secret = secret(own, peer.peer_id()).unwrap();
            let text = HEXLOWER.encode(secret.0.expose());
            assert_eq!(vectors["secret"].as_str(), Some(text.as_str()));
        }
    }

    #[test]
    fn each_two_have_a_channel_of_their_own() {
        let channel = |one: u8, other: u8| {
            let file = pair(one, identity(other).peer_id()).unwrap();
            assert_eq!((file.kind(), file.rotation()), (Kind::Pair, Rotation::Daily));
            assert_eq!(file.tiers(), [["udp://a:1"]]);
            file.keys().id()
        };
        assert_eq!(channel(1, 2), channel(2, 1));
        assert_ne!(channel(1, 2), channel(1, 3));
        assert_ne!(channel(1, 2), channel(3, 2));
    }

    #[test]
    fn there_is_none_with_ourselves_nor_with_a_key_of_low_order() {
        assert_eq!(pair(1, identity(1).peer_id()).unwrap_err(), PairError::Ourselves);
        let mut low_order = [0; 32];
        low_order[0] = 1;
        for bad in [[0; 32], [0xff; 32], low_order] {
            assert_eq!(pair(1, PeerId(bad)).unwrap_err(), PairError::Key);
        }
    }
}

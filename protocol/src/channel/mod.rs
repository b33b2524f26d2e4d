//! What a channel is: its secret, what derives from it, and how it is passed on.

mod epoch;
mod keys;

pub use epoch::{EPOCH_OVERLAP, Epoch, Rotation};
pub use keys::{ChannelKeys, ChannelPublicKey, ChannelSecret, GateKeys, SeedKey};

//! The bytes and the state machines of bitchat: no clock, no socket, no file, no task.
//!
//! Crate map, in reading order:
//!
//! 1. [`id`], [`limits`], [`crypto`]: names of things, bounds on strangers, primitives.
//! 2. [`bencode`], [`uri`], `host`, [`identity`], [`channel`]: who we are and what a channel is.
//! 3. [`noise`], [`quic`]: how two nodes prove that they know the channel's key, and the link that follows.
//! 4. [`wire`], [`session`]: what two peers say to each other on a link, and its first words.
//! 5. [`scope`], [`nat`], [`tracker`], [`dht`], [`lan`],
//!    [`mesh`], [`whisper`], [`log`], [`invite`]: where we are, finding peers, wanting peers, talking to
//!    them, what was said so that it stays, and asking them into channels.
//! 6. [`contact`], [`at_rest`]: whom we trust, and what lies on disk in a profile.
//!
//! The contract of a machine is in [`machine`].

pub mod at_rest;
pub mod bencode;
pub mod channel;
pub mod contact;
pub mod crypto;
pub mod dht;
mod host;
pub mod id;
pub mod identity;
pub mod invite;
pub mod lan;
pub mod limits;
pub mod log;
pub mod machine;
pub mod mesh;
pub mod nat;
pub mod noise;
pub mod quic;
pub mod scope;
pub mod session;
pub mod text;
pub mod tracker;
pub mod uri;
pub mod whisper;
pub mod wire;

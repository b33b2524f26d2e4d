//! The hands, the clocks and the supervisors of bitchat.
//!
//! Crate map, in reading order:
//!
//! 1. [`supervision`]: who starts whom, and what happens when an actor ends.
//! 2. [`clock`], [`entropy`], [`driver`]: time, randomness, and how a machine is driven.
//! 3. [`vault`], [`contact_book`], [`channel_book`]: what is kept on disk.

pub mod channel_book;
pub mod chat_desk;
pub mod clock;
pub mod contact_book;
pub mod crypto_session;
pub mod directory;
pub mod driver;
pub mod entropy;
pub mod http_fetch;
pub mod mesh_manager;
pub mod peer_supervisor;
pub mod peer_transport;
pub mod resolver;
pub mod supervision;
pub mod udp_port;
pub mod vault;

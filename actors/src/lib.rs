//! The hands, the clocks and the supervisors of bitchat.
//!
//! Crate map, in reading order:
//!
//! 1. [`supervision`]: who starts whom, and what happens when an actor ends.
//! 2. [`clock`], [`entropy`], [`driver`]: time, randomness, and how a machine is driven.
//! 3. [`root`]: the composition of the whole node.
//! 4. [`vault`], [`contact_book`], [`channel_book`], [`archive`]: what is kept on disk.
//! 5. [`udp_port`], [`resolver`], [`http_fetch`]: sockets, names, HTTP.
//! 6. [`peer_supervisor`], [`crypto_session`], [`peer_transport`], [`directory`]: links.
//! 7. [`source`], [`mesh_manager`], [`discovery`], [`tracker_announcer`], [`dht`], [`lan_discovery`],
//!    [`chat_desk`], [`invitations`]: members, finding them, talking to them, asking others in.
//! 8. [`tracker_probe`]: for a person who asks what is wrong; not part of the tree.
//!
//! The tree is drawn in `ARCHITECTURE.md`; who sends what to whom stands at the top of each file.

pub mod archive;
pub mod channel_book;
pub mod chat_desk;
pub mod clock;
pub mod contact_book;
pub mod crypto_session;
pub mod dht;
pub mod directory;
pub mod discovery;
pub mod driver;
pub mod entropy;
pub mod http_fetch;
pub mod invitations;
pub mod lan_discovery;
pub mod mesh_manager;
mod own_address;
pub mod peer_supervisor;
pub mod peer_transport;
pub mod resolver;
pub mod root;
pub mod source;
mod subscribers;
pub mod supervision;
pub mod tracker_announcer;
pub mod tracker_probe;
pub mod udp_port;
pub mod vault;

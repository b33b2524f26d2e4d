//! The Mainline DHT: finding a channel's other nodes with nobody's help, looking like a BitTorrent
//! client (BEP 5, 32, 42, 43, 51).
//!
//! In reading order:
//!
//! 1. [`node_id`]: names and distances.
//! 2. [`message`]: what is said, in bytes; [`profile`]: how it looks, as data.
//! 3. [`routing_table`], [`lookup`], [`votes`]: whom we know, how we find, who we are.
//! 4. [`token`], [`storage`], [`flood_gate`]: what we do for others, and for how many.
//! 5. `node`, `swarm`, [`machine`]: all of it together; the machine is [`Dht`].
//! 6. [`saved`]: what is kept for the next run.

mod api;
pub mod flood_gate;
pub mod lookup;
pub mod machine;
pub mod message;
mod node;
pub mod node_id;
mod pending;
pub mod profile;
pub mod routing_table;
pub mod saved;
#[cfg(any(test, feature = "dht-sim"))]
pub mod sim;
pub mod storage;
mod swarm;
#[cfg(test)]
mod tests;
pub mod token;
pub mod votes;

pub use api::{Activity, Config, Event, Input, NodeStatus, Output, Pace, Status, Trouble};
pub use machine::Dht;
pub use message::Contact;
pub use node_id::NodeId;
pub use profile::DhtProfile;
pub use saved::Saved;
pub use votes::ExternalAddress;

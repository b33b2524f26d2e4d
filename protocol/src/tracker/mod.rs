//! Finding a channel's other nodes through BitTorrent trackers, looking like a BitTorrent client.
//!
//! In reading order:
//!
//! 1. [`url`]: where a tracker is.
//! 2. [`disguise`]: how we look to it, as data.
//! 3. [`http`] (BEP 3, 7, 23, 24) and [`udp`] (BEP 15, 41): what is said, in bytes.
//! 4. [`reply`]: what a tracker answers, the same for both.
//! 5. [`announcer`]: when to whom; the machine.

pub mod announce;
pub mod announcer;
pub mod disguise;
#[cfg(test)]
mod golden;
pub mod http;
pub mod peers;
pub mod reply;
pub mod udp;
pub mod url;

pub use announcer::Announcer;
pub use disguise::ClientProfile;
pub use url::{TrackerUrl, UrlError};

//! What the integration tests share: real, faulty and recording trackers, a real DHT, small disks, and nodes in
//! processes of their own.

pub mod checker;
pub mod control;
pub mod crowd;
pub mod faulty_tracker;
pub mod mainline;
pub mod namespace;
pub mod node;
pub mod recording_tracker;
pub mod small_disk;
pub mod tracker;

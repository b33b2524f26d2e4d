//! What the integration tests share: real and faulty trackers, a real DHT, small disks, and nodes in
//! processes of their own.

pub mod faulty_tracker;
pub mod mainline;
pub mod namespace;
pub mod node;
pub mod small_disk;
pub mod tracker;

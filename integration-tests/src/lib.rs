//! What the integration tests share: real trackers, and nodes in processes of their own.

pub mod namespace;
pub mod node;
pub mod tracker;

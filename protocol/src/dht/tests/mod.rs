//! The machine as a whole: against what libtorrent was seen to do, against liars, and in a network.

mod bench;
mod golden;
mod hostile;
mod network;
mod schedule;

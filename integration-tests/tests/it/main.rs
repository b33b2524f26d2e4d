//! Whole nodes in processes of their own, against real trackers: one story a test.

mod alone;
mod attached;
mod bad_input;
mod carried;
mod clock;
mod closed;
mod dht;
mod dht_answers;
mod dht_between_hosts;
mod disguise;
mod disk;
mod faulty_tracker;
mod invite;
mod keep;
mod lan;
mod midnight;
mod moved;
mod pair;
mod panic;
mod pipe;
mod scene;
mod seeder;
mod status;
mod stranger;
mod survive;
mod talk;

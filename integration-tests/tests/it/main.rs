//! Whole nodes in processes of their own, against real trackers: one story a test.

mod bad_input;
mod pipe;
mod scene;
mod survive;
mod talk;

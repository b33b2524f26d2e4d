//! Whole nodes in processes of their own, against real trackers: one story a test.

mod pipe;
mod scene;
mod survive;
mod talk;

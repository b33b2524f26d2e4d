//! The program `bitchat`: files, environment, terminal. It knows no rule of the protocol and talks to
//! actors by message only.
//!
//! Crate map, in reading order:
//!
//! 1. [`cli`]: the command line, one file per noun.
//! 2. `run`, `console`: a node until it ends, and what a person has in front of it; `disguise`: what it
//!    looks like from outside.
//! 3. [`profile`], [`settings`], [`paths`], [`logging`], [`output`], [`exit`]: what holds for every command.

pub mod cli;
pub mod exit;
pub mod logging;
pub mod output;
pub mod paths;
pub mod profile;
pub mod settings;

mod console;
mod disguise;
mod run;

mod suggest;

//! The program `bitchat`: files, environment, terminal. It knows no rule of the protocol and talks to
//! actors by message only.
//!
//! Crate map, in reading order:
//!
//! 1. [`cli`]: the command line, one file per noun.
//! 2. `run`, `console`, `control`: a node until it ends, what a person has in front of it, and the
//!    socket at which it is asked; `disguise`: what it looks like from outside.
//! 3. `rpc`, `queries`, `report`, `lines`, `channels`: what both share: requests, the methods that
//!    only ask, their results for programs and people.
//! 4. `doctor`: what works and what does not.
//! 5. [`profile`], [`settings`], [`paths`], [`logging`], [`output`], [`exit`]: what holds for every command.

pub mod cli;
pub mod exit;
pub mod logging;
pub mod output;
pub mod paths;
pub mod profile;
pub mod settings;

mod channels;
mod console;
mod control;
mod disguise;
mod doctor;
mod invitations;
mod lines;
mod queries;
mod report;
mod rpc;
mod run;
mod suggest;

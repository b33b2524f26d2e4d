//! `bitchat` with the faults that tests inject; otherwise the same program.

use std::process::ExitCode;

use bitchat_node::cli::Parser as _;

/// By how many seconds the calendar clock is ahead from the start.
const CLOCK: &str = "BITCHAT_TESTS_SECONDS_AHEAD";

fn main() -> ExitCode {
    let ahead = std::env::var(CLOCK).ok().and_then(|text| text.parse().ok());
    ahead.into_iter().for_each(bitchat_actors::clock::fault::set_seconds_ahead);
    bitchat_node::cli::main(bitchat_node::cli::Arguments::parse()).into()
}

//! `bitchat` with the faults that tests inject; otherwise the same program.

use std::process::ExitCode;

use bitchat_node::cli::Parser as _;

fn main() -> ExitCode {
    bitchat_node::cli::main(bitchat_node::cli::Arguments::parse()).into()
}

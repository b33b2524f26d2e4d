//! What one-shot commands print: data on stdout, talk on stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use crate::exit::Failure;

/// Prints data, each piece as text for people or as one JSON object in one line.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Prints JSON when `json`, else text.
    #[must_use]
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints one piece of data in the form that is wanted.
    ///
    /// # Errors
    ///
    /// When stdout takes no more. That its reader has gone is no error.
    pub fn data(self, text: impl Display, json: &serde_json::Value) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written =
            if self.json { writeln!(stdout, "{json}") } else { writeln!(stdout, "{text}") };
        match written.and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::failed(format!("cannot write to stdout: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// Tells the person something. Nobody is left to tell when stderr fails.
pub fn talk(text: impl Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

//! How the program ends: the exit codes, and the error that carries one.
//!
//! | code | when |
//! |---|---|
//! | 0 | done |
//! | 1 | failed for another reason |
//! | 2 | wrong usage |
//! | 3 | network, or not delivered |
//! | 4 | a key that cannot be trusted |
//! | 5 | a limit |
//! | 70 | internal: a supervisor gave up |
//! | 75 | the profile is in use |
//! | 78 | configuration |
//! | 130 | a second interrupt while stopping |

use std::fmt;
use std::process::ExitCode;

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Done,
    /// Something went wrong that no other code names.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// No network, or nobody got what was said.
    NotDelivered,
    /// A key that cannot be trusted.
    Untrusted,
    /// A limit was reached.
    Limit,
    /// A supervisor gave up.
    Internal,
    /// Another process uses the profile.
    InUse,
    /// The settings are wrong.
    Configuration,
    /// A second interrupt came while stopping.
    Interrupted,
}

impl Exit {
    /// The number the operating system gets.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotDelivered => 3,
            Self::Untrusted => 4,
            Self::Limit => 5,
            Self::Internal => 70,
            Self::InUse => 75,
            Self::Configuration => 78,
            Self::Interrupted => 130,
        }
    }

    /// Reads a code back; one that is not in the table is an ordinary failure.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Usage,
            3 => Self::NotDelivered,
            4 => Self::Untrusted,
            5 => Self::Limit,
            70 => Self::Internal,
            75 => Self::InUse,
            78 => Self::Configuration,
            130 => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error that ends the program: what happened and what to do about it, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code to end with.
    pub exit: Exit,
    /// For the person, without a final full stop.
    pub text: String,
}

impl Failure {
    /// Makes one.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// Makes one with [`Exit::Failed`].
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }

    /// Makes one with [`Exit::Usage`].
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Turns any error into a [`Failure`].
pub trait OrFail<T> {
    /// Says what was being done when it happened.
    ///
    /// # Errors
    ///
    /// The same error, as a [`Failure`] with `exit` and the text `context: error`.
    fn or_fail(self, exit: Exit, context: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, exit: Exit, context: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, format!("{context}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_table_reads_back() {
        for code in [0, 1, 2, 3, 4, 5, 70, 75, 78, 130] {
            assert_eq!(Exit::from_code(code).code(), code);
        }
        assert_eq!(Exit::from_code(99), Exit::Failed);
    }
}

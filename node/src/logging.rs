//! The log: `tracing` to stderr, as text or JSON.
//!
//! What people say, secrets and passphrases are never logged at any level; peers are named by their
//! short ids.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, Failure};
use crate::settings::{Log, LogFormat, LogLevel};

/// The variable that holds a filter and wins over settings and flags.
pub const FILTER_VARIABLE: &str = "BITCHAT_LOG";

/// Starts logging. `verbosity` counts `-v` and, negative, `-q`; `daemon` raises the `auto` level.
///
/// # Errors
///
/// A [`Failure`] with [`Exit::Configuration`] when the filter in [`FILTER_VARIABLE`] does not read.
pub fn start(log: &Log, verbosity: i16, daemon: bool, color: bool) -> Result<(), Failure> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(directives) if !directives.is_empty() => {
            EnvFilter::try_new(&directives).map_err(|error| {
                Failure::new(Exit::Configuration, format!("{FILTER_VARIABLE}: {error}"))
            })?
        }
        _ => EnvFilter::new(directive(log.level, verbosity, daemon)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be told on stderr, too, and a panic when that takes nothing ends the process.
        .log_internal_errors(false)
        .with_ansi(color && std::io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first log; nothing else can fail here.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// The level that results, as a filter directive.
fn directive(level: LogLevel, verbosity: i16, daemon: bool) -> &'static str {
    const STEPS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let base: i16 = match level {
        LogLevel::Off => 0,
        LogLevel::Error => 1,
        LogLevel::Auto if daemon => 3,
        LogLevel::Auto | LogLevel::Warn => 2,
        LogLevel::Info => 3,
        LogLevel::Debug => 4,
        LogLevel::Trace => 5,
    };
    let step = base.saturating_add(verbosity).clamp(0, 5);
    usize::try_from(step).map_or("warn", |step| STEPS[step])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_move_the_level_up_and_down_within_its_ends() {
        assert_eq!(directive(LogLevel::Auto, 0, false), "warn");
        assert_eq!(directive(LogLevel::Auto, 0, true), "info");
        assert_eq!(directive(LogLevel::Auto, 1, false), "info");
        assert_eq!(directive(LogLevel::Info, -1, true), "warn");
        assert_eq!(directive(LogLevel::Error, -9, false), "off");
        assert_eq!(directive(LogLevel::Warn, 99, false), "trace");
    }
}

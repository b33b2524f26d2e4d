//! `bitchat doctor`: what works, what does not, and what to do.

use clap::Args;

use super::{Context, Global};
use crate::doctor::{Check, Examination, Patient};
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// `bitchat doctor [C]`
#[derive(Debug, Clone, Args)]
pub struct DoctorArguments {
    /// The trackers of one channel alone: its name or the beginning of its id
    #[arg(value_name = "C")]
    pub channel: Option<String>,
}

/// Looks at everything; the exit code says what kind of problem there is.
pub(super) fn run(arguments: &DoctorArguments, context: &Context) -> Result<Exit, Failure> {
    let mut examination = Examination::new(context.output);
    let patient = Patient {
        global: &context.global,
        settings: &context.loaded.settings,
        channel: arguments.channel.as_deref(),
    };
    examination.examine(&patient)?;
    Ok(examination.exit())
}

/// Settings that cannot be read: nothing else can be looked at, as they say where everything is.
pub(super) fn with_wrong_settings(global: &Global, why: &str) -> Result<Exit, Failure> {
    let mut examination = Examination::new(Output::new(global.json));
    let todo = "correct it; `bitchat config check` looks once more, and configs/default.toml has \
                every setting";
    examination.report(&Check::problem("settings", why, todo, Exit::Configuration))?;
    Ok(examination.exit())
}

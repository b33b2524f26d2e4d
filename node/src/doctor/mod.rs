//! What works and what does not, in plain words: a row for each check, with what to do about it.
//!
//! Where a node serves the profile, it is asked for what it knows, and nothing else uses the
//! network. Where none does, the port is bound and each tracker gets one knock; nothing is announced.

mod host;
mod running;
mod trackers;

use bitchat_protocol::text::escape_for_terminal;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::control::{self, Asked};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::profile;
use crate::report::StatusReport;
use crate::settings::Settings;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to do.
    Ok,
    /// It works, or may: worth a look.
    Warning,
    /// It does not work; the program ends with this.
    Problem(Exit),
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem(_) => "problem",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    /// What is so.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) todo: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, what: what.into(), todo: None }
    }

    pub(crate) fn warning(
        name: &'static str,
        what: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { name, verdict: Verdict::Warning, what: what.into(), todo: Some(todo.into()) }
    }

    pub(crate) fn problem(
        name: &'static str,
        what: impl Into<String>,
        todo: impl Into<String>,
        exit: Exit,
    ) -> Self {
        Self { name, verdict: Verdict::Problem(exit), what: what.into(), todo: Some(todo.into()) }
    }

    fn text(&self) -> String {
        let what = escape_for_terminal(&self.what);
        let mut text = format!("{:<8} {:<9} {what}", self.verdict.word(), self.name);
        if let Some(todo) = &self.todo {
            text += &format!("\n{:<18} -> {}", "", escape_for_terminal(todo));
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "check": self.name, "verdict": self.verdict.word(), "what": self.what, "do": self.todo,
        })
    }
}

/// Whom to look at.
pub(crate) struct Patient<'a> {
    pub(crate) global: &'a Global,
    pub(crate) settings: &'a Settings,
    /// Its trackers alone.
    pub(crate) channel: Option<&'a str>,
}

/// A row of checks, each printed when it is done.
pub(crate) struct Examination {
    output: Output,
    exit: Exit,
}

impl Examination {
    pub(crate) const fn new(output: Output) -> Self {
        Self { output, exit: Exit::Done }
    }

    /// Does all checks that make sense here.
    ///
    /// # Errors
    ///
    /// When they cannot be printed, or there is no such channel.
    pub(crate) fn examine(&mut self, patient: &Patient<'_>) -> Result<(), Failure> {
        self.report(&Check::ok("settings", "they are right"))?;
        let data_dir = profile::data_dir(patient.global)?;
        let dir = data_dir.join(&patient.global.profile);
        let params = json!({"channel": patient.channel});
        let somebody_answers = match control::ask(&dir, "status", &params) {
            Asked::Answered(result) => self.examine_node(&dir, &result)?,
            Asked::Refused(refusal) => {
                return Err(Failure::failed(escape_for_terminal(&refusal.text)));
            }
            Asked::Failed(text) => {
                let what = format!("a node serves the profile and cannot be asked: {text}");
                self.report(&Check::warning("node", what, "ask once more, or start it again"))?;
                false
            }
            Asked::Nobody => self.examine_without_node(patient, &data_dir)?,
        };
        host::routes(patient.settings, somebody_answers).iter().try_for_each(|it| self.report(it))
    }

    /// Whether anybody beyond this machine's own doings answers.
    fn examine_node(&mut self, dir: &std::path::Path, result: &Value) -> Result<bool, Failure> {
        use serde::Deserialize as _;
        let Ok(status) = StatusReport::deserialize(result) else {
            let todo = crate::report::OTHER_VERSION;
            self.report(&Check::warning("node", "it is of another version", todo))?;
            return Ok(false);
        };
        self.report(&host::permissions(dir))?;
        let (checks, somebody_answers) = running::checks(&status);
        checks.iter().try_for_each(|it| self.report(it))?;
        Ok(somebody_answers)
    }

    fn examine_without_node(
        &mut self,
        patient: &Patient<'_>,
        data_dir: &std::path::Path,
    ) -> Result<bool, Failure> {
        let (check, profile) = host::open_profile(patient.global, data_dir);
        self.report(&check)?;
        self.report(&host::bind(patient.settings, profile.as_ref()))?;
        let Some(profile) = profile else { return Ok(false) };
        let (checks, somebody_answers) = trackers::checks(patient, &profile)?;
        checks.iter().try_for_each(|it| self.report(it))?;
        Ok(somebody_answers)
    }

    /// Prints a check and remembers how bad it is.
    pub(crate) fn report(&mut self, check: &Check) -> Result<(), Failure> {
        if let Verdict::Problem(exit) = check.verdict {
            self.exit = worse(self.exit, exit);
        }
        self.output.data(check.text(), &check.json())
    }

    /// What the program ends with.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }
}

/// What must be mended first: what is set wrong, then what fails on this machine, then the network.
fn worse(one: Exit, other: Exit) -> Exit {
    let weight = |exit: Exit| match exit {
        Exit::Configuration => 3,
        Exit::Done => 0,
        Exit::NotDelivered => 1,
        Exit::Failed
        | Exit::Usage
        | Exit::Untrusted
        | Exit::Limit
        | Exit::Internal
        | Exit::InUse
        | Exit::Interrupted => 2,
    };
    if weight(other) > weight(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_what_to_do_another() {
        let check = Check::problem("UDP", "no\x1b[2J answer", "open\nit", Exit::NotDelivered);
        assert_eq!(
            check.text(),
            "problem  UDP       no\u{fffd}[2J answer\n                   -> open⏎it"
        );
        assert_eq!(
            check.json(),
            json!({"check": "UDP", "verdict": "problem", "what": "no\x1b[2J answer", "do": "open\nit"})
        );
        assert_eq!(Check::ok("port", "4000").text(), "ok       port      4000");
    }

    #[test]
    fn what_must_be_mended_first_is_the_exit_code() {
        let network = Exit::NotDelivered;
        assert_eq!(worse(Exit::Done, network), network);
        assert_eq!(worse(network, Exit::Configuration), Exit::Configuration);
        assert_eq!(worse(Exit::Configuration, Exit::Failed), Exit::Configuration);
        assert_eq!(worse(network, Exit::Failed), Exit::Failed);
    }
}

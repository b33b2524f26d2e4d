//! Where lines come from and go to: a pipe, or a terminal with a prompt.

use std::io::{self, BufReader, IsTerminal as _, Write as _};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Event;
use super::lines::Lines;
use super::prompt::Prompt;
use crate::output;

/// What lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// One JSON-RPC object each.
    Json,
}

/// See the module; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    form: Form,
    prompt: Option<Arc<Prompt>>,
}

impl Front {
    /// A prompt where a person is on both sides and nothing speaks against it.
    pub(crate) fn choose(json: bool, plain: bool) -> Self {
        let form = if json { Form::Json } else { Form::Text };
        let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let prompt = (terminal && !json && !plain && !dumb).then(|| Arc::new(Prompt::new()));
        Self { form, prompt }
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// Whether a person sits in front of it.
    pub(crate) const fn is_prompt(&self) -> bool {
        self.prompt.is_some()
    }

    /// Prints one line of data.
    pub(crate) fn print(&self, line: &str) -> io::Result<()> {
        if let Some(prompt) = &self.prompt {
            return prompt.print(line);
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()
    }

    /// Tells the person something that is no data.
    pub(crate) fn talk(&self, line: &str) {
        match &self.prompt {
            // The prompt would be torn by anything that does not go through it.
            Some(prompt) => drop(prompt.print(&format!("! {line}"))),
            None => output::talk(format_args!("bitchat: {line}")),
        }
    }

    /// Reads lines on a thread until the input ends. Blocks there while nobody takes them.
    pub(super) fn read_into(&self, events: mpsc::Sender<Event>) {
        let prompt = self.prompt.clone();
        std::thread::spawn(move || {
            if let Some(prompt) = prompt {
                prompt.read(&events);
                return;
            }
            for line in Lines::new(BufReader::new(io::stdin().lock())) {
                if events.blocking_send(Event::Line(line)).is_err() {
                    return;
                }
            }
            let _ = events.blocking_send(Event::End);
        });
    }
}

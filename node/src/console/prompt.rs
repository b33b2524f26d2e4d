//! A prompt that stays whole while messages arrive (reedline, on the input's thread).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reedline::{
    ColumnarMenu, Completer, CompletionResult, Emacs, ExternalPrinter, KeyCode, KeyModifiers,
    MenuBuilder as _, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu,
    Signal, Span, Suggestion, default_emacs_keybindings,
};
use tokio::sync::mpsc;

use super::Event;
use super::grammar::{self, COMMANDS, Typed};
use crate::lines::LineError;

/// Lines that may wait to be printed above the prompt; more wait with the front.
const PRINTS_AHEAD: usize = 16;
/// Names offered for completion.
const NAMES_MAX: usize = 1024;

type Names = Arc<Mutex<BTreeSet<String>>>;

/// See the module.
pub(super) struct Prompt {
    printer: SyncSender<String>,
    /// Taken by the thread that reads.
    editor: Mutex<Option<Reedline>>,
    /// Whether nothing is typed any more: lines are printed without regard to the prompt.
    over: Mutex<bool>,
    stop: Arc<AtomicBool>,
    ended: (Mutex<bool>, Condvar),
    names: Names,
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prompt")
    }
}

impl Prompt {
    pub(super) fn new(color: bool) -> Self {
        let printer = ExternalPrinter::new(PRINTS_AHEAD);
        let sender = printer.sender();
        let (names, stop) = (Names::default(), Arc::new(AtomicBool::new(false)));
        let mut keys = default_emacs_keybindings();
        let complete = ReedlineEvent::UntilFound(vec![
            ReedlineEvent::Menu("words".into()),
            ReedlineEvent::MenuNext,
        ]);
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
        let menu = ColumnarMenu::default().with_name("words");
        let editor = Reedline::create()
            .with_external_printer(printer)
            .with_break_signal(Arc::clone(&stop))
            .with_completer(Box::new(Words(Arc::clone(&names))))
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
            .with_ansi_colors(color)
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .use_bracketed_paste(true);
        Self {
            printer: sender,
            editor: Mutex::new(Some(editor)),
            over: Mutex::new(false),
            stop,
            ended: (Mutex::new(false), Condvar::new()),
            names,
        }
    }

    /// Prints a line above the prompt; waits until there is room.
    pub(super) fn print(&self, line: String) {
        let over = lock(&self.over);
        if !*over && self.printer.send(line.clone()).is_ok() {
            return;
        }
        // The terminal is gone when this fails, and so is whoever would be told.
        let _ = writeln!(io::stdout().lock(), "{line}");
    }

    /// Offers a name for completion.
    pub(super) fn learn(&self, name: &str) {
        let mut names = lock(&self.names);
        if names.len() < NAMES_MAX {
            names.insert(name.to_owned());
        }
    }

    /// Reads lines until the person ends that, or [`Prompt::finish`] does.
    pub(super) fn read(&self, events: &mpsc::Sender<Event>) {
        let Some(mut editor) = lock(&self.editor).take() else { return };
        let last = loop {
            let event = match editor.read_line(&Mark("> ")) {
                // Or it would ask for one more line.
                Ok(Signal::Success(line)) if grammar::read(&line) == Typed::Quit => {
                    break Some(Event::Quit);
                }
                Ok(Signal::Success(line)) => Event::Line(Ok(line)),
                Ok(Signal::CtrlD) => break Some(Event::End),
                Ok(Signal::CtrlC) => break Some(Event::Quit),
                // Whoever stopped it knows.
                Ok(_) => break None,
                Err(error) => {
                    let error = LineError::Broken(error.to_string());
                    if events.blocking_send(Event::Line(Err(error))).is_err() {
                        break None;
                    }
                    break Some(Event::End);
                }
            };
            if events.blocking_send(event).is_err() {
                break None;
            }
        };
        self.leave(editor);
        if let Some(event) = last {
            // Nobody waits for it when the console is gone.
            let _ = events.blocking_send(event);
        }
    }

    /// Prints what waits for the prompt, and gives the terminal back.
    fn leave(&self, editor: Reedline) {
        self.stop.store(false, Ordering::Relaxed);
        let mut editor = editor.with_immediately_accept(true);
        // Each turn prints all that waits and returns at once. While somebody prints, the lock is
        // held until there is room.
        let mut print_all = || drop(editor.read_line(&Mark("")));
        loop {
            let over = self.over.try_lock();
            print_all();
            if let Ok(mut over) = over {
                *over = true;
                break;
            }
        }
        *lock(&self.ended.0) = true;
        self.ended.1.notify_all();
    }

    /// Ends the reading, and waits at most `timeout` until the terminal is as it was before.
    pub(super) fn finish(&self, timeout: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = lock(&self.ended.0);
        // After that time the terminal is what it is.
        let _ = self.ended.1.wait_timeout_while(ended, timeout, |ended| !*ended);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Completes commands at the beginning of a line, and names everywhere.
struct Words(Names);

impl Completer for Words {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let before = line.get(..pos).unwrap_or(line);
        let name = grammar::open_name(before);
        let (start, word) = name.unwrap_or_else(|| {
            let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
            (start, &before[start..])
        });
        let suggest = |value: String| Suggestion {
            value,
            span: Span::new(start, before.len()),
            append_whitespace: true,
            ..Suggestion::default()
        };
        let suggestions: Vec<_> = if start == 0 && word.starts_with('/') {
            let commands = COMMANDS.iter().map(|(command, ..)| (*command).to_owned());
            commands.filter(|command| command.starts_with(word)).map(suggest).collect()
        } else {
            let names = lock(&self.0);
            // Nobody is called such that completing the name at the beginning makes a command of it.
            let is_fit = |name: &&String| start > 0 || !name.starts_with('/');
            let found = names.iter().filter(|name| name.starts_with(word)).filter(is_fit);
            if name.is_some() {
                found.filter_map(|name| grammar::written(name)).map(suggest).collect()
            } else {
                found.cloned().map(suggest).collect()
            }
        };
        CompletionResult::fresh(suggestions)
    }
}

/// What stands before the line that is typed.
struct Mark(&'static str);

impl reedline::Prompt for Mark {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed(". ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("search {}: ", search.term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[(&str, usize)]) {
        let names = ["alice", "albert", "bob", "Bob B", "/quit"].map(str::to_owned);
        let mut words = Words(Arc::new(Mutex::new(names.into())));
        let result = words.complete(line, line.len());
        let found: Vec<_> =
            result.suggestions().iter().map(|s| (s.value.as_str(), s.span.start)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn commands_complete_at_the_beginning_and_names_anywhere() {
        check("/pe", &[("/peers", 0)]);
        check("/msg al", &[("albert", 5), ("alice", 5)]);
        check("hé bo", &[("bob", 4)]);
        check("say /pe", &[]);
        check("hello Bo", &[("Bob B", 6)]);
    }

    #[test]
    fn a_name_is_never_completed_to_a_command() {
        check("", &[("Bob B", 0), ("albert", 0), ("alice", 0), ("bob", 0)]);
        check("/q", &[("/quit", 0)]);
        check("/block /q", &[("/quit", 7)]);
        check("/verify al", &[("albert", 8), ("alice", 8)]);
    }

    #[test]
    fn a_name_with_a_space_is_quoted_where_it_says_who_is_meant() {
        check("/msg Bo", &[("\"Bob B\"", 5)]);
        check("/msg \"Bo", &[("\"Bob B\"", 5)]);
        check("/msg \"Bob ", &[("\"Bob B\"", 5)]);
        check("/msg \"Bob B\" al", &[("albert", 13), ("alice", 13)]);
        check("/msg  bo", &[("bob", 6)]);
    }
}

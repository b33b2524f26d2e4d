//! A prompt that stays whole while messages arrive (reedline, on the input's thread).

use std::borrow::Cow;
use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};

use reedline::{
    ColumnarMenu, DefaultCompleter, Emacs, ExternalPrinter, KeyCode, KeyModifiers,
    MenuBuilder as _, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu,
    Signal, default_emacs_keybindings,
};
use tokio::sync::mpsc;

use super::Event;
use super::grammar::COMMANDS;

/// Lines that may wait to be printed above the prompt; more block whoever prints.
const PRINTS_AHEAD: usize = 1024;

/// See the module.
pub(super) struct Prompt {
    printer: SyncSender<String>,
    /// Taken by the thread that reads.
    editor: Mutex<Option<Reedline>>,
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prompt")
    }
}

impl Prompt {
    pub(super) fn new() -> Self {
        let printer = ExternalPrinter::new(PRINTS_AHEAD);
        let sender = printer.sender();
        let mut completer = DefaultCompleter::with_inclusions(&['/']);
        completer.insert(COMMANDS.iter().map(|(command, ..)| (*command).to_owned()).collect());
        let mut keys = default_emacs_keybindings();
        let complete = ReedlineEvent::UntilFound(vec![
            ReedlineEvent::Menu("commands".into()),
            ReedlineEvent::MenuNext,
        ]);
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
        let menu = ColumnarMenu::default().with_name("commands");
        let editor = Reedline::create()
            .with_external_printer(printer)
            .with_completer(Box::new(completer))
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .use_bracketed_paste(true);
        Self { printer: sender, editor: Mutex::new(Some(editor)) }
    }

    pub(super) fn print(&self, line: &str) -> io::Result<()> {
        self.printer.send(line.to_owned()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    pub(super) fn read(&self, events: &mpsc::Sender<Event>) {
        let editor = self.editor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut editor) = editor else { return };
        loop {
            let event = match editor.read_line(&Mark) {
                Ok(Signal::Success(line)) => Event::Line(Ok(line)),
                Ok(Signal::CtrlD) => Event::End,
                Ok(_) => Event::Quit,
                Err(error) => Event::Line(Err(super::lines::LineError::Broken(error.to_string()))),
            };
            let last = !matches!(event, Event::Line(Ok(_)));
            if events.blocking_send(event).is_err() || last {
                return;
            }
        }
    }
}

/// What stands before the line that is typed.
struct Mark;

impl reedline::Prompt for Mark {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed(". ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("search {}: ", search.term))
    }
}

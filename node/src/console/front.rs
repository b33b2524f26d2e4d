//! Where lines come from and go to: a pipe, or a terminal with a prompt.
//!
//! Reading and writing wait on threads of their own. Whoever is slow to read what we print, or does
//! not read it at all, never stops the node: what does not fit into the queue is dropped and
//! counted, and the person is told.

use std::io::{self, BufRead, BufReader, IsTerminal as _, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as sync};
use std::time::{Duration, Instant};

use bitchat_protocol::text::escape_for_terminal;
use tokio::sync::{mpsc, watch};

use super::Event;
use super::prompt::Prompt;
use crate::lines::Lines;

/// Pieces waiting to be printed.
const QUEUE_MAX: usize = 1024;
/// Of these, kept free for answers: while less is free, nothing more is read. More than one command
/// prints: a piece for each channel.
const ANSWERS_KEPT: usize = 300;
/// How long the last pieces may take at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// One JSON-RPC object each.
    Json,
}

/// A piece to be printed.
#[derive(Debug)]
enum Piece {
    /// On standard output.
    Data(String),
    /// On standard error.
    Talk(String),
    /// Answered when all before it is written.
    Flush(sync::Sender<()>),
}

/// Why nothing can be printed on standard output any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputEnd {
    /// Its reader has gone.
    Left,
    /// It cannot be written.
    Broken,
}

type Source = Box<dyn BufRead + Send>;

/// See the module; clones share it.
#[derive(Clone)]
pub(crate) struct Front {
    form: Form,
    pieces: mpsc::Sender<Piece>,
    lost: Arc<AtomicU64>,
    end: watch::Receiver<Option<OutputEnd>>,
    prompt: Option<Arc<Prompt>>,
    source: Arc<Mutex<Option<Source>>>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("form", &self.form).finish_non_exhaustive()
    }
}

impl Front {
    /// A prompt where a person is on both sides and nothing speaks against it.
    pub(crate) fn choose(json: bool, plain: bool, color: bool) -> Self {
        let form = if json { Form::Json } else { Form::Text };
        let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if terminal && !json && !plain && !dumb {
            return Self::with_prompt(Arc::new(Prompt::new(color)));
        }
        let source = Box::new(BufReader::new(io::stdin()));
        Self::over(form, source, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Reads lines from `source`, prints data to `out` and the rest to `talk`.
    pub(crate) fn over(
        form: Form,
        source: Source,
        mut out: Box<dyn Write + Send>,
        mut talk: Box<dyn Write + Send>,
    ) -> Self {
        let (front, pieces, end) = Self::new(form, None, Some(source));
        std::thread::spawn(move || print_pieces(pieces, &mut *out, &mut *talk, &end));
        front
    }

    fn with_prompt(prompt: Arc<Prompt>) -> Self {
        let (front, mut pieces, end) = Self::new(Form::Text, Some(Arc::clone(&prompt)), None);
        std::thread::spawn(move || {
            let _never = end;
            while let Some(piece) = pieces.blocking_recv() {
                match piece {
                    Piece::Data(line) => prompt.print(line),
                    // The prompt would be torn by anything that does not go through it.
                    Piece::Talk(line) => prompt.print(format!("! {line}")),
                    Piece::Flush(done) => drop(done.send(())),
                }
            }
        });
        front
    }

    fn new(
        form: Form,
        prompt: Option<Arc<Prompt>>,
        source: Option<Source>,
    ) -> (Self, mpsc::Receiver<Piece>, watch::Sender<Option<OutputEnd>>) {
        let (pieces, receiver) = mpsc::channel(QUEUE_MAX);
        let (sender, end) = watch::channel(None);
        let (lost, source) = (Arc::default(), Arc::new(Mutex::new(source)));
        (Self { form, pieces, lost, end, prompt, source }, receiver, sender)
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// Whether a person sits in front of it.
    pub(crate) const fn is_prompt(&self) -> bool {
        self.prompt.is_some()
    }

    /// Prints one line of data, or several, that answer what was asked.
    pub(crate) fn answer(&self, lines: String) {
        self.put(Piece::Data(lines));
    }

    /// Prints one line of data that nobody has asked for.
    pub(crate) fn notify(&self, line: String) {
        if self.has_room() {
            self.put(Piece::Data(line));
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells the person something that is no data, in one line, whatever it is made of.
    pub(crate) fn talk(&self, line: &str) {
        self.put(Piece::Talk(self.talked(&escape_for_terminal(line))));
    }

    fn talked(&self, line: &str) -> String {
        if self.is_prompt() { line.to_owned() } else { format!("bitchat: {line}") }
    }

    fn put(&self, piece: Piece) {
        self.tell_lost();
        if self.pieces.try_send(piece).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells how many lines are lost, if there is room for that; whether there is nothing left to
    /// tell.
    fn tell_lost(&self) -> bool {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return true;
        }
        let text = format!("{lost} lines are not shown: the output is read too slowly");
        let told = self.pieces.try_send(Piece::Talk(self.talked(&text))).is_ok();
        if !told {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        told
    }

    /// Offers a name for completion at the prompt.
    pub(crate) fn learn(&self, name: &str) {
        if let Some(prompt) = &self.prompt {
            prompt.learn(name);
        }
    }

    /// Whether there is room for a line that nobody has asked for.
    pub(super) fn has_room(&self) -> bool {
        self.pieces.capacity() > ANSWERS_KEPT
    }

    /// Resolves when there is room for what the next line may be answered with.
    pub(super) async fn room(&self) {
        self.room_for(0).await;
    }

    /// The same, when so many lines that nobody has asked for find room, too.
    pub(super) async fn room_for(&self, lines: usize) {
        // Without a reader there is no room ever, and no need of it.
        drop(self.pieces.reserve_many(ANSWERS_KEPT + lines).await);
    }

    /// Resolves when nothing can be printed on standard output any more.
    pub(super) async fn closed(&self) -> OutputEnd {
        match self.end.clone().wait_for(Option::is_some).await.map(|end| *end) {
            Ok(Some(end)) => end,
            // Who prints has gone.
            Ok(None) | Err(_) => OutputEnd::Left,
        }
    }

    /// Reads lines on a thread until the input ends. Blocks there while nobody takes them.
    pub(super) fn read_into(&self, events: mpsc::Sender<Event>) {
        let prompt = self.prompt.clone();
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::thread::spawn(move || {
            if let Some(prompt) = prompt {
                prompt.read(&events);
            } else if let Some(source) = source {
                for line in Lines::new(source) {
                    if events.blocking_send(Event::Line(line)).is_err() {
                        return;
                    }
                }
                // Nobody waits for it when the console is gone.
                let _ = events.blocking_send(Event::End);
            }
        });
    }

    /// Gives the terminal back and waits, for a short time, until all is printed. Not to be called
    /// by an actor.
    pub(crate) fn finish(&self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        if let Some(prompt) = &self.prompt {
            prompt.finish(FLUSH_TIMEOUT);
        }
        let (done, flushed) = sync::channel();
        let mut flush = Piece::Flush(done);
        loop {
            if self.tell_lost() {
                match self.pieces.try_send(flush) {
                    Err(mpsc::error::TrySendError::Full(back)) => flush = back,
                    Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => break,
                }
            }
            if Instant::now() >= deadline || self.pieces.is_closed() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // Either it is flushed, or the printer has gone, or it takes too long.
        let _ = flushed.recv_timeout(left);
    }
}

/// Prints until nobody can ask for it any more; once standard output takes no more, only what is
/// told on standard error.
fn print_pieces(
    mut pieces: mpsc::Receiver<Piece>,
    out: &mut dyn Write,
    talk: &mut dyn Write,
    end: &watch::Sender<Option<OutputEnd>>,
) {
    let mut out = Some(io::BufWriter::new(out));
    while let Some(piece) = pieces.blocking_recv() {
        let mut written = match (&piece, &mut out) {
            (Piece::Data(line), Some(out)) => writeln!(out, "{line}"),
            (Piece::Talk(line), _) => {
                // Nobody is left to tell when this fails.
                let _ = writeln!(talk, "{line}");
                Ok(())
            }
            (Piece::Data(_), None) | (Piece::Flush(_), _) => Ok(()),
        };
        if let Some(out) = &mut out
            && (pieces.is_empty() || matches!(piece, Piece::Flush(_)))
        {
            written = written.and_then(|()| out.flush());
        }
        if let Err(error) = written {
            let how = if error.kind() == io::ErrorKind::BrokenPipe {
                OutputEnd::Left
            } else {
                let _ = writeln!(talk, "bitchat: cannot write to standard output: {error}");
                OutputEnd::Broken
            };
            // Its destructor would try once more.
            drop(out.take().map(io::BufWriter::into_parts));
            end.send_replace(Some(how));
        }
        if let Piece::Flush(done) = piece {
            // Whoever asked may have given up.
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one line and then nothing until it is let go.
    struct Stalled(sync::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Let go, or for ever free once the test has ended.
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_stops_nobody_and_is_told_what_was_lost() {
        let (go, stalled) = sync::channel();
        let (out, talk) = (Arc::default(), Arc::new(Mutex::new(Vec::new())));
        let silent: sync::Receiver<()> = sync::channel().1;
        let front = Front::over(
            Form::Text,
            Box::new(io::empty()),
            Box::new(Stalled(stalled, Arc::clone(&out))),
            Box::new(Stalled(silent, Arc::clone(&talk))),
        );
        for n in 0..5000 {
            front.notify(format!("{n}"));
        }
        // There is still room for answers.
        front.answer("answer".into());
        drop(go);
        front.finish();
        let out = String::from_utf8(out.lock().unwrap().clone()).unwrap();
        assert!(out.starts_with("0\n1\n2\n") && out.ends_with("answer\n"), "{out}");
        let shown = out.lines().count() - 1;
        let told = String::from_utf8(talk.lock().unwrap().clone()).unwrap();
        let count = |line: &str| line.split(' ').nth(1)?.parse::<usize>().ok();
        assert_eq!(told.lines().filter_map(count).sum::<usize>(), 5000 - shown, "{told}");
    }

    /// Fails in one way.
    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[actix_rt::test]
    async fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is_one() {
        let kinds = [
            (io::ErrorKind::BrokenPipe, OutputEnd::Left),
            (io::ErrorKind::StorageFull, OutputEnd::Broken),
        ];
        for (kind, end) in kinds {
            let out = Box::new(Failing(kind));
            let (told, free) = (Arc::default(), sync::channel().1);
            let talk = Box::new(Stalled(free, Arc::clone(&told)));
            let front = Front::over(Form::Text, Box::new(io::empty()), out, talk);
            front.answer("line".into());
            assert_eq!(front.closed().await, end);
            front.talk("what nobody has\u{1b}[2J\n");
            front.finish();
            let told = String::from_utf8(told.lock().unwrap().clone()).unwrap();
            assert!(
                told.contains("bitchat: what nobody has") && !told.contains('\u{1b}'),
                "{told}"
            );
        }
    }
}

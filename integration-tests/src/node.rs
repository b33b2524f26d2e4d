//! One `bitchat` in a process of its own, driven over its standard input and output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A profile in an empty home directory, and the program to run in it.
#[derive(Debug)]
pub struct Home {
    program: PathBuf,
    directory: TempDir,
    settings: Vec<(String, String)>,
    namespace: Option<String>,
}

impl Home {
    /// Makes an empty home for `program`.
    ///
    /// # Panics
    ///
    /// When there is no room for a temporary directory.
    #[must_use]
    pub fn new(program: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut home = Self {
            program: PathBuf::from(program),
            directory,
            settings: Vec::new(),
            namespace: None,
        };
        // The nodes of other stories are on the same network.
        home.set("lan.enabled", "false");
        home.set("dht.enabled", "false");
        home
    }

    /// Sets what holds unless the arguments say otherwise.
    pub fn set(&mut self, key: &str, value: &str) {
        let name = format!("BITCHAT__{}", key.replace('.', "__").to_uppercase());
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
    }

    /// Runs the program in a network namespace from now on.
    pub fn move_to(&mut self, namespace: &str) {
        self.namespace = Some(namespace.to_owned());
    }

    /// Has the calendar clock of whatever is started from now on so many seconds ahead.
    pub fn set_clock_ahead(&mut self, seconds: i64) {
        let name = "BITCHAT_TESTS_SECONDS_AHEAD";
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), seconds.to_string()));
    }

    /// Where this home is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the program keeps the profiles of this home.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.path().join(".local/share/bitchat")
    }

    /// The program with these arguments, isolated from the user's own settings and profiles.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(&self.program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&self.program);
                command
            }
        };
        command
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RUST_BACKTRACE", "0")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end with `input` on standard input.
    ///
    /// # Panics
    ///
    /// When the program cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(arguments).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // The program may end without reading all.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("our own child");
        writer.join().expect("writing does not panic");
        output
    }

    /// Runs to the end and returns standard output, which must come with exit code 0.
    ///
    /// # Panics
    ///
    /// When the program fails.
    #[must_use]
    pub fn must_run(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, b"");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} ended with {}: {talk}", output.status);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs to the end, which must come with exit code 0.
    ///
    /// # Panics
    ///
    /// When the program fails.
    pub fn must_run_quietly(&self, arguments: &[&str]) {
        let _ = self.must_run(arguments);
    }

    /// Starts `chat --json` in `channels` and leaves it running.
    ///
    /// # Panics
    ///
    /// When the program cannot be started.
    #[must_use]
    pub fn chat(&self, arguments: &[&str]) -> Chat {
        let mut all = vec!["--json", "chat"];
        all.extend(arguments);
        let mut child = self.command(&all).spawn().expect("the program starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let (lines_out, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines_out.send(line).is_err() {
                    break;
                }
            }
        });
        let (talk_out, talk) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if talk_out.send(line).is_err() {
                    break;
                }
            }
        });
        let (seen, said) = (Vec::new(), Vec::new());
        Chat { child, stdin: Some(stdin), lines, talk, seen, said, next_id: 1 }
    }
}

/// A running `bitchat --json chat`; killed when dropped.
#[derive(Debug)]
pub struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    talk: Receiver<String>,
    seen: Vec<Value>,
    said: Vec<String>,
    next_id: u64,
}

impl Chat {
    /// Sends a request; its number.
    ///
    /// # Panics
    ///
    /// When the program no longer reads.
    pub fn request(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let line =
            serde_json::json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.write_line(&line.to_string());
        id
    }

    /// Writes one raw line.
    ///
    /// # Panics
    ///
    /// When the program no longer reads.
    pub fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("input is still open");
        writeln!(stdin, "{line}").expect("the program reads");
        stdin.flush().expect("the program reads");
    }

    /// Sends a request and waits for its result.
    ///
    /// # Panics
    ///
    /// When the answer is an error or does not come within `timeout`.
    pub fn ask(&mut self, method: &str, params: Value, timeout: Duration) -> Value {
        let id = self.request(method, params);
        let answer = self.wait_for(timeout, |line| line["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Waits for a line, among those already seen or to come, that `wanted` accepts.
    ///
    /// # Panics
    ///
    /// When none comes within `timeout`.
    pub fn wait_for(&mut self, timeout: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        self.look_for(timeout, wanted)
            .unwrap_or_else(|| panic!("nothing of the kind within {timeout:?}; {}", self.story()))
    }

    /// Waits for a line, among those already seen or to come, that `wanted` accepts; `None` when
    /// none comes within `timeout`.
    pub fn look_for(
        &mut self,
        timeout: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        let began = Instant::now();
        if let Some(line) = self.seen.iter().find(|line| wanted(line)) {
            return Some(line.clone());
        }
        loop {
            let line = self.next_line(timeout.saturating_sub(began.elapsed()))?;
            if wanted(&line) {
                return Some(line);
            }
        }
    }

    /// Waits for a line on standard error, among those already said or to come, that holds all of
    /// `words`.
    ///
    /// # Panics
    ///
    /// When none comes within `timeout`.
    pub fn wait_for_talk(&mut self, timeout: Duration, words: &[&str]) {
        let began = Instant::now();
        let wanted = |line: &String| words.iter().all(|word| line.contains(word));
        while !self.said().iter().any(wanted) {
            match self.talk.recv_timeout(timeout.saturating_sub(began.elapsed())) {
                Ok(line) => self.said.push(line),
                Err(_) => panic!("nobody said {words:?} within {timeout:?}; {}", self.story()),
            }
        }
    }

    /// The lines on standard error so far.
    pub fn said(&mut self) -> &[String] {
        self.said.extend(self.talk.try_iter());
        &self.said
    }

    /// Waits until `count` lines seen are accepted by `wanted`.
    ///
    /// # Panics
    ///
    /// When they do not come within `timeout`.
    pub fn wait_for_count(
        &mut self,
        count: usize,
        timeout: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) {
        let began = Instant::now();
        while self.count(&wanted) < count {
            let left = timeout.saturating_sub(began.elapsed());
            if self.next_line(left).is_none() {
                let (have, story) = (self.count(&wanted), self.story());
                panic!("{have} of {count} within {timeout:?}; {story}");
            }
        }
    }

    /// Lines seen so far that `wanted` accepts.
    pub fn count(&self, wanted: impl Fn(&Value) -> bool) -> usize {
        self.seen.iter().filter(|line| wanted(line)).count()
    }

    /// All lines seen so far, oldest first.
    #[must_use]
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Takes in what comes during `time`: to see that something does *not* come.
    pub fn listen(&mut self, time: Duration) {
        let began = Instant::now();
        while self.next_line(time.saturating_sub(began.elapsed())).is_some() {}
    }

    /// Ends standard input and waits for the exit code.
    ///
    /// # Panics
    ///
    /// When the program does not end within `timeout`.
    pub fn end_input(&mut self, timeout: Duration) -> Option<i32> {
        self.close_input();
        self.exit_code(timeout)
    }

    /// Ends standard input, and waits for nothing.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for the exit code.
    ///
    /// # Panics
    ///
    /// When the program does not end within `timeout`.
    pub fn exit_code(&mut self, timeout: Duration) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status.code();
            }
            assert!(began.elapsed() < timeout, "still running; {}", self.story());
            self.listen(Duration::from_millis(20));
        }
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process at once, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn next_line(&mut self, timeout: Duration) -> Option<Value> {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => {
                let value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("not one JSON object: {line}: {error}"));
                self.seen.push(value);
                self.seen.last().cloned()
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(timeout.min(Duration::from_millis(20)));
                None
            }
        }
    }

    /// What was seen and said, for the message of a failure.
    #[must_use]
    pub fn story(&self) -> String {
        let lines: Vec<String> = self.seen.iter().map(Value::to_string).collect();
        let talk: Vec<String> = self.said.iter().cloned().chain(self.talk.try_iter()).collect();
        format!("seen:\n{}\nsaid on stderr:\n{}", lines.join("\n"), talk.join("\n"))
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A program that talks to a running node at its control socket, and a node without a console.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::Home;

/// A `bitchat run`; killed when dropped.
#[derive(Debug)]
pub struct Daemon(Child);

impl Daemon {
    /// Starts it in the profile of `home`, and waits for nothing.
    ///
    /// # Panics
    ///
    /// When the program cannot be started.
    #[must_use]
    pub fn begin(home: &Home) -> Self {
        let mut command = home.command(&["run"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the program starts"))
    }

    /// Starts it in the profile of `home`, and waits until it can be asked.
    ///
    /// # Panics
    ///
    /// When it cannot be asked within `timeout`.
    #[must_use]
    pub fn start(home: &Home, timeout: Duration) -> Self {
        let daemon = Self::begin(home);
        drop(Client::connect(home, timeout));
        daemon
    }

    /// The number of the process; in a namespace, that of the program there, too.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to leave, as a service manager does, and waits until it has.
    ///
    /// # Panics
    ///
    /// When it is gone already.
    pub fn stop(&mut self) {
        let kill = format!("kill -TERM {}", self.0.id());
        let killed = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(killed.success(), "it runs");
        let _ = self.0.wait();
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A connection to a control socket.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    timeout: Duration,
    seen: Vec<Value>,
    next_id: u64,
}

impl Client {
    /// Connects as soon as the node of `home` takes clients; nothing is waited for longer than
    /// `timeout` from then on, either.
    ///
    /// # Panics
    ///
    /// When it takes none within `timeout`.
    #[must_use]
    pub fn connect(home: &Home, timeout: Duration) -> Self {
        let path = home.data_dir().join("default/control");
        let began = Instant::now();
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(error) => assert!(began.elapsed() < timeout, "no node to be asked: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { stream: BufReader::new(stream), timeout, seen: Vec::new(), next_id: 1 }
    }

    /// Sends a request and waits for its result.
    ///
    /// # Panics
    ///
    /// When the answer is an error or does not come.
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        let answer = self.try_ask(method, params);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn try_ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        writeln!(self.stream.get_mut(), "{line}").expect("the node reads");
        self.wait_for(|line| line["id"] == id)
    }

    /// Waits for a line, among those already seen or to come, that `wanted` accepts.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(line) = self.seen.iter().find(|line| wanted(line)) {
            return line.clone();
        }
        let began = Instant::now();
        loop {
            let left = self.timeout.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
            self.stream.get_ref().set_read_timeout(Some(left)).expect("not zero");
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Ok(0) => panic!("the node has closed the connection; seen: {:?}", self.seen),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("nothing of the kind; seen: {:?}", self.seen)
                }
                Err(error) => panic!("{error}"),
            }
            let line: Value = serde_json::from_str(&line).expect("one JSON object a line");
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Lines seen so far that `wanted` accepts.
    pub fn count(&self, wanted: impl Fn(&Value) -> bool) -> usize {
        self.seen.iter().filter(|line| wanted(line)).count()
    }
}

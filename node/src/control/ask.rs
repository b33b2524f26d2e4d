//! The other side: a command that asks the node which serves a profile.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::socket::Place;
use crate::rpc::Refusal;

/// How long to wait for the node.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer. More than a node in as many channels as it can be in, with as many trackers
/// as they can have, ever gives.
pub(super) const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    /// The result.
    Answered(Value),
    /// The node does not do it, in its own words.
    Refused(Refusal),
    /// No node serves the profile.
    Nobody,
    /// A node is there and cannot be asked.
    Failed(String),
}

/// A connection to the node that serves a profile.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
    next_id: u64,
}

impl Connection {
    /// Connects to the node that serves the profile in `profile`; `None`: there is none.
    ///
    /// # Errors
    ///
    /// Why a node that is there cannot be connected to, in words.
    pub(crate) fn to(profile: &Path) -> Result<Option<Self>, String> {
        let Some(path) = Place::of_node(profile) else { return Ok(None) };
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Some(Self { stream: BufReader::new(stream), next_id: 1 })),
            // Left behind by a node that was killed.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) =>
            {
                Ok(None)
            }
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Asked {
        match self.exchange(method, params) {
            Ok(answer) => read(&answer),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Asked::Failed("it did not answer in time; try again".into())
            }
            Err(error) => Asked::Failed(error.to_string()),
        }
    }

    /// The socket, where nothing was asked that is not answered.
    pub(crate) fn into_stream(self) -> UnixStream {
        self.stream.into_inner()
    }

    fn exchange(&mut self, method: &str, params: &Value) -> io::Result<String> {
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut answer = String::new();
        (&mut self.stream).take(ANSWER_BYTES_MAX).read_line(&mut answer)?;
        Ok(answer)
    }
}

/// Asks the node that serves the profile in `profile`.
pub(crate) fn ask(profile: &Path, method: &str, params: &Value) -> Asked {
    match Connection::to(profile) {
        Ok(Some(mut node)) => node.ask(method, params),
        Ok(None) => Asked::Nobody,
        Err(text) => Asked::Failed(text),
    }
}

fn read(answer: &str) -> Asked {
    let Ok(mut answer) = serde_json::from_str::<Value>(answer) else {
        return Asked::Failed("it has gone, or is no node of this kind".into());
    };
    if let Some(error) = answer.get("error") {
        return Asked::Refused(Refusal::from_json(error));
    }
    Asked::Answered(answer.get_mut("result").map(Value::take).unwrap_or_default())
}

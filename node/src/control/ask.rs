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
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

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

/// Asks the node that serves the profile in `profile`.
pub(crate) fn ask(profile: &Path, method: &str, params: &Value) -> Asked {
    let Some(path) = Place::of_node(profile) else { return Asked::Nobody };
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        // Left behind by a node that was killed.
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) =>
        {
            return Asked::Nobody;
        }
        Err(error) => return Asked::Failed(format!("{}: {error}", path.display())),
    };
    match exchange(stream, method, params) {
        Ok(answer) => read(&answer),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Asked::Failed("it did not answer in time; try again".into())
        }
        Err(error) => Asked::Failed(error.to_string()),
    }
}

fn exchange(mut stream: UnixStream, method: &str, params: &Value) -> io::Result<String> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut answer)?;
    Ok(answer)
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

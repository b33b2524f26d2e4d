//! The other side for somebody who stays: a node in another process that does what is asked of it and
//! tells what happens, over one connection.
//!
//! What it tells waits in a queue; while that is full, nothing more is read, and the node leaves a
//! gap. Answers are waited for as long as the connection lasts.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use bitchat_actors::chat_desk::Notice;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::ask::ANSWER_BYTES_MAX;
use crate::methods::notices;
use crate::rpc::{Lack, Refusal};

/// Notices read ahead.
const TOLD_AHEAD: usize = 256;
/// Requests waiting to be written; whoever asks waits for room.
const ASKED_AHEAD: usize = 16;

type Answer = Result<Value, Refusal>;

/// A request, and who waits for its answer.
struct Asked {
    method: String,
    params: Value,
    answer: oneshot::Sender<Answer>,
}

/// What comes from the node, in the order in which it said it.
enum Heard {
    Notice(Notice, u64),
    Answer(oneshot::Sender<Answer>, Answer),
}

/// See the module; clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    asked: mpsc::Sender<Asked>,
    heard: Arc<Mutex<mpsc::Receiver<Heard>>>,
}

impl Remote {
    /// Goes on with a connection on which no answer is owed. The system must be running.
    ///
    /// # Errors
    ///
    /// When the system does not take the socket.
    pub(crate) fn over(stream: StdStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        let (asked, requests) = mpsc::channel(ASKED_AHEAD);
        let (tell, heard) = mpsc::channel(TOLD_AHEAD);
        actix_rt::spawn(serve(reader, writer, requests, tell));
        Ok(Self { asked, heard: Arc::new(Mutex::new(heard)) })
    }

    /// Asks, and waits for the answer; what the node tells meanwhile is not heard.
    pub(crate) async fn call_alone(&self, method: &str, params: Value) -> Answer {
        let mut call = std::pin::pin!(self.call(method, params));
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return answer,
                told = self.told() => if told.is_none() { return call.await },
            }
        }
    }

    /// Asks, and waits for the answer, which comes after all that [`Remote::told`] has to tell
    /// before it: somebody must listen there.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Answer {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { method: method.to_owned(), params, answer };
        self.asked.send(asked).await.map_err(|_| Refusal::now("the node has ended"))?;
        let unknown = "the node has ended, and it is not known whether this was done";
        answered.await.map_err(|_| Refusal::now(unknown).lacking(Lack::Answer))?
    }

    /// The next thing it tells, and its number; `None` when it has ended.
    pub(crate) async fn told(&self) -> Option<(Notice, u64)> {
        loop {
            match self.heard.lock().await.recv().await? {
                Heard::Notice(notice, number) => return Some((notice, number)),
                // Whoever asked may have been started again since.
                Heard::Answer(asker, answer) => drop(asker.send(answer)),
            }
        }
    }
}

/// Writes requests and hands on what comes, until either side is gone.
async fn serve(
    reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    mut requests: mpsc::Receiver<Asked>,
    tell: mpsc::Sender<Heard>,
) {
    let mut waiting: BTreeMap<u64, oneshot::Sender<Answer>> = BTreeMap::new();
    let (lines_out, mut lines) = mpsc::channel(1);
    actix_rt::spawn(read_lines(reader, lines_out));
    let mut next_id = 1;
    loop {
        tokio::select! {
            asked = requests.recv() => {
                let Some(Asked { method, params, answer }) = asked else { return };
                let request =
                    json!({"jsonrpc": "2.0", "id": next_id, "method": method, "params": params});
                waiting.insert(next_id, answer);
                next_id += 1;
                if writer.write_all(format!("{request}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
            line = lines.recv() => {
                let Some(mut line) = line else { return };
                let heard = if let Some((notice, number)) = notices::read(&line) {
                    Heard::Notice(notice, number)
                } else if let Some(asker) = line["id"].as_u64().and_then(|id| waiting.remove(&id)) {
                    let answer = match line.get("error") {
                        Some(error) => Err(Refusal::from_json(error)),
                        None => Ok(line["result"].take()),
                    };
                    Heard::Answer(asker, answer)
                } else {
                    continue;
                };
                if tell.send(heard).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Reads what the node says, a JSON value a line, until it has ended or says something else.
async fn read_lines(reader: OwnedReadHalf, lines: mpsc::Sender<Value>) {
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        let read = (&mut reader).take(ANSWER_BYTES_MAX).read_line(&mut line).await;
        let value = match read {
            Ok(1..) => serde_json::from_str(&line),
            Ok(0) | Err(_) => return,
        };
        let Ok(value) = value else { return };
        if lines.send(value).await.is_err() {
            return;
        }
    }
}

//! The connection of one client: lines in, answers and notifications out, all of it bounded.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::audience::{Audience, Hearing, Told};
use crate::exit::Exit;
use crate::lines::{Cutter, LineError};
use crate::methods::notices::{self, Sequence};
use crate::methods::{self, Methods};
use crate::rpc::{self, Lack, Refusal, Request};

/// Time from one whole line to the next, of a client that has not subscribed. Longer: clients that
/// do nothing keep others out.
pub(super) const LINE_TIMEOUT: Duration = Duration::from_secs(60);

/// Time in which a client must have taken a line, or else it is left: the node waits for nobody.
pub(super) const TAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the node may take to answer; a part of it may be about to be started again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is told whoever is not answered in that time.
const LATE: &str = "the node is busy, and it is not known whether this was done; ask once more, and \
                    say again under the same key what was to be said";

/// Bytes read at once.
const READ_BYTES: usize = 8 * 1024;

/// Those of this connection.
const METHODS: [&str; 2] = ["subscribe", "help"];

/// What there is of one client beside its connection.
pub(super) struct Client {
    methods: Methods,
    audience: Rc<RefCell<Audience>>,
    sequence: Sequence,
    /// What it is told, once it has subscribed.
    told: Option<Hearing>,
}

/// What is to be done next for a client.
enum Next {
    Line(Result<String, LineError>),
    Notice(Told),
    Leave,
}

impl Client {
    pub(super) fn new(methods: Methods, audience: Rc<RefCell<Audience>>) -> Self {
        Self { methods, audience, sequence: Sequence::default(), told: None }
    }

    /// Serves it until it leaves, is silent for too long, or does not take what it is sent.
    pub(super) async fn serve(mut self, stream: impl AsyncRead + AsyncWrite) {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::with_capacity(READ_BYTES, reader);
        let mut cutter = Cutter::default();
        let mut last_line = Instant::now();
        loop {
            let silent_at = last_line + LINE_TIMEOUT;
            let mut bytes = String::new();
            let line = match self.next(&mut reader, &mut cutter, silent_at).await {
                Next::Line(line) => {
                    let line = self.on_line(line).await;
                    last_line = Instant::now();
                    // What happened before the answer is told before it.
                    while let Some((number, notice)) =
                        self.told.as_mut().and_then(Hearing::next_now)
                    {
                        bytes += &(notices::notification(&notice, number) + "\n");
                    }
                    line
                }
                Next::Notice((number, notice)) => Some(notices::notification(&notice, number)),
                Next::Leave => return,
            };
            if let Some(line) = line {
                bytes += &(line + "\n");
            }
            if bytes.is_empty() {
                continue;
            }
            let taken = timeout(TAKE_TIMEOUT, writer.write_all(bytes.as_bytes())).await;
            if !matches!(taken, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Waits for a line or a notice. Whoever has subscribed may be silent.
    async fn next(
        &mut self,
        reader: &mut BufReader<impl AsyncRead + Unpin>,
        cutter: &mut Cutter,
        silent_at: Instant,
    ) -> Next {
        let line =
            |read: io::Result<Option<_>>| read.ok().flatten().map_or(Next::Leave, Next::Line);
        match &mut self.told {
            None => match timeout_at(silent_at, read(reader, cutter)).await {
                Ok(read) => line(read),
                Err(_) => Next::Leave,
            },
            Some(told) => tokio::select! {
                read = read(reader, cutter) => line(read),
                told = told.next() => told.map_or(Next::Leave, Next::Notice),
            },
        }
    }

    /// The answer to a line, if it wants one.
    async fn on_line(&mut self, line: Result<String, LineError>) -> Option<String> {
        let line = match line {
            Ok(line) => line,
            Err(error) => return Some(rpc::unreadable(&error.to_string())),
        };
        match rpc::read(&line) {
            Ok(None) => None,
            Ok(Some(request)) => {
                let late = Refusal::now(LATE).lacking(Lack::Answer);
                let answer = timeout(ANSWER_TIMEOUT, self.answer(&request)).await;
                request.asker.answer(&answer.unwrap_or(Err(late)))
            }
            Err((asker, refusal)) => asker.answer(&Err(refusal)),
        }
    }

    async fn answer(&mut self, Request { method, params, .. }: &Request) -> Result<Value, Refusal> {
        let all = || methods::names().chain(METHODS);
        match method.as_str() {
            "help" => Ok(json!({"methods": all().collect::<Vec<_>>()})),
            "subscribe" => {
                let wish = self.methods.open(None).await?.wish(params)?;
                // What waits of an earlier one goes with it, and leaves a gap.
                let channels = wish.to_json();
                let told = self.audience.borrow_mut().add(self.sequence.clone(), wish);
                self.told = Some(told);
                Ok(json!({"n": self.sequence.last(), "channels": channels}))
            }
            known if methods::names().any(|one| one == known) => {
                self.methods.call(known, params, None).await
            }
            unknown => Err(rpc::no_such_method(unknown, all())),
        }
    }
}

/// Reads up to the end of a line; what was read so far is not lost when it is dropped.
async fn read(
    reader: &mut BufReader<impl AsyncRead + Unpin>,
    cutter: &mut Cutter,
) -> io::Result<Option<Result<String, LineError>>> {
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(cutter.end());
        }
        let (used, line) = cutter.push(available);
        reader.consume(used);
        if line.is_some() {
            return Ok(line);
        }
    }
}

/// Tells a client that there are too many, as far as it takes that at once.
pub(super) fn send_away(stream: &UnixStream) {
    let refusal = Err(Refusal::with(Exit::Limit, "too many clients at once; try again later"));
    let text = rpc::Asker::NOBODY.answer(&refusal).unwrap_or_default() + "\n";
    // A connection that was just made has room for a line.
    let _ = stream.try_write(text.as_bytes());
}

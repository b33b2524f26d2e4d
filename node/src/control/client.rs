//! The connection of one client: lines in, answers out, one after the other, all of it bounded.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::lines::{Cutter, LineError};
use crate::rpc::{self, REFUSED};

/// Time from one whole line to the next. Longer: clients that do nothing keep others out.
pub(super) const LINE_TIMEOUT: Duration = Duration::from_secs(60);

/// Time in which a client must have taken an answer, or else it is left: the node waits for nobody.
pub(super) const TAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes read at once.
const READ_BYTES: usize = 8 * 1024;

/// Serves a client until it leaves, is silent for too long, or does not take its answers.
pub(super) async fn serve<F>(stream: impl AsyncRead + AsyncWrite, answer: impl Fn(String) -> F)
where
    F: Future<Output = Option<String>>,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(READ_BYTES, reader);
    let mut cutter = Cutter::default();
    while let Ok(Ok(Some(line))) = timeout(LINE_TIMEOUT, read(&mut reader, &mut cutter)).await {
        let reply = match line {
            Ok(line) => answer(line).await,
            Err(error) => Some(rpc::unreadable(&error.to_string())),
        };
        if let Some(reply) = reply {
            let bytes = reply + "\n";
            if !matches!(
                timeout(TAKE_TIMEOUT, writer.write_all(bytes.as_bytes())).await,
                Ok(Ok(()))
            ) {
                return;
            }
        }
    }
}

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
    let refusal = Err((REFUSED, "too many clients at once; try again later".to_owned()));
    let text = rpc::Asker::NOBODY.answer(&refusal).unwrap_or_default() + "\n";
    // A connection that was just made has room for a line.
    let _ = stream.try_write(text.as_bytes());
}

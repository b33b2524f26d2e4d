//! Reads the response of an HTTP tracker (RFC 9112) from whatever pieces arrive.
//!
//! ```text
//! Head --complete--> Length(n) | Chunks | ToEnd --complete--> Response
//!   \-- any status but 200: complete at once, the body does not matter
//! ```
//!
//! Accepted as the worn clients do: HTTP/1.0, bare line feeds, chunks, gzip, deflate, no length at all. Every
//! part has its bound before anything is kept: [`HTTP_HEAD_BYTES_MAX`], [`HTTP_BODY_BYTES_MAX`].

use std::io::Read as _;

use flate2::read::{GzDecoder, ZlibDecoder};

use super::headers::{Packing, content_length, is_chunked, packing, says_close, text, values};
use crate::limits::{HTTP_BODY_BYTES_MAX, HTTP_HEAD_BYTES_MAX};

/// Headers of one response.
const HEADERS_MAX: usize = 64;
/// Bytes of the line before a chunk: the size and extensions nobody uses.
const CHUNK_LINE_BYTES_MAX: usize = 128;

/// Why a response cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not HTTP/1.0 or HTTP/1.1.
    #[error("the response is not HTTP")]
    Malformed,
    /// The head is longer than [`HTTP_HEAD_BYTES_MAX`], or has too many headers.
    #[error("the head of the response is too long")]
    HeadTooLong,
    /// The body is longer than [`HTTP_BODY_BYTES_MAX`], compressed or not.
    #[error("the body of the response is longer than {HTTP_BODY_BYTES_MAX} bytes")]
    BodyTooLong,
    /// `Content-Length` is no number, or there are two that differ.
    #[error("the length of the response makes no sense")]
    Length,
    /// A transfer or content coding that was not asked for.
    #[error("the response comes in a coding that was not asked for")]
    Coding,
    /// The chunks or the compressed data are broken.
    #[error("the body of the response is damaged")]
    Damaged,
    /// The connection ended before the response did.
    #[error("the connection ended in the middle of the response")]
    Truncated,
}

/// A complete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Where a redirect leads, as it stands.
    pub location: Option<String>,
    /// The body, decoded; empty unless the status is 200.
    pub body: Vec<u8>,
}

impl Response {
    /// Where to ask instead, if the tracker says so.
    #[must_use]
    pub fn redirect(&self) -> Option<&str> {
        let redirects = matches!(self.status, 301 | 302 | 303 | 307 | 308);
        self.location.as_deref().filter(|_| redirects)
    }
}

/// What has become of a response so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Unfinished,
    /// The response stands; what follows does not matter.
    Complete(Response),
}

/// Puts one response together.
#[derive(Debug, Default)]
pub struct ResponseReader {
    /// Bytes not yet understood.
    pending: Vec<u8>,
    /// Bytes of interim responses (1xx) already skipped.
    skipped: usize,
    body: Option<Body>,
    /// The other side means to keep the connection open.
    persistent: bool,
    /// The response ended where it said it would.
    clean_end: bool,
}

/// How the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunks(Chunks),
    ToEnd,
}

/// Where in a chunked body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunks {
    Size,
    Data(usize),
    DataEnd,
    Trailer,
}

#[derive(Debug)]
struct Body {
    framing: Framing,
    packing: Packing,
    bytes: Vec<u8>,
}

impl ResponseReader {
    /// Starts before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    ///
    /// [`ResponseError`]; the connection is of no more use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Progress, ResponseError> {
        // A megabyte in one piece is not copied before the head has set its bound.
        for piece in bytes.chunks(HTTP_HEAD_BYTES_MAX) {
            self.pending.extend_from_slice(piece);
            if let Progress::Complete(response) = self.advance()? {
                return Ok(Progress::Complete(response));
            }
        }
        Ok(Progress::Unfinished)
    }

    /// Takes the end of the connection.
    ///
    /// # Errors
    ///
    /// [`ResponseError::Truncated`] unless the end of the connection was to end the body, and those
    /// of a damaged body.
    pub fn finish(self) -> Result<Response, ResponseError> {
        match self.body {
            Some(body) if body.framing == Framing::ToEnd => body.into_response(),
            Some(_) | None => Err(ResponseError::Truncated),
        }
    }

    /// Whether another request may follow on the connection, once the response is complete.
    #[must_use]
    pub const fn keeps_connection(&self) -> bool {
        self.persistent && self.clean_end
    }

    fn advance(&mut self) -> Result<Progress, ResponseError> {
        while self.body.is_none() {
            match self.read_head()? {
                Head::Partial => return Ok(Progress::Unfinished),
                Head::Interim => {}
                Head::Final(response) => return Ok(Progress::Complete(response)),
                Head::Body(body) => self.body = Some(body),
            }
        }
        self.read_body()
    }

    fn read_head(&mut self) -> Result<Head, ResponseError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let status = parsed.parse(&self.pending).map_err(|error| match error {
            httparse::Error::TooManyHeaders => ResponseError::HeadTooLong,
            httparse::Error::HeaderName
            | httparse::Error::HeaderValue
            | httparse::Error::NewLine
            | httparse::Error::Status
            | httparse::Error::Token
            | httparse::Error::Version => ResponseError::Malformed,
        })?;
        let len = match status {
            httparse::Status::Complete(len) => len,
            httparse::Status::Partial => self.pending.len(),
        };
        if self.skipped + len > HTTP_HEAD_BYTES_MAX {
            return Err(ResponseError::HeadTooLong);
        }
        if status.is_partial() {
            return Ok(Head::Partial);
        }
        self.persistent = parsed.version == Some(1) && !says_close(parsed.headers);
        let head = Head::read(parsed.code.unwrap_or_default(), parsed.headers)?;
        self.pending.drain(..len);
        self.skipped += len;
        Ok(head)
    }

    fn read_body(&mut self) -> Result<Progress, ResponseError> {
        let Some(body) = &mut self.body else {
            return Ok(Progress::Unfinished);
        };
        let complete = match body.framing {
            Framing::Length(len) => {
                let missing = len - body.bytes.len();
                body.take(&mut self.pending, missing)?;
                body.bytes.len() == len
            }
            Framing::ToEnd => {
                let all = self.pending.len();
                body.take(&mut self.pending, all)?;
                false
            }
            Framing::Chunks(state) => body.take_chunks(&mut self.pending, state)?,
        };
        let rest = match body.framing {
            Framing::Length(_) => Some(&b""[..]),
            Framing::Chunks(_) => Some(&b"\r\n"[..]),
            Framing::ToEnd => None,
        };
        self.clean_end = complete && rest == Some(self.pending.as_slice());
        match self.body.take_if(|_| complete) {
            Some(body) => body.into_response().map(Progress::Complete),
            None => Ok(Progress::Unfinished),
        }
    }
}

enum Head {
    Partial,
    Interim,
    Final(Response),
    Body(Body),
}

impl Head {
    fn read(status: u16, headers: &[httparse::Header<'_>]) -> Result<Self, ResponseError> {
        if (100..200).contains(&status) {
            return Ok(Self::Interim);
        }
        if status != 200 {
            let location = values(headers, "location").next().and_then(text).map(str::to_owned);
            return Ok(Self::Final(Response { status, location, body: Vec::new() }));
        }
        let framing = match (is_chunked(headers)?, content_length(headers)?) {
            (true, _) => Framing::Chunks(Chunks::Size),
            (false, Some(len)) => Framing::Length(len),
            (false, None) => Framing::ToEnd,
        };
        Ok(Self::Body(Body { framing, packing: packing(headers)?, bytes: Vec::new() }))
    }
}

impl Body {
    /// Moves `count` bytes, or as many as there are.
    fn take(&mut self, pending: &mut Vec<u8>, count: usize) -> Result<(), ResponseError> {
        let count = count.min(pending.len());
        if self.bytes.len() + count > HTTP_BODY_BYTES_MAX {
            return Err(ResponseError::BodyTooLong);
        }
        self.bytes.extend(pending.drain(..count));
        Ok(())
    }

    /// Reads as many chunks as there are; whether the last one was among them.
    fn take_chunks(
        &mut self,
        pending: &mut Vec<u8>,
        mut state: Chunks,
    ) -> Result<bool, ResponseError> {
        loop {
            let next = match state {
                Chunks::Data(missing) => {
                    let before = self.bytes.len();
                    self.take(pending, missing)?;
                    match missing - (self.bytes.len() - before) {
                        0 => Some(Chunks::DataEnd),
                        still => {
                            self.framing = Framing::Chunks(Chunks::Data(still));
                            None
                        }
                    }
                }
                Chunks::Size => match take_line(pending)? {
                    Some(line) => match chunk_size(&line)? {
                        0 => Some(Chunks::Trailer),
                        size => Some(Chunks::Data(size)),
                    },
                    None => None,
                },
                Chunks::DataEnd => match take_line(pending)? {
                    Some(line) if line.is_empty() => Some(Chunks::Size),
                    Some(_) => return Err(ResponseError::Damaged),
                    None => None,
                },
                // Nothing after the last chunk matters, and a tracker may never send its end.
                Chunks::Trailer => return Ok(true),
            };
            let Some(next) = next else {
                return Ok(false);
            };
            state = next;
            self.framing = Framing::Chunks(state);
        }
    }

    fn into_response(self) -> Result<Response, ResponseError> {
        let body = match self.packing {
            Packing::None => self.bytes,
            Packing::Gzip => unpack(GzDecoder::new(self.bytes.as_slice()))?,
            Packing::Deflate => unpack(ZlibDecoder::new(self.bytes.as_slice()))?,
        };
        Ok(Response { status: 200, location: None, body })
    }
}

/// Takes one line without its end; `None` when it is not there yet.
fn take_line(pending: &mut Vec<u8>) -> Result<Option<Vec<u8>>, ResponseError> {
    let Some(end) = pending.iter().take(CHUNK_LINE_BYTES_MAX).position(|byte| *byte == b'\n')
    else {
        let endless = pending.len() >= CHUNK_LINE_BYTES_MAX;
        return if endless { Err(ResponseError::Damaged) } else { Ok(None) };
    };
    let mut line: Vec<u8> = pending.drain(..=end).collect();
    line.pop();
    line.pop_if(|last| *last == b'\r');
    Ok(Some(line))
}

fn chunk_size(line: &[u8]) -> Result<usize, ResponseError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(ResponseError::Damaged);
    }
    let size = text(digits).and_then(|digits| usize::from_str_radix(digits, 16).ok());
    size.filter(|size| *size <= HTTP_BODY_BYTES_MAX).ok_or(ResponseError::BodyTooLong)
}

/// Unpacks, and stops at the bound whatever the input promises.
fn unpack(packed: impl std::io::Read) -> Result<Vec<u8>, ResponseError> {
    let mut body = Vec::new();
    let mut decoder = packed.take(HTTP_BODY_BYTES_MAX as u64 + 1);
    decoder.read_to_end(&mut body).map_err(|_| ResponseError::Damaged)?;
    if body.len() > HTTP_BODY_BYTES_MAX { Err(ResponseError::BodyTooLong) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    /// Feeds `bytes` in pieces of `size`, then the end of the connection.
    fn read_in_pieces(bytes: &[u8], size: usize) -> Result<Response, ResponseError> {
        let mut reader = ResponseReader::new();
        for piece in bytes.chunks(size) {
            if let Progress::Complete(response) = reader.push(piece)? {
                return Ok(response);
            }
        }
        reader.finish()
    }

    /// Reads whole and byte by byte; both must agree.
    #[track_caller]
    fn read(bytes: &[u8]) -> Result<Response, ResponseError> {
        let whole = read_in_pieces(bytes, usize::MAX);
        assert_eq!(read_in_pieces(bytes, 1), whole);
        whole
    }

    #[track_caller]
    fn check_body(response: &str, expected: &str) {
        let body = read(response.as_bytes()).unwrap_or_else(|error| panic!("{error}")).body;
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[track_caller]
    fn check_refused(response: &str, expected: ResponseError) {
        assert_eq!(read(response.as_bytes()), Err(expected));
    }

    fn gzipped(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn with_head(head: &str, body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body].concat()
    }

    #[test]
    fn a_deflated_body_is_unpacked() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(b"d5:peers0:e").unwrap();
        let body = encoder.finish().unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        assert_eq!(read(&[head.as_bytes(), &body].concat()).unwrap().body, b"d5:peers0:e");
    }

    #[track_caller]
    fn check_keeps(response: &str, expected: bool) {
        let mut reader = ResponseReader::new();
        let progress = reader.push(response.as_bytes()).unwrap();
        assert!(matches!(progress, Progress::Complete(_)), "{response}");
        assert_eq!(reader.keeps_connection(), expected, "{response}");
    }

    #[test]
    fn a_connection_is_used_again_only_after_a_clean_end() {
        check_keeps("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde", true);
        check_keeps("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\ndex", false);
        check_keeps("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nde", false);
        let closing = "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nde";
        check_keeps(closing, false);
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n";
        check_keeps(&format!("{chunks}\r\n"), true);
        check_keeps(chunks, false);
        check_keeps("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nde", false);
    }

    #[test]
    fn every_way_to_end_a_body_is_understood() {
        check_body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\ndeXXX", "de");
        check_body("HTTP/1.1 200 OK\r\nContent-Length: 2      \r\n\r\nde", "de");
        check_body("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "");
        check_body("HTTP/1.0 200 OK\r\n\r\nde", "de");
        check_body("HTTP/1.1 200 OK\nX: y\n\nde", "de");
        let chunks = "1\r\nd\r\n1;x=y\r\ne\r\n0\r\n\r\n";
        check_body(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"), "de");
        check_body(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde",
            "de",
        );
    }

    #[test]
    fn chunked_gzip_is_unpacked() {
        let packed = gzipped(b"d8:intervali1ee");
        let mut body = format!("{:X}\r\n", packed.len()).into_bytes();
        body.extend_from_slice(&packed);
        body.extend_from_slice(b"\r\n0\r\n\r\n");
        let head = "content-encoding: gzip\r\ntransfer-encoding: chunked\r\n";
        assert_eq!(read(&with_head(head, &body)).unwrap().body, b"d8:intervali1ee");
    }

    #[test]
    fn a_decompression_bomb_stops_at_the_bound() {
        let bomb = gzipped(&vec![0; 100 * 1024 * 1024]);
        assert!(bomb.len() < HTTP_BODY_BYTES_MAX);
        let bytes = with_head("Content-Encoding: gzip\r\n", &bomb);
        assert_eq!(read_in_pieces(&bytes, 4096), Err(ResponseError::BodyTooLong));
        let most = gzipped(&vec![0; HTTP_BODY_BYTES_MAX]);
        let bytes = with_head("Content-Encoding: gzip\r\n", &most);
        assert_eq!(read_in_pieces(&bytes, 4096).unwrap().body.len(), HTTP_BODY_BYTES_MAX);
    }

    #[test]
    fn damaged_or_nested_codings_are_refused() {
        let packed = gzipped(b"de");
        let short = with_head("Content-Encoding: gzip\r\n", &packed[..packed.len() - 1]);
        assert_eq!(read(&short), Err(ResponseError::Damaged));
        for coding in ["br", "zstd", "gzip, gzip"] {
            check_refused(
                &format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\nde"),
                ResponseError::Coding,
            );
        }
        let twice = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n";
        check_refused(twice, ResponseError::Coding);
        let te = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
        check_refused(te, ResponseError::Coding);
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        for (value, expected) in [
            ("-1", ResponseError::Length),
            ("+2", ResponseError::Length),
            ("", ResponseError::Length),
            ("2, 2", ResponseError::Length),
            ("18446744073709551616", ResponseError::Length),
            ("18446744073709551615", ResponseError::BodyTooLong),
            ("1048577", ResponseError::BodyTooLong),
            ("3", ResponseError::Truncated),
        ] {
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\nde");
            check_refused(&response, expected);
        }
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nde";
        check_refused(two, ResponseError::Length);
    }

    #[test]
    fn broken_chunks_are_refused() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (chunks, expected) in [
            ("xyz\r\n", ResponseError::Damaged),
            ("\r\n", ResponseError::Damaged),
            ("-1\r\n", ResponseError::Damaged),
            ("ffffffffffffffffff\r\n", ResponseError::BodyTooLong),
            ("ffffffffffffffff\r\n", ResponseError::BodyTooLong),
            ("100001\r\n", ResponseError::BodyTooLong),
            ("1\r\nab\r\n", ResponseError::Damaged),
            ("2\r\na", ResponseError::Truncated),
            ("1\r\na\r\n", ResponseError::Truncated),
        ] {
            check_refused(&format!("{head}{chunks}"), expected);
        }
        check_refused(&format!("{head}{}", "1".repeat(4096)), ResponseError::Damaged);
    }

    #[test]
    fn many_chunks_together_stop_at_the_bound() {
        let mut bytes = with_head("Transfer-Encoding: chunked\r\n", b"");
        for _ in 0..17 {
            bytes.extend_from_slice(b"10000\r\n");
            bytes.resize(bytes.len() + 0x10000, b'a');
            bytes.extend_from_slice(b"\r\n");
        }
        assert_eq!(read_in_pieces(&bytes, 4096), Err(ResponseError::BodyTooLong));
    }

    #[test]
    fn an_endless_head_or_body_stops_at_the_bound() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(HTTP_HEAD_BYTES_MAX));
        assert_eq!(read_in_pieces(endless.as_bytes(), 1000), Err(ResponseError::HeadTooLong));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX + 1));
        check_refused(&many, ResponseError::HeadTooLong);
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        assert_eq!(read_in_pieces(interim.as_bytes(), 1000), Err(ResponseError::HeadTooLong));
        let body = with_head("", &vec![b'a'; HTTP_BODY_BYTES_MAX + 1]);
        assert_eq!(read_in_pieces(&body, 4096), Err(ResponseError::BodyTooLong));
        assert_eq!(read_in_pieces(&body, usize::MAX), Err(ResponseError::BodyTooLong));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        check_refused("d8:intervali1ee", ResponseError::Malformed);
        check_refused("SSH-2.0-OpenSSH\r\n", ResponseError::Malformed);
        check_refused("", ResponseError::Truncated);
        check_refused("HTTP/1.1 200 OK\r\nConte", ResponseError::Truncated);
    }

    #[test]
    fn any_other_status_needs_no_body() {
        let response = read(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n").unwrap();
        assert_eq!((response.status, response.redirect()), (404, None));
        let response = read(b"HTTP/1.1 302 Found\r\nLocation: http://u/\r\n\r\n").unwrap();
        assert_eq!(response.redirect(), Some("http://u/"));
        let response = read(b"HTTP/1.1 301 Moved\r\n\r\n").unwrap();
        assert_eq!(response.redirect(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, size in 1_usize..40) {
            let _ = read_in_pieces(&bytes, size);
            let _ = read_in_pieces(&with_head("Transfer-Encoding: chunked\r\n", &bytes), size);
            let _ = read_in_pieces(&with_head("Content-Encoding: gzip\r\n", &bytes), size);
        }
    }
}

//! Lines of an input, bounded: a line that is too long is skipped without being held.

use std::io::{self, BufRead};

use bitchat_protocol::limits::MESSAGE_BYTES_MAX;

/// Bytes of a line beyond which it is refused: a whole message and a command's or JSON's dress,
/// where every byte may be escaped as six.
pub(crate) const LINE_BYTES_MAX: usize = 6 * MESSAGE_BYTES_MAX + 4096;

/// A line that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    #[error("line {0} is not UTF-8 and was skipped")]
    NotUtf8(u64),
    #[error("line {0} is longer than {LINE_BYTES_MAX} bytes and was skipped")]
    TooLong(u64),
    #[error("cannot read standard input: {0}")]
    Broken(String),
}

/// Cuts what is read, piece by piece, into lines; holds at most one.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    line: Vec<u8>,
    is_too_long: bool,
    /// Something was read since the last line ended.
    is_open: bool,
    number: u64,
}

impl Cutter {
    /// Takes what was read: how many bytes of it, and the line that ended with the last of them.
    pub(crate) fn push(&mut self, read: &[u8]) -> (usize, Option<Result<String, LineError>>) {
        let end = read.iter().position(|byte| *byte == b'\n');
        let piece = &read[..end.unwrap_or(read.len())];
        self.is_open = true;
        if self.line.len() + piece.len() > LINE_BYTES_MAX {
            self.is_too_long = true;
            self.line = Vec::new();
        } else if !self.is_too_long {
            self.line.extend_from_slice(piece);
        }
        match end {
            Some(end) => (end + 1, self.end()),
            None => (read.len(), None),
        }
    }

    /// Ends the line that was begun, as the end of the input does; `None` where none was.
    pub(crate) fn end(&mut self) -> Option<Result<String, LineError>> {
        let mut line = std::mem::take(&mut self.line);
        let is_too_long = std::mem::take(&mut self.is_too_long);
        if !std::mem::take(&mut self.is_open) {
            return None;
        }
        self.number += 1;
        if is_too_long {
            return Some(Err(LineError::TooLong(self.number)));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(String::from_utf8(line).map_err(|_| LineError::NotUtf8(self.number)))
    }
}

/// Cuts a reader into lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    cutter: Cutter,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, cutter: Cutter::default(), ended: false }
    }

    /// Reads one line without its end; `None` at the end of the input.
    fn read(&mut self) -> io::Result<Option<Result<String, LineError>>> {
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(self.cutter.end());
            }
            let (used, line) = self.cutter.push(available);
            self.reader.consume(used);
            if line.is_some() {
                return Ok(line);
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<String, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.read() {
            Ok(line) => line,
            Err(error) => {
                self.ended = true;
                Some(Err(LineError::Broken(error.to_string())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(input: &[u8]) -> Vec<Result<String, LineError>> {
        Lines::new(BufReader::with_capacity(64, input)).collect()
    }

    #[test]
    fn lines_end_with_lf_crlf_or_the_input() {
        let expected: Vec<_> = ["one", "two", "", "three"].map(|s| Ok(s.to_owned())).into();
        assert_eq!(lines(b"one\r\ntwo\n\nthree"), expected);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn what_is_not_utf_8_is_skipped_and_the_next_line_is_read() {
        assert_eq!(lines(b"\xff\xfe\nok\n"), [Err(LineError::NotUtf8(1)), Ok("ok".into())]);
    }

    #[test]
    fn ten_megabytes_in_a_line_are_skipped_and_the_next_line_is_read() {
        let mut input = vec![b'x'; 10 * 1024 * 1024];
        input.extend(b"\nok\n");
        assert_eq!(lines(&input), [Err(LineError::TooLong(1)), Ok("ok".into())]);
    }

    #[test]
    fn a_line_of_exactly_the_bound_is_taken() {
        let line = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(lines(line.as_bytes()), [Ok(line)]);
    }
}

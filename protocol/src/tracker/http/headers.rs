//! What the headers of a response say about its body and its connection.

use super::ResponseError;
use crate::limits::HTTP_BODY_BYTES_MAX;

/// How the body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Deflate,
}

pub(super) fn values<'a>(
    headers: &'a [httparse::Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The length, which some trackers follow with blanks; two that differ are a lie.
pub(super) fn content_length(
    headers: &[httparse::Header<'_>],
) -> Result<Option<usize>, ResponseError> {
    let mut found = None;
    for value in values(headers, "content-length") {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(ResponseError::Length);
        }
        let len = text(value).and_then(|digits| digits.parse::<u64>().ok());
        let len = len.ok_or(ResponseError::Length)?;
        if found.is_some_and(|earlier| earlier != len) {
            return Err(ResponseError::Length);
        }
        found = Some(len);
    }
    match found.map(usize::try_from) {
        None => Ok(None),
        Some(Ok(len)) if len <= HTTP_BODY_BYTES_MAX => Ok(Some(len)),
        Some(_) => Err(ResponseError::BodyTooLong),
    }
}

pub(super) fn says_close(headers: &[httparse::Header<'_>]) -> bool {
    values(headers, "connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

pub(super) fn is_chunked(headers: &[httparse::Header<'_>]) -> Result<bool, ResponseError> {
    Ok(coding(headers, "transfer-encoding", &[("chunked", ())])?.is_some())
}

pub(super) fn packing(headers: &[httparse::Header<'_>]) -> Result<Packing, ResponseError> {
    let understood =
        [("gzip", Packing::Gzip), ("x-gzip", Packing::Gzip), ("deflate", Packing::Deflate)];
    Ok(coding(headers, "content-encoding", &understood)?.unwrap_or(Packing::None))
}

/// Which coding that we understand is applied, once.
fn coding<T: Copy>(
    headers: &[httparse::Header<'_>],
    name: &'static str,
    understood: &[(&str, T)],
) -> Result<Option<T>, ResponseError> {
    let mut applied = None;
    for value in values(headers, name) {
        if value.is_empty() || value.eq_ignore_ascii_case(b"identity") {
            continue;
        }
        let known =
            understood.iter().find(|(coding, _)| value.eq_ignore_ascii_case(coding.as_bytes()));
        match (applied, known) {
            (None, Some((_, coding))) => applied = Some(*coding),
            (Some(_), _) | (_, None) => return Err(ResponseError::Coding),
        }
    }
    Ok(applied)
}

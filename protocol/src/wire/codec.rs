//! (being written)
use super::Frame;
/// Why a body is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the fields of its kind.
    #[error("malformed frame")]
    Malformed,
}
/// Writes a frame's body.
#[must_use]
pub fn encode(frame: &Frame) -> Vec<u8> {
    let _ = frame;
    Vec::new()
}
/// Reads a frame's body; `None`: a kind that is not known.
///
/// # Errors
///
/// See [`DecodeError`].
pub fn decode(body: &[u8]) -> Result<Option<Frame>, DecodeError> {
    let _ = body;
    Err(DecodeError::Malformed)
}

//! Frames to bytes and back.
//!
//! ```text
//! body   = kind u8 || fields
//! fields = one MessagePack map, field name -> value; byte strings as `bin`, lists as arrays
//!
//! kind   1 Hello           5 Whisper      9 RenewConfirm   13 Fork
//!        2 SharedChannels  6 Delivered   10 Have           20 Tickets
//!        3 Rename          7 RenewOffer  11 Want           21 Refused
//!        4 Peers           8 RenewAnswer 12 Entries        22 LetIn
//!                                                       23 Moved
//!                                                       24 Invite
//!                                                       25 InviteAnswer
//! ```
//!
//! A field that is missing, doubled, of the wrong type or out of bounds makes the whole frame
//! malformed; one that is not known is skipped. Nothing may follow the map. A frame is never hashed
//! or signed by re-encoding it: MessagePack has several encodings of one number.

use rmp_serde::Deserializer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Frame;
use crate::crypto::kem::{KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_BYTES};
use crate::limits::{
    FRAME_BYTES_MAX, FRAME_DEPTH_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, REFUSAL_BYTES_MAX,
};

const HELLO: u8 = 1;
const SHARED_CHANNELS: u8 = 2;
const RENAME: u8 = 3;
const PEERS: u8 = 4;
const WHISPER: u8 = 5;
const DELIVERED: u8 = 6;
const RENEW_OFFER: u8 = 7;
const RENEW_ANSWER: u8 = 8;
const RENEW_CONFIRM: u8 = 9;
const HAVE: u8 = 10;
const WANT: u8 = 11;
const ENTRIES: u8 = 12;
const FORK: u8 = 13;
const TICKETS: u8 = 20;
const REFUSED: u8 = 21;
const LET_IN: u8 = 22;
const MOVED: u8 = 23;
const INVITE: u8 = 24;
const INVITE_ANSWER: u8 = 25;

/// Why a body is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not even a kind.
    #[error("empty frame")]
    Empty,
    /// Longer than any frame may be.
    #[error("frame of {bytes} bytes, at most {max} are allowed", max = FRAME_BYTES_MAX)]
    Oversized {
        /// Bytes of the body.
        bytes: usize,
    },
    /// Not the fields of its kind, or a field out of its bounds.
    #[error("malformed frame of kind {kind}")]
    Malformed {
        /// The first byte.
        kind: u8,
    },
}

/// Writes a frame's body. The caller keeps every field within its bounds.
#[must_use]
pub fn encode(frame: &Frame) -> Vec<u8> {
    match frame {
        Frame::Hello(hello) => write_map(HELLO, hello),
        Frame::SharedChannels(shared) => write_map(SHARED_CHANNELS, shared),
        Frame::Rename(rename) => write_map(RENAME, rename),
        Frame::Peers(peers) => write_map(PEERS, peers),
        Frame::Whisper(said) => write_map(WHISPER, said),
        Frame::Delivered(delivered) => write_map(DELIVERED, delivered),
        Frame::RenewOffer(offer) => write_map(RENEW_OFFER, offer),
        Frame::RenewAnswer(answer) => write_map(RENEW_ANSWER, answer),
        Frame::RenewConfirm(confirm) => write_map(RENEW_CONFIRM, confirm),
        Frame::Have(have) => write_map(HAVE, have),
        Frame::Want(want) => write_map(WANT, want),
        Frame::Entries(entries) => write_map(ENTRIES, entries),
        Frame::Fork(fork) => write_map(FORK, fork),
        Frame::Tickets(tickets) => write_map(TICKETS, tickets),
        Frame::Refused(refused) => write_map(REFUSED, refused),
        Frame::LetIn(let_in) => write_map(LET_IN, let_in),
        Frame::Moved(moved) => write_map(MOVED, moved),
        Frame::Invite(invite) => write_map(INVITE, invite),
        Frame::InviteAnswer(answer) => write_map(INVITE_ANSWER, answer),
    }
}

/// Writes the kind, then one map of the fields.
pub(crate) fn write_map<T: Serialize>(kind: u8, fields: &T) -> Vec<u8> {
    let mut body = vec![kind];
    let mut serializer = rmp_serde::Serializer::new(&mut body).with_struct_map();
    fields.serialize(&mut serializer).expect("our types of frames all have a MessagePack form");
    body
}

/// Reads a frame's body; `None`: a kind that is not known.
///
/// # Errors
///
/// See [`DecodeError`]; each means that the peer breaks the protocol.
pub fn decode(body: &[u8]) -> Result<Option<Frame>, DecodeError> {
    let (&kind, rest) = body.split_first().ok_or(DecodeError::Empty)?;
    if body.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::Oversized { bytes: body.len() });
    }
    let frame = match kind {
        HELLO => read_map(rest).map(Frame::Hello),
        SHARED_CHANNELS => read_map(rest).map(Frame::SharedChannels),
        RENAME => read_map(rest).map(Frame::Rename),
        PEERS => read_map(rest).map(Frame::Peers),
        WHISPER => read_map(rest).map(Frame::Whisper),
        DELIVERED => read_map(rest).map(Frame::Delivered),
        RENEW_OFFER => read_map(rest).map(Frame::RenewOffer),
        RENEW_ANSWER => read_map(rest).map(Frame::RenewAnswer),
        RENEW_CONFIRM => read_map(rest).map(Frame::RenewConfirm),
        HAVE => read_map(rest).map(Frame::Have),
        WANT => read_map(rest).map(Frame::Want),
        ENTRIES => read_map(rest).map(Frame::Entries),
        FORK => read_map(rest).map(Frame::Fork),
        TICKETS => read_map(rest).map(Frame::Tickets),
        REFUSED => read_map(rest).map(Frame::Refused),
        LET_IN => read_map(rest).map(Frame::LetIn),
        MOVED => read_map(rest).map(Frame::Moved),
        INVITE => read_map(rest).map(Frame::Invite),
        INVITE_ANSWER => read_map(rest).map(Frame::InviteAnswer),
        _ => return Ok(None),
    };
    frame.filter(in_bounds).map(Some).ok_or(DecodeError::Malformed { kind })
}

/// Reads exactly one map with bounded nesting.
pub(crate) fn read_map<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    // The derived readers also take a bare array of values; the protocol does not.
    let is_map = matches!(bytes.first(), Some(0x80..=0x8f | 0xde | 0xdf));
    let mut deserializer = Deserializer::new(bytes);
    deserializer.set_max_depth(FRAME_DEPTH_MAX);
    let value = T::deserialize(&mut deserializer).ok()?;
    (is_map && deserializer.get_ref().is_empty()).then_some(value)
}

/// Checks what the types cannot: lists are bounded while they are read, see `super::bounded`.
fn in_bounds(frame: &Frame) -> bool {
    match frame {
        Frame::Hello(hello) => hello.name.len() <= NAME_BYTES_MAX,
        Frame::Rename(rename) => rename.name.len() <= NAME_BYTES_MAX,
        Frame::Whisper(said) => (1..=MESSAGE_BYTES_MAX).contains(&said.text.len()),
        Frame::RenewOffer(offer) => offer.kem.len() == KEM_PUBLIC_BYTES,
        Frame::RenewAnswer(answer) => answer.kem.len() == KEM_CIPHERTEXT_BYTES,
        Frame::Refused(refused) => refused.text.len() <= REFUSAL_BYTES_MAX,
        Frame::SharedChannels(_)
        | Frame::Tickets(_)
        | Frame::LetIn(_)
        | Frame::Invite(_)
        | Frame::InviteAnswer(_)
        | Frame::Moved(_)
        | Frame::Peers(_)
        | Frame::Delivered(_)
        | Frame::RenewConfirm(_)
        | Frame::Have(_)
        | Frame::Want(_)
        | Frame::Entries(_)
        | Frame::Fork(_) => true,
    }
}

#[cfg(test)]
mod tests;

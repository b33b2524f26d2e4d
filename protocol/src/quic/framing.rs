//! Frames on the control stream.
//!
//! ```text
//! frame = length u32, big-endian || body of that length
//! ```

use std::collections::VecDeque;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::limits::{CONTROL_QUEUE_BYTES_MAX, FRAME_BYTES_MAX};

const LENGTH_BYTES: usize = 4;

/// The peer announced a frame longer than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oversized;

/// Cuts what arrives into frames.
#[derive(Debug, Default)]
pub(super) struct Reader {
    partial: BytesMut,
}

impl Reader {
    /// Takes the next piece of the stream and hands out the frames that it completes.
    ///
    /// Never holds more than one frame's worth beyond the piece: the length is checked first.
    pub(super) fn read(
        &mut self,
        piece: Bytes,
        frames: &mut VecDeque<Bytes>,
    ) -> Result<(), Oversized> {
        // The usual piece begins and ends with a frame: nothing is copied then.
        let mut input = if self.partial.is_empty() {
            piece
        } else {
            self.partial.extend_from_slice(&piece);
            self.partial.split().freeze()
        };
        while let Some(length) = input.first_chunk::<LENGTH_BYTES>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > FRAME_BYTES_MAX {
                return Err(Oversized);
            }
            if input.len() < LENGTH_BYTES + length {
                break;
            }
            input.advance(LENGTH_BYTES);
            frames.push_back(input.split_to(length));
        }
        self.partial.extend_from_slice(&input);
        Ok(())
    }
}

/// The peer takes frames more slowly than they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{queued} bytes of frames wait for the peer to take them")]
pub struct FrameQueueFull {
    /// Bytes waiting.
    pub queued: usize,
}

/// What waits for the control stream to have room.
#[derive(Debug, Default)]
pub(super) struct Writer {
    waiting: VecDeque<Bytes>,
    bytes: usize,
}

impl Writer {
    pub(super) fn queue(&mut self, body: &[u8]) -> Result<(), FrameQueueFull> {
        assert!(body.len() <= FRAME_BYTES_MAX, "a frame of ours is over its bound");
        let size = LENGTH_BYTES + body.len();
        if self.bytes + size > CONTROL_QUEUE_BYTES_MAX {
            return Err(FrameQueueFull { queued: self.bytes });
        }
        let mut frame = BytesMut::with_capacity(size);
        frame.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        frame.put_slice(body);
        self.bytes += size;
        self.waiting.push_back(frame.freeze());
        Ok(())
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is to be written next; the writer shortens it by what it wrote.
    pub(super) fn front(&mut self) -> Option<&mut Bytes> {
        while self.waiting.front().is_some_and(Bytes::is_empty) {
            self.waiting.pop_front();
        }
        self.waiting.front_mut()
    }

    pub(super) const fn written(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(bodies: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::default();
        for body in bodies {
            writer.queue(body).unwrap();
        }
        writer.waiting.iter().flat_map(|frame| frame.to_vec()).collect()
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        let bodies: [&[u8]; 4] = [b"one", b"", &[7; 1000], b"last"];
        let bytes = stream(&bodies);
        for size in [1, 2, 3, 5, 7, 1000, bytes.len()] {
            let mut reader = Reader::default();
            let mut frames = VecDeque::new();
            for piece in bytes.chunks(size) {
                reader.read(Bytes::copy_from_slice(piece), &mut frames).unwrap();
            }
            assert_eq!(frames, bodies, "in pieces of {size}");
            assert!(reader.partial.is_empty());
        }
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_its_body_is_awaited() {
        let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
        let piece = Bytes::copy_from_slice(&length.to_be_bytes());
        assert_eq!(Reader::default().read(piece, &mut VecDeque::new()), Err(Oversized));
    }

    #[test]
    fn a_peer_that_takes_nothing_fills_the_queue_to_its_bound() {
        let mut writer = Writer::default();
        let refused = loop {
            if let Err(full) = writer.queue(&[0; FRAME_BYTES_MAX]) {
                break full;
            }
        };
        assert!(refused.queued <= CONTROL_QUEUE_BYTES_MAX);
        assert!(refused.queued + FRAME_BYTES_MAX + LENGTH_BYTES > CONTROL_QUEUE_BYTES_MAX);
    }

    #[test]
    fn the_frame_of_the_specification_holds() {
        let file = include_str!("../../../docs/spec/vectors/link.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let hex = |name: &str| {
            let text = file["frame"][name].as_str().unwrap();
            data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
        };
        assert_eq!(stream(&[&hex("body")]), hex("bytes"));
    }
}

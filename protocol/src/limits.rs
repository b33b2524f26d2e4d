//! Every bound on what a stranger or a peer can make a node hold or do, with the attack it stops.
//!
//! Bounds fixed by a specification stand beside their codec; tunables stand in the `Config` of
//! their user.

use std::time::Duration;

/// Bytes of a display name in UTF-8. Stops names that flood a terminal.
pub const NAME_BYTES_MAX: usize = 64;

/// Bytes of one chat message in UTF-8. Stops one peer from filling everybody's memory with a line.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Bytes of one frame on the control stream, its length prefix excluded. Stops a length prefix
/// from allocating more than a message can need.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Nesting accepted by the MessagePack decoder. Stops a bomb that overflows the stack.
pub const FRAME_DEPTH_MAX: usize = 16;

/// Bytes of a `.chat` file. Stops a hostile file from filling memory.
pub const CHAT_FILE_BYTES_MAX: usize = 256 * 1024;

/// Nesting accepted by the bencode decoder. Stops a bomb that overflows the stack.
pub const BENCODE_DEPTH_MAX: usize = 32;

/// Channels one node is in at once. Bounds the work of the channel gate per bogus first packet.
pub const CHANNELS_MAX: usize = 256;

/// Members of one channel that a node keeps links with; the design aims at 2 to 50.
pub const MEMBERS_MAX: usize = 128;

/// Links a node holds at once, half-open ones included. Stops a member from exhausting memory by
/// dialling for ever.
pub const LINKS_MAX: usize = 1024;

/// How far a sender's clock may be from ours in the first packet's time slot, in each direction.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(MESSAGE_BYTES_MAX + 1024 <= FRAME_BYTES_MAX, "a message must fit a frame");
const _: () = assert!(MEMBERS_MAX <= LINKS_MAX, "every member must be linkable");

/// Addresses told for one member. Stops a member from aiming everybody's dials at a victim.
pub const PEER_ADDRESSES_MAX: usize = 4;

/// Receipts in one frame.
pub const RECEIPTS_PER_FRAME_MAX: usize = 256;

/// Members named in one `Peers` frame, added and removed counted apart. Stops one frame from
/// costing more work than a whole channel is worth.
pub const PEER_RECORDS_PER_FRAME_MAX: usize = MEMBERS_MAX;

const _: () =
    assert!(PEER_RECORDS_PER_FRAME_MAX * 256 <= FRAME_BYTES_MAX, "records must fit a frame");

/// Frames, and their bytes, held while the contact book judges a peer. Stops a peer that is about
/// to be refused from filling memory.
pub const FRAMES_HELD_MAX: usize = 256;
/// See [`FRAMES_HELD_MAX`].
pub const FRAMES_HELD_BYTES_MAX: usize = 1024 * 1024;

/// Renewals of a link's keys that may wait for an answer. Stops a peer from making us compute key
/// shares without end.
pub const RENEW_OFFERS_OPEN_MAX: usize = 3;

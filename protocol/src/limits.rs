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

/// Trackers, and tiers of them, in a `.chat` file. Stops one file from making every reader of it
/// load a multitude of hosts.
pub const CHAT_TRACKERS_MAX: usize = 64;

/// DHT nodes in a `.chat` file. Stops the same through name look-ups and datagrams.
pub const CHAT_NODES_MAX: usize = 64;

/// Nesting accepted by the bencode decoder. Stops a bomb that overflows the stack.
pub const BENCODE_DEPTH_MAX: usize = 32;

/// Values in one bencoded input. Stops a list of empty strings from taking sixteen times its size.
pub const BENCODE_ITEMS_MAX: usize = 64 * 1024;

/// Parameters of a `bitchat:` link or card. Stops a line of separators from taking forty times its
/// size.
pub const LINK_PARAMETERS_MAX: usize = 256;

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

/// Contacts in the book, those only seen included. Stops a member who makes up identities from
/// filling the disk: beyond it the one seen longest ago makes room, never one a person added.
pub const CONTACTS_MAX: usize = 4096;

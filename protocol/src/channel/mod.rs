//! What a channel is: its secret, what derives from it, and how it is passed on.
//!
//! - `keys`, `epoch`: the key schedule, and when the infohash changes.
//! - `chat_file`, `chat_codec`, `link`: the `.chat` file, as bytes and as one line of text.
//! - `name`: open channels that are found by a name alone.
//! - `pair`: the channel of two contacts, made from their keys alone.
//! - `standing`: what a peer proves to be on a link.
//! - `ticket`: who is let into a closed channel.
//! - `moves`: how a closed channel goes on without somebody.
//! - `address`: where to ask for a channel.

mod address;
mod chat_codec;
mod chat_file;
mod epoch;
mod keys;
mod link;
mod moves;
mod name;
mod pair;
mod standing;
#[cfg(test)]
mod test_files;
mod ticket;

pub use address::{AddressError, NodeAddress};
pub use chat_file::{Charter, ChatFile, ChatFileError, Kind, Policy};
pub use epoch::{EPOCH_MARGIN_MAX, EPOCH_OVERLAP, Epoch, Rotation};
pub use keys::{ChannelKeys, ChannelPublicKey, ChannelSecret, GateKeys, SeedKey};
pub use link::{ChannelLinkError, Invitation};
pub use moves::{MOVE_BYTES_MAX, MisfitError, Move, MoveError};
pub use name::{OpenName, OpenNameError};
pub use pair::PairError;
pub use standing::Standing;
pub use ticket::{Denial, Grant, Lineage, Right, TICKET_BYTES, Ticket, TicketError, judge};

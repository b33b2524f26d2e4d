//! What two peers say to each other on a link's control stream.
//!
//! ```text
//! frame body = kind u8 || MessagePack map of the frame's fields
//! ```
//!
//! The stream's framing (a length before each body) belongs to [`crate::quic`]. Kinds that are not
//! known are skipped, fields that are not known are ignored, so the language can grow. A body that
//! does not decode closes the link: it cannot come from an honest peer, as the link is
//! authenticated.

mod admission;
pub(crate) mod bounded;
mod codec;
mod hello;
mod invite;
mod log;
mod moved;
mod peers;
mod renewal;
mod whisper;

pub use admission::{LetIn, Refused, TicketBytes, Tickets};

pub use codec::{DecodeError, decode, encode};
pub(crate) use codec::{read_map, write_map};
pub use hello::{ChannelProof, Hello, Rename, SharedChannels};
pub use invite::{FileBytes, Invite, InviteAnswer};
pub use log::{ChainHave, Entries, EntryBytes, Fork, Have, Want};
pub use moved::{MoveBytes, Moved, MovedKey};
pub use peers::{PeerRecord, Peers, WireAddress};
pub use renewal::{RenewAnswer, RenewConfirm, RenewOffer};
pub use whisper::{Delivered, Whisper};

/// One message between two linked peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of each side.
    Hello(Hello),
    /// The channels shared on this link changed.
    SharedChannels(SharedChannels),
    /// The sender's display name changed.
    Rename(Rename),
    /// Whom the sender is linked with, as a change to what it said before.
    Peers(Peers),
    /// A message for the receiver alone.
    Whisper(Whisper),
    /// Messages that the sender has taken in.
    Delivered(Delivered),
    /// Fresh key shares for the next generation of keys.
    RenewOffer(RenewOffer),
    /// The other half of a renewal.
    RenewAnswer(RenewAnswer),
    /// The renewal's secret is in place on the offering side.
    RenewConfirm(RenewConfirm),
    /// What the sender has on its disk.
    Have(Have),
    /// Entries that the sender wants.
    Want(Want),
    /// Entries.
    Entries(Entries),
    /// A proof that an author spoke with two tongues.
    Fork(Fork),
    /// What lets the sender into a closed channel.
    Tickets(Tickets),
    /// The receiver is not let into a closed channel.
    Refused(Refused),
    /// The receiver is let into a closed channel.
    LetIn(LetIn),
    /// A closed channel goes on as another one.
    Moved(Moved),
    /// The receiver is invited to a closed channel.
    Invite(Invite),
    /// What the sender says to an invitation.
    InviteAnswer(InviteAnswer),
}

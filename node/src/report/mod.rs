//! What a running node tells of itself: the results of `status` and `peers`, as they go over the
//! control socket, and in words for people.
//!
//! Words of a later version that this one does not know (a kind of source, a state) are shown as
//! they are.

mod contact;
mod dht;
mod invitation;
mod members;
mod peers;
mod source;
mod status;
mod words;

pub(crate) use contact::ContactReport;
pub(crate) use dht::DhtNodeReport;
pub(crate) use invitation::InvitationReport;
pub(crate) use members::{Known, MembersReport};
pub(crate) use peers::PeersReport;
pub(crate) use source::SourceReport;
pub(crate) use status::RefusedReport;
pub(crate) use status::nat_words;
pub(crate) use status::{
    ChannelReport, ClockReport, DropReport, NatReport, Sighting, StatusReport,
};
pub(crate) use words::{counted, mesh, safe_name, span};

/// An answer of a node that cannot be read.
pub(crate) const OTHER_VERSION: &str =
    "the node answers in a way that this program does not know: start it again with this version";

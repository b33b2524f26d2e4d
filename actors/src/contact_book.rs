//! The people we know and how far we trust their keys.

use actix::Message;
use bitchat_protocol::contact::Admission;
use bitchat_protocol::id::PeerId;

/// Asks whether a peer that calls itself `name` may be linked with.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Admission")]
pub struct AdmitPeer {
    /// Who, as its link has proven.
    pub peer: PeerId,
    /// What it calls itself; not escaped.
    pub name: String,
}

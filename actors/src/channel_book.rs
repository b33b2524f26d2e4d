//! The channels of this profile, and which of them are open now.

use std::net::SocketAddr;
use std::sync::Arc;

use actix::{Message, Recipient};
use bitchat_protocol::channel::{ChannelKeys, Rotation};
use bitchat_protocol::id::ChannelId;

/// A channel that is open in this run.
#[derive(Debug)]
pub struct OpenedChannel {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: ChannelKeys,
    /// Its trackers, in tiers.
    pub trackers: Vec<Vec<String>>,
    /// How its infohash changes.
    pub rotation: Rotation,
    /// Where members were in an earlier run.
    pub last_known: Vec<SocketAddr>,
}

/// A channel was opened or closed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum ChannelEvent {
    /// It is open.
    Opened(Arc<OpenedChannel>),
    /// It is open no longer.
    Closed(ChannelId),
}

/// Asks for every [`ChannelEvent`]; told of those that are open at once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<ChannelEvent>);

/// Keeps where members were.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SaveLastKnown {
    /// Of which channel.
    pub id: ChannelId,
    /// Best first.
    pub addresses: Vec<SocketAddr>,
}

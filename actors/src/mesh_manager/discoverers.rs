//! Who looks for members, and what each of them was told to look for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bitchat_protocol::channel::Epoch;
use bitchat_protocol::id::{ChannelId, InfoHash};
use bitchat_protocol::mesh::Completeness;

use crate::channel_book::OpenedChannel;
use crate::discovery::{Announce, Place, Subscribe, ViewChanged, Withdraw};

/// The channels that are open.
pub(super) type Channels = BTreeMap<ChannelId, Arc<OpenedChannel>>;

/// All discoverers that have introduced themselves.
#[derive(Debug, Default)]
pub(super) struct Discoverers(Vec<Discoverer>);

#[derive(Debug)]
struct Discoverer {
    office: Subscribe,
    told: BTreeSet<(ChannelId, Epoch)>,
}

impl Discoverers {
    /// Takes a new one in; it is told everything by the next [`Discoverers::tell`].
    pub(super) fn add(&mut self, office: Subscribe) {
        // It may come in the place of one that has failed.
        self.0.retain(|old| old.office.announce.connected());
        self.0.push(Discoverer { office, told: BTreeSet::new() });
    }

    /// Tells each what to look for that it does not look for yet, and what no longer.
    pub(super) fn tell(&mut self, channels: &Channels, port: u16, unix_time: Duration) {
        let wanted: BTreeSet<(ChannelId, Epoch)> = channels
            .iter()
            .flat_map(|(id, channel)| {
                let epochs = channel.rotation.announced_epochs(unix_time);
                epochs.into_iter().map(|epoch| (*id, epoch))
            })
            .collect();
        for discoverer in &mut self.0 {
            discoverer.tell(channels, &wanted, port);
        }
    }

    /// Tells all that a channel is closed.
    pub(super) fn close(&mut self, channel: ChannelId) {
        for discoverer in &mut self.0 {
            discoverer.told.retain(|(told, _)| *told != channel);
            discoverer.office.withdraw.do_send(Withdraw { channel, infohash: None });
        }
    }

    /// Tells all how urgent a channel is.
    pub(super) fn tell_view(&self, channel: ChannelId, view: Completeness) {
        for discoverer in &self.0 {
            discoverer.office.view.do_send(ViewChanged { channel, view });
        }
    }
}

impl Discoverer {
    fn tell(&mut self, channels: &Channels, wanted: &BTreeSet<(ChannelId, Epoch)>, port: u16) {
        for (id, epoch) in wanted.difference(&self.told) {
            if let Some(channel) = channels.get(id) {
                self.office.announce.do_send(Announce {
                    channel: *id,
                    infohash: self.infohash(channel, *epoch),
                    tiers: channel.trackers.clone(),
                    nodes: channel.nodes.clone(),
                    port,
                });
            }
        }
        for (id, epoch) in self.told.difference(wanted) {
            if let Some(channel) = channels.get(id) {
                let infohash = Some(self.infohash(channel, *epoch));
                self.office.withdraw.do_send(Withdraw { channel: *id, infohash });
            }
        }
        self.told.clone_from(wanted);
    }

    fn infohash(&self, channel: &OpenedChannel, epoch: Epoch) -> InfoHash {
        match self.office.place {
            Place::Internet => channel.keys.infohash(epoch),
            Place::Lan => channel.keys.lan_infohash(epoch),
        }
    }
}

//! Who looks for members, and what each of them was told to look for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bitchat_protocol::channel::Epoch;
use bitchat_protocol::id::{ChannelId, InfoHash, PeerId};
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
    pub(super) fn tell(
        &mut self,
        channels: &Channels,
        own: &PeerId,
        port: u16,
        unix_time: Duration,
    ) {
        let wanted: BTreeSet<(ChannelId, Epoch)> = channels
            .iter()
            .flat_map(|(id, channel)| {
                let margin = channel.keys.overlap_margin(own);
                let epochs = channel.rotation.announced_epochs(unix_time, margin);
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

#[cfg(test)]
mod tests {
    use actix::{Actor, Addr, Context, Handler};
    use bitchat_protocol::channel::{ChannelKeys, ChannelSecret, Rotation};
    use bitchat_protocol::crypto::Secret;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    const OWN: PeerId = PeerId([9; 32]);
    const PORT: u16 = 7;
    const DAY: u64 = 20_000;
    const DAY_SECS: u64 = 24 * 60 * 60;

    #[derive(Debug, PartialEq, Eq)]
    enum Told {
        Announce(InfoHash),
        Withdraw(Option<InfoHash>),
        View(ChannelId, Completeness),
    }

    struct Office {
        told: UnboundedSender<Told>,
    }

    impl Actor for Office {
        type Context = Context<Self>;
    }

    impl Handler<Announce> for Office {
        type Result = ();

        fn handle(&mut self, announce: Announce, _: &mut Self::Context) {
            assert_eq!(announce.port, PORT);
            self.told.send(Told::Announce(announce.infohash)).unwrap();
        }
    }

    impl Handler<Withdraw> for Office {
        type Result = ();

        fn handle(&mut self, withdraw: Withdraw, _: &mut Self::Context) {
            self.told.send(Told::Withdraw(withdraw.infohash)).unwrap();
        }
    }

    impl Handler<ViewChanged> for Office {
        type Result = ();

        fn handle(&mut self, told: ViewChanged, _: &mut Self::Context) {
            self.told.send(Told::View(told.channel, told.view)).unwrap();
        }
    }

    fn office(place: Place) -> (Subscribe, UnboundedReceiver<Told>) {
        let (told, hears) = unbounded_channel();
        let office: Addr<Office> = Office { told }.start();
        let (announce, withdraw) = (office.clone().recipient(), office.clone().recipient());
        (Subscribe { place, announce, withdraw, view: office.recipient() }, hears)
    }

    fn channel(secret: u8) -> Arc<OpenedChannel> {
        Arc::new(OpenedChannel {
            kind: bitchat_protocol::channel::Kind::Open,
            only: None,
            door: None,
            name: "team".to_owned(),
            keys: ChannelKeys::member(ChannelSecret(Secret::new([secret; 32]))),
            trackers: Vec::new(),
            nodes: Vec::new(),
            rotation: Rotation::Daily,
            last_known: Vec::new(),
            origin: None,
            moved_to: None,
        })
    }

    fn open(secrets: &[u8]) -> Channels {
        let channels = secrets.iter().map(|secret| channel(*secret));
        channels.map(|channel| (channel.keys.id(), channel)).collect()
    }

    fn hour(hour: u64) -> Duration {
        Duration::from_secs(DAY * DAY_SECS + hour * 3600)
    }

    /// What was told so far: messages of before have arrived when later ones have.
    async fn heard(hears: &mut UnboundedReceiver<Told>, count: usize) -> Vec<Told> {
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(hears.recv().await.unwrap());
        }
        assert!(hears.try_recv().is_err());
        told
    }

    #[actix::test]
    async fn each_is_told_the_infohash_of_its_place_once() {
        let channels = open(&[1]);
        let (internet, mut trackers) = office(Place::Internet);
        let (local, mut lan) = office(Place::Lan);
        let mut all = Discoverers::default();
        all.add(internet);
        all.tell(&channels, &OWN, PORT, hour(12));
        all.add(local);
        all.tell(&channels, &OWN, PORT, hour(13));
        let keys = &channels.values().next().unwrap().keys;
        let today = Epoch::from_number(DAY);
        let expected = [Told::Announce(keys.infohash(today))];
        assert_eq!(heard(&mut trackers, 1).await, expected);
        assert_eq!(heard(&mut lan, 1).await, [Told::Announce(keys.lan_infohash(today))]);
    }

    #[actix::test]
    async fn around_midnight_the_neighbouring_day_comes_and_goes() {
        let channels = open(&[1]);
        let (local, mut lan) = office(Place::Lan);
        let mut all = Discoverers::default();
        all.add(local);
        let keys = &channels.values().next().unwrap().keys;
        let (second, margin) = (Duration::from_secs(1), keys.overlap_margin(&OWN));
        for at in [hour(12), hour(23) - margin - second, hour(23) - margin] {
            all.tell(&channels, &OWN, PORT, at);
        }
        for at in [hour(24), hour(25) + margin - second, hour(25) + margin] {
            all.tell(&channels, &OWN, PORT, at);
        }
        let hash = |day| keys.lan_infohash(Epoch::from_number(day));
        let expected = [
            Told::Announce(hash(DAY)),
            Told::Announce(hash(DAY + 1)),
            Told::Withdraw(Some(hash(DAY))),
        ];
        assert_eq!(heard(&mut lan, 3).await, expected);
    }

    #[actix::test]
    async fn a_closed_channel_is_withdrawn_and_may_come_again() {
        let channels = open(&[1]);
        let (local, mut lan) = office(Place::Lan);
        let mut all = Discoverers::default();
        all.add(local);
        all.tell(&channels, &OWN, PORT, hour(12));
        let (id, channel) = channels.iter().next().unwrap();
        all.close(*id);
        all.tell(&Channels::new(), &OWN, PORT, hour(12));
        all.tell(&channels, &OWN, PORT, hour(12));
        let hash = channel.keys.lan_infohash(Epoch::from_number(DAY));
        let expected = [Told::Announce(hash), Told::Withdraw(None), Told::Announce(hash)];
        assert_eq!(heard(&mut lan, 3).await, expected);
    }

    #[actix::test]
    async fn one_that_was_started_again_is_told_everything_in_the_place_of_the_old_one() {
        let channels = open(&[1, 2]);
        let (first, mut before) = office(Place::Lan);
        let mut all = Discoverers::default();
        all.add(first);
        all.tell(&channels, &OWN, PORT, hour(12));
        heard(&mut before, 2).await;
        let (second, mut after) = office(Place::Lan);
        all.add(second);
        all.tell(&channels, &OWN, PORT, hour(12));
        assert_eq!(heard(&mut after, 2).await.len(), 2);
        heard(&mut before, 0).await;
    }

    #[actix::test]
    async fn all_are_told_how_urgent_a_channel_is() {
        let (internet, mut trackers) = office(Place::Internet);
        let (local, mut lan) = office(Place::Lan);
        let mut all = Discoverers::default();
        all.add(internet);
        all.add(local);
        let channel = ChannelId([1; 32]);
        all.tell_view(channel, Completeness::Full);
        for hears in [&mut trackers, &mut lan] {
            assert_eq!(heard(hears, 1).await, [Told::View(channel, Completeness::Full)]);
        }
    }
}

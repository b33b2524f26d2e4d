//! The manager on a paused clock, with neighbours that the tests play.

use bitchat_protocol::channel::{ChannelKeys, ChannelSecret, Rotation};
use bitchat_protocol::id::InfoHash;
use bitchat_protocol::mesh::DialFailure;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use bitchat_protocol::contact::Contact;

use super::*;

const BLOCKED: PeerId = PeerId([8; 32]);

/// All neighbours at once: they open one channel with one address to be dialled, and write down
/// the attempts.
#[derive(Clone)]
struct Neighbour(UnboundedSender<u64>, Option<UnboundedSender<LinkKey>>);

impl Actor for Neighbour {
    type Context = Context<Self>;
}

impl Handler<EndLink> for Neighbour {
    type Result = ();

    fn handle(&mut self, end: EndLink, _: &mut Self::Context) {
        self.1.as_ref().map(|ended| ended.send(end.link));
    }
}

fn secret() -> ChannelSecret {
    ChannelSecret::generate(&mut Rng::from_seed([1; 32]))
}

fn channel() -> ChannelId {
    ChannelKeys::member(secret()).id()
}

impl Handler<channel_book::Subscribe> for Neighbour {
    type Result = ();

    fn handle(&mut self, subscribe: channel_book::Subscribe, _: &mut Self::Context) {
        let secret = secret();
        subscribe.0.do_send(ChannelEvent::Opened(Arc::new(OpenedChannel {
            kind: bitchat_protocol::channel::Kind::Open,
            only: None,
            door: None,
            name: "team".into(),
            keys: ChannelKeys::member(secret),
            trackers: vec![],
            nodes: vec![],
            rotation: Rotation::Daily,
            last_known: vec!["127.0.0.1:4000".parse().unwrap()],
            origin: None,
            moved_to: None,
        })));
    }
}

/// Begins with somebody blocked.
impl Handler<contact_book::Subscribe> for Neighbour {
    type Result = ();

    fn handle(&mut self, subscribe: contact_book::Subscribe, _: &mut Self::Context) {
        subscribe.0.do_send(contact(BLOCKED, Trust::Blocked));
    }
}

fn contact(peer: PeerId, trust: Trust) -> ContactChanged {
    let contact = Contact {
        peer,
        name: "Mallory".into(),
        their_name: None,
        card_name: None,
        trust,
        added_unix: 0,
        last_seen_unix: None,
        alarm: None,
    };
    ContactChanged { peer, contact: Some(contact) }
}

impl Handler<Dial> for Neighbour {
    type Result = ();

    fn handle(&mut self, dial: Dial, _: &mut Self::Context) {
        self.0.send(dial.attempt).unwrap();
    }
}

impl Handler<FindLocalPort> for Neighbour {
    type Result = MessageResult<FindLocalPort>;

    fn handle(&mut self, _: FindLocalPort, _: &mut Self::Context) -> Self::Result {
        MessageResult(5000)
    }
}

macro_rules! ignored {
    ($($message:ty,)*) => {$(
        impl Handler<$message> for Neighbour {
            type Result = ();

            fn handle(&mut self, _: $message, _: &mut Self::Context) {}
        }
    )*};
}

ignored! {
    AddChannel, RemoveChannel, SaveLastKnown, SubscribeOwnAddresses, SetOwnChannels,
    SubscribeMesh,
}

fn start() -> (actix::Addr<MeshManager>, UnboundedReceiver<u64>) {
    start_with(None)
}

/// `ended`: told which links are to end.
fn start_with(
    ended: Option<UnboundedSender<LinkKey>>,
) -> (actix::Addr<MeshManager>, UnboundedReceiver<u64>) {
    let (sender, attempts) = unbounded_channel();
    let neighbour = Neighbour(sender, ended).start();
    let offices = Offices {
        channels: neighbour.clone().recipient(),
        last_known: neighbour.clone().recipient(),
        add: neighbour.clone().recipient(),
        remove: neighbour.clone().recipient(),
        port: neighbour.clone().recipient(),
        own: neighbour.clone().recipient(),
        contacts: neighbour.clone().recipient(),
        dial: neighbour.clone().recipient(),
        end: neighbour.clone().recipient(),
        own_channels: neighbour.clone().recipient(),
        links: neighbour.recipient(),
    };
    let config = mesh::Config { own_peer: PeerId([1; 32]), dials_at_once: 16 };
    (MeshManager::new(config, offices, Directory::default()).start(), attempts)
}

/// Writes down what is to be announced.
struct Discoverer(UnboundedSender<InfoHash>);

impl Actor for Discoverer {
    type Context = Context<Self>;
}

impl Handler<discovery::Announce> for Discoverer {
    type Result = ();

    fn handle(&mut self, announce: discovery::Announce, _: &mut Self::Context) {
        self.0.send(announce.infohash).unwrap();
    }
}

impl Handler<discovery::Withdraw> for Discoverer {
    type Result = ();

    fn handle(&mut self, _: discovery::Withdraw, _: &mut Self::Context) {}
}

impl Handler<discovery::ViewChanged> for Discoverer {
    type Result = ();

    fn handle(&mut self, _: discovery::ViewChanged, _: &mut Self::Context) {}
}

#[actix::test]
async fn a_channel_opened_shortly_before_its_infohash_changes_is_announced_under_the_new_one_in_time()
 {
    tokio::time::pause();
    let day = Duration::from_secs(24 * 60 * 60);
    let today = u64::try_from(clock::unix().as_nanos() / day.as_nanos()).unwrap();
    let joins = day * u32::try_from(today + 2).unwrap() - Duration::from_secs(60 * 60);
    tokio::time::advance(joins - Duration::from_secs(100) - clock::unix()).await;
    let (manager, mut attempts) = start();
    attempts.recv().await.unwrap();
    let (announced, mut infohashes) = unbounded_channel();
    let office = Discoverer(announced).start();
    let (announce, withdraw) = (office.clone().recipient(), office.clone().recipient());
    let place = discovery::Place::Internet;
    let view = office.recipient();
    manager.send(discovery::Subscribe { place, announce, withdraw, view }).await.unwrap();
    let first = infohashes.recv().await.unwrap();
    let second = infohashes.recv().await.unwrap();
    assert_ne!(first, second);
    let late = clock::unix().saturating_sub(joins);
    assert!(late < Duration::from_secs(3), "{late:?} too late");
}

#[actix::test]
async fn an_answer_to_the_dial_of_a_manager_before_is_nobodys() {
    tokio::time::pause();
    let (_first, mut attempts) = start();
    let before = attempts.recv().await.unwrap();
    let (second, mut attempts) = start();
    let now = attempts.recv().await.unwrap();

    // Else the address would be taken for our own, and never be dialled again.
    second
        .send(LinkNews::DialFailed { attempt: before, why: DialFailure::Ourselves })
        .await
        .unwrap();
    second.send(LinkNews::DialFailed { attempt: now, why: DialFailure::Failed }).await.unwrap();
    let again = tokio::time::timeout(Duration::from_secs(3600), attempts.recv()).await;
    assert!(again.is_ok_and(|attempt| attempt.is_some()), "it is dialled again");
}

/// Writes down who is told to be there.
struct Desk(UnboundedSender<MemberNews>);

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<MemberNews> for Desk {
    type Result = ();

    fn handle(&mut self, news: MemberNews, _: &mut Self::Context) {
        self.0.send(news).unwrap();
    }
}

#[actix::test]
async fn a_chat_desk_that_comes_later_hears_of_nobody_in_a_channel_that_was_left() {
    tokio::time::pause();
    let (manager, mut attempts) = start();
    attempts.recv().await.unwrap();
    let secret = ChannelSecret::generate(&mut Rng::from_seed([1; 32]));
    let channel = ChannelKeys::member(secret).id();
    let peer = PeerId([2; 32]);
    let up = LinkNews::Up {
        link: LinkKey(1),
        peer,
        incarnation: [1; 8],
        attempt: None,
        address: "127.0.0.1:4001".parse().unwrap(),
        shared: vec![(channel, Standing::Member)],
    };
    manager.send(up).await.unwrap();
    let desk = || {
        let (sender, news) = unbounded_channel();
        (SubscribeMembers(Desk(sender).start().recipient()), news)
    };
    let (first, mut news) = desk();
    manager.send(first).await.unwrap();
    let standing = Standing::Member;
    assert_eq!(news.recv().await, Some(MemberNews::Up { channel, peer, standing }));
    manager.send(ChannelEvent::Closed(channel)).await.unwrap();
    let (second, mut news) = desk();
    manager.send(second).await.unwrap();
    manager.send(ListMembers { channel }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(news.try_recv().is_err());
}

#[actix::test]
async fn a_link_with_somebody_blocked_is_ended_whether_before_the_start_or_now() {
    let (told, mut ended) = unbounded_channel();
    let (mesh, _attempts) = start_with(Some(told));
    let up = |link: u64, peer: PeerId| LinkNews::Up {
        link: LinkKey(link),
        peer,
        incarnation: [1; 8],
        attempt: None,
        address: "127.0.0.1:4001".parse().unwrap(),
        shared: vec![(channel(), Standing::Member)],
    };
    mesh.send(up(1, BLOCKED)).await.unwrap();
    assert_eq!(ended.recv().await, Some(LinkKey(1)));
    let other = PeerId([7; 32]);
    mesh.send(up(2, other)).await.unwrap();
    assert!(ended.try_recv().is_err());
    mesh.send(contact(other, Trust::Blocked)).await.unwrap();
    assert_eq!(ended.recv().await, Some(LinkKey(2)));
    mesh.send(contact(other, Trust::Known)).await.unwrap();
    mesh.send(up(3, other)).await.unwrap();
    assert!(ended.try_recv().is_err());
}

use std::path::Path;
use std::time::Duration;

use actix::Addr;
use bitchat_protocol::channel::{ChatFile, Kind, Policy, Right, Rotation};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol::limits::INVITES_PER_CONTACT_MAX;
use bitchat_protocol::wire::InviteAnswer;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::channel_book::{ChannelBook, JoinChannel, LeaveChannel, ListChannels, People};
use crate::contact_book::{AddContact, BlockContact, ContactBook};
use crate::directory::{DirectoryWriter, Route};
use crate::peer_supervisor::LinkKey;
use crate::peer_transport::{OpenStream, SendFrames, Streams, SubscribeStreams, WriteStream};
use crate::vault::Profile;

/// Stands for the peer supervisor, the chat desk and the transport of every link.
struct Neighbour {
    told: UnboundedSender<Told>,
}

#[derive(Debug)]
enum Told {
    Subscribed(Recipient<InviteNews>),
    Sent(Frame),
    Notice(Notice),
}

impl Actor for Neighbour {
    type Context = Context<Self>;
}

impl Handler<SubscribeInvites> for Neighbour {
    type Result = ();

    fn handle(&mut self, SubscribeInvites(office): SubscribeInvites, _: &mut Self::Context) {
        let _ = self.told.send(Told::Subscribed(office));
    }
}

impl Handler<Announce> for Neighbour {
    type Result = ();

    fn handle(&mut self, Announce(notice): Announce, _: &mut Self::Context) {
        let _ = self.told.send(Told::Notice(notice));
    }
}

impl Handler<SendFrames> for Neighbour {
    type Result = ();

    fn handle(&mut self, SendFrames(frames): SendFrames, _: &mut Self::Context) {
        for frame in frames {
            let frame = wire::decode(&frame).unwrap().unwrap();
            let _ = self.told.send(Told::Sent(frame));
        }
    }
}

impl Handler<OpenStream> for Neighbour {
    type Result = Option<bitchat_protocol::quic::StreamId>;

    fn handle(&mut self, _: OpenStream, _: &mut Self::Context) -> Self::Result {
        None
    }
}

impl Handler<WriteStream> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: WriteStream, _: &mut Self::Context) {}
}

impl Handler<SubscribeStreams> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: SubscribeStreams, _: &mut Self::Context) {}
}

/// One person's node, as far as it matters here.
struct Node {
    profile: Profile,
    contacts: Addr<ContactBook>,
    channels: Addr<ChannelBook>,
    invitations: Addr<Invitations>,
    neighbour: Addr<Neighbour>,
    directory: DirectoryWriter,
    told: UnboundedReceiver<Told>,
    news: Recipient<InviteNews>,
}

impl Node {
    async fn start(home: &Path) -> Self {
        Self::start_in(Profile::create(home, "default", None, None).unwrap()).await
    }

    async fn start_in(profile: Profile) -> Self {
        let contacts = ContactBook::open(&profile).unwrap().start();
        let people = People {
            contacts: contacts.clone().recipient(),
            changes: contacts.clone().recipient(),
            places: None,
        };
        let channels = ChannelBook::open(&profile).unwrap().with_people(people).start();
        let (out, mut told) = unbounded_channel();
        let neighbour = Neighbour { told: out }.start();
        let directory = Directory::default();
        let offices = Offices {
            peers: neighbour.clone().recipient(),
            contacts: contacts.clone().recipient(),
            changes: contacts.clone().recipient(),
            notices: neighbour.clone().recipient(),
            channels: ChannelOffices {
                events: channels.clone().recipient(),
                owe: channels.clone().recipient(),
                owed: channels.clone().recipient(),
                issue: channels.clone().recipient(),
                drop: channels.clone().recipient(),
                renew: channels.clone().recipient(),
                take: channels.clone().recipient(),
                find: channels.clone().recipient(),
            },
        };
        let peer = profile.peer_id();
        let invitations = Invitations::new(peer, offices, directory.clone()).start();
        let Some(Told::Subscribed(news)) = told.recv().await else {
            panic!("it introduces itself")
        };
        let directory = DirectoryWriter::new(directory);
        Self { profile, contacts, channels, invitations, neighbour, directory, told, news }
    }

    fn id(&self) -> PeerId {
        self.profile.peer_id()
    }

    async fn add(&self, other: &Self, name: &str) {
        let card = other.profile.identity().card(DisplayName::new(name).unwrap());
        self.contacts.send(AddContact { card, our_name: None }).await.unwrap().unwrap();
        self.settle().await;
    }

    /// Waits until all that was told before is dealt with.
    async fn settle(&self) {
        for _ in 0..3 {
            self.contacts.send(ListContacts).await.unwrap();
            self.channels.send(ListChannels).await.unwrap();
            self.invitations.send(ListInvitations).await.unwrap();
        }
    }

    async fn link(&self, peer: PeerId) {
        self.directory.add(
            peer,
            "linked".into(),
            Route {
                link: LinkKey(1),
                address: "127.0.0.1:1".parse().unwrap(),
                frames: self.neighbour.clone().recipient(),
                streams: Streams {
                    open: self.neighbour.clone().recipient(),
                    write: self.neighbour.clone().recipient(),
                    subscribe: self.neighbour.clone().recipient(),
                },
                rtt_micros: Arc::default(),
            },
        );
        self.news.send(InviteNews::PeerUp(peer)).await.unwrap();
        self.settle().await;
    }

    async fn unlink(&self, peer: PeerId) {
        self.directory.remove(&peer, LinkKey(1));
        self.news.send(InviteNews::PeerDown(peer)).await.unwrap();
    }

    async fn hear(&self, from: PeerId, frame: Frame) {
        let frame = Box::new(frame);
        self.news.send(InviteNews::Frame { from, frame }).await.unwrap();
        self.settle().await;
    }

    /// What was sent and told since it was asked last.
    fn news(&mut self) -> (Vec<Frame>, Vec<Notice>) {
        let (mut sent, mut notices) = (Vec::new(), Vec::new());
        while let Ok(told) = self.told.try_recv() {
            match told {
                Told::Sent(frame) => sent.push(frame),
                Told::Notice(notice) => notices.push(notice),
                Told::Subscribed(_) => {}
            }
        }
        (sent, notices)
    }

    fn sent(&mut self) -> Vec<Frame> {
        self.news().0
    }

    /// Makes the group `name` and opens it.
    async fn group(&self, name: &str) -> ChannelId {
        let rng = &mut Rng::from_seed(crate::entropy::seed());
        let (name, trackers) = (DisplayName::new(name).unwrap(), vec![vec!["udp://t:1".into()]]);
        let file = ChatFile::new_open(name, trackers, vec![], Rotation::Daily, rng).unwrap();
        let file = ChatFile::new_closed(file, Kind::Group, self.id(), Policy::Tickets).unwrap();
        let id = self.channels.send(JoinChannel { file }).await.unwrap().unwrap().id;
        self.channels.send(channel_book::OpenChannel { id }).await.unwrap().unwrap();
        id
    }

    async fn invite(&self, id: ChannelId, peer: PeerId, lifetime: Option<Duration>) -> Delivery {
        let ask = InvitePeer { id, peer, right: Right::Member, lifetime };
        let invited = self.invitations.send(Invite(ask)).await.unwrap().unwrap();
        self.settle().await;
        invited.delivery
    }

    async fn accept(&self, which: &str) -> Result<Summary, InviteError> {
        let accepted = self.invitations.send(Accept { which: which.into() }).await.unwrap();
        self.settle().await;
        accepted
    }

    async fn listing(&self) -> Listing {
        self.invitations.send(ListInvitations).await.unwrap()
    }
}

/// Alice and Bob, who have added each other.
async fn two(homes: &[tempfile::TempDir; 2]) -> (Node, Node) {
    let (alice, bob) = (Node::start(homes[0].path()).await, Node::start(homes[1].path()).await);
    alice.add(&bob, "bob").await;
    bob.add(&alice, "alice").await;
    (alice, bob)
}

fn homes() -> [tempfile::TempDir; 2] {
    [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]
}

/// All files below a directory, with what is in them.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[actix::test]
async fn an_invitation_goes_over_the_link_waits_for_a_word_and_is_answered() {
    let homes = homes();
    let (mut alice, mut bob) = two(&homes).await;
    let id = alice.group("trip").await;
    assert_eq!(alice.invite(id, bob.id(), None).await, Delivery::Waits);
    assert_eq!(alice.listing().await.unanswered[0].label.as_ref(), "trip");
    alice.link(bob.id()).await;
    let [invite] = &alice.sent()[..] else { panic!("one frame") };
    bob.link(alice.id()).await;
    let before = files(homes[1].path());
    bob.hear(alice.id(), invite.clone()).await;
    let (sent, notices) = bob.news();
    let [Notice::Invited(offered)] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!((&*offered.name, &*offered.label, offered.number), ("alice", "trip", 1));
    assert_eq!(offered.founder.as_ref().map(|(founder, _)| *founder), Some(alice.id()));
    assert!(offered.is_contact && sent.is_empty());
    assert_eq!(bob.listing().await.offered, std::slice::from_ref(&**offered));
    assert_eq!(files(homes[1].path()), before, "nothing is on disk before it is accepted");

    let accepted = bob.accept("TRIP").await.unwrap();
    assert_eq!((accepted.id, accepted.is_open), (id, true));
    let answer = Frame::InviteAnswer(InviteAnswer { channel: id, accepted: true });
    assert_eq!(bob.sent(), std::slice::from_ref(&answer));
    assert!(bob.channels.send(channel_book::HasTickets { id }).await.unwrap());
    assert_eq!(bob.listing().await, Listing::default());

    alice.hear(bob.id(), answer.clone()).await;
    let (_, notices) = alice.news();
    let [Notice::InviteAnswered { label, name, accepted: true, .. }] = &notices[..] else {
        panic!("{notices:?}")
    };
    assert_eq!((&**label, &**name), ("trip", "bob"));
    assert_eq!(alice.listing().await, Listing::default());
    assert_eq!(alice.channels.send(ListOwed).await.unwrap(), []);
    // Once more, it answers nothing.
    alice.hear(bob.id(), answer).await;
    assert!(alice.news().1.is_empty());
}

#[actix::test]
async fn what_is_declined_is_said_and_leaves_nothing() {
    let homes = homes();
    let (mut alice, mut bob) = two(&homes).await;
    let id = alice.group("trip").await;
    alice.link(bob.id()).await;
    assert_eq!(alice.invite(id, bob.id(), None).await, Delivery::Sent);
    let invite = alice.sent().remove(0);
    bob.link(alice.id()).await;
    let before = files(homes[1].path());
    bob.hear(alice.id(), invite.clone()).await;
    let wrong = bob.invitations.send(Decline { which: "2".into() }).await.unwrap();
    assert!(matches!(wrong, Err(InviteError::NoOffer(NoOffer::NotFound))), "{wrong:?}");
    bob.invitations.send(Decline { which: "1".into() }).await.unwrap().unwrap();
    let answer = Frame::InviteAnswer(InviteAnswer { channel: id, accepted: false });
    assert_eq!(bob.sent(), std::slice::from_ref(&answer));
    bob.hear(alice.id(), invite).await;
    let (sent, notices) = bob.news();
    assert_eq!((sent.as_slice(), notices.len()), (std::slice::from_ref(&answer), 0));
    assert_eq!(files(homes[1].path()), before);
    alice.hear(bob.id(), answer).await;
    assert!(matches!(alice.news().1[..], [Notice::InviteAnswered { accepted: false, .. }]));
}

#[actix::test]
async fn what_is_owed_outlives_the_node_and_goes_with_the_channel() {
    let homes = homes();
    let (alice, bob) = two(&homes).await;
    let (trip, team) = (alice.group("trip").await, alice.group("team").await);
    for id in [trip, team] {
        alice.invite(id, bob.id(), Some(Duration::from_secs(3600))).await;
    }
    let mut alice = Node::start_in(alice.profile.clone()).await;
    assert_eq!(alice.listing().await.unanswered.len(), 2);
    alice.channels.send(LeaveChannel { id: team }).await.unwrap().unwrap();
    alice.link(bob.id()).await;
    alice.settle().await;
    let sent = alice.sent();
    assert_eq!(sent.len(), 1, "that of the channel that was left is not sent");
    assert_eq!(alice.listing().await.unanswered.len(), 1);
    // On the terms on which it was issued.
    bob.hear(alice.id(), sent[0].clone()).await;
    let offered = bob.listing().await.offered.remove(0);
    let left = offered.expires.unwrap() - clock::unix();
    assert!((3590..=3600).contains(&left.as_secs()), "{left:?}");
    let names: Vec<String> = files(homes[0].path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".invited")).count(), 1, "{names:?}");
}

#[actix::test]
async fn what_is_owed_to_somebody_who_is_blocked_is_forgotten_and_they_are_not_heard() {
    let homes = homes();
    let (mut alice, mut bob) = two(&homes).await;
    let id = alice.group("trip").await;
    alice.link(bob.id()).await;
    alice.invite(id, bob.id(), None).await;
    let invite = alice.sent().remove(0);
    alice.unlink(bob.id()).await;
    alice.contacts.send(BlockContact { peer: bob.id() }).await.unwrap().unwrap();
    alice.settle().await;
    assert_eq!(alice.channels.send(ListOwed).await.unwrap(), []);
    bob.contacts.send(BlockContact { peer: alice.id() }).await.unwrap().unwrap();
    bob.settle().await;
    bob.hear(alice.id(), invite).await;
    assert!(bob.news().1.is_empty());
    assert_eq!(bob.listing().await.offered, []);
}

#[actix::test]
async fn a_better_ticket_for_a_channel_that_is_held_takes_its_place_and_a_worse_one_does_not() {
    let homes = homes();
    let (mut alice, mut bob) = two(&homes).await;
    let id = alice.group("trip").await;
    alice.link(bob.id()).await;
    bob.link(alice.id()).await;
    let hour = Duration::from_secs(3600);
    let mut send = async |lifetime| {
        alice.invite(id, bob.id(), lifetime).await;
        alice.sent().remove(0)
    };
    let (short, long, shorter) = (send(Some(hour)).await, send(None).await, send(Some(hour)).await);
    bob.hear(alice.id(), short).await;
    bob.accept("1").await.unwrap();
    bob.news();
    let answer = Frame::InviteAnswer(InviteAnswer { channel: id, accepted: true });
    bob.hear(alice.id(), long).await;
    let (sent, notices) = bob.news();
    assert_eq!(sent, std::slice::from_ref(&answer));
    let [Notice::TicketRenewed { label, name, .. }] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!((&**label, &**name), ("trip", "alice"));
    bob.hear(alice.id(), shorter).await;
    assert_eq!(bob.sent(), [answer]);
    let open = bob.channels.send(channel_book::ListOpen).await.unwrap();
    let ticket = Ticket::decode(&open[0].door.as_ref().unwrap().tickets[0].0).unwrap();
    assert_eq!(ticket.expires, None);
}

#[actix::test]
async fn an_invitation_for_a_channel_with_another_charter_than_ours_is_dropped() {
    let homes = homes();
    let (mut alice, mut bob) = two(&homes).await;
    let id = alice.group("trip").await;
    alice.link(bob.id()).await;
    alice.invite(id, bob.id(), None).await;
    let invite = alice.sent().remove(0);
    bob.hear(alice.id(), invite.clone()).await;
    let joined = bob.accept("1").await.unwrap();
    bob.news();
    // Bob says of the same channel that it is his.
    let ask = channel_book::ExportChannel { id, seed_only: false };
    let file = bob.channels.send(ask).await.unwrap().unwrap();
    let carol = Node::start(tempfile::tempdir().unwrap().path()).await;
    let rewritten = ChatFile::new_closed(file, Kind::Group, carol.id(), Policy::Tickets).unwrap();
    let lineage = rewritten.charter().unwrap().lineage;
    let own = carol.profile.identity();
    let ticket = Ticket::issue(own, lineage, bob.id(), Right::Member, None);
    let frame = to_frame(&Invitation { file: rewritten, tickets: vec![ticket] });
    bob.hear(carol.id(), frame).await;
    let (sent, notices) = bob.news();
    assert_eq!((sent.len(), notices.len()), (0, 0));
    let now = bob.channels.send(FindChannel { text: "trip".into() }).await.unwrap().unwrap();
    assert_eq!(now.founder, joined.founder);
}

#[actix::test]
async fn so_many_are_owed_to_one_and_what_is_too_large_is_handed_over_another_way() {
    let homes = homes();
    let (alice, bob) = two(&homes).await;
    let mut last = None;
    for at in 0..INVITES_PER_CONTACT_MAX {
        let id = alice.group(&format!("trip {at}")).await;
        assert_eq!(alice.invite(id, bob.id(), None).await, Delivery::Waits);
        last = Some(id);
    }
    let one_more = alice.group("one more").await;
    let refused = alice.invite(one_more, bob.id(), None).await;
    assert_eq!(refused, Delivery::NotSent(NotOwed::PeerFull));
    // The same again is no other.
    assert_eq!(alice.invite(last.unwrap(), bob.id(), None).await, Delivery::Waits);

    let carol = PeerId([7; 32]);
    let large = async |seed, trackers| {
        let rng = &mut Rng::from_seed([seed; 32]);
        let url = |at: usize| vec![format!("http://t/{at}/{}", "x".repeat(1900))];
        let (name, trackers) = (DisplayName::new("large").unwrap(), (0..trackers).map(url));
        let trackers = trackers.collect();
        let file = ChatFile::new_open(name, trackers, vec![], Rotation::Daily, rng).unwrap();
        let file = ChatFile::new_closed(file, Kind::Closed, alice.id(), Policy::Tickets).unwrap();
        let id = alice.channels.send(JoinChannel { file }).await.unwrap().unwrap().id;
        alice.invite(id, carol, None).await
    };
    assert_eq!(large(1, 30).await, Delivery::Waits);
    assert_eq!(large(2, 30).await, Delivery::Waits);
    assert_eq!(large(3, 30).await, Delivery::NotSent(NotOwed::PeerFull), "by their bytes");
    let refused = large(4, 40).await;
    assert!(matches!(refused, Delivery::NotSent(NotOwed::TooLarge { .. })), "{refused:?}");
    assert_eq!(alice.listing().await.unanswered.len(), INVITES_PER_CONTACT_MAX + 2);
}

#[actix::test]
async fn what_has_expired_is_not_sent() {
    let homes = homes();
    let (mut alice, bob) = two(&homes).await;
    let (good, expired) = (alice.group("good").await, alice.group("expired").await);
    alice.invite(good, bob.id(), None).await;
    let issued = clock::unix();
    alice.invite(expired, bob.id(), Some(Duration::from_secs(1))).await;
    // By the calendar, which no paused clock moves.
    while clock::unix() < issued + Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    alice.link(bob.id()).await;
    assert_eq!(alice.sent().len(), 1);
    assert_eq!(alice.channels.send(ListOwed).await.unwrap(), [(good, bob.id())]);
    assert_eq!(alice.listing().await.unanswered.len(), 1);
}

//! Supervisors on loopback, between books that the tests play.

use std::net::Ipv4Addr;

use bitchat_protocol::channel::{ChannelKeys, ChannelSecret};
use bitchat_protocol::contact::{Admission, Contact};
use bitchat_protocol::crypto::{Rng, sign::SigningKey};
use bitchat_protocol::quic::EndpointConfig;
use bitchat_protocol::session::OwnChannel;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::udp_port::{self, AddChannel, FindLocalPort, UdpPort};

/// Both books: writes down whom it is asked about, and admits them, or thinks about it for ever.
struct Books {
    asked: UnboundedSender<PeerId>,
    answers: bool,
}

impl Actor for Books {
    type Context = Context<Self>;
}

impl Handler<AdmitPeer> for Books {
    type Result = actix::ResponseFuture<Admission>;

    fn handle(&mut self, question: AdmitPeer, _: &mut Context<Self>) -> Self::Result {
        self.asked.send(question.peer).unwrap();
        let answers = self.answers;
        Box::pin(async move {
            if !answers {
                std::future::pending::<()>().await;
            }
            Admission::Accept { name: question.name.into() }
        })
    }
}

impl Handler<contact_book::Subscribe> for Books {
    type Result = ();

    fn handle(&mut self, _: contact_book::Subscribe, _: &mut Context<Self>) {}
}

impl Handler<JudgePeer> for Books {
    type Result = actix::MessageResult<JudgePeer>;

    fn handle(&mut self, _: JudgePeer, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(Ok(None))
    }
}

impl Handler<NoteTurndown> for Books {
    type Result = ();

    fn handle(&mut self, _: NoteTurndown, _: &mut Context<Self>) {}
}

impl Handler<TakeMove> for Books {
    type Result = ();

    fn handle(&mut self, _: TakeMove, _: &mut Context<Self>) {}
}

/// Hands on what the mesh is told.
struct Listener(UnboundedSender<LinkNews>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<LinkNews> for Listener {
    type Result = ();

    fn handle(&mut self, news: LinkNews, _: &mut Context<Self>) {
        let _ = self.0.send(news);
    }
}

struct Node {
    peer: PeerId,
    channel: ChannelId,
    address: SocketAddr,
    peers: Addr<PeerSupervisor>,
    asked: UnboundedReceiver<PeerId>,
    news: UnboundedReceiver<LinkNews>,
}

impl Node {
    async fn start(seed: u8, answers: bool) -> Self {
        let key = SigningKey::from_seed(Rng::from_seed([seed; 32]).secret());
        let keys = ChannelKeys::member(ChannelSecret::generate(&mut Rng::from_seed([42; 32])));
        let config = udp_port::Config {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            reserved: None,
            buffer_bytes: 64 * 1024,
            endpoint: EndpointConfig::default(),
        };
        let udp = UdpPort::bind(config, &key).unwrap().start();
        udp.send(AddChannel { id: keys.id(), gate: keys.gate().clone() }).await.unwrap();
        let (told, asked) = unbounded_channel();
        let books = Books { asked: told, answers }.start();
        let offices = Offices {
            connect: udp.clone().recipient(),
            attach: udp.clone().recipient(),
            abandon: udp.clone().recipient(),
            endpoint: udp.clone().recipient(),
            carry: udp.clone().recipient(),
            observed: udp.clone().recipient(),
            incoming: udp.clone().recipient(),
            admit: books.clone().recipient(),
            contacts: books.clone().recipient(),
            judge: books.clone().recipient(),
            turned_down: books.clone().recipient(),
            moves: books.recipient(),
        };
        let peer = PeerId(*key.public());
        let config = Config {
            own_peer: peer,
            own_name: Arc::from("node"),
            incarnation: [seed; 8],
            renewal_interval: Duration::from_secs(3600),
        };
        let peers = PeerSupervisor::new(config, offices, Directory::default()).start();
        let own = Arc::new(vec![OwnChannel::from(&keys)]);
        peers.send(SetOwnChannels(own)).await.unwrap();
        let (told, news) = unbounded_channel();
        peers.send(SubscribeMesh(Listener(told).start().recipient())).await.unwrap();
        let port = udp.send(FindLocalPort).await.unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { peer, channel: keys.id(), address, peers, asked, news }
    }

    async fn dial(&self, attempt: u64, to: &Self) {
        let (channel, address) = (self.channel, to.address);
        self.peers.send(Dial { attempt, channel, address, expect: None }).await.unwrap();
    }

    async fn trust(&self, peer: PeerId, trust: Trust) {
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
        self.peers.send(ContactChanged { peer, contact: Some(contact) }).await.unwrap();
    }

    async fn hear(&mut self) -> LinkNews {
        let heard = tokio::time::timeout(Duration::from_secs(20), self.news.recv());
        heard.await.expect("it is told in time").expect("the listener lives")
    }
}

#[actix::test]
async fn who_is_blocked_is_told_nothing_and_the_mesh_why_the_dial_failed() {
    let (mut us, mut blocked) = (Node::start(1, true).await, Node::start(2, true).await);
    us.trust(blocked.peer, Trust::Blocked).await;
    us.dial(7, &blocked).await;
    let heard = us.hear().await;
    let why = DialFailure::Blocked;
    assert!(
        matches!(heard, LinkNews::DialFailed { attempt: 7, why: it } if it == why),
        "{heard:?}"
    );
    assert!(us.asked.try_recv().is_err());
    assert!(blocked.asked.try_recv().is_err(), "it has heard no hello");

    us.trust(blocked.peer, Trust::Known).await;
    us.dial(8, &blocked).await;
    assert!(matches!(us.hear().await, LinkNews::Up { .. }));
    assert!(matches!(blocked.hear().await, LinkNews::Up { .. }));
}

#[actix::test]
async fn blocking_ends_a_link_that_is_not_up_yet() {
    let (mut us, mut other) = (Node::start(1, false).await, Node::start(2, true).await);
    other.dial(7, &us).await;
    assert_eq!(us.asked.recv().await, Some(other.peer));
    us.trust(other.peer, Trust::Blocked).await;
    // Its own side may have thought that it was up.
    loop {
        match other.hear().await {
            LinkNews::Up { .. } => {}
            LinkNews::DialFailed { .. } | LinkNews::Down { .. } => break,
            other @ (LinkNews::SharedChanged { .. } | LinkNews::Peers { .. }) => {
                panic!("{other:?}")
            }
        }
    }
}

#[actix::test]
async fn one_peer_cannot_hold_many_links_that_do_not_come_up() {
    let (mut us, mut other) = (Node::start(1, false).await, Node::start(2, true).await);
    let opening = u64::try_from(OPENING_LINKS_PER_PEER_MAX).unwrap();
    for attempt in 0..opening {
        other.dial(attempt, &us).await;
        assert_eq!(us.asked.recv().await, Some(other.peer));
    }
    other.dial(opening, &us).await;
    loop {
        match other.hear().await {
            LinkNews::Up { .. } => {}
            LinkNews::Down { link, .. } => break assert_eq!(link, LinkKey(opening)),
            LinkNews::DialFailed { attempt, .. } => break assert_eq!(attempt, opening),
            other @ (LinkNews::SharedChanged { .. } | LinkNews::Peers { .. }) => {
                panic!("{other:?}")
            }
        }
    }
}

/// Hands on who was turned away.
struct Chat(UnboundedSender<PeerId>);

impl Actor for Chat {
    type Context = Context<Self>;
}

impl Handler<ChatNews> for Chat {
    type Result = ();

    fn handle(&mut self, news: ChatNews, _: &mut Context<Self>) {
        if let ChatNews::Refused(refused) = news {
            self.0.send(refused.peer).unwrap();
        }
    }
}

#[actix::test]
async fn that_somebody_came_under_the_name_of_a_contact_is_told_once_for_each_contact() {
    let node = Node::start(1, true).await;
    let (told, mut heard) = unbounded_channel();
    node.peers.send(SubscribeChat(Chat(told).start().recipient())).await.unwrap();
    for (came, known) in [(1, 7), (2, 7), (3, 8), (4, 8)] {
        let (peer, known) = (PeerId([came; 32]), PeerId([known; 32]));
        let refusal = Refusal::KeyConflict { name: "Alice".into(), known };
        node.peers.send(PeerRefused { peer, refusal }).await.unwrap();
    }
    assert_eq!(heard.recv().await, Some(PeerId([1; 32])));
    assert_eq!(heard.recv().await, Some(PeerId([3; 32])));
    assert!(heard.try_recv().is_err());
}

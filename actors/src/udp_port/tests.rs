//! The port on loopback, with offices that the tests play.

use std::net::Ipv4Addr;

use actix::Addr;
use bitchat_protocol::channel::{ChannelKeys, ChannelSecret};
use bitchat_protocol::crypto::Rng;

use super::*;

/// Takes links and forgets them.
struct Office;

impl Actor for Office {
    type Context = Context<Self>;
}

impl Handler<IncomingLink> for Office {
    type Result = ();

    fn handle(&mut self, _: IncomingLink, _: &mut Self::Context) {}
}

#[derive(Message)]
#[rtype(result = "usize")]
struct CountLinks;

impl Handler<CountLinks> for UdpPort {
    type Result = usize;

    fn handle(&mut self, _: CountLinks, _: &mut Self::Context) -> usize {
        self.links.len()
    }
}

async fn port() -> (Addr<UdpPort>, Dial) {
    let config = Config {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        reserved: None,
        buffer_bytes: 64 * 1024,
        endpoint: EndpointConfig::default(),
    };
    let key = SigningKey::from_seed(Rng::from_seed([1; 32]).secret());
    let port = UdpPort::bind(config, &key).unwrap().start();
    let keys = ChannelKeys::member(ChannelSecret::generate(&mut Rng::from_seed([2; 32])));
    let gate = keys.gate().clone();
    port.send(AddChannel { id: keys.id(), gate }).await.unwrap();
    let number = port.send(FindLocalPort).await.unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
    (port, Dial { channel: keys.id(), address, expect: None })
}

#[actix::test]
async fn the_links_of_an_office_that_was_started_again_are_forgotten() {
    let (port, dial) = port().await;
    port.send(SubscribeIncoming(Office.start().recipient())).await.unwrap();
    let mut before = Vec::new();
    for _ in 0..3 {
        before.push(port.send(Connect(dial)).await.unwrap().unwrap().id());
    }
    assert_eq!(port.send(CountLinks).await.unwrap(), 3);
    port.send(SubscribeIncoming(Office.start().recipient())).await.unwrap();
    assert_eq!(port.send(CountLinks).await.unwrap(), 0);
    let after = port.send(Connect(dial)).await.unwrap().unwrap().id();
    assert!(before.contains(&after), "the endpoint gives their places to others");
}

#[actix::test]
async fn where_members_see_us_is_told_as_long_as_their_links_live() {
    let (port, dial) = port().await;
    port.send(SubscribeIncoming(Office.start().recipient())).await.unwrap();
    let at: SocketAddr = "9.9.9.9:7".parse().unwrap();
    let mut links = Vec::new();
    for by in [1, 2] {
        let link = port.send(Connect(dial)).await.unwrap().unwrap().id();
        port.send(NoteObserved { link, by: PeerId([by; 32]), at }).await.unwrap();
        links.push(link);
    }
    let whereabouts = port.send(FindWhereabouts).await.unwrap();
    assert_eq!(whereabouts.listening, [dial.address]);
    assert_eq!(whereabouts.observed.len(), 2);
    assert_eq!(whereabouts.nat_v4, NatKind::EndpointIndependent);
    for link in links {
        port.send(Abandon(link)).await.unwrap();
    }
    let whereabouts = port.send(FindWhereabouts).await.unwrap();
    assert_eq!((whereabouts.observed.len(), whereabouts.nat_v4), (0, NatKind::Unknown));
}

#[actix::test]
async fn sockets_that_were_reserved_are_taken_at_the_first_start_and_bound_anew_at_the_next() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let reserved = Reserved::bind(&[any]).unwrap();
    let port = reserved.0.lock().unwrap().as_ref().unwrap()[0].local_addr().unwrap().port();
    let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    assert!(Reserved::bind(&listen).is_err(), "nobody else can have it");
    let config = Config {
        listen,
        reserved: Some(reserved),
        buffer_bytes: 64 * 1024,
        endpoint: EndpointConfig::default(),
    };
    let key = SigningKey::from_seed(Rng::from_seed([1; 32]).secret());
    for _ in 0..2 {
        let started = UdpPort::bind(config.clone(), &key).unwrap();
        assert_eq!(started.local_port(), port);
    }
}

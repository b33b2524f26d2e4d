//! The announcer with a real HTTP tracker on loopback, and with neighbours that the tests play.

use std::net::SocketAddr;
use std::time::Duration;

use actix::Addr;
use bitchat_protocol::id::InfoHash;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::resolver::ResolveError;

const CHANNEL: ChannelId = ChannelId([1; 32]);
const PEER: [u8; 6] = [127, 0, 0, 1, 0, 80];

/// What reached a neighbour.
#[derive(Debug)]
enum Seen {
    Subscribed,
    Introduced,
    Asked(String),
    Sent(SocketAddr, Vec<u8>),
    Found(PeersDiscovered),
}

/// All neighbours at once.
struct Neighbour {
    seen: UnboundedSender<Seen>,
}

impl Actor for Neighbour {
    type Context = Context<Self>;
}

impl Handler<SubscribeTracker> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: SubscribeTracker, _: &mut Self::Context) {
        self.seen.send(Seen::Subscribed).unwrap();
    }
}

impl Handler<discovery::Subscribe> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: discovery::Subscribe, _: &mut Self::Context) {
        self.seen.send(Seen::Introduced).unwrap();
    }
}

impl Handler<SendDatagram> for Neighbour {
    type Result = ();

    fn handle(&mut self, SendDatagram { to, bytes }: SendDatagram, _: &mut Self::Context) {
        self.seen.send(Seen::Sent(to, bytes)).unwrap();
    }
}

impl Handler<PeersDiscovered> for Neighbour {
    type Result = ();

    fn handle(&mut self, found: PeersDiscovered, _: &mut Self::Context) {
        self.seen.send(Seen::Found(found)).unwrap();
    }
}

impl Handler<FindAddresses> for Neighbour {
    type Result = Result<Vec<SocketAddr>, ResolveError>;

    fn handle(&mut self, question: FindAddresses, _: &mut Self::Context) -> Self::Result {
        self.seen.send(Seen::Asked(question.host.clone())).unwrap();
        match question.host.as_str() {
            "tracker.test" => Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), question.port)]),
            _ => Err(ResolveError::NoAddress),
        }
    }
}

struct Bench {
    announcer: Addr<TrackerAnnouncer>,
    seen: UnboundedReceiver<Seen>,
}

impl Bench {
    async fn start() -> Self {
        let (seen, mut events) = unbounded_channel();
        let neighbour = Neighbour { seen }.start();
        let neighbours = Neighbours {
            udp: neighbour.clone().recipient(),
            udp_answers: neighbour.clone().recipient(),
            resolver: neighbour.clone().recipient(),
            peers: neighbour.clone().recipient(),
            mesh: neighbour.recipient(),
            fetcher: Fetcher::new(),
        };
        let announcer = TrackerAnnouncer::new(Config::default(), neighbours).start();
        assert!(matches!(events.recv().await, Some(Seen::Subscribed)));
        assert!(matches!(events.recv().await, Some(Seen::Introduced)));
        Self { announcer, seen: events }
    }

    async fn announce(&self, tracker: &str) {
        let announce = Announce {
            nodes: Vec::new(),
            channel: CHANNEL,
            infohash: InfoHash([0x80; 20]),
            tiers: vec![vec!["not a tracker".to_owned(), tracker.to_owned()]],
            port: 7,
        };
        self.announcer.send(announce).await.unwrap();
    }

    async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    async fn datagram(&mut self) -> Vec<u8> {
        let seen = self.next().await;
        let Seen::Sent(to, bytes) = seen else { panic!("{seen:?}") };
        assert_eq!(to, "127.0.0.1:6969".parse().unwrap());
        bytes
    }

    async fn peers(&mut self) -> Vec<SocketAddr> {
        let seen = self.next().await;
        let Seen::Found(found) = seen else { panic!("{seen:?}") };
        assert_eq!(found.channel, CHANNEL);
        found.peers
    }

    fn answer(&self, from: &str, parts: &[&[u8]]) {
        let from = from.parse().unwrap();
        self.announcer.do_send(TrackerDatagram { from, bytes: parts.concat() });
    }
}

/// A tracker that answers each request with one peer; gives the request lines.
async fn http_tracker() -> (u16, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (lines, requests) = unbounded_channel();
    actix_rt::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let line = String::from_utf8(request).unwrap().lines().next().unwrap().to_owned();
            lines.send(line).unwrap();
            let body = [b"d8:intervali1800e5:peers6:", &PEER[..], b"e"].concat();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        }
    });
    (port, requests)
}

#[actix::test]
async fn an_http_tracker_is_found_by_name_asked_and_left() {
    let (port, mut requests) = http_tracker().await;
    let mut bench = Bench::start().await;
    bench.announce(&format!("http://tracker.test:{port}/announce")).await;
    assert!(matches!(bench.next().await, Seen::Asked(host) if host == "tracker.test"));
    assert!(requests.recv().await.unwrap().contains("&port=7&"));
    assert_eq!(bench.peers().await, ["127.0.0.1:80".parse().unwrap()]);
    let statuses = bench.announcer.send(ListSources).await.unwrap();
    assert_eq!(statuses.len(), 2, "over IPv4 and IPv6; what is no address is left out");
    assert!(statuses[0].last_answer.is_some());
    assert_eq!(statuses[0].place, format!("http://tracker.test:{port}"), "nothing of its path");
    assert_eq!((statuses[0].state, statuses[0].peers_found), (SourceState::Works, 1));
    bench.announcer.send(WithdrawAll).await.unwrap();
    let goodbye = requests.recv().await.unwrap();
    assert!(goodbye.contains("&event=stopped&numwant=0&"), "{goodbye}");
    assert_eq!(bench.announcer.send(ListSources).await.unwrap(), []);
}

#[actix::test]
async fn a_udp_tracker_is_asked_through_the_shared_port() {
    let mut bench = Bench::start().await;
    bench.announce("udp://127.0.0.1:6969/announce").await;
    let connect = bench.datagram().await;
    bench.answer("127.0.0.1:6969", &[&[0; 4], &connect[12..], &[5; 8]]);
    let announce = bench.datagram().await;
    assert_eq!(announce[..8], [5; 8]);
    let (tid, interval) = (&announce[12..16], 1800_u32.to_be_bytes());
    bench.answer("127.0.0.1:6970", &[&[0, 0, 0, 1], tid, &interval, &[0; 8], &[9; 6]]);
    bench.answer("127.0.0.1:6969", &[&[0, 0, 0, 1], tid, &interval, &[0; 8], &PEER]);
    assert_eq!(bench.peers().await, ["127.0.0.1:80".parse().unwrap()]);
}

#[actix::test]
async fn a_complete_channel_is_announced_more_rarely() {
    let mut bench = Bench::start().await;
    bench.announce("udp://127.0.0.1:6969/announce").await;
    let connect = bench.datagram().await;
    bench.answer("127.0.0.1:6969", &[&[0; 4], &connect[12..], &[5; 8]]);
    let tid = bench.datagram().await[12..16].to_vec();
    bench.answer("127.0.0.1:6969", &[&[0, 0, 0, 1], &tid, &300_u32.to_be_bytes(), &[0; 8]]);
    let mut pauses = Vec::new();
    for view in [Completeness::None, Completeness::Full, Completeness::Partial] {
        bench.announcer.send(ViewChanged { channel: CHANNEL, view }).await.unwrap();
        let status = bench.announcer.send(ListSources).await.unwrap().remove(0);
        let pause = status.next_try.unwrap() - status.last_answer.unwrap();
        pauses.push(pause.as_secs_f64());
    }
    // The beat of the worn client's timer may make each up to a second shorter.
    let near = |pause: f64, whole: f64| pause > whole - 1.0 && pause <= whole;
    assert!(near(pauses[0], 300.0) && near(pauses[1], 600.0) && near(pauses[2], 300.0));
}

#[actix::test]
async fn leaving_a_silent_tracker_takes_five_seconds_and_then_the_actor_stops() {
    let mut bench = Bench::start().await;
    bench.announce("udp://127.0.0.1:6969/announce").await;
    let connect = bench.datagram().await;
    bench.answer("127.0.0.1:6969", &[&[0; 4], &connect[12..], &[5; 8]]);
    let tid = bench.datagram().await[12..16].to_vec();
    bench.answer("127.0.0.1:6969", &[&[0, 0, 0, 1], &tid, &300_u32.to_be_bytes(), &[0; 8]]);
    tokio::time::pause();
    let begin = clock::now();
    bench.announcer.do_send(Shutdown { within: Duration::from_secs(30) });
    bench.announcer.send(WithdrawAll).await.unwrap();
    assert!(clock::now() - begin >= Duration::from_secs(5));
    assert!(clock::now() - begin < Duration::from_secs(6));
    bench.datagram().await;
    while bench.announcer.connected() {
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn with_nothing_to_leave_leaving_is_at_once() {
    let bench = Bench::start().await;
    tokio::time::pause();
    let begin = clock::now();
    bench.announcer.send(WithdrawAll).await.unwrap();
    assert_eq!(clock::now(), begin);
}

#[actix::test]
async fn a_name_that_is_nobodys_is_a_failure_in_words() {
    let mut bench = Bench::start().await;
    bench.announce("http://nobody.test/announce").await;
    assert!(matches!(bench.next().await, Seen::Asked(_)));
    let status = loop {
        let status = bench.announcer.send(ListSources).await.unwrap().remove(0);
        if status.state != SourceState::Asked {
            break status;
        }
    };
    assert_eq!(status.last_error.as_deref(), Some("its name has no address"));
}

//! Looks whether trackers can be reached, for a person who asks what is wrong.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`ProbeTracker`] | `bitchat doctor` | knocks once over each IP version |
//!
//! A UDP tracker gets one connect request (BEP 15), an HTTP tracker a connection, and TLS where its
//! address says so. Nothing is announced: no tracker learns of a channel by it.
//!
//! Not part of a node's tree: it lives as long as the command that asks.
//! Owns: a socket for each knock under way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, Recipient, ResponseFuture};
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::tracker::TrackerUrl;
use bitchat_protocol::tracker::announcer::Family;
use bitchat_protocol::tracker::reply::plain_text;
use bitchat_protocol::tracker::udp::{self, Answer};
use bitchat_protocol::tracker::url::Scheme;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::http_fetch::{FetchError, Fetcher};
use crate::resolver::{FindAddresses, ResolveError};
use crate::{clock, entropy};

/// Messages waiting at most, on top of one per sender.
pub const MAILBOX: usize = 64;

/// Trackers that are knocked at at once.
const PROBES_MAX: usize = 8;

/// Bytes read of an answer; a longer one is cut, and none that counts is.
const ANSWER_BYTES: usize = 2048;

/// Knocks at a tracker.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Probed")]
pub struct ProbeTracker {
    /// Its address.
    pub url: String,
}

/// The answer to [`ProbeTracker`].
#[derive(Debug)]
pub struct Probed {
    /// Scheme, host and port; what follows may contain a key of the user's.
    pub place: String,
    /// What came of it over each IP version that the tracker has; or why there was no knocking.
    pub knocks: Result<Vec<Knock>, NoKnock>,
}

/// What came of knocking at a tracker over one IP version.
#[derive(Debug)]
pub struct Knock {
    /// The IP version.
    pub family: Family,
    /// The time it took, or why there was no answer.
    pub outcome: Result<Duration, KnockError>,
}

/// Why nobody could be knocked at.
#[derive(Debug, thiserror::Error)]
pub enum NoKnock {
    /// What was given is no address of a tracker.
    #[error("{0}")]
    Url(#[from] bitchat_protocol::tracker::UrlError),
    /// Its name has no address.
    #[error(transparent)]
    Name(#[from] ResolveError),
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum KnockError {
    /// The system sends nothing there.
    #[error("nothing can be sent there: {}", .0.kind())]
    Unreachable(#[source] io::Error),
    /// Another program, or none, is there.
    #[error("nobody listens there")]
    Refused,
    /// Nothing came in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// It wants nothing of us.
    #[error("it refused: {0}")]
    Unwilling(String),
    /// What came is no answer of a tracker.
    #[error("its answer makes no sense")]
    Nonsense,
    /// No connection, or no TLS on it.
    #[error(transparent)]
    Connection(FetchError),
}

/// The actor; see the module's documentation.
#[derive(Debug)]
pub struct TrackerProbe {
    resolver: Recipient<FindAddresses>,
    fetcher: Fetcher,
    patience: Duration,
    room: Arc<Semaphore>,
}

impl TrackerProbe {
    /// Waits for each answer as long as `patience`.
    #[must_use]
    pub fn new(resolver: Recipient<FindAddresses>, fetcher: Fetcher, patience: Duration) -> Self {
        Self { resolver, fetcher, patience, room: Arc::new(Semaphore::new(PROBES_MAX)) }
    }
}

impl Actor for TrackerProbe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<ProbeTracker> for TrackerProbe {
    type Result = ResponseFuture<Probed>;

    fn handle(
        &mut self,
        ProbeTracker { url }: ProbeTracker,
        _: &mut Self::Context,
    ) -> Self::Result {
        let (resolver, fetcher) = (self.resolver.clone(), self.fetcher.clone());
        let (room, patience) = (Arc::clone(&self.room), self.patience);
        Box::pin(async move {
            // Never closed; without a place there is no bound, and that is all.
            let _place = room.acquire().await;
            let url: TrackerUrl = match url.parse() {
                Ok(url) => url,
                Err(error) => return Probed { place: url, knocks: Err(NoKnock::Url(error)) },
            };
            let place = format!("{}://{}", url.scheme(), url.host_and_port());
            let knocks = match find(&resolver, &url).await {
                Ok(addresses) => Ok(knock_over_each(&addresses, &url, &fetcher, patience).await),
                Err(error) => Err(NoKnock::Name(error)),
            };
            Probed { place, knocks }
        })
    }
}

async fn find(
    resolver: &Recipient<FindAddresses>,
    url: &TrackerUrl,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let question = FindAddresses { host: url.host().to_owned(), port: url.port() };
    resolver.send(question).await.unwrap_or(Err(ResolveError::Unreachable))
}

/// Tries the first address of each IP version.
async fn knock_over_each(
    addresses: &[SocketAddr],
    url: &TrackerUrl,
    fetcher: &Fetcher,
    patience: Duration,
) -> Vec<Knock> {
    let mut knocks = Vec::new();
    for family in [Family::V4, Family::V6] {
        let first = addresses.iter().find(|it| Family::of(it.ip()) == family);
        if let Some(address) = first.copied() {
            let began = clock::now();
            let done = timeout(patience, knock(address, url, fetcher)).await;
            let outcome = done.unwrap_or(Err(KnockError::TimedOut)).map(|()| clock::now() - began);
            knocks.push(Knock { family, outcome });
        }
    }
    knocks
}

async fn knock(address: SocketAddr, url: &TrackerUrl, fetcher: &Fetcher) -> Result<(), KnockError> {
    let tls = (url.scheme() == Scheme::Https).then(|| url.host());
    match url.scheme() {
        Scheme::Udp => knock_by_udp(address).await,
        Scheme::Http | Scheme::Https => {
            fetcher.connect(address, tls).await.map_err(KnockError::Connection)
        }
    }
}

async fn knock_by_udp(address: SocketAddr) -> Result<(), KnockError> {
    let own: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await.map_err(KnockError::Unreachable)?;
    // Connected: only that address is heard, and a refusal of its host is.
    socket.connect(address).await.map_err(KnockError::Unreachable)?;
    let transaction = u32::from_be_bytes(Rng::from_seed(entropy::seed()).array());
    let request = udp::encode_connect(transaction);
    socket.send(&request).await.map_err(KnockError::Unreachable)?;
    let mut bytes = [0; ANSWER_BYTES];
    let len = socket.recv(&mut bytes).await.map_err(|error| {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            KnockError::Refused
        } else {
            KnockError::Unreachable(error)
        }
    })?;
    let answer = &bytes[..len];
    if udp::transaction(answer) != Some(transaction) {
        return Err(KnockError::Nonsense);
    }
    match udp::decode(answer) {
        Ok(Answer::Connected { .. }) => Ok(()),
        Ok(Answer::Refused { message }) => Err(KnockError::Unwilling(plain_text(message))),
        Ok(Answer::Announced { .. }) | Err(_) => Err(KnockError::Nonsense),
    }
}

#[cfg(test)]
mod tests {
    use actix::Addr;
    use tokio::net::TcpListener;

    use crate::resolver::{self, Resolver};

    use super::*;

    fn probe(patience: Duration) -> Addr<TrackerProbe> {
        let resolver = Resolver::new(resolver::Config::default()).start();
        TrackerProbe::new(resolver.recipient(), Fetcher::new(), patience).start()
    }

    /// What comes of knocking at loopback, in words.
    async fn knock_at(url: &str, patience: Duration) -> Vec<(Family, String)> {
        let probed = probe(patience).send(ProbeTracker { url: url.to_owned() }).await.unwrap();
        let words = |outcome: Result<Duration, KnockError>| match outcome {
            Ok(_) => "answered".to_owned(),
            Err(error) => error.to_string(),
        };
        let knocks = probed.knocks.unwrap();
        knocks.into_iter().map(|knock| (knock.family, words(knock.outcome))).collect()
    }

    /// A UDP tracker that answers one request with what `answer` makes of its transaction.
    async fn udp_tracker(answer: impl Fn([u8; 4]) -> Vec<u8> + 'static) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let url = format!("udp://{}/announce", socket.local_addr().unwrap());
        actix_rt::spawn(async move {
            let mut request = [0; 64];
            let (len, from) = socket.recv_from(&mut request).await.unwrap();
            assert_eq!(len, 16, "a connect request and nothing else");
            socket.send_to(&answer(request[12..16].try_into().unwrap()), from).await.unwrap();
        });
        url
    }

    const LONG: Duration = Duration::from_secs(10);

    #[actix::test]
    async fn a_udp_tracker_is_told_by_its_answer() {
        let good = |id: [u8; 4]| [&[0; 4], &id[..], &[7; 8]].concat();
        let refuses = |id: [u8; 4]| [&[0, 0, 0, 3], &id[..], b"no\x1b[2J"].concat();
        let other = |_| [[0; 4], [1; 4], [7; 4], [7; 4]].concat();
        let url = udp_tracker(good).await;
        assert_eq!(knock_at(&url, LONG).await, [(Family::V4, "answered".to_owned())]);
        let url = udp_tracker(refuses).await;
        assert!(knock_at(&url, LONG).await[0].1.starts_with("it refused: no"));
        let url = udp_tracker(other).await;
        assert_eq!(knock_at(&url, LONG).await[0].1, "its answer makes no sense");
    }

    #[actix::test]
    async fn silence_and_nobody_are_told_apart() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let hasty = Duration::from_millis(50);
        let url = format!("udp://{address}/announce");
        assert_eq!(knock_at(&url, hasty).await[0].1, "it did not answer in time");
        drop(silent);
        assert_eq!(knock_at(&url, LONG).await[0].1, "nobody listens there");
    }

    #[actix::test]
    async fn an_http_tracker_is_connected_to_and_asked_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/announce", listener.local_addr().unwrap());
        let heard = actix_rt::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await.unwrap();
            bytes
        });
        assert_eq!(knock_at(&url, LONG).await, [(Family::V4, "answered".to_owned())]);
        assert_eq!(heard.await.unwrap(), b"");
        assert_eq!(knock_at(&url, LONG).await[0].1, "cannot connect: connection refused");
    }

    #[actix::test]
    async fn what_is_no_tracker_is_not_knocked_at() {
        let probed = probe(LONG).send(ProbeTracker { url: "ftp://x".to_owned() }).await.unwrap();
        assert!(matches!(probed.knocks, Err(NoKnock::Url(_))), "{probed:?}");
    }
}

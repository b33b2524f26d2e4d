//! Names to addresses, through the system's name servers.
//!
//! | message | from | what it does |
//! |---|---|---|
//! | [`FindAddresses`] | whoever has a name | answers with its addresses, IPv4 first |
//!
//! Owns: the cache of answers, bounded by count, and the sockets to the name servers.
//! Lost on a crash: the cache; look-ups under way fail and are asked again.
//! IP addresses and `localhost` are answered here. Only A and AAAA are asked, as the worn BitTorrent
//! client does, and names with a dot only as they stand, never with a search domain behind them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, Context, Handler, Message, Recipient, ResponseActFuture,
    WrapFuture as _,
};
use bitchat_protocol::limits::RESOLVED_ADDRESSES_MAX;
use trust_dns_resolver::TokioResolver;
use trust_dns_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use trust_dns_resolver::net::NetError;
use trust_dns_resolver::net::runtime::TokioRuntimeProvider;

/// Messages waiting at most, on top of one per sender.
pub const MAILBOX: usize = 128;

/// Look-ups under way at most; each holds a socket.
const LOOKUPS_MAX: usize = 64;

/// Which name servers to ask, and for how long.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name servers; none: those of the system (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// Time for one look-up in all. Longer: announces wait for dead servers. A guess, and the
    /// resolver library's own for one try.
    pub timeout: Duration,
    /// Answers that are remembered, each as long as it says itself. Smaller: the name servers see
    /// every announce.
    pub cache_entries: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: Duration::from_secs(5), cache_entries: 128 }
    }
}

/// Asks for the addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Result<Vec<SocketAddr>, ResolveError>")]
pub struct FindAddresses {
    /// A name, or an address in text.
    pub host: String,
    /// The port that each address gets.
    pub port: u16,
}

/// Asks `resolver` for the addresses of `host`; in words why there are none.
pub(crate) fn find_ips(
    resolver: &Recipient<FindAddresses>,
    host: String,
) -> impl Future<Output = Result<Vec<IpAddr>, String>> + use<> {
    let answer = resolver.send(FindAddresses { host, port: 0 });
    async {
        match answer.await {
            Ok(Ok(addresses)) => Ok(addresses.iter().map(SocketAddr::ip).collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(format!("the resolver does not answer: {error}")),
        }
    }
}

/// Why a name has no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name servers know no address of it.
    #[error("its name has no address")]
    NoAddress,
    /// No name server answered in time.
    #[error("its name was not resolved in time")]
    TimedOut,
    /// No name server could be asked.
    #[error("no name server could be asked")]
    Unreachable,
    /// Too many look-ups are under way.
    #[error("too many names are being resolved")]
    Busy,
}

/// Answers [`FindAddresses`].
pub struct Resolver {
    config: Config,
    /// Made when it is first needed, and anew when no server could be reached: the network, and
    /// with it the system's name servers, may have changed.
    resolver: Option<Arc<TokioResolver>>,
    under_way: usize,
}

impl Resolver {
    /// Takes the settings; nothing is read or asked yet.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config, resolver: None, under_way: 0 }
    }

    fn resolver(&mut self) -> Result<Arc<TokioResolver>, ResolveError> {
        if let Some(resolver) = &self.resolver {
            return Ok(Arc::clone(resolver));
        }
        let resolver = make(&self.config).map_err(|error| {
            tracing::warn!(%error, "the system's name servers cannot be read");
            ResolveError::Unreachable
        })?;
        Ok(Arc::clone(self.resolver.insert(Arc::new(resolver))))
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

impl Actor for Resolver {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<FindAddresses> for Resolver {
    type Result = ResponseActFuture<Self, Result<Vec<SocketAddr>, ResolveError>>;

    fn handle(
        &mut self,
        FindAddresses { host, port }: FindAddresses,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(known) = without_dns(&host) {
            return answer(Ok(with_port(known, port)));
        }
        if self.under_way >= LOOKUPS_MAX {
            return answer(Err(ResolveError::Busy));
        }
        let resolver = match self.resolver() {
            Ok(resolver) => resolver,
            Err(error) => return answer(Err(error)),
        };
        self.under_way += 1;
        let look_up = look_up(resolver, host, self.config.timeout);
        Box::pin(look_up.into_actor(self).map(move |found, resolver, _| {
            resolver.under_way -= 1;
            if matches!(found, Err(ResolveError::TimedOut | ResolveError::Unreachable)) {
                resolver.resolver = None;
            }
            found.map(|ips| with_port(ips, port))
        }))
    }
}

fn answer(
    answer: Result<Vec<SocketAddr>, ResolveError>,
) -> ResponseActFuture<Resolver, Result<Vec<SocketAddr>, ResolveError>> {
    Box::pin(actix::fut::ready(answer))
}

/// What everybody knows: addresses in text, and `localhost` (RFC 6761, section 6.3).
fn without_dns(host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(ip) = host.parse() {
        return Some(vec![ip]);
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    (name == "localhost" || name.ends_with(".localhost"))
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

fn with_port(ips: Vec<IpAddr>, port: u16) -> Vec<SocketAddr> {
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

async fn look_up(
    resolver: Arc<TokioResolver>,
    host: String,
    patience: Duration,
) -> Result<Vec<IpAddr>, ResolveError> {
    // A name with a dot is whole: its search domain is nobody's business.
    let name = if host.contains('.') && !host.ends_with('.') { format!("{host}.") } else { host };
    let found = tokio::time::timeout(patience, resolver.lookup_ip(name)).await;
    let addresses = match found {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(reason(&error)),
        Err(_) => return Err(ResolveError::TimedOut),
    };
    let ips = share(addresses.iter());
    if ips.is_empty() { Err(ResolveError::NoAddress) } else { Ok(ips) }
}

/// Keeps [`RESOLVED_ADDRESSES_MAX`] of them, IPv4 first, so that neither IP version crowds the other out.
fn share(all: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (mut v4, mut v6): (Vec<IpAddr>, Vec<IpAddr>) = all.partition(IpAddr::is_ipv4);
    v4.truncate(RESOLVED_ADDRESSES_MAX - v6.len().min(RESOLVED_ADDRESSES_MAX / 2));
    v6.truncate(RESOLVED_ADDRESSES_MAX - v4.len());
    v4.extend(v6);
    v4
}

fn reason(error: &NetError) -> ResolveError {
    if error.is_no_records_found() {
        ResolveError::NoAddress
    } else if matches!(error, NetError::Timeout) {
        ResolveError::TimedOut
    } else {
        ResolveError::Unreachable
    }
}

fn make(config: &Config) -> Result<TokioResolver, NetError> {
    let mut builder = if config.servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = config.servers.iter().map(|server| name_server(*server)).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = config.timeout;
    options.cache_size = config.cache_entries;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .collect();
    NameServerConfig::new(address.ip(), true, connections)
}

#[cfg(test)]
mod tests {
    use actix::Addr;
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server on loopback that knows one name, with 40 addresses; says what it was asked.
    async fn name_server_of(
        known: &'static str,
    ) -> (SocketAddr, tokio::sync::mpsc::Receiver<(String, u16)>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (asked, questions) = tokio::sync::mpsc::channel(64);
        actix_rt::spawn(async move {
            let mut query = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut query).await {
                let (name, kind) = question(&query[..len]);
                let response = response(&query[..len], name == known && kind == 1);
                let _ = asked.send((name, kind)).await;
                let _ = socket.send_to(&response, from).await;
            }
        });
        (address, questions)
    }

    fn question(query: &[u8]) -> (String, u16) {
        let (mut at, mut labels) = (12, Vec::new());
        while query[at] != 0 {
            let label = &query[at + 1..][..usize::from(query[at])];
            labels.push(String::from_utf8(label.to_vec()).unwrap());
            at += 1 + label.len();
        }
        (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]))
    }

    /// Forty A records, or NXDOMAIN.
    fn response(query: &[u8], known: bool) -> Vec<u8> {
        let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
        let count = if known { 40 } else { 0 };
        let mut out = query[..end].to_vec();
        out[2..12].copy_from_slice(&[
            0x81,
            if known { 0x80 } else { 0x83 },
            0,
            1,
            0,
            count,
            0,
            0,
            0,
            0,
        ]);
        for last in 0..count {
            out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 9, 9, 9, last]);
        }
        out
    }

    fn start(servers: Vec<SocketAddr>, timeout: Duration) -> Addr<Resolver> {
        Resolver::new(Config { servers, timeout, ..Config::default() }).start()
    }

    async fn find(resolver: &Addr<Resolver>, host: &str) -> Result<Vec<String>, ResolveError> {
        let question = FindAddresses { host: host.to_owned(), port: 7 };
        let found = resolver.send(question).await.unwrap()?;
        Ok(found.iter().map(SocketAddr::to_string).collect())
    }

    #[actix::test]
    async fn addresses_and_localhost_need_no_name_server() {
        let resolver = start(vec!["127.0.0.1:1".parse().unwrap()], Duration::from_secs(5));
        assert_eq!(find(&resolver, "127.0.0.1").await.unwrap(), ["127.0.0.1:7"]);
        assert_eq!(find(&resolver, "::1").await.unwrap(), ["[::1]:7"]);
        for name in ["localhost", "LocalHost.", "a.localhost"] {
            assert_eq!(find(&resolver, name).await.unwrap(), ["127.0.0.1:7", "[::1]:7"]);
        }
    }

    #[actix::test]
    async fn a_name_is_asked_as_it_stands_once_and_its_answer_is_cut() {
        let (server, mut questions) = name_server_of("tracker.test").await;
        let resolver = start(vec![server], Duration::from_secs(5));
        for _ in 0..2 {
            let found = find(&resolver, "tracker.test").await.unwrap();
            assert_eq!(found.len(), RESOLVED_ADDRESSES_MAX);
            assert!(found.iter().all(|it| it.starts_with("9.9.9.")), "{found:?}");
        }
        assert_eq!(find(&resolver, "other.test").await, Err(ResolveError::NoAddress));
        let mut asked = Vec::new();
        while let Ok(question) = questions.try_recv() {
            asked.push(question);
        }
        let ask =
            |name: &str, kind| asked.iter().filter(|it| **it == (name.to_owned(), kind)).count();
        assert_eq!(ask("tracker.test", 1), 1, "the second time it is remembered");
        assert_eq!((ask("other.test", 1), ask("other.test", 28)), (1, 1));
        let known = ["tracker.test", "other.test"];
        assert!(asked.iter().all(|(name, _)| known.contains(&name.as_str())), "{asked:?}");
        assert!(asked.iter().all(|(_, kind)| [1, 28].contains(kind)), "{asked:?}");
    }

    #[test]
    fn many_addresses_of_one_ip_version_leave_room_for_the_other() {
        let v4 = |count: u8| (0..count).map(|last| IpAddr::from([9, 9, 9, last]));
        let v6 = |count: u16| (0..count).map(|last| IpAddr::from([1, 0, 0, 0, 0, 0, 0, last]));
        let check = |four, six, expected: (usize, usize)| {
            let kept = share(v6(six).chain(v4(four)));
            let fours = kept.iter().take_while(|ip| ip.is_ipv4()).count();
            assert_eq!((fours, kept.len() - fours), expected, "{four} {six}");
        };
        check(40, 40, (8, 8));
        check(40, 1, (15, 1));
        check(2, 40, (2, 14));
        check(40, 0, (16, 0));
        check(0, 3, (0, 3));
    }

    #[actix::test]
    async fn a_silent_name_server_costs_the_time_allowed_and_no_more() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = start(vec![silent.local_addr().unwrap()], Duration::from_millis(50));
        assert_eq!(find(&resolver, "tracker.test").await, Err(ResolveError::TimedOut));
    }

    #[actix::test]
    async fn too_many_at_once_are_refused() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = start(vec![silent.local_addr().unwrap()], Duration::from_millis(200));
        let look_ups = (0..=LOOKUPS_MAX).map(|at| {
            let resolver = resolver.clone();
            async move { find(&resolver, &format!("t{at}.test")).await }
        });
        let found = futures_util::future::join_all(look_ups).await;
        let busy = found.iter().filter(|it| **it == Err(ResolveError::Busy)).count();
        assert_eq!(busy, 1);
    }
}

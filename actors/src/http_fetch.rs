//! HTTP requests and their responses, with and without TLS, over connections that are closed or used
//! again as the request says.
//!
//! The request comes whole and the response is read by [`ResponseReader`]: this file adds sockets
//! and time. A connection that has been kept is the [`Fetcher`]'s while it lies idle and the fetch's
//! while it is used; one that turns out to be closed by the other side is replaced by a new one.
//!
//! Not here: redirects, and when to ask (the announcer machine).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitchat_protocol::tracker::announcer::HttpRequest;
use bitchat_protocol::tracker::http::{Progress, Response, ResponseError, ResponseReader};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::clock;

/// Bytes read at once.
const READ_BYTES: usize = 8 * 1024;

/// Idle connections kept at once; the oldest goes first. A guess: a tracker has one or two.
const IDLE_MAX: usize = 32;

/// How long the first of two addresses has before the second is tried, too: libcurl's default.
const FALLBACK_DELAY: Duration = Duration::from_millis(200);

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection.
    #[error("cannot connect: {}", .0.kind())]
    Connect(#[source] io::Error),
    /// No TLS on the connection, or a certificate that does not fit.
    #[error("no secure connection: {0}")]
    Tls(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke: {}", .0.kind())]
    Broken(#[source] io::Error),
    /// It took too long, in all or between two bytes.
    #[error("it did not answer in time")]
    TimedOut,
    /// The response cannot be used.
    #[error(transparent)]
    Response(#[from] ResponseError),
}

/// What came of a request.
#[derive(Debug)]
pub struct Fetched {
    /// The response and whence it came, or why there is none.
    pub result: Result<(SocketAddr, Response), FetchError>,
    /// The connection, if it may be used again: for [`Fetcher::keep`].
    pub connection: Option<Connection>,
}

/// A connection between two requests.
pub struct Connection {
    address: SocketAddr,
    tls: Option<String>,
    wire: Wire,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.address)
    }
}

trait Duplex: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> Duplex for T {}

/// The bytes of a connection, under TLS or not.
type Wire = Box<dyn Duplex + Unpin>;

/// Makes HTTP requests, and keeps connections for those to come. A clone begins without any.
pub struct Fetcher {
    tls: TlsConnector,
    /// With the time since when it has been idle; the oldest connection first.
    idle: Vec<(Instant, Connection)>,
}

impl Fetcher {
    /// Trusts Mozilla's list of certificate authorities.
    #[must_use]
    pub fn new() -> Self {
        Self::trusting(RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()))
    }

    /// Trusts these certificate authorities alone.
    ///
    /// # Panics
    ///
    /// Never: TLS 1.2 and 1.3 are what the cryptographic library offers.
    #[must_use]
    pub fn trusting(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring offers TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)), idle: Vec::new() }
    }

    /// Makes a request and reads its response, within the times it names. Where the request allows
    /// it, an idle connection is used, and the one used comes back with the response.
    pub fn fetch(&mut self, request: HttpRequest) -> impl Future<Output = Fetched> + use<> {
        let kept = self.take_idle(&request);
        let tls = self.tls.clone();
        async move {
            let exchange = exchange(tls, kept, &request);
            match timeout(request.timeout, exchange).await.unwrap_or(Err(FetchError::TimedOut)) {
                Ok((from, response, connection)) => {
                    Fetched { result: Ok((from, response)), connection }
                }
                Err(error) => Fetched { result: Err(error), connection: None },
            }
        }
    }

    /// Connects, under TLS with a certificate for the host `tls` when there is one, and closes the
    /// connection without having asked for anything.
    ///
    /// # Errors
    ///
    /// [`FetchError::Connect`], [`FetchError::Tls`].
    pub async fn connect(&self, to: SocketAddr, tls: Option<&str>) -> Result<(), FetchError> {
        let stream = TcpStream::connect(to).await.map_err(FetchError::Connect)?;
        secure(&self.tls, stream, tls).await.map(drop)
    }

    /// Keeps a connection for a later request.
    pub fn keep(&mut self, connection: Connection) {
        if self.idle.len() >= IDLE_MAX {
            self.idle.remove(0);
        }
        self.idle.push((clock::now(), connection));
    }

    /// The oldest connection that fits; what has been idle for too long is closed.
    fn take_idle(&mut self, request: &HttpRequest) -> Option<Connection> {
        let keep_alive = request.keep_alive?;
        let now = clock::now();
        self.idle.retain(|(since, _)| now.duration_since(*since) <= keep_alive);
        let fits = |it: &Connection| {
            let address = Some(it.address);
            it.tls == request.tls
                && (address == Some(request.address) || address == request.fallback)
        };
        let at = self.idle.iter().position(|(_, connection)| fits(connection))?;
        Some(self.idle.remove(at).1)
    }
}

impl Clone for Fetcher {
    fn clone(&self) -> Self {
        Self { tls: self.tls.clone(), idle: Vec::new() }
    }
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fetcher")
    }
}

/// A response, whence it came, and the connection if it may be used again.
type Exchanged = (SocketAddr, Response, Option<Connection>);

async fn exchange(
    tls: TlsConnector,
    kept: Option<Connection>,
    request: &HttpRequest,
) -> Result<Exchanged, FetchError> {
    if let Some(kept) = kept {
        match converse(kept, request).await {
            // The other side has closed it meanwhile: nothing of the request was heard.
            Err(Unanswered { error: FetchError::Broken(_), heard: false }) => {}
            other => return other.map_err(|unanswered| unanswered.error),
        }
    }
    let connection = connect(tls, request).await?;
    converse(connection, request).await.map_err(|unanswered| unanswered.error)
}

async fn connect(tls: TlsConnector, request: &HttpRequest) -> Result<Connection, FetchError> {
    let (address, stream) = open(request).await.map_err(FetchError::Connect)?;
    let wire = secure(&tls, stream, request.tls.as_deref()).await?;
    Ok(Connection { address, tls: request.tls.clone(), wire })
}

/// Puts TLS on a connection where there is a host to prove itself by it.
async fn secure(
    tls: &TlsConnector,
    stream: TcpStream,
    host: Option<&str>,
) -> Result<Wire, FetchError> {
    let Some(host) = host else {
        return Ok(Box::new(stream));
    };
    let bad_name = |error| FetchError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error));
    let name = ServerName::try_from(host.to_owned()).map_err(bad_name)?;
    Ok(Box::new(tls.connect(name, stream).await.map_err(FetchError::Tls)?))
}

/// Opens a connection; where there are two addresses, the first one that answers (RFC 8305).
async fn open(request: &HttpRequest) -> io::Result<(SocketAddr, TcpStream)> {
    let to = async |address| Ok((address, TcpStream::connect(address).await?));
    let Some(fallback) = request.fallback else {
        return to(request.address).await;
    };
    let mut preferred = pin!(to(request.address));
    match timeout(FALLBACK_DELAY, &mut preferred).await {
        Ok(Ok(opened)) => return Ok(opened),
        Ok(Err(_)) => return to(fallback).await,
        Err(_) => {}
    }
    let mut second = pin!(to(fallback));
    tokio::select! {
        opened = &mut preferred => if opened.is_ok() { opened } else { second.await },
        opened = &mut second => if opened.is_ok() { opened } else { preferred.await },
    }
}

/// Why there is no response, and whether anything of one was there.
struct Unanswered {
    error: FetchError,
    heard: bool,
}

async fn converse(
    mut connection: Connection,
    request: &HttpRequest,
) -> Result<Exchanged, Unanswered> {
    let mut heard = false;
    let exchanged = talk(&mut connection.wire, request, &mut heard).await;
    let (response, reusable) = exchanged.map_err(|error| Unanswered { error, heard })?;
    let keeps = reusable && request.keep_alive.is_some();
    Ok((connection.address, response, keeps.then_some(connection)))
}

/// Says the request and reads the response; with it, whether another request may follow.
async fn talk(
    wire: &mut Wire,
    request: &HttpRequest,
    heard: &mut bool,
) -> Result<(Response, bool), FetchError> {
    wire.write_all(&request.bytes).await.map_err(FetchError::Broken)?;
    wire.flush().await.map_err(FetchError::Broken)?;
    let mut reader = ResponseReader::new();
    let mut bytes = [0; READ_BYTES];
    loop {
        let read = timeout(request.idle_timeout, wire.read(&mut bytes)).await;
        let len = match read.map_err(|_| FetchError::TimedOut)? {
            Ok(len) => len,
            // TLS without a farewell. The response itself tells whether it is whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(FetchError::Broken(error)),
        };
        if len == 0 && !*heard {
            return Err(FetchError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        if len == 0 {
            return Ok((reader.finish()?, false));
        }
        *heard = true;
        if let Progress::Complete(response) = reader.push(&bytes[..len])? {
            return Ok((response, reader.keeps_connection()));
        }
    }
}

#[cfg(test)]
mod tests {
    use bitchat_protocol::tracker::announcer::RequestId;
    use tokio::net::TcpListener;
    use tokio::sync::{Notify, mpsc};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde";

    fn request(address: SocketAddr, tls: Option<&str>) -> HttpRequest {
        HttpRequest {
            id: RequestId(1),
            address,
            fallback: None,
            bytes: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            tls: tls.map(str::to_owned),
            timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            keep_alive: None,
        }
    }

    /// Accepts one connection, reads a request, says `answer`, and keeps it open or not.
    async fn server(answer: &'static [u8], stays: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        actix_rt::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'G');
            serve(&mut stream, answer).await;
            if stays {
                std::future::pending::<()>().await;
            }
        });
        address
    }

    /// Reads the rest of a request and answers it.
    async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
        let mut request = [0; 17];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"ET / HTTP/1.1\r\n\r\n");
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
    }

    async fn fetch(request: HttpRequest) -> Result<Vec<u8>, String> {
        let fetched = Fetcher::new().fetch(request).await;
        assert!(fetched.connection.is_none());
        fetched.result.map(|(_, response)| response.body).map_err(|error| error.to_string())
    }

    #[actix::test]
    async fn a_whole_response_is_enough_even_if_the_connection_stays() {
        let address = server(RESPONSE, true).await;
        assert_eq!(fetch(request(address, None)).await.unwrap(), b"de");
    }

    #[actix::test]
    async fn the_end_of_the_connection_may_end_the_response() {
        let address = server(b"HTTP/1.0 200 OK\r\n\r\nde", false).await;
        assert_eq!(fetch(request(address, None)).await.unwrap(), b"de");
    }

    #[actix::test]
    async fn half_a_response_a_silent_server_and_a_closed_port_are_failures() {
        let address = server(&RESPONSE[..20], false).await;
        let error = fetch(request(address, None)).await.unwrap_err();
        assert_eq!(error, "the connection ended in the middle of the response");

        let address = server(b"", true).await;
        let hasty =
            HttpRequest { idle_timeout: Duration::from_millis(20), ..request(address, None) };
        assert_eq!(fetch(hasty).await.unwrap_err(), "it did not answer in time");

        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = fetch(request(closed, None)).await.unwrap_err();
        assert_eq!(error, "cannot connect: connection refused");
    }

    /// A certificate for `tracker.test`, and a server that shows it.
    async fn tls_server() -> (SocketAddr, RootCertStore) {
        let made = rcgen::generate_simple_self_signed(["tracker.test".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        actix_rt::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    // Who only knocks sends nothing.
                    let Ok(first) = stream.read_u8().await else { continue };
                    assert_eq!(first, b'G');
                    // Closed without a farewell, as some trackers do.
                    serve(&mut stream, b"HTTP/1.0 200 OK\r\n\r\nde").await;
                }
            }
        });
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        (address, roots)
    }

    #[actix::test]
    async fn a_certificate_counts_only_for_its_name_and_from_a_known_authority() {
        let (address, roots) = tls_server().await;
        let mut trusting = Fetcher::trusting(roots);
        let good = trusting.fetch(request(address, Some("tracker.test"))).await.result.unwrap();
        assert_eq!(good.1.body, b"de");
        trusting.connect(address, Some("tracker.test")).await.unwrap();
        let refused = trusting.connect(address, Some("other.test")).await;
        assert!(matches!(refused, Err(FetchError::Tls(_))), "{refused:?}");
        let wrong_name = trusting.fetch(request(address, Some("other.test"))).await.result;
        assert!(matches!(wrong_name, Err(FetchError::Tls(_))), "{wrong_name:?}");
        let unknown = Fetcher::new().fetch(request(address, Some("tracker.test"))).await.result;
        assert!(matches!(unknown, Err(FetchError::Tls(_))), "{unknown:?}");
    }

    /// A server that answers each request on each connection, and closes one when told to. Gives the
    /// number of the connection for each request.
    async fn lasting_server() -> (SocketAddr, mpsc::UnboundedReceiver<usize>, Arc<Notify>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let close = Arc::new(Notify::new());
        let closing = Arc::clone(&close);
        actix_rt::spawn(async move {
            for connection in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (seen, closing) = (seen.clone(), Arc::clone(&closing));
                actix_rt::spawn(async move {
                    let mut request = [0; 18];
                    loop {
                        tokio::select! {
                            read = stream.read_exact(&mut request) => if read.is_err() { return },
                            () = closing.notified() => return,
                        }
                        seen.send(connection).unwrap();
                        stream.write_all(RESPONSE).await.unwrap();
                    }
                });
            }
        });
        (address, requests, close)
    }

    fn keeping(address: SocketAddr, seconds: u64) -> HttpRequest {
        HttpRequest { keep_alive: Some(Duration::from_secs(seconds)), ..request(address, None) }
    }

    async fn fetch_and_keep(fetcher: &mut Fetcher, request: HttpRequest) {
        let fetched = fetcher.fetch(request).await;
        assert_eq!(fetched.result.unwrap().1.body, b"de");
        fetched.connection.into_iter().for_each(|connection| fetcher.keep(connection));
    }

    #[actix::test]
    async fn a_connection_is_used_again_until_it_was_idle_for_too_long() {
        let (address, mut requests, _) = lasting_server().await;
        let mut fetcher = Fetcher::new();
        for _ in 0..3 {
            fetch_and_keep(&mut fetcher, keeping(address, 60)).await;
            assert_eq!(requests.recv().await, Some(0));
        }
        // Two at once need two connections; the older one is then preferred.
        let (one, other) =
            (fetcher.fetch(keeping(address, 60)), fetcher.fetch(keeping(address, 60)));
        for fetched in [one.await, other.await] {
            fetcher.keep(fetched.connection.unwrap());
        }
        assert_eq!((requests.recv().await, requests.recv().await), (Some(0), Some(1)));
        fetcher.idle.iter_mut().for_each(|(since, _)| *since -= Duration::from_secs(61));
        fetch_and_keep(&mut fetcher, keeping(address, 60)).await;
        assert_eq!(requests.recv().await, Some(2));
        fetch_and_keep(&mut fetcher, request(address, None)).await;
        assert_eq!(requests.recv().await, Some(3), "who closes each opens each");
    }

    #[actix::test]
    async fn a_kept_connection_that_was_closed_is_replaced() {
        let (address, mut requests, close) = lasting_server().await;
        let mut fetcher = Fetcher::new();
        fetch_and_keep(&mut fetcher, keeping(address, 60)).await;
        assert_eq!(requests.recv().await, Some(0));
        close.notify_waiters();
        tokio::task::yield_now().await;
        fetch_and_keep(&mut fetcher, keeping(address, 60)).await;
        assert_eq!(requests.recv().await, Some(1));
    }

    #[actix::test]
    async fn where_the_first_address_fails_the_second_answers() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let address = server(RESPONSE, true).await;
        let either = HttpRequest { fallback: Some(address), ..request(closed, None) };
        let fetched = Fetcher::new().fetch(either).await;
        assert_eq!(fetched.result.unwrap().0, address);
        let neither = HttpRequest { fallback: Some(closed), ..request(closed, None) };
        assert!(matches!(Fetcher::new().fetch(neither).await.result, Err(FetchError::Connect(_))));
    }
}

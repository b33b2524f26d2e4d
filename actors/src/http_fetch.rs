//! HTTP requests and their responses, with and without TLS, over connections that are closed or used
//! again as the request says.
//!
//! The request comes whole and the response is read by [`ResponseReader`]: this file adds sockets
//! and time. A connection that has been kept is the [`Fetcher`]'s while it lies idle and the fetch's
//! while it is used; one that turns out to be closed by the other side is replaced by a new one.
//!
//! Not here: redirects, and when to ask (the announcer machine).

#[cfg(test)]
mod tests;

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
    let wire: Wire = match &request.tls {
        None => Box::new(stream),
        Some(host) => {
            let bad_name =
                |error| FetchError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error));
            let name = ServerName::try_from(host.clone()).map_err(bad_name)?;
            Box::new(tls.connect(name, stream).await.map_err(FetchError::Tls)?)
        }
    };
    Ok(Connection { address, tls: request.tls.clone(), wire })
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

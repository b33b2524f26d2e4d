//! One HTTP request and its response over a connection of its own, with and without TLS.
//!
//! The request comes whole and the response is read by [`ResponseReader`]: this file adds sockets
//! and time. Not here: redirects, and when to ask (the announcer machine).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bitchat_protocol::tracker::announcer::HttpRequest;
use bitchat_protocol::tracker::http::{Progress, Response, ResponseError, ResponseReader};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Bytes read at once.
const READ_BYTES: usize = 8 * 1024;

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

/// Makes HTTP requests; cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    tls: TlsConnector,
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
        Self { tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Makes a request and reads its response, within the times it names; the connection is closed
    /// in any case.
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub async fn fetch(self, request: HttpRequest) -> Result<Response, FetchError> {
        timeout(request.timeout, self.exchange(&request)).await.unwrap_or(Err(FetchError::TimedOut))
    }

    /// Connects, under TLS with a certificate for the host `tls` when there is one, and closes the
    /// connection without having asked for anything.
    ///
    /// # Errors
    ///
    /// [`FetchError::Connect`], [`FetchError::Tls`].
    pub async fn connect(&self, to: SocketAddr, tls: Option<&str>) -> Result<(), FetchError> {
        let stream = TcpStream::connect(to).await.map_err(FetchError::Connect)?;
        if let Some(host) = tls {
            self.secure(stream, host).await?;
        }
        Ok(())
    }

    async fn secure(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<TlsStream<TcpStream>, FetchError> {
        let bad_name = |error| FetchError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error));
        let name = ServerName::try_from(host.to_owned()).map_err(bad_name)?;
        self.tls.connect(name, stream).await.map_err(FetchError::Tls)
    }

    async fn exchange(&self, request: &HttpRequest) -> Result<Response, FetchError> {
        let stream = TcpStream::connect(request.address).await.map_err(FetchError::Connect)?;
        let Some(host) = &request.tls else {
            return converse(stream, request).await;
        };
        converse(self.secure(stream, host).await?, request).await
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

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &HttpRequest,
) -> Result<Response, FetchError> {
    stream.write_all(&request.bytes).await.map_err(FetchError::Broken)?;
    stream.flush().await.map_err(FetchError::Broken)?;
    let mut reader = ResponseReader::new();
    let mut bytes = [0; READ_BYTES];
    loop {
        let read = timeout(request.idle_timeout, stream.read(&mut bytes)).await;
        let len = match read.map_err(|_| FetchError::TimedOut)? {
            Ok(len) => len,
            // TLS without a farewell. The response itself tells whether it is whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(FetchError::Broken(error)),
        };
        if len == 0 {
            return Ok(reader.finish()?);
        }
        if let Progress::Complete(response) = reader.push(&bytes[..len])? {
            return Ok(response);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use bitchat_protocol::tracker::announcer::RequestId;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde";

    fn request(address: SocketAddr, tls: Option<&str>) -> HttpRequest {
        HttpRequest {
            id: RequestId(1),
            address,
            bytes: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            tls: tls.map(str::to_owned),
            timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
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
        let response = Fetcher::new().fetch(request).await.map_err(|error| error.to_string())?;
        Ok(response.body)
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
        let trusting = Fetcher::trusting(roots);
        let good = trusting.clone().fetch(request(address, Some("tracker.test"))).await.unwrap();
        assert_eq!(good.body, b"de");
        trusting.connect(address, Some("tracker.test")).await.unwrap();
        let refused = trusting.connect(address, Some("other.test")).await;
        assert!(matches!(refused, Err(FetchError::Tls(_))), "{refused:?}");
        let wrong_name = trusting.fetch(request(address, Some("other.test"))).await;
        assert!(matches!(wrong_name, Err(FetchError::Tls(_))), "{wrong_name:?}");
        let unknown = Fetcher::new().fetch(request(address, Some("tracker.test"))).await;
        assert!(matches!(unknown, Err(FetchError::Tls(_))), "{unknown:?}");
    }
}

//! Against servers of the tests' own on loopback.

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
        serve(&mut stream, answer).await;
        if stays {
            std::future::pending::<()>().await;
        }
    });
    address
}

async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    let mut request = [0; 18];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"GET / HTTP/1.1\r\n\r\n");
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
    let hasty = HttpRequest { idle_timeout: Duration::from_millis(20), ..request(address, None) };
    assert_eq!(fetch(hasty).await.unwrap_err(), "it did not answer in time");

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = fetch(request(closed, None)).await.unwrap_err();
    assert_eq!(error, "cannot connect: connection refused");
}

#[actix::test]
async fn a_server_that_drips_byte_by_byte_is_given_up_after_the_time_for_the_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let drips = actix_rt::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        serve(&mut stream, b"HTTP/1.1 200 OK\r\nX: ").await;
        // Never silent for long, and never at an end.
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let hasty = HttpRequest { timeout: Duration::from_millis(200), ..request(address, None) };
    assert_eq!(fetch(hasty).await.unwrap_err(), "it did not answer in time");
    // The connection is closed, too.
    drips.await.unwrap();
}

#[actix::test]
async fn a_connection_reset_in_the_middle_of_the_body_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_rt::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        serve(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nd8:inter").await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let error = fetch(request(address, None)).await.unwrap_err();
    assert!(error.contains("reset"), "{error}");
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
    let (one, other) = (fetcher.fetch(keeping(address, 60)), fetcher.fetch(keeping(address, 60)));
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

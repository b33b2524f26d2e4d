//! Requests to servers on loopback, good and bad.

use std::sync::Arc;

use bitchat_protocol::tracker::announcer::RequestId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
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

/// Answers a request; one who only knocks makes none.
async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    let mut request = [0; 18];
    if stream.read_exact(&mut request).await.is_err() {
        return;
    }
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

/// Who signs certificates, and its own one.
struct Authority(Issuer<'static, KeyPair>, Vec<u8>);

fn authority(name: &str) -> Authority {
    let mut params = certificate(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Authority(Issuer::new(params, key), der)
}

/// A certificate's content for these names and addresses.
fn certificate(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
}

/// A server that shows this certificate, signed by the authority or by itself.
async fn tls_server(params: CertificateParams, signer: Option<&Authority>) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let certificate = match signer {
        Some(Authority(issuer, _)) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
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
    address
}

async fn fetch_secure(mut from: Fetcher, address: SocketAddr, host: &str) -> Result<(), String> {
    let fetched = from.fetch(request(address, Some(host))).await.result;
    let body = fetched.map(|(_, response)| response.body).map_err(|error| error.to_string())?;
    assert_eq!(body, b"de");
    Ok(())
}

#[track_caller]
fn check_refused(result: Result<(), String>, why: &str) {
    assert_eq!(result, Err(format!("its certificate is refused: {why}")));
}

#[actix::test]
async fn a_certificate_counts_only_for_its_names_and_addresses() {
    let authority = authority("known");
    let trusting = Fetcher::trusting(&[&authority.1]).unwrap();
    let names = certificate(&["tracker.test", "*.wild.test", "127.0.0.1"]);
    let address = tls_server(names, Some(&authority)).await;
    for host in ["tracker.test", "TRACKER.test", "a.wild.test", "127.0.0.1"] {
        fetch_secure(trusting.clone(), address, host).await.expect(host);
    }
    trusting.connect(address, Some("tracker.test")).await.unwrap();
    trusting.connect(address, None).await.unwrap();
    let refused = trusting.connect(address, Some("other.test")).await;
    assert!(matches!(refused, Err(FetchError::Certificate(_))), "{refused:?}");
    for host in ["other.test", "test", "sub.tracker.test", "a.b.wild.test", "127.0.0.2", "::1"] {
        let result = fetch_secure(trusting.clone(), address, host).await;
        check_refused(result, "it is for another name");
    }
}

#[actix::test]
async fn a_certificate_that_names_its_host_as_subject_only_is_for_another_name() {
    let authority = authority("known");
    let trusting = Fetcher::trusting(&[&authority.1]).unwrap();
    let mut subject_only = certificate(&[]);
    subject_only.distinguished_name.push(DnType::CommonName, "tracker.test");
    let address = tls_server(subject_only, Some(&authority)).await;
    check_refused(fetch_secure(trusting, address, "tracker.test").await, "it is for another name");
}

#[actix::test]
async fn a_certificate_counts_only_in_its_time() {
    let authority = authority("known");
    let trusting = Fetcher::trusting(&[&authority.1]).unwrap();
    let mut expired = certificate(&["tracker.test"]);
    expired.not_after = date_time_ymd(2001, 1, 1);
    let mut early = certificate(&["tracker.test"]);
    early.not_before = date_time_ymd(4000, 1, 1);
    for (params, why) in [
        (expired, "it has expired, or the clock of this machine is wrong"),
        (early, "it is not valid yet, or the clock of this machine is wrong"),
    ] {
        let address = tls_server(params, Some(&authority)).await;
        check_refused(fetch_secure(trusting.clone(), address, "tracker.test").await, why);
    }
}

#[actix::test]
async fn a_certificate_counts_only_from_a_known_authority() {
    const WHY: &str = "no authority that we trust has issued it";
    let known = authority("known");
    let trusting = Fetcher::trusting(&[&known.1]).unwrap();
    let (stranger, impostor) = (authority("stranger"), authority("known"));
    // Most tools make a self-signed certificate that is an authority's as well.
    let mut own = certificate(&["tracker.test"]);
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (params, signer) in [
        (certificate(&["tracker.test"]), Some(&stranger)),
        (certificate(&["tracker.test"]), Some(&impostor)),
        (certificate(&["tracker.test"]), None),
        (own, None),
    ] {
        let address = tls_server(params, signer).await;
        check_refused(fetch_secure(trusting.clone(), address, "tracker.test").await, WHY);
        check_refused(fetch_secure(Fetcher::new(), address, "tracker.test").await, WHY);
    }
    assert!(Fetcher::trusting(&[b"no certificate"]).is_err());
}

#[actix::test]
async fn who_speaks_no_tls_or_is_asked_for_by_no_name_is_no_secure_connection() {
    let plain = server(b"HTTP/1.0 400 Bad Request\r\n\r\n", false).await;
    for (host, address) in [("tracker.test", plain), ("a\0b", server(b"", true).await)] {
        let result = Fetcher::new().fetch(request(address, Some(host))).await.result;
        assert!(matches!(result, Err(FetchError::Tls(_))), "{host:?}: {result:?}");
    }
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

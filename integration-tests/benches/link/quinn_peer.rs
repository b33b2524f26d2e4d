//! The named peer: quinn with rustls, the same cipher, windows and MTU as our link.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

use crate::cpu::{Cost, Meter};
use crate::{CHUNK, Cipher, STREAM_WINDOW};

/// A certificate for `localhost` and who trusts it.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

pub(crate) fn identity() -> Identity {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("valid name");
    Identity {
        certificate: made.cert.der().clone(),
        key: PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
    }
}

pub(crate) fn provider(cipher: Cipher) -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    let wanted = match cipher {
        Cipher::Aes256Gcm => rustls::CipherSuite::TLS13_AES_256_GCM_SHA384,
        Cipher::ChaCha20Poly1305 => rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    };
    // QUIC's Initial packets are always AES-128-GCM, so that suite must stay in the list; it comes
    // last and is not chosen.
    let initial = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.retain(|suite| [wanted, initial].contains(&suite.suite()));
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != wanted);
    Arc::new(provider)
}

pub(crate) fn server_tls(cipher: Cipher, identity: &Identity) -> rustls::ServerConfig {
    rustls::ServerConfig::builder_with_provider(provider(cipher))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is there")
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .expect("the key fits the certificate")
}

pub(crate) fn client_tls(cipher: Cipher, identity: &Identity) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).expect("a certificate");
    rustls::ClientConfig::builder_with_provider(provider(cipher))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is there")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.stream_receive_window(STREAM_WINDOW.into());
    config.max_idle_timeout(Some(Duration::from_secs(30).try_into().expect("fits")));
    Arc::new(config)
}

fn server(cipher: Cipher, identity: &Identity) -> Endpoint {
    let tls = QuicServerConfig::try_from(server_tls(cipher, identity)).expect("AES-128 is there");
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport());
    Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("loopback")
}

fn client(cipher: Cipher, identity: &Identity) -> Endpoint {
    let mut endpoint =
        Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("loopback");
    let tls = QuicClientConfig::try_from(client_tls(cipher, identity)).expect("AES-128 is there");
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport());
    endpoint.set_default_client_config(config);
    endpoint
}

/// Runs `work` on a thread of its own with a current-thread runtime, as each of our nodes has one.
pub(crate) fn on_thread<T: Send + 'static, F: Future<Output = T> + 'static>(
    work: impl FnOnce() -> F + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(work())
    })
}

/// Sends `bytes` over one stream and measures until the receiver has all.
pub(crate) fn bulk(cipher: Cipher, bytes: u64) -> Cost {
    let identity = Arc::new(identity());
    let (address_out, address_in) = std::sync::mpsc::channel();
    let receiver = on_thread({
        let identity = Arc::clone(&identity);
        move || async move {
            let endpoint = server(cipher, &identity);
            address_out.send(endpoint.local_addr().expect("bound")).expect("main waits");
            let connection = endpoint.accept().await.expect("open").await.expect("handshake");
            let mut stream = connection.accept_uni().await.expect("a stream");
            let mut received = 0;
            while let Some(chunk) = stream.read_chunk(usize::MAX, true).await.expect("data") {
                received += chunk.bytes.len() as u64;
            }
            connection.close(0u32.into(), b"");
            endpoint.wait_idle().await;
            received
        }
    });
    let address = address_in.recv().expect("the server starts");
    let sender = on_thread(move || async move {
        let endpoint = client(cipher, &identity);
        let connection =
            endpoint.connect(address, "localhost").expect("config").await.expect("handshake");
        let meter = Meter::start();
        let mut stream = connection.open_uni().await.expect("a stream");
        let chunk = Bytes::from(vec![0x5a; CHUNK]);
        let mut left = bytes;
        while left > 0 {
            let size = left.min(CHUNK as u64) as usize;
            stream.write_chunk(chunk.slice(..size)).await.expect("written");
            left -= size as u64;
        }
        stream.finish().expect("open");
        connection.closed().await;
        meter.stop()
    });
    let cost = sender.join().expect("the sender ends");
    assert_eq!(receiver.join().expect("the receiver ends"), bytes);
    cost
}

/// Round trips of `size` bytes on one open stream each way; microseconds each.
pub(crate) fn ping(cipher: Cipher, size: usize, count: usize) -> Vec<f64> {
    let identity = Arc::new(identity());
    let (address_out, address_in) = std::sync::mpsc::channel();
    let echo = on_thread({
        let identity = Arc::clone(&identity);
        move || async move {
            let endpoint = server(cipher, &identity);
            address_out.send(endpoint.local_addr().expect("bound")).expect("main waits");
            let connection = endpoint.accept().await.expect("open").await.expect("handshake");
            let (mut send, mut receive) = connection.accept_bi().await.expect("a stream");
            let mut buffer = vec![0; size];
            while receive.read_exact(&mut buffer).await.is_ok() {
                send.write_all(&buffer).await.expect("written");
            }
        }
    });
    let address = address_in.recv().expect("the server starts");
    let caller = on_thread(move || async move {
        let endpoint = client(cipher, &identity);
        let connection =
            endpoint.connect(address, "localhost").expect("config").await.expect("handshake");
        let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
        let mut buffer = vec![0x5a; size];
        let mut times = Vec::with_capacity(count);
        for round in 0..count + count / 10 {
            let began = Instant::now();
            send.write_all(&buffer).await.expect("written");
            receive.read_exact(&mut buffer).await.expect("echoed");
            if round >= count / 10 {
                times.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
        connection.close(0u32.into(), b"");
        endpoint.wait_idle().await;
        times
    });
    let times = caller.join().expect("the caller ends");
    echo.join().expect("the echo ends");
    times
}

//! What a user would pick without us: one TCP connection under TLS 1.3 (rustls over ring).

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::cpu::{Cost, Meter};
use crate::quinn_peer::{client_tls, identity, on_thread, server_tls};
use crate::{CHUNK, Cipher};

/// Sends `bytes` over one connection and measures until the receiver has all.
pub(crate) fn bulk(cipher: Cipher, bytes: u64) -> Cost {
    let identity = Arc::new(identity());
    let (address_out, address_in) = std::sync::mpsc::channel();
    let receiver = on_thread({
        let identity = Arc::clone(&identity);
        move || async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
            address_out.send(listener.local_addr().expect("bound")).expect("main waits");
            let (socket, _) = listener.accept().await.expect("a caller");
            let acceptor = TlsAcceptor::from(Arc::new(server_tls(cipher, &identity)));
            let mut stream = acceptor.accept(socket).await.expect("handshake");
            let mut buffer = vec![0; CHUNK];
            let mut received = 0;
            while received < bytes {
                received += stream.read(&mut buffer).await.expect("data") as u64;
            }
            stream.write_all(b"!").await.expect("acknowledged");
            stream.shutdown().await.expect("closed");
            received
        }
    });
    let address = address_in.recv().expect("the server starts");
    let sender = on_thread(move || async move {
        let socket = TcpStream::connect(address).await.expect("connected");
        let connector = TlsConnector::from(Arc::new(client_tls(cipher, &identity)));
        let name = "localhost".try_into().expect("a name");
        let mut stream = connector.connect(name, socket).await.expect("handshake");
        let meter = Meter::start();
        let chunk = vec![0x5a; CHUNK];
        let mut left = bytes;
        while left > 0 {
            let size = left.min(CHUNK as u64) as usize;
            stream.write_all(&chunk[..size]).await.expect("written");
            left -= size as u64;
        }
        stream.flush().await.expect("flushed");
        stream.read_exact(&mut [0]).await.expect("acknowledged");
        meter.stop()
    });
    let cost = sender.join().expect("the sender ends");
    assert_eq!(receiver.join().expect("the receiver ends"), bytes);
    cost
}

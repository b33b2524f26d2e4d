//! A tracker on loopback that answers wrongly, over HTTP or UDP: each kind of fault that a node must
//! outlive.

mod http;
mod udp;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub use http::HttpFault;
pub use udp::UdpFault;

/// How often a server looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// Terminal commands, a line break and bytes that are no text: nothing of it may be printed as it is.
const VENOM: &[u8] = b"\x1b[2J\x1b]0;owned\x07\r\n\xff\xfe\xe2\x80\xae";

/// A running faulty tracker; ended when dropped.
#[derive(Debug)]
pub struct FaultyTracker {
    url: String,
    ends: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl FaultyTracker {
    /// Starts one that is asked over HTTP, at a free port.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    #[must_use]
    pub fn http(fault: HttpFault) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        listener.set_nonblocking(true).expect("a socket can be told not to wait");
        let url = format!("http://{}/announce", listener.local_addr().expect("bound"));
        Self::start(url, move |ends| {
            // Kept until the end: some connections stay open.
            let mut open = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                match listener.accept() {
                    // Who asks may leave at any moment.
                    Ok((stream, _)) => open.extend(http::mistreat(stream, &fault).ok()),
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        })
    }

    /// Starts one that is asked over UDP, at a free port.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    #[must_use]
    pub fn udp(fault: UdpFault) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        socket.set_read_timeout(Some(LOOK)).expect("a time can be set");
        let elsewhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        let url = format!("udp://{}/announce", socket.local_addr().expect("bound"));
        Self::start(url, move |ends| {
            let mut question = [0; 2048];
            while !ends.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut question) {
                    let asker = udp::Asker { socket: &socket, elsewhere: &elsewhere, from };
                    // Who asks may have closed its port.
                    let _ = asker.mistreat(fault, &question[..len]);
                }
            }
        })
    }

    fn start(url: String, serve: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let server = std::thread::spawn(move || serve(&told));
        Self { url, ends, server: Some(server) }
    }

    /// The announce URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What a node's log calls it.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.split('/').nth(2).unwrap_or_default()
    }
}

impl Drop for FaultyTracker {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            // A server that panicked has said so; a second panic would hide the first.
            let _ = server.join();
        }
    }
}

/// An IPv4 address as trackers give it (BEP 23).
fn compact(address: SocketAddr) -> Vec<u8> {
    match address.ip() {
        std::net::IpAddr::V4(ip) => [&ip.octets()[..], &address.port().to_be_bytes()].concat(),
        std::net::IpAddr::V6(_) => Vec::new(),
    }
}

//! A tracker on loopback that writes down every byte it is sent, over HTTP or UDP and one IP version.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(10);
/// How long a request may take to come in whole.
const REQUEST_WITHIN: Duration = Duration::from_secs(1);
/// As the trackers of the captures say.
const ANSWER: &[u8] = b"d8:intervali120e12:min intervali60e5:peers0:10:tracker id6:abc/+ze";

/// What it does with what it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Answers with an interval, no peers and, over HTTP, a tracker id.
    Answers,
    /// Ends the connection without a word; over UDP it stays silent.
    Breaks,
}

/// A running recording tracker; ended when dropped.
#[derive(Debug)]
pub struct RecordingTracker {
    url: String,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    ends: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl RecordingTracker {
    /// Starts one that is asked over HTTP, at a free port of `ip`; `None` where `ip` cannot be bound.
    #[must_use]
    pub fn http(ip: IpAddr, manner: Manner) -> Option<Self> {
        let listener = TcpListener::bind((ip, 0)).ok()?;
        listener.set_nonblocking(true).ok()?;
        let at = listener.local_addr().ok()?;
        Some(Self::start(format!("http://{at}/announce"), move |heard, ends| {
            let mut kept = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                if let Ok((stream, _)) = listener.accept()
                    && stream.set_nonblocking(true).is_ok()
                {
                    kept.push((stream, Vec::new()));
                }
                kept.retain_mut(|(stream, so_far)| serve(stream, so_far, manner, heard).is_ok());
                std::thread::sleep(LOOK);
            }
        }))
    }

    /// Starts one that is asked over UDP, at a free port of `ip`; `None` where `ip` cannot be bound.
    #[must_use]
    pub fn udp(ip: IpAddr, manner: Manner) -> Option<Self> {
        let socket = UdpSocket::bind((ip, 0)).ok()?;
        socket.set_read_timeout(Some(LOOK)).ok()?;
        let at = socket.local_addr().ok()?;
        Some(Self::start(format!("udp://{at}/announce"), move |heard, ends| {
            let mut buffer = [0; 2048];
            while !ends.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                note(heard, &buffer[..len]);
                if manner == Manner::Answers {
                    answer_udp(&socket, from, &buffer[..len]);
                }
            }
        }))
    }

    fn start(
        url: String,
        serve: impl FnOnce(&Mutex<Vec<Vec<u8>>>, &AtomicBool) + Send + 'static,
    ) -> Self {
        let (heard, ends) = (Arc::default(), Arc::default());
        let (told, ended) = (Arc::clone(&heard), Arc::clone(&ends));
        let server = std::thread::spawn(move || serve(&told, &ended));
        Self { url, heard, ends, server: Some(server) }
    }

    /// The announce URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every request or datagram so far, oldest first.
    #[must_use]
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for RecordingTracker {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            // A server that panicked has said so; a second panic would hide the first.
            let _ = server.join();
        }
    }
}

fn note(heard: &Mutex<Vec<Vec<u8>>>, bytes: &[u8]) {
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(bytes.to_vec());
}

/// Takes in what has come on a connection, which may bring several requests.
///
/// # Errors
///
/// When the connection has ended, by whichever side.
fn serve(
    stream: &mut TcpStream,
    so_far: &mut Vec<u8>,
    manner: Manner,
    heard: &Mutex<Vec<Vec<u8>>>,
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(len) => so_far.extend_from_slice(&buffer[..len]),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    }
    if !so_far.ends_with(b"\r\n\r\n") {
        return Ok(());
    }
    let request = std::mem::take(so_far);
    let stays = !String::from_utf8_lossy(&request).contains("Connection: close");
    note(heard, &request);
    if manner == Manner::Breaks {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(REQUEST_WITHIN))?;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", ANSWER.len())?;
    stream.write_all(ANSWER)?;
    stream.set_nonblocking(true)?;
    if stays { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
}

/// BEP 15: to a connect request (16 bytes) a connection, to an announce an interval and no peers.
fn answer_udp(socket: &UdpSocket, from: SocketAddr, question: &[u8]) {
    let Some(transaction) = question.get(12..16) else { return };
    let announce = question.len() > 16;
    let rest: &[u8] = if announce { &[0, 0, 0, 120, 0, 0, 0, 0, 0, 0, 0, 0] } else { &[5; 8] };
    // Who asked may have closed its port.
    let _ = socket.send_to(&[&[0, 0, 0, u8::from(announce)], transaction, rest].concat(), from);
}

//! A real tracker program: opentracker, over UDP and HTTP on one port, of loopback or of a host in a
//! network namespace.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::namespace::inside;

/// Where Debian puts the program.
const PROGRAM: &str = "opentracker";

/// How long the program may take to answer for the first time.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Where we say that we are when we ask it ourselves.
const ASKER_PORT: u16 = 9;

/// Set where the tests must not be skipped for want of a tracker.
const REQUIRED: &str = "BITCHAT_TESTS_REQUIRE_TRACKER";

/// Where a tracker is to run that does not run yet.
///
/// The program serves only infohashes that it was started with, and a channel's infohash is known
/// only once its file, which names the tracker, is there. So the address comes first.
#[derive(Debug, Clone, Copy)]
pub struct Spot(SocketAddr);

impl Spot {
    /// Picks a port that is free for UDP and TCP now.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    #[must_use]
    pub fn pick() -> Self {
        let port = free_port().expect("a free port");
        Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// A port of a host in a namespace, where nothing else runs.
    #[must_use]
    pub const fn at(address: SocketAddr) -> Self {
        Self(address)
    }

    /// The announce URL over UDP.
    #[must_use]
    pub fn udp_url(self) -> String {
        format!("udp://{}/announce", self.0)
    }

    /// The announce URL over HTTP.
    #[must_use]
    pub fn http_url(self) -> String {
        format!("http://{}/announce", self.0)
    }

    /// Starts a tracker here that serves exactly these infohashes (40 hexadecimal digits each).
    ///
    /// `None` where the program is not installed and `BITCHAT_TESTS_REQUIRE_TRACKER` is not set:
    /// the caller skips its story, and this says so.
    ///
    /// # Panics
    ///
    /// When the program is required and missing, or does not start.
    #[must_use]
    pub fn start(self, infohashes: &[String]) -> Option<Tracker> {
        self.start_in(None, infohashes)
    }

    /// The same in a network namespace, if any.
    ///
    /// # Panics
    ///
    /// When the program is required and missing, or does not start.
    #[must_use]
    pub fn start_in(self, namespace: Option<&str>, infohashes: &[String]) -> Option<Tracker> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        match within(namespace, || spawn(&directory, self.0, infohashes)) {
            Ok(child) => {
                let namespace = namespace.map(str::to_owned);
                let address = self.0;
                let mut tracker = Tracker { child, address, namespace, _directory: directory };
                tracker.wait_until_it_serves(infohashes);
                Some(tracker)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                assert!(std::env::var_os(REQUIRED).is_none(), "opentracker is not installed");
                let notice = "skipped: opentracker is not installed";
                let _ = writeln!(io::stderr(), "{notice}");
                None
            }
            Err(error) => panic!("opentracker does not start: {error}"),
        }
    }
}

/// A running opentracker; ended when dropped.
#[derive(Debug)]
pub struct Tracker {
    child: Child,
    address: SocketAddr,
    namespace: Option<String>,
    _directory: TempDir,
}

impl Tracker {
    /// Ends the program; what it was told is gone.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whom it names to who asks for the members of `infohash`.
    ///
    /// # Panics
    ///
    /// When it does not answer, or not as a tracker does.
    #[must_use]
    pub fn peers(&self, infohash: &str) -> Vec<SocketAddrV4> {
        let ask = |event| within(self.namespace.as_deref(), || self.announce(infohash, event));
        let answer = ask("started").expect("a running tracker");
        let _ = ask("stopped").expect("a running tracker");
        let key = b"5:peers";
        let at = answer.windows(key.len()).position(|word| word == key).expect("a list of peers");
        let list = &answer[at + key.len()..];
        let colon = list.iter().position(|byte| *byte == b':').expect("a byte string");
        let len = String::from_utf8_lossy(&list[..colon]).parse().expect("its length");
        let peer = |bytes: &[u8]| {
            let [a, b, c, d, high, low] = bytes.try_into().expect("six bytes");
            SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))
        };
        let list = list.iter().skip(colon + 1).take(len).copied().collect::<Vec<u8>>();
        let peers = list.chunks_exact(6).map(peer);
        peers.filter(|peer| peer.port() != ASKER_PORT).collect()
    }

    /// It reads its list of infohashes beside answering: until then it refuses them.
    fn wait_until_it_serves(&mut self, infohashes: &[String]) {
        let began = Instant::now();
        while !infohashes.iter().all(|infohash| self.serves(infohash)) {
            assert!(began.elapsed() < START_TIMEOUT, "opentracker does not serve");
            let ended = self.child.try_wait().expect("our own child");
            assert!(ended.is_none(), "opentracker ended at once: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Comes as a member and goes again, so that nobody is told of it.
    fn serves(&self, infohash: &str) -> bool {
        let accepted = |event| {
            let announce = || self.announce(infohash, event);
            let answer = within(self.namespace.as_deref(), announce);
            answer.is_ok_and(|answer| answer.windows(8).any(|word| word == b"interval"))
        };
        accepted("started") && accepted("stopped")
    }

    fn announce(&self, infohash: &str, event: &str) -> io::Result<Vec<u8>> {
        let hash: String = (0..infohash.len())
            .step_by(2)
            .map(|at| format!("%{}", &infohash[at..at + 2]))
            .collect();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(
            stream,
            "GET /announce?info_hash={hash}&peer_id=-XX0000-abcdefghijkl&port={ASKER_PORT}&uploaded=0\
             &downloaded=0&left=1&compact=1&event={event} HTTP/1.0\r\n\r\n",
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Does this here, or in a namespace.
fn within<T: Send>(
    namespace: Option<&str>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    match namespace {
        None => work(),
        Some(namespace) => inside(namespace, work)?,
    }
}

fn spawn(directory: &TempDir, address: SocketAddr, infohashes: &[String]) -> io::Result<Child> {
    let root = directory.path();
    // The program leaves root for a user that must be able to read its files.
    open_to_others(root)?;
    let whitelist = root.join("whitelist");
    std::fs::write(&whitelist, infohashes.join("\n") + "\n")?;
    let config: PathBuf = root.join("opentracker.conf");
    let text = format!(
        "listen.tcp_udp {address}\naccess.whitelist whitelist\ntracker.rootdir {}\n\
         tracker.user nobody\n",
        root.display(),
    );
    std::fs::write(&config, text)?;
    Command::new(PROGRAM)
        .arg("-f")
        .arg(&config)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

#[cfg(unix)]
fn open_to_others(directory: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn open_to_others(_: &std::path::Path) -> io::Result<()> {
    Ok(())
}

/// Ports below those that systems give to whoever asks for any: one of these is still free later.
const PORTS: std::ops::Range<u64> = 10_000..32_768;

/// A port that is free for TCP and UDP now.
///
/// # Errors
///
/// When loopback has none.
pub fn free_port() -> io::Result<u16> {
    let mut failure = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..100 {
        // A hasher of its own is the standard library's only source of chance.
        let chance = RandomState::new().build_hasher().finish();
        let port = PORTS.start + chance % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).map_err(io::Error::other)?;
        let both = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .and_then(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)));
        match both {
            Ok(_) => return Ok(port),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

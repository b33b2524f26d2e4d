//! A private Mainline DHT: real libtorrent sessions, on loopback or a host of their own, that know nobody
//! else.
//!
//! They run in a Python program, `mainline/swarm.py`; `mainline/install` gets it the library.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// Set where the tests must not be skipped for want of libtorrent.
const REQUIRED: &str = "BITCHAT_TESTS_REQUIRE_MAINLINE";

/// Numbers the swarms of this process: none shares an address with another.
static SWARMS: AtomicU32 = AtomicU32::new(0);

/// Running nodes; ended when dropped.
#[derive(Debug)]
pub struct Mainline {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    nodes: Vec<SocketAddr>,
}

/// How a look-up of libtorrent's went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// Nodes that were asked.
    pub asked: u64,
    /// From its start to its end, before anything is announced; `None` if it has not ended in time,
    /// as one that asks a node that is gone: libtorrent waits 15 s for it.
    pub took: Option<Duration>,
    /// The peers that were found.
    pub peers: Vec<SocketAddr>,
}

impl Mainline {
    /// Starts `count` nodes on loopback and waits until they know each other.
    ///
    /// `None` where there is no Python with libtorrent and `BITCHAT_TESTS_REQUIRE_MAINLINE` is not
    /// set: the caller skips its story, and this says so.
    ///
    /// # Panics
    ///
    /// When it is required and missing, or the nodes do not start.
    #[must_use]
    pub fn start(count: usize) -> Option<Self> {
        Self::start_at(None, &loopback(count))
    }

    /// The same in a network namespace, where each node has one of these addresses.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_in(namespace: &str, addresses: &[IpAddr]) -> Option<Self> {
        Self::start_at(Some(namespace), addresses)
    }

    fn start_at(namespace: Option<&str>, addresses: &[IpAddr]) -> Option<Self> {
        let Some(python) = find_python() else {
            assert!(std::env::var_os(REQUIRED).is_none(), "no Python with libtorrent");
            let notice = "skipped: no Python with libtorrent; integration-tests/mainline/install";
            let _ = writeln!(io::stderr(), "{notice}");
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("mainline/swarm.py");
        let mut command = Command::new(&python);
        if let Some(namespace) = namespace {
            command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(&python);
        }
        let mut child = command
            .args(["-W", "ignore"])
            .arg(script)
            .args(addresses.iter().map(IpAddr::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut swarm = Self { child, stdin, stdout, nodes: Vec::new() };
        swarm.nodes = parse_all(&swarm.read()["nodes"]);
        Some(swarm)
    }

    /// Where the nodes are.
    #[must_use]
    pub fn nodes(&self) -> &[SocketAddr] {
        &self.nodes
    }

    /// Has a node announce that somebody at its address, at this port, has the infohash (40
    /// hexadecimal digits); waits until it has asked all that it wants to.
    ///
    /// # Panics
    ///
    /// When its look-up does not end.
    pub fn announce(&mut self, node: usize, infohash: &str, port: u16) -> LookUp {
        let announce = json!({
            "do": "announce", "node": node, "infohash": infohash, "port": port, "within": 20,
        });
        let look_up = self.ask(&announce);
        assert!(look_up.took.is_some(), "it does not end: {look_up:?}");
        look_up
    }

    /// Has a node look up an infohash, to the end or for so long.
    ///
    /// # Panics
    ///
    /// When the program does not answer.
    pub fn look_up(&mut self, node: usize, infohash: &str, within: Duration) -> LookUp {
        let within = within.as_secs_f64();
        self.ask(&json!({
            "do": "look_up", "node": node, "infohash": infohash, "within": within,
        }))
    }

    fn ask(&mut self, request: &Value) -> LookUp {
        let stdin = self.stdin.as_mut().expect("input is still open");
        writeln!(stdin, "{request}").expect("the program reads");
        stdin.flush().expect("the program reads");
        let answer = self.read();
        LookUp {
            asked: answer["asked"].as_u64().expect("a number"),
            took: answer["seconds"].as_f64().map(Duration::from_secs_f64),
            peers: parse_all(&answer["peers"]),
        }
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the program writes text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON: {line:?}: {error}"))
    }
}

impl Drop for Mainline {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse_all(list: &Value) -> Vec<SocketAddr> {
    let addresses = list.as_array().expect("a list of addresses").iter();
    addresses.map(|it| it.as_str().expect("text").parse().expect("an address")).collect()
}

/// Addresses of a swarm on this machine's loopback.
fn loopback(count: usize) -> Vec<IpAddr> {
    let number = SWARMS.fetch_add(1, Ordering::Relaxed);
    // Other test programs may run beside this one.
    let number = (std::process::id().wrapping_mul(16) + number) % 240;
    let first = Ipv4Addr::LOCALHOST.to_bits() + ((10 + number) << 16);
    (first..).take(count).map(|bits| Ipv4Addr::from_bits(bits).into()).collect()
}

/// The one that `mainline/install` has made, beside this program in the target directory; or else the
/// system's, if it has the library.
fn find_python() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let ours = program.ancestors().map(|it| it.join("mainline/bin/python")).find(|it| it.exists());
    let has_library = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", "import libtorrent"]).stdin(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ours.into_iter().chain([PathBuf::from("python3")]).find(has_library)
}

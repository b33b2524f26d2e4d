//! Hosts of their own with no way to anywhere else: network namespaces.
//!
//! A [`Cable`] joins two of them, a [`Segment`] any number.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Numbers the namespaces of this process.
static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// What every host calls its interface.
const INTERFACE: &str = "cable";

/// One namespace; removed when dropped, and with it its interfaces.
#[derive(Debug)]
struct Namespace(String);

impl Namespace {
    fn add() -> io::Result<Self> {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("bitchat-{}-{number}", std::process::id());
        ip(&["netns", "add", &name])?;
        Ok(Self(name))
    }

    fn enable(&self, interface: &str) -> io::Result<()> {
        ip(&["-n", &self.0, "link", "set", interface, "up"])
    }

    fn give(&self, address: &str) -> io::Result<()> {
        let add = ["-n", &self.0, "address", "add", address, "dev", INTERFACE];
        // Nobody else has it, and one of IPv6 is in use at once if that need not be found out.
        let certain = address.contains(':').then_some("nodad");
        ip(&add.into_iter().chain(certain).collect::<Vec<_>>())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "delete", &self.0]);
    }
}

/// Two hosts joined by a pair of virtual interfaces.
#[derive(Debug)]
pub struct Cable {
    ends: [Namespace; 2],
}

impl Cable {
    /// Makes two hosts with these addresses (such as `10.1.1.1/24`), if they are to have any beside
    /// the link-local ones that the system gives them.
    ///
    /// `None` where that is not allowed: the caller skips its story, and this says so.
    #[must_use]
    pub fn lay(addresses: Option<[&str; 2]>) -> Option<Self> {
        or_notice(Self::set_up(addresses))
    }

    /// The names of the namespaces.
    #[must_use]
    pub fn namespaces(&self) -> [&str; 2] {
        [&self.ends[0].0, &self.ends[1].0]
    }

    fn set_up(addresses: Option<[&str; 2]>) -> io::Result<Self> {
        let cable = Self { ends: [Namespace::add()?, Namespace::add()?] };
        let [one, other] = cable.namespaces();
        let pair = ["link", "add", INTERFACE, "netns", one, "type", "veth"];
        ip(&[&pair[..], &["peer", "name", INTERFACE, "netns", other]].concat())?;
        for (at, end) in cable.ends.iter().enumerate() {
            if let Some(addresses) = addresses {
                end.give(addresses[at])?;
            }
            end.enable("lo")?;
            end.enable(INTERFACE)?;
        }
        Ok(cable)
    }
}

/// Any number of hosts on one switch, which have no other addresses than those they are given.
#[derive(Debug)]
pub struct Segment {
    hosts: Vec<Namespace>,
    _switch: Namespace,
}

impl Namespace {
    fn route(&self, change: &[&str]) -> io::Result<()> {
        ip(&[&["-n", &self.0, "route"][..], change].concat())
    }
}

impl Segment {
    /// Makes a host for each of these addresses (such as `10.1.1.1/24` or `fd00:1::1/64`).
    ///
    /// `None` where that is not allowed: the caller skips its story, and this says so.
    #[must_use]
    pub fn lay(addresses: &[String]) -> Option<Self> {
        or_notice(Self::set_up(addresses))
    }

    /// The name of the namespace of one host, counted as the addresses were.
    ///
    /// # Panics
    ///
    /// When there are not so many hosts.
    #[must_use]
    pub fn host(&self, at: usize) -> &str {
        &self.hosts[at].0
    }

    /// Keeps two hosts from each other: what one sends the other by its address goes nowhere.
    ///
    /// # Panics
    ///
    /// When there is no such host, or they are kept apart already.
    pub fn part(&self, at: usize, from: &str) {
        self.hosts[at].route(&["add", "blackhole", from]).expect("a route");
    }

    /// Takes back what [`Segment::part`] did.
    ///
    /// # Panics
    ///
    /// When they are not kept apart.
    pub fn heal(&self, at: usize, from: &str) {
        self.hosts[at].route(&["del", "blackhole", from]).expect("a route");
    }

    /// Gives a host one more address.
    ///
    /// # Panics
    ///
    /// When there is no such host, or the address is none.
    pub fn give(&self, at: usize, address: &str) {
        self.hosts[at].give(address).expect("an address");
    }

    fn set_up(addresses: &[String]) -> io::Result<Self> {
        let switch = Namespace::add()?;
        ip(&["-n", &switch.0, "link", "add", "switch", "type", "bridge"])?;
        switch.enable("switch")?;
        let mut hosts = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            let host = Namespace::add()?;
            let socket = format!("host{at}");
            let pair = ["link", "add", INTERFACE, "netns", &host.0, "type", "veth"];
            ip(&[&pair[..], &["peer", "name", &socket, "netns", &switch.0]].concat())?;
            ip(&["-n", &switch.0, "link", "set", &socket, "master", "switch"])?;
            switch.enable(&socket)?;
            ip(&["-n", &host.0, "link", "set", INTERFACE, "addrgenmode", "none"])?;
            host.give(address)?;
            host.enable("lo")?;
            host.enable(INTERFACE)?;
            hosts.push(host);
        }
        Ok(Self { hosts, _switch: switch })
    }
}

/// Runs `work` as a process of that namespace would: its sockets and its children are there.
///
/// # Errors
///
/// When there is no such namespace, or no permission to enter it.
///
/// # Panics
///
/// When `work` panics.
#[cfg(target_os = "linux")]
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    use std::os::fd::AsFd as _;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let door = std::fs::File::open(format!("/run/netns/{namespace}"))?;
    // A thread of its own, as it stays where it went.
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            move_into_link_name_space(door.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        });
        inside.join().expect("no panic inside of the namespace")
    })
}

/// Nobody gets so far elsewhere: there are no namespaces to name.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn inside<T: Send>(_: &str, _: impl FnOnce() -> T + Send) -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

fn or_notice<T>(made: io::Result<T>) -> Option<T> {
    let notice = |error: &io::Error| {
        let notice = format!("skipped: no network namespaces here: {error}");
        let _ = writeln!(io::stderr(), "{notice}");
    };
    made.inspect_err(notice).ok()
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

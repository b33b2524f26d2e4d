//! Two hosts with a cable between them and no way to anywhere else: network namespaces.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Numbers the cables of this process.
static CABLES: AtomicU32 = AtomicU32::new(0);

/// Two namespaces joined by a pair of virtual interfaces; removed when dropped.
#[derive(Debug)]
pub struct Cable {
    names: [String; 2],
}

impl Cable {
    /// Makes two hosts with these addresses (such as `10.1.1.1/24`), if they are to have any beside
    /// the link-local ones that the system gives them.
    ///
    /// `None` where that is not allowed: the caller skips its story, and this says so.
    #[must_use]
    pub fn lay(addresses: Option<[&str; 2]>) -> Option<Self> {
        let number = CABLES.fetch_add(1, Ordering::Relaxed);
        let name = |end: usize| format!("bitchat-{}-{number}-{end}", std::process::id());
        let cable = Self { names: [name(0), name(1)] };
        match cable.set_up(addresses) {
            Ok(()) => Some(cable),
            Err(error) => {
                let notice = format!("skipped: no network namespaces here: {error}");
                let _ = writeln!(io::stderr(), "{notice}");
                None
            }
        }
    }

    /// The names of the namespaces.
    #[must_use]
    pub fn namespaces(&self) -> [&str; 2] {
        [&self.names[0], &self.names[1]]
    }

    fn set_up(&self, addresses: Option<[&str; 2]>) -> io::Result<()> {
        let [one, other] = self.namespaces();
        for name in [one, other] {
            ip(&["netns", "add", name])?;
        }
        let pair = ["link", "add", "cable", "netns", one, "type", "veth"];
        ip(&[&pair[..], &["peer", "name", "cable", "netns", other]].concat())?;
        for (end, name) in [one, other].into_iter().enumerate() {
            if let Some(addresses) = addresses {
                ip(&["-n", name, "address", "add", addresses[end], "dev", "cable"])?;
            }
            for interface in ["lo", "cable"] {
                ip(&["-n", name, "link", "set", interface, "up"])?;
            }
        }
        Ok(())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // With a namespace go its interfaces, and with one end of the pair the other.
        for name in &self.names {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

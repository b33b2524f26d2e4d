//! Where to ask for a channel: addresses of DHT nodes, as they stand in `.chat` files.
//!
//! They come from whoever made the file and end up in name look-ups, so they are checked when they
//! are read. They are kept as written. Those of trackers: [`crate::tracker::TrackerUrl`].

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::host;

/// Why text is not the address of a node; each says what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No host, or not one.
    #[error("the host must be a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// No port, or not one.
    #[error("a port from 1 to 65535 must follow the host")]
    Port,
}

/// A DHT node to begin with: a host and a UDP port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    host: String,
    port: u16,
}

impl NodeAddress {
    /// Takes a host (a name, or an address without brackets) and a port.
    ///
    /// # Errors
    ///
    /// [`AddressError::Host`] or [`AddressError::Port`] when one is not.
    pub fn new(host: impl Into<String>, port: u16) -> Result<Self, AddressError> {
        let host = host.into();
        if host.parse::<Ipv6Addr>().is_err() && !host::is_name(&host) {
            return Err(AddressError::Host);
        }
        if port == 0 { Err(AddressError::Port) } else { Ok(Self { host, port }) }
    }

    /// The name, or the address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for NodeAddress {
    type Err = AddressError;

    /// Reads `host:port` or `[IPv6 address]:port`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split_port(text);
        check_host(host)?;
        let port = port.and_then(host::port).ok_or(AddressError::Port)?;
        Self::new(host.trim_start_matches('[').trim_end_matches(']'), port)
    }
}

/// Splits at the last colon that is not inside brackets.
fn split_port(place: &str) -> (&str, Option<&str>) {
    match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (place, None),
    }
}

fn check_host(host: &str) -> Result<(), AddressError> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid =
        inner.map_or_else(|| host::is_name(host), |inner| inner.parse::<Ipv6Addr>().is_ok());
    if valid { Ok(()) } else { Err(AddressError::Host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_reads_back_from_its_text() {
        for text in ["router.example:6881", "127.0.0.1:1", "[2001:db8::1]:65535"] {
            let node: NodeAddress = text.parse().unwrap();
            assert_eq!(node.to_string(), text);
            assert_eq!(NodeAddress::new(node.host(), node.port()), Ok(node));
        }
    }

    #[test]
    fn what_is_no_node_is_refused() {
        for text in
            ["", ":1", "a", "a:", "a:0", "a:b", "::1:1", "[::1]", "[a]:1", "a b:1", "[[::1]]:1"]
        {
            assert!(text.parse::<NodeAddress>().is_err(), "{text}");
        }
        assert_eq!(NodeAddress::new("[::1]", 1), Err(AddressError::Host));
        assert_eq!(NodeAddress::new("a", 0), Err(AddressError::Port));
    }
}

//! Where to ask for a channel: addresses of trackers and DHT nodes, as they stand in `.chat` files.
//!
//! They come from whoever made the file and end up in requests and name look-ups, so they are
//! checked when they are read. They are kept as written.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bytes of a tracker's URL.
const TRACKER_URL_BYTES_MAX: usize = 2048;
/// Bytes of a host name (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Why text is not the address of a tracker or a node; each says what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Too long to be one.
    #[error("more than {TRACKER_URL_BYTES_MAX} characters long")]
    TooLong,
    /// A space, a control character, or one beyond ASCII.
    #[error("spaces, control characters and characters beyond ASCII must be percent-encoded")]
    Character,
    /// No scheme, or another one.
    #[error("it must begin with udp://, http:// or https://")]
    Scheme,
    /// No host, or not one.
    #[error("the host must be a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// No port, or not one.
    #[error("a port from 1 to 65535 must follow the host")]
    Port,
    /// A part after `#`.
    #[error("it must not have a part after \"#\"")]
    Fragment,
}

/// Checks the URL of a tracker: `udp://host:port/...`, `http://host[:port]/...` or `https://...`.
pub(super) fn check_tracker(url: &str) -> Result<(), AddressError> {
    if url.len() > TRACKER_URL_BYTES_MAX {
        return Err(AddressError::TooLong);
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AddressError::Character);
    }
    if url.contains('#') {
        return Err(AddressError::Fragment);
    }
    let (scheme, rest) = url.split_once("://").ok_or(AddressError::Scheme)?;
    if !["udp", "http", "https"].contains(&scheme) {
        return Err(AddressError::Scheme);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    match split_port(place) {
        (host, Some(port)) => {
            check_host(host)?;
            port_of(port).map(|_| ())
        }
        (_, None) if scheme == "udp" => Err(AddressError::Port),
        (host, None) => check_host(host),
    }
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
        if host.parse::<Ipv6Addr>().is_err() && !is_name(&host) {
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
        let port = port_of(port.ok_or(AddressError::Port)?)?;
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

fn port_of(text: &str) -> Result<u16, AddressError> {
    let digits = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or(AddressError::Port)
}

fn check_host(host: &str) -> Result<(), AddressError> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = inner.map_or_else(|| is_name(host), |inner| inner.parse::<Ipv6Addr>().is_ok());
    if valid { Ok(()) } else { Err(AddressError::Host) }
}

/// Whether it is a name or an IPv4 address. What ends in a number is an address or nothing: some
/// resolvers read `127.1` as one, others do not.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
    host.len() <= HOST_BYTES_MAX
        && host.split('.').all(is_label)
        && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trackers_of_every_usual_form_are_accepted() {
        for url in [
            "udp://tracker.example:6969",
            "udp://tracker.example:6969/announce",
            "http://tracker.example/announce",
            "https://tracker.example:443/a/b?passkey=0123&x=%20",
            "http://127.0.0.1:8080/announce",
            "udp://[::1]:6969/announce",
            "http://user:pa:ss@tracker.example/announce?a=b@c",
            "http://tracker.example?x=1",
        ] {
            assert_eq!(check_tracker(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        #[track_caller]
        fn check(url: &str, expected: AddressError) {
            assert_eq!(check_tracker(url), Err(expected), "{url}");
        }
        check("", AddressError::Scheme);
        check("tracker.example:6969", AddressError::Scheme);
        check("ftp://tracker.example/", AddressError::Scheme);
        check("wss://tracker.example/", AddressError::Scheme);
        check("udp://tracker.example", AddressError::Port);
        check("udp://tracker.example:0", AddressError::Port);
        check("udp://tracker.example:65536", AddressError::Port);
        check("http://tracker.example:/", AddressError::Port);
        check("http://tracker.example:+80/", AddressError::Port);
        check("http:///announce", AddressError::Host);
        check("http://:80/announce", AddressError::Host);
        check("http://a..b/", AddressError::Host);
        check("http://[::1/", AddressError::Host);
        check("http://[1.2.3.4]/", AddressError::Host);
        check("http://::1/", AddressError::Host);
        check("http://user@/", AddressError::Host);
        check("http://127.1/", AddressError::Host);
        check("http://300.0.0.1/", AddressError::Host);
        check("http://2130706433/", AddressError::Host);
        check("http://0x7f000001/", AddressError::Host);
        check("http://a b/", AddressError::Character);
        check("http://a/\r\nHost: b", AddressError::Character);
        check("http://ä.example/", AddressError::Character);
        check("http://a/#b", AddressError::Fragment);
        check(&format!("http://a/{}", "b".repeat(2048)), AddressError::TooLong);
        check(&format!("http://{}/", "b".repeat(64)), AddressError::Host);
    }

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

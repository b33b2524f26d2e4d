//! The address of a tracker, as it stands in a `.chat` file or in a redirect.
//!
//! ```text
//! scheme "://" [ userinfo "@" ] host [ ":" port ] [ path ] [ "?" query ]
//! ```
//!
//! Read strictly, because it becomes part of a request: printable ASCII only, no blanks, no fragment,
//! no control characters (they could end the request line and begin another).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::host;
use crate::limits::TRACKER_URL_BYTES_MAX;

/// How a tracker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// BEP 15, in datagrams.
    Udp,
    /// BEP 3 in clear.
    Http,
    /// BEP 3 under TLS.
    Https,
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> Option<u16> {
        match self {
            Self::Udp => None,
            Self::Http => Some(80),
            Self::Https => Some(443),
        }
    }
}

/// Why text is not the address of a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`TRACKER_URL_BYTES_MAX`].
    #[error("a tracker's address has at most {TRACKER_URL_BYTES_MAX} bytes, this has {0}")]
    TooLong(usize),
    /// A blank, a control character, or one outside ASCII.
    #[error("a tracker's address has no blanks, control or non-ASCII characters")]
    Character,
    /// Neither `udp://` nor `http://` nor `https://`.
    #[error("a tracker's address begins with udp://, http:// or https://")]
    Scheme,
    /// No host, or one that is neither a name nor an IP address.
    #[error("the host in the tracker's address is neither a name nor an IP address")]
    Host,
    /// No port where one is needed, or none from 1 to 65535.
    #[error("the port in the tracker's address is not a number from 1 to 65535")]
    Port,
    /// A `#` and what follows it.
    #[error("a tracker's address has no fragment (#)")]
    Fragment,
}

/// The address of a tracker. `Display` and `Debug` leave out a user name and password.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackerUrl {
    scheme: Scheme,
    userinfo: Option<String>,
    /// As written; an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// Begins with `/`.
    path_and_query: String,
}

impl TrackerUrl {
    /// How the tracker is spoken to.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host as written, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host, if it is an address and no name.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The port, given or implied by the scheme.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, at least `/`.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// User name and password as written, `user:password`.
    #[must_use]
    pub fn userinfo(&self) -> Option<&str> {
        self.userinfo.as_deref()
    }

    /// Host, and port unless it is the scheme's own, as a `Host` header has it.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let host = self.bracketed_host();
        if self.scheme.default_port() == Some(self.port) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// The whole address with another path and query; without a user name.
    #[must_use]
    pub fn with_target(&self, target: &str) -> String {
        format!("{}://{}{target}", self.scheme.name(), self.host_and_port())
    }

    /// Reads the `Location` of a redirect from this address: absolute, or a path on the same host.
    ///
    /// # Errors
    ///
    /// [`UrlError`]: of the whole address.
    pub fn redirected(&self, location: &str) -> Result<Self, UrlError> {
        if !location.starts_with('/') {
            return location.parse();
        }
        if self.path_and_query.len().max(location.len()) > TRACKER_URL_BYTES_MAX {
            return Err(UrlError::TooLong(location.len()));
        }
        check_characters(location)?;
        Ok(Self { path_and_query: location.to_owned(), ..self.clone() })
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl FromStr for TrackerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > TRACKER_URL_BYTES_MAX {
            return Err(UrlError::TooLong(text.len()));
        }
        check_characters(text)?;
        let (scheme, rest) = split_scheme(text)?;
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(authority_end);
        let (userinfo, host_and_port) = match authority.rsplit_once('@') {
            Some((userinfo, rest)) => (Some(userinfo.to_owned()), rest),
            None => (None, authority),
        };
        let (host, port) = split_host(host_and_port)?;
        let port = match port {
            Some(port) => host::port(port).ok_or(UrlError::Port)?,
            None => scheme.default_port().ok_or(UrlError::Port)?,
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { scheme, userinfo, host, port, path_and_query: format!("{slash}{target}") })
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_target(&self.path_and_query))
    }
}

impl fmt::Debug for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn check_characters(text: &str) -> Result<(), UrlError> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(UrlError::Character)
    } else if text.contains('#') {
        Err(UrlError::Fragment)
    } else {
        Ok(())
    }
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), UrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
    match scheme.to_ascii_lowercase().as_str() {
        "udp" => Ok((Scheme::Udp, rest)),
        "http" => Ok((Scheme::Http, rest)),
        "https" => Ok((Scheme::Https, rest)),
        _ => Err(UrlError::Scheme),
    }
}

/// Splits `name`, `name:port`, `[v6]` and `[v6]:port`.
fn split_host(text: &str) -> Result<(String, Option<&str>), UrlError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or(UrlError::Host)?;
        ip.parse::<Ipv6Addr>().map_err(|_| UrlError::Host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((ip.to_owned(), Some(port))),
            None if rest.is_empty() => Ok((ip.to_owned(), None)),
            None => Err(UrlError::Host),
        };
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    if host::is_name(name) { Ok((name.to_owned(), port)) } else { Err(UrlError::Host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(text: &str) -> TrackerUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[track_caller]
    fn check_refused(text: &str, expected: UrlError) {
        assert_eq!(text.parse::<TrackerUrl>(), Err(expected), "{text}");
    }

    #[test]
    fn every_part_is_found() {
        let url = parsed("HTTP://user:pass@Tracker.Example:6969/a/announce?auth=abc");
        assert_eq!(url.scheme(), Scheme::Http);
        assert_eq!(url.userinfo(), Some("user:pass"));
        assert_eq!(url.host(), "Tracker.Example");
        assert_eq!(url.port(), 6969);
        assert_eq!(url.path_and_query(), "/a/announce?auth=abc");
        assert_eq!(url.host_and_port(), "Tracker.Example:6969");
    }

    #[test]
    fn the_schemes_own_port_is_implied_and_left_out() {
        assert_eq!(parsed("http://t/announce").host_and_port(), "t");
        assert_eq!(parsed("http://t:80/announce").host_and_port(), "t");
        assert_eq!(parsed("https://t:80/announce").host_and_port(), "t:80");
        assert_eq!(parsed("https://t").port(), 443);
        check_refused("udp://t/announce", UrlError::Port);
    }

    #[test]
    fn an_empty_path_becomes_a_slash() {
        assert_eq!(parsed("udp://t:1").path_and_query(), "/");
        assert_eq!(parsed("http://t?x=1").path_and_query(), "/?x=1");
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let url = parsed("udp://[::1]:6969/announce");
        assert_eq!(url.literal(), Some("::1".parse().unwrap()));
        assert_eq!(url.host_and_port(), "[::1]:6969");
        check_refused("udp://::1:6969/announce", UrlError::Host);
        check_refused("udp://[::1%eth0]:6969/", UrlError::Host);
        check_refused("udp://[::1]6969/", UrlError::Host);
    }

    #[test]
    fn nothing_can_end_the_request_line() {
        for bad in ["\r\n", " ", "\t", "\0", "\u{7f}", "\u{e9}", "\u{202e}"] {
            check_refused(&format!("http://t/announce{bad}x"), UrlError::Character);
            check_refused(&format!("http://t{bad}/announce"), UrlError::Character);
            check_refused(&format!("http://u{bad}@t/announce"), UrlError::Character);
        }
        check_refused("http://t/#f", UrlError::Fragment);
    }

    #[test]
    fn a_wrong_scheme_host_or_port_is_refused() {
        check_refused("file:///etc/passwd", UrlError::Scheme);
        check_refused("wss://t/announce", UrlError::Scheme);
        check_refused("tracker.example", UrlError::Scheme);
        for host in ["", ".", "a,b", "127.1", "2130706433", "0x7f000001", "1.2.3.256", "a%41"] {
            check_refused(&format!("http://{host}/"), UrlError::Host);
        }
        for port in ["", "0", "65536", "+80", "-1", "http"] {
            check_refused(&format!("http://t:{port}/"), UrlError::Port);
        }
    }

    #[test]
    fn an_address_of_the_greatest_length_is_read_and_a_longer_one_refused() {
        let most = format!("http://t/{}", "a".repeat(TRACKER_URL_BYTES_MAX - 9));
        parsed(&most);
        check_refused(&format!("{most}a"), UrlError::TooLong(TRACKER_URL_BYTES_MAX + 1));
    }

    #[test]
    fn a_password_is_not_printed() {
        let url = parsed("http://user:secret@t/announce");
        assert_eq!(format!("{url} {url:?}"), "http://t/announce http://t/announce");
    }

    #[test]
    fn a_redirect_is_absolute_or_a_path_on_the_same_host() {
        let url = parsed("http://t:81/announce?x=1");
        assert_eq!(url.redirected("/b?y=2"), Ok(parsed("http://t:81/b?y=2")));
        assert_eq!(url.redirected("https://u/c"), Ok(parsed("https://u/c")));
        assert_eq!(url.redirected("c"), Err(UrlError::Scheme));
        assert_eq!(url.redirected("/\r\nX: y"), Err(UrlError::Character));
        assert_eq!(url.redirected("file:///etc/passwd"), Err(UrlError::Scheme));
    }
}

//! Names of hosts and numbers of ports, as they stand in addresses of trackers and DHT nodes.
//!
//! Read strictly, as they come from strangers and end up in name look-ups and requests.

use std::net::Ipv4Addr;

/// Bytes of a host name (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// Bytes of one label of it.
const LABEL_BYTES_MAX: usize = 63;

/// Whether `host` can be asked of the DNS, or is an IPv4 address. What only looks like one
/// (`127.1`, `0x7f000001`, `2130706433`) is refused, because programs differ in what they make of it.
pub(crate) fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
    name.len() <= NAME_BYTES_MAX
        && name.split('.').all(is_label)
        && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

/// A decimal number from 1 to 65535, without a sign.
pub(crate) fn port(text: &str) -> Option<u16> {
    let digits = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ipv4_addresses_are_told_from_what_only_looks_like_them() {
        for host in ["a", "tracker.example", "Tracker.Example.", "a_b.c-d", "1a.2b", "127.0.0.1"] {
            assert!(is_name(host), "{host}");
        }
        let long = [&"b".repeat(64)[..], &"b.".repeat(128)].map(str::to_owned);
        let bad = ["", ".", "a..b", ".a", "a,b", "127.1", "127.0.0.1.", "300.0.0.1", "2130706433"];
        let bad =
            bad.into_iter().chain(["0x7f000001", "0X7f000001", "a b", "[::1]", "::1", "a%41"]);
        for host in bad.chain(long.iter().map(String::as_str)) {
            assert!(!is_name(host), "{host}");
        }
    }

    #[test]
    fn a_port_is_a_plain_number_that_is_not_zero() {
        assert_eq!((port("1"), port("65535")), (Some(1), Some(65535)));
        for text in ["", "0", "65536", "+80", "-1", "http", "000080", "8 "] {
            assert_eq!(port(text), None, "{text}");
        }
    }
}

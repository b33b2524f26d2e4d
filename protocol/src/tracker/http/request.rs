//! The bytes of an announce over HTTP, exactly as the worn client writes them.

use data_encoding::BASE64;

use crate::tracker::announce::{Announce, Occasion};
use crate::tracker::disguise::{ClientProfile, Placeholder};
use crate::tracker::url::TrackerUrl;

/// The digits of the one escaped value that has no digits of its own.
const IPV6_DIGITS: &[u8] = b"0123456789ABCDEF";

/// Makes the path and query that announce to `url`; a query that the address already has comes first.
#[must_use]
pub fn announce_target(
    profile: &ClientProfile,
    url: &TrackerUrl,
    announce: &Announce<'_>,
) -> String {
    let fill = |placeholder| query_value(profile, announce, placeholder);
    let pairs: Vec<String> =
        profile.query.iter().filter_map(|template| template.filled(fill)).collect();
    let path = url.path_and_query();
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}{}", pairs.join("&"))
}

/// Writes the request for `target`, which is on the host of `url`. `referer`: where we were
/// redirected from.
#[must_use]
pub fn request(
    profile: &ClientProfile,
    url: &TrackerUrl,
    target: &str,
    referer: Option<&str>,
) -> Vec<u8> {
    let line = profile.request_line.filled(|_| target.to_owned());
    let headers = profile.headers.iter();
    let headers =
        headers.filter_map(|it| it.filled(|placeholder| header_value(url, referer, placeholder)));
    let mut text = String::new();
    for line in line.into_iter().chain(headers) {
        text.push_str(&line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn query_value(
    profile: &ClientProfile,
    announce: &Announce<'_>,
    placeholder: Placeholder,
) -> String {
    let (literal, digits) = (&profile.escape_literal, &profile.escape_digits);
    match placeholder {
        Placeholder::InfoHash => escaped(&announce.infohash.0, literal, digits),
        Placeholder::PeerId => escaped(&announce.persona.peer_id, literal, digits),
        Placeholder::TrackerId => escaped(announce.tracker_id, &profile.trackerid_literal, digits),
        Placeholder::Port => announce.port.to_string(),
        Placeholder::Left => profile.left.to_string(),
        Placeholder::NumWant => numwant(profile, announce.occasion).to_string(),
        Placeholder::Key => key(profile, announce.persona.key),
        Placeholder::Event => event(announce.occasion).to_owned(),
        Placeholder::Ipv6 => {
            let text = announce.ipv6.map(|ip| ip.to_string()).unwrap_or_default();
            escaped(text.as_bytes(), literal, IPV6_DIGITS)
        }
        Placeholder::Host
        | Placeholder::Authorization
        | Placeholder::Referer
        | Placeholder::Target => String::new(),
    }
}

fn header_value(url: &TrackerUrl, referer: Option<&str>, placeholder: Placeholder) -> String {
    match placeholder {
        Placeholder::Host => url.host_and_port(),
        Placeholder::Authorization => {
            url.userinfo().map(|userinfo| BASE64.encode(userinfo.as_bytes())).unwrap_or_default()
        }
        Placeholder::Referer => referer.unwrap_or_default().to_owned(),
        Placeholder::InfoHash
        | Placeholder::PeerId
        | Placeholder::TrackerId
        | Placeholder::Port
        | Placeholder::Left
        | Placeholder::NumWant
        | Placeholder::Key
        | Placeholder::Event
        | Placeholder::Ipv6
        | Placeholder::Target => String::new(),
    }
}

const fn numwant(profile: &ClientProfile, occasion: Occasion) -> u32 {
    match occasion {
        Occasion::Started | Occasion::Periodic => profile.numwant,
        Occasion::Stopped => profile.numwant_stopped,
    }
}

const fn event(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Started => "started",
        Occasion::Periodic => "",
        Occasion::Stopped => "stopped",
    }
}

/// Escapes every byte but the literal ones, so that a tracker's own word cannot end the request line
/// when it is sent back.
fn escaped(bytes: &[u8], literal: &[u8], alphabet: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if literal.contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            text.push_str(&digits(alphabet, &[*byte]));
        }
    }
    text
}

fn key(profile: &ClientProfile, key: u32) -> String {
    let all = digits(&profile.key_digits, &key.to_be_bytes());
    if profile.key_padded {
        return all;
    }
    let zero = profile.key_digits.first().map_or('0', |digit| char::from(*digit));
    // A zero keeps its last digit.
    let (leading, last) = all.split_at(all.len() - 1);
    format!("{}{last}", leading.trim_start_matches(zero))
}

fn digits(alphabet: &[u8], bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(alphabet[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InfoHash;
    use crate::tracker::disguise::Persona;

    fn announce(tracker_id: &[u8]) -> Announce<'_> {
        Announce {
            infohash: InfoHash([0x80; 20]),
            persona: Persona { peer_id: *b"-qB5100-abcdefghijkl", key: 1 },
            port: 1,
            occasion: Occasion::Periodic,
            tracker_id,
            ipv6: None,
        }
    }

    #[track_caller]
    fn lines_of(profile: &str, url: &str, announce: &Announce<'_>) -> Vec<String> {
        let (profile, url) = (ClientProfile::named(profile).unwrap(), url.parse().unwrap());
        let target = announce_target(&profile, &url, announce);
        let bytes = request(&profile, &url, &target, None);
        String::from_utf8(bytes).unwrap().split("\r\n").map(str::to_owned).collect()
    }

    #[track_caller]
    fn first_lines(url: &str, tracker_id: &[u8]) -> Vec<String> {
        lines_of("qbittorrent-5.1.0", url, &announce(tracker_id))
    }

    #[test]
    fn a_query_of_the_address_comes_first_and_userinfo_becomes_a_header() {
        let lines = first_lines("http://u:p@T.test/a?auth=abc", b"");
        assert!(lines[0].starts_with("GET /a?auth=abc&info_hash=%80%80"), "{}", lines[0]);
        assert_eq!(lines[1], "Host: T.test");
        assert_eq!(lines[4], "Authorization: Basic dTpw");
        assert_eq!(lines[5], "Connection: close");
    }

    #[test]
    fn a_trackers_own_word_cannot_add_a_header_under_any_profile() {
        for profile in ClientProfile::names() {
            let lines = |word| lines_of(profile, "http://t/", &announce(word));
            let evil = lines(b"x HTTP/1.1\r\nEvil: 1\r\n#\0\x7f\xff");
            assert_eq!(evil.len(), lines(b"").len(), "{profile}");
            assert_eq!(evil[1..], lines(b"")[1..], "{profile}");
            assert!(evil[0].ends_with(" HTTP/1.1"), "{profile}");
            assert_eq!(evil[0].split(' ').count(), 3, "{profile}");
            let escaped = evil[0].to_lowercase();
            assert!(escaped.contains("1%0d%0a%23%00%7f%ff"), "{profile}: {escaped}");
        }
    }

    #[test]
    fn a_key_without_leading_zeros_is_shorter() {
        let said = |profile: &str, key| {
            let persona = Persona { key, ..announce(b"").persona };
            let lines = lines_of(profile, "http://t/", &Announce { persona, ..announce(b"") });
            let rest = lines[0].split("&key=").nth(1).unwrap().to_owned();
            rest.split('&').next().unwrap().to_owned()
        };
        assert_eq!(said("transmission-3.00", 0xabc), "abc");
        assert_eq!(said("transmission-3.00", 0), "0");
        assert_eq!(said("transmission-4.1.0-beta2", 0xabc), "00000ABC");
    }

    #[test]
    fn a_redirect_is_followed_as_it_stands_and_named_only_by_clients_that_do() {
        let url = "http://t/b?c=d".parse().unwrap();
        let from = Some("http://u:1/announce?info_hash=x");
        let text = |profile| {
            let profile = ClientProfile::named(profile).unwrap();
            String::from_utf8(request(&profile, &url, "/b?c=d", from)).unwrap()
        };
        let plain = text("qbittorrent-5.1.0");
        assert!(plain.starts_with("GET /b?c=d HTTP/1.1\r\nHost: t\r\n"));
        assert!(!plain.contains("Referer"));
        let named = text("transmission-3.00");
        assert!(named.ends_with("\r\nReferer: http://u:1/announce?info_hash=x\r\n\r\n"), "{named}");
    }
}

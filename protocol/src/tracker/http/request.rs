//! The bytes of an announce over HTTP, exactly as the worn client writes them.

use data_encoding::BASE64;

use crate::tracker::announce::{Announce, Occasion};
use crate::tracker::disguise::{ClientProfile, Placeholder, Template};
use crate::tracker::url::TrackerUrl;

/// Writes the request that announces to `url`; a query that the address already has comes first.
#[must_use]
pub fn announce_request(
    profile: &ClientProfile,
    url: &TrackerUrl,
    announce: &Announce<'_>,
) -> Vec<u8> {
    let fill = |placeholder| query_value(profile, announce, placeholder);
    let pairs: Vec<String> =
        profile.query.iter().filter_map(|template| filled(template, fill)).collect();
    let target = url.path_and_query();
    let joint = if target.contains('?') { '&' } else { '?' };
    request(profile, url, &format!("{target}{joint}{}", pairs.join("&")))
}

/// Writes the request that follows a redirect to `url`, which is asked for as it stands.
#[must_use]
pub fn redirected_request(profile: &ClientProfile, url: &TrackerUrl) -> Vec<u8> {
    request(profile, url, url.path_and_query())
}

fn request(profile: &ClientProfile, url: &TrackerUrl, target: &str) -> Vec<u8> {
    let mut text = format!("GET {target} HTTP/1.1\r\n");
    for template in &profile.headers {
        if let Some(header) = filled(template, |placeholder| header_value(url, placeholder)) {
            text.push_str(&header);
            text.push_str("\r\n");
        }
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Fills a template in; `None` when its placeholder has no value.
fn filled(template: &Template, fill: impl Fn(Placeholder) -> String) -> Option<String> {
    let Some(placeholder) = template.placeholder else {
        return Some(template.before.clone());
    };
    let value = fill(placeholder);
    (!value.is_empty()).then(|| format!("{}{value}{}", template.before, template.after))
}

fn query_value(
    profile: &ClientProfile,
    announce: &Announce<'_>,
    placeholder: Placeholder,
) -> String {
    match placeholder {
        Placeholder::InfoHash => escaped(profile, &announce.infohash.0),
        Placeholder::PeerId => escaped(profile, &announce.persona.peer_id),
        Placeholder::TrackerId => escaped(profile, announce.tracker_id),
        Placeholder::Port => announce.port.to_string(),
        Placeholder::Left => profile.left.to_string(),
        Placeholder::NumWant => numwant(profile, announce.occasion).to_string(),
        Placeholder::Key => digits(&profile.key_digits, &announce.persona.key.to_be_bytes()),
        Placeholder::Event => event(announce.occasion).to_owned(),
        Placeholder::Host | Placeholder::Authorization => String::new(),
    }
}

fn header_value(url: &TrackerUrl, placeholder: Placeholder) -> String {
    match placeholder {
        Placeholder::Host => url.host_and_port(),
        Placeholder::Authorization => {
            url.userinfo().map(|userinfo| BASE64.encode(userinfo.as_bytes())).unwrap_or_default()
        }
        Placeholder::InfoHash
        | Placeholder::PeerId
        | Placeholder::TrackerId
        | Placeholder::Port
        | Placeholder::Left
        | Placeholder::NumWant
        | Placeholder::Key
        | Placeholder::Event => String::new(),
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

/// Escapes every byte but the profile's literal ones, so that a tracker's own word cannot end the
/// request line when it is sent back.
fn escaped(profile: &ClientProfile, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if profile.escape_literal.contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            text.push_str(&digits(&profile.escape_digits, &[*byte]));
        }
    }
    text
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
    use crate::tracker::testdata::{Captured, captured};

    /// Reads a value back from a captured query.
    fn pair<'a>(text: &'a str, name: &str) -> &'a str {
        let start = text.find(&format!("{name}=")).map(|at| at + name.len() + 1).unwrap();
        text[start..].split(['&', ' ']).next().unwrap()
    }

    fn unescaped(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            } else {
                out.push(byte);
            }
        }
        out
    }

    fn check_equals_capture(capture: &Captured) {
        let text = std::str::from_utf8(&capture.bytes).unwrap();
        let tracker_id = if text.contains("trackerid=") {
            unescaped(pair(text, "trackerid"))
        } else {
            Vec::new()
        };
        let announce = Announce {
            infohash: InfoHash(unescaped(pair(text, "info_hash")).try_into().unwrap()),
            persona: Persona {
                peer_id: pair(text, "peer_id").as_bytes().try_into().unwrap(),
                key: u32::from_str_radix(pair(text, "key"), 16).unwrap(),
            },
            port: pair(text, "port").parse().unwrap(),
            occasion: capture.occasion.unwrap(),
            tracker_id: &tracker_id,
        };
        let url = "http://tracker.test:6969/announce".parse().unwrap();
        let ours = announce_request(&ClientProfile::qbittorrent_5_1_0(), &url, &announce);
        assert_eq!(String::from_utf8(ours).unwrap(), text);
    }

    #[test]
    fn every_captured_announce_is_written_byte_for_byte() {
        let captures: Vec<_> = captured().into_iter().filter(|it| it.carrier == "http").collect();
        for family in [4, 6] {
            for occasion in [Occasion::Started, Occasion::Periodic, Occasion::Stopped] {
                assert!(
                    captures.iter().any(|it| it.family == family && it.occasion == Some(occasion)),
                    "no capture of {occasion:?} over IPv{family}"
                );
            }
        }
        captures.iter().for_each(check_equals_capture);
    }

    fn announce(tracker_id: &[u8]) -> Announce<'_> {
        Announce {
            infohash: InfoHash([0x80; 20]),
            persona: Persona { peer_id: *b"-qB5100-abcdefghijkl", key: 1 },
            port: 1,
            occasion: Occasion::Periodic,
            tracker_id,
        }
    }

    #[track_caller]
    fn first_lines(url: &str, tracker_id: &[u8]) -> Vec<String> {
        let profile = ClientProfile::qbittorrent_5_1_0();
        let bytes = announce_request(&profile, &url.parse().unwrap(), &announce(tracker_id));
        String::from_utf8(bytes).unwrap().split("\r\n").map(str::to_owned).collect()
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
    fn a_trackers_own_word_cannot_add_a_header() {
        let lines = first_lines("http://t/", b"x HTTP/1.1\r\nEvil: 1\r\n");
        assert_eq!(lines.len(), first_lines("http://t/", b"").len());
        assert!(lines[0].ends_with("&trackerid=x%20HTTP%2f1.1%0d%0aEvil%3a%201%0d%0a HTTP/1.1"));
    }

    #[test]
    fn a_redirect_is_followed_as_it_stands() {
        let profile = ClientProfile::qbittorrent_5_1_0();
        let bytes = redirected_request(&profile, &"http://t/b?c=d".parse().unwrap());
        assert!(bytes.starts_with(b"GET /b?c=d HTTP/1.1\r\nHost: t\r\n"));
    }
}

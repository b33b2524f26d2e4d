#![no_main]

use bitchat_protocol::limits::TRACKER_URL_BYTES_MAX;
use bitchat_protocol::tracker::TrackerUrl;
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

/// An address, and the `Location` of a redirect from it.
const GENUINE: [&str; 4] = [
    "udp://tracker.example:6969/announce\n/elsewhere",
    "http://user:word@tracker.example/a?b=c&d=%20\nhttps://other.example:8443/",
    "https://[2001:db8::1]:443/announce\n/path",
    "http://192.0.2.1:80\nudp://[::1]:1",
];

fn check(url: &TrackerUrl) {
    assert!(!url.host().is_empty());
    assert!(url.port() != 0);
    assert!(url.path_and_query().starts_with('/'));
    // What goes into a request can end neither a line nor a word of it.
    for part in [&url.host_and_port(), url.path_and_query()] {
        assert!(part.bytes().all(|byte| byte.is_ascii_graphic()), "{part:?}");
    }
    let shown = url.to_string();
    assert!(url.userinfo().is_some() || shown.parse().as_ref() == Ok(url), "{shown}");
}

fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let mut bytes =
        GENUINE.get(usize::from(mode)).map_or(Vec::new(), |text| text.as_bytes().to_vec());
    if bytes.is_empty() {
        bytes.extend_from_slice(script);
    } else {
        patch(&mut bytes, script);
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    let (text, location) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(url) = text.parse::<TrackerUrl>() else { return };
    assert!(text.len() <= TRACKER_URL_BYTES_MAX);
    check(&url);
    if let Ok(elsewhere) = url.redirected(location) {
        check(&elsewhere);
    }
});

//! The form of profiles, and what is drawn from them.

use std::time::Duration;

use super::*;
use crate::crypto::Rng;
use crate::tracker::url::Scheme;

fn qbittorrent() -> &'static str {
    ClientProfile::text_of("qbittorrent-5.1.0").unwrap()
}

fn rng() -> Rng {
    Rng::from_seed([1; 32])
}

#[test]
fn every_built_in_profile_is_read_and_found_by_its_name() {
    let names: Vec<_> = ClientProfile::names().collect();
    assert_eq!(names.len(), 6);
    for name in names {
        let text = ClientProfile::text_of(name).unwrap();
        let parsed = ClientProfile::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(ClientProfile::named(name), Some(parsed));
    }
    assert_eq!(ClientProfile::named("netscape-4"), None);
    assert_eq!(ClientProfile::qbittorrent_5_1_0().name, "qBittorrent 5.1.0");
}

#[test]
fn a_new_node_wears_one_of_those_that_have_a_weight() {
    let mut rng = rng();
    let mut newer = 0;
    for _ in 0..1000 {
        match ClientProfile::draw_name(&mut rng) {
            "qbittorrent-5.1.0" => newer += 1,
            "qbittorrent-4.5.2" => {}
            other => panic!("{other}"),
        }
    }
    assert!((650..850).contains(&newer), "{newer}");
}

#[track_caller]
fn check_pauses(pauses: &Pauses, expected: &[std::ops::RangeInclusive<u64>]) {
    let mut rng = rng();
    for (count, expected) in (1..).zip(expected) {
        for _ in 0..20 {
            let pause = pauses.after(count, &mut rng);
            let most = Duration::from_secs(*expected.end());
            assert!(pause >= Duration::from_secs(*expected.start()) && pause <= most, "{count}");
        }
    }
}

#[test]
fn the_pause_after_each_failure_is_the_clients() {
    let qbittorrent = ClientProfile::qbittorrent_5_1_0();
    let mut expected = vec![17..=17, 55..=55, 117..=117, 205..=205, 317..=317, 455..=455];
    check_pauses(qbittorrent.retry_over(Scheme::Https), &expected);
    expected.truncate(0);
    expected.resize(40, 1..=3600);
    check_pauses(&qbittorrent.retry_udp, &expected);
    let hour = Duration::from_secs(3600);
    assert_eq!(qbittorrent.retry.after(u32::MAX, &mut rng()), hour);
    let transmission = ClientProfile::named("transmission-3.00").unwrap();
    check_pauses(&transmission.retry, &[20..=20, 300..=360, 900..=960, 1800..=1860]);
}

#[test]
fn a_peer_id_is_the_prefix_and_of_the_alphabet_and_fresh_each_time() {
    let mut rng = rng();
    for name in ClientProfile::names() {
        let profile = ClientProfile::named(name).unwrap();
        let (first, second) =
            (profile.draw_persona(&mut rng, 1), profile.draw_persona(&mut rng, 1));
        for peer_id in [first.peer_id, second.peer_id] {
            assert!(peer_id.starts_with(&profile.peer_id_prefix), "{name}");
            let tail = &peer_id[profile.peer_id_prefix.len()..];
            assert!(tail.iter().all(|byte| profile.peer_id_alphabet.contains(byte)), "{name}");
        }
        assert_ne!(first.peer_id, second.peer_id, "{name}");
        let shared = profile.key_scope == KeyScope::Session;
        assert_eq!(first.key == second.key, shared, "{name}");
        assert!(profile.peer_id_alphabet.iter().all(|it| profile.escape_literal.contains(it)));
    }
}

#[test]
fn the_last_character_of_a_transmission_completes_the_sum() {
    let sum = |peer_id: &[u8]| -> u32 {
        peer_id[8..].iter().map(|it| char::from(*it).to_digit(36).unwrap()).sum()
    };
    for captured in [b"-TR3000-72p3mfi5p5yj", b"-TR410B-9ivwflur1gkw"] {
        assert_eq!(sum(captured) % 36, 0, "what the client does");
    }
    let profile = ClientProfile::named("transmission-4.1.0-beta2").unwrap();
    let mut rng = rng();
    for _ in 0..100 {
        let peer_id = profile.draw_persona(&mut rng, 0).peer_id;
        assert_eq!(sum(&peer_id) % 36, 0, "{peer_id:?}");
    }
}

#[test]
fn a_key_has_no_more_bits_than_the_clients() {
    let profile = ClientProfile::named("transmission-3.00").unwrap();
    let mut rng = rng();
    assert!((0..100).all(|_| profile.draw_key(&mut rng) < 1 << 31));
}

#[test]
fn a_port_is_drawn_or_the_first_that_is_free() {
    let mut rng = rng();
    let mut choose = |name: &str, is_free: fn(u16) -> bool| {
        ClientProfile::named(name).unwrap().ports.choose(&mut rng, is_free)
    };
    assert_eq!(choose("libtorrent-2.0.11", |_| true), Some(6881));
    assert_eq!(choose("libtorrent-2.0.11", |port| port > 6883), Some(6884));
    assert_eq!(choose("libtorrent-2.0.11", |_| false), None);
    assert_eq!(choose("transmission-3.00", |_| true), Some(51413));
    assert!(choose("transmission-3.00", |port| port != 51413).unwrap() >= 49152);
    assert!(choose("qbittorrent-5.1.0", |_| true).unwrap() >= 1024);
    assert_ne!(choose("qbittorrent-5.1.0", |_| true), choose("qbittorrent-5.1.0", |_| true));
}

#[test]
fn the_habits_on_the_dht_and_the_local_network_are_those_that_were_captured() {
    let libtorrent = |name: &str, version: &[u8]| {
        let profile = ClientProfile::named(name).unwrap();
        let dht = DhtProfile {
            name: profile.name.clone(),
            version: Some(version.to_vec()),
            ..DhtProfile::libtorrent_2_0_11()
        };
        assert_eq!(*profile.dht, dht);
        assert_eq!(profile.lan, Some(LanHabit::libtorrent()));
    };
    libtorrent("qbittorrent-5.1.0", b"LT\x02\x0b");
    libtorrent("libtorrent-2.0.11", b"LT\x02\x0b");
    libtorrent("qbittorrent-4.5.2", b"LT\x02\x08");
    libtorrent("libtorrent-2.0.8", b"LT\x02\x08");
    for (name, lan) in
        [("transmission-3.00", None), ("transmission-4.1.0-beta2", Some(LanHabit::transmission()))]
    {
        let profile = ClientProfile::named(name).unwrap();
        let dht = DhtProfile { name: profile.name.clone(), ..DhtProfile::transmission_4_1_0() };
        assert_eq!(*profile.dht, dht);
        assert_eq!(profile.lan, lan);
    }
}

#[test]
fn a_key_forgotten_unknown_or_doubled_is_named_with_its_line() {
    let text = qbittorrent();
    let last = text.lines().count() + 1;
    let without = text.replace("left = 16384\n", "");
    assert_eq!(ClientProfile::parse(&without), Err(ProfileError::MissingKey("left")));
    let unknown = ClientProfile::parse(&format!("{text}lfet = 1\n")).unwrap_err();
    assert_eq!(unknown, ProfileError::UnknownKey { line: last, key: "lfet".into() });
    assert_eq!(unknown.to_string(), format!("line {last}: there is no key `lfet`"));
    let doubled = ClientProfile::parse(&format!("{text}left = 1\n"));
    assert_eq!(doubled, Err(ProfileError::Doubled { line: last, key: "left".into() }));
    assert_eq!(ClientProfile::parse("# x\nname"), Err(ProfileError::Line { line: 2 }));
}

#[track_caller]
fn check_unfit(from: &str, to: &str, key: &str) {
    let text = qbittorrent();
    assert!(text.contains(from), "{from}");
    let expected = (1..).zip(text.lines()).find(|(_, it)| it.starts_with(from)).unwrap().0;
    match ClientProfile::parse(&text.replace(from, to)) {
        Err(ProfileError::Value { line, key: found, .. }) => {
            assert_eq!((line, found), (expected, key), "{to}");
        }
        other => panic!("{to}: {other:?}"),
    }
}

#[test]
fn a_value_that_does_not_fit_is_named_with_its_line() {
    check_unfit("left = 16384", "left = many", "left");
    check_unfit("left = 16384", "left = 0", "left");
    check_unfit("retry = 17", "retry = 0", "retry");
    check_unfit("retry = 17", "retry = 17  ", "retry");
    check_unfit("every-tier = yes", "every-tier = true", "every-tier");
    let long = "peer-id-prefix = -12345678901234567890";
    check_unfit("peer-id-prefix = -qB5100-", long, "peer-id-prefix");
    check_unfit("query = info_hash={info_hash}", "query = info_hash={nonsense}", "query");
    check_unfit("query = info_hash={info_hash}", "query = info_hash={host}", "query");
    check_unfit("query = info_hash", "query = info hash", "query");
    check_unfit("query = info_hash={info_hash}", "query = x={port}{left}", "query");
    check_unfit("header = Host: {host}", "header = Host: {port}", "header");
    check_unfit("header = Host: {host}", "header = {host}", "header");
    check_unfit("request-line = GET {target}", "request-line = GET x", "request-line");
    check_unfit("escape-digits = 0123456789abcdef", "escape-digits = 0123", "escape-digits");
    check_unfit("trackerid-literal = 0", "trackerid-literal = # 0", "trackerid-literal");
    check_unfit("key-bits = 32", "key-bits = 33", "key-bits");
    check_unfit("tick = 1000", "tick = 1001", "tick");
    check_unfit("start-spacing = 400+600", "start-spacing = 0", "start-spacing");
    check_unfit("ports = 1024-65535", "ports = 80", "ports");
    check_unfit("ports = 1024-65535", "ports = 9000-8000", "ports");
    check_unfit("dht-version = 4c54020b", "dht-version = 4c5", "dht-version");
    check_unfit("http-families = both", "http-families = all", "http-families");
}

proptest::proptest! {
    #[test]
    fn whatever_a_file_says_it_is_read_or_refused(text: String, value: String, at in 0_usize..200) {
        let _ = ClientProfile::parse(&text);
        let lines = qbittorrent().lines().enumerate().map(|(line, text)| match text.split_once(" = ") {
            Some((key, _)) if line == at => format!("{key} = {value}"),
            Some(_) | None => text.to_owned(),
        });
        if let Ok(profile) = ClientProfile::parse(&lines.collect::<Vec<_>>().join("\n")) {
            let _ = profile.draw_persona(&mut rng(), 1);
            let _ = profile.ports.choose(&mut rng(), |_| false);
            let _ = profile.retry.after(3, &mut rng());
        }
    }
}

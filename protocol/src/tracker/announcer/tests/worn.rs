//! What the worn client makes of an announcer, and what it never does.

use super::*;
use crate::tracker::disguise::ClientProfile;

/// Starts as another client.
fn wearing(name: &str) -> Bench {
    let profile = Arc::new(ClientProfile::named(name).unwrap());
    Bench::with_config(Config { profile, ipv4: true, ipv6: true })
}

/// The times in milliseconds at which announces of different channels began.
fn begins(bench: &mut Bench, channels: u8) -> Vec<u128> {
    let mut times = Vec::new();
    let begin = bench.now;
    while times.len() < usize::from(channels) {
        let request = bench.requests().pop();
        if let Some((_, request)) = request {
            times.push(bench.now.duration_since(begin).as_millis());
            bench.reply(&request, b"d8:intervali600ee");
        }
        let Some(next) = bench.machine.poll_timeout().filter(|_| bench.out.is_empty()) else {
            continue;
        };
        bench.now = bench.now.max(next);
        bench.machine.handle_timeout(bench.now);
        bench.drain();
    }
    times
}

#[test]
fn channels_are_never_announced_in_the_same_instant() {
    for name in ClientProfile::names() {
        let mut bench = wearing(name);
        bench.machine.usage = Usage::new(&Config { ipv6: false, ..Config::default() });
        for channel in 0..20 {
            bench.start(ChannelId([channel; 32]), &[&["http://8.8.8.8/announce"]]);
        }
        let check = |times: &[u128]| {
            let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.iter().all(|gap| (200..=1000).contains(gap)), "{name}: {gaps:?}");
            assert!(gaps.iter().collect::<BTreeSet<_>>().len() > 5, "{name}: {gaps:?}");
        };
        check(&begins(&mut bench, 20));
        // The machine was suspended: all are late.
        bench.now += Duration::from_secs(24 * 3600);
        bench.machine.handle_timeout(bench.now);
        bench.drain();
        check(&begins(&mut bench, 20));
    }
}

/// The milliseconds from now on at which requests of different channels were made.
fn request_times(bench: &mut Bench, seconds: u64) -> Vec<u128> {
    let (begin, mut times) = (bench.now, Vec::new());
    let until = begin + Duration::from_secs(seconds);
    loop {
        for _ in bench.requests() {
            times.push(bench.now.duration_since(begin).as_millis());
        }
        let Some(next) = bench.machine.poll_timeout().filter(|next| *next <= until) else {
            return times;
        };
        bench.now = next;
        bench.machine.handle_timeout(next);
        bench.drain();
    }
}

#[track_caller]
fn check_apart(times: &[u128], count: usize) {
    assert_eq!(times.len(), count, "{times:?}");
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (200..=1000).contains(gap)), "{gaps:?}");
}

#[test]
fn a_name_that_takes_long_does_not_bring_channels_together() {
    let mut bench = Bench::only_v4();
    for channel in 0..8 {
        bench.start(ChannelId([channel; 32]), &[&["http://t.test/announce"]]);
    }
    bench.wait(10);
    let asked = bench.take();
    assert_eq!(asked, [(0, Output::Resolve { host: "t.test".to_owned() })]);
    bench.resolve("t.test", &[V4]);
    check_apart(&request_times(&mut bench, 8), 8);
}

#[test]
fn channels_left_one_by_one_are_not_left_in_the_same_instant_but_all_together_are() {
    let mut bench = Bench::only_v4();
    for channel in 0..8 {
        bench.start(ChannelId([channel; 32]), &[&["http://8.8.8.8/announce"]]);
    }
    for _ in 0..8 {
        bench.wait(1);
        for (_, request) in bench.requests() {
            bench.reply(&request, b"d8:intervali1800ee");
        }
    }
    for channel in 0..6 {
        bench.input(Input::Stop { channel: ChannelId([channel; 32]), infohash: None });
    }
    let before = bench.requests();
    assert_eq!(before.len(), 1, "the first is left at once");
    bench.wait(1);
    assert!((1..=5).contains(&bench.requests().len()));
    // Who comes back is not taken for gone by a farewell that comes later.
    bench.start(ChannelId([5; 32]), &[&["http://8.8.8.8/announce"]]);
    let both: Vec<_> = bench.requests().into_iter().map(|(_, it)| text(&it)).collect();
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].contains("event=stopped") && both[1].contains("event=started"), "{both:?}");
    bench.stop();
    bench.wait(5);
    assert!(bench.machine.is_idle());
}

#[test]
fn of_very_many_channels_each_is_announced_in_time() {
    let mut bench = Bench::only_v4();
    for channel in 0..=255 {
        bench.start(
            ChannelId([channel; 32]),
            &[&["http://8.8.8.8/announce"], &["http://9.9.9.9/announce"]],
        );
    }
    let mut last = BTreeMap::new();
    for _ in 0..1000 {
        for (at, request) in bench.requests() {
            let hash = text(&request).split("info_hash=").nth(1).unwrap()[..60].to_owned();
            if let Some(before) = last.insert((request.address, hash), at) {
                assert!((299..=361).contains(&(at - before)), "{}", at - before);
            }
            bench.reply(&request, b"d8:intervali300ee");
        }
        bench.wait(1);
    }
    assert_eq!(last.len(), 2 * 256);
}

#[test]
fn a_session_key_is_shared_and_a_peer_id_never() {
    let mut bench = wearing("transmission-3.00");
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    bench.start(OTHER, &[&["http://8.8.8.8/announce"]]);
    bench.wait(2);
    let pairs: Vec<_> = bench.requests().iter().map(|(_, request)| text(request)).collect();
    let value = |at: usize, name: &str| {
        pairs[at].split(name).nth(1).unwrap().split('&').next().unwrap().to_owned()
    };
    assert_eq!(value(0, "&key="), value(1, "&key="));
    assert_ne!(value(0, "&peer_id="), value(1, "&peer_id="));
}

#[test]
fn leaving_and_coming_back_is_another_peer_id() {
    let mut bench = Bench::only_v4();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
        bench.wait(1);
        let request = bench.request();
        bench.reply(&request, b"de");
        seen.insert(text(&request).split("&peer_id=").nth(1).unwrap()[..20].to_owned());
        bench.stop();
        bench.wait(6);
        bench.take();
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_client_that_asks_over_one_of_both_prefers_ipv6_and_believes_who_answers() {
    let mut bench = wearing("transmission-3.00");
    bench.start(CHANNEL, &[&["http://t.test/announce"], &["udp://t.test:1/announce"]]);
    bench.resolve("t.test", &[V4, "::1"]);
    let out = bench.take();
    let request = out.iter().find_map(|(_, it)| match it {
        Output::HttpRequest(request) => Some(request.clone()),
        Output::Resolve { .. }
        | Output::SendUdp { .. }
        | Output::HttpCancel { .. }
        | Output::Event(_) => None,
    });
    let mut request = request.unwrap();
    assert_eq!(request.address, "[::1]:80".parse().unwrap());
    assert_eq!(request.fallback, Some("8.8.8.8:80".parse().unwrap()));
    let sent: Vec<_> = out.iter().filter(|(_, it)| matches!(it, Output::SendUdp { .. })).collect();
    assert_eq!(sent.len(), 1, "UDP over IPv4 alone");
    assert_eq!(bench.machine.statuses().len(), 2);
    // Another host than the one on loopback: it must neither name loopback nor redirect there.
    request.address = request.fallback.unwrap();
    bench.respond(&request, 302, Some("http://127.0.0.1/announce"), b"");
    assert!(bench.requests().is_empty());
    assert!(bench.machine.statuses().iter().any(|it| {
        it.family == Family::V4 && it.last_error.as_ref().is_some_and(|it| it.contains("nearer"))
    }));
}

#[test]
fn the_own_ipv6_address_is_named_only_by_clients_that_do() {
    for (name, named) in [("transmission-3.00", true), ("transmission-4.1.0-beta2", false)] {
        let mut bench = wearing(name);
        bench.input(Input::OwnIpv6(Some("2a00::1:2".parse().unwrap())));
        bench.start(CHANNEL, &[&["http://[2a00::8]/announce"]]);
        let said = text(&bench.request());
        assert_eq!(said.contains("&ipv6=2a00%3A%3A1%3A2"), named, "{name}");
        let port = bench.machine.statuses().len();
        assert_eq!(port, if named { 1 } else { 2 });
    }
}

#[test]
fn a_redirect_names_whence_it_comes_if_the_client_does() {
    let mut bench = wearing("transmission-4.1.0-beta2");
    bench.machine.usage = Usage::new(&Config { ipv6: false, ..Config::default() });
    bench.start(CHANNEL, &[&["http://8.8.8.8:81/announce"]]);
    let first = bench.request();
    bench.respond(&first, 302, Some("http://9.9.9.9/b"), b"");
    let second = bench.request();
    let target = text(&first).split(' ').nth(1).unwrap().to_owned();
    let referer = format!("\r\nReferer: http://8.8.8.8:81{target}\r\n\r\n");
    assert!(text(&second).ends_with(&referer), "{}", text(&second));
    bench.respond(&second, 302, Some("/c"), b"");
    assert!(text(&bench.request()).contains("\r\nReferer: http://9.9.9.9/b\r\n"));
}

#[test]
fn only_a_change_of_a_trackers_state_is_news() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let mut news = Vec::new();
    let answers: [&[u8]; 7] =
        [b"de", b"de", b"d15:warning message3:olde", b"d15:warning message3:olde", b"", b"", b"de"];
    for answer in answers {
        let mut request = None;
        while request.is_none() {
            bench.wait(1);
            request = bench.out.drain(..).find_map(|(_, it)| match it {
                Output::HttpRequest(request) => Some(request),
                Output::Resolve { .. }
                | Output::SendUdp { .. }
                | Output::HttpCancel { .. }
                | Output::Event(_) => None,
            });
        }
        bench.reply(&request.unwrap(), answer);
        news.extend(bench.out.iter().filter_map(|(_, it)| match it {
            Output::Event(Event::StatusChanged { turned, .. }) => Some(*turned),
            Output::Event(_)
            | Output::HttpRequest(_)
            | Output::Resolve { .. }
            | Output::SendUdp { .. }
            | Output::HttpCancel { .. } => None,
        }));
    }
    assert_eq!(news, [true, false, true, false, true, false, true]);
    assert_eq!(bench.status().warning, None);
}

#[test]
fn a_warning_stands_in_the_status() {
    let mut bench = Bench::only_v4();
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    let request = bench.request();
    bench.reply(&request, b"d15:warning message8:go\x1b homee");
    assert_eq!(bench.status().warning.as_deref(), Some("go\u{fffd} home"));
    assert_eq!(bench.status().last_error, None);
}

#[test]
fn a_complete_channel_is_announced_half_as_often_and_no_rarer_than_by_default() {
    let pause = |body: &[u8], complete: &[bool]| {
        let mut bench = Bench::only_v4();
        bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
        let request = bench.request();
        bench.reply(&request, body);
        bench.wait(100);
        for complete in complete {
            bench.input(Input::Completeness { channel: CHANNEL, complete: *complete });
        }
        bench.wait(3 * 3600);
        bench.requests().remove(0).0
    };
    assert_eq!(pause(b"d8:intervali120ee", &[]), 300);
    assert_eq!(pause(b"d8:intervali120ee", &[true]), 600);
    assert_eq!(pause(b"d8:intervali120ee", &[true, false]), 300);
    assert_eq!(pause(b"d8:intervali1500ee", &[true]), 1800);
    assert_eq!(pause(b"d8:intervali3000ee", &[true]), 3000);
    assert_eq!(pause(b"de", &[true]), 1800);
}

#[test]
fn completeness_of_a_channel_that_is_not_announced_is_not_kept() {
    let mut bench = Bench::only_v4();
    bench.input(Input::Completeness { channel: CHANNEL, complete: true });
    assert!(bench.machine.complete.is_empty());
    bench.start(CHANNEL, &[&["http://8.8.8.8/announce"]]);
    bench.input(Input::Completeness { channel: CHANNEL, complete: true });
    assert_eq!(bench.machine.complete.len(), 1);
    bench.stop();
    bench.wait(6);
    assert!(bench.machine.is_idle() && bench.machine.complete.is_empty());
}

#[test]
fn no_profile_scrapes_or_says_completed() {
    for name in ClientProfile::names() {
        let mut bench = wearing(name);
        bench.start(CHANNEL, &[&["http://8.8.8.8/announce"], &["udp://8.8.8.8:1/announce"]]);
        for _ in 0..200 {
            for (_, output) in bench.take() {
                match output {
                    Output::HttpRequest(request) => {
                        let said = text(&request);
                        assert!(said.starts_with("GET /announce?"), "{name}: {said}");
                        assert!(!said.contains("completed") && !said.contains("left=0&"));
                        bench.reply(&request, b"d8:intervali600e8:completei1e10:incompletei1ee");
                    }
                    Output::SendUdp { to, bytes } if bytes.len() == 16 => {
                        bench.connected(to, &bytes, 5);
                    }
                    Output::SendUdp { to, bytes } => {
                        assert_ne!(event(&bytes), 1, "{name}");
                        bench.announced(to, &bytes, 600, b"");
                    }
                    Output::Resolve { .. } | Output::HttpCancel { .. } | Output::Event(_) => {}
                }
            }
            bench.wait(30);
        }
    }
}

#[test]
fn one_connect_request_serves_all_channels_if_the_client_does_so() {
    for (name, connects) in [("transmission-3.00", 1), ("qbittorrent-5.1.0", 2)] {
        let mut bench = wearing(name);
        bench.machine.usage = Usage::new(&Config { ipv6: false, ..Config::default() });
        bench.start(CHANNEL, &[&["udp://8.8.8.8:1/announce"]]);
        bench.start(OTHER, &[&["udp://8.8.8.8:1/announce"]]);
        bench.wait(2);
        let sent = bench.datagrams();
        assert_eq!(sent.len(), connects, "{name}");
        for (_, to, connect) in sent {
            bench.connected(to, &connect, 5);
        }
        let announces = bench.datagrams();
        assert_eq!(announces.len(), 2, "{name}");
        for (_, to, announce) in announces {
            bench.announced(to, &announce, 600, b"");
        }
        assert!(bench.machine.statuses().iter().all(|it| it.last_answer.is_some()));
    }
}

#[test]
fn channels_that_wait_for_anothers_connect_request_fail_with_it_and_try_again() {
    let mut bench = wearing("transmission-3.00");
    bench.start(CHANNEL, &[&["udp://8.8.8.8:1/announce"]]);
    bench.start(OTHER, &[&["udp://8.8.8.8:1/announce"]]);
    bench.wait(64);
    assert_eq!(bench.datagrams().len(), 1);
    assert!(bench.machine.statuses().iter().all(|it| it.failures == 1));
    bench.wait(60);
    assert_eq!(bench.datagrams().len(), 1);
    bench.input(Input::Stop { channel: CHANNEL, infohash: None });
    bench.wait(7200);
    assert!((3..6).contains(&bench.datagrams().len()), "the one who is left goes on alone");
}

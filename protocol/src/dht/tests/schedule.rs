//! When what is looked up and announced; joining, and what survives an outage or a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::bench::{Bench, CHANNEL, HASH, field, local_nodes, shape};
use crate::dht::message::{Answer, Message};
use crate::dht::{Activity, Config, Event, Input, NodeId, Pace, Saved, Trouble};
use crate::id::{ChannelId, InfoHash};

fn joined() -> Bench {
    let mut bench = Bench::new();
    bench.join(&local_nodes(8));
    bench
}

/// Eight nodes that answer, and know each other.
fn world(to: SocketAddr, _: &Message<'_>) -> Option<(NodeId, Answer)> {
    let id = local_nodes(8).into_iter().find(|it| it.address == to)?.id;
    let nodes = Some(local_nodes(8));
    Some((id, Answer { nodes, token: Some(b"toke".to_vec()), ..Answer::default() }))
}

/// Lets the eight answer for a while, and gives back the second of each announce of each infohash.
fn announces(bench: &mut Bench, seconds: u64) -> BTreeMap<u8, Vec<u64>> {
    let mut found: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for second in 0..seconds {
        let mut infohashes = Vec::new();
        bench.play(1, |to, message| {
            if let crate::dht::message::Body::Query(query) = &message.body
                && let Ok(crate::dht::message::Request::AnnouncePeer { infohash, .. }) =
                    query.request
            {
                infohashes.push(infohash.0[0]);
            }
            world(to, message)
        });
        infohashes.dedup();
        for infohash in infohashes {
            let times = found.entry(infohash).or_default();
            if times.last().is_none_or(|last| second > last + 5) {
                times.push(second);
            }
        }
    }
    found
}

#[test]
fn one_infohash_is_announced_every_quarter_of_an_hour() {
    let mut bench = joined();
    bench.input(Input::SetPace { channel: CHANNEL, pace: Pace::Slow });
    bench.start(CHANNEL, HASH);
    let times = announces(&mut bench, 3000).remove(&7).unwrap();
    assert_eq!(times.len(), 4, "{times:?}");
    assert!(times.windows(2).all(|it| (899..=901).contains(&(it[1] - it[0]))), "{times:?}");
}

#[test]
fn several_infohashes_are_announced_each_in_its_turn_and_never_at_once() {
    let mut bench = joined();
    for number in 1..=6 {
        bench.start(ChannelId([number; 32]), InfoHash([number; 20]));
    }
    let found = announces(&mut bench, 2800);
    assert_eq!(found.len(), 6);
    let mut all: Vec<u64> = found.values().flatten().copied().collect();
    all.sort_unstable();
    assert!(all.windows(2).all(|it| it[1] - it[0] >= 3), "{all:?}");
    for times in found.values() {
        assert!(times[0] < 30, "{found:?}");
        assert!(
            times.windows(2).skip(1).all(|it| (899..=901).contains(&(it[1] - it[0]))),
            "{times:?}"
        );
    }
}

fn look_ups(bench: &mut Bench, seconds: u64) -> usize {
    let events = bench.play(seconds, world);
    let begun = |it: &&Event| matches!(it, Event::StatusChanged(status) if status.activity == Activity::LookingUp);
    events.iter().filter(begun).count()
}

#[test]
fn while_peers_are_wanted_look_ups_come_sooner_but_ever_more_slowly() {
    let mut bench = joined();
    bench.start(CHANNEL, HASH);
    // At once, after 30, 60, 120, 240 and then every 300 seconds; announced twice among them.
    let soon = look_ups(&mut bench, 1800);
    assert!((8..=12).contains(&soon), "{soon}");
    bench.input(Input::SetPace { channel: CHANNEL, pace: Pace::Slow });
    let slow = look_ups(&mut bench, 1800);
    assert!((2..=3).contains(&slow), "{slow}");
    bench.input(Input::SetPace { channel: CHANNEL, pace: Pace::Soon });
    assert!(look_ups(&mut bench, 120) >= 2, "a change of mind starts anew");
}

#[test]
fn both_infohashes_of_a_channel_are_announced_and_each_can_be_left() {
    let mut bench = joined();
    bench.start(CHANNEL, InfoHash([1; 20]));
    bench.start(CHANNEL, InfoHash([2; 20]));
    assert_eq!(announces(&mut bench, 30).len(), 2);
    assert_eq!(bench.machine.status(CHANNEL).len(), 2);
    bench.input(Input::Stop { channel: CHANNEL, infohash: Some(InfoHash([1; 20])) });
    assert_eq!(bench.machine.status(CHANNEL).len(), 1);
    assert_eq!(announces(&mut bench, 1000).into_keys().collect::<Vec<_>>(), [2]);
    bench.input(Input::StopAll);
    assert!(announces(&mut bench, 2000).is_empty());
    assert!(bench.machine.statuses().is_empty());
}

#[test]
fn a_channel_started_twice_is_announced_once_with_the_newest_port() {
    let mut bench = joined();
    bench.start(CHANNEL, HASH);
    bench.input(Input::Start { channel: CHANNEL, infohash: HASH, port: 5, shared_socket: false });
    assert_eq!(bench.machine.statuses().len(), 1);
    let mut announced = Vec::new();
    bench.play(1000, |to, message| {
        if let crate::dht::message::Body::Query(query) = &message.body
            && let Ok(crate::dht::message::Request::AnnouncePeer { port, .. }) = query.request
        {
            announced.push(port);
        }
        world(to, message)
    });
    assert_eq!(announced.last(), Some(&Some(5)), "a socket of its own has no implied port");
}

#[test]
fn a_channel_started_before_anybody_is_known_is_looked_up_once_the_dht_is_joined() {
    let mut bench = Bench::new();
    bench.start(CHANNEL, HASH);
    bench.seconds(1000);
    assert_eq!(bench.machine.status(CHANNEL)[0].activity, Activity::NoNodes);
    assert!(bench.sent().is_empty());
    bench.candidates(&["127.0.0.1:7001"]);
    let events = bench.play(5, world);
    let status = &bench.machine.status(CHANNEL)[0];
    assert_eq!(status.activity, Activity::Resting, "{events:?}");
    assert_eq!((status.nodes, status.announced_to, status.last_error), (8, 8, None));
    assert!(status.last_announce.is_some() && status.next_try.is_some());
}

#[test]
fn a_look_up_that_nobody_answers_says_so_and_is_repeated_ever_less_often() {
    let mut bench = joined();
    bench.start(CHANNEL, HASH);
    let mut begun = Vec::new();
    for second in 0..3600 {
        bench.seconds(1);
        let look_ups =
            bench.sent().into_iter().filter(|(_, _, it)| it.windows(20).any(|part| part == HASH.0));
        if look_ups.count() > 0 && begun.last().is_none_or(|last| second > last + 10) {
            begun.push(second);
        }
    }
    assert_eq!(bench.machine.status(CHANNEL)[0].last_error, Some(Trouble::NoAnswer));
    assert!((10..=18).contains(&begun.len()), "{begun:?}");
    let status = &bench.machine.node_statuses()[0];
    assert_eq!(status.nodes, 8, "an outage of the network empties no table");
    bench.play(600, world);
    assert_eq!(bench.machine.status(CHANNEL)[0].last_error, None);
}

#[test]
fn nodes_that_have_died_are_forgotten() {
    let mut bench = joined();
    let alive = local_nodes(8)[0];
    bench.play(3600, |to, message| if to == alive.address { world(to, message) } else { None });
    assert_eq!(bench.machine.node_statuses()[0].nodes, 1);
}

#[test]
fn joining_is_tried_again_ever_less_often_until_somebody_answers() {
    let mut bench = Bench::new();
    bench.candidates(&["127.0.0.1:7001"]);
    bench.seconds(3600);
    let tries = bench.sent().len();
    assert!((10..=25).contains(&tries), "{tries}");
    bench.play(310, world);
    assert_eq!(bench.machine.node_statuses()[0].nodes, 8);
}

#[test]
fn what_is_named_again_makes_no_attempt_to_join_come_sooner() {
    let routers = vec![("router.example".to_owned(), 1)];
    let mut bench = Bench::with_config(Config { ipv6: false, routers, ..Config::default() });
    let mut tries = 0;
    for _ in 0..3600 {
        // The name is resolved again every minute, and members are named every half.
        for host in bench.resolved() {
            let result = Ok(vec!["127.0.0.1".parse().unwrap()]);
            bench.input(Input::NamesResolved { host, result });
        }
        bench.candidates(&["127.0.0.1:7001"]);
        bench.seconds(1);
        tries += bench.machine.node_statuses()[0].questions_under_way;
        bench.seconds(0);
    }
    // Two questions of each attempt, each for five seconds.
    assert!(tries <= 25 * 2 * 5, "{tries}");
}

#[test]
fn when_all_known_nodes_are_gone_for_good_those_to_start_from_are_asked() {
    let routers = vec![("127.0.0.1".to_owned(), 6881)];
    let mut bench = Bench::with_config(Config { ipv6: false, routers, ..Config::default() });
    bench.play(2, |_, _| None);
    bench.join(&local_nodes(8));
    bench.start(CHANNEL, HASH);
    bench.play(3600, |to, _| {
        (to.port() == 6881)
            .then(|| {
                let new = crate::dht::message::Contact {
                    id: NodeId([200; 20]),
                    address: ([127, 0, 0, 2], 1).into(),
                };
                (NodeId([99; 20]), Answer { nodes: Some(vec![new]), ..Answer::default() })
            })
            .or_else(|| (to.port() == 1).then(|| (NodeId([200; 20]), Answer::default())))
    });
    assert_eq!(bench.machine.node_statuses()[0].nodes, 1, "the new one, and none of the old");
}

#[test]
fn more_look_ups_than_there_is_room_for_wait_and_are_all_made() {
    let mut bench = Bench::new();
    bench.join(&local_nodes(15));
    for number in 1..=100 {
        bench.start(ChannelId([number; 32]), InfoHash([number; 20]));
    }
    // Nobody answers: look-ups last long, and are owed. The bench checks that no timer spins.
    bench.seconds(900);
    assert!(bench.machine.statuses().iter().all(|it| it.asked > 0));
}

#[test]
fn routers_are_resolved_at_the_start_asked_for_want_of_others_and_never_kept() {
    let routers = [("first.example", 25401), ("second.example", 6881), ("third.example", 6881)];
    let routers = routers.map(|(host, port)| (host.to_owned(), port)).to_vec();
    let names: Vec<String> = routers.iter().map(|it| it.0.clone()).collect();
    let mut bench = Bench::with_config(Config { ipv6: false, routers, ..Config::default() });
    assert_eq!(bench.resolved(), names);
    let failed = Err("no such host".to_owned());
    bench.input(Input::NamesResolved { host: names[0].clone(), result: failed });
    let result = Ok(vec!["127.0.0.1".parse().unwrap()]);
    bench.input(Input::NamesResolved { host: names[1].clone(), result });
    bench.play(15, |to, message| {
        if to.port() == 6881 {
            return Some((
                NodeId([99; 20]),
                Answer { nodes: Some(local_nodes(8)), ..Answer::default() },
            ));
        }
        world(to, message)
    });
    assert_eq!(bench.machine.node_statuses()[0].nodes, 8, "the router is not one of them");
    bench.play(120, world);
    bench.start(CHANNEL, HASH);
    assert!(bench.sent().iter().all(|(_, to, _)| to.port() != 6881));
}

#[test]
fn a_name_that_could_not_be_resolved_is_tried_again() {
    let routers = vec![("router.example".to_owned(), 1)];
    let mut bench = Bench::with_config(Config { routers, ..Config::default() });
    let host = bench.resolved().remove(0);
    bench.input(Input::NamesResolved { host: host.clone(), result: Err("no".to_owned()) });
    bench.seconds(61);
    assert_eq!(bench.resolved(), std::slice::from_ref(&host));
    bench.seconds(600);
    assert!(bench.resolved().is_empty(), "not while the answer is awaited");
    bench.input(Input::NamesResolved { host: "unasked".to_owned(), result: Ok(Vec::new()) });
}

#[test]
fn a_status_says_that_nobody_is_known_or_that_nobody_answers_and_when_it_is_tried_again() {
    let config = Config { ipv6: false, ..Config::default() };
    let mut bench = Bench::with_config(config);
    bench.start(CHANNEL, HASH);
    let state = |bench: &Bench| {
        let it = bench.machine.statuses().remove(0);
        (it.activity, it.next_try.is_some(), it.failures, it.last_error)
    };
    assert_eq!(state(&bench), (Activity::NoNodes, false, 0, None));
    bench.input(Input::AddNode { host: "127.0.0.1".to_owned(), port: 7001 });
    bench.seconds(1);
    assert_eq!(state(&bench), (Activity::Joining, false, 0, None));
    bench.seconds(40);
    let (activity, has_next, failures, error) = state(&bench);
    assert_eq!(error, Some(Trouble::NotJoined));
    assert!(failures > 0 && has_next == (activity == Activity::NoNodes), "{activity:?}");
}

#[test]
fn nodes_of_a_chat_file_are_asked_and_kept() {
    let mut bench = Bench::new();
    bench.input(Input::AddNode { host: "127.0.0.1".to_owned(), port: 7001 });
    bench.input(Input::AddNode { host: "node.example".to_owned(), port: 7002 });
    bench.input(Input::NamesResolved {
        host: "node.example".to_owned(),
        result: Ok(vec!["127.0.0.1".parse().unwrap()]),
    });
    bench.play(5, world);
    assert_eq!(bench.machine.node_statuses()[0].nodes, 8);
}

#[test]
fn among_a_thousand_candidates_the_one_that_is_there_is_found() {
    let mut bench = Bench::new();
    let addresses = (1..=1000).map(|port| ([127, 0, 0, 1], port).into()).collect();
    bench.input(Input::AddCandidates(addresses));
    bench.candidates(&["127.0.0.1:7001"]);
    bench.play(600, world);
    assert_eq!(bench.machine.node_statuses()[0].nodes, 8);
}

#[test]
fn what_is_saved_lets_the_next_run_start_without_routers() {
    let mut bench = joined();
    let saved = Saved::decode(&bench.machine.saved().encode());
    assert_eq!(saved.nodes.len(), 8);
    let id = bench.machine.node_statuses()[0].id;
    assert_eq!(saved.id_v4, Some(id));
    let config = Config { ipv6: false, saved, ..Config::default() };
    let mut next = Bench::with_config(config);
    next.play(2, world);
    let status = &next.machine.node_statuses()[0];
    assert_eq!((status.id, status.nodes, status.joined), (id, 8, true));
    bench.take();
}

#[test]
fn an_idle_node_asks_as_often_as_libtorrent_does() {
    let mut bench = joined();
    bench.play(60, world);
    let mut asked = 0;
    bench.play(3600, |to, message| {
        asked += 1;
        world(to, message)
    });
    // libtorrent: one question every five seconds, however few nodes it knows, and every ten minutes
    // its own neighbourhood.
    assert!((720..=720 + 6 * 8).contains(&asked), "{asked}");
}

#[test]
fn without_an_ipv6_address_no_id_but_that_of_ipv4_is_seen() {
    let routers = vec![("127.0.0.1".to_owned(), 7001)];
    let mut bench = Bench::with_config(Config { routers, ..Config::default() });
    let ids = |bench: &mut Bench| {
        let sent = bench.sent();
        sent.iter().map(|(_, _, bytes)| field_of_arguments(bytes)).collect::<BTreeSet<_>>()
    };
    bench.input(Input::OwnAddresses { ipv4: true, ipv6: false });
    bench.start(CHANNEL, HASH);
    bench.seconds(3600);
    let own = bench.machine.saved();
    let (v4, v6) = (own.id_v4.unwrap().0.to_vec(), own.id_v6.unwrap().0.to_vec());
    assert_eq!(ids(&mut bench), BTreeSet::from([v4.clone()]));
    // The cable is plugged in somewhere else.
    bench.input(Input::OwnAddresses { ipv4: true, ipv6: true });
    bench.seconds(600);
    assert_eq!(ids(&mut bench), BTreeSet::from([v4, v6]));
}

/// The id of a question.
fn field_of_arguments(question: &[u8]) -> Vec<u8> {
    let value = crate::bencode::decode(question).unwrap();
    value.get(b"a").and_then(|it| it.get(b"id")).and_then(|it| it.as_bytes()).unwrap().to_vec()
}

#[test]
fn over_ipv6_nodes_are_asked_for_over_ipv4_while_none_is_known() {
    let routers = vec![("127.0.0.1".to_owned(), 7001)];
    let mut bench = Bench::with_config(Config { routers, ..Config::default() });
    bench.wait(std::time::Duration::ZERO);
    let mut foreign: Vec<_> = bench.sent();
    foreign.retain(|(_, _, it)| shape(it).ends_with("want"));
    let (_, to, question) = foreign.remove(0);
    let v6 = super::bench::node(5, "[::1]:7001");
    let answer = Answer { nodes6: Some(vec![v6]), ..Answer::default() };
    bench.answer(to, &question, NodeId([1; 20]), &answer);
    let (_, to, question) = bench.sent().remove(0);
    assert_eq!(to, v6.address);
    assert_eq!(shape(&question), "get_peers a,q,t,v,y id,info_hash");
    bench.answer(to, &question, v6.id, &Answer::default());
    assert_eq!(bench.machine.node_statuses()[1].nodes, 1);
    assert_ne!(bench.machine.saved().id_v4, bench.machine.saved().id_v6);
    assert_eq!(field(&question, b"t").len(), 2);
}

//! What strangers may try. The numbers are those of the list of weak spots (docs/spec/09-dht.md).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::bench::{Bench, CHANNEL, HASH, field, local_nodes, node, shape};
use crate::dht::message::{Answer, Body, Contact, Envelope, Request, encode_answer};
use crate::dht::{Event, Input, NodeId, Output};
use crate::limits::{
    DHT_ANSWER_BYTES_MAX, DHT_ANSWER_FACTOR_MAX, DHT_LOOKUP_QUERIES_MAX, DHT_PEERS_PER_ANSWER_MAX,
};
use crate::scope::Scope;

const ID: &str = "abcdefghij0123456789";
const STRANGER: &str = "8.8.8.8:6881";

fn query(name: &str, arguments: &str) -> Vec<u8> {
    let length = name.len();
    format!("d1:ad2:id20:{ID}{arguments}e1:q{length}:{name}1:t2:aa1:y1:qe").into_bytes()
}

fn get_peers() -> Vec<u8> {
    query("get_peers", &format!("9:info_hash20:{}", "h".repeat(20)))
}

fn announce(port: u16, implied: bool, token: &[u8]) -> Vec<u8> {
    let implied = if implied { "12:implied_porti1e" } else { "" };
    let hash = "h".repeat(20);
    let head = format!("d1:ad2:id20:{ID}{implied}9:info_hash20:{hash}4:porti{port}e5:token");
    let tail = "e1:q13:announce_peer1:t2:aa1:y1:qe";
    let length = format!("{}:", token.len());
    [head.as_bytes(), length.as_bytes(), token, tail.as_bytes()].concat()
}

fn joined() -> Bench {
    let mut bench = Bench::new();
    bench.join(&local_nodes(8));
    bench
}

/// A node's answer to any question.
fn answer(nodes: Vec<Contact>, peers: Vec<SocketAddr>) -> Answer {
    Answer { nodes: Some(nodes), peers, token: Some(b"toke".to_vec()), ..Answer::default() }
}

// 10: bencode and its contents; see also the codec's own tests.

#[test]
fn datagrams_of_every_kind_of_nonsense_leave_no_trace() {
    let mut bench = joined();
    let before = bench.machine.dropped();
    let deep = [b"d1:a".repeat(40), b"e".repeat(40)].concat();
    let empty_keys = [&b"d"[..], &b"0:0:".repeat(900), b"e"].concat();
    let datagrams: [&[u8]; 8] =
        [b"", b"d", b"de", &deep, &empty_keys, &[b'l'; 60_000], &[0xff; 1000], b"d1:y1:ze"];
    for datagram in datagrams {
        assert_eq!(bench.ask(STRANGER, datagram), None);
    }
    assert_eq!(bench.machine.dropped() - before, 8);
}

// 11: an answer counts only with its transaction id, from whom was asked, and once.

#[test]
fn an_answer_counts_only_from_whom_was_asked_and_once() {
    let mut bench = joined();
    bench.start(CHANNEL, HASH);
    let (_, to, question) = bench.sent().remove(0);
    let id = local_nodes(8).into_iter().find(|it| it.address == to).unwrap().id;
    let peers = answer(Vec::new(), vec!["127.0.0.1:99".parse().unwrap()]);
    let found = |bench: &mut Bench| {
        bench.events().iter().filter(|it| matches!(it, Event::PeersFound { .. })).count()
    };
    bench.answer("127.0.0.1:1".parse().unwrap(), &question, id, &peers);
    bench.answer(SocketAddr::new(to.ip(), to.port() + 1), &question, id, &peers);
    let envelope = Envelope { transaction: b"zzz", version: None, id };
    bench.input(Input::Datagram { from: to, bytes: encode_answer(envelope, &peers) });
    assert_eq!(found(&mut bench), 0);
    bench.answer(to, &question, id, &peers);
    bench.answer(to, &question, id, &peers);
    assert_eq!(found(&mut bench), 1);
}

#[test]
fn transaction_ids_do_not_count_up() {
    let mut bench = joined();
    let mut ids = Vec::new();
    for number in 0..20 {
        bench.start(CHANNEL, crate::id::InfoHash([number; 20]));
        bench.seconds(5);
        ids.extend(bench.sent().iter().map(|(_, _, it)| field(it, b"t")));
    }
    let number = |id: &Vec<u8>| u16::from_be_bytes([id[0], id[1]]);
    let steps = ids.windows(2).filter(|it| number(&it[0]).abs_diff(number(&it[1])) < 16);
    assert!(ids.len() > 50 && steps.count() < ids.len() / 20);
}

// 12: tokens.

#[test]
fn an_announce_needs_a_token_given_to_the_same_address() {
    let mut bench = joined();
    let token = field_of_values(&bench.ask(STRANGER, &get_peers()).unwrap(), b"token");
    let refused = |bench: &mut Bench, from: &str, token: &[u8]| {
        let answer = bench.ask(from, &announce(1, false, token)).unwrap();
        shape(&answer).starts_with("e ")
    };
    for wrong in [&b""[..], b"abcd", &[0; 1024]] {
        assert!(refused(&mut bench, STRANGER, wrong));
    }
    assert!(refused(&mut bench, "8.8.4.4:6881", &token), "replayed from another address");
    assert!(!refused(&mut bench, "8.8.8.8:7", &token), "another port of the same host is fine");
    bench.seconds(11 * 60);
    assert!(refused(&mut bench, STRANGER, &token), "too old");
}

// 13: storage; its bounds have tests of their own.

#[test]
fn what_was_announced_is_given_to_others_with_the_implied_port_if_so_said() {
    let mut bench = joined();
    for (from, implied) in [("8.8.8.8:1000", true), ("8.8.4.4:1000", false)] {
        let token = field_of_values(&bench.ask(from, &get_peers()).unwrap(), b"token");
        bench.ask(from, &announce(2000, implied, &token)).unwrap();
    }
    let token = field_of_values(&bench.ask("9.9.9.9:1", &get_peers()).unwrap(), b"token");
    bench.ask("9.9.9.9:1", &announce(0, false, &token)).unwrap();
    let answer = bench.ask("1.1.1.1:1", &get_peers()).unwrap();
    let Body::Response(response) = crate::dht::message::decode(&answer).unwrap().body else {
        panic!("no response");
    };
    let peers: BTreeSet<_> = response.peers.iter().map(SocketAddr::to_string).collect();
    assert_eq!(peers.into_iter().collect::<Vec<_>>(), ["8.8.4.4:2000", "8.8.8.8:1000"]);
}

// 14: the routing table; its rules have tests of their own.

#[test]
fn who_only_asks_is_not_in_the_table_and_read_only_nodes_are_not_even_asked_back() {
    let mut bench = joined();
    bench.ask("8.8.8.8:1", &query("ping", "")).unwrap();
    let ro = String::from_utf8(query("ping", "")).unwrap().replace("1:t2", "2:roi1e1:t2");
    bench.ask("8.8.4.4:1", ro.as_bytes()).unwrap();
    assert_eq!(bench.machine.node_statuses()[0].nodes, 8);
    bench.seconds(30);
    let asked: BTreeSet<_> = bench.sent().into_iter().map(|(_, to, _)| to.to_string()).collect();
    assert!(asked.contains("8.8.8.8:1") && !asked.contains("8.8.4.4:1"), "{asked:?}");
}

#[test]
fn one_victim_is_asked_once_whatever_the_nodes_say() {
    let mut bench = joined();
    bench.start(CHANNEL, HASH);
    let asked = std::cell::RefCell::new(Vec::new());
    bench.play(10, |to, message| {
        if let Body::Query(query) = &message.body
            && let Ok(Request::GetPeers { infohash, .. }) = query.request
        {
            asked.borrow_mut().push((to, infohash == HASH.into()));
        }
        let id = local_nodes(8).into_iter().find(|it| it.address == to)?.id;
        // Eight names next to the target, at one address and at its neighbours.
        let near = |at: u8| NodeId([7, 7, 7, at, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
        let victims = (0..8).map(|at| Contact {
            id: near(at),
            address: format!("9.9.9.{}:{}", 9 + at / 4, 53 + u16::from(at)).parse().unwrap(),
        });
        Some((id, answer(victims.collect(), Vec::new())))
    });
    let mut victims = asked.into_inner();
    victims.retain(|(to, _)| Scope::of(to.ip()) == Scope::Global);
    let look_up = victims.iter().filter(|(_, look_up)| *look_up).count();
    // Whoever was named is asked whether it is there, one every five seconds.
    assert!(look_up <= 2 && victims.len() <= 2 + 2, "{victims:?}");
}

// 15: amplification.

#[test]
fn a_stranger_gets_no_more_than_a_fixed_multiple_of_what_it_sent() {
    let mut bench = joined();
    for host in 1..=100 {
        let from = format!("8.8.8.{host}:1");
        let token = field_of_values(&bench.ask(&from, &get_peers()).unwrap(), b"token");
        bench.ask(&from, &announce(2000, false, &token)).unwrap();
        bench.seconds(1);
    }
    let question = get_peers();
    let answer = bench.ask("9.9.9.9:1", &question).unwrap();
    assert!(answer.len() <= question.len() * DHT_ANSWER_FACTOR_MAX, "{}", answer.len());
    let Body::Response(response) = crate::dht::message::decode(&answer).unwrap().body else {
        panic!("no response");
    };
    assert!(response.peers.len() >= 20, "{}", response.peers.len());
    // A node of the table has shown that it is where it says.
    let proven = local_nodes(8)[0].address.to_string();
    let answer = bench.ask(&proven, &question).unwrap();
    assert!(
        (question.len() * DHT_ANSWER_FACTOR_MAX..=DHT_ANSWER_BYTES_MAX).contains(&answer.len())
    );
}

#[test]
fn no_question_of_a_stranger_brings_a_long_answer() {
    let mut bench = joined();
    for host in 1..=30 {
        let from = format!("8.8.{host}.8:1");
        let hash = format!("{host:020}");
        let ask = query("get_peers", &format!("9:info_hash20:{hash}"));
        let token = field_of_values(&bench.ask(&from, &ask).unwrap(), b"token");
        let mut bytes = announce(2000, false, &token);
        let at = bytes.windows(20).position(|it| it == "h".repeat(20).as_bytes()).unwrap();
        bytes[at..at + 20].copy_from_slice(hash.as_bytes());
        bench.ask(&from, &bytes).unwrap();
        bench.seconds(1);
    }
    assert!(bench.machine.node_statuses()[0].stored_hashes >= 20);
    let target = format!("6:target20:{}", "h".repeat(20));
    for name in ["sample_infohashes", "find_node", "get", "x"] {
        for want in ["", "4:wantl2:n42:n6e"] {
            let question = query(name, &format!("{target}{want}"));
            let answer = bench.ask("9.9.9.9:1", &question).unwrap();
            let bound = question.len() * DHT_ANSWER_FACTOR_MAX;
            assert!(answer.len() <= bound, "{name} {want}: {} of {bound}", answer.len());
            assert!(answer.len() > 2 * question.len(), "{name}: something is left");
        }
    }
}

#[test]
fn whoever_floods_us_is_ignored_and_all_answers_together_stay_within_a_budget() {
    let mut bench = joined();
    let answers = (0..200).filter(|_| bench.ask(STRANGER, &get_peers()).is_some()).count();
    assert_eq!(answers, 50);
    bench.seconds(60);
    bench.take();
    let mut bytes = 0;
    for flood in 0..2000_u32 {
        let [_, _, high, low] = flood.to_be_bytes();
        let from = format!("9.9.{high}.{low}:1");
        bytes += bench.ask(&from, &get_peers()).map_or(0, |it| it.len());
        bench.wait(Duration::from_millis(5));
    }
    assert!(bytes <= 13 * 8000, "{bytes} bytes in ten seconds");
}

#[test]
fn nothing_is_sent_to_an_address_that_is_nobodys() {
    let mut bench = joined();
    for from in ["8.8.8.8:0", "255.255.255.255:1", "224.0.0.1:1", "0.0.0.0:1"] {
        assert_eq!(bench.ask(from, &get_peers()), None, "{from}");
    }
}

#[test]
fn answers_and_errors_are_never_answered() {
    let mut bench = joined();
    let answers: [&[u8]; 3] = [
        b"d1:rd2:id20:abcdefghij0123456789e1:t2:aa1:y1:re",
        b"d1:eli201e1:xe1:t2:aa1:y1:ee",
        b"d1:t2:aa1:y1:re",
    ];
    for bytes in answers {
        assert_eq!(bench.ask(STRANGER, bytes), None);
    }
}

// 16: what our address is.

#[test]
fn liars_about_our_address_do_not_move_our_id() {
    let mut bench = Bench::new();
    let before = bench.machine.node_statuses()[0].id;
    let liars: Vec<Contact> = (1..=10).map(|at| node(at, &format!("8.8.8.{at}:1"))).collect();
    bench.candidates(
        &liars
            .iter()
            .map(|it| it.address.to_string())
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let world = |ip: &'static str, nodes: Vec<Contact>| {
        move |to: SocketAddr, _: &crate::dht::message::Message<'_>| {
            let id = nodes.iter().find(|it| it.address == to)?.id;
            let ip = Some(ip.parse().unwrap());
            Some((id, Answer { ip, ..answer(Vec::new(), Vec::new()) }))
        }
    };
    let events = bench.play(60, world("9.9.9.9:5", liars));
    assert!(!events.iter().any(|it| matches!(it, Event::ExternalAddress(_))));
    assert_eq!(bench.machine.node_statuses()[0].id, before);
    // Three networks agree: now it is our address, and our id is made for it.
    let honest: Vec<Contact> = (1..=3).map(|at| node(at + 100, &format!("1.{at}.1.1:1"))).collect();
    bench.candidates(&["1.1.1.1:1", "1.2.1.1:1", "1.3.1.1:1"]);
    let events = bench.play(60, world("5.6.7.8:5", honest));
    assert!(events.iter().any(|it| matches!(it, Event::ExternalAddress(_))));
    let id = bench.machine.node_statuses()[0].id;
    assert!(id != before && id.is_secure_for("5.6.7.8".parse().unwrap()));
}

#[test]
fn nodes_that_refuse_our_id_tell_us_the_address_that_it_must_be_made_for() {
    let mut bench = Bench::new();
    bench.candidates(&["1.1.1.1:1", "1.2.1.1:1", "1.3.1.1:1"]);
    bench.seconds(1);
    let questions = bench.sent();
    assert_eq!(questions.len(), 3);
    for (_, from, question) in questions {
        let id = bench.machine.node_statuses()[0].id;
        assert!(!id.is_secure_for("5.6.7.8".parse().unwrap()), "before the third");
        let head = b"d1:eli203e15:invalid node IDe2:ip6:\x05\x06\x07\x08\0\x051:t2:";
        let bytes = [&head[..], &field(&question, b"t"), b"1:y1:ee"].concat();
        bench.input(Input::Datagram { from, bytes });
    }
    let id = bench.machine.node_statuses()[0].id;
    assert!(id.is_secure_for("5.6.7.8".parse().unwrap()));
}

// 17: look-ups among liars; whole networks of them are in `network`.

#[test]
fn a_look_up_ends_though_every_node_knows_of_somebody_nearer() {
    let mut bench = joined();
    bench.start(CHANNEL, HASH);
    let (mut asked, mut next) = (0_u32, 0_u32);
    let events = bench.play(120, |to, message| {
        let Body::Query(query) = &message.body else { panic!("an answer") };
        let Ok(Request::GetPeers { infohash, .. }) = query.request else { return None };
        asked += u32::from(infohash == HASH.into());
        // Each of them is one nearer to the target than the last ones, each at its own address.
        let nodes = (0..16).map(|_| {
            next += 1;
            let mut id = NodeId(HASH.0);
            id.0[16..].copy_from_slice(&(u32::MAX - next).to_be_bytes());
            let [_, one, two, three] = next.to_be_bytes();
            Contact { id, address: ([9, one + 1, two, three.max(1)], 1).into() }
        });
        let own = local_nodes(8).into_iter().find(|it| it.address == to).map(|it| it.id);
        Some((own.unwrap_or(NodeId([9; 20])), answer(nodes.collect(), Vec::new())))
    });
    let ended = events
        .iter()
        .any(|it| matches!(it, Event::StatusChanged(status) if status.last_announce.is_some()));
    assert!(ended);
    assert!(asked as usize <= 2 * DHT_LOOKUP_QUERIES_MAX, "{asked}");
}

#[test]
fn a_node_that_returns_itself_us_or_the_impossible_is_harmless() {
    let mut bench = joined();
    let own = bench.machine.node_statuses()[0].id;
    bench.start(CHANNEL, HASH);
    let asked = std::cell::RefCell::new(Vec::new());
    bench.play(10, |to, _| {
        asked.borrow_mut().push(to.to_string());
        let id = local_nodes(8).into_iter().find(|it| it.address == to)?.id;
        let contact = |id, address: &str| Contact { id, address: address.parse().unwrap() };
        let nodes = vec![
            Contact { id, address: to },
            contact(own, "127.0.0.1:1"),
            contact(NodeId(HASH.0), "127.0.0.1:0"),
            contact(NodeId(HASH.0), "255.255.255.255:1"),
            contact(NodeId(HASH.0), "[::1]:1"),
        ];
        Some((id, answer(nodes, Vec::new())))
    });
    let strange = |it: &&String| !it.starts_with("127.0.0.1:70");
    let strange: Vec<_> = asked.borrow().iter().filter(strange).cloned().collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn a_flood_of_false_peers_is_cut_and_told_apart_from_true_ones() {
    let mut bench = joined();
    bench.start(CHANNEL, HASH);
    let (liar, honest) = (local_nodes(8)[0], local_nodes(8)[1]);
    let events = bench.play(10, |to, _| {
        let peers = if to == liar.address {
            (1..=200).map(|port| ([127, 0, 0, 1], port).into()).collect()
        } else if to == honest.address {
            vec!["127.0.0.1:9999".parse().unwrap(), "127.0.0.1:1".parse().unwrap()]
        } else {
            Vec::new()
        };
        let id = local_nodes(8).into_iter().find(|it| it.address == to)?.id;
        Some((id, answer(Vec::new(), peers)))
    });
    let mut sources = BTreeSet::new();
    let mut all = Vec::new();
    for event in events {
        let Event::PeersFound { peers, source, .. } = event else { continue };
        assert!(peers.len() <= DHT_PEERS_PER_ANSWER_MAX);
        assert!(sources.insert(source));
        all.extend(peers);
    }
    assert_eq!(sources.len(), 2);
    let once: BTreeSet<_> = all.iter().collect();
    assert_eq!(once.len(), all.len(), "no peer twice");
    assert!(once.contains(&SocketAddr::from(([127, 0, 0, 1], 9999))));
}

#[test]
fn a_node_on_the_internet_makes_us_dial_nothing_inside() {
    let mut bench = Bench::new();
    let teller = node(9, "8.8.8.8:1");
    bench.join(&[teller]);
    bench.start(CHANNEL, HASH);
    let asked = std::cell::RefCell::new(BTreeSet::new());
    let events = bench.play(10, |to, _| {
        asked.borrow_mut().insert(to.to_string());
        let inside = ["127.0.0.1:1", "192.168.0.1:1", "10.0.0.1:1", "169.254.1.1:1"];
        let peers = inside.iter().map(|it| it.parse().unwrap()).collect();
        let nodes = inside.iter().zip(1..).map(|(it, at)| node(at, it)).collect();
        Some((teller.id, answer(nodes, peers)))
    });
    assert_eq!(asked.into_inner().into_iter().collect::<Vec<_>>(), ["8.8.8.8:1"]);
    assert!(!events.iter().any(|it| matches!(it, Event::PeersFound { .. })));
}

#[test]
fn outputs_of_one_datagram_are_few() {
    let mut bench = joined();
    bench.start(CHANNEL, HASH);
    let (_, to, question) = bench.sent().remove(0);
    let nodes = (0..100_u8).map(|at| node(at, &format!("127.0.0.1:{}", 9000 + u16::from(at))));
    bench.answer(to, &question, NodeId([16; 20]), &answer(nodes.collect(), Vec::new()));
    let sent = bench.take().into_iter().filter(|(_, it)| matches!(it, Output::Send { .. })).count();
    assert!(sent <= 5, "{sent}");
}

/// A byte string among the values of an answer.
fn field_of_values(answer: &[u8], key: &[u8]) -> Vec<u8> {
    let value = crate::bencode::decode(answer).unwrap();
    value.get(b"r").unwrap().get(key).unwrap().as_bytes().unwrap().to_vec()
}

//! Byte for byte what libtorrent answers, and the shape of what it asks.
//!
//! `captures/libtorrent-2.1.1-dht-server-replies.txt`: a probe at 127.0.0.1:42520 asked a libtorrent with
//! four nodes in its table. Masked are our id, the asker's address as such (it is the same), the nodes
//! themselves, the token and the client's version: whatever differs from node to node. Their lengths
//! are compared.

use std::net::SocketAddr;

use super::bench::{Bench, field, local_nodes, shape};
use crate::bencode::{OwnedValue, Value, decode};
use crate::dht::message::{Answer, Contact};
use crate::dht::{Config, DhtProfile, Input, NodeId, Pace};

const PROBE: &str = "127.0.0.1:42520";
const ID: &str = "abcdefghij0123456789";
const TARGET: &str = "mnopqrstuvwxyz123456";

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.join(&local_nodes(4));
    bench
}

/// Replaces what differs from node to node by as many stars.
fn masked(answer: &[u8]) -> String {
    fn mask(value: &mut OwnedValue) {
        let OwnedValue::Dict(entries) = value else { return };
        for (key, value) in entries {
            match (key.as_slice(), &mut *value) {
                (
                    b"id" | b"ip" | b"nodes" | b"nodes6" | b"token" | b"v",
                    OwnedValue::Bytes(bytes),
                ) => {
                    bytes.fill(b'*');
                }
                (_, value) => mask(value),
            }
        }
    }
    let read = decode(answer).unwrap();
    assert!(read.is_canonical(), "{}", answer.escape_ascii());
    let mut value = OwnedValue::from(&read);
    mask(&mut value);
    String::from_utf8(value.borrow().encode()).unwrap()
}

#[track_caller]
fn check(sent: usize, question: &str, got: usize, expected: &str) {
    let mut bench = bench();
    assert_eq!(question.len(), sent, "the captured question was another one");
    let answer = bench.ask(PROBE, question.as_bytes()).unwrap();
    assert_eq!(masked(&answer), expected);
    assert_eq!(answer.len(), got);
    let ip = decode(&answer).unwrap().get(b"ip").is_some();
    assert!(!ip || field(&answer, b"ip") == [127, 0, 0, 1, 0xa6, 0x18]);
}

fn stars(count: usize) -> String {
    format!("{count}:{}", "*".repeat(count))
}

/// The answer with these values between `id` and the end.
fn reply(before_port: &str, after_port: &str, t: &str) -> String {
    let (ip, id, v) = (stars(6), stars(20), stars(4));
    format!("d2:ip{ip}1:rd2:id{id}{before_port}1:pi42520e{after_port}e1:t{t}1:v{v}1:y1:re")
}

fn refusal(text: &str) -> String {
    let (ip, id, v) = (stars(6), stars(20), stars(4));
    let length = text.len();
    format!("d1:eli203e{length}:{text}e2:ip{ip}1:rd2:id{id}1:pi42520ee1:t2:aa1:v{v}1:y1:ee")
}

/// A refusal to somebody without a name.
fn curt_refusal(text: &str) -> String {
    let length = text.len();
    format!("d1:eli203e{length}:{text}e1:t2:aa1:v{}1:y1:ee", stars(4))
}

fn query(name: &str, arguments: &str) -> String {
    let length = name.len();
    format!("d1:ad2:id20:{ID}{arguments}e1:q{length}:{name}1:t2:aa1:y1:qe")
}

fn nodes() -> String {
    format!("5:nodes{}", stars(4 * 26))
}

#[test]
fn ping_is_answered_whatever_the_transaction_id() {
    check(56, &query("ping", ""), 78, &reply("", "", "2:aa"));
    let with_t = |t: &str| query("ping", "").replace("1:t2:aa", t);
    check(54, &with_t("1:t0:"), 76, &reply("", "", "0:"));
    check(49, &with_t(""), 76, &reply("", "", "0:"));
    let long = format!("40:{}", "x".repeat(40));
    check(95, &with_t(&format!("1:t{long}")), 117, &reply("", "", &long));
}

#[test]
fn an_unknown_query_is_refused_unless_it_is_about_a_place() {
    check(59, &query("unknown", ""), 106, &refusal("unknown message"));
    let info_hash = format!("9:info_hash20:{TARGET}");
    check(93, &query("unknown", &info_hash), 193, &reply(&nodes(), "", "2:aa"));
}

#[test]
fn find_node_is_answered_with_nodes_and_ipv6_nodes_only_if_there_is_such_a_socket() {
    let target = format!("6:target20:{TARGET}");
    check(92, &query("find_node", &target), 193, &reply(&nodes(), "", "2:aa"));
    let want = format!("{target}4:wantl2:n42:n6e");
    check(108, &query("find_node", &want), 193, &reply(&nodes(), "", "2:aa"));
}

#[test]
fn get_peers_is_answered_with_nodes_and_a_token_and_scrape_is_ignored() {
    let info_hash = format!("9:info_hash20:{TARGET}");
    let token = format!("5:token{}", stars(4));
    check(95, &query("get_peers", &info_hash), 206, &reply(&nodes(), &token, "2:aa"));
    let scrape = format!("{info_hash}6:scrapei1e");
    check(106, &query("get_peers", &scrape), 206, &reply(&nodes(), &token, "2:aa"));
    let short = "9:info_hash19:mnopqrstuvwxyz12345";
    check(94, &query("get_peers", short), 120, &refusal("invalid value for 'info_hash'"));
}

#[test]
fn announces_without_a_right_to_are_refused() {
    let with = |rest: &str| query("announce_peer", &format!("9:info_hash20:{TARGET}{rest}"));
    check(123, &with("4:porti80e5:token4:abcd"), 104, &refusal("invalid token"));
    check(122, &with("4:porti0e5:token4:abcd"), 104, &refusal("invalid token"));
    check(110, &with("4:porti80e"), 110, &refusal("missing 'token' key"));
}

#[test]
fn a_query_from_nobody_is_refused_curtly() {
    let id = "2:id20:abcdefghij0123456789";
    let short = query("ping", "").replace(id, "2:id19:abcdefghij012345678");
    check(55, &short, 59, &curt_refusal("invalid value for 'id'"));
    check(29, &query("ping", "").replace(id, ""), 53, &curt_refusal("missing 'id' key"));
}

#[test]
fn newer_queries_are_answered_as_libtorrent_does() {
    let target = format!("6:target20:{TARGET}");
    let before = format!("8:intervali21600e{}3:numi0e", nodes());
    let sample = reply(&before, "7:samples0:", "2:aa");
    check(101, &query("sample_infohashes", &target), 229, &sample);
    let token = format!("5:token{}", stars(4));
    check(86, &query("get", &target), 206, &reply(&nodes(), &token, "2:aa"));
}

#[test]
fn read_only_askers_and_unsorted_keys_are_answered_like_others() {
    let ro = query("ping", "").replace("1:q4:ping", "1:q4:ping2:roi1e");
    check(63, &ro, 78, &reply("", "", "2:aa"));
    let unsorted = format!("d1:y1:q1:t2:aa1:q4:ping1:ad2:id20:{ID}ee");
    check(56, &unsorted, 78, &reply("", "", "2:aa"));
}

#[test]
fn what_is_no_message_is_not_answered() {
    let ping = query("ping", "");
    let junk = format!("{ping}junk");
    let y_x = ping.replace("1:y1:q", "1:y1:x");
    for (sent, question) in [(60, junk), (56, y_x), (60_000, "l".repeat(60_000))] {
        assert_eq!(question.len(), sent);
        assert_eq!(bench().ask(PROBE, question.as_bytes()), None);
    }
}

#[test]
fn our_own_version_is_in_every_message() {
    let mut bench = bench();
    let answer = bench.ask(PROBE, query("ping", "").as_bytes()).unwrap();
    assert_eq!(field(&answer, b"v"), b"LT\x02\x0b");
}

fn dual(profile: DhtProfile) -> Bench {
    let profile = std::sync::Arc::new(profile);
    Bench::with_config(Config { profile, ..Config::default() })
}

fn add_router(bench: &mut Bench, host: &str) {
    let result = Ok(vec![host.parse().unwrap()]);
    bench.input(Input::NamesResolved { host: "router".to_owned(), result });
}

fn with_routers(profile: DhtProfile) -> Bench {
    let routers = vec![("router".to_owned(), 25401)];
    let profile = std::sync::Arc::new(profile);
    let mut bench = Bench::with_config(Config { routers, profile, ..Config::default() });
    assert_eq!(bench.resolved(), ["router"]);
    bench.take();
    add_router(&mut bench, "8.8.8.8");
    bench.wait(std::time::Duration::ZERO);
    bench
}

/// `captures/libtorrent-2.0.11.json`, `dht.shapes`: keys of the first packets, those over the other IP
/// version with `want`.
#[test]
fn a_bootstrap_looks_like_libtorrents() {
    let mut bench = with_routers(DhtProfile::libtorrent_2_0_11());
    let mut shapes: Vec<_> = bench.sent().iter().map(|(_, _, it)| shape(it)).collect();
    shapes.sort();
    let expected =
        ["get_peers a,q,t,v,y bs,id,info_hash", "get_peers a,q,t,v,y bs,id,info_hash,want"];
    assert_eq!(shapes, expected);
}

/// The place that a question is about.
fn place(question: &[u8]) -> Option<NodeId> {
    let question = decode(question).unwrap();
    let place = question.get(b"a")?.get(b"info_hash").and_then(Value::as_bytes)?;
    Some(NodeId(place.try_into().unwrap()))
}

fn own_id(bench: &Bench) -> NodeId {
    bench.machine.node_statuses()[0].id
}

/// Seen of libtorrent 2.0.11: `bs` is for those from whom it starts; each is asked about a place of its
/// own; those left over are asked at once, about a wider neighbourhood.
#[test]
fn a_bootstrap_asks_whom_and_about_what_libtorrent_does() {
    let routers = vec![("router".to_owned(), 25401)];
    let mut bench = Bench::with_config(Config { routers, ipv6: false, ..Config::default() });
    add_router(&mut bench, "127.0.0.1");
    bench.wait(std::time::Duration::ZERO);
    let (own, nodes) = (own_id(&bench), local_nodes(15));
    let mut asked: Vec<(SocketAddr, String, NodeId)> = Vec::new();
    for _ in 0..100 {
        for (_, to, question) in bench.sent() {
            asked.push((to, shape(&question), place(&question).unwrap()));
            let id = nodes.iter().find(|it| it.address == to).map_or(NodeId([9; 20]), |it| it.id);
            let named = Some(nodes.clone());
            bench.answer(to, &question, id, &Answer { nodes: named, ..Answer::default() });
        }
    }
    assert_eq!(asked.len(), 16, "each is asked once, and none has to wait");
    assert_eq!(bench.machine.node_statuses()[0].nodes, 15);
    let (first, others) = asked.split_first().unwrap();
    assert_eq!((first.0.port(), first.1.as_str()), (25401, "get_peers a,q,t,v,y bs,id,info_hash"));
    assert!(others.iter().all(|it| it.1 == "get_peers a,q,t,v,y id,info_hash"));
    let places: std::collections::BTreeSet<_> = asked.iter().map(|it| it.2).collect();
    assert_eq!(places.len(), asked.len());
    let near: Vec<_> = asked.iter().map(|it| own.shared_bits(&it.2)).collect();
    assert!(near[..9].iter().all(|bits| *bits >= 96), "{near:?}");
    assert!(near[9..].iter().all(|bits| (2..60).contains(bits)), "{near:?}");
}

/// Seen of libtorrent 2.0.11: the place is nearer to the asker than the asked one is.
#[test]
fn a_node_is_asked_about_a_place_nearer_to_us_than_it_is() {
    let mut bench = bench();
    let own = own_id(&bench);
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..60 {
        bench.seconds(5);
        for (_, to, question) in bench.sent() {
            let node = local_nodes(4).into_iter().find(|node| node.address == to).unwrap();
            let place = place(&question).unwrap();
            assert!(own.shared_bits(&place) > own.shared_bits(&node.id));
            assert_eq!(shape(&question), "get_peers a,q,t,v,y id,info_hash");
            asked.insert(to);
            bench.answer(to, &question, node.id, &Answer::default());
        }
    }
    assert_eq!(asked.len(), 4);
}

/// Seen of libtorrent 2.0.11: where its table has no room, it asks about nothing.
#[test]
fn a_node_among_too_many_others_is_pinged() {
    let mut bench = Bench::new();
    let opposite = own_id(&bench).0[0] ^ 0x80;
    let id = |to: SocketAddr| {
        let [high, low] = to.port().to_be_bytes();
        NodeId([opposite, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    };
    let addresses = (7001..=7200).map(|port| ([127, 0, 0, 1], port).into()).collect();
    bench.input(Input::AddCandidates(addresses));
    bench.play(300, |to, _| {
        let next = (1..=8).map(|step| ([127, 0, 0, 1], 7001 + (to.port() + step) % 200).into());
        let nodes = next.map(|address| Contact { id: id(address), address }).collect();
        Some((id(to), Answer { nodes: Some(nodes), ..Answer::default() }))
    });
    assert_eq!(bench.machine.node_statuses()[0].nodes, 128);
    bench.take();
    let mut pings = 0;
    for _ in 0..12 {
        bench.seconds(5);
        for (_, to, question) in bench.sent() {
            assert_eq!(shape(&question), "ping a,q,t,v,y id");
            pings += 1;
            bench.answer(to, &question, id(to), &Answer::default());
        }
    }
    assert_eq!(pings, 12);
}

#[test]
fn a_look_up_and_an_announce_look_like_libtorrents() {
    let mut bench = bench();
    bench.start(super::bench::CHANNEL, super::bench::HASH);
    let asked = bench.sent();
    assert_eq!(asked.len(), 4);
    for (_, to, question) in asked {
        assert_eq!(shape(&question), "get_peers a,q,t,v,y id,info_hash");
        assert_eq!(field(&question, b"t").len(), 2);
        let node = local_nodes(4).into_iter().find(|node| node.address == to).unwrap();
        let token = Some(b"eight by".to_vec());
        bench.answer(to, &question, node.id, &Answer { token, ..Answer::default() });
    }
    let told = bench.sent();
    assert_eq!(told.len(), 4);
    for (_, _, announce) in told {
        let expected = "announce_peer a,q,t,v,y id,implied_port,info_hash,port,seed,token";
        assert_eq!(shape(&announce), expected);
        let text = announce.escape_ascii().to_string();
        assert!(text.contains("12:implied_porti1e"), "{text}");
        assert!(text.contains("4:porti28000e4:seedi0e5:token8:eight by"), "{text}");
    }
}

#[test]
fn with_room_in_the_table_every_question_is_get_peers_or_announce_peer() {
    let mut bench = bench();
    bench.start(super::bench::CHANNEL, super::bench::HASH);
    bench.input(Input::SetPace { channel: super::bench::CHANNEL, pace: Pace::Soon });
    for _ in 0..360 {
        bench.seconds(10);
        for (_, to, question) in bench.sent() {
            let kind = shape(&question);
            assert!(kind.starts_with("get_peers ") || kind.starts_with("announce_peer "), "{kind}");
            if let Some(node) = local_nodes(4).into_iter().find(|node| node.address == to) {
                bench.answer(to, &question, node.id, &Default::default());
            }
        }
    }
}

/// `captures/transmission-4.1.0-beta2.json`, `dht.shapes`.
#[test]
fn another_profile_looks_like_another_client() {
    let mut bench = with_routers(DhtProfile::transmission_4_1_0());
    for (_, _, question) in bench.sent() {
        assert_eq!(shape(&question), "find_node a,q,t,y id,target,want");
        assert_eq!(field(&question, b"t"), b"fn\0\0");
        assert!(question.escape_ascii().to_string().contains("4:wantl2:n42:n6e"));
    }
    let mut bench = dual(DhtProfile::transmission_4_1_0());
    bench.candidates(&["127.0.0.1:7001"]);
    bench.wait(std::time::Duration::ZERO);
    let (_, to, question) = bench.sent().remove(0);
    bench.answer(to, &question, local_nodes(1)[0].id, &Default::default());
    let answer = bench.ask(PROBE, query("ping", "").as_bytes()).unwrap();
    assert_eq!(shape(&answer), "r r,t,y id");
    let ids: Vec<_> = bench.machine.node_statuses().iter().map(|it| it.id).collect();
    assert_eq!(ids[0], ids[1], "one id for both IP versions");
    bench.start(super::bench::CHANNEL, super::bench::HASH);
    let (_, to, question) = bench.sent().remove(0);
    assert_eq!(shape(&question), "get_peers a,q,t,y id,info_hash");
    assert_eq!(&field(&question, b"t")[..2], b"gp");
    let answer = Answer { token: Some(b"t".to_vec()), ..Answer::default() };
    bench.answer(to, &question, local_nodes(1)[0].id, &answer);
    let (_, _, announce) = bench.sent().remove(0);
    assert_eq!(shape(&announce), "announce_peer a,q,t,y id,info_hash,port,token");
    bench.seconds(600);
    let pings = bench.sent().into_iter().filter(|(_, _, it)| shape(it) == "ping a,q,t,y id");
    assert!(pings.count() > 0);
}

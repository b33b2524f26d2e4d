//! The examples of BEP 5, strangers' variations, and what libtorrent was seen to send.

use data_encoding::HEXLOWER;

use super::*;
use crate::limits::{
    DHT_DATAGRAM_BYTES_MAX, DHT_NODES_PER_ANSWER_MAX, DHT_PEERS_PER_ANSWER_MAX,
    DHT_TOKEN_BYTES_MAX, DHT_TRANSACTION_BYTES_MAX,
};

const ASKER: NodeId = NodeId(*b"abcdefghij0123456789");
const TARGET: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

#[track_caller]
fn request(datagram: &[u8]) -> Result<Request<'_>, Refusal> {
    let Body::Query(query) = decode(datagram).unwrap().body else { panic!("no query") };
    assert_eq!(query.id, ASKER);
    query.request
}

#[track_caller]
fn bad_query(datagram: &[u8], expected: Refusal) {
    assert_eq!(decode(datagram).unwrap().body, Body::BadQuery(expected));
}

#[track_caller]
fn response(datagram: &[u8]) -> Response<'_> {
    let Body::Response(response) = decode(datagram).unwrap().body else { panic!("no answer") };
    response
}

fn envelope() -> Envelope<'static> {
    Envelope { transaction: b"aa", version: None, id: ASKER }
}

/// The examples of BEP 5, "DHT Queries".
const PING: &[u8] = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
const FIND_NODE: &[u8] = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e\
    1:q9:find_node1:t2:aa1:y1:qe";
const GET_PEERS: &[u8] = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e\
    1:q9:get_peers1:t2:aa1:y1:qe";
const ANNOUNCE_PEER: &[u8] = b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e\
    9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe\
    1:q13:announce_peer1:t2:aa1:y1:qe";
const GOT_PEERS: &[u8] = b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl\
    6:axje.u6:idhtnmee1:t2:aa1:y1:re";
const ERROR: &[u8] = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee";

#[test]
fn the_queries_of_bep_5_are_read() {
    let want = Want::default();
    assert_eq!(request(PING), Ok(Request::Ping));
    assert_eq!(request(FIND_NODE), Ok(Request::FindNode { target: TARGET, want }));
    assert_eq!(request(GET_PEERS), Ok(Request::GetPeers { infohash: TARGET, want }));
    let announce = Request::AnnouncePeer { infohash: TARGET, port: None, token: b"aoeusnth" };
    assert_eq!(request(ANNOUNCE_PEER), Ok(announce));
}

#[test]
fn the_queries_of_bep_5_are_written() {
    let want = Want::default();
    assert_eq!(encode_query(envelope(), &Question::Ping), PING);
    let find_node = Question::FindNode { target: TARGET, want };
    assert_eq!(encode_query(envelope(), &find_node), FIND_NODE);
    let get_peers = Question::GetPeers { infohash: TARGET, bootstrap: false, want };
    assert_eq!(encode_query(envelope(), &get_peers), GET_PEERS);
    let announce_peer = Question::AnnouncePeer {
        infohash: TARGET,
        port: 6881,
        implied_port: Some(true),
        seed: None,
        token: b"aoeusnth",
    };
    assert_eq!(encode_query(envelope(), &announce_peer), ANNOUNCE_PEER);
}

#[test]
fn the_answers_of_bep_5_are_read() {
    let got = response(GOT_PEERS);
    assert_eq!((got.id, got.token), (ASKER, Some(&b"aoeusnth"[..])));
    let peers: Vec<_> = got.peers.iter().map(SocketAddr::to_string).collect();
    assert_eq!(peers, ["97.120.106.101:11893", "105.100.104.116:28269"]);
    let text = b"A Generic Error Ocurred";
    assert_eq!(decode(ERROR).unwrap().body, Body::Error { code: 201, text, seen_as: None });
}

#[test]
fn an_answer_reads_back() {
    let contact =
        |id: u8, address: &str| Contact { id: NodeId([id; 20]), address: address.parse().unwrap() };
    let (v4, v6) = (contact(1, "8.8.8.8:1"), contact(2, "[2a00::1]:2"));
    let answer = Answer {
        ip: Some(v4.address),
        port: Some(1),
        nodes: Some(vec![v4]),
        nodes6: Some(vec![v6]),
        token: Some(b"toke".to_vec()),
        peers: vec![v4.address, v6.address],
        sample: None,
    };
    let bytes = encode_answer(envelope(), &answer);
    assert!(crate::bencode::decode(&bytes).unwrap().is_canonical());
    let read = response(&bytes);
    assert_eq!(read.nodes, [v4, v6]);
    assert_eq!(read.peers, [v4.address, v6.address]);
    assert_eq!((read.token, read.seen_as), (Some(&b"toke"[..]), Some(v4.address)));
}

#[test]
fn a_sample_and_a_refusal_are_canonical() {
    let sample = Some(Sample { interval: 21600, total: 1, hashes: vec![TARGET] });
    let nodes = Some(Vec::new());
    let bytes = encode_answer(envelope(), &Answer { sample, nodes, ..Answer::default() });
    assert!(crate::bencode::decode(&bytes).unwrap().is_canonical());
    let answer = Answer { ip: Some("8.8.8.8:1".parse().unwrap()), ..Answer::default() };
    let bytes = encode_refusal(envelope(), Refusal::UnknownQuery, Some(&answer));
    assert!(crate::bencode::decode(&bytes).unwrap().is_canonical());
}

#[test]
fn no_message_can_be_read_from_a_part_of_it() {
    for whole in [PING, FIND_NODE, GET_PEERS, ANNOUNCE_PEER, GOT_PEERS, ERROR] {
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end]), Err(DecodeError::NotADictionary));
        }
        let trailing = [whole, b"e"].concat();
        assert_eq!(decode(&trailing), Err(DecodeError::NotADictionary));
    }
}

#[test]
fn keys_in_any_order_are_read() {
    let unsorted = b"d1:y1:q1:t2:aa1:q4:ping1:ad2:id20:abcdefghij0123456789ee";
    assert_eq!(request(unsorted), Ok(Request::Ping));
}

#[test]
fn what_is_neither_query_nor_answer_is_dropped() {
    let check = |datagram: &[u8], expected| assert_eq!(decode(datagram), Err(expected));
    check(b"", DecodeError::NotADictionary);
    check(b"i1e", DecodeError::NotADictionary);
    check(b"le", DecodeError::NotADictionary);
    check(b"de", DecodeError::UnknownKind);
    check(b"d1:t2:aa1:y1:xe", DecodeError::UnknownKind);
    check(b"d1:t2:aa1:yi1ee", DecodeError::UnknownKind);
    check(b"d1:t2:aa1:y1:re", DecodeError::NoId);
    check(b"d1:rle1:t2:aa1:y1:re", DecodeError::NoId);
    check(b"d1:rd2:id19:aaaaaaaaaaaaaaaaaaae1:y1:re", DecodeError::NoId);
    check(&vec![b'l'; 60_000], DecodeError::TooLong);
    check(&vec![b'l'; DHT_DATAGRAM_BYTES_MAX], DecodeError::NotADictionary);
    check(&b"d0:".repeat(1000), DecodeError::NotADictionary);
    check(b"d1:ti99999999999999999999e1:y1:qe", DecodeError::NotADictionary);
    check(b"d1:ti-0e1:y1:qe", DecodeError::NotADictionary);
}

#[test]
fn a_transaction_id_of_any_length_is_kept_up_to_a_bound() {
    for length in [0, 1, 2, 40, 200, DHT_TRANSACTION_BYTES_MAX] {
        let t = "x".repeat(length);
        let query = format!("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t{length}:{t}1:y1:qe");
        assert_eq!(decode(query.as_bytes()).unwrap().transaction, t.as_bytes());
    }
    let t = "x".repeat(DHT_TRANSACTION_BYTES_MAX + 1);
    let query = format!("d1:t{}:{t}1:y1:qe", t.len());
    assert_eq!(decode(query.as_bytes()), Err(DecodeError::Transaction));
    let none = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:y1:qe";
    assert_eq!(decode(none).unwrap().transaction, b"");
}

#[test]
fn a_query_from_nobody_is_a_bad_one() {
    bad_query(b"d1:ade1:q4:ping1:t2:aa1:y1:qe", Refusal::Missing("id"));
    bad_query(b"d1:ad2:idi1ee1:q4:ping1:t2:aa1:y1:qe", Refusal::Missing("id"));
    bad_query(b"d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe", Refusal::Invalid("id"));
    bad_query(b"d1:ad2:id21:abcdefghij01234567890e1:q4:ping1:y1:qe", Refusal::Invalid("id"));
    bad_query(b"d1:ale1:q4:ping1:t2:aa1:y1:qe", Refusal::Missing("a"));
    bad_query(b"d1:q4:ping1:t2:aa1:y1:qe", Refusal::Missing("a"));
    bad_query(b"d1:ad2:id20:abcdefghij0123456789e1:y1:qe", Refusal::Missing("q"));
}

#[test]
fn what_is_wrong_with_a_query_is_said_as_libtorrent_says_it() {
    let query = |name: &str, arguments: &str| {
        let length = name.len();
        format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:q{length}:{name}1:y1:qe")
    };
    let check = |name: &str, arguments: &str, expected| {
        assert_eq!(request(query(name, arguments).as_bytes()), Err(expected));
    };
    check("find_node", "", Refusal::Missing("target"));
    check("get_peers", "9:info_hash3:abc", Refusal::Invalid("info_hash"));
    check("get_peers", "9:info_hashi1e", Refusal::Missing("info_hash"));
    check("get", "", Refusal::Missing("target"));
    check("sample_infohashes", "", Refusal::Missing("target"));
    check("nonsense", "", Refusal::UnknownQuery);
    check("nonsense", "6:target3:abc", Refusal::UnknownQuery);
    let hash = "9:info_hash20:mnopqrstuvwxyz123456";
    check("announce_peer", "", Refusal::Missing("info_hash"));
    check("announce_peer", hash, Refusal::Missing("port"));
    check("announce_peer", &format!("{hash}4:porti1e"), Refusal::Missing("token"));
    check("announce_peer", &format!("{hash}4:porti65536e5:token0:"), Refusal::Port);
    check("announce_peer", &format!("{hash}4:porti-1e5:token0:"), Refusal::Port);
    assert_eq!(
        request(query("nonsense", hash).as_bytes()),
        Ok(Request::FindNode { target: TARGET, want: Want::default() }),
    );
}

#[test]
fn want_is_read_and_what_is_wrong_in_it_ignored() {
    let find = |want: &str| {
        format!(
            "d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456{want}e\
             1:q9:find_node1:y1:qe"
        )
    };
    let check = |want: &str, v4, v6| {
        let want_read = Want { v4, v6 };
        let expected = Request::FindNode { target: TARGET, want: want_read };
        assert_eq!(request(find(want).as_bytes()), Ok(expected));
    };
    check("", false, false);
    check("4:wantl2:n4e", true, false);
    check("4:wantl2:n6i1e2:n4le2:n9e", true, true);
    check("4:want2:n4", false, false);
}

#[test]
fn lists_in_an_answer_are_bounded_and_incomplete_entries_ignored() {
    let answer = |values: &str| {
        format!("d1:rd2:id20:abcdefghij0123456789{values}e1:t2:aa1:y1:re").into_bytes()
    };
    let nodes = "n".repeat(26 * 60 + 25);
    let read = answer(&format!("5:nodes{}:{nodes}", nodes.len()));
    assert_eq!(response(&read).nodes.len(), DHT_NODES_PER_ANSWER_MAX);
    let nodes = "n".repeat(38 * 2 + 1);
    let read = answer(&format!("6:nodes6{}:{nodes}", nodes.len()));
    assert_eq!(response(&read).nodes.len(), 2);
    let read = answer(&format!("6:valuesl{}e", "6:abcdef".repeat(480)));
    assert_eq!(response(&read).peers.len(), DHT_PEERS_PER_ANSWER_MAX);
    let read = answer("6:valuesl5:abcdei1e6:abcdefle7:abcdefge");
    assert_eq!(response(&read).peers.len(), 1);
    let read = answer("5:nodesle6:nodes6i1e5:tokeni1e6:values3:abc");
    let read = response(&read);
    assert!(read.nodes.is_empty() && read.peers.is_empty() && read.token.is_none());
}

#[test]
fn a_token_of_any_length_is_kept_up_to_a_bound() {
    for (length, kept) in [(0, true), (20, true), (DHT_TOKEN_BYTES_MAX, true), (1024, false)] {
        let token = "x".repeat(length);
        let read =
            format!("d1:rd2:id20:abcdefghij01234567895:token{length}:{token}e1:t2:aa1:y1:re");
        assert_eq!(response(read.as_bytes()).token.is_some(), kept, "{length}");
    }
}

#[test]
fn an_ip_of_a_wrong_length_is_ignored() {
    let answer =
        |ip: &str| format!("d2:ip{}:{ip}1:rd2:id20:abcdefghij0123456789e1:y1:re", ip.len());
    for (length, read) in [(0, false), (4, false), (6, true), (7, false), (16, false), (18, true)] {
        let text = answer(&"a".repeat(length));
        assert_eq!(response(text.as_bytes()).seen_as.is_some(), read, "{length}");
    }
}

#[test]
fn a_mapped_address_is_an_ipv4_address() {
    let hex = "64313a7264323a696432303a6162636465666768696a30313233343536373839363a76616c756573\
        6c31383a00000000000000000000ffff080808080001656 5313a79313a7265";
    let bytes = HEXLOWER.decode(hex.replace([' ', '\n'], "").as_bytes()).unwrap();
    assert_eq!(response(&bytes).peers, ["8.8.8.8:1".parse().unwrap()]);
}

/// `captures/libtorrent-2.0.11.json`, `dht`: `first_queries` and `announce_samples`.
#[test]
fn the_packets_of_libtorrent_are_written_byte_for_byte() {
    let captured = |hex: &str| HEXLOWER.decode(hex.replace([' ', '\n'], "").as_bytes()).unwrap();
    let envelope = |id: &str, t: &'static [u8]| Envelope {
        transaction: t,
        version: Some(b"LT\x02\x0b"),
        id: NodeId(captured(id).try_into().unwrap()),
    };
    let id = |hex: &str| NodeId(captured(hex).try_into().unwrap());
    let bootstrap = encode_query(
        envelope("8534dec210a5edd3f0e1d3793ca996be4acb6e66", b"\xa0\xf1"),
        &Question::GetPeers {
            infohash: id("8534dec210a5edd3f0e1d37974645230b097d581"),
            bootstrap: true,
            want: Want { v4: true, v6: false },
        },
    );
    assert_eq!(
        bootstrap,
        captured(
            "64313a6164323a6273693165323a696432303a8534dec210a5edd3f0e1d3793ca996be4acb6e66393a696e\
             666f5f6861736832303a8534dec210a5edd3f0e1d37974645230b097d581343a77616e746c323a6e346565\
             313a71393a6765745f7065657273313a74323aa0f1313a76343a4c54020b313a79313a7165"
        )
    );
    let announce = encode_query(
        envelope("45883e12dfb70422b00e78c19556f36396a6960d", b"\xba\xea"),
        &Question::AnnouncePeer {
            infohash: id("00202122232425262728292a2b2c2d2e2f5f7eff"),
            port: 6881,
            implied_port: Some(true),
            seed: Some(false),
            token: b"\xf8\x23\xa1\x4f",
        },
    );
    assert_eq!(
        announce,
        captured(
            "64313a6164323a696432303a45883e12dfb70422b00e78c19556f36396a6960d31323a696d706c6965645f\
             706f7274693165393a696e666f5f6861736832303a00202122232425262728292a2b2c2d2e2f5f7eff343a\
             706f7274693638383165343a73656564693065353a746f6b656e343af823a14f65313a7131333a616e6e6f\
             756e63655f70656572313a74323abaea313a76343a4c54020b313a79313a7165"
        )
    );
}

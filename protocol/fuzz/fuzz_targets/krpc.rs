#![no_main]

use bitchat_protocol::dht::message::{
    Answer, Body, Envelope, Question, Request, decode, encode_answer, encode_query,
};
use bitchat_protocol::dht::{NodeId, Saved};
use bitchat_protocol::limits::{
    DHT_DATAGRAM_BYTES_MAX, DHT_NODES_PER_ANSWER_MAX, DHT_PEERS_PER_ANSWER_MAX,
    DHT_SAVED_NODES_MAX, DHT_TOKEN_BYTES_MAX, DHT_TRANSACTION_BYTES_MAX,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let saved = Saved::decode(data);
    assert!(saved.nodes.len() <= 2 * DHT_SAVED_NODES_MAX);
    assert_eq!(Saved::decode(&saved.encode()), saved);

    let Ok(message) = decode(data) else { return };
    assert!(data.len() <= DHT_DATAGRAM_BYTES_MAX);
    let transaction = message.transaction;
    assert!(transaction.len() <= DHT_TRANSACTION_BYTES_MAX);
    let envelope = Envelope { transaction, version: None, id: NodeId([1; 20]) };
    match message.body {
        Body::Response(response) => {
            assert!(response.nodes.len() <= 2 * DHT_NODES_PER_ANSWER_MAX);
            assert!(response.peers.len() <= DHT_PEERS_PER_ANSWER_MAX);
            let token = response.token.map(<[u8]>::to_vec);
            assert!(token.as_ref().is_none_or(|it| it.len() <= DHT_TOKEN_BYTES_MAX));
            // What was read can be written, and read again as the same.
            let envelope = Envelope { id: response.id, ..envelope };
            let peers = response.peers.clone();
            let answer = Answer { ip: response.seen_as, peers, token, ..Answer::default() };
            let bytes = encode_answer(envelope, &answer);
            if let Ok(again) = decode(&bytes) {
                assert_eq!(again.transaction, transaction);
                let Body::Response(again) = again.body else { panic!("not an answer") };
                assert_eq!((again.id, again.seen_as), (response.id, response.seen_as));
                assert_eq!((again.peers, again.token), (response.peers, response.token));
            }
        }
        Body::Query(query) => {
            if let Ok(Request::AnnouncePeer { infohash, port, token }) = query.request {
                let question = Question::AnnouncePeer {
                    infohash,
                    port: port.unwrap_or_default(),
                    implied_port: Some(port.is_none()),
                    seed: Some(false),
                    token,
                };
                let bytes = encode_query(Envelope { id: query.id, ..envelope }, &question);
                if let Ok(again) = decode(&bytes) {
                    let Body::Query(again) = again.body else { panic!("not a query") };
                    assert_eq!((again.id, again.request), (query.id, query.request));
                }
            }
        }
        Body::BadQuery(_) | Body::Error { .. } => {}
    }
});

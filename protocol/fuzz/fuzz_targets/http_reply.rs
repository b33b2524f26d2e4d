#![no_main]

use std::net::IpAddr;

use bitchat_protocol::limits::{
    HTTP_BODY_BYTES_MAX, TRACKER_ID_BYTES_MAX, TRACKER_INTERVAL_MAX, TRACKER_PEERS_MAX,
};
use bitchat_protocol::tracker::http::{Progress, Response, ResponseError, ResponseReader};
use bitchat_protocol::tracker::peers::PeerSieve;
use bitchat_protocol::tracker::reply::{self, Reply};
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

const GENUINE: [&[u8]; 5] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n\
      d8:intervali1800e5:peers12:\xc6\x33\x64\x01\x1a\xe1\xc6\x33\x64\x02\x1a\xe110:tracker id2:ide",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
      14;x=y\r\nd8:intervali1800e6:p\r\n8\r\neers60:e\r\n0\r\nTrailer: 1\r\n\r\n",
    // A gzip member with one stored block.
    b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n\
      \x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01\x02\x00\xfd\xffde\x8b\x29\x90\x7d\x02\x00\x00\x00",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n",
    b"d14:failure reason4:busy8:retry in5:nevere",
];

fn read(data: &[u8], piece: usize) -> Result<Response, ResponseError> {
    let mut reader = ResponseReader::new();
    for piece in data.chunks(piece) {
        if let Progress::Complete(response) = reader.push(piece)? {
            return Ok(response);
        }
    }
    reader.finish()
}

fn decode(body: &[u8]) {
    let teller: IpAddr = "198.51.100.7".parse().expect("an address");
    let Ok(Reply::Accepted(accepted)) = reply::decode(body, PeerSieve::new(teller)) else {
        return;
    };
    assert!(accepted.peers.len() <= TRACKER_PEERS_MAX);
    assert!(accepted.interval.is_none_or(|interval| interval <= TRACKER_INTERVAL_MAX));
    assert!(accepted.min_interval.is_none_or(|interval| interval <= TRACKER_INTERVAL_MAX));
    assert!(accepted.tracker_id.is_none_or(|id| id.len() <= TRACKER_ID_BYTES_MAX));
    for peer in accepted.peers {
        assert!(peer.port() != 0 && !peer.ip().is_loopback());
    }
}

// The first byte says how the connection cuts the response, the second what it is made of.
fuzz_target!(|data: &[u8]| {
    let Some(([piece, mode], script)) = data.split_first_chunk() else { return };
    let mut bytes = GENUINE.get(usize::from(*mode)).map_or(Vec::new(), |bytes| bytes.to_vec());
    if bytes.is_empty() {
        bytes.extend_from_slice(script);
    } else {
        patch(&mut bytes, script);
    }
    let data = &bytes[..];
    decode(data);
    let whole = read(data, usize::MAX);
    // However the connection cuts it, the response is the same.
    let cut = read(data, usize::from(*piece).max(1));
    assert_eq!(whole.as_ref().ok(), cut.as_ref().ok());
    if let Ok(response) = whole {
        assert!(response.body.len() <= HTTP_BODY_BYTES_MAX);
        decode(&response.body);
    }
});

//! Messages of local discovery, and the machine that hears them under any address.
#![no_main]

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use bitchat_protocol::id::{ChannelId, InfoHash};
use bitchat_protocol::lan::message::{Family, decode, encode};
use bitchat_protocol::lan::{Config, HexCase, Input, Interface, Lan, Output};
use bitchat_protocol::limits::{LAN_DATAGRAM_BYTES_MAX, LAN_INFOHASHES_MAX};
use bitchat_protocol::machine::Machine as _;
use libfuzzer_sys::fuzz_target;

const CHANNEL: ChannelId = ChannelId([1; 32]);
const INFOHASH: InfoHash = InfoHash([0xaa; 20]);

/// Without it nothing is looked at, and chance takes long to find it.
const START: &[u8] = b"BT-SEARCH * HTTP/1.1\r\n";

fuzz_target!(|data: &[u8]| {
    read(data);
    read(&[START, data].concat());
    if let Some((from, rest)) = data.split_first_chunk::<18>() {
        hear(from, rest);
        hear(from, &[START, rest].concat());
    }
});

fn read(data: &[u8]) {
    let Ok(search) = decode(data) else { return };
    assert!(data.len() <= LAN_DATAGRAM_BYTES_MAX);
    assert!(search.port != 0);
    assert!((1..=LAN_INFOHASHES_MAX).contains(&search.infohashes.len()));
    let again = encode(Family::V6, search.port, &search.infohashes, HexCase::Upper, search.cookie);
    if again.len() <= LAN_DATAGRAM_BYTES_MAX {
        assert_eq!(decode(&again), Ok(search));
    }
}

fn hear(from: &[u8; 18], message: &[u8]) {
    let (ip, port) = from.split_at(16);
    let ip = Ipv6Addr::from(<[u8; 16]>::try_from(ip).expect("sixteen")).to_canonical();
    let from = SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]));
    let born = Instant::now();
    let mut lan = Lan::new(Config::default(), born, [1; 32]);
    let address = [192, 168, 1, 5].into();
    let own = Interface { index: 2, address, prefix_bits: 24 };
    lan.handle_input(born, Input::Interfaces(vec![own]));
    let announce = Input::Announce { channel: CHANNEL, infohash: INFOHASH, port: 7 };
    lan.handle_input(born, announce);
    while lan.poll_output().is_some() {}
    for second in 0..3 {
        let now = born + Duration::from_secs(100 * second);
        lan.handle_input(now, Input::Datagram { from, bytes: message.to_vec() });
        let outputs: Vec<_> = std::iter::from_fn(|| lan.poll_output()).collect();
        assert!(outputs.len() <= 1, "one message, one channel");
        for output in outputs {
            let Output::PeerFound { channel, address } = output else {
                panic!("an answer: {output:?}")
            };
            assert_eq!(channel, CHANNEL);
            assert_eq!(address.ip(), from.ip().to_canonical());
            assert!(address.port() != 0);
        }
    }
}

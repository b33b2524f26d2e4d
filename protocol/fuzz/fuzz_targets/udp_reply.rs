#![no_main]

use bitchat_protocol::limits::TRACKER_PEERS_MAX;
use bitchat_protocol::quic::{Class, classify};
use bitchat_protocol::tracker::peers::PeerSieve;
use bitchat_protocol::tracker::reply::plain_text;
use bitchat_protocol::tracker::udp::{self, Answer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let class = classify(data);
    assert_eq!(class == Class::TrackerReply, udp::transaction(data).is_some());
    match udp::decode(data) {
        Ok(Answer::Announced { peers, .. }) => {
            let teller = "198.51.100.7".parse().expect("an address");
            for v6 in [false, true] {
                let mut sieve = PeerSieve::new(teller);
                if v6 {
                    sieve.offer_compact_v6(peers);
                } else {
                    sieve.offer_compact_v4(peers);
                }
                let (kept, dropped) = sieve.finish();
                let size = if v6 { 18 } else { 6 };
                assert!(kept.len() <= TRACKER_PEERS_MAX);
                assert_eq!(kept.len() + dropped, peers.len().div_ceil(size));
            }
        }
        Ok(Answer::Refused { message }) => {
            assert!(!plain_text(message).chars().any(char::is_control));
        }
        Ok(Answer::Connected { .. }) | Err(_) => {}
    }
});

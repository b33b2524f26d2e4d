//! Write tokens (BEP 5, "get_peers"): proof that whoever announces has lately received an answer at its
//! address.
//!
//! ```text
//! token = first n bytes of BLAKE2b-128(secret, ip || infohash)
//! ```
//!
//! The secret changes every five minutes and the one before it still counts, so a token is good for
//! five to ten minutes. The infohash is in it as it is in libtorrent's.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::crypto::{Rng, Secret, hash};

use super::node_id::NodeId;

/// How long a secret is the newest one (BEP 5).
const SECRET_LIFETIME: Duration = Duration::from_secs(5 * 60);
const LABEL: &str = "bitchat v1 dht token";
/// Bytes that can be cut off to make a token.
const MAC_BYTES: usize = 16;

/// Makes tokens and knows its own again.
pub struct Tokens {
    present: Secret<32>,
    previous: Secret<32>,
    until: Instant,
    bytes: usize,
}

impl Tokens {
    /// Starts with fresh secrets; a token will have `bytes` bytes, 16 at most.
    #[must_use]
    pub fn new(bytes: usize, now: Instant, rng: &mut Rng) -> Self {
        let (present, previous) = (rng.secret(), rng.secret());
        Self { present, previous, until: now + SECRET_LIFETIME, bytes: bytes.clamp(1, MAC_BYTES) }
    }

    /// The token for `infohash`, to be given to `ip`.
    #[must_use]
    pub fn make(&self, ip: IpAddr, infohash: &NodeId) -> Vec<u8> {
        let mut token = code(&self.present, ip, infohash).to_vec();
        token.truncate(self.bytes);
        token
    }

    /// Whether `token` was given to `ip` for `infohash` not long ago.
    #[must_use]
    pub fn accepts(&self, token: &[u8], ip: IpAddr, infohash: &NodeId) -> bool {
        // Four bytes leave a guess one chance in 2^31; what protects is that few questions are
        // answered per source, so the comparison need not take constant time.
        token.len() == self.bytes
            && [&self.present, &self.previous]
                .into_iter()
                .any(|secret| code(secret, ip, infohash)[..self.bytes] == *token)
    }

    /// Renews the secret when it is due.
    pub fn advance(&mut self, now: Instant, rng: &mut Rng) {
        if now < self.until {
            return;
        }
        // After a long sleep the newest secret is too old to be accepted as well.
        let overslept = now >= self.until + SECRET_LIFETIME;
        let fresh = rng.secret();
        self.previous = std::mem::replace(&mut self.present, fresh);
        if overslept {
            self.previous = rng.secret();
        }
        self.until = now + SECRET_LIFETIME;
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(_)")
    }
}

fn code(secret: &Secret<32>, ip: IpAddr, infohash: &NodeId) -> [u8; MAC_BYTES] {
    let secret = secret.expose().as_slice();
    match ip.to_canonical() {
        IpAddr::V4(ip) => hash::mac(secret, LABEL, &[&ip.octets(), &infohash.0]),
        IpAddr::V6(ip) => hash::mac(secret, LABEL, &[&ip.octets(), &infohash.0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        tokens: Tokens,
        rng: Rng,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
            let now = Instant::now();
            let mut rng = Rng::from_seed([1; 32]);
            Self { tokens: Tokens::new(4, now, &mut rng), rng, now }
        }

        fn wait(&mut self, minutes: u64) {
            self.now += Duration::from_secs(60 * minutes);
            self.tokens.advance(self.now, &mut self.rng);
        }
    }

    const HASH: NodeId = NodeId([1; 20]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_is_good_for_its_address_and_infohash_alone() {
        let bench = Bench::new();
        let token = bench.tokens.make(ip("8.8.8.8"), &HASH);
        assert_eq!(token.len(), 4);
        assert!(bench.tokens.accepts(&token, ip("8.8.8.8"), &HASH));
        assert!(bench.tokens.accepts(&token, ip("::ffff:8.8.8.8"), &HASH));
        assert!(!bench.tokens.accepts(&token, ip("8.8.8.9"), &HASH));
        assert!(!bench.tokens.accepts(&token, ip("8.8.8.8"), &NodeId([2; 20])));
    }

    #[test]
    fn a_token_of_another_length_is_refused() {
        let bench = Bench::new();
        let token = bench.tokens.make(ip("8.8.8.8"), &HASH);
        for wrong in [&b""[..], &token[..3], &[token.as_slice(), b"x"].concat(), &[0; 1024]] {
            assert!(!bench.tokens.accepts(wrong, ip("8.8.8.8"), &HASH));
        }
    }

    #[test]
    fn a_token_lives_five_to_ten_minutes() {
        let mut bench = Bench::new();
        let token = bench.tokens.make(ip("8.8.8.8"), &HASH);
        bench.wait(5);
        assert_ne!(bench.tokens.make(ip("8.8.8.8"), &HASH), token);
        assert!(bench.tokens.accepts(&token, ip("8.8.8.8"), &HASH));
        bench.wait(5);
        assert!(!bench.tokens.accepts(&token, ip("8.8.8.8"), &HASH));
    }

    #[test]
    fn a_token_does_not_survive_a_suspended_machine() {
        let mut bench = Bench::new();
        let token = bench.tokens.make(ip("8.8.8.8"), &HASH);
        bench.wait(600);
        assert!(!bench.tokens.accepts(&token, ip("8.8.8.8"), &HASH));
    }
}

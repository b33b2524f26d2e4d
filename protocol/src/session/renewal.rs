//! Fresh key shares for a live link.
//!
//! ```text
//!  dialler                                         listener
//!  ask entropy, (e, ek)
//!                  RenewOffer{n, E, EK}  ------->
//!                                                  ask entropy, (f), (k2, C) = Encaps(EK), g = now + 4
//!                                                  mix(g, s)
//!  mix(g, s)       <-----  RenewAnswer{n, F, C, g}
//!  update          RenewConfirm{n}       ------->
//!                  <-----  RenewConfirm{n}         and again every second, until g is passed
//!
//!  s = BLAKE2b-256(key = DH(e, F) || k2, "bitchat v1 renewal",
//!                  handshake hash, n, E, EK, F, C, g)
//! ```
//!
//! The listener mixes before it answers and the dialler before it updates, so nobody reaches
//! generation `g` before both have `s`. Every offer that was answered has been mixed by the
//! listener, so the dialler keeps the shares of each offer until its answer.
//!
//! Each pair of shares is made with entropy that did not exist before it was asked for: whoever
//! stole all that a session holds does not know them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Close;
use crate::crypto::dh::{self, KeyPair};
use crate::crypto::kem::{self, KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_BYTES, KemKeyPair};
use crate::crypto::{Rng, Secret, hash};
use crate::limits::RENEW_OFFERS_OPEN_MAX;
use crate::wire::{Frame, RenewAnswer, RenewConfirm, RenewOffer};

const RENEWAL_LABEL: &str = "bitchat v1 renewal";

/// How far ahead of the present generation the secret is mixed in: the link may update its keys by
/// itself that often while the answer travels.
const GENERATIONS_AHEAD: u64 = 4;
/// A listener's choice further ahead than this would never be reached.
const GENERATIONS_AHEAD_MAX: u64 = 64;
/// An offer without answer is followed by another after this time.
const ANSWER_OVERDUE: Duration = Duration::from_secs(30);
/// Between two forced updates: one must have been acknowledged before the next counts.
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);
/// Forced updates for one renewal at most: ten minutes of them. Five must get through, and each
/// takes a round trip and three probe timeouts, together nearly a minute with a round trip of 4 s.
const UPDATES_MAX: u32 = 600;

/// What a step of the renewal asks for, in this order.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) entropy: bool,
    pub(super) mix: Option<(u64, Secret<32>)>,
    pub(super) update: bool,
    pub(super) frame: Option<Frame>,
}

/// The public half of a renewal: everything that the secret is bound to besides the shares.
struct Transcript<'a> {
    handshake_hash: &'a [u8; 64],
    offer_dh: &'a [u8; 32],
    offer_kem: &'a [u8],
    answer: &'a RenewAnswer,
}

fn secret(dh: &Secret<32>, kem: &Secret<32>, transcript: &Transcript<'_>) -> Secret<32> {
    let mut key = Secret::new([0; 64]);
    key.expose_mut()[..32].copy_from_slice(dh.expose());
    key.expose_mut()[32..].copy_from_slice(kem.expose());
    let answer = transcript.answer;
    let parts: [&[u8]; 7] = [
        transcript.handshake_hash,
        &answer.number.to_be_bytes(),
        transcript.offer_dh,
        transcript.offer_kem,
        &answer.dh,
        &answer.kem,
        &answer.generation.to_be_bytes(),
    ];
    hash::derive(key.expose(), RENEWAL_LABEL, &parts)
}

/// The dialler's side.
#[derive(Debug)]
pub(super) struct Offering {
    interval: Duration,
    /// Offers without answer, oldest first.
    open: VecDeque<Shares>,
    number: u32,
    phase: Phase,
}

#[derive(Debug)]
struct Shares {
    number: u32,
    dh: KeyPair,
    kem: KemKeyPair,
}

#[derive(Debug)]
enum Phase {
    /// The next offer is due then.
    Idle { offer_at: Instant },
    /// The next offer is made as soon as there is entropy for it.
    Asking,
    /// An offer is out; another follows then.
    Offered { overdue_at: Instant },
    /// Both have the secret; the keys move on until its generation is passed.
    Updating { number: u32, generation: u64, update_at: Instant, updates: u32 },
}

impl Offering {
    pub(super) fn new(now: Instant, interval: Duration, rng: &mut Rng) -> Self {
        let phase = Phase::Idle { offer_at: now + jittered(interval, rng) };
        Self { interval, open: VecDeque::new(), number: 0, phase }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle { offer_at } => Some(*offer_at),
            Phase::Asking => None,
            Phase::Offered { overdue_at } => Some(*overdue_at),
            Phase::Updating { update_at, .. } => Some(*update_at),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<Step, Close> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return Ok(Step::default());
        }
        match &mut self.phase {
            Phase::Idle { .. } | Phase::Asking | Phase::Offered { .. } => {
                if self.open.len() == RENEW_OFFERS_OPEN_MAX {
                    return Err(Close::RenewalFailed);
                }
                self.phase = Phase::Asking;
                Ok(Step { entropy: true, ..Step::default() })
            }
            Phase::Updating { number, update_at, updates, .. } => {
                if *updates == UPDATES_MAX {
                    return Err(Close::RenewalFailed);
                }
                *updates += 1;
                *update_at = now + UPDATE_INTERVAL;
                Ok(update(*number))
            }
        }
    }

    /// Makes the offer that entropy was asked for. `rng` must serve nothing else.
    pub(super) fn offer(&mut self, now: Instant, rng: &mut Rng) -> Result<Step, Close> {
        if !matches!(self.phase, Phase::Asking) {
            return Ok(Step::default());
        }
        self.number = self.number.checked_add(1).ok_or(Close::RenewalFailed)?;
        let (dh, kem) = (KeyPair::generate(rng), KemKeyPair::generate(rng));
        let offer =
            RenewOffer { number: self.number, dh: *dh.public(), kem: kem.public().to_vec() };
        self.open.push_back(Shares { number: self.number, dh, kem });
        self.phase = Phase::Offered { overdue_at: now + ANSWER_OVERDUE };
        Ok(Step { frame: Some(Frame::RenewOffer(offer)), ..Step::default() })
    }

    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        generation: u64,
        handshake_hash: &[u8; 64],
        answer: &RenewAnswer,
    ) -> Result<Step, Close> {
        // Offers are answered in their order, and none is left out.
        let shares = self.open.pop_front().filter(|shares| shares.number == answer.number);
        let shares = shares.ok_or(Close::Violation)?;
        if answer.generation > generation.saturating_add(GENERATIONS_AHEAD_MAX) {
            return Err(Close::Violation);
        }
        if answer.generation <= generation {
            return Err(Close::RenewalFailed);
        }
        let ciphertext: &[u8; KEM_CIPHERTEXT_BYTES] =
            answer.kem.as_slice().try_into().map_err(|_| Close::Violation)?;
        let dh_shared = shares.dh.agree(&answer.dh).map_err(|_| Close::Violation)?;
        let kem_shared = shares.kem.decapsulate(ciphertext);
        let transcript = Transcript {
            handshake_hash,
            offer_dh: shares.dh.public(),
            offer_kem: shares.kem.public(),
            answer,
        };
        let secret = secret(&dh_shared, &kem_shared, &transcript);
        self.phase = Phase::Updating {
            number: answer.number,
            generation: answer.generation,
            update_at: now + UPDATE_INTERVAL,
            updates: 1,
        };
        Ok(Step { mix: Some((answer.generation, secret)), ..update(answer.number) })
    }

    /// Takes note of the link's generation of keys.
    pub(super) fn on_generation(&mut self, now: Instant, reached: u64, rng: &mut Rng) {
        if let Phase::Updating { generation, .. } = &self.phase
            && reached > *generation
        {
            self.phase = if self.open.is_empty() {
                Phase::Idle { offer_at: now + jittered(self.interval, rng) }
            } else {
                Phase::Offered { overdue_at: now + ANSWER_OVERDUE }
            };
        }
    }

    /// Whether the listener may say that it knows of our confirmation.
    pub(super) const fn has_offered(&self, number: u32) -> bool {
        number >= 1 && number <= self.number
    }
}

fn update(number: u32) -> Step {
    let confirm = Frame::RenewConfirm(RenewConfirm { number });
    Step { update: true, frame: Some(confirm), ..Step::default() }
}

/// The interval less or more a tenth, so that the links of a mesh do not renew all at once.
fn jittered(interval: Duration, rng: &mut Rng) -> Duration {
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    interval / 10 * 9 + Duration::from_millis(rng.below(millis / 5 + 1))
}

/// The listener's side.
#[derive(Debug, Default)]
pub(super) struct Answering {
    /// The newest offer seen.
    number: u32,
    /// The newest offer answered, and the generation its secret is mixed into.
    answered: u32,
    mixed_into: u64,
    /// Offers that wait until that generation is reached, and then for entropy.
    waiting: VecDeque<RenewOffer>,
    asking: bool,
}

impl Answering {
    pub(super) fn on_offer(&mut self, offer: RenewOffer) -> Result<(), Close> {
        let in_order = self.number.checked_add(1) == Some(offer.number);
        if !in_order || self.waiting.len() == RENEW_OFFERS_OPEN_MAX {
            return Err(Close::Violation);
        }
        self.number = offer.number;
        self.waiting.push_back(offer);
        Ok(())
    }

    /// Asks for entropy, once, when an offer waits and the last secret is in use.
    pub(super) fn ask(&mut self, generation: u64) -> Step {
        let ready = generation >= self.mixed_into && !self.waiting.is_empty();
        let entropy = ready && !self.asking;
        self.asking |= entropy;
        Step { entropy, ..Step::default() }
    }

    /// Answers the oldest offer that waits. `rng` must serve nothing else.
    pub(super) fn answer(
        &mut self,
        generation: u64,
        handshake_hash: &[u8; 64],
        rng: &mut Rng,
    ) -> Result<Step, Close> {
        if !std::mem::take(&mut self.asking) {
            return Ok(Step::default());
        }
        let Some(offer) = self.waiting.pop_front() else { return Ok(Step::default()) };
        let encapsulation_key: &[u8; KEM_PUBLIC_BYTES] =
            offer.kem.as_slice().try_into().map_err(|_| Close::Violation)?;
        let pair = dh::KeyPair::generate(rng);
        let dh_shared = pair.agree(&offer.dh).map_err(|_| Close::Violation)?;
        let (ciphertext, kem_shared) =
            kem::encapsulate(rng, encapsulation_key).map_err(|_| Close::Violation)?;
        let answer = RenewAnswer {
            number: offer.number,
            dh: *pair.public(),
            kem: ciphertext.to_vec(),
            generation: generation.saturating_add(GENERATIONS_AHEAD),
        };
        let transcript = Transcript {
            handshake_hash,
            offer_dh: &offer.dh,
            offer_kem: &offer.kem,
            answer: &answer,
        };
        let secret = secret(&dh_shared, &kem_shared, &transcript);
        self.answered = answer.number;
        self.mixed_into = answer.generation;
        let mix = Some((answer.generation, secret));
        let frame = Some(Frame::RenewAnswer(answer));
        Ok(Step { mix, frame, ..Step::default() })
    }

    /// Says the confirmation back: the dialler learns that its update has arrived.
    pub(super) fn on_confirm(&self, confirm: &RenewConfirm) -> Result<Step, Close> {
        if confirm.number == 0 || confirm.number > self.answered {
            return Err(Close::Violation);
        }
        let frame = Frame::RenewConfirm(confirm.clone());
        Ok(Step { frame: Some(frame), ..Step::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DH: [u8; 32] = [1; 32];
    const KEM: [u8; 32] = [2; 32];

    fn answer() -> RenewAnswer {
        RenewAnswer { number: 1, dh: [3; 32], kem: vec![4; KEM_CIPHERTEXT_BYTES], generation: 5 }
    }

    fn derived(
        dh: [u8; 32],
        kem: [u8; 32],
        hash: [u8; 64],
        offer_dh: [u8; 32],
        offer_kem: &[u8],
        answer: &RenewAnswer,
    ) -> Secret<32> {
        let transcript =
            Transcript { handshake_hash: &hash, offer_dh: &offer_dh, offer_kem, answer };
        secret(&Secret::new(dh), &Secret::new(kem), &transcript)
    }

    #[test]
    fn changing_any_one_input_changes_the_secret() {
        let (hash, offer_dh, offer_kem) = ([7; 64], [8; 32], vec![9; KEM_PUBLIC_BYTES]);
        let base = derived(DH, KEM, hash, offer_dh, &offer_kem, &answer());
        assert_eq!(base, derived(DH, KEM, hash, offer_dh, &offer_kem, &answer()));

        let only_dh = derived([0; 32], KEM, hash, offer_dh, &offer_kem, &answer());
        assert_ne!(base, only_dh);
        let only_kem = derived(DH, [0; 32], hash, offer_dh, &offer_kem, &answer());
        assert_ne!(base, only_kem);
        let only_handshake = derived(DH, KEM, [0; 64], offer_dh, &offer_kem, &answer());
        assert_ne!(base, only_handshake);
        let only_offer_dh = derived(DH, KEM, hash, [0; 32], &offer_kem, &answer());
        assert_ne!(base, only_offer_dh);
        let mut changed = offer_kem.clone();
        changed[KEM_PUBLIC_BYTES - 1] ^= 1;
        assert_ne!(base, derived(DH, KEM, hash, offer_dh, &changed, &answer()));
        for only in [
            RenewAnswer { number: 2, ..answer() },
            RenewAnswer { dh: [0; 32], ..answer() },
            RenewAnswer { kem: vec![0; KEM_CIPHERTEXT_BYTES], ..answer() },
            RenewAnswer { generation: 6, ..answer() },
        ] {
            assert_ne!(base, derived(DH, KEM, hash, offer_dh, &offer_kem, &only), "{only:?}");
        }
    }

    fn counting<const N: usize>(first: usize) -> [u8; N] {
        std::array::from_fn(|at| u8::try_from((first + at) % 256).unwrap())
    }

    #[test]
    fn the_secret_is_that_of_the_vector() {
        let vectors = include_str!("../../../docs/spec/vectors/session.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let offer_kem = counting::<KEM_PUBLIC_BYTES>(3);
        let kem = counting::<KEM_CIPHERTEXT_BYTES>(5).to_vec();
        let answer = RenewAnswer { number: 7, dh: counting(4), kem, generation: 11 };
        let secret =
            derived(counting(1), counting(33), counting(0), counting(2), &offer_kem, &answer);
        let expected = vectors["renewal"]["secret"].as_str().unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(secret.expose()), expected);
    }
}

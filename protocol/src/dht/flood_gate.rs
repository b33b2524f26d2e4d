//! How many questions are answered, for each asker and in all.
//!
//! libtorrent's measures: who asks more than 50 times in 10 seconds is ignored for 5 minutes, and all
//! answers together get 8000 bytes per second. A stranger who writes a victim's address on his
//! questions gets little out of us.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::limits::{DHT_ANSWER_BYTES_PER_SECOND, DHT_ASKERS_MAX, DHT_QUESTIONS_PER_SECOND_MAX};
use crate::scope::Scope;

/// How long questions are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// How long who asks too much is ignored.
const SILENCE: Duration = Duration::from_secs(5 * 60);
/// How many seconds' worth of answers may go at once.
const BURST_SECONDS: u32 = 3;

#[derive(Debug, Clone, Copy)]
struct Asker {
    questions: u32,
    /// The end of the window, or of the silence.
    until: Instant,
    ignored: bool,
}

/// Counts questions per asker.
#[derive(Debug, Default)]
pub struct FloodGate {
    askers: HashMap<SocketAddr, Asker>,
}

impl FloodGate {
    /// Counts a question; tells whether it may be answered.
    pub fn admits(&mut self, from: SocketAddr, now: Instant) -> bool {
        // All ports of a global address are one asker; elsewhere many nodes share an address.
        let global = Scope::of(from.ip()) == Scope::Global;
        let key = SocketAddr::new(from.ip(), if global { 0 } else { from.port() });
        if self.askers.len() >= DHT_ASKERS_MAX && !self.askers.contains_key(&key) {
            self.make_room(now);
        }
        let fresh = Asker { questions: 0, until: now + WINDOW, ignored: false };
        let asker = self.askers.entry(key).or_insert(fresh);
        if now >= asker.until {
            *asker = fresh;
        }
        asker.questions = asker.questions.saturating_add(1);
        let too_many = asker.questions > DHT_QUESTIONS_PER_SECOND_MAX * WINDOW.as_secs() as u32;
        if too_many && !asker.ignored {
            *asker = Asker { until: now + SILENCE, ignored: true, ..*asker };
        }
        !asker.ignored
    }

    /// Forgets those whose time is over; if there are none, whoever has been counted longest.
    fn make_room(&mut self, now: Instant) {
        self.askers.retain(|_, asker| now < asker.until);
        if self.askers.len() >= DHT_ASKERS_MAX
            && let Some(oldest) =
                self.askers.iter().min_by_key(|(_, asker)| asker.until).map(|(key, _)| *key)
        {
            self.askers.remove(&oldest);
        }
    }
}

/// What may still be sent in answers.
#[derive(Debug)]
pub struct AnswerBudget {
    bytes: u32,
    at: Instant,
}

impl AnswerBudget {
    /// Starts with a full budget.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { bytes: DHT_ANSWER_BYTES_PER_SECOND * BURST_SECONDS, at: now }
    }

    /// Takes `bytes` out of the budget, if it has them.
    pub fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_millis().min(60_000) as u32;
        // Below a millisecond the clock stands still, so that no part of a byte is lost.
        if elapsed > 0 {
            let earned = elapsed.saturating_mul(DHT_ANSWER_BYTES_PER_SECOND) / 1000;
            let full = DHT_ANSWER_BYTES_PER_SECOND * BURST_SECONDS;
            self.bytes = self.bytes.saturating_add(earned).min(full);
            self.at = now;
        }
        let Some(left) = u32::try_from(bytes).ok().and_then(|it| self.bytes.checked_sub(it)) else {
            return false;
        };
        self.bytes = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
        Instant::now()
    }

    fn from(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_asks_five_times_a_second_is_answered_for_ever() {
        let (mut gate, start) = (FloodGate::default(), now());
        for at in 0..3000 {
            assert!(gate.admits(from("8.8.8.8:1"), start + Duration::from_millis(200 * at)));
        }
    }

    #[test]
    fn who_floods_us_from_any_port_is_ignored_for_five_minutes_and_nobody_else() {
        let (mut gate, start) = (FloodGate::default(), now());
        let admitted = |gate: &mut FloodGate, count: u16, at: u64| {
            let at = start + Duration::from_secs(at);
            (0..count).filter(|it| gate.admits(from(&format!("8.8.8.8:{}", it + 1)), at)).count()
        };
        assert_eq!(admitted(&mut gate, 1000, 0), 50);
        assert_eq!(admitted(&mut gate, 10, 299), 0);
        assert!(gate.admits(from("8.8.4.4:1"), start));
        assert_eq!(admitted(&mut gate, 10, 300), 10);
    }

    #[test]
    fn nodes_on_this_machine_are_counted_each_for_itself() {
        let (mut gate, start) = (FloodGate::default(), now());
        let _ = (0..100).filter(|_| gate.admits(from("127.0.0.1:1"), start)).count();
        assert!(!gate.admits(from("127.0.0.1:1"), start));
        assert!(gate.admits(from("127.0.0.1:2"), start));
    }

    #[test]
    fn a_flood_from_made_up_addresses_fills_nothing() {
        let (mut gate, start) = (FloodGate::default(), now());
        for at in 0..10_000_u32 {
            let [_, _, high, low] = at.to_be_bytes();
            assert!(gate.admits(from(&format!("8.8.{high}.{low}:1")), start));
        }
        assert_eq!(gate.askers.len(), DHT_ASKERS_MAX);
    }

    #[test]
    fn answers_get_eight_kilobytes_a_second() {
        let start = now();
        let mut budget = AnswerBudget::new(start);
        let sent = (0..100_000_u64)
            .filter(|at| budget.take(500, start + Duration::from_micros(100 * at)))
            .count();
        // Ten seconds, and three seconds' worth that may go at once.
        let bytes = sent * 500;
        assert!((13 * 8000 - 500..=13 * 8000).contains(&bytes), "{bytes}");
        assert!(!AnswerBudget::new(start).take(usize::MAX, start));
    }
}

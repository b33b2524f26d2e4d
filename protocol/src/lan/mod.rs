//! Finds members on the local network as BitTorrent clients find each other there (BEP 14).
//!
//! ```text
//!  Announce --> [torrent] --at once--> three packets, 0, 2 and 6 s --.
//!                 ^  |                                               |
//!                 |  '-- its turn: each torrent once in 300 s -------+--> Send, on each of our addresses
//!                 |                                                  |
//!  Hurry ---------'-- at once, at most once a minute ----------------'
//!  Interfaces -- an address that is new announces all at once -------'
//!
//!  Datagram --> near? turn? not ours? --> infohash of a channel --> news? --> PeersFound
//! ```
//!
//! That is libtorrent's rhythm; [`LanHabit`] has others. Nobody is answered: whoever hears an announce
//! dials, and the handshake proves everything. So a newcomer's own announce is enough.
//!
//! The infohash is that of [`crate::channel::ChannelKeys::lan_infohash`].
//!
//! Not here: sockets and which interfaces there are (the driver), dialling ([`crate::mesh`]).
//!
//! Spec: `docs/spec/08-lan.md`; BEP 14.

mod api;
mod habit;
mod heard;
pub mod message;
mod status;
#[cfg(test)]
mod tests;
mod torrent;
mod voice;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

pub use self::api::{Config, Counters, Input, Interface, Output};
pub use self::habit::{Cookie, HexCase, LanHabit, Rhythm, Voices};
use self::heard::{Heard, News, address_of, is_near};
pub use self::message::Family;
pub use self::status::Status;
use self::torrent::Torrent;
use self::voice::{Voice, repeat, speaking};
use crate::crypto::Rng;
use crate::id::{ChannelId, InfoHash};
use crate::limits::CHANNELS_MAX;
use crate::machine::Machine;

/// Shortest pause between two announces of one torrent (BEP 14: "no more than 1 announce per minute").
const HURRY_AFTER: Duration = Duration::from_secs(60);

/// Bytes of a message with several infohashes: what Transmission keeps to.
const MESSAGE_BYTES_MAX: usize = 1400;

/// Torrents at once: two for each channel, as around midnight there are two epochs.
const TORRENTS_MAX: usize = 2 * CHANNELS_MAX;

/// The machine; see the module.
#[derive(Debug)]
pub struct Lan {
    config: Config,
    now: Instant,
    rng: Rng,
    session_cookie: Option<String>,
    interfaces: Vec<Interface>,
    voices: Vec<Voice>,
    /// In the order in which they were started.
    torrents: Vec<Torrent>,
    /// Whose turn it is next.
    turn: usize,
    turn_at: Instant,
    heard: Heard,
    counters: Counters,
    outputs: VecDeque<Output>,
}

impl Lan {
    /// Begins without an interface and without a channel.
    #[must_use]
    pub fn new(config: Config, now: Instant, seed: [u8; 32]) -> Self {
        let mut rng = Rng::from_seed(seed);
        let cookie = config.habit.cookie;
        let session_cookie = cookie.is_per_session().then(|| cookie.make(&mut rng)).flatten();
        Self {
            config,
            now,
            rng,
            session_cookie,
            interfaces: Vec::new(),
            voices: Vec::new(),
            torrents: Vec::new(),
            turn: 0,
            turn_at: now + first_turn(config.habit.rhythm),
            heard: Heard::new(now),
            counters: Counters::default(),
            outputs: VecDeque::new(),
        }
    }

    /// What came to the groups so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn on_announce(&mut self, channel: ChannelId, infohash: InfoHash, port: u16) {
        if let Some(torrent) = self.torrents.iter_mut().find(|torrent| torrent.infohash == infohash)
        {
            torrent.port = port;
            return;
        }
        if self.torrents.len() >= TORRENTS_MAX {
            return;
        }
        self.skip_idle_turns();
        self.torrents.push(Torrent::new(channel, infohash, port));
        self.announce_at_start(self.torrents.len() - 1);
    }

    fn announce_at_start(&mut self, at: usize) {
        match self.config.habit.rhythm {
            Rhythm::EachInTurn { .. } => self.announce(at),
            // It is due, and waits for the tick.
            Rhythm::Together { .. } => {}
        }
    }

    fn on_withdraw(&mut self, channel: ChannelId, infohash: Option<InfoHash>) {
        let is_meant = |torrent: &Torrent| {
            torrent.channel == channel
                && infohash.is_none_or(|infohash| torrent.infohash == infohash)
        };
        let before_turn = self.torrents.iter().take(self.turn).filter(|t| is_meant(t)).count();
        self.turn -= before_turn;
        for torrent in self.torrents.iter().filter(|torrent| is_meant(torrent)) {
            for voice in &mut self.voices {
                voice.repeat = voice.repeat.filter(|repeat| repeat.infohash != torrent.infohash);
            }
        }
        self.torrents.retain(|torrent| !is_meant(torrent));
        if self.torrents.iter().all(|torrent| torrent.channel != channel) {
            self.heard.forget(&channel);
        }
    }

    fn on_hurry(&mut self, channel: ChannelId) {
        for torrent in self.torrents.iter_mut().filter(|torrent| torrent.channel == channel) {
            let again_at = torrent.announced_at.map_or(self.now, |at| at + HURRY_AFTER);
            torrent.hurry_at = Some(again_at.max(self.now));
        }
        self.settle();
    }

    fn on_interfaces(&mut self, mut interfaces: Vec<Interface>) {
        interfaces.retain(|interface| match interface.family() {
            Family::V4 => self.config.ipv4,
            Family::V6 => self.config.ipv6,
        });
        interfaces.sort_unstable();
        interfaces.dedup();
        self.skip_idle_turns();
        let speaking = speaking(&interfaces, self.config.habit.voices);
        self.voices.retain(|voice| speaking.contains(&voice.interface));
        let old = self.voices.len();
        for interface in speaking {
            if self.voices[..old].iter().all(|voice| voice.interface != interface) {
                let cookie = match &self.session_cookie {
                    Some(cookie) => Some(cookie.clone()),
                    None => self.config.habit.cookie.make(&mut self.rng),
                };
                self.voices.push(Voice { interface, cookie, repeat: None });
            }
        }
        self.interfaces = interfaces;
        // As a client does that starts after the network came.
        if let Rhythm::EachInTurn { .. } = self.config.habit.rhythm {
            for at in 0..self.torrents.len() {
                self.announce_from(at, old);
            }
        }
    }

    /// Announces one torrent on all our addresses.
    fn announce(&mut self, at: usize) {
        self.announce_from(at, 0);
        if let Some(torrent) = self.torrents.get_mut(at) {
            torrent.hurry_at = None;
        }
    }

    /// Announces one torrent on those of our addresses that come after the first few.
    fn announce_from(&mut self, at: usize, first: usize) {
        let Some(torrent) = self.torrents.get_mut(at) else { return };
        let new = self.voices.get_mut(first..).unwrap_or_default();
        if new.is_empty() {
            return;
        }
        torrent.announced_at = Some(self.now);
        let torrent = *torrent;
        for voice in new {
            let bytes = voice.message(self.config.habit.hex, torrent.port, &[torrent.infohash]);
            self.outputs.push_back(Output::Send { via: voice.interface, bytes });
            voice.repeat = repeat(self.config.habit.rhythm, torrent.infohash, 0, self.now);
        }
    }

    fn repeat_due(&mut self) {
        let hex = self.config.habit.hex;
        for voice in &mut self.voices {
            let Some(due) = voice.repeat.filter(|repeat| repeat.at <= self.now) else { continue };
            let port = self.torrents.iter().find(|torrent| torrent.infohash == due.infohash);
            let Some(port) = port.map(|torrent| torrent.port) else { continue };
            let bytes = voice.message(hex, port, &[due.infohash]);
            self.outputs.push_back(Output::Send { via: voice.interface, bytes });
            voice.repeat = repeat(self.config.habit.rhythm, due.infohash, due.done + 1, self.now);
        }
    }

    /// Does what is due.
    fn settle(&mut self) {
        self.repeat_due();
        match self.config.habit.rhythm {
            Rhythm::EachInTurn { interval, .. } => self.take_turns(interval),
            Rhythm::Together { tick, interval } => self.take_ticks(tick, interval),
        }
    }

    /// Lets the turns pass that came while there was nothing to announce, or nowhere.
    fn skip_idle_turns(&mut self) {
        if self.is_idle() && self.turn_at <= self.now {
            self.turn_at = next_after(self.turn_at, first_turn(self.config.habit.rhythm), self.now);
        }
    }

    const fn is_idle(&self) -> bool {
        self.torrents.is_empty() || self.voices.is_empty()
    }

    fn take_turns(&mut self, interval: Duration) {
        for at in 0..self.torrents.len() {
            if self.torrents[at].hurry_at.is_some_and(|hurry_at| hurry_at <= self.now) {
                self.announce(at);
            }
        }
        if self.turn_at <= self.now {
            let pause = self.pause_between_turns(interval);
            // After a suspension the turns that were missed stay missed.
            let on_time = self.turn_at + pause;
            self.turn_at = if on_time > self.now { on_time } else { self.now + pause };
            if self.turn >= self.torrents.len() {
                self.turn = 0;
            }
            self.announce(self.turn);
            self.turn += 1;
        }
    }

    fn pause_between_turns(&self, interval: Duration) -> Duration {
        let share = u32::try_from(self.torrents.len().max(1)).unwrap_or(u32::MAX);
        (interval / share).max(Duration::from_secs(1))
    }

    fn take_ticks(&mut self, tick: Duration, interval: Duration) {
        if self.turn_at > self.now {
            return;
        }
        let now = self.now;
        self.turn_at = next_after(self.turn_at, tick, now);
        let due: Vec<usize> = (0..self.torrents.len())
            .filter(|at| self.torrents[*at].is_due(now, interval))
            .collect();
        let per_message = infohashes_per_message();
        for some in due.chunks(per_message) {
            // All torrents have one port; where it just changed, the last one told is right.
            let torrents = some.iter().filter_map(|at| self.torrents.get(*at));
            let Some(port) = torrents.clone().map(|torrent| torrent.port).next_back() else {
                continue;
            };
            let infohashes: Vec<InfoHash> = torrents.map(|torrent| torrent.infohash).collect();
            for voice in &self.voices {
                let bytes = voice.message(self.config.habit.hex, port, &infohashes);
                self.outputs.push_back(Output::Send { via: voice.interface, bytes });
            }
        }
        for at in due {
            self.torrents[at].announced_at = Some(now);
            self.torrents[at].hurry_at = None;
        }
    }

    fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let source = from.ip().to_canonical();
        if !is_near(source, &self.interfaces) {
            self.counters.from_afar += 1;
            return;
        }
        if !self.heard.has_turn(self.now, source) {
            self.counters.too_many += 1;
            return;
        }
        let Ok(search) = message::decode(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        let Some(address) = address_of(from, search.port) else {
            self.counters.malformed += 1;
            return;
        };
        if self.is_own(&search, source) {
            self.counters.own += 1;
            return;
        }
        let mut others = true;
        for infohash in &search.infohashes {
            let torrent = self.torrents.iter_mut().find(|torrent| torrent.infohash == *infohash);
            let Some(torrent) = torrent else { continue };
            torrent.heard += 1;
            torrent.heard_at = Some(self.now);
            let channel = torrent.channel;
            others = false;
            match self.heard.judge(self.now, channel, address) {
                News::PassOn => {
                    self.counters.found += 1;
                    self.outputs.push_back(Output::PeerFound { channel, address });
                }
                News::Again => self.counters.again += 1,
                News::TooMany => self.counters.held_back += 1,
            }
        }
        self.counters.others += u64::from(others);
    }

    /// Whether we have sent this: by its cookie, or else by its address.
    fn is_own(&self, search: &message::Search<'_>, source: IpAddr) -> bool {
        let cookie = search.cookie.is_some_and(|cookie| {
            self.voices.iter().any(|voice| voice.cookie.as_deref() == Some(cookie))
        });
        let ours = self.interfaces.iter().any(|interface| interface.address == source);
        cookie || ours && self.torrents.iter().any(|torrent| torrent.port == search.port)
    }
}

const fn first_turn(rhythm: Rhythm) -> Duration {
    match rhythm {
        Rhythm::EachInTurn { interval, .. } => interval,
        Rhythm::Together { tick, .. } => tick,
    }
}

fn infohashes_per_message() -> usize {
    let fits = |count: &usize| message::encoded_len_max(*count) <= MESSAGE_BYTES_MAX;
    (1..).take_while(fits).last().unwrap_or(1)
}

/// The first of the times `at`, `at + period`, ... that comes after `now`.
fn next_after(at: Instant, period: Duration, now: Instant) -> Instant {
    let passed = now.saturating_duration_since(at).as_nanos() / period.as_nanos().max(1);
    at + period * u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1)
}

impl Machine for Lan {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Announce { channel, infohash, port } => {
                self.on_announce(channel, infohash, port);
            }
            Input::Withdraw { channel, infohash } => self.on_withdraw(channel, infohash),
            Input::Hurry(channel) => self.on_hurry(channel),
            Input::Interfaces(interfaces) => self.on_interfaces(interfaces),
            Input::Datagram { from, bytes } => self.on_datagram(from, &bytes),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.settle();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        let repeats = self.voices.iter().filter_map(|voice| voice.repeat).map(|repeat| repeat.at);
        let hurries = match self.config.habit.rhythm {
            Rhythm::EachInTurn { .. } => self.torrents.as_slice(),
            // The next tick is soon enough.
            Rhythm::Together { .. } => &[],
        };
        let hurries = hurries.iter().filter_map(|torrent| torrent.hurry_at);
        repeats.chain(hurries).chain([self.turn_at]).min()
    }
}

//! Habits of a client that a profile names: pauses, IP versions, keys, ports.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::crypto::Rng;

/// Over which IP versions a client asks a tracker that has addresses of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// Over both, each on its own.
    Both,
    /// Over one: IPv6, and IPv4 where that fails.
    Ipv6First,
    /// Over IPv4 alone.
    Ipv4,
}

/// Which trackers a client tells that it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Those that have taken an announce.
    Answered,
    /// Those, too, to which an announce has left: over UDP they have answered a connect request.
    Announced,
    /// All that were asked, if only for a connection.
    Asked,
}

/// How long a drawn key lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyScope {
    /// Another for each channel.
    Channel,
    /// One for all that a run announces.
    Session,
}

/// What makes the last character of a peer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerIdCheck {
    /// It is drawn like the others.
    None,
    /// It makes the sum of all positions in the alphabet a multiple of the alphabet's length.
    Sum,
}

/// A pause, and how much of chance is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// The shortest.
    pub least: Duration,
    /// A part of this is added, drawn each time.
    pub spread: Duration,
}

impl Pause {
    /// Draws one, to the millisecond.
    #[must_use]
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        let spread = u64::try_from(self.spread.as_millis()).unwrap_or(u64::MAX);
        match spread {
            0 => self.least,
            spread => self.least + Duration::from_millis(rng.below(spread + 1)),
        }
    }

    /// Reads `20` or `300+60`, in units of `unit`; zero is for chance alone.
    pub(super) fn parse(text: &str, unit: Duration) -> Option<Self> {
        let (least, spread) = text.split_once('+').unwrap_or((text, "0"));
        let (least, spread) = (least.parse::<u32>().ok()?, spread.parse::<u32>().ok()?);
        let pause = Self { least: unit * least, spread: unit * spread };
        (unit * least + unit * spread > Duration::ZERO).then_some(pause)
    }
}

/// Pauses by how often something went wrong; the last one holds from there on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pauses {
    first: Pause,
    later: Vec<Pause>,
}

impl Pauses {
    /// Draws the pause after the `count`-th time, counted from 1.
    #[must_use]
    pub fn after(&self, count: u32, rng: &mut Rng) -> Duration {
        let at = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        let pause = match at.checked_sub(1) {
            None => &self.first,
            Some(at) => self.later.get(at).or(self.later.last()).unwrap_or(&self.first),
        };
        pause.draw(rng)
    }

    /// Reads pauses in seconds, with blanks between. Each is at least a second: no loop without a
    /// pause.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let second = Duration::from_secs(1);
        let read = |text| Pause::parse(text, second).filter(|pause| pause.least >= second);
        let mut pauses = text.split(' ').map(read);
        let first = pauses.next()??;
        Some(Self { first, later: pauses.collect::<Option<_>>()? })
    }
}

/// Where a client listens: ports and ranges of ports, in the order in which it tries them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

/// Ports of a range that are tried before the next range.
const TRIES_PER_RANGE: u32 = 32;

impl Ports {
    /// Chooses a port, as the client does at its first start: the first that `take` can have.
    #[must_use]
    pub fn choose(&self, rng: &mut Rng, mut take: impl FnMut(u16) -> bool) -> Option<u16> {
        self.0.iter().find_map(|range| {
            let count = u64::from(range.end() - range.start()) + 1;
            let tries = if count == 1 { 1 } else { TRIES_PER_RANGE };
            (0..tries).find_map(|_| {
                let offset = u16::try_from(rng.below(count)).unwrap_or(0);
                Some(range.start() + offset).filter(|port| take(*port))
            })
        })
    }

    /// Reads ports like `51413 49152-65535`; none below 1024, where one needs privileges.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let read = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
            (first >= 1024 && first <= last).then_some(first..=last)
        };
        text.split(' ').map(read).collect::<Option<Vec<_>>>().map(Self)
    }
}

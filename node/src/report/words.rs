//! Words and numbers that several reports share.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bitchat_actors::mesh_manager::Completeness;
use bitchat_protocol::id::PeerId;
use bitchat_protocol::text::{escape_for_terminal, escape_name_for_terminal};
use bitchat_protocol::tracker::announcer::Family;

/// How much of a mesh stands, in a word.
pub(crate) const fn mesh(mesh: Completeness) -> &'static str {
    match mesh {
        Completeness::Full => "full",
        Completeness::Partial => "partial",
        Completeness::None => "none",
    }
}

/// A name that cannot end before its end: nobody can put words into another's mouth by a name such
/// as `alice: yes`.
pub(crate) fn safe_name(name: &str) -> String {
    escape_name_for_terminal(name)
}

/// The beginning of a peer's id.
pub(super) fn short(peer: &str) -> String {
    peer.parse::<PeerId>().map_or_else(|_| escape_for_terminal(peer).into(), |peer| peer.short())
}

/// Milliseconds from `earlier` to `later`; 0 when it is the other way round.
pub(super) fn milliseconds(later: Instant, earlier: Instant) -> u64 {
    let span = later.saturating_duration_since(earlier).as_millis();
    u64::try_from(span).unwrap_or(u64::MAX)
}

/// An IP version, for programs.
pub(super) const fn ip_word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// An IP version, for people.
pub(crate) fn shown_ip(ip: &str) -> Cow<'_, str> {
    match ip {
        "ipv4" => "IPv4".into(),
        "ipv6" => "IPv6".into(),
        other => escape_for_terminal(other),
    }
}

/// How many of something there are, for people.
pub(crate) fn counted(count: usize, what: &str, rest: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending} {rest}").trim_end().to_owned()
}

/// A time in at most two units, the largest that say something.
pub(crate) fn span(milliseconds: u64) -> String {
    let seconds = Duration::from_millis(milliseconds).as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, small: u64, units: [&str; 2]| match small {
        0 => format!("{large}{}", units[0]),
        small => format!("{large}{} {small}{}", units[0], units[1]),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, 1..10) => two(minutes, seconds % 60, ["m", "s"]),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, _) => two(hours, minutes % 60, ["h", "m"]),
        (_, _, _) => two(days, hours % 24, ["d", "h"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_two_units_at_most() {
        let cases = [
            (999, "0s"),
            (59_000, "59s"),
            (60_000, "1m"),
            (185_000, "3m 5s"),
            (1_796_000, "29m"),
            (7_500_000, "2h 5m"),
            (90_000_000, "1d 1h"),
            (172_800_000, "2d"),
        ];
        for (milliseconds, expected) in cases {
            assert_eq!(span(milliseconds), expected);
        }
    }
}

//! How a node does: the result of `status`. A new source of addresses is one more row of
//! [`ChannelReport::sources`] and no change here.

use std::net::SocketAddr;

use bitchat_actors::source::{SourceState, SourceStatus};
use bitchat_protocol::text::escape_for_terminal;
use bitchat_protocol::tracker::announcer::Family;
use serde::{Deserialize, Serialize};

use super::words::{safe_name, span};

/// How a node does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) peer: String,
    /// May be empty.
    pub(crate) name: String,
    pub(crate) profile: String,
    pub(crate) directory: String,
    pub(crate) uptime_ms: u64,
    pub(crate) port: u16,
    pub(crate) listening: Vec<SocketAddr>,
    pub(crate) interfaces: Vec<SocketAddr>,
    pub(crate) observed: Vec<Sighting>,
    pub(crate) nat: NatReport,
    pub(crate) clock: Option<ClockReport>,
    pub(crate) channels: Vec<ChannelReport>,
    pub(crate) dropped: Vec<DropReport>,
}

/// Where members see us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sighting {
    pub(crate) address: SocketAddr,
    /// Who, in text.
    pub(crate) by: Vec<String>,
}

/// What translates our addresses, as members tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NatReport {
    pub(crate) ipv4: String,
    pub(crate) ipv6: String,
}

/// A member's clock that was too far from ours for a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockReport {
    /// Of the member's; negative: it was behind.
    pub(crate) minutes_ahead: i64,
    pub(crate) ms_ago: u64,
}

/// How a channel does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChannelReport {
    pub(crate) id: String,
    pub(crate) name: String,
    /// `full`, `partial` or `none`.
    pub(crate) mesh: String,
    pub(crate) linked: usize,
    pub(crate) members: usize,
    pub(crate) sources: Vec<SourceReport>,
}

/// How a source of addresses does for one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceReport {
    pub(crate) kind: String,
    pub(crate) place: String,
    /// `ipv4` or `ipv6`, where it matters.
    pub(crate) ip: Option<String>,
    pub(crate) infohash: Option<String>,
    pub(crate) state: String,
    pub(crate) last_answer_ms_ago: Option<u64>,
    pub(crate) next_try_in_ms: Option<u64>,
    pub(crate) peers_found: usize,
    pub(crate) failures: u32,
    pub(crate) last_error: Option<String>,
    pub(crate) warning: Option<String>,
}

/// Something that was dropped, counted since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DropReport {
    pub(crate) what: String,
    pub(crate) words: String,
    pub(crate) count: u64,
}

impl SourceReport {
    /// A row as it stands at `now`.
    pub(crate) fn new(source: SourceStatus, now: std::time::Instant) -> Self {
        Self {
            kind: source.kind.word().into(),
            place: source.place,
            ip: source.family.map(|family| ip_word(family).into()),
            infohash: source.infohash.map(|infohash| infohash.to_string()),
            state: source.state.word().into(),
            last_answer_ms_ago: source.last_answer.map(|at| milliseconds(now, at)),
            next_try_in_ms: source.next_try.map(|at| milliseconds(at, now)),
            peers_found: source.peers_found,
            failures: source.failures,
            last_error: source.last_error,
            warning: source.warning,
        }
    }

    /// Whether its last answer was good.
    pub(crate) fn works(&self) -> bool {
        self.state == SourceState::Works.word()
    }

    fn row(&self) -> [String; 6] {
        let state = match (self.failures, &*self.state) {
            (2.., state) if state == SourceState::Fails.word() => {
                format!("{state} ({} times)", self.failures)
            }
            (_, state) => escape_for_terminal(state).into_owned(),
        };
        let ago = |ms| format!("{} ago", span(ms));
        let next = |ms| if ms == 0 { "now".to_owned() } else { format!("in {}", span(ms)) };
        [
            escape_for_terminal(&format!("{} {}", self.kind, self.place)).trim_end().to_owned(),
            self.ip.as_deref().map_or_else(|| "-".to_owned(), |ip| shown_ip(ip).into_owned()),
            state,
            self.last_answer_ms_ago.map_or_else(|| "never".to_owned(), ago),
            self.next_try_in_ms.map_or_else(|| "-".to_owned(), next),
            self.peers_found.to_string(),
        ]
    }

    /// What it says beside its row.
    fn remarks(&self) -> Vec<String> {
        let one = |what: &str, text: &Option<String>| {
            text.as_ref().map(|text| format!("{what}: {}", escape_for_terminal(text)))
        };
        let is_absent = self.state == SourceState::Absent.word();
        let error = if is_absent { "not there" } else { "last error" };
        [one(error, &self.last_error), one("it warns", &self.warning)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Milliseconds from `earlier` to `later`; 0 when it is the other way round.
fn milliseconds(later: std::time::Instant, earlier: std::time::Instant) -> u64 {
    let span = later.saturating_duration_since(earlier).as_millis();
    u64::try_from(span).unwrap_or(u64::MAX)
}

const fn ip_word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

fn shown_ip(ip: &str) -> std::borrow::Cow<'_, str> {
    match ip {
        "ipv4" => "IPv4".into(),
        "ipv6" => "IPv6".into(),
        other => escape_for_terminal(other),
    }
}

const HEADINGS: [&str; 6] = ["source", "over", "state", "last answer", "next try", "peers"];

impl ChannelReport {
    fn describe(&self) -> String {
        let mut text = format!(
            "{} ({}): mesh {}, {} of {} linked",
            safe_name(&self.name),
            self.id.chars().take(8).filter(char::is_ascii_hexdigit).collect::<String>(),
            escape_for_terminal(&self.mesh),
            self.linked,
            self.members,
        );
        if self.sources.is_empty() {
            text += "\n  nothing is asked for members: trackers.enabled is false, or the channel \
                     names no tracker";
            return text;
        }
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(self.sources.iter().map(SourceReport::row));
        let widths: [usize; 6] = std::array::from_fn(|column| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        });
        let remarks =
            std::iter::once(Vec::new()).chain(self.sources.iter().map(|it| self.remarks(it)));
        for (row, remarks) in rows.iter().zip(remarks) {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            text += &format!("\n  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
            for remark in remarks {
                text += &format!("\n    {remark}");
            }
        }
        text
    }

    /// Around midnight a channel has two infohashes, and each source a row for each.
    fn remarks(&self, source: &SourceReport) -> Vec<String> {
        let mut remarks = source.remarks();
        let has_several = self.sources.iter().any(|other| other.infohash != source.infohash);
        if let (true, Some(infohash)) = (has_several, &source.infohash) {
            remarks.insert(0, format!("infohash: {}", escape_for_terminal(infohash)));
        }
        remarks
    }
}

impl StatusReport {
    /// All of it for people.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!(
            "bitchat {}, process {}, up {}",
            escape_for_terminal(&self.version),
            self.pid,
            span(self.uptime_ms),
        );
        for (what, value) in self.facts() {
            text += &format!("\n{what:<10} {value}");
        }
        for channel in &self.channels {
            text += "\n\n";
            text += &channel.describe();
        }
        let dropped: Vec<String> = self
            .dropped
            .iter()
            .filter(|dropped| dropped.count > 0)
            .map(|dropped| {
                format!("\n  {:>7}  {}", dropped.count, escape_for_terminal(&dropped.words))
            })
            .collect();
        if !dropped.is_empty() {
            text += &format!("\n\ndropped since the start:{}", dropped.concat());
        }
        text
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let name = if self.name.is_empty() { "(none)".into() } else { safe_name(&self.name) };
        let profile = format!("{} ({})", self.profile, self.directory);
        let mut facts = vec![
            ("id", escape_for_terminal(&self.peer).into_owned()),
            ("name", name),
            ("profile", escape_for_terminal(&profile).into_owned()),
            ("UDP port", self.port.to_string()),
            ("addresses", self.addresses()),
        ];
        for Sighting { address, by } in &self.observed {
            let members = if by.len() == 1 { "member" } else { "members" };
            facts.push(("seen at", format!("{address} by {} {members}", by.len())));
        }
        facts.push(("IPv4", nat_words(&self.nat.ipv4).into_owned()));
        facts.push(("IPv6", nat_words(&self.nat.ipv6).into_owned()));
        if let Some(clock) = &self.clock {
            facts.push(("clock", clock.describe()));
        }
        facts
    }

    fn addresses(&self) -> String {
        let outside = self.interfaces.iter().map(SocketAddr::ip).filter(|ip| !ip.is_loopback());
        let all: Vec<String> = outside.map(|ip| ip.to_string()).collect();
        if all.is_empty() { "none but this machine's own".to_owned() } else { all.join(", ") }
    }
}

impl ClockReport {
    /// Which clock is to be looked at.
    pub(crate) fn describe(&self) -> String {
        let side = if self.minutes_ahead < 0 { "behind" } else { "ahead of" };
        format!(
            "{} ago a member's clock was {} minutes {side} this machine's; there is no link between \
             clocks that differ by more than a minute",
            span(self.ms_ago),
            self.minutes_ahead.unsigned_abs(),
        )
    }
}

/// A kind of address translation for people.
pub(crate) fn nat_words(kind: &str) -> std::borrow::Cow<'_, str> {
    match kind {
        "unknown" => "no member on the internet says where it sees this node".into(),
        "open" => "no address translation".into(),
        "translated" => "addresses are translated; one member alone does not tell how".into(),
        "endpoint-independent" => {
            "addresses are translated, and everybody sees the same one (endpoint-independent)"
                .into()
        }
        "endpoint-dependent" => {
            "addresses are translated, for everybody to another one (endpoint-dependent)".into()
        }
        other => escape_for_terminal(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(place: &str, state: &str) -> SourceReport {
        SourceReport {
            kind: "tracker".into(),
            place: place.into(),
            ip: Some("ipv4".into()),
            state: state.into(),
            infohash: Some("ab".into()),
            ..SourceReport::default()
        }
    }

    fn report() -> StatusReport {
        let works = SourceReport {
            last_answer_ms_ago: Some(12_000),
            next_try_in_ms: Some(1_788_000),
            peers_found: 3,
            warning: Some("slow\ndown".into()),
            ..source("udp://127.0.0.1:6969", "works")
        };
        let fails = SourceReport {
            next_try_in_ms: Some(0),
            failures: 4,
            last_error: Some("no\x1b[2J".into()),
            ..source("http://127.0.0.1:80", "fails")
        };
        let spare = SourceReport { ip: None, place: String::new(), ..source("", "spare") };
        StatusReport {
            version: "0.1.0".into(),
            pid: 7,
            name: "al:ice\x07".into(),
            uptime_ms: 7_500_000,
            port: 4000,
            channels: vec![ChannelReport {
                id: "a8a5502400".into(),
                name: "team".into(),
                mesh: "partial".into(),
                linked: 2,
                members: 3,
                sources: vec![works, fails, spare],
            }],
            dropped: vec![
                DropReport { what: "no_link".into(), words: "for no link".into(), count: 12 },
                DropReport { what: "replayed".into(), words: "replayed".into(), count: 0 },
            ],
            ..StatusReport::default()
        }
    }

    #[test]
    fn a_status_is_aligned_and_says_all_in_words() {
        let text = report().describe();
        let table = "\n  source                        over  state            last answer  next try  peers\n  \
                     tracker udp://127.0.0.1:6969  IPv4  works            12s ago      in 29m    3\n    \
                     it warns: slow⏎down\n  \
                     tracker http://127.0.0.1:80   IPv4  fails (4 times)  never        now       0\n    \
                     last error: no\u{fffd}[2J\n  \
                     tracker                       -     spare            never        -         0\n";
        assert!(text.starts_with("bitchat 0.1.0, process 7, up 2h 5m\n"), "{text}");
        assert!(text.contains("team (a8a55024): mesh partial, 2 of 3 linked\n"), "{text}");
        assert!(text.contains(table), "{text}");
        assert!(text.contains("dropped since the start:\n       12  for no link"), "{text}");
        assert!(!text.contains("replayed"), "what was never dropped is not told: {text}");
    }

    #[test]
    fn nothing_in_it_reaches_a_terminal_unescaped() {
        let text = report().describe();
        assert!(text.contains("al\u{a789}ice\u{fffd}"), "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn two_infohashes_are_told_apart_and_one_is_not_shown() {
        let mut report = report();
        assert!(!report.describe().contains("infohash"));
        report.channels[0].sources[1].infohash = Some("cd".into());
        assert!(report.describe().contains("infohash: cd"));
    }

    #[test]
    fn a_channel_without_a_source_says_why() {
        let mut report = report();
        report.channels[0].sources.clear();
        assert!(report.describe().contains("trackers.enabled is false"));
    }

    #[test]
    fn what_goes_over_the_socket_comes_back_the_same() {
        let text = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<StatusReport>(&text).unwrap(), report());
    }
}

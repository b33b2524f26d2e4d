//! How a node does: the result of `status`. A new source of addresses is one more row of
//! [`ChannelReport::sources`] and no change here.

use std::net::SocketAddr;

use bitchat_protocol::text::escape_for_terminal;
use serde::{Deserialize, Serialize};

use super::dht::DhtNodeReport;
use super::source::SourceReport;
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
    /// Over each IP version; empty while there is none.
    pub(crate) dht: Vec<DhtNodeReport>,
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
    /// Linked; not counted among the members.
    pub(crate) seeders: usize,
    /// Who does not let us in, where it is closed.
    pub(crate) refused: Vec<RefusedReport>,
    pub(crate) sources: Vec<SourceReport>,
}

/// Somebody who does not let us into a closed channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedReport {
    pub(crate) by: String,
    pub(crate) text: String,
    pub(crate) ms_ago: u64,
}

/// Something that was dropped, counted since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DropReport {
    pub(crate) what: String,
    pub(crate) words: String,
    pub(crate) count: u64,
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
        facts.extend(self.dht.iter().map(|node| ("DHT", node.describe())));
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
                seeders: 1,
                refused: vec![RefusedReport {
                    by: "bob".into(),
                    text: "ask \x1b[2Jalice".into(),
                    ms_ago: 61_000,
                }],
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
        assert!(
            text.contains("team (a8a55024): mesh partial, 2 of 3 linked and 1 seeder\n"),
            "{text}"
        );
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
    fn the_dht_and_the_local_network_say_what_they_have_beside_the_table() {
        let of = |kind: &str, state| SourceReport {
            kind: kind.into(),
            ip: None,
            last_announce_ms_ago: Some(61_000),
            ..source("", state)
        };
        let dht = SourceReport { nodes: Some(412), ..of("dht", "works") };
        let lan = SourceReport { heard: Some(3), ..of("lan", "announced") };
        let mut report = report();
        report.channels[0].sources = vec![dht, lan];
        let text = report.describe();
        assert!(text.contains("\n    412 nodes known; announced 1m 1s ago\n"), "{text}");
        assert!(text.contains("\n  local network  -     announced  never"), "{text}");
        assert!(text.contains("\n    announced 1m 1s ago; others were heard 3 times"), "{text}");
    }

    #[test]
    fn two_infohashes_are_told_apart_and_one_is_not_shown() {
        let mut report = report();
        assert!(!report.describe().contains("infohash"));
        let sources = &mut report.channels[0].sources;
        sources[1].infohash = Some("cd".into());
        assert!(!report.describe().contains("infohash"), "another place may have another");
        let again =
            SourceReport { infohash: Some("ef".into()), ..report.channels[0].sources[1].clone() };
        report.channels[0].sources.push(again);
        let text = report.describe();
        assert!(text.contains("infohash: cd") && text.contains("infohash: ef"), "{text}");
        assert!(!text.contains("infohash: ab"), "{text}");
    }

    #[test]
    fn a_channel_without_a_source_says_why() {
        let mut report = report();
        report.channels[0].sources.clear();
        assert!(report.describe().contains("dht.enabled and lan.enabled are false"));
    }

    #[test]
    fn what_goes_over_the_socket_comes_back_the_same() {
        let text = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<StatusReport>(&text).unwrap(), report());
    }
}

//! How a source of addresses does for a channel: a row of `status`.

use std::time::Instant;

use bitchat_actors::source::{SourceState, SourceStatus};
use bitchat_protocol::text::escape_for_terminal;
use serde::{Deserialize, Serialize};

use super::peers::seeders;
use super::status::{ChannelReport, RefusedReport};
use super::words::{counted, ip_word, milliseconds, safe_name, shown_ip, span};

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
    pub(crate) last_announce_ms_ago: Option<u64>,
    pub(crate) next_try_in_ms: Option<u64>,
    pub(crate) peers_found: usize,
    /// Of the DHT: nodes that are known.
    pub(crate) nodes: Option<usize>,
    /// Of the local network: announces of others that were heard.
    pub(crate) heard: Option<u64>,
    pub(crate) failures: u32,
    pub(crate) last_error: Option<String>,
    pub(crate) warning: Option<String>,
}

impl SourceReport {
    /// A row as it stands at `now`.
    pub(crate) fn new(source: SourceStatus, now: Instant) -> Self {
        Self {
            kind: source.kind.word().into(),
            place: source.place,
            ip: source.family.map(|family| ip_word(family).into()),
            infohash: source.infohash.map(|infohash| infohash.to_string()),
            state: source.state.word().into(),
            last_answer_ms_ago: source.last_answer.map(|at| milliseconds(now, at)),
            last_announce_ms_ago: source.last_announce.map(|at| milliseconds(now, at)),
            next_try_in_ms: source.next_try.map(|at| milliseconds(at, now)),
            peers_found: source.peers_found,
            nodes: source.nodes,
            heard: source.heard,
            failures: source.failures,
            last_error: source.last_error,
            warning: source.warning,
        }
    }

    /// Whether its last answer was good, though it may be asked again now.
    pub(crate) fn works(&self) -> bool {
        let is_asked_again = self.state == SourceState::Asked.word()
            && self.last_answer_ms_ago.is_some()
            && self.last_error.is_none();
        self.state == SourceState::Works.word() || is_asked_again
    }

    /// Whether it may work soon, as far as is known.
    pub(crate) fn may_work(&self) -> bool {
        let may = [SourceState::Due, SourceState::Asked, SourceState::Announced];
        self.last_error.is_none() && may.iter().any(|state| state.word() == self.state)
    }

    /// What and where it is, for people; not yet safe for a terminal.
    pub(crate) fn label(&self) -> String {
        let kind = match &*self.kind {
            "dht" => "DHT",
            "lan" => "local network",
            other => other,
        };
        format!("{kind} {}", self.place).trim_end().to_owned()
    }

    /// What the table has no column for.
    fn details(&self) -> Option<String> {
        let announced = self.last_announce_ms_ago.map(|ms| format!("announced {} ago", span(ms)));
        let announced = announced.unwrap_or_else(|| "not announced yet".to_owned());
        match (self.nodes, self.heard) {
            (Some(nodes), _) => Some(format!("{}; {announced}", counted(nodes, "node", "known"))),
            (None, Some(heard)) => Some(format!("{announced}; {}", others_heard(heard))),
            (None, None) => None,
        }
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
            escape_for_terminal(&self.label()).into_owned(),
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
        [self.details(), one(error, &self.last_error), one("it warns", &self.warning)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// What is known of others on the local network.
fn others_heard(count: u64) -> String {
    match count {
        0 => "nobody else was heard".to_owned(),
        1 => "another was heard once".to_owned(),
        more => format!("others were heard {more} times"),
    }
}

const HEADINGS: [&str; 6] = ["source", "over", "state", "last answer", "next try", "peers"];

impl ChannelReport {
    pub(super) fn describe(&self) -> String {
        let mut text = format!(
            "{} ({}): mesh {}, {} of {} linked{}",
            safe_name(&self.name),
            self.id.chars().take(8).filter(char::is_ascii_hexdigit).collect::<String>(),
            escape_for_terminal(&self.mesh),
            self.linked,
            self.members,
            seeders(self.seeders),
        );
        for RefusedReport { by, text: why, ms_ago } in &self.refused {
            let (by, why) = (safe_name(by), escape_for_terminal(why));
            text += &format!("\n  {by} did not let you in {} ago: {why}", span(*ms_ago));
        }
        if self.sources.is_empty() {
            text += "\n  nobody is asked for members: trackers.enabled, dht.enabled and \
                     lan.enabled are false, or the channel names no tracker";
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
        let is_same = |other: &&SourceReport| {
            (&other.kind, &other.place, &other.ip) == (&source.kind, &source.place, &source.ip)
        };
        let mut rows = self.sources.iter().filter(is_same);
        let has_several = rows.any(|other| other.infohash != source.infohash);
        if let (true, Some(infohash)) = (has_several, &source.infohash) {
            remarks.insert(0, format!("infohash: {}", escape_for_terminal(infohash)));
        }
        remarks
    }
}

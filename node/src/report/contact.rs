//! A contact: the result of `contact_show` and its like.

use bitchat_protocol::contact::Contact;
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol::text::escape_for_terminal;
use serde::{Deserialize, Serialize};

use super::words::{safe_name, short, span};
use crate::methods::trust_word;

/// A person in the book.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContactReport {
    pub(crate) name: String,
    /// `seen`, `known`, `verified` or `blocked`.
    pub(crate) trust: String,
    pub(crate) id: String,
    /// What they call themselves.
    pub(crate) their_name: Option<String>,
    pub(crate) last_seen_unix: Option<u64>,
    /// Whether a running node is linked with them now.
    #[serde(default)]
    pub(crate) linked: bool,
    pub(crate) alarm: Option<AlarmReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) safety_words: Option<String>,
}

/// Who came last under the name of a contact with another key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AlarmReport {
    pub(crate) id: String,
    pub(crate) unix: u64,
}

impl From<&Contact> for ContactReport {
    fn from(contact: &Contact) -> Self {
        let alarm = |alarm: bitchat_protocol::contact::Alarm| AlarmReport {
            id: alarm.peer.to_string(),
            unix: alarm.unix,
        };
        Self {
            name: contact.name.to_string(),
            trust: trust_word(contact.trust).into(),
            id: contact.peer.to_string(),
            their_name: contact.their_name.as_ref().map(|name| DisplayName::as_str(name).into()),
            last_seen_unix: contact.last_seen_unix,
            linked: false,
            alarm: contact.alarm.map(alarm),
            safety_words: None,
        }
    }
}

impl ContactReport {
    /// A line, and another one where something is wrong; `now` in seconds since 1970.
    pub(crate) fn describe(&self, now: u64) -> String {
        let (name, trust) = (safe_name(&self.name), escape_for_terminal(&self.trust));
        let id = escape_for_terminal(&self.id);
        let mut text = format!("{name:<24} {trust:<8} {id}  {}", self.seen(now));
        if let Some(alarm) = &self.alarm {
            text += &format!("\n  ALARM: {}", self.describe_alarm(alarm, now));
        }
        text
    }

    /// A line for each thing that is known.
    pub(crate) fn describe_whole(&self, now: u64) -> String {
        let theirs = self.their_name.as_deref().map_or_else(|| "none".into(), safe_name);
        let mut text = format!(
            "name          {}\ntheir name    {theirs}\nid            {}\ntrust         {}\nlast seen     {}",
            safe_name(&self.name),
            escape_for_terminal(&self.id),
            escape_for_terminal(&self.trust),
            self.last_seen(now),
        );
        if let Some(alarm) = &self.alarm {
            text += &format!("\nALARM         {}", self.describe_alarm(alarm, now));
        }
        if let Some(words) = &self.safety_words {
            text += &format!("\nsafety words  {}", escape_for_terminal(words));
        }
        text
    }

    fn seen(&self, now: u64) -> String {
        match (self.linked, self.last_seen_unix) {
            (true, _) => "here now".into(),
            (false, Some(_)) => format!("seen {}", self.last_seen(now)),
            (false, None) => "never seen".into(),
        }
    }

    fn last_seen(&self, now: u64) -> String {
        match (self.linked, self.last_seen_unix) {
            (true, _) => "now".into(),
            (false, Some(unix)) => ago(unix, now),
            (false, None) => "never".into(),
        }
    }

    fn describe_alarm(&self, alarm: &AlarmReport, now: u64) -> String {
        format!(
            "{} ago somebody else ({}) came under this name with another key and was turned away; compare \
             the safety words again over a call or in person, and do not trust either before",
            ago(alarm.unix, now).trim_end_matches(" ago"),
            short(&alarm.id),
        )
    }
}

fn ago(unix: u64, now: u64) -> String {
    format!("{} ago", span(now.saturating_sub(unix).saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str) -> ContactReport {
        ContactReport {
            name: name.into(),
            trust: "known".into(),
            id: "5ils4mdgxy".into(),
            their_name: Some("al\u{1b}[2Jice".into()),
            last_seen_unix: Some(1_000),
            linked: false,
            alarm: None,
            safety_words: None,
        }
    }

    #[test]
    fn a_row_says_when_somebody_was_seen_and_what_is_wrong() {
        let alarm = Some(AlarmReport { id: "abcdefghijklm".into(), unix: 1_000 });
        let report = ContactReport { alarm, ..report("alice") };
        let text = report.describe(1_061);
        let row =
            "alice                    known    5ils4mdgxy  seen 1m 1s ago\n  ALARM: 1m 1s ago";
        assert!(text.starts_with(row), "{text}");
        assert!(report.describe_whole(1_061).contains("\nALARM         1m 1s ago"));
        let here = ContactReport { linked: true, ..report };
        assert!(here.describe(1_061).contains("here now"));
        let never = ContactReport { linked: false, last_seen_unix: None, ..here };
        assert!(never.describe(1_061).contains("never seen"));
    }

    #[test]
    fn no_name_makes_a_row_or_a_field_of_its_own() {
        for name in ["bob\ntrust         verified", "bob      verified", "a: b", "x\u{1b}[2J"] {
            let report = report(name);
            assert_eq!(report.describe(2_000).lines().count(), 1);
            let whole = report.describe_whole(2_000);
            assert_eq!(whole.lines().count(), 5, "{whole}");
            assert!(whole.lines().nth(3).is_some_and(|line| line == "trust         known"));
            assert!(!whole.contains('\u{1b}') && !whole.contains("  verified"), "{whole}");
        }
    }
}

//! Fixed text around at most one value: a pair of a query, a header, a request line.

/// A value that a template has filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Placeholder {
    InfoHash,
    PeerId,
    TrackerId,
    Port,
    Left,
    NumWant,
    Key,
    Event,
    Ipv6,
    Host,
    Authorization,
    Referer,
    Target,
}

use Placeholder::{
    Authorization, Event, Host, InfoHash, Ipv6, Key, Left, NumWant, PeerId, Port, Referer, Target,
    TrackerId,
};

/// What a pair of the query may hold.
pub(super) const IN_QUERY: &[(&str, Placeholder)] = &[
    ("info_hash", InfoHash),
    ("peer_id", PeerId),
    ("trackerid", TrackerId),
    ("port", Port),
    ("left", Left),
    ("numwant", NumWant),
    ("key", Key),
    ("event", Event),
    ("ipv6", Ipv6),
];

/// What a header may hold.
pub(super) const IN_HEADER: &[(&str, Placeholder)] =
    &[("host", Host), ("authorization", Authorization), ("referer", Referer)];

/// What the request line holds.
pub(super) const IN_REQUEST_LINE: &[(&str, Placeholder)] = &[("target", Target)];

/// Fixed text around at most one placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Template {
    pub(in super::super) before: String,
    pub(in super::super) placeholder: Option<Placeholder>,
    pub(in super::super) after: String,
}

impl Template {
    /// Reads a template; `None` for a placeholder that is not `allowed`, or for characters that could
    /// end a line of a request.
    pub(super) fn parse(text: &str, allowed: &[(&str, Placeholder)]) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return None;
        }
        let Some((before, rest)) = text.split_once('{') else {
            return Some(Self { before: text.to_owned(), placeholder: None, after: String::new() });
        };
        let (name, after) = rest.split_once('}')?;
        if after.contains('{') {
            return None;
        }
        let placeholder = allowed.iter().find(|(it, _)| *it == name).map(|(_, it)| *it)?;
        let (before, after) = (before.to_owned(), after.to_owned());
        Some(Self { before, placeholder: Some(placeholder), after })
    }

    /// Fills the template in; `None` when its placeholder has no value.
    pub(in super::super) fn filled(&self, fill: impl Fn(Placeholder) -> String) -> Option<String> {
        let Some(placeholder) = self.placeholder else {
            return Some(self.before.clone());
        };
        let value = fill(placeholder);
        (!value.is_empty()).then(|| format!("{}{value}{}", self.before, self.after))
    }
}

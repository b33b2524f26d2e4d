//! The channels that are open in a running node, and which one is meant by a word.

use std::sync::Arc;

use bitchat_actors::channel_book::{ChannelError, OpenedChannel, Summary};
use bitchat_protocol::id::ChannelId;

use crate::exit::Exit;

/// Characters of an id that are enough to mean it, if no other begins with them.
pub(crate) const ID_PREFIX_MIN: usize = 6;

/// An open channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) name: Arc<str>,
    /// Whether it is the channel of us and one contact, by whose name it goes.
    pub(crate) is_pair: bool,
    /// Whether it went on as another one: nothing is said in it any more.
    pub(crate) is_former: bool,
}

impl From<&OpenedChannel> for Channel {
    fn from(opened: &OpenedChannel) -> Self {
        Self {
            id: opened.keys.id(),
            name: Arc::from(&*opened.name),
            is_pair: opened.only.is_some(),
            is_former: opened.moved_to.is_some(),
        }
    }
}

impl From<&Summary> for Channel {
    fn from(summary: &Summary) -> Self {
        Self {
            id: summary.id,
            name: Arc::from(summary.name.as_str()),
            is_pair: summary.pair.is_some(),
            is_former: summary.moved_to.is_some(),
        }
    }
}

/// What a command ends with that the channel book refuses.
pub(crate) const fn exit_for(error: &ChannelError) -> Exit {
    match error {
        ChannelError::OtherCharter(_) => Exit::Untrusted,
        ChannelError::Full | ChannelError::TooManyRemoved(_) => Exit::Limit,
        ChannelError::NotFound(_)
        | ChannelError::Ambiguous { .. }
        | ChannelError::NotClosed(_)
        | ChannelError::Ticket { .. }
        | ChannelError::InNeedOfNone(_)
        | ChannelError::MayNotInvite(_)
        | ChannelError::ChainTooLong(_)
        | ChannelError::IsPair(_)
        | ChannelError::Former { .. }
        | ChannelError::WasRemoved { .. }
        | ChannelError::NotFounder(_)
        | ChannelError::FounderStays(_)
        | ChannelError::Misfit { .. }
        | ChannelError::Pair(_)
        | ChannelError::NotSaved(_) => Exit::Failed,
    }
}

/// Finds a channel by its id, its name (with or without `#`) or the beginning of its id. Where a
/// contact is called like a channel, the channel is meant.
pub(crate) fn find(channels: &[Channel], text: &str) -> Result<usize, String> {
    // Before names, as a channel may be called like the id of another.
    if let Ok(id) = text.parse::<ChannelId>()
        && let Some(at) = channels.iter().position(|channel| channel.id == id)
    {
        return Ok(at);
    }
    let bare = text.trim_start_matches('#');
    let by_name = |channel: &Channel| channel.name.trim_start_matches('#') == bare;
    let by_id =
        |channel: &Channel| text.len() >= ID_PREFIX_MIN && channel.id.to_string().starts_with(text);
    let numbered = || channels.iter().enumerate();
    let mut found: Vec<usize> =
        numbered().filter(|(_, channel)| by_name(channel)).map(|(at, _)| at).collect();
    if found.len() > 1 {
        let joined: Vec<usize> =
            found.iter().copied().filter(|at| !channels[*at].is_pair).collect();
        if joined.len() == 1 {
            found = joined;
        }
    }
    if found.is_empty() {
        found = numbered().filter(|(_, channel)| by_id(channel)).map(|(at, _)| at).collect();
    }
    match found[..] {
        [at] => Ok(at),
        [] => {
            let names: Vec<&str> = channels.iter().map(|channel| &*channel.name).collect();
            Err(format!("no open channel is called {text}; open are: {}", names.join(", ")))
        }
        _ => Err(format!("several channels are called {text}: name one by its id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_called_like_the_id_of_another_is_not_taken_for_it() {
        let [one, other] = [1, 2].map(|n| ChannelId([n; 32]));
        let channel =
            |id, name: &str| Channel { id, name: name.into(), is_pair: false, is_former: false };
        let all = [channel(other, &one.to_string()), channel(one, "#team")];
        assert_eq!(find(&all, &one.to_string()), Ok(1));
        assert_eq!(find(&all, "team"), Ok(1));
        assert_eq!(find(&all, &other.to_string()[..ID_PREFIX_MIN]), Ok(0));
        assert!(find(&all, "0202").is_err(), "too short for an id");
    }

    #[test]
    fn a_contact_called_like_a_channel_is_not_taken_for_it() {
        let channel = |n, name: &str, is_pair| Channel {
            id: ChannelId([n; 32]),
            name: name.into(),
            is_pair,
            is_former: false,
        };
        let all = [channel(1, "team", true), channel(2, "bob", true), channel(3, "#team", false)];
        assert_eq!(find(&all, "team"), Ok(2));
        assert_eq!(find(&all, "bob"), Ok(1));
        assert_eq!(find(&all, &all[0].id.to_string()), Ok(0));
        let all = [channel(1, "team", false), channel(2, "team", true), channel(3, "team", false)];
        assert!(find(&all, "team").is_err(), "two channels of that name");
    }
}

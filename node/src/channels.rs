//! The channels that are open in a running node, and which one is meant by a word.

use std::sync::Arc;

use bitchat_actors::channel_book::OpenedChannel;
use bitchat_protocol::id::ChannelId;

/// Characters of an id that are enough to mean it, if no other begins with them.
pub(crate) const ID_PREFIX_MIN: usize = 6;

/// An open channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) name: Arc<str>,
    /// Whether it is the channel of us and one contact, by whose name it goes.
    pub(crate) is_pair: bool,
}

impl From<&OpenedChannel> for Channel {
    fn from(opened: &OpenedChannel) -> Self {
        Self {
            id: opened.keys.id(),
            name: Arc::from(&*opened.name),
            is_pair: opened.only.is_some(),
        }
    }
}

/// Finds a channel by its name (with or without `#`) or the beginning of its id. Where a contact is
/// called like a channel, the channel is meant.
pub(crate) fn find(channels: &[Channel], text: &str) -> Result<usize, String> {
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

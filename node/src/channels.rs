//! The channels that are open in a running node, and which one is meant by a word.

use std::sync::Arc;

use bitchat_protocol::id::ChannelId;

/// Characters of an id that are enough to mean it, if no other begins with them.
pub(crate) const ID_PREFIX_MIN: usize = 6;

/// An open channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) name: Arc<str>,
}

/// Finds a channel by its id, its name (with or without `#`) or the beginning of its id.
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
        let channel = |id, name: &str| Channel { id, name: name.into() };
        let all = [channel(other, &one.to_string()), channel(one, "#team")];
        assert_eq!(find(&all, &one.to_string()), Ok(1));
        assert_eq!(find(&all, "team"), Ok(1));
        assert_eq!(find(&all, &other.to_string()[..ID_PREFIX_MIN]), Ok(0));
        assert!(find(&all, "0202").is_err(), "too short for an id");
    }
}

//! A channel that went on as another one, and how a person can tell the two apart.

use std::time::Duration;

use bitchat_protocol::channel::{ChannelKeys, Move};
use bitchat_protocol::id::ChannelId;
use bitchat_protocol::identity::DisplayName;
use bitchat_protocol::limits::NAME_BYTES_MAX;
use bitchat_protocol::session::Departure;
use bitchat_protocol::wire::MoveBytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::vault::{ProfileError, SealedFile};

/// For how long a channel that went on as another one stays open, for those who were away: they learn
/// of it there, and what they had said is taken. Longer: for longer absences; shorter: fewer
/// channels to be looked for.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

const DAY_SECONDS: u64 = 24 * 3600;

/// Where a channel went on, and since when.
#[derive(Debug, Clone)]
pub(super) struct Former {
    /// The founder's word; its signature was checked.
    pub(super) moved: Move,
    /// When this node learnt of it, since 1970.
    pub(super) since: Duration,
    /// What is handed on; `None`: the successor is not in this profile.
    pub(super) departure: Option<Departure>,
}

/// As it stands in the file: seconds since 1970, and the move.
#[derive(Debug, Serialize, Deserialize)]
struct Written(u64, ByteBuf);

impl Former {
    pub(super) const fn new(moved: Move, since: Duration) -> Self {
        Self { moved, since, departure: None }
    }

    pub(super) fn read(file: &SealedFile) -> Result<Option<Self>, ProfileError> {
        let Some(bytes) = file.read()? else { return Ok(None) };
        let Written(since, moved) =
            rmp_serde::from_slice(&bytes).map_err(|_| file.damaged("it does not read"))?;
        let moved = Move::decode(&moved).map_err(|error| file.damaged(error))?;
        Ok(Some(Self::new(moved, Duration::from_secs(since))))
    }

    pub(super) fn write(&self, file: &SealedFile) -> Result<(), ProfileError> {
        let written = Written(self.since.as_secs(), ByteBuf::from(self.moved.encode()));
        let bytes = rmp_serde::to_vec(&written).expect("byte strings have a MessagePack form");
        file.write(&bytes)
    }

    /// What is handed on where the successor has these keys.
    pub(super) fn departure_to(&self, keys: &ChannelKeys) -> Departure {
        Departure {
            moved: MoveBytes(self.moved.encode().into()),
            successor: keys.id(),
            seed: keys.seed_key().0.clone(),
            secret: keys.secret().map(|secret| secret.0.clone()),
        }
    }

    /// Whether it is no longer kept open.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) > OPEN_FOR
    }

    /// What a channel is called here that was called `name`.
    pub(super) fn name(&self, name: &DisplayName, id: &ChannelId) -> DisplayName {
        let suffix = format!(" (until {})", date(self.since));
        let mut kept = name.as_str();
        while kept.len() + suffix.len() > NAME_BYTES_MAX {
            let last = kept.char_indices().next_back().map_or(0, |(at, _)| at);
            kept = &kept[..last];
        }
        DisplayName::new(format!("{}{suffix}", kept.trim_end()))
            .or_else(|_| DisplayName::new(format!("{}{suffix}", id.short())))
            .unwrap_or_else(|_| name.clone())
    }
}

/// The day in UTC, as `2026-11-25`.
fn date(unix: Duration) -> String {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut days = unix.as_secs() / DAY_SECONDS;
    // Every 400 years, the calendar is the same again.
    const CYCLE_DAYS: u64 = 146_097;
    let mut year = 1970 + days / CYCLE_DAYS * 400;
    days %= CYCLE_DAYS;
    loop {
        let length = 365 + u64::from(is_leap(year));
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use bitchat_protocol::channel::{ChannelPublicKey, Lineage};

    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(date(Duration::from_secs(seconds)), expected);
        };
        check(0, "1970-01-01");
        check(951_782_399, "2000-02-28");
        check(951_782_400, "2000-02-29");
        check(1_795_564_800, "2026-11-25");
        check(1_798_761_599, "2026-12-31");
        check(1_798_761_600, "2027-01-01");
        check(4_107_542_399, "2100-02-28");
        check(4_107_542_400, "2100-03-01");
        check(u64::MAX, &date(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn a_former_channel_has_a_name_of_its_own_however_long_the_first_was() {
        let id = ChannelId([1; 32]);
        let moved = Move {
            lineage: Lineage([0; 32]),
            from: id,
            successor: ChannelId([2; 32]),
            public: ChannelPublicKey([3; 32]),
            removed: [bitchat_protocol::id::PeerId([4; 32])].into(),
            signature: [0; 64],
        };
        let former = Former::new(moved, Duration::from_secs(1_795_564_800));
        let check = |name: &str, expected: &str| {
            let name = DisplayName::new(name).unwrap();
            assert_eq!(former.name(&name, &id).as_str(), expected);
        };
        check("team", "team (until 2026-11-25)");
        check(&"é".repeat(32), &format!("{} (until 2026-11-25)", "é".repeat(22)));
        let spaced = format!("{}  {}", "x".repeat(43), "y".repeat(18));
        check(&spaced, &format!("{} (until 2026-11-25)", "x".repeat(43)));
    }
}

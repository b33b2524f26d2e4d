//! An invitation that waits for a word: a row of `invitations`, and the notice `invited`.

use std::sync::Arc;
use std::time::Duration;

use bitchat_actors::invitations::Offered;
use bitchat_protocol::channel::{Kind, Right};
use bitchat_protocol::text::escape_for_terminal;
use serde::{Deserialize, Serialize};

use super::words::{safe_name, short, span};

/// Somebody invites us to a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InvitationReport {
    pub(crate) number: u32,
    /// Who, by id.
    pub(crate) from: String,
    pub(crate) name: String,
    /// Whether a person has added them to the contact book.
    pub(crate) contact: bool,
    pub(crate) channel: String,
    /// Of the channel.
    pub(crate) label: String,
    /// `closed` or `group`.
    pub(crate) kind: String,
    /// Who made the channel, by id, where that is proven.
    pub(crate) founder: Option<String>,
    pub(crate) founder_name: Option<String>,
    /// `member`, `may_invite` or `seeder`.
    pub(crate) right: String,
    pub(crate) expires_unix: Option<u64>,
}

/// What we are invited as, in a word.
const fn right_word(right: Right) -> &'static str {
    match right {
        Right::Member => "member",
        Right::MayInvite => "may_invite",
        Right::Seeder => "seeder",
    }
}

impl From<&Offered> for InvitationReport {
    fn from(offered: &Offered) -> Self {
        let founder = offered.founder.as_ref();
        Self {
            number: offered.number,
            from: offered.from.to_string(),
            name: offered.name.to_string(),
            contact: offered.is_contact,
            channel: offered.channel.to_string(),
            label: offered.label.to_string(),
            kind: offered.kind.as_str().into(),
            founder: founder.map(|(founder, _)| founder.to_string()),
            founder_name: founder.map(|(_, name)| name.to_string()),
            right: right_word(offered.right).into(),
            expires_unix: offered.expires.map(|at| at.as_secs()),
        }
    }
}

impl InvitationReport {
    /// What was told; `None` for what this version does not know.
    pub(crate) fn read(&self) -> Option<Offered> {
        let founder = match (&self.founder, &self.founder_name) {
            (Some(founder), Some(name)) => Some((founder.parse().ok()?, Arc::from(&**name))),
            (None, _) => None,
            (Some(_), None) => return None,
        };
        let rights = [Right::Member, Right::MayInvite, Right::Seeder];
        Some(Offered {
            number: self.number,
            from: self.from.parse().ok()?,
            name: Arc::from(&*self.name),
            is_contact: self.contact,
            channel: self.channel.parse().ok()?,
            label: Arc::from(&*self.label),
            kind: Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)?,
            founder,
            right: rights.into_iter().find(|right| right_word(*right) == self.right)?,
            expires: self.expires_unix.map(Duration::from_secs),
        })
    }

    /// Who invites to what; `now` in seconds since 1970.
    pub(crate) fn describe(&self, now: u64) -> String {
        let name = safe_name(&self.name);
        let who = match self.contact {
            true => name,
            false => format!("{name} ({}), who is not in your contact book,", short(&self.from)),
        };
        let what = match &*self.kind {
            "closed" => "closed channel".into(),
            kind => escape_for_terminal(kind),
        };
        let of = match (&self.founder, &self.founder_name) {
            (Some(founder), _) if *founder == self.from => String::new(),
            (Some(_), Some(name)) => format!(" of {}", safe_name(name)),
            _ => " (nothing proves who made it)".into(),
        };
        let right = match &*self.right {
            "may_invite" => ", where you may invite others",
            "seeder" => ", as a blind seeder, who cannot read",
            _ => "",
        };
        let until = self.expires_unix.map(|at| {
            let left = span(at.saturating_sub(now).saturating_mul(1000));
            format!(", with a ticket good for {left}")
        });
        let label = safe_name(&self.label);
        let until = until.unwrap_or_default();
        format!("{who} invites you to the {what} \"{label}\"{of}{right}{until}")
    }
}

#[cfg(test)]
mod tests {
    use bitchat_protocol::id::{ChannelId, PeerId};

    use super::*;

    fn offered() -> Offered {
        Offered {
            number: 3,
            from: PeerId([2; 32]),
            name: "alice".into(),
            is_contact: true,
            channel: ChannelId([1; 32]),
            label: "trip".into(),
            kind: Kind::Group,
            founder: Some((PeerId([2; 32]), "alice".into())),
            right: Right::Member,
            expires: None,
        }
    }

    #[track_caller]
    fn check(offered: &Offered, words: &str) {
        let report = InvitationReport::from(offered);
        assert_eq!(report.describe(1_000), words);
        assert_eq!(report.read().as_ref(), Some(offered));
    }

    #[test]
    fn an_invitation_says_who_to_what_and_only_what_is_proven() {
        check(&offered(), "alice invites you to the group \"trip\"");
        let founder = Some((PeerId([3; 32]), "carol".into()));
        let kind = Kind::Closed;
        let of_carol = Offered { founder, kind, right: Right::MayInvite, ..offered() };
        check(
            &of_carol,
            "alice invites you to the closed channel \"trip\" of carol, where you may invite others",
        );
        let expires = Some(Duration::from_secs(1_000 + 7_500));
        let unproven = Offered { founder: None, expires, right: Right::Seeder, ..offered() };
        check(
            &unproven,
            "alice invites you to the group \"trip\" (nothing proves who made it), as a blind seeder, \
             who cannot read, with a ticket good for 2h 5m",
        );
        let stranger = Offered { is_contact: false, ..offered() };
        let words = InvitationReport::from(&stranger).describe(0);
        assert!(words.contains("who is not in your contact book, invites"), "{words}");
    }

    #[test]
    fn no_name_puts_words_of_its_own_into_the_line() {
        let name = "x\u{1b}[2J\nalice: yes\" of bob";
        let founder = Some((PeerId([3; 32]), name.into()));
        let hostile = Offered { name: name.into(), label: name.into(), founder, ..offered() };
        let words = InvitationReport::from(&hostile).describe(0);
        assert!(!words.contains('\u{1b}') && !words.contains('\n'), "{words}");
        assert_eq!(words.matches(": ").count(), 0, "{words}");
    }
}

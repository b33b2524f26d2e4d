//! Open channels that are found by a name alone: `#name`, with a passphrase or without.
//!
//! ```text
//! S = Argon2id(password = len32(name) || name || passphrase,
//!              salt     = BLAKE2b-128(label "bitchat v1 open channel salt"),
//!              2 passes over 64 MiB, 32 bytes)
//! ```
//!
//! Everybody who types the same name and passphrase is in the channel: without a passphrase, that is
//! anybody who guesses the name. The cost makes a guess expensive, not impossible.
//!
//! The name is brought into one form first: the `#` goes, letters become lower case one by one.
//! Spaces are refused, and so are separate accents: what looks like `é` can be one character or
//! two, and would be two channels. There is no Unicode normalisation beyond that.

use std::fmt;
use std::str::FromStr;

use super::address::NodeAddress;
use super::chat_file::{ChatFile, ChatFileError, Key};
use super::epoch::Rotation;
use super::keys::ChannelSecret;
use crate::crypto::hash;
use crate::crypto::password::{self, Cost};
use crate::identity::{DisplayName, NameError};
use crate::limits::NAME_BYTES_MAX;

const SALT_LABEL: &str = "bitchat v1 open channel salt";

/// The name of an open channel in its one form; printed with the `#`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OpenName(String);

/// Why text is not an [`OpenName`]; each says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenNameError {
    /// No `#` at the beginning.
    #[error("the name of an open channel begins with #")]
    Hash,
    /// A space within.
    #[error("the name of an open channel has no spaces: use - instead")]
    Space,
    /// An accent that is a character of its own.
    #[error(
        "the name contains the separate accent U+{:04X}, which others may type differently: \
         use the plain letter", u32::from(*.0)
    )]
    Combining(char),
    /// It cannot be shown.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl OpenName {
    /// The name without its `#`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The secret of the channel. Takes a good part of a second and 64 MiB.
    #[must_use]
    pub fn secret(&self, passphrase: &str) -> ChannelSecret {
        let name_len = u32::try_from(self.0.len()).expect("names have at most 64 bytes");
        let len = 4 + self.0.len() + passphrase.len();
        let mut password = zeroize::Zeroizing::new(Vec::with_capacity(len));
        password.extend_from_slice(&name_len.to_be_bytes());
        password.extend_from_slice(self.0.as_bytes());
        password.extend_from_slice(passphrase.as_bytes());
        let salt = hash::unkeyed(SALT_LABEL, &[]);
        let secret = password::stretch(&password, &salt, Cost::INTERACTIVE);
        ChannelSecret(secret.expect("our own cost is within the accepted range"))
    }
}

impl fmt::Display for OpenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl FromStr for OpenName {
    type Err = OpenNameError;

    fn from_str(text: &str) -> Result<Self, OpenNameError> {
        let typed = text.trim().strip_prefix('#').ok_or(OpenNameError::Hash)?;
        if typed.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: typed.len() }.into());
        }
        // One by one, because the whole-word rule (of the final sigma) depends on the neighbours.
        let name: String = typed.chars().flat_map(char::to_lowercase).collect();
        if name.chars().any(char::is_whitespace) {
            return Err(OpenNameError::Space);
        }
        if let Some(accent) = name.chars().find(|character| is_combining(*character)) {
            return Err(OpenNameError::Combining(accent));
        }
        // The # counts, because the channel is shown with it.
        DisplayName::new(format!("#{name}"))?;
        DisplayName::new(name.as_str())?;
        Ok(Self(name))
    }
}

/// Accents and parts of Korean syllables that also exist joined with their letter.
const fn is_combining(character: char) -> bool {
    matches!(character, '\u{0300}'..='\u{036f}' | '\u{1100}'..='\u{11ff}')
}

impl ChatFile {
    /// Makes the file of an open channel from its name; the passphrase may be empty.
    ///
    /// Takes a good part of a second and 64 MiB.
    ///
    /// # Errors
    ///
    /// [`ChatFileError::Tracker`] or [`ChatFileError::TooMany`].
    pub fn from_open_name(
        name: &OpenName,
        passphrase: &str,
        tiers: Vec<Vec<String>>,
        nodes: Vec<NodeAddress>,
    ) -> Result<Self, ChatFileError> {
        let key = Key::Member(name.secret(passphrase));
        let shown = DisplayName::new(name.to_string())?;
        Self::assemble(shown, tiers, nodes, Rotation::Daily, key)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!("../../../docs/spec/vectors/open-name.json");

    fn name(text: &str) -> OpenName {
        text.parse().unwrap()
    }

    #[test]
    fn every_secret_is_the_one_computed_independently() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() >= 3);
        for case in cases {
            let secret =
                name(case["typed"].as_str().unwrap()).secret(case["passphrase"].as_str().unwrap());
            let expected = case["secret"].as_str();
            assert_eq!(expected, Some(HEXLOWER.encode(secret.0.expose()).as_str()), "{case}");
        }
    }

    #[test]
    fn upper_and_lower_case_name_the_same_channel() {
        assert_eq!(name("#Team"), name(" #team\n"));
        assert_eq!(name("#ΟΔΟΣ"), name("#οδοσ"));
        assert_ne!(name("#team"), name("#teams"));
        assert_eq!(name("##team").to_string(), "##team");
        assert_eq!(name("#TEAM").to_string().parse(), Ok(name("#team")));
    }

    #[test]
    fn name_and_passphrase_do_not_run_into_each_other() {
        let secret = name("#team").secret("x");
        assert_ne!(secret, name("#teamx").secret(""));
        assert_ne!(secret, name("#team").secret(""));
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        #[track_caller]
        fn check(text: &str, expected: OpenNameError) {
            assert_eq!(text.parse::<OpenName>(), Err(expected), "{text}");
        }
        check("team", OpenNameError::Hash);
        check("", OpenNameError::Hash);
        check("#", NameError::Empty.into());
        check("#a b", OpenNameError::Space);
        check("#a\u{a0}b", OpenNameError::Space);
        check("#cafe\u{301}", OpenNameError::Combining('\u{301}'));
        check("#\u{130}", OpenNameError::Combining('\u{307}'));
        check("#a\u{200b}b", NameError::Forbidden('\u{200b}').into());
        check(&format!("#{}", "x".repeat(64)), NameError::TooLong { bytes: 65 }.into());
        assert!(format!("#{}", "x".repeat(63)).parse::<OpenName>().is_ok());
    }

    #[test]
    fn an_open_channel_shows_its_name_and_rotates() {
        let file = ChatFile::from_open_name(&name("#Team"), "", vec![], vec![]).unwrap();
        assert_eq!(file.name().as_str(), "#team");
        assert_eq!(file.rotation(), Rotation::Daily);
        assert_eq!(file.keys().secret(), Some(&name("#team").secret("")));
    }
}

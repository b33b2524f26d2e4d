//! Which BitTorrent client to look like: `auto`, the name of a built-in profile, or `file:PATH`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use bitchat_protocol::tracker::ClientProfile;
use serde::{Deserialize, Serialize};

use crate::suggest::nearest;

const AUTO: &str = "auto";
const FILE: &str = "file:";

/// Where the worn profile comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Costume {
    /// Drawn at the first start and kept with the identity.
    Auto,
    /// A built-in one; the name is right.
    BuiltIn(String),
    /// One of the user's own.
    File(PathBuf),
}

/// Why text names no profile; already says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no client profile; {}", suggestion.map_or_else(
    || format!("write \"auto\", \"file:PATH\" or one of {}", names().join(", ")),
    |right| format!("did you mean {right:?}?")
))]
pub struct CostumeError {
    given: String,
    suggestion: Option<&'static str>,
}

fn names() -> Vec<&'static str> {
    ClientProfile::names().collect()
}

impl FromStr for Costume {
    type Err = CostumeError;

    fn from_str(text: &str) -> Result<Self, CostumeError> {
        if text == AUTO {
            return Ok(Self::Auto);
        }
        if let Some(path) = text.strip_prefix(FILE).filter(|path| !path.is_empty()) {
            return Ok(Self::File(path.into()));
        }
        if ClientProfile::names().any(|name| name == text) {
            return Ok(Self::BuiltIn(text.to_owned()));
        }
        let suggestion = nearest(text, names().into_iter().chain([AUTO]));
        Err(CostumeError { given: text.to_owned(), suggestion })
    }
}

impl TryFrom<String> for Costume {
    type Error = CostumeError;

    fn try_from(text: String) -> Result<Self, CostumeError> {
        text.parse()
    }
}

impl From<Costume> for String {
    fn from(costume: Costume) -> Self {
        costume.to_string()
    }
}

impl fmt::Display for Costume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(AUTO),
            Self::BuiltIn(name) => f.write_str(name),
            Self::File(path) => write!(f, "{FILE}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for text in names().into_iter().chain(["auto", "file:/etc/x.profile", "file:x"]) {
            let costume: Costume = text.parse().unwrap();
            assert_eq!(costume.to_string(), text);
        }
        assert_eq!("file:/a".parse(), Ok(Costume::File("/a".into())));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_right_one() {
        let refused = |text: &str| text.parse::<Costume>().unwrap_err().to_string();
        assert!(refused("qbittorent-5.1.0").contains("did you mean \"qbittorrent-5.1.0\"?"));
        assert!(refused("transmission-3.0").contains("\"transmission-3.00\""));
        assert!(refused("uto").contains("\"auto\""));
        assert!(refused("zzz").contains("\"auto\", \"file:PATH\" or one of qbittorrent-5.1.0, "));
        assert!(refused("file:").contains("no client profile"));
    }
}

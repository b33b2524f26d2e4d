//! Logs what becomes of a file that is saved again and again: a disk that stays full is said once.

use super::ProfileError;

/// Knows whether the disk refused the last time.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    refused: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum News {
    Nothing,
    Refused,
    StillRefused,
    SavedAgain,
}

impl RefusalLog {
    /// Takes the outcome of saving `what`, a plural; says whether it is saved.
    pub(crate) fn note(&mut self, what: &str, outcome: &Result<(), ProfileError>) -> bool {
        let news = self.news(outcome.is_err());
        match (news, outcome) {
            (News::Refused, Err(error)) => {
                tracing::warn!(
                    "{what} cannot be saved, and are tried again until they can: {error}"
                );
            }
            (News::StillRefused, Err(error)) => {
                tracing::debug!("{what} still cannot be saved: {error}")
            }
            (News::SavedAgain, _) => tracing::info!("{what} are saved again"),
            (News::Nothing | News::Refused | News::StillRefused, _) => {}
        }
        !self.refused
    }

    fn news(&mut self, refused: bool) -> News {
        match (std::mem::replace(&mut self.refused, refused), refused) {
            (false, false) => News::Nothing,
            (false, true) => News::Refused,
            (true, true) => News::StillRefused,
            (true, false) => News::SavedAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::News::{Nothing, Refused, SavedAgain, StillRefused};
    use super::*;

    #[test]
    fn a_refusal_and_its_end_are_news_once() {
        let mut log = RefusalLog::default();
        let told = [false, true, true, true, false, false, true].map(|refused| log.news(refused));

        let expected = [Nothing, Refused, StillRefused, StillRefused, SavedAgain, Nothing, Refused];
        assert_eq!(told, expected);
    }
}

//! The lines of a profile file, each key with the line it stands on.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::ProfileError;

/// Keys and values not yet taken; what is left at the end is unknown.
pub(super) struct Keys {
    values: BTreeMap<String, (usize, String)>,
    headers: Vec<(usize, String)>,
}

/// A value with its key and line, for the error if it does not fit.
pub(super) struct Entry {
    key: &'static str,
    line: usize,
    pub(super) value: String,
}

impl Entry {
    pub(super) const fn unfit(&self, expected: &'static str) -> ProfileError {
        ProfileError::Value { line: self.line, key: self.key, expected }
    }

    /// Reads the value with `read`, or says what is expected.
    pub(super) fn read<T>(
        &self,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ProfileError> {
        read(&self.value).ok_or(self.unfit(expected))
    }
}

impl Keys {
    pub(super) fn read(text: &str) -> Result<Self, ProfileError> {
        let mut keys = Self { values: BTreeMap::new(), headers: Vec::new() };
        for (line, text) in (1..).zip(text.lines()) {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            let (key, value) = text.split_once(" = ").ok_or(ProfileError::Line { line })?;
            if key == "header" {
                keys.headers.push((line, value.to_owned()));
            } else if keys.values.insert(key.to_owned(), (line, value.to_owned())).is_some() {
                return Err(ProfileError::Doubled { line, key: key.to_owned() });
            }
        }
        Ok(keys)
    }

    /// Fails if a key has not been taken: no profile has it.
    pub(super) fn finish(self) -> Result<(), ProfileError> {
        match self.values.into_iter().min_by_key(|(_, (line, _))| *line) {
            Some((key, (line, _))) => Err(ProfileError::UnknownKey { line, key }),
            None => Ok(()),
        }
    }

    pub(super) fn headers(&mut self) -> Vec<Entry> {
        let headers = std::mem::take(&mut self.headers);
        headers.into_iter().map(|(line, value)| Entry { key: "header", line, value }).collect()
    }

    pub(super) fn optional(&mut self, key: &'static str) -> Option<Entry> {
        self.values.remove(key).map(|(line, value)| Entry { key, line, value })
    }

    pub(super) fn take(&mut self, key: &'static str) -> Result<Entry, ProfileError> {
        self.optional(key).ok_or(ProfileError::MissingKey(key))
    }

    /// Visible ASCII characters: nothing else may stand for itself in a request.
    pub(super) fn characters(
        &mut self,
        key: &'static str,
        expected: &'static str,
        fits: impl Fn(usize) -> bool,
    ) -> Result<Vec<u8>, ProfileError> {
        self.take(key)?.read(expected, |value| {
            let printable = value.bytes().all(|byte| byte.is_ascii_graphic());
            (printable && fits(value.len())).then(|| value.as_bytes().to_vec())
        })
    }

    pub(super) fn number<N: FromStr>(&mut self, key: &'static str) -> Result<N, ProfileError> {
        self.take(key)?.read("a number", |value| value.parse().ok())
    }

    /// A pause or time-out; zero would be a loop without a pause.
    pub(super) fn seconds(&mut self, key: &'static str) -> Result<Duration, ProfileError> {
        self.take(key)?.read("a number of seconds, at least 1", |value| {
            let seconds = value.parse::<u32>().ok().filter(|seconds| *seconds > 0)?;
            Some(Duration::from_secs(u64::from(seconds)))
        })
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<bool, ProfileError> {
        self.choice(key, "yes or no", &[("yes", true), ("no", false)])
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, ProfileError> {
        self.take(key)?.read(expected, |value| {
            choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice)
        })
    }

    /// Bytes in hexadecimal digits; none if the key is absent.
    pub(super) fn hex(&mut self, key: &'static str) -> Result<Vec<u8>, ProfileError> {
        match self.optional(key) {
            Some(entry) => entry.read("an even number of hexadecimal digits", |value| {
                HEXLOWER_PERMISSIVE.decode(value.as_bytes()).ok()
            }),
            None => Ok(Vec::new()),
        }
    }
}

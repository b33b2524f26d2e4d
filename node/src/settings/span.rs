//! Durations as people write them: `500ms`, `15s`, `5m`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Units, the largest first, with their milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Longest span accepted. A guess: beyond a year it is a typing error.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A duration in whole milliseconds, written with units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// Why text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a duration: write \"500ms\", \"15s\", \"5m\", \"1h\" or \"1h30m\"")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        parse(text)
            .map(Duration::from_millis)
            .filter(|span| *span <= LONGEST)
            .map(Self)
            .ok_or_else(|| SpanError(text.chars().take(40).collect()))
    }
}

/// Reads number and unit, again and again, each unit smaller than the one before.
fn parse(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let (_, millis) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        if millis >= smallest {
            return None;
        }
        smallest = millis;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
        rest = tail;
    }
    (smallest != u64::MAX).then_some(total)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            let number = rest / millis;
            rest %= millis;
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, millis: u64, printed: &str) {
        let span: Span = text.parse().unwrap();
        assert_eq!(span, Span(Duration::from_millis(millis)));
        assert_eq!(span.to_string(), printed);
        assert_eq!(printed.parse(), Ok(span));
    }

    #[test]
    fn durations_read_and_print() {
        check("500ms", 500, "500ms");
        check("15s", 15_000, "15s");
        check("90s", 90_000, "1m30s");
        check(" 1h30m ", 5_400_000, "1h30m");
        check("0s", 0, "0s");
        check("1d", 86_400_000, "1d");
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_forms() {
        for text in [
            "",
            "15",
            "s",
            "1.5s",
            "-1s",
            "5 s",
            "1s1h",
            "1s1s",
            "1y",
            "9".repeat(30).as_str(),
            "99999999999999999999s",
            "1000000h",
            "1s!",
        ] {
            let error = text.parse::<Span>().expect_err(text);
            assert!(error.to_string().contains("\"1h30m\""));
        }
    }
}

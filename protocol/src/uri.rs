//! The text form that people pass on: `bitchat:<kind>?<key>=<value>&<key>=<value>...` in one line.
//!
//! Values are percent-encoded (RFC 3986, section 2.1). Reading is strict about structure and
//! escapes, and takes characters beyond ASCII as they are, because programs that pass links on
//! like to show them decoded.

use zeroize::Zeroizing;

use crate::limits::{CHAT_FILE_BYTES_MAX, LINK_PARAMETERS_MAX};

/// Bytes of a text in this form.
const TEXT_BYTES_MAX: usize = CHAT_FILE_BYTES_MAX;

/// Why text is not in this form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Another beginning than `bitchat:<kind>?`.
    #[error("not a bitchat {0}: it must begin with \"bitchat:{0}?\"; copy it whole")]
    Kind(&'static str),
    /// Too long, or too many parameters.
    #[error("far too long for what it should be; copy it again")]
    TooLong,
    /// A parameter without `=`, a character that may not stand there, or a broken escape.
    #[error("damaged at character {at}: a line break, a space or a cut; copy it again")]
    Damaged {
        /// Place of the parameter, in bytes from the start.
        at: usize,
    },
    /// A parameter that may stand once stands twice.
    #[error("\"{0}\" is given twice: keep the right one")]
    Twice(&'static str),
    /// A parameter that must be there is not.
    #[error("\"{0}\" is missing: it is cut short; copy it whole")]
    Missing(&'static str),
    /// A parameter this version does not know.
    #[error("\"{0}\" is not known here: mistyped, or from a newer version")]
    Unknown(String),
}

/// One `key=value`, the value decoded.
pub(crate) type Parameter<'a> = (&'a str, Zeroizing<String>);

/// Takes the text apart. Space around it is ignored.
pub(crate) fn parse<'a>(text: &'a str, kind: &'static str) -> Result<Vec<Parameter<'a>>, UriError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(UriError::TooLong);
    }
    let query = text
        .trim()
        .strip_prefix("bitchat:")
        .and_then(|rest| rest.strip_prefix(kind)?.strip_prefix('?'))
        .ok_or(UriError::Kind(kind))?;
    if query.split('&').count() > LINK_PARAMETERS_MAX {
        return Err(UriError::TooLong);
    }
    let mut at = "bitchat:?".len() + kind.len();
    let mut parameters = Vec::new();
    for part in query.split('&') {
        let (key, value) = part.split_once('=').ok_or(UriError::Damaged { at })?;
        let well_named = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase());
        let value = well_named.then(|| unescape(value)).flatten();
        parameters.push((key, value.ok_or(UriError::Damaged { at })?));
        at += part.len() + 1;
    }
    Ok(parameters)
}

/// Takes the value of `key` out; there may be one at most.
pub(crate) fn take_optional(
    parameters: &mut Vec<Parameter<'_>>,
    key: &'static str,
) -> Result<Option<Zeroizing<String>>, UriError> {
    let mut values = take_all(parameters, key).into_iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(UriError::Twice(key)),
    }
}

/// Takes the value of `key` out; there must be one.
pub(crate) fn take_one(
    parameters: &mut Vec<Parameter<'_>>,
    key: &'static str,
) -> Result<Zeroizing<String>, UriError> {
    take_optional(parameters, key)?.ok_or(UriError::Missing(key))
}

/// Takes all values of `key` out, in their order.
pub(crate) fn take_all(parameters: &mut Vec<Parameter<'_>>, key: &str) -> Vec<Zeroizing<String>> {
    parameters.extract_if(.., |(name, _)| *name == key).map(|(_, value)| value).collect()
}

/// Refuses what nobody took out.
pub(crate) fn expect_empty(parameters: &[Parameter<'_>]) -> Result<(), UriError> {
    parameters.first().map_or(Ok(()), |(key, _)| Err(UriError::Unknown((*key).to_owned())))
}

/// Puts the text together.
pub(crate) fn write<'a>(kind: &str, parameters: Vec<(&'a str, &'a str)>) -> Zeroizing<String> {
    // Room for most, so that a secret is not left behind where the text outgrew its place.
    let room = 4096 + parameters.iter().map(|(_, value)| value.len()).sum::<usize>();
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str("bitchat:");
    text.push_str(kind);
    for (at, (key, value)) in parameters.into_iter().enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        escape_into(value, &mut text);
    }
    text
}

fn escape_into(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn unescape(value: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                tail
            }
            (b'%' | b'#' | b'"' | b'<' | b'>' | 0..=b' ' | 0x7f, _) => return None,
            (byte, tail) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    let text = std::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: UriError) {
        assert_eq!(parse(text, "test").map(|_| ()), Err(expected), "{text}");
    }

    #[test]
    fn parameters_read_back_in_their_order() {
        let text = write("test", vec![("a", "x y&=%#é"), ("b", ""), ("a", "udp://t:1/")]);
        assert_eq!(*text, "bitchat:test?a=x%20y%26%3D%25%23%C3%A9&b=&a=udp://t:1/");
        let mut parameters = parse(&text, "test").unwrap();
        assert_eq!(*take_one(&mut parameters, "b").unwrap(), "");
        let all: Vec<_> = take_all(&mut parameters, "a").iter().map(|v| v.to_string()).collect();
        assert_eq!(all, ["x y&=%#é", "udp://t:1/"]);
        assert_eq!(expect_empty(&parameters), Ok(()));
    }

    #[test]
    fn text_of_another_form_is_refused() {
        for text in ["", "bitchat:", "bitchat:test", "bitchat:other?a=b", "Bitchat:test?a=b"] {
            refused(text, UriError::Kind("test"));
        }
        for broken in ["", "a", "=b", "A=b", "a=%", "a=%4", "a=%4g", "a=%ff", "a=b c", "a=#"] {
            refused(&format!("bitchat:test?{broken}"), UriError::Damaged { at: 13 });
            refused(&format!("bitchat:test?a=b&{broken}"), UriError::Damaged { at: 17 });
        }
        refused(&"x".repeat(TEXT_BYTES_MAX + 1), UriError::TooLong);
        let many = "&a=b".repeat(LINK_PARAMETERS_MAX);
        refused(&format!("bitchat:test?a=b{many}"), UriError::TooLong);
    }

    #[test]
    fn one_too_many_one_too_few_and_an_unknown_one_are_told_apart() {
        let mut parameters = parse("bitchat:test?a=1&a=2&c=3", "test").unwrap();
        assert_eq!(take_one(&mut parameters, "b"), Err(UriError::Missing("b")));
        assert_eq!(take_optional(&mut parameters, "a"), Err(UriError::Twice("a")));
        assert_eq!(expect_empty(&parameters), Err(UriError::Unknown("c".to_owned())));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_value_survives(value in any::<String>()) {
            let text = write("test", vec![("a", value.as_str())]);
            let mut parameters = parse(&text, "test").unwrap();
            prop_assert_eq!(&**take_one(&mut parameters, "a").unwrap(), value.as_str());
        }

        #[test]
        fn no_text_panics(text in "(bitchat:test\\?)?[a=&%4é\\PC]{0,20}") {
            let _ = parse(&text, "test");
        }
    }
}

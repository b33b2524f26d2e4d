//! Bencode (BEP 3, "bencoding"): the notation of `.chat` files, HTTP trackers and the DHT.
//!
//! ```text
//! integer     i<decimal>e          no leading zeros, no plus sign, no minus zero, 64 bits
//! bytes       <length>:<bytes>     no leading zeros
//! list        l<value>...e
//! dictionary  d<bytes><value>...e  keys sorted as raw bytes, each once
//! ```
//!
//! The decoder borrows from its input. It is strict about numbers and lengths and, as libtorrent
//! is, lenient about dictionaries: keys in any order, and of equal keys the first counts.
//! [`Value::is_canonical`] tells whether that leniency was needed. The encoder always writes
//! sorted keys, each once.

use std::collections::BTreeMap;

use crate::limits::{BENCODE_DEPTH_MAX, BENCODE_ITEMS_MAX};

/// A decoded value that borrows its byte strings from the input.
///
/// `Debug` prints only the lengths of byte strings: they may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A signed integer.
    Int(i64),
    /// Raw bytes; text is whatever the reader makes of them.
    Bytes(&'a [u8]),
    /// Values in their order.
    List(Vec<Self>),
    /// Keys and values in the order of the input, equal keys included.
    Dict(Vec<(&'a [u8], Self)>),
}

/// Why bytes are not one bencoded value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside the value.
    #[error("the bencoded value is cut short")]
    Truncated,
    /// A byte that no rule allows there, or a number outside 64 bits.
    #[error("not bencode at byte {at}")]
    Malformed {
        /// Offset of the element that breaks a rule.
        at: usize,
    },
    /// Lists and dictionaries nested deeper than [`BENCODE_DEPTH_MAX`].
    #[error("bencode nested deeper than {BENCODE_DEPTH_MAX} levels")]
    TooDeep,
    /// More values than [`BENCODE_ITEMS_MAX`].
    #[error("more than {BENCODE_ITEMS_MAX} bencoded values")]
    TooMany,
    /// Bytes follow the value where none may.
    #[error("bytes follow the bencoded value")]
    TrailingBytes,
}

/// Decodes an input that is exactly one value.
///
/// # Errors
///
/// [`DecodeError`]; the input's length is the caller's to bound.
pub fn decode(input: &[u8]) -> Result<Value<'_>, DecodeError> {
    let (value, rest) = decode_prefix(input)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::TrailingBytes) }
}

/// Decodes the value at the start of `input` and gives back what follows it: some HTTP trackers
/// append a line break.
///
/// # Errors
///
/// Every [`DecodeError`] but [`DecodeError::TrailingBytes`].
pub fn decode_prefix(input: &[u8]) -> Result<(Value<'_>, &[u8]), DecodeError> {
    let mut decoder = Decoder { input, at: 0, items: 0 };
    let value = decoder.value(0)?;
    Ok((value, &input[decoder.at..]))
}

impl<'a> Value<'a> {
    /// The integer, if it is one.
    #[must_use]
    pub const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Bytes(_) | Self::List(_) | Self::Dict(_) => None,
        }
    }

    /// The bytes, if it is a byte string.
    #[must_use]
    pub const fn as_bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Int(_) | Self::List(_) | Self::Dict(_) => None,
        }
    }

    /// The text, if it is a byte string in UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The elements, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            Self::Int(_) | Self::Bytes(_) | Self::Dict(_) => None,
        }
    }

    /// The entries in the order of the input, if it is a dictionary.
    #[must_use]
    pub fn as_dict(&self) -> Option<&[(&'a [u8], Self)]> {
        match self {
            Self::Dict(entries) => Some(entries),
            Self::Int(_) | Self::Bytes(_) | Self::List(_) => None,
        }
    }

    /// The value under `key`, the first if there are several; `None` too when this is no dictionary.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Self> {
        self.as_dict()?.iter().find_map(|(name, value)| (*name == key).then_some(value))
    }

    /// Whether every dictionary within has its keys sorted and each once: then, and only then,
    /// [`Value::encode`] gives back the bytes that were decoded.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        match self {
            Self::Int(_) | Self::Bytes(_) => true,
            Self::List(items) => items.iter().all(Self::is_canonical),
            Self::Dict(entries) => {
                entries.windows(2).all(|pair| pair[0].0 < pair[1].0)
                    && entries.iter().all(|(_, value)| value.is_canonical())
            }
        }
    }

    /// Encodes the value with sorted keys; of equal keys the first is kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Appends what [`Value::encode`] gives to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(int) => out.extend_from_slice(format!("i{int}e").as_bytes()),
            Self::Bytes(bytes) => encode_bytes(bytes, out),
            Self::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.encode_into(out));
                out.push(b'e');
            }
            Self::Dict(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                // Stable, so that of equal keys the first stays first.
                sorted.sort_by_key(|(key, _)| *key);
                sorted.dedup_by_key(|(key, _)| *key);
                out.push(b'd');
                for (key, value) in sorted {
                    encode_bytes(key, out);
                    value.encode_into(out);
                }
                out.push(b'e');
            }
        }
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(int) => write!(f, "Int({int})"),
            Self::Bytes(bytes) => write!(f, "Bytes(_; {})", bytes.len()),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Dict(entries) => f
                .debug_map()
                .entries(entries.iter().map(|(key, value)| (key.escape_ascii().to_string(), value)))
                .finish(),
        }
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

/// A value that owns its bytes: for what must outlive the input it came from.
#[derive(Clone, PartialEq, Eq)]
pub enum OwnedValue {
    /// A signed integer.
    Int(i64),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// Values in their order.
    List(Vec<Self>),
    /// Keys and values; sorted, each key once.
    Dict(BTreeMap<Vec<u8>, Self>),
}

impl OwnedValue {
    /// Borrows it as a [`Value`], to be read or encoded.
    #[must_use]
    pub fn borrow(&self) -> Value<'_> {
        match self {
            Self::Int(int) => Value::Int(*int),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::List(items) => Value::List(items.iter().map(Self::borrow).collect()),
            Self::Dict(entries) => Value::Dict(
                entries.iter().map(|(key, value)| (key.as_slice(), value.borrow())).collect(),
            ),
        }
    }
}

impl From<&Value<'_>> for OwnedValue {
    /// Copies a borrowed value; of equal keys the first is kept.
    fn from(value: &Value<'_>) -> Self {
        match value {
            Value::Int(int) => Self::Int(*int),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Value::List(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Dict(entries) => {
                let mut owned = BTreeMap::new();
                for (key, value) in entries {
                    owned.entry(key.to_vec()).or_insert_with(|| Self::from(value));
                }
                Self::Dict(owned)
            }
        }
    }
}

impl std::fmt::Debug for OwnedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.borrow().fmt(f)
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
    items: usize,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, DecodeError> {
        match self.peek()? {
            b'i' => {
                self.count()?;
                self.int()
            }
            b'l' => {
                self.enter(depth)?;
                let mut items = Vec::new();
                while !self.leave()? {
                    items.push(self.value(depth + 1)?);
                }
                Ok(Value::List(items))
            }
            b'd' => {
                self.enter(depth)?;
                let mut entries = Vec::new();
                while !self.leave()? {
                    entries.push((self.bytes()?, self.value(depth + 1)?));
                }
                Ok(Value::Dict(entries))
            }
            b'0'..=b'9' => {
                self.count()?;
                Ok(Value::Bytes(self.bytes()?))
            }
            _ => Err(self.malformed()),
        }
    }

    fn peek(&self) -> Result<u8, DecodeError> {
        self.input.get(self.at).copied().ok_or(DecodeError::Truncated)
    }

    const fn malformed(&self) -> DecodeError {
        DecodeError::Malformed { at: self.at }
    }

    fn count(&mut self) -> Result<(), DecodeError> {
        self.items += 1;
        if self.items > BENCODE_ITEMS_MAX { Err(DecodeError::TooMany) } else { Ok(()) }
    }

    fn enter(&mut self, depth: usize) -> Result<(), DecodeError> {
        self.count()?;
        if depth == BENCODE_DEPTH_MAX {
            return Err(DecodeError::TooDeep);
        }
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) -> Result<bool, DecodeError> {
        let ended = self.peek()? == b'e';
        self.at += usize::from(ended);
        Ok(ended)
    }

    /// Takes digits up to `end`, without leading zeros, and gives them back.
    fn digits(&self, from: usize, end: u8) -> Result<&'a str, DecodeError> {
        let rest = &self.input[from..];
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let next = *rest.get(len).ok_or(DecodeError::Truncated)?;
        let well_formed = next == end && len > 0 && (len == 1 || rest[0] != b'0');
        let digits = std::str::from_utf8(&rest[..len]).ok().filter(|_| well_formed);
        digits.ok_or(self.malformed())
    }

    fn int(&mut self) -> Result<Value<'a>, DecodeError> {
        let negative = self.input.get(self.at + 1) == Some(&b'-');
        let from = self.at + 1 + usize::from(negative);
        let digits = self.digits(from, b'e')?;
        if negative && digits == "0" {
            return Err(self.malformed());
        }
        let text = std::str::from_utf8(&self.input[self.at + 1..from + digits.len()]);
        let int = text.ok().and_then(|text| text.parse().ok()).ok_or(self.malformed())?;
        self.at = from + digits.len() + 1;
        Ok(Value::Int(int))
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        if !self.peek()?.is_ascii_digit() {
            return Err(self.malformed());
        }
        let digits = self.digits(self.at, b':')?;
        let len: usize = digits.parse().map_err(|_| self.malformed())?;
        let rest = &self.input[self.at + digits.len() + 1..];
        let bytes = rest.get(..len).ok_or(DecodeError::Truncated)?;
        self.at += digits.len() + 1 + len;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: Result<Value<'_>, DecodeError>) {
        assert_eq!(decode(input), expected, "{}", input.escape_ascii());
    }

    #[test]
    fn the_examples_of_bep_3_decode() {
        check(b"4:spam", Ok(Value::Bytes(b"spam")));
        check(b"0:", Ok(Value::Bytes(b"")));
        check(b"i3e", Ok(Value::Int(3)));
        check(b"i-3e", Ok(Value::Int(-3)));
        check(b"i0e", Ok(Value::Int(0)));
        check(b"i-9223372036854775808e", Ok(Value::Int(i64::MIN)));
        check(b"le", Ok(Value::List(vec![])));
        check(b"de", Ok(Value::Dict(vec![])));
        check(b"l4:spam4:eggse", Ok(Value::List(vec!["spam".into(), "eggs".into()])));
        let dict = Value::Dict(vec![
            (b"cow", "moo".into()),
            (b"spam", Value::List(vec!["a".into(), "b".into()])),
        ]);
        check(b"d3:cow3:moo4:spaml1:a1:bee", Ok(dict));
    }

    #[test]
    fn numbers_and_lengths_in_any_but_their_one_form_are_refused() {
        for input in [
            "i007e",
            "i-0e",
            "i-01e",
            "i+5e",
            "ie",
            "i-e",
            "i 5e",
            "i5 e",
            "i--5e",
            "i5.0e",
            "i9223372036854775808e",
            "01:a",
            "00:",
            "-1:a",
            "+1:a",
            "1 :a",
            "1-a",
            "x",
            "e",
            ":",
            "99999999999999999999999:a",
        ] {
            check(input.as_bytes(), Err(DecodeError::Malformed { at: 0 }));
        }
        check(b"di1e1:ae", Err(DecodeError::Malformed { at: 1 }));
        check(b"d1:ae", Err(DecodeError::Malformed { at: 4 }));
        check(b"l-1:ae", Err(DecodeError::Malformed { at: 1 }));
    }

    #[test]
    fn every_prefix_of_a_value_is_cut_short() {
        let whole = b"d1:ad2:idi-12ee1:bl3:abci0eee";
        assert!(decode(whole).is_ok());
        for len in 0..whole.len() {
            check(&whole[..len], Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn a_length_beyond_the_input_is_cut_short_and_allocates_nothing() {
        check(b"99999999999:a", Err(DecodeError::Truncated));
        check(b"18446744073709551615:a", Err(DecodeError::Truncated));
    }

    #[test]
    fn bytes_after_the_value_are_refused_or_handed_back() {
        check(b"i1e\r\n", Err(DecodeError::TrailingBytes));
        assert_eq!(decode_prefix(b"i1e\r\n"), Ok((Value::Int(1), b"\r\n".as_slice())));
    }

    #[test]
    fn nesting_ends_at_its_bound() {
        let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        assert!(decode(&nested(BENCODE_DEPTH_MAX)).is_ok());
        check(&nested(BENCODE_DEPTH_MAX + 1), Err(DecodeError::TooDeep));
        check(&vec![b'l'; 1_000_000], Err(DecodeError::TooDeep));
        check(&b"d1:a".repeat(100_000), Err(DecodeError::TooDeep));
    }

    #[test]
    fn the_number_of_values_ends_at_its_bound() {
        let list = |items: usize| [b"l".to_vec(), b"0:".repeat(items), b"e".to_vec()].concat();
        assert!(decode(&list(BENCODE_ITEMS_MAX - 1)).is_ok());
        check(&list(BENCODE_ITEMS_MAX), Err(DecodeError::TooMany));
    }

    #[test]
    fn unsorted_and_equal_keys_are_read_first_wins_but_are_not_canonical() {
        let value = decode(b"d1:bi1e1:ai2e1:bi3ee").unwrap();
        assert_eq!(value.get(b"b"), Some(&Value::Int(1)));
        assert!(!value.is_canonical());
        assert_eq!(value.encode(), b"d1:ai2e1:bi1ee");
        assert_eq!(OwnedValue::from(&value).borrow().encode(), b"d1:ai2e1:bi1ee");
        assert!(decode(b"ld1:ai1e1:bi2eee").unwrap().is_canonical());
        assert!(!decode(b"ld1:ai1e1:ai2eee").unwrap().is_canonical());
        assert!(!decode(b"d1:ad1:bi1e1:ai2eee").unwrap().is_canonical());
    }

    #[test]
    fn accessors_answer_only_for_their_own_kind() {
        let value = decode(b"d1:ai1e1:bl1:xe1:c2:\xff\xfee").unwrap();
        assert_eq!(value.get(b"a").and_then(Value::as_int), Some(1));
        assert_eq!(value.get(b"b").and_then(Value::as_list), Some(["x".into()].as_slice()));
        assert_eq!(value.get(b"c").and_then(Value::as_bytes), Some(b"\xff\xfe".as_slice()));
        assert_eq!(value.get(b"c").and_then(Value::as_str), None);
        assert_eq!(value.get(b"d"), None);
        assert_eq!(value.get(b"a").and_then(|a| a.get(b"a")), None);
        assert_eq!(value.as_int(), None);
        assert_eq!(value.as_list(), None);
        assert_eq!(value.as_bytes(), None);
    }

    #[test]
    fn printing_shows_the_length_of_byte_strings_and_not_their_content() {
        let text = format!("{:?}", decode(b"d6:secret6:hiddene").unwrap());
        assert_eq!(text, r#"{"secret": Bytes(_; 6)}"#);
    }

    fn any_value() -> impl Strategy<Value = OwnedValue> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(OwnedValue::Int),
            vec(any::<u8>(), 0..20).prop_map(OwnedValue::Bytes),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(OwnedValue::List),
                btree_map(vec(any::<u8>(), 0..6), inner, 0..6).prop_map(OwnedValue::Dict),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_is_encoded_decodes_to_itself(value in any_value()) {
            let bytes = value.borrow().encode();
            let decoded = decode(&bytes).unwrap();
            prop_assert!(decoded.is_canonical());
            prop_assert_eq!(OwnedValue::from(&decoded), value);
        }

        #[test]
        fn what_decodes_and_is_canonical_encodes_to_the_same_bytes(
            bytes in vec(prop::sample::select(b"ilde012:-ab".to_vec()), 0..24),
        ) {
            if let Ok((value, rest)) = decode_prefix(&bytes) {
                let used = &bytes[..bytes.len() - rest.len()];
                prop_assert_eq!(value.is_canonical(), value.encode() == used);
            }
        }
    }
}

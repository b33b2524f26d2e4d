//! Who we are: the identity, the names people show, contact cards and safety words.
//!
//! ```text
//! contact card   bitchat:contact?id=<58 characters of base32>&name=<percent-encoded>
//! safety words   12 groups of 5 digits, the same for both of two contacts
//! ```
//!
//! A card is public: whoever has it can recognise its owner, not act for them.

use std::fmt;
use std::str::FromStr;

use crate::crypto::sign::{self, SigningKey};
use crate::crypto::{Rng, Secret, dh, hash};
use crate::id::{ParseIdError, PeerId};
use crate::limits::NAME_BYTES_MAX;
use crate::uri::{self, UriError};

const SAFETY_WORDS_LABEL: &str = "bitchat v1 safety words";
/// Groups of digits in the safety words.
const SAFETY_GROUPS: usize = 12;
/// Bytes hashed per group. The remainder of 40 bits by 100,000 is uniform up to one part in 10^7.
const SAFETY_GROUP_BYTES: usize = 5;

/// Our own identity: an Ed25519 key pair.
///
/// The same key signs, and in its X25519 form takes part in handshakes.
#[derive(Debug, Clone)]
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// Makes a new identity.
    #[must_use]
    pub fn generate(rng: &mut Rng) -> Self {
        Self::from_seed(rng.secret())
    }

    /// Restores an identity from its 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: Secret<32>) -> Self {
        Self { key: SigningKey::from_seed(seed) }
    }

    /// The seed, to be stored.
    #[must_use]
    pub const fn seed(&self) -> &Secret<32> {
        self.key.seed()
    }

    /// The public half, by which others know us.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        PeerId(*self.key.public())
    }

    /// The key pair itself, for the handshake.
    #[must_use]
    pub const fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The X25519 form: the static key of the handshake.
    #[must_use]
    pub fn to_dh(&self) -> dh::KeyPair {
        self.key.to_dh()
    }

    /// Signs `message`; what is signed must begin with a label of its purpose.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; sign::SIGNATURE_BYTES] {
        self.key.sign(message)
    }

    /// The card to give to others.
    #[must_use]
    pub const fn card(&self, name: DisplayName) -> Card {
        Card { peer: self.peer_id(), name }
    }
}

/// A name fit to be shown: 1 to 64 bytes of UTF-8 with something visible in them, no space at
/// either end, and no character that is invisible or changes how its surroundings are shown.
///
/// Two different names can still look alike: only keys tell people apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DisplayName(String);

/// Why text is not a [`DisplayName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing in it can be seen.
    #[error("the name is empty: give at least one visible character")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("the name has {bytes} bytes; {NAME_BYTES_MAX} are allowed: shorten it")]
    TooLong {
        /// Bytes of the name.
        bytes: usize,
    },
    /// A space at either end.
    #[error("the name begins or ends with a space: remove it")]
    Padded,
    /// A control character, a direction mark or an invisible character.
    #[error("the name contains U+{:04X}, which cannot be shown safely: remove it", u32::from(*.0))]
    Forbidden(char),
}

impl DisplayName {
    /// Takes `text` as it is.
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule the text breaks, in words for the person who chose it.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        if let Some(character) = text.chars().find(|character| is_forbidden(*character)) {
            return Err(NameError::Forbidden(character));
        }
        if text.chars().all(|character| character.is_whitespace() || is_joiner(character)) {
            return Err(NameError::Empty);
        }
        if text.trim().len() != text.len() {
            return Err(NameError::Padded);
        }
        Ok(Self(text))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for DisplayName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// Controls, direction marks (Unicode Standard Annex 9), and what takes no place or looks empty.
fn is_forbidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
        || matches!(character,
            '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}' | '\u{2800}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Invisible, but needed inside words of some scripts and inside emoji.
const fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// What a person gives to others to be found in their contact book: public key and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Whose card it is.
    pub peer: PeerId,
    /// The name they gave themselves.
    pub name: DisplayName,
}

/// Why text is not a [`Card`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The text as a whole is not a card.
    #[error("contact card: {0}")]
    Form(#[from] UriError),
    /// The id does not read.
    #[error("contact card: the id is damaged ({0}); ask for the card again")]
    Id(#[from] ParseIdError),
    /// The id reads, but no handshake can be made with such a key.
    #[error("contact card: the id is not a usable key; ask for the card again")]
    Key,
    /// The name is not one.
    #[error("contact card: {0}")]
    Name(#[from] NameError),
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.peer.to_string();
        f.write_str(&uri::write("contact", vec![("id", id.as_str()), ("name", self.name.as_str())]))
    }
}

impl FromStr for Card {
    type Err = CardError;

    fn from_str(text: &str) -> Result<Self, CardError> {
        let mut parameters = uri::parse(text, "contact")?;
        let id = uri::take_one(&mut parameters, "id")?;
        let name = uri::take_one(&mut parameters, "name")?;
        uri::expect_empty(&parameters)?;
        let peer: PeerId = id.parse()?;
        sign::public_to_dh(&peer.0).map_err(|_| CardError::Key)?;
        Ok(Self { peer, name: name.parse()? })
    }
}

/// What two people compare aloud to be sure that nobody sits between them: 12 groups of 5 digits.
///
/// Either order of the two ids gives the same words. They carry 199 bits, so a stranger who picks
/// keys on both sides until the words collide needs about 2^99 of them.
#[must_use]
pub fn safety_words(one: &PeerId, other: &PeerId) -> String {
    let (lower, higher) = if one <= other { (one, other) } else { (other, one) };
    let digest: [u8; SAFETY_GROUPS * SAFETY_GROUP_BYTES] =
        hash::unkeyed(SAFETY_WORDS_LABEL, &[&lower.0, &higher.0]);
    let group = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let groups: Vec<_> = digest
        .chunks(SAFETY_GROUP_BYTES)
        .map(|bytes| format!("{:05}", group(bytes) % 100_000))
        .collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::Rng;

    const VECTORS: &str = include_str!("../../docs/spec/vectors/identity.json");

    fn identity(seed: u8) -> Identity {
        Identity::from_seed(Secret::new([seed; 32]))
    }

    fn name(text: &str) -> DisplayName {
        DisplayName::new(text).unwrap()
    }

    #[test]
    fn an_identity_is_its_seed() {
        let made = Identity::generate(&mut Rng::from_seed([1; 32]));
        let restored = Identity::from_seed(made.seed().clone());
        assert_eq!(made.peer_id(), restored.peer_id());
        assert_ne!(made.peer_id(), identity(1).peer_id());
        assert!(sign::verify(&made.peer_id().0, b"text", &restored.sign(b"text")));
        assert_eq!(sign::public_to_dh(&made.peer_id().0), Ok(*restored.to_dh().public()));
    }

    #[test]
    fn an_identity_does_not_print_its_seed() {
        assert_eq!(format!("{:?}", identity(1)), "Identity { key: SigningKey(_) }");
    }

    #[test]
    fn ids_cards_and_safety_words_are_those_computed_independently() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let mut ids = Vec::new();
        for vector in vectors["identities"].as_array().unwrap() {
            let text = |key: &str| vector[key].as_str().unwrap();
            let seed = HEXLOWER.decode(text("seed").as_bytes()).unwrap();
            let identity = Identity::from_seed(Secret::new(seed.try_into().unwrap()));
            assert_eq!(HEXLOWER.encode(&identity.peer_id().0), text("public"));
            assert_eq!(identity.peer_id().to_string(), text("peer_id"));
            assert_eq!(identity.card(name(text("name"))).to_string(), text("card"));
            ids.push(identity.peer_id());
        }
        let words = safety_words(&ids[0], &ids[1]);
        assert_eq!(Some(words.as_str()), vectors["safety_words"].as_str());
    }

    #[test]
    fn names_of_many_scripts_are_names() {
        for text in
            ["Bob", "Zoë", "山田 太郎", "👩\u{200d}💻", "می\u{200c}خواهم", "x".repeat(64).as_str()]
        {
            assert_eq!(name(text).as_str(), text);
        }
    }

    #[test]
    fn a_name_that_would_deceive_is_refused_with_the_reason() {
        #[track_caller]
        fn check(text: &str, expected: NameError) {
            assert_eq!(DisplayName::new(text), Err(expected));
        }
        check("", NameError::Empty);
        check("  ", NameError::Empty);
        check("\u{200d}\u{fe0f}", NameError::Empty);
        check(&"x".repeat(65), NameError::TooLong { bytes: 65 });
        check(" Bob", NameError::Padded);
        check("Bob\u{a0}", NameError::Padded);
        for hidden in "\n\r\t\0\u{1b}\u{7f}\u{9b}\u{202e}\u{2066}\u{200e}\u{200b}\u{feff}\u{2028}\u{3164}\u{e0041}".chars() {
            check(&format!("Bob{hidden}by"), NameError::Forbidden(hidden));
        }
        let message = NameError::Forbidden('\u{202e}').to_string();
        assert_eq!(message, "the name contains U+202E, which cannot be shown safely: remove it");
    }

    #[test]
    fn a_card_reads_back_from_its_text() {
        let card = identity(1).card(name("Zoë & Bob"));
        let text = card.to_string();
        assert_eq!(text, format!("bitchat:contact?id={}&name=Zo%C3%AB%20%26%20Bob", card.peer));
        assert_eq!(text.parse(), Ok(card.clone()));
        assert_eq!(format!("  {text}\n").parse(), Ok(card));
    }

    #[test]
    fn a_damaged_card_says_what_is_wrong() {
        #[track_caller]
        fn check(text: &str, expected: CardError) {
            assert_eq!(text.parse::<Card>(), Err(expected), "{text}");
        }
        let id = identity(1).peer_id();
        let unusable = PeerId([0; 32]);
        check("hello", UriError::Kind("contact").into());
        check(&format!("bitchat:contact?id={id}"), UriError::Missing("name").into());
        check("bitchat:contact?name=Bob", UriError::Missing("id").into());
        check(&format!("bitchat:contact?id={id}&name=A&name=B"), UriError::Twice("name").into());
        let unknown = UriError::Unknown("x".to_owned());
        check(&format!("bitchat:contact?id={id}&name=Bob&x=1"), unknown.into());
        let wrong = if id.to_string().starts_with('a') { "b" } else { "a" };
        let mistyped = format!("{wrong}{}", &id.to_string()[1..]);
        check(&format!("bitchat:contact?id={mistyped}&name=Bob"), ParseIdError::Checksum.into());
        check(&format!("bitchat:contact?id={unusable}&name=Bob"), CardError::Key);
        check(&format!("bitchat:contact?id={id}&name="), NameError::Empty.into());
    }

    #[test]
    fn both_sides_see_the_same_safety_words_and_others_see_others() {
        let (alice, bob, eve) =
            (identity(1).peer_id(), identity(2).peer_id(), identity(3).peer_id());
        let words = safety_words(&alice, &bob);
        assert_eq!(words, safety_words(&bob, &alice));
        assert_ne!(words, safety_words(&alice, &eve));
        assert_ne!(words, safety_words(&eve, &bob));
        let groups: Vec<_> = words.split(' ').collect();
        assert_eq!(groups.len(), SAFETY_GROUPS);
        assert!(groups.iter().all(|group| group.len() == 5 && group.parse::<u32>().is_ok()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_valid_name_survives_on_a_card(text in "\\PC{1,16}") {
            if let Ok(name) = DisplayName::new(text) {
                let card = identity(1).card(name);
                prop_assert_eq!(card.to_string().parse(), Ok(card));
            }
        }
    }
}

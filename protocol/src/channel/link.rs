//! A `.chat` file as one line of text, to be pasted into a message.
//!
//! ```text
//! bitchat:channel?v=1&name=<name>&kind=<kind>&rotation=<rotation>&secret=<base32>
//!                &founder=<peer id>&tr=<tier>...&node=<host:port>...
//!
//! secret   base32(S || checksum)             a member's link
//! seed     base32(Ks || public || checksum)  a seeder's link, in place of secret
//! tr       one tier of tracker URLs, separated by spaces; once per tier
//! ```
//!
//! Base32 is RFC 4648, lower case, without padding; the checksum is 4 bytes. Founder, trackers and
//! nodes may be absent. Unlike the file, the link does not carry what this version does not know.

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use super::chat_file::{ChatFile, ChatFileError, Key, Kind};
use super::epoch::Rotation;
use super::keys::{ChannelPublicKey, ChannelSecret, SeedKey};
use crate::crypto::{Secret, hash, sign};
use crate::id::{ParseIdError, PeerId};
use crate::identity::DisplayName;
use crate::uri::{self, UriError};

const VERSION: &str = "1";
const CHECKSUM_LABEL: &str = "bitchat v1 channel link checksum";
const CHECKSUM_BYTES: usize = 4;
const SECRET_BYTES: usize = 32 + CHECKSUM_BYTES;
const SEED_BYTES: usize = 64 + CHECKSUM_BYTES;

/// Why text is not a channel link; each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelLinkError {
    /// The text as a whole is not one.
    #[error("channel link: {0}")]
    Form(#[from] UriError),
    /// Another version of the link.
    #[error("channel link: made for another version of bitchat: update to use it")]
    Version,
    /// The key does not read or fails its checksum.
    #[error("channel link: the key is damaged, a character is wrong or missing; copy it again")]
    Key,
    /// The founder's id does not read.
    #[error("channel link: the founder's id is damaged ({0}); copy it again")]
    Founder(#[from] ParseIdError),
    /// A part of it is not what may stand in a `.chat` file.
    #[error("channel link: {0}")]
    Content(#[from] ChatFileError),
}

impl ChatFile {
    /// Writes the link. The text holds a secret.
    #[must_use]
    pub fn to_link(&self) -> Zeroizing<String> {
        let (key, key_text) = match &self.key {
            Key::Member(secret) => ("secret", checked::<SECRET_BYTES>(&[secret.0.expose()])),
            Key::Seeder(seed, public) => {
                ("seed", checked::<SEED_BYTES>(&[seed.0.expose(), &public.0]))
            }
        };
        let founder = self.founder.map(|founder| founder.to_string());
        let tiers: Vec<_> = self.tiers().iter().map(|tier| tier.join(" ")).collect();
        let nodes: Vec<_> = self.nodes().iter().map(ToString::to_string).collect();
        let mut parameters = vec![
            ("v", VERSION),
            ("name", self.name.as_str()),
            ("kind", self.kind.as_str()),
            ("rotation", self.rotation.as_str()),
            (key, key_text.as_str()),
        ];
        parameters.extend(founder.as_deref().map(|founder| ("founder", founder)));
        parameters.extend(tiers.iter().map(|tier| ("tr", tier.as_str())));
        parameters.extend(nodes.iter().map(|node| ("node", node.as_str())));
        uri::write("channel", parameters)
    }

    /// Reads a link.
    ///
    /// # Errors
    ///
    /// [`ChannelLinkError`], in words for the person who pasted it.
    pub fn from_link(text: &str) -> Result<Self, ChannelLinkError> {
        let mut parameters = uri::parse(text, "channel")?;
        // First of all: another version may have changed everything else.
        if *uri::take_one(&mut parameters, "v")? != VERSION {
            return Err(ChannelLinkError::Version);
        }
        let name = DisplayName::new(uri::take_one(&mut parameters, "name")?.as_str());
        let kind = Kind::from_word(&uri::take_one(&mut parameters, "kind")?);
        let rotation = Rotation::from_word(&uri::take_one(&mut parameters, "rotation")?);
        let secret = uri::take_optional(&mut parameters, "secret")?;
        let seed = uri::take_optional(&mut parameters, "seed")?;
        let founder = uri::take_optional(&mut parameters, "founder")?;
        let tiers = uri::take_all(&mut parameters, "tr");
        let nodes = uri::take_all(&mut parameters, "node");
        uri::expect_empty(&parameters)?;

        let node = |text: &Zeroizing<String>| text.parse().map_err(ChatFileError::Node);
        let file = Self::assemble(
            name.map_err(ChatFileError::Name)?,
            tiers.iter().map(|tier| tier.split(' ').map(str::to_owned).collect()).collect(),
            nodes.iter().map(node).collect::<Result<_, _>>()?,
            rotation.ok_or(ChatFileError::NewerValue("rotation"))?,
            key_of(secret.as_deref(), seed.as_deref())?,
        )?;
        let kind = kind.ok_or(ChatFileError::NewerValue("kind"))?;
        let founder = founder.map(|founder| usable(founder.parse()?)).transpose()?;
        Ok(Self { kind, founder, ..file })
    }
}

fn key_of(secret: Option<&String>, seed: Option<&String>) -> Result<Key, ChannelLinkError> {
    match (secret, seed) {
        (Some(text), None) => {
            let bytes = unchecked::<SECRET_BYTES>(text)?;
            let secret = bytes.expose().first_chunk::<32>().ok_or(ChannelLinkError::Key)?;
            Ok(Key::Member(ChannelSecret(Secret::new(*secret))))
        }
        (None, Some(text)) => {
            let bytes = unchecked::<SEED_BYTES>(text)?;
            let (seed, rest) =
                bytes.expose().split_first_chunk::<32>().ok_or(ChannelLinkError::Key)?;
            let public = rest.first_chunk::<32>().ok_or(ChannelLinkError::Key)?;
            sign::public_to_dh(public).map_err(|_| ChannelLinkError::Key)?;
            Ok(Key::Seeder(SeedKey(Secret::new(*seed)), ChannelPublicKey(*public)))
        }
        (None, None) => Err(UriError::Missing("secret").into()),
        (Some(_), Some(_)) => Err(UriError::Twice("secret").into()),
    }
}

fn usable(founder: PeerId) -> Result<PeerId, ChannelLinkError> {
    let expected = "a usable Ed25519 public key";
    let wrong = ChatFileError::Wrong { key: "founder", expected };
    sign::public_to_dh(&founder.0).map_err(|_| wrong)?;
    Ok(founder)
}

/// The parts and their checksum, `N` bytes together, in base32.
fn checked<const N: usize>(parts: &[&[u8; 32]]) -> Zeroizing<String> {
    let mut bytes = Secret::new([0; N]);
    let (keys, checksum) = bytes.expose_mut().split_at_mut(N - CHECKSUM_BYTES);
    for (place, part) in keys.chunks_mut(32).zip(parts) {
        place.copy_from_slice(*part);
    }
    checksum.copy_from_slice(&checksum_of(keys));
    let mut text = Zeroizing::new(BASE32_NOPAD.encode(bytes.expose()));
    text.make_ascii_lowercase();
    text
}

fn unchecked<const N: usize>(text: &str) -> Result<Secret<N>, ChannelLinkError> {
    // The length first: it bounds what is decoded, and what decoding writes.
    if text.len() != BASE32_NOPAD.encode_len(N) {
        return Err(ChannelLinkError::Key);
    }
    let text = Zeroizing::new(text.to_ascii_uppercase());
    let decoded = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| ChannelLinkError::Key)?;
    let decoded = Zeroizing::new(decoded);
    let mut bytes = Secret::new([0; N]);
    bytes.expose_mut().copy_from_slice(&decoded);
    let (keys, checksum) = bytes.expose().split_at(N - CHECKSUM_BYTES);
    if checksum == checksum_of(keys) { Ok(bytes) } else { Err(ChannelLinkError::Key) }
}

fn checksum_of(keys: &[u8]) -> [u8; CHECKSUM_BYTES] {
    hash::unkeyed(CHECKSUM_LABEL, &[keys])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channel::test_files::{any_file, vectors};
    use crate::channel::{AddressError, ChannelKeys};
    use crate::identity::NameError;
    use crate::tracker::UrlError;

    #[test]
    fn every_vector_of_a_file_is_written_as_its_link_and_reads_back() {
        for vector in vectors() {
            let file = ChatFile::from_bytes(&vector.file).unwrap();
            assert_eq!(*file.to_link(), vector.link, "{}", vector.about);
            let read = ChatFile::from_link(&vector.link).expect(&vector.about);
            if vector.about.starts_with("future") {
                assert_eq!(read.unknown.len() + read.unknown_in_channel.len(), 0);
                assert_eq!(read.keys().id(), file.keys().id());
            } else {
                assert_eq!(read, file, "{}", vector.about);
            }
        }
    }

    #[test]
    fn every_single_wrong_character_of_the_key_is_noticed() {
        for vector in [&vectors()[0], &vectors()[2]] {
            let key = ["secret=", "seed="].iter().find_map(|key| vector.link.split_once(key));
            let (before, after) = key.unwrap();
            let key_len = after.find('&').unwrap_or(after.len());
            for at in before.len()..before.len() + key_len {
                let at = at + vector.link.len() - before.len() - after.len();
                let mut wrong = vector.link.clone().into_bytes();
                wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
                let wrong = String::from_utf8(wrong).unwrap();
                assert_eq!(ChatFile::from_link(&wrong), Err(ChannelLinkError::Key), "{wrong}");
            }
        }
    }

    #[test]
    fn a_key_reads_in_either_case() {
        let vector = &vectors()[0];
        let (before, key) = vector.link.split_once("secret=").unwrap();
        let upper = format!("{before}secret={}", key.to_ascii_uppercase());
        assert_eq!(
            ChatFile::from_link(&upper),
            ChatFile::from_bytes(&vector.file).map_err(Into::into)
        );
    }

    #[test]
    fn a_damaged_link_says_what_is_wrong() {
        #[track_caller]
        fn check(from: &str, to: &str, expected: impl Into<ChannelLinkError>) {
            let link = vectors()[1].link.clone();
            assert!(link.contains(from), "{from}");
            assert_eq!(ChatFile::from_link(&link.replace(from, to)), Err(expected.into()), "{to}");
        }
        check("bitchat:channel", "bitchat:contact", UriError::Kind("channel"));
        check("v=1&", "", UriError::Missing("v"));
        check("v=1&", "v=2&", ChannelLinkError::Version);
        check("v=1&", "v=1&v=1&", UriError::Twice("v"));
        check("v=1&", "v=1&x=1&", UriError::Unknown("x".to_owned()));
        check("secret=", "secret=a", ChannelLinkError::Key);
        check("secret=", "seed=", ChannelLinkError::Key);
        check("&secret=", "&x=", UriError::Unknown("x".to_owned()));
        check("kind=open", "kind=secte", ChatFileError::NewerValue("kind"));
        check("rotation=fixed", "rotation=x", ChatFileError::NewerValue("rotation"));
        check("name=Z", "name=%0A", ChatFileError::Name(NameError::Forbidden('\n')));
        check("tr=udp://tracker", "tr=tracker", ChatFileError::Tracker(UrlError::Scheme));
        check("node=router", "node=:", ChatFileError::Node(AddressError::Host));
        check("founder=", "founder=a", ParseIdError::Malformed { expected: PeerId::TEXT_LEN });
    }

    #[test]
    fn a_link_without_a_key_or_with_two_is_refused() {
        let bare = "bitchat:channel?v=1&name=a&kind=open&rotation=daily";
        assert_eq!(ChatFile::from_link(bare), Err(UriError::Missing("secret").into()));
        let both = format!("{bare}&secret=a&seed=a");
        assert_eq!(ChatFile::from_link(&both), Err(UriError::Twice("secret").into()));
    }

    #[test]
    fn the_key_of_a_seeder_is_not_that_of_a_member() {
        let file = ChatFile::from_bytes(&vectors()[1].file).unwrap();
        let read = ChatFile::from_link(&file.seed_only().to_link()).unwrap();
        let keys: ChannelKeys = read.keys();
        assert!(keys.secret().is_none());
        assert_eq!(keys.id(), file.keys().id());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_written_reads_back(file in any_file()) {
            let plain = ChatFile {
                unknown: Default::default(),
                unknown_in_channel: Default::default(),
                ..file.clone()
            };
            prop_assert_eq!(ChatFile::from_link(&file.to_link()), Ok(plain));
        }
    }
}

//! A `.chat` file as bytes: bencode, with the keys of a torrent where they mean the same.
//!
//! ```text
//! announce       tracker URL                                  BEP 3    optional
//! announce-list  tiers of tracker URLs                        BEP 12   optional
//! channel        admission  "tickets" | "contacts"                    closed and group
//!                founder    32 bytes, an identity                      optional
//!                kind       "open" | "closed" | "pair" | "group"
//!                lineage    32 bytes                                   closed and group
//!                move       a move, see `moves`                        optional, closed and group
//!                public     32 bytes, the channel's public key         with seed
//!                rotation   "fixed" | "daily"
//!                secret     32 bytes S                                 member's file
//!                seed       32 bytes Ks                                seeder's file
//!                version    1
//! infohash       20 bytes                                              if and only if fixed
//! name           1 to 64 bytes of UTF-8
//! nodes          pairs of host and port                       BEP 5    optional
//! ```
//!
//! Only the one canonical form is read, so what is read is written back byte for byte. Unknown
//! keys are kept. Specification: `docs/spec/02-chat-file.md`.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::address::NodeAddress;
use super::chat_file::{ChatFile, ChatFileError, Key, Kind, Policy};
use super::epoch::Rotation;
use super::keys::{ChannelPublicKey, ChannelSecret, SeedKey};
use super::moves::{Move, MoveError};
use super::ticket::Lineage;
use crate::bencode::{self, OwnedValue, Value};
use crate::crypto::{Secret, sign};
use crate::id::{InfoHash, PeerId};
use crate::identity::DisplayName;
use crate::limits::CHAT_FILE_BYTES_MAX;

const VERSION: i64 = 1;

impl ChatFile {
    /// Reads a `.chat` file.
    ///
    /// # Errors
    ///
    /// [`ChatFileError`], in words for the person who was given the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ChatFileError> {
        if bytes.len() > CHAT_FILE_BYTES_MAX {
            return Err(ChatFileError::TooLarge);
        }
        let root = bencode::decode(bytes)?;
        if !root.is_canonical() {
            return Err(ChatFileError::NotCanonical);
        }
        let mut root = Entries::of(&root, "file")?;
        let channel = root.need("channel")?;
        let mut channel = Entries::of(channel, "channel")?;
        // First of all: another version may have changed everything else.
        let version = channel.need("version")?.as_int();
        match version.ok_or(wrong("version", "a number"))? {
            VERSION => {}
            other => return Err(ChatFileError::Version(other)),
        }
        let infohash = root.take_array("infohash")?.map(InfoHash);
        let file = Self {
            name: DisplayName::new(root.need_text("name")?)?,
            announce: root.take_text("announce")?.map(str::to_owned),
            announce_list: root.take("announce-list").map(tiers_of).transpose()?,
            nodes: root.take("nodes").map(nodes_of).transpose()?,
            kind: Kind::from_word(channel.need_text("kind")?)
                .ok_or(ChatFileError::NewerValue("kind"))?,
            rotation: Rotation::from_word(channel.need_text("rotation")?)
                .ok_or(ChatFileError::NewerValue("rotation"))?,
            key: key_of(&mut channel)?,
            founder: channel.take_public_key("founder")?.map(PeerId),
            lineage: channel.take_array("lineage")?.map(Lineage),
            policy: channel.take_text("admission")?.map(policy_of).transpose()?,
            origin: channel.take("move").map(move_of).transpose()?,
            unknown: root.rest(),
            unknown_in_channel: channel.rest(),
        };
        file.check_charter()?;
        file.check_origin()?;
        file.check_addresses()?;
        file.check_infohash(infohash)?;
        Ok(file)
    }

    fn check_infohash(&self, stated: Option<InfoHash>) -> Result<(), ChatFileError> {
        match (stated, self.fixed_infohash()) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(ChatFileError::Missing("infohash")),
            (Some(_), None) => Err(wrong("infohash", "absent where the rotation is daily")),
            (Some(stated), Some(derived)) if stated == derived => Ok(()),
            (Some(_), Some(_)) => Err(ChatFileError::Infohash),
        }
    }

    /// Writes the file. The bytes hold a secret.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Room for the largest, so that no copy of the secret is left behind by a move.
        let mut bytes = Zeroizing::new(Vec::with_capacity(CHAT_FILE_BYTES_MAX));
        let infohash = self.fixed_infohash();
        let origin = self.origin.as_ref().map(Move::encode);
        self.root(infohash.as_ref(), origin.as_deref()).encode_into(&mut bytes);
        bytes
    }

    fn root<'a>(&'a self, infohash: Option<&'a InfoHash>, origin: Option<&'a [u8]>) -> Value<'a> {
        let mut entries = borrowed(&self.unknown);
        entries.push((b"channel", self.channel(origin)));
        entries.push((b"name", self.name.as_str().into()));
        entries.extend(infohash.map(|hash| (b"infohash".as_slice(), hash.0.as_slice().into())));
        let announce = self.announce.as_deref();
        entries.extend(announce.map(|url| (b"announce".as_slice(), url.into())));
        if let Some(tiers) = &self.announce_list {
            let tier = |urls: &'a Vec<String>| list(urls.iter().map(|url| url.as_str().into()));
            entries.push((b"announce-list", list(tiers.iter().map(tier))));
        }
        if let Some(nodes) = &self.nodes {
            let node = |node: &'a NodeAddress| {
                list([node.host().into(), Value::Int(i64::from(node.port()))].into_iter())
            };
            entries.push((b"nodes", list(nodes.iter().map(node))));
        }
        Value::Dict(entries)
    }

    fn channel<'a>(&'a self, origin: Option<&'a [u8]>) -> Value<'a> {
        let mut entries = borrowed(&self.unknown_in_channel);
        entries.push((b"kind", self.kind.as_str().into()));
        entries.push((b"rotation", self.rotation.as_str().into()));
        entries.push((b"version", Value::Int(VERSION)));
        match &self.key {
            Key::Member(secret) => entries.push((b"secret", secret.0.expose().as_slice().into())),
            Key::Seeder(seed, public) => {
                entries.push((b"seed", seed.0.expose().as_slice().into()));
                entries.push((b"public", public.0.as_slice().into()));
            }
        }
        if let Some(founder) = &self.founder {
            entries.push((b"founder", founder.0.as_slice().into()));
        }
        if let Some(lineage) = &self.lineage {
            entries.push((b"lineage", lineage.0.as_slice().into()));
        }
        entries.extend(self.policy.map(|policy| (b"admission".as_slice(), policy.as_str().into())));
        entries.extend(origin.map(|origin| (b"move".as_slice(), origin.into())));
        Value::Dict(entries)
    }
}

fn borrowed(unknown: &BTreeMap<Vec<u8>, OwnedValue>) -> Vec<(&[u8], Value<'_>)> {
    unknown.iter().map(|(key, value)| (key.as_slice(), value.borrow())).collect()
}

fn list<'a>(items: impl Iterator<Item = Value<'a>>) -> Value<'a> {
    Value::List(items.collect())
}

fn move_of(value: &Value<'_>) -> Result<Move, ChatFileError> {
    let read = value.as_bytes().map(Move::decode);
    match read {
        Some(Ok(read)) => Ok(read),
        Some(Err(MoveError::Newer)) => Err(ChatFileError::NewerValue("move")),
        Some(Err(_)) | None => Err(wrong("move", "the founder's word, whole")),
    }
}

fn policy_of(word: &str) -> Result<Policy, ChatFileError> {
    Policy::from_word(word).ok_or(ChatFileError::NewerValue("admission"))
}

const fn wrong(key: &'static str, expected: &'static str) -> ChatFileError {
    ChatFileError::Wrong { key, expected }
}

fn tiers_of(value: &Value<'_>) -> Result<Vec<Vec<String>>, ChatFileError> {
    let wrong = wrong("announce-list", "a list of lists of URLs");
    let url = |value: &Value<'_>| value.as_str().map(str::to_owned);
    let tier = |tier: &Value<'_>| tier.as_list()?.iter().map(url).collect();
    value.as_list().and_then(|tiers| tiers.iter().map(tier).collect()).ok_or(wrong)
}

fn nodes_of(value: &Value<'_>) -> Result<Vec<NodeAddress>, ChatFileError> {
    let wrong = wrong("nodes", "a list of pairs of host and port");
    let pair = |node: &Value<'_>| match node.as_list()? {
        [host, port] => Some((host.as_str()?.to_owned(), u16::try_from(port.as_int()?).ok()?)),
        _ => None,
    };
    let pairs: Option<Vec<_>> = value.as_list().and_then(|list| list.iter().map(pair).collect());
    let node = |(host, port)| NodeAddress::new(host, port).map_err(ChatFileError::Node);
    pairs.ok_or(wrong)?.into_iter().map(node).collect()
}

fn key_of(channel: &mut Entries<'_>) -> Result<Key, ChatFileError> {
    let secret = channel.take_array("secret")?.map(Secret::new);
    let seed = channel.take_array("seed")?.map(Secret::new);
    let public = channel.take_public_key("public")?.map(ChannelPublicKey);
    match (secret, seed, public) {
        (Some(secret), None, None) => Ok(Key::Member(ChannelSecret(secret))),
        (None, Some(seed), Some(public)) => Ok(Key::Seeder(SeedKey(seed), public)),
        (None, None, _) => Err(ChatFileError::Missing("secret")),
        (None, Some(_), None) => Err(ChatFileError::Missing("public")),
        (Some(_), _, _) => Err(wrong("secret", "the only key")),
    }
}

/// The entries of a dictionary that nobody has taken out yet.
struct Entries<'a>(BTreeMap<&'a [u8], &'a Value<'a>>);

impl<'a> Entries<'a> {
    fn of(value: &'a Value<'a>, key: &'static str) -> Result<Self, ChatFileError> {
        let entries = value.as_dict().ok_or(wrong(key, "a dictionary"))?;
        Ok(Self(entries.iter().map(|(key, value)| (*key, value)).collect()))
    }

    fn take(&mut self, key: &str) -> Option<&'a Value<'a>> {
        self.0.remove(key.as_bytes())
    }

    fn need(&mut self, key: &'static str) -> Result<&'a Value<'a>, ChatFileError> {
        self.take(key).ok_or(ChatFileError::Missing(key))
    }

    fn take_text(&mut self, key: &'static str) -> Result<Option<&'a str>, ChatFileError> {
        let text = |value: &'a Value<'a>| value.as_str().ok_or(wrong(key, "text in UTF-8"));
        self.take(key).map(text).transpose()
    }

    fn need_text(&mut self, key: &'static str) -> Result<&'a str, ChatFileError> {
        self.take_text(key)?.ok_or(ChatFileError::Missing(key))
    }

    fn take_array<const N: usize>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<[u8; N]>, ChatFileError> {
        let wrong = wrong(key, if N == 20 { "20 bytes" } else { "32 bytes" });
        let array = |value: &Value<'_>| value.as_bytes()?.try_into().ok();
        self.take(key).map(|value| array(value).ok_or(wrong)).transpose()
    }

    fn take_public_key(&mut self, key: &'static str) -> Result<Option<[u8; 32]>, ChatFileError> {
        let public = self.take_array(key)?;
        match public.map(|public| sign::public_to_dh(&public)) {
            Some(Err(_)) => Err(wrong(key, "a usable Ed25519 public key")),
            Some(Ok(_)) | None => Ok(public),
        }
    }

    fn rest(self) -> BTreeMap<Vec<u8>, OwnedValue> {
        self.0.into_iter().map(|(key, value)| (key.to_vec(), value.into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bencode::DecodeError;
    use crate::channel::test_files::{any_file, vectors};
    use crate::channel::{AddressError, ChannelKeys};
    use crate::identity::NameError;
    use crate::tracker::UrlError;

    #[test]
    fn every_vector_is_read_and_written_back_byte_for_byte() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 6);
        for vector in &vectors {
            let file = ChatFile::from_bytes(&vector.file).expect(&vector.about);
            assert_eq!(*file.to_bytes(), vector.file, "{}", vector.about);
            assert_eq!(file.is_member(), !vector.about.starts_with("seeder"));
        }
    }

    #[test]
    fn the_vectors_say_what_their_titles_say() {
        let vectors = vectors();
        let file = |at: usize| ChatFile::from_bytes(&vectors[at].file).unwrap();
        let keys =
            ChannelKeys::member(ChannelSecret(Secret::new(std::array::from_fn(|i| i as u8))));
        for at in 0..6 {
            assert_eq!(file(at).keys().id(), keys.id());
        }
        let (least, full, seeder, future) = (file(0), file(1), file(2), file(3));
        let (closed, moved) = (file(4), file(5));
        assert!(least.tiers().is_empty() && least.nodes().is_empty() && least.founder().is_none());
        assert_eq!(least.rotation(), Rotation::Daily);
        assert_eq!(full.rotation(), Rotation::Fixed);
        assert_eq!(full.name().as_str(), "Zoë & friends");
        assert_eq!(full.tiers().iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(full.nodes()[1].to_string(), "[2001:db8::1]:6882");
        assert!(full.founder().is_some());
        assert_eq!(full.seed_only(), seeder);
        assert_eq!((closed.kind(), future.charter()), (Kind::Closed, None));
        let charter = closed.charter().unwrap();
        assert_eq!(charter.lineage, Lineage::begin(&charter.founder, &keys.id()));
        assert_eq!(charter.policy, Policy::Tickets);
        let origin = moved.origin().unwrap();
        assert!(origin.leads_to(&keys, &moved.charter().unwrap()));
        assert_eq!(origin.removed, [PeerId([1; 32])].into());
        assert_eq!(future.tiers(), [["http://127.0.0.1:6969/announce"]]);
    }

    #[test]
    fn a_seed_only_file_leaves_out_what_this_version_does_not_know() {
        let future = ChatFile::from_bytes(&vectors()[3].file).unwrap();
        let seeder = ChatFile::from_bytes(&future.seed_only().to_bytes()).unwrap();
        assert!(seeder.unknown.is_empty() && seeder.unknown_in_channel.is_empty());
        assert!(!future.unknown.is_empty() && !future.unknown_in_channel.is_empty());
    }

    /// A small file with changed entries; `None` takes one out.
    fn altered(root: &[(&str, Option<&str>)], channel: &[(&str, Option<&str>)]) -> Vec<u8> {
        fn dict(base: &[(&str, &str)], changes: &[(&str, Option<&str>)]) -> String {
            let mut entries: BTreeMap<&str, &str> = base.iter().copied().collect();
            for (key, value) in changes {
                match value {
                    Some(value) => entries.insert(key, value),
                    None => entries.remove(key),
                };
            }
            let entry = |(key, value): (&&str, &&str)| format!("{}:{key}{value}", key.len());
            format!("d{}e", entries.iter().map(entry).collect::<String>())
        }
        let secret = format!("32:{}", "s".repeat(32));
        let channel = dict(
            &[("kind", "4:open"), ("rotation", "5:daily"), ("secret", &secret), ("version", "i1e")],
            channel,
        );
        dict(&[("name", "4:team"), ("channel", &channel)], root).into_bytes()
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: ChatFileError) {
        assert_eq!(ChatFile::from_bytes(bytes), Err(expected), "{}", bytes.escape_ascii());
    }

    #[test]
    fn a_missing_or_misplaced_key_is_named() {
        assert!(ChatFile::from_bytes(&altered(&[], &[])).is_ok());
        let key = format!("32:{}", "k".repeat(32));
        for name in ["name", "channel"] {
            check(&altered(&[(name, None)], &[]), ChatFileError::Missing(name));
        }
        for name in ["kind", "rotation", "secret", "version"] {
            check(&altered(&[], &[(name, None)]), ChatFileError::Missing(name));
        }
        let seed = [("secret", None), ("seed", Some(key.as_str()))];
        check(&altered(&[], &seed), ChatFileError::Missing("public"));
        check(&altered(&[], &seed[1..]), wrong("secret", "the only key"));
        check(&altered(&[], &[("rotation", Some("5:fixed"))]), ChatFileError::Missing("infohash"));
        let expected = "absent where the rotation is daily";
        let infohash = format!("20:{}", "i".repeat(20));
        check(&altered(&[("infohash", Some(&infohash))], &[]), wrong("infohash", expected));
    }

    #[test]
    fn a_value_of_another_form_is_named() {
        check(&altered(&[("name", Some("i1e"))], &[]), wrong("name", "text in UTF-8"));
        check(&altered(&[("name", Some("1:\t"))], &[]), NameError::Forbidden('\t').into());
        check(&altered(&[("channel", Some("le"))], &[]), wrong("channel", "a dictionary"));
        check(b"le", wrong("file", "a dictionary"));
        check(&altered(&[], &[("secret", Some("3:abc"))]), wrong("secret", "32 bytes"));
        check(&altered(&[("infohash", Some("3:abc"))], &[]), wrong("infohash", "20 bytes"));
        check(&altered(&[], &[("version", Some("1:1"))]), wrong("version", "a number"));
        check(&altered(&[], &[("kind", Some("5:secte"))]), ChatFileError::NewerValue("kind"));
        check(&altered(&[], &[("rotation", Some("1:x"))]), ChatFileError::NewerValue("rotation"));
        let zero = format!("32:{}", "\0".repeat(32));
        let usable = "a usable Ed25519 public key";
        check(&altered(&[], &[("founder", Some(&zero))]), wrong("founder", usable));
        let tiers = wrong("announce-list", "a list of lists of URLs");
        for form in ["i1e", "l1:ae", "lli1eee", "llleee"] {
            check(&altered(&[("announce-list", Some(form))], &[]), tiers.clone());
        }
        let nodes = wrong("nodes", "a list of pairs of host and port");
        for form in ["i1e", "l1:ae", "ll1:aee", "ll1:ai1ei1eee", "ll1:ai65536eee", "lli1ei1eee"] {
            check(&altered(&[("nodes", Some(form))], &[]), nodes.clone());
        }
        let host = ChatFileError::Node(AddressError::Host);
        check(&altered(&[("nodes", Some("ll3:a bi1eee"))], &[]), host);
        let scheme = ChatFileError::Tracker(UrlError::Scheme);
        check(&altered(&[("announce", Some("3:a:1"))], &[]), scheme.clone());
        check(&altered(&[("announce-list", Some("ll3:a:1ee"))], &[]), scheme);
    }

    #[test]
    fn a_closed_channel_without_its_charter_and_an_open_one_with_it_are_refused() {
        let closed = ("kind", Some("6:closed"));
        check(&altered(&[], &[closed]), ChatFileError::Missing("founder"));
        let expected = "absent in this kind of channel";
        let lineage = format!("32:{}", "l".repeat(32));
        let wrong = ChatFileError::Wrong { key: "lineage", expected };
        check(&altered(&[], &[("lineage", Some(&lineage))]), wrong);
        let wrong = ChatFileError::Wrong { key: "admission", expected };
        check(&altered(&[], &[("admission", Some("7:tickets"))]), wrong);
        let newer = ChatFileError::NewerValue("admission");
        check(&altered(&[], &[("admission", Some("5:votes"))]), newer);
        let short = ChatFileError::Wrong { key: "lineage", expected: "32 bytes" };
        check(&altered(&[], &[("lineage", Some("3:abc"))]), short);
    }

    #[test]
    fn a_newer_version_says_so_whatever_else_it_changed() {
        let bytes = altered(&[], &[("version", Some("i2e")), ("secret", None), ("kind", None)]);
        check(&bytes, ChatFileError::Version(2));
        let message = ChatFileError::Version(2).to_string();
        assert!(message.contains("update"), "{message}");
    }

    #[test]
    fn an_infohash_of_another_key_is_refused() {
        let mut bytes = vectors()[1].file.clone();
        let at = bytes.windows(11).position(|window| window == b"8:infohash2").unwrap() + 13;
        bytes[at] ^= 1;
        check(&bytes, ChatFileError::Infohash);
    }

    #[test]
    fn empty_lists_are_kept_as_they_are() {
        for list in ["le", "llelee"] {
            let bytes = altered(&[("announce-list", Some(list)), ("nodes", Some("le"))], &[]);
            let file = ChatFile::from_bytes(&bytes).expect(list);
            assert_eq!(*file.to_bytes(), bytes);
            assert!(file.tiers().is_empty() && file.nodes().is_empty());
        }
    }

    #[test]
    fn a_file_in_another_form_is_refused() {
        check(&vec![b'd'; CHAT_FILE_BYTES_MAX + 1], ChatFileError::TooLarge);
        check(b"", DecodeError::Truncated.into());
        check(b"hello", DecodeError::Malformed { at: 0 }.into());
        check(&[altered(&[], &[]), b"\n".to_vec()].concat(), DecodeError::TrailingBytes.into());
        check(b"d4:name4:team4:name4:teame", ChatFileError::NotCanonical);
        check(b"d4:name4:team1:a1:be", ChatFileError::NotCanonical);
    }

    #[test]
    fn every_file_cut_short_is_refused() {
        for vector in vectors() {
            for len in 0..vector.file.len() {
                check(&vector.file[..len], DecodeError::Truncated.into());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_written_reads_back(file in any_file()) {
            let bytes = file.to_bytes();
            prop_assert_eq!(ChatFile::from_bytes(&bytes), Ok(file));
        }

        #[test]
        fn a_changed_byte_is_refused_or_makes_another_file_that_is_written_back(
            vector in 0..6_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut bytes = vectors()[vector].file.clone();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(file) = ChatFile::from_bytes(&bytes) {
                prop_assert_eq!(&*file.to_bytes(), &bytes);
            }
        }
    }
}

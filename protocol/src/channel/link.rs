//! A `.chat` file as one line of text, to be pasted into a message.
//!
//! ```text
//! bitchat:channel?v=1&name=<name>&kind=<kind>&rotation=<rotation>&secret=<base32>
//!                &founder=<peer id>&lineage=<base32>&admission=<policy>&move=<base32>
//!                &tr=<tier>...&node=<host:port>...&ticket=<base32>...
//!
//! secret   base32(S || checksum)             a member's link
//! seed     base32(Ks || public || checksum)  a seeder's link, in place of secret
//! lineage  base32(lineage || checksum)       of a closed channel, as admission
//! move     base32(move || checksum)          of a closed channel that took the place of another
//! ticket   base32(ticket || checksum)        of who is invited by this link, the founder's first
//! tr       one tier of tracker URLs, separated by spaces; once per tier
//! ```
//!
//! Base32 is RFC 4648, lower case, without padding; the checksum is 4 bytes. Founder, trackers and
//! nodes may be absent. Unlike the file, the link does not carry what this version does not know.

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use super::chat_file::{ChatFile, ChatFileError, Key, Kind, Policy};
use super::epoch::Rotation;
use super::keys::{ChannelPublicKey, ChannelSecret, SeedKey};
use super::moves::{MOVE_BYTES_MAX, Move, MoveError};
use super::ticket::{Lineage, TICKET_BYTES, Ticket, TicketError};
use crate::crypto::{Secret, hash, sign};
use crate::id::{ParseIdError, PeerId};
use crate::identity::DisplayName;
use crate::limits::TICKETS_MAX;
use crate::uri::{self, UriError};

const VERSION: &str = "1";
const CHECKSUM_LABEL: &str = "bitchat v1 channel link checksum";
const CHECKSUM_BYTES: usize = 4;
const SECRET_BYTES: usize = 32 + CHECKSUM_BYTES;
const SEED_BYTES: usize = 64 + CHECKSUM_BYTES;
const LINEAGE_BYTES: usize = 32 + CHECKSUM_BYTES;
const CHECKED_TICKET_BYTES: usize = TICKET_BYTES + CHECKSUM_BYTES;

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
    /// The lineage does not read or fails its checksum.
    #[error("channel link: the lineage is damaged; copy the link again")]
    Lineage,
    /// The move does not read or fails its checksum.
    #[error("channel link: the move is damaged; copy the link again")]
    Move,
    /// A move of another version.
    #[error("channel link: the move: {0}")]
    OtherMove(MoveError),
    /// A ticket does not read or fails its checksum, or there are too many.
    #[error("channel link: the ticket is damaged; copy the link again")]
    Ticket,
    /// A ticket of another version.
    #[error("channel link: the ticket: {0}")]
    OtherTicket(#[from] TicketError),
    /// The founder's id does not read.
    #[error("channel link: the founder's id is damaged ({0}); copy it again")]
    Founder(#[from] ParseIdError),
    /// A part of it is not what may stand in a `.chat` file.
    #[error("channel link: {0}")]
    Content(#[from] ChatFileError),
}

/// A closed channel with the tickets that let somebody in, or any channel without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The channel.
    pub file: ChatFile,
    /// At most [`TICKETS_MAX`], from the founder's to the invitee's.
    pub tickets: Vec<Ticket>,
}

impl From<ChatFile> for Invitation {
    /// Of a channel that needs no ticket, or of which we have none.
    fn from(file: ChatFile) -> Self {
        Self { file, tickets: Vec::new() }
    }
}

impl Invitation {
    /// Writes the link. The text holds a secret.
    #[must_use]
    pub fn to_link(&self) -> Zeroizing<String> {
        self.file.link_with(&self.tickets)
    }

    /// Reads a link, with tickets or without.
    ///
    /// # Errors
    ///
    /// [`ChannelLinkError`], in words for the person who pasted it.
    pub fn from_link(text: &str) -> Result<Self, ChannelLinkError> {
        let mut parameters = uri::parse(text, "channel")?;
        let texts = uri::take_all(&mut parameters, "ticket");
        if texts.len() > TICKETS_MAX {
            return Err(ChannelLinkError::Ticket);
        }
        let ticket = |text: &Zeroizing<String>| {
            let bytes = unchecked::<CHECKED_TICKET_BYTES>(text).ok_or(ChannelLinkError::Ticket)?;
            Ok::<_, ChannelLinkError>(Ticket::decode(&bytes.expose()[..TICKET_BYTES])?)
        };
        // First of all the version, which the file reads: another one may have other tickets.
        let file = ChatFile::from_parameters(parameters)?;
        let tickets = texts.iter().map(ticket).collect::<Result<_, _>>()?;
        Ok(Self { file, tickets })
    }
}

impl ChatFile {
    /// Writes the link. The text holds a secret.
    #[must_use]
    pub fn to_link(&self) -> Zeroizing<String> {
        self.link_with(&[])
    }

    fn link_with(&self, tickets: &[Ticket]) -> Zeroizing<String> {
        let tickets: Vec<_> = tickets
            .iter()
            .map(|ticket| checked::<CHECKED_TICKET_BYTES>(&[&ticket.encode()]))
            .collect();
        let lineage = self.lineage.map(|lineage| checked::<LINEAGE_BYTES>(&[&lineage.0]));
        let origin = self.origin.as_ref().map(checked_move);
        let (key, key_text) = match &self.key {
            Key::Member(secret) => ("secret", checked::<SECRET_BYTES>(&[secret.0.expose()])),
            Key::Seeder(seed, public) => {
                ("seed", checked::<SEED_BYTES>(&[seed.0.expose(), public.0.as_slice()]))
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
        parameters.extend(lineage.as_ref().map(|lineage| ("lineage", lineage.as_str())));
        parameters.extend(self.policy.map(|policy| ("admission", policy.as_str())));
        parameters.extend(origin.as_deref().map(|origin| ("move", origin)));
        parameters.extend(tiers.iter().map(|tier| ("tr", tier.as_str())));
        parameters.extend(nodes.iter().map(|node| ("node", node.as_str())));
        parameters.extend(tickets.iter().map(|ticket| ("ticket", ticket.as_str())));
        uri::write("channel", parameters)
    }

    /// Reads a link; tickets in it are left out, see [`Invitation`].
    ///
    /// # Errors
    ///
    /// [`ChannelLinkError`], in words for the person who pasted it.
    pub fn from_link(text: &str) -> Result<Self, ChannelLinkError> {
        Ok(Invitation::from_link(text)?.file)
    }

    fn from_parameters(mut parameters: Vec<uri::Parameter<'_>>) -> Result<Self, ChannelLinkError> {
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
        let lineage = uri::take_optional(&mut parameters, "lineage")?;
        let policy = uri::take_optional(&mut parameters, "admission")?;
        let origin = uri::take_optional(&mut parameters, "move")?;
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
        let lineage = lineage.map(|text| {
            let bytes = unchecked::<LINEAGE_BYTES>(&text)?;
            bytes.expose().first_chunk::<32>().copied().map(Lineage)
        });
        let lineage = lineage.map(|read| read.ok_or(ChannelLinkError::Lineage)).transpose()?;
        let policy = policy
            .map(|word| Policy::from_word(&word).ok_or(ChatFileError::NewerValue("admission")))
            .transpose()?;
        let origin = origin.map(|text| unchecked_move(&text)).transpose()?;
        let file = Self { kind, founder, lineage, policy, origin, ..file };
        file.check_charter()?;
        file.check_origin()?;
        Ok(file)
    }
}

/// A move and its checksum, in base32.
fn checked_move(origin: &Move) -> String {
    let mut bytes = origin.encode();
    bytes.extend_from_slice(&checksum_of(&bytes));
    BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}

fn unchecked_move(text: &str) -> Result<Move, ChannelLinkError> {
    // The length first: it bounds what is decoded.
    if text.len() > BASE32_NOPAD.encode_len(MOVE_BYTES_MAX + CHECKSUM_BYTES) {
        return Err(ChannelLinkError::Move);
    }
    let decoded = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes());
    let decoded = decoded.map_err(|_| ChannelLinkError::Move)?;
    let (bytes, checksum) = decoded.split_last_chunk().ok_or(ChannelLinkError::Move)?;
    if *checksum != checksum_of(bytes) {
        return Err(ChannelLinkError::Move);
    }
    Move::decode(bytes).map_err(|error| match error {
        MoveError::Newer => ChannelLinkError::OtherMove(error),
        MoveError::Length { .. } | MoveError::Removed => ChannelLinkError::Move,
    })
}

fn key_of(secret: Option<&String>, seed: Option<&String>) -> Result<Key, ChannelLinkError> {
    match (secret, seed) {
        (Some(text), None) => {
            let bytes = unchecked::<SECRET_BYTES>(text).ok_or(ChannelLinkError::Key)?;
            let secret = bytes.expose().first_chunk::<32>().ok_or(ChannelLinkError::Key)?;
            Ok(Key::Member(ChannelSecret(Secret::new(*secret))))
        }
        (None, Some(text)) => {
            let bytes = unchecked::<SEED_BYTES>(text).ok_or(ChannelLinkError::Key)?;
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
fn checked<const N: usize>(parts: &[&[u8]]) -> Zeroizing<String> {
    let mut bytes = Secret::new([0; N]);
    let (keys, checksum) = bytes.expose_mut().split_at_mut(N - CHECKSUM_BYTES);
    let mut places = &mut keys[..];
    for part in parts {
        let (place, rest) = places.split_at_mut(part.len());
        place.copy_from_slice(part);
        places = rest;
    }
    checksum.copy_from_slice(&checksum_of(keys));
    let mut text = Zeroizing::new(BASE32_NOPAD.encode(bytes.expose()));
    text.make_ascii_lowercase();
    text
}

/// What was written, if all of it is there.
fn unchecked<const N: usize>(text: &str) -> Option<Secret<N>> {
    // The length first: it bounds what is decoded, and what decoding writes.
    if text.len() != BASE32_NOPAD.encode_len(N) {
        return None;
    }
    let text = Zeroizing::new(text.to_ascii_uppercase());
    let decoded = BASE32_NOPAD.decode(text.as_bytes()).ok()?;
    let decoded = Zeroizing::new(decoded);
    let mut bytes = Secret::new([0; N]);
    bytes.expose_mut().copy_from_slice(&decoded);
    let (keys, checksum) = bytes.expose().split_at(N - CHECKSUM_BYTES);
    (checksum == checksum_of(keys)).then_some(bytes)
}

fn checksum_of(keys: &[u8]) -> [u8; CHECKSUM_BYTES] {
    hash::unkeyed(CHECKSUM_LABEL, &[keys])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channel::test_files::{any_file, vectors};
    use crate::channel::{AddressError, ChannelKeys, Right};
    use crate::identity::{Identity, NameError};
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
    fn an_invitation_carries_its_tickets_and_a_damaged_one_says_so() {
        let invitation = Invitation::from_link(&vectors()[4].link).unwrap();
        assert_eq!(invitation.tickets, []);
        let founder = Identity::from_seed(Secret::new([7; 32]));
        let charter = invitation.file.charter().unwrap();
        assert_eq!(charter.founder, founder.peer_id());
        let issue = |right| Ticket::issue(&founder, charter.lineage, PeerId([1; 32]), right, None);
        let tickets = vec![issue(Right::MayInvite), issue(Right::Member)];
        let invitation = Invitation { tickets, ..invitation };
        let link = invitation.to_link();
        assert_eq!(Invitation::from_link(&link), Ok(invitation.clone()));
        assert_eq!(ChatFile::from_link(&link), Ok(invitation.file.clone()));
        let at = link.rfind("ticket=").unwrap() + 7;
        for (place, len) in [(at, 1), (at + 100, 1), (link.len() - 1, 1), (at, 279)] {
            let mut wrong = link.to_string();
            let letter = if &wrong[place..=place] == "a" { "b" } else { "a" };
            wrong.replace_range(place..place + len, letter);
            assert_eq!(Invitation::from_link(&wrong), Err(ChannelLinkError::Ticket));
        }
        let tickets = vec![issue(Right::Member); TICKETS_MAX + 1];
        let many = Invitation { tickets, ..invitation }.to_link();
        assert_eq!(Invitation::from_link(&many), Err(ChannelLinkError::Ticket));
    }

    #[test]
    fn the_link_of_a_closed_channel_names_founder_lineage_and_policy() {
        let link = vectors()[4].link.clone();
        let without = |key: &str| {
            let at = link.find(&format!("&{key}=")).unwrap();
            let end = link[at + 1..].find('&').map_or(link.len(), |end| at + 1 + end);
            ChatFile::from_link(&[&link[..at], &link[end..]].concat())
        };
        for key in ["founder", "lineage", "admission"] {
            assert_eq!(without(key), Err(ChatFileError::Missing(key).into()));
        }
        let open = link.replace("kind=closed", "kind=open");
        assert!(matches!(ChatFile::from_link(&open), Err(ChannelLinkError::Content(_))));
        let other = link.replace("admission=tickets", "admission=votes");
        assert_eq!(ChatFile::from_link(&other), Err(ChatFileError::NewerValue("admission").into()));
        let cut = link.replace("lineage=", "lineage=a");
        assert_eq!(ChatFile::from_link(&cut), Err(ChannelLinkError::Lineage));
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

//! What lets a person into a closed channel beside its key: signed statements, each by somebody who
//! was let in before.
//!
//! ```text
//! ticket = version 1 u8 || lineage 32 || invitee 32 || issuer 32 || flags u8 || expires u64 || signature 64
//!          signature over "bitchat v1 ticket" || all before            170 bytes
//!
//! flags    bit 0  the invitee may invite
//!          bit 1  the invitee is a blind seeder
//! expires  seconds since 1970; 0: never
//!
//! founder --ticket--> A (may invite) --ticket--> B            a chain: what B shows is both
//! ```
//!
//! Tickets are bound to the lineage of a channel: to the channel and those that take its place when
//! a member is removed.
//!
//! Not here: when tickets are shown ([`crate::session`]). Spec: `docs/spec/11-admission.md`.

use std::time::Duration;

use crate::crypto::{hash, sign};
use crate::id::{ChannelId, PeerId};
use crate::identity::Identity;
use crate::limits::TICKETS_MAX;

const VERSION: u8 = 1;
const SIGNED_LABEL: &[u8] = b"bitchat v1 ticket";
const LINEAGE_LABEL: &str = "bitchat v1 channel lineage";
const MAY_INVITE: u8 = 1;
const SEEDER: u8 = 2;
/// How much longer a ticket holds than it says, as clocks differ.
const EXPIRY_TOLERANCE: Duration = Duration::from_secs(600);

/// Bytes of a ticket.
pub const TICKET_BYTES: usize = 170;

/// Names a closed channel and those that took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lineage(pub [u8; 32]);

impl Lineage {
    /// The lineage that begins with the channel `first` of `founder`.
    #[must_use]
    pub fn begin(founder: &PeerId, first: &ChannelId) -> Self {
        Self(hash::unkeyed(LINEAGE_LABEL, &[&founder.0, &first.0]))
    }
}

/// What a ticket lets its holder be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// A member.
    Member,
    /// A member who may issue tickets.
    MayInvite,
    /// A blind seeder; only the founder lets one in.
    Seeder,
}

/// One ticket, as it was issued; its signature is not checked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Of which channels.
    pub lineage: Lineage,
    /// Who is let in.
    pub invitee: PeerId,
    /// Who lets in.
    pub issuer: PeerId,
    /// As what.
    pub right: Right,
    /// Since 1970; `None`: never.
    pub expires: Option<Duration>,
    /// By the issuer.
    pub signature: [u8; sign::SIGNATURE_BYTES],
}

/// Why bytes are not a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Another length.
    #[error("{bytes} bytes, and a ticket has {TICKET_BYTES}")]
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// Another version, or flags that this one does not know.
    #[error("made for another version of bitchat: update to use it")]
    Newer,
}

/// Why somebody is not let into a closed channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No ticket was shown.
    #[error("there is no ticket")]
    NoTicket,
    /// The tickets do not lead from the founder to who showed them, or were altered.
    #[error("the ticket is not good here")]
    NotGood,
    /// One of them is no longer good.
    #[error("the ticket has expired")]
    Expired {
        /// Who issued it, and could issue another one.
        issuer: PeerId,
    },
    /// Who showed them, or who issued one of them, was removed from the channel.
    #[error("removed from the channel")]
    Removed,
    /// A seeder's ticket with a member's file, or the other way round.
    #[error("the ticket is for another role")]
    OtherRole,
    /// Only contacts are let in, and this peer is none.
    #[error("not a contact")]
    NoContact,
}

/// What a good chain of tickets lets its holder be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// As the last ticket says.
    pub right: Right,
    /// When the first of them expires, since 1970; `None`: never.
    pub expires: Option<Duration>,
}

impl Grant {
    /// Whether it gives more than another, or for longer, and in nothing less.
    #[must_use]
    pub fn is_better_than(&self, other: &Self) -> bool {
        let of = |grant: &Self| {
            let right = match grant.right {
                Right::Seeder => 0,
                Right::Member => 1,
                Right::MayInvite => 2,
            };
            (right, grant.expires.unwrap_or(Duration::MAX))
        };
        let ((right, expires), (other_right, other_expires)) = (of(self), of(other));
        (right, expires) != (other_right, other_expires)
            && right >= other_right
            && expires >= other_expires
    }
}

impl Ticket {
    /// Issues a ticket.
    #[must_use]
    pub fn issue(
        issuer: &Identity,
        lineage: Lineage,
        invitee: PeerId,
        right: Right,
        expires: Option<Duration>,
    ) -> Self {
        let signature = [0; sign::SIGNATURE_BYTES];
        // As it is written.
        let expires = expires.map(|at| Duration::from_secs(at.as_secs()));
        let unsigned =
            Self { lineage, invitee, issuer: issuer.peer_id(), right, expires, signature };
        Self { signature: issuer.sign(&unsigned.signed()), ..unsigned }
    }

    /// Reads a ticket; its signature is checked by [`judge`].
    ///
    /// # Errors
    ///
    /// See [`TicketError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TicketError> {
        let bytes: &[u8; TICKET_BYTES] =
            bytes.try_into().map_err(|_| TicketError::Length { bytes: bytes.len() })?;
        let [version, rest @ ..] = bytes;
        let mut rest = &rest[..];
        if *version != VERSION {
            return Err(TicketError::Newer);
        }
        let lineage = Lineage(take(&mut rest));
        let invitee = PeerId(take(&mut rest));
        let issuer = PeerId(take(&mut rest));
        let right = match take::<1>(&mut rest) {
            [0] => Right::Member,
            [MAY_INVITE] => Right::MayInvite,
            [SEEDER] => Right::Seeder,
            _ => return Err(TicketError::Newer),
        };
        let expires = match u64::from_be_bytes(take(&mut rest)) {
            0 => None,
            seconds => Some(Duration::from_secs(seconds)),
        };
        Ok(Self { lineage, invitee, issuer, right, expires, signature: take(&mut rest) })
    }

    /// Writes it, [`TICKET_BYTES`] long.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.signed();
        bytes.drain(..SIGNED_LABEL.len());
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    fn signed(&self) -> Vec<u8> {
        let flags = match self.right {
            Right::Member => 0,
            Right::MayInvite => MAY_INVITE,
            Right::Seeder => SEEDER,
        };
        let expires = self.expires.map_or(0, |at| at.as_secs());
        let mut bytes = Vec::with_capacity(SIGNED_LABEL.len() + TICKET_BYTES);
        bytes.extend_from_slice(SIGNED_LABEL);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.lineage.0);
        bytes.extend_from_slice(&self.invitee.0);
        bytes.extend_from_slice(&self.issuer.0);
        bytes.push(flags);
        bytes.extend_from_slice(&expires.to_be_bytes());
        bytes
    }

    fn is_genuine(&self) -> bool {
        sign::verify(&self.issuer.0, &self.signed(), &self.signature)
    }
}

/// The caller has made sure that there are so many.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, left) = rest.split_first_chunk().expect("a ticket has a fixed length");
    *rest = left;
    *taken
}

/// Judges the tickets that `peer` shows for a channel of `founder`; the founder needs none.
///
/// `now` is the calendar time since 1970.
///
/// # Errors
///
/// See [`Denial`].
pub fn judge(
    tickets: &[Ticket],
    lineage: Lineage,
    founder: &PeerId,
    peer: &PeerId,
    removed: impl Fn(&PeerId) -> bool,
    now: Duration,
) -> Result<Grant, Denial> {
    if peer == founder {
        return Ok(Grant { right: Right::MayInvite, expires: None });
    }
    if removed(peer) {
        return Err(Denial::Removed);
    }
    let last = tickets.last().ok_or(Denial::NoTicket)?;
    if tickets.len() > TICKETS_MAX || last.invitee != *peer {
        return Err(Denial::NotGood);
    }
    let mut issuer = *founder;
    for (at, ticket) in tickets.iter().enumerate() {
        let is_last = at + 1 == tickets.len();
        let follows = ticket.lineage == lineage && ticket.issuer == issuer;
        let may = match ticket.right {
            Right::MayInvite => true,
            Right::Member => is_last,
            // Only the founder lets seeders in.
            Right::Seeder => is_last && at == 0,
        };
        if !follows || !may || !ticket.is_genuine() {
            return Err(Denial::NotGood);
        }
        if removed(&ticket.invitee) {
            return Err(Denial::Removed);
        }
        if ticket.expires.is_some_and(|at| at.saturating_add(EXPIRY_TOLERANCE) < now) {
            return Err(Denial::Expired { issuer });
        }
        issuer = ticket.invitee;
    }
    let expires = tickets.iter().filter_map(|ticket| ticket.expires).min();
    Ok(Grant { right: last.right, expires: expires.map(|at| at.saturating_add(EXPIRY_TOLERANCE)) })
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::crypto::Secret;

    const LINEAGE: Lineage = Lineage([9; 32]);
    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn identity(seed: u8) -> Identity {
        Identity::from_seed(Secret::new([seed; 32]))
    }

    fn id(seed: u8) -> PeerId {
        identity(seed).peer_id()
    }

    fn ticket(issuer: u8, invitee: u8, right: Right, expires: Option<u64>) -> Ticket {
        let expires = expires.map(Duration::from_secs);
        Ticket::issue(&identity(issuer), LINEAGE, id(invitee), right, expires)
    }

    #[track_caller]
    fn check(tickets: &[Ticket], peer: u8, expected: Result<Right, Denial>) {
        let grant = judge(tickets, LINEAGE, &id(1), &id(peer), |_| false, NOW);
        assert_eq!(grant.map(|grant| grant.right), expected);
    }

    #[test]
    fn tickets_are_written_as_in_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../docs/spec/vectors/tickets.json")).unwrap();
        let bytes = |value: &Value| HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
        let array = |value: &Value| <[u8; 32]>::try_from(bytes(value)).unwrap();
        let lineage = Lineage::begin(
            &PeerId(array(&vectors["founder"])),
            &ChannelId(array(&vectors["first_channel"])),
        );
        assert_eq!(lineage.0, array(&vectors["lineage"]));
        let cases = vectors["tickets"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let issuer = Identity::from_seed(Secret::new(array(&case["issuer_seed"])));
            let right = match case["flags"].as_u64().unwrap() {
                0 => Right::Member,
                1 => Right::MayInvite,
                _ => Right::Seeder,
            };
            let expires = Some(case["expires"].as_u64().unwrap()).filter(|at| *at > 0);
            let expires = expires.map(Duration::from_secs);
            let invitee = PeerId(array(&case["invitee"]));
            let ticket = Ticket::issue(&issuer, lineage, invitee, right, expires);
            assert_eq!(ticket.encode(), bytes(&case["ticket"]));
            assert_eq!(Ticket::decode(&bytes(&case["ticket"])), Ok(ticket));
        }
    }

    #[test]
    fn the_founder_needs_no_ticket_and_everybody_else_does() {
        check(&[], 1, Ok(Right::MayInvite));
        check(&[], 2, Err(Denial::NoTicket));
        check(&[ticket(1, 2, Right::Member, None)], 2, Ok(Right::Member));
        check(&[ticket(1, 2, Right::Seeder, None)], 2, Ok(Right::Seeder));
        check(&[ticket(1, 2, Right::Member, None)], 3, Err(Denial::NotGood));
        check(&[ticket(2, 2, Right::Member, None)], 2, Err(Denial::NotGood));
    }

    #[test]
    fn who_may_invite_hands_on_and_who_may_not_does_not() {
        let first = ticket(1, 2, Right::MayInvite, None);
        let second = ticket(2, 3, Right::MayInvite, None);
        let third = ticket(3, 4, Right::MayInvite, None);
        let fourth = ticket(4, 5, Right::MayInvite, None);
        check(&[first, ticket(2, 3, Right::Member, None)], 3, Ok(Right::Member));
        check(&[first, second, third, fourth], 5, Ok(Right::MayInvite));
        let fifth = ticket(5, 6, Right::Member, None);
        check(&[first, second, third, fourth, fifth], 6, Err(Denial::NotGood));
        for right in [Right::Member, Right::Seeder] {
            let first = ticket(1, 2, right, None);
            check(&[first, ticket(2, 3, Right::Member, None)], 3, Err(Denial::NotGood));
        }
        check(&[first, ticket(2, 3, Right::Seeder, None)], 3, Err(Denial::NotGood));
        check(&[second, third], 4, Err(Denial::NotGood));
        check(&[first, third], 4, Err(Denial::NotGood));
        check(&[third, first], 4, Err(Denial::NotGood));
    }

    #[test]
    fn an_expired_ticket_anywhere_in_the_chain_ends_it_after_ten_minutes() {
        let at = |seconds: u64| NOW.as_secs() - seconds;
        let good = [
            ticket(1, 2, Right::MayInvite, Some(at(600))),
            ticket(2, 3, Right::Member, Some(at(0))),
        ];
        check(&good, 3, Ok(Right::Member));
        let grant = judge(&good, LINEAGE, &id(1), &id(3), |_| false, NOW).unwrap();
        assert_eq!(grant.expires, Some(NOW));
        let old = ticket(1, 2, Right::MayInvite, Some(at(601)));
        check(&[old, good[1]], 3, Err(Denial::Expired { issuer: id(1) }));
        let old = ticket(2, 3, Right::Member, Some(at(601)));
        check(&[good[0], old], 3, Err(Denial::Expired { issuer: id(2) }));
        let never_ends = ticket(1, 2, Right::Member, Some(u64::MAX));
        check(&[never_ends], 2, Ok(Right::Member));
    }

    #[test]
    fn a_grant_is_better_that_gives_more_or_for_longer_and_nothing_less() {
        let grant = |right, expires: Option<u64>| Grant {
            right,
            expires: expires.map(Duration::from_secs),
        };
        let member = grant(Right::Member, Some(10));
        for better in [
            grant(Right::Member, Some(11)),
            grant(Right::Member, None),
            grant(Right::MayInvite, Some(10)),
        ] {
            assert!(better.is_better_than(&member) && !member.is_better_than(&better));
        }
        for other in [member, grant(Right::MayInvite, Some(9)), grant(Right::Seeder, None)] {
            assert!(!other.is_better_than(&member), "{other:?}");
        }
        assert!(!member.is_better_than(&grant(Right::MayInvite, Some(9))));
    }

    #[test]
    fn who_was_removed_is_not_let_in_nor_whom_they_invited() {
        let chain = [ticket(1, 2, Right::MayInvite, None), ticket(2, 3, Right::Member, None)];
        for (removed, peer) in [(2, 2), (2, 3), (3, 3)] {
            let tickets = if peer == 2 { &chain[..1] } else { &chain };
            let judged = judge(tickets, LINEAGE, &id(1), &id(peer), |it| *it == id(removed), NOW);
            assert_eq!(judged, Err(Denial::Removed));
        }
        let judged = judge(&chain, LINEAGE, &id(1), &id(3), |it| *it == id(4), NOW);
        assert_eq!(judged.map(|grant| grant.right), Ok(Right::Member));
    }

    #[test]
    fn every_altered_bit_is_noticed() {
        let genuine = ticket(1, 2, Right::Member, Some(2_000_000_000)).encode();
        for bit in 0..TICKET_BYTES * 8 {
            let mut altered = genuine.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            if let Ok(ticket) = Ticket::decode(&altered) {
                let judged = judge(&[ticket], LINEAGE, &id(1), &id(2), |_| false, NOW);
                assert_eq!(judged, Err(Denial::NotGood), "bit {bit}");
            }
        }
        let other = Ticket { lineage: Lineage([8; 32]), ..Ticket::decode(&genuine).unwrap() };
        check(&[other], 2, Err(Denial::NotGood));
    }

    #[test]
    fn another_length_version_or_flag_is_refused() {
        let genuine = ticket(1, 2, Right::Member, None).encode();
        for len in (0..TICKET_BYTES).chain([TICKET_BYTES + 1]) {
            let mut bytes = genuine.clone();
            bytes.resize(len, 0);
            assert_eq!(Ticket::decode(&bytes), Err(TicketError::Length { bytes: len }));
        }
        for (at, value) in [(0, 0), (0, 2), (97, 3), (97, 4), (97, 0x80)] {
            let mut bytes = genuine.clone();
            bytes[at] = value;
            assert_eq!(Ticket::decode(&bytes), Err(TicketError::Newer), "{at}: {value}");
        }
    }

    proptest! {
        #[test]
        fn what_reads_is_written_back(bytes in prop::collection::vec(any::<u8>(), TICKET_BYTES)) {
            let mut bytes = bytes;
            bytes[0] = 1;
            bytes[97] %= 3;
            prop_assert_eq!(Ticket::decode(&bytes).unwrap().encode(), bytes);
        }
    }
}

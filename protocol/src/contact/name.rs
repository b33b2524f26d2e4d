//! When two names are the same to a person's eye, and what to call those who share one.

use crate::id::PeerId;
use crate::identity::DisplayName;
use crate::text::look_of_name;

/// Two names with one key are shown to nobody as two people.
pub(super) fn key(name: &str) -> String {
    look_of_name(name)
}

/// The name a peer claims, if it is one that can be shown; somebody else's id is not.
pub(super) fn claimed(peer: &PeerId, claim: &str) -> Option<DisplayName> {
    let name = DisplayName::new(claim.trim()).ok()?;
    let is_foreign_id = name.as_str().parse().is_ok_and(|id: PeerId| id != *peer);
    if is_foreign_id { None } else { Some(name) }
}

/// What a peer could be called, best first; the last is nobody else's.
pub(super) fn candidates(peer: &PeerId, claim: Option<&DisplayName>) -> [String; 3] {
    let (short, full) = (peer.short(), peer.to_string());
    match claim {
        Some(claim) => [claim.to_string(), format!("{claim} ({short})"), full],
        None => [short.clone(), format!("({short})"), full],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_spaces_do_not_make_another_name() {
        assert_eq!(key(" Alice  B "), key("ALICE b"));
        assert_eq!(key("ÄNNE"), key("änne"));
        assert_eq!(key("Al\u{200d}ice\u{fe0e}"), key("Alice"));
        assert_ne!(key("Alice"), key("Alicf"));
    }

    #[test]
    fn a_name_that_cannot_be_shown_or_is_an_id_of_another_counts_as_none() {
        let peer = PeerId([1; 32]);
        let claimed = |claim: &str| claimed(&peer, claim).map(|name| name.to_string());
        assert_eq!(claimed(" Bob "), Some("Bob".to_owned()));
        assert_eq!(claimed(""), None);
        assert_eq!(claimed("Bob\u{202e}"), None);
        assert_eq!(claimed(&PeerId([2; 32]).to_string()), None);
        assert_eq!(claimed(&peer.to_string()), Some(peer.to_string()));
    }
}

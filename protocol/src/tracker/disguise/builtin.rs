//! The profiles that come with the program, and which of them a new node wears.
//!
//! A new node draws one by the `default-weight` of each, once: what it wears stays the same from then
//! on, as a person does not change the client every day. Drawn and not fixed, because a swarm whose
//! members are all of one version would itself be a pattern. Only clients that are common *and* whose
//! other traffic ours resembles have a weight: the two of qBittorrent. Both have one UDP port for
//! everything and announce it to the DHT as `implied_port`, which is what passes NATs. Transmission
//! does neither, and libtorrent without a client around it is rare. Three to one for the newer
//! version is a guess: people update.

use super::ClientProfile;
use crate::crypto::Rng;

/// The name under which a profile is chosen, and the file; the default for tests and tools first.
const FILES: [(&str, &str); 6] = [
    ("qbittorrent-5.1.0", include_str!("profiles/qbittorrent-5.1.0.profile")),
    ("qbittorrent-4.5.2", include_str!("profiles/qbittorrent-4.5.2.profile")),
    ("libtorrent-2.0.11", include_str!("profiles/libtorrent-2.0.11.profile")),
    ("libtorrent-2.0.8", include_str!("profiles/libtorrent-2.0.8.profile")),
    ("transmission-4.1.0-beta2", include_str!("profiles/transmission-4.1.0-beta2.profile")),
    ("transmission-3.00", include_str!("profiles/transmission-3.00.profile")),
];

impl ClientProfile {
    /// The names of the profiles that come with the program.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    /// The profile of that name, if it comes with the program.
    ///
    /// # Panics
    ///
    /// Never: the files are part of the program, and a test reads them.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (_, text) = FILES.iter().find(|(it, _)| *it == name)?;
        Some(Self::parse(text).expect("the built-in profiles are read by a test"))
    }

    /// The text of the profile of that name: a pattern for a profile of one's own.
    #[must_use]
    pub fn text_of(name: &str) -> Option<&'static str> {
        FILES.iter().find(|(it, _)| *it == name).map(|(_, text)| *text)
    }

    /// The profile of qBittorrent 5.1.0 on Debian 13: what is worn where nobody has chosen.
    ///
    /// # Panics
    ///
    /// Never: the file is part of the program, and a test reads it.
    #[must_use]
    pub fn qbittorrent_5_1_0() -> Self {
        Self::parse(FILES[0].1).expect("the built-in profiles are read by a test")
    }

    /// Draws the name of the profile that a new node wears; see the module's documentation.
    #[must_use]
    pub fn draw_name(rng: &mut Rng) -> &'static str {
        let weight = |name| Self::named(name).map_or(0, |it| u64::from(it.default_weight));
        let weights: Vec<_> = Self::names().map(|name| (name, weight(name))).collect();
        let mut at = rng.below(weights.iter().map(|(_, weight)| weight).sum());
        for (name, weight) in weights {
            match at.checked_sub(weight) {
                Some(rest) => at = rest,
                None => return name,
            }
        }
        FILES[0].0
    }
}

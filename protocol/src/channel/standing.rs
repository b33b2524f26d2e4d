//! What a peer is in a channel, apart from being reachable in it.
//!
//! Whoever holds the seed key is let in, found and introduced. A member proves on each link that it
//! holds the channel secret as well.

/// What a peer has proven of itself in a channel that is shared on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// That it holds the seed key. A node that holds no more itself cannot tell more of anybody.
    Seeder,
    /// That it holds the channel secret: it reads and speaks.
    Member,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Seeder => "seeder",
            Self::Member => "member",
        }
    }
}

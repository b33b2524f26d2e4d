//! What goes into the session machine and what comes out.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::channel::{ChannelKeys, Standing};
use crate::crypto::Secret;
use crate::id::{ChannelId, PeerId};
use crate::wire::{Frame, MoveBytes, TicketBytes};

/// Who opened the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The one who sent the first packet.
    Dialler,
    /// The one who answered it.
    Listener,
}

impl Role {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Dialler => 0,
            Self::Listener => 1,
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

/// A channel that we are in, and what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnChannel {
    /// Its id.
    pub id: ChannelId,
    /// The key of the proof that every holder of the seed key gives.
    pub proof: Secret<32>,
    /// The key of the proof that members give besides; `None` where we hold a seed-only file.
    pub member_proof: Option<Secret<32>>,
    /// The only one who may be in it beside us, in the channel of a pair.
    pub only: Option<PeerId>,
    /// What lets us in, where it is closed; who else may be in it is asked by
    /// [`Output::AskAdmission`].
    pub door: Option<Door>,
}

/// What a session shows, and when it asks again, about a closed channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Ours, to be shown; at most [`crate::limits::TICKETS_MAX`].
    pub tickets: Vec<TicketBytes>,
    /// Another number: who may be in it may be others now.
    pub revision: u64,
    /// Where the channel goes on as another one, without those who may be in neither. Whoever judges
    /// by this revision knows who they are.
    pub departure: Option<Departure>,
}

/// What is handed on to who is in a channel that goes on as another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The founder's word.
    pub moved: MoveBytes,
    /// The channel that it goes on as.
    pub successor: ChannelId,
    /// The key of that for seeders.
    pub seed: Secret<32>,
    /// That for members; `None` where we are a seeder.
    pub secret: Option<Secret<32>>,
}

impl From<&ChannelKeys> for OwnChannel {
    fn from(keys: &ChannelKeys) -> Self {
        Self {
            id: keys.id(),
            proof: keys.proof().clone(),
            member_proof: keys.member_proof().cloned(),
            only: None,
            door: None,
        }
    }
}

/// What a session is told at its birth, when the handshake is done.
#[derive(Debug, Clone)]
pub struct Config {
    /// Us.
    pub own_peer: PeerId,
    /// Our display name, at most [`crate::limits::NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Random bytes of this run of ours.
    pub incarnation: [u8; 8],
    /// Who dialled.
    pub role: Role,
    /// The channel whose key opened the link.
    pub channel: ChannelId,
    /// Of the handshake: unique to this link.
    pub handshake_hash: [u8; 64],
    /// The peer, as the handshake has proven.
    pub peer: PeerId,
    /// Whether a person wants no link with it: it is told nothing of us then.
    pub is_blocked: bool,
    /// The channels we are in.
    pub channels: Vec<OwnChannel>,
    /// Where we see the peer; told to it.
    pub observed: SocketAddr,
    /// Between two renewals, give or take a tenth. Shorter: less to read for who steals the keys of
    /// the present; longer: less work (about a millisecond each). One hour, as WireGuard and the
    /// ancestors have it within a factor of thirty.
    pub renewal_interval: Duration,
}

/// What the contact book says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The peer may be linked with.
    Accept,
    /// It may not: blocked, or its key is not the one that we know.
    Refuse,
}

/// What the driver tells a session.
#[derive(Debug)]
pub enum Input {
    /// A frame came.
    FrameReceived {
        /// The link's present generation of keys.
        generation: u64,
        /// The frame's body.
        body: Bytes,
    },
    /// The contact book has answered [`Output::AskContactBook`].
    ContactDecision(Decision),
    /// Answers [`Output::AskEntropy`] with bytes fresh from the operating system.
    Entropy(Secret<32>),
    /// The contact book has answered [`Output::Renamed`].
    RenameDecision(Decision),
    /// The channels we are in changed; all of them.
    ChannelsChanged(Vec<OwnChannel>),
    /// Answers [`Output::AskAdmission`].
    Admission {
        /// The channel.
        channel: ChannelId,
        /// As it was asked.
        question: u64,
        /// `Ok`: the peer may be in it, for so long, or for ever.
        verdict: Result<Option<Duration>, Turndown>,
    },
    /// A person wants no link with the peer any more.
    PeerBlocked,
    /// Our display name changed.
    Renamed(String),
    /// The link moved on to this generation of keys. Optional: frames tell it too.
    GenerationReached(u64),
    /// An [`Output::Mix`] could not be done: that generation was derived already.
    MixTooLate {
        /// The one asked for.
        generation: u64,
    },
}

/// Why a peer is not let into a closed channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turndown {
    /// For programs.
    pub code: u8,
    /// For people; at most [`crate::limits::REFUSAL_BYTES_MAX`] bytes.
    pub text: String,
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer, as the handshake has proven.
    pub peer: PeerId,
    /// The display name it gives itself; not escaped, may be empty.
    pub name: String,
    /// Of its run.
    pub incarnation: [u8; 8],
    /// Where it sees us.
    pub observed_us_at: Option<SocketAddr>,
    /// The channels both are in, and as what the peer is; never empty.
    pub shared: Vec<(ChannelId, Standing)>,
}

/// Why a session ends its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Close {
    /// The peer is ourselves.
    #[error("this is ourselves")]
    SelfDial,
    /// No hello, or no decision, in time.
    #[error("no hello in time")]
    HelloTimeout,
    /// The peer breaks the protocol.
    #[error("protocol violation")]
    Violation,
    /// The contact book refuses the peer.
    #[error("refused")]
    Refused,
    /// One does not let the other into any channel that both have proven.
    #[error("not let in")]
    NotLetIn,
    /// We are no longer in the channel that the link was opened for.
    #[error("the channel was left")]
    ChannelLeft,
    /// The peer sends more than we hold while it is being judged.
    #[error("too much at once")]
    Overloaded,
    /// The keys could not be renewed; a new link will have fresh ones.
    #[error("the keys could not be renewed")]
    RenewalFailed,
}

/// What a session wants done, or known.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this frame's body.
    SendFrame(Vec<u8>),
    /// Answer with [`Input::ContactDecision`].
    AskContactBook {
        /// Who.
        peer: PeerId,
        /// What it calls itself.
        name: String,
    },
    /// Whether the peer may be in a closed channel that it has proven; answer with
    /// [`Input::Admission`].
    AskAdmission {
        /// The channel.
        channel: ChannelId,
        /// Names the question on this link.
        question: u64,
        /// What it has proven to be.
        standing: Standing,
        /// What it shows.
        tickets: Vec<TicketBytes>,
    },
    /// The peer does not let us into a closed channel.
    TurnedDown {
        /// The channel.
        channel: ChannelId,
        /// Why; the text is not escaped, and empty where we do not let the peer in either.
        why: Turndown,
    },
    /// The peer lets us into a closed channel.
    LetIn(ChannelId),
    /// The peer, with whom a closed channel is shared, says that it goes on as another one.
    Moved {
        /// The channel.
        channel: ChannelId,
        /// The founder's word, as the peer says.
        moved: MoveBytes,
        /// A key of the other one.
        key: Secret<32>,
    },
    /// Answer with [`Input::Entropy`]: fresh keys are about to be made.
    AskEntropy,
    /// The peer is there: frames may be sent to it, and come from it.
    Up(PeerInfo),
    /// The channels both are in, or what the peer is in them, changed; all of them.
    SharedChanged(Vec<(ChannelId, Standing)>),
    /// The peer calls itself so now; to be judged like a new one. Answer with
    /// [`Input::RenameDecision`]: before, no other name comes.
    Renamed(String),
    /// A frame for the mesh or the chat.
    Deliver(Frame),
    /// Mix the secret into that generation of keys, before what is sent after this.
    Mix {
        /// The generation.
        generation: u64,
        /// The secret.
        secret: Secret<32>,
    },
    /// Move on to the next generation of keys, before what is sent after this.
    ForceKeyUpdate,
    /// End the link; the session is over.
    Close(Close),
}

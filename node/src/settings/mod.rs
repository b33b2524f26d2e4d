//! The settings: what can be set, read from layers and checked once.
//!
//! `configs/default.toml` is the reference of every key and the built-in layer; a test compares it
//! with [`Settings`]. The layers are in `layers`.

mod costume;
mod layers;
mod span;

use std::time::Duration;

use bitchat_protocol::channel::NodeAddress;
use bitchat_protocol::limits::DIALS_MAX;
use serde::{Deserialize, Serialize};

pub use costume::{Costume, CostumeError};
pub use layers::{Layers, Loaded, Row, SettingsError};
pub use span::{Span, SpanError};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The socket.
    pub network: Network,
    /// The trackers.
    pub trackers: Trackers,
    /// The DHT.
    pub dht: Dht,
    /// The local network.
    pub lan: Lan,
    /// The mesh.
    pub mesh: Mesh,
    /// A link.
    pub link: Link,
    /// People.
    pub contacts: Contacts,
    /// The chat.
    pub chat: Chat,
    /// What is kept.
    pub history: History,
    /// The log.
    pub log: Log,
}

/// `[network]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The UDP port; 0: chosen once and kept in the profile.
    pub listen_port: u16,
    /// Whether to use IPv4.
    pub ipv4: bool,
    /// Whether to use IPv6.
    pub ipv6: bool,
    /// Bytes of the socket's receive buffer.
    pub receive_buffer: u32,
}

/// `[trackers]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trackers {
    /// Whether to announce at all.
    pub enabled: bool,
    /// For channels made without `--tracker`.
    pub default: Vec<String>,
    /// The BitTorrent client to look like.
    pub client_profile: Costume,
}

/// `[dht]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dht {
    /// Whether to be in the DHT at all.
    pub enabled: bool,
    /// Where to start from while no node is known.
    pub routers: Vec<String>,
}

impl Dht {
    /// The routers, read; or the first that is none.
    ///
    /// # Errors
    ///
    /// The text that is no `HOST:PORT`.
    pub fn router_addresses(&self) -> Result<Vec<NodeAddress>, &String> {
        self.routers.iter().map(|text| text.parse().map_err(|_| text)).collect()
    }
}

/// `[lan]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lan {
    /// Whether to look for members on the local network.
    pub enabled: bool,
    /// The names of the interfaces to use; none: all.
    pub interfaces: Vec<String>,
}

/// `[mesh]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// Addresses dialled at once, 1 to [`DIALS_MAX`].
    pub dials_at_once: usize,
    /// How often an idle link says that it is alive.
    pub keep_alive: Span,
    /// After how long in silence a link counts as lost.
    pub idle_timeout: Span,
}

/// `[link]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// How often a link makes fresh keys.
    pub renewal_interval: Span,
    /// The preferred packet protection.
    pub cipher: Cipher,
}

/// Packet protection to prefer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cipher {
    /// What this machine does fastest.
    Auto,
    /// AES-256-GCM.
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// `[contacts]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contacts {
    /// Whether to look for each contact in the channel of the two of us.
    pub pair_channels: bool,
}

/// `[chat]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// How long to wait for a receipt at the end of the input.
    pub linger: Span,
    /// Whether to print receipts.
    pub show_delivered: bool,
}

/// `[history]`: how much is kept of each channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Messages; 0: any number.
    pub messages: u64,
    /// Megabytes; 0: any number.
    pub megabytes: u64,
    /// Days since a message came to this disk; 0: for ever.
    pub days: u64,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How much.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// `info` for a daemon, else `warn`.
    Auto,
    /// Nothing.
    Off,
    /// What went wrong.
    Error,
    /// And what may have.
    Warn,
    /// And what happens.
    Info,
    /// And why.
    Debug,
    /// And each step.
    Trace,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// A value that has the right type and makes no sense: the key, and what would.
type Nonsense = (&'static str, String);

impl Settings {
    /// Checks what the types do not.
    fn check(&self) -> Result<(), Nonsense> {
        self.check_network()?;
        self.check_mesh()?;
        let renewal = self.link.renewal_interval.0;
        if !(Duration::from_secs(60)..=Duration::from_secs(86_400)).contains(&renewal) {
            return Err(("link.renewal_interval", "must be 1m to 24h".into()));
        }
        for url in &self.trackers.default {
            let known = ["udp://", "http://", "https://"].iter().any(|s| url.starts_with(s));
            if !known || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
                let text = format!("{url:?} is not a tracker: it must be a udp, http or https URL");
                return Err(("trackers.default", text));
            }
        }
        if let Err(text) = self.dht.router_addresses() {
            let text = format!("{text:?} is no node of the DHT: it must be HOST:PORT");
            return Err(("dht.routers", text));
        }
        Ok(())
    }

    fn check_network(&self) -> Result<(), Nonsense> {
        if !self.network.ipv4 && !self.network.ipv6 {
            return Err(("network.ipv4", "and network.ipv6 are both off: set one to true".into()));
        }
        if !(16 * 1024..=1024 * 1024 * 1024).contains(&self.network.receive_buffer) {
            return Err(("network.receive_buffer", "must be 16384 to 1073741824 bytes".into()));
        }
        Ok(())
    }

    fn check_mesh(&self) -> Result<(), Nonsense> {
        if !(1..=DIALS_MAX).contains(&self.mesh.dials_at_once) {
            return Err(("mesh.dials_at_once", format!("must be 1 to {DIALS_MAX}")));
        }
        if self.mesh.keep_alive.0 < Duration::from_secs(1) {
            return Err(("mesh.keep_alive", "must be at least 1s".into()));
        }
        if self.mesh.idle_timeout.0 < 2 * self.mesh.keep_alive.0 {
            let text = format!("must be at least twice mesh.keep_alive ({})", self.mesh.keep_alive);
            return Err(("mesh.idle_timeout", text));
        }
        if self.mesh.idle_timeout.0 > Duration::from_secs(3600) {
            return Err(("mesh.idle_timeout", "must be at most 1h".into()));
        }
        Ok(())
    }
}

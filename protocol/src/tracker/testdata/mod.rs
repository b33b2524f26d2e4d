//! Announces of qBittorrent 5.1.0 as they were captured, for the golden tests.

use data_encoding::HEXLOWER;

use super::announce::Occasion;

/// One captured request or datagram.
pub(super) struct Captured {
    pub(super) carrier: String,
    pub(super) family: u64,
    /// `None`: a UDP connect request.
    pub(super) occasion: Option<Occasion>,
    pub(super) bytes: Vec<u8>,
}

/// Reads all that was captured.
pub(super) fn captured() -> Vec<Captured> {
    let json: serde_json::Value =
        serde_json::from_str(include_str!("qbittorrent-5.1.0.json")).unwrap();
    json.as_array().unwrap().iter().map(read).collect()
}

fn read(entry: &serde_json::Value) -> Captured {
    let text = |key: &str| entry[key].as_str().unwrap().to_owned();
    let occasion = match text("event").as_str() {
        "started" => Some(Occasion::Started),
        "periodic" => Some(Occasion::Periodic),
        "stopped" => Some(Occasion::Stopped),
        _ => None,
    };
    let bytes = HEXLOWER.decode(text("hex").as_bytes()).unwrap();
    Captured {
        carrier: text("carrier"),
        family: entry["family"].as_u64().unwrap(),
        occasion,
        bytes,
    }
}

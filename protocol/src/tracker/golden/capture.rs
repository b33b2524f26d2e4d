//! Excerpts of captures of real clients, as `testdata/` has them.
//!
//! Each file is one client in a lab with a tracker over IPv4 and IPv6: `http_a`, `http_b` and `udp` are
//! a magnet link each, that never found anybody; the tracker answers `interval` 120, `min interval` 60
//! and `tracker id` `abc/+z`. `failures` are the times of a magnet's announces over one IP version
//! where the tracker refuses without naming a time, closes the TLS connection, or is silent over UDP;
//! scrapes and the farewell are left out of them. `refused` are the request lines of such a magnet, the
//! farewell among them; `farewells` says how many connections the farewell took in the other two ways.
//! All times are seconds.

use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::id::InfoHash;
use crate::tracker::announcer::Family;

const FILES: [&str; 6] = [
    include_str!("../testdata/qbittorrent-5.1.0.json"),
    include_str!("../testdata/qbittorrent-4.5.2.json"),
    include_str!("../testdata/libtorrent-2.0.11.json"),
    include_str!("../testdata/libtorrent-2.0.8.json"),
    include_str!("../testdata/transmission-4.1.0-beta2.json"),
    include_str!("../testdata/transmission-3.00.json"),
];

/// What was captured of one client.
pub(super) struct Capture {
    pub(super) client: String,
    json: Value,
}

/// The announces of one magnet link.
pub(super) struct Magnet {
    pub(super) infohash: InfoHash,
    pub(super) announces: Vec<Announced>,
}

/// One request or datagram.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Announced {
    pub(super) at: f64,
    pub(super) family: Family,
    /// `started`, `periodic` or `stopped`; over UDP also `connect`.
    pub(super) occasion: String,
    pub(super) bytes: Vec<u8>,
}

/// Reads all captures.
pub(super) fn captures() -> Vec<Capture> {
    FILES
        .iter()
        .map(|text| {
            let json: Value = serde_json::from_str(text).unwrap();
            Capture { client: json["client"].as_str().unwrap().to_owned(), json }
        })
        .collect()
}

impl Capture {
    pub(super) fn magnet(&self, name: &str) -> Magnet {
        let magnet = &self.json[name];
        let infohash = HEXLOWER.decode(magnet["infohash"].as_str().unwrap().as_bytes()).unwrap();
        let announces = magnet["announces"].as_array().unwrap().iter().map(announced).collect();
        Magnet { infohash: InfoHash(infohash.try_into().unwrap()), announces }
    }

    /// The times of announces that failed in one way.
    pub(super) fn failures(&self, way: &str) -> Vec<f64> {
        let times = self.json["failures"][way].as_array().unwrap();
        times.iter().map(|at| at.as_f64().unwrap()).collect()
    }

    /// How many connections, over both IP versions, the farewell took after failures of one way.
    pub(super) fn farewells(&self, way: &str) -> u64 {
        self.json["farewells"][way].as_u64().unwrap()
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let texts = self.json[name].as_array().unwrap();
        texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }
}

fn announced(json: &Value) -> Announced {
    let bytes = match json["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => HEXLOWER.decode(json["hex"].as_str().unwrap().as_bytes()).unwrap(),
    };
    Announced {
        at: json["at"].as_f64().unwrap(),
        family: if json["family"] == 4 { Family::V4 } else { Family::V6 },
        occasion: json["occasion"].as_str().unwrap().to_owned(),
        bytes,
    }
}

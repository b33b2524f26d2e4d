//! What a profile says beyond trackers: habits on the DHT and on the local network.

use std::time::Duration;

use super::ProfileError;
use super::keys::Keys;
use crate::dht::DhtProfile;
use crate::dht::profile::{QueryMix, TransactionIds};
use crate::lan::{Cookie, HexCase, LanHabit, Rhythm, Voices};

/// Reads the `dht-` keys.
pub(super) fn dht(keys: &mut Keys, name: &str) -> Result<DhtProfile, ProfileError> {
    let queries = [("get-peers", QueryMix::GetPeers), ("classic", QueryMix::Classic)];
    Ok(DhtProfile {
        name: name.to_owned(),
        version: Some(keys.hex("dht-version")?).filter(|version| !version.is_empty()),
        transaction_ids: keys
            .take("dht-transactions")?
            .read("tagged, or random and 1 to 4", transactions)?,
        queries: keys.choice("dht-queries", "get-peers or classic", &queries)?,
        bootstrap_mark: keys.flag("dht-bootstrap-mark")?,
        implied_port: keys.flag("dht-implied-port")?,
        seed: keys.flag("dht-seed")?,
        token_bytes: keys
            .take("dht-token-bytes")?
            .read("1 to 16", |value| value.parse().ok().filter(|len| (1..=16).contains(len)))?,
        answers_ip: keys.flag("dht-answers-ip")?,
        answers_port: keys.flag("dht-answers-port")?,
        secure_ids: keys.flag("dht-secure-ids")?,
        one_id: keys.flag("dht-one-id")?,
        announce_interval: keys.seconds("dht-announce-interval")?,
        announce_gap: keys.seconds("dht-announce-gap")?,
        announce_nodes: keys
            .take("dht-announce-nodes")?
            .read("1 to 16", |value| value.parse().ok().filter(|count| (1..=16).contains(count)))?,
        refresh_interval: keys.seconds("dht-refresh-interval")?,
    })
}

fn transactions(value: &str) -> Option<TransactionIds> {
    match value.split_once(' ') {
        None if value == "tagged" => Some(TransactionIds::Tagged),
        Some(("random", bytes)) => {
            let bytes = bytes.parse().ok().filter(|bytes| (1..=4).contains(bytes))?;
            Some(TransactionIds::Random(bytes))
        }
        None | Some(_) => None,
    }
}

/// Reads the `lan-` keys; a client that does not announce there has the first of them alone.
pub(super) fn lan(keys: &mut Keys) -> Result<Option<LanHabit>, ProfileError> {
    if !keys.flag("lan-announce")? {
        return Ok(None);
    }
    let cases = [("lower", HexCase::Lower), ("upper", HexCase::Upper)];
    let voices = [("address", Voices::EachAddress), ("interface", Voices::EachInterface)];
    Ok(Some(LanHabit {
        hex: keys.choice("lan-hex", "lower or upper", &cases)?,
        cookie: keys.take("lan-cookie")?.read("none, hex, or alphanumeric and 1 to 64", cookie)?,
        rhythm: keys
            .take("lan-rhythm")?
            .read("seconds like `in-turn 300 2 4` or `together 60 300`", rhythm)?,
        voices: keys.choice("lan-voices", "address or interface", &voices)?,
        hops: keys
            .take("lan-hops")?
            .read("1 to 255", |value| value.parse().ok().filter(|hops| (1..=255).contains(hops)))?,
    }))
}

fn cookie(value: &str) -> Option<Cookie> {
    match value.split_once(' ') {
        None if value == "none" => Some(Cookie::Absent),
        None if value == "hex" => Some(Cookie::HexPerVoice),
        Some(("alphanumeric", length)) => {
            let length = length.parse().ok().filter(|length| (1..=64).contains(length))?;
            Some(Cookie::AlphanumericPerSession(length))
        }
        None | Some(_) => None,
    }
}

/// Zero would be a loop without a pause.
fn rhythm(value: &str) -> Option<Rhythm> {
    let (name, times) = value.split_once(' ')?;
    let seconds = |text: &str| {
        let seconds = text.parse::<u32>().ok().filter(|seconds| *seconds > 0)?;
        Some(Duration::from_secs(u64::from(seconds)))
    };
    let times: Vec<Duration> = times.split(' ').map(seconds).collect::<Option<_>>()?;
    match (name, times[..].first_chunk(), times[..].first_chunk()) {
        ("in-turn", Some(&[interval, first, second]), _) if times.len() == 3 => {
            Some(Rhythm::EachInTurn { interval, pauses: [first, second] })
        }
        ("together", _, Some(&[tick, interval])) if times.len() == 2 => {
            Some(Rhythm::Together { tick, interval })
        }
        _ => None,
    }
}

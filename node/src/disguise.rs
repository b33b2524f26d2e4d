//! Which BitTorrent client the node looks like, and the port that goes with it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;

use bitchat_actors::vault::Profile;
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::tracker::ClientProfile;

use crate::exit::{Exit, Failure};
use crate::output::talk;
use crate::settings::{Costume, Settings};

/// Ports from which one is chosen where the worn client's are all taken.
const OTHER_PORTS: std::ops::Range<u16> = 10_000..60_000;

/// Bytes of a profile file. Stops a wrong path from filling the memory.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The profile of the settings; with `auto` the one that was drawn at the first start.
///
/// # Errors
///
/// A [`Failure`] when the user's file is wrong, or when what was drawn cannot be kept.
pub(crate) fn worn(settings: &Settings, profile: &mut Profile) -> Result<ClientProfile, Failure> {
    match &settings.trackers.client_profile {
        Costume::File(path) => read(path),
        Costume::BuiltIn(name) => Ok(ClientProfile::named(name).unwrap_or_else(default)),
        Costume::Auto => kept(profile),
    }
}

/// Looks for mistakes in the user's file, if there is one.
///
/// # Errors
///
/// A [`Failure`] that says where it is wrong.
pub(crate) fn check(settings: &Settings) -> Result<(), Failure> {
    match &settings.trackers.client_profile {
        Costume::File(path) => read(path).map(drop),
        Costume::BuiltIn(_) | Costume::Auto => Ok(()),
    }
}

/// The port of the settings; or the profile's own, chosen once as the worn client would: trackers and
/// routers remember it.
///
/// # Errors
///
/// A [`Failure`] when the chosen port cannot be kept.
pub(crate) fn listen_port(
    settings: &Settings,
    worn: &ClientProfile,
    profile: &mut Profile,
) -> Result<u16, Failure> {
    match (settings.network.listen_port, profile.udp_port()) {
        (0, Some(port)) => Ok(port),
        (0, None) => {
            let mut rng = Rng::from_seed(bitchat_actors::entropy::seed());
            let port = worn.ports.choose(&mut rng, is_free).unwrap_or_else(|| {
                let count = OTHER_PORTS.end - OTHER_PORTS.start;
                let offset = rng.below(u64::from(count));
                OTHER_PORTS.start + u16::try_from(offset).unwrap_or(0)
            });
            profile.set_udp_port(port)?;
            Ok(port)
        }
        (port, _) => Ok(port),
    }
}

fn default() -> ClientProfile {
    ClientProfile::qbittorrent_5_1_0()
}

/// The profile that was drawn, or draws it now: it stays the same from then on. One that this version
/// of the program does not have any more is drawn anew.
fn kept(profile: &mut Profile) -> Result<ClientProfile, Failure> {
    if let Some(name) = profile.client_profile() {
        if let Some(worn) = ClientProfile::named(name) {
            return Ok(worn);
        }
        talk(format_args!(
            "this version does not know the client profile {name}: it takes another"
        ));
    }
    let mut rng = Rng::from_seed(bitchat_actors::entropy::seed());
    let name = ClientProfile::draw_name(&mut rng);
    profile.set_client_profile(name)?;
    Ok(ClientProfile::named(name).unwrap_or_else(default))
}

fn read(path: &Path) -> Result<ClientProfile, Failure> {
    let wrong = |why: String| {
        let text = format!("client profile {}: {why}", path.display());
        Failure::new(Exit::Configuration, text)
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("has more than {FILE_BYTES_MAX} bytes: not a client profile")));
    }
    ClientProfile::parse(&text).map_err(|error| wrong(error.to_string()))
}

/// Whether no other program has this port now; connections of others begin at ports like ours.
fn is_free(port: u16) -> bool {
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    all.into_iter().all(|ip| match UdpSocket::bind((ip, port)) {
        Ok(_) => true,
        // Where there is no IPv6, nobody is in the way.
        Err(error) => error.kind() != ErrorKind::AddrInUse,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Layers;

    fn settings(flags: &[&str]) -> Settings {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Layers { flags, ..Layers::default() }.load().unwrap().settings
    }

    fn profile(dir: &tempfile::TempDir) -> Profile {
        let dir = dir.path().join("profiles");
        Profile::open(&dir, "test", None)
            .unwrap_or_else(|_| Profile::create(&dir, "test", None, None).unwrap())
    }

    #[test]
    fn what_is_drawn_at_the_first_start_is_worn_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let first = worn(&settings(&[]), &mut profile(&dir)).unwrap();
        let kept = profile(&dir).client_profile().unwrap().to_owned();
        assert!(first.default_weight > 0);
        for _ in 0..3 {
            assert_eq!(worn(&settings(&[]), &mut profile(&dir)).unwrap(), first);
        }
        let other = settings(&["trackers.client_profile=transmission-3.00"]);
        assert_eq!(worn(&other, &mut profile(&dir)).unwrap().name, "Transmission 3.00");
        assert_eq!(profile(&dir).client_profile(), Some(kept.as_str()));
    }

    #[test]
    fn a_kept_name_that_is_unknown_is_drawn_anew() {
        let dir = tempfile::tempdir().unwrap();
        profile(&dir).set_client_profile("netscape-4").unwrap();
        worn(&settings(&[]), &mut profile(&dir)).unwrap();
        assert!(ClientProfile::names().any(|name| profile(&dir).client_profile() == Some(name)));
    }

    #[test]
    fn a_file_of_ones_own_is_worn_and_its_mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.profile");
        let set = settings(&[&format!("trackers.client_profile=file:{}", path.display())]);
        let error = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let failure = worn(&set, &mut profile(&dir)).unwrap_err();
            assert!(check(&set).is_err());
            failure.to_string()
        };
        let text = ClientProfile::text_of("qbittorrent-5.1.0").unwrap();
        let broken = error(&text.replace("left = 16384", "left = lots"));
        assert!(broken.contains("mine.profile: line ") && broken.contains("`left`"), "{broken}");
        assert!(error("").contains("is missing"));
        assert!(error(&" ".repeat(70_000)).contains("bytes"));
        std::fs::write(&path, text.replace("qBittorrent 5.1.0", "Mine")).unwrap();
        assert_eq!(worn(&set, &mut profile(&dir)).unwrap().name, "Mine");
        assert_eq!(profile(&dir).client_profile(), None, "what is set is not kept");
    }

    #[test]
    fn the_port_is_the_worn_clients_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut profile = profile(&dir);
        let clothes = ClientProfile::named("transmission-3.00").unwrap();
        let port = listen_port(&settings(&[]), &clothes, &mut profile).unwrap();
        assert!(port >= 49152, "{port}");
        let other = ClientProfile::qbittorrent_5_1_0();
        assert_eq!(listen_port(&settings(&[]), &other, &mut profile).unwrap(), port);
        let fixed = settings(&["network.listen_port=7"]);
        assert_eq!(listen_port(&fixed, &other, &mut profile).unwrap(), 7);
    }

    #[test]
    fn a_port_that_another_program_has_is_not_free() {
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()];
        for ip in all {
            let other = UdpSocket::bind((ip, 0)).unwrap();
            assert!(!is_free(other.local_addr().unwrap().port()), "{ip}");
        }
    }
}

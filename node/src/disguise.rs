//! Which BitTorrent client the node looks like, and the port that goes with it.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use bitchat_actors::udp_port::Reserved;
use bitchat_actors::vault::Profile;
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::tracker::ClientProfile;

use crate::exit::{Exit, Failure};
use crate::output::talk;
use crate::settings::{Costume, Settings};

/// Ports from which one is chosen where the worn client's are all taken.
const OTHER_PORTS: std::ops::Range<u16> = 10_000..60_000;
/// How many of them are tried.
const OTHER_PORTS_TRIED: u32 = 64;

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

/// Where the node listens.
#[derive(Debug)]
pub(crate) struct Listen {
    pub(crate) addresses: Vec<SocketAddr>,
    /// The sockets there, where the port was chosen just now.
    pub(crate) reserved: Option<Reserved>,
}

/// The port of the settings; or the profile's own, chosen once as the worn client would: trackers and
/// routers remember it. A port that is chosen is held from then on, as another node may choose at
/// the same instant.
///
/// # Errors
///
/// A [`Failure`] when no port can be had, or the chosen one cannot be kept.
pub(crate) fn listen(
    settings: &Settings,
    worn: &ClientProfile,
    profile: &mut Profile,
) -> Result<Listen, Failure> {
    let known = Some(settings.network.listen_port).filter(|port| *port != 0);
    if let Some(port) = known.or_else(|| profile.udp_port()) {
        return Ok(Listen { addresses: addresses(settings, port), reserved: None });
    }
    let mut reserved = None;
    let mut take = |port| {
        reserved = Reserved::bind(&addresses(settings, port)).ok();
        reserved.is_some()
    };
    let mut rng = Rng::from_seed(bitchat_actors::entropy::seed());
    let worns = worn.ports.choose(&mut rng, &mut take);
    let port = worns.or_else(|| {
        let count = u64::from(OTHER_PORTS.end - OTHER_PORTS.start);
        let mut draw = |_| OTHER_PORTS.start + u16::try_from(rng.below(count)).unwrap_or(0);
        (0..OTHER_PORTS_TRIED).map(&mut draw).find(|port| take(*port))
    });
    let none = "no free UDP port was found; choose one with --set network.listen_port=PORT";
    let port = port.ok_or_else(|| Failure::failed(none))?;
    profile.set_udp_port(port)?;
    Ok(Listen { addresses: addresses(settings, port), reserved })
}

fn addresses(settings: &Settings, port: u16) -> Vec<SocketAddr> {
    let v4 = settings.network.ipv4.then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    let v6 = settings.network.ipv6.then(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    v4.into_iter().chain(v6).collect()
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, UdpSocket};

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
        let drawn = listen(&settings(&[]), &clothes, &mut profile).unwrap();
        let port = port_of(&drawn);
        assert!(port >= 49152, "{port}");
        let other = ClientProfile::qbittorrent_5_1_0();
        assert_eq!(port_of(&listen(&settings(&[]), &other, &mut profile).unwrap()), port);
        let fixed = settings(&["network.listen_port=7"]);
        assert_eq!(port_of(&listen(&fixed, &other, &mut profile).unwrap()), 7);
    }

    fn port_of(listen: &Listen) -> u16 {
        let ports: Vec<u16> = listen.addresses.iter().map(SocketAddr::port).collect();
        assert!(ports.len() == 2 && ports[0] == ports[1], "{ports:?}");
        ports[0]
    }

    /// Clothes whose client listens at one port and no other.
    fn with_one_port(port: u16) -> ClientProfile {
        let text = ClientProfile::text_of("qbittorrent-5.1.0").unwrap();
        let lines = text.lines().map(|line| match line.starts_with("ports = ") {
            true => format!("ports = {port}"),
            false => line.to_owned(),
        });
        ClientProfile::parse(&(lines.collect::<Vec<_>>().join("\n") + "\n")).unwrap()
    }

    #[test]
    fn two_nodes_that_start_at_the_same_instant_draw_two_ports() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let free = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let only = free.local_addr().unwrap().port();
        drop(free);
        let clothes = with_one_port(only);
        let mut profiles = dirs.each_ref().map(profile);
        // None of them runs yet.
        let drawn = profiles.each_mut().map(|it| listen(&settings(&[]), &clothes, it).unwrap());
        let ports = drawn.each_ref().map(port_of);
        assert_eq!(ports[0], only);
        assert!(OTHER_PORTS.contains(&ports[1]) && ports[1] != only, "{ports:?}");
        assert_eq!(profiles.map(|it| it.udp_port()), ports.map(Some));
        let set = settings(&[&format!("network.listen_port={only}")]);
        let third = tempfile::tempdir().unwrap();
        let third = listen(&set, &clothes, &mut profile(&third)).unwrap();
        assert_eq!(port_of(&third), only, "what a person has set is never another one");
    }

    #[test]
    fn a_port_that_another_program_has_is_not_drawn() {
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()];
        for ip in all {
            let other = UdpSocket::bind((ip, 0)).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let only = other.local_addr().unwrap().port();
            let drawn = listen(&settings(&[]), &with_one_port(only), &mut profile(&dir)).unwrap();
            assert_ne!(port_of(&drawn), only, "{ip}");
        }
    }
}

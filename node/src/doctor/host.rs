//! What this machine itself offers: the profile, the port, the ways out.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bitchat_actors::vault::{Found, Profile};

use super::Check;
use crate::cli::Global;
use crate::exit::{Exit, Failure};
use crate::profile;
use crate::settings::Settings;

/// Where a way out would lead: addresses for documentation (RFC 5737, RFC 3849), behind every
/// default route. Nothing is sent there.
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Whether the profile of a running node is still for this user alone.
pub(super) fn permissions(dir: &Path) -> Check {
    let shown = dir.display();
    match fs::metadata(dir).map(|it| it.permissions().mode() & 0o777) {
        Ok(mode) if mode & 0o077 == 0 => {
            Check::ok("profile", format!("{shown}, for this user alone, in use by a node"))
        }
        Ok(mode) => {
            let what = format!("{shown} can be opened by other users (mode {mode:03o})");
            let todo = format!("run `chmod 700 {shown}`");
            Check::problem("profile", what, todo, Exit::Configuration)
        }
        Err(error) => {
            let what = format!("{shown}: {error}");
            Check::problem("profile", what, "bring it back from a copy", Exit::Failed)
        }
    }
}

/// Opens the profile, if there is one; it is not made here.
pub(super) fn open_profile(global: &Global, data_dir: &Path) -> (Check, Option<Profile>) {
    let name = &global.profile;
    let opened = match Profile::find(data_dir, name) {
        Ok(Found::Nothing) => {
            let what = format!("there is no profile {name} in {} yet", data_dir.display());
            let todo =
                "make one with `bitchat id show`, and a channel with `bitchat channel new NAME`";
            return (Check::warning("profile", what, todo), None);
        }
        Ok(Found::Plain | Found::Sealed) => profile::open(global),
        Err(error) => Err(error.into()),
    };
    match opened {
        Ok(profile) => {
            let dir = profile.dir().display().to_string();
            let sealed =
                if profile.is_sealed() { "sealed with a passphrase" } else { "not sealed" };
            (Check::ok("profile", format!("{dir}, for this user alone, {sealed}")), Some(profile))
        }
        Err(failure) => (refused(failure, name), None),
    }
}

fn refused(Failure { exit, text }: Failure, name: &str) -> Check {
    if exit == Exit::InUse {
        let todo = "when it is a node, its log says why it has no control socket; else wait until \
                    that command is done";
        return Check::warning("profile", text, todo);
    }
    if exit == Exit::Usage {
        let todo = "give the passphrase, so that the channels can be read and their trackers \
                    looked at";
        return Check::warning("profile", text, todo);
    }
    let todo = if exit == Exit::Configuration {
        "do what the line above says; others could read your keys".to_owned()
    } else {
        format!("do what the line above says, or choose another than {name} with --profile")
    };
    Check::problem("profile", text, todo, exit)
}

/// Whether the port of the node can be had.
pub(super) fn bind(settings: &Settings, profile: Option<&Profile>) -> Check {
    let port = match settings.network.listen_port {
        0 => profile.and_then(Profile::udp_port).unwrap_or(0),
        port => port,
    };
    let shown = if port == 0 { "a UDP port".to_owned() } else { format!("UDP port {port}") };
    let wanted = families(settings).into_iter().filter(|(_, is_on)| *is_on);
    let bound = wanted.map(|(any, _)| try_bind(SocketAddr::new(any, port)));
    match bound.collect::<io::Result<Vec<()>>>() {
        Ok(_) => Check::ok("port", format!("{shown} can be had")),
        Err(error) => {
            let what = format!("{shown} cannot be had: {error}");
            let todo = "choose another port with --set network.listen_port=PORT, or end the program \
                        that has it";
            Check::problem("port", what, todo, Exit::Failed)
        }
    }
}

fn try_bind(address: SocketAddr) -> io::Result<()> {
    match UdpSocket::bind(address) {
        Ok(_) => Ok(()),
        // A machine without IPv6 is common; the node goes on without it, too.
        Err(error) if address.is_ipv6() && error.kind() != io::ErrorKind::AddrInUse => Ok(()),
        Err(error) => Err(error),
    }
}

const fn families(settings: &Settings) -> [(IpAddr, bool); 2] {
    [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), settings.network.ipv4),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), settings.network.ipv6),
    ]
}

/// Whether there is a way out over each IP version.
pub(super) fn routes(settings: &Settings, somebody_answers: bool) -> Vec<Check> {
    let routes = [(FAR_V4, settings.network.ipv4), (FAR_V6, settings.network.ipv6)]
        .map(|(far, is_on)| if is_on { Way::from(own_address(far)) } else { Way::Off });
    judge(routes, somebody_answers)
}

/// A way out over one IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Off,
    None,
    From(IpAddr),
}

impl From<Option<IpAddr>> for Way {
    fn from(own: Option<IpAddr>) -> Self {
        own.map_or(Self::None, Self::From)
    }
}

fn judge(ways: [Way; 2], somebody_answers: bool) -> Vec<Check> {
    let is_cut_off = !ways.iter().any(|way| matches!(way, Way::From(_)));
    let names = ["IPv4", "IPv6"];
    let one = |(name, way): (&'static str, Way)| match way {
        Way::Off => Check::ok(name, "off in the settings"),
        Way::From(own) => Check::ok(name, format!("there is a way out, from {own}")),
        Way::None if is_cut_off && !somebody_answers => Check::problem(
            name,
            "there is no way out of this machine",
            "connect this machine to a network",
            Exit::NotDelivered,
        ),
        Way::None => Check::warning(
            name,
            "there is no way out of this machine",
            "nothing, unless you expect one: members that have this IP version alone are not reached",
        ),
    };
    names.into_iter().zip(ways).map(one).collect()
}

/// The address from which the system would send to `far`; sends nothing.
fn own_address(far: IpAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|own| !own.is_unspecified() && !own.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdicts(ways: [Way; 2], somebody_answers: bool) -> [Verdict; 2] {
        let checks = judge(ways, somebody_answers);
        [checks[0].verdict, checks[1].verdict]
    }

    #[test]
    fn no_way_out_at_all_is_a_problem_unless_somebody_answers() {
        let from = Way::From("192.168.1.7".parse().unwrap());
        let problem = Verdict::Problem(Exit::NotDelivered);
        assert_eq!(verdicts([from, Way::None], false), [Verdict::Ok, Verdict::Warning]);
        assert_eq!(verdicts([Way::None, Way::None], false), [problem; 2]);
        assert_eq!(verdicts([Way::None, Way::Off], false), [problem, Verdict::Ok]);
        assert_eq!(verdicts([Way::None, Way::None], true), [Verdict::Warning; 2]);
    }
}

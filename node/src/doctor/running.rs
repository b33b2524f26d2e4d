//! What a running node knows of itself, as checks.

use std::collections::BTreeMap;

use super::Check;
use crate::exit::Exit;
use crate::report::{ChannelReport, SourceReport, StatusReport, nat_words, safe_name, span};

/// The checks, and whether anybody answers the node.
pub(super) fn checks(status: &StatusReport) -> (Vec<Check>, bool) {
    let linked: usize = status.channels.iter().map(|channel| channel.linked).sum();
    let (mut sources, works) = sources(status, linked > 0);
    let mut checks = vec![
        Check::ok("node", format!("process {}, up {}", status.pid, span(status.uptime_ms))),
        Check::ok("port", format!("UDP port {}", status.port)),
    ];
    checks.extend(clock(status));
    checks.extend(nat(status));
    checks.append(&mut sources);
    checks.extend(status.channels.iter().map(members));
    (checks, works || linked > 0)
}

/// Nothing where nobody has told us a time that differs.
fn clock(status: &StatusReport) -> Option<Check> {
    let todo = "set the clock that is wrong, and let it be kept right (NTP)";
    let clock = status.clock.as_ref()?;
    Some(Check::problem("clock", clock.describe(), todo, Exit::NotDelivered))
}

/// Nothing where nobody knows: that is usual with no member on the internet.
fn nat(status: &StatusReport) -> Vec<Check> {
    let kinds = [("IPv4", &status.nat.ipv4), ("IPv6", &status.nat.ipv6)];
    let known = kinds.into_iter().filter(|(_, kind)| *kind != "unknown");
    let check = |(over, kind): (&str, &String)| {
        let what = format!("{over}: {}", nat_words(kind));
        if kind == "endpoint-dependent" {
            let todo = "forward this node's UDP port in the router, or let members be reached who \
                        are behind no such router: two of its kind do not reach each other";
            Check::warning("NAT", what, todo)
        } else {
            Check::ok("NAT", what)
        }
    };
    known.map(check).collect()
}

/// Each place once, over whatever IP version and for whatever channel.
fn sources(status: &StatusReport, has_links: bool) -> (Vec<Check>, bool) {
    let mut places: BTreeMap<(&str, &str), Vec<&SourceReport>> = BTreeMap::new();
    for source in status.channels.iter().flat_map(|channel| &channel.sources) {
        places.entry((&source.kind, &source.place)).or_default().push(source);
    }
    let mut checks = Vec::new();
    let (mut working, mut failing) = (0, 0);
    for ((kind, place), rows) in &places {
        let label = format!("{kind} {place}");
        let failed = rows.iter().find(|row| row.failures > 0);
        if let Some(works) = rows.iter().find(|row| row.works()) {
            working += 1;
            let ago = works.last_answer_ms_ago.map(span).unwrap_or_default();
            let peers = rows.iter().map(|row| row.peers_found).max().unwrap_or(0);
            let peers = if peers == 1 { "1 peer".to_owned() } else { format!("{peers} peers") };
            let what = format!("{} answered {ago} ago and named {peers}", label.trim_end());
            checks.push(Check::ok("source", what));
        } else if let Some(failed) = failed {
            failing += 1;
            let error = failed.last_error.as_deref().unwrap_or("it failed");
            let next = failed.next_try_in_ms.map(|ms| format!("; tried again in {}", span(ms)));
            let what = format!("{}: {error}{}", label.trim_end(), next.unwrap_or_default());
            let todo = "nothing, as long as another source works";
            checks.push(Check::warning("source", what, todo));
        }
    }
    checks.push(sum(working, failing, places.len(), has_links));
    (checks, working > 0)
}

fn sum(working: usize, failing: usize, all: usize, has_links: bool) -> Check {
    let todo = "see that this machine is online and that its firewall lets UDP and HTTP out; \
                `bitchat status` has the error of each source";
    match (working, failing) {
        (0, 0) if all == 0 => Check::warning(
            "sources",
            "nobody is asked for members: trackers.enabled is false, or no channel names a tracker",
            "nothing, if you want it so: only addresses that are known already are tried",
        ),
        (0, 0) => Check::ok("sources", "none has answered yet; ask again in a minute"),
        (0, _) if has_links => {
            Check::warning("sources", "none works, but members are linked", todo)
        }
        (0, _) => {
            Check::problem("sources", "none works, so no member is found", todo, Exit::NotDelivered)
        }
        (working, _) => Check::ok("sources", format!("{working} of {all} work")),
    }
}

fn members(channel: &ChannelReport) -> Check {
    let ChannelReport { name, mesh, linked, members, .. } = channel;
    let what = format!("{}: {linked} of {members} members linked, mesh {mesh}", safe_name(name));
    if linked < members {
        let todo = "wait a minute; `bitchat peers` tells who is linked with whom";
        Check::warning("channel", what, todo)
    } else {
        Check::ok("channel", what)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::report::{ClockReport, NatReport};

    fn tracker(place: &str, state: &str, failures: u32) -> SourceReport {
        SourceReport {
            kind: "tracker".into(),
            place: place.into(),
            state: state.into(),
            failures,
            last_error: (failures > 0).then(|| "it did not answer in time".into()),
            ..SourceReport::default()
        }
    }

    fn status(linked: usize, sources: Vec<SourceReport>) -> StatusReport {
        let nat = NatReport { ipv4: "unknown".into(), ipv6: "unknown".into() };
        let channel = ChannelReport {
            name: "team".into(),
            linked,
            members: linked,
            sources,
            ..ChannelReport::default()
        };
        StatusReport { channels: vec![channel], nat, ..StatusReport::default() }
    }

    fn verdict_of(name: &str, status: &StatusReport) -> Option<Verdict> {
        checks(status).0.into_iter().rev().find(|check| check.name == name).map(|it| it.verdict)
    }

    #[test]
    fn one_source_or_one_link_is_enough() {
        let (good, bad) = (tracker("udp://a:1", "works", 0), tracker("udp://b:1", "fails", 2));
        let problem = Verdict::Problem(Exit::NotDelivered);
        let verdict = |linked, sources| verdict_of("sources", &status(linked, sources));
        assert_eq!(verdict(0, vec![good.clone(), bad.clone()]), Some(Verdict::Ok));
        assert_eq!(verdict(1, vec![bad.clone()]), Some(Verdict::Warning));
        assert_eq!(verdict(0, vec![bad.clone()]), Some(problem));
        assert_eq!(verdict(0, Vec::new()), Some(Verdict::Warning));
        assert_eq!(verdict(0, vec![tracker("udp://a:1", "asked", 0)]), Some(Verdict::Ok));
        let rows = checks(&status(0, vec![good, bad])).0;
        assert!(rows.iter().any(|row| row.what.contains("udp://b:1: it did not answer in time")));
    }

    #[test]
    fn a_clock_that_differs_is_a_problem_and_a_changing_address_a_warning() {
        let mut status = status(0, Vec::new());
        assert_eq!((verdict_of("clock", &status), verdict_of("NAT", &status)), (None, None));
        status.nat.ipv6 = "endpoint-dependent".into();
        status.clock = Some(ClockReport { minutes_ahead: -5, ms_ago: 1000 });
        assert_eq!(verdict_of("clock", &status), Some(Verdict::Problem(Exit::NotDelivered)));
        assert_eq!(verdict_of("NAT", &status), Some(Verdict::Warning));
    }
}

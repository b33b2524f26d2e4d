//! What a running node knows of itself, as checks.

use std::collections::BTreeMap;

use super::Check;
use crate::exit::Exit;
use crate::report::{
    ChannelReport, DhtNodeReport, SourceReport, StatusReport, counted, nat_words, safe_name, span,
};

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
    checks.extend(dht(&status.dht));
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
            Check::warning("NAT", what, FORWARD)
        } else {
            Check::ok("NAT", what)
        }
    };
    known.map(check).collect()
}

/// What to do where each sees us at another port.
const FORWARD: &str = "forward this node's UDP port in the router, or let members be reached who are \
                       behind no such router: two of its kind do not reach each other";

/// Nothing where the DHT is off.
fn dht(nodes: &[DhtNodeReport]) -> Vec<Check> {
    if nodes.is_empty() {
        return Vec::new();
    }
    let memberships: Vec<String> = nodes.iter().map(DhtNodeReport::membership).collect();
    let what = memberships.join("; ");
    let mut checks = vec![if nodes.iter().any(|node| node.joined) {
        Check::ok("DHT", what)
    } else {
        let todo = "wait a minute; then see that the firewall lets UDP out, or name nodes that can \
                    be reached in dht.routers";
        Check::warning("DHT", what, todo)
    }];
    for node in nodes {
        checks.extend(node.seen().map(|seen| match node.port {
            Some(_) => Check::ok("DHT", seen),
            None => Check::warning("DHT", seen, FORWARD),
        }));
    }
    checks
}

/// Each place once, over whatever IP version and for whatever channel.
fn sources(status: &StatusReport, has_links: bool) -> (Vec<Check>, bool) {
    let mut places: BTreeMap<(&str, &str), Vec<&SourceReport>> = BTreeMap::new();
    for source in status.channels.iter().flat_map(|channel| &channel.sources) {
        places.entry((&source.kind, &source.place)).or_default().push(source);
    }
    let mut checks = Vec::new();
    let (mut working, mut failing) = (0, 0);
    for rows in places.values() {
        let label = rows.first().map(|row| row.label()).unwrap_or_default();
        let failed = rows.iter().find(|row| row.failures > 0 || row.state == "fails");
        let pending = rows.iter().find(|row| row.may_work());
        if let Some(works) = rows.iter().find(|row| row.works()) {
            working += 1;
            let ago = works.last_answer_ms_ago.map(span).unwrap_or_default();
            let peers = rows.iter().map(|row| row.peers_found).max().unwrap_or(0);
            let peers = counted(peers, "peer", "");
            let what = format!("{label} answered {ago} ago and named {peers}");
            checks.push(Check::ok("source", what));
        } else if let Some(pending) = pending {
            let announced = pending.last_announce_ms_ago;
            checks.extend(announced.map(|ms| {
                let ago = span(ms);
                let when = if pending.last_answer_ms_ago.is_some() { "lately" } else { "yet" };
                let what = format!("{label}: announced {ago} ago, no member heard {when}");
                Check::ok("source", what)
            }));
        } else if let Some(failed) = failed {
            failing += 1;
            let error = failed.last_error.as_deref().unwrap_or("it failed");
            let next = failed.next_try_in_ms.map(|ms| format!("; tried again in {}", span(ms)));
            let what = format!("{label}: {error}{}", next.unwrap_or_default());
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
            "nobody is asked for members: trackers.enabled, dht.enabled and lan.enabled are false, or \
             no channel is open",
            "nothing, if you want it so: only addresses that are known already are tried",
        ),
        (0, 0) => Check::ok("sources", "none has answered yet; ask again in a few minutes"),
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
    let name = safe_name(name);
    if *members == 0 {
        return Check::ok("channel", format!("{name}: no other member is known yet"));
    }
    let what = format!("{name}: {linked} of {members} members linked, mesh {mesh}");
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
    fn a_source_that_may_work_is_no_failure_and_no_success() {
        let lan = SourceReport {
            kind: "lan".into(),
            state: "announced".into(),
            last_announce_ms_ago: Some(3000),
            ..SourceReport::default()
        };
        let dht = |state: &str, error: Option<&str>| SourceReport {
            kind: "dht".into(),
            state: state.into(),
            last_answer_ms_ago: Some(9000).filter(|_| error.is_none()),
            last_error: error.map(Into::into),
            ..SourceReport::default()
        };
        let rows = checks(&status(0, vec![lan.clone()])).0;
        let announced = "local network: announced 3s ago, no member heard yet";
        assert!(rows.iter().any(|row| row.what == announced), "{rows:?}");
        let silent = SourceReport { last_answer_ms_ago: Some(86_400_000), ..lan.clone() };
        let (rows, somebody_answers) = checks(&status(0, vec![silent]));
        assert!(rows.iter().any(|row| row.what.ends_with("no member heard lately")), "{rows:?}");
        assert!(!somebody_answers);
        let verdict = |sources| verdict_of("sources", &status(0, sources));
        assert_eq!(verdict(vec![lan.clone()]), Some(Verdict::Ok));
        let dead = dht("fails", Some("no node of the DHT is known"));
        assert_eq!(verdict(vec![lan, dead]), Some(Verdict::Problem(Exit::NotDelivered)));
        let rows = checks(&status(0, Vec::new())).0;
        assert!(
            rows.iter().any(|row| row.what == "team: no other member is known yet"),
            "{rows:?}"
        );
        let (again, told) = checks(&status(0, vec![dht("asked", None)]));
        assert!(told, "one that is asked again has answered: {again:?}");
    }

    #[test]
    fn the_dht_is_joined_or_not_and_says_where_it_sees_us() {
        let mut status = status(0, Vec::new());
        assert_eq!(verdict_of("DHT", &status), None);
        let v6 = DhtNodeReport { ip: "ipv6".into(), ..DhtNodeReport::default() };
        status.dht = vec![v6.clone()];
        let todo = checks(&status).0.into_iter().find(|it| it.name == "DHT").and_then(|it| it.todo);
        assert!(todo.is_some_and(|todo| todo.contains("dht.routers")));
        let v4 = DhtNodeReport { ip: "ipv4".into(), joined: true, nodes: 412, ..v6.clone() };
        status.dht = vec![v4.clone(), v6.clone()];
        assert_eq!(verdict_of("DHT", &status), Some(Verdict::Ok));
        let rows = checks(&status).0;
        let words = "joined over IPv4, 412 nodes known; not joined over IPv6, 0 nodes known";
        assert!(rows.iter().any(|row| row.what == words), "{rows:?}");
        status.dht = vec![DhtNodeReport { address: Some([9, 9, 9, 9].into()), ..v4 }, v6];
        assert_eq!(verdict_of("DHT", &status), Some(Verdict::Warning), "each at another port");
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

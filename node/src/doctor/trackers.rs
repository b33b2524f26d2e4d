//! Whether the channels' trackers answer a knock, and what that tells of the network.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::Actor as _;
use bitchat_actors::channel_book::{ChannelBook, FindChannel, ListChannels, Summary};
use bitchat_actors::http_fetch::Fetcher;
use bitchat_actors::resolver::{self, ResolveError, Resolver};
use bitchat_actors::tracker_probe::{
    Knock, KnockError, NoKnock, ProbeTracker, Probed, TrackerProbe,
};
use bitchat_actors::vault::Profile;
use bitchat_protocol::tracker::announcer::Family;
use futures_util::future::join_all;

use super::{Check, Patient};
use crate::exit::{Exit, Failure};
use crate::settings::Settings;

/// Trackers that are knocked at, the first of each channel before the second of any.
const TRACKERS_MAX: usize = 24;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Knocks at the trackers of the profile's channels; the checks, and whether one answers.
pub(super) fn checks(
    patient: &Patient<'_>,
    profile: &Profile,
) -> Result<(Vec<Check>, bool), Failure> {
    if !patient.settings.trackers.enabled {
        let todo = otherwise(patient.settings);
        let what = "off in the settings (trackers.enabled)";
        return Ok((vec![Check::warning("trackers", what, todo)], false));
    }
    actix_rt::System::new().block_on(async {
        let book = ChannelBook::open(profile)?.start();
        let failed = |_| Failure::new(Exit::Internal, "an actor failed; report this");
        let channels: Vec<Summary> = match patient.channel {
            Some(text) => {
                let found =
                    book.send(FindChannel { text: text.to_owned() }).await.map_err(failed)?;
                vec![found.map_err(|error| Failure::failed(error.to_string()))?]
            }
            None => book.send(ListChannels).await.map_err(failed)?,
        };
        let urls = choose(&channels);
        if urls.is_empty() && !channels.is_empty() {
            let todo = otherwise(patient.settings);
            return Ok((vec![Check::warning("trackers", "no channel names one", todo)], false));
        }
        if urls.is_empty() {
            let todo = "make a channel with `bitchat channel new NAME`, or join one with `bitchat \
                        channel join FILE`";
            return Ok((vec![Check::warning("trackers", "there is no channel", todo)], false));
        }
        let resolver = Resolver::new(resolver::Config::default()).start().recipient();
        let probe = TrackerProbe::new(resolver, Fetcher::new(), PATIENCE).start();
        let knocks = urls.into_iter().map(|url| probe.send(ProbeTracker { url }));
        let probed: Result<Vec<Probed>, _> = join_all(knocks).await.into_iter().collect();
        Ok(judge(&probed.map_err(failed)?))
    })
}

/// How members are found without a tracker.
fn otherwise(settings: &Settings) -> &'static str {
    match (settings.dht.enabled, settings.lan.enabled) {
        (true, true) => "nothing, if you want it so: there are the DHT and the local network",
        (true, false) => "nothing, if you want it so: there is the DHT",
        (false, true) => "nothing, if you want it so: there is the local network, and nothing else",
        (false, false) => {
            "nothing, if you want it so: only addresses that are known already are tried"
        }
    }
}

/// Each tracker once, the best of all channels first.
fn choose(channels: &[Summary]) -> Vec<String> {
    let flat = |channel: &Summary| channel.trackers.concat();
    let lists: Vec<Vec<String>> = channels.iter().map(flat).collect();
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut seen = BTreeSet::new();
    (0..longest)
        .flat_map(|at| lists.iter().filter_map(move |list| list.get(at)))
        .filter(|url| seen.insert(*url))
        .take(TRACKERS_MAX)
        .cloned()
        .collect()
}

/// What the knocks tell, taken together.
#[derive(Debug, Default)]
struct Sum {
    trackers: usize,
    answered: usize,
    udp_answered: usize,
    /// UDP trackers from which nothing came, not even that nobody is there.
    udp_silent: usize,
    nameless: usize,
}

fn judge(probed: &[Probed]) -> (Vec<Check>, bool) {
    let mut sum = Sum { trackers: probed.len(), ..Sum::default() };
    let mut rows = Vec::new();
    for one in probed {
        sum.count(one);
        rows.push(row(one));
    }
    rows.extend(sum.checks());
    (rows, sum.answered > 0)
}

impl Sum {
    fn count(&mut self, Probed { place, knocks }: &Probed) {
        let is_udp = place.starts_with("udp:");
        let knocks = match knocks {
            Ok(knocks) => knocks,
            Err(NoKnock::Name(ResolveError::TimedOut | ResolveError::Unreachable)) => {
                self.nameless += 1;
                return;
            }
            Err(NoKnock::Name(_) | NoKnock::Url(_)) => return,
        };
        let answers = knocks.iter().any(|knock| knock.outcome.is_ok());
        let silent = knocks.iter().all(|knock| matches!(knock.outcome, Err(KnockError::TimedOut)));
        self.answered += usize::from(answers);
        self.udp_answered += usize::from(answers && is_udp);
        self.udp_silent += usize::from(silent && is_udp && !knocks.is_empty());
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        if self.nameless > 0 {
            let what = format!(
                "{} of {} trackers' names got no answer from a name server",
                self.nameless, self.trackers
            );
            let todo = "see that the name servers in /etc/resolv.conf can be reached";
            checks.push(Check::warning("names", what, todo));
        }
        if self.udp_answered > 0 {
            checks.push(Check::ok("UDP", "datagrams get out, and answers come back"));
        } else if self.udp_silent > 0 && self.answered > 0 {
            let what = "no UDP tracker answers, while others do: something between here and there \
                        stops UDP";
            let todo = "let UDP out of the firewall; links between members need it";
            checks.push(Check::problem("UDP", what, todo, Exit::NotDelivered));
        }
        let (answered, trackers) = (self.answered, self.trackers);
        checks.push(if answered > 0 {
            Check::ok("trackers", format!("{answered} of {trackers} answer"))
        } else {
            let todo = "see that this machine is online and that its firewall lets UDP and HTTP out; \
                        if it does, the trackers are gone: make the channel's file again with others";
            let what = format!("none of {trackers} answers, so members are not found by them");
            Check::problem("trackers", what, todo, Exit::NotDelivered)
        });
        checks
    }
}

/// The row of one tracker: a warning at most, as others may do.
fn row(Probed { place, knocks }: &Probed) -> Check {
    let knocks = match knocks {
        Ok(knocks) => knocks,
        Err(error) => return failed(format!("{place}: {error}")),
    };
    let words: Vec<String> = knocks.iter().map(describe).collect();
    let text = format!("{place}: {}", words.join("; "));
    if knocks.iter().any(|knock| knock.outcome.is_ok()) {
        Check::ok("tracker", text)
    } else {
        failed(text)
    }
}

fn failed(text: String) -> Check {
    Check::warning("tracker", text, "nothing, as long as another tracker of the channel answers")
}

fn describe(Knock { family, outcome }: &Knock) -> String {
    let over = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    match outcome {
        Ok(time) => format!("answers over {over} in {} ms", time.as_millis().max(1)),
        Err(error) => format!("over {over}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn probed(place: &str, outcome: Result<(), KnockError>) -> Probed {
        let outcome = outcome.map(|()| Duration::from_millis(12));
        Probed { place: place.into(), knocks: Ok(vec![Knock { family: Family::V4, outcome }]) }
    }

    fn named<'a>(checks: &'a [Check], name: &str) -> Option<&'a Check> {
        checks.iter().find(|check| check.name == name)
    }

    #[test]
    fn one_tracker_that_answers_is_enough() {
        let all = [
            probed("udp://a:1", Ok(())),
            probed("udp://b:1", Err(KnockError::TimedOut)),
            probed("http://c", Err(KnockError::Refused)),
        ];
        let (checks, answers) = judge(&all);
        assert!(answers);
        assert_eq!(checks[0].what, "udp://a:1: answers over IPv4 in 12 ms");
        assert_eq!(checks[1].verdict, Verdict::Warning);
        assert_eq!(named(&checks, "UDP").unwrap().verdict, Verdict::Ok);
        let sum = named(&checks, "trackers").unwrap();
        assert_eq!((sum.verdict, &*sum.what), (Verdict::Ok, "1 of 3 answer"));
    }

    #[test]
    fn udp_that_is_stopped_is_told_from_trackers_that_are_gone() {
        let http = || probed("http://c", Ok(()));
        let (checks, _) = judge(&[http(), probed("udp://b:1", Err(KnockError::TimedOut))]);
        assert_eq!(named(&checks, "UDP").unwrap().verdict, Verdict::Problem(Exit::NotDelivered));
        let (checks, _) = judge(&[http(), probed("udp://b:1", Err(KnockError::Refused))]);
        assert_eq!(named(&checks, "UDP"), None, "the host says that nobody is there");
    }

    #[test]
    fn no_answer_at_all_is_a_problem_of_the_network() {
        let name =
            Probed { place: "http://d".into(), knocks: Err(NoKnock::Name(ResolveError::TimedOut)) };
        let (checks, answers) = judge(&[probed("udp://b:1", Err(KnockError::TimedOut)), name]);
        assert!(!answers);
        let sum = named(&checks, "trackers").unwrap();
        assert_eq!(sum.verdict, Verdict::Problem(Exit::NotDelivered));
        assert_eq!(named(&checks, "names").unwrap().verdict, Verdict::Warning);
    }
}
